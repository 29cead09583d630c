"""What a flow asks of a daemon: one request, or, for a group that is too large for that, several; no I/O here."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from bgjob import calls, shapes
from bgjob.bulk import try_bulk
from bgjob.calls import Call, frame_of
from bgjob.codec import JsonObject, Request
from bgjob.errors import BgjobError, IdempotencyConflictError, TooLargeError
from bgjob.keys import KeysLeft, new_keys
from bgjob.layout import Layout, PlacedGroup, PlacedJob, Step, Target
from bgjob.predecessors import ResultOf
from bgjob.words import MAX_FRAME, MAX_JOBS

T = TypeVar("T")

_ENVELOPE: Final = 8 * 1024
"""Bytes that a portion may have around its jobs."""


class Stored(NamedTuple):
    """What became of a flow: the ids of its jobs and of its groups, in the order of the request, by their steps."""

    jobs: dict[Step, int]
    groups: dict[Step, int]


class Retries(NamedTuple):
    """What a client's class sets, or None."""

    max_retries: int | None
    retry_delay: float | None


def asking(
    steps: Sequence[Step],
    keys_left: KeysLeft,
    retries: Retries,
    clock: Callable[[], float],
    group_id: int | None = None,
) -> Generator[Call[Any], Any, Stored]:
    """The requests of steps side by side, one after the other, each sent its answer or thrown its error; all jobs
    become members of the group, if one is given.

    `keys_left` are of those before that have ended in an error, and `clock` goes forward only. Raises ValueError for
    what has no order, TooLargeError for what fits in no request.
    """
    layout = Layout(steps)
    keys = keys_left.try_take(clock()) or new_keys(len(layout.jobs) + len(layout.groups))
    is_done = False
    try:
        stored = yield from _Flow(layout, retries, keys, group_id).requests()
        is_done = True
    except IdempotencyConflictError:
        is_done = True  # what has these keys is another flow
        raise
    finally:
        if not is_done:
            keys_left.leave(keys, clock())
    return stored


