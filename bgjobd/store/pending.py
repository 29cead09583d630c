"""The jobs that wait in the file, one after the other, and the newest times in it; for who looks at it from outside.

On a connection that cannot write, of any schema that this bgjobd can bring up to date.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from bgjobd.store.engines import Place
from bgjobd.store.engines.sqlite import engine_at, errors_named
from bgjobd.store.migrations import COPIED_AT, STEPS
from bgjobd.store.written import WAITING

_LATEST: Final = 1000
"""How many of the newest rows are looked at for a time in the future: ids grow with the time of submission."""

PENDING: Final = """
    SELECT id, class_name, method_name, parameters FROM background_jobs
    WHERE status = 'pending' AND finished_at IS NULL AND ready = ? ORDER BY id"""
COUNT: Final = (
    "SELECT count(*) FROM background_jobs WHERE status = 'pending' AND finished_at IS NULL AND ready = ?"
)
_READY: Final = (1, 0, WAITING)
_NEWEST: Final = f"""
    SELECT max(max(created_at), max(updated_at))
    FROM (SELECT created_at, updated_at FROM background_jobs ORDER BY id DESC LIMIT {_LATEST})"""


@dataclass(frozen=True, slots=True)
class PendingJob:
    """A job that waits, with its parameters as JSON."""

    id: int
    class_name: str
    method_name: str
    parameters: str


class Waiting:
    """Questions about what waits; from one thread, while a daemon runs or not."""

    def __init__(self, place: Place) -> None:
        """Raises SchemaTooNewError, and as every question does UnusableDatabaseError."""
        self._engine = engine_at(place)
        with errors_named(self._engine):
            self._database = self._engine.open_for_reading(is_patient=True)
            self.schema = self._engine.version(self._database)
        if self.schema > len(STEPS):
            raise self._engine.too_new(self.schema)

    def close(self) -> None:
        self._database.close()

    @property
    def is_empty(self) -> bool:
        """Whether no daemon has made its tables yet."""
        return self.schema == 0

    @property
    def is_old(self) -> bool:
        """Whether the next start has to bring it up to date."""
        return 0 < self.schema < len(STEPS)

    @property
    def is_copied_first(self) -> bool:
        """Whether that start backs it up before: a file, and no server's database."""
        return not self._engine.is_shared

    def is_copy(self) -> bool:
        """Whether the next start finds that a backup was put in the database's place."""
        return bool(self._ask("SELECT 1 FROM properties WHERE name = ?", (COPIED_AT,)))

    def count(self) -> int:
        """How many jobs wait."""
        return sum(self._ask(COUNT, (ready,))[0][0] for ready in _READY)

    def jobs(self) -> Iterator[PendingJob]:
        """Those that are due, then those that wait for their time, those last that have begun; each by their ids."""
        for ready in _READY:
            with errors_named(self._engine), closing(self._database.walk(PENDING, (ready,))) as rows:
                yield from (PendingJob(*row) for row in rows)

    def newest(self) -> str | None:
        """The latest time that a recent job was written at, as it is stored; None where there is no job."""
        latest: str | None = self._ask(_NEWEST)[0][0]
        return latest

    def _ask(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with errors_named(self._engine):
            rows: list[tuple[Any, ...]] = self._database.execute_sql(statement, values).fetchall()
        return rows
