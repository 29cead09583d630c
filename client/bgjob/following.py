"""Streams that are taken up again where they broke off: what to ask, and what the replies tell; no I/O here.

Both clients carry a Follower to the daemon as often as it takes, as a Conversation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, TypeVar

from bgjob import answers, shapes
from bgjob.answers import OutputPart, Value
from bgjob.calls import tail_offset
from bgjob.codec import JsonObject, Reply, Request
from bgjob.errors import ShuttingDownError
from bgjob.request_values import class_or_none, given
from bgjob.retrying import Breaks
from bgjob.words import INTERFACE

T = TypeVar("T")
J = TypeVar("J")

MOST_IDS: Final = 10_000
"""How many jobs one Watch may name."""


class Follower(Generic[T]):
    """A request with `more`, and what its replies tell; after a break the next request goes on where it was.

    `has_greeting`: the first reply says only that it has begun.
    """

    has_greeting = False

    @property
    def request(self) -> Request:
        """What to ask now, the first time or after a break."""
        raise NotImplementedError

    @property
    def is_over(self) -> bool:
        """Whether all has been told, so that nothing needs to be asked any more."""
        return False

    @property
    def has_begun(self) -> bool:
        """Whether all that is told at once has been told."""
        return True

    def take(self, parameters: JsonObject) -> list[T]:
        """What a reply tells. Raises ProtocolError."""
        raise NotImplementedError

    def is_end(self) -> bool:
        """Whether a last reply is the end; else the daemon ends, and there is more to come from the next."""
        return True


class FollowedLogs(Follower[JsonObject]):
    """Log entries as they are committed; the key to go on with is the last entry's, at first the last of the log."""

    has_greeting = True

    def __init__(
        self,
        *,
        id: int | None = None,
        class_name: str | type | None = None,
        method_name: str | None = None,
        type: str | None = None,
        search: str | None = None,
        after: int | None = None,
        limit: int | None = None,
        said: bool = False,
    ) -> None:
        self._has_end = id is not None
        self._filters = given(
            {
                "id": id,
                "class_name": class_or_none(class_name),
                "method_name": method_name,
                "type": type,
                "search": search,
                "said": said or None,
            }
        )
        self._place = given({"after": after, "limit": limit})

    @property
    def request(self) -> Request:
        return Request(f"{INTERFACE}.Logs", {**self._filters, **self._place}, more=True)

    def take(self, parameters: JsonObject) -> list[JsonObject]:
        page = answers.entries(parameters)
        last = page.next if page.next is not None else page.items[-1]["id"] if page.items else None
        if last is not None:
            self._place = {"after": last}
        return page.items

    def is_end(self) -> bool:
        return self._has_end


class FollowedOutput(Follower[OutputPart]):
    """What the attempts of a job write, attempt after attempt; the keys to go on with are number and offset."""

    def __init__(self, job_id: int, number: int | None, tail: int | None = None) -> None:
        self._job_id = job_id
        self._place = given({"number": number, "offset": tail_offset(tail) or None})

    @property
    def request(self) -> Request:
        return Request(f"{INTERFACE}.Output", {"id": self._job_id, **self._place}, more=True)

    def take(self, parameters: JsonObject) -> list[OutputPart]:
        read = answers.output(parameters)
        if read.part.number > 0:
            self._place = {"number": read.part.number, "offset": read.next}
        return [read.part] if read.part.marked else []


class _Emitted(Follower[T]):
    """What a job emits; the key to go on with is the last one's number. `on_gap` hears how many were
    not kept long enough to be told.
    """

    has_greeting = True

    def __init__(
        self, job_id: int, after: int, on_gap: Callable[[int], None] = lambda left_out: None
    ) -> None:
        self._job_id = job_id
        self._after = after
        self._on_gap = on_gap
        self._is_over = False

    @property
    def request(self) -> Request:
        return Request(f"{INTERFACE}.Values", {"id": self._job_id, "after": self._after}, more=True)

    @property
    def is_over(self) -> bool:
        return self._is_over

    def is_end(self) -> bool:
        return self._is_over

    def _taken(self, parameters: JsonObject) -> list[Value]:
        read = answers.values(parameters)
        if read.left_out:
            self._on_gap(read.left_out)
        self._after, self._is_over = read.next, read.is_end
        return read.values


class FollowedValues(_Emitted[Value]):
    """What a job emits, each value with its place."""

    def take(self, parameters: JsonObject) -> list[Value]:
        return self._taken(parameters)


class FollowedBareValues(_Emitted[Any]):
    """The same without their places."""

    def take(self, parameters: JsonObject) -> list[Any]:
        return [one.value for one in self._taken(parameters)]


