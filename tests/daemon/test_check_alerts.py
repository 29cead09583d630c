"""What a check says of alerts: who is told, which target cannot be, and which no rule tells."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bgjobd.commands.check_alerts import findings
from bgjobd.commands.findings import doubtful
from bgjobd.config import loading
from bgjobd.config.alerts import Alerts
from bgjobd.daemon.catalogue import Catalogue

PAGE = {"command": ["/bin/true"]}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, []),
        ({"targets": {"page": PAGE}}, ["nobody is told"]),
        ({"tell": ["journal"]}, ["journal is told", "to the journal alone"]),
        ({"tell": ["page"], "targets": {"page": PAGE}}, ["page is told"]),
        (
            {"tell": ["page"], "targets": {"page": PAGE, "other": PAGE}},
            ["page is told", "no rule tells target other"],
        ),
        (
            {"tell": ["page"], "targets": {"page": {"command": ["/nowhere/page"]}}},
            ["page is told", "target page cannot be told: /nowhere/page is no program"],
        ),
    ],
)
def test_each_thing_that_keeps_somebody_from_being_told_is_found(
    tmp_path: Path, settings: dict[str, Any], told: list[str]
) -> None:
    config = loading.load(None, {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}, is_root=False)
    found = list(findings(config.model_copy(update={"alerts": Alerts(**settings)}), None))
    assert [words in one.told for one, words in zip(found, told, strict=True)] == [True] * len(told)


@pytest.mark.parametrize(
    ("job", "told"),
    [
        ("a.Other::run", "rule nightly waits for a.Other, which is not approved"),
        ("a.B::stop", "rule nightly waits for stop, which a.B has not"),
        ("a.B::run", None),
        ("a.B", None),
        ("a.Broken::run", None),
    ],
)
def test_a_rule_that_waits_in_vain_is_found(tmp_path: Path, job: str, told: str | None) -> None:
    config = loading.load(None, {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}, is_root=False)
    own = Alerts(tell=("journal",), rules={"nightly": {"when": "no_success", "job": job, "within": "25h"}})
    methods = {"run": {"schema": {}, "names": None}}
    described = {
        "a.B": {"unavailable": None, "methods": methods},
        "a.Broken": {"unavailable": "ImportError: no", "methods": {}},
    }
    catalogue = cast(Catalogue, SimpleNamespace(classes=described, has_others=False))
    found = [one.told for one in findings(config.model_copy(update={"alerts": own}), catalogue)]
    assert [one for one in found if "nightly" in one] == ([] if told is None else [f"alerts: {told}"])


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (
            {"when": "schedule_fails", "schedule": "nightly-reprt"},
            "rule own looks for schedule nightly-reprt, which is not configured; did you mean nightly-report?",
        ),
        ({"when": "schedule_fails", "schedule": "nightly-report"}, None),
        ({"when": "schedule_fails", "schedule": "customer/7"}, None),
        ({"when": "paused", "queue": "mail"}, "rule own looks for queue mail, which is not configured"),
        ({"when": "paused", "queue": "default"}, None),
    ],
)
def test_a_rule_of_a_schedule_or_queue_that_is_not_configured_is_found(
    tmp_path: Path, rule: dict[str, Any], told: str | None
) -> None:
    file = tmp_path / "bgjobd.toml"
    file.write_text("[schedules.nightly-report]\njob = 'a.B::run'\ncron = '@daily'\n")
    config = loading.load(file, {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}, is_root=False)
    own = Alerts(tell=("journal",), rules={"own": rule})
    found = findings(config.model_copy(update={"alerts": own}), None)
    assert [one for one in found if "rule own" in one.told] == (
        [] if told is None else [doubtful(f"alerts: {told}")]
    )


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"targets": {"a": {}}}, "one of job, command and smtp"),
        ({"targets": {"a": PAGE | {"job": "a.B::page"}}}, "one of job, command and smtp"),
        ({"targets": {"a": {"smtp": "127.0.0.1:25"}}}, "to beside smtp"),
        ({"targets": {"a": {"smtp": "127.0.0.1", "to": ["x"]}}}, "smtp with a port"),
        ({"targets": {"a": {"command": ["page"]}}}, "absolute path"),
        ({"tell": ["page"]}, "tell must name targets"),
        ({"rules": {"slow": {"tell": ["page"]}}}, "rules.slow.tell must name targets"),
        ({"rules": {"own": {}}}, "rules.own must have when"),
        ({"rules": {"slow": {"when": "review"}}}, "is the kind of this name"),
        ({"rules": {"nightly": {"when": "no_success", "job": "a.B"}}}, "nightly must have job and within"),
        ({"rules": {"no_success": {"within": "1h"}}}, "no_success must have job and within"),
        (
            {"rules": {"slow": {"schedule": "nightly"}}},
            "slow cannot have schedule: slow takes job, least, times",
        ),
        ({"rules": {"disk": {"longer": "1h"}}}, "disk cannot have longer: disk takes no key"),
        ({"rules": {"own": {"when": "review", "job": "a.B::page"}}}, "job must be a class"),
        ({"rules": {"failure_rate": {"over": "2h"}}}, "over must be an hour at most"),
    ],
)
def test_what_means_nothing_is_refused(settings: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        Alerts(**settings)


def test_a_rule_by_the_name_of_a_kind_has_other_numbers_and_one_of_its_own_is_beside_it() -> None:
    own = {"when": "schedule_fails", "schedule": "nightly", "last": 1, "tell": ["journal"]}
    watches = {one.name: one for one in Alerts(rules={"slow": {"times": 5}, "own": own}).watches}
    assert (watches["slow"].rule.times, watches["slow"].rule.least, watches["slow"].tell) == (5, 20, ())
    assert (watches["own"].rule.schedule, watches["own"].rule.last, watches["own"].tell) == (
        "nightly",
        1,
        ("journal",),
    )
    assert (watches["schedule_fails"].rule.last, "failed" in watches) == (3, False)
