"""Many jobs at once through a real daemon: what matches is counted, retried, undone, and told as a change."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgjob import Client, Filter
from bgjob.errors import ChangedError, InvalidParameterError, ReloadFailedError
from tests.daemon import warm
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

SHOP = """
class Mail:
    def send(self, to):
        raise ConnectionError(f"no route to {to}")

    def wait(self):
        import time
        time.sleep(600)


class Post(Mail):
    pass
"""
APPROVED = '"shop.Mail" = {}\n"shop.Post" = {}\n'
FAILED = Filter(status="failed", class_name="shop.Mail")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(tmp_path_factory.mktemp("many"), APPROVED, modules={"shop": SHOP}) as running:
        yield running


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


@pytest.fixture(scope="module")
def failed(running: RunningDaemon) -> list[int]:
    """Three jobs that have failed, one of which may be tried but once, and one of another class that may be, too; the
    queue is paused after that.
    """
    with running.client() as client:
        jobs = [
            client.run_background_job("shop.Mail", "send", {"to": "ann"}, max_retries=most, retry_count=most)
            for most in (1, 1, 0)
        ]
        other = client.run_background_job("shop.Post", "send", {"to": "ben"}, max_retries=0, retry_count=0)
        for job in (*jobs, other):
            job.wait(20)
        client.pause()
    return [job.id for job in jobs]


def bgjob(running: RunningDaemon, *words: str) -> subprocess.CompletedProcess[str]:
    return warm.run([*words, "--socket", str(running.socket)], program="bgjob")


def test_what_failed_is_counted_and_retried_and_a_cancel_of_that_undoes_it(
    client: Client, running: RunningDaemon, failed: list[int]
) -> None:
    matched = client.matching(FAILED, "retry")
    assert (matched.jobs, matched.at_most_once, matched.running) == (3, 1, 0)
    assert matched.classes == [{"class_name": "shop.Mail", "count": 3, "at_most_once": 1}]
    with pytest.raises(ChangedError, match="there are 3 jobs"):
        client.retry_matching(FAILED, as_of=matched.as_of, expected=2)
    done = client.retry_matching(FAILED, as_of=matched.as_of, expected=3, spread=60)
    assert (done.done, done.left_out) == (2, 1)
    listed = client.list(bulk=done.change).items
    assert [(job["id"], job["status"]) for job in listed] == [(id, "pending") for id in failed[1::-1]]
    assert client.get(failed[0]).snapshot["bulk"] == done.change

    undo = Filter(bulk=done.change)
    undone = client.cancel_matching(undo, as_of=client.matching(undo, "cancel").as_of, expected=2)
    assert (undone.done, client.list(bulk=undone.change).items[0]["status"]) == (2, "cancelled")

    cancelled, retried, *earlier = client.changes().items
    assert (cancelled["kind"], retried["kind"]) == ("cancelled_many", "retried_many")
    paused = next(change for change in earlier if change["kind"] == "paused")
    assert retried["what"]["filter"] == {"status": ["failed"], "class_name": "shop.Mail"}
    assert retried["who"] == paused["who"]
    eventually(lambda: any("retry of 2 jobs, 1 left out" in line for line in running.lines()))


def test_the_command_says_how_many_and_does_as_it_is_told(
    running: RunningDaemon, client: Client, failed: list[int]
) -> None:
    dry = bgjob(running, "retry", "--matching", "--class", "shop.Post", "--dry-run", "--json")
    told = json.loads(dry.stdout)
    assert (told["count"], told["at_most_once"], told["done"], told["is_dry_run"]) == (1, 1, 0, True)
    done = bgjob(running, "retry", "--matching", "--class", "shop.Post", "--at-most-once", "--yes")
    assert done.returncode == 0
    assert "1 job matches: shop.Post 1" in done.stderr
    assert "1 job is to run again" in done.stderr
    listed = bgjob(running, "changes", "--limit", "1")
    assert "1 job retried (class shop.Post)" in listed.stdout


def test_a_start_and_the_code_are_changes(client: Client, failed: list[int]) -> None:
    kinds = [one["kind"] for one in client.changes().items]
    assert kinds[-2:] == ["loaded", "started"]


@pytest.mark.parametrize(
    ("wanted", "parameter"),
    [
        (Filter(), "filter"),
        (Filter(queue="default", since="2024-12-04T14:31:53Z"), "filter"),
        (Filter(status="pending"), "filter.status.0"),
        (Filter(class_name="a.B", since="yesterday"), "filter.since"),
    ],
)
def test_a_filter_that_cannot_be_is_refused(client: Client, wanted: Filter, parameter: str) -> None:
    with pytest.raises(InvalidParameterError, match=parameter):
        client.matching(wanted, "retry")


def test_a_reload_is_told_with_who_has_asked_and_one_that_fails_with_why(
    client: Client, running: RunningDaemon
) -> None:
    def newest() -> dict[str, Any]:
        return dict(client.changes(limit=1).items[0])

    eventually(lambda: client.stats()["code_version"])  # else it is the reload that loads it first
    code = client.reload()
    eventually(lambda: newest()["what"] | {"host": None} == {"code": code, "was": code, "host": None})
    who = newest()["who"]
    assert who is not None
    assert who.startswith("uid ")
    (running.directory / "shop.py").write_text("raise ValueError('not today')")
    with pytest.raises(ReloadFailedError):
        client.reload()
    eventually(lambda: newest()["kind"] == "reload_failed")
    assert "not today" in newest()["what"]["reason"]
    assert newest()["who"] == who


@pytest.mark.long
def test_a_daemon_that_is_killed_amid_many_leaves_what_can_be_carried_on(tmp_path: Path) -> None:
    with daemon(tmp_path, APPROVED, modules={"shop": SHOP}) as running, running.client() as client:
        client.pause()
        client.submit_many([{"class_name": "shop.Mail", "method_name": "wait"}] * 3000)
        wanted = Filter(class_name="shop.Mail")
        as_of = client.matching(wanted, "cancel").as_of
        words = ("cancel", "--matching", "--class", "shop.Mail", "--yes", "--socket", str(running.socket))
        asked = subprocess.Popen([sys.executable, "-m", "bgjob", *words], stderr=subprocess.DEVNULL)
        eventually(lambda: running.query("SELECT 1 FROM changes WHERE kind = 'cancelled_many'"))
        running.stop(signal.SIGKILL)
        asked.wait(30)
        ((what, change),) = running.query("SELECT what, id FROM changes WHERE kind = 'cancelled_many'")
        told = json.loads(what)
        assert running.query(f"SELECT count(*) FROM background_jobs WHERE bulk = {change}") == [
            (told["done"],)
        ]
        running.start()
        left = client.matching(wanted, "cancel", as_of=as_of)
        assert (left.jobs + told["done"], told["is_over"]) == (3000, left.jobs == 0)
        client.cancel_matching(wanted, as_of=as_of, expected=left.jobs)
        assert client.matching(wanted, "cancel", as_of=as_of).jobs == 0
