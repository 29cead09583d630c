"""An application that sells, and is killed at it: each sale is a process, which ends at a step of its own, or from
outside at any moment.

A program: `python sales.py sqlite PATH SOCKET`, or `postgresql DSN SOCKET`; it reads a sale a line and answers each.
`serve` is for the sales of other applications as well, whose interpreters have no pytest.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, NamedTuple

from bgjob.outbox import Outbox

JOBS: Final = """
import fcntl


class Order:
    def ship(self, order: int, book: str):
        with open(book, "a") as written:
            fcntl.flock(written, fcntl.LOCK_EX)
            written.write(f"{order}\\n")
"""
"""The module `shop_jobs`, whose one class writes each order that it ships into a book."""


class Sale(NamedTuple):
    """`share`: at which part of its steps it is killed, None for never; `from_outside`: of its time instead."""

    order: int
    is_committed: bool
    share: float | None
    from_outside: bool


def serve(connect: Callable[[], Any], sell: Callable[[Any, Sale], None]) -> None:
    """Sell what is asked for, line by line; the answer is whether the process was killed."""
    steps, seconds = 0, 0.0
    for line in sys.stdin:
        sale = Sale(*json.loads(line))
        begun = time.monotonic()
        found = _in_a_process(connect, sell, sale, steps, seconds)
        if found is not None and sale.share is None:
            steps, seconds = found, time.monotonic() - begun
        print(json.dumps(found is None), flush=True)


def _in_a_process(
    connect: Callable[[], Any], sell: Callable[[Any, Sale], None], sale: Sale, steps: int, seconds: float
) -> int | None:
    """How many steps it took; None where it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            last = 0 if sale.share is None or sale.from_outside else max(1, int(sale.share * steps))
            os.write(writing, str(_counted(connect(), sell, sale, last)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    if (
        sale.share is not None
        and sale.from_outside
        and not select.select([reading], [], [], sale.share * seconds)[0]
    ):
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with open(reading, "rb") as told:
        found = told.read()
    return int(found) if found and not os.WIFSIGNALED(status) else None


def _counted(connection: Any, sell: Callable[[Any, Sale], None], sale: Sale, last: int) -> int:
    """How many calls and returns, of Python and of C, the sale is; it ends at the one with this number."""
    count = 0

    def on_step(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(on_step)
    sell(connection, sale)
    sys.setprofile(None)
    return count


def main(kind: str, dsn: str, socket: str, book: str) -> None:
    """Sell by a connection and an outbox over it."""
    outbox = Outbox(socket)
    mark = "?" if kind == "sqlite" else "%s"

    def connect() -> Any:
        if kind == "sqlite":
            import sqlite3

            return sqlite3.connect(dsn, timeout=20)
        import psycopg

        return psycopg.connect(dsn)

    def sell(connection: Any, sale: Sale) -> None:
        connection.execute(f"INSERT INTO orders VALUES ({mark})", (sale.order,))
        outbox.submit(connection, "shop_jobs.Order", "ship", {"order": sale.order, "book": book})
        if sale.is_committed:
            connection.commit()
        else:
            connection.rollback()
        outbox.flush(connection)

    connect().close()  # what it imports is no step
    serve(connect, sell)


def sales(first: int, count: int, seed: int) -> list[Sale]:
    """So many, killed at steps that are spread over all of them; a quarter from outside, a fifth rolled back."""
    chance = random.Random(seed)
    shares = [(place + chance.random()) / count for place in range(count)]
    chance.shuffle(shares)
    return [
        Sale(first + place, chance.random() > 0.2, share, chance.random() < 0.25)
        for place, share in enumerate(shares)
    ]


if __name__ == "__main__":
    main(*sys.argv[1:])
