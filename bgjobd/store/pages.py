"""The SQL of lists of jobs, of attempts and of log entries, in pages: by key, filtered, and bounded in time.

A page is put together chunk by chunk of what an index gives, so that a search which finds nothing still says how
far it has come. It is bounded in bytes too, for entries may be large. Each source names its index: the planner would
rather sort a whole table than walk one backwards. The newest are first: the latest ids, and of jobs that have all ended
the latest ends.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from bgjob.codec import JsonObject, to_json
from bgjob.errors import InvalidParameterError
from bgjob.words import (
    BEHIND,
    BLOCKED,
    FINAL,
    INT_MAX,
    INT_MIN,
    RETRYING,
    REVIEW,
    SCHEDULED,
    SNOOZED,
    STATUS_WORDS,
    WAITING,
    EntryType,
    Status,
)
from bgjobd.core.case_folding import needle
from bgjobd.core.job import Job
from bgjobd.core.traces import span_of
from bgjobd.host.clock import to_text
from bgjobd.store import bounds, written
from bgjobd.store.engines import Connection
from bgjobd.store.filters import JobFilter, LogFilter
from bgjobd.store.log_places import IS_SAID, id_at
from bgjobd.store.rows import text_of
from bgjobd.store.statements.of_attempts import named_host

PAGE: Final = 50
BUDGET: Final = 0.04
"""How many a page has, and how many seconds are spent looking for them, unless told otherwise."""

MOST_BYTES: Final = 1024 * 1024
"""How large a page may be, about; one row is on it however large that is."""

_FIRST_CHUNK: Final = 100
"""Rows that are looked through in any case."""

_FIRST_JOBS: Final = 10
"""The same of jobs: each may have parameters that take milliseconds."""

_LARGEST_CHUNK: Final = 5000


@dataclass(frozen=True, slots=True)
class Page:
    """What was found, and the key from which to go on; None at the end.

    `is_complete` is False where the time was up first: then the page may be short, or empty, and `next` is how
    far it was looked. `total` is how many there are on all pages, if that was asked and is known. `next_at` is the
    instant that goes with `next` where the order is that of ends.
    """

    rows: list[JsonObject]
    next: int | None
    is_complete: bool = True
    total: int | None = None
    next_at: str | None = None


def in_pages(rows: Iterable[JsonObject]) -> Iterator[list[JsonObject]]:
    """The rows in lists that are no larger than a page."""
    part: list[JsonObject] = []
    size = 0
    for row in rows:
        more = _size(row)
        if part and size + more > MOST_BYTES:
            yield part
            part, size = [], 0
        part.append(row)
        size += more
    if part:
        yield part


def _size(row: JsonObject | tuple[Any, ...]) -> int:
    """How many bytes of a reply the row takes, about."""
    return len(to_json(row).encode())


def is_search(wanted: JobFilter | LogFilter) -> bool:
    """Whether it takes looking through rows that are not wanted, for no index has the others apart."""
    _, rest = _ways_to_jobs(wanted) if isinstance(wanted, JobFilter) else _ways_to_entries(wanted)
    return bool(rest)


class _Found:
    """The rows of a page, until there is one too many for it: that one tells that there are more."""

    def __init__(self, limit: int) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self._limit = limit
        self._size = 0

    @property
    def is_full(self) -> bool:
        return len(self.rows) > self._limit or (self._size > MOST_BYTES and len(self.rows) > 1)

    @property
    def room(self) -> int:
        return self._limit + 1 - len(self.rows)

    def add(self, row: tuple[Any, ...]) -> None:
        self.rows.append(row)
        self._size += _size(row)


Place = tuple[Any, ...]
"""Where a row stands: what a walk's keys are there, the id as the last."""


