"""JSON that costs more to read than to send, wherever JSON of others is read: it is refused, and nobody else waits."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from bgjob import codec
from bgjob.commands import values
from bgjob.words import INTERFACE, SERVICE
from bgjobd.config.loading import load
from bgjobd.config.problems import ConfigError
from tests.daemon.running import OWN_JOURNAL, RunningDaemon, daemon
from tests.page import serving as browsing
from tests.protocol.peers import CLOSES, GOES_ON, INFO, Peer, connect, leaves_nothing
from tests.support import eventually

PATIENCE = 20.0
MOST = 250_000
FLOODERS = 20

MODULE = (
    OWN_JOURNAL
    + '''
import os


class Bomber:
    def write(self, path):
        """Has its journal tell what stands in the file, as an outcome of its own, and returns another."""
        with open(path) as file:
            record = file.read().replace("PID", str(os.getpid()))
        os.write(descriptor(), b"\\n" + record.encode() + b"\\n")
        return 5

    def make_wide(self, levels):
        value = [0] * 300_000
        for _ in range(levels):
            value = [value]
        return value
'''
)


def wide(item: str, size: int = MOST) -> str:
    """A list of as many of these as are so many bytes."""
    return "[" + ",".join([item] * (size // (len(item) + 1))) + "]"


def nested(levels: int, inner: str = "") -> str:
    return "[" * levels + inner + "]" * levels


BOMBS = {
    "wide with lists": wide("[]"),
    "wide with objects": wide("{}"),
    "wide with small integers": wide("1"),
    "wide with the longest integers": wide("9" * 4300),
    "one integer": "9" * MOST,
    "one negative integer": "-" + "9" * MOST,
    "wide with exponents": wide("1e-99999"),
    "one key": f'{{"{"k" * MOST}":1}}',
    "many keys": "{" + ",".join(f'"{number:x}":0' for number in range(MOST // 12)) + "}",
    "many escapes": '"' + r"\u0041" * (MOST // 3) + '"',
    "as deep as may be, and wide": nested(28, wide("[]")[1:-1]),
    "deep with lists": nested(MOST // 2),
    "deep with objects": '{"a":' * (MOST // 6) + "1" + "}" * (MOST // 6),
    "deep without end": "[" * MOST,
    "an exponent without end": "1e" + "9" * MOST,
    "many keys that are one": "{" + ",".join(['"a":0'] * (MOST // 6)) + "}",
}
"""JSON texts that fit into a frame, each with one thing in it as often, as long or as deep as fits."""

NO_BOMBS = {"one fraction": ("0." + "5" * MOST, 5 / 9), "one exponent": ("1e-" + "9" * MOST, 0.0)}
"""Texts that are as long, and the small values that they are."""


def submit(value: str) -> bytes:
    job = f'{{"class_name":"probes.Probe","method_name":"echo","parameters":{{"value":{value}}}}}'
    return f'{{"method":"{INTERFACE}.Submit","parameters":{job}}}'.encode()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    directory = tmp_path_factory.mktemp("bombs")
    own = '"bombing.Bomber" = { max_retries = 0 }\n'
    pipe = {"BGJOBD_DAEMON__FIFO": str(directory / "fifo")}
    web = f'enabled = true\nbind = "unix:{directory}/page.sock"'
    with daemon(directory, own, environ=pipe, modules={"bombing": MODULE}, web=web) as running:
        with running.client() as client:
            assert client.run_background_job("probes.Probe", "echo").result(PATIENCE) is None
        yield running
        assert not [line for line in running.lines() if "bug" in line]


# The socket


def test_a_frame_that_is_a_bomb_is_refused_and_the_next_caller_is_answered(running: RunningDaemon) -> None:
    """CVE-2020-10735: digits took quadratic time. CVE-2010-4352: levels within levels took the stack."""
    with leaves_nothing(running), connect(running) as witness:
        for name, bomb in BOMBS.items():
            with connect(running) as peer:
                assert told(peer.fate(submit(bomb) + b"\0")) in REFUSALS, name
            assert witness.ask(INFO).error is None


REFUSALS = [
    [CLOSES],
    [f"{SERVICE}.InvalidParameter", GOES_ON],
    [f"{INTERFACE}.TooLarge", GOES_ON],
]


def told(fate: list[str]) -> list[str]:
    """What became of it, without the errors' parameters."""
    return [word.partition(" {")[0] for word in fate]


