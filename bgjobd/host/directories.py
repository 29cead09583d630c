"""The daemon's own directories: made, or taken over where nobody else can have put anything there; closed to others.

Nothing is followed or changed that somebody else may have put in the place of one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

_OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_NOBODY: Final = 65534
"""The usual number of whoever has none in this user namespace (/proc/sys/fs/overflowuid)."""


def mode_of(path: Path) -> int:
    """The st_mode of what is there, or of what a link leads to; 0 where nothing is. Raises OSError where that cannot be
    looked at, where Path.exists() tells, from Python 3.14 on, that nothing is there.
    """
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def make(directory: Path, mode: int) -> None:
    """Have the directory, with this mode. Raises PermissionError where others may have put something in it, OSError."""
    _refuse_planted_links(directory)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _opened(directory) as descriptor:
        before = os.fstat(descriptor).st_mode
        _refuse_strangers(descriptor, directory)
        if before & 0o777 != mode:
            os.fchmod(descriptor, mode)
        if before & _OTHERS_MAY_WRITE:
            _refuse_strangers_files(descriptor, directory)  # what came meanwhile


def look_at(directory: Path) -> None:
    """Raise as `make` would for a directory that is there, and change nothing."""
    _refuse_planted_links(directory)
    with _opened(directory) as descriptor:
        _refuse_strangers(descriptor, directory)


@contextmanager
def kept(*paths: Path) -> Iterator[None]:
    """Meanwhile nothing in these directories is removed for its age: who cleans up passes by what is locked
    (tmpfiles.d(5)).
    """
    with ExitStack() as held:
        for path in paths:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            held.callback(os.close, descriptor)
            with suppress(OSError):  # somebody cleans up at this moment, or the file system has no locks
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield


def doubts(directory: Path) -> Iterator[tuple[str, str]]:
    """Who could give another directory the name of ours, as each directory above says, with what to do about it.

    In a sticky one only its owner can.
    """
    for above in dict.fromkeys((*directory.parents, *Path(os.path.realpath(directory)).parents)):
        if not mode_of(above):
            continue
        found = above.stat()
        if _is_for_all(found.st_mode) and not found.st_mode & stat.S_ISVTX:
            yield f"anybody may write to {above}", f"`chmod o-w {above}`"
        elif _is_known_strangers(found):
            yield f"{above} is uid {found.st_uid}'s, who may write to it", "configure a directory elsewhere"


def is_strangers(found: os.stat_result) -> bool:
    """Whether somebody else has it: neither root nor the daemon's user."""
    return found.st_uid not in (0, os.geteuid())


def _refuse_planted_links(directory: Path) -> None:
    """Those of others, who may lead us to another of our directories; also of a user whom this namespace does not know
    in a directory for all, as the kernel does where it is told to (fs.protected_symlinks).
    """
    for place in (*reversed(directory.parents), directory):
        if not place.is_symlink():
            continue
        found = place.lstat()
        is_planted = is_strangers(found) and _is_for_all(place.parent.stat().st_mode)
        if is_planted or _is_known_strangers(found):
            message = f"uid {found.st_uid} has put this link here; remove it, or configure another directory"
            raise PermissionError(errno.EPERM, message, str(place))


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _refuse_strangers(descriptor: int, directory: Path) -> None:
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, f"the directory belongs to uid {found.st_uid}", str(directory))
    if not found.st_mode & _OTHERS_MAY_WRITE:
        return
    if found.st_mode & stat.S_ISVTX and os.listdir(descriptor):  # a new tmpfs is empty
        message = (
            "the directory is one that others share, as /tmp is; configure one below it, or chmod it to 0700"
        )
        raise PermissionError(errno.EPERM, message, str(directory))
    _refuse_strangers_files(descriptor, directory)


def _refuse_strangers_files(descriptor: int, directory: Path) -> None:
    """Raises PermissionError where a name is not the daemon's own: it might be read as its database, or written to."""
    with os.scandir(descriptor) as entries:
        for entry in entries:
            found = entry.stat(follow_symlinks=False)
            has_names_elsewhere = stat.S_ISREG(found.st_mode) and found.st_nlink > 1
            if is_strangers(found) or has_names_elsewhere:
                message = "others could write to the directory, and may have put this there; look at it, and remove it"
                raise PermissionError(errno.EPERM, message, str(directory / entry.name))


def _is_known_strangers(found: os.stat_result) -> bool:
    """Whether it is another user's; in a user namespace what is the host's, such as /, has nobody's number."""
    return is_strangers(found) and found.st_uid != _NOBODY


def _is_for_all(mode: int) -> bool:
    return bool(mode & stat.S_IWOTH)
