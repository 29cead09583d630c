"""Which processes a fork server that is gone has left, and what the spool keeps of it, whatever a job makes of that."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from bgjobd import marks, remnants
from bgjobd.marks import Marked
from bgjobd.remnants import Process, is_left_behind
from bgjobd.spool import Spool
from tests.support import eventually

SERVER = Marked("a" * 32, 700, 1000, 77, "boot", (0, 1000))
STRAY = Process(800, "a" * 32, 1001, 800, frozenset({1000}))


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
    marks.put(tmp_path, SERVER)
    assert marks.kept(tmp_path) == {SERVER.mark}
    assert marks.try_read(tmp_path, SERVER.mark) == SERVER
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600]
    marks.remove(tmp_path, SERVER.mark)
    assert not list(tmp_path.iterdir())


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
    path = tmp_path / marks.file_name(SERVER.mark)
    path.write_text(json.dumps(asdict(SERVER) | changes))
    spool = Spool(tmp_path)
    assert spool.servers() == []
    assert not path.exists()
    spool.close()


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"[]", b"[" * 60000, b"7" * 60000])
def test_what_is_no_record_tells_of_no_fork_server(tmp_path: Path, text: bytes) -> None:
    (tmp_path / marks.file_name(SERVER.mark)).write_bytes(text)
    assert marks.try_read(tmp_path, SERVER.mark) is None


def test_what_is_no_file_tells_of_no_fork_server(tmp_path: Path) -> None:
    path = tmp_path / marks.file_name(SERVER.mark)
    os.mkfifo(path)
    assert marks.try_read(tmp_path, SERVER.mark) is None
    path.unlink()
    path.symlink_to("/dev/zero")
    assert marks.try_read(tmp_path, SERVER.mark) is None
    path.unlink()
    path.mkdir()
    assert marks.try_read(tmp_path, SERVER.mark) is None


@pytest.mark.parametrize(
    "name", ["fork-server-", "fork-server-AA", f"fork-server-{'a' * 33}", "1.fork-server-aa"]
)
def test_a_name_that_no_fork_servers_file_has_is_none(name: str) -> None:
    assert marks.try_mark(name) is None


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"A": "1", "BGJOB_MARK": "a" * 32, "Z": "x" * 100_000}, "a" * 32),
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
        eventually(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n")
        assert marks.try_mark_of(process.pid) == told
        process.kill()


def test_of_a_process_that_has_ended_nothing_is_known() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert marks.try_mark_of(process.pid) is None


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """One that keeps a fork server which has a start before it that is fenced."""
    (tmp_path / "spool").mkdir()
    spool = Spool(tmp_path / "spool")
    marks.put(tmp_path / "spool", SERVER)
    assert spool.fence((1, 1), SERVER.mark)
    yield spool
    spool.close()


def test_a_fence_stays_though_the_spool_was_moved_away_as_the_fork_server_has_it_open(
    tmp_path: Path, spool: Spool
) -> None:
    moved = (tmp_path / "spool").rename(tmp_path / "moved")
    spool.lift((1, 1))
    spool.lift_all()
    assert (moved / "1.1.journal").exists()
    spool.set_idle(SERVER.mark)
    spool.lift((1, 1))
    assert not (moved / "1.1.journal").exists()


def test_a_fence_waits_for_another_occasion_where_no_descriptors_are_left(
    tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scarce(place: Path | int) -> frozenset[str]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(marks, "kept", scarce)
        spool.lift((1, 1))
        spool.set_idle(SERVER.mark)
        spool.seal_hook((1, 1))
    assert (tmp_path / "spool" / "1.1.journal").exists()
    spool.lift_all()
    assert not (tmp_path / "spool" / "1.1.journal").exists()


def test_a_search_that_is_short_of_descriptors_keeps_none_of_those_that_it_has_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = []

    def start_time(pid: int) -> int:
        looked.append(pid)
        if len(looked) == 3:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return 1

    monkeypatch.setattr(remnants.identity, "start_time", start_time)
    marked = [subprocess.Popen(["sleep", "1000"], env={"BGJOB_MARK": SERVER.mark}) for _ in range(3)]
    try:
        for process in marked:
            eventually(lambda pid=process.pid: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
        before = os.listdir("/proc/self/fd")
        with pytest.raises(OSError, match="Too many open files"):
            remnants._search({SERVER.mark})
        assert os.listdir("/proc/self/fd") == before
    finally:
        for process in marked:
            process.kill()
            process.wait()
