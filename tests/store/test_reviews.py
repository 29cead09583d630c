"""Jobs for review: as long as nobody says what one did nothing follows from its end, and what follows then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

import pytest

from bgjob.errors import (
    DuplicateError,
    InvalidParameterError,
    InvalidStateError,
    JobNotFoundError,
    NotForReviewError,
    TooLargeError,
)
from bgjob.words import MOST_STEP_BYTES, MOST_STEPS, IfFailed, Status, UniqueWhile
from bgjobd.core.edges import NewGroup, Node, Of, Take, Ties
from bgjobd.core.facts import RetryRequested, Settled, SettledAsCompleted, SettledAsFailed, StepSettled
from bgjobd.core.planner import Lanes
from bgjobd.core.schedules import Missed, Overlap, Rules
from bgjobd.store.audit import Audit
from bgjobd.store.committed import Deleted
from bgjobd.store.items.daemons import Look
from bgjobd.store.items.retention import Deletion, KeyTrimming
from bgjobd.store.items.submissions import Flow
from bgjobd.store.items.wishes import JobRequests, JobSettled
from bgjobd.store.reader import Reader
from bgjobd.store.retention import FIRST
from bgjobd.store.tally import counted
from tests.core.samples import UNKNOWN
from tests.store.flows import NEVER_AGAIN, after, flow, group, job
from tests.store.samples import (
    COMPLETED,
    FAILED,
    NOW,
    SUBMITTER,
    Store,
    asked,
    begun,
    cancels,
    does,
    done,
    ends,
    retries,
    signal,
    starts,
    text,
)
from tests.store.test_recent import Scene
from tests.store.test_schedules import FIRST as MINUTE
from tests.store.test_schedules import deal, define
from tests.store.test_tally import told
from tests.store.test_uniques import one, submit

ONE: Final = Lanes(1)
BY: Final = 1000
TOOK_EFFECT: Final = SettledAsCompleted(BY, '{"id":7}')
DID_NOT: Final = SettledAsFailed(BY, "the bank says no")
WORDS: Final = {"completed": TOOK_EFFECT, "failed": DID_NOT, "step": StepSettled(BY, "charge", "5")}


def settle(store: Store, job_id: int, fact: Settled) -> Any:
    return store.answer(JobSettled(job_id, fact))


def leave(store: Store, job_id: int, number: int = 1) -> None:
    """Have its attempt, which is claimed, end so that nobody knows what it did."""
    store.commit(starts(job_id, number), ends(job_id, UNKNOWN, number, at=store.now))


def for_review(store: Store, **given: Any) -> int:
    job_id = store.run_one(**given)
    leave(store, job_id)
    return job_id


def stands(store: Store, job_id: int) -> tuple[Any, ...]:
    row = store.job(job_id)
    return row["status"], row["review_since"] is not None, row["settled_at"], row["settled_uid"]


@pytest.fixture
def books(store: Store) -> Iterator[None]:
    """The books balance after the test, and what is carried along is what they have."""
    yield
    while store.count("consequences"):
        store.commit(Look())
    with closing(Audit(store.state_dir)) as audit:
        assert (audit.oddities(), audit.odd_groups()) == ((), ())
    tally, found = store.commit(Look()).tally, counted(store.database, store.now)
    assert told(tally, store.now) == told(found, store.now)
    assert tally.for_review == found.for_review


pytestmark = pytest.mark.usefixtures("books")


def test_a_job_for_review_has_failed_and_says_since_when(store: Store) -> None:
    job_id = for_review(store)
    row = store.job(job_id)
    assert (row["status"], row["error"]) == ("failed", UNKNOWN.error)
    assert (row["finished_at"], row["review_since"], row["settled_at"]) == (text(NOW), text(NOW), None)
    assert store.commit(Look()).tally.jobs["failed"] == store.commit(Look()).tally.for_review == 1


@pytest.mark.parametrize("word", WORDS)
def test_who_has_settled_it_and_when_is_kept(store: Store, word: str) -> None:
    job_id = for_review(store)
    store.now += 5
    settle(store, job_id, WORDS[word])
    status = {"completed": "completed", "failed": "failed", "step": "pending"}[word]
    assert stands(store, job_id) == (status, False, text(NOW + 5), BY)
    row = store.job(job_id)
    wanted = {
        "completed": ('{"id":7}', None, text(NOW + 5)),
        "failed": (None, "the bank says no", text(NOW + 5)),
        "step": (None, None, None),
    }
    assert (row["result"], row["error"], row["finished_at"]) == wanted[word]


def test_a_retry_is_an_answer_too_and_a_later_review_knows_nothing_of_an_earlier_one(store: Store) -> None:
    job_id = for_review(store)
    store.commit(retries(job_id), lanes=ONE)
    assert stands(store, job_id) == ("running", False, None, None)
    leave(store, job_id, number=2)
    settle(store, job_id, DID_NOT)
    store.commit(retries(job_id), lanes=ONE)
    leave(store, job_id, number=3)
    assert stands(store, job_id) == ("failed", True, None, None)


def test_a_step_that_was_settled_is_forgotten_too_however_soon(store: Store) -> None:
    job_id = for_review(store)
    from_start = JobRequests((job_id,), RetryRequested(from_start=True))
    step = JobSettled(job_id, WORDS["step"])
    store.commit(step, cancels(job_id), from_start, lanes=Lanes(0))
    assert (store.job(job_id)["steps"], store.count("job_steps")) == (0, 0)


@pytest.mark.parametrize("word", WORDS)
def test_nothing_but_what_is_for_review_can_be_settled(store: Store, word: str) -> None:
    failed, running = store.run_one(retry_count=3), store.run_one()
    store.commit(ends(failed, FAILED))
    (pending,) = store.submit(asked(queue="closed"))
    settled = for_review(store)
    settle(store, settled, DID_NOT)
    for job_id, status in (
        (failed, "failed"),
        (running, "running"),
        (pending, "pending"),
        (settled, "failed"),
    ):
        refused = settle(store, job_id, WORDS[word])
        assert isinstance(refused, NotForReviewError)
        assert refused.parameters == {"id": job_id, "status": status}
    assert isinstance(settle(store, 99, WORDS[word]), JobNotFoundError)


def test_it_has_ended_to_signals_and_cannot_be_cancelled(store: Store) -> None:
    job_id = for_review(store)
    refused = store.answer(signal(job_id))
    assert isinstance(refused, InvalidStateError)
    assert refused.parameters == {"id": job_id, "status": "failed"}


# What comes after it


def before_others(store: Store) -> int:
    """A job for review, and behind it one of each policy: 2, 3 and 4."""
    store.answer(flow(Ties(), *(after(job(0), if_failed=policy) for policy in IfFailed)))
    store.claim(ONE)
    leave(store, 1)
    return 1


def statuses(store: Store, *job_ids: int) -> list[tuple[str, int]]:
    return [(store.job(id)["status"], store.job(id)["waits_for"]) for id in job_ids]


def test_what_comes_after_it_waits_whatever_its_policy_until_a_person_has_said_it(store: Store) -> None:
    job_id = before_others(store)
    assert statuses(store, 2, 3, 4) == [("pending", 1)] * 3
    (later,) = (
        one.id for one in store.answer(Flow((asked(ties=Ties((Node(Of.JOB, job_id),))),), SUBMITTER)).jobs
    )
    assert statuses(store, later) == [("pending", 1)]


def test_what_is_submitted_in_the_very_transaction_of_its_end_waits_too(store: Store) -> None:
    job_id = store.run_one()
    behind = Flow((asked(ties=Ties((Node(Of.JOB, job_id),))),), SUBMITTER)
    store.commit(starts(job_id), ends(job_id, UNKNOWN), behind)
    assert statuses(store, 2) == [("pending", 1)]


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("completed", [("pending", 0)] * 3),
        ("failed", [("cancelled", 1), ("pending", 0), ("pending", 1)]),
        ("step", [("pending", 1)] * 3),
    ],
)
def test_then_it_follows_in_the_same_transaction(
    store: Store, word: str, found: list[tuple[str, int]]
) -> None:
    job_id = before_others(store)
    settle(store, job_id, WORDS[word])
    assert statuses(store, 2, 3, 4) == found


def test_a_result_that_a_person_tells_is_taken_as_any(store: Store) -> None:
    store.answer(flow(Ties(), Ties(takes=(Take("v", job(0), "/id"),))))
    store.claim(ONE)
    leave(store, 1)
    settle(store, 1, TOOK_EFFECT)
    assert store.job(2)["parameters"] == '{"v":7}'


@pytest.mark.parametrize(
    ("word", "found"), [("completed", (0, 1, 0)), ("failed", (0, 0, 1)), ("step", (1, 0, 0))]
)
def test_its_group_counts_it_as_unfinished_until_then(
    store: Store, word: str, found: tuple[int, int, int]
) -> None:
    store.answer(flow(Ties(group=group(0)), groups=[NewGroup()]))
    store.claim(ONE)
    leave(store, 1)

    def counts() -> tuple[int, int, int]:
        (row,) = store.rows("SELECT * FROM job_groups")
        assert (row["ended_at"] is None) == (row["unfinished"] > 0)
        return row["unfinished"], row["completed"], row["failed"]

    assert counts() == (1, 0, 0)
    settle(store, 1, WORDS[word])
    assert counts() == found


def test_the_retry_of_a_group_leaves_it_out(store: Store) -> None:
    store.answer(flow(Ties(group=group(0)), Ties(group=group(0)), groups=[NewGroup()]))
    store.claim(Lanes(2))
    store.commit(starts(1), ends(1, UNKNOWN), starts(2), ends(2, NEVER_AGAIN))
    with closing(Reader(store.state_dir)) as reader:
        assert [id for id, _ in reader.groups.retryable(1, 0, 10)] == [2]


# Its unique key


@pytest.mark.parametrize(
    ("word", "is_free"), [(None, False), ("completed", True), ("failed", True), ("step", False)]
)
def test_it_holds_its_unique_key_until_then(store: Store, word: str | None, is_free: bool) -> None:
    first = submit(store, one())
    assert not isinstance(first, Exception)
    store.claim(ONE)
    leave(store, first.id)
    again = submit(store, one())
    assert not isinstance(again, Exception)
    assert (again.id, again.created) == (first.id, False)
    if word is not None:
        settle(store, first.id, WORDS[word])
    third = submit(store, one())
    assert not isinstance(third, Exception)
    assert third.created == is_free


def test_a_key_whose_time_has_passed_stays_with_a_job_for_review(store: Store) -> None:
    first = submit(store, one(held_for=10.0))
    assert not isinstance(first, Exception)
    store.claim(ONE)
    leave(store, first.id)
    store.now += 60
    assert store.answer(KeyTrimming()).rows == 0
    settle(store, first.id, DID_NOT)
    assert store.count("unique_keys") == 0


def test_a_job_whose_key_another_has_by_now_does_not_go_on(store: Store) -> None:
    first = submit(store, one(holds_while=UniqueWhile.PENDING))
    assert not isinstance(first, Exception)
    store.claim(ONE)
    leave(store, first.id)
    second = submit(store, one(holds_while=UniqueWhile.PENDING))
    assert not isinstance(second, Exception)
    refused = settle(store, first.id, WORDS["step"])
    assert isinstance(refused, DuplicateError)
    assert (stands(store, first.id)[:2], store.count("job_steps")) == (("failed", True), 0)


# Deleted


def test_it_is_not_deleted_however_old_it_is(store: Store) -> None:
    job_id = for_review(store)
    other = for_review(store)
    settle(store, other, DID_NOT)
    store.submit(asked(queue="closed"))  # has the newest entry, which stays
    with closing(Reader(store.state_dir)) as reader:
        old = reader.old
        assert old.ended_before(Status.FAILED, NOW + 60, FIRST, 10) == [(text(NOW), other)]
        assert old.count_ended_before(Status.FAILED, NOW + 60) == 1
        assert old.oldest_end(Status.FAILED) == NOW
    deleted: Deleted = store.answer(Deletion((job_id, other), 10**9))
    assert (deleted.jobs, stands(store, job_id)[:2]) == ((other,), ("failed", True))
    with closing(Reader(store.state_dir)) as reader:
        assert reader.old.oldest_end(Status.FAILED) is None


def test_it_is_kept_from_when_a_person_has_settled_it(store: Store) -> None:
    job_id = for_review(store)
    store.now += 86_400
    settle(store, job_id, DID_NOT)
    with closing(Reader(store.state_dir)) as reader:
        assert reader.old.oldest_end(Status.FAILED) == NOW + 86_400


# Schedules


@pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.WAIT])
def test_its_schedule_goes_on(store: Store, overlap: Overlap) -> None:
    define(store, "nightly", is_new=True)
    rules = Rules(Missed.RUN_ALL, overlap)
    store.now = MINUTE
    deal(store, rules)
    (claim,) = store.claim(ONE)
    if overlap is Overlap.WAIT:
        store.now += 60
        deal(store, rules)
        assert statuses(store, 2) == [("pending", 1)]
    store.answer(Flow((asked(queue="closed", ties=Ties((Node(Of.JOB, 1),))),), SUBMITTER))
    leave(store, claim.job.id)
    if overlap is Overlap.SKIP:
        store.now += 60
        deal(store, rules)
    other, next_one = (3, 2) if overlap is Overlap.WAIT else (2, 3)
    assert [one.job.id for one in store.claim(ONE)] == [next_one]
    assert statuses(store, other) == [("pending", 1)]
    settle(store, 1, DID_NOT)
    assert statuses(store, 1, next_one, other) == [("failed", 0), ("running", 0), ("cancelled", 1)]


# A step


def test_a_step_that_a_person_has_settled_is_given_to_the_next_attempt(store: Store) -> None:
    job_id = store.run_one()
    store.commit(does(job_id, done("ask", "1"), begun("charge")))
    leave(store, job_id)
    store.now += 5
    settle(store, job_id, WORDS["step"])
    (claim,) = store.claim(ONE)
    steps = '"steps":[["ask","1",false],["charge","5",false]]'
    assert claim.carry == f'{{{steps},"waits":[],"state":null,"emitted":0}}'
    (row,) = store.rows("SELECT * FROM job_steps WHERE name = 'charge'")
    assert (row["number"], row["tries"], row["attempt"], row["by_uid"]) == (2, 1, 1, BY)
    assert (row["began_at"], row["finished_at"], row["result"]) == (text(NOW), text(NOW + 5), "5")
    assert (store.job(job_id)["steps"], store.job(job_id)["step_bytes"]) == (2, 2)


def test_a_step_that_no_attempt_has_come_to_can_be_settled(store: Store) -> None:
    job_id = for_review(store)
    settle(store, job_id, WORDS["step"])
    (row,) = store.rows("SELECT * FROM job_steps")
    assert (row["number"], row["tries"], row["began_at"], row["by_uid"]) == (1, 0, text(NOW), BY)


def test_a_step_that_is_finished_or_has_no_room_is_refused_and_all_stays_as_it_was(store: Store) -> None:
    job_id = store.run_one()
    notes = [done(f"s{number}", "1") for number in range(MOST_STEPS - 1)]
    store.commit(does(job_id, *notes, begun("last")))
    leave(store, job_id)
    for name in ("s7", "one too many"):
        refused = settle(store, job_id, StepSettled(BY, name, "5"))
        assert isinstance(refused, InvalidParameterError)
        assert refused.parameters == {"parameter": "step"}
    room = MOST_STEP_BYTES - (MOST_STEPS - 1)
    large = settle(store, job_id, StepSettled(BY, "last", "1" * (room + 1)))
    assert isinstance(large, TooLargeError)
    assert large.parameters == {"limit": MOST_STEP_BYTES, "size": MOST_STEP_BYTES + 1, "parameter": "result"}
    assert stands(store, job_id) == ("failed", True, None, None)
    settle(store, job_id, StepSettled(BY, "last", "1" * room))
    assert store.job(job_id)["steps"] == MOST_STEPS


# What is told


@pytest.mark.parametrize("word", [*WORDS, "retry"])
def test_what_is_known_of_recent_jobs_is_as_the_file_has_it(store: Store, word: str) -> None:
    scene = Scene(store)
    with closing(scene.reader):
        job_id = scene.submit()
        scene.run(Look(), starts(job_id), ends(job_id, UNKNOWN))
        scene.run(retries(job_id) if word == "retry" else JobSettled(job_id, WORDS[word]))


def test_what_a_hook_is_owed_is_known_once_it_is_settled_as_failed(store: Store) -> None:
    job_id = for_review(store)
    with closing(Reader(store.state_dir)) as reader:
        assert reader.failed_attempt(job_id, 1) is None
        settled = store.commit(JobSettled(job_id, DID_NOT)).settled
        assert [one.id for one in settled] == [job_id]
        found = reader.failed_attempt(job_id, 1)
    assert found is not None
    assert (found[1].outcome, found[1].error_message) == (UNKNOWN.outcome, "the bank says no")


def test_what_a_hook_is_owed_of_a_later_end_is_in_the_words_of_that(store: Store) -> None:
    job_id = for_review(store)
    settle(store, job_id, DID_NOT)
    store.now += 5
    store.commit(retries(job_id), lanes=ONE)
    store.commit(starts(job_id, 2), ends(job_id, NEVER_AGAIN, 2, at=store.now))
    with closing(Reader(store.state_dir)) as reader:
        found = reader.failed_attempt(job_id, 2)
    assert found is not None
    assert (found[1].outcome, found[1].error_message) == (NEVER_AGAIN.outcome, NEVER_AGAIN.error_message)


@pytest.mark.parametrize("word", ["completed", "step"])
def test_no_hook_is_owed_to_what_took_effect(store: Store, word: str) -> None:
    job_id = for_review(store)
    assert store.commit(JobSettled(job_id, WORDS[word])).settled == ()


def test_who_waits_hears_of_the_review_and_its_end_is_counted_once(store: Store) -> None:
    job_id = store.run_one()
    ended = store.commit(starts(job_id), ends(job_id, UNKNOWN)).ended
    assert [(one.id, one.is_for_review) for one in ended] == [(job_id, True)]
    assert store.commit(JobSettled(job_id, TOOK_EFFECT)).ended == ()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("SET review_since = NULL, status = 'completed', result = 'null'", "nor has anybody settled it"),
        (
            "SET status = 'cancelled', cancel_requested_at = finished_at",
            "it is cancelled, and for review as well",
        ),
        ("SET settled_at = finished_at", "it is for review, and somebody has settled it"),
    ],
)
def test_the_books_say_what_cannot_be(store: Store, change: str, found: str) -> None:
    for_review(store)
    before = store.rows("SELECT * FROM background_jobs")[0]
    store.database.execute_sql(f"UPDATE background_jobs {change}")
    with closing(Audit(store.state_dir)) as audit:
        (odd,) = audit.oddities()
    assert odd.told.endswith(found)
    names = ("review_since", "status", "result", "cancel_requested_at", "settled_at")
    given = ", ".join(f"{name} = ?" for name in names)
    store.database.execute_sql(f"UPDATE background_jobs SET {given}", [before[name] for name in names])


def test_a_job_that_completed_after_all_has_nothing_of_this(store: Store) -> None:
    job_id = for_review(store)
    settle(store, job_id, WORDS["step"])
    store.claim(ONE)
    store.commit(starts(job_id, 2), ends(job_id, COMPLETED, 2))
    assert stands(store, job_id) == ("completed", False, text(NOW), BY)
