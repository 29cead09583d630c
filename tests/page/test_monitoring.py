"""Alert rules and dashboard ask for what /metrics tells, and are what the documents say; without a Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain, combinations
from pathlib import Path
from typing import Any, Final

import yaml
from prometheus_client import Metric

from tests.page.serving import SAMPLES
from tests.page.test_metrics import told_of

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
RULES: Final = DOCS / "monitoring" / "bgjobd.rules.yml"
CASES: Final = Path(__file__).with_name("alert_rules.test.yml")
PAGE: Final = DOCS / "monitoring.md"

_OF_TARGETS: Final = {"job", "instance"}
"""Labels that Prometheus gives each sample itself."""

SELECTOR: Final = re.compile(r"\b(bgjobd_\w+|up\b)(\{[^}]*\})?")
_MATCHER: Final = re.compile(r'(\w+)(?:=~|=)"([^"]*)"')
_GROUPING: Final = re.compile(r"\b(?:by|on) \(([^)]*)\)")

DASHBOARD: Final[dict[str, Any]] = json.loads((DOCS / "monitoring" / "bgjobd.dashboard.json").read_text())
PANELS: Final = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
VARIABLES: Final = [one for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return list(group["rules"])


def own_rules() -> list[dict[str, Any]]:
    """Those that the page shows as an example."""
    return [rule for group in block("# /etc/prometheus/own.rules.yml")["groups"] for rule in group["rules"]]


def block(first_line: str) -> Any:
    """What stands in the page's block of YAML that begins so."""
    return yaml.safe_load(PAGE.read_text().partition(f"```yaml\n{first_line}\n")[2].partition("```")[0])


def asked_by_rules() -> list[str]:
    return [rule["expr"] for rule in [*rules(), *own_rules()]]


def asked_by_panels() -> list[str]:
    return [target["expr"] for panel in PANELS for target in panel["targets"]]


def asked_by_variables() -> list[tuple[str, str]]:
    """Of which series a variable takes which label."""
    return [
        (told[1], told[2])
        for one in VARIABLES
        for told in [re.fullmatch(r"label_values\((.+), (\w+)\)", one["query"]["query"])]
        if told is not None
    ]


def selectors(expression: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """Each metric that is asked for, with what its labels are to be."""
    return [(name, _MATCHER.findall(matchers)) for name, matchers in SELECTOR.findall(expression)]


@cache
def told_of_all() -> dict[str, Metric]:
    """What a page tells of a daemon that has one of each."""
    return told_of(SAMPLES["stats"], hosts=[SAMPLES["host"]], needs=[SAMPLES["need"]]).families


@cache
def told() -> dict[str, dict[str, set[str]]]:
    """What each sample's labels can be, by its name; nothing of how its target is called."""
    found: dict[str, dict[str, set[str]]] = {"up": {}}
    for sample in chain.from_iterable(family.samples for family in told_of_all().values()):
        labels = found.setdefault(sample.name, {})
        for label, value in sample.labels.items():
            labels.setdefault(label, set()).add(value)
    return found


def is_told(name: str, label: str, wanted: str) -> bool:
    """Whether a metric has such a label, of that value or of one of these; a variable may have any."""
    if label in _OF_TARGETS:
        return True
    values = told()[name].get(label, set())
    return bool(values) and ("$" in wanted or not _is_of_ours(label) or {*wanted.split("|")} <= values)


def _is_of_ours(label: str) -> bool:
    """Whether its values are words of ours, and no names that somebody has configured."""
    return label in ("status", "kind", "outcome", "verdict")


def labels_of(expression: str) -> set[str]:
    """All that a legend or a sentence can name of what this finds."""
    groupings = _GROUPING.findall(expression)
    if re.search(r"\bby \(", expression):
        return {label.strip() for label in ",".join(groupings).split(",")}
    return _OF_TARGETS.union(*(told()[name] for name, _ in selectors(expression)))


def test_every_metric_and_label_that_is_asked_for_is_told() -> None:
    asked = [*asked_by_rules(), *asked_by_panels(), *(series for series, _ in asked_by_variables())]
    assert len(asked) > 60
    for expression in asked:
        names = {name for name, _ in selectors(expression)}
        assert names, expression
        assert names <= told().keys(), expression
        matchers = [(name, *matcher) for name, listed in selectors(expression) for matcher in listed]
        assert [one for one in matchers if not is_told(*one)] == [], expression
        groupings = {label.strip() for told in _GROUPING.findall(expression) for label in told.split(",")}
        assert groupings <= _OF_TARGETS.union(*(told()[name] for name in names)), expression
    for series, label in asked_by_variables():
        assert label in labels_of(series)


def test_what_nobody_tells_is_found() -> None:
    assert selectors('sum by (x) (a_bgjobd_up) + bgjobd_needs{kind=~"a|b", job="c"}') == [
        ("bgjobd_needs", [("kind", "a|b"), ("job", "c")])
    ]
    assert is_told("bgjobd_needs", "kind", "disk|host")
    assert not is_told("bgjobd_needs", "kind", "disk|dust")
    assert not is_told("bgjobd_needs", "queue", "a")


def test_every_metric_is_shown_by_the_dashboard() -> None:
    def families(names: Iterable[str]) -> set[str]:
        return {re.sub("_(bucket|sum|count)$", "", name) for name in names}

    shown = (name for expression in asked_by_panels() for name, _ in selectors(expression))
    assert families(told()) - families(shown) == set()


# The rules


def test_an_alert_says_how_bad_it_is_since_when_and_what_to_do() -> None:
    for rule in rules():
        assert re.fullmatch(r"Bgjobd([A-Z][a-z]+)+", rule["alert"])
        assert re.fullmatch(r"\d+m", rule["for"]), rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
        assert {*rule["annotations"]} == {"summary", "description", "runbook"}, rule["alert"]
        assert "bgjob" in rule["annotations"]["description"], rule["alert"]
        named = re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values()))
        assert {*named} <= labels_of(rule["expr"]), rule["alert"]


