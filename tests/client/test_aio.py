"""AsyncClient and AsyncJob against a scripted daemon on a real socket: tasks, cancelling, loops, streams that break."""

from __future__ import annotations

import asyncio
import base64
import gc
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bgjob import (
    AsyncClient,
    AsyncJob,
    DaemonUnavailableError,
    InternalError,
    JobFailedError,
    JobNotFoundError,
    WaitTimeoutError,
    aio,
    async_connections,
    retrying,
)
from bgjob.codec import Request
from bgjob.errors import NoAnswerError
from tests.client.scripted import (
    STANDING,
    Line,
    Script,
    ScriptedDaemon,
    entry,
    leaves_no_descriptor,
    method_of,
    open_descriptors,
    running_attempt,
    summary,
    tells_and_fails,
    whole,
)
from tests.client.test_client import ends_in_order, running, stats
from tests.support import eventually

Serve = Callable[[Script], ScriptedDaemon]
Scene = Callable[[AsyncClient], Awaitable[None]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.sock"


@pytest.fixture
def serve(path: Path) -> Iterator[Serve]:
    daemons = []

    def started(script: Script) -> ScriptedDaemon:
        daemon = ScriptedDaemon(path, script)
        daemon.__enter__()
        daemons.append(daemon)
        return daemon

    yield started
    for daemon in daemons:
        daemon.__exit__()


@pytest.fixture
def play(path: Path) -> Callable[[Scene], None]:
    """Runs a scene with a client; what it waits for must come, and no connection may be left."""

    async def whole(scene: Scene) -> None:
        async with asyncio.timeout(20), AsyncClient(str(path), timeout=10.0) as client:
            await scene(client)

    def run(scene: Scene) -> None:
        with leaves_no_descriptor():
            asyncio.run(whole(scene))

    return run


Play = Callable[[Scene], None]


def jobs_of(client: AsyncClient, *ids: int) -> list[AsyncJob]:
    return [AsyncJob(client, job_id) for job_id in ids]


async def until(question: Callable[[], Any]) -> None:
    await asyncio.to_thread(eventually, question)


# Calls


def test_tasks_share_one_connection_and_each_gets_its_own_answer(play: Play, serve: Serve) -> None:
    daemon = serve(lambda line, request: line.reply(id=request.parameters["parameters"]["n"], created=True))

    async def scene(client: AsyncClient) -> None:
        numbers = range(1, 101)
        jobs = await asyncio.gather(*(client.run_background_job("A", "b", {"n": n}) for n in numbers))
        assert [job.id for job in jobs] == list(numbers)

    play(scene)
    assert len(daemon.lines) == 1


def test_a_lost_reply_is_asked_for_again_with_the_same_key(play: Play, serve: Serve) -> None:
    def submit(line: Line, request: Request) -> None:
        line.hang_up() if line.number == 1 else line.reply(id=1, created=False)

    daemon = serve(submit)

    async def scene(client: AsyncClient) -> None:
        assert (await client.run_background_job("A", "b")).id == 1

    play(scene)
    first, second = daemon.parameters("Submit")
    assert first == second


def test_stats_asks_for_usage_only_if_it_is_wanted(play: Play, serve: Serve) -> None:
    daemon = serve(stats)

    async def scene(client: AsyncClient) -> None:
        assert await client.stats() == await client.stats(usage=True) == STANDING

    play(scene)
    assert daemon.parameters("Stats") == [{}, {"usage": True}]


def test_running_is_a_list_of_attempts(play: Play, serve: Serve) -> None:
    serve(running)

    async def scene(client: AsyncClient) -> None:
        assert await client.running() == [running_attempt(7)]

    play(scene)


def test_a_cancel_whose_reply_is_lost_is_not_repeated(play: Play, serve: Serve) -> None:
    daemon = serve(lambda line, request: line.hang_up())

    async def scene(client: AsyncClient) -> None:
        with pytest.raises(DaemonUnavailableError):
            await client.cancel(1)

    play(scene)
    assert len(daemon.asked) == 1


def test_a_cancelled_call_costs_its_connection_and_the_next_makes_another(play: Play, serve: Serve) -> None:
    late = threading.Event()

    def answer(line: Line, request: Request) -> None:
        if line.number == 1:
            late.wait(10)
        line.reply(line=line.number)

    serve(answer)

    async def scene(client: AsyncClient) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.ping()
        late.set()
        assert await client.ping() == {"line": 2}

    play(scene)


def test_a_call_that_is_cancelled_while_another_is_under_way_costs_that_one_nothing(
    play: Play, serve: Serve
) -> None:
    go = threading.Event()

    def answer(line: Line, request: Request) -> None:
        go.wait(10)
        line.reply(line=line.number)

    daemon = serve(answer)

    async def scene(client: AsyncClient) -> None:
        first = asyncio.create_task(client.ping())
        await until(lambda: daemon.asked)
        second = asyncio.create_task(client.ping())
        await asyncio.sleep(0)
        second.cancel()
        go.set()
        assert await first == {"line": 1}
        with pytest.raises(asyncio.CancelledError):
            await second

    play(scene)
    assert len(daemon.lines) == 1


def test_a_daemon_that_says_nothing_is_given_up(path: Path, serve: Serve) -> None:
    serve(lambda line, request: line.wait_for_hang_up())

    async def scene() -> None:
        async with AsyncClient(str(path), timeout=0.2) as client:
            with pytest.raises(DaemonUnavailableError, match=r"did not answer within 0\.2 s"):
                await client.ping()

    asyncio.run(scene())


def test_at_a_daemon_that_hangs_no_task_waits_for_all_the_others(path: Path, serve: Serve) -> None:
    daemon = serve(lambda line, request: line.wait_for_hang_up())

    async def scene() -> None:
        async with AsyncClient(str(path), timeout=0.5) as client:
            told = await asyncio.gather(*(client.ping() for _ in range(20)), return_exceptions=True)
            assert {type(error) for error in told} == {NoAnswerError}

    asyncio.run(scene())
    assert len(daemon.lines) < 4


def test_a_task_waits_behind_others_once_the_daemon_has_answered_again(
    path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(async_connections, "time", SimpleNamespace(monotonic=lambda: clock.now))

    def script(line: Line, request: Request) -> None:
        if line.number == 1:
            line.wait_for_hang_up()
            return
        clock.now += 0.4  # so long this answer has taken
        line.reply(line=line.number)

    async def scene() -> None:
        client = AsyncClient(str(path), timeout=0.5)
        asked = [asyncio.create_task(client.ping())]
        await asyncio.sleep(0)
        clock.now = 0.3
        asked += [asyncio.create_task(client.ping()) for _ in range(2)]
        await asyncio.sleep(0)
        clock.now = 0.5
        told = await asyncio.gather(*asked, return_exceptions=True)
        assert type(told[0]) is NoAnswerError
        assert told[1:] == [{"line": 2}, {"line": 2}]

    serve(script)
    asyncio.run(scene())


def test_a_client_may_be_used_in_one_loop_after_the_other(path: Path, serve: Serve) -> None:
    serve(lambda line, request: line.reply(line=line.number))
    client = AsyncClient(str(path))

    async def scene() -> tuple[Any, Any]:
        return await client.ping(), await client.ping()

    assert asyncio.run(scene()) == ({"line": 1}, {"line": 1})
    assert asyncio.run(scene()) == ({"line": 2}, {"line": 2})


def test_a_missing_daemon_is_an_error_at_once(play: Play) -> None:
    async def scene(client: AsyncClient) -> None:
        with pytest.raises(DaemonUnavailableError, match="is bgjobd running"):
            await client.ping()
        with pytest.raises(DaemonUnavailableError):
            await client.wait(1)
        with pytest.raises(DaemonUnavailableError):
            await anext(client.follow_logs())

    play(scene)


def fill(listener: socket.socket, path: Path) -> list[socket.socket]:
    """Those who stand in the backlog of a daemon that accepts nobody, which is full with them."""
    listener.bind(str(path))
    listener.listen(0)
    others = []
    with suppress(BlockingIOError):
        while True:
            others.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
            others[-1].connect(str(path))
    return others


def test_at_a_full_backlog_no_task_waits_for_all_the_others(path: Path) -> None:
    async def scene() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            others = fill(listener, path)
            async with asyncio.timeout(5), AsyncClient(str(path), timeout=0.5) as client:
                told = await asyncio.gather(*(client.ping() for _ in range(20)), return_exceptions=True)
            assert {type(error) for error in told} == {NoAnswerError}
            for other in others:
                other.close()

    asyncio.run(scene())


def test_a_full_backlog_is_waited_for(path: Path) -> None:
    def answer_who_asks(listener: socket.socket) -> None:
        data = b""
        while not data:
            peer, _ = listener.accept()
            with peer:
                data = peer.recv(100)
                if data:
                    peer.sendall(b'{"parameters":{"product":"p"}}\0')

    async def scene() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            others = fill(listener, path)
            async with asyncio.timeout(20), AsyncClient(str(path), timeout=10) as client:
                asking = asyncio.create_task(client.ping())
                await asyncio.sleep(0)
                for other in others:
                    other.close()
                await asyncio.to_thread(answer_who_asks, listener)
                assert await asking == {"product": "p"}

    asyncio.run(scene())


# Jobs


def test_a_job_knows_what_became_of_it(play: Play, serve: Serve) -> None:
    def answer(line: Line, request: Request) -> None:
        match method_of(request):
            case "Submit":
                line.reply(id=3, created=True)
            case "Wait":
                line.reply(job=whole(3, "failed", error="ValueError: no"))
            case "Get":
                line.reply(job=whole(3, "running"))
            case "Logs":
                line.reply(entries=[entry(1)], next=None, is_complete=True)
            case "Output":
                data = base64.b64encode(b"said").decode()
                line.reply(number=1, left_out=0, offset=0, data=data, next=4, is_end=True)

    serve(answer)

    async def scene(client: AsyncClient) -> None:
        job = await client.run_background_job("A", "b")
        assert (await job.refresh())["status"] == "running"
        with pytest.raises(JobFailedError, match="ValueError: no"):
            await job.result(5)
        assert job.snapshot["status"] == "failed"
        assert [one["id"] for one in await job.logs()] == [1]
        assert await job.output() == b"said"

    play(scene)


# Following


def test_following_goes_on_by_key_when_the_daemon_comes_back(play: Play, serve: Serve) -> None:
    def logs(line: Line, request: Request) -> None:
        after = request.parameters.get("after", 0)
        line.more(entries=[entry(after + 1)], next=after + 1, is_complete=True)
        if after == 2:
            line.reply()

    daemon = serve(logs)

    async def scene(client: AsyncClient) -> None:
        ids = []
        async for one in client.follow_logs(id=9):
            ids.append(one["id"])
            if one["id"] < 3:
                daemon.stop()
                asyncio.get_running_loop().call_later(0.2, daemon.start)
        assert ids == [1, 2, 3]

    play(scene)
    assert daemon.parameters("Logs") == [{"id": 9}, {"id": 9, "after": 1}, {"id": 9, "after": 2}]


def test_a_watch_of_everything_has_begun_inside_its_async_with(play: Play, serve: Serve) -> None:
    def watch(line: Line, request: Request) -> None:
        line.more(job=None)
        line.more(job=summary(1))

    daemon = serve(watch)

    async def scene(client: AsyncClient) -> None:
        async with client.watch(queue="mail") as changes:
            assert daemon.parameters("Watch") == [{"queue": "mail"}]
            assert (await anext(changes))["id"] == 1

    play(scene)


@pytest.mark.parametrize("end", ["closed", "left", "dropped"])
def test_a_following_that_ends_early_closes_its_connection(play: Play, serve: Serve, end: str) -> None:
    daemon = serve(lambda line, request: line.more(job=summary(1)))

    async def scene(client: AsyncClient) -> None:
        before = open_descriptors()
        following = client.watch(1)
        await anext(following)
        match end:
            case "closed":
                await following.close()
            case "left":
                async with following:
                    pass
            case "dropped":
                del following
                gc.collect()
        await until(lambda: open_descriptors() <= before)

    play(scene)
    assert len(daemon.lines) == 1


def test_waiting_for_an_item_that_was_cancelled_goes_on_with_the_next(play: Play, serve: Serve) -> None:
    go = threading.Event()

    def watch(line: Line, request: Request) -> None:
        line.more(job=summary(1))
        go.wait(10)
        line.more(job=summary(1, "running"))
        line.more(job=summary(1, "completed"))
        line.reply()

    daemon = serve(watch)

    async def scene(client: AsyncClient) -> None:
        following = client.watch(1)
        await anext(following)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(following)
        go.set()
        assert [job["status"] async for job in following] == ["running", "completed"]

    play(scene)
    assert len(daemon.lines) == 1


def test_a_following_that_is_closed_by_another_task_ends(play: Play, serve: Serve) -> None:
    serve(lambda line, request: line.more(job=None))

    async def scene(client: AsyncClient) -> None:
        async with client.watch() as following:
            rest = asyncio.ensure_future(anext(following, None))
            await asyncio.sleep(0)
            await following.close()
            assert await rest is None

    play(scene)


def test_what_was_told_before_an_error_is_not_lost(play: Play, serve: Serve) -> None:
    serve(tells_and_fails)

    async def scene(client: AsyncClient) -> None:
        async with client.follow_logs(limit=2) as entries:
            assert [(await anext(entries))["id"] for _ in range(2)] == [1, 2]
            with pytest.raises(InternalError):
                await anext(entries)

    play(scene)


def test_a_daemon_that_says_nothing_is_an_error(serve: Serve, path: Path) -> None:
    serve(lambda line, request: None)

    async def scene() -> None:
        async with AsyncClient(str(path), timeout=0.2) as client:
            with pytest.raises(NoAnswerError):
                await anext(client.watch(1))
            with pytest.raises(NoAnswerError):
                await client.watch().__aenter__()
            with pytest.raises(NoAnswerError) as caught:
                await client.run_background_job("a.B", "c", idempotency_key="mine")
            assert caught.value.idempotency_keys == ("mine",)

    asyncio.run(scene())


def test_a_call_waits_for_a_daemon_that_restarts(play: Play, serve: Serve) -> None:
    daemon = serve(lambda line, request: line.reply(id=1))

    async def scene(client: AsyncClient) -> None:
        await client.run_background_job("a.B", "c")
        daemon.stop()
        again = asyncio.ensure_future(client.run_background_job("a.B", "c"))
        await asyncio.sleep(0)
        daemon.start()
        assert (await again).id == 1

    play(scene)


def test_a_job_that_is_not_there_is_an_error_and_no_break(play: Play, serve: Serve) -> None:
    serve(lambda line, request: line.refuse("JobNotFound", id=5))

    async def scene(client: AsyncClient) -> None:
        with pytest.raises(JobNotFoundError):
            await client.wait(5)
        with pytest.raises(JobNotFoundError):
            await anext(client.follow_output(5))

    play(scene)


def test_a_daemon_that_stays_away_is_an_error_in_the_end(
    play: Play, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "GIVE_UP_AFTER", 0.3)
    daemon = serve(lambda line, request: line.more(job=summary(1)))

    async def scene(client: AsyncClient) -> None:
        following = client.watch(1)
        await anext(following)
        daemon.stop()
        with pytest.raises(DaemonUnavailableError, match="no daemon answers"):
            await anext(following)

    play(scene)


# Waiting


def test_waiting_goes_on_when_the_daemon_comes_back(play: Play, serve: Serve) -> None:
    def answer(line: Line, request: Request) -> None:
        match line.number:
            case 1:
                line.hang_up()
            case 2:
                line.refuse("ShuttingDown")
            case _:
                line.reply(job=whole(1, "completed", result=None))

    daemon = serve(answer)

    async def scene(client: AsyncClient) -> None:
        assert await AsyncJob(client, 1).result(10) is None

    play(scene)
    assert len(daemon.asked) == 3


def test_a_wait_takes_the_connection_that_calls_share_and_gives_it_back(play: Play, serve: Serve) -> None:
    def answer(line: Line, request: Request) -> None:
        if method_of(request) == "Submit":
            line.reply(id=1, created=True)
        else:
            line.reply(job=whole(1, "completed", result=None))

    async def scene(client: AsyncClient) -> None:
        for _ in range(3):
            job = await client.run_background_job("A", "b")
            await job.wait()

    daemon = serve(answer)
    play(scene)
    assert len(daemon.lines) == 1


def test_others_call_while_one_waits_and_giving_up_waiting_harms_nobody(play: Play, serve: Serve) -> None:
    def answer(line: Line, request: Request) -> None:
        line.wait_for_hang_up() if method_of(request) == "Wait" else stats(line, request)

    daemon = serve(answer)

    async def scene(client: AsyncClient) -> None:
        waiting = asyncio.create_task(client.wait(1))
        await until(lambda: daemon.parameters("Wait"))
        await client.ping()
        waiting.cancel()
        await asyncio.wait([waiting])
        await client.ping()

    play(scene)
    assert len(daemon.lines) == 2


def test_jobs_come_in_the_order_of_their_ends(play: Play, serve: Serve) -> None:
    daemon = serve(ends_in_order(3, 1, 2))

    async def scene(client: AsyncClient) -> None:
        jobs = jobs_of(client, 1, 2, 3)
        assert [job.id async for job in client.as_completed(jobs, 10)] == [3, 1, 2]
        assert await aio.wait(jobs, 10) == (jobs, [])
        assert [job async for job in aio.as_completed([])] == []

    play(scene)
    assert len(daemon.lines) == 2


def test_jobs_of_several_daemons_are_followed_together(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]

    async def scene() -> None:
        one, other = AsyncClient(str(paths[0])), AsyncClient(str(paths[1]))
        jobs = jobs_of(one, 1) + jobs_of(other, 1)
        assert {id(job) async for job in aio.as_completed(jobs, 10)} == {id(job) for job in jobs}

    with ScriptedDaemon(paths[0], ends_in_order(1)), ScriptedDaemon(paths[1], ends_in_order(1)):
        asyncio.run(scene())


def test_jobs_that_take_too_long_are_told_as_pending(play: Play, serve: Serve) -> None:
    serve(ends_in_order(2))

    async def scene(client: AsyncClient) -> None:
        one, two = jobs_of(client, 1, 2)
        assert await aio.wait([one, two], 1) == ([two], [one])
        with pytest.raises(WaitTimeoutError, match=r"1 of 2 jobs have not ended after 1 s"):
            async for _ in aio.as_completed([one, two], 1):
                pass

    play(scene)


def test_a_cancelled_as_completed_leaves_no_task_and_no_connection(play: Play, serve: Serve) -> None:
    serve(ends_in_order())

    async def scene(client: AsyncClient) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await aio.wait(jobs_of(client, 1, 2))
        assert len(asyncio.all_tasks()) == 1

    play(scene)
