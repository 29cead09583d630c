"""The key that jobs share, by whatever way they are submitted: stored, told, listed; by a daemon, and its stand-in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import bgjob.testing
from bgjob import Client, InvalidParameterError, InvalidParametersError, Job
from bgjob.answers import Page
from bgjob.codec import JsonObject
from bgjob.flow import group, job
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually, total

PROBE = "probes.Probe"
MODULE = """
class Synced:
    def sync(self, customer):
        return customer


class Secretive:
    def send(self, token):
        return None
"""
CONFIG = """
[approved."synced.Synced"]
key = "customer"
[approved."synced.Secretive"]
key = "token"
sensitive = ["token"]
[queues.default]
[queues.shared]
slots_per_key = 1
share = "key"
[queues.users]
share = "user"
slots_per_key = 2
[schedules.often]
job = "probes.Probe::echo"
every = "1s"
queue = "shared"
key = "scheduled"
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    directory = tmp_path_factory.mktemp("keys")
    environ = {"BGJOBD_DAEMON__FIFO": str(directory / "fifo")}
    with daemon(directory, CONFIG, environ=environ, modules={"synced": MODULE}) as running:
        with running.client() as client:
            for queue in ("shared", "users"):
                client.pause(queue)
        yield running


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


def submit(client: Client, value: Any = None, queue: str = "shared", **options: Any) -> Job:
    """A job that waits, for its queue is paused."""
    return client.run_background_job(PROBE, "echo", {"value": value}, queue=queue, **options)


def keys_of(jobs: list[Job]) -> list[str | None]:
    return [one.refresh()["key"] for one in jobs]


def listed(client: Client, **filters: Any) -> Page[JsonObject]:
    return client.list(count=100, **filters)


def story(client: Client) -> list[Any]:
    """What whoever gives a key is told of it."""
    first = submit(client, 1, key="story")
    told: list[Any] = [first.refresh()["key"], submit(client).refresh()["key"]]
    echo: JsonObject = {"class_name": PROBE, "method_name": "echo"}
    many = [{**echo, "options": {"queue": "shared", "key": key}} for key in ("story", "other", "story")]
    told.append(keys_of(client.submit_many(many)))
    alike = [{**many[0], "parameters": {"value": number}} for number in range(3)]
    told.append(keys_of(client.submit_many(alike)))
    member, last = job(PROBE, "echo", queue="shared", key="story"), job(PROBE, "echo", key="last")
    flow = group([member]).and_(last).submit(client)
    told.append(keys_of([flow[member], flow[last]]))
    held = submit(client, unique_key="story", key="before", delay=60)
    replaced = submit(client, unique_key="story", key="after", if_held="replace", delay=60)
    told.append((replaced.id == held.id, replaced.refresh()["key"]))
    found = listed(client, key="story")
    counted = total(client.list, count=100, key="story")
    told.append((counted, {one["key"] for one in found}, first.id in [one["id"] for one in found]))
    flow[member].cancel()
    told.append(total(client.list, count=100, key="story", status="cancelled"))
    with pytest.raises(InvalidParameterError) as refused:
        client.submit_many([echo, {**echo, "options": {"key": "k" * 256}}])
    told.append(refused.value.parameters["parameter"])
    definition = {"job": f"{PROBE}::echo", "every": "1h", "queue": "shared", "key": "put"}
    client.put_schedule("a/b", definition)
    told.append(client.run_schedule("a/b").refresh()["key"])
    with pytest.raises(InvalidParametersError) as misput:
        client.put_schedule("a/c", {**definition, "key": ""})
    told.append([one["path"] for one in misput.value.parameters["problems"]])
    return told


def test_a_stand_in_tells_the_same_story_as_a_daemon(client: Client) -> None:
    told = story(client)
    assert told == [
        *("story", None),
        ["story", "other", "story"],
        ["story"] * 3,
        ["story", "last"],
        (True, "after"),
        (7, {"story"}, True),
        1,
        "jobs.1.options.key",
        "put",
        ["key"],
    ]
    with bgjob.testing.recorded():
        assert story(Client()) == told


def test_jobs_of_a_key_take_turns_and_are_behind_it(client: Client) -> None:
    jobs = client.submit_many(
        [
            {"class_name": PROBE, "method_name": "echo", "options": {"queue": "shared", "key": key}}
            for key in ("x:1", "x:1", "x:1", "x:2")
        ]
    )
    told = [one.refresh() for one in jobs]
    assert [one["is_behind"] for one in told] == [False, True, True, False]
    first, second, third, other = (one["turn"] for one in told)
    assert (second - first, third - second, other <= second) == (1, 1, True)
    behind = listed(client, key="x:1", status="behind")
    assert [(one["id"], one["is_behind"]) for one in behind] == [(jobs[2].id, True), (jobs[1].id, True)]
    (one,) = client.keys("shared", search="X:1")
    assert one == {"key": "x:1", "running": 0, "ready": 1, "behind": 2, "next_at": None}
    page = client.keys("shared", after="x:0", limit=1)
    assert ([one["key"] for one in page], page.next) == (["x:1"], "x:1")
    (queue,) = [one for one in client.stats()["queues"] if one["name"] == "shared"]
    assert (queue["slots_per_key"], queue["rate_per_key"], queue["share"]) == (1, None, "key")
    assert queue["behind"] >= 2
    with pytest.raises(InvalidParameterError, match="the name of a queue"):
        client.keys("other")


def test_a_parameter_is_the_key_where_the_caller_gives_none_and_a_secret_is_a_digest(client: Client) -> None:
    names: JsonObject = {"class_name": "synced.Synced", "method_name": "sync"}
    jobs = client.submit_many(
        [
            {**names, "parameters": {"customer": 7}, "options": {"queue": "shared"}},
            {**names, "parameters": {"customer": 7}, "options": {"queue": "shared", "key": "own"}},
            {"class_name": "synced.Secretive", "method_name": "send", "parameters": {"token": "hunter2"}},
        ]
    )
    seven, own, digest = keys_of(jobs)
    assert (seven, own, digest is not None and len(digest), digest != "hunter2") == ("7", "own", 32, True)
    policies = {one["name"]: one["policy"] for one in client.classes()}
    assert [policies[name]["key"] for name in ("synced.Synced", PROBE)] == ["customer", None]


def test_where_users_take_turns_a_job_has_its_submitters_key_and_one_of_the_named_pipe_none(
    running: RunningDaemon, client: Client
) -> None:
    mine = submit(client, queue="users", key="given")
    assert mine.refresh()["key"] == str(mine.snapshot["submitted_uid"])
    lines = [
        {"class_name": PROBE, "method_name": "echo", "options": {"queue": queue, "key": "piped"}}
        for queue in ("users", "shared")
    ]
    with (running.directory / "fifo").open("w") as pipe:
        pipe.writelines(json.dumps(line) + "\n" for line in lines)
    assert eventually(lambda: listed(client, key="piped").items)
    (piped,) = listed(client, key="piped")
    assert piped["queue"] == "shared"
    newest = listed(client, queue="users").items[0]
    assert (newest["id"] > mine.id, newest["key"]) == (True, None)


def test_each_occurrence_of_a_schedule_has_its_key(client: Client) -> None:
    found = eventually(lambda: listed(client, schedule="often").items)
    assert {one["key"] for one in found} == {"scheduled"}
