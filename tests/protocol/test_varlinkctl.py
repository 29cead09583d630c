"""A real daemon, called by systemd's `varlinkctl`: a second client that nobody here wrote."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bgjob import Client
from bgjob.words import INTERFACE, SERVICE
from bgjobd.api import introspection
from tests.protocol import idl
from tests.support import eventually, needed

PATIENCE = 20.0

JOBS = '''
"""What an application might have."""

import os
import time

import bgjob

class EmailNotification:
    """Sends mail."""

    def send(self, to: str, subject: str = "") -> str:
        """Sends one message."""
        return f"{subject} to {to}"

class Sums:
    def power(self, base: int, exponent: int) -> int:
        return base ** exponent

    def stepped(self, context: bgjob.JobContext) -> None:
        context.step("one", dict, a=1)
        context.emit({"n": 1})
        context.wait_for("packed")

    def sleep(self) -> None:
        time.sleep(60)
    def killed(self) -> None:
        os.kill(os.getpid(), 9)
'''

CONFIG = """
[daemon]
socket = "{here}/bgjobd.sock"
state_dir = "{here}/state"
runtime_dir = "{here}/run"
log_dir = "{here}/log"
slots = 2

[web]
enabled = false

[app]
path = ["{here}"]

[retry]
max_retries = 0

[queues.shared]
slots_per_key = 1

