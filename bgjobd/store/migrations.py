"""The schema's versions: each a step from the one before, run at start, after a backup of what was there."""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from peewee import PeeweeException, SqliteDatabase

from bgjobd.host.clock import to_text

COPIED_AT: Final = "copied_at"
"""The property that tells a backup from the database that it is of."""

_VERSION_1: Final = (
    """
    CREATE TABLE "background_jobs" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        "class_name" VARCHAR(255) NOT NULL, "method_name" VARCHAR(255) NOT NULL, "parameters" TEXT NOT NULL,
        "status" VARCHAR(255) NOT NULL, "retry_count" INTEGER NOT NULL, "max_retries" INTEGER NOT NULL,
        "retry_delay" REAL NOT NULL, "backoff" VARCHAR(255) NOT NULL, "max_retry_delay" REAL NOT NULL,
        "queue" VARCHAR(255) NOT NULL, "priority" INTEGER NOT NULL, "timeout" REAL,
        "scheduled_at" VARCHAR(255), "started_at" VARCHAR(255), "finished_at" VARCHAR(255),
        "created_at" VARCHAR(255) NOT NULL, "updated_at" VARCHAR(255) NOT NULL,
        "cancel_requested_at" VARCHAR(255), "idempotency_key" VARCHAR(255), "result" TEXT, "error" TEXT,
        "submitted_uid" INTEGER, "submitted_gid" INTEGER, "submitted_pid" INTEGER, "ready" INTEGER NOT NULL)
    """,
    """
    CREATE TABLE "job_attempts" ("job_id" INTEGER NOT NULL, "number" INTEGER NOT NULL,
        "token" VARCHAR(255) NOT NULL, "boot_id" VARCHAR(255) NOT NULL, "pid" INTEGER,
        "started_at" VARCHAR(255), "finished_at" VARCHAR(255), "outcome" VARCHAR(255), "exit_code" INTEGER,
        "signal" INTEGER, "error_type" TEXT, "error_message" TEXT, "traceback" TEXT, "max_rss" INTEGER,
        "cpu_user" REAL, "cpu_system" REAL, "output_bytes" INTEGER, "code_version" VARCHAR(255),
        PRIMARY KEY ("job_id", "number")) WITHOUT ROWID
    """,
    """
    CREATE TABLE "job_logs" ("id" INTEGER NOT NULL PRIMARY KEY, "job_id" INTEGER NOT NULL,
        "attempt" INTEGER, "type" VARCHAR(255) NOT NULL, "message" TEXT NOT NULL, "context" TEXT,
        "created_at" VARCHAR(255) NOT NULL)
    """,
    """
    CREATE TABLE "queues" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "paused_at" VARCHAR(255) NOT NULL)
    """,
    """
    CREATE TABLE "properties" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "value" TEXT NOT NULL)
    """,
    "CREATE INDEX jobs_ready ON background_jobs (queue, priority DESC, id) WHERE status = 'pending' AND ready = 1",
    "CREATE INDEX jobs_scheduled ON background_jobs (scheduled_at) WHERE status = 'pending' AND ready = 0",
    "CREATE INDEX jobs_running ON background_jobs (queue) WHERE status = 'running'",
    "CREATE UNIQUE INDEX jobs_key ON background_jobs (idempotency_key) WHERE idempotency_key IS NOT NULL",
    # Not all jobs by status: the planner of queries would take such an index for the hot ones above.
    "CREATE INDEX jobs_finished ON background_jobs (status, id) WHERE finished_at IS NOT NULL",
    "CREATE INDEX attempts_open ON job_attempts (job_id, number) WHERE outcome IS NULL",
    "CREATE INDEX logs_job ON job_logs (job_id, id)",
)
"""Frozen: what a file of version 1 consists of. What came later is in the later steps."""


class SchemaTooNewError(Exception):
    """The database was written by a newer bgjobd."""

    def __init__(self, path: Path, found: int, known: int) -> None:
        super().__init__(
            f"{path} has schema version {found}, this bgjobd knows up to {known}; "
            f"install the newer bgjobd, or restore a file from {path.parent / 'backups'}"
        )


class OlderHostsError(Exception):
    """The schema cannot be changed under hosts of an older version, which would not understand what they find."""

    def __init__(self, name: str, hosts: Sequence[str]) -> None:
        super().__init__(
            f"the database {name} is to be changed so that older versions cannot go on with it, and hosts of such work "
            f"from it ({', '.join(hosts)}): stop their daemons, then start this one"
        )


