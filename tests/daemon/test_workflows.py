"""Jobs that come after others, by a real daemon: policies, retries, results that are passed on, groups, restarts."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgjob import BehindFailedError, Client, GroupSealedError, InvalidStateError, WaitTimeoutError
from bgjob.client import Job
from bgjob.flow import Draft, chain, group, job, result_of
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

PROBE = "probes.Probe"
TAKER = """
class Taker:
    def rows(self, rows: list, title: str = "none"):
        return [title, *rows]

    def failed(self, error):
        with open(__file__ + ".told", "a") as book:
            book.write(f"{error}\\n")

    def add(self, group):
        from bgjob import Client
        with Client() as client:
            return client.run_background_job("probes.Probe", "echo", {"value": 9}, group=group).id


class Secretive:
    def secret(self, token: int):
        return "taken"
"""
CONFIG = """
[approved."takers.Taker"]
[approved."takers.Secretive"]
sensitive = ["token"]
[queues.default]
[queues.narrow]
max_pending = 2
"""


@pytest.fixture(scope="module")
def running(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    directory = tmp_path_factory.mktemp("workflows")
    with daemon(directory, CONFIG, modules={"takers": TAKER}, has_pydantic=True) as running:
        yield running


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


def echo(value: Any = None, **options: Any) -> Draft:
    return job(PROBE, "echo", {"value": value}, **options)


def fails(**options: Any) -> Draft:
    return job(PROBE, "fail", max_retries=0, **options)


def messages(one: Job) -> list[str]:
    return [entry["message"] for entry in one.logs().items]


def ended(one: Job) -> str:
    return str(one.wait(20)["status"])


# What an end means to what comes after


@pytest.mark.parametrize(
    ("policy", "status"), [(None, "cancelled"), ("run", "completed"), ("wait", "pending")]
)
def test_the_policy_decides_what_a_failure_means_and_a_success_lets_all_go_on(
    client: Client, policy: Any, status: str
) -> None:
    bad, good = fails(), echo(1)
    behind, before = echo(2, after=[bad], if_failed=policy), echo(3, after=[good], if_failed=policy)
    flow = bad.and_(good, behind, before).submit(client)
    assert [ended(flow[one]) for one in (bad, good, before)] == ["failed", "completed", "completed"]
    assert eventually(lambda: flow[behind].refresh()["status"] == status)
    assert messages(flow[before])[1:3] == [
        "Background job waits for another",
        f"Background job is free to run: job {flow[good].id} completed",
    ]
    if status == "cancelled":
        error = f"job {flow[bad].id}, which it came after, failed"
        assert (flow[behind].snapshot["error"], flow[behind].snapshot["cancelled_after"]) == (
            f"cancelled: {error}",
            str(flow[bad].id),
        )
        assert messages(flow[behind])[-1] == f"Background job cancelled: {error}"
        assert flow[behind].why().endswith(f": {error}")
    if status == "pending":
        sentence = f"waits for job {flow[bad].id}, which failed; `bgjob retry"
        eventually(lambda: sentence in flow[behind].why())
        client.cancel(flow[behind].id)


def test_a_retry_revives_at_third_hand_and_what_a_person_cancelled_stays(
    client: Client, tmp_path: Path
) -> None:
    first = job(PROBE, "fail_until", {"marker": str(tmp_path / "marker"), "times": 1}, max_retries=0)
    second, third, unwanted = echo(2), echo(3), echo(4, after=[first])
    flow = chain(first, second, third).and_(unwanted).submit(client)
    assert [ended(flow[one]) for one in (third, unwanted)] == ["cancelled", "cancelled"]
    with pytest.raises(BehindFailedError, match=f"job {flow[third].id} comes after job {flow[second].id}"):
        flow[third].retry()
    with pytest.raises(InvalidStateError):
        flow[unwanted].cancel()
    flow[first].retry()
    assert [flow[one].result(20) for one in (first, second, third, unwanted)] == [1, 2, 3, 4]
    assert f"Background job waits again: job {flow[first].id} is to run again" in messages(flow[second])


def test_a_job_that_a_person_cancelled_is_not_revived_and_one_may_run_anyway(client: Client) -> None:
    bad = fails()
    anyway, waits = echo(1, after=[bad]), echo(2, after=[bad], if_failed="wait")
    flow = bad.and_(anyway, waits).submit(client)
    assert ended(flow[anyway]) == "cancelled"
    client.cancel(flow[waits].id)
    flow[anyway].retry(anyway=True)
    assert flow[anyway].result(20) == 1
    flow[bad].retry()
    assert ended(flow[bad]) == "failed"
    assert flow[waits].refresh()["status"] == "cancelled"


# What is taken of results


def take(parameters: dict[str, Any], **options: Any) -> Draft:
    return job("takers.Taker", "rows", parameters, max_retries=0, **options)


def test_results_are_taken_by_pointers_and_those_of_a_group_in_the_order_of_its_members(
    client: Client,
) -> None:
    report = echo({"title": "Sales", "rows": [{"n": 1}, {"n": 2}]})
    bound = take({"rows": result_of(report, "rows"), "title": result_of(report, "title")})
    parts = group(echo(1), fails(), echo(3))
    total = take({"rows": result_of(parts)}, if_failed="run")
    flow = chain(report, bound).and_(parts, total).submit(client)
    assert flow[bound].result(20) == ["Sales", {"n": 1}, {"n": 2}]
    assert flow[total].result(20) == ["none", 1, None, 3]
    assert flow[bound].refresh()["parameters"] == {"rows": [{"n": 1}, {"n": 2}], "title": "Sales"}


@pytest.mark.parametrize(
    ("result", "path", "error"),
    [
        (3, [], 'InvalidParameters: rows: 3 is not of type "array" (from job {})'),
        ({"a": 1}, ["b"], "InvalidParameters: rows: the result has no b (from job {})"),
        ("y" * 60_000, [], "InvalidParameters: rows: with it the parameters would take 66"),
    ],
)
def test_what_does_not_fit_leads_nowhere_or_is_too_large_fails_before_a_process_is_made(
    client: Client, result: Any, path: list[str], error: str
) -> None:
    source = echo(result)
    taker = take({"rows": result_of(source, *path), "title": "z" * 6_000})
    flow = chain(source, taker).submit(client)
    assert ended(flow[taker]) == "failed"
    shown = flow[taker].refresh()
    assert str(shown["error"]).startswith(error.format(flow[source].id))
    assert [one["pid"] for one in shown["attempts"]] == [None]


def test_the_hook_of_a_job_whose_results_do_not_fit_is_called(client: Client, running: RunningDaemon) -> None:
    source = echo(3)
    taker = take({"rows": result_of(source)})
    flow = chain(source, taker).submit(client)
    assert ended(flow[taker]) == "failed"
    told = f'rows: 3 is not of type "array" (from job {flow[source].id})'
    books = running.directory.rglob
    eventually(lambda: any(told in book.read_text() for book in books("takers.py.told")))


def test_a_secret_that_is_taken_is_told_nowhere(client: Client, running: RunningDaemon) -> None:
    source = echo("the canary sings")
    taker = job("takers.Secretive", "secret", {"token": result_of(source)})
    flow = chain(source, taker).submit(client)
    assert ended(flow[taker]) == "failed"
    shown = flow[taker].refresh()
    assert shown["error"] == f"InvalidParameters: token: does not fit (from job {flow[source].id})"
    assert "canary" not in str(shown["parameters"]) + str(messages(flow[taker])) + flow[taker].why()


# Groups


def test_a_group_ends_with_its_last_member_and_none_or_one_are_no_special_case(
    client: Client, running: RunningDaemon
) -> None:
    none, one, inner = group(), group(echo(1)), group(echo(2), echo(3))
    outer = group(inner, echo(4), name="outer")
    steps = [none, one, outer]
    callbacks = [echo(9, after=[step]) for step in steps]
    flow = chain(none).and_(one, outer, *callbacks).submit(client)
    assert [flow[callback].result(20) for callback in callbacks] == [9, 9, 9]
    assert [(flow[step].snapshot["total"], flow[step].wait(20)["state"]) for step in (outer, inner)] == [
        (2, "completed"),
        (2, "completed"),
    ]
    eventually(lambda: f"group {flow[outer].id} (outer) ended: 2 completed" in running.console())


def test_an_open_group_whose_client_died_says_so_and_ends_when_it_is_sealed(client: Client) -> None:
    parts = group(echo(1), open=True)
    callback = echo(2, after=[parts])
    last = echo(3, after=[callback])
    flow = parts.and_(callback, last).submit(client)
    assert ended(flow.jobs[0]) == "completed"
    assert f"waits for group {flow[parts].id}, which nobody has sealed; `bgjob" in flow[callback].why()
    assert f"waits for job {flow[callback].id}, which is blocked itself; `bgjob why" in flow[last].why()
    with pytest.raises(WaitTimeoutError):
        flow[parts].wait(0.01)
    added = client.run_background_job("takers.Taker", "add", {"group": flow[parts].id})
    assert client.get(added.result(20)).result(20) == 9
    flow[parts].seal()
    assert flow[parts].wait(20)["completed"] == 2
    assert flow[callback].result(20) == 2
    with pytest.raises(GroupSealedError):
        flow[parts].add(echo(3))


def test_a_cancelled_group_stops_what_runs_and_cancels_what_waits(client: Client, tmp_path: Path) -> None:
    runs = job(PROBE, "wait_for", {"path": str(tmp_path / "never"), "ledger": str(tmp_path / "ledger")})
    waits, inner = echo(1, delay=600), group(echo(2, delay=600))
    parts = group(runs, waits, inner, open=True)
    callbacks = [echo(3, after=[parts]), echo(4, after=[parts], if_failed="run")]
    flow = parts.and_(*callbacks).submit(client)
    eventually((tmp_path / "ledger").exists)
    flow[parts].cancel()
    assert flow[parts].wait(20)["state"] == "failed"
    assert [ended(flow[one]) for one in (runs, waits, *callbacks)] == [
        *("cancelled", "cancelled", "cancelled", "completed"),
    ]
    assert flow[inner].refresh()["cancelled"] == 1


def test_a_group_that_is_retried_runs_what_failed_and_then_its_callback(
    client: Client, tmp_path: Path
) -> None:
    part = job(PROBE, "fail_until", {"marker": str(tmp_path / "marker"), "times": 1}, max_retries=0)
    parts = group(part, echo(2))
    callback = echo(3, after=[parts])
    flow = parts.and_(callback).submit(client)
    assert ended(flow[callback]) == "cancelled"
    assert flow[parts].retry() == 1
    eventually(lambda: flow[callback].refresh()["status"] != "cancelled")  # perhaps by the next transaction
    assert flow[callback].result(20) == 3
    assert flow[parts].refresh()["state"] == "completed"


def test_a_member_whose_unique_key_another_job_has_by_now_is_left_out_of_a_retry(
    client: Client, tmp_path: Path
) -> None:
    def part(name: str, **given: Any) -> Draft:
        return job(PROBE, "fail_until", {"marker": str(tmp_path / name), "times": 1}, max_retries=0, **given)

    taken, cause = part("a", unique_key="taken"), part("b")
    parts = group(taken, cause, echo(1, after=[taken]))
    flow = parts.submit(client)
    eventually(lambda: flow[parts].refresh()["state"] == "failed")
    other = client.run_background_job(
        PROBE, "fail_until", {"marker": "", "times": 0}, unique_key="taken", delay=3600
    )
    assert flow[parts].retry() == 1  # what was cancelled for the other one stays so
    other.cancel()


def test_a_retry_of_a_group_counts_what_runs_again_by_it_in_the_groups_in_it_too(client: Client) -> None:
    """What was cancelled for a job that is no member stays as it is, and is not counted."""
    outside, bad, worse = fails(), fails(), fails()
    behind, third = echo(1, after=[bad]), echo(2, after=[worse])
    inner = group(worse, third, echo(6, after=[bad]))
    parts = group(bad, behind, inner, echo(3, after=[outside]), echo(4))
    callback = echo(5, after=[parts], if_failed="run")
    flow = outside.and_(parts, callback).submit(client)
    flow[callback].wait(20)
    before = flow[behind].refresh()["updated_at"]
    assert flow[parts].retry() == 5
    eventually(lambda: "Background job waits again" in str(messages(flow[behind])))  # as above
    assert flow[behind].refresh()["updated_at"] > before
    assert flow[parts].wait(20)["state"] == "failed"


# What else there is


def test_blocked_jobs_count_as_pending_in_their_queue_and_are_told_apart(
    client: Client, tmp_path: Path
) -> None:
    runs = job(PROBE, "wait_for", {"path": str(tmp_path / "go"), "ledger": str(tmp_path / "ledger")})
    first = runs.submit(client)
    blocked = [
        client.run_background_job(PROBE, "echo", {"value": n}, after=[first], queue="narrow") for n in (1, 2)
    ]
    with pytest.raises(Exception, match="queue narrow is full"):
        client.run_background_job(PROBE, "echo", {"value": 3}, after=[first], queue="narrow")
    stats = client.stats()
    narrow = next(one for one in stats["queues"] if one["name"] == "narrow")
    assert (narrow["pending"], narrow["blocked"], stats["blocked"]) == (2, 2, 2)
    assert [one["id"] for one in client.list(status="blocked").items] == [blocked[1].id, blocked[0].id]
    (tmp_path / "go").touch()
    assert [one.result(20) for one in blocked] == [1, 2]
    assert client.stats()["blocked"] == 0


def test_a_failure_before_thousands_cancels_them_all_though_the_daemon_is_killed_in_between(
    tmp_path: Path,
) -> None:
    with daemon(tmp_path) as running:
        with running.client() as client:
            bad = fails()
            many = group(*(echo(n, after=[bad]) for n in range(1500)))
            callback = echo("end", after=[many], if_failed="run")
            client.pause()
            flow = bad.and_(many, callback).submit(client)
            client.resume()
            flow[bad].wait(20)
        running.stop(signal.SIGKILL)
        running.start()
        with running.client() as client:
            assert client.get(flow[callback].id).result(30) == "end"
            state = client.group(flow[many].id).refresh()
        assert (state["cancelled"], state["unfinished"], state["state"]) == (1500, 0, "failed")


SLOW = """
import os, time

