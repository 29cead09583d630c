"""List, Logs, Watch and Output of a real daemon: pages, and news as it comes, until there is no more."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import select
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, TypeVar, cast

import pytest

from bgjob.client import Client
from bgjob.codec import FrameReader, JsonObject, Reply, Request, parse_reply
from bgjob.errors import InvalidParameterError, JobNotFoundError, RequestError, from_reply
from bgjob.following import Conversation, FollowedLogs
from bgjob.words import INTERFACE, EntryType
from bgjobd.api import methods as api
from bgjobd.api import schemas, streams
from bgjobd.api import server as ipc
from bgjobd.api.access import Grants
from bgjobd.api.dispatch import Methods
from bgjobd.api.peer import Caller
from bgjobd.config.policy import Policy
from bgjobd.config.sections import Socket
from bgjobd.core.job import RetryPolicy
from bgjobd.core.planner import Lanes
from bgjobd.daemon import followers
from bgjobd.daemon.followers import Followers
from bgjobd.store.filters import JobFilter, LogFilter
from bgjobd.store.items.attempts import Noted
from bgjobd.store.items.item import Item
from bgjobd.store.pages.page import MOST_BYTES
from bgjobd.store.reader import Reader
from bgjobd.supervisor.outputs import Outputs
from tests.daemon.running import RunningDaemon, daemon
from tests.engines import changing, prepared
from tests.store.samples import COMPLETED, NO_SLOTS, Store, asked, cancels, ends, starts, submission
from tests.support import eventually

T = TypeVar("T")

MODULE = """
import os, sys, time
from pathlib import Path
import bgjob


class Talker:
    def say(self, text, times=1):
        for _ in range(times):
            print(text)

    def say_bytes(self, numbers):
        os.write(1, bytes(numbers))

    def say_in_two_parts(self, go):
        print("first", flush=True)
        while not Path(go).exists():
            time.sleep(0.01)
        print("second")

    def say_and_fail(self, marker):
        second = Path(marker).exists()
        Path(marker).touch()
        print("attempt two" if second else "attempt one")
        if not second:
            raise ValueError("once more")

    def progress(self, go, context: bgjob.JobContext):
        context.progress(0.25, "quarter")
        context.logger.info("on the way")
        self.wait_for(go)
        context.progress(0.75, "three quarters")

    def slow_progress(self, go, context: bgjob.JobContext):
        for step in (1, 2, 3):
            self.wait_for(f"{go}{step}")
            context.progress(step / 4)
        self.wait_for(f"{go}4")

    def wait_for(self, go):
        while not Path(go).exists():
            time.sleep(0.01)


class Confidant(Talker):
    pass
"""
TALKER = "talker.Talker"
SETTINGS = '"talker.Talker" = { max_retries = 1, retry_delay = 0.01 }'
MORE = '\n"talker.Confidant" = {}'
MORE += "\n[queues]\nmail = {}\n[limits]\nmax_output = false\n"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    directory = tmp_path_factory.mktemp("following")
    with daemon(directory, SETTINGS + MORE, modules={"talker": MODULE}) as running:
        yield running


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


class Stream:
    """A call with `more`, or several times the same one, on a connection of its own."""

    def __init__(
        self, running: RunningDaemon, method: str, more: bool = True, times: int = 1, **parameters: Any
    ) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(str(running.socket))
        self._frames = FrameReader(1 << 30)
        self._replies: list[Reply] = []
        self._socket.sendall(Request(f"{INTERFACE}.{method}", parameters, more=more).to_bytes() * times)

    def next(self) -> Reply:
        while not self._replies:
            data = self._socket.recv(65536)
            assert data, "the daemon closed the connection"
            self._replies += [parse_reply(frame) for frame in self._frames.feed(data)]
        return self._replies.pop(0)

    def greeting(self) -> int:
        """The key that a stream of log entries begins with."""
        reply = self.next()
        assert (reply.error, reply.continues, reply.parameters["entries"]) == (None, True, [])
        key: int = reply.parameters["next"]
        return key

    def entries(self) -> list[dict[str, Any]]:
        """The next log entries; a search that goes on tells meanwhile only how far it has come."""
        while True:
            reply = self.next()
            assert reply.error is None, reply
            told: list[dict[str, Any]] = reply.parameters["entries"]
            if told:
                return told

    def take(self, size: int) -> None:
        """Read about so many bytes."""
        while size > 0:
            data = self._socket.recv(size)
            assert data, "the daemon closed the connection"
            self._replies += [parse_reply(frame) for frame in self._frames.feed(data)]
            size -= len(data)

    def answered(self) -> int:
        """How many replies are there that nobody took."""
        self._socket.setblocking(False)
        with suppress(BlockingIOError):
            while data := self._socket.recv(65536):
                self._replies += [parse_reply(frame) for frame in self._frames.feed(data)]
        self._socket.settimeout(20)
        return len(self._replies)

    def denial(self) -> str:
        """Why the stream ended, behind whatever was told before."""
        while (reply := self.next()).continues:
            pass
        assert reply.error == f"{INTERFACE}.PermissionDenied"
        reason: str = reply.parameters["reason"]
        return reason

    def rest(self) -> list[dict[str, Any]]:
        """All replies until the one that is the last, which is empty."""
        replies = []
        while (reply := self.next()).continues:
            replies.append(reply.parameters)
        assert (reply.error, reply.parameters) == (None, {})
        return replies

    def close(self) -> None:
        self._socket.close()


@contextmanager
def stream(running: RunningDaemon, method: str, more: bool = True, **parameters: Any) -> Iterator[Stream]:
    opened = Stream(running, method, more, **parameters)
    try:
        yield opened
    finally:
        opened.close()


def call(running: RunningDaemon, method: str, **parameters: Any) -> dict[str, Any]:
    """One answer; a refusal is raised as the client's error."""
    with stream(running, method, more=False, **parameters) as asked:
        reply = asked.next()
    if reply.error is not None:
        raise from_reply(reply.error, reply.parameters)
    return reply.parameters


