"""A call that type checkers understand, as a job's names and parameters; no I/O here."""

from __future__ import annotations

import sys
from types import CodeType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, ParamSpec

from bgjob.codec import JsonObject
from bgjob.jobs import CONTEXT
from bgjob.words import INT_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    # A type checker has it, nobody installs it: `default` is of Python 3.13.
    from typing_extensions import TypeVar

    R = TypeVar("R", covariant=True, default=Any)  # what a method returns; Any where a text names it
else:
    from typing import TypeVar

    R = TypeVar("R", covariant=True)

P = ParamSpec("P")

_HAS_PLACES: Final = 0x04  # inspect.CO_VARARGS
_TOLD: Final = 60
_WHOLE: Final = ("params", "parameters")


class TypedCall(NamedTuple):
    """What is called, by the names that a daemon knows it by, and with what."""

    class_name: str
    method_name: str
    parameters: JsonObject

    @property
    def shortened(self) -> str:
        """The parameters, of which numbers are told alone: a text may be a secret, and this goes to logs."""
        given: Any = self.parameters  # of one that takes all as one mapping it is whatever becomes a mapping
        if not isinstance(given, dict) or not given:
            return ""
        told = ", ".join([f"{name}={_number_of(value)}" for name, value in given.items()])
        return f"({told})" if len(told) <= _TOLD else f"({told[:_TOLD]}…)"


def _number_of(value: Any) -> str:
    is_number = type(value) in (bool, int, float) and -INT_MAX <= value <= INT_MAX
    return str(value) if is_number else "…"


def of_method(method: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> TypedCall:
    """The call of a method, without its `self`; of an inherited one it is its base's. Raises TypeError for what nobody
    can import by its name, and for arguments that do not fit.
    """
    function = _importable(method)
    class_name, _, name = function.__qualname__.rpartition(".")
    if not class_name:
        raise TypeError(f"{name} is of no class: functions go by submit_function and call_function")
    if _is_static(function):
        raise TypeError(f"{function.__qualname__} is a static method, which no job can be; leave self to it")
    return TypedCall(f"{function.__module__}.{class_name}", name, _parameters(function, args, kwargs))


def check_own(method: Callable[..., Any], kwargs: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raises TypeError for what is not the method's own, and is meant for the draft of the call."""
    meant = [name for name in names if name in kwargs]
    if not meant:
        return
    from bgjob.class_rules import own_parameters

    own = own_parameters(_importable(method))
    for name in meant:
        if not any(one.name == name or one.kind is one.VAR_KEYWORD for one in own):
            gives = f".named({kwargs[name]!r})" if name == "name" else f".options({name}=…)"
            raise TypeError(f"{method.__qualname__} takes no {name}; {gives} gives it to the draft")


def of_function(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> TypedCall:
    """The call of a module's function. Raises TypeError as `of_method` does."""
    found = _importable(function)
    name = found.__qualname__
    if "." in name:
        raise TypeError(f"{name} is no function of a module: methods go by submit and call")
    return TypedCall(found.__module__, name, _parameters(found, args, kwargs))


def _importable(function: Any) -> FunctionType:
    if isinstance(function, MethodType):
        raise TypeError(f"{function.__qualname__} is bound; give the function that the class has")
    if not isinstance(function, FunctionType):
        raise TypeError(f"a {type(function).__qualname__} is no plain function; submit it by its name")
    if "<" in function.__qualname__:
        raise TypeError(f"{function.__qualname__} has no name that can be imported")
    if function.__module__ == "__main__":
        raise TypeError(
            f"{function.__qualname__} is of the program itself; a daemon imports it from a module"
        )
    return function


def _is_static(method: FunctionType) -> bool:
    found: Any = sys.modules.get(method.__module__)
    *classes, name = method.__qualname__.split(".")
    for one in classes:
        found = getattr(found, one, None)
    return isinstance(getattr(found, "__dict__", {}).get(name), staticmethod)


# Arguments


def _parameters(function: FunctionType, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> JsonObject:
    """By name, as Python would bind them; but for functions that take some by place. A context is no caller's."""
    names, is_by_place = _places(function)
    if is_by_place:
        return {"args": list(args), "kwargs": _without_context(kwargs)}
    if len(args) > len(names):
        raise TypeError(f"{function.__qualname__} takes at most {len(names)} by place, not {len(args)}")
    by_place = dict(zip(names, args, strict=False))
    for name in by_place.keys() & kwargs.keys():
        raise TypeError(f"{function.__qualname__} is given {name} twice")
    given = _without_context({**by_place, **kwargs})
    if _is_whole(function, given):
        (given,) = given.values()
    return given


def _is_whole(function: FunctionType, given: JsonObject) -> bool:
    """Whether the only parameter, but for contexts, takes all of them as one mapping; few have its name."""
    if len(given) != 1 or given.keys().isdisjoint(_WHOLE):
        return False
    from bgjob.class_rules import context_names, own_parameters, takes_whole_mapping

    own = own_parameters(function)
    contexts = context_names(own, function)
    return takes_whole_mapping([one for one in own if one.name not in contexts])


def _without_context(given: Mapping[str, Any]) -> JsonObject:
    return {name: value for name, value in given.items() if value is not CONTEXT}


def _places(function: FunctionType) -> tuple[tuple[str, ...], bool]:
    """What can be given by place, without `self`; whether a module's function is called with some by place alone."""
    is_method, code = "." in function.__qualname__, _try_code(function)
    if code is not None:
        has_places = bool(code.co_posonlyargcount or code.co_flags & _HAS_PLACES)
        return code.co_varnames[is_method : code.co_argcount], has_places and not is_method
    from bgjob.class_rules import own_parameters
    from bgjob.module_rules import is_by_place

    try:
        own = own_parameters(function)
    except ValueError as error:
        raise TypeError(f"{function.__qualname__} has no signature: {error}") from None
    places = (own[0].POSITIONAL_ONLY, own[0].POSITIONAL_OR_KEYWORD) if own else ()
    return tuple(one.name for one in own if one.kind in places), is_by_place(function)


def _try_code(function: FunctionType) -> CodeType | None:
    """Of the function that decorators have wrapped; None where its signature is elsewhere, for `inspect` to find."""
    seen: list[object] = []
    while "__signature__" not in vars(function) and function not in seen:
        if "__wrapped__" not in vars(function):
            return function.__code__
        seen.append(function)
        wrapped: object = vars(function)["__wrapped__"]
        if not isinstance(wrapped, FunctionType):
            return None
        function = wrapped
    return None
