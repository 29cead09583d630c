"""Connections to the database of an application by a text, for the command; the driver is imported when one is made."""

from __future__ import annotations

import os
import re
from typing import Any, Final
from urllib.parse import quote

from bgjob.errors import NoDriverError

_POSTGRESQL: Final = re.compile(r"postgres(?:ql)?(?:\+\w+)?(?=://)")
_SQLITE: Final = re.compile(r"sqlite(?:\+\w+)?:///")
_OF_LIBPQ: Final = re.compile(r"\w+ *=")


def connected(dsn: str) -> Any:
    """A connection: `postgresql://…` and `dbname=shop …` are libpq's, anything else is the path of an SQLite file, as
    it is or as `sqlite:///PATH`. SQLAlchemy's URLs are taken too, whatever driver they name.

    Raises what the driver does, and NoDriverError.
    """
    if _POSTGRESQL.match(dsn) or _OF_LIBPQ.match(dsn):
        return _by_psycopg(_POSTGRESQL.sub("postgresql", dsn, count=1))
    return _by_sqlite3(_SQLITE.sub("", dsn, count=1))


def _by_psycopg(dsn: str) -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise NoDriverError(f"PostgreSQL takes psycopg 3, pip install 'psycopg[binary]' ({error})") from None
    return psycopg.connect(dsn, prepare_threshold=None)  # a pooler between may keep no statements


def _by_sqlite3(path: str) -> Any:
    import sqlite3

    connection = sqlite3.connect(f"file:{quote(os.path.abspath(path))}?mode=rw", uri=True)
    connection.text_factory = lambda written: written.decode(errors="replace")  # whoever wrote it
    return connection
