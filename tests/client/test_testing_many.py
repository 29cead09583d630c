"""All that match at a stand-in, by the daemon's rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import bgjob.testing
from bgjob import Client, Filter
from bgjob.commands import arguments
from bgjob.errors import ChangedError, InvalidParameterError


class Mail:
    works = False

    def send(self) -> None:
        if not self.works:
            raise ConnectionError("no route")


FAILED = Filter(status="failed", class_name=Mail)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(Mail, "works", False)
    with bgjob.testing.inline(), Client() as client:
        yield client


def send(client: Client, most: int = 1) -> int:
    name = f"{Mail.__module__}.{Mail.__qualname__}"
    return client.run_background_job(name, "send", max_retries=most, retry_count=most).id


def test_what_failed_is_counted_and_run_again_but_what_may_be_tried_once(
    client: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [send(client), send(client), send(client, most=0)]
    matched = client.matching(FAILED, "retry")
    assert (matched.jobs, matched.at_most_once) == (3, 1)
    monkeypatch.setattr(Mail, "works", True)
    done = client.retry_matching(FAILED, as_of=matched.as_of, expected=3)
    assert (done.done, done.left_out) == (2, 1)
    assert [job["id"] for job in client.list(bulk=done.change)] == jobs[1::-1]
    assert client.get(jobs[0]).snapshot["status"] == "completed"
    shown = arguments.parse(["show", str(jobs[0])])
    assert shown.run(client, shown) == 0
    assert f"change {done.change}, with others" in capsys.readouterr().out
    (change,) = client.changes().items
    assert (change["id"], change["kind"], change["what"]["done"]) == (done.change, "retried_many", 2)


def test_more_than_were_expected_are_changed(client: Client) -> None:
    send(client)
    as_of = client.matching(FAILED, "retry").as_of
    with pytest.raises(ChangedError):
        client.retry_matching(FAILED, as_of=as_of, expected=0)
    assert client.changes().items == []


def test_those_that_wait_are_cancelled() -> None:
    with bgjob.testing.recorded(), Client() as client:
        jobs = [send(client), send(client)]
        wanted = Filter(class_name=Mail)
        done = client.cancel_matching(wanted, as_of=client.matching(wanted, "cancel").as_of, expected=2)
        assert done.done == 2
        assert {client.get(id).snapshot["status"] for id in jobs} == {"cancelled"}


class Itself:
    def cancel(self) -> None:
        wanted = Filter(class_name=Itself)
        with Client() as client:
            as_of = client.matching(wanted, "cancel").as_of
            for _ in range(2):
                done = client.cancel_matching(wanted, as_of=as_of, expected=1)
                TOLD.append((done.done, done.left_out))


TOLD: list[tuple[int, int]] = []


def test_what_runs_and_is_to_be_cancelled_already_is_left_out(client: Client) -> None:
    TOLD.clear()
    client.run_background_job(f"{Itself.__module__}.{Itself.__qualname__}", "cancel")
    assert TOLD == [(1, 0), (0, 1)]


def test_a_filter_knows_labels_and_times_as_lists_do(client: Client) -> None:
    name = f"{Mail.__module__}.{Mail.__qualname__}"
    client.run_background_job(name, "send", max_retries=1, retry_count=1, labels=["tenant:7"])
    send(client)
    ended = client.list(label="tenant:7").items[0]["finished_at"]
    assert client.matching(Filter(label="tenant:7"), "retry").jobs == 1
    assert client.matching(Filter(label="tenant:7", until=ended), "retry").jobs == 0
    assert client.matching(Filter(label="tenant:7", outcome="failed", since=ended), "retry").jobs == 1


@pytest.mark.parametrize(
    ("wanted", "to"),
    [
        *((Filter(), "retry"), (Filter(status="failed"), "cancel"), (Filter(status="x"), "retry")),
        *((Filter(error=1, until="noon"), "retry"), (Filter(error=1, outcome="well"), "retry")),
        (Filter(queue="mail", outcome="failed"), "retry"),
    ],
)
def test_what_a_daemon_would_refuse_is_refused(client: Client, wanted: Any, to: str) -> None:
    with pytest.raises(InvalidParameterError):
        client.matching(wanted, to)
