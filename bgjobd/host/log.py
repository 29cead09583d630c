"""The log's console and file: lines of text, written after the commit, each place by its own thread.

The third place, the table job_logs, is the store's. A slow disk, or a console that nobody reads, costs lines there,
which are counted and said, and holds up neither the daemon nor the other place.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TextIO

from bgjob.words import EntryType
from bgjobd.host import directories
from bgjobd.host.absence import absent
from bgjobd.host.journal_priorities import Priority, prefixed

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger


# What structlog takes up where it finds it, and the daemon never uses: rich, for tracebacks, is a fifth of the start,
# greenlet 1.5 MiB, for good.
with absent("rich", "greenlet"):
    import structlog

FILE_NAME: Final = "background_jobs_errors.log"
_MOST_WAITING: Final = 10_000
"""Lines, of which a long one counts as one for each KiB."""

_GATHER: Final = 0.005
"""Seconds until lines are written, with what came meanwhile: else each would take time from who waits for an answer."""

_LAST_LINES: Final = 2.0
_DAEMON: Final = "bgjobd"


class Line(NamedTuple):
    """One line: wall time in seconds since the epoch, level, class::method (or bgjobd), and what happened.

    `is_passing`: what went wrong there is tried again. `is_grave`: somebody is to be told of it. `trace_id` is told in
    lines of JSON alone.
    """

    at: float
    type: EntryType
    target: str
    message: str
    job_id: int | None = None
    attempt: int | None = None
    context: str | None = None
    is_passing: bool = False
    is_grave: bool = False
    trace_id: str | None = None

    @property
    def priority(self) -> Priority:
        """How grave it is, for the journal."""
        if self.is_grave:
            return Priority.CRITICAL
        if self.type is not EntryType.FAILURE:
            return Priority.INFO
        return Priority.WARNING if self.is_passing else Priority.ERROR

    @property
    def weight(self) -> int:
        return 1 + (len(self.message) + len(self.context or "")) // 1024


@dataclass(frozen=True, slots=True)
class SimilarLines:
    """The same line about several jobs: one for each, at once. `each` tells the jobs' ids and their contexts, in which
    there are so many `characters`; of them the first `count` are meant.
    """

    line: Line
    count: int
    characters: int
    each: Callable[[], Iterable[tuple[int, str]]]

    @property
    def weight(self) -> int:
        return self.count + self.characters // 1024


_Batch = tuple[Line | SimilarLines | bytes, ...]
"""Lines, and what others have printed, as it is."""


class _Stderr:
    """Stderr without Python's buffer: a thread stuck in a write holds no lock that the end of the process needs."""

    def write(self, text: str) -> None:
        self.write_bytes(text.encode("utf-8", "backslashreplace"))

    def write_bytes(self, rest: bytes) -> None:
        while rest:
            rest = rest[os.write(2, rest) :]

    def flush(self) -> None:
        pass  # nothing is kept back

    def isatty(self) -> bool:
        return os.isatty(2)


class _Place(Protocol):
    """Where lines go; `info` is what structlog calls with each. They raise OSError."""

    def info(self, line: str) -> None: ...

    def pass_on(self, printed: bytes) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


class _Console:
    """A stream."""

    def __init__(self, stream: TextIO | _Stderr) -> None:
        self._stream = stream

    def info(self, line: str) -> None:
        self._stream.write(line + "\n")

    def pass_on(self, printed: bytes) -> None:
        if isinstance(self._stream, _Stderr):
            self._stream.write_bytes(printed)
        else:
            self._stream.write(printed.decode("utf-8", "replace"))

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        pass  # it is the process's


