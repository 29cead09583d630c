"""What keeps several writers of one database out of each other's way; who writes alone needs none of it.

Who waits for locks takes them in this order, so that nobody waits in a circle: the unique keys; schedules, by name;
jobs, by their ids; groups, the inner ones first; the places of keys; buckets of starts, by scope; the log. Whatever
turns up later is locked where nobody else has it, or is left for later. All locks are those of the transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final, Protocol

from bgjobd.core.unique import UniqueKey


class Locks(Protocol):
    """Of one connection. `are_needed`: others write as well, so what was read is to be read again once it is locked."""

    @property
    def are_needed(self) -> bool: ...

    def unique_keys(self, keys: Iterable[UniqueKey]) -> None:
        """Nobody else looks who holds these keys, or takes them."""

    def jobs(self, ids: Collection[int]) -> None:
        """Nobody else changes these jobs, or has others come after them."""

    def free_jobs(self, ids: Sequence[int]) -> Sequence[int]:
        """Those of them that nobody has locked, which are by now."""

    def schedules(self, names: Collection[str]) -> None:
        """Nobody else deals with these."""

    def groups(self, ids: Collection[int]) -> None:
        """Nobody else counts in these, or ends them."""

    def is_group_free(self, id: int) -> bool:
        """Whether nobody has locked it; it is by now."""

    def places(self) -> None:
        """Nobody else gives or takes places of keys, or turns."""

    def buckets(self, scopes: Collection[str]) -> None:
        """Nobody else draws from these, which are there by now."""


class Alone:
    """Of a writer that has the database to itself."""

    are_needed: Final = False

    def unique_keys(self, keys: Iterable[UniqueKey]) -> None: ...

    def jobs(self, ids: Collection[int]) -> None: ...

    def free_jobs(self, ids: Sequence[int]) -> Sequence[int]:
        return ids

    def schedules(self, names: Collection[str]) -> None: ...

    def groups(self, ids: Collection[int]) -> None: ...

    def is_group_free(self, id: int) -> bool:
        return True

    def places(self) -> None: ...

    def buckets(self, scopes: Collection[str]) -> None: ...


ALONE: Final = Alone()
