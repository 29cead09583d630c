"""Jobs submitted in bulk to a real file: the same as one by one, in one statement a table; keys, and all or none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgjob.errors import IdempotencyConflictError, InvalidParameterError, QueueFullError
from bgjob.words import Backoff
from bgjobd.core.job import Call, RetryPolicy
from bgjobd.core.planner import Lanes
from bgjobd.store.items.item import Item
from bgjobd.store.items.submissions import BulkRow, BulkSubmission, Submission
from bgjobd.store.items.submitter import Submitter
from tests.store.samples import (
    NOW,
    SUBMITTER,
    Store,
    asked,
    statements_run_on,
    submission,
)

TABLES = ("background_jobs", "job_logs", "job_attempts", "job_labels")


@pytest.fixture
def another(tmp_path: Path) -> Iterator[Store]:
    (tmp_path / "another").mkdir()
    store = Store(tmp_path / "another")
    yield store
    store.close()


def bulk(*rows: BulkRow, by: Submitter = SUBMITTER, **given: Any) -> BulkSubmission:
    return BulkSubmission(asked(**given), rows, by)


def keyed(*keys: str, parameters: str = "{}") -> list[BulkRow]:
    return [BulkRow(parameters, (), key, f"digest of {parameters}") for key in keys]


def one_by_one(item: BulkSubmission) -> Item:
    """The same in today's form."""
    facts = []
    for row in item.rows:
        call = Call(item.common.call.class_name, item.common.call.method_name, row.parameters, row.sensitive)
        fact = item.common._asdict()
        own = {"call": call, "idempotency_key": row.idempotency_key, "digest": row.digest}
        facts.append(type(item.common)(**fact | own))
    return Submission(tuple(facts), item.submitter)


def stored(store: Store) -> dict[str, list[Any]]:
    return {table: store.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES}


ROWS = (
    BulkRow('{"to":"ann","text":"\\u0000 \\" \\n ☃ 🦊"}', (), "k1", "d1"),
    BulkRow("{}"),
    BulkRow('{"password":"hunter2","to":"bob"}', ("password", "é"), "k2", None),
)
BULKS = [
    bulk(*ROWS),
    bulk(
        *ROWS,
        retry_count=2,
        policy=RetryPolicy(5, 1.5, Backoff.EXPONENTIAL, 60.0),
        queue="mail",
        priority=-3,
        timeout=60.5,
        scheduled_at=NOW + 30,
    ),
    bulk(*ROWS, by=Submitter(None, None, None), method="é"),
    bulk(*ROWS, labels=("tenant:7", "release:42")),
    bulk(*ROWS, by=Submitter(1000, 1000, 17, job=1)),
]


@pytest.mark.parametrize("item", BULKS)
def test_jobs_in_bulk_are_stored_and_told_as_those_that_come_one_by_one(
    item: BulkSubmission, store: Store, another: Store
) -> None:
    before = [bulk(BulkRow("{}")), submission(asked())]
    theirs = another.commit(*map(one_by_one, before[:1]), before[1], one_by_one(item), lanes=Lanes(2))
    ours = store.commit(*before, item, lanes=Lanes(2))
    assert ours.answers[2] == tuple(answer.id for answer in theirs.answers[2])
    first, second = stored(store), stored(another)
    for rows in (first, second):
        for row in rows["job_attempts"]:
            del row["token"]
        rows["job_logs"].sort(key=lambda row: (row["job_id"], row["id"]))
        for row in rows["job_logs"]:
            del row["id"]
    assert first == second
    told = [one.job(place) for one in ours.bulks for place in range(len(one))]
    assert sorted([*told, *ours.changed], key=lambda job: job.id) == sorted(
        theirs.changed, key=lambda job: job.id
    )
    assert (ours.tally.jobs, ours.next_due) == (theirs.tally.jobs, theirs.next_due)
    lines = [one.line(place) for one in ours.bulks for place in range(len(one))] + list(ours.lines)
    rows = store.rows("SELECT id, job_id, message, context FROM job_logs ORDER BY id")
    assert [(line.id, line.job_id, line.message, line.context) for line in lines] == [
        tuple(row.values()) for row in rows
    ]


