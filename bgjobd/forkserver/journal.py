"""What the journal of an attempt says: its bounds, and what was told in between. Its job may have written anything.

A torn line is skipped, so each record after the first begins on a new line. What makes a record is in
`journal_shapes`, how it is written in `journal_lines`, the file in `journal_file`.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Mapping
from json.decoder import scanstring  # type: ignore[attr-defined]  # typeshed leaves it out
from typing import NamedTuple

from .journal_file import try_open
from .journal_lines import MAX_NOTES, MAX_RESULT, MAX_STACK, MAX_STACKS, MAX_VALUES, VERSION, Record
from .journal_shapes import is_whole

LONG = 4096
"""Characters of a result beyond which it is kept as the text that the record has of it, and bytes of a record beyond
which it must be flat: a reader is not to be held up by what a job has written.
"""

_COMPLETED = re.compile(
    rb'\{"v":1,"type":"outcome","outcome":"completed","pid":([1-9][0-9]{0,9}),"result":(.*)\}', re.DOTALL
)
_MOST_TEXTS = 512
_LONGEST_GAP = 64
"""Of a long record that is no result: how many texts it has, and how much stands between them."""

_MAX_HEAD = 64 * 1024
_MAX_PART = 8 * 1024 * 1024
_LONGEST_NOTE = 2 * MAX_RESULT + 4096
"""Bytes of a record whose text is a result: as a text in a text each quote takes two."""
_MOST_STACKS = 8 * (MAX_STACK + 1024)
"""Bytes in which answers are looked for: of the attempt, and of some of its copies."""
# Half of what an honest journal has: each record comes after an empty line.
_MAX_LINES = MAX_NOTES + MAX_VALUES + MAX_STACKS + 100
_BEGINNING = b'{"v":'
_KIND = re.compile(rb'"type": ?"([a-z]+)"')
_MAX_FIELDS = 200
"""Bytes of a record in which its kind stands."""

_MAX_TRIES = 32
"""So many lines may say that they are of one kind, until one of them is: what is beyond a job has written."""

_PORTION = 64 * 1024
_MAX_AT_ONCE = 200
"""Bytes and lines in which notes are read at once: half a millisecond, or one if a job has written them by itself."""


class Journal(NamedTuple):
    """What an attempt's journal says of its bounds; the records as they stand, None where there is none.

    A long result is not read: an outcome has its text instead, `unread`, which may be anything that a job has written,
    or a part of what was to be. What the job told in between is for `read_on`, where it `may_have_notes`.
    """

    started: Record | None = None
    fenced: Record | None = None
    outcome: Record | None = None
    exit: Record | None = None
    waiting: Record | None = None
    may_have_notes: bool = False

    def without_outcome(self) -> Journal:
        """What it says but for that."""
        return self._replace(outcome=None)


def try_read(spool: int, name: str) -> Journal | None:
    """The journal of this name, or None where there is no such file.

    Raises OSError where the file is there and cannot be read for now, whyever: that says nothing about the attempt.
    The first outcome wins, the last exit wins, and only those of the attempt's own process count. An exit means
    something once that process is gone.
    """
    descriptor = try_open(spool, name)
    if descriptor is None:
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return None
        journal = parse(_text(descriptor, found.st_size))
        return journal._replace(may_have_notes=True) if found.st_size > _MAX_HEAD + _MAX_PART else journal
    finally:
        os.close(descriptor)


class Part(NamedTuple):
    """The records of _NOTES, oldest first; where they end, and whether there is more behind it."""

    notes: tuple[Record, ...]
    end: int
    has_more: bool


def read_on(spool: int, name: str, offset: int, pid: int) -> Part:
    """The next of the notes of process `pid` that were added since `offset`, in whole lines.

    From where an honest journal does not reach, none: the job has written there by itself. Raises OSError, as try_read.
    """
    descriptor = try_open(spool, name) if offset < _MAX_PART else None
    if descriptor is None:
        return Part((), offset, has_more=False)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return Part((), offset, has_more=False)
        text, size = os.pread(descriptor, _PORTION, offset), _PORTION
        if len(text) == size and b"\n" not in text:
            text, size = os.pread(descriptor, _LONGEST_NOTE, offset), _LONGEST_NOTE
    finally:
        os.close(descriptor)
    whole = text if len(text) == size and b"\n" not in text else text[: text.rfind(b"\n") + 1]
    lines = whole.split(b"\n", _MAX_AT_ONCE)
    has_more = len(text) == size or len(lines) > _MAX_AT_ONCE
    end = offset + len(whole) - len(lines[-1] if len(lines) > _MAX_AT_ONCE else b"")
    records = [_try_record(line) for line in lines[:_MAX_AT_ONCE] if _kind(line) in _NOTES]
    notes = [record for record in records if record and record["type"] in _NOTES and record["pid"] == pid]
    return Part(tuple(notes), end, has_more)


def read_stacks(spool: int, name: str, offset: int) -> tuple[Record, ...]:
    """The `stack` records that were added since `offset`, of whatever process. Raises OSError, as try_read."""
    descriptor = try_open(spool, name)
    if descriptor is None:
        return ()
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        text = os.pread(descriptor, _MOST_STACKS, offset) if is_file else b""
    finally:
        os.close(descriptor)
    lines = [line for line in text.split(b"\n", 2 * _MAX_AT_ONCE) if _kind(line) == "stack"]
    records = [_try_record(line) for line in lines if len(line) <= MAX_STACK + 1024]
    return tuple(record for record in records if record is not None and record["type"] == "stack")


def parse(text: bytes) -> Journal:
    """The journal of these lines; whatever is no record is skipped, and notes are."""
    found: dict[str, Record] = {}
    exits: list[bytes] = []
    tries: Counter[str] = Counter()
    may_have_notes = text.count(b"\n") > 2 * _MAX_LINES
    for line in _lines(text):
        kind = _kind(line)
        may_have_notes = may_have_notes or kind in _NOTES
        if kind is None or kind in found or kind in _PASSED_OVER:
            continue
        if kind == "exit":
            exits.append(line)
            continue
        tries[kind] += 1
        record = _try_record(line) if tries[kind] <= _MAX_TRIES else None
        if record is not None and (record["type"] == "started" or _is_of_its_process(record, found)):
            found.setdefault(record["type"], record)
    return Journal(
        started=found.get("started"),
        fenced=found.get("fenced"),
        outcome=found.get("outcome"),
        exit=_last_exit(exits, found) or found.get("exit"),
        waiting=found.get("waiting"),
        may_have_notes=may_have_notes,
    )


def _last_exit(lines: list[bytes], found: dict[str, Record]) -> Record | None:
    """The last of these records that is of the attempt's process."""
    for line in lines[: -_MAX_TRIES - 1 : -1]:
        record = _try_record(line)
        if record is not None and record["type"] == "exit" and _is_of_its_process(record, found):
            return record
    return None


