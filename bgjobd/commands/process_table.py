"""The processes of this machine as /proc tells of them, and which have to do with one spool; judges none of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bgjobd.core.job import AttemptKey
from bgjobd.forkserver import spool_names
from bgjobd.host import lock

_WRITES: Final = os.O_WRONLY | os.O_RDWR
_KINDS: Final = ("journal", *spool_names.HOOKS, "out")
_SERVER: Final = "/forkserver/__main__.py"
_LONGEST_COMMAND: Final = 200


@dataclass(frozen=True, slots=True)
class Process:
    """A process: `holds` are the attempts whose journal or output it has open for writing.

    `is_fork_server`: it has the spool itself open, and the command of one. `session` is its leader's pid, `command`
    what ps(1) would show.
    """

    pid: int
    start_time: int
    parent: int
    session: int
    is_zombie: bool
    command: str
    holds: frozenset[AttemptKey] = frozenset()
    is_fork_server: bool = False


def take(spool: Path, output: Path) -> dict[int, Process]:
    """Every process but this one, by pid, as far as this one may look."""
    places = _Places(os.path.realpath(spool), os.path.realpath(output))
    own = os.getpid()
    return {
        process.pid: process
        for pid in pids()
        if pid != own and (process := _try_look(pid, places)) is not None
    }


def daemon_of(state_dir: Path) -> int | None:
    """The pid of the daemon that holds the lock on this state directory; None where none does."""
    return holder(state_dir / lock.FILE_NAME)


def holder(path: Path) -> int | None:
    """The pid of whoever has this file, or directory, locked by flock(2); None where nobody has.

    Asks the kernel's list of locks: trying the lock would be in the way of a daemon that starts.
    """
    try:
        inode = path.stat().st_ino
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    # "1: FLOCK  ADVISORY  WRITE 9987 fe:00:11280409 0 EOF"; those that wait have "->" behind the number. The device
    # is not compared: overlays tell another one than stat(2).
    held = [line.split()[4:6] for line in lines if line.split()[1:2] == ["FLOCK"]]
    holders = [int(pid) for pid, place in held if place.rpartition(":")[2] == str(inode)]
    return next((pid for pid in holders if _holds(pid, path)), None)


def pids() -> list[int]:
    """Of all processes that this one sees."""
    return [int(name) for name in os.listdir("/proc") if name.isascii() and name.isdecimal()]


def has_open(pid: int, target: str) -> bool:
    """Whether the process has that open, as far as its descriptors are for us to see."""
    try:
        return any(found == target for _, found in _targets(pid))
    except OSError:
        return False


def _holds(pid: int, path: Path) -> bool:
    """Whether the process has this file open; taken for true where its descriptors are not for us to see."""
    try:
        return any(os.path.samefile(link, path) for link in _links(pid))
    except PermissionError:
        return True
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class _Places:
    spool: str
    output: str


def _try_look(pid: int, places: _Places) -> Process | None:
    """The process, or None where it is gone by now, or the kernel's own."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    # The command name, in brackets, may hold anything; fields are counted from behind it (proc(5)).
    state, parent, _, session, *rest = text[text.rindex(b")") + 2 :].split()
    is_zombie = state in (b"Z", b"X")
    if not command and not is_zombie:
        return None  # a thread of the kernel
    shown = command.replace(b"\0", b" ").decode("utf-8", "replace").strip()
    holds, is_fork_server = _held(pid, places, _SERVER in shown and int(session) == pid)
    return Process(
        pid=pid,
        start_time=int(rest[15]),
        parent=int(parent),
        session=int(session),
        is_zombie=is_zombie,
        command=_printable(shown) or "zombie",
        holds=holds,
        is_fork_server=is_fork_server,
    )


def _held(pid: int, places: _Places, looks_like_server: bool) -> tuple[frozenset[AttemptKey], bool]:
    """The attempts whose files it may write to, and whether it is a fork server, which has the spool open."""
    try:
        targets = dict(_targets(pid))
    except OSError:
        return frozenset(), False  # it is gone, or another user's, and then another daemon's
    keys = [
        key
        for link, target in targets.items()
        if (key := _try_key(target, places)) is not None and _is_for_writing(pid, link)
    ]
    return frozenset(keys), looks_like_server and places.spool in targets.values()


def _links(pid: int) -> list[str]:
    return [f"/proc/{pid}/fd/{name}" for name in os.listdir(f"/proc/{pid}/fd")]


def _targets(pid: int) -> Iterator[tuple[str, str]]:
    for link in _links(pid):
        with suppress(FileNotFoundError):
            yield link, os.readlink(link)


def _try_key(target: str, places: _Places) -> AttemptKey | None:
    """The attempt that a file belongs to; its name may be gone already, which the kernel says behind it."""
    folder, _, name = target.removesuffix(" (deleted)").rpartition("/")
    return spool_names.try_key(name, *_KINDS) if folder in (places.spool, places.output) else None


def _is_for_writing(pid: int, link: str) -> bool:
    """Whether the descriptor is one: somebody who only reads an output is none of ours."""
    try:
        text = Path(f"/proc/{pid}/fdinfo/{link.rpartition('/')[2]}").read_text(encoding="ascii")
    except OSError:
        return False
    found = re.search(r"^flags:\s*([0-7]+)$", text, re.MULTILINE)
    return found is not None and bool(int(found[1], 8) & _WRITES)


def _printable(text: str) -> str:
    """What ps would show, in one line and without anything that a terminal might obey."""
    return "".join(char if char.isprintable() else "?" for char in text[:_LONGEST_COMMAND])
