"""The files with what attempts print: reads parts of them, and tells those who follow one that it has grown."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inotify_simple import INotify, flags

from bgjobd.forkserver import journal as journals
from bgjobd.forkserver import reaping
from bgjobd.spool import AttemptKey


class Outputs:
    """The directory of outputs. It is watched only while somebody follows: else what jobs print wakes nobody."""

    def __init__(self, directory: Path) -> None:
        self._path = directory
        self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._inotify: INotify | None = None
        self._followers: dict[int, set[asyncio.Event]] = {}

    def close(self) -> None:
        self._stop_watching()
        os.close(self._directory)

    def read(self, key: AttemptKey, offset: int, limit: int) -> bytes:
        """At most `limit` bytes from `offset` on; none where there are no more, or no output."""
        mode = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(journals.file_name(*key, "out"), mode, dir_fd=self._directory)
        except OSError:
            return b""  # it printed nothing, or has put something else there
        try:
            return os.pread(descriptor, limit, offset)
        except OSError:
            return b""
        finally:
            os.close(descriptor)

    def is_shorter(self, key: AttemptKey, size: int) -> bool:
        """Whether the file is there and has less than `size` bytes."""
        try:
            status = os.stat(journals.file_name(*key, "out"), dir_fd=self._directory, follow_symlinks=False)
        except OSError:
            return False
        return status.st_size < size

    def measure(self, key: AttemptKey) -> int:
        """The size of what the attempt printed, once it has ended; no file is kept for nothing."""
        return reaping.output_bytes(self._directory, journals.file_name(*key, "out"))

    @contextmanager
    def follow(self, job_id: int, event: asyncio.Event) -> Iterator[None]:
        """Meanwhile the event is set whenever an attempt of the job prints something."""
        if self._inotify is None:
            self._watch()
        self._followers.setdefault(job_id, set()).add(event)
        try:
            yield
        finally:
            self._followers[job_id].discard(event)
            if not self._followers[job_id]:
                del self._followers[job_id]
            if not self._followers:
                self._stop_watching()

    def _watch(self) -> None:
        inotify = INotify(nonblocking=True)
        try:
            inotify.add_watch(self._path, flags.MODIFY)
            asyncio.get_running_loop().add_reader(inotify.fileno(), self._on_change)
        except BaseException:
            inotify.close()
            raise
        self._inotify = inotify

    def _stop_watching(self) -> None:
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.fileno())
            self._inotify.close()
            self._inotify = None

    def _on_change(self) -> None:
        if self._inotify is None:
            return
        changed = list(self._inotify.read(timeout=0))
        if any(event.mask & flags.Q_OVERFLOW for event in changed):
            jobs = set(self._followers)
        else:
            jobs = {int(job) for event in changed if (job := event.name.partition(".")[0]).isdecimal()}
        for event in [event for job in jobs for event in self._followers.get(job, ())]:
            event.set()
