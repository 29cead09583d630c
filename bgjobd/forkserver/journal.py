"""The journal of an attempt: JSON lines in the spool, whose first line decides whether the attempt starts.

The file appears under its name by `link`, whole and never empty: with a `started` record by the attempt's own
process, or with a `fenced` record by a daemon that gives the job back. Whoever comes second finds the name
taken. Later records are appended; a torn line is skipped, so each record after the first begins on a new line.
"""

from __future__ import annotations

import errno
import json
import os
import time
from typing import Any, NamedTuple

Record = dict[str, Any]

VERSION = 1
MAX_RESULT = 1024 * 1024
MAX_TEXT = 64 * 1024
_MAX_SIZE = 8 * 1024 * 1024


def file_name(job: int, number: int) -> str:
    """The journal's name in the spool."""
    return f"{job}.{number}.journal"


# The records of every attempt are formatted by hand: a fresh child pays for each page of memory that it touches
# first, and the JSON encoder touches more of them than all the rest of a small attempt.


def started(token: str, pid: int, start_time: int, pidfd_inode: int, boot_id: str) -> bytes:
    """The line of a `started` record: this process, at this moment. Token and boot id are plain hexadecimal."""
    return (
        f'{{"v":{VERSION},"type":"started","token":"{token}","pid":{pid},"start_time":{start_time},'
        f'"pidfd_inode":{pidfd_inode},"boot_id":"{boot_id}","monotonic":{time.monotonic():.6f},"at":{time.time():.6f}}}\n'
    ).encode()


def completed(pid: int, result: str) -> bytes:
    """The line of an `outcome` record for a method that returned; `result` is JSON text."""
    return (
        f'{{"v":{VERSION},"type":"outcome","outcome":"completed","pid":{pid},"result":{result}}}\n'.encode()
    )


def exited(pid: int, at: float, code: int | None, signal: int | None, usage: Record | None = None) -> bytes:
    """The line of an `exit` record: the exit code or the signal, and what was used once that is known."""
    return _line({"type": "exit", "pid": pid, "at": at, "code": code, "signal": signal, "usage": usage})


def failed(pid: int, error_type: str, message: str, traceback: str, may_retry: bool) -> bytes:
    """The line of an `outcome` record for a method that raised."""
    return _line(
        {
            "type": "outcome",
            "outcome": "failed",
            "pid": pid,
            "error_type": error_type,
            "error_message": message[:MAX_TEXT],
            "traceback": traceback[-MAX_TEXT:],
            "may_retry": may_retry,
        }
    )


def fenced() -> bytes:
    """The line of a `fenced` record: this attempt does not start."""
    return _line({"type": "fenced"})


def link_first(spool: int, name: str, line: bytes) -> int | None:
    """Create the journal with its first line, in the directory `spool` (a descriptor).

    Answers the journal's descriptor, open for appending, or None if the name is taken: somebody else decided.
    """
    journal = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600, dir_fd=spool)
    os.write(journal, line)
    try:
        os.link(f"/proc/self/fd/{journal}", name, src_dir_fd=spool, dst_dir_fd=spool, follow_symlinks=True)
    except FileExistsError:
        os.close(journal)
        return None
    return journal


def append(journal: int, line: bytes) -> None:
    """Append a record in one write, away from a torn line before it. Raises OSError, also for a write cut short."""
    if os.write(journal, b"\n" + line) <= len(line):
        raise OSError(errno.ENOSPC, "the journal took only a part of a record")


def _line(record: Record) -> bytes:
    return json.dumps({"v": VERSION, **record}, separators=(",", ":")).encode() + b"\n"


class Journal(NamedTuple):
    """What an attempt's journal says; the records as they stand, None where there is none."""

    started: Record | None = None
    fenced: Record | None = None
    outcome: Record | None = None
    exit: Record | None = None


def try_read(spool: int, name: str) -> Journal | None:
    """The journal of this name, or None where there is no such file.

    The first outcome wins, and only one written by the attempt's own process counts; the last exit wins.
    """
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=spool)
    except FileNotFoundError:
        return None
    try:
        return parse(_whole(descriptor))
    finally:
        os.close(descriptor)


def parse(text: bytes) -> Journal:
    """The journal of these lines; whatever is no record is skipped."""
    found: dict[str, Record] = {}
    for line in text.split(b"\n"):
        record = _try_record(line) if line else None
        if record is None:
            continue
        kind = record["type"]
        if kind == "outcome" and record.get("pid") != found.get("started", {}).get("pid"):
            continue
        if kind == "exit" or kind not in found:
            found[kind] = record
    return Journal(found.get("started"), found.get("fenced"), found.get("outcome"), found.get("exit"))


def _whole(descriptor: int) -> bytes:
    parts = []
    left = _MAX_SIZE
    while left > 0 and (part := os.read(descriptor, min(left, 65536))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _try_record(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    is_record = isinstance(record, dict) and isinstance(record.get("type"), str)
    return record if is_record else None
