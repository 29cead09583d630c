"""`bgjobd otel`: each attempt that has ended becomes a span at the collector, across kills and outages of either."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bgjob.errors import JobNotFoundError
from bgjobd.commands import otel as command
from bgjobd.commands.otel import Cursor, Exporter
from bgjobd.commands.otel_sending import Collector as OfSpans
from bgjobd.commands.otel_sending import NotTakenError
from bgjobd.core.trace_spans import AttemptSpan, try_span
from bgjobd.core.traces import span_of
from tests.core.test_trace_spans import ATTEMPT, JOB
from tests.daemon.running import RunningDaemon, daemon

TRACE, SUBMIT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{SUBMIT}-01"
HOSTILE = "\x1b]0;x\x07" + "\u202e" * 2000


class Collector:
    """A receiver of OTLP over HTTP on loopback, which answers as it is told to, and then 200."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.spans: list[Any] = []
        self.services: set[str] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = outer.answers.pop(0) if outer.answers else 200
                if status == 200:
                    outer.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, request: Any) -> None:
        for of_resource in request.resource_spans:
            named = {one.key: one.value.string_value for one in of_resource.resource.attributes}
            self.services.add(named["service.name"])
            for of_scope in of_resource.scope_spans:
                self.spans += of_scope.spans


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(tmp_path_factory.mktemp("otel")) as running:
        yield running


