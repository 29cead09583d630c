"""The one who writes an attempt's journal from its start on: its outcome, and what is told or asked for meanwhile."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal's enums cost a fresh child a tenth of a millisecond
import os
import signal
import time
from _thread import allocate_lock
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from . import journal_file, journal_lines, printing
from .order import Order
from .recorder import NotesRecorder
from .sandbox import Sandbox
from .state_file import StateKeeper
from .steps import Carry, StepKeeper

_FIRST_PAUSE_FOR_ROOM = 0.05
_LONGEST_PAUSE_FOR_ROOM = 2.0


class Begun(NamedTuple):
    """What an attempt has open whose start is proved: its journal, its output, what is carried over to it, and the file
    for its job's state, where it may have one.
    """

    journal: int
    output: int
    carry: int | None
    state: int | None


class JournalWriter:
    """Appends records to the journal, unless the job closed its descriptor and something else took the number.

    `notes` is what the job tells while it runs: it takes none of what the file system owes the journal from its start
    on, for the end, while there is other room, and ENDING bytes never.
    """

    def __init__(self, begun: Begun, order: Order, spool_path: str, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._journal = begun.journal
        self._spool_path = spool_path
        self._file = os.fstat(begun.journal)
        self._pid = os.getpid()
        self._lock = allocate_lock()
        self._order = order
        self._carry = begun.carry
        self._state = begun.state
        self._keeper: StepKeeper | None = None
        self.has_ended = False
        self._notes: NotesRecorder | None = None

    @property
    def notes(self) -> NotesRecorder:
        """What the job tells while it runs; most tell nothing."""
        if self._notes is None:
            self._notes = NotesRecorder(self._order, self._append)
        return self._notes

    def keeper(self) -> StepKeeper:
        """Where the attempt's steps and values are kept."""
        self._keeper = StepKeeper(self._order, self._carry, self._append, self._is_own, self.end)
        return self._keeper

    def finish(self) -> None:
        """Record what it told last, and how much of what it told was left out."""
        unprinted, unvalued = printing.lost(), 0 if self._keeper is None else self._keeper.left_out
        if self._notes is not None or unprinted or unvalued:
            self.notes.finish(unprinted, unvalued)

    def state_keeper(self) -> StateKeeper | None:
        """Where the attempt saves its job's state."""
        return (
            None if self._state is None else StateKeeper(self._state, Carry(self._carry), self._write_beside)
        )

    def _write_beside(self, write: Callable[[], None]) -> None:
        """Write into another file than the journal, which is bounded as that is."""
        with self._lock:
            if not self._sandbox.limits_files:
                write()
                return
            with self._sandbox.room_in_files():
                write()

    def _is_own(self) -> bool:
        """Whether the journal is still open."""
        try:
            return os.path.samestat(os.fstat(self._journal), self._file)
        except OSError:
            return False

    def tell_unused(self, names: list[str]) -> None:
        """Record which finished steps did not come again; where there is no room, nobody is told."""
        if names:
            with suppress(OSError):
                self._append(journal_lines.left(os.getpid(), time.time(), names), journal_file.RESERVE)

    def answer(self, line: bytes) -> bool:
        """Append what somebody has asked for, also a forked copy's; whether that could be. Raises OSError.

        Not while a record is written: it may be its writer who was interrupted. Nothing is cut off where it finds no
        room, for a copy would cut off what others write; but what they are left is set aside before.
        """
        if not self._lock.acquire(False):
            return False
        try:
            if not self._is_own():
                return False
            with self._sandbox.room_in_files():
                end = os.fstat(self._journal).st_size + 1 + len(line) + journal_file.RESERVE
                journal_file.set_aside(self._journal, end)
                journal_file.append(self._journal, line)
            return True
        finally:
            self._lock.release()

    def end(self, line: bytes) -> None:
        """Record the outcome, the first. Without room in short; a result waits for some, or for the attempt's end."""
        if self.has_ended:
            return
        self.has_ended = True
        try:
            self._append(line, journal_file.EXIT)
        except OSError as error:
            if error.errno not in journal_file.NO_ROOM:
                raise
            short = self._shortened(line)
            if short is None:
                self._wait_for_room(line, error)
            else:
                self._append(short, journal_file.EXIT)

    def end_by_exit(self, code: int) -> None:
        """Record that the job ends its process; where there is no room, the exit code tells."""
        if self.has_ended:
            return
        with suppress(OSError):
            self._append(journal_lines.exiting(os.getpid(), code), journal_file.EXIT)

    def _shortened(self, line: bytes) -> bytes | None:
        """The outcome without what can be done without; None where it has nothing of the kind."""
        # What a hook returns nobody is shown.
        return journal_lines.shortened(line) or (
            journal_lines.completed(os.getpid(), "null") if self._order.is_hook else None
        )

    def _wait_for_room(self, line: bytes, error: OSError) -> None:
        """Nothing tells of room that there is again, so it is tried, ever more rarely; a stop ends it at once."""
        _signal.signal(signal.SIGTERM, _signal.SIG_DFL)
        message = f"its result of {len(line)} bytes waits for room in {self._spool_path}: {error.strerror}"
        with suppress(OSError):  # a file system that sets nothing aside may have no room for that either
            self._append(
                journal_lines.waiting(os.getpid(), time.time(), len(line), message), journal_file.EXIT
            )
        pause = _FIRST_PAUSE_FOR_ROOM
        while True:
            time.sleep(pause)
            try:
                self._append(line, journal_file.EXIT)
            except OSError as again:
                if again.errno not in journal_file.NO_ROOM:
                    raise
            else:
                return
            pause = min(pause * 2, _LONGEST_PAUSE_FOR_ROOM)

    def _append(self, line: bytes, left: int) -> None:
        """Append the record, and leave so many bytes for others. Raises OSError.

        One after the other, for what finds no room is cut off again; of a forked copy's nobody would read any.
        """
        if os.getpid() != self._pid:
            return
        with self._lock:
            try:
                now = os.fstat(self._journal)
            except OSError:
                return
            if (now.st_dev, now.st_ino) != (self._file.st_dev, self._file.st_ino):
                return
            if not self._sandbox.limits_files:  # in few calls: each has a fresh child copy some pages
                journal_file.append_within(self._journal, line, now, left)
                return
            with self._sandbox.room_in_files():
                journal_file.append_within(self._journal, line, now, left)
