"""Values as a TOML file has them, for what a command drafts."""

from __future__ import annotations

import json
import re
from typing import Final

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def text_of(value: object) -> str:
    """A value on one line. Raises ValueError for a null."""
    match value:
        case None:
            raise ValueError("TOML has no null")
        case dict():
            pairs = ", ".join(f"{_key(key)} = {text_of(one)}" for key, one in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case list():
            return f"[{', '.join(map(text_of, value))}]"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case _:
            return json.dumps(value)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else text_of(name)
