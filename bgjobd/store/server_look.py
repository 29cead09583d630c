"""What a server of PostgreSQL says of itself, and of who else works from its database; for who checks it from outside.

Looks on connections that cannot write. What it means is judged elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final

from bgjobd.host.clock import from_text
from bgjobd.store.engines import Engine, OldSnapshot
from bgjobd.store.engines.postgres_inbox import SUBMITTER
from bgjobd.store.engines.postgres_snapshots import OLDEST_SNAPSHOT
from bgjobd.store.engines.sqlite import errors_named

Ask = Callable[[str], Any]
"""Runs a statement of PostgreSQL's own; answers a cursor."""

_TRIPS: Final = 5
_WITH_HOSTS: Final = 18
"""The first version of the schema that knows of hosts."""


@dataclass(frozen=True, slots=True)
class KnownHost:
    """A host that the database knows: `away` seconds ago, by the server's clock, it said last that it lives. `queues`
    and `rules` are JSON; `rules` is None of one that is too old to tell.
    """

    uuid: str
    name: str
    version: str
    queues: str
    away: float
    lost_after: float | None
    has_left: bool
    rules: str | None = None

    @property
    def lives(self) -> bool:
        """As far as the database can tell."""
        return not self.has_left and (self.lost_after is None or self.away < self.lost_after)


@dataclass(frozen=True, slots=True)
class ServerLook:
    """One look. `version` as `server_version_num`; `schema` that of the tables, 0: none are there.

    `is_switched`: another backend answered within one session, as a pooler in transaction mode does it; `is_relayed`:
    something is between that speaks for the server. `can_make`: the schema, or tables in it; `of_others` are tables
    that another role owns. `settings` by their names; `round_trip` and `clock_difference`, by which the server's clock
    is ahead, in seconds; `connections` as many as roles without privileges may have in all. `may_submit`: there is the
    role that may call the function `submit`, and it may. `schedules` of configurations: name, definition, and the uuid
    of the host that has set it.
    """

    version: int
    encoding: str
    user: str
    is_switched: bool = False
    is_relayed: bool = False
    can_make: bool = True
    of_others: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    round_trip: float = 0.0
    clock_difference: float = 0.0
    connections: int = 0
    may_submit: bool = True
    schema: int = 0
    hosts: tuple[KnownHost, ...] = ()
    schedules: tuple[tuple[str, str, str], ...] = ()
    snapshot: OldSnapshot | None = None


def look(engine: Engine) -> ServerLook:
    """What there is to see now. Raises UnusableDatabaseError."""
    with (
        errors_named(engine),
        closing(engine.open_for_reading(is_patient=True)) as database,
        closing(engine.open_for_reading()) as other,
    ):
        ask: Ask = database.connection().run
        version, encoding, user, connections = ask(_SERVER).fetchone()
        is_switched, is_relayed = _what_is_between(database.connection(), other.connection())
        if is_switched:
            # What else it says varies.
            return ServerLook(version, encoding, user, is_switched=True, is_relayed=True)
        round_trip, clock_difference = _distance(ask)
        can_make, of_others = ask(_RIGHTS).fetchone()
        schema = engine.version(database)
        return ServerLook(
            version=version,
            encoding=encoding,
            user=user,
            is_switched=is_switched,
            is_relayed=is_relayed,
            can_make=bool(can_make),
            of_others=tuple(of_others.split()),
            settings=dict(ask(_DURABILITY).fetchall()),
            round_trip=round_trip,
            clock_difference=clock_difference,
            connections=connections,
            may_submit=schema < _WITH_HOSTS or bool(ask(_MAY_SUBMIT).fetchone()[0]),
            schema=schema,
            hosts=known_hosts(ask) if schema >= _WITH_HOSTS else (),
            schedules=_schedules(ask) if schema >= _WITH_HOSTS else (),
            snapshot=_snapshot(ask),
        )


def known_hosts(ask: Ask) -> tuple[KnownHost, ...]:
    """All that ever worked from the database, by their names."""
    (now,) = ask(_CLOCK).fetchone()
    return tuple(
        KnownHost(uuid, name, version, queues, now - from_text(seen_at), lost_after, bool(has_left), rules)
        for uuid, name, version, queues, seen_at, lost_after, has_left, rules in ask(_HOSTS).fetchall()
    )


def _schedules(ask: Ask) -> tuple[tuple[str, str, str], ...]:
    """None for a role that may not read them, of which more is told elsewhere."""
    return tuple(ask(_SCHEDULES).fetchall()) if ask(_MAY_READ_SCHEDULES).fetchone()[0] else ()


def _what_is_between(connection: Any, other: Any) -> tuple[bool, bool]:
    """Whether the session changes its backend between transactions, and whether its backend is another than was told.

    A pooler has given the backend that was free to the other one's transaction meanwhile.
    """
    (first,) = connection.run(_BACKEND).fetchone()
    other.run("BEGIN")
    other.run(_BACKEND)
    (second,) = connection.run(_BACKEND).fetchone()
    other.run("COMMIT")
    (path,) = connection.run("SELECT current_setting('search_path')").fetchone()
    return first != second or path != "bgjobd", connection.told_backend() != first


def _distance(ask: Ask) -> tuple[float, float]:
    """The shortest of a few round trips, and by how much the server's clock is ahead of ours then; in seconds."""
    found = []
    for _ in range(_TRIPS):
        before, sent = time.monotonic(), time.time()
        (at,) = ask(_CLOCK).fetchone()
        took = time.monotonic() - before
        found.append((took, at - (sent + took / 2)))
    return min(found)


def _snapshot(ask: Ask) -> OldSnapshot | None:
    found = ask(OLDEST_SNAPSHOT).fetchone()
    return None if found is None else OldSnapshot(*found)


_SERVER: Final = """
    SELECT current_setting('server_version_num')::integer, current_setting('server_encoding'), current_user,
        current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
"""
_BACKEND: Final = "SELECT pg_backend_pid()"
_CLOCK: Final = "SELECT extract(epoch FROM clock_timestamp())::double precision"
_DURABILITY: Final = """
    SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')
"""
_RIGHTS: Final = """
    SELECT CASE WHEN to_regnamespace('bgjobd') IS NULL THEN has_database_privilege(current_database(), 'CREATE')
            ELSE has_schema_privilege('bgjobd', 'CREATE') END,
        coalesce((SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_tables
            WHERE schemaname = 'bgjobd' AND NOT pg_has_role(tableowner, 'USAGE')), '')
"""
_MAY_SUBMIT: Final = f"""
    SELECT coalesce(has_function_privilege(to_regrole('{SUBMITTER}'),
        to_regprocedure('bgjobd.submit(text, text, jsonb, jsonb)'), 'EXECUTE'), false)
"""
_HOSTS: Final = """
    SELECT uuid, name, version, queues, seen_at, lost_after, left_at IS NOT NULL OR lost_at IS NOT NULL,
        to_jsonb(h) ->> 'rules'
    FROM bgjobd.hosts AS h ORDER BY name, id
"""
"""In this way a column is asked for that older tables have not."""
_MAY_READ_SCHEDULES: Final = "SELECT has_table_privilege('bgjobd.schedules', 'SELECT')"
_SCHEDULES: Final = """
    SELECT s.name, s.definition, h.uuid FROM bgjobd.schedules AS s JOIN bgjobd.hosts AS h ON h.id = s.set_by
    WHERE s.removed_at IS NULL AND s.uid IS NULL ORDER BY s.name
"""
