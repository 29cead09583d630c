"""A database in a directory with the ledger on it, and a clock that stands until it is moved."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

from hypothesis import settings
from peewee import SqliteDatabase

from bgjob.codec import to_json
from bgjobd.core.facts import AttemptEnded, AttemptStarted, CancelRequested, RetryRequested, Submitted
from bgjobd.core.job import Call, Ending, RetryPolicy, Usage
from bgjobd.core.planner import Lanes
from bgjobd.core.waiting import Wait, WaitKind
from bgjobd.host.clock import to_text
from bgjobd.store.committed import Claim, Committed, Stored
from bgjobd.store.database import FILE_NAME, open_for_writing
from bgjobd.store.engines import Place
from bgjobd.store.items.attempts import AttemptNotes, JobFact, StepNote, Told
from bgjobd.store.items.daemons import Look
from bgjobd.store.items.item import Item
from bgjobd.store.items.submissions import Submission
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.items.wishes import JobRequests, Signal
from bgjobd.store.ledger import Ledger
from bgjobd.store.migrations import migrate
from tests.engines import Engines, put_new_file

NOW: Final = 1_733_322_713.0
"""2024-12-04 14:31:53 UTC."""

BOOT: Final = "b0070000-0000-4000-8000-000000000001"
SUBMITTER: Final = Submitter(uid=1000, gid=1001, pid=4321)
NO_SLOTS: Final = Lanes(0)

COMPLETED: Final = Ending.completed('{"sent":1}')
FAILED: Final = Ending.failed("ValueError", "no recipient", "Traceback …", error_class="builtins.ValueError")
LOST: Final = Ending.lost("nobody saw how it ended")
USAGE: Final = Usage(max_rss=1 << 20, cpu_user=0.25, cpu_system=0.125, output_bytes=42)
STOPPED: Final = Ending.cancelled(Ending.signalled(15))

Row = dict[str, Any]


def asked(**given: Any) -> Submitted:
    """A request for a job, as the api makes it; `parameters` is a mapping, `sensitive` names some of them."""
    parameters = to_json(given.pop("parameters", {}))
    class_name = given.pop("class_name", "myapp.jobs.ExampleJob")
    call = Call(class_name, given.pop("method", "run"), parameters, given.pop("sensitive", ()))
    return Submitted(**{"id": 0, "call": call, "retry_count": 0, "policy": RetryPolicy()} | given)


def submission(*jobs: Submitted) -> Submission:
    return Submission(jobs, SUBMITTER)


def ends(
    job_id: int,
    ending: Ending,
    number: int = 1,
    at: float = NOW,
    usage: Usage | None = None,
    seconds: float | None = None,
    oom_kills: int = 0,
) -> JobFact:
    return JobFact(job_id, AttemptEnded(number, ending, at, usage, oom_kills, seconds=seconds))


def starts(job_id: int, number: int = 1, pid: int = 4711, at: float = NOW) -> JobFact:
    return JobFact(job_id, AttemptStarted(number, pid, at))


def waits(
    job_id: int,
    kind: str = "signal",
    name: str = "packed",
    turn: int = 1,
    delay: float | None = None,
    until: float | None = None,
    number: int = 1,
) -> JobFact:
    """The end of an attempt that sleeps, or waits for a signal."""
    wait = Wait(WaitKind(kind), name if kind == "signal" else "", turn)
    return ends(job_id, Ending.suspended(wait, delay, until), number)


def signal(job_id: int, name: str = "packed", payload: Any = None, key: str | None = None) -> Signal:
    return Signal(job_id, None, name, to_json(payload), key, SUBMITTER)


def does(job_id: int, *notes: Told, number: int = 1, first: int = 0) -> AttemptNotes:
    """What an attempt tells, from its `first` note on."""
    return AttemptNotes(job_id, number, first, notes)


def begun(name: str, at: float = NOW) -> StepNote:
    return StepNote(at, name)


def done(name: str, result: str = "null", at: float = NOW, is_awaited: bool = False) -> StepNote:
    return StepNote(at, name, result, is_awaited)


def cancels(*job_ids: int) -> JobRequests:
    return JobRequests(job_ids, CancelRequested())


def retries(*job_ids: int) -> JobRequests:
    return JobRequests(job_ids, RetryRequested())


@contextmanager
def statements_run_on(database: SqliteDatabase) -> Iterator[list[str]]:
    """What the database runs meanwhile."""
    run: list[str] = []
    database.connection().set_trace_callback(run.append)
    yield run
    database.connection().set_trace_callback(None)


class Overheard:
    """A connection to SQLite, each of whose statements is told to `before` before it runs."""

    def __init__(self, real: Any, before: Callable[[str], None]) -> None:
        self._real = real
        self._before = before

    def execute(self, sql: str, *given: Any) -> Any:
        self._before(sql)
        return self._real.execute(sql, *given)

    def executemany(self, sql: str, *given: Any) -> Any:
        self._before(sql)
        return self._real.executemany(sql, *given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def overhear(database: SqliteDatabase, before: Callable[[str], None]) -> None:
    """Have the database's connection tell its statements; peewee's own are not told."""
    connection = Overheard(database.connection(), before)
    cast(Any, database).connection = lambda: connection


def new_database(place: Place) -> Any:
    """The writer's connection to a database that was made, or brought up to date, just now."""
    if not isinstance(place, Path):
        return place.open_for_writing()
    database = open_for_writing(place)
    migrate(database, place / FILE_NAME)
    return database


