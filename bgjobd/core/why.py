"""Why a job has not run, has not ended, when it will run, or how it ended: one sentence, from what is known; no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from bgjob.amounts import expected_text, relative_text
from bgjob.words import EXPIRED, QUARANTINED, Outcome, Status
from bgjobd.core import why_elsewhere, why_shared
from bgjobd.core.edges import Fate, Group, Of
from bgjobd.core.job import Ending, Job
from bgjobd.core.on_file import Keeper, LatestAttempt, OnFile, RunningJob
from bgjobd.core.peers import Peer
from bgjobd.core.planner import Lanes, free_by_class, free_by_queue, free_slots
from bgjobd.core.quarantine import Reason, told_of
from bgjobd.core.sentences import as_word, clock, moment, named_jobs, past, short
from bgjobd.core.state_machine import stays_for_key
from bgjobd.core.trials import Unavailable
from bgjobd.core.verdict import StopReason
from bgjobd.core.waiting import signal_of


class Closing(StrEnum):
    """Why the daemon starts nothing new, in words."""

    DRAINING = "the daemon drains and starts nothing new; the next daemon starts it"
    ASKED = "the daemon drains, as was asked for, and starts nothing new until it is restarted"
    STOPPING = "the daemon is stopping; the next daemon starts it"


@dataclass(frozen=True, slots=True)
class UnderWay:
    """What the daemon knows of an attempt that it has started, watches or stops.

    `has_begun`: its process has proved its start, `is_waiting`: its method has returned, and its result found no room
    in the spool. `sent` is the last signal that was sent to stop it, TERM or KILL, and `seconds_left` the time until
    the next, or until its deadline. `ending` is known before it is stored. `is_in_line`: no fork server was asked for
    it yet, for one that starts alone goes before it, or it does so itself.
    """

    pid: int | None = None
    began_at: float | None = None
    has_begun: bool = False
    is_waiting: bool = False
    ending: Ending | None = None
    stop_reason: StopReason | None = None
    sent: str | None = None
    seconds_left: float | None = None
    is_in_line: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """All that bears on a job; what may be None is so where all is well.

    `no_fork_server` says why there is none, `storage_trouble` why the database cannot be written, `gone_back` what it
    has forgotten, `recording_trouble` why attempts could not write how they end, `unavailable` why nothing of the job's
    class can start, `why_held` why nothing of it is to, `refusal` why the job's call would not be taken any more.
    `peers` are the hosts that work from the database, where there may be several.
    """

    on_file: OnFile
    lanes: Lanes
    under_way: UnderWay | None = None
    closing: Closing | None = None
    storage_trouble: str | None = None
    gone_back: str | None = None
    recording_trouble: str | None = None
    why_held: str | None = None
    no_fork_server: str | None = None
    unavailable: Unavailable | None = None
    refusal: str | None = None
    peers: tuple[Peer, ...] = ()

    @property
    def is_for_others(self) -> bool:
        """Whether it is for others to start the job."""
        return why_elsewhere.is_for_others(self.job, self.lanes)

    @property
    def job(self) -> Job:
        return self.on_file.job


def why(known: Known, now: float) -> str:
    """The sentence, without a full stop, times in UTC; of a pending job the first of _REASONS that holds."""
    return f"job {known.job.id} {_TOLD[known.job.status](known, now)}{_by_schedule(known.job, now)}"


def _by_schedule(job: Job, now: float) -> str:
    if job.schedule is None or job.occurrence is None:
        return ""
    return f"; schedule {job.schedule} submitted it, for {moment(job.occurrence, now)}"


# Pending


def _pending(known: Known, now: float) -> str:
    told = _first_reason(known, now) + _expiry(known.job, now)
    if known.refusal is None or known.is_for_others:
        return told
    return f"{told}; its attempt fails as soon as it starts, and is not retried: {short(known.refusal)}"


def _first_reason(known: Known, now: float) -> str:
    for reason in _OF_OTHERS if known.is_for_others else _REASONS:
        told = reason(known, now)
        if told is not None:
            is_ours = known.lanes.host is not None and reason in _OF_ONE_HOST
            return f"{told}, as host {known.lanes.host} sees it" if is_ours else told
    raise ValueError(f"no reason holds for job {known.job.id}")


def _expiry(job: Job, now: float) -> str:
    if job.expires_at is None or job.started_at is not None:
        return ""
    if job.has_expired(now):
        return f"; it expired at {moment(job.expires_at, now)}, and is cancelled in a moment"
    return f"; it expires at {moment(job.expires_at, now)}, if it has not started by then"


def _it_is_blocked(known: Known, now: float) -> str | None:
    job, keeper = known.job, known.on_file.keeper
    if not job.is_blocked:
        return None
    if keeper is None:
        return "waits for what it comes after"
    more = f", and {job.waits_for - 1} more" if job.waits_for > 1 else ""
    if keeper.group is not None:
        return f"waits for {_group(keeper.group)}{more}"
    of_schedule = "" if job.schedule is None else f" of schedule {job.schedule}"
    return f"waits for {keeper.node.named}{of_schedule}, which {_stands(keeper)}{more}"


def _group(group: Group) -> str:
    named = f"group {group.id}" + (f" ({group.name})" if group.name else "")
    if group.fate_told is not Fate.UNFINISHED:
        helps = " --retry` lets it go on" if group.failed else "` says what lets it go on"
        return f"{named}, which failed; `bgjob group {group.id}{helps}"
    if group.sealed_at is None and group.unfinished == 0:
        return f"{named}, which nobody has sealed; `bgjob group {group.id} --seal` does"
    open = "" if group.sealed_at is not None else ", and nobody has sealed it yet"
    return f"{named}: {group.unfinished:,} of {group.total:,} members have not ended{open}"


def _stands(keeper: Keeper) -> str:
    match keeper.status:
        case Status.RUNNING:
            return "runs"
        case Status.PENDING if keeper.is_blocked:
            return f"is blocked itself; `bgjob why {keeper.node.id}` tells by what"
        case Status.PENDING:
            return "has not begun, or waits to be tried again"
        case Status.FAILED if keeper.is_for_review:
            return f"failed for review; `bgjob settle {keeper.node.id}` says what it did"
        case Status.FAILED | Status.CANCELLED:
            how = "failed" if keeper.status is Status.FAILED else "was cancelled"
            return f"{how}; `bgjob retry {keeper.node.id}` lets it go on"
        case _:
            return "has ended a moment ago"


def _it_waits(known: Known, now: float) -> str | None:
    job = known.job
    if not job.is_waiting or job.carried is None:
        return None
    name = signal_of(job.carried.waiting_on or "")
    at = None if job.scheduled_at is None else moment(job.scheduled_at, now)
    if name is None:
        return f"sleeps until {at}{_steps_done(job)}"
    until = "without a timeout" if at is None else f"until {at}"
    command = f"bgjob signal {job.id} {as_word(name)} JSON"
    return f"waits for signal {short(name)}, {until}{_steps_done(job)}; {command}"


def _steps_done(job: Job) -> str:
    number = 0 if job.carried is None else job.carried.steps
    return f"; {number:,} step{'s are' if number > 1 else ' is'} done" if number else ""


def _its_time_has_not_come(known: Known, now: float) -> str | None:
    job, latest = known.job, known.on_file.latest
    if job.scheduled_at is None or job.is_due(now) or known.on_file.was_due:
        return None
    when = moment(job.scheduled_at, now)
    match latest:
        case None:
            return f"waits for its time: it is not to start before {when}"
        case LatestAttempt(number, ending=Ending(outcome=Outcome.SNOOZED)):
            others = why_shared.throttled(known.on_file)
            why = "asked for a snooze" if others is None else f"was told to come later, and {others}"
            return f"is to be tried again at {when}: attempt {number} {why}"
        case LatestAttempt(number, ending=Ending(spends_retry=False) as ending):
            alone = ", and starts alone then" if job.crashes else ""
            return (
                f"is to be tried again at {when}: {_error(ending)} "
                f"(attempt {number}, which spends no retry{alone})"
            )
        case LatestAttempt(number, ending=ending):
            retry = f"retry {job.retry_count} of {job.policy.max_retries}"
            return f"is to be tried again at {when}, as {retry}: {_error(ending)} (attempt {number})"


def _the_daemon_closes(known: Known, now: float) -> str | None:
    return None if known.closing is None else f"waits: {known.closing}"


def _the_database_cannot_be_written(known: Known, now: float) -> str | None:
    if known.storage_trouble is None:
        return None
    return f"waits: nothing starts while the database cannot be written: {short(known.storage_trouble)}"


def _the_database_has_gone_back(known: Known, now: float) -> str | None:
    return None if known.gone_back is None else f"waits: nothing starts, for {short(known.gone_back)}"


def _ends_cannot_be_recorded(known: Known, now: float) -> str | None:
    if known.recording_trouble is None:
        return None
    return (
        f"waits: nothing starts while ends of attempts cannot be recorded: {short(known.recording_trouble)}"
    )


def _there_is_no_fork_server(known: Known, now: float) -> str | None:
    return None if known.no_fork_server is None else f"waits for a fork server: {short(known.no_fork_server)}"


def _its_class_is_unavailable(known: Known, now: float) -> str | None:
    if known.unavailable is None:
        return None
    why, hint = short(known.unavailable.reason), known.unavailable.hint
    return f"waits: its class is approved, and cannot be used: {why}; {hint}"


def _its_class_is_held(known: Known, now: float) -> str | None:
    return None if known.why_held is None else f"waits: no job of its class starts: {known.why_held}"


def _its_class_crashes(known: Known, now: float) -> str | None:
    hold = known.on_file.class_hold
    if hold is None or hold.reason is not Reason.CRASHES or not hold.holds(known.lanes.code_version):
        return None
    trials = [one.id for one in known.on_file.running if one.class_name == known.job.class_name]
    under_way = f", and {named_jobs(trials)} {'run' if trials[1:] else 'runs'}" if trials else ""
    return f"waits: its class is {told_of(hold, now)}{under_way}"


def _its_class_is_to_wait(known: Known, now: float) -> str | None:
    hold = known.on_file.class_hold
    if hold is None or hold.reason is not Reason.ASKED:
        return None
    return f"waits: its class is {told_of(hold, now)}"


def _its_queue_is_unknown(known: Known, now: float) -> str | None:
    queue = known.job.queue
    if queue in known.lanes.queues:
        return None
    return f"waits: queue {queue} gets no slots, for it is not configured; `bgjob reload` takes it up"


def _its_queue_is_paused(known: Known, now: float) -> str | None:
    queue, paused_at, resumes_at = known.job.queue, known.on_file.paused_at, known.on_file.resumes_at
    if paused_at is None:
        return None
    if resumes_at is None:
        return f"waits: queue {queue} is paused since {moment(paused_at, now)}; `bgjob resume {queue}` lets it go on"
    until = moment(resumes_at, now)
    return f"waits: queue {queue} is paused until {until}; `bgjob resume {queue}` lets it go on before"


def _its_class_is_full(known: Known, now: float) -> str | None:
    name, running = known.job.class_name, known.on_file.running
    of_classes = free_by_class(known.lanes, Counter(one.class_name for one in running))
    if of_classes.get(name, 1) > 0:
        return None
    taken = _taken([one for one in running if one.class_name == name])
    return _waits_for_a_slot(known, f"its class has {_slots(known.lanes.classes[name])}, {taken}")


def _its_class_was_told_to_wait(known: Known, now: float) -> str | None:
    return why_shared.its_class_was_told_to_wait(known.on_file, now)


def _its_key_has_no_place(known: Known, now: float) -> str | None:
    return why_shared.its_key_has_no_place(known.on_file, known.lanes, now)


def _the_rate_of_its_class_is_used_up(known: Known, now: float) -> str | None:
    return why_shared.the_rate_of_its_class_is_used_up(known.on_file, known.lanes, now)


def _its_queue_is_full(known: Known, now: float) -> str | None:
    queue, own = known.job.queue, known.lanes.queues[known.job.queue]
    running = [one for one in known.on_file.running if one.queue == queue]
    if own is None or len(running) < own:
        return None
    return _waits_for_a_slot(known, f"queue {queue} has {_slots(own)}, {_taken(running)}")


def _shared_slots_are_taken(known: Known, now: float) -> str | None:
    shared = why_elsewhere.shared_slots(known.on_file, known.lanes)
    if shared is None:
        return None
    whose, slots, running = shared
    return _waits_for_a_slot(known, f"{whose} has {_slots(slots)} on all hosts, {_taken(running)}")


def _all_slots_are_taken(known: Known, now: float) -> str | None:
    running = known.on_file.running
    if free_slots(known.lanes, Counter(one.queue for one in running)) > 0:
        return None
    return _waits_for_a_slot(known, f"the daemon has {_slots(known.lanes.slots)}, {_taken(running)}")


def _its_turn_comes(known: Known, now: float) -> str:
    places = free_by_queue(known.lanes, Counter(one.queue for one in known.on_file.running), ())
    if known.on_file.ahead.number >= places[known.job.queue]:
        return why_shared.its_turn_is_later(known.on_file, known.lanes)
    return "is due, a slot is free, and it starts in a moment"


_REASONS: Final[tuple[Callable[[Known, float], str | None], ...]] = (
    _it_is_blocked,
    _it_waits,
    _its_time_has_not_come,
    _the_daemon_closes,
    _the_database_cannot_be_written,
    _the_database_has_gone_back,
    _ends_cannot_be_recorded,
    _there_is_no_fork_server,
    _its_queue_is_unknown,
    _its_queue_is_paused,
    _its_class_is_unavailable,
    _its_class_is_held,
    _its_class_is_to_wait,
    _its_class_crashes,
    _its_class_was_told_to_wait,
    _its_key_has_no_place,
    _its_class_is_full,
    _the_rate_of_its_class_is_used_up,
    _its_queue_is_full,
    _shared_slots_are_taken,
    _all_slots_are_taken,
    _its_turn_comes,
)
"""What may keep a pending job from starting; the first that does is told, and the last always does."""


def _no_host_takes_it(known: Known, now: float) -> str | None:
    return why_elsewhere.no_host_takes_it(known.job, known.peers, now)


def _others_take_it(known: Known, now: float) -> str:
    return why_elsewhere.others_take_it(known.job, known.peers, now)


_OF_OTHERS: Final[tuple[Callable[[Known, float], str | None], ...]] = (
    _it_is_blocked,
    _it_waits,
    _its_time_has_not_come,
    _the_database_cannot_be_written,
    _no_host_takes_it,
    _its_queue_is_paused,
    _its_class_is_to_wait,
    _its_class_was_told_to_wait,
    _its_key_has_no_place,
    _the_rate_of_its_class_is_used_up,
    _shared_slots_are_taken,
    _others_take_it,
)
"""The same of a job that this host does not start."""

_OF_ONE_HOST: Final = frozenset(
    {
        *(_the_daemon_closes, _ends_cannot_be_recorded, _there_is_no_fork_server, _its_class_is_unavailable),
        *(
            _its_class_is_held,
            _its_class_crashes,
            _its_class_is_full,
            _its_queue_is_full,
            _all_slots_are_taken,
            _its_turn_comes,
        ),
    }
)
"""The reasons that need not hold for others."""


def _waits_for_a_slot(known: Known, full: str) -> str:
    return f"waits for a slot: {full}, and {why_shared.ahead_in_queue(known.on_file, known.lanes)}"


def _slots(number: int) -> str:
    return "1 slot" if number == 1 else f"{number} slots"


def _taken(running: Sequence[RunningJob]) -> str:
    return f"taken by {named_jobs([one.id for one in running])}"


# Running


def _running(known: Known, now: float) -> str:
    job, under_way, host = known.job, known.under_way, known.on_file.host
    if host is not None and host != known.lanes.host:
        return _running_elsewhere(known, host, now)
    match under_way:
        case None:
            return f"has had a slot since {past(job.started_at, now)}: attempt {job.attempt} is about to be started"
        case UnderWay(ending=Ending() as ending):
            trouble = known.storage_trouble
            because = "" if trouble is None else f": the database cannot be written: {short(trouble)}"
            return f"has run: attempt {job.attempt} has ended ({ending.outcome}), and that waits to be stored{because}"
        case UnderWay(stop_reason=reason) if reason is not None or job.cancel_requested_at is not None:
            return _being_stopped(known, under_way, reason or StopReason.CANCELLED, now)
        case UnderWay(is_in_line=True):
            return f"has had a slot since {past(job.started_at, now)}: {_in_line(known)}"
        case UnderWay(is_waiting=True):
            run = _run(known, under_way, now)
            left = _deadline(job.timeout, under_way.seconds_left)
            return f"has run, and its result waits for room in the spool: {run}; {left}"
        case UnderWay(has_begun=False):
            since = past(job.started_at, now)
            return f"has had a slot since {since}: the process of attempt {job.attempt} has not proved its start yet"
        case _:
            left = _deadline(job.timeout, under_way.seconds_left)
            return f"runs: {_run(known, under_way, now)}; {left}{_in_step(known, now)}{_expected(known)}"


def _running_elsewhere(known: Known, host: str, now: float) -> str:
    """What is known of an attempt that another host starts, watches and stops."""
    runs = f"runs {why_elsewhere.runs_on(host, known.peers, now)}"
    if known.job.cancel_requested_at is not None:
        return f"{_WHY_STOPPED[StopReason.CANCELLED](known.job, now)}; it {runs}"
    match known.on_file.latest:
        case LatestAttempt(number, pid, float() as began_at, ending=None):
            told = f"attempt {number} began at {past(began_at, now)}, pid {pid}"
            return f"{runs}: {told}{_in_step(known, now)}{_expected(known)}"
    return f"{runs}: attempt {known.job.attempt} has had a slot since {past(known.job.started_at, now)}"


def _in_step(known: Known, now: float) -> str:
    step = known.on_file.step
    if step is None:
        return _steps_done(known.job)
    number = 0 if known.job.carried is None else known.job.carried.steps
    done = f"{number:,} {'is' if number == 1 else 'are'} done"
    return f"; in step {short(step.name)} since {clock(step.began_at, now)}, {done}"


def _expected(known: Known) -> str:
    """How long it may take, where that is known."""
    expected = known.on_file.expected
    if expected is None:
        return ""
    told = expected_text(expected.p50, expected.p95, expected.left, expected.times)
    return f"; it {told}" if expected.times is not None else f"; {told}"


def _in_line(known: Known) -> str:
    job = known.job
    if known.no_fork_server is not None:
        return f"attempt {job.attempt} waits for a fork server: {short(known.no_fork_server)}"
    if job.crashes:
        crashed = "the last one" if job.crashes == 1 else f"the last {job.crashes}"
        return f"attempt {job.attempt} goes alone, once those before it have begun: {crashed} crashed"
    return f"attempt {job.attempt} waits for a start before it that goes alone, as it may end the fork server"


def _run(known: Known, under_way: UnderWay, now: float) -> str:
    began_at, pid = _began(known, under_way)
    process = "" if pid is None else f", pid {pid}"
    return f"attempt {known.job.attempt} began at {past(began_at, now)}{process}"


def _began(known: Known, under_way: UnderWay) -> tuple[float | None, int | None]:
    """When the attempt's process began, and which it is: as stored, or not yet."""
    match known.on_file.latest:
        case LatestAttempt(pid=int() as pid, began_at=float() as began_at):
            return began_at, pid
        case _:
            return under_way.began_at or known.job.started_at, under_way.pid


