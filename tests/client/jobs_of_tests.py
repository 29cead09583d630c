"""Job classes that tests run inline: each does what its name says."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NewType
from uuid import UUID

from pydantic import BaseModel, SecretStr

from bgjob import AttemptError, Client, Fail, JobContext, Retry, Snooze, Throttled, job, run_background_job

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]

told: list[Any] = []


class Colour(Enum):
    RED = "red"


@dataclass
class Address:
    street: str
    since: date


class Row(NamedTuple):
    on: date
    count: int


Number = NewType("Number", int)


@dataclass
class Dated:
    on: date
    year: int = field(init=False)

    def __post_init__(self) -> None:
        self.year = self.on.year


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
    ) -> list[str]:
        return [repr(when), repr(amount), repr(colour), repr(address), repr(ids)]

    def annotated_unreadably(self, when: date, unknown: Unknown = 1) -> list[str]:
        return [repr(when), repr(unknown)]

    def return_a_set(self) -> Any:
        return {1}

    def return_a_tuple(self) -> Any:
        return (1, {2: 3})

    def nest(self, depth: int) -> Any:
        return [] if depth == 1 else [self.nest(depth - 1)]

    def submit_another(self, value: int) -> Any:
        return run_background_job(Plain, "echo", {"value": value}).result()

    def look_around(self, label: str | None = None) -> Any:
        return Client().running(label=label)

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

    def look_for(self, value: int, context) -> Any:  # type: ignore[no-untyped-def]  # that is what it is about
        return [value, context]

    def look(self, context: JobContext) -> Any:
        return [
            *(context is self.made_with, context.attempt, context.remaining, context.stop_reason),
            context.occurrence,
        ]


class Stepped:
    def sleeps(self, context: JobContext) -> Any:
        """Ends an attempt twice, and goes on behind that."""
        value = context.step("one", tuple, [context.attempt])
        context.sleep(0.01)
        context.sleep(0)
        return [value, context.attempt, dict(context.steps)]

    def fails_on_the_way(self, context: JobContext) -> Any:
        """More often in all than it may in a row."""
        for n in range(3):
            if f"step {n}" not in context.steps:
                context.step(f"step {n}", str, n)
                raise ValueError(n)
        return context.attempt

    def emits(self, context: JobContext) -> list[bool]:
        """In steps and outside, too much of it, before and behind what ends attempts."""
        kept = [context.emit({"n": (1, None), 2: "ä"})]
        context.step("one", context.emit, "within")
        context.sleep(0.01)
        kept += [context.emit("behind a sleep"), context.emit("x" * (64 * 1024 - 1))]
        if context.attempt < 4:
            raise ValueError(context.attempt)
        kept += [context.emit("x" * (64 * 1024 - 2)) for _ in range(17)]
        return kept

    def twice(self, context: JobContext) -> None:
        context.step("one", str, 1)
        context.step("one", str, 2)

    def no_json(self, context: JobContext) -> None:
        context.step("one", set)


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

    def give_up_until(self, succeeds_at: int, context: JobContext) -> int:
        if context.attempt < succeeds_at:
            raise Fail("not yet")
        return context.attempt

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


@dataclass
class Pairs:
    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError("one is left over")


class Values:
    def take(
        self,
        pair: tuple[date, str],
        days: Sequence[date],
        tags: set[str],
        by_number: Mapping[int, Decimal],
        stay: Address,
        raw: bytes,
        place: Path,
        maybe: date | None = None,
        count: int = 0,
    ) -> str:
        return repr((pair, days, sorted(tags), by_number, stay, raw, place, maybe, count))

    def bare(self, tags: set) -> str:  # type: ignore[type-arg]  # as applications write it
        return repr(tags)

    def whole(self, params: Address) -> str:
        return repr(params)

    def whole_or_nothing(self, parameters: Any = None) -> Any:
        return parameters

    def any_names(self, first: int, **others: Any) -> Any:
        return [first, others]

    def only_by_name(self, *, when: date) -> str:
        return repr(when)

    def others(
        self,
        span: timedelta,
        net: IPv4Network,
        row: Row,
        number: Number,
        colour: Literal[Colour.RED],
        flags: dict[bool, date],
        weights: dict[float, int],
        dated: Dated,
    ) -> str:
        return repr((span, net, row, number, colour, flags, weights, dated))

    def amount(self, amount: Decimal) -> str:
        return repr(amount)

    def share(self, pairs: Pairs) -> int:
        return pairs.number


class Order(BaseModel):
    number: str
    on: date


class Models:
    def take(self, token: SecretStr, order: Order) -> Any:
        return [len(token.get_secret_value()), repr(order)]


class Raising:
    """Ends badly in many ways, and is tried again once."""

    MAX_RETRIES = 1
    RETRY_DELAY = "10ms"
    BACKOFF = "exponential"

    class OwnError(Exception):
        """Its name has a dot."""

    class NeverAgain(Fail):
        """A Fail of the application's own."""

    class Unprintable(Exception):
        def __str__(self) -> str:
            raise TypeError

    def without_text(self) -> None:
        raise ValueError

    def its_own(self) -> None:
        raise self.OwnError("no", 1)

    def never_again(self) -> None:
        raise self.NeverAgain("final")

    def unprintable(self) -> None:
        raise self.Unprintable

    def with_a_lone_surrogate(self) -> None:
        raise ValueError("\ud800")

    def at_length(self) -> None:
        raise ValueError("x" * 70_000)

    async def later(self) -> None:
        await asyncio.sleep(0)
        raise OSError(2, "nothing there")

    async def cancel(self) -> None:
        raise asyncio.CancelledError

    async def exit_later(self) -> None:
        raise SystemExit(4)

    def exit(self, code: Any) -> None:
        raise SystemExit(code)

    def retry_soon(self, context: JobContext) -> Any:
        if context.attempt == 1:
            raise Retry(delay=0.01)
        return context.attempt

    def snooze_and_fail(self, context: JobContext) -> None:
        if context.attempt < 3:
            raise Snooze(0.01)
        raise ValueError(context.attempt)

    def be_throttled(self, context: JobContext, of: Any = "class") -> Any:
        if context.attempt < 3:
            raise Throttled(0.01, of)
        return context.attempt

    def fail_and_snooze(self, context: JobContext) -> Any:
        if context.attempt == 1:
            raise ValueError
        if context.attempt == 2:
            raise Snooze(0)
        return context.attempt

    def call_with_too_much(self) -> None:
        self.never_again(1)  # type: ignore[call-arg]  # what it is about

    def refused_inside(self) -> None:
        run_background_job("a..b", "c")

    def return_a_loop(self) -> Any:
        loop: list[Any] = []
        loop.append(loop)
        return loop

    def return_what_is_not_finite(self) -> Any:
        return float("nan")

    def return_much(self) -> Any:
        return "x" * (1024 * 1024)

    def return_a_lone_surrogate(self) -> Any:
        return "\ud800"

    async def return_a_coroutine(self) -> Any:
        return {"value": (1, None)}

    def interrupt(self) -> None:
        raise KeyboardInterrupt

    def cancel_itself(self, context: JobContext, how: str) -> Any:
        before = context.stop_reason
        Client().cancel(context.job_id)
        match how:
            case "return":
                return [before, context.stop_reason]
            case "exit":
                raise SystemExit(5)
            case "snooze":
                raise Snooze(1)
            case _:
                raise ValueError("stopped")


