"""What tests of several folders share; no rule of the product is here."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_FIRST_PAUSE = 0.001
_LAST_PAUSE = 0.1


def eventually(question: Callable[[], T], within: float = 20.0) -> T:
    """The first truthy answer; the only place in the tests that sleeps. Raises AssertionError after `within` s."""
    deadline = time.monotonic() + within
    pause = _FIRST_PAUSE
    while not (answer := question()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"still {answer!r} after {within} s")
        time.sleep(pause)
        pause = min(pause * 2, _LAST_PAUSE)
    return answer
