"""What a job has been through as steps on one axis of time: waits, delays, attempts; pure: `now` is an argument."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final, NamedTuple

from bgjob.words import Outcome, Status

_FIRST: Final = 5
_LAST: Final = 14
_MOST: Final = 20
"""Of more steps than that the first and the last are told, and how many there are between."""

_SHORTEST: Final = 0.1
"""Seconds: a shorter wait is not worth a step."""

_START: Final = 1.0
"""Seconds that a process may take to begin once its job has the slot, up to which it had `waited`: no time was set."""

Told = Mapping[str, Any]


class Kind(StrEnum):
    """What a step is: a wait for others, a delay until a moment, an attempt by its end, a wish, or what is left out."""

    WAIT = "wait"
    DELAY = "delay"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    OVER = "over"
    CANCEL = "cancel"
    MORE = "more"


class Step(NamedTuple):
    """From `begin` to `end`, in seconds since the epoch; `is_open` where it goes on, `until` then is when it is due.

    Of an attempt `number` and `outcome` are told; `note` says why, or that a wait is among it.
    """

    kind: Kind
    begin: float
    end: float
    words: str
    note: str = ""
    number: int | None = None
    outcome: str | None = None
    is_open: bool = False
    until: float | None = None

    @property
    def seconds(self) -> float:
        return max(0.0, self.end - self.begin)


class Timeline(NamedTuple):
    """Steps in their order on an axis from `begin` to `end`; `marks` are moments on it, each with what it means."""

    steps: Sequence[Step]
    begin: float
    end: float
    marks: Sequence[tuple[float, str]] = ()

    def across(self, at: float) -> float:
        """How far along the axis a moment is: 0.0 to 1.0."""
        return min(1.0, max(0.0, (at - self.begin) / (self.end - self.begin)))


def timeline_of(job: Told, now: float, waits: Sequence[Told] = ()) -> Timeline:
    """Of a job with attempts, oldest first, of which some may be left out; `waits` are its steps, as far as known.

    An attempt may tell how long it had `waited` for its slot; where it does not, that is had from the delay between
    retries if it is always the same, and else told together with the delay before it.
    """
    every = sorted(
        [*_past(job, now, waits), *_present(job, now), *_wish(job, now)], key=lambda one: one.begin
    )
    steps = _shortened(every)
    marks = _marks(job)
    ends = [one.end for one in every] + [one.until for one in every if one.until is not None]
    begin = min([_instant(job["created_at"]), *(one.begin for one in every)])
    end = max([begin + 0.001, *ends, *_limit(job), *(at for at, _ in marks)])
    return Timeline(steps, begin, end, marks)


def _past(job: Told, now: float, waits: Sequence[Told]) -> Iterator[Step]:
    """All attempts, with what was before each."""
    attempts = job["attempts"]
    retries = _Retries(job)
    if attempts:
        yield from _before_first(job, attempts[0])
    for place, attempt in enumerate(attempts):
        if place and attempt["number"] > attempts[place - 1]["number"] + 1:
            yield _hole(attempts[place - 1], attempt)
        elif place:
            yield from _between(job, attempts[place - 1], attempt, retries, waits)
        yield _attempt(attempt, now)
        retries.take(attempt)


def _before_first(job: Told, first: Told) -> Iterator[Step]:
    created, start = _instant(job["created_at"]), _start(first)
    if first["number"] > 1:
        many = first["number"] - 1
        yield Step(Kind.MORE, created, start, _counted(many), number=many)
        return
    due = _due_first(job, first, created, start)
    if due - created > _SHORTEST:
        is_behind_others = job.get("if_failed") is not None
        yield Step(
            Kind.WAIT if is_behind_others else Kind.DELAY,
            created,
            due,
            "Waited for others" if is_behind_others else "Waited for its time",
        )
    yield from _for_slot(job, due, start)


def _due_first(job: Told, first: Told, created: float, start: float) -> float:
    is_latest = first is job["attempts"][-1] and job["scheduled_at"] is not None
    its_time = _instant(job["scheduled_at"]) if is_latest else created
    is_its = created <= its_time <= start  # else it is when the next one was to begin
    waited, is_behind_others = first.get("waited"), job.get("if_failed") is not None
    if waited is None or (is_latest and is_its and not is_behind_others):
        return its_time if is_its else created
    due = _within(start - waited, created, start)
    return created if due - created < _START and not is_behind_others else due


def _between(
    job: Told, before: Told, after: Told, retries: _Retries, waits: Sequence[Told]
) -> Iterator[Step]:
    ended, start = _end(before, _start(after)), _start(after)
    kind, words = retries.pause(before, waits)
    due = _due(job, before, after, ended, start)
    note = "and for a slot" if due is None else ""
    if due is None or due - ended > _SHORTEST:
        yield Step(kind, ended, start if due is None else due, words, note)
    if due is not None:
        yield from _for_slot(job, due, start)


def _due(job: Told, before: Told, after: Told, ended: float, start: float) -> float | None:
    """When the attempt could have begun; None where nothing tells."""
    if after.get("waited") is not None:
        return _within(start - after["waited"], ended, start)
    is_usual = before["outcome"] not in _NO_RETRY and before.get("spends_retry", True)
    if is_usual and job["backoff"] == "constant":
        return _within(ended + job["retry_delay"], ended, start)
    return None


_NO_RETRY: Final = (Outcome.SNOOZED, Outcome.SUSPENDED, Outcome.CANCELLED, Outcome.COMPLETED)


def _for_slot(job: Told, due: float, start: float) -> Iterator[Step]:
    if start - due > _SHORTEST:
        yield Step(Kind.WAIT, due, start, "Waited for a slot", f"queue {job['queue']}")


class _Retries:
    """Counts those that attempts have spent, which tells what came after each; a retry by somebody begins anew."""

    def __init__(self, job: Told) -> None:
        self._most = job["max_retries"]
        self._spent = 0
        self._is_whole = not job["attempts"] or job["attempts"][0]["number"] == 1

    def take(self, attempt: Told) -> None:
        """The attempt that comes next."""
        if attempt["outcome"] not in _NO_RETRY and attempt.get("spends_retry", True):
            self._spent += 1

    def pause(self, before: Told, waits: Sequence[Told] = ()) -> tuple[Kind, str]:
        """What came after this attempt, before the next one, in words."""
        outcome = before["outcome"]
        if outcome == Outcome.SNOOZED:
            return Kind.DELAY, "Snoozed"
        if outcome == Outcome.SUSPENDED:
            return _pause_of(before["number"], waits)
        if outcome == Outcome.CANCELLED or self._spent > self._most:
            self._spent = 0
            return Kind.OVER, "Over, until it was retried"
        if not before.get("spends_retry", True):
            return Kind.DELAY, "Delay, no retry spent"
        return Kind.DELAY, f"Delay before retry {self._spent}" if self._is_whole else "Delay before a retry"


def _pause_of(number: int, waits: Sequence[Told]) -> tuple[Kind, str]:
    """What the attempt of this number had ended to wait for, as the job's steps tell."""
    of_it = [one for one in waits if one["kind"] != "step" and one["attempt"] == number]
    if not of_it:
        return Kind.WAIT, "Waited"
    last = max(of_it, key=lambda one: str(one["began_at"]))
    if last["kind"] == "signal":
        return Kind.WAIT, f"Waited for signal {last['name']}"
    return Kind.DELAY, "Slept"


