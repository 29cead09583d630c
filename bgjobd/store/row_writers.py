"""Which statement writes the rows of each kind, for the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bgjobd.store import errors, hooks, inbox, kept_outputs, labels, rates, steps, values, waits
from bgjobd.store.statements import of_attempts, of_jobs, of_schedules, of_ties
from bgjobd.store.written import Kind

WRITERS: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        Kind.NEW_GROUP: of_ties.INSERT_GROUP,
        Kind.RECEIVED: inbox.TAKE,
        Kind.NEW_JOB: of_jobs.INSERT_JOB,
        Kind.NEW_TIED_JOB: of_jobs.INSERT_TIED_JOB,
        Kind.REPLACED_JOB: of_jobs.UPDATE_REPLACED,
        Kind.CHANGED_TERMS: of_jobs.UPDATE_TERMS,
        Kind.CHANGED_JOB: of_jobs.UPDATE_JOB,
        Kind.TIED_JOB: of_ties.UPDATE_TIES,
        Kind.TAKEN_KEY: of_ties.TAKE_KEY,
        Kind.RELEASED_KEY: of_ties.RELEASE_KEY,
        Kind.NEW_EDGE: of_ties.INSERT_EDGE,
        Kind.MOVED_EDGE: of_ties.MOVE_EDGE,
        Kind.FORGIVEN_EDGES: of_ties.FORGIVE_EDGES,
        Kind.SEALED_GROUP: of_ties.SEAL_GROUP,
        Kind.COUNTED_GROUP: of_ties.COUNT_GROUP,
        Kind.NEW_ATTEMPT: of_attempts.INSERT_ATTEMPT,
        Kind.STARTED_ATTEMPT: of_attempts.UPDATE_ATTEMPT_STARTED,
        Kind.ENDED_ATTEMPT: of_attempts.UPDATE_ATTEMPT_ENDED,
        Kind.NOTED_ATTEMPT: of_attempts.UPDATE_ATTEMPT_NOTED,
        Kind.OWED_HOOK: hooks.OWE,
        Kind.OCCURRENCES: of_schedules.WRITE_OCCURRENCES,
        Kind.DEALT_SCHEDULE: of_schedules.MOVE_CURSOR,
        Kind.HELD_SCOPE: rates.HOLD,
        Kind.BEGUN_STEP: steps.BEGIN_STEP,
        Kind.FINISHED_STEP: steps.FINISH_STEP,
        Kind.SETTLED_STEP: steps.SETTLE_STEP,
        Kind.COUNTED_STEPS: steps.COUNT_STEPS,
        Kind.UNUSED_STEP: steps.MARK_UNUSED,
        Kind.OPENED_WAIT: waits.OPEN_WAIT,
        Kind.MOVED_WAIT: waits.MOVE_WAIT,
        Kind.DROPPED_WAIT: waits.DROP_WAIT,
        Kind.NEW_SIGNAL: waits.INSERT_SIGNAL,
        Kind.SAVED_STATE: steps.SAVE_STATE,
        Kind.NEW_VALUE: values.INSERT_VALUE,
        Kind.VALUED_ATTEMPT: values.COUNT_VALUED,
        Kind.TRIMMED_VALUES: values.TRIM,
        Kind.COPIED_STEPS: steps.COPY_STEPS,
        Kind.FORGOTTEN_STEPS: steps.FORGET_STEPS,
        Kind.FORGOTTEN_STATE: steps.FORGET_STATE,
        Kind.FREED_SIGNALS: waits.FREE_SIGNALS,
        Kind.REVIEWED_JOB: of_jobs.REVIEW_JOB,
        Kind.ENDED_OUTPUT: kept_outputs.KEEP,
        Kind.LOST_LABEL: labels.LOSE,
        Kind.LABELLED_JOB: labels.LABEL,
        Kind.FAILED_BY_ERROR: errors.COUNT_FAILED,
    }
)
"""What writes the rows of each kind."""