@pytest.mark.parametrize(("text", "value"), NO_BOMBS.values(), ids=NO_BOMBS.keys())
def test_many_digits_of_a_fraction_are_the_number_that_they_are(
    running: RunningDaemon, text: str, value: float
) -> None:
    """CVE-2020-10735, for numbers that are no integers."""
    with connect(running) as peer, running.client() as client:
        job = peer.ask(submit(text) + b"\0").parameters["id"]
        assert client.get(job).result(PATIENCE) == value


def test_a_flood_of_bombs_keeps_nobody_with_a_small_request_waiting(running: RunningDaemon) -> None:
    """CVE-2020-10735, by many at once: a small request does not wait until all the large ones are read."""
    frame = submit(wide("[]", 60_000)).replace(b"echo", b"nothing")
    with leaves_nothing(running), ExitStack() as stack:
        witness = stack.enter_context(connect(running))
        flooders = [stack.enter_context(connect(running)) for _ in range(FLOODERS)]
        for flooder in flooders:
            flooder.send(frame)
        flooders[-1].settle()
        for flooder in flooders:
            flooder.send(b"\0")
        assert witness.ask(INFO).error is None
        assert sum(flooder.has_news() for flooder in flooders) < FLOODERS / 2
        assert all(flooder.try_reply() for flooder in flooders)


def test_a_flood_of_small_bombs_leaves_everybody_a_turn(running: RunningDaemon) -> None:
    """CVE-2020-10735, by many at once: who asks for little comes before those who have had much."""
    refused = submit(wide("[]", 3600)).replace(b"echo", b"nothing") + b"\0"
    with leaves_nothing(running), ExitStack() as stack:
        flooders = [stack.enter_context(connect(running)) for _ in range(FLOODERS)]
        witness = stack.enter_context(connect(running))
        assert all(peer.ask(INFO).error is None for peer in (*flooders, witness))
        os.kill(witness.pid, signal.SIGSTOP)  # so that it finds all of it at once
        try:
            sent = sum(fill(flooder, refused) for flooder in flooders)
            witness.send(INFO)
        finally:
            os.kill(witness.pid, signal.SIGCONT)
        assert witness.try_reply() is not None
        answered = sum(count_of_replies(flooder) for flooder in flooders)
        assert answered < sent / 2
        for flooder in flooders:
            flooder.sock.shutdown(socket.SHUT_RDWR)


def fill(peer: Peer, frame: bytes) -> int:
    """Send whole frames, as many as nobody has to read yet."""
    peer.sock.setblocking(False)
    count = 0
    with suppress(BlockingIOError):
        while peer.sock.send(frame) == len(frame):
            count += 1
    return count


def count_of_replies(peer: Peer) -> int:
    """How many have come."""
    with suppress(BlockingIOError):
        return peer.sock.recv(1_000_000).count(b"\0")
    return 0


def test_a_hundred_thousand_tiny_frames_keep_nobody_waiting(running: RunningDaemon) -> None:
    """CVE-2020-10735, of small change: each frame is refused or answered, and others have their turn meanwhile."""
    with leaves_nothing(running), connect(running) as peer, connect(running) as witness:
        pouring = threading.Thread(target=peer.send, args=[INFO.to_bytes() * 100_000])
        pouring.start()
        for _ in range(20):
            assert witness.ask(INFO).error is None
            assert peer.try_reply() is not None
        peer.sock.shutdown(socket.SHUT_RDWR)
        pouring.join(PATIENCE)
        assert not pouring.is_alive()


