"""Submitting to a real file: what is stored, ids, all or none, and idempotency keys."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

import pytest
from peewee import DatabaseError

from bgjob.errors import IdempotencyConflictError, InvalidParameterError, QueueFullError
from bgjob.words import Backoff, EntryType
from bgjobd.core.job import Call, RetryPolicy
from bgjobd.core.planner import Lanes
from bgjobd.store.committed import Committed, Stored
from bgjobd.store.items.daemons import Look
from bgjobd.store.items.item import Item
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.statements import of_entries
from tests.store.samples import (
    BOOT,
    COMPLETED,
    FAILED,
    NOW,
    Store,
    asked,
    cancels,
    ends,
    retries,
    starts,
    statements_run_on,
    submission,
    text,
)


def test_a_submitted_job_is_stored_with_all_that_was_given(store: Store) -> None:
    policy = RetryPolicy(5, 1.5, Backoff.EXPONENTIAL, 60.0)
    (job_id,) = store.submit(
        asked(
            parameters={"to": "user@example.com"},
            retry_count=2,
            policy=policy,
            queue="mail",
            priority=-3,
            timeout=60.5,
            scheduled_at=NOW + 30,
            idempotency_key="k",
            digest="d1",
            sensitive=("to", "subject"),
        )
    )
    assert store.job(job_id) == {
        "id": 1,
        "class_name": "myapp.jobs.ExampleJob",
        "method_name": "run",
        "parameters": '{"to":"user@example.com"}',
        "status": "pending",
        "retry_count": 2,
        "max_retries": 5,
        "retry_delay": 1.5,
        "backoff": "exponential",
        "max_retry_delay": 60.0,
        "queue": "mail",
        "priority": -3,
        "timeout": 60.5,
        "scheduled_at": "2024-12-04T14:32:23.000000Z",
        "started_at": None,
        "finished_at": None,
        "created_at": "2024-12-04T14:31:53.000000Z",
        "updated_at": "2024-12-04T14:31:53.000000Z",
        "cancel_requested_at": None,
        "idempotency_key": "k",
        "result": None,
        "error": None,
        "submitted_uid": 1000,
        "submitted_gid": 1001,
        "submitted_pid": 4321,
        "submitted_by_job": None,
        "schedule": None,
        "occurrence": None,
        "waits_for": 0,
        "failed_before": 0,
        "if_failed": None,
        "cancelled_after": None,
        "group_id": None,
        "takes": None,
        "expires_at": None,
        "unique_key": None,
        "key": None,
        "turn": 0,
        "waits_until": None,
        **dict.fromkeys(("carries", "steps", "step_bytes", "life", "emitted"), 0),
        "retry_count_at_submit": 2,
        **dict.fromkeys(
            ("waiting_on", "again_of", "review_since", "settled_at", "settled_uid", "host_wanted")
        ),
        **dict.fromkeys(("traceparent", "bulk", "labels")),
        "unique_while": None,
        "ready": 0,
        "crashes": 0,
        "request_digest": "d1",
        "sensitive": '["to","subject"]',
    }


def test_a_job_that_an_attempt_submitted_tells_so(store: Store) -> None:
    by = Submitter(1000, 1000, 17, job=12)
    store.commit(replace(submission(asked()), submitter=by))
    assert store.job(1)["submitted_by_job"] == 12
    assert store.messages(1) == ["Background job initiated, submitted by job 12"]


def test_a_submitted_job_comes_back_from_the_file_as_it_was(store: Store) -> None:
    given = asked(
        retry_count=1,
        policy=RetryPolicy(5, 0.1, Backoff.EXPONENTIAL, 1e9),
        priority=2**63 - 1,
        timeout=0.001,
        scheduled_at=NOW + 0.5,
        idempotency_key="k",
        parameters={"password": "hunter2"},
        sensitive=("password", "é"),
    )
    store.submit(given)
    store.now += 1
    (claim,) = store.claim(Lanes(1))
    for name in ("call", "retry_count", "policy", "queue", "priority", "timeout", "scheduled_at"):
        assert getattr(claim.job, name) == getattr(given, name)
    assert claim.job.call.sensitive == ("password", "é")
    assert (claim.job.created_at, claim.job.idempotency_key) == (NOW, "k")


def test_parameters_are_stored_as_the_text_they_came_in(store: Store) -> None:
    parameters = {"text": "a\x00b\u2028'\";DROP TABLE job_logs;--", "deep": [[{"n": 2**63 - 1}]], "é": "🦊"}
    (job_id,) = store.submit(asked(parameters=parameters))
    assert json.loads(store.job(job_id)["parameters"]) == parameters


def test_the_log_of_a_submit_holds_the_job_as_its_context(store: Store) -> None:
    committed = store.commit(submission(asked(parameters={"to": "user@example.com"}, retry_count=2)))
    (line,) = committed.lines
    assert (line.at, line.type, line.message, line.job_id, line.attempt, line.target) == (
        NOW,
        EntryType.SUCCESS,
        "Background job initiated",
        1,
        None,
        "myapp.jobs.ExampleJob::run",
    )
    (row,) = store.rows("SELECT * FROM job_logs")
    assert row["context"] == line.context
    assert (row["job_id"], row["attempt"], row["type"], row["created_at"]) == (1, None, "success", text(NOW))
    context = json.loads(row["context"])
    assert context["parameters"] == {"to": "user@example.com"}
    assert (context["id"], context["status"], context["retry_count"]) == (1, "pending", 2)


def test_a_sensitive_value_is_in_no_entry_of_the_log(store: Store) -> None:
    secret = asked(parameters={"to": "ann", "password": "hunter2"}, sensitive=("password",))
    committed = store.commit(submission(secret), lanes=Lanes(1))
    committed_later = store.commit(starts(1), ends(1, FAILED))
    rows = store.rows("SELECT * FROM job_logs")
    shown = [json.loads(row["context"])["parameters"] for row in rows if row["context"]]
    assert shown == [{"to": "ann", "password": "***"}] * 2
    assert "hunter2" not in repr([rows, committed.lines, committed_later.lines])
    assert json.loads(committed.claims[0].job.call.parameters)["password"] == "hunter2"


def test_many_are_stored_in_order_and_answered_in_order(store: Store) -> None:
    answer = store.answer(submission(*(asked(priority=number) for number in range(5))))
    assert answer == tuple(Stored(number, created=True) for number in range(1, 6))
    assert [store.job(number)["priority"] for number in range(1, 6)] == [0, 1, 2, 3, 4]


def test_submissions_of_one_batch_do_not_share_ids(store: Store) -> None:
    committed = store.commit(submission(asked(), asked()), submission(asked()), submission(asked()))
    assert [[one.id for one in answer] for answer in committed.answers] == [[1, 2], [3], [4]]


def test_an_empty_submission_stores_nothing(store: Store) -> None:
    assert store.answer(submission()) == ()
    assert store.count("background_jobs") == 0


def test_ids_are_never_used_again_after_the_newest_job_is_deleted(store: Store) -> None:
    store.submit(asked(), asked(), asked())
    store.database.execute_sql("DELETE FROM background_jobs WHERE id >= 2")
    assert store.submit(asked()) == [4]
    store.database.execute_sql("DELETE FROM background_jobs")
    store.close()
    store.open()
    assert store.submit(asked()) == [5]


def test_the_same_key_with_the_same_call_is_the_same_job(store: Store) -> None:
    (job_id,) = store.submit(asked(idempotency_key="k", parameters={"n": 1}))
    again = asked(idempotency_key="k", parameters={"n": 1}, priority=9)
    assert store.answer(submission(again)) == (Stored(job_id, created=False),)
    assert store.count("background_jobs") == 1
    assert store.messages(job_id) == ["Background job initiated"]


def test_the_same_key_with_the_same_request_is_the_same_job_whatever_it_comes_to_now(store: Store) -> None:
    """A default of the configuration has changed meanwhile, and what it resolves to."""
    (job_id,) = store.submit(asked(idempotency_key="k", digest="d1", parameters={"n": 1}))
    again = asked(idempotency_key="k", digest="d1", parameters={"n": 1, "default": 2}, method="send")
    assert store.answer(submission(again)) == (Stored(job_id, created=False),)


def test_the_same_key_with_another_request_is_refused_though_it_calls_the_same(store: Store) -> None:
    (job_id,) = store.submit(asked(idempotency_key="k", digest="d1", priority=1))
    refused = store.answer(submission(asked(idempotency_key="k", digest="d2", priority=2)))
    assert isinstance(refused, IdempotencyConflictError)
    assert refused.parameters == {"id": job_id}


@pytest.mark.parametrize(
    ("stored", "given"), [(None, "d1"), ("d1", None), ("d1", "=d1"), ("=d1", "d1"), ("=d1", "=d1")]
)
def test_calls_are_compared_where_a_digest_does_not_tell_them(
    store: Store, stored: str | None, given: str | None
) -> None:
    (job_id,) = store.submit(asked(idempotency_key="k", digest=stored, parameters={"password": 1}))
    same = asked(
        idempotency_key="k", digest=given, parameters={"password": 1}, sensitive=("password",), priority=9
    )
    assert store.answer(submission(same)) == (Stored(job_id, created=False),)
    other = asked(idempotency_key="k", digest=given, parameters={"password": 2})
    assert isinstance(store.answer(submission(other)), IdempotencyConflictError)


def test_a_digest_that_does_not_tell_the_call_tells_what_else_is_asked_for(store: Store) -> None:
    store.submit(asked(idempotency_key="k", digest="=d1"))
    refused = store.answer(submission(asked(idempotency_key="k", digest="=d2")))
    assert isinstance(refused, IdempotencyConflictError)


def test_two_requests_with_one_key_in_one_submission_are_refused_by_the_place_of_the_second(
    store: Store,
) -> None:
    """Not by the id of the first, which is stored no more than the second."""
    first, other = asked(idempotency_key="k", digest="d1"), asked(idempotency_key="k", digest="d2")
    committed = store.commit(submission(asked(), first, asked(), other), submission(asked()))
    refused, after = committed.answers
    assert isinstance(refused, InvalidParameterError)
    assert refused.parameters == {"parameter": "jobs.3.options.idempotency_key"}
    assert after == (Stored(1, created=True),)
    assert [line.job_id for line in committed.lines] == [1]


def test_a_key_that_an_item_before_it_used_is_known_by_its_id(store: Store) -> None:
    committed = store.commit(
        submission(asked(idempotency_key="k", digest="d1")),
        submission(asked(idempotency_key="k", digest="d1")),
        submission(asked(idempotency_key="k", digest="d2")),
    )
    stored, again, refused = committed.answers
    assert (stored, again) == ((Stored(1, created=True),), (Stored(1, created=False),))
    assert isinstance(refused, IdempotencyConflictError)
    assert refused.parameters == {"id": 1}


def test_a_key_is_known_in_whatever_status_its_job_is(store: Store) -> None:
    job_id = store.run_one(idempotency_key="k")
    assert store.answer(submission(asked(idempotency_key="k"))) == (Stored(job_id, created=False),)


def test_the_same_key_twice_in_one_submission_makes_one_job(store: Store) -> None:
    one = asked(idempotency_key="k")
    assert store.answer(submission(one, asked(), one)) == (
        Stored(1, created=True),
        Stored(2, created=True),
        Stored(1, created=False),
    )


def test_jobs_without_a_key_are_never_taken_for_each_other(store: Store) -> None:
    assert store.submit(asked(), asked()) == [1, 2]


@pytest.mark.parametrize("other", [{"method": "send"}, {"parameters": {"n": 2}}])
def test_the_same_key_with_another_call_is_refused_with_the_id_of_its_job(
    store: Store, other: dict[str, object]
) -> None:
    (job_id,) = store.submit(asked(idempotency_key="k"))
    answer = store.answer(submission(asked(idempotency_key="k", **other)))
    assert isinstance(answer, IdempotencyConflictError)
    assert answer.parameters == {"id": job_id}
    assert store.count("background_jobs") == 1


def test_the_same_key_with_another_class_is_refused(store: Store) -> None:
    store.submit(asked(idempotency_key="k"))
    answer = store.answer(submission(asked(idempotency_key="k", call=Call("myapp.jobs.Other", "run", "{}"))))
    assert isinstance(answer, IdempotencyConflictError)


def test_a_submission_with_one_conflict_stores_none_of_its_jobs(store: Store) -> None:
    store.submit(asked(idempotency_key="k"))
    committed = store.commit(submission(asked(), asked(idempotency_key="k", method="send"), asked()))
    assert isinstance(committed.answers[0], IdempotencyConflictError)
    assert committed.lines == ()
    assert store.count("background_jobs") == 1
    assert store.count("job_logs") == 1


def test_a_refused_submission_costs_its_neighbours_nothing(store: Store) -> None:
    store.submit(asked(idempotency_key="k"))
    committed = store.commit(
        submission(asked(), asked()),
        submission(asked(), asked(idempotency_key="k", method="send")),
        submission(asked(idempotency_key="k")),
        submission(asked()),
        lanes=Lanes(10),
    )
    before, refused, repeated, after = committed.answers
    assert isinstance(refused, IdempotencyConflictError)
    assert before == (Stored(2, created=True), Stored(3, created=True))
    assert repeated == (Stored(1, created=False),)
    assert after == (Stored(4, created=True),)
    assert [claim.job.id for claim in committed.claims] == [1, 2, 3, 4]


@pytest.mark.parametrize("at", [253_402_304_399.0, -62_135_600_400.0], ids=["after 9999", "before year 1"])
def test_a_time_that_cannot_be_written_costs_its_neighbours_nothing(store: Store, at: float) -> None:
    """Such a time is what `"at": "9999-12-31T23:59:59-01:00"` comes to."""
    committed = store.commit(submission(asked()), submission(asked(scheduled_at=at)), submission(asked()))
    before, refused, after = committed.answers
    assert isinstance(refused, Exception)
    assert [before, after] == [(Stored(1, created=True),), (Stored(2, created=True),)]


def test_a_text_that_cannot_be_written_costs_its_neighbours_nothing(store: Store) -> None:
    committed = store.commit(submission(asked(queue="\ud800")), submission(asked()))
    refused, after = committed.answers
    assert isinstance(refused, Exception)
    assert after == (Stored(1, created=True),)


def test_attempts_carry_the_boots_id_and_a_token_each(store: Store) -> None:
    store.submit(asked(), asked())
    claims = store.commit(Look(), lanes=Lanes(2)).claims
    rows = [*store.attempts(1), *store.attempts(2)]
    assert [row["token"] for row in rows] == [claim.token for claim in claims]
    assert len({claim.token for claim in claims}) == 2
    assert all(len(claim.token) >= 16 for claim in claims)
    assert {row["boot_id"] for row in rows} == {BOOT}


# A queue that is full

THREE: Final = {"default": 3, "mail": 1}


def commit(store: Store, *items: Item, slots: int = 0) -> Committed:
    """With room for three pending jobs, and one of the queue mail."""
    return store.commit(*items, lanes=Lanes(slots, dict.fromkeys(THREE), max_pending=THREE))


def ids_of(answer: object) -> object:
    """The ids of the jobs that were stored; else the refusal's parameters."""
    if isinstance(answer, QueueFullError):
        return answer.parameters
    assert isinstance(answer, tuple), answer
    return [one.id for one in answer]


