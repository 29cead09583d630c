"""The statements that PostgreSQL has in a text of its own, by that of SQLite; the others are translated by rules."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bgjobd.store import audit_of_places, hosts, statements
from bgjobd.store.adoption import PROPERTY

_ELEMENTS: Final = """(
    SELECT ordinality - 1 AS key, value FROM jsonb_array_elements{}(:{}::jsonb) WITH ORDINALITY AS e (value, ordinality)
) AS elements"""


def _of_elements(insert: str, name: str, as_text: str = "") -> str:
    """Rows of the elements of a list, with their places in it."""
    return insert.replace(f"json_each(:{name})", _ELEMENTS.format(as_text, name))


WHOLE: Final[Mapping[str, str]] = MappingProxyType(
    {
        statements.INSERT_BULK: _of_elements(statements.TYPED_INSERT_BULK, "rows"),
        statements.INSERT_BULK_ENTRIES: _of_elements(statements.TYPED_INSERT_BULK_ENTRIES, "shown", "_text"),
        hosts.TAKE_OWED: f"{hosts.TAKE_OWED} FOR UPDATE SKIP LOCKED",
        "PRAGMA schema_version": "SELECT 1",
        "PRAGMA integrity_check": "SELECT 'ok'",
    }
)

_TEXT_OF_CLOCK: Final = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
_BEFORE: Final = "clock_before(coalesce(lost_after, :lives_for))"

FRAGMENTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "clock_now()": _TEXT_OF_CLOCK.format("clock_timestamp()"),
        _BEFORE: _TEXT_OF_CLOCK.format(
            "(clock_timestamp() - make_interval(secs => coalesce(lost_after, :lives_for)))"
        ),
        "clock_since(seen_at)": "extract(epoch FROM clock_timestamp() - seen_at::timestamptz)::float8",
        audit_of_places.RULES: f"""
    WITH rules AS (
        SELECT e.key AS queue, (e.value ->> 0)::bigint AS slots, (e.value ->> 1) IS NOT NULL AS has_rate,
            e.value ->> 2 AS share, jsonb_array_length(e.value) > 3 AS is_being_settled
        FROM properties AS p JOIN jsonb_each(p.value::jsonb) AS e ON true WHERE p.name = '{PROPERTY}')
""",
    }
)
"""Parts of statements, in the same way."""
