"""What an attempt came to: every ending under every reason to stop, and what a policy says of a retry."""

from __future__ import annotations

import pytest

from bgjob.words import Outcome
from bgjobd.core.job import Ending
from bgjobd.core.verdict import StopReason, verdict

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
