"""Sensitive values, whatever way they come in and whatever a job does with them, are shown nowhere but to the job."""

from __future__ import annotations

import itertools
import json
import os
import re
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bgjob import Client, Job, wait
from bgjob.words import EntryType
from bgjobd.core.facts import AttemptEnded, Submitted
from bgjobd.core.job import Call, Ending, RetryPolicy
from bgjobd.core.job import Job as StoredJob
from bgjobd.core.state_machine import IllegalFactError
from bgjobd.store.committed import Claim
from bgjobd.store.items.submissions import Submission
from bgjobd.store.items.submitter import Submitter
from tests.daemon import warm
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

TARGET = "leaky.Leaky"
SETTINGS = """
"leaky.Leaky" = { max_retries = 0, sensitive = ["text", "number", "items", "nested", "key"] }
"leaky.Typed" = { max_retries = 0 }
"leaky.Hooked" = { max_retries = 1, retry_delay = 0.01, sensitive = ["text"] }
[log]
snapshots = true
console = "json"
"""

SOURCE = '''
import json, os, traceback, urllib.parse
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints
from typing_extensions import TypedDict, Unpack

import bgjob

OWN = Path(os.environ.get("OWN", "/nowhere"))


def keep(name, value):
    """Leave the value where a later process of this application, and no test, looks for it."""
    (OWN / name).write_text(value)


def leak(how, value, context):
    match how:
        case "message":
            raise ValueError(f"the value is {value}")
        case "args":
            raise ValueError("the value is", value, [value], {"it": value})
        case "key error":
            raise KeyError(f'no "{value}" here')
        case "repr":
            raise ValueError(repr(value))
        case "ascii":
            raise ValueError(ascii(value))
        case "json":
            raise ValueError(json.dumps({"it": value}))
        case "json with other letters":
            raise ValueError(json.dumps({"it": value}, ensure_ascii=False))
        case "bytes":
            raise ValueError(str(value).encode())
        case "address":
            raise ValueError(f"no answer from http://h/?it={urllib.parse.quote(value)}")
        case "address that quotes all":
            raise ValueError(f"no answer from http://h/?it={urllib.parse.quote(value, safe='')}")
        case "form":
            raise ValueError(f"not taken: {urllib.parse.urlencode({'it': value})}")
        case "number of it":
            raise ValueError(f"{int(value)}")
        case "cause":
            raise ValueError("no") from ValueError(value)
        case "context":
            try:
                raise ValueError(value)
            except ValueError:
                raise RuntimeError("no")
        case "note":
            error = ValueError("no")
            error.add_note(f"it was {value}")
            raise error
        case "group":
            raise ExceptionGroup("several", [ValueError(value), TypeError("no")])
        case "name of the class":
            raise type(str(value), (Exception,), {})("no")
        case "source":
            compile(str(value), "app", "exec")
        case "retry":
            raise bgjob.Retry(f"not with {value}")
        case "fail":
            raise bgjob.Fail(f"never with {value}")
        case "delay":
            raise bgjob.Retry("later", delay=value)
        case "delay of a snooze":
            raise bgjob.Snooze(value)
        case "share of progress":
            context.progress(value)
        case "bytes that are no text":
            raise UnicodeDecodeError("utf-8", str(value).encode(), 0, 1, str(value))
        case "warning":
            import warnings
            warnings.simplefilter("error")
            warnings.warn(f"deprecated: {value}")
        case "log":
            context.logger.error("the value is %s", value)
            context.logger.info({"it": value})
        case "log of an exception":
            try:
                raise ValueError(value)
            except ValueError:
                context.logger.exception("no")
        case "progress":
            context.progress(0.5, f"at {value}")
        case "result that is no JSON":
            return {(value,): 1}


class Login(BaseModel):
    user: str
    password: SecretStr


class Spelled(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    password: SecretStr | None = Field(default=None, alias="pw")


class Chosen(BaseModel):
    password: SecretStr | None = Field(default=None, validation_alias=AliasChoices("password", "pw"))


class ByMail(BaseModel):
    kind: Literal["mail"]
    password: SecretStr


class ByHand(BaseModel):
    kind: Literal["hand"]


class Keys(TypedDict):
    token: SecretStr


def refuse(value):
    raise ValueError(f"{value} is no good")


class Leaky:
    def text(self, how, text, context: bgjob.JobContext):
        return leak(how, text, context)

    def other(self, how, number=None, items=None, nested=None, *, context: bgjob.JobContext):
        value = number if number is not None else items or nested
        return leak(how, value, context)

    def several(self, text, key):
        raise ValueError(f"{text} and {key}")

    def whole(self, params):
        raise ValueError(str(params))

    def strict(self, text: Annotated[str, Field(max_length=3, pattern="^[a-z]+$")] = "", number: int = 0,
               items: Annotated[list[int], Field(max_length=2)] = [], key: Literal["a", "b"] = "a",
               nested: dict[str, int] = {}):
        """Refuses nearly everything."""

    def coerced(self, text: Annotated[str, AfterValidator(refuse)]):
        """Refuses what the schema takes."""

    def lowered(self, text: Annotated[str, StringConstraints(to_lower=True)]):
        raise ValueError(text)

    def wait_for(self, text, path, started):
        import time
        Path(started).touch()
        while not Path(path).exists():
            time.sleep(0.01)


def revealed(value):
    raise ValueError(f"{value.get_secret_value()}")


class Typed:
    def token(self, token: SecretStr):
        revealed(token)

    def login(self, login: Login):
        revealed(login.password)

    def logins(self, logins: list[Login] | None = None):
        revealed(logins[0].password)

    def any_name(self, **tokens: SecretStr):
        revealed(tokens["token"])

    def unpacked(self, **tokens: Unpack[Keys]):
        revealed(tokens["token"] if isinstance(tokens["token"], SecretStr) else SecretStr(tokens["token"]))

    def whole(self, params: Login):
        revealed(params.password)

    def whole_dict(self, params: dict[str, SecretStr]):
        revealed(params["token"])

    def whole_spelled(self, params: Spelled):
        revealed(params.password)

    def whole_chosen(self, params: Chosen):
        revealed(params.password)

    def whole_union(self, params: Annotated[ByMail | ByHand, Field(discriminator="kind")]):
        revealed(params.password)


class Hooked:
    def run(self, text):
        keep("text", text)
        raise ValueError(text)

    def retry_delay(self, attempt, error):
        raise ValueError(f"no delay for {error}")

    def failed(self, error):
        keep("told", f"{error} {error.message} {error.traceback} {error!r}")
        raise RuntimeError((OWN / "text").read_text())
'''

