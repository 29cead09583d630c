"""The methods of org.bgjobd.Jobs, one function each: check the shape, ask the daemon, shape the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from bgjob.codec import JsonObject, to_json
from bgjob.errors import InvalidParameterError, JobNotFoundError
from bgjob.words import FINAL, INTERFACE, SERVICE, Status
from bgjobd.api import (
    again,
    alerts,
    change_history,
    class_holds,
    errors,
    groups,
    hosts,
    looking,
    many,
    needs,
    reviews,
    schedules,
    schemas,
    signals,
    stats,
    steps,
    streams,
    trends,
    values,
)
from bgjobd.api.access import RIGHTS, Grants, Right
from bgjobd.api.bulk import submit_many
from bgjobd.api.changes import change
from bgjobd.api.dispatch import Answer, CutOffError, Encoded, Methods, Stream
from bgjobd.api.elsewhere import read_output, try_kept
from bgjobd.api.filters import job_filter
from bgjobd.api.introspection import description, info
from bgjobd.api.peer import Caller
from bgjobd.api.replies import (
    class_reply,
    entry_shown,
    has_ended,
    id_of,
    job_reply,
    page_reply,
    part,
    summary_of_stored,
)
from bgjobd.api.schemas import Input, JobIds, Nothing, QueueName, Submit, SubmitMany, Wait, checked
from bgjobd.api.submissions import in_or_at, stored_instant, submit, try_instant
from bgjobd.api.who_asked import first_jobs, say_who, who
from bgjobd.core.facts import CancelRequested, RetryRequested
from bgjobd.core.quarantine import told_of
from bgjobd.daemon.followers import TooFarBehindError
from bgjobd.host.clock import to_text
from bgjobd.store.filters import ENDED, LogFilter
from bgjobd.store.items.holds import QueuePaused, QueueResumed
from bgjobd.store.items.wishes import JobRequests
from bgjobd.store.reader import Reader

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon

_PAGE: Final = 50


async def get(daemon: Daemon, given: schemas.Get, caller: Caller) -> Encoded:
    job_id = await id_of(daemon, given, caller)
    try:
        return await job_reply(daemon, job_id, caller, given.before, given.limit)
    except JobNotFoundError:
        if not await daemon.take_in(job_id):
            raise
        return await job_reply(daemon, job_id, caller, given.before, given.limit)


async def wait(daemon: Daemon, given: Wait, caller: Caller) -> Encoded:
    job_id = await id_of(daemon, given, caller)
    with daemon.waiters.waiting_for(job_id) as ended:
        if not await _has_ended(daemon, job_id, caller):
            await ended(given.timeout)
    return await job_reply(daemon, job_id, caller)


async def _has_ended(daemon: Daemon, job_id: int, caller: Caller) -> bool:
    """The same of what is not taken in yet."""
    try:
        return await has_ended(daemon, job_id, caller)
    except JobNotFoundError:
        if not await daemon.take_in(job_id):
            raise
        return await has_ended(daemon, job_id, caller)


async def list_jobs(daemon: Daemon, given: schemas.List, caller: Caller) -> Encoded:
    before_at = stored_instant(given.before_at, "before_at")
    wanted = replace(
        job_filter(given),
        search=given.search,
        sort=given.sort,
        sensitive={name: own.sensitive for name, own in daemon.config.approved.items() if own.sensitive},
    )
    if wanted.sort == ENDED and not FINAL.issuperset(wanted.status or ()):
        raise InvalidParameterError(parameter="sort")
    now, code = daemon.clock.now(), daemon.lanes.code_version

    def read(reader: Reader) -> Encoded:
        page = reader.list(
            wanted,
            before=given.before,
            before_at=before_at,
            limit=given.limit or _PAGE,
            now=now,
            count=given.count,
        )
        held = {name for name, one in reader.needs.class_holds().items() if one.holds(code)}
        rows = (
            row | {"is_held": row["status"] == Status.PENDING and row["class_name"] in held}
            for row in reader.with_expected(page.rows, now)
        )
        return page_reply("jobs", rows, page, next_at=page.next_at)

    async with caller.turn:
        return await daemon.readers.read_page(wanted, read)


async def logs(daemon: Daemon, given: schemas.Logs, caller: Caller) -> Encoded:
    if given.before is not None and given.after is not None:
        raise InvalidParameterError(parameter="before")
    if given.limit == 0:
        raise InvalidParameterError(parameter="limit")
    wanted = LogFilter(
        given.id, given.class_name, given.method_name, given.type, given.search, bool(given.said)
    )
    until = stored_instant(given.until, "until")

    def read(reader: Reader) -> Encoded:
        page = reader.logs(
            wanted,
            before=given.before,
            after=given.after,
            limit=given.limit or _PAGE,
            count=given.count,
            until=until,
        )
        return page_reply("entries", (entry_shown(daemon, entry) for entry in page.rows), page)

    async with caller.turn:
        if given.id is not None:
            await summary_of_stored(daemon, given.id)
        return await daemon.readers.read_page(wanted, read)


async def output(daemon: Daemon, given: schemas.Output, caller: Caller) -> JsonObject:
    async with caller.turn:
        return await _output(daemon, given)


async def _output(daemon: Daemon, given: schemas.Output) -> JsonObject:
    job = await summary_of_stored(daemon, given.id)
    number, offset = given.number or job["attempt"], given.offset or 0
    is_over = job["attempt"] > number or job["status"] != Status.RUNNING
    kept = await try_kept(daemon, given.id, number)
    read = await read_output(daemon, given.id, number, offset, given.limit or schemas.MAX_PART, kept)
    has_more = not (await read_output(daemon, given.id, number, read.next, 1, kept)).is_nothing
    is_end = is_over and not has_more and (number > 0 or Status(job["status"]).is_final)
    return part(number, read, is_end)


async def cancel(daemon: Daemon, given: JobIds, caller: Caller) -> JsonObject:
    ids = list(dict.fromkeys(given.ids))
    await daemon.record(JobRequests(tuple(ids), CancelRequested()))
    say_who(daemon, f"cancel of {first_jobs(ids)}", caller)
    return {"ids": ids}


async def retry(daemon: Daemon, given: schemas.Retry, caller: Caller) -> JsonObject:
    ids = list(dict.fromkeys(given.ids))
    fact = RetryRequested(anyway=bool(given.anyway), from_start=bool(given.from_start))
    await daemon.record(JobRequests(tuple(ids), fact))
    how = f"{' anyway' if fact.anyway else ''}{' from the start' if fact.from_start else ''}"
    say_who(daemon, f"retry of {first_jobs(ids)}{how}", caller)
    return {"ids": ids}


async def reload(daemon: Daemon, given: Nothing, caller: Caller) -> JsonObject:
    before = daemon.current_catalogue.try_catalogue()
    catalogue = await daemon.reload.ask(who(daemon, caller))
    is_other = before is None or before.code_version != catalogue.code_version
    async with caller.turn:
        return {
            "code_version": catalogue.code_version,
            "needing_restart": daemon.reload.needing_restart,
            "waiting_jobs": await daemon.inspection.fates(catalogue),
            "amid_steps": await daemon.readers.read(Reader.amid_steps) if is_other else 0,
            "doubts": daemon.current_catalogue.doubts,
        }


async def pause(daemon: Daemon, given: schemas.Pause, caller: Caller) -> JsonObject:
    queue, now = await _known_queue(daemon, given.queue), daemon.clock.now()
    at = in_or_at(given.resumes_in, given.resumes_at, now, "resumes")
    if at is not None and at <= now:
        raise InvalidParameterError(parameter="resumes_at")
    await daemon.record(QueuePaused(queue, at, who(daemon, caller)))
    resumes_at = None if at is None else to_text(at)
    until = "" if resumes_at is None else f" until {resumes_at}"
    say_who(daemon, f"pause of queue {queue}{until}", caller)
    return {"resumes_at": resumes_at}


async def resume(daemon: Daemon, given: QueueName, caller: Caller) -> JsonObject:
    queue = await _known_queue(daemon, given.queue)
    await daemon.record(QueueResumed(queue, who(daemon, caller)))
    say_who(daemon, f"resume of queue {queue}", caller)
    return {}


async def keys(daemon: Daemon, given: schemas.Keys, caller: Caller) -> Encoded:
    queue, limit = await _known_queue(daemon, given.queue), given.limit or _PAGE
    if given.busiest and (given.search, given.after) != (None, None):
        raise InvalidParameterError(parameter="busiest")

    def read(reader: Reader) -> Encoded:
        if given.busiest:
            return Encoded(to_json({"keys": reader.busiest_keys(queue, limit), "next": None}).encode())
        found, following = reader.keys(queue, given.search, given.after, limit)
        return Encoded(to_json({"keys": found, "next": following}).encode())

    async with caller.turn:
        return await (daemon.readers.search(read) if given.search else daemon.readers.read(read))


async def labels(daemon: Daemon, given: schemas.AllLabels, caller: Caller) -> JsonObject:
    ask = partial(
        Reader.labels, prefix=given.prefix or "", after=given.after or "", limit=given.limit or _PAGE
    )
    async with caller.turn:
        found, following = await daemon.readers.search(ask)
    return {"labels": list(found), "next": following}


async def _known_queue(daemon: Daemon, queue: str) -> str:
    if queue not in daemon.lanes.queues and not await daemon.peers.has_queue(queue):
        raise InvalidParameterError(parameter="queue")
    return queue


async def prune(daemon: Daemon, given: schemas.Prune, caller: Caller) -> JsonObject:
    deleted = await daemon.retention.delete(tuple(dict.fromkeys(given.ids)), given.last_entry)
    if deleted.jobs:
        say_who(daemon, f"deletion of {first_jobs(deleted.jobs)}", caller)
    return {"ids": list(deleted.jobs), "entries": deleted.entries}


async def prune_logs(daemon: Daemon, given: schemas.PruneLogs, caller: Caller) -> JsonObject:
    before = try_instant(given.before)
    if before is None:
        raise InvalidParameterError(parameter="before")
    trimmed = await daemon.retention.trim(before, given.after or 0)
    if trimmed.entries:
        say_who(daemon, f"deletion of {trimmed.entries} log entries from before {given.before}", caller)
    return {"entries": trimmed.entries, "next": trimmed.next}


async def classes(daemon: Daemon, given: Nothing, caller: Caller) -> JsonObject:
    catalogue = await daemon.current_catalogue.catalogue()
    now = daemon.clock.now()
    async with caller.turn:
        throttled, holds = await daemon.readers.read(
            lambda reader: (reader.needs.held_classes(catalogue.classes, now), reader.needs.class_holds())
        )
    code = catalogue.code_version
    held = {name: told_of(one, now) for name, one in holds.items() if one.holds(code)}
    return {
        "classes": [
            class_reply(
                daemon, name, described, catalogue.policies.get(name), throttled.get(name), held.get(name)
            )
            for name, described in sorted(catalogue.classes.items())
        ],
        "code_version": catalogue.code_version,
        "limits": dict(daemon.enforcement.by),
    }


async def why(daemon: Daemon, given: schemas.Why, caller: Caller) -> JsonObject:
    async with caller.turn:
        return {"sentence": await daemon.inspection.why(given.id)}


async def running(daemon: Daemon, given: schemas.Running, caller: Caller) -> JsonObject:
    async with caller.turn:
        return {"attempts": await daemon.inspection.running(given.host, given.label)}


_TABLE: Final[dict[str, tuple[type[Input], Callable[..., Awaitable[JsonObject | Encoded]]]]] = {
    "Submit": (Submit, submit),
    "SubmitMany": (SubmitMany, submit_many),
    "Get": (schemas.Get, get),
    "Wait": (Wait, wait),
    "Cancel": (JobIds, cancel),
    "Retry": (schemas.Retry, retry),
    "Matching": (schemas.Matching, many.matching),
    "RetryMatching": (schemas.RetryMatching, many.retry_matching),
    "CancelMatching": (schemas.CancelMatching, many.cancel_matching),
    "Changes": (schemas.Changes, change_history.changes),
    "Again": (schemas.Again, again.again),
    "Settle": (schemas.Settle, reviews.settle),
    "Signal": (schemas.Signal, signals.signal),
    "Change": (schemas.Change, change),
    "Group": (schemas.GroupId, groups.group),
    "Groups": (schemas.Groups, groups.groups),
    "WaitGroup": (schemas.WaitGroup, groups.wait_group),
    "SealGroup": (schemas.GroupId, groups.seal_group),
    "CancelGroup": (schemas.GroupId, groups.cancel_group),
    "RetryGroup": (schemas.GroupId, groups.retry_group),
    "Graph": (schemas.Graph, groups.graph),
    "Prune": (schemas.Prune, prune),
    "PruneLogs": (schemas.PruneLogs, prune_logs),
    "Reload": (Nothing, reload),
    "Pause": (schemas.Pause, pause),
    "Resume": (QueueName, resume),
    "HoldClass": (schemas.ClassName, class_holds.hold_class),
    "ResumeClass": (schemas.ClassName, class_holds.resume_class),
    "List": (schemas.List, list_jobs),
    "Logs": (schemas.Logs, logs),
    "Errors": (schemas.Errors, errors.errors),
    "Error": (schemas.ErrorId, errors.error),
    "Output": (schemas.Output, output),
    "Trend": (schemas.Trend, trends.trend),
    "ClassTrends": (Nothing, trends.class_trends),
    "ClassStats": (schemas.ClassStats, trends.class_stats),
    "Classes": (Nothing, classes),
    "Stats": (schemas.Stats, stats.stats),
    "Running": (schemas.Running, running),
    "Needs": (Nothing, needs.needs),
    "Alerts": (schemas.Alerts, alerts.alerts),
    "AcknowledgeAlert": (schemas.AlertId, alerts.acknowledge),
    "MuteAlerts": (schemas.MuteAlerts, alerts.mute),
    "TestAlerts": (schemas.TestAlerts, alerts.test),
    "Keys": (schemas.Keys, keys),
    "Labels": (schemas.AllLabels, labels),
    "Hosts": (Nothing, hosts.hosts),
    "Drain": (schemas.Drain, hosts.drain),
    "HostLost": (schemas.HostName, hosts.host_lost),
    "HostAccept": (Nothing, hosts.host_accept),
    "Steps": (schemas.Steps, steps.steps),
    "Stack": (schemas.Stack, looking.stack),
    "Values": (schemas.Values, values.values),
    "Why": (schemas.Why, why),
    "Schedules": (schemas.Schedules, schedules.schedules),
    "Occurrences": (schemas.Occurrences, schedules.occurrences),
    "RunSchedule": (schemas.ScheduleName, schedules.run_schedule),
    "PauseSchedule": (schemas.ScheduleName, schedules.pause_schedule),
    "ResumeSchedule": (schemas.ScheduleName, schedules.resume_schedule),
    "Backfill": (schemas.Backfill, schedules.backfill),
    "PutSchedule": (schemas.PutSchedule, schedules.put_schedule),
    "DeleteSchedule": (schemas.ScheduleName, schedules.delete_schedule),
}


_STREAMS: Final[dict[str, tuple[type[Input], Callable[..., AsyncIterator[JsonObject | Encoded]]]]] = {
    "Watch": (schemas.Watch, streams.watch),
    "Logs": (schemas.Logs, streams.logs),
    "Output": (schemas.Output, streams.output),
    "Values": (schemas.Values, values.follow),
}


_ASKING_GRANTS: Final = frozenset(
    {"Submit", "SubmitMany", "Change", "SealGroup", "CancelGroup", "Signal", "Again"}
)
"""The methods that ask what else the caller may do: they get the grants first."""

_TO_THEIR_END: Final = frozenset(
    [name for name, right in RIGHTS.items() if right in (Right.MANAGE, Right.OWN) and name != "Backfill"]
    + ["Change", "SealGroup", "CancelGroup"]
)
"""The methods that go on where their caller has left: they say who asked, or take over what was stored, after the
commit. A backfill ends there, and says what it has made.
"""

_HELD: Final = frozenset({"Wait", "WaitGroup"})
"""The methods that take so long that the right to them has to last; streams look at it for each of their replies."""


def methods(daemon: Daemon, grants: Grants) -> Methods:
    """All that the socket serves: the jobs' interface, and the one that describes it."""
    answers: dict[str, Answer] = {}
    for name, entry in _TABLE.items():
        shape, function = entry
        known = partial(function, grants) if name in _ASKING_GRANTS else function
        answer = partial(_call, daemon, grants, RIGHTS[name], shape, known)
        is_held = name in _HELD
        answers[f"{INTERFACE}.{name}"] = partial(_hold, grants, RIGHTS[name], answer) if is_held else answer
    answers[f"{SERVICE}.GetInfo"] = info
    answers[f"{SERVICE}.GetInterfaceDescription"] = description
    followed: dict[str, Stream] = {
        f"{INTERFACE}.{name}": partial(_follow, daemon, grants, RIGHTS[name], *entry)
        for name, entry in _STREAMS.items()
    }
    to_their_end, waiting = (
        frozenset(f"{INTERFACE}.{name}" for name in names) for names in (_TO_THEIR_END, _HELD)
    )
    return Methods(answers, followed, to_their_end, waiting)


async def _hold(
    grants: Grants, right: Right, answer: Answer, parameters: JsonObject, caller: Caller
) -> JsonObject | Encoded:
    async with grants.holding(caller, right):
        return await answer(parameters, caller)


async def _call(
    daemon: Daemon,
    grants: Grants,
    right: Right,
    shape: type[Input],
    function: Callable[..., Awaitable[JsonObject | Encoded]],
    parameters: JsonObject,
    caller: Caller,
) -> JsonObject | Encoded:
    grants.check(caller, right)
    given = checked(shape, parameters)
    parameters.clear()
    return await function(daemon, given, caller)


async def _follow(
    daemon: Daemon,
    grants: Grants,
    right: Right,
    shape: type[Input],
    function: Callable[..., AsyncIterator[JsonObject | Encoded]],
    parameters: JsonObject,
    caller: Caller,
) -> AsyncIterator[JsonObject | Encoded]:
    grants.check(caller, right)
    stream = function(daemon, checked(shape, parameters), caller)
    while True:
        async with grants.holding(caller, right):
            try:
                news = await anext(stream, None)
            except TooFarBehindError:
                raise CutOffError from None
        if news is None:
            return
        yield news
