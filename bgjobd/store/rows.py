"""Between the rules' values and the tables' rows."""

from __future__ import annotations

import json
from typing import Any, Final

from bgjob.codec import JsonObject, to_json
from bgjob.words import INT_MAX, Backoff, IfFailed, Outcome, Status, UniqueWhile
from bgjobd.core.case_folding import folded
from bgjobd.core.edges import Group, Node, Standing
from bgjobd.core.facts import REPLACED, AttemptEnded, AttemptStarted, Fact, Settled, StepSettled
from bgjobd.core.job import AttemptKey, Call, Carried, Job, RetryPolicy
from bgjobd.core.schedules import Became, Span, Verdict, Wanted
from bgjobd.core.unique import UniqueKey
from bgjobd.core.waiting import Wait
from bgjobd.host.clock import from_text, to_text
from bgjobd.store.committed import Entry
from bgjobd.store.items.attempts import Note, StateSaved, StepNote
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.written import BEHIND, BLOCKED, WAITING, Row

_STATUSES: Final[dict[str, Status]] = {one: one for one in Status}
_BACKOFFS: Final[dict[str, Backoff]] = {one: one for one in Backoff}
"""By the text of each, which is faster than to ask the enumeration."""


def job_from_row(values: tuple[Any, ...]) -> Job:
    """The job of a row that of_jobs.SELECT_JOB and others gave: JOB_COLUMNS, attempt, progress, outcome."""
    id, class_name, method_name, parameters, status, retry_count, max_retries, retry_delay = values[:8]
    backoff, max_retry_delay, queue, priority, timeout, scheduled_at, started_at, finished_at = values[8:16]
    created_at, updated_at, cancel_requested_at, idempotency_key, result, error, sensitive = values[16:23]
    crashes, schedule, occurrence, waits_for, failed_before, if_failed, cancelled_after = values[23:30]
    group_id, takes, expires_at, unique_key, unique_while, key, turn, ready = values[30:38]
    carried, again_of, review_since, host_wanted, traceparent, labels = values[38:44], *values[44:49]
    attempt, progress, outcome = values[49:]
    return Job(
        id=id,
        call=Call(class_name, method_name, parameters, _names(sensitive)),
        status=_STATUSES[status],
        retry_count=retry_count,
        policy=RetryPolicy(max_retries, retry_delay, _BACKOFFS[backoff], max_retry_delay),
        queue=queue,
        priority=priority,
        attempt=attempt,
        timeout=timeout,
        created_at=from_text(created_at),
        scheduled_at=instant(scheduled_at),
        started_at=instant(started_at),
        finished_at=instant(finished_at),
        cancel_requested_at=instant(cancel_requested_at),
        idempotency_key=idempotency_key,
        result=result,
        error=error,
        progress=progress,
        outcome=None if outcome is None else Outcome(outcome),
        crashes=crashes,
        schedule=schedule,
        occurrence=instant(occurrence),
        waits_for=waits_for,
        failed_before=failed_before,
        if_failed=None if if_failed is None else IfFailed(if_failed),
        cancelled_after=cancelled_after,
        group_id=group_id,
        takes=takes,
        expires_at=instant(expires_at),
        unique_key=unique_key,
        unique_while=None if unique_while is None else UniqueWhile(unique_while),
        key=key,
        turn=turn,
        is_behind=ready == BEHIND,
        is_waiting=ready == WAITING,
        carried=Carried(*carried) if any(carried) else None,
        again_of=again_of,
        review_since=instant(review_since),
        host_wanted=host_wanted,
        traceparent=traceparent,
        labels=() if labels is None else _names(labels),
        updated_at=from_text(updated_at),
    )


def changes_of(job: Job, now: float) -> Row:
    """The columns that a fact can change; `ready` is derived from what the job waits for."""
    return {
        "id": job.id,
        "status": job.status,
        "retry_count": job.retry_count,
        "scheduled_at": text_of(job.scheduled_at),
        "started_at": text_of(job.started_at),
        "finished_at": text_of(job.finished_at),
        "updated_at": to_text(now),
        "cancel_requested_at": text_of(job.cancel_requested_at),
        "result": job.result,
        "error": job.error,
        "ready": _ready(job, now),
        "crashes": job.crashes,
        "turn": job.turn,
    }


