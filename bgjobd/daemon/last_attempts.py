"""How the attempts of each class have ended within the last hour, by the minute; in memory only, no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

from bgjob.words import Outcome
from bgjobd.core.need_kinds import COUNTED_FOR, Minute
from bgjobd.store.committed import EndedAttempt

_MINUTES: Final = int(COUNTED_FOR // 60)
_MOST_CLASSES: Final = 500
_GOOD: Final = frozenset({Outcome.COMPLETED, Outcome.SNOOZED, Outcome.SUSPENDED, Outcome.CANCELLED})


class LastAttempts:
    """Of the classes whose attempts ended first, up to a bound."""

    def __init__(self) -> None:
        self._by_class: dict[str, deque[Minute]] = {}

    def note(self, attempts: Iterable[EndedAttempt], now: float) -> None:
        """These have ended just now."""
        at = now - now % 60
        for attempt in attempts:
            minutes = self._by_class.get(attempt.class_name)
            if minutes is None:
                if len(self._by_class) >= _MOST_CLASSES:
                    continue
                minutes = self._by_class[attempt.class_name] = deque(maxlen=_MINUTES)
            if not minutes or minutes[-1].at != at:
                minutes.append(Minute(at, 0, 0))
            _, ended, bad = minutes[-1]
            minutes[-1] = Minute(at, ended + 1, bad + (attempt.outcome not in _GOOD))

    def told(self, now: float) -> Mapping[str, tuple[Minute, ...]]:
        """By class, the oldest minute first."""
        return {
            name: tuple(minutes)
            for name, minutes in self._by_class.items()
            if minutes[-1].at > now - COUNTED_FOR
        }
