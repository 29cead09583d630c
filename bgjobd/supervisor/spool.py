"""The spool as the daemon sees it: journals appear, are read, fenced and removed; it decides nothing."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from inotify_simple import INotify, flags

from bgjobd.core.job import AttemptKey
from bgjobd.core.verdict import StopReason
from bgjobd.forkserver import journal as journals
from bgjobd.forkserver import reaping, subreaper
from bgjobd.forkserver.cgroup import Group
from bgjobd.forkserver.journal import Journal
from bgjobd.supervisor import fork_server_marks
from bgjobd.supervisor.recording import Directory

MARKER: Final = "database-id"
_WATCHED: Final = flags.CREATE | flags.MODIFY
_JOURNAL: Final = "journal"
_HOOK: Final = "hook"
_STOP: Final = "stop"
_BEREFT: Final = "bereft"
UNFINISHED: Final = fork_server_marks.UNFINISHED


class News(NamedTuple):
    """What an attempt has told of itself; where that ends in its journal, and whether there is more; whether its result
    waits for room.
    """

    notes: tuple[journals.Record, ...]
    end: int
    has_more: bool
    is_waiting: bool


class Changes(NamedTuple):
    """The attempts whose journals appeared and those whose grew; `has_missed` says that there may be more."""

    created: frozenset[AttemptKey]
    grown: frozenset[AttemptKey]
    has_missed: bool


def _keys_of(names: Iterable[str]) -> frozenset[AttemptKey]:
    """The attempts whose journals are among these files."""
    return frozenset(key for name in names if (key := journals.try_key(name, _JOURNAL)))


def watch(directory: Path, changes: flags) -> INotify:
    """What tells of these changes in the directory. Raises OSError."""
    try:
        inotify = INotify(nonblocking=True)
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        told = (
            "no inotify instance is left for this user: what else runs as it, perhaps a job, holds all; end that, or "
            "raise fs.inotify.max_user_instances (or LimitNOFILE, if that is the lower)"
        )
        raise OSError(errno.EMFILE, told) from None
    inotify.add_watch(directory, changes)
    return inotify


class SpoolInUseError(Exception):
    """Another daemon, with another state directory, uses this spool."""

    def __init__(self, directory: Path) -> None:
        super().__init__(f"another daemon uses {directory}; give each its own [daemon] runtime_dir")


class Spool:
    """The directory of journals, on tmpfs: it ends with the machine's boot, or its container, as processes do.

    `earlier` are the marks of the fork servers of earlier daemons.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory
        self._idle: set[str] = set()
        self._kept_fences: set[AttemptKey] = set()
        self.earlier = fork_server_marks.kept(directory)
        self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._directory)
            raise SpoolInUseError(directory) from None
        self._kept: int | None = os.dup(self._directory)
        self._inotify = watch(directory, _WATCHED)
        self._database_id = word_in(self._directory, MARKER)

    def close(self) -> None:
        self._inotify.close()
        os.close(self._directory)
        if self._kept is not None:
            os.close(self._kept)

    def fileno(self) -> int:
        """Readable when journals appeared or grew."""
        return int(self._inotify.fileno())

    def renew(self, bereft: Iterable[AttemptKey] = ()) -> None:
        """Make it again where it was removed, still this database's; its journals are gone. Raises OSError.

        It tells a later daemon which attempts' journals may have been there, and is nobody's until it does.
        """
        self.directory.renew()
        self._inotify.add_watch(self._path, _WATCHED)
        self._mark_as_own(bereft)

    def take_changes(self) -> Changes:
        """What journals appeared and grew since the last call."""
        events = list(self._inotify.read(timeout=0))
        return Changes(
            _keys_of(event.name for event in events if event.mask & flags.CREATE),
            _keys_of(event.name for event in events if event.mask & flags.MODIFY),
            any(event.mask & flags.Q_OVERFLOW for event in events),
        )

    @property
    def directory(self) -> Directory:
        return Directory(self._path, self._directory)

    def read_news(self, key: AttemptKey, offset: int, pid: int, is_hook: bool = False) -> News:
        """What the attempt's process, or its hook's, told of itself next, from `offset` in its journal on.

        Raises OSError, as for a journal.
        """
        name = journals.file_name(*key, _HOOK if is_hook else _JOURNAL)
        with self._a_descriptor_to_spare():
            part = journals.read_on(self._directory, name, offset, pid)
        is_waiting = any(record["type"] == "waiting" for record in part.notes)
        return News(tuple(part.notes), part.end, part.has_more, is_waiting)

    def try_read(self, key: AttemptKey) -> Journal | None:
        with self._a_descriptor_to_spare():
            return journals.try_read(self._directory, journals.file_name(*key))

    def try_read_hook(self, key: AttemptKey) -> Journal | None:
        """The journal of the `failed` hook that was called after this attempt."""
        with self._a_descriptor_to_spare():
            return journals.try_read(self._directory, journals.file_name(*key, _HOOK))

    @contextmanager
    def _a_descriptor_to_spare(self) -> Iterator[None]:
        """A journal is read though no descriptor is left; else its attempt would have to wait for one."""
        kept, self._kept = self._kept, None  # who reads meanwhile, as an end is collected, has none to close
        if kept is not None:
            os.close(kept)
        try:
            yield
        finally:
            if self._kept is None:
                self._kept = self._try_keep()

    def _try_keep(self) -> int | None:
        try:
            return os.dup(self._directory)
        except OSError:
            return None  # another thread was faster; the next journal may have better luck

    def write_stop(self, key: AttemptKey, reason: StopReason) -> None:
        """Leave word of why the attempt is stopped: for its process, and for a later daemon. Raises OSError."""
        self._put(journals.file_name(*key, _STOP), f"{reason}\n".encode(), is_for_attempts=True)

    def _put(self, name: str, content: bytes, is_for_attempts: bool = False) -> None:
        """Have a file of this name and content, whatever was there, in one step. Raises OSError."""
        temporary = name + UNFINISHED
        self._remove(temporary)  # a job may have put anything there
        self._put_aside_directory(temporary)
        self._put_aside_directory(name)
        mode = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(temporary, mode, 0o600, dir_fd=self._directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                if is_for_attempts and self._is_shared():
                    os.fchmod(descriptor, 0o644)
            os.rename(temporary, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except OSError:
            self._remove(temporary)
            raise

    def _put_aside_directory(self, name: str) -> None:
        """Give a directory that a job has put there another name: whatever is in it, it is no attempt's."""
        place = self._directory
        with suppress(OSError):  # nothing is there
            if stat.S_ISDIR(os.stat(name, dir_fd=place, follow_symlinks=False).st_mode):
                os.rename(name, f"{name}.{time.monotonic_ns()}", src_dir_fd=place, dst_dir_fd=place)

    def _is_shared(self) -> bool:
        """Whether attempts of other users run here: they look for the reason why they are stopped."""
        return bool(os.fstat(self._directory).st_mode & 0o001)

    def try_read_stop(self, key: AttemptKey) -> StopReason | None:
        """Why the attempt was told to stop, or None where nobody told it so. Raises OSError, as for a journal."""
        word = word_in(self._directory, journals.file_name(*key, _STOP))
        return StopReason(word) if word in frozenset(StopReason) else None

    def fence(self, key: AttemptKey, mark: str | None = None) -> bool:
        """Decide that this attempt does not start; False if its process was first.

        `mark` is of the fork server that was asked for the start; None where that is one of an earlier daemon's.
        """
        line = journals.fenced(self._holders(mark))
        journal = journals.link_first(self._directory, journals.file_name(*key), line)
        if journal is None:
            return False
        os.close(journal)
        return True

    def _holders(self, mark: str | None) -> list[str] | None:
        """The fork servers that may still have such a start before them; None where that is not known: those of
        earlier versions left no marks.
        """
        if mark is None and not self.earlier:
            return None
        return sorted((self.earlier if mark is None else {mark}) & self._able())

    def _able(self) -> frozenset[str]:
        """The fork servers that may still carry out a start."""
        return self.kept_marks() - self._idle

    def kept_marks(self) -> frozenset[str]:
        """The fork servers that may exist, or may have left something. Raises OSError for want of descriptors."""
        with self._a_descriptor_to_spare():
            return fork_server_marks.kept(
                self._directory
            )  # whatever has become of its path: they have it open as well

    def try_collect(
        self,
        pidfd: int,
        key: AttemptKey,
        output_bytes: Callable[[], int],
        end_strays: Callable[[], Mapping[int, str]],
        group: Group | None,
        is_hook: bool = False,
    ) -> journals.Record | None:
        """The exit record of a process that fell to this one from a dead fork server, and has ended; reaps it.

        None where it runs, or is no child of this process.
        """
        ended = subreaper.try_end(pidfd)
        if ended is None:
            return None
        name = journals.file_name(*key, _HOOK if is_hook else _JOURNAL)
        with self._a_descriptor_to_spare():
            return reaping.collect(ended, self._directory, name, output_bytes, end_strays, group)

    def remove(self, key: AttemptKey) -> None:
        """Remove the journal of an attempt whose end is committed.

        Never a fence's, which `lift` sees to: a fork server may have the start still before it; but for that of a job
        whose starts ended their fork servers, which are known to be gone.
        """
        self._kept_fences.discard(key)
        self._remove(journals.file_name(*key))

    def lift(self, key: AttemptKey) -> None:
        """Remove the fence of an attempt whose end is committed, once nobody is left who could start it."""
        self._kept_fences.discard(key)
        self._lift([key], _JOURNAL)

    def keep_fence(self, key: AttemptKey) -> None:
        """Have the fence stay until it is lifted or removed by its key: it tells how its attempt has ended, or that a
        hook is owed.
        """
        self._kept_fences.add(key)

    def set_idle(self, mark: str) -> None:
        """This fork server is gone, with all that could still carry out a start of its: no fence is for it any more."""
        self._idle.add(mark)
        self.lift_all()

    def lift_all(self) -> None:
        """Remove all fences against starts that nobody has before him any more."""
        with suppress(OSError):  # the directory is gone, or no descriptors are left
            self._lift(set(self._keys(_JOURNAL)) - self._kept_fences, _JOURNAL)
            self._lift(self._keys(_HOOK), _HOOK)

    def _lift(self, keys: Iterable[AttemptKey], kind: str) -> None:
        able: frozenset[str] | None = None
        for key in keys:
            name = journals.file_name(*key, kind)
            with suppress(OSError):  # it cannot be read now: it stays until the next occasion
                able = self._able() if able is None else able
                journal = journals.try_read(self._directory, name)
                if journal is not None and _is_needless(journal, able):
                    self._remove(name)

    def servers(self) -> list[fork_server_marks.Marked]:
        """The fork servers that may exist, or may have left something; a file that tells of none is removed."""
        found = []
        for mark in self.kept_marks():
            with suppress(OSError):  # it cannot be read now: it stays for the next daemon
                server = fork_server_marks.try_read(self._path, mark)
                if server is None:
                    self.remove_server(mark)
                else:
                    found.append(server)
        return found

    def remove_server(self, mark: str) -> None:
        """Nothing of this fork server is left."""
        fork_server_marks.remove(self._path, mark)
        self._idle.discard(mark)

    def remove_stop(self, key: AttemptKey) -> None:
        """Remove the word of why an attempt was stopped."""
        self._remove(journals.file_name(*key, _STOP))

    def remove_bereft(self, key: AttemptKey) -> None:
        """Remove the word of what an attempt has lost."""
        self._remove(journals.file_name(*key, _BEREFT))

    def seal_hook(self, key: AttemptKey) -> None:
        """Put a fence in the place of a hook's journal, where a fork server of an earlier daemon may be about to call
        it.
        """
        name = journals.file_name(*key, _HOOK)
        try:
            holders = self._holders(None)
            if holders == []:
                self._remove(name)
            else:
                self._put(name, journals.fenced(holders))
        except OSError:
            self._remove(name)  # the spool is full, or no descriptors are left

    def remove_hook(self, key: AttemptKey) -> None:
        """Remove the journal of a hook that has ended."""
        self._remove(journals.file_name(*key, _HOOK))

    def _remove(self, name: str) -> None:
        # It was removed before a crash, or is no file: nothing that could be mended here.
        with suppress(OSError):
            os.unlink(name, dir_fd=self._directory)

    def journals(self) -> list[AttemptKey]:
        """The attempts that have a journal."""
        return self._keys(_JOURNAL)

    def hooks(self) -> list[AttemptKey]:
        """The attempts after which a hook was called, and not yet seen to its end."""
        return [key for key in self._keys(_HOOK) if not self._is_fenced_hook(key)]

    def _is_fenced_hook(self, key: AttemptKey) -> bool:
        """Whether it is known that no hook was called: one that cannot be read now is looked at again later."""
        try:
            return _is_fence(self.try_read_hook(key))
        except OSError:
            return False

    def stops(self) -> list[AttemptKey]:
        """The attempts that somebody told to stop."""
        return self._keys(_STOP)

    def bereft(self) -> list[AttemptKey]:
        """The attempts whose journals may have been in the spool before it was removed and made again."""
        return self._keys(_BEREFT)

    def _keys(self, kind: str) -> list[AttemptKey]:
        return [key for name in os.listdir(self._path) if (key := journals.try_key(name, kind))]

    def remove_unfinished(self) -> None:
        """Remove what an earlier daemon was writing when it was killed."""
        for name in os.listdir(self._path):
            if name.endswith(UNFINISHED):
                self._remove(name)

    def belongs_to(self, database_id: str) -> bool:
        """Whether the spool is this database's; one in which nothing tells belongs to nobody."""
        return self._database_id == database_id

    def give_to(self, database_id: str, bereft: Iterable[AttemptKey] = ()) -> None:
        """Make the spool this database's, without the journals of another, which may have been those of `bereft`.

        As where it is made again, a later daemon is told of these before it takes the spool for its own.
        """
        for key in {*self.journals(), *self._keys(_HOOK), *self.stops(), *self.bereft()}:
            self.remove(key)
            self.remove_stop(key)
            self.remove_bereft(key)
            self.remove_hook(key)
        for mark in self.earlier:
            self.remove_server(mark)
        self.earlier = frozenset()
        self._database_id = database_id
        self._mark_as_own(bereft)

    def _mark_as_own(self, bereft: Iterable[AttemptKey]) -> None:
        for key in bereft:
            self._put(journals.file_name(*key, _BEREFT), b"")
        self._put(MARKER, self._database_id.encode())


def word_in(directory: int, name: str) -> str:
    """What a short file of the spool says; nothing where it is no file, for a job may have put anything there.

    Raises OSError, as for a journal.
    """
    descriptor = journals.try_open(directory, name)
    if descriptor is None:
        return ""
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return os.read(descriptor, 64).decode("ascii", "replace").strip() if is_file else ""
    finally:
        os.close(descriptor)


def _is_needless(journal: Journal, able: Collection[str]) -> bool:
    """Whether it is a fence against starts that none of these fork servers has before it."""
    holders = None if journal.fenced is None or journal.started is not None else journal.fenced.get("servers")
    return holders is not None and not any(mark in able for mark in holders)


def _is_fence(journal: Journal | None) -> bool:
    return journal is not None and journal.fenced is not None
