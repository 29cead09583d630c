"""Application modules, streams, disks, neighbours and callers at their worst: the daemon goes on, or says why not."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bgjob.errors import ClassUnavailableError, DaemonUnavailableError
from tests.daemon import warm
from tests.daemon.running import RunningDaemon, children_of, daemon, spares_of
from tests.support import eventually

PROBE = "probes.Probe"

CLASS = "\n\nclass Job:\n    def run(self):\n        return 5\n"
ODD_MODULES = {
    "a doc that is a property": (CLASS + "    __doc__ = property(lambda self: 1 / 0)\n", True),
    "a signature that is a number": (CLASS + "    run.__signature__ = 5\n", False),
    "an import whose error has no text": (
        "class Mute(Exception):\n    def __str__(self):\n        raise ValueError\n\nraise Mute\n",
        False,
    ),
    "no stdout": ("import sys\nsys.stdout = None\n" + CLASS, True),
    "no stderr": ("import sys\nsys.stderr = None\n" + CLASS, True),
    "SIGCHLD ignored": ("import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n" + CLASS, True),
    "a module that is none": (
        "import sys\n\nclass Odd:\n    def __getattr__(self, name):\n        raise RuntimeError(name)\n\n"
        "sys.modules[__name__ + '_object'] = Odd()\n" + CLASS,
        True,
    ),
    "a module that is none and has no __dict__": (
        "import sys\n\nclass Odd:\n    __slots__ = ()\n    def __getattr__(self, name):\n"
        "        raise RuntimeError(name)\n\nsys.modules[__name__ + '_object'] = Odd()\n" + CLASS,
        True,
    ),
    "a module that is none and refuses everything": (
        "import sys\n\nclass Odd:\n    def __getattribute__(self, name):\n        raise RuntimeError(name)\n\n"
        "sys.modules[__name__ + '_object'] = Odd()\n" + CLASS,
        True,
    ),
    "an exit at import": ("raise SystemExit(3)\n", False),
    "a hard exit at import": ("import os\nos._exit(0)\n", False),
    "a crash at import": ("import os\nos.abort()\n", False),
    "a thread that stays": (
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n" + CLASS,
        False,
    ),
    "a thread that has ended": (
        "import threading\nt = threading.Thread(target=int)\nt.start()\nt.join()\n" + CLASS,
        True,
    ),
    "a fork that comes back": ("import os\nos.fork()\n" + CLASS, True),
    "a fork that stays": (
        "import os, time\nif os.fork() == 0:\n    time.sleep(20)\n    os._exit(0)\n" + CLASS,
        True,
    ),
    "a SIGTERM handler": (
        "import signal\nsignal.signal(signal.SIGTERM, lambda *_: None)\n" + CLASS,
        True,
    ),
    "an annotation that exits": (
        "import os\n\nclass Type:\n    @classmethod\n    def __get_pydantic_core_schema__(cls, *_):\n"
        "        os._exit(3)\n" + CLASS.replace("self", "self, a: Type = None"),
        False,
    ),
}


USABLE = [name for name, (_, is_usable) in ODD_MODULES.items() if is_usable]
UNUSABLE = [name for name, (_, is_usable) in ODD_MODULES.items() if not is_usable]


@dataclass(frozen=True, slots=True)
class Odd:
    """A daemon with odd modules, each of which has a class Job, and what `bgjobd check` prints of them all."""

    running: RunningDaemon
    modules: dict[str, str]
    checked: str


@contextmanager
def _odd(directory: Path, names: list[str]) -> Iterator[Odd]:
    modules = {name: f"odd{number}" for number, name in enumerate(names)}
    sources = {modules[name]: ODD_MODULES[name][0] for name in names}
    settings = "\n".join(f'"{module}.Job" = {{}}' for module in sources)
    with daemon(directory, settings, modules=sources, has_pydantic=True) as running:
        yield Odd(running, modules, warm.run(["check", "--config", str(running.config)]).stdout)


@pytest.fixture(scope="module")
def usable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Odd]:
    with _odd(tmp_path_factory.mktemp("usable"), USABLE) as odd:
        yield odd


@pytest.fixture(scope="module")
def unusable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Odd]:
    with _odd(tmp_path_factory.mktemp("unusable"), UNUSABLE) as odd:
        yield odd


@pytest.mark.parametrize("name", USABLE)
def test_an_odd_module_that_can_be_used_harms_no_class_beside_it_and_is_used(usable: Odd, name: str) -> None:
    odd = f"{usable.modules[name]}.Job"
    with usable.running.client() as client:
        assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
        (described,) = [one for one in client.classes() if one["name"] == odd]
        assert described["unavailable"] is None
        assert client.run_background_job(odd, "run").result(20) == 5
    assert f"approved     {odd}:" in usable.checked
    assert f"approved     {PROBE}:" in usable.checked


def test_a_copy_that_comes_back_from_an_import_does_not_stay_as_a_second_fork_server(usable: Odd) -> None:
    server = usable.running.fork_server()
    # But for that of the fork that stays.
    eventually(lambda: len(set(children_of(server)) - spares_of(server)) <= 1)


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_odd_module_that_cannot_be_used_harms_no_class_beside_it_and_check_names_it(
    unusable: Odd, name: str
) -> None:
    odd = f"{unusable.modules[name]}.Job"
    with unusable.running.client() as client:
        assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
        (described,) = [one for one in client.classes() if one["name"] == odd]
        assert described["unavailable"] is not None
    assert f"unavailable  {odd}:" in unusable.checked
    assert f"approved     {PROBE}:" in unusable.checked


HANGS = {
    "an import that hangs": "import time\ntime.sleep(60)\n" + CLASS,
    "an import that hangs and ignores TERM": (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)\n" + CLASS
    ),
    "an annotation that hangs": (
        "import time\n\nclass Type:\n    @classmethod\n    def __get_pydantic_core_schema__(cls, *_):\n"
        "        time.sleep(60)\n" + CLASS.replace("self", "self, a: Type = None")
    ),
}


def test_modules_that_hang_cost_their_own_classes_alone(tmp_path: Path) -> None:
    modules = {f"odd{number}": source for number, source in enumerate(HANGS.values())}
    settings = "\n".join(f'"{module}.Job" = {{}}' for module in modules)
    with (
        daemon(tmp_path, settings, "import_timeout = 3", modules=modules, has_pydantic=True) as running,
        running.client() as client,
    ):
        eventually(lambda: client.stats()["loaded_at"], 40)  # each that hangs costs 3 s, and a start
        assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
        for module in modules:
            with pytest.raises(
                ClassUnavailableError, match=r"was not imported within 3 s; raise .app. import_timeout"
            ):
                client.run_background_job(f"{module}.Job", "run")
        eventually(lambda: len(running.children()) == 1)


def test_a_fork_server_that_is_killed_while_it_imports_makes_no_class_unavailable(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    source = (
        f"import os, time\nopen({str(gate)!r}, 'a').write('x')\n"
        f"while not os.path.exists({str(gate)!r} + '.open'): time.sleep(0.01)\n" + CLASS
    )
    with daemon(tmp_path, '"odd.Job" = {}', modules={"odd": source}) as running, running.client() as client:
        eventually(lambda: gate.exists() and gate.read_text())
        os.kill(running.fork_server(), signal.SIGKILL)
        eventually(lambda: gate.read_text() == "xx")
        (tmp_path / "gate.open").touch()
        assert client.run_background_job("odd.Job", "run").result(20) == 5


class _Redirected(RunningDaemon):
    """A daemon whose stderr is what the test says: a descriptor, or None for none at all."""

    stderr: int | None = None
    program: tuple[str, ...] = ("-m", "bgjobd")

    def spawn(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, *self.program, "serve", "--config", str(self.config)]
        if self.stderr is None:
            return subprocess.Popen(["sh", "-c", 'exec "$@" 2>&-', "sh", *command])
        return subprocess.Popen(command, stderr=self.stderr)

    def console(self) -> str:
        return "what it said is not to be had"


@contextmanager
def _started(running: RunningDaemon) -> Iterator[None]:
    try:
        running.start()
        yield
    finally:
        if running.process is not None:
            running.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """For tests after which all is as before; at the end it has to end well."""
    with daemon(tmp_path_factory.mktemp("plain")) as running:
        yield running
        assert running.stop() == 0


def test_a_daemon_without_stderr_starts_runs_and_ends(tmp_path: Path) -> None:
    running = _Redirected(tmp_path)
    with _started(running):
        with running.client() as client:
            assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
            assert (
                client.run_background_job(PROBE, "say", {"text": "hello"}).wait(20)["status"] == "completed"
            )
        assert running.process is not None
        assert os.readlink(f"/proc/{running.process.pid}/fd/2") == "/dev/null"
        assert running.stop() == 0
    assert [line for line in running.lines() if "SUCCESS" in line]


_SHORT_OF_TIME = """
import sys
from bgjobd import main
from bgjobd.host import log
log._LAST_LINES = 0.2  # for which its end would wait 2 s
sys.exit(main.main(sys.argv[1:]))
"""


def test_a_console_that_nobody_reads_holds_up_no_job_and_no_end(tmp_path: Path) -> None:
    read, write = os.pipe()
    size = fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    running = _Redirected(tmp_path)
    running.stderr, running.program = write, ("-c", _SHORT_OF_TIME)
    try:
        with _started(running):
            with running.client() as client:
                many = [{"class_name": PROBE, "method_name": "echo", "options": {"delay": 1e6}}] * 200
                ids = [job.id for job in client.submit_many(many)]
                client.cancel(*ids)
                assert running.query("SELECT sum(length(message)) FROM job_logs")[0][0] > 2 * size
                assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
            assert running.stop() == 0
    finally:
        os.close(read)
        os.close(write)


def test_a_log_file_that_cannot_be_opened_costs_its_lines_only(plain: RunningDaemon) -> None:
    with plain.client() as client:
        client.run_background_job(PROBE, "echo").result(20)
        eventually(plain.log_file.exists)
        plain.log_file.rename(plain.directory / "rotated")
        plain.log_file.mkdir()
        assert plain.process is not None
        plain.process.send_signal(signal.SIGHUP)
        job = client.run_background_job(PROBE, "fail", {"message": "said on the console"}, retry_count=1)
        assert job.wait(20)["status"] == "failed"
        eventually(lambda: "said on the console" in plain.console())
        plain.log_file.rmdir()
        assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
        eventually(lambda: [line for line in plain.lines() if "SUCCESS" in line])


def test_a_second_daemon_in_the_firsts_place_is_refused_with_75(tmp_path: Path) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    (tmp_path / "first").mkdir()
    with daemon(tmp_path / "first") as first, first.client() as client:
        job = client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})
        eventually(ledger.exists)
        seconds = {shared: _second(tmp_path, shared) for shared in ("run", "s.sock")}
        ends = {shared: second.spawn() for shared, second in seconds.items()}
        for shared, second in seconds.items():
            assert ends[shared].wait(20) == 75
            assert str(tmp_path / "first" / shared) in second.console()
        assert client.get(job.id).snapshot["status"] == "running"
        go.touch()
        end = job.wait(20)
        assert end["result"] == "waited"
        assert [one["outcome"] for one in end["attempts"]] == ["completed"]
        assert [line.split()[0] for line in ledger.read_text().splitlines()] == ["start", "end"]
        first.stop(signal.SIGKILL)
        first.start()
        assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1


def _second(directory: Path, shared: str) -> RunningDaemon:
    """A daemon that has yet to start, with one of its places where that of the first is."""
    (directory / f"with {shared}").mkdir()
    second = RunningDaemon(directory / f"with {shared}")
    text = second.config.read_text()
    second.config.write_text(text.replace(str(second.directory / shared), str(directory / "first" / shared)))
    return second


def _connected(running: RunningDaemon) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.settimeout(20)
    peer.connect(str(running.socket))
    return peer


def _frame(method: str, **parameters: Any) -> bytes:
    return json.dumps({"method": f"org.bgjobd.Jobs.{method}", "parameters": parameters}).encode() + b"\0"


def _reply(peer: socket.socket) -> dict[str, Any]:
    text = b""
    while not text.endswith(b"\0"):
        part = peer.recv(65536)
        assert part, "the daemon closed the connection"
        text += part
    reply: dict[str, Any] = json.loads(text[:-1])
    return reply


def _descriptors(running: RunningDaemon) -> int:
    assert running.process is not None
    return len(os.listdir(f"/proc/{running.process.pid}/fd"))


def test_callers_that_ask_much_and_leave_take_no_place_from_others(plain: RunningDaemon) -> None:
    with plain.client() as client:
        job = client.run_background_job(PROBE, "echo", delay=1e6)
        client.stats()
        before = _descriptors(plain)

    def answers() -> bool:
        try:
            with plain.client() as client:
                return bool(client.stats()["pid"])
        except DaemonUnavailableError:
            return False

    for _ in range(70):
        # Refused while the places are taken, which is no fault.
        with _connected(plain) as peer, suppress(BrokenPipeError, ConnectionResetError):
            peer.sendall(_frame("Wait", id=job.id) * 64)
    assert eventually(answers)
    eventually(lambda: _descriptors(plain) <= before)
    with plain.client() as client:
        assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1


FILLING = """
import time
from pathlib import Path


