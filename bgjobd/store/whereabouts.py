"""Whether the paths of the database still lead to the files that this process has open; it opens and changes nothing.

A file that was moved away goes on taking what is written to it, and whoever starts next does not find it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from bgjobd.store.database import FILE_NAME

_MAIN: Final = ""
_LOG: Final = "-wal"
_INDEX: Final = "-shm"
_BESIDE: Final = (_LOG, _INDEX)

_Identity = tuple[int, int]
"""Device and inode."""


class MovedError(OSError):
    """A file of the database is not where it was: what is written to it nobody would find again."""


class Whereabouts:
    """Which files they are: the database as it is found now, those beside it once they are open.

    SQLite keeps the two beside the database as long as a connection is open, and the readers have theirs until the end.
    Where that is a link they are beside the file that it leads to, so that has to stay where it is, too: whoever starts
    next would look for them beside it. The two themselves it opens as no links.
    """

    def __init__(self, state_dir: Path) -> None:
        path = str(state_dir / FILE_NAME)
        self._led_to = os.path.realpath(path)
        self._paths = {_MAIN: path, **{name: self._led_to + name for name in _BESIDE}}
        self._is_link = os.path.islink(path)
        self._known: dict[str, _Identity] = {}
        self._stat(_MAIN)

    def learn(self) -> None:
        """The database has just been opened: what is beside it belongs to it from now on."""
        self.check(_MAIN, *_BESIDE)

    def check(self, *names: str) -> None:
        """Raises MovedError where one of them, or of all, is not in its place."""
        for name in names or self._known:
            self._stat(name)

    def check_written(self) -> int:
        """The same of those that a commit goes to; how many bytes the write-ahead log has."""
        self._stat(_MAIN)
        return self._stat(_LOG).st_size

    def _stat(self, name: str) -> os.stat_result:
        """What is there, which must be what was there when it was first looked at; before and after every commit."""
        path = self._paths[name]
        try:
            found = os.stat(path) if name == _MAIN else os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            message = f"{path} was moved or removed while the daemon had it open"
            raise MovedError(f"{message}; {_remedy(name, 'without it begins with no jobs')}") from None
        identity = found.st_dev, found.st_ino
        if self._known.setdefault(name, identity) != identity or (name == _MAIN and self._leads_elsewhere()):
            message = f"another file is in the place of {path}, which the daemon has open"
            raise MovedError(f"{message}; {_remedy(name, 'takes what is there now')}")
        return found

    def _leads_elsewhere(self) -> bool:
        """Whether the same file is found at another place."""
        path = self._paths[_MAIN]
        is_link = os.path.islink(path)
        return is_link != self._is_link or (is_link and os.path.realpath(path) != self._led_to)


def _remedy(name: str, otherwise: str) -> str:
    """What to do; what the log had is in the database itself by the time that this is read."""
    if name == _MAIN:
        return f"put it back, and the daemon goes on; a restart {otherwise}"
    return "put it back, and the daemon goes on, or restart the daemon, which needs none"
