"""What the commands of an outbox say: of a flush, and of what is in the way while they watch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NoReturn

from bgjob.outbox.flushing import Flushed

PAUSE: Final = 5.0
"""Seconds between two looks: nobody tells when somebody has written."""


def watch(look: Callable[[], str], say: Callable[[str], None], pause: float = PAUSE) -> NoReturn:
    """Look again and again. What is in the way, a text or none, is said once, and when it is so no more."""
    said = ""
    while True:
        trouble = look()
        if trouble != said:
            say(f"{trouble}; looking again every {pause:g} s" if trouble else "all is well again")
            said = trouble
        time.sleep(pause)


def counts(flushed: Flushed) -> str:
    """How many jobs were submitted, and how many were not, if there are any."""
    told = [f"{flushed.submitted} job{'' if flushed.submitted == 1 else 's'} submitted"]
    if flushed.refused:
        told.append(f"{len(flushed.refused)} refused")
    if flushed.waiting:
        told.append(f"{flushed.waiting} to be submitted later")
    return ", ".join(told)