_numbers = itertools.count(71_000)


class Canary:
    """A value of which no part may be seen: `text` begins with `head` and ends with `tail`, each found only there."""

    def __init__(self, between: str = " ", around: str = "") -> None:
        number = next(_numbers)
        self.head, self.tail = f"Hush{number}head", f"Hush{number}tail"
        self.text = f"{around}{self.head}{between}{self.tail}{around}"

    def is_in(self, shown: str) -> bool:
        return self.head in shown or self.tail in shown


FORMS: Mapping[str, tuple[str, str]] = {
    "plain": (" ", ""),
    "single quote": (" ' ", ""),
    "double quote": (' " ', ""),
    "both quotes": (""" ' " """, ""),
    "backslash": (r" \ \n ", ""),
    "slashes": (" /?&=%+ ", ""),
    "several lines": ("\nmore\n", ""),
    "other letters": (" é ü ß 🔑 ", ""),
    "other letters and a quote": (' é " ', ""),
    "control characters": ("\x1b[31m\t\r", ""),
    "surrounded by spaces": (" ", "  "),
    "long": ("x" * 400, ""),
}
"""What stands between head and tail, and around both."""

WAYS_OUT = (
    "message",
    "args",
    "repr",
    "ascii",
    "json",
    "json with other letters",
    "bytes",
    "address",
    "address that quotes all",
    "form",
    "key error",
    "note",
    "group",
    "cause",
    "context",
    "name of the class",
    "source",
    "retry",
    "fail",
    "delay",
    "delay of a snooze",
    "share of progress",
    "bytes that are no text",
    "warning",
    "log",
    "log of an exception",
    "progress",
    "result that is no JSON",
)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The application's own directory, where its values may stand."""
    return tmp_path_factory.mktemp("own")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, own: Path) -> Iterator[RunningDaemon]:
    directory = tmp_path_factory.mktemp("masking")
    environ = {"BGJOBD_DAEMON__FIFO": str(directory / "fifo")}
    app = f'env = {{ OWN = "{own}" }}'
    with daemon(directory, SETTINGS, app, environ, {"leaky": SOURCE}, has_pydantic=True) as running:
        yield running


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


