"""What hangs together with a job: all of it where that is few enough, and of more than that a bit of everything."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from bgjobd.core.edges import NewGroup, Ties
from bgjobd.store import graph_reach, graphs
from bgjobd.store.graphs import Graph
from tests.store.flows import after, flow, group, job
from tests.store.samples import Store, statements_run_on

MEMBERS = range(2, 32)
LAST = 32


@pytest.fixture
def fan_out(tmp_path: Path) -> Iterator[Store]:
    """Job 1, 30 members of group 1 that come after it, and one more job after the group."""
    store = Store(tmp_path)
    members = [after(job(0), group=group(0)) for _ in MEMBERS]
    store.answer(flow(Ties(), *members, after(group(0)), groups=[NewGroup()]))
    yield store
    store.close()


def graph(store: Store, job_id: int, limit: int, count: int | None = None) -> Graph:
    found = graphs.graph(store.database.connection(), job_id, limit, count)
    assert found is not None
    return found


def ids(found: Graph) -> list[int]:
    return [one["id"] for one in found.jobs]


@pytest.mark.parametrize("job_id", [1, 2, LAST])
def test_what_is_few_enough_is_told_whole_from_wherever_it_is_asked(fan_out: Store, job_id: int) -> None:
    found = graph(fan_out, job_id, LAST)
    assert (ids(found), found.is_whole) == ([1, *MEMBERS, LAST], True)
    assert [one["id"] for one in found.groups] == [1]
    assert len(found.edges) == len(MEMBERS) + 1


@pytest.mark.parametrize("job_id", [1, 2, LAST])
def test_of_a_fan_out_that_is_too_large_the_callback_is_told_too(fan_out: Store, job_id: int) -> None:
    found = graph(fan_out, job_id, 8)
    assert {1, 2, LAST} <= {*ids(found)}
    assert (len(found.jobs) <= 8, found.is_whole) == (True, False)
    assert [one["total"] for one in found.groups] == [len(MEMBERS)]


def test_at_least_half_of_those_that_there_is_room_for_are_beside_the_job(fan_out: Store) -> None:
    beside = [
        one["job_id"] for one in graph(fan_out, 1, 21).edges if one["after"] == 1 and one["of"] == "job"
    ]
    assert len(beside) >= 10


def test_a_job_alone_is_whole_and_one_that_is_not_there_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.answer(flow(Ties()))
    found = graph(store, 1, 1)
    assert (ids(found), found.groups, found.edges, found.is_whole) == ([1], [], [], True)
    assert graphs.graph(store.database.connection(), 2, 1) is None
    store.close()


def fails(store: Store, *ids: int) -> None:
    """As if each had been tried, and had failed."""
    for id in ids:
        store.database.execute_sql(
            "UPDATE background_jobs SET status = 'failed', finished_at = created_at WHERE id = ?", (id,)
        )
        store.database.execute_sql(
            "UPDATE job_dependencies SET standing = 2 WHERE \"of\" = 'job' AND after_id = ?", (id,)
        )


def test_of_what_is_too_large_it_is_told_how_many_jobs_there_are(fan_out: Store) -> None:
    assert [graph(fan_out, 1, limit, 100).total for limit in (8, LAST)] == [LAST, LAST]
    assert graph(fan_out, 1, 8, 20).total == 20
    assert graph(fan_out, 1, 8).total is None


def test_those_that_failed_and_what_they_block_are_told_first(store: Store) -> None:
    """Each of fifty chains of three behind job 1; the two jobs behind the last one's first are far from anything."""
    chains = [one for n in range(50) for one in (after(job(0)), after(job(3 * n + 1)), after(job(3 * n + 2)))]
    store.answer(flow(Ties(), *chains))
    fails(store, 149)
    assert {149, 150, 151}.isdisjoint(ids(graph(store, 1, 20)))
    found = graph(store, 1, 20, 1000)
    assert {1, 149, 150, 151} <= {*ids(found)}
    assert (len(found.jobs), found.total, found.is_whole) == (20, 151, False)
    assert [(one["after"], one["job_id"]) for one in found.edges if one["standing"] == "failed"] == [
        (149, 150)
    ]


