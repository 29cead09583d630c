"""The plugin of pytest under which tests reach no daemon: `-p bgjob.testing.pytest_plugin`, or `bgjob_no_daemon = true`
in pytest's configuration. The marker `bgjob_daemon`, which pytest knows anyhow, lets a test through.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bgjob.testing import no_daemon

_HAS_BEGUN = pytest.StashKey[bool]()


def begin(config: pytest.Config) -> None:
    """From here on; a second time nothing."""
    if not config.stash.get(_HAS_BEGUN, False):
        config.stash[_HAS_BEGUN] = True
        no_daemon.refuse()


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Before conftests and tests are imported, which may submit."""
    begin(early_config)


def pytest_configure(config: pytest.Config) -> None:
    """Where a conftest has loaded this. The marker is known where plugins load by `-p` alone, too."""
    config.addinivalue_line("markers", "bgjob_daemon: the test may reach a real bgjobd")
    begin(config)


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
