"""How many there are on all pages, as far as that can be counted in the time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bgjobd.store import bounds
from bgjobd.store.engines import Connection
from bgjobd.store.pages.page import Page


@dataclass(frozen=True, slots=True)
class Count:
    """What to count, at most `limit`; sources and conditions as those of a walk, without `rest` on indexes alone."""

    sources: tuple[str, ...]
    rest: tuple[str, ...]
    parameters: Mapping[str, Any]
    limit: int

    def statement(self) -> str:
        parts = [f"SELECT 1 FROM {' AND '.join([source, *self.rest])}" for source in self.sources]
        return f"SELECT count(*) FROM ({' UNION ALL '.join(parts)} LIMIT :count)"


def with_total(connection: Connection, page: Page, count: Count, is_first: bool, deadline: float) -> Page:
    """The page with its total, if that is known by the time at which the page had to be found."""
    if not page.is_complete:
        return page
    if is_first and page.next is None:
        return replace(page, total=min(len(page.rows), count.limit))
    return replace(page, total=_try_count(connection, count, deadline))


def _try_count(connection: Connection, count: Count, deadline: float) -> int | None:
    """How many there are; None where it takes looking through rows and the time was up."""
    with bounds.interrupting(connection) as interrupt_at:
        if count.rest:
            interrupt_at(deadline)
        try:
            given = {**count.parameters, "count": count.limit}
            return int(connection.execute(count.statement(), given).fetchone()[0])
        except Exception as error:
            if not bounds.is_interrupted(error):
                raise
            return None
