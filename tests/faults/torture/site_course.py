"""The course of a torture of several hosts at one server; it ends with the books of all, and each loss by its name."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from bgjob.codec import JsonObject
from bgjobd.host.clock import from_text
from tests.faults import books
from tests.faults.torture import followers, looks, losses, mourning, recount
from tests.faults.torture.course import SUBMITTERS, Outcome
from tests.faults.torture.followers import Followers
from tests.faults.torture.killer import OF_HOSTS, Killer, Plan
from tests.faults.torture.losses import Loss
from tests.faults.torture.pruner import Pruner
from tests.faults.torture.site import Host, Outages, site
from tests.faults.torture.station import CLASSES
from tests.faults.torture.submitters import Submitters
from tests.faults.torture.watching import NO_AIM, Progress, watch
from tests.support import eventually

_SETTLING: Final = 600.0
"""Seconds in which no job ends."""

_LOOK: Final = 0.5
_OUTAGES: Final = 3.0
"""So many times as much is between two crashes of the server as between two deeds at a host."""

_MAY_END_WITH: Final = frozenset({-9, -15, 0, 69, 75})
"""Killed, told to, without the database, or beside somebody who has its lock, or its name, for the moment."""


@dataclass(frozen=True)
class OutcomeOfHosts(Outcome):
    """`ends` are the exit codes of the daemons, `lost` the attempts that were given up for another host's."""

    outages: int
    ends: Counter[int]
    fenced: int
    lost: tuple[str, ...]

    def _lines(self) -> Iterator[str]:
        yield from super()._lines()
        codes = ", ".join(f"{count} with {code}" for code, count in sorted(self.ends.items()))
        yield f"the server crashed {self.outages} times; the daemons ended {codes}"
        yield f"attempts that a host has ended, for it was cut off: {self.fenced}"
        yield f"attempts that others have given up: {len(self.lost)}"
        yield from (f"  {loss}" for loss in self.lost)


class Course:
    """All who take part; `pause` is what lies between two deeds at a host, on average, in seconds."""

    def __init__(
        self, server: Any, hosts: Sequence[Host], seed: int, pause: float, keeps_all: bool = False
    ) -> None:
        self.hosts, self.seed, self.keeps_all = hosts, seed, keeps_all
        plan = Plan(OF_HOSTS, pause, mercy=0.9)
        self.killers = {host.name: Killer(host, f"{seed}.{host.name}", plan) for host in hosts}
        self.outages = Outages(server, seed, pause * _OUTAGES)
        self.submitters = Submitters(hosts, seed, SUBMITTERS, keeps_all)
        self.pruner = Pruner(() if keeps_all else hosts, seed)
        self.followers = Followers(hosts)

    @property
    def kills(self) -> int:
        """How often a daemon was ended."""
        return sum(killer.ends for killer in self.killers.values())

    @property
    def progress(self) -> Progress:
        return Progress(len(self.submitters.acknowledged), self.kills, len(self.outages.done))

    def run(self, seconds: float, aim: Progress, is_enough: Callable[[Course], bool]) -> float:
        """For so long, or up to its aim, and until it is enough; how many seconds it was."""
        began = time.monotonic()
        with ExitStack() as started:
            for one in (self.followers, self.submitters, *self.killers.values(), self.outages, self.pruner):
                one.start()
                if one is not self.followers:
                    started.callback(one.stop)
            watch(seconds, lambda: self.progress, aim)
            eventually(lambda: is_enough(self), within=_SETTLING)
        for host in self.hosts:
            host.keep_down(0.0)
        return time.monotonic() - began

    def done(self, name: str) -> list[Any]:
        """What was done to this host."""
        (host,) = [host for host in self.hosts if host.name == name]
        return sorted([*self.killers[name].done, *host.poisonings()], key=lambda one: one.at)


def torture_hosts(
    directory: Path,
    seconds: float,
    seed: int,
    count: int,
    pause: float,
    lost_after: float,
    is_enough: Callable[[Course], bool] = lambda course: True,
    aim: Progress = NO_AIM,
    keeps_all: bool = False,
) -> OutcomeOfHosts:
    """Torture so many hosts in this directory for so many seconds, or until it has come to this aim, and until it is
    enough. With `keeps_all` nothing is pruned, and the tallies are counted again.
    """
    with site(directory, count, lost_after) as (server, hosts):
        for host in hosts:
            host.start()
        eventually(lambda: all(host.is_answering() for host in hosts), within=_SETTLING)
        course = Course(server, hosts, seed, pause, keeps_all)
        return _settle(course, course.run(seconds, aim, is_enough))


