"""Submitting: names, sizes and parameters are checked, and what a request leaves open comes from the class's policy."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from bgjob.codec import ENCODER, JsonObject, to_json
from bgjob.errors import (
    DuplicateError,
    InvalidNameError,
    InvalidParameterError,
    InvalidParametersError,
    PermissionDeniedError,
    TooLargeError,
)
from bgjob.keys import is_made_here
from bgjob.submission_rules import of_one
from bgjobd.api import schemas
from bgjobd.api.access import Grants, Right
from bgjobd.api.keys import unique_of
from bgjobd.api.peer import Caller
from bgjobd.api.schemas import NewJob, Options, Submit, SubmitMany, UnnamedJob, checked
from bgjobd.api.ties import Names
from bgjobd.config.policy import Policy, Terms
from bgjobd.core.edges import NewGroup, Node, Ties
from bgjobd.core.facts import BESIDE_CALL, Submitted
from bgjobd.core.job import Call
from bgjobd.core.unique import Unique, bounded
from bgjobd.daemon.catalogue import Catalogue
from bgjobd.daemon.terms import key_of, terms_of
from bgjobd.host import json_portions
from bgjobd.host.clock import to_text
from bgjobd.host.pacing import Pace, let_others, paced
from bgjobd.store.committed import Stored, StoredFlow
from bgjobd.store.items.submissions import Flow, Submission
from bgjobd.store.items.submitter import Submitter

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon


_I = TypeVar("_I", bound=schemas.Input)
_CLASS_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_METHOD_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


async def submit(grants: Grants, daemon: Daemon, given: Submit, caller: Caller) -> JsonObject:
    catalogue = await daemon.current_catalogue.catalogue()
    fact = await _submitted(daemon, catalogue, given, Names())
    _check_takes([fact], caller, grants)
    if given.check_only:
        return {"id": 0, "created": False}
    given.parameters = None  # as values they are many times as large, and nobody asks for them any more
    try:
        (stored,) = await _store(daemon, [fact], submitter(caller, grants))
    except (InvalidParameterError, DuplicateError) as error:
        raise _of_the_only(error) from None
    return {"id": stored.id, "created": stored.created} | ({"replaced": True} if stored.replaced else {})


def _of_the_only(error: InvalidParameterError | DuplicateError) -> InvalidParameterError | DuplicateError:
    """The refusal of a list's only job, which is no list for who asked."""
    if isinstance(error, DuplicateError):
        return DuplicateError(id=error.parameters["id"])
    return InvalidParameterError(parameter=str(error.parameters["parameter"]).removeprefix("jobs.0."))


async def submit_each(
    grants: Grants, daemon: Daemon, given: SubmitMany, jobs: list[Any], caller: Caller
) -> JsonObject:
    names = Names()
    async with caller.turn:
        groups = await _new_groups(given.groups or [], names)
        facts = await _submitted_many(daemon, jobs, names)
    _check_takes(facts, caller, grants)
    if not groups and not given.seal:
        return _told(await _store(daemon, facts, submitter(caller, grants)))
    flow = Flow(tuple(facts), submitter(caller, grants), groups, tuple(given.seal or ()))
    stored: StoredFlow = await daemon.record(flow)
    return {**_told(stored.jobs), "groups": list(stored.groups)}


def _told(stored: tuple[Stored, ...]) -> JsonObject:
    told: JsonObject = {"ids": [one.id for one in stored], "created": [one.created for one in stored]}
    if any(one.replaced for one in stored):
        told["replaced"] = [one.replaced for one in stored]
    return told


def _check_takes(facts: list[Submitted], caller: Caller, grants: Grants) -> None:
    """Raises PermissionDeniedError: else who may submit could read results, by having a job take them."""
    is_reading = any(
        isinstance(take.of, Node) for fact in facts if fact.ties is not None for take in fact.ties.takes
    )
    why_not = grants.why_refused(caller, Right.READ) if is_reading else None
    if why_not is not None:
        raise PermissionDeniedError(reason=f"a result is to be taken, and {why_not}")


