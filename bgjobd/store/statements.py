"""The SQL of what runs for every job (submit, claim, start, end, retry), and of what lists a table's columns.

It is text with named placeholders, in part compiled from the models, once, at import: building a query of peewee's
costs more than running it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from peewee import OP, SQL, BooleanField, Expression, Field, FloatField, IntegerField, Model, Query, fn

from bgjob.words import FINAL, Status
from bgjobd.store.models import (
    MODELS,
    BackgroundJob,
    Consequence,
    JobAttempt,
    JobDependency,
    JobGroup,
    JobLog,
    ScheduleOccurrence,
)
from bgjobd.store.written import BEHIND, WAITING

Execute = Callable[..., Any]
"""Runs a statement, with its values, in the transaction that is open."""


def _p(name: str) -> SQL:
    return SQL(f":{name}")


def _text(literal: str) -> SQL:
    # A literal rather than a parameter: partial indexes serve only conditions that the planner can read.
    return SQL(f"'{literal}'")


def _compiled(query: Query) -> str:
    sql, parameters = query.sql()
    if parameters:
        raise ValueError(f"a statement has values compiled in: {sql} {parameters}")
    return sql


def _insert(model: type[Model], without: Collection[str] = ()) -> str:
    """Insert a row; the columns that it is without have what the table has for them."""
    fields = [field for field in model._meta.sorted_fields if field.name not in without]
    return _compiled(model.insert({field: _p(field.name) for field in fields}))


def _upsert(model: type[Model]) -> str:
    """Insert a row, or have the one with its key be like it."""
    key = [field.name for field in model._meta.get_primary_keys()]
    others = [field.name for field in model._meta.sorted_fields if field.name not in key]
    same = ", ".join(f'"{name}" = :{name}' for name in others)
    return f"{_insert(model)} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {same}"


def _insert_each(model: type[Model], name: str, own: Mapping[str, str], is_typed: bool = False) -> str:
    """Insert a row for each element of a JSON list, of which these columns are; the others are the same in all.

    `is_typed`: a value says of which type it is, for who does not see that by its column.
    """
    columns = [field.name for field in model._meta.sorted_fields]
    types = {field.name: _type_of(field) if is_typed else "" for field in model._meta.sorted_fields}
    values = ", ".join(own.get(column, f":{column}{types[column]}") for column in columns)
    return (
        f"INSERT INTO {model._meta.table_name} ({', '.join(columns)}) SELECT {values} FROM json_each(:{name})"
    )


def _type_of(field: Field) -> str:
    match field:
        case FloatField():
            return "::double precision"
        case IntegerField() | BooleanField():
            return "::bigint"
    return "::text"


_LATEST_ATTEMPT: Final = JobAttempt.select(fn.COALESCE(fn.MAX(JobAttempt.number), SQL("0"))).where(
    JobAttempt.job_id == BackgroundJob.id
)


def _of_latest_attempt(column: Field) -> Any:
    own = JobAttempt.select(column).where(JobAttempt.job_id == BackgroundJob.id)
    return own.order_by(JobAttempt.number.desc()).limit(SQL("1")).alias(column.name)


JOB_COLUMNS: Final = (
    *("id", "class_name", "method_name", "parameters", "status", "retry_count", "max_retries", "retry_delay"),
    *(
        "backoff",
        "max_retry_delay",
        "queue",
        "priority",
        "timeout",
        "scheduled_at",
        "started_at",
        "finished_at",
    ),
    *("created_at", "updated_at", "cancel_requested_at", "idempotency_key", "result", "error", "sensitive"),
    *("crashes", "schedule", "occurrence"),
    *("waits_for", "failed_before", "if_failed", "cancelled_after", "group_id", "takes", "expires_at"),
    *("unique_key", "unique_while", "key", "turn", "ready"),
    *("steps", "step_bytes", "life", "retry_count_at_submit", "waiting_on", "emitted"),
    *("again_of", "review_since", "host_wanted", "traceparent", "labels"),
)
"""What the rules know of a job; rows.job_from_row reads them in this order, then those of its latest attempt."""

COLUMNS_OF_JOB: Final = tuple(field.name for field in BackgroundJob._meta.sorted_fields)
"""All columns of a job's row, as SELECT_ROW_OF_JOB has them."""

