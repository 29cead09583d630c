"""The life of an attempt as one table: which sight leads where, to its end or to being lost; no I/O, no clock.

`advance` is the only door. What was seen is first classified as a happening, which depends on the attempt (whether its
stop was asked for before, whether the spool was lost), then looked up; a pair that is not in the table is a bug of ours
and raises IllegalSightError. Whoever looks and acts does so elsewhere: here it is decided that one is given back,
lost or stopped. The wish to stop it is no state: an attempt that was told to stop may complete all the same.

Of another host's attempt nothing is seen but that the host counts as lost: `lost_with_its_host` is how it has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from bgjob.words import Outcome
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
from bgjobd.core.job import MOST_CRASHES, Ending
from bgjobd.core.verdict import (
    JOURNAL_GONE,
    NO_CAPS,
    NOT_BEGUN,
    SPOOL_GONE,
    UNSEEN,
    Caps,
    StopReason,
    by_limit,
    settle_throttle,
    unbegun,
    verdict,
    without_spool,
)


class State(StrEnum):
    """Where an attempt stands, by who will tell how it ended."""

    QUEUED = "queued"
    """Claimed; no fork server was asked for it."""
    OBSTRUCTED = "obstructed"
    """The same, and somebody has put a file into its journal's place."""
    ASKED = "asked"
    """A fork server was asked for it, and will report on it; its journal is not there."""
    RUNNING = "running"
    """Its journal was there; its fork server will report on it."""
    UNSETTLED = "unsettled"
    """Nobody will report on it, and whether it has begun is not known."""
    ORPHANED = "orphaned"
    """It has begun, and nobody will report on it: its process is watched from here."""
    GIVEN_BACK = "given_back"
    """It has not begun, and never will."""
    LOST = "lost"
    """How it ended is not known."""
    ENDED = "ended"
    """It has ended in a way that is known."""

    @property
    def has_begun(self) -> bool:
        """Whether its journal was there, as long as its end is not known."""
        return self in _BEGUN

    @property
    def is_unasked(self) -> bool:
        """Whether no fork server was asked for it."""
        return self in (State.QUEUED, State.OBSTRUCTED)

    @property
    def is_final(self) -> bool:
        return self in _FINAL


_BEGUN: Final = frozenset({State.OBSTRUCTED, State.RUNNING, State.ORPHANED})
_FINAL: Final = frozenset({State.GIVEN_BACK, State.LOST, State.ENDED})


class Act(StrEnum):
    """What is to be done about an attempt."""

    LIMIT = "have it stopped at its deadline"
    WARN = "leave word of why it is stopped"
    LOOK_FOR_START = "look whether it has begun"
    TERMINATE = "send SIGTERM, and come back after the grace"
    KILL = "send SIGKILL, and come back if it does not end"
    TELL_UNKILLABLE = "tell that it does not end"
    SETTLE = "look what the spool tells, once it is decided whether it starts"
    WATCH = "watch its process"
    TELL_END = "store how it ended"


class AttemptLife(NamedTuple):
    """An attempt as the rules see it; `ended` is None until its end is known.

    `sent` is the signal that was sent last to stop it. `is_waiting`: its method has returned, and its result found no
    room. `is_bereft`: the spool was made again since it was asked for, without its journal. `unbegun`: how it has ended
    should it turn out not to have begun. `otherwise`: how, should its long result be none. `is_refused`: its end could
    not be stored, and is told once more, as lost. `where` it was before it was told to stop, as text.
    """

    number: int
    state: State = State.QUEUED
    stop_reason: StopReason | None = None
    sent: str | None = None
    is_waiting: bool = False
    is_bereft: bool = False
    unbegun: Ending = NOT_BEGUN
    ended: AttemptEnded | None = None
    otherwise: AttemptEnded | None = None
    is_refused: bool = False
    where: str | None = None

    @classmethod
    def left_behind(cls, number: int, has_begun: bool, is_bereft: bool) -> AttemptLife:
        """One of an earlier daemon; `has_begun` as far as the database knows."""
        return cls(number, State.ORPHANED if has_begun else State.UNSETTLED, is_bereft=is_bereft)

    @property
    def ending(self) -> Ending | None:
        return None if self.ended is None else self.ended.ending


