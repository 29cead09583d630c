"""Values that jobs emit, as clients and commands follow them, with a daemon that all tests share."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgjob import AsyncClient, Client, Job, JobNotFoundError
from bgjob.answers import Value
from tests.client.test_commands import Commands
from tests.daemon.running import OWN_JOURNAL, RunningDaemon, daemon
from tests.support import eventually

MODULE = """
import json, os, signal, time
from pathlib import Path

import bgjob
import own


class Teller:
    def __init__(self, context: bgjob.JobContext):
        self.context = context

    def count(self, number: int, go: str = "") -> int:
        kept = 0
        for n in range(number):
            kept += self.context.emit(n)
        while go and not Path(go).exists():
            time.sleep(0.01)
        return kept

    def again(self, attempts: int, number: int) -> None:
        "Tells so many in each attempt, which ends badly but for the last."
        for n in range(number):
            assert self.context.emit([self.context.attempt, n])
        if self.context.attempt < attempts:
            if self.context.attempt % 2:
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError("again")

    def step(self) -> None:
        self.context.emit("first")
        self.context.step("one", self.context.emit, {"in": "a step"})
        self.context.wait_for("go")
        self.context.emit("last")

    def forge(self, lines: list[str], times: int) -> None:
        pid, journal = os.getpid(), own.descriptor()
        text = "".join(f"\\n{line}\\n" for line in lines).replace("PID", str(pid))
        for _ in range(times):
            os.write(journal, text.encode())
        self.context.emit("honest")


class Secret(Teller):
    pass
"""
SETTINGS = """
"teller.Teller" = { max_retries = 9 }
"teller.Secret" = { sensitive = ["number"] }
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    modules = {"teller": MODULE, "own": OWN_JOURNAL}
    with daemon(tmp_path_factory.mktemp("values"), SETTINGS, modules=modules) as running:
        yield running


@pytest.fixture(scope="module")
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


@pytest.fixture(scope="module")
def commands(running: RunningDaemon) -> Commands:
    return Commands(running.socket)


def submit(client: Client, method: str, class_name: str = "teller.Teller", **given: Any) -> Job[Any]:
    return client.run_background_job(class_name, method, given)


def test_values_are_told_as_they_come_until_the_job_has_ended(client: Client, tmp_path: Path) -> None:
    go = tmp_path / "go"
    job = submit(client, "count", number=3, go=str(go))
    with job.stream() as values:
        assert [next(values) for _ in range(3)] == [0, 1, 2]
        assert job.refresh()["status"] == "running"
        go.touch()
        assert list(values) == []
    assert job.result(20) == 3
    assert list(job.stream()) == [0, 1, 2]  # late


def test_a_value_tells_its_place(client: Client) -> None:
    job = submit(client, "step")
    with job.stream(places=True) as values:
        told = [next(values) for _ in range(2)]
        job.signal("go")
        told += values
    assert [(one.number, one.attempt, one.step, one.value) for one in told] == [
        (1, 1, None, "first"),
        (2, 1, "one", {"in": "a step"}),
        (3, 2, None, "last"),
    ]
    assert all(re.fullmatch(r"\d{4}-.*Z", one.at) for one in told)
    assert list(job.stream(2)) == list(job.stream(-1)) == ["last"]


def test_values_are_told_to_a_loop(running: RunningDaemon, client: Client) -> None:
    job_id = submit(client, "count", number=3).id

    async def follow() -> tuple[list[Any], list[Value]]:
        async with AsyncClient(str(running.socket)) as own:
            job = await own.get(job_id)
            return [one async for one in job.stream()], [one async for one in job.stream(1, places=True)]

    bare, told = asyncio.run(follow())
    assert (bare, [(one.number, one.value) for one in told]) == ([0, 1, 2], [(2, 1), (3, 2)])


def test_who_breaks_off_again_and_again_gets_each_value_once(client: Client) -> None:
    attempts, number = 3, 1500
    job = submit(client, "again", attempts=attempts, number=number)
    with job.stream() as idle:  # and one who does not read
        told: list[Value] = []
        for place in range(1, 21):
            with job.stream(told[-1].number if told else 0, places=True) as values:
                told += [one for one, _ in zip(values, range(place * 20), strict=False)]
        told += job.stream(told[-1].number, places=True)
        assert [one.number for one in told] == list(range(1, attempts * number + 1))
        assert [one.value for one in told] == [[a, n] for a in range(1, attempts + 1) for n in range(number)]
        assert [one.attempt for one in told] == [one.value[0] for one in told]
        assert list(idle) == [one.value for one in told]
    assert job.result(20) is None


