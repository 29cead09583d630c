"""What waits for somebody: one table of kinds, each with how it is found among what a daemon knows; no I/O, no clock.

Whoever shows it or tells it goes by this list. What is looked at is `Seen`; with which numbers, and of whose jobs, says
a `Rule`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from types import MappingProxyType
from typing import Final, NamedTuple

from bgjob.amounts import about_text, many_of, span_text
from bgjobd.core.expectation import is_slow, slow_after
from bgjobd.core.need_kinds import (
    ASKED,
    BY_ERROR,
    DAY,
    USUAL,
    HeldClass,
    Kind,
    Need,
    RisingError,
    Rule,
    Run,
    Seen,
)
from bgjobd.core.sentences import clock, moment, short
from bgjobd.core.trials import UNTRIED

FORK_SERVERS: Final = 3
_IN: Final = 600.0
"""So many fork servers that end by themselves within so many seconds need somebody."""

_AFTER_END: Final = 3600.0

_LONGEST_SUBJECT: Final = 500
"""Bytes; a path may have 4,096, and an index of PostgreSQL holds 2,700."""

TOLD_ONE_BY_ONE: Final = 5
"""Schedules that are refused: there may be many, for one reason."""


class _Found(NamedTuple):
    """A need as its rule finds it; `since` is None where nothing tells since when."""

    subject: str
    sentence: str
    hint: str | None = None
    since: float | None = None
    jobs: int = 1
    grade: int = 0


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


def most_of(all_needs: Sequence[Need], most: int) -> list[Need]:
    """So many at most, in their order; the first of each kind is among them, however many there are of another."""
    firsts = dict(reversed([(need.kind, place) for place, need in enumerate(all_needs)]))
    others = [place for place, need in enumerate(all_needs) if firsts[need.kind] != place]
    return [all_needs[place] for place in sorted([*firsts.values(), *others][:most])]


def found(seen: Seen, now: float, rule: Rule) -> Iterator[Need]:
    """What a rule finds."""
    kind = rule.kind
    for one in _FINDERS[kind](seen, rule, now):
        subject = _bounded(one.subject)
        since = seen.known_since.get((kind, subject), now) if one.since is None else one.since
        yield Need(kind, subject, since, one.sentence, one.hint, one.jobs, one.grade)


def _bounded(subject: str) -> str:
    """What an index can hold, and still one for each."""
    text = subject.encode("utf-8", "replace")
    if len(text) <= _LONGEST_SUBJECT:
        return subject
    return f"{text[: _LONGEST_SUBJECT - 20].decode('utf-8', 'ignore')}…{sha256(text).hexdigest()[:16]}"


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
                one.class_name,
                sentence,
                f"`bgjob class resume {one.class_name}` lets it go on",
                one.since,
                grade=0 if one.is_asked else 1,
            )
    for crashed in seen.crashed:
        if rule.is_of(crashed.class_name) and crashed.class_name not in held:
            were = "was" if crashed.jobs == 1 else "were"
            jobs = f"{many_of(crashed.jobs, 'job')} {were} given up"
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
            jobs = f"{many_of(one.jobs, 'job')}{' or more' if one.is_more else ''}"
            sentence = f"{jobs} of {one.class_name} {is_are} for review: nobody knows what {they} did"
            yield _Found(one.class_name, sentence, "`bgjob list --status review`", one.since, one.jobs)


def _new_error(seen: Seen, rule: Rule, now: float) -> Iterator[_Found]:
    """Those first by which most jobs have failed."""
    for one in sorted(seen.errors, key=lambda one: -one.failed):
        if not rule.is_of(one.class_name):
            continue
        age = "is new" if one.back_at is None else "is back after two weeks or more"
        attempts = many_of(one.attempts, "attempt")
        met = (
            f"{many_of(one.failed, 'job')} failed, in {attempts}"
            if one.failed
            else f"no job failed yet, {attempts} did"
        )
        sentence = f"{short(one.title)} {age}: {met}"
        hint, since = f"`bgjob errors {one.id}` has all of it", one.back_at or one.first_at
        yield _Found(str(one.id), sentence, hint, since, max(1, one.failed))


def _rising_error(seen: Seen, rule: Rule, now: float) -> Iterator[_Found]:
    for one in seen.rising:
        if is_rising(one, rule):
            usual = one.usual or 0.0
            usually = "none" if usual < _NEARLY_NONE else f"{usual:.1f}" if usual < 1 else f"{usual:,.0f}"
            failed = f"{many_of(one.failed, 'job')} failed by {short(one.title)} in the last hour"
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
            sentence = f"{many_of(one.failed, 'job')} failed by {short(one.title)}"
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
