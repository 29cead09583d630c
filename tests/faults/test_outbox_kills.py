"""An application with an outbox, and its daemon, are killed at every step between insert, commit, submit and delete."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bgjob.outbox import DDL
from tests.daemon import warm
from tests.daemon.running import RunningDaemon, daemon
from tests.faults import sales
from tests.faults.sales import JOBS, Sale
from tests.postgresql import PostgreSQL
from tests.support import eventually

_TREE = Path(__file__).parents[2]
_FEW = 8


class Shop:
    """Two processes that sell, one sale each at a time, and the database they share."""

    def __init__(self, kind: str, dsn: str, running: RunningDaemon, book: Path) -> None:
        self.kind, self.dsn, self.running, self.book = kind, dsn, running, book
        words = ["-m", "tests.faults.sales", kind, dsn, str(running.socket), str(book)]
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._tills = [
            subprocess.Popen([sys.executable, *words], cwd=_TREE, text=True, **streams)  # type: ignore[call-overload]
            for _ in range(2)
        ]

    def sell(self, both: list[Sale], meanwhile: Callable[[], object] = lambda: None) -> list[Sale]:
        """Those of the two that were killed."""
        for till, sale in zip(self._tills, both, strict=True):
            till.stdin.write(json.dumps(sale) + "\n")
            till.stdin.flush()
        meanwhile()
        killed = [json.loads(till.stdout.readline()) for till in self._tills]
        return [sale for sale, is_killed in zip(both, killed, strict=True) if is_killed]

    def reached(self, sale: Sale) -> str:
        """How far a sale has come that was killed."""
        parameters = f'%"order":{sale.order},%'
        asked = (
            f"FROM background_jobs WHERE parameters LIKE '{parameters}' AND parameters LIKE '%{self.book}%'"
        )
        has_job = bool(self.running.query(f"SELECT 1 {asked}"))
        if not self.query(f"SELECT 1 FROM orders WHERE id = {sale.order}"):
            return "not committed"
        has_row = bool(self.query(f"SELECT 1 FROM bgjob_outbox WHERE request LIKE '{parameters}'"))
        return f"{'submitted' if has_job else 'committed'}{'' if has_row else ' and deleted'}"

    def close(self) -> None:
        for till in self._tills:
            till.communicate()

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        connect = sqlite3.connect if self.kind == "sqlite" else psycopg.connect
        with closing(connect(self.dsn)) as connection:
            return connection.execute(sql).fetchall()

    def outbox(self, *words: str) -> list[str]:
        """The command line of `bgjob outbox`."""
        return ["outbox", "--socket", str(self.running.socket), "--dsn", self.dsn, *words]


@contextmanager
def shop_of(kind: str, dsn: str, running: RunningDaemon, book: Path) -> Iterator[Shop]:
    connect = sqlite3.connect if kind == "sqlite" else psycopg.connect
    with closing(connect(dsn)) as connection:
        for statement in ["CREATE TABLE orders (id integer PRIMARY KEY)", *DDL[kind].split(";\n")[:-1]]:
            connection.execute(statement)
        connection.commit()
    shop = Shop(kind, dsn, running, book)
    try:
        yield shop
    finally:
        shop.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(
        tmp_path_factory.mktemp("shop"), '"shop_jobs.Order" = {}', modules={"shop_jobs": JOBS}
    ) as running:
        yield running


@contextmanager
def watching(shop: Shop) -> Iterator[None]:
    """`bgjob outbox --watch` goes on meanwhile, whatever happens to database and daemon."""
    with (shop.book.parent / "watch").open("w") as told:
        process = warm.Process(
            shop.outbox("--watch", "--every", "50ms"),
            os.environ | {"PGAPPNAME": "watcher"},
            program="bgjob",
            stdout=told.fileno(),
            stderr=told.fileno(),
        )
        try:
            yield
            assert process.poll() is None, (shop.book.parent / "watch").read_text()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)


def sell_and_kill(shop: Shop, rounds: int, between: Callable[[], object] = lambda: None) -> Counter[str]:
    """Two sales a round, in the second half with a watcher; the daemon is killed now and then. How far those had come
    that were killed in the first half.
    """
    wanted = sales.sales(10, 2 * rounds, seed=rounds)
    shop.sell([Sale(order, True, None, False) for order in (1, 2)])

    def restart() -> None:
        shop.running.stop(signal.SIGKILL)
        shop.running.start()

    def sell(place: int) -> list[Sale]:
        is_kill = place % 20 == _FEW // 2 - 1
        return shop.sell(wanted[2 * place : 2 * place + 2], restart if is_kill else lambda: None)

    killed = Counter(shop.reached(sale) for place in range(rounds // 2) for sale in sell(place))
    with watching(shop):
        for place in range(rounds // 2, rounds):
            sell(place)
        between()
    return killed


def check(shop: Shop) -> Counter[str]:
    """Each committed order was shipped once, no other was."""
    done = warm.run(shop.outbox(), program="bgjob")
    assert done.returncode == 0, done.stderr
    assert shop.query("SELECT count(*) FROM bgjob_outbox") == [(0,)]
    open_jobs = "SELECT id FROM background_jobs WHERE status IN ('pending', 'running')"
    eventually(lambda: not shop.running.query(open_jobs))
    orders = Counter(order for (order,) in shop.query("SELECT id FROM orders"))
    like = f"%{shop.book}%"
    jobs = shop.running.query(
        f"SELECT parameters, status FROM background_jobs WHERE parameters LIKE '{like}'"
    )
    assert {status for _, status in jobs} == {"completed"}
    assert Counter(json.loads(parameters)["order"] for parameters, _ in jobs) == orders
    assert Counter(map(int, shop.book.read_text().split())) == orders
    return orders


def tell(rounds: int, killed: Counter[str], orders: Counter[int]) -> None:
    print(f"{rounds} rounds of 2 sales, {len(orders)} orders, each with one job; killed: {dict(killed)}")
    if rounds > _FEW:
        assert killed.keys() == {"not committed", "committed", "submitted", "submitted and deleted"}


ROUNDS = [_FEW, pytest.param(300, marks=[pytest.mark.long, pytest.mark.timeout(900)])]


@pytest.mark.parametrize("rounds", ROUNDS)
def test_an_application_on_sqlite_is_killed_at_any_step_and_each_committed_order_has_its_job_once(
    rounds: int, running: RunningDaemon, tmp_path: Path
) -> None:
    with shop_of("sqlite", str(tmp_path / "shop.db"), running, tmp_path / "book") as shop:
        killed = sell_and_kill(shop, rounds)
        orders = check(shop)
    tell(rounds, killed, orders)


@pytest.mark.parametrize("rounds", ROUNDS)
def test_an_application_on_postgresql_is_killed_at_any_step_and_each_committed_order_has_its_job_once(
    rounds: int, running: RunningDaemon, postgresql: PostgreSQL, tmp_path: Path
) -> None:
    def restart() -> None:
        at_work = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'watcher'"
        eventually(lambda: shop.query(at_work))  # who comes later meets no trouble
        postgresql.stop()
        postgresql.start()
        eventually(lambda: "all is well again" in (tmp_path / "watch").read_text())

    dsn = postgresql.dsn(postgresql.database())
    with shop_of("postgresql", dsn, running, tmp_path / "book") as shop:
        killed = sell_and_kill(shop, rounds, restart)
        orders = check(shop)
    tell(rounds, killed, orders)
