"""One transaction: applies a batch of items, grants free slots, commits; with `deletions` the only SQL that writes.

Items are applied in order, each within a savepoint, so one that is refused costs its neighbours nothing.
Nothing here is remembered between transactions but what is derived from the file.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from peewee import DatabaseError, SqliteDatabase
from peewee import __exception_wrapper__ as as_peewees_own  # type: ignore[attr-defined]  # its stubs lack it

from bgjob.codec import to_json
from bgjob.errors import (
    IdempotencyConflictError,
    InvalidParameterError,
    InvalidStateError,
    JobNotFoundError,
    QueueFullError,
    RequestError,
)
from bgjob.words import EntryType, Outcome, Status
from bgjobd.core import planner, state_machine
from bgjobd.core.case_folding import folded
from bgjobd.core.facts import (
    AttemptEnded,
    AttemptStarted,
    CancelRequested,
    ClockJumped,
    Fact,
    RetryRequested,
    SlotGranted,
    Submitted,
)
from bgjobd.core.job import Call, Ending, Job
from bgjobd.core.log_entries import entries, progress_message
from bgjobd.core.planner import Candidate, Lanes
from bgjobd.core.retry import delay_before_start
from bgjobd.host.clock import from_text, to_text
from bgjobd.store import deletions, statements
from bgjobd.store.database import UncertainCommitError, is_surely_undone
from bgjobd.store.items import (
    AttemptNotes,
    Claim,
    Committed,
    DaemonStarted,
    Deletion,
    EndedAttempt,
    Item,
    JobFact,
    JobRequests,
    LogLine,
    Look,
    LostUpdateError,
    Note,
    Noted,
    Ping,
    QueuePaused,
    QueueResumed,
    Stored,
    Submission,
    TimeLeapt,
    Trimming,
)
from bgjobd.store.models import LEAPT_AT, Queue
from bgjobd.store.rows import changes_of, job_from_row, progress_of, row_of_new, snapshot
from bgjobd.store.sql_functions import held
from bgjobd.store.tally import Countable, Move, Tally, counted

_READY_AT_ONCE: Final = 500
"""How many scheduled jobs one transaction makes ready; the rest follows in the next."""


@dataclass(slots=True)
class _Gathered:
    """What one transaction has gathered so far; `pending` is how many jobs more, or less, it has made of each queue."""

    now: float
    max_pending: Mapping[str, int]
    last_log_id: int | None = None  # before this transaction; read once there is something to log
    lines: list[LogLine] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    ended: list[Job] = field(default_factory=list)
    stops: list[Job] = field(default_factory=list)
    changed: list[Job] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    attempts: list[EndedAttempt] = field(default_factory=list)
    pending: Counter[str] = field(default_factory=Counter)

    def move(self, before: Job | Countable | None, after: Job | None) -> None:
        """Note a change of status."""
        self.moves.append((before, after))
        self._count_pending(before, after, +1)

    def _count_pending(self, before: Job | Countable | None, after: Job | None, sign: int) -> None:
        if before is not None and before.status is Status.PENDING:
            self.pending[before.queue] -= sign
        if after is not None and after.status is Status.PENDING:
            self.pending[after.queue] += sign

    def mark(self) -> tuple[int, ...]:
        """Where an item begins."""
        return tuple([len(noted) for noted in self._noted()])

    def forget_since(self, mark: tuple[int, ...]) -> None:
        """Take back what an item has added."""
        for before, after in self.moves[mark[0] :]:
            self._count_pending(before, after, -1)
        for noted, length in zip(self._noted(), mark, strict=True):
            del noted[length:]

    def _noted(self) -> tuple[list[Any], ...]:
        """What items add to, the moves first."""
        return self.moves, self.lines, self.ended, self.stops, self.changed, self.attempts

    def committed(self, answers: tuple[Any, ...], next_due: float | None, tally: Tally) -> Committed:
        ended = {job.id for job in self.ended}
        return Committed(
            answers,
            tuple(self.claims),
            tuple(self.ended),
            tuple([job for job in self.stops if job.id not in ended]),
            tuple(self.lines),
            next_due,
            tuple(self.changed),
            tally,
            tuple(self.attempts),
        )


@dataclass(frozen=True, slots=True)
class _Keyed:
    """A stored job as its idempotency key tells it apart."""

    id: int
    digest: str | None
    submitted_uid: int | None
    call: Call


class Ledger:
    """The database as the writer sees it. `jitter` gives a number in [0, 1]; `boot_id` marks new attempts."""

    def __init__(self, database: SqliteDatabase, boot_id: str, jitter: Callable[[], float]) -> None:
        self._database = database
        self._execute: Callable[..., Any] = database.execute_sql
        self._boot_id = boot_id
        self._jitter = jitter
        self._tally: Tally | None = None

    def commit(self, items: Sequence[Item], lanes: Lanes, now: float) -> Committed:
        """Apply the items and grant free slots in one durable transaction.

        Raises peewee's errors if it can't, and UncertainCommitError where it was too late to say so for sure.
        """
        done = _Gathered(now, lanes.max_pending)
        self._execute("BEGIN IMMEDIATE")
        try:
            if self._tally is None:
                self._tally = counted(self._database, now)
            answers = tuple([self._settle(item, done) for item in items])
            next_due = self._grant_slots(lanes, done)
            self._insert(statements.INSERT_LOG, [_log_row(line) for line in done.lines])
            tally = self._tally_after(self._tally, items, done)
            self._commit()
        except BaseException:
            with suppress(DatabaseError):  # SQLite has rolled back by itself after a full disk
                self._execute("ROLLBACK")
            raise
        self._tally = tally
        return done.committed(answers, next_due, tally)

    def _commit(self) -> None:
        try:
            self._execute("COMMIT")
        except DatabaseError as error:
            if is_surely_undone(error):
                raise
            raise UncertainCommitError(str(error)) from error

    def prove_writable(self, now: float) -> None:
        """Commit a row that no commit before had: only then can the file be written. Raises peewee's errors."""
        self._execute("INSERT OR REPLACE INTO properties VALUES ('written_again_at', ?)", (to_text(now),))

    def _tally_after(self, tally: Tally, items: Sequence[Item], done: _Gathered) -> Tally:
        """Carried on; counted anew by a transaction after which other minutes are the last ones."""
        if any(isinstance(item, ClockJumped) for item in items):
            return counted(self._database, done.now)
        return tally.moved(done.moves, done.now) if done.moves else tally

    def _settle(self, item: Item, done: _Gathered) -> Any:
        """The item's answer; a refusal or a bug is an answer too, and undoes this item alone."""
        mark = done.mark()
        self._execute("SAVEPOINT item")
        try:
            answer = self._apply(item, done)
        except (
            RequestError,
            state_machine.IllegalFactError,
            LostUpdateError,
            ValueError,
            OverflowError,
        ) as error:
            self._execute("ROLLBACK TO item")
            done.forget_since(mark)
            answer = error
        self._execute("RELEASE item")
        return answer

    def _apply(self, item: Item, done: _Gathered) -> Any:
        match item:
            case JobFact(job_id, fact):
                return self._apply_fact(job_id, fact, done)
            case JobRequests(job_ids, fact):
                return tuple([self._apply_fact(job_id, fact, done) for job_id in job_ids])
            case Submission():
                return self._store(item, done)
            case Noted(job_id, attempt, type, message):
                self._log(done, self._job(job_id), attempt, done.now, type, message)
            case AttemptNotes():
                self._record_notes(item, done)
            case QueuePaused(queue):
                with self._database.bind_ctx([Queue]):
                    Queue.insert(name=queue, paused_at=to_text(done.now)).on_conflict_ignore().execute()
            case QueueResumed(queue):
                with self._database.bind_ctx([Queue]):
                    Queue.delete().where(Queue.name == queue).execute()
            case ClockJumped(delta):
                self._execute(statements.SHIFT_RETRIES, {"seconds": delta, "now": to_text(done.now)})
            case DaemonStarted():
                self._execute(statements.SHIFT_RETRIES_FROM_THE_FUTURE, {"now": to_text(done.now)})
            case TimeLeapt():
                self._execute(
                    "INSERT OR REPLACE INTO properties VALUES (?, ?)", (LEAPT_AT, to_text(done.now))
                )
            case Deletion():
                told = {line.job_id for line in done.lines}
                return deletions.delete(self._execute, item, told, lambda stood: done.move(stood, None))
            case Trimming():
                return deletions.trim(self._execute, item, done.now)
            case Look() | Ping():
                pass
        return None

    # Submissions

    def _store(self, submission: Submission, done: _Gathered) -> tuple[Stored, ...]:
        next_id = self._next_id()
        by = submission.submitter
        stored: list[Stored] = []
        rows: list[dict[str, Any]] = []
        by_key = self._jobs_by_key([fact.idempotency_key for fact in submission.jobs if fact.idempotency_key])
        for index, fact in enumerate(submission.jobs):
            known = _known(index, fact, by_key, by.uid)
            if known is not None:
                stored.append(Stored(known, created=False))
                continue
            self._check_room(fact.queue, done)
            fact = fact.numbered(next_id)
            next_id += 1
            if fact.idempotency_key is not None:
                by_key[fact.idempotency_key] = fact
            job = state_machine.advance(None, fact, done.now)
            rows.append(row_of_new(job, fact.digest, done.now, by.uid, by.gid, by.pid))
            stored.append(Stored(job.id, created=True))
            done.changed.append(job)
            done.move(None, job)
            self._tell(None, fact, job, done)
        self._insert(statements.INSERT_JOB, rows)
        return tuple(stored)

    def _check_room(self, queue: str, done: _Gathered) -> None:
        """Raises QueueFullError where no other job may be pending in the queue."""
        limit = done.max_pending.get(queue)
        if limit is None or self._tally is None:
            return
        if self._tally.of_queue(queue, Status.PENDING) + done.pending[queue] >= limit:
            raise QueueFullError(queue=queue, limit=limit)

    def _jobs_by_key(self, keys: list[str]) -> dict[str, _Keyed | Submitted]:
        """The stored jobs that these idempotency keys made."""
        if not keys:
            return {}
        rows = self._execute(statements.SELECT_JOBS_BY_KEY, {"keys": to_json(keys)}).fetchall()
        return {key: _Keyed(id, digest, uid, Call(*call)) for key, id, digest, uid, *call in rows}

    def _next_id(self) -> int:
        # AUTOINCREMENT's own counter: ids are never used again, also after the newest job is pruned.
        row = self._execute(statements.SELECT_LAST_ID).fetchone()
        return (row[0] if row else 0) + 1

    # Facts

    def _apply_fact(self, job_id: int, fact: Fact, done: _Gathered) -> Job:
        before = self._job(job_id)
        if isinstance(fact, CancelRequested | RetryRequested) and not state_machine.is_allowed(before, fact):
            raise InvalidStateError(id=job_id, status=before.status)
        fact = self._backed_off(job_id, fact)
        after = self._advance(before, fact, done)
        if isinstance(fact, AttemptStarted):
            self._execute(statements.UPDATE_ATTEMPT_STARTED, _started_row(job_id, fact))
        elif isinstance(fact, AttemptEnded):
            self._execute(statements.UPDATE_ATTEMPT_ENDED, _ended_row(job_id, fact))
            done.attempts.append(_ended(before, fact, after, done.now))
        if after.status.is_final:
            done.ended.append(after)
        elif isinstance(fact, CancelRequested):
            done.stops.append(after)
        return after

    def _job(self, job_id: int) -> Job:
        row = self._execute(statements.SELECT_JOB, {"id": job_id}).fetchone()
        if row is None:
            raise JobNotFoundError(id=job_id)
        return job_from_row(row)

    def _backed_off(self, job_id: int, fact: Fact) -> Fact:
        """The fact as it came; with the next longer delay where an attempt could not start and names none."""
        match fact:
            case AttemptEnded(
                number=number,
                ending=Ending(outcome=Outcome.NOT_STARTED, delay=None, crash=None) as ending,
            ):
                (last_begun,) = self._execute(statements.SELECT_LAST_BEGUN, {"job_id": job_id}).fetchone()
                delay = delay_before_start(number - last_begun, self._jitter())
                return replace(fact, ending=replace(ending, delay=delay))
            case _:
                return fact

    def _advance(self, before: Job, fact: Fact, done: _Gathered) -> Job:
        changed = state_machine.advance(before, fact, done.now, self._jitter())
        is_changed = changed != before
        after = changed if is_changed else before
        if is_changed:
            change = changes_of(after, done.now) | {"expected": before.status}
            if self._execute(statements.UPDATE_JOB, change).rowcount != 1:
                raise LostUpdateError(before.id, before.status)
            if after.status is not before.status:
                done.move(before, after)
        if is_changed or isinstance(fact, AttemptStarted):  # whose change is the attempt's
            done.changed.append(after)
        self._tell(before, fact, after, done)
        return after

    def _tell(self, before: Job | None, fact: Fact, after: Job, done: _Gathered) -> None:
        running = before if before is not None and before.status is Status.RUNNING else after
        for entry in entries(before, fact, after):
            context = snapshot(after) if entry.with_job else None
            told = entry.type, entry.message, context, entry.is_passing
            self._log(done, running, after.attempt or None, done.now, *told)

    def _log(
        self,
        done: _Gathered,
        job: Job,
        attempt: int | None,
        at: float,
        type: EntryType,
        message: str,
        context: str | None = None,
        is_passing: bool = False,
    ) -> None:
        """Tell of the job, and of how many attempts it is to have as long as it has one that runs."""
        if done.last_log_id is None:
            (done.last_log_id,) = self._execute(statements.SELECT_LAST_LOG_ID).fetchone()
        done.lines.append(
            LogLine(
                done.last_log_id + len(done.lines) + 1,
                at,
                type,
                _storable(message),
                job.id,
                attempt,
                job.call.class_name,
                job.call.method_name,
                context,
                job.attempts_allowed if attempt is not None and job.status is Status.RUNNING else None,
                is_passing,
            )
        )

    # What attempts tell of themselves

    def _record_notes(self, item: AttemptNotes, done: _Gathered) -> None:
        key = {"job_id": item.job_id, "number": item.number}
        job = self._job(item.job_id)
        row = self._execute(statements.SELECT_NOTED, key).fetchone()
        if row is None:
            raise ValueError(f"job {item.job_id} has no attempt {item.number} that could tell anything")
        notes = [_held(note, done.now) for note in item.notes[max(0, row[0] - item.first) :]]
        if not notes:
            return
        for note in notes:
            self._log(done, job, item.number, note.at, note.type, _told(note))
        progress = _latest_progress(notes)
        change = {"noted": item.first + len(item.notes), "progress": progress}
        self._execute(statements.UPDATE_ATTEMPT_NOTED, key | change)
        if progress is not None:
            done.changed.append(replace(job, progress=progress) if item.number == job.attempt else job)

    # Slots

    def _grant_slots(self, lanes: Lanes, done: _Gathered) -> float | None:
        """Claim for every free slot; answers when to look again. None: an end or a submit comes first anyhow."""
        running = dict(self._execute(statements.COUNT_RUNNING).fetchall())
        free = planner.free_slots(lanes, running)
        if free == 0:
            return None
        paused = [name for (name,) in self._execute(statements.SELECT_PAUSED).fetchall()]
        places = planner.room(lanes, running, paused)
        self._execute(statements.MAKE_READY, {"now": to_text(done.now), "count": _READY_AT_ONCE})
        for job in self._chosen(lanes, free, places):
            self._claim(job, done)
        due = self._execute(statements.SELECT_NEXT_DUE).fetchone()[0]
        return None if due is None else from_text(due)

    def _chosen(self, lanes: Lanes, free: int, places: Mapping[str, int]) -> list[Job]:
        """The jobs to start now."""
        if not lanes.classes:
            waiting = [job for queue, count in places.items() for job in self._ready(queue, count)]
            return planner.choose(free, places, waiting)
        running = Counter(class_name for _, _, class_name in self._execute(statements.SELECT_RUNNING))
        of_classes = planner.room_of_classes(lanes, running)
        candidates = [one for place in places.items() for one in self._candidates(*place, of_classes)]
        return [self._job(one.id) for one in planner.choose(free, places, candidates, of_classes)]

    def _candidates(self, queue: str, count: int, of_classes: Mapping[str, int]) -> Iterator[Candidate]:
        """Of each class the first jobs of the queue that are due, as many as could start."""
        for class_name in self._ready_classes(queue):
            wanted = {"queue": queue, "class_name": class_name}
            most = min(count, of_classes.get(class_name, count))
            if most > 0:
                found = self._execute(statements.SELECT_READY_OF_CLASS, wanted | {"count": most}).fetchall()
                yield from (Candidate(id, queue, class_name, priority) for id, priority in found)

    def _ready_classes(self, queue: str) -> Iterator[str]:
        """The classes that have jobs in the queue which are due, each found without a look at the jobs of another."""
        wanted = {"queue": queue, "class_name": ""}
        while row := self._execute(statements.SELECT_NEXT_READY_CLASS, wanted).fetchone():
            (wanted["class_name"],) = row
            yield row[0]

    def _ready(self, queue: str, count: int) -> list[Job]:
        rows = self._execute(statements.SELECT_READY, {"queue": queue, "count": count}).fetchall()
        return [job_from_row(row) for row in rows]

    def _claim(self, job: Job, done: _Gathered) -> None:
        claimed = self._advance(job, SlotGranted(), done)
        token = secrets.token_hex(8)
        row = {
            "job_id": claimed.id,
            "number": claimed.attempt,
            "token": token,
            "boot_id": self._boot_id,
        }
        self._execute(statements.INSERT_ATTEMPT, row)
        done.claims.append(Claim(claimed, token, _waited(job, done.now)))

    def _insert(self, statement: str, rows: list[dict[str, Any]]) -> None:
        if rows:
            with as_peewees_own:  # so that an error of executemany is peewee's, as all others are
                self._database.cursor().executemany(statement, rows)


