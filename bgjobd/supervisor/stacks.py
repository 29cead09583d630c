"""Answers of a process that was asked where it is, made of what stands in its journal and in its output; reads no file.

A job may have written either by itself: what has another shape is no answer, and nothing is larger than told here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from bgjob.codec import JsonObject
from bgjobd import forkserver
from bgjobd.forkserver import journal_lines
from bgjobd.forkserver.looking import MAX_FRAMES, MAX_TASKS, MAX_THREADS

_LONGEST_NAME: Final = 200
_LONGEST_FILE: Final = 4096
_LARGEST: Final = 2**31


class Stacks(NamedTuple):
    """Threads and tasks, as `ThreadStack` and `TaskStack` of the interface; the innermost frame of each first."""

    threads: list[JsonObject]
    tasks: list[JsonObject]


def try_stacks(record: journal_lines.Record) -> Stacks | None:
    """What a `stack` record tells; None for what no process of ours has written."""
    text = record["stack"]
    if len(text) > journal_lines.MAX_STACK:
        return None
    try:
        told = json.loads(text)
        threads = [_thread(one) for one in _list(told["threads"])[:MAX_THREADS]]
        tasks = [_stack(one) for one in _list(told["tasks"])[:MAX_TASKS]]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return Stacks(threads, tasks) if threads else None


def _thread(told: Any) -> JsonObject:
    return _stack(told) | {"native_id": _number(told["native_id"])}


def _stack(told: Any) -> JsonObject:
    frames = [_frame(*one) for one in _list(told["frames"])[:MAX_FRAMES]]
    return {"name": _text(told["name"], _LONGEST_NAME), "frames": frames, "same": _number(told["same"])}


def _frame(file: Any, line: Any, name: Any) -> JsonObject:
    return {"file": _text(file, _LONGEST_FILE), "line": _number(line), "name": _text(name, _LONGEST_FILE)}


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("no list")
    return value


def _text(value: Any, most: int) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value[:most].encode("utf-8", "replace").decode()


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _LARGEST:
        raise TypeError("no number")
    return value


# What faulthandler prints

# What a job prints is matched as well: each takes time that grows as the line does, and no more.
_HEAD: Final = re.compile(
    r"(?:Stack|(?:Current thread|Thread) 0x[0-9a-f]{1,16}[^()]{0,100}) \(most recent call first\):"
)
_FILE: Final = '  File "'
_BEHIND_FILE: Final = '", line '
_PLACE: Final = re.compile(r'", line ([0-9]{1,10}|\?\?\?) in (.*)')
_ESCAPED: Final = re.compile(r"\\x([0-9a-f]{2})|\\u([0-9a-f]{4})|\\U([0-9a-f]{8})")
_OWN: Final = f"{Path(forkserver.__file__).parent}/"
_LONGEST_PRINTED: Final = 500
"""So many characters of a file's name are printed."""


class Printed(NamedTuple):
    """Frames as far as they are printed; whether those are all."""

    frames: list[JsonObject]
    is_whole: bool


def try_printed(text: str) -> Printed | None:
    """The last stack in what has been printed, whatever others have printed between its lines; None without one."""
    lines = text.split("\n")
    heads = [number for number, line in enumerate(lines) if _HEAD.search(line)]
    if not heads:
        return None
    frames: list[JsonObject] = []
    is_whole = False
    for line in lines[heads[-1] + 1 : -1]:
        found = _try_frame(line)
        if found is None:
            is_whole = is_whole or line.strip() == "..."
            continue
        file, number, name = found
        is_own = file.startswith(_OWN[:_LONGEST_PRINTED])
        is_whole = is_whole or (is_own and name == "<module>")
        if not is_own:
            frames.append(_frame(file, min(number, _LARGEST - 1), name))
    return Printed(frames[:MAX_FRAMES], is_whole)


def _try_frame(line: str) -> tuple[str, int, str] | None:
    begin, end = line.find(_FILE), line.rfind(_BEHIND_FILE)
    found = _PLACE.match(line, end) if 0 <= begin <= end - len(_FILE) else None
    if found is None:
        return None
    number = int(found[1]) if found[1].isdecimal() else 0
    return _unescaped(line[begin + len(_FILE) : end]), number, _unescaped(found[2])


def _unescaped(text: str) -> str:
    def character(found: re.Match[str]) -> str:
        number = int(found[1] or found[2] or found[3], 16)
        return chr(number) if number <= 0x10FFFF else found[0]

    return _ESCAPED.sub(character, text)


# For people

_LONGEST_TEXT: Final = 32 * 1024


def text_of(where: str, threads: Iterable[JsonObject], tasks: Iterable[JsonObject]) -> str:
    """The stacks as a traceback is written, the innermost frame last; of very many the first."""
    parts = [f"{where}\n"]
    for one in (*threads, *tasks):
        many = f" (× {one['same']})" if one["same"] > 1 else ""
        lines = [
            f'  File "{frame["file"]}", line {frame["line"]}, in {frame["name"]}\n'
            for frame in reversed(one["frames"])
        ]
        parts.append("".join([f"{one['name']}{many} (most recent call last):\n", *lines]))
    text = parts[0]
    for part in parts[1:]:
        if len(text) + len(part) > _LONGEST_TEXT:
            return f"{text}[...]\n"
        text += part
    return text
