"""What the loop hands to the writer: items go out in order, and those that may wait go with the next that may not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bgjobd.store.items import Item
from bgjobd.store.writer import Entrusted


class Outbox:
    """Items on their way to the writer; `put` takes several to be committed together."""

    def __init__(self, put: Callable[..., None]) -> None:
        self._put = put
        self._held: list[Entrusted] = []

    def hold(self, item: Item, ticket: Any = None) -> None:
        """Keep an item until something is sent."""
        self._held.append(Entrusted(item, ticket))

    def send(self, item: Item | None = None, ticket: Any = None) -> None:
        """Hand over what was held, then this item, to be committed together."""
        if item is not None:
            self.hold(item, ticket)
        held, self._held = self._held, []
        if held:
            self._put(*held)
