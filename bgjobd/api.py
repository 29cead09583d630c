"""The methods of org.bgjobd.Jobs, one function each: check the shape, ask the daemon, shape the answer."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bgjob.codec import ENCODER, JsonObject, to_json
from bgjob.errors import (
    InterfaceNotFoundError,
    InvalidParameterError,
    InvalidParametersError,
    JobNotFoundError,
    TooLargeError,
)
from bgjob.words import INTERFACE, SERVICE, STATUS_WORDS, Backoff, EntryType, Status
from bgjobd import inputs, portions, streams
from bgjobd.access import RIGHTS, Right
from bgjobd.catalogue import Catalogue, check_names
from bgjobd.clock import to_text
from bgjobd.core.facts import CancelRequested, RetryRequested, Submitted
from bgjobd.core.job import Call, RetryPolicy, masked_text
from bgjobd.inputs import (
    Input,
    Interface,
    JobIds,
    NewJob,
    Nothing,
    Options,
    QueueName,
    SubmitMany,
    Wait,
    checked,
)
from bgjobd.ipc import Answer, Caller, Encoded, Methods, Stream
from bgjobd.limits import LIMITS, value_of
from bgjobd.policy import Policy, first
from bgjobd.store.items import (
    JobFilter,
    JobRequests,
    LogFilter,
    QueuePaused,
    QueueResumed,
    Stored,
    Submission,
    Submitter,
)
from bgjobd.store.pages import Page
from bgjobd.store.reader import Reader, StoredJob
from bgjobd.turns import Pace, let_others, paced

if TYPE_CHECKING:
    from bgjobd.daemon import Daemon

_PAGE: Final = 50
_MOST_NAMED: Final = 20
"""So many jobs of one request a line of the log names."""

IDL: Final = Path(__file__).parent / f"{INTERFACE}.varlink"


async def submit(daemon: Daemon, given: NewJob, caller: Caller) -> JsonObject:
    catalogue = await daemon.in_force.catalogue()
    fact = await _submitted(daemon, catalogue, given)
    given.parameters = None  # as values they are many times as large, and nobody asks for them any more
    (stored,) = await _store(daemon, [fact], _submitter(caller))
    return {"id": stored.id, "created": stored.created}


async def submit_many(daemon: Daemon, given: SubmitMany, caller: Caller) -> JsonObject:
    async with caller.turn:
        facts = await _submitted_many(daemon, given.jobs)
    stored = await _store(daemon, facts, _submitter(caller))
    return {"ids": [one.id for one in stored]}


async def get(daemon: Daemon, given: inputs.Get, caller: Caller) -> Encoded:
    return await _job(daemon, given, caller)


async def wait(daemon: Daemon, given: Wait, caller: Caller) -> Encoded:
    async with daemon.grants.holding(caller, RIGHTS["Wait"]):
        with daemon.waiters.waiting_for(given.id) as ended:
            async with caller.turn:
                standing = await streams.summary_of_stored(daemon, given.id)
            if standing["finished_at"] is None:
                await ended(given.timeout)
        return await _job(daemon, inputs.Get(id=given.id), caller)


async def list_jobs(daemon: Daemon, given: inputs.List, caller: Caller) -> Encoded:
    since, before_at = _stored(given.since, "since"), _stored(given.before_at, "before_at")
    wanted = JobFilter(
        _words(given.status), given.queue, given.class_name, given.method_name, given.search, since
    )
    now = daemon.clock.now()

    def read(reader: Reader) -> Encoded:
        page = reader.list(
            wanted,
            before=given.before,
            before_at=before_at,
            limit=given.limit or _PAGE,
            now=now,
            count=given.count,
        )
        return _encoded_page("jobs", page.rows, page, next_at=page.next_at)

    async with caller.turn:
        return await daemon.read_page(wanted, read)


async def logs(daemon: Daemon, given: inputs.Logs, caller: Caller) -> Encoded:
    if given.before is not None and given.after is not None:
        raise InvalidParameterError(parameter="before")
    if given.limit == 0:
        raise InvalidParameterError(parameter="limit")
    wanted = LogFilter(given.id, given.class_name, given.method_name, given.type, given.search)

    def read(reader: Reader) -> Encoded:
        page = reader.logs(
            wanted, before=given.before, after=given.after, limit=given.limit or _PAGE, count=given.count
        )
        return _encoded_page("entries", (streams.shown(daemon, entry) for entry in page.rows), page)

    async with caller.turn:
        if given.id is not None:
            await streams.summary_of_stored(daemon, given.id)
        return await daemon.read_page(wanted, read)


async def output(daemon: Daemon, given: inputs.Output, caller: Caller) -> JsonObject:
    async with caller.turn:
        return await _output(daemon, given)


async def _output(daemon: Daemon, given: inputs.Output) -> JsonObject:
    job = await streams.summary_of_stored(daemon, given.id)
    number, offset = given.number or job["attempt"], given.offset or 0
    is_over = job["attempt"] > number or job["status"] != Status.RUNNING
    read = await daemon.read_output((given.id, number), offset, given.limit or inputs.MAX_PART)
    has_more = not (await daemon.read_output((given.id, number), read.next, 1)).is_nothing
    is_end = is_over and not has_more and (number > 0 or Status(job["status"]).is_final)
    return streams.part(number, read, is_end)


async def cancel(daemon: Daemon, given: JobIds, caller: Caller) -> JsonObject:
    ids = list(dict.fromkeys(given.ids))
    await daemon.record(JobRequests(tuple(ids), CancelRequested()))
    _say_who(daemon, f"cancel of {_jobs(ids)}", caller)
    return {"ids": ids}


async def retry(daemon: Daemon, given: JobIds, caller: Caller) -> JsonObject:
    ids = list(dict.fromkeys(given.ids))
    await daemon.record(JobRequests(tuple(ids), RetryRequested()))
    _say_who(daemon, f"retry of {_jobs(ids)}", caller)
    return {"ids": ids}


async def reload(daemon: Daemon, given: Nothing, caller: Caller) -> JsonObject:
    return {"code_version": (await daemon.reload()).code_version}


async def pause(daemon: Daemon, given: QueueName, caller: Caller) -> JsonObject:
    await daemon.record(QueuePaused(_known_queue(daemon, given.queue, "queue")))
    _say_who(daemon, f"pause of queue {given.queue}", caller)
    return {}


async def resume(daemon: Daemon, given: QueueName, caller: Caller) -> JsonObject:
    await daemon.record(QueueResumed(_known_queue(daemon, given.queue, "queue")))
    _say_who(daemon, f"resume of queue {given.queue}", caller)
    return {}


async def prune(daemon: Daemon, given: inputs.Prune, caller: Caller) -> JsonObject:
    deleted = await daemon.retention.delete(tuple(dict.fromkeys(given.ids)), given.last_entry)
    if deleted.jobs:
        _say_who(daemon, f"deletion of {_jobs(list(deleted.jobs))}", caller)
    return {"ids": list(deleted.jobs), "entries": deleted.entries}


async def prune_logs(daemon: Daemon, given: inputs.PruneLogs, caller: Caller) -> JsonObject:
    before = _try_instant(given.before)
    if before is None:
        raise InvalidParameterError(parameter="before")
    trimmed = await daemon.retention.trim(before, given.after or 0)
    if trimmed.entries:
        _say_who(daemon, f"deletion of {trimmed.entries} log entries from before {given.before}", caller)
    return {"entries": trimmed.entries, "next": trimmed.next}


def _say_who(daemon: Daemon, what: str, caller: Caller) -> None:
    """What is done to jobs and queues is committed, and can be traced: a line of the log has the caller."""
    daemon.say(EntryType.INFO, f"{what} requested by uid {caller.uid} (pid {caller.pid})")


def _jobs(ids: list[int]) -> str:
    named = ", ".join(map(str, ids[:_MOST_NAMED]))
    more = f" and {len(ids) - _MOST_NAMED} more" if len(ids) > _MOST_NAMED else ""
    return f"job{'s' if len(ids) > 1 else ''} {named}{more}"


async def classes(daemon: Daemon, given: Nothing, caller: Caller) -> JsonObject:
    catalogue = await daemon.in_force.catalogue()
    return {
        "classes": [
            _class(daemon, name, described, catalogue.policies.get(name))
            for name, described in sorted(catalogue.classes.items())
        ],
        "code_version": catalogue.code_version,
        "limits": dict(daemon.enforcement.by),
    }


async def stats(daemon: Daemon, given: inputs.Stats, caller: Caller) -> JsonObject:
    now = daemon.clock.now()
    async with caller.turn:
        tally = await daemon.tally()
        paused, oldest, oldest_of, size = await daemon.read(
            lambda reader: (
                reader.paused(),
                reader.oldest_pending(now),
                reader.oldest_pending_by_queue(daemon.lanes.queues, now),
                reader.size(),
            )
        )
        asked_for = {"usage": await daemon.read(Reader.usage)} if given.usage else {}
        if given.counts:
            asked_for["counts"] = daemon.counts.told()
    server = daemon.fork_server
    return {
        "version": _version(),
        "pid": os.getpid(),
        "started_at": to_text(daemon.started_at),
        "code_version": None if server is None else server.code_version,
        "python": None if server is None else server.ready["python"],
        "fork_server_pid": None if server is None else server.pid,
        "fork_servers": daemon.fork_servers,
        "loaded_at": None if daemon.loaded_at is None else to_text(daemon.loaded_at),
        "slots": daemon.lanes.slots,
        "storage_trouble": daemon.storage_trouble,
        "held": daemon.held,
        "database_bytes": size,
        "jobs": tally.jobs,
        "minutes": tally.minutes(now),
        "oldest_pending": oldest,
        "queues": [
            {
                "name": name,
                "slots": slots,
                "pending": tally.of_queue(name, Status.PENDING),
                "running": tally.of_queue(name, Status.RUNNING),
                "paused": name in paused,
                "max_pending": daemon.lanes.max_pending[name],
                "oldest_pending": oldest_of.get(name),
            }
            for name, slots in sorted(daemon.lanes.queues.items())
        ],
        **asked_for,
    }


async def why(daemon: Daemon, given: inputs.Why, caller: Caller) -> JsonObject:
    async with caller.turn:
        return {"sentence": await daemon.why(given.id)}


async def running(daemon: Daemon, given: Nothing, caller: Caller) -> JsonObject:
    async with caller.turn:
        return {"attempts": await daemon.running()}


_TABLE: Final[dict[str, tuple[type[Input], Callable[..., Awaitable[JsonObject | Encoded]]]]] = {
    "Submit": (NewJob, submit),
    "SubmitMany": (SubmitMany, submit_many),
    "Get": (inputs.Get, get),
    "Wait": (Wait, wait),
    "Cancel": (JobIds, cancel),
    "Retry": (JobIds, retry),
    "Prune": (inputs.Prune, prune),
    "PruneLogs": (inputs.PruneLogs, prune_logs),
    "Reload": (Nothing, reload),
    "Pause": (QueueName, pause),
    "Resume": (QueueName, resume),
    "List": (inputs.List, list_jobs),
    "Logs": (inputs.Logs, logs),
    "Output": (inputs.Output, output),
    "Classes": (Nothing, classes),
    "Stats": (inputs.Stats, stats),
    "Running": (Nothing, running),
    "Why": (inputs.Why, why),
}


_STREAMS: Final[dict[str, tuple[type[Input], Callable[..., AsyncIterator[JsonObject]]]]] = {
    "Watch": (inputs.Watch, streams.watch),
    "Logs": (inputs.Logs, streams.logs),
    "Output": (inputs.Output, streams.output),
}


def methods(daemon: Daemon) -> Methods:
    """All that the socket serves: the jobs' interface, and the one that describes it."""
    answers: dict[str, Answer] = {
        f"{INTERFACE}.{name}": partial(_call, daemon, RIGHTS[name], *entry) for name, entry in _TABLE.items()
    }
    answers[f"{SERVICE}.GetInfo"] = _info
    answers[f"{SERVICE}.GetInterfaceDescription"] = _description
    followed: dict[str, Stream] = {
        f"{INTERFACE}.{name}": partial(_follow, daemon, RIGHTS[name], *entry)
        for name, entry in _STREAMS.items()
    }
    return Methods(answers, followed)