# What is shown, and where


def reply(running: RunningDaemon, method: str, **parameters: Any) -> str:
    """The bytes of a reply, as they come from the socket and with its escapes resolved."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(running.socket))
        request = {"method": f"org.bgjobd.Jobs.{method}", "parameters": parameters}
        connection.sendall(json.dumps(request).encode() + b"\0")
        received = b""
        while not received.endswith(b"\0"):
            received += connection.recv(65536)
    return received.decode() + repr(json.loads(received[:-1]))


def stored(running: RunningDaemon) -> str:
    """All that the database holds, of whatever table, but what is the job's own: its parameters, and its result."""
    tables = running.tables()
    assert {"background_jobs", "job_logs", "job_attempts"} <= tables.keys()
    return "\n".join(
        str(value)
        for table, columns in tables.items()
        for row in running.query(f"SELECT {_shown_columns(table, columns)} FROM {table}")
        for value in row
    )


OF_THE_JOB = {("background_jobs", "parameters"), ("background_jobs", "result")}
"""The only columns that may hold a secret."""


def _shown_columns(table: str, columns: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns if (table, name) not in OF_THE_JOB)


def on_disk(running: RunningDaemon) -> str:
    """Every file of the daemon but its database: log, console, spool, outputs, work directories."""
    files = [
        os.path.join(place, name)
        for place, _, names in os.walk(running.directory)
        for name in names
        if running.database.name not in name and os.path.isfile(os.path.join(place, name))
    ]
    return "\n".join(map(_read, files))  # but what goes meanwhile, as a journal


def processes(running: RunningDaemon) -> str:
    """Command lines and environments of the daemon, its fork servers and their attempts."""
    assert running.process is not None
    pids = [running.process.pid, *running.children()]
    pids += [int(pid) for server in running.children() for pid in _children_of(server)]
    return "\n".join(_read(f"/proc/{pid}/{name}") for pid in pids for name in ("cmdline", "environ", "comm"))


def _children_of(pid: int) -> list[str]:
    return _read(f"/proc/{pid}/task/{pid}/children").split()


def _read(path: str) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def told(running: RunningDaemon, job: Job) -> str:
    """Everything that tells of the job once it has ended, wherever it stands."""
    job.wait(20)
    return f"{replies_about(running, job)}\n{left_by(running, job)}"


def replies_about(running: RunningDaemon, job: Job) -> str:
    return "\n".join(reply(running, method, id=job.id) for method in ("Get", "Wait"))


def left_by(running: RunningDaemon, *jobs: Job) -> str:
    """What stands anywhere once these have ended, and all that was logged of them has been written."""
    chosen = ", ".join(str(job.id) for job in jobs)
    counted = f"SELECT job_id, count(*) FROM job_logs WHERE job_id IN ({chosen}) GROUP BY 1"
    entries = Counter({str(id): count for id, count in running.query(counted)})
    eventually(lambda: Counter(re.findall(r'"job": (\d+),', running.console())) >= entries)
    return "\n".join([stored(running), on_disk(running), processes(running)])


def command(running: RunningDaemon, *words: str) -> str:
    environ = os.environ | {"BGJOBD_SOCKET": str(running.socket)}
    done = warm.run(words[1:], environ, program=words[0])
    return done.stdout + done.stderr


# What a job does with a value


Leaks = tuple[dict[tuple[str, str], tuple[list[str], str]], str]
OF_HUNDREDS = pytest.mark.timeout(240)  # of jobs, which the first of these tests has run


@pytest.fixture(scope="module")
def leaks(running: RunningDaemon) -> Leaks:
    """Of each way and kind of value: what may not be seen, and what the replies about its job say; and all else."""
    calls: dict[tuple[str, str], tuple[list[str], str, dict[str, Any]]] = {}
    for way, form in itertools.product(WAYS_OUT, FORMS):
        canary = Canary(*FORMS[form])
        calls[way, form] = ([canary.head, canary.tail], "text", {"how": way, "text": canary.text})
    for way, kind in itertools.product(WAYS_OUT_OF_VALUES, KINDS):
        canary, digits = Canary(), number()
        name, value = _value(kind, canary, digits)
        calls[way, kind] = ([canary.head, canary.tail, str(digits)], "other", {"how": way, name: value})
    with running.client() as client:
        jobs = client.submit_many(
            {"class_name": TARGET, "method_name": method, "parameters": parameters}
            for _, method, parameters in calls.values()
        )
        assert wait(jobs, 150)[1] == []
    cases = zip(calls.items(), jobs, strict=True)
    of_cases = {case: (secrets, replies_about(running, job)) for (case, (secrets, *_)), job in cases}
    return of_cases, left_by(running, *jobs)


