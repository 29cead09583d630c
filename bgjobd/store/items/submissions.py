"""Items that store new jobs: one or some, a flow, a bulk, one that an application's transaction sent, one once more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from bgjobd.core.edges import NewGroup
from bgjobd.core.facts import Submitted
from bgjobd.core.job import Job
from bgjobd.store.items.submitter import Submitter


@dataclass(frozen=True, slots=True)
class Submission:
    """Jobs to store, all or none. Answered by a tuple of Stored, in order."""

    jobs: tuple[Submitted, ...]
    submitter: Submitter


@dataclass(frozen=True, slots=True)
class Received:
    """A job that an application's own transaction has asked for: to be stored under the id that it was told, `fact.id`,
    in one transaction with the end of its row in the inbox; `refused` is why it has failed as it is stored.

    Answered by Stored; None where another daemon has it. Raises DuplicateError where it would be another job.
    """

    fact: Submitted
    submitter: Submitter
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """The same of jobs that have ties to others, with `groups` that are made for them, and some that it `seals`.

    Answered by StoredFlow.
    """

    jobs: tuple[Submitted, ...]
    submitter: Submitter
    groups: tuple[NewGroup, ...] = ()
    seals: tuple[int, ...] = ()


class BulkRow(NamedTuple):  # each job has one: all else is there once
    """What one job of a bulk has for itself; `parameters` is JSON text, nobody is shown those that are `sensitive`."""

    parameters: str
    sensitive: tuple[str, ...] = ()
    idempotency_key: str | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class BulkSubmission:
    """Jobs to store that differ in their rows alone, all or none. Answered by a tuple of their ids, in order.

    `common` is what is asked of each, without id, parameters and key.
    """

    common: Submitted
    rows: tuple[BulkRow, ...]
    submitter: Submitter


@dataclass(frozen=True, slots=True)
class AgainAsked:
    """Somebody wants the call of a job that has ended run again, as another job, from a step on where that is named.

    `wanted` was made of the job as it stood as `source`; both are None where it had not ended. `key` is of idempotency,
    `digest` of the request. Answered by Stored; by None, with nothing done, where the job is not as it was.
    """

    source_id: int
    from_step: str | None
    source: Job | None
    wanted: Submitted | None
    key: str | None
    digest: str
    submitter: Submitter
