"""The clients against a real daemon: what each method gives, and what a killed daemon costs those that wait."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bgjob import (
    AsyncClient,
    Client,
    Job,
    JobCancelledError,
    JobFailedError,
    JobNotFoundError,
    TooManyConnectionsError,
    WaitTimeoutError,
    aio,
    as_completed,
    managing_calls,
    wait,
)
from bgjob.codec import Reply, Request
from bgjob.sync_connections import connected
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

PROBE = "probes.Probe"


@pytest.fixture(scope="module")
def running(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(tmp_path_factory.mktemp("client")) as running:
        yield running


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


def held(client: Client, folder: Path, name: str = "go") -> tuple[Job, Path]:
    """A job that runs until the file is there."""
    go = folder / name
    parameters = {"path": str(go), "ledger": str(folder / "ledger")}
    return client.run_background_job(PROBE, "wait_for", parameters), go


# The methods


def test_ping_says_who_answers(client: Client) -> None:
    assert client.ping()["product"] == "bgjobd"


def test_the_snapshot_of_a_job_that_was_just_submitted_is_the_whole_job(client: Client) -> None:
    job = client.run_background_job(PROBE, "echo", {"value": 5}, delay=3600)
    assert repr(job) == f"<Job {job.id} as submitted>"
    assert (job.snapshot["status"], job.snapshot["parameters"]) == ("pending", {"value": 5})
    client.cancel(job.id)
    assert job.snapshot["status"] == "pending"
    assert job.refresh()["status"] == job.snapshot["status"] == "cancelled"


def test_lists_are_filtered_and_go_on_page_by_page(client: Client) -> None:
    jobs = client.submit_many(
        [{"class_name": PROBE, "method_name": "whole", "parameters": {"n": n}} for n in range(5)]
    )
    wait(jobs, 20)
    ended = [(job.snapshot["finished_at"], job.id) for job in jobs]
    first = client.list(class_name=PROBE, method_name="whole", status="completed", limit=3)
    assert first.next is not None
    rest = client.list(class_name=PROBE, method_name="whole", status=["completed"], before=first.next)
    latest_first = [job_id for _, job_id in sorted(ended, reverse=True)]
    assert [job["id"] for job in [*first, *rest]] == latest_first
    assert rest.next is None


def test_a_job_tells_its_log_and_output(client: Client) -> None:
    job = client.run_background_job(PROBE, "say", {"text": "hello"})
    job.result(20)
    assert job.output() == b"hello\nto stderr\n"
    entries = job.logs()
    assert [one["id"] for one in entries] == sorted(one["id"] for one in entries)
    assert {one["job_id"] for one in entries} == {job.id}
    assert [one["id"] for one in client.logs(id=job.id)] == [one["id"] for one in reversed(entries.items)]


def test_following_a_job_ends_with_it_and_tells_all(client: Client, tmp_path: Path) -> None:
    job, go = held(client, tmp_path)
    with ThreadPoolExecutor(3) as pool:
        entries = pool.submit(list, job.logs(follow=True))
        parts = pool.submit(list, job.output(follow=True))
        statuses = pool.submit(lambda: [one["status"] for one in job.watch()])
        eventually((tmp_path / "ledger").exists)
        go.touch()
        assert statuses.result(20)[-1] == "completed"
        assert parts.result(20) == []
        assert [one["id"] for one in entries.result(20)] == [one["id"] for one in job.logs()]


def test_a_watch_of_a_queue_tells_of_jobs_that_are_submitted_later(client: Client) -> None:
    with client.watch(class_name=PROBE) as changes:
        job = client.run_background_job(PROBE, "echo")
        seen = next(one for one in changes if one["id"] == job.id and one["status"] == "completed")
    assert seen["attempt"] == 1


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.get(10**9),
        lambda client: client.wait(10**9),
        lambda client: client.output(10**9),
        lambda client: next(client.follow_output(10**9)),
        lambda client: client.logs(id=10**9),
        lambda client: next(client.follow_logs(id=10**9)),
        lambda client: next(client.watch(10**9)),
        lambda client: next(as_completed([Job(client, 10**9)])),
    ],
)
def test_a_job_that_is_not_there_is_not_found(client: Client, ask: Callable[[Client], Any]) -> None:
    with pytest.raises(JobNotFoundError):
        ask(client)


# Several jobs


def test_jobs_come_in_the_order_of_their_ends(client: Client, tmp_path: Path) -> None:
    held_back = [held(client, tmp_path, str(number)) for number in range(3)]
    ended = []
    (_, go), *_ = order = [held_back[1], held_back[2], held_back[0]]
    go.touch()
    for job in client.as_completed([job for job, _ in held_back], 20):
        ended.append(job)
        if len(ended) < 3:
            order[len(ended)][1].touch()
    assert ended == [job for job, _ in order]
    assert [job.result() for job in ended] == ["waited"] * 3


def test_those_that_have_ended_and_those_that_have_not_are_told_apart(client: Client, tmp_path: Path) -> None:
    job, go = held(client, tmp_path)
    done = client.run_background_job(PROBE, "echo", {"value": 1})
    done.wait(20)
    assert wait([job, done], 1) == ([done], [job])
    with pytest.raises(WaitTimeoutError):
        job.wait(0)
    go.touch()
    assert wait([job, done], 20) == ([job, done], [])


def test_many_threads_submit_and_wait_with_one_client(client: Client) -> None:
    def echo(number: int) -> Any:
        return client.run_background_job(PROBE, "echo", {"value": number}).result(30)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(echo, range(40))) == list(range(40))


def test_a_forked_child_and_its_parent_both_go_on(client: Client) -> None:
    client.stats()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = client.run_background_job(PROBE, "echo", {"value": 7}).result(20)
        finally:
            os._exit(code)
    assert client.run_background_job(PROBE, "echo", {"value": 8}).result(20) == 8
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


# A daemon that is killed and started again


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[RunningDaemon]:
    with daemon(tmp_path) as running:
        yield running


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_waiting_and_following_survive_a_daemon_that_is_ended(
    mortal: RunningDaemon, tmp_path: Path, number: int
) -> None:
    with mortal.client() as client, ThreadPoolExecutor(5) as pool:
        job, go = held(client, tmp_path)
        begun = threading.Barrier(3)

        def followed(following: Iterator[Any]) -> list[Any]:
            items = [next(following)]
            begun.wait(20)
            return [*items, *following]

        waiting = pool.submit(job.wait)
        ends = pool.submit(list, as_completed([job]))
        entries = pool.submit(followed, job.logs(follow=True))
        changes = pool.submit(followed, job.watch())
        begun.wait(20)
        eventually((tmp_path / "ledger").exists)
        mortal.stop(number)
        mortal.start()
        go.touch()
        assert waiting.result(20)["status"] == "completed"
        assert ends.result(20) == [job]
        assert changes.result(20)[-1]["status"] == "completed"
        assert [one["id"] for one in entries.result(20)] == [one["id"] for one in job.logs()]


def test_waiting_coroutines_survive_a_daemon_that_is_killed(mortal: RunningDaemon, tmp_path: Path) -> None:
    def restart(go: Path) -> None:
        eventually((tmp_path / "ledger").exists)
        mortal.stop(signal.SIGKILL)
        mortal.start()
        go.touch()

    async def scene() -> None:
        async with AsyncClient(str(mortal.socket), timeout=20.0) as client:
            go = tmp_path / "go"
            parameters = {"path": str(go), "ledger": str(tmp_path / "ledger")}
            job = await client.run_background_job(PROBE, "wait_for", parameters)
            result, (done, _), _ = await asyncio.gather(
                job.result(30), aio.wait([job], 30), asyncio.to_thread(restart, go)
            )
            assert result == "waited"
            assert done == [job]

    asyncio.run(scene())


# Coroutines


def test_the_coroutines_do_what_the_client_does(running: RunningDaemon) -> None:
    async def scene() -> None:
        async with AsyncClient(str(running.socket), timeout=20.0) as client:
            assert (await client.ping())["product"] == "bgjobd"
            job = await client.run_background_job(PROBE, "say", {"text": "hello"})
            assert await job.result(20) is None
            assert await job.output() == b"hello\nto stderr\n"
            assert b"".join([part.data async for part in job.output(follow=True)]) == b"hello\nto stderr\n"
            entries = [one["id"] async for one in job.logs(follow=True)]
            assert entries == [one["id"] for one in await job.logs()]
            assert [one["status"] async for one in job.watch()] == ["completed"]
            failing = await client.run_background_job(PROBE, "fail", max_retries=0)
            with pytest.raises(JobFailedError, match="ValueError: no recipient"):
                await failing.result(20)
            later = await client.run_background_job(PROBE, "echo", delay=1e6)
            assert (await client.list(status="scheduled", limit=1)).items[0]["id"] == later.id
            await later.cancel()
            with pytest.raises(JobCancelledError):
                await later.result(20)

    asyncio.run(scene())


# Connections


@pytest.fixture(scope="module")
def narrow(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """With room for three connections."""
    settings = "[socket]\nmax_connections_per_uid = 3\n"
    with daemon(tmp_path_factory.mktemp("narrow"), settings, web="enabled = false") as running:
        yield running


class Refusable(AsyncClient):
    """Tells that there was no place for it, which it waits for."""

    was_refused = False

    async def _exchange(self, request: Request) -> Reply:
        try:
            return await super()._exchange(request)
        except TooManyConnectionsError:
            self.was_refused = True
            raise


def test_who_has_no_connection_waits_for_a_place(narrow: RunningDaemon) -> None:
    async def scene() -> None:
        waits = Refusable(str(narrow.socket), timeout=30.0)
        clients = [AsyncClient(str(narrow.socket), timeout=30.0) for _ in range(3)]
        for one in clients:
            await one.ping()
        waiting = asyncio.create_task(waits.ping())
        await asyncio.to_thread(eventually, lambda: waits.was_refused)
        await clients[0].close()
        assert (await waiting)["product"] == "bgjobd"
        for one in (*clients, waits):
            await one.close()

    asyncio.run(scene())
    told = f"uid {os.getuid()} has more connections than [socket] max_connections_per_uid = 3 allows"
    eventually(lambda: [line for line in narrow.lines() if told in line])


def test_who_holds_a_connection_is_refused_a_second_at_once_where_there_is_no_place(
    narrow: RunningDaemon,
) -> None:
    clients = [narrow.client() for _ in range(3)]
    try:
        for client in clients:
            client.ping()
        began_at = time.monotonic()
        with pytest.raises(TooManyConnectionsError, match=r"\[socket\] max_connections_per_uid = 3"):
            clients[0].watch()
        assert time.monotonic() - began_at < 5
        assert clients[0].ping()["product"] == "bgjobd"
    finally:
        for client in clients:
            client.close()


def test_many_more_clients_than_there_are_places_get_their_jobs_done_in_turn(narrow: RunningDaemon) -> None:
    async def one(value: int) -> int:
        async with AsyncClient(str(narrow.socket), timeout=60) as client:
            job = await client.run_background_job(PROBE, "echo", {"value": value})
            return int(await job.result(60))

    async def all_of_them() -> list[int]:
        return await asyncio.gather(*map(one, range(30)))

    assert asyncio.run(all_of_them()) == list(range(30))


def test_what_a_daemon_said_before_it_closed_is_told_though_nothing_can_be_sent_any_more(
    tmp_path: Path,
) -> None:
    refusal = Reply({"limit": 3, "setting": "max_connections"}, error=TooManyConnectionsError.error_name)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.sock"))
        listener.listen()
        with connected(str(tmp_path / "s.sock"), 5.0) as connection:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(refusal.to_bytes())
            with pytest.raises(TooManyConnectionsError, match=r"\[socket\] max_connections = 3"):
                connection.call(managing_calls.ping().request, 5.0)
