"""What waits for somebody: `bgjob needs`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Final

from bgjob import text
from bgjob.answers import Needed
from bgjob.client import Client
from bgjob.commands import screen
from bgjob.commands.problems import FAILED, OK
from bgjob.errors import MethodNotFoundError

_WIDTH: Final = 14
_GAP: Final = 2
"""Of the longest kind, so that sentences begin below each other."""


def needs(client: Client, given: argparse.Namespace) -> int:
    """Show what waits for somebody: what is wrong, and what to do."""
    found = client.needs()
    if given.json:
        screen.tell_json({"needs": found.needs, "more": found.more})
    elif found.needs:
        screen.show("".join(f"{line}\n" for line in lines(found)))
    else:
        screen.say("nothing needs anybody")
    return FAILED if found.needs else OK


def try_found(client: Client) -> Needed | None:
    """The same; None of a daemon that tells no needs, for it is an earlier one."""
    try:
        return client.needs()
    except MethodNotFoundError:
        return None


def lines(found: Needed) -> Iterator[str]:
    """Each with its kind and sentence, and the hint below it."""
    for one in found.needs:
        kind = text.one_line(one["kind"])
        sentence = (
            f"{screen.painted(kind, 'yellow')}{' ' * (_WIDTH - len(kind))}  {text.one_line(one['sentence'])}"
        )
        yield from screen.folded(sentence, _WIDTH + _GAP)
        if one["hint"] is not None:
            yield from screen.folded(f"{'':<{_WIDTH + _GAP}}{text.one_line(one['hint'])}", _WIDTH + _GAP)
    if found.more:
        yield f"{'':<{_WIDTH}}  and {found.more:,} more"
