"""Hooks that cannot start: they are tried again ever more seldom, and at once by another fork server."""

from __future__ import annotations

import asyncio
import errno
import signal
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from bgjob.words import Outcome
from bgjobd.core.job import Call, Ending
from bgjobd.supervisor.hooks import Hooks
from bgjobd.supervisor.starts import Start
from tests.daemon.running import daemon
from tests.support import eventually

OVER_QUOTA = '''
import errno, os

_mkdir = os.mkdir


def mkdir(path, *args, **kwargs):
    """As it is where the user's quota has no room for another directory, once the job has written there."""
    if os.path.exists("FULL") and str(path).endswith(".hook"):
        with open("TRIES", "a") as tries:
            tries.write("in vain\\n")
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
    _mkdir(path, *args, **kwargs)


os.mkdir = mkdir


class Hooked:
    def run(self):
        raise ValueError("no recipient")

    def failed(self, error):
        with open("LEDGER", "a") as ledger:
            ledger.write("called\\n")
'''
SETTINGS = '"quota.Hooked" = { max_retries = 0 }\n'
SOON = """
from bgjobd.supervisor import hooks
from bgjobd.core import retry
hooks.PAUSE, retry._FIRST_START_DELAY = 0.01, 60.0
"""
"""A daemon that looks every moment whom it may call, and lets who could not start rest for long."""
IN_VAIN = "SELECT job_id FROM job_logs WHERE message LIKE 'the failed hook: could not start: %' ORDER BY 1"


class Site:
    """Where `full` is there as long as no hook can start, `ledger` has those that were called, `tries` all starts in
    vain.
    """

    def __init__(self, directory: Path) -> None:
        self.full, self.ledger, self.tries = (directory / name for name in ("full", "ledger", "tries"))
        self.full.touch()
        source = OVER_QUOTA.replace("FULL", str(self.full)).replace("TRIES", str(self.tries))
        self.modules = {"quota": source.replace("LEDGER", str(self.ledger))}

    def count_tries(self) -> int:
        return len(self.tries.read_text().splitlines()) if self.tries.exists() else 0


