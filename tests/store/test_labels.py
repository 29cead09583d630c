"""Labels of jobs: by which they are found, and counted; a row for each as long as its job is there and has it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from bgjob.words import MOST_OF_KEY, IfHeld, Status
from bgjobd.core.unique import Unique
from bgjobd.store.audit import Audit, Oddity
from bgjobd.store.filters import JobFilter
from bgjobd.store.items.retention import Deletion
from bgjobd.store.items.submissions import AgainAsked, BulkRow, BulkSubmission
from bgjobd.store.reader import Reader
from tests.store.samples import SUBMITTER, Store, asked, cancels, statements_run_on, submission

TENANT, RELEASE = "tenant:7", "release:42"


@pytest.fixture
def reader(store: Store) -> Iterator[Reader]:
    reader = Reader(store.state_dir)
    yield reader
    reader.close()


def kept(store: Store) -> list[tuple[str, int]]:
    """What jobs are found by; each job's row has the same."""
    found = store.rows("SELECT label, job_id FROM job_labels ORDER BY label, job_id")
    rows = store.rows("SELECT id, labels FROM background_jobs WHERE labels IS NOT NULL")
    of_jobs = {(label, row["id"]) for row in rows for label in json.loads(row["labels"])}
    told = [(row["label"], row["job_id"]) for row in found]
    assert set(told) == of_jobs
    return told


def unique(*labels: str) -> Any:
    return asked(unique=Unique("k", if_held=IfHeld.REPLACE), labels=labels)


def listed(reader: Reader, label: str, **given: Any) -> list[int]:
    page = reader.list(JobFilter(label=label, **given), now=0.0)
    return [row["id"] for row in page.rows]


def counted(reader: Reader, prefix: str = "", **given: Any) -> list[tuple[str, int]]:
    found, _ = reader.labels(prefix, given.pop("after", ""), **given)
    return [(one["label"], one["jobs"]) for one in found]


def test_what_runs_is_told_of_a_label_and_a_host(store: Store, reader: Reader) -> None:
    both, other = store.run_one(labels=(TENANT, RELEASE)), store.run_one(labels=(RELEASE,))
    store.submit(asked(labels=(TENANT,)))
    assert [one["job_id"] for one in reader.running()] == [both, other]
    assert [one["job_id"] for one in reader.running(label=TENANT)] == [both]
    assert [one["job_id"] for one in reader.running(label=RELEASE)] == [both, other]
    assert reader.running("nowhere", TENANT) == []


def test_a_job_has_a_row_for_each_of_its_labels_and_tells_them_in_their_order(
    store: Store, reader: Reader
) -> None:
    store.submit(asked(labels=(TENANT, RELEASE)), asked())
    assert kept(store) == [(RELEASE, 1), (TENANT, 1)]
    jobs = [reader.job(job_id) for job_id in (1, 2)]
    assert [job.columns["labels"] for job in jobs if job is not None] == [[TENANT, RELEASE], []]
    assert [reader.summaries([1, 2])[job_id]["labels"] for job_id in (1, 2)] == [[TENANT, RELEASE], []]


def test_a_job_without_labels_costs_no_statement_and_no_column(store: Store) -> None:
    with statements_run_on(store.database) as run:
        store.submit(asked())
        store.commit(cancels(1), Deletion((1,), 10**9))
    assert not [sql for sql in run if "job_labels" in sql]
    assert not [sql for sql in run if sql.startswith("INSERT") and '"labels"' in sql]


def test_jobs_in_bulk_have_their_labels_in_common(store: Store, reader: Reader) -> None:
    store.submit(asked())
    store.commit(BulkSubmission(asked(labels=(TENANT, RELEASE)), (BulkRow("{}"),) * 3, SUBMITTER))
    store.commit(BulkSubmission(asked(), (BulkRow("{}"),) * 2, SUBMITTER))
    assert kept(store) == [(label, job_id) for label in (RELEASE, TENANT) for job_id in (2, 3, 4)]


def test_whoever_takes_the_place_of_a_job_brings_its_own_labels(store: Store) -> None:
    store.submit(unique(TENANT, "a"))
    store.submit(unique(TENANT, "b"))
    assert kept(store) == [("b", 1), (TENANT, 1)]
    store.submit(unique())
    assert kept(store) == []


