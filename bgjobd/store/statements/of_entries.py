"""Statements that store log entries."""

from __future__ import annotations

from typing import Final

from peewee import SQL, fn

from bgjobd.store.models.jobs import JobLog
from bgjobd.store.statements.compiled import compiled, insert, insert_each

INSERT_LOG: Final = insert(JobLog)
_OF_BULK_ENTRIES: Final = {
    "id": ":id + key",
    "job_id": ":job_id + key",
    "context": """'{"id":' || (:job_id + key) || :rest || value || '}'""",  # as snapshots.snapshot_of
}
TYPED_INSERT_BULK_ENTRIES: Final = insert_each(JobLog, "shown", _OF_BULK_ENTRIES, is_typed=True)
INSERT_BULK_ENTRIES: Final = insert_each(JobLog, "shown", _OF_BULK_ENTRIES)
SELECT_LAST_LOG_ID: Final = compiled(JobLog.select(fn.COALESCE(fn.MAX(JobLog.id), SQL("0"))))
