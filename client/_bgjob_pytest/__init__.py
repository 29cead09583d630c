"""What pytest imports wherever bgjob is installed: the option `bgjob_no_daemon` of its configuration and the marker
`bgjob_daemon`, and nothing else.

It lies outside of bgjob, which is imported where the option is true.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Have pytest know the option."""
    told = "tests reach no bgjobd: what nothing stands in for raises NoDaemonInTestsError"
    parser.addini("bgjob_no_daemon", told, type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Have pytest know the marker, and load the plugin where the option wants it; `-p` may have done so."""
    config.addinivalue_line("markers", "bgjob_daemon: the test may reach a real bgjobd")
    if config.getini("bgjob_no_daemon"):
        config.pluginmanager.import_plugin("bgjob.testing.pytest_plugin")
