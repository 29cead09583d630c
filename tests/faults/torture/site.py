"""The hosts under torture: each a station with directories of its own, all on one server, which is killed as well."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tests import postgresql
from tests.faults.torture.killer import Deed, Done
from tests.faults.torture.station import Sections, Station
from tests.postgresql import KILLABLE, USER, PostgreSQL

SLOTS: Final = 6
_BEATS: Final = 20
"""How many there are in the time after which a host counts as lost."""

_LONGEST_OUTAGE: Final = 1.0


class Host(Station):
    """One of several daemons; where a job's start has ended its fork server it is noted when."""

    _disks_of_their_own = ()

    def __init__(self, directory: Path, name: str, ledger: Path, database: str, lost_after: float) -> None:
        directory.mkdir()
        self.name, self.lost_after = name, lost_after
        self._database = database
        super().__init__(directory, ledger)

    def _of_its_own(self) -> Sections:
        return Sections(
            daemon=f'database = "{self._database}"',
            hosts=f'name = "{self.name}"\nbeat = "{self.lost_after / _BEATS}s"\nlost_after = "{self.lost_after}s"',
            retention='logs = "1d"',
            every="4s",
        )

    def poisonings(self) -> list[Done]:
        """The deaths of fork servers that are no doing of the killer's."""
        noted = self.directory / "broken.poisoned"
        times = noted.read_text().split() if noted.exists() else []
        return [Done(Deed.KILL_SERVER, float(at)) for at in times]


class Outages:
    """Crashes the server until it is told to stop, and has it there again a moment later; `done` tells when."""

    def __init__(self, server: PostgreSQL, seed: int, pause: float) -> None:
        self.done: list[float] = []
        self._server = server
        self._pause = pause
        self._chance = random.Random(f"{seed}.outages")
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._crash, name="outages")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()

    def _crash(self) -> None:
        while not self._is_over.wait(self._chance.uniform(0.2, 1.8) * self._pause):
            self.done.append(time.time())
            self._server.crash()
            self._is_over.wait(self._chance.uniform(0.0, _LONGEST_OUTAGE))
            self._server.start()


@contextmanager
def site(directory: Path, count: int, lost_after: float) -> Iterator[tuple[PostgreSQL, list[Host]]]:
    """A server, and so many hosts that have not been started; what is left of them is ended."""
    with postgresql.server(KILLABLE) as server:
        way = quote(str(server.directory), safe="")
        database = f"postgresql://{USER}@/{server.database()}?host={way}"
        hosts = [
            Host(directory / name, name, directory / "ledger", database, lost_after)
            for name in (f"web{number}" for number in range(1, count + 1))
        ]
        try:
            yield server, hosts
        finally:
            for host in hosts:
                host.stop()
            for host in hosts:
                host.end_all()
                host.close()
