"""The hosts that share a database: `bgjob hosts`, and what only a person can say of them."""

from __future__ import annotations

import argparse
from collections.abc import Container, Mapping, Sequence
from typing import Any, Final

from bgjob import text
from bgjob.amounts import about_text, span_text
from bgjob.client import Client
from bgjob.commands import changes, screen, tables
from bgjob.commands.problems import NOT_FOUND, OK
from bgjob.commands.tables import Column, Cut
from bgjob.errors import InvalidParameterError
from bgjob.hosts_told import with_old_code

_LATE: Final = 30.0
"""Seconds without a word after which it is doubtful that a host hears anything."""


def hosts(client: Client, given: argparse.Namespace) -> int:
    """Show the hosts that share the daemon's database, or say of one that it is lost."""
    if given.action == "lost":
        return _lost(client, given)
    if given.action == "accept":
        return _accept(client, given)
    found = client.hosts()
    if given.json:
        screen.tell_json({"hosts": found})
        return OK
    old = with_old_code(found, changes.lately(client))
    found = sorted(found, key=lambda one: one["name"] not in old)
    screen.show(tables.table(_columns(found, old)))
    for one in found:
        if one["trouble"] is not None:
            screen.say(f"{text.one_line(one['name'])}: {text.one_line(one['trouble'])}")
    return OK


def try_missing(given: argparse.Namespace) -> str | None:
    """What an action needs, and was not given."""
    if given.action == "lost" and given.name is None:
        return "the NAME of a host"
    if given.action == "lost" and not given.its_jobs_may_run_twice:
        return "--its-jobs-may-run-twice: if that host lives after all, what it runs is run again elsewhere meanwhile"
    return None


def _lost(client: Client, given: argparse.Namespace) -> int:
    name = text.one_line(given.name)
    try:
        client.host_lost(given.name)
    except InvalidParameterError:
        screen.say(f"there is no other host {name} that could be lost; `bgjob hosts` has those there are")
        return NOT_FOUND
    if given.json:
        screen.tell_json({"name": given.name})
    else:
        screen.say(f"host {name} counts as lost; what it ran runs again as its classes have it")
    return OK


def drain(client: Client, given: argparse.Namespace) -> int:
    """Have the daemon, or that of another host, start nothing new; what runs goes on. A restart of it undoes that."""
    told = client.drain(given.host)
    if given.json:
        screen.tell_json(told)
        return OK
    count = told["running"]
    left = f"{count} {'attempt goes' if count == 1 else 'attempts go'} on" if count else "nothing runs"
    screen.say(
        f"host {text.one_line(told['host'])} starts nothing new, {left}; a restart of its daemon undoes it"
    )
    if told["unseen_for"] > _LATE:
        screen.say(f"it was not seen for {about_text(told['unseen_for'])}, and hears of it once it is back")
    return OK


def _accept(client: Client, given: argparse.Namespace) -> int:
    is_accepted = client.host_accept()
    if given.json:
        screen.tell_json({"accepted": is_accepted})
    elif is_accepted:
        screen.say("the database is taken as it is by now, and jobs start again")
    else:
        screen.say("there is nothing to accept: the database has not gone back")
    return OK


def _columns(found: Sequence[Mapping[str, Any]], old: Container[str]) -> list[Column]:
    return [
        Column("HOST", [f"{one['name']}{' *' if one['is_own'] else ''}" for one in found], cut=Cut.END),
        Column("STATE", [_state(one) for one in found]),
        Column("SEEN", [f"{span_text(max(0.0, one['unseen_for']))} ago" for one in found]),
        Column("RUNNING", [str(one["running"]) for one in found], is_number=True),
        Column("SLOTS", [str(one["slots"]) for one in found], is_number=True),
        Column("QUEUES", [", ".join(one["queues"]) for one in found], cut=Cut.END),
        Column("CODE", [_code(one, old) for one in found]),
        Column("VERSION", [one["version"] for one in found]),
    ]


def _code(one: Mapping[str, Any], old: Container[str]) -> str:
    return f"{one['code_version']}, old" if one["name"] in old else one["code_version"] or ""


def _state(one: Mapping[str, Any]) -> str:
    return f"{one['state']}, has trouble" if one["trouble"] is not None else str(one["state"])
