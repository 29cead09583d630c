"""What the daemon tells systemd: a real daemon, and in systemd's place the socket that it would listen at."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from bgjob import ReloadFailedError
from bgjob.codec import Request
from bgjobd.host.sd_notify import PROTOCOL
from tests.daemon.running import RunningDaemon, daemon
from tests.faults.injecting import hanging_calls, held_by_another_program, needs_root, pid_of
from tests.support import eventually

PROBE = "probes.Probe"


class Listening:
    """The socket that systemd would hear of the daemon at, and what it has heard so far, oldest first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[dict[str, str]] = []
        self._heard_at: list[float] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self._turn = threading.Lock()
        self._end, self._its_end = socket.socketpair()
        self._hearing = threading.Thread(target=self._hear_all)
        self._hearing.start()

    def close(self) -> None:
        self._end.close()
        self._hearing.join(20)
        self._its_end.close()
        self._socket.close()

    def _hear_all(self) -> None:
        """As systemd does: a queue that nobody empties is full after some beats, and who tells then has to wait."""
        while self._its_end not in select.select([self._socket, self._its_end], [], [])[0]:
            self.hear()

    def hear(self) -> list[dict[str, str]]:
        """All that came so far."""
        with self._turn:
            while True:
                try:
                    told = self._socket.recv(65536).decode()
                except BlockingIOError:
                    return self.heard.copy()
                self.heard.append(dict(line.split("=", 1) for line in told.splitlines()))
                self._heard_at.append(time.monotonic())

    def states(self) -> list[str]:
        """READY, RELOADING and STOPPING, in order."""
        words = ("READY", "RELOADING", "STOPPING")
        return [word for message in self.hear() for word in words if message.get(word) == "1"]

    def is_silent(self, name: str, seconds: float) -> bool:
        """Whether this is not heard for so long from now on."""
        before = len(self.values(name))
        try:
            eventually(lambda: len(self.values(name)) > before, within=seconds)
        except AssertionError:
            return True
        return False

    def longest_silence(self, name: str, since: float) -> float:
        """In how many seconds in a row this was not heard, from that instant of the monotonic clock until now."""
        heard = [at for message, at in zip(self.hear(), self._heard_at, strict=False) if name in message]
        ends = [since, *(at for at in heard if at > since), time.monotonic()]
        return max(after - before for before, after in pairwise(ends))

    def values(self, name: str) -> list[str]:
        return [message[name] for message in self.hear() if name in message]


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Listening]:
    listening = Listening(tmp_path / "notify")
    try:
        yield listening
    finally:
        listening.close()


def told(systemd: Listening, **variables: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": str(systemd.path), **variables}


def test_ready_comes_when_the_socket_answers_and_stopping_before_the_end(
    tmp_path: Path, systemd: Listening
) -> None:
    with daemon(tmp_path, environ=told(systemd)) as running:
        eventually(lambda: systemd.states() == ["READY"])
        running.stop()
    assert systemd.states() == ["READY", "STOPPING"]


def test_ready_does_not_wait_for_a_module_that_takes_its_time(tmp_path: Path, systemd: Listening) -> None:
    go = tmp_path / "go"
    slow = f"import time, pathlib\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(0.01)\nclass Job: pass\n"
    with daemon(tmp_path, '"slow.Job" = {}', environ=told(systemd), modules={"slow": slow}) as running:
        eventually(lambda: systemd.states() == ["READY"])
        with running.client() as client:
            assert client.stats()["jobs"] == {}
        go.touch()


def test_an_abstract_address_is_understood(tmp_path: Path) -> None:
    name = f"bgjobd-test-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"\0{name}")
        heard.settimeout(20)
        with daemon(tmp_path, environ={"NOTIFY_SOCKET": f"@{name}"}):
            assert heard.recv(4096) == b"READY=1"


def test_nobody_at_the_address_harms_nothing(tmp_path: Path) -> None:
    with (
        daemon(tmp_path, environ={"NOTIFY_SOCKET": str(tmp_path / "nobody")}) as running,
        running.client() as client,
    ):
        assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1


def test_each_reload_is_told_from_its_beginning_to_its_end_whoever_asks_and_however_it_ends(
    tmp_path: Path, systemd: Listening
) -> None:
    with daemon(tmp_path, environ=told(systemd)) as running, running.client() as client:
        client.classes()
        assert running.process is not None
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: systemd.states() == ["READY", "RELOADING", "READY"])
        client.reload()
        eventually(lambda: systemd.states()[3:] == ["RELOADING", "READY"])
        running.config.write_text("".join(f'[nonsense{number}]\n"ä" = 1\n' for number in range(500)))
        with pytest.raises(ReloadFailedError) as refused:
            client.reload()
        eventually(lambda: systemd.states()[5:] == ["RELOADING", "READY"])
    began = [int(message["MONOTONIC_USEC"]) for message in systemd.hear() if "RELOADING" in message]
    assert 0 < began[0] < began[1] < began[2]
    assert len(str(refused.value)) > 4096
    # systemd takes no longer one.
    assert max(len(status.encode()) for status in systemd.values("STATUS")) < 4000


