"""Statements that end in time: what has them interrupted from an instant on, whichever engine runs them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from bgjobd.store.engines import Connection, Interruptible

_STEPS: Final = 200
"""After how many steps of SQLite's machine the clock is looked at; some tens of microseconds."""

_QUERY_CANCELED: Final = "57014"
"""What PostgreSQL calls it."""


@contextmanager
def interrupting(connection: Connection) -> Iterator[Callable[[float], None]]:
    """Gives a function that has statements interrupted from a monotonic instant on; afterwards none is."""
    try:
        yield lambda deadline: _interrupt_at(connection, deadline)
    finally:
        _interrupt_at(connection, None)


def _interrupt_at(connection: Any, deadline: float | None) -> None:
    if isinstance(connection, Interruptible):
        connection.interrupt_at(deadline)
    elif deadline is None:
        connection.set_progress_handler(None, 0)
    else:
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)


def is_interrupted(error: Exception) -> bool:
    """Whether a statement has failed for that alone."""
    told = getattr(error, "orig", error)
    if isinstance(told, sqlite3.Error):
        return told.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT
    return getattr(told, "sqlstate", None) == _QUERY_CANCELED
