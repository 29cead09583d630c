"""What was changed, and by whom: `bgjob changes`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from typing import Any

from bgjob import changes_told, text
from bgjob.client import Client
from bgjob.commands import pages, screen, tables
from bgjob.commands.problems import INTERRUPTED, OK
from bgjob.commands.tables import Column, Cut
from bgjob.errors import MethodNotFoundError


def changes(client: Client, given: argparse.Namespace) -> int:
    """Show what was changed and by whom, newest first: starts, code, pauses, held classes, many jobs at once."""
    found = pages.search(client.changes, given.limit, given.before)
    if given.json:
        screen.tell_json({"changes": found.items, "next": found.next})
    elif found.items:
        screen.show(tables.table(_columns(found.items, time.time())))
    else:
        screen.say("nothing was changed that is known")
    if found.next is not None and not given.json:
        screen.say(f"there are older ones: --before {found.next}")
    return INTERRUPTED if found.is_interrupted else OK


def _columns(found: Sequence[Mapping[str, Any]], now: float) -> list[Column]:
    return [
        Column("ID", [str(one["id"]) for one in found], is_number=True),
        Column("WHEN", [text.when(one["at"], now) for one in found]),
        Column("WHAT", [changes_told.sentence(one) for one in found], cut=Cut.END),
        Column("WHO", [one["who"] or "" for one in found]),
    ]


def lately(client: Client) -> list[dict[str, Any]]:
    """The newest; nothing of a daemon that tells none, for it is an earlier one."""
    try:
        return client.changes(limit=changes_told.MOST_CHANGES).items
    except MethodNotFoundError:
        return []