def otel(running: RunningDaemon, collector: Collector, cursor: Path) -> None:
    """`bgjobd otel --once`."""
    asked = [sys.executable, "-m", "bgjobd", "otel", "--once", "--config", str(running.config)]
    environ = os.environ | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server.server_port}",
        "no_proxy": "127.0.0.1",
    }
    done = subprocess.run([*asked, "--cursor", str(cursor)], env=environ, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_attempts_are_at_the_collector_as_spans_below_the_submits(
    running: RunningDaemon, collector: Collector, tmp_path: Path
) -> None:
    cursor = tmp_path / "cursor"
    cursor.write_text("0\n")
    with running.client() as client:
        fine = client.run_background_job("probes.Probe", "echo", {"value": 1}, traceparent=GIVEN)
        bad = client.run_background_job(
            "probes.Probe", "fail", {"message": HOSTILE}, traceparent=GIVEN, max_retries=0
        )
        untraced = client.run_background_job("probes.Probe", "echo")
        for job in (fine, bad, untraced):
            job.wait(timeout=60)
    otel(running, collector, cursor)
    tokens = dict(running.query("SELECT job_id, token FROM job_attempts"))
    told = {span.span_id.hex(): span for span in collector.spans}
    assert told.keys() == {span_of(tokens[fine.id]), span_of(tokens[bad.id])}
    assert {(span.trace_id.hex(), span.parent_span_id.hex(), span.kind) for span in told.values()} == {
        (TRACE, SUBMIT, 5)
    }
    failed = told[span_of(tokens[bad.id])]
    assert (failed.status.code, len(failed.status.message)) == (2, 1000)
    assert told[span_of(tokens[fine.id])].status.code == 0
    assert collector.services == {"bgjobd"}
    assert int(cursor.read_text()) > 0


@pytest.mark.parametrize(("status", "is_final"), [(302, False), (308, False), (400, True), (413, True)])
def test_what_a_collector_answers_otherwise_is_not_taken_for_sent(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, status: int, is_final: bool
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server.server_port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    span = try_span(JOB, ATTEMPT)
    assert span is not None
    sender = OfSpans()
    collector.answers = [status]
    with pytest.raises(NotTakenError) as refused:
        sender.send([span])
    assert (refused.value.is_final, refused.value.is_too_large) == (is_final, status == 413)
    sender.send([span])
    assert len(collector.spans) == 1


# The rest is tried with what stands in for daemon and collector


class Log:
    """A daemon's log with an entry at each start and each end of `jobs` jobs."""

    def __init__(self, jobs: int) -> None:
        self.entries = [{"id": id, "job_id": (id + 1) // 2, "attempt": 1} for id in range(1, 2 * jobs + 1)]
        self.deleted: set[int] = set()

    def logs(self, after: int | None = None, limit: int = 50) -> Any:
        if after is None:
            return SimpleNamespace(items=self.entries[-limit:], next=None)
        found = [one for one in self.entries if one["id"] > after]
        is_last = len(found) <= limit
        return SimpleNamespace(items=found[:limit], next=None if is_last else found[limit - 1]["id"])

    def get(self, job_id: int, before: int, limit: int) -> Any:
        if job_id in self.deleted:
            raise JobNotFoundError(id=job_id)
        attempt = ATTEMPT | {"traceparent": f"00-{TRACE}-{job_id:016x}-01"}
        return SimpleNamespace(snapshot=JOB | {"id": job_id, "attempts": [attempt]})


class Sender:
    """Takes spans, but for what `refusals` say, one a send."""

    def __init__(self, *refusals: Exception | None) -> None:
        self.refusals = list(refusals)
        self.taken: list[int] = []

    def send(self, spans: Sequence[AttemptSpan]) -> None:
        refusal = self.refusals.pop(0) if self.refusals else None
        if refusal is not None:
            raise refusal
        self.taken += [int(span.place.span, 16) for span in spans]


class Killed(BaseException):
    pass


def exporter(log: Log, cursor: Cursor, sender: Sender, said: list[str] | None = None) -> Exporter:
    say = (lambda text: None) if said is None else said.append
    return Exporter(cast(Any, log), cursor, sender, say, pause=lambda seconds: None)


def test_at_first_it_begins_at_the_end_of_the_log(tmp_path: Path) -> None:
    log, sender, cursor = Log(3), Sender(), Cursor(tmp_path / "cursor")
    one = exporter(log, cursor, sender)
    assert one.run(one.begin()) == 6
    log.entries.append({"id": 7, "job_id": 4, "attempt": 1})
    one = exporter(log, cursor, sender)
    one.run(one.begin())
    assert sender.taken == [4]


def test_a_long_log_is_told_in_pages_and_each_attempt_once(tmp_path: Path) -> None:
    sender, cursor = Sender(), Cursor(tmp_path / "cursor")
    assert exporter(Log(1251), cursor, sender).run(0) == cursor.read() == 2502
    assert sender.taken == list(range(1, 1252))


def test_after_a_kill_nothing_is_missing_and_what_is_told_again_has_the_same_ids(tmp_path: Path) -> None:
    log, cursor = Log(1000), Cursor(tmp_path / "cursor")
    cursor.write(0)
    first = Sender(None, None, Killed())
    with pytest.raises(Killed):
        exporter(log, cursor, first).run(0)
    second = Sender()
    one = exporter(log, cursor, second)
    one.run(one.begin())
    assert {*first.taken, *second.taken} == {*range(1, 1001)}
    assert len(first.taken) + len(second.taken) <= 1001


def test_a_collector_that_is_away_is_waited_for_and_that_is_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    away = NotTakenError("refused", is_final=False)
    sender = Sender(away, away, away)
    exporter(Log(2), Cursor(tmp_path / "cursor"), sender, said).run(0)
    assert sender.taken == [1, 2]
    assert said == ["the collector takes no spans, which wait: refused", "the collector takes spans again"]


def test_what_the_collector_refuses_for_good_is_left_out_and_said(tmp_path: Path) -> None:
    said: list[str] = []
    sender = Sender(NotTakenError("400", is_final=True))
    cursor = Cursor(tmp_path / "cursor")
    exporter(Log(2), cursor, sender, said).run(0)
    assert (sender.taken, cursor.read()) == ([], 4)
    assert said == ["the collector refuses 2 spans, which are left out: 400"]


def test_what_is_too_large_for_the_collector_is_sent_in_parts(tmp_path: Path) -> None:
    said: list[str] = []
    too_large = NotTakenError("413", is_final=True, is_too_large=True)
    sender = Sender(too_large, None, too_large)  # all four; the first two; the other two, which go one by one
    exporter(Log(4), Cursor(tmp_path / "cursor"), sender, said).run(0)
    assert (sender.taken, said) == ([1, 2, 3, 4], [])
    alone = Sender(too_large)
    exporter(Log(1), Cursor(tmp_path / "cursor"), alone, said).run(0)
    assert (alone.taken, len(said)) == ([], 1)


def test_the_cursor_is_written_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("somebody's")
    for name in ("cursor", "cursor.new"):
        (tmp_path / name).symlink_to("other")
    Cursor(tmp_path / "cursor").write(7)
    assert (Cursor(tmp_path / "cursor").read(), (tmp_path / "other").read_text()) == (7, "somebody's")


def test_a_database_that_has_gone_back_is_gone_on_with_from_its_end(tmp_path: Path) -> None:
    said: list[str] = []
    cursor = Cursor(tmp_path / "cursor")
    cursor.write(99)
    assert exporter(Log(2), cursor, Sender(), said).begin() == cursor.read() == 4
    assert "before entry 99" in said[0]


def test_a_job_that_was_deleted_meanwhile_is_passed_over(tmp_path: Path) -> None:
    log, sender = Log(3), Sender()
    log.deleted = {2}
    exporter(log, Cursor(tmp_path / "cursor"), sender).run(0)
    assert sender.taken == [1, 3]


def test_a_cursor_that_is_none_is_not_taken_for_the_beginning(tmp_path: Path) -> None:
    (tmp_path / "cursor").write_text("-1; DROP")
    with pytest.raises(ValueError, match="no number"):
        Cursor(tmp_path / "cursor").read()


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "requests", None)
    settings = SimpleNamespace(daemon=SimpleNamespace(state_dir=tmp_path, socket=tmp_path / "s"))
    assert command.otel(argparse.Namespace(cursor=None, once=True), cast(Any, settings)) == 2
    assert "pip install '.[otel]'" in capsys.readouterr().err