class Store:
    """One ledger; `now` moves only where a test moves it, jitter is always whole, and no commit waits for the disk."""

    def __init__(self, state_dir: Path) -> None:
        self._begin_at(Engines.at(state_dir))

    @classmethod
    def on(cls, place: Place) -> Store:
        """One on this database."""
        store = cls.__new__(cls)
        store._begin_at(place)
        return store

    def _begin_at(self, place: Place) -> None:
        self.state_dir: Any = place
        self.now = NOW
        if isinstance(place, Path) and not (place / FILE_NAME).exists():
            put_new_file(place)
        self.open()

    def open(self) -> None:
        self.database = new_database(self.state_dir)
        if isinstance(self.state_dir, Path):  # as the server does
            self.database.execute_sql("PRAGMA synchronous = off")
        self.ledger = Ledger(self.database, BOOT, jitter=lambda: 1.0)

    def close(self) -> None:
        self.database.close()

    def commit(self, *items: Item, lanes: Lanes = NO_SLOTS) -> Committed:
        return self.ledger.commit(items, lanes, self.now)

    def answer(self, item: Item) -> Any:
        """The answer to a single item, with no slot to give."""
        (answer,) = self.commit(item).answers
        return answer

    def submit(self, *jobs: Submitted) -> list[int]:
        stored: tuple[Stored, ...] = self.answer(submission(*jobs))
        return [one.id for one in stored]

    def claim(self, lanes: Lanes) -> list[Claim]:
        """What starts now."""
        return list(self.commit(Look(), lanes=lanes).claims)

    def run_one(self, **given: Any) -> int:
        """The id of a job that was submitted and whose first attempt is claimed."""
        (job_id,) = self.submit(asked(**given))
        claims = self.claim(Lanes(1000, {given.get("queue", "default"): None}))
        if [claim.job.id for claim in claims] != [job_id]:
            raise ValueError(f"the sample claimed more than job {job_id}: {claims}")
        return job_id

    def rows(self, sql: str, *values: Any) -> list[Row]:
        cursor = self.database.execute_sql(sql, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def job(self, job_id: int) -> Row:
        (row,) = self.rows("SELECT * FROM background_jobs WHERE id = ?", job_id)
        return row

    def attempts(self, job_id: int) -> list[Row]:
        return self.rows("SELECT * FROM job_attempts WHERE job_id = ? ORDER BY number", job_id)

    def messages(self, job_id: int) -> list[str]:
        rows = self.rows("SELECT message FROM job_logs WHERE job_id = ? ORDER BY id", job_id)
        return [row["message"] for row in rows]

    def count(self, table: str) -> int:
        return int(self.rows(f"SELECT count(*) AS number FROM {table}")[0]["number"])


def examples_on(engine: str) -> settings:
    """How many there are of a property: fewer of a server, where each takes ten times as long."""
    few = settings().max_examples // 5
    return settings(
        deadline=None, derandomize=True, **({"max_examples": few} if engine == "postgresql" else {})
    )


@contextmanager
def store_of_an_example() -> Iterator[Store]:
    """One that is gone afterwards: for an example of a property, of which a test has many."""
    with tempfile.TemporaryDirectory() as name:
        store = Store(Path(name))
        yield store
        store.close()
        Engines.given_back(Path(name))


def text(at: float | None) -> str | None:
    return None if at is None else to_text(at)
