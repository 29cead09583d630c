"""Jobs that recur: `bgjob schedules`, `bgjob occurrences` and `bgjob schedule`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from bgjob import text
from bgjob.client import Client
from bgjob.commands import screen, tables
from bgjob.commands.problems import OK, code_of
from bgjob.commands.resuming import resumed
from bgjob.commands.tables import Column, Cut
from bgjob.errors import InvalidParametersError, RequestError, ScheduleNotFoundError

_LABEL: Final = 12
_SKIPPED: Final = "skipped"


def schedules(client: Client, given: argparse.Namespace) -> int:
    """List the schedules: what each submits and when, what comes next, and what became of the last occurrence."""
    found = client.schedules(next=given.next, name=given.name)
    if given.json:
        screen.tell_json({"schedules": found})
        return OK
    now = time.time()
    if not found:
        screen.say("there are no schedules; list some under [schedules] in the daemon's configuration")
    elif given.name is None and given.next is None:
        screen.show(tables.table(_columns(found, now)))
    else:
        screen.show("\n".join("".join(f"{line}\n" for line in _lines(one, now)) for one in found))
    return OK


def occurrences(client: Client, given: argparse.Namespace) -> int:
    """List what became of a schedule's occurrences, newest first."""
    page = client.occurrences(given.name, before=given.before, limit=given.limit)
    if given.json:
        screen.tell_json({"occurrences": page.items, "next": page.next})
        return OK
    if page.items:
        screen.show(tables.table(_columns_of_occurrences(page.items)))
    if page.next is not None:
        screen.say(f"there are older ones: --before {page.next}")
    elif not page.items:
        screen.say(f"none has come; `bgjob schedules {text.one_line(given.name)}` has the next")
    return OK


def schedule(client: Client, given: argparse.Namespace) -> int:
    """Run a schedule's job now, pause or resume or backfill it, or put and delete one of your own."""
    try:
        return _DONE[given.action](client, given)
    except InvalidParametersError as error:
        if given.action not in _UNFIT or (given.action == "backfill" and not _is_of_span(error)):
            raise
        what, hint = _UNFIT[given.action]
        _, _, problems = str(error).partition(": ")
        screen.say("; ".join([f"{what}: {problems}", *hint]))
        return code_of(error)


_UNFIT: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "put": (
        "no schedule can be defined so",
        (
            "it has the keys of a schedule under [schedules]: `job`, and `cron` or `every`, at least; "
            "`bgjob classes` has the parameters of the job",
        ),
    ),
    "backfill": ("the backfill asks for too much", ()),
}
"""What does not fit, by what is asked of a schedule, and the next step."""


def _is_of_span(error: InvalidParametersError) -> bool:
    """Or else of the parameters that the job has by now."""
    return all(one.get("path") == "until" for one in error.parameters["problems"])


# What is asked of one


def _run(client: Client, given: argparse.Namespace) -> int:
    job = client.run_schedule(given.name)
    if given.json:
        screen.tell_json({"id": job.id})
    else:
        screen.tell(str(job.id))
    return OK


def _pause(client: Client, given: argparse.Namespace) -> int:
    client.pause_schedule(given.name)
    more = f"what occurs is skipped; `bgjob schedule resume {given.name}` ends that"
    return _told(given, f"is paused: {more}")


def _resume(client: Client, given: argparse.Namespace) -> int:
    told = resumed(lambda: _is_paused(client, given.name), lambda: client.resume_schedule(given.name))
    return _told(given, told)


def _is_paused(client: Client, name: str) -> bool:
    return any(one["paused_at"] is not None for one in client.schedules(next=0, name=name))


def _put(client: Client, given: argparse.Namespace) -> int:
    is_new = client.put_schedule(given.name, given.definition)
    return _told(given, "is there" if is_new else "is changed")


def _delete(client: Client, given: argparse.Namespace) -> int:
    try:
        client.delete_schedule(given.name)
    except ScheduleNotFoundError as error:
        if not _is_configured(client, given.name):
            raise
        why = f"there is no schedule {text.one_line(given.name)} that was put: it is of the configuration"
        screen.say(f"{why}; remove it there, from [schedules], and then `bgjob reload`")
        return code_of(error)
    return _told(given, "is deleted")


def _is_configured(client: Client, name: str) -> bool:
    try:
        return bool(client.schedules(next=0, name=name))
    except RequestError:
        return False


def _backfill(client: Client, given: argparse.Namespace) -> int:
    made = client.backfill(
        given.name, given.since, given.until, spread=given.spread, check_only=not given.yes
    )
    if given.json:
        screen.tell_json({"count": made.occurrences, "ids": made.ids})
    elif given.yes:
        for job_id in made.ids:
            screen.tell(str(job_id))
    else:
        overlap = "until they have ended, overlap is asked about them as about any other"
        more = f"; --yes makes a job of each, and {overlap}" if made.occurrences else ""
        screen.say(f"{made.occurrences} occurrences have no job{more}")
    return OK


def try_missing(given: argparse.Namespace) -> str | None:
    """The options without which that cannot be asked; None where all are there."""
    match given.action:
        case "put" if given.definition is None:
            return "--definition"
        case "backfill" if given.since is None or given.until is None:
            return "--from and --to"
    return None


def _told(given: argparse.Namespace, what: str) -> int:
    if given.json:
        screen.tell_json({"schedule": given.name})
    else:
        screen.say(f"schedule {given.name} {what}")
    return OK


