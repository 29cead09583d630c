"""What a check says of the schedules that no single one of them tells: what is most likely not meant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from bgjob.codec import to_json
from bgjobd.commands.findings import Finding, remark
from bgjobd.config.sections import Config
from bgjobd.core.schedules import next_of

_DAY: Final = 86_400
_MANY: Final = 10_000
"""Occurrences a day, from which on their rows are worth a word: more than one in nine seconds."""

_COMPARED: Final = 30
"""So many of the next occurrences of schedules that may do the same."""

_NAMED: Final = 5


def findings(config: Config, now: float) -> Iterator[Finding]:
    """Schedules that fill the database, and those that do the same at the same times."""
    for name, schedule in sorted(config.schedules.items()):
        if schedule.every is not None and _DAY / schedule.every > _MANY:
            often = f"{_DAY / schedule.every:,.0f} occurrences a day, each a row and most of them a job"
            kept = "kept as long as [retention] completed says"
            yield remark(
                f"schedule {name}: {often}, {kept}; take a longer `every`, or keep them for less time"
            )
    for names in _alike(config, now):
        what = f"submit {config.schedules[names[0]].job}, with the same parameters and at the same times"
        named = ", ".join(names[:_NAMED]) + (" and others" if len(names) > _NAMED else "")
        yield remark(f"schedules {named} {what}; keep one of them, unless several jobs are meant")


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
