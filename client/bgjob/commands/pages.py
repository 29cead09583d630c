"""Long lists, asked for page after page until as many are found as are wanted; how they are shown is not here."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol

from bgjob.answers import Page
from bgjob.client import Client
from bgjob.commands import screen

LARGEST: Final = 1000
"""How many jobs or log entries the daemon answers at once."""

USUAL: Final = 50
"""How many jobs a list has."""

_PATIENCE: Final = 1.0
"""Seconds until a person is told that the search goes on."""


class Ask(Protocol):
    """Asks the daemon for one page, newest first."""

    def __call__(self, *, before: int | None, limit: int) -> Page[dict[str, Any]]: ...


class Found(NamedTuple):
    """What was found, newest first, and `next`, before which the search could go on; None where there is no more."""

    items: list[Mapping[str, Any]]
    next: int | None
    is_interrupted: bool = False


def search(ask: Ask, most: int, before: int | None = None) -> Found:
    """The newest `most`, from `before` on. A page that ends because the daemon's time was up is followed by another.

    An interrupt ends it with what was found so far, and is passed on where nothing has been looked through.
    """
    found: list[Mapping[str, Any]] = []
    began_at = time.monotonic()
    is_said = not sys.stderr.isatty()
    try:
        while len(found) < most:
            page = ask(before=before, limit=min(most - len(found), LARGEST))
            found, before = [*found, *page.items], page.next
            if before is None:
                break
            if not is_said and len(found) < most and time.monotonic() - began_at >= _PATIENCE:
                screen.say(f"still searching, what is older than {before}; Ctrl-C ends it")
                is_said = True
    except KeyboardInterrupt:
        if before is None:
            raise
        return Found(found, before, is_interrupted=True)
    return Found(found, before)


def each(ask: Ask, before: int | None = None) -> Iterator[Mapping[str, Any]]:
    """All of them, newest first, a page in memory at a time."""
    while True:
        page = ask(before=before, limit=LARGEST)
        yield from page.items
        before = page.next
        if before is None:
            return


def log_of(client: Client, job_id: int) -> Iterator[Mapping[str, Any]]:
    """All that the job logged, oldest first."""
    after: int | None = 0
    while after is not None:
        page = client.logs(id=job_id, after=after, limit=LARGEST)
        yield from page.items
        after = page.next


def filters_of(given: argparse.Namespace) -> dict[str, Any]:
    """What jobs are to be found by, as `Client.list` takes it."""
    filters = {"status": given.status, "queue": given.queue, **given.target, "search": given.search}
    filters |= {"schedule": given.schedule, "group": given.group, "key": given.key, "since": given.since}
    filters |= {"again_of": given.again_of, "host": given.host, "error": given.error}
    filters |= {"bulk": given.bulk, "label": given.label, "until": given.until}
    return filters | {"longer_than": given.longer_than, "outcome": given.outcome, "sort": given.sort}
