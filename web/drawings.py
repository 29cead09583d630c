"""Small drawings as SVG; of what a job or a configuration says there is text in them and no markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup


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
