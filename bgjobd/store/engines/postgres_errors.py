"""What PostgreSQL's errors mean, by their codes: trouble of the server's, or of two transactions, or a refusal."""

from __future__ import annotations

from typing import Any, Final

import psycopg

from bgjobd.store.engines.postgres_refusals import is_lasting

_READ_ONLY: Final = "25006"
"""What a server says by which another one has been replaced: names lead to the one that is, sooner or later."""

_TOO_LONG: Final = ("25P03", "25P04")
"""A connection that the server has ended, for its transaction took too long."""

GONE: Final = ("08", "57P", *_TOO_LONG)
"""How the codes begin of what ends a connection."""

IN_USE: Final = ("55P03", "40P01")
"""A lock that was not to be had in time, or by waiting for it."""
DIVISION_BY_ZERO: Final = "22012"
"""What a guarded update fails by that changes nothing."""

_TROUBLE: Final = ("08", "53", "57P", "58", _READ_ONLY, *_TOO_LONG)
PASSING: Final = ("40001", "40P01", "23505")
"""How the codes begin of errors that the server is to blame for, and those of transactions in each other's way: they
could not be one after the other, wait for each other, or have stored what may be there once alone.
"""


def code_of(error: Exception) -> str | None:
    """PostgreSQL's own code of one of peewee's errors, which may be of another of peewee's, if it tells one."""
    told: Any = error
    while (orig := getattr(told, "orig", None)) is not None:
        told = orig
    code: str | None = getattr(told, "sqlstate", None)
    return code


def is_refusal(error: Exception) -> bool:
    """Whether no connection came about, and none will: by a word of the server's, or an address that makes no sense."""
    cause = error.__cause__
    wants_password = (
        isinstance(cause, psycopg.Error) and cause.pgconn is not None and cause.pgconn.needs_password
    )
    return wants_password or isinstance(cause, psycopg.ProgrammingError) or is_lasting(str(error))


def is_broken(error: Exception) -> bool:
    """Whether the server, or the way to it, is to blame."""
    code = code_of(error)
    return code is not None and code.startswith(_TROUBLE)
