"""Which host is to call the hook that a failed job is owed, so that of several one does, once; of SQLite's one host
nothing of it is written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from bgjobd.core.job import AttemptKey, Job
from bgjobd.host.clock import to_text
from bgjobd.store.batch import Batch, Overlay
from bgjobd.store.engines import Execute
from bgjobd.store.written import Kind

OWE: Final = "UPDATE job_attempts SET hook_host = :host WHERE job_id = :job_id AND number = :number"

_IS_OWED: Final = "hook_host = :host AND hook_host IS NOT NULL AND hook_called_at IS NULL"
SELECT_OWED: Final = f"SELECT job_id, number FROM job_attempts WHERE {_IS_OWED} ORDER BY job_id, number"
_BEGIN: Final = """
    UPDATE job_attempts SET hook_host = :host, hook_called_at = coalesce(hook_called_at, :now)
    WHERE job_id = :job_id AND number = :number AND (hook_host IS NULL OR hook_host = :host)
"""
_SELECT_OF_CLASSES: Final = """
    SELECT a.job_id, a.number FROM job_attempts AS a JOIN background_jobs AS j ON j.id = a.job_id
    WHERE a.hook_host = :host AND a.hook_host IS NOT NULL AND a.hook_called_at IS NULL
        AND j.class_name IN (SELECT value FROM json_each(:classes))
    ORDER BY a.job_id, a.number LIMIT :count
"""


def owe(job: Job, overlay: Overlay) -> None:
    """The job has failed for good: its hook, where its class may have one, is this host's to call."""
    batch = overlay.batch
    if batch.host is not None and job.class_name not in batch.hookless:
        row = {"job_id": job.id, "number": job.attempt, "host": batch.host.host}
        overlay.write(Kind.OWED_HOOK, row)


def begin(execute: Execute, key: AttemptKey, batch: Batch) -> bool:
    """Whether this host may call it: from now on no other does, whatever becomes of this one."""
    given = {"job_id": key[0], "number": key[1], "host": batch.host_id, "now": to_text(batch.now)}
    return bool(execute(_BEGIN, given).rowcount == 1)


def take_over(
    execute: Execute, host: int, classes: Sequence[str], count: int, own: int | None
) -> tuple[AttemptKey, ...]:
    """Some of those of a lost host that it had not begun to call, of these classes, which are this host's by now."""
    given = {"host": host, "classes": json.dumps(classes), "count": count}
    keys = tuple([(job_id, number) for job_id, number in execute(_SELECT_OF_CLASSES, given).fetchall()])
    for job_id, number in keys:
        execute(OWE, {"job_id": job_id, "number": number, "host": own})
    return keys


def are_owed(execute: Execute, host: int) -> bool:
    """Whether a host has some left that it has not begun to call."""
    return execute(f"{SELECT_OWED} LIMIT 1", {"host": host}).fetchone() is not None
