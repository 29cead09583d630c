"""Which error the end of an attempt is, and which ends are none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgjob.fingerprints import Whence, is_fingerprint
from bgjob.words import Outcome
from bgjobd.core.fingerprint import LONGEST_MESSAGE, OTHER, MetError, other_of, try_error
from bgjobd.core.job import Call, Ending
from bgjobd.core.waiting import Wait, WaitKind

CALL = Call("myapp.jobs.Mail", "send")
OTHER_CALL = Call("myapp.jobs.Invoice", "post")
WHENCE = Whence("0123456789abcdef", "myapp.mail:deliver", "mail.py:88", None)
RAISED = Ending.failed(
    "ConnectionError", "no route to 10.0.0.1", error_class="builtins.ConnectionError", whence=WHENCE
)
UNTOLD = replace(RAISED, whence=None)


def error(ending: Ending, call: Call = CALL, has_failed: bool = False) -> MetError:
    found = try_error(ending, call, has_failed)
    assert found is not None
    return found


def test_an_exception_is_the_error_that_its_attempt_tells_whichever_class_meets_it() -> None:
    shown = (Outcome.FAILED, "ConnectionError", "no route to 10.0.0.1", *WHENCE[1:])
    assert error(RAISED) == error(RAISED, OTHER_CALL) == (WHENCE.fingerprint, *shown)


def test_an_exception_of_which_the_attempt_tells_no_more_is_its_type_and_message() -> None:
    found = error(UNTOLD)
    assert is_fingerprint(found.fingerprint)
    assert (
        found.fingerprint
        == error(replace(UNTOLD, error_message="no route to 10.0.0.2"), OTHER_CALL).fingerprint
    )
    assert found.fingerprint != error(replace(UNTOLD, error_message="no route at all")).fingerprint
    assert found.fingerprint != error(replace(UNTOLD, error_class="shop.ConnectionError")).fingerprint
    assert (found.place, found.line, found.name) == (None, None, None)


TIMED_OUT = Ending.timed_out(60.0, Ending.signalled(15))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Ending.signalled(11), Ending.signalled(6)),
        (Ending.exited(1), Ending.exited(2)),
        (Ending.signalled(11), Ending.exited(11)),
        (Ending.signalled(15), TIMED_OUT),
        (Ending.crashed_at_start("signal 11"), Ending.crashed_at_start("exit code 1")),
    ],
)
def test_an_end_without_an_exception_is_its_outcome_with_signal_or_code_and_what_was_called(
    one: Ending, other: Ending
) -> None:
    assert error(one).fingerprint == error(one).fingerprint
    assert error(one).fingerprint != error(other).fingerprint
    assert error(one).fingerprint != error(one, OTHER_CALL).fingerprint


def test_a_limit_is_one_error_however_the_attempt_went_that_met_it() -> None:
    killed = Ending.timed_out(90.0, Ending.signalled(9))
    raised = Ending.timed_out(60.0, RAISED)
    assert len({error(one).fingerprint for one in (TIMED_OUT, killed, raised)}) == 1
    assert error(raised).place is None


@pytest.mark.parametrize(
    ("ending", "is_one"),
    [
        (Ending.completed("1"), False),
        (Ending.snoozed(5.0), False),
        (Ending.suspended(Wait(WaitKind.SLEEP, "", 1), 5.0), False),
        (Ending.cancelled(Ending.signalled(15)), False),
        (Ending.not_started("no room"), False),
        (replace(Ending.signalled(15), spends_retry=False), False),
        (Ending.crashed_at_start("signal 11"), True),
        (Ending.lost("its process is gone"), True),
        (Ending.signalled(9), True),
    ],
)
def test_what_a_job_is_put_off_or_stopped_by_is_no_error(ending: Ending, is_one: bool) -> None:
    assert (try_error(ending, CALL, has_failed=False) is not None) == is_one


def test_what_spends_no_retry_is_an_error_where_the_job_has_failed_by_it() -> None:
    stopped = replace(Ending.signalled(15), spends_retry=False)
    assert error(stopped, has_failed=True).message == stopped.error


def test_a_message_is_kept_as_far_as_it_says_something() -> None:
    assert error(replace(RAISED, error_message="x" * 9999)).message == "x" * LONGEST_MESSAGE
    assert error(Ending.signalled(11)).message == "signalled: the process was ended by signal 11"


def test_of_a_class_with_too_many_names_all_others_are_one() -> None:
    named = error(replace(RAISED, whence=WHENCE._replace(name="order 12")))
    other = other_of(named, "myapp.jobs.Mail")
    assert (other.name, other.place) == (OTHER, WHENCE.place)
    assert other.fingerprint == other_of(error(RAISED), "myapp.jobs.Mail").fingerprint
    assert other.fingerprint != other_of(named, "myapp.jobs.Invoice").fingerprint
