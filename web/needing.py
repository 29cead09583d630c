"""What needs somebody as it is shown: the word for its kind, and the one thing to do about it; asks nobody anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bgjob.changes_told import just_before
from bgjob.text import when

from .addresses import quoted

Told = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Action:
    """A link's words and where it leads; `is_deed` where a form asks for it there."""

    words: str
    place: str
    is_deed: bool = False


@dataclass(frozen=True, slots=True)
class _Kind:
    """Its word, its colour, and what to do about such a need, if anything."""

    word: str
    colour: str
    act: Callable[[str], Action | None] = lambda subject: None


def _to(words: str, place: str) -> Callable[[str], Action]:
    return lambda subject: Action(words, place.format(quoted(subject.partition("::")[0])))


def _schedule(subject: str) -> Action:
    if subject == "(other)":
        return Action("See those", "/schedules?status=refused")
    return Action("See the schedule", f"/schedules/{quoted(subject)}")


_ERROR: Final = _Kind("Failing", "bad", _to("See the error", "/errors/{}"))
_CLASS: Final = _to("See the class", "/classes/{}")
_GIVEN_UP: Final = _Kind("Given up", "bad", _to("See the jobs", "/jobs?class={}&status=failed"))
KINDS: Final[Mapping[str, _Kind]] = {
    "storage": _Kind("Storage", "bad", _to("See the system", "/system")),
    "no_code": _Kind("No code", "bad", _to("See the log", "/")),
    "daemon": _Kind("Ended", "bad", _to("See the changes", "/changes")),
    "unavailable": _Kind("Unavailable", "warm", _CLASS),
    "quarantined": _Kind(
        "Held", "bad", lambda subject: Action("Resume", f"/classes/{quoted(subject)}/resume", is_deed=True)
    ),
    "review": _Kind("Review", "warm", _to("See the jobs", "/jobs?status=review")),
    "new_error": _ERROR,
    "rising_error": _ERROR,
    "failed": _ERROR,
    "failure_rate": _Kind("Failing", "bad", _CLASS),
    "paused": _Kind(
        "Waits", "warm", lambda subject: Action("Resume", f"/queues/{quoted(subject)}/resume", is_deed=True)
    ),
    "oldest_pending": _Kind("Waits", "warm", _to("See what runs", "/jobs?status=running")),
    "slow": _Kind("Slow", "warm", _CLASS),
    "refused": _Kind("Refused", "warm", _schedule),
    "missed": _Kind("Missed", "warm", _schedule),
    "schedule_fails": _Kind("Failing", "bad", _schedule),
    "disk": _Kind("Disk", "bad"),
    "host": _Kind("Host", "bad", _to("See the hosts", "/hosts")),
    "no_success": _Kind("Silent", "warm", _CLASS),
}
"""A kind that is not known here, of a daemon that is newer, is told by its name, without anything to do."""


def shown_of(
    needs: Sequence[Told],
    changes: Sequence[Told],
    running: Sequence[Told],
    now: float,
    at: Callable[[str], str],
) -> list[dict[str, Any]]:
    """The needs with word, colour, action and what was changed before; `at` answers the address of a place."""
    return [
        {
            **need,
            "word": kind.word,
            "colour": kind.colour,
            "action": _action(need, kind, running, at),
            "after": _after(need, changes, now),
        }
        for need in needs
        for kind in [_kind_of(need)]
    ]


def _kind_of(need: Told) -> _Kind:
    """Of a class whose jobs were given up for their crashes, and that is not held, there is nothing to resume."""
    kind = str(need["kind"])
    if kind == "quarantined" and "class resume" not in (need["hint"] or ""):
        return _GIVEN_UP
    return KINDS.get(kind) or _Kind(kind.replace("_", " ").capitalize(), "grey")


def _action(
    need: Told, kind: _Kind, running: Sequence[Told], at: Callable[[str], str]
) -> dict[str, Any] | None:
    """Of what is slow the job itself, the one that began first."""
    action = kind.act(need["subject"])
    if need["kind"] == "slow":
        those = [one for one in running if _method(one) == need["subject"] and one["started_at"] is not None]
        if those:
            first = min(those, key=lambda one: one["started_at"])
            action = Action("See the job", f"/jobs/{first['job_id']}")
    if action is None:
        return None
    return {"words": action.words, "place": at(action.place), "is_deed": action.is_deed}


def _method(attempt: Told) -> str:
    return f"{attempt['class_name']}::{attempt['method_name']}"


_OF_CODE: Final = frozenset({"new_error", "rising_error", "failed", "slow", "unavailable", "quarantined"})


def _after(need: Told, changes: Sequence[Told], now: float) -> str:
    """What was changed shortly before; of a queue that is paused when, and by whom."""
    if need["kind"] == "paused":
        pauses = [
            one for one in changes if one["kind"] == "paused" and one["what"].get("queue") == need["subject"]
        ]
        if not pauses:
            return ""
        by = f" by {pauses[0]['who']}" if pauses[0]["who"] else ""
        return f"paused {when(pauses[0]['at'], now)}{by}"
    return just_before(need["since"], changes) if need["kind"] in _OF_CODE else ""