WRITE_OCCURRENCES: Final = _upsert(ScheduleOccurrence)
MOVE_CURSOR: Final = "UPDATE schedules SET cursor = :cursor WHERE name = :name"

UNTIED: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("waits_for", "failed_before"), 0),
    **dict.fromkeys(("if_failed", "cancelled_after", "group_id", "takes", "expires_at")),
    **dict.fromkeys(("unique_key", "unique_while", "key", "waits_until", "waiting_on")),
    **dict.fromkeys(("again_of", "review_since", "settled_at", "settled_uid", "host_wanted")),
    **dict.fromkeys(("traceparent", "bulk", "labels")),
    **dict.fromkeys(
        ("turn", "carries", "steps", "step_bytes", "life", "retry_count_at_submit", "emitted"), 0
    ),
}
"""What a job without ties to others, a time or a key has in the columns of these; most have none, and pay for none."""

REAL_COLUMNS: Final = frozenset(
    field.name
    for model in (BackgroundJob, JobAttempt)
    for field in model._meta.sorted_fields
    if isinstance(field, FloatField)
)
"""The columns of jobs and attempts that hold numbers with a fraction."""

_JOBS: Final = BackgroundJob.select(
    *[getattr(BackgroundJob, name) for name in JOB_COLUMNS],
    _LATEST_ATTEMPT.alias("attempt"),
    _of_latest_attempt(JobAttempt.progress),
    _of_latest_attempt(JobAttempt.outcome),
)
_IS_READY: Final = (BackgroundJob.status == _text(Status.PENDING)) & (BackgroundJob.ready == SQL("1"))
_IS_SCHEDULED: Final = (BackgroundJob.status == _text(Status.PENDING)) & (BackgroundJob.ready == SQL("0"))
_IS_WAITING_FOR_RETRY: Final = _IS_SCHEDULED & fn.EXISTS(
    JobAttempt.select(SQL("1")).where(JobAttempt.job_id == BackgroundJob.id)
)
_IS_RUNNING: Final = BackgroundJob.status == _text(Status.RUNNING)

INSERT_JOB: Final = _insert(BackgroundJob, without=UNTIED)
INSERT_TIED_JOB: Final = _insert(BackgroundJob)
_OF_BULK: Final = {
    "id": ":id + key",
    "parameters": "value ->> 0",
    "idempotency_key": "value ->> 1",
    "request_digest": "value ->> 2",
    "sensitive": "value ->> 3",
}
TYPED_INSERT_BULK: Final = _insert_each(BackgroundJob, "rows", _OF_BULK, is_typed=True)
INSERT_BULK: Final = _insert_each(BackgroundJob, "rows", _OF_BULK)
"""One statement for all jobs of a bulk, whose `rows` are JSON: it takes half of what a statement a job does."""

INSERT_GROUP: Final = _insert(JobGroup)
COUNT_GROUP: Final = """
    UPDATE job_groups SET total = :total, unfinished = :unfinished, completed = :completed, failed = :failed,
        cancelled = :cancelled, ended_at = :ended_at WHERE id = :id
"""
SEAL_GROUP: Final = """
    UPDATE job_groups SET sealed_at = coalesce(sealed_at, :sealed_at),
        cancel_requested_at = coalesce(:cancel_requested_at, cancel_requested_at)
    WHERE id = :id
"""
INSERT_EDGE: Final = """
    INSERT INTO job_dependencies VALUES (:job_id, :of, :after_id, :standing) ON CONFLICT DO NOTHING
"""
MOVE_EDGE: Final = """
    UPDATE job_dependencies SET standing = :standing WHERE job_id = :job_id AND "of" = :of AND after_id = :after_id
"""
FORGIVE_EDGES: Final = "UPDATE job_dependencies SET standing = 1 WHERE job_id = :job_id AND standing = 2"

