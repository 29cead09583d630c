"""Points of spans that are over, which the daemon has told: a view that is looked at each second asks for few."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, Final, NamedTuple

from bgjob.text import instant

from .trends import Told, text_of

KEPT: Final = 60.0
"""Seconds; then all is asked for anew: what another host has counted may come late."""

MOST: Final = 100
_AGAIN: Final = 2
"""So many spans before the one that is not over are asked for each time: that of a moment ago may have been open."""

Ask = Callable[..., list[dict[str, Any]]]


class _Known(NamedTuple):
    """All points since then, as of `now`; all of them were asked for at `asked_at`."""

    points: Sequence[Told]
    since: float
    asked_at: float
    now: float


class Remembered:
    """Asks as Client.trend does; thread-safe."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._lock = Lock()
        self._known: OrderedDict[tuple[str, int], _Known] = OrderedDict()

    def trend(self, of: str, span: int, since: float, now: float) -> Sequence[Told]:
        """The points since then, up to `now`, of the wall clock; of the same moment nobody is asked twice."""
        with self._lock:
            known = self._known.get((of, span))
        if known is None or not 0 <= now - known.asked_at < KEPT or since < known.since:
            known = _Known(self._ask(of, span, since=text_of(since)), since, now, now)
        elif known.now != now:
            begin = (math.floor(now / span) - _AGAIN) * span
            before = [point for point in known.points if instant(point["at"]) < begin]
            points = [*before, *self._ask(of, span, since=text_of(begin))]
            known = known._replace(points=points, now=now)
        self._keep((of, span), known)
        return known.points

    def _keep(self, key: tuple[str, int], known: _Known) -> None:
        with self._lock:
            self._known[key] = known
            self._known.move_to_end(key)
            while len(self._known) > MOST:
                self._known.popitem(last=False)
