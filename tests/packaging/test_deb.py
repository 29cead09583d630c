"""What the Debian package is told and where its files go; it is made, and tried in a container, by hand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from bgjobd.config.sections import Config
from tests.packaging import deb, lock
from tests.packaging.dist import TREE

DEBIAN = TREE / "systemd" / "debian"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr(deb, "PYTHON", sys.executable)
    monkeypatch.setenv("DEBEMAIL", "packages@example.org")
    return deb.told(TREE, "2", 1767225600)


def test_debian_is_told_of_the_version_its_maintainer_and_its_python(told: dict[str, str]) -> None:
    minor = sys.version_info.minor
    assert re.match(r"bgjobd \(\d+\.\d+\.\d+-2\) unstable;", told["changelog"])
    assert told["changelog"].endswith("<packages@example.org>  Thu, 01 Jan 2026 00:00:00 +0000\n")
    assert f"python3 (>= 3.{minor}), python3 (<< 3.{minor + 1})" in told["control"]
    assert "${misc:Depends}, ${shlibs:Depends}" in told["control"]
    assert "License: Expat\n" in told["copyright"]
    assert "Permission is hereby granted" in told["copyright"]


def test_units_go_where_packages_have_theirs_and_name_the_packages_python(tmp_path: Path) -> None:
    deb._stage_units(tmp_path / "staged", tmp_path / "debian")
    places = {
        str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*") if path.is_file()
    }
    units = {name for name in places if name.startswith("staged/")}
    assert units == {
        f"staged/usr/lib/systemd/system/bgjobd{rest}"
        for rest in (".service", ".socket", "-stop.service", "-failed.service")
    }
    assert places.keys() - units == {
        f"debian/bgjobd.{name}" for name in ("sysusers", "tmpfiles", "logrotate")
    }
    assert (
        "ExecStart=/usr/lib/bgjobd/bin/python -I -m bgjobd serve"
        in places["staged/usr/lib/systemd/system/bgjobd.service"]
    )


@pytest.mark.parametrize(
    ("is_running", "code", "called", "said"),
    [(True, 0, "called", ""), (True, 1, "called", "jobs that are still running"), (False, 0, "", "")],
)
def test_a_removal_ends_jobs_where_a_systemd_runs_and_goes_on_where_it_cannot(
    is_running: bool, code: int, called: str, said: str, tmp_path: Path
) -> None:
    """In a chroot with the host's /sys the cgroup is that of the host's service."""
    script, system, ledger = (DEBIAN / "bgjobd.prerm").read_text(), tmp_path / "system", tmp_path / "ledger"
    ledger.touch()
    for name, does in (("python", f"printf called >> {ledger}; exit {code}"), ("py3clean", "exit 0")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    if is_running:
        system.mkdir()
    script = script.replace("/usr/lib/bgjobd/bin/python", str(tmp_path / "python"))
    script = script.replace("/run/systemd/system", str(system))
    done = subprocess.run(
        ["/bin/sh", "-c", script, "prerm", "remove"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ledger.read_text() == called
    assert said in done.stderr


def test_the_packages_bill_has_all_that_is_installed_with_it(tmp_path: Path) -> None:
    deb._stage_rest(TREE, tmp_path, 1767225600)
    (bill,) = tmp_path.rglob("*.cdx.json")
    told = json.loads(bill.read_text())
    found = {one["name"]: one["version"] for one in told["components"] if one["purl"].startswith("pkg:pypi/")}
    installed = lock.read(lock.RUNTIME) | {deb.DRIVER: lock.read(lock.DEVELOPMENT)[deb.DRIVER]}
    assert found == {name: pinned.version for name, pinned in installed.items()}
    (own,) = [one for one in told["dependencies"] if one["ref"] == "bgjobd"]
    assert any(one.startswith("pkg:pypi/psycopg@") for one in own["dependsOn"])


def test_each_override_of_lintian_has_its_reason() -> None:
    lines = (DEBIAN / "bgjobd.lintian-overrides").read_text().splitlines()
    assert [
        line for before, line in pairwise(["", *lines]) if line[0] != "#" and not before.startswith("# ")
    ] == []


def test_the_configuration_of_the_package_is_one_that_the_daemon_takes() -> None:
    """As it is, and with the four lines that stand there as comments."""
    text = (DEBIAN / "bgjobd.toml").read_text()
    filled = re.sub(r"^# (?=\[|path|\")", "", text, flags=re.MULTILINE)
    assert Config.model_validate(tomllib.loads(text)).approved == {}
    assert [*Config.model_validate(tomllib.loads(filled)).approved] == ["myapp.jobs.Example"]
