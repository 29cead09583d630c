"""The public surface against the file that a review has seen: whatever is new is seen once more before it ships."""

from __future__ import annotations

import difflib
import itertools
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgjob.codec import Request
from bgjob.words import INTERFACE, SERVICE
from bgjobd.api import introspection
from bgjobd.web import views
from tests.daemon.running import RunningDaemon, daemon
from tests.page.serving import page, renderer
from tests.protocol import idl
from tests.protocol.peers import Peer, connect, is_quiet, leaves_nothing, pid_of
from tests.security import surface
from tests.support import directory_for_all, eventually

NOBODY = 65534
NO_ACCESS = "[access]\nsubmit = []\nmanage = []\nread = []\n"

JOBS = idl.parse(introspection.IDL.read_text())


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return surface.lines()


def test_nothing_can_be_reached_that_no_review_has_seen(lines: list[str]) -> None:
    """CVE-2020-11651: methods that were never meant for callers were among those that they could name."""
    seen = surface.FILE.read_text(encoding="utf-8").splitlines()
    difference = list(difflib.unified_diff(seen, lines, "seen", "there is", lineterm="", n=0))
    assert not difference, (
        "\n".join(difference) + "\nif this is meant: python -m tests.security.surface, and have it seen"
    )


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        ("command bgjob ", 60),
        ("command bgjobd ", 25),
        ("config.", 70),
        ("error ", 15),
        ("method ", 60),
        ("route GET", 8),
        ("route POST", 4),
        ("script ", 2),
        ("signal ", 10),
        ("variable ", 25),
    ],
)
def test_the_file_has_lines_of_every_kind(lines: list[str], kind: str, least: int) -> None:
    assert sum(line.startswith(kind) for line in lines) >= least


# Who may nothing


@pytest.fixture(scope="module")
def locked() -> Iterator[RunningDaemon]:
    """A daemon that has granted nobody anything, and whose socket all can reach."""
    with directory_for_all() as directory, daemon(directory, NO_ACCESS) as running:
        running.socket.chmod(0o666)
        with running.client() as client:
            client.classes()  # waits for what the start of a fork server leaves for a moment
        yield running


def stranger(running: RunningDaemon) -> Peer:
    sock = socket.socket(socket.AF_UNIX)
    os.seteuid(NOBODY)
    try:
        sock.connect(str(running.socket))
    finally:
        os.seteuid(0)
    return Peer(sock, pid_of(running))


as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")


@as_root
def test_no_method_says_or_does_anything_for_who_has_no_right(locked: RunningDaemon) -> None:
    """CVE-2020-11651: each method asks for its right, before it even looks at its parameters."""
    garbage = {"no_such_parameter": "../../etc/passwd"}
    calls = itertools.product(sorted(JOBS.inputs), ({}, garbage), (False, True))
    with leaves_nothing(locked), stranger(locked) as peer:
        for method, parameters, more in calls:
            reply = peer.ask(Request(f"{INTERFACE}.{method}", parameters, more=more))
            if method == "Watch" and not more:
                assert reply.error == f"{SERVICE}.ExpectedMore"
            else:
                assert reply.error == f"{INTERFACE}.PermissionDenied", method
                assert f"uid {NOBODY} may not" in reply.parameters["reason"]


@as_root
def test_who_may_not_read_learns_of_no_key_whether_it_exists(locked: RunningDaemon) -> None:
    with locked.client() as client:
        client.run_background_job("probes.Probe", "echo", idempotency_key="known").wait(20)
    with stranger(locked) as peer:
        asked = itertools.product(("Get", "Wait"), ("known", "unknown"))
        told = [peer.ask(Request(f"{INTERFACE}.{method}", {"key": key})) for method, key in asked]
    assert {reply.error for reply in told} == {f"{INTERFACE}.PermissionDenied"}
    assert len({str(reply) for reply in told}) == 1


# Paths in the place of names and numbers

PATHS = [
    *("../../../../etc/passwd", "/etc/passwd", "..", ".", "1/../../secret", "../secret", "./1", "1.1.out"),
    *("..\\..\\secret", "%2e%2e%2fsecret", "file:///etc/passwd", "~root", "@secret", "secret"),
]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(tmp_path_factory.mktemp("paths")) as running:
        with running.client() as client:
            assert client.run_background_job("probes.Probe", "say", {"text": "hello"}).wait(20)
        (running.directory / "state" / "secret").write_text("the canary sings")
        yield running


def traversals() -> Iterator[tuple[str, str]]:
    """Each parameter of each method that takes a text or a number, or several."""
    for method, fields in sorted(JOBS.inputs.items()):
        for field, kind in fields.items():
            if kind.lstrip("?[]") in ("string", "int"):
                yield method, field


def needed(method: str) -> dict[str, object]:
    """Parameters that the method takes."""
    usual: dict[str, object] = {
        "id": 1,
        "ids": [1],
        "queue": "default",
        "name": "nightly",
        "class_name": "probes.Probe",
        "method_name": "echo",
        "last_entry": 1,
        "before": "2024-12-04T14:31:53Z" if method == "PruneLogs" else None,
        "timeout": 0.001,
        "jobs": [],
        "filter": {"class_name": "probes.Probe"},
        "as_of": "2024-12-04T14:31:53Z",
        "from_step": "none that it has",  # else each call would make a job
    }
    return {name: usual.get(name) for name in JOBS.inputs[method]}


def test_a_path_in_the_place_of_a_name_or_a_number_leads_nowhere(running: RunningDaemon) -> None:
    """CVE-2020-11652: names of callers were joined to a directory, and `..` led out of it."""
    work = running.directory / "run" / "work"
    eventually(lambda: is_quiet(running) and not [one for one in files(work) if Path(one).name != "aside"])
    before = files(running.directory)
    for (method, field), path in itertools.product(traversals(), PATHS):
        kind = JOBS.inputs[method][field].lstrip("?")
        given = needed(method) | {field: [path] if kind.startswith("[]") else path}
        with connect(running) as peer:
            reply = peer.ask(Request(f"{INTERFACE}.{method}", given, more=method == "Watch"))
        assert "canary" not in str(reply.parameters)
        if kind.endswith("int"):
            assert reply.error == f"{SERVICE}.InvalidParameter", method
            assert reply.parameters["parameter"].split(".")[0] == field
    eventually(lambda: files(running.directory) == before)


def test_a_path_in_the_place_of_a_part_of_an_address_leads_nowhere(tmp_path: Path) -> None:
    """CVE-2020-11652, at the page: each address of the router that has parts that vary."""
    patterns = [(verb, pattern) for verb, pattern in views.routes() if "(" in pattern]
    assert len(patterns) > 5
    ways = [
        *PATHS,
        "..%2f..%2fviews.py",
        "../views.py",
        "%2e%2e/vendored.toml",
        "..",
        "page.js/../../views.py",
    ]
    with page(tmp_path, actions=True) as served:
        version = renderer().static.removeprefix("/static/")
        for (verb, pattern), way in itertools.product(patterns, ways):
            parts = pattern.replace("([0-9a-f]{16})", version)
            answer = served.ask(f"{verb} {re.sub(r'[(][^)]*[)]', lambda _, way=way: way, parts)}")
            assert answer.status in (400, 403, 404), (verb, pattern, way)
            assert b"from __future__" not in answer.body
            assert b"sha256" not in answer.body


def files(directory: Path) -> list[str]:
    """Whatever is there but what changes by itself."""
    found = [
        str(Path(place, name))
        for place, folders, others in os.walk(directory)
        for name in (*folders, *others)
    ]
    return sorted(path for path in found if "__pycache__" not in Path(path).parts)
