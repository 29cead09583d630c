"""Until when some classes and keys are held: in memory, for each transaction asks, and each key may be."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bgjobd.core.rates import scope_of_class

_NONE: Final[Mapping[str, float]] = MappingProxyType({})


class Holds:
    """By their scopes. What a transaction makes of them is its own until it is kept; nothing costs more, the more there
    are.
    """

    def __init__(self, stored: Mapping[str, float] = _NONE) -> None:
        self._until = dict(stored)
        self._ends = sorted((until, scope) for scope, until in stored.items())
        self._classes = set(filter(_is_of_class, stored))
        self._own: dict[str, float] = {}

    def __bool__(self) -> bool:
        return bool(self._until or self._own)

    def until(self, scope: str) -> float:
        """Until when it is held; 0 where it is not."""
        own = self._own.get(scope)
        return self._until.get(scope, 0.0) if own is None else own

    def classes(self, now: float) -> dict[str, float]:
        """Until when, of the classes that are held, by their names."""
        scopes = self._classes.union(filter(_is_of_class, self._own))
        found = {scope.removeprefix(_CLASS): self.until(scope) for scope in scopes}
        return {name: until for name, until in found.items() if until > now}

    def hold(self, scope: str, until: float) -> None:
        """Hold it until then, or longer where it is already."""
        self._own[scope] = max(until, self.until(scope))

    @property
    def own(self) -> Mapping[str, float]:
        """What the transaction has made of scopes: until when they are held, 0 where they are not any more."""
        return self._own

    def learn(self, scope: str, until: float, at: float) -> None:
        """Another has held it, or ended what was over by then."""
        known = self._until.get(scope, 0.0)
        if known > (until or at) or known == until:
            return
        self._put(scope, until)

    def end(self, now: float) -> list[str]:
        """Hold those no more whose time is over; which these are."""
        passed = [scope for _, scope in self._ends[: self._passed(now)]]
        over = [scope for scope in dict.fromkeys([*passed, *self._own]) if 0 < self.until(scope) <= now]
        self._own |= dict.fromkeys(over, 0.0)
        return over

    def keep(self, now: float) -> None:
        """The transaction is committed."""
        del self._ends[: self._passed(now)]
        for scope, until in self._own.items():
            self._put(scope, until if until > now else 0.0)
        self._own.clear()

    def drop(self) -> None:
        """The transaction came to nothing."""
        self._own.clear()

    def _put(self, scope: str, until: float) -> None:
        self._until.pop(scope, None)
        self._classes.discard(scope)
        if until:
            self._until[scope] = until
            insort(self._ends, (until, scope))
            self._classes.update(filter(_is_of_class, [scope]))

    def _passed(self, now: float) -> int:
        return bisect_right(self._ends, now, key=lambda one: one[0])


_CLASS: Final = scope_of_class("")


def _is_of_class(scope: str) -> bool:
    return scope.startswith(_CLASS)
