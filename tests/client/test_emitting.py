"""What comes of the values that a job emits, as its attempts know the rules; where they are kept is a value of the
test's.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings, strategies

import bgjob
from bgjob import CONTEXT, StepError, Suspended
from bgjob.words import MOST_BYTES_OF_A_VALUE
from tests.client.test_steps import Kept


class KeptValues(Kept):
    """What each attempt of a job has told, by its text, the step it came from, and its place outside of steps."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, str | None, int]] = []

    def emitted(self) -> int:
        return max([place for _, _, place in self.told], default=0)

    def emit(self, value: str, step: str | None, place: int) -> bool:
        if len(value.encode()) > MOST_BYTES_OF_A_VALUE:
            return False
        self.told.append((value, step, place))
        return True


@pytest.fixture
def kept() -> KeptValues:
    return KeptValues()


def attempt(kept: Kept) -> bgjob.JobContext:
    context = bgjob.JobContext(1, 1)
    context._keeper = kept
    return context


def test_values_are_json_and_tell_the_step_that_they_come_from(kept: KeptValues) -> None:
    context = attempt(kept)
    assert context.emit({"ä": (1, None), 2: 1.5})
    context.step("charge", lambda: context.step("inner", context.emit, "within"))
    assert context.emit("behind")
    assert kept.told == [('{"ä":[1,null],"2":1.5}', None, 1), ('"within"', "inner", 0), ('"behind"', None, 2)]


def test_what_was_told_before_a_finished_step_is_not_told_again(kept: KeptValues) -> None:
    def run(lasts: int) -> None:
        context = attempt(kept)
        for number in range(lasts):
            assert context.emit(f"before {number}")
            context.step(f"step {number}", context.emit, f"in {number}")
        assert context.emit("last")

    run(2)
    once = list(kept.told)
    run(2)
    assert kept.told == [*once, ('"last"', None, 3)]  # it follows the last finished step
    run(3)
    new = kept.told[len(once) + 1 :]
    assert [text for text, _, _ in new] == ['"before 2"', '"in 2"', '"last"']


def test_what_no_attempt_has_told_is_told_though_steps_are_to_come(kept: KeptValues) -> None:
    context = attempt(kept)
    context.emit("one")
    context.step("charge", int)
    changed = attempt(kept)
    assert [changed.emit(text) for text in ("one", "two")] == [True, True]
    assert [text for text, _, _ in kept.told] == ['"one"', '"two"']


def test_settled_waits_are_to_come_as_steps_are(kept: KeptValues) -> None:
    context = attempt(kept)
    context.emit("asked")
    with pytest.raises(Suspended):
        context.wait_for("answer")
    kept.waits["signal", "answer", 1] = '"yes"', False
    woken = attempt(kept)
    assert woken.emit("asked")
    assert woken.wait_for("answer") == "yes"
    woken.emit("answered")
    assert [text for text, _, _ in kept.told] == ['"asked"', '"answered"']
    killed = attempt(kept)
    killed.emit("asked")
    killed.wait_for("answer")
    killed.emit("answered")
    assert [text for text, _, _ in kept.told] == ['"asked"', '"answered"', '"answered"']


def test_a_value_that_is_too_large_was_never_told_and_is_not_held_back(kept: KeptValues) -> None:
    for _ in range(2):
        context = attempt(kept)
        assert not context.emit("x" * (MOST_BYTES_OF_A_VALUE - 1))
        assert context.emit("x" * (MOST_BYTES_OF_A_VALUE - 2))
        context.step("charge", int)
    assert len(kept.told) == 1


