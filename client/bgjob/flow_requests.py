"""What a flow asks of a daemon: one request, or, where a group is too large for that, several; no I/O here."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from bgjob import calls, request_values, shapes, submitting_calls
from bgjob.answers import StoredMany
from bgjob.bulk import try_bulk
from bgjob.calls import Call
from bgjob.codec import JsonObject, Request
from bgjob.errors import BgjobError, IdempotencyConflictError, TooLargeError
from bgjob.keys import KeysLeft, new_keys
from bgjob.layout import Layout, Place, PlacedGroup, PlacedJob, Step, Target, try_late_group
from bgjob.predecessors import ResultOf
from bgjob.sending import frame_of
from bgjob.words import MAX_EDGES, MAX_FRAME, MAX_JOBS

T = TypeVar("T")

_ENVELOPE: Final = 8 * 1024
"""Bytes that a portion may have around its jobs."""

_MOST_OF_AN_ID: Final = 20
"""Characters that an id may have more than the name in whose place it stands."""


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
    layout = Layout(steps, group_id is not None)
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
        self._retries = retries
        self._group_id = group_id
        self._refs = _refs(layout)
        self._keys = dict(zip([*layout.groups, *layout.jobs], keys, strict=True))
        self._ids: dict[Place, int] = {}
        """Of what is stored."""
        self._opened: int | None = None

    def requests(self) -> Generator[Call[Any], Any, Stored]:
        """Raises ProtocolError where the daemon has not told of each."""
        jobs, groups = self._layout.jobs, self._layout.groups
        if jobs or groups:
            whole = self._request(jobs, None)
            too_large = _try_too_large(whole, jobs)
            if too_large is None:
                yield from self._store(whole, jobs)
            else:
                yield from self._in_portions(too_large)
        return Stored(
            {job.step: self._ids[job] for job in jobs}, {group.step: self._ids[group] for group in groups}
        )

    def _in_portions(self, too_large: TooLargeError) -> Generator[Call[Any], Any, None]:
        """All but the members of one group first. That is open until the last of them is stored, so nothing comes after
        a part of it.
        """
        members = _apart(self._layout, self._group_id is not None)
        if not members:
            raise too_large
        group = members[0].within
        others = [job for job in self._layout.jobs if job.within is not group]
        first = self._request(others, group)
        if _try_too_large(first, others) is not None or try_late_group(others) is not None:
            raise too_large
        if others or self._layout.groups:
            yield from self._store(first, others)
        self._opened = None if group is None else self._ids[group]
        for portion in _portions([self._new_job(job) for job in members]):
            some = members[portion.start : portion.stop]
            call = submitting_calls.submit_many([self._new_job(job) for job in some], None, None)
            self._note("ids", some, (yield from self._asked(call, some)))
        if group is not None and not group.is_open:
            yield from self._asked(calls.seal_group(self._ids[group]), [])

    def _request(self, jobs: Sequence[PlacedJob], opened: PlacedGroup | None) -> Call[StoredMany]:
        """These jobs and all groups, of which one is to be open."""
        groups = [self._new_group(group, group.is_open or group is opened) for group in self._layout.groups]
        return submitting_calls.submit_flow([self._new_job(job) for job in jobs], groups, [])

    def _store(
        self, call: Call[StoredMany], jobs: Sequence[PlacedJob]
    ) -> Generator[Call[StoredMany], StoredMany, None]:
        answer = yield from self._asked(call, jobs)
        self._note("ids", jobs, answer.ids)
        self._note("groups", self._layout.groups, answer.groups)

    def _note(self, name: str, places: Sequence[Place], ids: list[int]) -> None:
        if len(ids) != len(places):
            raise shapes.misshapen(name)
        self._ids |= zip(places, ids, strict=True)

    def _asked(self, call: Call[T], jobs: Sequence[PlacedJob]) -> Generator[Call[T], T, T]:
        """The answer to a request for these jobs. An error gets notes: which step it is about, which group is open."""
        try:
            answer = yield call
        except BgjobError as error:
            place = submitting_calls.place_of_job(error)
            if place is not None and place < len(jobs):
                error.add_note(f"jobs.{place} is {jobs[place].step!r}")
            if self._opened is not None:
                error.add_note(
                    f"group {self._opened} is open: a repeat fills and seals it, or it is to be cancelled"
                )
            raise
        return answer

    # What is asked of each

    def _new_group(self, group: PlacedGroup, is_open: bool) -> JsonObject:
        asked = {"ref": self._refs[group], "idempotency_key": self._keys[group]}
        return request_values.given(
            {**asked, **request_values.given(group.fields), "open": is_open or None, **self._in(group)}
        )

    def _new_job(self, job: PlacedJob) -> JsonObject:
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
        asked = submitting_calls.submission(
            {**job.fields, "options": options}, *self._retries, self._keys[job]
        )
        return {**asked, "ref": self._refs[job]} if job in self._refs else asked

    def _in(self, place: Place) -> JsonObject:
        if place.within is None:
            return {} if self._group_id is None else {"group": {"id": self._group_id}}
        id = self._ids.get(place.within)
        return {"group": {"ref": self._refs[place.within]} if id is None else {"id": id}}

    def _source(self, job: PlacedJob, name: str, result: ResultOf) -> JsonObject:
        return request_values.given({"of": self._named(job.sources[name]), "pointer": result.pointer or None})

    def _named(self, target: Target) -> JsonObject:
        """As a daemon is told it: by its id, where that is known."""
        if isinstance(target, tuple):
            return dict([target])
        is_group = isinstance(target, PlacedGroup)
        if target in self._ids:
            return {"group" if is_group else "id": self._ids[target]}
        return {"group_ref" if is_group else "ref": self._refs[target]}


def _apart(layout: Layout, are_in_group: bool) -> list[PlacedJob]:
    """The members of the largest group that can come later than all else, in a group that is there already: no other
    job comes after one of them alone, and the groups that they come after begin with a job.
    """
    members: dict[PlacedGroup | None, list[PlacedJob]] = {}
    for job in layout.jobs:
        members.setdefault(job.within, []).append(job)
    begun = set(members)
    if not are_in_group:
        members.pop(None, None)
    for job in layout.jobs:
        for target in job.targets:
            if isinstance(target, PlacedJob) and target.within is not job.within:
                members.pop(target.within, None)
            elif isinstance(target, PlacedGroup) and target not in begun:
                members.pop(job.within, None)
    return max(members.values(), key=len, default=[])


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


def _try_too_large(call: Call[Any], jobs: Sequence[PlacedJob]) -> TooLargeError | None:
    """What a request with these jobs is refused for; None where a daemon takes it."""
    size = len(frame_of(call.request)) - 1
    if size > MAX_FRAME or len(jobs) > MAX_JOBS:
        return TooLargeError(limit=MAX_FRAME, size=size)
    edges = sum(len(job.targets) for job in jobs)
    return None if edges <= MAX_EDGES else TooLargeError(limit=MAX_EDGES, size=edges, parameter="jobs")


def _portions(jobs: list[JsonObject]) -> Iterator[range]:
    """As many of them as one request takes, and so on."""
    bulk = try_bulk(jobs)
    parts: Iterable[Any] = jobs if bulk is None else zip(bulk.each, bulk.keys, strict=True)
    start = size = edges = 0
    for place, part in enumerate(parts):
        options = jobs[place]["options"]
        after = len(options.get("after", ())) + len(options.get("take", ()))
        own = len(frame_of(Request("", {"": part}))) + _MOST_OF_AN_ID * after
        is_full = size + own > MAX_FRAME - _ENVELOPE or edges + after > MAX_EDGES
        if place > start and (is_full or place - start == MAX_JOBS):
            yield range(start, place)
            start, size, edges = place, 0, 0
        size += own
        edges += after
    yield range(start, len(jobs))
