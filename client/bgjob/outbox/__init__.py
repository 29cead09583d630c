"""An outbox: jobs that are written into a table of the application's database, in its transaction, and submitted after
its commit. So a commit needs no daemon, and a rollback leaves nothing.

Drivers and SQLAlchemy are the application's: nothing here imports one, but for `table`, which takes SQLAlchemy's
metadata.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bgjob.outbox.aio import AsyncOutbox
    from bgjob.outbox.flushing import Flushed
    from bgjob.outbox.outboxes import Outbox
    from bgjob.outbox.statements import DDL
    from bgjob.outbox.table import table

__all__ = ["DDL", "AsyncOutbox", "Flushed", "Outbox", "table"]

_MODULES = {
    "AsyncOutbox": "aio",
    "DDL": "statements",
    "Flushed": "flushing",
    "Outbox": "outboxes",
    "table": "table",
}

if not TYPE_CHECKING:  # as in bgjob itself

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        found = globals()[name] = getattr(import_module(f"bgjob.outbox.{_MODULES[name]}"), name)
        return found
