"""The marks of fork servers: what each has in its environment, and so all that it forks, and what those execute unless
they clean theirs; and the files of the spool that tell which fork servers may exist. Judges nothing, ends nothing.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bgjobd.forkserver.process_identity import pidfd_inode, start_time

VARIABLE: Final = "BGJOB_MARK"
"""What has the mark in an environment; no name of those that override the configuration."""

UNFINISHED: Final = ".new"

_MARK: Final = re.compile("[0-9a-f]{32}")
_FILE: Final = re.compile("fork-server-([0-9a-f]{32})")
_NO_TRICKS: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_NO_FILE: Final = frozenset({errno.ENOENT, errno.EACCES, errno.ELOOP, errno.ENXIO})
_LARGEST_FILE: Final = 65536
_LARGEST_ENVIRONMENT: Final = 1024 * 1024
_LARGEST: Final = 2**63 - 1
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Marked:
    """A fork server: its mark, what makes its pid its own, the life that it belongs to, and the users
    that its attempts may have.
    """

    mark: str
    pid: int
    start_time: int
    pidfd_inode: int
    life_id: str
    uids: tuple[int, ...]

    @classmethod
    def here(cls, mark: str, pid: int, life_id: str, uids: Iterable[int]) -> Marked:
        """The one with this pid, which is not reaped. Raises OSError."""
        return cls(mark, pid, start_time(pid), pidfd_inode(pid), life_id, tuple(sorted(set(uids))))


def new() -> str:
    """A mark that nobody else has."""
    return secrets.token_hex(16)


def file_name(mark: str) -> str:
    return f"fork-server-{mark}"


def try_mark(name: str) -> str | None:
    """The mark of the fork server whose file has such a name; None for any other."""
    found = _FILE.fullmatch(name)
    return found[1] if found else None


def put(spool: Path, server: Marked) -> None:
    """Have the spool keep this fork server, whole or not at all. Raises OSError."""
    path = spool / file_name(server.mark)
    temporary = path.with_name(path.name + UNFINISHED)
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
    )
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            json.dump({"v": _VERSION, **asdict(server)}, file)
        os.rename(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def remove(spool: Path, mark: str) -> None:
    """Nothing of this fork server can be left."""
    with suppress(OSError):  # it was removed before a crash, or a job has put something else there
        os.unlink(spool / file_name(mark))


def kept(spool: Path | int) -> frozenset[str]:
    """The marks of the fork servers that the spool keeps, a path or a descriptor. Raises OSError."""
    try:
        return frozenset(mark for name in os.listdir(spool) if (mark := try_mark(name)) is not None)
    except FileNotFoundError:
        return frozenset()


def try_read(spool: Path, mark: str) -> Marked | None:
    """What the spool keeps of the fork server with this mark; None where that is not what a daemon writes: a job may
    have put anything there. Raises OSError where it cannot be read for now.
    """
    try:
        descriptor = os.open(spool / file_name(mark), os.O_RDONLY | _NO_TRICKS)
    except OSError as error:
        if error.errno in _NO_FILE:
            return None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        text = os.read(descriptor, _LARGEST_FILE)
    finally:
        os.close(descriptor)
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return _try_marked(record) if isinstance(record, dict) and record.get("mark") == mark else None


def _try_marked(record: dict[str, Any]) -> Marked | None:
    numbers = (record.get(name) for name in ("pid", "start_time", "pidfd_inode"))
    uids = record.get("uids")
    is_whole = all(map(_is_number, numbers)) and isinstance(record.get("life_id"), str)
    if not is_whole or not isinstance(uids, list) or not all(map(_is_number, uids)):
        return None
    own = record["mark"], record["pid"], record["start_time"], record["pidfd_inode"], record["life_id"]
    return Marked(*own, tuple(uids))


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST


def try_mark_of(pid: int) -> str | None:
    """The mark in the environment that a process, or whoever it was forked from, was executed with; "" where that has
    none; None where nothing can be read: it is another user's, it has ended, or it has no environment at all.

    Raises OSError for want of descriptors. On a thread, where that is possible: a process can hold up whoever reads its
    environment, as by memory of a file of FUSE.
    """
    try:
        descriptor = os.open(f"/proc/{pid}/environ", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    try:
        parts, size = [], 0
        while size < _LARGEST_ENVIRONMENT and (part := os.read(descriptor, 65536)):
            parts.append(part)
            size += len(part)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return _mark_in(b"".join(parts)) if parts else None


def _mark_in(environment: bytes) -> str:
    beginning = f"{VARIABLE}=".encode()
    variable = next((each for each in environment.split(b"\0") if each.startswith(beginning)), b"")
    mark = variable.removeprefix(beginning).decode("ascii", "replace")
    return mark if _MARK.fullmatch(mark) else ""
