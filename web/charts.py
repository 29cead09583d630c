"""Charts as SVG: bars of what ended, dots of attempts, a line of 24 hours; of what others say there is text in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from markupsafe import Markup

from .scatter import Cloud
from .texts import shown
from .trends import Change, Slot, Span, along, is_of_day

_WIDE: Final = 1000
_HIGH: Final = 100
_LOW: Final = 30
_MOST_LINES: Final = 60
"""Upright lines of a chart; more of them would hide it."""

_NICE: Final = (2, 4, 6, 8, 10, 12, 14, 16, 18)


def top_of(highest: int) -> int:
    """An even number at which the scale can end."""
    size = 1
    while True:
        for nice in _NICE:
            if nice * size >= highest:
                return nice * size
        size *= 10


def ended(slots: Sequence[Slot], changes: Iterable[Change], span: Span, now: float) -> Markup:
    """What ended as bars, the failures below on a scale of their own, upright lines where something was changed."""
    lines = [(one.place, one.told) for one in changes][:_MOST_LINES]
    most, bad = (
        top_of(max((getattr(slot, kind) for slot in slots), default=0)) for kind in ("completed", "failed")
    )
    whole = sum(slot.completed for slot in slots), sum(slot.failed for slot in slots)
    said = f"{whole[0]:,} jobs completed, at most {max((slot.completed for slot in slots), default=0):,} {span.unit}"
    return _PLOT.format(
        up=_up([f"{most:,} {span.unit}", f"{most // 2:,}", "0"]),
        high=_bars(slots, "completed", most, _HIGH, span, said, lines),
        down=_up([f"{bad:,} failed", "0"]),
        low=_bars(slots, "failed", bad, _LOW, span, f"{whole[1]:,} failed", lines),
        along=_times(span, now),
    )


_PLOT: Final = Markup(
    '<div class="plot">{up}{high}{down}{low}<span class="along" aria-hidden="true">{along}</span></div>'
)


def _up(labels: Sequence[str]) -> Markup:
    told = Markup("").join(Markup("<span>{}</span>").format(label) for label in labels)
    return Markup('<span class="up" aria-hidden="true">{}</span>').format(told)


def _times(span: Span, now: float) -> Markup:
    one = Markup('<span data-at="{}">{}</span>') if is_of_day(span) else Markup("<span>{1}</span>")
    told = [one.format(at, words) for at, words in along(span, now)]
    return Markup("").join([*told, Markup("<span>now</span>")])


def _bars(
    slots: Sequence[Slot],
    kind: str,
    most: int,
    high: int,
    span: Span,
    said: str,
    lines: Sequence[tuple[float, str]],
) -> Markup:
    wide = _WIDE / max(1, len(slots))
    drawn = [
        _BAR.format(
            kind,
            round(place * wide, 1),
            round(high - height, 1),
            round(wide * 0.86, 1),
            round(height, 1),
            _title(slot, span),
        )
        for place, slot in enumerate(slots)
        if (height := getattr(slot, kind) * high / most)
    ]
    return _SVG.format(
        "high" if high == _HIGH else "low", _WIDE, high, said, Markup("").join(drawn), _upright(lines, high)
    )


_BAR: Final = Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>')
_SVG: Final = Markup(
    '<svg class="{}" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}{}</svg>'
)
_LINE: Final = Markup('<line class="moment" x1="{x}" x2="{x}" y1="-4" y2="{}"><title>{}</title></line>')


def _upright(lines: Sequence[tuple[float, str]], high: int) -> Markup:
    return Markup("").join(
        _LINE.format(high, shown(told), x=round(place * _WIDE, 1)) for place, told in lines
    )


def _title(slot: Slot, span: Span) -> str:
    moment = datetime.fromtimestamp(slot.at, UTC)
    when = f"{moment:%H:%M}" if is_of_day(span) else f"{moment.day} {moment:%b %H:%M}"
    return f"{when} UTC: {slot.completed:,} completed, {slot.failed:,} failed"


# Attempts


def dots(cloud: Cloud) -> Markup:
    """Attempts one after the other, each as a dot; bad ones are squares. Their half and 95 of 100 as lines."""
    good = "".join(f"M{dot.x * _WIDE:.1f} {dot.y * _DEEP:.1f}h0" for dot in cloud.dots if not dot.is_bad)
    bad = Markup("").join(
        _BAD.format(dot.x * _WIDE, dot.y * _DEEP, dot.told) for dot in cloud.dots if dot.is_bad
    )
    parts = [
        *(_level("grid", place) for place in cloud.grid),
        *([] if cloud.most is None else [_level("most", cloud.most)]),
        Markup('<path class="one" d="{}"/>').format(good),
        bad,
        *(_polyline(name, line) for name, line in (("p50", cloud.half), ("p95", cloud.most_of_them))),
        _upright(cloud.changes[:_MOST_LINES], _DEEP),
    ]
    return _CLOUD.format(
        up=_up(cloud.labels),
        high=_SVG.format("deep", _WIDE, _DEEP, cloud.said, Markup("").join(parts), ""),
        along=Markup("").join(
            Markup('<span>#{}, <span data-at="{}">{}</span></span>').format(*told) for told in cloud.along
        ),
    )


_DEEP: Final = 200
_BAD: Final = Markup('<path class="bad-one" d="M{:.1f} {:.1f}h0"><title>{}</title></path>')
_CLOUD: Final = Markup(
    '<div class="plot deep">{up}{high}<span class="along" aria-hidden="true">{along}</span></div>'
)


def _level(kind: str, place: float) -> Markup:
    return Markup('<line class="{}" x1="0" x2="{}" y1="{y}" y2="{y}"/>').format(
        kind, _WIDE, y=round(place * _DEEP, 1)
    )


def _polyline(kind: str, line: Sequence[tuple[float, float]]) -> Markup:
    return Markup('<polyline class="{}" points="{}"/>').format(
        kind, " ".join(f"{x * _WIDE:.1f},{y * _DEEP:.1f}" for x, y in line)
    )


# 24 hours on a line


def spark(values: Sequence[Any], said: str) -> Markup:
    """Values of one after the other as a line; None is 0."""
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in _spread([value or 0 for value in values]))
    area = Markup('<polygon class="area" points="0,24 {0} 100,24"/><polyline class="line" points="{0}"/>')
    return _SPARK.format(said, area.format(points))


def spark_bars(values: Sequence[Any], said: str) -> Markup:
    """Values as bars of what is bad; None is 0."""
    most = max((value or 0 for value in values), default=0) or 1
    wide = 100 / max(1, len(values))
    drawn = [
        Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
            place * wide, 24 - max(2.0, 22 * value / most), wide * 0.8, max(2.0, 22 * value / most)
        )
        for place, value in enumerate(values)
        if value
    ]
    return _SPARK.format(said, Markup("").join(drawn))


_SPARK: Final = Markup(
    '<svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
)


def _spread(values: Sequence[float]) -> Iterator[tuple[float, float]]:
    most = max(values, default=0) or 1
    for place, value in enumerate(values):
        yield 100 * place / max(1, len(values) - 1), 22 - 20 * value / most