INSERT_ATTEMPT: Final = _compiled(
    JobAttempt.insert(
        {
            getattr(JobAttempt, name): _p(name)
            for name in ("job_id", "number", "token", "boot_id", "host", "waited")
        }
    )
)
INSERT_LOG: Final = _insert(JobLog)
_OF_BULK_ENTRIES: Final = {
    "id": ":id + key",
    "job_id": ":job_id + key",
    "context": """'{"id":' || (:job_id + key) || :rest || value || '}'""",  # as snapshots.snapshot_of
}
TYPED_INSERT_BULK_ENTRIES: Final = _insert_each(JobLog, "shown", _OF_BULK_ENTRIES, is_typed=True)
INSERT_BULK_ENTRIES: Final = _insert_each(JobLog, "shown", _OF_BULK_ENTRIES)

SELECT_JOB: Final = _compiled(_JOBS.where(BackgroundJob.id == _p("id")))
# The list first, whose values are few: a job is found by each.
SELECT_JOBS: Final = _compiled(
    _JOBS.from_(SQL('json_each(:ids) AS "wanted" CROSS JOIN "background_jobs" AS "t1"')).where(
        BackgroundJob.id == SQL('"wanted"."value"')
    )
)
SELECT_SUBMITTERS: Final = """
    SELECT j.id, j.submitted_uid FROM json_each(:ids) AS wanted CROSS JOIN background_jobs AS j ON j.id = wanted.value
"""
SELECT_JOBS_BY_KEY: Final = _compiled(
    BackgroundJob.select(
        BackgroundJob.idempotency_key,
        BackgroundJob.id,
        BackgroundJob.request_digest,
        BackgroundJob.submitted_uid,
        BackgroundJob.class_name,
        BackgroundJob.method_name,
        BackgroundJob.parameters,
    ).where(BackgroundJob.idempotency_key.in_(SQL("(SELECT value FROM json_each(:keys))")))
)
# By name, as what another engine has in that index, and what not, is said by it.
SELECT_READY: Final = _compiled(
    _JOBS.where(_IS_READY & (BackgroundJob.queue == _p("queue")))
    .order_by(BackgroundJob.queue, BackgroundJob.priority.desc(), BackgroundJob.turn, BackgroundJob.id)
    .limit(_p("count"))
)
SELECT_READY_OF_QUEUES: Final = """
    SELECT w.queue, r.count, t.*
    FROM (SELECT value ->> 0 AS queue, (value ->> 1)::bigint AS most FROM jsonb_array_elements(:places::jsonb)) AS w
    CROSS JOIN LATERAL (
        SELECT count(*) FROM (
            SELECT 1 FROM background_jobs
            WHERE status = 'pending' AND ready = 1 AND host_wanted IS NULL AND queue = w.queue LIMIT w.most) AS those
    ) AS r LEFT JOIN LATERAL ({ready} FOR NO KEY UPDATE OF t1 SKIP LOCKED) AS t ON true
""".format(
    ready=SELECT_READY.replace('("t1"."ready" = 1)', '("t1"."ready" = 1 AND "t1"."host_wanted" IS NULL)')
    .replace(":queue", "w.queue")
    .replace(":count", "w.most")
)
"""The same of several queues, by their places, for one of several writers; with how many of so many there are."""

