"""A PostgreSQL of its own, and several hosts that work from it on one machine, each behind a proxy."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import psycopg

from bgjob import Client
from bgjobd.config import loading
from bgjobd.config.sections import Config
from tests.daemon.running import RunningDaemon, daemon
from tests.faults import books
from tests.postgresql import USER, PostgreSQL, server
from tests.proxy import Proxy, proxied

LOST_AFTER: Final = 6.0
GRACE: Final = 1.0
SLOTS: Final = 6
OFTEN: Final = "partitioned.Often"
ONCE: Final = "partitioned.Once"

_DURABLE: Final = {"synchronous_commit": "on", "autovacuum": "on"}
"""What is committed outlives a server that is killed, while the machine goes on."""

_SETTINGS: Final = f"""
"{OFTEN}" = {{ max_retries = 50 }}
"{ONCE}" = {{ retry_lost = false, max_retries = 0 }}
[limits]
stop_grace = "{GRACE:g}s"
[hosts]
beat = "1s"
lost_after = "{LOST_AFTER:g}s"
"""
_PATIENCE: Final = 5.0
_OURS: Final = "SELECT pid FROM pg_stat_activity WHERE application_name = 'bgjobd'"


class Host:
    """A daemon, the proxy between it and the server, and what only its own directory can tell."""

    def __init__(self, name: str, running: RunningDaemon, proxy: Proxy, address: str) -> None:
        self.name = name
        self.running = running
        self.proxy = proxy
        environ = {"BGJOBD_DAEMON__DATABASE": address}
        self.settings: Config = loading.load(running.config, environ, is_root=False)

    @property
    def pid(self) -> int:
        assert self.running.process is not None
        return self.running.process.pid

    def client(self) -> Client:
        return Client(str(self.running.socket), timeout=_PATIENCE)

    def signal(self, *numbers: int, with_servers: bool = False) -> None:
        """Send the daemon these, and its fork servers too."""
        pids = [self.pid, *(self.running.children() if with_servers else ())]
        for number in numbers:
            for pid in pids:
                os.kill(pid, number)

    def start(self) -> None:
        """Start a daemon, in the place of one that has ended; it may not answer yet."""
        assert self.running.process is not None
        self.running.process.wait(20)
        self.running.process = self.running.spawn()

    def why_ended(self) -> str | None:
        """What a daemon said that has ended by itself; None while it runs."""
        process = self.running.process
        if process is None or process.poll() is None:
            return None
        return f"the daemon of {self.name} ended with {process.returncode}: {self.running.console()[-500:]}"


class Site:
    """All of it; `rows` asks the database, whatever is done to the hosts."""

    def __init__(self, database: PostgreSQL, name: str, ledger: Path) -> None:
        self.database = database
        self.ledger = ledger
        self.hosts: list[Host] = []
        self._dsn = database.dsn(name)

    def rows(self, sql: str) -> list[Any]:
        with psycopg.connect(self._dsn, options="-csearch_path=bgjobd", autocommit=True) as connection:
            return connection.execute(sql).fetchall()

    def client(self, chance: random.Random) -> Client:
        """Of any host."""
        return chance.choice(self.hosts).client()

    def end_a_session(self, chance: random.Random) -> None:
        """Have the server end one of the daemons' sessions."""
        found = self.rows(_OURS)
        if found:
            self.rows(f"SELECT pg_terminate_backend({chance.choice(found)[0]})")

    def others(self, host: Host) -> Sequence[Host]:
        return [one for one in self.hosts if one is not host]

    def is_lost(self, host: Host) -> bool:
        return bool(self.rows(f"SELECT 1 FROM hosts WHERE name = '{host.name}' AND lost_at IS NOT NULL"))

    def beats(self) -> dict[str, tuple[int, int]]:
        """Of each host that counts: in which term it is, and how often it has beaten."""
        return {
            name: (term, beats)
            for name, term, beats in self.rows("SELECT name, term, beats FROM hosts WHERE lost_at IS NULL")
        }

    def owes(self) -> bool:
        """Whether something of a lost host's is not settled yet."""
        return bool(self.rows("""SELECT 1 FROM consequences WHERE "of" = 'host'"""))


@contextmanager
def site(directory: Path, count: int) -> Iterator[Site]:
    """So many hosts at a new database, as long as they are wanted."""
    with ExitStack() as stack:
        database = stack.enter_context(server(_DURABLE))
        name = database.database()
        made = Site(database, name, directory / "ledger")
        for number in range(1, count + 1):
            proxy = stack.enter_context(proxied(database.directory))
            made.hosts.append(stack.enter_context(_host(directory, f"web{number}", proxy, made, name)))
        yield made


@contextmanager
def _host(directory: Path, name: str, proxy: Proxy, made: Site, database: str) -> Iterator[Host]:
    own = directory / name
    own.mkdir()
    environ = {
        "BGJOBD_DAEMON__DATABASE": _address(proxy.directory, database),
        "BGJOBD_DAEMON__SLOTS": str(SLOTS),
        "BGJOBD_HOSTS__NAME": name,
    }
    modules = {**books.MODULES, "partitioned": Path(__file__).with_name("jobs.py").read_text()}
    with daemon(own, _SETTINGS, books.marked(own), environ=environ, modules=modules) as running:
        host = Host(name, running, proxy, _address(made.database.directory, database))
        try:
            yield host
        finally:
            with suppress(OSError, AssertionError):
                host.signal(signal.SIGCONT, with_servers=True)
            proxy.resume()
            proxy.mend()


def _address(server: Path, name: str) -> str:
    return f"postgresql://{USER}@/{name}?host={quote(str(server), safe='')}"