def test_a_reload_before_the_first_code_is_loaded_is_held_against_that(
    tmp_path: Path, systemd: Listening
) -> None:
    go, begun = tmp_path / "go", tmp_path / "begun"
    slow = (
        f"import time, pathlib\npathlib.Path({str(begun)!r}).touch()\n"
        f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.01)\n"
        "class Job:\n    def tell(self): return 'first'\n"
    )
    with daemon(tmp_path, '"slow.Job" = {}', environ=told(systemd), modules={"slow": slow}) as running:
        eventually(begun.exists)
        (tmp_path / "slow.py").write_text("raise RuntimeError('not today')")
        assert running.process is not None
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: "RELOADING" in systemd.states())
        go.touch()
        eventually(
            lambda: any("the reload failed" in line and "not today" in line for line in running.lines())
        )
        with running.client() as client:
            assert client.run_background_job("slow.Job", "tell").result(20) == "first"


# Status

SOON = "from bgjobd.host import sd_notify; sd_notify._STATUS_EVERY = 0.05"


def test_status_follows_what_runs_and_waits(tmp_path: Path, systemd: Listening) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    with daemon(tmp_path, environ=told(systemd), changes=SOON) as running, running.client() as client:
        client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})
        client.run_background_job(PROBE, "echo", delay=1e6)
        eventually(lambda: systemd.values("STATUS")[-1:] == ["1 running, 1 pending"])
        go.touch()
        eventually(lambda: systemd.values("STATUS")[-1:] == ["0 running, 1 pending"])
        running.stop()
    assert systemd.values("STATUS")[-1] == "stopping"


def test_a_failed_reload_stands_in_the_status_until_one_goes_well(tmp_path: Path, systemd: Listening) -> None:
    with daemon(tmp_path, environ=told(systemd), changes=SOON) as running, running.client() as client:
        client.classes()
        text = running.config.read_text()
        running.config.write_text(f'{text}\n"nowhere.Job" = {{}}')
        with pytest.raises(ReloadFailedError):
            client.reload()
        ready = eventually(lambda: [message for message in systemd.hear() if "READY" in message][1:])
        assert "the last reload failed and changed nothing: nowhere.Job is unavailable" in ready[0]["STATUS"]
        assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
        eventually(lambda: "0 running" in systemd.values("STATUS")[-1])
        assert "nowhere.Job is unavailable" in systemd.values("STATUS")[-1]
        running.config.write_text(text)
        client.reload()
        eventually(lambda: systemd.states()[-2:] == ["RELOADING", "READY"])
        assert "reload" not in systemd.values("STATUS")[-1]


def test_status_is_told_about_once_a_second_however_much_happens(tmp_path: Path, systemd: Listening) -> None:
    with daemon(tmp_path, environ=told(systemd)) as running, running.client() as client:
        began = time.monotonic()
        before = len(systemd.values("STATUS"))
        for number in range(60):
            client.run_background_job(PROBE, "echo", {"value": number})
        eventually(lambda: client.stats()["jobs"] == {"completed": 60})
        assert len(systemd.values("STATUS")) - before <= time.monotonic() - began + 2


def test_status_says_why_nothing_starts(tmp_path: Path, systemd: Listening) -> None:
    nowhere = 'python = "/nowhere/python3"'
    with daemon(tmp_path, app=nowhere, environ=told(systemd)) as running:
        eventually(lambda: any("fork server" in status for status in systemd.values("STATUS")))
        assert running.process is not None


def test_a_drain_says_what_it_waits_for_and_asks_for_time(tmp_path: Path, systemd: Listening) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    with daemon(tmp_path, environ=told(systemd), changes=SOON) as running, running.client() as client:
        client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})
        eventually(ledger.exists)
        assert running.process is not None
        running.process.send_signal(signal.SIGQUIT)
        eventually(
            lambda: any("waits for the end of 1 attempt," in status for status in systemd.values("STATUS"))
        )
        eventually(lambda: systemd.values("EXTEND_TIMEOUT_USEC"))
        # Were it told now that the daemon is stopping, systemd would give it TimeoutStopSec from here.
        assert systemd.states() == ["READY"]
        go.touch()
        assert running.process.wait(20) == 0
    assert systemd.states() == ["READY", "STOPPING"]


