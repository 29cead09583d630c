"""The journal of an attempt: JSON lines in the spool, whose first line decides whether the attempt starts.

The file appears under its name by `link`, whole and never empty: with a `started` record by the attempt's own
process, or with a `fenced` record by a daemon that gives the job back. Whoever comes second finds the name
taken. Later records are appended; a torn line is skipped, so each record after the first begins on a new line.
"""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import stat
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from json.decoder import scanstring  # type: ignore[attr-defined]  # typeshed leaves it out
from types import NoneType
from typing import Any, NamedTuple

from . import libc
from .fingerprints import Whence

Record = dict[str, Any]

VERSION = 1
MAX_RESULT = 1024 * 1024
MAX_NESTING = 100
MAX_TEXT = 64 * 1024
MAX_LOGS = 1000
MAX_PROGRESS = 2000
MAX_STEPS = 1000  # that begin, and as many that are done
# The last progress; that entries are left out, how many, and values; that prints are lost; that it waits; which steps
# did not come.
MAX_NOTES = MAX_LOGS + MAX_PROGRESS + 7 + 2 * MAX_STEPS
MAX_VALUES = 10_000
MAX_VALUE = 64 * 1024
MAX_VALUED = 1024 * 1024
MAX_NOTED = 1024 * 1024
MAX_STACKS = 50
MAX_STACK = 256 * 1024
MAX_ALL_STACKS = 2 * 1024 * 1024
"""So many times a process tells where it is, each time in so many bytes, and in so many all in all: what comes behind
must stand where it is read.
"""

RESERVE = 16 * 1024
"""Bytes that the file system owes a journal from its start on, so that an end can be recorded however full it is."""

ENDING = 8 * 1024
"""What of them no note takes: a short outcome, that a result waits for room, and the exit."""

EXIT = 2 * 1024
"""What of them no outcome takes: the exit record, twice."""

ATTEMPT, HOOK, ON_FAILURE = "journal", "hook", "on_failure"
"""The kinds of journals: an attempt's, that of its class's `failed` hook, that of the function for all classes."""

HOOKS = (HOOK, ON_FAILURE)

CARRY = "carry"
"""The kind of the file that tells an attempt what those before it have finished."""

STATE = "state"
"""The kind of the file in which an attempt saves its job's state."""

_SHORT = 4 * 1024
_SHORT_NAME = 100
_PAGE = 4096
_KEEP_SIZE = 1
"""FALLOC_FL_KEEP_SIZE of linux/falloc.h."""

_CANNOT_RESERVE = frozenset({errno.EOPNOTSUPP, errno.ENOSYS})

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOMEM})
"""Why a record cannot be written now, and can later: it is the file system's trouble, not the journal's."""

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
_MAX_LINES = (
    MAX_NOTES + MAX_VALUES + MAX_STACKS + 100
)  # half of what an honest journal has: each record comes after an empty line
_BEGINNING = b'{"v":'
_KIND = re.compile(rb'"type": ?"([a-z]+)"')
_MAX_FIELDS = 200
"""Bytes of a record in which its kind stands."""

_MAX_TRIES = 32
"""So many lines may say that they are of one kind, until one of them is: what is beyond a job has written."""

_PORTION = 64 * 1024
_MAX_AT_ONCE = 200
"""Bytes and lines in which notes are read at once: half a millisecond, or one if a job has written them by itself."""
_DIGITS = len(str(2**63))
_GONE = frozenset({errno.ENOENT, errno.EACCES})
"""Why a file will never be read: it is not there, or the job forbade it. Anything else may pass."""

_NO_TRICKS = os.O_NOFOLLOW | os.O_NONBLOCK  # a job may have put anything under the name


def file_name(job: int, number: int, kind: str = ATTEMPT) -> str:
    """The name of an attempt's file: in the spool its `journal`, its hooks', its `stop` reason, or that it is
    `bereft` of its journal; its output, `out`.
    """
    return f"{job}.{number}.{kind}"


def directory_name(job: int, number: int, kind: str = ATTEMPT) -> str:
    """The name of the directory that an attempt, or a hook after it, works in, and of its cgroup."""
    return f"{job}.{number}" if kind == ATTEMPT else file_name(job, number, kind)


