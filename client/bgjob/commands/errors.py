"""Errors, whichever jobs have met them: `bgjob errors`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from bgjob import errors_told, text, traits_told
from bgjob.amounts import many_of
from bgjob.answers import ErrorRead, Page
from bgjob.changes_told import just_before
from bgjob.client import Client
from bgjob.commands import changes, class_figures, pages, screen, tables
from bgjob.commands.problems import OK
from bgjob.commands.tables import Column, Cut
from bgjob.errors import MethodNotFoundError

_LABEL: Final = 12
_MOST_JOBS: Final = 10
"""How many of an error's jobs are named."""

Error = Mapping[str, Any]


def errors(client: Client, given: argparse.Namespace) -> int:
    """Show which errors have ended attempts, whichever jobs met them, the latest first; with an id all of one."""
    if given.id is not None:
        return _one(client, given)
    found, following = _found(client, given)
    if given.json:
        screen.tell_json({"errors": found, "next": following})
        return OK
    if found:
        screen.show(tables.table(_columns(found, _code_of(client), time.time())))
    if following is not None:
        screen.say("there are older ones; --limit shows them")
    elif not found:
        has_filters = given.since or given.new or given.target
        screen.say("no error matches" if has_filters else "no attempt has ended by an error")
    return OK


def _found(client: Client, given: argparse.Namespace) -> tuple[list[dict[str, Any]], str | None]:
    """As many as are wanted, and behind which there are more."""
    found: list[dict[str, Any]] = []
    before: str | None = None
    while len(found) < given.limit:
        wanted = min(given.limit - len(found), pages.LARGEST)
        class_name = given.target.get("class_name")
        page = client.errors(
            since=given.since,
            class_name=class_name,
            new=given.new,
            sort=given.sort,
            before=before,
            limit=wanted,
        )
        found, before = [*found, *page.items], page.next
        if before is None:
            break
    return found, before


def _columns(found: Sequence[Error], code: str | None, now: float) -> list[Column]:
    return [
        Column("ID", [str(one["id"]) for one in found], is_number=True),
        Column("ERROR", [errors_told.kind_of(one) for one in found], cut=Cut.END),
        Column("WHERE", [errors_told.where(one) for one in found], cut=Cut.BEGINNING),
        Column("FIRST", [text.when(one["first_at"], now) for one in found], yields=1),
        Column("LAST", [text.when(one["last_at"], now) for one in found]),
        Column("ATTEMPTS", [str(one["attempts"]) for one in found], is_number=True),
        Column("FAILED", [str(one["failed"]) for one in found], is_number=True),
        *(
            [Column("RETRYING", [errors_told.retrying_of(one) for one in found], is_number=True)]
            if any(one.get("retrying") for one in found)
            else []
        ),
        Column("NOTE", [errors_told.age_of(one, code) for one in found]),
    ]


def _code_of(client: Client) -> str | None:
    code: str | None = client.stats()["code_version"]
    return code


# One


def _one(client: Client, given: argparse.Namespace) -> int:
    read = client.error(given.id, traits=True)
    page = client.list(error=given.id, limit=_MOST_JOBS)
    now = time.time()
    hours = class_figures.hours_of(_trend(client, given.id, now), "attempts", now)
    if given.json:
        screen.tell_json({**read._asdict(), "jobs": [job["id"] for job in page.items], "hours": hours})
        return OK
    before = just_before(read.error["first_at"], changes.lately(client))
    lines = _lines(read, named(page), _code_of(client), hours, before, now)
    screen.show("".join(f"{screen.as_line(line)}\n" for line in lines))
    return OK


def _trend(client: Client, id: int, now: float) -> list[dict[str, Any]]:
    """By hours; nothing of a daemon that tells none, for it is an earlier one."""
    try:
        since = datetime.fromtimestamp(now - _A_DAY, UTC)
        return client.trend(f"error:{id}", class_figures.AN_HOUR, since=since)
    except MethodNotFoundError:
        return []


_A_DAY: Final = 86_400.0


def named(jobs: Page[dict[str, Any]]) -> str:
    """The ids of a page of jobs, and that there are more."""
    return ", ".join([*(str(job["id"]) for job in jobs.items), *(["…"] if jobs.next is not None else [])])


def _lines(
    read: ErrorRead, jobs: str, code: str | None, hours: Sequence[int], before: str, now: float
) -> Iterator[str]:
    error = read.error
    title = text.one_line(errors_told.title_of(error))
    yield from screen.folded(screen.painted(f"error {error['id']}  {title}", "bold"), 2)
    for label, value in rows_of_error(read, jobs, code, now, before):
        if value:
            yield from screen.folded(f"{label:<{_LABEL}}{value}", _LABEL)
    if any(hours):
        yield from class_figures.line_of_hours("24 hours", _LABEL, hours)
    if read.traceback:
        yield ""
        yield screen.painted(f"traceback of job {error['last_job']}, attempt {error['last_attempt']}", "bold")
        yield from (f"  {text.tabbed(line)}" for line in read.traceback.rstrip().split("\n"))
    yield ""
    following = [f"bgjob list --error {error['id']}", f"bgjob show {error['last_job']}", *_compare(read)]
    yield from screen.folded(f"next: {', '.join(following)}", 2)


def _compare(read: ErrorRead) -> list[str]:
    """How its newest attempt is compared with the last of the same classes that completed, if any did lately."""
    completed = read.traits["completed"] if read.traits else None
    if completed is None:
        return []
    own = f"{read.error['last_job']}.{read.error['last_attempt']}"
    return [f"bgjob compare {own} {completed['job_id']}.{completed['number']}"]


def rows_of_error(
    read: ErrorRead, jobs: str, code: str | None, now: float, before: str = ""
) -> Iterator[tuple[str, str]]:
    """What is known of an error, each by its name; `jobs` are ids of some that met it, `before` is what was changed
    shortly before that began.
    """
    error = read.error
    yield "message", text.one_line(error["message"] or "")
    yield "place", text.one_line(error["place"] or "")
    yield "named", text.one_line(error["name"] or "")
    yield "note", errors_told.age_of(error, code)
    yield (
        "first",
        f"{text.moment(error['first_at'], now)} by job {error['first_job']}{_by(error['first_version'])}",
    )
    yield "before", f"it began {text.one_line(before)}" if before else ""
    yield (
        "last",
        f"{text.moment(error['last_at'], now)} by job {error['last_job']}{_by(error['last_version'])}",
    )
    yield "back", text.moment(error["back_at"], now)
    yield "attempts", f"{error['attempts']}, jobs failed for good: {error['failed']}"
    yield "retrying", _retrying(read, now)
    yield "classes", ", ".join(f"{text.one_line(name)} {count}" for name, count in read.classes.items())
    if read.traits and read.traits["attempts"] < error["attempts"]:
        yield "compared", f"its newest {many_of(read.traits['attempts'], 'attempt')}"
    for one in traits_told.common_of(read.traits) if read.traits else ():
        yield one.words.lower(), one.told
    yield "jobs", jobs


def _retrying(read: ErrorRead, now: float) -> str:
    """How many jobs wait for a retry, and when the next one comes."""
    many = read.error.get("retrying")
    if not many:
        return ""
    return f"{many}, the next at {text.moment(read.next_retry, now)}" if read.next_retry else str(many)


def _by(version: str | None) -> str:
    return "" if version is None else f", code {text.one_line(version)}"
