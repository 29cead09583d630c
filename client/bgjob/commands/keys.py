"""The keys that the jobs of a queue share: `bgjob keys`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from typing import Any

from bgjob import text
from bgjob.client import Client
from bgjob.commands import pages, screen, tables
from bgjob.commands.problems import OK
from bgjob.commands.tables import Column, Cut
from bgjob.words import MOST_OF_KEY


def keys(client: Client, given: argparse.Namespace) -> int:
    """Show the keys of a queue's jobs that run or wait for a slot, the busiest first, and how many are behind each;
    with --search in their order.
    """
    found, following = _found(client, given) if given.search else (_busiest(client, given), None)
    shown = found[: given.limit]
    if given.json:
        screen.tell_json({"keys": shown, "next": following})
        return OK
    if shown:
        screen.show(tables.table(_columns(shown, time.time())))
    if following is not None or len(found) > len(shown):
        screen.say("there are more keys; --limit shows them")
    elif not found and given.search:
        screen.say("no key matches")
    elif not found:
        screen.say(f"no job of queue {text.one_line(given.queue)} that runs or waits has a key")
    return OK


def _busiest(client: Client, given: argparse.Namespace) -> list[dict[str, Any]]:
    """As many as are wanted, and one more where there is one."""
    return client.keys(given.queue, busiest=True, limit=min(given.limit + 1, pages.LARGEST)).items


def _found(client: Client, given: argparse.Namespace) -> tuple[list[dict[str, Any]], str | None]:
    """The first keys in their order, and behind which there are more; a page that ends early is followed by another."""
    found: list[dict[str, Any]] = []
    after: str | None = None
    while len(found) < given.limit:
        wanted = given.limit - len(found)
        page = client.keys(given.queue, search=given.search, after=after, limit=wanted)
        found, after = [*found, *page.items], page.next
        if after is None:
            break
    return found, after


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