def test_a_drain_whose_fork_server_hangs_asks_for_no_time(tmp_path: Path, systemd: Listening) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    with daemon(tmp_path, environ=told(systemd), changes=SOON) as running, running.client() as client:
        client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})
        eventually(ledger.exists)
        server = running.fork_server()
        assert running.process is not None
        os.kill(server, signal.SIGSTOP)
        try:
            running.process.send_signal(signal.SIGQUIT)
            eventually(lambda: any("waits for the end" in status for status in systemd.values("STATUS")))
            assert systemd.is_silent("EXTEND_TIMEOUT_USEC", LONG)
            assert systemd.values("EXTEND_TIMEOUT_USEC") == []
        finally:
            os.kill(server, signal.SIGCONT)
        eventually(lambda: systemd.values("EXTEND_TIMEOUT_USEC"))
        go.touch()
        assert running.process.wait(20) == 0


def test_a_recovery_asks_for_time_before_it_is_ready(tmp_path: Path, systemd: Listening) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    with daemon(tmp_path) as running:
        with running.client() as client:
            client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})
            eventually(ledger.exists)
        running.stop()
        running.start_with(told(systemd))
        eventually(lambda: systemd.states() == ["READY"])
        go.touch()
    told_first = [name for message in systemd.hear() for name in message if name != "STATUS"]
    assert told_first[:2] == ["EXTEND_TIMEOUT_USEC", "READY"]


# The watchdog

BEAT = 0.05
WATCHED = {"WATCHDOG_USEC": str(int(2 * BEAT * 1e6))}
LONG = 10 * BEAT
HUNGRY = 3 * LONG  # a busy machine may be late


def beats(systemd: Listening) -> int:
    return len(systemd.values("WATCHDOG"))


def go_on(systemd: Listening) -> None:
    """Fails unless the beats go on."""
    before = beats(systemd)
    eventually(lambda: beats(systemd) > before + 2)


@pytest.fixture(scope="module")
def watching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    listening = Listening(tmp_path_factory.mktemp("watching") / "notify")
    try:
        yield listening
    finally:
        listening.close()


LESS_PATIENCE = "from bgjobd.store import database; database._BUSY_TIMEOUT = 0.2"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, watching: Listening) -> Iterator[RunningDaemon]:
    directory = tmp_path_factory.mktemp("watched")
    with daemon(directory, environ=told(watching, **WATCHED), changes=LESS_PATIENCE) as running:
        with running.client() as client:
            client.classes()
        yield running


@pytest.fixture
def watched(kept: RunningDaemon, watching: Listening) -> RunningDaemon:
    go_on(watching)
    return kept


def test_no_beat_comes_while_the_fork_server_is_stopped(watched: RunningDaemon, watching: Listening) -> None:
    server = watched.fork_server()
    os.kill(server, signal.SIGSTOP)
    try:
        eventually(lambda: watching.is_silent("WATCHDOG", LONG))
    finally:
        os.kill(server, signal.SIGCONT)
    go_on(watching)


def test_no_beat_comes_while_the_loop_stands(watched: RunningDaemon, watching: Listening) -> None:
    pid = pid_of(watched)
    os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: watching.is_silent("WATCHDOG", LONG))
    finally:
        os.kill(pid, signal.SIGCONT)
    go_on(watching)


@needs_root
@pytest.mark.needs("strace")
def test_no_beat_comes_while_the_writer_hangs_in_a_sync(watched: RunningDaemon, watching: Listening) -> None:
    with hanging_calls(pid_of(watched), "fdatasync,fsync"):
        submitting = threading.Thread(target=_submit, args=[watched])
        submitting.start()
        eventually(lambda: watching.is_silent("WATCHDOG", LONG))
    go_on(watching)
    submitting.join(20)


def _submit(running: RunningDaemon) -> None:
    with running.client() as client:
        client.run_background_job(PROBE, "echo")


def test_a_database_that_cannot_be_written_is_no_reason_for_a_restart(
    watched: RunningDaemon, watching: Listening
) -> None:
    with held_by_another_program(watched.database):
        eventually(lambda: any("cannot be written" in status for status in watching.values("STATUS")))
        go_on(watching)
    eventually(lambda: "cannot be written" not in watching.values("STATUS")[-1])


