"""What the page says on the daemon's console, in the form that the daemon's own lines have there.

A console that nobody reads costs lines, which are counted and said, and holds up no request.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from datetime import UTC, datetime
from queue import Full, Queue
from typing import Final

from bgjob.text import one_line, to_json
from bgjob.words import EntryType

from .settings import Settings

_PAGE: Final = "bgjobd-web"
_ERROR: Final = "<3>"
_INFO: Final = "<6>"
"""Priorities of sd-daemon(3)."""

_STDERR: Final = 2
_MOST_WAITING: Final = 1000
_LAST_LINES: Final = 1.0


def say(settings: Settings, message: str, type: EntryType = EntryType.INFO) -> None:
    """Say it as "text" or "json"; with "none" failures alone, for no other place has them."""
    line = _rendered(settings, message, type)
    if line is not None:
        _CONSOLE.put(settings, line)


def finish() -> None:
    """Have written what was said, if somebody reads it within a second: the process is about to end."""
    _CONSOLE.finish()


def _rendered(settings: Settings, message: str, type: EntryType) -> bytes | None:
    is_failure = type is EntryType.FAILURE
    grave = (_ERROR if is_failure else _INFO) if settings.for_journald else ""
    if settings.console == "json":
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        told = to_json({"event": message, "at": at, "type": type, "target": _PAGE})
    elif settings.console == "text" or is_failure:
        told = f"{_PAGE}: {one_line(message)}"
    else:
        return None
    return f"{grave}{told}\n".encode("utf-8", "backslashreplace")


class _Console:
    """Lines that wait for stderr, and the thread that writes them; a thread stuck in a write holds nothing."""

    def __init__(self) -> None:
        self._waiting: Queue[tuple[Settings, bytes]] = Queue(_MOST_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._dropped = 0

    def put(self, settings: Settings, line: bytes) -> None:
        with self._lock:
            try:
                self._waiting.put_nowait((settings, line))
            except Full:
                self._dropped += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="console", daemon=True)
                self._thread.start()

    def finish(self) -> None:
        with self._waiting.all_tasks_done:
            self._waiting.all_tasks_done.wait_for(lambda: not self._waiting.unfinished_tasks, _LAST_LINES)

    def _run(self) -> None:
        while True:
            settings, line = self._waiting.get()
            _write(line)
            dropped = self._take_dropped()
            if dropped:
                message = f"{dropped} lines of the page were dropped, as stderr was not read"
                _write(_rendered(settings, message, EntryType.FAILURE) or b"")
            self._waiting.task_done()

    def _take_dropped(self) -> int:
        """How many lines there was no room for, once all others are written."""
        with self._lock:
            dropped = self._dropped if self._waiting.empty() else 0
            self._dropped -= dropped
        return dropped


def _write(line: bytes) -> None:
    with suppress(OSError):  # nobody is there to read it
        while line:
            line = line[os.write(_STDERR, line) :]


_CONSOLE: Final = _Console()
