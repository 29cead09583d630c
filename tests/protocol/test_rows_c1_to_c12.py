"""Rows C1 to C12 of the socket's faults, each against a whole daemon: what it answers, and that nothing stays behind.

C1 to C6 are also put to a Varlink server of systemd's own, which says what a Varlink server does.
"""

from __future__ import annotations

import array
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest

from bgjob import Client, retrying
from bgjob.codec import Reply, Request
from bgjob.errors import BgjobError
from bgjob.words import INTERFACE, SERVICE
from tests.daemon.running import RunningDaemon, daemon
from tests.protocol.peers import (
    ANSWERS,
    CLOSES,
    GOES_ON,
    INFO,
    PATIENCE,
    Peer,
    connect,
    is_quiet,
    leaves_nothing,
    open_descriptors,
    ours,
    pid_of,
    traces,
)
from tests.support import eventually, needed

MIB = 1024 * 1024
MAX_OF_ONE_UID = 40

Table = dict[str, bytes]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    settings = f'[socket]\nmax_connections_per_uid = {MAX_OF_ONE_UID}\nmax_unread = "64K"'
    with daemon(tmp_path_factory.mktemp("rows"), settings) as running:
        run_one_job(running)
        yield running
        left = traces(running)
        assert (left["bugs"], left["uncaught"]) == ([], [])


def run_one_job(running: RunningDaemon) -> None:
    """So that the daemon has opened whatever it opens when it is first needed."""
    with running.client() as client:
        client.run_background_job("probes.Probe", "echo").result(PATIENCE)


@pytest.fixture
def peer(running: RunningDaemon) -> Iterator[Peer]:
    with connect(running) as peer:
        yield peer


def table(rows: Table) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("sent", list(rows.values()), ids=list(rows))


def submit(value: str = "1", more: str = "") -> bytes:
    """The frame of a request that would run a job, with this JSON text as the job's parameter."""
    parameters = f'{{"class_name":"probes.Probe","method_name":"echo","parameters":{{"value":{value}}}}}'
    return f'{{"method":"{INTERFACE}.Submit","parameters":{parameters}{more}}}'.encode()


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


# C1: a frame without its end, on a connection that stays open


def test_c1_an_unfinished_frame_is_waited_for(peer: Peer) -> None:
    frame = INFO.to_bytes()
    peer.send(frame[:-1])
    peer.settle()
    assert not peer.has_news()
    assert peer.ask(frame[-1:]).error is None


def test_c1_an_unfinished_frame_is_cut_at_its_deadline_however_it_drips(tmp_path: Path) -> None:
    with daemon(tmp_path, "[socket]\nframe_timeout = 0.3") as running, connect(running) as peer:
        began = time.monotonic()
        peer.send(b'{"method":"')

        def is_cut() -> bool:
            peer.send(b"x")
            return peer.has_news()

        eventually(is_cut)
        assert peer.rest() == []
        assert time.monotonic() - began >= 0.3