def test_a_fork_server_that_is_replaced_is_not_waited_for(
    watched: RunningDaemon, watching: Listening
) -> None:
    server = watched.fork_server()
    os.kill(server, signal.SIGSTOP)
    eventually(lambda: watching.is_silent("WATCHDOG", LONG))
    os.kill(server, signal.SIGKILL)
    go_on(watching)


def test_a_module_that_hangs_while_it_is_imported_leaves_the_watchdog_fed(
    tmp_path: Path, systemd: Listening
) -> None:
    hangs = "import time\ntime.sleep(600)\nclass Job: pass\n"
    with daemon(tmp_path, '"hangs.Job" = {}', environ=told(systemd, **WATCHED), modules={"hangs": hangs}):
        go_on(systemd)


@pytest.mark.parametrize(("last_queue", "many"), [("default", 2), ("unknown", 4)])
def test_callers_with_requests_as_large_as_may_be_leave_the_watchdog_fed(
    watched: RunningDaemon, watching: Listening, last_queue: str, many: int
) -> None:
    job = {"class_name": PROBE, "method_name": "echo", "options": {"delay": 86400.0}}
    last = {**job, "options": {"delay": 86400.0, "queue": last_queue}}  # an unknown one: nothing is stored
    frame = Request("org.bgjobd.Jobs.SubmitMany", {"jobs": [job] * 5000 + [last]}).to_bytes()
    with ExitStack() as open_ones:
        callers = [open_ones.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(many)]
        for caller in callers:
            caller.settimeout(50)
            caller.connect(str(watched.socket))
        began_at = time.monotonic()
        with ThreadPoolExecutor(many) as pool:  # for each user's large requests are read one after the other
            list(pool.map(lambda caller: caller.sendall(frame), callers))
        for caller in callers:
            assert caller.recv(1)
        assert watching.longest_silence("WATCHDOG", began_at) < HUNGRY


def test_many_who_follow_the_log_of_many_jobs_leave_the_watchdog_fed(
    watched: RunningDaemon, watching: Listening
) -> None:
    job = {"class_name": PROBE, "method_name": "echo", "options": {"delay": 86400.0}}
    with ExitStack() as open_ones, watched.client() as client:
        readers = [open_ones.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(10)]
        for reader in readers:
            reader.settimeout(50)
            reader.connect(str(watched.socket))
            reader.sendall(Request("org.bgjobd.Jobs.Logs", {"limit": 0}, more=True).to_bytes())
            assert reader.recv(1000)
        ids = [job.id for job in client.submit_many([job] * 5000)]
        began_at = time.monotonic()
        with ThreadPoolExecutor(len(readers)) as pool:
            list(pool.map(partial(read_up_to, f'"job_id":{ids[-1]},'.encode()), readers))
        assert watching.longest_silence("WATCHDOG", began_at) < HUNGRY


def read_up_to(told: bytes, reader: socket.socket) -> None:
    data = b""
    while told not in data:
        data = data[-len(told) :] + reader.recv(1024 * 1024)


def test_a_watchdog_of_another_process_is_not_fed(tmp_path: Path, systemd: Listening) -> None:
    with daemon(tmp_path, environ=told(systemd, WATCHDOG_PID="1", **WATCHED)):
        eventually(lambda: systemd.states() == ["READY"])
        assert systemd.is_silent("WATCHDOG", LONG)


# What is meant for the daemon alone


def test_no_variable_of_systemds_reaches_an_attempt_a_fork_server_or_the_page(
    tmp_path: Path, systemd: Listening
) -> None:
    given = dict.fromkeys(PROTOCOL - {"NOTIFY_SOCKET"}, "7") | told(systemd)
    web = f'enabled = true\nbind = "unix:{tmp_path}/page.sock"'
    with daemon(tmp_path, environ=given, web=web) as running, running.client() as client:
        found = client.run_background_job(PROBE, "describe_itself").result(20)["env"]
        eventually((tmp_path / "page.sock").exists)
        eventually(lambda: len(running.children()) == 2)  # one that was just forked has the daemon's own yet
        others = [environ_of(pid) for pid in running.children()]
    assert "PATH" in found
    for names in (found, *others):
        assert not PROTOCOL & {*names}


def environ_of(pid: int) -> list[str]:
    """The names of the variables that a process was started with."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return [entry.partition(b"=")[0].decode() for entry in entries if entry]
