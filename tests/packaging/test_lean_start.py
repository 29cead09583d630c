"""What a daemon carries for as long as it runs: nothing that only draws, and nothing that only the page needs."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"rich", "jinja2", "shtab", "prometheus_client"}


def modules_after(code: str) -> set[str]:
    told = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(told.stdout.split())


def test_the_daemon_imports_nothing_that_draws() -> None:
    loaded = modules_after("import bgjobd.service")
    assert "structlog" in loaded
    assert not HEAVY & loaded


def test_the_page_imports_nothing_for_metrics_before_somebody_asks_for_them() -> None:
    loaded = modules_after("import bgjobd.web.__main__")
    assert "jinja2" in loaded
    assert "prometheus_client" not in loaded
    assert "prometheus_client" in modules_after("import bgjobd.web.metrics")


def test_what_draws_can_still_be_imported_beside_it() -> None:
    assert "rich" in modules_after("import bgjobd.service, rich.table")
    assert "rich" in modules_after("import rich, bgjobd.service")
