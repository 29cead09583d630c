"""What is asked of all jobs, queues, schedules, hosts and alerts; of single jobs and groups it is in `calls`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from bgjob import answers
from bgjob.answers import (
    Backfilled,
    ClassStats,
    DoneToMany,
    ErrorRead,
    Matched,
    Needed,
    Page,
    PageBy,
    Reloaded,
)
from bgjob.calls import Call, call_to
from bgjob.codec import JsonObject
from bgjob.filters import Filter
from bgjob.request_values import class_name_of, class_or_none, plain_time
from bgjob.words import SERVICE

if TYPE_CHECKING:
    from datetime import datetime, timedelta


FOR_MANY: Final = 600.0
"""Seconds for an answer about many jobs: a million take minutes."""

ASIDE: Final = 1.0
"""Seconds that a daemon has to say why it does not answer."""


def matching(wanted: Filter, to: str, as_of: Any) -> Call[Matched]:
    return call_to("Matching", answers.matched, filter=wanted.as_json(), to=to, as_of=plain_time(as_of))


def retry_matching(
    wanted: Filter, as_of: Any, expected: int, spread: Any, at_most_once: bool
) -> Call[DoneToMany]:
    """Not repeated, as a retry."""
    how = {"spread": plain_time(spread), "at_most_once": at_most_once or None}
    return _to_matching("RetryMatching", wanted, as_of, expected, **how)


def cancel_matching(wanted: Filter, as_of: Any, expected: int) -> Call[DoneToMany]:
    """Not repeated, as a cancel."""
    return _to_matching("CancelMatching", wanted, as_of, expected)


def _to_matching(method: str, wanted: Filter, as_of: Any, expected: int, **how: Any) -> Call[DoneToMany]:
    told = {"filter": wanted.as_json(), "as_of": plain_time(as_of), "expected": expected}
    return call_to(method, answers.done_to_many, False, **told, **how)


def changes(before: int | None, limit: int | None) -> Call[Page[JsonObject]]:
    """What was changed, newest first."""
    return call_to("Changes", answers.changes, before=before, limit=limit)


def prune(ids: Sequence[int], last_entry: int) -> Call[tuple[list[int], int]]:
    """Not repeated: the second answer would not tell what the first has deleted."""
    return call_to(
        "Prune",
        lambda reply: (answers.job_ids(reply), answers.field(reply, "entries", int)),
        False,
        ids=list(ids),
        last_entry=last_entry,
    )


def prune_logs(before: str, after: int) -> Call[tuple[int, int | None]]:
    """Not repeated, as prune."""
    return call_to(
        "PruneLogs",
        lambda reply: (answers.field(reply, "entries", int), answers.maybe_int(reply, "next")),
        False,
        before=before,
        after=after,
    )


def pause(
    queue: str, resumes_in: float | timedelta | None = None, resumes_at: str | datetime | None = None
) -> Call[str | None]:
    """When it goes on by itself, as that is stored, or None."""
    until = {"resumes_in": plain_time(resumes_in), "resumes_at": plain_time(resumes_at)}
    return call_to("Pause", answers.resumes_at, queue=queue, **until)


def resume(queue: str) -> Call[None]:
    return call_to("Resume", answers.nothing, queue=queue)


def hold_class(name: str) -> Call[None]:
    return call_to("HoldClass", answers.nothing, name=name)


def resume_class(name: str) -> Call[None]:
    return call_to("ResumeClass", answers.nothing, name=name)


def schedules(next: int | None, name: str | None, after: str | None = None) -> Call[PageBy[JsonObject, str]]:
    """A page of them, or the one of this name, each with its next occurrences, at most 100."""
    return call_to("Schedules", answers.schedules, next=next, name=name, after=after)


def put_schedule(name: str, definition: JsonObject) -> Call[bool]:
    return call_to("PutSchedule", answers.created, name=name, definition=definition)._replace(needs_code=True)


def delete_schedule(name: str) -> Call[None]:
    return call_to("DeleteSchedule", answers.nothing, name=name)


def occurrences(name: str, before: str | datetime | None, limit: int | None) -> Call[PageBy[JsonObject, str]]:
    """What became of a schedule's occurrences, newest first."""
    return call_to("Occurrences", answers.occurrences, name=name, before=plain_time(before), limit=limit)


def run_schedule(name: str) -> Call[int]:
    """Not repeated: it may have been done, and each makes a job."""
    return call_to("RunSchedule", answers.job_id, False, name=name)._replace(needs_code=True)


def pause_schedule(name: str) -> Call[None]:
    return call_to("PauseSchedule", answers.nothing, name=name)


def resume_schedule(name: str) -> Call[None]:
    return call_to("ResumeSchedule", answers.nothing, name=name)


