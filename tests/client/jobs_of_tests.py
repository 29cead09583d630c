"""Job classes that tests run inline: each does what its name says."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bgjob import AttemptError, Fail, JobContext, Retry, Snooze, run_background_job

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]

told: list[Any] = []


class Colour(Enum):
    RED = "red"


@dataclass
class Address:
    street: str
    since: date


class Plain:
    def echo(self, value: Any = None) -> Any:
        told.append(value)
        return value

    def whole(self, params: dict[str, Any]) -> list[str]:
        return sorted(params)

    async def later(self, value: int) -> int:
        await asyncio.sleep(0)
        return value

    def annotated(
        self,
        when: date,
        amount: Decimal,
        colour: Colour | None,
        address: Address,
        ids: list[UUID],
        unknown: Unknown = 1,
    ) -> list[str]:
        return [repr(when), repr(amount), repr(colour), repr(address), repr(ids), repr(unknown)]

    def return_a_set(self) -> Any:
        return {1}

    def return_a_tuple(self) -> Any:
        return (1, {2: 3})

    def nest(self, depth: int) -> Any:
        return [] if depth == 1 else [self.nest(depth - 1)]

    def submit_another(self, value: int) -> Any:
        return run_background_job(Plain, "echo", {"value": value}).result()

    def exit(self, code: int | None) -> None:
        raise SystemExit(code)

    def _hidden(self) -> None:
        pass

    borrowed = os.getpid


class Child(Plain):
    """Has its parent's methods."""


class WithContext:
    def __init__(self, made_with: JobContext) -> None:
        self.made_with = made_with

    def run(self, value: int, context: JobContext | None = None) -> Any:
        assert context is self.made_with
        context.progress(0.5, "half")
        context.logger.info("a line")
        return [context.job_id, context.attempt, context.remaining is not None, value]


class Flaky:
    MAX_RETRIES = 2

    def __init__(self) -> None:
        self.attempts = 0

    def fail(self) -> None:
        told.append("attempt")
        raise ValueError("no recipient")

    def fail_until(self, succeeds_at: int, context: JobContext) -> int:
        if context.attempt < succeeds_at:
            raise Retry("not yet", delay=3600.0)
        return context.attempt

    def give_up(self) -> None:
        raise Fail("never")

    def snooze(self, times: int, context: JobContext) -> int:
        if context.attempt <= times:
            raise Snooze(3600.0)
        return context.attempt

    def failed(self, error: AttemptError) -> None:
        told.append(str(error))


class NeedsMore:
    def __init__(self, connection: Any) -> None:
        pass

    def run(self) -> None:
        pass
