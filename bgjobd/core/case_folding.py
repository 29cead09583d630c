"""How text is compared where case makes no difference, also beyond ASCII: pure."""

from __future__ import annotations

from typing import Final

MAX_NEEDLE: Final = 200
"""Characters of what is searched for; more are not looked at."""


def fold(text: str) -> str:
    """The text as it is compared."""
    return text.casefold()


def needle(search: str) -> str:
    """What is looked for in folded text."""
    return fold(search[:MAX_NEEDLE])


def folded(text: str) -> str | None:
    """The folded text; None where SQLite's own lower(), which knows ASCII only, gives the same."""
    if text.isascii():
        return None
    whole = fold(text)
    return None if whole == text.encode("utf-8", "replace").lower().decode() else whole
