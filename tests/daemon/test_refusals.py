"""Every refusal of the socket, provoked at a real daemon: as bytes, by the Python client, and that nothing stays."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest.mock import ANY

import pytest

from bgjob import (
    ClassUnavailableError,
    Client,
    GroupNotFoundError,
    GroupSealedError,
    IdempotencyConflictError,
    InvalidNameError,
    InvalidParameterError,
    InvalidParametersError,
    InvalidStateError,
    JobNotFoundError,
    MethodNotApprovedError,
    NotApprovedError,
    PermissionDeniedError,
    ReloadFailedError,
    RequestError,
    ShuttingDownError,
    TooLargeError,
    errors,
    retrying,
)
from bgjob.codec import Request
from bgjob.words import INTERFACE, SERVICE
from tests.daemon.running import RunningDaemon, daemon
from tests.protocol.peers import PATIENCE, Peer, connect, leaves_nothing, ours
from tests.support import eventually

PROBE = "probes.Probe"
NOBODY = 65534
INVALID_PARAMETER = f"{SERVICE}.InvalidParameter"
TYPED = """
from datetime import date
from typing import Annotated
from pydantic import Field


class Typed:
    def run(self, number: Annotated[int, Field(ge=1)] = 1, on: date = None, text: str = ""):
        return number
