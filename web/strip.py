"""Where a schedule's occurrences stand on a strip of 24 hours before and after now, and their words; no markup.

Each quarter of an hour has one mark, or is part of a bar.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Final

from bgjob.text import instant

DAY: Final = 86_400.0
CELL: Final = 900.0
_OFTEN: Final = 24
"""More occurrences of a day than these, and a schedule is always there, whatever comes together."""

MORE: Final = "more"
COMING: Final = "coming"
_BY_STATUS: Final[Mapping[str | None, str]] = {
    "completed": "completed", "failed": "failed", "running": "running", "pending": "waiting",
    "cancelled": "cancelled", None: "deleted",
}  # fmt: skip
KINDS: Final = (
    MORE, COMING, "deleted", "skipped", "cancelled", "completed", "waiting", "running", "refused", "failed",
)  # fmt: skip
"""What a mark may be; where several meet, the last of these is shown."""

_FAILURES: Final = ("refused", "queue full")

Told = Mapping[str, Any]
"""A schedule, or an occurrence, as the daemon tells it."""


@dataclass(frozen=True, slots=True)
class Run:
    """A mark, where it ends as it begins, or a bar; in seconds since the epoch, with its title."""

    begin: float
    end: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Meeting:
    """The schedules that have an occurrence in the quarter of an hour that begins at this instant, a UTC text."""

    at: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Meetings:
    """In their order, and the first of the largest; `left_out` are so many schedules that meet all others anyway."""

    each: tuple[Meeting, ...]
    largest: Meeting | None
    left_out: int


@dataclass(frozen=True, slots=True)
class _Mark:
    at: float
    kind: str
    title: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class _Cell:
    """What is in one quarter of an hour, the `place`th since the epoch."""

    place: int
    marks: tuple[_Mark, ...]

    @property
    def kind(self) -> str:
        return max((one.kind for one in self.marks), key=KINDS.index)

    @property
    def is_bar(self) -> bool:
        return len(self.marks) > 1 or self.marks[0].count > 1

    def goes_on(self, before: _Cell) -> bool:
        """Whether it is more of the bar before it."""
        is_next = self.place == before.place + 1
        return is_next and self.is_bar and before.is_bar and self.kind == before.kind


# What an occurrence is told as


def kind_of(occurrence: Told) -> str:
    """What its mark is: what became of its job, or `skipped`; `refused`, where nobody wanted that."""
    if occurrence["verdict"] == "skipped":
        return "refused" if occurrence["reason"] in _FAILURES else "skipped"
    return _BY_STATUS[occurrence["status"]]


def told_of(occurrence: Told) -> str:
    """What became of it, in words: "job 12 completed", "3 skipped: missed"."""
    if occurrence["verdict"] == "skipped":
        many = f"{occurrence['count']:,} " if occurrence["count"] > 1 else ""
        reason = str(occurrence["reason"])
        why = _OF_ANOTHER.get(reason, reason).format(occurrence["job_id"])
        return f"{many}skipped: {why}"
    how = "" if occurrence["verdict"] == "submitted" else f", {how_of(occurrence)}"
    return f"job {occurrence['job_id']} {occurrence['status'] or 'deleted'}{how}"


_OF_ANOTHER: Final = {"overlap": "job {} had not ended", "held": "job {} had its unique key"}


def how_of(occurrence: Told) -> str:
    """How it came to have a job; empty where it did so by itself."""
    return {"submitted": "", "asked": "asked for", "backfilled": "backfilled"}[occurrence["verdict"]]


def title_of(occurrence: Told) -> str:
    """The same with when it was."""
    begin, end = instant(occurrence["at"]), instant(occurrence["until"])
    when = _stamp(begin) if begin == end else f"{_stamp(begin)} to {_stamp(end)}"
    return f"{when} UTC: {told_of(occurrence)}"


def counted(occurrences: Iterable[Told]) -> str:
    """How many of each kind there are: "28 completed, 1 failed"; "none" of nothing."""
    counts: Counter[str] = Counter()
    for one in occurrences:
        counts[kind_of(one)] += one["count"]
    return _listed(counts)


def _listed(counts: Counter[str]) -> str:
    named = [f"{many:,} {_WORDS.get(kind, kind)}" for kind in reversed(KINDS) if (many := counts[kind])]
    return ", ".join(named) or "none"


_WORDS: Final[Mapping[str, str]] = {COMING: "to come"}


# The strip


def runs_of(schedule: Told, now: float) -> list[Run]:
    """What stands on a schedule's line, the gravest last, so that it is on top.

    Beside what the daemon tells of it the schedule has its latest `occurrences`, and whether there are `earlier` ones.
    """
    begin, end = now - DAY, now + DAY
    occurrences = schedule["occurrences"]
    runs = [one for one in _spans(occurrences) if one.end > begin]
    marks = [
        _Mark(instant(one["at"]), kind_of(one), title_of(one)) for one in occurrences if one["count"] == 1
    ]
    coming, is_all = _coming(schedule, now)
    runs += _runs(one for one in [*marks, *coming] if begin <= one.at <= end)
    oldest = min((instant(one["at"]) for one in occurrences), default=now)
    if schedule["earlier"] and oldest > begin:
        runs.append(Run(begin, oldest, MORE, "earlier ones"))
    if not is_all:
        runs.append(Run(max((one.at for one in coming), default=now), end, MORE, "further ones"))
    kept = [Run(max(begin, one.begin), min(end, one.end), one.kind, one.title) for one in runs]
    return sorted(kept, key=lambda one: KINDS.index(one.kind))


def day_in_words(schedule: Told, now: float) -> str:
    """The same for who cannot see it."""
    recent = [one for one in schedule["occurrences"] if instant(one["until"]) > now - DAY]
    coming, is_all = _coming(schedule, now)
    many = sum(one.count for one in coming)
    return f"The last 24 hours: {counted(recent)}; the next: {many:,}{'' if is_all else ' or more'} to come"


def _spans(occurrences: Iterable[Told]) -> Iterator[Run]:
    """Those that were skipped in a row."""
    for one in occurrences:
        if one["count"] > 1:
            yield Run(instant(one["at"]), instant(one["until"]), kind_of(one), title_of(one))


def _coming(schedule: Told, now: float) -> tuple[list[_Mark], bool]:
    """Those of the coming day that become jobs as things are, and whether there are no others: the daemon tells of so
    many, `every` goes on.
    """
    if schedule["paused_at"] is not None:
        return [], True
    known = [instant(one["at"]) for one in schedule["next"]]
    marks = [_Mark(at, COMING, f"{_stamp(at)} UTC: to come") for at in known if at <= now + DAY]
    every = schedule["every"]
    if not known or known[-1] > now + DAY:
        return marks, True
    if every is None:
        return marks, False
    step = every * math.ceil(CELL / every)
    count = math.ceil((now + DAY - known[-1]) / step)
    further = [known[-1] + step * number for number in range(1, count)]
    marks += [_Mark(at, COMING, f"{_stamp(at)} UTC: to come", round(step / every)) for at in further]
    return marks, True


def _runs(marks: Iterable[_Mark]) -> Iterator[Run]:
    """A mark for one alone in its quarter of an hour, a bar for several, and for all such in a row of one kind."""
    row: list[_Cell] = []
    for cell in _cells(marks):
        if row and not cell.goes_on(row[-1]):
            yield _run(row)
            row = []
        row.append(cell)
    if row:
        yield _run(row)


def _cells(marks: Iterable[_Mark]) -> Iterator[_Cell]:
    placed = groupby(sorted(marks, key=lambda one: one.at), lambda one: math.floor(one.at / CELL))
    for place, found in placed:
        yield _Cell(place, tuple(found))


def _run(row: Sequence[_Cell]) -> Run:
    first, last = row[0], row[-1]
    if not first.is_bar:
        (mark,) = first.marks
        return Run(mark.at, mark.at, mark.kind, mark.title)
    counts: Counter[str] = Counter()
    for one in (mark for cell in row for mark in cell.marks):
        counts[one.kind] += one.count
    title = f"{_stamp(first.marks[0].at)} to {_stamp(last.marks[-1].at)} UTC: {_listed(counts)}"
    return Run(first.place * CELL, (last.place + 1) * CELL, first.kind, title)


# What comes together


def meetings(schedules: Iterable[Told], now: float) -> Meetings:
    """What comes together in the coming day."""
    cells: dict[int, list[str]] = {}
    left_out = 0
    for schedule in schedules:
        coming, is_all = _coming(schedule, now)
        if not is_all or sum(one.count for one in coming) > _OFTEN:
            left_out += 1
            continue
        for place in {math.floor(one.at / CELL) for one in coming}:
            cells.setdefault(place, []).append(schedule["name"])
    each = tuple([Meeting(_text(place * CELL), tuple(names)) for place, names in sorted(cells.items())])
    return Meetings(each, max(each, key=lambda one: len(one.names), default=None), left_out)


def hours(now: float) -> Iterator[float]:
    """Every sixth hour of the two days, but for one so near to an end that there is no room to write it."""
    step, room = DAY / 4, DAY / 24
    first, last = math.ceil((now - DAY + room) / step), math.floor((now + DAY - room) / step)
    yield from (number * step for number in range(first, last + 1))


def quarter(at: float) -> str:
    """When on a clock of UTC: "02:15"."""
    return f"{datetime.fromtimestamp(at, UTC):%H:%M}"


def _text(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def _stamp(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"
