"""What is told of classes, queues and errors by spans of time: from rows and memory together."""

from __future__ import annotations

import pytest

from bgjobd.core.job import Ending, RetryPolicy, Usage
from bgjobd.core.planner import Lanes
from bgjobd.core.spans import DAY, FIVE_MINUTES, HOUR, MOST_CLASSES, begin
from bgjobd.host.clock import to_text
from bgjobd.store import span_rows, trends
from bgjobd.store.items.daemons import Look
from bgjobd.store.items.retention import ErrorTrimming
from bgjobd.store.reader import Reader
from bgjobd.store.spans import Spans
from bgjobd.store.trends import try_asked
from tests.store.samples import COMPLETED, FAILED, NOW, Row, Store, asked, ends, starts
from tests.store.test_spans import LANES, MAIL, ONCE, later, reader, run, spans, told  # noqa: F401  # the fixtures

REPORT = "myapp.jobs.Report"


def stats(store: Store, reader: Reader, spans: Spans, name: str = MAIL, limit: int = 500) -> Row:  # noqa: F811
    return reader.trends.of_one(spans.counted, name, limit, store.now)


def test_a_class_is_told_with_what_it_was_before(store: Store, spans: Spans, reader: Reader) -> None:  # noqa: F811
    run(store, COMPLETED, took=4.0, usage=Usage(1 << 30, 1.0, 0.0))
    store.now += 3 * DAY
    run(store, COMPLETED, took=1.0, waited=2.0, usage=Usage(1 << 20, 0.5, 0.25))
    run(store, FAILED, took=1.0, policy=ONCE)
    found = stats(store, reader, spans)
    day, before = found["day"], found["before"]
    assert (day["ended"], day["completed"], day["failed"], day["memory"], day["cpu"]) == (
        2,
        1,
        1,
        1 << 20,
        0.75,
    )
    assert day["p50"] == pytest.approx(1.0, rel=0.42)
    assert day["waited_p95"] == pytest.approx(2.0, rel=0.42)
    assert (before["ended"], before["memory"], before["cpu"]) == (1, 1 << 30, round(1 / 13, 3))
    (of_each,) = reader.trends.of_each(spans.counted, store.now)
    assert of_each == {
        "name": MAIL,
        "day": day,
        "before": before,
        "hours": [0] * 23 + [2],
        "failed": [0] * 23 + [1],
    }


def test_the_newest_attempts_of_a_class_are_told_however_many_of_its_jobs_wait(
    store: Store,
    spans: Spans,  # noqa: F811
    reader: Reader,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trends, "_JOBS_AT_ONCE", 2)
    first = run(store, FAILED, took=2.0, usage=Usage(1 << 20, 0.5, 0.25))
    second = run(store, COMPLETED, waited=3.0)
    run(store, COMPLETED, class_name=REPORT)
    store.submit(*(asked(class_name=MAIL) for _ in range(5)))
    found = stats(store, reader, spans)["attempts"]
    assert [(one["job_id"], one["number"], one["outcome"]) for one in found] == [
        (second, 1, "completed"),
        (first, 1, "failed"),
    ]
    assert found[0]["waited"] == 3.0
    assert {name: found[1][name] for name in ("at", "seconds", "memory", "cpu")} == {
        "at": to_text(begin(NOW, FIVE_MINUTES) + 2),
        "seconds": 2.0,
        "memory": 1 << 20,
        "cpu": 0.75,
    }
    assert len(stats(store, reader, spans, limit=1)["attempts"]) == 1
    assert stats(store, reader, spans, "no.such.Class")["day"]["ended"] == 0


def test_of_a_queue_the_most_that_waited_and_ran_are_told(
    store: Store,
    spans: Spans,  # noqa: F811
    reader: Reader,  # noqa: F811
) -> None:
    store.submit(*(asked() for _ in range(5)), *(asked(queue="mail") for _ in range(2)))
    store.now += 7
    store.claim(Lanes(3, {"default": None}))
    run(store, COMPLETED, queue="mail")
    both = {one["name"]: one for one in told(store, reader, spans, "queues")}
    assert [(one["pending"], one["running"], one["waited"]) for one in both.values()] == [
        (5, 5, 7),
        (3, 3, 7),
    ]
    later(store)
    assert told(store, reader, spans, "queue:mail") == [both["mail"]]
    assert told(store, reader, spans, "queue:mail", HOUR)[0]["pending"] == 3


