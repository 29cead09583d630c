"""What an order calls: the object of the approved class, its method with the parameters that fit, and its hooks."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from types import CoroutineType, MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .error_texts import text_of
from .outcomes import InvalidParameters, MethodNotApproved, asked_delay, checked_delay, is_final

if TYPE_CHECKING:
    from .order import Order


class Method(NamedTuple):
    """How a method takes its parameters, as it was described.

    `whole`: the argument that gets them all as one mapping, None for keywords. `names` are the parameters there are,
    None where any name will do, `required` those without a default, `contexts` the arguments that get the JobContext.
    `coerce`: whether the annotations ask for other types than JSON has; `adapter` makes them, None where that could not
    be had before there are parameters. `integers`: the names of whole numbers. `caller`: the module that calls it,
    for one of Django's tasks. `by_place`: it is called with what `args` and `kwargs` hold.
    """

    whole: str | None
    coerce: bool
    contexts: tuple[str, ...]
    required: frozenset[str]
    names: frozenset[str] | None
    integers: tuple[str, ...]
    caller: str | None = None
    by_place: bool = False
    adapter: Any = None

    @classmethod
    def from_description(cls, described: Mapping[str, Any]) -> Method:
        names = described["names"]
        return cls(
            described["whole"],
            described["coerce"],
            tuple(described["contexts"]),
            frozenset(described["required"]),
            None if names is None else frozenset(names),
            tuple(described["integers"]),
            described.get("caller"),
            described.get("by_place", False),
        )


class Approved(NamedTuple):
    """An approved class or module as the fork server holds it: itself, and what of it may be called.

    Attempts of the `stateful` methods may have a context: they or the object ask for one, or they are tasks.
    """

    target: Any
    is_module: bool
    contexts: tuple[str, ...]
    hooks: Collection[str]
    methods: Mapping[str, Method]
    stateful: frozenset[str]

    @classmethod
    def from_description(cls, target: Any, described: Mapping[str, Any]) -> Approved:
        methods = {name: Method.from_description(method) for name, method in described["methods"].items()}
        contexts, hooks = tuple(described["contexts"]), tuple(described["hooks"])
        stateful = [
            name for name, one in methods.items() if contexts or one.contexts or one.caller is not None
        ]
        return cls(target, described.get("is_module", False), contexts, hooks, methods, frozenset(stateful))

    def function(self, name: str) -> Any:
        """The plain function of this name, of a task that which it calls; None where there is none any more."""
        member: Any = getattr(self.target, name, None)
        is_task = name in self.methods and self.methods[name].caller is not None
        return getattr(member, "func", None) if is_task else member


class Invocation:
    """One order's object: made once, and asked again by the hook that tells when to retry."""

    def __init__(self, approved: Approved | None) -> None:
        self._approved = approved
        self._object: Any = None

    def make(self, order: Order, context: Callable[[], Any]) -> tuple[Any, Approved]:
        """The object, for a module itself, and what may be called on it. Raises MethodNotApproved."""
        approved = self._approved
        if approved is None:
            raise _no_longer(order)
        self._object = approved.target
        if not approved.is_module:
            self._object = approved.target(**_each(approved.contexts, context))
        return self._object, approved

    def retry_delay(
        self, order: Order, error: BaseException, note: Callable[[dict[str, Any]], None]
    ) -> float | None:
        """After how many seconds the error, else the class's own `retry_delay(attempt, error)`, wants another attempt.

        None leaves it to the policy.
        """
        try:
            asked = asked_delay(error)
            return self._hooks_delay(order, error) if asked is None else asked
        except Exception as second:
            message = f"retry_delay raised {type(second).__qualname__}: {text_of(second)}"
            note({"type": "log", "level": "ERROR", "message": f"{message}; the policy's delay is taken"})
            return None

    def _hooks_delay(self, order: Order, error: BaseException) -> float | None:
        approved = self._approved
        is_asked = isinstance(error, Exception) and not is_final(error) and order.error is None
        if not is_asked or self._object is None or approved is None or "retry_delay" not in approved.hooks:
            return None
        delay = _awaited(self._object.retry_delay(order.number, error))
        return None if delay is None else checked_delay(delay)