def try_directory_key(name: str) -> tuple[int, int] | None:
    """Job and attempt number of a directory with such a name; None for any other."""
    return try_key(name, *HOOKS) if name.count(".") == 2 else try_key(f"{name}.", "")


def try_key(name: str, *kinds: str) -> tuple[int, int] | None:
    """Job and attempt number of a file with such a name, of one of these kinds; None for any other.

    A job may have put there what file_name would never have: that is not taken for an attempt's.
    """
    job, _, rest = name.partition(".")
    number, _, kind = rest.partition(".")
    return (int(job), int(number)) if kind in kinds and _is_plain(job) and _is_plain(number) else None


def _is_plain(number: str) -> bool:
    """Whether it is written as file_name writes it, and SQLite can hold it: a job may have made up the name."""
    return number.isascii() and number.isdecimal() and number[0] != "0" and len(number) < _DIGITS


# The records of every attempt are formatted by hand: a fresh child pays for each page of memory that it touches
# first, and the JSON encoder touches more of them than all the rest of a small attempt.


def started(
    token: str,
    pid: int,
    start_time: int,
    pidfd_inode: int,
    boot_id: str,
    monotonic: float,
    mark: str = "",
    has_state: bool = False,
    grace: float | None = None,
) -> bytes:
    """The line of a `started` record: this process, at this moment. Token, `boot_id`, which is that of its life, and
    `mark`, that of its fork server, are plain: hexadecimal, and hyphens. `has_state`: it has a file for that.
    `grace` is how many seconds it gets where its host is cut off from the database, None where it goes on then.
    """
    more = ',"state":true' if has_state else ""
    more += "" if grace is None else f',"grace":{grace:.3f}'
    return (
        f'{{"v":{VERSION},"type":"started","token":"{token}","pid":{pid},"start_time":{start_time},'
        f'"pidfd_inode":{pidfd_inode},"boot_id":"{boot_id}","mark":"{mark}","monotonic":{monotonic:.6f},"at":{time.time():.6f}{more}}}\n'
    ).encode()


def completed(pid: int, result: str) -> bytes:
    """The line of an `outcome` record for a method that returned; `result` is JSON text."""
    return (
        f'{{"v":{VERSION},"type":"outcome","outcome":"completed","pid":{pid},"result":{result}}}\n'.encode()
    )


def exited(pid: int, at: float, code: int | None, signal: int | None, **more: Any) -> bytes:
    """The line of an `exit` record: the exit code or the signal; when that was by a clock that nobody sets
    (`monotonic`); where that may be for CPU time, the seconds that its process has spent (`own_cpu`); why its fork
    server has told it to stop (`stopped`); and once that is known, the `usage`, how many processes were left behind and
    killed (`strays`), some names of their programs (`stray_names`), and how many the kernel killed for their memory
    (`oom_kills`).
    """
    return _line({"type": "exit", "pid": pid, "at": at, "code": code, "signal": signal, **more})


def failed(
    pid: int,
    error_type: str,
    message: str,
    traceback: str,
    may_retry: bool,
    delay: float | None = None,
    exceeded: Record | None = None,
    error_class: str | None = None,
    whence: Whence | None = None,
) -> bytes:
    """The line of an `outcome` record for a method that raised; `delay` is the job's own wish, in seconds.

    `exceeded` names the limit that the error was about, how many bytes were used, and the most that may be;
    `error_class` is the type with its module, `whence` which error it is, where that can be told.
    """
    told = {} if whence is None else {name: value for name, value in whence._asdict().items() if value}
    return _line(
        {
            "type": "outcome",
            "outcome": "failed",
            "pid": pid,
            "error_type": error_type,
            "error_class": error_class,
            "error_message": message[:MAX_TEXT],
            "traceback": traceback[-MAX_TEXT:],
            "may_retry": may_retry,
            "delay": delay,
            "exceeded": exceeded,
            **told,
        }
    )


