"""All of a daemon's jobs as JSON lines, for who moves on or looks into them elsewhere: `bgjob export`."""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from typing import Any, Final

from bgjob import text
from bgjob.amounts import many_of
from bgjob.client import Client
from bgjob.commands import pages, screen, steps
from bgjob.commands.problems import OK
from bgjob.errors import JobNotFoundError

_MOMENT: Final = 5.0
"""Seconds after which a person is told how far it is."""


def export(client: Client, given: argparse.Namespace) -> int:
    """Write each job as one line of JSON, newest first: all that `bgjob show --json` tells of it."""
    count, said_at = 0, time.monotonic()
    for found in pages.each(partial(client.list, **pages.filters_of(given)), given.before):
        job = _whole(client, found["id"], given)
        if job is None:
            continue
        print(screen.as_line(text.to_json(job)))
        count += 1
        if sys.stderr.isatty() and time.monotonic() - said_at >= _MOMENT:
            screen.say(f"{many_of(count, 'job')} so far; --before {job['id']} goes on behind them")
            said_at = time.monotonic()
    sys.stdout.flush()
    screen.say(f"{many_of(count, 'job')} exported")
    return OK


def _whole(client: Client, job_id: int, given: argparse.Namespace) -> dict[str, Any] | None:
    """All that is known of the job; None where it was deleted meanwhile."""
    try:
        found = client.get(job_id)
        told = dict(found.snapshot)
        if given.logs:
            told["logs"] = list(pages.log_of(client, job_id))
        if given.steps:
            told |= steps.as_json(found.steps())
    except JobNotFoundError:
        return None
    return told