class MigrationFailedError(Exception):
    """The schema could not be changed; the file is as it was."""

    def __init__(self, path: Path, version: int, backup: Path | None, reason: object) -> None:
        copy = "" if backup is None else f", and a copy of it is {backup}"
        super().__init__(
            f"{path} could not be brought from schema version {version} to {len(STEPS)}: {reason}; it is as it "
            f"was{copy}. See that the disk has room for two more files of its size, then start again, or "
            "install the bgjobd that you had"
        )


def _create(database: SqliteDatabase) -> None:
    for statement in _VERSION_1:
        database.execute_sql(" ".join(statement.split()))
    database.execute_sql("INSERT INTO properties VALUES ('database_id', ?)", (str(uuid.uuid4()),))


def _extend(database: SqliteDatabase) -> None:
    """What a request stood for, what was secret, what attempts told of themselves, and what lists and search need."""
    for statement in _COLUMNS_OF_VERSION_2:
        database.execute_sql(statement)
    for statement in _INDEXES_OF_VERSION_2:
        database.execute_sql(statement)
    database.execute_sql("UPDATE job_logs SET folded = folded(message) WHERE folded(message) IS NOT NULL")


_COLUMNS_OF_VERSION_2: Final = (
    'ALTER TABLE "background_jobs" ADD COLUMN "request_digest" VARCHAR(255)',
    'ALTER TABLE "background_jobs" ADD COLUMN "sensitive" TEXT',
    'ALTER TABLE "job_attempts" ADD COLUMN "progress" TEXT',
    'ALTER TABLE "job_logs" ADD COLUMN "folded" TEXT',
    'ALTER TABLE "job_attempts" ADD COLUMN "noted" INTEGER NOT NULL DEFAULT 0',
)

_INDEXES_OF_VERSION_2: Final = (
    # By a column that the hot queries do not ask for, so that the planner does not take it for them.
    "CREATE INDEX jobs_pending ON background_jobs (ready) WHERE status = 'pending' AND finished_at IS NULL",
    # Most entries are of success: found soon without an index, and written faster.
    "CREATE INDEX logs_type ON job_logs (type) WHERE type <> 'success'",
)


def _index_ends(database: SqliteDatabase) -> None:
    """What tells how many jobs ended since some time ago, without a look at any that ended earlier."""
    database.execute_sql(
        "CREATE INDEX jobs_ended ON background_jobs (status, finished_at) WHERE finished_at IS NOT NULL"
    )


def _count_attempts(database: SqliteDatabase) -> None:
    """How many attempts a job was to have in all when an entry was written; later that cannot be told any more."""
    database.execute_sql('ALTER TABLE "job_logs" ADD COLUMN "attempts_allowed" INTEGER')


def _index_by_class(database: SqliteDatabase) -> None:
    """What finds the jobs that are due class by class, so that those of a class without a slot are passed over."""
    database.execute_sql(
        "CREATE INDEX jobs_of_class ON background_jobs (queue, class_name, priority DESC, id) "
        "WHERE status = 'pending' AND ready = 1"
    )


def _tell_fault(database: SqliteDatabase) -> None:
    """Whose doing an attempt's end was: what cost no retry, and how often in a row a job has ended what runs it."""
    database.execute_sql('ALTER TABLE "background_jobs" ADD COLUMN "crashes" INTEGER NOT NULL DEFAULT 0')
    database.execute_sql('ALTER TABLE "job_attempts" ADD COLUMN "spends_retry" INTEGER NOT NULL DEFAULT 1')
    database.execute_sql(
        "UPDATE job_attempts SET spends_retry = 0 WHERE outcome IN ('not_started', 'snoozed')"
    )


def _tell_error_class(database: SqliteDatabase) -> None:
    """Of which class the exception was that ended an attempt: several have the same name."""
    database.execute_sql('ALTER TABLE "job_attempts" ADD COLUMN "error_class" TEXT')


def _tell_submitting_job(database: SqliteDatabase) -> None:
    """Which job has submitted another."""
    database.execute_sql('ALTER TABLE "background_jobs" ADD COLUMN "submitted_by_job" INTEGER')


def _add_schedules(database: SqliteDatabase) -> None:
    """Schedules, what became of each of their occurrences, and which of these a job is for."""
    for statement in _SCHEDULES:
        database.execute_sql(" ".join(statement.split()))