def test_c1_an_idle_connection_is_cut_at_its_deadline_and_one_that_is_owed_an_answer_is_not(
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        running = stack.enter_context(daemon(tmp_path, "[socket]\nidle_timeout = 1.0"))
        waiting = stack.enter_context(connect(running))
        door = tmp_path / "door"
        parameters = {"path": str(door), "ledger": str(tmp_path / "ledger")}
        job = ours("Submit", class_name="probes.Probe", method_name="wait_for", parameters=parameters)
        waiting.send(ours("Wait", id=waiting.ask(job).parameters["id"]))
        busy, silent = [stack.enter_context(connect(running)) for _ in range(2)]
        busy.ask(INFO)
        silent.ask(INFO)
        began = time.monotonic()
        # Whoever goes on asking is not idle, though its connection is older than the silent one's.
        eventually(lambda: busy.ask(INFO).error is None and silent.has_news())
        assert silent.rest() == []
        assert time.monotonic() - began >= 0.9
        assert busy.ask(INFO).error is None
        assert not waiting.has_news()
        door.touch()
        answer = waiting.try_reply()
        assert answer is not None
        assert answer.parameters["job"]["status"] == "completed"
        assert waiting.ask(INFO).error is None


# C2: what is no request

NO_REQUEST: Table = {
    "an empty frame": b"",
    "not JSON": b"hello",
    "an array": b"[]",
    "a string": b'"org.bgjobd.Jobs.Submit"',
    "a request cut short": submit()[:-1],
    "two requests in one frame": submit() * 2,
    "no method": b"{}",
    "an extra key at the top": submit(more=',"id":1'),
    "method not string": b'{"method":1}',
    "parameters not object": b'{"method":"org.bgjobd.Jobs.Submit","parameters":[]}',
    "more not boolean": submit(more=',"more":1'),
    "an upgrade": submit(more=',"upgrade":true'),
    "duplicate key": submit(more=f',"method":"{INTERFACE}.Submit"'),
    "duplicate key deep below": submit('[{"a":1,"a":1}]'),
    "NaN": submit("NaN"),
    "1e999": submit("1e999"),
    "invalid UTF-8": submit('"?"').replace(b"?", b"\xff"),
    "lone surrogate": submit(r'"\ud800"'),
    "lone surrogate in UTF-8": submit('"?"').replace(b"?", b"\xed\xa0\x80"),
    "UTF-16": submit().decode().encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + submit(),
    "depth 3000": submit(nested(3000)),
    "depth 100000": submit(nested(100_000)),
    "depth 100000 without end": b"[" * 100_000,
}


@table(NO_REQUEST)
def test_c2_what_is_no_request_closes_the_connection_and_nothing_runs(
    running: RunningDaemon, peer: Peer, sent: bytes
) -> None:
    with leaves_nothing(running):
        peer.send(sent + b"\0", INFO)
        assert peer.rest() == []


@table({"nothing": b"", "half a request": submit()[:40], "a whole one without its NUL": submit()})
def test_c2_no_nul_and_then_no_more_closes_the_connection_and_nothing_runs(
    running: RunningDaemon, peer: Peer, sent: bytes
) -> None:
    with leaves_nothing(running):
        peer.send(sent)
        peer.say_no_more()
        assert peer.rest() == []


def test_c2_the_same_request_well_formed_runs(running: RunningDaemon, peer: Peer) -> None:
    job = peer.ask(submit() + b"\0").parameters["id"]
    with running.client() as client:
        assert client.get(job).result(PATIENCE) == 1


# C3: byte by byte, and pipelined


def test_c3_requests_come_byte_by_byte(peer: Peer) -> None:
    for byte in INFO.to_bytes() * 2:
        peer.send(bytes([byte]))
        peer.settle()
    replies = [peer.try_reply(), peer.try_reply()]
    assert [reply.parameters["product"] for reply in replies if reply] == ["bgjobd", "bgjobd"]


def test_c3_pipelined_requests_are_answered_in_order(peer: Peer) -> None:
    asked = list(range(1, 501))
    peer.send(b"".join(ours("Get", id=10**9 + number).to_bytes() for number in asked))
    replies = [peer.try_reply() for _ in asked]
    assert [reply.parameters["id"] - 10**9 for reply in replies if reply] == asked


# C4: what is not there, and what is not for callers

NO_METHODS = {
    "unknown method": f"{INTERFACE}.Nope",
    "unknown interface": "com.example.Else.Submit",
    "a path": "../x",
    "empty": "",
    "the interface alone": INTERFACE,
    "the function behind a method": f"{INTERFACE}.submit",
    "a helper beside it": f"{INTERFACE}._store",
    "an attribute": f"{INTERFACE}.__class__",
    "longer by a dot": f"{INTERFACE}.Submit.",
    "another case": f"{INTERFACE}.SUBMIT",
    "full-width letters": f"{INTERFACE}.Ｓubmit",
    "a thousand letters": "x" * 1000,
}


@pytest.mark.parametrize("method", NO_METHODS.values(), ids=NO_METHODS.keys())
def test_c4_an_absent_and_a_forbidden_method_get_one_answer(
    running: RunningDaemon, peer: Peer, method: str
) -> None:
    with leaves_nothing(running):
        for more in (False, True):
            expected = Reply({"method": method}, error=f"{SERVICE}.MethodNotFound")
            assert peer.ask(Request(method, {"class_name": "probes.Probe"}, more=more)) == expected
        assert peer.ask(INFO).error is None


@pytest.mark.parametrize(
    ("absent", "forbidden"),
    [
        (("nowhere.Nothing", "run"), ("os.system", "run")),
        (("nowhere.Nothing", "run"), ("probes.Path", "run")),
        (("probes.Probe", "nothing"), ("probes.Probe", "_hidden")),
        (("probes.Probe", "nothing"), ("probes.Probe", "borrowed")),
        (("probes.Probe", "nothing"), ("probes.Probe", "__init__")),
    ],
    ids=lambda names: "::".join(names),
)
def test_c4_an_absent_and_a_forbidden_job_get_one_answer(
    running: RunningDaemon, peer: Peer, absent: tuple[str, str], forbidden: tuple[str, str]
) -> None:
    def answer(class_name: str, method_name: str) -> str:
        reply = peer.ask(ours("Submit", class_name=class_name, method_name=method_name))
        assert reply.error is not None
        return f"{reply.error} {reply.parameters}".replace(class_name, "CLASS").replace(method_name, "METHOD")

    with leaves_nothing(running):
        assert answer(*absent) == answer(*forbidden)


# C5: an unknown parameter


@pytest.mark.parametrize(
    ("request_", "parameter"),
    [
        (Request(f"{SERVICE}.GetInfo", {"colour": "red"}), "colour"),
        (ours("Stats", colour=None), "colour"),
        (ours("Submit", class_name="probes.Probe", method_name="echo", colour="red"), "colour"),
        (
            ours("Submit", class_name="probes.Probe", method_name="echo", options={"colour": "red"}),
            "options.colour",
        ),
        (
            ours("SubmitMany", jobs=[{"class_name": "probes.Probe", "method_name": "echo", "colour": "red"}]),
            "jobs.0.colour",
        ),
    ],
)
def test_c5_an_unknown_parameter_is_refused_by_name_and_the_connection_goes_on(
    running: RunningDaemon, peer: Peer, request_: Request, parameter: str
) -> None:
    with leaves_nothing(running):
        expected = Reply({"parameter": parameter}, error=f"{SERVICE}.InvalidParameter")
        assert peer.ask(request_) == expected
        assert peer.ask(INFO).error is None


# C6: more than a frame may hold


def frame_of(size: int) -> bytes:
    """A request that is refused for its job's parameters; the frame has this many bytes, its NUL not counted."""
    frame = submit('""')
    return frame.replace(b'""', b'"' + b"x" * (size - len(frame)) + b'"')


def test_c6_a_frame_at_the_limit_is_answered_and_one_over_it_closes(
    running: RunningDaemon, peer: Peer
) -> None:
    with leaves_nothing(running), connect(running) as other:
        assert peer.ask(frame_of(MIB) + b"\0").error == f"{INTERFACE}.TooLarge"
        assert peer.ask(INFO).error is None
        other.send(frame_of(MIB + 1) + b"\0", INFO)
        assert other.rest() == []


def memory(running: RunningDaemon, kind: str) -> int:
    """Bytes that the daemon holds: VmRSS now, VmHWM at most until now."""
    status = Path(f"/proc/{pid_of(running)}/status").read_text()
    return int(status.partition(f"{kind}:")[2].split()[0]) * 1024


def test_c6_sixteen_mib_of_brackets_cost_the_daemon_nothing_and_others_are_answered(
    running: RunningDaemon, peer: Peer
) -> None:
    sent, whole = 0, b"[" + b"[]," * (16 * MIB // 3) + b"[]]\0"
    with leaves_nothing(running), connect(running) as witness:
        before = memory(running, "VmHWM")
        with suppress(BrokenPipeError, ConnectionResetError):
            for start in range(0, len(whole), 65536):
                peer.sock.sendall(whole[start : start + 65536])
                sent += 65536
                assert witness.ask(INFO).error is None
        assert peer.rest() == []
        assert sent < 3 * MIB, "the daemon went on reading"
        assert memory(running, "VmHWM") - before < 8 * MIB


# C7: where Python's json is laxer than JSON, or than SQLite

BEYOND = f"{SERVICE}.InvalidParameter {{'parameter': 'parameters'}}"

TRAPS: dict[str, tuple[bytes, list[str]]] = {
    "NaN": (submit("NaN"), [CLOSES]),
    "Infinity": (submit("Infinity"), [CLOSES]),
    "-Infinity": (submit("[-Infinity]"), [CLOSES]),
    "1e999 is infinite": (submit("1e999"), [CLOSES]),
    "-1e999 is infinite": (submit('{"a":[-1e999]}'), [CLOSES]),
    "of two keys the last wins": (submit('{"a":1,"a":2}'), [CLOSES]),
    "two keys in two spellings": (submit(r'{"a":1,"\u0061":2}'), [CLOSES]),
    "a lone surrogate": (submit(r'"\ud800"'), [CLOSES]),
    "a lone surrogate as key": (submit(r'{"\udfff":1}'), [CLOSES]),
    "a text with a NUL": (submit(r'"a\u0000b"'), [CLOSES]),
    "a name with a NUL": (submit().replace(b"echo", rb"echo\u0000b"), [CLOSES]),
    "UTF-16": (submit().decode().encode("utf-16"), [CLOSES]),
    "UTF-32": (submit().decode().encode("utf-32"), [CLOSES]),
    "a byte order mark": (b"\xef\xbb\xbf" + submit(), [CLOSES]),
    "depth 100000": (submit(nested(100_000)), [CLOSES]),
    "one level too deep": (submit(nested(30)), [CLOSES]),
    "2^63": (submit(str(2**63)), [BEYOND, GOES_ON]),
    "-2^63-1": (submit(str(-(2**63) - 1)), [BEYOND, GOES_ON]),
    "4301 digits": (submit("9" * 4301), [BEYOND, GOES_ON]),
    "900000 digits": (submit("9" * 900_000), [BEYOND, GOES_ON]),
}


@pytest.mark.parametrize(("sent", "fate"), TRAPS.values(), ids=TRAPS.keys())
def test_c7_a_trap_of_pythons_json_is_refused(
    running: RunningDaemon, peer: Peer, sent: bytes, fate: list[str]
) -> None:
    with leaves_nothing(running):
        assert peer.fate(sent + b"\0") == fate


@pytest.mark.parametrize(
    "value",
    ["9223372036854775807", "-9223372036854775808", "1e308", r'"\ud83d\ude00"', '{"a":1,"A":2}', nested(28)],
)
def test_c7_what_is_just_no_trap_comes_back_as_it_was_sent(
    running: RunningDaemon, peer: Peer, value: str
) -> None:
    job = peer.ask(submit(value) + b"\0").parameters["id"]
    with running.client() as client:
        assert client.get(job).result(PATIENCE) == json.loads(value)


# C8: slow, idle and many


def test_c8_a_slow_reader_is_cut_off_and_others_are_answered(running: RunningDaemon, peer: Peer) -> None:
    ask = Request(f"{SERVICE}.GetInterfaceDescription", {"interface": INTERFACE}).to_bytes()

    def is_cut() -> bool:
        try:
            peer.sock.sendall(ask * 10)
        except (BrokenPipeError, ConnectionResetError):
            return True
        return False

    with leaves_nothing(running):
        eventually(is_cut)
        with connect(running) as witness:
            assert witness.ask(INFO).error is None


def test_c8_connections_over_the_limit_of_one_uid_are_closed_at_once_and_whoever_leaves_makes_room(
    running: RunningDaemon,
) -> None:
    def times_told() -> int:
        return sum("more connections than [socket]" in line for line in running.lines())

    with leaves_nothing(running), ExitStack() as stack:
        peers = [stack.enter_context(connect(running)) for _ in range(MAX_OF_ONE_UID)]
        assert [peer.ask(INFO).error for peer in peers] == [None] * MAX_OF_ONE_UID
        told_before = times_told()
        for _ in range(20):
            with connect(running) as refused:
                (told,) = refused.rest()
                assert told.error == f"{INTERFACE}.TooManyConnections"
        assert [peer.ask(INFO).error for peer in peers] == [None] * MAX_OF_ONE_UID
        assert eventually(times_told) <= told_before + 1
        peers[0].say_no_more()
        assert peers[0].rest() == []
        with connect(running) as welcome:
            assert welcome.ask(INFO).error is None


def test_c8_a_thousand_idle_connections_keep_nobody_from_being_answered(tmp_path: Path) -> None:
    settings = "[socket]\nmax_connections = 1010\nmax_connections_per_uid = 1005"
    with daemon(tmp_path, settings) as running:
        run_one_job(running)
        with leaves_nothing(running), ExitStack() as stack:
            idle = [stack.enter_context(connect(running)) for _ in range(1000)]
            with running.client() as client:
                assert client.stats()["pid"] == pid_of(running)
            assert [peer.ask(INFO).error for peer in idle[::100]] == [None] * 10
            assert not any(peer.has_news() for peer in idle)


# C9: the client is gone before it hears


def submission(key: str, oneway: bool = False) -> Request:
    parameters = {"class_name": "probes.Probe", "method_name": "echo", "options": {"idempotency_key": key}}
    return Request(f"{INTERFACE}.Submit", parameters, oneway=oneway)


def test_c9_a_job_whose_client_vanished_after_sending_exists_once_and_its_key_gives_the_same_id(
    running: RunningDaemon,
) -> None:
    keys = [f"vanished-{number}" for number in range(30)]
    for number, key in enumerate(keys):
        with connect(running) as peer:
            peer.send(submission(key, oneway=number % 3 == 0))
            if number % 2:
                peer.say_no_more()

    def stored() -> list[tuple[int, str]]:
        return running.query(
            "SELECT id, idempotency_key FROM background_jobs WHERE idempotency_key LIKE 'vanished-%' ORDER BY id"
        )

    eventually(lambda: len(stored()) == len(keys))
    ids = {key: job for job, key in stored()}
    with connect(running) as peer:
        for key in keys:
            assert peer.ask(submission(key)).parameters == {"id": ids[key], "created": False}
    assert len(stored()) == len(keys)
    with running.client() as client:
        assert [client.wait(job, PATIENCE)["status"] for job in ids.values()] == ["completed"] * len(keys)


# C10: descriptors sent along


def test_c10_descriptors_that_are_sent_along_stay_with_nobody(running: RunningDaemon, peer: Peer) -> None:
    with leaves_nothing(running):
        assert peer.ask(INFO).error is None
        before = open_descriptors(running)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 253))]
        for _ in range(50):
            peer.sock.sendmsg([INFO.to_bytes()], rights)
            assert peer.try_reply() is not None
        # Also with a frame that ends never, and one that ends the connection.
        peer.sock.sendmsg([b'{"method":'], rights)
        peer.settle()
        eventually(lambda: open_descriptors(running) <= before)
        peer.sock.sendmsg([b"\0"], rights)
        assert peer.rest() == []