def test_the_page_has_every_alert_in_its_order_with_how_bad_it_is() -> None:
    rows = re.findall(r"^\| `(Bgjobd\w+)` +\|.*\| (\w+) +\|$", PAGE.read_text(), re.MULTILINE)
    assert rows == [(rule["alert"], rule["labels"]["severity"]) for rule in rules()]


def test_each_alert_has_a_case_in_which_it_fires_and_does_not_at_another_moment() -> None:
    fire = set()
    for case in yaml.safe_load(CASES.read_text())["tests"]:
        moments = [
            {firing(one["labels"]) for one in step["exp_samples"]} for step in case["promql_expr_test"]
        ]
        fire |= set.union(*moments) - set.intersection(*moments)
    assert fire == {rule["alert"] for rule in rules()}


def firing(labels: str) -> str:
    return re.findall(r'alertname="(\w+)"', labels)[0]


# The dashboard


def test_every_panel_asks_whatever_prometheus_was_chosen_and_has_its_own_place() -> None:
    assert DASHBOARD["templating"]["list"][0]["type"] == "datasource"
    for panel in [*PANELS, *VARIABLES]:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len({*numbers}) == len(numbers)
    for one, other in combinations([panel["gridPos"] for panel in DASHBOARD["panels"]], 2):
        is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert is_beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert one["x"] + one["w"] <= 24


def test_a_legend_names_what_the_panel_finds_and_a_variable_that_there_is() -> None:
    variables = {one["name"] for one in DASHBOARD["templating"]["list"]} | {"__rate_interval", "__range"}
    for expression, legend in targets():
        assert {*re.findall(r"{{(\w+)}}", legend)} <= labels_of(expression), expression
        assert {*re.findall(r"\$(\w+)", expression)} <= variables, expression


def targets() -> Iterator[tuple[str, str]]:
    for panel in PANELS:
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        yield from ((target["expr"], target["legendFormat"]) for target in panel["targets"])


# How many series


def test_there_are_as_many_series_as_the_page_says() -> None:
    rows = re.findall(
        r"^\| (page|queue|class|schedule|host)\b[^|]*\| (?:about )?(\d+)", PAGE.read_text(), re.M
    )
    found = {name: int(number) for name, number in rows}
    samples = [sample for family in told_of_all().values() for sample in family.samples]
    buckets = 16 - len(SAMPLES["stats"]["counts"]["bounds"]) - 1  # more than the samples have

    def of(label: str) -> int:
        return sum(label in sample.labels for sample in samples)

    outcomes = len(SAMPLES["stats"]["counts"]["classes"]["shop.jobs.Email"]["attempts"])
    assert of("class_name") - outcomes + buckets == found["class"]
    assert of("queue") + buckets == found["queue"]
    assert of("host") == found["host"]
    assert of("schedule") - 1 == found["schedule"]
    own = [s for s in samples if not {"class_name", "queue", "host", "schedule"} & s.labels.keys()]
    assert abs(len(own) + 5 - found["page"]) < 5
