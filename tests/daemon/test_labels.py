"""Labels at a daemon: whatever submits a job takes them, and whoever lists, watches or counts jobs finds it by them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bgjob.errors import IdempotencyConflictError, InvalidParameterError
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

MODULE = """
import time

class Labelled:
    def run(self):
        return 7

    def stay(self):
        time.sleep(600)
"""
FAR = 3600.0
WHAT = ("labelled.Labelled", "run")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    settings = (
        '"labelled.Labelled" = {}\n[schedules.nightly]\njob = "labelled.Labelled::run"\n'
        'cron = "0 0 1 1 *"\nlabels = ["nightly", "tenant:1"]\n'
    )
    directory = tmp_path_factory.mktemp("labels")
    with daemon(directory, settings, modules={"labelled": MODULE}) as running:
        yield running


def test_a_job_is_told_listed_and_counted_by_its_labels(running: RunningDaemon) -> None:
    with running.client() as client:
        job = client.run_background_job(*WHAT, labels=["tenant:7", "a", "tenant:7"], delay=FAR)
        client.run_background_job(*WHAT, delay=FAR)
        assert client.get(job.id).snapshot["labels"] == ["tenant:7", "a"]
        (listed,) = client.list(label="tenant:7").items
        assert (listed["id"], listed["labels"]) == (job.id, ["tenant:7", "a"])
        (told,) = client.labels(prefix="tenant:7").items
        assert (told["jobs"], told["newest"], told["pending"]) == (1, job.id, 1)
        client.cancel(job.id)
        again = client.again(job.id)
        assert again.refresh()["labels"] == ["tenant:7", "a"]


def test_whatever_makes_jobs_takes_labels(running: RunningDaemon) -> None:
    with running.client() as client:
        what = {"class_name": WHAT[0], "method_name": WHAT[1]}
        each = [{**what, "options": {"labels": ["bulk"], "delay": FAR}} for _ in range(3)]
        mixed = [*each[:1], {**what, "options": {"labels": ["bulk", "own"], "delay": FAR}}]
        ids = [job.id for jobs in (each, mixed) for job in client.submit_many(jobs)]
        assert [one["id"] for one in client.list(label="bulk").items] == ids[::-1]
        assert [one["id"] for one in client.list(label="own").items] == ids[-1:]
        of_schedule = client.run_schedule("nightly")
        assert of_schedule.refresh()["labels"] == ["nightly", "tenant:1"]


def test_a_watch_of_a_label_tells_its_jobs_alone(running: RunningDaemon) -> None:
    with running.client() as client, client.watch(label="watched") as watched:
        client.run_background_job(*WHAT, delay=FAR)
        job = client.run_background_job(*WHAT, labels=["watched"], delay=FAR)
        assert next(watched)["id"] == job.id


def test_what_runs_is_told_of_a_label_alone(running: RunningDaemon) -> None:
    with running.client() as client:
        stays = [client.run_background_job(WHAT[0], "stay", labels=labels) for labels in (["stays"], [])]
        eventually(lambda: {job.id for job in stays} <= {one["job_id"] for one in client.running()})
        assert [one["job_id"] for one in client.running(label="stays")] == [stays[0].id]
        assert client.running(label="never") == []
        for job in stays:
            client.cancel(job.id)
        with pytest.raises(InvalidParameterError):
            client.running(label="")


def test_labels_are_part_of_the_request(running: RunningDaemon) -> None:
    with running.client() as client:
        asked = {"delay": FAR, "idempotency_key": "order-17"}
        first = client.run_background_job(*WHAT, labels=["a", "a"], **asked)
        assert client.run_background_job(*WHAT, labels=["a"], **asked).id == first.id
        with pytest.raises(IdempotencyConflictError):
            client.run_background_job(*WHAT, labels=["b"], **asked)


@pytest.mark.parametrize(
    "labels", [[""], ["x" * 65], ["a\n"], ["a"] * 11, "a", [7], [["a"]], {"a": 1}.items()]
)
def test_what_is_no_label_is_refused_and_told(running: RunningDaemon, labels: object) -> None:
    with (
        running.client() as client,
        pytest.raises(InvalidParameterError, match="at most 10 texts") as refused,
    ):
        client.run_background_job(*WHAT, labels=labels)  # type: ignore[arg-type]  # hostile
    assert refused.value.parameters["parameter"] == "options.labels"
