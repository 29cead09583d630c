"""The locks of several writers, as PostgreSQL has them: of rows, and advisory ones; in the order of `locks`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from hashlib import blake2b
from typing import Any, Final

from bgjob.codec import to_json
from bgjobd.core.unique import UniqueKey

_PLACES_LOCK: Final = 0x62676A6F04
"""Advisory, from the first look at a key's places to the commit: the log's orders all commits behind it anyhow."""

_ADVISORY: Final = "SELECT pg_advisory_xact_lock(hash) FROM unnest(?::bigint[]) AS hashes (hash)"
_JOBS: Final = """
    SELECT id FROM background_jobs WHERE id IN (SELECT value FROM json_each(:ids))
    ORDER BY id FOR NO KEY UPDATE OF background_jobs
"""
_SCHEDULES: Final = """
    SELECT name FROM schedules WHERE name IN (SELECT value FROM json_each(:names))
    ORDER BY name FOR NO KEY UPDATE OF schedules
"""
_GROUPS: Final = """
    SELECT id FROM job_groups WHERE id IN (SELECT value FROM json_each(:ids))
    ORDER BY id DESC FOR NO KEY UPDATE OF job_groups
"""
_MAKE_BUCKETS: Final = """
    INSERT INTO rates (scope, full_at) SELECT value, 0 FROM json_each(:scopes) ORDER BY value ON CONFLICT DO NOTHING
"""
_BUCKETS: Final = """
    SELECT scope FROM rates WHERE scope IN (SELECT value FROM json_each(:scopes))
    ORDER BY scope FOR NO KEY UPDATE OF rates
"""


class PostgresLocks:
    """`execute` runs a statement in the transaction that is open."""

    are_needed: Final = True

    def __init__(self, execute: Callable[..., Any]) -> None:
        self._execute = execute

    def unique_keys(self, keys: Iterable[UniqueKey]) -> None:
        hashes = sorted({_hash_of(key) for key in keys})
        if hashes:
            self._execute(_ADVISORY, (hashes,))

    def jobs(self, ids: Collection[int]) -> None:
        if ids:
            self._execute(_JOBS, {"ids": to_json(list(ids))})

    def free_jobs(self, ids: Sequence[int]) -> Sequence[int]:
        found = self._execute(f"{_JOBS} SKIP LOCKED", {"ids": to_json(list(ids))}).fetchall() if ids else []
        return [id for (id,) in found]

    def schedules(self, names: Collection[str]) -> None:
        if names:
            self._execute(_SCHEDULES, {"names": to_json(list(names))})

    def groups(self, ids: Collection[int]) -> None:
        if ids:
            self._execute(_GROUPS, {"ids": to_json(list(ids))})

    def is_group_free(self, id: int) -> bool:
        return bool(self._execute(f"{_GROUPS} SKIP LOCKED", {"ids": to_json([id])}).fetchall())

    def places(self) -> None:
        self._execute(f"SELECT pg_advisory_xact_lock({_PLACES_LOCK})")

    def buckets(self, scopes: Collection[str]) -> None:
        if scopes:
            asked = {"scopes": to_json(list(scopes))}
            self._execute(_MAKE_BUCKETS, asked)
            self._execute(_BUCKETS, asked)


def _hash_of(key: UniqueKey) -> int:
    digest = blake2b(to_json(list(key)).encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