_SCHEDULES: Final = (
    """
    CREATE TABLE "schedules" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "definition" TEXT NOT NULL,
        "since" VARCHAR(255) NOT NULL, "cursor" VARCHAR(255) NOT NULL, "paused_at" VARCHAR(255),
        "removed_at" VARCHAR(255), "uid" INTEGER, "made_by" VARCHAR(255))
    """,
    """
    CREATE TABLE "schedule_occurrences" ("name" VARCHAR(255) NOT NULL, "at" VARCHAR(255) NOT NULL,
        "until" VARCHAR(255) NOT NULL, "count" INTEGER NOT NULL, "verdict" VARCHAR(255) NOT NULL,
        "reason" VARCHAR(255), "job_id" INTEGER, "dealt_at" VARCHAR(255) NOT NULL,
        PRIMARY KEY ("name", "at")) WITHOUT ROWID
    """,
    'ALTER TABLE "background_jobs" ADD COLUMN "schedule" VARCHAR(255)',
    'ALTER TABLE "background_jobs" ADD COLUMN "occurrence" VARCHAR(255)',
    "CREATE INDEX jobs_of_schedule ON background_jobs (schedule, id) "
    "WHERE schedule IS NOT NULL AND finished_at IS NULL",
    "CREATE INDEX jobs_by_schedule ON background_jobs (schedule, id) WHERE schedule IS NOT NULL",
)


def _add_dependencies(database: SqliteDatabase) -> None:
    """What jobs come after, the groups that they are in, and what of an end is still to be done.

    A job of a schedule that waits comes after the newest one before it that has not ended.
    """
    for statement in _DEPENDENCIES:
        database.execute_sql(" ".join(statement.split()))


_OLDER: Final = (
    "SELECT max(o.id) FROM background_jobs AS o "
    "WHERE o.schedule = j.schedule AND o.finished_at IS NULL AND o.id < j.id"
)
_DEPENDENCIES: Final = (
    'ALTER TABLE "background_jobs" ADD COLUMN "waits_for" INTEGER NOT NULL DEFAULT 0',
    'ALTER TABLE "background_jobs" ADD COLUMN "failed_before" INTEGER NOT NULL DEFAULT 0',
    'ALTER TABLE "background_jobs" ADD COLUMN "if_failed" VARCHAR(255)',
    'ALTER TABLE "background_jobs" ADD COLUMN "cancelled_after" VARCHAR(255)',
    'ALTER TABLE "background_jobs" ADD COLUMN "group_id" INTEGER',
    'ALTER TABLE "background_jobs" ADD COLUMN "takes" TEXT',
    """
    CREATE TABLE "job_dependencies" ("job_id" INTEGER NOT NULL, "of" VARCHAR(255) NOT NULL,
        "after_id" INTEGER NOT NULL, "standing" INTEGER NOT NULL,
        PRIMARY KEY ("job_id", "of", "after_id")) WITHOUT ROWID
    """,
    """
    CREATE TABLE "job_groups" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "name" VARCHAR(255),
        "since_id" INTEGER NOT NULL, "group_id" INTEGER, "total" INTEGER NOT NULL, "unfinished" INTEGER NOT NULL,
        "completed" INTEGER NOT NULL, "failed" INTEGER NOT NULL, "cancelled" INTEGER NOT NULL,
        "sealed_at" VARCHAR(255), "ended_at" VARCHAR(255), "cancel_requested_at" VARCHAR(255),
        "created_at" VARCHAR(255) NOT NULL, "idempotency_key" VARCHAR(255), "submitted_uid" INTEGER)
    """,
    """
    CREATE TABLE "consequences" ("of" VARCHAR(255) NOT NULL, "id" INTEGER NOT NULL, "done_to" INTEGER NOT NULL,
        PRIMARY KEY ("of", "id")) WITHOUT ROWID
    """,
    'CREATE INDEX edges_after ON job_dependencies ("of", after_id, job_id)',
    "CREATE INDEX jobs_of_group ON background_jobs (group_id, id) WHERE group_id IS NOT NULL",
    "CREATE INDEX groups_of_group ON job_groups (group_id, id) WHERE group_id IS NOT NULL",
    "CREATE UNIQUE INDEX groups_key ON job_groups (idempotency_key) WHERE idempotency_key IS NOT NULL",
    "CREATE INDEX groups_unended ON job_groups (id) WHERE ended_at IS NULL",
    f"""
    INSERT INTO job_dependencies SELECT * FROM (
        SELECT j.id, 'job', ({_OLDER}) AS older, 0 FROM background_jobs AS j
        WHERE j.status = 'pending' AND j.ready = 2) WHERE older IS NOT NULL
    """,
    """
    UPDATE background_jobs SET waits_for = 1, if_failed = 'run'
    WHERE id IN (SELECT job_id FROM job_dependencies)
    """,
    "UPDATE background_jobs SET ready = 1 WHERE status = 'pending' AND ready = 2 AND waits_for = 0",
)


