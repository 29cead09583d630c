"""What each kind of record in a journal must have, and may: a job could have written anything."""

from __future__ import annotations

from collections.abc import Iterable
from types import NoneType
from typing import NamedTuple

from .journal_lines import Record

_LARGEST = 2**53
"""No number of ours comes near; what is beyond, or no number, would not fit the database either."""

_RANGES = {
    "pid": (1, 2**22),
    "at": (0.0, 253_402_300_799.0),
    "strays": (0, 2**22),
    "oom_kills": (0, 2**22),
    "exit_code": (0, 255),
    "turn": (1, 1000),
    "place": (0, _LARGEST),
    "until": (0.0, 253_402_300_799.0),
    "own_cpu": (0.0, _LARGEST),
    "max_rss": (0, _LARGEST),
    "cpu_user": (0.0, _LARGEST),
    "cpu_system": (0.0, _LARGEST),
    "output_bytes": (0, _LARGEST),
    "used": (0, _LARGEST),
    "size": (0, _LARGEST),
    "most": (0, 2**63 - 1),
    "monotonic": (0.0, _LARGEST),
    "grace": (0.0, _LARGEST),
}
"""The kernel's largest pid, and the last second of the year 9999: what is beyond is no process, and no date."""


class _Field(NamedTuple):
    """One that a record must have, or may: of which types, and the least and the most that a number may be."""

    name: str
    types: frozenset[type]
    least: float
    most: float


def _fields(**types: type | tuple[type, ...]) -> tuple[_Field, ...]:
    return tuple(
        _Field(
            name,
            frozenset(each if isinstance(each, tuple) else (each,)),
            *_RANGES.get(name, (-_LARGEST, _LARGEST)),
        )
        for name, each in types.items()
    )


_NUMBER = (int, float)
_FIELDS = {
    "started": _fields(token=str, pid=int, start_time=int, pidfd_inode=int, monotonic=_NUMBER, at=_NUMBER),
    "fenced": (),
    "outcome": _fields(pid=int, outcome=str),
    "exit": _fields(pid=int, at=_NUMBER, code=(int, NoneType), signal=(int, NoneType)),
    "log": _fields(pid=int, at=_NUMBER, message=str, level=str),
    "progress": _fields(pid=int, at=_NUMBER, message=str, fraction=_NUMBER),
    "waiting": _fields(pid=int, at=_NUMBER, message=str, size=int),
    "began": _fields(pid=int, at=_NUMBER, name=str),
    "step": _fields(pid=int, at=_NUMBER, name=str, result=str, is_awaited=bool),
    "left": _fields(pid=int, at=_NUMBER, names=str),
    "stack": _fields(pid=int, at=_NUMBER, stack=str),
    "value": _fields(pid=int, at=_NUMBER, place=int, step=(str, NoneType), value=str),
}
_OUTCOME_FIELDS = {
    "completed": (),
    "failed": _fields(
        error_type=str, error_message=str, traceback=str, may_retry=bool, delay=(int, float, NoneType)
    ),
    "snoozed": _fields(delay=_NUMBER),
    "exited": _fields(exit_code=int),
    "suspended": _fields(
        kind=str, name=str, turn=int, delay=(int, float, NoneType), until=(int, float, NoneType)
    ),
}
_USAGE_FIELDS = _fields(max_rss=int, cpu_user=_NUMBER, cpu_system=_NUMBER, output_bytes=int)
"""What each kind of record, of outcome, and usage must have: the job could have written anything."""

_USAGE_NAMES = {field.name for field in _USAGE_FIELDS}
_EXCEEDED_FIELDS = _fields(limit=str, used=int, most=int)

_MORE = {
    field.name: field
    for field in _fields(
        strays=int,
        oom_kills=int,
        own_cpu=_NUMBER,
        monotonic=_NUMBER,
        error_class=(str, NoneType),
        throttles=(str, NoneType),
        stopped=str,
        grace=_NUMBER,
    )
}
"""What an exit record may have, or an outcome, and those of older versions have not."""

_LISTS = frozenset({"stray_names", "servers"})
"""What a record may have that is names."""


def is_whole(record: Record) -> bool:
    """Whether it has what a record of its kind must have, each of a type and within bounds that this may have."""
    if not _has(record, _FIELDS.get(str(record.get("type")))):
        return False
    more = record.keys() & _MORE
    if more and not all(_has(record, (_MORE[name],)) for name in more):
        return False
    lists = record.keys() & _LISTS
    if lists and not all(_are_names(record[name]) for name in lists):
        return False
    if record.get("exceeded") is not None and not _is_exceeded(record["exceeded"]):
        return False
    if record["type"] == "exit" and record.get("usage") is not None:
        usage = record["usage"]
        return isinstance(usage, dict) and usage.keys() == _USAGE_NAMES and _has(usage, _USAGE_FIELDS)
    return record["type"] != "outcome" or _has(record, _OUTCOME_FIELDS.get(record["outcome"]))


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_exceeded(value: object) -> bool:
    return isinstance(value, dict) and _has(value, _EXCEEDED_FIELDS)


def _has(record: Record, fields: Iterable[_Field] | None) -> bool:
    if fields is None:
        return False
    for name, types, least, most in fields:
        value = record.get(name)
        kind = type(value)  # as JSON has them: true is no number
        if kind not in types or (kind in _NUMBER and not least <= value <= most):  # type: ignore[operator]  # a number
            return False
    return True
