"""What is one error, whichever jobs meet it: its row, told by the ends of attempts; within the ledger's transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from bgjobd.core.fingerprint import BACK_AFTER, MOST_ERRORS, MOST_NAMES, other_of
from bgjobd.core.job import AttemptKey
from bgjobd.host.clock import to_text
from bgjobd.store.batch import Batch, Met
from bgjobd.store.committed import TrimmedErrors
from bgjobd.store.engines import Execute
from bgjobd.store.items.retention import ErrorTrimming
from bgjobd.store.rows import checked
from bgjobd.store.sql_functions import held
from bgjobd.store.written import Kind, Row

_AT_ONCE: Final = 500
"""How many rows one item deletes at most."""

SELECT_KNOWN: Final = """
    SELECT fingerprint, id FROM error_groups WHERE fingerprint IN (SELECT value FROM json_each(:fingerprints))
"""
COUNT_NAMED: Final = """
    SELECT count(*) FROM (
        SELECT 1 FROM error_groups INDEXED BY errors_named WHERE class_name = :class_name AND is_named = 1 LIMIT :most)
"""
SELECT_CODES: Final = """
    SELECT a.job_id, a.number, a.code_version FROM json_each(:attempts) AS wanted CROSS JOIN job_attempts AS a
    ON a.job_id = json_extract(wanted.value, '$[0]') AND a.number = json_extract(wanted.value, '$[1]')
"""
MEET_AGAIN: Final = """
    UPDATE error_groups SET message = :message, line = :line, last_at = :now, last_job = :last_job,
        last_attempt = :last_attempt, last_version = :last_version, attempts = attempts + :attempts,
        failed = failed + :failed, back_at = CASE WHEN last_at < :silent_since THEN :now ELSE back_at END
    WHERE fingerprint = :fingerprint
"""
MEET_FIRST: Final = """
    INSERT INTO error_groups (fingerprint, outcome, error_type, message, place, line, class_name, is_named, name,
        first_at, first_job, first_version, last_at, last_job, last_attempt, last_version, attempts, failed)
    VALUES (:fingerprint, :outcome, :error_type, :message, :place, :line, :class_name, :is_named, :name,
        :now, :first_job, :first_version, :now, :last_job, :last_attempt, :last_version, :attempts, :failed)
    ON CONFLICT (fingerprint) DO UPDATE SET
        message = excluded.message, line = excluded.line, last_at = excluded.last_at, last_job = excluded.last_job,
        last_attempt = excluded.last_attempt, last_version = excluded.last_version,
        attempts = error_groups.attempts + excluded.attempts, failed = error_groups.failed + excluded.failed
"""
"""Where another host has met it first, just now. What is known has a statement without ids of its own: each would leave
a gap.
"""

TELL_ATTEMPT: Final = """
    UPDATE job_attempts SET error_group = :error_group WHERE job_id = :job_id AND number = :number
"""
COUNT_FAILED: Final = """
    UPDATE error_groups SET failed = failed + 1
    WHERE id = (SELECT error_group FROM job_attempts WHERE job_id = :job_id AND number = :number)
"""
COUNT_ALL: Final = "SELECT count(*) FROM error_groups"
_OLDEST: Final = "SELECT id FROM error_groups INDEXED BY errors_by_time ORDER BY last_at, id LIMIT :count"
_SILENT: Final = """
    SELECT id FROM error_groups INDEXED BY errors_by_time WHERE last_at < :before ORDER BY last_at, id LIMIT :count
