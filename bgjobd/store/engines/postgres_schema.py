"""The tables, indexes and functions in PostgreSQL: made whole for a version, and the steps from there on.

What stands here is of the same version as what migrations.STEPS come to, table by table, column by column.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from bgjobd.store.engines import postgres_inbox
from bgjobd.store.engines.postgres_functions import COUNTING, FUNCTIONS
from bgjobd.store.engines.postgres_indexes import if_missing
from bgjobd.store.migrations import STEPS

VERSION: Final = 17
"""Of the schema that is made whole."""

Run = Callable[[str], Any]

_TEXT: Final = 'text COLLATE "C"'
_READY: Final = "status = 'pending' AND ready = 1"
_OPTIONS: Final = "fillfactor = 85, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0"


def _table(columns: str) -> str:
    return f"CREATE TABLE {columns.format(text=_TEXT)} WITH ({_OPTIONS})"


POSTGRES_STEPS: Final[Mapping[int, tuple[str, ...]]] = {
    17: (
        "CREATE SEQUENCE host_ids",
        _table(
            """
            hosts (id bigint PRIMARY KEY DEFAULT nextval('host_ids'), uuid {text} NOT NULL, name {text} NOT NULL,
                boot_id {text} NOT NULL, term bigint NOT NULL, beats bigint NOT NULL, seen_at {text} NOT NULL,
                lost_after double precision, version {text} NOT NULL, schema bigint NOT NULL, code_version {text},
                slots bigint NOT NULL, queues {text} NOT NULL, classes {text} NOT NULL,
                clock_difference double precision, trouble {text}, left_at {text}, lost_at {text})
            """
        ),
        "CREATE UNIQUE INDEX hosts_uuid ON hosts (uuid)",
        "ALTER TABLE job_attempts ADD COLUMN host bigint",
        f"ALTER TABLE background_jobs ADD COLUMN host_wanted {_TEXT}",
        "ALTER TABLE schedules ADD COLUMN set_by bigint",
        _table(
            """
            job_outputs (job_id bigint REFERENCES background_jobs ON DELETE CASCADE, number bigint,
                head bytea NOT NULL, tail bytea NOT NULL, left_out bigint NOT NULL, PRIMARY KEY (job_id, number))
            """
        ),
        "CREATE INDEX attempts_of_host ON job_attempts (host, job_id, number) "
        "WHERE host IS NOT NULL AND outcome IS NULL",
        *COUNTING,
        "CREATE SEQUENCE tally_ids",
        _table("tallies (id bigint PRIMARY KEY, is_sum bigint NOT NULL, differences {text} NOT NULL)"),
        "DROP INDEX jobs_ready",
        "DROP INDEX jobs_of_class",
        f"CREATE INDEX jobs_ready ON background_jobs (queue, priority DESC, turn, id) "
        f"WHERE {_READY} AND host_wanted IS NULL",
        f"CREATE INDEX jobs_of_class ON background_jobs (queue, class_name, priority DESC, turn, id) "
        f"WHERE {_READY} AND host_wanted IS NULL",
        f"CREATE INDEX jobs_pinned ON background_jobs (host_wanted, queue, class_name, priority DESC, turn, id) "
        f"WHERE {_READY} AND host_wanted IS NOT NULL",
        _table(postgres_inbox.INBOX),
        postgres_inbox.FUNCTION,
        *postgres_inbox.RIGHTS,
    ),
    18: (
        "CREATE SEQUENCE error_ids",
        _table(
            """
            error_groups (id bigint PRIMARY KEY DEFAULT nextval('error_ids'), fingerprint {text} NOT NULL,
                outcome {text} NOT NULL, error_type {text}, message {text}, place {text}, line {text},
                class_name {text} NOT NULL, is_named bigint NOT NULL, name {text}, first_at {text} NOT NULL,
                first_job bigint NOT NULL, first_version {text}, last_at {text} NOT NULL, last_job bigint NOT NULL,
                last_attempt bigint NOT NULL, last_version {text}, attempts bigint NOT NULL, failed bigint NOT NULL,
                back_at {text})
            """
        ),
        "CREATE UNIQUE INDEX errors_by_fingerprint ON error_groups (fingerprint)",
        "CREATE INDEX errors_by_time ON error_groups (last_at, id)",
        "CREATE INDEX errors_named ON error_groups (class_name, id) WHERE is_named = 1",
        "ALTER TABLE job_attempts ADD COLUMN error_group bigint",
        "CREATE INDEX attempts_of_error ON job_attempts (error_group, job_id) WHERE error_group IS NOT NULL",
    ),
    19: (
        _table(
            """
            class_holds (class_name {text} PRIMARY KEY, reason {text} NOT NULL, code_version {text}, since {text},
                message {text}, jobs {text} NOT NULL, crashes bigint NOT NULL, tries bigint NOT NULL,
                next_try_at {text}, by_uid bigint)
            """
        ),
        "CREATE INDEX jobs_crashed ON background_jobs (finished_at) WHERE status = 'failed' AND crashes > 0",
    ),
    20: (
        _table(
            """
            method_usage (class_name {text}, method_name {text}, seconds bytea NOT NULL, memory bytea NOT NULL,
                runs bigint NOT NULL, completed_at {text} NOT NULL, code_version {text},
                PRIMARY KEY (class_name, method_name))
            """
        ),
    ),
    21: (
        "CREATE SEQUENCE alert_ids",
        _table(
            """
            alerts (id bigint PRIMARY KEY DEFAULT nextval('alert_ids'), rule {text} NOT NULL, subject {text} NOT NULL,
                raised_at {text} NOT NULL, last_at {text} NOT NULL, count bigint NOT NULL, cleared_at {text},
                told_at {text}, end_told_at {text}, told_count bigint NOT NULL,
                message {text} NOT NULL, facts {text} NOT NULL, acknowledged_at {text}, acknowledged_uid bigint)
            """
        ),
        "CREATE UNIQUE INDEX alerts_open ON alerts (rule, subject) WHERE cleared_at IS NULL",
        "CREATE INDEX alerts_untold ON alerts (id) WHERE told_count < 2",
        "CREATE INDEX alerts_told ON alerts (told_at) WHERE told_at IS NOT NULL",
        "CREATE INDEX alerts_end_told ON alerts (end_told_at) WHERE end_told_at IS NOT NULL",
        _table("alert_mutes (rule {text} PRIMARY KEY, until {text} NOT NULL, uid bigint)"),
        f"ALTER TABLE hosts ADD COLUMN drained_at {_TEXT}",
        f"ALTER TABLE hosts ADD COLUMN drained_by {_TEXT}",
        "ALTER TABLE job_attempts ADD COLUMN hook_host bigint",
        f"ALTER TABLE job_attempts ADD COLUMN hook_called_at {_TEXT}",
        "CREATE INDEX hooks_owed ON job_attempts (hook_host, job_id, number) "
        "WHERE hook_host IS NOT NULL AND hook_called_at IS NULL",
    ),
    22: (f"ALTER TABLE background_jobs ADD COLUMN traceparent {_TEXT}",),
    23: (
        _table(
            """
            class_tallies (span bigint, at {text}, class_name {text}, completed bigint NOT NULL, failed bigint NOT NULL,
                retried bigint NOT NULL, bad {text} NOT NULL, seconds bytea NOT NULL, waited bytea NOT NULL,
                cpu double precision NOT NULL, memory bigint NOT NULL, PRIMARY KEY (span, at, class_name))
            """
        ),
        _table(
            """
            queue_tallies (span bigint, at {text}, queue {text}, pending bigint NOT NULL, running bigint NOT NULL,
                waited double precision NOT NULL, PRIMARY KEY (span, at, queue))
            """
        ),
        _table(
            """
            error_tallies (error_group bigint, span bigint, at {text}, attempts bigint NOT NULL,
                failed bigint NOT NULL, PRIMARY KEY (error_group, span, at))
            """
        ),
        "CREATE SEQUENCE change_ids",
        _table(
            """
            changes (id bigint PRIMARY KEY DEFAULT nextval('change_ids'), at {text} NOT NULL, kind {text} NOT NULL,
                what {text} NOT NULL, who {text})
            """
        ),
        "CREATE INDEX changes_by_time ON changes (at, id)",
        "ALTER TABLE job_attempts ADD COLUMN waited double precision",
        "ALTER TABLE background_jobs ADD COLUMN bulk bigint",
        "CREATE INDEX jobs_by_class ON background_jobs (class_name, id) WHERE id > 0",
        "CREATE INDEX jobs_of_bulk ON background_jobs (bulk, id) WHERE bulk IS NOT NULL",
    ),
    24: (
        f"ALTER TABLE background_jobs ADD COLUMN labels {_TEXT}",
        _table("job_labels (label {text}, job_id bigint, PRIMARY KEY (label, job_id))"),
    ),
    25: (f"ALTER TABLE hosts ADD COLUMN rules {_TEXT}",),
}
"""By the version that it leads from, the statements of each of migrations.STEPS behind VERSION. Frozen, too."""

NOT_ADDING: Final[frozenset[int]] = frozenset()
"""The steps behind VERSION + 1 that do not only add: an older daemon could not go on beside them."""

_TABLES: Final = (
    """
    background_jobs (id bigint PRIMARY KEY DEFAULT nextval('job_ids'),
        class_name {text} NOT NULL, method_name {text} NOT NULL, parameters {text} NOT NULL, status {text} NOT NULL,
        retry_count bigint NOT NULL, max_retries bigint NOT NULL, retry_delay double precision NOT NULL,
        backoff {text} NOT NULL, max_retry_delay double precision NOT NULL, queue {text} NOT NULL,
        priority bigint NOT NULL, timeout double precision, scheduled_at {text}, started_at {text},
        finished_at {text}, created_at {text} NOT NULL, updated_at {text} NOT NULL, cancel_requested_at {text},
        idempotency_key {text}, result {text}, error {text}, submitted_uid bigint, submitted_gid bigint,
        submitted_pid bigint, ready bigint NOT NULL, request_digest {text}, sensitive {text},
        crashes bigint NOT NULL DEFAULT 0, submitted_by_job bigint, schedule {text}, occurrence {text},
        waits_for bigint NOT NULL DEFAULT 0, failed_before bigint NOT NULL DEFAULT 0, if_failed {text},
        cancelled_after {text}, group_id bigint, takes {text}, expires_at {text}, unique_key {text},
        unique_while {text}, key {text}, turn bigint NOT NULL DEFAULT 0, waits_until {text},
        carries bigint NOT NULL DEFAULT 0, steps bigint NOT NULL DEFAULT 0, step_bytes bigint NOT NULL DEFAULT 0,
        life bigint NOT NULL DEFAULT 0, retry_count_at_submit bigint NOT NULL DEFAULT 0, waiting_on {text},
        emitted bigint NOT NULL DEFAULT 0, again_of bigint, review_since {text}, settled_at {text},
        settled_uid bigint)
    """,
    """
    job_attempts (job_id bigint, number bigint, token {text} NOT NULL, boot_id {text} NOT NULL, pid bigint,
        started_at {text}, finished_at {text}, outcome {text}, exit_code bigint, signal bigint, error_type {text},
        error_message {text}, traceback {text}, max_rss bigint, cpu_user double precision,
        cpu_system double precision, output_bytes bigint, code_version {text}, progress {text},
        noted bigint NOT NULL DEFAULT 0, spends_retry bigint NOT NULL DEFAULT 1, error_class {text},
        valued bigint NOT NULL DEFAULT 0, PRIMARY KEY (job_id, number))
    """,
    """
    job_logs (id bigint PRIMARY KEY, job_id bigint NOT NULL, attempt bigint, type {text} NOT NULL,
        message {text} NOT NULL, context {text}, created_at {text} NOT NULL, folded {text}, attempts_allowed bigint)
    """,
    "queues (name {text} PRIMARY KEY, paused_at {text} NOT NULL, resumes_at {text})",
    "properties (name {text} PRIMARY KEY, value {text} NOT NULL)",
    """
    schedules (name {text} PRIMARY KEY, definition {text} NOT NULL, since {text} NOT NULL, cursor {text} NOT NULL,
        paused_at {text}, removed_at {text}, uid bigint, made_by {text})
    """,
    """
    schedule_occurrences (name {text}, at {text}, until {text} NOT NULL, count bigint NOT NULL,
        verdict {text} NOT NULL, reason {text}, job_id bigint, dealt_at {text} NOT NULL, PRIMARY KEY (name, at))
    """,
    """
    job_dependencies (job_id bigint, "of" {text}, after_id bigint, standing bigint NOT NULL,
        PRIMARY KEY (job_id, "of", after_id))
    """,
    """
    job_groups (id bigint PRIMARY KEY DEFAULT nextval('group_ids'), name {text}, since_id bigint NOT NULL,
        group_id bigint,
        total bigint NOT NULL, unfinished bigint NOT NULL, completed bigint NOT NULL, failed bigint NOT NULL,
        cancelled bigint NOT NULL, sealed_at {text}, ended_at {text}, cancel_requested_at {text},
        created_at {text} NOT NULL, idempotency_key {text}, submitted_uid bigint)
    """,
    'consequences ("of" {text}, id bigint, done_to bigint NOT NULL, PRIMARY KEY ("of", id))',
    """
    unique_keys (class_name {text}, method_name {text}, key {text}, job_id bigint NOT NULL, held_until {text},
        PRIMARY KEY (class_name, method_name, key))
    """,
    """
    rates (scope {text} PRIMARY KEY, full_at double precision NOT NULL, held_until double precision, held_by bigint)
    """,
    "queue_turns (queue {text}, priority bigint, turn bigint NOT NULL, PRIMARY KEY (queue, priority))",
    """
    job_steps (job_id bigint, kind {text}, name {text}, turn bigint, number bigint, attempt bigint NOT NULL,
        tries bigint NOT NULL, began_at {text} NOT NULL, finished_at {text}, until {text}, result {text},
        is_awaited bigint NOT NULL, timed_out bigint NOT NULL, unused_in bigint, by_uid bigint,
        PRIMARY KEY (job_id, kind, name, turn))
    """,
    """
    job_signals (job_id bigint, number bigint, name {text} NOT NULL, payload {text}, key {text},
        sent_at {text} NOT NULL, uid bigint, taken_by {text}, PRIMARY KEY (job_id, number))
    """,
    "job_states (job_id bigint PRIMARY KEY, value {text} NOT NULL, attempt bigint NOT NULL, saved bigint NOT NULL)",
    """
    job_values (job_id bigint, number bigint, ends bigint NOT NULL, attempt bigint NOT NULL, step {text},
        at {text} NOT NULL, value {text} NOT NULL, PRIMARY KEY (job_id, number))
    """,
)

# As those of SQLite, each of which has the row's id behind its columns; here it is said where an order needs it.
_PENDING: Final = "status = 'pending'"
_INDEXES: Final = (
    f"jobs_scheduled ON background_jobs (scheduled_at, id) WHERE {_PENDING} AND ready = 0",
    "jobs_running ON background_jobs (queue, id) WHERE status = 'running'",
    "jobs_finished ON background_jobs (status, id) WHERE finished_at IS NOT NULL",
    "attempts_open ON job_attempts (job_id, number) WHERE outcome IS NULL",
    "logs_job ON job_logs (job_id, id)",
    f"jobs_pending ON background_jobs (ready, id) WHERE {_PENDING} AND finished_at IS NULL",
    "logs_type ON job_logs (type, id) WHERE type <> 'success'",
    "jobs_ended ON background_jobs (status, finished_at, id) WHERE finished_at IS NOT NULL",
    "jobs_of_schedule ON background_jobs (schedule, id) WHERE schedule IS NOT NULL AND finished_at IS NULL",
    "jobs_by_schedule ON background_jobs (schedule, id) WHERE schedule IS NOT NULL",
    'edges_after ON job_dependencies ("of", after_id, job_id)',
    "jobs_of_group ON background_jobs (group_id, id) WHERE group_id IS NOT NULL",
    "groups_of_group ON job_groups (group_id, id) WHERE group_id IS NOT NULL",
    "groups_unended ON job_groups (id) WHERE ended_at IS NULL",
    "jobs_expiring ON background_jobs (expires_at) "
    f"WHERE {_PENDING} AND started_at IS NULL AND expires_at IS NOT NULL",
    "unique_keys_of ON unique_keys (job_id)",
    "unique_keys_until ON unique_keys (held_until, class_name, method_name, key) WHERE held_until IS NOT NULL",
    f"jobs_ready ON background_jobs (queue, priority DESC, turn, id) WHERE {_PENDING} AND ready = 1",
    f"jobs_of_class ON background_jobs (queue, class_name, priority DESC, turn, id) WHERE {_PENDING} AND ready = 1",
    "jobs_key_running ON background_jobs (queue, key, id) WHERE key IS NOT NULL AND status = 'running'",
    "jobs_key_ready ON background_jobs (queue, key, priority DESC, turn, id) "
    f"WHERE key IS NOT NULL AND ready = 1 AND {_PENDING}",
    f"jobs_behind ON background_jobs (queue, key, priority DESC, turn, id) WHERE ready = 3 AND {_PENDING}",
    f"jobs_due_behind ON background_jobs (waits_until) WHERE waits_until IS NOT NULL AND ready = 3 AND {_PENDING}",
    f"jobs_turns ON background_jobs (queue, key, priority, turn) WHERE turn > 0 AND {_PENDING}",
    "jobs_by_key ON background_jobs (key, id) WHERE key IS NOT NULL",
    f"jobs_waiting ON background_jobs (scheduled_at) WHERE {_PENDING} AND ready = 4 AND scheduled_at IS NOT NULL",
    f"jobs_suspended ON background_jobs (id) WHERE {_PENDING} AND waiting_on IS NOT NULL",
    "jobs_again ON background_jobs (again_of) WHERE again_of IS NOT NULL",
    "jobs_for_review ON background_jobs (id) WHERE review_since IS NOT NULL",
)
_UNIQUE_INDEXES: Final = (
    "jobs_key ON background_jobs (idempotency_key) WHERE idempotency_key IS NOT NULL",
    "groups_key ON job_groups (idempotency_key) WHERE idempotency_key IS NOT NULL",
    "signals_key ON job_signals (job_id, key) WHERE key IS NOT NULL",
)

_SEQUENCES: Final = ("job_ids", "group_ids")
_COUNTERS: Final = """
    CREATE VIEW sqlite_sequence AS
        SELECT 'background_jobs' AS name, CASE WHEN is_called THEN last_value ELSE 0 END AS seq FROM job_ids
        UNION ALL SELECT 'job_groups', CASE WHEN is_called THEN last_value ELSE 0 END FROM group_ids
