"""`bgjob compare`, and the timeline of `bgjob show`: what is said of attempts that a client is told."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from bgjob import text
from bgjob.answers import Page
from bgjob.client import Client
from bgjob.commands import arguments, timeline
from bgjob.errors import ElsewhereError, JobNotFoundError
from bgjob.timelines import timeline_of
from tests.client.test_comparing import ASKED, USED
from tests.client.test_timelines import BEGIN, attempt, job


class Told:
    """A client that is told of jobs, and what their attempts printed, by job and number."""

    def __init__(self, *jobs: dict[str, Any], **printed: bytes) -> None:
        self._jobs = {one["id"]: one for one in jobs}
        self._printed = printed
        self.snapshot: dict[str, Any] = {}

    def get(self, job_id: int, before: int | None, limit: int) -> Told:
        if job_id not in self._jobs:
            raise JobNotFoundError(id=job_id)
        told = self._jobs[job_id]
        kept = [one for one in told["attempts"] if before is None or one["number"] < before]
        self.snapshot = told | {"attempts": kept[-limit:]}
        return self

    def list(self, status: str, class_name: str, method_name: str | None, limit: int) -> Page[dict[str, Any]]:
        fitting = [one for one in self._jobs.values() if one["status"] == status]
        named = [one for one in fitting if method_name in (None, one["method_name"])]
        return Page(named[:limit], None)

    def output(self, job_id: int, number: int, tail: int) -> bytes:
        if self._printed.get(f"of_{job_id}_{number}") == b"elsewhere":
            raise ElsewhereError(host="b")
        return self._printed.get(f"of_{job_id}_{number}", b"")


FAILED = job(
    attempt(1, 0, 3, **USED), attempt(2, 11, 41, "timed_out", **USED), **ASKED, parameters={"to": "x\x1b[2J"}
)
DONE = job(
    attempt(1, 0, 1, "completed", **USED), **ASKED | {"id": 4990}, parameters={"to": "y"}, status="completed"
)


def run(capsys: pytest.CaptureFixture[str], client: Told, *words: str) -> tuple[int, list[str], str]:
    given = arguments.parse(("compare", *words))
    code = given.run(cast(Client, client), given)
    told = capsys.readouterr()
    return code, told.out.splitlines(), told.err


def test_two_attempts_are_told_with_what_differs_first(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, _ = run(
        capsys, Told(FAILED, of_5121_1=b"\x1b[31ma\nb\n", of_5121_2=b"a\nc\n"), "5121.1", "5121.2"
    )
    assert (code, lines[0].split(), lines[1].split()) == (
        0,
        ["DIFFERS", "5121.1", "5121.2"],
        ["outcome", "failed", "timed_out"],
    )
    assert any(line.startswith("same: job shop.Mail::send") for line in lines)
    assert lines[-4:] == ["  @", "   a", "  -b", "  +c"]


def test_alone_it_is_compared_with_the_last_that_completed_and_texts_of_jobs_move_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, lines, _ = run(capsys, Told(FAILED, DONE), "5121")
    assert (code, lines[0].split()) == (0, ["DIFFERS", "5121.2", "4990.1"])
    assert r"""/to        "x\u001b[2J"  "y\"""".replace('\\"', '"') in lines


def test_of_another_method_where_none_of_its_own_has_completed(capsys: pytest.CaptureFixture[str]) -> None:
    other = DONE | {"method_name": "receive"}
    assert run(capsys, Told(FAILED, other), "5121", "--json")[0] == 0