async def _call(
    daemon: Daemon,
    right: Right,
    shape: type[Input],
    function: Callable[..., Awaitable[JsonObject | Encoded]],
    parameters: JsonObject,
    caller: Caller,
) -> JsonObject | Encoded:
    daemon.grants.check(caller, right)
    given = checked(shape, parameters)
    parameters.clear()
    return await function(daemon, given, caller)


async def _follow(
    daemon: Daemon,
    right: Right,
    shape: type[Input],
    function: Callable[..., AsyncIterator[JsonObject]],
    parameters: JsonObject,
    caller: Caller,
) -> AsyncIterator[JsonObject]:
    daemon.grants.check(caller, right)
    stream = function(daemon, checked(shape, parameters), caller)
    while True:
        async with daemon.grants.holding(caller, right):
            news = await anext(stream, None)
        if news is None:
            return
        yield news


@cache
def _version() -> str:
    """What runs, whatever is installed by now: the disk is asked once."""
    return version("bgjobd")


async def _info(parameters: JsonObject, caller: Caller) -> JsonObject:
    checked(Nothing, parameters)
    return {
        "vendor": "bgjobd",
        "product": "bgjobd",
        "version": _version(),
        "url": "",
        "interfaces": [SERVICE, INTERFACE],
    }


async def _description(parameters: JsonObject, caller: Caller) -> JsonObject:
    given = checked(Interface, parameters)
    description = _DESCRIPTIONS.get(given.interface)
    if description is None:
        raise InterfaceNotFoundError(interface=given.interface)
    return {"description": description}


