"""Names of every shape at a whole daemon, on each way by which a job can be asked for: the approved pairs alone run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from bgjob.words import INTERFACE
from tests.daemon import warm
from tests.daemon.running import RunningDaemon, daemon
from tests.protocol.peers import Peer, connect, leaves_nothing, ours
from tests.protocol.test_names_fuzzed import APPROVED, CLASS, CLASS_NAMES, FORMS, TRAP_NAMES, TRAPS
from tests.support import eventually

PATIENCE = 20.0
REFUSALS = {f"{INTERFACE}.{name}" for name in ("NotApproved", "MethodNotApproved", "InvalidName")}

MORE = '''

class OfADict(dict):
    """Inherits methods that are no application's, and takes one of them under a name of its own."""

    taken = dict.update
    evaluate = eval

    def run(self):
        return "ran"
'''
INHERITED = ["update", "pop", "get", "clear", "keys", "fromkeys", "taken", "evaluate", "__class_getitem__"]


def names() -> Iterator[tuple[str, str]]:
    """Pairs that no configuration approves."""
    seeds = {CLASS, "run", "send"}
    looks_alike = {form(seed) for form in FORMS for seed in seeds} - seeds
    for name in sorted({*TRAP_NAMES, *CLASS_NAMES, *looks_alike, "a.b.c", "_x", "", "x" * 256}):
        if "\0" in name:
            continue  # which no frame may hold
        yield from ((CLASS, name), (name, "run"), (f"{CLASS}.{name}", "run"), (name, name))
    yield from (("traps.OfADict", name) for name in INHERITED)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    directory = tmp_path_factory.mktemp("names")
    own = f'"{CLASS}" = {{}}\n"traps.OfADict" = {{}}\n'
    pipe = {"BGJOBD_DAEMON__FIFO": str(directory / "fifo")}
    with daemon(directory, own, environ=pipe, modules={"traps": TRAPS + MORE}) as running:
        with running.client() as client:
            jobs = [
                client.run_background_job(*pair) for pair in sorted({*APPROVED, ("traps.OfADict", "run")})
            ]
            assert [job.result(PATIENCE) for job in jobs] == ["ran"] * 4
        assert not (directory / "sprung").exists()
        yield running
        assert not (directory / "sprung").exists(), "a name has reached code"
        assert not [line for line in running.lines() if "bug" in line]


@pytest.fixture
def peer(running: RunningDaemon) -> Iterator[Peer]:
    with leaves_nothing(running), connect(running) as peer:
        yield peer


def job(pair: tuple[str, str]) -> dict[str, str]:
    return dict(zip(("class_name", "method_name"), pair, strict=True))


def test_names_that_walk_objects_are_refused_one_by_one(peer: Peer) -> None:
    """CVE-2017-11610: dots in a name were followed from object to object, to a shell."""
    for pair in names():
        assert peer.ask(ours("Submit", **job(pair))).error in REFUSALS, pair


def test_one_name_that_walks_objects_spoils_a_list_of_good_ones(peer: Peer) -> None:
    """CVE-2017-11610, by several jobs at once: none of them runs."""
    for pair in names():
        jobs = [job((CLASS, "run")), job(pair), job((CLASS, "send"))]
        assert peer.ask(ours("SubmitMany", jobs=jobs)).error in REFUSALS, pair
        assert peer.ask(ours("SubmitMany", **job(pair), each=[{}])).error in REFUSALS, pair


def test_names_that_walk_objects_are_refused_from_the_named_pipe(running: RunningDaemon) -> None:
    """CVE-2017-11610, by the named pipe."""
    asked = [pair for pair in names() if all(name.isprintable() for name in pair)]
    text = "".join(f"{json.dumps(job(pair))}\n" for pair in asked).encode()
    before, began = len(refused(running)), jobs_of(running)
    with open(running.directory / "fifo", "wb", buffering=0) as pipe:
        while text:
            text = text[os.write(pipe.fileno(), text) :]
    eventually(lambda: len(refused(running)) == before + len(asked))
    assert jobs_of(running) == began


def refused(running: RunningDaemon) -> list[str]:
    return [line for line in running.lines() if "a line of the named pipe was refused" in line]


def jobs_of(running: RunningDaemon) -> list[tuple[int]]:
    return running.query("SELECT COUNT(*) FROM background_jobs")


def test_names_that_walk_objects_are_refused_from_the_command_line(running: RunningDaemon) -> None:
    """CVE-2017-11610, by the command."""
    with leaves_nothing(running):
        for name in ("__class__", "borrowed", "Nested.run", "ｒｕｎ"):
            words = ["--socket", str(running.socket), "run", f"{CLASS}::{name}"]
            asked = warm.run(words, program="bgjob")
            assert (asked.returncode, asked.stdout) == (77, ""), asked.stderr
