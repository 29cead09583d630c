"""The log's console and file: lines in the original's format, written on a thread of their own, after the commit.

The third place, the table job_logs, is the store's. A slow disk or console costs lines here, which are counted
and said, and never holds up the daemon.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TextIO

from bgjob.words import EntryType
from bgjobd import directories
from bgjobd.lean import structlog
from bgjobd.priorities import Priority, prefixed

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

FILE_NAME: Final = "background_jobs_errors.log"
_MOST_WAITING: Final = 10_000
_LAST_LINES: Final = 2.0
_DAEMON: Final = "bgjobd"


@dataclass(frozen=True, slots=True)
class Line:
    """One line: wall time in seconds since the epoch, level, class::method (or bgjobd), and what happened.

    `is_passing`: what went wrong there is tried again.
    """

    at: float
    type: EntryType
    target: str
    message: str
    job_id: int | None = None
    attempt: int | None = None
    context: str | None = None
    is_passing: bool = False

    @property
    def priority(self) -> Priority:
        """How grave it is, for the journal."""
        if self.type is not EntryType.FAILURE:
            return Priority.INFO
        return Priority.WARNING if self.is_passing else Priority.ERROR


class _Console:
    """Stderr without Python's buffer: a thread stuck in a write holds no lock that the end of the process needs."""

    def write(self, text: str) -> None:
        rest = text.encode("utf-8", "backslashreplace")
        while rest:
            rest = rest[os.write(2, rest) :]

    def flush(self) -> None:
        pass  # nothing is kept back

    def isatty(self) -> bool:
        return os.isatty(2)


class _Writes:
    """What structlog calls at the end of its processors: writes the rendered line to the stream."""

    def __init__(self, stream: TextIO | _Console) -> None:
        self._stream = stream

    def info(self, line: str) -> None:
        self._stream.write(line + "\n")


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
        self._path = directory / FILE_NAME
        self._stream: TextIO | _Console = stream or _Console()
        self._batches: SimpleQueue[tuple[Line, ...] | None] = SimpleQueue()
        self._taken = 0  # by put, on the caller's thread alone
        self._written = 0  # by the log's thread alone
        self._dropped = 0
        self._file: TextIO | None = None
        self._must_reopen = False
        self._logger = structlog.wrap_logger(
            _Writes(self._stream), processors=self._processors(console, level, snapshots, for_journald)
        )
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def put(self, lines: Iterable[Line]) -> None:
        """Take lines to write; those for which there is no room are counted instead."""
        batch = tuple(lines)
        fitting = batch[: max(0, _MOST_WAITING - (self._taken - self._written))]
        self._dropped += len(batch) - len(fitting)
        if fitting:
            self._taken += len(fitting)
            self._batches.put(fitting)

    def say(self, type: EntryType, message: str, at: float) -> None:
        """Take one line about the daemon itself."""
        self.put([Line(at, type, _DAEMON, message)])

    def reopen(self) -> None:
        """Let go of the file, after logrotate moved it; the next line makes a new one."""
        self._must_reopen = True

    def close(self) -> None:
        """Write what was taken so far, if console and disk let it within two seconds."""
        self._batches.put(None)
        self._thread.join(_LAST_LINES)

    def _run(self) -> None:
        at = 0.0
        while (batch := self._batches.get()) is not None:
            for line in batch:
                self._write(line)
                self._written += 1
            at = batch[-1].at
            if self._batches.empty():
                self._write_dropped(at)
                self._flush()
        self._write_dropped(at)
        self._flush()
        if self._file is not None:
            self._file.close()

    def _write(self, line: Line) -> None:
        facts = {"job": line.job_id, "attempt": line.attempt, "context": line.context}
        try:
            self._logger.info(
                line.message,
                at=line.at,
                type=line.type,
                target=line.target,
                priority=line.priority,
                **{name: value for name, value in facts.items() if value is not None},
            )
        except (OSError, ValueError):
            self._dropped += 1

    def _write_dropped(self, at: float) -> None:
        dropped, self._dropped = self._dropped, 0
        if not dropped:
            return
        self._write(Line(at, EntryType.FAILURE, _DAEMON, f"{dropped} log lines could not be written in time"))
        if self._dropped:
            self._dropped = dropped  # still no room; the number is said later

    def _flush(self) -> None:
        for stream in (self._file, self._stream):
            try:
                if stream is not None:
                    stream.flush()
            except OSError:
                continue  # a full disk or a closed console; the table has every line

    # structlog's processors, in order

    def _processors(self, console: str, level: str, snapshots: bool, for_journald: bool) -> list[Any]:
        mode = console if console != "auto" else ("text" if self._stream.isatty() else "json")
        steps: list[Any] = [_render_line if snapshots else _render_line_without_context, self._to_file]
        if level in ("warning", "error"):
            steps.append(_failures_only)
        return [*steps, (_with_priority if for_journald else _plain)(_CONSOLES[mode])]

    def _to_file(self, logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
        try:
            self._opened().write(event["line"] + "\n")
        except OSError:
            self._dropped += 1  # the console, and the table, have the line all the same
        return event

    def _opened(self) -> TextIO:
        if self._file is None or self._must_reopen:
            self._must_reopen = False
            if self._file is not None:
                self._file.close()
                self._file = None
            self._file = os.fdopen(_open(self._path), "a", encoding="utf-8", errors="backslashreplace")
        return self._file


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
    event = _render_line_without_context(logger, name, event)
    if "context" in event:
        event["line"] += f"\n{_stamp(event['at'])} {event['type'].upper()}: {escaped(event['context'])}"
    return event


def _render_line_without_context(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    event["line"] = (
        f"{_stamp(event['at'])} {event['type'].upper()}: {escaped(event['target'])} - {escaped(event['event'])}"
    )
    return event


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
    event.pop("line")
    event["at"] = datetime.fromtimestamp(event["at"], UTC).isoformat(timespec="microseconds")
    rendered = structlog.processors.JSONRenderer(ensure_ascii=False)(logger, name, event)
    return escaped_json(rendered.decode() if isinstance(rendered, bytes) else rendered)


def _as_nothing(logger: WrappedLogger, name: str, event: EventDict) -> str:
    raise structlog.DropEvent


_CONSOLES: Final = {"text": _as_text, "json": _as_json, "none": _as_nothing}
