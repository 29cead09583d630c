"""Who comes after whom in a flow, and who is in which group, in an order in which a daemon takes them; no I/O here.

What people make steps with is in `flow`, what is asked of a daemon in `flow_requests`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any, Final, Generic, TypeAlias

from bgjob.codec import JsonObject
from bgjob.errors import TooLargeError
from bgjob.keys import KeysLeft
from bgjob.predecessors import AnyPredecessor, Predecessor, ResultOf, named
from bgjob.typed import R
from bgjob.words import MAX_EDGES, MAX_GROUP_DEPTH, MAX_PREDECESSORS


class Step(Predecessor):
    """What is submitted together: the draft of a job, or several steps. It does not change."""

    _has_result = False
    _has_jobs: bool
    """Whether anything may have to end before what comes after it."""

    def __init__(self) -> None:
        self._keys_left = KeysLeft()

    def _lay(self, layout: Layout, before: Places, within: PlacedGroup | None) -> Laying:
        """Take its place behind what is before it, in a group, and ask for that of each step in it; what the next step
        comes after.
        """
        raise NotImplementedError

    def _places(self, layout: Layout) -> Places:
        """What a job comes after that comes after this. Raises ValueError where it has no place."""
        raise NotImplementedError


class JobStep(Step, Generic[R]):
    """A step that becomes a job; R is what its method returns."""

    _has_result = True

    def _placed(self) -> PlacedJob:
        """The job, which has no place yet."""
        raise NotImplementedError


class GroupStep(Step):
    """A step that becomes a group."""

    _has_result = True


class PlacedGroup:
    """A group of the flow; `within` is the one that it is a member of. `fields`: name, open, idempotency_key."""

    def __init__(self, step: Step, fields: JsonObject) -> None:
        self.step = step
        self.fields = fields
        self.within: PlacedGroup | None = None

    @property
    def is_open(self) -> bool:
        return bool(self.fields["open"])


class PlacedJob:
    """A job of the flow: the fields of Submit, but for what names others; each of these as the draft has it, in
    `own_after` and `taken`, and by its place, in `after` and `sources`.
    """

    def __init__(
        self,
        step: Step,
        name: str | None,
        fields: JsonObject,
        own_after: tuple[AnyPredecessor, ...],
        taken: dict[str, ResultOf],
    ) -> None:
        self.step = step
        self.name = name
        self.fields = fields
        self.own_after = own_after
        self.taken = taken
        self.within: PlacedGroup | None = None
        self.before: dict[Place, None] = {}
        self.after: list[Target] = []
        self.sources: dict[str, Target] = {}

    @property
    def targets(self) -> list[Target]:
        """All that it comes after."""
        return [*self.after, *self.sources.values()]


Place: TypeAlias = PlacedJob | PlacedGroup
Places: TypeAlias = tuple[Place, ...]
Part: TypeAlias = tuple[Step, Places, PlacedGroup | None]
"""A step, what it comes after, and the group that it is in."""
Laying: TypeAlias = Generator[Part, Places, Places]
Target: TypeAlias = Place | tuple[str, Any]
"""What a job comes after: in the flow, or stored already, by a word of the socket and its id."""


class Layout:
    """The jobs and groups of a flow, those of several steps side by side, which may all be in a group that is there.

    Raises ValueError for what has no order, and for what is in two groups; TooLargeError for jobs that come after more
    than a daemon takes.
    """

    def __init__(self, steps: Iterable[Step], are_in_group: bool = False) -> None:
        self._laid: list[Place] = []
        self._jobs: dict[Step, PlacedJob] = {}
        self._groups: dict[Step, PlacedGroup] = {}
        self._passed: dict[Step, dict[Place, None]] = {}
        self._after: dict[Part, Places] = {}
        self._places: dict[Step, Places] = {}
        self._lay(steps)
        if not are_in_group:
            _check_edges(self._jobs.values())
        for job in self._jobs.values():
            self._name_targets(job)
        self.groups: list[PlacedGroup] = []
        """Each before those that are in it, or that come after it."""
        self.jobs: list[PlacedJob] = []
        """Each after all that it comes after, those of a group together."""
        for place in _Order(self._laid).places():
            self.groups += [place] if isinstance(place, PlacedGroup) else []
            self.jobs += [place] if isinstance(place, PlacedJob) else []
        _check_begins(self.jobs)

    # How steps take their places

    def _lay(self, steps: Iterable[Step]) -> None:
        """Each once where it is the same, however many others it stands in. A loop makes steps that are nested deeper
        than functions can be.
        """
        under_way: list[tuple[Part | None, Laying]] = [(None, _side_by_side(steps))]
        places: Any = None
        while under_way:
            of, laying = under_way[-1]
            try:
                part = laying.send(places)
            except StopIteration as ended:
                under_way.pop()
                places = ended.value
                if of is not None:
                    self._after[of] = places
                continue
            step, before, within = part
            places = self._after.get(part)
            if isinstance(step, JobStep):
                places = places or (self._put_job(step, before, within),)
                self._after[part] = places
            elif places is None:
                under_way.append((part, step._lay(self, before, within)))

    def _put_job(self, step: JobStep[Any], before: Places, within: PlacedGroup | None) -> PlacedJob:
        """The job of a step, which may have been put before."""
        job = self._jobs.get(step)
        if job is None:
            job = self._jobs[step] = step._placed()
            self._laid.append(job)
        _enter(job, within)
        job.before |= dict.fromkeys(before)
        if len(job.before) > MAX_PREDECESSORS:
            raise _too_many(job, "options.after", len(job.before), MAX_PREDECESSORS)
        return job

    def put_group(self, step: Step, fields: JsonObject, within: PlacedGroup | None) -> PlacedGroup:
        group = self._groups.get(step)
        if group is None:
            group = self._groups[step] = PlacedGroup(step, fields)
            group.within = within
            self._laid.append(group)
            if len(list(_enclosing(group))) >= MAX_GROUP_DEPTH:
                raise ValueError(
                    f"{step!r} is in too many groups: at most {MAX_GROUP_DEPTH} are in one another"
                )
        _enter(group, within)
        return group

    def pass_by(self, step: Step, before: Places) -> Places:
        """Have what comes after a step without jobs come after what is before it."""
        self._passed.setdefault(step, {}).update(dict.fromkeys(before))
        return before

    def places(self, step: Step) -> Places:
        """What a job comes after that comes after the step, which has been laid."""
        if step not in self._places:
            self._places[step] = step._places(self)
        return self._places[step]

    def place_of(self, step: Step) -> Places:
        """Raises ValueError for a step that has none."""
        if step in self._passed:
            return tuple(self._passed[step])
        place = self._jobs.get(step) or self._groups.get(step)
        if place is None:
            raise ValueError(
                f"{step!r} is not in the flow: put it there by and_, or give the job that it became"
            )
        return (place,)

    # Who comes after whom

    def _name_targets(self, job: PlacedJob) -> None:
        own = [target for one in job.own_after for target in self._targets(one)]
        job.after = list(dict.fromkeys([*job.before, *own]))
        job.sources = {name: self._source(result.source) for name, result in job.taken.items()}
        options = job.fields["options"]
        if not job.targets and options.get("if_failed") is not None and not (job.own_after or self._passed):
            raise ValueError(f"{job.step!r} comes after nothing, so that if_failed means nothing")
        if job.targets and options.get("delay") is not None:
            raise ValueError(
                f"{job.step!r} has a delay and comes after others: from when on it is, nobody can say"
            )

    def _targets(self, one: AnyPredecessor) -> tuple[Target, ...]:
        return self.places(one) if isinstance(one, Step) else (_stored(one),)

    def _source(self, one: AnyPredecessor) -> Target:
        """The group itself, also where it is empty: its results are none."""
        if isinstance(one, GroupStep) and one in self._groups:
            return self._groups[one]
        (source,) = self._targets(one)
        return source


def _side_by_side(steps: Iterable[Step]) -> Laying:
    for step in steps:
        yield step, (), None
    return ()


def _check_edges(jobs: Iterable[PlacedJob]) -> None:
    """Raises TooLargeError where jobs of no group, which go in one request, come after too many."""
    size = 0
    for job in jobs:
        size += 0 if job.within else len(job.before)
        if size > MAX_EDGES:
            raise _too_many(job, "jobs", size, MAX_EDGES)


def _too_many(job: PlacedJob, parameter: str, size: int, limit: int) -> TooLargeError:
    error = TooLargeError(limit=limit, size=size, parameter=parameter)
    error.add_note(f"with {job.step!r}")
    return error


def _stored(one: AnyPredecessor) -> Target:
    ((word, value),) = named(one).items()
    return word, value


def _enter(place: Place, within: PlacedGroup | None) -> None:
    """Raises ValueError where it is in another group."""
    if within is None:
        return
    if place.within not in (None, within):
        raise ValueError(f"{place.step!r} is in two groups")
    place.within = within


def _enclosing(place: Place) -> Iterator[PlacedGroup]:
    """The groups that it is in, the innermost first."""
    group = place.within
    while group is not None:
        yield group
        group = group.within


def _check_begins(jobs: Iterable[PlacedJob]) -> None:
    """Raises ValueError."""
    found = try_late_group(jobs)
    if found is not None:
        job, late, own = found
        told = f"{job.step!r} comes after {late.step!r}, which has no jobs and is to be stored before {own.step!r}"
        raise ValueError(_NO_ORDER.format(f"{told}: submit it first"))


def try_late_group(jobs: Iterable[PlacedJob]) -> tuple[PlacedJob, PlacedGroup, PlacedGroup] | None:
    """A member that comes after a group that begins later than its own, in a request for these jobs: only one without
    jobs can, which begins where the first job comes after it.
    """
    begun: set[PlacedGroup] = set()
    for job in jobs:
        for target in job.targets:
            if isinstance(target, PlacedGroup) and target not in begun:
                around = [target, *_enclosing(target)]
                own = next((one for one in _enclosing(job) if one in begun and one not in around), None)
                if own is not None:
                    return job, target, own
                begun.update(around)
        begun.update(_enclosing(job))
    return None


_NO_ORDER: Final = "the flow has no order: {}"
_BLOCKS: Final = "; what jobs of a group come after is in it as well, or ends before the group begins"


class _Order:
    """A group with all that is in it is one node among its neighbours, and each is sorted by itself: so what a member
    comes after is in its group, or before all of that.
    """

    def __init__(self, places: list[Place]) -> None:
        self._sorters: dict[PlacedGroup | None, TopologicalSorter[Place]] = {None: TopologicalSorter()}
        self._because: dict[tuple[Place, Place], tuple[PlacedJob, Place]] = {}
        self._jobs = [place for place in places if isinstance(place, PlacedJob)]
        for place in places:
            if isinstance(place, PlacedGroup):
                self._sorters[place] = TopologicalSorter()
        for place in places:
            self._sorters[place.within].add(place)
            if isinstance(place, PlacedJob):
                self._add_edges(place)

    def places(self, within: PlacedGroup | None = None) -> Iterator[Place]:
        """Raises ValueError."""
        try:
            ordered = list(self._sorters[within].static_order())
        except CycleError as error:
            raise ValueError(_NO_ORDER.format(self._circle(error.args[1]))) from None
        for place in ordered:
            yield place
            if isinstance(place, PlacedGroup):
                yield from self.places(place)

    def _add_edges(self, job: PlacedJob) -> None:
        for target in job.targets:
            if not isinstance(target, tuple):
                within, later, earlier = _neighbours(job, target)
                self._sorters[within].add(later, earlier)
                self._because.setdefault((later, earlier), (job, target))

    def _circle(self, circle: list[Place]) -> str:
        """Who comes after whom, once round."""
        pairs = [self._because[later, earlier] for earlier, later in pairwise(circle)]
        told = "; ".join(
            f"{self._named(job)} comes after {self._named(target)}" for job, target in reversed(pairs)
        )
        return told + (_BLOCKS if any(isinstance(place, PlacedGroup) for place in circle) else "")

    def _named(self, place: Place) -> str:
        """As it calls itself; a job without a name with its place among those of the flow, too."""
        if isinstance(place, PlacedGroup) or place.name is not None:
            return repr(place.step)
        return f"job {self._jobs.index(place) + 1}, {place.step!r},"


def _neighbours(job: PlacedJob, target: Place) -> tuple[PlacedGroup | None, Place, Place]:
    """The innermost group that both are in, and what there has them in it, or is them. Raises ValueError where the job
    comes after its own group.
    """
    around: dict[PlacedGroup | None, Place] = {}
    inner: Place = target
    for group in (*_enclosing(target), None):
        around[group] = inner
        inner = group or inner
    inner = job
    for group in (*_enclosing(job), None):
        if group is target:
            raise ValueError(_NO_ORDER.format(f"{job.step!r} is in {target.step!r}, and comes after it"))
        if group in around:
            return group, inner, around[group]
        inner = group or inner
    raise AssertionError  # all are in the flow