@pytest.mark.parametrize(("count", "statements"), [(1000, 1), (2001, 3)])
def test_a_thousand_take_one_statement_a_table(store: Store, count: int, statements: int) -> None:
    rows = [BulkRow(f'{{"n":{number}}}') for number in range(1, count + 1)]
    with statements_run_on(store.database) as run:
        assert store.answer(bulk(*rows)) == tuple(range(1, count + 1))
    inserts = [sql.split("(")[0] for sql in run if sql.startswith("INSERT")]
    assert inserts == ["INSERT INTO background_jobs "] * statements + ["INSERT INTO job_logs "] * statements
    assert store.rows("SELECT id, parameters FROM background_jobs ORDER BY id") == [
        {"id": place, "parameters": row.parameters} for place, row in enumerate(rows, 1)
    ]
    told = store.rows("SELECT id, job_id, context FROM job_logs ORDER BY id")
    assert [(row["id"], row["job_id"], json.loads(row["context"])["parameters"]["n"]) for row in told] == [
        (place,) * 3 for place in range(1, count + 1)
    ]


def test_a_repeat_gives_the_same_jobs_and_makes_those_that_are_missing(store: Store) -> None:
    assert store.answer(bulk(*keyed("a", "b"))) == (1, 2)
    assert store.answer(bulk(*keyed("a", "b"))) == (1, 2)
    committed = store.commit(bulk(*keyed("c", "b", "d", "c")))
    assert committed.answers == ((3, 2, 4, 3),)
    assert [row["idempotency_key"] for row in store.rows("SELECT * FROM background_jobs ORDER BY id")] == [
        *"abcd"
    ]
    assert len(store.rows("SELECT * FROM job_logs")) == 4
    assert committed.tally.jobs == {"pending": 4}
    assert committed.bulks[0].job(1).idempotency_key == "d"


def test_a_key_is_known_to_what_comes_later_in_the_same_transaction(store: Store) -> None:
    given = asked(idempotency_key="a", digest="digest of {}")
    first, second, third = store.commit(bulk(*keyed("a", "b")), submission(given), bulk(*keyed("b"))).answers
    assert (first, second[0].id, third) == ((1, 2), 1, (2,))


@pytest.mark.parametrize(
    ("rows", "refusal", "told"),
    [
        ([*keyed("new"), *keyed("a", parameters="[]")], IdempotencyConflictError, {"id": 1}),
        ([*keyed("new", "b"), *keyed("b", parameters="[]")], InvalidParameterError, {"parameter": "keys.2"}),
        ([*keyed("b", "c", "d")], QueueFullError, {"queue": "default", "limit": 3}),
        ([*[BulkRow("{}")] * 1000, BulkRow("\ud800")], ValueError, None),
    ],
)
def test_a_bulk_that_is_refused_leaves_nothing_and_costs_its_neighbours_nothing(
    rows: list[BulkRow], refusal: type[Exception], told: dict[str, Any] | None, store: Store
) -> None:
    store.answer(bulk(*keyed("a")))
    lanes = Lanes(0, max_pending={"default": 3 if told else 3000})
    before, refused, after = store.commit(
        bulk(BulkRow("{}")), bulk(*rows), submission(asked()), lanes=lanes
    ).answers
    assert type(refused) is refusal or (told is None and isinstance(refused, refusal))
    assert told is None or refused.parameters == told
    assert (before, after[0].id) == ((2,), 3)
    assert store.count("background_jobs") == store.count("job_logs") == 3


def test_whether_another_users_jobs_had_the_same_secrets_nobody_finds_out(store: Store) -> None:
    rows = [row._replace(sensitive=("password",)) for row in keyed("a")]
    store.answer(bulk(*rows))
    assert store.answer(bulk(*rows)) == (1,)
    assert isinstance(store.answer(bulk(*rows, by=Submitter(1, 1, 1))), IdempotencyConflictError)


def test_a_bulk_of_none_and_one_without_a_new_job_write_nothing(store: Store) -> None:
    store.answer(bulk(*keyed("a")))
    with statements_run_on(store.database) as run:
        assert store.answer(bulk()) == ()
        assert store.answer(bulk(*keyed("a"))) == (1,)
    assert not [sql for sql in run if sql.startswith("INSERT")]
