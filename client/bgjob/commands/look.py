"""What became of jobs: `bgjob list`, `bgjob show` and `bgjob why`."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from bgjob import text
from bgjob.amounts import set_span_text
from bgjob.answers import is_for_review
from bgjob.client import Client, Job
from bgjob.commands import groups, pages, screen, steps, tables, timeline, values_told
from bgjob.commands.pages import Found
from bgjob.commands.problems import INTERRUPTED, OK, cure_of
from bgjob.commands.tables import Column, Cut
from bgjob.timelines import timeline_of
from bgjob.words import WAITING, Outcome, Status

if TYPE_CHECKING:
    from bgjob.answers import Graph

DEFAULT_COLUMNS: Final = ("id", "status", "job", "attempt", "when", "note")
_LABEL: Final = 12


def list_jobs(client: Client, given: argparse.Namespace) -> int:
    """List jobs, newest first; where all are to have ended, the latest end first."""
    filters = pages.filters_of(given)
    found = pages.search(partial(client.list, **filters), given.limit, given.before)
    if given.json:
        screen.tell_json({"jobs": found.items, "next": found.next})
    elif found.items:
        now = time.time()
        screen.show(tables.table([_column(name, found.items, now) for name in given.columns]))
    is_empty = not found.items and found.next is None
    if is_empty and given.queue is not None and not is_queue(client, given.queue):
        screen.say(f"there is no queue {text.one_line(given.queue)}; `bgjob stats` lists them")
    elif not given.json:
        _say_what_is_left(
            found,
            has_filters=given.before is not None or any(value is not None for value in filters.values()),
        )
    return INTERRUPTED if found.is_interrupted else OK


def show(client: Client, given: argparse.Namespace) -> int:
    """Show all that is known of a job, its attempts included."""
    found = client.get(**given.job)
    job = found.snapshot
    if given.json:
        logged = {"logs": list(pages.log_of(client, job["id"]))} if given.logs else {}
        screen.tell_json(job | logged | (steps.as_json(found.steps()) if given.steps else {}))
        return OK
    now = time.time()
    drawn = _timeline(job, found, now)
    lines = _lines_of(job, groups.try_around(client, job), _runs_again(client, job), drawn, now)
    open_step = steps.try_open(client, job) if is_for_review(job) else None
    lines += _next_commands(job, open_step)
    if given.steps or job.get("steps") is not None:  # which daemons before did not tell
        lines += steps.lines_of(client, job, now, with_values=given.steps)
    if job["attempts"] and "again_of" in job:  # which daemons before, without values, did not tell
        lines += values_told.lines_of(client, job, now)
    if given.logs:
        entries = [screen.log_line(entry) for entry in pages.log_of(client, job["id"])]
        lines += ["", _heading("log, UTC"), *(f"  {line}" for line in entries)]
    screen.show("".join(f"{screen.as_line(line)}\n" for line in lines))
    return OK


def why(client: Client, given: argparse.Namespace) -> int:
    """Tell why a job has not run or has not ended, when it will run, or how it ended."""
    sentence = client.why(given.id)
    if given.json:
        screen.tell_json({"id": given.id, "sentence": sentence})
    else:
        for line in text.folded(text.one_line(sentence), screen.columns()):
            screen.tell(line)
    return OK


# The list


def is_queue(client: Client, name: str) -> bool:
    """Whether the daemon has a queue of this name, or jobs of one."""
    return any(queue["name"] == name for queue in client.stats()["queues"])


def _say_what_is_left(found: Found, has_filters: bool) -> None:
    if found.is_interrupted:
        message = "interrupted" if found.items else "interrupted; no job found so far"
        screen.say(f"{message}; --before {found.next} goes on with older ones")
    elif found.next is not None:
        screen.say(f"there are older ones: --before {found.next}")
    elif not found.items and has_filters:
        screen.say("no job matches; `bgjob list` without options has the newest of all")
    elif not found.items:
        screen.say("there are no jobs; `bgjob run CLASS::METHOD` submits one")


def _column(name: str, jobs: Sequence[Mapping[str, Any]], now: float) -> Column:
    cell = CELLS[name]
    cells = [cell(job, now) for job in jobs]
    return Column(name.upper(), cells, is_number=name in _NUMBERS, cut=_CUTS.get(name, Cut.NOTHING))


def _when(job: Mapping[str, Any], now: float) -> str:
    """When the job ended, since when it runs, or when it is to begin."""
    if job["finished_at"] is not None and Status(job["status"]).is_final:
        return text.when(job["finished_at"], now)
    if job["status"] == Status.RUNNING and job["started_at"] is not None:
        return f"for {text.about(max(0.0, now - text.instant(job['started_at'])))}{text.usually(job)}"
    if text.is_future(job["scheduled_at"], now):
        return text.when(job["scheduled_at"], now)
    return text.when(job["created_at"], now)


def _note(job: Mapping[str, Any], now: float) -> str:
    """What a person asks next: how far it is, or what went wrong."""
    if _is_to_be_cancelled(job):
        return "to be cancelled"
    if how_far := text.how_far(job):
        return how_far
    if text.standing(job, now) == WAITING:
        return text.wait(job, now)
    return "" if job["status"] == Status.COMPLETED else job["error"] or ""


CELLS: Final[Mapping[str, Callable[[Mapping[str, Any], float], str]]] = {
    "id": lambda job, now: str(job["id"]),
    "status": text.told_standing,
    "job": lambda job, now: text.target(job),
    "class": lambda job, now: job["class_name"],
    "method": lambda job, now: job["method_name"],
    "attempt": lambda job, now: text.attempts(job) if text.attempt_of(job) else "–",
    "when": _when,
    "note": _note,
    "queue": lambda job, now: job["queue"],
    "priority": lambda job, now: str(job["priority"]),
    "schedule": lambda job, now: job["schedule"] or "",
    "key": lambda job, now: job["key"] or "",
    "progress": lambda job, now: text.progress(job["progress"]),
    "error": lambda job, now: job["error"] or "",
    "created": lambda job, now: text.when(job["created_at"], now),
    "scheduled": lambda job, now: text.when(job["scheduled_at"], now),
    "started": lambda job, now: text.when(job["started_at"], now),
    "finished": lambda job, now: text.when(job["finished_at"], now),
    "took": lambda job, now: text.took(job["started_at"], job["finished_at"]),
    "memory": lambda job, now: text.size(job["max_rss"]),
    "cpu": lambda job, now: text.span(text.cpu_time(job)),
    "output": lambda job, now: text.size(job["output_bytes"]),
    "host": lambda job, now: job.get("host") or "",
    "labels": lambda job, now: " ".join(job.get("labels") or ()),
}
"""What a list can tell of a job, by the name of the column."""

_NUMBERS: Final = frozenset({"id", "priority", "memory", "cpu", "output"})
_CUTS: Final = {
    **dict.fromkeys(("job", "class", "method"), Cut.BEGINNING),  # of a long name the end says most
    **dict.fromkeys(("note", "error", "progress", "key", "labels"), Cut.END),
}


# One job


def _runs_again(client: Client, job: Mapping[str, Any]) -> str:
    """Which jobs run its call again, the newest first; nothing of a daemon that knows nothing of that, nor of steps."""
    if job.get("steps") is None:
        return ""
    page = client.list(again_of=job["id"], limit=_MOST_AGAIN)
    ids = [str(one["id"]) for one in page.items]
    return ", ".join([*ids, "…"] if page.next is not None else ids)


_MOST_AGAIN: Final = 10


def _timeline(job: Mapping[str, Any], found: Job[Any], now: float) -> list[str]:
    """The steps of one that has been attempted; what it has waited for is asked for only where it has."""
    if not job["attempts"]:
        return []
    has_waited = any(one["outcome"] == Outcome.SUSPENDED for one in job["attempts"])
    waits = found.steps().steps if has_waited else ()
    return ["", _heading("timeline, UTC"), *timeline.drawn(timeline_of(job, now, waits), _room())]


def _lines_of(
    job: Mapping[str, Any], around: Graph | None, again: str, drawn: Sequence[str], now: float
) -> list[str]:
    lines = _folded(_heading(f"job {job['id']}  {text.one_line(text.target(job))}"), 2)
    rows = [*_rows(job, now), ("again as", again), *groups.ties(job, around, now), *_times(job, now)]
    for name, value in rows:
        lines += _folded(f"{name:<{_LABEL}}{value}", _LABEL) if value else []
    lines += drawn
    for attempt in job["attempts"]:
        lines += ["", *_attempt(attempt)]
    return [*lines, *_traceback(job["attempts"])]


def _folded(line: str, indent: int) -> list[str]:
    """The line as the terminal has room for it, whole where there is none."""
    return screen.folded(line, indent)


def _room() -> int:
    return screen.columns() or _WIDE


_WIDE: Final = 100
"""Columns of a drawing where no terminal says how many there are."""


def _rows(job: Mapping[str, Any], now: float) -> Iterator[tuple[str, str]]:
    wanted = " (to be cancelled)" if _is_to_be_cancelled(job) else ""
    yield "status", screen.painted(text.told_standing(job, now)) + wanted
    yield "error", text.plain(job["error"] or "")
    yield "parameters", text.plain(job["parameters"])
    yield "result", text.one_line(text.to_json(job["result"])) if job["status"] == Status.COMPLETED else ""
    yield "schedule", _schedule(job, now)
    yield "again of", "" if job.get("again_of") is None else f"job {job['again_of']}{_occurrence(job, now)}"
    yield "queue", f"{text.one_line(job['queue'])}, priority {job['priority']}{_turn(job)}"
    yield "key", text.one_line(job.get("key") or "")
    yield "labels", text.one_line(", ".join(job.get("labels") or ()))
    yield "bulk", "" if job.get("bulk") is None else f"change {job['bulk']}, with others"
    yield "host", "" if job.get("host_wanted") is None else f"{text.one_line(job['host_wanted'])} alone"
    yield "retries", _retries(job)
    yield "unique", text.one_line(job.get("unique_key") or "")
    yield "waits", text.wait(job, now)
    yield "timeout", "" if job["timeout"] is None else f"{text.span(job['timeout'])} an attempt"


def _times(job: Mapping[str, Any], now: float) -> Iterator[tuple[str, str]]:
    yield "submitted", text.moment(job["created_at"], now) + _submitter(job)
    yield "scheduled", text.moment(job["scheduled_at"], now) if job["status"] == Status.PENDING else ""
    is_to_start = job["status"] == Status.PENDING and job["started_at"] is None
    yield "expires", text.moment(job.get("expires_at"), now) if is_to_start else ""
    yield "started", text.moment(job["started_at"], now)
    yield "expected", text.expectation(job)
    yield "finished", text.moment(job["finished_at"], now)
    by = "" if job.get("settled_uid") is None else f" by uid {job['settled_uid']}"
    yield "settled", text.moment(job.get("settled_at"), now) + by


def _schedule(job: Mapping[str, Any], now: float) -> str:
    if job["schedule"] is None:
        return ""
    return f"{text.one_line(job['schedule'])}{_occurrence(job, now)}"


def _occurrence(job: Mapping[str, Any], now: float) -> str:
    return "" if job["occurrence"] is None else f", for {text.moment(job['occurrence'], now)}"


def _turn(job: Mapping[str, Any]) -> str:
    return f", turn {job['turn']}" if job.get("turn") and job["status"] == Status.PENDING else ""


def _is_to_be_cancelled(job: Mapping[str, Any]) -> bool:
    return job["cancel_requested_at"] is not None and not Status(job["status"]).is_final


def _retries(job: Mapping[str, Any]) -> str:
    if job["max_retries"] == 0:
        return "none"
    spent = f"{text.retries_spent(job)} of {job['max_retries']} spent"
    growth = "" if job["backoff"] == "constant" else f", {text.one_line(job['backoff'])}"
    return f"{spent}, {set_span_text(job['retry_delay'])} apart{growth}"


def _submitter(job: Mapping[str, Any]) -> str:
    if job["submitted_uid"] is None:
        return ""
    by = "" if job["submitted_by_job"] is None else f"job {job['submitted_by_job']}, "
    pid = "" if job["submitted_pid"] is None else f", pid {job['submitted_pid']}"
    return f" by {by}uid {job['submitted_uid']}{pid}"


def _attempt(attempt: Mapping[str, Any]) -> Iterator[str]:
    verdict = attempt["outcome"] or "running"
    began = "" if attempt["started_at"] is None else f"  {text.date(attempt['started_at'])} UTC"
    lasted = _lasted(attempt)
    head = f"{_heading('attempt ' + str(attempt['number']))}  {screen.painted(text.one_line(verdict))}{began}{lasted}"
    yield from _folded(head, 2)
    rows = [
        ("why", _why(attempt)),
        ("raised", text.one_line(text.raised(attempt))),
        ("error", _error(attempt)),
        ("progress", text.one_line(text.progress(attempt["progress"]))),
        ("used", _usage(attempt)),
        ("process", f"pid {attempt['pid']}" if attempt["pid"] and attempt["outcome"] is None else ""),
        ("host", text.one_line(attempt.get("host") or "")),
    ]
    for name, value in rows:
        yield from _folded(f"  {name:<{_LABEL - 2}}{value}", _LABEL) if value else []


def _lasted(attempt: Mapping[str, Any]) -> str:
    if attempt["started_at"] is None or attempt["finished_at"] is None:
        return ""
    return f", {text.took(attempt['started_at'], attempt['finished_at'])}"


def _why(attempt: Mapping[str, Any]) -> str:
    # Of any other outcome the message names the exception, if there is one.
    if attempt["outcome"] == Outcome.FAILED:
        return text.one_line(f"{attempt['error_type']}: {attempt['error_message']}")
    if attempt["error_message"]:
        return text.one_line(attempt["error_message"])
    if attempt["signal"]:
        return f"ended by signal {attempt['signal']}"
    return f"exit code {attempt['exit_code']}" if attempt["exit_code"] else ""


def _error(attempt: Mapping[str, Any]) -> str:
    error = attempt.get("error_group")  # which daemons before did not tell
    return "" if error is None else f"{error}, see bgjob errors {error}"


def _usage(attempt: Mapping[str, Any]) -> str:
    cpu = text.cpu_time(attempt)
    told = (
        ("memory", attempt["max_rss"], text.size(attempt["max_rss"])),
        ("CPU", cpu, text.span(cpu)),
        ("output", attempt["output_bytes"], text.size(attempt["output_bytes"])),
    )
    return ", ".join(f"{shown} of {name}" for name, value, shown in told if value is not None)


def _traceback(attempts: Sequence[Mapping[str, Any]]) -> list[str]:
    with_traceback = [attempt for attempt in attempts if attempt["traceback"]]
    if not with_traceback:
        return []
    last = with_traceback[-1]
    shown = last["traceback"].rstrip().split("\n")
    return [
        "",
        _heading(f"traceback of attempt {last['number']}"),
        *(f"  {text.tabbed(line)}" for line in shown),
    ]


def _next_commands(job: Mapping[str, Any], open_step: Mapping[str, Any] | None) -> list[str]:
    if is_for_review(job):
        return ["", *_review(job, open_step)]
    commands = {
        Status.FAILED: f"bgjob retry {job['id']}",
        Status.CANCELLED: cure_of(job["cancelled_after"] or job["id"]),
        Status.RUNNING: f"bgjob output -f {job['id']}",
        Status.PENDING: _signal_to(job) or f"bgjob why {job['id']}",
    }
    has_output = any(attempt["output_bytes"] for attempt in job["attempts"])
    has_ties = job["if_failed"] is not None or job["group_id"] is not None
    possible = (
        commands.get(job["status"]),
        f"bgjob output {job['id']}" if has_output else None,
        f"bgjob graph {job['id']}" if has_ties else None,
    )
    given = [command for command in possible if command is not None]
    return ["", *_folded(f"next: {', '.join(given)}", 6)] if given else []


def _review(job: Mapping[str, Any], step: Mapping[str, Any] | None) -> Iterator[str]:
    """What a person needs who is to say what the job did, and how that is said."""
    yield _heading("nobody knows what it did; whoever finds out says it")
    if step is not None:
        began = f"began in attempt {step['attempt']}, and has no record; its token is {step['token']}"
        yield from _folded(f"  step {text.one_line(step['name'])} {began}", 4)
    settle = f"bgjob settle {job['id']}"
    name = "NAME" if step is None else text.one_line(shlex.quote(step["name"]))
    told = (
        (f"bgjob output {job['id']}", "what it printed"),
        (f"{settle} --completed JSON", "it took effect, and this is its result"),
        (f"{settle} --failed --why TEXT", "it did not, and is over"),
        (f"{settle} --step {name} JSON", "this step took effect; it goes on behind it")
        if job.get("steps") or step
        else None,
        (f"bgjob retry {job['id']}", "it may be done again"),
    )
    given = [one for one in told if one is not None]
    most = max(len(command) for command, _ in given)
    for command, meaning in given:
        yield from _folded(f"  {command:<{most}}  {meaning}", 4)


def _signal_to(job: Mapping[str, Any]) -> str | None:
    name = text.try_signal(job)
    return None if name is None else f"bgjob signal {job['id']} {text.one_line(shlex.quote(name))} JSON"


def _heading(words: str) -> str:
    return screen.painted(words, "bold")
