"""What is asked of a stream that broke off, and what its replies tell, without a socket."""

from __future__ import annotations

from typing import Any

import pytest

from bgjob import following
from bgjob.answers import Value
from bgjob.codec import Reply
from bgjob.errors import (
    ShuttingDownError,
)
from bgjob.following import (
    Conversation,
    Endings,
    FollowedBareValues,
    FollowedLogs,
    FollowedOutput,
    FollowedValues,
    Watched,
)
from tests.client.scripted import entry, part, summary


def told(conversation: Conversation[Any], *replies: Any) -> list[Any]:
    return [item for reply in replies for item in conversation.take(Reply(reply, continues=True), 10.0)]


def test_logs_go_on_behind_the_last_entry_and_keep_their_filters() -> None:
    logs = FollowedLogs(type="failure", limit=3)
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
        Conversation(FollowedLogs()).take(Reply(), 10.0)
    conversation = Conversation(FollowedLogs(id=5))
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


@pytest.mark.parametrize("has_places", [True, False])
def test_values_go_on_behind_the_last_one_and_end_with_the_reply_that_says_so(has_places: bool) -> None:
    gaps: list[int] = []
    values = FollowedValues(8, 3, gaps.append) if has_places else FollowedBareValues(8, 3)
    conversation: Conversation[Any] = Conversation(values)
    assert values.request.parameters == {"id": 8, "after": 3}
    assert values.request.more
    one = {"number": 7, "attempt": 2, "step": "label 3", "at": "2026-11-28T14:35:00.000000Z", "value": [1]}
    (item,) = told(conversation, {"values": [one], "next": 7, "left_out": 3, "is_end": False})
    assert item == (Value(**one) if has_places else [1])
    assert gaps == ([3] if has_places else [])
    assert values.request.parameters == {"id": 8, "after": 7}
    with pytest.raises(ShuttingDownError):
        conversation.take(Reply(), 10.0)
    assert not conversation.is_over
    assert told(conversation, {"values": [], "next": 7, "left_out": 0, "is_end": True}) == []
    assert conversation.is_over


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
        one.request.parameters
        for one in following.watched(range(1, following.MOST_IDS + 2), None, None, None)
    ]
    assert [len(one["ids"]) for one in asked] == [following.MOST_IDS, 1]
    assert following.watched([], None, None, None) == []
    assert [one.request.parameters for one in following.watched(7, None, None, None)] == [{"ids": [7]}]
    for queue, label, told in (("mail", None, {"queue": "mail"}), (None, "tenant:7", {"label": "tenant:7"})):
        assert [one.request.parameters for one in following.watched(None, queue, None, label)] == [told]


def test_a_daemon_that_owes_an_answer_may_be_silent_for_the_timeout_only() -> None:
    conversation = Conversation(Watched([1, 2]))
    assert conversation.due_at(5.0) is None
    conversation.connected(3.0)
    assert conversation.due_at(5.0) == 8.0
    told(conversation, {"job": summary(1)})
    assert conversation.due_at(5.0) == 15.0
    told(conversation, {"job": summary(2)})
    assert conversation.due_at(5.0) is None
