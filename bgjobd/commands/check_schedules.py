"""What a check says of the schedules that no single one of them tells: what is most likely not meant."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from bgjob.codec import to_json
from bgjobd.commands.findings import Finding, remark
from bgjobd.config.cron_expressions import surprises_of
from bgjobd.config.schedules import Schedule
from bgjobd.config.sections import Config
from bgjobd.core.schedules import next_of

_DAY: Final = 86_400
_MANY: Final = 10_000
"""Occurrences a day, from which on their rows are worth a word: more than one in nine seconds."""

_COMPARED: Final = 30
"""So many of the next occurrences of schedules that may do the same."""

_NAMED: Final = 5


def findings(config: Config, now: float) -> Iterator[Finding]:
    """What a single one most likely does not mean, and those that do the same at the same times."""
    for name, schedule in sorted(config.schedules.items()):
        yield from (remark(f"schedule {name}: {told}") for told in _surprises(schedule, now))
    for names in _alike(config, now):
        what = f"submit {config.schedules[names[0]].job}, with the same parameters and at the same times"
        named = ", ".join(names[:_NAMED]) + (" and others" if len(names) > _NAMED else "")
        yield remark(f"schedules {named} {what}; keep one of them, unless several jobs are meant")


def _surprises(schedule: Schedule, now: float) -> Iterator[str]:
    if schedule.cron is not None:
        yield from surprises_of(schedule.cron)
    if schedule.every is not None and _DAY / schedule.every > _MANY:
        often = f"{_DAY / schedule.every:,.0f} occurrences a day, each a row and most of them a job"
        kept = "kept as long as [retention] completed says"
        yield f"{often}, {kept}; take a longer `every`, or keep them for less time"
    if schedule.jitter is not None and schedule.jitter >= (between := _shortest_time(schedule, now)):
        told = (
            f"its jobs wait by chance up to {schedule.jitter:g} s, and {between:g} s lie between occurrences"
        )
        yield f"{told}: one may find the job before it still waiting; take a jitter below that"


def _shortest_time(schedule: Schedule, now: float) -> float:
    """What lies at least between two of its next occurrences, in seconds."""
    coming = next_of(schedule.calendar, now, _COMPARED)
    return min((late - early for early, late in pairwise(coming)), default=math.inf)


def _alike(config: Config, now: float) -> Iterator[list[str]]:
    """The names of those that do the same."""
    of_job: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, schedule in sorted(config.schedules.items()):
        of_job[schedule.job, to_json(schedule.parameters)].append(name)
    for names in of_job.values():
        at_times: dict[tuple[float, ...], list[str]] = defaultdict(list)
        for name in names if len(names) > 1 else ():
            at_times[tuple(next_of(config.schedules[name].calendar, now, _COMPARED))].append(name)
        yield from (alike for alike in at_times.values() if len(alike) > 1)
