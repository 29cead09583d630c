"""A method's parameters as its annotations tell them: which get the JobContext, and, by pydantic, their schema and
their values. Pydantic is imported inside functions only, for most attempts do without.
"""

from __future__ import annotations

import inspect
import json
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .class_rules import hints, own_parameters, takes_a_value
from .outcomes import InvalidParameters

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

_MAX_PROBLEMS = 20
_OF_JSON = (str, int, float, bool, types.NoneType, list, dict)

# What makes pydantic change a value that fits the schema, wherever it stands in its own description of a type.
_CHANGES = {"strip_whitespace", "to_lower", "to_upper", "coerce_numbers_to_str", "alias", "validation_alias"}


def adapter(function: Callable[..., Any], contexts: Collection[str], whole: bool) -> TypeAdapter[Any]:
    """What tells the schema of the parameters and validates them: into a dict of keywords, or, for a method that takes
    the whole mapping, into what that parameter's annotation says.

    Raises whatever pydantic, or the evaluation of an annotation, raises.
    """
    from pydantic import TypeAdapter

    parameters = _named(function, contexts)
    evaluated = hints(parameters, function)
    if whole:
        return TypeAdapter(evaluated.get(parameters[0].name, Any))
    return TypeAdapter(_stand_in(parameters, evaluated))


def needs_coercion(
    function: Callable[..., Any], contexts: Collection[str], validator: TypeAdapter[Any]
) -> bool:
    """Whether a value that fits the schema may still not be what the method expects: a date that is text, a default
    that only pydantic knows. `told` is the method's adapter."""
    defaults = {p.name: p.default for p in _named(function, contexts)}
    return not _is_native(validator.core_schema, defaults)


def foreign_names(function: Callable[..., Any], contexts: Collection[str]) -> list[str]:
    """The parameters whose annotations ask for what JSON has not, such as a date; what nobody can read asks nothing."""
    return [p.name for p in _named(function, contexts) if not _is_of_json(_hint_of(p, function))]


def _hint_of(parameter: inspect.Parameter, function: Callable[..., Any]) -> Any:
    try:
        return hints([parameter], function, with_extras=False).get(parameter.name, Any)
    except Exception:
        return Any


def _is_of_json(hint: Any, within: tuple[Any, ...] = ()) -> bool:
    """Whether a value of JSON's can be of this type, and those in it of theirs; `within` is what this stands in, for a
    type may be part of itself.
    """
    made = typing.get_origin(hint) or hint
    if made in (Any, typing.Literal) or hint in within:
        return True
    try:
        is_form = made is types.UnionType or not isinstance(made, type)
        is_own = is_form or any(issubclass(one, made) for one in _OF_JSON)
    except TypeError:
        is_own = True  # a protocol, or a dict with keys of its own
    parts = [*typing.get_args(hint), *_parts_of(made)]
    return is_own and all(_is_of_json(part, (*within, hint)) for part in parts)


def _parts_of(made: Any) -> list[Any]:
    """What a NewType is of, what a TypeVar may be, or the types of a TypedDict's keys."""
    if isinstance(made, typing.NewType):
        return [made.__supertype__]
    if isinstance(made, typing.TypeVar):
        return list(made.__constraints__) if made.__bound__ is None else [made.__bound__]
    if not hasattr(made, "__required_keys__"):
        return []
    try:
        return list(typing.get_type_hints(made).values())
    except Exception:
        return []


def coerced(validator: TypeAdapter[Any], values: Mapping[str, Any]) -> Any:
    """The values as the annotations want them: a dict of keywords, or what a parameter for all of them gets;
    `validator` is the method's adapter.

    Raises InvalidParameters, whose text names fields and reasons and shows no value.
    """
    from pydantic import ValidationError

    try:
        # As JSON, not as Python objects: there a type marked strict still takes the text of a date.
        return validator.validate_json(json.dumps(values))
    except ValidationError as error:
        problems = _problems(error)
    # Outside of the `except`: the original error shows the values.
    raise InvalidParameters(problems)


def _named(function: Callable[..., Any], contexts: Collection[str]) -> list[inspect.Parameter]:
    return [
        p
        for p in own_parameters(function)
        if (takes_a_value(p) or p.kind is p.VAR_KEYWORD) and p.name not in contexts
    ]


def _stand_in(parameters: Sequence[inspect.Parameter], hints: Mapping[str, Any]) -> Any:
    """A function with these parameters, all by keyword, that answers what it is given."""

    def stand_in(**given: Any) -> dict[str, Any]:
        return given

    keywords = [
        p.replace(kind=p.KEYWORD_ONLY if takes_a_value(p) else p.kind, annotation=hints.get(p.name, p.empty))
        for p in parameters
    ]
    stand_in.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]  # inspect looks there
    stand_in.__annotations__ = dict(hints)
    return stand_in


def _is_native(core: Any, defaults: Mapping[str, Any]) -> bool:
    """Whether JSON's own types fill this type of pydantic's; one that is not listed counts as foreign."""
    if not _CHANGES.isdisjoint(core):
        return False
    match core:
        case {"type": "call", "arguments_schema": {"arguments_schema": arguments} as all_arguments}:
            rest = all_arguments.get("var_kwargs_schema", {"type": "any"})
            return _is_native(rest, {}) and all(_is_native_argument(one, defaults) for one in arguments)
        case {"type": "any" | "none" | "bool" | "int" | "float" | "str" | "definition-ref"}:
            return True
        case {"type": "literal", "expected": expected}:
            return all(type(value) in (str, int, bool, types.NoneType) for value in expected)
        case {"type": "nullable", "schema": inner}:
            return _is_native(inner, {})
        case {"type": "list"}:
            return _is_native(core.get("items_schema", {"type": "any"}), {})
        case {"type": "dict"}:
            has_text_keys = core.get("keys_schema", {"type": "any"})["type"] in ("any", "str")
            return has_text_keys and _is_native(core.get("values_schema", {"type": "any"}), {})
        case {"type": "union", "choices": choices} if core.get("mode") != "left_to_right":
            return all(isinstance(choice, dict) and _is_native(choice, {}) for choice in choices)
        case {"type": "typed-dict", "fields": fields} if set(core.get("config", {})) <= {"title"}:
            return all(
                _CHANGES.isdisjoint(field) and _is_native(field["schema"], {}) for field in fields.values()
            )
        case {"type": "definitions", "schema": inner, "definitions": definitions}:
            return _is_native(inner, defaults) and all(_is_native(one, {}) for one in definitions)
        case _:
            return False


def _is_native_argument(argument: Any, defaults: Mapping[str, Any]) -> bool:
    core = argument["schema"]
    if core["type"] == "default":
        if core.get("default", inspect.Parameter.empty) is not defaults[argument["name"]]:
            return False  # Field(default=…): pydantic has to fill it in
        core = core["schema"]
    return _CHANGES.isdisjoint(argument) and _is_native(core, {})


def _problems(error: ValidationError) -> str:
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    problems = [_problem(one["loc"], one["msg"]) for one in errors[:_MAX_PROBLEMS]]
    if len(errors) > _MAX_PROBLEMS:
        problems.append(f"and {len(errors) - _MAX_PROBLEMS} more")
    return "; ".join(problems)


def _problem(place: tuple[int | str, ...], message: str) -> str:
    field = ".".join(str(step) for step in place)
    return f"{field}: {message}" if field else message
