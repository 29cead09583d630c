"""What a cron expression may say, what is wrong with one, and what is most likely not meant, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cronsim import CronSimError

from bgjobd.core.calendar import Cron

_SHORT: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
"""What short forms stand for."""

_SINCE: Final = 946_684_800.0
"""2000-01-01: whether there is an occurrence within 50 years does not depend on when it is asked for."""


@dataclass(frozen=True)
class _Field:
    name: str
    lowest: int
    highest: int
    right: str
    words: tuple[str, ...] = ()
    anew: str = ""
    """With what its numbers begin anew."""
    unit: str = ""
    """What it counts, as `every` has it."""


_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS: Final = (
    _Field("minute", 0, 59, "30", anew="hour", unit="m"),
    _Field("hour", 0, 23, "2", anew="day", unit="h"),
    _Field("day of the month", 1, 31, "1", anew="month", unit="d"),
    _Field("month", 1, 12, "1", _MONTHS, anew="year"),
    _Field("day of the week", 0, 7, "1-5", _DAYS),
)
_TERM: Final = re.compile(r"(\*|[0-9A-Z]+(?:-[0-9A-Z]+)?|[0-9A-Z]+#[0-9]+)(?:/([0-9]+))?")


def fields_of(expression: str) -> str:
    """The five fields of the expression, short forms written out. Raises ValueError, which says what is wrong."""
    written = " ".join(expression.split())
    if written.startswith("@"):
        return _of_short_form(written)
    fields = written.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(_told_count(written, len(fields)))
    for place, (field, kind) in enumerate(zip(fields, _FIELDS, strict=True)):
        wrong = _try_wrong(field.upper(), place, kind)
        if wrong is not None:
            right = " ".join((*fields[:place], kind.right, *fields[place + 1 :]))
            raise ValueError(f'{wrong} in "{written}"; such as "{right}"')
    _check_days(written)
    return written


def surprises_of(expression: str) -> Iterator[str]:
    """What the five fields mean to cron, and hardly to who reads them."""
    fields = expression.split()
    for field, kind in zip(fields, _FIELDS, strict=True):
        step = int(field[2:]) if field.startswith("*/") and field[2:].isdecimal() else 0
        if step and kind.anew and (kind.highest - kind.lowest + 1) % step:
            yield _told_step(field, step, kind)
    _, _, day, _, weekday = fields
    if not day.startswith("*") and not weekday.startswith("*"):
        either = f"day of the month {day} and day of the week {weekday} are days that fit either of them"
        yield f"{either}; for those that fit both, write one, and have the job ask for the other"


def _told_step(field: str, step: int, kind: _Field) -> str:
    first, *_, last = [kind.lowest, *range(kind.lowest, kind.highest + 1, step)]
    if first == last:
        told = f"{kind.name} {field} is {first} alone, once in each {kind.anew}"
    else:
        told = f"{kind.name} {field} begins anew with each {kind.anew}: after {last} comes {first}"
    length = f"{step}{kind.unit}"
    return f'{told}; where {length} are to lie between, take every = "{length}"' if kind.unit else told


def _of_short_form(written: str) -> str:
    try:
        return _SHORT[written.lower()]
    except KeyError:
        known = ", ".join(_SHORT)
        why = "; what is to run at a boot is a unit of systemd's" if written.lower() == "@reboot" else ""
        raise ValueError(f'there is no {written}, only {known}{why}; such as "@daily"') from None


def _told_count(written: str, count: int) -> str:
    seconds = ' (for seconds there is every = "30s")' if count == len(_FIELDS) + 1 else ""
    names = ", ".join(kind.name for kind in _FIELDS)
    return f'"{written}" has {count} fields, and five are wanted: {names}{seconds}; such as "30 2 * * *"'


def _try_wrong(field: str, place: int, kind: _Field) -> str | None:
    """What is wrong with a field; None if nothing is."""
    whole = ["*"] * len(_FIELDS)
    whole[place] = field
    try:
        next(Cron(" ".join(whole)).after(_SINCE), None)
    except CronSimError:
        return next(_faults(field, kind), f"{kind.name} {field.lower()} means nothing")
    return None


def _faults(field: str, kind: _Field) -> Iterator[str]:
    for term in field.split(","):
        found = _TERM.fullmatch(term)
        if found is None:
            yield f"{kind.name} {term.lower()} means nothing" if term else f"an empty {kind.name}"
            continue
        first, _, last = found[1].partition("-")
        numbers = [
            _try_number(part.partition("#")[0], kind) for part in (first, last) if part not in ("", "*")
        ]
        for part, number in zip((first, last), numbers, strict=False):
            if number is None:
                yield f"{kind.name} {part.lower()} is no number{_or_word(kind)}"
            elif not kind.lowest <= number <= kind.highest:
                yield f"{kind.name} {number} of {kind.lowest} to {kind.highest}"
        if numbers != sorted(numbers, key=lambda number: number or 0):
            yield f"{kind.name} {first.lower()}-{last.lower()} goes back"
        if found[2] is not None and int(found[2]) == 0:
            yield f"{kind.name} {term.lower()} has a step of 0"


def _try_number(text: str, kind: _Field) -> int | None:
    if text in kind.words:
        return kind.lowest + kind.words.index(text)
    return int(text) if text.isdecimal() and len(text) < 10 else None


def _or_word(kind: _Field) -> str:
    return f", nor one of {' '.join(kind.words)}" if kind.words else ""


def _check_days(written: str) -> None:
    """Raises ValueError where no day of 50 years fits."""
    try:
        is_there = next(Cron(written).after(_SINCE), None) is not None
    except CronSimError:  # as it says of a day that none of the months has
        is_there = False
    if not is_there:
        minute, hour, _, month, weekday = written.split()
        raise ValueError(
            f'no day of 50 years fits "{written}"; such as "{minute} {hour} L {month} {weekday}", a month\'s last day'
        )
