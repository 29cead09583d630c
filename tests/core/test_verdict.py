"""What an attempt came to: every ending under every reason to stop, and what a policy says of a retry."""

from __future__ import annotations

import pytest

from bgjob.words import Outcome
from bgjobd.core.job import Ending, Usage
from bgjobd.core.verdict import NO_CAPS, Caps, StopReason, by_limit, verdict

RAISED = Ending.failed("ValueError", "leaving", "trace")
ENDINGS = {
    "completed": Ending.completed("5"),
    "failed": RAISED,
    "exited": Ending.exited(3),
    "signalled": Ending.signalled(15),
    "lost": Ending.lost("nobody saw it"),
    "snoozed": Ending.snoozed(5.0),
    "not_started": Ending.not_started("no memory"),
}
CANCELLED, TIMED_OUT = Outcome.CANCELLED, Outcome.TIMED_OUT
EXPECTED: dict[StopReason | None, dict[str, Outcome]] = {
    None: {},
    StopReason.SHUTDOWN: {},
    StopReason.CANCELLED: dict.fromkeys(("failed", "exited", "signalled", "lost", "snoozed"), CANCELLED),
    StopReason.TIMED_OUT: dict.fromkeys(("failed", "exited", "signalled", "lost"), TIMED_OUT),
}
"""The endings that get another outcome, by the reason for the stop; the others keep theirs."""


@pytest.mark.parametrize("reason", EXPECTED)
@pytest.mark.parametrize("name", ENDINGS)
def test_an_ending_is_named_after_what_caused_it(name: str, reason: StopReason | None) -> None:
    outcome = verdict(ENDINGS[name], reason, 5.0).outcome
    assert outcome is EXPECTED[reason].get(name, ENDINGS[name].outcome)


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


# Limits

KILLED, OF_CPU, OF_FILE_SIZE = Ending.signalled(9), Ending.signalled(24), Ending.signalled(25)
CAPS = Caps(memory=100 * 2**20, cpu=1.5, file_size=2**20)
SPENT = Usage(max_rss=99 * 2**20, cpu_user=2.5, cpu_system=0.6, output_bytes=2**20)
MEMORY = "out_of_memory: 99 MiB of 100 MiB"
CPU = "cpu_exceeded: 3.1 s of 1.5 s of CPU time"
OUTPUT = "output_exceeded: 1 MiB of 1 MiB"


@pytest.mark.parametrize(
    ("ending", "caps", "usage", "oom_kills", "stop_reason", "error"),
    [
        # The kernel killed for memory, whatever else there was.
        (KILLED, CAPS, SPENT, 1, None, MEMORY),
        (KILLED, CAPS, SPENT, 3, StopReason.TIMED_OUT, MEMORY),
        (KILLED, NO_CAPS, SPENT, 1, None, "out_of_memory: 99 MiB"),
        (KILLED, CAPS, None, 1, None, "out_of_memory: 0 B of 100 MiB"),
        (Ending.signalled(7), CAPS, SPENT, 1, None, MEMORY),
        # SIGXCPU tells its limit; SIGKILL where a second more was spent and nobody stopped it.
        (OF_CPU, CAPS, SPENT, 0, None, CPU),
        (OF_CPU, CAPS, SPENT, 0, StopReason.CANCELLED, CPU),
        (OF_CPU, CAPS, None, 0, None, "cpu_exceeded: 0.0 s of 1.5 s of CPU time"),
        (OF_CPU, Caps(cpu=0.5), Usage(cpu_user=0.96), 0, None, "cpu_exceeded: 1.0 s of 0.5 s of CPU time"),
        (OF_CPU, Caps(cpu=1), Usage(cpu_user=0.81), 0, None, "cpu_exceeded: 0.8 s of 1 s of CPU time"),
        (OF_CPU, Caps(cpu=2), Usage(cpu_user=0.9), 0, None, "signalled: the process was ended by signal 24"),
        (OF_CPU, NO_CAPS, SPENT, 0, None, "signalled: the process was ended by signal 24"),
        (KILLED, CAPS, SPENT, 0, None, CPU),
        (
            KILLED,
            Caps(cpu=2),
            Usage(cpu_user=2, cpu_system=0.95),
            0,
            None,
            "cpu_exceeded: 3.0 s of 2 s of CPU time",
        ),
        (KILLED, CAPS, Usage(cpu_user=2.5), 0, None, "signalled: the process was ended by signal 9"),
        (KILLED, CAPS, SPENT, 0, StopReason.CANCELLED, "signalled: the process was ended by signal 9"),
        (KILLED, CAPS, None, 0, None, "signalled: the process was ended by signal 9"),
        (KILLED, NO_CAPS, SPENT, 0, None, "signalled: the process was ended by signal 9"),
        # SIGXFSZ where the output is what was too large.
        (OF_FILE_SIZE, CAPS, SPENT, 0, None, OUTPUT),
        (OF_FILE_SIZE, CAPS, Usage(output_bytes=5), 0, None, "signalled: the process was ended by signal 25"),
        (OF_FILE_SIZE, NO_CAPS, SPENT, 0, None, "signalled: the process was ended by signal 25"),
        (Ending.signalled(15), CAPS, SPENT, 0, None, "signalled: the process was ended by signal 15"),
    ],
)
def test_an_attempt_that_was_killed_for_a_limit_ended_by_that(
    ending: Ending,
    caps: Caps,
    usage: Usage | None,
    oom_kills: int,
    stop_reason: StopReason | None,
    error: str,
) -> None:
    found = by_limit(ending, caps, usage, oom_kills, stop_reason)
    assert found.error == error
    assert found.signal == ending.signal


@pytest.mark.parametrize("name", [name for name in ENDINGS if name != "signalled"])
def test_an_attempt_that_was_not_killed_ended_as_it_did_whatever_it_used(name: str) -> None:
    assert by_limit(ENDINGS[name], CAPS, SPENT, 1, None) is ENDINGS[name]


@pytest.mark.parametrize("reason", [None, *StopReason])
def test_an_attempt_that_was_killed_for_a_limit_keeps_that_name_whoever_stops_it(
    reason: StopReason | None,
) -> None:
    ending = by_limit(OF_CPU, CAPS, SPENT, 0, reason)
    assert verdict(ending, reason, 5.0).outcome is Outcome.CPU_EXCEEDED
