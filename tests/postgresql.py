"""A PostgreSQL server of the test run's own, as the database of an application: on a socket in a temporary directory,
without durability, for it does not outlive the run. No rule of the product is here.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from pwd import getpwnam
from typing import Any, Final

import pytest

from tests.support import eventually, needed

USER: Final = "shop"
"""Of the server's databases: its superuser, who needs no password at the socket."""

_SETTINGS: Final = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "max_connections": "40",
    "shared_buffers": "16MB",
}


class PostgreSQL:
    """`directory` is where its socket is, the `host` of a connection; each database that is asked for is a new one."""

    def __init__(self, directory: Path, programs: Path) -> None:
        self.directory = directory
        self._programs = programs
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._as = _somebody() if os.getuid() == 0 else {}

    def start(self) -> None:
        """Start it, the first time with what it needs on the disk, and wait until it answers."""
        data = self.directory / "data"
        with (self.directory / "log").open("ab") as log:
            if not data.exists():
                words = ("--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", f"--username={USER}")
                self._run("initdb", *words, f"--pgdata={data}", stdout=log, stderr=log).wait()
            words = (f"-c{name}={value}" for name, value in _SETTINGS.items())
            self._process = self._run(
                "postgres", f"-D{data}", f"-k{self.directory}", *words, stdout=log, stderr=log
            )
        eventually(self.answers)

    def answers(self) -> bool:
        """Whether it answers by now; raises RuntimeError where it has ended."""
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError((self.directory / "log").read_text())
        import psycopg  # here, for most tests want none of it

        try:
            psycopg.connect(self.dsn("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """End it at once, whoever is connected."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(20)
            self._process = None

    def dsn(self, name: str) -> str:
        """What leads to a database of it."""
        return f"host={self.directory} user={USER} dbname={name}"

    def database(self) -> str:
        """The name of a new, empty database."""
        import psycopg

        name = f"shop{next(self._numbers)}"
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return name

    def _run(self, program: str, *arguments: str, **streams: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self._programs / program, *arguments], cwd=self.directory, **streams, **self._as
        )


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """One for all tests of the process."""
    programs = _programs()
    directory = Path(tempfile.mkdtemp(prefix="bgjobd-postgresql-"))
    server = PostgreSQL(directory, programs)
    if os.getuid() == 0:
        os.chown(directory, server._as["user"], server._as["group"])
    directory.chmod(0o755)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory)


def _programs() -> Path:
    """Where they are: Debian has those of each version in a directory of its own, and not in the path."""
    found = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(found, key=lambda program: int(program.parts[-3]), default=None)
    return newest.parent if newest else Path(needed("initdb")).parent


def _somebody() -> Mapping[str, Any]:
    """Who runs it where root may not: its own user, if it has one."""
    for name in ("postgres", "nobody"):
        try:
            user = getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise RuntimeError("neither postgres nor nobody is a user here, and initdb refuses root")
