"""What a transaction does about schedules: reads how they stand, has occurrences decided, and makes rows of that.

Within a transaction that is the ledger's. What becomes of an occurrence is a rule of `core.schedules`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bgjob.codec import to_json
from bgjob.errors import PermissionDeniedError, ScheduleNotFoundError
from bgjob.words import ChangeKind, IfFailed, Status
from bgjobd.core import edges
from bgjobd.core.edges import Node, Of, Place
from bgjobd.core.facts import CancelRequested
from bgjobd.core.job import Job
from bgjobd.core.schedules import (
    Became,
    Calendar,
    Overlap,
    Reason,
    Skipped,
    Span,
    Standing,
    Unfinished,
    Verdict,
    Wanted,
    decide,
    jitter_of,
    left_at,
)
from bgjobd.host.clock import from_text, to_text
from bgjobd.store import applying, changes, decisions, ids, submitting, uniques
from bgjobd.store.batch import Batch, Overlay
from bgjobd.store.committed import Dealt, SetBack, StoredSchedule
from bgjobd.store.engines import Execute
from bgjobd.store.items.item import Item
from bgjobd.store.items.schedules import (
    Backfill,
    OccurrenceAsked,
    OccurrencesDue,
    ScheduleDefined,
    ScheduleDeleted,
    ScheduleDue,
    SchedulePaused,
    SchedulePut,
    ScheduleResumed,
    SchedulesDefined,
    SchedulesSetBack,
)
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.rows import edge_row, instant, job_from_row, occurrence_row
from bgjobd.store.statements import of_jobs, of_schedules
from bgjobd.store.written import BLOCKED, Kind


@dataclass(frozen=True, slots=True)
class _Latest:
    """The row before what is dealt with, of those that are not `asked`, and tell of the times that it has now."""

    at: str
    count: int
    verdict: str
    reason: str | None
    job_id: int | None


@dataclass(frozen=True, slots=True)
class _Stands:
    cursor: str
    is_paused: bool
    definition: str
    set_by: str | None
    latest: _Latest | None


# What is locked before any of it is read


def names_in(item: Item) -> Collection[str]:
    """The schedules that it is about."""
    match item:
        case OccurrencesDue() | SchedulesDefined():
            return [one.name for one in item.schedules]
        case SchedulePut():
            return [item.schedule.name]
        case OccurrenceAsked() | Backfill() | ScheduleDeleted() | SchedulePaused() | ScheduleResumed():
            return [item.name]
    return ()


def jobs_beside(execute: Execute, items: Iterable[Item]) -> Iterator[int]:
    """Those that the next ones may come after, or that are cancelled for them."""
    due = [one for item in items if isinstance(item, OccurrencesDue) for one in item.schedules]
    beside = [one for one in due if one.rules.overlap in (Overlap.WAIT, Overlap.CANCEL)]
    for jobs in _unfinished(execute, beside).values():
        yield from (job.id for job in jobs)


# What is due


def deal(execute: Execute, item: OccurrencesDue, batch: Batch) -> tuple[Dealt, ...]:
    """Each occurrence becomes a job, or a skip, together with the cursor that has passed it."""
    names = [one.name for one in item.schedules]
    stands = dict(_standings(execute, names))
    unfinished = _unfinished(execute, item.schedules)
    batch.jobs = _jobs_to_cancel(execute, item.schedules, unfinished)
    uniques.load(execute, [one.job for one in item.schedules if one.job is not None], batch)
    ids.take(execute, batch, sum(len(one.due.instants) for one in item.schedules))
    return tuple(
        [
            _deal_alone(one, stands.get(one.name), unfinished.get(one.name, []), item.submitter, batch)
            for one in item.schedules
        ]
    )


def _deal_alone(
    schedule: ScheduleDue,
    stands: _Stands | None,
    unfinished: list[Unfinished],
    submitter: Submitter,
    batch: Batch,
) -> Dealt:
    """What cannot be dealt with keeps up no other: it stays due, and nothing is left of it."""
    overlay = Overlay(batch)
    try:
        dealt = _deal(schedule, stands, unfinished, submitter, overlay)
    except decisions.REFUSALS as error:
        return Dealt(schedule.cursor, refusal=error)
    batch.take_in(overlay)
    return dealt


def _deal(
    schedule: ScheduleDue,
    stands: _Stands | None,
    unfinished: list[Unfinished],
    submitter: Submitter,
    overlay: Overlay,
) -> Dealt:
    if stands is None or stands.cursor != to_text(schedule.cursor):
        return Dealt(schedule.cursor if stands is None else from_text(stands.cursor))
    if schedule.definition is not None and schedule.definition != stands.definition:
        return Dealt(schedule.cursor, set_by=stands.set_by or SOMEBODY)
    verdicts = decide(
        schedule.due, schedule.rules, _standing(schedule, stands, unfinished, overlay), schedule.now
    )
    rows = [occurrence_row(schedule.name, verdict, overlay.batch.now) for verdict in verdicts]
    is_more = bool(verdicts) and _is_like(stands.latest, verdicts[0])
    if is_more and stands.latest is not None:
        rows[0] |= {"at": stands.latest.at, "count": stands.latest.count + rows[0]["count"]}
    for verdict, row in zip(verdicts, rows, strict=True):
        if isinstance(verdict, Wanted):
            _submit(schedule, verdict, submitter, overlay)
        overlay.write(Kind.OCCURRENCES, row)
    overlay.write(Kind.DEALT_SCHEDULE, {"name": schedule.name, "cursor": to_text(schedule.due.until)})
    return Dealt(schedule.due.until, tuple(verdicts), is_more)


SOMEBODY: Final = "another"
"""Who has set a schedule while there was but one host."""


def _standing(
    schedule: ScheduleDue, stands: _Stands, unfinished: list[Unfinished], overlay: Overlay
) -> Standing:
    job = schedule.job
    limit = None if job is None else overlay.batch.max_pending.get(job.queue)
    return Standing(
        next_id=overlay.last_id + 1,
        is_paused=stands.is_paused,
        is_refused=job is None,
        unfinished=tuple(unfinished),
        room=None if job is None or limit is None else limit - overlay.waiting_in(job.queue),
        has_key=job is not None and job.unique is not None,
        held_by=None if job is None else uniques.try_holder_id(job, overlay),
    )


def _submit(schedule: ScheduleDue, wanted: Wanted, submitter: Submitter, overlay: Overlay) -> None:
    if schedule.job is None:
        raise ValueError(f"schedule {schedule.name} has no job that could be submitted")
    for job_id in wanted.cancels:
        applying.apply_fact(job_id, CancelRequested(), overlay)
    later = jitter_of(schedule.name, wanted.at, schedule.jitter) if schedule.jitter else 0.0
    fact = schedule.job._replace(
        schedule=schedule.name,
        occurrence=wanted.at,
        scheduled_at=wanted.at + later if later else None,
        place=None if wanted.after is None else Place(waits_for=1, if_failed=IfFailed.RUN),
    )
    by = submitter if schedule.uid is None else Submitter(schedule.uid, None, None)
    job = submitting.store_new(fact, by, overlay)
    if wanted.after is not None:
        overlay.write(Kind.NEW_EDGE, edge_row(job.id, Node(Of.JOB, wanted.after), edges.Standing.OPEN))


def _is_like(latest: _Latest | None, verdict: Verdict) -> bool:
    """Whether what comes next is skipped for the same reason and the same job, and so goes into the same row."""
    if latest is None or not isinstance(verdict, Skipped):
        return False
    return (latest.verdict, latest.reason, latest.job_id) == (Became.SKIPPED, verdict.reason, verdict.job_id)


# How schedules stand

SELECT_STANDING: Final = """
    SELECT s.name, s.cursor, s.paused_at, s.definition, (SELECT h.name FROM hosts AS h WHERE h.id = s.set_by),
        o.at, o.count, o.verdict, o.reason, o.job_id
    FROM json_each(:names) AS wanted CROSS JOIN schedules AS s ON s.name = wanted.value
    LEFT JOIN schedule_occurrences AS o ON o.name = s.name AND o.at = (
        SELECT max(at) FROM schedule_occurrences
        WHERE name = s.name AND at > s.since AND at <= s.cursor AND verdict <> 'asked'
    )
    WHERE s.removed_at IS NULL
