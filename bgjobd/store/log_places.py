"""Where in the log a time is, and which entries tell more than that a job goes its way."""

from __future__ import annotations

from typing import Final

from bgjob.log_words import AT_PROGRESS, DISPATCHED, INITIATED, STARTED
from bgjobd.store.engines import Connection

IS_SAID: Final = f"""
    NOT (l.type = 'success' AND (l.message IN ('{DISPATCHED}', '{STARTED}')
        OR substr(l.message, 1, {len(INITIATED)}) = '{INITIATED}'))
    AND NOT (l.type = 'info' AND substr(l.message, 1, {len(AT_PROGRESS)}) = '{AT_PROGRESS}'
        AND instr('0123456789', substr(l.message, {len(AT_PROGRESS) + 1}, 1)) > 0)
"""
"""As log_words.is_said()."""

_FIRST: Final = "SELECT id FROM job_logs ORDER BY id LIMIT 1"
_LAST: Final = "SELECT id FROM job_logs ORDER BY id DESC LIMIT 1"
_NEXT: Final = "SELECT id, created_at FROM job_logs WHERE id >= :from AND id <= :until ORDER BY id LIMIT 1"


def id_at(connection: Connection, at: str) -> int:
    """The id up to which the log had got at this stored instant; what was told late stands where it was told.

    Found by halves: times nearly grow with ids.
    """
    first, last = connection.execute(_FIRST).fetchone(), connection.execute(_LAST).fetchone()
    if first is None or last is None:
        return 0
    known, until = int(first[0]) - 1, int(last[0])
    while known < until:
        middle = (known + until + 1) // 2
        row = connection.execute(_NEXT, {"from": middle, "until": until}).fetchone()
        if row is not None and row[1] <= at:
            known = int(row[0])
        else:
            until = middle - 1
    return known
