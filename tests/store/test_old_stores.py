"""Stores that daemons of each earlier schema left when they were killed: today's code takes them over whole."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bgjobd.core.planner import Lanes
from bgjobd.store.audit import Audit
from bgjobd.store.database import FILE_NAME, prepare
from bgjobd.store.migrations import STEPS
from tests.store.samples import Store, new_database

HERE = Path(__file__).parent
STORES = [HERE / "version_1.sql", *sorted((HERE / "old").glob("version_*.sql"))]
NEVER_ALONE = {
    14: "came with 15",
    18: "came with 19",
    20: "came with 23",
    21: "came with 23",
    22: "came with 23",
    24: "came with 25",
}
"""Versions that no daemon ever had as they are now: their step landed together with later ones."""

TABLES = ("background_jobs", "job_attempts", "job_logs", "queues")
"""Those of version 1, none of whose rows a step changes in what they had."""

of_each_store = pytest.mark.parametrize("dump", STORES, ids=lambda path: path.stem)


def number_of(dump: Path) -> int:
    return int(dump.stem.removeprefix("version_"))


def written(dump: Path, state_dir: Path) -> Path:
    """The file as it was left."""
    with closing(sqlite3.connect(state_dir / FILE_NAME)) as old:
        old.executescript(dump.read_text(encoding="utf-8"))
    return state_dir / FILE_NAME


def rows(path: Path, table: str) -> list[dict[str, object]]:
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(f'SELECT * FROM "{table}" ORDER BY 1, 2')]


def schema(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as database:
        return list(database.execute("SELECT name, sql FROM sqlite_schema ORDER BY name"))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    directory = tmp_path_factory.mktemp("fresh")
    new_database(directory).close()
    return schema(directory / FILE_NAME)


def test_there_is_a_store_of_each_version_that_a_daemon_had() -> None:
    """Where a step is added, `python -m tests.store.old.make COMMIT` first writes that of the version before it."""
    assert [number_of(dump) for dump in STORES] == [
        number for number in range(1, len(STEPS) + 1) if number not in NEVER_ALONE
    ]


@of_each_store
def test_a_store_has_jobs_in_every_status_and_its_own_version(dump: Path, tmp_path: Path) -> None:
    path = written(dump, tmp_path)
    statuses = {row["status"] for row in rows(path, "background_jobs")}
    assert statuses | {"failed"} == {"pending", "running", "completed", "failed", "cancelled"}
    assert "failed" in statuses or number_of(dump) == 1
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (number_of(dump),)


@of_each_store
def test_an_old_store_is_brought_to_todays_schema_with_every_row_and_its_jobs_go_on(
    dump: Path, tmp_path: Path, fresh: list[tuple[str, str]]
) -> None:
    path = written(dump, tmp_path)
    before = {table: rows(path, table) for table in TABLES}
    prepare(tmp_path)
    assert schema(path) == fresh
    for table, old in before.items():
        new = rows(path, table)
        assert [{name: row[name] for name in was} for row, was in zip(new, old, strict=True)] == old, table
    with closing(Audit(tmp_path)) as audit:
        assert audit.oddities() == ()
    jobs = before["background_jobs"]
    pending = {row["id"] for row in jobs if row["status"] == "pending"}
    at_once = {row["id"] for row in jobs if row["ready"] == 1 and row["queue"] != "held"} & pending
    with closing(Store(tmp_path)) as store:
        assert at_once <= {claim.job.id for claim in store.claim(Lanes(40))} <= pending
