"""Rows as objects, their keys as the columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bgjob.codec import JsonObject
from bgjobd.store.engines import Database


def dicts(
    database: Database, statement: str, values: Mapping[str, Any] | None = None
) -> Sequence[JsonObject]:
    """The rows, keys as the columns."""
    cursor = database.execute_sql(statement, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