def _hole(before: Told, after: Told) -> Step:
    many = after["number"] - before["number"] - 1
    return Step(Kind.MORE, _end(before, _start(after)), _start(after), _counted(many), number=many)


def _attempt(attempt: Told, now: float) -> Step:
    outcome, number = attempt["outcome"], attempt["number"]
    kind = Kind.RUNNING if outcome is None else _KINDS.get(outcome, Kind.FAILED)
    begin, end = _start(attempt, now), _end(attempt, now)
    return Step(
        kind,
        begin,
        max(begin, end),
        f"Attempt {number}",
        number=number,
        outcome=outcome,
        is_open=outcome is None,
    )


_KINDS: Final = {
    Outcome.COMPLETED: Kind.COMPLETED,
    Outcome.CANCELLED: Kind.OVER,
    Outcome.SNOOZED: Kind.OVER,
    Outcome.SUSPENDED: Kind.OVER,
}


def _present(job: Told, now: float) -> Iterator[Step]:
    """What a pending job waits for."""
    if job["status"] != Status.PENDING:
        return
    last = job["attempts"][-1] if job["attempts"] else None
    begin = _instant(job["created_at"]) if last is None else _end(last, now)
    due = begin if job["scheduled_at"] is None else _instant(job["scheduled_at"])
    words = _awaited(job)
    if words is not None:
        until = due if due > now else None
        yield Step(Kind.WAIT, begin, max(begin, now), words, is_open=True, until=until)
    elif due > now:
        yield Step(Kind.DELAY, begin, due, _delay(job, last), is_open=True, until=due)
    else:
        yield from _on_its_turn(job, last, begin, due, now)


