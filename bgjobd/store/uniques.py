"""What the items of a transaction come to where jobs have unique keys: taken, held by another, released."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from bgjob.codec import to_json
from bgjob.errors import DuplicateError
from bgjob.words import Outcome, UniqueWhile
from bgjobd.core.facts import AttemptEnded, AttemptStarted, Fact, Submitted
from bgjobd.core.job import Job
from bgjobd.core.unique import Holding, UniqueKey, Verdict, is_held, verdict
from bgjobd.host.clock import to_text
from bgjobd.store.batch import Batch, Overlay
from bgjobd.store.committed import TrimmedKeys
from bgjobd.store.engines import Execute
from bgjobd.store.items.retention import KeyTrimming
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.rows import instant, job_from_row, key_row, released_row
from bgjobd.store.statements import of_jobs, of_ties
from bgjobd.store.written import Kind


def holdings(execute: Execute, statement: str, values: Mapping[str, str]) -> dict[UniqueKey, Holding | None]:
    """Who is stored to hold the keys that one of the statements of holdings asks for."""
    return held(execute(statement, values))


def held(rows: Iterable[tuple[Any, ...]]) -> dict[UniqueKey, Holding | None]:
    """The same of what such a statement has found."""
    return {
        UniqueKey(*row[:3]): Holding(job_id, instant(held_until), uid)
        for *row, job_id, held_until, uid in rows
    }


def load(execute: Execute, facts: Sequence[Submitted], batch: Batch) -> None:
    """Have who holds the keys of these requests at hand, and those jobs."""
    keys = wanted_by_each(facts)
    if not keys:
        return
    batch.locks.unique_keys(keys)
    batch.holdings = holdings(execute, of_ties.SELECT_HOLDINGS, {"keys": to_json(keys)})
    ids = to_json([one.job_id for one in batch.holdings.values() if one is not None])
    found = execute(of_jobs.SELECT_JOBS, {"ids": ids}).fetchall()
    batch.jobs |= {row[0]: job_from_row(row) for row in found}


def try_holder_id(fact: Submitted, overlay: Overlay) -> int | None:
    """Who holds the key of a request now."""
    key = wanted_by(fact)
    holding = None if key is None else holder_of(key, overlay)
    return None if holding is None else holding.job_id


def check_free(fact: Submitted, overlay: Overlay) -> None:
    """Raises DuplicateError where another job holds the key of a request that cannot do with that one."""
    holder = try_holder_id(fact, overlay)
    if holder is not None:
        raise DuplicateError(id=holder)


def key_of(job: Job) -> UniqueKey | None:
    if job.unique_key is None:
        return None
    return UniqueKey(job.call.class_name, job.call.method_name, job.unique_key)


def wanted_by(fact: Submitted) -> UniqueKey | None:
    """The key that a request is to have for itself."""
    if fact.unique is None:
        return None
    return UniqueKey(fact.call.class_name, fact.call.method_name, fact.unique.key)


def wanted_by_each(facts: Sequence[Submitted]) -> list[UniqueKey]:
    """Those of several requests; most have none."""
    keyed = [fact for fact in facts if fact.unique is not None]
    return [key for fact in keyed if (key := wanted_by(fact)) is not None]


def holder_of(key: UniqueKey, overlay: Overlay) -> Holding | None:
    """Who holds the key now."""
    holding = overlay.holding(key)
    if holding is None or not is_held(holding, overlay.try_job(holding.job_id), overlay.batch.now):
        return None
    return holding


def judged(fact: Submitted, by: Submitter, overlay: Overlay, index: int) -> tuple[Verdict, int] | None:
    """What becomes of a request, and who holds its key; None where it makes a job. Raises DuplicateError."""
    key = wanted_by(fact)
    holding = None if key is None else holder_of(key, overlay)
    if holding is None or fact.unique is None:
        return None
    is_own = by.uid is not None and (by.may_manage or holding.submitted_uid == by.uid)
    found = verdict(fact.unique, overlay.try_job(holding.job_id), is_own and fact.ties is None)
    if found is Verdict.REFUSED:
        raise DuplicateError(id=holding.job_id, index=index)
    return found, holding.job_id


def take(fact: Submitted, job_id: int, by: Submitter, overlay: Overlay) -> None:
    """Have the job hold the key that the request asks for, if any."""
    key = wanted_by(fact)
    if key is not None and fact.unique is not None:
        held_for = fact.unique.held_for
        until = None if held_for is None else overlay.batch.now + held_for
        before = overlay.holding(key)
        if before is not None and before.job_id == job_id:  # whose place another request takes
            times = [at for at in (until, before.held_until) if at is not None]
            _hold(key, Holding(job_id, max(times, default=None), before.submitted_uid), overlay)
        else:
            _hold(key, Holding(job_id, until, by.uid), overlay)


def take_again(job: Job, overlay: Overlay) -> None:
    """Have a job that is to run again hold its key. Raises DuplicateError where another does."""
    key = key_of(job)
    if key is not None and check_own(job, overlay) is None:
        _hold(key, Holding(job.id), overlay)


def check_own(job: Job, overlay: Overlay) -> Holding | None:
    """What the job holds of its key by now. Raises DuplicateError where another has it."""
    key = key_of(job)
    holding = None if key is None else holder_of(key, overlay)
    if holding is not None and holding.job_id != job.id:
        raise DuplicateError(id=holding.job_id)
    return holding


def _hold(key: UniqueKey, holding: Holding, overlay: Overlay) -> None:
    overlay.holdings[key] = holding
    overlay.write(Kind.TAKEN_KEY, key_row(key, holding.job_id, holding.held_until))


def release(before: Job, fact: Fact, after: Job, overlay: Overlay) -> None:
    """Have a job that has ended, or whose first attempt has started, hold its key no more, but for a set time."""
    key = key_of(before)
    if key is None:
        return
    has_ended = after.is_over and not before.is_over
    if not (has_ended or (before.unique_while is UniqueWhile.PENDING and _has_begun(fact))):
        return
    now, holding = overlay.batch.now, overlay.holding(key)
    overlay.write(Kind.RELEASED_KEY, released_row(key, before.id, now))
    if holding is not None and holding.job_id == before.id and (holding.held_until or 0.0) <= now:
        overlay.holdings[key] = None


def _has_begun(fact: Fact) -> bool:
    """Whether an attempt has started: of some nothing is seen but how they ended."""
    if isinstance(fact, AttemptEnded):
        return fact.ending.outcome is not Outcome.NOT_STARTED
    return isinstance(fact, AttemptStarted)


# What is deleted


_AT_ONCE: Final = 500
"""Rows that one item looks at."""

# A job that was deleted had ended.
OLDEST_PASSED: Final = """
    SELECT held_until FROM unique_keys AS u INDEXED BY unique_keys_until
    WHERE held_until IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM background_jobs AS j
        WHERE j.id = u.job_id AND (j.finished_at IS NULL OR j.review_since IS NOT NULL))
    ORDER BY held_until LIMIT 1
