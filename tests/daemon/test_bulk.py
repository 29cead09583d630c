"""SubmitMany in bulk at a real daemon: the same jobs as one by one, once each however often it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from typing import Any

import pytest

from bgjob.errors import IdempotencyConflictError
from bgjob.keys import new_keys
from tests.daemon.running import RunningDaemon, daemon
from tests.protocol.peers import PATIENCE, Peer, connect, ours
from tests.support import eventually

PROBE = "probes.Probe"
SETTINGS = """
"secretive.Job" = { sensitive = ["password"] }
"""
SECRETIVE = """
class Job:
    def run(self, to="", **more):
        return to
"""
EACH = [{"value": number, "text": '☃\n"'} for number in range(5)]
KEYS = [f"bulk-{number}" for number in range(5)]
OF_ALL: dict[str, Any] = {
    "class_name": PROBE,
    "method_name": "whole",
    "retry_count": 1,
    "options": {"delay": 86400.0, "priority": 3, "max_retries": 7},
}
OWN = {"id", "idempotency_key", "created_at", "updated_at", "scheduled_at", "submitted_pid"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(tmp_path_factory.mktemp("bulk"), SETTINGS, modules={"secretive": SECRETIVE}) as running:
        yield running


@pytest.fixture
def peer(running: RunningDaemon) -> Iterator[Peer]:
    with connect(running) as peer:
        yield peer


def row(running: RunningDaemon, job_id: int) -> dict[str, Any]:
    found = running.query(f"SELECT * FROM background_jobs WHERE id = {job_id}")
    return dict(zip(running.tables()["background_jobs"], found[0], strict=True))


def ids_of(peer: Peer, **given: Any) -> list[int]:
    reply = peer.ask(ours("SubmitMany", **given))
    assert reply.error is None, reply
    ids: list[int] = reply.parameters["ids"]
    return ids


def test_jobs_in_bulk_are_as_those_that_are_asked_for_one_by_one(running: RunningDaemon, peer: Peer) -> None:
    each = [{"value": 1}, {}, {"b": [1, {"z": 1, "a": None}], "a": 1.5, "é": "☃"}]
    keys = ["first-way-0", "first-way-1", "first-way-2"]
    ids = ids_of(peer, **OF_ALL, each=each, keys=keys)
    assert ids == list(range(ids[0], ids[0] + 3))
    jobs = [
        OF_ALL
        | {"parameters": parameters, "options": OF_ALL["options"] | {"idempotency_key": f"second-{key}"}}
        for parameters, key in zip(each, keys, strict=True)
    ]
    for first, second in zip(ids, ids_of(peer, jobs=jobs), strict=True):
        ours_, theirs = row(running, first), row(running, second)
        assert {name for name in ours_ if ours_[name] != theirs[name]} <= OWN
    # The digest is the same as well: a repeat in the other form is a repeat.
    for job, key in zip(jobs, keys, strict=True):
        job["options"]["idempotency_key"] = key
    assert ids_of(peer, jobs=jobs) == ids


def test_a_key_that_a_client_made_stands_for_one_request_in_either_form(peer: Peer) -> None:
    (key,) = new_keys(1)
    job = {"class_name": PROBE, "method_name": "whole", "parameters": {"b": 1, "a": 2}}
    options = {"delay": 86400.0}
    in_bulk = {"class_name": PROBE, "method_name": "whole", "each": [{"b": 1, "a": 2}], "keys": [key]}
    (job_id,) = ids_of(peer, **in_bulk, options=options)
    asked = {**job, "options": {**options, "idempotency_key": key}}
    assert peer.ask(ours("Submit", **asked)).parameters == {"id": job_id, "created": False}
    assert ids_of(peer, jobs=[asked]) == [job_id]
    others = [
        {**asked, "parameters": {"b": 2, "a": 2}},
        {**asked, "method_name": "echo", "parameters": {}},
        {**asked, "options": {"delay": 1.0, "idempotency_key": key}},
        {**asked, "retry_count": 1},
    ]
    for other in others:
        reply = peer.ask(ours("Submit", **other))
        assert (reply.error, reply.parameters) == (IdempotencyConflictError.error_name, {"id": job_id})


def test_a_repeat_after_a_reply_that_was_lost_gives_the_same_jobs(running: RunningDaemon) -> None:
    given = OF_ALL | {"each": EACH, "keys": KEYS}
    before = running.query("SELECT count(*) FROM background_jobs")[0][0]
    with connect(running) as lost:
        lost.send(ours("SubmitMany", **given))
        # Whose caller is gone before it is handed to the writer is not stored.
        eventually(lambda: running.query("SELECT count(*) FROM background_jobs")[0][0] == before + len(EACH))
    with connect(running) as peer:
        first, again = ids_of(peer, **given), ids_of(peer, **given)
        more = ids_of(peer, **given | {"each": [*EACH, {"value": 6}], "keys": [*KEYS, "bulk-6"]})
    assert first == again == more[:5]
    assert running.query("SELECT count(*) FROM background_jobs")[0][0] == before + len(EACH) + 1
    stored = running.query("SELECT id FROM background_jobs WHERE idempotency_key LIKE 'bulk-%' ORDER BY id")
    assert [job_id for (job_id,) in stored] == more


def test_jobs_in_bulk_run_and_their_log_has_a_line_for_each(running: RunningDaemon, peer: Peer) -> None:
    ids = ids_of(peer, class_name=PROBE, method_name="echo", each=[{"value": "a"}, {"value": "b"}])
    for job_id, value in zip(ids, ["a", "b"], strict=True):
        reply = peer.ask(ours("Wait", id=job_id, timeout=PATIENCE))
        assert (reply.parameters["job"]["status"], reply.parameters["job"]["result"]) == ("completed", value)
        entries = peer.ask(ours("Logs", id=job_id, after=0)).parameters["entries"]
        assert entries[0]["message"] == "Background job initiated"
    eventually(lambda: lines_of(running, ids) == [1, 1])


def lines_of(running: RunningDaemon, ids: list[int]) -> list[int]:
    """How many lines on the console tell that each of these jobs was submitted."""
    initiated = [line for line in running.console().splitlines() if "Background job initiated" in line]
    return [len([line for line in initiated if f'"job": {job_id},' in line]) for job_id in ids]


def test_who_follows_is_told_of_each_job_in_order(running: RunningDaemon, peer: Peer) -> None:
    with running.client() as client, client.watch() as changes:
        one = {"class_name": PROBE, "method_name": "whole", "options": {"delay": 86400.0}}
        first, second = [job.id for job in client.submit_many([one, {**one, "retry_count": 1}])]
        (last,) = [entry["id"] for entry in client.logs(id=second)]
        with client.follow_logs(after=last) as entries:
            (third,) = ids_of(peer, **OF_ALL, each=[{}])
            assert next(entries)["job_id"] == third  # it follows by now
            ids = ids_of(peer, **OF_ALL, each=[{"n": number} for number in range(1050)])
            told = list(islice(entries, len(ids)))
        changed = [change["id"] for change in islice(changes, 3 + len(ids))]
    assert changed == [first, second, third, *ids]
    assert [(entry["job_id"], entry["id"]) for entry in told] == list(zip(ids, count(last + 2), strict=False))
    stored = peer.ask(ours("Logs", after=last + 1, limit=1000)).parameters["entries"]
    assert stored == told[: len(stored)]


def test_secrets_of_jobs_in_bulk_are_shown_nowhere(running: RunningDaemon, peer: Peer) -> None:
    each = [{"to": "ann", "password": "hunter2"}, {"to": "bob"}, {"password": "hunter2"}]
    ids = ids_of(peer, class_name="secretive.Job", method_name="run", each=each)
    for job_id, given in zip(ids, each, strict=True):
        shown = {name: "***" if name == "password" else value for name, value in given.items()}
        reply = peer.ask(ours("Wait", id=job_id, timeout=PATIENCE))
        assert reply.parameters["job"]["parameters"] == shown
    eventually(lambda: lines_of(running, ids) == [1, 1, 1])
    assert "hunter2" not in running.console() + "\n".join(running.lines())
    assert "hunter2" not in repr(running.query("SELECT context FROM job_logs"))
