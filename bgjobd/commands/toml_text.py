"""Values as a TOML file has them, for what a command drafts."""

from __future__ import annotations

import json

from bgjobd.config.problems import dotted


def text_of(value: object) -> str:
    """A value on one line. Raises ValueError for a null."""
    match value:
        case None:
            raise ValueError("TOML has no null")
        case dict():
            return (
                f"{{ {', '.join(f'{dotted((key,))} = {text_of(one)}' for key, one in value.items())} }}"
                if value
                else "{}"
            )
        case list():
            return f"[{', '.join(map(text_of, value))}]"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case _:
            return json.dumps(value)
