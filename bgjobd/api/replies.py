"""What the socket answers of a job, its attempts, its output, a class and a log entry, as JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any

from bgjob.codec import JsonObject, to_json
from bgjob.errors import InvalidParameterError, JobNotFoundError
from bgjob.words import Status
from bgjobd.api import schemas
from bgjobd.api.dispatch import Encoded
from bgjobd.api.peer import Caller
from bgjobd.config.policy import Policy
from bgjobd.core.gate import NO_RULES
from bgjobd.core.masking import masked, masked_names, masked_text
from bgjobd.core.rates import Bucket
from bgjobd.daemon.traces import Traces
from bgjobd.host.clock import to_text
from bgjobd.store.committed import LogLine
from bgjobd.store.pages.page import Page
from bgjobd.store.reader import Reader
from bgjobd.store.reads.due import DueByQueue
from bgjobd.store.reads.stored_jobs import StoredJob
from bgjobd.store.tally import Tally
from bgjobd.supervisor.limits import LIMITS, value_of
from bgjobd.supervisor.outputs import Part

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon


async def id_of(daemon: Daemon, given: schemas.OneJob, caller: Caller) -> int:
    """The id of the job that is asked for. Raises InvalidParameterError, and JobNotFoundError for an unknown key."""
    match given.id, given.key:
        case int(job_id), None:
            return job_id
        case None, str(key):
            return await _id_of_key(daemon, key, caller)
        case None, None:
            raise InvalidParameterError(parameter="id")
        case _:
            raise InvalidParameterError(parameter="key")


async def _id_of_key(daemon: Daemon, key: str, caller: Caller) -> int:
    job_id = daemon.recent.id_of(key)
    if job_id is None:
        async with caller.turn:
            job_id = await daemon.readers.read(lambda reader: reader.id_of(key))
            if job_id is None and await daemon.take_in(None):
                job_id = await daemon.readers.read(lambda reader: reader.id_of(key))
    if job_id is None:
        raise JobNotFoundError(id=0, key=key)
    return job_id


async def job_reply(
    daemon: Daemon, job_id: int, caller: Caller, before: int | None = None, limit: int | None = None
) -> Encoded:
    """The job and a page of its attempts. What has to be read is put together there: that may be megabytes."""
    known = daemon.recent.job(job_id) if before is None and limit is None else None
    now, policy = daemon.clock.now(), daemon.current_catalogue.policy
    if known is not None and known.columns["status"] != Status.RUNNING:
        return _encoded(known, policy(known.columns["class_name"]), daemon.traces)

    def read(reader: Reader) -> Encoded | None:
        job = known or reader.job(job_id, before, limit)
        if job is None:
            return None
        expected = reader.try_expected(job, now)
        return _encoded(job, policy(job.columns["class_name"]), daemon.traces, expected)

    async with caller.turn:
        reply = await daemon.readers.read(read)
    if reply is None:
        raise JobNotFoundError(id=job_id)
    return reply


def _encoded(job: StoredJob, policy: Policy, traces: Traces, expected: JsonObject | None = None) -> Encoded:
    # The job says itself what was a secret when it was submitted; the configuration may say more by now.
    masked_by_now = masked_names(job.columns["parameters"], policy.sensitive)
    shown = sorted({*job.columns["sensitive"], *masked_by_now})
    columns = job.columns | {"sensitive": shown, "expected": expected}
    texts = {
        "parameters": masked_text(job.columns["parameters"], policy.sensitive),
        "result": job.columns["result"] or "null",
    }
    fields = ",".join(_fields(columns, texts))
    attempts = ",".join(map(to_json, traces.told(job.columns, job.attempts)))
    return Encoded(f'{{"job":{{{fields},"attempts":[{attempts}]}},"next":{to_json(job.next)}}}'.encode())


def _fields(columns: JsonObject, texts: Mapping[str, str]) -> Iterator[str]:
    """The columns as JSON, in their order: those with a text as it is, what is between them written at once."""
    for is_text, names in groupby(columns, texts.__contains__):
        if is_text:
            yield from (f'"{name}":{texts[name]}' for name in names)
        else:
            yield to_json({name: columns[name] for name in names})[1:-1]


def page_reply(name: str, rows: Iterable[JsonObject], page: Page, **more: Any) -> Encoded:
    """The page with its rows by this name, written out where it is read, row by row: all at once would keep others."""
    written = ",".join(map(to_json, rows))
    rest = to_json({"next": page.next, "is_complete": page.is_complete, "total": page.total, **more})
    return Encoded(f'{{"{name}":[{written}],{rest[1:]}'.encode())


def class_reply(
    daemon: Daemon,
    name: str,
    described: Mapping[str, Any],
    policy: Policy | None,
    throttled: Bucket | None,
    held: str | None,
) -> JsonObject:
    """`throttled` is its bucket where none may start for a while, `held` why only trials do."""
    offered = [
        {
            "name": method,
            "doc": details["doc"],
            "schema": _schema_shown(details, policy),
            "note": details["note"],
        }
        for method, details in sorted(described["methods"].items())
    ]
    return {
        "name": name,
        "doc": described["doc"],
        "methods": offered,
        "policy": None if policy is None else _policy_shown(policy) | _limits_shown(daemon, name),
        "unavailable": described["unavailable"],
        "hint": None if described["unavailable"] is None else daemon.inspection.hint_of_class(name),
        "held_until": None
        if throttled is None or throttled.held_until is None
        else to_text(throttled.held_until),
        "held_by": None if throttled is None else throttled.held_by,
        "held": held,
    }


def _schema_shown(method: Mapping[str, Any], policy: Policy | None) -> JsonObject:
    """The schema without the defaults of sensitive parameters."""
    sensitive = {*method["sensitive"], *(policy.sensitive if policy is not None else ())}
    properties = {
        name: {key: value for key, value in inner.items() if key != "default" or name not in sensitive}
        for name, inner in method["schema"].get("properties", {}).items()
    }
    return {**method["schema"], **({"properties": properties} if properties else {})}


def _policy_shown(policy: Policy) -> JsonObject:
    return {
        "queue": policy.queue,
        "priority": policy.priority,
        "slots": policy.slots,
        "slots_everywhere": policy.slots_everywhere,
        "timeout": policy.timeout,
        "max_retries": policy.retry.max_retries,
        "retry_delay": policy.retry.retry_delay,
        "backoff": policy.retry.backoff,
        "max_retry_delay": policy.retry.max_retry_delay,
        "retry_lost": policy.retry_lost,
        "crashes": policy.crashes,
        "retry_on": None if policy.retry_on is None else sorted(policy.retry_on),
        "stop_grace": policy.stop_grace,
        "sensitive": sorted(policy.sensitive),
        "unique": list(policy.unique) or None,
        "key": policy.key,
        "rate": None if policy.rate is None else str(policy.rate),
        "throttle": policy.throttle,
        "unknown": policy.unknown,
    }


def _limits_shown(daemon: Daemon, class_name: str) -> JsonObject:
    """The limits of the class by name, None where there is none, and which of them nothing enforces here."""
    values = {name: value_of(daemon.config, class_name, name) for name in LIMITS}
    if values["writable"] is not None:
        values["writable"] = [str(path) for path in values["writable"]]
    umask = value_of(daemon.config, class_name, "umask")
    values["network"] = value_of(daemon.config, class_name, "network")
    values["umask"] = None if umask is None else f"{umask:03o}"
    return {**values, "unenforced": list(daemon.enforcement.unenforced.get(class_name, ()))}


def fork_server_reply(daemon: Daemon) -> JsonObject:
    """What Stats tells of the fork server; None where there is none."""
    server = daemon.fork_server
    return {
        "code_version": None if server is None else server.code_version,
        "python": None if server is None else server.ready["python"],
        "fork_server_pid": None if server is None else server.pid,
        "fork_servers": daemon.inspection.fork_servers,
        "loaded_at": None if daemon.loaded_at is None else to_text(daemon.loaded_at),
    }


def queues_reply(
    daemon: Daemon, tally: Tally, paused: Mapping[str, str | None], oldest: Mapping[str, str], due: DueByQueue
) -> list[JsonObject]:
    """What Stats tells of each queue. `paused` has those that are, and until when; `oldest` since when the first of its
    pending jobs waits; `due` how many do.
    """
    return [
        {
            "name": name,
            "slots": slots,
            "slots_everywhere": daemon.config.queues[name].slots_everywhere
            if name in daemon.config.queues
            else None,
            "pending": tally.of_queue(name, Status.PENDING),
            "running": tally.of_queue(name, Status.RUNNING),
            "paused": name in paused,
            "resumes_at": paused.get(name),
            "max_pending": daemon.lanes.max_pending[name],
            "blocked": tally.blocked_of(name),
            "waiting": tally.waiting_of(name),
            **_of_keys(daemon, tally, name),
            "oldest_pending": oldest.get(name),
            **_by_time(tally, due, name),
        }
        for name, slots in sorted(daemon.lanes.queues.items())
    ]


def _by_time(tally: Tally, due: DueByQueue, queue: str) -> JsonObject:
    """How many wait for a slot alone, and how many for their time."""
    pending = tally.of_queue(queue, Status.PENDING)
    kept = tally.blocked_of(queue) + tally.behind_of(queue) + tally.waiting_of(queue)
    are_due, are_for_later = due.of(queue, pending - kept)
    return {"due": are_due, "later": are_for_later}


def _of_keys(daemon: Daemon, tally: Tally, queue: str) -> JsonObject:
    """What a queue says of keys, and how many wait for that."""
    rules = (daemon.lanes.keys or {}).get(queue, NO_RULES)
    return {
        "slots_per_key": rules.slots,
        "rate_per_key": None if rules.rate is None else str(rules.rate),
        "share": rules.share,
        "behind": tally.behind_of(queue),
    }


async def summary_of_stored(daemon: Daemon, job_id: int) -> JsonObject:
    """How the job stands in the file. Raises JobNotFoundError."""
    summary = await daemon.readers.read(lambda reader: reader.summary(job_id))
    if summary is None:
        raise JobNotFoundError(id=job_id)
    return summary


async def has_ended(daemon: Daemon, job_id: int, caller: Caller) -> bool:
    """Whether the job has ended. Raises JobNotFoundError."""
    known = daemon.recent.has_ended(job_id)
    if known is not None:
        return known
    async with caller.turn:
        stored = await summary_of_stored(daemon, job_id)
    return stored["finished_at"] is not None


def log_reply(daemon: Daemon, entries: Iterable[JsonObject], next: int | None) -> JsonObject:
    """A reply of Logs."""
    return {"entries": [entry_shown(daemon, entry) for entry in entries], "next": next, "is_complete": True}


def entry_shown(daemon: Daemon, entry: JsonObject) -> JsonObject:
    """The entry without what has become a secret since it was written: the configuration may say more by now."""
    context = entry["context"]
    if not isinstance(context, dict) or not isinstance(context.get("parameters"), dict):
        return entry
    parameters = masked(context["parameters"], daemon.current_catalogue.policy(entry["class_name"]).sensitive)
    return {**entry, "context": {**context, "parameters": parameters}}


def part(number: int, read: Part, is_end: bool) -> JsonObject:
    """A part of an attempt's output, as Output tells it."""
    return {
        "number": number,
        "left_out": read.left_out,
        "offset": read.offset,
        "data": base64.b64encode(read.data).decode("ascii"),
        "next": read.next,
        "is_end": is_end,
    }


def entry_of(line: LogLine) -> JsonObject:
    return {
        "id": line.id,
        "job_id": line.job_id,
        "attempt": line.attempt,
        "attempts_allowed": line.attempts_allowed,
        "type": line.type,
        "message": line.message,
        "context": None if line.context is None else json.loads(line.context),
        "created_at": to_text(line.at),
        "class_name": line.class_name,
        "method_name": line.method_name,
    }
