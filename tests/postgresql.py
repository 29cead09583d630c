"""A PostgreSQL server of the test run's own, as the database of an application, or of a daemon: on a socket in a
temporary directory, without durability, for it does not outlive the run. No rule of the product is here.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path
from pwd import getpwnam
from typing import IO, Any, Final
from urllib.parse import quote

import pytest

from bgjobd.store.engines.postgres import Postgres
from tests.support import eventually, needed

USER: Final = "shop"
"""Of the server's databases: its superuser, who needs no password at the socket."""

_TEMPLATE: Final = "bgjobd_template"

_EMPTYING: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    """
    DO $$ DECLARE every text; BEGIN
        SELECT string_agg(format('bgjobd.%I', tablename), ', ') INTO every FROM pg_tables
        WHERE schemaname = 'bgjobd' AND tablename NOT IN ('properties', 'schema_version');
        EXECUTE 'TRUNCATE ' || every;
    END $$
    """,
    "DELETE FROM bgjobd.properties WHERE name <> 'database_id'",
    "ALTER SEQUENCE bgjobd.job_ids RESTART",
    "ALTER SEQUENCE bgjobd.group_ids RESTART",
    "ALTER SEQUENCE bgjobd.host_ids RESTART",
    "ALTER SEQUENCE bgjobd.error_ids RESTART",
)

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

    def __init__(self, directory: Path, programs: Path, shared: Path | None = None) -> None:
        self.directory = directory
        self._shared = shared
        self._programs = programs
        self._process: subprocess.Popen[bytes] | None = None
        self.numbers = itertools.count(1)
        self._has_template = False
        self._as = _somebody() if os.getuid() == 0 else {}

    def start(self) -> None:
        """Start it, the first time with what it needs on the disk, and wait until it answers."""
        data = self.directory / "data"
        with (self.directory / "log").open("ab") as log:
            if not data.exists():
                self._make(data, log)
            words = (f"-c{name}={value}" for name, value in _SETTINGS.items())
            self._process = self._run(
                "postgres", f"-D{data}", f"-k{self.directory}", *words, stdout=log, stderr=log
            )
        eventually(self.answers)

    def _make(self, data: Path, log: IO[bytes]) -> None:
        """Copying it takes a tenth of making it."""
        if self._shared is None:
            self._make_anew(data, log)
            return
        with (self._shared / "postgresql.lock").open("w") as lock:
            flock(lock, LOCK_EX)
            if not (made := self._shared / "postgresql").exists():
                self._make_anew(data, log)
                made, data = data, made
            subprocess.run(["cp", "-a", made, data], check=True)

    def _make_anew(self, data: Path, log: IO[bytes]) -> None:
        words = ("--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", f"--username={USER}")
        self._run("initdb", *words, f"--pgdata={data}", stdout=log, stderr=log).wait()

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

    def address(self, name: str) -> str:
        """The same, as `[daemon] database` takes it."""
        return f"postgresql://{USER}@/{name}?host={quote(str(self.directory), safe='')}"

    def database(self) -> str:
        """The name of a new, empty database."""
        name = f"shop{next(self.numbers)}"
        self._create(name)
        return name

    def with_schema(self, name: str) -> str:
        """What leads to a new database of this name that has the tables of a daemon: a copy of one made once."""
        if not self._has_template:
            self._create(_TEMPLATE)
            Postgres(self.dsn(_TEMPLATE)).prepare(lambda: None)
            self._has_template = True
        import psycopg

        self._create(name, f"TEMPLATE {_TEMPLATE}")
        with psycopg.connect(self.dsn(name)) as connection:
            connection.execute(
                "UPDATE bgjobd.properties SET value = %s WHERE name = 'database_id'", (str(uuid.uuid4()),)
            )
        return self.dsn(name)

    def copy(self, name: str, other: str) -> None:
        """Make another database like this one, which nobody is connected to."""
        self._create(other, f"TEMPLATE {name}")

    def empty(self, name: str) -> None:
        """Have a database of a daemon's be as a new one, whoever is connected: sooner done than another one made."""
        import psycopg

        with psycopg.connect(self.dsn(name), autocommit=True) as connection:
            for statement in _EMPTYING:
                connection.execute(statement)

    def _create(self, name: str, like: str = "") -> None:
        self._order(f"CREATE DATABASE {name} {like}")

    def _order(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def _run(self, program: str, *arguments: str, **streams: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self._programs / program, *arguments], cwd=self.directory, **streams, **self._as
        )


class Places:
    """Databases of the server, each for a directory that would have the file of SQLite's in it."""

    def __init__(self, server: PostgreSQL) -> None:
        self._server = server
        self._names: dict[Path, str] = {}
        self._free: list[str] = []

    def at(self, directory: Path) -> Postgres:
        """The directory's database; a new one where it has none."""
        if directory not in self._names:
            self._names[directory] = self._free.pop() if self._free else self._new()
        return Postgres(self._server.address(self._names[directory]))

    def copy(self, source: Path, target: Path) -> None:
        """Have the target's be as the source's is, to which nobody is connected."""
        self._names[target] = name = f"place{next(self._server.numbers)}"
        self._server.copy(self._names[source], name)

    def known(self) -> set[Path]:
        return set(self._names)

    def take_back(self, known: set[Path]) -> None:
        """Those that there are beside these are for others again."""
        self._take_back(self.known() - known)

    def take_back_below(self, directory: Path) -> None:
        """Those of directories in this one are for others again."""
        self._take_back({one for one in self._names if one.is_relative_to(directory)})

    def _take_back(self, directories: set[Path]) -> None:
        for directory in directories:
            name = self._names.pop(directory)
            self._server.empty(name)
            self._free.append(name)

    def _new(self) -> str:
        name = f"place{next(self._server.numbers)}"
        self._server.with_schema(name)
        return name


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    """One for all tests of the process; what it needs on the disk is made once for all processes of the run."""
    is_one_of_several = "PYTEST_XDIST_WORKER" in os.environ
    with started(tmp_path_factory.getbasetemp().parent if is_one_of_several else None) as server:
        yield server


@contextmanager
def started(shared: Path | None = None) -> Iterator[PostgreSQL]:
    """A server that runs meanwhile; with `shared` it begins with a copy of what is there, or leaves one."""
    programs = _programs()
    directory = Path(tempfile.mkdtemp(prefix="bgjobd-postgresql-"))
    server = PostgreSQL(directory, programs, shared)
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
