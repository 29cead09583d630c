"""What comes after what, as the daemon tells it: jobs and groups, and the arrows between them; no places, no markup."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bgjob import answers
from bgjob.words import Status

JOB: Final = "job"
GROUP: Final = "group"
OPEN: Final = "open"
MET: Final = "met"
FAILED: Final = "failed"
DESPITE: Final = "despite"
STANDINGS: Final = (MET, DESPITE, OPEN, FAILED)
"""What becomes of an arrow; where several are one line, the last of these is shown.

`DESPITE` is met by what failed or was cancelled: `if_failed` is "run", or somebody retried what follows anyway.
"""

ENDS: Final = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)
"""What members of a group end as, as its counts are called."""

_MOST_BESIDE: Final = 20

Told = Mapping[str, Any]
"""A job in short, a group or an edge, as the daemon tells it."""

Key = tuple[str, int]
"""A job or a group, and its id."""


@dataclass(frozen=True, slots=True)
class Arrow:
    """That one comes after another, or ends with it as a group with its members."""

    before: Key
    after: Key
    standing: str


@dataclass(frozen=True, slots=True)
class Graph:
    """Jobs and groups, and the arrows between them."""

    nodes: Mapping[Key, Told]
    arrows: tuple[Arrow, ...]

    @classmethod
    def of(cls, jobs: Sequence[Told], groups: Sequence[Told], edges: Iterable[Told]) -> Graph:
        """What the daemon tells; an arrow from or to what is not among the jobs and groups is left out."""
        nodes: dict[Key, Told] = {(JOB, job["id"]): job for job in jobs}
        nodes |= {(GROUP, group["id"]): group for group in groups}
        found = [
            *(_arrow(one, nodes) for one in edges),
            *(Arrow((JOB, one["id"]), (GROUP, one["group_id"] or 0), member_standing(one)) for one in jobs),
            *(Arrow((GROUP, one["id"]), (GROUP, one["group"] or 0), member_standing(one)) for one in groups),
        ]  # fmt: skip
        arrows = (one for one in found if {one.before, one.after} <= nodes.keys())
        return cls(nodes, tuple(dict.fromkeys(arrows)))


def _arrow(edge: Told, nodes: Mapping[Key, Told]) -> Arrow:
    before, standing = (edge["of"], edge["after"]), _standing(edge)
    if standing == MET and before in nodes and member_standing(nodes[before]) == FAILED:
        standing = DESPITE
    return Arrow(before, (JOB, edge["job_id"]), standing)


def _standing(edge: Told) -> str:
    """Which of those that we know."""
    return str(edge["standing"]) if edge["standing"] in STANDINGS else OPEN


def member_standing(told: Told) -> str:
    """How a group's member, a job or a group, stands to it."""
    word = told["state"] if "state" in told else told["status"]
    if "status" in told and answers.is_for_review(told):
        return OPEN
    if word in (Status.FAILED, Status.CANCELLED):
        return FAILED
    return MET if word == Status.COMPLETED else OPEN


def end_of(told: Told) -> str:
    """How a job or a group has ended that what comes after it cannot wait for: it failed, or was cancelled."""
    return str(
        Status.CANCELLED if Status.CANCELLED in (told.get("status"), told.get("state")) else Status.FAILED
    )


def neighbours(found: answers.Graph, of: Key) -> dict[str, Any]:
    """What a job `comes_after`, and it, or a group, `comes_before`: of either the gravest, and how many `more`."""
    told = Graph.of(found.jobs, found.groups, ()).nodes
    edges = sorted(
        found.edges, key=lambda one: (-STANDINGS.index(_standing(one)), one["after"], one["job_id"])
    )
    before = [(one, (one["of"], one["after"])) for one in edges if (JOB, one["job_id"]) == of]
    after = [(one, (JOB, one["job_id"])) for one in edges if (one["of"], one["after"]) == of]
    return {"comes_after": _beside(before, told), "comes_before": _beside(after, told)}


def sources(takes: Any) -> Iterator[dict[str, Any]]:
    """Of which job or group (`of`, `id`) each parameter is taken: `name`, `pointer`, and the `problem`, if any."""
    for name, one in (takes or {}).items():
        match one:
            case {"of": {"id": int(number)}}:
                of = JOB
            case {"of": {"group": int(number)}}:
                of = GROUP
            case _:
                continue  # no shape of ours
        told = {field: one.get(field) for field in ("pointer", "problem")}
        yield {"name": name, "of": of, "id": number, **told}


def _beside(found: Sequence[tuple[Told, Key]], told: Mapping[Key, Told]) -> dict[str, Any]:
    shown = [
        {"of": key[0], "standing": _standing(edge), "told": told[key]} for edge, key in found if key in told
    ][:_MOST_BESIDE]
    return {"shown": shown, "more": len(found) - len(shown)}


def members_told(group: Told) -> str:
    """How many of its members there are of each kind: "38 completed, 1 failed, 1 has not ended"."""
    unfinished = group["unfinished"]
    told = [f"{many:,} {kind}" for kind in ENDS if (many := group[kind])]
    told += [f"{unfinished:,} {'has' if unfinished == 1 else 'have'} not ended"] if unfinished else []
    return ", ".join(told) or "no members"
