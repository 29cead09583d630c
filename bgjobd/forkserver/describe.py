"""What the approved classes offer: which exist, which methods may be called, and with what parameters; as data.

Runs in a throw-away child of the fork server, so that what it imports does not weigh on every attempt.
"""

from __future__ import annotations

import enum
import hashlib
import inspect
import json
import os
import sys
import traceback
import types
import warnings
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from .class_rules import (
    HOOKS,
    attributes,
    constructor_contexts,
    context_names,
    has_bare_context,
    hints,
    own_functions,
    own_parameters,
    takes_a_value,
    takes_whole_mapping,
    why_unavailable,
)
from .error_texts import text_of
from .module_rules import is_by_place, own_functions_of, own_tasks, try_caller
from .parameters import adapter, foreign_names, needs_coercion
from .secret_schemas import holds_secret, secret_names

Description = dict[str, Any]

_LONGEST_REASON = 2000
_LONGEST_TEXT = 64 * 1024
"""Characters: a reason is told to each caller, and all texts to who asks for the classes."""


def describe_or_tell_why(approved: Any, listed: list[str] | None) -> Description:
    """The class or module as data; where it cannot be described, it is unavailable."""
    try:
        return describe(approved, listed)
    except BaseException as error:  # an annotation may as well call sys.exit
        reason = f"it cannot be described: {type(error).__name__}: {text_of(error)}"
        return unavailable(reason, traceback.format_exc())


def describe(approved: Any, listed: list[str] | None) -> Description:
    """The class, or module, as JSON can hold it; `listed` are the methods to offer, None for all of a class, and for
    none of a module's plain functions; its tasks are offered anyway.

    `doc`; `is_module`; `unavailable` and `traceback`: why it cannot be used, or None; `contexts`: the constructor's
    arguments that get the JobContext; `attributes`: what of ATTRIBUTES it sets; `hooks`: what of HOOKS it defines;
    `written_in`: by the names of methods the class that each was written in; `methods`, each with `doc`, `schema`,
    `whole` (the argument that gets all parameters as one mapping, or None), `contexts`, `coerce` (its values need
    converting), `required`, `names` (None for any), `sensitive` (the names whose values are secrets), `plain` (where
    all others may be too: the names that are not, else None), `integers` (the names of whole numbers), `caller` (of
    one of Django's tasks the module that calls it, else None), `by_place` (its parameters are `args` and `kwargs`),
    `note`: why only names are checked, or None, `bare_context`: whether a parameter looks as if it was meant to get
    the JobContext, and `unconverted`: the parameters that want pydantic where there is none. Raises whatever a
    hostile class raises.
    """
    if type(approved) is types.ModuleType:
        return _as_json(_described_module(approved, listed))
    reason = why_unavailable(approved)
    if reason is not None:
        return unavailable(reason)
    methods = callable_methods(approved)
    offered = {name: one for name, one in methods.items() if listed is None or name in listed}
    return _as_json(
        {
            **_EMPTY,
            "doc": _printable(approved.__doc__)[:_LONGEST_TEXT],
            "contexts": constructor_contexts(approved),
            "attributes": {name: _plain(value) for name, value in attributes(approved).items()},
            "hooks": [name for name in HOOKS if name in own_functions(approved)],
            "written_in": {name: _class_of(function) for name, function in offered.items()},
            "methods": {name: _described_method(function) for name, function in offered.items()},
        }
    )


def _described_module(module: types.ModuleType, listed: list[str] | None) -> Description:
    functions = own_functions_of(module, listed or ())
    methods = {name: _described_method(function) for name, function in functions.items()}
    methods |= {name: _described_task(task) for name, task in own_tasks(module).items()}
    if listed and not (methods or own_functions_of(module, None) or vars(module).keys() & set(listed)):
        # Half of a deploy, as an empty file is; a function of that name which is another module's is a mistake.
        return unavailable(f"it has no functions at all, and those that are listed are {', '.join(listed)}")
    return {
        **_EMPTY,
        "doc": _printable(module.__doc__)[:_LONGEST_TEXT],
        "is_module": True,
        "methods": methods,
    }


def _described_task(task: Any) -> dict[str, Any]:
    """One of Django's: what it calls; its own context, where it takes one, is the first argument."""
    return _described_method(task.func, try_caller(task), [_TASK_CONTEXT] if task.takes_context else [])


_TASK_CONTEXT = "context"


_EMPTY: Description = {
    "doc": "",
    "is_module": False,
    "unavailable": None,
    "traceback": None,
    "contexts": [],
    "attributes": {},
    "hooks": [],
    "written_in": {},
    "methods": {},
}


def unavailable(reason: str, trace: str | None = None) -> Description:
    """A class that cannot be used, and why; of a text that is very long the part that tells most."""
    return {
        **_EMPTY,
        "unavailable": reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}…",
        "traceback": trace if trace is None else trace[-_LONGEST_TEXT:],
    }


