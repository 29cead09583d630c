"""A PostgreSQL server of the test run's own, as the database of an application, or of a daemon: on a socket in a
temporary directory, without durability, for it does not outlive the run. One that is killed, and is to have forgotten
nothing, is started with `KILLABLE`. No rule of the product is here.
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
from types import MappingProxyType
from typing import IO, Any, Final
from urllib.parse import quote

import pytest

from bgjobd.store.engines.postgres import Postgres
from tests.support import eventually, needed

USER: Final = "shop"
"""Of the server's databases: its superuser, who needs no password at the socket."""

_TEMPLATE: Final = "bgjobd_template"

# A TRUNCATE makes new files for a table and each of its indexes: eight times the work of deleting few rows.
_EMPTYING: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    """
    DO $$ DECLARE every text; are_large boolean; one text; BEGIN
        SELECT string_agg(format('bgjobd.%I', tablename), ', '),
            max(pg_relation_size(format('bgjobd.%I', tablename)::regclass)) > 65536 INTO every, are_large
            FROM pg_tables WHERE schemaname = 'bgjobd' AND tablename NOT IN ('properties', 'schema_version');
        IF are_large THEN EXECUTE 'TRUNCATE ' || every;
        ELSE FOREACH one IN ARRAY string_to_array(every, ', ') LOOP EXECUTE 'DELETE FROM ' || one; END LOOP;
        END IF;
    END $$
    """,
    "DELETE FROM bgjobd.properties WHERE name <> 'database_id'",
    "UPDATE bgjobd.properties SET value = gen_random_uuid()",  # which a copy has of the database that it is one of
    "ALTER SEQUENCE bgjobd.job_ids RESTART",
    "ALTER SEQUENCE bgjobd.group_ids RESTART",
    "ALTER SEQUENCE bgjobd.host_ids RESTART",
    "ALTER SEQUENCE bgjobd.error_ids RESTART",
    "ALTER SEQUENCE bgjobd.alert_ids RESTART",
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
KILLABLE: Final = _SETTINGS | {
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "autovacuum": "on",
    "max_connections": "80",
    "shared_buffers": "128MB",
}
"""What is committed is with the kernel, which outlives the server, and a server that is long at work cleans up."""


class PostgreSQL:
    """`directory` is where its socket is, the `host` of a connection; each database that is asked for is a new one."""

    def __init__(
        self,
        directory: Path,
        programs: Path,
        settings: Mapping[str, str] = MappingProxyType({}),
        shared: Path | None = None,
    ) -> None:
        self.directory = directory
        self._shared = shared
        self._programs = programs
        self._settings = {**_SETTINGS, **settings}
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
            words = (f"-c{name}={value}" for name, value in self._settings.items())
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
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """End it at once as a crash does, after which a start recovers: `pg_ctl stop -m immediate`."""
        self._end(signal.SIGQUIT)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20)
            self._process = None

    def copy(self, primary: PostgreSQL) -> None:
        """Have what this one has, and follow it once it is started."""
        words = (
            f"--dbname={primary.dsn('postgres')}",
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--no-sync",
        )
        with (self.directory / "log").open("ab") as log:
            code = self._run(
                "pg_basebackup", *words, f"--pgdata={self.directory / 'data'}", stdout=log, stderr=log
            ).wait()
        if code != 0:
            raise RuntimeError((self.directory / "log").read_text())

    def wait_for_standby(self) -> None:
        """From now on a commit is one once whoever follows has it."""
        self._order("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self._order("SELECT pg_reload_conf()")
        eventually(lambda: self._ask("SELECT sync_state = 'sync' FROM pg_stat_replication") == (True,))

    def promote(self) -> None:
        """Follow nobody any more, and take what is to be written."""
        self._order("SELECT pg_promote()")

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

    def database_with_tables(self) -> str:
        """The name of a new database that has a daemon's tables, which takes a third of making them."""
        name = f"shop{next(self.numbers)}"
        self.with_schema(name)
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

    def copy_database(self, name: str, other: str) -> None:
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

    def _ask(self, statement: str) -> tuple[Any, ...] | None:
        import psycopg

        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            return connection.execute(statement).fetchone()

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
        self._server.copy_database(self._names[source], name)

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


@contextmanager
def server(
    settings: Mapping[str, str] = MappingProxyType({}), shared: Path | None = None
) -> Iterator[PostgreSQL]:
    """One that runs meanwhile, with these settings beside those of all; with `shared` it begins with a copy of what is
    there, or leaves one.
    """
    with _placed(settings, shared) as made:
        made.start()
        yield made


@contextmanager
def standby(primary: PostgreSQL, is_awaited: bool = True) -> Iterator[PostgreSQL]:
    """One that follows this server. Where it `is_awaited` that acknowledges nothing from now on that the other has not,
    if its `synchronous_commit` is so.
    """
    with _placed() as made:
        made.copy(primary)
        made.start()
        if is_awaited:
            primary.wait_for_standby()
        yield made


@contextmanager
def _placed(
    settings: Mapping[str, str] = MappingProxyType({}), shared: Path | None = None
) -> Iterator[PostgreSQL]:
    directory = Path(tempfile.mkdtemp(prefix="bgjobd-postgresql-"))
    made = PostgreSQL(directory, _programs(), settings, shared)
    if os.getuid() == 0:
        os.chown(directory, made._as["user"], made._as["group"])
    directory.chmod(0o755)
    try:
        yield made
    finally:
        made.crash()
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    """One for all tests of the process; what it needs on the disk is made once for all processes of the run."""
    is_one_of_several = "PYTEST_XDIST_WORKER" in os.environ
    with server(shared=tmp_path_factory.getbasetemp().parent if is_one_of_several else None) as made:
        yield made


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
