"""The life of an attempt: each row of its table as an example, and what holds in every history."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjob.words import Outcome, Throttle
from bgjobd.core.attempt_life import (
    TABLE,
    Act,
    AttemptLife,
    EndTerms,
    Happening,
    IllegalSightError,
    State,
    advance,
    classify,
    lost_with_its_host,
)
from bgjobd.core.attempt_sights import (
    CallUnfit,
    CancelRecalled,
    EndRefused,
    EndSeen,
    EndSeenWithoutSpool,
    GraceEnded,
    JournalAppeared,
    JournalRead,
    KillOutlasted,
    LifeEnded,
    ProcessVanished,
    ResultJudged,
    ResultWaited,
    ServerEnded,
    Sight,
    SpoolRenewed,
    StackRead,
    StartAsked,
    StartRead,
    StartRefused,
    StopRecalled,
    StopRequested,
)
from bgjobd.core.facts import AttemptEnded
from bgjobd.core.job import Ending
from bgjobd.core.verdict import (
    JOURNAL_GONE,
    NOT_BEGUN,
    SPOOL_GONE,
    UNSEEN,
    StopReason,
    without_room,
    without_spool,
)
from tests.core.samples import COMPLETED, FAILED, LOST, NOW, seeded

UNFIT = Ending.failed("InvalidParameters", "rows: no list", may_retry=False)
RESTARTED = Ending.lost("the machine was restarted while it ran")
FENCED, OWN, NOTHING = JournalRead(False, True), JournalRead(True, False), JournalRead(False, False)
TERM = AttemptEnded(3, Ending.signalled(15), NOW)
WITHOUT_ROOM = without_room(1 << 20)

SIGHTS: tuple[Sight, ...] = (
    StartAsked(),
    StartRefused("no memory"),
    CallUnfit("rows: no list"),
    JournalAppeared(),
    StartRead(),
    ResultWaited(),
    *map(StopRequested, StopReason),
    StopRecalled(StopReason.TIMED_OUT),
    StopRecalled(StopReason.FENCED),
    CancelRecalled(),
    StackRead("it was sleeping"),
    GraceEnded(),
    KillOutlasted(),
    ServerEnded(None, False),
    ServerEnded("signal 11", False),
    ServerEnded(None, True),
    SpoolRenewed(),
    FENCED,
    OWN,
    NOTHING,
    replace(FENCED, is_process_gone=True),
    LifeEnded(RESTARTED),
    LifeEnded(RESTARTED, COMPLETED),
    LifeEnded(RESTARTED, is_fenced=True),
    EndSeen(AttemptEnded(3, COMPLETED, NOW), AttemptEnded(3, FAILED, NOW)),
    EndSeen(AttemptEnded(3, COMPLETED, NOW)),
    EndSeen(TERM),
    EndSeen(AttemptEnded(3, WITHOUT_ROOM, NOW)),
    EndSeenWithoutSpool(),
    ProcessVanished(None, None),
    ProcessVanished(COMPLETED, None),
    ProcessVanished(WITHOUT_ROOM, WITHOUT_ROOM),
    ResultJudged(FAILED),
    ResultJudged(None),
    EndRefused("a surrogate"),
)

BEGINNINGS = (
    AttemptLife(3),
    *(AttemptLife.left_behind(3, *given) for given in product((False, True), repeat=2)),
)


def after(life: AttemptLife, *sights: Sight) -> AttemptLife:
    for sight in sights:
        life, _ = advance(life, sight, NOW)
    return life


def acts(life: AttemptLife, sight: Sight) -> tuple[Act, ...]:
    return advance(life, sight, NOW)[1]


QUEUED, UNSETTLED, ORPHANED = AttemptLife(3), BEGINNINGS[1], BEGINNINGS[3]
ASKED = after(QUEUED, StartAsked())
RUNNING = after(ASKED, JournalAppeared(), StartRead())

# How it ends


@pytest.mark.parametrize(
    ("life", "sights", "state", "ending"),
    [
        (QUEUED, [StartRefused("no memory", 0.0)], State.GIVEN_BACK, "no memory"),
        (QUEUED, [StopRequested(StopReason.CANCELLED)], State.GIVEN_BACK, "it was stopped before"),
        (ASKED, [StartRefused("no memory")], State.GIVEN_BACK, "no memory"),
        (QUEUED, [CallUnfit("rows: no list")], State.ENDED, UNFIT),
        (RUNNING, [StartRefused("no memory")], State.LOST, JOURNAL_GONE),
        (ASKED, [ServerEnded(None, False), FENCED], State.GIVEN_BACK, NOT_BEGUN),
        (ASKED, [ServerEnded("signal 11", False), FENCED], State.GIVEN_BACK, "before it began (signal 11)"),
        (ASKED, [ServerEnded(None, True), FENCED], State.GIVEN_BACK, "did not answer, and was killed"),
        (ASKED, [ServerEnded(None, False), JournalAppeared(), FENCED], State.LOST, JOURNAL_GONE),
        (RUNNING, [ServerEnded(None, False), NOTHING], State.LOST, JOURNAL_GONE),
        (RUNNING, [ServerEnded(None, False), OWN, ProcessVanished(None, None)], State.LOST, UNSEEN),
        (RUNNING, [ServerEnded(None, False), OWN, EndSeen(TERM)], State.ENDED, Ending.signalled(15)),
        (RUNNING, [EndSeenWithoutSpool()], State.LOST, SPOOL_GONE),
        (RUNNING, [EndSeen(AttemptEnded(3, WITHOUT_ROOM, NOW))], State.LOST, WITHOUT_ROOM),
        (UNSETTLED, [FENCED], State.GIVEN_BACK, NOT_BEGUN),
        (UNSETTLED, [NOTHING], State.LOST, JOURNAL_GONE),
        (UNSETTLED, [SpoolRenewed(), FENCED], State.LOST, without_spool(is_gone=False, pid=None)),
        (
            ORPHANED,
            [SpoolRenewed(), replace(FENCED, is_process_gone=True)],
            State.LOST,
            without_spool(is_gone=True, pid=None),
        ),
        (UNSETTLED, [LifeEnded(RESTARTED)], State.LOST, RESTARTED),
        (UNSETTLED, [LifeEnded(RESTARTED, is_fenced=True)], State.GIVEN_BACK, NOT_BEGUN),
        (ORPHANED, [LifeEnded(RESTARTED, is_fenced=True)], State.LOST, RESTARTED),
        (ORPHANED, [LifeEnded(RESTARTED, COMPLETED)], State.ENDED, COMPLETED),
        (ORPHANED, [OWN, ProcessVanished(COMPLETED, None)], State.ENDED, COMPLETED),
    ],
)
def test_what_was_seen_decides_how_it_ended(
    life: AttemptLife, sights: list[Sight], state: State, ending: Ending | str
) -> None:
    ended = after(life, *sights)
    assert ended.state is state
    assert ended.ending is not None
    if isinstance(ending, str):
        assert ended.ending.error.endswith(ending)
    else:
        assert ended.ending == ending


def test_an_end_that_nobody_dated_is_dated_when_it_was_found_out() -> None:
    assert after(UNSETTLED, FENCED).ended == AttemptEnded(3, NOT_BEGUN, NOW)


def test_an_end_gets_the_name_of_what_caused_it() -> None:
    ended = after(RUNNING, StopRequested(StopReason.CANCELLED), EndSeen(TERM))
    assert (ended.state, ended.ending) == (State.ENDED, Ending.cancelled(TERM.ending))
    life, _ = advance(
        after(RUNNING, StopRequested(StopReason.TIMED_OUT)), EndSeen(TERM), NOW, lambda: EndTerms(60.0)
    )
    assert life.ending == Ending.timed_out(60.0, TERM.ending)


def test_whom_an_attempt_keeps_from_starting_is_its_classs_to_say_and_its_keys() -> None:
    def ending(of: Throttle, **said: bool) -> Ending | None:
        seen = EndSeen(AttemptEnded(3, Ending.throttled(60.0, of), NOW))
        return advance(RUNNING, seen, NOW, lambda: EndTerms(**said))[0].ending

    assert ending(Throttle.CLASS) == Ending.throttled(60.0, Throttle.CLASS)
    held = ending(Throttle.CLASS, may_throttle=False)
    assert held == replace(Ending.snoozed(60.0), throttles=Throttle.JOB)
    failed = ending(Throttle.KEY, has_key=False)
    assert failed is not None
    assert failed.outcome is Outcome.FAILED


def test_an_attempt_that_completes_though_it_was_told_to_stop_has_completed() -> None:
    seen = EndSeen(AttemptEnded(3, COMPLETED, NOW))
    assert after(RUNNING, StopRequested(StopReason.CANCELLED), GraceEnded(), seen).ending == COMPLETED


def test_where_it_was_is_told_of_an_attempt_whose_time_was_up_and_of_no_other() -> None:
    seen = EndSeen(AttemptEnded(3, Ending.signalled(15), NOW))
    timed_out = after(RUNNING, StopRequested(StopReason.TIMED_OUT), StackRead("there"), seen).ending
    assert timed_out is not None
    assert timed_out.traceback == "there"
    cancelled = after(RUNNING, StackRead("there"), StopRequested(StopReason.CANCELLED), seen).ending
    assert cancelled is not None
    assert cancelled.traceback is None


@pytest.mark.parametrize("life", [ASKED, RUNNING, ORPHANED], ids=lambda life: life.state)
def test_a_fork_server_that_fenced_an_attempt_tells_so_with_its_end(life: AttemptLife) -> None:
    over = after(life, StopRecalled(StopReason.FENCED), EndSeen(TERM))
    assert over.ending is not None
    assert (over.ending.outcome, over.ending.signal) == (Outcome.LOST, 15)
    completed = after(life, StopRecalled(StopReason.FENCED), EndSeen(AttemptEnded(3, COMPLETED, NOW)))
    assert completed.ending == COMPLETED


def test_an_attempt_that_nobody_was_asked_for_is_given_back_by_a_host_that_is_cut_off() -> None:
    assert after(QUEUED, StopRequested(StopReason.FENCED)).state is State.GIVEN_BACK


def test_a_result_that_is_none_leaves_what_the_process_came_to() -> None:
    without, exited = AttemptEnded(3, Ending.exited(0), NOW), EndSeen(AttemptEnded(3, COMPLETED, NOW))
    assert after(RUNNING, replace(exited, otherwise=without), ResultJudged(None)).ended == without
    lost = after(RUNNING, exited, ResultJudged(None))
    assert (lost.state, lost.ending) == (State.LOST, UNSEEN)
    assert after(RUNNING, exited, ResultJudged(FAILED)).ended == AttemptEnded(3, FAILED, NOW)


def test_an_end_that_cannot_be_stored_is_lost_and_that_is_final() -> None:
    refused = after(RUNNING, EndSeen(TERM), EndRefused("a surrogate"))
    assert refused.state is State.LOST
    assert refused.ending == Ending.lost("its end could not be stored: a surrogate", may_retry=False)
    assert advance(refused, EndRefused("once more"), NOW) == (refused, ())


@pytest.mark.parametrize("sights", [[ServerEnded(None, False), NOTHING], [EndSeenWithoutSpool()]])
def test_an_end_that_is_lost_already_and_cannot_be_stored_is_told_once_more(sights: list[Sight]) -> None:
    over = after(RUNNING, *sights)
    assert over.state is State.LOST
    assert acts(over, EndRefused("a surrogate")) == (Act.TELL_END,)
    refused = after(over, EndRefused("a surrogate"))
    assert refused.ending == Ending.lost("its end could not be stored: a surrogate", may_retry=False)
    assert acts(refused, EndRefused("once more")) == ()


@pytest.mark.parametrize("reason", StopReason)
def test_a_stop_after_the_end_does_not_change_what_it_comes_to(reason: StopReason) -> None:
    over = after(RUNNING, EndSeen(AttemptEnded(3, COMPLETED, NOW)), StopRequested(reason))
    assert after(over, ResultJudged(FAILED)).ending == FAILED
    assert after(over, EndRefused("a surrogate")).state is State.LOST
    assert over.stop_reason is None


# What is to be done


def test_a_stop_is_sent_once_the_attempt_is_there() -> None:
    stop = StopRequested(StopReason.CANCELLED)
    assert acts(RUNNING, stop) == (Act.WARN, Act.TERMINATE)
    assert acts(ASKED, stop) == (Act.WARN, Act.LOOK_FOR_START)
    begun = after(ASKED, stop, JournalAppeared())
    assert (begun.sent, acts(begun, StartRead())) == (None, (Act.TERMINATE,))
    assert after(begun, StartRead()).sent == "TERM"
    assert after(begun, StartRead(), GraceEnded()).sent == "KILL"


def test_only_the_first_reason_counts_and_a_shutdown_shortens_the_grace() -> None:
    stopped = after(RUNNING, StopRequested(StopReason.TIMED_OUT))
    assert acts(stopped, StopRequested(StopReason.CANCELLED)) == ()
    assert acts(stopped, StopRequested(StopReason.SHUTDOWN)) == (Act.TERMINATE,)
    assert after(stopped, StopRequested(StopReason.SHUTDOWN)).stop_reason is StopReason.TIMED_OUT


def test_a_cancel_that_perhaps_nobody_told_is_told_to_the_attempt_that_is_found() -> None:
    assert acts(ORPHANED, CancelRecalled()) == (Act.WARN,)
    assert acts(ORPHANED, StopRecalled(StopReason.CANCELLED)) == ()
    assert acts(after(ORPHANED, CancelRecalled()), OWN) == (Act.WATCH,)
    assert acts(after(ORPHANED, CancelRecalled(), OWN), StartRead()) == (Act.TERMINATE,)


@pytest.mark.parametrize(
    ("life", "sight", "expected"),
    [
        (RUNNING, StartRead(), (Act.LIMIT,)),
        (RUNNING, ServerEnded(None, False), (Act.SETTLE,)),
        (UNSETTLED, OWN, (Act.WATCH,)),
        (RUNNING, KillOutlasted(), (Act.TELL_UNKILLABLE,)),
        (RUNNING, EndSeen(TERM), (Act.TELL_END,)),
    ],
)
def test_what_was_seen_tells_what_is_to_be_done(
    life: AttemptLife, sight: Sight, expected: tuple[Act, ...]
) -> None:
    assert acts(life, sight) == expected


# The table


@pytest.mark.parametrize("pair", TABLE, ids=lambda pair: f"{pair[0]}, {pair[1]}")
def test_each_row_is_met_by_some_history(pair: tuple[State, Happening]) -> None:
    assert pair in {(life.state, classify(life, sight)) for life, sight, _ in steps()}


def test_each_pair_that_is_not_in_the_table_is_refused() -> None:
    refused = [(life, sight) for life, sight, then in steps() if then is None]
    assert refused
    assert all((life.state, classify(life, sight)) not in TABLE for life, sight in refused)


def test_what_is_refused_is_told_with_the_state() -> None:
    with pytest.raises(IllegalSightError, match=r"attempt 3, queued, cannot be seen so: GraceEnded"):
        advance(QUEUED, GraceEnded(), NOW)


# What holds in every history


@cache
def steps() -> list[tuple[AttemptLife, Sight, AttemptLife | None]]:
    """Attempts that histories lead to, one for all that differ in nothing that the rules ask for, with each sight and
    the attempt after it.
    """
    found, known, new = [], set[object](), list(BEGINNINGS)
    while new:
        life = new.pop()
        for sight in SIGHTS:
            then = step(life, sight)
            found.append((life, sight, then))
            if then is not None and _as_asked(then) not in known:
                known.add(_as_asked(then))
                new.append(then)
    return found


def _as_asked(life: AttemptLife) -> object:
    outcome = None if life.ending is None else life.ending.outcome
    return life.state, life.stop_reason, life.is_bereft, outcome, life.otherwise is None


def step(life: AttemptLife, sight: Sight) -> AttemptLife | None:
    try:
        return advance(life, sight, NOW)[0]
    except IllegalSightError:
        return None


def test_every_step_keeps_what_holds_of_attempts() -> None:
    for life, sight, then in steps():
        if then is not None:
            check(life, sight, then)


@given(st.sampled_from(BEGINNINGS), st.lists(st.sampled_from(SIGHTS), max_size=30))
@seeded
def test_every_history_ends_once_at_most(life: AttemptLife, sights: list[Sight]) -> None:
    told = 0
    for sight in sights:
        try:
            then, to_do = advance(life, sight, NOW)
        except IllegalSightError:
            continue
        is_correction = isinstance(sight, EndRefused | ResultJudged)
        told += Act.TELL_END in to_do and not is_correction
        check(life, sight, then)
        life = then
    assert told == life.state.is_final


def check(life: AttemptLife, sight: Sight, then: AttemptLife) -> None:
    """What holds of every step, by a second reading of the rules that knows no table."""
    assert then.number == life.number
    assert (then.ended is not None) == then.state.is_final
    assert then.stop_reason == life.stop_reason or life.stop_reason is None
    assert then.is_bereft >= life.is_bereft
    if life.state.is_final:
        assert then.state.is_final
        is_correction = isinstance(sight, EndRefused | ResultJudged)
        assert then._replace(is_bereft=life.is_bereft) == life or is_correction
    if then.state is State.GIVEN_BACK:
        # Who may have begun is not given back, which would have it begin again at once.
        assert life.state in (State.GIVEN_BACK, State.QUEUED, State.OBSTRUCTED, State.ASKED, State.UNSETTLED)
        assert then.ending is not None
        assert (then.ending.outcome, then.ending.spends_retry) == (Outcome.NOT_STARTED, False)
    if then.state is State.LOST:
        assert then.ending is not None
        assert then.ending.outcome in (Outcome.LOST, Outcome.CANCELLED, Outcome.TIMED_OUT)
    if life.is_bereft and isinstance(sight, JournalRead) and sight.is_fenced and not life.state.is_final:
        # Nobody knows that it has not begun: it is repeated only if its process is gone.
        assert then.state is State.LOST
        assert then.ending is not None
        assert sight.is_process_gone or not then.ending.may_retry
    if then.sent != life.sent:
        assert then.stop_reason is not None or isinstance(sight, GraceEnded)


def test_lost_alone_is_told_as_lost() -> None:
    for _, _, then in steps():
        if then is not None and then.ending is not None and then.stop_reason is None:
            assert (then.ending.outcome is Outcome.LOST) == (then.state is State.LOST)
    assert after(UNSETTLED, LifeEnded(LOST)).state is State.LOST


LOST_WITH_ITS_HOST = Ending.lost("host web2, where it ran, counts as lost")


@pytest.mark.parametrize(
    ("terms", "ending"),
    [
        (EndTerms(), LOST_WITH_ITS_HOST),
        (EndTerms(retry_lost=False), replace(LOST_WITH_ITS_HOST, may_retry=False)),
        (EndTerms(retry_on=[Outcome.FAILED]), replace(LOST_WITH_ITS_HOST, may_retry=False)),
        (EndTerms(reviews=True), replace(LOST_WITH_ITS_HOST, for_review=True)),
    ],
)
def test_with_its_host_an_attempt_is_lost_and_its_class_says_what_follows(
    terms: EndTerms, ending: Ending
) -> None:
    assert lost_with_its_host(3, "web2", NOW, terms) == AttemptEnded(3, ending, NOW)
