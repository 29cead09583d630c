"""Jobs as they change: `bgjob watch`, and for which jobs `bgjob wait` waits where a label names them."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from bgjob import text
from bgjob.client import Client
from bgjob.commands import follow, look, pages, screen
from bgjob.commands.problems import NOT_FOUND, OK
from bgjob.errors import JobNotFoundError, WaitTimeoutError
from bgjob.words import Status

_FILTERS: Final = ("queue", "target", "label")
_OPEN: Final = (Status.PENDING.value, Status.RUNNING.value)
_CELLS: Final = ("status", "job", "note")


def try_wrong(given: argparse.Namespace) -> str | None:
    """What does not fit together of what was given to wait or watch."""
    is_wait = given.run is wait
    filters = [name for name in _FILTERS if getattr(given, name, None)]
    if given.ids and filters:
        return f"takes IDs or {'--label' if is_wait else 'a filter'}, not both"
    return "needs the ID of a job, or --label" if is_wait and not (given.ids or filters) else None


def watch(client: Client, given: argparse.Namespace) -> int:
    """Show jobs as they change: those that are named until they have ended, else all."""
    if given.queue is not None and not look.is_queue(client, given.queue):
        screen.say(f"there is no queue {given.queue}; `bgjob stats` lists them")
        return NOT_FOUND
    ids = list(dict.fromkeys(given.ids))
    changes = client.watch(ids or None, queue=given.queue, **given.target, label=given.label)
    with follow.going_on(*ids):
        for job in changes:
            if given.json:
                screen.tell_json(job)
                continue
            for line in screen.folded(_line(job, time.time()), _INDENT):
                screen.tell(line)
    return OK


_INDENT: Final = 2


def _line(job: Mapping[str, Any], now: float) -> str:
    status, what, note = (text.one_line(text.capped(look.CELLS[name](job, now), _LONGEST)) for name in _CELLS)
    return f"{job['id']} {screen.painted(status)}  {what}  {note}".rstrip()


_LONGEST: Final = 500


def wait(client: Client, given: argparse.Namespace) -> int:
    """Wait until all of the jobs have ended."""
    if given.label is None:
        return follow.wait(client, given)
    goes_on = f"the jobs go on, `bgjob wait --label {shlex.quote(given.label)}` waits on"
    try:
        return _wait_for_label(client, given)
    except WaitTimeoutError:
        raise WaitTimeoutError(f"not ended after {given.timeout:g} s; {goes_on}") from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; {goes_on}") from None


def _wait_for_label(client: Client, given: argparse.Namespace) -> int:
    """In rounds, each for those that are open when it begins. Raises WaitTimeoutError."""
    deadline = None if given.timeout is None else time.monotonic() + given.timeout
    codes: list[int] = []
    while ids := list(_open(client, given.label)):
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        with suppress(JobNotFoundError):  # it has ended and was deleted since: the next look is without it
            codes.append(follow.wait(client, argparse.Namespace(ids=ids, timeout=left, json=given.json)))
    if not codes:
        return _none(client, given.label)
    return next((code for code in codes if code != OK), OK)


def _open(client: Client, label: str) -> Iterator[int]:
    """The jobs of a label that have not ended."""
    found = pages.each(lambda **place: client.list(label=label, status=_OPEN, **place))
    return (job["id"] for job in found)


def _none(client: Client, label: str) -> int:
    if client.list(label=label, limit=1).items:
        screen.say(
            f"no job with label {label} waits or runs; "
            f"`bgjob list --label {shlex.quote(label)}` has those there are"
        )
        return OK
    screen.say(f"no job has label {label}; `bgjob labels` has those there are")
    return NOT_FOUND
