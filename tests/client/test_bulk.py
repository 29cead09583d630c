"""Which jobs a client asks for in bulk, and that it asks for the same jobs then."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from bgjob import sending, submitting_calls
from bgjob.keys import is_made_here
from bgjob.predecessors import result_of

JOB: dict[str, Any] = {"class_name": "a.B", "method_name": "c"}


def with_options(**options: Any) -> dict[str, Any]:
    return {**JOB, "options": options}


def asked(*jobs: dict[str, Any], max_retries: int | None = None) -> dict[str, Any]:
    return submitting_calls.submit_many(jobs, max_retries, None).parameters


def test_jobs_that_differ_in_parameters_and_keys_are_asked_for_in_bulk() -> None:
    first = {**with_options(idempotency_key="mine", timeout=timedelta(minutes=1)), "parameters": {"x": [1]}}
    second = {**with_options(timeout=timedelta(minutes=1)), "parameters": None}
    given = asked(first, second, max_retries=4)
    keys = given.pop("keys")
    assert given == {**JOB, "options": {"timeout": 60.0, "max_retries": 4}, "each": [{"x": [1]}, {}]}
    assert keys[0] == "mine"
    assert is_made_here(keys[1])


def test_values_that_json_has_not_go_in_their_forms_in_bulk_as_well() -> None:
    jobs = [{**JOB, "parameters": {"day": date(2026, 12, day)}} for day in (4, 5)]
    sent = sending.frame_of(submitting_calls.submit_many(jobs, None, None).request)
    assert b'"each":[{"day":"2026-12-04"},{"day":"2026-12-05"}]' in sent
    jobs[1]["parameters"]["day"] = 2j
    with pytest.raises(TypeError, match=r"^each\.1\.day: JSON has no form"):
        sending.frame_of(submitting_calls.submit_many(jobs, None, None).request)


def test_a_key_that_is_none_is_left_to_the_daemon_to_refuse() -> None:
    assert asked(with_options(idempotency_key=""), JOB)["keys"][0] == ""


def test_a_class_is_asked_for_by_its_name_in_bulk() -> None:
    kind = type("B", (), {"__module__": "a"})
    assert asked(*[{**JOB, "class_name": kind}] * 2)["class_name"] == "a.B"


@pytest.mark.parametrize(
    "jobs",
    [
        [],
        [JOB, {**JOB, "class_name": "a.C"}],
        [JOB, {**JOB, "method_name": "d"}],
        [JOB, {**JOB, "retry_count": 1}],
        [{**JOB, "retry_count": 1}, {**JOB, "retry_count": True}],
        [with_options(priority=1), with_options(priority=True)],
        [JOB, with_options(queue="mail")],
        [JOB, {**JOB, "parameters": [1]}],
        [JOB, {**JOB, "colour": 1}],
        [JOB, with_options(idempotency_key=1)],
        [{"class_name": "a.B"}] * 2,
        [{"method_name": "c"}] * 2,
    ],
    ids=repr,
)
def test_all_others_are_asked_for_one_by_one(jobs: list[dict[str, Any]]) -> None:
    given = asked(*jobs)
    assert list(given) == ["jobs"]
    assert len(given["jobs"]) == len(jobs)


def test_jobs_that_come_after_others_are_asked_for_one_by_one_and_members_of_a_group_in_bulk() -> None:
    assert len(asked(with_options(after=[12]), with_options(after=[12]))["jobs"]) == 2
    assert asked(with_options(group=5), with_options(group=5))["options"] == {"group": {"id": 5}}


def test_jobs_that_take_a_result_are_asked_for_one_by_one() -> None:
    jobs = asked(JOB, {**JOB, "parameters": {"day": 4, "rows": result_of(12)}})["jobs"]
    assert jobs[1]["parameters"] == {"day": 4}
    assert jobs[1]["options"]["take"] == {"rows": {"of": {"id": 12}}}
