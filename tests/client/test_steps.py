"""The rules of a job's steps and waits as its attempts know them; where they are kept is a value of the test's."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

import bgjob
from bgjob import InvalidResult, SignalTimeout, StepError, Suspended
from bgjob.words import MOST_STEP_BYTES, MOST_STEPS
from tests.support import eventually


class Kept:
    """A job's steps and waits, for as many attempts as a test likes; `said` is what was told, in order."""

    def __init__(self) -> None:
        self.steps: dict[str, tuple[str, bool]] = {}
        self.waits: dict[tuple[str, str, int], tuple[str | None, bool]] = {}
        self.said: list[str] = []
        self.suspended: list[tuple[str, str, int]] = []

    def carried(
        self,
    ) -> tuple[dict[str, tuple[str, bool]], dict[tuple[str, str, int], tuple[str | None, bool]]]:
        return dict(self.steps), dict(self.waits)

    def suspend(self, kind: str, name: str, turn: int, delay: float | None, until: float | None) -> None:
        self.suspended.append((kind, name, turn))

    def token(self, name: str) -> str:
        return f"token of {name}"

    def began(self, name: str) -> None:
        self.said.append(f"began {name}")

    def finished(self, name: str, result: str, is_awaited: bool) -> None:
        self.said.append(f"finished {name}")
        self.steps[name] = result, is_awaited


def attempt(kept: Kept) -> bgjob.JobContext:
    context = bgjob.JobContext(1, 1)
    context._keeper = kept
    return context


class Calls:
    """A function that tells how often it was called, and raises for so long."""

    def __init__(self, result: Any = None, fails: int = 0) -> None:
        self.result, self.fails, self.times = result, fails, 0

    def __call__(self) -> Any:
        self.times += 1
        if self.times <= self.fails:
            raise OSError("not yet")
        return self.result

    async def later(self) -> Any:
        await asyncio.sleep(0)
        return self()


# Steps


@pytest.mark.parametrize(
    ("result", "made"),
    [
        ((1, "a"), [1, "a"]),
        ({1: None}, {"1": None}),
        ("ä\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"), "ä😀"),
    ],
)
def test_a_step_gives_what_json_makes_of_its_result_in_the_first_run_and_in_the_next(
    result: Any, made: Any
) -> None:
    kept, call = Kept(), Calls(result)
    assert [attempt(kept).step("one", call) for _ in range(2)] == [made, made]
    assert call.times == 1
    assert kept.said == ["began one", "finished one"]


def test_a_step_gets_the_arguments_that_it_is_given_whatever_they_are_called() -> None:
    call = dict[str, Any]
    assert attempt(Kept()).step("one", call, [("a", 1)], name=2, function=3) == {
        "a": 1,
        "name": 2,
        "function": 3,
    }


def test_an_async_function_is_awaited_in_the_first_run_and_in_the_next() -> None:
    kept, call = Kept(), Calls((1,))

    async def method(context: bgjob.JobContext) -> Any:
        step: Awaitable[Any] = context.step("one", call.later)
        return await step

    assert [asyncio.run(method(attempt(kept))) for _ in range(2)] == [[1], [1]]
    assert (call.times, kept.steps) == (1, {"one": ("[1]", True)})


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_function_that_has_become_async_is_awaited_and_one_that_is_no_more_as_well(wrapped: bool) -> None:
    kept, call = Kept(), Calls(1)
    attempt(kept).step("one", call)

    async def method(context: bgjob.JobContext, name: str, function: Any) -> Any:
        step: Awaitable[Any] = context.step(name, partial(function) if wrapped else function)
        return await step

    assert asyncio.run(method(attempt(kept), "one", call.later)) == 1
    assert asyncio.run(method(attempt(kept), "two", call.later)) == 1
    assert asyncio.run(method(attempt(kept), "two", call)) == 1
    assert call.times == 2


def test_steps_side_by_side_are_known_by_their_names_whichever_ends_first() -> None:
    kept, calls = Kept(), [Calls(n) for n in range(5)]

    async def method(context: bgjob.JobContext) -> list[Any]:
        return await asyncio.gather(*(context.step(f"part {n}", calls[n].later) for n in range(5)))

    assert [asyncio.run(method(attempt(kept))) for _ in range(2)] == [[0, 1, 2, 3, 4]] * 2
    assert {call.times for call in calls} == {1}


