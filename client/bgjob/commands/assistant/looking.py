"""The tools that look at something and change nothing: each asks the client, and tells what came as records."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bgjob import changes_told, text, traits_told
from bgjob.answers import ClassStats
from bgjob.client import Client
from bgjob.commands import values
from bgjob.commands.assistant.answering import Answer, page, record, records, sliced
from bgjob.commands.assistant.asking import USUAL, USUAL_OUTPUT, Tool
from bgjob.commands.assistant.refusing import WrongArgumentError
from bgjob.errors import NotApprovedError

_OCCURRENCES: Final = 10
_OF_AN_ERROR: Final = 10
"""How many of each are told where one thing alone is asked for."""


def _needs(client: Client) -> Answer:
    found = client.needs()
    return {**records("needs", found.needs), "more": found.more}


def _errors(
    client: Client,
    since: str | None = None,
    class_name: str | None = None,
    new: bool = False,
    sort: str | None = None,
    before: str | None = None,
    limit: int = USUAL,
) -> Answer:
    found = client.errors(
        since=_time(since), class_name=class_name, new=new, sort=sort, before=before, limit=limit
    )
    return page("errors", found)


def _error(client: Client, error: int) -> Answer:
    read = client.error(error, traits=True)
    common = traits_told.common_of(read.traits) if read.traits else ()
    met = client.list(error=error, limit=_OF_AN_ERROR).items
    return record(
        {
            **read.error,
            "next_retry": read.next_retry,
            "met_by": read.met_by,
            "jobs": [one["id"] for one in met],
            "in_common": [f"{one.words}: {one.told}" for one in common],
            "traceback": read.traceback,
        }
    )


def _jobs(
    client: Client,
    since: str | None = None,
    until: str | None = None,
    before: str | None = None,
    limit: int = USUAL,
    **filters: Any,
) -> Answer:
    found = client.list(
        since=_time(since), until=_time(until), before=_number(before), limit=limit, **filters
    )
    return page("jobs", found)


def _job(
    client: Client,
    job: int | None = None,
    idempotency_key: str | None = None,
    before: str | None = None,
    limit: int = USUAL,
) -> Answer:
    if (job is None) == (idempotency_key is None):
        raise WrongArgumentError("one of job and idempotency_key is wanted")
    found = client.get(job, key=idempotency_key, before=_number(before), limit=limit).snapshot
    attempts = found["attempts"]
    told = {**found, "why": client.why(found["id"]), "attempts": list(_with_one_traceback(attempts))}
    has_earlier = bool(attempts) and attempts[0]["number"] > 1
    return {**record(told), **({"next": str(attempts[0]["number"])} if has_earlier else {})}


def _with_one_traceback(attempts: list[dict[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Of those told the latest; each may have 64 KiB."""
    with_it = [one["number"] for one in attempts if one["traceback"]]
    for one in attempts:
        yield one if one["number"] in with_it[-1:] else {**one, "traceback": None}


def _log(
    client: Client,
    job: int | None = None,
    before: str | None = None,
    limit: int = USUAL,
    **filters: Any,
) -> Answer:
    return page("entries", client.logs(id=job, before=_number(before), limit=limit, **filters))


def _output(client: Client, job: int, attempt: int | None = None, tail: int = USUAL_OUTPUT) -> Answer:
    parts = client.output_parts(job, attempt, tail=tail)
    written = b"".join(part.marked for part in parts).decode("utf-8", "replace")
    return record(
        {
            "job": job,
            "attempt": parts[0].number,
            "from_byte": parts[0].offset,
            "output": text.without_terminal(written),
        }
    )


def _classes(client: Client, before: str | None = None, limit: int = USUAL) -> Answer:
    figures = {one["name"]: one for one in client.class_trends()}
    found = [_in_short(one, figures.get(one["name"], {})) for one in client.classes()]
    return sliced("classes", found, _number(before) or 0, limit)


def _in_short(described: Mapping[str, Any], figures: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: described[name] for name in ("unavailable", "hint", "held", "held_until", "held_by")}
    return {
        "class_name": described["name"],
        **kept,
        **{name: figures.get(name) for name in ("day", "before")},
    }


def _class(client: Client, class_name: str) -> Answer:
    described = next((one for one in client.classes() if one["name"] == class_name), None)
    if described is None:
        raise NotApprovedError(class_name=class_name)
    stats: ClassStats = client.class_stats(class_name, limit=1)
    methods = [
        {
            "method_name": one["name"],
            "call": text.signature(one),
            "doc": one["doc"],
            "note": one["note"],
        }
        for one in described["methods"]
    ]
    short = _in_short(described, {"day": stats.day, "before": stats.before})
    return record(
        {**short, "doc": described["doc"], "policy": described["policy"], "methods": methods},
    )


