"""/metrics as Prometheus reads it: by its own strict parser, of a scripted daemon, of a real one, and of none."""

from __future__ import annotations

import gzip
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed_text

from bgjob.codec import Request as Asked
from bgjob.words import Status
from bgjobd.core.need_kinds import Kind
from bgjobd.web.metrics import Standing, exposition
from bgjobd.web.settings import Settings
from bgjobd.web.views import Page
from tests.client.scripted import Line
from tests.daemon.running import RunningDaemon, daemon
from tests.page.serving import SAMPLES, TOKEN, WHEN, Answer, Served, page, serving

DOCUMENTED = Path(__file__).resolve().parents[2] / "docs" / "page-and-metrics.md"
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
BEARER = f"Authorization: Bearer {TOKEN}"
PROBE = "probes.Probe"
SAMPLE_AT = datetime.fromisoformat(WHEN).timestamp()

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples_of(families: list[Metric]) -> Samples:
    """Each sample by its name and labels. Fails where one comes twice."""
    listed = [
        ((sample.name, frozenset(sample.labels.items())), sample.value)
        for family in families
        for sample in family.samples
    ]
    assert len(dict(listed)) == len(listed)
    return dict(listed)


class Told:
    """What an answer tells."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in parsed_openmetrics(text)}
        self._samples = samples_of([*self.families.values()])

    def value(self, name: str, **labels: str) -> float:
        return self._samples[f"bgjobd_{name}", frozenset(labels.items())]

    def values(self, name: str) -> list[float]:
        """Of all samples of this name, in order."""
        return [value for (found, _), value in self._samples.items() if found == f"bgjobd_{name}"]

    def labels(self, name: str) -> list[dict[str, str]]:
        return [dict(labels) for found, labels in self._samples if found == f"bgjobd_{name}"]


def told_by(answer: Answer) -> Told:
    assert answer.status == 200
    return Told(answer.body.decode())


def told_of(stats: dict[str, Any], now: float = SAMPLE_AT, **more: Sequence[dict[str, Any]] | None) -> Told:
    return Told(exposition(Standing(stats, now, **more), OPENMETRICS)[0].decode())


def sample_stats(**changes: Any) -> dict[str, Any]:
    return deepcopy(SAMPLES["stats"]) | changes


@contextmanager
def page_over(running: RunningDaemon, name: str = "page.sock") -> Iterator[Served]:
    settings = Settings(f"unix:{running.socket}", f"unix:{running.directory}/{name}")
    with serving(Page(settings).respond, settings) as served:
        yield served


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with page(tmp_path_factory.mktemp("page"), token=TOKEN) as served:
        yield served


# Who may look, and what it looks like


def test_the_token_opens_it_and_nothing_else(served: Served) -> None:
    assert served.ask("GET /metrics", BEARER).status == 200
    assert served.ask("GET /metrics").status == 401
    for header in (
        f"{BEARER}x",
        "Authorization: Bearer",
        f"Authorization: Basic {TOKEN}",
        f"Authorization: {TOKEN}",
    ):
        assert served.ask("GET /metrics", header, f"Accept: {PROMETHEUS}").status == 401


def test_a_unix_socket_takes_no_token(tmp_path: Path) -> None:
    with page(tmp_path, bind=f"unix:{tmp_path}/page.sock") as served:
        assert told_by(served.ask("GET /metrics", f"Accept: {OPENMETRICS}")).value("up") == 1


def test_head_has_the_length_and_no_body(served: Served) -> None:
    whole = served.ask("GET /metrics", BEARER, f"Accept: {OPENMETRICS}")
    head = served.ask("HEAD /metrics", BEARER, f"Accept: {OPENMETRICS}")
    assert (head.status, head.body) == (200, b"")
    assert head.header("content-type") == whole.header("content-type")
    # An age is in it.
    assert int(head.header("content-length") or 0) == pytest.approx(len(whole.body), abs=20)


def test_it_comes_compressed_where_that_is_asked_for(served: Served) -> None:
    answer = served.ask("GET /metrics", BEARER, f"Accept: {OPENMETRICS}", "Accept-Encoding: gzip")
    assert answer.header("content-encoding") == "gzip"
    assert Told(gzip.decompress(answer.body).decode()).value("up") == 1


def test_prometheus_itself_gets_openmetrics(served: Served) -> None:
    answer = served.ask("GET /metrics", BEARER, f"Accept: {PROMETHEUS}")
    assert (answer.header("content-type") or "").startswith("application/openmetrics-text; version=1.0.0;")
    assert answer.body.endswith(b"# EOF\n")
    assert (answer.header("cache-control"), answer.header("x-content-type-options")) == (
        "no-store",
        "nosniff",
    )
    assert "Accept" in (answer.header("vary") or "")
    assert told_by(answer).value("slots") == 4


@pytest.mark.parametrize(
    "accept", ["*/*", "text/plain", "text/html", "application/json", "nonsense", ";=,;;"]
)
def test_anybody_else_gets_the_plain_format(served: Served, accept: str) -> None:
    answer = served.ask("GET /metrics", BEARER, f"Accept: {accept}")
    assert (answer.header("content-type") or "").startswith("text/plain; version=0.0.4")
    found = samples_of([*parsed_text(answer.body.decode())])
    assert found["bgjobd_up", frozenset()] == 1
    assert b"# EOF" not in answer.body


@pytest.mark.parametrize(
    "version",
    ["x", "1", "1.0.0x", "x.1", "99.0", "", "²", "-1.0.0", '"1.0.0"', "1" * 5000, "1.0.0 Set-Cookie: a=b"],
)
@pytest.mark.parametrize("kind", ["application/openmetrics-text", "text/plain"])
def test_a_strange_version_is_no_error(served: Served, kind: str, version: str) -> None:
    answer = served.ask("GET /metrics", BEARER, f"Accept: {kind}; version={version}; escaping=x")
    assert answer.status == 200
    assert answer.header("set-cookie") is None
    assert b"bgjobd_up 1" in answer.body


# What it tells of the daemon


def test_a_daemon_that_is_away_is_down_and_nothing_more_is_told(tmp_path: Path) -> None:
    settings = Settings(f"unix:{tmp_path}/nobody", f"unix:{tmp_path}/page.sock")
    with serving(Page(settings).respond, settings) as served:
        told = told_by(served.ask("GET /metrics", f"Accept: {OPENMETRICS}"))
        assert served.ask("GET /healthz").status == 503
    assert [*told.families] == ["bgjobd_up"]
    assert told.value("up") == 0


def test_of_a_daemon_that_cannot_read_its_database_that_is_told(tmp_path: Path) -> None:
    def refusing(line: Line, asked: Asked) -> bool:
        line.refuse("StorageUnavailable", reason="the server does not answer", may_be_stored=None)
        return True

    with page(tmp_path, tells=refusing, bind=f"unix:{tmp_path}/page.sock") as served:
        told = told_by(served.ask("GET /metrics", f"Accept: {OPENMETRICS}"))
    assert [*told.families] == ["bgjobd_up", "bgjobd_storage_trouble"]
    assert (told.value("up"), told.value("storage_trouble")) == (1, 1)


def test_every_metric_has_help_a_type_and_the_unit_of_its_name() -> None:
    for name, family in told_of(sample_stats()).families.items():
        assert re.fullmatch(r"bgjobd(_[a-z]+)*", name)
        assert family.documentation.endswith(".")
        assert family.type in ("gauge", "counter", "histogram", "info")
        unit = name.rpartition("_")[2]
        assert family.unit == (unit if unit in ("seconds", "bytes") else "")


def test_the_samples_tell_what_the_daemon_told() -> None:
    told = told_of(sample_stats(), now=SAMPLE_AT + 90)
    assert told.labels("info") == [{"version": "0.1.0", "code_version": "c0de", "python": "3.11.7"}]
    assert told.value("start_time_seconds") == SAMPLE_AT
    assert told.value("oldest_pending_age_seconds") == 90
    assert told.value("queue_oldest_pending_age_seconds", queue="default") == 90
    assert (told.value("storage_trouble"), told.value("code_loaded")) == (1, 1)
    assert told.value("database_bytes") == 40960
    for status, number in SAMPLES["stats"]["jobs"].items():
        assert told.value("jobs", status=status) == number
    assert (told.value("jobs_blocked"), told.value("groups_open")) == (1, 2)
    assert (told.value("jobs_waiting"), told.value("jobs_review")) == (3, 7)
    queue = [
        told.value(f"queue_{name}", queue="default")
        for name in ("pending", "running", "slots", "paused", "behind")
    ]
    assert queue == [1, 1, 2, 0, 35]
    assert told.value("attempts_total", class_name="shop.jobs.Email", outcome="not_started") == 1
    assert told.value("retries_total", class_name="shop.jobs.Email") == 1


def test_what_needs_somebody_is_left_out_where_that_took_the_daemon_too_long() -> None:
    told = told_of(sample_stats(), needs=None)
    assert told.value("up") == 1
    assert not told.labels("needs")


def test_what_needs_somebody_is_counted_by_kind_and_each_kind_is_there() -> None:
    needs = [{"kind": "disk"}, {"kind": "unavailable"}, {"kind": "unavailable"}, {"kind": "too_warm"}]
    told = told_of(sample_stats(), needs=needs)
    assert {labels["kind"] for labels in told.labels("needs")} == {*Kind, "too_warm"}
    numbers = {kind: told.value("needs", kind=kind) for kind in ("unavailable", "disk", "too_warm", "host")}
    assert numbers == {"unavailable": 2, "disk": 1, "too_warm": 1, "host": 0}


def test_what_has_never_happened_is_0_and_what_is_not_there_is_left_out() -> None:
    queue = {
        "name": "default",
        "pending": 0,
        "running": 0,
        "slots": None,
        "paused": True,
        "oldest_pending": None,
        "behind": None,  # as a daemon tells that knows of no keys
    }
    stats = sample_stats(
        jobs={}, queues=[queue], oldest_pending=None, code_version=None, python=None, storage_trouble=None
    )
    told = told_of(stats)
    assert {labels["status"] for labels in told.labels("jobs")} == {*Status}
    assert told.values("jobs") == [0] * 5
    assert told.labels("queue_slots") == told.labels("queue_behind") == []
    assert told.value("queue_paused", queue="default") == 1
    assert told.value("oldest_pending_age_seconds") == 0
    assert told.value("queue_oldest_pending_age_seconds", queue="default") == 0
    assert (told.value("code_loaded"), told.value("storage_trouble")) == (0, 0)
    assert told.labels("info")[0]["code_version"] == ""
    assert told.value("jobs_ended_total", class_name="shop.jobs.Email", status="cancelled") == 0


def test_a_clock_that_was_set_back_makes_no_negative_age() -> None:
    told = told_of(sample_stats(), now=SAMPLE_AT - 3600)
    assert told.value("oldest_pending_age_seconds") == 0
    assert told.value("queue_oldest_pending_age_seconds", queue="default") == 0


def test_buckets_add_up_to_the_count() -> None:
    told, label = told_of(sample_stats()), {"class_name": "shop.jobs.Email"}
    buckets = [
        told.value("attempt_duration_seconds_bucket", le=le, **label) for le in ("0.01", "1.0", "+Inf")
    ]
    assert buckets == [1, 3, 5]
    assert told.value("attempt_duration_seconds_count", **label) == 5
    assert told.value("attempt_duration_seconds_sum", **label) == 12.5
    assert told.value("job_wait_seconds_count", queue="default") == 6


def test_schedules_tell_what_became_of_their_occurrences_and_of_their_last_success() -> None:
    told = told_of(sample_stats())
    name = "schedule_occurrences_total"
    assert told.value(name, schedule="nightly", verdict="submitted", reason="") == 3
    assert told.value(name, schedule="nightly", verdict="skipped", reason="missed") == 7
    assert told.value("schedule_last_success_timestamp_seconds", schedule="nightly") == SAMPLE_AT


def test_no_name_can_become_another_line() -> None:
    stats = sample_stats()
    hostile = 'a"} 1\nbgjobd_up 0\n# EOF\n\\'
    stats["counts"]["classes"] = {hostile: stats["counts"]["classes"]["shop.jobs.Email"]}
    stats["queues"][0]["name"] = stats["code_version"] = hostile
    told = told_of(stats)
    assert told.value("retries_total", class_name=hostile) == 1
    assert told.value("queue_running", queue=hostile) == 1
    assert told.labels("info")[0]["code_version"] == hostile
    assert told.value("up") == 1


def test_the_documentation_names_every_metric_and_no_other() -> None:
    text = DOCUMENTED.read_text()
    _, _, behind = text.partition("\n## Metrics\n")
    section = behind.partition("\n## ")[0]
    table = "\n".join(line for line in section.splitlines() if line.startswith("|"))
    labels = {}
    for family in told_of(sample_stats(), hosts=[SAMPLES["host"]]).families.values():
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels[f"{family.name}{suffix}"] = {name for one in family.samples for name in one.labels} - {"le"}
    shown = re.findall(r"`(bgjobd_[a-z_]+)(?:\{([a-z_,]+)\})?`", table)
    assert {name: set(filter(None, told.split(","))) for name, told in shown} == labels
    assert set(re.findall(r"\bbgjobd_[a-z_]+", section)) == labels.keys()


# A real daemon


def test_known_outcomes_are_counted_and_begin_anew_with_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with daemon(tmp_path) as running, page_over(running) as served, running.client() as client:

        def look() -> Told:
            return told_by(served.ask("GET /metrics", f"Accept: {PROMETHEUS}"))

        before = look()
        assert before.value("jobs_ended_total", class_name=PROBE, status="failed") == 0
        assert before.value("job_wait_seconds_count", queue="default") == 0

        client.run_background_job(PROBE, "echo").wait(20)
        client.run_background_job(PROBE, "sleep", {"seconds": 0.3}).wait(20)
        client.run_background_job(PROBE, "fail", max_retries=1).wait(20)
        client.run_background_job(PROBE, "hard_exit", {"code": 3}, max_retries=0).wait(20)
        client.cancel(client.run_background_job(PROBE, "echo", delay=3600).id)
        after = look()
        rows = running.query("SELECT class_name, outcome, count(*) FROM job_attempts JOIN background_jobs AS j "
                             "ON j.id = job_id GROUP BY class_name, outcome")  # fmt: skip
        expected = {(PROBE, "completed"): 2, (PROBE, "failed"): 2, (PROBE, "exited"): 1}
        assert {(name, outcome): number for name, outcome, number in rows} == expected
        for (name, outcome), number in expected.items():
            assert after.value("attempts_total", class_name=name, outcome=outcome) == number
        ended = {
            status: after.value("jobs_ended_total", class_name=PROBE, status=status)
            for status in ("completed", "failed", "cancelled")
        }
        assert ended == {"completed": 2, "failed": 2, "cancelled": 1}
        assert after.value("retries_total", class_name=PROBE) == 1
        assert after.value("jobs", status="failed") == 2
        assert after.value("attempt_duration_seconds_count", class_name=PROBE) == 5
        assert after.value("attempt_duration_seconds_sum", class_name=PROBE) >= 0.3
        assert after.value("attempt_duration_seconds_bucket", class_name=PROBE, le="0.25") <= 4
        assert after.value("job_wait_seconds_count", queue="default") == 5

        running.stop(signal.SIGKILL)
        monkeypatch.setattr("bgjobd.web.views.means._PATIENCE", 0.1)
        with page_over(running, "impatient.sock") as impatient:
            told = told_by(impatient.ask("GET /metrics", f"Accept: {PROMETHEUS}"))
            assert told.value("up") == 0
        running.start()
        again = look()
        assert again.values("attempts_total") == []
        assert again.value("jobs_ended_total", class_name=PROBE, status="completed") == 0
        assert again.value("jobs", status="completed") == 2
        assert again.value("start_time_seconds") > before.value("start_time_seconds")
