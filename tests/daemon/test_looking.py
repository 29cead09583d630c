"""Where a job is that runs: each way to be stuck, asked through a real daemon of a real process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from bgjob import Client, InvalidStateError, Job, JobNotFoundError
from bgjob.answers import StackRead
from bgjob.errors import InvalidParameterError
from tests.daemon.running import RunningDaemon, daemon, is_alive
from tests.support import directory_for_all, eventually

STUCK = r"""
import asyncio, ctypes, fcntl, os, queue, re, select, signal, socket, subprocess, sys, tempfile, threading, time
from concurrent.futures import ThreadPoolExecutor
import bgjob

LIBC = ctypes.CDLL(None, use_errno=True)


def told(answer, value):
    with open(answer, "w") as file:
        file.write(str(value))
    os.rename(answer, answer + ".whole")


class Stuck:
    def sleep(self):
        time.sleep(600)

    def lock(self):
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()

    def event(self):
        threading.Event().wait()

    def empty_queue(self):
        queue.Queue().get()

    def join(self):
        thread = threading.Thread(target=self.sleep, name="sleeper", daemon=True)
        thread.start()
        thread.join()

    def pool(self):
        with ThreadPoolExecutor(4, "fetch") as pool:
            list(pool.map(time.sleep, [600] * 4))

    def select(self):
        select.select([], [], [])

    def poll(self):
        select.poll().poll()

    def socket_with_timeout(self):
        one, self.other = socket.socketpair()
        one.settimeout(600)
        one.recv(1)

    def child(self):
        subprocess.run(["sleep", "600"])

    async def tasks(self):
        async def fetch():
            await asyncio.sleep(600)

        await asyncio.gather(*[asyncio.create_task(fetch()) for _ in range(3000)])

    def busy(self):
        while True:
            pass

    def busy_threads(self):
        for number in range(3):
            threading.Thread(target=self.busy, name=f"busy_{number}", daemon=True).start()
        self.busy()

    def backtracking(self):
        re.match(r"(a+)+$", "a" * 60 + "b")

    def recursing(self, left=300):
        return time.sleep(600) if left == 0 else self.recursing(left - 1)

    def copy(self):
        if os.fork() == 0:
            self.in_copy()
        os.wait()

    def in_copy(self):
        time.sleep(600)

    def read(self):
        self.pipe = os.pipe()
        os.read(self.pipe[0], 1)

    def accept(self):
        listener = socket.create_server(("127.0.0.1", 0))
        listener.accept()

    def file_lock(self):
        with tempfile.NamedTemporaryFile() as one, open(one.name) as other:
            fcntl.flock(one, fcntl.LOCK_EX)
            fcntl.flock(other, fcntl.LOCK_EX)

    def in_c(self):
        sum(range(10**15))

    def closed_journal(self):
        os.closerange(3, 256)
        time.sleep(600)

    def telling(self, context: bgjob.JobContext):
        while True:
            context.logger.info("still here")
            time.sleep(0.004)

    def signals_blocked(self):
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        time.sleep(600)

    def stopped(self):
        os.kill(os.getpid(), signal.SIGSTOP)

    def exec_d(self):
        os.execvp("sleep", ["sleep", "600"])

    def pausing(self):
        signal.pause()

    def deaf(self):
        signal.signal(signal.SIGWINCH, signal.SIG_DFL)
        signal.signal(signal.SIGURG, signal.SIG_DFL)
        time.sleep(600)

    def stderr_elsewhere(self):
        os.closerange(3, 256)
        os.dup2(os.open("elsewhere", os.O_WRONLY | os.O_CREAT, 0o600), 2)
        time.sleep(600)

    def read_in_c(self, answer):
        ours, theirs = os.pipe()
        buffer = ctypes.create_string_buffer(8)
        timer = threading.Thread(target=self.write_once, args=(answer, theirs), daemon=True)
        timer.start()
        count = LIBC.read(ours, buffer, 8)
        return [count, ctypes.get_errno()]

    def write_once(self, answer, theirs):
        while not os.path.exists(answer):
            time.sleep(0.01)
        os.write(theirs, b"x")
"""


class Seen(NamedTuple):
    """Who is to answer, what the innermost frame that is the job's own is called, and what the note says."""

    answered: str
    frame: str | None
    note: str | None = None


CAREFUL = "to ask it for more might end the call that it waits in"