async def submit_line(daemon: Daemon, parameters: JsonObject) -> None:
    """One request of the named pipe. Nobody knows its writer: whoever may write to the pipe may submit."""
    given, catalogue = checked(UnnamedJob, parameters), await daemon.current_catalogue.catalogue()
    fact = await _submitted(daemon, catalogue, given, Names())
    if fact.ties is not None and (fact.ties.takes or fact.ties.group is not None):
        raise PermissionDeniedError(
            reason="nobody knows who writes to the pipe: no result is taken, and no group gets members there"
        )
    await _store(daemon, [fact], Submitter(None, None, None))


async def received(grants: Grants, daemon: Daemon, parameters: JsonObject, caller: Caller) -> Submitted:
    """The fact of what a transaction has asked for, as a request has it. Raises the refusals."""
    given, catalogue = checked(UnnamedJob, parameters), await daemon.current_catalogue.catalogue()
    fact = await _submitted(daemon, catalogue, given, Names())
    _check_takes([fact], caller, grants)
    return fact


def submitter(caller: Caller, grants: Grants | None = None) -> Submitter:
    may = [
        grants is not None and grants.why_refused(caller, right) is None
        for right in (Right.MANAGE, Right.READ)
    ]
    return Submitter(caller.uid, caller.gid, caller.pid or None, caller.job, *may)


async def _store(daemon: Daemon, facts: list[Submitted], submitter: Submitter) -> tuple[Stored, ...]:
    if any(fact.ties is not None for fact in facts):
        flow: StoredFlow = await daemon.record(Flow(tuple(facts), submitter))
        return flow.jobs
    stored: tuple[Stored, ...] = await daemon.record(Submission(tuple(facts), submitter))
    return stored


async def _new_groups(given: list[Any], names: Names) -> tuple[NewGroup, ...]:
    """The groups of a request; others have their turn meanwhile. Raises InvalidParameterError."""
    groups, pace = list[NewGroup](), Pace()
    try:
        for fields in given:
            if pace.is_over:
                await pace.rest()
            groups.append(names.new_group(_checked_item(schemas.NewGroup, fields)))
    except InvalidParameterError as error:
        raise of_one(f"groups.{len(groups)}", error) from None
    return tuple(groups)


async def _submitted_many(daemon: Daemon, given: list[Any], names: Names) -> list[Submitted]:
    """The facts of a request for many jobs, which takes a second; others have their turn meanwhile.

    The shape of all is looked at before what any of them means, as of all requests.
    """
    catalogue, pace, index = await daemon.current_catalogue.catalogue(), Pace(), 0
    facts = []
    try:
        for index, fields in enumerate(given):
            if pace.is_over:
                await pace.rest()
            given[index] = _checked_item(NewJob, fields)
        for index, job in enumerate(given):
            if pace.is_over:
                await pace.rest()
            facts.append(await _submitted(daemon, catalogue, job, names))
            names.name(job.ref, index)
            given[index] = None  # as values they are many times as large, and nobody asks for them any more
    except (InvalidParameterError, InvalidParametersError, TooLargeError) as error:
        raise of_one(f"jobs.{index}", error) from None
    return facts


def _checked_item(shape: type[_I], fields: Any) -> _I:
    if not isinstance(fields, dict):
        raise InvalidParameterError(parameter="")
    return checked(shape, fields)


_NO_OPTIONS: Final = Options()


async def _submitted(daemon: Daemon, catalogue: Catalogue, job: UnnamedJob, names: Names) -> Submitted:
    """The fact of this request. Raises the refusals; others have their turn while there is much of it."""
    check_names(job.class_name, job.method_name, daemon.limits.max_name)
    parameters = job.parameters or {}
    ties = None if job.options is None else names.ties(job.options)
    taken = () if ties is None else tuple([take.name for take in ties.takes])
    check = partial(catalogue.check, job.class_name, job.method_name, taken=taken)
    text = await checked_text(parameters, daemon.limits.max_parameters, check)
    digest = await _digest_of(job, parameters, text)
    sensitive = catalogue.sensitive(job.class_name, job.method_name, (*parameters, *taken))
    call = Call(job.class_name, job.method_name, text, sensitive)
    policy, options = catalogue.policies[job.class_name], job.options or _NO_OPTIONS
    await check_place(daemon, options, policy)
    unique = unique_of(options, policy, {} if set(taken) & set(policy.unique) else parameters)
    key = options.key or key_of(policy, {} if policy.key in taken else parameters, sensitive)
    return fact_of(daemon, catalogue, job, call, digest, ties, unique, key)


