"""What holds in every history of a job: all short ones, one by one, and long ones at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjob.words import Backoff, IfFailed, Outcome, Status, Throttle
from bgjobd.core.edges import Fate, Node, Of, Place, Standing, settled
from bgjobd.core.facts import (
    AttemptEnded,
    AttemptStarted,
    CancelRequested,
    ClockJumped,
    Fact,
    PredecessorMoved,
    RetryRequested,
    SlotGranted,
)
from bgjobd.core.job import Ending, Job, RetryPolicy
from bgjobd.core.state_machine import IllegalFactError, advance
from tests.core.samples import (
    BAD_ENDINGS,
    COMPLETED,
    CRASHED,
    FAILED,
    INTERRUPTED,
    LOST,
    NEVER_AGAIN,
    NOT_STARTED,
    NOW,
    SNOOZED,
    STOPPED,
    seeded,
    submitted,
)

FactOf = Callable[[Job], Fact]


def end(ending: Ending) -> FactOf:
    return lambda job: AttemptEnded(job.attempt, ending, NOW)


LEGAL: dict[Status, tuple[type[Fact], ...]] = {
    Status.PENDING: (SlotGranted, CancelRequested, ClockJumped),
    Status.RUNNING: (AttemptStarted, AttemptEnded, CancelRequested),
    Status.COMPLETED: (),
    Status.FAILED: (RetryRequested,),
    Status.CANCELLED: (RetryRequested,),
}

FEW_FACTS: list[FactOf] = [
    lambda job: SlotGranted(),
    lambda job: AttemptStarted(job.attempt, pid=4711, at=NOW),
    lambda job: CancelRequested(),
    lambda job: RetryRequested(),
    lambda job: ClockJumped(-3600.0),
    *(end(ending) for ending in (COMPLETED, FAILED, NEVER_AGAIN, INTERRUPTED, NOT_STARTED, SNOOZED)),
    end(CRASHED),
]


@dataclass(frozen=True)
class History:
    """A job as it stands, and what a second count, kept apart from the rules, allows it still."""

    job: Job
    given: int
    attempts_left: int
    is_cancel_wanted: bool = False
    crashes: int = 0

    @classmethod
    def begin(cls, policy: RetryPolicy, retry_count: int, scheduled_at: float | None = None) -> History:
        fact = submitted(policy=policy, retry_count=retry_count, scheduled_at=scheduled_at)
        return cls(advance(None, fact, NOW), retry_count, 1 + max(0, policy.max_retries - retry_count))

    def then(self, fact: Fact, now: float = NOW, jitter: float = 1.0) -> History:
        """The history with one more fact; asserts all that must hold of the step."""
        before, copy = self.job, Job(*self.job)
        if not isinstance(fact, LEGAL[before.status]):
            with pytest.raises(IllegalFactError):
                advance(before, fact, now, jitter)
            return self
        after = advance(before, fact, now, jitter)
        assert before == copy, "advance never mutates"
        assert advance(before, fact, now, jitter) == after, "the same arguments give the same job"
        self._assert_identity_stays(after)
        self._assert_numbers_go_up_by_one(fact, after)
        self._assert_retries_are_counted(fact, after)
        self._assert_time_is_kept(fact, now, after)
        assert (after.finished_at is not None) == after.status.is_final
        return self._counted(fact, after)

    def _assert_identity_stays(self, after: Job) -> None:
        for name in ("id", "call", "policy", "queue", "priority", "timeout", "created_at", "idempotency_key"):
            assert getattr(after, name) == getattr(self.job, name)

    def _assert_numbers_go_up_by_one(self, fact: Fact, after: Job) -> None:
        assert after.attempt == self.job.attempt + isinstance(fact, SlotGranted)
        if isinstance(fact, SlotGranted):
            assert self.attempts_left > 0, "attempts never exceed what was allowed"
            assert not self.is_cancel_wanted, "nothing starts once cancel was requested"

    def _assert_retries_are_counted(self, fact: Fact, after: Job) -> None:
        before = self.job
        assert after.retry_count <= max(after.policy.max_retries, self.given)
        match fact:
            case RetryRequested():
                assert (after.status, after.retry_count) == (Status.PENDING, 0)
            case AttemptEnded(ending=ending) if self.is_cancel_wanted:
                kept = Status.COMPLETED if ending.outcome is Outcome.COMPLETED else Status.CANCELLED
                assert (after.status, after.retry_count) == (kept, before.retry_count)
            case AttemptEnded(ending=ending) if ending.crash is not None and self.crashes == 2:
                assert (after.status, after.retry_count) == (Status.FAILED, before.retry_count)
            case AttemptEnded(ending=ending) if _is_free(ending, before):
                assert (after.status, after.retry_count) == (Status.PENDING, before.retry_count)
            case AttemptEnded(ending=ending) if ending.outcome is Outcome.COMPLETED:
                assert (after.status, after.retry_count) == (Status.COMPLETED, before.retry_count)
            case AttemptEnded(ending=ending) if ending.may_retry and self.attempts_left > 0:
                assert (after.status, after.retry_count) == (Status.PENDING, before.retry_count + 1)
            case AttemptEnded():
                assert (after.status, after.retry_count) == (Status.FAILED, before.retry_count)
            case _:
                assert after.retry_count == before.retry_count
        if self.is_cancel_wanted and not isinstance(fact, RetryRequested):
            assert after.status is not Status.PENDING, "cancel beats retry"

    def _assert_time_is_kept(self, fact: Fact, now: float, after: Job) -> None:
        before = self.job
        match fact:
            case ClockJumped(delta) if before.attempt > 0 and before.scheduled_at is not None:
                assert after == before.changed(scheduled_at=before.scheduled_at + delta)
            case ClockJumped():
                assert after == before
            case RetryRequested():
                assert after.scheduled_at is None
            case AttemptEnded() if after.status is Status.PENDING:
                assert after.scheduled_at is not None
                assert after.scheduled_at >= now
            case _:
                assert after.scheduled_at == before.scheduled_at

    def _counted(self, fact: Fact, after: Job) -> History:
        left, is_cancel_wanted, crashes = self.attempts_left, self.is_cancel_wanted, self.crashes
        match fact:
            case SlotGranted():
                left -= 1
            case AttemptEnded(ending=ending) if _is_free(ending, after):
                left += 1
            case CancelRequested():
                is_cancel_wanted = True
            case RetryRequested():
                left, is_cancel_wanted, crashes = 1 + after.policy.max_retries, False, 0
        match fact:
            case AttemptEnded(ending=ending) if ending.crash is not None:
                crashes += 1
            case AttemptEnded(ending=ending) if ending.outcome is not Outcome.NOT_STARTED:
                crashes = 0
        assert after.crashes == crashes <= 3
        return History(after, self.given, left, is_cancel_wanted, crashes)


def _is_free(ending: Ending, job: Job) -> bool:
    """Whether another attempt follows and costs nothing; what began is not repeated for who asked for no retries."""
    has_begun = ending.outcome not in (Outcome.NOT_STARTED, Outcome.SNOOZED)
    return ending.may_retry and not ending.spends_retry and not (has_begun and job.policy.max_retries == 0)


def histories(begun: History, facts: Sequence[FactOf], length: int) -> set[History]:
    """Every history of up to so many legal facts, after each of which all facts are tried. What leads to the same job
    and counts goes on in the same way: it is one.
    """
    found = latest = {begun}
    for _ in range(length):
        longer = {(one, one.then(fact_of(one.job))) for one in latest for fact_of in facts}
        latest = {after for one, after in longer if after is not one} - found
        found = found | latest
    return found


@pytest.mark.parametrize("retry_count", [0, 1, 3])
@pytest.mark.parametrize("max_retries", [0, 1, 2])
def test_every_short_history_keeps_the_rules(max_retries: int, retry_count: int) -> None:
    begun = History.begin(RetryPolicy(max_retries), retry_count)
    ends = {history.job.status for history in histories(begun, FEW_FACTS, length=7)}
    assert ends == set(Status)


@pytest.mark.parametrize("scheduled_at", [None, NOW + 60])
def test_every_short_history_of_a_job_with_a_time_keeps_the_rules(scheduled_at: float | None) -> None:
    begun = History.begin(RetryPolicy(max_retries=1), retry_count=0, scheduled_at=scheduled_at)
    assert len(histories(begun, FEW_FACTS, length=9)) > 600


delays = st.floats(0, 1e6)
jumps = st.integers(-(10**6), 10**6).map(float)
endings = st.one_of(
    st.sampled_from([*BAD_ENDINGS, NEVER_AGAIN, LOST, INTERRUPTED, NOT_STARTED, SNOOZED, STOPPED, COMPLETED]),
    st.just(CRASHED),
    st.builds(lambda delay: replace(FAILED, delay=delay), delays),
    st.builds(Ending.snoozed, delays),
    st.builds(Ending.throttled, delays, st.sampled_from(Throttle)),
)
ended = endings.map(end)
granted = st.just(FEW_FACTS[0])
others = st.one_of(
    st.sampled_from(FEW_FACTS), jumps.map(lambda delta: lambda job: ClockJumped(delta)), ended, granted
)
# So that long histories get somewhere: most facts come as they would in life, a slot and then an end.
attempts = st.builds(lambda ending: [FEW_FACTS[0], end(ending)], endings.filter(lambda e: e is not COMPLETED))
long_histories = st.lists(st.one_of(attempts, others.map(lambda fact: [fact])), min_size=20, max_size=120)
policies = st.builds(
    RetryPolicy,
    max_retries=st.integers(0, 100),
    retry_delay=delays,
    backoff=st.sampled_from(Backoff),
    max_retry_delay=delays,
)


@seeded
@given(policies, st.integers(0, 110), long_histories, st.floats(0, 1))
def test_long_histories_keep_the_rules(
    policy: RetryPolicy, retry_count: int, chapters: list[list[FactOf]], jitter: float
) -> None:
    history = History.begin(policy, retry_count)
    now = NOW
    for fact_of in [fact for chapter in chapters for fact in chapter]:
        now += 1
        history = history.then(fact_of(history.job), now, jitter)


@seeded
@given(st.integers(0, 100), st.integers(0, 110))
def test_a_job_that_always_fails_uses_up_its_attempts_and_no_more(max_retries: int, retry_count: int) -> None:
    history = History.begin(RetryPolicy(max_retries), retry_count)
    while history.job.status is Status.PENDING:
        history = history.then(SlotGranted())
        history = history.then(AttemptEnded(history.job.attempt, FAILED, NOW))
    assert history.job.status is Status.FAILED
    assert history.job.attempt == 1 + max(0, max_retries - retry_count)
    assert history.job.retry_count == max(max_retries, retry_count)


@seeded
@given(st.lists(st.sampled_from([NOT_STARTED, SNOOZED, INTERRUPTED]), max_size=50))
def test_attempts_that_cost_nothing_leave_all_retries(costing_nothing: list[Ending]) -> None:
    history = History.begin(RetryPolicy(max_retries=1), retry_count=0)
    for ending in [*costing_nothing, FAILED, *costing_nothing]:
        history = history.then(SlotGranted())
        history = history.then(AttemptEnded(history.job.attempt, ending, NOW))
    assert (history.job.status, history.job.retry_count) == (Status.PENDING, 1)
    assert history.job.attempt == 2 * len(costing_nothing) + 1


# What a job comes after


FATES = st.sampled_from([Fate.UNFINISHED, Fate.COMPLETED, Fate.FAILED, Fate.CANCELLED])


@seeded
@given(
    st.sampled_from(IfFailed),
    st.lists(FATES, min_size=1, max_size=4),
    st.lists(
        st.one_of(st.tuples(st.integers(0, 3), FATES), st.sampled_from([CancelRequested, RetryRequested])),
        max_size=20,
    ),
)
def test_a_job_counts_its_edges_and_stands_as_they_do_whatever_becomes_of_its_predecessors(
    policy: IfFailed, begun: list[Fate], happenings: list[tuple[int, Fate] | type[Fact]]
) -> None:
    """Predecessors end, and are retried, in any order; a person cancels, and retries anyway."""
    edges = [Standing.OPEN] * len(begun)
    job = advance(None, submitted(place=Place(len(edges), policy)), NOW)
    is_unwanted = False
    for happening in [*enumerate(begun), *happenings]:
        if isinstance(happening, tuple):
            place, fate = happening[0] % len(edges), happening[1]
            before, edges[place] = edges[place], settled(edges[place], fate, policy)
            if edges[place] is not before:
                job = advance(job, PredecessorMoved(Node(Of.JOB, place), before, edges[place], fate), NOW)
        elif happening is CancelRequested and job.status is Status.PENDING:
            job, is_unwanted = advance(job, CancelRequested(), NOW), True
        elif happening is RetryRequested and job.status is Status.CANCELLED:
            job, is_unwanted = advance(job, RetryRequested(True, edges.count(Standing.FAILED)), NOW), False
            edges = [Standing.MET if one is Standing.FAILED else one for one in edges]
        failed = edges.count(Standing.FAILED) if policy is IfFailed.CANCEL else 0
        assert job.waits_for == len(edges) - edges.count(Standing.MET)
        assert job.failed_before == failed
        assert job.status is (Status.CANCELLED if failed or is_unwanted else Status.PENDING)
        assert (job.cancelled_after is not None) is (bool(failed) and not is_unwanted)
        assert (job.finished_at is not None) is job.status.is_final
