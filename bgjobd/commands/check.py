"""`bgjobd check`: looks at everything that a start takes, and at the jobs that wait for it; changes nothing.

What it finds is a value, shown as lines or as JSON; what each part looks at is in `limits`, `catalogue`,
`check_places`, `check_database`, `check_fence`, `check_schedules`, `check_keys`, `check_views`, `check_alerts`,
`check_rules` and `check_jobs`.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bgjob import __version__
from bgjob.text import one_line
from bgjobd.api.access import Access
from bgjobd.commands import (
    check_alerts,
    check_container,
    check_database,
    check_fence,
    check_jobs,
    check_keys,
    check_places,
    check_rules,
    check_schedules,
    check_views,
    findings,
    process_table,
    schedules,
)
from bgjobd.commands.findings import Finding, Severity, broken, doubtful, ok, remark
from bgjobd.commands.imported import imported
from bgjobd.commands.schedules import Planned
from bgjobd.config.problems import ConfigError
from bgjobd.config.sections import Config
from bgjobd.daemon import fates
from bgjobd.daemon.catalogue import Catalogue
from bgjobd.daemon.schedule_definitions import refusals
from bgjobd.host import clock, directories
from bgjobd.store.database import FILE_NAME, UnusableDatabaseError
from bgjobd.store.engines.places import place_of
from bgjobd.store.migrations import SchemaTooNewError
from bgjobd.store.pending import Waiting
from bgjobd.supervisor import cgroups, limits
from bgjobd.supervisor.fork_server_loading import ForkServerError

_PATIENCE: Final = 5.0
"""Seconds for the jobs that wait; 100,000 of them take one or two."""

_COMING: Final = 3
"""Occurrences of each schedule that are told."""

_AHEAD: Final = 60.0
"""Seconds by which a stored time may be ahead of the clock."""

_WITHOUT_BACKUP: Final = "brings it up to date, without a backup: pg_dump makes one"
"""What a start does to the older tables of a server."""

_OF_A_COPY: Final = (
    "database: a backup is in its place; a start pauses all schedules and the queues in which jobs wait, for what they "
    "start may have run since: cancel those, then `bgjob resume` and `bgjob schedule resume`"
)


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found. `ready` is what the fork server told, None where there was none; `classes` what may run."""

    file: Path | None
    ready: Mapping[str, Any] | None
    classes: Mapping[str, Mapping[str, Any]]
    enforced: Mapping[str, str]
    gaps: tuple[limits.Gap, ...]
    is_best_effort: bool
    has_prepare: bool
    findings: tuple[Finding, ...]
    schedules: tuple[Planned, ...] = ()

    @property
    def is_whole(self) -> bool:
        is_all_usable = not self._count_unavailable() and not self._count_refused()
        return is_all_usable and findings.is_whole(self.findings)

    @property
    def is_fit(self) -> bool:
        """Whether a start would succeed, perhaps without some of the classes and schedules."""
        return not self._count(Severity.BROKEN)

    @property
    def conclusion(self) -> str:
        """What it comes to, in one line."""
        counts = {
            Severity.BROKEN: self._count(Severity.BROKEN),
            "unavailable": self._count_unavailable(),
            "refused": self._count_refused(),
            Severity.DOUBTFUL: self._count(Severity.DOUBTFUL),
        }
        message = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        fit = "fit for a start" if self.is_fit else "not fit for a start"
        return f"{fit}: {message}" if message else fit

    def _count_unavailable(self) -> int:
        return sum(described["unavailable"] is not None for described in self.classes.values())

    def _count_refused(self) -> int:
        return sum(schedule.refused is not None for schedule in self.schedules)

    def _count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for finding in self.findings)

    def __str__(self) -> str:
        return "\n".join(map(one_line, _lines(self)))  # they quote what applications and files are named

    def as_json(self) -> str:
        """The same for programs."""
        return json.dumps(
            {
                "is_whole": self.is_whole,
                "is_fit": self.is_fit,
                "file": None if self.file is None else str(self.file),
                "interpreter": None if self.ready is None else self.ready["executable"],
                "python": None if self.ready is None else self.ready["python"],
                "classes": [
                    {
                        "name": name,
                        "unavailable": described["unavailable"],
                        "methods": sorted(described["methods"]) if described["unavailable"] is None else [],
                    }
                    for name, described in sorted(self.classes.items())
                ],
                "schedules": schedules.for_programs(self.schedules),
                "limits": dict(self.enforced),
                "gaps": [gap._asdict() for gap in self.gaps],
                "left_open": [] if self.ready is None else self.ready["left_open"],
                "exit_handlers": [] if self.ready is None else self.ready["exit_handlers"],
                "findings": [{"verdict": one.severity, "told": one.told} for one in self.findings],
            }
        )