def _add_unique_keys(database: SqliteDatabase) -> None:
    """Which job holds a key that no two may have."""
    database.execute_sql(
        'CREATE TABLE "unique_keys" ("class_name" VARCHAR(255) NOT NULL, "method_name" VARCHAR(255) NOT NULL, '
        '"key" VARCHAR(255) NOT NULL, "job_id" INTEGER NOT NULL, "held_until" VARCHAR(255), '
        'PRIMARY KEY ("class_name", "method_name", "key")) WITHOUT ROWID'
    )
    database.execute_sql("CREATE INDEX unique_keys_of ON unique_keys (job_id)")
    database.execute_sql(
        "CREATE INDEX unique_keys_until ON unique_keys (held_until) WHERE held_until IS NOT NULL"
    )
    database.execute_sql('ALTER TABLE "background_jobs" ADD COLUMN "unique_key" VARCHAR(255)')
    database.execute_sql('ALTER TABLE "background_jobs" ADD COLUMN "unique_while" VARCHAR(255)')


def _add_expiry(database: SqliteDatabase) -> None:
    """By when a job is to have got a slot."""
    database.execute_sql('ALTER TABLE "background_jobs" ADD COLUMN "expires_at" VARCHAR(255)')
    database.execute_sql(
        "CREATE INDEX jobs_expiring ON background_jobs (expires_at) "
        "WHERE status = 'pending' AND started_at IS NULL AND expires_at IS NOT NULL"
    )


def _tell_end_of_pause(database: SqliteDatabase) -> None:
    """When a paused queue goes on by itself."""
    database.execute_sql('ALTER TABLE "queues" ADD COLUMN "resumes_at" VARCHAR(255)')


def _add_keys(database: SqliteDatabase) -> None:
    """How many jobs of a key may run at once, how often they start, and who takes turns."""
    for statement in _KEYS:
        database.execute_sql(" ".join(statement.split()))


# In each the term comes first that most jobs do not meet: it is asked of every row that is written.
_KEYS: Final = (
    'ALTER TABLE "background_jobs" ADD COLUMN "key" VARCHAR(255)',
    'ALTER TABLE "background_jobs" ADD COLUMN "turn" INTEGER NOT NULL DEFAULT 0',
    'ALTER TABLE "background_jobs" ADD COLUMN "waits_until" VARCHAR(255)',
    """
    CREATE TABLE "rates" ("scope" VARCHAR(255) NOT NULL PRIMARY KEY, "full_at" REAL NOT NULL, "held_until" REAL,
        "held_by" INTEGER) WITHOUT ROWID
    """,
    """
    CREATE TABLE "queue_turns" ("queue" VARCHAR(255) NOT NULL, "priority" INTEGER NOT NULL, "turn" INTEGER NOT NULL,
        PRIMARY KEY ("queue", "priority")) WITHOUT ROWID
    """,
    "DROP INDEX jobs_ready",
    "DROP INDEX jobs_of_class",
    "CREATE INDEX jobs_ready ON background_jobs (queue, priority DESC, turn, id) "
    "WHERE status = 'pending' AND ready = 1",
    "CREATE INDEX jobs_of_class ON background_jobs (queue, class_name, priority DESC, turn, id) "
    "WHERE status = 'pending' AND ready = 1",
    "CREATE INDEX jobs_key_running ON background_jobs (queue, key) WHERE key IS NOT NULL AND status = 'running'",
    "CREATE INDEX jobs_key_ready ON background_jobs (queue, key, priority DESC, turn, id) "
    "WHERE key IS NOT NULL AND ready = 1 AND status = 'pending'",
    "CREATE INDEX jobs_behind ON background_jobs (queue, key, priority DESC, turn, id) "
    "WHERE ready = 3 AND status = 'pending'",
    "CREATE INDEX jobs_due_behind ON background_jobs (waits_until) "
    "WHERE waits_until IS NOT NULL AND ready = 3 AND status = 'pending'",
    "CREATE INDEX jobs_turns ON background_jobs (queue, key, priority, turn) WHERE turn > 0 AND status = 'pending'",
)


def _index_by_key(database: SqliteDatabase) -> None:
    """The jobs of a key, whatever became of them."""
    database.execute_sql("CREATE INDEX jobs_by_key ON background_jobs (key, id) WHERE key IS NOT NULL")


