"""What a transaction has read of the file, and what its items come to so far: values in memory, no SQL.

Each item works on an overlay, which the batch takes in, or which is dropped where the item is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bgjob.errors import JobNotFoundError
from bgjob.words import EntryType, Status
from bgjobd.core.job import AttemptKey, Call, Job
from bgjobd.store.items import Claim, Committed, EndedAttempt, LogLine, StoredBulk
from bgjobd.store.rows import checked
from bgjobd.store.tally import Countable, Move, Tally
from bgjobd.store.written import Kind, Row, Written

Entry = tuple[float, EntryType, str, int, int | None, str, str, str | None, int | None, bool]
"""A LogLine without its id, which it gets last of all."""


class Keyed(NamedTuple):
    """A job as its idempotency key tells it apart."""

    id: int
    digest: str | None
    submitted_uid: int | None
    call: Call


@dataclass(slots=True)
class Needs:
    """What is to be loaded for items; each name is that of the values in Batch."""

    jobs: list[int] = field(default_factory=list)
    last_begun: list[int] = field(default_factory=list)
    noted: list[AttemptKey] = field(default_factory=list)
    keyed: list[str] = field(default_factory=list)
    last_id: bool = False


@dataclass(slots=True)
class Gathered:
    """What items come to: rows to write and what is told of them, in order; and how jobs stand after them.

    `pending` is how many jobs more, or less, wait in each queue; `noted` how many notes of an attempt are recorded.
    """

    rows: list[tuple[Kind, Row]] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    ended: list[Job] = field(default_factory=list)
    stops: list[Job] = field(default_factory=list)
    changed: list[Job] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    attempts: list[EndedAttempt] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    jobs: dict[int, Job] = field(default_factory=dict)
    keyed: dict[str, Keyed] = field(default_factory=dict)
    noted: dict[AttemptKey, int] = field(default_factory=dict)
    pending: dict[str, int] = field(default_factory=dict)

    def write(self, kind: Kind, row: Row) -> None:
        """Have the row written. Raises ValueError and OverflowError where the file cannot hold it."""
        self.rows.append((kind, checked(row)))

    def move(self, before: Job | Countable | None, after: Job | None) -> None:
        """Note a change of status."""
        self.moves.append((before, after))
        if before is not None and before.status is Status.PENDING:
            self.pending[before.queue] = self.pending.get(before.queue, 0) - 1
        if after is not None and after.status is Status.PENDING:
            self.pending[after.queue] = self.pending.get(after.queue, 0) + 1


@dataclass(slots=True, kw_only=True)
class Batch(Gathered):
    """What one transaction has loaded, beside what it has gathered; `last_id` is that of the newest job.

    `last_begun` is the latest attempt, of jobs that were asked for, which did not fail to start. `written` are the rows
    that have been written, which are all that have changed unless `has_unseen_changes`, beside the `bulks`.
    """

    now: float
    jitter: Callable[[], float]
    tally: Tally
    max_pending: Mapping[str, int]
    last_id: int = 0
    last_begun: dict[int, int] = field(default_factory=dict)
    written: list[Written] = field(default_factory=list)
    has_unseen_changes: bool = False
    seen_ended: int = 0
    bulks: list[StoredBulk] = field(default_factory=list)

    def join(self, bulk: StoredBulk) -> None:
        """Take in the jobs of a bulk, which are written."""
        self.bulks.append(bulk)
        queue = bulk.first.queue
        self.pending[queue] = self.pending.get(queue, 0) + len(bulk)

    def take_in(self, overlay: Overlay) -> None:
        """Make what an item has come to part of the transaction."""
        self.last_id = overlay.last_id
        self.rows += overlay.rows
        self.entries += overlay.entries
        self.ended += overlay.ended
        self.stops += overlay.stops
        self.changed += overlay.changed
        self.moves += overlay.moves
        self.attempts += overlay.attempts
        self.claims += overlay.claims
        self.jobs |= overlay.jobs
        self.keyed |= overlay.keyed
        self.noted |= overlay.noted
        for queue, count in overlay.pending.items():
            self.pending[queue] = self.pending.get(queue, 0) + count

    def take_rows(self) -> dict[Kind, list[Row]]:
        """The rows that are not written yet, which then count as written."""
        by_kind: dict[Kind, list[Row]] = {}
        for kind, row in self.rows:
            by_kind.setdefault(kind, []).append(row)
        self.rows.clear()
        in_order = {kind: by_kind[kind] for kind in Kind if kind in by_kind}
        self.written.append(in_order)
        return in_order

    def take_schedules_of_ended(self) -> list[str]:
        """The schedules of jobs that have ended since the last time."""
        ended, self.seen_ended = self.ended[self.seen_ended :], len(self.ended)
        return list(dict.fromkeys([job.schedule for job in ended if job.schedule is not None]))

    def with_entries(self) -> set[int]:
        """The jobs that have log entries which are not written yet."""
        return {job_id for _, _, _, job_id, *_ in self.entries}

    def waiting_in(self, queue: str) -> int:
        """How many jobs are pending in a queue by now."""
        return self.tally.of_queue(queue, Status.PENDING) + self.pending.get(queue, 0)

    def committed(
        self, answers: tuple[Any, ...], lines: tuple[LogLine, ...], next_due: float | None, tally: Tally
    ) -> Committed:
        """All of it, once it is on disk."""
        ended = {job.id for job in self.ended}
        return Committed(
            answers,
            tuple(self.claims),
            tuple(self.ended),
            tuple([job for job in self.stops if job.id not in ended]),
            lines,
            next_due,
            tuple(self.changed),
            tally,
            tuple(self.attempts),
            tuple(self.written),
            self.has_unseen_changes,
            tuple(self.bulks),
        )


@dataclass(slots=True, kw_only=True)
class Overlay(Gathered):
    """What one item has come to, over what the batch has."""

    batch: Batch
    last_id: int

    @classmethod
    def over(cls, batch: Batch) -> Overlay:
        return cls(batch=batch, last_id=batch.last_id)

    def job(self, job_id: int) -> Job:
        """The job as it stands now. Raises JobNotFoundError."""
        job = self.jobs.get(job_id) or self.batch.jobs.get(job_id)
        if job is None:
            raise JobNotFoundError(id=job_id)
        return job

    def noted_of(self, key: AttemptKey) -> int | None:
        """How many notes of the attempt are recorded; None where there is no such attempt."""
        return self.noted.get(key, self.batch.noted.get(key))

    def waiting_in(self, queue: str) -> int:
        """How many jobs are pending in a queue by now."""
        return self.batch.waiting_in(queue) + self.pending.get(queue, 0)