def test_members_that_failed_are_told_with_their_group_and_what_waits_for_it(fan_out: Store) -> None:
    fails(fan_out, 29, 30, 31)
    found = graph(fan_out, 2, 9, 100)
    assert {2, 29, 30, 31, LAST} <= {*ids(found)}
    assert [one["id"] for one in found.groups] == [1]


def test_many_that_failed_leave_half_of_the_room_to_the_nearest(fan_out: Store) -> None:
    fails(fan_out, *range(17, 32))
    found = ids(graph(fan_out, 1, 13, 100))
    assert (len(found), len({*found} & {*range(17, 32)}), LAST in found) == (13, 5, True)
    assert [ids(graph(fan_out, 1, limit, 100)) for limit in (1, 2)] == [[1], [1, 2]]


def test_a_look_that_took_too_long_has_no_total(fan_out: Store) -> None:
    connection = fan_out.database.connection()
    assert graph_reach.reach(connection, 1, 100, budget=-1.0).total is None
    assert graph_reach.reach(connection, 1, 100).total == LAST
    assert graph_reach.reach(connection, 1, 10).total == 10


def test_a_look_that_takes_too_long_asks_nothing_more_also_amid_a_level(
    fan_out: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(monotonic=count().__next__)  # as if each question took a second
    monkeypatch.setattr(graph_reach, "time", clock)
    with statements_run_on(fan_out.database) as run:
        assert graph_reach.reach(fan_out.database.connection(), 1, 100, budget=3.0).total is None
    assert len(run) == 3


# However much was submitted, a look at it takes a moment


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()


def test_groups_are_bounded_as_jobs_are(store: Store) -> None:
    """Ten thousand groups in one group have no job among them that a bound could count."""
    inner = [NewGroup(parent=group(0)) for _ in range(50)]
    store.answer(flow(Ties(group=group(0)), groups=[NewGroup(), *inner]))
    found = graph(store, 1, 10)
    assert (len(found.groups), found.is_whole) == (10, False)


def test_edges_are_bounded_though_the_jobs_are_few(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand jobs that all come after each other have half a million edges."""
    store.answer(flow(*[after(*map(job, range(place))) for place in range(20)]))
    assert (len(graph(store, 1, 200).edges), graph(store, 1, 200).is_whole) == (190, True)
    monkeypatch.setattr(graphs, "_MOST_EDGES", 50)
    assert (len(graph(store, 1, 200).edges), graph(store, 1, 200).is_whole) == (50, False)
    monkeypatch.undo()
    monkeypatch.setattr(graphs, "_MOST_SEEN", 50)
    found = graph(store, 20, 200)
    assert (len(found.jobs), found.is_whole) == (20, False)


def test_no_edge_leads_to_a_job_that_is_not_told(store: Store) -> None:
    store.answer(flow(Ties(), after(job(0))))
    store.database.execute_sql("DELETE FROM background_jobs WHERE id = 1")
    assert (ids(graph(store, 2, 200)), graph(store, 2, 200).edges) == ([2], [])


def test_groups_in_a_group_come_in_pages_by_its_index(tmp_path: Path) -> None:
    store = Store(tmp_path)
    outer, inner, other = NewGroup(), NewGroup(parent=group(0), is_open=True), NewGroup(parent=group(0))
    store.answer(flow(groups=[outer, inner, other, inner, NewGroup()]))
    connection = store.database.connection()
    pages = []
    with statements_run_on(store.database) as run:
        for state, before in ((None, None), (None, 3), ("open", None), ("completed", None)):
            found, following = graphs.groups(connection, state, 1, before, 2)
            pages.append(([one["id"] for one in found], following))
    assert pages == [([4, 3], 3), ([2], None), ([4, 2], None), ([3], None)]
    if isinstance(store.state_dir, Path):
        assert [connection.execute(f"EXPLAIN QUERY PLAN {one}").fetchone()[3] for one in run] == [
            "SEARCH job_groups USING INDEX groups_of_group (group_id=? AND id<?)"
        ] * 4
    store.close()
