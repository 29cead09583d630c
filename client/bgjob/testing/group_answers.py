"""What a stand-in answers about groups, and about what hangs together."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from bgjob.codec import JsonObject
from bgjob.errors import DuplicateError, InvalidParameterError, InvalidStateError, JobNotFoundError
from bgjob.predecessors import reached
from bgjob.testing.flows import Flows
from bgjob.testing.listing import LARGEST_COUNT, LARGEST_PAGE, PAGE, summary
from bgjob.testing.ties import Node
from bgjob.words import INTERFACE

_GRAPH: Final = 200
_STATES: Final = ("open", "sealed", "completed", "failed")

Proceed = Callable[[Iterable[JsonObject]], None]
"""Runs jobs that wait for nothing any more."""


class GroupAnswers:
    """The methods about groups; `retry` runs jobs again, and says nothing of those that something else frees."""

    def __init__(
        self,
        flows: Flows,
        lock: threading.Lock,
        proceed: Proceed,
        retry: Callable[[list[int]], object],
    ) -> None:
        self._flows = flows
        self._lock = lock
        self._proceed = proceed
        self._retry_jobs = retry
        self.answers: dict[str, Callable[[JsonObject], JsonObject]] = {
            f"{INTERFACE}.Group": self._group,
            f"{INTERFACE}.WaitGroup": self._group,  # whatever time is given, nothing runs meanwhile
            f"{INTERFACE}.Groups": self._groups,
            f"{INTERFACE}.SealGroup": self._seal,
            f"{INTERFACE}.CancelGroup": self._cancel,
            f"{INTERFACE}.RetryGroup": self._retry,
            f"{INTERFACE}.Graph": self._graph,
        }

    def _group(self, given: JsonObject) -> JsonObject:
        return {"group": self._flows.group(given["id"]).shown}

    def _groups(self, given: JsonObject) -> JsonObject:
        limit, state, within = given.get("limit", PAGE), given.get("state"), given.get("group")
        for name, is_wrong in (
            ("limit", not 1 <= limit <= LARGEST_PAGE),
            ("state", state not in (None, *_STATES)),
            ("before", given.get("before", 1) < 1),
            ("group", given.get("group", 1) < 1),
        ):
            if is_wrong:
                raise InvalidParameterError(parameter=name)
        with self._lock:
            newest_first = [group.shown for group in reversed(self._flows.groups.values())]
        found = [
            group
            for group in newest_first
            if state in (None, group["state"]) and within in (None, group["group"])
            if group["id"] < given.get("before", group["id"] + 1)
        ]
        return {"groups": found[:limit], "next": found[limit - 1]["id"] if len(found) > limit else None}

    def _seal(self, given: JsonObject) -> JsonObject:
        with self._lock:
            freed = self._flows.seal(given["id"])
        self._proceed(freed)
        return {}

    def _cancel(self, given: JsonObject) -> JsonObject:
        with self._lock:
            freed = self._flows.cancel_group(given["id"])
        self._proceed(freed)
        return {}

    def _retry(self, given: JsonObject) -> JsonObject:
        behind: dict[str, list[str]] = defaultdict(list)
        with self._lock:
            failed = self._flows.failed_members(given["id"], behind)
        again = [str(job_id) for job_id in failed if self._is_retried(job_id)]
        return {"retried": sum(name.isdecimal() for name in reached(again, behind))}

    def _is_retried(self, job_id: int) -> bool:
        """Whether it could be: another job may have its unique key by now."""
        try:
            self._retry_jobs([job_id])
        except (DuplicateError, InvalidStateError):
            return False
        return True

    def _graph(self, given: JsonObject) -> JsonObject:
        limit = given.get("limit", _GRAPH)
        if not 1 <= limit <= LARGEST_PAGE:
            raise InvalidParameterError(parameter="limit")
        count = given.get("count")
        if count is not None and not 1 <= count <= LARGEST_COUNT:
            raise InvalidParameterError(parameter="count")
        if given["id"] not in self._flows.rows:
            raise JobNotFoundError(id=given["id"])
        with self._lock:
            nodes, is_whole = self._connected(Node("job", given["id"]), limit)
            counted = None if count is None else self._connected(Node("job", given["id"]), count)[0]
            jobs = sorted(node.id for node in nodes if node.of == "job")
            groups = sorted(node.id for node in nodes if node.of == "group")
            edges = [
                {"of": node.of, "after": node.id, "job_id": job_id, "standing": standing}
                for job_id in jobs
                for node, standing in sorted(self._flows.edges[job_id].items())
                if node in nodes
            ]
            return {
                "jobs": [summary(self._flows.rows[job_id]) for job_id in jobs],
                "groups": [self._flows.groups[group_id].shown for group_id in groups],
                "edges": edges,
                "is_whole": is_whole,
                "total": None if counted is None else sum(node.of == "job" for node in counted),
            }

    def _connected(self, start: Node, limit: int) -> tuple[set[Node], bool]:
        """What is nearest, so many jobs at most, and whether that is all."""
        found, waiting, jobs = {start}, deque([start]), 1
        while waiting:
            for node in self._beside(waiting.popleft()):
                if node in found:
                    continue
                if jobs >= limit:
                    return found, False
                jobs += node.of == "job"
                found.add(node)
                waiting.append(node)
        return found, True

    def _beside(self, node: Node) -> Iterator[Node]:
        if node.of == "job":
            yield from self._flows.edges[node.id]
        else:
            yield from self._flows.members(node.id)
        group_id = self._flows.group_of(node)
        if group_id is not None:
            yield Node("group", group_id)
        yield from (Node("job", job_id) for job_id in self._flows.later(node))