@dataclass(frozen=True, slots=True)
class _Walk:
    """Where to look: each source is a FROM and a WHERE that one index serves, `rest` what that index cannot say.

    The index has its rows in the order of the keys.
    """

    keys: tuple[str, ...]
    columns: str
    sources: tuple[str, ...]
    rest: tuple[str, ...]
    parameters: Mapping[str, Any]
    is_backwards: bool
    last: Place
    first_chunk: int = _FIRST_CHUNK

    def edge(self) -> str:
        """The place at which a chunk ends."""
        return f"{self._union('last')} LIMIT 1 OFFSET :chunk - 1"

    def rows(self) -> str:
        """What is wanted of a chunk, each row behind its place."""
        return f"{self._union('end', self.columns, rest=self.rest)} LIMIT :limit"

    def place_of(self, row: tuple[Any, ...]) -> Place:
        return row[: len(self.keys)]

    def named(self, name: str, place: Place) -> dict[str, Any]:
        """The place as parameters."""
        return {f"{name}_{number}": value for number, value in enumerate(place)}

    def _union(self, end: str, *columns: str, rest: tuple[str, ...] = ()) -> str:
        beyond, within, order = ("<", ">=", "DESC") if self.is_backwards else (">", "<=", "ASC")
        conditions = [self._is(beyond, "start"), self._is(within, end), *rest]
        shown = ", ".join([*self.keys, *columns])
        parts = [f"SELECT {shown} FROM {source} AND {' AND '.join(conditions)}" for source in self.sources]
        ordered = ", ".join(f"{number + 1} {order}" for number, _ in enumerate(self.keys))
        return f"{' UNION ALL '.join(parts)} ORDER BY {ordered}"

    def _is(self, compared: str, name: str) -> str:
        there = ", ".join(f":{each}" for each in self.named(name, self.keys))
        return f"({', '.join(self.keys)}) {compared} ({there})"


def _walk(
    connection: Connection,
    walk: _Walk,
    start: Place,
    limit: int,
    deadline: float,
    shape: Callable[[tuple[Any, ...]], JsonObject],
) -> Page:
    """The first `limit` of what is wanted from beyond `start` on; the first chunk is looked through in any case."""
    found = _Found(limit)
    is_over = False
    with bounds.interrupting(connection) as interrupt_at:
        for size in _sizes(walk.first_chunk):
            start, is_over = _look_through(connection, walk, start, size, found)
            if is_over or found.is_full or time.monotonic() > deadline:
                break
            interrupt_at(deadline)
    wanted = found.rows[:-1] if found.is_full else found.rows
    rows = [shape(row[len(walk.keys) :]) for row in wanted]
    if not found.is_full and is_over:
        return Page(rows, None)
    *at, key = walk.place_of(wanted[-1]) if found.is_full else start
    return Page(rows, key, is_complete=found.is_full, next_at=at[0] if at else None)


def _sizes(size: int) -> Iterator[int]:
    """How many rows each chunk has, from the first on."""
    while True:
        yield size
        size = min(size * 4, _LARGEST_CHUNK)


def _look_through(
    connection: Connection,
    walk: _Walk,
    start: Place,
    size: int,
    found: _Found,
) -> tuple[Place, bool]:
    """Add what is wanted of one chunk to `found`; answers how far it was looked, and whether that was all there is."""
    given = {**walk.parameters, **walk.named("start", start), **walk.named("last", walk.last), "chunk": size}
    try:
        # Where an index serves all that is asked, the limit of rows is the only one needed.
        edge = connection.execute(walk.edge(), given).fetchone() if walk.rest else None
        given |= {**walk.named("end", walk.last if edge is None else edge), "limit": found.room}
        for row in connection.execute(walk.rows(), given):
            found.add(row)
            start = walk.place_of(row)
            if found.is_full:
                break
    except Exception as error:
        if not bounds.is_interrupted(error):
            raise
        return start, False
    return (start, True) if edge is None else (edge, False)


@dataclass(frozen=True, slots=True)
class _Count:
    """What to count, at most `limit`; sources and conditions as those of a walk, without `rest` on indexes alone."""

    sources: tuple[str, ...]
    rest: tuple[str, ...]
    parameters: Mapping[str, Any]
    limit: int

    def statement(self) -> str:
        parts = [f"SELECT 1 FROM {' AND '.join([source, *self.rest])}" for source in self.sources]
        return f"SELECT count(*) FROM ({' UNION ALL '.join(parts)} LIMIT :count)"


def _with_total(connection: Connection, page: Page, count: _Count, is_first: bool, deadline: float) -> Page:
    """The page with its total, if that is known by the time at which the page had to be found."""
    if not page.is_complete:
        return page
    if is_first and page.next is None:
        return replace(page, total=min(len(page.rows), count.limit))
    return replace(page, total=_try_count(connection, count, deadline))


def _try_count(connection: Connection, count: _Count, deadline: float) -> int | None:
    """How many there are; None where it takes looking through rows and the time was up."""
    with bounds.interrupting(connection) as interrupt_at:
        if count.rest:
            interrupt_at(deadline)
        try:
            given = {**count.parameters, "count": count.limit}
            return int(connection.execute(count.statement(), given).fetchone()[0])
        except Exception as error:
            if not bounds.is_interrupted(error):
                raise
            return None


# Jobs