class _Flow:
    """A flow as it is asked for."""

    def __init__(self, layout: Layout, retries: Retries, keys: list[str], group_id: int | None) -> None:
        self._layout = layout
        self._group_id = group_id
        self._refs = _refs(layout)
        self._groups = [self._new_group(group, key) for group, key in zip(layout.groups, keys, strict=False)]
        self._jobs = [
            self._new_job(job, key, retries)
            for job, key in zip(layout.jobs, keys[len(layout.groups) :], strict=True)
        ]

    def requests(self) -> Generator[Call[Any], Any, Stored]:
        if not self._jobs and not self._groups:
            return Stored({}, {})
        whole = calls.submit_flow(self._jobs, self._groups, [])
        size = len(frame_of(whole.request)) - 1
        if size <= MAX_FRAME and len(self._jobs) <= MAX_JOBS:
            answer = yield from self._asked(whole, 0)
            return self._stored(answer.ids, answer.groups)
        if not self._is_bare:
            raise TooLargeError(limit=MAX_FRAME, size=size)
        return (yield from self._in_portions())

    def _in_portions(self) -> Generator[Call[Any], Any, Stored]:
        """The group is open until its last member is stored: a request for each portion, in bulk where that can be."""
        ids: list[int] = []
        made: list[int] = []
        into = self._group_id
        if self._groups:
            answer = yield calls.submit_flow([], [{**self._groups[0], "open": True}], [])
            made = _as_many("groups", answer.groups, self._groups)
            (into,) = made
        jobs = [{**job, "options": {**job["options"], "group": {"id": into}}} for job in self._jobs]
        for portion in _portions(jobs):
            call = calls.submit_many(jobs[portion.start : portion.stop], None, None)
            ids += yield from self._asked(call, portion.start)
        if into is not None and not all(group.is_open for group in self._layout.groups):
            yield calls.seal_group(into)
        return self._stored(ids, made)

    def _asked(self, call: Call[T], start: int) -> Generator[Call[T], T, T]:
        """The answer to a request whose first job is at this place. An error gets a note of which step it is about."""
        try:
            answer = yield call
        except BgjobError as error:
            place = calls.place_of_job(error)
            if place is not None and start + place < len(self._jobs):
                error.add_note(f"jobs.{place} is {self._layout.jobs[start + place].step!r}")
            raise
        return answer

    @property
    def _is_bare(self) -> bool:
        """Whether it is nothing but a group, none of whose members needs another."""
        is_one = len(self._groups) == (1 if self._group_id is None else 0)
        return is_one and all(
            (job.within is not None or not self._groups)
            and all(isinstance(target, tuple) for target in job.targets)
            for job in self._layout.jobs
        )

    def _stored(self, ids: list[int], groups: list[int]) -> Stored:
        """Raises ProtocolError where the daemon has not told of each."""
        jobs = zip(self._layout.jobs, _as_many("ids", ids, self._jobs), strict=True)
        made = zip(self._layout.groups, _as_many("groups", groups, self._groups), strict=True)
        return Stored(
            {job.step: job_id for job, job_id in jobs}, {group.step: group_id for group, group_id in made}
        )

    # What is asked of each

    def _new_group(self, group: PlacedGroup, key: str) -> JsonObject:
        asked = {"ref": self._refs[group], "idempotency_key": key}
        return calls.given(
            {**asked, **calls.given(group.fields), "open": group.is_open or None, **self._in(group)}
        )

    def _new_job(self, job: PlacedJob, key: str, retries: Retries) -> JsonObject:
        own, within = job.fields["options"], self._in(job)
        if within and own.get("group") is not None:
            raise ValueError(f"{job.step!r} is in two groups")
        options = {**own, **within}
        if not job.targets:
            options.pop("if_failed", None)  # a step before it had no jobs
        if job.after:
            options["after"] = list(map(self._named, job.after))
        if job.sources:
            options["take"] = {name: self._source(job, name, result) for name, result in job.taken.items()}
        asked = calls.submission({**job.fields, "options": options}, *retries, key)
        return {**asked, "ref": self._refs[job]} if job in self._refs else asked

    def _in(self, place: PlacedJob | PlacedGroup) -> JsonObject:
        if place.within is not None:
            return {"group": {"ref": self._refs[place.within]}}
        return {} if self._group_id is None else {"group": {"id": self._group_id}}

    def _source(self, job: PlacedJob, name: str, result: ResultOf) -> JsonObject:
        return calls.given({"of": self._named(job.sources[name]), "pointer": result.pointer or None})

    def _named(self, target: Target) -> JsonObject:
        if isinstance(target, tuple):
            return dict([target])
        return {"group_ref" if isinstance(target, PlacedGroup) else "ref": self._refs[target]}


def _as_many(name: str, ids: list[int], asked: Sequence[JsonObject]) -> list[int]:
    if len(ids) != len(asked):
        raise shapes.misshapen(name)
    return ids


def _refs(layout: Layout) -> dict[PlacedJob | PlacedGroup, str]:
    """What groups, and jobs that others come after, are called in the request. Raises ValueError for a name that two
    jobs have.
    """
    wanted = {target for job in layout.jobs for target in job.targets}
    refs: dict[PlacedJob | PlacedGroup, str] = {
        job: job.name or f"#{number}"
        for number, job in enumerate(layout.jobs)
        if job in wanted or job.name is not None
    }
    if len(set(refs.values())) < len(refs):
        names = [job.name for job in layout.jobs]
        raise ValueError(f"two jobs of the flow are called {max(filter(None, names), key=names.count)!r}")
    return refs | {group: f"#g{number}" for number, group in enumerate(layout.groups)}


def _portions(jobs: list[JsonObject]) -> Iterator[range]:
    """As many of them as one request takes, and so on."""
    bulk = try_bulk(jobs)
    parts: Iterable[Any] = jobs if bulk is None else zip(bulk.each, bulk.keys, strict=True)
    start = size = 0
    for place, part in enumerate(parts):
        own = len(frame_of(Request("", {"": part})))
        if place > start and (size + own > MAX_FRAME - _ENVELOPE or place - start == MAX_JOBS):
            yield range(start, place)
            start, size = place, 0
        size += own
    yield range(start, len(jobs))
