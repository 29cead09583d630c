"""Client and Job against a scripted daemon on a real socket: threads, forks, lost replies, streams that break."""

from __future__ import annotations

import base64
import copy
import gc
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import bgjob
from bgjob import (
    BgjobError,
    Client,
    DaemonUnavailableError,
    InternalError,
    JobNotFoundError,
    ProtocolError,
    StorageUnavailableError,
    WaitTimeoutError,
    as_completed,
    retrying,
    wait,
)
from bgjob.codec import JsonObject, Request
from bgjob.errors import NoAnswerError
from tests.client.scripted import (
    STANDING,
    Line,
    Script,
    ScriptedDaemon,
    entry,
    leaves_no_descriptor,
    method_of,
    open_descriptors,
    running_attempt,
    summary,
    tells_and_fails,
    whole,
)
from tests.support import eventually

Serve = Callable[[Script], ScriptedDaemon]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.sock"


@pytest.fixture
def serve(path: Path) -> Iterator[Serve]:
    daemons = []

    def started(script: Script) -> ScriptedDaemon:
        daemon = ScriptedDaemon(path, script)
        daemon.__enter__()
        daemons.append(daemon)
        return daemon

    yield started
    for daemon in daemons:
        daemon.__exit__()


@pytest.fixture
def client(path: Path) -> Iterator[Client]:
    with Client(str(path), timeout=10.0) as client:
        yield client


def stats(line: Line, request: Request) -> None:
    line.reply(**STANDING)


def running(line: Line, request: Request) -> None:
    assert method_of(request) == "Running"
    line.reply(attempts=[running_attempt(7)])