"""
SETTINGS = f"""
"typed.Typed" = {{}}
[queues]
mail = {{ slots = 1 }}
[access]
submit = ["{NOBODY}"]
manage = []
read = []
[alerts]
tell = ["journal"]
"""
KEY = "a-key-that-was-used"
TERMS = ("priority", "queue", "at", "expires_at", "timeout", "max_retries")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """A daemon with one completed job, number 1, which has a key."""
    directory = tmp_path_factory.mktemp("refusals")
    environ = {"BGJOBD_DAEMON__FIFO": str(directory / "fifo")}
    with daemon(directory, SETTINGS, environ=environ, modules={"typed": TYPED}, has_pydantic=True) as running:
        with running.client() as client:
            job = client.run_background_job(PROBE, "echo", {"value": 1}, idempotency_key=KEY)
            assert (job.id, job.result(PATIENCE)) == (1, 1)
        with connect(running) as peer:  # group 1, which is sealed, and group 2, which is open
            assert peer.ask(in_order(groups=[{"ref": "g"}, OPEN])).parameters["groups"] == [1, 2]
        running.socket.chmod(0o666)
        running.directory.chmod(0o711)
        yield running
        assert [line for line in running.lines() if "bug" in line] == []


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


@pytest.fixture
def peer(running: RunningDaemon) -> Iterator[Peer]:
    with connect(running) as peer:
        yield peer


# What is asked, and what is answered


@dataclass(frozen=True)
class Refusal:
    """A request, the error that answers it, and what the Python client makes of that.

    `told` are the error's parameters; None where a test beside the table looks at them. `by_client`: whether the
    Python client can ask this at all.
    """

    name: str
    method: str
    parameters: dict[str, Any]
    error: str
    told: dict[str, Any] | None
    raises: type[RequestError]
    message: str
    by_client: bool = True

    def __str__(self) -> str:
        return self.name

    @property
    def request(self) -> Request:
        return ours(self.method, **self.parameters)


def submit(
    class_name: Any = PROBE, method_name: Any = "echo", parameters: Any = None, **options: Any
) -> dict[str, Any]:
    """The parameters of a Submit."""
    job = {"class_name": class_name, "method_name": method_name, "parameters": parameters}
    return {**job, "options": options} if options else job


def invalid(
    name: str, parameter: str, parameters: dict[str, Any], method: str = "Submit", by_client: bool = True
) -> Refusal:
    """A request that is refused for the value of one of its own parameters."""
    of_one_job = re.sub(r"^jobs\.\d+\.", "", parameter)
    told = "$"
    if of_one_job in errors._WANTED:
        told = ": .* wanted"
    elif re.fullmatch(r"options\.\w+", of_one_job):
        told = ": there is no such option$"
    return Refusal(
        name,
        method,
        parameters,
        INVALID_PARAMETER,
        {"parameter": parameter},
        InvalidParameterError,
        f"^invalid value for {parameter}{told}",
        by_client,
    )


def in_bulk(*each: Any, keys: Any = None, **common: Any) -> dict[str, Any]:
    """The parameters of a SubmitMany in bulk."""
    return {"class_name": PROBE, "method_name": "echo", "each": list(each), "keys": keys} | common


def option(name: str, *values: Any) -> list[Refusal]:
    """A Submit with each of these values for one option."""
    return [
        invalid(f"{name}={str(value)[:30]!r}", f"options.{name}", submit(**{name: value})) for value in values
    ]


def refused(
    name: str, error: type[RequestError], told: dict[str, Any] | None, message: str, **asked: Any
) -> Refusal:
    """A Submit that the rules refuse."""
    return Refusal(name, "Submit", submit(**asked), error.error_name, told, error, message)


def many(*jobs: dict[str, Any]) -> dict[str, Any]:
    return {"jobs": list(jobs)}


LARGE = 2**63
TOO_LATE, TOO_EARLY = "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00"
NO_NUMBERS: tuple[Any, ...] = ("1", True, [], {})
INVALID = [
    # The shape of a submit
    invalid("no class", "class_name", {"method_name": "echo"}, by_client=False),
    invalid("no method", "method_name", {"class_name": PROBE}, by_client=False),
    invalid("a class that is a number", "class_name", submit(class_name=5), by_client=False),
    invalid("a class that is null", "class_name", submit(class_name=None), by_client=False),
    invalid("a method that is a list", "method_name", submit(method_name=["echo"])),
    invalid("parameters that are a list", "parameters", submit(parameters=[1])),
    invalid("parameters that are a text", "parameters", submit(parameters="value=1")),
    invalid("an unknown field", "priority", submit() | {"priority": 1}, by_client=False),
    invalid("options that are a list", "options", submit() | {"options": [1]}, by_client=False),
    *(
        invalid(f"retry_count={value!r}", "retry_count", submit() | {"retry_count": value})
        for value in (-1, 1.0, *NO_NUMBERS)
    ),
    # Integers beyond 64 bit
    invalid("a large integer", "parameters", submit(parameters={"value": LARGE})),
    invalid("a small integer", "parameters", submit(parameters={"value": [{"a": -LARGE - 1}]})),
    invalid("a large retry_count", "retry_count", submit() | {"retry_count": LARGE}),
    invalid("a large priority", "options", submit(priority=LARGE)),
    invalid("a large id", "id", {"id": LARGE}, "Get"),
    invalid("neither id nor key", "id", {}, "Get"),
    invalid("neither id nor key", "id", {"id": None, "key": None}, "Wait"),
    invalid("both id and key", "key", {"id": 1, "key": KEY}, "Get"),
    invalid("both id and key", "key", {"id": 1, "key": KEY}, "Wait"),
    invalid("a key of 256 characters", "key", {"key": "x" * 256}, "Get"),
    invalid("a very large integer", "parameters", submit(parameters={"value": 10**4000})),
    # Options
    *option("delay", -1, -0.001, 1e12, *NO_NUMBERS),
    *option("at", "", "now", "2024-12-04", "2024-12-04T14:31:53", "2024-12-04T14:31:53 UTC", 5, True),
    *option("at", "2024-13-01T00:00:00Z", "2024-12-04T25:00:00Z", TOO_LATE, TOO_EARLY, "Z", "x" * 10_000),
    *option("priority", 1.5, *NO_NUMBERS),
    *option("queue", "", "nowhere", "Mail", "mail ", 5, []),
    *option("timeout", 0, 0.0, -1, 1e12, *NO_NUMBERS),
    *option("max_retries", -1, 101, 1.0, *NO_NUMBERS),
    *option("retry_delay", -1, 1e12, *NO_NUMBERS),
    *option("backoff", "", "linear", "Constant", 5),
    *option("idempotency_key", "", "x" * 256, 5, []),
    *option("max_retry_delay", 5),
    *option("retries", 5),
    invalid(
        "at and delay together", "options.delay", submit(at="2034-12-04T14:31:53Z", delay=5)
    ),
    invalid(
        "at and no delay together", "options.delay", submit(at="2034-12-04T14:31:53Z", delay=0)
    ),
    # Other methods
    *(invalid(f"Get {value!r}", "id", {"id": value}, "Get") for value in (0, -1, "1", 1.0, True, None)),
    invalid("Get without id", "id", {}, "Get", by_client=False),
    invalid("Get with more", "name", {"id": 1, "name": "x"}, "Get", by_client=False),
    invalid("Wait for 0", "id", {"id": 0}, "Wait"),
    invalid("Wait less than no time", "timeout", {"id": 1, "timeout": -1}, "Wait", by_client=False),
    invalid("Wait for a word", "timeout", {"id": 1, "timeout": "1"}, "Wait", by_client=False),
    *(
        refusal
        for method in ("Cancel", "Retry")
        for refusal in (
            invalid(f"{method} nothing", "ids", {"ids": []}, method, by_client=False),
            invalid(f"{method} number 0", "ids.1", {"ids": [1, 0]}, method),
            invalid(f"{method} a word", "ids.0", {"ids": ["1"]}, method),
            invalid(f"{method} no list", "ids", {"ids": 1}, method, by_client=False),
        )
    ),
    *(
        invalid(f"Pause {what}", next(iter(until)), {"queue": "default", **until}, "Pause")
        for what, until in {
            "for no time": {"resumes_in": 0},
            "for longer than there are dates": {"resumes_in": 1e10},
            "until a time without its offset": {"resumes_at": "2999-12-04T14:31:53"},
            "until a time that is past": {"resumes_at": "2024-12-04T14:31:53Z"},
            "for a time and until one": {"resumes_in": 5, "resumes_at": "2999-12-04T14:31:53Z"},
        }.items()
    ),
    *(
        invalid(f"Change {given}", place, {"ids": [1], **given}, "Change", by_client=place in TERMS)
        for given, place in (
            ({"priority": "5"}, "priority"),
            ({"queue": "nowhere"}, "queue"),
            ({"queue": "~alerts"}, "queue"),
            ({"at": "2034-12-04T14:31:53"}, "at"),
            ({"expires_at": ""}, "expires_at"),
            ({"timeout": 0}, "timeout"),
            ({"max_retries": 101}, "max_retries"),
            ({"without": ["queue"]}, "without.0"),
            ({"without": ["at"], "at": "2034-12-04T14:31:53Z"}, "without.0"),
            ({"delay": 5}, "delay"),
            ({"ids": []}, "ids"),
        )
    ),
    *(
        invalid(f"Keys {what}", name, {"queue": "default", **given}, "Keys")
        for what, name, given in (
            ("of an unknown queue", "queue", {"queue": "nowhere"}),
            ("that are the busiest of some", "busiest", {"busiest": True, "search": "customer"}),
            ("that are the busiest behind one", "busiest", {"busiest": True, "after": "customer:7"}),
        )
    ),
    *(
        refusal
        for method in ("Pause", "Resume")
        for refusal in (
            invalid(f"{method} an unknown queue", "queue", {"queue": "nowhere"}, method),
            invalid(f"{method} a number", "queue", {"queue": 5}, method),
            invalid(f"{method} nothing", "queue", {}, method, by_client=False),
        )
    ),
    *(
        invalid(f"{method} of something", "all", {"all": True}, method, by_client=False)
        for method in ("Classes", "Stats", "Reload")
    ),
    invalid(
        "Matching by many names",
        "filter",
        {"filter": dict.fromkeys(map(str, range(101))), "to": "cancel"},
        "Matching",
        by_client=False,
    ),
    invalid("Prune nothing", "ids", {"ids": [], "last_entry": 1}, "Prune"),
    invalid("Prune too much", "ids", {"ids": [1] * 1001, "last_entry": 1}, "Prune"),
    invalid("Prune whatever happened since", "last_entry", {"ids": [1]}, "Prune", by_client=False),
    invalid("PruneLogs of no time", "before", {"before": "soon", "after": 0}, "PruneLogs"),
    invalid("PruneLogs of some time", "before", {"before": "2026-01-01T00:00:00", "after": 0}, "PruneLogs"),
    invalid("PruneLogs behind nothing", "after", {"before": "2026-01-01T00:00:00Z", "after": -1}, "PruneLogs"),
    # Several
    invalid("many that are none", "jobs", {"jobs": {}}, "SubmitMany", by_client=False),
    invalid("too many", "jobs", many(*[submit()] * 10_001), "SubmitMany", by_client=False),
    invalid("a bad one among many", "jobs.1.retry_count", many(submit(), submit() | {"retry_count": -1}), "SubmitMany"),
    invalid("a bad option among many", "jobs.0.options.delay", many(submit(delay=-1), submit()), "SubmitMany"),
    invalid("one among many that is none", "jobs.1", {"jobs": [submit(), 5]}, "SubmitMany", by_client=False),
    invalid("an unknown field among many", "jobs.0.delay", many(submit() | {"delay": 1}), "SubmitMany"),
    *(
        invalid(f"in bulk: {what}", named, given, "SubmitMany", by_client=False)
        for what, named, given in (
            ("nothing", "jobs", {}),
            ("both", "class_name", {"jobs": [], **in_bulk()}),
            ("jobs with keys", "keys", {"jobs": [], "keys": []}),
            ("no class", "class_name", in_bulk({}, class_name=None)),
            ("no method", "method_name", in_bulk({}, method_name=None)),
            ("too many", "each", in_bulk(*[{}] * 10_001)),
            ("rows that are none", "each", in_bulk() | {"each": {}}),
            ("a row that is none", "each.1", in_bulk({}, 5)),
            ("a row that is null", "each.0", in_bulk(None)),
            ("keys for some", "keys", in_bulk({}, {}, keys=["a"])),
            ("keys for more", "keys", in_bulk({}, keys=["a", "b"])),
            ("an empty key", "keys.1", in_bulk({}, {}, keys=["a", ""])),
            ("a long key", "keys.0", in_bulk({}, keys=["k" * 256])),
            ("a key that is null", "keys.1", in_bulk({}, {}, keys=["a", None])),
            ("a key twice", "keys.1", in_bulk({"value": 1}, {"value": 2}, keys=["new", "new"])),
            ("one key for all", "options.idempotency_key", in_bulk({}, options={"idempotency_key": "k"})),
            ("a bad option", "options.delay", in_bulk({}, options={"delay": -1})),
            ("no such queue, and no job", "options.queue", in_bulk(options={"queue": "nowhere"})),
            ("bad retries", "retry_count", in_bulk({}, retry_count=-1)),
            ("an unknown field", "delay", in_bulk({}, delay=1)),
        )
    ),
    invalid(
        "a key twice among many",
        "jobs.1.options.idempotency_key",
        many(submit(idempotency_key="new"), submit(idempotency_key="new", priority=1)),
        "SubmitMany",
    ),
]  # fmt: skip

PROBLEMS = [
    ({"number": 0}, "number", "0 is less than the minimum of 1"),
    ({"number": "1"}, "number", "is not of type"),
    ({"on": "4.12.2024"}, "on", "4.12.2024"),
    ({"text": "x", "to": 1}, "", "no parameter is called 'to'"),
]
RULES = [
    refused(
        "another class",
        NotApprovedError,
        {"class_name": "probes.Other"},
        "^probes.Other is not an approved class; list it under .approved. in the daemon's configuration$",
        class_name="probes.Other",
    ),
    refused("os.system", NotApprovedError, {"class_name": "os"}, "list it under", class_name="os"),
    refused(
        "another method",
        MethodNotApprovedError,
        {"class_name": PROBE, "method_name": "missing"},
        "^probes.Probe has no approved method missing; `bgjob classes probes.Probe` lists them$",
        method_name="missing",
    ),
    refused(
        "a borrowed function",
        MethodNotApprovedError,
        {"class_name": PROBE, "method_name": "borrowed"},
        "`bgjob classes probes.Probe` lists them$",
        method_name="borrowed",
    ),
    refused(
        "a class that is broken",
        ClassUnavailableError,
        {"class_name": "broken.Job", "reason": "RuntimeError: this module does not import"},
        "^broken.Job cannot be used: RuntimeError: this module does not import; `bgjobd check` shows why$",
        class_name="broken.Job",
    ),
    refused(
        "a class that needs more",
        ClassUnavailableError,
        {"class_name": "probes.NeedsMore", "reason": "its constructor needs connection"},
        "its constructor needs connection; `bgjobd check` shows why$",
        class_name="probes.NeedsMore",
    ),
    refused(
        "no class name",
        InvalidNameError,
        {"field": "class_name", "value": "probes/Probe"},
        "^class_name is not a valid name: 'probes/Probe'$",
        class_name="probes/Probe",
    ),
    refused(
        "no method name",
        InvalidNameError,
        {"field": "method_name", "value": "echo()"},
        r"^method_name is not a valid name: 'echo\(\)'$",
        method_name="echo()",
    ),
    refused(
        "a name of 256 characters",
        InvalidNameError,
        {"field": "class_name", "value": "a" * 255},
        "^class_name is not a valid name: 'a{255}'$",
        class_name="a" * 256,
    ),
    *(
        refused(
            f"parameters that do not fit: {parameters}",
            InvalidParametersError,
            None,
            f"^the parameters do not fit the method: {path or 'parameters'}: .*{message}",
            class_name="typed.Typed",
            method_name="run",
            parameters=parameters,
        )
        for parameters, path, message in PROBLEMS
    ),
    refused(
        "parameters of 64 KiB and a byte",
        TooLargeError,
        {"limit": 65536, "size": 65537},
        "^the parameters take 65537 bytes, the limit is 65536$",
        parameters={"value": "x" * (65537 - len('{"value":""}'))},
    ),
    refused(
        "parameters that are large as UTF-8 only",
        TooLargeError,
        {"limit": 65536, "size": 65538},
        "65538 bytes",
        parameters={"value": "€" * ((65538 - len('{"value":""}')) // 3)},
    ),
    refused(
        "a key of another request",
        IdempotencyConflictError,
        {"id": 1},
        "^this idempotency key belongs to job 1, which was another request$",
        parameters={"value": 2},
        idempotency_key=KEY,
    ),
]
JOBS = [
    *(
        Refusal(
            f"{method} a job that there is not",
            method,
            parameters,
            JobNotFoundError.error_name,
            {"id": 4711},
            JobNotFoundError,
            "^there is no job 4711$",
        )
        for method, parameters in (
            ("Get", {"id": 4711}),
            ("Wait", {"id": 4711}),
            ("Cancel", {"ids": [4711]}),
            ("Retry", {"ids": [4711]}),
            ("Change", {"ids": [4711]}),
        )
    ),
    *(
        Refusal(
            f"{method} a job by a key that there is not",
            method,
            {"key": "nowhere"},
            JobNotFoundError.error_name,
            {"id": 0, "key": "nowhere"},
            JobNotFoundError,
            "^there is no job with the key nowhere$",
        )
        for method in ("Get", "Wait")
    ),
    *(
        Refusal(
            f"{method} a job that has completed",
            method,
            {"ids": [1]},
            InvalidStateError.error_name,
            {"id": 1, "status": "completed"},
            InvalidStateError,
            "^job 1 is completed$",
        )
        for method in ("Cancel", "Retry", "Change")
    ),
    Refusal(
        "several, one of them not approved",
        "SubmitMany",
        many(submit(), submit(class_name="x.Y"), submit()),
        NotApprovedError.error_name,
        {"class_name": "x.Y"},
        NotApprovedError,
        "^x.Y is not an approved class",
    ),
    *(
        Refusal(
            f"in bulk: {what}", "SubmitMany", given, refusal.error_name, told, refusal, "", by_client=False
        )
        for what, given, refusal, told in (
            ("not approved", in_bulk(class_name="x.Y"), NotApprovedError, {"class_name": "x.Y"}),
            (
                "a key of another request",
                in_bulk({}, {"value": 2}, keys=["new", KEY]),
                IdempotencyConflictError,
                {"id": 1},
            ),
            (
                "parameters that do not fit",
                in_bulk({}, {"value": 2}, {"unknown": 1}),
                InvalidParametersError,
                {"problems": [{"path": "each/2", "message": ANY}]},
            ),
            (
                "a parameter that does not fit",
                in_bulk({"number": 1}, {"number": 0}, class_name="typed.Typed", method_name="run"),
                InvalidParametersError,
                {"problems": [{"path": "each/1/number", "message": ANY}]},
            ),
            (
                "parameters that are too large",
                in_bulk({}, {"value": "x" * (65537 - len('{"value":""}'))}),
                TooLargeError,
                {"limit": 65536, "size": 65537, "parameter": "each.1"},
            ),
        )
    ),
    Refusal(
        "several, one of them with a key of another request",
        "SubmitMany",
        many(submit(), submit(parameters={"value": 2}, idempotency_key=KEY)),
        IdempotencyConflictError.error_name,
        {"id": 1},
        IdempotencyConflictError,
        "^this idempotency key belongs to job 1",
    ),
]


def in_order(*jobs: dict[str, Any], **more: Any) -> Request:
    return ours("SubmitMany", jobs=list(jobs), **more)


def named(ref: str, **options: Any) -> dict[str, Any]:
    """A job of a list with this ref."""
    return submit(**options) | {"ref": ref}


def ties(
    what: str, told: dict[str, Any], *jobs: dict[str, Any], error: str = INVALID_PARAMETER, **more: Any
) -> Refusal:
    """A SubmitMany that is refused for what its jobs come after, or are members of."""
    raises = InvalidParameterError if error == INVALID_PARAMETER else RequestError
    return Refusal(what, "SubmitMany", {**many(*jobs), **more}, error, told, raises, "", by_client=False)


def at(parameter: str) -> dict[str, Any]:
    return {"parameter": parameter}


OPEN: dict[str, Any] = {"ref": "open", "open": True}
G: dict[str, Any] = {"ref": "g"}
NEST = [{"ref": "g0"}, *({"ref": f"g{n}", "group": {"ref": f"g{n - 1}"}} for n in range(1, 9))]
LATER, FIRST = {"after": [{"ref": "later"}]}, "jobs.0.options.after.0"
VALUE: dict[str, Any] = {"value": {"of": {"id": 1}}}
TIES = [
    ties("a ref twice", at("jobs.1.ref"), named("a"), named("a")),
    ties("an empty ref", at("jobs.0.ref"), named("")),
    ties("a long ref", at("jobs.0.ref"), named("r" * 65)),
    ties("a later job", at(FIRST), submit(**LATER), named("later")),
    ties("itself", at(FIRST), named("later", **LATER)),
    ties("a group by the ref of a job", at("jobs.1.options.group"), named("a"), submit(group={"ref": "a"})),
    ties("a job by the ref of a group", at(FIRST), submit(after=[{"ref": "g"}]), groups=[G]),
    ties("a group that is not listed", at(FIRST), submit(after=[{"group_ref": "g"}])),
    ties("two of the four", at(FIRST), submit(after=[{"id": 1, "group": 1}])),
    ties("none of the four", at(FIRST), submit(after=[{}])),
    ties("both of the two", at("jobs.0.options.group"), submit(group={"id": 2, "ref": "g"}), groups=[G]),
    ties("neither of the two", at("jobs.0.options.group"), submit(group={})),
    ties("what is no predecessor", at("jobs.0.options.after.1"), submit(after=[{"id": 1}, 5])),
    ties("a predecessor with much to say", at(FIRST), submit(after=[dict.fromkeys(map(str, range(101)))])),
    ties("id 0", at("jobs.0.options.after.0.id"), submit(after=[{"id": 0}])),
    ties("a large id", at("jobs"), submit(after=[{"id": LARGE}])),
    ties(
        "a job that there is not",
        {"id": 4711},
        submit(after=[{"id": 4711}]),
        error=JobNotFoundError.error_name,
    ),
    ties(
        "a group that there is not",
        {"id": 77},
        submit(after=[{"group": 77}]),
        error=GroupNotFoundError.error_name,
    ),
    ties(
        "member of none that there is",
        {"id": 77},
        submit(group={"id": 77}),
        error=GroupNotFoundError.error_name,
    ),
    ties("seal of none that there is", {"id": 77}, seal=[77], error=GroupNotFoundError.error_name),
    ties("a sealed group", {"id": 1}, submit(group={"id": 1}), error=GroupSealedError.error_name),
    ties(
        "a group in a sealed one",
        {"id": 1},
        groups=[{"ref": "g", "group": {"id": 1}}],
        error=GroupSealedError.error_name,
    ),
    ties(
        "what is neither older than the group nor in it",
        at("jobs.3.options.after.0"),
        *(submit(group=G), named("b"), submit(), submit(group=G, after=[{"ref": "b"}])),
        groups=[G],
    ),
    ties("nine groups around a job", at("groups.8.group"), groups=NEST),
    ties("two groups of one name", at("groups.1.ref"), groups=[G, G]),
    ties(
        "two groups of one key",
        at("groups.1.idempotency_key"),
        groups=[{"ref": n, "idempotency_key": "k"} for n in "ab"],
    ),
    ties("a group in a later one", at("groups.0.group"), groups=[{"ref": "a", "group": G}, G]),
    ties("a group that is none", at("groups.1"), groups=[G, 5]),
    ties("a group without a ref", at("groups.0.ref"), groups=[{}]),
    ties("an unknown field of a group", at("groups.0.sealed"), groups=[G | {"sealed": True}]),
    ties("a seal that is none", at("seal.1"), seal=[2, 0]),
    ties(
        "1,001 predecessors",
        {"limit": 1000, "size": 1001, "parameter": "jobs.0.options.after"},
        submit(after=[{"id": 1}] * 1001),
        error=TooLargeError.error_name,
    ),
    ties(
        "1,001 predecessors, one of them but to take of",
        {"limit": 1000, "size": 1001, "parameter": "jobs.0.options.after"},
        submit(after=[{"id": n} for n in range(2, 1002)], take=VALUE),
        error=TooLargeError.error_name,
    ),
    ties(
        "20,001 edges",
        {"limit": 20_000, "size": 20_001, "parameter": "jobs"},
        *[submit(after=[{"id": n} for n in range(1, 1001)])] * 20,
        submit(after=[{"id": 1}]),
        error=TooLargeError.error_name,
    ),
    ties(
        "parameters of 64 KiB and a byte, of one of two",
        {"limit": 65536, "size": 65537, "parameter": "jobs.1.parameters"},
        submit(),
        submit() | {"parameters": {"value": "x" * (65537 - len('{"value":""}'))}},
        error=TooLargeError.error_name,
    ),
    ties("a delay beside after", at("jobs.0.options.delay"), submit(after=[{"id": 1}], delay=1)),
    ties("a delay beside take", at("jobs.0.options.delay"), submit(take=VALUE, delay=0)),
    ties("if_failed of nothing", at("jobs.0.options.if_failed"), submit(if_failed="run")),
    ties(
        "if_failed of a member", at("jobs.0.options.if_failed"), submit(if_failed="run", group=G), groups=[G]
    ),
    ties(
        "if_failed that is none", at("jobs.0.options.if_failed"), submit(after=[{"id": 1}], if_failed="skip")
    ),
    ties(
        "a pointer that is none",
        at("jobs.0.options.take.value.pointer"),
        submit(take={"value": VALUE["value"] | {"pointer": "rows"}}),
    ),
    ties(
        "a long pointer",
        at("jobs.0.options.take.value.pointer"),
        submit(take={"value": VALUE["value"] | {"pointer": "/" * 1025}}),
    ),
    ties(
        "take of a later job",
        at("jobs.0.options.take.value.of"),
        submit(take={"value": {"of": {"ref": "b"}}}),
        named("b"),
    ),
    ties("take of nothing", at("jobs.0.options.take.value.of"), submit(take={"value": {}})),
    ties(
        "101 takes",
        at("jobs.0.options.take"),
        submit(take=dict.fromkeys(map(str, range(101)), VALUE["value"])),
    ),
    invalid("a ref of one job", "ref", submit() | {"ref": "a"}, by_client=False),
    invalid("a ref in one job", "options.after.0", submit(after=[{"ref": "a"}]), by_client=False),
    invalid("a group_ref in one job", "options.after.0", submit(after=[{"group_ref": "g"}]), by_client=False),
    invalid("a group of one job by its ref", "options.group", submit(group=G), by_client=False),
    *(
        invalid(
            f"{name} in bulk",
            f"options.{name}",
            in_bulk({}, options={name: value}),
            "SubmitMany",
            by_client=False,
        )
        for name, value in (("after", [{"id": 1}]), ("take", VALUE), ("if_failed", "run"), ("group", G))
    ),
    *(
        Refusal(
            f"{method} of a group that there is not",
            *(method, {"id": 77}, GroupNotFoundError.error_name, {"id": 77}, RequestError, ""),
            by_client=False,
        )
        for method in ("Group", "WaitGroup", "SealGroup", "CancelGroup", "RetryGroup")
    ),
    Refusal(
        "Graph of no job",
        "Graph",
        {"id": 77},
        JobNotFoundError.error_name,
        {"id": 77},
        RequestError,
        "",
        by_client=False,
    ),
    *(
        invalid(f"{method} {LARGE}", "id", {"id": LARGE}, method, by_client=False)
        for method in ("Group", "WaitGroup", "SealGroup", "CancelGroup", "RetryGroup", "Graph")
    ),
    invalid("Groups in no state", "state", {"state": "ended"}, "Groups", by_client=False),
    invalid("Groups before a large one", "before", {"before": LARGE}, "Groups", by_client=False),
    invalid("Groups in a large one", "group", {"group": LARGE}, "Groups", by_client=False),
    invalid("a graph of 1,001", "limit", {"id": 1, "limit": 1001}, "Graph", by_client=False),
    *(
        refused(
            f"take: {what}",
            InvalidParametersError,
            {"problems": [{"path": path, "message": ANY}]},
            message,
            **asked,
        )
        for what, path, message, asked in (
            ("no such parameter", "rows", "rows: .*no such parameter", {"take": {"rows": VALUE["value"]}}),
            ("given, too", "value", "value: .*is given, too", {"take": VALUE, "parameters": {"value": 1}}),
            (
                "the others are missing",
                "",
                '"ledger" is a required property$',
                {"method_name": "note", "take": {"line": VALUE["value"]}},
            ),
        )
    ),
]
REFUSALS = [*INVALID, *RULES, *JOBS, *TIES]
PARENTS: dict[type[RequestError], type[Exception]] = {
    NotApprovedError: PermissionError,
    MethodNotApprovedError: PermissionError,
    PermissionDeniedError: PermissionError,
    InvalidNameError: ValueError,
    InvalidParameterError: ValueError,
    InvalidParametersError: ValueError,
    TooLargeError: ValueError,
    JobNotFoundError: LookupError,
}


def by_client(client: Client, method: str, given: dict[str, Any]) -> object:
    """What the request is for whoever writes Python."""
    calls: dict[str, Callable[[], object]] = {
        "Submit": lambda: client.run_background_job(
            given["class_name"],
            given["method_name"],
            given["parameters"],
            given.get("retry_count", 0),
            **given.get("options", {}),
        ),
        "SubmitMany": lambda: client.submit_many(given["jobs"]),
        "Get": lambda: client.get(given.get("id"), key=given.get("key")),
        "Wait": lambda: client.wait(given.get("id"), given.get("timeout"), key=given.get("key")),
        "Cancel": lambda: client.cancel(*given["ids"]),
        "Retry": lambda: client.retry(*given["ids"]),
        "Change": lambda: client.change(*given["ids"], **{k: v for k, v in given.items() if k != "ids"}),
        "Prune": lambda: client.prune(given["ids"], given["last_entry"]),
        "PruneLogs": lambda: client.prune_logs(given["before"], given["after"]),
        "Keys": lambda: client.keys(**given),
        "Pause": lambda: client.pause(**given),
        "Resume": lambda: client.resume(given["queue"]),
    }
    return calls[method]()


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_a_refused_request_is_answered_by_its_error_and_the_connection_goes_on(
    peer: Peer, refusal: Refusal
) -> None:
    reply = peer.ask(refusal.request)
    assert reply.error == refusal.error
    assert refusal.told in (None, reply.parameters)
    assert peer.ask(ours("Stats")).error is None


@pytest.mark.parametrize("refusal", [one for one in REFUSALS if one.by_client], ids=str)
def test_the_client_raises_the_error_that_says_what_is_wrong(client: Client, refusal: Refusal) -> None:
    with pytest.raises(refusal.raises, match=refusal.message) as raised:
        by_client(client, refusal.method, refusal.parameters)
    assert type(raised.value) is refusal.raises
    assert isinstance(raised.value, PARENTS.get(refusal.raises, Exception))
    assert refusal.told in (None, raised.value.parameters)


@pytest.mark.parametrize(("parameters", "path", "message"), PROBLEMS)
def test_parameters_that_do_not_fit_are_told_one_by_one(
    peer: Peer, parameters: dict[str, Any], path: str, message: str
) -> None:
    reply = peer.ask(ours("Submit", **submit("typed.Typed", "run", parameters)))
    (problem,) = reply.parameters["problems"]
    assert problem.keys() == {"path", "message"}
    assert problem["path"] == path
    assert message in problem["message"]


@pytest.mark.parametrize(
    "given",
    [
        submit(parameters={"value": "x" * (65536 - len('{"value":""}'))}),
        submit(class_name="typed.Typed", method_name="run", parameters={"number": 2**63 - 1}),
        submit(idempotency_key="x" * 255),
        submit(at="2034-12-04T14:31:53+02:00"),
        submit(at="2034-12-04T14:31:53Z"),
        submit(delay=0, priority=-(2**63), timeout=5, max_retries=100, retry_delay=0, queue="mail"),
        dict.fromkeys(("parameters", "retry_count", "options")) | submit(),
        submit() | {"options": dict.fromkeys(("delay", "at", "queue", "backoff", "idempotency_key"))},
    ],
    ids=lambda given: str(given)[:60],
)
def test_what_is_just_within_the_limits_is_taken(peer: Peer, client: Client, given: dict[str, Any]) -> None:
    reply = peer.ask(ours("Submit", **given))
    assert reply.error is None
    if client.get(reply.parameters["id"]).snapshot["status"] == "pending":
        peer.ask(ours("Cancel", ids=[reply.parameters["id"]]))
    client.wait(reply.parameters["id"], PATIENCE)


def test_a_check_refuses_what_a_submit_would_and_stores_nothing(
    peer: Peer, client: Client, running: RunningDaemon
) -> None:
    before = running.query("SELECT count(*) FROM background_jobs")
    refusals = [one for one in [*INVALID, *RULES] if one.method == "Submit"]
    for one in refusals:
        reply = peer.ask(ours("Submit", **one.parameters, check_only=True))
        known_by_key = one.raises is IdempotencyConflictError  # which is not looked at
        assert reply.error == (None if known_by_key else one.error), one
    for known in (submit(parameters={"value": 1}, idempotency_key=KEY), submit(queue="mail")):
        reply = peer.ask(ours("Submit", **known, check_only=True))
        assert (reply.error, reply.parameters) == (None, {"id": 0, "created": False})
    with pytest.raises(NotApprovedError):
        client.run_background_job("x.Y", "echo", check_only=True)
    assert client.run_background_job(PROBE, "echo", check_only=True).id == 0
    assert running.query("SELECT count(*) FROM background_jobs") == before


def test_a_key_twice_in_one_submission_is_one_job_if_it_is_one_request(client: Client) -> None:
    job = submit(parameters={"value": 3}, idempotency_key="twice")
    first, second = client.submit_many([job, job])
    assert first.id == second.id
    assert first.result(PATIENCE) == 3


def test_a_method_or_interface_that_there_is_not_is_told_by_its_name(peer: Peer) -> None:
    for name in (
        f"{INTERFACE}.Nope",
        f"{INTERFACE}.submit",
        f"{SERVICE}.Nope",
        "org.nobody.X.Y",
        "",
        "Submit",
    ):
        reply = peer.ask(Request(name))
        assert (reply.error, reply.parameters) == (f"{SERVICE}.MethodNotFound", {"method": name})
    for name in ("org.nobody.X", "", INTERFACE.lower()):
        reply = peer.ask(Request(f"{SERVICE}.GetInterfaceDescription", {"interface": name}))
        assert (reply.error, reply.parameters) == (f"{SERVICE}.InterfaceNotFound", {"interface": name})


# A reload


@pytest.fixture
def broken_config(running: RunningDaemon) -> Iterator[None]:
    text = running.config.read_text()
    running.config.write_text(f"{text}\n[retry2]\nx = 1\n")
    yield
    running.config.write_text(text)


@pytest.mark.usefixtures("broken_config")
def test_a_reload_that_fails_says_why_and_that_the_old_stays(peer: Peer, client: Client) -> None:
    reply = peer.ask(ours("Reload"))
    assert reply.error == ReloadFailedError.error_name
    assert reply.parameters.keys() == {"reason"}
    assert "retry2" in reply.parameters["reason"]
    with pytest.raises(
        ReloadFailedError, match=r"^the reload failed, the old code and configuration stay: (.|\n)*retry2"
    ):
        client.reload()
    assert client.run_background_job(PROBE, "echo", {"value": 1}).result(PATIENCE) == 1


# Another user

ASK = """
import json, os, sys, socket
from bgjob import Client  # while this user may read it
from bgjob.codec import Request
requests = json.loads(sys.argv[2])
os.setgroups([])
os.setgid(1000001)
os.setuid(int(sys.argv[1]))
told = []
peer = socket.socket(socket.AF_UNIX)
peer.settimeout(20)
peer.connect("s.sock")
for method, parameters in requests:
    peer.sendall(Request(method, parameters).to_bytes())
    text = b""
    while not text.endswith(b"\\0"):
        text += peer.recv(65536) or b"\\0"
    told.append(json.loads(text[:-1]))
