"""What the kernel tells of a process of an attempt: how it stands, what it has spent, who came from it; asks nobody."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from typing import Final, NamedTuple

from bgjob.codec import JsonObject
from bgjobd.core.looking import Seen, Way
from bgjobd.forkserver import subreaper, title
from bgjobd.forkserver.looking import ASK, INSIST
from bgjobd.forkserver.process_identity import signals_in, status
from bgjobd.supervisor.live_usage import reading_of

SIGNALS: Final = {Way.ASK: ASK, Way.INSIST: INSIST}

_MOST_CHILDREN: Final = 100
_LONGEST_PROGRAM: Final = 200


class View(NamedTuple):
    """How a process is `seen` by the rules, and how it is told (`ProcessState`)."""

    seen: Seen
    state: JsonObject


def view(pid: int, listens: Collection[str] | None) -> View:
    """How it stands; `listens` names the signals whose handlers are ours, None where nobody knows. Raises OSError."""
    fields = status(pid)
    letter, _, word = fields["State"].partition(" ")
    caught, blocked = signals_in(fields["SigCgt"]), signals_in(fields["SigBlk"])
    hears = frozenset(way for way, number in SIGNALS.items() if number in caught)
    waits_in = _waits_in(pid)
    seen = Seen(
        state=letter,
        waits_in=waits_in,
        hears=hears,
        blocks=frozenset(way for way, number in SIGNALS.items() if number in blocked),
        program=None if hears else _other_program(pid),
        own=frozenset(
            way for way, number in SIGNALS.items() if listens is not None and number.name not in listens
        ),
    )
    told: JsonObject = {
        "pid": pid,
        "state": word.strip("()"),
        "waits_in": waits_in,
        "threads": int(fields.get("Threads", "0")),
        "cpu": reading_of(_read(pid, "stat")).cpu,
        "children": descendants(pid),
    }
    return View(seen, told)


def descendants(pid: int) -> list[int]:
    """The processes that come from it, of very many some; none on a kernel without CONFIG_PROC_CHILDREN."""
    found: dict[int, None] = {}
    left = [pid]
    while left and len(found) < _MOST_CHILDREN:
        for child in sorted(subreaper.children(left.pop())):
            if child not in found:
                found[child] = None
                left.append(child)
    return sorted(found)[:_MOST_CHILDREN]


def _waits_in(pid: int) -> str | None:
    """The kernel's function that its main thread waits in; None where it waits in none, or that is forbidden."""
    with suppress(OSError):
        name = _read(pid, "wchan").decode("ascii", "replace").strip("\0 \n")
        return None if name in ("", "0") else name
    return None


def _other_program(pid: int) -> str | None:
    """What a process runs that an attempt has replaced itself by; None where it is the attempt still."""
    arguments = b""
    with suppress(OSError):
        arguments = _read(pid, "cmdline")
    if arguments.startswith(title.BEGINNING):
        return None
    with suppress(OSError):
        return os.readlink(f"/proc/{pid}/exe")[:_LONGEST_PROGRAM]
    return arguments.partition(b"\0")[0].decode("utf-8", "replace")[:_LONGEST_PROGRAM] or None


def _read(pid: int, name: str) -> bytes:
    descriptor = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
