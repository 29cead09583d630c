"""`bgjobd schedules`: when the schedules of a configuration occur next, told without a daemon, and without any code.

What it tells is a value, shown as lines or as JSON; `bgjobd check` tells the same of each.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bgjob.text import one_line
from bgjobd.api.schedules import coming
from bgjobd.commands.exit_codes import OK, UNKNOWN, complain
from bgjobd.config.schedules import Schedule
from bgjobd.config.sections import Config
from bgjobd.core.schedules import next_of


@dataclass(frozen=True, slots=True)
class Coming:
    """An occurrence that is to come: in UTC, as its zone's clocks show it, and what is special about it."""

    at: str
    local: str
    note: str | None

    def __str__(self) -> str:
        return self.local if self.note is None else f"{self.local}: {self.note}"


@dataclass(frozen=True, slots=True)
class Planned:
    """A schedule with its next occurrences; `refused` is why its job is, None where it is not, or nobody has looked."""

    name: str
    job: str
    cron: str | None
    every: float | None
    zone: str | None
    description: str
    missed: str
    overlap: str
    next: tuple[Coming, ...]
    refused: str | None = None

    def __str__(self) -> str:
        when = self.description[:1].lower() + self.description[1:]
        return f"{self.name}: {self.job} {when}" + ("" if self.zone is None else f" ({self.zone})")

    @property
    def lines(self) -> Iterator[str]:
        """What it is, and a line an occurrence."""
        yield one_line(str(self))
        yield from (f"    {coming}" for coming in self.next)


def plan(
    config: Config, after: float, count: int, refused: Mapping[str, str] | None = None
) -> tuple[Planned, ...]:
    """Each schedule of the configuration, with so many occurrences behind an instant."""
    reasons = refused or {}
    return tuple(
        [
            _planned(name, schedule, after, count, reasons.get(name))
            for name, schedule in sorted(config.schedules.items())
        ]
    )


def _planned(name: str, schedule: Schedule, after: float, count: int, refused: str | None) -> Planned:
    calendar = schedule.calendar
    following = [Coming(**coming(calendar, at)) for at in next_of(calendar, after, count)]
    return Planned(name=name, **schedule.told, next=tuple(following), refused=refused)


def for_programs(planned: Iterable[Planned]) -> list[dict[str, Any]]:
    """The same as JSON has it."""
    return [asdict(one) for one in planned]


def schedules(given: argparse.Namespace, config: Config) -> int:
    """Print when they occur; answers the exit code."""
    if given.name is not None and given.name not in config.schedules:
        known = ", ".join(sorted(config.schedules)) or "none"
        return complain(f"there is no schedule {one_line(given.name)} in [schedules], only {known}", UNKNOWN)
    after = time.time() if given.after is None else given.after
    planned = [one for one in plan(config, after, given.next) if given.name in (None, one.name)]
    if given.json:
        print(json.dumps({"schedules": for_programs(planned)}))
    elif planned:
        print("\n".join(line for one in planned for line in one.lines))
    else:
        print("there are no schedules; describe some under [schedules]")
    return OK