with Client("s.sock", timeout=20) as client:
    try:
        client.cancel(1)
    except PermissionError as error:
        told.append([type(error).__name__, str(error)])
print(json.dumps(told))
"""


def as_user(running: RunningDaemon, uid: int, *requests: Request) -> list[Any]:
    """The replies that a process of this user gets, and at the end what its Python client raised at a cancel."""
    asked = json.dumps([[one.method, one.parameters] for one in requests])
    # The socket is found from the working directory: the way to it may be closed to others.
    ran = subprocess.run(
        [sys.executable, "-c", ASK, str(uid), asked],
        cwd=running.directory,
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    replies: list[Any] = json.loads(ran.stdout)
    return replies


as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
MANAGING = [
    ours("Cancel", ids=[1]),
    ours("Retry", ids=[1]),
    ours("Pause", queue="default"),
    ours("Resume", queue="default"),
    ours("Reload"),
]
READING = [ours("Get", id=1), ours("Wait", id=1), ours("Stats"), ours("Classes")]
SUBMITTING = [
    ours("Submit", **submit()),
    ours("SubmitMany", **many(submit())),
    ours("Change", ids=[1], priority=5),
]


@as_root
@pytest.mark.parametrize(
    ("uid", "right", "requests"),
    [
        (NOBODY, "manage", MANAGING),
        (NOBODY, "read", READING),
        (1_000_002, "submit", SUBMITTING),
        (1_000_002, "manage", MANAGING),
        (1_000_002, "read", READING),
    ],
)
def test_who_is_not_listed_is_refused_and_told_what_to_change(
    running: RunningDaemon, uid: int, right: str, requests: list[Request]
) -> None:
    reason = (
        f"uid {uid} may not {right}; "
        f"list it, or a group of it, under [access] {right} in the daemon's configuration"
    )
    with leaves_nothing(running):
        *replies, by_python = as_user(running, uid, *requests)
    assert replies == [
        {"error": PermissionDeniedError.error_name, "parameters": {"reason": reason}} for _ in requests
    ]
    assert by_python[0] == "PermissionDeniedError"
    assert by_python[1].startswith(f"refused: uid {uid} may not manage; list it")


@as_root
def test_who_may_but_submit_takes_no_results_of_others_and_changes_no_groups_of_others(
    running: RunningDaemon,
) -> None:
    """What job 1 returned is for who may read; what a key leads to was made by another request."""
    another = submit(parameters={"value": 1}, idempotency_key=KEY) | {"ref": "a"}
    taking = {"take": {"value": {"of": {"ref": "a"}}}}
    requests = [
        ours("Submit", **submit(take=VALUE)),
        ours("Submit", **submit(take=VALUE), check_only=True),
        in_order(submit(take={"value": {"of": {"group": 1}}})),
        in_order(another, submit(**taking)),
        ours("Submit", **submit(group={"id": 2})),
        ours("SubmitMany", **in_bulk({}, options={"group": {"id": 2}})),
        in_order(groups=[{"ref": "g", "group": {"id": 2}}]),
        in_order(seal=[2]),
        ours("SealGroup", id=2),
        ours("CancelGroup", id=2),
        ours("RetryGroup", id=2),
        ours("Change", ids=[1], priority=5),
        *(ours(method, id=2) for method in ("Group", "WaitGroup")),
        *(ours("Groups"), ours("Graph", id=1)),
    ]
    with leaves_nothing(running):
        *replies, _ = as_user(running, NOBODY, *requests)
    assert [reply.get("error") for reply in replies] == [PermissionDeniedError.error_name] * len(requests)


@as_root
def test_who_may_not_is_not_told_what_is_wrong_with_the_request(running: RunningDaemon) -> None:
    requests = [
        ours("Submit", **submit("probes.Other")),
        ours("Submit"),
        ours("Get", id=4711),
        ours("Cancel", ids=[]),
        ours("Reload", x=1),
    ]
    *replies, _ = as_user(running, 1_000_002, *requests)
    assert {reply["error"] for reply in replies} == {PermissionDeniedError.error_name}


# A daemon that ends

GATED = """
import os, time
while not os.path.exists({gate!r}):
    time.sleep(0.01)