async def submit_line(daemon: Daemon, parameters: JsonObject) -> None:
    """One request of the named pipe. Nobody knows its writer: whoever may write to the pipe may submit."""
    given, catalogue = checked(NewJob, parameters), await daemon.in_force.catalogue()
    fact = await _submitted(daemon, catalogue, given)
    await _store(daemon, [fact], Submitter(None, None, None))


def _submitter(caller: Caller) -> Submitter:
    return Submitter(caller.uid, caller.gid, caller.pid)


async def _store(daemon: Daemon, facts: list[Submitted], submitter: Submitter) -> tuple[Stored, ...]:
    stored: tuple[Stored, ...] = await daemon.record(Submission(tuple(facts), submitter))
    return stored


async def _submitted_many(daemon: Daemon, given: list[Any]) -> list[Submitted]:
    """The facts of a request for many jobs, which takes a second; others have their turn meanwhile.

    The shape of all is looked at before what any of them means, as of all requests.
    """
    catalogue, pace, index = await daemon.in_force.catalogue(), Pace(), 0
    facts = []
    try:
        for index, fields in enumerate(given):
            if pace.is_over:
                await pace.rest()
            given[index] = _new_job(fields)
        for index, job in enumerate(given):
            if pace.is_over:
                await pace.rest()
            facts.append(await _submitted(daemon, catalogue, job))
            given[index] = None  # as values they are many times as large, and nobody asks for them any more
    except (InvalidParameterError, InvalidParametersError) as error:
        raise _of_job(index, error) from None
    return facts


