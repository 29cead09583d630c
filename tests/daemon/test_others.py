"""Two daemons that share a database: each learns of what the other commits, at once and without asking."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from queue import Queue
from typing import Any, TypeVar
from urllib.parse import quote

import psycopg
import pytest

from bgjob import Client, group, job
from bgjob.client import Job
from bgjob.errors import ScheduleNotFoundError
from bgjobd.store.engines.postgres_listening import LISTENING
from tests.daemon.running import RunningDaemon, daemon
from tests.postgresql import USER, PostgreSQL
from tests.support import eventually

T = TypeVar("T")

PROBE = "probes.Probe"
TELLING = '''
import time
from pathlib import Path
from bgjob import JobContext


class Telling:
    """Emits what it is given, one by one, and goes on once it may."""

    def __init__(self, context: JobContext):
        self.context = context

    def tell(self, values, path):
        for value in values:
            self.context.emit(value)
        while not Path(path).exists():
            time.sleep(0.01)
        self.context.emit("last")

    def log(self, name, count):
        for number in range(count):
            self.context.logger.info("%s %s", name, number)
            time.sleep(0.002)
'''

TOLD_AFTER = (
    "SELECT {} - extract(epoch FROM finished_at::timestamptz) FROM bgjobd.background_jobs WHERE id = {}"
)
LISTENER = f"""
    pid FROM pg_locks WHERE locktype = 'advisory' AND objid = {LISTENING & 0xFFFFFFFF}
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

SELDOM, OFTEN = "60s", "500ms"
AT_ONCE = 3.0
"""Seconds, on a machine that has much else to do; by themselves the daemons look when these tests are long over."""


class Pair:
    """Two daemons on one database, `here` and `there`, each with directories and a socket of its own.

    The only slot of the first is taken by a job that it runs: what is submitted here runs there.
    """

    here: Client
    there: Client
    first: Job[Any]

    def __init__(self, postgresql: PostgreSQL, directory: Path) -> None:
        self._postgresql = postgresql
        self._name = postgresql.database_with_tables()
        self._directory = directory
        self._daemons: list[RunningDaemon] = []
        self._held = 0

    @contextmanager
    def running(self, beat: str) -> Iterator[Pair]:
        with self._daemon("here", 1, beat) as one, self._daemon("there", 4, beat) as other:
            self._daemons = [one, other]
            with one.client() as self.here, other.client() as self.there:
                eventually(lambda: len(self.listeners()) == 2)
                try:
                    self.first = self.held()
                    yield self
                finally:
                    for number in range(1, self._held + 1):
                        self.path(number).touch()

    @contextmanager
    def _daemon(self, name: str, slots: int, beat: str) -> Iterator[RunningDaemon]:
        directory = self._directory / name
        directory.mkdir()
        host = quote(str(self._postgresql.directory), safe="")
        environ = {
            "BGJOBD_DAEMON__DATABASE": f"postgresql://{USER}@/{self._name}?host={host}",
            "BGJOBD_DAEMON__SLOTS": str(slots),
            "BGJOBD_HOSTS__BEAT": beat,
            "BGJOBD_HOSTS__NAME": name,
        }
        modules = {"telling": TELLING}
        with daemon(directory, '"telling.Telling" = {}', environ=environ, modules=modules) as running:
            yield running

    def held(self) -> Job[Any]:
        """A job that runs until it may go on."""
        self._held += 1
        ledger = self._directory / f"ledger-{self._held}"
        given = {"path": str(self.path(self._held)), "ledger": str(ledger)}
        job = self.here.run_background_job(PROBE, "wait_for", given)
        eventually(ledger.exists)
        return job

    def go(self, job: Job[Any]) -> None:
        """Let it go on."""
        Path(job.snapshot["parameters"]["path"]).touch()

    def path(self, name: int | str) -> Path:
        return self._directory / f"go-{name}"

    def listeners(self) -> list[int]:
        """The server's processes that serve who listens."""
        return [pid for (pid,) in self.ask(f"SELECT {LISTENER}")]

    def deafen(self) -> None:
        """Have their connections break."""
        self.ask(f"SELECT pg_terminate_backend(pid), {LISTENER}")

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._postgresql.dsn(self._name), autocommit=True) as connection:
            return connection.execute(sql).fetchall()  # type: ignore[arg-type]  # the texts are of these tests

    def lines(self, *places: int) -> list[str]:
        """What these daemons have logged, or both."""
        return [line for place in places or (0, 1) for line in self._daemons[place].lines()]


