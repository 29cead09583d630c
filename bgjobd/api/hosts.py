"""The methods of org.bgjobd.Jobs about the hosts that work from the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bgjob import __version__
from bgjob.codec import JsonObject
from bgjob.errors import HostGoneError, HostNotFoundError, InvalidParameterError
from bgjobd.api import schemas
from bgjobd.api.peer import Caller
from bgjobd.api.who_asked import say_who, who
from bgjobd.host.clock import to_text

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon

_COLUMNS: Final = (
    *("name", "id", "term", "seen_at", "unseen_for", "lost_after", "slots", "queues", "classes", "running"),
    *("version", "code_version", "clock_difference", "trouble", "left_at", "lost_at", "drained_at"),
)


async def hosts(daemon: Daemon, given: schemas.Nothing, caller: Caller) -> JsonObject:
    async with caller.turn:
        return {"hosts": await _hosts(daemon)}


async def _hosts(daemon: Daemon) -> list[JsonObject]:
    own = daemon.hosts.host_id
    if own is None:
        return [_told(_alone(daemon), own)]
    rows = await daemon.readers.read(lambda reader: reader.hosts.rows())
    for row in rows:
        if row["id"] == own and row["drained_at"] is None:
            row["drained_at"] = daemon.drained_at  # by a signal, of which the database knows nothing
    return [_told(row, own) for row in rows]


async def drain(daemon: Daemon, given: schemas.Drain, caller: Caller) -> JsonObject:
    name = daemon.hosts.name if given.host is None else given.host
    is_there = await daemon.hosts.drain(name, f"uid {caller.uid} at host {daemon.hosts.name}")
    async with caller.turn:
        told = await _hosts(daemon)
    found = [one for one in told if one["name"] == name]
    if not found:
        raise HostNotFoundError(name=name)
    one = found[-1]  # the others of that name came before it
    if not is_there:
        raise HostGoneError(name=name, state=one["state"], seen_at=one["seen_at"])
    say_who(daemon, f"that host {name} drains was", caller)
    return {"host": name, "running": one["running"], "unseen_for": one["unseen_for"]}


async def host_lost(daemon: Daemon, given: schemas.HostName, caller: Caller) -> JsonObject:
    if daemon.hosts.host_id is None or given.name == daemon.hosts.name:
        raise InvalidParameterError(parameter="name")
    say_who(daemon, f"that host {given.name} counts as lost was", caller)
    if not await daemon.hosts.declare(given.name, who(daemon, caller)):
        raise InvalidParameterError(parameter="name")
    return {}


async def host_accept(daemon: Daemon, given: schemas.Nothing, caller: Caller) -> JsonObject:
    is_accepted = await daemon.hosts.on_accept()
    if is_accepted:
        say_who(daemon, "that the database is as it is was", caller)
    return {"accepted": is_accepted}


def _told(row: dict[str, Any], own: int | None) -> JsonObject:
    return {name: row[name] for name in _COLUMNS} | {"is_own": row["id"] == own, "state": _state(row)}


def _state(row: dict[str, Any]) -> str:
    if row["lost_at"] is not None:
        return "lost"
    if row["left_at"] is not None:
        return "left"
    return "alive" if row["drained_at"] is None else "draining"


def _alone(daemon: Daemon) -> dict[str, Any]:
    """This host, whose database nobody else has."""
    profile = daemon.hosts.profile()
    return dict.fromkeys(_COLUMNS) | {
        "name": daemon.hosts.name,
        "seen_at": to_text(daemon.clock.now()),
        "unseen_for": 0.0,
        "slots": profile.slots,
        "queues": list(profile.queues),
        "classes": list(profile.classes),
        "running": len(daemon.supervisor.attempts),
        "version": __version__,
        "code_version": profile.code_version,
        "trouble": profile.trouble,
        "drained_at": daemon.drained_at,
    }
