"""An attempt's progress as one entry of the log: each step is one of its own, and deletes that of the step before."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from bgjobd.core.job import AttemptKey
from bgjobd.core.log_entries import progress_message
from bgjobd.store.written import Row

DELETE_STORED: Final = """
    DELETE FROM job_logs WHERE id = (
        SELECT id FROM job_logs INDEXED BY logs_job
        WHERE job_id = :job_id AND attempt = :attempt AND created_at = :at AND message = :message
            AND id <= (SELECT max(id) FROM job_logs) - :count
        ORDER BY id DESC LIMIT 1)
"""
"""The step before is among the attempt's latest entries, so few are looked at."""

_DELETE_NEW: Final = "DELETE FROM job_logs WHERE id = (SELECT max(id) FROM job_logs) - :behind"


class Steps(NamedTuple):
    """What a transaction tells of how far an attempt is: the `places` of these entries among all that it tells, and
    what the entry of the step before has, which is stored; None where there is none.
    """

    places: list[int]
    before: Row | None

    def behind(self, count: int, more: Steps | None) -> Steps:
        """These, told behind so many entries, and behind those of the same attempt that are known already."""
        places = [count + place for place in self.places]
        return Steps(places, self.before) if more is None else Steps([*more.places, *places], more.before)


def stored_step(key: AttemptKey, progress: str | None) -> Row | None:
    """What the entry has that told this progress, which is JSON as job_attempts has it."""
    if progress is None:
        return None
    step = json.loads(progress)
    message = progress_message(step["fraction"], step["message"])
    return {"job_id": key[0], "attempt": key[1], "at": step["at"], "message": message}


def delete_earlier(executemany: Callable[..., Any], steps: dict[AttemptKey, Steps], count: int) -> None:
    """Leave the last of each attempt's steps, once all `count` entries of the transaction are written.

    The newest entry is never deleted: by its id other daemons know how far they have read.
    """
    stored = [told.before | {"count": count} for told in steps.values() if told.before is not None]
    if stored:
        executemany(DELETE_STORED, stored)
    new = [{"behind": count - 1 - place} for place in _replaced(steps)]
    if new:
        executemany(_DELETE_NEW, new)


def _replaced(steps: dict[AttemptKey, Steps]) -> Iterator[int]:
    for told in steps.values():
        yield from told.places[:-1]
