"""Values that JSON has not, in the form in which pydantic writes them, such as dates; no I/O here.

Nobody imports anything for it: who has a date has imported `datetime`, so a value is known by the names of its classes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from bgjob.errors import InvalidParametersError
from bgjob.words import MAX_DEPTH

TOO_DEEP: Final = f"it is nested deeper than {MAX_DEPTH} levels"


def plain(value: Any) -> Any:
    """The same of JSON's own types alone. Raises TypeError, which begins with the place, where there is no form, and
    InvalidParametersError where it is nested too deeply, as what holds itself is.
    """
    try:
        return _plain(value, 0)
    except _FormlessError as error:
        raise TypeError(f"{error.place}: {error}") from None
    except _TooDeepError as error:
        raise InvalidParametersError(problems=[{"path": error.place, "message": TOO_DEEP}]) from None


class _PlacedError(Exception):
    """What is wrong with a value; `steps` lead to it, the last one first."""

    def __init__(self, told: str = "") -> None:
        self.steps: list[str] = []
        super().__init__(told)

    @property
    def place(self) -> str:
        return ".".join(reversed(self.steps)).removeprefix("parameters.")


class _FormlessError(_PlacedError):
    """It has no form."""

    def __init__(self, value: Any, what: str = "a value") -> None:
        super().__init__(f"JSON has no form for {what} of type {_name_of(type(value))}")


class _TooDeepError(_PlacedError):
    """It is nested too deeply, and looked at no further: what holds itself would branch at each level."""


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if depth > MAX_DEPTH:
        raise _TooDeepError
    if isinstance(value, dict):
        return _plain_parts(value.items(), depth + 1)
    if isinstance(value, list | tuple):
        return list(_plain_parts(enumerate(value), depth + 1).values())
    if isinstance(
        value, set | frozenset
    ):  # in an order of its own: the same one is the same request everywhere
        return sorted(_plain_parts(enumerate(value), depth + 1).values(), key=repr)
    return _plain(_form_of(value), depth)


def _plain_parts(parts: Iterable[tuple[Any, Any]], depth: int) -> dict[Any, Any]:
    told: dict[Any, Any] = {}
    for name, part in parts:
        key = _key(name, depth)
        try:
            told[key] = _plain(part, depth)
        except _PlacedError as error:
            error.steps.append(str(key))
            raise
    return told


def _key(name: Any, depth: int) -> Any:
    form = name if isinstance(name, str) else _plain(name, depth)
    if isinstance(form, list | dict):
        raise _FormlessError(name, "a key")
    return form


# Forms


def _form_of(value: Any) -> Any:
    """What stands for it, which may itself have to be made plain."""
    for cls in type(value).__mro__:
        form = _FORMS.get(_name_of(cls))
        if form is not None:
            return form(value)
    if _is_secret(value):
        return value.get_secret_value()
    if hasattr(type(value), "__pydantic_serializer__"):
        return _written(value)
    if hasattr(type(value), "__dataclass_fields__"):
        return {field.name: getattr(value, field.name) for field in sys.modules["dataclasses"].fields(value)}
    raise _FormlessError(value)


def _instant(value: Any) -> str:
    text: str = value.isoformat()
    return f"{text.removesuffix('+00:00')}Z" if text.endswith("+00:00") else text


_FORMS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "datetime.datetime": _instant,
    "datetime.date": lambda value: value.isoformat(),
    "datetime.time": _instant,
    "decimal.Decimal": str,
    "enum.Enum": lambda value: value.value,
    "pathlib.PurePath": str,
    "uuid.UUID": str,
}


def _name_of(cls: type) -> str:
    """By its package, for its module is Python's own affair."""
    package = cls.__module__.partition(".")[0]
    return cls.__qualname__ if package == "builtins" else f"{package}.{cls.__qualname__}"


# What pydantic writes


def _written(value: Any) -> Any:
    """A model, or a dataclass of pydantic's, as pydantic reads it again, but for secrets, which are told."""
    write = value.__pydantic_serializer__.to_python
    try:
        told = write(value, mode="json", by_alias=True, round_trip=True)
        held = write(value, mode="python", by_alias=True, round_trip=True, warnings=False)
    except ValueError:
        raise _FormlessError(value) from None  # for something in it
    return _unmasked(told, held)


def _unmasked(told: Any, held: Any) -> Any:
    """What was told, with the secrets of what is held in their places."""
    if _is_secret(held) or (isinstance(held, set | frozenset) and any(map(_is_secret, held))):
        return held
    if isinstance(held, dict) and isinstance(told, dict):
        parts = zip(told.items(), held.values(), strict=False)
        return told | {name: _unmasked(one, own) for (name, one), own in parts}
    if isinstance(held, list | tuple) and isinstance(told, list):
        return [_unmasked(one, own) for one, own in zip(told, held, strict=False)]
    return told


def _is_secret(value: Any) -> bool:
    return hasattr(type(value), "get_secret_value")
