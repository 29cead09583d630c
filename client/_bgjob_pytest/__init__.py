"""What pytest imports wherever bgjob is installed: the option `bgjob_no_daemon` of its configuration and the marker
`bgjob_daemon`, and nothing else.

It lies outside of bgjob, which is imported where the option is true.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

_PLUGIN = "bgjob.testing.pytest_plugin"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Have pytest know the option."""
    told = "tests reach no bgjobd: what nothing stands in for raises NoDaemonInTestsError"
    parser.addini("bgjob_no_daemon", told, type="bool", default=False)


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Load the plugin where the option wants it, before any line of the application's; `-p` may have done so."""
    if early_config.getini("bgjob_no_daemon"):
        early_config.pluginmanager.import_plugin(_PLUGIN)
        plugin: Any = early_config.pluginmanager.get_plugin(_PLUGIN)
        plugin.begin(early_config)


def pytest_configure(config: pytest.Config) -> None:
    """Have pytest know the marker."""
    config.addinivalue_line("markers", "bgjob_daemon: the test may reach a real bgjobd")
