"""Groups and graphs by both clients, against a scripted daemon: what is asked, and what a handle makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgjob import (
    AsyncClient,
    BehindFailedError,
    Client,
    GroupNotFoundError,
    JobGroup,
    QueueFullError,
    chain,
    group,
    job,
)
from bgjob.codec import Request
from tests.client import scripted
from tests.client.scripted import Line, ScriptedDaemon, method_of, summary

EDGE = {"of": "group", "after": 5, "job_id": 9, "standing": "open"}


def script(line: Line, request: Request) -> None:
    match method_of(request):
        case "Group" if request.parameters["id"] == 404:
            line.refuse("GroupNotFound", id=404)
        case "Group":
            line.reply(group=scripted.group(5, "open", name="pages"))
        case "WaitGroup" if line.number == 1:
            line.hang_up()
        case "WaitGroup":
            line.reply(group=scripted.group(5, "completed"))
        case "Groups":
            line.reply(groups=[scripted.group(6), scripted.group(5)], next=5)
        case "List":
            line.reply(jobs=[summary(9)], next=None, is_complete=True)
        case "RetryGroup":
            line.reply(retried=2)
        case "Graph":
            line.reply(jobs=[summary(9)], groups=[scripted.group(5)], edges=[EDGE], is_whole=False)
        case "SubmitMany":
            jobs = request.parameters["jobs"]
            groups = request.parameters.get("groups", [])
            line.reply(ids=[11 + place for place in range(len(jobs))], groups=[5 for _ in groups])
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
        assert client.wait_group(5, timeout=100)["state"] == "completed"
    first, second = [one["timeout"] for one in daemon.parameters("WaitGroup")]
    assert 100 >= first > second > 80


def test_groups_come_in_pages_and_one_that_is_not_there_is_an_error(daemon: ScriptedDaemon) -> None:
    with Client(str(daemon.path)) as client:
        page = client.groups(state="sealed", group=4, before=9, limit=2)
        assert ([one["id"] for one in page], page.next) == ([6, 5], 5)
        with pytest.raises(GroupNotFoundError, match="there is no group 404"):
            client.group(404)
    assert daemon.parameters("Groups") == [{"state": "sealed", "group": 4, "before": 9, "limit": 2}]


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


def test_what_is_submitted_is_found_by_its_draft(daemon: ScriptedDaemon) -> None:
    first, page, last = job("a.B", "first"), job("a.B", "page"), job("a.B", "last")
    pages = group(page)
    with Client(str(daemon.path)) as client:
        submitted = chain(first, pages, last).submit(client)
        assert [submitted[draft].id for draft in (first, page, last)] == [11, 12, 13]
        assert ([one.id for one in submitted.jobs], submitted.last.id) == ([11, 12, 13], 13)
        assert (submitted[pages].id, [one.id for one in submitted.groups]) == (5, [5])
        assert submitted.groups[0].wait(10)["state"] == "completed"
        assert client.submit_flow(first)[first].id == 11
        with pytest.raises(KeyError):
            submitted[job("a.B", "first")]
    assert repr(submitted).endswith("<Job 13 as submitted>] [<JobGroup 5 completed>]>")


def test_a_flow_without_anything_asks_nobody() -> None:
    submitted = chain().submit(Client("/nowhere"))
    assert (submitted.jobs, submitted.groups) == ([], [])


def test_a_group_takes_further_members(daemon: ScriptedDaemon) -> None:
    with Client(str(daemon.path)) as client:
        pages = client.group(5)
        first, last = job("a.B", "first"), job("a.B", "last")
        assert pages.add(first, chain(last)).last.id == 12
    (asked,) = daemon.parameters("SubmitMany")
    assert [one["options"]["group"] for one in asked["jobs"]] == [{"id": 5}, {"id": 5}]


def test_a_repeat_after_an_error_has_the_same_keys(tmp_path: Path) -> None:
    drafts = [job("a.B", "first"), job("a.B", "last")]

    def refuse(line: Line, request: Request) -> None:
        line.refuse("QueueFull", queue="q", limit=1)

    refused = ScriptedDaemon(tmp_path / "s.sock", refuse)
    with refused as daemon, Client(str(daemon.path)) as client:
        pages, flow = JobGroup(client, 5), chain(drafts)
        for submit in (flow.submit, flow.submit):
            with pytest.raises(QueueFullError):
                submit(client)
        for _ in range(2):
            with pytest.raises(QueueFullError):
                pages.add(*drafts)
    first, second, third, fourth = daemon.parameters("SubmitMany")
    assert (first, third) == (second, fourth)
    assert first != third


def test_the_client_for_asyncio_has_the_same(daemon: ScriptedDaemon) -> None:
    async def use() -> None:
        async with AsyncClient(str(daemon.path)) as client:
            pages = await client.group(5)
            assert (await pages.wait(10), pages.snapshot["state"]) == (
                scripted.group(5, "completed"),
                "completed",
            )
            await pages.seal()
            assert [one["id"] for one in await pages.jobs()] == [9]
            assert await client.retry_group(5) == 2
            draft = job("a.B", "last")
            assert (await chain(draft, group()).submit(client))[draft].id == 11
            assert (await client.submit_flow(draft)).last.id == (await pages.add(draft)).last.id == 11
            assert (await client.graph(9)).is_whole is False

    asyncio.run(use())
