"""What completed attempts of each method take: gathered in memory, merged into rows with what is written anyway."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from typing import Final

from bgjobd.core.digest import BYTES, SECONDS, Digest
from bgjobd.core.expectation import MOST_METHODS, OTHER, Usual
from bgjobd.host.clock import from_text, to_text
from bgjobd.store.committed import Ran
from bgjobd.store.engines import Execute
from bgjobd.store.items.retention import UsageTrimming
from bgjobd.store.sql_functions import held
from bgjobd.store.written import Row

Method = tuple[str, str]
"""A class and a method, by their names."""

REST: Final = 10.0
"""Seconds between two transactions that write this: a kill loses what came since."""

_AT_ONCE: Final = 100
"""How many methods one transaction writes at most."""

_LATEST: Final = 512

OF_OTHERS: Final[Method] = (OTHER, OTHER)

SELECT_USUAL: Final = """
    SELECT u.class_name, u.method_name, u.seconds, u.memory, u.runs
    FROM json_each(:methods) AS wanted CROSS JOIN method_usage AS u
    ON u.class_name = json_extract(wanted.value, '$[0]') AND u.method_name = json_extract(wanted.value, '$[1]')
"""
SELECT_TO_MERGE: Final = f"{SELECT_USUAL} ORDER BY u.class_name, u.method_name"
COUNT: Final = "SELECT count(*) FROM method_usage"
BEGIN: Final = """
    INSERT INTO method_usage (class_name, method_name, seconds, memory, runs, completed_at)
    VALUES (:class_name, :method_name, :empty, :empty, 0, :now) ON CONFLICT (class_name, method_name) DO NOTHING
"""
MERGE: Final = """
    UPDATE method_usage SET seconds = :seconds, memory = :memory, runs = runs + :runs, completed_at = :completed_at,
        code_version = (SELECT code_version FROM job_attempts WHERE job_id = :job_id AND number = :number)
    WHERE class_name = :class_name AND method_name = :method_name
"""
COMPLETED: Final = """
    SELECT class_name, method_name, completed_at FROM method_usage
    WHERE class_name IN (SELECT value FROM json_each(:classes))
"""
OLDEST: Final = """
    SELECT min(seen_at) FROM (
        SELECT max(completed_at) AS seen_at FROM method_usage
        WHERE class_name NOT IN (SELECT value FROM json_each(:known)) GROUP BY class_name) AS unseen
"""
FORGET: Final = """
    DELETE FROM method_usage WHERE class_name IN (
        SELECT class_name FROM method_usage WHERE class_name NOT IN (SELECT value FROM json_each(:known))
        GROUP BY class_name HAVING max(completed_at) < :before)
"""


class _Gathered:
    """What is to be merged into the row of one method, whose latest attempt completed at wall time `at`.

    Of the `runs` the latest are known: those before them would be halved away.
    """

    __slots__ = ("at", "latest", "runs")

    def __init__(self) -> None:
        self.runs, self.at = 0, 0.0
        self.latest: deque[Ran] = deque(maxlen=_LATEST)

    def note(self, ran: Ran, now: float) -> None:
        self.runs, self.at = self.runs + 1, now
        self.latest.append(ran)

    def take(self, other: _Gathered) -> None:
        """Count what another has, as if that had come later."""
        self.runs, self.at = self.runs + other.runs, max(self.at, other.at)
        self.latest += other.latest

    def digests(self) -> tuple[Digest, Digest]:
        """How long the latest took, and how much memory, as far as that is known."""
        seconds, memory = Digest(SECONDS), Digest(BYTES)
        for ran in self.latest:
            seconds.note(ran.seconds)
            if ran.memory is not None:
                memory.note(ran.memory)
        return seconds, memory


class Gathering:
    """What is not in the file yet; on the writer's thread. `monotonic` is a clock that only goes forward."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._methods: dict[Method, _Gathered] = {}
        self._next, self._at_once = 0.0, _AT_ONCE

    def hurry(self) -> None:
        """Have the next transaction write all of it."""
        self._next, self._at_once = 0.0, MOST_METHODS + 1

    def write(
        self,
        execute: Execute,
        executemany: Execute,
        ran: Sequence[Ran],
        now: float,
        awaited: Collection[str] = (),
    ) -> list[Method]:
        """Merge what is due, with what this transaction has come to; of which methods. Mostly nothing is due, but what
        has completed of the `awaited` classes and methods is at once.
        """
        if not (self._methods or ran):
            return []
        at_once = _awaited(ran, awaited) if awaited else set()
        is_time = self._monotonic() >= self._next
        if not (at_once or is_time):
            return []
        others = {*self._methods, *(one[:2] for one in ran)} - at_once if is_time else ()
        due: dict[Method, _Gathered] = {}
        for method in (*at_once, *islice(others, self._at_once)):
            due[method] = _Gathered()
            if method in self._methods:
                due[method].take(self._methods[method])
        for one in ran:
            if one[:2] in due:
                due[one[:2]].note(one, now)
        written = list(due)
        _merge(execute, executemany, due, at_once, now)
        return written

    def take(self, ran: Iterable[Ran], now: float, written: Sequence[Method]) -> None:
        """Follow a transaction that is committed, which has written of these methods."""
        methods = self._methods
        for one in ran:
            method = one[:2]
            found = methods.get(method)
            if found is None:
                found = methods.setdefault(method if len(methods) < MOST_METHODS else OF_OTHERS, _Gathered())
            found.note(one, now)
        if written:
            for method in written:
                methods.pop(method, None)
            if self._monotonic() >= self._next:
                self._next = 0.0 if methods else self._monotonic() + REST


