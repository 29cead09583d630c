"""A module of functions, for the tests of what stands in for a daemon."""

from __future__ import annotations

from datetime import date

from bgjob import JobContext


def told(on: date, context: JobContext) -> list[object]:
    return [on.year, context.attempt]


async def total(*numbers: int, scale: int = 1) -> int:
    return sum(numbers) * scale


def _hidden() -> None:
    """Nobody may call it."""
