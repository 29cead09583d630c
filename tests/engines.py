"""Which database the stores and daemons of a test have: SQLite's file, or one of a server of the run's own.

`--engine postgresql` has all of them on PostgreSQL, but for what `OF_SQLITE` names, with why. Without it what `ON_BOTH`
names runs on both. A test that looks at rows, or changes them, by itself does so by `rows` and `changing`.
"""

from __future__ import annotations

import functools
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from bgjobd.store.database import FILE_NAME
from bgjobd.store.engines import Given, Place
from bgjobd.store.engines.postgres import Postgres
from bgjobd.store.engines.sqlite import engine_at
from tests.of_sqlite import OF_SQLITE
from tests.postgresql import Places

TESTS: Final = Path(__file__).resolve().parent

WITH_DATABASES: Final = ("client", "daemon", "faults", "page", "protocol", "security", "store", "systemd")
"""The folders whose tests have stores or daemons."""

ON_BOTH: Final[dict[str, tuple[str, ...]]] = {
    "client/test_steps_told.py": ("test_what_a_job_has_done_waits_for_and_was_told",),
    "client/test_with_daemon.py": (
        "test_following_a_job_ends_with_it_and_tells_all",
        "test_jobs_come_in_the_order_of_their_ends",
        "test_lists_are_filtered_and_go_on_page_by_page",
        "test_waiting_and_following_survive_a_daemon_that_is_ended",
    ),
    "daemon/test_one_job.py": (
        "test_a_failed_attempt_is_retried_after_its_delay_and_counts",
        "test_a_key_that_was_used_gives_the_same_job",
        "test_a_paused_queue_starts_nothing_and_a_waiting_job_can_be_cancelled",
        "test_many_jobs_are_stored_all_or_none",
        "test_the_log_tells_who_cancelled_retried_paused_and_resumed",
    ),
    "daemon/test_restart.py": (
        "test_an_attempt_of_another_boot_is_lost_and_retried_unless_the_spool_lasted_and_has_its_outcome",
        "test_the_next_daemon_waits_for_attempts_that_still_run",
    ),
    "daemon/test_retries.py": (
        "test_a_failed_job_that_a_person_retries_has_all_its_retries_again",
        "test_a_hook_that_was_owed_when_the_daemon_was_killed_is_called_by_the_next",
        "test_a_snooze_starts_another_attempt_later_and_spends_nothing",
    ),
    "daemon/test_reviews.py": ("test_a_daemon_that_dies_once_it_is_stored_has_the_next_call_the_hook_once",),
    "daemon/test_schedules.py": (
        "test_a_job_that_waits_for_another_of_its_schedule_says_so_until_that_has_ended",
        "test_a_schedule_is_run_by_hand_paused_or_not",
    ),
    "daemon/test_stops.py": (
        "test_a_cancel_is_carried_out_though_the_daemon_died_before_its_signal",
        "test_a_running_job_that_is_cancelled_is_ended_by_term",
    ),
    "daemon/test_unique.py": (
        "test_a_kill_loses_no_key_and_leaves_none",
        "test_what_comes_after_a_job_whose_key_is_held_comes_after_the_holder",
    ),
    "daemon/test_why.py": ("test_a_job_while_there_is_no_fork_server",),
    "daemon/test_workflows.py": (
        "test_a_cancelled_group_stops_what_runs_and_cancels_what_waits",
        "test_a_group_that_is_retried_runs_what_failed_and_then_its_callback",
        "test_a_retry_revives_at_third_hand_and_what_a_person_cancelled_stays",
    ),
    "faults/test_kills.py": (
        "test_daemon_and_fork_server_are_killed_together_while_attempts_run",
        "test_the_daemon_is_killed_while_four_attempts_run_and_each_completes_once_with_its_whole_output",
    ),
    "faults/test_step_kills.py": ("test_with_a_lost_spool_what_was_stored_stays",),
    "store/test_claims.py": (),
    "store/test_facts.py": (),
    "store/test_news.py": (),
    "store/test_notices.py": (),
    "store/test_reader.py": (),
    "store/test_submissions.py": (),
    "store/test_where.py": (),
}
"""The tests that run on both engines always, by files; all of a file that names none. They depend most on the store."""


class Engines:
    """Which place stands for a state directory in the test that runs: itself, or a database of PostgreSQL."""

    at: Callable[[Path], Place] = staticmethod(lambda directory: directory)
    copied: Callable[[Path, Path], None] = staticmethod(lambda source, target: None)
    given_back: Callable[[Path], None] = staticmethod(lambda directory: None)
    """The databases of this directory, and of those in it, are for others again."""


def copy_state(source: Path, target: Path) -> None:
    """Copy the state directory of a daemon that was stopped, with its database."""
    shutil.copytree(source, target)
    Engines.copied(source, target)


def setting_of(place: Place) -> str:
    """The line of `[daemon]` that says where the database is; none where it is in the state directory."""
    return f'database = "{place.address}"\n' if isinstance(place, Postgres) else ""


def prepared(directory: Path) -> Place:
    """The database that a daemon with this state directory is to find there, with its tables."""
    directory.mkdir(exist_ok=True)
    place = Engines.at(directory)
    engine_at(place).prepare(lambda: None)
    return place


