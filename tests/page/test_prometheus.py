"""Prometheus takes the rules, and answers all that rules and dashboard ask: promtool, by what a page would tell, and at
length a server that scrapes pages.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from bgjob.codec import Request as Asked
from bgjobd.web.settings import Settings
from bgjobd.web.views import Page
from tests.client.scripted import Line
from tests.daemon.running import daemon
from tests.page.serving import SAMPLES, TOKEN, page, serving
from tests.page.test_monitoring import (
    CASES,
    RULES,
    SELECTOR,
    asked_by_panels,
    asked_by_rules,
    asked_by_variables,
    block,
    told_of_all,
)
from tests.support import eventually, needed

PROBE = "probes.Probe"

long = pytest.mark.long

# A server looks at its targets after ten seconds, where nothing else is busy.
pytestmark = pytest.mark.timeout(180)

_CHOSEN = {"job": "bgjobd", "__rate_interval": "1m", "__range": "1m"}
"""What Grafana puts in the place of its variables; of all others whatever there is."""


class Prometheus:
    """One that runs."""

    def __init__(self, address: str) -> None:
        self._address = address

    def ask(self, path: str, **parameters: str) -> Any:
        """What its API answers; `match` is `match[]` there."""
        named = {"match[]" if name == "match" else name: value for name, value in parameters.items()}
        with urlopen(f"http://{self._address}/api/v1/{path}?{urlencode(named)}", timeout=20) as answer:
            told = json.load(answer)
        assert told["status"] == "success"
        return told["data"]

    def query(self, expression: str) -> list[Any]:
        found: list[Any] = self.ask("query", query=expression)["result"]
        return found


@contextmanager
def prometheus(directory: Path, targets: list[str]) -> Iterator[Prometheus]:
    """One that is configured as the page says, but for its places and for how often it looks."""
    config = block("# /etc/prometheus/prometheus.yml")
    (scraping,) = config["scrape_configs"]
    scraping["static_configs"] = [{"targets": targets}]
    scraping["authorization"]["credentials_file"] = str(directory / "token")
    config["rule_files"] = [str(RULES), str(directory / "own.rules.yml")]
    config["global"] = {"scrape_interval": "200ms", "evaluation_interval": "1s"}
    (directory / "token").write_text(TOKEN)
    (directory / "own.rules.yml").write_text(yaml.safe_dump(block("# /etc/prometheus/own.rules.yml")))
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    places = [f"--config.file={file}", f"--storage.tsdb.path={directory / 'data'}"]
    with (directory / "console").open("wb") as console:
        words = [needed("prometheus"), *places, "--web.listen-address=127.0.0.1:0"]
        process = subprocess.Popen(words, stderr=console, cwd=directory)
    try:
        yield Prometheus(eventually(lambda: listening(process, directory / "console")))
    finally:
        process.kill()
        process.wait()


def listening(process: subprocess.Popen[bytes], console: Path) -> str | None:
    """Where it listens, as it says, once it answers."""
    told = console.read_text()
    assert process.poll() is None, told
    found = re.search(r'msg="Listening on".* address=(\S+)', told)
    return found[1] if found and "Server is ready" in told else None


def one_of_several(line: Line, asked: Asked) -> bool:
    """What a daemon that has a host tells, as far as it is something else."""
    if asked.method.endswith(".Stats"):
        line.reply(**SAMPLES["stats"] | {"hosts": 1})
    return asked.method.endswith(".Stats")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One that has looked at two pages for a while: of a daemon, and of one that tells of all there can be."""
    directory = tmp_path_factory.mktemp("prometheus")
    needed("prometheus")
    with ExitStack() as stack:
        running = stack.enter_context(daemon(directory))
        settings = Settings(f"unix:{running.socket}", "127.0.0.1:0", TOKEN)
        real = stack.enter_context(serving(Page(settings).respond, settings))
        scripted = stack.enter_context(page(directory, tells=one_of_several, token=TOKEN))
        with running.client() as client:
            client.run_background_job(PROBE, "echo").wait(20)
            client.run_background_job(PROBE, "fail", max_retries=0).wait(20)
        targets = [f"localhost:{one.port}" for one in (real, scripted)]
        asked = stack.enter_context(prometheus(directory, targets))
        looks = 'sum(count_over_time(bgjobd_up{job="bgjobd"}[1m]) >= bool 3)'
        eventually(lambda: [float(one["value"][1]) for one in asked.query(looks)] == [2.0], 60)
        yield asked


