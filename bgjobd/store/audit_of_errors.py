"""What the books say of errors: rows that count less than there is; the SQL and the words for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

Ask = Callable[[str], list[tuple[Any, ...]]]
"""Runs a statement on a connection that cannot write."""

# Attempts are deleted with their jobs, and what an error has counted stays: never the other way round.
UNCOUNTED: Final = """
    SELECT g.id, g.attempts, e.met FROM (
        SELECT error_group, count(*) AS met FROM job_attempts INDEXED BY attempts_of_error
        WHERE error_group IS NOT NULL GROUP BY error_group
    ) AS e CROSS JOIN error_groups AS g ON g.id = e.error_group
    WHERE g.attempts < e.met LIMIT {most}"""
FAILED_TOO_OFTEN: Final = "SELECT id, failed, attempts FROM error_groups WHERE failed > attempts LIMIT {most}"


def odd_errors(ask: Ask, most: int) -> Iterator[tuple[int, str]]:
    """Error by error what it counts wrongly; at most so many of each kind."""
    for id, counted, met in ask(UNCOUNTED.format(most=most)):
        yield id, f"it counts {counted} attempts, and {met} say that it has ended them"
    for id, failed, attempts in ask(FAILED_TOO_OFTEN.format(most=most)):
        yield id, f"it counts {failed} jobs that failed by it, and {attempts} attempts"
