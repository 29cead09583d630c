"""What a caller gives, as a request has it: classes by their names, times as text or seconds, nothing for None."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bgjob.codec import JsonObject


def plain_time(value: Any) -> Any:
    """A point in time or a time span of `datetime`, which nobody here imports, as the daemon takes it."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.total_seconds() if hasattr(value, "total_seconds") else value


def class_name_of(cls: str | type) -> str:
    return cls if isinstance(cls, str) else f"{cls.__module__}.{cls.__qualname__}"


def class_or_none(cls: str | type | None) -> str | None:
    return None if cls is None else class_name_of(cls)


def given(parameters: Mapping[str, Any]) -> JsonObject:
    """Those of them that are not None."""
    return {name: value for name, value in parameters.items() if value is not None}
