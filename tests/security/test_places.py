"""What somebody has put in the place of what is the daemon's: refused, or passed over, and what it leads to stays."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgjob.words import EntryType
from bgjobd.api import unix_socket
from bgjobd.commands import check_places, process_table
from bgjobd.commands.findings import Severity
from bgjobd.commands.pruning import Archive
from bgjobd.host import directories, lock
from bgjobd.host.log import FILE_NAME, Log
from bgjobd.store import backups, database
from bgjobd.supervisor.page_process import settings_of
from tests.daemon.running import RunningDaemon, daemon
from tests.daemon.test_check import settings
from tests.support import eventually

STRANGER = 65534
SOMEBODY = 1_000_001

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def state_of(place: Path) -> tuple[Any, ...]:
    """What may not change: owner, rights, names and content."""
    found = place.stat()
    inside = sorted(os.listdir(place)) if place.is_dir() else place.read_bytes()
    return found.st_uid, found.st_gid, found.st_mode, inside


# Directories


def _shared(directory: Path, mode: int = 0o1777) -> Path:
    directory.mkdir()
    directory.chmod(mode)
    return directory


@as_root
@pytest.mark.parametrize("mode", [0o1777, 0o777])
@pytest.mark.parametrize("below", ["", "below"])
def test_a_strangers_link_in_a_directory_for_all_leads_nowhere(tmp_path: Path, mode: int, below: str) -> None:
    """CVE-2020-1733 (ansible): the name was known before the directory was made."""
    target = tmp_path / "target"
    target.mkdir(mode=0o755)
    planted = _shared(tmp_path / "tmp", mode) / "bgjobd"
    planted.symlink_to(target)
    os.lchown(planted, STRANGER, STRANGER)
    before = state_of(target)
    with pytest.raises(PermissionError, match="uid 65534 has put this link here"):
        directories.make(planted / below, 0o700)
    assert state_of(target) == before


@as_root
def test_a_strangers_link_in_a_directory_of_theirs_leads_nowhere(tmp_path: Path) -> None:
    """Root's chmod of a path below a user's home, led to /etc, as init scripts and tmpfiles.d had it for years."""
    target, theirs = tmp_path / "target", tmp_path / "theirs"
    target.mkdir(mode=0o755)
    theirs.mkdir(mode=0o755)
    (theirs / "state").symlink_to(target)
    for place in (theirs, theirs / "state"):
        os.lchown(place, SOMEBODY, SOMEBODY)
    before = state_of(target)
    for directory in (theirs / "state", theirs / "state" / "below"):
        with pytest.raises(PermissionError, match=f"uid {SOMEBODY} has put this link here"):
            directories.make(directory, 0o700)
    assert state_of(target) == before


def test_a_link_of_our_own_is_followed_and_what_it_leads_to_closed(tmp_path: Path) -> None:
    """An administrator has moved the directory to a larger disk."""
    (tmp_path / "disk").mkdir(mode=0o755)
    (tmp_path / "state").symlink_to("disk")
    directories.make(tmp_path / "state", 0o700)
    assert stat.S_IMODE((tmp_path / "disk").stat().st_mode) == 0o700


def test_a_link_that_leads_nowhere_makes_no_directory(tmp_path: Path) -> None:
    (tmp_path / "state").symlink_to("elsewhere")
    with pytest.raises(FileExistsError):
        directories.make(tmp_path / "state", 0o700)
    assert not (tmp_path / "elsewhere").exists()


@as_root
def test_a_directory_of_somebody_else_is_refused_as_it_is(tmp_path: Path) -> None:
    theirs = tmp_path / "state"
    theirs.mkdir(mode=0o755)
    os.chown(theirs, STRANGER, STRANGER)
    before = state_of(theirs)
    with pytest.raises(PermissionError, match="belongs to uid 65534"):
        directories.make(theirs, 0o700)
    assert state_of(theirs) == before


@pytest.mark.parametrize("mode", [0o1777, 0o1770])
def test_a_directory_that_others_share_is_not_closed_to_them(tmp_path: Path, mode: int) -> None:
    """`log_dir = "/tmp"` would have taken /tmp from everybody."""
    shared = _shared(tmp_path / "tmp", mode)
    (shared / "another").touch()
    with pytest.raises(PermissionError, match="is one that others share"):
        directories.make(shared, 0o700)
    assert stat.S_IMODE(shared.stat().st_mode) == mode


def test_a_file_system_of_memory_that_was_mounted_just_now_is_closed(tmp_path: Path) -> None:
    """It comes as open as /tmp."""
    mounted = _shared(tmp_path / "run", 0o1777)
    for _ in ("the first start", "a restart"):
        directories.make(mounted, 0o700)
        (mounted / "spool").mkdir(exist_ok=True)
    assert stat.S_IMODE(mounted.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o777])
def test_a_directory_that_was_open_is_closed_where_all_in_it_is_ours(tmp_path: Path, mode: int) -> None:
    ours = _shared(tmp_path / "state", mode)
    (ours / "bgjobd.db").touch()
    directories.make(ours, 0o700)
    assert stat.S_IMODE(ours.stat().st_mode) == 0o700


def _file(place: Path, target: Path) -> None:
    place.touch()
    os.chown(place, STRANGER, STRANGER)


def _link(place: Path, target: Path) -> None:
    place.symlink_to(target)
    os.lchown(place, STRANGER, STRANGER)


def _pipe(place: Path, target: Path) -> None:
    os.mkfifo(place)
    os.chown(place, STRANGER, STRANGER)


def _directory(place: Path, target: Path) -> None:
    place.mkdir()
    os.chown(place, STRANGER, STRANGER)


def _second_name(place: Path, target: Path) -> None:
    place.hardlink_to(target)


@as_root
@pytest.mark.parametrize("plant", [_file, _link, _pipe, _directory, _second_name])
@pytest.mark.parametrize("name", ["bgjobd.db", "output"])
def test_what_others_could_put_into_an_open_directory_is_never_the_daemons(
    tmp_path: Path, plant: Callable[[Path, Path], None], name: str
) -> None:
    """CVE-2022-23651 (b2sdk) the other way round: a database that is there already, and somebody else's to write."""
    target = tmp_path / "target"
    target.write_text("precious")
    ours = _shared(tmp_path / "state", 0o777)
    plant(ours / name, target)
    before = state_of(ours), state_of(target)
    with pytest.raises(PermissionError, match=f"others could write to the directory.*{name}"):
        directories.make(ours, 0o700)
    assert (state_of(ours), state_of(target)) == before