def _new_job(fields: Any) -> NewJob:
    if not isinstance(fields, dict):
        raise InvalidParameterError(parameter="")
    return checked(NewJob, fields)


def _of_job(
    index: int, error: InvalidParameterError | InvalidParametersError
) -> InvalidParameterError | InvalidParametersError:
    """The refusal of one job of many, with its place in the list."""
    if isinstance(error, InvalidParameterError):
        return InvalidParameterError(parameter=f"jobs.{index}.{error.parameters['parameter']}".rstrip("."))
    problems = [
        {**problem, "path": f"jobs/{index}/{problem['path']}".rstrip("/")}
        for problem in error.parameters["problems"]
    ]
    return InvalidParametersError(problems=problems)


_NO_OPTIONS: Final = Options()


async def _submitted(daemon: Daemon, catalogue: Catalogue, job: NewJob) -> Submitted:
    """The fact of this request; what it leaves open comes from the class's policy.

    Raises the refusals. Others have their turn while there is much of it.
    """
    check_names(job.class_name, job.method_name, daemon.limits.max_name)
    parameters, limit = job.parameters or {}, daemon.limits.max_parameters
    is_flat = len(parameters) < _FEW and _CONTAINERS.isdisjoint(map(type, parameters.values()))
    text = to_json(parameters) if is_flat else await _long_text(parameters, limit)
    size = len(text) if text.isascii() else len(text.encode())
    if size > limit:
        raise TooLargeError(limit=limit, size=size)
    if size > _LONG:
        await let_others()
    catalogue.check(job.class_name, job.method_name, parameters)
    if size > _LONG:
        await let_others()
    options, policy = job.options or _NO_OPTIONS, catalogue.policies[job.class_name]
    digest = None
    if options.idempotency_key is not None:
        digest = _digest(
            job, text if is_flat and _is_in_order(parameters) else await _text_in_order(parameters)
        )
    sensitive = catalogue.sensitive(job.class_name, job.method_name, parameters)
    return Submitted(
        id=0,  # the ledger gives it
        call=Call(job.class_name, job.method_name, text, sensitive),
        retry_count=job.retry_count or 0,
        policy=_retry_policy(daemon, options, policy.retry),
        queue=_known_queue(daemon, first(options.queue, policy.queue), "options.queue"),
        priority=first(options.priority, policy.priority),
        timeout=first(options.timeout, policy.timeout),
        scheduled_at=_scheduled_at(options, daemon.clock.now()),
        idempotency_key=options.idempotency_key,
        digest=digest,
    )


