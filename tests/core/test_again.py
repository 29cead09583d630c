"""A job that calls again what another did, and a retry from the start: what each has of what was done before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjob.words import EntryType, IfHeld, Status
from bgjobd.core.facts import Again, Replaced, RetryRequested
from bgjobd.core.job import Carried
from bgjobd.core.log_entries import again_message, entries
from bgjobd.core.state_machine import advance
from bgjobd.core.unique import Unique, Verdict, verdict
from tests.core.samples import NOW, ended, pending, seeded, submitted

counts = st.integers(0, 10**6)
carried = st.builds(
    Carried,
    steps=counts,
    step_bytes=counts,
    life=counts,
    retry_count_at_submit=st.integers(0, 9),
    waiting_on=st.none(),
    emitted=counts,
)


@seeded
@given(st.none() | carried, st.sampled_from([Status.FAILED, Status.CANCELLED]), st.lists(st.booleans()))
def test_a_retry_keeps_what_the_job_did_unless_it_is_from_the_start(
    before: Carried | None, status: Status, how: list[bool]
) -> None:
    job = ended(status, carried=before, error="ValueError: x", retry_count=3)
    lives = 0 if before is None else before.life
    for from_start in how:
        after = advance(job, RetryRequested(from_start=from_start), NOW)
        lives += from_start
        if from_start:
            assert after.carried == Carried(life=lives)
        elif job.carried is not None:
            assert after.carried == job.carried._replace(retry_count_at_submit=0)
        else:
            assert after.carried is None
        assert (after.status, after.retry_count, after.is_to_carry) == (
            Status.PENDING,
            0,
            after.carried is not None and after.carried.steps > 0,
        )
        job = after.changed(status=status, finished_at=NOW)


def test_a_job_that_runs_another_again_has_the_steps_that_it_goes_on_behind() -> None:
    job = advance(None, submitted(retry_count=2, again=Again(3, "mail", 4, 17)), NOW)
    assert (job.again_of, job.carried) == (3, Carried(4, 17, 0, 2))
    assert job.is_to_carry
    job = advance(None, submitted(again=Again(3)), NOW)
    assert (job.again_of, job.carried) == (3, None)


@pytest.mark.parametrize(
    ("again", "told"),
    [
        (Again(3), "Background job is again of 3"),
        (Again(3, "mail", 1, 2), "Background job is again of 3, from step mail; 1 step is done"),
        (Again(3, "mail", 0), "Background job is again of 3, from step mail; 0 steps are done"),
    ],
)
def test_its_log_tells_whose_call_it_runs_again(again: Again, told: str) -> None:
    fact = submitted(again=again)
    (_, entry) = entries(None, fact, advance(None, fact, NOW))
    assert (entry.type, entry.message) == (EntryType.INFO, told)
    assert again_message(13, 1000) == "Background job runs again as 13, by uid 1000"
    assert again_message(13, None) == "Background job runs again as 13"


@pytest.mark.parametrize(("from_start", "how"), [(True, ", from the start"), (False, "")])
def test_the_log_tells_of_a_retry_from_the_start(from_start: bool, how: str) -> None:
    job, fact = ended(Status.FAILED), RetryRequested(from_start=from_start)
    (entry,) = entries(job, fact, advance(job, fact, NOW))
    assert entry.message == f"Background job retry requested{how}"


def test_no_other_call_takes_the_place_of_one_that_has_steps_of_another_job() -> None:
    unique = Unique("k", if_held=IfHeld.REPLACE)
    assert verdict(unique, pending(carried=Carried(steps=1)), may_replace=True) is Verdict.RETURNED
    assert verdict(unique, pending(again_of=3), may_replace=True) is Verdict.REPLACES
    after = advance(pending(again_of=3), Replaced(submitted(retry_count=1), None), NOW)
    assert after.carried == Carried(retry_count_at_submit=1)