class Slow:
    def rows(self, rows: list):
        return rows

    def fail(self):
        raise ValueError("first")

    def failed(self, error):
        with open(__file__ + ".told", "a") as book:
            book.write(f"{error}\\n")
        while "first" in str(error) and not os.path.exists(__file__ + ".go"):
            time.sleep(0.01)
"""


def test_a_hook_that_is_owed_for_results_that_do_not_fit_outlives_the_daemon(tmp_path: Path) -> None:
    settings, modules = '[approved."slow.Slow"]\nmax_retries = 0\n', {"slow": SLOW}

    def told(error: str) -> bool:
        return any(error in book.read_text() for book in tmp_path.rglob("slow.py.told"))

    with daemon(
        tmp_path, settings, environ={"BGJOBD_DAEMON__SLOTS": "1"}, modules=modules, has_pydantic=True
    ) as running:
        with running.client() as client:
            client.run_background_job("slow.Slow", "fail").wait(20)
            eventually(lambda: told("first"))
            source = echo(3)
            taker = job("slow.Slow", "rows", {"rows": result_of(source)})
            assert ended(chain(source, taker).submit(client)[taker]) == "failed"
        running.stop(signal.SIGKILL)
        (next(tmp_path.rglob("slow.py")).parent / "slow.py.go").touch()
        running.start()
        eventually(lambda: told("is not of type"))