def test_programs_are_told_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(run(capsys, Told(FAILED), "5121.1", "5121.2", "--json")[1][0])
    assert (told["a"], told["b"], told["rows"][0]["name"]) == ("5121.1", "5121.2", "outcome")
    assert told["output"] == {"lines": [], "is_too_long": False}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["5121.7", "5121.1"], "job 5121 has no attempt 7"),
        (["5121.1"], "no other job of shop.Mail has completed"),
        (["7"], "job 7 has not been attempted yet"),
    ],
)
def test_what_is_not_there_is_said(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    code, lines, told = run(capsys, Told(FAILED, job(**ASKED | {"id": 7}, parameters={})), *words)
    assert (code, lines, told) == (4, [], f"bgjob: {said}\n")


def test_an_output_that_is_elsewhere_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, _ = run(capsys, Told(FAILED, of_5121_1=b"elsewhere"), "5121.1", "5121.2")
    assert code == 0
    assert "output, the end" not in lines


def test_what_is_no_attempt_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        arguments.parse(("compare", "5121.", "3"))
    assert "'5121.' is no attempt, which is JOB.NUMBER, as in 5121.2" in capsys.readouterr().err


# The timeline of `bgjob show`


def test_a_timeline_is_a_line_a_step_with_its_bar_on_one_axis() -> None:
    told = job(
        attempt(1, 20, 40, waited=20.0), attempt(2, 70, 80, "completed", waited=10.0), status="completed"
    )
    lines = timeline.drawn(timeline_of(told, BEGIN + 99), 2 + 20 + 2 + 40 + 2 + 15)
    assert [line.rstrip() for line in lines[:-1]] == [
        "  Waited for a slot     " + "▒" * 10 + " " * 32 + "20 s",
        "  Attempt 1 failed      " + " " * 10 + "█" * 10 + " " * 22 + "20 s",
        "  Delay before retry 1  " + " " * 20 + "·" * 10 + " " * 12 + "20 s",
        "  Waited for a slot     " + " " * 30 + "▒" * 5 + " " * 7 + "10 s",
        "  Attempt 2 completed   " + " " * 35 + "█" * 5 + "  10 s",
    ]
    assert lines[-1].split() == ["22:13:20", "22:14:40"]


@pytest.mark.parametrize(
    ("seconds", "axis"),
    [
        (0.5, ["22:13:20.000", "22:13:20.500"]),
        (100.0, ["22:13:20", "22:15:00"]),
        (100_000.0, ["11-14", "22:13", "11-16", "02:00"]),
    ],
)
def test_an_axis_tells_times_as_exactly_as_its_length_asks_for(seconds: float, axis: list[str]) -> None:
    told = job(attempt(1, 0, seconds, "completed"), status="completed")
    assert timeline.drawn(timeline_of(told, BEGIN + seconds), 80)[-1].split() == axis


@pytest.mark.parametrize("room", [3, 20, 40, 80, 200])
def test_a_bar_is_there_however_short_the_step_and_fits_the_room(room: int) -> None:
    told = job(attempt(1, 0, 0.001), attempt(2, 100_000, None, None), status="running", timeout=300_000.0)
    lines = timeline.drawn(timeline_of(told, BEGIN + 100_000), room)
    assert len([line for line in lines if "█" in line]) == 2
    assert all(text.width(line) <= room for line in lines)


def test_with_little_room_the_bar_stands_below_its_words() -> None:
    told = job(attempt(1, 0, 19, "snoozed"), attempt(2, 20, 40, None), status="running")
    lines = timeline.drawn(timeline_of(told, BEGIN + 40), 42)
    assert lines == [
        "  Attempt 1 snoozed, 19 s",
        "  " + "░" * 19,
        "  Snoozed, 1 s",
        "  " + " " * 19 + "·",
        "  Attempt 2 running, 20 s so far",
        "  " + " " * 20 + "█" * 20,
        "  22:13:20" + " " * 24 + "22:14:00",
    ]


def test_lines_are_folded_between_words_with_their_indent() -> None:
    assert text.folded("why  one two three", 12, indent=5) == ["why  one two", "     three"]
    assert text.folded("why  one two three", None, indent=5) == ["why  one two three"]
    assert text.folded("a " + "x" * 30, 12) == ["a", "x" * 30]
    assert text.folded("", 12) == [""]