# C11: who calls

WRITER = """
import os, socket, sys
if os.getuid() == 0:
    os.setuid(65534)
socket.socket(fileno=int(sys.argv[1])).sendall(bytes.fromhex(sys.argv[2]))
"""


def test_c11_the_caller_is_whoever_connected_whoever_writes_later(running: RunningDaemon, peer: Peer) -> None:
    peer.ask(INFO)  # so the daemon has seen who that is
    request = ours("Submit", class_name="probes.Probe", method_name="echo").to_bytes()
    number = peer.sock.fileno()
    command = [sys.executable, "-I", "-c", WRITER, str(number), request.hex()]
    subprocess.run(command, pass_fds=[number], check=True, timeout=PATIENCE)
    reply = peer.try_reply()
    assert reply is not None
    with running.client() as client:
        job = client.wait(reply.parameters["id"], PATIENCE)
    assert [job[f"submitted_{name}"] for name in ("uid", "gid", "pid")] == [
        os.getuid(),
        os.getgid(),
        os.getpid(),
    ]


def test_c11_peers_that_close_right_after_they_connect_cost_nothing(running: RunningDaemon) -> None:
    with leaves_nothing(running):
        for _ in range(10_000):
            connect(running).sock.close()
        # None of them counts any more: as many as may can still come.
        eventually(lambda: has_room(running))


