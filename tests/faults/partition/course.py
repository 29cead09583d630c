"""The course of a partition: submit, strike a blow a round, let all be well again, and read the books in the end."""

from __future__ import annotations

import math
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

from bgjob.words import FINAL
from tests.faults import books
from tests.faults.partition.blows import Blow, Round
from tests.faults.partition.effects import Evidence, Ran, Standstill
from tests.faults.partition.site import OFTEN, SLOTS, Host, Site, site
from tests.faults.partition.submitters import Submitters
from tests.support import eventually

SUBMITTERS: Final = 4
_PATIENCE: Final = 120.0
_SETTLING: Final = 180.0
_DONE: Final = "Background job completed processing"


@dataclass(frozen=True)
class Struck:
    """A round that is over: what was done to whom, whether the others took it for lost, in how many seconds."""

    blow: Blow
    host: str
    was_lost: bool
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What came of it. `twice` jobs ran twice at once, as daemon and fork server of their host stood still;
    `margins` are the seconds between a lost attempt and the next one elsewhere; `settled_after` is None where it
    did not settle.
    """

    seed: int
    rounds: tuple[Struck, ...]
    acknowledged: int
    jobs: Counter[str]
    attempts: Counter[str]
    twice: int
    margins: tuple[float, ...]
    settled_after: float | None
    troubles: Counter[str]
    findings: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        seconds = sum(one.seconds for one in self.rounds)
        yield f"seed {self.seed}, {len(self.rounds)} rounds, {seconds:.0f} s"
        for blow in Blow:
            struck = [one for one in self.rounds if one.blow is blow]
            yield f"  {len(struck):5}  {blow}; {sum(one.was_lost for one in struck)} times lost"
        yield f"acknowledged: {self.acknowledged:,} jobs; of all that are stored {_told(self.jobs)}"
        yield f"attempts: {self.attempts.total():,}; {_told(self.attempts)}"
        yield f"twice at once, for daemon and fork server stood still: {self.twice} jobs"
        yield f"from the last that a lost attempt did to the next one's start elsewhere: {_spread(self.margins)}"
        after = "not within the limit" if self.settled_after is None else f"after {self.settled_after:.1f} s"
        yield f"settled: {after}"
        yield f"submitters met: {_told(self.troubles) or 'no trouble'}"
        yield f"findings: {len(self.findings) or 'none'}"
        yield from (f"  {finding}" for finding in self.findings)


def partition(
    directory: Path,
    blows: Sequence[Blow],
    seed: int,
    hosts: int = 2,
    longest: float = math.inf,
    seconds: float = math.inf,
) -> Outcome:
    """Strike these blows, a round each, at so many hosts in this directory, while they have jobs of at most `longest`
    seconds; after so many `seconds` no more. Whatever of it is left is ended.
    """
    end = time.monotonic() + seconds
    with site(directory, hosts) as made:
        submitters = Submitters(made, seed, SUBMITTERS, longest)
        course = _Course(made, random.Random(f"{seed}.rounds"))
        submitters.start()
        try:
            for blow in blows:
                course.strike(blow)
                if course.findings or time.monotonic() >= end:
                    break
        finally:
            submitters.stop()
        return _settle(made, submitters, course, seed)


def drawn(rounds: int, seed: int) -> list[Blow]:
    """So many blows by chance, of each kind about as many."""
    chance, found = random.Random(f"{seed}.blows"), list[Blow]()
    while len(found) < rounds:
        found += chance.sample(list(Blow), len(Blow))
    return found[:rounds]


class _Course:
    """The rounds so far, and what was found in them."""

    def __init__(self, made: Site, chance: random.Random) -> None:
        self.rounds: list[Struck] = []
        self.standstills: list[Standstill] = []
        self.findings: list[str] = []
        self._site = made
        self._chance = chance

    def strike(self, blow: Blow) -> None:
        host, began = self._chance.choice(self._site.hosts), time.monotonic()
        name = f"round {len(self.rounds) + 1}, {host.name}, {blow}"
        _say(name)
        round = Round(self._site, host, self._chance)
        try:
            eventually(partial(_runs_much, self._site, host), _PATIENCE)
            began = time.monotonic()
            round.strike(blow)
            beats = self._site.beats()
            eventually(partial(_is_well, self._site, beats), _PATIENCE)
        except AssertionError as error:
            self.findings.append(f"{name}: {error}; hosts: {self._site.beats()}")
        self.findings += [why for one in self._site.hosts if (why := one.why_ended()) is not None]
        self.standstills += round.standstills
        self.rounds.append(Struck(blow, host.name, round.was_lost, time.monotonic() - began))


def _runs_much(made: Site, host: Host) -> bool:
    """Whether there is something to be lost."""
    open_attempts = "job_attempts AS a JOIN hosts AS h ON h.id = a.host WHERE a.outcome IS NULL"
    return len(made.rows(f"SELECT 1 FROM {open_attempts} AND h.name = '{host.name}'")) > SLOTS / 2


def _is_well(made: Site, before: dict[str, tuple[int, int]]) -> bool:
    """Whether each host counts, and has beaten since, and nothing of a lost one is left to do."""
    now = made.beats()
    return (
        all(now.get(host.name, (0, 0)) > before.get(host.name, (0, 0)) for host in made.hosts)
        and not made.owes()
        and all(host.why_ended() is not None or host.running.answers() for host in made.hosts)
    )


# The end


def _settle(made: Site, submitters: Submitters, course: _Course, seed: int) -> Outcome:
    ids, began = set(submitters.acknowledged.values()), time.monotonic()
    settled: float | None = None
    try:
        _wait_for_ends(made)
        eventually(lambda: all(books.is_settled(host.settings, ids) for host in made.hosts), _SETTLING)
        settled = time.monotonic() - began
    except AssertionError:
        course.findings.append(f"it has not settled, and nothing has ended for {_SETTLING:g} s")
    evidence = _evidence(made, course.standstills)
    explained = {one.job for one in evidence.overlaps() if evidence.is_explained(one)}
    findings = [
        *course.findings,
        *submitters.refusals,
        *evidence.findings(),
        *_by_the_books(made, ids),
        *_against_the_ledger(evidence, explained),
        *_astray(made, submitters.acknowledged),
        *_unfinished(made, submitters.cancelled),
        *_told_twice(made),
        *_lost_without_cause(evidence),
        *_said(made),
    ]
    return Outcome(
        seed=seed,
        rounds=tuple(course.rounds),
        acknowledged=len(submitters.acknowledged),
        jobs=Counter(dict(made.rows("SELECT status, count(*) FROM background_jobs GROUP BY status"))),
        attempts=Counter(
            dict(made.rows("SELECT coalesce(outcome, 'open'), count(*) FROM job_attempts GROUP BY 1"))
        ),
        twice=len(explained),
        margins=tuple(evidence.margins()),
        settled_after=settled,
        troubles=submitters.troubles,
        findings=tuple(findings),
    )


def _wait_for_ends(made: Site) -> None:
    """Until nothing waits; a slow machine may have much to do yet. Raises AssertionError where it comes to a halt."""

    def left() -> int:
        return int(made.rows("SELECT count(*) FROM background_jobs WHERE status = 'pending'")[0][0])

    while waiting := left():
        eventually(lambda waiting=waiting: left() < waiting, _SETTLING)  # type: ignore[misc]


def _evidence(made: Site, standstills: Sequence[Standstill]) -> Evidence:
    rows = made.rows(
        "SELECT a.job_id, a.number, j.class_name, h.name, a.outcome, a.pid, a.error_message FROM job_attempts AS a "
        "JOIN background_jobs AS j ON j.id = a.job_id JOIN hosts AS h ON h.id = a.host"
    )
    attempts = {(job, number): Ran(*of) for job, number, *of in rows}
    effects = made.ledger.with_name(f"{made.ledger.name}.effects")
    return Evidence(books.lines_of(made.ledger), books.lines_of(effects), attempts, standstills)


def _by_the_books(made: Site, ids: set[int]) -> list[str]:
    """What `bgjobd check --books` finds on each host, and what is left of it; what all share is told once."""
    found: list[str] = []

    def is_clean() -> bool:
        """What is about to end is no finding."""
        found[:] = [
            line
            for host in made.hosts
            for line in books.complaints(host.settings, ids, None, host.running.process and host.pid)
        ]
        return not found

    with suppress(AssertionError):  # told, with what was found
        eventually(is_clean, 20.0)
    return list(dict.fromkeys(found))


def _against_the_ledger(evidence: Evidence, explained: set[int]) -> list[str]:
    lines = [line for line in evidence.lines if line.job not in explained and line.what != "overlap"]
    rows = {
        key: books.Row(ran.outcome, ran.pid)
        for key, ran in evidence.attempts.items()
        if key[0] not in explained and (ran.pid is not None or ran.outcome != "completed")
    }
    return books.compare(lines, rows)


def _astray(made: Site, acknowledged: dict[str, int]) -> Iterator[str]:
    """Keys that stand for another job than was answered, or for several."""
    stored = made.rows("SELECT idempotency_key, id FROM background_jobs WHERE idempotency_key IS NOT NULL")
    yield from (
        f"key {key} has several jobs" for key, count in Counter(key for key, _ in stored).items() if count > 1
    )
    known: dict[str, Any] = dict(stored)
    for key, job in acknowledged.items():
        if known.get(key) != job:
            yield f"key {key} was answered with job {job}, and is that of job {known.get(key)}"


def _unfinished(made: Site, cancelled: set[int]) -> Iterator[str]:
    """What others may repeat has not completed, though nobody asked for its end."""
    final = ", ".join(f"'{status}'" for status in FINAL if status != "completed")
    asked = (
        f"SELECT id, status, error FROM background_jobs WHERE class_name = '{OFTEN}' AND status IN ({final})"
    )
    for job, status, error in made.rows(asked):
        if not (status == "cancelled" and job in cancelled):
            yield f"job {job}: it may be repeated, and is {status}: {error}"


def _told_twice(made: Site) -> Iterator[str]:
    asked = (
        f"SELECT job_id, count(*) FROM job_logs WHERE message = '{_DONE}' GROUP BY job_id HAVING count(*) > 1"
    )
    for job, count in made.rows(asked):
        yield f"job {job}: its log says {count} times that it has completed"


_CAUSES: Final = ("cut off from the database", "counts as lost")


def _lost_without_cause(evidence: Evidence) -> Iterator[str]:
    """Attempts that are lost though their host was not, nor cut off, nor without anybody to see their end."""
    unseen = {one.host for one in evidence.standstills}
    for (job, number), ran in evidence.attempts.items():
        is_told = any(cause in (ran.error or "") for cause in _CAUSES)
        if ran.outcome == "lost" and not is_told and ran.host not in unseen:
            yield f"job {job}, attempt {number}, on {ran.host}: it is lost ({ran.error})"


def _said(made: Site) -> Iterator[str]:
    """What a daemon has said that none should say here."""
    for host in made.hosts:
        for line in host.running.lines():
            if "bug:" in line or "has gone back" in line:
                yield f"{host.name} said: {line}"


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}"[:160], end="", file=sys.stderr, flush=True)


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {word}" for word, count in sorted(counts.items()))


def _spread(margins: Sequence[float]) -> str:
    if not margins:
        return "none"
    return f"at least {min(margins):.2f} s, p50 {median(margins):.2f} s, of {len(margins)}"
