"""What an answer means, and that one of another shape is a broken protocol."""

from __future__ import annotations

from typing import Any

import pytest

import bgjob
from bgjob import answers, calls, managing_calls, submitting_calls
from bgjob.answers import JobRead
from bgjob.codec import Reply
from bgjob.errors import (
    JobNotFoundError,
    ProtocolError,
)
from tests.client.scripted import entry, group, part, summary, whole


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (submitting_calls.submit({"class_name": "A", "method_name": "b"}, None, None), {"id": "1"}),
        (submitting_calls.submit({"class_name": "A", "method_name": "b"}, None, None), {"id": True}),
        (submitting_calls.submit_many([], None, None), {"ids": [1, "2"]}),
        (calls.get(1), {}),
        (calls.get(1), {"job": {"status": "dancing"}}),
        (calls.list_jobs(), {"jobs": [1], "next": None}),
        (calls.list_jobs(), {"jobs": [], "next": "1"}),
        (calls.logs_of(1), {"entries": [], "next": None}),
        (calls.output(1, None, 0), part(1, 0, b"") | {"data": "no base64!"}),
        (calls.output(1, None, 0), part(1, 0, b"") | {"is_end": 1}),
        (calls.output(1, None, 0), part(1, 0, b"") | {"left_out": None}),
        (managing_calls.reload(), {"code_version": None}),
        (managing_calls.prune([1], 2), {"ids": [1], "entries": None}),
        (managing_calls.prune_logs("2026", 0), {"entries": 1, "next": "1"}),
        (calls.group(5), {"group": {**group(5), "unfinished": None}}),
        (calls.groups(None, None, None, None), {"groups": [{}], "next": None}),
        (calls.retry_group(5), {}),
        (calls.graph(1, None), {"jobs": [], "groups": [], "edges": [{"of": "job"}], "is_whole": True}),
        (calls.graph(1, None), {"jobs": [], "groups": [], "edges": []}),
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
    call = calls.list_jobs(limit=1, count=10)
    assert call.parameters == {"limit": 1, "count": 10}
    reply = {"jobs": [summary(1)], "next": None, "is_complete": True}
    assert call.answer(Reply({**reply, "total": 7})).total == 7
    assert call.answer(Reply({**reply, "total": None})).total is None
    assert call.answer(Reply(reply)).total is None  # of a daemon before there were totals
    with pytest.raises(ProtocolError):
        call.answer(Reply({**reply, "total": "7"}))


@pytest.mark.parametrize("further", [5, 6])
def test_pages_of_attempts_that_do_not_get_on_are_no_answer(further: int) -> None:
    latest = JobRead(whole(3, attempts=[{"number": 5}]), 5)
    earlier = JobRead(whole(3, attempts=[{"number": 4}]), None)
    assert latest.with_earlier(earlier).job["attempts"] == [{"number": 4}, {"number": 5}]
    with pytest.raises(ProtocolError, match="no valid 'next'"):
        latest.with_earlier(JobRead(earlier.job, further))


def test_a_job_of_which_the_daemon_told_no_result_is_a_broken_answer() -> None:
    with pytest.raises(ProtocolError, match="'result'"):
        answers.result_of({"id": 1, "status": "completed"})


def test_what_the_daemon_did_not_tell_of_a_job_that_failed_is_a_question_mark() -> None:
    with pytest.raises(bgjob.JobFailedError, match=r"^job 1 failed: \?$"):
        answers.result_of({"id": 1, "status": "failed"})
