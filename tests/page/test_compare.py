"""The page of two attempts side by side: what differs first, and what somebody asks for that is not there."""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgjob.codec import Request as Asked
from bgjobd.web.exchange import Request, Response
from bgjobd.web.settings import Settings
from bgjobd.web.views import Page
from tests.client.scripted import Line, ScriptedDaemon
from tests.page.serving import SAMPLES, tell_samples
from tests.page.test_render import HOSTILE, Read, is_text


class TwoJobs:
    """A page over a daemon that has job 1 with two attempts, and job 2, which has completed."""

    def __init__(self, socket: Path) -> None:
        self._page = Page(Settings(f"unix:{socket}", "unix:/nowhere"))
        self.reset()

    def reset(self) -> None:
        told = copy.deepcopy(SAMPLES["job"])
        (one,) = told["attempts"]
        self.jobs: dict[int, Any] = {
            1: told | {"attempts": [one, one | {"number": 2, "outcome": "timed_out", "traceback": "other"}]},
            2: told | {"id": 2, "status": "completed", "attempts": [one | {"outcome": "completed"}]},
        }
        self.printed = {1: b"a\nb\n", 2: b"a\nc\n"}
        self.completed = [SAMPLES["summary"] | {"id": 2, "status": "completed"}]

    def tell(self, line: Line, asked: Asked) -> None:
        given = asked.parameters
        match asked.method.rpartition(".")[2]:
            case "Get" if given["id"] in self.jobs:
                job = self.jobs[given["id"]]
                before = given.get("before") or 99
                line.reply(
                    job=job | {"attempts": [one for one in job["attempts"] if one["number"] < before]},
                    next=None,
                )
            case "Get":
                line.refuse("JobNotFound", id=given["id"])
            case "List":
                line.reply(jobs=self.completed, next=None, next_at=None, is_complete=True)
            case "Output":
                data = self.printed[given["number"]]
                told = base64.b64encode(data).decode()
                line.reply(
                    number=given["number"], left_out=0, offset=0, data=told, next=len(data), is_end=True
                )
            case _:
                tell_samples(line, asked)

    def ask(self, accept: str = "text/html", **query: str) -> Response:
        return self._page.respond(Request("GET", "/compare", query, {"host": "localhost", "accept": accept}))

    def read(self, **query: str) -> Read:
        return Read(self.ask(**query).body.decode())


@pytest.fixture(scope="module")
def only_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoJobs]:
    socket = tmp_path_factory.mktemp("page") / "d.sock"
    page = TwoJobs(socket)
    with ScriptedDaemon(socket, page.tell):
        yield page


@pytest.fixture
def two(only_page: TwoJobs) -> TwoJobs:
    only_page.reset()
    return only_page


def rows(read: Read) -> list[tuple[bool, str]]:
    """Whether each row is the same on both sides."""
    return [
        (dict(attributes).get("class") == "same", tag) for tag, attributes in read.elements if tag == "tr"
    ][1:]


def test_two_attempts_of_a_job_are_side_by_side_those_that_differ_first(two: TwoJobs) -> None:
    read = two.read(a="1.1", b="1.2")
    same = [is_same for is_same, _ in rows(read)]
    assert same == sorted(same)
    assert same.count(False) == 1
    assert ("a", {"href": "/jobs/1?attempt=2#attempt"}) in read.elements
    for text in ("They are the same.", "-b", "+c", "-Traceback (most recent call last):", "+other"):
        assert text in read.text


def test_alone_it_is_beside_the_last_that_completed(two: TwoJobs) -> None:
    assert "Compare 1.2 and 2.1" in two.read(a="1").text
    two.completed = []
    assert "No other job of shop.jobs.Email has completed." in two.read(a="1.1").text


def test_parameters_are_told_by_where_they_differ(two: TwoJobs) -> None:
    two.jobs[2]["parameters"] = {"to": "a@b", "copies": 3}
    text = two.read(a="1.1", b="2.1").text
    assert "/copies" in text
    assert "/to" not in text


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({}, "An attempt is the number of its job"),
        ({"a": "x"}, "An attempt is the number of its job"),
        ({"a": "1.1", "b": "2."}, "An attempt is the number of its job"),
        ({"a": "1.7", "b": "2.1"}, "Job 1 has no attempt 7."),
    ],
)
def test_what_names_no_attempt_is_said_with_what_was_written(
    two: TwoJobs, query: dict[str, str], said: str
) -> None:
    read = two.read(**query)
    assert said in read.text
    written = [attributes.get("value") for tag, attributes in read.elements if tag == "input"]
    assert written == [query.get("a", ""), query.get("b", "")]


def test_a_job_that_is_not_there_is_not_found(two: TwoJobs) -> None:
    assert two.ask(a="9.1", b="1.1").status == 404


def test_the_title_names_what_was_written(two: TwoJobs) -> None:
    for query, title in (
        ({}, "Compare"),
        ({"a": "x"}, "Compare x"),
        ({"a": "1.1", "b": "2."}, "Compare 1.1 and 2."),
    ):
        (told,) = re.findall(r"<title>(.*?)</title>", two.ask(**query).body.decode())
        assert re.split(r" [·–-] ", told)[0].strip() == title


def test_texts_that_are_too_long_are_not_compared(two: TwoJobs) -> None:
    two.printed[1] = b"x\n" * 2001
    assert "Too long: of more than 2,000 lines nothing is compared." in two.read(a="1.1", b="1.2").text


def test_whatever_differs_stays_text(two: TwoJobs) -> None:
    two.printed = {
        1: HOSTILE.encode("utf-8", "replace"),
        2: b"\x1b[31mred\r" + HOSTILE.encode("utf-8", "replace"),
    }
    two.jobs[1]["attempts"][1]["traceback"] = HOSTILE
    two.jobs[2]["parameters"] = {HOSTILE: HOSTILE}
    for query in ({"a": "1.1", "b": "1.2"}, {"a": "1.2", "b": "2.1"}, {"a": HOSTILE, "b": HOSTILE}):
        assert is_text(two.read(**query))


def test_programs_are_told_what_differs(two: TwoJobs) -> None:
    answer = two.ask(accept="application/json", a="1.1", b="1.2")
    assert answer.headers["Content-Type"] == "application/json"
    assert b'"differs": true' in answer.body
