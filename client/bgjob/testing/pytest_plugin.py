"""The plugin of pytest under which tests reach no daemon: `-p bgjob.testing.pytest_plugin`, or `bgjob_no_daemon = true`
in pytest's configuration. The marker `bgjob_daemon`, which pytest knows anyhow, lets a test through.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bgjob.testing import no_daemon


def pytest_configure(config: pytest.Config) -> None:
    """From here on, the import of tests included. The marker is known where plugins load by `-p` alone too."""
    config.addinivalue_line("markers", "bgjob_daemon: the test may reach a real bgjobd")
    no_daemon.refuse()


def pytest_unconfigure() -> None:
    """After all tests."""
    no_daemon.refuse_no_more()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Around a test with its own fixtures; one of a module or the session may have been made before."""
    if item.get_closest_marker("bgjob_daemon") is None:
        yield
        return
    with no_daemon.daemon_allowed():
        yield
