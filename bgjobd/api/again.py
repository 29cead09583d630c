"""The method of org.bgjobd.Jobs that runs again what a job called: its parameters, and what is given over them, are
checked as a submit's are.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from bgjob.codec import JsonObject, to_json
from bgjob.errors import InvalidParameterError, InvalidParametersError, PermissionDeniedError
from bgjob.words import UniqueWhile
from bgjobd.api import schemas
from bgjobd.api.access import Grants
from bgjobd.api.peer import Caller
from bgjobd.api.submissions import checked_text, in_order, submitter
from bgjobd.config.policy import Policy
from bgjobd.core.facts import Submitted
from bgjobd.core.job import Call, Job
from bgjobd.core.unique import Unique
from bgjobd.daemon.catalogue import Catalogue
from bgjobd.daemon.terms import key_of, terms_of
from bgjobd.store.committed import Stored
from bgjobd.store.items.submissions import AgainAsked
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.reader import Reader

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon


async def again(grants: Grants, daemon: Daemon, given: schemas.Again, caller: Caller) -> JsonObject:
    # To sort what is too large for the digest, and to free it, would hold up the loop.
    await checked_text(given.parameters or {}, daemon.limits.max_parameters, lambda _: None)
    by, digest = submitter(caller, grants), await _digest_of(given)
    stored: Stored | None = None
    while stored is None:  # the job has changed since it was read
        source, before = await _read(daemon, given.id, by, caller)
        wanted = None if source is None else await _wanted(daemon, source, before, given, digest)
        key = given.idempotency_key
        stored = await daemon.record(AgainAsked(given.id, given.from_step, source, wanted, key, digest, by))
    return {"id": stored.id, "created": stored.created}


async def _digest_of(given: schemas.Again) -> str:
    """What tells the request from another with the same key, however the job stands by now."""
    told = f'["again",{given.id},{await in_order(given.parameters or {})},{to_json(given.from_step)}]'
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()


async def _read(daemon: Daemon, job_id: int, by: Submitter, caller: Caller) -> tuple[Job | None, JsonObject]:
    """The job, where it has ended, and its parameters; why one cannot run again is said by the store.

    Raises PermissionDeniedError, before anything is said of what a job of another user called.
    """

    def read(reader: Reader) -> tuple[Job | None, JsonObject]:
        job, uid = reader.known(job_id) or (None, None)
        if job is None:
            return None, {}
        if not by.may_manage and (uid is None or uid != by.uid):
            raise PermissionDeniedError(
                reason=f"job {job_id} is another user's; who may manage may run it again"
            )
        return (job, json.loads(job.call.parameters)) if job.is_over else (None, {})

    async with caller.turn:
        return await daemon.readers.read(read)


async def _wanted(
    daemon: Daemon, source: Job, before: JsonObject, given: schemas.Again, digest: str
) -> Submitted:
    """The fact of the new job, `before` being the old one's parameters. Raises the refusals of a submit."""
    catalogue = await daemon.current_catalogue.catalogue()
    parameters = before | (given.parameters or {})
    text = await checked_text(
        parameters, daemon.limits.max_parameters, lambda one: _check(catalogue, source.call, one)
    )
    names = source.class_name, source.call.method_name
    policy = catalogue.policies[source.class_name]
    # What was a secret at the submit is one still, whatever the configuration says by now.
    sensitive = {*catalogue.sensitive(*names, parameters), *source.call.sensitive}
    call = Call(*names, text, tuple(sorted(sensitive)))
    if not await daemon.peers.has_queue(source.queue):
        raise InvalidParameterError(parameter="options.queue")
    if not await daemon.peers.has_host(source.host_wanted):
        raise InvalidParameterError(parameter="options.host")
    _check_terms(daemon, policy, source)
    return Submitted(
        id=0,  # the ledger gives it
        call=call,
        retry_count=0 if source.carried is None else source.carried.retry_count_at_submit,
        policy=source.policy,
        queue=source.queue,
        priority=source.priority,
        timeout=source.timeout,
        idempotency_key=given.idempotency_key,
        digest=digest,
        occurrence=source.occurrence,
        unique=_unique_of(policy, source, before, parameters),
        key=_key_of(policy, source, before, parameters, call.sensitive),
        host=source.host_wanted,
        labels=source.labels,
    )


def _check(catalogue: Catalogue, call: Call, parameters: JsonObject) -> None:
    """Raises the refusals; of what is a secret of this job no value is told."""
    try:
        catalogue.check(call.class_name, call.method_name, parameters)
    except InvalidParametersError as error:
        problems = [
            {"path": name, "message": "does not fit"} if name in call.sensitive else one
            for one in error.parameters["problems"]
            for name in (one["path"].partition("/")[0],)
        ]
        raise InvalidParametersError(problems=problems) from None


def _check_terms(daemon: Daemon, policy: Policy, source: Job) -> None:
    """Raises InvalidParameterError for a queue that there is not any more, and more retries than anybody may have."""
    terms_of(
        daemon.config,
        policy,
        daemon.peers.known,
        queue=source.queue,
        priority=source.priority,
        timeout=source.timeout,
        max_retries=source.policy.max_retries,
        retry_delay=source.policy.retry_delay,
        backoff=source.policy.backoff,
    )


def _unique_of(policy: Policy, source: Job, before: JsonObject, parameters: JsonObject) -> Unique | None:
    """Its key; in place of one that its class says, or of none, the one that the class says of the new parameters."""
    key = source.unique_key
    if key in (None, policy.unique_key(before)):
        key = policy.unique_key(parameters)
    return None if key is None else Unique(key, source.unique_while or UniqueWhile.UNFINISHED)


def _key_of(
    policy: Policy,
    source: Job,
    before: JsonObject,
    parameters: JsonObject,
    sensitive: tuple[str, ...],
) -> str | None:
    """What it shares with others; the same of this."""
    if source.key is not None and before == parameters:
        return source.key
    is_its_own = source.key is not None and source.key != key_of(policy, before, source.call.sensitive)
    return source.key if is_its_own else key_of(policy, parameters, sensitive)