def snoozed(pid: int, delay: float, throttles: str | None = None) -> bytes:
    """The line of an `outcome` record for a method that asked for another attempt later; `throttles` says whom it keeps
    from starting until then, "class", "key" or "job", where it asked for that.
    """
    more = {} if throttles is None else {"throttles": throttles}
    return _line({"type": "outcome", "outcome": "snoozed", "pid": pid, "delay": delay, **more})


def suspended(pid: int, kind: str, name: str, turn: int, delay: float | None, until: float | None) -> bytes:
    """The line of an `outcome` record for a method that sleeps, or waits: for what, how many seconds or until when."""
    wait = {"kind": kind, "name": name, "turn": turn, "delay": delay, "until": until}
    return _line({"type": "outcome", "outcome": "suspended", "pid": pid, **wait})


def exiting(pid: int, code: int) -> bytes:
    """The line of an `outcome` record for a method that ends its process, by sys.exit."""
    return _line({"type": "outcome", "outcome": "exited", "pid": pid, "exit_code": code})


def noted(pid: int, kind: str, at: float, message: str, **more: Any) -> bytes:
    """The line of a `log` or `progress` record: what the job itself tells while it runs."""
    return _line({"type": kind, "pid": pid, "at": at, "message": message[:MAX_TEXT], **more})


def began(pid: int, at: float, name: str) -> bytes:
    """The line of a `began` record: this step of the job runs now."""
    return _plain_line({"type": "began", "pid": pid, "at": at, "name": name})


def step(pid: int, at: float, name: str, result: str, is_awaited: bool) -> bytes:
    """The line of a `step` record: this one is done. Its `result` is JSON text, so that a record is flat if long."""
    told = {"is_awaited": is_awaited, "result": result}
    return _plain_line({"type": "step", "pid": pid, "at": at, "name": name, **told})


def value(pid: int, at: float, place: int, step: str | None, value: str) -> bytes:
    """The line of a `value` record: what the job tells whoever follows it, JSON text. `place` is that among the values
    outside of steps, 0 within `step`.
    """
    told = {"place": place, "step": step, "value": value}
    return _plain_line({"type": "value", "pid": pid, "at": at, **told})


