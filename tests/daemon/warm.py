"""`bgjobd` and `bgjob` without the imports, most of the time that a start takes: forked from a process that has them.

What is forked is as `python -m bgjobd` or `python -m bgjob` is at the call of `main`, with the commands imported that
most tests run, which `main` does for the one that is called, and a new database is a copy. It has nothing open but the
standard streams, and is one thread. Only its command line, in /proc, is another's. As a program this file is that
process. `programs` is for who calls them by name, as a shell does.
"""

from __future__ import annotations

import atexit
import gc
import marshal
import os
import select
import selectors
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from peewee import SqliteDatabase

_AT_START: Final = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "GLIBC_")
"""How variables begin that an interpreter reads when it starts, and a forked one has read already."""

_MOST: Final = 1 << 20


class Process:
    """As a `subprocess.Popen`: the program with these arguments, which first runs the statements in `changes`."""

    def __init__(
        self,
        arguments: Sequence[str],
        environ: Mapping[str, str] = os.environ,
        changes: str = "",
        stdout: int = 1,
        stderr: int = 2,
        stdin: int | None = None,
        program: str = "bgjobd",
    ) -> None:
        self.args = [program, *arguments]
        self.returncode: int | None = None
        self._lock = threading.Lock()
        self._ends, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = {
            "program": program,
            "arguments": list(arguments),
            "environ": dict(environ),
            "changes": changes,
            "directory": os.getcwd(),
            "umask": _umask(),
        }
        with other:
            door = _door()
            streams = [stdout, stderr] if stdin is None else [stdout, stderr, stdin]
            socket.send_fds(door, [marshal.dumps(request)], [other.fileno(), *streams])
        self.pid = int(self._ends.recv(64))

    def poll(self) -> int | None:
        """The exit code, or minus the signal; None while it runs."""
        with self._lock:
            if self.returncode is None and select.select([self._ends], [], [], 0)[0]:
                self.returncode = int(self._ends.recv(64))
        return self.returncode

    def __del__(self) -> None:
        self._ends.close()  # not before, for another thread may wait there

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None and not select.select([self._ends], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        code = self.poll()
        assert code is not None
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(
    arguments: Sequence[str],
    environ: Mapping[str, str] = os.environ,
    timeout: float = 50.0,
    given: str = "",
    program: str = "bgjobd",
    changes: str = "",
) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` with what it says captured as text; `given` is what it can read, `changes` is of Process."""
    file = tempfile.TemporaryFile
    with file("w+") as out, file("w+") as err, file("w+") as source:
        source.write(given)
        source.seek(0)
        streams = {"stdin": source.fileno(), "stdout": out.fileno(), "stderr": err.fileno()}
        process = Process(arguments, environ, changes, program=program, **streams)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, code, _all_of(out), _all_of(err))


def _all_of(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def is_able(environ: Mapping[str, str]) -> bool:
    """Whether nothing in this environment is for an interpreter that starts."""
    return all(
        environ.get(name) == os.environ.get(name)
        for name in {*environ, *os.environ}
        if name.startswith(_AT_START)
    )


def _umask() -> int:
    os.umask(umask := os.umask(0))
    return umask


_doors: dict[int, socket.socket] = {}


def _door() -> socket.socket:
    """Where one asks the process that forks; it is started at the first call, and ends with this process."""
    if os.getpid() not in _doors:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MOST)
        with its:
            process = _started(os.environ, its)
        _doors[os.getpid()] = ours
        atexit.register(_close, process, ours)
    return _doors[os.getpid()]


def _started(environ: Mapping[str, str], *doors: socket.socket) -> subprocess.Popen[bytes]:
    numbers = [door.fileno() for door in doors]
    return subprocess.Popen(
        [sys.executable, __file__, *map(str, numbers)],
        env=environ,
        pass_fds=numbers,
        stdin=subprocess.DEVNULL,
        stdout=numbers[0],  # nothing that a position is known of, for what is forked may have a pipe there
        process_group=0,  # Ctrl-C is for who runs the tests, who then stops what was forked
    )


def _close(process: subprocess.Popen[bytes], door: socket.socket) -> None:
    door.close()
    process.wait(20)


@contextmanager
def programs(directory: Path, environ: Mapping[str, str], changes: str = "") -> Iterator[Path]:
    """A directory with a `bgjobd` and a `bgjob` that have themselves forked, for as long as this lasts, and first run
    the statements in `changes`. Who calls them has those variables that an interpreter reads when it starts as they are
    here.
    """
    directory.mkdir()
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(str(directory / "door"))
        process = _started(environ, its, door)
    for name in ("bgjobd", "bgjob"):
        (directory / name).write_text(
            _CALLING.format(python=sys.executable, door=f"{directory}/door", name=name, changes=changes)
        )
        (directory / name).chmod(0o755)
    try:
        yield directory
    finally:
        _close(process, ours)


# Without `socket` and `site`, to import which takes most of such a start.
_CALLING: Final = """#!{python} -IS
import _socket, marshal, os, sys

ours, its = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
os.umask(umask := os.umask(0))
request = {{
    "program": "{name}", "arguments": sys.argv[1:], "environ": dict(os.environ), "changes": {changes!r},
    "directory": os.getcwd(), "umask": umask,
}}
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (its.fileno(), 1, 2, 0))
door = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)]
door.sendmsg([marshal.dumps(request)], rights, 0, {door!r})
its.close()
ours.recv(64)
code = int(ours.recv(64))
os._exit(code if code >= 0 else 128 - code)
"""


# The process that forks


def _serve(*doors: socket.socket) -> dict[str, Any]:
    """Fork for whoever asks, and say how each ended. It returns in those forked, with what was asked for."""
    events = selectors.DefaultSelector()
    for door in doors:
        events.register(door, selectors.EVENT_READ, door)
    told: dict[int, tuple[int, socket.socket]] = {}
    while True:
        for key, _ in events.select():
            if key.data is None:
                pid, teller = told.pop(key.fd)
                events.unregister(key.fd)
                os.close(key.fd)
                with teller, suppress(BrokenPipeError):
                    teller.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                continue
            message, descriptors, *_ = socket.recv_fds(key.data, _MOST, 4)
            if not message:
                os._exit(0)
            if (pid := os.fork()) == 0:
                asked: dict[str, Any] = marshal.loads(message)
                for number, descriptor in zip((1, 2, 0), descriptors[1:], strict=False):
                    os.dup2(descriptor, number)
                # By their objects, which else would close by and by what has their numbers then.
                for own in (*doors, events, *(teller for _, teller in told.values())):
                    own.close()
                os.closerange(3, os.sysconf("SC_OPEN_MAX"))
                os.umask(asked["umask"])
                return asked
            for descriptor in descriptors[1:]:
                os.close(descriptor)
            teller = socket.socket(fileno=descriptors[0])
            pidfd = os.pidfd_open(pid)
            events.register(pidfd, selectors.EVENT_READ)
            told[pidfd] = (pid, teller)
            teller.send(b"%d" % pid)


def _main() -> NoReturn:
    sys.path[0] = os.getcwd()
    from bgjob import command
    from bgjob.commands import follow, look, manage, screen, submit, tables, waiting_board  # noqa: F401  for later
    from bgjobd import main
    from bgjobd.commands import backup, check, check_books, prune, serve, settings, status  # noqa: F401  for later
    from bgjobd.store.engines import postgres  # noqa: F401  for later

    _copy_new_databases()
    gc.freeze()  # who looked through all that, as an interpreter does at its end, would have a copy made of it
    asked = _serve(*(socket.socket(fileno=int(number)) for number in sys.argv[1:]))
    os.environ.clear()
    os.environ.update(asked["environ"])
    os.chdir(asked["directory"])
    sys.argv[1:] = asked["arguments"]
    exec(asked["changes"], {"__name__": "__main__"})
    try:
        code: Any = {"bgjobd": main.main, "bgjob": command.main}[asked["program"]](asked["arguments"])
    except SystemExit as end:
        code = end.code
    _leave(code)


def _copy_new_databases() -> None:
    """Have a new database be a copy of one that is made here, with an id of its own: the steps of the schema are a
    third of a daemon's first start.
    """
    from bgjobd.store import database, migrations

    steps, take_steps = migrations.STEPS, migrations._take_steps
    made = sqlite3.connect(":memory:", check_same_thread=False)
    with tempfile.TemporaryDirectory(prefix="bgjobd-test-") as directory:
        database.prepare(Path(directory))
        with closing(sqlite3.connect(Path(directory, database.FILE_NAME))) as file:
            file.backup(made)

    def copy_or_take_steps(of: SqliteDatabase, version: int) -> None:
        if version > 0 or migrations.STEPS is not steps:
            take_steps(of, version)
            return
        with made:
            made.execute("UPDATE properties SET value = ? WHERE name = 'database_id'", (str(uuid.uuid4()),))
        made.backup(of.connection())

    migrations._take_steps = copy_or_take_steps


def _leave(code: Any) -> NoReturn:
    """End as an interpreter does, but for what it takes down: each page of that would be copied first."""
    if code is not None and not isinstance(code, int):
        sys.exit(code)  # a text, which it says
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as it is called at every end
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.exit(code)
    os._exit(code or 0)


if __name__ == "__main__":
    _main()
