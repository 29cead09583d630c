"""Which database the stores and daemons of a test have: SQLite's file, or one of a server of the run's own.

`--engine postgresql` has all of them on PostgreSQL, but for what `OF_SQLITE` names, with why. Without it what `ON_BOTH`
names runs on both. A test that looks at rows, or changes them, by itself does so by `rows` and `changing`.
"""

from __future__ import annotations

import shutil
import sqlite3
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

ON_BOTH: Final = (
    *("store/test_submissions.py", "store/test_claims.py", "store/test_facts.py", "store/test_reader.py"),
    *("store/test_news.py", "store/test_notices.py", "store/test_where.py"),
)
"""The files, and tests, that run on both engines always."""


class Engines:
    """Which place stands for a state directory in the test that runs: itself, or a database of PostgreSQL."""

    at: Callable[[Path], Place] = staticmethod(lambda directory: directory)
    copied: Callable[[Path, Path], None] = staticmethod(lambda source, target: None)


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
            "WHERE table_schema = 'bgjobd' ORDER BY table_name, ordinal_position"
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
        yield


# What pytest asks


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """In a file that has tests for both all of them are told their engine, so that a daemon may be for several."""
    file = _place(metafunc.definition.path)
    named = {one for one in ON_BOTH if one.partition("::")[0] == file}
    if metafunc.config.getoption("--engine") or not named:
        return
    engines = [pytest.param("sqlite", id=pytest.HIDDEN_PARAM)]
    if named & {file, f"{file}::{metafunc.function.__name__}"}:
        engines.append(pytest.param("postgresql"))
    metafunc.parametrize("engine", engines, indirect=True)


def skip_what_is_of_sqlite(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of those that are to run on PostgreSQL."""
    for item in items:
        told = getattr(item, "callspec", None)
        engine = (told and told.params.get("engine")) or config.getoption("--engine")
        found = OF_SQLITE.get(_place(item.path))
        reason = found.get(getattr(item, "originalname", "")) if isinstance(found, dict) else found
        if engine == "postgresql" and reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


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
    """What was made for this test alone is for the next."""
    if engine == "sqlite":
        yield
        return
    places: Places = request.getfixturevalue("places")
    known = places.known()
    yield
    places.take_back(known)