def test_a_submit_beyond_what_may_be_pending_is_refused_and_its_neighbours_are_not(store: Store) -> None:
    jobs = [submission(asked()) for _ in range(5)]
    committed = commit(store, *jobs[:4], submission(asked(queue="mail")), jobs[4])
    full = {"queue": "default", "limit": 3}
    assert [ids_of(answer) for answer in committed.answers] == [[1], [2], [3], full, [4], full]
    assert store.count("background_jobs") == 4
    assert committed.tally.jobs == {"pending": 4}
    assert [line.job_id for line in committed.lines] == [1, 2, 3, 4]


def test_of_many_jobs_that_do_not_all_fit_none_is_stored(store: Store) -> None:
    many = submission(*(asked() for _ in range(4)))
    mixed = submission(asked(), asked(queue="mail"), asked(queue="mail"))
    committed = commit(store, many, mixed, submission(*(asked() for _ in range(3))))
    assert [ids_of(answer) for answer in committed.answers] == [
        {"queue": "default", "limit": 3},
        {"queue": "mail", "limit": 1},
        [1, 2, 3],
    ]


def test_jobs_that_wait_for_their_time_are_pending_too(store: Store) -> None:
    commit(store, *(submission(asked(scheduled_at=NOW + 60)) for _ in range(3)))
    assert ids_of(commit(store, submission(asked())).answers[0]) == {"queue": "default", "limit": 3}


