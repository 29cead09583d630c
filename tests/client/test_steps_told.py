"""Steps, waits and signals of jobs, as clients and commands show and send them, with a daemon that all tests share."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgjob import AsyncClient, AsyncJob, Client, Job, JobNotFoundError
from bgjob.answers import StepsRead
from bgjob.errors import InvalidParameterError, InvalidStateError, TooLargeError
from tests.client.test_commands import Commands
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

MODULE = """
import time
from pathlib import Path

import bgjob


class Order:
    def ship(self, context: bgjob.JobContext, timeout: float | None = None) -> str:
        context.step("charge", lambda: {"token": context.token("charge")})
        packed = context.wait_for("packed", timeout)
        for n in range(packed["parcels"]):
            context.step(f"label {n}", str, n)
        return f"{packed['parcels']} parcels"

    def nap(self, seconds: float, context: bgjob.JobContext) -> None:
        context.step("one", str, 1)
        context.sleep(seconds)

    def slow(self, go: str, context: bgjob.JobContext) -> None:
        context.step("one", str, 1)
        context.step("two", self._wait, go)

    def first(self, go: str, context: bgjob.JobContext) -> None:
        context.step("one", self._wait, go)

    def _wait(self, go: str) -> None:
        while not Path(go).exists():
            time.sleep(0.01)

    def forge(self, results: list[str], context: bgjob.JobContext) -> None:
        for n, result in enumerate(results):
            context._keeper.finished(f"forged {n}", result, False)

    def keep(self, context: bgjob.JobContext, **values: object) -> None:
        context.state.update(values)

    def forge_state(self, text: str, context: bgjob.JobContext) -> None:
        context._state_keeper.save_state(text)

    def many(self, number: int, context: bgjob.JobContext) -> None:
        for n in range(number):
            context.step(f"step {n}", str, n)
        context.wait_for("more")


class Secret(Order):
    pass
