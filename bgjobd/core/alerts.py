"""What of all that needs somebody is told, when, and once: from needs, what is stored, and `now`; no I/O, no clock.

An alert is a need of a rule that was raised and stored. `told_count` counts what is done of its two tellings: that it
is there, and that it is over.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, NamedTuple

from bgjobd.core.expectation import slow_after
from bgjobd.core.need_kinds import BY_ERROR, DAY, MOST, Kind, Need, Rule, Seen
from bgjobd.core.needs import TOLD_ONE_BY_ONE, awaits_since, found, is_rising

JOURNAL: Final = "journal"
"""The target that is always there."""

HOUR: Final = 3600.0
DONE: Final = 2
"""Told of its beginning and its end, or of neither any more."""

MOST_IN_NOTICE: Final = 20
"""So many alerts are told in one notice; beyond that, how many more there are."""

DIRECT: Final = frozenset({Kind.STORAGE, Kind.DAEMON})
"""What no job can tell, for none can be stored, or started: the daemon tells it by itself."""

OF_HOST: Final = frozenset(
    {
        *(Kind.STORAGE, Kind.NO_CODE, Kind.DAEMON, Kind.UNAVAILABLE, Kind.QUARANTINED, Kind.PAUSED),
        *(Kind.OLDEST_PENDING, Kind.REFUSED, Kind.DISK, Kind.FAILURE_RATE),
    }
)
"""What a host sees of itself, its code, its configuration, or its own attempts."""

_OF_CODE: Final = frozenset({Kind.UNAVAILABLE, Kind.QUARANTINED, Kind.REFUSED})
"""What nobody sees without the application's code."""

_MOMENT: Final = 0.1
"""Seconds that an instant is looked at later than it comes, so that it has come."""


@dataclass(frozen=True, slots=True)
class Watch:
    """A rule by its name, and the targets that hear of what it finds; none: it is only shown."""

    name: str
    rule: Rule
    tell: tuple[str, ...] = ()

    @property
    def of_load(self) -> str:
        """By what it is known when it was first loaded: of other jobs it waits anew."""
        return f"{self.name} {self.rule.job}"


@dataclass(frozen=True, slots=True)
class Settings:
    """Seconds until the same may be told again, and for which what comes together is gathered; notices an hour."""

    quiet: float = HOUR
    gather: float = 10.0
    most: int = 20


