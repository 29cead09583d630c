"""Schedules that are put while a real daemon runs, which outlive it, a reload, and who has put them."""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bgjob.client import Client
from bgjob.codec import Request
from bgjob.errors import (
    InvalidNameError,
    InvalidParametersError,
    MethodNotApprovedError,
    RequestError,
    ScheduleNotFoundError,
    StorageUnavailableError,
    TooLargeError,
)
from bgjobd.config.schedules import Schedule
from bgjobd.daemon.kept_schedules import kept_of
from bgjobd.daemon.schedule_definitions import definition_of
from bgjobd.daemon.schedules import AroundSchedules, Schedules
from bgjobd.store.committed import StoredSchedule
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

SCHEDULES = """
[schedules.nightly]
job = "probes.Probe::echo"
cron = "@daily"
"""
HOURLY: dict[str, Any] = {"job": "probes.Probe::echo", "every": "1h", "parameters": {"value": 7}}


def named(client: Client, name: str) -> dict[str, Any]:
    (found,) = client.schedules(name=name)
    return found


def test_a_schedule_that_is_put_stays_until_it_is_deleted(tmp_path: Path) -> None:
    me = pwd.getpwuid(os.getuid()).pw_name
    with daemon(tmp_path, SCHEDULES) as running:
        with running.client() as client:
            assert client.put_schedule("customer/7", HOURLY)
            assert not client.put_schedule("customer/7", HOURLY | {"overlap": "allow"})
            assert client.put_schedule("customer/8", HOURLY | {"every": "1s"})
            (job_id, *_) = eventually(
                lambda: [one["job_id"] for one in client.occurrences("customer/8") if one["job_id"]]
            )
            assert client.get(job_id).snapshot["submitted_uid"] == os.getuid()
            assert client.get(job_id).snapshot["submitted_pid"] is None
            client.pause_schedule("customer/8")
            client.reload()
            assert [one["name"] for one in client.schedules()] == ["customer/7", "customer/8", "nightly"]
        running.stop()
        running.start()
        with running.client() as client:
            eventually(lambda: len(client.schedules()) == 3)
            seven = named(client, "customer/7")
            assert (seven["made_by"], seven["uid"], seven["overlap"]) == (me, os.getuid(), "allow")
            assert named(client, "customer/8")["paused_at"] is not None
            client.delete_schedule("customer/8")
            assert client.occurrences("customer/8").items
            with pytest.raises(ScheduleNotFoundError):
                client.schedules(name="customer/8")
            for name in ("nightly", "customer/8", "customer/9"):
                with pytest.raises(ScheduleNotFoundError):
                    client.delete_schedule(name)
            check_refusals(client)
            check_past(client, job_id)


def check_past(client: Client, job_id: int) -> None:
    """What comes again under a name begins anew, with the past of the name."""
    assert client.put_schedule("customer/8", HOURLY)
    found = named(client, "customer/8")
    assert (found["paused_at"], found["last"] is None) == (None, False)
    assert job_id in [one["job_id"] for one in client.occurrences("customer/8").items]


def check_refusals(client: Client) -> None:
    wrong: list[tuple[str, dict[str, Any], type[RequestError]]] = [
        ("nightly", HOURLY, InvalidNameError),
        ("customer/", HOURLY, InvalidNameError),
        ("customer/..", HOURLY, InvalidNameError),
        ("a/" + "b" * 127, HOURLY, InvalidNameError),
        ("a/b\n", HOURLY, InvalidNameError),
        ("a/b", HOURLY | {"cron": "30 25 * * *"}, InvalidParametersError),
        ("a/b", HOURLY | {"nonsense": 1}, InvalidParametersError),
        ("a/b", HOURLY | {"parameters": {"other": 1}}, InvalidParametersError),
        ("a/b", HOURLY | {"job": "probes.Probe::none"}, MethodNotApprovedError),
        ("a/b", HOURLY | {"cron": ",".join("1" * 5000) + " * * * *"}, TooLargeError),
        ("a/b", HOURLY | dict.fromkeys(map(str, range(2000))), TooLargeError),
        ("a/b", HOURLY | {"parameters": {"value": "x" * 2**21}}, TooLargeError),
    ]
    for name, definition, refusal in wrong:
        with pytest.raises(refusal):
            client.put_schedule(name, definition)
    with pytest.raises(InvalidNameError, match="has a slash, such as customer/7"):
        client.put_schedule("customer", HOURLY)
    with pytest.raises(InvalidParametersError, match="hour 25 of 0 to 23"):
        client.put_schedule("a/b", {"job": "probes.Probe::echo", "cron": "30 25 * * *"})
    assert [one["name"] for one in client.schedules()] == ["customer/7", "nightly"]