class _File:
    """The log's file; made when there is something to write, and anew after `reopen`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._must_reopen = False

    def reopen(self) -> None:
        """Let go of the file, after logrotate moved it; the next line makes a new one."""
        self._must_reopen = True

    def info(self, line: str) -> None:
        self._opened().write(line + "\n")

    def pass_on(self, printed: bytes) -> None:
        raise TypeError("the log's file has lines of the log alone")

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _opened(self) -> TextIO:
        if self._file is None or self._must_reopen:
            self._must_reopen = False
            if self._file is not None:
                self._file.close()
                self._file = None
            self._file = os.fdopen(_open(self._path), "a", encoding="utf-8", errors="backslashreplace")
        return self._file


class _Outlet:
    """The thread of a place, and what waits for it. What it did not take in time is counted, and said there later.

    `said` is that sentence, with a place for the number; `on_trouble` hears, on this thread, when the place begins to
    take nothing.
    """

    def __init__(
        self,
        name: str,
        place: _Place,
        processors: list[Any],
        said: str,
        on_trouble: Callable[[OSError | ValueError], None],
    ) -> None:
        self._place = place
        self._said = said
        self._on_trouble = on_trouble
        self._batches: SimpleQueue[tuple[_Batch, int] | None] = SimpleQueue()
        self._putting = threading.Lock()
        self._taken = 0  # by put
        self._written = 0  # by the outlet's thread alone
        self._dropped = 0
        self._is_in_trouble = False
        self._has_failed = False  # the last write
        # Bound once, and not for each line.
        self._logger = structlog.wrap_logger(place, processors=processors).bind()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, batch: _Batch, weight: int) -> None:
        """Take lines to write, which weigh so much; those for which there is no room are counted instead."""
        with self._putting:
            if self._taken - self._written + weight > _MOST_WAITING:
                batch, weight = self._fitting(batch)
            self._taken += weight
        if batch:
            self._batches.put((batch, weight))

    def _fitting(self, batch: _Batch) -> tuple[_Batch, int]:
        """The first of these lines, as many as there is room for, and what they weigh."""
        weight, room = 0, _MOST_WAITING - (self._taken - self._written)
        for place, one in enumerate(batch):
            left = room - weight
            if isinstance(one, SimilarLines) and 0 < left < one.count:
                self._dropped += one.count - left + sum(map(_count, batch[place + 1 :]))
                return (*batch[:place], replace(one, count=left)), room
            if left <= 0:
                self._dropped += sum(map(_count, batch[place:]))
                return batch[:place], weight
            weight += _weight(one)
        return batch, weight

    def end(self) -> None:
        """Take no more."""
        self._batches.put(None)

    def wait(self, seconds: float) -> None:
        """Until what was taken is written, but so long at most."""
        self._thread.join(max(0.0, seconds))

    def _run(self) -> None:
        while (gathered := self._gathered())[0] is not None:
            for taken in gathered:
                if taken is not None:
                    self._write_all(*taken)
            if gathered[-1] is None:
                break
            if self._batches.empty():
                self._write_dropped()
                self._flush()
        self._write_dropped()
        self._flush()
        self._place.close()

    def _gathered(self) -> list[tuple[_Batch, int] | None]:
        """What there is to write, once there is something; None is the end."""
        gathered = [self._batches.get()]
        if gathered[0] is not None:
            time.sleep(_GATHER)
        with suppress(Empty):
            while gathered[-1] is not None:
                gathered.append(self._batches.get_nowait())
        return gathered

    def _write_all(self, batch: _Batch, weight: int) -> None:
        for one in batch:
            self._write(one)
        self._written += weight

    def _write(self, one: Line | SimilarLines | bytes) -> None:
        try:
            if isinstance(one, bytes):
                self._place.pass_on(one)
            elif isinstance(one, SimilarLines):
                self._render(one.line, each=one.each, count=one.count)
            else:
                self._render(one)
        except (OSError, ValueError) as error:
            self._drop(_count(one))
            self._has_failed = True
            self._begin_trouble(error)
        else:
            self._has_failed = False

    def _render(self, line: Line, **of_several: Any) -> None:
        facts = {
            "job": line.job_id,
            "attempt": line.attempt,
            "context": line.context,
            "trace_id": line.trace_id,
        }
        facts |= of_several
        self._logger.info(
            line.message,
            at=line.at,
            type=line.type,
            target=line.target,
            priority=line.priority,
            **{name: value for name, value in facts.items() if value is not None},
        )

    def _drop(self, lines: int) -> None:
        with self._putting:
            self._dropped += lines

    def _begin_trouble(self, error: OSError | ValueError) -> None:
        if not self._is_in_trouble:
            self._is_in_trouble = True
            self._on_trouble(error)

    def _write_dropped(self) -> None:
        with self._putting:
            dropped, self._dropped = self._dropped, 0
        if not dropped:
            return
        self._write(Line(time.time(), EntryType.FAILURE, _DAEMON, self._said.format(_lines(dropped))))
        if self._has_failed:
            self._drop(dropped - 1)  # still no room; the number is said later

    def _flush(self) -> None:
        try:
            self._place.flush()
        except OSError as error:
            self._begin_trouble(error)  # a full disk or a closed console; the table has every line
        else:
            self._is_in_trouble = self._has_failed


def _weight(one: Line | SimilarLines | bytes) -> int:
    """How many of the most that may wait it counts as."""
    return 1 + len(one) // 1024 if isinstance(one, bytes) else one.weight


def _count(one: Line | SimilarLines | bytes) -> int:
    """How many lines it is."""
    if isinstance(one, Line):
        return 1
    return one.count if isinstance(one, SimilarLines) else one.count(b"\n")


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count} lines"


class Log:
    """Takes lines without ever blocking; `close` writes what is left. `for_journald`: who reads the console is told how
    grave each line is.
    """

    def __init__(
        self,
        directory: Path,
        console: str,
        level: str = "info",
        snapshots: bool = False,
        stream: TextIO | None = None,
        for_journald: bool = False,
    ) -> None:
        self._file = _File(directory / FILE_NAME)
        opened: TextIO | _Stderr = stream or _Stderr()
        mode = console if console != "auto" else ("text" if opened.isatty() else "json")
        render = _render_line if snapshots else _render_line_without_context
        rendered = (_with_priority if for_journald else _plain)(_CONSOLES[mode])
        levels = [_failures_only] if level in ("warning", "error") else []
        said = "{} could not be written here in time; the table job_logs has all that is about jobs"
        self._to_file = _Outlet("log", self._file, [render, _as_text], said, self._tell_of_file)
        said = "{} were dropped here, as stderr was not read; the log's file has them"
        self._to_console = _Outlet(
            "console", _Console(opened), [render, *levels, rendered], said, lambda error: None
        )
        self._outlets = (self._to_file,) if mode == "none" else (self._to_file, self._to_console)

    def put(self, lines: Iterable[Line | SimilarLines]) -> None:
        """Take lines to write."""
        batch = tuple(lines)
        weight = sum([line.weight for line in batch])
        for outlet in self._outlets:
            outlet.put(batch, weight)

    def say(self, type: EntryType, message: str, at: float, is_grave: bool = False) -> None:
        """Take one line about the daemon itself."""
        self.put([Line(at, type, _DAEMON, message, is_grave=is_grave)])

    def pass_on(self, printed: bytes) -> None:
        """Take what others have printed, for the console alone."""
        self._to_console.put((printed,), _weight(printed))

    def reopen(self) -> None:
        """Let go of the file, after logrotate moved it; the next line makes a new one."""
        self._file.reopen()

    def close(self) -> None:
        """Write what was taken so far, if console and disk let it within two seconds."""
        end = time.monotonic() + _LAST_LINES
        both = (self._to_file, self._to_console)
        for outlet in both:
            outlet.end()
        for outlet in both:
            outlet.wait(end - time.monotonic())

    def _tell_of_file(self, error: OSError | ValueError) -> None:
        message = (
            f"the log's file cannot be written: {error}; until it can, its lines are on the console alone"
        )
        if self._to_console in self._outlets:
            line = Line(time.time(), EntryType.FAILURE, _DAEMON, message)
            self._to_console.put((line,), line.weight)


def _open(path: Path) -> int:
    """The file, made for our eyes only, or what a link of ours leads to, such as /dev/stdout; no stranger's link is
    followed, and no pipe waited for that nobody reads. Raises OSError.
    """
    mode = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, mode | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno != errno.ELOOP or directories.is_strangers(path.lstat()):
            raise
        descriptor = os.open(path, mode, 0o600)
    os.set_blocking(descriptor, True)
    return descriptor


def _render_line(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    line = _line(event)
    contexts = [context for _, context in _each(event)] if "each" in event else [event.get("context")]
    begin = f"\n{_stamp(event['at'])} {event['type'].upper()}: "
    event["line"] = "\n".join(
        [line if context is None else f"{line}{begin}{escaped(context)}" for context in contexts]
    )
    return event


def _render_line_without_context(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    event["line"] = "\n".join([_line(event)] * event.get("count", 1))
    return event


def _line(event: EventDict) -> str:
    return f"{_stamp(event['at'])} {event['type'].upper()}: {escaped(event['target'])} - {escaped(event['event'])}"


def _each(event: EventDict) -> Iterable[tuple[int, str]]:
    """The jobs that it tells of, each with its context, where these are several."""
    return islice(event["each"](), event["count"])


def _stamp(at: float) -> str:
    return _second(int(at))


@lru_cache(maxsize=8)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("[%Y-%m-%d %H:%M:%S]")


def escaped(text: str) -> str:
    """The text with control characters, line ends and bidirectional overrides shown as escapes: one line stays one."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def escaped_json(document: str) -> str:
    """The same of a JSON document: JSON leaves DEL, C1 and what turns text around as they are, a terminal does not."""
    if document.isprintable():
        return document
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in document)