def has_room(running: RunningDaemon) -> bool:
    with ExitStack() as stack:
        peers = [stack.enter_context(connect(running)) for _ in range(MAX_OF_ONE_UID)]
        for peer in peers:
            peer.send(INFO)
        replies = [peer.try_reply() for peer in peers]
        return all(reply is not None and reply.error is None for reply in replies)


# C12: the same bytes as requests and as replies, split at random


def damaged(luck: random.Random) -> bytes:
    """Requests and replies, mostly damaged somewhere."""
    whole = [
        submit('[{"a":"\U0001f600"},1.5]'),
        submit("null", more=',"more":true'),
        ours("Get", id=1).to_bytes()[:-1],
        ours("Stats").to_bytes()[:-1],
        ours("Wait", id=1, timeout=0.001).to_bytes()[:-1],
        INFO.to_bytes()[:-1],
        Reply({"id": 1, "created": True}).to_bytes()[:-1],
        Reply({"job": {"id": 1, "status": "pending"}}, continues=True).to_bytes()[:-1],
        Reply({"id": 7}, error=f"{INTERFACE}.JobNotFound").to_bytes()[:-1],
        Reply(
            {"problems": [{"path": "a", "message": "b"}]}, error=f"{INTERFACE}.InvalidParameters"
        ).to_bytes(),
    ]
    stream = bytearray().join(luck.choice(whole) + b"\0" for _ in range(luck.randint(1, 4)))
    for _ in range(luck.randint(0, 3)):
        place = luck.randrange(len(stream) + 1)
        match luck.randrange(4):
            case 0:
                stream[place : place + 1] = bytes([luck.randrange(256)])
            case 1:
                del stream[place : place + luck.randint(1, 9)]
            case 2:
                stream[place:place] = luck.choice([b"\0", b"{", b'"', b"NaN", b"9" * 30, b"\xff", rb"\ud800"])
            case _:
                other = luck.choice(whole)
                stream[place : place + 20] = other[: luck.randrange(len(other))]
    return bytes(stream)


