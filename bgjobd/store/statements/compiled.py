"""How a statement is compiled from a model, once, at import: to build a query of peewee's costs more than to run it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from peewee import SQL, BooleanField, Field, FloatField, IntegerField, Model, Query


def p(name: str) -> SQL:
    return SQL(f":{name}")


def quoted(literal: str) -> SQL:
    # A literal rather than a parameter: partial indexes serve only conditions that the planner can read.
    return SQL(f"'{literal}'")


def compiled(query: Query) -> str:
    sql, parameters = query.sql()
    if parameters:
        raise ValueError(f"a statement has values compiled in: {sql} {parameters}")
    return sql


def insert(model: type[Model], without: Collection[str] = ()) -> str:
    """Insert a row; the columns that it is without have what the table has for them."""
    fields = [field for field in model._meta.sorted_fields if field.name not in without]
    return compiled(model.insert({field: p(field.name) for field in fields}))


def upsert(model: type[Model]) -> str:
    """Insert a row, or have the one with its key be like it."""
    key = [field.name for field in model._meta.get_primary_keys()]
    others = [field.name for field in model._meta.sorted_fields if field.name not in key]
    same = ", ".join(f'"{name}" = :{name}' for name in others)
    return f"{insert(model)} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {same}"


def insert_each(model: type[Model], name: str, own: Mapping[str, str], is_typed: bool = False) -> str:
    """Insert a row for each element of a JSON list, of which these columns are; the others are the same in all.

    `is_typed`: a value says of which type it is, for who does not see that by its column.
    """
    columns = [field.name for field in model._meta.sorted_fields]
    types = {field.name: _type_of(field) if is_typed else "" for field in model._meta.sorted_fields}
    values = ", ".join(own.get(column, f":{column}{types[column]}") for column in columns)
    return (
        f"INSERT INTO {model._meta.table_name} ({', '.join(columns)}) SELECT {values} FROM json_each(:{name})"
    )


def _type_of(field: Field) -> str:
    match field:
        case FloatField():
            return "::double precision"
        case IntegerField() | BooleanField():
            return "::bigint"
    return "::text"