def in_child(work: Callable[[], None]) -> int:
    """Do it in a forked child; its exit code, 0 where nothing was raised."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# Calls


def test_stats_asks_for_usage_only_if_it_is_wanted(client: Client, serve: Serve) -> None:
    daemon = serve(stats)
    assert [client.stats(), client.stats(False), client.stats(usage=True)] == 3 * [STANDING]
    assert daemon.parameters("Stats") == [{}, {}, {"usage": True}]


def test_running_is_a_list_of_attempts(client: Client, serve: Serve) -> None:
    serve(running)
    assert client.running() == [running_attempt(7)]


def test_why_is_a_sentence(client: Client, serve: Serve) -> None:
    def tell(line: Line, request: Request) -> None:
        assert (method_of(request), request.parameters) == ("Why", {"id": 7})
        line.reply(sentence="job 7 waits")

    serve(tell)
    assert [client.why(7), bgjob.Job(client, 7).why()] == ["job 7 waits"] * 2


def test_calls_share_one_connection(client: Client, serve: Serve) -> None:
    daemon = serve(stats)
    for _ in range(5):
        client.ping()
    assert len(daemon.lines) == 1


def test_a_reload_takes_the_connection_of_calls_where_none_is_under_way(client: Client, serve: Serve) -> None:
    def reload(line: Line, request: Request) -> None:
        if method_of(request) == "Reload":
            line.reply(code_version="2")
        else:
            line.reply(**STANDING)

    daemon = serve(reload)
    client.stats()
    assert [client.reload(), client.stats(), client.reload()] == ["2", STANDING, "2"]
    assert len(daemon.lines) == 1
    daemon.lines[0].peer.shutdown(socket.SHUT_RDWR)  # for want of use
    assert client.reload() == "2"
    assert len(daemon.parameters("Reload")) == 3


def test_many_threads_share_a_client_and_each_gets_its_own_answer(client: Client, serve: Serve) -> None:
    def submit(line: Line, request: Request) -> None:
        line.reply(id=request.parameters["parameters"]["number"], created=True)

    daemon = serve(submit)
    with ThreadPoolExecutor(16) as pool:
        numbers = range(1, 401)
        jobs = list(pool.map(lambda n: client.run_background_job("A", "b", {"number": n}), numbers))
    assert [job.id for job in jobs] == list(numbers)
    assert len(daemon.lines) == 1


def test_a_lost_reply_is_asked_for_again_with_the_same_key_and_gives_one_job(
    client: Client, serve: Serve
) -> None:
    stored: dict[str, int] = {}

    def submit(line: Line, request: Request) -> None:
        key = request.parameters["options"]["idempotency_key"]
        is_new = key not in stored
        stored.setdefault(key, len(stored) + 1)
        if line.number == 1:
            line.hang_up()
        else:
            line.reply(id=stored[key], created=is_new)

    daemon = serve(submit)
    assert client.run_background_job("A", "b").id == 1
    assert len(stored) == 1
    assert len(daemon.lines) == 2
    assert client.run_background_job("A", "b").id == 2


def test_a_reply_that_is_lost_again_and_again_is_an_error_in_the_end(path: Path, serve: Serve) -> None:
    daemon = serve(lambda line, request: line.hang_up())
    with Client(str(path), timeout=2.0) as client, pytest.raises(DaemonUnavailableError, match="broke"):
        client.ping()
    assert len(daemon.lines) > 1


@pytest.mark.parametrize("method", ["cancel", "retry", "change"])
def test_a_cancel_retry_or_change_whose_reply_is_lost_is_not_repeated(
    client: Client, serve: Serve, method: str
) -> None:
    daemon = serve(lambda line, request: line.hang_up())
    with pytest.raises(DaemonUnavailableError):
        getattr(client, method)(1)
    assert len(daemon.asked) == 1


def test_a_daemon_that_says_nothing_is_given_up_and_its_late_answer_is_nobodys(
    path: Path, serve: Serve
) -> None:
    late = threading.Event()

    def answer(line: Line, request: Request) -> None:
        if line.number == 1:
            late.wait(10)
        line.reply(line=line.number)

    daemon = serve(answer)
    with Client(str(path), timeout=2.0) as client:
        with pytest.raises(DaemonUnavailableError, match=r"did not answer within 2 s"):
            client.ping()
        late.set()
        assert client.ping() == {"line": 2}
    assert len(daemon.lines) == 2


def test_an_answer_too_many_and_one_that_is_none_are_protocol_errors(client: Client, serve: Serve) -> None:
    def answer(line: Line, request: Request) -> None:
        line.send({1: b'{"parameters":{}}\0' * 2, 2: b"[]\0"}.get(line.number, b'{"parameters":{}}\0'))

    serve(answer)
    for _ in range(2):
        with pytest.raises(ProtocolError):
            client.ping()
    assert client.ping() == {}


def test_a_client_that_is_dropped_closes_its_connection(path: Path, serve: Serve) -> None:
    serve(stats)
    before = open_descriptors()
    client = Client(str(path))
    client.ping()
    del client
    gc.collect()
    eventually(lambda: open_descriptors() <= before)


def test_the_modules_functions_share_one_connection_however_many_jobs_are_kept(
    path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = serve(lambda line, request: line.reply(id=len(daemon.asked), created=True))
    monkeypatch.setenv("BGJOBD_SOCKET", f"unix:{path}")
    jobs = [bgjob.run_background_job("A", "b") for _ in range(100)]
    assert [job.id for job in jobs] == list(range(1, 101))
    assert len(daemon.lines) == 1


def test_pages_and_output_are_read_to_their_end(client: Client, serve: Serve) -> None:
    text = os.urandom(700_000)

    def answer(line: Line, request: Request) -> None:
        match method_of(request), request.parameters:
            case "List", {"before": 3}:
                line.reply(jobs=[summary(2), summary(1)], next=None, is_complete=True)
            case "List", _:
                line.reply(jobs=[summary(4), summary(3)], next=3, is_complete=True)
            case "Output", {"offset": offset, "limit": limit}:
                data = text[offset : offset + limit]
                line.reply(
                    number=2,
                    left_out=0,
                    offset=offset,
                    data=base64.b64encode(data).decode(),
                    next=offset + len(data),
                    is_end=offset + len(data) == len(text),
                )

    daemon = serve(answer)
    page = client.list(status=["failed", "cancelled"], limit=2)
    assert [job["id"] for job in [*page, *client.list(before=page.next)]] == [4, 3, 2, 1]
    assert client.output(7) == text
    assert [one.get("number") for one in daemon.parameters("Output")] == [None, 2, 2]


# Forks


def test_a_child_never_uses_its_parents_connection_and_both_go_on(client: Client, serve: Serve) -> None:
    daemon = serve(lambda line, request: line.reply(line=line.number))

    def ask_twice() -> None:
        assert client.ping() == {"line": 2}
        assert client.ping() == {"line": 2}

    assert client.ping() == {"line": 1}
    assert in_child(ask_twice) == 0
    assert client.ping() == {"line": 1}
    assert len(daemon.lines) == 2


def test_a_child_leaves_alone_what_has_taken_the_number_of_its_parents_connection(
    client: Client, serve: Serve
) -> None:
    serve(stats)
    client.ping()
    others = os.dup(0)
    os.close(others)

    def close_all_and_ask() -> None:
        os.closerange(3, 1000)
        files = [os.open(os.devnull, os.O_RDONLY) for _ in range(100)]
        client.ping()
        assert [os.fstat(file).st_rdev for file in files] == [os.stat(os.devnull).st_rdev] * 100

    assert in_child(close_all_and_ask) == 0


@pytest.mark.parametrize("timeout", [1e10, 1e20, math.inf])
def test_a_timeout_that_the_system_has_no_number_for_is_as_good_as_none(
    path: Path, serve: Serve, timeout: float
) -> None:
    def answer(line: Line, request: Request) -> None:
        line.reply(job=whole(1, "completed"), next=None) if method_of(request) == "Wait" else line.reply()

    serve(answer)
    with Client(str(path), timeout=timeout) as client:
        assert client.ping() == {}
        assert client.wait(1, timeout=1e10)["status"] == "completed"


def test_at_a_daemon_that_hangs_no_thread_waits_for_all_the_others(path: Path, serve: Serve) -> None:
    serve(lambda line, request: line.wait_for_hang_up())

    def time_until_told(client: Client) -> float:
        began_at = time.monotonic()
        with pytest.raises(NoAnswerError):
            client.ping()
        return time.monotonic() - began_at

    with Client(str(path), timeout=1.0) as client, ThreadPoolExecutor(8) as pool:
        assert max(pool.map(time_until_told, [client] * 8)) < 5.0


def test_a_lock_that_nobody_gives_back_costs_one_call_and_no_close(path: Path, serve: Serve) -> None:
    """What the handler of a signal raises may come between the taking of a lock and whatever gives it back."""
    serve(lambda line, request: line.reply(line=line.number))
    with Client(str(path), timeout=1.0) as client:
        assert client.ping() == {"line": 1}
        client._kept.lock.acquire()
        with pytest.raises(NoAnswerError):
            client.ping()
        assert [client.ping(), client.ping()] == [{"line": 2}] * 2
        client._kept.lock.acquire()
        closing = threading.Thread(target=client.close, daemon=True)
        closing.start()
        closing.join(10)
        assert not closing.is_alive()
        assert client.ping() == {"line": 3}


def test_a_child_forked_while_a_thread_calls_is_not_held_up(client: Client, serve: Serve) -> None:
    go = threading.Event()

    def answer(line: Line, request: Request) -> None:
        if line.number == 1:
            go.wait(10)
        line.reply(line=line.number)

    daemon = serve(answer)
    answers: list[Any] = []
    caller = threading.Thread(target=lambda: answers.append(client.ping()))
    caller.start()
    eventually(lambda: daemon.asked)

    def ask() -> None:
        assert client.ping() == {"line": 2}

    assert in_child(ask) == 0
    go.set()
    caller.join()
    assert answers == [{"line": 1}]


def test_a_child_follows_on_from_where_its_parent_was(client: Client, serve: Serve) -> None:
    def logs(line: Line, request: Request) -> None:
        after = request.parameters.get("after", 0)
        for one in (after + 1, after + 2):
            line.more(entries=[entry(one)], next=one, is_complete=True)

    serve(logs)
    following = client.follow_logs()
    assert [next(following)["id"], next(following)["id"]] == [1, 2]

    def go_on() -> None:
        assert [next(following)["id"], next(following)["id"]] == [3, 4]
        following.close()

    assert in_child(go_on) == 0
    following.close()


# Following


def test_following_goes_on_by_key_when_the_daemon_comes_back(client: Client, serve: Serve) -> None:
    def logs(line: Line, request: Request) -> None:
        after = request.parameters.get("after", 0)
        line.more(entries=[entry(after + 1)], next=after + 1, is_complete=True)
        if after == 2:
            line.reply()

    daemon = serve(logs)
    following = client.follow_logs(id=9, limit=1)
    ids = [next(following)["id"]]
    for _ in range(2):
        daemon.stop()
        starter = threading.Timer(0.2, daemon.start)
        starter.start()
        ids.append(next(following)["id"])
        starter.join()
    assert ids == [1, 2, 3]
    assert list(following) == []
    assert daemon.parameters("Logs") == [{"id": 9, "limit": 1}, {"id": 9, "after": 1}, {"id": 9, "after": 2}]


def test_following_output_goes_on_at_its_byte(client: Client, serve: Serve) -> None:
    def output(line: Line, request: Request) -> None:
        text = b"first line\nsecond line\n"
        offset = request.parameters.get("offset", 0)
        data = text[offset : offset + 11] if line.number == 1 else text[offset:]
        encoded = base64.b64encode(data).decode()
        is_end = line.number == 2
        line.more(number=1, left_out=0, offset=offset, data=encoded, next=offset + len(data), is_end=is_end)
        line.hang_up() if line.number == 1 else line.reply()

    serve(output)
    parts = list(client.follow_output(4))
    assert parts == [(1, b"first line\n", 0, 0), (1, b"second line\n", 0, 11)]
    assert parts[0].data == b"first line\n"


def test_a_daemon_that_shuts_down_while_it_is_followed_is_waited_for(client: Client, serve: Serve) -> None:
    def watch(line: Line, request: Request) -> None:
        if line.number == 1:
            line.more(job=summary(1))
            line.refuse("ShuttingDown")
        else:
            line.more(job=summary(1, "completed"))
            line.reply()

    serve(watch)
    assert [job["status"] for job in client.watch(1)] == ["pending", "completed"]


def test_a_daemon_that_stays_away_is_an_error_in_the_end(
    client: Client, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "GIVE_UP_AFTER", 0.3)
    daemon = serve(lambda line, request: line.more(job=summary(1)))
    following = client.watch(1)
    next(following)
    daemon.stop()
    with leaves_no_descriptor(), pytest.raises(DaemonUnavailableError, match="no daemon answers"):
        next(following)
    with pytest.raises(DaemonUnavailableError, match="no daemon answers"):
        client.wait(1)


@pytest.mark.parametrize(
    "ask",
    [lambda client: client.wait(1), lambda client: client.watch(1), lambda client: client.follow_logs()],
)
def test_a_daemon_that_was_never_there_is_an_error_at_once(
    client: Client, ask: Callable[[Client], Any]
) -> None:
    with pytest.raises(DaemonUnavailableError, match="is bgjobd running"):
        ask(client)


def test_a_job_that_is_not_there_is_an_error_and_no_break(client: Client, serve: Serve) -> None:
    daemon = serve(lambda line, request: line.refuse("JobNotFound", id=5))
    with leaves_no_descriptor():
        for follow in (client.watch, lambda job_id: client.follow_logs(id=job_id), client.follow_output):
            with pytest.raises(JobNotFoundError):
                next(follow(5))
        with pytest.raises(JobNotFoundError):
            client.wait(5)
    assert len(daemon.asked) == 4


def test_a_watch_of_everything_has_begun_when_it_is_given(client: Client, serve: Serve) -> None:
    def answer(line: Line, request: Request) -> None:
        if method_of(request) == "Watch":
            line.more(job=None)
            line.more(job=summary(1))

    daemon = serve(answer)
    with client.watch(queue="mail") as changes:
        assert daemon.parameters("Watch") == [{"queue": "mail"}]
        assert next(changes)["id"] == 1


def test_others_call_while_one_follows_and_one_waits(client: Client, serve: Serve) -> None:
    go = threading.Event()

    def answer(line: Line, request: Request) -> None:
        match method_of(request):
            case "Wait":
                go.wait(10)
                line.reply(job=whole(1, "completed", result=None))
            case "Watch":
                line.more(job=summary(1))
            case _:
                line.reply()

    daemon = serve(answer)
    with ThreadPoolExecutor(1) as pool, client.watch(1) as changes:
        waiting = pool.submit(client.wait, 1)
        next(changes)
        eventually(lambda: daemon.parameters("Wait"))
        client.ping()
        go.set()
        assert waiting.result(10)["status"] == "completed"


@pytest.mark.parametrize("end", ["closed", "left", "dropped"])
def test_a_following_that_ends_early_closes_its_connection(client: Client, serve: Serve, end: str) -> None:
    serve(lambda line, request: line.more(job=summary(1)))
    before = open_descriptors()
    following = client.watch(1)
    next(following)
    match end:
        case "closed":
            following.close()
        case "left":
            with following:
                pass
        case "dropped":
            del following
            gc.collect()
    eventually(lambda: open_descriptors() == before)
    if end != "dropped":
        assert list(following) == []


def test_a_following_that_is_closed_by_another_thread_ends(path: Path, serve: Serve) -> None:
    def watch(line: Line, request: Request) -> None:
        line.more(job=None)
        line.more(job=summary(1))

    daemon = serve(watch)
    client = Telling(path)
    following = client.watch()
    taken: list[JsonObject] = []
    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(taken.extend, following)
        eventually(lambda: taken)
        following.close()
        rest.result(10)
    assert (len(taken), len(daemon.lines), client.told) == (1, 1, [])


class Telling(Client):
    """A client that keeps what its hooks are told."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.told: list[str] = []

    def on_away(self, error: BgjobError) -> None:
        self.told.append("away")

    def on_back(self) -> None:
        self.told.append("back")
        self.ping()


