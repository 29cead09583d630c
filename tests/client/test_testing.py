"""bgjob.testing: jobs that run at submit, or are only recorded, for whatever client submits them."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import unittest
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import bgjob
import bgjob.testing
from bgjob import (
    AsyncClient,
    ClassUnavailableError,
    Client,
    DaemonUnavailableError,
    IdempotencyConflictError,
    InvalidNameError,
    InvalidParameterError,
    InvalidParametersError,
    InvalidStateError,
    JobCancelledError,
    JobFailedError,
    JobNotFoundError,
    MethodNotApprovedError,
    NotApprovedError,
    ProtocolError,
    Status,
    TooLargeError,
    WaitTimeoutError,
    aio,
    as_completed,
    run_background_job,
    submission_rules,
    wait,
)
from bgjob.testing import Jobs, NotAnsweredError, NothingRunsError
from bgjob.testing.arguments import InvalidParameters
from bgjob.testing.error_texts import path_of
from bgjobd.api import submissions as daemons
from tests.client import jobs_of_tests
from tests.client.jobs_of_tests import (
    AsksOddly,
    AsksWhen,
    Child,
    FailsInHook,
    Flaky,
    NeedsMore,
    Plain,
    Raising,
    WithContext,
)

PLAIN = "tests.client.jobs_of_tests.Plain"


@pytest.fixture(autouse=True)
def no_daemon(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("BGJOBD_SOCKET", str(tmp_path / "nobody"))
    jobs_of_tests.told.clear()


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    with bgjob.testing.inline() as jobs:
        yield jobs


# Inline


def test_a_job_runs_when_it_is_submitted_and_gives_its_result(jobs: Jobs) -> None:
    job = run_background_job(PLAIN, "echo", {"value": [1, "é"]})
    assert jobs_of_tests.told == [[1, "é"]]
    assert job.result() == [1, "é"]
    assert job.snapshot["status"] == Status.COMPLETED
    assert [attempt["outcome"] for attempt in job.refresh()["attempts"]] == ["completed"]
    (submitted,) = jobs
    assert (submitted.class_name, submitted.method_name, submitted.id) == (PLAIN, "echo", job.id)
    assert (submitted.status, submitted.result, submitted.options) == ("completed", [1, "é"], {})


def test_every_kind_of_client_is_answered(jobs: Jobs) -> None:
    async def submit() -> Any:
        async with AsyncClient() as client:
            job = await client.run_background_job(Plain, "later", {"value": 2})
            assert [one["status"] async for one in job.watch()] == ["completed"]
            assert [one async for one in client.as_completed([job], 1)] == [job]
            assert await aio.wait([job]) == ([job], [])
            return await job.result()

    with Client("/somewhere/else") as client:
        assert client.run_background_job(Plain, "later", {"value": 1}).result() == 1
        assert [
            job.result() for job in client.submit_many([{"class_name": PLAIN, "method_name": "echo"}])
        ] == [None]
        assert client.ping()["product"] == "bgjob.testing"
    assert asyncio.run(submit()) == 2
    assert len(jobs.of(Plain)) == 3


def test_there_is_one_host_and_it_is_this_one(jobs: Jobs) -> None:
    (host,) = bgjob.Client().hosts()
    assert (host["name"], host["state"], host["is_own"]) == (socket.gethostname(), "alive", True)


def test_threads_submit_to_the_same_place(jobs: Jobs) -> None:
    threads = [threading.Thread(target=run_background_job, args=(Plain, "echo")) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [job.id for job in jobs] == list(range(1, 21))
    assert {job.status for job in jobs} == {Status.COMPLETED}


def test_a_job_may_submit_another(jobs: Jobs) -> None:
    assert run_background_job(Plain, "submit_another", {"value": 3}).result() == 3
    assert [job.method_name for job in jobs] == ["submit_another", "echo"]


def test_parameters_go_through_json_and_are_nobody_elses(jobs: Jobs) -> None:
    given: dict[str, Any] = {"value": {1: (2, 3)}}
    job = run_background_job(Plain, "echo", given)
    assert jobs_of_tests.told == [{"1": [2, 3]}]
    assert job.result() == {"1": [2, 3]}
    given["value"].clear()
    jobs_of_tests.told[0].clear()
    assert jobs[0].parameters == {"value": {"1": [2, 3]}}


class _Stamped(type):
    @property
    def __module__(cls) -> str:  # type: ignore[override]  # what a hostile class does
        raise RuntimeError


def test_the_path_of_an_error_is_its_module_and_name_or_nothing_that_could_be_another() -> None:
    names = {"__module__": "shop.errors"}
    assert path_of(KeyError) == "builtins.KeyError"
    assert path_of(json.JSONDecodeError) == "json.decoder.JSONDecodeError"
    assert path_of(type("Unpaid", (Exception,), names)) == "shop.errors.Unpaid"
    assert path_of(_Stamped("Unpaid", (Exception,), names)) == "shop.errors.Unpaid"
    assert path_of(type("Unpaid", (Exception,), names | {"__qualname__": "\ud800"})) == "shop.errors.?"
    assert path_of(type("x" * 499, (Exception,), names)) == f"shop.errors.{'x' * 499}"
    assert path_of(type("x" * 500, (Exception,), names)) is None
    assert path_of(type("Unpaid", (Exception,), {"__module__": 5})) is None
    assert path_of(eval("type('Unpaid', (Exception,), {})", {})) is None  # made where there is no module
    assert path_of(InvalidParameters) is None


def test_a_single_parameter_called_params_gets_the_whole_mapping(jobs: Jobs) -> None:
    assert run_background_job(Plain, "whole", {"b": 1, "a": 2}).result() == ["a", "b"]


def test_functions_of_a_module_are_jobs_as_well(jobs: Jobs) -> None:
    module = "tests.client.functions_of_tests"
    assert run_background_job(module, "told", {"on": "2026-11-28"}).result() == [2026, 1]
    assert run_background_job(module, "total", {"args": [1, 2], "kwargs": {"scale": 10}}).result() == 30
    with pytest.raises(InvalidParametersError):
        run_background_job(module, "told", {"none": 1})
    for name in ("_hidden", "date"):
        with pytest.raises(MethodNotApprovedError):
            run_background_job(module, name)
    with pytest.raises(ClassUnavailableError):
        run_background_job("tests.client.nothing_of_tests", "run")


def test_values_are_what_the_annotations_say(jobs: Jobs) -> None:
    parameters = {
        "when": "2024-12-04",
        "amount": 1.5,
        "colour": "red",
        "address": {"street": "s", "since": "2020-01-01"},
        "ids": ["00000000-0000-0000-0000-000000000001"],
    }
    assert run_background_job(Plain, "annotated", parameters).result() == [
        "datetime.date(2024, 12, 4)",
        "Decimal('1.5')",
        "<Colour.RED: 'red'>",
        "Address(street='s', since=datetime.date(2020, 1, 1))",
        "[UUID('00000000-0000-0000-0000-000000000001')]",
    ]
    job = run_background_job(Plain, "annotated", {**parameters, "when": "soon"})
    with pytest.raises(JobFailedError, match="InvalidParameters: when: "):
        job.result()
    assert len(job.snapshot["attempts"]) == 1


def test_a_context_is_given_to_constructor_and_method(jobs: Jobs) -> None:
    job = run_background_job(WithContext, "run", {"value": 4}, timeout=60)
    assert job.result() == [1, 1, True, 4]
    progress = job.snapshot["attempts"][0]["progress"]
    assert (progress["fraction"], progress["message"]) == (0.5, "half")


def test_a_failed_job_is_retried_without_waiting_and_tells_why_it_failed(jobs: Jobs) -> None:
    job = run_background_job(Flaky, "fail")
    with pytest.raises(JobFailedError) as caught:
        job.result()
    assert caught.value.job["error"] == "ValueError: no recipient"
    assert jobs_of_tests.told == ["attempt"] * 3 + ["ValueError: no recipient"]
    assert job.snapshot["retry_count"] == job.snapshot["max_retries"] == 2
    assert "no recipient" in job.snapshot["attempts"][-1]["traceback"]
    assert jobs[0].error == "ValueError: no recipient"


@pytest.mark.parametrize(("options", "attempts"), [({}, 3), ({"max_retries": 0}, 1), ({"max_retries": 4}, 5)])
def test_the_callers_retries_come_before_the_classes(jobs: Jobs, options: Any, attempts: int) -> None:
    job = run_background_job(Flaky, "fail", **options)
    assert len(job.refresh()["attempts"]) == attempts
    assert len(run_background_job(Flaky, "fail", None, 2).refresh()["attempts"]) == 1


def test_a_retry_that_a_job_asks_for_is_taken_up_at_once(jobs: Jobs) -> None:
    assert run_background_job(Flaky, "fail_until", {"succeeds_at": 3}).result() == 3
    with pytest.raises(JobFailedError, match="Retry: not yet"):
        run_background_job(Flaky, "fail_until", {"succeeds_at": 4}).result()


def test_a_job_that_gives_up_is_not_retried(jobs: Jobs) -> None:
    job = run_background_job(Flaky, "give_up")
    with pytest.raises(JobFailedError, match="Fail: never"):
        job.result()
    assert len(job.snapshot["attempts"]) == 1


def test_a_snooze_runs_again_at_once_but_not_for_ever(jobs: Jobs) -> None:
    job = run_background_job(Flaky, "snooze", {"times": 5})
    assert (job.result(), job.snapshot["retry_count"]) == (6, 0)
    with pytest.raises(JobFailedError, match=r"SnoozedTooOften: .* inline jobs are not waited for"):
        run_background_job(Flaky, "snooze", {"times": 6}).result()


@pytest.mark.parametrize(
    ("method", "parameters", "error"),
    [
        ("return_a_set", {}, "InvalidResult: the result is no JSON"),
        (
            "nest",
            {"depth": 102},
            "InvalidResult: the result is no JSON: it is nested more than 100 levels deep",
        ),
        ("exit", {"code": 3}, "exited: the process ended with code 3"),
        ("exit", {"code": 0}, "exited: the process ended with code 0 before the method returned"),
    ],
)
def test_other_ends_are_told_as_a_daemon_does(jobs: Jobs, method: str, parameters: Any, error: str) -> None:
    with pytest.raises(JobFailedError) as caught:
        run_background_job(Plain, method, parameters, max_retries=0).result()
    assert caught.value.job["error"].startswith(error)


def test_a_result_comes_back_as_json_has_it(jobs: Jobs) -> None:
    assert run_background_job(Plain, "return_a_tuple").result() == [1, {"2": 3}]


def test_an_async_method_runs_beside_a_loop_that_runs(jobs: Jobs) -> None:
    async def scene() -> Any:
        return run_background_job(Plain, "later", {"value": 5}).result()

    assert asyncio.run(scene()) == 5


def test_a_hook_is_asked_when_to_try_again_by_the_object_that_failed(jobs: Jobs) -> None:
    run_background_job(AsksWhen, "fail")
    assert jobs_of_tests.told == [(1, 1, "no recipient"), (1, 2, "no recipient"), (1, 3, "no recipient")]


@pytest.mark.parametrize(
    ("job_class", "warning"),
    [
        (FailsInHook, "FailsInHook.failed raised OSError: second"),
        (AsksOddly, "AsksOddly.retry_delay raised LookupError: [123]"),
    ],
)
def test_a_hook_that_fails_warns_and_changes_no_job(jobs: Jobs, job_class: type, warning: str) -> None:
    with pytest.warns(RuntimeWarning, match=warning):
        job = run_background_job(job_class, "fail")
    with pytest.raises(JobFailedError, match="ValueError: "):
        job.result()


def test_an_interrupt_is_the_test_runners(jobs: Jobs) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_background_job(Raising, "interrupt")


def test_a_message_at_exit_goes_to_stderr(jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
    run_background_job(Raising, "exit", {"code": "no disk"})
    assert capsys.readouterr().err == "no disk\n" * 2


def test_a_traceback_begins_with_the_jobs_own_frames(jobs: Jobs) -> None:
    (attempt, *_) = run_background_job(Raising, "without_text").refresh()["attempts"]
    first = next(line for line in attempt["traceback"].splitlines() if line.startswith("  File "))
    assert first.endswith("in without_text")


def test_a_key_used_for_two_jobs_of_many_stores_none(jobs: Jobs) -> None:
    good = {"class_name": PLAIN, "method_name": "echo"}
    options = {"idempotency_key": "one"}
    with pytest.raises(InvalidParameterError, match=r"jobs\.2\.options\.idempotency_key"):
        Client().submit_many(
            [good, {**good, "options": options}, {**good, "options": options, "retry_count": 1}]
        )
    assert (list(jobs), jobs_of_tests.told) == ([], [])


# Refusals


@pytest.mark.parametrize(
    ("class_name", "method_name", "parameters", "error"),
    [
        ("a..b", "run", {}, InvalidNameError),
        (PLAIN, "a.b", {}, InvalidNameError),
        ("x" * 256, "run", {}, InvalidNameError),
        ("tests.nowhere.Nothing", "run", {}, ClassUnavailableError),
        ("tests.client.jobs_of_tests.told", "run", {}, ClassUnavailableError),
        (PLAIN, "nothing", {}, MethodNotApprovedError),
        (PLAIN, "_hidden", {}, MethodNotApprovedError),
        (PLAIN, "borrowed", {}, MethodNotApprovedError),
        (Flaky, "failed", {}, MethodNotApprovedError),
        (PLAIN, "echo", {"colour": 1}, InvalidParametersError),
        (PLAIN, "nest", {}, InvalidParametersError),
        (PLAIN, "echo", {"value": "x" * 65536}, TooLargeError),
        (PLAIN, "echo", {"value": 2**63}, InvalidParameterError),
        (PLAIN, "echo", {"value": "\0"}, ProtocolError),
        (PLAIN, "echo", {"value": float("nan")}, ValueError),
        (PLAIN, "echo", {"value": 2j}, TypeError),
    ],
)
def test_what_a_daemon_refuses_is_refused(
    jobs: Jobs, class_name: Any, method_name: str, parameters: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        run_background_job(class_name, method_name, parameters)
    assert list(jobs) == []


@pytest.mark.parametrize(
    "options", [{"colour": 1}, {"priority": "high"}, {"delay": -1}, {"max_retries": True}, {"key": 7}]
)
def test_unknown_options_and_odd_values_are_refused_by_name(jobs: Jobs, options: Any) -> None:
    with pytest.raises(InvalidParameterError, match=rf"options\.{next(iter(options))}"):
        run_background_job(PLAIN, "echo", **options)


def test_only_approved_classes_run_where_some_are_named() -> None:
    for place in (bgjob.testing.inline, bgjob.testing.recorded):
        with place(approved={Plain, "a.B"}) as jobs:
            run_background_job(PLAIN, "echo")
            with pytest.raises(NotApprovedError):
                run_background_job(Flaky, "fail")
        assert len(jobs) == 1


def test_the_grammar_of_names_is_the_daemons() -> None:
    assert submission_rules.CLASS_NAME == daemons._CLASS_NAME
    assert submission_rules.METHOD_NAME == daemons._METHOD_NAME


def test_one_bad_job_of_many_stores_none(jobs: Jobs) -> None:
    with pytest.raises(MethodNotApprovedError):
        Client().submit_many(
            [{"class_name": PLAIN, "method_name": "echo"}, {"class_name": PLAIN, "method_name": "nothing"}]
        )
    assert list(jobs) == []


def test_a_class_whose_constructor_needs_more_is_unavailable(jobs: Jobs) -> None:
    with pytest.raises(ClassUnavailableError, match="its constructor needs connection"):
        run_background_job(NeedsMore, "run")


def test_an_inherited_method_runs(jobs: Jobs) -> None:
    assert run_background_job(Child, "echo", {"value": 1}).result() == 1


def test_the_same_key_gives_the_same_job_and_another_request_is_refused(jobs: Jobs) -> None:
    first = run_background_job(PLAIN, "echo", {"value": 1}, idempotency_key="k")
    assert run_background_job(PLAIN, "echo", {"value": 1}, idempotency_key="k").id == first.id
    with pytest.raises(IdempotencyConflictError):
        run_background_job(PLAIN, "echo", {"value": 2}, idempotency_key="k")
    assert len(jobs) == 1
    assert jobs[0].options == {"idempotency_key": "k"}


# Recorded


def test_recorded_jobs_stay_pending_and_are_listed() -> None:
    with bgjob.testing.recorded() as jobs:
        job = run_background_job("myapp.jobs.Email", "send", {"to": "a"}, 2, queue="mail", delay=60)
        run_background_job("myapp.jobs.Report", "draw")
        assert job.refresh()["status"] == "pending"
        client = Client()
        assert [one["id"] for one in client.list()] == [2, 1]
        assert [one["id"] for one in client.list(status="scheduled", class_name="myapp.jobs.Email")] == [1]
        page = client.list(limit=1)
        assert [one["id"] for one in client.list(before=page.next)] == [1]
        assert client.list(before=page.next, count=10).total == 2
        with pytest.raises(InvalidParameterError):
            client.list(status="dancing")
        with pytest.raises(JobNotFoundError):
            client.get(3)
    (email,) = jobs.of("myapp.jobs.Email", "send")
    assert (email.parameters, email.retry_count) == ({"to": "a"}, 2)
    assert email.options == {"queue": "mail", "delay": 60}
    assert jobs.of("myapp.jobs.Email", "other") == []
    assert repr(email) == "<SubmittedJob 1 myapp.jobs.Email::send {'to': 'a'} pending>"


def test_without_a_daemon_there_are_no_schedules() -> None:
    with bgjob.testing.recorded() as jobs:
        client = Client()
        assert client.schedules() == []
        asked = [client.occurrences, client.run_schedule, client.pause_schedule, client.resume_schedule]
        for ask in asked:
            with pytest.raises(bgjob.ScheduleNotFoundError, match="nightly"):
                ask("nightly")
        run_background_job("myapp.jobs.Email", "send")
        assert client.list(schedule="nightly").items == []
    assert len(jobs) == 1


def test_the_end_of_a_recorded_job_is_not_waited_for() -> None:
    with bgjob.testing.recorded():
        job = run_background_job("myapp.jobs.Email", "send")
        with pytest.raises(NothingRunsError, match=r"use bgjob\.testing\.inline"):
            job.result()
        with pytest.raises(NothingRunsError):
            job.result(3600)
        with pytest.raises(NothingRunsError):
            job.wait(0)
        assert wait([job], 3600) == ([], [job])
        with pytest.raises(WaitTimeoutError):
            list(as_completed([job], 3600))


def test_a_job_that_does_not_run_cannot_be_looked_at() -> None:
    with bgjob.testing.recorded():
        job = run_background_job("myapp.jobs.Email", "send")
        with pytest.raises(InvalidStateError, match=f"job {job.id} is pending"):
            job.stack()


def test_a_recorded_job_is_cancelled_and_asked_for_again() -> None:
    with bgjob.testing.recorded() as jobs:
        job = run_background_job("myapp.jobs.Email", "send")
        job.cancel()
        with pytest.raises(JobCancelledError):
            job.result()
        with pytest.raises(InvalidStateError):
            job.cancel()
        job.retry()
        assert jobs[0].status == Status.PENDING


def test_what_only_a_daemon_knows_is_refused(jobs: Jobs) -> None:
    for ask in (Client().stats, Client().classes, run_background_job(PLAIN, "echo").logs):
        with pytest.raises(NotAnsweredError):
            ask()


# Where it holds


def test_the_innermost_answers_and_the_daemon_does_again_afterwards() -> None:
    with bgjob.testing.inline() as outer:
        with bgjob.testing.recorded() as inner:
            run_background_job(PLAIN, "echo")
        run_background_job(PLAIN, "echo")
    assert ([job.status for job in inner], [job.status for job in outer]) == (["pending"], ["completed"])
    with pytest.raises(DaemonUnavailableError):
        run_background_job(PLAIN, "echo")


@bgjob.testing.recorded()
def test_it_works_as_a_decorator() -> None:
    assert run_background_job("a.B", "c").id == 1


def test_a_pause_tells_when_it_ends_and_refuses_an_end_that_is_none() -> None:
    with bgjob.testing.recorded():
        client = Client()
        assert client.pause("mail") is None
        assert client.pause("mail", resumes_at="2999-12-04T15:31:53+01:00") == "2999-12-04T14:31:53.000000Z"
        before = datetime.now(UTC)
        until = client.pause("mail", resumes_in=timedelta(minutes=10))
        assert 600 <= (datetime.fromisoformat(until or "") - before).total_seconds() < 660
        for wrong in (
            {"resumes_in": 0},
            {"resumes_in": "10m"},
            {"resumes_in": 5, "resumes_at": "2999-12-04T14:31:53Z"},
            {"resumes_at": "2999-12-04T14:31:53"},
            {"resumes_at": "2024-12-04T14:31:53Z"},
        ):
            with pytest.raises(InvalidParameterError) as caught:
                client.pause("mail", **wrong)  # type: ignore[arg-type]  # that is what is tried
            assert caught.value.parameters == {"parameter": next(iter(wrong))}


class TestWithUnittest(unittest.TestCase):
    """It works in unittest, too."""

    def setUp(self) -> None:
        self.jobs = self.enterContext(bgjob.testing.recorded())

    def test_what_is_submitted_is_recorded(self) -> None:
        run_background_job("a.B", "c")
        self.assertEqual([job.class_name for job in self.jobs], ["a.B"])  # noqa: PT009  # unittest's own form