# By name, for jobs_ready would serve as well, and have each commit read all that waits of a class without a slot.
SELECT_READY_OF_CLASS: Final = """
    SELECT id, priority, turn FROM background_jobs INDEXED BY jobs_of_class
    WHERE status = 'pending' AND ready = 1 AND queue = :queue AND class_name = :class_name
    ORDER BY priority DESC, turn, id LIMIT :count
"""
COUNT_READY_OF_CLASS: Final = """
    SELECT count(*) FROM (
        SELECT 1 FROM background_jobs INDEXED BY jobs_of_class
        WHERE status = 'pending' AND ready = 1 AND queue = :queue AND class_name = :class_name LIMIT :most)
"""
SELECT_NEXT_READY_CLASS: Final = """
    SELECT class_name FROM background_jobs INDEXED BY jobs_of_class
    WHERE status = 'pending' AND ready = 1 AND queue = :queue AND class_name > :class_name
    ORDER BY class_name LIMIT 1
"""
# What asks for a host is in an index of its own, so that nobody walks over what others are to start.
_IS_PINNED: Final = "status = 'pending' AND ready = 1 AND host_wanted = :host"
IS_ANY_PINNED: Final = f"SELECT 1 FROM background_jobs WHERE {_IS_PINNED} LIMIT 1"
SELECT_PINNED_OF_CLASS: Final = f"""
    SELECT id, priority, turn FROM background_jobs
    WHERE {_IS_PINNED} AND queue = :queue AND class_name = :class_name ORDER BY priority DESC, turn, id LIMIT :count
"""
SELECT_NEXT_PINNED_CLASS: Final = f"""
    SELECT class_name FROM background_jobs
    WHERE {_IS_PINNED} AND queue = :queue AND class_name > :class_name ORDER BY class_name LIMIT 1
"""
SELECT_NEXT_DUE: Final = _compiled(
    BackgroundJob.select(fn.MIN(BackgroundJob.scheduled_at)).where(_IS_SCHEDULED)
)
COUNT_RUNNING: Final = _compiled(
    BackgroundJob.select(BackgroundJob.queue, fn.COUNT(SQL("*")))
    .where(_IS_RUNNING)
    .group_by(BackgroundJob.queue)
)
SELECT_RUNNING: Final = """
    SELECT id, queue, class_name FROM background_jobs INDEXED BY jobs_running WHERE status = 'running'
"""
_RUNNING_HERE: Final = """
    FROM job_attempts AS a JOIN background_jobs AS j ON j.id = a.job_id
    WHERE a.host = :host AND a.host IS NOT NULL AND a.outcome IS NULL
"""
COUNT_RUNNING_HERE: Final = f"SELECT j.queue, count(*) {_RUNNING_HERE} GROUP BY j.queue"
SELECT_RUNNING_HERE: Final = f"SELECT j.id, j.queue, j.class_name {_RUNNING_HERE}"
"""What takes the slots of one host, where several work from the database."""

SELECT_EXPIRED: Final = """
    SELECT id FROM background_jobs INDEXED BY jobs_expiring
    WHERE status = 'pending' AND started_at IS NULL AND expires_at IS NOT NULL AND expires_at <= :now
    ORDER BY expires_at LIMIT :count
"""
SELECT_NEXT_EXPIRY: Final = """
    SELECT min(expires_at) FROM background_jobs INDEXED BY jobs_expiring
    WHERE status = 'pending' AND started_at IS NULL AND expires_at IS NOT NULL
"""
SELECT_LAST_BEGUN: Final = """
    SELECT value, (
        SELECT coalesce(max(number), 0) FROM job_attempts WHERE job_id = value AND outcome <> 'not_started'
    )
    FROM json_each(:ids)
"""
SELECT_LAST_GROUP_ID: Final = "SELECT seq FROM sqlite_sequence WHERE name = 'job_groups'"
SELECT_LAST_ID: Final = "SELECT seq FROM sqlite_sequence WHERE name = 'background_jobs'"
SELECT_LAST_LOG_ID: Final = _compiled(JobLog.select(fn.COALESCE(fn.MAX(JobLog.id), SQL("0"))))
SELECT_NOTED: Final = """
    SELECT a.job_id, a.number, a.noted FROM json_each(:attempts) AS wanted CROSS JOIN job_attempts AS a
    ON a.job_id = json_extract(wanted.value, '$[0]') AND a.number = json_extract(wanted.value, '$[1]')
"""


