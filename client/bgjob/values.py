"""Values that JSON has not, in the form in which pydantic writes them, such as dates; no I/O here.

Nobody imports anything for it: who has a date has imported `datetime`, so a value is known by the names of its classes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
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
        return _told(value)
    if hasattr(type(value), "__pydantic_serializer__"):
        return _written(value)
    if hasattr(type(value), "__dataclass_fields__"):
        return {field.name: getattr(value, field.name) for field in sys.modules["dataclasses"].fields(value)}
    raise _FormlessError(value)


def _instant(value: Any) -> str:
    text: str = value.isoformat()
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
        raise _FormlessError(secret) from None


_FORMS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "datetime.datetime": _instant,
    "datetime.date": lambda value: value.isoformat(),
    "datetime.time": _instant,
    "datetime.timedelta": _span,
    "decimal.Decimal": str,
    "enum.Enum": lambda value: value.value,
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
    """A model, or a dataclass of pydantic's, as pydantic reads it again, but for secrets, which are told."""
    write = value.__pydantic_serializer__.to_python
    try:
        told = write(value, mode="json", by_alias=True, round_trip=True)
        held = write(value, mode="python", by_alias=True, round_trip=True, warnings=False)
    except ValueError:
        raise _FormlessError(value) from None  # for something in it
    try:
        return _unmasked(told, held)
    except _MisplacedError:
        raise _FormlessError(value, "the secrets of a value") from None


class _MisplacedError(Exception):
    """A secret is held in a place that is not written, so which of the masks are its own cannot be told."""


def _unmasked(told: Any, held: Any) -> Any:
    """What was told, with the secrets of what is held instead of their masks; one in a form of its own keeps that."""
    if _is_secret(held):
        return held if _is_mask(told, held) else told
    if not _has_secret(held):
        return told
    if isinstance(held, dict) and isinstance(told, dict):
        return _unmasked_by_name(told, held)
    if isinstance(held, Sequence) and isinstance(told, list) and len(told) == len(held):
        return [_unmasked(one, own) for one, own in zip(told, held, strict=True)]
    if isinstance(held, Set) and isinstance(told, list) and any(map(_is_secret, held)):
        return held if any(_is_mask(one, own) for one in told for own in held) else told
    raise _MisplacedError


def _unmasked_by_name(told: dict[str, Any], held: dict[Any, Any]) -> dict[str, Any]:
    """By the names that are written: a serializer of the application's may write more, and in another order."""
    own = {str(_key(name, 0)): one for name, one in held.items()}
    is_lost = any(name not in told and _has_secret(one) for name, one in own.items())
    if is_lost or len(own) < len(held) or any(map(_is_secret, held)):
        raise _MisplacedError
    return {name: _unmasked(one, own.get(name)) for name, one in told.items()}


def _is_mask(told: Any, held: Any) -> bool:
    return _is_secret(held) and told in (_MASK, str(held))


def _has_secret(held: Any) -> bool:
    if isinstance(held, dict):
        return any(_is_secret(name) or _has_secret(one) for name, one in held.items())
    if isinstance(held, Collection) and not isinstance(held, str | bytes):
        return any(map(_has_secret, held))
    return _is_secret(held)


def _is_secret(value: Any) -> bool:
    return hasattr(type(value), "get_secret_value")


_MASK: Final = "*" * 10
"""What pydantic writes for a secret; a class of its own may write its `str`."""