def text_of(replies: list[dict[str, Any]]) -> bytes:
    return b"".join(base64.b64decode(reply["data"]) for reply in replies)


# Watch


def test_a_job_is_watched_from_how_it_stands_to_its_end(
    running: RunningDaemon, client: Client, tmp_path: Path
) -> None:
    job = client.run_background_job(TALKER, "wait_for", {"go": str(tmp_path / "go")})
    with stream(running, "Watch", ids=[job.id]) as watching:
        first = watching.next().parameters["job"]
        assert (first["id"], first["class_name"]) == (job.id, TALKER)
        (tmp_path / "go").touch()
        seen = [first["status"], *(reply["job"]["status"] for reply in watching.rest())]
    assert seen[-1] == "completed"
    assert [status for status in seen if status not in ("pending", "running", "completed")] == []


def test_watching_ended_jobs_ends_at_once(running: RunningDaemon, client: Client) -> None:
    jobs = [client.run_background_job(TALKER, "say", {"text": "x"}) for _ in range(3)]
    for job in jobs:
        job.wait(20)
    with stream(running, "Watch", ids=[job.id for job in jobs]) as watching:
        assert [reply["job"]["status"] for reply in watching.rest()] == ["completed"] * 3


def test_progress_reaches_watchers_and_the_record_while_the_job_runs(
    running: RunningDaemon, client: Client, tmp_path: Path
) -> None:
    job = client.run_background_job(TALKER, "progress", {"go": str(tmp_path / "go")})
    with stream(running, "Watch", ids=[job.id]) as watching:
        while (told := watching.next().parameters["job"])["progress"] is None:
            pass
        assert (told["status"], told["progress"]["fraction"], told["progress"]["message"]) == (
            "running",
            0.25,
            "quarter",
        )
        assert job.refresh()["attempts"][0]["progress"]["fraction"] == 0.25
        (tmp_path / "go").touch()
        last = watching.rest()[-1]["job"]
    assert (last["status"], last["progress"]["fraction"]) == ("completed", 0.75)
    assert job.refresh()["attempts"][0]["progress"]["message"] == "three quarters"
    entries = [entry["message"] for entry in call(running, "Logs", id=job.id, after=0)["entries"]]
    told = [message for message in entries if "at" in message or "way" in message]
    assert told[-2:] == ["on the way", "Background job is at 75%: three quarters"]


def test_each_step_of_a_long_job_reaches_watchers_while_it_runs(
    running: RunningDaemon, client: Client, tmp_path: Path
) -> None:
    job = client.run_background_job(TALKER, "slow_progress", {"go": str(tmp_path / "go")})
    with stream(running, "Watch", ids=[job.id]) as watching:
        for step in (1, 2, 3):
            (tmp_path / f"go{step}").touch()
            while ((told := watching.next().parameters["job"])["progress"] or {}).get("fraction") != step / 4:
                pass
            assert told["status"] == "running"
        (tmp_path / "go4").touch()
        assert watching.rest()[-1]["job"]["status"] == "completed"


def test_progress_is_told_once_though_the_daemon_is_killed_meanwhile(
    running: RunningDaemon, client: Client, tmp_path: Path
) -> None:
    job = client.run_background_job(TALKER, "progress", {"go": str(tmp_path / "go")})
    eventually(lambda: job.refresh()["attempts"] and job.snapshot["attempts"][0]["progress"])
    running.stop(signal.SIGKILL)
    running.start()
    (tmp_path / "go").touch()
    client.wait(job.id, 20)
    told = running.query(
        f"SELECT message FROM job_logs WHERE job_id = {job.id} AND message LIKE '%is at%' ORDER BY id"
    )
    assert told == [("Background job is at 75%: three quarters",)]


def test_watching_without_ids_begins_with_a_reply_and_tells_of_every_job_that_fits(
    running: RunningDaemon, client: Client
) -> None:
    with stream(running, "Watch", queue="mail") as watching:
        assert watching.next().parameters == {"job": None}
        client.run_background_job(TALKER, "say", {"text": "x"})
        job = client.run_background_job(TALKER, "say", {"text": "x"}, queue="mail")
        while (told := watching.next().parameters["job"])["status"] != "completed":
            assert told["id"] == job.id


@pytest.mark.parametrize(
    ("method", "parameters"),
    [("Watch", {"ids": [2**40]}), ("Logs", {"id": 2**40}), ("Output", {"id": 2**40})],
)
def test_following_an_unknown_job_is_refused(
    running: RunningDaemon, method: str, parameters: dict[str, Any]
) -> None:
    with stream(running, method, **parameters) as following:
        reply = following.next()
        assert (reply.error, reply.continues) == (f"{INTERFACE}.JobNotFound", False)


def test_watch_without_more_is_told_to_ask_for_it(running: RunningDaemon) -> None:
    with pytest.raises(RequestError, match="must be called with 'more'"):
        call(running, "Watch")


def test_a_watcher_that_comes_later_is_told_of_earlier_progress_at_the_next_change(
    running: RunningDaemon, client: Client, tmp_path: Path
) -> None:
    go = str(tmp_path / "go")
    job = client.run_background_job(TALKER, "slow_progress", {"go": go}, queue="mail")
    Path(f"{go}1").touch()
    eventually(lambda: job.refresh()["attempts"] and job.snapshot["attempts"][0]["progress"])
    with stream(running, "Watch", queue="mail") as watching:
        watching.next()
        job.cancel()
        told = watching.next().parameters["job"]
    for step in (2, 3, 4):
        Path(f"{go}{step}").touch()
    job.wait(20)
    assert (told["id"], told["progress"]["fraction"]) == (job.id, 0.25)
    assert told["cancel_requested_at"] is not None


