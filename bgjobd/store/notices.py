"""What a transaction tells the other daemons that share the database, and how that is written; values, no SQL.

It says where to look, not what is there: who hears of it reads the rows that it needs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from bgjob.codec import to_json
from bgjob.words import INT_MAX, Status
from bgjobd.core.job import AttemptKey, Job
from bgjobd.core.planner import Lanes
from bgjobd.core.verdict import StopReason
from bgjobd.store.batch import Batch
from bgjobd.store.committed import Deleted
from bgjobd.store.items.holds import QueuePaused, QueueResumed
from bgjobd.store.items.item import Item
from bgjobd.store.items.schedules import ScheduleDeleted, SchedulePut, SchedulesDefined, SchedulesSetBack
from bgjobd.store.written import Kind

APPLICATIONS: Final = "submit"
"""Who tells, where an application has sent something by its own transaction: no daemon calls itself so."""

MOST_BYTES: Final = 7_900
"""PostgreSQL takes less than 8,000, with the id that it puts in."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What a daemon, `by`, has committed that may concern another.

    In `queues` jobs may start, now or later, and in any where it is `any_queue`. `jobs` that were there before have
    changed, or are gone, `ended` and `groups` have ended, those `valued` have emitted values. `stops` are attempts that
    whoever holds them is to end, each with why. `log` is the id of the newest log entry, which the database puts in.
    `schedules` are others now. `look`: it was more than can be told, so everything may have changed.
    """

    by: str
    log: int = 0
    queues: frozenset[str] = frozenset()
    jobs: frozenset[int] = frozenset()
    ended: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()
    valued: frozenset[int] = frozenset()
    stops: frozenset[tuple[AttemptKey, StopReason]] = frozenset()
    schedules: bool = False
    any_queue: bool = False
    look: bool = False


_SETS: Final = ("queues", "jobs", "ended", "groups", "valued")
_NAMES: Final = tuple(field.name for field in fields(Notice))
_OF_SCHEDULES: Final = (SchedulePut, ScheduleDeleted, SchedulesDefined, SchedulesSetBack)


def notice_of(
    batch: Batch, items: Sequence[Item], answers: Sequence[Any], lanes: Lanes, by: str
) -> Notice | None:
    """What the transaction is to tell, but for `log`, which is known where it is sent; None where that is nothing."""
    latest = {job.id: job for job in batch.changed}
    claimed = {claim.job.id for claim in batch.claims}
    deleted = {id for answer in answers if isinstance(answer, Deleted) for id in answer.jobs}
    ended = frozenset([job.id for job in batch.ended])
    known = latest.keys() - _new_jobs(batch) | batch.placed.keys() | deleted
    notice = Notice(
        by,
        queues=frozenset(
            [
                *(
                    one.queue
                    for one in latest.values()
                    if one.status is Status.PENDING and not one.is_blocked
                ),
                *(bulk.first.queue for bulk in batch.bulks if not bulk.first.is_blocked),
                *(queue for id, queue in batch.promoted.items() if id not in claimed),
                *_slots_left(batch, latest, lanes),
                *batch.resumed,
                *(item.queue for item in items if isinstance(item, QueuePaused | QueueResumed)),
            ]
        ),
        jobs=frozenset(known - ended),
        ended=ended,
        groups=frozenset([group.id for group in batch.ended_groups]),
        valued=frozenset([value.job_id for value in batch.values]),
        stops=frozenset(
            [((job.id, job.attempt), StopReason.CANCELLED) for job in batch.stops if job.id not in ended]
        ),
        schedules=any(isinstance(item, _OF_SCHEDULES) for item in items),
        any_queue=_leaves_slots_of_class(batch, lanes),
        look=batch.has_unseen_changes or bool(batch.said),
    )
    return None if notice == Notice(by) and not (batch.entries or batch.bulks) else notice


def _slots_left(batch: Batch, latest: Mapping[int, Job], lanes: Lanes) -> Collection[str]:
    """The queues of which attempts have ended, in whose slots of all hosts no others have started here."""
    if not lanes.queues_everywhere:
        return ()
    ended = Counter(latest[id].queue for id, _ in (end.key for end in batch.attempts) if id in latest)
    left = ended - Counter(claim.job.queue for claim in batch.claims)
    return left.keys() & lanes.queues_everywhere.keys()


def _leaves_slots_of_class(batch: Batch, lanes: Lanes) -> bool:
    """The same of classes, whose jobs may wait in any queue."""
    if not lanes.classes_everywhere:
        return False
    ended = Counter(end.class_name for end in batch.attempts)
    left = ended - Counter(claim.job.class_name for claim in batch.claims)
    return not left.keys().isdisjoint(lanes.classes_everywhere)


def _new_jobs(batch: Batch) -> set[int]:
    """Those that nobody can know yet."""
    kinds = (Kind.NEW_JOB, Kind.NEW_TIED_JOB)
    return {row["id"] for written in batch.written for kind in kinds for row in written.get(kind, ())}


def text_of(notice: Notice) -> str:
    """As it is sent: a JSON object, without what is not so; where that is too long it says no more than to look."""
    told: dict[str, Any] = {name: sorted(getattr(notice, name)) for name in _SETS}
    told |= {name: getattr(notice, name) for name in ("by", "schedules", "any_queue", "look")}
    told["stops"] = [[*key, reason] for key, reason in sorted(notice.stops)]
    text = to_json({name: value for name, value in told.items() if value})
    if len(text.encode()) <= MOST_BYTES:
        return text
    return text_of(Notice(notice.by, look=True))


def notice_from(text: str) -> Notice:
    """What was sent. What nobody of ours has written, and any role that may connect can send, is one that says to look,
    and says nothing else.
    """
    try:
        told = json.loads(text)
        known: dict[str, Any] = {name: told[name] for name in _NAMES if name in told}
        known |= {name: frozenset(known[name]) for name in _SETS if name in known}
        stops = [((job_id, number), StopReason(why)) for job_id, number, why in known.get("stops", ())]
        notice = Notice(**{**known, "stops": frozenset(stops)})
    except (ValueError, TypeError, KeyError, RecursionError):
        return Notice("", look=True)
    return notice if _is_whole(notice) else Notice("", look=True)


def _is_whole(notice: Any) -> bool:
    """Whether all of it is of the types that it should be, and its numbers can be ids."""
    numbers = [notice.log, *notice.jobs, *notice.ended, *notice.groups, *notice.valued]
    numbers += [number for key, _ in notice.stops for number in key]
    return (
        isinstance(notice.by, str)
        and all(isinstance(name, str) for name in notice.queues)
        and all(type(number) is int and 0 <= number <= INT_MAX for number in numbers)
        and type(notice.schedules) is bool
        and type(notice.any_queue) is bool
        and type(notice.look) is bool
    )
