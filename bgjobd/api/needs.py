"""The method of org.bgjobd.Jobs about what waits for somebody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgjob.codec import JsonObject
from bgjobd.api.peer import Caller
from bgjobd.api.schemas import Nothing
from bgjobd.core.need_kinds import MOST, Need
from bgjobd.core.needs import most_of
from bgjobd.host.clock import to_text

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon


async def needs(daemon: Daemon, given: Nothing, caller: Caller) -> JsonObject:
    async with caller.turn:
        found = await daemon.needs.look()
    told = most_of(found, MOST)
    return {"needs": [_told(one) for one in told], "more": len(found) - len(told)}


def _told(need: Need) -> JsonObject:
    return {
        "kind": need.kind,
        "subject": need.subject,
        "since": to_text(need.since),
        "sentence": need.sentence,
        "hint": need.hint,
    }
