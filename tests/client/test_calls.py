"""What is asked, what an answer means, when to ask again: the client's rules, without a socket."""

from __future__ import annotations

import base64
import pickle
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

import bgjob
from bgjob import answers, calls, errors, following, retrying
from bgjob.answers import JobRead
from bgjob.codec import JsonObject, Reply
from bgjob.errors import (
    BgjobError,
    BrokenError,
    InvalidParametersError,
    JobNotFoundError,
    ProtocolError,
    ShuttingDownError,
    TooLargeError,
    WaitTimeoutError,
)
from bgjob.following import Conversation, Endings, FollowedLogs, FollowedOutput, Watched
from bgjob.retrying import Breaks
from tests.client.scripted import entry, summary, whole


class Email:
    """A class whose name stands for it."""


def told(conversation: Conversation[Any], *replies: Any) -> list[Any]:
    return [item for reply in replies for item in conversation.take(Reply(reply, continues=True), 10.0)]


def part(number: int, offset: int, data: bytes, is_end: bool = False) -> dict[str, Any]:
    text = base64.b64encode(data).decode()
    return {
        "number": number,
        "left_out": 0,
        "offset": offset,
        "data": text,
        "next": offset + len(data),
        "is_end": is_end,
    }


# Requests


def test_a_submission_names_the_class_carries_a_key_and_leaves_open_what_nobody_gave() -> None:
    job = {"class_name": Email, "method_name": "send", "parameters": None, "options": {"queue": None}}
    call = calls.submit(job, None, 2.5)
    assert call.method == "org.bgjobd.Jobs.Submit"
    options = call.parameters.pop("options")
    assert call.parameters == {"class_name": f"{__name__}.Email", "method_name": "send"}
    assert options.pop("retry_delay") == 2.5
    assert calls.is_made_here(options.pop("idempotency_key"))
    assert options == {}


def test_the_callers_own_options_come_before_the_clients() -> None:
    options = {"max_retries": 1, "idempotency_key": "mine"}
    call = calls.submit({"class_name": "a.B", "method_name": "c", "options": options}, 9, None)
    assert call.parameters["options"] == {"max_retries": 1, "idempotency_key": "mine"}
    assert not calls.is_made_here("mine")


def test_every_submission_has_a_key_of_its_own() -> None:
    job = {"class_name": "a.B", "method_name": "c"}
    jobs = calls.submit_many([job] * 100, None, None).parameters["jobs"]
    assert len({one["options"]["idempotency_key"] for one in jobs}) == 100


@pytest.mark.parametrize(
    "call",
    [calls.cancel([1]), calls.retry([1]), calls.reload(), calls.prune([1], 2), calls.prune_logs("2026", 0)],
)
def test_what_may_have_been_done_is_repeated_only_if_it_was_never_sent_whole(call: calls.Call[Any]) -> None:
    assert retrying.may_ask_again(call, broken(was_sent=False), True)
    assert not retrying.may_ask_again(call, broken(was_sent=True), True)
    assert retrying.may_ask_again(call, ShuttingDownError(), True)


def broken(was_sent: bool) -> BrokenError:
    return BrokenError("/run/bgjobd.sock", "the daemon closed it", was_sent)


@pytest.mark.parametrize(
    "call",
    [
        calls.get(1),
        calls.stats(),
        calls.pause("a"),
        calls.submit({"class_name": "A", "method_name": "b"}, 1, 1),
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
    assert retrying.may_ask_again(calls.stats(), error, was_reached) is may


def test_a_broken_call_is_tried_at_once_and_then_after_pauses_until_its_time_is_up() -> None:
    tries, now, found = retrying.Tries(calls.stats(), deadline=5.0), 0.0, []
    with suppress(BrokenError):
        while len(found) < 99:
            found.append(tries.pause_after(broken(was_sent=True), True, now))
            now += found[-1]
    assert found == [0.0, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]


def nested(depth: int) -> list[Any]:
    return [nested(depth - 1)] if depth else []


@pytest.mark.parametrize(
    ("parameters", "error", "told"),
    [
        ({"text": "a\0b"}, InvalidParametersError, "a text holds a NUL character"),
        ({"deep": nested(40)}, InvalidParametersError, "nested"),
        ({"large": "x" * 2**20}, TooLargeError, "the limit is 1048576"),
    ],
)
def test_a_request_that_daemons_hang_up_on_is_told_as_what_it_is(
    parameters: JsonObject, error: type[BgjobError], told: str
) -> None:
    job = {"class_name": "a.B", "method_name": "c", "parameters": parameters}
    tries = retrying.Tries(calls.submit(job, None, None), deadline=5.0)
    assert tries.pause_after(broken(was_sent=True), True, 0.0) == 0.0
    with pytest.raises(error, match=told):
        tries.pause_after(broken(was_sent=True), True, 0.1)


class Circle(dict[str, Any]):
    """A mapping that holds itself."""

    def __init__(self) -> None:
        super().__init__(self_=self)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        (
            {"a": {"when": [1, date(2026, 12, 4)]}},
            r"a\.when\.1: Object of type date is not JSON serializable",
        ),
        ({"n": float("nan")}, "n: Out of range float values are not JSON compliant"),
        ({"t": "\ud800"}, "t: 'utf-8' codec can't encode"),
        ({"t": {(1, 2): 3}}, "keys must be str"),
        ({"t": Circle()}, "it is nested deeper than 32 levels"),
    ],
)
def test_what_json_cannot_hold_is_named_with_its_place(parameters: JsonObject, told: str) -> None:
    job = {"class_name": "a.B", "method_name": "c", "parameters": parameters}
    with pytest.raises(InvalidParametersError, match=told):
        calls.frame_of(calls.submit(job, None, None).request)


