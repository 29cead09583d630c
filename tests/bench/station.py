"""A real daemon to measure: `bgjobd serve` in directories of its own, ended by its pid, with all of it removed."""

from __future__ import annotations

import os
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Final

import processes
from limits import SLOTS

from bgjob import Client
from bgjob.errors import DaemonUnavailableError

NOOP: Final = "bench_jobs.NoOp"
UNCONFINED: Final = (str(Path(__file__).parent / "unconfined.py"),)
"""A program in the daemon's place, whose attempts get no limits, directories or domains of their own."""

_START: Final = 30.0
_END: Final = 20.0

_JOBS: Final = '''
import time
from pathlib import Path


class NoOp:
    """Does as little as a job can."""

    def run(self):
        """Nothing."""

    def stamp(self):
        """CLOCK_MONOTONIC of its first line, in nanoseconds."""
        return time.monotonic_ns()

    def choose(self, value: list[int | str] | list[str] | None = None):
        """Takes one of several forms."""

    def hold(self, pipe):
        """Waits, without waking up, until somebody opens the named pipe for writing."""
        Path(pipe).read_bytes()
'''


DATED: Final = "bench_dates.Dated"
_DATES: Final = '''
from datetime import date


class Dated:
    """Takes what JSON lacks."""

    def run(self, on: date):
        """Nothing."""

    def plain(self, on: str):
        """Nothing, with what JSON has."""
'''


LARGE: Final = "bench_large.Application"
_LARGE: Final = '''
class Application:
    """What a framework, its plugins and an application's own modules take: 100 MiB in small objects."""

    def run(self):
        """Nothing."""

HELD = [{"name": f"object {number}", "value": [number]} for number in range(277_000)]
'''


class StationError(Exception):
    """The daemon did not do what a measurement needs."""


