"""Unique keys, expiry and changes by a real daemon, and by what stands for one in tests: they answer the same."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import bgjob.testing
from bgjob import (
    ClassUnavailableError,
    Client,
    DuplicateError,
    InvalidParameterError,
    InvalidParametersError,
    InvalidStateError,
    Job,
    JobExpiredError,
    JobNotFoundError,
    text,
)
from bgjob.flow import group, job, result_of
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

PROBE = "probes.Probe"
KEYED = """
from pydantic import SecretStr


class Keyed:
    def sync(self, customer: int, note: str = ""):
        return customer

    def clean(self):
        return None


class Secretive:
    def send(self, token: SecretStr):
        return None


class Astray:
    def run(self, customer: int):
        return None
"""
CONFIG = """
[approved."keyed.Keyed"]
unique = ["customer"]
[approved."keyed.Secretive"]
unique = ["token"]
[approved."keyed.Astray"]
unique = ["custommer"]
[queues.default]
[queues.later]
[schedules.often]
job = "probes.Probe::echo"
every = "1s"
queue = "later"
unique_key = "often"
overlap = "allow"
"""


@pytest.fixture(scope="module")
def running(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    directory = tmp_path_factory.mktemp("unique")
    environ = {"BGJOBD_DAEMON__FIFO": str(directory / "fifo")}
    with daemon(directory, CONFIG, environ=environ, modules={"keyed": KEYED}, has_pydantic=True) as running:
        with running.client() as client:
            client.pause("later")
        yield running


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


def submit(client: Client, key: str, value: Any = None, **options: Any) -> Job:
    """A job that waits, for its queue is paused."""
    return client.run_background_job(
        PROBE, "echo", {"value": value}, **{"queue": "later", "unique_key": key, **options}
    )


# The same by a daemon and by its stand-in


def ids_told(jobs: list[Job]) -> list[int]:
    """Ids as places among those that were made here."""
    return [one.id - jobs[0].id for one in jobs]


def story(client: Client) -> list[Any]:
    """What happens to two keys, as whoever asks is told it."""
    told: list[Any] = []
    first = submit(client, "story", 1, expires_in=3600)
    again = submit(client, "story", 2)
    told.append((again.id == first.id, again.refresh()["parameters"], again.snapshot["unique_key"]))
    with pytest.raises(DuplicateError) as refused:
        submit(client, "story", 3, if_held="refuse")
    told.append((refused.value.parameters["id"] == first.id, list(refused.value.parameters)))
    replaced = submit(client, "story", 4, if_held="replace", priority=7)
    told.append((replaced.id == first.id, replaced.refresh()["parameters"], replaced.snapshot["priority"]))
    told.append(replaced.snapshot["expires_at"])
    first.cancel()
    second = submit(client, "story", 5)
    told.append(second.id == first.id)
    with pytest.raises(DuplicateError) as refused:
        first.retry()
    told.append((refused.value.parameters == {"id": second.id}, str(refused.value)[-21:]))
    second.cancel()
    first.retry()
    told.append((submit(client, "story", 6).id == first.id, first.refresh()["expires_at"]))
    first.cancel()
    kept = submit(client, "kept", unique_for=3600)
    kept.cancel()
    told.append(submit(client, "kept", if_held="replace").id == kept.id)
    longer = submit(client, "longer", unique_for=3600)
    submit(client, "longer", if_held="replace", unique_for=1)
    submit(client, "longer", if_held="replace").cancel()
    told.append(submit(client, "longer").id == longer.id)
    many = [
        {"class_name": PROBE, "method_name": "echo", "options": {"queue": "later", "unique_key": key, **more}}
        for key, more in (("a", {}), ("b", {}), ("a", {}), ("b", {"if_held": "replace", "priority": 1}))
    ]
    told.append(ids_told(client.submit_many(many)))
    many[3]["options"]["if_held"] = "refuse"
    with pytest.raises(DuplicateError) as refused:
        client.submit_many(many)
    told.append((refused.value.parameters["index"], "jobs.3" in str(refused.value)))
    return told


def test_a_stand_in_tells_the_same_story_as_a_daemon(client: Client) -> None:
    told = story(client)
    assert told == [
        (True, {"value": 1}, "story"),
        (True, ["id"]),
        (True, {"value": 4}, 7),
        None,
        False,
        (True, "holds this unique key"),
        (True, None),
        True,
        True,
        [0, 1, 0, 1],
        (3, True),
    ]
    with bgjob.testing.recorded():
        assert story(Client()) == told


REFUSED = [
    ({"unique_while": "pending"}, "options.unique_while"),
    ({"unique_for": 5}, "options.unique_for"),
    ({"if_held": "refuse"}, "options.if_held"),
    ({"at_latest": 5}, "options.at_latest"),
    ({"unique_key": "k", "at_latest": 5}, "options.at_latest"),
    ({"unique_key": "k", "at_latest": 5, "if_held": "refuse"}, "options.at_latest"),
    ({"unique_key": ""}, "options.unique_key"),
    ({"expires_in": 5, "expires_at": "2099-01-01T00:00:00Z"}, "options.expires_in"),
    ({"expires_at": "tomorrow"}, "options.expires_at"),
    ({"delay": 5, "expires_in": 5}, "options.delay"),
    ({"at": "2099-01-02T00:00:00Z", "expires_at": "2099-01-01T00:00:00Z"}, "options.at"),
]


@pytest.mark.parametrize(("options", "place"), REFUSED)
def test_what_means_nothing_is_refused_with_its_place(
    client: Client, options: dict[str, Any], place: str
) -> None:
    def asked(client: Client) -> list[Any]:
        told = []
        one: dict[str, Any] = {"class_name": PROBE, "method_name": "echo"}
        odd = {**one, "options": options}
        for ask in (
            lambda: client.run_background_job(PROBE, "echo", {}, **options),
            lambda: client.submit_many([one, odd]),
            lambda: client.submit_many([odd, odd]),  # in bulk
        ):
            with pytest.raises(InvalidParameterError) as refused:
                ask()
            told.append(refused.value.parameters["parameter"])
        return told

    assert asked(client) == [place, f"jobs.1.{place}", place]
    with bgjob.testing.recorded():
        assert asked(Client()) == [place, f"jobs.1.{place}", place]


# Jobs that come after


def test_what_comes_after_a_job_whose_key_is_held_comes_after_the_holder(client: Client) -> None:
    holder = submit(client, "flowed", "the holder's")
    first = job(PROBE, "echo", {"value": "own"}, unique_key="flowed", queue="later")
    members = group([first, job(PROBE, "echo", queue="later")])
    behind = job(PROBE, "echo", {"value": result_of(first)}, after=[first])
    flow = members.and_(behind).submit(client)
    assert flow[first].id == holder.id
    assert (holder.refresh()["group_id"], flow[members].refresh()["total"]) == (None, 1)
    assert flow[behind].refresh()["takes"] == {"value": {"of": {"id": holder.id}, "pointer": ""}}
    holder.cancel()
    assert eventually(lambda: flow[behind].refresh()["status"] == "cancelled")
    assert flow[behind].snapshot["error"] == f"cancelled: job {holder.id}, which it came after, was cancelled"


# What a class says


def several(*customers: Any) -> list[dict[str, Any]]:
    """Jobs that are asked for in bulk."""
    names = {"class_name": "keyed.Keyed", "method_name": "sync", "options": {"queue": "later"}}
    return [{**names, "parameters": {"customer": customer}} for customer in customers]


def test_a_class_makes_keys_of_parameters_and_the_callers_own_comes_first(client: Client) -> None:
    def sync(customer: int, **given: Any) -> Job:
        options = {name: given.pop(name) for name in ("unique_key",) if name in given}
        return client.run_background_job(
            "keyed.Keyed", "sync", {**given, "customer": customer}, queue="later", **options
        )

    first = sync(7)
    key = first.refresh()["unique_key"]
    assert len(key) == 32
    assert sync(7, note="another").id == first.id
    assert sync(8).id != first.id
    own = sync(7, unique_key="mine")
    assert (own.id != first.id, own.refresh()["unique_key"]) == (True, "mine")
    cleans = [client.run_background_job("keyed.Keyed", "clean", {}, queue="later") for _ in range(2)]
    assert cleans[0].id != cleans[1].id
    assert cleans[0].refresh()["unique_key"] is None
    bulk = client.submit_many(several(7, 9, 9))
    assert [bulk[0].id, bulk[2].id] == [first.id, bulk[1].id]
    with pytest.raises(InvalidParametersError) as refused:
        client.submit_many(several(1, "x"))
    assert [one["path"] for one in refused.value.parameters["problems"]] == ["each/1/customer"]


def test_a_class_whose_key_would_be_of_a_secret_or_of_what_no_method_takes_is_unavailable(
    client: Client,
) -> None:
    with pytest.raises(ClassUnavailableError, match="unique lists custommer, and no method has such"):
        client.run_background_job("keyed.Astray", "run", {"customer": 1})
    with pytest.raises(ClassUnavailableError, match="unique lists token, which is a secret"):
        client.run_background_job("keyed.Secretive", "send", {"token": "x"})


# Expiry


def test_what_has_not_started_in_time_has_expired_wherever_it_is_told(client: Client) -> None:
    late = submit(client, "late", expires_in=0.01)
    with pytest.raises(JobExpiredError, match=r"expired: not started by 20\d\d-") as expired:
        late.result(timeout=20)
    assert expired.value.job["status"] == "cancelled"
    assert client.why(late.id).startswith(f"job {late.id} expired at ")
    assert late.logs().items[-1]["message"] == "Background job expired"
    assert text.standing(late.refresh(), 0.0) == "expired"


# Changes


TERMS = ("priority", "queue", "scheduled_at", "expires_at", "timeout", "max_retries")
NO_TERMS = [
    ({"priority": "high"}, "priority"),
    ({"timeout": 0}, "timeout"),
    ({"max_retries": -1}, "max_retries"),
    ({"max_retries": 101}, "max_retries"),
    ({"at": "tomorrow"}, "at"),
    ({"expires_at": "2099-01-01"}, "expires_at"),
    ({"expires_at": "2098-01-01T00:00:00Z"}, "expires_at"),
    ({"at": "2099-02-01T00:00:00Z", "expires_at": "2099-01-01T00:00:00Z"}, "at"),
]


def changed_story(client: Client) -> list[Any]:
    """What becomes of a job whose terms are changed while it waits."""
    told: list[Any] = []
    first, second = submit(client, "changed"), submit(client, "beside")

    def tell() -> None:
        stands = first.refresh()
        told.append([stands[name] for name in TERMS])

    new_year = datetime(2099, 1, 1, tzinfo=UTC)
    first.change(priority=5, timeout=timedelta(minutes=1), max_retries=7, expires_at=new_year)
    tell()
    first.change(expires_at=None, timeout=None, at=new_year, queue="default")
    tell()
    first.change()
    first.change(priority=5, queue="default")
    tell()
    for given, place in NO_TERMS:
        with pytest.raises(InvalidParameterError) as invalid:
            first.change(**given)
        assert invalid.value.parameters == {"parameter": place}, given
    with pytest.raises(JobNotFoundError):
        client.change(first.id, 4711, priority=1)
    second.cancel()
    with pytest.raises(InvalidStateError):
        client.change(first.id, second.id, priority=1)
    tell()
    first.change(at=None, queue="later")
    tell()
    return told


def test_a_job_that_waits_is_changed_by_a_stand_in_as_by_a_daemon(client: Client) -> None:
    told = changed_story(client)
    new_year = "2099-01-01T00:00:00.000000Z"
    assert told == [
        [5, "later", None, new_year, 60.0, 7],
        *[[5, "default", new_year, None, None, 7]] * 3,
        [5, "later", None, None, None, 7],
    ]
    with bgjob.testing.recorded():
        assert changed_story(Client()) == told


def test_a_change_is_told_with_who_has_made_it_and_one_to_a_queue_that_there_is_not_is_refused(
    running: RunningDaemon, client: Client
) -> None:
    waiting = submit(client, "told")
    with pytest.raises(InvalidParameterError, match=r"^invalid value for queue: the name of a queue"):
        waiting.change(queue="nowhere", priority=3)
    with pytest.raises(TypeError, match=r"^'delay' of a job cannot be changed; priority, queue, at"):
        waiting.change(delay=3)  # type: ignore[call-arg]
    client.change(waiting.id, waiting.id, priority=5)
    waiting.change(priority=5)
    uid = os.getuid()
    told = f"Background job changed by uid {uid}: priority from 0 to 5"
    assert [entry["message"] for entry in waiting.logs().items][1:] == [told]
    line = f"change of job {waiting.id} requested by uid {uid} (pid {os.getpid()})"
    assert eventually(lambda: [one for one in running.lines() if line in one])
    assert len([one for one in running.lines() if f"change of job {waiting.id} " in one]) == 1


# Kills, schedules, the named pipe


def test_a_kill_loses_no_key_and_leaves_none(running: RunningDaemon, client: Client) -> None:
    held, freed = submit(client, "held"), submit(client, "freed")
    freed.cancel()
    running.stop(signal.SIGKILL)
    running.start()
    assert submit(client, "held").id == held.id
    assert submit(client, "freed").id != freed.id


def test_a_line_of_the_named_pipe_gets_the_holder_and_replaces_nobody(
    running: RunningDaemon, client: Client
) -> None:
    first = submit(client, "piped", 1)
    asked = {"queue": "later", "unique_key": "piped", "if_held": "replace"}
    lines = [
        {"class_name": PROBE, "method_name": "echo", "parameters": {"value": 2}, "options": asked},
        {"class_name": PROBE, "method_name": "echo", "options": {"queue": "later", "unique_key": "after"}},
    ]
    with (running.directory / "fifo").open("w") as pipe:
        pipe.writelines(json.dumps(line) + "\n" for line in lines)
    assert eventually(lambda: running.query("SELECT 1 FROM unique_keys WHERE key = 'after'"))
    assert first.refresh()["parameters"] == {"value": 1}


def test_an_occurrence_whose_key_is_held_is_skipped(client: Client) -> None:
    def became() -> list[tuple[Any, ...]]:
        found = client.occurrences("often").items
        return [(one["verdict"], one["reason"], one["job_id"]) for one in reversed(found)]

    assert eventually(lambda: len(became()) > 1)
    (submitted, _, job_id), skipped = became()[:2]
    assert (submitted, skipped) == ("submitted", ("skipped", "held", job_id))
