"""Errors at a stand-in: which are one, as at a daemon, and which jobs have met them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

import bgjob.testing
from bgjob import Client, ErrorGroupNotFoundError
from bgjob.errors import InvalidParameterError


class MailDown(Exception):
    pass


def deliver(to: str) -> None:
    raise MailDown(f"no route to {to}")


class Mail:
    def send(self, to: str) -> None:
        deliver(to)

    def leave(self, code: int) -> None:
        sys.exit(code)

    def succeed(self) -> None:
        pass


class Invoice:
    def post(self, to: str) -> None:
        deliver(to)

    def charge(self) -> None:
        error = ValueError("no money")
        error.error_group = "declined"  # type: ignore[attr-defined]  # what this is about
        raise error


@pytest.fixture
def client() -> Iterator[Client]:
    with bgjob.testing.inline(), Client() as client:
        yield client


def run(client: Client, method: Any, *given: Any) -> int:
    job = client.run_background_job(*bgjob.typed.of_method(method, given, {}), max_retries=0)
    return job.id


def test_one_error_of_two_classes_is_one_and_tells_who_met_it(client: Client) -> None:
    first, last = run(client, Mail.send, "ann"), run(client, Invoice.post, "bob")
    run(client, Mail.succeed)
    (error,) = client.errors().items
    assert (error["place"], error["message"]) == (f"{__name__}:deliver", "no route to bob")
    assert (error["attempts"], error["failed"], error["first_job"], error["last_job"]) == (2, 2, first, last)
    read = client.error(error["id"])
    assert {name.rpartition(".")[2]: count for name, count in read.classes.items()} == {
        "Mail": 1,
        "Invoice": 1,
    }
    assert read.traceback is not None
    assert [job["id"] for job in client.list(error=error["id"])] == [last, first]
    assert client.get(first).snapshot["attempts"][0]["error_group"] == error["id"]


def test_a_word_and_an_exit_code_tell_errors_apart(client: Client) -> None:
    run(client, Invoice.charge)
    for code in (3, 3, 4):
        run(client, Mail.leave, code)
    told = [(error["outcome"], error["name"], error["attempts"]) for error in client.errors()]
    assert told == [("exited", None, 1), ("exited", None, 2), ("failed", "declined", 1)]


def test_errors_are_told_in_pages_and_by_class(client: Client) -> None:
    run(client, Mail.send, "ann")
    run(client, Invoice.charge)
    page = client.errors(limit=1)
    assert [error["id"] for error in (*page, *client.errors(before=page.next))] == [2, 1]
    assert [error["id"] for error in client.errors(class_name=Mail, new=True)] == [1]
    run(client, Mail.send, "ann")
    first = client.errors(sort="failed", limit=1)
    assert [error["id"] for error in (*first, *client.errors(sort="failed", before=first.next))] == [1, 2]
    with pytest.raises(InvalidParameterError, match="sort"):
        client.errors(sort="worst")
    with pytest.raises(ErrorGroupNotFoundError):
        client.error(3)
    with pytest.raises(InvalidParameterError, match="since"):
        client.errors(since="yesterday")
