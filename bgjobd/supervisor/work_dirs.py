"""The directories that attempts work in: gone before an attempt's end is stored; one that is not empty is put aside
under another name and emptied later, on a thread, however much is in it.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from bgjobd.forkserver.cgroup import Group, Groups
from bgjobd.forkserver.spool_names import try_directory_key
from bgjobd.supervisor.recording import Directory

ASIDE: Final = "aside"
"""Where directories that are not empty wait to be emptied."""

_AT_ONCE: Final = 1000
"""How many names of a directory are held in memory at once."""

_MOST_ENTRIES: Final = 200_000
_DEEPEST: Final = 64
"""What has more, or is deeper, is not measured to its end: it counts as too much, whatever its size."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What directories hold, in bytes; `is_cut` says that there is more, `is_endless` that nobody counts so much."""

    size: int = 0
    is_cut: bool = False
    is_endless: bool = False

    def is_beyond(self, limit: int) -> bool:
        return self.size > limit or self.is_endless


class WorkDirs:
    """The directory of working directories, and the attempts' cgroups, if they have any.

    `say` hears once of what could not be removed, on whatever thread.
    """

    def __init__(self, directory: Path, groups: Groups | None, say: Callable[[str], None]) -> None:
        self._groups = groups
        self._say = say
        self._path = directory
        self._directory = _open(str(directory))
        try:
            self._aside = _made(ASIDE, self._directory)
        except OSError:
            os.close(self._directory)
            raise
        self._names = count(time.monotonic_ns())
        self._is_closed = False
        self._wanted: SimpleQueue[bool] = SimpleQueue()
        self._cleaner: threading.Thread | None = None

    def close(self) -> None:
        """Let go of it; what is not emptied yet the next daemon empties."""
        self._is_closed = True
        if self._cleaner is not None:
            self._wanted.put(False)
            self._cleaner.join()
        os.close(self._aside)
        os.close(self._directory)

    @property
    def directory(self) -> Directory:
        return Directory(self._path, self._directory)

    def renew(self) -> None:
        """Make the directory again where it was removed. Raises OSError."""
        self.directory.renew()
        aside = _made(ASIDE, self._directory)
        os.dup2(aside, self._aside, inheritable=False)
        os.close(aside)

    def measure(self, names: Sequence[str], most: int) -> Holding:
        """What the directories of these names hold together; no more is looked at once that is beyond `most`.

        For any thread. What cannot be read, or has gone meanwhile, holds nothing; no link is followed.
        """
        scale = _Scale(most)
        for name in names:
            with suppress(OSError):
                scale.weigh(name, self._directory, 0)
        return Holding(scale.size, scale.size > most, scale.is_endless)

    def try_group(self, name: str) -> Group | None:
        """The cgroup of the attempt that works in the directory of this name; None where attempts have none."""
        return None if self._groups is None else Group.of(self._groups, name)

    def owner_of(self, name: str) -> int | None:
        """Whose the directory of this name is, which no job can change; None where it is this process's user's, or
        not there: nothing of the job's has run then.
        """
        return owner_in(self._directory, name)

    def remove(self, name: str) -> Mapping[int, str]:
        """Have nothing of this name: it is gone, or aside. Who is left in its cgroup is killed, and told: by pid with
        the names of their programs.
        """
        try:
            os.rmdir(name, dir_fd=self._directory)
        except FileNotFoundError:
            pass
        except OSError:
            self._put_aside(name)
        group = self.try_group(name)
        return {} if group is None else group.end().left

    def tidy(self, known: Collection[str]) -> None:
        """Remove the directories and cgroups of attempts that are not known, and what an earlier daemon left aside."""
        for name in os.listdir(self._directory):
            if try_directory_key(name) is not None and name not in known:
                self.remove(name)
        if self._groups is not None:
            for name in set(os.listdir(self._groups.path)) - set(known):
                if try_directory_key(name) is not None:
                    Group.of(self._groups, name).end()
        if os.listdir(self._aside):
            self._clean_soon()

    def _put_aside(self, name: str) -> None:
        try:
            _move(name, self._directory, str(next(self._names)), self._aside)
        except OSError as error:
            self._say(f"the working directory {name} could not be removed: {error.strerror}")
            return
        self._clean_soon()

    def _clean_soon(self) -> None:
        self._wanted.put(True)
        if self._cleaner is None:
            cleaner = threading.Thread(target=self._clean_while_wanted, name="cleaner", daemon=True)
            # No thread is to be had; the next that is put aside is another occasion.
            with suppress(RuntimeError):
                cleaner.start()
                self._cleaner = cleaner

    def _clean_while_wanted(self) -> None:
        last_said = 0
        while self._wanted.get():
            try:
                resisting = empty(self._aside, lambda: self._is_closed)
            except OSError:  # no descriptors; the next one that is put aside is another occasion
                continue
            if resisting > last_said:
                self._say(
                    f"{resisting} files or directories of ended attempts resist removal: {self._path}/{ASIDE}"
                )
            last_said = resisting


