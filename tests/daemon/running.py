"""A real daemon in a directory of its own, forked when it has been imported (`warm.py`), and stopped by its pid."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from bgjob import Client
from bgjob.errors import DaemonUnavailableError
from bgjobd.supervisor.fork_server_marks import try_mark
from tests.daemon import warm
from tests.engines import Engines, changing, rows, setting_of, tables
from tests.support import eventually

JOBS = '''
import os, signal, sys, time
from pathlib import Path


class Probe:
    """Does what its parameters say."""

    def echo(self, value=None):
        """Returns its parameter."""
        return value

    def whole(self, params):
        return sorted(params)

    def note(self, ledger, line="ran"):
        with open(ledger, "a") as book:
            book.write(f"{line} {os.getpid()}\\n")
        return os.getpid()

    def wait_for(self, path, ledger):
        """Notes its start, waits until a file is there, notes its end."""
        self.note(ledger, "start")
        while not Path(path).exists():
            time.sleep(0.01)
        self.note(ledger, "end")
        return "waited"

    def fail_until(self, marker, times):
        count = len(Path(marker).read_text()) if Path(marker).exists() else 0
        Path(marker).write_text("x" * (count + 1))
        if count < times:
            raise ValueError("no recipient")
        return count

    def fail(self, message="no recipient"):
        raise ValueError(message)

    def exit(self, code):
        sys.exit(code)

    def hard_exit(self, code):
        os._exit(code)

    def kill_itself(self, number):
        os.kill(os.getpid(), number)

    def say(self, text):
        print(text)
        print("to stderr", file=sys.stderr)

    async def echo_later(self, value):
        return value

    def sleep(self, seconds):
        time.sleep(seconds)

    def return_a_set(self):
        return {1, 2}

    def return_much(self):
        return "x" * (1024 * 1024 + 1)

    def describe_itself(self):
        targets = {}
        for name in os.listdir("/proc/self/fd"):
            try:
                targets[name] = os.readlink(f"/proc/self/fd/{name}")
            except FileNotFoundError:
                pass
        return {
            "sid": os.getsid(0), "pid": os.getpid(), "fds": targets, "env": dict(os.environ),
            "umask": os.umask(0o077), "python": sys.version.split()[0], "executable": sys.executable,
        }

    def _hidden(self):
        pass

    borrowed = os.system


class NeedsMore:
    def __init__(self, connection):
        pass

    def run(self):
        pass
'''

_MAIN = "import sys; from bgjobd import main; sys.exit(main.main(sys.argv[1:]))"

BROKEN = "raise RuntimeError('this module does not import')\n"


NO_PYDANTIC = "raise ModuleNotFoundError('the application has none', name='pydantic')\n"
"""A module of that name in an application whose methods ask for no conversion: to import pydantic is half of what the
start of a fork server takes.
"""


OWN_JOURNAL = """
import os


def descriptor():
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").endswith(".journal"):
                return int(name)
        except FileNotFoundError:
            pass
