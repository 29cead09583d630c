"""The demo's shop: its code, the deploy with a mistake, and what there is to be seen once its bad day is made."""

from __future__ import annotations

import importlib.util
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from bgjob import Client
from bgjobd.config import loading
from bgjobd.demo import life, show
from tests.support import eventually


def mail_of(place: Path) -> Any:
    spec = importlib.util.spec_from_file_location("deployed", place / "shop.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Mail()


def test_the_second_deploy_has_a_mistake_that_the_first_has_not(tmp_path: Path) -> None:
    context = mock.Mock()
    assert mail_of(life.deploy(tmp_path)).send("ann@example.com", "Welcome", context) == {
        "to": "ann@example.com"
    }
    with pytest.raises(AttributeError):
        mail_of(life.deploy(tmp_path, is_broken=True)).send("ann@example.com", "Welcome", context)


@pytest.mark.parametrize("with_life", [False, True])
def test_the_demos_configuration_is_one(tmp_path: Path, with_life: bool) -> None:
    config = show._settings(tmp_path, with_life=with_life)
    assert ("shop.Mail" in config.approved) is with_life
    assert (
        loading.load(tmp_path / "bgjobd.toml", {}, is_root=False).schedules.keys() == config.schedules.keys()
    )


@pytest.mark.long
def test_a_newcomer_finds_a_broken_deploy_a_storm_of_retries_a_paused_queue_a_long_job_and_a_flow() -> None:
    demo = [sys.executable, "-m", "bgjobd", "demo"]
    with subprocess.Popen(demo, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as shown:
        try:
            assert shown.stdout is not None
            told = iter(shown.stdout)
            socket = next(found[1] for line in told if (found := re.search(r"BGJOBD_SOCKET=(/.*)", line)))
            assert any("is on the page by now" in line for line in told)
            with Client(socket) as client:
                assert {need["kind"] for need in client.needs().needs} >= {"new_error"}
                errors = {error["error_type"]: error for error in client.errors().items}
                assert errors["AttributeError"]["failed"] == 17
                assert client.list(status="retrying", class_name="shop.Stock").items
                eventually(
                    lambda: client.list(status="running", class_name="shop.Report").items[0]["progress"]
                )
                (nightly,) = [queue for queue in client.stats()["queues"] if queue["name"] == "nightly"]
                assert (nightly["paused"], nightly["pending"]) == (True, 7)
                assert client.list(status="cancelled", class_name="shop.Catalogue").items
                assert "stock-count" in {schedule["name"] for schedule in client.schedules()}
        finally:
            shown.send_signal(signal.SIGINT)
            shown.communicate(timeout=20)
    assert shown.returncode == 0
