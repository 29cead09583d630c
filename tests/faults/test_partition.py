"""The partition in short: `./run partition --rounds 200` is the long form; and what its evidence shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faults.books import Line
from tests.faults.partition.blows import Blow
from tests.faults.partition.course import drawn, partition
from tests.faults.partition.effects import Evidence, Ran, Standstill

OFTEN, ONCE = "partitioned.Often", "partitioned.Once"
WEB1 = Ran(OFTEN, "web1", "lost", 10, "host web1, where it ran, counts as lost")
WEB2 = Ran(OFTEN, "web2", "completed", 20)
LINES = (Line(1, 1, "start", 10), Line(1, 2, "start", 20), Line(1, 2, "end", 20))


def effects(*told: tuple[int, float | str]) -> list[Line]:
    return [Line(1, number, f"{at}:" if isinstance(at, float) else at, number * 10) for number, at in told]


def evidence(told: list[Line], *standstills: Standstill, **changes: Any) -> Evidence:
    given = {"lines": LINES, "attempts": {(1, 1): WEB1, (1, 2): WEB2}, **changes}
    return Evidence(effects=told, standstills=standstills, **given)


def test_attempts_one_after_the_other_are_no_finding_and_what_is_between_is_told() -> None:
    found = evidence(effects((1, 1.0), (1, 3.0), (2, 7.5), (2, 8.0)))
    assert list(found.findings()) == []
    assert found.margins() == [4.5]


def test_attempts_at_once_are_found_by_what_they_did() -> None:
    found = evidence(effects((1, 1.0), (2, 2.0), (1, 3.0)))
    assert list(found.findings()) == ["job 1: attempt 2 began while attempt 1, on web1, ran on"]


def test_attempts_at_once_are_found_by_a_process_that_had_not_ended() -> None:
    lines = (*LINES, Line(1, 2, "overlap", 10))
    found = evidence(effects((1, 1.0), (2, 2.0)), lines=lines)
    assert list(found.findings()) == ["job 1: attempt 2 began while attempt 1, on web1, ran on"]


@pytest.mark.parametrize(
    ("standstill", "is_explained"),
    [
        (Standstill("web1", 0.0, 9.0), True),
        (Standstill("web2", 0.0, 9.0), False),
        (Standstill("web1", 2.5, 9.0), False),
    ],
)
def test_attempts_at_once_are_explained_by_their_own_host_that_stood_still_then(
    standstill: Standstill, is_explained: bool
) -> None:
    found = evidence(effects((1, 1.0), (2, 2.0), (1, 3.0)), standstill)
    assert (list(found.findings()) == []) is is_explained


def test_what_is_not_ended_once_its_host_goes_on_is_found() -> None:
    found = evidence(effects((1, 1.0), (2, 2.0), (1, 9.5)), Standstill("web1", 0.0, 9.0))
    assert list(found.findings()) == ["job 1: attempt 1 ran on for 0.5 s too long"]


def test_what_nobody_may_repeat_begins_once_is_not_told_to_stop_and_ends_by_itself() -> None:
    once = {(1, number): ran._replace(class_name=ONCE) for number, ran in ((1, WEB1), (2, WEB2))}
    found = evidence(effects((1, 1.0), (1, "2.0:fenced"), (2, 7.0)), attempts=once)
    assert list(found.findings()) == [
        "job 1, attempt 1: nobody may repeat it, and it was ended",
        "job 1: nobody may repeat it, and it began 2 times",
        "job 1, attempt 1: nobody may repeat it, and it was told to stop: fenced",
    ]


def test_each_blow_is_drawn_as_often_as_each_other_and_a_seed_draws_the_same() -> None:
    blows = drawn(2 * len(Blow), seed=3)
    assert sorted(blows) == sorted([*Blow, *Blow])
    assert blows == drawn(2 * len(Blow), seed=3)
    assert blows != drawn(2 * len(Blow), seed=4)


SHORT = (Blow.PAUSE_AMID_LOST, Blow.COMMITS)


@pytest.mark.timeout(400)
def test_hosts_that_are_cut_off_lose_nothing_and_run_nothing_at_two_places_at_once(tmp_path: Path) -> None:
    assert partition(tmp_path, SHORT, seed=1, longest=4.0).findings == ()


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_whatever_comes_between_hosts_and_their_database_the_books_balance(tmp_path: Path) -> None:
    assert partition(tmp_path, drawn(2 * len(Blow), seed=2), seed=2).findings == ()
