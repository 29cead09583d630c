"""Application code at its worst against what stops, retries, describes and hears of it: a verdict, and no harm done."""

from __future__ import annotations

import http.server
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bgjob import ClassUnavailableError, Client, Job
from tests.daemon.running import OWN_JOURNAL, RunningDaemon, daemon, is_alive
from tests.support import eventually

HOSTILE = "odd.Hostile"

SOURCE = (
    OWN_JOURNAL
    + '''
import datetime, json, os, signal, time
from pathlib import Path
import bgjob


def place():
    own = os.fstat(descriptor())
    directory = Path(os.readlink(f"/proc/self/fd/{descriptor()}")).parent
    return next(path for path in directory.iterdir() if path.lstat().st_ino == own.st_ino)


def rewrite(**changes):
    """Put a journal in the place of this attempt's, whose first record says something else."""
    path = place()
    record = json.loads(path.read_text().splitlines()[0]) | changes
    temporary = path.with_suffix(".t")
    temporary.write_text(json.dumps(record) + "\\n")
    os.replace(temporary, path)
    return path


class Late(bgjob.Retry):
    def __init__(self):
        super().__init__("later")
        self.delay = datetime.timedelta(hours=1)


class Never(bgjob.Retry):
    delay = float("nan")

    def __init__(self):
        pass


class Raising(bgjob.Retry):
    @property
    def delay(self):
        raise RuntimeError("no delay")

    @delay.setter
    def delay(self, value):
        pass


class Liar(Exception):
    @property
    def __class__(self):
        return bgjob.Snooze


class Meta(type):
    def __getattribute__(cls, name):
        if name == "__qualname__":
            raise RuntimeError("no name")
        return super().__getattribute__(name)


class Nameless(Exception, metaclass=Meta):
    pass


ERRORS = {"late": Late, "never": Never, "raising": Raising, "liar": Liar, "nameless": Nameless}


class Hostile:
    def forge_pid(self, pid, pids):
        rewrite(pid=pid)
        Path(pids).write_text(str(os.getpid()))
        time.sleep(60)

    def forge_dates(self, at):
        path = rewrite(at=at)
        with open(path, "a") as journal:
            exit_record = {"v": 1, "type": "exit", "pid": os.getpid(), "at": at, "code": 0}
            exit_record |= {"signal": None, "usage": None}
            journal.write("\\n" + json.dumps(exit_record, separators=(",", ":")) + "\\n")
        return 1

    def unlink_and_note(self, ledger):
        place().unlink()
        with open(ledger, "a") as book:
            book.write("start\\n")
        time.sleep(60)

    def unlink_and_stay(self, pids):
        place().unlink()
        Path(pids).write_text(str(os.getpid()))
        time.sleep(60)

    def block_the_stop(self, name, pids):
        path = place().with_suffix(name)
        os.mkfifo(path)
        Path(pids).write_text(str(os.getpid()))
        time.sleep(60)

    def fill(self, line):
        journal = descriptor()
        for _ in range(80):
            os.write(journal, (line + "\\n").encode() * (100_000 // (len(line) + 1)))
        return 5

    def link_its_output(self):
        output = os.readlink("/proc/self/fd/1")
        os.unlink(output)
        os.symlink(os.path.basename(output), output)
        return 5

    def throw(self, kind):
        raise ERRORS[kind]()

    def tell_much(self, context: bgjob.JobContext):
        for number in range(5000):
            context.progress(0.5, "x" * 1000)
        return place().stat().st_size


class Hooked(Hostile):
    def failed(self, error):
        with open(os.environ["BOOK"], "a") as book:
            book.write(f"{os.getpid()}\\n")
        while not os.path.exists(os.environ["BOOK"] + ".go"):
            time.sleep(0.01)
'''
)


@pytest.fixture(scope="module")
def asked() -> Iterator[tuple[int, list[str]]]:
    """The port of an HTTP server, and the paths that it has been asked for."""
    paths: list[str] = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)

    with http.server.HTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, paths
        server.shutdown()


FETCHING = """
from typing import Annotated
from pydantic import WithJsonSchema

class Job:
    def run(self, a: Annotated[str, WithJsonSchema({"$ref": "http://127.0.0.1:PORT/x"})]):
        return a
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, asked: tuple[int, list[str]]) -> Iterator[RunningDaemon]:
    directory = tmp_path_factory.mktemp("hostile")
    app = f'env = {{ BOOK = "{directory}/book" }}'
    own = f'"{HOSTILE}" = {{ max_retries = 0, stop_grace = 0.3 }}\n"odd.Hooked" = {{ max_retries = 0 }}\n'
    own += '"fetching.Job" = {}'
    modules = {"odd": SOURCE, "fetching": FETCHING.replace("PORT", str(asked[0]))}
    with daemon(directory, own, app, {"BGJOBD_DAEMON__SLOTS": "9"}, modules, has_pydantic=True) as running:
        yield running


@pytest.fixture
def running(shared: RunningDaemon) -> Iterator[RunningDaemon]:
    """The daemon of most tests. After each, others' jobs run, nothing of its own does, and its book is gone."""
    yield shared
    with shared.client() as client:
        assert client.run_background_job("probes.Probe", "echo", {"value": 1}).result(20) == 1
        assert client.running() == []
    assert not [line for line in shared.lines() if "bug" in line]
    for book in shared.directory.glob("book*"):
        book.unlink()


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


