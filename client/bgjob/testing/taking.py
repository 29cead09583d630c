"""How results become parameters of jobs that come after, by the rules that a daemon has them from, too."""

from __future__ import annotations

from collections.abc import Mapping

from bgjob import results
from bgjob.codec import JsonObject
from bgjob.results import Result
from bgjob.testing.submissions import MAX_PARAMETERS
from bgjob.testing.ties import Node


def is_taken(row: JsonObject, node: Node) -> bool:
    """Whether the job takes something of this."""
    return any(wanted["of"] == node.asked for wanted in (row["takes"] or {}).values())


def take(row: JsonObject, node: Node, result: Result) -> None:
    """Put what a job takes of this into its parameters; what there is not is a `problem`."""
    for name, wanted in (row["takes"] or {}).items():
        if wanted["of"] == node.asked:
            wanted.pop("problem", None)
            row["parameters"].pop(name, None)
            problem = results.try_put(name, wanted["pointer"], result, row["parameters"], MAX_PARAMETERS)
            if problem is not None:
                wanted["problem"] = problem


def problems(row: JsonObject) -> list[str]:
    """Why a job cannot have what it was to take."""
    return [
        f"{name}: {wanted['problem']} (from {_named(wanted['of'])})"
        for name, wanted in (row["takes"] or {}).items()
        if "problem" in wanted
    ]


def _named(of: Mapping[str, int]) -> str:
    return f"job {of['id']}" if "id" in of else f"group {of['group']}"