WAYS = {
    "sleep": Seen("python", "Stuck.sleep"),
    "lock": Seen("python", "Stuck.lock"),
    "event": Seen("python", "Stuck.event"),
    "empty_queue": Seen("python", "Stuck.empty_queue"),
    "join": Seen("python", "Stuck.join"),
    "pool": Seen("python", "Stuck.pool"),
    "select": Seen("python", "Stuck.select"),
    "poll": Seen("python", "Stuck.poll"),
    "socket_with_timeout": Seen("python", "Stuck.socket_with_timeout"),
    "child": Seen("python", "Stuck.child"),
    "tasks": Seen("python", None),
    "busy": Seen("python", "Stuck.busy"),
    "busy_threads": Seen("python", "Stuck.busy"),
    "backtracking": Seen("python", "Stuck.backtracking"),
    "recursing": Seen("python", "Stuck.recursing"),
    "copy": Seen("python", "Stuck.copy"),
    "read": Seen("c", "read", CAREFUL),
    "accept": Seen("c", "accept", CAREFUL),
    "file_lock": Seen("c", "file_lock", CAREFUL),
    "in_c": Seen("c", "in_c"),
    "closed_journal": Seen("c", "closed_journal"),
    "signals_blocked": Seen("no", None, "it blocks the signal"),
    "stopped": Seen("no", None, "it is stopped (state T)"),
    "exec_d": Seen("no", None, f"it runs another program: {os.path.realpath(shutil.which('sleep') or '')}"),
    "pausing": Seen("no", None, CAREFUL),
    "deaf": Seen("no", None, "it has taken the handlers away"),
    "stderr_elsewhere": Seen("no", None, "it does not answer"),
}

CONFINED = """
[approved."stuck.Stuck"]
max_retries = 0
stop_grace = 0.2
writable = []
"""
PLAIN = '[approved."stuck.Stuck"]\nmax_retries = 0\nstop_grace = 0.2\n'


def interpreters() -> list[str]:
    """One of each other version that is there, beside the one that runs the tests."""
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    found = [shutil.which(f"python3.{minor}") for minor in range(11, 15) if f"3.{minor}" != own]
    return [path for path in found if path is not None and _runs(path)]


def _runs(python: str) -> bool:
    """Some stand for versions that are not there."""
    return subprocess.run([python, "-c", ""], stderr=subprocess.DEVNULL, check=False).returncode == 0


def _many_slots(running: RunningDaemon) -> None:
    running.config.write_text(running.config.read_text().replace("slots = 4", "slots = 64"))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    yield from _running(tmp_path_factory.mktemp("daemon"), CONFINED)


def _running(directory: Path, settings: str, app: str = "") -> Iterator[RunningDaemon]:
    made = RunningDaemon(directory, settings, app, modules={"stuck": STUCK})
    _many_slots(made)
    try:
        made.start()
        yield made
    finally:
        end_all(made)
        made.stop(signal.SIGKILL)


def end_all(running: RunningDaemon) -> None:
    """Have nothing that hangs outlive a test that has failed."""
    with running.client() as client:
        for job in client.list(status="running").items:
            with suppress(InvalidStateError):
                client.cancel(job["id"])
        eventually(lambda: not client.running())


@pytest.fixture(scope="module")
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


def stuck(client: Client, method: str, **parameters: object) -> Job:
    return client.run_background_job("stuck.Stuck", method, parameters)


def stuck_in_c(client: Client, answer: Path) -> Job:
    """One that reads in C by now: who looks at it a moment before is answered by its Python, in the middle of that."""
    job = stuck(client, "read_in_c", answer=str(answer))
    eventually(lambda: "pipe" in (job.stack(signal=False).process["waits_in"] or ""))
    return job


def own_frames(read: StackRead) -> list[str]:
    return [frame["name"] for frame in read.threads[0]["frames"] if frame["file"].endswith("stuck.py")]


def looked(job: Job, wanted: Seen) -> StackRead:
    """As it was told once the job had got there; before it is, others may be told."""

    def read() -> StackRead | None:
        told = job.stack()
        frames = own_frames(told) if told.threads else []
        is_there = wanted.frame is None or frames[:1] == [wanted.frame]
        return told if (told.answered, told.note) == (wanted.answered, wanted.note) and is_there else None

    found = eventually(read)
    assert found is not None
    return found


@pytest.mark.parametrize("method", WAYS)
def test_who_is_stuck_is_found_where_it_is(client: Client, method: str) -> None:
    job = stuck(client, method)
    try:
        if method == "pausing":  # until it is there, it is asked
            eventually(lambda: "pause" in (job.stack(signal=False).process["waits_in"] or ""))
        read = looked(job, WAYS[method])
        assert read.number == 1
        assert is_alive(read.process["pid"])  # nobody dies of it
    finally:
        end(job)


