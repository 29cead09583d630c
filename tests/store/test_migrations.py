"""The schema's versions on real files: made, left alone, refused, backed up, and the columns as promised."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from peewee import Model, SqliteDatabase

from bgjob.errors import IdempotencyConflictError
from bgjobd.core.job import Ending
from bgjobd.core.planner import Lanes
from bgjobd.store import migrations
from bgjobd.store.audit import Audit
from bgjobd.store.committed import Stored
from bgjobd.store.database import FILE_NAME, open_for_writing, prepare
from bgjobd.store.filters import LogFilter
from bgjobd.store.migrations import STEPS, MigrationFailedError, SchemaTooNewError, migrate
from bgjobd.store.models.every import MODELS
from bgjobd.store.reader import Reader
from tests.store.samples import Store, asked, ends, new_database, starts, submission

VERSION_1 = Path(__file__).parent / "version_1.sql"

COLUMNS = {
    "background_jobs": """
        id class_name method_name parameters status retry_count max_retries retry_delay backoff max_retry_delay
        queue priority timeout scheduled_at started_at finished_at created_at updated_at cancel_requested_at
        idempotency_key result error submitted_uid submitted_gid submitted_pid crashes
        submitted_by_job schedule occurrence waits_for failed_before if_failed cancelled_after group_id takes
        expires_at unique_key unique_while key turn waits_until carries steps step_bytes life
        retry_count_at_submit waiting_on emitted again_of review_since settled_at settled_uid
        host_wanted traceparent bulk labels
    """,
    "job_attempts": """
        job_id number token boot_id pid started_at finished_at outcome exit_code signal error_type error_message
        traceback max_rss cpu_user cpu_system output_bytes code_version progress spends_retry
        error_class host error_group hook_host hook_called_at waited
    """,
    "job_logs": "id job_id attempt type message context created_at",
    "schedules": "name definition since cursor paused_at removed_at uid made_by set_by",
    "schedule_occurrences": "name at until count verdict reason job_id dealt_at",
    "job_dependencies": "job_id of after_id standing",
    "job_groups": """
        id name since_id group_id total unfinished completed failed cancelled sealed_at ended_at cancel_requested_at
        created_at idempotency_key submitted_uid
    """,
    "consequences": "of id done_to",
    "unique_keys": "class_name method_name key job_id held_until",
    "job_steps": """
        job_id kind name turn number attempt tries began_at finished_at until result is_awaited timed_out unused_in
        by_uid
    """,
    "job_signals": "job_id number name payload key sent_at uid taken_by",
    "job_states": "job_id value attempt saved",
    "job_values": "job_id number ends attempt step at value",
    "rates": "scope full_at held_until held_by",
    "queue_turns": "queue priority turn",
    "hosts": """
        id uuid name boot_id term beats seen_at lost_after version schema code_version slots queues classes
        clock_difference trouble left_at lost_at drained_at drained_by rules
    """,
    "job_outputs": "job_id number head tail left_out",
    "error_groups": """
        id fingerprint outcome error_type message place line class_name is_named name first_at first_job first_version
        last_at last_job last_attempt last_version attempts failed back_at
    """,
    "class_holds": "class_name reason code_version since message jobs crashes tries next_try_at by_uid",
    "method_usage": "class_name method_name seconds memory runs completed_at code_version",
    "alerts": """
        id rule subject raised_at last_at count cleared_at told_at end_told_at told_count message facts acknowledged_at
        acknowledged_uid
    """,
    "alert_mutes": "rule until uid",
    "class_tallies": "span at class_name completed failed retried bad seconds waited cpu memory",
    "queue_tallies": "span at queue pending running waited",
    "error_tallies": "error_group span at attempts failed",
    "changes": "id at kind what who",
    "job_labels": "label job_id",
}
"""The columns that are a contract with users."""

OURS = {
    "background_jobs": {"ready", "request_digest", "sensitive"},
    "job_attempts": {"noted", "valued"},
    "job_logs": {"folded", "attempts_allowed"},
    "schedules": set(),
    "schedule_occurrences": set(),
}
"""Columns that are nobody's contract."""