@dataclass(frozen=True, slots=True)
class EndTerms:
    """What a class's policy and the job say of an attempt's end; `timeout` in seconds, `has_key`: the job has one.
    `reviews`: where nobody knows what it did, a person is to say it. After so many `crashes` in a row the job is given
    up; None: whatever it takes.
    """

    timeout: float | None = None
    caps: Caps = NO_CAPS
    retry_lost: bool = True
    retry_on: Collection[Outcome] | None = None
    reviews: bool = False
    crashes: int | None = MOST_CRASHES
    may_throttle: bool = True
    has_key: bool = True


class IllegalSightError(Exception):
    """An attempt cannot have been seen so in its state: a bug, never a job's doing."""

    def __init__(self, life: AttemptLife, sight: Sight) -> None:
        self.life, self.sight = life, sight
        # Not the sight itself, which may hold what the job has returned.
        super().__init__(f"attempt {life.number}, {life.state}, cannot be seen so: {type(sight).__name__}")


class Happening(StrEnum):
    """What a sight means to the attempt that was seen."""

    START_ASKED = "fork server asked"
    NOT_STARTED = "start refused"
    JOURNAL_APPEARED = "journal appeared"
    STARTED = "start read"
    STARTED_LATE = "start read after stop"
    RESULT_WAITED = "result waits for room"
    STOPPED = "stop requested"
    STOPPED_AGAIN = "stop requested again"
    HURRIED = "shutdown after stop"
    STOP_RECALLED = "stop was requested"
    CANCEL_RECALLED = "cancel was requested"
    STACK_READ = "looked at"
    GRACE_ENDED = "grace over"
    KILL_OUTLASTED = "still there after SIGKILL"
    SERVER_ENDED = "fork server gone"
    SPOOL_RENEWED = "spool renewed"
    FENCED = "fenced"
    JOURNAL_FOUND = "own journal found"
    JOURNAL_GONE = "journal gone"
    SPOOL_GONE = "spool gone"
    SPOOL_AND_PROCESS_GONE = "spool and process gone"
    LIFE_ENDED = "machine or container restarted"
    LIFE_ENDED_FENCED = "machine or container restarted, fenced before"
    EXITED = "exit seen"
    EXITED_UNRECORDED = "exit seen, no room for the result"
    EXITED_WITHOUT_SPOOL = "exit seen, spool gone"
    OUTCOME_LEFT = "process gone, outcome recorded"
    VANISHED = "process gone, exit unseen"
    RESULT_INVALID = "result invalid"
    RESULT_GONE = "result invalid, and nothing else known"
    CALL_UNFIT = "results unfit"
    END_REFUSED = "end not storable"
    LATE = "seen after the end"


@dataclass(frozen=True, slots=True)
class Step:
    """What follows: the state after it, what is to be done, and how the attempt has ended if it has."""

    state: State
    acts: tuple[Act, ...] = ()
    ending: Callable[[AttemptLife, Any], Ending | AttemptEnded] | None = None


_STOPPED_BEFORE: Final = Ending.not_started("it was stopped before", delay=0.0)


def _ends(state: State, ending: Callable[[AttemptLife, Any], Ending | AttemptEnded]) -> Step:
    return Step(state, (Act.TELL_END,), ending)


