"""The lines of a journal, as those write them that have something to say, and how much that may be."""

from __future__ import annotations

import json
import time
from typing import Any

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

_SHORT = 4 * 1024
_SHORT_NAME = 100


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


def _line(record: Record) -> bytes:
    return _ENCODER.encode({"v": VERSION, **record}).encode() + b"\n"


_ENCODER = json.JSONEncoder(separators=(",", ":"))


def _plain_line(record: Record) -> bytes:
    """The same of texts that UTF-8 holds as they are, in fewer bytes."""
    return json.dumps({"v": VERSION, **record}, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
