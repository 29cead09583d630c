"""The daemon under torture: its directories, the supervisor that starts it again at once, and when it answered."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, NamedTuple

from bgjob import Client
from bgjob.codec import JsonObject
from bgjob.errors import BgjobError
from bgjobd.commands import process_table
from bgjobd.commands.process_table import Process
from bgjobd.config.sections import Config
from tests.daemon.running import children_of, spares_of
from tests.engines import Engines, setting_of
from tests.faults import books
from tests.faults.injecting import fill, may_mount, small_disk
from tests.support import put

SLOTS: Final = 4
SPARES: Final = 1
CLASSES: Final = ("tortured.Tortured", "tortured.Mourned", "fragile.Fragile")
DISKS: Final = {"run": "12m", "state": "160m"}
"""What is on a disk of its own, so that it can be filled; the size of each."""

SCHEDULES: Final = {
    "each": 'overlap = "allow"\nmissed = "run_all"',
    "one": 'late = "1s"',
    "row": 'late = "1s"\noverlap = "wait"\nmissed = "run_all"',
    "newest": 'late = "1s"\noverlap = "cancel"',
}
"""What their occurrences, of which there is one a second, or every few, become."""

_LOOK: Final = 0.01
_PATIENCE: Final = 30.0
_FILLER: Final = "filler"


class Sections(NamedTuple):
    """Lines of sections of the configuration, and how often each schedule makes a job."""

    daemon: str = ""
    hosts: str = ""
    retention: str = ""
    every: str = "1s"


class Station:
    """A daemon that somebody keeps running; `starts` are the seconds from each start to its first answer.

    Of two stops one leaves the attempts that run, as outside of containers, and one ends them, as in these.
    """

    is_contained = False
    lost_after = 0.0
    """Seconds after which others take over what it runs, where there are others."""
    _disks_of_their_own: tuple[str, ...] = tuple(DISKS)

    def __init__(self, directory: Path, ledger: Path | None = None) -> None:
        self.directory = directory
        self.ledger = ledger or directory / "ledger"
        self.socket = directory / "s.sock"
        self.starts: list[float] = []
        self.ends: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._at_stop = itertools.cycle(("leave", "stop"))
        self.is_wanted = False
        self._guard = threading.Lock()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self._look = threading.Event()
        self._broken = directory / "broken"
        self._disks = ExitStack()
        self._down_until = 0.0
        self.deploy()
        fragile = Path(__file__).with_name("fragile.py").read_text()
        (directory / "fragile.py").write_text(fragile)
        for name, source in books.MODULES.items():
            (directory / f"{name}.py").write_text(source)
        self.config = directory / "bgjobd.toml"
        self.config.write_text(_settings(directory, self.socket, self.ledger, self._of_its_own()))

    def _of_its_own(self) -> Sections:
        """What a station of this kind has in sections of the configuration."""
        return Sections(retention='logs = "4s"')

    @property
    def settings(self) -> Config:
        return books.settings_of(self.config)

    @property
    def pid(self) -> int | None:
        """The daemon's, while one runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def deploy(self, before: str = "") -> None:
        """Put the code of the jobs in its place, with this before it."""
        source = Path(__file__).with_name("jobs.py").read_text()
        put(self.directory / "tortured.py", f"{before}{source}")

    def client(self) -> Client:
        return Client(str(self.socket), timeout=10.0)

    def start(self) -> None:
        """Start the daemon, and from now on start it again whenever it ends."""
        if may_mount():
            for name in self._disks_of_their_own:
                self._disks.enter_context(small_disk(self.directory / name, DISKS[name]))
        self.is_wanted = True
        self._supervisor.start()

    def keep_disks(self) -> None:
        """Copy what is on disks of their own, which go with the run, for whoever looks for the cause."""
        for name in self._disks_of_their_own:
            if os.path.ismount(self.directory / name):
                shutil.copytree(self.directory / name, self.directory / f"{name}.kept", symlinks=True)

    def stop(self) -> int | None:
        """Stop the daemon for good; its exit code."""
        self.is_wanted = False
        self.signal(signal.SIGTERM)
        self._supervisor.join(_PATIENCE)
        return self.ends[-1] if self.ends else None

    def signal(self, number: int) -> bool:
        """Send the daemon a signal; False where none runs. It is our child, so the pid is its own."""
        with self._guard:
            process = self._process
            if process is None or process.poll() is not None:
                return False
            process.send_signal(number)
            return True

    def kill_daemon(self) -> bool:
        """Kill it; False where none runs."""
        return self.signal(signal.SIGKILL)

    def findings(self, archived: Sequence[JsonObject]) -> Iterator[str]:
        """What is wrong by a rule that holds for a station of this kind alone; none."""
        yield from ()

    def census(self) -> dict[int, Process]:
        """The processes that there are, by pid."""
        return process_table.take(self.directory / "run" / "spool", self.directory / "state" / "output")

    def is_answering(self) -> bool:
        try:
            with self.client() as client:
                client.ping()
        except BgjobError:
            return False
        return True

    def has_fork_server(self) -> bool:
        """Whether the daemon can run jobs."""
        try:
            with self.client() as client:
                return bool(client.classes())
        except BgjobError:
            return False

    def is_at_rest(self) -> bool:
        """Whether the daemon has the fork server that it needs, and no other any more, nor that one an attempt."""
        servers = children_of(self.pid)
        if len(servers) != 1:
            return False
        spares = spares_of(servers[0])
        return len(spares) <= SPARES and set(children_of(servers[0])) == spares

    def wait_for(self, question: Callable[[], bool]) -> None:
        """Wait until it is so, at most for a while."""
        deadline = time.monotonic() + _PATIENCE
        while not question() and time.monotonic() < deadline:
            self._look.wait(_LOOK)

    def keep_down(self, seconds: float) -> None:
        """Start no daemon for so long."""
        self._down_until = time.monotonic() + seconds

    def _supervise(self) -> None:
        while self.is_wanted:
            while self.is_wanted and time.monotonic() < self._down_until:
                self._look.wait(_LOOK)
            began = time.monotonic()
            with self._guard:
                process = self._process = self._spawn()
            if self._await_answer(process):
                self.starts.append(time.monotonic() - began)
            self.ends.append(process.wait())

    def _await_answer(self, process: subprocess.Popen[bytes]) -> bool:
        while process.poll() is None:
            if self.is_answering():
                return True
            self._look.wait(_LOOK)
        return False

    def _spawn(self) -> subprocess.Popen[bytes]:
        with (self.directory / "console").open("ab") as console:
            return subprocess.Popen(
                [sys.executable, "-m", "bgjobd", "serve", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=os.environ | {"BGJOBD_DAEMON__AT_STOP": next(self._at_stop)},
                start_new_session=True,  # Ctrl-C is for the torture, which then ends it
            )

    def break_import(self) -> None:
        """From now on a module cannot be imported."""
        self._broken.touch()

    def mend_import(self) -> None:
        self._broken.unlink(missing_ok=True)

    def is_filled(self, name: str) -> bool:
        """Fill one of the disks; False where it has none of its own."""
        if not os.path.ismount(self.directory / name):
            return False
        fill(self.directory / name / _FILLER)
        return True

    def empty(self, name: str) -> None:
        """Make room again."""
        (self.directory / name / _FILLER).unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the disks."""
        self._disks.close()

    def end_all(self) -> None:
        """End whatever of ours is left, each by its pid; a daemon too that would not stop."""
        self.signal(signal.SIGKILL)
        for pid, _ in books.marked_processes(self.directory):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _settings(directory: Path, socket: Path, ledger: Path, own: Sections) -> str:
    job = f'job = "{CLASSES[0]}::quick"\nparameters = {{ ledger = "{ledger}" }}'
    schedules = "\n".join(
        [f'[schedules.{name}]\n{job}\nevery = "{own.every}"\n{how}' for name, how in SCHEDULES.items()]
    )
    return f"""
[daemon]
socket = "{socket}"
state_dir = "{directory}/state"
{setting_of(Engines.at(directory / "state"))}runtime_dir = "{directory}/run"
log_dir = "{directory}/log"
slots = {SLOTS}
spares = {SPARES}
{own.daemon}
[hosts]
{own.hosts}
[app]
path = ["{directory}"]
{books.marked(directory)[:-1]}, TORTURE_LEDGER = "{ledger}", TORTURE_BROKEN = "{directory}/broken" }}
[web]
enabled = false
[log]
console = "text"
[retry]
max_retries = 2
crashes = false
retry_delay = 0.05
[limits]
stop_grace = 1
[retention]
{own.retention}
[queues]
default = {{ slots_per_key = 2, share = "key" }}
rated = {{ slots_per_key = 1, rate_per_key = "10/1s" }}
[approved]
"tortured.Tortured" = {{ rate = "200/1s burst 20" }}
"tortured.Mourned" = {{ max_retries = 1 }}
"fragile.Fragile" = {{}}
{schedules}
"""