def end(job: Job) -> None:
    job.cancel()
    job.wait(20)


@pytest.mark.parametrize("python", interpreters() or [None])
def test_other_interpreters_tell_the_same(tmp_path: Path, python: str | None) -> None:
    if python is None:
        pytest.skip("no other Python is installed")
    for running in _running(tmp_path, CONFINED, f'python = "{python}"'):
        with running.client() as client:
            jobs = {method: stuck(client, method) for method in WAYS if method != "pausing"}
            for method, job in jobs.items():
                looked(job, WAYS[method])
            for job in jobs.values():
                job.cancel()
            for job in jobs.values():
                job.wait(20)


# What is told


def test_equal_threads_are_counted_and_have_the_name_of_the_first(client: Client) -> None:
    job = stuck(client, "pool")
    wanted = [("MainThread", 1), ("fetch_0", 4)]

    def read() -> StackRead | None:
        told = job.stack()
        are_there = told.process["threads"] == 5  # which were counted before they were asked
        return told if are_there and [(one["name"], one["same"]) for one in told.threads] == wanted else None

    found = eventually(read)
    assert found is not None
    assert found.threads[0]["native_id"] == found.process["pid"]
    end(job)


def test_where_the_journal_takes_no_more_python_prints_and_c_is_not_asked(client: Client) -> None:
    closed, full = stuck(client, "closed_journal"), stuck(client, "telling")
    looked(closed, WAYS["closed_journal"])
    eventually(lambda: full.stack().answered == "c")
    for job in (closed, full):
        eventually(lambda job=job: printed_by_a_look(client, job) == (1, 1))  # type: ignore[misc]
        end(job)


def printed_by_a_look(client: Client, job: Job) -> tuple[int, int]:
    """How many stacks come by one, and how many of them Python has printed."""
    before = len(client.get(job.id).output())
    job.stack()
    text = client.get(job.id).output()[before:]
    return text.count(b"most recent call first"), text.count(b" in on_ask\n")


def test_equal_tasks_are_counted_and_tell_what_they_await(client: Client) -> None:
    job = stuck(client, "tasks")
    wanted = [(["Stuck.tasks"], 1), (["sleep", "Stuck.tasks.<locals>.fetch"], 3000)]

    def told() -> list[tuple[list[str], int]]:
        return [([frame["name"] for frame in one["frames"]], one["same"]) for one in job.stack().tasks]

    eventually(lambda: told() == wanted)
    end(job)


def test_of_a_deep_stack_the_innermost_hundred_frames_are_told(client: Client) -> None:
    job = stuck(client, "recursing")
    read = looked(job, WAYS["recursing"])
    assert len(read.threads[0]["frames"]) == 100
    end(job)


def test_a_copy_by_fork_answers_with_its_pid_where_it_is_asked(client: Client) -> None:
    job = stuck(client, "copy")
    eventually(lambda: job.stack().process["children"])

    def read_once_it_is_there() -> StackRead | None:
        told = job.stack(children=True)
        innermost = [[frame["name"] for frame in one["frames"][:1]] for one in told.threads]
        return told if innermost[1:] == [["Stuck.in_copy"]] else None

    read = eventually(read_once_it_is_there)
    assert read is not None
    (child,) = read.process["children"]
    assert read.threads[1]["name"] == f"{child} MainThread"
    assert len(job.stack().threads) == 1
    end(job)


def test_a_child_that_runs_another_program_lives_through_a_look(client: Client) -> None:
    job = stuck(client, "child")
    (child,) = eventually(lambda: job.stack(children=True).process["children"])
    looked(job, WAYS["child"])  # until that runs the other program its parent blocks all signals
    read = job.stack(children=True, insist=True)
    assert (len(read.threads), read.process["children"]) == (1, [child])
    end(job)


def test_who_is_not_asked_is_seen_as_the_kernel_sees_it(client: Client) -> None:
    job = stuck(client, "sleep")
    looked(job, WAYS["sleep"])

    def read_once_it_sleeps_again() -> StackRead | None:
        told = job.stack(signal=False)
        state = told.process["state"], told.process["waits_in"]
        return told if state == ("sleeping", "hrtimer_nanosleep") else None

    read = eventually(read_once_it_sleeps_again)
    assert read is not None
    assert (read.answered, read.threads, read.note) == ("no", [], None)
    end(job)