_GIVEN_BACK: Final = _ends(
    State.GIVEN_BACK,
    lambda _, sight: Ending.not_started(sight.why, sight.delay),
)
_UNFIT: Final = _ends(
    State.ENDED, lambda _, sight: Ending.failed("InvalidParameters", sight.why, may_retry=False)
)
_STOPPED_UNASKED: Final = _ends(State.GIVEN_BACK, lambda life, sight: _STOPPED_BEFORE)
_UNBEGUN: Final = _ends(State.GIVEN_BACK, lambda life, sight: life.unbegun)
_UNBEGUN_IN_ITS_LIFE: Final = _ends(State.GIVEN_BACK, lambda life, sight: NOT_BEGUN)
_LOST_JOURNAL: Final = _ends(State.LOST, lambda life, sight: JOURNAL_GONE)
_LOST_SPOOL: Final = _ends(State.LOST, lambda life, sight: without_spool(sight.is_process_gone, sight.pid))
_LOST_END: Final = _ends(State.LOST, lambda life, sight: SPOOL_GONE)
_OUTLIVED: Final = _ends(State.LOST, lambda life, sight: sight.ending)
_VANISHED: Final = _ends(State.LOST, lambda life, sight: sight.left or UNSEEN)
_OUTCOME_LEFT: Final = _ends(State.ENDED, lambda life, sight: sight.left)
_EXITED: Final = _ends(State.ENDED, lambda life, sight: sight.ended)
_UNRECORDED: Final = _ends(State.LOST, lambda life, sight: sight.ended)
_REFUSED: Final = _ends(
    State.LOST,
    lambda life, sight: Ending.lost(f"its end could not be stored: {sight.why}", may_retry=False),
)
_REJUDGED: Final = _ends(State.ENDED, lambda life, sight: _refined(life, sight))
_REJUDGED_LOST: Final = _ends(State.LOST, lambda life, sight: _refined(life, sight))


def _rejudged(life: AttemptLife, sight: ResultJudged) -> Ending:
    """What the end comes to without the result that it was taken to have."""
    otherwise = UNSEEN if life.otherwise is None else life.otherwise.ending
    return sight.ending or otherwise


def _refined(life: AttemptLife, sight: ResultJudged) -> Ending | AttemptEnded:
    """The same, with all that is known of the end."""
    if life.ended is None or (sight.ending is None and life.otherwise is not None):
        return life.otherwise or UNSEEN
    return replace(life.ended, ending=_rejudged(life, sight))


def _with_stops(state: State) -> dict[tuple[State, Happening], Step]:
    """The rows of an attempt that has begun and is to end."""
    return {
        (state, Happening.STARTED): Step(state, (Act.LIMIT,)),
        (state, Happening.STARTED_LATE): Step(state, (Act.TERMINATE,)),
        (state, Happening.STOPPED): Step(state, (Act.WARN, Act.TERMINATE)),
        (state, Happening.STOPPED_AGAIN): Step(state),
        (state, Happening.HURRIED): Step(state, (Act.TERMINATE,)),
        (state, Happening.STACK_READ): Step(state),
        (state, Happening.GRACE_ENDED): Step(state, (Act.KILL,)),
        (state, Happening.KILL_OUTLASTED): Step(state, (Act.TELL_UNKILLABLE,)),
        (state, Happening.RESULT_WAITED): Step(state),
        (state, Happening.SPOOL_RENEWED): Step(state),
        (state, Happening.JOURNAL_APPEARED): Step(state),
    }


def _without_begin(state: State) -> dict[tuple[State, Happening], Step]:
    """The rows of an attempt that somebody was asked for, and that is not known to have begun."""
    return {
        (state, Happening.NOT_STARTED): _GIVEN_BACK,
        (state, Happening.STOPPED): Step(state, (Act.WARN, Act.LOOK_FOR_START)),
        (state, Happening.STOPPED_AGAIN): Step(state),
        (state, Happening.HURRIED): Step(state),
        (state, Happening.SPOOL_RENEWED): Step(state),
    }


def _with_ends(state: State) -> dict[tuple[State, Happening], Step]:
    """The rows of an attempt whose end may be seen; its fork server may have told it to stop."""
    return {
        (state, Happening.STOP_RECALLED): Step(state),
        (state, Happening.EXITED): _EXITED,
        (state, Happening.EXITED_UNRECORDED): _UNRECORDED,
        (state, Happening.EXITED_WITHOUT_SPOOL): _LOST_END,
    }