_SUMMARY: Final = (
    *("id", "class_name", "method_name", "status", "queue", "priority", "retry_count", "max_retries"),
    *(
        "scheduled_at",
        "started_at",
        "finished_at",
        "created_at",
        "updated_at",
        "cancel_requested_at",
        "error",
    ),
    *("schedule", "occurrence", "group_id", "key", "steps", "review_since", "labels"),
)
_UNDER_WAY: Final = """
    CASE WHEN j.status = 'running' AND j.carries <> 0 THEN (
        SELECT substr(max(s.began_at || s.name), length(max(s.began_at)) + 1) FROM job_steps AS s
        WHERE s.job_id = j.id AND s.kind = 'step' AND s.number IS NULL AND s.attempt = a.number) END
"""
"""The one that began last, without sorting: all instants are of one length."""

_USAGE: Final = ("max_rss", "cpu_user", "cpu_system", "output_bytes")
_OF_LISTED: Final = (*_USAGE, "host")
_JOB_COLUMNS: Final = ", ".join(
    [
        *(f"j.{name}" for name in _SUMMARY),
        *(_UNDER_WAY, "j.waiting_on", "j.ready", "a.number", "a.outcome", "a.progress"),
    ]
)
_LISTED_COLUMNS: Final = ", ".join([_JOB_COLUMNS, *(f"a.{name}" for name in _USAGE), named_host("a")])
_ITS_LATEST_ATTEMPT: Final = (
    "LEFT JOIN job_attempts AS a "
    "ON a.job_id = j.id AND a.number = (SELECT max(number) FROM job_attempts WHERE job_id = j.id)"
)


def _jobs_by(index: str, condition: str) -> str:
    """Jobs with their latest attempts; where none of its columns is asked for, SQLite leaves the attempts out."""
    return f"background_jobs AS j {index} {_ITS_LATEST_ATTEMPT} WHERE {condition}"


_ANY_JOB: Final = _jobs_by("NOT INDEXED", "true")
_IS_FOR_REVIEW: Final = "j.review_since IS NOT NULL"
_IS_PENDING: Final = "j.status = 'pending' AND j.finished_at IS NULL"
_NOT_READY: Final = _jobs_by("INDEXED BY jobs_pending", f"{_IS_PENDING} AND j.ready = 0")
_READY: Final = _jobs_by("INDEXED BY jobs_pending", f"{_IS_PENDING} AND j.ready = 1")
_BLOCKED: Final = _jobs_by("INDEXED BY jobs_pending", f"{_IS_PENDING} AND j.ready = {written.BLOCKED}")
_BEHIND: Final = _jobs_by("INDEXED BY jobs_pending", f"{_IS_PENDING} AND j.ready = {written.BEHIND}")
_WAITING: Final = _jobs_by("INDEXED BY jobs_pending", f"{_IS_PENDING} AND j.ready = {written.WAITING}")
_JOB_SOURCES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        Status.PENDING: (_READY, _NOT_READY, _BLOCKED, _BEHIND, _WAITING),
        SCHEDULED: (_NOT_READY,),
        RETRYING: (_NOT_READY,),
        SNOOZED: (_NOT_READY,),
        BLOCKED: (_BLOCKED,),
        BEHIND: (_BEHIND,),
        WAITING: (_WAITING,),
        Status.RUNNING: (_jobs_by("INDEXED BY jobs_running", "j.status = 'running'"),),
        **{
            status.value: (
                _jobs_by("INDEXED BY jobs_finished", f"j.status = '{status}' AND j.finished_at IS NOT NULL"),
            )
            for status in sorted(FINAL)
        },
        REVIEW: (_jobs_by("INDEXED BY jobs_for_review", _IS_FOR_REVIEW),),
    }
)
_ENDED_SOURCES: Final[Mapping[str, str]] = MappingProxyType(
    {
        status.value: _jobs_by(
            "INDEXED BY jobs_ended", f"j.status = '{status}' AND j.finished_at IS NOT NULL"
        )
        for status in sorted(FINAL)
    }
)
"""The same jobs as _JOB_SOURCES has of these, in the order of their ends."""

_ALL_JOBS: Final = tuple(dict.fromkeys(source for status in Status for source in _JOB_SOURCES[status]))
"""As _ANY_JOB, in no order and on indexes alone."""

_OF_SCHEDULE: Final = _jobs_by(
    "INDEXED BY jobs_by_schedule", "j.schedule = :schedule AND j.schedule IS NOT NULL"
)
"""All jobs of one, in the order of their submits."""

_OF_GROUP: Final = _jobs_by("INDEXED BY jobs_of_group", "j.group_id = :group AND j.group_id IS NOT NULL")
"""The same of a group's members."""