class AsksWhen:
    """Its hook says when to try again; it makes a file of what it was asked."""

    MAX_RETRIES = 2

    def __init__(self) -> None:
        self.made_at = 1

    def fail(self) -> None:
        raise ValueError("no recipient")

    def give_up(self) -> None:
        raise Fail

    async def retry_delay(self, attempt: int, error: Exception) -> float:
        told.append((self.made_at, attempt, str(error)))
        return 0.01


class AsksOddly(AsksWhen):
    def retry_delay(self, attempt: int, error: Exception) -> Any:
        raise LookupError(attempt)


class Mourned:
    """Its hook writes down, beside this module, what it is told."""

    MAX_RETRIES = 0

    def __init__(self, context: JobContext) -> None:
        self.context = context

    def end(self, how: str) -> Any:
        match how:
            case "exit":
                raise SystemExit(3)
            case "set":
                return {1}
            case _:
                raise ValueError(how)

    async def failed(self, error: AttemptError) -> None:
        lines = [error.outcome, error.error_type, error.message, str(error), self.context.attempt]
        book = Path(__file__).with_name("book")
        book.with_name("draft").write_text(json.dumps(lines))
        book.with_name("draft").rename(book)


class FailsInHook:
    MAX_RETRIES = 0

    def fail(self) -> None:
        raise ValueError("first")

    def failed(self, error: AttemptError) -> None:
        raise OSError("second")


class CannotBeMade:
    MAX_RETRIES = 1

    def __init__(self) -> None:
        raise ConnectionError("no database")

    def run(self, when: date) -> None:
        pass


class NeedsMoreByNew:
    def __new__(cls, connection: Any) -> NeedsMoreByNew:
        return super().__new__(cls)

    def run(self) -> None:
        pass


class Abstract(ABC):
    @abstractmethod
    def run(self) -> None: ...


class OddRetries:
    MAX_RETRIES = "many"

    def run(self) -> None:
        pass


class TooManyRetries:
    MAX_RETRIES = 101

    def run(self) -> None:
        pass


class Offers(threading.Thread):
    """Has little that may be called."""

    @staticmethod
    def static() -> None:
        pass

    @classmethod
    def of_the_class(cls) -> None:
        pass

    def by_position(self, value: int, /) -> None:
        pass

    @property
    def computed(self) -> int:
        return 1

    short = lambda self: 1  # noqa: E731  # what it is about
    echo = Plain.echo

    def retry_delay(self, attempt: int, error: Exception) -> None:
        return None


class Silenced(Plain):
    whole = None  # type: ignore[assignment]  # what it is about


class Flows:
    def add(self, group_id: int) -> int:
        return Client().group(group_id).add(job(Plain, "echo")).last.id


class Large:
    def text(self, size: int) -> str:
        return "x" * size
