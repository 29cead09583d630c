"""The labels that jobs have: `bgjob labels`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bgjob.client import Client
from bgjob.commands import screen, tables
from bgjob.commands.problems import OK
from bgjob.commands.tables import Column, Cut
from bgjob.words import MOST_OF_KEY, Status

_STANDINGS: Final = (Status.FAILED, Status.RUNNING, Status.PENDING, Status.COMPLETED, Status.CANCELLED)


def labels(client: Client, given: argparse.Namespace) -> int:
    """Show the labels that jobs have, in their order, how many have each, and how the newest 100 of them stand."""
    page = client.labels(prefix=given.prefix, limit=given.limit)
    if given.json:
        screen.tell_json({"labels": page.items, "next": page.next})
        return OK
    if page.items:
        screen.show(tables.table(_columns(page.items)))
    if page.next is not None:
        screen.say("there are more labels; --limit shows them")
    elif not page.items and given.prefix:
        screen.say("no label begins so")
    elif not page.items:
        screen.say("no job has a label; `bgjob run --label LABEL` gives it one")
    return OK


def _columns(found: Sequence[Mapping[str, Any]]) -> list[Column]:
    return [
        Column("LABEL", [one["label"] for one in found], cut=Cut.END),
        Column("JOBS", [_counted(one["jobs"]) for one in found], is_number=True),
        *(
            Column(status.upper(), [str(one[status]) for one in found], is_number=True)
            for status in _STANDINGS
        ),
    ]


def _counted(number: int) -> str:
    return f"{number}+" if number >= MOST_OF_KEY else str(number)
