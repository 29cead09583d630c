"""Texts of others as they are shown, and the words for how something stands in their colours; never others' markup."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from markupsafe import Markup, escape

from bgjob.text import FOR_REVIEW, HELD, lines, to_json
from bgjob.words import MOST_OF_KEY, REVIEW, Outcome, Status

from .addresses import STATUSES

_COLOURS: Final[Mapping[str, str]] = {
    "success": "good", "completed": "good",
    "failure": "bad", "failed": "bad", "exited": "bad", "signalled": "bad", "lost": "bad", "timed_out": "bad",
    "refused": "bad", FOR_REVIEW: "bad", HELD: "bad",
    "out_of_memory": "bad", "cpu_exceeded": "bad", "output_exceeded": "bad",
    "info": "news", "running": "news", "sealed": "news",
    "retrying": "warm", "not_started": "warm", "snoozed": "warm", "expired": "warm", "paused": "warm",
    "unavailable": "warm", "old": "warm",
    "open": "warm",
    "new": "bad", "new since the deploy": "bad", "back": "warm",
}  # fmt: skip
"""The colour of a badge; grey for the others."""

_UNUSUAL: Final = re.compile(r"[^\n\t -~\u00a0-\u00ac\u00ae-\u02ff]+")
"""What is looked at character by character: all but what most text is made of."""

_MOST_INDENTED: Final = 32 * 1024


def badge(word: str) -> Markup:
    """The word in its colour; the word itself always stands there."""
    return Markup('<span class="badge {}">{}</span>').format(colour(word), spoken(word))


def status_badge(word: str, base: str = "") -> Markup:
    """The same of how a job stands, which leads to all that stand so, at an address that begins with `base`."""
    word_of_list = REVIEW if word == FOR_REVIEW else word
    return _leading(word, f"{base}/jobs?status={word_of_list}") if word_of_list in STATUSES else badge(word)


def outcome_badge(word: str, base: str = "") -> Markup:
    """The same of how an attempt ended, or that it runs."""
    if word == Status.RUNNING:
        return status_badge(word, base)
    return _leading(word, f"{base}/jobs?outcome={word}") if word in tuple(Outcome) else badge(word)


def _leading(word: str, address: str) -> Markup:
    return Markup('<a class="target" href="{}">{}</a>').format(address, badge(word))


def colour(word: str) -> str:
    """The class of a badge."""
    return _COLOURS.get(word, "grey")


def spoken(word: str) -> str:
    """As people write it."""
    return str(shown(word.replace("_", " ").capitalize()))


def counted(number: int) -> str:
    """How many jobs of a key there are, which are counted up to a number: "1,000+"."""
    return f"{number:,}" if number < MOST_OF_KEY else f"{MOST_OF_KEY:,}+"


def pretty(value: Any) -> str:
    """JSON for people; of what is large it takes one line, for its indents could take a hundred times as much."""
    told = json.dumps(value, ensure_ascii=False)
    if len(told) > _MOST_INDENTED:
        return to_json(value)
    return _UNUSUAL.sub(
        lambda found: to_json(found[0])[1:-1], json.dumps(value, indent=2, ensure_ascii=False)
    )


def shown(value: Any) -> Any:
    """A text with what would turn the order of reading, or is seen by nobody, as escapes, as terminals have it.

    Newlines and tabs stay. What is markup, or no text, stays as it is.
    """
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    if value.replace("\n", "").replace("\t", "").isprintable():
        return value
    return _UNUSUAL.sub(lambda found: lines(found[0]), value)


def as_it_is(value: str) -> Markup:
    """A text for a field that sends it back, where it must be the same."""
    return escape(value)


def with_code(text: str) -> Markup:
    """A sentence in which what stands between grave accents is code."""
    parts = [escape(shown(part)) for part in text.split("`")]
    if len(parts) % 2 == 0:  # one is left over
        return escape(shown(text))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts)
    )


def parted(text: str) -> Markup:
    """A name that breaks at its dots and colons before it breaks anywhere else."""
    return Markup("<wbr>").join(re.split(r"(?<=[.:])(?=[^.:])", shown(text)))


def short(class_name: str) -> str:
    """The class without its modules."""
    return class_name.rpartition(".")[2]