def _add_steps(database: SqliteDatabase) -> None:
    """What of a job is done, so that its next attempt goes on behind it."""
    for name in ("carries", "steps", "step_bytes", "life", "retry_count_at_submit"):
        database.execute_sql(f'ALTER TABLE "background_jobs" ADD COLUMN "{name}" INTEGER NOT NULL DEFAULT 0')
    database.execute_sql(
        'CREATE TABLE "job_steps" ("job_id" INTEGER NOT NULL, "kind" VARCHAR(255) NOT NULL, '
        '"name" VARCHAR(255) NOT NULL, "turn" INTEGER NOT NULL, "number" INTEGER, "attempt" INTEGER NOT NULL, '
        '"tries" INTEGER NOT NULL, "began_at" VARCHAR(255) NOT NULL, "finished_at" VARCHAR(255), '
        '"until" VARCHAR(255), "result" TEXT, "is_awaited" INTEGER NOT NULL, "timed_out" INTEGER NOT NULL, '
        '"unused_in" INTEGER, "by_uid" INTEGER, PRIMARY KEY ("job_id", "kind", "name", "turn")) WITHOUT ROWID'
    )
    database.execute_sql('ALTER TABLE "background_jobs" ADD COLUMN "waiting_on" VARCHAR(255)')
    database.execute_sql(
        'CREATE TABLE "job_signals" ("job_id" INTEGER NOT NULL, "number" INTEGER NOT NULL, '
        '"name" VARCHAR(255) NOT NULL, "payload" TEXT, "key" VARCHAR(255), "sent_at" VARCHAR(255) NOT NULL, '
        '"uid" INTEGER, "taken_by" VARCHAR(255), PRIMARY KEY ("job_id", "number")) WITHOUT ROWID'
    )
    database.execute_sql("CREATE UNIQUE INDEX signals_key ON job_signals (job_id, key) WHERE key IS NOT NULL")
    database.execute_sql(
        "CREATE INDEX jobs_waiting ON background_jobs (scheduled_at) "
        "WHERE status = 'pending' AND ready = 4 AND scheduled_at IS NOT NULL"
    )


def _add_states(database: SqliteDatabase) -> None:
    """What else outlives an attempt: a state, values, that a job is another's call again, that nobody knows its end."""
    for column in (
        '"emitted" INTEGER NOT NULL DEFAULT 0',
        '"again_of" INTEGER',
        '"review_since" VARCHAR(255)',
        '"settled_at" VARCHAR(255)',
        '"settled_uid" INTEGER',
    ):
        database.execute_sql(f'ALTER TABLE "background_jobs" ADD COLUMN {column}')
    database.execute_sql('ALTER TABLE "job_attempts" ADD COLUMN "valued" INTEGER NOT NULL DEFAULT 0')
    database.execute_sql(
        'CREATE TABLE "job_states" ("job_id" INTEGER NOT NULL PRIMARY KEY, "value" TEXT NOT NULL, '
        '"attempt" INTEGER NOT NULL, "saved" INTEGER NOT NULL)'
    )
    database.execute_sql(
        'CREATE TABLE "job_values" ("job_id" INTEGER NOT NULL, "number" INTEGER NOT NULL, "ends" INTEGER NOT NULL, '
        '"attempt" INTEGER NOT NULL, "step" VARCHAR(255), "at" VARCHAR(255) NOT NULL, "value" TEXT NOT NULL, '
        'PRIMARY KEY ("job_id", "number")) WITHOUT ROWID'
    )
    for name, column, condition in (
        ("jobs_suspended", "id", "status = 'pending' AND waiting_on IS NOT NULL"),
        ("jobs_again", "again_of", "again_of IS NOT NULL"),
        ("jobs_for_review", "id", "review_since IS NOT NULL"),
    ):
        database.execute_sql(f"CREATE INDEX {name} ON background_jobs ({column}) WHERE {condition}")


def _add_hosts(database: SqliteDatabase) -> None:
    """Which hosts work from the database, and what belongs to one of them; where it is a file, none is written."""
    for statement in _HOSTS:
        database.execute_sql(" ".join(statement.split()))


