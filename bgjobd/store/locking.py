"""What the items of a transaction are about is locked before any of it is read, where others write as well."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from bgjob.codec import to_json
from bgjobd.core.edges import Of
from bgjobd.core.unique import UniqueKey
from bgjobd.store import decisions, schedules
from bgjobd.store.batch import Needs
from bgjobd.store.dependencies import named_in
from bgjobd.store.engines import Execute
from bgjobd.store.engines.locks import Locks
from bgjobd.store.items.hosts import AttemptsLost
from bgjobd.store.items.item import Item
from bgjobd.store.items.wishes import ManyAsked
from bgjobd.store.statements import of_ties

_SELECT_KEYS: Final = """
    SELECT class_name, method_name, unique_key FROM background_jobs
    WHERE id IN (SELECT value FROM json_each(:ids)) AND unique_key IS NOT NULL
"""
_SELECT_JOBS_OF_KEYS: Final = """
    SELECT id FROM background_jobs WHERE idempotency_key IN (SELECT value FROM json_each(:keys))
"""


def lock(items: Sequence[Item], execute: Execute, locks: Locks) -> None:
    """Have the unique keys, schedules and jobs of all of them, which may be some stretches, be ours at once."""
    if not locks.are_needed:
        return
    needs = decisions.needs_of([one for item in items for one in _about(item)])
    ids = {*needs.jobs, *_predecessors(needs), *_signalled(execute, needs)}
    keys = [*needs.unique, *_keys_of(execute, needs)]
    locks.unique_keys(keys)
    locks.schedules({name for item in items for name in schedules.names_in(item)})
    locks.jobs(sorted(ids.union(_holders(execute, keys), schedules.jobs_beside(execute, items))))


def _about(item: Item) -> Sequence[Item]:
    """What of it is decided as any: the requests that it is made of, the ends of what a lost host ran, or all of it."""
    match item:
        case ManyAsked():
            return item.requests
        case AttemptsLost():
            return item.ends
    return (item,) if decisions.is_decided(item) else ()


def _predecessors(needs: Needs) -> Iterable[int]:
    """So whoever ends these sees the edges that are stored, or is seen by them."""
    return [node.id for flow in needs.flows for node in named_in(flow) if node.of is Of.JOB]


def _signalled(execute: Execute, needs: Needs) -> Iterable[int]:
    """Those that signals name by their idempotency keys."""
    if not needs.signalled_keys:
        return []
    found = execute(_SELECT_JOBS_OF_KEYS, {"keys": to_json(needs.signalled_keys)}).fetchall()
    return [id for (id,) in found]


def _keys_of(execute: Execute, needs: Needs) -> list[UniqueKey]:
    """Those of jobs that are to run again."""
    if not needs.retried:
        return []
    return [UniqueKey(*row) for row in execute(_SELECT_KEYS, {"ids": to_json(needs.retried)}).fetchall()]


def _holders(execute: Execute, keys: Sequence[UniqueKey]) -> Iterable[int]:
    if not keys:
        return []
    rows = execute(of_ties.SELECT_HOLDINGS, {"keys": to_json(keys)}).fetchall()
    return [job_id for _, _, _, job_id, *_ in rows]
