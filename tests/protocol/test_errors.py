"""The errors: one class for each of the interface, built from what the reply says; the bases are the contract's."""

from __future__ import annotations

import copy
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgjob import errors
from bgjob.errors import (
    BehindFailedError,
    BgjobError,
    DaemonUnavailableError,
    DuplicateError,
    InvalidParameterError,
    InvalidParametersError,
    JobCancelledError,
    JobError,
    JobFailedError,
    JobNotFoundError,
    ProtocolError,
    RequestError,
    ScheduleNotFoundError,
    TooLargeError,
    WaitTimeoutError,
    from_reply,
)
from bgjob.words import INTERFACE, SERVICE, Backoff, IfFailed, IfHeld, UniqueWhile
from bgjobd.api import introspection, schemas
from tests.protocol import idl

SAMPLES: dict[str, Any] = {
    "string": "some text",
    "int": 7,
    "?bool": True,
    "?int": 3,
    "?string": None,
    "[]Problem": [{"path": "to", "message": "is missing"}, {"path": "", "message": "too many"}],
}
KINDS = {kind.error_name: kind for kind in RequestError.__subclasses__()}


def described() -> dict[str, idl.Fields]:
    """Every error that the daemon describes to its callers, by full name."""
    jobs, service = idl.parse(introspection.IDL.read_text()), idl.parse(introspection.DESCRIPTIONS[SERVICE])
    return {f"{each.name}.{name}": fields for each in (jobs, service) for name, fields in each.errors.items()}


DESCRIBED = described()
OURS = {name: fields for name, fields in DESCRIBED.items() if name.startswith(INTERFACE)}


