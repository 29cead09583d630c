"""Values that JSON has not, in the form in which pydantic writes them, such as dates; no I/O here.

Nobody imports anything for it: who has a date has imported `datetime`, so a value is known by the names of its classes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
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


class _TooDeepError(_PlacedError):
    """It is nested too deeply, and looked at no further: what holds itself would branch at each level."""


class _Unordered(list[Any]):
    """What a set consists of, of which some could be in no set."""


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if depth > MAX_DEPTH:
        raise _TooDeepError
    if isinstance(value, dict):
        keys = _keys(value, depth)
        return dict(zip(keys, _plain_parts(keys, value.values(), depth + 1), strict=True))
    if isinstance(value, set | frozenset | _Unordered):
        # In an order of its own: the same set is the same request in each process.
        return sorted(_plain_parts(range(len(value)), value, depth + 1), key=repr)
    if isinstance(value, list | tuple):
        return _plain_parts(range(len(value)), value, depth + 1)
    return _plain(_form_of(value), depth)


def _plain_parts(names: Iterable[Any], parts: Iterable[Any], depth: int) -> list[Any]:
    told = []
    for name, part in zip(names, parts, strict=True):
        try:
            try:
                told.append(_plain(part, depth))
            except _PlacedError:
                raise
            except Exception as error:  # whatever the value's own class raises
                raise _formless(part, why=f"{type(error).__name__}: {error}") from None
        except _PlacedError as error:
            error.steps.append(_written_key(name))
            raise
    return told


def _keys(value: dict[Any, Any], depth: int) -> list[Any]:
    keys = [_key(name, depth) for name in value]
    if len({_written_key(key) for key in keys}) < len(keys):
        raise _FormlessError("two keys are written alike")
    return keys


def _key(name: Any, depth: int) -> Any:
    form = name if isinstance(name, str) else _plain(name, depth)
    if isinstance(form, list | dict):
        raise _formless(name, "a key")
    return form


def _written_key(key: Any) -> str:
    """As JSON has it."""
    return key if isinstance(key, str) else "null" if key is None else str(key).lower()


# Forms


def _form_of(value: Any) -> Any:
    """What stands for it, which may itself have to be made plain."""
    for cls in type(value).__mro__:
        form = _FORMS.get(_name_of(cls))
        if form is not None:
            return form(value)
    if _is_secret(value):
        return _told(value)
    if hasattr(type(value), "__pydantic_serializer__"):
        return _written(value)
    if _is_dataclass(value):
        return _fields_of(value)
    raise _formless(value)


def _formless(value: Any, what: str = "a value", why: str = "") -> _FormlessError:
    told = f"JSON has no form for {what} of type {_name_of(type(value))}"
    return _FormlessError(f"{told}: {why.splitlines()[0]}" if why else told)


def _is_dataclass(value: Any) -> bool:
    return hasattr(type(value), "__dataclass_fields__")


def _fields_of(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in sys.modules["dataclasses"].fields(value)}


def _member(value: Any) -> Any:
    own = value.value
    if own is None or isinstance(own, str | int | float):
        return own
    raise _formless(value, why=f"its value, of type {_name_of(type(own))}, is not read again")


def _number(value: Any) -> str:
    if not value.is_finite():
        raise _formless(value, why=f"it is {value}")
    return str(value)


def _instant(value: Any) -> str:
    text = _SECONDS_OF_OFFSET.sub("", value.isoformat())
    return f"{text.removesuffix('+00:00')}Z" if text.endswith("+00:00") else text


def _span(value: Any) -> str:
    """In ISO 8601, years being 365 days."""
    rest, least = divmod(abs((value.days * 86400 + value.seconds) * 10**6 + value.microseconds), 10**6)
    minutes, seconds = divmod(rest, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    years, days = divmod(days, 365)
    precise = f"{seconds}.{least:06}".rstrip("0").removesuffix(".") if least else seconds
    date = "".join(f"{count}{unit}" for count, unit in ((years, "Y"), (days, "D")) if count)
    time = "".join(
        f"{count}{unit}" for count, unit in ((hours, "H"), (minutes, "M"), (precise, "S")) if count
    )
    if not date and not time:
        return "PT0S"
    return f"{'-' if value.days < 0 else ''}P{date}{'T' if time else ''}{time}"


def _told(secret: Any) -> Any:
    told = secret.get_secret_value()
    try:
        return told.decode() if isinstance(told, bytes) else told
    except UnicodeDecodeError:
        raise _formless(secret, why="it is no UTF-8") from None


_SECONDS_OF_OFFSET: Final = re.compile(r"(?<=[+-]\d\d:\d\d):[\d.]+$")
"""What zones had before there were any; pydantic leaves them out."""

_FORMS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "datetime.datetime": _instant,
    "datetime.date": lambda value: value.isoformat(),
    "datetime.time": _instant,
    "datetime.timedelta": _span,
    "decimal.Decimal": _number,
    "enum.Enum": _member,
    "ipaddress.IPv4Address": str,
    "ipaddress.IPv4Network": str,
    "ipaddress.IPv6Address": str,
    "ipaddress.IPv6Network": str,
    "pathlib.PurePath": str,
    "uuid.UUID": str,
}


def _name_of(cls: type) -> str:
    """By its package, for its module is Python's own affair."""
    package = cls.__module__.partition(".")[0]
    return cls.__qualname__ if package == "builtins" else f"{package}.{cls.__qualname__}"


