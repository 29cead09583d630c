"""Working directories go, whatever an attempt left in them or put in their place, and nothing else does."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import struct
import subprocess
import tempfile
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bgjobd.supervisor import work_dirs as work
from bgjobd.supervisor.work_dirs import ASIDE, WorkDirs, empty
from tests.daemon.running import daemon
from tests.forkserver.forked import in_child
from tests.support import eventually

DEPTH = 20_000
STRANGER = 54321

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount, and be somebody else")


class Place:
    """A directory of working directories, its cleaner, and what it said."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[str] = []
        self.work = WorkDirs(path, None, self.said.append)

    def remove(self, name: str = "1.1") -> None:
        self.work.remove(name)

    def aside(self) -> list[str]:
        return os.listdir(self.path / ASIDE)

    def is_empty(self) -> bool:
        return os.listdir(self.path) == [ASIDE] and not self.aside()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    before = set(os.listdir("/proc/self/fd"))
    (tmp_path / "work").mkdir(mode=0o700)
    place = Place(tmp_path / "work")
    yield place
    place.work.close()
    assert set(os.listdir("/proc/self/fd")) <= before


def made(place: Place, name: str = "1.1") -> Path:
    directory = place.path / name
    directory.mkdir()
    return directory


def make_deep(directory: Path, depth: int) -> None:
    """A directory in a directory and so on: no path is that long."""
    inner = os.open(directory, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=inner)
        next_one = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=inner)
        os.close(inner)
        inner = next_one
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=inner))
    os.close(inner)


# What is left in them


def test_an_empty_one_is_gone_at_once_and_wakes_nobody(place: Place) -> None:
    made(place)
    threads = threading.active_count()
    place.remove()
    assert place.is_empty()
    assert threading.active_count() == threads


@pytest.mark.parametrize("kind", ["files", "directories"])
def test_one_with_very_many_names_takes_little_memory(tmp_path: Path, kind: str) -> None:
    directory = tmp_path / "many"
    directory.mkdir()
    for number in range(3000):
        path = directory / f"{number:0200}"
        path.touch() if kind == "files" else path.mkdir()
    descriptor = os.open(tmp_path, os.O_RDONLY)
    tracemalloc.start()
    try:
        assert empty(descriptor, lambda: False) == 0
        assert tracemalloc.get_traced_memory()[1] < 300_000
    finally:
        tracemalloc.stop()
        os.close(descriptor)
    assert os.listdir(tmp_path) == []


def test_one_that_is_not_there_is_no_matter(place: Place) -> None:
    place.remove()
    place.remove("no attempt's")
    assert (place.is_empty(), place.said) == (True, [])


def test_a_full_one_is_gone_at_once_and_emptied_later(place: Place) -> None:
    directory = made(place)
    (directory / "file").write_text("text")
    os.mkfifo(directory / "pipe")
    (directory / "nowhere").symlink_to("nowhere")
    (directory / "inner" / "most").mkdir(parents=True)
    (directory / "inner" / "most" / "file").write_text("text")
    place.remove()
    assert not directory.exists()
    eventually(place.is_empty)
    assert place.said == []


def test_one_that_is_deeper_than_any_path_is_emptied() -> None:
    in_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # as the runtime directory is
    with tempfile.TemporaryDirectory(dir=in_memory) as directory:
        place = Place(Path(directory))
        make_deep(made(place), DEPTH)
        place.remove()
        eventually(place.is_empty)
        place.work.close()


def test_one_that_is_wide_is_emptied(place: Place) -> None:
    directory = made(place)
    for number in range(1000):
        (directory / str(number)).touch()
        (directory / f"{number}.d").mkdir()
    place.remove()
    eventually(place.is_empty)


def test_many_at_once_are_emptied(place: Place) -> None:
    for number in range(50):
        (made(place, f"{number}.1") / "file").touch()
    for number in range(50):
        place.remove(f"{number}.1")
    eventually(place.is_empty)


def make_closed(directory: Path) -> None:
    """Directories that their owner may not enter, nor write to, down to the working directory itself."""
    for mode in (0o000, 0o111, 0o444, 0o555):
        inner = directory / f"{mode:o}" / "inner"
        inner.mkdir(parents=True)
        (inner / "file").touch()
        inner.chmod(mode)
        inner.parent.chmod(mode)
    directory.chmod(0o000)


def test_closed_directories_are_emptied(place: Place) -> None:
    make_closed(made(place))
    place.remove()
    eventually(place.is_empty)
    assert place.said == []


@as_root
def test_closed_directories_are_emptied_by_a_daemon_that_is_not_root(tmp_path: Path) -> None:
    os.chown(tmp_path, STRANGER, STRANGER)
    here = os.open(tmp_path, os.O_RDONLY)

    def emptied() -> list[Any]:
        os.fchdir(here)  # the directories above are not the stranger's to pass
        os.setresuid(STRANGER, STRANGER, STRANGER)
        place = Place(Path("work"))
        make_closed(made(place))
        place.remove()
        eventually(lambda: place.is_empty() or place.said)
        return [place.is_empty(), place.said]

    (tmp_path / "work").mkdir()
    os.chown(tmp_path / "work", STRANGER, STRANGER)
    assert in_child(emptied) == [True, []]
    os.close(here)


