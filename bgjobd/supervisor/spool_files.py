"""The spool's directory, held open and locked, and its files by name and kind; what they mean is known elsewhere."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from bgjobd.core.job import AttemptKey
from bgjobd.forkserver import journal as journals
from bgjobd.forkserver import journal_file, spool_names
from bgjobd.forkserver.journal import Journal
from bgjobd.supervisor import fork_server_marks
from bgjobd.supervisor.recording import Directory

MARKER: Final = "database-id"
UNFINISHED: Final = fork_server_marks.UNFINISHED

JOURNAL: Final = spool_names.ATTEMPT
HOOK: Final = spool_names.HOOK
STOP: Final = "stop"
BEREFT: Final = "bereft"


class SpoolInUseError(Exception):
    """Another daemon, with another state directory, uses this spool."""

    def __init__(self, directory: Path) -> None:
        super().__init__(f"another daemon uses {directory}; give each its own [daemon] runtime_dir")


class SpoolFiles:
    """The files of the spool, each put whole; a job may have removed any, or put something else in its place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self.descriptor)
            raise SpoolInUseError(path) from None
        self._spare: int | None = os.dup(self.descriptor)

    def close(self) -> None:
        os.close(self.descriptor)
        if self._spare is not None:
            os.close(self._spare)

    @property
    def directory(self) -> Directory:
        return Directory(self.path, self.descriptor)

    def keys(self, *kinds: str) -> list[AttemptKey]:
        """The attempts that have a file of this kind, or of one of these."""
        return [key for name in os.listdir(self.path) if (key := spool_names.try_key(name, *kinds))]

    def try_read(self, key: AttemptKey, kind: str) -> Journal | None:
        """The journal of this kind, an attempt's or its hook's."""
        with self.a_descriptor_to_spare():
            return journals.try_read(self.descriptor, spool_names.file_name(*key, kind))

    @contextmanager
    def a_descriptor_to_spare(self) -> Iterator[None]:
        """A journal is read though no descriptor is left; else its attempt would have to wait for one."""
        # Who reads meanwhile, as an end is collected, has none to close.
        spare, self._spare = self._spare, None
        if spare is not None:
            os.close(spare)
        try:
            yield
        finally:
            if self._spare is None:
                self._spare = self._try_keep_one()

    def _try_keep_one(self) -> int | None:
        try:
            return os.dup(self.descriptor)
        except OSError:
            return None  # another thread was faster; the next journal may have better luck

    def put(self, name: str, content: bytes, is_for_attempts: bool = False) -> None:
        """Have a file of this name and content, whatever was there, in one step. Raises OSError."""
        temporary = name + UNFINISHED
        self.remove(temporary)  # a job may have put anything there
        self._put_aside_directory(temporary)
        self._put_aside_directory(name)
        mode = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(temporary, mode, 0o600, dir_fd=self.descriptor)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                if is_for_attempts and self._is_shared():
                    os.fchmod(descriptor, 0o644)
            os.rename(temporary, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        except OSError:
            self.remove(temporary)
            raise

    def _put_aside_directory(self, name: str) -> None:
        """Give a directory that a job has put there another name: whatever is in it, it is no attempt's."""
        place = self.descriptor
        with suppress(OSError):  # nothing is there
            if stat.S_ISDIR(os.stat(name, dir_fd=place, follow_symlinks=False).st_mode):
                os.rename(name, f"{name}.{time.monotonic_ns()}", src_dir_fd=place, dst_dir_fd=place)

    def _is_shared(self) -> bool:
        """Whether attempts of other users run here: they look for the reason why they are stopped."""
        return bool(os.fstat(self.descriptor).st_mode & 0o001)

    def remove(self, name: str) -> None:
        """Have nothing of this name. Where that cannot be, nothing could be mended here."""
        try:
            os.unlink(name, dir_fd=self.descriptor)
        except IsADirectoryError:
            self._put_aside_directory(name)
        except OSError:
            pass  # it was removed before a crash

    def remove_unfinished(self) -> None:
        """Remove what an earlier daemon was writing when it was killed."""
        for name in os.listdir(self.path):
            if name.endswith(UNFINISHED):
                self.remove(name)


def word_in(directory: int, name: str) -> str:
    """What a short file of the spool says; nothing where it is no file, for a job may have put anything there.

    Raises OSError, as for a journal.
    """
    descriptor = journal_file.try_open(directory, name)
    if descriptor is None:
        return ""
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return os.read(descriptor, 64).decode("ascii", "replace").strip() if is_file else ""
    finally:
        os.close(descriptor)
