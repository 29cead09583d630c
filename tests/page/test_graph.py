"""Graphs as pictures: where jobs and groups stand, where the lines go, and how it is drawn; no sockets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain, combinations, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjobd.web.graph import (
    DESPITE,
    FAILED,
    GROUP,
    JOB,
    MET,
    OPEN,
    Graph,
    member_standing,
    members_told,
    sources,
)
from bgjobd.web.graph_drawing import graph_drawing, members_bar
from bgjobd.web.graph_layout import HEIGHT, WIDTH, Picture, picture_of
from tests.page.serving import SAMPLES


def job(number: int, **others: Any) -> dict[str, Any]:
    return SAMPLES["summary"] | {"id": number, "group_id": None, "status": "completed"} | others


def group(number: int, **others: Any) -> dict[str, Any]:
    return SAMPLES["group"] | {"id": number, "group": None} | others


def edge(after: int, number: int, of: str = JOB, standing: str = MET) -> dict[str, Any]:
    return {"of": of, "after": after, "job_id": number, "standing": standing}


def graph(
    edges: Iterable[tuple[int, int]],
    jobs: Iterable[dict[str, Any]] = (),
    groups: Iterable[dict[str, Any]] = (),
) -> Graph:
    """Of these pairs, the second after the first, and of the jobs and groups that are told."""
    edges = [*edges]
    told = {number: job(number) for pair in edges for number in pair} | {one["id"]: one for one in jobs}
    reply = {"jobs": [*told.values()], "groups": [*groups], "edges": [edge(*pair) for pair in edges]}
    return Graph.of(**reply)


def ids(picture: Picture) -> list[list[int]]:
    """Of each column, from the top down."""
    return [[one.key[1] for one in column] for column in picture.columns]


def fan_out(many: int) -> Graph:
    """Job 1, so many members of group 5 after it, and one more job after the group."""
    members = range(2, many + 2)
    reply = {
        "jobs": [job(1), *(job(number, group_id=5) for number in members), job(many + 2)],
        "groups": [group(5)],
        "edges": [*(edge(1, number) for number in members), edge(5, many + 2, GROUP)],
    }
    return Graph.of(**reply)


# Where they stand


def test_each_stands_one_column_behind_the_last_of_what_it_comes_after() -> None:
    assert ids(picture_of(graph([(1, 2), (2, 3), (1, 3), (3, 4), (9, 4)]))) == [[1, 9], [2], [3], [4]]


def test_a_group_stands_behind_its_members_and_what_waits_for_it_behind_the_group() -> None:
    found = picture_of(fan_out(3))
    assert [[one.key for one in column] for column in found.columns] == [
        [(JOB, 1)], [(JOB, 2), (JOB, 3), (JOB, 4)], [(GROUP, 5)], [(JOB, 5)],
    ]  # fmt: skip


def test_a_group_in_a_group_stands_before_it() -> None:
    found = graph([], [job(1, group_id=6)], [group(6, group=5), group(5)])
    assert [[one.key for one in column] for column in picture_of(found).columns] == [
        [(JOB, 1)], [(GROUP, 6)], [(GROUP, 5)],
    ]  # fmt: skip


def test_chains_side_by_side_do_not_cross_however_their_ids_come() -> None:
    found = ids(picture_of(graph([(1, 14), (2, 13), (3, 12), (14, 22), (13, 23), (12, 21)])))
    assert found == [[1, 2, 3], [14, 13, 12], [22, 23, 21]]


def test_a_diamond_is_as_high_as_its_middle_and_its_ends_stand_in_the_middle() -> None:
    found = picture_of(graph([(1, 2), (1, 3), (2, 4), (3, 4)]))
    [[first], [upper, lower], [last]] = found.columns
    assert first.y == last.y == (upper.y + lower.y) / 2
    assert {line.y for line in found.lines} == {first.y, upper.y, lower.y}


def test_a_line_that_passes_a_column_goes_through_a_place_of_its_own() -> None:
    found = picture_of(graph([(1, 2), (2, 3), (1, 3)]))
    [[_], [between], [_]] = found.columns
    passing = [line for line in found.lines if (line.x, line.to_x) == (between.x, between.x + WIDTH)]
    assert len(passing) == 1
    assert abs(passing[0].y - between.y) > HEIGHT / 2
    assert len(found.lines) == 5, "1 to 2, 2 to 3, and three pieces from 1 to 3"


def test_next_to_a_tall_column_the_begin_of_both_is_seen() -> None:
    found = picture_of(fan_out(200))
    assert found.height > 9_000
    assert [column[0].y < 300 for column in found.columns] == [True] * 4


def test_chains_in_a_group_go_up_and_down_apart_in_few_places() -> None:
    """Each first member leads to a second one and to the group, so that the second column is the taller one."""
    firsts = range(1, 61)
    jobs = [job(number, group_id=500) for first in firsts for number in (first, first + 60)]
    found = picture_of(Graph.of(jobs, [group(500)], [edge(first, first + 60) for first in firsts]))
    lines = [one for one in found.lines if one.x == found.columns[0][0].x + WIDTH]
    assert len({one.bend for one in lines}) < 20
    for one, other in combinations(lines, 2):
        is_above = max(one.y, one.to_y) < min(other.y, other.to_y)
        is_below = max(other.y, other.to_y) < min(one.y, one.to_y)
        assert one.y == other.y or one.bend != other.bend or is_above or is_below, "which is which is seen"


@pytest.mark.parametrize(
    ("standings", "shown"), [((MET, OPEN), OPEN), ((OPEN, FAILED), FAILED), ((MET, MET), MET)]
)
def test_where_several_arrows_are_one_line_the_gravest_is_shown(
    standings: tuple[str, str], shown: str
) -> None:
    edges = [edge(1, 2), edge(2, 3), edge(3, 4), *(edge(1, 4, standing=one) for one in standings)]
    found = picture_of(Graph.of([*map(job, range(1, 5))], [], edges))
    assert [line.standing for line in found.lines if line.x > 4 + WIDTH and line.y == line.to_y][-1] == shown


@pytest.mark.parametrize(
    ("edges", "is_crowded"),
    [
        ([(before, after) for after in range(2, 51) for before in range(1, after)], False),
        ([(before, after) for after in range(2, 201) for before in range(1, after)], True),
        ([pair for after in range(2, 200) for pair in ((after - 1, after), (after, 200))], True),
    ],
)
def test_more_lines_than_anybody_could_follow_are_not_drawn(
    edges: list[tuple[int, int]], is_crowded: bool
) -> None:
    found = picture_of(graph(edges))
    assert (found.is_crowded, found.lines == ()) == (is_crowded, is_crowded)
    assert len(found.columns) == max(after for _, after in edges)


def test_what_is_not_told_has_no_arrow() -> None:
    found = graph([], [job(1, group_id=5)])
    assert found.arrows == ()
    assert Graph.of([job(1)], [], [edge(7, 1), edge(1, 8)]).arrows == ()


def test_a_circle_which_there_cannot_be_is_drawn_all_the_same() -> None:
    found = ids(picture_of(graph([(1, 2), (2, 3), (3, 2), (3, 4), (5, 5)])))
    assert sorted(chain.from_iterable(found)) == [1, 2, 3, 4, 5]


def test_nothing_is_an_empty_picture() -> None:
    assert picture_of(graph([])).columns == ()


EDGES = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)).filter(lambda pair: pair[0] < pair[1]))


@given(EDGES, st.sets(st.integers(1, 30)))
def test_all_stand_apart_within_the_picture_and_each_arrow_leads_to_the_right(
    edges: list[tuple[int, int]], members: set[int]
) -> None:
    found = graph(edges, [job(number, group_id=99) for number in members], [group(99)])
    picture = picture_of(found)
    place = {one.key: one for column in picture.columns for one in column}
    assert place.keys() == found.nodes.keys()
    for arrow in found.arrows:
        assert place[arrow.before].x + WIDTH < place[arrow.after].x
        assert arrow in place[arrow.after].arrows
    for column in picture.columns:
        assert len({one.x for one in column}) == 1, "and none is empty"
        tops = [one.y for one in column]
        assert all(after - before >= HEIGHT for before, after in pairwise(tops))
        assert HEIGHT / 2 <= tops[0] <= tops[-1] <= picture.height - HEIGHT / 2
        assert column[0].x + WIDTH <= picture.width
    for line in picture.lines:
        assert 0 <= line.x < line.to_x <= picture.width
        assert max(line.y, line.to_y) <= picture.height
        own = [one for one in place.values() if one.x == line.x and abs(one.y - line.y) < HEIGHT / 2]
        assert own == [], "no line goes through a node"


def test_what_was_met_by_a_failure_is_told_from_what_completed() -> None:
    jobs = [job(1, status="cancelled"), job(2), *(job(number) for number in (3, 4))]
    edges = [edge(1, 3), edge(2, 3), edge(5, 4, GROUP), edge(1, 4, standing=FAILED)]
    found = Graph.of(jobs, [group(5, state="failed")], edges)
    assert [one.standing for one in found.arrows] == [DESPITE, MET, DESPITE, FAILED]


# What they say


@pytest.mark.parametrize(
    ("told", "standing"),
    [
        (job(1), MET), (job(1, status="failed"), FAILED), (job(1, status="cancelled"), FAILED),
        (job(1, status="pending"), OPEN), (job(1, status="running"), OPEN),
        (group(1, state="completed"), MET), (group(1, state="failed"), FAILED),
        (group(1, state="open"), OPEN), (group(1, state="sealed"), OPEN),
    ],
)  # fmt: skip
def test_a_member_stands_to_its_group_as_it_ended(told: dict[str, Any], standing: str) -> None:
    assert member_standing(told) == standing


def test_a_node_has_its_word_its_name_and_all_of_it_in_its_title() -> None:
    waits = job(12, status="pending", is_blocked=True, class_name="shop.jobs.VeryLongNameOfAReport")
    drawn = graph_drawing(picture_of(graph([], [waits], [group(5, state="sealed")])), (JOB, 12), 0.0)
    assert '<a id="job-12" class="node job grey here" href="/jobs/12" tabindex="-1">' in drawn
    assert "<title>Job 12, blocked: shop.jobs.VeryLongNameOfAReport::send</title>" in drawn
    assert '<tspan class="word">Blocked</tspan> #12</text>' in drawn, (
        "the word first: it is seen of a part, too"
    )
    assert ">VeryLongNameOfAReport::…</text>" in drawn
    assert '<a id="group-5" class="node group news" href="/groups/5"' in drawn
    assert ">1 of 4 thumbnails</text>" in drawn


def test_lines_of_one_kind_are_one_path() -> None:
    drawn = graph_drawing(picture_of(fan_out(40)), (JOB, 1), 0.0)
    assert drawn.count("<path") == 1
    assert drawn.count("M") >= 81


def test_lines_that_go_up_or_down_together_are_drawn_once_for_dots_on_dots_are_no_dots() -> None:
    drawn = graph_drawing(picture_of(fan_out(40)), (JOB, 1), 0.0)
    upright = re.findall(r"M(\d+) [0-9.]+V", drawn)
    assert len(upright) == len(set(upright)) * 2 == 4, "up and down from job 1, and up and down to group 5"


def test_members_are_counted_by_what_became_of_them() -> None:
    assert members_told(SAMPLES["group"]) == "1 completed, 1 failed, 1 cancelled, 1 has not ended"
    empty = dict.fromkeys(("completed", "failed", "cancelled", "unfinished"), 0)
    assert members_told(empty) == "no members"
    assert (
        members_told(empty | {"completed": 99_998, "unfinished": 2}) == "99,998 completed, 2 have not ended"
    )


def test_a_job_says_what_it_takes_of_results() -> None:
    takes = {
        "rows": {"of": {"group": 5}, "pointer": ""},
        "to": {"of": {"id": 2}, "pointer": "/a", "problem": "no"},
    }
    rows, to = sources(takes)
    assert rows == {"name": "rows", "of": GROUP, "id": 5, "pointer": "", "problem": None}
    assert to == {"name": "to", "of": JOB, "id": 2, "pointer": "/a", "problem": "no"}
    for strange in (None, {"rows": None}, {"rows": {"of": {}}}, {"rows": {"of": {"id": "x"}}}):
        assert [*sources(strange)] == []


def test_the_least_part_of_a_bar_is_still_seen_and_all_fill_it() -> None:
    told = dict.fromkeys(("failed", "cancelled", "unfinished"), 1) | {"completed": 99_997}
    parts = [float(one) for one in members_bar(told).split('width="')[1:] for one in [one.partition("%")[0]]]
    assert len(parts) == 4
    assert min(parts) > 0.9
    assert sum(parts) == pytest.approx(100, abs=0.1)
    assert "<rect" not in members_bar(dict.fromkeys(told, 0))