"""
SELECT_UNFINISHED: Final = """
    SELECT t.schedule, t.id, t.status, t.ready, t.cancel_requested_at, t.queue
    FROM json_each(:names) AS wanted CROSS JOIN background_jobs AS t ON t.id IN (
        SELECT * FROM (SELECT id FROM background_jobs INDEXED BY jobs_of_schedule
            WHERE schedule = wanted.value AND schedule IS NOT NULL AND finished_at IS NULL ORDER BY id LIMIT :most)
        UNION SELECT * FROM (SELECT id FROM background_jobs INDEXED BY jobs_of_schedule
            WHERE schedule = wanted.value AND schedule IS NOT NULL AND finished_at IS NULL
            ORDER BY id DESC LIMIT :most))
    ORDER BY t.id
"""
_LOOKED_AT: Final = {Overlap.SKIP: 1, Overlap.WAIT: 500, Overlap.CANCEL: 500}
"""How many unfinished jobs of a schedule decide on the next, of the oldest and of the newest: it may have a million, as
by a backfill, and the one that waits is among the last.
"""

_SELECT_JOBS_AHEAD: Final = """
    SELECT at FROM schedule_occurrences WHERE name = :name AND at > :after AND verdict IN ('submitted', 'backfilled')
"""


def _standings(execute: Execute, names: Sequence[str]) -> Iterator[tuple[str, _Stands]]:
    for name, cursor, paused_at, *own in execute(SELECT_STANDING, {"names": to_json(names)}).fetchall():
        definition, set_by, *latest = own
        row = None if latest[0] is None else _Latest(*latest)
        yield name, _Stands(cursor, paused_at is not None, definition, set_by, row)


def _unfinished(execute: Execute, schedules: Sequence[ScheduleDue]) -> dict[str, list[Unfinished]]:
    """Of each schedule the jobs that have not ended and are to be known, in the order of their ids."""
    found: dict[str, list[Unfinished]] = {}
    for overlap, most in _LOOKED_AT.items():
        queues = {
            one.name: None if one.job is None else one.job.queue
            for one in schedules
            if one.rules.overlap is overlap
        }
        given = {"names": to_json(list(queues)), "most": most}
        for name, id, status, ready, cancelled_at, queue in (
            execute(SELECT_UNFINISHED, given) if queues else ()
        ):
            is_running = status == Status.RUNNING
            is_stopping = is_running and cancelled_at is not None
            one = Unfinished(id, is_running, ready == BLOCKED, is_stopping, queue != queues[name])
            found.setdefault(name, []).append(one)
    return found


def _jobs_to_cancel(
    execute: Execute, schedules: Sequence[ScheduleDue], unfinished: Mapping[str, Sequence[Unfinished]]
) -> dict[int, Job]:
    """Those that are cancelled where a schedule's newer job takes their place."""
    cancelling = [one.name for one in schedules if one.rules.overlap is Overlap.CANCEL]
    wanted = [job.id for name in cancelling for job in unfinished.get(name, ())]
    rows = execute(of_jobs.SELECT_JOBS, {"ids": to_json(wanted)}).fetchall() if wanted else []
    return {row[0]: job_from_row(row) for row in rows}