# Logs


def test_the_log_of_a_job_is_followed_to_its_end(
    running: RunningDaemon, client: Client, tmp_path: Path
) -> None:
    job = client.run_background_job(TALKER, "wait_for", {"go": str(tmp_path / "go")})
    with stream(running, "Logs", id=job.id) as following:
        following.greeting()
        first = following.next().parameters["entries"]
        (tmp_path / "go").touch()
        entries = first + [entry for reply in following.rest() for entry in reply["entries"]]
    assert [entry["message"] for entry in entries] == [
        "Background job initiated",
        "Background job dispatched on Linux platform",
        "Background job started",
        "Background job completed processing",
    ]
    assert [entry["id"] for entry in entries] == sorted({entry["id"] for entry in entries})
    assert entries[0]["context"]["class_name"] == TALKER
    assert {(entry["class_name"], entry["method_name"]) for entry in entries} == {(TALKER, "wait_for")}


def test_a_follower_of_the_log_goes_on_where_it_was(running: RunningDaemon, client: Client) -> None:
    with stream(running, "Logs", limit=0) as following:
        following.greeting()
        job = client.run_background_job(TALKER, "say", {"text": "x"})
        reply = following.next().parameters
        last = reply["next"]
        assert reply["entries"][-1]["id"] == last
    job.wait(20)
    with stream(running, "Logs", id=job.id, after=last) as following:
        entries = [entry for reply in following.rest() for entry in reply["entries"]]
    assert all(entry["id"] > last for entry in entries)
    assert entries[-1]["message"] == "Background job completed processing"


def test_only_what_fits_the_filter_is_followed(
    running: RunningDaemon, client: Client, tmp_path: Path
) -> None:
    with stream(running, "Logs", limit=0, type="failure", search="ONCE") as following:
        following.greeting()
        client.run_background_job(TALKER, "say", {"text": "x"}).wait(20)
        job = client.run_background_job(TALKER, "say_and_fail", {"marker": str(tmp_path / "marker")})
        (entry,) = following.next().parameters["entries"]
    assert (entry["job_id"], entry["type"]) == (job.id, "failure")
    assert "once more" in entry["message"]


def test_logs_come_in_pages_by_key(running: RunningDaemon, client: Client) -> None:
    job = client.run_background_job(TALKER, "say", {"text": "x"})
    job.wait(20)
    seen, key = [], None
    while True:
        page = call(running, "Logs", id=job.id, before=key, limit=3)
        seen += [entry["message"] for entry in page["entries"]]
        key = page["next"]
        if key is None:
            break
    assert seen == [
        "Background job completed processing",
        "Background job started",
        "Background job dispatched on Linux platform",
        "Background job initiated",
    ]


def test_what_a_reload_makes_a_secret_is_masked_in_entries_of_before(
    running: RunningDaemon, client: Client
) -> None:
    job = client.run_background_job("talker.Confidant", "say", {"text": "sesame"})
    job.wait(20)
    config = running.config.read_text()
    running.config.write_text(config.replace('Confidant" = {', 'Confidant" = { sensitive = ["text"]'))
    client.reload()
    with stream(running, "Logs", id=job.id) as following:
        pages = [call(running, "Logs", id=job.id), *following.rest()]
    entries = [entry for page in pages for entry in page["entries"]]
    told = [entry["context"]["parameters"] for entry in entries if entry["context"] is not None]
    assert told == [{"text": "***"}] * 4
    assert "sesame" not in json.dumps(entries)


# Searches that run out of their time

MANY: Final = 200_000


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """A daemon with more jobs and entries than one search can look through; the oldest entry says `needle`."""
    directory = tmp_path_factory.mktemp("crowded")
    place = prepared(directory / "state")
    count = f"WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})"
    at = "'2024-12-04T14:31:53.000000Z'"
    with changing(place) as connection:
        connection.execute(
            "INSERT INTO background_jobs (class_name, method_name, parameters, status, retry_count, max_retries,"
            " retry_delay, backoff, max_retry_delay, queue, priority, finished_at, created_at, updated_at, ready)"
            f" {count} SELECT 'talker.Talker', 'say', '{{}}', 'completed', 0, 0, 0.0, 'constant', 0.0,"
            f" 'default', 0, {at}, {at}, {at}, 1 FROM n"
        )
        connection.execute(
            "INSERT INTO job_logs (id, job_id, type, message, created_at)"
            f" {count} SELECT i, i, 'success', CASE i WHEN 1 THEN 'needle' ELSE 'hay' END, {at} FROM n"
        )
    with daemon(directory, SETTINGS, modules={"talker": MODULE}) as running:
        yield running


@pytest.mark.parametrize("method", ["List", "Logs"])
def test_a_search_without_time_says_that_it_is_not_complete(crowded: RunningDaemon, method: str) -> None:
    page = call(crowded, method, search="nosuch")
    assert (page["is_complete"], page["next"] is None) == (False, False)
    while page["next"] is not None:
        page = call(crowded, method, search="nosuch", before=page["next"])
    assert page["is_complete"] is True


@pytest.mark.parametrize("search", [{"search": "nosuch"}, {"class_name": "nosuch.Class"}])
@pytest.mark.parametrize("method", ["List", "Logs"])
def test_only_searches_wait_behind_searches(
    crowded: RunningDaemon, method: str, search: dict[str, str]
) -> None:
    with ExitStack() as stack:
        asked = [Stream(crowded, method, more=False, times=64, **search) for _ in range(6)]
        for one in asked:
            stack.enter_context(closing(one))
        asked[0].next()
        call(crowded, "Get", id=1)
        call(crowded, "Stats")
        assert len(call(crowded, "List", limit=2)["jobs"]) == 2
        assert len(call(crowded, "Logs", limit=2)["entries"]) == 2
        assert call(crowded, "Output", id=1)["is_end"]
        assert sum(one.answered() for one in asked) < 6 * 64 / 4