class Big:
    def wait_and_return(self, path, ledger, size):
        with open(ledger, "a") as book:
            book.write("start\\n")
        while not Path(path).exists():
            time.sleep(0.01)
        return "x" * size
"""


def _fill(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for size in (4096, 1):
            try:
                while True:
                    os.write(descriptor, b"x" * size)
            except OSError:
                continue
    finally:
        os.close(descriptor)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_spool_without_room_delays_jobs_and_loses_none(tmp_path: Path) -> None:
    go, ledger, mount = tmp_path / "go", tmp_path / "ledger", tmp_path / "run"
    (tmp_path / "filling.py").write_text(FILLING)
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(mount)]).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        with daemon(tmp_path, '"filling.Big" = {}') as running:
            with running.client() as client:
                jobs = [
                    client.run_background_job(
                        "filling.Big",
                        "wait_and_return",
                        {"path": str(go), "ledger": str(ledger), "size": size},
                    )
                    for size in (10, 100_000)
                ]
                eventually(lambda: ledger.exists() and len(ledger.read_text().split()) == 2)
                _fill(mount / "filler")
                go.touch()
                small = jobs[0].wait(20)
                late = client.run_background_job(PROBE, "echo", {"value": 1})
                eventually(lambda: any("waits for room" in line for line in running.lines()))
                assert client.get(jobs[1].id).snapshot["status"] == "running"
                (mount / "filler").unlink()
                assert late.result(20) == 1
                big = jobs[1].wait(20)
            assert (small["status"], small["result"]) == ("completed", "x" * 10)
            assert (big["status"], big["result"]) == ("completed", "x" * 100_000)
            assert [one["outcome"] for one in big["attempts"]] == ["completed"]
            assert ledger.read_text().split() == ["start"] * 2
            assert running.stop() == 0
            running.start()
            with running.client() as client:
                assert client.run_background_job(PROBE, "echo", {"value": 2}).result(20) == 2
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


def test_sigterm_sends_waiting_callers_away_and_ends_with_0(tmp_path: Path) -> None:
    with daemon(tmp_path) as running, ExitStack() as stack:
        with running.client() as client:
            job = client.run_background_job(PROBE, "echo", delay=1e6)
        peers = [stack.enter_context(_connected(running)) for _ in range(5)]
        for peer in peers:
            peer.sendall(_frame("Stats") + _frame("Wait", id=job.id) * 2)
            assert "error" not in _reply(peer)
        assert running.stop() == 0
        for peer in peers:
            text = b""
            try:
                while part := peer.recv(65536):
                    text += part
            except ConnectionResetError:
                pass
            replies = [json.loads(frame) for frame in text.split(b"\0")[:-1]]
            assert [reply.get("error", "").rpartition(".")[2] for reply in replies] in (
                [],
                ["ShuttingDown"] * 2,
            )


def test_a_list_of_very_many_empty_jobs_is_an_invalid_parameter(plain: RunningDaemon) -> None:
    before = plain.query("SELECT count(*) FROM background_jobs")[0][0]
    with _connected(plain) as peer:
        peer.sendall(
            b'{"method":"org.bgjobd.Jobs.SubmitMany","parameters":{"jobs":[' + b"{}," * 339_999 + b"{}]}}\0"
        )
        assert _reply(peer)["error"] == "org.varlink.service.InvalidParameter"
        with plain.client() as client:
            assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
        assert plain.query("SELECT count(*) FROM background_jobs") == [(before + 1,)]