def attempt_call(call: Invocation, order: Order, context: Callable[[], Any]) -> Any:
    """Run the method; its result. Raises whatever it raises, MethodNotApproved, InvalidParameters."""
    made, approved = call.make(order, context)
    method = approved.methods.get(order.method_name)
    if method is None:
        raise _no_longer(order)
    member = getattr(made, order.method_name)
    places, names = _arguments(method, approved, order)
    if method.caller is None:
        return _awaited(member(*places, **names, **_each(method.contexts, context)))
    caller = importlib.import_module(method.caller)
    # An older bgjob of the application's tells nobody which attempt this is.
    call_task = partial(caller.call, context=context) if hasattr(caller, "job_context") else caller.call
    return call_task(
        member,
        key=order.key,
        number=order.number,
        given=order.parameters,
        args=places,
        kwargs=names,
        contexts=dict.fromkeys(method.contexts, context),
    )


def _each(names: Sequence[str], context: Callable[[], Any]) -> Mapping[str, Any]:
    """The context by each of these names; most have none, and a comprehension costs a fresh child several pages."""
    return {name: context() for name in names} if names else _NONE


_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


def _arguments(method: Method, approved: Approved, order: Order) -> tuple[list[Any], Mapping[str, Any]]:
    """What to call the method with, by place and by name. Raises InvalidParameters."""
    given: Any = order.parameters
    if method.coerce:
        from .parameters import coerced

        given = coerced(method.adapter or adapter_of(approved, order.method_name), given)
    elif method.whole is None:
        _check_names(method, given)
        if method.integers:
            given = _with_integers(method, given)
    if method.by_place:
        return given.get("args", []), given.get("kwargs", {})
    return [], given if method.whole is None else {method.whole: given}


def adapter_of(approved: Approved, name: str) -> Any:
    """What makes the method's parameters of JSON's values. Raises whatever its annotations, or pydantic, raise."""
    from .parameters import adapter

    method = approved.methods[name]
    return adapter(approved.function(name), method.contexts, method.whole is not None)


def hook_call(call: Invocation, order: Order, context: Callable[[], Any]) -> None:
    """Tell the class's `failed` hook how the last attempt ended. Raises whatever it raises."""
    made, approved = call.make(order, context)
    if order.error is None or "failed" not in approved.hooks:
        raise _no_longer(order)
    _awaited(made.failed(_told_error(order, order.error)))


def failure_call(function: Any, order: Order) -> None:
    """Tell the function for all classes how the last attempt ended. Raises whatever it raises."""
    if function is None or order.error is None:
        raise MethodNotApproved("there is no [app] on_failure any more")
    error = _told_error(order, order.error)
    _awaited(function(error, class_name=order.class_name, method_name=order.method_name, job_id=order.job))


def _told_error(order: Order, told: Mapping[str, str | None]) -> Any:
    error = importlib.import_module("bgjob.jobs").AttemptError(**told)
    error.occurrence = order.occurrence  # the class may be of an older bgjob, whose argument it is not
    return error


def _no_longer(order: Order) -> MethodNotApproved:
    return MethodNotApproved(f"{order.class_name}::{order.method_name} is no longer allowed")


def _check_names(method: Method, given: Mapping[str, Any]) -> None:
    """Raises InvalidParameters for names that the method does not take; it may have changed since the submit."""
    missing = method.required.difference(given)
    unknown = set() if method.names is None else set(given) - method.names
    if missing or unknown:
        problems = [f"{name}: is required" for name in sorted(missing)]
        problems += [f"{name}: there is no such parameter" for name in sorted(unknown)]
        raise InvalidParameters("; ".join(problems))


def _with_integers(method: Method, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters, with 1 for 1.0 where a whole number is asked for: JSON does not tell them apart."""
    floats = [n for n in method.integers if isinstance(given.get(n), float) and given[n].is_integer()]
    return {**given, **{name: int(given[name]) for name in floats}} if floats else given


def _awaited(result: Any) -> Any:
    if not isinstance(result, CoroutineType):
        return result
    import asyncio  # only for those who use it: it would make every fork dearer

    return asyncio.run(result)