# What is put in their place


def make_precious(directory: Path) -> Path:
    outside = directory / "outside"
    (outside / "inner").mkdir(parents=True)
    (outside / "inner" / "file").write_text("precious")
    outside.chmod(0o750)
    return outside


def assert_precious(outside: Path) -> None:
    assert (outside / "inner" / "file").read_text() == "precious"
    assert stat.S_IMODE(outside.stat().st_mode) == 0o750


@pytest.mark.parametrize("kind", ["link", "file", "pipe"])
def test_what_was_put_in_its_place_goes_and_what_it_leads_to_stays(
    place: Place, tmp_path: Path, kind: str
) -> None:
    outside = make_precious(tmp_path)
    name = place.path / "1.1"
    match kind:
        case "link":
            name.symlink_to(outside)
        case "file":
            name.write_text("text")
        case _:
            os.mkfifo(name)
    place.remove()
    assert not os.path.lexists(name)
    eventually(place.is_empty)
    assert_precious(outside)


def test_links_that_lead_outside_are_not_followed(place: Place, tmp_path: Path) -> None:
    outside = make_precious(tmp_path)
    directory = made(place)
    (directory / "inner").mkdir()
    (directory / "link").symlink_to(outside)
    (directory / "inner" / "link").symlink_to(outside / "inner")
    place.remove()
    eventually(place.is_empty)
    assert_precious(outside)


def test_a_second_name_of_a_file_outside_stays(place: Place, tmp_path: Path) -> None:
    outside = make_precious(tmp_path)
    os.link(outside / "inner" / "file", made(place) / "file")
    place.remove()
    eventually(place.is_empty)
    assert_precious(outside)


@contextmanager
def mounted(outside: Path, where: Path) -> Iterator[None]:
    subprocess.run(["mount", "--bind", outside, where], check=True)
    try:
        yield
    finally:
        while subprocess.run(["umount", "--lazy", where], stderr=subprocess.DEVNULL).returncode:
            found = next((aside for aside in where.parent.parent.glob(f"{ASIDE}/**/mounted")), None)
            assert found is not None
            where = found


@as_root
def test_what_an_attempt_left_mounted_in_it_stays_as_it_was_and_is_told_once(
    place: Place, tmp_path: Path
) -> None:
    outside = make_precious(tmp_path)
    directory = made(place)
    (directory / "mounted").mkdir()
    (directory / "large").write_text("text")
    with mounted(outside, directory / "mounted"):
        place.remove()
        eventually(lambda: place.said)
        assert_precious(outside)
        assert len(place.said) == 1
        assert not list(place.path.glob(f"{ASIDE}/*/large"))
    place.work.tidy([])
    eventually(place.is_empty)
    assert_precious(outside)


@as_root
def test_one_that_is_mounted_over_itself_stays_and_is_told(place: Place, tmp_path: Path) -> None:
    outside = make_precious(tmp_path)
    with mounted(outside, made(place)):
        place.remove()
        assert_precious(outside)
    assert place.said == ["the working directory 1.1 could not be removed: Device or resource busy"]
    place.remove()
    assert place.is_empty()


# What resists


_GET_FLAGS, _SET_FLAGS, _IMMUTABLE = 0x80086601, 0x40086602, 0x10
"""FS_IOC_GETFLAGS, FS_IOC_SETFLAGS and FS_IMMUTABLE_FL of linux/fs.h."""


@contextmanager
def immutable(file: Path) -> Iterator[None]:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        (flags,) = struct.unpack("i", fcntl.ioctl(descriptor, _GET_FLAGS, bytes(4)))
        fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("i", flags | _IMMUTABLE))
    except OSError:
        os.close(descriptor)
        pytest.skip("no file can be made immutable here")
    try:
        yield
    finally:
        fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("i", flags))
        os.close(descriptor)


@as_root
def test_a_file_that_resists_is_told_once_and_keeps_no_other_from_going(place: Place) -> None:
    directory = made(place)
    for name in ("a", "resisting", "z"):
        (directory / name).touch()
        (directory / f"{name}.d").mkdir()
    with immutable(directory / "resisting"):
        place.remove()
        eventually(lambda: place.said)
        (made(place, "2.1") / "file").touch()
        place.remove("2.1")
        eventually(lambda: len(place.aside()) == 1)
        eventually(lambda: len(list(place.path.glob(f"{ASIDE}/*/*"))) == 1)
        assert place.said == [
            f"1 files or directories of ended attempts resist removal: {place.path}/{ASIDE}"
        ]
    place.work.tidy([])
    eventually(place.is_empty)


