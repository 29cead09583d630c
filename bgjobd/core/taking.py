"""Which of a job's parameters come from results, and how a value is put among them; JSON text in and out, no I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from bgjob.words import MAX_DEPTH
from bgjobd.core.edges import Node, Of
from bgjobd.core.pointer import LeadsNowhereError, followed


@dataclass(frozen=True, slots=True)
class Result:
    """What there is to take, or why there is nothing; many may take the same of it, which is measured once.

    `is_missing`: it did not complete, and whoever comes after it all the same takes null.
    """

    value: Any = None
    problem: str | None = None
    is_missing: bool = False
    _sizes: dict[str, int] = field(default_factory=dict, compare=False)

    def at(self, pointer: str) -> tuple[Any, int]:
        """The value there, and how many bytes it takes. Raises LeadsNowhereError."""
        value = None if self.is_missing else followed(self.value, pointer)
        size = self._sizes.get(pointer)
        if size is None:
            size = self._sizes[pointer] = _size(value)
        return value, size


MISSING: Final = Result(is_missing=True)


def result_of(text: str | None) -> Result:
    """That of a job, as its JSON text; None where it did not complete. A job may have written its journal by itself."""
    if text is None:
        return MISSING
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return Result(problem="it is no JSON that can be read")
    return Result(problem=TOO_DEEP) if is_too_deep(value) else Result(value)


TOO_DEEP: Final = f"it is nested deeper than {MAX_DEPTH}"


def is_too_deep(value: Any) -> bool:
    """Whether it could be nobody's parameter: so deep may what is asked over the socket be."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for one in level if type(one) in _CONTAINERS for inner in _inner(one)]
        if not level:
            return False
    return any(type(one) in _CONTAINERS for one in level)


_CONTAINERS: Final = frozenset({dict, list})


def _inner(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value


def mentions(takes: str | None, node: Node) -> bool:
    """Whether something is taken of this node."""
    return takes is not None and any(of == node for _, of, _ in sources(takes))


def as_text(node: Node) -> dict[str, int]:
    """The node as `takes` names it."""
    return {"id": node.id} if node.of is Of.JOB else {"group": node.id}


def taken(takes: str, node: Node, result: Result, parameters: str, limit: int) -> tuple[str, str]:
    """Parameters and takes once what is wanted of this node is taken; `limit` in bytes of the parameters.

    What cannot be taken is a `problem` there, and no parameter.
    """
    wanted, values = json.loads(takes), json.loads(parameters)
    for name, take in wanted.items():
        if take["of"] == as_text(node):
            take.pop("problem", None)
            values.pop(name, None)
            problem = _take(name, take["pointer"], result, values, limit)
            if problem is not None:
                take["problem"] = problem
    return _to_json(values), _to_json(wanted)


def _take(name: str, pointer: str, result: Result, values: dict[str, Any], limit: int) -> str | None:
    """Put the value among the others; why not, where that cannot be."""
    if result.problem is not None:
        return result.problem
    try:
        value, own = result.at(pointer)
    except LeadsNowhereError as error:
        return str(error)
    size = _size({**values, name: None}) - _size(None) + own
    if size <= limit:
        values[name] = value
        return None
    return f"with it the parameters would take {size} bytes, the limit is {limit}; pass a path, not a file"


def _size(value: Any) -> int:
    return len(_to_json(value).encode())


def _to_json(value: Any) -> str:
    return _ENCODER.encode(value)


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def sources(takes: str | None) -> Iterator[tuple[str, Node, str | None]]:
    """Each parameter that is taken, of what, and the problem where that could not be done."""
    for name, take in (json.loads(takes) if takes is not None else {}).items():
        of = take["of"]
        node = Node(Of.JOB, of["id"]) if "id" in of else Node(Of.GROUP, of["group"])
        yield name, node, take.get("problem")
