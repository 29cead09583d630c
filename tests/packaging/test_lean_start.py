"""What a command imports, and a daemon carries for as long as it runs: no more than it needs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

import bgjob

HEAVY = {"rich", "jinja2", "shtab", "prometheus_client", "mcp", "jsonschema"}


@cache
def modules_after(code: str) -> set[str]:
    told = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(told.stdout.split())


def test_the_daemon_imports_nothing_that_draws() -> None:
    loaded = modules_after("import bgjobd.service")
    assert "structlog" in loaded
    assert not HEAVY & loaded


def test_a_daemon_has_no_tls(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[daemon]\nslots = 0")  # so that it ends once all is imported
    command = ["serve", "--config", str(tmp_path / "bad.toml")]
    loaded = modules_after(f"from bgjobd.main import main; main({command})")
    assert "bgjobd.service" in loaded
    assert not loaded & {"ssl", "playhouse", "http"}


def test_a_daemon_has_no_driver_of_another_database_though_one_is_installed() -> None:
    assert "psycopg" in modules_after("import psycopg")
    assert not modules_after("import bgjobd.service") & {"psycopg", "greenlet"}


def test_the_page_imports_nothing_for_metrics_before_somebody_asks_for_them() -> None:
    loaded = modules_after("import bgjobd.web.__main__")
    assert "jinja2" in loaded
    assert "prometheus_client" not in loaded
    assert "prometheus_client" in modules_after("import bgjobd.web.metrics")


def test_what_draws_can_still_be_imported_beside_it() -> None:
    assert "rich" in modules_after("import bgjobd.service, rich.table")
    assert "rich" in modules_after("import rich, bgjobd.service")


DAEMON = {
    "asyncio",
    "pydantic",
    "pydantic_core",
    "peewee",
    "sqlite3",
    "structlog",
    "jsonschema_rs",
    "inotify_simple",
}
"""What only the daemon needs, and takes most of the time of its start."""

EVERYDAY = DAEMON | HEAVY | {"email", "http", "tempfile", "tomllib", "subprocess", "ctypes", "socket"}


@pytest.mark.parametrize("option", ["--version", "--help"])
@pytest.mark.parametrize("program", ["bgjobd", "bgjob"])
def test_a_command_that_only_tells_of_itself_imports_nothing_for_it(program: str, option: str) -> None:
    ours = {"socket"} if program == "bgjob" else set()  # its commands are those of a client
    assert imported_by(program, option) & EVERYDAY == ours


def test_the_health_check_imports_nothing_of_the_daemons_but_what_reads_the_configuration() -> None:
    asked = "import bgjobd.commands.status, bgjobd.commands.status_report, bgjobd.commands.settings"
    loaded = modules_after(asked)
    assert "pydantic" in loaded
    assert not loaded & (DAEMON - {"pydantic", "pydantic_core"} | HEAVY)


def test_the_package_of_the_client_imports_no_client_before_it_is_asked_for_one() -> None:
    assert "bgjob.client" not in modules_after("import bgjob; bgjob.Retry")
    assert "bgjob.client" in modules_after("import bgjob; bgjob.Client")


def test_a_typed_call_imports_no_fakes_whatever_its_argument_is_called() -> None:
    whole = (
        "from bgjob import typed\ndef f(params): ...\nf.__module__ = 'shop'\ntyped.of_function(f, ({},), {})"
    )
    loaded = modules_after(whole)
    assert "bgjob.class_rules" in loaded
    assert not [name for name in loaded if name.startswith(("bgjob.testing", "asyncio", "ssl"))]


def test_what_bgjob_offers_is_there() -> None:
    assert [name for name in bgjob.__all__ if not hasattr(bgjob, name)] == []


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert bgjob.__version__ == project["version"]


def imported_by(*command: str) -> set[str]:
    """The modules that this command imports."""
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", *command], capture_output=True, text=True, check=True
    )
    lines = [line for line in told.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}