@OF_HUNDREDS
def test_a_text_that_leaves_a_job_is_masked(leaks: Leaks) -> None:
    of_cases, all_else = leaks
    for case in itertools.product(WAYS_OUT, FORMS):
        secrets, replies = of_cases[case]
        assert not any(secret in replies or secret in all_else for secret in secrets), case
        assert "***" in replies, case


def number() -> int:
    """A number whose digits are found nowhere else."""
    return 918_273_000_000 + next(_numbers)


WAYS_OUT_OF_VALUES = ("message", "args", "repr", "json", "group", "log", "progress", "note", "cause")
KINDS = ("number", "negative", "fraction", "list", "nested", "list of lists")


def _value(kind: str, canary: Canary, digits: int) -> tuple[str, Any]:
    """The parameter and its value that hold them."""
    return {
        "number": ("number", digits),
        "negative": ("number", -digits),
        "fraction": ("number", digits + 0.25),
        "list": ("items", [canary.text, digits]),
        "nested": ("nested", {"a": [{"b": canary.text}], "c": digits}),
        "list of lists": ("items", [[[[canary.text]]], [[digits]]]),
    }[kind]


@OF_HUNDREDS
def test_numbers_and_texts_within_a_value_are_masked(leaks: Leaks) -> None:
    of_cases, all_else = leaks
    for case in itertools.product(WAYS_OUT_OF_VALUES, KINDS):
        secrets, replies = of_cases[case]
        assert not any(secret in replies or secret in all_else for secret in secrets), case


def test_a_whole_number_that_came_with_a_fraction_is_masked(client: Client, running: RunningDaemon) -> None:
    digits = number()
    job = client.run_background_job(TARGET, "other", {"how": "number of it", "number": float(digits)})
    assert str(digits) not in told(running, job)


def test_the_keys_within_a_value_are_masked(client: Client, running: RunningDaemon) -> None:
    canary = Canary()
    job = client.run_background_job(TARGET, "other", {"how": "message", "nested": {canary.text: None}})
    assert not canary.is_in(told(running, job))


def test_a_value_that_holds_another_ones_is_masked_whole(client: Client, running: RunningDaemon) -> None:
    canary = Canary(" 4711 ")
    job = client.run_background_job(TARGET, "several", {"text": canary.text, "key": "4711"})
    assert not canary.is_in(told(running, job))


def test_a_value_that_python_itself_cuts_is_masked(client: Client, running: RunningDaemon) -> None:
    canary = Canary("x" * 400)
    job = client.run_background_job(TARGET, "text", {"how": "number of it", "text": canary.text})
    assert not canary.is_in(told(running, job))


def test_a_value_of_stars_makes_no_message_grow(client: Client) -> None:
    job = client.run_background_job(TARGET, "other", {"how": "message", "items": ["*"] * 3})
    assert len(str(job.wait(20)["error"])) < 200


def test_a_value_that_its_annotation_changes_is_masked_too(client: Client, running: RunningDaemon) -> None:
    canary = Canary()
    job = client.run_background_job(TARGET, "lowered", {"text": canary.text})
    assert canary.head.lower() not in told(running, job)


def test_the_named_fields_of_a_whole_mapping_are_masked(client: Client, running: RunningDaemon) -> None:
    canaries = [Canary("\n'"), Canary('"')]
    parameters = {"text": canaries[0].text, "items": [canaries[1].text], "user": "ann"}
    shown = told(running, client.run_background_job(TARGET, "whole", parameters))
    assert not any(canary.is_in(shown) for canary in canaries)
    assert "ann" in shown


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("token", {"token": "IT"}),
        ("login", {"login": {"user": "ann", "password": "IT"}}),
        ("logins", {"logins": [{"user": "ann", "password": "IT"}]}),
        ("whole", {"user": "ann", "password": "IT"}),
        ("whole_union", {"kind": "mail", "password": "IT"}),
        ("whole_spelled", {"pw": "IT"}),
        ("whole_chosen", {"password": "IT"}),
        ("any_name", {"token": "IT"}),
        ("unpacked", {"token": "IT"}),
        ("whole_dict", {"token": "IT"}),
        ("whole_spelled", {"password": "IT"}),
        ("whole_chosen", {"pw": "IT"}),
    ],
    ids=str,
)
def test_what_is_typed_as_a_secret_is_masked(
    client: Client, running: RunningDaemon, method: str, parameters: dict[str, Any]
) -> None:
    canary = Canary(" é' ")
    given = json.loads(json.dumps(parameters).replace("IT", json.dumps(canary.text)[1:-1]))
    job = client.run_background_job("leaky.Typed", method, given)
    shown = told(running, job)
    assert job.snapshot["status"] == "failed"
    assert not canary.is_in(shown)


