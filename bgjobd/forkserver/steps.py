"""Where an attempt's steps and values are kept: what earlier ones have finished comes in a file, its own go into its
journal.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from . import journal_file, journal_lines, spool_names
from .fingerprints import sha256
from .recorder import ValueRecorder

if TYPE_CHECKING:
    from .order import Order

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0


def seed_of(database_id: str, job_id: int, life: int) -> str:
    """What the tokens of a job's steps are made of, the same in each attempt."""
    return f"{database_id} {job_id} {life}"


def token_of(seed: str, name: str) -> str:
    """The token of the step of this name."""
    return str(sha256(f"step\0{seed}\0{name}".encode()).hexdigest())[:32]


class StepKeeper:
    """One attempt's. `carry` is the open file that it was given, None where nothing is carried over; `append` puts a
    record at the end of its journal, and leaves so many bytes for others; `is_own` tells whether that is still open,
    `end` records the outcome.
    """

    def __init__(
        self,
        order: Order,
        carry: int | None,
        append: Callable[[bytes, int], None],
        is_own: Callable[[], bool],
        end: Callable[[bytes], None],
    ) -> None:
        self._seed = order.seed
        self._carry = Carry(carry)
        self._begun = 0
        self._append = append
        self._is_own = is_own
        self._end = end
        self._values = ValueRecorder(append)
        self._emitted = 0

    def carried(
        self,
    ) -> tuple[dict[str, tuple[str, bool]], dict[tuple[str, str, int], tuple[str | None, bool]]]:
        """By name the results of finished steps, as JSON text, and whether their functions had to be awaited; by kind,
        name and turn what came of waits, and whether that was too late.
        """
        carry = self._carry.read()
        steps = {name: (result, bool(is_awaited)) for name, result, is_awaited in carry.get("steps", [])}
        self._emitted = carry.get("emitted", 0)
        waits = {
            (kind, name, turn): (result, bool(timed_out))
            for kind, name, turn, result, timed_out in carry.get("waits", [])
        }
        return steps, waits

    def emitted(self) -> int:
        """How many values earlier attempts have emitted outside of steps, as far as what is carried over was read."""
        return self._emitted

    def emit(self, value: str, step: str | None, place: int) -> bool:
        """Whether there is room for it; none where the job has closed its journal."""
        return self._values.record(value, step, place, self._is_own())

    @property
    def left_out(self) -> int:
        """How many values found no room."""
        return self._values.left_out

    def suspend(self, kind: str, name: str, turn: int, delay: float | None, until: float | None) -> None:
        """Record the outcome. Raises OSError where the job has closed its journal."""
        if not self._is_own():
            raise OSError("the attempt has closed its journal, and cannot wait")
        self._end(journal_lines.suspended(os.getpid(), kind, name, turn, delay, until))

    def token(self, name: str) -> str:
        return token_of(self._seed, name)

    def began(self, name: str) -> None:
        """Raises OSError where the job has closed its journal: what the step does could not be kept."""
        if not self._is_own():
            raise OSError("the attempt has closed its journal, and no step can be kept")
        self._begun += 1
        if self._begun > journal_lines.MAX_STEPS:  # what raises is tried again, as often as the job likes
            return
        with suppress(OSError):  # that it ran is not needed
            self._append(journal_lines.began(os.getpid(), time.time(), name), journal_file.RESERVE)

    def finished(self, name: str, result: str, is_awaited: bool) -> None:
        """Where there is no room it waits for some, as long as the attempt may live: the step is done."""
        line = journal_lines.step(os.getpid(), time.time(), name, result, is_awaited)
        with_room(lambda: self._append(line, journal_file.ENDING))


class Carry:
    """What earlier attempts have left for this one, in the open file that it was given; nothing where there is none."""

    def __init__(self, carry: int | None) -> None:
        self._carry = carry
        self._file = None if carry is None else os.fstat(carry)

    def read(self) -> dict[str, Any]:
        """All of it. Raises OSError where the job has closed the file, whatever has its number now."""
        if self._carry is None or self._file is None:
            return {}
        found = os.fstat(self._carry)
        if not os.path.samestat(found, self._file):
            raise OSError(errno.EBADF, "the attempt has closed what earlier ones have finished")
        carry: dict[str, Any] = json.loads(os.pread(self._carry, found.st_size, 0))
        return carry


def with_room(write: Callable[[], None]) -> None:
    """Write; where there is no room for it, wait until there is. Raises OSError for another reason."""
    pause = _FIRST_PAUSE
    while True:
        try:
            write()
        except OSError as error:
            if error.errno not in journal_file.NO_ROOM:
                raise
        else:
            return
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def open_carry(spool: int, order: Order) -> int:
    """What earlier attempts have finished, of an order that `carries`. Raises OSError."""
    name = spool_names.file_name(order.job, order.number, spool_names.CARRY)
    return os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=spool)
