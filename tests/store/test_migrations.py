"""The schema's versions on real files: made, left alone, refused, backed up, and the columns as promised."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from peewee import OperationalError, SqliteDatabase

from bgjobd.store import migrations
from bgjobd.store.database import FILE_NAME, open_for_writing
from bgjobd.store.migrations import STEPS, SchemaTooNewError, migrate
from tests.store.samples import Store, asked, new_database

COLUMNS = {
    "background_jobs": """
        id class_name method_name parameters status retry_count max_retries retry_delay backoff max_retry_delay
        queue priority timeout scheduled_at started_at finished_at created_at updated_at cancel_requested_at
        idempotency_key result error submitted_uid submitted_gid submitted_pid
    """,
    "job_attempts": """
        job_id number token boot_id pid started_at finished_at outcome exit_code signal error_type error_message
        traceback max_rss cpu_user cpu_system output_bytes code_version
    """,
    "job_logs": "id job_id attempt type message context created_at",
}
"""DESIGN.md, section 4."""

OURS = {"background_jobs": {"ready"}}
"""Columns that are nobody's contract."""


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
    with pytest.raises(OperationalError, match="no_such_table"):
        migrate(store.database, path)
    assert (schema(store.database), version(store.database)) == (before, len(STEPS))

    monkeypatch.setattr(migrations, "STEPS", (*STEPS, add_note))
    migrate(store.database, path)
    assert version(store.database) == len(STEPS) + 1


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