class Job:
    def run(self):
        pass
"""


class _Relay:
    """A socket between a Python client and the daemon, which hands on one request and its reply when it is told."""

    def __init__(self, path: Path, peer: Peer) -> None:
        self.path = path
        self._peer = peer
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.settimeout(PATIENCE)
        self._listener.bind(str(path))
        self._listener.listen()
        self._client: socket.socket | None = None

    def hand_on_request(self) -> None:
        self._client, _ = self._listener.accept()
        self._client.settimeout(PATIENCE)
        frame = b""
        while not frame.endswith(b"\0"):
            frame += self._client.recv(65536)
        self._peer.send(frame)

    def hand_on_reply(self) -> None:
        reply = self._peer.try_reply()
        assert reply is not None, "the daemon closed the connection"
        assert self._client is not None
        self._client.sendall(reply.to_bytes())

    def close(self) -> None:
        for end in (self._client, self._listener):
            if end is not None:
                end.close()


def test_who_waits_while_the_daemon_ends_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A submit waits for the catalogue, which an import holds up; then the daemon is told to end."""
    monkeypatch.setattr(retrying, "GIVE_UP_AFTER", 0.0)  # the client would wait for the next daemon
    gate = tmp_path / "gate"
    modules = {"gated": GATED.format(gate=str(gate))}
    raised: list[Exception] = []
    with (
        daemon(tmp_path, '"gated.Job" = {}', modules=modules) as running,
        connect(running) as peer,
        connect(running) as another,
        connect(running) as witness,
    ):
        relay = _Relay(tmp_path / "relay.sock", another)

        def submit_by_client() -> None:
            try:
                with Client(str(relay.path), timeout=PATIENCE) as client:
                    client.run_background_job(PROBE, "echo")
            except ShuttingDownError as error:
                raised.append(error)

        thread = threading.Thread(target=submit_by_client)
        thread.start()
        relay.hand_on_request()
        peer.send(ours("Submit", **submit()), ours("SubmitMany", **many(submit())), ours("Classes"))
        # The daemon reads in the order in which it is written to: once this is answered, it has the others.
        assert witness.ask(ours("Stats")).error is None
        for waiting in (peer, another):
            waiting.settle()
            assert not waiting.has_news()
        assert running.stop() == 0
        relay.hand_on_reply()
        thread.join(PATIENCE)
        relay.close()
        replies = peer.rest()
        gate.touch()
    assert [(one.error, one.parameters) for one in replies] == [(ShuttingDownError.error_name, {})] * 3
    assert [str(error) for error in raised] == ["the daemon is shutting down; try again in a moment"]
    assert running.query("SELECT COUNT(*) FROM background_jobs") == [(0,)]


