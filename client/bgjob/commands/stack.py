"""Where a job is that runs: `bgjob stack`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from bgjob import text
from bgjob.answers import StackRead
from bgjob.client import Client
from bgjob.codec import JsonObject
from bgjob.commands import screen
from bgjob.commands.problems import OK
from bgjob.errors import BgjobError
from bgjob.fingerprints import is_of_library

_GAP: Final = "  "
_WIDEST: Final = 32
"""Columns of a name beside which the others are lined up."""


def stack(client: Client, given: argparse.Namespace) -> int:
    """Tell where a job is that runs: its threads and tasks, and how the kernel sees its process."""
    read = client.stack(given.id, signal=not given.no_signal, insist=given.insist, children=given.children)
    if given.json:
        screen.tell_json({"id": given.id, **read._asdict()})
        return OK
    lines = [_heading(given.id, read, _try_began_at(client, given.id, read.number)), *_stacks(read)]
    if read.note is not None:
        lines.append(_note(read, given))
    screen.show("".join(f"{line}\n" for line in lines))
    return OK


def _try_began_at(client: Client, job_id: int, number: int) -> str | None:
    """When the attempt began; None where that cannot be told, as to who may not read."""
    with suppress(BgjobError):
        for attempt in client.get(job_id, limit=1).snapshot["attempts"]:
            if attempt["number"] == number:
                return attempt["started_at"]  # type: ignore[no-any-return]  # its shape was seen to
    return None


def _heading(job_id: int, read: StackRead, began_at: str | None) -> str:
    process = read.process
    place = "" if process["waits_in"] is None else f" in {process['waits_in']}"
    threads = "1 thread" if process["threads"] == 1 else f"{process['threads']} threads"
    since = "" if began_at is None else f" in {text.about(_seconds_between(began_at, read.at))}"
    children = ", ".join(map(str, process["children"]))
    told = (
        f"job {job_id}, attempt {read.number}: pid {process['pid']}",
        text.one_line(f"{process['state']}{place}"),
        threads,
        f"{_cpu(process['cpu'])} of CPU time{since}",
        *([f"children {children}"] if children else []),
    )
    return ", ".join(told)


def _seconds_between(began_at: str, at: str) -> float:
    return max(0.0, text.instant(at) - text.instant(began_at))


def _cpu(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else text.span(seconds)


def _stacks(read: StackRead) -> Iterator[str]:
    """A line each: who stands there, and the innermost frame, with that of the application's own behind it."""
    names = [_name(one) for one in read.threads] + [f"task {_name(one)}" for one in read.tasks]
    width = min(_WIDEST, max(map(text.width, names), default=0))
    for name, one in zip(names, [*read.threads, *read.tasks], strict=True):
        gap = " " * max(0, width - text.width(name)) + _GAP
        yield f"{name}{gap}{_places(one['frames'])}"


def _name(told: Mapping[str, Any]) -> str:
    many = f" (× {told['same']})" if told["same"] > 1 else ""
    return text.one_line(told["name"]) + many


def _places(frames: Sequence[JsonObject]) -> str:
    if not frames:
        return "–"
    own = [frame for frame in frames if not is_of_library(frame["file"])]
    first = own[0] if own else frames[0]
    told = [_place(frames[0])] if first is not frames[0] else []
    return f"{_GAP}<{_GAP}".join([*told, _place(first)])


def _place(frame: Mapping[str, Any]) -> str:
    """Of a library the file's name alone, which says enough."""
    file = frame["file"].rpartition("/")[2] if is_of_library(frame["file"]) else frame["file"]
    line = f":{frame['line']}" if frame["line"] else ""
    return text.one_line(f"{frame['name']}{_GAP}{file}{line}")


def _note(read: StackRead, given: argparse.Namespace) -> str:
    asks = read.answered != "python" and not given.insist and read.process["state"] == "sleeping"
    hint = "; --insist asks it all the same" if asks and str(read.note).startswith(_CAREFUL) else ""
    return text.one_line(f"{read.note}{hint}")


_CAREFUL: Final = "to ask it for more"
