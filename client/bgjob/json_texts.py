"""Values as JSON makes them: the text that is kept of one, or why there is none."""

from __future__ import annotations

import json
from typing import Any, Final

MOST_LEVELS: Final = 100
_to_text: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def json_text(value: Any, levels: int = MOST_LEVELS) -> str:
    """The value as JSON text, which any reader takes. Raises ValueError for one that JSON cannot hold, and for one that
    is nested more than so many levels deep.
    """
    try:
        text = _to_text(value)
        if not text.isascii():
            text.encode()
        if not isinstance(value, (dict, list, tuple)):
            return text
        depth, has_plain_keys = _shape(value)
        if depth > levels:
            raise ValueError(f"it is nested more than {levels} levels deep")
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(str(error)) from None
    if has_plain_keys:
        return text
    # 1 and "1" are the same key in JSON: it is kept once, for an object that has it twice no reader takes.
    return json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))


def _shape(value: Any) -> tuple[int, bool]:
    """How deep it is nested, and whether all keys are texts."""
    level, depth, has_plain_keys = [value], 0, True
    while True:
        has_plain_keys = has_plain_keys and all(
            isinstance(key, str) for one in level if isinstance(one, dict) for key in one
        )
        level = [item for one in level for item in _items(one)]
        if not level:
            return depth, has_plain_keys
        depth += 1


def _items(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else []