def callable_methods(cls: type) -> dict[str, types.FunctionType]:
    """The public plain functions that the class, or an application base of it, defines itself, but for the hooks.

    What is inherited from the standard library, and what was merely assigned, is not among them.
    """
    return {name: function for name, function in own_functions(cls).items() if name not in HOOKS}


def schema_of(parameters: Sequence[inspect.Parameter]) -> dict[str, Any]:
    """A JSON Schema of the parameters by their names: what there is, what is required."""
    if takes_whole_mapping(parameters):
        return {"type": "object"}
    named = [p for p in parameters if takes_a_value(p)]
    return {
        "type": "object",
        "properties": {p.name: {} for p in named},
        "required": [p.name for p in named if p.default is p.empty],
        "additionalProperties": any(p.kind is p.VAR_KEYWORD for p in parameters),
    }


# A class


def _class_of(function: types.FunctionType) -> str:
    """The class that the function was written in, as a typed call submits it."""
    return f"{function.__module__}.{function.__qualname__.rpartition('.')[0]}"


def _plain(value: Any) -> Any:
    """The value, if JSON has it; else the text that shows it, for whoever refuses it."""
    value = value.value if isinstance(value, enum.Enum) else value
    is_plain = type(value) in (str, int, float, bool, types.NoneType)
    is_infinite = isinstance(value, float) and value - value != 0.0
    return value if is_plain and not is_infinite else _printable(repr(value))


# A method


def _described_method(
    function: types.FunctionType, caller: str | None = None, contexts: Sequence[str] = ()
) -> dict[str, Any]:
    """The method; `contexts` are arguments that get one besides those that ask for the JobContext."""
    if is_by_place(function):
        return _described_by_place(function, caller, contexts)
    contexts = [*contexts, *context_names(own_parameters(function), function)]
    parameters = [p for p in own_parameters(function) if p.name not in contexts]
    whole = takes_whole_mapping(parameters) and caller is None
    checked = _checked(function, contexts, parameters, whole)
    schema = checked["schema"]
    takes_any_name = whole or schema.get("additionalProperties") is not False
    return {
        **_described_by_any(function, caller),
        **checked,
        "whole": parameters[0].name if whole else None,
        "contexts": contexts,
        "required": schema.get("required", []),
        "names": None if takes_any_name else list(schema.get("properties", ())),
        "integers": [] if checked["coerce"] or whole else _integers(schema),
        "bare_context": has_bare_context(parameters),
    }


def _checked(
    function: types.FunctionType, contexts: Sequence[str], parameters: list[inspect.Parameter], whole: bool
) -> dict[str, Any]:
    """What values are held against, which of them are secrets, and what is not checked."""
    note = _why_no_pydantic()
    told: dict[str, Any] = {
        "schema": schema_of(parameters),
        "coerce": False,
        "sensitive": [],
        "plain": None,
        "note": note,
        "unconverted": [] if note is None else foreign_names(function, contexts),
    }
    if note is not None:
        return told
    try:
        told["schema"], told["coerce"] = _typed_schema(function, contexts, whole)
        told["sensitive"], told["plain"] = secret_names(told["schema"], whole)
    except Exception as error:
        reason = text_of(error).partition("\n")[0]
        told["note"] = (
            f"its annotations give no schema ({type(error).__name__}: {reason}): only names are checked"
        )
        told["sensitive"], told["plain"] = _secrets_one_by_one(function, parameters)
    return told


def _described_by_any(function: types.FunctionType, caller: str | None) -> dict[str, Any]:
    """What is told however it is called."""
    return {
        "doc": _printable(inspect.getdoc(function))[:_LONGEST_TEXT],
        "caller": caller,
        "by_place": False,
        "bare_context": False,
        "unconverted": [],
    }


def _described_by_place(
    function: types.FunctionType, caller: str | None, contexts: Sequence[str]
) -> dict[str, Any]:
    """A function that is called with `args` and `kwargs`: both are secret where anything in them may be."""
    contexts = [*contexts, *context_names(own_parameters(function), function)]
    parameters = [p for p in own_parameters(function) if p.name not in contexts]
    has_secrets = _why_no_pydantic() is None and any(_may_be_secret(one, function) for one in parameters)
    return {
        **_described_by_any(function, caller),
        "schema": _PLACES,
        "whole": None,
        "contexts": contexts,
        "coerce": False,
        "required": [],
        "names": list(_PLACES["properties"]),
        "sensitive": list(_PLACES["properties"]) if has_secrets else [],
        "plain": None,
        "integers": [],
        "by_place": True,
        "note": "it has parameters without a name: what it is given by `args` and `kwargs` is not checked",
    }


def _may_be_secret(parameter: inspect.Parameter, function: types.FunctionType) -> bool:
    """Whether pydantic keeps the value, or something in it, secret."""
    from pydantic import TypeAdapter

    try:
        schema = TypeAdapter(hints([parameter], function).get(parameter.name, Any)).json_schema()
    except Exception:
        return False  # an annotation that nobody can read
    return holds_secret(schema, schema.get("$defs", {}))


