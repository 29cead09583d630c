"""Flows in bgjob.testing: jobs run in the order of the request, with results passed and failures kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import bgjob.testing
from bgjob import (
    BehindFailedError,
    Client,
    GroupNotFoundError,
    GroupSealedError,
    InvalidParameterError,
    InvalidParametersError,
    InvalidStateError,
    JobNotFoundError,
    WaitTimeoutError,
    chain,
    group,
    job,
    result_of,
    run_background_job,
)
from bgjob.testing import Jobs, NothingRunsError
from tests.client import jobs_of_tests
from tests.client.jobs_of_tests import Plain, Raising

ECHO = job(Plain.echo)


@pytest.fixture(autouse=True)
def nothing_told() -> None:
    jobs_of_tests.told.clear()


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    with bgjob.testing.inline() as jobs:
        yield jobs


@pytest.fixture
def client() -> Client:
    return Client("/nowhere")


def echo(value: Any, **options: Any) -> bgjob.Draft:
    return job(
        Plain, "echo", {"value": value}, name=str(value) if isinstance(value, str) else None, **options
    )


def failing(**options: Any) -> bgjob.Draft:
    return job(Raising, "never_again", **options)


def statuses(jobs: Jobs) -> list[str]:
    return [str(one.status) for one in jobs]


# Inline


def test_a_flow_runs_in_the_order_of_its_request(jobs: Jobs) -> None:
    chain(echo("first"), group(echo("a"), echo("b")), echo("last")).submit()
    assert jobs_of_tests.told == ["first", "a", "b", "last"]
    assert statuses(jobs) == ["completed"] * 4


def test_results_become_parameters(jobs: Jobs) -> None:
    first = echo({"rows": [1, {"a/b": 2}]})
    pages = group(echo(number) for number in (3, 4))
    last = job(Plain.echo, value=result_of(pages))
    submitted = chain(first, job(Plain.echo, value=result_of(first, "rows", 1, "a/b")), pages, last).submit()
    assert jobs_of_tests.told == [{"rows": [1, {"a/b": 2}]}, 2, 3, 4, [3, 4]]
    assert submitted[last].result() == [3, 4]
    assert jobs[-1].parameters == {"value": [3, 4]}
    assert submitted[last].snapshot["takes"] == {"value": {"of": {"group": 1}, "pointer": ""}}


def test_what_comes_after_a_failure_is_cancelled_runs_or_waits(jobs: Jobs, client: Client) -> None:
    bad = failing()
    cancelled, after_that = echo("cancelled", after=[bad]), echo("third hand")
    runs, waits = echo("runs", after=[bad], if_failed="run"), echo("waits", after=[bad], if_failed="wait")
    submitted = bad.and_(chain(cancelled, after_that), runs, waits).submit()
    assert jobs_of_tests.told == ["runs"]
    assert statuses(jobs) == ["failed", "cancelled", "completed", "pending", "cancelled"]
    assert jobs[1].error == "cancelled: job 1, which it came after, failed"
    assert jobs[4].error == "cancelled: job 2, which it came after, was cancelled"
    told = submitted[waits].refresh()
    assert (told["is_blocked"], told["waits_for"], told["if_failed"]) == (True, 1, "wait")
    assert submitted[cancelled].refresh()["cancelled_after"] == "1"
    assert [one["id"] for one in client.list(status="blocked")] == [submitted[waits].id]
    assert submitted[waits].why() == "job 4 waits for job 1"
    with pytest.raises(NothingRunsError, match="comes after job 1, which has not ended"):
        submitted[waits].wait()


def test_a_retry_of_the_cause_has_all_go_on_that_was_cancelled_for_it(jobs: Jobs, client: Client) -> None:
    flaky = job("tests.client.jobs_of_tests.Flaky", "fail_until", {"succeeds_at": 5})
    pages = group(flaky)
    submitted = chain(pages, echo("second"), echo("third")).submit()
    assert statuses(jobs) == ["failed", "cancelled", "cancelled"]
    with pytest.raises(BehindFailedError, match="retry group 1 first"):
        client.retry(2)
    assert submitted[pages].snapshot["state"] == "failed"
    assert submitted[pages].retry() == 1
    assert statuses(jobs) == ["completed"] * 3
    assert jobs_of_tests.told[-2:] == ["second", "third"]
    assert submitted[pages].refresh()["completed"] == 1


def test_what_is_retried_anyway_runs_though_its_predecessor_failed(jobs: Jobs, client: Client) -> None:
    chain(failing(), echo("second")).submit()
    client.retry(2, anyway=True)
    assert statuses(jobs) == ["failed", "completed"]


def test_of_jobs_that_are_retried_together_the_first_frees_the_others(jobs: Jobs, client: Client) -> None:
    chain(job("tests.client.jobs_of_tests.Flaky", "fail_until", {"succeeds_at": 5}), echo("second")).submit()
    client.retry(2, 1)
    assert statuses(jobs) == ["completed", "completed"]


def test_what_cannot_be_taken_fails_the_job_before_its_method_is_called(jobs: Jobs) -> None:
    first = echo({"rows": [1]})
    wrong = job(Plain.echo, value=result_of(first, "rows", 3))
    chain(first, wrong).submit()
    assert jobs[1].error == "InvalidParameters: value: at /rows is a list of 1, and has no 3 (from job 1)"
    assert jobs_of_tests.told == [{"rows": [1]}]


@pytest.mark.parametrize(
    ("path", "problem"),
    [(["x"], "the result has no x"), (["rows", 0, "x"], "at /rows/0 is neither an object nor a list")],
)
def test_a_pointer_that_leads_nowhere_says_how_far_it_led(jobs: Jobs, path: list[Any], problem: str) -> None:
    first = echo({"rows": [1]})
    chain(first, job(Plain.echo, value=result_of(first, *path))).submit()
    assert jobs[1].error == f"InvalidParameters: value: {problem} (from job 1)"


def test_a_result_that_is_too_large_is_no_parameter(jobs: Jobs) -> None:
    large = job("tests.client.jobs_of_tests.Large", "text", {"size": 70_000})
    chain(large, job(Plain.echo, value=result_of(large))).submit()
    assert "the limit is 65536; pass a path, not a file (from job 1)" in str(jobs[1].error)


def test_of_what_did_not_complete_the_result_is_null_where_that_runs(jobs: Jobs) -> None:
    bad = failing()
    last = job(Plain.echo, value=result_of(group(), 0))
    chain(bad, job(Plain.echo, value=result_of(bad, "rows")).options(if_failed="run")).submit()
    assert jobs_of_tests.told == [None]
    with pytest.raises(ValueError, match="is not in the flow"):
        last.and_().submit()


# Groups


def test_an_open_group_takes_members_and_ends_when_it_is_sealed(jobs: Jobs, client: Client) -> None:
    pages = group(echo("a"), name="pages", open=True)
    submitted = chain(pages, echo("last")).submit()
    handle = submitted[pages]
    assert handle.snapshot.items() >= {"state": "open", "total": 1, "completed": 1, "name": "pages"}.items()
    with pytest.raises(WaitTimeoutError, match="is not sealed"):
        handle.wait()
    handle.add(echo("b"), chain(echo("c"), echo("d")))
    assert jobs_of_tests.told == ["a", "b", "c", "d"]
    handle.seal()
    assert (handle.wait()["completed"], jobs_of_tests.told[-1]) == (4, "last")
    with pytest.raises(GroupSealedError):
        handle.add(echo("e"))
    assert [one["id"] for one in handle.jobs()] == [5, 4, 3, 1]
    assert [one["state"] for one in client.groups(state="completed")] == ["completed"]
    assert client.groups(state="open").items == []
    handle.seal()


def test_empty_groups_have_completed_and_groups_of_groups_count_each_as_one(jobs: Jobs) -> None:
    inner, empty = group(echo("a"), failing()), group()
    outer = group(inner, empty, echo("b"))
    submitted = chain(outer, echo("last", if_failed="run")).submit()
    counts = [(one.snapshot["state"], one.snapshot["total"]) for one in (submitted[inner], submitted[empty])]
    assert counts == [("failed", 2), ("completed", 0)]
    told = submitted[outer].snapshot
    assert (told["state"], told["total"], told["completed"], told["failed"]) == ("failed", 3, 2, 1)
    assert told["group"] is None
    assert jobs_of_tests.told == ["a", "b", "last"]


def test_a_cancelled_group_takes_nobody_and_ends(jobs: Jobs, client: Client) -> None:
    gate, pages = group(open=True), group(echo("a"), group(echo("b")))
    submitted = chain(gate, pages, echo("last", if_failed="run")).submit()
    submitted[pages].cancel()
    told = submitted[pages].wait()
    # A group in it is no cancelled job.
    assert (told["state"], told["cancelled"], told["failed"]) == ("failed", 1, 1)
    assert jobs_of_tests.told == ["last"]
    submitted[gate].cancel()
    assert submitted[gate].wait()["state"] == "completed"
    with pytest.raises(GroupSealedError):
        submitted[gate].add(echo("c"))


def test_a_job_adds_members_to_its_own_group(jobs: Jobs, client: Client) -> None:
    pages = chain(group(open=True)).submit().groups[0]
    pages.add(job("tests.client.jobs_of_tests.Flows", "add", {"group_id": pages.id}))
    pages.seal()
    assert pages.refresh()["total"] == 2
    assert pages.wait()["completed"] == 2


def test_a_job_that_cancels_another_frees_what_comes_after_it(jobs: Jobs, client: Client) -> None:
    gate = chain(group(open=True)).submit().groups[0]
    first = run_background_job(Plain, "echo", {"value": "no"}, after=[gate])
    run_background_job(Plain, "echo", {"value": "yes"}, after=[first], if_failed="run")
    first.cancel()
    assert jobs_of_tests.told == ["yes"]


def test_a_graph_has_what_hangs_together(jobs: Jobs, client: Client) -> None:
    first, pages, last = echo("first"), group(echo("a"), echo("b")), echo("last")
    submitted = chain(first, pages, last).submit()
    echo("apart").submit()
    graph = client.graph(submitted[last].id)
    assert ([one["id"] for one in graph.jobs], [one["id"] for one in graph.groups]) == ([1, 2, 3, 4], [1])
    assert [(one["of"], one["after"], one["job_id"], one["standing"]) for one in graph.edges] == [
        ("job", 1, 2, "met"),
        ("job", 1, 3, "met"),
        ("group", 1, 4, "met"),
    ]
    assert graph.is_whole
    assert not client.graph(submitted[last].id, limit=2).is_whole


# Refusals


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"after": [99]}, JobNotFoundError),
        ({"after": [{"group": 99}]}, GroupNotFoundError),
        ({"group": 99}, GroupNotFoundError),
        ({"after": [{"ref": "a"}]}, InvalidParameterError),
        ({"after": [{"id": 1, "group": 1}]}, InvalidParameterError),
        ({"after": [1], "delay": 5}, InvalidParameterError),
        ({"if_failed": "run"}, InvalidParameterError),
        ({"after": [1], "if_failed": "ignore"}, InvalidParameterError),
        ({"after": [{}]}, InvalidParameterError),
    ],
)
def test_what_a_daemon_refuses_is_refused(jobs: Jobs, options: Any, error: type[Exception]) -> None:
    echo("first").submit()
    with pytest.raises(error):
        run_background_job(Plain, "echo", {"value": 2}, **options)
    assert len(jobs) == 1


def test_a_value_is_taken_or_given_and_by_a_parameter_that_there_is(jobs: Jobs) -> None:
    first = echo("first").submit()
    with pytest.raises(InvalidParametersError, match="there is no such parameter"):
        run_background_job(Plain, "echo", {"other": result_of(first)})
    with pytest.raises(InvalidParametersError, match="is given, too"):
        Client("/x").submit_many(
            [
                {
                    "class_name": Plain,
                    "method_name": "echo",
                    "parameters": {"value": 1},
                    "options": {"take": {"value": {"of": {"id": first.id}}}},
                }
            ]
        )


def test_a_member_comes_after_nothing_that_is_newer_than_its_group(jobs: Jobs) -> None:
    pages = chain(group(open=True)).submit().groups[0]
    newer = echo("newer").submit()
    with pytest.raises(InvalidParameterError, match=r"jobs\.0\.options\.after\.0"):
        pages.add(echo("a", after=[newer]))
    assert len(jobs) == 1


def test_a_flow_that_is_refused_leaves_nothing_behind(jobs: Jobs, client: Client) -> None:
    with pytest.raises(JobNotFoundError):
        chain(group(echo("a")), echo("b", after=[99])).submit()
    assert (len(jobs), client.groups().items) == (0, [])


def test_a_repeat_with_the_same_keys_is_the_same_flow(jobs: Jobs) -> None:
    pages = group(echo("a", idempotency_key="k"), idempotency_key="g")
    first, second = pages.submit(), pages.submit()
    assert (first.jobs[0].id, first.groups[0].id) == (second.jobs[0].id, second.groups[0].id)
    assert len(jobs) == 1


# Recorded


def test_recorded_jobs_keep_what_they_come_after_by_their_places() -> None:
    with bgjob.testing.recorded() as jobs:
        first, pages, last = echo("first"), group(echo("a")), job(Plain.echo)
        taking = job(Plain.echo, value=result_of(first, "rows"))
        submitted = chain(first, pages, last.options(if_failed="wait"), taking).submit()
        assert [one.options.get("after") for one in jobs] == [None, [{"id": 1}], [{"group": 1}], [{"id": 3}]]
        assert jobs[1].options["group"] == {"id": 1}
        assert jobs[2].options["if_failed"] == "wait"
        assert jobs[3].options["take"] == {"value": {"of": {"id": 1}, "pointer": "/rows"}}
        assert statuses(jobs) == ["pending"] * 4
        with pytest.raises(NothingRunsError, match="is only recorded"):
            submitted[first].wait()
        first_job = Client("/x").get(1)
        first_job.cancel()
        assert statuses(jobs) == ["cancelled", "cancelled", "pending", "cancelled"]
        with pytest.raises(InvalidStateError):
            first_job.cancel()
