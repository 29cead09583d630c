"""From a job's parameters to the arguments of its method, by the method's annotations; what calls it is elsewhere.

A daemon has pydantic convert the values. Here the types that jobs commonly take are converted by hand; all others are
left to it, where it is installed.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections import abc
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from bgjob import codec
from bgjob.class_rules import (
    BARE_CONTEXT,
    context_names,
    has_bare_context,
    hints,
    own_parameters,
    takes_a_value,
    takes_whole_mapping,
)
from bgjob.codec import JsonObject
from bgjob.jobs import JobContext
from bgjob.module_rules import is_by_place
from bgjob.unknown_names import no_parameter


class InvalidParameters(Exception):
    """The parameters do not fit the method's annotations."""


def arguments(
    function: Callable[..., Any], given: JsonObject, context: JobContext, task: Any = None
) -> dict[str, Any]:
    """What to call the method with, or the function of the task. Raises InvalidParameters where a value cannot be what
    its annotation says.
    """
    own = _own_parameters(function, task)
    contexts = context_names(own, function)
    wanted = _hints([p for p in own if p.name not in contexts], function)
    whole = None if task is not None else _try_whole(function, contexts)
    values = given if whole is None else {whole: given}
    taken = {name: _fitted(name, value, wanted.get(name, Any)) for name, value in values.items()}
    return {**taken, **dict.fromkeys(contexts, context)}


def misfits(function: Callable[..., Any], given: JsonObject, task: Any = None) -> list[dict[str, str]]:
    """What names are missing or unknown, as a daemon's InvalidParameters tells it."""
    named = _named(function, task)
    if named is None:
        return []
    own = _own_parameters(function, task)
    missing = [name for name, p in named.items() if p.default is p.empty and name not in given]
    told = [f'"{name}" is a required property' for name in missing]
    unknown = [name for name in given if name not in named]
    if unknown and not _takes_any(own):
        told.append(no_parameter(unknown, named))
    problems = [{"path": "", "message": message} for message in told]
    if problems and "context" not in given and has_bare_context(own):
        problems.append({"path": "context", "message": BARE_CONTEXT})
    return problems


def not_to_be_taken(
    function: Callable[..., Any], taken: Iterable[str], given: JsonObject, task: Any = None
) -> list[dict[str, str]]:
    """Which names of parameters that come from results there are not, or are given as well, in a daemon's words."""
    named, names = _named(function, task), sorted(taken)
    is_any = named is None or _takes_any(_own_parameters(function, task))
    unknown = [] if is_any else [name for name in names if name not in (named or {})]
    wrong = [(name, "is to be taken, and there is no such parameter") for name in unknown]
    wrong += [(name, "is to be taken from a result, and is given, too") for name in names if name in given]
    return [{"path": name, "message": message} for name, message in wrong]


def _named(function: Callable[..., Any], task: Any) -> dict[str, inspect.Parameter] | None:
    """The parameters that take a value by name; None where all are taken as they come."""
    if is_by_place(function):
        return None
    own = _own_parameters(function, task)
    contexts = context_names(own, function)
    if task is None and _try_whole(function, contexts) is not None:
        return None
    return {p.name: p for p in own if takes_a_value(p) and p.name not in contexts}


def _takes_any(own: Iterable[inspect.Parameter]) -> bool:
    """Whether it takes names that it has not."""
    return any(p.kind is p.VAR_KEYWORD for p in own)


def _own_parameters(function: Callable[..., Any], task: Any) -> list[inspect.Parameter]:
    """The parameters, but for the context of a task that takes one."""
    return own_parameters(function)[1 if task is not None and task.takes_context else 0 :]


def _try_whole(function: Callable[..., Any], contexts: Collection[str]) -> str | None:
    """The only parameter, where it takes all parameters as one mapping, rather than as keywords."""
    own = [p for p in own_parameters(function) if p.name not in contexts]
    return own[0].name if takes_whole_mapping(own) else None


