"""Templates and what they need: times, sizes, badges and the small chart; everything a job says stays text."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bgjob.amounts import limits_text, size_text, span_text
from bgjob.commands.text import standing

_HERE: Final = Path(__file__).parent
_STATIC: Final = _HERE / "static"
_UNITS: Final = ((60, "second"), (3600, "minute"), (86_400, "hour"), (7 * 86_400, "day"), (10**12, "week"))
_KINDS: Final[Mapping[str, str]] = {
    "success": "good", "completed": "good",
    "failure": "bad", "failed": "bad", "exited": "bad", "signalled": "bad", "lost": "bad", "timed_out": "bad",
    "out_of_memory": "bad", "cpu_exceeded": "bad", "output_exceeded": "bad",
    "info": "news", "running": "news",
    "retrying": "warm", "not_started": "warm", "snoozed": "warm",
}  # fmt: skip
"""The colour of a badge; grey for the others."""

_MOST_INDENTED: Final = 32 * 1024
_FRAME: Final = re.compile(r'  File "(.*)", line \d+')
_LIBRARY: Final = re.compile(r"/(?:site|dist)-packages/|/lib(?:64)?/python3[^/]*/|^<frozen ")

_TYPES: Final[Mapping[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Renderer:
    """The templates, compiled once, and the static files, read once: an upgrade replaces them under a running page."""

    def __init__(self) -> None:
        self.files = {
            path.name: path.read_bytes() for path in sorted(_STATIC.iterdir()) if path.suffix in _TYPES
        }
        digest = hashlib.blake2b(b"".join(self.files.values()), digest_size=8).hexdigest()
        self.static = f"/static/{digest}"
        self._environment = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "badge": badge, "size": size_text, "seconds": span_text, "pretty": pretty, "short": short,
            "own_frames": own_frames, "limits": limits_text, "moment": moment,
        }  # fmt: skip
        self._environment.globals |= {
            "time": time_tag,
            "chart": chart,
            "duration": duration,
            "standing": standing,
            "static": self.static,
        }
        self._templates = {
            name: self._environment.get_template(name) for name in self._environment.list_templates()
        }

    def render(self, template: str, **values: Any) -> str:
        """A view's page; `now` among the values is the wall clock, in seconds."""
        return self._templates[template].render(**values)

    def file(self, name: str) -> tuple[bytes, str] | None:
        """A static file and its type."""
        content = self.files.get(name)
        return None if content is None else (content, _TYPES[Path(name).suffix])


def badge(word: str) -> Markup:
    """The word in its colour; the word itself always stands there."""
    kind = _KINDS.get(word, "grey")
    return Markup('<span class="badge {}">{}</span>').format(kind, word.replace("_", " ").capitalize())


def time_tag(told: str | None, now: float, exact: bool = False) -> Markup:
    """How long ago, or until then; the moment itself in its title. With `exact` the other way round."""
    if told is None:
        return Markup("–")
    moment = datetime.fromisoformat(told).astimezone(UTC)
    stamp, relative = moment.strftime("%Y-%m-%d %H:%M:%S UTC"), ago(moment.timestamp() - now)
    if exact:
        return Markup('<time class="exact" datetime="{}" title="{}">{}</time>').format(told, relative, stamp)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(told, stamp, relative)


def moment(at: float) -> str:
    """Seconds since the epoch as a time is told."""
    return datetime.fromtimestamp(int(at), UTC).isoformat()


def ago(seconds: float) -> str:
    """In words: "just now", "2 minutes ago", "in 3 hours"."""
    away = int(abs(seconds))
    if away < 2:
        return "just now"
    per = 1
    for most, unit in _UNITS:
        if away < most:
            many = away // per
            told = f"{many} {unit}" if many == 1 else f"{many} {unit}s"
            return f"in {told}" if seconds > 0 else f"{told} ago"
        per = most
    raise ValueError(f"{seconds} seconds are more than there are")


def duration(began_at: str, ended_at: str) -> str:
    """From one stored moment to another, in words."""
    return span_text((datetime.fromisoformat(ended_at) - datetime.fromisoformat(began_at)).total_seconds())


def own_frames(traceback: str) -> str | None:
    """The traceback without the frames of libraries; None where that leaves out nothing, or all."""
    kept, is_own, counts = [], True, {True: 0, False: 0}
    for line in traceback.splitlines(keepends=True):
        place = _FRAME.match(line)
        if place is not None:
            is_own = _LIBRARY.search(place[1]) is None
            counts[is_own] += 1
        elif not line.startswith(" "):
            is_own = True  # the error itself, or what stands between two tracebacks
        if is_own:
            kept.append(line)
    return "".join(kept) if all(counts.values()) else None


def pretty(value: Any) -> str:
    """JSON for people; of what is large it takes one line, for its indents could take a hundred times as much."""
    told = json.dumps(value, ensure_ascii=False)
    return told if len(told) > _MOST_INDENTED else json.dumps(value, indent=2, ensure_ascii=False)


def short(class_name: str) -> str:
    """The class without its modules."""
    return class_name.rpartition(".")[2]


def chart(minutes: Sequence[Mapping[str, Any]]) -> Markup:
    """Jobs that ended in each minute as bars, the failed ones below, in red; with a text for who cannot see it."""
    highest = max((minute["completed"] + minute["failed"] for minute in minutes), default=0) or 1
    bars = []
    for place, minute in enumerate(minutes):
        base = 40.0
        for kind in ("failed", "completed"):
            height = 38.0 * minute[kind] / highest
            if height:
                base -= height
                bars.append(
                    Markup('<rect class="{}" x="{}" y="{:.1f}" width="3" height="{:.1f}"/>').format(
                        kind, place * 4, base, height
                    )
                )
    ended = sum(minute["completed"] + minute["failed"] for minute in minutes)
    label = f"{ended} jobs ended in the last hour, at most {highest if ended else 0} a minute"
    drawing = Markup(
        '<svg class="chart" viewBox="0 0 {} 40" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    )
    return drawing.format(max(1, len(minutes)) * 4, label, Markup("").join(bars))