_OF_KEY: Final = _jobs_by("INDEXED BY jobs_by_key", "j.key = :key AND j.key IS NOT NULL")
"""The same of those with a key, of all queues."""

_AGAIN_OF: Final = _jobs_by("INDEXED BY jobs_again", "j.again_of = :again_of AND j.again_of IS NOT NULL")
"""The same of those that run the call of a job once more."""

_OF_BULK: Final = _jobs_by("INDEXED BY jobs_of_bulk", "j.bulk = :bulk AND j.bulk IS NOT NULL")
"""The same of those that were retried or cancelled with many, by one change."""

_OF_ERROR: Final = f"""
    job_attempts AS e INDEXED BY attempts_of_error CROSS JOIN background_jobs AS j ON j.id = e.job_id
    {_ITS_LATEST_ATTEMPT} WHERE e.error_group = :error AND e.error_group IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM job_attempts AS o WHERE o.job_id = e.job_id AND o.number < e.number AND o.error_group = :error)
"""
"""The same of those that have met an error, each by the first attempt that did."""

_OF_LABEL: Final = f"""
    job_labels AS l CROSS JOIN background_jobs AS j ON j.id = l.job_id
    {_ITS_LATEST_ATTEMPT} WHERE l.label = :label
"""
"""The same of those with a label."""

_HAS_LABEL: Final = "EXISTS (SELECT 1 FROM job_labels AS l WHERE l.label = :label AND l.job_id = j.id)"

_HAS_MET: Final = "EXISTS (SELECT 1 FROM job_attempts AS e WHERE e.job_id = j.id AND e.error_group = :error)"

_IS_BLOCKED: Final = f"j.ready = {written.BLOCKED}"
_IS_BEHIND: Final = f"j.ready = {written.BEHIND}"
_IS_WAITING: Final = f"j.ready = {written.WAITING}"
_IS_FUTURE: Final = f"NOT {_IS_BLOCKED} AND NOT {_IS_BEHIND} AND NOT {_IS_WAITING} AND j.scheduled_at > :now"
_WAITS: Final[Mapping[str, str]] = MappingProxyType(
    {
        SCHEDULED: f"({_IS_FUTURE} AND a.number IS NULL)",
        RETRYING: f"({_IS_FUTURE} AND a.number IS NOT NULL AND a.outcome IS NOT 'snoozed')",
        SNOOZED: f"({_IS_FUTURE} AND a.outcome IS 'snoozed')",
        BLOCKED: _IS_BLOCKED,
        BEHIND: _IS_BEHIND,
        WAITING: _IS_WAITING,
    }
)


_BY_ID: Final = ("j.id",)
_OWN_IDS: Final[Mapping[tuple[str, ...], tuple[str, ...]]] = {
    (_OF_ERROR,): ("e.job_id",),
    (_OF_LABEL,): ("l.job_id",),
}
"""Of sources that have the ids of jobs in tables of their own."""

_BY_END: Final = ("j.finished_at", "j.id")
_NO_END: Final = "~"
"""Behind each stored instant, as texts are compared."""

_END_OF: Final = """
    SELECT coalesce(finished_at, (SELECT max(finished_at) FROM job_attempts WHERE job_id = id), updated_at)
    FROM background_jobs WHERE id <= :id ORDER BY id DESC LIMIT 1
"""
"""When a job ended last, or changed; one that is gone stands where the one does that was submitted before it."""


def jobs(
    connection: Connection,
    wanted: JobFilter,
    before: int | None,
    limit: int,
    budget: float,
    now: float,
    count: int | None = None,
    before_at: str | None = None,
) -> Page:
    """Jobs as summaries with what their latest attempts used, newest first; with their total, at most `count`.

    Where only ended ones are wanted, those that ended last are first: `before` had ended at `before_at`, unless that is
    None, for it may have been retried meanwhile, or be gone.
    Raises InvalidParameterError for an unknown word of status.
    """
    deadline = time.monotonic() + budget
    sources, rest = _ways_to_jobs(wanted)
    if not sources:
        return Page([], None, total=None if count is None else 0)
    walk = _walk_over_jobs(wanted, sources, rest, now)
    start = _behind_job(connection, wanted, before, before_at)
    page = _walk(connection, walk, start, limit, deadline, _listed)
    if count is None:
        return page
    counted = _Count(_countable_jobs(wanted, sources, rest), walk.rest, walk.parameters, count)
    return _with_total(connection, page, counted, before is None, deadline)


