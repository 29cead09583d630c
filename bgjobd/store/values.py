"""The values that jobs emit, as they are stored: which are kept, what a transaction reads of them, and their pages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from bgjob import codec
from bgjob.words import MOST_BYTES_KEPT, MOST_BYTES_OF_A_VALUE, MOST_VALUES, Status
from bgjobd.forkserver.journal_lines import MAX_NESTING
from bgjobd.host import json_portions
from bgjobd.store.committed import StoredValue
from bgjobd.store.engines import Connection
from bgjobd.store.statements import Execute

_SPARE: Final = 20
"""They are trimmed once this part of what may be kept is too much: each time many, and never more than a tenth."""

PAGE_BYTES: Final = 256 * 1024
"""How large a page of them is, but for its last one."""

SELECT_LAST: Final = "SELECT number, ends FROM job_values WHERE job_id = :id ORDER BY number DESC LIMIT 1"
SELECT_FIRST: Final = "SELECT number, ends FROM job_values WHERE job_id = :id ORDER BY number LIMIT 1"
SELECT_VALUED: Final = """
    SELECT a.job_id, a.number, a.valued FROM json_each(:attempts) AS wanted CROSS JOIN job_attempts AS a
    ON a.job_id = json_extract(wanted.value, '$[0]') AND a.number = json_extract(wanted.value, '$[1]')
"""
INSERT_VALUE: Final = """
    INSERT INTO job_values (job_id, number, ends, attempt, step, at, value)
    VALUES (:job_id, :number, :ends, :attempt, :step, :at, :value)
"""
COUNT_VALUED: Final = "UPDATE job_attempts SET valued = :valued WHERE job_id = :job_id AND number = :number"
TRIM: Final = """
    DELETE FROM job_values WHERE job_id = :job_id AND number <= max(:number, coalesce((
        SELECT number FROM job_values WHERE job_id = :job_id AND ends > :ends ORDER BY number LIMIT 1), 0) - 1)
"""
DELETE_OLDEST: Final = """
    DELETE FROM job_values WHERE job_id = :job_id AND number < :count + (
        SELECT number FROM job_values WHERE job_id = :job_id ORDER BY number LIMIT 1)
"""
SELECT_PAGE: Final = """
    SELECT job_id, number, attempt, step, at, value FROM job_values
    WHERE job_id = :id AND number > :after ORDER BY number LIMIT :limit
"""
SELECT_STATUS: Final = "SELECT status FROM background_jobs WHERE id = :id"


class Kept(NamedTuple):
    """Which values of a job there are: from the `first` to the `last`, and where these end, in bytes of all that it has
    had.
    """

    first: int = 1
    first_ends: int = 0
    last: int = 0
    ends: int = 0

    def with_one(self, size: int) -> Kept:
        """With one more of so many bytes."""
        return self._replace(last=self.last + 1, ends=self.ends + size)

    def try_trimmed(self) -> Kept | None:
        """Without the oldest, where they are too many or too large; None where all may stay."""
        is_long = self.last - self.first >= MOST_VALUES + MOST_VALUES // _SPARE
        is_large = self.ends - self.first_ends >= MOST_BYTES_KEPT + MOST_BYTES_KEPT // _SPARE
        if not (is_long or is_large):
            return None
        first, first_ends = self.last - MOST_VALUES + 1, self.ends - MOST_BYTES_KEPT
        return self._replace(first=max(self.first, first), first_ends=max(self.first_ends, first_ends))


def kept_of(execute: Execute, job_ids: Iterable[int]) -> dict[int, Kept]:
    """Of those of these jobs that have any."""
    found = {}
    for job_id in job_ids:
        last = execute(SELECT_LAST, {"id": job_id}).fetchone()
        if last is not None:
            found[job_id] = Kept(*execute(SELECT_FIRST, {"id": job_id}).fetchone(), *last)
    return found


def is_tellable(text: str) -> bool:
    """Whether it is JSON, not too large, that a reply can hold: a job may have written it by itself."""
    if len(text.encode()) > MOST_BYTES_OF_A_VALUE:
        return False
    try:
        if _DOUBTFUL.search(text) or text.count("[") + text.count("{") > MAX_NESTING:
            for _ in json_portions.check(text, MAX_NESTING + 1):
                pass
        else:
            _DECODER.decode(text)
    except (ValueError, RecursionError, json_portions.UnsayableError):
        return False
    return True


_DECODER: Final = json.JSONDecoder(object_pairs_hook=codec.unique)
_DOUBTFUL: Final = re.compile(r"\\u[dD]|[0-9][eE]|[0-9]{19}|NaN|Infinity")
"""What surrogates, numbers that are none of ours, and words that are no JSON look like: it is looked at closely."""


class ValuesOfJob(NamedTuple):
    """Some of a job's in their order; `next` is the number to go on behind. So many between the one that was asked for
    and these are not there any more, `left_out`. `has_ended`: the job has.
    """

    values: Sequence[StoredValue]
    next: int
    left_out: int
    has_more: bool
    has_ended: bool


def page(connection: Connection, job_id: int, after: int, limit: int) -> ValuesOfJob | None:
    """Those behind a number, at most so many; below 0 it counts from the end. None where there is no such job."""
    found = connection.execute(SELECT_STATUS, {"id": job_id}).fetchone()
    if found is None:
        return None
    if after < 0:
        (last, _) = connection.execute(SELECT_LAST, {"id": job_id}).fetchone() or (0, 0)
        (first, _) = connection.execute(SELECT_FIRST, {"id": job_id}).fetchone() or (1, 0)
        after = max(first - 1, last + after)
    rows = connection.execute(SELECT_PAGE, {"id": job_id, "after": after, "limit": limit + 1})
    values, has_more = _first_of(rows, limit)
    left_out = values[0].number - after - 1 if values else 0
    following = values[-1].number if values else after
    return ValuesOfJob(values, following, left_out, has_more, Status(found[0]).is_final)


def _first_of(rows: Iterable[tuple[Any, ...]], limit: int) -> tuple[list[StoredValue], bool]:
    """As many as a page has, and whether there are more."""
    values: list[StoredValue] = []
    size = 0
    for row in rows:
        if len(values) == limit or size > PAGE_BYTES:
            return values, True
        values.append(StoredValue(*row))
        size += len(values[-1].value)
    return values, False