def pieces(stream: bytes, luck: random.Random) -> list[bytes]:
    edges = sorted(luck.randrange(len(stream) + 1) for _ in range(luck.randrange(6)))
    return [stream[start:end] for start, end in pairwise([0, *edges, len(stream)])]


def test_c12_damaged_requests_meet_no_bug_and_every_job_there_is_was_answered(
    running: RunningDaemon,
) -> None:
    luck = random.Random("requests")
    before, descriptors, created = traces(running)["jobs"], open_descriptors(running), 0
    held = 0
    for number in range(1000):
        if number == 300:  # by then it holds what it holds for good
            held = memory(running, "VmRSS")
        with connect(running) as peer:
            peer.send(*pieces(damaged(luck), luck))
            peer.say_no_more()
            for reply in peer.rest():
                assert not reply.error or reply.error.startswith((f"{SERVICE}.", f"{INTERFACE}."))
                assert reply.error != f"{INTERFACE}.InternalError"
                created += "created" in reply.parameters
    eventually(lambda: is_quiet(running))
    after = traces(running)
    assert created > 100, "so little came through that this shows nothing"
    assert memory(running, "VmRSS") - held < 4 * MIB
    assert (after["jobs"] - before, after["bugs"], after["uncaught"]) == (created, [], [])
    names = running.query("SELECT DISTINCT class_name, method_name FROM background_jobs")
    assert set(names) <= {("probes.Probe", "echo")}
    eventually(lambda: open_descriptors(running) <= descriptors)


