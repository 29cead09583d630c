"""What a request says of the ties between jobs: its own names become places, its bounds are kept; no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from bgjob.errors import InvalidParameterError, TooLargeError
from bgjob.words import IfFailed
from bgjobd.api import schemas
from bgjobd.core.edges import Mentioned, NewGroup, Node, Of, Take, Ties
from bgjobd.core.pointer import is_pointer

MOST_OF_A_JOB: Final = 1000
MOST_OF_A_REQUEST: Final = 20_000
"""How many others a job may come after, and how many all jobs of a request."""


@dataclass(slots=True)
class Names:
    """The names that a request has given until now, and how many edges it has."""

    jobs: dict[str, int] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    edges: int = 0

    def groups_of(self, given: Sequence[schemas.NewGroup]) -> tuple[NewGroup, ...]:
        """The groups of the request; each may be in one that is listed before. Raises InvalidParameterError."""
        made = []
        for place, one in enumerate(given):
            if one.ref in self.groups:
                raise InvalidParameterError(parameter=f"groups.{place}.ref")
            parent = None if one.group is None else self._group(one.group, f"groups.{place}.group")
            made.append(NewGroup(one.name, bool(one.open), parent, one.idempotency_key))
            self.groups[one.ref] = place
        return tuple(made)

    def name(self, ref: str | None, place: int) -> None:
        """Give the job of this place its name. Raises InvalidParameterError where another has it."""
        if ref is None:
            return
        if ref in self.jobs:
            raise InvalidParameterError(parameter="ref")
        self.jobs[ref] = place

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
            raise InvalidParameterError(
                parameter="options.delay"
            )  # from when on it would count, nobody can guess
        if not ties.predecessors and options.if_failed is not None:
            raise InvalidParameterError(parameter="options.if_failed")
        return ties

    def _count(self, edges: int) -> None:
        if edges > MOST_OF_A_JOB:
            raise TooLargeError(limit=MOST_OF_A_JOB, size=edges, parameter="options.after")
        self.edges += edges
        if self.edges > MOST_OF_A_REQUEST:
            raise TooLargeError(limit=MOST_OF_A_REQUEST, size=self.edges, parameter="jobs")

    def _take(self, name: str, given: schemas.Source) -> Take:
        path = f"options.take.{name}"
        pointer = given.pointer or ""
        if not is_pointer(pointer):
            raise InvalidParameterError(parameter=f"{path}.pointer")
        return Take(name, self._predecessor(given.of, f"{path}.of"), pointer)

    def _predecessor(self, given: schemas.Predecessor, path: str) -> Node | Mentioned:
        match given.model_dump(exclude_none=True):
            case {"id": int() as id, **rest} if not rest:
                return Node(Of.JOB, id)
            case {"group": int() as id, **rest} if not rest:
                return Node(Of.GROUP, id)
            case {"ref": str() as ref, **rest} if not rest and ref in self.jobs:
                return Mentioned(Of.JOB, self.jobs[ref])
            case {"group_ref": str() as ref, **rest} if not rest and ref in self.groups:
                return Mentioned(Of.GROUP, self.groups[ref])
            case _:
                raise InvalidParameterError(parameter=path)

    def _group(self, given: schemas.InGroup, path: str) -> int | Mentioned:
        match given.model_dump(exclude_none=True):
            case {"id": int() as id, **rest} if not rest:
                return id
            case {"ref": str() as ref, **rest} if not rest and ref in self.groups:
                return Mentioned(Of.GROUP, self.groups[ref])
            case _:
                raise InvalidParameterError(parameter=path)
