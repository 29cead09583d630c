"""Pages of a job's attempts."""

from __future__ import annotations

from typing import Any, Final

from bgjob.codec import JsonObject
from bgjob.words import INT_MAX
from bgjobd.core.traces import span_of
from bgjobd.store.engines import Connection
from bgjobd.store.pages.page import Found, Page
from bgjobd.store.rows import parsed
from bgjobd.store.statements.of_attempts import named_host

ATTEMPT_COLUMNS: Final = (
    *("job_id", "number", "pid", "started_at", "finished_at", "outcome", "exit_code", "signal"),
    *("error_type", "error_message", "traceback", "max_rss", "cpu_user", "cpu_system", "output_bytes"),
    *("code_version", "progress", "spends_retry", "error_class", "error_group", "waited", "token", "host"),
)
_ATTEMPTS: Final = f"""
    SELECT {", ".join(ATTEMPT_COLUMNS[:-1])}, {named_host("job_attempts")} FROM job_attempts
    WHERE job_id = :id AND number < :before ORDER BY number DESC LIMIT :limit
"""


def page_of_attempts(connection: Connection, job_id: int, before: int | None, limit: int | None) -> Page:
    """The job's latest attempts of smaller numbers than `before`, the latest last; without a limit all that fit."""
    most = INT_MAX - 1 if limit is None else limit
    found = Found(most)
    start = INT_MAX if before is None else before
    for row in connection.execute(_ATTEMPTS, {"id": job_id, "before": start, "limit": most + 1}):
        found.add(row)
        if found.is_full:
            break
    rows = found.rows[:-1] if found.is_full else found.rows
    shown = [attempt_of(row) for row in reversed(rows)]
    return Page(shown, shown[0]["number"] if found.is_full else None)


def attempt_of(row: tuple[Any, ...]) -> JsonObject:
    """An attempt as it is shown, of the row's values: its token as the `span` that stands for it."""
    attempt = dict(zip(ATTEMPT_COLUMNS, row, strict=True))
    span = span_of(attempt.pop("token"))
    told = {"progress": parsed(attempt["progress"]), "spends_retry": bool(attempt["spends_retry"])}
    return attempt | told | {"span": span}