def _walk_over_jobs(wanted: JobFilter, sources: tuple[str, ...], rest: Sequence[str], now: float) -> _Walk:
    by_id = _OWN_IDS.get(sources, _BY_ID)
    keys, last = (_BY_END, (wanted.since or "", INT_MIN)) if wanted.is_by_end else (by_id, (INT_MIN,))
    parameters = {
        "now": to_text(now),
        "queue": wanted.queue,
        "class_name": wanted.class_name,
        "method_name": wanted.method_name,
        **_needles(wanted),
        "since": wanted.since,
        "until": wanted.until,
        "longer_than": wanted.longer_than,
        "outcome": wanted.outcome,
        "schedule": wanted.schedule,
        "group": wanted.group,
        "key": wanted.key,
        "again_of": wanted.again_of,
        "bulk": wanted.bulk,
        "host": wanted.host,
        "error": wanted.error,
        "label": wanted.label,
    }
    return _Walk(keys, _LISTED_COLUMNS, sources, tuple(rest), parameters, True, last, _FIRST_JOBS)


def _behind_job(
    connection: Connection, wanted: JobFilter, before: int | None, before_at: str | None
) -> Place:
    """Where a walk over these jobs begins."""
    if wanted.is_by_end:
        place = _behind_end(connection, before, before_at)
        return place if wanted.until is None else min(place, (wanted.until, INT_MIN))
    return (INT_MAX if before is None else before,)


def _behind_end(connection: Connection, before: int | None, before_at: str | None) -> Place:
    """The place of the job `before` among those that have ended."""
    if before is None:
        return _NO_END, INT_MAX
    if before_at is None:
        (before_at,) = connection.execute(_END_OF, {"id": before}).fetchone() or ("",)
    return before_at, before


def _countable_jobs(wanted: JobFilter, sources: tuple[str, ...], rest: Sequence[str]) -> tuple[str, ...]:
    """The sources with what a walk is told by its bounds; all jobs in no order, and on indexes alone."""
    if wanted.is_by_end:
        within = "".join(f" AND {condition}" for condition in _within(wanted))
        return tuple(f"{source}{within}" for source in sources)
    return _ALL_JOBS if sources == (_ANY_JOB,) and not rest else sources


def summaries(connection: Connection, job_ids: Sequence[int]) -> dict[int, JsonObject]:
    """These jobs as summaries, by id; those that there are."""
    source = _jobs_by("", "j.id IN (SELECT value FROM json_each(:ids))")
    sql = f"SELECT {_JOB_COLUMNS} FROM {source}"
    return {row[0]: _summary(row) for row in connection.execute(sql, {"ids": json.dumps(list(job_ids))})}


def summary_of(job: Job, step: str | None) -> JsonObject:
    """A job at hand, which is in this step, as summaries() has it."""
    return {
        "id": job.id,
        "class_name": job.call.class_name,
        "method_name": job.call.method_name,
        "status": job.status,
        "queue": job.queue,
        "priority": job.priority,
        "retry_count": job.retry_count,
        "max_retries": job.policy.max_retries,
        "scheduled_at": text_of(job.scheduled_at),
        "started_at": text_of(job.started_at),
        "finished_at": text_of(job.finished_at),
        "created_at": to_text(job.created_at),
        "updated_at": to_text(job.updated_at),
        "cancel_requested_at": text_of(job.cancel_requested_at),
        "error": job.error,
        "schedule": job.schedule,
        "occurrence": text_of(job.occurrence),
        "group_id": job.group_id,
        "key": job.key,
        "steps": 0 if job.carried is None else job.carried.steps,
        "review_since": text_of(job.review_since),
        "labels": list(job.labels),
        "step": step,
        "waiting_on": job.carried.waiting_on if job.is_waiting and job.carried is not None else None,
        "is_blocked": job.is_blocked,
        "is_behind": job.is_behind,
        "attempt": job.attempt,
        "outcome": job.outcome,
        "progress": parsed(job.progress),
    }


_OF_ATTEMPT: Final = {
    "outcome": "a.outcome = :outcome",
    "longer_than": "86400 * (julianday(CASE WHEN a.outcome IS NULL THEN :now ELSE a.finished_at END) "
    "- julianday(a.started_at)) > :longer_than",
}
"""The conditions of how the latest attempt went."""

_OWNERS: Final = {
    "bulk": ("j.bulk = :bulk", _OF_BULK),
    "error": (_HAS_MET, _OF_ERROR),
    "again_of": ("j.again_of = :again_of", _AGAIN_OF),
    "group": ("j.group_id = :group", _OF_GROUP),
    "key": ("j.key = :key", _OF_KEY),
    "label": (_HAS_LABEL, _OF_LABEL),
    "schedule": ("j.schedule = :schedule", _OF_SCHEDULE),
}
"""What has jobs of its own, by the name of the filter: the condition that tells whose one is, and the source of all."""