@pytest.mark.parametrize(
    "value",
    [{1, 2}, math.nan, "\ud800", 10**5000, object(), b"bytes"],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_hold_is_an_error_of_the_job(kept: KeptValues, value: Any) -> None:
    with pytest.raises(ValueError, match="a value of JSON is wanted"):
        attempt(kept).emit(value)


def test_what_is_nested_too_deeply_is_an_error_of_the_job(kept: KeptValues) -> None:
    deep: list[Any] = []
    for _ in range(101):
        deep = [deep]
    with pytest.raises(ValueError, match="more than 100 levels"):
        attempt(kept).emit(deep)


def test_an_attempt_that_waits_tells_nothing_more(kept: KeptValues) -> None:
    context = attempt(kept)
    with pytest.raises(Suspended):
        context.sleep(60)
    with pytest.raises(Suspended):
        context.emit("more")


def test_a_forked_copy_tells_nothing(kept: KeptValues, monkeypatch: pytest.MonkeyPatch) -> None:
    context = attempt(kept)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with pytest.raises(StepError, match="a copy of the attempt's process"):
        context.emit("copied")


def test_tasks_tell_the_step_that_each_is_in(kept: KeptValues) -> None:
    context = attempt(kept)

    async def ask(shop: str) -> None:
        await asyncio.sleep(0)
        context.emit(shop)

    async def compare() -> None:
        await asyncio.gather(*[context.step(shop, ask, shop) for shop in ("here", "there")])

    asyncio.run(compare())
    assert kept.told == [('"here"', "here", 0), ('"there"', "there", 0)]


@pytest.mark.parametrize(
    "context", [lambda: CONTEXT, lambda: attempt(Kept())], ids=["none", "an older daemon's"]
)
def test_where_nobody_keeps_values_none_is_kept(context: Callable[[], bgjob.JobContext]) -> None:
    assert context().emit(1) is False
    with pytest.raises(ValueError, match="a value of JSON is wanted"):
        context().emit({1})


# Kills


class Killed(BaseException):
    """Ends an attempt at any record, before that is there or right behind it."""


class KilledValues(KeptValues):
    """An attempt may make `records` more of them; `is_kept`: the one at which it is killed is there."""

    records, is_kept = 10**9, False

    def _record(self, keep: Callable[[], object]) -> None:
        self.records -= 1
        if self.records >= 0 or self.is_kept:
            keep()
        if self.records < 0:
            raise Killed

    def began(self, name: str) -> None:
        self._record(lambda: None)

    def finished(self, name: str, result: str, is_awaited: bool) -> None:
        self._record(lambda: super(KilledValues, self).finished(name, result, is_awaited))

    def suspend(self, kind: str, name: str, turn: int, delay: float | None, until: float | None) -> None:
        self._record(lambda: self.waits.update({(kind, name, turn): (None, False)}))

    def emit(self, value: str, step: str | None, place: int) -> bool:
        self._record(lambda: super(KilledValues, self).emit(value, step, place))
        return True


def run(context: bgjob.JobContext, program: list[str]) -> None:
    """An "e" emits, an "s" is a step that emits twice, a "w" sleeps."""
    for place, act in enumerate(program):
        if act == "e":
            context.emit(place)
        elif act == "s":
            context.step(f"s{place}", lambda at=place: (context.emit([at, 1]), context.emit([at, 2])))
        else:
            context.sleep(1)


def values_of(program: list[str]) -> list[Any]:
    told: list[Any] = []
    for place, act in enumerate(program):
        told += [place] if act == "e" else [[place, 1], [place, 2]] if act == "s" else []
    return told


@settings(max_examples=400, deadline=None)
@given(
    program=strategies.lists(strategies.sampled_from("esw"), min_size=1, max_size=8),
    kills=strategies.lists(strategies.tuples(strategies.integers(0, 6), strategies.booleans()), max_size=6),
)
def test_no_kill_loses_a_value_and_only_what_follows_the_last_finished_step_or_is_in_one_comes_twice(
    program: list[str], kills: list[tuple[int, bool]]
) -> None:
    kept, attempts = KilledValues(), []
    for kept.records, kept.is_kept in [*kills, *[(10**9, False)] * (len(program) + 1)]:
        before = len(kept.told), len(kept.steps) + len(kept.waits)
        try:
            run(attempt(kept), program)
        except (Killed, Suspended):
            attempts.append((before, len(kept.told)))
        else:
            attempts.append((before, len(kept.told)))
            break
    told = [json.loads(text) for text, _, _ in kept.told]
    assert list(dict.fromkeys(map(str, told))) == [str(value) for value in values_of(program)]
    for (begin, _), end in attempts:
        new = told[begin:end]
        assert len({str(value) for value in new}) == len(new)  # none twice in one attempt
    for place, value in enumerate(told):
        again = [at for at, other in enumerate(told) if other == value and at > place]
        if again and not isinstance(value, list):
            assert _none_was_finished_behind(value, again[0], attempts, program)


def _none_was_finished_behind(
    value: int,
    again: int,
    attempts: list[tuple[tuple[int, int], int]],
    program: list[str],
) -> bool:
    """Whether, as the attempt began that told it again, no step or wait was finished which comes behind it."""
    ((_, finished),) = [before for before, end in attempts if before[0] <= again < end]
    return finished <= sum(act != "e" for act in program[:value])