def test_what_is_asked_by_who_hangs_up_at_once_is_done_to_its_end_and_said(tmp_path: Path) -> None:
    with daemon(tmp_path) as running, running.client() as client:
        client.put_schedule("customer/7", HOURLY)
        client.put_schedule("customer/8", HOURLY)
        job = client.run_background_job("probes.Probe", "echo", {"value": 1}, delay=3600)
        hang_up(running, "PutSchedule", name="customer/7", definition=HOURLY | {"parameters": {"value": 8}})
        hang_up(running, "DeleteSchedule", name="customer/8")
        hang_up(running, "Cancel", ids=[job.id])
        (seven,) = eventually(
            lambda: [one for one in client.schedules() if one["parameters"] == {"value": 8}] or None
        )
        assert seven["name"] == "customer/7"
        eventually(lambda: [one["name"] for one in client.schedules()] == ["customer/7"])
        asked = f"cancel of job {job.id} requested by "
        eventually(lambda: any(asked in line for line in running.lines()))
        eventually(lambda: job.refresh()["status"] == "cancelled")


def test_a_large_definition_of_who_hangs_up_while_the_code_loads_is_stored_whole(tmp_path: Path) -> None:
    go = tmp_path / "go"
    slow = f"import time\nfrom pathlib import Path\n\nwhile not Path({str(go)!r}).exists():\n    time.sleep(0.01)\n"
    values = ["x" * 8] * 3000
    with daemon(
        tmp_path, '"slow.Slow" = {}', modules={"slow": f"{slow}\n\nclass Slow:\n    pass\n"}
    ) as running:
        large = HOURLY | {"parameters": {"value": values}}
        with running.client() as client:
            with socket.socket(socket.AF_UNIX) as caller:
                caller.connect(str(running.socket))
                request = Request("org.bgjobd.Jobs.PutSchedule", {"name": "customer/9", "definition": large})
                caller.sendall(request.to_bytes())
                look_often(client)  # by then it waits for the code
            look_often(client)  # by then it has been heard that nobody is there
            go.touch()
            (found,) = eventually(lambda: client.schedules() or None)
            client.put_schedule("customer/10", large)
            assert client.run_schedule("customer/10").result(20) == values
        assert (found["name"], found["parameters"]) == ("customer/9", {"value": values})


def look_often(client: Client) -> None:
    """The loop has had as many turns."""
    for _ in range(50):
        client.stats()


def hang_up(running: RunningDaemon, method: str, **parameters: Any) -> None:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(running.socket))
        caller.sendall(Request(f"org.bgjobd.Jobs.{method}", parameters).to_bytes())


def test_that_another_hosts_definition_holds_is_said_as_soon_as_it_is_heard_of() -> None:
    said: list[str] = []
    meant = Schedule.model_validate({"job": "a.Job::run", "every": "1d"})
    there = StoredSchedule("nightly", "{}", 0.0, 0.0, None, set_by="web2")

    async def read(question: Any) -> Any:
        return (there,)

    async def look() -> None:
        config = cast(Any, SimpleNamespace(schedules={"nightly": meant}))
        schedules = schedules_of(config, read, lambda type, text: said.append(text))
        schedules.kept = {"nightly": kept_of(replace(there, definition=definition_of(meant)), meant, None)}
        schedules.on_others()
        await schedules._try_look()
        assert schedules.kept["nightly"].stuck == "host web2 has another definition of it, which holds"

    asyncio.run(look())
    (line,) = said
    assert line.startswith("schedule nightly: host web2 has another definition of it, which holds; none of")


def schedules_of(config: Any, read: Any, say: Any = None) -> Schedules:
    unused: Any = None
    schedules = Schedules(
        AroundSchedules(
            config=lambda: config,
            current_catalogue=cast(Any, SimpleNamespace(try_catalogue=lambda: None)),
            peers=cast(Any, SimpleNamespace(own="a")),
            read=read,
            record=unused,
            counters=unused,
            now=lambda: 0.0,
            say=say,
        )
    )
    schedules._taken_up = config
    return schedules


def test_what_another_host_has_put_is_looked_for_until_it_could_be_read() -> None:
    reads: list[Any] = []

    async def read(question: Any) -> list[Any]:
        reads.append(question)
        if len(reads) == 1:
            raise StorageUnavailableError(reason="the connection broke")
        return []

    async def look() -> None:
        schedules = schedules_of(cast(Any, SimpleNamespace(schedules={})), read)
        schedules.on_others()
        for _ in range(3):
            await schedules._try_look()

    asyncio.run(look())
    assert len(reads) == 2