def backfill(
    name: str,
    since: datetime | str,
    until: datetime | str,
    spread: float | timedelta | None,
    check_only: bool,
) -> Call[Backfilled]:
    """A job of each occurrence that has none. Not repeated: the answer would be without those that were made before."""
    return call_to(
        "Backfill",
        answers.backfilled,
        check_only,
        name=name,
        since=plain_time(since),
        until=plain_time(until),
        spread=plain_time(spread),
        check_only=check_only or None,
    )._replace(needs_code=True)


def classes() -> Call[list[JsonObject]]:
    return call_to("Classes", lambda reply: answers.shaped(reply, "classes", "[]Class"))._replace(
        needs_code=True
    )


def limits() -> Call[dict[str, str]]:
    """By the limit's name what enforces it on the daemon's machine, or what that takes."""
    call = call_to("Classes", lambda reply: answers.shaped(reply, "limits", "[string]string"))
    return call._replace(needs_code=True)


def stats(usage: bool = False, counts: bool = False) -> Call[JsonObject]:
    return call_to("Stats", answers.stats, usage=usage or None, counts=counts or None)


def running(host: str | None = None, label: str | None = None) -> Call[list[JsonObject]]:
    """The attempts that run, or those on the host of this name or with this label, measured as it is asked for."""
    return call_to(
        "Running", lambda reply: answers.shaped(reply, "attempts", "[]RunningAttempt"), host=host, label=label
    )


def keys(
    queue: str, search: str | None, after: str | None, limit: int | None, busiest: bool
) -> Call[PageBy[JsonObject, str]]:
    """How the keys of a queue stand, in their order."""
    return call_to(
        "Keys", answers.keys, queue=queue, search=search, after=after, limit=limit, busiest=busiest or None
    )


def labels(prefix: str | None, after: str | None, limit: int | None) -> Call[PageBy[JsonObject, str]]:
    """The labels of jobs, in their order."""
    return call_to("Labels", answers.labels, prefix=prefix, after=after, limit=limit)


def hosts() -> Call[list[JsonObject]]:
    """The hosts that work from the daemon's database."""
    return call_to("Hosts", lambda reply: answers.shaped(reply, "hosts", "[]Host"))


def needs() -> Call[Needed]:
    """What waits for somebody."""
    return call_to("Needs", answers.needs)


def alerts(is_open: bool, before: int | None, limit: int | None) -> Call[PageBy[JsonObject, int]]:
    """What was raised of what needs somebody, newest first."""
    return call_to("Alerts", answers.alerts, open=is_open or None, before=before, limit=limit)


def acknowledge_alert(alert_id: int) -> Call[None]:
    """Once is as good as twice."""
    return call_to("AcknowledgeAlert", answers.nothing, id=alert_id)


def mute_alerts(rule: str, seconds: float) -> Call[None]:
    """Repeated, it lasts a moment longer."""
    return call_to("MuteAlerts", answers.nothing, rule=rule, seconds=seconds)


def test_alerts(rule: str | None) -> Call[list[int]]:
    """Not repeated: each is told."""
    return call_to("TestAlerts", lambda reply: answers.shaped(reply, "ids", "[]int"), False, rule=rule)


def host_lost(name: str) -> Call[None]:
    """Not repeated: a host that is back by then would be lost again."""
    return call_to("HostLost", answers.nothing, False, name=name)


def drain(host: str | None) -> Call[JsonObject]:
    """Repeated, it changes nothing."""
    return call_to("Drain", answers.draining, host=host)


def host_accept() -> Call[bool]:
    """Not repeated: the second answer would not tell that the first has accepted something."""
    return call_to("HostAccept", lambda reply: answers.field(reply, "accepted", bool), False)


def errors(
    since: Any,
    class_name: str | type | None,
    new: bool,
    sort: str | None,
    before: str | None,
    limit: int | None,
) -> Call[PageBy[JsonObject, str]]:
    """Errors in their order."""
    return call_to(
        "Errors",
        answers.errors,
        since=plain_time(since),
        class_name=class_or_none(class_name),
        new=new or None,
        sort=sort,
        before=before,
        limit=limit,
    )


def error(error_id: int, traits: bool) -> Call[ErrorRead]:
    """An error with its classes and its latest traceback."""
    return call_to("Error", answers.error, id=error_id, traits=traits or None)


def trend(of: str, span: int, since: Any) -> Call[list[JsonObject]]:
    """What ended, or how queues stood, by spans."""
    return call_to("Trend", answers.trend, of=of, span=span, since=plain_time(since))


def class_trends() -> Call[list[JsonObject]]:
    """What ended of each class."""
    return call_to("ClassTrends", answers.class_trends)


def class_stats(class_name: str | type, limit: int | None) -> Call[ClassStats]:
    """What ended of a class, and its newest attempts."""
    return call_to("ClassStats", answers.class_stats, name=class_name_of(class_name), limit=limit)


def reload() -> Call[Reloaded]:
    return call_to("Reload", answers.reloaded, False)


def ping() -> Call[JsonObject]:
    return Call(f"{SERVICE}.GetInfo", {}, lambda reply: reply)
