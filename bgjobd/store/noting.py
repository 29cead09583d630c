"""What goes into a job's log: what a fact tells of it, and what its attempts tell of themselves; no SQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bgjob.codec import to_json
from bgjob.words import (
    KEY_LENGTHS,
    MOST_STATE_BYTES,
    MOST_STEP_BYTES,
    MOST_STEPS,
    MOST_VALUES,
    EntryType,
    Status,
)
from bgjobd.core.facts import Fact
from bgjobd.core.job import Carried, Job
from bgjobd.core.log_entries import entries, progress_message, unused_steps
from bgjobd.core.traces import Belonging
from bgjobd.host.clock import to_text
from bgjobd.store.batch import Gathered, Overlay, StoredStep
from bgjobd.store.committed import StoredValue
from bgjobd.store.items.attempts import AttemptNotes, Note, StateSaved, StepNote, UnusedSteps, ValueNote
from bgjobd.store.progress import Steps, stored_step
from bgjobd.store.rows import carried_row, finished_step_row, noted_row, progress_of, state_row, step_row
from bgjobd.store.snapshots import snapshot
from bgjobd.store.sql_functions import held
from bgjobd.store.values import is_tellable
from bgjobd.store.written import Kind


def tell(before: Job | None, fact: Fact, after: Job, overlay: Overlay) -> None:
    """Tell what the fact has made of the job; `before` is None where it has made it."""
    running = before if before is not None and before.status is Status.RUNNING else after
    for entry in entries(before, fact, after):
        context = snapshot(after) if entry.with_job else None
        line = entry.type, entry.message, context, entry.is_passing
        log(overlay, running, after.attempt or None, overlay.batch.now, *line)


def log(
    gathered: Gathered,
    job: Job,
    attempt: int | None,
    at: float,
    type: EntryType,
    message: str,
    context: str | None = None,
    is_passing: bool = False,
) -> None:
    """Tell of the job, and of how many attempts it is to have as long as it has one that runs."""
    allowed = job.attempts_allowed if attempt is not None and job.status is Status.RUNNING else None
    call, text = job.call, _storable(message)
    trace = None if job.traceparent is None else _belonging(job, job.traceparent, attempt)
    names = call.class_name, call.method_name
    gathered.entries.append((at, type, text, job.id, attempt, *names, context, allowed, is_passing, trace))


def _belonging(job: Job, submitted_in: str, attempt: int | None) -> Belonging:
    """Of the attempt that got its slot last, for others are not told of any more."""
    is_of_attempt = attempt is not None and job.started_at is not None
    return Belonging(submitted_in, (job.started_at or 0.0) - job.created_at if is_of_attempt else 0.0)


def record_notes(item: AttemptNotes, overlay: Overlay) -> None:
    """Log what the attempt has told since, and keep how far it is. Raises ValueError where nobody knows the attempt."""
    job, key, now = overlay.job(item.job_id), (item.job_id, item.number), overlay.batch.now
    noted = overlay.noted_of(key)
    if noted is None:
        raise ValueError(f"job {item.job_id} has no attempt {item.number} that could tell anything")
    told = item.notes[max(0, noted - item.first) :]
    if not told:
        return
    _record_steps(job, item.number, [note for note in told if isinstance(note, StepNote)], overlay)
    _record_values(item, [note for note in told if isinstance(note, ValueNote)], overlay)
    for note in told:
        if isinstance(note, UnusedSteps):
            _record_unused(job, item.number, note, overlay)
    notes = [_held(note, now) for note in told if isinstance(note, Note)]
    before = job.progress if item.number == job.attempt else None
    steps = [len(overlay.entries) + at for at, note in enumerate(notes) if note.progress is not None]
    if steps:
        overlay.progressed[key] = Steps(steps, stored_step(key, before))
    for note in notes:
        log(overlay, job, item.number, note.at, note.type, _message_of(note))
    progress = _latest_progress(notes, before)
    overlay.noted[key] = item.first + len(item.notes)
    overlay.write(Kind.NOTED_ATTEMPT, noted_row(key, overlay.noted[key], progress))
    if progress is not None:
        job = overlay.job(job.id)
        after = job.changed(progress=progress) if item.number == job.attempt else job
        overlay.jobs[job.id] = after
        overlay.changed.append(after)


def save_state(item: StateSaved, overlay: Overlay) -> None:
    """Keep what the job's latest attempt has saved, where that is a state as attempts save them."""
    job, value = overlay.job(item.job_id), item.value
    is_state = value.startswith("{") and len(value.encode()) <= MOST_STATE_BYTES
    if item.number != job.attempt or not is_state or value in overlay.batch.no_results:
        return
    overlay.write(Kind.SAVED_STATE, state_row(item))
    overlay.write(Kind.COUNTED_STEPS, carried_row(job.id, job.carried or Carried()))