# Nothing stays

BROKEN_FRAMES = [
    b"hello\0",
    b"[]\0",
    b"{}\0",
    b'{"method":5}\0',
    ours("Submit", **submit()).to_bytes().replace(b'"echo"', b'"ec\\u0000ho"'),
    ours("Submit", **submit(parameters={"value": 1})).to_bytes().replace(b":1}", b":NaN}"),
    ours("Submit", **submit(parameters={"value": 1})).to_bytes().replace(b":1}", b":1e999}"),
    ours("Submit", **submit(parameters={"value": 1})).to_bytes().replace(b":1}", b':"\\ud800"}'),
    ours("Submit", **submit(parameters={"value": 1})).to_bytes().replace(b":1}", b':1,"value":2}'),
    ours("Submit", **submit(parameters={"value": 1})).to_bytes().replace(b":1}", b":" + b"[" * 40 + b"]" * 40 + b"}"),
    ours("Submit", **submit(parameters={"value": 1})).to_bytes().replace(b":1}", b':"\xff"}'),
]  # fmt: skip
BROKEN_LINES = [
    b"hello",
    b"[]",
    b"{}",
    b'{"class_name":"probes.Probe","method_name":"echo"',
    b'{"class_name":"probes.Probe","method_name":"echo","class_name":"x"}',
    b'{"class_name":"probes.Probe","method_name":"echo","parameters":{"value":NaN}}',
    b'{"class_name":"probes.Probe","method_name":"ec\xffho"}',
    *(json.dumps(submit(**options)).encode() for options in ({"take": VALUE}, {"group": {"id": 2}})),
]