def chosen(expression: str) -> str:
    """The expression as Grafana asks it."""
    return re.sub(r"\$(\w+)", lambda found: _CHOSEN.get(found[1], ".*"), expression)


def compared_by_rules() -> list[str]:
    """The series that rules look at; the page's own example names a schedule that is called otherwise here."""
    text = "\n".join(asked_by_rules()).replace("nightly-report", SAMPLES["schedule"]["name"])
    return [found[0] for found in SELECTOR.finditer(text)]


def told() -> set[tuple[str, str]]:
    """The name and the labels of each sample that a page gives of all there can be, as Prometheus keeps it."""
    found = {("up", '{job="bgjobd",instance="a:1"}')}
    for family in told_of_all().values():
        for sample in family.samples:
            labels = sample.labels | {"job": "bgjobd", "instance": "a:1"}
            listed = ",".join(f'{name}="{value}"' for name, value in labels.items())
            found.add((sample.name, f"{{{listed}}}"))
    return found


def test_promtool_takes_the_rules() -> None:
    subprocess.run([needed("promtool"), "check", "rules", "--lint-fatal", RULES], check=True)


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    subprocess.run([needed("promtool"), "test", "rules", CASES], check=True)


def test_every_expression_can_be_answered_by_what_a_page_tells(tmp_path: Path) -> None:
    series = [{"series": f"{name}{labels}", "values": "1+1x20"} for name, labels in told()]
    wanted = [{"labels": "{}", "value": 1}]
    answers = [
        {"expr": f"count({chosen(asked)}) > bool 0", "eval_time": "5m", "exp_samples": wanted}
        for asked in [*asked_by_panels(), *compared_by_rules()]
    ]
    case = {"interval": "15s", "input_series": series, "promql_expr_test": answers}
    file = tmp_path / "cases.yml"
    file.write_text(yaml.safe_dump({"tests": [case]}))
    subprocess.run([needed("promtool"), "test", "rules", file], check=True)


# A server


@long
def test_every_panel_finds_something(asked: Prometheus) -> None:
    empty = [expression for expression in asked_by_panels() if not asked.query(chosen(expression))]
    assert empty == []


@long
def test_every_variable_can_be_chosen(asked: Prometheus) -> None:
    for series, label in asked_by_variables():
        assert asked.ask(f"label/{label}/values", match=chosen(series))


@long
def test_what_rules_compare_is_there(asked: Prometheus) -> None:
    assert [selector for selector in compared_by_rules() if not asked.query(selector)] == []


@long
def test_rules_are_evaluated_and_what_is_wrong_is_found(asked: Prometheus) -> None:
    def evaluated() -> dict[str, list[str]]:
        rules = [rule for group in asked.ask("rules")["groups"] for rule in group["rules"]]
        assert [rule["lastError"] for rule in rules if rule["health"] == "err"] == []
        names: dict[str, list[str]] = {}
        for rule in rules:
            names.setdefault(rule["state"], []).append(rule["name"])
        return names

    wrong = {"BgjobdStorageTrouble", "BgjobdJobsWait", "BgjobdReview"}  # as the scripted daemon says
    eventually(lambda: wrong <= {*evaluated().get("pending", ())})
    assert {"BgjobdAbsent", "BgjobdDown", "BgjobdNoCode"} <= {*evaluated()["inactive"]}


@long
def test_what_a_daemon_has_done_is_what_prometheus_counts(asked: Prometheus) -> None:
    for status in ("completed", "failed"):
        ended = f'bgjobd_jobs_ended_total{{class_name="{PROBE}", status="{status}"}}'
        assert [one["value"][1] for one in asked.query(ended)] == ["1"]
