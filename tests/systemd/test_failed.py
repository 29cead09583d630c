"""What tells that the daemon has failed: whom, by what, and with which words."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bgjobd.config import loading
from bgjobd.config.alerts import Alerts, AlertTarget
from bgjobd.config.sections import Config
from bgjobd.systemd.failed import tell


def config(tmp_path: Path, **targets: AlertTarget) -> Config:
    found = loading.load(None, {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}, is_root=False)
    return found.model_copy(update={"alerts": Alerts(tell=tuple(targets), targets=targets)})


def copying(to: Path) -> AlertTarget:
    copy = f"import sys; open({str(to)!r}, 'w').write(sys.stdin.read())"
    return AlertTarget(command=(sys.executable, "-c", copy))


def test_a_command_is_told_how_the_daemon_has_failed_and_a_job_is_not_asked(tmp_path: Path) -> None:
    settings = config(tmp_path, script=copying(tmp_path / "told"), pager=AlertTarget(job="a.B::page"))
    assert tell(settings, {"MONITOR_SERVICE_RESULT": "watchdog"}, 1_000_000.0) == 0
    notice = json.loads((tmp_path / "told").read_text())
    assert (notice["kind"], notice["since"]) == ("daemon", "1970-01-12T13:46:40.000000Z")
    assert notice["message"] == "the daemon has failed (watchdog); systemd starts another"


def test_where_one_cannot_be_told_the_others_are(tmp_path: Path) -> None:
    settings = config(
        tmp_path, gone=AlertTarget(command=("/nowhere/page",)), script=copying(tmp_path / "told")
    )
    assert tell(settings, {}, 1_000_000.0) == 1
    assert (tmp_path / "told").exists()
