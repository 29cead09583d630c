"""What an attempt came to: every ending under every reason to stop, and what a policy says of a retry."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgjob.words import Outcome, Throttle
from bgjobd.core.facts import AttemptEnded
from bgjobd.core.job import Ending, Usage
from bgjobd.core.verdict import (
    NO_CAPS,
    NOT_BEGUN,
    OF_A_COPY,
    Caps,
    Life,
    StopReason,
    by_limit,
    settle_throttle,
    unbegun,
    verdict,
    without_spool,
)

RAISED = Ending.failed("ValueError", "leaving", "trace")
UNRECORDED = Ending.unrecorded("its result found no room")
ENDINGS = {
    "completed": Ending.completed("5"),
    "failed": RAISED,
    "exited": Ending.exited(3),
    "signalled": Ending.signalled(15),
    "lost": Ending.lost("nobody saw it"),
    "snoozed": Ending.snoozed(5.0),
    "not_started": Ending.not_started("no memory"),
    "unrecorded": UNRECORDED,
}
CANCELLED, TIMED_OUT = Outcome.CANCELLED, Outcome.TIMED_OUT
EXPECTED: dict[StopReason | None, dict[str, Outcome]] = {
    None: {},
    StopReason.SHUTDOWN: {},
    StopReason.CANCELLED: dict.fromkeys(
        ("failed", "exited", "signalled", "lost", "snoozed", "unrecorded"), CANCELLED
    ),
    StopReason.TIMED_OUT: dict.fromkeys(("failed", "exited", "signalled", "lost"), TIMED_OUT),
    StopReason.FENCED: dict.fromkeys(("failed", "exited", "signalled", "lost"), Outcome.LOST),
}
"""The endings that get another outcome, by the reason for the stop; the others keep theirs."""


@pytest.mark.parametrize("reason", EXPECTED)
@pytest.mark.parametrize("name", ENDINGS)
def test_an_ending_is_named_after_what_caused_it(name: str, reason: StopReason | None) -> None:
    outcome = verdict(ENDINGS[name], reason, 5.0).outcome
    assert outcome is EXPECTED[reason].get(name, ENDINGS[name].outcome)


@pytest.mark.parametrize("reason", [None, StopReason.TIMED_OUT, StopReason.SHUTDOWN, StopReason.FENCED])
def test_an_end_that_could_not_be_recorded_is_lost_and_spends_no_retry(reason: StopReason | None) -> None:
    ending = verdict(UNRECORDED, reason, 5.0)
    assert (ending.outcome, ending.may_retry, ending.spends_retry) == (Outcome.LOST, True, False)
    assert ending.error == "lost: how it ended could not be recorded: its result found no room"
    assert not verdict(UNRECORDED, reason, 5.0, retry_lost=False).may_retry


def test_every_reason_is_listed() -> None:
    assert set(EXPECTED) == {None, *StopReason}


def test_the_evidence_stays() -> None:
    stopped = verdict(RAISED, StopReason.TIMED_OUT, 5.0)
    assert (stopped.error_type, stopped.traceback) == ("ValueError", "trace")
    assert stopped.error == "timed_out: the attempt ran longer than 5 s (ValueError: leaving)"


def test_what_the_policy_does_not_list_is_not_retried() -> None:
    assert verdict(RAISED, None, None, retry_on={Outcome.FAILED}).may_retry
    assert not verdict(RAISED, None, None, retry_on={Outcome.SIGNALLED}).may_retry
    assert not verdict(RAISED, StopReason.TIMED_OUT, 5.0, retry_on={Outcome.FAILED}).may_retry
    assert not verdict(ENDINGS["lost"], None, None, retry_lost=False).may_retry
    assert not verdict(Ending.failed("Fail", "no", may_retry=False), None, None).may_retry


@pytest.mark.parametrize("name", ["failed", "exited", "signalled", "lost"])
def test_what_the_daemons_own_stop_ended_spends_no_retry_and_comes_back(name: str) -> None:
    stopped = verdict(ENDINGS[name], StopReason.SHUTDOWN, None, retry_on={Outcome.TIMED_OUT})
    assert (stopped.may_retry, stopped.spends_retry) == (True, False)
    assert not verdict(ENDINGS[name], StopReason.SHUTDOWN, None, retry_lost=False).may_retry


def test_a_job_that_wants_no_other_attempt_gets_none_after_a_stop_either() -> None:
    assert not verdict(Ending.failed("Fail", "no", may_retry=False), StopReason.SHUTDOWN, None).may_retry


@pytest.mark.parametrize("name", ["failed", "exited", "signalled", "lost"])
def test_what_was_stopped_as_its_host_was_cut_off_is_lost_and_spends_a_retry_as_that_does(name: str) -> None:
    ending = verdict(ENDINGS[name], StopReason.FENCED, None)
    assert (ending.outcome, ending.may_retry, ending.spends_retry) == (Outcome.LOST, True, True)
    assert ending.error.startswith("lost: stopped, for its host was cut off from the database")
    assert not verdict(ENDINGS[name], StopReason.FENCED, None, retry_on={Outcome.FAILED}).may_retry
    assert verdict(ENDINGS[name], StopReason.FENCED, None, retry_on={Outcome.LOST}).may_retry


def test_what_raised_as_its_host_was_cut_off_tells_that_too() -> None:
    told = verdict(RAISED, StopReason.FENCED, None)
    assert told.error == ("lost: stopped, for its host was cut off from the database (ValueError: leaving)")
    assert told.traceback == "trace"


def test_a_lost_attempt_that_may_be_alive_is_not_repeated_for_its_host_was_cut_off() -> None:
    assert not verdict(without_spool(False, None), StopReason.FENCED, None).may_retry


# What nobody knows

ABOVE = {
    "timed_out": (Ending.signalled(15), StopReason.TIMED_OUT),
    "out_of_memory": (Ending.exceeded(Outcome.OUT_OF_MEMORY, "2 GiB", Ending.signalled(9)), None),
    "cpu_exceeded": (Ending.exceeded(Outcome.CPU_EXCEEDED, "5 s", Ending.signalled(24)), None),
    "output_exceeded": (Ending.exceeded(Outcome.OUTPUT_EXCEEDED, "1 MiB", Ending.signalled(25)), None),
    "stopped with the daemon": (Ending.signalled(15), StopReason.SHUTDOWN),
}
TOLD = {
    "raised": (RAISED, None),
    "raised as its time was up": (RAISED, StopReason.TIMED_OUT),
    "raised at the daemon's end": (RAISED, StopReason.SHUTDOWN),
    "raised over its memory": (Ending.exceeded(Outcome.OUT_OF_MEMORY, "2 GiB", RAISED), None),
    "cancelled": (Ending.signalled(15), StopReason.CANCELLED),
    "completed": (ENDINGS["completed"], None),
    "completed all the same": (ENDINGS["completed"], StopReason.TIMED_OUT),
    "snoozed": (ENDINGS["snoozed"], None),
    "not_started": (ENDINGS["not_started"], None),
    "crashed": (Ending.crashed_at_start("signal 11"), None),
}


@pytest.mark.parametrize(
    ("ending", "reason"),
    [*((ENDINGS[name], None) for name in ("exited", "signalled", "lost", "unrecorded")), *ABOVE.values()],
    ids=["exited", "signalled", "lost", "unrecorded", *ABOVE],
)
def test_an_end_without_a_word_of_the_methods_is_for_review_where_its_class_wants_that(
    ending: Ending, reason: StopReason | None
) -> None:
    assert verdict(ending, reason, 5.0, retry_lost=False, reviews=True).for_review
    assert not verdict(ending, reason, 5.0, retry_lost=False).for_review


@pytest.mark.parametrize(("ending", "reason"), TOLD.values(), ids=TOLD.keys())
def test_no_end_is_for_review_of_which_something_is_known(ending: Ending, reason: StopReason | None) -> None:
    assert not verdict(ending, reason, 5.0, retry_lost=False, reviews=True).for_review


def test_an_end_that_turns_out_otherwise_is_for_review_no_more() -> None:
    marked = verdict(ENDINGS["lost"], None, None, retry_lost=False, reviews=True)
    assert not verdict(replace(marked, outcome=Outcome.FAILED), None, None, reviews=True).for_review
    assert not verdict(marked, None, None).for_review


# Whom it keeps from starting

OF_CLASS, OF_KEY = Ending.throttled(60.0, Throttle.CLASS), Ending.throttled(60.0, Throttle.KEY)


@pytest.mark.parametrize("of", [Throttle.CLASS, Throttle.KEY])
def test_a_throttled_attempt_is_a_snooze_that_others_share_for_an_hour_at_most(of: Throttle) -> None:
    assert Ending.throttled(60.0, of) == replace(Ending.snoozed(60.0), throttles=of)
    assert Ending.throttled(3600.5, of) == replace(Ending.snoozed(3600.0), throttles=of)


def test_nobody_shares_a_snooze_of_the_job_alone_or_of_no_time() -> None:
    assert Ending.throttled(3601.0, Throttle.JOB) == Ending.snoozed(3600.0)
    assert Ending.throttled(0.0, Throttle.CLASS) == Ending.snoozed(0.0)


@pytest.mark.parametrize("ending", [OF_CLASS, OF_KEY], ids=lambda ending: ending.throttles)
def test_a_class_that_may_hold_no_others_holds_the_job_alone(ending: Ending) -> None:
    assert settle_throttle(ending, may_throttle=True, has_key=True) is ending
    assert settle_throttle(ending, may_throttle=False, has_key=True) == replace(
        ending, throttles=Throttle.JOB
    )


@pytest.mark.parametrize("may_throttle", [True, False])
def test_a_job_without_a_key_that_asks_to_hold_others_of_its_key_has_failed_for_good(
    may_throttle: bool,
) -> None:
    failed = settle_throttle(replace(OF_KEY, exit_code=1), may_throttle, has_key=False)
    assert failed.error == 'Throttled: of = "key", and the job has no key'
    assert (failed.outcome, failed.exit_code, failed.may_retry) == (Outcome.FAILED, 1, False)
    assert (failed.spends_retry, failed.delay, failed.throttles) == (True, None, None)


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=lambda ending: ending.outcome)
def test_an_ending_that_holds_nobody_stays_as_it_is(ending: Ending) -> None:
    assert settle_throttle(ending, may_throttle=False, has_key=False) is ending


def test_an_attempt_that_was_cancelled_holds_nobody_and_one_whose_time_was_up_does() -> None:
    assert verdict(OF_CLASS, StopReason.CANCELLED, None).throttles is None
    assert verdict(OF_CLASS, StopReason.TIMED_OUT, 5.0) == OF_CLASS
    assert verdict(OF_CLASS, StopReason.SHUTDOWN, 5.0) == OF_CLASS


# What an earlier daemon left

MACHINE = Life("boot", "boot")
CONTAINER = Life("digest", "boot")


@pytest.mark.parametrize(
    ("life", "began_in"), [(MACHINE, "boot"), (CONTAINER, "digest"), (CONTAINER, "boot")]
)
def test_an_attempt_of_this_life_may_still_run(life: Life, began_in: str) -> None:
    assert life.try_ending(began_in) is None  # of containers, earlier versions stored the machine's boot


def test_an_attempt_is_lost_with_the_boot_and_with_the_container_and_the_latter_is_free() -> None:
    with_boot, with_container = MACHINE.try_ending("another"), CONTAINER.try_ending("another")
    assert with_boot == Ending.lost("the machine was restarted while it ran")
    assert with_container == Ending.lost("the container was restarted while it ran", spends_retry=False)


@pytest.mark.parametrize("life", [MACHINE, CONTAINER])
def test_an_attempt_that_a_restored_copy_believes_to_run_is_never_repeated(life: Life) -> None:
    ending = life.try_ending(OF_A_COPY)
    assert ending is not None
    assert (ending.outcome, ending.may_retry) == (Outcome.LOST, False)


def test_who_was_on_the_way_to_a_fork_server_that_is_gone_has_not_begun_and_spends_nothing() -> None:
    let_go, killed, crashed = unbegun(None, False), unbegun(None, True), unbegun("signal 11", False)
    assert {ending.outcome for ending in (let_go, killed, crashed)} == {Outcome.NOT_STARTED}
    assert not any(ending.spends_retry for ending in (let_go, killed, crashed))
    assert [ending.delay for ending in (let_go, killed, crashed)] == [0.0, None, None]
    assert [ending.crash for ending in (let_go, killed, crashed)] == [None, None, "signal 11"]
    assert let_go is NOT_BEGUN


def test_an_attempt_without_its_spool_is_repeated_only_where_its_process_is_surely_gone() -> None:
    alive = without_spool(is_gone=False, pid=4711)
    assert not alive.may_retry
    assert alive.error.endswith("its process may be alive: pid 4711")
    gone = without_spool(is_gone=True, pid=4711)
    assert (gone.outcome, gone.may_retry, gone.spends_retry) == (Outcome.LOST, True, False)


# Limits

KILLED, OF_CPU, OF_FILE_SIZE = Ending.signalled(9), Ending.signalled(24), Ending.signalled(25)
CAPS = Caps(memory=100 * 2**20, cpu=1.5, file_size=2**20)
SPENT = AttemptEnded(1, KILLED, 0.0, Usage(max_rss=99 * 2**20, output_bytes=2**20), own_cpu=3.1)
NOTHING = AttemptEnded(1, KILLED, 0.0)
MEMORY = "out_of_memory: 99 MiB of 100 MiB"
CPU = "cpu_exceeded: 3.1 s of 1.5 s of CPU time"
SIGKILLED = "signalled: the process was ended by signal 9"
OUTPUT = "output_exceeded: 1 MiB of 1 MiB"


@pytest.mark.parametrize(
    ("fact", "caps", "stop_reason", "error"),
    [
        # The kernel killed for memory, whatever else there was.
        (replace(SPENT, oom_kills=1), CAPS, None, MEMORY),
        (replace(SPENT, oom_kills=3), CAPS, StopReason.TIMED_OUT, MEMORY),
        (replace(SPENT, oom_kills=1), NO_CAPS, None, "out_of_memory: 99 MiB"),
        (replace(SPENT, oom_kills=1, ending=Ending.signalled(7)), CAPS, None, MEMORY),
        # SIGXCPU tells its limit; SIGKILL where a second more was spent and nobody stopped it.
        (replace(SPENT, ending=OF_CPU), CAPS, None, CPU),
        (replace(SPENT, ending=OF_CPU), CAPS, StopReason.CANCELLED, CPU),
        (replace(NOTHING, ending=OF_CPU), CAPS, None, "cpu_exceeded: more than 1.5 s of CPU time"),
        (
            replace(NOTHING, ending=OF_CPU, own_cpu=0.81),
            Caps(cpu=1),
            None,
            "cpu_exceeded: 0.8 s of 1 s of CPU time",
        ),
        (
            replace(NOTHING, ending=OF_CPU, own_cpu=0.4),
            Caps(cpu=2),
            None,
            "signalled: the process was ended by signal 24",
        ),
        (
            replace(NOTHING, ending=OF_CPU, own_cpu=0.96),
            Caps(cpu=0.5),
            None,
            "cpu_exceeded: 1.0 s of 0.5 s of CPU time",
        ),
        (replace(SPENT, ending=OF_CPU), NO_CAPS, None, "signalled: the process was ended by signal 24"),
        (SPENT, CAPS, None, CPU),
        (replace(NOTHING, own_cpu=2.95), Caps(cpu=2), None, "cpu_exceeded: 3.0 s of 2 s of CPU time"),
        (replace(NOTHING, own_cpu=2.2), CAPS, None, SIGKILLED),
        (SPENT, CAPS, StopReason.CANCELLED, SIGKILLED),
        (NOTHING, CAPS, None, SIGKILLED),
        (SPENT, NO_CAPS, None, SIGKILLED),
        # What its children spent is not its own.
        (replace(NOTHING, usage=Usage(cpu_user=9.0), own_cpu=0.1), CAPS, None, SIGKILLED),
        # SIGXFSZ where the output is what was too large.
        (replace(SPENT, ending=OF_FILE_SIZE), CAPS, None, OUTPUT),
        (
            replace(NOTHING, ending=OF_FILE_SIZE, usage=Usage(output_bytes=5)),
            CAPS,
            None,
            "signalled: the process was ended by signal 25",
        ),
        (replace(SPENT, ending=OF_FILE_SIZE), NO_CAPS, None, "signalled: the process was ended by signal 25"),
        (
            replace(SPENT, ending=Ending.signalled(15)),
            CAPS,
            None,
            "signalled: the process was ended by signal 15",
        ),
    ],
)
def test_an_attempt_that_was_killed_for_a_limit_ended_by_that(
    fact: AttemptEnded, caps: Caps, stop_reason: StopReason | None, error: str
) -> None:
    found = by_limit(fact, caps, stop_reason)
    assert found.error == error
    assert found.signal == fact.ending.signal


@pytest.mark.parametrize("name", [name for name in ENDINGS if name != "signalled"])
def test_an_attempt_that_was_not_killed_ended_as_it_did_whatever_it_used(name: str) -> None:
    assert by_limit(replace(SPENT, ending=ENDINGS[name], oom_kills=1), CAPS, None) is ENDINGS[name]


@pytest.mark.parametrize("reason", [None, *StopReason])
def test_an_attempt_that_was_killed_for_a_limit_keeps_that_name_whoever_stops_it(
    reason: StopReason | None,
) -> None:
    ending = by_limit(replace(SPENT, ending=OF_CPU), CAPS, reason)
    assert verdict(ending, reason, 5.0).outcome is Outcome.CPU_EXCEEDED
