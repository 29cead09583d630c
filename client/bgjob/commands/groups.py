"""Jobs that come after others, and groups of them: `bgjob graph` and `bgjob group`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from bgjob import text
from bgjob.client import Client
from bgjob.commands import pages, screen, tables
from bgjob.commands.problems import CANCELLED, FAILED, OK
from bgjob.commands.tables import Column, Cut
from bgjob.errors import InvalidParameterError

if TYPE_CHECKING:
    from bgjob.answers import Graph, Page
    from bgjob.codec import JsonObject

_LABEL: Final = 12

_NEAREST: Final = 100
"""How many of the jobs around one are asked for, to tell how those stand that it comes after."""

_COUNTED: Final = 10_000
"""So many jobs of a graph are counted at most."""

_NAMED: Final = 10
"""How many of those are named."""

Group = Mapping[str, Any]


def graph(client: Client, given: argparse.Namespace) -> int:
    """Show what a job comes after, and what comes after it, as a tree."""
    found = _asked_graph(client, given)
    if given.json:
        screen.tell_json(found._asdict())
        return OK
    from bgjob.commands import graph_tree  # here, as no other command needs it

    rows = graph_tree.rows(found, given.id, time.time())
    place, standing, what, note = zip(*rows, strict=True) if rows else ((), (), (), ())
    columns = [Column("ID", place), Column("STATUS", standing)]
    columns += [Column("JOB", what, cut=Cut.BEGINNING), Column("NOTE", note, cut=Cut.END)]
    screen.show(tables.table(columns))
    if not found.is_whole:
        more = f"; --limit {pages.LARGEST} shows more" if given.limit < pages.LARGEST else ""
        screen.say(f"it is part of a larger graph, {_shown_of(found)}{more}")
    return OK


def _asked_graph(client: Client, given: argparse.Namespace) -> Graph:
    """With its jobs counted; by an earlier daemon, which knows of no count, without."""
    try:
        return client.graph(given.id, limit=given.limit, count=_COUNTED)
    except InvalidParameterError as error:
        if error.parameters.get("parameter") != "count":
            raise
        return client.graph(given.id, limit=given.limit)


def _shown_of(found: Graph) -> str:
    """How many of its jobs are shown, and which: where they were not counted the nearest."""
    if found.total is None or found.total <= len(found.jobs):
        return f"whose nearest {len(found.jobs)} jobs are shown"
    at_least = "at least " if found.total >= _COUNTED else ""
    shown = f"{len(found.jobs)} of {at_least}{found.total:,} jobs are shown"
    return f"of which {shown}: those that failed and what they block first, then the nearest"


def group(client: Client, given: argparse.Namespace) -> int:
    """Show how a group of jobs stands, wait for its end, or seal, cancel or retry it; without an id list the newest."""
    if given.id is None:
        return _list(client, given)
    more: dict[str, int] = {}
    if given.action is not None:
        told, more = _asked(client, given.id, given.action)
        if not given.json:
            screen.say(told)
    found: Group = client.group(given.id).snapshot
    if given.wait:
        found = _ended(client, found, given.timeout)
    if given.json:
        screen.tell_json({**found, **more})
    else:
        nested = client.groups(group=given.id, limit=_NAMED) if found["total"] else None
        screen.show("".join(f"{screen.as_line(line)}\n" for line in _lines(found, nested, time.time())))
    if given.wait:
        return _code_of(found)
    return FAILED if more.get("retried") == 0 else OK


def try_wrong(given: argparse.Namespace) -> str | None:
    """What does not fit together of what was given to group."""
    if given.timeout is not None and not given.wait:
        return "--timeout limits the wait and needs -w"
    if given.id is None and (given.action or given.wait):
        return "what is asked of a group needs its ID"
    return None


def _list(client: Client, given: argparse.Namespace) -> int:
    page = client.groups()
    if given.json:
        screen.tell_json({"groups": page.items, "next": page.next})
    elif page.items:
        cells = [_cells(one, time.time()) for one in page.items]
        columns = zip(("ID", "STATE", "NAME", "MEMBERS", "MADE"), zip(*cells, strict=True), strict=True)
        cut = {"NAME": Cut.END, "MEMBERS": Cut.END}
        screen.show(
            tables.table([Column(title, told, cut=cut.get(title, Cut.NOTHING)) for title, told in columns])
        )
        if page.next is not None:
            screen.say(f"these are the newest {len(page.items)}")
    else:
        screen.say("there are no groups")
    return OK


def _cells(group: Group, now: float) -> tuple[str, ...]:
    made = text.when(group["created_at"], now)
    return str(group["id"]), group["state"], group["name"] or "", text.members(group), made


# What is asked of one

ACTIONS: Final = {
    "seal": "take no more members, so that it ends with the last of them",
    "cancel": "seal it, and cancel all members that have not ended",
    "retry": "run the members again that failed, which has those go on that were cancelled for them",
}
"""What can be asked of a group, and what that does."""


def _asked(client: Client, group_id: int, action: str) -> tuple[str, dict[str, int]]:
    """What was done, in a sentence, and what of it only the answer tells."""
    match action:
        case "seal":
            client.seal_group(group_id)
            return f"group {group_id} takes no more members", {}
        case "cancel":
            client.cancel_group(group_id)
            return f"members of group {group_id} that have not ended are cancelled, or stopped first", {}
        case "retry":
            count = client.retry_group(group_id)
            if count == 0:
                cancelled = (
                    f"`bgjob list --group {group_id} --status cancelled` has those to be retried by id"
                )
                return f"no job in group {group_id} has failed; {cancelled}", {"retried": 0}
            are = "1 member is" if count == 1 else f"{count} members are"
            return f"{are} to run again, and what was cancelled for them", {"retried": count}
        case _:
            raise ValueError(f"no action {action!r}")


def _ended(client: Client, found: Group, timeout: float | None) -> Group:
    """The group at its end. Raises WaitTimeoutError; an interrupt says that it ended the waiting alone."""
    name = f"group {found['id']}"
    if found["ended_at"] is None:
        screen.say(f"{name}: {_standing(found)}; waiting for its end")
    try:
        return client.wait_group(found["id"], timeout)
    except KeyboardInterrupt:
        told = f"interrupted; {name} goes on, `bgjob {name} --wait` waits on"
        raise KeyboardInterrupt(told) from None


def _code_of(ended: Group) -> int:
    """The exit code of a group that has ended; what ended badly is said on stderr."""
    if ended["failed"]:
        more = "`bgjob list --group {} --status failed` has them"
    elif ended["cancelled"]:
        more = "`bgjob list --group {} --status cancelled` has them"
    else:
        return OK
    screen.say(f"group {ended['id']} failed: {text.members(ended)}; {more.format(ended['id'])}")
    return FAILED if ended["failed"] else CANCELLED


# How one stands


def _lines(group: Group, nested: Page[JsonObject] | None, now: float) -> Iterator[str]:
    name = "" if group["name"] is None else f"  {text.one_line(group['name'])}"
    yield screen.painted(f"group {group['id']}{name}", "bold")
    for label, value in _rows(group, nested, now):
        if value:
            yield f"{label:<{_LABEL}}{value}"
    yield ""
    yield f"next: {', '.join(f'bgjob {one}' for one in _next_commands(group))}"


def _rows(group: Group, nested: Page[JsonObject] | None, now: float) -> Iterator[tuple[str, str]]:
    yield "state", _standing(group)
    yield "members", text.members(group)
    yield "member of", "" if group["group"] is None else f"group {group['group']}"
    yield "its groups", _told_groups(nested)
    yield "made", text.moment(group["created_at"], now)
    yield "sealed", text.moment(group["sealed_at"], now)
    yield "ended", text.moment(group["ended_at"], now)


def _told_groups(nested: Page[JsonObject] | None) -> str:
    if nested is None:
        return ""
    told = ", ".join(f"{one['id']} ({text.one_line(one['state'])})" for one in nested.items)
    return f"{told} and more" if nested.next is not None else told


def _standing(group: Group) -> str:
    """Its state, and what it waits for."""
    state = screen.painted(text.one_line(group["state"]))
    if group["ended_at"] is not None:
        return state
    left = f"{group['unfinished']} of {group['total']} members have not ended"
    if group["unfinished"] == 0:
        left = "all members have ended" if group["total"] else "it has no members"
    return (
        f"{state}, {left}" if group["sealed_at"] is not None else f"{state}: nobody has sealed it, and {left}"
    )


def _next_commands(group: Group) -> list[str]:
    name = f"group {group['id']}"
    commands = [f"list --{name}"]
    if group["failed"]:
        commands += [f"{name} --retry"]
    elif group["cancelled"]:
        commands += [f"list --{name} --status cancelled", "retry IDS"]
    if group["sealed_at"] is None:
        return [*commands, f"{name} --seal"]
    return commands if group["ended_at"] is not None else [*commands, f"{name} --wait"]


# One job among others


def try_around(client: Client, job: Mapping[str, Any]) -> Graph | None:
    """The jobs around it, if it comes after any."""
    return client.graph(job["id"], limit=_NEAREST) if job["if_failed"] is not None else None


def ties(job: Mapping[str, Any], around: Graph | None, now: float) -> Iterator[tuple[str, str]]:
    """What `bgjob show` tells of a job among others: what it comes after, what it takes of that, and its group."""
    if around is not None:
        yield "after", text.one_line(_predecessors(job, around, now))
        yield "if failed", text.one_line(job["if_failed"])
    for place, (name, source) in enumerate((job["takes"] or {}).items()):
        yield "" if place else "takes", text.one_line(f"{name} from {_source(source)}")
    yield "group", "" if job["group_id"] is None else str(job["group_id"])


def _predecessors(job: Mapping[str, Any], around: Graph, now: float) -> str:
    known = {("job", one["id"]): text.standing(one, now) for one in around.jobs}
    known |= {("group", one["id"]): one["state"] for one in around.groups}
    edges = [
        (edge["of"], edge["after"], edge["standing"]) for edge in around.edges if edge["job_id"] == job["id"]
    ]
    told = ", ".join(f"{of} {id} ({known.get((of, id), standing)})" for of, id, standing in edges[:_NAMED])
    if len(edges) <= _NAMED:
        return told
    return f"{told} and {len(edges) - _NAMED} more" if around.is_whole else f"{told} and more"


def _source(source: Any) -> str:
    """Where a parameter comes from, and why it could not be had: `job 12, /rows: …`."""
    told = source if isinstance(source, Mapping) else {"of": source}
    of = told.get("of")
    names = of if isinstance(of, Mapping) else {"id": of}
    named = [f"{'job' if kind == 'id' else kind} {id}" for kind, id in names.items()]
    pointer, problem = told.get("pointer"), told.get("problem")
    return "".join([*named, f", {pointer}" if pointer else "", f": {problem}" if problem else ""])
