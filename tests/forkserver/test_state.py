"""The state of a job in real attempts: what is in the file whatever kills them, and what comes to the next attempt."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from bgjobd.forkserver import journal_file, journal_lines, spool_names, state_file, steps
from bgjobd.forkserver.invocation import Approved
from bgjobd.forkserver.order import Order
from bgjobd.forkserver.state_file import MAX_STATE, StateKeeper, open_state
from bgjobd.forkserver.steps import Carry
from tests.forkserver.driven import DrivenServer, Told, fork_server, order
from tests.forkserver.test_sandbox import SYSTEM_PYTHON, account, as_root, passable
from tests.support import eventually

__all__ = ["passable"]


def saves(number: int = 0, text: str = "", is_torn: bool = False) -> state_file.Saved:
    return state_file.Saved(number, text, is_torn, len(text.encode()))


MODULE = """
import os, sys, threading, time
from pathlib import Path
import bgjob


class Job:
    def __init__(self, context: bgjob.JobContext):
        self.context = context

    def count(self, times):
        state = self.context.state
        for _ in range(times):
            state["n"] = state.get("n", 0) + 1
        return dict(state)

    def look(self):
        return dict(self.context.state)

    def large(self, size):
        for _ in range(3):
            self.context.state["x"] = "x" * size
        try:
            self.context.state["y"] = "y" * 70_000
        except ValueError as error:
            return str(error)

    def threads(self):
        def save(n):
            for k in range(50):
                self.context.state[f"{n} {k}"] = k
        threads = [threading.Thread(target=save, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(self.context.state)

    def fork(self):
        self.context.state["of"] = "the attempt"
        if os.fork() == 0:
            try:
                self.context.state["of"] = "the copy"
            except bgjob.StepError as error:
                print(error, flush=True)
            print(self.context.state["of"], flush=True)
            os._exit(0)
        os.wait()

    def close(self):
        os.closerange(3, 256)
        held = [open("others", "w+") for _ in range(9)]
        try:
            self.context.state["of"] = 1
        except OSError as error:
            print(error, os.path.getsize("others"), flush=True)

    def wait(self):
        self.context.state["before"] = 1
        try:
            self.context.sleep(60)
        except:
            try:
                self.context.state["behind"] = 1
            except bgjob.Suspended:
                print(self.context.state["before"])
                raise

    def fail(self):
        pass

    def failed(self, error):
        self.context.state["of"] = "the hook"


class OfMethod:
    def without(self):
        pass

    def takes(self, context: bgjob.JobContext):
        pass
"""
APPROVED: dict[str, Any] = {"stating.Job": None, "stating.OfMethod": None}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DrivenServer]:
    directory = tmp_path_factory.mktemp("stating")
    (directory / "stating.py").write_text(MODULE)
    with fork_server(directory, approved=APPROVED) as server:
        yield server


_jobs = count(1)


def run(
    server: DrivenServer,
    method: str,
    state: str | None = None,
    job: int | None = None,
    name: str = "Job",
    **parameters: Any,
) -> tuple[Told, state_file.Saved | None]:
    """The journal of an attempt, and what it has saved; `state` is what those before it have."""
    job = next(_jobs) if job is None else job
    if state is not None:
        carry = {"steps": [], "waits": [], "state": state}
        (server.spool / f"{job}.1.carry").write_text(json.dumps(carry))
    server.send(
        {**order(job, method, 1, **parameters), "class_name": f"stating.{name}", "carries": state is not None}
    )
    assert server.receive()["type"] == "ended"
    journal = server.journal(job, 1)
    assert journal is not None
    return journal, saved(server.spool, job)


def saved(spool: Path, job: int) -> state_file.Saved | None:
    place = os.open(spool, os.O_RDONLY)
    try:
        return state_file.try_read(place, f"{job}.1.state")
    finally:
        os.close(place)


def result_of(journal: Told) -> Any:
    assert journal.outcome is not None
    assert journal.outcome["outcome"] == "completed", journal.outcome
    return journal.outcome["result"]


def test_what_attempts_before_have_saved_is_there_and_each_save_is_in_the_file(server: DrivenServer) -> None:
    assert run(server, "look")[1] == saves()
    _, found = run(server, "count", times=7)
    assert found == saves(7, '{"n":7}')
    assert result_of(run(server, "look", state='{"n":7,"läbel":[1,{"a":null}]}')[0]) == {
        "n": 7,
        "läbel": [1, {"a": None}],
    }
    _, found = run(server, "count", state='{"n":7,"b":"ü"}', times=1)
    assert found == saves(1, '{"n":8,"b":"ü"}')


def test_a_carry_file_of_an_older_daemon_has_no_state(server: DrivenServer) -> None:
    job = next(_jobs)
    (server.spool / f"{job}.1.carry").write_text('{"steps":[],"waits":[]}')
    server.send({**order(job, "look"), "class_name": "stating.Job", "carries": True})
    assert server.receive()["type"] == "ended"
    journal = server.journal(job)
    assert journal is not None
    assert journal.outcome is not None
    assert journal.outcome["result"] == {}


@pytest.mark.parametrize(
    ("name", "method", "has_file"),
    [("Job", "look", True), ("OfMethod", "takes", True), ("OfMethod", "without", False)],
)
def test_an_attempt_has_a_file_where_its_method_or_its_object_takes_a_context(
    server: DrivenServer, name: str, method: str, has_file: bool
) -> None:
    job = next(_jobs)
    journal, found = run(server, method, job=job, name=name)
    assert (found is not None) == has_file
    assert journal.started is not None
    assert journal.started.get("state", False) == has_file
    if has_file:
        assert (server.spool / f"{job}.1.state").stat().st_mode & 0o777 == 0o600


def test_a_task_may_ask_for_its_context_wherever_it_is_called() -> None:
    plain = {"whole": None, "coerce": False, "contexts": [], "required": [], "names": [], "integers": []}
    methods = {"task": {**plain, "caller": "a.b"}, "function": plain, "asks": {**plain, "contexts": ["it"]}}
    described = {"contexts": [], "hooks": [], "methods": methods, "is_module": True}
    assert Approved.from_description(None, described).stateful == {"task", "asks"}


def test_a_state_has_64_kib_and_a_file_no_more_than_two_of_these(server: DrivenServer) -> None:
    job, size = next(_jobs), MAX_STATE - len('{"x":""}')
    journal, found = run(server, "large", job=job, size=size)
    assert result_of(journal) == f"a state takes 65536 bytes at most, and this one {MAX_STATE + 70_007}"
    assert found == saves(3, json.dumps({"x": "x" * size}, separators=(",", ":")))
    assert (server.spool / f"{job}.1.state").stat().st_size <= 136 * 1024


def test_threads_save_side_by_side(server: DrivenServer) -> None:
    journal, found = run(server, "threads")
    assert result_of(journal) == 200
    assert found is not None
    assert (found.number, len(json.loads(found.text))) == (200, 200)


def test_a_forked_copy_saves_nothing_and_reads_what_there_was(server: DrivenServer) -> None:
    job = next(_jobs)
    _, found = run(server, "fork", job=job)
    assert found == saves(1, '{"of":"the attempt"}')
    output = (server.output / f"{job}.1.out").read_text()
    assert output == (
        "a copy of the attempt's process, that it has forked, cannot save the job's state\nthe attempt\n"
    )


def test_what_has_the_number_of_a_closed_file_is_not_written_to(server: DrivenServer) -> None:
    job = next(_jobs)
    _, found = run(server, "close", job=job)
    assert found == saves()
    output = (server.output / f"{job}.1.out").read_text()
    assert output.endswith("the attempt has closed the file of its job's state 0\n")


def test_once_an_attempt_has_ended_to_wait_it_saves_no_more(server: DrivenServer) -> None:
    job = next(_jobs)
    journal, found = run(server, "wait", job=job)
    assert journal.outcome is not None
    assert journal.outcome["outcome"] == "suspended"
    assert found == saves(1, '{"before":1}')
    assert (server.output / f"{job}.1.out").read_text() == "1\n"


def test_a_hook_has_no_state(server: DrivenServer) -> None:
    job = next(_jobs)
    error = {"outcome": "failed", "error_type": "ValueError", "message": "", "traceback": ""}
    server.send({**order(job, "fail"), "class_name": "stating.Job", "error": error, "kind": spool_names.HOOK})
    assert server.receive()["type"] == "ended"
    assert saved(server.spool, job) is None
    assert "StepError" in (server.spool / f"{job}.1.hook").read_text()


def test_whatever_has_the_name_of_the_file_keeps_no_attempt_from_its_start(server: DrivenServer) -> None:
    planted: list[Callable[[Path], object]] = [
        os.mkfifo,
        lambda path: path.symlink_to("/etc/passwd"),
        lambda path: path.write_bytes(b"x" * 200_000),
        lambda path: (path / "full").mkdir(parents=True),
    ]
    for plant in planted:
        job = next(_jobs)
        plant(server.spool / f"{job}.1.state")
        assert run(server, "count", job=job, times=1)[1] == saves(1, '{"n":1}')


def test_an_attempt_that_does_not_start_leaves_no_file(server: DrivenServer) -> None:
    job = next(_jobs)
    place = os.open(server.spool, os.O_RDONLY)
    fence = journal_file.link_first(place, f"{job}.1.journal", journal_lines.fenced())
    assert fence is not None
    os.close(fence)
    os.close(place)
    server.send({**order(job, "look"), "class_name": "stating.Job"})
    server.receive()
    assert saved(server.spool, job) is None


@as_root
def test_an_attempt_of_another_user_in_its_cage_has_a_state_as_well(passable: Path) -> None:
    (passable / "stating.py").write_text(MODULE)
    limits = {"account": account(), "memory": 400 * 2**20, "open_files": 40, "writable": []}
    with fork_server(passable, python=SYSTEM_PYTHON, approved=APPROVED, limits=limits) as server:
        server.spool.chmod(0o700)
        assert run(server, "count", times=2)[1] == saves(2, '{"n":2}')


def test_how_large_files_may_become_is_no_limit_of_a_state(tmp_path: Path) -> None:
    (tmp_path / "stating.py").write_text(MODULE)
    with fork_server(tmp_path, approved=APPROVED, limits={"file_size": 4096}) as server:
        _, found = run(server, "large", size=60_000)
    assert found is not None
    assert (found.number, len(found.text)) == (3, 60_008)


# The file, without an attempt


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[int]:
    place = os.open(tmp_path, os.O_RDONLY)
    yield place
    os.close(place)


NAME = "1.1.state"


def keeper(spool: int, write: Callable[[Callable[[], None]], None] = lambda put: put()) -> StateKeeper:
    return StateKeeper(open_state(spool, Order(1, 1, "aa", "a.A", "run", {})), Carry(None), write)


def read(spool: int) -> state_file.Saved | None:
    return state_file.try_read(spool, NAME)


def test_of_two_places_a_torn_one_costs_nothing_that_was_saved_before(spool: int, tmp_path: Path) -> None:
    """Cut after each byte of its head, and at places of its text, and with a byte of it changed."""
    kept = keeper(spool)
    kept.save_state('{"a":1}')
    kept.save_state('{"a":2}')
    before = (tmp_path / NAME).read_bytes()
    kept.save_state('{"a":3333333333}')
    whole = (tmp_path / NAME).read_bytes()
    record = whole[: 16 + len('{"a":3333333333}')]
    for length in range(1, len(record)):
        (tmp_path / NAME).write_bytes(record[:length] + before[length:])
        assert read(spool) == saves(2, '{"a":2}', is_torn=True), length
    (tmp_path / NAME).write_bytes(whole)
    assert read(spool) == saves(3, '{"a":3333333333}')
    for place in range(len(record)):
        changed = bytearray(whole)
        changed[place] ^= 1
        (tmp_path / NAME).write_bytes(changed)
        assert read(spool) == saves(2, '{"a":2}', is_torn=True), place


def test_a_save_that_is_broken_off_leaves_the_one_before_and_the_next_is_not_taken_for_it(spool: int) -> None:
    breaks = iter([False, True, True, False])

    def write(put: Callable[[], None]) -> None:
        put()
        if next(breaks):
            raise KeyboardInterrupt  # of a handler of the job's

    kept = keeper(spool, write)
    kept.save_state("{}")
    for n in (2, 3):
        with pytest.raises(KeyboardInterrupt):
            kept.save_state(f'{{"n":{n}}}')
        assert read(spool) == saves(n, f'{{"n":{n}}}')
    kept.save_state('{"n":4}')
    assert read(spool) == saves(4, '{"n":4}')
    assert kept._place == 0


def test_a_save_that_finds_no_room_waits_for_some(monkeypatch: pytest.MonkeyPatch, spool: int) -> None:
    monkeypatch.setattr(steps, "_FIRST_PAUSE", 0.0)
    room = iter([None, errno.ENOSPC, errno.EDQUOT, None])

    def write(put: Callable[[], None]) -> None:
        trouble = next(room)
        if trouble is not None:
            raise OSError(trouble, os.strerror(trouble))
        put()

    kept = keeper(spool, write)
    kept.save_state('{"n":1}')
    kept.save_state('{"n":2}')
    assert (read(spool), next(room, "none left")) == (saves(2, '{"n":2}'), "none left")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"\xff" * 200_000,
        state_file._record(0, b"{}"),
        state_file._record(2**60, b"{}"),
        state_file._record(1, b'{"a":"\xff"}'),
        state_file._record(1, b"x" * (MAX_STATE + 1)),
        state_file._record(1, b"{}")[:-1],
    ],
    ids=["empty", "a byte", "noise", "number 0", "too large a number", "no UTF-8", "too long", "cut"],
)
def test_what_a_job_writes_by_itself_is_nothing_that_was_saved(
    spool: int, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / NAME).write_bytes(content)
    found = read(spool)
    assert found is not None
    assert (found.number, found.text) == (0, "")


def test_what_is_no_file_is_not_read(spool: int, tmp_path: Path) -> None:
    assert read(spool) is None
    planted: list[Callable[[Path], object]] = [
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.mkdir(),
    ]
    for plant in planted:
        plant(tmp_path / NAME)
        assert read(spool) is None
        (tmp_path / NAME).rmdir() if (tmp_path / NAME).is_dir() else (tmp_path / NAME).unlink()
    (tmp_path / NAME).touch()
    os.truncate(tmp_path / NAME, 2**40)
    assert read(spool) == saves()


SAVER = """
import os, sys
from bgjobd.forkserver.invocation import Approved
from bgjobd.forkserver.order import Order
from bgjobd.forkserver.state_file import StateKeeper, open_state
from bgjobd.forkserver.steps import Carry
spool = os.open(sys.argv[1], os.O_RDONLY)
for line in sys.stdin:
    job, size = map(int, line.split())
    if os.fork():
        os.write(1, b"%d\\n" % os.wait()[1])
        continue
    kept = StateKeeper(open_state(spool, Order(job, 1, "aa", "a.A", "run", {})), Carry(None), lambda put: put())
    told = os.open(f"{sys.argv[1]}/{job}.told", os.O_RDWR | os.O_CREAT)
    os.write(1, b"%d\\n" % os.getpid())
    number = 0
    while True:
        number += 1
        kept.save_state('{"n":%d,"x":"%s"}' % (number, chr(97 + number % 26) * size))
        os.pwrite(told, b"%16d" % number, 0)
"""

KILLS = int(os.environ.get("STATE_KILLS", "60"))


def test_no_kill_amid_saves_costs_one_that_had_returned() -> None:
    random_kill = random.Random(7)
    with _in_memory() as directory:
        place = os.open(directory, os.O_RDONLY)
        saver = subprocess.Popen(
            [sys.executable, "-c", SAVER, directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert saver.stdin is not None
        assert saver.stdout is not None
        torn = 0
        for job in range(1, KILLS + 1):
            size = random_kill.choice([10, 4000, 60_000])
            print(job, size, file=saver.stdin, flush=True)
            pid = int(saver.stdout.readline())
            told, enough = Path(directory, f"{job}.told"), random_kill.randrange(1, 400)
            eventually(lambda told=told, enough=enough: _number(told) >= enough)  # type: ignore[misc]
            os.kill(pid, signal.SIGKILL)
            saver.stdout.readline()
            found = state_file.try_read(place, f"{job}.1.state")
            assert found is not None
            torn += found.is_torn
            assert _number(told) <= found.number <= _number(told) + 1
            assert json.loads(found.text) == {
                "n": found.number,
                "x": chr(97 + found.number % 26) * size,
            }
            for path in (told, Path(directory, f"{job}.1.state")):
                path.unlink()
        saver.stdin.close()
        saver.wait(20)
        os.close(place)
        print(f"{KILLS} kills, {torn} torn places")


def _number(told: Path) -> int:
    return int(told.read_text() or 0)


@contextmanager
def _in_memory() -> Iterator[str]:
    """A directory on tmpfs, as the spool is."""
    directory = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)
