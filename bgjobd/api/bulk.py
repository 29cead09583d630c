"""SubmitMany: each job as it is asked for, or in bulk, where what they have in common is asked for once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from bgjob.codec import JsonObject
from bgjob.errors import InvalidParameterError, InvalidParametersError, TooLargeError
from bgjob.keys import is_made_here
from bgjob.submission_rules import of_one
from bgjob.words import KEY_LENGTHS
from bgjobd.api import submissions
from bgjobd.api.access import Grants
from bgjobd.api.keys import unique_of
from bgjobd.api.peer import Caller
from bgjobd.api.schemas import Options, SubmitMany, UnnamedJob
from bgjobd.api.submissions import checked_text, digest_beside_call, digester, text_in_order
from bgjobd.api.ties import Names
from bgjobd.core.gate import Share
from bgjobd.core.job import Call
from bgjobd.daemon.catalogue import Catalogue
from bgjobd.host.pacing import Pace
from bgjobd.store.items.submissions import BulkRow, BulkSubmission
from bgjobd.store.items.submitter import Submitter

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon


async def submit_many(grants: Grants, daemon: Daemon, given: SubmitMany, caller: Caller) -> JsonObject:
    jobs, each = given.jobs, given.each
    if jobs is not None:
        _refuse_all_but(given, _WITH_JOBS)
        return await submissions.submit_each(grants, daemon, given, jobs, caller)
    if each is None and given.seal:
        _refuse_all_but(given, _WITH_JOBS)
        return await submissions.submit_each(grants, daemon, given, [], caller)
    if each is None:
        raise InvalidParameterError(parameter="jobs")
    _refuse_all_but(given, _WITH_EACH)
    common, keys = _common(given), given.keys
    _check_shapes(each, keys)
    if await _has_keys(daemon, common):
        return await _submit_one_by_one(grants, daemon, given, _one_by_one(common, each, keys), caller)
    async with caller.turn:
        bulk = await _bulk(daemon, common, each, keys, submissions.submitter(caller, grants))
    ids: tuple[int, ...] = await daemon.record(bulk)
    return {"ids": list(ids)}


_WITH_JOBS: Final = frozenset({"jobs", "groups", "seal"})
_WITH_EACH: Final = frozenset(SubmitMany.model_fields) - _WITH_JOBS


def _refuse_all_but(given: SubmitMany, names: frozenset[str]) -> None:
    """Raises InvalidParameterError for a field that means nothing beside those."""
    for name in SubmitMany.model_fields:
        if name not in names and getattr(given, name) is not None:
            raise InvalidParameterError(parameter=name)


def _common(given: SubmitMany) -> UnnamedJob:
    """What is asked of each job, without its parameters. Raises InvalidParameterError."""
    if given.class_name is None or given.method_name is None:
        raise InvalidParameterError(parameter="class_name" if given.class_name is None else "method_name")
    if given.options is not None and given.options.idempotency_key is not None:
        raise InvalidParameterError(parameter="options.idempotency_key")  # which is one job's
    for name in ("after", "take"):  # which are for `jobs`
        if given.options is not None and getattr(given.options, name) is not None:
            raise InvalidParameterError(parameter=f"options.{name}")
    return UnnamedJob.model_construct(
        class_name=given.class_name,
        method_name=given.method_name,
        retry_count=given.retry_count,
        options=given.options,
    )


async def _has_keys(daemon: Daemon, common: UnnamedJob) -> bool:
    """Whether each job has to be looked at by itself: it may have a key, or take turns with others."""
    options = common.options or Options()
    if options.unique_key is not None or options.key is not None:
        return True
    policy = (await daemon.current_catalogue.catalogue()).policies.get(common.class_name)
    if policy is None:
        return False
    rules = (daemon.lanes.keys or {}).get(options.queue or policy.queue)
    takes_turns = rules is not None and rules.share is not Share.NONE
    return takes_turns or bool(policy.unique) or policy.key is not None


async def _submit_one_by_one(
    grants: Grants, daemon: Daemon, given: SubmitMany, jobs: list[Any], caller: Caller
) -> JsonObject:
    try:
        return await submissions.submit_each(grants, daemon, given, jobs, caller)
    except InvalidParameterError as error:
        raise InvalidParameterError(parameter=_place_in_bulk(error.parameters["parameter"])) from None
    except InvalidParametersError as error:
        problems = [
            {**one, "path": one["path"].replace("jobs", "each", 1)} for one in error.parameters["problems"]
        ]
        raise InvalidParametersError(problems=problems) from None


def _place_in_bulk(parameter: str) -> str:
    """Where a request in bulk has what stands there in one that lists each job."""
    _, index, name = parameter.split(".", 2)
    return f"keys.{index}" if name == "options.idempotency_key" else name


def _one_by_one(common: UnnamedJob, each: list[Any], keys: list[str] | None) -> list[JsonObject]:
    """The jobs of a bulk as a request has them that lists each."""
    options = {} if common.options is None else common.options.model_dump(exclude_none=True)
    fields: JsonObject = {"class_name": common.class_name, "method_name": common.method_name}
    if common.retry_count is not None:
        fields["retry_count"] = common.retry_count
    return [
        {
            **fields,
            "parameters": parameters,
            "options": options | ({} if keys is None else {"idempotency_key": keys[place]}),
        }
        for place, parameters in enumerate(each)
    ]


def _check_shapes(each: list[Any], keys: list[Any] | None) -> None:
    """Raises InvalidParameterError for the first that is none; all are looked at in one go, so without a call each."""
    if keys is not None and len(keys) != len(each):
        raise InvalidParameterError(parameter="keys")
    if not _OBJECT.issuperset(map(type, each)):
        raise InvalidParameterError(parameter=f"each.{_first(each, lambda one: type(one) is not dict)}")
    if not keys:
        return
    if not _TEXT.issuperset(map(type, keys)):
        raise InvalidParameterError(parameter=f"keys.{_first(keys, lambda key: type(key) is not str)}")
    if not _LENGTHS.issuperset(map(len, keys)):
        raise InvalidParameterError(parameter=f"keys.{_first(keys, lambda key: len(key) not in _LENGTHS)}")


def _first(values: list[Any], is_bad: Callable[[Any], bool]) -> int:
    """The place of the first that is bad; one is."""
    return next(place for place, value in enumerate(values) if is_bad(value))


_OBJECT: Final = frozenset({dict})
_TEXT: Final = frozenset({str})
_LENGTHS: Final = frozenset(KEY_LENGTHS)


async def _bulk(
    daemon: Daemon, common: UnnamedJob, each: list[Any], keys: list[str] | None, by: Submitter
) -> BulkSubmission:
    """The jobs as they go to the writer, which takes a while; others have their turn meanwhile. Raises the refusals."""
    class_name, method_name = common.class_name, common.method_name
    submissions.check_names(class_name, method_name, daemon.limits.max_name)
    catalogue = await daemon.current_catalogue.catalogue()
    check = catalogue.checker(class_name, method_name)
    options = common.options or Options()
    await submissions.check_place(daemon, options, catalogue.policies[class_name])
    unique_of(options, catalogue.policies[class_name], {})  # for its refusals: no job here has a key
    ties = Names().ties(options)
    fact = submissions.fact_of(daemon, catalogue, common, Call(class_name, method_name), ties=ties)
    sensitive = _sensitive(catalogue, class_name, method_name)
    digest_of, beside_call = digester(common), digest_beside_call(common)
    limit, pace, index = daemon.limits.max_parameters, Pace(), 0
    rows = []
    try:
        for index, parameters in enumerate(each):
            if pace.is_over:
                await pace.rest()
            text = await checked_text(parameters, limit, check)
            key = None if keys is None else keys[index]
            if key is None:
                digest = None
            elif is_made_here(key):
                digest = beside_call
            else:
                digest = digest_of(await text_in_order(parameters, text))
            rows.append(BulkRow(text, sensitive(parameters), key, digest))
            each[index] = None  # as values they are many times as large, and nobody asks for them any more
    except (InvalidParametersError, TooLargeError) as error:
        raise of_one(f"each.{index}", error) from None
    return BulkSubmission(fact, tuple(rows), by)


def _sensitive(
    catalogue: Catalogue, class_name: str, method_name: str
) -> Callable[[JsonObject], tuple[str, ...]]:
    """Which of a row's parameters nobody is shown."""
    if catalogue.has_secrets_of_any_name(class_name, method_name):
        return lambda parameters: catalogue.sensitive(class_name, method_name, parameters)
    always = catalogue.sensitive(class_name, method_name, ())
    return lambda parameters: always