def test_what_has_become_a_secret_since_it_was_submitted_is_masked_in_the_next_attempt(
    tmp_path: Path, own: Path
) -> None:
    canary = Canary()
    settings = '"leaky.Leaky" = { max_retries = 0 }\n"leaky.Hooked" = { max_retries = 0 }'
    app = f'env = {{ OWN = "{own}" }}'
    with (
        daemon(tmp_path, settings, app, modules={"leaky": SOURCE}, has_pydantic=True) as running,
        running.client() as client,
    ):
        calls = (
            (TARGET, "text", {"how": "message", "text": canary.text}),
            ("leaky.Hooked", "run", {"text": canary.text}),
        )
        jobs = [client.run_background_job(*call, delay=3600) for call in calls]
        assert [client.get(job.id).snapshot["sensitive"] for job in jobs] == [[], []]
        config = running.config.read_text()
        running.config.write_text(config.replace("max_retries = 0", 'max_retries = 0, sensitive = ["text"]'))
        client.reload()
        assert [client.get(job.id).snapshot["sensitive"] for job in jobs] == [["text"], ["text"]]
        for job in jobs:
            job.cancel()
            job.retry()
        assert [job.wait(20)["error"] for job in jobs] == ["ValueError: the value is ***", "ValueError: ***"]
        eventually(lambda: any("the failed hook: RuntimeError: ***" in line for line in running.lines()))


# Refusals


def refused(canary: Canary) -> Iterator[Any]:
    """Parameters that do not fit, each with the canary somewhere."""
    yield {"text": canary.text}
    yield {"text": [canary.text]}
    yield {"number": canary.text}
    yield {"items": canary.text}
    yield {"items": [canary.text, canary.text, canary.text]}
    yield {"key": canary.text}
    yield {"nested": {"a": canary.text}}
    yield {"nested": canary.text, "unknown": canary.text}


@pytest.mark.parametrize("which", range(8))
def test_a_refusal_names_the_field_and_not_the_value(running: RunningDaemon, which: int) -> None:
    canary = Canary(" ' é \\ ")
    parameters = list(refused(canary))[which]
    answer = reply(running, "Submit", class_name=TARGET, method_name="strict", parameters=parameters)
    assert "InvalidParameters" in answer
    assert next(iter(parameters)) in answer
    assert not canary.is_in(answer + stored(running) + on_disk(running))


def test_a_refusal_shows_no_key_of_a_value(running: RunningDaemon) -> None:
    canary = Canary()
    call = {"class_name": TARGET, "method_name": "strict", "parameters": {"nested": {canary.text: "x"}}}
    before = len(running.lines())
    (running.directory / "fifo").write_text(json.dumps(call) + "\n")
    eventually(lambda: len(running.lines()) > before)
    answer = reply(running, "Submit", **call)
    assert "InvalidParameters" in answer
    assert not canary.is_in(answer + on_disk(running))


def test_too_large_parameters_are_refused_by_their_size(running: RunningDaemon) -> None:
    canary = Canary("x" * 70_000)
    parameters = {"how": "message", "text": canary.text}
    answer = reply(running, "Submit", class_name=TARGET, method_name="text", parameters=parameters)
    assert "TooLarge" in answer
    assert not canary.is_in(answer)


def test_a_refused_line_of_the_named_pipe_shows_no_value(running: RunningDaemon) -> None:
    canary = Canary(" é ")
    for parameters in refused(canary):
        call = {"class_name": TARGET, "method_name": "strict", "parameters": parameters}
        before = len(running.lines())
        (running.directory / "fifo").write_text(json.dumps(call) + "\n")
        eventually(lambda before=before: len(running.lines()) > before)
    (running.directory / "fifo").write_text(f'{{"class_name": "{canary.head}\n')
    eventually(lambda: any("JSON" in line for line in running.lines()))
    assert not canary.is_in(on_disk(running))


