"""Whether attempts can write how they end: looked at once somebody could not, and while that lasts; it decides nothing.

Nothing is looked at as long as all is well: a child that could not begin, one whose result waits for room, or a file
of the daemon's own that could not be written, is the occasion.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bgjob.words import EntryType
from bgjobd.forkserver.journal_file import RESERVE
from bgjobd.host import directories, threads

_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 5.0


class Directory(NamedTuple):
    """A directory that attempts write to: its path, and a descriptor of the one that this daemon and they use."""

    path: Path
    descriptor: int

    def is_in_place(self) -> bool:
        """Whether the path still leads to it: else it was removed, or another is there."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self.descriptor))
        except OSError:
            return False

    def renew(self) -> None:
        """Make it again where it was removed, with the mode that it had, and have its descriptor lead there.

        Raises OSError.
        """
        mode = stat.S_IMODE(os.fstat(self.descriptor).st_mode)
        directories.make(self.path, mode)
        made = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(made, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.dup2(made, self.descriptor, inheritable=False)
        finally:
            os.close(made)


class Recording:
    """Whether the directories can be written. `say` writes a line about the daemon itself, `on_change` is called when
    trouble begins, and when it is over; `renew` when one was removed, to make it again, and answers whether it did.
    """

    def __init__(
        self,
        places: Sequence[Directory],
        say: Callable[[EntryType, str], None],
        on_change: Callable[[], None],
        renew: Callable[[Directory], bool],
    ) -> None:
        self._places = places
        self._above = {place.path: os.stat(place.path.parent) for place in places}
        self._renew = renew
        self._say = say
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._looking = threads.one("recording")  # a disk that hangs holds up nobody else
        self._is_looking = False
        self._is_closed = False
        self._pause = _FIRST_PAUSE
        self._reason: str | None = None
        self._since = 0.0

    def close(self) -> None:
        self._is_closed = True
        self._looking.shutdown(wait=False, cancel_futures=True)

    @property
    def reason(self) -> str | None:
        """Why an end could not be recorded now, with the path and what to do; None where it could."""
        return self._reason

    @property
    def trouble(self) -> str | None:
        """What is wrong now, in words; None where all is well."""
        return None if self._reason is None else f"ends of attempts cannot be recorded: {self._reason}"

    def suspect(self) -> None:
        """Somebody could not write there: see what is wrong. In trouble that is looked at anyway."""
        if self._reason is None:
            self._look()

    def _look(self) -> None:
        if self._is_looking or self._is_closed:
            return
        self._is_looking = True
        looked = self._loop.run_in_executor(self._looking, fault_of, self._places)
        looked.add_done_callback(self._on_look)

    def _on_look(self, looked: asyncio.Future[str | None]) -> None:
        self._is_looking = False
        if looked.cancelled() or self._is_closed:
            return
        if looked.result() is not None and self._renew_removed():
            self._look()
            return
        before, self._reason = self._reason, looked.result()
        if self._reason is not None:
            self._loop.call_later(self._pause, self._look)
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        if (before is None) != (self._reason is None):
            self._tell()
            self._on_change()

    def _renew_removed(self) -> bool:
        """Have those made again that were removed; whether any was. Not where that which they were in is gone as well:
        a file system that was unmounted is no directory to be made.
        """
        removed = [
            place for place in self._places if not os.path.exists(place.path) and self._is_above(place)
        ]
        made_again = [place for place in removed if self._renew(place)]
        return bool(made_again)

    def _is_above(self, place: Directory) -> bool:
        try:
            return os.path.samestat(os.stat(place.path.parent), self._above[place.path])
        except OSError:
            return False

    def _tell(self) -> None:
        if self._reason is not None:
            self._since = self._loop.time()
            meanwhile = "until they can, nothing starts; what runs goes on, and large results wait"
            self._say(EntryType.FAILURE, f"{self.trouble}; {meanwhile}")
            return
        self._pause = _FIRST_PAUSE
        took = self._loop.time() - self._since
        self._say(EntryType.INFO, f"ends of attempts can be recorded again, after {took:.1f} s")


def fault_of(places: Sequence[Directory]) -> str | None:
    """The first directory that cannot take what an attempt writes, why, and what to do; None where all can."""
    for directory in places:
        try:
            _prove(directory)
        except OSError as error:
            what_to_do = _WHAT_TO_DO.get(error.errno or 0, "see to its file system").format(directory.path)
            return f"{directory.path}: {error.strerror}; {what_to_do}"
    return None


def _prove(directory: Directory) -> None:
    """Have it take a file as large as what a journal is owed, without a name and without use. Raises OSError."""
    if not directory.is_in_place() and directory.path.exists():
        raise OSError(errno.ESTALE, "it was removed, and another is in its place")
    with tempfile.TemporaryFile(buffering=0, dir=directory.path) as file:
        if file.write(bytes(RESERVE)) < RESERVE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


_WHAT_TO_DO: Final = {
    errno.ENOSPC: "make room there: `df -h {0}` and `df -i {0}` show what is short",
    errno.EDQUOT: "raise the quota of the daemon's user, or remove files of its",
    errno.EROFS: "mount it writable",
    # Who restarts it sooner has what runs be lost, and not tried again, for nothing tells when that ends.
    errno.ENOENT: "it was removed: restart the daemon, which makes it again, once what runs has ended; "
    "or put back, or mount, what it is in",
    errno.ESTALE: "restart the daemon, which takes it up, once what runs has ended",
}
