"""Attempts that crash, with real processes: what becomes of their jobs and class, by a restart too, and by a person."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from bgjob import Client
from bgjob.errors import InvalidParametersError, NotApprovedError
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

FRAGILE = """
import os, signal


class Fragile:
    def run(self, crashes: bool = True) -> str:
        if crashes:
            os.kill(os.getpid(), signal.SIGSEGV)
        return "whole"
"""
TARGET = "fragile.Fragile"
SETTINGS = f'"{TARGET}" = {{ max_retries = 50, retry_delay = 0 }}\n'
PAUSE = """
from bgjobd.core import trials
trials._FIRST_PAUSE = trials.LONGEST_PAUSE = {}
"""
"""A daemon that tries a class again after so many seconds."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(tmp_path_factory.mktemp("holds"), SETTINGS, modules={"fragile": FRAGILE}) as running:
        yield running


def held(client: Client) -> str | None:
    (told,) = (one["held"] for one in client.classes() if one["name"] == TARGET)
    return None if told is None else str(told)


def test_jobs_that_crash_are_given_up_and_their_class_is_held_until_it_is_mended(tmp_path: Path) -> None:
    def running_daemon() -> AbstractContextManager[RunningDaemon]:
        return daemon(tmp_path, SETTINGS, modules={"fragile": FRAGILE}, changes=PAUSE.format(3600))

    with running_daemon() as running, running.client() as client:
        first = [client.run_background_job(TARGET, "run").id for _ in range(3)]
        for job_id in first:
            job = client.get(job_id).wait(60)
            assert (job["status"], job["crashes"], job["retry_count"]) == ("failed", 3, 2)
            assert job["error"] == "quarantined: 3 attempts in a row were ended by signal 11"
            assert f"`bgjob retry {job_id}` has it start again" in client.why(job_id)
        last = client.run_background_job(TARGET, "run")
        eventually(lambda: held(client) is not None)
        assert ": 10 attempts of 4 jobs in a row ended by signal 11 with code " in str(held(client))
        waits = client.run_background_job(TARGET, "run", {"crashes": False})
        assert client.why(waits.id).startswith(f"job {waits.id} waits: its class is held since ")
        assert client.run_background_job("probes.Probe", "echo", {"value": 3}).result(60) == 3
        client.cancel(last.id)
    with running_daemon() as running, running.client() as client:
        assert client.get(waits.id).snapshot["status"] == "pending"
        client.resume_class(TARGET)
        assert client.get(waits.id).result(60) == "whole"
        assert held(client) is None


def test_a_trial_that_does_not_crash_lets_the_class_go(tmp_path: Path) -> None:
    with (
        daemon(tmp_path, SETTINGS, modules={"fragile": FRAGILE}, changes=PAUSE.format(0.1)) as running,
        running.client() as client,
    ):
        for _ in range(4):
            client.run_background_job(TARGET, "run")
        eventually(lambda: held(client) is not None)
        whole = client.run_background_job(TARGET, "run", {"crashes": False})
        assert whole.result(60) == "whole"
        assert held(client) is None
        told = f"class {TARGET} is held no more: an attempt of it has not crashed"
        eventually(lambda: any(told in line for line in running.lines()))


@pytest.mark.parametrize("name", ["", "no.Such", "fragile.Fragile; DROP", "\x00", "a" * 70_000, "%s"])
def test_a_class_that_is_not_approved_is_neither_held_nor_resumed(running: RunningDaemon, name: str) -> None:
    with running.client() as client:
        for ask in (client.hold_class, client.resume_class):
            with pytest.raises((NotApprovedError, InvalidParametersError)):
                ask(name)
        assert running.query("SELECT count(*) FROM class_holds") == [(0,)]


def test_a_class_that_a_person_holds_waits_until_it_is_resumed(running: RunningDaemon) -> None:
    with running.client() as client:
        client.hold_class("probes.Probe")
        job = client.run_background_job("probes.Probe", "echo", {"value": 3})
        assert ", as uid " in client.why(job.id)
        client.hold_class("probes.Probe")
        client.resume_class("probes.Probe")
        assert job.result(60) == 3
        client.resume_class("probes.Probe")