async def _digest_of(job: UnnamedJob, parameters: JsonObject, text: str) -> str | None:
    key = None if job.options is None else job.options.idempotency_key
    if key is None:
        return None
    return (
        digest_beside_call(job) if is_made_here(key) else digester(job)(await text_in_order(parameters, text))
    )


def fact_of(
    daemon: Daemon,
    catalogue: Catalogue,
    job: UnnamedJob,
    call: Call,
    digest: str | None = None,
    ties: Ties | None = None,
    unique: Unique | None = None,
    key: str | None = None,
) -> Submitted:
    """The fact of a request for this call; what it leaves open comes from the class's policy. Raises the refusals."""
    options = job.options or _NO_OPTIONS
    now = daemon.clock.now()
    scheduled_at = _scheduled_at(options, now)
    terms = _terms(daemon, catalogue.policies[job.class_name], options)
    return Submitted(
        id=0,  # the ledger gives it
        call=call,
        retry_count=job.retry_count or 0,
        policy=terms.retry,
        queue=terms.queue,
        priority=terms.priority,
        timeout=terms.timeout,
        scheduled_at=scheduled_at if unique is None else bounded(scheduled_at, now, unique.at_latest),
        expires_at=_expires_at(options, scheduled_at, now),
        idempotency_key=options.idempotency_key,
        digest=digest,
        ties=ties,
        unique=unique,
        key=key,
        host=None if daemon.peers.own is None else options.host,
        traceparent=options.traceparent,
        labels=tuple(options.labels or ()),
    )


def _terms(daemon: Daemon, policy: Policy, options: Options) -> Terms:
    """Raises the refusals."""
    return terms_of(
        daemon.config,
        policy,
        daemon.peers.known,
        queue=options.queue,
        priority=options.priority,
        timeout=options.timeout,
        max_retries=options.max_retries,
        retry_delay=options.retry_delay,
        backoff=options.backoff,
    )


async def check_place(daemon: Daemon, options: Options, policy: Policy) -> None:
    """Raises InvalidParameterError for a queue, or a host, that nobody knows."""
    if not await daemon.peers.has_queue(options.queue or policy.queue):
        raise InvalidParameterError(parameter="options.queue")
    if not await daemon.peers.has_host(options.host):
        raise InvalidParameterError(parameter="options.host")


def check_names(class_name: str, method_name: str, max_length: int) -> None:
    """Raises InvalidNameError for a name that could not name anything."""
    for field, value, grammar in (
        ("class_name", class_name, _CLASS_NAME),
        ("method_name", method_name, _METHOD_NAME),
    ):
        if len(value) > max_length or not grammar.fullmatch(value):
            raise InvalidNameError(field=field, value=value[:max_length])


async def checked_text(parameters: JsonObject, limit: int, check: Callable[[JsonObject], None]) -> str:
    """The parameters as text, once they are found to be no larger than they may be, and `check` lets them pass."""
    text = to_json(parameters) if _are_few(parameters) else await _long_text(parameters, limit)
    size = len(text) if text.isascii() else len(text.encode())
    if size > limit:
        raise TooLargeError(limit=limit, size=size)
    if size > _LONG:
        await let_others()
    check(parameters)
    if size > _LONG:
        await let_others()
    return text


async def checked_value(value: Any, limit: int, parameter: str) -> str:
    """The same of one value, which is no object of parameters. Raises TooLargeError."""
    begin, end = '{"":', "}"
    around = len(begin) + len(end)
    try:
        text = await checked_text({"": value}, limit + around, lambda _: None)
    except TooLargeError as error:
        size = error.parameters["size"] - around
        raise TooLargeError(limit=limit, size=size, parameter=parameter) from None
    return text[len(begin) : -len(end)]


def _are_few(parameters: JsonObject) -> bool:
    """Whether the values are few, those in them counted, so that they are written in no time."""
    if len(parameters) < _FEW and _is_flat(parameters):
        return True
    count, level = 0, list[Any]([parameters])
    while level:
        count += sum(map(len, level))
        if count >= _FEW:
            return False
        level = [
            item
            for one in level
            for item in (one.values() if type(one) is dict else one)
            if type(item) in _CONTAINERS
        ]
    return True


