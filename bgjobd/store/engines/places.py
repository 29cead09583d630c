"""Where a daemon's database is, by its configuration; psycopg is imported only where that names PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from bgjobd.config.sections import Daemon
from bgjobd.store.engines import Place
from bgjobd.store.engines.server_errors import UnusableServerError


class NoDriverError(UnusableServerError):
    """The configuration names PostgreSQL, and what speaks to it is not installed."""

    def _next(self, path: Path) -> str:
        return "install it beside bgjobd, from the clone: pip install '.[postgres]'"


class OfServerError(Exception):
    """What is asked for is done to the file of SQLite's alone."""

    def __init__(self, what: str, instead: str) -> None:
        super().__init__(f"the database is of PostgreSQL, and {what} is for SQLite's file; {instead}")


def place_of(own: Daemon) -> Place:
    """The state directory, or PostgreSQL where `[daemon] database` names it. Raises NoDriverError."""
    if own.database is None:
        return own.state_dir
    try:
        from bgjobd.store.engines.postgres import Postgres
    except ImportError as error:
        raise NoDriverError(own.database, error) from error
    return Postgres(own.database)