async def _long_text(parameters: JsonObject, limit: int) -> str:
    """The parameters as text; raises TooLargeError for those that are too large to be written out, if they are."""
    if await _is_spread(parameters, limit // 2):
        await _refuse_spread(parameters, limit)
    await let_others()
    return await paced(portions.written(parameters, to_json))


def _is_in_order(flat: JsonObject) -> bool:
    names = list(flat)
    return names == sorted(names)


async def _text_in_order(parameters: JsonObject) -> str:
    """As `_in_order` has it."""
    return await paced(portions.written(dict(sorted(parameters.items())), _in_order))


_CONTAINERS: Final = frozenset({dict, list})
_FEW: Final = 100
_LONG: Final = 4096


async def _is_spread(parameters: JsonObject, most: int) -> bool:
    """Whether there are more values in it; each takes two bytes at least."""
    pace, count, level = Pace(), 0, list[Any]([parameters])
    while level:
        count += sum(map(len, level))
        if count > most:
            return True
        below: list[Any] = []
        for one in level:
            if pace.is_over:
                await pace.rest()
            items = one.values() if isinstance(one, dict) else one
            if not _CONTAINERS.isdisjoint(map(type, items)):
                below += [item for item in items if type(item) in _CONTAINERS and item]
        level = below
    return False


async def _refuse_spread(parameters: JsonObject, limit: int) -> None:
    """Raises TooLargeError for what is too large to be written out at once, if it is."""
    size, pace = 0, Pace()
    for piece in ENCODER.iterencode(parameters):
        size += len(piece.encode())
        if pace.is_over:
            await pace.rest()
    if size > limit:
        raise TooLargeError(limit=limit, size=size)


def _digest(job: NewJob, parameters: str) -> str:
    """What tells this request from another with the same idempotency key, whatever the defaults are by now.

    `parameters` are as `_in_order` has them. It is of the text of a list: class, method, parameters, retries and what
    else was asked for; names that are possible need no quoting.
    """
    options = "{}"
    if job.options is not None and job.options.model_fields_set != _KEY_ALONE:
        options = _in_order(job.options.model_dump(exclude_none=True, exclude=_KEY_ALONE))
    text = f'["{job.class_name}","{job.method_name}",{parameters},{job.retry_count or 0},{options}]'
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


_KEY_ALONE: Final = {"idempotency_key"}
_in_order: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


def _retry_policy(daemon: Daemon, options: Options, own: RetryPolicy) -> RetryPolicy:
    if options.max_retries is not None and options.max_retries > daemon.config.retry.cap:
        raise InvalidParameterError(parameter="options.max_retries")
    return RetryPolicy(
        max_retries=first(options.max_retries, own.max_retries),
        retry_delay=first(options.retry_delay, own.retry_delay),
        backoff=Backoff(first(options.backoff, own.backoff)),
        max_retry_delay=own.max_retry_delay,
    )


def _scheduled_at(options: Options, now: float) -> float | None:
    if options.at is None:
        return now + options.delay if options.delay else None
    if options.delay is not None:
        raise InvalidParameterError(parameter="options.delay")
    at = _try_instant(options.at)
    if at is None:
        raise InvalidParameterError(parameter="options.at")
    return at


def _try_instant(text: str) -> float | None:
    """Seconds since the epoch of a date and time with its offset; None for what is none, or cannot be stored."""
    try:
        at = datetime.fromisoformat(text)
        seconds = at.timestamp()
        to_text(seconds)
    except (ValueError, OverflowError):
        return None
    return None if at.tzinfo is None else seconds


def _stored(text: str | None, parameter: str) -> str | None:
    """A moment as it is stored. Raises InvalidParameterError where the text is none."""
    if text is None:
        return None
    at = _try_instant(text)
    if at is None:
        raise InvalidParameterError(parameter=parameter)
    return to_text(at)


def _known_queue(daemon: Daemon, queue: str, parameter: str) -> str:
    if queue not in daemon.lanes.queues:
        raise InvalidParameterError(parameter=parameter)
    return queue


def _words(status: list[str] | None) -> tuple[str, ...] | None:
    for index, word in enumerate(status or ()):
        if word not in STATUS_WORDS:
            raise InvalidParameterError(parameter=f"status.{index}")
    return None if status is None else tuple(status)


async def _job(daemon: Daemon, given: inputs.Get, caller: Caller) -> Encoded:
    """The job and a page of its attempts, put together where it is read: that may be megabytes."""

    def read(reader: Reader) -> Encoded | None:
        job = reader.job(given.id, given.before, given.limit)
        return None if job is None else _encoded(job, daemon.in_force.policy(job.columns["class_name"]))

    async with caller.turn:
        reply = await daemon.read(read)
    if reply is None:
        raise JobNotFoundError(id=given.id)
    return reply


def _encoded(job: StoredJob, policy: Policy) -> Encoded:
    # The job says itself what was a secret when it was submitted; the configuration may say more by now.
    texts = {
        "parameters": masked_text(job.columns["parameters"], policy.sensitive),
        "result": job.columns["result"] or "null",
    }
    fields = {name: texts.get(name) or to_json(value) for name, value in job.columns.items()} | {
        "attempts": f"[{','.join(map(to_json, job.attempts))}]",
    }
    told = ",".join(f'"{name}":{text}' for name, text in fields.items())
    return Encoded(f'{{"job":{{{told}}},"next":{to_json(job.next)}}}'.encode())


def _encoded_page(name: str, rows: Iterable[JsonObject], page: Page, **more: Any) -> Encoded:
    """The page with its rows by this name, written out where it is read, row by row: all at once would keep others."""
    told = ",".join(map(to_json, rows))
    rest = to_json({"next": page.next, "is_complete": page.is_complete, "total": page.total, **more})
    return Encoded(f'{{"{name}":[{told}],{rest[1:]}'.encode())


def _class(daemon: Daemon, name: str, described: Mapping[str, Any], policy: Policy | None) -> JsonObject:
    offered = [
        {"name": method, "doc": details["doc"], "schema": _shown(details, policy), "note": details["note"]}
        for method, details in sorted(described["methods"].items())
    ]
    return {
        "name": name,
        "doc": described["doc"],
        "methods": offered,
        "policy": None if policy is None else _policy(policy) | _limits(daemon, name),
        "unavailable": described["unavailable"],
        "hint": None if described["unavailable"] is None else daemon.hint_of_class(name),
    }


def _shown(method: Mapping[str, Any], policy: Policy | None) -> JsonObject:
    """The schema without the defaults of sensitive parameters."""
    sensitive = {*method["sensitive"], *(policy.sensitive if policy is not None else ())}
    properties = {
        name: {key: value for key, value in inner.items() if key != "default" or name not in sensitive}
        for name, inner in method["schema"].get("properties", {}).items()
    }
    return {**method["schema"], **({"properties": properties} if properties else {})}


def _policy(policy: Policy) -> JsonObject:
    return {
        "queue": policy.queue,
        "priority": policy.priority,
        "slots": policy.slots,
        "timeout": policy.timeout,
        "max_retries": policy.retry.max_retries,
        "retry_delay": policy.retry.retry_delay,
        "backoff": policy.retry.backoff,
        "max_retry_delay": policy.retry.max_retry_delay,
        "retry_lost": policy.retry_lost,
        "retry_on": None if policy.retry_on is None else sorted(policy.retry_on),
        "stop_grace": policy.stop_grace,
        "sensitive": sorted(policy.sensitive),
    }


def _limits(daemon: Daemon, class_name: str) -> JsonObject:
    """The limits of the class by name, None where there is none, and which of them nothing enforces here."""
    values = {name: value_of(daemon.config, class_name, name) for name in LIMITS}
    if values["writable"] is not None:
        values["writable"] = [str(path) for path in values["writable"]]
    return {**values, "unenforced": list(daemon.enforcement.unenforced.get(class_name, ()))}


_DESCRIPTIONS: Final = {
    INTERFACE: IDL.read_text(encoding="utf-8"),
    SERVICE: """# What every Varlink service tells of itself.
interface org.varlink.service

method GetInfo() -> (vendor: string, product: string, version: string, url: string, interfaces: []string)
method GetInterfaceDescription(interface: string) -> (description: string)

error InterfaceNotFound (interface: string)
error MethodNotFound (method: string)
error MethodNotImplemented (method: string)
error InvalidParameter (parameter: string)
error PermissionDenied ()
error ExpectedMore ()
""",
}