def left(pid: int, at: float, names: list[str]) -> bytes:
    """The line of a `left` record: finished steps that did not come again. The names are JSON text, so that a record is
    flat if long; of very many the first.
    """
    while len(text := json.dumps(names, ensure_ascii=False)) > MAX_TEXT:
        names = names[: len(names) // 2]
    return _plain_line({"type": "left", "pid": pid, "at": at, "names": text})


def stack(pid: int, at: float, told: str) -> bytes:
    """The line of a `stack` record: where the process is, for somebody has asked. JSON text: a long record is flat."""
    return _plain_line({"type": "stack", "pid": pid, "at": at, "stack": told})


def waiting(pid: int, at: float, size: int, message: str) -> bytes:
    """The line of a `waiting` record: the method has returned, and its result of so many bytes finds no room."""
    record = {"type": "waiting", "pid": pid, "at": at, "size": size, "message": message[: _SHORT // 16]}
    return _line(record)


def shortened(line: bytes) -> bytes | None:
    """The line of a `failed` outcome with less of its texts, as it fits into the reserve; None for any other."""
    record: Record = json.loads(line)
    if record["outcome"] != "failed":
        return None
    is_short = len(record["error_class"] or "") <= _SHORT_NAME  # a part of it would be another class
    record |= {
        "error_type": record["error_type"][:_SHORT_NAME],
        "error_class": record["error_class"] if is_short else None,
    }
    for name in ("place", "line", "name"):
        if len(record.get(name, "")) > _SHORT_NAME:
            del record[name]
    most = _SHORT // 2
    while len(line) > _SHORT:
        record |= {"error_message": record["error_message"][:most], "traceback": record["traceback"][-most:]}
        line, most = _line(record), most // 2
    return line


def fenced(servers: list[str] | None = None) -> bytes:
    """The line of a `fenced` record: this attempt does not start. `servers` are the marks of the fork servers that may
    still have the start before them, where that is known.
    """
    return _line({"type": "fenced"} if servers is None else {"type": "fenced", "servers": servers})


def link_first(spool: int, name: str, line: bytes, reserve: int = 0) -> int | None:
    """Create the journal with its first line, in the directory `spool` (a descriptor), and so much room for others.

    Answers the journal's descriptor, open for appending, or None if the name is taken: somebody else decided.
    """
    journal = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600, dir_fd=spool)
    try:
        if os.write(journal, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        set_aside(journal, reserve)
        os.link(f"/proc/self/fd/{journal}", name, src_dir_fd=spool, dst_dir_fd=spool, follow_symlinks=True)
    except FileExistsError:
        os.close(journal)
        return None
    except OSError:
        os.close(journal)
        raise
    return _by_name(spool, name, journal)


def _by_name(spool: int, name: str, journal: int) -> int:
    """The journal, opened by its name: inotify tells of a change by the name that the file was opened by."""
    try:
        named = os.open(name, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | _NO_TRICKS, dir_fd=spool)
    except OSError:
        return journal  # somebody has taken the name away
    one, other = os.fstat(named), os.fstat(journal)
    is_same = (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
    os.close(journal if is_same else named)
    return named if is_same else journal


def set_aside(journal: int, end: int) -> None:
    """Have the file system owe the journal all bytes below `end`, whatever its size. Raises OSError.

    Where a file system cannot do that, an end may find no room. Beyond RLIMIT_FSIZE it is not tried: that may kill.
    """
    known = os.fstat(journal).st_blocks * 512 // _PAGE * _PAGE
    if end <= known:
        return
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if most != resource.RLIM_INFINITY and end > most:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    try:
        # And nothing below: an error may take that away.
        libc.fallocate(journal, _KEEP_SIZE, known, end - known)
    except OSError as error:
        if error.errno not in _CANNOT_RESERVE:
            raise


def append_within(journal: int, line: bytes, now: os.stat_result, left: int) -> None:
    """Append a record, whole or not at all, and leave so many bytes to those who come later; `now` is the journal.

    Raises OSError.
    """
    end = now.st_size + 1 + len(line) + left
    if end > now.st_blocks * 512 // _PAGE * _PAGE:
        set_aside(journal, end)
    try:
        append(journal, line)
    except OSError:
        with suppress(OSError):
            os.ftruncate(journal, now.st_size)  # a part of it would take the room that others were left
        raise


def append(journal: int, line: bytes) -> None:
    """Append a record in one write, away from a torn line before it. Raises OSError, also for a write cut short."""
    if os.write(journal, b"\n" + line) <= len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _line(record: Record) -> bytes:
    return json.dumps({"v": VERSION, **record}, separators=(",", ":")).encode() + b"\n"


def _plain_line(record: Record) -> bytes:
    """The same of texts that UTF-8 holds as they are, in fewer bytes."""
    return json.dumps({"v": VERSION, **record}, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


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


def try_open(spool: int, name: str) -> int | None:
    """What has this name in the spool, open for reading; None where there is nothing to read, nor will be.

    Raises OSError where a file is there and cannot be opened for now.
    """
    try:
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC | _NO_TRICKS, dir_fd=spool)
    except OSError as error:
        if error.errno in _GONE or not _is_file(spool, name):
            return None  # gone, or replaced by something that is no file: either way there is none
        raise


def _is_file(spool: int, name: str) -> bool:
    """Whether a file has this name; asked without a descriptor. Raises OSError."""
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=spool, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


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
    return record if isinstance(record, dict) and _is_whole(record) else None


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

_LARGEST = 2**53
"""No number of ours comes near; what is beyond, or no number, would not fit the database either."""

_RANGES = {
    "pid": (1, 2**22),
    "at": (0.0, 253_402_300_799.0),
    "strays": (0, 2**22),
    "oom_kills": (0, 2**22),
    "exit_code": (0, 255),
    "turn": (1, 1000),
    "place": (0, _LARGEST),
    "until": (0.0, 253_402_300_799.0),
    "own_cpu": (0.0, _LARGEST),
    "max_rss": (0, _LARGEST),
    "cpu_user": (0.0, _LARGEST),
    "cpu_system": (0.0, _LARGEST),
    "output_bytes": (0, _LARGEST),
    "used": (0, _LARGEST),
    "size": (0, _LARGEST),
    "most": (0, 2**63 - 1),
    "monotonic": (0.0, _LARGEST),
    "grace": (0.0, _LARGEST),
}
"""The kernel's largest pid, and the last second of the year 9999: what is beyond is no process, and no date."""


class _Field(NamedTuple):
    """One that a record must have, or may: of which types, and the least and the most that a number may be."""

    name: str
    types: frozenset[type]
    least: float
    most: float


def _fields(**types: type | tuple[type, ...]) -> tuple[_Field, ...]:
    return tuple(
        _Field(
            name,
            frozenset(each if isinstance(each, tuple) else (each,)),
            *_RANGES.get(name, (-_LARGEST, _LARGEST)),
        )
        for name, each in types.items()
    )


_NUMBER = (int, float)
_FIELDS = {
    "started": _fields(token=str, pid=int, start_time=int, pidfd_inode=int, monotonic=_NUMBER, at=_NUMBER),
    "fenced": (),
    "outcome": _fields(pid=int, outcome=str),
    "exit": _fields(pid=int, at=_NUMBER, code=(int, NoneType), signal=(int, NoneType)),
    "log": _fields(pid=int, at=_NUMBER, message=str, level=str),
    "progress": _fields(pid=int, at=_NUMBER, message=str, fraction=_NUMBER),
    "waiting": _fields(pid=int, at=_NUMBER, message=str, size=int),
    "began": _fields(pid=int, at=_NUMBER, name=str),
    "step": _fields(pid=int, at=_NUMBER, name=str, result=str, is_awaited=bool),
    "left": _fields(pid=int, at=_NUMBER, names=str),
    "stack": _fields(pid=int, at=_NUMBER, stack=str),
    "value": _fields(pid=int, at=_NUMBER, place=int, step=(str, NoneType), value=str),
}
_OUTCOME_FIELDS = {
    "completed": (),
    "failed": _fields(
        error_type=str, error_message=str, traceback=str, may_retry=bool, delay=(int, float, NoneType)
    ),
    "snoozed": _fields(delay=_NUMBER),
    "exited": _fields(exit_code=int),
    "suspended": _fields(
        kind=str, name=str, turn=int, delay=(int, float, NoneType), until=(int, float, NoneType)
    ),
}
_USAGE_FIELDS = _fields(max_rss=int, cpu_user=_NUMBER, cpu_system=_NUMBER, output_bytes=int)
"""What each kind of record, of outcome, and usage must have: the job could have written anything."""

_USAGE_NAMES = {field.name for field in _USAGE_FIELDS}
_EXCEEDED_FIELDS = _fields(limit=str, used=int, most=int)

_MORE_FIELDS = _fields(
    strays=int,
    oom_kills=int,
    own_cpu=_NUMBER,
    monotonic=_NUMBER,
    error_class=(str, NoneType),
    throttles=(str, NoneType),
    stopped=str,
    grace=_NUMBER,
)
"""What an exit record may have, or an outcome, and those of older versions have not."""


def _is_whole(record: Record) -> bool:
    if not _has(record, _FIELDS.get(str(record.get("type")))):
        return False
    if not _has(record, [field for field in _MORE_FIELDS if field.name in record]):
        return False
    if not all(_are_names(record[name]) for name in ("stray_names", "servers") if name in record):
        return False
    if record.get("exceeded") is not None and not _is_exceeded(record["exceeded"]):
        return False
    if record["type"] == "exit" and record.get("usage") is not None:
        usage = record["usage"]
        return isinstance(usage, dict) and usage.keys() == _USAGE_NAMES and _has(usage, _USAGE_FIELDS)
    return record["type"] != "outcome" or _has(record, _OUTCOME_FIELDS.get(record["outcome"]))


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_exceeded(value: object) -> bool:
    return isinstance(value, dict) and _has(value, _EXCEEDED_FIELDS)


def _has(record: Record, fields: Iterable[_Field] | None) -> bool:
    if fields is None:
        return False
    for name, types, least, most in fields:
        value = record.get(name)
        kind = type(value)  # as JSON has them: true is no number
        if kind not in types or (kind in _NUMBER and not least <= value <= most):  # type: ignore[operator]  # a number
            return False
    return True