"""
SETTINGS = '"shop.Order" = {}\n"shop.Secret" = { sensitive = ["order"] }\n'


@pytest.fixture(scope="module")
def running(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(tmp_path_factory.mktemp("steps"), SETTINGS, modules={"shop": MODULE}) as running:
        yield running


@pytest.fixture(scope="module")
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


@pytest.fixture(scope="module")
def commands(running: RunningDaemon) -> Commands:
    return Commands(running.socket)


def waiting(client: Client, method: str = "ship", class_name: str = "shop.Order", **given: Any) -> Job[Any]:
    """A job that has come to its wait."""
    job = client.run_background_job(class_name, method, given)
    eventually(lambda: any(step["kind"] != "step" for step in job.steps().steps))
    eventually(lambda: job.refresh()["status"] == "pending")
    return job


def brief(read: StepsRead) -> list[tuple[Any, ...]]:
    return [(step["kind"], step["name"], step["turn"], step["number"], step["result"]) for step in read.steps]


def test_what_a_job_has_done_waits_for_and_was_told(client: Client) -> None:
    job = waiting(client)
    read = job.steps()
    charge = read.steps[0]
    assert brief(read) == [
        ("step", "charge", 1, 1, {"token": charge["token"]}),
        ("signal", "packed", 1, None, None),
    ]
    assert (charge["attempt"], charge["tries"], charge["size"]) == (
        1,
        1,
        len(json.dumps(charge["result"])) - 1,
    )
    assert (read.state, read.signals, read.next) == (None, [], None)
    assert job.signal("other", [1]) is True
    assert job.signal("packed", {"parcels": 2}, "k") is True
    assert job.result(20) == "2 parcels"
    read = job.steps()
    assert brief(read)[1:] == [
        ("signal", "packed", 1, 2, {"parcels": 2}),
        *(("step", f"label {n}", 1, 3 + n, str(n)) for n in range(2)),
    ]
    told = [(one["number"], one["name"], one["payload"], one["taken_by"]) for one in read.signals]
    assert told == [(1, "other", [1], None), (2, "packed", None, "packed 1")]
    with pytest.raises(InvalidStateError):
        job.signal("packed")


def test_asyncio_sends_and_sees_the_same(client: Client, running: RunningDaemon) -> None:
    job = waiting(client)

    async def go_on() -> list[tuple[Any, ...]]:
        async with AsyncClient(str(running.socket)) as asking:
            handle: AsyncJob[Any] = await asking.get(job.id)
            assert await handle.signal("packed", {"parcels": 0})
            assert await handle.result(20) == "0 parcels"
            assert (await asking.steps(job.id, after=1)).steps == (await handle.steps()).steps[1:]
            return brief(await handle.steps())

    assert asyncio.run(go_on()) == brief(job.steps())


def test_steps_come_in_pages_and_those_that_are_not_finished_at_the_end(client: Client) -> None:
    job = waiting(client, "many", number=5)
    first = client.steps(job.id, limit=3)
    assert ([step["number"] for step in first.steps], first.next) == ([1, 2, 3], 3)
    job.signal("other")
    rest = client.steps(job.id, after=first.next, limit=3)
    assert ([step["number"] for step in rest.steps], rest.next, rest.signals) == ([4, 5, None], None, [])
    assert [step["number"] for step in client.steps(job.id, after=5).steps] == [None]
    with pytest.raises(JobNotFoundError):
        client.steps(987654)


def test_of_a_class_with_secrets_no_value_is_told(client: Client) -> None:
    job = waiting(client, class_name="shop.Secret")
    job.signal("more", "s3cret")  # before the one that has it end
    job.signal("packed", {"parcels": 0})
    job.wait(20)
    read = job.steps()
    assert {step["result"] for step in read.steps} == {one["payload"] for one in read.signals} == {None}
    assert [(step["name"], step["size"] > 4) for step in read.steps] == [("charge", True), ("packed", True)]
    assert [one["size"] for one in read.signals] == [len('"s3cret"'), len('{"parcels":0}')]


def test_a_state_is_told_with_its_size_and_of_a_class_with_secrets_without_its_value(client: Client) -> None:
    job = client.run_background_job("shop.Order", "keep", {"cursor": "ü", "seen": [1]})
    job.result(20)
    read, text = job.steps(), '{"cursor":"ü","seen":[1]}'
    assert (read.state, read.state_size) == (json.loads(text), len(text.encode()))
    assert client.steps(job.id, after=0)[1:] == (None, [], None, None)
    job = client.run_background_job("shop.Secret", "keep", {"cursor": "ü"})
    job.result(20)
    read = job.steps()
    assert (read.state, read.state_size) == (None, len('{"cursor":"ü"}'.encode()))


@pytest.mark.parametrize(
    ("text", "size"),
    [('{"a":1e999}', 11), ('{"a":"\\ud800"}', 14), ('{"a":1,"a":2}', 13), ("[1]", None), ("{", None)],
)
def test_a_state_that_no_client_could_read_is_told_by_its_size_and_none_that_is_no_object(
    client: Client, text: str, size: int | None
) -> None:
    job = client.run_background_job("shop.Order", "forge_state", {"text": text})
    job.result(20)
    read = job.steps()
    assert (read.state, read.state_size) == (None, size)


# Commands


def test_show_tells_of_a_state_its_size_and_all_of_it_with_the_steps(
    client: Client, commands: Commands
) -> None:
    job = client.run_background_job("shop.Order", "keep", {"cursor": "a\nb\x1b"})
    job.result(20)
    assert "its state takes 23 B; --steps shows it\n" in commands.run("show", str(job.id)).stdout
    assert commands.run("show", str(job.id), "--steps").stdout.endswith(
        '\nstate {"cursor": "a\\nb\\u001b"}\n'
    )
    told = commands.json("show", str(job.id), "--steps")
    assert (told["state"], told["state_size"]) == ({"cursor": "a\nb\x1b"}, 23)
    secret = client.run_background_job("shop.Secret", "keep", {"cursor": 12})
    secret.result(20)
    assert commands.run("show", str(secret.id)).stdout.endswith("\nits state takes 13 B\n")
    assert commands.run("show", str(secret.id), "--steps").stdout.endswith(
        "\nstate 13 B\n\nsizes stand for values that are not told: of a class with sensitive parameters, "
        "or no readable JSON\n"
    )


def test_a_signal_is_sent_from_the_command_line(client: Client, commands: Commands) -> None:
    job = client.run_background_job("shop.Order", "ship", idempotency_key="order-17")
    done = commands.run("signal", "order-17", "packed", '{"parcels": 1}', "--key", "hook-1")
    assert (done.returncode, done.stderr) == (0, "bgjob: job order-17 has got signal packed\n")
    assert commands.json("signal", str(job.id), "packed", "--key", "hook-1") == {"created": False}
    assert job.result(20) == "1 parcels"
    done = commands.run("signal", str(job.id), "packed", "-", given="1")
    assert done.returncode == 77
    assert done.stderr == f"bgjob: job {job.id} is completed; only jobs that have not ended get signals\n"
    done = commands.run("signal", str(job.id), "packed", "{")
    assert (done.returncode, "no JSON in the argument" in done.stderr) == (2, True)


def test_who_waits_is_told_so_by_each_command(client: Client, commands: Commands) -> None:
    order, nap = waiting(client, timeout=3600), waiting(client, "nap", seconds=7200)
    for job, until, why in (
        (order, "for signal packed, until ", f"; 1 step is done; bgjob signal {order.id} packed JSON"),
        (nap, "until ", "; 1 step is done"),
    ):
        told = job.refresh()
        assert (told["steps"], told["status"]) == (1, "pending")
        (listed,) = [one for one in client.list(status="waiting") if one["id"] == job.id]
        assert (listed["steps"], listed["waiting_on"]) == (1, told["waiting_on"])
        assert client.list(status=["scheduled", "retrying", "snoozed"]).items == []
        lines = commands.run("list").stdout.splitlines()
        (line,) = [line for line in lines if line.split()[0] == str(job.id)]
        assert re.search(rf"{job.id}  waiting  .*{until}", line)
        assert re.fullmatch(rf"job {job.id} (sleeps|waits).* UTC, in [12] h{re.escape(why)}", job.why())
        assert commands.run("why", str(job.id)).stdout.strip() == job.why()
    (queue,) = client.stats()["queues"]
    assert queue["waiting"] == client.stats()["waiting"] == len(client.list(status="waiting"))
    assert re.search(r"\(\d waiting\)", commands.run("stats").stdout)
    order.cancel()
    nap.cancel()
    assert client.list(status="waiting", key="none").items == []


def test_show_tells_steps_with_tries_and_all_with_values(client: Client, commands: Commands) -> None:
    job = waiting(client)
    job.signal("it's", [1])
    shown = commands.run("show", str(job.id)).stdout
    waits = ("status +waiting", "waits +for signal packed")
    for line in (*waits, r"charge +1 .* m?s", "signal packed +1 .* waits", "it's +.* nobody yet"):
        assert re.search(f"^ *{line}$", shown, re.M), line
    assert f"next: bgjob signal {job.id} packed JSON" in shown
    assert "token" not in shown
    whole = commands.run("show", str(job.id), "--steps").stdout
    assert re.search(r'charge .*{"token": "[0-9a-f]{32}"}$', whole, re.M)
    told = commands.json("show", str(job.id), "--steps")
    assert (told["steps"], [step["name"] for step in told["steps_told"]]) == (1, ["charge", "packed"])
    assert [one["payload"] for one in told["signals"]] == [[1]]
    job.cancel()
    job.wait(20)
    told_to_who_may_retry = commands.run("show", str(job.id)).stdout
    assert re.search("^ *it's +.* nobody yet$", told_to_who_may_retry, re.M)


def test_show_tells_the_first_step_under_way_and_a_signal_that_no_wait_has_come_to(
    client: Client, commands: Commands, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    job = client.run_background_job("shop.Order", "first", {"go": str(go)})
    eventually(lambda: job.steps().steps)
    job.signal("packed")
    shown = commands.run("show", str(job.id)).stdout
    for line in ("one +1 .* not finished", "packed +.* nobody yet"):
        assert re.search(f"^ *{line}$", shown, re.M), line
    go.touch()
    job.result(20)
    assert re.search("^ *packed +.* nobody$", commands.run("show", str(job.id)).stdout, re.M)


def test_show_tells_nothing_of_steps_where_there_are_none(client: Client, commands: Commands) -> None:
    job = client.run_background_job("shop.Order", "many", {"number": 0}, delay=3600.0)
    assert "step" not in commands.run("show", str(job.id)).stdout.lower()
    assert "it has no steps" in commands.run("show", str(job.id), "--steps").stdout
    job.cancel()


def test_why_tells_the_step_that_a_running_job_is_in(client: Client, tmp_path: Path) -> None:
    go = tmp_path / "go"
    job = client.run_background_job("shop.Order", "slow", {"go": str(go)})
    told = eventually(lambda: re.search(r"; in step two.*", job.why()))
    assert re.fullmatch(r"; in step two since \d\d:\d\d:\d\d UTC, 1 is done", told[0])
    go.touch()
    job.result(20)


def test_lists_and_who_watches_are_told_in_which_step_a_job_is(
    client: Client, commands: Commands, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    job = client.run_background_job("shop.Order", "slow", {"go": str(go)})
    seen = []
    with job.watch() as changes:
        for summary in changes:
            seen.append((summary["status"], summary["steps"], summary["step"]))
            if seen[-1][1:] == (1, "two") and not go.exists():
                (listed,) = client.list(status="running")
                assert (listed["steps"], listed["step"]) == (1, "two")
                assert re.search(rf"^ *{job.id} +running .*in step two$", commands.run("list").stdout, re.M)
                go.touch()
    assert {("running", 1, "two"), ("completed", 2, None)}.issubset(seen), seen


def test_a_payload_is_no_larger_than_it_may_be(client: Client) -> None:
    job = waiting(client)
    with pytest.raises(TooLargeError):
        job.signal("packed", "x" * 65536)
    job.cancel()


def test_an_empty_key_of_a_signal_is_refused_and_no_key_at_all_is_one_of_its_own(client: Client) -> None:
    job = waiting(client)
    with pytest.raises(InvalidParameterError, match="a text of 1 to 255 characters is wanted"):
        job.signal("packed", key="")
    assert [job.signal("other"), job.signal("other")] == [True, True]
    job.cancel()


def test_results_that_no_client_could_read_are_told_without_their_values(client: Client) -> None:
    forged = ["1e999", '"\\ud800"', '{"a":1,"a":2}', "[" * 500 + "]" * 500, "9" * 5000]
    job = client.run_background_job("shop.Order", "forge", {"results": [*forged, "[1]"]})
    job.result(20)
    steps = job.steps().steps
    assert [step["result"] for step in steps] == [None] * len(forged) + [[1]]
    assert [step["size"] for step in steps[:-1]] == [len(text) for text in forged]
