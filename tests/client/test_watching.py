"""`bgjob watch`, and `bgjob wait --label`: which jobs are told, what is said where there are none, the exit codes."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from bgjob.answers import Page
from bgjob.codec import JsonObject
from bgjob.commands import arguments
from bgjob.errors import JobNotFoundError, WaitTimeoutError
from tests.client.scripted import summary
from tests.client.test_top import HOSTILE


class Changing:
    """A client of a daemon whose jobs of a label are `waves`, one at each look; each ends in its second change."""

    def __init__(self, *waves: list[int], ends: str = "completed", known: bool = True) -> None:
        self._waves = list(waves)
        self._ends = ends
        self._is_known = known
        self.asked: list[JsonObject] = []

    def list(self, **asked: Any) -> Page[JsonObject]:
        self.asked.append(asked)
        if "status" not in asked:
            return Page([summary(1, "completed")] if self._is_known else [], None, True)
        found = self._waves.pop(0) if self._waves else []
        return Page([summary(job_id, "running") for job_id in found], None, True)

    def stats(self) -> JsonObject:
        return {"queues": [{"name": "mail"}]}

    def watch(self, ids: Any = None, **filters: Any) -> Any:
        self.asked.append({"ids": ids, **filters})
        for job_id in ids or [8]:
            yield summary(job_id, "running")
            yield summary(job_id, self._ends, error=f"no {HOSTILE}")


def run(
    client: Changing, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, list[str], list[str]]:
    given = arguments.parse(list(words))
    code = given.run(cast(Any, client), given)
    told = capsys.readouterr()
    return code, told.out.splitlines(), told.err.splitlines()


def test_all_jobs_of_a_label_are_waited_for_and_those_that_come_meanwhile(
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = Changing([3, 4], [5])
    assert run(client, capsys, "wait", "--label", "tenant:7") == (
        0,
        ["3 completed", "4 completed", "5 completed"],
        [],
    )
    assert client.asked[0]["label"] == "tenant:7"
    assert client.asked[0]["status"] == ("pending", "running")


def test_a_wait_by_label_ends_as_the_first_that_did_not_complete(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, said = run(
        Changing([3], [4], ends="failed"), capsys, "wait", "--label", "a", "--timeout", "9"
    )
    assert (code, lines) == (1, ["3 failed", "4 failed"])
    assert len(said) == 2


def test_a_wait_by_label_that_was_too_long_says_how_to_wait_on(capsys: pytest.CaptureFixture[str]) -> None:
    class Slow(Changing):
        def watch(self, ids: Any = None, **filters: Any) -> Any:
            yield summary(3, "running")
            threading.Event().wait(20)

    with pytest.raises(WaitTimeoutError) as told:
        run(Slow([3]), capsys, "wait", "--label", "tenant 7", "--timeout", "10ms")
    assert (
        str(told.value) == "not ended after 0.01 s; the jobs go on, `bgjob wait --label 'tenant 7'` waits on"
    )


@pytest.mark.parametrize(
    ("known", "code", "told"), [(True, 0, "waits or runs"), (False, 4, "`bgjob labels`")]
)
def test_a_label_of_which_no_job_is_open_is_said_to_have_none(
    known: bool, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended, lines, (said,) = run(Changing(known=known), capsys, "wait", "--label", "tenant:7")
    assert (ended, lines) == (code, [])
    assert told in said


def test_a_job_of_a_label_that_is_deleted_as_soon_as_it_has_ended_ends_no_wait_for_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Forgetting(Changing):
        def watch(self, ids: Any = None, **filters: Any) -> Any:
            if 3 in ids:
                raise JobNotFoundError(id=3)
            yield from super().watch(ids, **filters)

    client = Forgetting([3, 4], [4])
    assert run(client, capsys, "wait", "--label", "a") == (0, ["4 completed"], [])


def test_changes_are_told_a_line_each_whatever_they_say(capsys: pytest.CaptureFixture[str]) -> None:
    client = Changing(ends="failed")
    code, lines, _ = run(client, capsys, "watch", "--label", "a", "--class", "shop.Mail", "--queue", "mail")
    assert code == 0
    assert client.asked == [{"ids": None, "queue": "mail", "class_name": "shop.Mail", "label": "a"}]
    assert len(lines) == 2
    assert lines[0].startswith("8 running  ")
    assert lines[1].startswith("8 failed  ")
    assert all(line.isprintable() for line in lines)
    assert "no \\x1b[2J" in lines[1]


def test_a_queue_that_is_not_there_is_said_and_not_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, (said,) = run(Changing(), capsys, "watch", "--queue", "mial")
    assert (code, lines) == (4, [])
    assert said == "bgjob: there is no queue mial; `bgjob stats` lists them"


def test_named_jobs_are_watched_until_they_have_ended(capsys: pytest.CaptureFixture[str]) -> None:
    _, lines, _ = run(Changing(), capsys, "watch", "3", "4", "3", "--json")
    assert [line.partition(",")[0] for line in lines] == ['{"id": 3', '{"id": 3', '{"id": 4', '{"id": 4']


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["wait"], "needs the ID of a job, or --label"),
        (["wait", "3", "--label", "a"], "takes IDs or --label, not both"),
        (["watch", "3", "--queue", "mail"], "takes IDs or a filter, not both"),
    ],
)
def test_what_does_not_fit_together_is_said(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        arguments.parse(words)
    assert told in capsys.readouterr().err
