"""Steps, waits and signals of jobs that run inline: each step once, no time waited for, signals from the test."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import bgjob
import bgjob.testing
from bgjob import Client
from bgjob.errors import DuplicateError, InvalidStateError, TooLargeError, TooManySignalsError
from bgjob.testing import NothingRunsError, inline, recorded, time_out

DONE: list[str] = []


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    DONE.clear()


def do(what: str) -> str:
    DONE.append(what)
    return what


class Order:
    def ship(self, context: bgjob.JobContext, timeout: float | None = None) -> Any:
        context.step("charge", do, "charge")
        context.sleep(3600)
        try:
            packed = context.wait_for("packed", timeout)
        except bgjob.SignalTimeout:
            return context.step("refund", do, "refund")
        for n in range(packed["parcels"]):
            context.step(f"label {n}", do, f"label {n}")
        return packed

    async def later(self, context: bgjob.JobContext) -> Any:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._asked(context))
        return task.result()

    async def _asked(self, context: bgjob.JobContext) -> Any:
        return await context.wait_for("word")

    def stubborn(self, context: bgjob.JobContext) -> Any:
        try:
            context.wait_for("word")
        except:  # noqa: E722
            DONE.append("held")
        return "went on"

    def goes_on(self, context: bgjob.JobContext, steps: int) -> int:
        """Fails after each step."""
        for n in range(steps):
            if f"step {n}" not in context.steps:
                context.step(f"step {n}", do, f"step {n}")
                raise ValueError(n)
        return context.attempt

    def crawls(self, context: bgjob.JobContext, pages: int) -> Any:
        """A page an attempt; what is appended to a copy is nothing that it has seen."""
        state = context.state
        for page in range(state.get("cursor", 0), pages):
            state["cursor"] = page + 1
            state.setdefault("seen", []).append(page)
            raise bgjob.Snooze(60)
        return [context.attempt, dict(state)]

    def waits(self, context: bgjob.JobContext) -> Any:
        context.state["before"] = context.attempt
        try:
            context.wait_for("word")
        except bgjob.Suspended:
            DONE.append("suspended")
            context.state["behind"] = context.attempt
        return dict(context.state)

    def fails(self, context: bgjob.JobContext) -> None:
        context.state["a"] = 1
        raise bgjob.Fail


class Hooked:
    def __init__(self, context: bgjob.JobContext) -> None:
        self._context = context

    def fails(self) -> None:
        raise bgjob.Fail

    def failed(self, error: bgjob.AttemptError) -> None:
        for ask in (lambda: self._context.state, lambda: self._context.step("a", do, "a")):
            try:
                ask()
            except bgjob.StepError:
                DONE.append("none in the hook")


def submitted(client: Client, method: str = "ship", **given: Any) -> bgjob.Job[Any]:
    return client.run_background_job(Order, method, given, max_retries=1)


def test_a_job_that_is_not_async_waits_as_ever_where_a_test_is() -> None:
    async def scene() -> Any:
        async with bgjob.AsyncClient() as client:
            job = await client.run_background_job(Order, "ship")
            await job.signal("packed", {"parcels": 1})
            return await job.result()

    with inline():
        assert asyncio.run(scene()) == {"parcels": 1}
    assert DONE == ["charge", "label 0"]


def test_steps_run_once_and_a_wait_leaves_the_job_pending_until_a_signal_comes() -> None:
    with inline() as jobs, Client() as client:
        job = submitted(client)
        told = job.refresh()
        assert (told["status"], told["waiting_on"], told["steps"]) == ("pending", "signal packed", 2)
        assert [one["outcome"] for one in told["attempts"]] == ["suspended", "suspended"]
        assert [one["id"] for one in client.list(status="waiting")] == [job.id]
        assert job.why() == f"job {job.id} waits for signal packed"
        with pytest.raises(NothingRunsError, match=r"job\.signal"):
            job.wait()
        assert job.signal("other") is True
        assert job.refresh()["status"] == "pending"
        assert job.signal("packed", {"parcels": 2}, "k") is True
        assert job.result() == jobs[0].result == {"parcels": 2}
        assert DONE == ["charge", "label 0", "label 1"]
        assert job.signal("packed", key="k") is False
        with pytest.raises(InvalidStateError):
            job.signal("packed")


def test_steps_and_signals_are_told_as_by_a_daemon() -> None:
    with inline(), Client() as client:
        job = submitted(client)
        job.signal("packed", {"parcels": 0})
        read = job.steps()
        told = [(one["kind"], one["name"], one["turn"], one["number"], one["result"]) for one in read.steps]
        assert told == [
            ("step", "charge", 1, 1, "charge"),
            ("sleep", "", 1, 2, None),
            ("signal", "packed", 1, 3, {"parcels": 0}),
        ]
        assert [(one["taken_by"], one["payload"]) for one in read.signals] == [("packed 1", None)]
        assert (client.steps(job.id, limit=2).next, len(client.steps(job.id, after=2).steps)) == (2, 1)


def test_a_state_goes_from_attempt_to_attempt_and_is_told() -> None:
    with inline(), Client() as client:
        job = submitted(client, "crawls", pages=3)
        assert job.result() == [4, {"cursor": 3, "seen": []}]
        read = job.steps()
        assert (read.state, read.state_size) == ({"cursor": 3, "seen": []}, 22)
        assert client.steps(job.id, after=0).state_size is None
        assert client.run_background_job(Order, "fails").steps().state == {"a": 1}
        other = submitted(client, "waits")
        assert other.steps().state == {"before": 1}
        other.signal("word")
        assert (other.result(), DONE) == ({"before": 2}, ["suspended"])


def test_a_hook_has_neither_steps_nor_a_state() -> None:
    with inline(), Client() as client:
        assert client.run_background_job(Hooked, "fails").refresh()["status"] == "failed"
        assert DONE == ["none in the hook"] * 2


def test_signals_are_there_beforehand() -> None:
    with inline(signals={"packed": [{"parcels": 1}, {"parcels": 0}]}), Client() as client:
        assert [submitted(client).result() for _ in range(2)] == [{"parcels": 1}, {"parcels": 0}]
        assert submitted(client).refresh()["status"] == "pending"


def test_a_wait_times_out_where_the_test_says_so() -> None:
    with inline() as jobs, Client() as client:
        job, patient = submitted(client, timeout=60), submitted(client)
        time_out(jobs[0])
        assert job.result() == "refund"
        for one in (job, patient, patient.id):
            with pytest.raises(ValueError, match=r"without a timeout|waits for no signal"):
                time_out(one)
    with pytest.raises(RuntimeError), recorded():
        time_out(1)


def test_a_wait_is_one_in_a_group_of_tasks_and_before_a_bare_except() -> None:
    with inline(), Client() as client:
        job, stubborn = submitted(client, "later"), submitted(client, "stubborn")
        assert job.refresh()["status"] == stubborn.refresh()["status"] == "pending"
        assert job.signal("word", "go")
        assert stubborn.signal("word")
        assert (job.result(), stubborn.result()) == ("go", "went on")


def test_retries_are_counted_anew_where_an_attempt_got_on() -> None:
    with inline(), Client() as client:
        assert submitted(client, "goes_on", steps=4).result() == 5
        assert [one["outcome"] for one in client.get(1).snapshot["attempts"]] == ["failed"] * 4 + [
            "completed"
        ]


def test_a_wait_lasts_until_its_job_was_told_to_or_as_long_as_that_takes() -> None:
    with inline() as jobs, Client() as client:
        job, timed = submitted(client), submitted(client, timeout=60)
        job.change(at="2033-05-18 03:33:20Z")
        timed.change(priority=1)
        assert timed.steps().steps[-1]["until"] is not None
        timed.change(at=None)
        until = [one.steps().steps[-1]["until"] for one in (job, timed)]
        assert until == ["2033-05-18T03:33:20.000000Z", None]
        with pytest.raises(ValueError, match="without a timeout"):
            time_out(jobs[1])
        time_out(jobs[0])
        assert job.result() == "refund"


def test_who_waits_is_cancelled_and_waits_anew_after_a_retry() -> None:
    with inline(), Client() as client:
        job = submitted(client)
        job.cancel()
        assert (job.refresh()["status"], job.snapshot["waiting_on"]) == ("cancelled", None)
        assert [step["kind"] for step in job.steps().steps] == ["step", "sleep"]  # which are finished
        job.retry()
        assert job.refresh()["waiting_on"] == "signal packed"
        job.signal("packed", {"parcels": 0})
        assert job.result() == {"parcels": 0}
        assert DONE == ["charge"]


def test_a_retry_from_the_start_takes_anew_what_was_told() -> None:
    with inline(signals={"packed": [{"parcels": 1}]}), Client() as client:
        job = submitted(client)
        assert job.result() == {"parcels": 1}
        other = job.again(from_step="label 0")
        assert DONE == ["charge", "label 0", "label 0"]
        assert other.result() == {"parcels": 1}
        with pytest.raises(InvalidStateError):
            job.retry(from_start=True)
    DONE.clear()
    with inline() as jobs, Client() as client:
        job = client.run_background_job(Order, "ship", {}, max_retries=0)
        job.signal("packed", {"parcels": ["a list is no number"]})
        assert (job.refresh()["status"], DONE) == ("failed", ["charge"])
        token = job.steps().steps[0]["token"]
        job.retry(from_start=True)
        assert (job.refresh()["status"], DONE) == ("failed", ["charge", "charge"])
        assert job.steps().steps[0]["token"] != token
        assert [one["taken_by"] for one in job.steps().signals] == ["packed 1"]
        assert len(jobs) == 1


def test_a_retry_from_the_start_takes_anew_what_was_there_beforehand() -> None:
    with inline(signals={"packed": [{"parcels": []}, "next"]}), Client() as client:
        job = client.run_background_job(Order, "ship", {}, max_retries=0)
        job.retry(from_start=True)
        assert (job.refresh()["status"], job.steps().steps[2]["result"]) == ("failed", {"parcels": []})


def test_one_that_holds_its_unique_key_is_in_the_way_of_its_again() -> None:
    with inline(), Client() as client:
        job = client.run_background_job(Order, "ship", {}, unique_key="k")
        job.cancel()
        other = job.again()
        with pytest.raises(DuplicateError):
            job.again()
        assert other.refresh()["unique_key"] == "k"
        other.cancel()
        assert job.again().id == other.id + 1
        held = client.run_background_job(Order, "goes_on", {"steps": 0}, unique_key="l", unique_for=3600.0)
        assert held.result() == 1
        assert held.again().id != held.id


def test_signals_have_the_limits_of_a_daemon() -> None:
    with recorded(), Client() as client:
        job = submitted(client)
        with pytest.raises(TooLargeError):
            job.signal("packed", "x" * 65536)
        for _ in range(100):
            job.signal("packed")
        with pytest.raises(TooManySignalsError):
            job.signal("packed")
        assert len(job.steps().signals) == 100
