"""Templates and what they need: times, sizes and badges; everything a job says stays text. No drawings."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from bgjob.amounts import (
    about_text,
    in_largest_unit,
    limits_text,
    many_of,
    set_span_text,
    size_text,
    span_text,
)
from bgjob.changes_told import filter_told
from bgjob.fingerprints import is_of_library
from bgjob.text import (
    cpu_time,
    expectation,
    instant,
    key_rules,
    raised,
    retries_spent,
    span,
    standing,
    step_name,
    step_took,
    took,
    try_signal,
    usually,
)
from bgjob.timelines import Timeline, timeline_of, waited_of

from .addresses import quoted
from .charts import dots, ended, spark, spark_bars
from .drawings import chart, day_line, hour_lines, legend, squares, together
from .graph import Graph, end_of, member_standing, members_told, sources
from .graph_drawing import graph_drawing, legend_of_ways, members_bar
from .graph_layout import picture_of
from .navigation import bar_of
from .strip import how_of, kind_of
from .texts import (
    as_it_is,
    badge,
    counted,
    outcome_badge,
    parted,
    pretty,
    short,
    shown,
    status_badge,
    with_code,
)
from .timeline_drawing import clock_time, exact_clock, key_of, length, step_bar, ticks
from .trends import percent

_HERE: Final = Path(__file__).parent
_STATIC: Final = _HERE / "static"
_TEMPLATES: Final = _HERE / "templates"
_UNITS: Final = (("second", 1), ("minute", 60), ("hour", 3600), ("day", 86_400), ("week", 7 * 86_400))
_FRAME: Final = re.compile(r'  File "(.*)", line \d+')

_TYPES: Final[Mapping[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Renderer:
    """Templates and static files, read once: an upgrade replaces them under a running page. A template is compiled
    when it is first wanted, for all of them take nine tenths of a start.
    """

    def __init__(self, base: str = "") -> None:
        self.files = {path.name: _sent(path) for path in sorted(_STATIC.iterdir()) if path.suffix in _TYPES}
        digest = hashlib.blake2b(b"".join(self.files.values()), digest_size=8).hexdigest()
        self.static = f"/static/{digest}"
        self._environment = _environment(base, self.static)

    def render(self, template: str, **values: Any) -> str:
        """A view's page; `now` among the values is the wall clock, in seconds."""
        return self._environment.get_template(template).render(**values)

    def file(self, name: str) -> tuple[bytes, str] | None:
        """A static file and its type."""
        content = self.files.get(name)
        return None if content is None else (content, _TYPES[Path(name).suffix])


_REMARK: Final = re.compile(rb"^\s*//.*\n", re.MULTILINE)


def _sent(path: Path) -> bytes:
    """A static file as browsers get it: a script without the lines that are remarks, a tenth of it."""
    content = path.read_bytes()
    return _REMARK.sub(b"", content) if path.suffix == ".js" else content


def _read(template: Path) -> tuple[str, str, None]:
    """The text of a template, and where it is, for who reads of an error."""
    return template.read_text("utf-8"), str(template), None


def _environment(base: str, static: str) -> Environment:
    """What templates may use; `base` is what each address begins with."""
    environment = Environment(
        loader=FunctionLoader({path.name: _read(path) for path in _TEMPLATES.iterdir()}.get),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "quoted": quoted,
        "badge": badge,
        "status_badge": partial(status_badge, base=base), "outcome_badge": partial(outcome_badge, base=base),
        "size": size_text, "seconds": span_text, "as_set": set_span_text, "maybe_seconds": span, "pretty": pretty,
        "short": short,
        "own_frames": own_frames, "limits": limits_text, "moment": moment,
        "parted": parted, "as_it_is": as_it_is, "counted": counted,
        "as_word": shlex.quote, "percent": percent, "with_code": with_code, "about": about_seconds,
    }  # fmt: skip
    environment.globals |= {
        "time": time_tag, "duration": duration, "standing": standing, "raised": raised,
        "retries_spent": retries_spent, "step_name": step_name, "step_took": step_took, "signal_of": try_signal,
        "usually": usually, "expectation": expectation, "duration_until": duration_until,
        "key_rules": key_rules, "oldest_due": oldest_due, "base": base, "static": base + static, "bar_of": bar_of,
        "filter_told": filter_told, "many_of": many_of,
        "timeline": timeline, "step_bar": step_bar, "length": length, "ticks": ticks, "key_of": key_of,
        "exact_clock": exact_clock, "clock_time": clock_time, "waited": waited_of, "took": took, "cpu_time": cpu_time,
        "kind_of": kind_of, "how_of": how_of, "chart": chart, "squares": squares, "day_line": day_line,
        "hour_lines": hour_lines, "together": together, "legend": legend,
        "graph_of": Graph.of, "picture_of": picture_of, "graph_drawing": graph_drawing,
        "legend_of_ways": legend_of_ways, "members_bar": members_bar, "members_told": members_told, "sources": sources,
        "end_of": end_of, "member_standing": member_standing,
        "instant": instant, "ended_chart": ended, "dots": dots, "spark": spark, "spark_bars": spark_bars,
    }  # fmt: skip
    return environment


def timeline(
    job: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]], now: float, steps: Any
) -> Timeline:
    """Of a job of which `earlier` attempts come before those that it tells, and perhaps others in between."""
    return timeline_of({**job, "attempts": [*earlier, *job["attempts"]]}, now, steps)


def time_tag(told: str | None, now: float, exact: bool = False) -> Markup:
    """How long ago, or until then; the moment itself in its title. With `exact` the other way round."""
    if told is None:
        return Markup("–")
    moment = datetime.fromisoformat(told).astimezone(UTC)
    stamp, relative = moment.strftime("%Y-%m-%d %H:%M:%S UTC"), ago(moment.timestamp() - now)
    if exact:
        return Markup('<time class="exact" datetime="{}" title="{}">{}</time>').format(told, relative, stamp)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(told, stamp, relative)


def about_seconds(seconds: float) -> str:
    """A time span that goes on, as far as a person reads it: in its largest unit once it is more than some seconds."""
    return span_text(seconds) if seconds < 10 else about_text(seconds)


def duration_until(began_at: str, now: float) -> str:
    """How long that is ago, in its largest unit."""
    return about_text(max(0.0, now - datetime.fromisoformat(began_at).timestamp()))


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
            is_own = not is_of_library(place[1])
            counts[is_own] += 1
        elif not line.startswith(" "):
            is_own = True  # the error itself, or what stands between two tracebacks
        if is_own:
            kept.append(line)
    return "".join(kept) if all(counts.values()) else None


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
