"""Where the jobs of a filter are: the indexes that have them, and the conditions that these leave open."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bgjob.errors import InvalidParameterError
from bgjob.words import (
    BEHIND,
    BLOCKED,
    FINAL,
    RETRYING,
    REVIEW,
    SCHEDULED,
    SNOOZED,
    STATUS_WORDS,
    WAITING,
    Status,
)
from bgjobd.store import written
from bgjobd.store.filters import JobFilter
from bgjobd.store.pages.searches import HAS_VALUE, TARGET, contains

_ITS_LATEST_ATTEMPT: Final = (
    "LEFT JOIN job_attempts AS a "
    "ON a.job_id = j.id AND a.number = (SELECT max(number) FROM job_attempts WHERE job_id = j.id)"
)


def jobs_by(index: str, condition: str) -> str:
    """Jobs with their latest attempts; where none of its columns is asked for, SQLite leaves the attempts out."""
    return f"background_jobs AS j {index} {_ITS_LATEST_ATTEMPT} WHERE {condition}"


ANY_JOB: Final = jobs_by("NOT INDEXED", "true")
_IS_FOR_REVIEW: Final = "j.review_since IS NOT NULL"
_IS_PENDING: Final = "j.status = 'pending' AND j.finished_at IS NULL"
_NOT_READY: Final = jobs_by("INDEXED BY jobs_pending", f"{_IS_PENDING} AND j.ready = 0")
_READY: Final = jobs_by("INDEXED BY jobs_pending", f"{_IS_PENDING} AND j.ready = 1")
_BLOCKED: Final = jobs_by("INDEXED BY jobs_pending", f"{_IS_PENDING} AND j.ready = {written.BLOCKED}")
_BEHIND: Final = jobs_by("INDEXED BY jobs_pending", f"{_IS_PENDING} AND j.ready = {written.BEHIND}")
_WAITING: Final = jobs_by("INDEXED BY jobs_pending", f"{_IS_PENDING} AND j.ready = {written.WAITING}")
JOB_SOURCES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        Status.PENDING: (_READY, _NOT_READY, _BLOCKED, _BEHIND, _WAITING),
        SCHEDULED: (_NOT_READY,),
        RETRYING: (_NOT_READY,),
        SNOOZED: (_NOT_READY,),
        BLOCKED: (_BLOCKED,),
        BEHIND: (_BEHIND,),
        WAITING: (_WAITING,),
        Status.RUNNING: (jobs_by("INDEXED BY jobs_running", "j.status = 'running'"),),
        **{
            status.value: (
                jobs_by("INDEXED BY jobs_finished", f"j.status = '{status}' AND j.finished_at IS NOT NULL"),
            )
            for status in sorted(FINAL)
        },
        REVIEW: (jobs_by("INDEXED BY jobs_for_review", _IS_FOR_REVIEW),),
    }
)
ENDED_SOURCES: Final[Mapping[str, str]] = MappingProxyType(
    {
        status.value: jobs_by("INDEXED BY jobs_ended", f"j.status = '{status}' AND j.finished_at IS NOT NULL")
        for status in sorted(FINAL)
    }
)
"""The same jobs as JOB_SOURCES has of these, in the order of their ends."""

ALL_JOBS: Final = tuple(dict.fromkeys(source for status in Status for source in JOB_SOURCES[status]))
"""As ANY_JOB, in no order and on indexes alone."""

_OF_SCHEDULE: Final = jobs_by(
    "INDEXED BY jobs_by_schedule", "j.schedule = :schedule AND j.schedule IS NOT NULL"
)
"""All jobs of one, in the order of their submits."""

_OF_GROUP: Final = jobs_by("INDEXED BY jobs_of_group", "j.group_id = :group AND j.group_id IS NOT NULL")
"""The same of a group's members."""

_OF_KEY: Final = jobs_by("INDEXED BY jobs_by_key", "j.key = :key AND j.key IS NOT NULL")
"""The same of those with a key, of all queues."""

_AGAIN_OF: Final = jobs_by("INDEXED BY jobs_again", "j.again_of = :again_of AND j.again_of IS NOT NULL")
"""The same of those that run the call of a job once more."""

_OF_BULK: Final = jobs_by("INDEXED BY jobs_of_bulk", "j.bulk = :bulk AND j.bulk IS NOT NULL")
"""The same of those that were retried or cancelled with many, by one change."""

