"""Which parameters are, or hold, what pydantic keeps secret, as their JSON Schema tells; nothing is imported for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def secret_names(schema: dict[str, Any], whole: bool) -> tuple[list[str], list[str] | None]:
    """The top-level properties that are, or hold, a value that pydantic keeps secret.

    Where secrets may have other names than the schema lists, also those of its names that have none, else None: a
    model takes a field by more names than its schema tells, unless it forbids others.
    """
    definitions = schema.get("$defs", {})
    listed: set[str] = set()
    secret: set[str] = set()
    is_open = False
    for form in _mappings(schema, definitions, set()):
        properties, others = form.get("properties", {}), form.get("additionalProperties", True)
        named = {name for name, inner in properties.items() if holds_secret(inner, definitions)}
        listed |= properties.keys()
        secret |= named
        is_open = (
            is_open
            or holds_secret(others, definitions)
            or holds_secret(form.get("patternProperties"), definitions)
        )
        is_open = is_open or (whole and bool(named) and others is not False)
    return sorted(secret), sorted(listed - secret) if is_open else None


def holds_secret(part: Any, definitions: dict[str, Any]) -> bool:
    """Whether this part of a schema is, or holds, a value that pydantic keeps secret."""
    return any(_is_secret(one) for one in _schemas_below(part, definitions, set()))


def _mappings(
    schema: dict[str, Any], definitions: dict[str, Any], seen: set[str]
) -> Iterator[dict[str, Any]]:
    """Each of the forms that the mapping of the parameters may have."""
    yield schema
    for form in (*_referred(schema, definitions, seen), *schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _mappings(form, definitions, seen)


def _schemas_below(part: Any, definitions: dict[str, Any], seen: set[str]) -> Iterator[dict[str, Any]]:
    """Every mapping in this part of a schema, references followed once."""
    if isinstance(part, dict):
        yield part
        inner = [*part.values(), *_referred(part, definitions, seen)]
    else:
        inner = part if isinstance(part, list) else []
    for one in inner:
        yield from _schemas_below(one, definitions, seen)


def _referred(schema: dict[str, Any], definitions: dict[str, Any], seen: set[str]) -> list[dict[str, Any]]:
    reference = schema.get("$ref")
    if not isinstance(reference, str) or reference in seen:
        return []
    seen.add(reference)
    return [definitions[reference.removeprefix("#/$defs/")]]


def _is_secret(schema: dict[str, Any]) -> bool:
    return schema.get("format") == "password" and schema.get("writeOnly") is True
