"""The processes below this one: takes in orphans, sees ends before they are reaped, ends those whom nobody knows."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import NamedTuple

from . import libc

_SET_CHILD_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of linux/prctl.h."""

_SET_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of linux/prctl.h."""

_MOST_ROUNDS = 16

MAX_NAMES = 8
"""How many names of programs are told at most."""


def take_in_orphans() -> None:
    """From now on, whoever loses its parent below this process falls to it, and not to init. Raises OSError."""
    libc.prctl(_SET_CHILD_SUBREAPER, 1)


def die_with_parent(is_wanted: bool) -> None:
    """Whether this process is killed when its parent ends (prctl(2), PR_SET_PDEATHSIG). Never for one with attempts."""
    libc.prctl(_SET_DEATH_SIGNAL, signal.SIGKILL if is_wanted else 0)


def children(pid: int | None = None) -> set[int]:
    """The pids of this process's children, or of another's, also of those that have ended and are not reaped.

    One may be missing while another ends; none on a kernel without CONFIG_PROC_CHILDREN.
    """
    found: set[int] = set()
    threads = f"/proc/{pid or 'self'}/task"
    try:
        for thread in os.listdir(threads):
            try:
                found.update(map(int, _read(f"{threads}/{thread}/children").split()))
            except (FileNotFoundError, ProcessLookupError):
                continue
    except (FileNotFoundError, ProcessLookupError):
        return found
    return found


def try_name(pid: int) -> str | None:
    """The name of the program that a process runs, which may be any that fits 15 bytes; None where it has ended.

    Raises OSError for want of descriptors.
    """
    try:
        text = _read(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return None
    name, _, rest = text.partition(b"(")[2].rpartition(b")")
    if rest.split()[:1] in ([b"Z"], [b"X"]):
        return None
    return "".join(char if char.isprintable() else "?" for char in name.decode("utf-8", "replace"))


def told_names(found: Mapping[int, str]) -> list[str]:
    """The names to tell of these processes: each once, in the order of their pids, and not too many."""
    return list(dict.fromkeys(found[pid] for pid in sorted(found)))[:MAX_NAMES] if found else []


def try_any_end() -> os.waitid_result | None:
    """How one of the children has ended, not reaped yet; None where all run, or there is none."""
    return _try_end(os.P_ALL, 0)


def try_end(pidfd: int) -> os.waitid_result | None:
    """How the process of this pidfd has ended, not reaped yet; None where it runs, or is no child of this one."""
    return _try_end(os.P_PIDFD, pidfd)


def _try_end(kind: int, which: int) -> os.waitid_result | None:
    try:
        return os.waitid(kind, which, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None


class Strangers(NamedTuple):
    """Those that were alive when they were found, by pid with the names of their programs: the children and all below
    them; and the children that are not reaped yet.
    """

    found: Mapping[int, str] = MappingProxyType({})
    dying: frozenset[int] = frozenset()


def end_strangers(
    known: Callable[[], Collection[int]], is_ours: Callable[[int], bool] = lambda pid: True
) -> Strangers:
    """Kill the children that are not known, and reap those that have ended. Raises OSError for want of descriptors.

    Those that are not ours are only reaped: others' orphans may fall to this process, too. What was forked by those
    that are killed falls to this process with their end: whoever sees some dying looks again then. Those that this
    process may not kill are left alone.
    """
    found: dict[int, str] = {}
    dying: frozenset[int] = frozenset()
    for _ in range(_MOST_ROUNDS):
        there = children()  # first, so that whoever has become known meanwhile is
        strangers = there.difference(known())
        if not strangers:  # as mostly, and what follows would have some pages copied after each fork
            return Strangers(found)
        living = frozenset(pid for pid in strangers if not _has_reaped(pid))
        # Before anybody is killed, who has no name then.
        families = {pid: family(pid) for pid in living if is_ours(pid)}
        dying = frozenset(pid for pid in families if _has_killed(pid))
        for pid in dying:
            found |= families[pid]
        if living == strangers:
            break
    return Strangers(found, dying)


def family(pid: int) -> dict[int, str]:
    """A process and all below it that have not ended, with the names of their programs."""
    found: dict[int, str] = {}
    unseen = [pid]
    while unseen:
        one = unseen.pop()
        name = None if one in found else try_name(one)
        if name is not None:
            found[one] = name
            unseen += children(one)
    return found


def _has_killed(pid: int) -> bool:
    """Ours and not reaped: the pid is its own."""
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def end_all() -> None:
    """Kill and reap all children, and what falls to this process with their end."""
    while end_strangers(tuple).dying:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)


def _has_reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, 65536):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)
