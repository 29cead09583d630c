"""What is said of a name that there is not, with those that were perhaps meant; what names there are is not here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

_MOST: Final = 3
"""Of more unknown names than that nobody looks for what is like them: each takes a while."""

_LONGEST: Final = 100
"""Characters of a name; to look for what is like a longer one takes a while, and that is no slip of the pen."""


def perhaps(names: Sequence[str], known: Iterable[str]) -> str:
    """A question, "did you mean a or b?"; empty where nothing is like them."""
    from difflib import get_close_matches  # here, as few names are wrong

    choices = list(known)
    short = [name for name in names[:_MOST] if len(name) <= _LONGEST]
    like = [one for name in short for one in get_close_matches(name, choices)]
    return f"did you mean {' or '.join(dict.fromkeys(like))}?" if like else ""


def no_parameter(names: Sequence[str], known: Iterable[str]) -> str:
    """What a method says to parameters that it does not have."""
    told = " or ".join(f"'{name}'" for name in names)
    meant = perhaps(names, known)
    return f"no parameter is called {told}{meant and '; '}{meant}"