def _unreported(state: State) -> dict[tuple[State, Happening], Step]:
    """The rows of an attempt that nobody will report on."""
    return {
        (state, Happening.CANCEL_RECALLED): Step(state, (Act.WARN,)),
        (state, Happening.JOURNAL_FOUND): Step(State.ORPHANED, (Act.WATCH,)),
        (state, Happening.JOURNAL_GONE): _LOST_JOURNAL,
        (state, Happening.SPOOL_GONE): _LOST_SPOOL,
        (state, Happening.SPOOL_AND_PROCESS_GONE): _LOST_SPOOL,
        (state, Happening.LIFE_ENDED): _OUTLIVED,
        (state, Happening.OUTCOME_LEFT): _OUTCOME_LEFT,
    }


def _over(state: State) -> dict[tuple[State, Happening], Step]:
    return {
        (state, Happening.LATE): Step(state),
        (state, Happening.SPOOL_RENEWED): Step(state),
        (state, Happening.END_REFUSED): _REFUSED,
    }


TABLE: Final[Mapping[tuple[State, Happening], Step]] = MappingProxyType(
    {
        (State.QUEUED, Happening.START_ASKED): Step(State.ASKED),
        (State.QUEUED, Happening.NOT_STARTED): _GIVEN_BACK,
        (State.QUEUED, Happening.CALL_UNFIT): _UNFIT,
        (State.QUEUED, Happening.STOPPED): _STOPPED_UNASKED,
        (State.QUEUED, Happening.JOURNAL_APPEARED): Step(State.OBSTRUCTED),
        (State.OBSTRUCTED, Happening.START_ASKED): Step(State.RUNNING),
        (State.OBSTRUCTED, Happening.NOT_STARTED): _GIVEN_BACK,
        (State.OBSTRUCTED, Happening.STOPPED): _STOPPED_UNASKED,
        (State.OBSTRUCTED, Happening.JOURNAL_APPEARED): Step(State.OBSTRUCTED),
        (State.OBSTRUCTED, Happening.STARTED): Step(State.OBSTRUCTED, (Act.LIMIT,)),
        (State.OBSTRUCTED, Happening.RESULT_WAITED): Step(State.OBSTRUCTED),
        (State.OBSTRUCTED, Happening.OUTCOME_LEFT): _OUTCOME_LEFT,
        (State.OBSTRUCTED, Happening.VANISHED): _VANISHED,
        **_with_ends(State.OBSTRUCTED),
        **_without_begin(State.ASKED),
        **_with_ends(State.ASKED),
        (State.ASKED, Happening.JOURNAL_APPEARED): Step(State.RUNNING),
        (State.ASKED, Happening.SERVER_ENDED): Step(State.UNSETTLED, (Act.SETTLE,)),
        **_with_stops(State.RUNNING),
        **_with_ends(State.RUNNING),
        (State.RUNNING, Happening.NOT_STARTED): _LOST_JOURNAL,
        (State.RUNNING, Happening.SERVER_ENDED): Step(State.ORPHANED, (Act.SETTLE,)),
        **_without_begin(State.UNSETTLED),
        **_unreported(State.UNSETTLED),
        **_with_ends(State.UNSETTLED),
        (State.UNSETTLED, Happening.JOURNAL_APPEARED): Step(State.ORPHANED),
        (State.UNSETTLED, Happening.FENCED): _UNBEGUN,
        (State.UNSETTLED, Happening.LIFE_ENDED_FENCED): _UNBEGUN_IN_ITS_LIFE,
        **_with_stops(State.ORPHANED),
        **_unreported(State.ORPHANED),
        **_with_ends(State.ORPHANED),
        (State.ORPHANED, Happening.NOT_STARTED): _LOST_JOURNAL,
        (State.ORPHANED, Happening.FENCED): _LOST_JOURNAL,
        (State.ORPHANED, Happening.LIFE_ENDED_FENCED): _OUTLIVED,
        (State.ORPHANED, Happening.VANISHED): _VANISHED,
        **_over(State.GIVEN_BACK),
        **_over(State.LOST),
        **_over(State.ENDED),
        (State.ENDED, Happening.RESULT_INVALID): _REJUDGED,
        (State.ENDED, Happening.RESULT_GONE): _REJUDGED_LOST,
    }
)