def write_version_1(state_dir: Path) -> None:
    """A file as the code of version 1 left it."""
    with sqlite3.connect(state_dir / FILE_NAME) as old:
        old.executescript(VERSION_1.read_text(encoding="utf-8"))
    old.close()


def contents(path: Path) -> dict[str, list[dict[str, object]]]:
    """All rows of the tables of version 1, columns by their names."""
    with sqlite3.connect(path) as database:
        database.row_factory = sqlite3.Row
        tables = ("background_jobs", "job_attempts", "job_logs", "properties", "queues", "sqlite_sequence")
        rows = {name: [dict(row) for row in database.execute(f"SELECT * FROM {name}")] for name in tables}
    database.close()
    return rows


def shape(database: SqliteDatabase, table: str) -> dict[str, tuple[object, ...]]:
    """For each column its type, whether it may be null, its default, its place in the primary key."""
    rows = database.execute_sql(f"PRAGMA table_info({table})").fetchall()
    return {name: tuple(rest) for _, name, *rest in rows}


def version(database: SqliteDatabase) -> int:
    return int(database.execute_sql("PRAGMA user_version").fetchone()[0])


def columns(database: SqliteDatabase, table: str) -> set[str]:
    return {row[1] for row in database.execute_sql(f"PRAGMA table_info({table})").fetchall()}