# The named pipe


def test_a_line_of_the_pipe_that_is_a_bomb_is_refused_and_the_next_is_taken(running: RunningDaemon) -> None:
    """CVE-2020-10735, by a line of the named pipe."""
    before, began = jobs(running), len(running.lines())
    with open(running.directory / "fifo", "wb", buffering=0) as pipe:
        for text in (*BOMBS.values(), '"the last"'):
            names = '"class_name":"probes.Probe","method_name":"echo"'
            write_all(pipe.fileno(), f'{{{names},"parameters":{{"value":{text}}}}}\n'.encode())
    eventually(lambda: jobs(running) == before + 1)
    eventually(lambda: refused_lines(running, began) == len(BOMBS))


def refused_lines(running: RunningDaemon, began: int) -> int:
    return sum("a line of the named pipe was refused" in line for line in running.lines()[began:])


def jobs(running: RunningDaemon) -> int:
    (count,) = running.query("SELECT COUNT(*) FROM background_jobs")[0]
    return int(count)


def write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


# A journal


def test_a_journal_that_holds_a_bomb_costs_no_job_its_verdict(running: RunningDaemon, tmp_path: Path) -> None:
    """CVE-2020-10735, by what a job writes into its own journal."""
    for number, bomb in enumerate(BOMBS.values()):
        text = f'{{"v":1,"type":"outcome","pid":PID,"outcome":"bogus","result":{bomb}}}'
        (tmp_path / str(number)).write_text(text)
    with running.client() as client:
        asked = [
            {"class_name": "bombing.Bomber", "method_name": "write", "parameters": {"path": str(path)}}
            for path in tmp_path.iterdir()
        ]
        assert [job.result(PATIENCE) for job in client.submit_many(asked)] == [5] * len(BOMBS)


# The configuration's variables


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_a_variable_that_is_a_bomb_is_a_problem_of_the_configuration(tmp_path: Path, bomb: str) -> None:
    """CVE-2020-10735, by the environment: the start says in a few words which variable it was."""
    (tmp_path / "bgjobd.toml").touch()
    variables = {"HOME": "/home/alice", "BGJOBD_RETRY__CAP": bomb}
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "bgjobd.toml", variables, is_root=False)
    assert "BGJOBD_RETRY__CAP" in str(caught.value)
    assert len(str(caught.value)) < 1000


# The command


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_parameters_of_the_command_that_are_a_bomb_are_refused_in_a_few_words_or_are_what_they_are(
    bomb: str,
) -> None:
    """CVE-2020-10735, by `bgjob run --parameters`."""
    given, refusal = try_parameters(f'{{"value":{bomb}}}')
    if refusal is None:
        frame = codec.encode({"method": "a.B", "parameters": given})
        assert codec.parse_request(frame[:-1]).parameters == given
    else:
        assert len(refusal) < 300


def try_parameters(text: str) -> tuple[dict[str, Any], str | None]:
    """What the command makes of them, or says of them; any other exception is a bug of its."""
    try:
        return values.parameters(text), None
    except argparse.ArgumentTypeError as error:
        return {}, str(error)


# The page


def test_a_result_that_is_a_bomb_makes_no_larger_page(running: RunningDaemon) -> None:
    """CVE-2020-10735, for who looks at it: the indents of a deep list took fifty times the room of the list."""
    with running.client() as client:
        job = client.run_background_job("bombing.Bomber", "make_wide", {"levels": 95})
        assert job.wait(PATIENCE)["status"] == "completed"
    eventually((running.directory / "page.sock").exists)
    with browsing.Peer(str(running.directory / "page.sock")) as peer:
        answer = peer.ask(f"GET /jobs/{job.id}")
    assert answer.status == 200
    assert len(answer.body) < 2_000_000