def test_another_request_with_the_same_key_is_refused_without_either_value(running: RunningDaemon) -> None:
    canaries = Canary(), Canary()
    answers = [
        reply(
            running,
            "Submit",
            class_name=TARGET,
            method_name="text",
            parameters={"how": "message", "text": canary.text},
            options={"idempotency_key": "same"},
        )
        for canary in canaries
    ]
    assert "IdempotencyConflict" in answers[1]
    assert not any(canary.is_in("".join(answers)) for canary in canaries)


def test_what_fails_to_convert_in_the_attempt_shows_no_value(client: Client, running: RunningDaemon) -> None:
    canary = Canary(" é' ")
    shown = told(running, client.run_background_job(TARGET, "coerced", {"text": canary.text}))
    assert "InvalidParameters: text: " in shown
    assert not canary.is_in(shown)


# Hooks


def test_hooks_are_told_no_value_and_what_they_raise_shows_none(
    client: Client, running: RunningDaemon, own: Path
) -> None:
    canary = Canary(" ' é\n")
    job = client.run_background_job("leaky.Hooked", "run", {"text": canary.text})
    assert job.wait(20)["status"] == "failed"
    eventually(lambda: "the failed hook: RuntimeError" in stored(running))
    shown = told(running, job)
    assert "retry_delay raised ValueError" in shown
    assert not canary.is_in(shown + (own / "told").read_text())
    assert canary.is_in((own / "text").read_text())


# While it runs, and by the commands


def test_an_attempt_that_runs_shows_no_value(client: Client, running: RunningDaemon, tmp_path: Path) -> None:
    canary = Canary()
    paths = {"path": str(tmp_path / "go"), "started": str(tmp_path / "started")}
    job = client.run_background_job(TARGET, "wait_for", {"text": canary.text, **paths})
    eventually((tmp_path / "started").exists)
    eventually(lambda: "Background job started" in stored(running))
    shown = processes(running) + on_disk(running) + stored(running) + reply(running, "Get", id=job.id)
    (tmp_path / "go").touch()
    assert "forkserver" in shown
    assert not canary.is_in(shown)
    assert not canary.is_in(told(running, job))


def test_no_command_shows_a_value(client: Client, running: RunningDaemon) -> None:
    canary = Canary(" é' ")
    job = client.run_background_job(TARGET, "text", {"how": "message", "text": canary.text})
    job.wait(20)
    words = [("bgjob", "show", str(job.id)), ("bgjob", "show", "--json", str(job.id))]
    shown = [command(running, *one) for one in [*words, ("bgjobd", "check", "--config", str(running.config))]]
    assert all("***" in one for one in shown[:2])
    assert "leaky.Leaky" in shown[2]
    assert not canary.is_in("".join(shown))
    assert not canary.is_in(reply(running, "Classes") + reply(running, "Stats"))


def test_what_an_error_of_ours_quotes_shows_no_parameter() -> None:
    canary = Canary()
    call = Call(TARGET, "text", json.dumps({"text": canary.text}), ("text",))
    submitted = Submitted(1, call, 0, RetryPolicy())
    job = StoredJob(1, call, "pending")  # type: ignore[arg-type]  # the repr is what counts
    ended = AttemptEnded(1, Ending.lost("gone"), 0.0)
    shown = [repr(call), repr(submitted), repr(job), repr(Claim(job, "token"))]
    shown += [repr(Submission((submitted,), Submitter(0, 0, 0))), str(IllegalFactError(job, submitted))]
    assert not canary.is_in("".join([*shown, str(IllegalFactError(job, ended)), EntryType.INFO]))


def test_the_database_keeps_the_value_for_the_job(client: Client, running: RunningDaemon) -> None:
    canary = Canary()
    job = client.run_background_job(TARGET, "text", {"how": "nothing", "text": canary.text})
    job.wait(20)
    ((text,),) = running.query(f"SELECT parameters FROM background_jobs WHERE id = {job.id}")
    assert json.loads(text)["text"] == canary.text


def test_ended_jobs_leave_no_journal_with_a_value(running: RunningDaemon) -> None:
    eventually(lambda: not running.spooled())