class Watched(Follower[JsonObject]):
    """Summaries of these jobs, or of all, as they change. What is told again after a break and is known is left out."""

    def __init__(
        self,
        ids: Iterable[int] | None,
        queue: str | None = None,
        class_name: str | type | None = None,
        label: str | None = None,
    ) -> None:
        self._seen: dict[int, JsonObject | None] = dict.fromkeys(ids or ())
        self._has_ids = ids is not None
        self.has_greeting = not self._has_ids
        self._filters = given({"queue": queue, "class_name": class_or_none(class_name), "label": label})

    @property
    def request(self) -> Request:
        ids = {"ids": self._open_ids()} if self._has_ids else {}
        return Request(f"{INTERFACE}.Watch", {**ids, **self._filters}, more=True)

    @property
    def is_over(self) -> bool:
        """Nothing more is to be expected of jobs that have all ended."""
        return self._has_ids and not self._open_ids()

    @property
    def has_begun(self) -> bool:
        return None not in self._seen.values()

    def take(self, parameters: JsonObject) -> list[JsonObject]:
        if parameters.get("job") is None:
            return []
        summary = answers.job(parameters, "Summary")
        if not self._has_ids:
            return [summary]
        job_id = summary["id"]
        if job_id not in self._seen:
            raise shapes.misshapen("job.id")
        is_news = self._seen.get(job_id) != summary
        self._seen[job_id] = summary
        return [summary] if is_news else []

    def is_end(self) -> bool:
        return self.is_over

    def _open_ids(self) -> list[int]:
        return [job_id for job_id, seen in self._seen.items() if seen is None or not answers.has_ended(seen)]


class Endings(Follower[tuple[J, JsonObject]], Generic[J]):
    """The jobs in the order of their ends, each once, with how it stands then. `jobs` may hold a job several times."""

    def __init__(self, jobs: Iterable[tuple[int, J]]) -> None:
        self._open: dict[int, list[J]] = {}
        for job_id, job in jobs:
            self._open.setdefault(job_id, []).append(job)
        self._unseen = set(self._open)

    @property
    def request(self) -> Request:
        return Request(f"{INTERFACE}.Watch", {"ids": list(self._open)}, more=True)

    @property
    def is_over(self) -> bool:
        return not self._open

    @property
    def has_begun(self) -> bool:
        return not self._unseen

    def take(self, parameters: JsonObject) -> list[tuple[J, JsonObject]]:
        summary = answers.job(parameters, "Summary")
        job_id = summary["id"]
        self._unseen.discard(job_id)
        return [(job, summary) for job in self._open.pop(job_id, ())] if answers.has_ended(summary) else []

    def is_end(self) -> bool:
        return self.is_over


def endings_by_path(jobs: Iterable[tuple[str, int, J]]) -> list[tuple[str, Endings[J]]]:
    """What follows the ends of these jobs (socket, id, job): a stream for each socket, more only for very many jobs."""
    by_path: dict[str, dict[int, list[J]]] = {}
    for path, job_id, job in jobs:
        by_path.setdefault(path, {}).setdefault(job_id, []).append(job)
    streams = []
    for path, by_id in by_path.items():
        ids = list(by_id)
        for start in range(0, len(ids), MOST_IDS):
            named = ids[start : start + MOST_IDS]
            streams.append((path, Endings((one, job) for one in named for job in by_id[one])))
    return streams


def watched(
    job_ids: int | Iterable[int] | None,
    queue: str | None,
    class_name: str | type | None,
    label: str | None,
) -> list[Watched]:
    """What follows the changes of these jobs, or of all: a stream, more only for very many jobs."""
    if job_ids is None:
        return [Watched(None, queue, class_name, label)]
    ids = [job_ids] if isinstance(job_ids, int) else list(dict.fromkeys(job_ids))
    return [Watched(ids[n : n + MOST_IDS], queue, class_name, label) for n in range(0, len(ids), MOST_IDS)]


class Conversation(Generic[T]):
    """A follower's talk with its daemon, over as many connections as it takes.

    `is_over`: nothing more will come. `is_unanswered`: nobody has said yet that it has begun.
    """

    def __init__(self, follower: Follower[T]) -> None:
        self.breaks = Breaks()
        self.is_over = follower.is_over
        self.is_unanswered = follower.has_greeting
        self._follower = follower
        self._heard_at = 0.0

    @property
    def request(self) -> Request:
        """What to ask on a new connection."""
        return self._follower.request

    def connected(self, now: float) -> None:
        self._heard_at = now
        self.breaks.connected(now)

    def grace(self, now: float, timeout: float) -> float:
        """Until when to wait for what the daemon tells at once; 0 where it has, or where nobody is there."""
        if self.breaks.is_untried and not self._follower.has_begun:
            return now + timeout
        return self.due_at(timeout) or 0.0

    def due_at(self, timeout: float) -> float | None:
        """When a daemon is too silent that has more to tell at once; None where it has not, or nobody is there."""
        has_begun = self._follower.has_begun and not self.is_unanswered
        return None if has_begun or self.breaks.connected_at is None else self._heard_at + timeout

    def take(self, reply: Reply, now: float) -> list[T]:
        """What a reply tells. Raises the error that it is, ShuttingDownError too where a stream ends too early."""
        parameters = answers.checked(reply)
        items = self._follower.take(parameters) if reply.continues or parameters else []
        if not reply.continues and not self._follower.is_end():
            raise ShuttingDownError
        self.is_unanswered = False
        self._heard_at = now
        self.breaks.answered()
        self.is_over = not reply.continues or self._follower.is_over
        return items

    def take_all(self, told: Iterable[JsonObject]) -> list[T]:
        """What the parameters of all the replies tell."""
        items = [item for parameters in told for item in self._follower.take(parameters)]
        self.is_over, self.is_unanswered = True, False
        return items
