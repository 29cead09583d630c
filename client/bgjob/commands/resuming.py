"""How a resume is told: by what was before, where the daemon tells this user that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from bgjob.errors import BgjobError

_TOLD: Final[Mapping[bool | None, str]] = {
    True: "is resumed",
    False: "was not paused",
    None: "is not paused",
}


def resumed(was_paused: Callable[[], bool], resume: Callable[[], None]) -> str:
    """What is said of what was resumed; who may resume it may not be one who may look at it."""
    try:
        before = was_paused()
    except BgjobError:
        before = None
    resume()
    return _TOLD[before]