def _jobs_ahead(execute: Execute, name: str, after: str) -> frozenset[float]:
    found = execute(_SELECT_JOBS_AHEAD, {"name": name, "after": after}).fetchall()
    return frozenset([from_text(at) for (at,) in found])


# What is asked for, and what is configured


def ask(execute: Execute, item: OccurrenceAsked, batch: Batch) -> int:
    """Submit a job of it, whatever else becomes of its occurrences. Raises the refusals, also that it is gone."""
    check_there(execute, item.name, item.definition)
    ids.take(execute, batch, 1)
    uniques.load(execute, [item.job], batch)
    overlay = Overlay(batch)
    uniques.check_free(item.job, overlay)
    at = _free(execute, item.name, batch.now)
    job = submitting.store_new(item.job._replace(schedule=item.name, occurrence=at), item.submitter, overlay)
    row = occurrence_row(item.name, Wanted(at, job.id), batch.now) | {"verdict": Became.ASKED}
    overlay.write(Kind.OCCURRENCES, row)
    batch.take_in(overlay)
    return job.id


def check_there(execute: Execute, name: str, definition: str | None = None) -> None:
    """Raises ScheduleNotFoundError, where it was deleted or removed a moment ago, and PermissionDeniedError where not
    this definition holds.
    """
    found = execute(_SELECT_THERE, {"name": name}).fetchone()
    if found is None:
        raise ScheduleNotFoundError(name=name)
    if definition is not None and found[0] != definition:
        why = f"host {found[1] or SOMEBODY} has another definition of schedule {name}, which holds; ask there"
        raise PermissionDeniedError(reason=why)


def _free(execute: Execute, name: str, at: float) -> float:
    """The next instant that has no row, and no whole second: an occurrence there may not have been dealt with yet."""
    while at.is_integer() or execute(_SELECT_OCCURRENCE, {"name": name, "at": to_text(at)}).fetchone():
        at = from_text(to_text(at + 1e-6))
    return at


