"""What the books say of spans: where less is counted than has ended, or an hour is not the sum of its spans."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from bgjob.words import Outcome
from bgjobd.core.spans import FIVE_MINUTES, GOOD, HOUR, begin
from bgjobd.host.clock import from_text, to_text
from bgjobd.store.span_books import ENDED_SINCE, Booked, booked, given_since
from bgjobd.store.span_counts import PROPERTY
from bgjobd.store.sql_functions import held

Ask = Callable[..., list[tuple[Any, ...]]]
"""Runs a statement with its values on a connection that cannot write."""

UNTIL: Final = f"SELECT name, value FROM properties WHERE name GLOB '{PROPERTY}*'"
COUNTED: Final = """
    SELECT span, at, completed, bad FROM class_tallies WHERE span = :span AND at >= :since AND class_name = ''
"""


def odd_spans(ask: Ask) -> Iterator[tuple[str, str]]:
    """Of the last hour that is counted what is wrong, with the span where that begins. Jobs that are deleted stay
    counted, so that more may be counted than the books know, and never less.
    """
    until = {_host(name): value for name, value in ask(UNTIL)}
    if not until:
        return
    last = max(until.values())
    since = begin(from_text(last) - HOUR, FIVE_MINUTES)
    spans = _counted(ask, FIVE_MINUTES, begin(since, HOUR))
    counted = sum(number for at, number in spans.items() if at >= since)
    found = booked(ask(ENDED_SINCE, given_since(float(since))), None)
    ended = sum(_is_counted(one, until, last) for one in found)
    if counted < ended:
        yield to_text(held(since)), f"{counted} attempts are counted from there on, and {ended} have ended"
    for at, number in _counted(ask, HOUR, begin(since, HOUR)).items():
        those = sum(one for begun, one in spans.items() if begin(begun, HOUR) == at)
        if those != number:
            yield to_text(held(at)), f"its hour counts {number} attempts, and the spans in it {those}"


def _host(name: str) -> int | None:
    host = name.removeprefix(PROPERTY).removeprefix(".")
    return int(host) if host else None


def _counted(ask: Ask, span: int, since: int) -> dict[int, int]:
    """How many attempts, by the begin of each span."""
    rows = ask(COUNTED, {"span": span, "since": to_text(held(since))})
    return {int(from_text(at)): completed + sum(json.loads(bad).values()) for _, at, completed, bad in rows}


def _is_counted(one: Booked, until: Mapping[int | None, str], last: str) -> bool:
    """Whether rows are to have it: of several hosts each has said up to when they have its own, and what was lost is
    written at once.
    """
    if one.end is None or (one.end.outcome in GOOD and one.end.outcome is not Outcome.COMPLETED):
        return False
    is_lost = one.host is not None and one.end.outcome is Outcome.LOST
    return to_text(held(one.end.at)) < (last if is_lost else until.get(one.host, ""))
