"""Builds indexes of large tables that steps of the schema ask for, before these are taken, while other hosts go on.

Within the transaction of the steps all wait for as long as an index takes. What the steps have to add a column for is
left to them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from peewee import DatabaseError

from bgjobd.store.engines.postgres_errors import code_of

LARGE: Final = 32 * 1024 * 1024
"""Bytes of a table, from which on its index is worth it: one that is built so waits for all who read."""

WAITS_FOR: Final = "60s"
"""How long it waits for who has read since before it began, and would not find all in it; then it is begun anew."""

_LOCK: Final = 0x62676A6F03
"""The advisory lock of who builds. It is tried: whoever waited for it within a statement would be waited for."""

_CREATE: Final = re.compile(r"CREATE INDEX (?P<name>\w+) ON (?P<table>\w+) ")
_STANDING: Final = """
    SELECT (SELECT i.indisvalid FROM pg_index AS i WHERE i.indexrelid = to_regclass(%s)),
        coalesce(pg_relation_size(to_regclass(%s)), 0)
"""
_NOT_THERE: Final = ("42703", "42P01")
"""A column, or a table, that a step makes first."""

Run = Callable[..., Any]


class BeingBuiltError(Exception):
    """Somebody else builds them just now."""

    def __init__(self) -> None:
        super().__init__("another host builds the indexes of its next version")


class _Index(NamedTuple):
    """One that is to be created by this statement; names with their schema."""

    name: str
    table: str
    statement: str


def build(run: Run, schema: str, statements: Iterable[str], on_progress: Callable[[], None]) -> None:
    """Those of the statements that create one; no transaction is open. What was not finished is built anew.

    Raises peewee's errors, BeingBuiltError.
    """
    wanted = [one for one in _indexes(schema, statements) if _is_to_be_built(run, one)]
    if not wanted:
        return
    with _alone(run):
        for index in wanted:
            on_progress()
            run(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}")
            try:
                run(index.statement)
            except DatabaseError as error:
                if code_of(error) not in _NOT_THERE:
                    raise


def if_missing(statement: str) -> str:
    """The same, where the index may have been built by now."""
    return _CREATE.sub(r"CREATE INDEX IF NOT EXISTS \g<name> ON \g<table> ", statement, count=1)


def _indexes(schema: str, statements: Iterable[str]) -> Iterator[_Index]:
    for statement in statements:
        if (found := _CREATE.match(statement)) is not None:
            told = _CREATE.sub(r"CREATE INDEX CONCURRENTLY \g<name> ON \g<table> ", statement, count=1)
            yield _Index(f"{schema}.{found['name']}", f"{schema}.{found['table']}", told)


def _is_to_be_built(run: Run, index: _Index) -> bool:
    """Where one was begun in any case: the steps would take it for the whole."""
    is_valid, size = run(_STANDING, (index.name, index.table)).fetchone()
    return size >= LARGE if is_valid is None else not is_valid


@contextmanager
def _alone(run: Run) -> Iterator[None]:
    """Where it fails the connection is not used any more."""
    if not run(f"SELECT pg_try_advisory_lock({_LOCK})").fetchone()[0]:
        raise BeingBuiltError
    run(f"SET lock_timeout = '{WAITS_FOR}'")
    yield
    run("RESET lock_timeout")
    run(f"SELECT pg_advisory_unlock({_LOCK})")
