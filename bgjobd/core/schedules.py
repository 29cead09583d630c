"""What is due of a schedule, and what each of it becomes, one thing: a job, or a skip with its reason; no I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice, takewhile
from typing import Final

from bgjobd.core.calendar import Cron, Every

Calendar = Cron | Every


class Missed(StrEnum):
    """What runs of the occurrences that nobody dealt with in time."""

    SKIP = "skip"
    RUN_ONCE = "run_once"
    RUN_ALL = "run_all"


class Overlap(StrEnum):
    """What becomes of an occurrence while a job of its schedule has not ended."""

    SKIP = "skip"
    ALLOW = "allow"
    WAIT = "wait"
    CANCEL = "cancel"


class Became(StrEnum):
    """What became of an occurrence, as `verdict` has it."""

    SUBMITTED = "submitted"
    BACKFILLED = "backfilled"
    ASKED = "asked"
    SKIPPED = "skipped"


class Reason(StrEnum):
    """Why an occurrence became no job."""

    MISSED = "missed"
    OVERLAP = "overlap"
    PAUSED = "paused"
    REFUSED = "refused"
    QUEUE_FULL = "queue full"
    HELD = "held"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Rules:
    """What a schedule's definition says of its occurrences; `late` in seconds, from which on one is missed.

    `missed_limit`: the most jobs that `run_all` makes at once.
    """

    missed: Missed = Missed.RUN_ONCE
    overlap: Overlap = Overlap.SKIP
    late: float = 60.0
    missed_limit: int = 100


@dataclass(frozen=True, slots=True)
class Span:
    """So many occurrences in a row, from the first to the last."""

    at: float
    until: float
    count: int = 1


@dataclass(frozen=True, slots=True)
class Due:
    """Occurrences that are to be dealt with, up to `until`; `surplus` are so late that others run in their stead, if
    any do. One that was dealt with already is none of them, though it may be their end.
    """

    surplus: Span | None
    instants: tuple[float, ...]
    until: float


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A job of the schedule that has not ended; `is_blocked`: it waits for another of them; `is_stopping`: it runs, and
    somebody wants it cancelled; `is_elsewhere`: in another queue than the next one will be.
    """

    id: int
    is_running: bool = False
    is_blocked: bool = False
    is_stopping: bool = False
    is_elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How the schedule stands: `unfinished` in the order of ids, `room` in the queue (None: without limit; below 0:
    more wait than may). `next_id` is what the next job gets. `held_by` has the unique key of its jobs, which `has_key`.
    """

    next_id: int
    is_paused: bool = False
    is_refused: bool = False
    unfinished: tuple[Unfinished, ...] = ()
    room: int | None = None
    has_key: bool = False
    held_by: int | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """Occurrences in a row that become no job, for one reason; of `overlap`, `job_id` is the one that has not ended, of
    `held` the one that has their unique key.
    """

    span: Span
    reason: Reason
    job_id: int | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """An occurrence that becomes the job `id`, `after` a job of the schedule, if any; these are cancelled for it."""

    at: float
    id: int
    after: int | None = None
    cancels: tuple[int, ...] = ()


Verdict = Skipped | Wanted


AT_ONCE: Final = 100
"""Occurrences of a schedule that one transaction deals with, beside those of which others run in the stead."""


_SMALLEST: Final = 1e-6
"""Seconds between two instants that are told apart."""

_IN_A_TURN: Final = 100
"""How many occurrences are looked at before others have a turn: of a cron expression each takes some microseconds."""


def surplus_of(
    calendar: Calendar, cursor: float, known: Collection[float], rules: Rules, now: float
) -> Span | None:
    """The first of those that others run in the stead of, counted a day at a time; it leaves some to `due`."""
    end = min([now - rules.late, *(at for at in known if at > cursor)])
    left = _most(rules) + 1
    count = calendar.count(cursor, end) - left
    if count <= 0:
        return None
    first = next(iter(calendar.after(cursor)))
    return Span(first, calendar.latest(end, first, back=left), count)


def due(
    occurrences: Iterable[float],
    known: Collection[float],
    rules: Rules,
    now: float,
    surplus: Span | None = None,
) -> Iterator[Due | None]:
    """What is due of the occurrences behind the cursor, which are in order: the last value, None where nothing is.

    Of many it is the first, and the rest is due behind `until`.
    Before it, a None for each hundred that were looked at, so that others may have a turn: there may be a million.
    `known` are those that became jobs before the clock was set back: with one of them it ends, for a row has no gap.
    `surplus` are some that come before the occurrences.
    """
    late = now - rules.late
    most = _most(rules)
    kept: list[float] = []
    until: float | None = None
    for number, at in enumerate(takewhile(lambda at: at <= now, occurrences), 1):
        if at >= late and len(kept) >= AT_ONCE:
            break
        until = at
        if at in known:
            while rules.missed is Missed.RUN_ONCE and kept and kept[0] < late:  # this newer one has run
                surplus = _joined(surplus, kept.pop(0))
            break
        kept.append(at)
        if at < late and len(kept) > most:
            surplus = _joined(surplus, kept.pop(0))
        if number % _IN_A_TURN == 0:
            yield None
    yield None if until is None else _first_of(surplus, kept, until)


def _first_of(surplus: Span | None, kept: Sequence[float], until: float) -> Due:
    """Of what is due as much as one transaction deals with."""
    if len(kept) > AT_ONCE:
        return Due(surplus, tuple(kept[:AT_ONCE]), kept[AT_ONCE - 1])
    return Due(surplus, tuple(kept), until)


def _most(rules: Rules) -> int:
    """How many of those that nobody dealt with in time may run."""
    return {Missed.SKIP: 0, Missed.RUN_ONCE: 1, Missed.RUN_ALL: rules.missed_limit}[rules.missed]


def _joined(span: Span | None, at: float) -> Span:
    return Span(at, at) if span is None else replace(span, until=at, count=span.count + 1)


def span_of(calendar: Calendar, after: float, until: float) -> Span | None:
    """Those behind an instant, up to another, as one; None where there are none."""
    count = calendar.count(after, until)
    if count == 0:
        return None
    first = next(iter(calendar.after(after)))
    return Span(first, calendar.latest(until, first), count)


def spans_of(
    calendar: Calendar, after: float, until: float, without: Collection[float]
) -> Iterator[Span | None]:
    """Those behind an instant, up to another, before, between and behind some: None where there are none."""
    for at in sorted(at for at in without if after < at <= until):
        yield span_of(calendar, after, at - _SMALLEST)
        after = at
    yield span_of(calendar, after, until)


def left_of(calendar: Calendar, span: Span, without: Collection[float]) -> Iterator[Span | None]:
    """What is left of a span of skipped ones without some of them; a None before it where there is nothing."""
    return spans_of(calendar, span.at - _SMALLEST, span.until, without)


def left_at(calendar: Calendar, span: Span, now: float) -> Span:
    """What of a span, whose first lies in the past, does."""
    return Span(span.at, calendar.latest(now, span.at), 1 + calendar.count(span.at, now))


def decide(due: Due, rules: Rules, standing: Standing, now: float) -> list[Verdict]:
    """What becomes of each, in order; those skipped in a row for one reason and one job are one verdict."""
    verdicts: list[Verdict] = []
    if due.surplus is not None:
        verdicts.append(Skipped(due.surplus, _standing_reason(standing) or Reason.MISSED))
    for at in due.instants:
        is_newest = at == due.instants[-1]
        verdict = _verdict(at, rules, standing, now, is_newest)
        if isinstance(verdict, Wanted) and not is_newest:
            standing = _with_job(standing, verdict)
        _append(verdicts, verdict)
    return verdicts


def _standing_reason(standing: Standing) -> Reason | None:
    if standing.is_paused:
        return Reason.PAUSED
    return Reason.REFUSED if standing.is_refused else None


def _verdict(at: float, rules: Rules, standing: Standing, now: float, is_newest: bool) -> Verdict:
    reason = _standing_reason(standing)
    is_missed = now - at > rules.late
    if reason is None and is_missed and not _is_made_up_for(rules.missed, is_newest):
        reason = Reason.MISSED
    if reason is not None:
        return Skipped(Span(at, at), reason)
    waits_in_a_row = is_missed and rules.missed is Missed.RUN_ALL
    verdict = _beside_others(at, rules.overlap, standing, waits_in_a_row)
    if isinstance(verdict, Wanted) and _is_held(standing, verdict):
        return Skipped(Span(at, at), Reason.HELD, standing.held_by)
    room = _room_after(standing, verdict) if isinstance(verdict, Wanted) else None
    return verdict if room is None or room > 0 else Skipped(Span(at, at), Reason.QUEUE_FULL)


def _is_made_up_for(missed: Missed, is_newest: bool) -> bool:
    match missed:
        case Missed.SKIP:
            return False
        case Missed.RUN_ONCE:
            return is_newest
        case Missed.RUN_ALL:
            return True


def _beside_others(at: float, overlap: Overlap, standing: Standing, waits_in_a_row: bool) -> Verdict:
    """What becomes of an occurrence by the jobs of its schedule that have not ended."""
    wanted = Wanted(at, standing.next_id)
    if not standing.unfinished:
        return wanted
    match overlap:
        case Overlap.ALLOW:
            return wanted
        case Overlap.CANCEL:
            running = [one.id for one in standing.unfinished if one.is_running]
            cancels = tuple(one.id for one in standing.unfinished if not one.is_stopping)
            return replace(wanted, after=max(running, default=None), cancels=cancels)
        case Overlap.WAIT if waits_in_a_row or not any(one.is_blocked for one in standing.unfinished):
            return replace(wanted, after=standing.unfinished[-1].id)
        case Overlap.SKIP | Overlap.WAIT:
            return Skipped(Span(at, at), Reason.OVERLAP, standing.unfinished[0].id)


def _is_held(standing: Standing, wanted: Wanted) -> bool:
    """Whether another job keeps the unique key; one that is pending and cancelled for it gives it up."""
    running = [one.id for one in standing.unfinished if one.is_running]
    is_given_up = standing.held_by in wanted.cancels and standing.held_by not in running
    return standing.held_by is not None and not is_given_up


def _room_after(standing: Standing, wanted: Wanted) -> int | None:
    """How many jobs the queue would still take when those that wait in it and are cancelled have left it."""
    if standing.room is None:
        return None
    leave = [one for one in standing.unfinished if one.id in wanted.cancels and not one.is_elsewhere]
    return standing.room + sum(not one.is_running for one in leave)


def _with_job(standing: Standing, wanted: Wanted) -> Standing:
    cancels = wanted.cancels
    left = [
        replace(one, is_stopping=one.is_stopping or one.id in cancels)
        for one in standing.unfinished
        if one.is_running or one.id not in cancels
    ]
    room = _room_after(standing, wanted)
    return replace(
        standing,
        next_id=standing.next_id + 1,
        unfinished=(*left, Unfinished(wanted.id, is_blocked=wanted.after is not None)),
        room=None if room is None else room - 1,
        held_by=wanted.id if standing.has_key else None,
    )


def _append(verdicts: list[Verdict], verdict: Verdict) -> None:
    """Put it behind the others; with the last of them, where both are skips of the same kind."""
    last = verdicts[-1] if verdicts else None
    match last, verdict:
        case Skipped(span, reason, job_id), Skipped(own, same, same_job) if (reason, job_id) == (
            same,
            same_job,
        ):
            verdicts[-1] = Skipped(Span(span.at, own.until, span.count + own.count), reason, job_id)
        case _:
            verdicts.append(verdict)


def jitter_of(name: str, at: float, most: float) -> float:
    """A part of `most`, in seconds, that follows from the schedule's name and the occurrence."""
    digest = hashlib.blake2b(f"{name}\0{at!r}".encode(), digest_size=8).digest()
    return most * (int.from_bytes(digest) / 2**64)


def next_of(calendar: Calendar, now: float, count: int) -> list[float]:
    """The next occurrences."""
    return list(islice(calendar.after(now), count))
