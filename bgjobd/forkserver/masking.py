"""The masking of secrets in what an attempt tells: texts without the values of sensitive parameters.

Whole parameters are masked by core/masking.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .order import Order

MASK = "***"
_CUT = 100
"""Where others cut a long text that they quote, they leave more than this."""


def scrubbed(text: str, order: Order) -> str:
    """The text without the values of sensitive parameters, however they are quoted."""
    if not order.sensitive:
        return text
    import re  # only for those who have secrets

    values = {leaf for name in order.sensitive for leaf in _leaves(order.parameters.get(name))}
    found = {form for value in values for form in _forms(value)}
    if text.isascii():  # then lower() finds what IGNORECASE does, ten times as fast where they are many
        lower = text.lower()
        found = {form for form in found if not form.isascii() or form.lower() in lower}
    forms = sorted(found, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, forms)), MASK, text, flags=re.IGNORECASE) if forms else text


def _leaves(value: Any) -> Iterator[str]:
    """The texts, names and numbers in a value, as text. True, false and null tell nothing."""
    match value:
        case dict():
            for name, item in value.items():
                yield from _leaves(name)
                yield from _leaves(item)
        case list():
            for item in value:
                yield from _leaves(item)
        case str() if value:
            yield value
        case int() | float() if not isinstance(value, bool):
            yield str(value)
            if value == int(value):
                yield str(int(value))


def _forms(value: str) -> Iterator[str]:
    """The ways in which a text shows in others: as it is, line by line, quoted by Python, by JSON, in URLs, and cut."""
    from urllib.parse import quote, quote_plus  # only for those who have secrets

    for part in {value, *filter(None, map(str.strip, value.splitlines()))}:
        for form in (
            part,
            repr(part + '"')[1:-2],
            repr(part + "'")[1:-2],
            repr(part + "'\"")[1:-4],
            ascii(part)[1:-1],
            ascii(part + "'\"")[1:-4],
            repr(part.encode())[2:-1],
            json.dumps(part)[1:-1],
            json.dumps(part, ensure_ascii=False)[1:-1],
            quote(part),
            quote(part, safe=""),
            quote_plus(part),
        ):
            yield form
            if len(form) > _CUT:
                yield form[:_CUT]
                yield form[-_CUT:]