def advance(
    life: AttemptLife, sight: Sight, now: float, terms: Callable[[], EndTerms] = EndTerms
) -> tuple[AttemptLife, tuple[Act, ...]]:
    """The attempt after the sight, and what is to be done about it in this order; `now` is wall time.

    `terms` is asked once it has ended. Raises IllegalSightError for what cannot be seen in its state.
    """
    step = TABLE.get((life.state, classify(life, sight)))
    if step is None:
        raise IllegalSightError(life, sight)
    changes = _changes(life, sight)
    for act in step.acts:
        if act in _SENT:
            changes["sent"] = _SENT[act]
    if step.state is life.state and not changes and step.ending is None:
        return life, step.acts
    after = life._replace(state=step.state, **changes)
    if step.ending is not None:
        ended = _ended(after, step.ending(after, sight), now, terms())
        after = after._replace(ended=ended, otherwise=_otherwise(after, sight, now))
    return after, step.acts


_SENT: Final = MappingProxyType({Act.TERMINATE: "TERM", Act.KILL: "KILL"})


def lost_with_its_host(number: int, host: str, now: float, terms: EndTerms) -> AttemptEnded:
    """How an attempt has ended that ran on another host, which counts as lost; `now` is wall time."""
    ending = Ending.lost(f"host {host}, where it ran, counts as lost")
    return _ended(AttemptLife(number), ending, now, terms)


def classify(life: AttemptLife, sight: Sight) -> Happening:
    """What the sight means to this attempt."""
    if life.state.is_final:
        return _classify_late(life, sight)
    simple = _SIMPLE.get(type(sight))
    if simple is not None:
        return simple
    match sight:
        case StartRead():
            return Happening.STARTED if life.stop_reason is None else Happening.STARTED_LATE
        case StopRequested(reason=StopReason.SHUTDOWN) if life.stop_reason is not None:
            return Happening.HURRIED
        case StopRequested():
            return Happening.STOPPED if life.stop_reason is None else Happening.STOPPED_AGAIN
        case CancelRecalled():
            return Happening.CANCEL_RECALLED if life.stop_reason is None else Happening.STOP_RECALLED
        case JournalRead():
            return _classify_journal(life, sight)
        case LifeEnded(left=Ending()):
            return Happening.OUTCOME_LEFT
        case LifeEnded(is_fenced=True):
            return Happening.LIFE_ENDED_FENCED
        case EndSeen(ended=AttemptEnded(ending=Ending(outcome=Outcome.LOST))):
            return Happening.EXITED_UNRECORDED
        case ProcessVanished(left=Ending() as left) if left.outcome is not Outcome.LOST:
            return Happening.OUTCOME_LEFT
        case _:
            return _ELSE[type(sight)]


def _classify_late(life: AttemptLife, sight: Sight) -> Happening:
    match sight:
        case EndRefused() if not life.is_refused:
            return Happening.END_REFUSED
        case ResultJudged():
            is_lost = _rejudged(life, sight).outcome is Outcome.LOST
            return Happening.RESULT_GONE if is_lost else Happening.RESULT_INVALID
        case SpoolRenewed():
            return Happening.SPOOL_RENEWED
        case _:
            return Happening.LATE


def _classify_journal(life: AttemptLife, sight: JournalRead) -> Happening:
    """A fence does not tell that the attempt has not begun before, where its journal went with the spool."""
    if life.is_bereft and (sight.is_fenced or not sight.is_own):
        return Happening.SPOOL_AND_PROCESS_GONE if sight.is_process_gone else Happening.SPOOL_GONE
    if sight.is_fenced:
        return Happening.FENCED
    return Happening.JOURNAL_FOUND if sight.is_own else Happening.JOURNAL_GONE