_HOSTS: Final = (
    """
    CREATE TABLE "hosts" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "uuid" VARCHAR(255) NOT NULL,
        "name" VARCHAR(255) NOT NULL, "boot_id" VARCHAR(255) NOT NULL, "term" INTEGER NOT NULL,
        "beats" INTEGER NOT NULL, "seen_at" VARCHAR(255) NOT NULL, "lost_after" REAL, "version" VARCHAR(255) NOT NULL,
        "schema" INTEGER NOT NULL, "code_version" VARCHAR(255), "slots" INTEGER NOT NULL, "queues" TEXT NOT NULL,
        "classes" TEXT NOT NULL, "clock_difference" REAL, "trouble" TEXT, "left_at" VARCHAR(255),
        "lost_at" VARCHAR(255))
    """,
    "CREATE UNIQUE INDEX hosts_uuid ON hosts (uuid)",
    'ALTER TABLE "job_attempts" ADD COLUMN "host" INTEGER',
    'ALTER TABLE "background_jobs" ADD COLUMN "host_wanted" VARCHAR(255)',
    'ALTER TABLE "schedules" ADD COLUMN "set_by" INTEGER',
    """
    CREATE TABLE "job_outputs" ("job_id" INTEGER NOT NULL, "number" INTEGER NOT NULL, "head" BLOB NOT NULL,
        "tail" BLOB NOT NULL, "left_out" INTEGER NOT NULL, PRIMARY KEY ("job_id", "number")) WITHOUT ROWID
    """,
    "CREATE INDEX attempts_of_host ON job_attempts (host, job_id, number) "
    "WHERE host IS NOT NULL AND outcome IS NULL",
)


def _add_error_groups(database: SqliteDatabase) -> None:
    """What is one error, whichever jobs meet it."""
    database.execute_sql(
        'CREATE TABLE "error_groups" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, '
        '"fingerprint" VARCHAR(255) NOT NULL, "outcome" VARCHAR(255) NOT NULL, "error_type" TEXT, "message" TEXT, '
        '"place" TEXT, "line" TEXT, "class_name" VARCHAR(255) NOT NULL, "is_named" INTEGER NOT NULL, "name" TEXT, '
        '"first_at" VARCHAR(255) NOT NULL, "first_job" INTEGER NOT NULL, "first_version" VARCHAR(255), '
        '"last_at" VARCHAR(255) NOT NULL, "last_job" INTEGER NOT NULL, "last_attempt" INTEGER NOT NULL, '
        '"last_version" VARCHAR(255), "attempts" INTEGER NOT NULL, "failed" INTEGER NOT NULL, '
        '"back_at" VARCHAR(255))'
    )
    database.execute_sql("CREATE UNIQUE INDEX errors_by_fingerprint ON error_groups (fingerprint)")
    database.execute_sql("CREATE INDEX errors_by_time ON error_groups (last_at, id)")
    database.execute_sql("CREATE INDEX errors_named ON error_groups (class_name, id) WHERE is_named = 1")
    database.execute_sql('ALTER TABLE "job_attempts" ADD COLUMN "error_group" INTEGER')
    database.execute_sql(
        "CREATE INDEX attempts_of_error ON job_attempts (error_group, job_id) WHERE error_group IS NOT NULL"
    )


def _add_class_holds(database: SqliteDatabase) -> None:
    """Which classes are held, for their jobs crash, or because somebody has asked for it."""
    database.execute_sql(
        'CREATE TABLE "class_holds" ("class_name" VARCHAR(255) NOT NULL PRIMARY KEY, '
        '"reason" VARCHAR(255) NOT NULL, "code_version" VARCHAR(255), "since" VARCHAR(255), "message" TEXT, '
        '"jobs" TEXT NOT NULL, "crashes" INTEGER NOT NULL, "tries" INTEGER NOT NULL, '
        '"next_try_at" VARCHAR(255), "by_uid" INTEGER) WITHOUT ROWID'
    )
    database.execute_sql(
        "CREATE INDEX jobs_crashed ON background_jobs (finished_at) WHERE status = 'failed' AND crashes > 0"
    )


def _add_method_usage(database: SqliteDatabase) -> None:
    """How long the completed attempts of a method take, and how much memory."""
    database.execute_sql(
        'CREATE TABLE "method_usage" ("class_name" VARCHAR(255) NOT NULL, "method_name" VARCHAR(255) NOT NULL, '
        '"seconds" BLOB NOT NULL, "memory" BLOB NOT NULL, "runs" INTEGER NOT NULL, '
        '"completed_at" VARCHAR(255) NOT NULL, "code_version" VARCHAR(255), '
        'PRIMARY KEY ("class_name", "method_name")) WITHOUT ROWID'
    )


