"""What a check says of the views that `[web.views]` names: addresses that lead nowhere, or narrow a list by nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from bgjob.amounts import try_span
from bgjob.labels import is_label
from bgjob.words import STATUS_WORDS, Outcome
from bgjobd.commands.findings import Finding, doubtful, ok
from bgjobd.config.sections import Config

JOBS: Final = "/jobs"
_PLACES: Final = re.compile(
    r"/(?:jobs|errors|groups|labels|alerts|changes|compare|hosts|system|schedules)?"
    r"|/(?:jobs|errors|groups|schedules)/[^/]+|/jobs/[^/]+/graph"
)
_SPAN: Final = re.compile(r"[1-9][0-9]{0,3}[mhd]")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?Z", re.ASCII)
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,15}")


def findings(config: Config) -> Iterator[Finding]:
    """One of each that is wrong; one of all where none is."""
    wrong = [
        f"views: {name!r}: {why}"
        for name, address in config.web.views.items()
        for why in _wrong(config, address)
    ]
    if config.web.views and not wrong:
        yield ok(f"views: {', '.join(config.web.views)}")
    for told in wrong:
        yield doubtful(f"{told}; mend it in [web.views]")


def _wrong(config: Config, address: str) -> Iterator[str]:
    parts = urlsplit(address)
    if not _PLACES.fullmatch(parts.path):
        yield f"the page has no {parts.path}"
        return
    if parts.path != JOBS:
        return
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in MEANS:
            yield f"jobs are not narrowed down by {name!r}"
        elif not MEANS[name](config, value):
            yield f"{name} = {value!r} would be left out of account: {_WANTED[name]}"


def _is_time(config: Config, text: str) -> bool:
    if _SPAN.fullmatch(text):
        return True
    try:
        return _MOMENT.fullmatch(text) is not None and datetime.fromisoformat(text) is not None
    except ValueError:
        return False


def _is_number(config: Config, text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _is_schedule(config: Config, text: str) -> bool:
    """Whether there is one, or there may be: those with a slash are put by applications."""
    return text in config.schedules or "/" in text


def _is_text(config: Config, text: str) -> bool:
    return bool(text)


MEANS: Final[Mapping[str, Callable[[Config, str], bool]]] = {
    "q": _is_text,
    "status": lambda config, text: text in STATUS_WORDS,
    "class": lambda config, text: text in config.approved,
    "queue": lambda config, text: text in config.queues,
    "error": _is_number,
    "bulk": _is_number,
    "schedule": _is_schedule,
    "group": _is_number,
    "key": _is_text,
    "label": lambda config, text: is_label(text),
    "host": _is_text,
    "outcome": lambda config, text: text in tuple(Outcome),
    "since": _is_time,
    "until": _is_time,
    "longer": lambda config, text: bool(try_span(text)),
    "sort": lambda config, text: text in ("id", "ended"),
    "per": lambda config, text: _is_number(config, text) and int(text) <= 100,
}
"""By what a list of jobs is narrowed in an address, but for its pages: whether a value means anything here."""

_TIME: Final = "a time ago is wanted, such as 24h or 7d, or a moment such as 2026-11-27T14:02Z"
_WANTED: Final = {
    **dict.fromkeys(("q", "key", "host"), "a text is wanted"),
    **dict.fromkeys(("error", "bulk", "group"), "a number is wanted"),
    **dict.fromkeys(("since", "until"), _TIME),
    "status": f"one is wanted of {', '.join(sorted(STATUS_WORDS))}",
    "class": "no such class is approved",
    "queue": "there is no such queue",
    "schedule": "there is no such schedule",
    "label": "a text of 1 to 64 characters is wanted",
    "outcome": f"one is wanted of {', '.join(sorted(Outcome))}",
    "longer": "a time is wanted, such as 10s or 5m",
    "sort": "id or ended is wanted",
    "per": "a number up to 100 is wanted",
}
