"""The methods of org.bgjobd.Jobs about the hosts that work from the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bgjob import __version__
from bgjob.codec import JsonObject
from bgjob.errors import InvalidParameterError
from bgjobd.api import schemas
from bgjobd.api.peer import Caller
from bgjobd.api.who_asked import say_who
from bgjobd.host.clock import to_text
from bgjobd.store.reader import Reader

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon

_COLUMNS: Final = (
    *("name", "id", "term", "seen_at", "unseen_for", "lost_after", "slots", "queues", "classes", "running"),
    *("version", "code_version", "clock_difference", "trouble", "left_at", "lost_at"),
)


async def hosts(daemon: Daemon, given: schemas.Nothing, caller: Caller) -> JsonObject:
    own = daemon.hosts.host_id
    if own is None:
        return {"hosts": [_told(_alone(daemon), own)]}
    async with caller.turn:
        return {"hosts": [_told(row, own) for row in await daemon.readers.read(Reader.hosts)]}


async def host_lost(daemon: Daemon, given: schemas.HostName, caller: Caller) -> JsonObject:
    if daemon.hosts.host_id is None or given.name == daemon.hosts.name:
        raise InvalidParameterError(parameter="name")
    say_who(daemon, f"that host {given.name} counts as lost was", caller)
    if not await daemon.hosts.declare(given.name):
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
    return "alive" if row["left_at"] is None else "left"


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
    }
