"""The idempotency keys that a client makes for want of a caller's; the daemon tells them from others."""

from __future__ import annotations

import os
import re
import time
from typing import Final

REPEATED_WITHIN: Final = 600.0
"""Seconds after an error for which a submit of the same flow is its repeat; later it is meant to be another."""

_MADE_HERE: Final = re.compile("[0-9a-f]{15,17}-[0-9a-f]{32}")


def new_keys(count: int) -> list[str]:
    """Keys that nobody has used; those made one after the other stand together in the daemon's index."""
    begin, chance = f"{time.time_ns():x}", os.urandom(16 * count).hex()
    return [f"{begin}-{chance[place : place + 32]}" for place in range(0, 32 * count, 32)]


def is_made_here(key: str) -> bool:
    """Whether a client made the key: nobody else has it for another request, unless somebody was told it."""
    return _MADE_HERE.fullmatch(key) is not None


class KeysLeft:
    """Those of submits that have ended in an error, for their repeats; `now` is of any clock that only goes forward."""

    def __init__(self) -> None:
        self._left: list[tuple[float, list[str]]] = []

    def __bool__(self) -> bool:
        return bool(self._left)

    def try_take(self, now: float) -> list[str] | None:
        """Those of the latest one, for one caller alone, whichever threads there are; None where there are none."""
        try:
            at, keys = self._left.pop()
        except IndexError:
            return None
        if now - at <= REPEATED_WITHIN:
            return keys
        self._left.clear()  # which are older
        return None

    def leave(self, keys: list[str], now: float) -> None:
        self._left.append((now, keys))