def _ways_to_jobs(wanted: JobFilter) -> tuple[tuple[str, ...], list[str]]:
    """The sources that have these jobs, each once, and the conditions that they leave open."""
    owners = [name for name in _OWNERS if getattr(wanted, name) is not None]
    own = [_OWNERS[name][0] for name in owners]
    if wanted.is_by_end:
        words = sorted(set(wanted.status or FINAL))
        return tuple(_ENDED_SOURCES[word] for word in words), own + _told_apart(wanted)
    sources, rest = _sources_of_jobs(wanted.status)
    if owners and sources:
        sources, rest = (_OWNERS[owners[0]][1],), _standing_by(wanted.status) + own[1:]
    return sources, rest + _within(wanted) + _told_apart(wanted)


def _within(wanted: JobFilter) -> list[str]:
    """The conditions of time, which bound a walk in the order of ends."""
    at = "j.finished_at" if wanted.has_ended else "j.created_at"
    conditions = {"since": f"{at} >= :since", "until": f"{at} < :until"}
    return [condition for name, condition in conditions.items() if getattr(wanted, name) is not None]


def _told_apart(wanted: JobFilter) -> list[str]:
    """The conditions of names and of a search, which no index has."""
    named = [name for name in ("queue", "class_name", "method_name") if getattr(wanted, name) is not None]
    rest = [f"j.{name} = :{name}" for name in named]
    rest += [_OF_ATTEMPT[name] for name in _OF_ATTEMPT if getattr(wanted, name) is not None]
    if wanted.host is not None:
        rest.append("a.host IN (SELECT id FROM hosts WHERE name = :host)")
    if wanted.search:
        rest.append(f"({_contains(_TARGET)} OR {_contains('j.error')} OR {_HAS_VALUE})")
    return rest


def _sources_of_jobs(words: tuple[str, ...] | None) -> tuple[tuple[str, ...], list[str]]:
    """Those that have the jobs of these words, and the conditions that they leave open."""
    if words is None:
        return (_ANY_JOB,), []
    status = frozenset(words)
    if not status.issubset(STATUS_WORDS):
        raise InvalidParameterError(parameter="status")
    if status >= frozenset(Status):
        return (_ANY_JOB,), []
    if Status.PENDING in status:
        status = status.difference(_WAITS)
    if Status.FAILED in status:
        status = status.difference({REVIEW})
    sources = dict.fromkeys(source for word in sorted(status) for source in _JOB_SOURCES[word])
    waits = [condition for word, condition in _WAITS.items() if word in status]
    return tuple(sources), [f"(j.status <> 'pending' OR {' OR '.join(waits)})"] if waits else []


def _standing_by(words: tuple[str, ...] | None) -> list[str]:
    """The condition that a job stands by one of these words, where no source says so."""
    if words is None:
        return []
    stands = [f"j.status = '{word}'" for word in words if word not in _WAITS and word != REVIEW]
    stands += [_IS_FOR_REVIEW] if REVIEW in words else []
    stands += [f"(j.status = 'pending' AND {waits})" for word, waits in _WAITS.items() if word in words]
    return [f"({' OR '.join(stands)})"]


def _needles(wanted: JobFilter) -> JsonObject:
    """What is looked for as it is, and as JSON that we have written has it; and where it is not looked for."""
    folded = needle(wanted.search or "")
    return {
        "needle": folded,
        "as_json": to_json(folded)[1:-1],
        "sensitive": to_json({name: list(names) for name, names in wanted.sensitive.items()}),
    }


def _contains(text: str, needle: str = ":needle") -> str:
    """Whether the folded text has the needle in it; what is all ASCII, as most is, needs no function of ours."""
    is_ascii = f"length({text}) = length(CAST({text} AS BLOB))"
    return (
        f"CASE WHEN {is_ascii} THEN instr(lower({text}), {needle}) ELSE instr(fold({text}), {needle}) END > 0"
    )


_TARGET: Final = "(j.class_name || '::' || j.method_name)"
_HAS_SECRETS: Final = "j.sensitive IS NOT NULL OR j.class_name IN (SELECT key FROM json_each(:sensitive))"
_HAS_VALUE: Final = (
    f"CASE WHEN CASE WHEN {_HAS_SECRETS} THEN true ELSE {_contains('j.parameters', ':as_json')} END "
    "THEN has_value(j.parameters, j.sensitive, "
    "(SELECT value FROM json_each(:sensitive) WHERE key = j.class_name), :as_json) ELSE false END"
)
"""Most are told apart by their text. Where that has secrets it is no matter what they are: time would tell."""


