"""What tells that the daemon has failed: whom, by what, and with which words."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from bgjobd.config import loading
from bgjobd.config.alerts import Alerts, AlertTarget
from bgjobd.config.sections import Config
from bgjobd.systemd import failed
from bgjobd.systemd.failed import note, tell, told_lately


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


def ended(tmp_path: Path, status: str) -> dict[str, str]:
    """What systemd says of an exit with this code, and where it may be noted."""
    return {
        "MONITOR_SERVICE_RESULT": "exit-code",
        "MONITOR_EXIT_CODE": "exited",
        "MONITOR_EXIT_STATUS": status,
        "RUNTIME_DIRECTORY": str(tmp_path),
    }


def test_a_daemon_that_fails_in_the_same_way_all_the_time_is_told_once_in_quiet_and_another_way_at_once(
    tmp_path: Path,
) -> None:
    settings = config(tmp_path, script=copying(tmp_path / "told"))

    def is_told(now: float, status: str) -> bool:
        (tmp_path / "told").unlink(missing_ok=True)
        assert tell(settings, ended(tmp_path, status), now) == 0
        return (tmp_path / "told").exists()

    asked = [
        (0.0, "65"),
        (2.0, "65"),
        (3.0, "2"),
        (4.0, "65"),
        (3599.0, "65"),
        (3600.0, "65"),
        (3602.0, "65"),
    ]
    assert [is_told(1e6 + at, status) for at, status in asked] == [
        True,
        False,
        True,
        False,
        False,
        True,
        False,
    ]


def test_who_could_not_be_told_is_told_again_and_the_others_are_not(tmp_path: Path) -> None:
    broken = AlertTarget(command=["/bin/false"])
    settings = config(tmp_path, broken=broken, script=copying(tmp_path / "told"))
    assert tell(settings, ended(tmp_path, "65"), 1e6) == 1
    (tmp_path / "told").unlink()
    assert tell(settings, ended(tmp_path, "65"), 1e6 + 2) == 0
    assert tell(settings, ended(tmp_path, "65"), 1e6 + 61) == 1
    assert not (tmp_path / "told").exists()


def test_who_was_told_is_not_told_again_where_the_next_one_took_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd ends it then, amid a target."""
    told: list[str] = []

    def tell_one(name: str, *_: object) -> bool:
        told.append(name)
        if name == "slow":
            raise KeyboardInterrupt
        return True

    monkeypatch.setattr(failed, "_is_told", tell_one)
    settings = config(tmp_path, script=copying(tmp_path / "told"), slow=AlertTarget(command=["/bin/false"]))
    for at in (1e6, 1e6 + 61):
        with pytest.raises(KeyboardInterrupt):
            tell(settings, ended(tmp_path, "65"), at)
    assert tell(settings, ended(tmp_path, "65"), 1e6 + 63) == 0
    assert told == ["script", "slow", "slow"]


def test_what_cannot_be_noted_or_read_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    note({"RUNTIME_DIRECTORY": str(tmp_path / "nowhere")}, {"it": 1.0})
    assert "will be told again" in capsys.readouterr().err
    note({}, {"it": 1.0})
    assert told_lately({}, 2.0, 600.0) == {}
    here = {"RUNTIME_DIRECTORY": str(tmp_path)}
    for text in ("[", "[" * 100_000, '{"it": 1' + "0" * 400 + "}", '{"it": NaN}'):
        (tmp_path / "told.json").write_text(text)
        assert told_lately(here, 2.0, 600.0) == {}
    note(here, {"it": 4.0})
    assert told_lately(here, 5.0, 600.0) == {"it": 4.0}
    assert told_lately(here, 3.0, 600.0) == {}, "the clock was set back"


def test_a_configuration_that_cannot_be_read_is_told_once_in_ten_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("BGJOBD_DAEMON__SLOTS", "none")
    note({"RUNTIME_DIRECTORY": str(tmp_path)}, {"script: watchdog": (before := time.time() - 3000)})
    assert [failed.main(), failed.main()] == [1, 0]
    assert json.loads((tmp_path / "told.json").read_text())["script: watchdog"] == before, "for longer"
    assert capsys.readouterr().err.count("nobody can be told that bgjobd has failed") == 1