_SELECT_OCCURRENCE: Final = "SELECT 1 FROM schedule_occurrences WHERE name = :name AND at = :at"
_SELECT_THERE: Final = """
    SELECT s.definition, (SELECT h.name FROM hosts AS h WHERE h.id = s.set_by) FROM schedules AS s
    WHERE s.name = :name AND s.removed_at IS NULL
"""
_DEFINE: Final = """
    INSERT INTO schedules (name, definition, since, cursor, set_by) VALUES (:name, :definition, :now, :now, :host)
    ON CONFLICT (name) DO UPDATE SET definition = :definition, set_by = :host
"""
_BEGIN_ANEW: Final = """
    UPDATE schedules SET cursor = :since, since = coalesce((
            SELECT max(at) FROM schedule_occurrences
            WHERE name = :name AND at > :since AND verdict IN ('submitted', 'backfilled')
        ), :since),
        paused_at = CASE WHEN removed_at IS NULL THEN paused_at END, removed_at = NULL
    WHERE name = :name
"""
"""It begins behind jobs of older times that a clock which was set back has put ahead: they are none of its own."""
_FORGET_SKIPS: Final = (
    "DELETE FROM schedule_occurrences WHERE name = :name AND at > :since AND verdict = 'skipped'"
)
_REMOVE_OTHERS: Final = """
    UPDATE schedules SET removed_at = :now
    WHERE removed_at IS NULL AND uid IS NULL AND name NOT IN (SELECT value FROM json_each(:names))
        AND (set_by IS NULL OR set_by = :host)
    RETURNING name
"""
_SELECT_SCHEDULES: Final = """
    SELECT s.name, s.definition, s.since, s.cursor, s.paused_at, s.uid, s.made_by, h.name
    FROM schedules AS s LEFT JOIN hosts AS h ON h.id = s.set_by
    WHERE s.removed_at IS NULL AND s.name = coalesce(:name, s.name) ORDER BY s.name
"""
_COUNT_PUT: Final = """
    SELECT count(*) FROM schedules WHERE uid IS NOT NULL AND removed_at IS NULL AND name <> :name
"""
_NAME_WHO_PUT: Final = "UPDATE schedules SET uid = :uid, made_by = :made_by WHERE name = :name"
_FORGET_PUT: Final = """
    DELETE FROM schedules WHERE name = :name AND uid IS NOT NULL AND removed_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM schedule_occurrences WHERE name = :name)
"""
_REMOVE_PUT: Final = """
    UPDATE schedules SET removed_at = :now WHERE name = :name AND uid IS NOT NULL AND removed_at IS NULL
"""
PAUSE_SCHEDULE: Final = (
    "UPDATE schedules SET paused_at = coalesce(paused_at, :now) WHERE name = :name AND removed_at IS NULL"
)
RESUME_SCHEDULE: Final = "UPDATE schedules SET paused_at = NULL WHERE name = :name AND removed_at IS NULL"


def define(execute: Execute, item: SchedulesDefined, batch: Batch) -> tuple[StoredSchedule, ...]:
    """Take up what is configured; what is not any more is kept, and nothing of it is due.

    Of several hosts it is the configuration of this one: what another has set it does not end.
    """
    now, host = batch.now, batch.host_id
    for one in item.schedules:
        _define(execute, one, now, host)
    names = to_json([one.name for one in item.schedules])
    removed = execute(_REMOVE_OTHERS, {"names": names, "now": to_text(now), "host": host}).fetchall()
    _note(execute, batch, "configured", [one.name for one in item.schedules if one.is_new])
    _note(execute, batch, "removed", sorted(name for (name,) in removed))
    return stored(execute)


def _note(execute: Execute, batch: Batch, did: str, names: Sequence[str], who: str | None = None) -> None:
    """Have one row tell what was done to all of these, some by their names."""
    if names:
        what = {"did": did, "schedules": names[:_MOST_NAMED], "count": len(names)}
        changes.note(execute, batch, ChangeKind.SCHEDULE_CHANGED, what, who)


_MOST_NAMED: Final = 10


def pause(execute: Execute, item: SchedulePaused | ScheduleResumed, batch: Batch) -> None:
    """Have none of its occurrences become a job, or have them become jobs again."""
    is_pause = isinstance(item, SchedulePaused)
    execute(PAUSE_SCHEDULE if is_pause else RESUME_SCHEDULE, {"name": item.name, "now": to_text(batch.now)})
    _note(execute, batch, "paused" if is_pause else "resumed", [item.name], item.who)


