"""What a transaction reads before its items are decided: one statement a kind, however many the items are.

All that the items name by themselves is asked for before any of it is taken: to a server that is one way and back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from bgjobd.core.job import Call, Job
from bgjobd.store import decisions, dependencies, ids, inbox, steps, uniques, values, waits
from bgjobd.store.batch import Batch, Keyed, Needs
from bgjobd.store.engines import Execute
from bgjobd.store.items.item import Item
from bgjobd.store.rows import job_from_row
from bgjobd.store.statements import of_attempts, of_jobs, of_ties

Rows = Iterable[tuple[Any, ...]]
"""A cursor, or no rows where nothing was to be asked for."""


def load(execute: Execute, items: Sequence[Item], batch: Batch) -> None:
    """Have at hand what the items are decided by."""
    needs = decisions.needs_of(items)
    jobs = rows_of(execute, of_jobs.SELECT_JOBS, "ids", list(dict.fromkeys(needs.jobs)))
    last_begun = rows_of(execute, of_attempts.SELECT_LAST_BEGUN, "ids", needs.last_begun)
    noted = rows_of(execute, of_attempts.SELECT_NOTED, "attempts", needs.noted)
    keyed = rows_of(execute, of_jobs.SELECT_JOBS_BY_KEY, "keys", [*needs.keyed, *needs.signalled_keys])
    new_ids = ids.ask(execute, needs.new_jobs) if needs.new_jobs else None
    submitters = rows_of(execute, of_jobs.SELECT_SUBMITTERS, "ids", needs.changed)
    held = rows_of(execute, of_ties.SELECT_HOLDINGS, "keys", needs.unique)
    held_by_retried = rows_of(execute, of_ties.SELECT_HOLDINGS_OF_JOBS, "ids", needs.retried)
    cuts = rows_of(execute, steps.SELECT_CUTS, "cuts", needs.cuts)
    failed_edges = rows_of(execute, dependencies.SELECT_FAILED_EDGES, "ids", sorted({*needs.retried}))
    valued = rows_of(execute, values.SELECT_VALUED, "attempts", needs.valued)
    results = [(text, steps.ask_is_json(execute, text)) for text in needs.results]
    batch.jobs = _jobs(jobs)
    batch.last_begun = dict(last_begun)
    batch.noted = {(job_id, number): count for job_id, number, count in noted}
    batch.keyed = _keyed(keyed)
    if new_ids is not None:
        ids.take_asked(new_ids, batch, needs.new_jobs)
    batch.submitters = dict(submitters)
    has_keys = needs.unique or needs.retried
    batch.holdings = uniques.held(held) | uniques.held(held_by_retried) if has_keys else {}
    batch.cuts = {(job_id, name): (count, size) for job_id, name, count, size in cuts}
    batch.failed_edges = dependencies.failed_edges(failed_edges) if needs.retried else {}
    if needs.valued:
        batch.valued = {(job_id, number): count for job_id, number, count in valued}
    if results:
        batch.no_results = {text for text, is_json in results if not is_json()}
    _load_further(execute, needs, batch)


def _load_further(execute: Execute, needs: Needs, batch: Batch) -> None:
    """What is known to be needed once the first is at hand. Most items need none of it."""
    holders = [one.job_id for one in batch.holdings.values() if one is not None]
    if needs.flows:
        known = [*(keyed.id for keyed in batch.keyed.values()), *holders]
        dependencies.load(execute, needs.flows, known, batch)
    if holders:
        batch.jobs |= jobs_of(execute, holders)
    if needs.received:
        batch.received = inbox.locked(execute, needs.received)
    if needs.valued:
        batch.kept_values = values.kept_of(execute, {job_id for job_id, _ in needs.valued})
    signalled = {  # each once, however many were sent at the same moment
        *needs.signalled,
        *(batch.keyed[key].id for key in needs.signalled_keys if key in batch.keyed),
    }
    if signalled:
        _load_signals(execute, sorted(signalled), batch)
    ended = (id for id in needs.ended if id in batch.jobs and batch.jobs[id].is_to_carry)
    stepped = {*needs.stepped, *ended}
    if stepped:
        batch.codes = steps.codes_of(execute, needs.unused)
        batch.steps = steps.of_jobs(execute, sorted(stepped))


def _load_signals(execute: Execute, job_ids: Sequence[int], batch: Batch) -> None:
    """Have these jobs at hand, whose they are, and what they were sent."""
    batch.jobs |= jobs_of(execute, job_ids)
    batch.submitters |= dict(rows_of(execute, of_jobs.SELECT_SUBMITTERS, "ids", job_ids))
    batch.signals = waits.signals_of(execute, job_ids)


def rows_of(execute: Execute, statement: str, name: str, wanted: Sequence[Any]) -> Rows:
    """The rows of what is wanted. In JSON nothing is too large, and no text such that it could not be asked for."""
    rows: Rows = execute(statement, {name: json.dumps(wanted)}) if wanted else ()
    return rows


def jobs_of(execute: Execute, job_ids: Sequence[int]) -> dict[int, Job]:
    """These jobs, of those that there are."""
    return _jobs(rows_of(execute, of_jobs.SELECT_JOBS, "ids", job_ids))


def keyed_by(execute: Execute, keys: Sequence[str]) -> dict[str, Keyed]:
    """The jobs that have these idempotency keys."""
    return _keyed(rows_of(execute, of_jobs.SELECT_JOBS_BY_KEY, "keys", keys))


def _jobs(rows: Rows) -> dict[int, Job]:
    return {row[0]: job_from_row(row) for row in rows}


def _keyed(rows: Rows) -> dict[str, Keyed]:
    return {key: Keyed(id, digest, uid, Call(*call)) for key, id, digest, uid, *call in rows}
