"""Reads how the keys of a queue stand, for callers: in pages by key, each key at the cost of a few looks at indexes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from typing import Final

from bgjob.codec import JsonObject
from bgjob.words import MOST_OF_KEY
from bgjobd.core.case_folding import fold, needle
from bgjobd.store.written import BEHIND

_KINDS: Final = {
    "running": ("jobs_key_running", "status = 'running' AND key IS NOT NULL"),
    "ready": ("jobs_key_ready", "status = 'pending' AND ready = 1 AND key IS NOT NULL"),
    "behind": ("jobs_behind", f"status = 'pending' AND ready = {BEHIND}"),
}
"""How jobs of a key stand, each with the index that has those alone, by queue and key."""


def _jobs(kind: str) -> str:
    index, condition = _KINDS[kind]
    return f"background_jobs INDEXED BY {index} WHERE {condition} AND queue = :queue"


_NEXT_OF_KIND: Final = "SELECT key FROM (SELECT key FROM {jobs} AND key > :after ORDER BY key LIMIT 1)"
_COUNT: Final = "(SELECT count(*) FROM (SELECT 1 FROM {jobs} AND key = :key LIMIT :most))"
SELECT_NEXT: Final = (
    f"SELECT min(key) FROM ({' UNION ALL '.join(_NEXT_OF_KIND.format(jobs=_jobs(kind)) for kind in _KINDS)})"
)
SELECT_STATE: Final = f"""
    SELECT {", ".join(_COUNT.format(jobs=_jobs(kind)) for kind in _KINDS)},
        (SELECT waits_until FROM {_jobs("behind")} AND key = :key ORDER BY priority DESC, turn, id LIMIT 1)
"""


def page(
    connection: sqlite3.Connection, queue: str, search: str | None, after: str, limit: int, budget: float
) -> tuple[list[JsonObject], str | None]:
    """The keys behind `after` of jobs that run, are ready or behind, in their order, each with how many of these do,
    and when the first behind may start by its rate; and the key to go on behind, None at the end.

    At most `budget` seconds are spent looking, after which there may be fewer than `limit`.
    """
    deadline, looked_for = time.monotonic() + budget, needle(search or "")
    found: list[JsonObject] = []
    for number, key in enumerate(_keys(connection, queue, after)):
        if len(found) == limit or (number and time.monotonic() > deadline):
            return found, after
        after = key
        if looked_for in fold(key):
            found.append(_state(connection, queue, key))
    return found, None


def _keys(connection: sqlite3.Connection, queue: str, after: str) -> Iterator[str]:
    while True:
        (key,) = connection.execute(SELECT_NEXT, {"queue": queue, "after": after}).fetchone()
        if key is None:
            return
        yield key
        after = key


def _state(connection: sqlite3.Connection, queue: str, key: str) -> JsonObject:
    given = {"queue": queue, "key": key, "most": MOST_OF_KEY}
    running, ready, behind, next_at = connection.execute(SELECT_STATE, given).fetchone()
    return {"key": key, "running": running, "ready": ready, "behind": behind, "next_at": next_at}