def named_host(attempts: str) -> str:
    """The column `host` of these attempts: the name of the one that each is on, null where nobody else has any."""
    return f"(SELECT name FROM hosts WHERE hosts.id = {attempts}.host) AS host"


SELECT_ROW_OF_JOB: Final = _compiled(BackgroundJob.select().where(BackgroundJob.id == _p("id")))
SELECT_ATTEMPT: Final = _compiled(
    JobAttempt.select().where((JobAttempt.job_id == _p("job_id")) & (JobAttempt.number == _p("number")))
)
SELECT_LATEST_ATTEMPT: Final = _compiled(
    JobAttempt.select()
    .where(JobAttempt.job_id == _p("job_id"))
    .order_by(JobAttempt.number.desc())
    .limit(SQL("1"))
)


def _open_attempts(of_attempt: Sequence[str], of_job: Sequence[str], of_host: bool = False) -> str:
    """Select these columns of the attempts that have no end, one host's or all, and of their jobs."""
    columns = [getattr(JobAttempt, name) for name in of_attempt]
    columns += [getattr(BackgroundJob, name) for name in of_job]
    attempts = JobAttempt.select(*columns).join(BackgroundJob, on=BackgroundJob.id == JobAttempt.job_id)
    if of_host:
        attempts = attempts.where(Expression(JobAttempt.host, OP.IS, _p("host")))
    return _compiled(
        attempts.where(JobAttempt.outcome.is_null()).order_by(JobAttempt.job_id, JobAttempt.number)
    )


SELECT_OPEN_ATTEMPTS: Final = _open_attempts(
    ("job_id", "number", "token", "boot_id", "pid", "started_at", "noted"),
    ("class_name", "timeout", "cancel_requested_at", "key"),
    of_host=True,
)
SELECT_RUNNING_ATTEMPTS: Final = f"""
    SELECT a.job_id, a.number, a.pid, a.started_at, a.progress, j.class_name, j.method_name, j.queue, j.timeout,
        {named_host("a")}
    FROM job_attempts AS a JOIN background_jobs AS j ON j.id = a.job_id
    WHERE a.outcome IS NULL ORDER BY a.job_id, a.number
"""
SELECT_PAUSE: Final = "SELECT paused_at, resumes_at FROM queues WHERE name = :name"
SELECT_PAUSED: Final = "SELECT name, resumes_at FROM queues"
SELECT_NEXT_RESUME: Final = "SELECT min(resumes_at) FROM queues"
PAUSE_QUEUE: Final = """
    INSERT INTO queues (name, paused_at, resumes_at) VALUES (:name, :now, :resumes_at)
    ON CONFLICT (name) DO UPDATE SET resumes_at = excluded.resumes_at
"""
RESUME_QUEUE: Final = "DELETE FROM queues WHERE name = :name"
END_PAUSES: Final = "DELETE FROM queues WHERE resumes_at <= :now RETURNING name"
LEAPT_AT: Final = "leapt_at"
"""The property that tells when a daemon last saw time leap ahead."""

SELECT_PROPERTY: Final = "SELECT value FROM properties WHERE name = :name"
SET_PROPERTY: Final = """
    INSERT INTO properties (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = :value
"""

