"""Whether the tallies are what a recount of the books comes to: how jobs stand and, of undeleted ones, what ended."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Final

from bgjob.words import Outcome
from bgjobd.core.spans import ALL, GOOD, SPANS, begin
from bgjobd.host.clock import from_text
from tests.faults.torture.looks import counts, rows_of
from tests.faults.torture.station import Station

_ENDED: Final = """
    SELECT j.class_name, a.outcome, a.finished_at FROM job_attempts AS a JOIN background_jobs AS j ON j.id = a.job_id
    WHERE a.outcome IS NOT NULL
"""
_COUNTED: Final = "SELECT span, at, class_name, completed, bad FROM class_tallies"
_BY_STATUS: Final = "SELECT status, count(*) FROM background_jobs GROUP BY status"

Place = tuple[int, int, str, str]
"""A span's length and begin, a class, or ALL, and an outcome."""


def of_jobs(station: Station) -> Iterator[str]:
    """Statuses of which the daemon tells another number than there are; while nothing moves."""
    with station.client() as client:
        told = Counter(client.stats()["jobs"])
    stored = counts(station, _BY_STATUS)
    for status in sorted(told.keys() | stored.keys()):
        if told[status] != stored[status]:
            yield f"the daemon tells of {told[status]} {status} jobs, and {stored[status]} are stored"


def of_spans(station: Station) -> Iterator[str]:
    """Spans of which the rows count another number than has ended; once all daemons have stopped."""
    ended, counted = _ended(station), _counted(station)
    for place in sorted(ended.keys() | counted.keys()):
        if ended[place] != counted[place]:
            span, at, name, outcome = place
            of = name or "all classes"
            yield f"{counted[place]} {outcome} of {of} are counted in {span} s from {at} on, and {ended[place]} ended"


def _ended(station: Station) -> Counter[Place]:
    found: Counter[Place] = Counter()
    for class_name, outcome, finished_at in rows_of(station, _ENDED):
        if outcome in GOOD and outcome != Outcome.COMPLETED:
            continue
        at = from_text(finished_at)
        found.update((span, begin(at, span), name, outcome) for span in SPANS for name in (class_name, ALL))
    return found


def _counted(station: Station) -> Counter[Place]:
    found: Counter[Place] = Counter()
    for span, at, name, completed, bad in rows_of(station, _COUNTED):
        for outcome, number in {**json.loads(bad), Outcome.COMPLETED.value: completed}.items():
            found[span, int(from_text(at)), name, outcome] = number
    return found
