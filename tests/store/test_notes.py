"""What attempts tell of themselves: entries of the log with their own time, progress, and no note twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import inf, nan

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bgjob.errors import JobNotFoundError
from bgjob.words import EntryType
from bgjobd.core.planner import Lanes
from bgjobd.core.state_machine import IllegalFactError
from bgjobd.store.committed import Stored
from bgjobd.store.items.attempts import AttemptNotes, Note
from bgjobd.store.items.retention import Trimming
from bgjobd.store.pages.summaries import summary_of
from bgjobd.store.reader import Reader
from tests.store.samples import COMPLETED, FAILED, NOW, Store, asked, ends, starts, submission, text


def note(message: str, progress: float | None = None, at: float = NOW + 1) -> Note:
    return Note(at, EntryType.INFO, message, progress)


def notes(job_id: int, *told: Note, first: int = 0, number: int = 1) -> AttemptNotes:
    return AttemptNotes(job_id, number, first, told)


def told(store: Store, job_id: int) -> list[str]:
    """The messages of the entries that are notes."""
    return [message for message in store.messages(job_id) if not message.startswith("Background job ")]


def progress(store: Store, job_id: int, number: int = 1) -> object:
    stored = store.attempts(job_id)[number - 1]["progress"]
    return None if stored is None else json.loads(stored)


@pytest.fixture
def reader(store: Store) -> Iterator[Reader]:
    reader = Reader(store.state_dir)
    yield reader
    reader.close()


def test_notes_are_entries_of_the_log_with_their_own_type_and_time(store: Store) -> None:
    job_id = store.run_one()
    before = store.job(job_id)
    store.now += 60
    said = (Note(NOW + 1.25, EntryType.FAILURE, "no paper"), Note(NOW + 2, EntryType.INFO, "paper is there"))
    committed = store.commit(AttemptNotes(job_id, 1, 0, said))
    assert committed.answers == (None,)
    rows = store.rows("SELECT * FROM job_logs WHERE id > 2 ORDER BY id")
    assert [(row["type"], row["message"], row["attempt"], row["created_at"]) for row in rows] == [
        ("failure", "no paper", 1, text(NOW + 1.25)),
        ("info", "paper is there", 1, text(NOW + 2)),
    ]
    assert [(line.id, line.at, line.target) for line in committed.lines] == [
        (3, NOW + 1.25, "myapp.jobs.ExampleJob::run"),
        (4, NOW + 2, "myapp.jobs.ExampleJob::run"),
    ]
    assert store.job(job_id) == before
    assert committed.changed == ()


def test_each_step_of_progress_is_told_and_the_latest_alone_stays(store: Store) -> None:
    job_id = store.run_one()
    committed = store.commit(
        notes(job_id, note("half", 0.5), note("plain"), note("", 0.75, at=NOW + 3), note("last"))
    )
    assert [(line.id, line.message) for line in committed.lines] == [
        (3, "Background job is at 50%: half"),
        (4, "plain"),
        (5, "Background job is at 75%"),
        (6, "last"),
    ]
    assert store.messages(job_id)[2:] == ["plain", "Background job is at 75%", "last"]
    assert progress(store, job_id) == {"fraction": 0.75, "message": "", "at": text(NOW + 3), "told": 2}
    store.commit(notes(job_id, note("no progress"), first=4))
    assert progress(store, job_id) == {"fraction": 0.75, "message": "", "at": text(NOW + 3), "told": 2}


def entries(store: Store) -> list[tuple[int, str]]:
    """Those of progress, with their ids."""
    found = store.rows("SELECT id, message FROM job_logs WHERE message LIKE '%is at%' ORDER BY id")
    return [(row["id"], row["message"].partition(" is at ")[2]) for row in found]


def test_a_step_deletes_the_one_before_whichever_transaction_that_was_of(store: Store) -> None:
    first, second = store.run_one(), store.run_one()
    store.commit(
        notes(first, note("a", 0.1)), notes(second, note("b", 0.2)), notes(first, note("c", 0.3), first=1)
    )
    assert entries(store) == [(6, "20%: b"), (7, "30%: c")]
    store.commit(notes(second, note("d", 0.4), note("e"), note("f", 0.4), first=1))
    assert entries(store) == [(7, "30%: c"), (10, "40%: f")]
    store.commit(notes(first, note("c", 0.3), first=2))
    assert entries(store) == [(10, "40%: f"), (11, "30%: c")], (
        "the same once more is not taken for the one before"
    )


def test_the_last_step_of_an_attempt_stays_when_the_next_attempt_tells_its_own(store: Store) -> None:
    job_id = store.run_one()
    store.commit(notes(job_id, note("a", 0.9)), ends(job_id, FAILED))
    store.now += 60
    store.claim(Lanes(1))
    store.commit(starts(job_id, 2), notes(job_id, note("b", 0.1), number=2))
    store.commit(notes(job_id, note("c", 0.2), number=2, first=1))
    assert [message for _, message in entries(store)] == ["90%: a", "20%: c"]


def test_a_step_that_retention_has_deleted_is_missed_by_nobody(store: Store) -> None:
    job_id, other = store.run_one(), store.run_one()
    store.commit(notes(job_id, note("a", 0.1)))
    store.commit(notes(other, note("newer")))
    store.commit(Trimming(NOW + 60))
    assert entries(store) == []
    store.commit(notes(job_id, note("b"), note("c", 0.2), first=1))
    assert store.messages(job_id) == ["b", "Background job is at 20%: c"]


def test_a_watcher_hears_of_progress_with_the_job(store: Store) -> None:
    job_id = store.run_one()
    committed = store.commit(notes(job_id, note("a", 0.25), note("b", 0.5, at=NOW + 2), note("c")))
    (job,) = committed.changed
    assert (job.id, job.status.value, job.attempt) == (job_id, "running", 1)
    assert summary_of(job, None)["progress"] == {
        "fraction": 0.5,
        "message": "b",
        "at": text(NOW + 2),
        "told": 2,
    }


def test_notes_that_came_before_are_not_written_again(store: Store) -> None:
    job_id = store.run_one()
    item = notes(job_id, note("a"), note("b", 0.5))
    store.commit(item)
    before = store.rows("SELECT * FROM job_logs"), store.attempts(job_id)
    committed = store.commit(item, notes(job_id, note("a")))
    assert (store.rows("SELECT * FROM job_logs"), store.attempts(job_id)) == before
    assert (committed.answers, committed.lines, committed.changed) == ((None, None), (), ())
    assert before[1][0]["noted"] == 2


def test_of_notes_that_came_in_part_the_rest_is_written(store: Store) -> None:
    job_id = store.run_one()
    store.commit(notes(job_id, note("a"), note("b")))
    store.commit(notes(job_id, note("b"), note("c"), note("d"), first=1))
    assert told(store, job_id) == ["a", "b", "c", "d"]
    assert store.attempts(job_id)[0]["noted"] == 4


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=12))
def test_however_parts_overlap_each_note_is_written_once_and_in_order(
    store: Store, parts: list[tuple[int, int]]
) -> None:
    """Each part begins no later than where the last ended, as after a restart or a replay."""
    job_id = store.run_one()
    journal = [note(f"n{number}") for number in range(12)]
    known = 0
    for begin, length in parts:
        first = min(begin, known)
        part = journal[first : first + length]
        store.commit(notes(job_id, *part, first=first))
        known = max(known, first + len(part))
    assert told(store, job_id) == [f"n{number}" for number in range(known)]
    store.commit(ends(job_id, COMPLETED))


def test_notes_that_come_again_after_the_end_are_not_written_again(store: Store) -> None:
    job_id = store.run_one()
    item = notes(job_id, note("a", 0.5))
    store.commit(item, ends(job_id, COMPLETED))
    store.commit(item)
    assert store.messages(job_id).count("Background job is at 50%: a") == 1


def test_each_attempt_counts_its_own_notes(store: Store) -> None:
    job_id = store.run_one()
    store.commit(notes(job_id, note("first", 0.9)), ends(job_id, FAILED))
    store.now += 5
    store.claim(Lanes(1))
    store.commit(notes(job_id, note("second"), number=2))
    assert told(store, job_id)[-1:] == ["second"]
    assert [row["noted"] for row in store.attempts(job_id)] == [1, 1]
    assert progress(store, job_id, 2) is None


@pytest.mark.parametrize(
    ("at", "stored"),
    [
        (inf, "9999-12-31T23:59:59.000000Z"),
        (1e18, "9999-12-31T23:59:59.000000Z"),
        (10**400, "9999-12-31T23:59:59.000000Z"),
        (-inf, "0001-01-01T00:00:00.000000Z"),
        (nan, text(NOW)),
    ],
    ids=["inf", "far", "huge", "-inf", "nan"],
)
def test_a_time_that_cannot_be_stored_is_held_within_what_can(store: Store, at: float, stored: str) -> None:
    job_id = store.run_one()
    committed = store.commit(notes(job_id, note("when", 0.5, at=at)))
    assert store.rows("SELECT created_at FROM job_logs WHERE id = 3") == [{"created_at": stored}]
    assert progress(store, job_id) == {"fraction": 0.5, "message": "when", "at": stored, "told": 1}
    assert [text(line.at) for line in committed.lines] == [stored]


@pytest.mark.parametrize(
    ("fraction", "stored"), [(-1, 0.0), (1.5, 1.0), (inf, 1.0), (-inf, 0.0), (nan, 0.0), (10**400, 1.0)]
)
def test_progress_is_held_between_nothing_and_all(store: Store, fraction: float, stored: float) -> None:
    job_id = store.run_one()
    (job,) = store.commit(notes(job_id, note("", fraction))).changed
    assert summary_of(job, None)["progress"]["fraction"] == stored
    assert progress(store, job_id) == {"fraction": stored, "message": "", "at": text(NOW + 1), "told": 1}


def test_a_note_that_utf_8_cannot_hold_is_stored_with_what_it_can(store: Store) -> None:
    job_id = store.run_one()
    store.commit(notes(job_id, note("bad \ud800 text", 0.5)), starts(job_id))
    assert store.messages(job_id)[2] == "Background job is at 50%: bad ? text"
    assert progress(store, job_id) == {
        "fraction": 0.5,
        "message": "bad ? text",
        "at": text(NOW + 1),
        "told": 1,
    }


def test_notes_of_no_job_or_no_attempt_cost_their_neighbours_nothing(store: Store) -> None:
    job_id = store.run_one()
    committed = store.commit(
        notes(99, note("a")),
        notes(job_id, note("b"), number=2),
        submission(asked()),
        notes(job_id, note("c")),
    )
    no_job, no_attempt, stored, good = committed.answers
    assert isinstance(no_job, JobNotFoundError)
    assert isinstance(no_attempt, ValueError)
    assert (stored, good) == ((Stored(2, created=True),), None)
    assert told(store, job_id) == ["c"]


def test_no_notes_change_nothing(store: Store) -> None:
    job_id = store.run_one()
    assert store.commit(notes(job_id)).answers == (None,)
    assert store.attempts(job_id)[0]["noted"] == 0


def test_a_job_is_read_with_the_progress_of_its_attempts(store: Store, reader: Reader) -> None:
    job_id = store.run_one()
    store.commit(notes(job_id, note("half", 0.5)))
    job = reader.job(job_id)
    assert job is not None
    (attempt,) = job.attempts
    assert attempt["progress"] == {"fraction": 0.5, "message": "half", "at": text(NOW + 1), "told": 1}
    assert "noted" not in attempt


def test_an_open_attempt_says_how_many_of_its_notes_are_recorded(store: Store, reader: Reader) -> None:
    job_id = store.run_one()
    assert [row["noted"] for row in reader.hosts.open_attempts()] == [0]
    store.commit(notes(job_id, note("a"), note("b"), note("c")))
    assert [row["noted"] for row in reader.hosts.open_attempts()] == [3]


def test_a_start_that_a_bug_refused_is_no_change(store: Store) -> None:
    job_id = store.run_one()
    committed = store.commit(starts(job_id, number=7))
    assert isinstance(committed.answers[0], IllegalFactError)
    assert committed.changed == ()
