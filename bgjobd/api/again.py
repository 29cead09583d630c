"""The method of org.bgjobd.Jobs that runs again what a job called: its parameters, and what is given over them, are
checked as a submit's are.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from bgjob.codec import JsonObject, to_json
from bgjob.errors import InvalidParametersError, PermissionDeniedError
from bgjob.words import UniqueWhile
from bgjobd.api import schemas
from bgjobd.api.access import Grants
from bgjobd.api.peer import Caller
from bgjobd.api.submissions import checked_text, submitter, text_in_order
from bgjobd.config.policy import Policy
from bgjobd.core.facts import Submitted
from bgjobd.core.job import Call, Job
from bgjobd.core.unique import Unique
from bgjobd.daemon.catalogue import Catalogue
from bgjobd.daemon.terms import key_of, terms_of
from bgjobd.store.items import AgainAsked, Stored, Submitter

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon


async def again(grants: Grants, daemon: Daemon, given: schemas.Again, caller: Caller) -> JsonObject:
    by, digest = submitter(caller, grants), await _digest_of(given)
    stored: Stored | None = None
    while stored is None:  # the job has changed since it was read
        source = await _try_source(daemon, given.id, by, caller)
        wanted = None if source is None else await _wanted(daemon, source, given, digest)
        key = given.idempotency_key
        stored = await daemon.record(AgainAsked(given.id, given.from_step, source, wanted, key, digest, by))
    return {"id": stored.id, "created": stored.created}


async def _digest_of(given: schemas.Again) -> str:
    """What tells the request from another with the same key, however the job stands by now."""
    parameters = given.parameters or {}
    text = await text_in_order(parameters, to_json(parameters))
    told = f'["again",{given.id},{text},{to_json(given.from_step)}]'
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()


async def _try_source(daemon: Daemon, job_id: int, by: Submitter, caller: Caller) -> Job | None:
    """The job, where it has ended; why one cannot run again is said by the store. Raises PermissionDeniedError, before
    anything is said of what a job of another user called.
    """
    async with caller.turn:
        known = await daemon.readers.read(lambda reader: reader.known(job_id))
    if known is None:
        return None
    job, uid = known
    if not by.may_manage and (uid is None or uid != by.uid):
        raise PermissionDeniedError(reason=f"job {job_id} is another user's; who may manage may run it again")
    return job if job.status.is_final and job.review_since is None else None


async def _wanted(daemon: Daemon, source: Job, given: schemas.Again, digest: str) -> Submitted:
    """The fact of the new job. Raises the refusals of a submit."""
    catalogue = await daemon.current_catalogue.catalogue()
    before: JsonObject = json.loads(source.call.parameters)
    parameters = before | (given.parameters or {})
    text = await checked_text(
        parameters, daemon.limits.max_parameters, lambda one: _check(catalogue, source.call, one)
    )
    names = source.class_name, source.call.method_name
    policy = catalogue.policies[source.class_name]
    # What was a secret at the submit is one still, whatever the configuration says by now.
    sensitive = {*catalogue.sensitive(*names, parameters), *source.call.sensitive}
    call = Call(*names, text, tuple(sorted(sensitive)))
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
        queue=source.queue,
        priority=source.priority,
        timeout=source.timeout,
        max_retries=source.policy.max_retries,
        retry_delay=source.policy.retry_delay,
        backoff=source.policy.backoff,
    )


def _unique_of(policy: Policy, source: Job, before: JsonObject, parameters: JsonObject) -> Unique | None:
    """Its key; one that is of its parameters is of the new ones."""
    key = source.unique_key
    if key is not None and key == policy.unique_key(before):
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
    if source.key is None or before == parameters:
        return source.key
    is_of_parameters = source.key == key_of(policy, before, source.call.sensitive)
    return key_of(policy, parameters, sensitive) if is_of_parameters else source.key