def _stats(client: Client, before: str | None = None, limit: int = USUAL) -> Answer:
    standing = client.stats()
    queues = [{**one, "name": None, "queue": one["name"]} for one in standing["queues"]]
    told = {name: value for name, value in standing.items() if name not in ("queues", "minutes")}
    return {"daemon": record(told), **sliced("queues", queues, _number(before) or 0, limit)}


def _schedules(client: Client, before: str | None = None, limit: int = USUAL) -> Answer:
    found = [_of_schedule(one) for one in client.schedules(next=1)]
    return sliced("schedules", found, _number(before) or 0, limit)


def _schedule(client: Client, schedule: str) -> Answer:
    (found,) = client.schedules(name=schedule)
    became = client.occurrences(schedule, limit=_OCCURRENCES)
    return {**record(_of_schedule(found)), **records("occurrences", became.items)}


def _of_schedule(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """With when it is due next as plain instants."""
    return {**told, "next": None, "next_at": next((one["at"] for one in told["next"]), None)}


def _changes(client: Client, before: str | None = None, limit: int = USUAL) -> Answer:
    found = client.changes(before=_number(before), limit=limit)
    found.items = [{**one, "what": None, "sentence": changes_told.sentence(one)} for one in found.items]
    return page("changes", found)


def _time(given: str | None) -> str | None:
    """A moment, or a time ago, as the client takes it. Raises WrongArgumentError."""
    try:
        return None if given is None else values.since(given)
    except argparse.ArgumentTypeError as error:
        raise WrongArgumentError(str(error)) from None


def _number(given: str | None) -> int | None:
    """Where to go on. Raises WrongArgumentError."""
    try:
        return None if given is None else values.job_id(given)
    except argparse.ArgumentTypeError:
        raise WrongArgumentError("before is `next` of the answer before, as it was told there") from None


_PAGE: Final = ("before", "limit")

TOOLS: Final = (
    Tool(
        "needs",
        "What needs somebody now: what is wrong with the daemon, its classes, queues, schedules and jobs, since "
        "when, and a hint at what to do. Begin here.",
        _needs,
    ),
    Tool(
        "errors",
        "Errors that have ended attempts, whichever jobs met them: how often, since when, which failed jobs for good.",
        _errors,
        ("since", "class_name", "new", "sort", *_PAGE),
    ),
    Tool(
        "error",
        "All of one error: the traceback, the classes and the newest jobs that met it, and what its attempts have in "
        "common that others do not, such as a version of the code, a queue or a host.",
        _error,
        requires=("error",),
    ),
    Tool(
        "jobs",
        "Jobs in short, the latest first, by any of the filters.",
        _jobs,
        (
            *("status", "class_name", "method_name", "queue", "outcome", "error", "schedule", "label", "key"),
            *("search", "since", "until", *_PAGE),
        ),
    ),
    Tool(
        "job",
        "All of one job: why it has not run or how it ended, its parameters with secrets masked, its latest "
        "attempts, and the last traceback.",
        _job,
        ("job", "idempotency_key", *_PAGE),
    ),
    Tool(
        "log",
        "Entries of the log, the newest first: of one job, or of all.",
        _log,
        ("job", "class_name", "method_name", "type", "search", *_PAGE),
    ),
    Tool(
        "output",
        "The end of what an attempt has written to stdout and stderr until now.",
        _output,
        ("attempt", "tail"),
        ("job",),
    ),
    Tool(
        "classes",
        "The approved classes: which cannot be used or are held, and why; how they did in the last 24 hours, and "
        "in the 13 days before.",
        _classes,
        _PAGE,
    ),
    Tool(
        "class",
        "All of one class: its methods, its policy, and how it does.",
        _class,
        requires=("class_name",),
    ),
    Tool(
        "stats",
        "How the daemon stands: version, slots, jobs by status, and of each queue how many jobs wait and run, "
        "whether it is paused, and since when the oldest waits.",
        _stats,
        _PAGE,
    ),
    Tool(
        "schedules",
        "The schedules: what each submits and when, and what became of the last.",
        _schedules,
        _PAGE,
    ),
    Tool(
        "schedule",
        "One schedule, and what became of its latest occurrences.",
        _schedule,
        requires=("schedule",),
    ),
    Tool(
        "changes",
        "What somebody has changed, or befell the daemon, the newest first: deploys, reloads, pauses, retries of many.",
        _changes,
        _PAGE,
    ),
)