def test_the_hooks_are_told_once_when_the_daemon_goes_and_comes_and_may_call(
    path: Path, serve: Serve
) -> None:
    def answer(line: Line, request: Request) -> None:
        match line.number, method_of(request):
            case 1, "Watch":
                line.hang_up()
            case _, "Watch":
                line.more(job=summary(1, "completed"))
            case _:
                line.reply()

    serve(answer)
    client = Telling(path)
    assert [job["status"] for job in client.watch(1)] == ["completed"]
    assert client.told == ["away", "back"]


def test_a_connection_that_ended_with_its_daemon_is_no_place_and_another_is_waited_for(
    client: Client, serve: Serve
) -> None:
    def full_at_first(line: Line, request: Request) -> None:
        if method_of(request) != "Watch":
            line.reply(**STANDING)
        elif line.number == 2:
            line.refuse("TooManyConnections", limit=1, setting="max_connections")
            line.hang_up()
        else:
            line.more(job=summary(1, "completed"))

    daemon = serve(full_at_first)
    client.stats()
    daemon.stop()
    daemon.start()
    with client.watch() as following:
        assert next(following)["id"] == 1
    assert len(daemon.lines) == 3


def test_a_following_that_is_interrupted_as_it_connects_again_goes_on(
    path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tell(line: Line, request: Request) -> None:
        assert request.parameters["after"] == line.number - 1
        line.more(entries=[], next=None, is_complete=True)
        line.more(entries=[entry(line.number)], next=None, is_complete=True)
        line.hang_up()

    serve(tell)
    connect, interrupts = Client._connect, [KeyboardInterrupt, None]

    def interrupted(client: Client) -> Any:
        raised = interrupts.pop()
        if raised is not None:
            raise raised
        return connect(client)

    monkeypatch.setattr(Client, "_connect", interrupted)
    with Client(str(path), timeout=1.0) as client, client.follow_logs(after=0) as entries:
        assert next(entries)["id"] == 1
        with pytest.raises(KeyboardInterrupt):
            next(entries)
        interrupts.append(None)
        told: list[Any] = []
        following = threading.Thread(target=lambda: told.append(next(entries)["id"]), daemon=True)
        following.start()
        following.join(10)
        assert told == [2]


def test_what_was_told_before_an_error_is_not_lost(client: Client, serve: Serve) -> None:
    serve(tells_and_fails)
    entries = client.follow_logs(limit=2)
    assert [next(entries)["id"] for _ in range(2)] == [1, 2]
    with pytest.raises(InternalError):
        next(entries)


def test_a_daemon_that_says_nothing_is_an_error_where_it_owes_an_answer(path: Path, serve: Serve) -> None:
    serve(lambda line, request: None)
    with Client(str(path), timeout=0.2) as client, leaves_no_descriptor():
        job = bgjob.Job(client, 1)
        for ask in (client.watch, lambda: next(job.watch()), lambda: list(as_completed([job]))):
            with pytest.raises(NoAnswerError):
                ask()


def test_a_child_goes_on_following_though_a_thread_of_the_parent_waits_in_it(
    client: Client, serve: Serve
) -> None:
    def watch(line: Line, request: Request) -> None:
        line.more(job=None)
        line.more(job=summary(line.number))

    serve(watch)
    following = client.watch()
    taken: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(lambda: taken.extend(job["id"] for job in following))
        eventually(lambda: taken == [1])
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            os._exit(next(following)["id"])
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
        following.close()
        rest.result(10)


def test_a_call_waits_for_a_daemon_that_restarts_and_keeps_its_key(client: Client, serve: Serve) -> None:
    daemon = serve(lambda line, request: line.reply(id=1))
    client.run_background_job("a.B", "c")
    daemon.stop()
    with ThreadPoolExecutor(1) as pool:
        again = pool.submit(client.run_background_job, "a.B", "c")
        daemon.start()
        assert again.result(10).id == 1


def test_a_submit_that_meets_a_daemon_about_to_end_is_made_again_with_its_key(
    client: Client, serve: Serve
) -> None:
    def submit(line: Line, request: Request) -> None:
        line.refuse("ShuttingDown") if line.number == 1 else line.reply(id=1)
        line.hang_up()

    daemon = serve(submit)
    assert client.run_background_job("a.B", "c").id == 1
    keys = {one["options"]["idempotency_key"] for one in daemon.parameters("Submit")}
    assert (len(daemon.asked), len(keys)) == (2, 1)


def test_a_refused_submit_that_may_be_stored_tells_the_key_with_which_a_repeat_is_one_job(
    client: Client, serve: Serve
) -> None:
    daemon = serve(lambda line, request: line.refuse("StorageUnavailable", reason="EIO", may_be_stored=True))
    with pytest.raises(StorageUnavailableError) as caught:
        client.run_background_job("a.B", "c")
    (key,) = caught.value.idempotency_keys
    assert key == daemon.parameters("Submit")[0]["options"]["idempotency_key"]
    assert str(caught.value).endswith(f"EIO; a repeat with the idempotency key {key} is one job")
    assert caught.value.may_be_stored
    assert copy.copy(caught.value).idempotency_keys == (key,)
    with pytest.raises(StorageUnavailableError) as caught:
        client.submit_many([{"class_name": "a.B", "method_name": "c"}] * 2)
    assert list(caught.value.idempotency_keys) == daemon.parameters("SubmitMany")[0]["keys"]
    with pytest.raises(StorageUnavailableError) as caught:
        client.submit_many([{"class_name": "a.B", "method_name": name} for name in "cd"])
    sent = [job["options"]["idempotency_key"] for job in daemon.parameters("SubmitMany")[1]["jobs"]]
    assert list(caught.value.idempotency_keys) == sent


def test_a_submit_that_nobody_answered_tells_its_key_and_what_submits_nothing_has_none(
    path: Path, serve: Serve
) -> None:
    serve(lambda line, request: line.wait_for_hang_up())
    with Client(str(path), timeout=0.1) as client:
        with pytest.raises(NoAnswerError) as caught:
            client.run_background_job("a.B", "c", idempotency_key="mine")
        assert caught.value.idempotency_keys == ("mine",)
        with pytest.raises(NoAnswerError) as caught:
            client.stats()
        assert caught.value.idempotency_keys == ()


def test_where_no_daemon_answers_any_more_the_error_says_whether_one_may_have_the_request(
    path: Path, serve: Serve
) -> None:
    daemon = serve(lambda line, request: daemon.stop())
    for was_sent, timeout in ((True, 2.0), (False, 0.1)):
        with (
            Client(str(path), timeout=timeout) as client,
            pytest.raises(DaemonUnavailableError, match="is bgjobd running") as caught,
        ):
            client.run_background_job("a.B", "c")
        assert caught.value.was_sent == was_sent


def test_nothing_to_cancel_or_to_run_again_asks_nothing(client: Client, serve: Serve) -> None:
    daemon = serve(lambda line, request: line.reply())
    client.cancel()
    client.retry(*[])
    assert list(client.watch([])) == []
    assert daemon.asked == []


# Waiting


def test_waiting_goes_on_when_the_daemon_comes_back_with_what_is_left_of_its_time(
    client: Client, serve: Serve
) -> None:
    def answer(line: Line, request: Request) -> None:
        match line.number:
            case 1:
                line.hang_up()
            case 2:
                line.refuse("ShuttingDown")
            case _:
                line.reply(job=whole(1, "completed", result=[1]))

    daemon = serve(answer)
    assert client.wait(1, timeout=100)["result"] == [1]
    times = [one["timeout"] for one in daemon.parameters("Wait")]
    assert len(times) == 3
    assert 100 >= times[0] > times[1] > times[2] > 80


def _submitted_or_completed(line: Line, request: Request) -> None:
    if method_of(request) == "Submit":
        line.reply(id=1, created=True)
    else:
        line.reply(job=whole(1, "completed", result=None))


def test_a_wait_takes_the_connection_that_calls_share_and_gives_it_back(client: Client, serve: Serve) -> None:
    daemon = serve(_submitted_or_completed)
    for _ in range(3):
        client.run_background_job("A", "b").wait()
    assert len(daemon.lines) == 1


def test_a_break_of_a_shared_connection_that_held_counts_from_then(
    client: Client, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected: list[float] = []
    monkeypatch.setattr(retrying.Breaks, "connected", lambda breaks, now: connected.append(now))
    serve(_submitted_or_completed)
    client.run_background_job("A", "b").wait()
    assert len(connected) == 1


def test_a_wait_over_a_connection_that_was_closed_for_want_of_use_takes_another_at_once(
    path: Path, serve: Serve
) -> None:
    class Told(Client):
        def on_away(self, error: BgjobError) -> None:
            raise AssertionError(error)

    daemon = serve(_submitted_or_completed)
    with Told(str(path)) as client:
        job = client.run_background_job("A", "b")
        daemon.lines[0].peer.shutdown(socket.SHUT_RDWR)
        assert job.wait(10)["status"] == "completed"
    assert len(daemon.lines) == 2


def test_a_client_that_is_closed_while_a_thread_waits_keeps_no_connection(
    client: Client, serve: Serve
) -> None:
    go = threading.Event()

    def answer(line: Line, request: Request) -> None:
        if method_of(request) == "Wait":
            go.wait(10)
        _submitted_or_completed(line, request)
        if method_of(request) == "Wait":
            line.wait_for_hang_up()

    daemon = serve(answer)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.run_background_job("A", "b").wait)
        eventually(lambda: daemon.parameters("Wait"))
        client.close()
        go.set()
        assert waiting.result(10)["status"] == "completed"
    eventually(lambda: not daemon.lines[0].is_open)


def test_a_wait_that_is_over_while_no_daemon_is_there_says_so_in_time(client: Client, serve: Serve) -> None:
    daemon = serve(lambda line, request: line.reply(id=1, created=True))
    job = client.run_background_job("A", "b")
    daemon.stop()
    began = time.monotonic()
    with pytest.raises(WaitTimeoutError, match=r"after 0\.3 s; it goes on"):
        job.wait(0.3)
    assert 0.3 <= time.monotonic() - began < 2.0


def test_a_result_of_none_is_a_result(client: Client, serve: Serve) -> None:
    serve(lambda line, request: line.reply(job=whole(1, "completed", result=None)))
    assert bgjob.Job(client, 1).result() is None


# Several jobs


def ends_in_order(*ids: int) -> Script:
    """A Watch whose jobs end in this order, those that are asked for; the others stay as they are."""

    def watch(line: Line, request: Request) -> None:
        asked = request.parameters["ids"]
        for job_id in asked:
            line.more(job=summary(job_id, "running"))
        for job_id in ids:
            if job_id in asked:
                line.more(job=summary(job_id, "completed"))
        if set(asked) <= set(ids):
            line.reply()

    return watch


def and_gets(watch: Script) -> Script:
    """The same, and a Get of a job that has ended."""

    def answer(line: Line, request: Request) -> None:
        if method_of(request) == "Get":
            line.reply(job=whole(request.parameters["id"], "completed", parameters={"n": 1}))
        else:
            watch(line, request)

    return answer


def jobs_of(client: Client, *ids: int) -> list[bgjob.Job]:
    return [bgjob.Job(client, job_id) for job_id in ids]


def test_jobs_come_in_the_order_of_their_ends_over_one_stream(client: Client, serve: Serve) -> None:
    daemon = serve(and_gets(ends_in_order(3, 1, 2)))
    with leaves_no_descriptor():
        ended = list(client.as_completed(jobs_of(client, 1, 2, 3)))
    assert [repr(job) for job in ended] == ["<Job 3 completed>", "<Job 1 completed>", "<Job 2 completed>"]
    assert len(daemon.asked) == 1


def test_the_snapshot_of_a_job_whose_end_was_told_is_the_whole_job(client: Client, serve: Serve) -> None:
    daemon = serve(and_gets(ends_in_order(1)))
    seen = bgjob.Job(client, 1, whole(1, "running"))
    for job in client.as_completed([*jobs_of(client, 1), seen]):
        assert [job.snapshot["parameters"] for _ in range(2)] == 2 * [{"n": 1}]
    assert daemon.parameters("Get") == [{"id": 1}, {"id": 1}]


def test_the_snapshot_of_what_was_only_checked_or_may_not_be_read_is_its_id(
    client: Client, serve: Serve
) -> None:
    def submits_only(line: Line, request: Request) -> None:
        if method_of(request) == "Submit":
            line.reply(id=0 if request.parameters.get("check_only") else 7, created=False)
        else:
            line.refuse("PermissionDenied", reason="[access] read does not list you")

    daemon = serve(submits_only)
    checked = client.run_background_job("shop.Email", "send", check_only=True)
    assert (checked.snapshot, daemon.parameters("Get")) == ({"id": 0}, [])
    submitted = client.run_background_job("shop.Email", "send")
    assert [submitted.snapshot for _ in range(2)] == 2 * [{"id": 7}]
    assert daemon.parameters("Get") == [{"id": 7}]


def test_jobs_of_several_daemons_and_clients_are_followed_together(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    with ScriptedDaemon(paths[0], ends_in_order(1, 2)), ScriptedDaemon(paths[1], ends_in_order(1)):
        one, other, second = Client(str(paths[0])), Client(str(paths[1])), Client(str(paths[0]))
        jobs = jobs_of(one, 1) + jobs_of(other, 1) + jobs_of(second, 2)
        assert {id(job) for job in as_completed(jobs, 10)} == {id(job) for job in jobs}
        done, pending = wait(jobs, 10)
        assert (done, pending) == (jobs, [])


def test_one_daemon_that_is_away_holds_up_no_jobs_of_another(tmp_path: Path) -> None:
    away, there = ScriptedDaemon(tmp_path / "a", stats), tmp_path / "b"
    with away, ScriptedDaemon(there, ends_in_order(5)):
        one, other = Client(str(away.path)), Client(str(there))
        one.ping()
        away.stop()
        ends = as_completed(jobs_of(one, 1) + jobs_of(other, 5), 2)
        assert next(ends).id == 5
        with pytest.raises(WaitTimeoutError, match=r"1 of 2 jobs have not ended after 2 s; they go on"):
            next(ends)


def test_ends_are_told_once_though_the_daemon_is_replaced_meanwhile(client: Client, serve: Serve) -> None:
    def watch(line: Line, request: Request) -> None:
        if line.number == 1:
            line.more(job=summary(1, "completed"))
            line.more(job=summary(2, "running"))
            line.hang_up()
        else:
            ends_in_order(2)(line, request)

    daemon = serve(watch)
    assert [job.id for job in as_completed(jobs_of(client, 1, 2), 10)] == [1, 2]
    assert daemon.parameters("Watch") == [{"ids": [1, 2]}, {"ids": [2]}]


def test_a_timeout_of_nothing_still_tells_what_has_ended(client: Client, serve: Serve) -> None:
    def watch(line: Line, request: Request) -> None:
        line.more(job=summary(1, "running"))
        line.more(job=summary(2, "completed"))

    serve(watch)
    one, two = jobs_of(client, 1, 2)
    with leaves_no_descriptor():
        done, pending = wait([one, two], timeout=0)
    assert (done, pending) == ([two], [one])


def test_no_jobs_have_all_ended(client: Client) -> None:
    assert list(as_completed([])) == []
    assert wait([]) == ([], [])


def test_the_time_of_as_completed_runs_from_its_call(client: Client, serve: Serve) -> None:
    serve(ends_in_order())
    ends = as_completed(jobs_of(client, 1), timeout=0.2)
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > 0.3)
    with pytest.raises(WaitTimeoutError):
        next(ends)
    assert time.monotonic() - began < 2.0


# Imports


def test_importing_bgjob_imports_neither_asyncio_nor_other_large_modules() -> None:
    code = (
        "import sys, bgjob; print(*sys.modules); print(bgjob.AsyncClient.__module__, bgjob.testing.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules, later = done.stdout.splitlines()
    large = {"asyncio", "dataclasses", "uuid", "inspect", "logging", "bgjob.aio", "bgjob.testing"}
    assert not large & set(modules.split())
    assert later == "bgjob.aio bgjob.testing"


def test_a_name_that_bgjob_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(bgjob, "nothing")  # noqa: B009  # a type checker knows that it is not there