_PLACES: dict[str, Any] = {
    "type": "object",
    "properties": {"args": {"type": "array"}, "kwargs": {"type": "object"}},
    "additionalProperties": False,
}


def _integers(schema: dict[str, Any]) -> list[str]:
    """The parameters that are whole numbers: JSON Schema takes 1.0 for one."""
    return [
        name
        for name, inner in schema.get("properties", {}).items()
        if "integer" in _types_of(inner) and "number" not in _types_of(inner)
    ]


def _types_of(schema: dict[str, Any]) -> set[str]:
    return {str(form.get("type")) for form in (schema, *schema.get("anyOf", ()))}


def _why_no_pydantic() -> str | None:
    try:
        from pydantic import TypeAdapter  # noqa: F401  # the first version that will do has it
    except ModuleNotFoundError:
        return "pydantic is not installed in the application's interpreter: only names are checked"
    except Exception as error:
        return f"pydantic cannot be used ({type(error).__name__}: {text_of(error)}): only names are checked"
    return None


def _typed_schema(
    function: types.FunctionType, contexts: Collection[str], whole: bool
) -> tuple[dict[str, Any], bool]:
    """The schema by pydantic, and whether values that fit it need coercion."""
    validator = adapter(function, contexts, whole)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a default that JSON cannot hold is left out, and that is all
        schema = _as_json(validator.json_schema(mode="validation"))
    if schema.get("type", "object") != "object":
        raise TypeError("its only parameter gets all parameters as one mapping, and is annotated otherwise")
    if _unpacks_keywords(validator.core_schema):
        raise TypeError("pydantic gives no true schema of unpacked keywords")
    return {**schema, "type": "object"}, needs_coercion(function, contexts, validator)


def _unpacks_keywords(core: Any) -> bool:
    """Whether it has **kwargs: Unpack[…], whose schema would hold each extra value against the whole mapping."""
    match core:
        case {"type": "call", "arguments_schema": {"var_kwargs_mode": "unpacked-typed-dict"}}:
            return True
        case {"type": "definitions", "schema": inner}:
            return _unpacks_keywords(inner)
        case _:
            return False


def _secrets_one_by_one(
    function: types.FunctionType, parameters: Sequence[inspect.Parameter]
) -> tuple[list[str], list[str] | None]:
    """As secret_names, of a method whose parameters, taken together, give no schema."""
    everything = {p.name for p in own_parameters(function)}
    found: set[str] = set()
    is_open = False
    for parameter in parameters:
        try:
            schema, _ = _typed_schema(function, everything - {parameter.name}, False)
            names, plain = secret_names(schema, whole=False)
        except Exception:
            # The one that gives no schema; the note tells of it. Keywords of any name may hold anything.
            names, plain = [], [] if _is_typed_keywords(parameter) else None
        found |= set(names)
        is_open = is_open or plain is not None
    return sorted(found), sorted(everything - found) if is_open else None


def _is_typed_keywords(parameter: inspect.Parameter) -> bool:
    return parameter.kind is parameter.VAR_KEYWORD and parameter.annotation is not parameter.empty


# Text


def _as_json(described: dict[str, Any]) -> dict[str, Any]:
    """The same, made of nothing but JSON's types. Raises ValueError or TypeError where that cannot be."""
    text = json.dumps(described, ensure_ascii=False, allow_nan=False).encode()
    plain: dict[str, Any] = json.loads(text)
    return plain


def _printable(text: Any) -> str:
    """The text with what UTF-8 cannot hold replaced; none for what is no text."""
    return text.encode("utf-8", "replace").decode() if isinstance(text, str) else ""


def code_version(digests: Mapping[str, str]) -> str:
    """A short hash of the application's modules, so that an attempt can say which code it ran."""
    return _short_hash(repr(sorted(digests.items())).encode())


def module_digests() -> dict[str, str]:
    """A short hash of the file of each of the application's modules, by the module's name."""
    digests: dict[str, str] = {}
    own = {f"{__package__}.{name}" for name in _OF_DEBUGGING}
    modules: dict[str, Any] = dict(sys.modules)  # which may hold anything
    for name, module in modules.items():
        if name.partition(".")[0] in sys.stdlib_module_names or not issubclass(
            type(module), types.ModuleType
        ):
            continue  # not isinstance: it would ask the object itself
        if name in own:
            continue
        file = vars(module).get("__file__")
        if isinstance(file, str) and os.path.isfile(file):
            with suppress(OSError), open(file, "rb") as source:
                digests[name] = _short_hash(source.read())
    return digests


_OF_DEBUGGING = ("debugging", "debug_steps")
"""What no fork server has, so that a job that is debugged finds the version of the code as attempts do."""


def _short_hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
