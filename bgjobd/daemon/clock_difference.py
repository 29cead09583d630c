"""Says once that this machine's clock is another than the database's, by whose time jobs are due, and once that it no
longer is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bgjob.words import EntryType

ALLOWED: Final = 5.0
"""Seconds that nobody is told of."""


class ClockDifference:
    """`seconds` is how far the machine's clock is ahead by what was noted last; None where it need not be told."""

    def __init__(self, say: Callable[[EntryType, str], None]) -> None:
        self._say = say
        self.seconds: float | None = None

    def note(self, seconds: float | None) -> None:
        """The difference now; None where there is no other clock than the machine's."""
        before, self.seconds = (
            self.seconds,
            seconds if seconds is not None and abs(seconds) > ALLOWED else None,
        )
        if before is None and self.seconds is not None:
            which = "ahead of" if self.seconds > 0 else "behind"
            message = f"this machine's clock is {abs(self.seconds):.1f} s {which} the database's"
            self._say(
                EntryType.FAILURE, f"{message}, by whose time jobs are due; see that NTP keeps both right"
            )
        elif before is not None and self.seconds is None:
            self._say(EntryType.INFO, "this machine's clock and the database's are the same again")
