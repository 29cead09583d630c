"""What a submission says of others: what its jobs come after, take of results, and are members of, by a daemon's rules;
who that is, and what becomes of it, is in `flows`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from bgjob.codec import JsonObject
from bgjob.errors import InvalidParameterError, TooLargeError

MOST_OF_A_JOB: Final = 1000

_POINTER: Final = re.compile(r"(?:/(?:[^~]|~[01])*)?")


class Node(NamedTuple):
    """A job or a group: by its id, or, where the same request makes it, by its place there."""

    of: str
    id: int
    is_new: bool = False

    @property
    def named(self) -> str:
        return f"{self.of} {self.id}"

    @property
    def asked(self) -> JsonObject:
        """As the socket names it."""
        return {"id" if self.of == "job" else "group": self.id}


class Take(NamedTuple):
    """Where a parameter comes from."""

    of: Node
    pointer: str


class Ties(NamedTuple):
    """What a job comes after, what of that it takes, and the group that it is in."""

    after: tuple[Node, ...] = ()
    takes: Mapping[str, Take] = {}  # nobody changes them
    group: Node | None = None

    @property
    def predecessors(self) -> list[Node]:
        """All that it comes after, each once."""
        return list(dict.fromkeys([*self.after, *(take.of for take in self.takes.values())]))


class NewGroup(NamedTuple):
    """A group that a request makes."""

    name: str | None
    is_open: bool
    parent: Node | None
    key: str | None


class Names:
    """The names that a request has given until now."""

    def __init__(self) -> None:
        self._jobs: dict[str, int] = {}
        self._groups: dict[str, int] = {}

    def groups(self, given: list[JsonObject]) -> list[NewGroup]:
        """The groups of the request. Raises InvalidParameterError."""
        made = []
        for place, one in enumerate(given):
            parent = None if one.get("group") is None else self._group(one["group"], f"groups.{place}.group")
            _name(self._groups, one.get("ref"), place, f"groups.{place}.ref")
            made.append(NewGroup(one.get("name"), bool(one.get("open")), parent, one.get("idempotency_key")))
        return made

    def name_job(self, given: JsonObject, place: int) -> None:
        """Raises InvalidParameterError."""
        if given.get("ref") is not None:
            _name(self._jobs, given["ref"], place, "ref")

    def ties(self, options: JsonObject) -> Ties:
        """What the options say. Raises InvalidParameterError, TooLargeError."""
        after = [
            self._node(one, f"options.after.{place}") for place, one in enumerate(options.get("after") or ())
        ]
        takes = {name: self._take(name, one) for name, one in (options.get("take") or {}).items()}
        group = options.get("group")
        ties = Ties(tuple(after), takes, None if group is None else self._group(group, "options.group"))
        count = len(ties.predecessors)
        if count > MOST_OF_A_JOB:
            raise TooLargeError(limit=MOST_OF_A_JOB, size=count, parameter="options.after")
        for name, is_wrong in (("delay", count > 0), ("if_failed", count == 0)):
            if is_wrong and options.get(name) is not None:
                raise InvalidParameterError(parameter=f"options.{name}")
        return ties

    def _take(self, name: str, given: Any) -> Take:
        place = f"options.take.{name}"
        of, pointer = (given.get("of"), given.get("pointer")) if isinstance(given, dict) else (None, None)
        node = self._node(of, f"{place}.of")
        if pointer is not None and not (isinstance(pointer, str) and _POINTER.fullmatch(pointer)):
            raise InvalidParameterError(parameter=f"{place}.pointer")
        return Take(node, pointer or "")

    def _node(self, given: Any, place: str) -> Node:
        match _only(given):
            case "id", int() as job_id:
                return Node("job", job_id)
            case "group", int() as group_id:
                return Node("group", group_id)
            case "ref", str() as ref if ref in self._jobs:
                return Node("job", self._jobs[ref], is_new=True)
            case "group_ref", str() as ref if ref in self._groups:
                return Node("group", self._groups[ref], is_new=True)
            case _:
                raise InvalidParameterError(parameter=place)

    def _group(self, given: Any, place: str) -> Node:
        match _only(given):
            case "id", int() as group_id:
                return Node("group", group_id)
            case "ref", str() as ref if ref in self._groups:
                return Node("group", self._groups[ref], is_new=True)
            case _:
                raise InvalidParameterError(parameter=place)


def _only(given: Any) -> tuple[str, Any] | None:
    """The only key that has a value, and that."""
    told = (
        [(name, value) for name, value in given.items() if value is not None]
        if isinstance(given, dict)
        else []
    )
    return told[0] if len(told) == 1 and not isinstance(told[0][1], bool) else None


def _name(names: dict[str, int], ref: Any, number: int, place: str) -> None:
    if not isinstance(ref, str) or not 1 <= len(ref) <= 64 or ref in names:
        raise InvalidParameterError(parameter=place)
    names[ref] = number
