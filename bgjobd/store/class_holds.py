"""Classes that are held, for their attempts crash or somebody has asked, and what is counted towards that, as a
transaction has it. Of an attempt that ends well nothing is asked, as long as no class has a row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from bgjob.codec import to_json
from bgjob.words import ChangeKind, EntryType
from bgjobd.core import quarantine
from bgjobd.core.job import Job
from bgjobd.core.planner import Lanes
from bgjobd.core.quarantine import ClassEnd, ClassHold, Reason, Says
from bgjobd.core.trials import LONGEST_PAUSE
from bgjobd.host.clock import from_text, to_text
from bgjobd.store import changes, errors, rates
from bgjobd.store.batch import Batch
from bgjobd.store.engines import Execute
from bgjobd.store.items.holds import ClassHeld, ClassResumed
from bgjobd.store.rows import checked

COLUMNS: Final = "class_name, reason, code_version, since, message, jobs, crashes, tries, next_try_at, by_uid"
SELECT_ALL: Final = f"SELECT {COLUMNS} FROM class_holds"
SELECT_ONE: Final = f"SELECT {COLUMNS} FROM class_holds WHERE class_name = :class_name"
SELECT_TO_CHANGE: Final = f"""
    SELECT {COLUMNS} FROM class_holds WHERE class_name IN (SELECT value FROM json_each(:names)) ORDER BY class_name
"""
WRITE: Final = f"""
    INSERT INTO class_holds ({COLUMNS})
    VALUES (:class_name, :reason, :code_version, :since, :message, :jobs, :crashes, :tries, :next_try_at, :by_uid)
    ON CONFLICT (class_name) DO UPDATE SET reason = excluded.reason, code_version = excluded.code_version,
        since = excluded.since, message = excluded.message, jobs = excluded.jobs, crashes = excluded.crashes,
        tries = excluded.tries, next_try_at = excluded.next_try_at, by_uid = excluded.by_uid
    WHERE class_holds.reason <> 'asked' OR excluded.reason = 'asked'
"""
"""What somebody has asked for stays, though another host has counted its first crash at that moment."""

DROP: Final = "DELETE FROM class_holds WHERE class_name = :class_name"
DROP_OF_OTHER_CODE: Final = """
    DELETE FROM class_holds WHERE class_name = :class_name AND reason = 'crashes' AND code_version IS :code_version
        AND NOT EXISTS (SELECT 1 FROM hosts WHERE code_version = :code_version AND left_at IS NULL AND lost_at IS NULL)
    RETURNING since
"""
"""Where several hosts work from the database one of them may run the code yet."""

TRY: Final = """
    UPDATE class_holds SET tries = :tries, next_try_at = :next_try_at WHERE class_name IN (
        SELECT class_name FROM class_holds WHERE class_name = :class_name AND next_try_at = :due)