# What is deleted. A job that has a newer log entry is not what it was; one whose entry is the newest of all keeps it,
# for the next one's id is counted from there.
_NEWER_ENTRY: Final = JobLog.select(SQL("1")).where(
    (JobLog.job_id == BackgroundJob.id) & (JobLog.id > _p("last_entry"))
)
_OWNER_OF_NEWEST_ENTRY: Final = JobLog.select(JobLog.job_id).order_by(JobLog.id.desc()).limit(SQL("1"))
# So is one that others come after, as long as these have not heard of its end.
_IS_BEFORE_OTHERS: Final = fn.EXISTS(
    JobDependency.select(SQL("1")).where(
        (JobDependency.of == _text("job")) & (JobDependency.after_id == BackgroundJob.id)
    )
)
_IS_UNSETTLED: Final = fn.EXISTS(
    Consequence.select(SQL("1")).where(
        (Consequence.of == _text("job")) & (Consequence.id == BackgroundJob.id)
    )
)
SELECT_DELETABLE: Final = _compiled(
    BackgroundJob.select(
        BackgroundJob.status,
        BackgroundJob.queue,
        BackgroundJob.finished_at,
        BackgroundJob.if_failed,
        BackgroundJob.group_id,
        BackgroundJob.carries,
        BackgroundJob.labels,
        _IS_BEFORE_OTHERS.alias("is_before_others"),
    ).where(
        (BackgroundJob.id == _p("id"))
        & ~_IS_UNSETTLED
        & BackgroundJob.finished_at.is_null(False)
        & BackgroundJob.review_since.is_null()
        & BackgroundJob.status.in_(SQL("({})".format(", ".join(f"'{status}'" for status in sorted(FINAL)))))
        & ~fn.EXISTS(_NEWER_ENTRY)
        & (BackgroundJob.id != fn.COALESCE(_OWNER_OF_NEWEST_ENTRY, SQL("0")))
    )
)
SELECT_NUMBERS: Final = _compiled(
    JobAttempt.select(JobAttempt.number).where(JobAttempt.job_id == _p("job_id"))
)
DELETE_ENTRIES: Final = _compiled(
    JobLog.delete().where(
        JobLog.id.in_(JobLog.select(JobLog.id).where(JobLog.job_id == _p("job_id")).limit(_p("count")))
    )
)
DELETE_ATTEMPTS: Final = _compiled(JobAttempt.delete().where(JobAttempt.job_id == _p("job_id")))
DELETE_JOB: Final = _compiled(
    BackgroundJob.delete().where((BackgroundJob.id == _p("id")) & (BackgroundJob.status == _p("expected")))
)
DELETE_EDGES: Final = "DELETE FROM job_dependencies WHERE job_id = :job_id"
SELECT_ENTRIES_AFTER: Final = _compiled(
    JobLog.select(JobLog.id, JobLog.created_at)
    .where(JobLog.id > _p("after"))
    .order_by(JobLog.id)
    .limit(_p("count"))
)
DELETE_OLD_ENTRIES: Final = _compiled(
    JobLog.delete().where(
        (JobLog.id > _p("after")) & (JobLog.id <= _p("last")) & (JobLog.created_at < _p("before"))
    )
)

