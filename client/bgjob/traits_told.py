"""What attempts that an error has ended have in common, and others do not, as it reads to a person; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from bgjob.amounts import span_text
from bgjob.text import one_line


class Common(NamedTuple):
    """One thing about them; `is_telling`: others are not like that."""

    words: str
    told: str
    is_telling: bool


def common_of(traits: Mapping[str, Any]) -> list[Common]:
    """What its newest attempts have in common, beside others of the same classes, what tells most first."""
    told = [_shared(kind, traits) for kind in _WITH if any(one["of"] == kind for one in traits["each"])]
    return sorted([*told, *_took(traits)], key=lambda one: not one.is_telling)


_WITH: Final = {"code": "with", "queue": "in", "host": "on"}
_MOST_VALUES: Final = 3
_TELLING: Final = 0.5
"""By so much of all more attempts have it than others do."""

_SLOWER: Final = 3.0
_LEAST_APART: Final = 0.05
"""So many times as long, and so many seconds, are worth telling."""


def _shared(kind: str, traits: Mapping[str, Any]) -> Common:
    """Of the value that most of the attempts have: "all with 4f2a1c, none of 120 others"."""
    each = [one for one in traits["each"] if one["of"] == kind]
    first, many, others = each[0], traits["attempts"], traits["others"]
    is_of_all = first["attempts"] == many
    own = f"all {_WITH[kind]} {_named(first)}" if is_of_all else _counted(each)
    if not others:
        return Common(kind.capitalize(), own, is_telling=False)
    beside = _of_others(first["others"], others)
    told = f"{own}, {beside}" if is_of_all else f"{own}; {_WITH[kind]} {_named(first)} {beside}"
    return Common(kind.capitalize(), told, first["attempts"] / many - first["others"] / others >= _TELLING)


def _counted(each: Sequence[Mapping[str, Any]]) -> str:
    told = [f"{_named(one)} {one['attempts']:,}" for one in each[:_MOST_VALUES]]
    return ", ".join([*told, *(["…"] if len(each) > _MOST_VALUES else [])])


def _named(trait: Mapping[str, Any]) -> str:
    return "what nobody knows" if trait["value"] is None else one_line(trait["value"])


def _of_others(count: int, others: int) -> str:
    them = "1 other" if others == 1 else f"{others:,} others"
    return f"and {count:,} of {them}" if count else f"none of {them}"


def _took(traits: Mapping[str, Any]) -> list[Common]:
    """How long half of them took at most, beside those that completed."""
    own, usual = traits["seconds"], traits["usual"]
    if own is None:
        return []
    if usual is None:
        return [Common("Took", f"about {span_text(own)}; no other has completed lately", is_telling=False)]
    longer, shorter = max(own, usual), min(own, usual)
    is_telling = longer - shorter >= _LEAST_APART and longer >= _SLOWER * shorter
    told = f"about {span_text(own)}, where others complete in {span_text(usual)}"
    return [Common("Took", told, is_telling)]
