"""Whether a daemon could work from the database that it is configured for, and with whom; changes nothing there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bgjobd.commands.findings import Finding, broken, doubtful, ok, remark
from bgjobd.config.sections import Config
from bgjobd.config.shared_rules import shared_rules
from bgjobd.daemon.schedule_definitions import definition_of
from bgjobd.store.database import UnusableDatabaseError, check_log
from bgjobd.store.engines import sqlite
from bgjobd.store.engines.places import place_of
from bgjobd.store.migrations import STEPS
from bgjobd.store.server_look import KnownHost, ServerLook, look

OLDEST: Final = 140000
"""The version of the server that does, as `server_version_num` has it."""

OLDEST_SQLITE: Final = (3, 40, 0)

_OF_A_DAEMON: Final = 4
"""Connections that one has at most."""

_FAR: Final = 0.005
_CLOCKS_APART: Final = 5.0
_OLD_SNAPSHOT: Final = 60.0
_TOO_OLD_SNAPSHOT: Final = 3600.0
"""Seconds: of a round trip, between two clocks, and that a transaction has been open for."""

_REFUSED_BY_POOLER: Final = "unsupported startup parameter"


def findings(config: Config, version: str) -> list[Finding]:
    """What there is to say of the server, or of SQLite where it is a file. `version` is that of this bgjobd."""
    try:
        place = place_of(config.daemon)
        if isinstance(place, Path):
            check_log(place)
            return list(_sqlite(sqlite.VERSION))
        return judge(look(place), config, version)
    except UnusableDatabaseError as error:
        if _REFUSED_BY_POOLER in str(error):
            return [broken(f"database: {_POOLER.format(error)}")]
        return [broken(f"database: {error}")]


def _sqlite(version: tuple[int, ...]) -> Iterator[Finding]:
    if version < OLDEST_SQLITE:
        here, oldest = (".".join(map(str, one)) for one in (version, OLDEST_SQLITE[:2]))
        told = f"SQLite is {here} here, and {oldest} is the oldest that is tested"
        yield doubtful(f"database: {told}; take a Python that has a newer one")


def judge(seen: ServerLook, config: Config, version: str) -> list[Finding]:
    """What a look comes to."""
    if seen.is_switched:
        return list(_pooler(seen))
    looks: tuple[Callable[[], Iterator[Finding]], ...] = (
        lambda: _server(seen),
        lambda: _pooler(seen),
        lambda: _rights(seen),
        lambda: _submitting(seen, config),
        lambda: _durability(seen),
        lambda: _distance(seen),
        lambda: _connections(seen, config),
        lambda: _snapshot(seen),
        lambda: _hosts(seen, config, version),
    )
    return [finding for one in looks for finding in one()]


def _server(seen: ServerLook) -> Iterator[Finding]:
    told = f"PostgreSQL {seen.version // 10000}"
    if seen.version < OLDEST:
        yield broken(f"database: it is {told}, and 14 is the oldest that will do; upgrade the server")
    elif seen.encoding != "UTF8":
        message = f"database: its encoding is {seen.encoding}, and has to be UTF8"
        yield broken(f"{message}; make another one: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0")
    else:
        schema = f"schema version {seen.schema} of {len(STEPS)}" if seen.schema else "without our tables yet"
        yield ok(f"database: {told}, UTF-8, {schema}, as role {seen.user}")


_POOLER: Final = (
    "a pooler is between that keeps no settings of a session, and so no LISTEN and no locks, as one in transaction "
    "mode ({}); name the server itself in [daemon] database"
)


def _pooler(seen: ServerLook) -> Iterator[Finding]:
    if seen.is_switched:
        yield broken(
            f"database: {_POOLER.format('what was set at the start is not there, or the server process changes')}"
        )
    elif seen.is_relayed:
        message = "database: something speaks for the server (a pooler in session mode, or a proxy)"
        yield remark(f"{message}; each daemon holds {_OF_A_DAEMON} of its connections for good")


def _rights(seen: ServerLook) -> Iterator[Finding]:
    if seen.of_others:
        names = ", ".join(seen.of_others[:3]) + (", …" if len(seen.of_others) > 3 else "")
        message = f"database: role {seen.user} does not own all tables of schema bgjobd ({names})"
        yield broken(f"{message}; a start could not change them: ALTER TABLE … OWNER TO, or GRANT that role")
    if not seen.can_make:
        if seen.schema:
            yield broken(
                f"database: role {seen.user} may make no tables in schema bgjobd; "
                f"GRANT CREATE, USAGE ON SCHEMA bgjobd TO {seen.user}"
            )
        else:
            yield broken(
                f"database: role {seen.user} may make no schema; CREATE SCHEMA bgjobd AUTHORIZATION {seen.user}"
            )


def _submitting(seen: ServerLook, config: Config) -> Iterator[Finding]:
    """Whether those roles may call the function that the configuration lets submit by it."""
    if config.access.roles and not seen.may_submit:
        message = "database: no role may call bgjobd.submit, for this one may make none"
        yield doubtful(f"{message}; {_GRANTS}")


_GRANTS: Final = (
    "CREATE ROLE bgjobd_submitter; GRANT USAGE ON SCHEMA bgjobd TO bgjobd_submitter; "
    "GRANT EXECUTE ON FUNCTION bgjobd.submit TO bgjobd_submitter; and grant that to the application's"
)

_LOST: Final = {
    "fsync": "fsync is off: a crash of the server's machine may damage the database, with all jobs",
    "full_page_writes": "full_page_writes is off: a crash of the server's machine may damage the database",
    "synchronous_commit": "synchronous_commit is off: a crash of the server forgets submits that were answered",
}


def _durability(seen: ServerLook) -> Iterator[Finding]:
    for name, told in _LOST.items():
        if seen.settings.get(name) == "off":
            where = f"ALTER ROLE {seen.user} SET" if name == "synchronous_commit" else "ALTER SYSTEM SET"
            yield doubtful(f"database: {told}; {where} {name} = on")


def _distance(seen: ServerLook) -> Iterator[Finding]:
    trip = f"{seen.round_trip * 1000:.1f} ms"
    if seen.round_trip > _FAR:
        message = f"database: a round trip takes {trip}, and a transaction about ten of them"
        yield remark(f"{message}; bring daemon and server nearer to each other, for more jobs a second")
    else:
        yield ok(f"database: a round trip takes {trip}")
    apart = seen.clock_difference
    if abs(apart) > _CLOCKS_APART:
        which = "ahead of" if apart > 0 else "behind"
        message = f"clock: the server's is {abs(apart):.0f} s {which} this machine's"
        yield doubtful(f"{message}; jobs are due by the server's: have both kept right (NTP)")


def _connections(seen: ServerLook, config: Config) -> Iterator[Finding]:
    others = [host for host in seen.hosts if host.lives and host.name != config.hosts.name]
    hosts = len(others) + 1
    needed = hosts * _OF_A_DAEMON
    if needed > seen.connections:
        message = (
            f"database: {hosts} daemons take {needed} connections, and the server has {seen.connections}"
        )
        yield doubtful(f"{message} for all; ALTER SYSTEM SET max_connections to more, and restart the server")


def _snapshot(seen: ServerLook) -> Iterator[Finding]:
    found = seen.snapshot
    if found is None or found.seconds < _OLD_SNAPSHOT:
        return
    message = (
        f"database: process {found.pid} ({found.whose}) has had a transaction for {found.seconds:,.0f} s"
    )
    more = "what is dead since stays, and each claim walks over it"
    told = f"{message}: {more}; end it: SELECT pg_terminate_backend({found.pid})"
    yield remark(told) if found.seconds < _TOO_OLD_SNAPSHOT else doubtful(told)


def _hosts(seen: ServerLook, config: Config, version: str) -> Iterator[Finding]:
    own = _own_uuid(config.daemon.state_dir)
    others = [host for host in seen.hosts if host.uuid != own and not host.has_left]
    for host in others:
        yield from _of_host(host, config, version)
    yield from _apart(seen, [host for host in others if host.lives], config)
    for queue in sorted(config.queues):
        sharing = [host.name for host in others if host.lives and queue in _queues(host)]
        if sharing:
            yield ok(f"hosts: queue {queue} is shared with {', '.join(sharing)}")


def _of_host(host: KnownHost, config: Config, version: str) -> Iterator[Finding]:
    if host.name == config.hosts.name and host.lives:
        message = f"hosts: another one is called {host.name}, and said {host.away:.0f} s ago that it lives"
        yield broken(f"{message}; stop it, or set [hosts] name")
    elif not host.lives:
        message = f"hosts: {host.name} has not been seen for {host.away:,.0f} s, and did not leave"
        yield remark(f"{message}; another that lives takes over what it ran")
    elif host.version != version:
        message = f"hosts: {host.name} runs bgjobd {host.version}, and this is {version}"
        yield remark(f"{message}; bring all to the same")
    else:
        yield ok(f"hosts: {host.name} lives, with bgjobd {host.version}")


def _apart(seen: ServerLook, others: list[KnownHost], config: Config) -> Iterator[Finding]:
    """What these say otherwise than this configuration, and should not."""
    own = shared_rules(config)
    for host in others:
        for key, theirs in sorted(_rules(host).items()):
            if own.get(key, theirs) != theirs:
                message = f"hosts: {key} is {theirs} at {host.name}, and {own[key]} here"
                yield remark(f"{message}; each goes by its own: bring all to the same, and reload them")
    names = {host.uuid: host.name for host in others}
    for name, definition, uuid in seen.schedules:
        schedule = config.schedules.get(name)
        if uuid in names and schedule is not None and definition_of(schedule) != definition:
            message = f"hosts: {names[uuid]} has set schedule {name} otherwise"
            more = f"the next start or reload here sets this one, of which {names[uuid]} then makes no jobs"
            yield remark(f"{message}; {more}: bring both to the same")


def _rules(host: KnownHost) -> dict[str, str]:
    try:
        return dict(json.loads(host.rules or "{}"))
    except (ValueError, TypeError):
        return {}


def _queues(host: KnownHost) -> frozenset[str]:
    try:
        return frozenset(json.loads(host.queues))
    except (ValueError, TypeError):
        return frozenset()


def _own_uuid(state_dir: Path) -> str | None:
    """By which this state directory is known among the hosts; None where no daemon has given it one."""
    try:
        told = json.loads((state_dir / "host.json").read_text(encoding="utf-8"))
        return str(told["uuid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