def _failures_only(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    if event["type"] != EntryType.FAILURE:
        raise structlog.DropEvent
    return event


_Render = Callable[["WrappedLogger", str, "EventDict"], str]


def _plain(render: _Render) -> _Render:
    def rendered(logger: WrappedLogger, name: str, event: EventDict) -> str:
        del event["priority"]
        return render(logger, name, event)

    return rendered


def _with_priority(render: _Render) -> _Render:
    def rendered(logger: WrappedLogger, name: str, event: EventDict) -> str:
        priority = event.pop("priority")
        return prefixed(render(logger, name, event), priority)

    return rendered


def _as_text(logger: WrappedLogger, name: str, event: EventDict) -> str:
    return str(event["line"])


def _as_json(logger: WrappedLogger, name: str, event: EventDict) -> str:
    """A document a line; the context, which is JSON already, as an object in it."""
    event.pop("line")
    event["at"] = datetime.fromtimestamp(event["at"], UTC).isoformat(timespec="microseconds")
    if "each" in event:
        return _each_as_json(event)
    context = event.pop("context", None)
    rendered = _json(event)
    return escaped_json(rendered if context is None else f'{rendered[:-1]}, "context": {context}}}')


def _each_as_json(event: EventDict) -> str:
    """A line for each job; what is the same in all is written out once."""
    begin = _json({name: event[name] for name in ("at", "type", "target", "trace_id") if name in event})[:-1]
    end = _json({"event": event["event"]})[1:-1]
    lines = [f'{begin}, "job": {job}, {end}, "context": {context}}}' for job, context in _each(event)]
    return "\n".join(map(escaped_json, lines))


_json = json.JSONEncoder(ensure_ascii=False).encode


def _as_nothing(logger: WrappedLogger, name: str, event: EventDict) -> str:
    raise structlog.DropEvent


_CONSOLES: Final = {"text": _as_text, "json": _as_json, "none": _as_nothing}