def _define(execute: Execute, one: ScheduleDefined, now: float, host: int | None = None) -> None:
    given = {"name": one.name, "definition": one.definition, "now": to_text(now), "host": host}
    execute(_DEFINE, given)
    for span in one.changed:
        execute(of_schedules.WRITE_OCCURRENCES, occurrence_row(one.name, Skipped(span, Reason.CHANGED), now))
    if one.is_new:
        since = given["now"] if one.since is None else to_text(one.since)
        execute(_FORGET_SKIPS, {"name": one.name, "since": since})
        execute(_BEGIN_ANEW, {"name": one.name, "since": since})


def put(execute: Execute, item: SchedulePut, batch: Batch) -> StoredSchedule:
    """Take it up. Raises PermissionDeniedError where there are too many."""
    name = item.schedule.name
    (others,) = execute(_COUNT_PUT, {"name": name}).fetchone()
    if others >= item.most:
        raise PermissionDeniedError(reason=f"there are {others} schedules that were put; delete some first")
    _define(execute, item.schedule, batch.now)
    execute(_NAME_WHO_PUT, {"name": name, "uid": item.uid, "made_by": item.made_by})
    _note(execute, batch, "put", [name], item.who)
    (found,) = stored(execute, name)
    return found


def delete(execute: Execute, item: ScheduleDeleted, batch: Batch) -> bool:
    """End one that was put, of which its past is kept, if it has any; whether there was such a one."""
    given = {"name": item.name, "now": to_text(batch.now)}
    was_there = any(execute(statement, given).rowcount for statement in (_FORGET_PUT, _REMOVE_PUT))
    if was_there:
        _note(execute, batch, "deleted", [item.name], item.who)
    return was_there


def stored(execute: Execute, name: str | None = None) -> tuple[StoredSchedule, ...]:
    """The schedules that are configured or were put, as they are stored; or the one of this name."""
    return tuple(
        [
            StoredSchedule(
                name,
                definition,
                from_text(since),
                from_text(cursor),
                instant(paused_at),
                _jobs_ahead(execute, name, cursor),
                uid,
                made_by,
                set_by,
            )
            for name, definition, since, cursor, paused_at, uid, made_by, set_by in execute(
                _SELECT_SCHEDULES, {"name": name}
            ).fetchall()
        ]
    )


# A clock that was set back

# One that reaches from before `since` is of times that nobody knows any more, and stays as it is.
_SELECT_SKIPS_AHEAD: Final = """
    SELECT at, until, count FROM schedule_occurrences
    WHERE name = :name AND verdict = 'skipped' AND until > :now
        AND at > min(:now, (SELECT since FROM schedules WHERE name = :name))
"""
_SET_BACK: Final = """
    UPDATE schedules SET cursor = :now, since = min(since, max(:now, coalesce((
        SELECT max(at) FROM schedule_occurrences
        WHERE name = :name AND at <= since AND verdict IN ('submitted', 'backfilled')
    ), :now))) WHERE name = :name
"""
"""It began no later than by now, but for jobs of older times, which are ahead: those are none of its occurrences."""
_DELETE_OCCURRENCES: Final = "DELETE FROM schedule_occurrences WHERE name = :name AND at = :at"
_CUT: Final = """
    UPDATE schedule_occurrences SET until = :until, count = :count WHERE name = :name AND at = :at
"""


def set_back(execute: Execute, item: SchedulesSetBack, now: float) -> tuple[SetBack, ...]:
    """Forget of each schedule the skips that are yet to come; those that became jobs stay."""
    return tuple([_set_back(execute, name, calendar, now) for name, calendar in item.schedules])


def _set_back(execute: Execute, name: str, calendar: Calendar, now: float) -> SetBack:
    given = {"name": name, "now": to_text(now)}
    taken_back = 0
    for at, until, count in execute(_SELECT_SKIPS_AHEAD, given).fetchall():
        taken_back += count
        if at > given["now"]:
            execute(_DELETE_OCCURRENCES, given | {"at": at})
        else:
            left = left_at(calendar, Span(from_text(at), from_text(until), count), now)
            execute(_CUT, given | {"at": at, "until": to_text(left.until), "count": left.count})
            taken_back -= left.count
    execute(_SET_BACK, given)
    return SetBack(now, _jobs_ahead(execute, name, given["now"]), taken_back)
