"""The methods of org.bgjobd.Jobs that hold a class, and let one go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgjob.codec import JsonObject
from bgjob.errors import NotApprovedError
from bgjobd.api.peer import Caller
from bgjobd.api.schemas import ClassName
from bgjobd.api.who_asked import say_who, who
from bgjobd.store.items.holds import ClassHeld, ClassResumed

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon


async def hold_class(daemon: Daemon, given: ClassName, caller: Caller) -> JsonObject:
    if not await _is_known(daemon, given.name):
        raise NotApprovedError(class_name=given.name)
    await daemon.record(ClassHeld(given.name, caller.uid, who(daemon, caller)))
    say_who(daemon, f"hold of class {given.name}", caller)
    return {}


async def resume_class(daemon: Daemon, given: ClassName, caller: Caller) -> JsonObject:
    """One that was approved when it was held may be resumed when it is no more."""
    was_held = await daemon.record(ClassResumed(given.name, who(daemon, caller)))
    if not was_held and not await _is_known(daemon, given.name):
        raise NotApprovedError(class_name=given.name)
    say_who(daemon, f"resume of class {given.name}", caller)
    return {}


async def _is_known(daemon: Daemon, name: str) -> bool:
    """Whether a host has the class, as it is configured there."""
    if name in daemon.config.approved:
        return True
    return any(name in peer.classes for peer in await daemon.peers.look())