def _add_alerts(database: SqliteDatabase) -> None:
    """What needed somebody and was told, and which rules are mute; which host drains, and which owes which hook."""
    database.execute_sql(
        'CREATE TABLE "alerts" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "rule" VARCHAR(255) NOT NULL, '
        '"subject" VARCHAR(255) NOT NULL, "raised_at" VARCHAR(255) NOT NULL, "last_at" VARCHAR(255) NOT NULL, '
        '"count" INTEGER NOT NULL, "cleared_at" VARCHAR(255), "told_at" VARCHAR(255), "end_told_at" VARCHAR(255), '
        '"told_count" INTEGER NOT NULL, '
        '"message" TEXT NOT NULL, "facts" TEXT NOT NULL, "acknowledged_at" VARCHAR(255), "acknowledged_uid" INTEGER)'
    )
    database.execute_sql(
        'CREATE UNIQUE INDEX "alerts_open" ON "alerts" ("rule", "subject") WHERE "cleared_at" IS NULL'
    )
    database.execute_sql('CREATE INDEX "alerts_untold" ON "alerts" ("id") WHERE "told_count" < 2')
    database.execute_sql('CREATE INDEX "alerts_told" ON "alerts" ("told_at") WHERE "told_at" IS NOT NULL')
    database.execute_sql(
        'CREATE INDEX "alerts_end_told" ON "alerts" ("end_told_at") WHERE "end_told_at" IS NOT NULL'
    )
    database.execute_sql(
        'CREATE TABLE "alert_mutes" ("rule" VARCHAR(255) NOT NULL PRIMARY KEY, "until" VARCHAR(255) NOT NULL, '
        '"uid" INTEGER) WITHOUT ROWID'
    )
    for statement in _MORE_OF_HOSTS:
        database.execute_sql(statement)


_MORE_OF_HOSTS: Final = (
    'ALTER TABLE "hosts" ADD COLUMN "drained_at" VARCHAR(255)',
    'ALTER TABLE "hosts" ADD COLUMN "drained_by" TEXT',
    'ALTER TABLE "job_attempts" ADD COLUMN "hook_host" INTEGER',
    'ALTER TABLE "job_attempts" ADD COLUMN "hook_called_at" VARCHAR(255)',
    "CREATE INDEX hooks_owed ON job_attempts (hook_host, job_id, number) "
    "WHERE hook_host IS NOT NULL AND hook_called_at IS NULL",
)


def _add_traceparent(database: SqliteDatabase) -> None:
    """The span in which a job was submitted."""
    database.execute_sql('ALTER TABLE "background_jobs" ADD COLUMN "traceparent" VARCHAR(255)')


def _add_tallies(database: SqliteDatabase) -> None:
    """What ended by spans of time, of classes and of errors, and how queues stood; what was changed, by whom."""
    for statement in _TALLIES:
        database.execute_sql(statement)


_TALLIES: Final = (
    """
    CREATE TABLE "class_tallies" ("span" INTEGER NOT NULL, "at" VARCHAR(255) NOT NULL,
        "class_name" VARCHAR(255) NOT NULL, "completed" INTEGER NOT NULL, "failed" INTEGER NOT NULL,
        "retried" INTEGER NOT NULL, "bad" TEXT NOT NULL, "seconds" BLOB NOT NULL, "waited" BLOB NOT NULL,
        "cpu" REAL NOT NULL, "memory" INTEGER NOT NULL, PRIMARY KEY ("span", "at", "class_name")) WITHOUT ROWID
    """,
    """
    CREATE TABLE "queue_tallies" ("span" INTEGER NOT NULL, "at" VARCHAR(255) NOT NULL, "queue" VARCHAR(255) NOT NULL,
        "pending" INTEGER NOT NULL, "running" INTEGER NOT NULL, "waited" REAL NOT NULL,
        PRIMARY KEY ("span", "at", "queue")) WITHOUT ROWID
    """,
    """
    CREATE TABLE "error_tallies" ("error_group" INTEGER NOT NULL, "span" INTEGER NOT NULL,
        "at" VARCHAR(255) NOT NULL, "attempts" INTEGER NOT NULL, "failed" INTEGER NOT NULL,
        PRIMARY KEY ("error_group", "span", "at")) WITHOUT ROWID
    """,
    """
    CREATE TABLE "changes" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "at" VARCHAR(255) NOT NULL,
        "kind" VARCHAR(255) NOT NULL, "what" TEXT NOT NULL, "who" TEXT)
    """,
    'CREATE INDEX "changes_by_time" ON "changes" ("at")',
    'ALTER TABLE "job_attempts" ADD COLUMN "waited" REAL',
    'ALTER TABLE "background_jobs" ADD COLUMN "bulk" INTEGER',
    # All of them, for a statement that says `id > 0`: no claim is to be tempted by it.
    "CREATE INDEX jobs_by_class ON background_jobs (class_name) WHERE id > 0",
    "CREATE INDEX jobs_of_bulk ON background_jobs (bulk) WHERE bulk IS NOT NULL",
)