class Raised(NamedTuple):
    """What a rule has found, and is not over."""

    rule: str
    need: Need


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as it is stored; `since` is when it began to be needed, `raised_at` when `host` saw that."""

    id: int
    rule: str
    kind: str
    subject: str
    since: float
    message: str
    hint: str | None
    count: int
    raised_at: float
    cleared_at: float | None = None
    told_at: float | None = None
    told_count: int = 0
    acknowledged_at: float | None = None
    host: str | None = None
    grade: int = 0

    @property
    def told_as(self) -> tuple[str, str]:
        """What `quiet` is for."""
        return self.rule, told_subject(self.subject, self.grade)

    @property
    def key(self) -> tuple[str, str]:
        """What no two that are open share."""
        return self.rule, self.subject

    @property
    def is_open(self) -> bool:
        return self.cleared_at is None


def told_subject(subject: str, grade: int) -> str:
    """A subject, as what was told of it is looked up: a higher grade does not wait for what was told of a lower."""
    return f"{subject}\n{grade}" if grade else subject


class Load(NamedTuple):
    """When a rule that waits for a success was first loaded, and by which host."""

    at: float
    host: str


class Changes(NamedTuple):
    """What is to be stored: new ones, those that are about more jobs by now, or have come down to a lower grade, those
    that are over, and those of which nobody hears: of rules that are no more, and what is raised anew for its grade.
    """

    new: tuple[Raised, ...]
    changed: tuple[tuple[Alert, Need], ...]
    over: tuple[Alert, ...]
    dropped: tuple[Alert, ...]


class Plan(NamedTuple):
    """The alerts to tell of now, whether with that the hour is full, and when to look again, None if nothing waits."""

    tell: tuple[Alert, ...]
    is_full: bool
    next_at: float | None


def loads(
    wanted: Iterable[str], stored: Mapping[str, Load], others: Collection[str], host: str, now: float
) -> dict[str, Load]:
    """What is to be known of when rules were loaded, each by its `of_load`: of the `wanted` ones, and of those that
    hosts which live beside this one have. Where the clock was set back a rule waits anew.
    """
    kept = {name: load for name, load in stored.items() if load.host in others}
    for name in wanted:
        known = stored.get(name)
        at = now if known is None or known.at > now + _MOMENT else known.at
        kept[name] = Load(at, known.host if known is not None and known.host in others else host)
    return kept


def raised(watches: Iterable[Watch], seen: Seen, now: float) -> list[Raised]:
    """What the rules find; of one error one of them alone: a new one goes before one that fails jobs, and who asks for
    a class before who asks for all. That there is no code while it is being loaded is no news.
    """
    seen = replace(seen, has_code=seen.has_code or seen.is_loading)
    errors: set[str] = set()
    answer = []
    for watch in sorted(watches, key=_breadth):
        for need in found(seen, now, watch.rule):
            if watch.rule.kind in BY_ERROR and need.subject in errors:
                continue
            if watch.rule.kind in BY_ERROR:
                errors.add(need.subject)
            answer.append(Raised(watch.name, need))
    return answer


def _breadth(watch: Watch) -> tuple[int, bool]:
    return _ORDER[watch.rule.kind], watch.rule.job is None


_ORDER: Final = {kind: place for place, kind in enumerate(Kind)}


def partly_seen(seen: Seen, now: float) -> dict[str, float]:
    """The kinds of which there is more than was looked at, each with an instant: what was raised before that, and is
    not found, is over all the same. What depends on code will show once that is loaded.
    """
    lists = {
        Kind.NEW_ERROR: seen.errors,
        Kind.RISING_ERROR: seen.rising,
        Kind.FAILED: seen.failures,
        Kind.MISSED: seen.skipped,
        Kind.SCHEDULE_FAILS: seen.failed_in_row,
    }
    found = {kind for kind, those in lists.items() if len(those) > MOST}
    found |= {Kind.REVIEW} if any(one.is_more for one in seen.review) else set()
    found |= {Kind.REFUSED} if len(seen.refused) > TOLD_ONE_BY_ONE else set()
    unseen = _OF_CODE if not seen.has_code else frozenset()
    unseen |= {Kind.NO_CODE} if seen.is_loading else set()
    return dict.fromkeys(map(str, found), now - DAY) | dict.fromkeys(map(str, unseen), -math.inf)


def compare(
    those: Iterable[Raised],
    stored: Iterable[Alert],
    rules: Collection[str],
    others: Collection[str] = (),
    partly: Mapping[str, float] = MappingProxyType({}),
) -> Changes:
    """What becomes of what is open, by what was found; `rules` are those that there are. `others` are hosts that live:
    what they alone can see, or have a rule for, is for them to end. Of the kinds that were `partly` seen, by
    partly_seen(), what was raised since is not over, for it may be there, and no more than so many are open.
    """
    wanted = {(one.rule, one.need.subject): one.need for one in those}
    all_open = {alert.key: alert for alert in stored if alert.is_open}
    outgrown = {key for key, alert in all_open.items() if key in wanted and wanted[key].grade > alert.grade}
    still_open = {key: alert for key, alert in all_open.items() if key not in outgrown}
    over = [
        alert for key, alert in still_open.items() if key not in wanted and not _is_of(alert, rules, others)
    ]
    return Changes(
        tuple(_new(wanted, still_open, partly)),
        tuple(
            (alert, wanted[key])
            for key, alert in still_open.items()
            if key in wanted and _has_changed(alert, wanted[key], rules, others)
        ),
        tuple(
            alert
            for alert in over
            if alert.rule in rules and alert.raised_at < partly.get(alert.kind, math.inf)
        ),
        tuple(alert for alert in over if alert.rule not in rules) + tuple(all_open[key] for key in outgrown),
    )


def _has_changed(alert: Alert, need: Need, rules: Collection[str], others: Collection[str]) -> bool:
    has_come_down = need.grade < alert.grade and not _is_of(alert, rules, others)
    return alert.count != need.jobs or has_come_down


def _new(
    wanted: Mapping[tuple[str, str], Need],
    still_open: Mapping[tuple[str, str], Alert],
    partly: Collection[str],
) -> Iterator[Raised]:
    count = Counter(rule for rule, _ in still_open)
    for (rule, subject), need in wanted.items():
        is_beyond = need.kind in partly and count[rule] >= MOST
        if (rule, subject) not in still_open and not is_beyond:
            count[rule] += 1
            yield Raised(rule, need)


def _is_of(alert: Alert, rules: Collection[str], others: Collection[str]) -> bool:
    """Whether one of these hosts looks after it."""
    return alert.host in others and (alert.kind in OF_HOST or alert.rule not in rules)


def plan(
    stored: Iterable[Alert],
    told: Sequence[tuple[str, str, float]],
    mutes: Mapping[str, float],
    telling: Collection[str],
    settings: Settings,
    now: float,
) -> Plan:
    """Whom to tell of what now. `told` are rule, told_subject() and instant of what was told lately, `mutes` until
    when rules say nothing, `telling` the rules that tell at all.

    What began within `gather` of each other is told together; a clock that was set back makes nothing wait.
    """
    last: dict[tuple[str, str], float] = {}
    for rule, subject, at in told:
        last[rule, subject] = max(at, last.get((rule, subject), -math.inf))
    waiting = [alert for alert in stored if alert.rule in telling and _is_to_be_told(alert)]
    free_at = {
        alert.id: _free_at(alert, last.get(alert.told_as), mutes, settings.quiet, now) for alert in waiting
    }
    free = [alert for alert in waiting if free_at[alert.id] <= now]
    later = [at for at in free_at.values() if at > now]
    due_at = min((_gathered_at(alert, settings.gather, now) for alert in free), default=math.inf)
    if due_at > now:
        return Plan((), False, _earliest([due_at, *later]))
    hour = sorted({at for _, _, at in told if now - HOUR < at <= now + _MOMENT})
    if len(hour) > settings.most:
        return Plan((), False, _earliest([hour[0] + HOUR, *later]))
    return Plan(tuple(free), len(hour) == settings.most, _earliest(later))


def _is_to_be_told(alert: Alert) -> bool:
    """Whether a telling is left of it: of one that is acknowledged only of its end."""
    if alert.is_open:
        return alert.told_count == 0 and alert.acknowledged_at is None
    return alert.told_count == 1


def _free_at(alert: Alert, last: float | None, mutes: Mapping[str, float], quiet: float, now: float) -> float:
    """From when on nothing forbids to tell of it."""
    muted = mutes.get(alert.rule, -math.inf)
    if not alert.is_open or last is None or last > now + _MOMENT:
        return muted
    return max(muted, last + quiet)


def _gathered_at(alert: Alert, gather: float, now: float) -> float:
    began = alert.raised_at if alert.cleared_at is None else alert.cleared_at
    return now if began > now + _MOMENT else began + gather


def _earliest(times: Iterable[float]) -> float | None:
    earliest = min(times, default=math.inf)
    return None if earliest == math.inf else earliest


def told_count_at_end(alert: Alert) -> int:
    """What is done of an alert that is over: of one that nobody was told of nobody hears."""
    return alert.told_count if alert.told_count == 1 else DONE


def next_change(watches: Iterable[Watch], seen: Seen, now: float) -> float | None:
    """When time alone may have a rule find something else; None where only what happens may."""
    return _earliest(at for watch in watches for at in _changes(watch.rule, seen, now) if at > now)


def _changes(rule: Rule, seen: Seen, now: float) -> Iterator[float]:
    match rule.kind:
        case Kind.OLDEST_PENDING:
            for queue in seen.queues:
                if queue.oldest_due is not None and not queue.is_paused:
                    yield (
                        queue.oldest_due + max(rule.longer, rule.times * (queue.usual_wait or 0.0)) + _MOMENT
                    )
        case Kind.SLOW:
            yield from (run.started_at + slow_after(run.p95, rule.times) + _MOMENT for run in seen.runs)
        case Kind.HOST:
            living = (peer for peer in seen.peers if not (peer.has_left or peer.is_lost))
            yield from (peer.seen_at + rule.longer + _MOMENT for peer in living)
        case Kind.NEW_ERROR:
            yield from ((one.back_at or one.first_at) + DAY + _MOMENT for one in seen.errors)
        case Kind.RISING_ERROR if any(is_rising(one, rule) for one in seen.rising):
            yield now - now % HOUR + HOUR + _MOMENT
        case Kind.FAILED:
            yield from (one.last_at + DAY + _MOMENT for one in seen.failures)
        case Kind.NO_SUCCESS:
            yield awaits_since(seen, rule, now) + rule.within + _MOMENT
        case Kind.QUARANTINED:
            yield from (one.last_at + DAY + _MOMENT for one in seen.crashed)
        case Kind.FAILURE_RATE:
            ended = (minute for minutes in seen.attempts.values() for minute in minutes)
            yield from (minute.at + rule.over + _MOMENT for minute in ended)
        case Kind.MISSED:
            yield from (one.at + DAY + _MOMENT for one in seen.skipped)
        case Kind.DAEMON:
            yield from (
                at + HOUR + _MOMENT for at in (seen.ended_early, *seen.fork_server_ends) if at is not None
            )
        case _:
            return


def noted(
    alerts: Sequence[Alert], host: str, *, is_full: bool = False, is_test: bool = False
) -> dict[str, object]:
    """A notice of these, the first of which has the word, as JSON has it; `others` are like it."""
    first, *others = sorted(alerts, key=lambda alert: (not alert.is_open, alert.id))
    more = len(others) - (MOST_IN_NOTICE - 1)
    notes = ["this is a test"] * is_test
    if is_full:
        notes.append("as many were told as may be in an hour: others wait, `bgjob alerts` has them")
    return _as_json(first, host) | {
        "others": [_as_json(one, host) for one in others[: MOST_IN_NOTICE - 1]],
        "more": max(0, more),
        "note": "; ".join(notes) or None,
    }


def _as_json(alert: Alert, host: str) -> dict[str, object]:
    return {
        "id": alert.id,
        "rule": alert.rule,
        "kind": alert.kind,
        "subject": alert.subject,
        "message": alert.message,
        "hint": alert.hint,
        "since": alert.since,
        "count": alert.count,
        "cleared": not alert.is_open,
        "host": host,
    }
