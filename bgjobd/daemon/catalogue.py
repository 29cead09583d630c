"""What may run, as plain data from a fork server: classes, methods, the schemas that parameters must fit, policies."""

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
from bgjob.errors import (
    ClassUnavailableError,
    InvalidParametersError,
    MethodNotApprovedError,
    NotApprovedError,
)
from bgjobd.config.policy import InvalidAttributeError, Policy, policy_of
from bgjobd.config.sections import Config
from bgjobd.core.masking import MASK

_MAX_PROBLEMS: Final = 20
_MANY: Final = 200
"""Values in parameters, beyond which the first problem alone is told: a validator finds all before it tells one."""

_LONGEST_MESSAGE: Final = 500


class Catalogue:
    """The approved classes of one code version. Names are looked up here and nowhere else.

    `missing` are those that the fork server could not load, with the reason: nothing of them can start. A class that
    was loaded and is unavailable all the same, as for its attributes, takes no new jobs; those that wait run.
    """

    def __init__(self, config: Config, described: Mapping[str, Mapping[str, Any]], code_version: str) -> None:
        self.classes = dict(described)
        self.code_version = code_version
        self.missing: dict[str, str] = {}
        self.renew(described)
        self.policies: dict[str, Policy] = {}
        for name, one in described.items():
            try:
                self.policies[name] = policy_of(config, name, one.get("attributes"))
            except InvalidAttributeError as error:
                self.classes[name] = {**one, "unavailable": str(error), "traceback": None}
        self._validators: dict[tuple[str, str], _Validator] = {}
        for name in list(self.policies):
            self._compile(name)

    def _compile(self, class_name: str) -> None:
        """Have a validator for each method; a class that brings a schema which is none is unavailable."""
        for method_name, method in self.classes[class_name]["methods"].items():
            # What a validator says of a value quotes it, unless it is told to mask them all.
            has_secrets = bool(self.sensitive(class_name, method_name, ("any other",)))
            try:
                self._validators[class_name, method_name] = _Validator(method["schema"], has_secrets)
            except (ValueError, jsonschema_rs.ReferencingError) as error:
                reason = f"the schema of {method_name} is invalid: {error}"
                self.classes[class_name] = {**self.classes[class_name], "unavailable": reason}
                return

    def renew(self, described: Mapping[str, Mapping[str, Any]]) -> None:
        """Take over why classes are missing, as it is by now; of one that is not, nothing."""
        for name, one in described.items():
            if one["unavailable"] is not None:
                self.classes[name], self.missing[name] = one, one["unavailable"]

    def check(self, class_name: str, method_name: str, parameters: Mapping[str, Any]) -> None:
        """Raises the refusal for a call that may not run; returns where it may."""
        self.check_target(class_name, method_name)
        validator = self._validators[class_name, method_name]
        if not validator.fits(parameters):
            sensitive = self.sensitive(class_name, method_name, parameters)
            raise InvalidParametersError(problems=validator.problems(parameters, sensitive))

    def check_target(self, class_name: str, method_name: str) -> None:
        """Raises the refusal of a method that may not be called, whatever its parameters are."""
        described = self.classes.get(class_name)
        if described is None:
            raise NotApprovedError(class_name=class_name)
        if described["unavailable"] is not None:
            raise ClassUnavailableError(class_name=class_name, reason=described["unavailable"])
        if method_name not in described["methods"]:
            raise MethodNotApprovedError(class_name=class_name, method_name=method_name)

    def sensitive(self, class_name: str, method_name: str, given: Collection[str]) -> tuple[str, ...]:
        """The parameters of an approved method whose values are shown nowhere: by the config, or by their types.

        `given` are the names in a request: where secrets may have any name, all but the plain ones are.
        """
        method = self.classes[class_name]["methods"][method_name]
        others = () if method["plain"] is None else set(given).difference(method["plain"])
        return tuple(sorted(self.policies[class_name].sensitive.union(method["sensitive"], others)))

    def try_has_failed_hook(self, class_name: str) -> bool | None:
        """Whether the class wants to hear of its jobs that failed for good; None where it is missing: nobody knows."""
        if class_name in self.missing:
            return None
        return class_name in self.classes and "failed" in self.classes[class_name]["hooks"]

    def doubts(self, config: Config, class_name: str) -> list[str]:
        """What the configuration says of a class in use and that means nothing: misspelt names, most likely."""
        methods = self.classes[class_name]["methods"]
        own = config.approved[class_name]
        doubts = [
            f"methods of {class_name} lists {name}, and the class has no such method that may be called"
            for name in sorted(set(own.methods or ()).difference(methods))
        ]
        known = {name for method in methods.values() for name in method["schema"].get("properties", {})}
        takes_any_name = any(method["names"] is None for method in methods.values())
        unknown = () if takes_any_name else sorted(set(own.sensitive or ()).difference(known))
        return doubts + [
            f"sensitive of {class_name} lists {name}, and no method has such a parameter" for name in unknown
        ]

    def newly_broken(self, before: Catalogue) -> dict[str, str]:
        """The classes that cannot be used, and could before or are new, with the reason."""
        known = before.classes
        return {
            name: described["unavailable"]
            for name, described in self.classes.items()
            if described["unavailable"] is not None
            and (name not in known or known[name]["unavailable"] is None)
        }


