"""What the page says on the console, which it does on a thread of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bgjobd.web import console


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Answers what was said since the test began, or since it was asked last."""

    def told() -> str:
        console.finish()
        return capfd.readouterr().err

    told()
    return told