"""


def stored(execute: Execute) -> dict[str, ClassHold]:
    """All that is known of classes, by their names."""
    return from_rows(execute(SELECT_ALL).fetchall())


def try_stored(execute: Execute, class_name: str) -> ClassHold | None:
    """What is known of this one."""
    return from_rows(execute(SELECT_ONE, {"class_name": class_name}).fetchall()).get(class_name)


def from_rows(rows: Sequence[Sequence[Any]]) -> dict[str, ClassHold]:
    """What the rows of the table say, by class."""
    return {row[0]: _from_row(row) for row in rows}


# Ends


def settle(execute: Execute, batch: Batch, code_version: str | None) -> None:
    """Count the ends of this transaction, by the code in force; what crashed with other code is forgotten."""
    ends, batch.class_ends = batch.class_ends, ()
    names = {end.class_name for end in ends if end.says is Says.CRASHES} | batch.class_holds.keys()
    wanted = [end for end in ends if end.class_name in names and end.says is not Says.NOTHING]
    if wanted:
        _count(execute, batch, wanted, code_version)
    if code_version is not None:
        _forget_other_code(execute, batch, code_version)


def _count(execute: Execute, batch: Batch, wanted: Sequence[ClassEnd], code_version: str | None) -> None:
    """What has not begun is of the code in force."""
    codes = errors.codes_of(execute, [(end.job_id, end.number) for end in wanted])
    asked = {"names": to_json(sorted({end.class_name for end in wanted}))}
    before = from_rows(execute(SELECT_TO_CHANGE, asked).fetchall())
    after: dict[str, ClassHold | None] = dict(before)
    for end in wanted:
        of_code = replace(end, code_version=codes.get((end.job_id, end.number)) or code_version)
        after[end.class_name] = quarantine.after_end(after.get(end.class_name), of_code, batch.now)
    for name in sorted(after):
        _write(execute, batch, name, before.get(name), after[name], "an attempt of it has not crashed")


def _write(
    execute: Execute,
    batch: Batch,
    name: str,
    before: ClassHold | None,
    after: ClassHold | None,
    why: str,
    who: str | None = None,
) -> None:
    """Have the row be so, and say where the class is held from now on, or no more."""
    if after is None:
        batch.class_holds.pop(name, None)
        if before is not None:
            execute(DROP, {"class_name": name})
    else:
        batch.class_holds[name] = after
        if after != before:
            execute(WRITE, _row(after))
    was_held, is_held = (one is not None and one.since is not None for one in (before, after))
    if was_held and not is_held:
        batch.said.append((EntryType.INFO, quarantine.ended(name, why)))
        changes.note(execute, batch, ChangeKind.CLASS_RESUMED, {"class": name, "why": why}, who)
    elif after is not None and is_held and not was_held:
        kind = EntryType.INFO if after.reason is Reason.ASKED else EntryType.FAILURE
        batch.said.append((kind, quarantine.began(after, batch.now)))
        held = {"class": name, "why": str(after.reason)}
        changes.note(execute, batch, ChangeKind.CLASS_HELD, held, who)


def carry_out(execute: Execute, item: ClassHeld | ClassResumed, batch: Batch) -> bool:
    """Hold a class, or resume it; whether it was held before."""
    before = try_stored(execute, item.class_name)
    after = None
    if isinstance(item, ClassHeld):
        is_asked = before is not None and before.reason is Reason.ASKED
        after = before if is_asked else quarantine.asked(item.class_name, item.uid, batch.now)
    _write(execute, batch, item.class_name, before, after, "somebody has resumed it", item.who)
    return before is not None and before.since is not None


def _forget_other_code(execute: Execute, batch: Batch, code_version: str) -> None:
    """Let those go that crashed with code which nobody runs any more."""
    for name, hold in sorted(batch.class_holds.items()):
        if hold.reason is Reason.ASKED or hold.code_version in (code_version, None):
            continue
        asked = {"class_name": name, "code_version": hold.code_version}
        if execute(DROP_OF_OTHER_CODE, asked).fetchall():
            del batch.class_holds[name]
            if hold.since is not None:
                batch.said.append((EntryType.INFO, quarantine.ended(name, _OTHER_CODE)))
                changes.note(execute, batch, ChangeKind.CLASS_RESUMED, {"class": name, "why": _OTHER_CODE})


_OTHER_CODE: Final = "its code is another one"


# Starts


def kept_back(lanes: Lanes, batch: Batch) -> Lanes:
    """The same lanes with no slot for the classes that are held, one for such whose trial is due."""
    held = {name: one for name, one in batch.class_holds.items() if one.holds(lanes.code_version)}
    if not held:
        return lanes
    slots = {name: min(one.slots(batch.now), lanes.classes.get(name, 1)) for name, one in held.items()}
    on_trial = {} if lanes.host is None else {name: 1 for name, count in slots.items() if count}
    return replace(
        lanes,
        classes={**lanes.classes, **slots},
        classes_everywhere={**lanes.classes_everywhere, **on_trial},
    )


def on_trial(execute: Execute, jobs: list[Job], lanes: Lanes, batch: Batch) -> list[Job]:
    """These jobs, without those of held classes whose trial another host has begun meanwhile."""
    return [job for job in jobs if _may_start(execute, job, lanes, batch)]


def _may_start(execute: Execute, job: Job, lanes: Lanes, batch: Batch) -> bool:
    hold = batch.class_holds.get(job.class_name)
    if hold is None or not hold.holds(lanes.code_version):
        return True
    after = quarantine.after_trial(hold, batch.now)
    due = None if hold.next_try_at is None else to_text(hold.next_try_at)
    given = {"class_name": hold.class_name, "tries": after.tries, "due": due}
    if execute(TRY, given | {"next_try_at": _row(after)["next_try_at"]}).rowcount == 0:
        return False
    batch.class_holds[job.class_name] = after
    return True


def next_trial(execute: Execute, lanes: Lanes, batch: Batch, queues: Collection[str]) -> float | None:
    """When the next trial may begin that a job waits for."""
    times = [
        one.next_try_at
        for name, one in batch.class_holds.items()
        if one.holds(lanes.code_version)
        and one.next_try_at is not None
        and one.next_try_at > batch.now
        and rates.is_waiting(execute, name, queues)
    ]
    return min(times, default=None)


# The clock


def shift(execute: Execute, batch: Batch, seconds: float) -> None:
    """The clock was set: a trial that was to be in ten seconds still is."""
    _move_trials(execute, batch, lambda at: at + seconds)


def bound(execute: Execute, batch: Batch) -> None:
    """The clock may have been set while nobody ran: no trial is further away than one can be."""
    _move_trials(execute, batch, lambda at: min(at, batch.now + LONGEST_PAUSE))


def _move_trials(execute: Execute, batch: Batch, moved: Callable[[float], float]) -> None:
    for name, hold in sorted(batch.class_holds.items()):
        if hold.next_try_at is not None:
            after = replace(hold, next_try_at=moved(hold.next_try_at))
            _write(execute, batch, name, hold, after, "")


# Rows


def _row(hold: ClassHold) -> Mapping[str, Any]:
    return checked(
        {
            "class_name": hold.class_name,
            "reason": str(hold.reason),
            "code_version": hold.code_version,
            "since": None if hold.since is None else to_text(hold.since),
            "message": hold.message,
            "jobs": json.dumps(hold.jobs),
            "crashes": hold.crashes,
            "tries": hold.tries,
            "next_try_at": None if hold.next_try_at is None else to_text(hold.next_try_at),
            "by_uid": hold.by_uid,
        }
    )


def _from_row(row: Sequence[Any]) -> ClassHold:
    name, reason, code_version, since, message, jobs, crashes, tries, next_try_at, by_uid = row
    return ClassHold(
        name,
        Reason(reason),
        code_version,
        None if since is None else from_text(since),
        message,
        tuple(json.loads(jobs)),
        crashes,
        tries,
        None if next_try_at is None else from_text(next_try_at),
        by_uid,
    )