def test_what_has_left_the_queue_makes_room_even_in_the_same_transaction(store: Store) -> None:
    commit(store, *(submission(asked()) for _ in range(3)))
    committed = commit(store, cancels(1), submission(asked()), submission(asked()))
    assert [ids_of(answer) for answer in committed.answers[1:]] == [[4], {"queue": "default", "limit": 3}]
    commit(store, Look(), slots=1)
    assert ids_of(commit(store, submission(asked())).answers[0]) == [5]


def test_a_repeat_with_the_key_of_a_stored_job_is_answered_also_where_the_queue_is_full(store: Store) -> None:
    keyed = submission(asked(queue="mail", idempotency_key="k"))
    commit(store, keyed)
    assert commit(store, keyed, submission(asked(queue="mail"))).answers[0] == (Stored(1, created=False),)


def test_jobs_that_exist_come_back_into_a_full_queue(store: Store) -> None:
    commit(store, submission(asked(queue="mail")), slots=1)
    commit(store, submission(asked(queue="mail")))
    (retried,) = commit(store, ends(1, FAILED)).answers
    assert retried.status == "pending"
    commit(store, cancels(1), submission(asked(queue="mail")))
    ((again,),) = commit(store, retries(1)).answers
    assert again.status == "pending"
    assert store.count("background_jobs") == 2


