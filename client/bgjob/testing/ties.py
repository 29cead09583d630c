"""What a submission says of others: what its jobs come after, take of results, and are members of, by a daemon's rules;
who that is, and what becomes of it, is in `flows`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from bgjob.codec import JsonObject
from bgjob.errors import InvalidParameterError, TooLargeError
from bgjob.results import is_pointer
from bgjob.submission_rules import check_new_group
from bgjob.words import MAX_PREDECESSORS


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

    def path_of(self, predecessor: Node) -> str:
        """Where the options name it."""
        if predecessor in self.after:
            return f"after.{self.after.index(predecessor)}"
        return next(f"take.{name}.of" for name, take in self.takes.items() if take.of == predecessor)


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
        self._keys: set[str | None] = set()

    def group(self, given: Any, place: int) -> NewGroup:
        """The next group of the request. Raises InvalidParameterError."""
        check_new_group(given, f"groups.{place}.")
        if given["ref"] in self._groups:
            raise InvalidParameterError(parameter=f"groups.{place}.ref")
        parent = None if given.get("group") is None else self._group(given["group"], f"groups.{place}.group")
        key = given.get("idempotency_key")
        if key is not None and key in self._keys:
            raise InvalidParameterError(parameter=f"groups.{place}.idempotency_key")
        self._keys.add(key)
        self._groups[given["ref"]] = place
        return NewGroup(given.get("name"), bool(given.get("open")), parent, key)

    def name_job(self, given: JsonObject, place: int) -> None:
        """Raises InvalidParameterError."""
        if given.get("ref") in self._jobs:
            raise InvalidParameterError(parameter="ref")
        if given.get("ref") is not None:
            self._jobs[given["ref"]] = place

    def ties(self, options: JsonObject) -> Ties:
        """What the options say. Raises InvalidParameterError, TooLargeError."""
        after = [
            self._node(one, f"options.after.{place}") for place, one in enumerate(options.get("after") or ())
        ]
        takes = {name: self._take(name, one) for name, one in (options.get("take") or {}).items()}
        group = options.get("group")
        ties = Ties(tuple(after), takes, None if group is None else self._group(group, "options.group"))
        count = len(ties.predecessors)
        if count > MAX_PREDECESSORS:
            raise TooLargeError(limit=MAX_PREDECESSORS, size=count, parameter="options.after")
        for name, is_wrong in (("delay", count > 0), ("if_failed", count == 0)):
            if is_wrong and options.get(name) is not None:
                raise InvalidParameterError(parameter=f"options.{name}")
        return ties

    def _take(self, name: str, given: JsonObject) -> Take:
        place, pointer = f"options.take.{name}", given.get("pointer") or ""
        node = self._node(given["of"], f"{place}.of")
        if not is_pointer(pointer):
            raise InvalidParameterError(parameter=f"{place}.pointer")
        return Take(node, pointer)

    def _node(self, given: JsonObject, place: str) -> Node:
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

    def _group(self, given: JsonObject, place: str) -> Node:
        match _only(given):
            case "id", int() as group_id:
                return Node("group", group_id)
            case "ref", str() as ref if ref in self._groups:
                return Node("group", self._groups[ref], is_new=True)
            case _:
                raise InvalidParameterError(parameter=place)


def _only(given: JsonObject) -> tuple[str, Any] | None:
    """The only key that has a value, and that."""
    told = [(name, value) for name, value in given.items() if value is not None]
    return told[0] if len(told) == 1 else None