class _Scale:
    """Adds up what is in directories, until that is too much."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries = 0
        self._linked: set[int] = set()
        self.size = 0
        self.is_endless = False

    def weigh(self, name: str, parent: int, depth: int) -> None:
        """Add what the directory holds. Raises OSError where it is none, or is closed to us."""
        descriptor = _open(name, parent)
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:  # one by one: there may be more than there is memory for
                    if self.size > self._most or self.is_endless:
                        return
                    with suppress(OSError):
                        self._add(entry, descriptor, depth)
        finally:
            os.close(descriptor)

    def _add(self, entry: os.DirEntry[str], parent: int, depth: int) -> None:
        found = entry.stat(follow_symlinks=False)
        self._entries += 1
        self.is_endless = self._entries > _MOST_ENTRIES
        is_directory = stat.S_ISDIR(found.st_mode)
        if found.st_ino not in self._linked:
            self.size += found.st_blocks * 512
        if not is_directory and found.st_nlink > 1:
            self._linked.add(found.st_ino)
        if is_directory and depth == _DEEPEST:
            self.is_endless = True
        elif is_directory:
            self.weigh(entry.name, parent, depth + 1)


def empty(directory: int, is_enough: Callable[[], bool]) -> int:
    """Remove all that is in the directory of this descriptor, until it is enough; how much resists, and stays.

    A directory within one that is removed is moved up first: so none is too deep, and no link is ever followed.
    """
    names = count(time.monotonic_ns())
    resisting: set[str] = set()
    while found := _some(directory, resisting):
        for name in found:
            if is_enough():
                return 0
            try:
                if _is_directory(name, directory):
                    _empty_one(name, directory, names, is_enough)
                    os.rmdir(name, dir_fd=directory)
                else:
                    os.unlink(name, dir_fd=directory)
            except OSError:
                resisting.add(name)
    return 0 if is_enough() else len(resisting)


def owner_in(directory: int | None, name: str) -> int | None:
    """Whose the directory of this name is, in the one of this descriptor if any; None where it is this process's
    user's, or not there. Raises OSError.
    """
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False).st_uid
    except FileNotFoundError:
        return None
    return found if found != os.geteuid() else None


def _empty_one(name: str, parent: int, names: Iterator[int], is_enough: Callable[[], bool]) -> None:
    """Remove the files in a directory, and move the directories in it up to `parent`; what resists stays in it."""
    with _opened_up(name, parent) as descriptor, os.scandir(descriptor) as entries:
        for entry in entries:  # one by one: there may be more than there is memory for
            if is_enough():
                return
            with suppress(OSError):
                if _is_directory(entry.name, descriptor):
                    _move(entry.name, descriptor, str(next(names)), parent)
                else:
                    os.unlink(entry.name, dir_fd=descriptor)


def _some(directory: int, resisting: Collection[str]) -> list[str]:
    """Some of the names that are there, without those that resist."""
    with os.scandir(directory) as entries:
        return list(islice((entry.name for entry in entries if entry.name not in resisting), _AT_ONCE))


def _move(name: str, parent: int, new: str, new_parent: int) -> None:
    """Move it as it is, where that is allowed: it may be the root of a file system that was mounted there."""
    try:
        os.rename(name, new, src_dir_fd=parent, dst_dir_fd=new_parent)
    except PermissionError:
        with _opened_up(name, parent):  # whoever may not write to a directory may not give it another parent
            os.rename(name, new, src_dir_fd=parent, dst_dir_fd=new_parent)


@contextmanager
def _opened_up(name: str, parent: int) -> Iterator[int]:
    """The directory, with all rights for its owner; it may be somebody else's, who puts a link there meanwhile."""
    place = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if os.fstat(place).st_mode & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{place}", 0o700)
        descriptor = _open(".", place)
    finally:
        os.close(place)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_directory(name: str, parent: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def _made(name: str, parent: int) -> int:
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    return _open(name, parent)


def _open(path: str, parent: int | None = None) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