"""
"""For the source of a job that meddles with its own journal: `descriptor()` answers where it is open."""


class RunningDaemon:
    """`bgjobd serve` as a process, its directories, and a client of it."""

    def __init__(
        self,
        directory: Path,
        settings: str = "",
        app: str = "",
        environ: dict[str, str] | None = None,
        modules: dict[str, str] | None = None,
        web: str = "enabled = false",
        has_pydantic: bool = False,
    ) -> None:
        self.directory = directory
        self.socket = directory / "s.sock"
        self.spool = directory / "run" / "spool"
        self.database = directory / "state" / "bgjobd.db"
        """SQLite's file, where the daemon has one."""
        self.place: Final = Engines.at(directory / "state")
        self.log_file = directory / "log" / "background_jobs_errors.log"
        self.process: subprocess.Popen[bytes] | warm.Process | None = None
        self.changes = ""
        """Statements that it runs before it serves, so that nobody has to wait for what takes long by itself."""
        self._environ = environ or {}
        (directory / "probes.py").write_text(JOBS)
        (directory / "broken.py").write_text(BROKEN)
        if not has_pydantic:
            (directory / "pydantic.py").write_text(NO_PYDANTIC)
        for name, source in (modules or {}).items():
            (directory / f"{name}.py").write_text(source)
        self.config = directory / "bgjobd.toml"
        self.config.write_text(
            f"""
[daemon]
socket = "{self.socket}"
state_dir = "{directory}/state"
{setting_of(self.place)}runtime_dir = "{directory}/run"
log_dir = "{directory}/log"
at_stop = "leave"
slots = 4
[app]
path = ["{directory}"]
{app}
{"" if "[web]" in settings else "[web]"}
{"" if "[web]" in settings else web}
[retry]
max_retries = 1
retry_delay = 0.05
[approved]
"probes.Probe" = {{}}
"probes.NeedsMore" = {{}}
"broken.Job" = {{}}
{settings}
"""
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.process = self.spawn()
        eventually(self.answers)

    def start_with(self, environ: dict[str, str]) -> None:
        """Start it with other variables in its environment than before."""
        self._environ = environ
        self.start()

    def spawn(self) -> subprocess.Popen[bytes] | warm.Process:
        arguments, environ = ("serve", "--config", str(self.config)), os.environ | self._environ
        with (self.directory / "console").open("ab") as console:
            if warm.is_able(environ):
                return warm.Process(arguments, environ, self.changes, stderr=console.fileno())
            program = ("-c", f"{self.changes}\n{_MAIN}") if self.changes else ("-m", "bgjobd")
            return subprocess.Popen([sys.executable, *program, *arguments], env=environ, stderr=console)

    def answers(self) -> bool:
        """Whether it answers by now; raises RuntimeError where it has ended."""
        if self.process is not None and self.process.poll() is not None:
            raise RuntimeError(f"the daemon ended with {self.process.returncode}: {self.console()}")
        try:
            with self.client() as client:
                return client.stats()["pid"] == (self.process.pid if self.process else 0)
        except DaemonUnavailableError:
            return False

    def client(self) -> Client:
        return Client(str(self.socket), timeout=20.0)

    def console(self) -> str:
        return (self.directory / "console").read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait for its end; the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(20)
        self.process = None
        return code

    def fork_server(self) -> int:
        """The pid of the fork server, the daemon's only child."""
        return eventually(self.children)[0]

    def children(self) -> list[int]:
        """The pids of the daemon's children: the fork servers."""
        assert self.process is not None
        return children_of(self.process.pid)

    def spooled(self) -> list[str]:
        """The names of the files that the spool has of attempts and hooks."""
        names = (path.name for path in self.spool.iterdir())
        return sorted(name for name in names if name != "database-id" and try_mark(name) is None)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """What this statement finds in the database."""
        return rows(self.place, sql)

    def tables(self) -> dict[str, list[str]]:
        """The columns of each table, in their order."""
        return tables(self.place)

    def changing(self) -> AbstractContextManager[Any]:
        """A connection for statements that change the database behind the daemon's back, in one transaction."""
        return changing(self.place)

    def lines(self) -> list[str]:
        return self.log_file.read_text().splitlines() if self.log_file.exists() else []


@contextmanager
def daemon(
    directory: Path,
    settings: str = "",
    app: str = "",
    environ: dict[str, str] | None = None,
    modules: dict[str, str] | None = None,
    web: str = "enabled = false",
    changes: str = "",
    has_pydantic: bool = False,
) -> Iterator[RunningDaemon]:
    """A daemon that runs meanwhile, with `modules` (name → source) beside the probes; what is left is ended by pid.

    `has_pydantic` is for an application whose methods want their parameters converted, or held against types.
    """
    running = RunningDaemon(directory, settings, app, environ, modules, web, has_pydantic)
    running.changes = changes
    try:
        running.start()
        yield running
    finally:
        servers = []
        if running.process is not None:
            servers = children_of(running.process.pid)
            running.stop(signal.SIGKILL)
        end_attempts(directory / "run" / "work")
        for pid in servers:
            eventually(lambda pid=pid: not is_alive(pid))


def end_attempts(work: Path) -> None:
    """Kill whoever works in one of the attempts' directories, as who waits for a file that nobody makes any more."""
    if not work.is_dir() or not any(work.iterdir()):
        return
    for process in Path("/proc").iterdir():
        with suppress(OSError):  # it has ended, or is none
            if process.name.isdecimal() and os.readlink(process / "cwd").startswith(f"{work}/"):
                os.kill(int(process.name), signal.SIGKILL)


def children_of(pid: int | None) -> list[int]:
    """The pids of a process's children; none where it is gone."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def spares_of(server: int) -> set[int]:
    """The fork server's children that have not begun to be attempts, which lead sessions of their own."""
    found = set()
    for pid in children_of(server):
        with suppress(ProcessLookupError):
            if os.getsid(pid) == server:
                found.add(pid)
    return found


def links_of(pid: int) -> dict[int, str]:
    """Where the descriptors of a process lead."""
    found = {}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # what it has closed since
            found[int(link.name)] = os.readlink(link)
    return found


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
