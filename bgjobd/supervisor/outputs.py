"""The files with what attempts print: reads parts of them, bounds them, and tells followers that one grows."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from inotify_simple import flags

from bgjob.words import EntryType
from bgjobd.core.job import AttemptKey
from bgjobd.forkserver import reaping, spool_names
from bgjobd.host import threads
from bgjobd.supervisor import sparse_files
from bgjobd.supervisor.recording import Directory
from bgjobd.supervisor.spool import watch

T = TypeVar("T")

_AT_ONCE: Final = 1000
"""How many names of the directory are held in memory at once."""

_PAUSE: Final = 0.2
"""Seconds until what grows is looked at: an attempt that prints without end wakes the daemon no oftener than that."""


class Part(NamedTuple):
    """Some of what an attempt printed: `data` begins at `offset`, behind `left_out` bytes that were not kept."""

    left_out: int
    offset: int
    data: bytes

    @property
    def next(self) -> int:
        return self.offset + len(self.data)

    @property
    def is_nothing(self) -> bool:
        return not self.data and not self.left_out


class Ends(NamedTuple):
    """The beginning and the end of what an attempt printed; so many bytes between them are `left_out`."""

    head: bytes
    tail: bytes
    left_out: int


class Outputs:
    """The directory of outputs. Of a file that is kept bounded the head and the tail stay, the middle is given up.

    `say` writes a line about the daemon itself, `ask` has a thread answer what is read for callers.
    """

    def __init__(
        self,
        directory: Path,
        say: Callable[[EntryType, str], None],
        ask: Callable[..., Awaitable[Any]],
    ) -> None:
        self._path = directory
        self._say = say
        self._ask = ask
        self._loop = asyncio.get_running_loop()
        self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._followers: dict[int, set[asyncio.Event]] = {}
        self._most: dict[AttemptKey, int] = {}
        self._grown: set[AttemptKey] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._is_pausing = False
        self._can_bound = True
        self._bounding = threads.one("outputs")  # to give up much may take a disk long
        self._inotify = watch(directory, flags.MODIFY)
        self._listen()

    @property
    def directory(self) -> Directory:
        return Directory(self._path, self._directory)

    def renew(self) -> None:
        """Make the directory again where it was removed. Raises OSError."""
        self.directory.renew()
        self._inotify.add_watch(self._path, flags.MODIFY)

    def close(self) -> None:
        """Follow and bound nothing any more."""
        self._most.clear()
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._inotify.fileno())
        self._inotify.close()
        self._bounding.shutdown(cancel_futures=True)
        os.close(self._directory)

    # Reading

    async def read(self, key: AttemptKey, offset: int, limit: int) -> Part:
        """At most `limit` bytes from `offset` on, or from behind the hole there; nothing where there is no more.

        An offset below 0 counts from the end.
        """
        part: Part = await self._ask(self._read, key, offset, limit)
        return part

    def size(self, key: AttemptKey) -> int:
        """How many bytes its output has, with those that were not kept; 0 where there is none."""
        found = self._try_status(key)
        return 0 if found is None else found.st_size

    async def is_shorter(self, key: AttemptKey, size: int) -> bool:
        """Whether the file is there and has less than `size` bytes."""
        found: os.stat_result | None = await self._ask(self._try_status, key)
        return found is not None and found.st_size < size

    def _read(self, key: AttemptKey, offset: int, limit: int) -> Part:
        try:
            with self._open(key, os.O_RDONLY) as descriptor:
                if offset < 0:
                    offset = max(0, os.fstat(descriptor).st_size + offset)
                start, data = sparse_files.read(descriptor, offset, limit)
        except OSError:
            return Part(0, max(0, offset), b"")  # it printed nothing, or has put something else there
        return Part(start - offset, start, data)

    async def ends(self, key: AttemptKey, most: int) -> Ends | None:
        """Head and tail of what the attempt has printed, at most so many bytes; None where that is nothing."""
        found: Ends | None = await self._ask(self._read_ends, key, most)
        return found

    def _read_ends(self, key: AttemptKey, most: int) -> Ends | None:
        try:
            with self._open(key, os.O_RDONLY) as descriptor:
                size = os.fstat(descriptor).st_size
                _, head = sparse_files.read(descriptor, 0, size if size <= most else most // 2)
                behind = max(len(head), size - (most - len(head)))
                start, tail = sparse_files.read(descriptor, behind, most - len(head))
        except OSError:
            return None
        return Ends(head, tail, max(0, start - len(head))) if size else None

    def measure(self, key: AttemptKey) -> int:
        """The size of what the attempt printed, once it has ended; no file is kept for nothing."""
        return reaping.output_bytes(self._directory, spool_names.file_name(*key, "out"))

    @contextmanager
    def _open(self, key: AttemptKey, mode: int) -> Iterator[int]:
        """The file, whatever the job has put in its place, but no link. Raises OSError."""
        mode |= os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(spool_names.file_name(*key, "out"), mode, dir_fd=self._directory)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _try_status(self, key: AttemptKey) -> os.stat_result | None:
        name = spool_names.file_name(*key, "out")
        try:
            return os.stat(name, dir_fd=self._directory, follow_symlinks=False)
        except OSError:
            return None

    # Removing

    async def all_keys(self) -> AsyncIterator[Sequence[AttemptKey]]:
        """The attempts that have a file, in portions."""
        with os.scandir(self._path) as listed:
            names = (entry.name for entry in listed)
            while portion := await self._off_the_loop(lambda: list(islice(names, _AT_ONCE))):
                yield [key for name in portion if (key := spool_names.try_key(name, "out")) is not None]

    async def remove(self, keys: Collection[AttemptKey]) -> None:
        """Have no files of these attempts; their jobs are gone."""
        if keys:
            await self._off_the_loop(lambda: remove(self._directory, keys))

    def _off_the_loop(self, work: Callable[[], T]) -> Awaitable[T]:
        return self._loop.run_in_executor(self._bounding, work)

    # Following

    @contextmanager
    def follow(self, job_id: int, event: asyncio.Event) -> Iterator[None]:
        """Meanwhile the event is set whenever an attempt of the job prints something."""
        self._followers.setdefault(job_id, set()).add(event)
        self._listen()
        try:
            yield
        finally:
            self._followers[job_id].discard(event)
            if not self._followers[job_id]:
                del self._followers[job_id]
            self._listen()

    def _listen(self) -> None:
        """Hear of what is printed: at once while somebody follows, else not before the pause is over."""
        if self._inotify.closed:
            return
        if self._followers or not self._is_pausing:
            self._loop.add_reader(self._inotify.fileno(), self._on_change)
        else:
            self._loop.remove_reader(self._inotify.fileno())

    def _on_change(self) -> None:
        changed = list(self._inotify.read(timeout=0))
        names = {event.name for event in changed}
        keys = {key for name in names if (key := spool_names.try_key(name, "out")) is not None}
        jobs = {job for job, _ in keys}
        if any(event.mask & flags.Q_OVERFLOW for event in changed):
            keys, jobs = set(self._most), set(self._followers)
        for event in [event for job in jobs for event in self._followers.get(job, ())]:
            event.set()
        self._look_soon(keys)

    # Bounding

    def keep_bounded(self, key: AttemptKey, most: int | None) -> None:
        """From now on keep only about `most` bytes of the file, also of what it has already; None: all of it."""
        if most is None:
            return
        self._most[key] = most
        if self._needs_look(key, most):
            self._look_soon({key})

    def finish(self, key: AttemptKey, then: Callable[[], None] = lambda: None) -> None:
        """Bound the file a last time, and call `then`: at once where that needs no look. Nobody writes any more."""
        most = self._most.pop(key, None)
        if most is None or not self._needs_look(key, most):
            then()
        else:
            self._bound({key: most}, then, is_last=True)

    def _needs_look(self, key: AttemptKey, most: int) -> bool:
        """Whether it takes more than what is kept of it, or did before its middle was given up."""
        found = self._try_status(key)
        return (
            self._can_bound and found is not None and max(found.st_size, sparse_files.allocated(found)) > most
        )

    def _look_soon(self, keys: set[AttemptKey]) -> None:
        self._grown |= keys & self._most.keys()
        if not self._is_pausing:
            self._is_pausing = True
            self._pause = self._loop.call_later(_PAUSE, self._look)
            self._listen()

    def _look(self) -> None:
        grown, self._grown = self._grown, set()
        known = {key: self._most[key] for key in grown if key in self._most}
        large = {key: most for key, most in known.items() if self._needs_look(key, most)}
        if large:
            self._bound(large, self._end_pause)
        else:
            self._end_pause()

    def _end_pause(self) -> None:
        self._is_pausing = False
        self._listen()
        if self._grown:
            self._look_soon(self._grown)

    def _bound(
        self, large: Mapping[AttemptKey, int], then: Callable[[], None], is_last: bool = False
    ) -> None:
        """Bound these files on a thread of their own, and call `then` on the loop."""

        def on_done(done: asyncio.Future[bool]) -> None:
            if done.cancelled():
                return  # this is closed
            then()
            if self._can_bound and not done.result():
                self._can_bound = False
                self._say(EntryType.FAILURE, _UNBOUNDED.format(self._path))

        self._loop.run_in_executor(self._bounding, self._try_bound, large, is_last).add_done_callback(on_done)

    def _try_bound(self, large: Mapping[AttemptKey, int], is_last: bool = False) -> bool:
        """Whether the file system can do it; what is no file of an attempt's is left alone."""
        for key, most in large.items():
            try:
                with self._open(key, os.O_WRONLY) as descriptor:
                    if _is_own(os.fstat(descriptor)):
                        sparse_files.bound(descriptor, most, is_last)
            except OSError as error:
                if error.errno == errno.EOPNOTSUPP and not self._can_punch():
                    return False  # else somebody writes into the hole, which harms no other output
        return True

    def _can_punch(self) -> bool:
        """Whether the file system can do it at all, tried with a file that no job has."""
        try:
            return sparse_files.can_punch(self._path)
        except OSError:
            return True  # no descriptors, or no room to try it: the next look may tell


def remove(directory: int, keys: Iterable[AttemptKey]) -> None:
    """Remove the files of these attempts from the directory of this descriptor, where there are any."""
    for key in keys:
        # Most print nothing; and what a job has put in its place, such as a directory, stays.
        with suppress(OSError):
            os.unlink(spool_names.file_name(*key, "out"), dir_fd=directory)


_UNBOUNDED: Final = (
    "outputs are not bounded: the file system of {} cannot give up the middle of a file; "
    "put [daemon] state_dir on ext4, xfs, btrfs or tmpfs"
)


def _is_own(status: os.stat_result) -> bool:
    """Whether it is a file that a fork server made: by no other name can it be somebody else's."""
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid == os.geteuid()