"""
"""By the name that SQLite has for it, so that who asks for the newest id asks both alike."""


def create(run: Run) -> None:
    """All of it, in the schema that is the search path."""
    run(f"CREATE TABLE schema_version AS SELECT {VERSION}::bigint AS version")
    for sequence in _SEQUENCES:
        run(f"CREATE SEQUENCE {sequence}")
    for table in _TABLES:
        run(_table(table))
    for index in _INDEXES:
        run(f"CREATE INDEX {index}")
    for index in _UNIQUE_INDEXES:
        run(f"CREATE UNIQUE INDEX {index}")
    run(_COUNTERS)
    found = run("SELECT collname FROM pg_collation WHERE collname IN ('und-x-icu', 'C.utf8')").fetchall()
    folding = max([name for (name,) in found], default="default")
    for statement in FUNCTIONS:
        run(statement.replace("{folding}", folding))
    run(f"INSERT INTO properties VALUES ('database_id', '{uuid.uuid4()}')")


def statements_from(version: int) -> Iterator[str]:
    """Those of all steps from this version to the newest, in order."""
    for number in range(version, len(STEPS)):
        yield from POSTGRES_STEPS[number]


def take_steps(run: Run, version: int) -> None:
    """Those from this version to the newest."""
    for statement in statements_from(version):
        run(if_missing(statement))
    run(f"UPDATE schema_version SET version = {len(STEPS)}")
