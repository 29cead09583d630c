"""Whether parameters fit a method's schema, and what is wrong with those that do not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from functools import partial
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from itertools import islice
from typing import Any, Final, NoReturn
from uuid import UUID

import jsonschema_rs
from pydantic import AnyUrl, TypeAdapter, ValidationError

from bgjob.codec import to_json
from bgjob.unknown_names import no_parameter
from bgjobd.core.masking import MASK

_MAX_PROBLEMS: Final = 20
_MANY: Final = 200
"""Values in parameters, beyond which the first problem alone is told: a validator finds all before it tells one."""

_TOO_MANY: Final = 4096
"""Values beyond which nothing is told of what is wrong within a long one: an error holds a copy of that."""

_LONGEST_MESSAGE: Final = 500
_NO_SCHEMA: Final = (ValueError, jsonschema_rs.ReferencingError)


class InvalidSchemaError(ValueError):
    """What should be a schema is none."""


class Validator:
    """Of one method; what it says quotes no value where there are secrets. Raises InvalidSchemaError."""

    def __init__(self, schema: dict[str, Any], has_secrets: bool) -> None:
        self._schema = schema
        self.has_secrets = has_secrets
        forms = {keyword: partial(_Forms, schema, has_secrets, keyword) for keyword in _FORMS}
        try:
            self._fits = _compiled(schema).is_valid
            self._teller = _compiled(schema, keywords=forms, mask=MASK if has_secrets else None)
        except _NO_SCHEMA as error:
            raise InvalidSchemaError(str(error)) from None

    def fits(self, parameters: Mapping[str, Any]) -> bool:
        return bool(self._fits(parameters))

    def problems(self, parameters: Mapping[str, Any], sensitive: Collection[str]) -> list[dict[str, str]]:
        """What does not fit and where; of a sensitive parameter that alone: keys within may be secrets too."""
        if _has_more_than(_TOO_MANY, parameters):
            problems = self._problems_around_long(parameters, sensitive)
        else:
            problems = [self._problem(error, sensitive) for error in self._errors(parameters)]
        return problems or [{"path": "", "message": "something does not fit"}]

    def _errors(self, parameters: Mapping[str, Any]) -> Iterator[Any]:
        if not _has_more_than(_MANY, parameters):
            yield from islice(self._teller.iter_errors(parameters), _MAX_PROBLEMS)
            return
        try:
            self._teller.validate(parameters)
        except jsonschema_rs.ValidationError as error:
            yield error

    def _problems_around_long(
        self, parameters: Mapping[str, Any], sensitive: Collection[str]
    ) -> list[dict[str, str]]:
        """What is wrong with the names and with all that is short; of what is long, that it does not fit."""
        long = {name for name, value in parameters.items() if _has_more_than(_MANY, value)}
        rest = {name: type(value)() if name in long else value for name, value in parameters.items()}
        if _has_more_than(_MANY, rest):
            return []
        problems = [
            self._problem(error, sensitive)
            for error in islice(self._teller.iter_errors(rest), _MAX_PROBLEMS)
            if not error.instance_path or error.instance_path[0] not in long
        ]
        return problems + [
            {"path": name, "message": "something in it does not fit"}
            for name in sorted(long)
            if not self._fits_alone(name, parameters[name])
        ]

    def _problem(self, error: Any, sensitive: Collection[str]) -> dict[str, str]:
        path = [str(step) for step in error.instance_path]
        if path and path[0] in sensitive:
            return {"path": path[0], "message": "does not fit"}
        told = error.message
        if not path and error.kind.name == "additionalProperties":
            told = no_parameter(error.kind.unexpected, self._schema.get("properties", ()))
        return {"path": "/".join(path), "message": _short(told)}

    def _fits_alone(self, name: str, value: Any) -> bool:
        """Whether the value fits what the schema says of this name."""
        schema = self._schema.get("properties", {}).get(name, True)
        return _try_fits(self._schema, "allOf", [schema])(value)


class _Forms:
    """A keyword that offers several forms, with no more to tell than whether a value fits.

    The validator's own tells what is wrong with it in the sight of each form, of each of theirs, and so on: a form that
    may have another of its kind in it makes that so much that nobody lives to see it.
    """

    def __init__(
        self,
        schema: Mapping[str, Any],
        has_secrets: bool,
        keyword: str,
        parent: Mapping[str, Any],
        forms: Any,
        path: object,
    ) -> None:
        self._keyword = keyword
        self._has_secrets = has_secrets
        self._fits = _try_fits(schema, keyword, forms)

    def validate(self, instance: Any) -> None:
        if not self._fits(instance):
            value = MASK if self._has_secrets else _short(to_json(instance))
            raise ValueError(
                f"{value} is not valid under {_FORMS[self._keyword]} of the schemas listed in the "
                f"'{self._keyword}' keyword"
            )


def _try_fits(schema: Mapping[str, Any], keyword: str, forms: Any) -> Callable[[Any], bool]:
    """Whether a value fits this part of the schema; any does, where that refers to something elsewhere in it."""
    around = {name: schema[name] for name in _AROUND if name in schema}
    try:
        fits: Callable[[Any], bool] = _compiled({**around, keyword: forms}).is_valid
    except _NO_SCHEMA:
        return lambda _: True
    return fits


_FORMS: Final = {"anyOf": "any", "oneOf": "exactly one"}
_AROUND: Final = ("$schema", "$id", "$defs", "definitions")


def _compiled(schema: dict[str, Any], **more: Any) -> Any:
    """A validator. Raises what `_NO_SCHEMA` names where the schema is none."""
    return jsonschema_rs.validator_for(
        schema, validate_formats=True, formats=_FORMATS, retriever=_retrieve_nothing, **more
    )


def _has_more_than(most: int, value: Any) -> bool:
    """Whether there are more values in it."""
    count, pending = 0, [value] if isinstance(value, dict | list) else []
    while pending:
        one = pending.pop()
        count += len(one)
        if count > most:
            return True
        items = one.values() if isinstance(one, dict) else one
        pending += [item for item in items if isinstance(item, dict | list)]
    return False


def _retrieve_nothing(uri: str) -> NoReturn:
    """A schema of the application's may refer to others; the daemon fetches nothing for it."""
    raise ValueError(f"it refers to {uri}, and nothing is fetched")


def _short(text: str) -> str:
    """The message without the middle of a value that it quotes in full."""
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:200]} … {text[-200:]}"


def _taken_by(kind: Any) -> Callable[[str], bool]:
    """Whether pydantic, which converts the value in the attempt, takes the text for this type."""
    adapter = TypeAdapter(kind)

    def is_taken(text: str) -> bool:
        try:
            adapter.validate_python(text)
        except ValidationError:
            return False
        return True

    return is_taken


_FORMATS: Final = {
    "date": _taken_by(date),
    "date-time": _taken_by(datetime),
    "duration": _taken_by(timedelta),
    "ipv4": _taken_by(IPv4Address),
    "ipv4interface": _taken_by(IPv4Interface),
    "ipv4network": _taken_by(IPv4Network),
    "ipv6": _taken_by(IPv6Address),
    "ipv6interface": _taken_by(IPv6Interface),
    "ipv6network": _taken_by(IPv6Network),
    "regex": lambda text: True,  # JSON Schema's dialect is another than Python's; the attempt will see
    "time": _taken_by(time),
    "uri": _taken_by(AnyUrl),
    "uuid": _taken_by(UUID),
}
"""The formats in pydantic's schemas for which JSON Schema's own rules are others than those of pydantic's types."""
