"""Adds to the rows of spans, hours and days what has ended in them; within the ledger's transaction.

Whoever else writes adds to the same rows: they are locked as they are read, in one order. What is old goes, a little
at a time, with what is added.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from bgjobd.core import spans
from bgjobd.core.digest import COUNTS
from bgjobd.core.spans import ALL, OfClass, OfQueue, begin
from bgjobd.host.clock import to_text
from bgjobd.store.engines import Execute
from bgjobd.store.span_counts import Counted
from bgjobd.store.sql_functions import held
from bgjobd.store.written import Row

_TRIMMED_AT_ONCE: Final = 500
_EMPTY: Final = bytes(4 * COUNTS)

CLASSES_THERE: Final = "SELECT class_name FROM class_tallies WHERE span = :span AND at = :at"
CLASSES_TO_ADD_TO: Final = """
    SELECT class_name, completed, failed, retried, bad, seconds, waited, cpu, memory FROM class_tallies
    WHERE span = :span AND at = :at ORDER BY class_name
"""
BEGIN_CLASS: Final = """
    INSERT INTO class_tallies (span, at, class_name, completed, failed, retried, bad, seconds, waited, cpu, memory)
    VALUES (:span, :at, :class_name, 0, 0, 0, '{}', :empty, :empty, 0, 0)
    ON CONFLICT (span, at, class_name) DO NOTHING
"""
WRITE_CLASS: Final = """
    UPDATE class_tallies SET completed = :completed, failed = :failed, retried = :retried, bad = :bad,
        seconds = :seconds, waited = :waited, cpu = :cpu, memory = :memory
    WHERE span = :span AND at = :at AND class_name = :class_name
"""
ADD_TO_QUEUE: Final = """
    INSERT INTO queue_tallies (span, at, queue, pending, running, waited)
    VALUES (:span, :at, :queue, :pending, :running, :waited)
    ON CONFLICT (span, at, queue) DO UPDATE SET pending = max(queue_tallies.pending, excluded.pending),
        running = max(queue_tallies.running, excluded.running), waited = max(queue_tallies.waited, excluded.waited)
"""
ADD_TO_ERROR: Final = """
    INSERT INTO error_tallies (error_group, span, at, attempts, failed)
    SELECT id, :span, :at, :attempts, :failed FROM error_groups WHERE id = :error_group
    ON CONFLICT (error_group, span, at) DO UPDATE SET attempts = error_tallies.attempts + excluded.attempts,
        failed = error_tallies.failed + excluded.failed
"""
FORGET_OF_ERROR: Final = (
    "DELETE FROM error_tallies WHERE error_group = :error_group AND span = :span AND at < :before"
)
FORGET: Final = tuple(
    f"""
    DELETE FROM {table} WHERE (span, at, {name}) IN (
        SELECT span, at, {name} FROM {table} WHERE span = :span AND at < :before ORDER BY at, {name} LIMIT :count)
    """
    for table, name in (("class_tallies", "class_name"), ("queue_tallies", "queue"))
)


def add(execute: Execute, executemany: Execute, counted: Counted, now: float) -> None:
    """Add to the rows of spans, hours and days; in one order, whoever else writes."""
    for (span, at), classes in _by_span(counted.classes):
        _add_classes(execute, executemany, {"span": span, "at": to_text(held(at))}, classes)
    of_queues = [
        {"span": span, "at": to_text(held(at)), "queue": queue} | _columns(one)
        for (span, at), queues in _by_span(counted.queues)
        for queue, one in sorted(queues.items())
    ]
    if of_queues:
        executemany(ADD_TO_QUEUE, of_queues)
    _add_errors(executemany, counted, now)
    for span, kept in spans.KEPT.items():
        for forget in FORGET:
            given = {"span": span, "before": to_text(held(now - kept)), "count": _TRIMMED_AT_ONCE}
            execute(forget, given)


def _by_span(
    counted: Mapping[tuple[int, Any], Any], lengths: Sequence[int] = spans.SPANS
) -> Iterator[tuple[tuple[int, int], dict[Any, Any]]]:
    """What is counted by each length of span, and begin, in order: there by name."""
    each = [((span, begin(at, span)), name, one) for (at, name), one in counted.items() for span in lengths]
    for place, those in groupby(sorted(each, key=itemgetter(0)), key=itemgetter(0)):
        parts: dict[Any, list[Any]] = {}
        for _, name, one in those:
            parts.setdefault(name, []).append(one)
        yield place, {name: _whole(ones) for name, ones in parts.items()}


def _whole(parts: Sequence[Any]) -> Any:
    """All of them as one, which is not to be changed."""
    if len(parts) == 1:
        return parts[0]
    whole = type(parts[0])()
    for part in parts:
        whole.add(part)
    return whole


def _add_classes(execute: Execute, executemany: Execute, place: Row, classes: Mapping[str, OfClass]) -> None:
    """Rows that others write, too, are locked as they are read."""
    there = {name for (name,) in execute(CLASSES_THERE, place).fetchall()}
    own = spans.bounded(classes, there)
    own[ALL] = spans.total(classes.values())
    new = sorted(own.keys() - there)
    if new:
        executemany(BEGIN_CLASS, [place | {"class_name": name, "empty": _EMPTY} for name in new])
    known = {name: row for name, *row in execute(CLASSES_TO_ADD_TO, place).fetchall()}
    executemany(
        WRITE_CLASS,
        [place | {"class_name": name} | as_row(_plus(known[name], own[name])) for name in sorted(own)],
    )


def _of_row(row: Sequence[Any]) -> OfClass:
    completed, failed, retried, bad, seconds, waited, cpu, memory = row
    counts = spans.sum_of([bytes(seconds)]), spans.sum_of([bytes(waited)])
    return OfClass(completed, failed, retried, Counter(json.loads(bad)), *counts, cpu, memory)


def _plus(row: Sequence[Any], own: OfClass) -> OfClass:
    whole = _of_row(row)
    whole.add(own)
    return whole


def as_row(of_class: OfClass) -> Row:
    """The columns of class_tallies without its key, in their order."""
    return {
        "completed": of_class.completed,
        "failed": of_class.failed,
        "retried": of_class.retried,
        "bad": json.dumps(of_class.bad, sort_keys=True),
        "seconds": spans.packed(of_class.seconds),
        "waited": spans.packed(of_class.waited),
        "cpu": of_class.cpu,
        "memory": of_class.memory,
    }


def _columns(one: OfQueue) -> Row:
    return {"pending": one.pending, "running": one.running, "waited": one.waited}


def _add_errors(executemany: Execute, counted: Counted, now: float) -> None:
    rows = [
        {"error_group": group, "span": span, "at": to_text(held(at))}
        | {"attempts": one.attempts, "failed": one.failed}
        for (span, at), errors in _by_span(counted.errors, spans.OF_ERRORS)
        for group, one in sorted(errors.items())
    ]
    if not rows:
        return
    executemany(ADD_TO_ERROR, rows)
    executemany(FORGET_OF_ERROR, list(_old_of(sorted({group for _, group in counted.errors}), now)))


def _old_of(groups: Iterable[int], now: float) -> Iterator[Row]:
    for group in groups:
        for span, kept in spans.KEPT_OF_ERRORS.items():
            yield {"error_group": group, "span": span, "before": to_text(held(now - kept))}