@as_root
def test_what_resists_is_left_in_peace(tmp_path: Path) -> None:
    (tmp_path / "resisting").touch()
    (tmp_path / "other").touch()
    asked = 0

    def is_enough() -> bool:
        nonlocal asked
        asked += 1
        return False

    directory = os.open(tmp_path, os.O_RDONLY)
    with immutable(tmp_path / "resisting"):
        assert empty(directory, is_enough) == 1
    assert asked == 3  # once for each, and at the end
    assert os.listdir(tmp_path) == ["resisting"]
    os.close(directory)


def test_a_moment_without_descriptors_does_not_end_the_cleaning(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def scarce(directory: int, is_enough: Any) -> int:
        tries.append(directory)
        if len(tries) == 1:
            raise OSError(24, "Too many open files")
        return empty(directory, is_enough)

    monkeypatch.setattr(work, "empty", scarce)
    for name in ("1.1", "2.1"):
        (made(place, name) / "file").touch()
        place.remove(name)
        eventually(lambda: tries)
    eventually(place.is_empty)


@as_root
def test_the_daemon_says_what_resists_and_removes_it_once_it_does_not(tmp_path: Path) -> None:
    work, go = tmp_path / "run" / "work", tmp_path / "go"
    paths = {"path": str(go), "ledger": str(tmp_path / "book")}
    with daemon(tmp_path) as running:
        with running.client() as client:
            job = client.run_background_job("probes.Probe", "wait_for", paths)
            eventually((work / "1.1").exists)
            (work / "1.1" / "resisting").touch()
            with immutable(work / "1.1" / "resisting"):
                go.touch()
                assert job.wait(20)["status"] == "completed"
                assert not (work / "1.1").exists()
                eventually(lambda: any("resist removal" in line for line in running.lines()))
        running.stop()
        running.start()
        eventually(lambda: os.listdir(work) == [ASIDE] and not os.listdir(work / ASIDE))


# From one daemon to the next


def test_what_an_earlier_daemon_left_aside_goes_when_the_next_one_tidies(tmp_path: Path) -> None:
    (tmp_path / ASIDE / "5" / "inner").mkdir(parents=True)
    (tmp_path / ASIDE / "6").touch()
    place = Place(tmp_path)
    place.work.tidy([])
    eventually(place.is_empty)
    place.work.close()


def test_tidying_removes_the_directories_of_attempts_that_are_not_known(place: Place) -> None:
    kept = {"1.1", "1.1.hook", "foreign", "x.1", "1.x", "1.2.other", "1.1.hook.old", ".1", "1"}
    for name in (*kept, "1.2", "2.1.hook", "3.1"):
        made(place, name)
    (place.path / "3.1" / "file").touch()
    (place.path / "4.1").touch()
    place.work.tidy(["1.1", "1.1.hook"])
    assert set(os.listdir(place.path)) == kept | {ASIDE}
    eventually(lambda: not place.aside())


def test_two_who_tidy_at_once_are_in_nobodys_way(place: Place) -> None:
    other = Place(place.path)
    for number in range(1, 21):
        (made(place, f"{number}.1") / "file").touch()
    place.work.tidy([])
    other.work.tidy([])
    eventually(place.is_empty)
    other.work.close()


def test_closing_while_it_empties_returns_before_all_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    directory = made(place)
    for number in range(200):
        (directory / str(number)).touch()
    has_begun, may_go_on = threading.Event(), threading.Event()
    unlink = os.unlink

    def slow_unlink(*arguments: Any, **options: Any) -> None:
        has_begun.set()
        may_go_on.wait(20)
        unlink(*arguments, **options)

    monkeypatch.setattr(os, "unlink", slow_unlink)
    place.remove()
    assert has_begun.wait(20)
    closing = threading.Thread(target=place.work.close)
    closing.start()
    eventually(lambda: place.work._is_closed)
    may_go_on.set()
    closing.join(20)
    assert not closing.is_alive()
    assert sum(len(files) for _, _, files in os.walk(tmp_path)) == 199
    assert place.said == []


def test_it_is_closed_without_ever_having_cleaned(tmp_path: Path) -> None:
    Place(tmp_path).work.close()


def test_the_directory_aside_is_nobody_elses_to_see(place: Place) -> None:
    assert stat.S_IMODE((place.path / ASIDE).stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_place_aside_that_somebody_has_replaced_is_refused_and_leaves_no_descriptor_open(
    tmp_path: Path, kind: str
) -> None:
    before = os.listdir("/proc/self/fd")
    outside = make_precious(tmp_path)
    directory = tmp_path / "work"
    directory.mkdir()
    if kind == "link":
        (directory / ASIDE).symlink_to(outside)
    else:
        (directory / ASIDE).touch()
    with pytest.raises(OSError, match=ASIDE):
        Place(directory)
    assert len(os.listdir("/proc/self/fd")) == len(before)
    shutil.rmtree(directory)
