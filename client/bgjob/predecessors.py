"""What a job comes after, and what it takes of results, in the socket's words; flows of drafts are in `layout`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeAlias

from bgjob.codec import JsonObject
from bgjob.words import INT_MAX

_IN_A_POINTER: Final = str.maketrans({"~": "~0", "/": "~1"})


class Predecessor:
    """What a job can come after: a handle of a job, or of a group, and what has no id before it is submitted."""

    _word: ClassVar[str | None] = None
    """The key that its id has among predecessors; None where it has no id yet."""

    id: int
    _has_result: ClassVar[bool] = True


AnyPredecessor: TypeAlias = Predecessor | int | Mapping[str, Any]
"""A handle, a job's id, or what the socket has, such as `{"group": 5}`."""


class ResultOf:
    """What a parameter is to be taken from, once that has completed; the daemon puts the value into its place."""

    __slots__ = ("pointer", "source")

    def __init__(self, source: AnyPredecessor, pointer: str) -> None:
        self.source = source
        self.pointer = pointer

    def __repr__(self) -> str:
        return f"<result of {self.source!r}{self.pointer and ' at '}{self.pointer}>"

    def __str__(self) -> str:
        raise TypeError("a result that is still to come is no text; give it as the value of a parameter")


def result_of(source: AnyPredecessor, *path: str | int) -> Any:
    """Stands for the result of a job, or for those of a group's members, as the value of a parameter; of it what keys
    and places lead to. The job that has such a parameter comes after that one.

    Raises TypeError and ValueError for what no result has.
    """
    (source,) = checked([source])
    if isinstance(source, Predecessor) and not source._has_result:
        raise TypeError(f"{source!r} has no result; a job or a group has")
    for step in path:
        _check_step(step)
    steps = (str(step).translate(_IN_A_POINTER) for step in path)
    return ResultOf(source, "".join(f"/{step}" for step in steps))


def _check_step(step: Any) -> None:
    """What it leads to is looked up once the other job has completed, and such a mistake then fails this one."""
    if not isinstance(step, str | int) or isinstance(step, bool):
        raise TypeError(f"a result is taken by keys, which are texts, and by places, not by {step!r}")
    if isinstance(step, int) and step < 0:
        raise ValueError(f"the places of a list are counted from its beginning, from 0 on, unlike {step}")


def checked(after: Iterable[AnyPredecessor]) -> tuple[AnyPredecessor, ...]:
    """The same. Raises TypeError and ValueError for what no job can come after."""
    given = _listed(after)
    for one in given:
        if isinstance(one, Mapping):
            _check_named(one, ("id", "ref", "group", "group_ref"))
        elif isinstance(one, int):
            _check_id(one)
    return given


def check_group(group: AnyPredecessor) -> None:
    """Raises TypeError and ValueError for what no job can be a member of."""
    if isinstance(group, Mapping):
        _check_named(group, ("id", "ref"))
    else:
        _check_id(in_group(group)["id"])


def _check_named(one: Mapping[str, Any], words: tuple[str, ...]) -> None:
    if len(one) != 1 or not one.keys() <= {*words}:
        raise ValueError(f"one of {', '.join(words)} says which, not {one!r}")
    ((word, value),) = one.items()
    if word in ("id", "group"):
        _check_id(value)
    elif not isinstance(value, str):
        raise TypeError(f"a {word} is a text, not {value!r}")


def _check_id(id: Any) -> None:
    if not isinstance(id, int) or isinstance(id, bool):
        raise TypeError(f"an id is a whole number, not {id!r}")
    if not 1 <= id <= INT_MAX:
        raise ValueError("an id is a whole number from 1 on, of 64 bit at most")


def _listed(after: Iterable[AnyPredecessor]) -> tuple[AnyPredecessor, ...]:
    if isinstance(after, Predecessor | Mapping | str | int):
        raise TypeError(f"after is a list of what the job comes after, not {after!r}")
    given: tuple[Any, ...] = tuple(after)
    for one in given:
        if not isinstance(one, Predecessor | int | Mapping) or isinstance(one, bool):
            raise TypeError(f"a job comes after jobs and groups, or ids of jobs, not after {one!r}")
    return given


def all_named(after: Iterable[AnyPredecessor]) -> list[JsonObject]:
    return [named(one) for one in _listed(after)]


def named(one: AnyPredecessor) -> JsonObject:
    """As the socket names it. Raises TypeError for what has no id, as it is not submitted."""
    if isinstance(one, Mapping):
        return dict(one)
    if isinstance(one, int):
        return {"id": one}
    if one._word is None:
        raise TypeError(f"{one!r} has no id: submit it before, or both in one flow")
    return {one._word: one.id}


def in_group(group: AnyPredecessor) -> JsonObject:
    """The group that a job is a member of, by its handle or its id."""
    if isinstance(group, Predecessor) and group._word != "group":
        raise TypeError(f"a job is a member of a group, not of {group!r}")
    return dict(group) if isinstance(group, Mapping) else {"id": getattr(group, "id", group)}


def split(parameters: Any) -> tuple[Any, dict[str, ResultOf]]:
    """The parameters that are given, and those that are taken from results."""
    if not isinstance(parameters, dict):
        return parameters, {}
    taken = {name: value for name, value in parameters.items() if isinstance(value, ResultOf)}
    if not taken:
        return parameters, {}
    return {name: value for name, value in parameters.items() if name not in taken}, taken


def reached(names: Iterable[str], behind: Mapping[str, Sequence[str]]) -> set[str]:
    """These, and all that goes on with one of them, at whatever hand."""
    found: set[str] = set()
    waiting = deque(names)
    while waiting:
        name = waiting.popleft()
        if name not in found:
            found.add(name)
            waiting += behind.get(name, ())
    return found
