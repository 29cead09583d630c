"""Copies all of one database into another, of whatever engine: in portions, counted and compared, in one transaction.

So the other one has all of it, or what it had before.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from bgjob.codec import to_json
from bgjobd.core.hosts import Profile
from bgjobd.host.clock import to_text
from bgjobd.store.crossing import MOVED, Crossing, Digest, Sum, sum_of
from bgjobd.store.database import NoDatabaseError, UncertainCommitError
from bgjobd.store.engines import Database, Engine
from bgjobd.store.engines.filling import Filling, filling_of
from bgjobd.store.engines.sqlite import errors_named
from bgjobd.store.migrations import STEPS
from bgjobd.store.statements.of_copies import COPYINGS, Copying
from bgjobd.store.statements.of_properties import SELECT_PROPERTY, SET_PROPERTY

_AT_ONCE: Final = 500
_OF_NO_JOB: Final = ("properties", "hosts", "changes")
"""Tables that have rows although nobody has used the database: a start writes them."""

_COUNT_OPEN: Final = "SELECT count(*) FROM job_attempts WHERE outcome IS NULL"
_JOIN: Final = """
    INSERT INTO hosts (uuid, name, boot_id, lost_after, version, schema, slots, queues, classes, term, beats, seen_at,
        left_at)
    VALUES (:uuid, :name, :boot_id, :lost_after, :version, :schema, :slots, :queues, :classes, 1, 0, :now, :now)
    RETURNING id
"""


class HostsLiveError(Exception):
    """Other hosts work from the database."""

    def __init__(self, name: str, hosts: list[str]) -> None:
        super().__init__(f"{', '.join(hosts)} works from {name}; stop the daemons of all hosts first")


class MailWaitsError(Exception):
    """What applications have sent is no job yet, and would be left behind."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"in {name} there is what applications have submitted, and no daemon has made a job of"
        )