def spooled(running: RunningDaemon, job: Job) -> list[str]:
    return [name for name in running.spooled() if name.startswith(f"{job.id}.")]


def pid_in(file: Path) -> int:
    return int(eventually(lambda: file.exists() and file.read_text()))


def test_a_forged_pid_keeps_nobody_from_stopping_the_job_nor_the_next_daemon_from_starting(
    running: RunningDaemon, client: Client, tmp_path: Path
) -> None:
    def forging(pid: int, file: Path) -> Job:
        return client.run_background_job(HOSTILE, "forge_pid", {"pid": pid, "pids": str(file)})

    forged = [-1, 0, 2**40, 1]
    stopped = [(forging(pid, tmp_path / f"stopped {pid}"), tmp_path / f"stopped {pid}") for pid in forged]
    left = [(forging(pid, tmp_path / f"left {pid}"), tmp_path / f"left {pid}") for pid in forged]
    pids = {job.id: pid_in(file) for job, file in (*stopped, *left)}
    for job, _ in stopped:
        job.cancel()
    for job, _ in stopped:
        assert job.wait(20)["status"] == "cancelled"
        assert not is_alive(pids[job.id])
    running.stop(signal.SIGKILL)
    running.start()
    for job, _ in left:
        assert client.wait(job.id, 20)["status"] == "failed"
        # Once the last of them is over, what their fork server left is ended.
        with suppress(ProcessLookupError):
            os.kill(pids[job.id], signal.SIGKILL)


@pytest.mark.parametrize("at", [9e15 - 1, -9e14, 1e12])
def test_a_forged_date_leaves_no_job_running_for_ever(client: Client, at: float) -> None:
    assert client.run_background_job(HOSTILE, "forge_dates", {"at": at}).wait(20)["finished_at"]


def test_a_job_that_removed_its_journal_runs_once_though_its_fork_server_is_killed(
    running: RunningDaemon, client: Client, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    job = client.run_background_job(
        HOSTILE, "unlink_and_note", {"ledger": str(ledger)}, max_retries=3, retry_delay=0
    )
    eventually(lambda: ledger.exists() and ledger.read_text())
    os.kill(running.fork_server(), signal.SIGKILL)
    ended = job.wait(30)
    assert [attempt["outcome"] for attempt in ended["attempts"]] == ["lost"]
    assert ledger.read_text() == "start\n"


def test_a_job_that_removed_its_journal_can_be_cancelled(client: Client, tmp_path: Path) -> None:
    job = client.run_background_job(HOSTILE, "unlink_and_stay", {"pids": str(tmp_path / "pids")})
    pid = pid_in(tmp_path / "pids")
    job.cancel()
    assert job.wait(20)["status"] == "cancelled"
    eventually(lambda: not is_alive(pid))


def test_a_job_that_removed_its_journal_has_a_timeout_all_the_same(client: Client, tmp_path: Path) -> None:
    parameters = {"pids": str(tmp_path / "pids")}
    job = client.run_background_job(HOSTILE, "unlink_and_stay", parameters, timeout=0.3)
    assert job.wait(20)["attempts"][0]["outcome"] == "timed_out"


def test_a_pipe_in_the_place_of_the_stop_reason_holds_nobody_up(
    running: RunningDaemon, client: Client, tmp_path: Path
) -> None:
    jobs = []
    for name in (".stop", ".stop.new"):
        parameters = {"name": name, "pids": str(tmp_path / name)}
        jobs.append(client.run_background_job(HOSTILE, "block_the_stop", parameters))
        pid_in(tmp_path / name)
    running.stop(signal.SIGKILL)
    running.start()
    for job in jobs:
        client.cancel(job.id)
    assert [client.wait(job.id, 20)["status"] for job in jobs] == ["cancelled"] * 2


@pytest.mark.parametrize(
    "line", ["", "1", '{"v":1}', '{"v":1,"type":"log","pid":1,"at":1,"message":"m","level":"INFO"}']
)
def test_a_journal_full_of_lines_holds_up_nobody_for_long(client: Client, line: str) -> None:
    job = client.run_background_job(HOSTILE, "fill", {"line": line})
    waits = []

    def has_ended() -> bool:
        before = time.monotonic()
        client.stats()
        waits.append(time.monotonic() - before)
        return client.get(job.id).snapshot["finished_at"] is not None

    eventually(has_ended, 50)
    assert job.result(20) == 5
    assert max(waits) < 2  # seconds, of some milliseconds that it takes: it was 20 once


def test_a_symbolic_link_in_the_place_of_its_output_costs_the_job_its_output_alone(
    running: RunningDaemon, client: Client
) -> None:
    server = running.fork_server()
    assert client.run_background_job(HOSTILE, "link_its_output").result(20) == 5
    assert running.fork_server() == server


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("late", "Late"),
        ("never", "Never"),
        ("raising", "Raising"),
        ("liar", "Liar"),
        ("nameless", "Nameless"),
    ],
)
def test_an_error_whose_class_misbehaves_is_a_failure_with_its_name(
    client: Client, kind: str, named: str
) -> None:
    (attempt,) = client.run_background_job(HOSTILE, "throw", {"kind": kind}).wait(20)["attempts"]
    assert (attempt["outcome"], attempt["error_type"]) == ("failed", named)
    assert attempt["error_class"] == f"odd.{named}"