def put_new_file(directory: Path) -> None:
    """Put the file of a new database into the directory: a copy of one made once, with an id of its own. All steps of
    the schema take thirty times as long.
    """
    made, its_id = _new_file()
    (directory / FILE_NAME).write_bytes(made.replace(its_id, str(uuid.uuid4()).encode()))


@functools.cache
def _new_file() -> tuple[bytes, bytes]:
    """One, and the id that it has."""
    with tempfile.TemporaryDirectory(prefix="bgjobd-test-") as name:
        directory = Path(name)
        engine_at(directory).prepare(lambda: None)
        ((its_id,),) = rows(directory, "SELECT value FROM properties WHERE name = 'database_id'")
        made, its_id = (directory / FILE_NAME).read_bytes(), its_id.encode()
    if made.count(its_id) != 1:
        raise ValueError("the id of the new database is not at one place of its file")
    return made, its_id


def rows(place: Place, sql: str, given: Given = ()) -> list[tuple[Any, ...]]:
    """What this statement of SQLite's finds in the database."""
    if isinstance(place, Path):
        with closing(sqlite3.connect(place / FILE_NAME, timeout=10.0)) as connection:
            return connection.execute(sql, given).fetchall()
    with closing(place.open_for_reading()) as database:
        found: list[tuple[Any, ...]] = database.execute_sql(sql, given).fetchall()
        return found


def tables(place: Place) -> dict[str, list[str]]:
    """The columns of each table, in their order."""
    if isinstance(place, Path):
        sql = (
            "SELECT m.name, c.name FROM sqlite_schema AS m, pragma_table_info(m.name) AS c "
            "WHERE m.type = 'table' ORDER BY m.name, c.cid"
        )
    else:
        sql = (
            "SELECT table_name, column_name FROM information_schema.columns "
            "JOIN information_schema.tables USING (table_schema, table_name) "
            "WHERE table_schema = 'bgjobd' AND table_type = 'BASE TABLE' ORDER BY table_name, ordinal_position"
        )
    found: dict[str, list[str]] = {}
    for table, column in rows(place, sql):
        found.setdefault(table, []).append(column)
    return found


@contextmanager
def changing(place: Place) -> Iterator[Any]:
    """A connection for statements of SQLite's, in one transaction, which the end commits."""
    if isinstance(place, Path):
        with closing(sqlite3.connect(place / FILE_NAME, timeout=10.0)) as connection, connection:
            yield connection
        return
    with closing(place.open_for_writing()) as database:
        database.begin_writing()
        yield database.connection()
        database.commit_writing()


@contextmanager
def on_postgresql(places: Places) -> Iterator[None]:
    """Stores and daemons that are made meanwhile have these databases."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engines, "at", places.at)
        patch.setattr(Engines, "copied", places.copy)
        patch.setattr(Engines, "given_back", places.take_back_below)
        yield


# What pytest asks


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """In a file that has tests for both all of them are told their engine, so that a daemon may be for several."""
    tests = ON_BOTH.get(_place(metafunc.definition.path))
    if metafunc.config.getoption("--engine") or tests is None:
        return
    engines = [pytest.param("sqlite", id=pytest.HIDDEN_PARAM)]
    if not tests or metafunc.function.__name__ in tests:
        engines.append(pytest.param("postgresql"))
    metafunc.parametrize("engine", engines, indirect=True)


def skip_what_is_of_sqlite(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of those that are to run on PostgreSQL."""
    for item in items:
        told = getattr(item, "callspec", None)
        engine = (told and told.params.get("engine")) or config.getoption("--engine")
        if engine == "postgresql" and (reason := _why_of_sqlite(item)) is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


def _why_of_sqlite(item: pytest.Item) -> str | None:
    found = OF_SQLITE.get(_place(item.path))
    if not isinstance(found, dict):
        return found
    return found.get(item.name) or found.get(getattr(item, "originalname", ""))


def _place(path: Path) -> str:
    return path.relative_to(TESTS).as_posix() if path.is_relative_to(TESTS) else ""


@pytest.fixture(scope="session")
def places(request: pytest.FixtureRequest) -> Places:
    """Databases of PostgreSQL by directories."""
    return Places(request.getfixturevalue("postgresql"))


@pytest.fixture(scope="module", autouse=True)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Which one the test's stores and daemons are on; what a module's fixture starts takes it, to be of that one."""
    name = getattr(request, "param", None) or request.config.getoption("--engine") or "sqlite"
    if name == "sqlite":
        yield name
        return
    places: Places = request.getfixturevalue("places")
    known = places.known()
    with on_postgresql(places):
        yield name
    places.take_back(known)


@pytest.fixture(autouse=True)
def databases_of_the_test(request: pytest.FixtureRequest, engine: str) -> Iterator[None]:
    """Those of the test's own directory are for the next; others may be of a daemon that stays for its module."""
    if engine == "sqlite" or "tmp_path" not in request.fixturenames:
        yield
        return
    places: Places = request.getfixturevalue("places")
    own: Path = request.getfixturevalue("tmp_path")
    yield
    places.take_back_below(own)
