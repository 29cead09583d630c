"""What the books say of edges and groups: where each contradicts what it is made of; the SQL and the words for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

Ask = Callable[[str], list[tuple[Any, ...]]]
"""Runs a statement on a connection that cannot write."""

OF_JOBS: Final = (
    (
        "j.cancelled_after IS NOT NULL AND (j.status <> 'cancelled' OR j.failed_before = 0)",
        "it is {status}, and cancelled_after names what is no reason for a cancel",
    ),
    (
        "j.status = 'pending' AND j.failed_before > 0",
        "it is pending, and what it comes after has failed",
    ),
    (
        "j.status NOT IN ('pending', 'cancelled') AND j.waits_for > 0",
        "it is {status}, and still waits for what it comes after",
    ),
    (
        "(j.ready = 2) <> (j.status = 'pending' AND j.waits_for > 0)",
        "it is {status}, and its ready does not go with what it waits for",
    ),
    (
        "(j.if_failed IS NOT NULL OR j.waits_for <> 0) AND j.waits_for <> "
        "(SELECT count(*) FROM job_dependencies WHERE job_id = j.id AND standing <> 1)",
        "its waits_for is not the number of its edges that are not met",
    ),
    (
        "(j.if_failed IS NOT NULL OR j.failed_before <> 0) AND j.failed_before <> CASE WHEN j.if_failed = 'cancel' "
        "THEN (SELECT count(*) FROM job_dependencies WHERE job_id = j.id AND standing = 2) ELSE 0 END",
        "its failed_before is not the number of its edges that have failed",
    ),
    (
        "j.group_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM job_groups WHERE id = j.group_id)",
        "it is a member of a group that there is not",
    ),
)
"""Rows of audit._OF_JOBS."""

_FATE_OF_GROUP: Final = (
    "CASE WHEN {0}.id IS NULL THEN 'deleted' WHEN {0}.ended_at IS NULL THEN 'unfinished' "
    "WHEN {0}.failed + {0}.cancelled > 0 THEN 'failed' ELSE 'completed' END"
)
_FATE: Final = f"""
    CASE WHEN d."of" = 'group' THEN {_FATE_OF_GROUP.format("g")}
        WHEN p.id IS NULL THEN 'deleted'
        WHEN p.status IN ('pending', 'running') OR p.review_since IS NOT NULL THEN 'unfinished'
        WHEN p.status = 'completed' THEN 'completed' ELSE 'failed' END
"""
# A failed edge may be of what is deleted, for good: then nobody waits for it any more.
_ODD_EDGES: Final = f"""
    SELECT d.job_id, d."of", d.after_id, d.standing, {_FATE}, j.id IS NULL
    FROM job_dependencies AS d LEFT JOIN background_jobs AS j ON j.id = d.job_id
    LEFT JOIN background_jobs AS p ON d."of" = 'job' AND p.id = d.after_id
    LEFT JOIN job_groups AS g ON d."of" = 'group' AND g.id = d.after_id
    WHERE (j.id IS NULL OR j.if_failed IS NULL OR d.standing NOT IN (0, 1, 2)
        OR (d.standing = 0 AND {_FATE} <> 'unfinished')
        OR (d.standing = 2 AND (j.if_failed = 'run' OR {_FATE} IN ('unfinished', 'completed')
            OR ({_FATE} = 'deleted' AND j.if_failed = 'wait' AND j.status = 'pending'))))
        AND NOT EXISTS (SELECT 1 FROM consequences AS c WHERE c."of" = d."of" AND c.id = d.after_id)
    LIMIT :most
