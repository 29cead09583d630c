"""Deleting what is old: which jobs and entries go and which stay, in portions, and that what is left adds up."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Final

import pytest

from bgjob.errors import JobNotFoundError
from bgjob.words import EntryType, Status
from bgjobd.core.planner import Lanes
from bgjobd.store import deletions
from bgjobd.store.audit import Audit
from bgjobd.store.committed import Deleted, Trimmed
from bgjobd.store.items.attempts import Noted
from bgjobd.store.items.retention import Deletion, Trimming
from bgjobd.store.reader import Reader
from bgjobd.store.retention import FIRST
from bgjobd.store.tally import counted
from bgjobd.store.whole_jobs import whole
from tests.store.samples import (
    COMPLETED,
    FAILED,
    NOW,
    STOPPED,
    Store,
    asked,
    cancels,
    ends,
    retries,
    starts,
    submission,
)
from tests.store.test_tally import told

DAY: Final = 86_400.0
FAR: Final = 10**9
"""A newest log entry that no test comes to."""


def ended(store: Store, ending: Any = COMPLETED, jobs: int = 1, **given: Any) -> list[int]:
    """Jobs that have ended so, with two log entries at least."""
    ids = [store.run_one(retry_count=3, **given) for _ in range(jobs)]
    for id in ids:
        store.commit(starts(id, at=store.now), ends(id, ending, at=store.now))
    return ids


def newest(store: Store) -> int:
    """A job that has the newest log entry, for that one stays; its id."""
    (job_id,) = store.submit(asked())
    return job_id


def delete(store: Store, *ids: int, last_entry: int = FAR) -> Deleted:
    deleted: Deleted = store.answer(Deletion(ids, last_entry))
    return deleted


def old(store: Store, status: Status, before: float, limit: int = 100) -> list[int]:
    with closing(Reader(store.state_dir)) as reader:
        return [id for _, id in reader.old.ended_before(status, before, FIRST, limit)]


def ids_of(store: Store, table: str, column: str) -> set[int]:
    return {row["id"] for row in store.rows(f"SELECT DISTINCT {column} AS id FROM {table}")}


# Jobs


def test_a_job_goes_with_its_attempts_and_its_log_entries(store: Store) -> None:
    first, second = ended(store, jobs=2)
    last = newest(store)
    entries = len(store.messages(first))
    assert delete(store, first) == Deleted((first,), ((first, 1),), entries)
    assert ids_of(store, "background_jobs", "id") == {second, last}
    assert ids_of(store, "job_attempts", "job_id") == {second}
    assert ids_of(store, "job_logs", "job_id") == {second, last}


def test_jobs_that_wait_or_run_stay_however_old_they_are(store: Store) -> None:
    waiting, scheduled = store.submit(asked(), asked(scheduled_at=NOW + 1000 * DAY))
    (claim,) = store.claim(Lanes(1))
    assert claim.job.id == waiting
    store.now += 400 * DAY
    newest(store)
    assert delete(store, waiting, scheduled) == Deleted()
    assert [old(store, status, store.now) for status in Status] == [[]] * len(Status)


@pytest.mark.parametrize(("status", "ending"), [("completed", COMPLETED), ("failed", FAILED)])
def test_what_ended_before_a_time_is_found_oldest_first(store: Store, status: str, ending: Any) -> None:
    first = ended(store, ending, 3)
    store.now += DAY
    second = ended(store, ending, 2)
    assert old(store, Status(status), NOW) == []
    assert old(store, Status(status), NOW + 1) == first
    assert old(store, Status(status), NOW + 2 * DAY) == first + second
    assert old(store, Status(status), NOW + 2 * DAY, limit=2) == first[:2]


def test_what_is_found_goes_on_behind_a_place_also_among_jobs_of_one_moment(store: Store) -> None:
    ids = ended(store, COMPLETED, 5)
    found, place = [], FIRST
    with closing(Reader(store.state_dir)) as reader:
        while places := reader.old.ended_before(Status.COMPLETED, NOW + 1, place, 2):
            found += [id for _, id in places]
            place = places[-1]
    assert found == ids


def test_a_cancelled_job_can_go(store: Store) -> None:
    (job_id,) = store.submit(asked())
    store.commit(cancels(job_id))
    newest(store)
    assert old(store, Status.CANCELLED, NOW + 1) == [job_id]
    assert delete(store, job_id).jobs == (job_id,)


def test_a_job_that_was_retried_since_it_was_looked_at_stays(store: Store) -> None:
    (job_id,) = ended(store, FAILED)
    newest(store)
    with closing(Reader(store.state_dir)) as reader:
        last_entry = reader.last_log_id()
    store.commit(retries(job_id), lanes=Lanes(1))
    assert delete(store, job_id, last_entry=last_entry) == Deleted()
    store.commit(ends(job_id, STOPPED, 2), cancels(job_id))
    newest(store)
    assert delete(store, job_id, last_entry=last_entry) == Deleted()
    assert delete(store, job_id).jobs == (job_id,)


def test_a_job_of_which_something_was_noted_in_the_same_commit_stays(store: Store) -> None:
    (job_id,) = ended(store)
    newest(store)
    _, deleted = store.commit(Noted(job_id, 1, EntryType.INFO, "late"), Deletion((job_id,), FAR)).answers
    assert deleted == Deleted()
    assert store.messages(job_id)[-1] == "late"


def test_what_comes_about_a_deleted_job_is_refused_and_leaves_nothing(store: Store) -> None:
    (job_id,) = ended(store)
    newest(store)
    _, answer = store.commit(Deletion((job_id,), FAR), Noted(job_id, 1, EntryType.INFO, "late")).answers
    assert isinstance(answer, JobNotFoundError)
    assert store.messages(job_id) == []


def test_ids_of_jobs_and_of_log_entries_are_never_given_again(store: Store) -> None:
    ids = ended(store, jobs=3)
    (last_entry,) = store.rows("SELECT max(id) AS id FROM job_logs")
    assert delete(store, *ids).jobs == tuple(ids[:-1])  # the last one has the newest entry
    assert store.submit(asked()) == [ids[-1] + 1]
    (entry,) = store.rows("SELECT min(id) AS id FROM job_logs WHERE job_id = ?", ids[-1] + 1)
    assert entry["id"] == last_entry["id"] + 1
    assert delete(store, *ids).jobs == (ids[-1],)


def test_a_key_is_free_again_once_its_job_is_gone(store: Store) -> None:
    (job_id,) = ended(store, idempotency_key="k")
    newest(store)
    assert store.submit(asked(idempotency_key="k", retry_count=3)) == [job_id]
    delete(store, job_id)
    assert store.submit(asked(idempotency_key="k", retry_count=3)) != [job_id]


# In portions


def test_one_item_deletes_for_a_moment_only_and_says_what_is_left(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = tuple(ended(store, jobs=5))
    newest(store)
    monkeypatch.setattr(deletions, "_DELETING_FOR", -1.0)
    deleted = delete(store, *ids)
    assert (deleted.jobs, deleted.left) == (ids[:1], ids[1:])


def test_one_item_deletes_so_many_jobs_only(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = tuple(ended(store, jobs=5))
    newest(store)
    monkeypatch.setattr(deletions, "_DELETED_AT_ONCE", 2)
    deleted = delete(store, *ids)
    assert (deleted.jobs, deleted.left) == (ids[:2], ids[2:])


def test_a_job_with_very_many_entries_loses_some_and_goes_with_the_last(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job_id,) = ended(store)
    store.commit(*[Noted(job_id, 1, EntryType.INFO, "more") for _ in range(10)])
    newest(store)
    monkeypatch.setattr(deletions, "_ENTRIES_AT_ONCE", 6)
    entries = len(store.messages(job_id))
    assert delete(store, job_id) == Deleted((), (), 6, (job_id,))
    assert len(store.messages(job_id)) == entries - 6
    gone, left = 6, (job_id,)
    while left:
        deleted = delete(store, *left)
        gone, left = gone + deleted.entries, deleted.left
    assert deleted.jobs == (job_id,)
    assert gone == entries


# Log entries


def test_old_entries_of_any_job_go_and_the_newest_of_all_stays(store: Store) -> None:
    (job_id,) = ended(store)
    (waiting,) = store.submit(asked())
    store.now += DAY
    (late,) = store.submit(asked())
    trimmed: Trimmed = store.answer(Trimming(NOW + 1))
    assert trimmed.next is None
    assert (store.messages(job_id), store.messages(waiting)) == ([], [])
    assert store.messages(late)
    assert store.answer(Trimming(store.now + DAY)) == Trimmed(0, None)
    assert len(store.messages(late)) == 1


def test_entries_go_in_portions_that_end_where_they_are_younger(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletions, "_ENTRIES_AT_ONCE", 4)
    store.submit(*[asked() for _ in range(10)])
    store.now += DAY
    store.submit(*[asked() for _ in range(10)])
    gone, after, portions = 0, 0, 0
    while True:
        trimmed: Trimmed = store.answer(Trimming(NOW + 1, after))
        gone, portions = gone + trimmed.entries, portions + 1
        if trimmed.next is None:
            break
        after = trimmed.next
    assert gone == 10
    assert portions == 4  # three with old entries, and one that has none
    assert store.count("job_logs") == 10


def test_when_all_is_old_the_portions_come_to_an_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletions, "_ENTRIES_AT_ONCE", 4)
    store.submit(*[asked() for _ in range(8)])
    after: int | None = 0
    for _ in range(5):
        after = store.answer(Trimming(NOW + DAY, after)).next
        if after is None:
            break
    assert after is None
    assert store.count("job_logs") == 1


def test_entries_of_a_time_to_come_do_not_keep_those_behind_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletions, "_ENTRIES_AT_ONCE", 4)
    ahead = store.submit(*[asked() for _ in range(8)])  # while the clock was wrong
    store.database.execute_sql("UPDATE job_logs SET created_at = '2034'")
    store.submit(*[asked() for _ in range(6)])
    store.now += DAY
    (young,) = store.submit(asked())
    with closing(Reader(store.state_dir)) as reader:
        assert reader.old.oldest_entry(store.now) == NOW
    after: int | None = 0
    while after is not None:
        after = store.answer(Trimming(NOW + 1, after)).next
    assert ids_of(store, "job_logs", "job_id") == {*ahead, young}


def test_an_entry_that_tells_another_time_costs_the_younger_ones_nothing(store: Store) -> None:
    first, *rest = store.submit(*[asked() for _ in range(5)])
    store.database.execute_sql("UPDATE job_logs SET created_at = '1970' WHERE job_id = ?", (first,))
    assert store.answer(Trimming(NOW)) == Trimmed(1, None)
    assert ids_of(store, "job_logs", "job_id") == set(rest)


# What is left adds up


def test_the_tally_is_what_counting_gives_after_each_deletion(store: Store) -> None:
    done, failed = ended(store, COMPLETED, 4), ended(store, FAILED, 3, queue="mail")
    stopped = store.submit(asked(), asked(queue="mail"))
    store.commit(*[cancels(id) for id in stopped])
    store.now += 7200
    young = ended(store, COMPLETED, 3)
    newest(store)
    for ids in (done[:1], failed, [*stopped, *done], young, done):
        committed = store.commit(Deletion(tuple(ids), FAR), submission(asked()))
        assert told(committed.tally, store.now) == told(counted(store.database, store.now), store.now)
    assert set(committed.tally.jobs) == {"pending"}


def test_the_books_balance_after_deletions(store: Store) -> None:
    done, failed = ended(store, COMPLETED, 5), ended(store, FAILED, 5)
    store.commit(retries(failed[0]), lanes=Lanes(1))
    delete(store, *done[:3], *failed, 99)
    store.answer(Trimming(NOW + 1))
    with closing(Audit(store.state_dir)) as audit:
        assert audit.damage() == ()
        assert audit.oddities() == ()
        assert (audit.counts().jobs, audit.counts().running) == (3, 1)


def test_a_whole_job_has_all_its_entries_oldest_first(store: Store) -> None:
    (job_id,) = ended(store, parameters={"a": 1})
    store.commit(*[Noted(job_id, 1, EntryType.INFO, str(number)) for number in range(1500)])
    with closing(Reader(store.state_dir)) as reader:
        found = whole(job_id, reader)
        assert found is not None
        job = reader.job(job_id)
        assert whole(99, reader) is None
    assert job is not None
    assert {name: value for name, value in found.items() if name != "logs"} == job.columns | {
        "parameters": {"a": 1},
        "result": {"sent": 1},
        "attempts": [{name: one[name] for name in one if name != "span"} for one in job.attempts],
    }
    assert [entry["message"] for entry in found["logs"]] == store.messages(job_id)


def test_what_a_run_would_delete_is_what_it_deletes(store: Store) -> None:
    done, failed = ended(store, COMPLETED, 3), ended(store, FAILED, 2)
    store.now += DAY
    ended(store, COMPLETED, 2)
    newest(store)
    with closing(Reader(store.state_dir)) as reader:
        both = reader.old.count_entries({Status.COMPLETED: NOW + 1, Status.FAILED: NOW + 1}, None)
        some = reader.old.count_entries({Status.FAILED: NOW + 1}, None)
        every = reader.old.count_entries({}, NOW + 1)
        assert reader.old.count_ended_before(Status.COMPLETED, NOW + 1) == 3
    assert delete(store, *failed).entries == some
    assert delete(store, *done).entries == both - some
    assert every == both