def schema(database: SqliteDatabase) -> list[tuple[str, str]]:
    return list(database.execute_sql("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall())


def add_note(database: SqliteDatabase) -> None:
    """A step as the next version might have it."""
    database.execute_sql("ALTER TABLE background_jobs ADD COLUMN note TEXT")


def break_off(database: SqliteDatabase) -> None:
    """A step that does something and then fails."""
    add_note(database)
    database.execute_sql("ALTER TABLE no_such_table ADD COLUMN note TEXT")


def test_a_fresh_file_gets_the_newest_version_and_no_backup(tmp_path: Path) -> None:
    database = new_database(tmp_path)
    assert version(database) == len(STEPS)
    assert not (tmp_path / "backups").exists()


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    database = new_database(tmp_path)
    before = schema(database)
    database_id = database.execute_sql("SELECT * FROM properties").fetchall()
    migrate(database, tmp_path / FILE_NAME)
    assert schema(database) == before
    assert database.execute_sql("SELECT * FROM properties").fetchall() == database_id
    assert not (tmp_path / "backups").exists()


def test_each_file_has_an_id_of_its_own(tmp_path: Path) -> None:
    ids = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        database = new_database(tmp_path / name)
        ids += database.execute_sql("SELECT value FROM properties WHERE name = 'database_id'").fetchall()
    assert len(set(ids)) == 2


def test_a_file_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    database = new_database(tmp_path)
    database.execute_sql(f"PRAGMA user_version = {len(STEPS) + 1}")
    before = schema(database)
    with pytest.raises(SchemaTooNewError) as caught:
        migrate(database, tmp_path / FILE_NAME)
    message = str(caught.value)
    assert str(tmp_path / FILE_NAME) in message
    assert f"schema version {len(STEPS) + 1}" in message
    assert f"up to {len(STEPS)}" in message
    assert "install the newer bgjobd" in message
    assert str(tmp_path / "backups") in message
    assert (schema(database), version(database)) == (before, len(STEPS) + 1)


def test_an_upgrade_backs_up_what_was_there_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    (job_id,) = store.submit(asked())
    monkeypatch.setattr(migrations, "STEPS", (*STEPS, add_note))
    path = store.state_dir / FILE_NAME
    migrate(store.database, path)
    assert version(store.database) == len(STEPS) + 1
    assert store.job(job_id)["note"] is None

    with sqlite3.connect(path.parent / "backups" / f"before-version-{len(STEPS) + 1}.db") as backup:
        assert backup.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
        assert backup.execute("SELECT id FROM background_jobs").fetchall() == [(job_id,)]
        assert "note" not in {row[1] for row in backup.execute("PRAGMA table_info(background_jobs)")}
        assert backup.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_backup_is_for_nobody_elses_eyes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "STEPS", (*STEPS, add_note))
    migrate(store.database, store.state_dir / FILE_NAME)
    assert (store.state_dir / "backups").stat().st_mode & 0o077 == 0


def test_a_step_that_fails_leaves_the_file_as_it_was_and_can_be_tried_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = schema(store.database)
    path = store.state_dir / FILE_NAME
    monkeypatch.setattr(migrations, "STEPS", (*STEPS, break_off))
    with pytest.raises(MigrationFailedError, match="no_such_table"):
        migrate(store.database, path)
    assert (schema(store.database), version(store.database)) == (before, len(STEPS))

    monkeypatch.setattr(migrations, "STEPS", (*STEPS, add_note))
    migrate(store.database, path)
    assert version(store.database) == len(STEPS) + 1


def test_a_start_that_fails_again_and_again_copies_the_file_once_unless_it_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_version_1(tmp_path)
    monkeypatch.setattr(migrations, "STEPS", (*STEPS, break_off))
    backup = tmp_path / "backups" / f"before-version-{len(STEPS) + 1}.db"

    def copies() -> list[int]:
        """Of three starts, each a copy's own number."""
        found = []
        for _ in range(3):
            with pytest.raises(MigrationFailedError, match=str(backup)):
                prepare(tmp_path)
            found.append(backup.stat().st_ino)
        return found

    assert len(set(first := copies())) == 1
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database, database:
        database.execute("DELETE FROM job_logs")
    assert len(set(second := copies())) == 1
    assert first[0] != second[0]
    assert contents(backup)["job_logs"] == []


def test_starts_that_were_killed_amid_a_step_copy_the_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_version_1(tmp_path)
    log = unfinished(tmp_path / FILE_NAME)
    monkeypatch.setattr(migrations, "STEPS", (*STEPS, break_off))
    backup = tmp_path / "backups" / f"before-version-{len(STEPS) + 1}.db"
    found = set()
    for _ in range(3):
        (tmp_path / f"{FILE_NAME}-wal").write_bytes(log)
        with pytest.raises(MigrationFailedError):
            prepare(tmp_path)
        found.add(backup.stat().st_ino)
    assert len(found) == 1


def unfinished(path: Path) -> bytes:
    """The write-ahead log of whoever is killed amid a transaction that is too large for its memory."""
    with closing(sqlite3.connect(path, isolation_level=None)) as killed:
        for statement in (
            "PRAGMA journal_mode = wal",
            "PRAGMA cache_size = 1",
            "BEGIN",
            "CREATE TABLE x (y)",
        ):
            killed.execute(statement)
        killed.executemany("INSERT INTO x VALUES (zeroblob(4000))", [()] * 20)
        log = path.with_name(f"{path.name}-wal").read_bytes()
        killed.execute("ROLLBACK")
    assert log
    return log


@pytest.mark.parametrize("table", COLUMNS)
def test_a_table_has_exactly_the_columns_of_the_contract(store: Store, table: str) -> None:
    assert columns(store.database, table) - OURS.get(table, set()) == set(COLUMNS[table].split())


def test_a_second_end_of_an_attempt_is_impossible_in_the_schema(store: Store) -> None:
    store.run_one()
    with pytest.raises(Exception, match=r"UNIQUE constraint failed: job_attempts\.job_id"):
        store.database.execute_sql(
            "INSERT INTO job_attempts (job_id, number, token, boot_id) VALUES (1, 1, 't', 'b')"
        )


def test_the_writers_connection_is_durable_and_lets_others_read(tmp_path: Path) -> None:
    database = open_for_writing(tmp_path)
    pragmas = ("journal_mode", "synchronous", "locking_mode")
    values = [database.execute_sql(f"PRAGMA {name}").fetchone()[0] for name in pragmas]
    assert values == ["wal", 2, "normal"]


# Version 1, from which real files come


def test_the_first_step_makes_what_the_code_of_version_1_made(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    write_version_1(tmp_path / "old")
    database = open_for_writing(tmp_path)
    STEPS[0](database)
    assert schema(database) == schema(open_for_writing(tmp_path / "old"))


def test_a_file_of_version_1_is_brought_to_the_schema_of_a_fresh_one(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    write_version_1(tmp_path / "old")
    prepare(tmp_path / "old")
    migrated, fresh = open_for_writing(tmp_path / "old"), new_database(tmp_path)
    assert version(migrated) == version(fresh) == len(STEPS)
    assert schema(migrated) == schema(fresh)


def test_a_file_of_version_1_keeps_every_row_and_is_backed_up_first(tmp_path: Path) -> None:
    write_version_1(tmp_path)
    before = contents(tmp_path / FILE_NAME)
    assert len(before["background_jobs"]) == 5
    prepare(tmp_path)
    backup = tmp_path / "backups" / f"before-version-{len(STEPS)}.db"
    copied = contents(backup)
    assert [row["name"] for row in copied["properties"]] == ["database_id", "copied_at"]
    assert copied | {"properties": before["properties"]} == before
    after = contents(tmp_path / FILE_NAME)
    new = {
        "background_jobs": {
            "request_digest": None,
            "sensitive": None,
            "crashes": 0,
            "submitted_by_job": None,
            "schedule": None,
            "occurrence": None,
            "waits_for": 0,
            "failed_before": 0,
            "if_failed": None,
            "cancelled_after": None,
            "group_id": None,
            "takes": None,
            "expires_at": None,
            "unique_key": None,
            "key": None,
            "turn": 0,
            "waits_until": None,
            "unique_while": None,
            **dict.fromkeys(
                ("carries", "steps", "step_bytes", "life", "retry_count_at_submit", "emitted"), 0
            ),
            **dict.fromkeys(
                ("waiting_on", "again_of", "review_since", "settled_at", "settled_uid", "host_wanted")
            ),
            **dict.fromkeys(("traceparent", "bulk", "labels")),
        },
        "job_attempts": {
            "noted": 0,
            "progress": None,
            "spends_retry": 1,
            "error_class": None,
            "valued": 0,
            "host": None,
            "error_group": None,
            "hook_host": None,
            "hook_called_at": None,
            "waited": None,
        },
        "job_logs": {"folded": None, "attempts_allowed": None},
        "queues": {"resumes_at": None},
    }
    assert all(before[table] for table in new)
    assert after == before | {table: [row | more for row in before[table]] for table, more in new.items()}


def test_a_backup_of_a_migration_that_is_put_in_place_is_known_to_be_one(tmp_path: Path) -> None:
    write_version_1(tmp_path)
    assert not prepare(tmp_path)
    backup = tmp_path / "backups" / f"before-version-{len(STEPS)}.db"
    for name in (FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    shutil.copy(backup, tmp_path / FILE_NAME)
    assert prepare(tmp_path)
    assert not prepare(tmp_path)
    pending = "SELECT DISTINCT queue FROM background_jobs WHERE status = 'pending' ORDER BY queue"
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
        queues = database.execute(pending).fetchall()
        assert queues
        assert database.execute("SELECT name FROM queues ORDER BY name").fetchall() == queues


def test_whoever_waits_for_a_migration_hears_that_it_goes_on(tmp_path: Path) -> None:
    write_version_1(tmp_path)
    with sqlite3.connect(tmp_path / FILE_NAME) as old:
        rows = [(1, "info", "Straße", "2024-12-04T14:31:53.000000Z")] * 5000
        old.executemany("INSERT INTO job_logs (job_id, type, message, created_at) VALUES (?, ?, ?, ?)", rows)
    old.close()
    heard: list[None] = []
    prepare(tmp_path, lambda: heard.append(None))
    assert len(heard) > 5
    assert version(open_for_writing(tmp_path)) == len(STEPS)


def test_the_entries_of_version_1_are_found_as_later_ones_are(tmp_path: Path) -> None:
    write_version_1(tmp_path)
    messages = ["Große Straße", "ganz groß", "GROSS", "größer", "nothing"]
    with sqlite3.connect(tmp_path / FILE_NAME) as old:
        rows = [(1, "info", message, "2024-12-04T14:31:53.000000Z") for message in messages]
        old.executemany("INSERT INTO job_logs (job_id, type, message, created_at) VALUES (?, ?, ?, ?)", rows)
    old.close()
    prepare(tmp_path)
    reader = Reader(tmp_path)
    found = [entry["message"] for entry in reader.logs(LogFilter(id=1, search="gross")).rows]
    reader.close()
    assert found == ["GROSS", "ganz groß", "Große Straße"]


def test_the_jobs_of_version_1_go_on(tmp_path: Path) -> None:
    write_version_1(tmp_path)
    store = Store(tmp_path)
    reader = Reader(tmp_path)
    done = reader.job(1)
    assert done is not None
    assert (done.columns["parameters"], done.columns["result"]) == (
        '{"to": "user@example.com"}',
        '{"sent":1}',
    )
    assert [(row["job_id"], row["timeout"]) for row in reader.hosts.open_attempts()] == [(5, 2.5)]
    reader.close()

    again = asked(idempotency_key="waits", digest="d1")
    assert store.answer(submission(again)) == (Stored(3, created=False),)
    other = asked(idempotency_key="waits", digest="d1", method="send")
    assert isinstance(store.answer(submission(other)), IdempotencyConflictError)
    assert store.submit(asked()) == [7]
    store.close()


# Version 9, in which a job of a schedule could wait for those before it, and nothing said for which


OF_SCHEDULES = """
    INSERT INTO background_jobs (id, class_name, method_name, parameters, status, retry_count, max_retries, retry_delay,
        backoff, max_retry_delay, queue, priority, finished_at, cancel_requested_at, created_at, updated_at, ready,
        schedule, occurrence)
    SELECT value ->> 0, 'a.B', 'run', '{}', iif(value ->> 2, 'pending', 'cancelled'), 0, 3, 5.0, 'constant', 60.0,
        'default', 0, iif(value ->> 2, NULL, :now), iif(value ->> 2, NULL, :now), :now, :now, abs(value ->> 2),
        value ->> 1, '2026-11-26T12:00:0' || (value ->> 0) || '.000000Z'
    FROM json_each('[[1, "row", 0], [2, "row", 1], [3, "row", 2], [4, "row", 2], [5, "alone", 0], [6, "alone", 2]]')
"""
"""Two in a row that wait (`ready` 2) for the one before them; and one whose predecessor was cancelled before that."""


def test_the_blocked_jobs_of_version_9_go_on_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "STEPS", STEPS[:9])
    database = new_database(tmp_path)
    database.execute_sql(OF_SCHEDULES, {"now": "2026-11-26T12:00:00.000000Z"})
    database.close()
    monkeypatch.setattr(migrations, "STEPS", STEPS)
    prepare(tmp_path)
    store = Store(tmp_path)
    edges = store.rows("SELECT job_id, after_id, standing FROM job_dependencies")
    assert [tuple(edge.values()) for edge in edges] == [(3, 2, 0), (4, 3, 0)]
    with closing(Audit(tmp_path)) as audit:
        assert audit.oddities() == ()
    ran = []
    while claims := store.claim(Lanes(8)):
        ran.append({claim.job.id for claim in claims})
        for claim in claims:
            store.commit(starts(claim.job.id), ends(claim.job.id, FAILED_FOR_GOOD))
    assert ran == [{2, 6}, {3}, {4}]
    store.close()


FAILED_FOR_GOOD = Ending.failed("ValueError", "no", may_retry=False)


@pytest.mark.parametrize("step", range(len(STEPS)))
def test_a_fresh_file_whose_making_fails_at_any_step_is_left_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(migrations, "STEPS", (*STEPS[: step + 1], break_off, *STEPS[step + 1 :]))
    database = open_for_writing(tmp_path)
    with pytest.raises(MigrationFailedError, match="no_such_table"):
        migrate(database, tmp_path / FILE_NAME)
    assert (schema(database), version(database)) == ([], 0)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.table_name)
def test_model_and_table_agree_column_by_column(store: Store, model: type[Model]) -> None:
    ideal = SqliteDatabase(":memory:")
    with ideal.bind_ctx([model]):
        ideal.create_tables([model])
    table = model._meta.table_name
    assert shape(store.database, table) == shape(ideal, table)