class TargetInUseError(Exception):
    """The database that was to be filled is somebody's."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name} is not filled: {why}; name one that is empty")


class UnlikeError(Exception):
    """What was stored is not what was read; nothing of it stays."""

    def __init__(self, name: str, table: str, wanted: Sum, found: Sum) -> None:
        told = f"{found[0]:,} rows ({found[1]}) instead of {wanted[0]:,} ({wanted[1]})"
        super().__init__(f"{name} is as it was: table {table} came to {told} in it; report it")


@dataclass(frozen=True, slots=True)
class OwnHost:
    """Whose attempts go on across the move; `lost_after` in seconds, None: never."""

    uuid: str
    name: str
    boot_id: str
    version: str
    lost_after: float | None
    profile: Profile


@dataclass(slots=True)
class Moved:
    """What was copied: rows by table, attempts that have no end yet, and texts that lost a NUL by table and column.

    `is_restored`: it was a backup that had been put in the database's place, as a start takes it over.
    """

    rows: Counter[str] = field(default_factory=Counter)
    running: int = 0
    nul: Counter[str] = field(default_factory=Counter)
    is_restored: bool = False


OnProgress = Callable[[int, int], None]
"""Hears how many rows are copied, and how many there are in all."""


def move(source: Engine, target: Engine, own: OwnHost, on_progress: OnProgress) -> Moved:
    """Have all that `source` has in `target`, while no daemon works from either; the source stays as it is.

    Raises HostsLiveError, MailWaitsError, TargetInUseError, UnlikeError, UnusableDatabaseError, and as a start does.
    """
    is_restored = _prepare_source(source)
    _prepare_target(target)
    with (
        errors_named(target),
        closing(target.open_for_writing()) as writing,
        errors_named(source),
        closing(source.open_for_reading(is_patient=True)) as reading,
    ):
        filling_of(reading).take_time()
        with reading.atomic():
            moved = _Move(_Side(source, reading), _Side(target, writing), own, on_progress).carry_out()
    moved.is_restored = is_restored
    return moved


def _prepare_source(source: Engine) -> bool:
    """As a start does it, but where there is nothing; whether it is a copy that was put in its place."""
    with errors_named(source), closing(source.open_for_reading()) as database:
        if source.version(database) == 0:
            raise source.unusable("there is nothing in it")
    return source.prepare(lambda: None)


def _prepare_target(target: Engine) -> None:
    try:
        with errors_named(target), closing(target.open_for_reading()) as database:
            version = target.version(database)
    except NoDatabaseError:
        version = 0
    if version not in (0, len(STEPS)):
        raise TargetInUseError(target.name, f"its schema is of version {version}, and not of {len(STEPS)}")
    target.prepare(lambda: None)


class _Side:
    """One of the two databases, open."""

    def __init__(self, engine: Engine, database: Database) -> None:
        self.engine = engine
        self.database = database
        self.filling: Filling = filling_of(database)

    def refuse_hosts(self, own: str) -> None:
        """Raises HostsLiveError."""
        others = self.filling.others(own)
        if others:
            raise HostsLiveError(self.engine.name, others)

    def property(self, name: str) -> str | None:
        found = self.database.connection().execute(SELECT_PROPERTY, {"name": name}).fetchone()
        return None if found is None else str(found[0])

    def count(self, copying: Copying) -> int:
        return int(self.database.execute_sql(copying.total).fetchone()[0])

    def sum(self, copying: Copying) -> Sum:
        with closing(self.database.walk(copying.select, ())) as rows:
            return sum_of(copying.table, copying.columns, rows)

    def sums(self) -> dict[str, Sum]:
        return {copying.table: self.sum(copying) for copying in COPYINGS}


class _Move:
    """One move: a snapshot of the one, and a transaction of the other."""

    def __init__(self, source: _Side, target: _Side, own: OwnHost, on_progress: OnProgress) -> None:
        self._from, self._to = source, target
        self._own = own
        self._on_progress = on_progress
        self._done = 0
        self._moved = Moved()

    def carry_out(self) -> Moved:
        self._from.refuse_hosts(self._own.uuid)
        if not self._from.filling.hold():
            raise HostsLiveError(self._from.engine.name, ["a daemon that starts just now"])
        if self._from.filling.has_mail():
            raise MailWaitsError(self._from.engine.name)
        writing = self._to.database
        with errors_named(self._to.engine):
            self._to.filling.take_time()
            writing.begin_writing()
        try:
            self._fill()
            with errors_named(self._to.engine):
                writing.commit_writing()
        except UncertainCommitError as error:
            raise self._to.engine.unusable(f"nobody knows whether it has all by now ({error})") from error
        except BaseException:
            writing.roll_back()
            raise
        return self._moved

    def _fill(self) -> None:
        total = sum(self._from.count(copying) for copying in COPYINGS)
        with errors_named(self._to.engine):
            self._refuse_target()
            self._to.filling.empty()
            crossing = self._crossing()
        wanted = {copying.table: self._copy(copying, crossing, total) for copying in COPYINGS}
        counters = self._from.filling.counters()
        with errors_named(self._to.engine):
            found = self._to.sums()
            if crossing.host is not None:
                wanted["hosts"] = found["hosts"]  # its one row is of this move
            for table, one in found.items():
                if one != wanted[table]:
                    raise UnlikeError(self._to.engine.name, table, wanted[table], one)
            host = max(counters.get("hosts", 0), crossing.host or 0)
            self._to.filling.set_counters({**counters, "hosts": host})
            self._leave_word(found)
            self._moved.running = self._to.database.execute_sql(_COUNT_OPEN).fetchone()[0]
        self._moved.nul = +crossing.nul

    # Whether it may be

    def _refuse_target(self) -> None:
        name = self._to.engine.name
        if not self._to.filling.hold():
            raise TargetInUseError(name, "it is this very database, or a daemon starts with it just now")
        self._to.refuse_hosts(self._own.uuid)
        used = [one.table for one in COPYINGS if one.table not in _OF_NO_JOB and self._to.count(one)]
        if self._to.filling.has_mail():
            used = ["inbox"]
        elif self._is_unused_copy():
            used = []
        if used:
            raise TargetInUseError(name, f"it has something of its own, in {used[0]}")

    def _is_unused_copy(self) -> bool:
        """Whether an earlier move of this very database made it, and nobody has changed anything in it since."""
        word = self._to.property(MOVED)
        if word is None or self._to.property("database_id") != self._from.property("database_id"):
            return False
        told: Mapping[str, Any] = json.loads(word)["tables"]
        return all(told.get(table) == list(found) for table, found in self._to.sums().items())

    def _leave_word(self, sums: Mapping[str, Sum]) -> None:
        word = {"from": self._from.engine.name, "at": to_text(self._to.filling.now()), "tables": sums}
        self._to.database.connection().execute(SET_PROPERTY, {"name": MOVED, "value": to_json(word)})

    # What is copied

    def _crossing(self) -> Crossing:
        source, target = self._from.filling, self._to.filling
        host = self._join() if target.is_shared and not source.is_shared else None
        return Crossing(target.has_nul, loses_hosts=not target.is_shared, host=host)

    def _join(self) -> int:
        """The id of this host, which has left, until its daemon starts: what runs is to be somebody's."""
        own = self._own
        row = {
            "uuid": own.uuid,
            "name": own.name,
            "boot_id": own.boot_id,
            "lost_after": own.lost_after,
            "version": own.version,
            "schema": len(STEPS),
            "slots": own.profile.slots,
            "queues": to_json(own.profile.queues),
            "classes": to_json(own.profile.classes),
            "now": to_text(self._to.filling.now()),
        }
        return int(self._to.database.connection().execute(_JOIN, row).fetchone()[0])

    def _copy(self, copying: Copying, crossing: Crossing, total: int) -> Sum:
        """The table's rows, as the target can have them; what these come to."""
        wanted = Digest()
        crossed = crossing.of_table(copying.table, copying.columns)
        with closing(self._from.database.walk(copying.select, ())) as rows:
            while portion := list(islice(rows, _AT_ONCE)):
                kept = [row for row in map(crossed, portion) if row is not None]
                with errors_named(self._to.engine):
                    self._to.database.connection().executemany(copying.insert, kept)
                for row in kept:
                    wanted.add(row)
                self._moved.rows[copying.table] += len(kept)
                self._done += len(portion)
                self._on_progress(self._done, total)
        return wanted.sum
