"""What waits for somebody: one table of kinds, each with how it is found among what a daemon knows; no I/O, no clock.

Whoever shows it or tells it goes by this list. What is looked at is `Seen`; with which numbers, and of whose jobs, says
a `Rule`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from bgjob.amounts import about_text, span_text
from bgjobd.core.expectation import SLOW_TIMES, is_slow, slow_after
from bgjobd.core.peers import Peer
from bgjobd.core.sentences import clock, counted, moment, short
from bgjobd.core.trials import UNTRIED

MOST: Final = 100
"""So many are told; beyond that, how many more there are."""

FORK_SERVERS: Final = 3
_IN: Final = 600.0
"""So many fork servers that end by themselves within so many seconds need somebody."""

_AFTER_END: Final = 3600.0
DAY: Final = 86_400.0

TOLD_ONE_BY_ONE: Final = 5
"""Schedules that are refused: there may be many, for one reason."""


class Kind(StrEnum):
    """The kinds, in the order in which they are shown."""

    STORAGE = "storage"
    NO_CODE = "no_code"
    DAEMON = "daemon"
    UNAVAILABLE = "unavailable"
    QUARANTINED = "quarantined"
    REVIEW = "review"
    NEW_ERROR = "new_error"
    RISING_ERROR = "rising_error"
    PAUSED = "paused"
    OLDEST_PENDING = "oldest_pending"
    SLOW = "slow"
    REFUSED = "refused"
    MISSED = "missed"
    SCHEDULE_FAILS = "schedule_fails"
    DISK = "disk"
    HOST = "host"
    FAILED = "failed"
    FAILURE_RATE = "failure_rate"
    NO_SUCCESS = "no_success"


REASONS: Final = frozenset({Kind.STORAGE, Kind.NO_CODE, Kind.UNAVAILABLE, Kind.REFUSED, Kind.DISK})
"""Those by which a daemon does not do well; by the others it does."""


ASKED: Final = frozenset({Kind.FAILED, Kind.FAILURE_RATE, Kind.NO_SUCCESS})
"""Those that are looked for only where a rule asks for them."""

BY_ERROR: Final = frozenset({Kind.NEW_ERROR, Kind.RISING_ERROR, Kind.FAILED})
"""Those that are about an error, of which one is found at a time."""
KEYS: Final[Mapping[Kind, frozenset[str]]] = MappingProxyType(
    {kind: frozenset[str]() for kind in Kind}
    | dict.fromkeys(
        (Kind.UNAVAILABLE, Kind.QUARANTINED, Kind.REVIEW, Kind.NEW_ERROR, Kind.FAILED), frozenset({"job"})
    )
    | dict.fromkeys((Kind.REFUSED, Kind.MISSED), frozenset({"schedule"}))
    | {
        Kind.RISING_ERROR: frozenset({"least", "times"}),
        Kind.PAUSED: frozenset({"queue"}),
        Kind.OLDEST_PENDING: frozenset({"queue", "longer", "times"}),
        Kind.SLOW: frozenset({"job", "times", "least"}),
        Kind.SCHEDULE_FAILS: frozenset({"schedule", "last"}),
        Kind.HOST: frozenset({"longer"}),
        Kind.FAILURE_RATE: frozenset({"job", "over", "above", "least"}),
        Kind.NO_SUCCESS: frozenset({"job", "within"}),
    }
)
"""What of a rule means something to each kind."""

OF_METHODS: Final = frozenset({Kind.SLOW, Kind.NO_SUCCESS})
"""The kinds to which a method of the `job` means something."""

COUNTED_FOR: Final = 3600.0
"""Seconds for which it is counted how attempts end: the longest `over` of a rule."""


class Need(NamedTuple):
    """What waits for somebody since an instant: of each kind one for each `subject`; `hint` is what to do, `jobs` how
    many it is about, where it is about some.
    """

    kind: Kind
    subject: str
    since: float
    sentence: str
    hint: str | None = None
    jobs: int = 1


@dataclass(frozen=True, slots=True)
class Rule:
    """With which numbers a kind is looked for, and of what; None: of all. Times in seconds; `above` is a share."""

    kind: Kind
    job: str | None = None
    queue: str | None = None
    schedule: str | None = None
    longer: float = 0.0
    times: float = 0.0
    least: int = 0
    last: int = 0
    over: float = 0.0
    above: float = 0.0
    within: float = 0.0

    def is_of(self, class_name: str, method_name: str | None = None) -> bool:
        """Whether it asks for jobs of this class, or this method."""
        if self.job is None or self.job == class_name:
            return True
        return method_name is not None and self.job == f"{class_name}::{method_name}"


# What is looked at


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue: since when the oldest of its jobs that are due waits; what 95 of 100 wait at most, None: unknown."""

    name: str
    is_paused: bool = False
    resumes_at: float | None = None
    oldest_due: float | None = None
    usual_wait: float | None = None