@pytest.fixture(scope="module")
def pair(postgresql: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with Pair(postgresql, tmp_path_factory.mktemp("pair")).running(SELDOM) as pair:
        yield pair
        assert [line for line in pair.lines() if "bug:" in line] == []


def meanwhile(call: Callable[[], T]) -> Callable[[], T]:
    """Have it called on another thread; gives what waits for what it comes to."""
    came: Queue[T] = Queue()
    threading.Thread(target=lambda: came.put(call()), daemon=True).start()
    return lambda: came.get(timeout=20)


def echo(client: Client, value: Any = None, **options: Any) -> Job[Any]:
    return client.run_background_job(PROBE, "echo", {"value": value}, **options)


def test_a_job_runs_where_a_slot_is_free(pair: Pair) -> None:
    began = time.monotonic()
    assert echo(pair.here, 1).result(20) == 1
    assert time.monotonic() - began < AT_ONCE


def test_a_job_that_waits_for_its_time_runs_where_a_slot_is_free_then(pair: Pair) -> None:
    began = time.monotonic()
    assert echo(pair.here, 1, delay=0.5).result(20) == 1
    assert 0.5 <= time.monotonic() - began < AT_ONCE


def test_a_wait_here_ends_when_the_job_has_ended_there(pair: Pair) -> None:
    job = pair.held()
    waited = meanwhile(lambda: (job.wait(20), time.time()))
    eventually(lambda: pair.here.get(job.id).snapshot["status"] == "running")
    pair.go(job)
    ended, at = waited()
    assert ended["status"] == "completed"
    (took,) = pair.ask(TOLD_AFTER.format(at, job.id))[0]
    assert took < AT_ONCE


def test_a_wait_for_a_group_here_ends_when_its_last_job_has_ended_there(pair: Pair) -> None:
    given = {"path": str(pair.path("group")), "ledger": str(pair.path("ledger-of-group"))}
    members = group(job(PROBE, "wait_for", given), job(PROBE, "echo", {"value": 1}))
    (both,) = pair.here.submit_flow(members).groups
    waited = meanwhile(lambda: both.wait(20))
    eventually(pair.path("ledger-of-group").exists)
    pair.path("group").touch()
    assert waited()["completed"] == 2


def test_who_follows_the_log_has_each_entry_once_in_the_order_of_ids(pair: Pair) -> None:
    with pair.here.follow_logs(limit=0) as followed:
        heard = meanwhile(lambda: [next(followed)["id"] for _ in range(40)])
        for number in range(10):
            echo(pair.there if number % 2 else pair.here, number).result(20)
        ids = heard()
    assert ids == list(range(ids[0], ids[0] + 40))


def test_who_follows_at_either_has_what_both_commit_at_the_same_time_in_one_order(pair: Pair) -> None:
    with ExitStack() as stack:
        pair.go(pair.first)
        pair.first.wait(20)
        followed = [stack.enter_context(client.follow_logs(limit=0)) for client in (pair.here, pair.there)]
        heard = [meanwhile(partial(ids_up_to_the_ends_of, 2, one)) for one in followed]
        for client, name in ((pair.here, "h"), (pair.there, "t")):
            client.run_background_job("telling.Telling", "log", {"name": name, "count": 300})
        here, there = [wait() for wait in heard]
        pair.first = pair.held()
    assert here == there == list(range(here[0], here[-1] + 1))

    def said() -> list[bool]:
        return [f"{name} 299" in "\n".join(pair.lines(place)) for place in (0, 1) for name in "ht"]

    eventually(lambda: said() == [True, False, False, True])


def ids_up_to_the_ends_of(jobs: int, followed: Iterator[dict[str, Any]]) -> list[int]:
    """The ids of the entries until so many jobs have ended."""
    found, ended = [], 0
    while ended < jobs:
        entry = next(followed)
        found.append(entry["id"])
        ended += entry["message"] == "Background job completed processing"
    return found


def test_what_is_cancelled_here_is_stopped_there(pair: Pair) -> None:
    job = pair.held()
    began = time.monotonic()
    pair.here.cancel(job.id)
    assert pair.there.wait(job.id, 20)["status"] == "cancelled"
    assert time.monotonic() - began < AT_ONCE


def test_who_watches_here_hears_of_what_happens_there(pair: Pair) -> None:
    job = pair.held()
    with pair.here.watch(job.id) as watched:
        assert next(watched)["status"] == "running"
        pair.go(job)
        assert [summary["status"] for summary in watched][-1] == "completed"


def test_who_follows_the_log_of_one_job_here_is_done_when_that_has_ended_there(pair: Pair) -> None:
    job = pair.held()
    with pair.here.follow_logs(id=job.id) as followed:
        heard = [next(followed)["message"]]
        pair.go(job)
        heard += [entry["message"] for entry in followed]
    assert heard[-1] == "Background job completed processing"
    assert len(heard) == len(set(heard)) == len(pair.there.logs(id=job.id).items)


def test_values_that_are_emitted_there_are_told_here_each_once(pair: Pair, tmp_path: Path) -> None:
    given = {"values": [1, 2, 3], "path": str(tmp_path / "go")}
    job = pair.here.run_background_job("telling.Telling", "tell", given)
    with pair.here.follow_values(job.id) as followed:
        assert [next(followed).value for _ in range(3)] == [1, 2, 3]
        (tmp_path / "go").touch()
        assert [told.value for told in followed] == ["last"]


def test_a_queue_that_goes_on_has_its_jobs_run_wherever_a_slot_is_free(pair: Pair) -> None:
    pair.here.pause()
    job = echo(pair.here, 1)
    assert pair.there.get(job.id).snapshot["status"] == "pending"
    pair.here.resume()
    assert job.result(20) == 1


def test_a_schedule_that_is_put_here_is_known_there_until_it_is_deleted(pair: Pair) -> None:
    pair.here.put_schedule("here/hourly", {"job": "probes.Probe::echo", "every": "1h"})

    def run() -> int | None:
        try:
            return pair.there.run_schedule("here/hourly").id
        except ScheduleNotFoundError:
            return None

    assert eventually(run)
    pair.here.delete_schedule("here/hourly")
    eventually(lambda: run() is None)


def test_what_was_told_while_nobody_listened_is_found_by_a_look(
    postgresql: PostgreSQL, tmp_path: Path
) -> None:
    with Pair(postgresql, tmp_path).running(OFTEN) as pair:
        pair.deafen()
        assert echo(pair.here, 1).result(20) == 1
        eventually(lambda: len(pair.listeners()) == 2)
        assert echo(pair.here, 2).result(20) == 2