def test_steps_in_threads_are_kept_each_once() -> None:
    kept, calls = Kept(), [Calls(n) for n in range(20)]
    for _ in range(2):
        context = attempt(kept)
        threads = [threading.Thread(target=context.step, args=(f"part {n}", calls[n])) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert dict(context.steps) == {f"part {n}": n for n in range(20)}
    assert {call.times for call in calls} == {1}


def test_a_name_that_comes_twice_is_an_error_in_the_first_run_and_in_the_next() -> None:
    kept, call = Kept(), Calls()
    for _ in range(2):
        context = attempt(kept)
        context.step("one", call)
        with pytest.raises(StepError, match="'one' came before"):
            context.step("one", call)
    assert call.times == 1


def test_what_has_raised_may_be_tried_again_in_the_same_attempt_and_in_the_next() -> None:
    kept, call = Kept(), Calls("done", fails=3)
    context = attempt(kept)
    for _ in range(2):
        with pytest.raises(OSError, match="not yet"):
            context.step("one", call)
    with pytest.raises(OSError, match="not yet"):
        asyncio.run(_awaited(attempt(kept).step("one", call.later)))
    assert attempt(kept).step("one", call) == "done"
    assert kept.said == ["began one"] * 4 + ["finished one"]


async def _awaited(step: Any) -> Any:
    return await step


@pytest.mark.parametrize("name", ["", "x" * 256, "\ud800", "a\0b", 7, None])
def test_what_is_no_name_is_found_before_anything_is_called(name: Any) -> None:
    call, context = Calls(), attempt(Kept())
    for tries in (
        lambda: context.step(name, call),
        lambda: context.token(name),
        lambda: context.wait_for(name),
    ):
        with pytest.raises(StepError, match="1 to 255 characters"):
            tries()
    assert call.times == 0
    assert context.step("ä" * 255, call) is None


def test_a_job_has_a_thousand_steps_and_waits_and_the_next_is_an_error_before_it_is_called() -> None:
    kept = Kept()
    kept.waits = {("sleep", "", 1): (None, False), ("signal", "packed", 1): ("1", False)}
    kept.steps = {f"earlier {n}": ("1", False) for n in range(498)}
    context, call = attempt(kept), Calls()
    for n in range(MOST_STEPS - 500):
        context.step(f"part {n}", call)
    assert call.times == MOST_STEPS - 500
    with pytest.raises(StepError, match="1000 steps and waits at most"):
        context.step("one more", call)
    assert context.step("earlier 7", call) == 1
    assert context.sleep(60) is None
    with pytest.raises(StepError, match="1000 steps and waits at most"):
        context.sleep(60)
    assert (call.times, kept.suspended) == (MOST_STEPS - 500, [])


def test_what_raised_takes_no_place_among_the_thousand() -> None:
    context, call = attempt(Kept()), Calls(fails=MOST_STEPS)
    for n in range(MOST_STEPS):
        with pytest.raises(OSError, match="not yet"):
            context.step(f"part {n}", call)
    assert context.step("one more", call) is None


@pytest.mark.parametrize(
    "result", [object(), float("nan"), "\ud800", {(1, 2): 3}, json.loads("[" * 102 + "]" * 102)]
)
def test_what_json_cannot_hold_ends_the_job_for_the_step_is_done(result: Any) -> None:
    kept, call = Kept(), Calls(result)
    context = attempt(kept)
    with pytest.raises(InvalidResult, match="step 'one' is done, and its result is no JSON"):
        context.step("one", call)
    with pytest.raises(StepError):
        context.step("one", call)
    assert (call.times, kept.steps) == (1, {})


def test_no_signal_is_waited_for_where_what_others_brought_takes_all_room() -> None:
    kept = Kept()
    kept.waits = {("signal", "packed", 1): ('"' + "p" * MOST_STEP_BYTES + '"', False)}
    context = attempt(kept)
    assert context.wait_for("packed") == "p" * MOST_STEP_BYTES
    with pytest.raises(StepError, match="finds no room"):
        context.wait_for("packed")
    with pytest.raises(Suspended):
        context.sleep(1)


def test_keys_that_json_takes_for_one_are_kept_once() -> None:
    kept = Kept()
    found = attempt(kept).step("one", lambda: [{1: "a", "1": "b", None: [{True: 1, "true": 2}]}])
    assert found == [{"1": "b", "null": [{"true": 2}]}]
    assert kept.steps["one"][0] == '[{"1":"b","null":[{"true":2}]}]'


def test_the_results_of_all_steps_of_a_job_have_a_mebibyte_together() -> None:
    kept = Kept()
    kept.waits = {("signal", "packed", 1): ('"' + "p" * 98 + '"', False)}
    context = attempt(kept)
    context.step("one", Calls("ä" * ((MOST_STEP_BYTES - 100) // 4)))
    rest = MOST_STEP_BYTES - 100 - len(kept.steps["one"][0].encode())
    with pytest.raises(InvalidResult, match="finds no room"):
        context.step("two", Calls("x" * (rest - 1)))
    assert attempt(kept).step("three", Calls("x" * (rest - 2))) == "x" * (rest - 2)


def test_steps_may_hold_steps() -> None:
    kept, context = Kept(), None
    inner = Calls(2)
    context = attempt(kept)
    assert context.step("outer", lambda: context.step("inner", inner) + 1) == 3
    assert kept.said == ["began outer", "began inner", "finished inner", "finished outer"]


def test_a_forked_copy_has_no_steps_also_where_it_comes_back_from_one() -> None:
    kept, call = Kept(), Calls()
    context = attempt(kept)
    reads, writes = os.pipe()

    def fork() -> int:
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
        return pid

    try:
        context.step("forks", fork)
        is_copy = False
    except StepError as error:
        is_copy, told = True, [str(error)]
    if is_copy:
        for act in (lambda: context.step("one", call), lambda: context.sleep(1)):
            try:
                act()
            except StepError as error:
                told.append(str(error))
        os.write(writes, "\n".join(told).encode())
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as said:
        lines = said.read().splitlines()
    assert len(lines) == 3
    assert {"that it has forked, has no steps" in line for line in lines} == {True}
    assert (list(kept.steps), kept.suspended) == (["forks"], [])


def test_the_results_are_a_copy_each_time_and_cannot_be_set() -> None:
    context = attempt(Kept())
    context.step("one", Calls({"a": []}))
    context.steps["one"]["a"].append(1)
    assert dict(context.steps) == {"one": {"a": []}}
    assert ("one" in context.steps, "two" in context.steps, len(context.steps)) == (True, False, 1)
    with pytest.raises(TypeError):
        context.steps["one"] = 2  # type: ignore[index]


def test_it_is_known_which_finished_steps_did_not_come_again() -> None:
    kept = Kept()
    for name in ("one", "two", "three"):
        attempt(kept).step(name, Calls())
    context = attempt(kept)
    context.step("two", Calls())
    context.step("four", Calls())
    assert context._steps_of_job().unused == ["one", "three"]


# Waits


WAITS: list[Callable[[bgjob.JobContext], Any]] = [
    lambda context: context.sleep(1),
    lambda context: context.sleep_until(datetime(2026, 11, 28, tzinfo=UTC)),
    lambda context: context.wait_for("packed"),
]


@pytest.mark.parametrize("wait", WAITS)
def test_after_a_wait_nothing_goes_on_whatever_the_job_catches(
    wait: Callable[[bgjob.JobContext], Any],
) -> None:
    kept, call = Kept(), Calls()
    context = attempt(kept)
    for act in (wait, wait, lambda context: context.step("one", call)):
        try:
            act(context)
        except Exception:
            pytest.fail("it is no Exception")
        except:  # noqa: E722  # what a job may do
            caught = sys.exc_info()[0]
        assert caught is Suspended
    assert (call.times, len(kept.suspended)) == (0, 1)


@pytest.mark.parametrize("wait", WAITS)
def test_where_a_loop_runs_a_wait_is_awaited(wait: Callable[[bgjob.JobContext], Any]) -> None:
    kept = Kept()

    async def method(context: bgjob.JobContext) -> None:
        waiting = wait(context)
        assert not kept.suspended
        await waiting

    with pytest.raises(Suspended):
        asyncio.run(method(attempt(kept)))
    assert len(kept.suspended) == 1


def test_of_waits_side_by_side_one_comes_after_the_other() -> None:
    kept = Kept()

    async def method(context: bgjob.JobContext) -> list[Any]:
        return await asyncio.gather(context.sleep(1), context.wait_for("packed"), context.sleep(2))

    for wait in (("sleep", "", 1), ("signal", "packed", 1), ("sleep", "", 2)):
        with pytest.raises(Suspended):
            asyncio.run(method(attempt(kept)))
        assert kept.suspended.pop() == wait
        kept.waits[wait] = '{"parcels":2}' if wait[0] == "signal" else None, False
    assert asyncio.run(method(attempt(kept))) == [None, {"parcels": 2}, None]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there are no groups")
def test_in_a_group_of_tasks_a_wait_ends_the_attempt_and_the_others_are_cancelled() -> None:
    kept, ended = Kept(), []

    async def other() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def method(context: bgjob.JobContext) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(other())
            group.create_task(context.wait_for("packed"))

    with pytest.raises(BaseExceptionGroup) as caught:
        asyncio.run(method(attempt(kept)))
    assert [type(error) for error in caught.value.exceptions] == [Suspended]
    assert (kept.suspended, ended) == ([("signal", "packed", 1)], ["cancelled"])


def test_a_step_that_ends_after_the_attempt_was_suspended_is_kept_all_the_same() -> None:
    kept, context = Kept(), None
    context = attempt(kept)
    go, ends = threading.Event(), []

    def in_thread() -> None:
        try:
            context.step("one", lambda: go.wait(20))
        except Suspended:
            ends.append("suspended")

    thread = threading.Thread(target=in_thread)
    thread.start()
    eventually(lambda: "began one" in kept.said)
    with pytest.raises(Suspended):
        context.sleep(1)
    go.set()
    thread.join()
    assert (kept.steps, ends) == ({"one": ("true", False)}, ["suspended"])


def test_a_signal_that_did_not_come_in_time_is_an_error_to_catch_in_each_later_attempt() -> None:
    kept = Kept()
    kept.waits = {("signal", "packed", 1): (None, True), ("signal", "packed", 2): ("[1]", False)}
    for _ in range(2):
        context = attempt(kept)
        with pytest.raises(SignalTimeout, match="signal 'packed' did not come in time"):
            context.wait_for("packed", timeout=5)
        assert context.wait_for("packed") == [1]
    assert issubclass(SignalTimeout, TimeoutError)


@pytest.mark.parametrize("wait", WAITS)
def test_a_step_cannot_wait(wait: Callable[[bgjob.JobContext], Any]) -> None:
    kept, context = Kept(), None
    context = attempt(kept)

    async def later() -> None:
        await wait(context)

    async def method() -> None:
        step: Awaitable[None] = context.step("two", later)
        await step

    with pytest.raises(StepError, match="step 'one' cannot sleep or wait"):
        context.step("one", lambda: wait(context))
    with pytest.raises(StepError, match="step 'two' cannot sleep or wait"):
        asyncio.run(method())
    assert kept.suspended == []


@pytest.mark.parametrize(
    "wait",
    [
        lambda context: context.sleep_until(datetime(2026, 11, 28)),  # noqa: DTZ001  # what is refused
        lambda context: context.sleep_until(datetime.now(UTC) + timedelta(days=36_501)),
        lambda context: context.sleep(36_501 * 86_400),
        lambda context: context.sleep(-1),
        lambda context: context.sleep(float("nan")),
        lambda context: context.wait_for("packed", timeout=36_501 * 86_400),
    ],
)
def test_naive_moments_and_more_than_a_hundred_years_are_refused(
    wait: Callable[[bgjob.JobContext], Any],
) -> None:
    kept = Kept()
    with pytest.raises(ValueError, match=r"time zone|hundred years"):
        wait(attempt(kept))
    assert kept.suspended == []


def test_a_moment_before_all_clocks_is_over() -> None:
    until: list[float | None] = []

    class Told(Kept):
        def suspend(self, kind: str, name: str, turn: int, delay: float | None, at: float | None) -> None:
            until.append(at)

    with pytest.raises(Suspended):
        attempt(Told()).sleep_until(datetime(1912, 6, 23, tzinfo=UTC))
    assert until == [0.0]


# Outside of attempts


def test_outside_of_attempts_steps_run_each_time_and_sleeps_are_over() -> None:
    call = Calls((1,))

    def ship(context: bgjob.JobContext = bgjob.CONTEXT) -> Any:
        context.sleep(3600)
        context.sleep_until(datetime.now(UTC) + timedelta(days=7))
        assert dict(context.steps) == {}
        return context.step("charge", call)

    assert [ship(), ship()] == [[1], [1]]
    assert call.times == 2
    assert re.fullmatch("[0-9a-f]{32}", bgjob.CONTEXT.token("charge"))
    assert bgjob.CONTEXT.token("charge") != bgjob.CONTEXT.token("charge")


def test_outside_of_attempts_nobody_sends_a_signal() -> None:
    with pytest.raises(StepError, match="outside of attempts nobody sends signal 'packed'"):
        bgjob.CONTEXT.wait_for("packed")


def test_a_context_that_a_test_makes_tells_of_names_that_come_twice_and_of_steps_that_wait() -> None:
    context = bgjob.JobContext(1, 1)
    assert context.step("one", Calls(1)) == 1
    with pytest.raises(StepError, match="came before"):
        context.step("one", Calls(1))
    with pytest.raises(StepError, match="cannot sleep"):
        context.step("two", lambda: context.sleep(1))
    assert dict(context.steps) == {"one": 1}
    assert context.token("one") == context.token("one") != context.token("two")


def test_where_an_attempt_has_no_place_for_steps_none_runs() -> None:
    """As in a `failed` hook, and under a daemon that knows no steps."""
    call = Calls()
    with pytest.raises(StepError, match="in attempts only"):
        bgjob.JobContext(1, 1, stop_file="/nowhere").step("one", call)
    assert call.times == 0
