"""What the books say of labels: jobs that are not found by theirs, and rows of others; the SQL and the words for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from bgjobd.store.labels import ITS_LABELS

Ask = Callable[[str], list[tuple[Any, ...]]]
"""Runs a statement on a connection that cannot write."""

_NOT_FOUND: Final = f"""
    SELECT j.id, own.value FROM background_jobs AS j CROSS JOIN {ITS_LABELS} WHERE j.labels IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM job_labels AS l WHERE l.label = own.value AND l.job_id = j.id)
    LIMIT {{most}}"""
_OF_ANOTHER: Final = f"""
    SELECT l.job_id, l.label FROM job_labels AS l LEFT JOIN background_jobs AS j ON j.id = l.job_id
    WHERE j.labels IS NULL OR NOT EXISTS (SELECT 1 FROM {ITS_LABELS} WHERE own.value = l.label)
    LIMIT {{most}}"""


def odd_labels(ask: Ask, most: int) -> Iterator[tuple[int, str]]:
    """Job by job what is wrong with its labels; at most so many of each kind."""
    for job_id, label in ask(_NOT_FOUND.format(most=most)):
        yield job_id, f"its label is {label}, and it is not found by it"
    for job_id, label in ask(_OF_ANOTHER.format(most=most)):
        yield job_id, f"it is found by the label {label}, which is not its own"
