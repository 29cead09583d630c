"""Reads how the keys of a queue stand, for callers: in pages by key, each key at the cost of a few looks at indexes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from heapq import nsmallest
from itertools import islice
from typing import Final

from bgjob.codec import JsonObject
from bgjob.words import MOST_OF_KEY
from bgjobd.core.case_folding import fold, needle
from bgjobd.store.engines import Connection
from bgjobd.store.written import BEHIND

MOST_FIRST: Final = 500
SAMPLED: Final = 200
"""Keys that are looked at to find the busiest, and jobs of each kind that wait, where there are more keys."""

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
SELECT_RUNNING: Final = f"SELECT DISTINCT key FROM {_jobs('running')}"
_IS_WAITING: Final = "status = 'pending' AND finished_at IS NULL AND ready = :ready"
_WAITING: Final = f"background_jobs INDEXED BY jobs_pending WHERE {_IS_WAITING}"
SELECT_SAMPLED: Final = f"""
    WITH RECURSIVE
        ends (first, last) AS (
            SELECT (SELECT id FROM {_WAITING} ORDER BY id LIMIT 1),
                (SELECT id FROM {_WAITING} ORDER BY id DESC LIMIT 1)),
        places (at) AS (
            SELECT first FROM ends
            UNION ALL SELECT at + ((last - first) / :count | 1) FROM places, ends WHERE at < last)
    SELECT j.key FROM places CROSS JOIN background_jobs AS j NOT INDEXED
        ON j.id = (SELECT id FROM {_WAITING} AND id >= places.at ORDER BY id LIMIT 1)
    WHERE j.queue = :queue AND j.key IS NOT NULL
"""


def page(
    connection: Connection, queue: str, search: str | None, after: str, limit: int, budget: float
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


def busiest(connection: Connection, queue: str, limit: int) -> list[JsonObject]:
    """The keys that have most jobs which run, are ready or behind, of these those with most behind; each as in a page.

    All that run are looked at, for there are no more of them than slots, and the first 500 that there are; of more that
    wait those are found that have some of 400 jobs at even distances, as one with a large part of the backlog has.
    """
    found = {key for (key,) in connection.execute(SELECT_RUNNING, {"queue": queue})}
    first = list(islice(_keys(connection, queue, ""), MOST_FIRST))
    found.update(first)
    if len(first) == MOST_FIRST:
        for ready in (1, BEHIND):
            asked = {"queue": queue, "ready": ready, "count": SAMPLED}
            found.update(key for (key,) in connection.execute(SELECT_SAMPLED, asked))
    return nsmallest(limit, (_state(connection, queue, key) for key in found), key=_idleness)


def _idleness(state: JsonObject) -> tuple[int, int, str]:
    return -(state["running"] + state["ready"] + state["behind"]), -state["behind"], state["key"]


def _keys(connection: Connection, queue: str, after: str) -> Iterator[str]:
    while True:
        (key,) = connection.execute(SELECT_NEXT, {"queue": queue, "after": after}).fetchone()
        if key is None:
            return
        yield key
        after = key


def _state(connection: Connection, queue: str, key: str) -> JsonObject:
    given = {"queue": queue, "key": key, "most": MOST_OF_KEY}
    running, ready, behind, next_at = connection.execute(SELECT_STATE, given).fetchone()
    return {"key": key, "running": running, "ready": ready, "behind": behind, "next_at": next_at}
