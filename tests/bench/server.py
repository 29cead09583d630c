"""A PostgreSQL server of the bench's own, as durable as it comes, on a socket of its own; and what it waits for."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pwd import getpwnam
from typing import Any, Final
from urllib.parse import quote

import psycopg

_USER: Final = "bench"
_START: Final = 60.0
_LOOK: Final = 0.02
_WAITING: Final = """
    SELECT CASE WHEN state <> 'active' OR wait_event = 'ClientRead' THEN 'the daemon'
        ELSE coalesce(wait_event_type || ' ' || wait_event, 'CPU') END
    FROM pg_stat_activity WHERE application_name = 'bgjobd' AND backend_xid IS NOT NULL
"""
"""What a transaction that writes is at: the server's processors, a wait, or the daemon, whose next word it awaits."""


class Server:
    """Each database that is asked for is a new one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0

    def address(self, name: str = "postgres") -> str:
        return f"postgresql://{_USER}@/{name}?host={quote(str(self._directory), safe='')}"

    def database(self) -> str:
        """The address of a new database."""
        self._count += 1
        with psycopg.connect(self.address(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE bench{self._count}")
        return self.address(f"bench{self._count}")


def is_there() -> bool:
    """Whether this machine has the programs of a server."""
    return _programs() is not None


@contextmanager
def running(base: Path | None) -> Iterator[Server]:
    """A server that runs meanwhile, its data on a disk."""
    programs = _programs()
    if programs is None:
        raise OSError("PostgreSQL is not installed here")
    somebody: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bgjobd-bench-", dir=base or "/var/tmp") as name:
        directory = Path(name)
        if os.getuid() == 0:
            user = getpwnam("postgres")
            somebody = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(directory, user.pw_uid, user.pw_gid)
        directory.chmod(0o755)
        init = [programs / "initdb", "--auth=trust", "--encoding=UTF8", "--no-locale", f"--username={_USER}"]
        with (directory / "log").open("wb") as log:
            said: dict[str, Any] = {"stdout": log, "stderr": log, "cwd": directory, **somebody}
            subprocess.run([*init, f"--pgdata={directory}/data"], check=True, **said)
            serve = [programs / "postgres", f"-D{directory}/data", f"-k{directory}", "-clisten_addresses="]
            process = subprocess.Popen(serve, **said)
        try:
            _await_answer(Server(directory), process)
            yield Server(directory)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(_START)


def _await_answer(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START
    while True:
        try:
            psycopg.connect(server.address()).close()
            return
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


@contextmanager
def watched(address: str) -> Iterator[Mapping[str, int]]:
    """How often a transaction was seen at each of what it may wait for, of those of all daemons meanwhile."""
    seen: Counter[str] = Counter()
    is_over = threading.Event()

    def look() -> None:
        with psycopg.connect(address, autocommit=True) as connection:
            while not is_over.wait(_LOOK):
                seen.update(name for (name,) in connection.execute(_WAITING).fetchall())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()


def _programs() -> Path | None:
    """Debian has those of each version in a directory of its own, and not in the path."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    newest = max(found, key=lambda program: int(program.parts[-3]), default=None)
    in_path = shutil.which("initdb")
    return newest.parent if newest else Path(in_path).parent if in_path else None