def test_hooks_that_cannot_start_rest_and_are_called_by_another_fork_server(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with (
        daemon(tmp_path, SETTINGS, modules=site.modules, changes=SOON) as running,
        running.client() as client,
    ):
        for _ in range(6):
            client.run_background_job("quota.Hooked", "run").wait(20)
        eventually(lambda: len(running.query(IN_VAIN)) >= 6)
        for number in range(10):
            assert client.run_background_job("probes.Probe", "echo", {"value": number}).result(20) == number
        assert running.query(IN_VAIN) == [(id,) for id in range(1, 7)]
        site.full.unlink()
        client.reload()
        eventually(lambda: site.ledger.exists() and site.ledger.read_text() == "called\n" * 6)
        eventually(lambda: running.spooled() == [])


def after(seconds: float) -> str:
    return SOON.replace("60.0", str(seconds))


def test_a_drain_waits_for_a_hook_that_rests(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with daemon(tmp_path, SETTINGS, modules=site.modules, changes=after(0.2)) as running:
        with running.client() as client:
            client.run_background_job("quota.Hooked", "run").wait(20)
        eventually(lambda: site.count_tries() >= 2)
        assert running.process is not None
        running.process.send_signal(signal.SIGQUIT)
        eventually(lambda: any("draining" in line for line in running.lines()))
        before = site.count_tries()
        eventually(lambda: site.count_tries() >= before + 2)
        assert running.process.poll() is None
        site.full.unlink()
        assert running.process.wait(20) == 0
        running.process = None
    assert site.ledger.read_text() == "called\n"


def test_a_drain_calls_a_hook_that_rests_at_once(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with daemon(tmp_path, SETTINGS, modules=site.modules, changes=SOON) as running:
        with running.client() as client:
            client.run_background_job("quota.Hooked", "run").wait(20)
        eventually(lambda: running.query(IN_VAIN))
        site.full.unlink()
        assert running.stop(signal.SIGQUIT) == 0
    assert site.ledger.read_text() == "called\n"


def test_a_hook_that_can_never_start_holds_up_no_drain_and_fills_no_log(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with daemon(tmp_path, SETTINGS, modules=site.modules, changes=after(0.001)) as running:
        with running.client() as client:
            client.run_background_job("quota.Hooked", "run").wait(20)
        eventually(lambda: site.count_tries() > 8)
        assert running.stop(signal.SIGQUIT) == 0
        assert len(running.query(IN_VAIN)) == 7
        assert running.spooled() != []
    assert not site.ledger.exists()


KEY = (7, 1)


class Line:
    """Hooks of a class that has one, as it `is_wanted`, and of an application with a function for all; no processes.

    `starts` are in line for the fork server. What a call finds in the spool is `found`.
    """

    def __init__(self) -> None:
        self.is_wanted, self.found = True, iter([None])
        self.starts: list[Start] = []
        nothing = Mock()
        nothing.policy.return_value.sensitive = frozenset()
        around: Any = SimpleNamespace(
            spool=SimpleNamespace(try_read_hook=lambda key, kind: self.read()),
            loop=asyncio.get_running_loop(),
            starts=SimpleNamespace(put=self.starts.append, leave=self.starts.remove),
            work=nothing,
            outputs=nothing,
            policy=nothing.policy,
        )
        self.server: Any = SimpleNamespace(has_on_failure=True, start=lambda order: None)
        self.hooks = Hooks(
            around=around,
            slots=lambda: 1,
            wants=self.wants,
            on_end=lambda: None,
            begin=None,
            in_background=self.begin,
            jitter=lambda: 0.0,
        )
        self.hooks.serve_with(self.server)
        self.hooks.offer(KEY, Call("quota.Hooked", "run"), Ending(Outcome.FAILED), None)

    def read(self) -> None:
        try:
            next(self.found)
        except StopIteration:
            raise OSError(errno.EMFILE, "no descriptors") from None

    def wants(self, class_name: str) -> bool:
        return self.is_wanted

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        raise AssertionError("no other host may call it")


def test_a_drain_waits_for_the_function_for_all_though_a_reload_has_taken_the_classs_own_hook_away() -> None:
    async def live() -> None:
        line = Line()
        line.is_wanted = False
        assert not line.starts.pop().send(line.server)
        assert not line.hooks.is_idle
        await asyncio.sleep(0)
        assert len(line.starts) == 1

    asyncio.run(live())


def test_a_hook_whose_journal_cannot_be_read_for_want_of_descriptors_is_still_owed() -> None:
    async def live() -> None:
        line = Line()
        line.found = iter([])
        assert not line.starts.pop().send(line.server)
        await asyncio.sleep(0)
        assert (line.hooks.is_idle, line.hooks.has(KEY)) == (False, True)
        line.hooks.serve_with(line.server)
        assert len(line.starts) == 1

    asyncio.run(live())


def test_a_hook_that_could_not_start_holds_up_none_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []

    def call(around: Any, key: Any, kind: str, asked: Any, *_: Any, on_not_begun: Any, **others: Any) -> Any:
        hook = SimpleNamespace(key=key, asked=asked, crash=None, release=lambda: None)
        called.append(partial(on_not_begun, hook))
        return hook

    monkeypatch.setattr("bgjobd.supervisor.hooks.Hook", call)

    async def live() -> None:
        line = Line()
        line.hooks.offer((8, 1), Call("quota.Hooked", "run"), Ending(Outcome.FAILED), None)
        (first,) = line.starts
        assert first.send(line.server)
        assert line.starts == [first], "there is one slot"
        called.pop()()
        assert len(line.starts) == 1
        assert line.starts != [first]
        assert line.hooks.has(KEY)

    asyncio.run(live())