"""
FORGET_OLDEST: Final = f"DELETE FROM error_groups WHERE id IN ({_OLDEST})"
FORGET_SILENT: Final = f"DELETE FROM error_groups WHERE id IN ({_SILENT})"
FORGET_COUNTS_OF_OLDEST: Final = f"DELETE FROM error_tallies WHERE error_group IN ({_OLDEST})"
FORGET_COUNTS_OF_SILENT: Final = f"DELETE FROM error_tallies WHERE error_group IN ({_SILENT})"

OLDEST: Final = "SELECT min(last_at) FROM error_groups"


def record(execute: Execute, executemany: Execute, batch: Batch) -> None:
    """Write which errors have ended attempts in this transaction: a row each, however often it was met."""
    asked = _ask_known(execute, {met.error.fingerprint for met in batch.errors})
    codes = codes_of(execute, [(one.job_id, one.number) for one in batch.errors])
    known = dict(asked.fetchall())
    met_by = _within_bounds(execute, batch.errors, known)
    is_new = met_by.keys() - known.keys()
    for statement, wanted in ((MEET_AGAIN, met_by.keys() - is_new), (MEET_FIRST, is_new)):
        # In one order, whoever else writes: rows are locked as they are met.
        executemany(statement, [_row(met_by[one], codes, batch.now) for one in sorted(wanted)])
    if is_new:
        asked = _ask_known(execute, is_new)
        _forget_oldest(execute)  # which these are not
        known |= dict(asked.fetchall())
    rows = [
        {"error_group": known[fingerprint], "job_id": met.job_id, "number": met.number}
        for fingerprint, each in met_by.items()
        for met in each
        if fingerprint in known
    ]
    executemany(TELL_ATTEMPT, rows)
    batch.written.append({Kind.ERROR_OF_ATTEMPT: rows})
    batch.met += [
        (known[fingerprint], (one.job_id, one.number), one.has_failed)
        for fingerprint, each in met_by.items()
        for one in each
        if fingerprint in known
    ]
    batch.errors.clear()


def _ask_known(execute: Execute, fingerprints: Iterable[str]) -> Any:
    """The ids of those of them that are stored."""
    return execute(SELECT_KNOWN, {"fingerprints": json.dumps(sorted(fingerprints))})


def codes_of(execute: Execute, attempts: Sequence[AttemptKey]) -> dict[AttemptKey, str | None]:
    """Of which code these attempts are."""
    found = execute(SELECT_CODES, {"attempts": json.dumps(attempts)}).fetchall()
    return {(job_id, number): code for job_id, number, code in found}


def _within_bounds(execute: Execute, met: Sequence[Met], known: Mapping[str, int]) -> dict[str, list[Met]]:
    """What was met, by which error it is; of a class that has named too many, what is new by that name is another."""
    room: dict[str, int] = {}
    by_error: dict[str, list[Met]] = {}
    for one in met:
        error, class_name = one.error, one.class_name
        if error.name is not None and error.fingerprint not in known and error.fingerprint not in by_error:
            if class_name not in room:
                room[class_name] = MOST_NAMES - _count_named(execute, class_name)
            room[class_name] -= 1
            if room[class_name] < 0:
                error = other_of(error, class_name)
        by_error.setdefault(error.fingerprint, []).append(one._replace(error=error))
    return by_error


def _count_named(execute: Execute, class_name: str) -> int:
    return int(execute(COUNT_NAMED, {"class_name": class_name, "most": MOST_NAMES}).fetchone()[0])


def _row(met: Sequence[Met], codes: Mapping[AttemptKey, str | None], now: float) -> Row:
    first, last = met[0], met[-1]
    shown: dict[str, Any] = last.error._asdict()
    return checked(
        shown
        | {
            "class_name": first.class_name,
            "is_named": last.error.name is not None,
            "now": to_text(now),
            "silent_since": to_text(held(now - BACK_AFTER)),
            "first_job": first.job_id,
            "first_version": codes.get((first.job_id, first.number)),
            "last_job": last.job_id,
            "last_attempt": last.number,
            "last_version": codes.get((last.job_id, last.number)),
            "attempts": len(met),
            "failed": sum(one.has_failed for one in met),
        }
    )


def _forget_oldest(execute: Execute) -> None:
    """Keep no more than there may be: those that were seen last."""
    excess = execute(COUNT_ALL).fetchone()[0] - MOST_ERRORS
    if excess > 0:
        execute(FORGET_COUNTS_OF_OLDEST, {"count": excess})
        execute(FORGET_OLDEST, {"count": excess})


def trim(execute: Execute, trimming: ErrorTrimming) -> TrimmedErrors:
    """Forget some that nobody has met for long."""
    given = {"before": to_text(held(trimming.before)), "count": _AT_ONCE}
    execute(FORGET_COUNTS_OF_SILENT, given)
    gone = int(execute(FORGET_SILENT, given).rowcount)
    return TrimmedErrors(gone, has_more=gone == _AT_ONCE)
