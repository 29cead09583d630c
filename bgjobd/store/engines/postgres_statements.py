"""The statements that PostgreSQL has in a text of its own, by that of SQLite; the others are translated by rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bgjobd.store import (
    adoption,
    audit_of_places,
    changes,
    class_holds,
    gate,
    hosts,
    labels,
    method_usage,
    rates,
    release,
    schedules,
    span_rows,
    tally,
)
from bgjobd.store.adoption import PROPERTY
from bgjobd.store.statements import of_entries, of_jobs, of_slots, of_ties, of_times

_ELEMENTS: Final = """(
    SELECT ordinality - 1 AS key, value FROM jsonb_array_elements{}(:{}::jsonb) WITH ORDINALITY AS e (value, ordinality)
) AS elements"""


def _of_elements(insert: str, name: str, as_text: str = "") -> str:
    """Rows of the elements of a list, with their places in it."""
    return insert.replace(f"json_each(:{name})", _ELEMENTS.format(as_text, name))


_FREE: Final = "FOR NO KEY UPDATE SKIP LOCKED"


def _free(select: str) -> str:
    """Those of the rows that nobody else has locked, which are by then; of their jobs alone where there are joins."""
    return f"{select} {_FREE}"


def _of_free(update: str) -> str:
    """The same of what is changed by the ids that a query finds, which is asked once."""
    changed, count = _FOUND_BY_IDS.subn(rf"= ANY (ARRAY(\1 {_FREE}))", update)
    if count != 1:
        raise ValueError(f"ids are not found by one query: {update}")
    return changed


_FOUND_BY_IDS: Final = re.compile(r"(?<=id[ \"])\s*IN \(\s*(SELECT \S*id\b.*?LIMIT :\w+)\)", re.DOTALL)


def _laterally(select: str) -> str:
    """The same with the ids found first that this looks for by a query of its own for each: else that would be asked
    of each row that there is.
    """
    found, _, rest = select.partition("CROSS JOIN background_jobs AS t ON t.id IN (")
    ids, _, order = rest.rpartition(")\n")
    return f"{found}CROSS JOIN LATERAL ({ids}) AS found JOIN background_jobs AS t ON t.id = found.id\n{order}"


_IS_PINNED: Final = """
    SELECT EXISTS (SELECT 1 FROM background_jobs WHERE status = 'pending' AND ready = 1
        AND host_wanted IN (SELECT name FROM hosts) AND queue = :queue AND class_name = :class_name)
"""


def _guarded(update: str) -> str:
    """One that fails where it changes nothing, so that nobody has to wait for how many rows it has changed."""
    return f"WITH changed AS ({update} RETURNING 1) SELECT 1 / count(*) FROM changed"


WHOLE: Final[Mapping[str, str]] = MappingProxyType(
    {
        of_jobs.SELECT_LAST_ID: "SELECT take_ids('job_ids', :count)",
        of_jobs.UPDATE_JOB: _guarded(of_jobs.UPDATE_JOB),
        of_ties.SELECT_LAST_GROUP_ID: "SELECT take_ids('group_ids', :count)",
        of_jobs.INSERT_BULK: _of_elements(of_jobs.TYPED_INSERT_BULK, "rows"),
        of_entries.INSERT_BULK_ENTRIES: _of_elements(of_entries.TYPED_INSERT_BULK_ENTRIES, "shown", "_text"),
        rates.IS_WAITING: f"SELECT ({rates.IS_WAITING}) OR ({_IS_PINNED})",
        **{
            text: text.replace(" INDEXED BY jobs_ready", "")
            for text in tally.COUNT_PLACES
            if "jobs_ready" in text
        },
        # two hosts that deal with the same one: the second finds the cursor of the first
        schedules.SELECT_STANDING: f"{schedules.SELECT_STANDING} ORDER BY s.name FOR NO KEY UPDATE OF s",
        # two hosts that count crashes of the same class: the second finds what the first has counted
        class_holds.SELECT_TO_CHANGE: f"{class_holds.SELECT_TO_CHANGE} FOR NO KEY UPDATE OF class_holds",
        class_holds.TRY: class_holds.TRY.replace(":due)", ":due FOR NO KEY UPDATE SKIP LOCKED)"),
        # two hosts that count runs of the same method: the second adds to what the first has
        method_usage.SELECT_TO_MERGE: f"{method_usage.SELECT_TO_MERGE} FOR NO KEY UPDATE OF u",
        # and of the same span
        span_rows.CLASSES_TO_ADD_TO: f"{span_rows.CLASSES_TO_ADD_TO} FOR NO KEY UPDATE",
        schedules.SELECT_UNFINISHED: _laterally(schedules.SELECT_UNFINISHED),
        hosts.TAKE_OWED: f"{hosts.TAKE_OWED} FOR UPDATE SKIP LOCKED",
        **{
            select: _free(select)
            for select in (
                of_slots.SELECT_READY_OF_CLASS,
                of_slots.SELECT_PINNED_OF_CLASS,
                of_times.SELECT_EXPIRED,
                gate.SELECT_FIRST_BEHIND,
                gate.SELECT_LAST_READY,
                gate.SELECT_DUE_BEHIND,
                release.SELECT_CONSEQUENCES,
            )
        },
        **{
            update: _of_free(update)
            for update in (
                of_times.MAKE_READY,
                of_times.MAKE_READY_OR_BEHIND,
                of_times.MAKE_READY_AFTER_WAIT,
                gate.PUT_FIRST_BEHIND,
                adoption.TAKE_TURNS_AWAY,
                changes.TRIM,
            )
        },
        of_entries.INSERT_LOG: of_entries.INSERT_LOG.replace(":id", f"({of_entries.SELECT_LAST_LOG_ID}) + 1"),
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
        labels.ITS_LABELS: "jsonb_array_elements_text(j.labels::jsonb) AS own (value)",
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