def _record_steps(job: Job, attempt: int, notes: Sequence[StepNote], overlay: Overlay) -> None:
    """Keep which steps have begun, and what came of those that are done; what is too much nobody keeps."""
    if not notes:
        return
    known, carried, is_kept = overlay.steps_of(job.id), job.carried or Carried(), False
    for note in notes:
        key = _STEP, note.name, 1
        size = 0 if note.result is None else len(note.result.encode())
        if not _can_keep(note, size, known.get(key), len(known), carried, overlay):
            continue
        note, is_kept = replace(note, at=_instant(note.at, overlay.batch.now)), True
        if note.result is None:
            known[key] = StoredStep(attempt, None)
            overlay.write(Kind.BEGUN_STEP, step_row(job.id, attempt, note))
            continue
        carried = carried._replace(steps=carried.steps + 1, step_bytes=carried.step_bytes + size)
        known[key] = StoredStep(attempt, carried.steps)
        overlay.write(Kind.FINISHED_STEP, finished_step_row(job.id, attempt, carried.steps, note))
    if is_kept:
        overlay.jobs[job.id] = job.changed(carried=carried)
        overlay.write(Kind.COUNTED_STEPS, carried_row(job.id, carried))
        overlay.changed.append(overlay.jobs[job.id])


def _can_keep(
    note: StepNote, size: int, before: StoredStep | None, count: int, carried: Carried, overlay: Overlay
) -> bool:
    """Whether it is a step as an attempt makes them: a job may have written its journal by itself.

    What is done finds its place however many others were begun, by attempts that came no further.
    """
    if before is not None and before.number is not None:
        return False
    if len(note.name) not in KEY_LENGTHS:
        return False
    if note.result is None:
        return before is not None or count < MOST_STEPS
    has_room = carried.steps < MOST_STEPS and carried.step_bytes + size <= MOST_STEP_BYTES
    return has_room and note.result not in overlay.batch.no_results


_STEP: Final = "step"
"""The kind of a row that is of a step."""


def _record_values(item: AttemptNotes, notes: Sequence[ValueNote], overlay: Overlay) -> None:
    """Keep what the attempt has told those who follow the job, under numbers that go on from attempt to attempt."""
    key, job = (item.job_id, item.number), overlay.job(item.job_id)
    carried, kept = job.carried or Carried(), overlay.kept_values_of(job.id)
    valued, emitted, is_first = overlay.valued_of(key), carried.emitted, kept.last == 0
    new = []
    for note in notes:
        if valued == MOST_VALUES or not _can_tell(note):
            continue
        size = len(note.value.encode())
        valued, emitted, kept = valued + 1, max(emitted, note.place), kept.with_one(size)
        at = to_text(_instant(note.at, overlay.batch.now))
        new.append(StoredValue(job.id, kept.last, item.number, note.step, at, note.value))
        overlay.write(Kind.NEW_VALUE, {**new[-1]._asdict(), "ends": kept.ends})
    if not new:
        return
    overlay.values += new
    overlay.valued[key] = valued
    overlay.write(Kind.VALUED_ATTEMPT, {"job_id": job.id, "number": item.number, "valued": valued})
    trimmed = kept.try_trimmed()
    if trimmed is not None:
        row = {"job_id": job.id, "number": trimmed.first - 1, "ends": trimmed.first_ends}
        overlay.write(Kind.TRIMMED_VALUES, row)
    overlay.kept_values[job.id] = trimmed or kept
    if is_first or emitted != carried.emitted:
        carried = carried._replace(emitted=emitted)
        overlay.jobs[job.id] = job.changed(carried=carried)
        overlay.write(Kind.COUNTED_STEPS, carried_row(job.id, carried))


def _can_tell(note: ValueNote) -> bool:
    """Whether it is a value as an attempt tells them: a job may have written its journal by itself."""
    return (note.step is None or len(note.step) in KEY_LENGTHS) and is_tellable(note.value)


def _record_unused(job: Job, attempt: int, note: UnusedSteps, overlay: Overlay) -> None:
    """Mark the finished steps that did not come again, and tell which, and of which code they are."""
    known = overlay.steps_of(job.id)
    steps = {name: known.get((_STEP, name, 1)) for name in note.names}
    found = {
        name: step.attempt for name, step in steps.items() if step is not None and step.number is not None
    }
    for name in found:
        overlay.write(Kind.UNUSED_STEP, {"job_id": job.id, "name": name, "attempt": attempt})
    if found:
        codes = [overlay.code_of((job.id, earlier)) for earlier in found.values()]
        message = unused_steps(list(found), codes, overlay.code_of((job.id, attempt)))
        log(overlay, job, attempt, _instant(note.at, overlay.batch.now), EntryType.INFO, message)


def _held(note: Note, now: float) -> Note:
    """The note as it can be stored: a job may have written its journal by itself."""
    fraction = note.progress
    if fraction is not None:
        fraction = float(min(max(fraction, 0.0), 1.0)) if fraction == fraction else 0.0
    return Note(_instant(note.at, now), note.type, _storable(note.message), fraction)


def _instant(at: float, now: float) -> float:
    return held(at) if at == at else now


def _storable(text: str) -> str:
    """The text with what UTF-8 cannot hold replaced: one bad message would cost its neighbours the transaction."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _message_of(note: Note) -> str:
    return note.message if note.progress is None else progress_message(note.progress, note.message)


def _latest_progress(notes: Sequence[Note], before: str | None) -> str | None:
    """The latest that the notes tell of how far the attempt is, as JSON text, with how often that was told by now."""
    with_progress = [note for note in notes if note.progress is not None]
    if not with_progress:
        return None
    told = 0 if before is None else json.loads(before).get("told") or 1
    return to_json(progress_of(with_progress[-1]) | {"told": told + len(with_progress)})
