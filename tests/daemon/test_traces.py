"""A job goes on with the trace that it was submitted in: its attempts tell it, and what they submit belongs to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bgjob.errors import InvalidParameterError
from bgjobd.core.traces import span_of, trace_of_its_own
from tests.client.test_traces import GIVEN, HOSTILE, OTHER, TRACE
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

MODULE = """
import os

import bgjob


class Traced:
    def tell(self, context: bgjob.JobContext):
        return [context.traceparent, os.environ.get("TRACEPARENT")]

    def go_on(self):
        return bgjob.run_background_job("traced.Traced", "tell").id
"""
FAR = 0.05


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    settings = '"traced.Traced" = {}\n[traces]\nnear = "1h"\n'
    directory = tmp_path_factory.mktemp("traces")
    with daemon(directory, settings, modules={"traced": MODULE}) as running:
        yield running


def tokens(running: RunningDaemon, job_id: int) -> list[str]:
    return [token for (token,) in running.query(f"SELECT token FROM job_attempts WHERE job_id = {job_id}")]


def lines_of(running: RunningDaemon, job_id: int) -> list[dict[str, Any]]:
    """The console's lines of JSON about a job that has ended, oldest first."""

    def found() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in running.console().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("job") == job_id]

    eventually(lambda: (lines := found()) and lines[-1]["type"] != "info")
    return found()


def test_an_attempt_is_a_span_of_the_trace_in_which_it_was_submitted(running: RunningDaemon) -> None:
    with running.client() as client:
        job = client.run_background_job("traced.Traced", "tell", traceparent=GIVEN)
        ended = job.wait(timeout=60)
        (token,) = tokens(running, job.id)
        own = f"00-{TRACE}-{span_of(token)}-01"
        assert ended["result"] == [own, own]
        assert ended["traceparent"] == GIVEN
        assert ended["attempts"][0]["traceparent"] == own
        assert token not in str(ended)


def test_who_traces_nothing_has_nothing_traced(running: RunningDaemon) -> None:
    with running.client() as client:
        job = client.run_background_job("traced.Traced", "tell")
        assert job.wait(timeout=60)["result"] == [None, None]
        assert job.snapshot["traceparent"] is None
        assert job.snapshot["attempts"][0]["traceparent"] is None


def test_what_an_attempt_submits_belongs_to_its_span(running: RunningDaemon) -> None:
    with running.client() as client:
        first = client.run_background_job("traced.Traced", "go_on", traceparent=GIVEN)
        second = client.wait(first.wait(timeout=60)["result"], timeout=60)
        (token,) = tokens(running, first.id)
        assert second["traceparent"] == f"00-{TRACE}-{span_of(token)}-01"


def test_what_starts_long_after_its_submit_has_a_trace_of_its_own(running: RunningDaemon) -> None:
    text = running.config.read_text()
    running.config.write_text(text.replace('near = "1h"', f'near = "{FAR * 1000:.0f}ms"'))
    with running.client() as client:
        client.reload()
        job = client.run_background_job("traced.Traced", "tell", traceparent=GIVEN, delay=FAR * 4)
        told, _ = job.wait(timeout=60)["result"]
        ((database_id,),) = running.query("SELECT value FROM properties WHERE name = 'database_id'")
        assert told.split("-")[1] == trace_of_its_own(database_id, job.id)
        assert job.snapshot["traceparent"] == GIVEN
        assert job.refresh()["attempts"][0]["traceparent"] == told
        (_, first, _, last) = eventually(lambda: lines_of(running, job.id)[3:] and lines_of(running, job.id))
        assert (first["trace_id"], last["trace_id"]) == (told.split("-")[1],) * 2
        running.config.write_text(text)
        client.reload()


def test_a_repeat_from_another_span_is_the_same_request(running: RunningDaemon) -> None:
    with running.client() as client:
        asked = {"idempotency_key": "once", "delay": 3600.0}
        first = client.run_background_job("traced.Traced", "tell", traceparent=GIVEN, **asked)
        again = client.run_background_job("traced.Traced", "tell", traceparent=OTHER, **asked)
        without = client.run_background_job("traced.Traced", "tell", **asked)
        assert first.id == again.id == without.id
        assert first.refresh()["traceparent"] == GIVEN


def test_jobs_in_bulk_have_it_each(running: RunningDaemon) -> None:
    with running.client() as client:
        job = {"class_name": "traced.Traced", "method_name": "tell", "options": {"traceparent": GIVEN}}
        jobs = client.submit_many([job, job])
        assert [client.wait(one.id, timeout=60)["traceparent"] for one in jobs] == [GIVEN, GIVEN]


def test_what_is_no_trace_is_refused(running: RunningDaemon) -> None:
    with running.client() as client:
        for text in (one for one in HOSTILE if "\0" not in one):  # which no request can hold
            with pytest.raises(InvalidParameterError) as refused:
                client.run_background_job("traced.Traced", "tell", traceparent=text or "-")
            assert refused.value.parameters["parameter"] == "options.traceparent"
