"""Which processes a fork server that is gone has left, and what the spool keeps of it, whatever a job makes of that."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pytest

from bgjobd.supervisor import fork_server_marks, processes, remnants
from bgjobd.supervisor.fork_server_marks import Marked
from bgjobd.supervisor.remnants import Process, Remnants, is_left_behind
from bgjobd.supervisor.spool import Spool
from tests.daemon.running import is_alive
from tests.support import eventually

SERVER = Marked(fork_server_marks.new(), 700, 1000, 77, "boot", (0, 1000))
STRAY = Process(800, SERVER.mark, 1001, 800, frozenset({1000}))


@pytest.mark.parametrize(
    ("changes", "with_attempts", "at_last"),
    [
        ({}, False, True),
        ({"session": 700}, True, True),
        ({"start_time": 1000}, False, True),
        ({"start_time": 999}, False, False),
        ({"start_time": 999, "session": 700}, False, False),
        ({"uids": frozenset({0, 1000})}, False, True),
        ({"uids": frozenset({1000, 1001})}, False, False),
        ({"mark": "b" * 32, "session": 700}, False, False),
        ({"mark": ""}, False, False),
    ],
)
def test_what_carries_its_mark_began_after_it_and_has_a_user_of_its_classes_was_left_by_a_fork_server(
    changes: dict[str, Any], with_attempts: bool, at_last: bool
) -> None:
    process = replace(STRAY, **changes)
    assert is_left_behind(process, SERVER, has_attempts=True) is with_attempts
    assert is_left_behind(process, SERVER, has_attempts=False) is at_last


def test_the_spool_keeps_a_fork_server_as_it_was_told(tmp_path: Path) -> None:
    fork_server_marks.put(tmp_path, SERVER)
    assert fork_server_marks.kept(tmp_path) == {SERVER.mark}
    assert fork_server_marks.try_read(tmp_path, SERVER.mark) == SERVER
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600]
    fork_server_marks.remove(tmp_path, SERVER.mark)
    assert not list(tmp_path.iterdir())


def test_what_somebody_has_put_in_the_way_of_a_fork_servers_file_stays_and_nothing_else_does(
    tmp_path: Path,
) -> None:
    path = tmp_path / fork_server_marks.file_name(SERVER.mark)
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        fork_server_marks.put(tmp_path, SERVER)
    assert list(tmp_path.iterdir()) == [path]
    path.rmdir()
    unfinished = path.with_name(path.name + fork_server_marks.UNFINISHED)
    unfinished.touch()
    with pytest.raises(FileExistsError):
        fork_server_marks.put(tmp_path, SERVER)
    assert list(tmp_path.iterdir()) == [unfinished]


def test_a_spool_that_is_not_there_keeps_no_fork_server(tmp_path: Path) -> None:
    assert fork_server_marks.kept(tmp_path / "gone") == set()


@pytest.mark.parametrize(
    "changes",
    [
        *({"pid": value} for value in ("700", None, -1, 2**64, True, 7.0)),
        {"mark": "b" * 32},
        {"start_time": None},
        {"pidfd_inode": "77"},
        {"life_id": 7},
        *({"uids": value} for value in (None, 0, ["0"], [-1], [True])),
    ],
)
def test_a_file_that_a_job_has_spoilt_tells_of_no_fork_server_and_is_removed(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    path = tmp_path / fork_server_marks.file_name(SERVER.mark)
    path.write_text(json.dumps(asdict(SERVER) | changes))
    spool = Spool(tmp_path)
    assert spool.servers.all() == []
    assert not path.exists()
    spool.close()


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"[]", b"[" * 60000, b"7" * 60000])
def test_what_is_no_record_tells_of_no_fork_server(tmp_path: Path, text: bytes) -> None:
    (tmp_path / fork_server_marks.file_name(SERVER.mark)).write_bytes(text)
    assert fork_server_marks.try_read(tmp_path, SERVER.mark) is None


def test_what_is_no_file_tells_of_no_fork_server(tmp_path: Path) -> None:
    path = tmp_path / fork_server_marks.file_name(SERVER.mark)
    os.mkfifo(path)
    assert fork_server_marks.try_read(tmp_path, SERVER.mark) is None
    path.unlink()
    path.symlink_to("/dev/zero")
    assert fork_server_marks.try_read(tmp_path, SERVER.mark) is None
    path.unlink()
    path.mkdir()
    assert fork_server_marks.try_read(tmp_path, SERVER.mark) is None


@pytest.mark.parametrize(
    "name", ["fork-server-", "fork-server-AA", f"fork-server-{'a' * 33}", "1.fork-server-aa"]
)
def test_a_name_that_no_fork_servers_file_has_is_none(name: str) -> None:
    assert fork_server_marks.try_mark(name) is None


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"A": "x" * 100_000, "BGJOB_MARK": "a" * 32, "Z": "x" * 100_000}, "a" * 32),
        ({"A": "BGJOB_MARK=" + "b" * 32, "BGJOB_MARK": "a" * 32}, "a" * 32),
        ({"A": "1"}, ""),
        ({"BGJOB_MARK": "a" * 31 + "Z"}, ""),
        ({"XBGJOB_MARK": "a" * 32}, ""),
        ({}, None),
    ],
)
def test_a_process_shows_the_mark_that_it_was_executed_with(
    environ: dict[str, str], told: str | None
) -> None:
    with subprocess.Popen(["sleep", "1000"], env=environ) as process:
        try:  # a program has its name a moment before it has its environment
            eventually(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n")
            eventually(lambda: fork_server_marks.try_mark_of(process.pid) == told)
        finally:
            process.kill()


def test_of_a_process_that_has_ended_nothing_is_known() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert fork_server_marks.try_mark_of(process.pid) is None


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """One that keeps a fork server which has a start before it that is fenced."""
    (tmp_path / "spool").mkdir()
    spool = Spool(tmp_path / "spool")
    fork_server_marks.put(tmp_path / "spool", SERVER)
    assert spool.fences.put((1, 1), SERVER.mark)
    yield spool
    spool.close()


def test_a_fence_stays_though_the_spool_was_moved_away_as_the_fork_server_has_it_open(
    tmp_path: Path, spool: Spool
) -> None:
    moved = (tmp_path / "spool").rename(tmp_path / "moved")
    spool.fences.lift((1, 1))
    spool.fences.lift_all()
    assert (moved / "1.1.journal").exists()
    spool.set_idle(SERVER.mark)
    spool.fences.lift((1, 1))
    assert not (moved / "1.1.journal").exists()


def test_a_fence_waits_for_another_occasion_where_no_descriptors_are_left(
    tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scarce(place: Path | int) -> frozenset[str]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(fork_server_marks, "kept", scarce)
        spool.fences.lift((1, 1))
        spool.set_idle(SERVER.mark)
        spool.fences.put_against_hook((1, 1), "hook")
    assert (tmp_path / "spool" / "1.1.journal").exists()
    spool.fences.lift_all()
    assert not (tmp_path / "spool" / "1.1.journal").exists()


@dataclass
class Sight:
    """Remnants, what they are told of attempts and known processes, and what they ask for and say."""

    spool: Spool
    at_work: set[str | None] = field(default_factory=set)
    known: set[int] = field(default_factory=set)
    asked: int = 0
    said: list[str] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.remnants = Remnants(
            self.spool,
            "boot",
            lambda: self.at_work,
            lambda: self.known,
            self._ask,
            lambda work: self.tasks.append(asyncio.ensure_future(work)),
            lambda type, told: self.said.append(told),
        )

    def _ask(self) -> None:
        self.asked += 1

    @property
    def has_fence(self) -> bool:
        return bool(self.spool.journals())

    async def settle(self) -> None:
        """Wait until nothing is looked for any more."""
        while any(not task.done() for task in self.tasks):
            await asyncio.wait(self.tasks)


def play(spool: Spool, scene: Callable[[Sight], Awaitable[None]]) -> None:
    async def live() -> None:
        sight = Sight(spool)
        try:
            await scene(sight)
        finally:
            sight.remnants.close()

    asyncio.run(live())


@contextmanager
def orphans(script: str, count: int) -> Iterator[list[int]]:
    """Processes that carry the fork server's mark and are below nobody here; the script tells their pids."""
    environ = {"PATH": os.environ["PATH"], "BGJOB_MARK": SERVER.mark}
    with subprocess.Popen(["sh", "-c", script], env=environ, stdout=subprocess.PIPE, text=True) as told:
        assert told.stdout is not None
        pids = [int(told.stdout.readline()) for _ in range(count)]
    try:
        # Whoever was told of by another is no sleeper at first, and a program has its words before its environment.
        eventually(lambda: [*map(_words, pids)].count([b"sleep", b"1000"]) == script.count("sleep 1000"))
        for pid in pids:
            eventually(lambda pid=pid: not is_alive(pid) or fork_server_marks.try_mark_of(pid) == SERVER.mark)
        yield pids
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _words(pid: int) -> list[bytes]:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    return []