def test_a_queue_stays_full_for_the_next_ledger(store: Store) -> None:
    commit(store, submission(asked(queue="mail")))
    store.close()
    store.open()
    refused, stored = commit(store, submission(asked(queue="mail")), submission(asked())).answers
    assert (ids_of(refused), ids_of(stored)) == ({"queue": "mail", "limit": 1}, [2])


def test_a_queue_with_more_pending_than_it_may_have_takes_none_until_there_are_less(store: Store) -> None:
    store.submit(*(asked() for _ in range(5)))
    assert ids_of(commit(store, submission(asked())).answers[0]) == {"queue": "default", "limit": 3}
    commit(store, Look(), slots=3)
    assert ids_of(commit(store, submission(asked())).answers[0]) == [6]


def test_a_transaction_that_fails_leaves_the_room_as_it_was(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(store, submission(asked()), submission(asked()))
    with monkeypatch.context() as broken:
        broken.setattr(of_entries, "INSERT_LOG", "INSERT INTO nowhere VALUES (1)")
        with pytest.raises(DatabaseError):
            commit(store, submission(asked()))
    committed = commit(store, submission(asked()), submission(asked()))
    assert [type(answer) for answer in committed.answers] == [tuple, QueueFullError]


def test_a_bound_costs_no_statement_a_submit(store: Store) -> None:
    def run_by(lanes: Lanes) -> list[str]:
        with statements_run_on(store.database) as run:
            store.commit(submission(asked()), submission(asked()), lanes=lanes)
        return [statement[:40] for statement in run]

    store.commit(submission(asked()), ends(1, COMPLETED))
    assert run_by(Lanes(0)) == run_by(Lanes(0, max_pending={"default": 1000}))
