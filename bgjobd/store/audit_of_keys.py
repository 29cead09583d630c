"""What the books say of unique keys: rows and jobs that contradict each other; the SQL and the words for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

Ask = Callable[[str], list[tuple[Any, ...]]]
"""Runs a statement on a connection that cannot write."""

_OF_ANOTHER: Final = """
    SELECT u.job_id, u.key FROM unique_keys AS u JOIN background_jobs AS j ON j.id = u.job_id
    WHERE (u.class_name, u.method_name, u.key) IS NOT (j.class_name, j.method_name, j.unique_key) LIMIT {most}"""
_NOT_HELD: Final = """
    SELECT u.job_id, u.key, j.status FROM unique_keys AS u LEFT JOIN background_jobs AS j ON j.id = u.job_id
    WHERE u.held_until IS NULL AND (j.id IS NULL OR j.finished_at IS NOT NULL AND j.review_since IS NULL)
    LIMIT {most}"""
# Of those that hold a key until their first attempt only who has had none: it may have been started and put back.
_WITHOUT: Final = """
    SELECT j.id, j.unique_key FROM background_jobs AS j
    WHERE (j.finished_at IS NULL OR j.review_since IS NOT NULL) AND j.unique_key IS NOT NULL
        AND (j.unique_while = 'unfinished' OR j.started_at IS NULL)
        AND NOT EXISTS (SELECT 1 FROM unique_keys AS u WHERE u.class_name = j.class_name
            AND u.method_name = j.method_name AND u.key = j.unique_key AND u.job_id = j.id)
    LIMIT {most}"""


def odd_keys(ask: Ask, most: int) -> Iterator[tuple[int, str]]:
    """Job by job what is wrong with its key; at most so many of each kind."""
    for job_id, key in ask(_OF_ANOTHER.format(most=most)):
        yield job_id, f"a row says that it holds the unique key {key}, which is not its own"
    for job_id, key, status in ask(_NOT_HELD.format(most=most)):
        yield job_id, f"it is {status or 'not there'}, and still holds the unique key {key}"
    for job_id, key in ask(_WITHOUT.format(most=most)):
        yield job_id, f"its unique key is {key}, and it does not hold it"
