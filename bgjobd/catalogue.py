"""What may run, as plain data from a fork server: classes, methods, and the schemas that parameters must fit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import jsonschema_rs

from bgjob.errors import (
    ClassUnavailableError,
    InvalidNameError,
    InvalidParametersError,
    MethodNotApprovedError,
    NotApprovedError,
)

_CLASS_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_METHOD_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_PROBLEMS: Final = 20


class Catalogue:
    """The approved classes of one code version. Names are looked up here and nowhere else."""

    def __init__(self, classes: Mapping[str, Mapping[str, Any]], code_version: str = "") -> None:
        self.classes = classes
        self.code_version = code_version
        self._validators: dict[tuple[str, str], Any] = {}

    def check(self, class_name: str, method_name: str, parameters: Mapping[str, Any]) -> None:
        """Raises the refusal for a call that may not run; returns where it may."""
        described = self.classes.get(class_name)
        if described is None:
            raise NotApprovedError(class_name=class_name)
        if described["unavailable"] is not None:
            raise ClassUnavailableError(class_name=class_name, reason=described["unavailable"])
        method = described["methods"].get(method_name)
        if method is None:
            raise MethodNotApprovedError(class_name=class_name, method_name=method_name)
        validator = self._validator(class_name, method_name, method["schema"])
        if not validator.is_valid(parameters):
            raise InvalidParametersError(problems=_problems(validator, parameters))

    def _validator(self, class_name: str, method_name: str, schema: Any) -> Any:
        key = class_name, method_name
        if key not in self._validators:
            self._validators[key] = jsonschema_rs.validator_for(schema, validate_formats=True)
        return self._validators[key]


def check_names(class_name: str, method_name: str, max_length: int) -> None:
    """Raises InvalidNameError for a name that could not name anything."""
    for field, value, grammar in (
        ("class_name", class_name, _CLASS_NAME),
        ("method_name", method_name, _METHOD_NAME),
    ):
        if len(value) > max_length or not grammar.fullmatch(value):
            raise InvalidNameError(field=field, value=value[:max_length])


def _problems(validator: Any, parameters: Mapping[str, Any]) -> list[dict[str, str]]:
    problems = []
    for error in validator.iter_errors(parameters):
        problems.append(
            {"path": "/".join(str(step) for step in error.instance_path), "message": error.message}
        )
        if len(problems) == _MAX_PROBLEMS:
            break
    return problems
