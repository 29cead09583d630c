"""What a check says of the schedules that no single one of them tells: what is most likely not meant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from typing import Final

from bgjob.codec import to_json
from bgjobd.commands.findings import Finding, remark
from bgjobd.config.sections import Config, Schedule
from bgjobd.core.schedules import next_of

_DAY: Final = 86_400
_MANY: Final = 10_000
"""Occurrences a day, from which on their rows are worth a word: more than one in nine seconds."""

_ALIKE: Final = 100
"""So many of the next occurrences are compared of schedules that may be the same one twice."""


def findings(config: Config, now: float) -> Iterator[Finding]:
    """Schedules that fill the database, and those that do the same at the same times."""
    for name, schedule in sorted(config.schedules.items()):
        if schedule.every is not None and _DAY / schedule.every > _MANY:
            often = f"{_DAY / schedule.every:,.0f} occurrences a day, each a row and most of them a job"
            kept = "kept as long as [retention] completed says"
            yield remark(
                f"schedule {name}: {often}, {kept}; take a longer `every`, or keep them for less time"
            )
    for one, other in _twins(config, now):
        what = f"both submit {config.schedules[one].job}, with the same parameters and at the same times"
        yield remark(f"schedules {one} and {other}: {what}; remove one of them, unless two jobs are meant")


def _twins(config: Config, now: float) -> Iterator[tuple[str, str]]:
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, schedule in sorted(config.schedules.items()):
        alike[schedule.job, to_json(schedule.parameters)].append(name)
    for names in alike.values():
        times = {name: _times(config.schedules[name], now) for name in names} if len(names) > 1 else {}
        yield from ((one, other) for one, other in combinations(names, 2) if times[one] == times[other])


def _times(schedule: Schedule, now: float) -> list[float]:
    return next_of(schedule.calendar, now, _ALIKE)
