"""What a job tells while it runs, progress, log entries and values: how much of it is put into the journal, and how
often.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from . import journal_file, journal_lines
from .masking import scrubbed
from .order import Order

_PAUSE = 0.1
_AT_ONCE = 10
_UNHURRIED = 600
_DOUBLING = 70
_USUAL_SIZE = journal_lines.MAX_NOTED / journal_lines.MAX_PROGRESS


class ProgressPace:
    """When progress may be recorded: on average ten times a second, a few at once; and the later, the more rarely.

    After the first 600 records every 70 more double the pause: who tells without a break is heard about once in a
    hundredth of the time so far, for weeks. A record of unusual size counts for several.
    """

    def __init__(self) -> None:
        self._spent = 0.0
        self._earned_at = 0.0

    def allows(self, now: float, is_whole: bool) -> bool:
        """Whether a record may be written; that something is whole may be when the others have had their few."""
        ahead = (2 * _AT_ONCE if is_whole else _AT_ONCE) - 1
        return self._spent < journal_lines.MAX_PROGRESS and now >= self._earned_at - ahead * self._pause()

    def take(self, now: float, size: int) -> None:
        """A record of so many bytes was written."""
        self._earned_at = max(self._earned_at, now) + self._pause()
        self._spent += max(1.0, size / _USUAL_SIZE)

    def _pause(self) -> float:
        pause: float = _PAUSE * 2.0 ** max(0.0, (self._spent - _UNHURRIED) / _DOUBLING)
        return pause


class NotesRecorder:
    """One attempt's. `append` puts a record at the end of its journal, and leaves so many bytes for others; it raises
    OSError.

    The spool is everybody's memory: of log records the first are kept, of progress the latest is, in time.
    """

    def __init__(self, order: Order, append: Callable[[bytes, int], None]) -> None:
        self._order, self._append = order, append
        self._logs_left = journal_lines.MAX_LOGS
        self._bytes_left = journal_lines.MAX_NOTED
        self._left_out = 0
        self._pace = ProgressPace()
        self._recorded: dict[str, Any] | None = None
        self._kept: tuple[float, dict[str, Any]] | None = None

    def note(self, record: dict[str, Any]) -> None:
        """Record what the job tells while it runs. A full spool costs the note, not the job."""
        is_progress = record["type"] == "progress"
        if is_progress:
            self._kept = None if record == self._recorded else (time.time(), record)
        self._record_progress()
        if not is_progress:
            self._record_log(record)

    def finish(self, unprinted: int, unvalued: int = 0) -> None:
        """Record the progress that was told last, how many entries and values were left out, and how many bytes found
        no room.
        """
        try:
            self._record_progress(is_last=True)
            if self._left_out:
                self._write(_entry(f"too many entries: {self._left_out} were not kept"), time.time())
            if unvalued:
                text = f"{unvalued} values that it emitted were not kept: too many, too large, or no room for them"
                self._write(_entry(text), time.time())
            if unprinted:
                text = f"{unprinted} bytes that it printed found no room on the disk, and are lost"
                self._write(_entry(text), time.time())
        except Exception:  # how the attempt ended is worth more than what it told before
            traceback.print_exc()

    def _record_progress(self, is_last: bool = False) -> None:
        if self._kept is None:
            return
        at, record = self._kept
        now = time.monotonic()
        if not is_last and not self._pace.allows(now, record["fraction"] == 1.0):
            return
        size = self._write(record, at)
        self._pace.take(now, size)
        if size:
            self._kept, self._recorded = None, record

    def _record_log(self, record: dict[str, Any]) -> None:
        if self._logs_left > 0 and self._bytes_left > 0:
            self._logs_left -= 1
            self._bytes_left -= self._write(record, time.time())
            return
        if not self._left_out:
            self._write(_entry("too many entries; the rest is not kept"), time.time())
        self._left_out += 1

    def _write(self, record: dict[str, Any], at: float) -> int:
        """Append it; how many bytes it took, 0 where there is no room."""
        fields = {**record, "message": scrubbed(record["message"], self._order)}
        line = journal_lines.noted(os.getpid(), fields.pop("type"), at, fields.pop("message"), **fields)
        for left in (journal_file.RESERVE, journal_file.ENDING):
            with suppress(OSError):
                self._append(line, left)
                return len(line)
        return 0


class ValueRecorder:
    """One attempt's values, of which the first are kept: `left_out` counts the others. `append` as for notes."""

    def __init__(self, append: Callable[[bytes, int], None]) -> None:
        self._append = append
        self._left = journal_lines.MAX_VALUES
        self._bytes_left = journal_lines.MAX_VALUED
        self._room = _MOST_ROOM
        self.left_out = 0

    def record(self, value: str, step: str | None, place: int, may_append: bool = True) -> bool:
        """Record the value; whether there was room for it."""
        is_recorded = may_append and self._try_record(value, step, place)
        if not is_recorded:
            self.left_out += 1
        return is_recorded

    def _try_record(self, value: str, step: str | None, place: int) -> bool:
        size = len(value.encode())
        if size > journal_lines.MAX_VALUE or size > self._bytes_left or not self._left:
            return False
        line = journal_lines.value(os.getpid(), time.time(), place, step, value)
        if len(line) > self._room:
            return False
        try:
            self._append(line, journal_file.RESERVE)
        except OSError:  # a full spool costs the value, not the job
            return False
        self._left -= 1
        self._bytes_left -= size
        self._room -= len(line)
        return True


_MOST_ROOM = 4 * journal_lines.MAX_VALUED
"""What the records of all values take at most, with the names of steps: those of steps are to find room behind them."""


def _entry(message: str) -> dict[str, Any]:
    return {"type": "log", "level": "INFO", "message": message}