def test_a_search_waits_for_one_search_of_each_other_connection_however_many_these_ask(
    crowded: RunningDaemon,
) -> None:
    with closing(Stream(crowded, "List", more=False, times=64, search="nosuch")) as greedy:
        greedy.next()
        call(crowded, "List", search="nosuch")
        assert greedy.answered() < 64 / 4


def test_searches_of_one_connection_are_answered_one_after_the_other_and_all_of_them(
    crowded: RunningDaemon,
) -> None:
    with closing(Stream(crowded, "List", more=False, times=20, search="nosuch")) as asked:
        assert [asked.next().parameters["is_complete"] for _ in range(20)] == [False] * 20


def test_a_page_of_jobs_that_is_complete_is_one_for_the_client_too(crowded: RunningDaemon) -> None:
    with crowded.client() as client:
        assert client.list(limit=3).is_complete is True
        assert client.list(search="nosuch").is_complete is False


def test_a_follower_of_the_log_is_sent_what_a_long_search_finds(crowded: RunningDaemon) -> None:
    with stream(crowded, "Logs", search="needle", limit=1) as following:
        following.greeting()
        (entry,) = following.entries()
        assert entry["id"] == 1
        with crowded.client() as client:
            client.run_background_job("probes.Probe", "fail", {"message": "another needle"})
        assert "another needle" in following.entries()[0]["message"]


# List


def test_jobs_are_listed_newest_first_in_pages(running: RunningDaemon, client: Client) -> None:
    jobs = client.submit_many(
        [
            {
                "class_name": TALKER,
                "method_name": "say",
                "parameters": {"text": "x"},
                "options": {"queue": "mail"},
            }
        ]
        * 5
    )
    for job in jobs:
        job.wait(20)
    page = call(running, "List", queue="mail", limit=3)
    assert [one["id"] for one in page["jobs"]] == [job.id for job in reversed(jobs)][:3]
    following = call(running, "List", queue="mail", limit=2, before=page["next"])
    assert [one["id"] for one in following["jobs"]] == [jobs[1].id, jobs[0].id]


def test_scheduled_and_retrying_are_told_apart(
    running: RunningDaemon, client: Client, tmp_path: Path
) -> None:
    later = client.run_background_job(TALKER, "say", {"text": "x"}, delay=3600)
    retrying = client.run_background_job(
        TALKER, "say_and_fail", {"marker": str(tmp_path / "m")}, retry_delay=3600.0
    )
    eventually(lambda: retrying.refresh()["retry_count"] == 1)

    def listed(*words: str) -> set[int]:
        return {job["id"] for job in call(running, "List", status=list(words), limit=1000)["jobs"]}

    assert later.id in listed("scheduled")
    assert later.id not in listed("retrying")
    assert retrying.id in listed("retrying")
    assert {later.id, retrying.id} <= listed("pending")
    assert {later.id, retrying.id} <= listed("scheduled", "retrying")
    assert not {later.id, retrying.id} & listed("completed", "failed", "running")
    client.cancel(later.id, retrying.id)


