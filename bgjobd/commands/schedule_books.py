"""Whether each occurrence of a schedule is told of, once: what is stored, held against what was configured; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise, takewhile
from typing import Final

from bgjobd.core.schedules import Calendar
from bgjobd.daemon.schedule_definitions import try_schedule
from bgjobd.host.clock import to_text
from bgjobd.store.audit import BookedRow, BookedSchedule

_MOST: Final = 10
"""How many findings of one schedule are told: behind a gap there may be very many."""


def contradictions(booked: BookedSchedule) -> Iterator[str]:
    """What is wrong with its rows."""
    for before, after in pairwise(booked.rows):
        if after.at <= before.until:
            yield f"two rows tell of its occurrence {to_text(after.at)}"
    schedule = try_schedule(booked.definition)
    if schedule is not None:
        yield from islice(_against(schedule.calendar, booked), _MOST)


def _against(calendar: Calendar, booked: BookedSchedule) -> Iterator[str]:
    """Of rows that have others before them the first may begin long ago: it is looked at from its end on."""
    rows, since = booked.rows, booked.since
    if not booked.is_whole:
        rows, since = rows[1:], rows[0].until
    occurrences = takewhile(lambda at: at <= booked.cursor, calendar.after(since))
    for told, row in _side_by_side(occurrences, rows):
        if row is None:
            yield f"no row tells of its occurrence {to_text(told[0])}"
        elif len(told) != row.count:
            span = to_text(row.at) if row.at == row.until else f"{to_text(row.at)} to {to_text(row.until)}"
            yield f"the row of {span} tells of {row.count:,} occurrences, and there are {len(told):,}"


def _side_by_side(
    occurrences: Iterator[float], rows: Sequence[BookedRow]
) -> Iterator[tuple[list[float], BookedRow | None]]:
    """Each row with the occurrences in it; those that are in none, one by one."""
    left = list(reversed(rows))
    told: list[float] = []
    for at in occurrences:
        while left and left[-1].until < at:
            yield told, left.pop()
            told = []
        if left and left[-1].at <= at:
            told.append(at)
        else:
            yield [at], None
    while left:
        yield told, left.pop()
        told = []