def _deadline(timeout: float | None, seconds_left: float | None) -> str:
    match timeout, seconds_left:
        case None, _:
            return "it has no timeout"
        case _, None:
            return f"its timeout is {timeout:.12g} s"
        case _, left:
            return f"its timeout of {timeout:.12g} s is over {relative_text(left or 0.0)}"


def _being_stopped(known: Known, under_way: UnderWay, reason: StopReason, now: float) -> str:
    because = _WHY_STOPPED[reason](known.job, now)
    _, pid = _began(known, under_way)
    process = "its process" if pid is None else f"its process (pid {pid})"
    match under_way:
        case UnderWay(sent="KILL"):
            sent = f"{process} was sent KILL and has not ended yet"
        case UnderWay(sent="TERM", seconds_left=left):
            sent = f"{process} was sent TERM, and KILL follows {relative_text(left or 0.0)}"
        case UnderWay(has_begun=False):
            sent = f"{process} has not proved its start yet, and gets TERM once it has"
        case _:
            sent = f"{process} gets TERM in a moment"
    return f"{because}; {sent}"


_WHY_STOPPED: Final[Mapping[StopReason, Callable[[Job, float], str]]] = MappingProxyType(
    {
        StopReason.CANCELLED: lambda job, now: (
            f"is being cancelled: a cancel was requested at {past(job.cancel_requested_at, now)}"
        ),
        StopReason.TIMED_OUT: lambda job, now: (
            f"is being stopped: attempt {job.attempt} has run longer than its timeout of {job.timeout or 0.0:.12g} s"
        ),
        StopReason.SHUTDOWN: lambda job, now: f"is being stopped: attempt {job.attempt} ends with the daemon",
        StopReason.FENCED: lambda job, now: (
            f"is being stopped: the host of attempt {job.attempt} is cut off from the database"
        ),
    }
)