def _settle(course: Course, lasted: float) -> OutcomeOfHosts:
    one, *_ = hosts = course.hosts
    one.wait_for(partial(looks.have_paused, one))
    ids = {*course.submitters.acknowledged.values()}
    settled = _settled_after(hosts, ids)
    for host in hosts:
        looks.tidy(host)
    ids |= looks.of_schedules(one)
    one.wait_for(lambda: course.followers.have_all(looks.newest_entry(one)))
    course.followers.stop(partial(_run_another, one, ids))
    archived = course.pruner.archived()
    lost = _losses(one, archived)
    findings = [
        *(() if settled is not None else (f"it has not settled within {_SETTLING:g} s",)),
        *course.submitters.refusals,
        *course.pruner.findings,
        *_of_books(course, ids, archived, lost),
        *looks.astray(one, course.submitters.acknowledged),
        *looks.no_longer_allowed(one),
        *looks.ended_by_no_doing_of_theirs(one, archived),
        *looks.given_up_unbegun(one, archived),
        *looks.steps_again(one, {loss.key[0] for loss in lost if loss.is_given_up}),
        *losses.findings(lost, course.done, one.lost_after),
        *mourning.of_hooks(one, course.done),
        *followers.findings(course.followers.told, looks.entries(one)),
        *(line for host in hosts for line in recount.of_jobs(host)),
        *(line for host in hosts for line in looks.left_open(host)),
    ]
    findings += _stopped(course, ids, archived, lost)
    findings += recount.of_spans(one) if course.keeps_all else ()
    return OutcomeOfHosts(
        seed=course.seed,
        seconds=lasted,
        deeds=sum((killer.counts for killer in course.killers.values()), Counter()),
        prunes=course.pruner.ends,
        acknowledged=len(course.submitters.acknowledged),
        deleted=len({job["id"] for job in archived} - looks.ids_of(one)),
        jobs=looks.counts(one, "SELECT status, count(*) FROM background_jobs GROUP BY status"),
        attempts=looks.counts(
            one, "SELECT coalesce(outcome, 'open'), count(*) FROM job_attempts GROUP BY outcome"
        ),
        starts=tuple(start for host in hosts for start in host.starts),
        settled_after=settled,
        troubles=course.submitters.troubles,
        findings=tuple(dict.fromkeys(findings)),
        outages=len(course.outages.done),
        ends=Counter(code for host in hosts for code in host.ends),
        fenced=sum(losses.FENCED in loss.why for loss in lost),
        lost=tuple(str(loss) for loss in lost if loss.is_given_up),
    )


def _run_another(one: Host, ids: set[int]) -> None:
    with one.client() as client:
        job = client.run_background_job(CLASSES[0], "quick", {"ledger": str(one.ledger)})
        ids.add(job.id)
        job.wait(_SETTLING)


def _settled_after(hosts: Sequence[Host], ids: set[int]) -> float | None:
    began, clock = time.monotonic(), threading.Event()
    moved, still_open = began, math.inf
    while time.monotonic() - moved < _SETTLING:
        left = looks.open_jobs(hosts[0])
        if left < still_open:
            moved, still_open = time.monotonic(), left
        known = ids | looks.of_schedules(hosts[0])
        if all(host.is_answering() and books.is_settled(host.settings, known) for host in hosts):
            return time.monotonic() - began
        clock.wait(_LOOK)
    return None


def _of_books(
    course: Course, ids: set[int], archived: Sequence[JsonObject], lost: Sequence[Loss]
) -> Iterator[str]:
    """The books of each host, its spool and its processes; by the first those of all."""
    left_alone = {loss.key for loss in lost if losses.was_left_alone(loss, course.done(loss.host))}
    for host in course.hosts:
        ledger = host.ledger if host is course.hosts[0] else None
        yield from books.complaints(
            host.settings, ids, ledger, host.pid, archived=archived, left_alone=left_alone
        )


def _stopped(
    course: Course, ids: set[int], archived: Sequence[JsonObject], lost: Sequence[Loss]
) -> Iterator[str]:
    """What is wrong once all daemons have been stopped."""
    for host in course.hosts:
        code = host.stop()
        if code != 0:
            yield f"the daemon of {host.name} ended with {code} when it was told to, not with 0"
        for odd in sorted(set(host.ends) - _MAY_END_WITH):
            yield f"the daemon of {host.name} ended with {odd}"
        yield from books.complaints(host.settings, ids, None, None, archived=archived)


def _losses(one: Host, archived: Sequence[JsonObject]) -> list[Loss]:
    """The lost attempts of all jobs, stored ones and such as are gone."""
    rows = looks.rows_of(
        one,
        "SELECT a.job_id, a.number, h.name, a.started_at, a.finished_at, a.error_message "
        "FROM job_attempts AS a LEFT JOIN hosts AS h ON h.id = a.host WHERE a.outcome = 'lost'",
    )
    rows += [
        (
            job["id"],
            *[attempt[name] for name in ("number", "host", "started_at", "finished_at", "error_message")],
        )
        for job in archived
        for attempt in job["attempts"]
        if attempt["outcome"] == "lost"
    ]
    found = {
        (job, number): Loss((job, number), host, from_text(started or ended), from_text(ended), why)
        for job, number, host, started, ended, why in rows
    }
    return list(found.values())