def _ready(job: Job, now: float) -> int:
    if job.is_behind:
        return BEHIND
    if job.is_waiting:
        return WAITING
    return BLOCKED if job.is_blocked else int(job.is_due(now))


def row_of_new(job: Job, digest: str | None, now: float, by: Submitter) -> Row:
    """The row of a job that was just submitted, whole but for the columns of ties."""
    return {
        "class_name": job.call.class_name,
        "method_name": job.call.method_name,
        "parameters": job.call.parameters,
        "max_retries": job.policy.max_retries,
        "retry_delay": job.policy.retry_delay,
        "backoff": job.policy.backoff,
        "max_retry_delay": job.policy.max_retry_delay,
        "queue": job.queue,
        "priority": job.priority,
        "timeout": job.timeout,
        "created_at": to_text(job.created_at),
        "idempotency_key": job.idempotency_key,
        "submitted_uid": by.uid,
        "submitted_gid": by.gid,
        "submitted_pid": by.pid,
        "submitted_by_job": by.job,
        "request_digest": digest,
        "sensitive": to_json(job.call.sensitive) if job.call.sensitive else None,
        "schedule": job.schedule,
        "occurrence": text_of(job.occurrence),
        **changes_of(job, now),
    }


def row_of_new_tied(job: Job, digest: str | None, now: float, by: Submitter) -> Row:
    """The same with these."""
    own = {"group_id": job.group_id, "expires_at": text_of(job.expires_at), **_keys_of(job)}
    return {**row_of_new(job, digest, now, by), **ties_of(job), **own}


def _keys_of(job: Job) -> Row:
    keys = {"unique_key": job.unique_key, "unique_while": job.unique_while, "key": job.key}
    carried = job.carried or Carried()
    own = {"again_of": job.again_of, "host_wanted": job.host_wanted, "traceparent": job.traceparent}
    own["labels"] = _labels(job)
    own |= {"carries": int(carried.steps > 0), **carried._asdict()}
    return {**keys, **own, **_NOTHING_YET}


_NOTHING_YET: Final[Row] = dict.fromkeys(("waits_until", "review_since", "settled_at", "settled_uid", "bulk"))


def _labels(job: Job) -> str | None:
    return to_json(job.labels) if job.labels else None


def ties_of(job: Job) -> Row:
    """The columns that change as what the job comes after does, and that a retry changes."""
    return {
        "id": job.id,
        "waits_for": job.waits_for,
        "failed_before": job.failed_before,
        "if_failed": job.if_failed,
        "cancelled_after": job.cancelled_after,
        "parameters": job.call.parameters,
        "takes": job.takes,
    }


def terms_of(job: Job) -> Row:
    """The columns that a person can change of a job that waits, beside those that any fact can; until when it waits for
    its key, the gate finds anew.
    """
    return {
        "id": job.id,
        "queue": job.queue,
        "priority": job.priority,
        "timeout": job.timeout,
        "max_retries": job.policy.max_retries,
        "expires_at": text_of(job.expires_at),
        "key": job.key,
        "waits_until": None,
    }


def replaced_row(job: Job) -> Row:
    """The columns that another request with the same unique key has changed, beside its terms."""
    return {
        "id": job.id,
        "parameters": job.call.parameters,
        "sensitive": to_json(job.call.sensitive) if job.call.sensitive else None,
        "retry_delay": job.policy.retry_delay,
        "backoff": job.policy.backoff,
        "max_retry_delay": job.policy.max_retry_delay,
        "unique_while": job.unique_while,
        "retry_count_at_submit": job.retry_count,
        "request_digest": REPLACED,
        "host_wanted": job.host_wanted,
        "traceparent": job.traceparent,
        "labels": _labels(job),
    }


def key_row(key: UniqueKey, job_id: int, held_until: float | None) -> Row:
    """The whole row that says who holds a unique key."""
    return {**key._asdict(), "job_id": job_id, "held_until": text_of(held_until)}


def released_row(key: UniqueKey, job_id: int, now: float) -> Row:
    """What tells the row of a unique key that this job holds, if it holds it no longer than until now."""
    return {**key._asdict(), "job_id": job_id, "now": to_text(now)}


def is_of_same_key(one: Row, other: Row) -> bool:
    """Whether two rows about a unique key are of the same one, and of the same job."""
    return all(one[name] == other[name] for name in ("class_name", "method_name", "key", "job_id"))