def _on_its_turn(job: Told, last: Told | None, begin: float, due: float, now: float) -> Iterator[Step]:
    if due - begin > _SHORTEST:
        yield Step(Kind.DELAY, begin, due, _delay(job, last))
    key = job.get("key") if job.get("is_behind") else None
    words = "Waits for a slot" if key is None else f"Behind {key}"
    yield Step(Kind.WAIT, max(begin, due), max(begin, due, now), words, f"queue {job['queue']}", is_open=True)


def _awaited(job: Told) -> str | None:
    """What it waits for that is no time and no slot."""
    if job.get("is_blocked"):
        many = job.get("waits_for") or 1
        return "Waits for another job" if many == 1 else f"Waits for {many:,} others"
    kind, _, name = (job.get("waiting_on") or "").partition(" ")
    return f"Waits for signal {name}" if kind == "signal" else None


def _delay(job: Told, last: Told | None) -> str:
    if last is None:
        return "Waits for its time"
    if last["outcome"] == Outcome.SUSPENDED:
        return "Sleeps"
    if last["outcome"] == Outcome.SNOOZED:
        return "Snoozed"
    return (
        f"Delay before retry {job['retry_count']}"
        if last.get("spends_retry", True)
        else "Delay, no retry spent"
    )


def _wish(job: Told, now: float) -> Iterator[Step]:
    asked = job["cancel_requested_at"]
    if asked is not None:
        ended = job["finished_at"] if Status(job["status"]).is_final else None
        begin = _instant(asked)
        end = now if ended is None else _instant(ended)
        yield Step(Kind.CANCEL, begin, max(begin, end), "Cancel asked", is_open=ended is None)


def _running(job: Told) -> Told | None:
    attempts = job["attempts"]
    is_running = attempts and attempts[-1]["outcome"] is None and attempts[-1]["started_at"] is not None
    return attempts[-1] if is_running else None


def _limit(job: Told) -> list[float]:
    """When what runs is stopped, if it ever is."""
    running = _running(job)
    return (
        []
        if running is None or job["timeout"] is None
        else [_instant(running["started_at"]) + job["timeout"]]
    )


def _marks(job: Told) -> list[tuple[float, str]]:
    """When others of its method had ended; those that a timeout comes before are left out."""
    running, expected = _running(job), job.get("expected")
    if running is None or expected is None:
        return []
    start = _instant(running["started_at"])
    told = [(expected["p50"], "half end by here"), (expected["p95"], "95 of 100 end by here")]
    return [(start + seconds, words) for seconds, words in told if seconds <= (job["timeout"] or seconds)]


def _shortened(steps: Sequence[Step]) -> Sequence[Step]:
    """All, or the first and the last and what is left out between them."""
    if len(steps) <= _MOST:
        return steps
    hole = next((place for place, one in enumerate(steps) if place and one.kind is Kind.MORE), _FIRST)
    first, last = min(_FIRST, hole), max(hole + 1, len(steps) - _LAST)
    hidden = steps[first:last]
    attempts = sum((one.number or 0) if one.kind is Kind.MORE else one.number is not None for one in hidden)
    words = _counted(attempts) if attempts else f"{len(hidden)} more"
    more = Step(Kind.MORE, hidden[0].begin, max(one.end for one in hidden), words, number=attempts)
    return [*steps[:first], more, *steps[last:]]


def _counted(attempts: int) -> str:
    return f"{attempts:,} more attempt{'' if attempts == 1 else 's'}"


def waited_of(job: Told, number: int) -> float | None:
    """How long the attempt had waited for its slot, in seconds; None where that is not known."""
    attempts = job["attempts"]
    for before, after in pairwise([None, *attempts]):
        if after is None or after["number"] != number or after["started_at"] is None:
            continue
        if after.get("waited") is not None:
            return float(after["waited"])
        start = _start(after)
        if before is None and number == 1:
            return start - _due_first(job, after, _instant(job["created_at"]), start)
        if before is not None and before["number"] == number - 1:
            due = _due(job, before, after, _end(before, start), start)
            return None if due is None else start - due
    return None


def _start(attempt: Told, otherwise: float | None = None) -> float:
    """When it began; one that never did, when that was over."""
    told = attempt["started_at"] or attempt["finished_at"]
    return (otherwise or 0.0) if told is None else _instant(told)


def _end(attempt: Told, otherwise: float) -> float:
    return otherwise if attempt["finished_at"] is None else _instant(attempt["finished_at"])


def _within(at: float, least: float, most: float) -> float:
    return min(max(at, least), most)


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