def _summary(row: tuple[Any, ...]) -> JsonObject:
    *columns, step, waiting_on, ready, attempt, outcome, progress = row
    return {
        **dict(zip(_SUMMARY, columns, strict=True)),
        "labels": labels_of(columns[-1]),
        "step": step,
        "waiting_on": waiting_on if ready == written.WAITING else None,
        "is_blocked": ready == written.BLOCKED,
        "is_behind": ready == written.BEHIND,
        "attempt": attempt or 0,
        "outcome": outcome,
        "progress": parsed(progress),
    }


def _listed(row: tuple[Any, ...]) -> JsonObject:
    summary, told = row[: -len(_OF_LISTED)], row[-len(_OF_LISTED) :]
    return _summary(summary) | dict(zip(_OF_LISTED, told, strict=True))


# All that match

_MATCHED: Final = "j.id, j.class_name, j.status, j.max_retries, {at}"


def oldest_first(
    connection: Connection,
    wanted: JobFilter,
    as_of: str,
    behind: Place | None,
    limit: int,
    now: float,
    budget: float = BUDGET,
) -> tuple[list[tuple[Any, ...]], Place | None]:
    """At most `limit` of all these jobs that had ended, where all of `status` are ends, else were submitted, by the
    stored instant `as_of`: those behind a place, and the place from which to go on, None at the end.

    Each is id, class, status, max_retries and that moment. Those for review are not among them.
    """
    at = "j.finished_at" if wanted.has_ended else "j.created_at"
    sources, rest = _ways_to_all(wanted, at)
    if not sources:
        return [], None
    usual = _walk_over_jobs(wanted, sources, rest, now)
    by_end = sources[0] in _ENDED_SOURCES.values()
    by_id = _OWN_IDS.get(sources, _BY_ID)
    ended_by = min((as_of, INT_MAX), (_NO_END if wanted.until is None else wanted.until, INT_MIN))
    first, last = ((wanted.since or "", INT_MIN), ended_by) if by_end else ((INT_MIN,), (INT_MAX,))
    walk = replace(
        usual,
        keys=_BY_END if by_end else by_id,
        columns=_MATCHED.format(at=at),
        parameters={**usual.parameters, "as_of": as_of},
        is_backwards=False,
        last=last,
        first_chunk=_FIRST_CHUNK,
    )
    deadline = time.monotonic() + budget
    return _portion(connection, walk, first if behind is None else behind, limit, deadline)


def _ways_to_all(wanted: JobFilter, at: str) -> tuple[tuple[str, ...], list[str]]:
    """As _ways_to_jobs, by what has jobs of its own where such a one is named: those are few."""
    owners = [name for name in _OWNERS if getattr(wanted, name) is not None]
    if not owners:
        sources, rest = _ways_to_jobs(wanted)
        return sources, [*rest, f"{at} <= :as_of", "j.review_since IS NULL"]
    rest = [*_standing_by(wanted.status), *(_OWNERS[name][0] for name in owners[1:]), *_told_apart(wanted)]
    rest += [f"{at} <= :as_of", "j.review_since IS NULL"]
    return (_OWNERS[owners[0]][1],), rest + _within(wanted)


def _portion(
    connection: Connection, walk: _Walk, start: Place, limit: int, deadline: float
) -> tuple[list[tuple[Any, ...]], Place | None]:
    found, is_over = _Found(limit), False
    for size in _sizes(walk.first_chunk):
        start, is_over = _look_through(connection, walk, start, size, found)
        if is_over or found.is_full or time.monotonic() > deadline:
            break
    wanted = found.rows[:-1] if found.is_full else found.rows
    rows = [row[len(walk.keys) :] for row in wanted]
    if not found.is_full:
        return rows, None if is_over else start
    return rows, walk.place_of(wanted[-1])


# Attempts of a job

ATTEMPT_COLUMNS: Final = (
    *("job_id", "number", "pid", "started_at", "finished_at", "outcome", "exit_code", "signal"),
    *("error_type", "error_message", "traceback", "max_rss", "cpu_user", "cpu_system", "output_bytes"),
    *("code_version", "progress", "spends_retry", "error_class", "error_group", "waited", "token", "host"),
)
_ATTEMPTS: Final = f"""
    SELECT {", ".join(ATTEMPT_COLUMNS[:-1])}, {named_host("job_attempts")} FROM job_attempts
    WHERE job_id = :id AND number < :before ORDER BY number DESC LIMIT :limit
"""