@dataclass(frozen=True, slots=True)
class Crashed:
    """Jobs of a class that were given up for their crashes within a day, `since` then until `last_at`; its words."""

    class_name: str
    jobs: int
    since: float
    last_at: float
    message: str


@dataclass(frozen=True, slots=True)
class HeldClass:
    """A class none of whose jobs start, for they crash, or somebody has asked for it."""

    class_name: str
    since: float
    message: str
    next_try_at: float | None = None
    is_asked: bool = False


@dataclass(frozen=True, slots=True)
class ForReview:
    """Failed jobs of a class of which nobody knows what they did; `is_more`: not all of them were counted."""

    class_name: str
    jobs: int
    since: float
    is_more: bool = False


@dataclass(frozen=True, slots=True)
class MetError:
    """An error that is new, or back since `back_at`; `title` is as a list has it."""

    id: int
    title: str
    class_name: str
    first_at: float
    back_at: float | None
    attempts: int
    failed: int
    last_at: float = 0.0


@dataclass(frozen=True, slots=True)
class RisingError:
    """An error by which so many jobs have `failed` in the last hour, and so many in a usual one; None: too little is
    known of it. `since` is when the first hour began that counts.
    """

    id: int
    title: str
    class_name: str
    failed: int
    usual: float | None
    since: float


class Minute(NamedTuple):
    """How many attempts of a class have ended in the minute that began at `at`, and how many of these badly."""

    at: float
    ended: int
    bad: int


@dataclass(frozen=True, slots=True)
class Run:
    """An attempt that runs, and the 95th percentile of so many `runs` of its method that completed, in seconds."""

    job_id: int
    class_name: str
    method_name: str
    started_at: float
    p95: float
    runs: int