@pytest.mark.parametrize(
    ("method", "parameters", "named"),
    [
        ("List", {"status": ["pending", "sleeping"]}, "status.1"),
        ("List", {"limit": 0}, "limit"),
        ("List", {"until": "2024-12-04"}, "until"),
        ("List", {"longer_than": -1.0}, "longer_than"),
        ("List", {"outcome": "completed "}, "outcome"),
        ("List", {"sort": "took"}, "sort"),
        ("List", {"sort": "ended", "status": ["failed", "review"]}, "sort"),
        ("List", {"label": ""}, "label"),
        ("Labels", {"prefix": "x" * 65}, "prefix"),
        ("List", {"limit": 1001}, "limit"),
        ("List", {"before": 0}, "before"),
        ("Logs", {"type": "debug"}, "type"),
        ("Logs", {"before": 3, "after": 3}, "before"),
        ("Logs", {"limit": 0}, "limit"),
        ("Logs", {"limit": 0, "after": 3}, "limit"),
        ("Output", {"id": 1, "limit": 10**7}, "limit"),
    ],
)
def test_what_makes_no_sense_is_refused(
    running: RunningDaemon, method: str, parameters: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        call(running, method, **parameters)
    assert refused.value.parameters["parameter"] == named


@pytest.mark.parametrize(
    ("parameters", "named"),
    [({"before": 3}, "before"), ({"after": 3, "limit": 0}, "limit"), ({"count": 9}, "count")],
)
def test_what_makes_no_sense_for_following_is_refused(
    running: RunningDaemon, parameters: dict[str, Any], named: str
) -> None:
    with stream(running, "Logs", **parameters) as following:
        reply = following.next()
    assert (reply.error, reply.continues) == ("org.varlink.service.InvalidParameter", False)
    assert reply.parameters == {"parameter": named}


# Output


def test_output_is_followed_while_it_grows(running: RunningDaemon, client: Client, tmp_path: Path) -> None:
    job = client.run_background_job(TALKER, "say_in_two_parts", {"go": str(tmp_path / "go")})
    with stream(running, "Output", id=job.id) as following:
        first = following.next().parameters
        assert base64.b64decode(first["data"]) == b"first\n"
        (tmp_path / "go").touch()
        replies = [first, *following.rest()]
    assert text_of(replies) == b"first\nsecond\n"
    assert [reply["is_end"] for reply in replies] == [False] * (len(replies) - 1) + [True]
    assert {reply["number"] for reply in replies} == {1}


def test_output_is_followed_from_attempt_to_attempt(
    running: RunningDaemon, client: Client, tmp_path: Path
) -> None:
    with to_be_followed(running, client, tmp_path / "marker") as following:
        replies = following.rest()
    told = [(reply["number"], base64.b64decode(reply["data"])) for reply in replies]
    assert told == [(1, b"attempt one\n"), (2, b"attempt two\n"), (2, b"")]


@contextmanager
def to_be_followed(
    running: RunningDaemon, client: Client, marker: Path, **parameters: Any
) -> Iterator[Stream]:
    """The output of a job whose first attempt fails, and that starts once its stream is asked for."""
    client.pause("mail")
    job = client.run_background_job(TALKER, "say_and_fail", {"marker": str(marker)}, queue="mail")
    with stream(running, "Output", id=job.id, **parameters) as following:
        client.stats()  # which is read behind what the stream begins with,
        call(running, "Output", id=job.id)  # and this behind all that it looks at then
        client.resume("mail")
        yield following


def test_output_is_read_in_parts_as_the_bytes_it_is(running: RunningDaemon, client: Client) -> None:
    job = client.run_background_job(TALKER, "say_bytes", {"numbers": list(range(256))})
    job.wait(20)
    parts, offset = [], 0
    while True:
        part = call(running, "Output", id=job.id, offset=offset, limit=100)
        assert part["offset"] == offset
        parts.append(base64.b64decode(part["data"]))
        offset = part["next"]
        if part["is_end"]:
            break
    assert b"".join(parts) == bytes(range(256))
    assert len(parts) == 3


def test_output_is_read_from_its_end(running: RunningDaemon, client: Client) -> None:
    job = client.run_background_job(TALKER, "say_bytes", {"numbers": list(range(100))})
    job.wait(20)
    read = call(running, "Output", id=job.id, offset=-10)
    assert (base64.b64decode(read.pop("data")), read) == (
        bytes(range(90, 100)),
        {"number": 1, "left_out": 0, "offset": 90, "next": 100, "is_end": True},
    )
    part = call(running, "Output", id=job.id, offset=-10, limit=4)
    assert (base64.b64decode(part["data"]), part["next"], part["is_end"]) == (bytes(range(90, 94)), 94, False)
    for whole in (-100, -101, -(2**63)):
        assert call(running, "Output", id=job.id, offset=whole) == call(running, "Output", id=job.id)
    (last,) = client.output_parts(job.id, tail=7)
    assert (last.data, last.offset) == (job.output(tail=7), 93) == (bytes(range(93, 100)), 93)
    with pytest.raises(ValueError, match="at least 1 byte"):
        job.output(tail=0)


def test_output_is_followed_from_near_its_end(running: RunningDaemon, client: Client, tmp_path: Path) -> None:
    job = client.run_background_job(TALKER, "say_in_two_parts", {"go": str(tmp_path / "go")})
    eventually(lambda: job.output() == b"first\n")
    with job.output(follow=True, tail=4) as parts:
        first = next(parts)
        assert (first.data, first.offset) == (b"rst\n", 2)
        (tmp_path / "go").touch()
        assert [(part.data, part.offset) for part in parts] == [(b"second\n", 6)]


def test_a_follower_from_near_the_end_misses_nothing_that_is_printed_later(
    running: RunningDaemon, client: Client, tmp_path: Path
) -> None:
    with to_be_followed(running, client, tmp_path / "marker", offset=-1) as following:
        replies = following.rest()
    told = [(reply["number"], base64.b64decode(reply["data"])) for reply in replies]
    assert told == [(1, b"attempt one\n"), (2, b"attempt two\n"), (2, b"")]


def test_a_job_that_has_not_begun_has_no_output_yet(running: RunningDaemon, client: Client) -> None:
    job = client.run_background_job(TALKER, "say", {"text": "x"}, delay=3600)
    assert call(running, "Output", id=job.id) == {
        "number": 0,
        "left_out": 0,
        "offset": 0,
        "data": "",
        "next": 0,
        "is_end": False,
    }
    job.cancel()
    assert call(running, "Output", id=job.id)["is_end"] is True
    with stream(running, "Output", id=job.id) as following:
        assert text_of(following.rest()) == b""


def test_a_slow_reader_gets_all_of_a_long_output(running: RunningDaemon, client: Client) -> None:
    job = client.run_background_job(TALKER, "say", {"text": "x" * 999, "times": 12_000})
    job.wait(20)
    with stream(running, "Output", id=job.id) as following:
        assert len(text_of(following.rest())) == 12_000_000


def test_who_reads_slowly_but_steadily_gets_all_though_it_takes_longer_than_replies_may_lie(
    tmp_path: Path,
) -> None:
    settings = SETTINGS + "\n[socket]\nidle_timeout = 2.0\n"
    with daemon(tmp_path, settings, modules={"talker": MODULE}) as running:
        with running.client() as client:
            job = client.run_background_job(TALKER, "say", {"text": "x" * 999, "times": 300})
            job.wait(20)
        with closing(Stream(running, "Output", more=False, times=8, id=job.id)) as asked:
            for _ in range(25):
                start = time.monotonic()
                asked.take(100_000)
                eventually(lambda start=start: time.monotonic() >= start + 0.1)
            assert [len(asked.next().parameters["data"]) for _ in range(8)] == [4 * -(-(256 * 1024) // 3)] * 8


def test_followers_that_leave_leave_nothing_behind(
    running: RunningDaemon, client: Client, tmp_path: Path
) -> None:
    job = client.run_background_job(TALKER, "wait_for", {"go": str(tmp_path / "go")})
    eventually(lambda: job.refresh()["attempts"] and job.snapshot["attempts"][0]["pid"])
    assert running.process is not None
    place = f"/proc/{running.process.pid}/fd"
    before = len(os.listdir(place))
    for _ in range(5):
        for method, parameters in (("Watch", {"ids": [job.id]}), ("Logs", {}), ("Output", {"id": job.id})):
            with stream(running, method, **parameters) as following:
                if method != "Output":
                    following.next()
    eventually(lambda: len(os.listdir(place)) <= before)
    (tmp_path / "go").touch()
    job.wait(20)
    assert not [line for line in running.lines() if "bug" in line]


def test_a_stop_ends_the_followers_connections(tmp_path: Path) -> None:
    with (
        daemon(tmp_path, SETTINGS, modules={"talker": MODULE}) as running,
        stream(running, "Watch") as watching,
    ):
        watching.next()
        assert running.stop() == 0
        with pytest.raises((AssertionError, ConnectionError)):
            watching.rest()


# Followers without a daemon around them: the store, the news, and what a stream makes of both


class Desk:
    """What the streams use of a daemon; a commit is told at once, a read counted."""

    def __init__(self, directory: Path) -> None:
        self.store = Store(directory)
        self.followers = Followers()
        self.told: list[str] = []
        self.outputs = Outputs(directory, lambda _, message: self.told.append(message), asyncio.to_thread)
        self.reads = 0
        self.secrets: frozenset[str] = frozenset()
        self.peers = SimpleNamespace(own=None)
        self._reader = Reader(self.store.state_dir)

    async def read(self, question: Callable[[Reader], T]) -> T:
        self.reads += 1
        return question(self._reader)

    async def read_page(self, wanted: JobFilter | LogFilter, question: Callable[[Reader], T]) -> T:
        return await self.read(question)

    @property
    def readers(self) -> Desk:
        return self

    @property
    def current_catalogue(self) -> Desk:
        return self

    def policy(self, class_name: str) -> Policy:
        return Policy(
            RetryPolicy(), "default", 0, None, None, None, None, None, 10.0, True, None, None, self.secrets
        )

    def commit(self, *items: Item, lanes: Lanes = NO_SLOTS) -> None:
        self.followers.publish(self.store.commit(*items, lanes=lanes))

    def follow(self, method: str, **parameters: Any) -> AsyncIterator[JsonObject]:
        shape, function = {
            "Watch": (schemas.Watch, streams.watch),
            "Logs": (schemas.Logs, streams.logs),
            "Output": (schemas.Output, streams.output),
        }[method]
        replies: AsyncIterator[JsonObject] = function(self, shape(**parameters), Caller(0, 0, 0))
        return replies

    def close(self) -> None:
        self.outputs.close()
        self._reader.close()
        self.store.close()


Play = Callable[[Callable[[Desk], Awaitable[None]]], None]


@pytest.fixture
def desk(tmp_path: Path) -> Play:
    """Plays a scene at a desk."""

    async def scene_at_a_desk(scene: Callable[[Desk], Awaitable[None]]) -> None:
        made = Desk(tmp_path)
        try:
            async with asyncio.timeout(20):
                await scene(made)
        finally:
            made.close()

    return lambda scene: asyncio.run(scene_at_a_desk(scene))


def a_note(job_id: int, message: str = "hay") -> Noted:
    return Noted(job_id, None, EntryType.INFO, message)


def test_a_page_is_written_out_where_it_is_read(desk: Play) -> None:
    async def scene(at: Desk) -> None:
        job_id = at.store.run_one()
        at.commit(a_note(job_id))
        answer = await api.logs(cast(Any, at), schemas.Logs(id=job_id, count=9), Caller(0, 0, 0))
        told = json.loads(answer.to_bytes()[:-1])["parameters"]
        assert told["entries"][0]["message"] == "hay"
        assert (told["next"], told["is_complete"], told["total"]) == (None, True, len(told["entries"]))

    desk(scene)


def test_jobs_are_watched_in_the_order_of_their_ids_and_read_by_the_hundred(desk: Play) -> None:
    async def scene(at: Desk) -> None:
        ids = at.store.submit(*[asked() for _ in range(1200)])[::-1]
        at.commit(cancels(*ids))
        told = [reply["job"]["id"] async for reply in at.follow("Watch", ids=[*ids, ids[0]])]
        assert told == ids
        assert at.reads <= 3
        watching = at.follow("Watch", ids=[ids[0], 7001, 7000])
        assert (await anext(watching))["job"]["id"] == ids[0]
        with pytest.raises(JobNotFoundError) as refused:
            await anext(watching)
        assert refused.value.parameters == {"id": 7001}

    desk(scene)


def test_a_watched_job_is_told_of_only_where_something_of_it_differs(desk: Play) -> None:
    async def scene(at: Desk) -> None:
        job_id = at.store.run_one()
        watching = at.follow("Watch", ids=[job_id])
        assert (await anext(watching))["job"]["status"] == "running"
        at.store.now += 1
        at.commit(starts(job_id))  # a change of the attempt alone
        at.commit(cancels(job_id), cancels(job_id))
        at.commit(ends(job_id, COMPLETED))
        told = [reply["job"] async for reply in watching]
        assert [(job["status"], job["cancel_requested_at"] is None) for job in told] == [
            ("running", False),
            ("completed", False),
        ]

    desk(scene)


def test_a_watch_of_jobs_that_do_not_fit_ends_when_they_end(desk: Play) -> None:
    async def scene(at: Desk) -> None:
        job_id = at.store.run_one()
        watching = at.follow("Watch", ids=[job_id], queue="mail")
        await anext(watching)
        at.commit(ends(job_id, COMPLETED))
        assert [reply async for reply in watching] == []

    desk(scene)


@pytest.mark.parametrize("method", ["Watch", "Logs", "Output"])
def test_what_happens_to_other_jobs_never_makes_a_follower_too_slow(
    desk: Play, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(at: Desk) -> None:
        mine, other = at.store.run_one(), at.store.run_one()
        (tmp_path / f"{mine}.1.out").write_bytes(b"x")
        following = at.follow(method, **({"ids": [mine]} if method == "Watch" else {"id": mine}))
        await anext(following)
        if method == "Logs":
            await anext(following)  # the first only greets
        told = at.store.commit(a_note(other))
        for _ in range(20_000):
            at.followers.publish(told)
        at.commit(ends(mine, COMPLETED))
        assert len([reply async for reply in following]) == 1

    desk(scene)


@pytest.mark.parametrize("method", ["Watch", "Logs"])
def test_of_a_large_commit_many_followers_are_told_part_by_part_and_all_of_it(
    desk: Play, method: str
) -> None:
    async def scene(at: Desk) -> None:
        following = [at.follow(method) for _ in range(20)]
        for each in following:
            await anext(each)
        firsts = [asyncio.ensure_future(anext(each)) for each in following]
        await asyncio.sleep(0)
        at.commit(submission(*[asked() for _ in range(1000)]))
        assert [len(one._waiting) for one in at.followers._followers] == [
            0
        ] * 20  # it took 100 ms for 5,000 jobs
        for first, each in zip(firsts, following, strict=True):
            told = _ids(await first)
            while len(told) < 1000:
                told += _ids(await anext(each))
            assert told == list(range(1, 1001))

    desk(scene)


def _ids(reply: JsonObject) -> list[int]:
    """The jobs that a reply tells of."""
    return [entry["job_id"] for entry in reply["entries"]] if "entries" in reply else [reply["job"]["id"]]


@pytest.mark.parametrize("filters", [{}, {"id": 1}, {"search": "nosuch"}, {"limit": 0}, {"type": "failure"}])
def test_a_follower_of_a_quiet_log_knows_where_to_go_on(desk: Play, filters: JsonObject) -> None:
    """What is logged while its connection is away is not missed, though it was told of nothing before."""

    async def scene(at: Desk) -> None:
        at.store.run_one()
        last = at.store.count("job_logs")
        greeting = await anext(at.follow("Logs", **filters))
        assert greeting == {"entries": [], "next": last, "is_complete": True}
        at.commit(a_note(1, "nosuch"), a_note(1, "nosuch"))
        filters.pop("limit", None)
        following = at.follow("Logs", **filters, after=greeting["next"])
        assert (await anext(following))["next"] == last
        if filters != {"type": "failure"}:
            assert [entry["id"] for entry in (await anext(following))["entries"]] == [last + 1, last + 2]

    desk(scene)


def test_the_client_waits_for_the_greeting_and_goes_on_from_it() -> None:
    conversation = Conversation(FollowedLogs(limit=3))
    assert conversation.is_unanswered
    greeting = Reply({"entries": [], "next": 7, "is_complete": True}, continues=True)
    assert conversation.take(greeting, 1.0) == []
    assert not conversation.is_unanswered
    assert conversation.request.parameters == {"after": 7}


def test_the_last_entries_and_all_after_a_key_come_in_replies_of_a_bounded_size(desk: Play) -> None:
    async def scene(at: Desk) -> None:
        job_id = at.store.run_one()
        large = [str(n) * (MOST_BYTES // 2) for n in range(5)]
        at.commit(a_note(job_id, "early"), *[a_note(job_id, message) for message in large])
        for place, first in (({"limit": 5}, "0"), ({"after": 3}, "0"), ({"after": 4, "limit": 9}, "1")):
            following = at.follow("Logs", **place)
            await anext(following)
            for n in range(int(first), 5):
                entries = (await anext(following))["entries"]
                assert [entry["message"][:5] for entry in entries] == [str(n) * 5]
        at.commit(*[a_note(job_id, message) for message in large])
        for message in large:
            assert [entry["message"] for entry in (await anext(following))["entries"]] == [message]

    desk(scene)


def test_a_limit_beside_after_is_that_of_each_reply(desk: Play) -> None:
    async def scene(at: Desk) -> None:
        at.store.submit(*[asked() for _ in range(7)])
        following = at.follow("Logs", after=1, limit=4)
        replies = [await anext(following) for _ in range(3)]
        assert [[entry["id"] for entry in reply["entries"]] for reply in replies] == [
            [],
            [2, 3, 4, 5],
            [6, 7],
        ]
        assert [reply["next"] for reply in replies] == [1, 5, 7]

    desk(scene)


def test_what_has_become_a_secret_is_masked_in_entries_that_are_followed(desk: Play) -> None:
    async def scene(at: Desk) -> None:
        at.secrets = frozenset({"password"})
        job = asked(parameters={"to": "ann", "password": "sesame"})
        at.store.submit(job)
        following = at.follow("Logs")
        await anext(following)
        stored = (await anext(following))["entries"][0]
        at.commit(submission(job))
        news = (await anext(following))["entries"][0]
        assert stored["id"] != news["id"]
        for entry in (stored, news):
            assert entry["context"]["parameters"] == {"to": "ann", "password": "***"}
            assert entry["context"]["status"] == "pending"

    desk(scene)


def test_an_output_that_was_emptied_is_followed_from_its_begin(desk: Play, tmp_path: Path) -> None:
    async def scene(at: Desk) -> None:
        job_id = at.store.run_one()
        file = tmp_path / f"{job_id}.1.out"
        file.write_bytes(b"of old")
        following = at.follow("Output", id=job_id)
        assert base64.b64decode((await anext(following))["data"]) == b"of old"
        news = asyncio.ensure_future(anext(following))
        for _ in range(10):
            await asyncio.sleep(0)  # it has looked, and waits
        file.write_bytes(b"new")
        reply = await news
        assert (reply["offset"], base64.b64decode(reply["data"]), reply["next"]) == (0, b"new", 3)
        file.unlink()  # which is no reason to begin again
        at.commit(ends(job_id, COMPLETED))
        assert [(reply["next"], reply["is_end"]) async for reply in following] == [(3, True)]

    desk(scene)


def test_output_that_keeps_coming_is_followed_however_often_the_job_changes(
    desk: Play, tmp_path: Path
) -> None:
    async def scene(at: Desk) -> None:
        job_id = at.store.run_one()
        (tmp_path / f"{job_id}.1.out").write_bytes(b"x" * 30)
        following = at.follow("Output", id=job_id, limit=1)
        told = at.store.commit(starts(job_id))
        parts = []
        async for reply in following:
            parts.append(base64.b64decode(reply["data"]))
            if len(parts) <= 30:
                for _ in range(1000):
                    at.followers.publish(told)
            if len(parts) == 30:
                at.commit(ends(job_id, COMPLETED))
        assert parts == [b"x"] * 30 + [b""]

    desk(scene)


# Followers at a socket


@asynccontextmanager
async def served(
    desk: Desk, directory: Path, *names: str, **limits: Any
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, list[str]]]:
    """A connection to a server of the desk's streams, and the methods that had a bug."""
    bugs: list[str] = []
    known = api.methods(cast(Any, desk), Grants()).streams
    methods = Methods({}, {name: known[f"{INTERFACE}.{name}"] for name in names})
    server = ipc.Server(methods, Socket(**limits), on_bug=lambda method, _: bugs.append(method))
    await server.listen(directory / "s", 0o600, None)
    reader, writer = await asyncio.open_unix_connection(directory / "s", limit=1 << 24)
    try:
        yield reader, writer, bugs
    finally:
        writer.transport.abort()
        server.stop_listening()
        await server.finish()


@pytest.mark.parametrize(
    ("method", "parameters"), [("Watch", {}), ("Watch", {"ids": [1]}), ("Logs", {"limit": 1})]
)
def test_a_follower_that_does_not_read_is_cut_off_and_that_is_no_bug(
    desk: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, parameters: JsonObject
) -> None:
    async def scene(at: Desk) -> None:
        monkeypatch.setattr(followers, "_MOST_WAITING", 100_000)
        at.store.run_one()
        async with served(at, tmp_path, method) as (reader, writer, bugs):
            writer.write(Request(method, parameters, more=True).to_bytes())
            await reader.readuntil(b"\0")
            if method == "Logs":
                await reader.readuntil(b"\0")
            told = [at.store.commit(cancels(1), a_note(1)), at.store.commit(ends(1, COMPLETED))]
            for _ in range(1000):
                at.followers.publish(told[0])
            (follower,) = at.followers._followers
            assert not follower._waiting
            frames = FrameReader(1 << 20).feed(await reader.read())
            assert all(parse_reply(frame).error is None for frame in frames)
            assert bugs == []
            assert not at.followers._followers

    desk(scene)


def test_a_follower_that_never_reads_is_cut_off_however_little_waits_for_it(
    desk: Play, tmp_path: Path
) -> None:
    async def scene(at: Desk) -> None:
        job_id = at.store.run_one()
        async with served(at, tmp_path, "Logs", idle_timeout=0.3):
            loop = asyncio.get_running_loop()
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(tmp_path / "s"))
                sock.sendall(Request("Logs", {"limit": 0}, more=True).to_bytes())
                sock.setblocking(False)
                assert await loop.sock_recv(sock, 1000)
                for _ in range(5):  # more than the kernel holds for it, less than any buffer of ours
                    at.commit(a_note(job_id, "x" * 100_000))
                hang_up = select.poll()
                hang_up.register(sock, 0)
                assert await loop.run_in_executor(None, hang_up.poll, 15_000)
            for _ in range(10):
                await asyncio.sleep(0)  # it lets go of what it had
            assert not at.followers._followers

    desk(scene)


def test_a_follower_that_reads_all_is_never_cut_off(desk: Play, tmp_path: Path) -> None:
    async def scene(at: Desk) -> None:
        job_id = at.store.run_one()
        async with served(at, tmp_path, "Logs", idle_timeout=1.0) as (reader, writer, _):
            writer.write(Request("Logs", {"limit": 0}, more=True).to_bytes())
            await reader.readuntil(b"\0")
            for _ in range(5):
                at.commit(a_note(job_id, "x" * 1_000_000))
                await reader.readuntil(b"\0")
            deadline_is_over = asyncio.Event()
            asyncio.get_running_loop().call_later(1.2, deadline_is_over.set)
            await deadline_is_over.wait()
            at.commit(a_note(job_id))
            assert b"hay" in await reader.readuntil(b"\0")

    desk(scene)


def test_a_stream_that_has_much_to_tell_lets_others_have_their_turn(desk: Play, tmp_path: Path) -> None:
    async def scene(at: Desk) -> None:
        turns = 0

        def take_turn() -> None:
            nonlocal turns
            turns += 1
            asyncio.get_running_loop().call_soon(take_turn)

        ids = at.store.submit(*[asked() for _ in range(100)])
        at.commit(cancels(*ids))
        async with served(at, tmp_path, "Watch") as (reader, writer, _):
            writer.write(Request("Watch", {"ids": ids}, more=True).to_bytes())
            await reader.readuntil(b"\0")
            take_turn()
            for _ in ids[1:]:
                await reader.readuntil(b"\0")
            assert turns >= 90

    desk(scene)