def test_pages_of_values_tell_where_to_go_on(client: Client) -> None:
    job = submit(client, "count", number=120)
    job.result(20)
    first = client.values(job.id)
    assert ([one.value for one in first.values], first[1:]) == (list(range(50)), (50, 0, False))
    last = client.values(job.id, after=first.next, limit=1000)
    assert ([one.value for one in last.values], last[1:]) == (list(range(50, 120)), (120, 0, True))
    assert client.values(job.id, after=-1, limit=1).next == 120
    for ask in (lambda: client.values(999_999), lambda: next(client.follow_values(999_999))):
        with pytest.raises(JobNotFoundError):
            ask()


def test_a_class_with_secrets_tells_its_values(client: Client) -> None:
    """A job that emits one wants it told, as the result that it returns."""
    job = submit(client, "count", "teller.Secret", number=2)
    assert list(job.stream()) == [0, 1]


# Commands


def test_follow_prints_a_line_of_each_value(client: Client, commands: Commands) -> None:
    job = submit(client, "step")
    process = commands.start("follow", str(job.id))
    eventually(lambda: client.values(job.id, after=-1).next == 2)
    job.signal("go")
    assert process.communicate(timeout=20)[0].splitlines() == ['"first"', '{"in": "a step"}', '"last"']
    assert process.returncode == 0
    done = commands.run("follow", str(job.id), "--after", "2", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["number"], told["step"], told["value"]) == (0, 3, None, "last")
    assert set(told) == {"number", "attempt", "step", "at", "value"}
    done = commands.run("follow", str(job.id), "--after", "3")
    assert done.stderr.startswith(
        f"bgjob: job {job.id} is completed, and has emitted nothing after value 3; "
    )
    assert commands.run("follow", "999999").returncode == 4
    assert commands.run("follow", str(job.id), "--after", "-1").returncode == 2


def test_follow_says_how_many_are_not_kept_any_more(
    client: Client, commands: Commands, running: RunningDaemon
) -> None:
    """Of more than are kept in all."""
    job = submit(client, "again", attempts=2, number=9000)
    job.wait(30)
    done = commands.run("follow", str(job.id))
    values = done.stdout.splitlines()
    assert 10_000 <= len(values) <= 11_000
    assert f"bgjob: {18_000 - len(values)} values before the next one are not kept any more" in done.stderr
    assert values[-1] == "[2, 8999]"


def test_show_tells_how_many_values_there_are(client: Client, commands: Commands) -> None:
    job = submit(client, "count", number=1200)
    assert job.result(20) == 1200
    shown = commands.run("show", str(job.id)).stdout
    assert re.search(rf"^it has emitted 1,200 values, the last .*; bgjob follow {job.id}$", shown, re.M)
    job = submit(client, "count", number=0)
    job.result(20)
    assert "emitted" not in commands.run("show", str(job.id)).stdout


# Hostile jobs

VALUE = '{{"v":1,"type":"value","pid":{pid},"at":1.0,"place":{place},"step":{step},"value":{value}}}'


def forged(place: Any = 1, step: str = "null", value: str = '"1"', pid: str = "PID") -> str:
    return VALUE.format(pid=pid, place=place, step=step, value=value)


def test_what_a_job_has_forged_and_nobody_could_read_is_not_told(client: Client) -> None:
    lines = [
        *(
            forged(value='"[1,"'),
            forged(value="7"),
            forged(value='"NaN"'),
            forged(place=-1),
            forged(place=True),
        ),
        *(
            forged(step="7"),
            forged(step='""'),
            forged(pid=str(os.getpid())),
            forged(value='"{\\"a\\":1,\\"a\\":2}"'),
        ),
    ]
    job = submit(client, "forge", lines=lines, times=1)
    assert list(job.stream()) == ["honest"]
    job = submit(client, "forge", lines=[forged(2**53)], times=1)
    assert list(job.stream()) == [1, "honest"]


def test_a_job_that_forges_values_without_end_tells_no_more_than_others(
    client: Client, running: RunningDaemon
) -> None:
    job = submit(client, "forge", lines=[forged(value=json.dumps(json.dumps("x" * 60_000)))], times=40)
    assert len(list(job.stream())) == 17
    job = submit(client, "forge", lines=[forged(value='"1"')] * 100, times=150)
    assert len(list(job.stream())) == 10_000
    assert job.wait(20)["status"] == "completed"
