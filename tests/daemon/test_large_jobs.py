"""Jobs that have much to tell: many attempts with long tracebacks, and the largest results; asked of a real daemon."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from bgjob import AsyncClient, Client
from bgjob.calls import get, wait
from bgjob.client import Job
from bgjobd.store.pages.page import MOST_BYTES
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

MODULE: Final = """
class Large:
    def fail(self, message, times):
        raise ValueError(message * times)

    def answer(self, text, times):
        return [text] * times

    def give_back(self, **parameters):
        return parameters

    def tell(self, secret, others):
        raise ValueError(f"{secret} of {len(others)}")

    def nest(self, times, ledger):
        with open(ledger, "a") as book:
            book.write("ran\\n")
        return [[]] * times
"""
SETTINGS: Final = '"large.Large" = { max_retries = 19, retry_delay = 0, sensitive = ["secret"] }'
ATTEMPTS: Final = 20


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(tmp_path_factory.mktemp("large"), SETTINGS, modules={"large": MODULE}) as running:
        yield running


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


@pytest.fixture(scope="module")
def failed(running: RunningDaemon) -> Iterator[Job]:
    """A job whose attempts do not fit one answer."""
    with running.client() as client:
        job = client.run_background_job("large.Large", "fail", {"message": "é", "times": 30_000})
        job.wait(60)
        yield job


def numbers(job: dict[str, Any]) -> list[int]:
    return [attempt["number"] for attempt in job["attempts"]]


def test_one_answer_has_the_latest_attempts_and_says_where_the_others_are(
    client: Client, failed: Job
) -> None:
    read = client._call(get(failed.id))
    assert read.next is not None
    assert numbers(read.job) == list(range(read.next, ATTEMPTS + 1))
    assert len(str(read.job["attempts"]).encode()) < 2 * MOST_BYTES
    assert client._call(wait(failed.id, 1)) == read


def test_a_client_has_all_attempts_of_a_job_however_many_answers_that_takes(
    running: RunningDaemon, client: Client, failed: Job
) -> None:
    whole = client.get(failed.id).snapshot
    assert numbers(whole) == list(range(1, ATTEMPTS + 1))
    assert {attempt["error_message"] for attempt in whole["attempts"]} == {"é" * 30_000}
    assert failed.snapshot == failed.wait(20) == failed.refresh() == whole

    async def asked() -> list[dict[str, Any]]:
        async with AsyncClient(str(running.socket)) as other:
            return [(await other.get(failed.id)).snapshot, await other.wait(failed.id, 20)]

    assert asyncio.run(asked()) == [whole, whole]


def test_attempts_are_asked_for_in_pages(client: Client, failed: Job) -> None:
    assert numbers(client.get(failed.id, limit=3).snapshot) == [18, 19, 20]
    assert numbers(client.get(failed.id, before=18, limit=3).snapshot) == [15, 16, 17]
    assert numbers(client.get(failed.id, before=3).snapshot) == [1, 2]
    assert numbers(client.get(failed.id, before=1).snapshot) == []


@pytest.mark.parametrize("text", ["x" * 1023, 'é"\\\n\x01' * 72])
def test_the_largest_results_arrive_as_they_are(client: Client, text: str) -> None:
    job = client.run_background_job("large.Large", "answer", {"text": text, "times": 1020})
    assert job.result(30) == [text] * 1020
    assert client.get(job.id).snapshot == job.snapshot


def test_long_parameters_reach_the_method_as_they_are(client: Client) -> None:
    """They are read by the attempt's own process: reading them kept the starts of others waiting."""
    given = {
        "lists": [[]] * 5000,
        "text": 'é"\\\n' * 500,
        "large": 10**18,
        "nested": {"a": [1.5, None, True]},
    }
    assert client.run_background_job("large.Large", "give_back", given).result(20) == given


def test_secrets_among_long_parameters_are_masked_in_errors(client: Client) -> None:
    given = {"secret": "hunter2", "others": [[]] * 5000}
    job = client.run_background_job("large.Large", "tell", given, max_retries=0).wait(20)
    assert job["error"] == "ValueError: *** of 5000"
    assert job["parameters"] == given | {"secret": "***"}


def test_a_daemon_that_is_killed_while_it_reads_results_leaves_them_to_the_next(tmp_path: Path) -> None:
    ledger, times, jobs = tmp_path / "ledger", 100_000, 2
    with daemon(tmp_path, SETTINGS, modules={"large": MODULE}) as running:
        with running.client() as client:
            given = {"times": times, "ledger": str(ledger)}
            ids = [client.run_background_job("large.Large", "nest", given).id for _ in range(jobs)]
            eventually(lambda: running.query("SELECT 1 FROM background_jobs WHERE status = 'completed'"))
        running.stop(signal.SIGKILL)
        running.start()
        with running.client() as client:
            ends = [client.get(id).wait(30) for id in ids]
        assert [(end["status"], end["result"] == [[]] * times) for end in ends] == [
            ("completed", True)
        ] * jobs
        assert ledger.read_text() == "ran\n" * jobs


def test_a_result_that_meets_a_bug_of_ours_ends_its_attempt_all_the_same(tmp_path: Path) -> None:
    bug = "from bgjobd.host import json_portions; json_portions.check = lambda text, depth: [][0]"
    with (
        daemon(tmp_path, SETTINGS, modules={"large": MODULE}, changes=bug) as running,
        running.client() as client,
    ):
        end = client.run_background_job("large.Large", "answer", {"text": "x" * 1023, "times": 100}).wait(20)
        assert (end["status"], end["attempts"][0]["outcome"]) == ("failed", "lost")
        assert end["error"] == "lost: its end could not be stored: IndexError: list index out of range"