class _Validator:
    """Whether parameters fit a schema, and what is wrong with them; that quotes no value where there are secrets."""

    def __init__(self, schema: dict[str, Any], has_secrets: bool) -> None:
        self._fits = _compiled(schema).is_valid
        forms = {keyword: partial(_Forms, schema, has_secrets, keyword) for keyword in _FORMS}
        self._teller = _compiled(schema, keywords=forms, mask=MASK if has_secrets else None)

    def fits(self, parameters: Mapping[str, Any]) -> bool:
        return bool(self._fits(parameters))

    def problems(self, parameters: Mapping[str, Any], sensitive: Collection[str]) -> list[dict[str, str]]:
        """What does not fit and where; of a sensitive parameter that alone: keys within may be secrets too."""
        problems = []
        for error in self._errors(parameters):
            path = [str(step) for step in error.instance_path]
            if path and path[0] in sensitive:
                problems.append({"path": path[0], "message": "does not fit"})
            else:
                problems.append({"path": "/".join(path), "message": _short(error.message)})
        return problems or [{"path": "", "message": "something does not fit"}]

    def _errors(self, parameters: Mapping[str, Any]) -> Iterator[Any]:
        if not _has_many(parameters):
            yield from islice(self._teller.iter_errors(parameters), _MAX_PROBLEMS)
            return
        try:
            self._teller.validate(parameters)
        except jsonschema_rs.ValidationError as error:
            yield error


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
        around = {name: schema[name] for name in _AROUND if name in schema}
        try:
            self._fits: Callable[[Any], bool] = _compiled({**around, keyword: forms}).is_valid
        except (ValueError, jsonschema_rs.ReferencingError):
            self._fits = lambda _: True  # it refers to something elsewhere in the schema

    def validate(self, instance: Any) -> None:
        if not self._fits(instance):
            value = MASK if self._has_secrets else _short(to_json(instance))
            raise ValueError(
                f"{value} is not valid under {_FORMS[self._keyword]} of the schemas listed in the "
                f"'{self._keyword}' keyword"
            )


_FORMS: Final = {"anyOf": "any", "oneOf": "exactly one"}
_AROUND: Final = ("$schema", "$id", "$defs", "definitions")


def _compiled(schema: dict[str, Any], **more: Any) -> Any:
    """A validator. Raises ValueError and ReferencingError where the schema is none."""
    return jsonschema_rs.validator_for(
        schema, validate_formats=True, formats=_FORMATS, retriever=_retrieve_nothing, **more
    )


def _has_many(parameters: Mapping[str, Any]) -> bool:
    count, pending = 0, list[Any]([parameters])
    while pending:
        one = pending.pop()
        count += len(one)
        if count > _MANY:
            return True
        items = one.values() if isinstance(one, Mapping) else one
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
