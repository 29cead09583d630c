"""The buckets that starts of classes and of keys are drawn from, as a transaction has them; and who holds them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from bgjob.codec import to_json
from bgjob.words import LONGEST_THROTTLE
from bgjobd.core.gate import KeyRules
from bgjobd.core.job import Job
from bgjobd.core.rates import FULL, ROUNDING, Bucket, Rate, scope_of_class, scope_of_key
from bgjobd.host.clock import to_text
from bgjobd.store.batch import Batch
from bgjobd.store.committed import TrimmedRates
from bgjobd.store.engines import Execute
from bgjobd.store.holds import Holds
from bgjobd.store.written import BEHIND

SELECT_BUCKETS: Final = (
    "SELECT scope, full_at FROM rates WHERE scope IN (SELECT value FROM json_each(:scopes))"
)
SELECT_WHOLE_BUCKETS: Final = """
    SELECT scope, full_at, held_until, held_by FROM rates WHERE scope IN (SELECT value FROM json_each(:scopes))
"""
SELECT_HOLDS: Final = "SELECT scope, held_until FROM rates WHERE held_until IS NOT NULL"
FILL: Final = """
    INSERT INTO rates (scope, full_at) VALUES (:scope, :full_at)
    ON CONFLICT (scope) DO UPDATE SET full_at = :full_at
"""
HOLD: Final = """
    INSERT INTO rates VALUES (:scope, 0, :held_until, :held_by)
    ON CONFLICT (scope) DO UPDATE SET held_until = :held_until, held_by = :held_by
    WHERE rates.held_until IS NULL OR rates.held_until < :held_until
"""
IS_WAITING: Final = """
    SELECT EXISTS (SELECT 1 FROM background_jobs INDEXED BY jobs_of_class
        WHERE status = 'pending' AND ready = 1 AND queue = :queue AND class_name = :class_name)
"""
END_HOLDS: Final = """
    UPDATE rates SET held_until = NULL, held_by = NULL
    WHERE scope IN (SELECT value FROM json_each(:scopes)) AND held_until <= :now
"""
SHIFT: Final = "UPDATE rates SET full_at = full_at + :seconds, held_until = held_until + :seconds"
SHIFT_BEHIND: Final = f"""
    UPDATE background_jobs INDEXED BY jobs_due_behind SET waits_until = shifted(waits_until, :seconds)
    WHERE status = 'pending' AND ready = {BEHIND} AND waits_until IS NOT NULL
"""
ASK_BEHIND_ANEW: Final = f"""
    UPDATE background_jobs INDEXED BY jobs_due_behind SET waits_until = :now
    WHERE status = 'pending' AND ready = {BEHIND} AND waits_until IS NOT NULL AND waits_until > :now
"""
BOUND_HOLDS: Final = "UPDATE rates SET held_until = :most WHERE held_until > :most"
BOUND: Final = "UPDATE rates SET full_at = min(full_at, :most) WHERE scope = :scope"
BOUND_OF_QUEUE: Final = "UPDATE rates SET full_at = min(full_at, :most) WHERE scope > :scope AND scope < :end"
FIRST_FULL: Final = "SELECT min(max(full_at, coalesce(held_until, 0))) FROM rates"
SELECT_SOME: Final = """
    SELECT scope, full_at <= :now AND coalesce(held_until, 0) <= :now FROM rates
    WHERE scope > :after ORDER BY scope LIMIT :count
"""
DELETE_SOME: Final = """
    DELETE FROM rates WHERE scope IN (SELECT value FROM json_each(:scopes))
        AND full_at <= :now AND coalesce(held_until, 0) <= :now
