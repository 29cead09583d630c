"""The methods of org.bgjobd.Jobs about alerts: what was told of what needs somebody, and who has taken it up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bgjob.codec import JsonObject
from bgjob.errors import AlertNotFoundError, InvalidParameterError
from bgjob.words import INT_MAX
from bgjobd.api import schemas
from bgjobd.api.peer import Caller
from bgjobd.api.who_asked import say_who
from bgjobd.store.items.alerts import AlertAcknowledged, AlertsMuted

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon

_PAGE: Final = 50


async def alerts(daemon: Daemon, given: schemas.Alerts, caller: Caller) -> JsonObject:
    limit, before = given.limit or _PAGE, given.before or INT_MAX
    async with caller.turn:
        found = await daemon.readers.read(
            lambda reader: reader.needs.alerts(bool(given.open), before, limit + 1)
        )
    return {"alerts": list(found[:limit]), "next": found[limit - 1]["id"] if len(found) > limit else None}


async def acknowledge(daemon: Daemon, given: schemas.AlertId, caller: Caller) -> JsonObject:
    if not await daemon.record(AlertAcknowledged(given.id, caller.uid)):
        raise AlertNotFoundError(id=given.id)
    say_who(daemon, f"that alert {given.id} is taken up was", caller)
    return {}


async def mute(daemon: Daemon, given: schemas.MuteAlerts, caller: Caller) -> JsonObject:
    if given.rule not in {watch.name for watch in daemon.config.alerts.watches}:
        raise InvalidParameterError(parameter="rule")
    until = daemon.clock.now() + given.seconds
    await daemon.record(AlertsMuted(given.rule, until, caller.uid))
    are = f"mute for {given.seconds:g} s" if given.seconds else "told again"
    say_who(daemon, f"that alerts of {given.rule} are {are} was", caller)
    daemon.alerts.wake()
    return {}


async def test(daemon: Daemon, given: schemas.TestAlerts, caller: Caller) -> JsonObject:
    ids = await daemon.alerts.test(given.rule)
    if ids is None:
        raise InvalidParameterError(parameter="rule")
    say_who(daemon, "a test of alerts was", caller)
    return {"ids": list(ids)}
