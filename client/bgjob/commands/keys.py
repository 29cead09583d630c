"""The keys that the jobs of a queue share: `bgjob keys`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bgjob import text
from bgjob.client import Client
from bgjob.commands import pages, screen, tables
from bgjob.commands.problems import OK
from bgjob.commands.tables import Column, Cut
from bgjob.words import MOST_OF_KEY

_MOST: Final = 10_000
"""Keys that are looked through for the busiest: half a second's work of a daemon."""


def keys(client: Client, given: argparse.Namespace) -> int:
    """Show the keys of a queue's jobs that run or wait for a slot, the busiest first, and how many are behind each."""
    found, following = _looked_through(client, given.queue, given.search)
    busiest = sorted(found, key=_idleness)[: given.limit]
    if given.json:
        screen.tell_json({"keys": busiest, "next": following})
        return OK
    if busiest:
        screen.show(tables.table(_columns(busiest, time.time())))
    _say_what_is_left(found, busiest, following, given)
    return OK


def _looked_through(
    client: Client, queue: str, search: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    """The first keys in their order, and the last of them where there are more."""
    found: list[dict[str, Any]] = []
    after: str | None = None
    while len(found) < _MOST:
        limit = min(_MOST - len(found), pages.LARGEST)
        page = client.keys(queue, search=search, after=after, limit=limit)
        found, after = [*found, *page.items], page.next
        if after is None:
            break
    return found, after


def _idleness(one: Mapping[str, Any]) -> tuple[Any, ...]:
    return -(one["running"] + one["ready"] + one["behind"]), -one["behind"], one["key"]


def _columns(found: Sequence[Mapping[str, Any]], now: float) -> list[Column]:
    return [
        Column("KEY", [one["key"] for one in found], cut=Cut.END),
        *(
            Column(name.upper(), [_counted(one[name]) for one in found], is_number=True)
            for name in ("running", "ready", "behind")
        ),
        Column("NEXT", [text.when(one["next_at"], now) for one in found]),
    ]


def _counted(number: int) -> str:
    return f"{number}+" if number >= MOST_OF_KEY else str(number)


def _say_what_is_left(
    found: Sequence[object], shown: Sequence[object], following: str | None, given: argparse.Namespace
) -> None:
    if following is not None:
        screen.say(
            f"these are the busiest of the first {len(found)} keys in their order; --search finds others"
        )
    elif len(found) > len(shown):
        screen.say(f"there are {len(found)} keys; --limit shows more")
    elif not found and given.search:
        screen.say("no key matches")
    elif not found:
        screen.say(f"no job of queue {text.one_line(given.queue)} that runs or waits has a key")
