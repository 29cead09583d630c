"""What a daemon counts: of commits, as values."""

from __future__ import annotations

import json

import pytest

from bgjob.words import Outcome, Status
from bgjobd.core.job import Call, Job
from bgjobd.core.schedules import Reason, Skipped, Span
from bgjobd.daemon.counters import BOUNDS, MOST_NAMES, OTHER, Counters, Histogram
from bgjobd.store.committed import Claim, Committed, EndedAttempt
from bgjobd.store.tally import Tally
from bgjobd.store.written import Kind

CLASS = "shop.jobs.Email"


def committed(
    *attempts: EndedAttempt, ended: tuple[Job, ...] = (), claims: tuple[Claim, ...] = ()
) -> Committed:
    return Committed((), claims, ended, (), (), None, (), Tally({}, {}), attempts)


def attempt(
    outcome: Outcome, seconds: float = 1.0, is_retried: bool = False, class_name: str = CLASS
) -> EndedAttempt:
    return EndedAttempt(class_name, outcome, seconds, is_retried)


def job(status: Status, queue: str = "default") -> Job:
    return Job(1, Call(CLASS, "send"), status, queue=queue)


@pytest.mark.parametrize(("place", "bound"), [*enumerate(BOUNDS)])
def test_a_bucket_has_what_does_not_exceed_its_bound(place: int, bound: float) -> None:
    histogram = Histogram()
    histogram.note(bound)
    histogram.note(bound * 1.001)
    assert [histogram.buckets[place], histogram.buckets[place + 1]] == [1, 1]
    assert sum(histogram.buckets) == 2
    assert histogram.sum == pytest.approx(bound * 2.001)


def test_attempts_count_by_outcome_and_jobs_by_how_they_ended() -> None:
    counts = Counters()
    counts.note(committed(attempt(Outcome.FAILED, 2.0, is_retried=True), attempt(Outcome.COMPLETED, 0.5)))
    counts.note(committed(ended=(job(Status.COMPLETED), job(Status.CANCELLED))))
    counts.note(committed(attempt(Outcome.FAILED, 4000.0), ended=(job(Status.FAILED),)))
    found = counts.as_json()["classes"][CLASS]
    assert found["attempts"] == {"failed": 2, "completed": 1}
    assert found["jobs"] == {"completed": 1, "cancelled": 1, "failed": 1}
    assert found["retries"] == 1
    assert found["seconds"]["sum"] == 4002.5
    assert found["seconds"]["buckets"][-1] == 1


@pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.NOT_STARTED])
def test_an_attempt_that_nobody_saw_took_no_time(outcome: Outcome) -> None:
    counts = Counters()
    counts.note(committed(attempt(outcome)))
    found = counts.as_json()["classes"][CLASS]
    assert (found["attempts"], sum(found["seconds"]["buckets"])) == ({outcome: 1}, 0)


def test_waits_count_by_queue() -> None:
    counts = Counters()
    claims = [
        Claim(job(Status.RUNNING, queue), "token", waited)
        for queue, waited in (("default", 0.0), ("mail", 5.0))
    ]
    counts.note(committed(claims=tuple(claims)))
    waits = counts.as_json()["waits"]
    assert [waits["default"]["sum"], waits["mail"]["sum"]] == [0.0, 5.0]


def test_occurrences_count_by_verdict_and_reason_however_many_are_told_of_in_one_row() -> None:
    counts = Counters()
    counts.expect_schedules({"nightly": None, "weekly": 5.0})
    rows = [{"name": "nightly", "verdict": verdict} for verdict in ("submitted", "asked", "skipped")]
    counts.note(committed()._replace(written=({Kind.OCCURRENCES: rows},)))
    for at in (1.0, 2.0):
        counts.note_skipped("nightly", Skipped(Span(at, at), Reason.PAUSED))
    counts.note(committed(ended=(job(Status.COMPLETED).changed(schedule="nightly", finished_at=7.0),)))
    counts.note(committed(ended=(job(Status.FAILED).changed(schedule="weekly", finished_at=8.0),)))
    counts.expect_schedules({"nightly": 3.0, "weekly": None})
    told = counts.as_json()["schedules"]
    assert told["nightly"]["occurrences"] == [
        {"verdict": "submitted", "reason": None, "count": 1},
        {"verdict": "asked", "reason": None, "count": 1},
        {"verdict": "skipped", "reason": "paused", "count": 2},
    ]
    assert told["weekly"]["occurrences"] == [{"verdict": "submitted", "reason": None, "count": 0}]
    assert [one["last_success"][:20] for one in told.values()] == [
        "1970-01-01T00:00:07.",
        "1970-01-01T00:00:05.",
    ]


def test_what_is_expected_begins_at_0_and_loses_nothing_when_it_is_expected_again() -> None:
    counts = Counters()
    counts.expect([CLASS], ["default"])
    assert counts.as_json()["classes"][CLASS]["retries"] == 0
    counts.note(committed(attempt(Outcome.COMPLETED)))
    counts.expect([CLASS, "shop.jobs.Other"], ["default"])
    classes = counts.as_json()["classes"]
    assert classes[CLASS]["attempts"] == {"completed": 1}
    assert classes["shop.jobs.Other"]["attempts"] == {}


def test_names_beyond_the_most_count_together_so_that_nothing_is_lost() -> None:
    counts = Counters()
    for number in range(MOST_NAMES + 20):
        counts.note(committed(attempt(Outcome.COMPLETED, class_name=f"a.C{number}")))
    counts.note(committed(attempt(Outcome.COMPLETED, class_name="a.C0")))
    classes = counts.as_json()["classes"]
    assert len(classes) == MOST_NAMES + 1
    assert (classes["a.C0"]["attempts"], classes[OTHER]["attempts"]) == ({"completed": 2}, {"completed": 20})
    assert len(json.dumps(counts.as_json())) < 1 << 20  # it is a frame of the socket