[approved]
"shop_jobs.EmailNotification" = {{}}
"shop_jobs.Sums" = {{ unknown = "review", retry_lost = false }}
[schedules.hourly]
job = "shop_jobs.EmailNotification::send"
parameters = {{ to = "a" }}
every = "1h"
jitter = "1m"
"""


@dataclass(frozen=True)
class Service:
    """A daemon that serves in a process of its own."""

    process: subprocess.Popen[bytes]
    socket: Path
    varlinkctl: str

    def varlink(self, command: str, *rest: str, form: str = "off") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.varlinkctl, f"--json={form}", command, f"unix:{self.socket}", *rest],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def call(self, method: str, **parameters: Any) -> Any:
        done = self.varlink("call", f"{INTERFACE}.{method}", json.dumps(parameters), form="short")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def follow(self, method: str, **parameters: Any) -> list[Any]:
        """All replies but an empty last one; varlinkctl prints them as a JSON sequence (RFC 7464)."""
        arguments = ("--more", f"{INTERFACE}.{method}", json.dumps(parameters))
        done = self.varlink("call", *arguments, form="short")
        replies = [json.loads(text) for text in done.stdout.split("\x1e")[1:]]
        assert replies, done.stderr
        return [reply for reply in replies if reply]

    def refusal(self, method: str, parameters: str) -> tuple[str, Any]:
        """The name and the parameters of the error that a call gives."""
        done = self.varlink("call", method, parameters, form="short")
        assert done.returncode != 0, done.stdout
        return done.stderr.strip().rpartition("failed: ")[2], json.loads(done.stdout or "{}")


@contextmanager
def serving(here: Path) -> Iterator[Service]:
    """A daemon with its files below `here`; it is stopped by SIGTERM, as systemd does it."""
    varlinkctl = needed("varlinkctl")
    (here / "shop_jobs.py").write_text(JOBS)
    (here / "bgjobd.toml").write_text(CONFIG.format(here=here))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("BGJOBD_")}
    command = [sys.executable, "-m", "bgjobd", "serve", "--config", str(here / "bgjobd.toml")]
    with (here / "stderr").open("wb") as said:
        process = subprocess.Popen(command, stderr=said, cwd=here, env=environ)
    try:
        eventually(lambda: process.poll() is not None or accepts(here / "bgjobd.sock"))
        assert process.poll() is None, (here / "stderr").read_text()
        yield Service(process, here / "bgjobd.sock", varlinkctl)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0, (here / "stderr").read_text()
    finally:
        process.kill()
        process.wait()


def accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("daemon")) as given:
        yield given


# Introspection


def test_varlinkctl_reads_the_description(service: Service) -> None:
    done = service.varlink("introspect", INTERFACE)
    assert done.returncode == 0, done.stderr
    assert idl.parse(done.stdout) == idl.parse(introspection.IDL.read_text())


def test_varlinkctl_reads_the_description_of_the_service_interface(service: Service) -> None:
    done = service.varlink("introspect", SERVICE)
    assert done.returncode == 0, done.stderr
    assert {"GetInfo", "GetInterfaceDescription"} == set(idl.parse(done.stdout).inputs)


def test_varlinkctl_lists_the_interfaces_and_tells_who_serves(service: Service) -> None:
    done = service.varlink("info", form="short")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["product"], set(told["interfaces"])) == ("bgjobd", {INTERFACE, SERVICE})
    assert set(service.varlink("list-interfaces").stdout.split()) == {INTERFACE, SERVICE}


# Calls


def test_a_job_is_submitted_as_the_readme_shows_it(service: Service) -> None:
    parameters = {"to": "user@example.com", "subject": "Hello"}
    call = {"class_name": "shop_jobs.EmailNotification", "method_name": "send", "parameters": parameters}
    answer = service.call("Submit", **call, retry_count=3)
    assert answer == {"id": answer["id"], "created": True}
    job = service.call("Wait", id=answer["id"], timeout=PATIENCE)["job"]
    assert job["status"] == "completed"
    assert job["result"] == "Hello to user@example.com"
    assert {name: job[name] for name in call} == call
    assert job["retry_count"] == 3
    assert (job["submitted_uid"], job["submitted_gid"]) == (os.getuid(), os.getgid())


MAIL = {"class_name": "shop_jobs.EmailNotification", "method_name": "send"}
FLOW = {
    "groups": [{"ref": "g", "open": True, "name": "mails"}],
    "jobs": [
        {**MAIL, "ref": "a", "parameters": {"to": "a"}, "options": {"group": {"ref": "g"}}},
        {
            **MAIL,
            "options": {
                "after": [{"group_ref": "g"}],
                "if_failed": "run",
                "take": {"to": {"of": {"ref": "a"}}},
            },
        },
    ],
}
"""Two jobs, of which the second takes what the first returns, and comes after a group."""


def test_every_call_answers_in_the_shape_that_the_description_tells(service: Service) -> None:
    job = {"class_name": "shop_jobs.EmailNotification", "method_name": "send", "parameters": {"to": "a"}}
    later = {**job, "options": {"delay": 3600.5, "priority": -1, "timeout": 60}}
    service.call("Pause", queue="shared")
    service.call("SubmitMany", jobs=[{**job, "options": {"queue": "shared", "key": "customer:7"}}] * 2)
    submitted = service.call("Submit", **later)
    first, second = service.call("SubmitMany", jobs=[job, later])["ids"]
    waiting = service.call("Submit", class_name="shop_jobs.Sums", method_name="stepped")["id"]
    assert eventually(lambda: len(service.call("Steps", id=waiting)["steps"]) == 2)
    killed = service.call("Submit", class_name="shop_jobs.Sums", method_name="killed")["id"]
    assert service.call("Wait", id=killed, timeout=PATIENCE)["job"]["review_since"] is not None
    flow = service.call("SubmitMany", **FLOW)
    (group_id,), (opening, *_) = flow["groups"], flow["ids"]
    then = "2020-01-01T00:00:00Z"
    still = service.call("Submit", class_name="shop_jobs.Sums", method_name="sleep")["id"]
    eventually(lambda: service.call("Get", id=still)["job"]["status"] == "running")
    answers = {
        "Submit": submitted,
        "SubmitMany": flow,
        "Group": service.call("Group", id=group_id),
        "Groups": service.call("Groups", state="open", limit=1),
        "SealGroup": service.call("SealGroup", id=group_id),
        "WaitGroup": service.call("WaitGroup", id=group_id, timeout=PATIENCE),
        "RetryGroup": service.call("RetryGroup", id=group_id),
        "CancelGroup": service.call("CancelGroup", id=group_id),
        "Graph": service.call("Graph", id=opening),
        "Wait": service.call("Wait", id=first, timeout=PATIENCE),
        "Get": service.call("Get", id=submitted["id"]),
        "Change": service.call("Change", ids=[second], priority=5, without=["timeout"]),
        "Cancel": service.call("Cancel", ids=[submitted["id"], second]),
        "Retry": service.call("Retry", ids=[second]),
        "Matching": service.call("Matching", filter={"status": ["pending"]}, to="cancel"),
        "RetryMatching": service.call(
            "RetryMatching", filter={"schedule": "hourly"}, as_of=then, expected=0, spread=1.5
        ),
        "CancelMatching": service.call(
            "CancelMatching", filter={"schedule": "hourly"}, as_of=then, expected=0
        ),
        "Changes": service.call("Changes", limit=10),
        "Labels": service.call("Labels", prefix="tenant:"),
        "Reload": service.call("Reload"),
        "Again": service.call("Again", id=first, parameters={"to": "b"}),
        "Running": service.call("Running"),
        "Hosts": service.call("Hosts"),
        "Needs": service.call("Needs"),
        "Alerts": service.call("Alerts", open=True),
        "AcknowledgeAlert": {},  # of no alert one can be taken up: here there is none
        "MuteAlerts": service.call("MuteAlerts", rule="paused", seconds=1.0),
        "TestAlerts": service.call("TestAlerts"),
        "HostLost": {},  # of no other host one can be said to be lost: here there is none
        "Drain": None,  # nothing would start after it; tests/daemon/test_hosts.py asks for it
        "HostAccept": service.call("HostAccept"),
        "Keys": service.call("Keys", queue="shared", busiest=True, limit=1),
        "Signal": service.call("Signal", id=waiting, name="packed", payload={"parcels": 2}),
        "Settle": service.call("Settle", id=killed, completed=True, result=[1, {"a": None}]),
        "Steps": service.call("Steps", id=waiting),
        "Stack": service.call("Stack", id=still, children=True),
        "Values": service.call("Values", id=waiting),
        "Why": service.call("Why", id=first),
        "HoldClass": service.call("HoldClass", name="shop_jobs.EmailNotification"),
        "ResumeClass": service.call("ResumeClass", name="shop_jobs.EmailNotification"),
        "Pause": service.call("Pause", queue="default"),
        "Resume": service.call("Resume", queue="default"),
        "RunSchedule": service.call("RunSchedule", name="hourly"),
        "PauseSchedule": service.call("PauseSchedule", name="hourly"),
        "Schedules": service.call("Schedules", next=2),
        "ResumeSchedule": service.call("ResumeSchedule", name="hourly"),
        "Occurrences": service.call("Occurrences", name="hourly"),
        "Backfill": service.call("Backfill", name="hourly", since=then, until=then, check_only=True),
        "PutSchedule": service.call(
            "PutSchedule",
            name="a/b",
            definition={"job": "shop_jobs.EmailNotification::send", "every": "1h", "parameters": {"to": "a"}},
        ),
        "DeleteSchedule": service.call("DeleteSchedule", name="a/b"),
        "Classes": service.call("Classes"),
        "Stats": service.call("Stats", usage=True, counts=True),
        "List": service.call("List", limit=10, count=100),
        "Logs": service.call("Logs", limit=10, count=100),
        "Errors": service.call("Errors", limit=10, new=True),
        "Error": service.call("Error", id=1),
        "Trend": service.call("Trend", of="", span=3600, since=then),
        "ClassTrends": service.call("ClassTrends"),
        "ClassStats": service.call("ClassStats", name="shop_jobs.EmailNotification", limit=10),
        "Output": service.call("Output", id=first),
        "Watch": service.follow("Watch", ids=[first])[0],
        "Prune": service.call("Prune", ids=[first, second], last_entry=2**40),
        "PruneLogs": service.call("PruneLogs", before=then),
    }
    service.call("Cancel", ids=[still])
    described = idl.parse(introspection.IDL.read_text())
    assert set(answers) == set(described.outputs)
    problems = [
        problem
        for method, answer in answers.items()
        if answer is not None
        for problem in misfits(answer, described.outputs[method], described, method)
    ]
    assert problems == []


def misfits(value: Any, fields: idl.Fields, interface: idl.Interface, path: str) -> Iterator[str]:
    """Where an object is not as its fields are described."""
    if not isinstance(value, dict):
        yield f"{path} is no object: {value!r}"
        return
    required = {name for name, kind in fields.items() if not kind.startswith("?")}
    if required - set(value) or set(value) - set(fields):
        yield f"{path} has other fields: {sorted(set(value) ^ set(fields))}"
    for name in set(value) & set(fields):
        yield from misfit(value[name], fields[name], interface, f"{path}.{name}")


def misfit(value: Any, kind: str, interface: idl.Interface, path: str) -> Iterator[str]:
    if kind.startswith("?"):
        if value is not None:
            yield from misfit(value, kind[1:], interface, path)
    elif kind.startswith("[]"):
        for number, item in enumerate(value):
            yield from misfit(item, kind[2:], interface, f"{path}.{number}")
    elif kind.startswith("[string]"):
        for name, item in value.items():
            yield from misfit(item, kind[8:], interface, f"{path}.{name}")
    elif kind in interface.types:
        yield from misfits(value, interface.types[kind], interface, path)
    elif kind != "object" and type(value) not in SIMPLE[kind]:
        # An `object` is any JSON, such as a job's result.
        yield f"{path} is no {kind}: {value!r}"


SIMPLE: dict[str, set[type]] = {"string": {str}, "int": {int}, "float": {float, int}, "bool": {bool}}


def test_an_error_is_told_by_its_name_and_parameters(service: Service) -> None:
    refused = service.refusal(f"{INTERFACE}.Submit", '{"class_name":"shop_jobs.Other","method_name":"run"}')
    assert refused == (f"{INTERFACE}.NotApproved", {"class_name": "shop_jobs.Other"})


@pytest.mark.parametrize(
    ("method", "parameters", "error", "told"),
    [
        (f"{INTERFACE}.Get", '{"id":4711}', f"{INTERFACE}.JobNotFound", {"id": 4711}),
        (f"{INTERFACE}.Wait", '{"id":4711}', f"{INTERFACE}.JobNotFound", {"id": 4711}),
        (f"{INTERFACE}.WaitGroup", '{"id":4711}', f"{INTERFACE}.GroupNotFound", {"id": 4711}),
        (f"{INTERFACE}.Get", '{"key":"no"}', f"{INTERFACE}.JobNotFound", {"id": 0, "key": "no"}),
        (
            f"{INTERFACE}.Get",
            '{"id":1,"colour":"red"}',
            f"{SERVICE}.InvalidParameter",
            {"parameter": "colour"},
        ),
        (
            f"{INTERFACE}.Get",
            '{"id":9223372036854775808}',
            f"{SERVICE}.InvalidParameter",
            {"parameter": "id"},
        ),
        (f"{INTERFACE}.Stats", '{"all":true}', f"{SERVICE}.InvalidParameter", {"parameter": "all"}),
        (f"{SERVICE}.GetInfo", '{"all":true}', f"{SERVICE}.InvalidParameter", {"parameter": "all"}),
        (f"{INTERFACE}.Pause", '{"queue":"none"}', f"{SERVICE}.InvalidParameter", {"parameter": "queue"}),
        (f"{INTERFACE}.Nope", "{}", f"{SERVICE}.MethodNotFound", {"method": f"{INTERFACE}.Nope"}),
        ("com.example.Else.Get", "{}", f"{SERVICE}.MethodNotFound", {"method": "com.example.Else.Get"}),
        (
            f"{SERVICE}.GetInterfaceDescription",
            '{"interface":"com.example.Else"}',
            f"{SERVICE}.InterfaceNotFound",
            {"interface": "com.example.Else"},
        ),
        (
            f"{INTERFACE}.Submit",
            '{"class_name":"../x","method_name":"run"}',
            f"{INTERFACE}.InvalidName",
            {"field": "class_name", "value": "../x"},
        ),
        (
            f"{INTERFACE}.Submit",
            '{"class_name":"shop_jobs.Sums","method_name":"mro"}',
            f"{INTERFACE}.MethodNotApproved",
            {"class_name": "shop_jobs.Sums", "method_name": "mro"},
        ),
    ],
)
def test_a_bad_call_is_refused_with_what_was_wrong(
    service: Service, method: str, parameters: str, error: str, told: dict[str, Any]
) -> None:
    name, answered = service.refusal(method, parameters)
    assert answered == told
    assert name == error


def test_a_description_that_varlinkctl_cannot_read_is_never_given(service: Service) -> None:
    done = service.varlink("introspect", "com.example.Else")
    assert done.returncode != 0


# What only a whole daemon shows


def test_the_socket_is_for_its_owner_and_group_only(service: Service) -> None:
    assert stat.S_IMODE(service.socket.stat().st_mode) == 0o660


@pytest.mark.parametrize("exponent", [3, 18, 30])
def test_a_large_result_reaches_the_client_as_it_is(service: Service, exponent: int) -> None:
    """A result is JSON of the application's making; only a request's integers have 64 bit."""
    with Client(str(service.socket), timeout=PATIENCE) as client:
        job = client.run_background_job("shop_jobs.Sums", "power", {"base": 10, "exponent": exponent})
        assert job.result(timeout=PATIENCE) == 10**exponent


def test_a_daemon_that_is_told_to_end_says_zero_and_leaves_no_process(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        service.call(
            "Submit", class_name="shop_jobs.Sums", method_name="power", parameters={"base": 1, "exponent": 1}
        )
        group = children(service.process.pid)
        assert group != []
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() and is_alive(pid) for pid in group))
    assert not accepts(service.socket)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    """A process that ended but whom nobody has collected is not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_an_instant_that_cannot_be_stored_is_refused_and_the_daemon_goes_on(tmp_path: Path) -> None:
    email = {"class_name": "shop_jobs.EmailNotification", "method_name": "send", "parameters": {"to": "a"}}
    with serving(tmp_path) as service:
        far = json.dumps({**email, "options": {"at": "9999-12-31T23:59:59-14:00"}})
        name, told = service.refusal(f"{INTERFACE}.Submit", far)
        assert told == {"parameter": "options.at"}, name
        assert service.call("Submit", **email)["created"] is True