@as_root
def test_a_start_refuses_what_was_planted_and_says_what_to_do_as_does_a_check(tmp_path: Path) -> None:
    running = RunningDaemon(tmp_path)
    _file(_shared(tmp_path / "state", 0o777) / "bgjobd.db", tmp_path)
    (found,) = [
        one
        for one in check_places.findings(settings(tmp_path), None)
        if "may have put this there" in one.told
    ]
    assert found.severity is Severity.BROKEN
    assert running.spawn().wait(20) == 1
    assert "may have put this there; look at it, and remove it" in running.console()
    assert f"{tmp_path}/state/bgjobd.db" in running.console()
    (tmp_path / "state" / "bgjobd.db").unlink()
    with daemon(tmp_path):
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_a_start_below_a_directory_for_all_is_a_line_of_the_log(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with daemon(tmp_path) as running:
        told = f"anybody may write to {tmp_path}, and so put something else in the place of state_dir"
        eventually(lambda: [line for line in running.lines() if f"FAILURE: bgjobd - {told}" in line])


@as_root
def test_a_start_below_a_directory_of_somebody_else_is_a_line_of_the_log_and_of_a_check(
    tmp_path: Path,
) -> None:
    os.chown(tmp_path, SOMEBODY, SOMEBODY)
    told = f"{tmp_path} is uid {SOMEBODY}'s, who may write to it, and so put something else in the place of"
    with daemon(tmp_path) as running:
        eventually(
            lambda: [line for line in running.lines() if f"FAILURE: bgjobd - {told} state_dir" in line]
        )
    findings = [one for one in check_places.findings(settings(tmp_path), None) if told in one.told]
    assert {one.severity for one in findings} == {Severity.DOUBTFUL}


# Lock


@pytest.mark.parametrize("plant", [os.symlink, os.link])
def test_a_file_in_the_place_of_the_lock_is_not_cut(
    tmp_path: Path, plant: Callable[[Path, Path], None]
) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    plant(target, tmp_path / lock.FILE_NAME)
    with pytest.raises(OSError, match=lock.FILE_NAME):
        lock.lock(tmp_path)
    assert target.read_text() == "precious"


def test_a_pipe_in_the_place_of_the_lock_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / lock.FILE_NAME)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileExistsError, match="no lock file"):
        lock.lock(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("content", [b"1\n", b"0\n", b"-1\n", b"99999999999999999999\n", b"\xff" * 4096])
def test_a_planted_pid_in_the_lock_is_nobody_to_signal_and_keeps_no_daemon_from_starting(
    tmp_path: Path, content: bytes
) -> None:
    """CVE-2018-16888 (systemd): whoever could write a PIDFile chose which process was killed."""
    (tmp_path / lock.FILE_NAME).write_bytes(content)
    held = lock.lock(tmp_path)
    try:
        assert (tmp_path / lock.FILE_NAME).read_text() == f"{os.getpid()}\n"
        (tmp_path / lock.FILE_NAME).write_bytes(content)
        with pytest.raises(lock.AlreadyRunningError):  # whatever it names as the pid
            lock.lock(tmp_path)
        assert process_table.daemon_of(tmp_path) == os.getpid()  # the kernel knows who holds it
    finally:
        os.close(held)
    assert process_table.daemon_of(tmp_path) is None


# Log


def written(directory: Path) -> None:
    log = Log(directory, "none")
    log.say(EntryType.INFO, "told", 0.0)
    log.close()


@as_root
def test_a_strangers_link_in_the_place_of_the_log_gets_no_line(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    _link(tmp_path / FILE_NAME, target)
    written(tmp_path)
    assert target.read_text() == "precious"


def test_a_link_of_our_own_to_the_log_gets_its_lines_wherever_it_leads(tmp_path: Path) -> None:
    """As containers have it, to /dev/stdout: that is a terminal, a file, or a pipe that somebody reads."""
    ends = os.pipe()
    for target in (tmp_path / "elsewhere", Path(f"/proc/self/fd/{ends[1]}")):
        (tmp_path / FILE_NAME).symlink_to(target)
        written(tmp_path)
        (tmp_path / FILE_NAME).unlink()
    os.close(ends[1])
    with open(ends[0]) as pipe:
        assert "told" in pipe.read()
    assert "told" in (tmp_path / "elsewhere").read_text()
    assert stat.S_IMODE((tmp_path / "elsewhere").stat().st_mode) == 0o600


def test_a_pipe_in_the_place_of_the_log_that_nobody_reads_holds_up_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE_NAME)
    written(tmp_path)
    (tmp_path / FILE_NAME).unlink()
    written(tmp_path)
    assert "told" in (tmp_path / FILE_NAME).read_text()


# Socket


@pytest.mark.parametrize("is_file", [True, False])
def test_what_is_put_in_the_place_of_the_socket_gets_none_of_its_rights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_file: bool
) -> None:
    """CVE-2020-10744 (ansible): between the moment of a creation and that at which rights are given."""
    target, path = tmp_path / "target", tmp_path / "socket"
    target.write_text("precious")
    target.chmod(0o600)
    bind_really = socket.socket.bind

    def bind(self: socket.socket, address: str) -> None:
        bind_really(self, address)
        path.unlink()
        if is_file:
            path.hardlink_to(target)
        else:
            path.symlink_to(target)

    monkeypatch.setattr(socket.socket, "bind", bind)
    before = state_of(target)
    with pytest.raises(FileExistsError, match="something else in the socket's place"):
        unix_socket.bind(path, 0o660, os.getgid())
    assert state_of(target) == before


