"""When an approved class that could not be loaded is tried again, how long that may take, and what came of it; no I/O.

>>> [pause_before_trial(n) for n in (0, 1, 2, 5, 10_000)]
[10.0, 20.0, 40.0, 300.0, 300.0]
>>> [patience(30.0, n) for n in (0, 1, 2, 5, 10_000)]
[30.0, 60.0, 120.0, 600.0, 600.0]
>>> patience(3600.0, 7)
3600.0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from bgjob.amounts import relative_text

_FIRST_PAUSE: Final = 10.0
LONGEST_PAUSE: Final = 300.0
_LONGEST_PATIENCE: Final = 600.0
_MAX_DOUBLINGS: Final = 62


def pause_before_trial(trials: int) -> float:
    """Seconds until the classes that a fork server lacks are tried again, after so many trials."""
    return min(LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(trials, _MAX_DOUBLINGS))


def patience(import_timeout: float, too_slow: int) -> float:
    """Seconds that an import may take, after so many tries for which `import_timeout`, doubled each time, was short."""
    return max(import_timeout, min(_LONGEST_PATIENCE, import_timeout * 2.0 ** min(too_slow, _MAX_DOUBLINGS)))


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a fork server has loaded: digests of the application's modules by name, and the classes that it lacks."""

    modules: Mapping[str, str]
    missing: frozenset[str]


class Found(StrEnum):
    """What a trial has found."""

    NOTHING_NEW = "nothing new"
    MENDED = "mended"
    OTHERS_BREAK = "others break"
    OTHER_CODE = "other code"


def compare(in_force: Loaded, tried: Loaded, of_others: Loaded) -> Found:
    """Whether a fork server with all classes may take the place of the one in force: others' code may not change.

    `of_others` is what the classes in force take now, by themselves: neither what a class that could not be loaded had
    got to, nor what is new and taken by that one alone. A module that is loaded no more counts as well, for nobody can
    tell whose it was; and where one of the others could not be loaded, what it takes is not known.
    """
    if (tried.missing | of_others.missing) - in_force.missing:
        return Found.OTHERS_BREAK
    if not in_force.missing - tried.missing:
        return Found.NOTHING_NEW
    gone = in_force.modules.keys() - tried.modules.keys()
    is_same = all(
        in_force.modules.get(name) == tried.modules.get(name) for name in gone.union(of_others.modules)
    )
    return Found.MENDED if is_same else Found.OTHER_CODE


def is_tried_again(found: Found) -> bool:
    """Whether another trial may find something else: other code is a person's to take up."""
    return found is not Found.OTHER_CODE


_SO_FAR: Final[Mapping[Found, str]] = MappingProxyType(
    {
        Found.NOTHING_NEW: "",
        Found.MENDED: "",
        Found.OTHERS_BREAK: "it can be imported by now, and another class cannot; ",
        Found.OTHER_CODE: "it can be imported by now, and the code of other classes has changed as well; ",
    }
)


def hint(found: Found, seconds_left: float | None) -> str:
    """What comes next for a class that cannot be loaded; `seconds_left` until its next trial, None during one."""
    if not is_tried_again(found):
        return f"{_SO_FAR[found]}`bgjob reload` takes up both"
    when = "now" if seconds_left is None else relative_text(seconds_left)
    return f"{_SO_FAR[found]}it is tried again {when}, and by `bgjob reload` at once"


UNTRIED: Final = "`bgjobd check` shows why, `bgjob reload` takes up what was mended"
"""The same of a class that is not tried again by itself."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why nothing of an approved class can start, and what comes next."""

    reason: str
    hint: str