"""
_STANDING: Final = {0: "open", 1: "met", 2: "failed"}

_COUNTS: Final = ("unfinished", "completed", "failed", "cancelled")
# What of a group's members is deleted has ended, and stays counted.
_ODD_GROUPS: Final = f"""
    SELECT g.id, g.total, g.unfinished, g.completed, g.failed, g.cancelled, g.sealed_at IS NOT NULL,
        g.ended_at IS NOT NULL, g.group_id IS NOT NULL AND parent.id IS NULL,
        coalesce(j.unfinished, 0) + coalesce(n.unfinished, 0), coalesce(j.completed, 0) + coalesce(n.completed, 0),
        coalesce(j.failed, 0) + coalesce(n.failed, 0), coalesce(j.cancelled, 0)
    FROM job_groups AS g LEFT JOIN job_groups AS parent ON parent.id = g.group_id
    LEFT JOIN (
        SELECT group_id, total(status IN ('pending', 'running') OR review_since IS NOT NULL) AS unfinished,
            total(status = 'completed') AS completed, total(status = 'failed' AND review_since IS NULL) AS failed,
            total(status = 'cancelled') AS cancelled
        FROM background_jobs INDEXED BY jobs_of_group WHERE group_id IS NOT NULL GROUP BY group_id
    ) AS j ON j.group_id = g.id
    LEFT JOIN (
        SELECT group_id, total(fate = 'unfinished') AS unfinished, total(fate = 'completed') AS completed,
            total(fate = 'failed') AS failed
        FROM (SELECT m.group_id, {_FATE_OF_GROUP.format("m")} AS fate FROM job_groups AS m WHERE m.group_id IS NOT NULL)
        GROUP BY group_id
    ) AS n ON n.group_id = g.id
    WHERE g.total <> g.unfinished + g.completed + g.failed + g.cancelled
        OR (g.ended_at IS NOT NULL) <> (g.sealed_at IS NOT NULL AND g.unfinished = 0)
        OR (g.group_id IS NOT NULL AND parent.id IS NULL)
        OR g.unfinished <> coalesce(j.unfinished, 0) + coalesce(n.unfinished, 0)
        OR g.completed < coalesce(j.completed, 0) + coalesce(n.completed, 0)
        OR g.failed < coalesce(j.failed, 0) + coalesce(n.failed, 0)
        OR g.cancelled < coalesce(j.cancelled, 0)
    LIMIT :most
"""
_REUSABLE_ID: Final = """
    SELECT max(id) FROM job_groups
    HAVING max(id) > (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'job_groups')
"""


def odd_edges(ask: Ask, most: int) -> Iterator[tuple[int, str]]:
    """The jobs with an edge that does not stand as what it leads from, unless that is still to be settled."""
    for job_id, of, after_id, standing, fate, is_left in ask(_ODD_EDGES.replace(":most", str(most))):
        after = f"{of} {after_id}"
        if is_left:
            yield job_id, f"it comes after {after}, and there is no such job"
        else:
            stands = _STANDING.get(standing, str(standing))
            yield job_id, f"it comes after {after}, which is {fate}, and its edge is {stands}"


def odd_groups(ask: Ask, most: int) -> Iterator[tuple[int, str]]:
    """The groups that contradict their members, or themselves."""
    for id, total, *more in ask(_ODD_GROUPS.replace(":most", str(most))):
        counted, (is_sealed, has_ended, is_forlorn), there = more[:4], more[4:7], [int(n) for n in more[7:]]
        yield id, _why_odd(total, counted, there, is_sealed, has_ended, is_forlorn)
    for (id,) in ask(_REUSABLE_ID):
        yield id, "the counter of ids is behind it: its id could be given again"


def _why_odd(
    total: int, counted: list[int], there: list[int], is_sealed: bool, has_ended: bool, is_forlorn: bool
) -> str:
    if is_forlorn:
        return "the group that it is in is not there"
    if total != sum(counted):
        return f"its total is {total}, and it counts {sum(counted)}"
    if has_ended != (is_sealed and counted[0] == 0):
        return f"it has {'an' if has_ended else 'no'} ended_at, and {counted[0]} unfinished members"
    name, told, found = next(
        (name, told, found)
        for name, told, found in zip(_COUNTS, counted, there, strict=True)
        if told < found or (name == "unfinished" and told != found)
    )
    return f"it counts {told} {name} members, and has {found}"