# What pydantic writes


def _written(value: Any) -> Any:
    """A model, or a dataclass of pydantic's, as pydantic reads it again, but secrets are told, and sets in order."""
    write = value.__pydantic_serializer__.to_python
    told = write(value, mode="json", by_alias=True, round_trip=True)
    try:
        return _mended(told, value)
    except _MisplacedError:
        raise _formless(value, "the secrets of a value") from None


class _MisplacedError(Exception):
    """A mask is where no secret is held, so whose it is cannot be told."""


def _mended(told: Any, held: Any) -> Any:
    """What was told of what is held. A secret in a form of the application's own keeps that."""
    if getattr(type(held), "__pydantic_root_model__", False):
        return _mended(told, held.root)
    if _is_secret(held):
        return held if told in (_MASK, str(held)) else told
    parts = _parts(held)
    if isinstance(parts, dict) and isinstance(told, dict):
        if _has_mask({name: one for name, one in told.items() if name not in parts}):
            raise _MisplacedError
        return {name: _mended(one, parts.get(name)) for name, one in told.items()}
    if isinstance(parts, list) and isinstance(told, list) and len(told) == len(parts):
        mended = [_mended(one, own) for one, own in zip(told, parts, strict=True)]
        return _Unordered(mended) if isinstance(held, Set) else mended
    if parts is not None and _has_mask(told):
        raise _MisplacedError
    return told


def _parts(held: Any) -> dict[str, Any] | list[Any] | None:
    """What it consists of, by the names that are written, or in order; None where it is one piece."""
    if isinstance(held, dict):
        return dict(zip(map(_written_key, _keys(held, 0)), held.values(), strict=True))
    if isinstance(held, Sequence | Set) and not isinstance(held, str | bytes):
        return list(held)
    fields = getattr(type(held), "__pydantic_fields__", None)
    if isinstance(fields, dict):
        own = {one.serialization_alias or name: getattr(held, name, None) for name, one in fields.items()}
        return own | (getattr(held, "__pydantic_extra__", None) or {})
    return _fields_of(held) if _is_dataclass(held) else None


def _has_mask(told: Any) -> bool:
    if isinstance(told, dict):
        return any(map(_has_mask, (*told, *told.values())))
    if isinstance(told, list):
        return any(map(_has_mask, told))
    return isinstance(told, str) and _MASK in told


def _is_secret(value: Any) -> bool:
    return hasattr(type(value), "get_secret_value")


_MASK: Final = "*" * 10
"""What pydantic writes for a secret; a class of its own may write its `str`."""