def test_times_of_datetime_are_sent_as_a_daemon_takes_them() -> None:
    options = {"at": datetime(2026, 12, 4, 14, 31, tzinfo=UTC), "retry_delay": timedelta(minutes=5)}
    sent = calls.submit({"class_name": "a.B", "method_name": "c", "options": options}, 3, None)
    told = sent.parameters["options"]
    assert (told["at"], told["retry_delay"], told["max_retries"]) == ("2026-12-04T14:31:00+00:00", 300.0, 3)


def test_a_job_without_a_class_is_left_to_the_daemon_to_refuse() -> None:
    assert "class_name" not in calls.submit_many([{"method_name": "c"}], None, None).parameters["jobs"][0]


@pytest.mark.parametrize(
    "error",
    [
        *(
            broken(was_sent=True),
            errors.NoAnswerError("/x", 5.0),
            errors.unreachable("/x", OSError(2, "gone")),
        ),
        *(JobNotFoundError(id=3), bgjob.JobFailedError({"id": 1, "error": "E: x"}), ProtocolError("no JSON")),
        *(bgjob.Snooze(5.0), bgjob.Retry("why", delay=3.0), bgjob.Fail("why"), WaitTimeoutError("late")),
        bgjob.AttemptError("failed", "ValueError", "x", None),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_the_way_to_another_process(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (type(error), str(error))
    assert vars(error).items() <= vars(copy).items()


def test_filters_that_are_not_given_are_not_sent_and_one_status_is_a_list() -> None:
    call = calls.list_jobs("failed", None, Email, None, None, None, 5)
    assert call.parameters == {"status": ["failed"], "class_name": f"{__name__}.Email", "limit": 5}
    assert calls.list_jobs(None, None, None, None, None, None, None).parameters == {}


# Answers


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (calls.submit({"class_name": "A", "method_name": "b"}, None, None), {"id": "1"}),
        (calls.submit({"class_name": "A", "method_name": "b"}, None, None), {"id": True}),
        (calls.submit_many([], None, None), {"ids": [1, "2"]}),
        (calls.get(1), {}),
        (calls.get(1), {"job": {"status": "dancing"}}),
        (calls.list_jobs(None, None, None, None, None, None, None), {"jobs": [1], "next": None}),
        (calls.list_jobs(None, None, None, None, None, None, None), {"jobs": [], "next": "1"}),
        (calls.logs_of(1), {"entries": [], "next": None}),
        (calls.output(1, None, 0), part(1, 0, b"") | {"data": "no base64!"}),
        (calls.output(1, None, 0), part(1, 0, b"") | {"is_end": 1}),
        (calls.output(1, None, 0), part(1, 0, b"") | {"left_out": None}),
        (calls.reload(), {"code_version": None}),
        (calls.prune([1], 2), {"ids": [1], "entries": None}),
        (calls.prune_logs("2026", 0), {"entries": 1, "next": "1"}),
    ],
)
def test_an_answer_of_another_shape_is_a_protocol_error(call: calls.Call[Any], answer: Any) -> None:
    with pytest.raises(ProtocolError):
        call.answer(Reply(answer))


def test_an_error_is_raised_as_what_it_is() -> None:
    with pytest.raises(JobNotFoundError):
        calls.get(7).answer(Reply({"id": 7}, error=JobNotFoundError.error_name))


def test_a_page_can_be_gone_through_and_says_where_it_goes_on() -> None:
    page = calls.logs_of(1).answer(Reply({"entries": [entry(1), entry(2)], "next": 2, "is_complete": False}))
    assert [one["id"] for one in page] == [1, 2]
    assert (len(page), page.next, page.is_complete) == (2, 2, False)


def test_a_page_tells_its_total_where_the_daemon_does() -> None:
    call = calls.list_jobs(None, None, None, None, None, None, 1, count=10)
    assert call.parameters == {"limit": 1, "count": 10}
    reply = {"jobs": [summary(1)], "next": None, "is_complete": True}
    assert call.answer(Reply({**reply, "total": 7})).total == 7
    assert call.answer(Reply({**reply, "total": None})).total is None
    assert call.answer(Reply(reply)).total is None  # of a daemon before there were totals
    with pytest.raises(ProtocolError):
        call.answer(Reply({**reply, "total": "7"}))


def test_a_job_that_has_not_ended_is_late_whatever_its_timeout() -> None:
    waiting = retrying.Waiting(3, 0.5, now=10.0)
    with pytest.raises(WaitTimeoutError, match=r"job 3 is running after 0\.5 s; it goes on"):
        waiting.ended(JobRead({"id": 3, "status": "running"}, None))


def test_a_wait_asks_for_the_time_that_is_left_and_pauses_no_longer() -> None:
    waiting = retrying.Waiting(3, 2.0, now=10.0)
    assert waiting.call(10.5).parameters == {"id": 3, "timeout": 1.5}
    assert (waiting.shortened(1.0, 10.5), waiting.shortened(1.0, 11.5)) == (1.0, 0.5)
    with pytest.raises(WaitTimeoutError, match="no daemon tells how job 3 stands"):
        waiting.shortened(1.0, 12.0)
    assert retrying.Waiting(3, None, now=10.0).call(99.0).parameters == {"id": 3}


@pytest.mark.parametrize("further", [5, 6])
def test_pages_of_attempts_that_do_not_get_on_are_no_answer(further: int) -> None:
    latest = JobRead(whole(3, attempts=[{"number": 5}]), 5)
    earlier = JobRead(whole(3, attempts=[{"number": 4}]), None)
    assert latest.with_earlier(earlier).job["attempts"] == [{"number": 4}, {"number": 5}]
    with pytest.raises(ProtocolError, match="no valid 'next'"):
        latest.with_earlier(JobRead(earlier.job, further))


# Following


def test_logs_go_on_behind_the_last_entry_and_keep_their_filters() -> None:
    logs = FollowedLogs(None, None, None, "failure", None, None, 3)
    assert logs.request.parameters == {"type": "failure", "limit": 3}
    assert logs.request.more
    conversation = Conversation(logs)
    replies = [{"entries": [entry(4), entry(6)], "next": 6, "is_complete": True}]
    assert [one["id"] for one in told(conversation, *replies)] == [4, 6]
    assert logs.request.parameters == {"type": "failure", "after": 6}
    told(conversation, {"entries": [], "next": 9, "is_complete": True})
    assert logs.request.parameters == {"type": "failure", "after": 9}


def test_logs_of_no_job_do_not_end_with_a_daemon_that_says_so() -> None:
    with pytest.raises(ShuttingDownError):
        Conversation(FollowedLogs(None, None, None, None, None, None, None)).take(Reply(), 10.0)
    conversation = Conversation(FollowedLogs(5, None, None, None, None, None, None))
    assert conversation.take(Reply(), 10.0) == []
    assert conversation.is_over


def test_output_goes_on_in_the_attempt_and_at_the_byte_where_it_was() -> None:
    output = FollowedOutput(8, None)
    conversation = Conversation(output)
    assert told(conversation, part(0, 0, b"")) == []
    assert output.request.parameters == {"id": 8}
    assert told(conversation, part(1, 0, b"ab"), part(2, 0, b"c")) == [
        (1, b"ab", 0, 0),
        (2, b"c", 0, 0),
    ]
    assert output.request.parameters == {"id": 8, "number": 2, "offset": 1}


def test_a_part_says_what_was_left_out_before_it_and_may_hold_nothing_else() -> None:
    conversation = Conversation(FollowedOutput(8, None))
    replies = [part(1, 0, b"head"), part(1, 9, b"tail") | {"left_out": 5}, part(1, 20, b"") | {"left_out": 7}]
    parts = told(conversation, *replies, part(1, 20, b"", is_end=True))
    assert parts == [(1, b"head", 0, 0), (1, b"tail", 5, 9), (1, b"", 7, 20)]
    assert b"".join(part.marked for part in parts) == (
        b"head\n[... 5 bytes left out ...]\ntail\n[... 7 bytes left out ...]\n"
    )
    assert conversation.request.parameters == {"id": 8, "number": 1, "offset": 20}


def test_only_the_first_request_for_output_counts_from_the_end() -> None:
    output = FollowedOutput(8, None, tail=100)
    conversation = Conversation(output)
    assert output.request.parameters == {"id": 8, "offset": -100}
    told(conversation, part(1, 900, b"ab"))
    assert output.request.parameters == {"id": 8, "number": 1, "offset": 902}


def test_a_watch_tells_nothing_twice_and_asks_again_only_for_what_is_open() -> None:
    watched = Watched([1, 2])
    conversation = Conversation(watched)
    first = [{"job": summary(1)}, {"job": summary(2, "completed")}]
    assert len(told(conversation, *first)) == 2
    assert watched.request.parameters == {"ids": [1]}
    assert told(conversation, {"job": summary(1)}) == []
    with pytest.raises(ShuttingDownError):
        conversation.take(Reply(), 10.0)
    assert told(conversation, {"job": summary(1, "failed", 1)}) == [summary(1, "failed", 1)]
    assert conversation.is_over


def test_a_watch_without_ids_begins_with_a_greeting() -> None:
    conversation = Conversation(Watched(None, queue="mail"))
    assert conversation.request.parameters == {"queue": "mail"}
    assert conversation.is_unanswered
    assert told(conversation, {"job": None}) == []
    assert not conversation.is_unanswered
    assert told(conversation, {"job": summary(1)}, {"job": summary(1, "completed")}) != []
    assert not conversation.is_over


def test_ends_are_told_once_each_in_their_order() -> None:
    endings = Endings([(1, "a"), (2, "b"), (1, "c")])
    conversation = Conversation(endings)
    assert conversation.grace(9.0, 5.0) == 14.0
    conversation.connected(10.0)
    assert told(conversation, {"job": summary(1, "running")}) == []
    assert conversation.grace(11.0, 5.0) == 15.0
    assert [job for job, _ in told(conversation, {"job": summary(2, "failed")})] == ["b"]
    assert conversation.grace(11.0, 5.0) == 0.0
    assert endings.request.parameters == {"ids": [1]}
    assert [job for job, _ in told(conversation, {"job": summary(1, "completed")})] == ["a", "c"]
    assert conversation.is_over


def test_jobs_are_followed_together_by_socket_and_very_many_apart() -> None:
    many = [("/a", number, number) for number in range(following.MOST_IDS + 1)]
    streams = following.endings_by_path([*many, ("/b", 1, 1)])
    assert [(path, len(one.request.parameters["ids"])) for path, one in streams] == [
        ("/a", following.MOST_IDS),
        ("/a", 1),
        ("/b", 1),
    ]


def test_many_ids_are_watched_over_several_streams_and_no_ids_over_none() -> None:
    asked = [
        one.request.parameters for one in following.watched(range(1, following.MOST_IDS + 2), None, None)
    ]
    assert [len(one["ids"]) for one in asked] == [following.MOST_IDS, 1]
    assert following.watched([], None, None) == []
    assert [one.request.parameters for one in following.watched(7, None, None)] == [{"ids": [7]}]
    assert [one.request.parameters for one in following.watched(None, "mail", None)] == [{"queue": "mail"}]


def test_a_daemon_that_owes_an_answer_may_be_silent_for_the_timeout_only() -> None:
    conversation = Conversation(Watched([1, 2]))
    assert conversation.due_at(5.0) is None
    conversation.connected(3.0)
    assert conversation.due_at(5.0) == 8.0
    told(conversation, {"job": summary(1)})
    assert conversation.due_at(5.0) == 15.0
    told(conversation, {"job": summary(2)})
    assert conversation.due_at(5.0) is None


# Breaks


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


# Addresses


@pytest.mark.parametrize(
    ("address", "environ", "path"),
    [
        ("/x", {"BGJOBD_SOCKET": "/y"}, "/x"),
        ("unix:/x", {}, "/x"),
        (None, {"BGJOBD_SOCKET": "unix:/y", "XDG_RUNTIME_DIR": "/own"}, "/y"),
        (None, {"XDG_RUNTIME_DIR": "/own"}, "/own/bgjobd.sock"),
        (None, {"XDG_RUNTIME_DIR": "/none"}, "/run/bgjobd.sock"),
        (None, {}, "/run/bgjobd.sock"),
    ],
)
def test_the_socket_is_the_address_the_variable_the_persons_or_the_systems(
    address: str | None, environ: dict[str, str], path: str
) -> None:
    assert calls.socket_path(address, environ, lambda path: path.startswith("/own")) == path


def test_a_job_of_which_the_daemon_told_no_result_is_a_broken_answer() -> None:
    with pytest.raises(ProtocolError, match="'result'"):
        answers.result_of({"id": 1, "status": "completed"})


def test_what_the_daemon_did_not_tell_of_a_job_that_failed_is_a_question_mark() -> None:
    with pytest.raises(bgjob.JobFailedError, match=r"^job 1 failed: \?$"):
        answers.result_of({"id": 1, "status": "failed"})