UPDATE_JOB: Final = _compiled(
    BackgroundJob.update(
        {
            getattr(BackgroundJob, name): _p(name)
            for name in (
                "status",
                "retry_count",
                "scheduled_at",
                "started_at",
                "finished_at",
                "updated_at",
                "cancel_requested_at",
                "result",
                "error",
                "ready",
                "turn",
                "crashes",
            )
        }
    ).where((BackgroundJob.id == _p("id")) & (BackgroundJob.status == _p("expected")))
)
UPDATE_TIES: Final = _compiled(
    BackgroundJob.update(
        {
            getattr(BackgroundJob, name): _p(name)
            for name in ("waits_for", "failed_before", "if_failed", "cancelled_after", "parameters", "takes")
        }
    ).where(BackgroundJob.id == _p("id"))
)
UPDATE_REPLACED: Final = _compiled(
    BackgroundJob.update(
        {
            getattr(BackgroundJob, name): _p(name)
            for name in (
                *("parameters", "sensitive", "retry_delay", "backoff", "max_retry_delay", "unique_while"),
                *("retry_count_at_submit", "request_digest", "host_wanted", "traceparent"),
                "labels",
            )
        }
    ).where(BackgroundJob.id == _p("id"))
)
UPDATE_TERMS: Final = _compiled(
    BackgroundJob.update(
        {
            getattr(BackgroundJob, name): _p(name)
            for name in ("queue", "priority", "timeout", "max_retries", "expires_at", "key", "waits_until")
        }
    ).where(BackgroundJob.id == _p("id"))
)
REVIEW_JOB: Final = """
    UPDATE background_jobs SET review_since = :review_since, settled_at = :settled_at, settled_uid = :settled_uid
    WHERE id = :id
"""
TAKE_KEY: Final = """
    INSERT INTO unique_keys VALUES (:class_name, :method_name, :key, :job_id, :held_until)
    ON CONFLICT (class_name, method_name, key) DO UPDATE SET job_id = :job_id, held_until = :held_until
"""
RELEASE_KEY: Final = """
    DELETE FROM unique_keys WHERE class_name = :class_name AND method_name = :method_name AND key = :key
        AND job_id = :job_id AND (held_until IS NULL OR held_until <= :now)
"""
_HOLDINGS: Final = """
    SELECT u.class_name, u.method_name, u.key, u.job_id, u.held_until, j.submitted_uid
    FROM {wanted} CROSS JOIN unique_keys AS u ON {same} LEFT JOIN background_jobs AS j ON j.id = u.job_id
"""
SELECT_HOLDINGS: Final = _HOLDINGS.format(
    wanted="json_each(:keys) AS w",
    same="u.class_name = json_extract(w.value, '$[0]') AND u.method_name = json_extract(w.value, '$[1]') "
    "AND u.key = json_extract(w.value, '$[2]')",
)
SELECT_HOLDINGS_OF_JOBS: Final = _HOLDINGS.format(
    wanted="json_each(:ids) AS w CROSS JOIN background_jobs AS o ON o.id = w.value AND o.unique_key IS NOT NULL",
    same="u.class_name = o.class_name AND u.method_name = o.method_name AND u.key = o.unique_key",
)
MAKE_READY: Final = _compiled(
    BackgroundJob.update({BackgroundJob.ready: SQL("1")}).where(
        BackgroundJob.id.in_(
            BackgroundJob.select(BackgroundJob.id)
            .where(_IS_SCHEDULED & (BackgroundJob.scheduled_at <= _p("now")))
            .order_by(BackgroundJob.scheduled_at)
            .limit(_p("count"))
        )
    )
)
_MAKE_READY_OR_BEHIND: Final = f"""
    UPDATE background_jobs SET ready = CASE
        WHEN queue IN (SELECT value FROM json_each(:shared)) THEN {BEHIND}
        WHEN key IS NULL THEN 1
        WHEN queue IN (SELECT value FROM json_each(:limited)) THEN {BEHIND}
        WHEN EXISTS (
            SELECT 1 FROM rates WHERE scope = 'key:' || queue || ':' || key AND held_until IS NOT NULL) THEN {BEHIND}
        ELSE 1 END
    WHERE id IN ({{due}} AND scheduled_at <= :now ORDER BY scheduled_at LIMIT :count)
    RETURNING scheduled_at, id, queue, key, priority, started_at IS NOT NULL, ready
"""
MAKE_READY_OR_BEHIND: Final = _MAKE_READY_OR_BEHIND.format(
    due="SELECT id FROM background_jobs INDEXED BY jobs_scheduled WHERE status = 'pending' AND ready = 0"
)
_WAITS: Final = f"status = 'pending' AND ready = {WAITING} AND scheduled_at IS NOT NULL"
MAKE_READY_AFTER_WAIT: Final = _MAKE_READY_OR_BEHIND.format(
    due=f"SELECT id FROM background_jobs INDEXED BY jobs_waiting WHERE {_WAITS}"
)
SELECT_NEXT_TIMEOUT: Final = (
    f"SELECT min(scheduled_at) FROM background_jobs INDEXED BY jobs_waiting WHERE {_WAITS}"
)
SHIFT_WAITS: Final = f"""
    UPDATE background_jobs INDEXED BY jobs_waiting
    SET scheduled_at = shifted(scheduled_at, :seconds), updated_at = :now
    WHERE {_WAITS} AND waiting_on NOT LIKE 'until %'
"""
SHIFT_WAITS_FROM_THE_FUTURE: Final = f"""
    UPDATE background_jobs INDEXED BY jobs_waiting
    SET scheduled_at = shifted(scheduled_at, seconds_between(updated_at, :now)), updated_at = :now
    WHERE {_WAITS} AND waiting_on NOT LIKE 'until %' AND updated_at > :now
"""
SHIFT_RETRIES: Final = _compiled(
    BackgroundJob.update(
        {
            BackgroundJob.scheduled_at: fn.shifted(BackgroundJob.scheduled_at, _p("seconds")),
            BackgroundJob.updated_at: _p("now"),
        }
    ).where(_IS_WAITING_FOR_RETRY)
)
# A retry waits since its row was last written: if that is later than now, the clock was set back in between.
SHIFT_RETRIES_FROM_THE_FUTURE: Final = _compiled(
    BackgroundJob.update(
        {
            BackgroundJob.scheduled_at: fn.shifted(
                BackgroundJob.scheduled_at, fn.seconds_between(BackgroundJob.updated_at, _p("now"))
            ),
            BackgroundJob.updated_at: _p("now"),
        }
    ).where(_IS_WAITING_FOR_RETRY & (BackgroundJob.updated_at > _p("now")))
)
UPDATE_ATTEMPT_STARTED: Final = _compiled(
    JobAttempt.update(
        {
            JobAttempt.pid: _p("pid"),
            JobAttempt.started_at: _p("started_at"),
            JobAttempt.code_version: _p("code_version"),
        }
    ).where(
        (JobAttempt.job_id == _p("job_id"))
        & (JobAttempt.number == _p("number"))
        & JobAttempt.outcome.is_null()
    )
)
UPDATE_ATTEMPT_ENDED: Final = _compiled(
    JobAttempt.update(
        {
            getattr(JobAttempt, name): _p(name)
            for name in (
                "finished_at",
                "outcome",
                "exit_code",
                "signal",
                "error_type",
                "error_class",
                "error_message",
                "traceback",
                "max_rss",
                "cpu_user",
                "cpu_system",
                "output_bytes",
                "spends_retry",
            )
        }
    ).where(
        (JobAttempt.job_id == _p("job_id"))
        & (JobAttempt.number == _p("number"))
        & JobAttempt.outcome.is_null()
    )
)
UPDATE_ATTEMPT_NOTED: Final = _compiled(
    JobAttempt.update(
        {
            JobAttempt.noted: _p("noted"),
            JobAttempt.progress: fn.COALESCE(_p("progress"), JobAttempt.progress),
        }
    ).where((JobAttempt.job_id == _p("job_id")) & (JobAttempt.number == _p("number")))
)


class Copying(NamedTuple):
    """A table: all of its rows in the order of its key, and the statement by which another database takes one."""

    table: str
    columns: tuple[str, ...]
    select: str
    insert: str


def _copying(model: type[Model]) -> Copying:
    table, columns = model._meta.table_name, tuple(model._meta.sorted_field_names)
    listed = ", ".join(f'"{name}"' for name in columns)
    key = ", ".join(f'"{field.name}"' for field in model._meta.get_primary_keys())
    return Copying(
        table,
        columns,
        f'SELECT {listed} FROM "{table}" ORDER BY {key}',
        f'INSERT INTO "{table}" ({listed}) VALUES ({", ".join("?" * len(columns))})',
    )


COPYINGS: Final = tuple(_copying(model) for model in MODELS)


def last_id(asked: Any) -> int:
    """The id behind which this transaction has those of so many new jobs, or groups, to itself that it has asked for.

    By AUTOINCREMENT's own counter: ids are never used again, also after that job is pruned. PostgreSQL has them taken
    from a sequence; those that come to nothing are gaps.
    """
    row = asked.fetchone()
    return row[0] if row else 0