class Station:
    """A daemon with approved classes of those here; use `running` to make one."""

    def __init__(
        self,
        state: Path,
        runtime: Path,
        slots: int,
        program: Sequence[str],
        web: bool,
        approved: Sequence[str],
        spares: int,
        database: str,
    ) -> None:
        self._program = program
        self.state = state
        self.runtime = runtime
        self.socket = runtime / "s"
        self.client = Client(str(self.socket), timeout=60.0)
        self.fork_server = 0
        self.page = 0
        self._page_socket = runtime / "page" if web else None
        self._console = state / "console"
        self._process: subprocess.Popen[bytes] | None = None
        (state / "bench_jobs.py").write_text(_JOBS)
        (state / "bench_dates.py").write_text(_DATES)
        (state / "bench_large.py").write_text(_LARGE)
        self.config = state / "bgjobd.toml"
        self.config.write_text(
            _settings(state, runtime, self.socket, slots, self._page_socket, approved, spares, database)
        )
        self._pipe = runtime / "hold"
        os.mkfifo(self._pipe)

    @property
    def pid(self) -> int:
        if self._process is None:
            raise StationError("the daemon is not running")
        return self._process.pid

    def start(self) -> float:
        """Start the daemon, and wait until it can run jobs; the seconds until it first answered."""
        began_at = time.monotonic()
        environ = {name: value for name, value in os.environ.items() if not name.startswith("BGJOBD_")}
        with self._console.open("ab") as console:
            self._process = self._spawn(["serve", "--config", str(self.config)], environ, console)
        self._wait_for_answer()
        seconds = time.monotonic() - began_at
        for described in self.client.classes():
            if described["unavailable"] is not None:
                raise StationError(f"{described['name']} is unavailable: {described['unavailable']}")
        self.fork_server, self.page = self._parts()
        return seconds

    def _spawn(
        self, arguments: list[str], environ: dict[str, str], console: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, *self._program, *arguments],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,  # Ctrl-C is for the bench, which then ends it
        )

    def _parts(self) -> tuple[int, int]:
        """The pids of the fork server, and of the page, 0 where there is none."""
        deadline = time.monotonic() + _START
        expected = 1 if self._page_socket is None else 2
        while True:
            found = processes.children(self.pid)
            # One that was just forked has its parent's command line.
            pages = [pid for pid in found if b"bgjobd.web" in Path(f"/proc/{pid}/cmdline").read_bytes()]
            if (len(found), len(pages)) == (expected, expected - 1):
                break
            if time.monotonic() > deadline:
                raise StationError(f"the daemon has not {expected} children but {found}")
            time.sleep(0.01)
        (server,) = set(found).difference(pages)
        return server, pages[0] if pages else 0

    def forked(self, count: int) -> list[int]:
        """The pids of the fork server's children, once there are so many."""
        deadline = time.monotonic() + _START
        while len(found := processes.children(self.fork_server)) != count:
            if time.monotonic() > deadline:
                raise StationError(f"the fork server has not {count} but {found}")
            time.sleep(0.01)
        return found

    def look_at_page(self) -> None:
        """Have the page answer once, so that it holds what it needs for that."""
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(_START)
            peer.connect(str(self._page_socket))
            peer.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b""
            while more := peer.recv(65536):
                answer += more
        if b" 200 " not in answer.partition(b"\r\n")[0]:
            raise StationError(f"the page answers {answer[:100]!r}")

    def kill(self) -> None:
        """End the daemon alone, by SIGKILL: attempts go on."""
        self.client.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """End the daemon and then its fork server, by force if they do not end by themselves."""
        self.client.close()
        if self._process is None:
            return
        servers = [os.pidfd_open(pid) for pid in processes.children(self._process.pid)]
        self._process.terminate()
        try:
            self._process.wait(_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        for server in servers:
            _await_end(server)

    def _wait_for_answer(self) -> None:
        deadline = time.monotonic() + _START
        while True:
            try:
                with Client(
                    str(self.socket)
                ) as fresh:  # one that knows the daemon would wait between its tries
                    fresh.ping()
                return
            except DaemonUnavailableError as error:
                ended = self._process is not None and self._process.poll() is not None
                if ended or time.monotonic() > deadline:
                    raise StationError(f"{error}; it said: {self._console.read_text()}") from error
            time.sleep(0.001)

    def run_one(self) -> None:
        """Run one job to its end."""
        self.client.run_background_job(NOOP, "run").result(timeout=30)

    @contextmanager
    def held(self, jobs: int) -> Iterator[None]:
        """Attempts of so many jobs that do nothing but be there meanwhile."""
        holding = {"class_name": NOOP, "method_name": "hold", "parameters": {"pipe": str(self._pipe)}}
        self.client.submit_many([holding] * jobs)
        deadline = time.monotonic() + _START
        while self.client.stats()["jobs"].get("running", 0) < jobs:
            if time.monotonic() > deadline:
                raise StationError(f"of {jobs} attempts not all have begun within {_START:g} s")
            time.sleep(0.01)
        try:
            yield
        finally:
            self._let_go(jobs)

    def _let_go(self, jobs: int) -> None:
        """End the attempts that are held; what is queued behind them stays there."""
        self.client.pause()
        deadline = time.monotonic() + _END
        while self.client.stats()["jobs"].get("running", 0):
            if time.monotonic() > deadline:
                raise StationError(f"of {jobs} attempts not all have ended within {_END:g} s")
            # Whoever waits to open it goes on, and finds it at its end.
            os.close(os.open(self._pipe, os.O_RDWR))
            time.sleep(0.01)

    def add_finished(self, count: int) -> None:
        """Multiply the last finished job, with its attempts and logs; the daemon must be stopped."""
        with closing(sqlite3.connect(self.state / "bgjobd.db")) as database, database:
            (original,) = database.execute("SELECT max(id) FROM background_jobs").fetchone()
            for table, key in (("background_jobs", "id"), ("job_attempts", "job_id"), ("job_logs", "job_id")):
                _multiply(database, table, key, original, count)


@contextmanager
def running(
    state_base: Path | None,
    slots: int = SLOTS,
    program: Sequence[str] = ("-m", "bgjobd"),
    web: bool = False,
    approved: Sequence[str] = (NOOP,),
    spares: int = SLOTS,
    database: str = "",
) -> Iterator[Station]:
    """A station whose daemon runs meanwhile; its state on a disk, its runtime directory on tmpfs where there is one.

    It works from its own file, or from the `database` of a server, where it may be one of several.
    """
    shm = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(prefix="bgjobd-bench-", dir=state_base or "/var/tmp") as state,
        tempfile.TemporaryDirectory(prefix="bgjobd-bench-", dir=shm if shm.is_dir() else None) as runtime,
    ):
        station = Station(Path(state), Path(runtime), slots, program, web, approved, spares, database)
        try:
            station.start()
            yield station
        finally:
            station.stop()


def _await_end(pidfd: int) -> None:
    """Wait for the end of a process that is not our child."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if not poll.poll(_END * 1000):
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        poll.poll(_END * 1000)
    os.close(pidfd)


def _multiply(database: sqlite3.Connection, table: str, key: str, original: int, count: int) -> None:
    """Copy the rows of one job under the next `count` ids; what must be unique is made anew."""
    anew = {key: f"{key} + n.i", "idempotency_key": "lower(hex(randomblob(16)))"}
    anew["token"] = anew["idempotency_key"]
    columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
    if key != "id":
        columns = [column for column in columns if column != "id"]
    copied = ", ".join(anew.get(column, column) for column in columns)
    database.execute(
        f"WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {count}) "
        f"INSERT INTO {table} ({', '.join(columns)}) "
        f"SELECT {copied} FROM n CROSS JOIN {table} WHERE {key} = {original}"
    )


def _settings(
    state: Path,
    runtime: Path,
    socket: Path,
    slots: int,
    page: Path | None,
    approved: Sequence[str],
    spares: int,
    database: str,
) -> str:
    of_server = f'database = "{database}"\n[hosts]\nname = "{state.name}"' if database else ""
    web = "enabled = false" if page is None else f'bind = "unix:{page}"'
    return f"""
[daemon]
socket = "{socket}"
state_dir = "{state}"
runtime_dir = "{runtime}"
log_dir = "{state}/log"
slots = {slots}
spares = {spares}
{of_server}
[app]
path = ["{state}"]
[log]
console = "none"
[web]
{web}
[queues]
default = {{ max_pending = 10000000 }}
[approved]
{"".join(f'"{name}" = {{}}' + chr(10) for name in approved)}"""
