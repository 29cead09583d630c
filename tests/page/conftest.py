"""What the page says on the console, which it does on a thread of its own; and one renderer for all pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from unittest import mock

import pytest

from bgjobd.web import console
from bgjobd.web.views import means
from tests.page.serving import renderer


@pytest.fixture(scope="session", autouse=True)
def one_renderer() -> Iterator[None]:
    """No page changes its own, and to compile the templates takes longer than most tests."""
    with mock.patch.object(means, "Renderer", renderer):
        yield


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Answers what was said since the test began, or since it was asked last."""

    def told() -> str:
        console.finish()
        return capfd.readouterr().err

    told()
    return told
