"""The idempotency keys that a client makes for want of a caller's; the daemon tells them from others."""

from __future__ import annotations

import os
import re
import time
from typing import Final

_MADE_HERE: Final = re.compile("[0-9a-f]{15,17}-[0-9a-f]{32}")


def new_keys(count: int) -> list[str]:
    """Keys that nobody has used; those made one after the other stand together in the daemon's index."""
    begin, chance = f"{time.time_ns():x}", os.urandom(16 * count).hex()
    return [f"{begin}-{chance[place : place + 32]}" for place in range(0, 32 * count, 32)]


def is_made_here(key: str) -> bool:
    """Whether a client made the key: nobody else has it for another request, unless somebody was told it."""
    return _MADE_HERE.fullmatch(key) is not None
