"""Which of a job's parameters come from results, and how a value is put among them; JSON text in and out, no I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator

from bgjob.results import Result, to_json, try_put
from bgjobd.core.edges import Node, Of


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
            problem = try_put(name, take["pointer"], result, values, limit)
            if problem is not None:
                take["problem"] = problem
    return to_json(values), to_json(wanted)


def sources(takes: str | None) -> Iterator[tuple[str, Node, str | None]]:
    """Each parameter that is taken, of what, and the problem where that could not be done."""
    for name, take in (json.loads(takes) if takes is not None else {}).items():
        of = take["of"]
        node = Node(Of.JOB, of["id"]) if "id" in of else Node(Of.GROUP, of["group"])
        yield name, node, take.get("problem")