@contextmanager
def answering(path: Path, luck: random.Random) -> Iterator[None]:
    """A server that reads one request a connection and answers with a damaged stream."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(BrokenPipeError, ConnectionResetError):
                    connection.recv(65536)
                    for piece in pieces(damaged(luck), luck):
                        connection.sendall(piece)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE)
        assert not thread.is_alive()


CALLS: dict[str, Callable[[Client], object]] = {
    "ping": lambda client: client.ping(),
    "stats": lambda client: client.stats(),
    "get": lambda client: client.get(1),
    "wait": lambda client: client.wait(1, 0),
    "submit": lambda client: client.run_background_job("a.B", "c"),
    "submit_many": lambda client: client.submit_many([{"class_name": "a.B", "method_name": "c"}]),
    "classes": lambda client: client.classes(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_c12_damaged_replies_meet_only_errors_that_a_caller_expects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[Client], object]
) -> None:
    monkeypatch.setattr(retrying, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(retrying, "LONGEST_PAUSE", 0.001)
    answered = 0
    before = len(os.listdir("/proc/self/fd"))
    with answering(tmp_path / "socket", random.Random("replies")):
        for _ in range(1000):
            with Client(str(tmp_path / "socket")) as client, suppress(BgjobError):
                call(client)
                answered += 1
    assert answered > 50 or call is not CALLS["ping"], "so little came through that this shows nothing"
    assert len(os.listdir("/proc/self/fd")) <= before


# C1 to C6 once more, put to a Varlink server of systemd's own

SYSTEMD = """exec 3<&0 0</dev/null
LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=varlink exec "$1"
"""


@pytest.fixture
def theirs() -> Iterator[Peer]:
    """A connection to `systemd-creds`, which serves the one that it is started with, as socket activation does it."""
    creds = needed("systemd-creds")
    mine, its = socket.socketpair()
    with its:
        process = subprocess.Popen(["sh", "-c", SYSTEMD, "sh", creds], stdin=its)
    try:
        with Peer(mine, process.pid) as peer:
            yield peer
    finally:
        process.kill()
        process.wait(PATIENCE)


def info(parameters: str = "{}", more: str = "") -> bytes:
    return f'{{"method":"{SERVICE}.GetInfo","parameters":{parameters}{more}}}'.encode()


SAME: Table = {
    "C2 an empty frame": b"",
    "C2 not JSON": b"hello",
    "C2 an array": b"[]",
    "C2 an extra key at the top": info(more=',"id":1'),
    "C2 no method": b"{}",
    "C2 method not string": b'{"method":1}',
    "C2 parameters not object": info("[]"),
    "C2 more not boolean": info(more=',"more":1'),
    "C2 an upgrade": info(more=',"upgrade":true'),
    "C2 duplicate key": info(more=f',"method":"{SERVICE}.GetInfo"'),
    "C2 NaN": info('{"a":NaN}'),
    "C2 invalid UTF-8": info('{"a":"?"}').replace(b"?", b"\xff"),
    "C2 lone surrogate": info(r'{"a":"\ud800"}'),
    "C2 a text with a NUL": info(r'{"a":"\u0000"}'),
    "C2 UTF-16": info().decode().encode("utf-16"),
    "C2 a byte order mark": b"\xef\xbb\xbf" + info(),
    "C2 depth 3000": info('{"a":' + nested(3000) + "}"),
    "C2 a comment": info(" /* no */ {}"),
    "C2 a comma too many": info("{},"),
    "C2 two requests in one frame": info() * 2,
    "C3 pipelined": info() + b"\0" + info("null") + b"\0" + info(more=',"more":true'),
    "C3 blanks around": b" \n" + info() + b"\n ",
    "C2 more and oneway at once": info(more=',"oneway":true,"more":true'),
    "C3 a oneway request": info(more=',"oneway":true'),
    "C4 unknown method": f'{{"method":"{SERVICE}.Nope"}}'.encode(),
    "C4 unknown interface": b'{"method":"com.example.Else.Get"}',
    "C4 a path": b'{"method":"../x"}',
    "C4 an empty name": b'{"method":""}',
    "C5 unknown parameter": info('{"colour":"red"}'),
    "C5 an integer beyond 64 bit": info('{"colour":18446744073709551616}'),
    "C5 an unknown interface asked for": info('{"interface":"a.b"}').replace(
        b"GetInfo", b"GetInterfaceDescription"
    ),
    "C5 a parameter of another type": info('{"interface":1}').replace(b"GetInfo", b"GetInterfaceDescription"),
    "C6 over 16 MiB": info('{"a":"' + "x" * 17 * MIB + '"}'),
}

STRICTER: Table = {
    "C2 duplicate key deep below": info('{"a":1,"a":1}'),
    "C2 1e999": info('{"a":1e999}'),
    "C2 depth 100": info('{"a":' + nested(100) + "}"),
    "C6 over 1 MiB": info('{"a":"' + "x" * 2 * MIB + '"}'),
}
"""What systemd takes for JSON and then refuses as an unknown parameter, and what closes the connection here."""


def test_c1_systemd_waits_for_the_end_of_a_frame_as_the_daemon_does(peer: Peer, theirs: Peer) -> None:
    for one in (peer, theirs):
        one.send(info())
        one.settle()
        assert not one.has_news()
        assert one.fate(b"\0") == [ANSWERS, GOES_ON]


@table(SAME)
def test_systemd_and_the_daemon_make_the_same_of(peer: Peer, theirs: Peer, sent: bytes) -> None:
    assert peer.fate(sent + b"\0") == theirs.fate(sent + b"\0")


@table({"C2 nothing": b"", "C2 no NUL": info(), "C3 whole requests": (info() + b"\0") * 3})
def test_systemd_and_the_daemon_make_the_same_of_the_end_after(peer: Peer, theirs: Peer, sent: bytes) -> None:
    answered = []
    for one in (peer, theirs):
        one.send(sent)
        one.say_no_more()
        answered.append([reply.error for reply in one.rest()])
    assert answered[0] == answered[1] == [None] * sent.count(b"\0")


def test_systemd_and_the_daemon_read_byte_by_byte(peer: Peer, theirs: Peer) -> None:
    for one in (peer, theirs):
        for byte in info():
            one.send(bytes([byte]))
            one.settle()
        assert one.fate(b"\0") == [ANSWERS, GOES_ON]


@table(STRICTER)
def test_the_daemon_closes_where_systemd_refuses(peer: Peer, theirs: Peer, sent: bytes) -> None:
    assert peer.fate(sent + b"\0") == [CLOSES]
    assert ANSWERS not in theirs.fate(sent + b"\0")