def problems_as_json(error: ConfigError) -> str:
    """A configuration that cannot be used, for programs."""
    problems = [asdict(problem) for problem in error.problems]
    return json.dumps({"is_whole": False, "is_fit": False, "problems": problems})


def check(config: Config) -> Checked:
    """Look at everything. Raises ConfigError for limits that cannot be had."""
    daemon = process_table.daemon_of(config.daemon.state_dir)
    machine = limits.Machine.here(config.daemon.state_dir, daemon)
    limits.check(config, machine, may_get_cgroup=daemon is None and cgroups.has_controllers())
    found = list(check_container.findings(config, machine, os.environ))
    if not config.approved:
        found.append(remark("no class is approved; list some under [approved]"))
    catalogue, ready = _imported(config, found)
    found += check_schedules.findings(config, time.time())
    if catalogue is not None:
        found += check_keys.findings(config, catalogue.policies, time.time())
    found += check_places.findings(config, daemon)
    found += check_views.findings(config)
    found += check_fence.findings(config)
    found += check_alerts.findings(config, catalogue)
    found += _access(config)
    found.append(_clock())
    found.append(_strays(machine))
    of_database = check_database.findings(config, __version__)
    found += of_database
    if findings.is_fit(of_database):
        found += _stored(config, catalogue, ready, is_running=daemon is not None)
    return Checked(
        file=config.file,
        ready=ready,
        classes={} if catalogue is None else catalogue.classes,
        enforced=limits.table(machine),
        gaps=tuple(limits.gaps(config, machine)),
        is_best_effort=config.limits.best_effort,
        has_prepare=config.app.prepare is not None,
        findings=tuple(found),
        schedules=_schedules(config, catalogue),
    )


def _imported(config: Config, found: list[Finding]) -> tuple[Catalogue | None, Mapping[str, Any] | None]:
    """The catalogue, and what the fork server told of itself, if there is one; what is wrong goes to `found`."""
    if _is_of_another_user(config.daemon.state_dir):
        message = "nothing of [approved] was imported: that is code of another user's, as state_dir is"
        found.append(broken(f"interpreter: {message}; run this as that user"))
        return None, None
    try:
        catalogue, ready = asyncio.run(imported(config))
    except ForkServerError as error:
        found.append(broken(f"interpreter: {error}"))
        return None, None
    found += _unprepared(config, catalogue)
    found += _doubts(config, catalogue)
    return catalogue, ready


def _schedules(config: Config, catalogue: Catalogue | None) -> tuple[Planned, ...]:
    reasons = {} if catalogue is None else refusals(config, catalogue)
    return schedules.plan(config, time.time(), _COMING, reasons)


def _is_of_another_user(state_dir: Path) -> bool:
    """Whether the daemon is another user's, as far as can be seen: root is not to run what that user could write."""
    try:
        return state_dir.stat().st_uid != os.geteuid()
    except OSError:
        return False


def _unprepared(config: Config, catalogue: Catalogue) -> Iterator[Finding]:
    """What to do where classes need Django, and nobody has set it up; told once for all of them."""
    names = [name for name, described in sorted(catalogue.classes.items()) if _needs_django(described)]
    if names and config.app.prepare is None:
        told = f"Django is not set up when {', '.join(names)} {'is' if len(names) == 1 else 'are'} imported"
        keys = 'prepare = "django.setup" and env = { DJANGO_SETTINGS_MODULE = "….settings" }'
        yield doubtful(f"{told}; write {keys} under [app]")


def _needs_django(described: Mapping[str, Any]) -> bool:
    reason = described["unavailable"] or ""
    return reason.partition(":")[0] in ("ImproperlyConfigured", "AppRegistryNotReady")


def _doubts(config: Config, catalogue: Catalogue) -> Iterator[Finding]:
    for name, described in sorted(catalogue.classes.items()):
        if described["unavailable"] is None:
            yield from map(doubtful, catalogue.doubts(config, name))
            yield from map(remark, catalogue.remarks(name))


def _access(config: Config) -> Iterator[Finding]:
    for name in Access.from_config(config.access).unknown:
        message = f"access: {name} is not known to this machine, and grants nothing"
        yield doubtful(f"{message}; mend the name under [access], or make the user or group")


def _clock() -> Finding:
    if clock.is_synchronised() is False:
        message = "clock: nobody keeps it right (NTP); when it is set, times of jobs move with it"
        return remark(f"{message}; `timedatectl set-ntp true`, where systemd is")
    return ok("clock: it is synchronised")