"""


def stored(execute: Execute, scopes: Sequence[str]) -> dict[str, Bucket]:
    """These buckets; of which nothing is stored, they are full."""
    rows = execute(SELECT_WHOLE_BUCKETS, {"scopes": to_json(scopes)}).fetchall()
    return dict.fromkeys(scopes, FULL) | {scope: Bucket(*known) for scope, *known in rows}


def holds(execute: Execute) -> dict[str, float]:
    """Until when some scopes are held, of those that have been."""
    return dict(execute(SELECT_HOLDS).fetchall())


def end_holds(execute: Execute, batch: Batch) -> None:
    """Forget those that are over, each of which would else be one again after the clock was set back."""
    over = batch.holds.end(batch.now)
    if over:
        execute(END_HOLDS, {"scopes": to_json(over), "now": batch.now})


def of_key(execute: Execute, rules: KeyRules, scope: str, batch: Batch) -> tuple[float | None, int | None]:
    """When the next job of a key may be ready, None where nothing but places keeps it, and how many may start now."""
    opens_at, tokens, now = 0.0, None, batch.now
    if rules.rate is not None:
        full_at = _buckets(execute, [scope]).get(scope, 0.0)
        tokens = rules.rate.tokens(full_at, now)
        opens_at = 0.0 if tokens else rules.rate.next_at(full_at)
    held_until = batch.holds.until(scope)
    if held_until > now + ROUNDING:
        opens_at, tokens = max(opens_at, held_until), 0
    return opens_at or None, tokens


def of_classes(execute: Execute, batch: Batch) -> dict[str, int]:
    """How many attempts may start now of each class with a rate, and of those that are held."""
    if not (batch.rates or batch.holds):
        return {}
    full = _full_by_class(execute, batch)
    tokens = {name: rate.tokens(full[name], batch.now) for name, rate in batch.rates.items()}
    return tokens | dict.fromkeys(batch.holds.classes(batch.now), 0)


def within(execute: Execute, jobs: list[Job], batch: Batch) -> list[Job]:
    """Those that the rates of their classes let start once nobody else draws from these; who writes alone has them."""
    if not (batch.rates and batch.locks.are_needed):
        return jobs
    classes = {job.class_name for job in jobs if job.class_name in batch.rates}
    if not classes:
        return jobs
    batch.locks.buckets(sorted(map(scope_of_class, classes)))
    full = _full_by_class(execute, batch)
    left = Counter({name: batch.rates[name].tokens(full[name], batch.now) for name in classes})
    found = []
    for job in jobs:
        if job.class_name in left:
            left[job.class_name] -= 1
        if job.class_name not in left or left[job.class_name] >= 0:
            found.append(job)
    return found


def spend(execute: Execute, jobs: Sequence[Job], batch: Batch) -> None:
    """Draw the starts of these jobs from the buckets of their classes and keys."""
    if not (batch.rates or batch.rules):
        return
    drawn = Counter[tuple[str, Rate]]()
    for job in jobs:
        rate = batch.rates.get(job.class_name)
        if rate is not None:
            drawn[scope_of_class(job.class_name), rate] += 1
        rules = None if job.key is None else batch.rules.get(job.queue)
        if rules is not None and rules.rate is not None and job.key is not None:
            drawn[scope_of_key(job.queue, job.key), rules.rate] += 1
    if not drawn:
        return
    full = _buckets(execute, [scope for scope, _ in drawn])
    for (scope, rate), starts in drawn.items():
        execute(FILL, {"scope": scope, "full_at": rate.after(full.get(scope, 0.0), starts, batch.now)})


def next_of_classes(execute: Execute, queues: Collection[str], batch: Batch) -> float | None:
    """When the next attempt may start of a class that has none to start now, where one of its jobs waits for that."""
    full = _full_by_class(execute, batch)
    times = {name: rate.next_at(full[name]) for name, rate in batch.rates.items()}
    for name, until in batch.holds.classes(batch.now).items():
        times[name] = max(times.get(name, 0.0), until)
    waiting = [at for name, at in times.items() if at > batch.now and is_waiting(execute, name, queues)]
    return min(waiting, default=None)


def shift(execute: Execute, seconds: float) -> None:
    """The clock was set: what was to be in ten seconds still is."""
    execute(SHIFT, {"seconds": seconds})
    execute(SHIFT_BEHIND, {"seconds": seconds})


def bound(execute: Execute, batch: Batch) -> None:
    """The clock may have been set while nobody ran, or the rates: no bucket is emptier than one can be, nothing is held
    for longer than it could have been, and keys are asked anew.
    """
    now = batch.now
    execute(BOUND_HOLDS, {"most": now + LONGEST_THROTTLE})
    batch.holds = Holds(holds(execute))
    for name, rate in batch.rates.items():
        execute(BOUND, {"scope": scope_of_class(name), "most": rate.latest_full_at(now)})
    for queue, rules in batch.rules.items():
        if rules.rate is not None:
            first = scope_of_key(queue, "")
            most = rules.rate.latest_full_at(now)
            execute(BOUND_OF_QUEUE, {"scope": first, "end": f"{first[:-1]};", "most": most})
    execute(ASK_BEHIND_ANEW, {"now": to_text(now)})


_TRIMMED_AT_ONCE: Final = 500


def trim(execute: Execute, after: str, now: float) -> TrimmedRates:
    """Of some buckets behind this scope those are deleted that are full, and that nobody holds."""
    asked = {"after": after, "now": now, "count": _TRIMMED_AT_ONCE}
    found = execute(SELECT_SOME, asked).fetchall()
    gone = [scope for scope, is_over in found if is_over]
    if gone:
        execute(DELETE_SOME, {"scopes": to_json(gone), "now": now})
    return TrimmedRates(len(gone), found[-1][0] if len(found) == _TRIMMED_AT_ONCE else None)


def _full_by_class(execute: Execute, batch: Batch) -> dict[str, float]:
    """When the bucket of each class with a rate would be full again."""
    full = _buckets(execute, map(scope_of_class, batch.rates)) if batch.rates else {}
    return {name: full.get(scope_of_class(name), 0.0) for name in batch.rates}


def _buckets(execute: Execute, scopes: Iterable[str]) -> dict[str, float]:
    return dict(execute(SELECT_BUCKETS, {"scopes": to_json(list(scopes))}).fetchall())


def is_waiting(execute: Execute, class_name: str, queues: Collection[str]) -> bool:
    """Whether a job of the class waits for a slot in one of these queues."""
    return any(
        execute(IS_WAITING, {"queue": queue, "class_name": class_name}).fetchone()[0] for queue in queues
    )