def _is_flat(parameters: JsonObject) -> bool:
    """Whether none has others in it."""
    return _CONTAINERS.isdisjoint(map(type, parameters.values()))


async def _long_text(parameters: JsonObject, limit: int) -> str:
    """The parameters as text; raises TooLargeError for those that are too large to be written out, if they are."""
    if await _is_spread(parameters, limit // 2):
        await _refuse_spread(parameters, limit)
    await let_others()
    return await paced(json_portions.written(parameters, to_json))


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


async def text_in_order(parameters: JsonObject, text: str) -> str:
    """The parameters as `_in_order` has them; `text` is what they are as they came."""
    if _are_few(parameters) and _is_flat(parameters) and _is_in_order(parameters):
        return text
    return await in_order(parameters)


async def in_order(parameters: JsonObject) -> str:
    """The same of parameters of which there is no text."""
    if _are_few(parameters):
        return _in_order(parameters)
    return await paced(json_portions.written(dict(sorted(parameters.items())), _in_order))


def _is_in_order(flat: JsonObject) -> bool:
    names = list(flat)
    return names == sorted(names)


def digester(job: UnnamedJob) -> Callable[[str], str]:
    """What makes of parameters, as `text_in_order` has them, the digest of this request for them.

    That tells it from another with the same idempotency key, whatever the defaults are by now. It is of the text of a
    list: class, method, parameters, retries and what else was asked for; names that are possible need no quoting.
    """
    begin = hashlib.blake2b(f'["{job.class_name}","{job.method_name}",'.encode(), digest_size=16)
    end = f",{_told_beside_call(job)}]"

    def digest(parameters: str) -> str:
        one = begin.copy()
        one.update(f"{parameters}{end}".encode())
        return one.hexdigest()

    return digest


def digest_beside_call(job: UnnamedJob) -> str:
    """What tells this request from another with the same call and the same key, where a client made the key.

    Hardly anybody else ever has it, so nobody puts the parameters in order for it: calls are compared as they are.
    """
    text = f"[{_told_beside_call(job)}]"
    return BESIDE_CALL + hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _told_beside_call(job: UnnamedJob) -> str:
    options = "{}"
    if job.options is not None and not job.options.model_fields_set <= _NOT_ASKED:
        options = _in_order(job.options.model_dump(exclude_none=True, exclude=_NOT_ASKED))
    return f"{job.retry_count or 0},{options}"


_NOT_ASKED: Final = {"idempotency_key", "traceparent"}
"""What a repeat of the request may have otherwise: it may come from another span."""

_in_order: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


def _scheduled_at(options: Options, now: float) -> float | None:
    if options.at is None:
        return now + options.delay if options.delay else None
    if options.delay is not None:
        raise InvalidParameterError(parameter="options.delay")
    at = try_instant(options.at)
    if at is None:
        raise InvalidParameterError(parameter="options.at")
    return at


def _expires_at(options: Options, scheduled_at: float | None, now: float) -> float | None:
    """By when it is to start; one that is to start later is refused."""
    at = in_or_at(options.expires_in, options.expires_at, now, "options.expires")
    if at is not None and scheduled_at is not None and scheduled_at >= at:
        raise InvalidParameterError(parameter="options.at" if options.at is not None else "options.delay")
    return at


def in_or_at(seconds: float | None, at: str | None, now: float, name: str) -> float | None:
    """The moment that is given by one of the two, `NAME_in` or `NAME_at`. Raises InvalidParameterError."""
    if at is None:
        return None if seconds is None else now + seconds
    if seconds is not None:
        raise InvalidParameterError(parameter=f"{name}_in")
    moment = try_instant(at)
    if moment is None:
        raise InvalidParameterError(parameter=f"{name}_at")
    return moment


def try_instant(text: str) -> float | None:
    """Seconds since the epoch of a date and time with its offset; None for what is none, or cannot be stored."""
    try:
        at = datetime.fromisoformat(text)
        seconds = at.timestamp()
        to_text(seconds)
    except (ValueError, OverflowError):
        return None
    return None if at.tzinfo is None else seconds


def stored_instant(text: str | None, parameter: str) -> str | None:
    """A moment as it is stored. Raises InvalidParameterError where the text is none."""
    if text is None:
        return None
    at = try_instant(text)
    if at is None:
        raise InvalidParameterError(parameter=parameter)
    return to_text(at)
