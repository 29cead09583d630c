"""Jobs that need no row: where a daemon works from the very database that the application writes to, PostgreSQL's
function `bgjobd.submit` takes them in its transaction. Which jobs, which databases; no I/O here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, NamedTuple

from bgjob.connections import try_substitute
from bgjob.outbox.rows import TABLE, Row
from bgjob.outbox.statements import Statement

KNOWN_FOR: Final = 60.0
"""Seconds for which it is remembered what a database has: rights are given, and daemons move in."""

LOOK: Final = Statement(
    f"""
    SELECT EXISTS (
        SELECT 1 FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
        JOIN pg_roles AS r ON r.rolname = session_user
        WHERE n.nspname = 'bgjobd' AND p.proname = 'submit' AND p.pronargs = 4
        AND NOT r.rolsuper AND r.oid <> p.proowner
        AND has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')
    ), to_regclass('{TABLE}') IS NOT NULL
    """
)
"""Whether there is the function, and somebody has granted it to this role, and whether there is an outbox. Who may all
or owns it was granted nothing, so nobody may have said for whom such a role submits.
"""

_SUBMIT: Final = """
    SELECT bgjobd.submit(r ->> 'class_name', r ->> 'method_name', coalesce(nullif(r -> 'parameters', 'null'), '{}'),
        (r -> 'options') || jsonb_build_object('idempotency_key', k))
    FROM (SELECT CAST(? AS jsonb) AS r, CAST(? AS text) AS k) AS given
"""
_OF_UNIQUES: Final = frozenset(("unique_key", "unique_while", "unique_for", "if_held", "at_latest"))
"""Options by which a submit may come to another job than a new one, which nobody would be told."""


class Found(NamedTuple):
    """Whether a database takes jobs by itself, and whether it has an outbox."""

    is_direct: bool = False
    has_table: bool = True


NOTHING: Final = Found()
"""Of a database that is not PostgreSQL, and of a daemon that was named: it may be another one's."""


class Looks:
    """What was found, by database and role, by a clock in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._found: dict[Hashable, tuple[float, Found]] = {}

    def try_known(self, place: Hashable) -> Found | None:
        """None where somebody has to look."""
        at, found = self._found.get(place, (float("-inf"), NOTHING))
        return found if self._clock() - at < KNOWN_FOR else None

    def note(self, place: Hashable, rows: Sequence[Sequence[Any]]) -> Found:
        """What LOOK has found."""
        ((is_direct, has_table),) = rows
        found, now = Found(bool(is_direct), bool(has_table)), self._clock()
        fresh = {place: one for place, one in self._found.items() if now - one[0] < KNOWN_FOR}
        self._found = {**fresh, place: (now, found)}  # of engines that come and go
        return found


LOOKS: Final = Looks()
"""Of this process."""


def may_be(address: str | None) -> bool:
    """Whether to look at all: not where a certain daemon is meant, or something stands in for one."""
    return address is None and try_substitute() is None


def takes(found: Found, row: Row, is_attempt: bool) -> bool:
    """Whether the job is to go without a row. `is_attempt`: whose it is could not be told then, which the table can."""
    if not found.is_direct or (is_attempt and found.has_table):
        return False
    asked = json.loads(row.request)
    return not asked.get("retry_count") and _OF_UNIQUES.isdisjoint(_given(asked["options"]))


def _given(options: dict[str, Any]) -> set[str]:
    return {name for name, value in options.items() if value is not None}


def submission(row: Row) -> Statement:
    """What submits the job; it gives its id."""
    return Statement(_SUBMIT, (row.request, row.key))
