"""When a call, a wait or a connection is tried again, without a socket or a clock."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from bgjob import calls, errors, managing_calls, retrying, submitting_calls
from bgjob.answers import JobRead
from bgjob.errors import (
    BgjobError,
    BrokenError,
    JobNotFoundError,
    ProtocolError,
    ShuttingDownError,
    TooManyConnectionsError,
    WaitTimeoutError,
)
from bgjob.retrying import Breaks
from tests.client.scripted import broken, group


@pytest.mark.parametrize(
    "call",
    [
        calls.cancel([1]),
        calls.retry([1]),
        managing_calls.reload(),
        managing_calls.prune([1], 2),
        managing_calls.prune_logs("2026", 0),
    ],
)
def test_what_may_have_been_done_is_repeated_only_if_it_was_never_sent_whole(call: calls.Call[Any]) -> None:
    assert retrying.may_ask_again(call, broken(was_sent=False), True)
    assert not retrying.may_ask_again(call, broken(was_sent=True), True)
    assert retrying.may_ask_again(call, ShuttingDownError(), True)


@pytest.mark.parametrize(
    "call",
    [
        calls.get(1),
        managing_calls.stats(),
        managing_calls.pause("a"),
        submitting_calls.submit({"class_name": "A", "method_name": "b"}, 1, 1),
    ],
)
def test_what_does_no_harm_twice_is_repeated(call: calls.Call[Any]) -> None:
    assert retrying.may_ask_again(call, broken(was_sent=True), True)


@pytest.mark.parametrize(
    ("error", "was_reached", "may"),
    [
        (errors.unreachable("/x", FileNotFoundError(2, "gone")), True, True),
        (errors.unreachable("/x", FileNotFoundError(2, "gone")), False, False),
        (errors.NoAnswerError("/x", 5.0), True, False),
        (JobNotFoundError(id=1), True, False),
        (ProtocolError("no JSON"), True, False),
    ],
)
def test_only_what_may_get_better_is_tried_again(error: BgjobError, was_reached: bool, may: bool) -> None:
    assert retrying.may_ask_again(managing_calls.stats(), error, was_reached) is may


def test_a_broken_call_is_tried_at_once_and_then_after_pauses_until_its_time_is_up() -> None:
    tries, now, found = retrying.Tries(managing_calls.stats(), deadline=5.0), 0.0, []
    with suppress(BrokenError):
        while len(found) < 99:
            found.append(tries.pause_after(broken(was_sent=True), True, now))
            now += found[-1]
    assert found == [0.0, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]


def test_who_waits_for_a_place_is_told_that_there_was_none_once_the_time_is_up() -> None:
    tries, now, found = retrying.Tries(calls.cancel([1]), deadline=5.0), 0.0, []
    refusal = TooManyConnectionsError(limit=3, setting="max_connections")
    refusal.is_first = True
    with suppress(TooManyConnectionsError):
        while len(found) < 99:
            found.append(tries.pause_after(refusal, False, now))
            now += found[-1]
    assert 4.0 <= now < 5.0
    assert all(full / 2 <= pause <= full for full, pause in zip([0.1, 0.2, 0.4, 0.8], found, strict=False))


def test_a_job_that_has_not_ended_is_late_whatever_its_timeout() -> None:
    waiting = retrying.WaitingForJob(3, 0.5, now=10.0)
    with pytest.raises(WaitTimeoutError, match=r"job 3 is running after 0\.5 s; it goes on"):
        waiting.ended(JobRead({"id": 3, "status": "running"}, None))


def test_a_wait_asks_for_the_time_that_is_left_and_pauses_no_longer() -> None:
    waiting = retrying.WaitingForJob(3, 2.0, now=10.0)
    assert waiting.call(10.5).parameters == {"id": 3, "timeout": 1.5}
    assert (waiting.shortened(1.0, 10.5), waiting.shortened(1.0, 11.5)) == (1.0, 0.5)
    with pytest.raises(WaitTimeoutError, match="no daemon tells how job 3 stands"):
        waiting.shortened(1.0, 12.0)
    assert retrying.WaitingForJob(3, None, now=10.0).call(99.0).parameters == {"id": 3}


def test_a_wait_by_a_key_tells_the_job_by_it_until_its_id_is_known() -> None:
    waiting = retrying.WaitingForJob(None, 2.0, now=10.0, key="door")
    assert waiting.call(10.5).parameters == {"key": "door", "timeout": 1.5}
    with pytest.raises(WaitTimeoutError, match="no daemon tells how job door stands"):
        waiting.shortened(1.0, 12.0)
    with pytest.raises(WaitTimeoutError, match=r"job 3 is running after 2 s"):
        waiting.ended(JobRead({"id": 3, "status": "running"}, None))


def test_a_group_that_has_not_ended_is_late_and_says_what_it_waits_for() -> None:
    waiting = retrying.WaitingForGroup(5, 0.5, now=10.0)
    assert waiting.call(10.2).parameters == {"id": 5, "timeout": pytest.approx(0.3)}
    assert waiting.ended(group(5, "failed"))["failed"] == 3
    with pytest.raises(
        WaitTimeoutError, match=r"group 5 has 3 of 3 members that have not ended after 0\.5 s"
    ):
        waiting.ended(group(5))
    with pytest.raises(WaitTimeoutError, match="have not ended and is not sealed after"):
        waiting.ended(group(5, "open"))
    with pytest.raises(WaitTimeoutError, match=r"^group 5 is not sealed after"):
        waiting.ended(group(5, "open", total=0, unfinished=0))


def pauses(breaks: Breaks, now: float = 0.0) -> list[float]:
    found = []
    while (pause := breaks.try_pause(now)) is not None:
        found.append(pause)
        now += pause
    return found


def test_pauses_double_from_a_tenth_to_a_second_and_end_after_half_a_minute() -> None:
    found = pauses(Breaks())
    assert found[:6] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert set(found[4:]) == {1.0}
    assert 30.0 <= sum(found) < 31.0


def test_an_answer_mends_and_so_does_a_connection_that_holds() -> None:
    breaks = Breaks()
    whole = pauses(breaks)
    breaks.answered()
    assert pauses(breaks) == whole
    breaks.connected(100.0)
    assert pauses(breaks, 101.0) == whole


def test_a_connection_that_is_closed_at_once_mends_nothing() -> None:
    breaks, now, count = Breaks(), 0.0, 0
    while (pause := breaks.try_pause(now)) is not None:
        now += pause
        breaks.connected(now)
        count += 1
    assert count == len(pauses(Breaks()))