_LATER: Final = {"alerts", "method_usage", "properties", "sqlite_sequence"}
_TOLD_BY_BEATS: Final[dict[str, set[str]]] = {"hosts": {"beats", "seen_at", "code_version"}}


@dataclass(frozen=True)
class Kept:
    """All that the daemon keeps: the rows, every column of them, and the files with their sizes; but for what comes by
    itself in a while: that its start has code by now is over as an alert, what has completed before is counted, what a
    host tells by its beats.
    """

    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    files: list[tuple[str, int]] = field(default_factory=list)

    @classmethod
    def by(cls, running: RunningDaemon) -> Kept:
        folders = (running.spool, running.directory / "state" / "output")
        return cls(
            {
                name: running.query(f"SELECT {_kept_of(name, columns)} FROM {name}")
                for name, columns in running.tables().items()
                if name not in _LATER
            },
            sorted((path.name, path.stat().st_size) for folder in folders for path in folder.iterdir()),
        )


def _kept_of(table: str, columns: list[str]) -> str:
    return ", ".join(one for one in columns if one not in _TOLD_BY_BEATS.get(table, ()))


def test_nothing_that_is_refused_leaves_a_row_a_line_a_file_or_a_process(running: RunningDaemon) -> None:
    lines = [json.dumps(one.parameters).encode() for one in REFUSALS if one.method == "Submit"] + BROKEN_LINES
    with leaves_nothing(running):
        before = Kept.by(running)
        told_before = len(refused_lines(running))
        for refusal in REFUSALS * 2:
            with connect(running) as peer:
                assert peer.ask(refusal.request).error == refusal.error
        with connect(running) as peer:
            for refusal in REFUSALS:
                peer.send(refusal.request)
                assert (reply := peer.try_reply()) is not None
                assert reply.error == refusal.error
        for frame in BROKEN_FRAMES:
            with connect(running) as peer:
                peer.send(frame)
                assert peer.rest() == []
        with (running.directory / "fifo").open("wb", buffering=0) as pipe:
            for line in lines:
                pipe.write(line + b"\n")
        eventually(lambda: len(refused_lines(running)) - told_before >= len(lines))
        assert Kept.by(running) == before
        eventually(lambda: len(running.children()) == 1)  # but for a trial of what is missing
    assert len(refused_lines(running)) - told_before == len(lines)
    assert len(REFUSALS) * 3 + len(BROKEN_FRAMES) + len(lines) > 400


def refused_lines(running: RunningDaemon) -> list[str]:
    """What the log says of lines of the named pipe."""
    return [line for line in running.lines() if "a line of the named pipe was refused" in line]


def test_after_all_refusals_the_next_job_has_the_next_number(running: RunningDaemon, client: Client) -> None:
    ((last,),) = running.query("SELECT MAX(id) FROM background_jobs")
    with connect(running) as peer:
        for refusal in REFUSALS:
            peer.ask(refusal.request)
    assert client.run_background_job(PROBE, "echo").id == last + 1