@pytest.mark.parametrize("all_labels", [("a", "b", "a"), ("a", "", "b"), ("", "a", ""), ("a", "a,b", "b")])
def test_of_many_that_take_a_place_at_once_the_last_has_it(store: Store, all_labels: Sequence[str]) -> None:
    wanted = [tuple(labels.split(",")) if labels else () for labels in all_labels]
    store.commit(*(submission(unique(*labels)) for labels in wanted))
    assert kept(store) == [(label, 1) for label in wanted[-1]]


def test_a_job_that_is_run_again_has_the_labels_of_the_other(store: Store, reader: Reader) -> None:
    store.submit(asked(labels=(TENANT,)))
    store.commit(cancels(1))
    source, _ = reader.known(1) or (None, None)
    assert source is not None
    assert source.labels == (TENANT,)
    wanted = asked(labels=source.labels)
    store.commit(AgainAsked(1, None, source, wanted, None, "d", SUBMITTER))
    assert kept(store) == [(TENANT, 1), (TENANT, 2)]


def test_the_labels_of_a_deleted_job_go_with_it(store: Store) -> None:
    store.submit(asked(labels=(TENANT, RELEASE)), asked(labels=(TENANT,)))
    store.commit(cancels(1, 2))
    store.commit(Deletion((1,), 10**9))
    assert kept(store) == [(TENANT, 2)]


def test_a_label_lists_its_jobs_newest_first_and_with_other_filters(store: Store, reader: Reader) -> None:
    store.submit(*(asked(labels=(TENANT,) if n % 2 else (RELEASE,), queue=f"q{n % 3}") for n in range(8)))
    assert listed(reader, TENANT) == [8, 6, 4, 2]
    assert listed(reader, TENANT, queue="q1") == [8, 2]
    assert listed(reader, "tenant:") == []
    store.commit(cancels(2, 3, 8))
    assert listed(reader, TENANT, status=("cancelled",)) == [8, 2]
    assert listed(reader, TENANT, status=("pending",)) == [6, 4]
    page = reader.list(JobFilter(label=TENANT), now=0.0, limit=2, count=100)
    assert (page.next, page.total) == (6, 4)
    assert [row["id"] for row in reader.list(JobFilter(label=TENANT), now=0.0, before=6).rows] == [4, 2]


def test_labels_are_counted_in_their_order_a_page_at_a_time(store: Store, reader: Reader) -> None:
    store.submit(*(asked(labels=(f"tenant:{n}", "all")) for n in (2, 1, 2)))
    assert counted(reader) == [("all", 3), ("tenant:1", 1), ("tenant:2", 2)]
    assert counted(reader, "tenant:") == [("tenant:1", 1), ("tenant:2", 2)]
    assert counted(reader, "tenant:", after="tenant:1") == [("tenant:2", 2)]
    assert counted(reader, "x") == []
    assert reader.labels("", "", limit=2)[1] == "tenant:1"
    assert reader.labels("", "tenant:1", limit=2)[1] is None
    assert reader.labels("all", "", limit=1)[1] is None


def test_a_label_tells_how_its_newest_jobs_stand_and_counts_no_more_than_it_says(
    store: Store, reader: Reader
) -> None:
    store.commit(BulkSubmission(asked(labels=(TENANT,)), (BulkRow("{}"),) * (MOST_OF_KEY + 5), SUBMITTER))
    last = MOST_OF_KEY + 5
    store.commit(cancels(1, last, last - 1))
    ((told,), _) = reader.labels("", "")
    assert told == {
        "label": TENANT, "jobs": MOST_OF_KEY, "newest": last,
        **dict.fromkeys(Status, 0), "pending": 98, "cancelled": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("DELETE FROM job_labels WHERE job_id = 1", "its label is a, and it is not found by it"),
        ("INSERT INTO job_labels VALUES ('c', 1)", "it is found by the label c, which is not its own"),
        ("INSERT INTO job_labels VALUES ('c', 2)", "it is found by the label c, which is not its own"),
        ("INSERT INTO job_labels VALUES ('c', 9)", "it is found by the label c, which is not its own"),
    ],
)
def test_the_books_find_a_label_that_is_not_as_its_job_has_it(store: Store, change: str, told: str) -> None:
    store.submit(asked(labels=("a",)), asked())
    audit = Audit(store.state_dir)
    assert audit.oddities() == ()
    store.database.execute_sql(change)
    (odd,) = audit.oddities()
    assert (isinstance(odd, Oddity), odd.told) == (True, told)
    audit.close()