def _kind(line: bytes) -> str | None:
    """Of which kind the record is that may be in this line; "" where that stands nowhere near its beginning."""
    if not line.startswith(_BEGINNING):
        return None
    kind = _KIND.search(line, 0, _MAX_FIELDS)
    return kind[1].decode() if kind else ""


def _is_of_its_process(record: Record, found: Mapping[str, Record]) -> bool:
    return "pid" not in record or record["pid"] == found.get("started", {}).get("pid")


def _lines(text: bytes) -> list[bytes]:
    """The lines; of far too many, the first and the last: a job may have written anything."""
    if text.count(b"\n") <= 2 * _MAX_LINES:
        return text.split(b"\n")
    return text.split(b"\n", _MAX_LINES)[:-1] + text.rsplit(b"\n", _MAX_LINES)[1:]


def _text(descriptor: int, size: int) -> bytes:
    """The whole file; of one that a job has blown up, its head and its tail."""
    if size <= _MAX_HEAD + _MAX_PART:
        return os.pread(descriptor, size, 0)
    return os.pread(descriptor, _MAX_HEAD, 0) + b"\n" + os.pread(descriptor, _MAX_PART, size - _MAX_PART)


def _try_record(line: bytes) -> Record | None:
    completed = _COMPLETED.fullmatch(line) if len(line) > LONG else None
    try:
        if completed is None and len(line) > LONG and not _is_flat(line.decode()):
            return None
        record = json.loads(line.decode()) if completed is None else _unread(*completed.groups())
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and is_whole(record) else None


def _is_flat(text: str) -> bool:
    """Whether there are few texts in it, however long, and little besides. Raises ValueError for one without an end."""
    at = 0
    for _ in range(_MOST_TEXTS):
        begin = text.find('"', at, at + _LONGEST_GAP)
        if begin < 0:
            return len(text) - at <= _LONGEST_GAP
        _, at = scanstring(text, begin + 1)
    return False


def _unread(pid: bytes, result: bytes) -> Record:
    """The outcome with the text of its result, unless that is short after all. Raises ValueError, as json does."""
    text = result.decode()
    fields = {"result": json.loads(text)} if len(text) <= LONG else {"unread": text}
    return {"v": VERSION, "type": "outcome", "outcome": "completed", "pid": int(pid), **fields}


_NOTED = ("log", "progress", "began", "step", "left", "value")
_NOTES = ("waiting", *_NOTED)
_PASSED_OVER = (*_NOTED, "stack")
