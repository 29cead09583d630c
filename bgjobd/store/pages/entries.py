"""Pages of log entries, of a job or of all, newest or oldest first."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from bgjob.codec import JsonObject
from bgjob.words import INT_MAX, INT_MIN, EntryType
from bgjobd.core.case_folding import needle
from bgjobd.store.engines import Connection
from bgjobd.store.filters import LogFilter
from bgjobd.store.log_places import IS_SAID, id_at
from bgjobd.store.pages.page import Page
from bgjobd.store.pages.searches import TARGET, contains
from bgjobd.store.pages.totals import Count, with_total
from bgjobd.store.pages.walks import Walk, walk_to_page
from bgjobd.store.rows import parsed

_ENTRY: Final = ("id", "job_id", "attempt", "attempts_allowed", "type", "message", "context", "created_at")
_BY_ENTRY: Final = ("l.id",)
_ENTRY_COLUMNS: Final = ", ".join([*(f"l.{name}" for name in _ENTRY), "j.class_name", "j.method_name"])
_ITS_JOB: Final = " CROSS JOIN background_jobs AS j ON j.id = l.job_id"
_ANY_ENTRY: Final = "job_logs AS l NOT INDEXED{its_job} WHERE true"
_ALL_ENTRIES: Final = "job_logs AS l INDEXED BY logs_job WHERE true"
"""As _ANY_ENTRY, in no order and on an index alone."""

_OF_JOB: Final = "job_logs AS l INDEXED BY logs_job{its_job} WHERE l.job_id = :id"
_OF_TYPE: Final = "job_logs AS l INDEXED BY logs_type{its_job} WHERE l.type = :type AND l.type <> 'success'"


def page_of_entries(
    connection: Connection,
    wanted: LogFilter,
    before: int | None,
    after: int | None,
    limit: int,
    budget: float,
    count: int | None = None,
    until: str | None = None,
) -> Page:
    """Log entries, newest first; with `after` oldest first; with their total, at most `count`.

    With `until` those up to where the log had got to at that stored instant, without a total.
    """
    deadline = time.monotonic() + budget
    source, rest = ways_to_entries(wanted)
    highest = INT_MAX if before is None else before
    if until is not None:
        highest, count = min(highest, id_at(connection, until) + 1), None
    start, last = (highest, INT_MIN) if after is None else (after, highest - 1)
    walk = _walk_over_entries(wanted, source, rest, is_backwards=after is None, last=last)
    page = walk_to_page(connection, walk, (start,), limit, deadline, _entry)
    if count is None:
        return page
    counted = Count((_countable(source, rest),), walk.rest, walk.parameters, count)
    return with_total(connection, page, counted, before is None and not after, deadline)


def _walk_over_entries(
    wanted: LogFilter, source: str, rest: Sequence[str], is_backwards: bool, last: int
) -> Walk:
    parameters = {
        "id": wanted.id,
        "type": wanted.type,
        "class_name": wanted.class_name,
        "method_name": wanted.method_name,
        "needle": needle(wanted.search or ""),
    }
    with_job = source.format(its_job=_ITS_JOB)
    return Walk(_BY_ENTRY, _ENTRY_COLUMNS, (with_job,), tuple(rest), parameters, is_backwards, (last,))


def _countable(source: str, rest: Sequence[str]) -> str:
    """The source with no more than the conditions need."""
    if source == _ANY_ENTRY and not rest:
        return _ALL_ENTRIES
    has_job = any("j." in condition for condition in rest)
    return source.format(its_job=_ITS_JOB if has_job else "")


def ways_to_entries(wanted: LogFilter) -> tuple[str, list[str]]:
    """The source that has these entries, and the conditions that it leaves open."""
    source, rest = _source_of_entries(wanted)
    named = [name for name in ("class_name", "method_name") if getattr(wanted, name) is not None]
    rest += [f"j.{name} = :{name}" for name in named]
    if wanted.said:
        rest.append(IS_SAID)
    if wanted.search:
        rest.append(_SAYS)
    return source, rest


_SAYS: Final = f"(instr(coalesce(l.folded, lower(l.message)), :needle) > 0 OR {contains(TARGET)})"


def _source_of_entries(wanted: LogFilter) -> tuple[str, list[str]]:
    """The one that has the entries of this job and type, and the conditions that it leaves open."""
    if wanted.id is not None:
        return _OF_JOB, ["l.type = :type"] if wanted.type is not None else []
    if wanted.type is None:
        return _ANY_ENTRY, []
    if wanted.type == EntryType.SUCCESS:  # most are: no index has them
        return _ANY_ENTRY, ["l.type = :type"]
    return _OF_TYPE, []


def _entry(row: tuple[Any, ...]) -> JsonObject:
    entry = dict(zip((*_ENTRY, "class_name", "method_name"), row, strict=True))
    return entry | {"context": parsed(entry["context"])}
