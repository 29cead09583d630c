"""What a transaction says that it changed, and the ids of its log entries."""

from __future__ import annotations

import pytest

from bgjob.codec import to_json
from bgjob.words import EntryType
from bgjobd.core.facts import ClockJumped
from bgjobd.core.planner import Lanes
from bgjobd.store.committed import Committed
from bgjobd.store.items.attempts import AttemptNotes, Note
from bgjobd.store.items.daemons import DaemonStarted, Look
from bgjobd.store.items.holds import QueuePaused
from bgjobd.store.pages.summaries import summary_of
from bgjobd.store.reader import Reader
from tests.store.samples import (
    COMPLETED,
    FAILED,
    NO_SLOTS,
    NOW,
    Store,
    asked,
    cancels,
    ends,
    retries,
    starts,
    statements_run_on,
    submission,
)


def changes(committed: Committed) -> list[tuple[int, str, int]]:
    return [(job.id, job.status.value, job.attempt) for job in committed.changed]


def test_every_change_of_a_life_is_told_once_and_in_order(store: Store) -> None:
    assert changes(store.commit(submission(asked(), asked()), lanes=Lanes(1))) == [
        (1, "pending", 0),
        (2, "pending", 0),
        (1, "running", 1),
    ]
    assert changes(store.commit(starts(1))) == [(1, "running", 1)]
    assert changes(store.commit(ends(1, FAILED), cancels(2))) == [(1, "pending", 1), (2, "cancelled", 0)]
    assert changes(store.commit(retries(2), lanes=Lanes(2))) == [(2, "pending", 0), (2, "running", 1)]
    assert changes(store.commit(starts(2), ends(2, COMPLETED))) == [(2, "running", 1), (2, "completed", 1)]


def test_a_change_is_dated_as_the_file_has_it(store: Store) -> None:
    store.now += 3
    committed = store.commit(submission(asked()))
    assert [job.updated_at for job in committed.changed] == [NOW + 3]
    assert store.job(1)["updated_at"] == "2024-12-04T14:31:56.000000Z"


def test_a_follower_is_told_of_a_job_as_a_reader_finds_it_after_each_change(store: Store) -> None:
    """With the progress that the latest attempt told, and dated as the row is, which a start leaves as it was."""
    half = AttemptNotes(1, 1, 0, (Note(NOW, EntryType.INFO, "half", 0.5),))
    reader = Reader(store.state_dir)
    progress = []
    for facts, lanes in [
        ((submission(asked()),), NO_SLOTS),
        ((Look(),), Lanes(1)),
        ((starts(1),), NO_SLOTS),
        ((half,), NO_SLOTS),
        ((ends(1, FAILED),), NO_SLOTS),
        ((cancels(1),), NO_SLOTS),
        ((retries(1),), NO_SLOTS),
        ((Look(),), Lanes(1)),
        ((cancels(1),), NO_SLOTS),
        ((ends(1, FAILED, number=2),), NO_SLOTS),
    ]:
        store.now += 1
        (job,) = store.commit(*facts, lanes=lanes).changed
        told = summary_of(job, None)
        assert to_json(told) == to_json(reader.summary(1))
        progress.append(told["progress"] and told["progress"]["fraction"])
    reader.close()
    assert progress == [None, None, None, 0.5, 0.5, 0.5, 0.5, None, None, None]


def test_what_changes_nothing_is_not_told(store: Store) -> None:
    job_id = store.run_one()
    assert changes(store.commit(cancels(job_id))) == [(job_id, "running", 1)]
    nothing = (cancels(job_id), Look(), QueuePaused("mail"), DaemonStarted(), ClockJumped(5.0))
    assert changes(store.commit(*nothing)) == []


def test_a_retry_that_moves_with_the_clock_is_not_told(store: Store) -> None:
    job_id = store.run_one()
    store.commit(ends(job_id, FAILED))
    assert changes(store.commit(ClockJumped(5.0))) == []


def test_a_job_that_was_there_already_is_not_told_again(store: Store) -> None:
    store.submit(asked(idempotency_key="k"))
    assert changes(store.commit(submission(asked(idempotency_key="k"), asked()))) == [(2, "pending", 0)]


def test_what_a_refused_item_changed_is_taken_back(store: Store) -> None:
    one, other = store.submit(asked(), asked())
    committed = store.commit(cancels(one, 99), submission(asked(), asked(queue="\ud800")), cancels(other))
    assert changes(committed) == [(other, "cancelled", 0)]


# The ids of log entries


def rows(store: Store) -> list[tuple[int, int, str]]:
    found = store.rows("SELECT id, job_id, message FROM job_logs ORDER BY id")
    return [(row["id"], row["job_id"], row["message"]) for row in found]


def lines(*all_committed: Committed) -> list[tuple[int, int, str]]:
    return [(line.id, line.job_id, line.message) for one in all_committed for line in one.lines]


def test_committed_lines_have_the_ids_that_they_have_in_the_file(store: Store) -> None:
    first = store.commit(submission(asked(), asked()), lanes=Lanes(1))
    second = store.commit(starts(1), ends(1, FAILED), cancels(2))
    assert lines(first, second) == rows(store)
    assert [line.id for line in (*first.lines, *second.lines)] == list(range(1, 8))


def test_ids_go_on_without_a_gap_after_an_item_that_was_refused(store: Store) -> None:
    (job_id,) = store.submit(asked())
    committed = store.commit(cancels(job_id, 99), submission(asked()), cancels(99), submission(asked()))
    assert [line.id for line in committed.lines] == [2, 3]
    assert lines(committed) == rows(store)[1:]


def test_ids_go_on_after_another_connection_has_written(store: Store) -> None:
    store.submit(asked())
    store.database.execute_sql(
        "INSERT INTO job_logs (id, job_id, type, message, created_at) VALUES (70, 1, 'info', 'm', 't')"
    )
    assert [line.id for line in store.commit(submission(asked())).lines] == [71]


@pytest.mark.parametrize(("item", "times"), [(Look(), 0), (submission(*[asked()] * 50), 1)])
def test_the_last_id_is_asked_for_once_and_only_where_there_is_something_to_log(
    store: Store, item: Look, times: int
) -> None:
    with statements_run_on(store.database) as run:
        store.commit(item, item, lanes=Lanes(10))
    assert sum('MAX("t1"."id")' in statement for statement in run) == times