def _strays(machine: limits.Machine) -> Finding:
    """How what attempts leave behind is found where daemon and fork server die at once; else both find all of it."""
    if machine.has_groups:
        return ok("strays: whatever an attempt leaves behind is found by its cgroup")
    message = "strays: should daemon and fork server be killed at once, what an attempt leaves behind is found by its"
    more = (
        "environment, and not where it has cleaned that; a cgroup finds it (Delegate=yes, DelegateSubgroup=)"
    )
    return remark(f"{message} {more}")


# What is stored


def _stored(
    config: Config, catalogue: Catalogue | None, ready: Mapping[str, Any] | None, *, is_running: bool
) -> Iterator[Finding]:
    state_dir = config.daemon.state_dir
    try:
        place = place_of(config.daemon)
        if place == state_dir and not directories.mode_of(state_dir / FILE_NAME):
            yield ok("database: there is none yet, the first start makes it")
            return
        if _is_of_another_user(state_dir):
            return  # whose the directory is has been told, and reading may leave files beside the database
        with closing(Waiting(place)) as waiting:
            yield from _of_waiting(waiting, catalogue, ready)
            if not (waiting.is_empty or waiting.is_old):
                yield from check_rules.findings(config, catalogue, place, is_running)
    except (UnusableDatabaseError, SchemaTooNewError, OSError) as error:
        yield broken(f"database: {error}")


def _of_waiting(
    waiting: Waiting, catalogue: Catalogue | None, ready: Mapping[str, Any] | None
) -> Iterator[Finding]:
    if waiting.is_empty:
        yield ok("database: it is empty, the first start makes its tables")
        return
    if waiting.is_old:
        does = "backs it up, and brings it up to date" if waiting.is_copied_first else _WITHOUT_BACKUP
        yield ok(f"database: schema version {waiting.schema}; a start {does}")
    if waiting.is_copy():
        yield remark(_OF_A_COPY)
    newest = waiting.newest()
    if newest is not None and clock.from_text(newest) > time.time() + _AHEAD:
        message = (
            f"clock: a job was written at {newest}, which is in the future: the clock was set back since"
        )
        yield doubtful(f"{message}; see that it is right, for times that jobs wait for count from it")
    if catalogue is None or ready is None:
        return  # without classes nothing can be said of their jobs
    end = time.monotonic() + _PATIENCE
    looked = fates.look(
        catalogue, ready["classes"], waiting.jobs(), waiting.count(), lambda: time.monotonic() < end
    )
    yield from check_jobs.findings(looked)


# Lines


def _lines(checked: Checked) -> Iterator[str]:
    yield f"configuration: {checked.file or 'defaults, no file'}"
    if checked.ready is not None:
        yield f"interpreter: {checked.ready['executable']} (Python {checked.ready['python']})"
    for name, described in sorted(checked.classes.items()):
        is_told = _needs_django(described) and not checked.has_prepare
        yield from _of_class(name, described, is_told)
    for planned in checked.schedules:
        yield from _of_schedule(planned)
    yield "limits, and what enforces them here:"
    for name, by in checked.enforced.items():
        yield f"    {name:<10}  {by}"
    for gap in checked.gaps:
        if checked.is_best_effort:
            yield f"best effort  {gap.key} {gap.text}"
        else:
            yield f"undecided    {gap.key} {gap.lacks}; the daemon's start tells, or check while it runs"
    for descriptor in checked.ready["left_open"] if checked.ready is not None else ():
        yield f"left open    {descriptor}: opened while modules were imported, and there in every attempt"
    for name in checked.ready["exit_handlers"] if checked.ready is not None else ():
        told = "registered with atexit while modules were imported; runs at an attempt's end"
        yield f'at exit      {name}: {told} with exit_handlers = "all" alone'
    yield from map(str, checked.findings)
    yield checked.conclusion


def _of_class(name: str, described: Mapping[str, Any], is_told: bool) -> Iterator[str]:
    """Its lines; without a traceback where what is wrong `is_told` once for several."""
    if described["unavailable"] is not None:
        yield f"unavailable  {name}: {described['unavailable']}"
        if described["traceback"] and not is_told:
            yield from (f"    {line}" for line in described["traceback"].rstrip().split("\n"))
        return
    names = ", ".join(sorted(described["methods"]))
    yield f"approved     {name}: {names or 'no method that may be called'}"
    for method, details in sorted(described["methods"].items()):
        if details["note"]:
            yield f"    {method}: {details['note']}"


def _of_schedule(planned: Planned) -> Iterator[str]:
    if planned.refused is not None:
        yield f"refused      schedule {planned.name}: {planned.refused}"
        yield "    a start skips its occurrences, and a reload that brings it fails"
        return
    first, *coming = planned.lines
    yield f"schedule     {first}"
    yield from coming