OF_ERROR: Final = f"""
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


BY_ID: Final = ("j.id",)
OWN_IDS: Final[Mapping[tuple[str, ...], tuple[str, ...]]] = {
    (OF_ERROR,): ("e.job_id",),
    (_OF_LABEL,): ("l.job_id",),
}
"""Of sources that have the ids of jobs in tables of their own."""


_OF_ATTEMPT: Final = {
    "outcome": "a.outcome = :outcome",
    "longer_than": "86400 * (julianday(CASE WHEN a.outcome IS NULL THEN :now ELSE a.finished_at END) "
    "- julianday(a.started_at)) > :longer_than",
}
"""The conditions of how the latest attempt went."""

OWNERS: Final = {
    "bulk": ("j.bulk = :bulk", _OF_BULK),
    "error": (_HAS_MET, OF_ERROR),
    "again_of": ("j.again_of = :again_of", _AGAIN_OF),
    "group": ("j.group_id = :group", _OF_GROUP),
    "key": ("j.key = :key", _OF_KEY),
    "label": (_HAS_LABEL, _OF_LABEL),
    "schedule": ("j.schedule = :schedule", _OF_SCHEDULE),
}
"""What has jobs of its own, by the name of the filter: the condition that tells whose one is, and the source of all."""


def ways_to_jobs(wanted: JobFilter) -> tuple[tuple[str, ...], list[str]]:
    """The sources that have these jobs, each once, and the conditions that they leave open."""
    owners = [name for name in OWNERS if getattr(wanted, name) is not None]
    own = [OWNERS[name][0] for name in owners]
    if wanted.is_by_end:
        words = sorted(set(wanted.status or FINAL))
        return tuple(ENDED_SOURCES[word] for word in words), own + told_apart(wanted)
    sources, rest = _sources_of_jobs(wanted.status)
    if owners and sources:
        sources, rest = (OWNERS[owners[0]][1],), standing_by(wanted.status) + own[1:]
    return sources, rest + within_time(wanted) + told_apart(wanted)


def within_time(wanted: JobFilter) -> list[str]:
    """The conditions of time, which bound a walk in the order of ends."""
    at = "j.finished_at" if wanted.has_ended else "j.created_at"
    conditions = {"since": f"{at} >= :since", "until": f"{at} < :until"}
    return [condition for name, condition in conditions.items() if getattr(wanted, name) is not None]


def told_apart(wanted: JobFilter) -> list[str]:
    """The conditions of names and of a search, which no index has."""
    named = [name for name in ("queue", "class_name", "method_name") if getattr(wanted, name) is not None]
    rest = [f"j.{name} = :{name}" for name in named]
    rest += [_OF_ATTEMPT[name] for name in _OF_ATTEMPT if getattr(wanted, name) is not None]
    if wanted.host is not None:
        rest.append("a.host IN (SELECT id FROM hosts WHERE name = :host)")
    if wanted.search:
        rest.append(f"({contains(TARGET)} OR {contains('j.error')} OR {HAS_VALUE})")
    return rest


def _sources_of_jobs(words: tuple[str, ...] | None) -> tuple[tuple[str, ...], list[str]]:
    """Those that have the jobs of these words, and the conditions that they leave open."""
    if words is None:
        return (ANY_JOB,), []
    status = frozenset(words)
    if not status.issubset(STATUS_WORDS):
        raise InvalidParameterError(parameter="status")
    if status >= frozenset(Status):
        return (ANY_JOB,), []
    if Status.PENDING in status:
        status = status.difference(_WAITS)
    if Status.FAILED in status:
        status = status.difference({REVIEW})
    sources = dict.fromkeys(source for word in sorted(status) for source in JOB_SOURCES[word])
    waits = [condition for word, condition in _WAITS.items() if word in status]
    return tuple(sources), [f"(j.status <> 'pending' OR {' OR '.join(waits)})"] if waits else []


def standing_by(words: tuple[str, ...] | None) -> list[str]:
    """The condition that a job stands by one of these words, where no source says so."""
    if words is None:
        return []
    stands = [f"j.status = '{word}'" for word in words if word not in _WAITS and word != REVIEW]
    stands += [_IS_FOR_REVIEW] if REVIEW in words else []
    stands += [f"(j.status = 'pending' AND {waits})" for word, waits in _WAITS.items() if word in words]
    return [f"({' OR '.join(stands)})"]
