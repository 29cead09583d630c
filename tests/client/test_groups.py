"""Groups and graphs by both clients, against a scripted daemon: what is asked, and what a handle makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgjob import AsyncClient, BehindFailedError, Client, GroupNotFoundError
from bgjob.codec import Request
from tests.client.scripted import Line, ScriptedDaemon, group, method_of, summary

EDGE = {"of": "group", "after": 5, "job_id": 9, "standing": "open"}


def script(line: Line, request: Request) -> None:
    match method_of(request):
        case "Group" if request.parameters["id"] == 404:
            line.refuse("GroupNotFound", id=404)
        case "Group":
            line.reply(group=group(5, "open", name="pages"))
        case "WaitGroup" if line.number == 1:
            line.hang_up()
        case "WaitGroup":
            line.reply(group=group(5, "completed"))
        case "Groups":
            line.reply(groups=[group(6), group(5)], next=5)
        case "List":
            line.reply(jobs=[summary(9)], next=None, is_complete=True)
        case "RetryGroup":
            line.reply(retried=2)
        case "Graph":
            line.reply(jobs=[summary(9)], groups=[group(5)], edges=[EDGE], is_whole=False)
        case "Retry" if "anyway" not in request.parameters:
            line.refuse("BehindFailed", id=9, before="group 5")
        case _:
            line.reply(ids=[9])


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[ScriptedDaemon]:
    with ScriptedDaemon(tmp_path / "s.sock", script) as daemon:
        yield daemon


def asked(daemon: ScriptedDaemon) -> list[tuple[str, Any]]:
    return [(method_of(one), one.parameters) for one in daemon.asked]


def test_a_handle_of_a_group_asks_how_it_stands_and_changes_it(daemon: ScriptedDaemon) -> None:
    with Client(str(daemon.path)) as client:
        pages = client.group(5)
        assert (pages.snapshot["name"], repr(pages)) == ("pages", "<JobGroup 5 open>")
        pages.seal()
        assert pages.retry() == 2
        pages.cancel()
        assert [one["id"] for one in pages.jobs(limit=1)] == [9]
        assert pages.refresh()["unfinished"] == 3
    told = [("Group", {"id": 5}), *[(name, {"id": 5}) for name in ("SealGroup", "RetryGroup", "CancelGroup")]]
    assert asked(daemon) == [*told, ("List", {"group": 5, "limit": 1}), ("Group", {"id": 5})]


def test_a_wait_for_a_group_goes_on_when_the_daemon_comes_back(daemon: ScriptedDaemon) -> None:
    with Client(str(daemon.path)) as client:
        assert client.wait_group(5, timeout=10)["state"] == "completed"
    first, second = [one["timeout"] for one in daemon.parameters("WaitGroup")]
    assert 10 >= first > second > 8


def test_groups_come_in_pages_and_one_that_is_not_there_is_an_error(daemon: ScriptedDaemon) -> None:
    with Client(str(daemon.path)) as client:
        page = client.groups(state="sealed", before=9, limit=2)
        assert ([one["id"] for one in page], page.next) == ([6, 5], 5)
        with pytest.raises(GroupNotFoundError, match="there is no group 404"):
            client.group(404)
    assert daemon.parameters("Groups") == [{"state": "sealed", "before": 9, "limit": 2}]


def test_a_graph_has_jobs_groups_and_who_comes_after_whom(daemon: ScriptedDaemon) -> None:
    with Client(str(daemon.path)) as client:
        graph = client.graph(9, limit=20)
    assert daemon.parameters("Graph") == [{"id": 9, "limit": 20}]
    assert ([one["id"] for one in graph.jobs], [one["id"] for one in graph.groups]) == ([9], [5])
    assert (graph.edges, graph.is_whole) == ([EDGE], False)


def test_a_job_behind_what_failed_is_retried_anyway_or_not_at_all(daemon: ScriptedDaemon) -> None:
    with Client(str(daemon.path)) as client:
        with pytest.raises(BehindFailedError, match="retry group 5 first, or this one anyway"):
            client.retry(9)
        client.retry(9, anyway=True)
    assert daemon.parameters("Retry") == [{"ids": [9]}, {"ids": [9], "anyway": True}]


def test_the_client_for_asyncio_has_the_same(daemon: ScriptedDaemon) -> None:
    async def use() -> None:
        async with AsyncClient(str(daemon.path)) as client:
            pages = await client.group(5)
            assert (await pages.wait(10), pages.snapshot["state"]) == (group(5, "completed"), "completed")
            await pages.seal()
            assert [one["id"] for one in await pages.jobs()] == [9]
            assert await client.retry_group(5) == 2
            assert (await client.graph(9)).is_whole is False

    asyncio.run(use())