def _hints(parameters: Sequence[inspect.Parameter], function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of these parameters alone, evaluated; none where nobody can read one of them."""
    try:
        return hints(parameters, function, with_extras=False)
    except Exception:
        return {}  # pydantic gives up on all of the method, too


def _choices(hint: Any) -> list[Any]:
    """The types of a union, None not counted; any other type alone."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [one for one in typing.get_args(hint) if one is not type(None)]
    return [hint]


# Values


_MISFIT: Final = (TypeError, ValueError, ArithmeticError)


def _fitted(name: str, value: Any, hint: Any) -> Any:
    try:
        return _converted(value, hint)
    except _MISFIT as error:
        raise InvalidParameters(f"{name}: {error}") from None


def _converted(value: Any, hint: Any) -> Any:
    """The value as its annotation wants it, for the types that jobs commonly take; others get what JSON has."""
    if value is None:
        return None
    choices = _choices(hint)
    if len(choices) > 1:
        return _first_that_fits(value, choices)
    (wanted,) = choices
    if isinstance(wanted, typing.NewType):
        return _converted(value, wanted.__supertype__)
    made = typing.get_origin(wanted) or wanted
    items = typing.get_args(wanted)
    if isinstance(value, list) and made in _LISTS:
        return _LISTS[made](_converted_items(value, made, items))
    if isinstance(value, dict) and made in _MAPPINGS and items:
        return {_key(name, items[0]): _converted(one, items[1]) for name, one in value.items()}
    if made is typing.Literal:
        return _by_pydantic(value, wanted)
    return _as_type(value, wanted) if isinstance(wanted, type) and not items else value


_LISTS: Final[Mapping[Any, Callable[[Iterable[Any]], Any]]] = {
    list: list,
    set: set,
    frozenset: frozenset,
    tuple: tuple,
    abc.Sequence: list,
    abc.Iterable: list,
    abc.Set: set,
}
_MAPPINGS: Final = (dict, abc.Mapping, abc.MutableMapping)


def _converted_items(value: Sequence[Any], made: Any, items: tuple[Any, ...]) -> list[Any]:
    if made is tuple and Ellipsis not in items and items:
        return [_converted(one, item) for one, item in zip(value, items, strict=True)]
    return [_converted(one, items[0]) if items else one for one in value]


def _key(name: str, wanted: Any) -> Any:
    if wanted is bool:
        return {"true": True, "false": False}.get(name, name)
    return wanted(name) if wanted in (int, float) else _converted(name, wanted)


def _first_that_fits(value: Any, choices: Iterable[Any]) -> Any:
    for choice in choices:
        try:
            return _converted(value, choice)
        except _MISFIT:
            continue
    raise ValueError(f"{value!r} fits none of the annotated types")


def _number(value: Any) -> Decimal:
    number = Decimal(str(value))
    if not number.is_finite():
        raise ValueError(f"{value} is no finite number")
    return number


_FROM_JSON: Final[Mapping[type, Callable[[Any], Any]]] = {
    date: date.fromisoformat,
    datetime: datetime.fromisoformat,
    time: time.fromisoformat,
    Decimal: _number,
    UUID: UUID,
    Path: Path,
    bytes: lambda value: value.encode(),
    int: lambda value: int(value) if isinstance(value, float) and value.is_integer() else value,
}


def _as_type(value: Any, wanted: type) -> Any:
    if wanted in _FROM_JSON:
        return _FROM_JSON[wanted](value)
    if issubclass(wanted, Enum):
        return wanted(value)
    is_pydantics = hasattr(wanted, "__get_pydantic_core_schema__")
    if dataclasses.is_dataclass(wanted) and isinstance(value, dict) and not is_pydantics:
        return _as_dataclass(value, wanted)
    return value if wanted in _OF_JSON else _by_pydantic(value, wanted)


_OF_JSON: Final = (str, float, bool, list, dict, tuple, object)


def _as_dataclass(value: dict[str, Any], wanted: Any) -> Any:
    own = typing.get_type_hints(wanted)
    made_later = {field.name for field in dataclasses.fields(wanted) if not field.init}
    given = {name: one for name, one in value.items() if name not in made_later}
    return wanted(**{name: _converted(one, own.get(name, Any)) for name, one in given.items()})


def _by_pydantic(value: Any, wanted: Any) -> Any:
    """As a daemon's fork server, which has the application's own. What it cannot make is left as JSON has it."""
    try:
        from pydantic import TypeAdapter

        adapter = TypeAdapter(wanted)
    except Exception:  # whatever an annotation may raise; a daemon converts nothing of the method then
        return value
    return adapter.validate_json(codec.to_json(value))