def test_whoever_calls_itself_by_what_looks_like_a_line_of_its_status_has_its_own_user() -> None:
    name = (
        "import ctypes, sys; ctypes.CDLL(None).prctl(15, b'\\rUid:\\tx'); print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-I", "-c", name]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env={"BGJOB_MARK": SERVER.mark}, **pipes) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = remnants._try_read(process.pid)
        process.kill()
    assert found is not None
    assert found.uids == {os.geteuid()}


@contextmanager
def sleeper(environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A child of the test's."""
    with subprocess.Popen(["sleep", "1000"], env=environ) as process:
        try:
            yield process
        finally:
            process.kill()


STRAY_OF_ITS_OWN: Final = "setsid sleep 1000 > /dev/null & echo $!;"
IN_A_SESSION: Final = "setsid sh -c 'sleep 1000 > /dev/null & echo $!; echo $$; exec sleep 0.01' &"
"""One in a session whose leader, a fork server, is gone."""


def test_while_attempts_run_only_what_is_of_the_fork_servers_session_is_ended(spool: Spool) -> None:
    async def scene(sight: Sight) -> None:
        with orphans(IN_A_SESSION, 2) as (inner, server), orphans(STRAY_OF_ITS_OWN, 1) as (stray,):
            eventually(lambda: not is_alive(server))
            fork_server_marks.put(spool.files.path, replace(SERVER, pid=server, uids=(os.getuid(),)))
            searches = 0

            def search(wanted: Collection[str]) -> list[tuple[int, Process]]:
                nonlocal searches
                searches += 1
                assert searches < 20
                return really_search(wanted)

            really_search = remnants._search
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(remnants, "_search", search)
                sight.at_work = {SERVER.mark}
                sight.remnants.start()
                await sight.settle()
                assert (is_alive(inner), is_alive(stray), sight.has_fence) == (False, True, False)
                sight.at_work = {None}  # nobody knows whose it is
                sight.remnants.on_end()
                await sight.settle()
                assert (is_alive(stray), spool.servers.marks()) == (True, {SERVER.mark})
                sight.at_work = set()
                sight.remnants.on_end()
                await sight.settle()
            assert (is_alive(stray), spool.servers.marks()) == (False, set())
            assert sight.said == ["ended what a dead fork server left behind, processes: 1 (sleep)"] * 2

    play(spool, scene)


def test_of_a_fork_server_of_another_life_nothing_is_left_and_nothing_is_looked_for(spool: Spool) -> None:
    async def scene(sight: Sight) -> None:
        fork_server_marks.put(
            spool.files.path, replace(SERVER, life_id="the boot before", uids=(os.getuid(),))
        )
        with orphans(STRAY_OF_ITS_OWN, 1) as (stray,):
            sight.remnants.start()
            await sight.settle()
            assert (is_alive(stray), spool.servers.marks(), sight.has_fence) == (True, set(), False)

    play(spool, scene)


@pytest.mark.parametrize("is_reaped", [True, False])
def test_a_fork_server_of_an_earlier_daemon_is_watched_until_it_ends_also_where_descriptors_are_short_at_first(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, is_reaped: bool
) -> None:
    def scarce(record: dict[str, int]) -> int | None:
        monkeypatch.setattr(processes, "try_open", really_open)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    really_open = processes.try_open
    monkeypatch.setattr(processes, "try_open", scarce)
    monkeypatch.setattr(remnants, "_PAUSE", 0.0)

    async def scene(sight: Sight) -> None:
        with sleeper({}) as server, orphans(STRAY_OF_ITS_OWN, 1) as (stray,):
            fork_server_marks.put(
                spool.files.path, Marked.here(SERVER.mark, server.pid, "boot", [os.getuid()])
            )
            sight.remnants.start()
            for _ in range(10):
                await asyncio.sleep(0)
            sight.remnants.on_end()
            await sight.settle()
            assert is_alive(stray)
            server.kill()
            if is_reaped:
                server.wait()
            while spool.servers.marks():
                await asyncio.sleep(0)
                await sight.settle()
            assert not is_alive(stray)

    play(spool, scene)


def test_the_fences_of_one_that_is_reaped_go_at_once_and_its_file_with_its_last_attempt(spool: Spool) -> None:
    async def scene(sight: Sight) -> None:
        sight.at_work = {SERVER.mark}
        sight.remnants.on_reaped(SERVER.mark)
        assert (sight.asked, sight.has_fence) == (1, True)
        sight.remnants.on_rest()
        assert (sight.has_fence, spool.servers.marks()) == (False, {SERVER.mark})
        sight.remnants.on_end()
        sight.at_work = {None}
        sight.remnants.on_end()
        assert sight.asked == 1
        sight.at_work = set()
        sight.remnants.on_end()
        assert sight.asked == 2
        sight.remnants.on_rest()
        assert spool.servers.marks() == set()
        sight.remnants.on_end()
        assert sight.asked == 2

    play(spool, scene)


@pytest.mark.parametrize("name", ["_search", "_try_end"])
def test_a_search_that_fails_is_made_again_and_keeps_no_descriptor(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def scarce(*_: object) -> Any:
        monkeypatch.setattr(remnants, name, real)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    real = getattr(remnants, name)
    monkeypatch.setattr(remnants, name, scarce)
    monkeypatch.setattr(remnants, "_PAUSE", 0.0)
    fork_server_marks.put(spool.files.path, replace(SERVER, uids=(os.getuid(),)))

    async def scene(sight: Sight) -> None:
        with orphans(STRAY_OF_ITS_OWN * 2, 2) as strays:
            before = os.listdir("/proc/self/fd")
            sight.remnants.start()
            while spool.servers.marks():
                await asyncio.sleep(0)
                await sight.settle()
            assert os.listdir("/proc/self/fd") == before
            assert not any(map(is_alive, strays))

    play(spool, scene)


def test_what_does_not_end_is_left_to_the_next_daemon_and_no_descriptor_is_kept(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LONG_DYING", 0.001)
    monkeypatch.setattr(remnants, "_try_end", lambda pidfd, pid: "deaf")
    fork_server_marks.put(spool.files.path, replace(SERVER, uids=(os.getuid(),)))

    async def scene(sight: Sight) -> None:
        with orphans(STRAY_OF_ITS_OWN * 2, 2) as strays:
            sight.known = {strays[1]}
            before = os.listdir("/proc/self/fd")
            waited_for = len(asyncio.get_running_loop()._selector.get_map())
            sight.remnants.start()
            await sight.settle()
            assert os.listdir("/proc/self/fd") == before
            assert len(asyncio.get_running_loop()._selector.get_map()) == waited_for
            assert (spool.servers.marks(), sight.has_fence) == ({SERVER.mark}, True)
            sight.remnants.on_end()
            assert all(task.done() for task in sight.tasks)

    play(spool, scene)


A_FAMILY: Final = (
    "setsid sh -c 'sh -c \"sleep 1000 > /dev/null & echo \\$!; echo \\$\\$; wait\" & echo $$; wait' &"
)


def test_who_is_above_or_below_somebody_who_is_known_is_left_alone(spool: Spool) -> None:
    async def scene(sight: Sight) -> None:
        fork_server_marks.put(spool.files.path, replace(SERVER, uids=(os.getuid(),)))
        with (
            sleeper({"BGJOB_MARK": SERVER.mark}) as own,
            orphans(A_FAMILY, 3) as family,
            orphans(STRAY_OF_ITS_OWN, 1) as (stray,),
        ):
            (middle,) = (
                pid for pid in family if _parent(pid) in family and any(_parent(one) == pid for one in family)
            )
            sight.known = {middle}
            sight.remnants.start()
            await sight.settle()
            assert [is_alive(pid) for pid in (own.pid, *family)] == [True] * 4
            assert not is_alive(stray)

    play(spool, scene)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_search_that_is_short_of_descriptors_keeps_none_of_those_that_it_has_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = []

    def start_time(pid: int) -> int:
        looked.append(pid)
        if len(looked) == 3:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return 1

    monkeypatch.setattr(remnants.process_identity, "start_time", start_time)
    marked = [subprocess.Popen(["sleep", "1000"], env={"BGJOB_MARK": SERVER.mark}) for _ in range(3)]
    try:
        for process in marked:
            eventually(lambda pid=process.pid: fork_server_marks.try_mark_of(pid) == SERVER.mark)
        before = os.listdir("/proc/self/fd")
        with pytest.raises(OSError, match="Too many open files"):
            remnants._search({SERVER.mark})
        assert os.listdir("/proc/self/fd") == before
    finally:
        for process in marked:
            process.kill()
            process.wait()