def test_of_an_error_what_it_has_ended_is_told_until_it_is_forgotten(
    store: Store,
    spans: Spans,  # noqa: F811
    reader: Reader,  # noqa: F811
) -> None:
    run(store, FAILED)
    run(store, FAILED, policy=ONCE)
    at = to_text(begin(NOW, HOUR))
    expected = [{"at": at, "name": "1", "attempts": 2, "failed": 1}]
    assert told(store, reader, spans, "error:1", HOUR) == expected
    later(store, HOUR)
    assert told(store, reader, spans, "error:1", HOUR) == expected
    assert told(store, reader, spans, "error:2", HOUR) == []
    store.answer(ErrorTrimming(store.now + 1))
    assert store.count("error_groups") == store.count("error_tallies") == 0


def test_old_hours_of_an_error_go_when_it_is_met_again(store: Store, spans: Spans) -> None:  # noqa: F811
    for _ in range(3):
        run(store, FAILED)
        later(store)
        store.now += DAY
    left = store.rows("SELECT span, count(*) AS count FROM error_tallies GROUP BY span ORDER BY span")
    assert [(row["span"], row["count"]) for row in left] == [(HOUR, 2), (DAY, 3)]


def test_old_rows_go_a_little_at_a_time(
    store: Store,
    spans: Spans,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(span_rows, "_TRIMMED_AT_ONCE", 3)
    for _ in range(4):
        run(store, COMPLETED)
        later(store)

    def left() -> int:
        return int(store.rows("SELECT count(*) AS count FROM class_tallies WHERE span = 300")[0]["count"])

    assert left() == 8
    store.now += 2 * DAY
    for expected in (7, 6, 6):  # 2 new ones each time, and 3, 3 and 2 old ones fewer
        run(store, COMPLETED)
        later(store)
        assert left() == expected


def test_no_more_classes_than_there_may_be_have_rows_and_all_are_counted(
    store: Store,
    spans: Spans,  # noqa: F811
    reader: Reader,  # noqa: F811
) -> None:
    names = [f"myapp.jobs.C{number}" for number in range(MOST_CLASSES + 5)]
    for repeat in range(2):
        ids = store.submit(*(asked(class_name=name) for name in [*names, names[-1]]))
        store.claim(LANES)
        store.commit(*(ends(id, COMPLETED, at=store.now) for id in ids))
        if repeat == 0:
            later(store)
    later(store)
    rows = {
        row["class_name"]: row["completed"]
        for row in store.rows("SELECT class_name, completed FROM class_tallies WHERE span = 3600")
    }
    assert len(rows) == MOST_CLASSES + 2
    assert rows[names[-1]] == 4
    assert rows["(other)"] == 10
    assert rows[""] == sum(count for name, count in rows.items() if name) == 2 * (MOST_CLASSES + 6)
    assert told(store, reader, spans, "class:(other)", HOUR)[0]["completed"] == 10


@pytest.mark.parametrize(
    ("of", "span"),
    [("host:web1", 300), ("class:", 300), ("queue", 300), ("error:x", 3600), ("error:1", 300), ("", 60)],
)
def test_what_means_nothing_is_asked_in_vain(of: str, span: int) -> None:
    assert try_asked(of, span, None, NOW) is None


def test_no_more_is_told_than_is_asked_for(store: Store, spans: Spans, reader: Reader) -> None:  # noqa: F811
    for _ in range(3):
        run(store, COMPLETED, took=1.0)
        later(store)
    wanted = try_asked("", FIVE_MINUTES, store.now - 2 * FIVE_MINUTES, store.now)
    assert wanted is not None
    assert len(reader.trends.of_spans(spans.counted, wanted)) == 2


def test_an_attempt_tells_how_long_it_had_waited(store: Store, spans: Spans, reader: Reader) -> None:  # noqa: F811
    job_id = run(store, Ending.failed("ValueError", "no"), waited=1.5, policy=RetryPolicy(max_retries=1))
    store.now += 60
    store.claim(LANES)
    store.commit(starts(job_id, 2, at=store.now), Look())
    stored = reader.job(job_id)
    assert stored is not None
    assert [one["waited"] for one in stored.attempts] == [1.5, 55.0]
