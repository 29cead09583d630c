"""Alerts, which were told of what needs somebody: `bgjob alerts`, and what is done about one."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from typing import Any

from bgjob import text
from bgjob.amounts import many_of
from bgjob.client import Client
from bgjob.commands import screen, tables
from bgjob.commands.problems import FAILED, OK
from bgjob.commands.tables import Column, Cut
from bgjob.errors import WaitTimeoutError
from bgjob.words import Status

_PATIENCE = 300.0
"""Seconds that a test may take: its jobs are tried again."""


def alerts(client: Client, given: argparse.Namespace) -> int:
    """Show what was raised of what needs somebody, and told, newest first."""
    page = client.alerts(is_open=given.open, limit=given.limit)
    if given.json:
        screen.tell_json({"alerts": page.items, "next": page.next})
        return OK
    if page.items:
        screen.show(tables.table(_columns(page.items, time.time())))
    else:
        screen.say("no alert is open" if given.open else "no alert was raised")
    if page.next is not None:
        screen.say("there are older ones; --limit shows them")
    return OK


def alert(client: Client, given: argparse.Namespace) -> int:
    """Take an alert up, have a rule tell nobody for some time, or try all targets."""
    if given.action == "ack":
        client.acknowledge_alert(int(given.of))
        told = f"alert {given.of} is taken up: nobody is told of it any more, but of its end"
    elif given.action == "mute":
        client.mute_alerts(given.of, given.seconds)
        tells = f"tells nobody for {text.span(given.seconds)}" if given.seconds else "tells again"
        told = f"rule {text.one_line(given.of)} {tells}"
    else:
        return _test(client, given)
    if given.json:
        screen.tell_json({"of": given.of})
    else:
        screen.say(told)
    return OK


def try_wrong(given: argparse.Namespace) -> str | None:
    """What does not fit together of what was given."""
    if (given.action is None) == (given.test is None):
        return "needs ack ID, mute RULE --for TIME, or --test"
    if given.action is not None and given.of is None:
        return (
            f"{given.action} needs {'the ID of an alert' if given.action == 'ack' else 'the name of a rule'}"
        )
    if given.action == "ack" and not (given.of.isascii() and given.of.isdecimal() and int(given.of)):
        return f"ack needs the ID of an alert, not {given.of}"
    if (given.action == "mute") != (given.seconds is not None):
        return "mute needs --for TIME, and nothing else takes it"
    return None


def _test(client: Client, given: argparse.Namespace) -> int:
    """Have it told, and wait for that; whether all was."""
    ids = client.test_alerts(given.test or None)
    failed = [job_id for job_id in ids if not _is_told(client, job_id)]
    if given.json:
        screen.tell_json({"ids": ids, "failed": failed})
    elif not ids:
        screen.say(
            "no target is told by a job; `journal` has a line in the daemon's log, where it is a target"
        )
    else:
        were = "was" if len(ids) == 1 else "were"
        screen.say(f"{len(ids) - len(failed)} of {many_of(len(ids), 'target')} {were} told")
        for job_id in failed:
            screen.say(f"job {job_id} has not told it; `bgjob show {job_id}` has why")
    return FAILED if failed else OK


def _is_told(client: Client, job_id: int) -> bool:
    try:
        return bool(client.wait(job_id, _PATIENCE)["status"] == Status.COMPLETED)
    except WaitTimeoutError:
        return False


def _columns(found: Sequence[Mapping[str, Any]], now: float) -> list[Column]:
    return [
        Column("ID", [str(one["id"]) for one in found], is_number=True),
        Column("RULE", [one["rule"] for one in found], cut=Cut.END),
        Column("RAISED", [text.when(one["raised_at"], now) for one in found]),
        Column("STATE", [_state(one, now) for one in found]),
        Column("WHAT", [one["message"] for one in found], cut=Cut.END),
    ]


def _state(one: Mapping[str, Any], now: float) -> str:
    if one["cleared_at"] is not None:
        return f"over {text.when(one['cleared_at'], now)}"
    if one["acknowledged_at"] is not None:
        return f"taken up by uid {one['acknowledged_uid']}"
    return "open" if one["told_at"] is None else f"told {text.when(one['told_at'], now)}"