@dataclass(frozen=True, slots=True)
class SkippedLast:
    """The last occurrences of a schedule, so many in a row, that should have become jobs."""

    schedule: str
    at: float
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class FailedInRow:
    """How many jobs of a schedule have failed in a row, up to the last that has ended, and when the first did."""

    schedule: str
    jobs: int
    since: float
    last_job: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What a daemon knows. `known_since` is when that was first seen which tells no time of its own, by kind, subject.

    `held_back` are classes that get no start for their working directories, `refused` schedules that make no jobs,
    `disks` file systems that are nearly full, by their path, each with why. `ended_early`: when it was found that the
    daemon before this one had ended without a word; `fork_server_ends` when fork servers ended by themselves.
    `failures` are errors by which jobs have failed within a day, `attempts` how those of each class have ended of late.
    `successes` has when the last of a rule's jobs completed, by its `job`, `loaded` since when the rule is there.
    """

    host: str
    storage_trouble: str | None = None
    has_code: bool = True
    ended_early: float | None = None
    fork_server_ends: tuple[float, ...] = ()
    unavailable: Mapping[str, str] = field(default_factory=dict)
    hints: Mapping[str, str] = field(default_factory=dict)
    held_back: Mapping[str, str] = field(default_factory=dict)
    crashed: tuple[Crashed, ...] = ()
    held: tuple[HeldClass, ...] = ()
    review: tuple[ForReview, ...] = ()
    errors: tuple[MetError, ...] = ()
    rising: tuple[RisingError, ...] = ()
    queues: tuple[Queue, ...] = ()
    runs: tuple[Run, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    failures: tuple[MetError, ...] = ()
    attempts: Mapping[str, tuple[Minute, ...]] = field(default_factory=dict)
    successes: Mapping[str, float] = field(default_factory=dict)
    loaded: Mapping[Rule, float] = field(default_factory=dict)
    skipped: tuple[SkippedLast, ...] = ()
    failed_in_row: tuple[FailedInRow, ...] = ()
    disks: Mapping[str, str] = field(default_factory=dict)
    peers: tuple[Peer, ...] = ()
    known_since: Mapping[tuple[str, str], float] = field(default_factory=dict)


class _Found(NamedTuple):
    """A need as its rule finds it; `since` is None where nothing tells since when."""

    subject: str
    sentence: str
    hint: str | None = None
    since: float | None = None
    jobs: int = 1


def needs(
    seen: Seen, now: float, rules: Mapping[Kind, Rule] | None = None, asked: Iterable[Rule] = ()
) -> list[Need]:
    """All that needs somebody, in the order of the kinds; by other `rules` than the usual ones if given, and by those
    that are `asked` for what is looked for by them alone.
    """
    usual = USUAL if rules is None else {**USUAL, **rules}
    wanted = [usual[kind] for kind in Kind if kind not in ASKED]
    wanted += sorted(asked, key=lambda rule: list(Kind).index(rule.kind))
    answer: dict[tuple[str, str], Need] = {}
    for rule in wanted:
        for need in found(seen, now, rule):
            answer.setdefault(("error" if need.kind in BY_ERROR else need.kind, need.subject), need)
    return list(answer.values())


def found(seen: Seen, now: float, rule: Rule) -> Iterator[Need]:
    """What a rule finds."""
    kind = rule.kind
    for one in _FINDERS[kind](seen, rule, now):
        since = seen.known_since.get((kind, one.subject), now) if one.since is None else one.since
        yield Need(kind, one.subject, since, one.sentence, one.hint, one.jobs)


def awaits_since(seen: Seen, rule: Rule, now: float) -> float:
    """Since when a rule waits for a success: the last one, or its own beginning. A time that is farther ahead than it
    waits for is one of a clock that was wrong, and says nothing.
    """
    times = seen.loaded.get(rule), None if rule.job is None else seen.successes.get(rule.job)
    return max((at for at in times if at is not None and at <= now + rule.within), default=now)


def told(need: Need) -> str:
    """All of it in a line."""
    return need.sentence if need.hint is None else f"{need.sentence}; {need.hint}"


# How each is found


def _storage(seen: Seen, rule: Rule, now: float) -> Iterator[_Found]:
    if seen.storage_trouble:
        yield _Found(seen.host, seen.storage_trouble)


def _no_code(seen: Seen, rule: Rule, now: float) -> Iterator[_Found]:
    if not seen.has_code:
        sentence = "no code is loaded, and nothing starts until a fork server has imported it"
        yield _Found(
            seen.host, sentence, "if that lasts, the log says why, and `bgjobd check` tries the same"
        )


def _daemon(seen: Seen, rule: Rule, now: float) -> Iterator[_Found]:
    if seen.ended_early is not None and now - seen.ended_early <= _AFTER_END:
        sentence = "the daemon before this one ended without a word: a kill, a watchdog, or the machine's end"
        yield _Found(
            seen.host, sentence, "the service manager's journal has more; jobs went on", seen.ended_early
        )
        return
    latest = [at for at in seen.fork_server_ends if now - at <= _AFTER_END]
    for first, last in zip(latest, latest[FORK_SERVERS - 1 :], strict=False):
        if last - first <= _IN:
            sentence = (
                f"{FORK_SERVERS} fork servers ended by themselves in {about_text(max(1.0, last - first))}"
            )
            yield _Found(seen.host, sentence, "the log says how each did", last)
            return


def _unavailable(seen: Seen, rule: Rule, now: float) -> Iterator[_Found]:
    for name, why in seen.held_back.items():
        if rule.is_of(name):
            yield _Found(name, f"no job of {name} starts: {why}")
    for name, why in seen.unavailable.items():
        if rule.is_of(name) and name not in seen.held_back:
            yield _Found(name, f"{name} cannot be used: {why}", seen.hints.get(name, UNTRIED))


def _quarantined(seen: Seen, rule: Rule, now: float) -> Iterator[_Found]:
    held = {one.class_name for one in seen.held}
    for one in seen.held:
        if rule.is_of(one.class_name):
            why = f"{', ' if one.is_asked else ': '}{short(one.message)}"
            sentence = f"{one.class_name} is held{why}{_next_trial(one, now)}"
            yield _Found(
                one.class_name, sentence, f"`bgjob class resume {one.class_name}` lets it go on", one.since
            )
    for crashed in seen.crashed:
        if rule.is_of(crashed.class_name) and crashed.class_name not in held:
            were = "was" if crashed.jobs == 1 else "were"
            jobs = f"{counted(crashed.jobs, 'job')} {were} given up"
            sentence = f"{jobs} of {crashed.class_name}: {short(crashed.message)}"
            yield _Found(crashed.class_name, sentence, "mend it, then `bgjob retry`", crashed.since)


def _next_trial(held: HeldClass, now: float) -> str:
    if held.next_try_at is None:
        return ""
    if held.next_try_at <= now:
        return "; its next job is a trial"
    return f"; next trial at {moment(held.next_try_at, now)}"


def _review(seen: Seen, rule: Rule, now: float) -> Iterator[_Found]:
    for one in seen.review:
        if rule.is_of(one.class_name):
            is_are, they = ("is", "it") if one.jobs == 1 else ("are", "they")
            jobs = f"{counted(one.jobs, 'job')}{' or more' if one.is_more else ''}"
            sentence = f"{jobs} of {one.class_name} {is_are} for review: nobody knows what {they} did"
            yield _Found(one.class_name, sentence, "`bgjob list --status review`", one.since, one.jobs)


def _new_error(seen: Seen, rule: Rule, now: float) -> Iterator[_Found]:
    for one in seen.errors:
        if not rule.is_of(one.class_name):
            continue
        age = "is new" if one.back_at is None else "is back after two weeks or more"
        failed = counted(one.failed, "job") if one.failed else "no job"
        attempts = counted(one.attempts, "attempt")
        sentence = f"{short(one.title)} {age}: {failed} failed by it, {attempts} ended"
        hint, since = f"`bgjob errors {one.id}` has all of it", one.back_at or one.first_at
        yield _Found(str(one.id), sentence, hint, since, max(1, one.failed))


def _rising_error(seen: Seen, rule: Rule, now: float) -> Iterator[_Found]:
    for one in seen.rising:
        if is_rising(one, rule):
            usual = one.usual or 0.0
            usually = "none" if usual < _NEARLY_NONE else f"{usual:.1f}" if usual < 1 else f"{usual:,.0f}"
            failed = f"{counted(one.failed, 'job')} failed by {short(one.title)} in the last hour"
            hint = f"`bgjob errors {one.id}` has all of it"
            yield _Found(str(one.id), f"{failed}, usually {usually}", hint, one.since, one.failed)


_NEARLY_NONE: Final = 0.05


def is_rising(error: RisingError, rule: Rule) -> bool:
    """Whether it fails more jobs than it usually does."""
    if error.usual is None or error.failed < max(1, rule.least):
        return False
    return error.failed >= rule.times * error.usual


def _paused(seen: Seen, rule: Rule, now: float) -> Iterator[_Found]:
    for queue in seen.queues:
        if queue.is_paused and queue.oldest_due is not None and rule.queue in (None, queue.name):
            at = queue.resumes_at
            until, before = ("", "") if at is None else (f" until {moment(at, now)}", " before")
            waited = about_text(max(0.0, now - queue.oldest_due))
            sentence = f"queue {queue.name} is paused{until}, and a job that is due has waited for {waited}"
            yield _Found(
                queue.name, sentence, f"`bgjob resume {queue.name}` goes on with it{before}", queue.oldest_due
            )


def _oldest_pending(seen: Seen, rule: Rule, now: float) -> Iterator[_Found]:
    for queue in seen.queues:
        if queue.is_paused or queue.oldest_due is None or rule.queue not in (None, queue.name):
            continue
        waited, usual = now - queue.oldest_due, queue.usual_wait
        if waited > max(rule.longer, rule.times * (usual or 0.0)):
            usually = "" if usual is None else f", of which 95 of 100 wait {span_text(usual)} at most"
            sentence = f"a job has waited for a slot of queue {queue.name} for {about_text(waited)}{usually}"
            since = queue.oldest_due + rule.longer
            yield _Found(queue.name, sentence, "`bgjob list --status running` has what runs", since)


def _slow(seen: Seen, rule: Rule, now: float) -> Iterator[_Found]:
    slowest: dict[tuple[str, str], list[Run]] = {}
    for run in seen.runs:
        is_known = run.runs >= rule.least and run.p95 > 0
        if not (is_known and is_slow(now - run.started_at, run.p95, rule.times)):
            continue
        if rule.is_of(run.class_name, run.method_name):
            slowest.setdefault((run.class_name, run.method_name), []).append(run)
    for (class_name, method_name), runs in slowest.items():
        first = min(runs, key=lambda run: run.started_at)
        took, others = now - first.started_at, len(runs) - 1
        sentence = f"job {first.job_id} of {class_name}::{method_name} has run for {about_text(took)}"
        sentence += f", {took / first.p95:.0f} times as long as 95 of 100"
        sentence += f", and {others:,} more" if others else ""
        since = first.started_at + slow_after(first.p95, rule.times)
        yield _Found(
            f"{class_name}::{method_name}", sentence, f"`bgjob stack {first.job_id}` says where it is", since
        )


def _refused(seen: Seen, rule: Rule, now: float) -> Iterator[_Found]:
    wanted = {name: why for name, why in seen.refused.items() if rule.schedule in (None, name)}
    for name, why in list(wanted.items())[:TOLD_ONE_BY_ONE]:
        # One that was put has a slash in its name.
        anew = "put it anew, or delete it" if "/" in name else "mend it, or what is approved, and reload"
        yield _Found(name, f"schedule {name} makes no jobs: {why}", anew)
    if len(wanted) > TOLD_ONE_BY_ONE:
        yield _Found(
            "(other)", "other schedules make no jobs either", "`bgjob schedules` marks them as refused"
        )


def _missed(seen: Seen, rule: Rule, now: float) -> Iterator[_Found]:
    for one in seen.skipped:
        if rule.schedule in (None, one.schedule) and one.schedule not in seen.refused:
            many = "its last occurrence" if one.count == 1 else f"its last {one.count:,} occurrences"
            sentence = f"schedule {one.schedule}: {many} became no job: {one.reason}"
            yield _Found(
                one.schedule, sentence, f"`bgjob schedules {one.schedule}` has what became of each", one.at
            )


def _schedule_fails(seen: Seen, rule: Rule, now: float) -> Iterator[_Found]:
    for one in seen.failed_in_row:
        if one.jobs >= rule.last and rule.schedule in (None, one.schedule):
            sentence = f"the last {one.jobs:,} jobs of schedule {one.schedule} failed"
            if one.jobs == 1:
                sentence = f"the last job of schedule {one.schedule} failed"
            yield _Found(one.schedule, sentence, f"`bgjob show {one.last_job}` has the latest", one.since)


def _disk(seen: Seen, rule: Rule, now: float) -> Iterator[_Found]:
    for path, trouble in seen.disks.items():
        yield _Found(path, trouble)


def _failed(seen: Seen, rule: Rule, now: float) -> Iterator[_Found]:
    for one in seen.failures:
        if rule.is_of(one.class_name) and one.failed and now - one.last_at <= DAY:
            sentence = f"{counted(one.failed, 'job')} failed by {short(one.title)}"
            hint = f"`bgjob errors {one.id}` has all of it"
            yield _Found(str(one.id), sentence, hint, one.last_at, one.failed)


def _failure_rate(seen: Seen, rule: Rule, now: float) -> Iterator[_Found]:
    for name, minutes in seen.attempts.items():
        late = [minute for minute in minutes if minute.at > now - rule.over] if rule.is_of(name) else []
        ended, bad = sum(minute.ended for minute in late), sum(minute.bad for minute in late)
        if ended >= max(1, rule.least) and bad > rule.above * ended:
            sentence = (
                f"{bad / ended:.0%} of {ended:,} attempts of {name} ended badly within {span_text(rule.over)}"
            )
            yield _Found(name, sentence, "`bgjob errors` tells by what", None, bad)


def _no_success(seen: Seen, rule: Rule, now: float) -> Iterator[_Found]:
    since = awaits_since(seen, rule, now)
    if rule.job is None or now - since < rule.within:
        return
    last = seen.successes.get(rule.job)
    before = "none has so far" if last is None else f"the last did at {clock(last, now)}"
    sentence = f"no job of {rule.job} has completed within {span_text(rule.within)}: {before}"
    hint = f"`bgjob list --class {rule.job.partition('::')[0]}` has what became of its jobs"
    yield _Found(rule.job, sentence, hint, since + rule.within)


def _host(seen: Seen, rule: Rule, now: float) -> Iterator[_Found]:
    for peer in seen.peers:
        silent = now - peer.seen_at
        if not (peer.has_left or peer.is_lost) and silent > rule.longer:
            sentence = f"host {peer.name} has not been seen for {about_text(silent)}, and has not left"
            hint = f"start it, or `bgjob hosts lost {peer.name}`, if it is gone for good"
            yield _Found(peer.name, sentence, hint, peer.seen_at)


_FINDERS: Final[Mapping[Kind, Callable[[Seen, Rule, float], Iterator[_Found]]]] = MappingProxyType(
    {
        Kind.STORAGE: _storage,
        Kind.NO_CODE: _no_code,
        Kind.DAEMON: _daemon,
        Kind.UNAVAILABLE: _unavailable,
        Kind.QUARANTINED: _quarantined,
        Kind.REVIEW: _review,
        Kind.NEW_ERROR: _new_error,
        Kind.RISING_ERROR: _rising_error,
        Kind.PAUSED: _paused,
        Kind.OLDEST_PENDING: _oldest_pending,
        Kind.SLOW: _slow,
        Kind.REFUSED: _refused,
        Kind.MISSED: _missed,
        Kind.SCHEDULE_FAILS: _schedule_fails,
        Kind.DISK: _disk,
        Kind.HOST: _host,
        Kind.FAILED: _failed,
        Kind.FAILURE_RATE: _failure_rate,
        Kind.NO_SUCCESS: _no_success,
    }
)

USUAL: Final[Mapping[Kind, Rule]] = MappingProxyType(
    {kind: Rule(kind) for kind in Kind}
    | {
        Kind.RISING_ERROR: Rule(Kind.RISING_ERROR, least=5, times=3.0),
        Kind.OLDEST_PENDING: Rule(Kind.OLDEST_PENDING, longer=600.0, times=3.0),
        Kind.SLOW: Rule(Kind.SLOW, times=SLOW_TIMES, least=20),
        Kind.SCHEDULE_FAILS: Rule(Kind.SCHEDULE_FAILS, last=3),
        Kind.HOST: Rule(Kind.HOST, longer=60.0),
        Kind.FAILURE_RATE: Rule(Kind.FAILURE_RATE, over=900.0, above=0.2, least=20),
    }
)
"""The numbers by which each kind is looked for where no configuration says other ones."""
