"""Reads of groups, and of what hangs together."""

from __future__ import annotations

from collections.abc import Sequence

from bgjob.codec import JsonObject
from bgjobd.store import graphs
from bgjobd.store.engines import Database
from bgjobd.store.graphs import Graph


class GroupReads:
    """What is asked of groups and of what hangs together; of one reader, for which it runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def one(self, group_id: int) -> JsonObject | None:
        """A group as the socket tells it; None where there is none."""
        return graphs.group(self._database.connection(), group_id)

    def page(
        self, state: str | None, within: int | None, before: int | None, limit: int
    ) -> tuple[Sequence[JsonObject], int | None]:
        """Groups in this state, and in this group, newest first, those with smaller ids than `before`; and where to go
        on.
        """
        return graphs.groups(self._database.connection(), state, within, before, limit)

    def graph(self, job_id: int, limit: int, count: int | None = None) -> Graph | None:
        """What hangs together with the job, of one moment; None where there is no such job."""
        with self._database.atomic():
            return graphs.graph(self._database.connection(), job_id, limit, count)

    def count_unended(self) -> int:
        return graphs.count_unended(self._database.connection())

    def retryable(self, group_id: int, after: int, count: int) -> Sequence[tuple[int, str | None]]:
        """Members that failed, or were cancelled for what did, and which that is, in the order of their ids."""
        return graphs.retryable(self._database.connection(), group_id, after, count)

    def nested(self, group_id: int) -> Sequence[int]:
        return graphs.nested(self._database.connection(), group_id)