def test_a_read_of_c_goes_on_after_a_look(client: Client, tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    job = stuck_in_c(client, answer)
    looked(job, Seen("c", "read_in_c", CAREFUL))
    answer.touch()
    assert job.result(20) == [1, 0]


def test_who_insists_may_end_a_read_of_c_and_gets_all_threads(client: Client, tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    job = stuck_in_c(client, answer)
    looked(job, Seen("c", "read_in_c", CAREFUL))
    assert len(job.stack(insist=True).threads) == 2
    count, _ = job.result(20)
    assert count == -1  # EINTR, which Python itself would have repeated


# Who asks


def test_a_look_is_told_in_the_jobs_log(client: Client) -> None:
    job = stuck(client, "sleep")
    looked(job, WAYS["sleep"])
    entries = eventually(lambda: [one for one in job.logs().items if "looked at" in one["message"]])
    assert {(one["type"], one["message"], one["attempt"]) for one in entries} == {
        ("info", f"stack was looked at by uid {os.geteuid()}", 1)
    }
    end(job)


def test_those_who_look_at_once_share_the_answer(running: RunningDaemon, client: Client) -> None:
    job = stuck(client, "in_c")  # whose answer takes half a second
    looked(job, WAYS["in_c"])
    before = client.get(job.id).output()
    found: list[StackRead] = []

    def look() -> None:
        with running.client() as own:
            found.append(own.stack(job.id))

    threads = [threading.Thread(target=look) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [one.answered for one in found] == ["c"] * 5
    assert len({one.at for one in found}) < 5
    printed = client.get(job.id).output()[len(before) :]
    assert printed.count(b"most recent call first") == len({one.at for one in found})
    end(job)


def test_what_does_not_run_cannot_be_looked_at(client: Client) -> None:
    done = client.run_background_job("probes.Probe", "echo", {})
    done.wait(20)
    with pytest.raises(InvalidStateError, match=f"job {done.id}.*completed"):
        done.stack()
    with pytest.raises(JobNotFoundError):
        client.stack(10**9)
    with pytest.raises(InvalidParameterError):
        client.stack(done.id, signal=False, insist=True)


# A timeout


def test_a_timeout_tells_where_the_attempt_was(client: Client) -> None:
    job = client.run_background_job("stuck.Stuck", "copy", {}, timeout=2)
    (attempt,) = job.wait(20)["attempts"]
    assert (attempt["outcome"], attempt["signal"]) == ("timed_out", signal.SIGTERM)
    assert attempt["traceback"].startswith(
        "it was sleeping in do_wait\nMainThread (most recent call last):\n"
    )
    assert ", in Stuck.copy\n" in attempt["traceback"]


def test_a_timeout_of_who_cannot_tell_says_how_the_kernel_saw_it(client: Client) -> None:
    methods = ("exec_d", "stopped", "signals_blocked", "pausing")
    jobs = {method: client.run_background_job("stuck.Stuck", method, {}, timeout=2) for method in methods}
    for method, job in jobs.items():  # whose two seconds are the same
        (attempt,) = job.wait(20)["attempts"]
        assert attempt["outcome"] == "timed_out", method
        assert attempt["traceback"].startswith("it was s"), method
        assert attempt["traceback"].rstrip().endswith(str(WAYS[method].note)), method


# Other surroundings


def test_a_job_of_another_user_answers() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, for a user of its own")
    with directory_for_all() as directory:
        for running in _running(directory, PLAIN + 'user = "nobody"\n'):
            with running.client() as client:
                job = stuck(client, "pool")
                looked(job, WAYS["pool"])
                end(job)


def test_an_attempt_that_a_daemon_has_adopted_answers(tmp_path: Path) -> None:
    for running in _running(tmp_path, PLAIN):
        with running.client() as client:
            job = stuck(client, "sleep")
            looked(job, WAYS["sleep"])
        running.stop(signal.SIGKILL)
        running.start()
        with running.client() as client:
            again = client.get(job.id)
            looked(again, WAYS["sleep"])
            end(again)


def test_a_signal_that_the_application_handles_itself_is_left_to_it(tmp_path: Path) -> None:
    source = f"{STUCK}\nsignal.signal(signal.SIGWINCH, lambda *_: None)\n"
    with daemon(tmp_path, PLAIN, modules={"stuck": source}) as running, running.client() as client:
        for method in ("sleep", "lock", "read"):
            job = stuck(client, method)
            looked(job, Seen("c", method, "the application handles SIGWINCH itself"))
            end(job)