def edge_row(job_id: int, node: Node, standing: Standing) -> Row:
    """The whole row of an edge."""
    return {"job_id": job_id, "of": node.of.value, "after_id": node.id, "standing": int(standing)}


def group_from_row(values: tuple[Any, ...]) -> Group:
    """The group of a row of GROUP_COLUMNS."""
    id, name, since_id, parent, total, unfinished, completed, failed, cancelled = values[:9]
    sealed_at, ended_at, cancel_requested_at, created_at, submitted_uid = values[9:]
    return Group(
        id,
        since_id,
        name,
        parent,
        total,
        unfinished,
        completed,
        failed,
        cancelled,
        sealed_at=instant(sealed_at),
        ended_at=instant(ended_at),
        cancel_requested_at=instant(cancel_requested_at),
        created_at=from_text(created_at),
        submitted_uid=submitted_uid,
    )


GROUP_COLUMNS: Final = (
    *("id", "name", "since_id", "group_id", "total", "unfinished", "completed", "failed", "cancelled"),
    *("sealed_at", "ended_at", "cancel_requested_at", "created_at", "submitted_uid"),
)


def row_of_new_group(group: Group, key: str | None) -> Row:
    """The whole row of a group that is just made."""
    return {
        "name": group.name,
        "since_id": group.since_id,
        "group_id": group.parent,
        "sealed_at": text_of(group.sealed_at),
        "cancel_requested_at": text_of(group.cancel_requested_at),
        "created_at": to_text(group.created_at),
        "idempotency_key": key,
        "submitted_uid": group.submitted_uid,
        **counts_row(group),
    }


def sealed_row(group: Group) -> Row:
    """The columns that change as a group takes no more members."""
    return {
        "id": group.id,
        "sealed_at": text_of(group.sealed_at),
        "cancel_requested_at": text_of(group.cancel_requested_at),
    }


def counts_row(group: Group) -> Row:
    """The columns that change as a group's members do."""
    return {
        "id": group.id,
        "total": group.total,
        "unfinished": group.unfinished,
        "completed": group.completed,
        "failed": group.failed,
        "cancelled": group.cancelled,
        "ended_at": text_of(group.ended_at),
    }


def new_attempt_row(job: Job, token: str, boot_id: str, host: int | None, waited: float) -> Row:
    """The row of the attempt that the job was just granted a slot for, for which it had waited so many seconds."""
    own = {"token": token, "boot_id": boot_id, "host": host, "waited": round(waited, 3)}
    return {"job_id": job.id, "number": job.attempt, **own}


def started_row(job_id: int, fact: AttemptStarted) -> Row:
    """The columns that tell of an attempt's start."""
    return {
        "job_id": job_id,
        "number": fact.number,
        "pid": fact.pid,
        "started_at": to_text(fact.at),
        "code_version": fact.code_version,
    }


def ended_row(job_id: int, fact: AttemptEnded) -> Row:
    """The columns that tell of an attempt's end."""
    ending, usage = fact.ending, fact.usage
    return {
        "job_id": job_id,
        "number": fact.number,
        "finished_at": to_text(fact.at),
        "outcome": ending.outcome,
        "exit_code": ending.exit_code,
        "signal": ending.signal,
        "error_type": ending.error_type,
        "error_class": ending.error_class,
        "error_message": ending.error_message,
        "traceback": ending.traceback,
        "max_rss": usage.max_rss if usage else None,
        "cpu_user": usage.cpu_user if usage else None,
        "cpu_system": usage.cpu_system if usage else None,
        "output_bytes": usage.output_bytes if usage else None,
        "spends_retry": ending.spends_retry,
    }


def noted_row(key: AttemptKey, noted: int, progress: str | None) -> Row:
    """The columns that tell how many notes of an attempt are recorded, and how far it is if they told that."""
    return {"job_id": key[0], "number": key[1], "noted": noted, "progress": progress}


def log_row(entry: Entry) -> Row:
    """The whole row of a log entry but for its id."""
    at, type, message, job_id, attempt, _, _, context, attempts_allowed, *_ = entry
    return {
        "job_id": job_id,
        "attempt": attempt,
        "type": type,
        "message": message,
        "context": context,
        "created_at": to_text(at),
        "folded": folded(message),
        "attempts_allowed": attempts_allowed,
    }


