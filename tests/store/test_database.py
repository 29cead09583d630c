"""Opening the file, and what becomes of its errors."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from peewee import OperationalError

from bgjobd.config import loading
from bgjobd.store import backups, migrations
from bgjobd.store.database import (
    FILE_NAME,
    DamagedDatabaseError,
    ForsakenLogError,
    LogOfAnotherError,
    NoDatabaseError,
    UnusableDatabaseError,
    _take_over_copy,
    check_log,
    open_for_reading,
    open_for_writing,
    prepare,
    unusable,
)
from bgjobd.store.engines.places import NoDriverError, place_of
from bgjobd.store.engines.sqlite import OfFile, Sqlite, errors_named
from tests.support import directory_for_all

PAGE = 4096


def test_damage_that_is_met_while_rows_are_fetched_is_named_as_any_other(tmp_path: Path) -> None:
    prepare(tmp_path)
    file = tmp_path / FILE_NAME
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE long (x)")
        connection.executemany("INSERT INTO long VALUES (?)", [("x" * 3000,)] * 50)
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = file.read_bytes()
    file.write_bytes(whole[: -10 * PAGE] + b"\xff" * 10 * PAGE)
    with closing(open_for_reading(tmp_path)) as database:
        rows = database.execute_sql("SELECT x FROM long")  # the first of them is whole
        with pytest.raises(UnusableDatabaseError, match="malformed"):
            fetch(rows, tmp_path)


def fetch(rows: sqlite3.Cursor, state_dir: Path) -> None:
    with errors_named(state_dir):
        rows.fetchall()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_file_that_was_put_there_as_another_user_is_told_with_whose_it_is() -> None:
    with directory_for_all() as directory:
        prepare(directory)
        os.chown(directory, 65534, 65534)
        (directory / FILE_NAME).chmod(0o600)
        os.seteuid(65534)
        try:
            with pytest.raises(UnusableDatabaseError) as refused:
                prepare(directory)
        finally:
            os.seteuid(0)
    told = str(refused.value)
    assert "unable to open database file; it belongs to uid 0, with mode 0600, and this is uid 65534" in told
    assert f"`chown 65534 {directory}/{FILE_NAME}`" in told


@pytest.mark.parametrize(
    ("newest", "next"), [(0, 1_000_001), (7, 2_000_001), (1_000_000, 2_000_001), (1_000_001, 3_000_001)]
)
def test_a_restored_backup_goes_on_with_ids_at_least_a_million_ahead(
    tmp_path: Path, newest: int, next: int
) -> None:
    prepare(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        for table in ("background_jobs", "job_groups"):
            connection.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (table, newest))
        entry = (newest, "2026-11-25T12:00:00.000000Z")
        connection.execute(
            "INSERT INTO job_logs (id, job_id, type, message, created_at) VALUES (?, 1, '', '', ?)", entry
        )
        connection.execute("INSERT INTO properties VALUES ('copied_at', '')")
        connection.commit()
    assert prepare(tmp_path)
    assert not prepare(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        lasts = dict(connection.execute("SELECT name, seq FROM sqlite_sequence WHERE name <> 'changes'"))
        (last_entry,) = connection.execute("SELECT max(id) FROM job_logs").fetchone()
    assert lasts == {"background_jobs": next - 1, "job_groups": next - 1}
    assert last_entry + 1 == next


def test_the_schedules_of_a_restored_backup_are_paused_and_no_queue_of_it_goes_on_by_itself(
    tmp_path: Path,
) -> None:
    prepare(tmp_path)
    before = "2026-11-25T12:00:00.000000Z"
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.executemany(
            "INSERT INTO schedules (name, definition, since, cursor, paused_at) VALUES (?, '{}', ?, ?, ?)",
            [("hourly", before, before, None), ("nightly", before, before, before)],
        )
        connection.execute("INSERT INTO queues VALUES ('mail', ?, ?)", (before, before))
        connection.execute("INSERT INTO properties VALUES ('copied_at', '')")
        connection.commit()
    assert prepare(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        assert connection.execute("SELECT * FROM queues").fetchall() == [("mail", before, None)]
        paused = dict(connection.execute("SELECT name, paused_at FROM schedules"))
    assert paused["hourly"] > paused["nightly"] == before


def test_the_changes_tell_which_schedules_the_restore_of_a_backup_has_paused(tmp_path: Path) -> None:
    prepare(tmp_path)
    before = "2026-11-25T12:00:00.000000Z"
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.executemany(
            "INSERT INTO schedules (name, definition, since, cursor, paused_at) VALUES (?, '{}', ?, ?, ?)",
            [(f"s{number:02}", before, before, None if number else before) for number in range(13)],
        )
        connection.execute("INSERT INTO properties VALUES ('copied_at', '')")
        connection.commit()
    assert prepare(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        rows = connection.execute("SELECT kind, what, who FROM changes ORDER BY id").fetchall()
    what = {"did": "paused", "schedules": [f"s{number:02}" for number in range(1, 11)], "count": 12}
    assert [(kind, json.loads(told), who) for kind, told, who in rows] == [
        ("schedule_changed", what, "the restore of a backup")
    ]


def test_the_changes_tell_of_which_pauses_the_restore_of_a_backup_has_taken_the_end(tmp_path: Path) -> None:
    prepare(tmp_path)
    before, until = "2026-11-25T12:00:00.000000Z", "2999-11-25T12:00:00.000000Z"
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.executemany(
            "INSERT INTO queues VALUES (?, ?, ?)", [("a", before, until), ("b", before, None)]
        )
        connection.execute("INSERT INTO properties VALUES ('copied_at', '')")
        connection.commit()
    assert prepare(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        queues = connection.execute("SELECT name, paused_at, resumes_at FROM queues ORDER BY name").fetchall()
        rows = connection.execute("SELECT kind, what, who FROM changes").fetchall()
    assert queues == [("a", before, None), ("b", before, None)]
    assert rows == [("paused", '{"queue":"a","until":null}', "the restore of a backup")]


def test_an_address_that_nothing_here_can_speak_to_is_told_as_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bgjobd.store.engines.postgres", None)
    file = tmp_path / "bgjobd.toml"
    file.write_text("[daemon]\ndatabase = 'postgresql://u@db.example/d'\n")
    own = loading.load(file, {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}, is_root=False).daemon
    with pytest.raises(NoDriverError, match=r"^the database postgresql://u@db\.example/d cannot be used: "):
        place_of(own)


def test_a_file_that_is_no_database_is_told_with_its_repair_by_whoever_reads_it(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database" * 1000)
    told = r"file is not a database; .*`sqlite3 ASIDE \.recover"
    with pytest.raises(DamagedDatabaseError, match=told), errors_named(tmp_path):
        open_for_reading(tmp_path).execute_sql("SELECT * FROM jobs")
    with pytest.raises(DamagedDatabaseError, match=told):
        backups.back_up(tmp_path, tmp_path / "copy.db")
    assert "see to room" in str(unusable(tmp_path / FILE_NAME, "disk I/O error"))


@pytest.mark.parametrize("left", [None, b""], ids=["missing", "empty"])
def test_a_log_beside_no_database_is_not_thrown_away(tmp_path: Path, left: bytes | None) -> None:
    file, log = tmp_path / FILE_NAME, tmp_path / f"{FILE_NAME}-wal"
    prepare(tmp_path)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE stored (x)")
        whole, kept = file.read_bytes(), log.read_bytes()
    file.unlink()
    if left is not None:
        file.write_bytes(left)
    log.write_bytes(kept)
    with pytest.raises(
        ForsakenLogError, match=r"missing or empty, .*put the file back; or, .* move bgjobd\.db-wal"
    ):
        prepare(tmp_path)
    assert log.read_bytes() == kept
    with pytest.raises(NoDatabaseError if left is None else ForsakenLogError):
        open_for_reading(tmp_path).execute_sql("PRAGMA schema_version")
    assert log.read_bytes() == kept
    file.write_bytes(whole)
    prepare(tmp_path)
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT * FROM stored").fetchall() == []
    file.unlink()
    log.write_bytes(b"")  # as a log is left that the file has taken all of
    prepare(tmp_path)


def test_a_file_of_which_nobody_tells_whether_it_is_empty_is_not_taken_for_an_empty_one(
    tmp_path: Path,
) -> None:
    (tmp_path / FILE_NAME).symlink_to(FILE_NAME)  # in a circle
    log = tmp_path / f"{FILE_NAME}-wal"
    log.write_bytes(b"stored last")
    for refused in (prepare, open_for_reading, check_log):
        with pytest.raises(
            UnusableDatabaseError, match=r"symbolic links; see to room, rights and errors of the disk"
        ):
            refused(tmp_path)
    assert log.read_bytes() == b"stored last"


@pytest.mark.parametrize("made_by", ["a backup", "a migration"])
def test_a_copy_beside_the_log_of_the_file_that_it_replaces_is_not_taken_for_that_file(
    tmp_path: Path, made_by: str
) -> None:
    file, log, copy = tmp_path / FILE_NAME, tmp_path / f"{FILE_NAME}-wal", tmp_path / "copy.db"
    prepare(tmp_path)
    if made_by == "a backup":
        backups.back_up(tmp_path, copy)
    else:
        with closing(open_for_writing(tmp_path)) as database:
            migrations._back_up(database, file, copy)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("INSERT INTO properties VALUES ('stored', 'since')")
        connection.commit()
        kept = log.read_bytes()
    shutil.copy(copy, file)
    log.write_bytes(kept)
    told = (
        r"it is a copy, .*bgjobd\.db-wal beside it .*to go on from this copy, move bgjobd\.db-wal away first"
    )
    for refused in (prepare, check_log, lambda place: backups.back_up(place, tmp_path / "other.db")):
        with pytest.raises(LogOfAnotherError, match=told):
            refused(tmp_path)
    assert (file.read_bytes(), log.read_bytes()) == (copy.read_bytes(), kept)
    log.unlink()
    assert prepare(tmp_path)


def test_a_copy_that_was_taken_over_by_who_was_killed_then_is_gone_on_with(tmp_path: Path) -> None:
    file, log, copy = tmp_path / FILE_NAME, tmp_path / f"{FILE_NAME}-wal", tmp_path / "copy.db"
    prepare(tmp_path)
    backups.back_up(tmp_path, copy)
    shutil.copy(copy, file)
    with closing(open_for_writing(tmp_path)) as database:
        assert _take_over_copy(database)
        killed = file.read_bytes(), log.read_bytes()
    file.write_bytes(killed[0])
    log.write_bytes(killed[1])
    assert not prepare(tmp_path)
    assert not log.exists()


def test_who_leaves_a_file_that_was_emptied_leaves_its_log(tmp_path: Path) -> None:
    prepare(tmp_path)
    ground, log = OfFile(tmp_path), tmp_path / f"{FILE_NAME}-wal"
    os.truncate(tmp_path / FILE_NAME, 0)
    log.write_bytes(b"stored last")
    ground.leave()
    assert log.read_bytes() == b"stored last"


def test_only_a_start_makes_a_database_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match="unable to open database file"):
        Sqlite(tmp_path).open_for_writing()
    assert not (tmp_path / FILE_NAME).exists()
    prepare(tmp_path)
    Sqlite(tmp_path).open_for_writing().close()


def test_a_log_beside_the_file_that_a_link_leads_to_is_not_thrown_away(tmp_path: Path) -> None:
    log = tmp_path / "elsewhere.db-wal"
    log.write_bytes(b"stored last")
    (tmp_path / FILE_NAME).symlink_to("elsewhere.db")  # which is gone
    with pytest.raises(ForsakenLogError, match=r"/elsewhere\.db cannot .*; or, .* move elsewhere\.db-wal"):
        prepare(tmp_path)
    assert log.read_bytes() == b"stored last"
