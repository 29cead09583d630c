"""The state of a job: a mapping of JSON that its attempts hand on, saved at each change; where to is told elsewhere."""

from __future__ import annotations

import json
import os
from _thread import RLock
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Final, Protocol

from bgjob.endings import StepError, Suspended
from bgjob.json_texts import MOST_LEVELS, json_text
from bgjob.words import MOST_STATE_BYTES


class StateKeeper(Protocol):
    """Where a state is kept."""

    def saved_state(self) -> str | None:
        """What earlier attempts have left, as JSON text."""

    def save_state(self, text: str) -> None:
        """Keep it, for good; waits where there is no room. Raises OSError where there will be none."""


class State(MutableMapping[str, Any]):
    """One attempt's, whose process is `pid`. What is read is a copy each time; a change is saved when it returns.

    Once the attempt `is_suspended`, nothing is saved any more: what comes behind a wait is for the next one.
    """

    def __init__(self, keeper: StateKeeper, pid: int, is_suspended: Callable[[], bool]) -> None:
        self._keeper, self._pid, self._is_suspended = keeper, pid, is_suspended
        self._lock = RLock()
        self._known: dict[str, _Item] | None = None

    def __getitem__(self, key: str) -> Any:
        found = self._try_item(key)
        if found is None:
            raise KeyError(key)
        return json.loads(found[1])

    def __contains__(self, key: object) -> bool:
        return self._try_item(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._items()))

    def __len__(self) -> int:
        return len(self._items())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self)!r})"

    def __setitem__(self, key: str, value: Any) -> None:
        self._change({key: value})

    def __delitem__(self, key: str) -> None:
        with self._lock:
            if key not in self:
                raise KeyError(key)
            self._change({}, without=[_key(key)])

    # As those that come with a mapping, but saved once, and whole

    def update(self, *others: Any, **more: Any) -> None:
        """Save several at once: all, or where it raises, none."""
        self._change(dict(*others, **more))

    def clear(self) -> None:
        with self._lock:
            self._change({}, without=list(self._items()))

    def pop(self, key: str, *default: Any) -> Any:
        with self._lock:
            return super().pop(key, *default)

    def popitem(self) -> tuple[str, Any]:
        """The item that was added last."""
        with self._lock:
            key = next(reversed(self._items()), None)
            if key is None:
                raise KeyError("the state is empty")
            return key, self.pop(key)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """What is there, else the default, which is saved; in either case a copy."""
        with self._lock:
            if key not in self:
                self[key] = default
            return self[key]

    def __ior__(self, other: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> State:
        self.update(other)
        return self

    def _change(self, values: Mapping[Any, Any], without: Iterable[str] = ()) -> None:
        """Raises ValueError, and leaves the state as it was."""
        if os.getpid() != self._pid:
            raise StepError(
                "a copy of the attempt's process, that it has forked, cannot save the job's state"
            )
        new = {name: _item(name, value) for name, value in [(_key(key), one) for key, one in values.items()]}
        with self._lock:
            after = {**self._items(), **new}
            for key in without:
                del after[key]
            text = f"{{{','.join([f'{name}:{value}' for name, value in after.values()])}}}"
            size = len(text.encode())
            if size > MOST_STATE_BYTES:
                raise ValueError(f"a state takes {MOST_STATE_BYTES} bytes at most, and this one {size}")
            if self._is_suspended():
                raise Suspended
            self._keeper.save_state(text)
            self._known = after

    def _try_item(self, key: object) -> _Item | None:
        try:
            return self._items().get(_key(key))
        except ValueError:
            return None

    def _items(self) -> dict[str, _Item]:
        """As they were saved last; never changed, so that a copy of the process that knows them needs no lock."""
        known = self._known
        if known is not None:
            return known
        with self._lock:
            if self._known is None:
                saved = json.loads(self._keeper.saved_state() or "{}")
                self._known = {key: (_text(key), _text(value)) for key, value in saved.items()}
            return self._known


_Item = tuple[str, str]
"""A key and its value, as JSON text."""

_LEVELS: Final = MOST_LEVELS - 1
"""How deep a value may be nested: the state is around it."""


class StateOutside:
    """Keeps nothing: of code that no attempt runs, such as a test's."""

    def saved_state(self) -> str | None:
        return None

    def save_state(self, text: str) -> None:
        pass


def _key(key: Any) -> str:
    """The key as JSON makes it, which has texts alone. Raises ValueError for what cannot be one."""
    if type(key) is str:
        return key
    try:
        return str(next(iter(json.loads(json_text({key: None})))))
    except (TypeError, ValueError) as error:
        raise ValueError(f"a key of the state is a text, not {key!r:.60}: {error}") from None


def _item(key: str, value: Any) -> _Item:
    try:
        return json_text(key), json_text(value, levels=_LEVELS)
    except ValueError as error:
        raise ValueError(f"the state's {key!r:.60} is no JSON: {error}") from None


def _text(value: Any) -> str:
    """Of one that was read from JSON: it may have more in it than an attempt may save."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