def test_what_a_job_tells_of_itself_has_a_limit(running: RunningDaemon, client: Client) -> None:
    job = client.run_background_job(HOSTILE, "tell_much")
    assert job.result(20) < 1_500_000
    entries = running.query(f"SELECT message FROM job_logs WHERE job_id = {job.id}")
    assert len(entries) < 1100


def test_a_stop_reason_is_removed_though_the_class_has_a_hook(
    running: RunningDaemon, client: Client, tmp_path: Path
) -> None:
    (running.directory / "book.go").touch()
    parameters = {"pids": str(tmp_path / "pids")}
    job = client.run_background_job("odd.Hooked", "unlink_and_stay", parameters, timeout=0.3)
    job.wait(20)
    eventually(lambda: spooled(running, job) == [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_hook_that_runs_goes_on_when_the_daemon_is_replaced_and_is_called_once(
    running: RunningDaemon, client: Client, number: int
) -> None:
    job = client.run_background_job("odd.Hooked", "throw", {"kind": "liar"})
    job.wait(20)
    pid = pid_in(running.directory / "book")
    running.stop(number)
    running.start()
    assert is_alive(pid)
    (running.directory / "book.go").touch()
    eventually(lambda: not is_alive(pid))
    eventually(lambda: spooled(running, job) == [])
    assert (running.directory / "book").read_text() == f"{pid}\n"
    assert running.query(f"SELECT 1 FROM job_logs WHERE job_id = {job.id} AND message LIKE '%hook%'") == []


def test_a_hook_that_dies_with_its_fork_server_is_told_of(running: RunningDaemon, client: Client) -> None:
    job = client.run_background_job("odd.Hooked", "throw", {"kind": "liar"})
    job.wait(20)
    pid = pid_in(running.directory / "book")
    os.kill(running.fork_server(), signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    query = f"SELECT message FROM job_logs WHERE job_id = {job.id} AND message LIKE 'the failed hook%'"
    eventually(lambda: running.query(query))


def test_a_drain_waits_for_hooks(tmp_path: Path) -> None:
    with daemon(
        tmp_path,
        '"odd.Hooked" = { max_retries = 0 }',
        f'env = {{ BOOK = "{tmp_path}/book" }}',
        modules={"odd": SOURCE},
    ) as running:
        with running.client() as client:
            client.run_background_job("odd.Hooked", "throw", {"kind": "liar"}).wait(20)
        pid_in(tmp_path / "book")
        assert running.process is not None
        running.process.send_signal(signal.SIGQUIT)
        eventually(lambda: any("draining" in line for line in running.lines()))
        assert running.process.poll() is None
        (tmp_path / "book.go").touch()
        assert running.process.wait(20) == 0
        running.process = None


def test_the_daemon_fetches_nothing_for_a_schema(client: Client, asked: tuple[int, list[str]]) -> None:
    with pytest.raises(ClassUnavailableError, match="nothing is fetched"):
        client.run_background_job("fetching.Job", "run", {"a": "x"})
    assert asked[1] == []


def test_a_reload_mends_a_start_that_found_no_interpreter(tmp_path: Path) -> None:
    running = RunningDaemon(tmp_path, app='python = "/nowhere/python3"')
    try:
        running.start()
        running.config.write_text(running.config.read_text().replace('python = "/nowhere/python3"', ""))
        with running.client() as client:
            client.reload()
            assert client.run_background_job("probes.Probe", "echo", {"value": 3}).result(20) == 3
    finally:
        servers: list[Any] = running.children()
        running.stop(signal.SIGKILL)
        for pid in servers:
            eventually(lambda pid=pid: not is_alive(pid))