def attempts(connection: Connection, job_id: int, before: int | None, limit: int | None) -> Page:
    """The job's latest attempts of smaller numbers than `before`, the latest last; without a limit all that fit."""
    most = INT_MAX - 1 if limit is None else limit
    found = _Found(most)
    start = INT_MAX if before is None else before
    for row in connection.execute(_ATTEMPTS, {"id": job_id, "before": start, "limit": most + 1}):
        found.add(row)
        if found.is_full:
            break
    rows = found.rows[:-1] if found.is_full else found.rows
    shown = [attempt_of(row) for row in reversed(rows)]
    return Page(shown, shown[0]["number"] if found.is_full else None)


def attempt_of(row: tuple[Any, ...]) -> JsonObject:
    """An attempt as it is shown, of the row's values: its token as the `span` that stands for it."""
    attempt = dict(zip(ATTEMPT_COLUMNS, row, strict=True))
    span = span_of(attempt.pop("token"))
    told = {"progress": parsed(attempt["progress"]), "spends_retry": bool(attempt["spends_retry"])}
    return attempt | told | {"span": span}


# Log entries

_ENTRY: Final = ("id", "job_id", "attempt", "attempts_allowed", "type", "message", "context", "created_at")
_BY_ENTRY: Final = ("l.id",)
_ENTRY_COLUMNS: Final = ", ".join([*(f"l.{name}" for name in _ENTRY), "j.class_name", "j.method_name"])
_ITS_JOB: Final = " CROSS JOIN background_jobs AS j ON j.id = l.job_id"
_ANY_ENTRY: Final = "job_logs AS l NOT INDEXED{its_job} WHERE true"
_ALL_ENTRIES: Final = "job_logs AS l INDEXED BY logs_job WHERE true"
"""As _ANY_ENTRY, in no order and on an index alone."""

_OF_JOB: Final = "job_logs AS l INDEXED BY logs_job{its_job} WHERE l.job_id = :id"
_OF_TYPE: Final = "job_logs AS l INDEXED BY logs_type{its_job} WHERE l.type = :type AND l.type <> 'success'"


def entries(
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
    source, rest = _ways_to_entries(wanted)
    highest = INT_MAX if before is None else before
    if until is not None:
        highest, count = min(highest, id_at(connection, until) + 1), None
    start, last = (highest, INT_MIN) if after is None else (after, highest - 1)
    walk = _walk_over_entries(wanted, source, rest, is_backwards=after is None, last=last)
    page = _walk(connection, walk, (start,), limit, deadline, _entry)
    if count is None:
        return page
    counted = _Count((_countable(source, rest),), walk.rest, walk.parameters, count)
    return _with_total(connection, page, counted, before is None and not after, deadline)


def _walk_over_entries(
    wanted: LogFilter, source: str, rest: Sequence[str], is_backwards: bool, last: int
) -> _Walk:
    parameters = {
        "id": wanted.id,
        "type": wanted.type,
        "class_name": wanted.class_name,
        "method_name": wanted.method_name,
        "needle": needle(wanted.search or ""),
    }
    with_job = source.format(its_job=_ITS_JOB)
    return _Walk(_BY_ENTRY, _ENTRY_COLUMNS, (with_job,), tuple(rest), parameters, is_backwards, (last,))


def _countable(source: str, rest: Sequence[str]) -> str:
    """The source with no more than the conditions need."""
    if source == _ANY_ENTRY and not rest:
        return _ALL_ENTRIES
    has_job = any("j." in condition for condition in rest)
    return source.format(its_job=_ITS_JOB if has_job else "")


def _ways_to_entries(wanted: LogFilter) -> tuple[str, list[str]]:
    """The source that has these entries, and the conditions that it leaves open."""
    source, rest = _source_of_entries(wanted)
    named = [name for name in ("class_name", "method_name") if getattr(wanted, name) is not None]
    rest += [f"j.{name} = :{name}" for name in named]
    if wanted.said:
        rest.append(IS_SAID)
    if wanted.search:
        rest.append(_SAYS)
    return source, rest


_SAYS: Final = f"(instr(coalesce(l.folded, lower(l.message)), :needle) > 0 OR {_contains(_TARGET)})"


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


def labels_of(text: str | None) -> list[str]:
    """The labels that a job's row has."""
    return [] if text is None else json.loads(text)


def parsed(text: str | None) -> Any:
    """What a stored JSON text says; None where there is none."""
    return None if text is None else json.loads(text)
