"""What people make flows of: drafts of jobs, chains and groups of these; what they come to is in `layout`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, Unpack, overload

from bgjob import draft_checks, predecessors, request_values, submitting_calls, typed
from bgjob.layout import GroupStep, JobStep, Laying, Layout, Place, PlacedGroup, PlacedJob, Places, Step
from bgjob.predecessors import result_of
from bgjob.shared_client import shared_client
from bgjob.typed import P, R, TypedCall

if TYPE_CHECKING:
    from bgjob.aio import AsyncClient, AsyncJob, AsyncSubmitted
    from bgjob.client import Client, Job, Submitted
    from bgjob.codec import JsonObject
    from bgjob.submitting_calls import Options

__all__ = ["Chain", "Draft", "Flow", "Group", "Step", "chain", "group", "job", "result_of"]


@overload
def job(
    class_name: str | type,
    method_name: str,
    parameters: JsonObject | None = None,
    retry_count: int = 0,
    *,
    name: str | None = None,
    **options: Unpack[Options],
) -> Draft: ...
@overload
def job(method: Callable[Concatenate[Any, P], R], /, *args: P.args, **kwargs: P.kwargs) -> Draft[R]: ...
def job(*args: Any, **kwargs: Any) -> Draft[Any]:
    """A job that is not submitted yet: by names, with the options of `run_background_job`, or as the call of a method,
    whose arguments a type checker checks. `after` may have drafts of the same flow, and steps. `name`: what errors call
    it.

    Raises TypeError and ValueError for what no daemon is asked for.
    """
    if args and callable(args[0]) and not isinstance(args[0], type):
        typed.check_own(args[0], kwargs, ("name", *submitting_calls.Options.__annotations__))
        return Draft(typed.of_method(args[0], args[1:], kwargs))
    return _by_names(*args, **kwargs)


def _by_names(
    class_name: str | type,
    method_name: str,
    parameters: JsonObject | None = None,
    retry_count: int = 0,
    *,
    name: str | None = None,
    **options: Unpack[Options],
) -> Draft[Any]:
    call = TypedCall(request_values.class_name_of(class_name), method_name, parameters or {})
    return Draft(call, options, retry_count, name)


def chain(*steps: Step | Iterable[Step]) -> Chain:
    """Each step after the one before: a step is a draft, a group or a chain."""
    return Chain(_steps(steps))


def group(
    *steps: Step | Iterable[Step],
    name: str | None = None,
    idempotency_key: str | None = None,
    open: bool = False,
) -> Group:
    """Steps side by side, which a daemon counts as one group: what comes after it comes after all of them. One that is
    `open` takes members until somebody seals it.
    """
    draft_checks.check_group(name, idempotency_key, open)
    return Group(_steps(steps), {"name": name, "idempotency_key": idempotency_key, "open": open})


def _steps(given: Iterable[Any]) -> tuple[Step, ...]:
    """The steps, each by itself or several in an iterable. Raises TypeError for what is none."""
    found: list[Step] = []
    for one in given:
        if isinstance(one, Step):
            found.append(one)
        elif isinstance(one, Iterable) and not isinstance(one, str | Mapping):
            found += _steps(one)
        else:
            raise TypeError(
                f"a step is a draft, a group or a chain, not {one!r}; a stored job goes into after="
            )
    return tuple(found)


class Draft(JobStep[R]):
    """A job that is not submitted yet; it does not change, and each `submit` makes a job of it. In a flow it is one job
    however often it stands there.
    """

    _has_jobs = True

    def __init__(
        self,
        call: TypedCall,
        options: Options | None = None,
        retry_count: int = 0,
        name: str | None = None,
    ) -> None:
        super().__init__()
        self._call = call
        self._retry_count = retry_count
        self._name = draft_checks.checked_name(name)
        self._options: Options = draft_checks.checked_options(call, retry_count, options or {})
        draft_checks.check_parameters(call.parameters)

    def __repr__(self) -> str:
        named = "" if self._name is None else f" {self._name!r},"
        return f"<Draft{named} of {self._call.class_name}::{self._call.method_name}{self._call.shortened}>"

    def named(self, name: str) -> Draft[R]:
        """The same with a name, which errors tell, and `bgjob flow` as its ref."""
        return Draft(self._call, self._options, self._retry_count, name)

    def options(self, **options: Unpack[Options]) -> Draft[R]:
        """The same with these options, which are those of `run_background_job`, besides its own."""
        return Draft(self._call, {**self._options, **options}, self._retry_count, self._name)

    def and_(self, *steps: Step | Iterable[Step]) -> Flow:
        """This and other steps in one request, side by side."""
        return Flow((self, *_steps(steps)))

    @overload
    def submit(self, client: Client | None = None) -> Job[R]: ...
    @overload
    def submit(self, client: AsyncClient) -> Coroutine[Any, Any, AsyncJob[R]]: ...
    def submit(self, client: Client | AsyncClient | None = None) -> Job[R] | Coroutine[Any, Any, AsyncJob[R]]:
        """Submit it by this client, else by the one that the process shares; an AsyncClient's is to be awaited. What
        comes after other drafts is submitted with these.
        """
        asked = (*self._call, self._retry_count)
        return (client or shared_client()).run_background_job(*asked, **self._options)

    def _placed(self) -> PlacedJob:
        given, taken = predecessors.split(self._call.parameters)
        options: dict[str, Any] = {**self._options}
        after = tuple(options.pop("after", None) or ())
        fields = submitting_calls.job_of(
            self._call.class_name, self._call.method_name, given, self._retry_count, options
        )
        return PlacedJob(self, self._name, fields, after, taken)

    def _places(self, layout: Layout) -> Places:
        return layout.place_of(self)


class _Steps(Step):
    """Several steps, which are submitted as one flow."""

    def __init__(self, steps: tuple[Step, ...]) -> None:
        super().__init__()
        self._steps = steps
        self._has_jobs = any(step._has_jobs for step in steps)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self._steps)}>"

    def and_(self, *steps: Step | Iterable[Step]) -> Flow:
        """This and other steps in one request, side by side."""
        return Flow((self, *_steps(steps)))

    @overload
    def submit(self, client: Client | None = None) -> Submitted: ...
    @overload
    def submit(self, client: AsyncClient) -> Coroutine[Any, Any, AsyncSubmitted]: ...
    def submit(
        self, client: Client | AsyncClient | None = None
    ) -> Submitted | Coroutine[Any, Any, AsyncSubmitted]:
        """Submit all of it by this client, else by the one that the process shares; an AsyncClient's is to be awaited.

        Raises ValueError for what has no order, TooLargeError for what fits in no request without its largest group,
        and the refusals of a submit. A repeat soon after an error goes on where that was; else each makes new jobs.
        """
        return (client or shared_client()).submit_flow(self)


class Chain(_Steps):
    """Steps one after the other."""

    def __init__(self, steps: tuple[Step, ...]) -> None:
        inner = (one._steps if isinstance(one, Chain) and one._has_jobs else (one,) for one in steps)
        super().__init__(tuple(step for several in inner for step in several))

    def _lay(self, layout: Layout, before: Places, within: PlacedGroup | None) -> Laying:
        if not self._has_jobs:
            layout.pass_by(self, before)
        for step in self._steps:
            before = yield step, before, within
        return before

    def _places(self, layout: Layout) -> Places:
        last = next((step for step in reversed(self._steps) if step._has_jobs), None)
        return layout.place_of(self) if last is None else layout.places(last)


class Group(_Steps, GroupStep):
    """Steps side by side, which become a group."""

    def __init__(self, steps: tuple[Step, ...], fields: JsonObject) -> None:
        super().__init__(steps)
        self._fields = fields
        self._has_jobs = self._has_jobs or fields["open"]

    def __repr__(self) -> str:
        named = "" if self._fields["name"] is None else f" {self._fields['name']!r},"
        return f"<Group{named} of {len(self._steps)}>"

    def _lay(self, layout: Layout, before: Places, within: PlacedGroup | None) -> Laying:
        placed = layout.put_group(self, self._fields, within)
        for step in self._steps:
            yield step, before, placed
        return (placed,) if self._has_jobs else layout.pass_by(self, before)

    def _places(self, layout: Layout) -> Places:
        return layout.place_of(self)


class Flow(_Steps):
    """Steps side by side that are no group."""

    def and_(self, *steps: Step | Iterable[Step]) -> Flow:
        """This and other steps in one request, side by side."""
        return Flow((*self._steps, *_steps(steps)))

    def _lay(self, layout: Layout, before: Places, within: PlacedGroup | None) -> Laying:
        if not self._has_jobs:
            layout.pass_by(self, before)
        after: dict[Place, None] = {}
        for step in self._steps:
            after |= dict.fromkeys((yield step, before, within))
        return tuple(after)

    def _places(self, layout: Layout) -> Places:
        if not self._has_jobs:
            return layout.place_of(self)
        places = [place for step in self._steps for place in layout.places(step)]
        return tuple(dict.fromkeys(places))