def step_row(job_id: int, attempt: int, note: StepNote) -> Row:
    """The columns of a step that has begun in this attempt."""
    return {"job_id": job_id, "name": note.name, "attempt": attempt, "began_at": to_text(note.at)}


def finished_step_row(job_id: int, attempt: int, number: int, note: StepNote) -> Row:
    """Those of one that is done, in this place."""
    own = {
        "number": number,
        "finished_at": to_text(note.at),
        "result": note.result,
        "is_awaited": note.is_awaited,
    }
    return {"job_id": job_id, "name": note.name, "attempt": attempt, **own}


def state_row(item: StateSaved) -> Row:
    """The whole row of a job's state."""
    return {"job_id": item.job_id, "value": item.value, "attempt": item.number, "saved": item.saved}


def reviewed_row(job: Job, fact: Fact, now: float) -> Row:
    """Since when nobody knows what the job did, or who has said it."""
    own = {"id": job.id, "review_since": text_of(job.review_since)}
    if not isinstance(fact, Settled):
        return {**own, "settled_at": None, "settled_uid": None}
    return {**own, "settled_at": to_text(now), "settled_uid": fact.by}


def settled_step_row(job: Job, number: int, fact: StepSettled, now: float) -> Row:
    """The columns of a step that a person says is done, in this place."""
    own = {"number": number, "now": to_text(now), "result": fact.result, "by_uid": fact.by}
    return {"job_id": job.id, "name": fact.name, "attempt": job.attempt, **own}


def carried_row(job_id: int, carried: Carried) -> Row:
    """What a job hands on; that it has rows of steps, signals, values, or a state, which are to go with it."""
    return {"id": job_id, "carries": 1, **carried._asdict()}


def wait_row(job: Job, attempt: int, wait: Wait, now: float) -> Row:
    """The columns of a wait that an attempt has ended for."""
    times = {"now": to_text(now), "until": text_of(job.scheduled_at)}
    return {"job_id": job.id, "attempt": attempt, **times, **wait._asdict()}


def moved_wait_row(job: Job) -> Row:
    """Until when the job waits by now."""
    return {"job_id": job.id, "until": text_of(job.scheduled_at)}


def occurrence_row(name: str, verdict: Verdict, now: float) -> Row:
    """The whole row that tells what became of an occurrence, or of some in a row, of the schedule of this name."""
    if isinstance(verdict, Wanted):
        span = Span(verdict.at, verdict.at)
        own: Row = {"verdict": Became.SUBMITTED, "reason": None, "job_id": verdict.id}
    else:
        span = verdict.span
        own = {"verdict": Became.SKIPPED, "reason": verdict.reason, "job_id": verdict.job_id}
    times = {"at": to_text(span.at), "until": to_text(span.until), "count": span.count}
    return {"name": name, **times, **own, "dealt_at": to_text(now)}


def checked(row: Row) -> Row:
    """The row, each value of which the file can hold. Raises ValueError, OverflowError.

    Found when rows are written together, such a value would cost its neighbours the transaction.
    """
    for value in filter(None, row.values()):  # of which there are few
        kind = type(value)  # words of ours are of types of their own, and can be stored
        if kind is str:
            if not value.isascii():
                value.encode()
        elif kind is int and not -INT_MAX - 1 <= value <= INT_MAX:
            raise OverflowError(f"{value} has more than 64 bits")
    return row


def progress_of(note: Note) -> JsonObject:
    """How far an attempt is, as it is stored and shown."""
    return {"fraction": note.progress, "message": note.message, "at": to_text(note.at)}


def instant(text: str | None) -> float | None:
    """An instant as the rules have it, of one that a column may have."""
    return None if text is None else from_text(text)


def text_of(at: float | None) -> str | None:
    """An instant as a column has it, where there is one."""
    return None if at is None else to_text(at)


def _names(text: str | None) -> tuple[str, ...]:
    return () if text is None else tuple(json.loads(text))


def labels_of(text: str | None) -> list[str]:
    """The labels that a job's row has."""
    return [] if text is None else json.loads(text)


def parsed(text: str | None) -> Any:
    """What a stored JSON text says; None where there is none."""
    return None if text is None else json.loads(text)
