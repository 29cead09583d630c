"""How a change reads to a person: what was done, as a sentence, and as the mark of a chart has it; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from bgjob.amounts import about_text, many_of
from bgjob.text import instant
from bgjob.words import ChangeKind

MOST_CHANGES: Final = 200
"""So many of the newest are looked at for what may have come of them."""

_LONGEST_REASON: Final = 200
_SOON: Final = 900.0
"""Seconds within which what goes wrong may come of what was changed before."""

_MAY_CAUSE: Final = frozenset({"started", "loaded", "reload_failed", "resumed", "schedule_changed"})

What = Mapping[str, Any]


def sentence(change: Mapping[str, Any]) -> str:
    """What was done: `code 4f2a1c loaded, was 9be07d`; of a kind that is not known its name."""
    what = change["what"]
    tell = _SENTENCES.get(change["kind"])
    told = str(change["kind"]).replace("_", " ") if tell is None else tell(what)
    at = what.get("host") if change["kind"] != ChangeKind.HOST_LOST else None
    return f"{told}, host {at}" if at else told


def just_before(since: str, changes: Iterable[Mapping[str, Any]]) -> str:
    """What was changed shortly before, if anything was: `40 s after code 4f2a1c loaded`."""
    began = instant(since)
    after = ((began - instant(one["at"]), one) for one in changes if one["kind"] in _MAY_CAUSE)
    near = [(seconds, one) for seconds, one in after if 0 <= seconds <= _SOON]
    if not near:
        return ""
    seconds, latest = min(near, key=lambda found: found[0])
    return f"{about_text(max(1.0, seconds))} after {sentence(latest)}"


def filter_told(wanted: What) -> str:
    """The filter of a wish about many jobs: `failed, class a.B, since 2026-11-27T14:02:00.000000Z`."""
    parts = [
        ", ".join(map(str, value)) if name == "status" else f"{_NAMES.get(name, name)} {value}"
        for name, value in wanted.items()
    ]
    return ", ".join(parts)


_NAMES: Final = {"class_name": "class", "method_name": "method", "again_of": "again of", "bulk": "change"}


def _started(what: What) -> str:
    return f"daemon {what.get('version') or ''} started".replace("  ", " ")


def _loaded(what: What) -> str:
    code, was = what.get("code"), what.get("was")
    if was is None:
        return f"code {code} loaded"
    return f"code {code} loaded again" if was == code else f"code {code} loaded, was {was}"


def _reload_failed(what: What) -> str:
    reason = " ".join(str(what.get("reason") or "").split())
    short = f"{reason[:_LONGEST_REASON]}…" if len(reason) > _LONGEST_REASON else reason
    return f"reload failed: {short}"


def _paused(what: What) -> str:
    until = what.get("until")
    return f"queue {what.get('queue')} paused" + (f" until {until}" if until else "")


def _many(verb: str) -> Callable[[What], str]:
    def told(what: What) -> str:
        done, left_out = what.get("done") or 0, what.get("left_out") or 0
        left = f", {left_out:,} left out" if left_out else ""
        so_far = "" if what.get("is_over") else ", not all of them yet"
        return f"{many_of(done, 'job')} {verb}{left}{so_far} ({filter_told(what.get('filter') or {})})"

    return told


def _schedule(what: What) -> str:
    names, count = list(what.get("schedules") or ()), what.get("count") or 0
    more = f" and {count - len(names):,} more" if count > len(names) else ""
    return f"schedule{'' if count == 1 else 's'} {', '.join(map(str, names))}{more} {what.get('did')}"


def _class_held(what: What) -> str:
    why = "" if what.get("why") == "asked" else ": its attempts crash"
    return f"class {what.get('class')} held{why}"


def _class_resumed(what: What) -> str:
    return f"class {what.get('class')} held no more: {what.get('why')}"


_SENTENCES: Final[Mapping[str, Callable[[What], str]]] = {
    ChangeKind.STARTED: _started,
    ChangeKind.LOADED: _loaded,
    ChangeKind.RELOAD_FAILED: _reload_failed,
    ChangeKind.PAUSED: _paused,
    ChangeKind.RESUMED: lambda what: f"queue {what.get('queue')} resumed",
    ChangeKind.RETRIED_MANY: _many("retried"),
    ChangeKind.CANCELLED_MANY: _many("cancelled"),
    ChangeKind.SCHEDULE_CHANGED: _schedule,
    ChangeKind.CLASS_HELD: _class_held,
    ChangeKind.CLASS_RESUMED: _class_resumed,
    ChangeKind.HOST_LOST: lambda what: f"host {what.get('host')} lost",
}