_SIMPLE: Final[Mapping[type[Sight], Happening]] = MappingProxyType(
    {
        StartAsked: Happening.START_ASKED,
        StartRefused: Happening.NOT_STARTED,
        CallUnfit: Happening.CALL_UNFIT,
        JournalAppeared: Happening.JOURNAL_APPEARED,
        ResultWaited: Happening.RESULT_WAITED,
        StopRecalled: Happening.STOP_RECALLED,
        StackRead: Happening.STACK_READ,
        GraceEnded: Happening.GRACE_ENDED,
        KillOutlasted: Happening.KILL_OUTLASTED,
        ServerEnded: Happening.SERVER_ENDED,
        SpoolRenewed: Happening.SPOOL_RENEWED,
        EndSeenWithoutSpool: Happening.EXITED_WITHOUT_SPOOL,
        ResultJudged: Happening.RESULT_INVALID,  # without an end; the table has no cell for it
        EndRefused: Happening.END_REFUSED,  # the same
    }
)


_ELSE: Final[Mapping[type[Sight], Happening]] = MappingProxyType(
    {
        LifeEnded: Happening.LIFE_ENDED,
        EndSeen: Happening.EXITED,
        ProcessVanished: Happening.VANISHED,
    }
)
"""The same of those that mean something else by what they tell."""


def _changes(life: AttemptLife, sight: Sight) -> dict[str, Any]:
    """What else is known after the sight: the wish to stop it, and what went wrong; of one that has ended no wish."""
    tell = _LASTING.get(type(sight)) or (None if life.state.is_final else _UNTIL_ITS_END.get(type(sight)))
    return {} if tell is None else tell(life, sight)


_Tell = Callable[[AttemptLife, Any], dict[str, Any]]


def _wish(life: AttemptLife, sight: StopRequested | StopRecalled) -> dict[str, Any]:
    return {"stop_reason": life.stop_reason or sight.reason}


_LASTING: Final[Mapping[type[Sight], _Tell]] = MappingProxyType(
    {
        SpoolRenewed: lambda life, sight: {"is_bereft": True},
        EndRefused: lambda life, sight: {"is_refused": True},
    }
)

_UNTIL_ITS_END: Final[Mapping[type[Sight], _Tell]] = MappingProxyType(
    {
        StopRequested: _wish,
        StopRecalled: _wish,
        CancelRecalled: lambda life, sight: {"stop_reason": life.stop_reason or StopReason.CANCELLED},
        ServerEnded: lambda life, sight: {"unbegun": unbegun(sight.crash, sight.is_killed)},
        ResultWaited: lambda life, sight: {"is_waiting": True},
        StackRead: lambda life, sight: {"where": sight.where},
    }
)
"""What more the sights tell than that something has happened; most tell no more."""


def _ended(life: AttemptLife, seen: Ending | AttemptEnded, now: float, terms: EndTerms) -> AttemptEnded:
    """The end under the name of what caused it: a limit, a stop, or itself."""
    fact = seen if isinstance(seen, AttemptEnded) else AttemptEnded(life.number, seen, now)
    ending = by_limit(fact, terms.caps, life.stop_reason)
    allowed = terms.retry_lost, terms.retry_on
    ending = verdict(
        ending,
        life.stop_reason,
        terms.timeout,
        *allowed,
        reviews=terms.reviews,
        where=life.where,
        crashes=terms.crashes,
    )
    ending = settle_throttle(ending, terms.may_throttle, terms.has_key)
    return fact if ending is fact.ending else replace(fact, ending=ending)


def _otherwise(life: AttemptLife, sight: Sight, now: float) -> AttemptEnded | None:
    """How it has ended should its long result be none, as the sight tells; else as it was known before."""
    match sight:
        case EndSeen():
            return sight.otherwise
        case ProcessVanished():
            return AttemptEnded(life.number, sight.otherwise or UNSEEN, now)
        case LifeEnded():
            return AttemptEnded(life.number, sight.ending, now)
        case _:
            return life.otherwise


def diagram() -> str:
    """The table as a Mermaid state diagram: every change of state, with what is to be done."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.QUEUED}: claimed"]
    lines += [
        f"    {before} --> {step.state}: {happening}"
        for (before, happening), step in TABLE.items()
        if before != step.state
    ]
    lines += [f"    {state} --> [*]" for state in State if state.is_final]
    return "\n".join(lines) + "\n"
