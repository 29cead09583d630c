"""Templates and what they need: times, sizes and badges; everything a job says stays text. No drawings."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from bgjob.amounts import in_largest_unit, limits_text, size_text, span_text
from bgjob.text import lines, raised, retries_spent, standing, to_json

from .addresses import quoted
from .drawings import chart, day_line, hour_lines, legend, squares, together
from .strip import how_of, kind_of

_HERE: Final = Path(__file__).parent
_STATIC: Final = _HERE / "static"
_UNITS: Final = (("second", 1), ("minute", 60), ("hour", 3600), ("day", 86_400), ("week", 7 * 86_400))
_KINDS: Final[Mapping[str, str]] = {
    "success": "good", "completed": "good",
    "failure": "bad", "failed": "bad", "exited": "bad", "signalled": "bad", "lost": "bad", "timed_out": "bad",
    "refused": "bad",
    "out_of_memory": "bad", "cpu_exceeded": "bad", "output_exceeded": "bad",
    "info": "news", "running": "news",
    "retrying": "warm", "not_started": "warm", "snoozed": "warm", "paused": "warm",
}  # fmt: skip
"""The colour of a badge; grey for the others."""

_UNUSUAL: Final = re.compile(r"[^\n\t -~\u00a0-\u00ac\u00ae-\u02ff]+")
"""What is looked at character by character: all but what most text is made of."""

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
        environment = _environment(self.static)
        self._templates = {name: environment.get_template(name) for name in environment.list_templates()}

    def render(self, template: str, **values: Any) -> str:
        """A view's page; `now` among the values is the wall clock, in seconds."""
        return self._templates[template].render(**values)

    def file(self, name: str) -> tuple[bytes, str] | None:
        """A static file and its type."""
        content = self.files.get(name)
        return None if content is None else (content, _TYPES[Path(name).suffix])


def _environment(static: str) -> Environment:
    """What templates may use."""
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "quoted": quoted,
        "badge": badge, "size": size_text, "seconds": span_text, "pretty": pretty, "short": short,
        "own_frames": own_frames, "limits": limits_text, "moment": moment,
        "parted": parted, "as_it_is": as_it_is,
    }  # fmt: skip
    environment.globals |= {
        "time": time_tag, "duration": duration, "standing": standing, "raised": raised,
        "retries_spent": retries_spent, "oldest_due": oldest_due, "static": static,
        "kind_of": kind_of, "how_of": how_of, "chart": chart, "squares": squares, "day_line": day_line,
        "hour_lines": hour_lines, "together": together, "legend": legend,
    }  # fmt: skip
    return environment


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
    if abs(seconds) < 2:
        return "just now"
    many, unit = in_largest_unit(seconds, _UNITS)
    amount = f"{many} {unit}" if many == 1 else f"{many} {unit}s"
    return f"in {amount}" if seconds > 0 else f"{amount} ago"


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


def parted(text: str) -> Markup:
    """A name that breaks at its dots and colons before it breaks anywhere else."""
    return Markup("<wbr>").join(re.split(r"(?<=[.:])(?=[^.:])", shown(text)))


def short(class_name: str) -> str:
    """The class without its modules."""
    return class_name.rpartition(".")[2]


def oldest_due(stats: Mapping[str, Any]) -> str | None:
    """Since when the job waits for a slot that has waited longest, those aside whose queues are paused."""
    return min(
        (
            queue["oldest_pending"]
            for queue in stats["queues"]
            if queue["oldest_pending"] and not queue["paused"]
        ),
        default=None,
    )