def usual_of(execute: Execute, methods: Iterable[Method]) -> dict[Method, Usual]:
    """What is known of each of these methods of which anything has completed."""
    return _rows(execute, SELECT_USUAL, methods)


def last_successes(execute: Execute, jobs: Collection[str]) -> dict[str, float]:
    """When the last attempt of each of these completed, a class or `Class::method`, of which any has."""
    classes = sorted({job.partition("::")[0] for job in jobs})
    found: dict[str, float] = {}
    for class_name, method_name, at in execute(COMPLETED, {"classes": json.dumps(classes)}).fetchall():
        for job in (class_name, f"{class_name}::{method_name}"):
            if job in jobs:
                found[job] = max(from_text(at), found.get(job, 0.0))
    return found


def _awaited(ran: Iterable[Ran], awaited: Collection[str]) -> set[Method]:
    return {
        method
        for method in {one[:2] for one in ran}
        if method[0] in awaited or f"{method[0]}::{method[1]}" in awaited
    }


def _rows(execute: Execute, statement: str, methods: Iterable[Method]) -> dict[Method, Usual]:
    found = execute(statement, {"methods": json.dumps(sorted(methods))}).fetchall()
    return {
        (class_name, method_name): Usual(runs, Digest.of(seconds, SECONDS), Digest.of(memory, BYTES))
        for class_name, method_name, seconds, memory, runs in found
    }


def _merge(
    execute: Execute,
    executemany: Execute,
    due: dict[Method, _Gathered],
    awaited: Collection[Method],
    now: float,
) -> None:
    """Rows that others write, too, are locked as they are read."""
    known = _rows(execute, SELECT_TO_MERGE, due)
    new = due.keys() - known.keys()
    if new:
        new = _within_bounds(execute, due, new, awaited)
        begun = {"empty": b"", "now": to_text(now)}
        executemany(BEGIN, [{"class_name": one[0], "method_name": one[1], **begun} for one in sorted(new)])
        known |= _rows(execute, SELECT_TO_MERGE, new)
    executemany(MERGE, [_row(method, due[method], known[method]) for method in sorted(due)])


def _within_bounds(
    execute: Execute, due: dict[Method, _Gathered], new: set[Method], awaited: Collection[Method]
) -> set[Method]:
    """Those that get a row, the `awaited` ones always; what is beyond is counted together."""
    room = max(0, MOST_METHODS - execute(COUNT).fetchone()[0])
    beyond = sorted(new - {OF_OTHERS} - {*awaited})[room:]
    if not beyond:
        return new
    others = due.setdefault(OF_OTHERS, _Gathered())
    for method in beyond:
        others.take(due.pop(method))
    return new.difference(beyond) | {OF_OTHERS}


def _row(method: Method, gathered: _Gathered, known: Usual) -> Row:
    seconds, memory = gathered.digests()
    known.seconds.take(seconds)
    known.memory.take(memory)
    last = gathered.latest[-1]
    return {
        "class_name": method[0],
        "method_name": method[1],
        "seconds": known.seconds.to_bytes(),
        "memory": known.memory.to_bytes(),
        "runs": gathered.runs,
        "completed_at": to_text(gathered.at),
        "job_id": last.job_id,
        "number": last.number,
    }


def trim(execute: Execute, trimming: UsageTrimming) -> int:
    """Forget the classes that are not known any more and of which nothing completed since; how many rows."""
    given = {"known": json.dumps(sorted(trimming.known)), "before": to_text(held(trimming.before))}
    return int(execute(FORGET, given).rowcount)
