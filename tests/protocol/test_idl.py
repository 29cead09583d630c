"""The interface description against the code: same methods, same inputs, and systemd's own reader accepts it."""

from __future__ import annotations

import subprocess
import types
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest

from bgjob.errors import InvalidParameterError
from bgjob.words import INTERFACE, SERVICE, Backoff
from bgjobd.api import introspection, methods, schemas, submissions
from bgjobd.host.clock import to_text
from tests.protocol import idl
from tests.support import needed

JOBS = idl.parse(introspection.IDL.read_text())
NAMES: dict[Any, str] = {str: "string", int: "int", float: "float", bool: "bool", Any: "?object"}
"""What may be null, too, is any JSON."""


def idl_type(annotation: Any) -> str:
    """How the interface description writes a type of Python's."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return idl_type(arguments[0])
    if origin in (Union, types.UnionType):
        (inner,) = [each for each in arguments if each is not type(None)]
        assert len(arguments) == 2, f"{annotation} cannot be written in Varlink"
        return f"?{idl_type(inner)}"
    if origin is list:
        return f"[]{idl_type(arguments[0])}"
    if origin is Literal:
        return "string"
    if origin is dict:
        return f"[string]{idl_type(arguments[1])}" if arguments[1] is not Any else "object"
    return NAMES.get(annotation) or annotation.__name__


def fields_of(shape: type[schemas.Input]) -> idl.Fields:
    return {name: idl_type(field.annotation) for name, field in shape.model_fields.items()}


# The description and the code


def test_the_description_and_the_code_have_the_same_methods() -> None:
    assert JOBS.name == INTERFACE
    assert sorted(JOBS.inputs) == sorted({*methods._TABLE, *methods._STREAMS})


SHAPES = {name: shape for name, (shape, _) in [*methods._TABLE.items(), *methods._STREAMS.items()]}


def test_a_method_that_follows_takes_what_the_one_that_answers_once_takes() -> None:
    both = methods._TABLE.keys() & methods._STREAMS.keys()
    assert both == {"Logs", "Output", "Values"}
    assert all(methods._TABLE[name][0] is methods._STREAMS[name][0] for name in both)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_a_method_takes_the_parameters_that_its_description_lists(name: str) -> None:
    shape = SHAPES[name]
    assert fields_of(shape) == JOBS.inputs[name]


SHARED = [
    *(schemas.Options, schemas.NewJob, schemas.NewGroup),
    *(schemas.Predecessor, schemas.Source, schemas.InGroup, schemas.Filter),
]
"""The types that several methods take."""


@pytest.mark.parametrize("shape", SHARED, ids=lambda shape: shape.__name__)
def test_a_described_type_has_the_fields_of_its_model(shape: type[schemas.Input]) -> None:
    assert fields_of(shape) == JOBS.types[shape.__name__]


@pytest.mark.parametrize("shape", [*SHAPES.values(), *SHARED], ids=lambda shape: shape.__name__)
def test_a_parameter_may_be_left_out_where_the_description_says_so(shape: type[schemas.Input]) -> None:
    for name, field in shape.model_fields.items():
        assert field.is_required() is not idl_type(field.annotation).startswith("?"), name


def test_every_type_that_the_description_uses_is_described() -> None:
    every = [*JOBS.types.values(), *JOBS.inputs.values(), *JOBS.outputs.values(), *JOBS.errors.values()]
    used = {
        kind.lstrip("?").removeprefix("[]").removeprefix("[string]")
        for each in every
        for kind in each.values()
    }
    reached = used - {"string", "int", "float", "bool", "object"}
    assert reached == set(JOBS.types)


def test_the_way_back_is_described_for_every_method() -> None:
    assert sorted(JOBS.outputs) == sorted(JOBS.inputs)


# systemd's reader


@pytest.fixture
def varlinkctl() -> str:
    return needed("varlinkctl")


def test_systemd_accepts_the_description(varlinkctl: str) -> None:
    done = subprocess.run(
        [varlinkctl, "validate-idl", introspection.IDL], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr.lower()


def test_systemd_accepts_the_description_of_the_service_interface(varlinkctl: str, tmp_path: Path) -> None:
    file = tmp_path / f"{SERVICE}.varlink"
    file.write_text(introspection.DESCRIPTIONS[SERVICE])
    done = subprocess.run([varlinkctl, "validate-idl", file], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr


def test_systemd_would_refuse_a_broken_description(varlinkctl: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.varlink"
    file.write_text(introspection.IDL.read_text().replace("method Get(id: ?int,", "method Get(id: ?integer,"))
    done = subprocess.run([varlinkctl, "validate-idl", file], capture_output=True, text=True, timeout=20)
    assert done.returncode != 0


# Shapes: what a method's parameters may be, before anybody looks at what they mean

SUBMIT = {"class_name": "a.B", "method_name": "run"}


def submit(**options: Any) -> dict[str, Any]:
    return {**SUBMIT, "options": options}


def test_a_submit_needs_the_two_names_only() -> None:
    given = schemas.checked(schemas.NewJob, dict(SUBMIT))
    assert (given.parameters, given.retry_count, given.options) == (None, None, None)


def test_null_means_left_out() -> None:
    nothing = dict.fromkeys(schemas.Options.model_fields)
    given = schemas.checked(
        schemas.NewJob, {**SUBMIT, "parameters": None, "retry_count": None, "options": nothing}
    )
    assert given.options == schemas.Options()


def test_a_submit_with_everything_is_understood() -> None:
    options = {
        "delay": 1,
        "at": "2024-12-04T14:31:53Z",
        "priority": -(2**63),
        "queue": "mail",
        "timeout": 0.5,
        "max_retries": 0,
        "retry_delay": 0,
        "backoff": "exponential",
        "idempotency_key": "k" * 255,
        "after": [{"id": 12}, {"ref": "a"}, {"group": 5}, {"group_ref": "g"}],
        "if_failed": "wait",
        "take": {"rows": {"of": {"ref": "a"}, "pointer": "/rows"}},
        "group": {"ref": "g"},
        "expires_in": 0.5,
        "expires_at": "2024-12-04T14:31:53Z",
        "unique_key": "u" * 255,
        "unique_while": "pending",
        "unique_for": 3600,
        "if_held": "replace",
        "at_latest": 0,
        "key": "c" * 255,
    }
    everything = {
        **SUBMIT,
        "parameters": {"a": [None]},
        "retry_count": 3,
        "options": options,
        "ref": "b" * 64,
    }
    given = schemas.checked(schemas.NewJob, everything)
    assert given.model_dump(exclude_none=True) == everything


def test_every_backoff_has_its_word() -> None:
    for backoff in Backoff:
        assert schemas.Options(backoff=backoff.value).backoff == backoff


@pytest.mark.parametrize(
    ("method", "parameters", "named"),
    [
        ("Submit", {}, "class_name"),
        ("Submit", {"class_name": "a.B"}, "method_name"),
        ("Submit", {**SUBMIT, "class_name": None}, "class_name"),
        ("Submit", {**SUBMIT, "class_name": 1}, "class_name"),
        ("Submit", {**SUBMIT, "method_name": ["run"]}, "method_name"),
        ("Submit", {**SUBMIT, "parameters": []}, "parameters"),
        ("Submit", {**SUBMIT, "parameters": "{}"}, "parameters"),
        ("Submit", {**SUBMIT, "retry_count": -1}, "retry_count"),
        ("Submit", {**SUBMIT, "retry_count": "1"}, "retry_count"),
        ("Submit", {**SUBMIT, "retry_count": 1.0}, "retry_count"),
        ("Submit", {**SUBMIT, "retry_count": True}, "retry_count"),
        ("Submit", {**SUBMIT, "status": "completed"}, "status"),
        ("Submit", {**SUBMIT, "id": 1}, "id"),
        ("Submit", {**SUBMIT, "ref": "a"}, "ref"),
        ("Submit", {**SUBMIT, "check_only": 1}, "check_only"),
        ("Submit", {**SUBMIT, "options": []}, "options"),
        ("Submit", submit(unknown=1), "options.unknown"),
        ("Submit", submit(delay=-0.1), "options.delay"),
        ("Submit", submit(delay="5"), "options.delay"),
        ("Submit", submit(delay=True), "options.delay"),
        ("Submit", submit(delay=1e300), "options.delay"),
        ("Submit", submit(at=1733322713), "options.at"),
        ("Submit", submit(priority=1.5), "options.priority"),
        ("Submit", submit(priority=False), "options.priority"),
        ("Submit", submit(queue=1), "options.queue"),
        ("Submit", submit(timeout=0), "options.timeout"),
        ("Submit", submit(timeout=-1), "options.timeout"),
        ("Submit", submit(timeout=1e300), "options.timeout"),
        ("Submit", submit(max_retries=-1), "options.max_retries"),
        ("Submit", submit(retry_delay=-1), "options.retry_delay"),
        ("Submit", submit(backoff="linear"), "options.backoff"),
        ("Submit", submit(backoff="CONSTANT"), "options.backoff"),
        ("Submit", submit(idempotency_key=""), "options.idempotency_key"),
        ("Submit", submit(idempotency_key="k" * 256), "options.idempotency_key"),
        ("Submit", submit(expires_in=0), "options.expires_in"),
        ("Submit", submit(expires_at=1733322713), "options.expires_at"),
        ("Submit", submit(unique_key=""), "options.unique_key"),
        ("Submit", submit(unique_while="running"), "options.unique_while"),
        ("Submit", submit(unique_for=0), "options.unique_for"),
        ("Submit", submit(if_held="revive"), "options.if_held"),
        ("Submit", submit(at_latest=-1), "options.at_latest"),
        ("Submit", submit(key=""), "options.key"),
        ("Submit", submit(key=7), "options.key"),
        ("SubmitMany", {"jobs": SUBMIT}, "jobs"),
        ("SubmitMany", {**SUBMIT, "each": {}}, "each"),
        ("SubmitMany", {**SUBMIT, "each": [], "keys": "k"}, "keys"),
        ("SubmitMany", {**SUBMIT, "each": [], "parameters": {}}, "parameters"),
        ("Get", {"id": 0}, "id"),
        ("Get", {"id": -1}, "id"),
        ("Get", {"id": "1"}, "id"),
        ("Get", {"id": 1.0}, "id"),
        ("Get", {"id": True}, "id"),
        ("Get", {"id": 1, "ids": [1]}, "ids"),
        ("Get", {"id": 1, "before": 0}, "before"),
        ("Get", {"id": 1, "limit": 0}, "limit"),
        ("Get", {"id": 1, "limit": 1001}, "limit"),
        ("Get", {"key": 1}, "key"),
        ("Get", {"key": ""}, "key"),
        ("Get", {"key": "k" * 256}, "key"),
        ("Wait", {"id": 1, "timeout": -1}, "timeout"),
        ("Wait", {"id": 1, "timeout": "1"}, "timeout"),
        ("Cancel", {"ids": []}, "ids"),
        ("Cancel", {"ids": 1}, "ids"),
        ("Cancel", {"ids": [1, 0]}, "ids.1"),
        ("Cancel", {"ids": [1, None]}, "ids.1"),
        ("Change", {"ids": []}, "ids"),
        ("Change", {"ids": [1], "priority": 1.5}, "priority"),
        ("Change", {"ids": [1], "timeout": 0}, "timeout"),
        ("Change", {"ids": [1], "max_retries": -1}, "max_retries"),
        ("Change", {"ids": [1], "without": ["priority"]}, "without.0"),
        ("Change", {"ids": [1], "expires_in": 5}, "expires_in"),
        ("Pause", {}, "queue"),
        ("Hosts", {"all": True}, "all"),
        ("Needs", {"all": True}, "all"),
        ("Trend", {"of": ""}, "span"),
        ("Trend", {"of": 1, "span": 300}, "of"),
        ("ClassStats", {}, "name"),
        ("ClassStats", {"name": "n", "limit": 501}, "limit"),
        ("Alerts", {"open": 1}, "open"),
        ("Alerts", {"limit": 1001}, "limit"),
        ("AcknowledgeAlert", {}, "id"),
        ("MuteAlerts", {"rule": "paused"}, "seconds"),
        ("MuteAlerts", {"rule": "paused", "seconds": -1}, "seconds"),
        ("TestAlerts", {"rule": 1}, "rule"),
        ("HostLost", {}, "name"),
        ("HostLost", {"name": 1}, "name"),
        ("Drain", {"host": 1}, "host"),
        ("HostAccept", {"name": "web1"}, "name"),
        ("Keys", {}, "queue"),
        ("Keys", {"queue": "default", "after": ""}, "after"),
        ("Keys", {"queue": "default", "limit": 1001}, "limit"),
        ("Keys", {"queue": "default", "busiest": 1}, "busiest"),
        ("Steps", {}, "id"),
        ("Steps", {"id": 1, "after": -1}, "after"),
        ("Steps", {"id": 1, "limit": 0}, "limit"),
        ("Values", {}, "id"),
        ("Values", {"id": 1, "after": "1"}, "after"),
        ("Values", {"id": 1, "limit": 1001}, "limit"),
        ("Again", {}, "id"),
        ("Again", {"id": 1, "parameters": [1]}, "parameters"),
        ("Again", {"id": 1, "from_step": ""}, "from_step"),
        ("Again", {"id": 1, "from_step": "x" * 256}, "from_step"),
        ("Again", {"id": 1, "idempotency_key": ""}, "idempotency_key"),
        ("Again", {"id": 1, "from_start": True}, "from_start"),
        ("Signal", {"id": 1}, "name"),
        ("Signal", {"id": 1, "name": ""}, "name"),
        ("Signal", {"id": 1, "name": "n", "signal_key": ""}, "signal_key"),
        ("List", {"key": "k" * 256}, "key"),
        ("Resume", {"queue": None}, "queue"),
        ("Classes", {"all": True}, "all"),
        ("List", {"count": 0}, "count"),
        ("List", {"count": 100_001}, "count"),
        ("List", {"count": True}, "count"),
        ("Logs", {"count": -1}, "count"),
        ("Logs", {"count": "10"}, "count"),
        ("Stats", {"all": True}, "all"),
        ("Running", {"all": True}, "all"),
        ("Stats", {"usage": 1}, "usage"),
        ("Stats", {"usage": "true"}, "usage"),
        ("Stats", {"counts": 1}, "counts"),
    ],
)
def test_a_parameter_of_another_shape_is_refused_by_its_name(
    method: str, parameters: dict[str, Any], named: str
) -> None:
    shape, _ = methods._TABLE[method]
    with pytest.raises(InvalidParameterError) as caught:
        schemas.checked(shape, parameters)
    assert caught.value.parameters == {"parameter": named}


@pytest.mark.parametrize("at", ["", "tomorrow", "2024-12-04T14:31:53", "2024-12-04", "2024-13-04T00:00:00Z"])
def test_a_time_that_is_no_instant_is_refused(at: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        submissions._scheduled_at(schemas.Options(at=at), now=0.0)
    assert caught.value.parameters == {"parameter": "options.at"}


def test_a_time_is_understood_in_any_zone() -> None:
    expected = datetime(2024, 12, 4, 14, 31, 53, tzinfo=UTC).timestamp()
    for at in ("2024-12-04T14:31:53Z", "2024-12-04T15:31:53+01:00", "2024-12-04T14:31:53.000000+00:00"):
        assert submissions._scheduled_at(schemas.Options(at=at), now=0.0) == expected


def test_a_delay_counts_from_now_and_excludes_a_time() -> None:
    assert submissions._scheduled_at(schemas.Options(delay=5), now=100.0) == 105.0
    assert submissions._scheduled_at(schemas.Options(delay=0), now=100.0) is None
    assert submissions._scheduled_at(schemas.Options(), now=100.0) is None
    with pytest.raises(InvalidParameterError):
        submissions._scheduled_at(schemas.Options(delay=5, at="2024-12-04T14:31:53Z"), now=100.0)


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z"])
def test_a_time_of_any_year_can_be_stored(at: str) -> None:
    scheduled_at = submissions._scheduled_at(schemas.Options(at=at), now=0.0)
    assert scheduled_at is not None
    assert to_text(scheduled_at) == at.replace("Z", ".000000Z")


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_in_the_year_0_or_10000_of_utc_is_refused(at: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        submissions._scheduled_at(schemas.Options(at=at), now=0.0)
    assert caught.value.parameters == {"parameter": "options.at"}
