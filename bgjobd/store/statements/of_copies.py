"""Statements by which all rows of a table go into another database."""

from __future__ import annotations

from typing import Final, NamedTuple

from peewee import Model

from bgjobd.store.models.every import MODELS


class Copying(NamedTuple):
    """A table: all of its rows in the order of its key, how many they are, and the statement by which another database
    takes one.
    """

    table: str
    columns: tuple[str, ...]
    select: str
    total: str
    insert: str


def _copying(model: type[Model]) -> Copying:
    table, columns = model._meta.table_name, tuple(model._meta.sorted_field_names)
    listed = ", ".join(f'"{name}"' for name in columns)
    key = ", ".join(f'"{field.name}"' for field in model._meta.get_primary_keys())
    rows = f'FROM "{table}" {_ONLY.get(table, "")}'
    return Copying(
        table,
        columns,
        f"SELECT {listed} {rows} ORDER BY {key}",
        f"SELECT count(*) {rows}",
        f'INSERT INTO "{table}" ({listed}) VALUES ({", ".join("?" * len(columns))})',
    )


_ONLY: Final = {"job_outputs": "WHERE job_id IN (SELECT id FROM background_jobs)"}
"""A file may have kept some of jobs that it has deleted, and a server takes none of these."""

COPYINGS: Final = tuple(_copying(model) for model in MODELS)