def test_a_link_in_the_place_of_the_socket_is_replaced_and_a_socket_that_it_leads_to_stays(
    tmp_path: Path,
) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "other"))
    (tmp_path / "socket").symlink_to("other")
    unix_socket.bind(tmp_path / "socket", 0o660, None).close()
    assert (tmp_path / "other").is_socket()
    assert not (tmp_path / "socket").is_symlink()


# Token, backups, archives


@pytest.mark.parametrize("name", ["web.token", "web.new", "metrics.token"])
@pytest.mark.parametrize("plant", [os.symlink, os.link])
def test_a_file_in_the_place_of_a_token_is_neither_read_nor_written(
    tmp_path: Path, name: str, plant: Callable[[Path, Path], None]
) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    target = tmp_path / "target"
    target.write_text("known-to-a-stranger-0123\n")
    target.chmod(0o600)
    plant(target, tmp_path / "state" / name)
    made = settings_of(settings(tmp_path))
    assert "known-to-a-stranger-0123" not in (made["token"], made["metrics_token"])
    assert target.read_text() == "known-to-a-stranger-0123\n"


@pytest.mark.parametrize("may_replace", [False, True])
def test_a_backup_goes_through_no_link(tmp_path: Path, may_replace: bool) -> None:
    target, place = tmp_path / "target", tmp_path / "backup"
    target.write_text("precious")
    place.symlink_to(target)
    (tmp_path / "state").mkdir(mode=0o700)
    database.prepare(tmp_path / "state")
    if may_replace:
        backups.back_up(tmp_path / "state", place, may_replace)
    else:
        with pytest.raises(FileExistsError):
            backups.back_up(tmp_path / "state", place)
    assert place.is_symlink() is not may_replace
    assert target.read_text() == "precious"


@pytest.mark.parametrize("target", ["target", "nowhere"])
def test_an_archive_goes_through_no_link(tmp_path: Path, target: str) -> None:
    (tmp_path / "target").write_text("precious")
    (tmp_path / "archive").symlink_to(target)
    with pytest.raises(FileExistsError):
        Archive(tmp_path / "archive")
    assert (tmp_path / "target").read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("kind", ["pipe", "directory"])
def test_what_is_no_file_in_the_place_of_the_database_ends_the_start_and_stays(
    tmp_path: Path, kind: str
) -> None:
    place = tmp_path / database.FILE_NAME
    if kind == "pipe":
        os.mkfifo(place)
    else:
        place.mkdir()
    with pytest.raises(database.UnusableDatabaseError):
        database.prepare(tmp_path)
    assert place.is_fifo() is (kind == "pipe")