_DONE: Final[Mapping[str, Callable[[Client, argparse.Namespace], int]]] = {
    "run": _run,
    "pause": _pause,
    "resume": _resume,
    "backfill": _backfill,
    "put": _put,
    "delete": _delete,
}
ACTIONS: Final = tuple(_DONE)
"""What can be asked of a schedule."""


# The schedules


def _columns(found: Sequence[Mapping[str, Any]], now: float) -> list[Column]:
    return [
        Column("NAME", [one["name"] for one in found]),
        Column("JOB", [one["job"] for one in found], cut=Cut.BEGINNING),
        Column("WHEN", [one["description"] for one in found], cut=Cut.END, yields=1),
        Column("NEXT", [_next(one, now) for one in found], cut=Cut.END),
        Column("LAST", [_last(one["last"], now) for one in found], cut=Cut.END, yields=2),
        Column("", [_state(one) for one in found]),
    ]


def _next(schedule: Mapping[str, Any], now: float) -> str:
    """When the next one becomes a job: how long that is, and what the clocks of its zone show then."""
    if not schedule["next"] or schedule["paused_at"] is not None:
        return "–"
    following = schedule["next"][0]
    return f"{text.when(following['at'], now)}, {following['local']}"


def _state(schedule: Mapping[str, Any]) -> str:
    if schedule["refused"] is not None:
        return "refused"
    return "" if schedule["paused_at"] is None else "paused"


def _last(occurrence: Mapping[str, Any] | None, now: float) -> str:
    return "–" if occurrence is None else f"{_became(occurrence)}, {text.when(occurrence['until'], now)}"


def _became(occurrence: Mapping[str, Any]) -> str:
    """What became of an occurrence, or of several in a row: `job 12 completed`, `3 skipped: missed`."""
    if occurrence["verdict"] == _SKIPPED:
        several = f"{occurrence['count']} " if occurrence["count"] > 1 else ""
        return f"{several}skipped: {_why(occurrence)}"
    return f"job {occurrence['job_id']} {occurrence['status'] or 'deleted'}"


def _why(occurrence: Mapping[str, Any]) -> str:
    if occurrence["reason"] == "overlap":
        return f"job {occurrence['job_id']} has not ended"
    if occurrence["reason"] == "held":
        return f"job {occurrence['job_id']} has its unique key"
    return occurrence["reason"] or ""


# One schedule


def _lines(schedule: Mapping[str, Any], now: float) -> list[str]:
    heading = screen.painted(f"{text.one_line(schedule['name'])}  {text.one_line(schedule['job'])}", "bold")
    rows = [f"{name:<{_LABEL}}{value}" for name, value in _rows(schedule, now) if value]
    return [heading, *rows, "", f"next: bgjob occurrences {text.one_line(schedule['name'])}"]


def _rows(schedule: Mapping[str, Any], now: float) -> Iterator[tuple[str, str]]:
    yield "when", text.one_line(schedule["description"] + _expression(schedule))
    title = "next" if schedule["paused_at"] is None else "if resumed"
    for place, one in enumerate(schedule["next"]):
        note = "" if one["note"] is None else f": {one['note']}"
        yield "" if place else title, text.one_line(f"{one['local']} ({text.when(one['at'], now)}){note}")
    yield "last", _last_of(schedule["last"], now)
    yield (
        "paused",
        "" if schedule["paused_at"] is None else f"since {text.moment(schedule['paused_at'], now)}",
    )
    yield "refused", text.one_line(schedule["refused"] or "")
    yield "parameters", text.plain(schedule["parameters"])
    yield "missed", text.one_line(schedule["missed"])
    yield "overlap", text.one_line(schedule["overlap"])
    yield "put by", text.one_line(schedule["made_by"] or "")
    yield "jitter", "" if schedule["jitter"] is None else f"up to {text.span(schedule['jitter'])}"


def _expression(schedule: Mapping[str, Any]) -> str:
    return "" if schedule["cron"] is None else f" ({schedule['cron']}, {schedule['zone']})"


def _last_of(occurrence: Mapping[str, Any] | None, now: float) -> str:
    if occurrence is None:
        return ""
    return f"{text.moment(occurrence['until'], now)}: {text.one_line(_became(occurrence))}"


# Occurrences


def _columns_of_occurrences(found: Sequence[Mapping[str, Any]]) -> list[Column]:
    several = any(one["count"] > 1 for one in found)
    return [
        Column("AT (UTC)", [text.date(one["at"]) for one in found]),
        *(_columns_of_rows(found) if several else []),
        Column("VERDICT", [one["verdict"] for one in found]),
        Column("JOB", [_id(one) for one in found], is_number=True),
        Column("STATUS", [_status(one) for one in found]),
        Column("NOTE", [_why(one) for one in found], cut=Cut.END),
    ]


def _columns_of_rows(found: Sequence[Mapping[str, Any]]) -> list[Column]:
    """Of those that were skipped in a row, the last, and how many they are."""
    return [
        Column("TO", [text.date(one["until"]) if one["count"] > 1 else "" for one in found], yields=2),
        Column("COUNT", [str(one["count"]) for one in found], is_number=True, yields=1),
    ]


def _id(occurrence: Mapping[str, Any]) -> str:
    return "" if occurrence["verdict"] == _SKIPPED else str(occurrence["job_id"])


def _status(occurrence: Mapping[str, Any]) -> str:
    return "" if occurrence["verdict"] == _SKIPPED else str(occurrence["status"] or "deleted")
