"""The schema's versions: each a step from the one before, run at start, after a backup of what was there."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

from peewee import SqliteDatabase

from bgjobd.store.models import MODELS, Property

_INDEXES: Final = (
    "CREATE INDEX jobs_ready ON background_jobs (queue, priority DESC, id) WHERE status = 'pending' AND ready = 1",
    "CREATE INDEX jobs_scheduled ON background_jobs (scheduled_at) WHERE status = 'pending' AND ready = 0",
    "CREATE INDEX jobs_running ON background_jobs (queue) WHERE status = 'running'",
    "CREATE UNIQUE INDEX jobs_key ON background_jobs (idempotency_key) WHERE idempotency_key IS NOT NULL",
    # Not all jobs by status: the planner of queries would take such an index for the hot ones above.
    "CREATE INDEX jobs_finished ON background_jobs (status, id) WHERE finished_at IS NOT NULL",
    "CREATE INDEX attempts_open ON job_attempts (job_id, number) WHERE outcome IS NULL",
    "CREATE INDEX logs_job ON job_logs (job_id, id)",
)


class SchemaTooNewError(Exception):
    """The database was written by a newer bgjobd."""

    def __init__(self, path: Path, found: int, known: int) -> None:
        super().__init__(
            f"{path} has schema version {found}, this bgjobd knows up to {known}; "
            f"install the newer bgjobd, or restore a file from {path.parent / 'backups'}"
        )


def _create(database: SqliteDatabase) -> None:
    with database.bind_ctx(MODELS):
        database.create_tables(MODELS, safe=False)
        Property.create(name="database_id", value=str(uuid.uuid4()))
    for statement in _INDEXES:
        database.execute_sql(statement)


STEPS: Final[tuple[Callable[[SqliteDatabase], None], ...]] = (_create,)
"""Step N leads from version N to N + 1; playhouse.migrate serves those that change a table."""


def migrate(database: SqliteDatabase, path: Path) -> None:
    """Bring the schema to the newest version, all steps in one transaction; an existing file is backed up first."""
    version = int(database.execute_sql("PRAGMA user_version").fetchone()[0])
    if version > len(STEPS):
        raise SchemaTooNewError(path, version, len(STEPS))
    if version == len(STEPS):
        return
    if version > 0:
        _back_up(database, path.parent / "backups" / f"before-version-{len(STEPS)}.db")
    with database.transaction("IMMEDIATE"):
        for step in STEPS[version:]:
            step(database)
        database.execute_sql(f"PRAGMA user_version = {len(STEPS)}")


def _back_up(database: SqliteDatabase, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    database.execute_sql("VACUUM INTO ?", (str(target),))
