"""A machine that takes its time: fork servers that come up late, and callers who are told what they wait for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bgjob import AsyncClient, Client, CodeLoadingError
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
    source = SLOW.replace('while not Path("GO").exists():', "for _ in range(50):")
    eager = "from bgjobd.core import trials; trials._FIRST_PAUSE = 0.01\n"
    eager += "from bgjobd import generations; generations._FIRST_PAUSE = 0.01"
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


def test_callers_who_wait_for_the_code_to_be_loaded_are_told_so(tmp_path: Path) -> None:
    go = tmp_path / "go"
    modules = {"slow": SLOW.replace("GO", str(go))}
    with daemon(tmp_path, APPROVED, modules=modules) as running:
        told = f"the daemon at {running.socket} is up and loads its code, which goes on after 0.2 s"
        eventually(lambda: _submitted(running) == told)
        eventually(lambda: asyncio.run(_asked(running)) == told)
        go.touch()
        with running.client() as client:
            assert client.run_background_job(NAME, "tell").result(20) == "there"


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
