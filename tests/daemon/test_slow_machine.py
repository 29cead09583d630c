"""A machine that takes its time: fork servers that come up late, and callers who are told what they wait for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bgjob import AsyncClient, Client, CodeLoadingError
from bgjobd.supervisor import fork_servers
from bgjobd.supervisor.application import Application, AttemptDirs
from bgjobd.supervisor.fork_server_link import ForkServer
from bgjobd.supervisor.fork_server_loading import TooSlowError
from bgjobd.supervisor.fork_servers import ForkServers
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

SLOW = """
import time
from pathlib import Path

while not Path("GO").exists():
    time.sleep(0.01)


class Slow:
    def tell(self):
        return "there"
"""
NAME = "slow.Slow"
APPROVED = f'"{NAME}" = {{}}'


def test_what_takes_longer_than_its_import_timeout_is_given_more_until_it_is_there(tmp_path: Path) -> None:
    """At first the interpreter has no time to come up, then the module has none to be imported."""
    source = SLOW.replace('while not Path("GO").exists():', "for _ in range(30):")
    eager = "from bgjobd.core import trials; trials._FIRST_PAUSE = 0.01\n"
    eager += "from bgjobd.supervisor import fork_servers; fork_servers._FIRST_PAUSE = 0.01"
    with (
        daemon(
            tmp_path, APPROVED, "import_timeout = 0.01", modules={"slow": source}, changes=eager
        ) as running,
        running.client() as client,
    ):
        eventually(lambda: client.stats()["code_version"])
        eventually(lambda: not {one["name"]: one["unavailable"] for one in client.classes()}[NAME])
        assert client.run_background_job(NAME, "tell").result(20) == "there"
        (first, *_) = [line for line in running.lines() if "did not come up" in line]
        assert "did not come up within 0.01 s; [app] import_timeout gives it longer" in first
        assert first.endswith("; the next is given 0.02 s")


def test_callers_are_answered_while_the_kernel_makes_huge_pages_of_the_daemons_memory(tmp_path: Path) -> None:
    slow = "import time; from bgjobd.forkserver import huge_pages as pages; pages.collapse = lambda: time.sleep(60)"
    with daemon(tmp_path, changes=slow) as running, running.client() as client:
        assert client.run_background_job("probes.Probe", "echo", {"value": 1}).result(20) == 1


class Launched:
    """A fork server that came up, and stays."""

    def __init__(self) -> None:
        self.gone = asyncio.get_running_loop().create_future()

    def drain(self) -> None:
        pass


def test_once_one_has_come_up_the_next_is_given_as_much_as_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fork_servers, "_FIRST_PAUSE", 0.0)
    patience, failed = [], list[bool]()

    async def launch(application: Application, *_: object) -> Launched:
        patience.append(application.import_timeout)
        if len(patience) < 3:
            raise TooSlowError("it did not come up")
        return Launched()

    async def live() -> None:
        application = Application(None, (), {}, {}, {}, {}, import_timeout=5.0)
        begun: list[asyncio.Task[None]] = []
        monkeypatch.setattr(ForkServer, "launch", launch)
        servers = ForkServers(
            AttemptDirs(tmp_path, tmp_path, "life"),
            lambda: application,
            *[lambda *_: None] * 5,
            lambda work: begun.append(asyncio.ensure_future(work)),
            on_failure=lambda: failed.append(servers.is_coming),
        )
        assert servers.is_coming
        await servers.keep_one()
        assert not servers.is_coming
        servers.current = None
        assert servers.is_coming
        await servers.replace(application, lambda _: None)
        for task in begun:
            task.cancel()

    asyncio.run(live())
    assert patience == [5.0, 10.0, 20.0, 5.0]
    assert failed == [False, False]


def test_callers_who_wait_for_the_code_to_be_loaded_are_told_so_and_it_is_no_alert(tmp_path: Path) -> None:
    go = tmp_path / "go"
    modules = {"slow": SLOW.replace("GO", str(go))}
    alerts = '\n[alerts]\ntell = ["journal"]\ngather = "10ms"\n'
    with daemon(tmp_path, APPROVED + alerts, modules=modules) as running:
        told = f"the daemon at {running.socket} is up and loads its code, which goes on after 0.2 s"
        eventually(lambda: _submitted(running) == told)
        eventually(lambda: asyncio.run(_asked(running)) == told)
        go.touch()
        with running.client() as client:
            assert client.run_background_job(NAME, "tell").result(20) == "there"
            # Of broken.Job and NeedsMore.
            eventually(lambda: {one["rule"] for one in client.alerts().items} == {"unavailable"})


def _submitted(running: RunningDaemon) -> str:
    """What a submit comes to that does not wait for long."""
    with Client(str(running.socket), timeout=0.2) as client, pytest.raises(CodeLoadingError) as told:
        client.run_background_job(NAME, "tell")
    return str(told.value)


async def _asked(running: RunningDaemon) -> str:
    async with AsyncClient(str(running.socket), timeout=0.2) as client:
        with pytest.raises(CodeLoadingError) as told:
            await client.classes()
    return str(told.value)
