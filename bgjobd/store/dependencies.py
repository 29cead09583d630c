"""What a transaction reads of groups, and of what jobs come after: for new ones, and for those that are retried."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from bgjob.codec import to_json
from bgjob.words import Status
from bgjobd.core.edges import Group, Mentioned, Node, Of, fate_of
from bgjobd.store import ids
from bgjobd.store.batch import Batch
from bgjobd.store.engines import Execute
from bgjobd.store.items.submissions import Flow
from bgjobd.store.rows import GROUP_COLUMNS, group_from_row

_COLUMNS: Final = ", ".join(GROUP_COLUMNS)
_SELECT_STANDS: Final = """
    SELECT t.id, t.status, t.review_since IS NOT NULL, t.group_id
    FROM json_each(:ids) AS wanted CROSS JOIN background_jobs AS t ON t.id = wanted.value
"""
_SELECT_GROUPS: Final = f"""
    WITH RECURSIVE up(id) AS (
        SELECT value FROM json_each(:ids)
        UNION SELECT g.group_id FROM up CROSS JOIN job_groups AS g ON g.id = up.id WHERE g.group_id IS NOT NULL
    )
    SELECT {_COLUMNS} FROM job_groups WHERE id IN (SELECT id FROM up)
"""
_SELECT_GROUP_KEYS: Final = """
    SELECT idempotency_key, id FROM job_groups WHERE idempotency_key IN (SELECT value FROM json_each(:keys))
"""
SELECT_FAILED_EDGES: Final = """
    SELECT d.job_id, d."of", d.after_id
    FROM json_each(:ids) AS wanted CROSS JOIN job_dependencies AS d ON d.job_id = wanted.value
    WHERE d.standing = 2 ORDER BY d.job_id, d."of" DESC, d.after_id
"""


def load(execute: Execute, flows: Sequence[Flow], known: Iterable[int], batch: Batch) -> None:
    """What these name of what there is: jobs, groups, and what encloses those; `known` are jobs by their keys."""
    ids.take_for_groups(execute, batch, sum(len(flow.groups) for flow in flows))
    named = [one for flow in flows for one in named_in(flow)]
    keys = [new.idempotency_key for flow in flows for new in flow.groups if new.idempotency_key is not None]
    batch.group_keys = dict(execute(_SELECT_GROUP_KEYS, {"keys": to_json(keys)}).fetchall()) if keys else {}
    jobs = {*known, *(node.id for node in named if node.of is Of.JOB)}
    batch.stands = {
        id: (fate_of(Status(status), bool(is_for_review)), group_id)
        for id, status, is_for_review, group_id in execute(
            _SELECT_STANDS, {"ids": to_json(sorted(jobs))}
        ).fetchall()
    }
    groups = {node.id for node in named if node.of is Of.GROUP} | set(batch.group_keys.values())
    groups |= {group_id for _, group_id in batch.stands.values() if group_id is not None}
    batch.groups |= groups_by_id(execute, groups)


def named_in(flow: Flow) -> Iterator[Node]:
    """What a request names that is not its own."""
    for fact in flow.jobs:
        ties = fact.ties
        if ties is not None:
            yield from (one for one in ties.predecessors if isinstance(one, Node))
            if ties.group is not None and not isinstance(ties.group, Mentioned):
                yield Node(Of.GROUP, ties.group)
    for new in flow.groups:
        if new.parent is not None and not isinstance(new.parent, Mentioned):
            yield Node(Of.GROUP, new.parent)
    yield from (Node(Of.GROUP, id) for id in flow.seals)


def groups_by_id(execute: Execute, ids: Iterable[int]) -> dict[int, Group]:
    """These groups, and all that enclose them."""
    wanted = to_json(sorted(ids))
    found = execute(_SELECT_GROUPS, {"ids": wanted}).fetchall() if wanted != "[]" else []
    return {row[0]: group_from_row(row) for row in found}


def failed_edges(rows: Iterable[tuple[Any, ...]]) -> dict[int, list[Node]]:
    """What of that which jobs come after has ended badly for them, as SELECT_FAILED_EDGES has found it."""
    failed: dict[int, list[Node]] = {}
    for job_id, of, after_id in rows:
        failed.setdefault(job_id, []).append(Node(Of(of), after_id))
    return failed
