"""Statements by which all rows of a table go into another database."""

from __future__ import annotations

from typing import Final, NamedTuple

from peewee import Model

from bgjobd.store.models.every import MODELS


class Copying(NamedTuple):
    """A table: all of its rows in the order of its key, and the statement by which another database takes one."""

    table: str
    columns: tuple[str, ...]
    select: str
    insert: str


def _copying(model: type[Model]) -> Copying:
    table, columns = model._meta.table_name, tuple(model._meta.sorted_field_names)
    listed = ", ".join(f'"{name}"' for name in columns)
    key = ", ".join(f'"{field.name}"' for field in model._meta.get_primary_keys())
    return Copying(
        table,
        columns,
        f'SELECT {listed} FROM "{table}" ORDER BY {key}',
        f'INSERT INTO "{table}" ({listed}) VALUES ({", ".join("?" * len(columns))})',
    )


COPYINGS: Final = tuple(_copying(model) for model in MODELS)
