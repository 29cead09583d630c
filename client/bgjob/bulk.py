"""Whether several jobs can be asked for in bulk: what they have in common once, then what each has for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from bgjob.codec import JsonObject
from bgjob.predecessors import ResultOf

_FIELDS: Final = frozenset({"class_name", "method_name", "parameters", "retry_count", "options"})
_OF_OTHERS: Final = frozenset({"after", "take"})
"""Options that name what a job comes after, which a daemon looks up for each."""


class Bulk(NamedTuple):
    """`common` has the fields of Submit that are the same in all jobs; a key is None where the caller gave none."""

    common: JsonObject
    each: list[JsonObject]
    keys: list[str | None]


def try_bulk(jobs: Sequence[Mapping[str, Any]]) -> Bulk | None:
    """The jobs, which have the fields of Submit; None where they differ in more than parameters and keys, or where a
    daemon would refuse the fields of one, whose place in the list it then tells.
    """
    each: list[JsonObject] = []
    keys: list[str | None] = []
    common = None
    for job in jobs:
        parameters, options, key = job.get("parameters"), job.get("options"), None
        if options and isinstance(options, Mapping) and "idempotency_key" in options:
            key = options["idempotency_key"]
            options = {name: value for name, value in options.items() if name != "idempotency_key"}
        own = _told(job, options)
        if common is None and options and not _OF_OTHERS.isdisjoint(options):
            return None
        common = common or own
        if own != common or not _FIELDS.issuperset(job) or not isinstance(key, str | None):
            return None
        if not isinstance(parameters, dict | None) or _takes(parameters):
            return None
        each.append(parameters or {})
        keys.append(key)
    return Bulk(_common(jobs[0]), each, keys) if jobs and _has_names(jobs[0]) else None


def _told(job: Mapping[str, Any], options: Any) -> tuple[Any, ...]:
    """What must be the same; as it is written where values may be equal that mean another thing, as 1 and True."""
    text = repr(options) if options else None
    retries = job.get("retry_count")
    return job.get("class_name"), job.get("method_name"), retries, type(retries), text


def _takes(parameters: JsonObject | None) -> bool:
    """Whether a parameter comes from a result."""
    return any(type(value) is ResultOf for value in (parameters or {}).values())


def _has_names(job: Mapping[str, Any]) -> bool:
    return job.get("class_name") is not None and job.get("method_name") is not None


def _common(job: Mapping[str, Any]) -> JsonObject:
    options = job.get("options") or {}
    own = {name: value for name, value in options.items() if name != "idempotency_key"}
    return {name: value for name, value in job.items() if name != "parameters"} | {"options": own}
