"""List, Logs, Watch and Output of a real daemon: pages, and news as it comes, until there is no more."""

from __future__ import annotations

import base64
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bgjob.client import Client
from bgjob.codec import FrameReader, Reply, Request, parse_reply
from bgjob.errors import InvalidParameterError, RequestError, from_reply
from bgjob.words import INTERFACE
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

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
"""
TALKER = "talker.Talker"
SETTINGS = '"talker.Talker" = { max_retries = 1, retry_delay = 0.01 }'


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    directory = tmp_path_factory.mktemp("following")
    with daemon(directory, SETTINGS + "\n[queues]\nmail = {}\n", modules={"talker": MODULE}) as running:
        yield running


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


class Stream:
    """A call with `more`, on a connection of its own."""

    def __init__(self, running: RunningDaemon, method: str, more: bool = True, **parameters: Any) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(str(running.socket))
        self._frames = FrameReader(1 << 30)
        self._replies: list[Reply] = []
        self._socket.sendall(Request(f"{INTERFACE}.{method}", parameters, more=more).to_bytes())

    def next(self) -> Reply:
        while not self._replies:
            data = self._socket.recv(65536)
            assert data, "the daemon closed the connection"
            self._replies += [parse_reply(frame) for frame in self._frames.feed(data)]
        return self._replies.pop(0)

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
    assert told[-3:] == [
        "Background job is at 25%: quarter",
        "on the way",
        "Background job is at 75%: three quarters",
    ] or told == [
        "Background job is at 25%: quarter",
        "on the way",
        "Background job is at 75%: three quarters",
    ]


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


def test_progress_is_told_once_though_the_daemon_is_killed_meanwhile(tmp_path: Path) -> None:
    with daemon(tmp_path, SETTINGS, modules={"talker": MODULE}) as running:
        with running.client() as client:
            job = client.run_background_job(TALKER, "progress", {"go": str(tmp_path / "go")})
            eventually(lambda: job.refresh()["attempts"] and job.snapshot["attempts"][0]["progress"])
        running.stop(signal.SIGKILL)
        running.start()
        (tmp_path / "go").touch()
        with running.client() as client:
            client.wait(job.id, 20)
        told = running.query("SELECT message FROM job_logs WHERE message LIKE '%is at%' ORDER BY id")
    assert told == [("Background job is at 25%: quarter",), ("Background job is at 75%: three quarters",)]


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


# Logs


def test_the_log_of_a_job_is_followed_to_its_end(
    running: RunningDaemon, client: Client, tmp_path: Path
) -> None:
    job = client.run_background_job(TALKER, "wait_for", {"go": str(tmp_path / "go")})
    with stream(running, "Logs", id=job.id) as following:
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
        ("List", {"limit": 1001}, "limit"),
        ("List", {"before": 0}, "before"),
        ("Logs", {"type": "debug"}, "type"),
        ("Logs", {"before": 3, "after": 3}, "before"),
        ("Output", {"id": 1, "limit": 10**7}, "limit"),
    ],
)
def test_what_makes_no_sense_is_refused(
    running: RunningDaemon, method: str, parameters: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        call(running, method, **parameters)
    assert refused.value.parameters["parameter"] == named


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
    job = client.run_background_job(TALKER, "say_and_fail", {"marker": str(tmp_path / "marker")}, delay=0.2)
    with stream(running, "Output", id=job.id) as following:
        replies = following.rest()
    told = [(reply["number"], base64.b64decode(reply["data"])) for reply in replies]
    assert told == [(1, b"attempt one\n"), (2, b"attempt two\n"), (2, b"")]


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


def test_a_job_that_has_not_begun_has_no_output_yet(running: RunningDaemon, client: Client) -> None:
    job = client.run_background_job(TALKER, "say", {"text": "x"}, delay=3600)
    assert call(running, "Output", id=job.id) == {
        "number": 0,
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


def test_followers_that_leave_leave_nothing_behind(
    running: RunningDaemon, client: Client, tmp_path: Path
) -> None:
    job = client.run_background_job(TALKER, "wait_for", {"go": str(tmp_path / "go")})
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
