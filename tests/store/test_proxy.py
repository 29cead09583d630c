"""The proxy that tests put between a daemon and its server: it loses what it is told to, and nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from tests.postgresql import USER, PostgreSQL
from tests.proxy import Lost, Proxy, proxied
from tests.support import eventually


@pytest.fixture
def proxy(postgresql: PostgreSQL) -> Iterator[Proxy]:
    with proxied(postgresql.directory) as proxy:
        yield proxy


def connected(proxy: Proxy) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(f"host={proxy.directory} user={USER} dbname=postgres", autocommit=True)


def status_of(postgresql: PostgreSQL, transaction: object) -> object:
    with psycopg.connect(postgresql.dsn("postgres"), autocommit=True) as other:
        row = other.execute("SELECT pg_xact_status(%s::text::xid8)", (transaction,)).fetchone()
        assert row is not None
        return row[0]


def asking(connection: psycopg.Connection[tuple[object, ...]], done: threading.Event) -> threading.Thread:
    def ask() -> None:
        connection.execute("SELECT 1")
        done.set()

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def begun(connection: psycopg.Connection[tuple[object, ...]]) -> object:
    connection.execute("BEGIN")
    row = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("is_prepared", [False, True], ids=["asked", "prepared"])
@pytest.mark.parametrize(("lost", "status"), [(Lost.WISH, "aborted"), (Lost.ANSWER, "committed")])
def test_a_commit_or_its_answer_is_lost_and_the_connection_with_it(
    postgresql: PostgreSQL, proxy: Proxy, lost: Lost, status: str, is_prepared: bool
) -> None:
    with connected(proxy) as connection:
        transaction = begun(connection)
        proxy.loses = lambda: lost
        with pytest.raises(psycopg.OperationalError):
            connection.execute("COMMIT", prepare=is_prepared)
    assert proxy.commits == 1
    eventually(lambda: status_of(postgresql, transaction) == status)


def test_what_is_no_commit_is_left_alone(proxy: Proxy) -> None:
    proxy.loses = lambda: Lost.ANSWER
    with connected(proxy) as connection, connection.pipeline():
        assert connection.execute("SELECT 'COMMIT', repeat('x', 200000)").fetchone() is not None
    assert proxy.commits == 0


def test_a_cut_ends_what_is_connected_and_refuses_who_comes(proxy: Proxy) -> None:
    with connected(proxy) as connection:
        proxy.cut()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError):
            connected(proxy)
    proxy.mend()
    connected(proxy).close()


def test_a_pause_holds_up_what_goes_on_afterwards(proxy: Proxy) -> None:
    with connected(proxy) as connection:
        proxy.pause()
        done = threading.Event()
        thread = asking(connection, done)
        assert not done.wait(0.05)
        proxy.resume()
        assert done.wait(10)
        thread.join()


def test_a_delay_is_of_each_message(proxy: Proxy) -> None:
    with connected(proxy) as connection:
        proxy.delay = 0.05
        done = threading.Event()
        began_at = time.monotonic()
        thread = asking(connection, done)
        assert done.wait(10)
        assert time.monotonic() - began_at >= 2 * proxy.delay
        thread.join()