def _known(index: int, fact: Submitted, by_key: dict[str, _Keyed | Submitted], uid: int | None) -> int | None:
    """The id of the job that this idempotency key made before. Raises where that was another request.

    Whether another user's request had the same secrets nobody may find out by guessing them.
    """
    earlier = by_key.get(fact.idempotency_key or "")
    if earlier is None:
        return None
    is_guess = bool(fact.call.sensitive) and isinstance(earlier, _Keyed) and earlier.submitted_uid != uid
    if _is_same_request(earlier, fact) and not is_guess:
        return earlier.id
    if isinstance(earlier, Submitted):  # of this submission, so its id is rolled back with it
        raise InvalidParameterError(parameter=f"jobs.{index}.options.idempotency_key")
    raise IdempotencyConflictError(id=earlier.id)


def _is_same_request(earlier: _Keyed | Submitted, fact: Submitted) -> bool:
    """By their digests; by what they call where a job was stored before there were digests."""
    if earlier.digest is None or fact.digest is None:
        return earlier.call == fact.call
    return earlier.digest == fact.digest


def _storable(text: str) -> str:
    """The text with what UTF-8 cannot hold replaced: one bad message would cost its neighbours the transaction."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _held(note: Note, now: float) -> Note:
    """The note as it can be stored: a job may have written its journal by itself."""
    at = note.at if note.at == note.at else now
    fraction = note.progress
    if fraction is not None:
        fraction = float(min(max(fraction, 0.0), 1.0)) if fraction == fraction else 0.0
    return Note(held(at), note.type, _storable(note.message), fraction)


def _told(note: Note) -> str:
    return note.message if note.progress is None else progress_message(note.progress, note.message)


def _latest_progress(notes: Sequence[Note]) -> str | None:
    """The latest that the notes tell of how far the attempt is, as JSON text."""
    told = [note for note in notes if note.progress is not None]
    return to_json(progress_of(told[-1])) if told else None


def _log_row(line: LogLine) -> dict[str, Any]:
    return {
        "id": line.id,
        "job_id": line.job_id,
        "attempt": line.attempt,
        "type": line.type,
        "message": line.message,
        "context": line.context,
        "created_at": to_text(line.at),
        "folded": folded(line.message),
        "attempts_allowed": line.attempts_allowed,
    }


def _waited(job: Job, now: float) -> float:
    """For how many seconds a pending job was due: since it was submitted, put back, or its time had come."""
    return max(0.0, now - max(job.updated_at, job.scheduled_at or 0.0))


def _ended(before: Job, fact: AttemptEnded, after: Job, now: float) -> EndedAttempt:
    ended_at = min(fact.at, now)  # a job may have written its journal by itself
    started_at = ended_at if before.started_at is None else before.started_at
    return EndedAttempt(
        before.call.class_name,
        fact.ending.outcome,
        max(0.0, ended_at - started_at),  # the clock may have been set back
        is_retried=after.retry_count > before.retry_count,
    )


def _started_row(job_id: int, fact: AttemptStarted) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "number": fact.number,
        "pid": fact.pid,
        "started_at": to_text(fact.at),
        "code_version": fact.code_version,
    }


def _ended_row(job_id: int, fact: AttemptEnded) -> dict[str, Any]:
    ending, usage = fact.ending, fact.usage
    return {
        "job_id": job_id,
        "number": fact.number,
        "finished_at": to_text(fact.at),
        "outcome": ending.outcome,
        "exit_code": ending.exit_code,
        "signal": ending.signal,
        "error_type": ending.error_type,
        "error_message": ending.error_message,
        "traceback": ending.traceback,
        "max_rss": usage.max_rss if usage else None,
        "cpu_user": usage.cpu_user if usage else None,
        "cpu_system": usage.cpu_system if usage else None,
        "output_bytes": usage.output_bytes if usage else None,
        "spends_retry": ending.spends_retry,
    }
