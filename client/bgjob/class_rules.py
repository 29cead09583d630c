"""What of a class may run: its methods and hooks, which parameters there are, which of them get the JobContext.

One file for fork servers and for the client: bgjobd/forkserver has a link to it, for a fork server runs under the
application's interpreter, where bgjob may be of another version. Standard library only, and nothing is called here.
"""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

HOOKS = ("retry_delay", "failed")
BARE_CONTEXT = (
    "nobody gives it by itself; annotated as `context: bgjob.JobContext` it would get the attempt's"
)
"""What is told of a parameter that looks as if it was meant for the JobContext, and is one of the caller's."""

ATTRIBUTES = ("MAX_RETRIES", "RETRY_DELAY", "BACKOFF", "MAX_RETRY_DELAY")


# A class


def why_unavailable(cls: Any) -> str | None:
    """Why no attempt can make an object of it; None where one can."""
    if not isinstance(cls, type):
        return "it is no class"
    if inspect.isabstract(cls) or getattr(cls, "_is_protocol", False):
        return "it is abstract: it has methods that a subclass is to write"
    given = constructor_contexts(cls)
    needed = [
        p.name
        for p in _constructor_parameters(cls)
        if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and p.name not in given
    ]
    told = f": {BARE_CONTEXT}" if has_bare_context(_constructor_parameters(cls)) else ""
    return f"its constructor needs {', '.join(needed)}{told}" if needed else None


def constructor_contexts(cls: type) -> list[str]:
    """The constructor's arguments that get the JobContext."""
    makers = (vars(base).get(name) for base in cls.__mro__ for name in ("__init__", "__new__"))
    functions = (getattr(maker, "__func__", maker) for maker in makers)  # `__new__` is a static method
    written = next((function for function in functions if isinstance(function, types.FunctionType)), None)
    return context_names(_constructor_parameters(cls), written or cls)


def own_functions(cls: type) -> dict[str, types.FunctionType]:
    """The public plain functions that the class, or an application base of it, defines itself; hooks among them."""
    functions: dict[str, types.FunctionType] = {}
    for base in reversed(cls.__mro__):
        if not _is_of_application(base, cls):
            continue
        for name, member in vars(base).items():
            functions.pop(name, None)
            if isinstance(member, types.FunctionType) and _is_defined_in(member, base, name):
                functions[name] = member
    return functions


def attributes(cls: type) -> dict[str, Any]:
    """What of ATTRIBUTES the class, or an application base of it, sets."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if _is_of_application(base, cls):
            found |= {name: vars(base)[name] for name in ATTRIBUTES if name in vars(base)}
    return found


def _constructor_parameters(cls: type) -> list[inspect.Parameter]:
    try:
        return list(signature(cls).parameters.values())
    except (TypeError, ValueError):
        return []  # one of C's that tells nothing


def _is_of_application(base: type, cls: type) -> bool:
    """Whether a base belongs to the application rather than to Python or to a library that it uses.

    An application may be installed like a library; then what has its top-level name is its own.
    """
    top = base.__module__.partition(".")[0]
    if top in sys.stdlib_module_names:
        return False
    return top == cls.__module__.partition(".")[0] or not _is_installed(sys.modules.get(base.__module__))


def _is_installed(module: Any) -> bool:
    import site  # both only for whoever describes classes, not for each attempt
    import sysconfig

    places = {sysconfig.get_path(name) for name in ("purelib", "platlib")} | set(site.getsitepackages())
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and any(file.startswith(f"{place}/") for place in places)


def _is_defined_in(function: types.FunctionType, cls: type, name: str) -> bool:
    is_own = function.__module__ == cls.__module__ and function.__qualname__ == f"{cls.__qualname__}.{name}"
    return is_own and not name.startswith("_") and not _needs_positions(function)


def _needs_positions(function: types.FunctionType) -> bool:
    """Whether a parameter behind `self` can't be given by name."""
    parameters = list(signature(function).parameters.values())
    has_self = bool(parameters) and parameters[0].kind in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    )
    return not has_self or any(p.kind is p.POSITIONAL_ONLY and p.default is p.empty for p in parameters[1:])


# Parameters


def own_parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters; of a method those behind `self`."""
    parameters = list(signature(function).parameters.values())
    return parameters[1:] if "." in function.__qualname__ else parameters


def signature(function: Callable[..., Any]) -> inspect.Signature:
    """Its signature, even where only type checkers know a name that it mentions."""
    if sys.version_info >= (3, 14):
        form = sys.modules["annotationlib"].Format.FORWARDREF  # inspect has imported it
        return inspect.signature(function, annotation_format=form)
    return inspect.signature(function)


def takes_a_value(parameter: inspect.Parameter) -> bool:
    """Whether it takes one value, which can be given by name."""
    return parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)


def takes_whole_mapping(parameters: Sequence[inspect.Parameter]) -> bool:
    """Whether the method takes `parameters` as one mapping, rather than as keywords."""
    return (
        len(parameters) == 1
        and takes_a_value(parameters[0])
        and parameters[0].name in ("params", "parameters")
    )


def context_names(parameters: Sequence[inspect.Parameter], function: Callable[..., Any]) -> list[str]:
    """Those of the parameters, written where `function` was, that are to get the JobContext."""
    return [p.name for p in parameters if takes_a_value(p) and _asks_for_context(p, function)]


def has_bare_context(parameters: Sequence[inspect.Parameter]) -> bool:
    """Whether one is called context, and no annotation says what it is."""
    return any(p.name == "context" and p.annotation is p.empty and takes_a_value(p) for p in parameters)


def hints(
    parameters: Sequence[inspect.Parameter], function: Callable[..., Any], with_extras: bool = True
) -> dict[str, Any]:
    """The annotations of these parameters alone, evaluated: what the method returns need not make sense here.

    Raises whatever the evaluation of one raises.
    """
    annotations = {p.name: p.annotation for p in parameters if p.annotation is not p.empty}
    return typing.get_type_hints(
        types.SimpleNamespace(__annotations__=annotations),
        globalns=getattr(inspect.unwrap(function), "__globals__", {}),
        include_extras=with_extras,
    )


def _asks_for_context(parameter: inspect.Parameter, function: Callable[..., Any]) -> bool:
    try:
        hint = hints([parameter], function).get(parameter.name)
    except Exception:
        return False  # an annotation that nobody can read; the method's note will say so
    jobs = sys.modules.get("bgjob.jobs")  # not imported by anybody: not asked for
    if jobs is None:
        return False
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    wanted = [h for h in typing.get_args(hint) if h is not types.NoneType] if is_union else [hint]
    return len(wanted) == 1 and wanted[0] is jobs.JobContext