def placeholders(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


# Classes and the interface


def test_every_error_of_the_interface_has_a_class_of_its_name() -> None:
    for name in OURS:
        kind = KINDS[name]
        assert kind.__name__.removesuffix("Error") == name.rpartition(".")[2].removesuffix("Error")


def test_every_class_stands_for_an_error_that_the_daemon_describes() -> None:
    assert set(KINDS) <= set(DESCRIBED)
    assert len(KINDS) == len(RequestError.__subclasses__())


_IN_WORDS = {
    error.error_name
    for error in (
        *(BehindFailedError, DuplicateError, InvalidParametersError, JobNotFoundError, ScheduleNotFoundError),
        TooLargeError,
    )
}
"""Errors that tell their parameters by words of their own."""


@pytest.mark.parametrize("name", sorted(set(KINDS) - _IN_WORDS))
def test_a_message_tells_all_parameters_of_its_error_and_no_others(name: str) -> None:
    assert placeholders(KINDS[name].template) == set(DESCRIBED[name])


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_reply_gives_the_class_of_its_error_with_everything_it_said(name: str) -> None:
    parameters = {field: SAMPLES[kind] for field, kind in DESCRIBED[name].items()}
    error = from_reply(name, parameters)
    assert type(error) is KINDS[name]
    assert error.error_name == name
    assert error.parameters == parameters
    for value in parameters.values():
        if not isinstance(value, list | bool | None):  # these are told in words
            assert str(value) in str(error)
    assert "?" not in str(error)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_reply_that_leaves_parameters_out_still_gives_a_message(name: str) -> None:
    error = from_reply(name, {})
    assert type(error) is KINDS[name]
    assert error.parameters == {}
    assert "{" not in str(error)


def test_a_request_with_too_many_predecessors_is_not_told_of_bytes() -> None:
    assert (
        str(TooLargeError(limit=65536, size=65537)) == "the parameters take 65537 bytes, the limit is 65536"
    )
    told = str(TooLargeError(limit=1000, size=1001, parameter="options.after"))
    assert told == "options.after: 1001 predecessors, the limit is 1000"
    for place in ("jobs.3.parameters", "each.3"):
        told = str(TooLargeError(limit=65536, size=65537, parameter=place))
        assert told == f"{place}: 65537 bytes, the limit is 65536"


def test_a_job_behind_what_failed_is_told_with_what_to_retry_first() -> None:
    assert "retry job 12 first" in str(BehindFailedError(id=14, before="12"))
    assert "retry group 5 first" in str(BehindFailedError(id=14, before="group 5"))


@pytest.mark.parametrize("name", sorted(KINDS))
def test_parameters_of_a_newer_daemon_are_kept(name: str) -> None:
    assert from_reply(name, {"news": [1]}).parameters == {"news": [1]}


def test_a_job_that_is_not_there_is_told_by_what_it_was_asked_for_by() -> None:
    assert str(JobNotFoundError(id=12)) == "there is no job 12"
    assert str(JobNotFoundError(id=0, key="order-17")) == "there is no job with the key order-17"


def test_problems_with_parameters_are_all_told() -> None:
    error = InvalidParametersError(problems=SAMPLES["[]Problem"])
    assert str(error) == "the parameters do not fit the method: to: is missing; parameters: too many"


def test_an_unknown_error_is_a_plain_request_error_that_tells_its_name() -> None:
    error = from_reply("org.bgjobd.Jobs.FromTheFuture", {"when": "soon"})
    assert type(error) is RequestError
    assert error.parameters == {"when": "soon"}
    assert "org.bgjobd.Jobs.FromTheFuture" in str(error)
    assert "soon" in str(error)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from(["self", "parameters", "problems", "id", "class_name", "value", "error_name"])


@settings(deadline=None)  # a busy machine is no error
@given(st.sampled_from([*sorted(KINDS), "com.example.Else"]), st.dictionaries(keys, json_values, max_size=3))
def test_whatever_an_error_reply_holds_it_becomes_a_request_error(
    name: str, parameters: dict[str, Any]
) -> None:
    error = from_reply(name, parameters)
    assert isinstance(error, RequestError)
    assert error.parameters == parameters
    assert str(error)


# Bases

BUILTIN_BASES = {
    "NotApproved": PermissionError,
    "MethodNotApproved": PermissionError,
    "PermissionDenied": PermissionError,
    "InvalidName": ValueError,
    "InvalidParameter": ValueError,
    "InvalidParameters": ValueError,
    "TooLarge": ValueError,
    "JobNotFound": LookupError,
    "ScheduleNotFound": LookupError,
    "GroupNotFound": LookupError,
    "ErrorGroupNotFound": LookupError,
    "StepNotFound": LookupError,
    "HostNotFound": LookupError,
    "AlertNotFound": LookupError,
    "TooManyConnections": ConnectionError,
}
BUILTINS = (OSError, ValueError, LookupError)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_refusal_is_also_the_builtin_error_it_resembles(name: str) -> None:
    kind = KINDS[name]
    assert issubclass(kind, RequestError)
    expected = BUILTIN_BASES.get(name.rpartition(".")[2])
    if expected is None:
        assert not issubclass(kind, BUILTINS)
    else:
        assert issubclass(kind, expected)


def test_errors_that_are_no_refusals_have_their_bases_too() -> None:
    assert issubclass(DaemonUnavailableError, ConnectionError)
    assert issubclass(WaitTimeoutError, TimeoutError)
    assert issubclass(JobFailedError, JobError)
    assert issubclass(JobCancelledError, JobError)
    for kind in (DaemonUnavailableError, ProtocolError, WaitTimeoutError, RequestError, JobError):
        assert issubclass(kind, BgjobError)
        assert not issubclass(kind, RequestError) or kind is RequestError


def test_every_error_of_the_module_is_ours() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    kinds.remove(errors.NoDaemonInTestsError)  # so that whoever goes on without a daemon does not hide it
    assert len(kinds) > 20
    for kind in kinds:
        assert issubclass(kind, BgjobError)
        assert kind.__name__.endswith("Error")


def test_a_refused_call_can_be_caught_as_what_it_is() -> None:
    with pytest.raises(LookupError, match="there is no job 12"):
        raise from_reply(f"{INTERFACE}.JobNotFound", {"id": 12})
    with pytest.raises(ValueError, match=r"invalid value for options\.delay"):
        raise from_reply(f"{SERVICE}.InvalidParameter", {"parameter": "options.delay"})


CENTURY = 100 * 365 * 86400


def test_a_refused_option_is_told_with_what_it_takes() -> None:
    told = {name.removeprefix("options.") for name in errors._WANTED if name.startswith("options.")}
    assert told == schemas.Options.model_fields.keys()
    assert str(InvalidParameterError(parameter="options.at")) == (
        "invalid value for options.at: a date and time with its offset is wanted, such as 2024-12-04T14:31:53Z"
    )
    assert str(InvalidParameterError(parameter="jobs.12.options.priority")) == (
        "invalid value for jobs.12.options.priority: a whole number is wanted"
    )
    assert str(InvalidParameterError(parameter="options.queu")) == (
        "invalid value for options.queu: there is no such option"
    )
    of_others = "invalid value for jobs.3.options.after.0: what is older is wanted: an id, a group, or a ref"
    assert str(InvalidParameterError(parameter="jobs.3.options.after.0")).startswith(of_others)
    assert str(InvalidParameterError(parameter="groups.0.ref")).startswith(
        "invalid value for groups.0.ref: a text of 1"
    )
    for other in ("jobs.12", "jobs.12.class_name", "options.unknown.deep", "id", 5, None):
        assert str(InvalidParameterError(parameter=other)) == f"invalid value for {other}"


@pytest.mark.parametrize(
    ("parameter", "words", "fits", "misfits"),
    [
        ("retry_count", "from 0 on", [0, 2**62], [-1, 1.5]),
        ("options.delay", "seconds from 0 on are wanted, 100 years", [0, CENTURY], [-1, CENTURY + 1]),
        ("options.priority", "a whole number", [-5, 5], [1.5]),
        ("options.timeout", "seconds above 0 are wanted, 100 years", [0.001, CENTURY], [0, CENTURY + 1]),
        ("options.max_retries", "a whole number from 0 on", [0, 5], [-1, 1.5]),
        ("options.retry_delay", "seconds from 0 on are wanted, 100 years", [0, CENTURY], [-1, CENTURY + 1]),
        ("options.backoff", " or ".join(Backoff), [one.value for one in Backoff], ["linear"]),
        ("options.idempotency_key", "1 to 255 characters", ["k", "k" * 255], ["", "k" * 256]),
        ("options.unique_key", "1 to 255 characters", ["k", "k" * 255], ["", "k" * 256]),
        ("options.key", "1 to 255 characters", ["k", "k" * 255], ["", "k" * 256, 7]),
        ("options.unique_while", " or ".join(UniqueWhile), [one.value for one in UniqueWhile], ["running"]),
        ("options.unique_for", "seconds above 0 are wanted, 100 years", [0.001, CENTURY], [0, CENTURY + 1]),
        ("options.if_held", "return, refuse or replace", [one.value for one in IfHeld], ["revive"]),
        ("options.at_latest", "seconds from 0 on are wanted, 100 years", [0, CENTURY], [-1, CENTURY + 1]),
        ("options.expires_in", "seconds above 0 are wanted, 100 years", [0.001, CENTURY], [0, CENTURY + 1]),
        ("options.after", "a ref that stands before it", [[], [{"id": 1}]], [{"id": 1}, 5]),
        ("options.if_failed", "cancel, run or wait", [one.value for one in IfFailed], ["ignore", 5]),
        ("options.take", "each from a job or group", [{}, {"a": {"of": {"id": 1}}}], [[], 5]),
        ("options.group", "by its id, or by its ref", [{"id": 1}, {"ref": "g"}], [5, []]),
    ],
)
def test_what_an_option_is_said_to_take_is_what_the_daemon_takes(
    parameter: str, words: str, fits: list[Any], misfits: list[Any]
) -> None:
    assert words in errors._WANTED[parameter]

    def submitted(value: Any) -> dict[str, Any]:
        *within, name = parameter.split(".")
        given = {"options": {name: value}} if within else {name: value}
        return {"class_name": "a.B", "method_name": "run", **given}

    for value in fits:
        schemas.checked(schemas.NewJob, submitted(value))
    for value in misfits:
        with pytest.raises(InvalidParameterError) as refused:
            schemas.checked(schemas.NewJob, submitted(value))
        assert refused.value.parameters == {"parameter": parameter}


# Copies, as concurrent.futures, tenacity and loggers make them

JOB = {"id": 12, "status": "failed", "error": "ValueError: no recipient"}


def samples() -> list[BgjobError]:
    refusals = [
        from_reply(name, {field: SAMPLES[kind] for field, kind in DESCRIBED[name].items()})
        for name in sorted(KINDS)
    ]
    newer = from_reply("org.bgjobd.Jobs.FromTheFuture", {"when": "soon"})
    others = [kind("it broke") for kind in (DaemonUnavailableError, ProtocolError, WaitTimeoutError)]
    return [*refusals, newer, *others, JobFailedError(JOB), JobCancelledError({**JOB, "status": "cancelled"})]


@pytest.mark.parametrize("error", samples(), ids=lambda error: f"{type(error).__name__}: {error}"[:40])
def test_a_copy_of_an_error_says_the_same(error: BgjobError) -> None:
    for twin in (copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert twin.args == error.args
        assert getattr(twin, "parameters", None) == getattr(error, "parameters", None)
        assert getattr(twin, "job", None) == getattr(error, "job", None)


def test_a_job_that_failed_tells_its_id_and_error() -> None:
    error = JobFailedError(JOB)
    assert error.job is JOB
    assert str(error) == "job 12 failed: ValueError: no recipient"


def test_a_job_that_was_cancelled_tells_its_id_and_status() -> None:
    assert str(JobCancelledError({"id": 12, "status": "cancelled"})) == "job 12 ended as cancelled"