def _add_labels(database: SqliteDatabase) -> None:
    """By which labels jobs are found."""
    database.execute_sql('ALTER TABLE "background_jobs" ADD COLUMN "labels" TEXT')
    database.execute_sql(
        'CREATE TABLE "job_labels" ("label" VARCHAR(255) NOT NULL, "job_id" INTEGER NOT NULL, '
        'PRIMARY KEY ("label", "job_id")) WITHOUT ROWID'
    )


def _tell_rules_of_hosts(database: SqliteDatabase) -> None:
    """What each host's configuration says that counts for all."""
    database.execute_sql('ALTER TABLE "hosts" ADD COLUMN "rules" TEXT')


STEPS: Final[tuple[Callable[[SqliteDatabase], None], ...]] = (
    _create,
    _extend,
    _index_ends,
    _count_attempts,
    _index_by_class,
    _tell_fault,
    _tell_error_class,
    _tell_submitting_job,
    _add_schedules,
    _add_dependencies,
    _add_expiry,
    _add_unique_keys,
    _tell_end_of_pause,
    _add_keys,
    _index_by_key,
    _add_steps,
    _add_states,
    _add_hosts,
    _add_error_groups,
    _add_class_holds,
    _add_method_usage,
    _add_alerts,
    _add_traceparent,
    _add_tallies,
    _add_labels,
    _tell_rules_of_hosts,
)
"""Step N leads from version N to N + 1. Frozen, and so never written in terms of the models, which move on."""


def migrate(database: SqliteDatabase, path: Path) -> None:
    """Bring the schema to the newest version, all steps in one transaction; an existing file is backed up first.

    Raises SchemaTooNewError, MigrationFailedError.
    """
    version = int(database.execute_sql("PRAGMA user_version").fetchone()[0])
    if version > len(STEPS):
        raise SchemaTooNewError(path, version, len(STEPS))
    if version == len(STEPS):
        return
    backup: Path | None = None
    try:
        if version > 0:
            backup = _back_up(database, path, path.parent / "backups" / f"before-version-{len(STEPS)}.db")
        _take_steps(database, version)
    except (PeeweeException, sqlite3.Error, OSError) as error:
        raise MigrationFailedError(path, version, backup, error) from error


def _take_steps(database: SqliteDatabase, version: int) -> None:
    with database.transaction("IMMEDIATE"):
        for step in STEPS[version:]:
            step(database)
        database.execute_sql(f"PRAGMA user_version = {len(STEPS)}")


def _back_up(database: SqliteDatabase, path: Path, target: Path) -> Path:
    """A copy under this name, whole, that says that it is one; one of an earlier try gives way to it only then.

    It is as old as the file, so that a file in which nothing was changed since is not copied again; what a start that
    was killed has left beside it is no change.
    """
    database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    changed_at = _try_changed_at(path)
    if changed_at is not None and target.exists() and target.stat().st_mtime_ns == changed_at:
        return target
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = target.with_suffix(".new")
    _remove(new)
    try:
        database.execute_sql("VACUUM INTO ?", (str(new),))
        _mark_copy(new)
        if changed_at is not None:
            os.utime(new, ns=(changed_at, changed_at))
        return new.rename(target)
    finally:
        _remove(new)


def _try_changed_at(path: Path) -> int | None:
    """When the file was changed, in nanoseconds; None where more has been, of which it has nothing yet."""
    log = path.with_name(f"{path.name}-wal")
    return None if log.exists() and log.stat().st_size else path.stat().st_mtime_ns


def _remove(copy: Path) -> None:
    """Leave nothing of a copy that was not finished."""
    for path in (copy, copy.with_name(f"{copy.name}-journal")):
        path.unlink(missing_ok=True)


def _mark_copy(path: Path) -> None:
    """Have a copy say that it is one, on the disk. Raises sqlite3's errors."""
    with closing(sqlite3.connect(path, isolation_level=None)) as copy:
        copy.execute("INSERT OR REPLACE INTO properties VALUES (?, ?)", (COPIED_AT, to_text(time.time())))