# Ended


def _completed(known: Known, now: float) -> str:
    if known.job.outcome not in (None, Outcome.COMPLETED):
        return f"was settled as completed at {past(known.job.finished_at, now)}, by a person"
    return f"completed at {past(known.job.finished_at, now)}, by attempt {known.job.attempt}"


def _failed(known: Known, now: float) -> str:
    job = known.job
    if job.is_for_review:
        error = short(job.error or "no more is known")
        return (
            f"failed for review at {past(job.review_since, now)}: {error}, and what it did nobody knows; "
            f"bgjob settle {job.id}"
        )
    match job.policy.max_retries:
        case _ if (job.error or "").startswith(f"{QUARANTINED}: "):
            retries = f"`bgjob retry {job.id}` has it start again"
        case 0:
            retries = "it has no retries"
        case most if job.retry_count >= most:
            retries = "its only retry is spent" if most == 1 else f"all its {most} retries are spent"
        case _:
            retries = "such an end is not retried"
    error = short(job.error or "no more is known")
    return f"failed at {past(job.finished_at, now)}: {error} (attempt {job.attempt}; {retries})"


def _cancelled(known: Known, now: float) -> str:
    job = known.job
    when = f"was cancelled at {past(job.finished_at, now)}"
    if job.started_at is None and (job.error or "").startswith(f"{EXPIRED}: "):
        return f"expired at {past(job.expires_at, now)}: it had not started"
    if job.cancelled_after is not None:
        cause = (job.error or "").removeprefix("cancelled: ")
        is_group = job.cancelled_after.startswith(f"{Of.GROUP} ")
        return f"{when}: {cause}" + (f"; `bgjob {job.cancelled_after}` tells which" if is_group else "")
    if stays_for_key(job):
        return f"{when}, and stays so: {(job.error or '').removeprefix('cancelled: ')}"
    match known.on_file.latest:
        case None:
            return f"{when}, before its first attempt"
        case LatestAttempt(number, ended_at=float() as ended_at) if ended_at < (
            job.cancel_requested_at or 0.0
        ):
            return f"{when}, after attempt {number} and before the next"
        case LatestAttempt(number, ending=Ending(outcome=Outcome.CANCELLED)):
            return f"{when}, and attempt {number} was stopped"
        case LatestAttempt(number, ending=ending):
            return f"{when}, and attempt {number} ended: {_error(ending)}"


_TOLD: Final[Mapping[Status, Callable[[Known, float], str]]] = MappingProxyType(
    {
        Status.PENDING: _pending,
        Status.RUNNING: _running,
        Status.COMPLETED: _completed,
        Status.FAILED: _failed,
        Status.CANCELLED: _cancelled,
    }
)


def _error(ending: Ending | None) -> str:
    return "no more is known" if ending is None else short(ending.error)
