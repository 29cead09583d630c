"""The ids of what a transaction makes: as many as it may need are taken, and those that came to nothing are given back.

What is taken is newer than all that others took before. Where several hosts take some, gaps are left.
"""

from __future__ import annotations

from typing import Any

from bgjobd.store.batch import Batch
from bgjobd.store.engines import Database, Execute
from bgjobd.store.statements import of_jobs, of_ties


def take(execute: Execute, batch: Batch, count: int) -> None:
    """Have so many for new jobs. What these come after is locked by then."""
    take_asked(ask(execute, count), batch, count)


def ask(execute: Execute, count: int) -> Any:
    """The same in two steps: what they are asked for by, and is to be taken."""
    return execute(of_jobs.SELECT_LAST_ID, {"count": count})


def take_asked(asked: Any, batch: Batch, count: int) -> None:
    """Have those that were asked for."""
    batch.last_id = of_jobs.last_id(asked)
    batch.ids_until = batch.last_id + count


def take_for_groups(execute: Execute, batch: Batch, count: int) -> None:
    """The same of groups."""
    batch.last_group_id = of_jobs.last_id(execute(of_ties.SELECT_LAST_GROUP_ID, {"count": count}))
    batch.group_ids_until = batch.last_group_id + count


def give_back(database: Database, batch: Batch) -> None:
    """Nobody was told of those that are left."""
    if batch.last_id < batch.ids_until:
        database.give_back_ids("job_ids", batch.last_id, batch.ids_until)
    if batch.last_group_id < batch.group_ids_until:
        database.give_back_ids("group_ids", batch.last_group_id, batch.group_ids_until)
    batch.ids_until = batch.group_ids_until = 0