"""
SELECT_PASSED: Final = """
    SELECT held_until, class_name, method_name, key, EXISTS (
        SELECT 1 FROM background_jobs AS j
        WHERE j.id = u.job_id AND (j.finished_at IS NULL OR j.review_since IS NOT NULL))
    FROM unique_keys AS u INDEXED BY unique_keys_until
    WHERE held_until IS NOT NULL AND held_until <= :now
        AND (held_until, class_name, method_name, key) > (:at, :class_name, :method_name, :key)
    ORDER BY held_until, class_name, method_name, key LIMIT :count
"""
_DELETE_PASSED: Final = """
    DELETE FROM unique_keys WHERE held_until = ? AND class_name = ? AND method_name = ? AND key = ?
"""
FORGET_OF_JOBS: Final = """
    DELETE FROM unique_keys WHERE job_id IN (SELECT value FROM json_each(:ids))
        AND (held_until IS NULL OR held_until <= :now)
"""


def forget(execute: Execute, job_ids: Sequence[int], now: float) -> None:
    """Have jobs that are deleted hold no keys, but for those whose time has not passed."""
    if job_ids:
        execute(FORGET_OF_JOBS, {"ids": to_json(job_ids), "now": to_text(now)})


def trim(execute: Execute, trimming: KeyTrimming, now: float) -> TrimmedKeys:
    """Those whose job has not ended are held as long as that lasts."""
    given = dict(zip(("at", "class_name", "method_name", "key"), trimming.after, strict=True))
    found = execute(SELECT_PASSED, {**given, "now": to_text(now), "count": _AT_ONCE}).fetchall()
    gone = [key for *key, is_held in found if not is_held]
    for key in gone:
        execute(_DELETE_PASSED, key)
    return TrimmedKeys(len(gone), found[-1][:4] if len(found) == _AT_ONCE else None)
