"""What a request says of the ties between jobs: its own names become places, its bounds are kept; no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field

from bgjob.errors import InvalidParameterError, TooLargeError
from bgjob.results import is_pointer
from bgjob.words import MAX_EDGES, MAX_PREDECESSORS, IfFailed
from bgjobd.api import schemas
from bgjobd.core.edges import MOST_ENCLOSING, Mentioned, NewGroup, Node, Of, Take, Ties


@dataclass(slots=True)
class Names:
    """The names that a request has given until now, the keys of its groups, and how many edges it has."""

    jobs: dict[str, int] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    depths: list[int] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    edges: int = 0

    def name(self, ref: str | None, place: int) -> None:
        """Give the job of this place its name. Raises InvalidParameterError where another has it."""
        if ref is None:
            return
        if ref in self.jobs:
            raise InvalidParameterError(parameter="ref")
        self.jobs[ref] = place

    def new_group(self, given: schemas.NewGroup) -> NewGroup:
        """The next group of the request; it may be in one that is listed before. Raises InvalidParameterError."""
        if given.ref in self.groups:
            raise InvalidParameterError(parameter="ref")
        parent = None if given.group is None else self._group(given.group, "group")
        if given.idempotency_key is not None:
            if given.idempotency_key in self.keys:
                raise InvalidParameterError(parameter="idempotency_key")
            self.keys.add(given.idempotency_key)
        depth = 1 + self._depth_of(parent)
        if depth > MOST_ENCLOSING:
            raise InvalidParameterError(parameter="group")
        self.depths.append(depth)
        self.groups[given.ref] = len(self.groups)
        return NewGroup(given.name, bool(given.open), parent, given.idempotency_key)

    def _depth_of(self, parent: int | Mentioned | None) -> int:
        """How deep a group of this request lies in others of it; how deep those lie that are there is seen later."""
        return self.depths[parent.place] if isinstance(parent, Mentioned) else 0

    def ties(self, options: schemas.Options) -> Ties | None:
        """What the options say, None where that is nothing. Raises InvalidParameterError, TooLargeError."""
        if options.after is None and options.take is None and options.group is None:
            if options.if_failed is not None:
                raise InvalidParameterError(parameter="options.if_failed")
            return None
        after = [
            self._predecessor(one, f"options.after.{place}") for place, one in enumerate(options.after or ())
        ]
        ties = Ties(
            tuple(after),
            IfFailed(options.if_failed or IfFailed.CANCEL),
            tuple([self._take(name, one) for name, one in (options.take or {}).items()]),
            None if options.group is None else self._group(options.group, "options.group"),
        )
        self._count(len(ties.predecessors))
        if ties.predecessors and options.delay is not None:
            # From when on it would count, nobody can guess.
            raise InvalidParameterError(parameter="options.delay")
        if not ties.predecessors and options.if_failed is not None:
            raise InvalidParameterError(parameter="options.if_failed")
        return ties

    def _count(self, edges: int) -> None:
        if edges > MAX_PREDECESSORS:
            raise TooLargeError(limit=MAX_PREDECESSORS, size=edges, parameter="options.after")
        self.edges += edges
        if self.edges > MAX_EDGES:
            raise TooLargeError(limit=MAX_EDGES, size=self.edges, parameter="jobs")

    def _take(self, name: str, given: schemas.Source) -> Take:
        path = f"options.take.{name}"
        pointer = given.pointer or ""
        if not is_pointer(pointer):
            raise InvalidParameterError(parameter=f"{path}.pointer")
        return Take(name, self._predecessor(given.of, f"{path}.of"), pointer)

    def _predecessor(self, given: schemas.Predecessor, path: str) -> Node | Mentioned:
        match given.id, given.ref, given.group, given.group_ref:
            case int() as id, None, None, None:
                return Node(Of.JOB, id)
            case None, str() as ref, None, None if ref in self.jobs:
                return Mentioned(Of.JOB, self.jobs[ref])
            case None, None, int() as id, None:
                return Node(Of.GROUP, id)
            case None, None, None, str() as ref if ref in self.groups:
                return Mentioned(Of.GROUP, self.groups[ref])
            case _:
                raise InvalidParameterError(parameter=path)

    def _group(self, given: schemas.InGroup, path: str) -> int | Mentioned:
        match given.id, given.ref:
            case int() as id, None:
                return id
            case None, str() as ref if ref in self.groups:
                return Mentioned(Of.GROUP, self.groups[ref])
            case _:
                raise InvalidParameterError(parameter=path)
