"""The summary as a picture: a bar for each figure beside that of its limit, as long as they are beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from report import Figure, shown

_WIDTH: Final = 760
_ROW: Final = 44
_TOP: Final = 56
_BARS: Final = 270
_LONGEST: Final = 330
_STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#1f2328}.small{font-size:11px;fill:#59636e}.own{fill:#2f6f9f}"
    ".limit{fill:#b8c4cf}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9198a1}.own{fill:#58a6d6}"
    ".limit{fill:#444f5a}}"
)


def to_svg(figures: Sequence[Figure], about: Mapping[str, Any]) -> str:
    """The figures that have a limit, and under the title where and when they were measured."""
    rows = [figure for figure in figures if figure.limit is not None]
    height = _TOP + _ROW * len(rows) + 8
    kernel = about["kernel"].partition("-")[0]
    where = f"{about['at'][:10]}, {about['cores']} cores, Linux {kernel}, Python {about['python']}, {about['engine']}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>bgjobd beside what the machine can do</title><style>{_STYLE}</style>",
        '<rect class="own" x="8" y="11" width="14" height="14" rx="2"/><text x="28" y="22">bgjobd</text>',
        '<rect class="limit" x="90" y="11" width="14" height="14" rx="2"/>',
        '<text x="110" y="22">the least that does the same on this machine</text>',
        '<text class="small" x="420" y="22">of jobs/s more is better, of ms less</text>',
        f'<text class="small" x="8" y="40">{escape(where)}</text>',
        *(part for place, figure in enumerate(rows) for part in _row(figure, _TOP + _ROW * place)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _row(figure: Figure, top: int) -> list[str]:
    limit = figure.limit or 0.0
    longest = max(figure.value, limit)
    return [
        f'<text x="8" y="{top + 20}">{escape(figure.name)}</text>',
        *_bar("own", figure.value, longest, figure.unit, top),
        *_bar("limit", limit, longest, figure.unit, top + 17),
    ]


def _bar(kind: str, value: float, longest: float, unit: str, top: int) -> list[str]:
    width = max(1, round(_LONGEST * value / longest)) if longest else 1
    return [
        f'<rect class="{kind}" x="{_BARS}" y="{top}" width="{width}" height="14" rx="2"/>',
        f'<text class="small" x="{_BARS + width + 6}" y="{top + 11}">{escape(f"{shown(value)} {unit}")}</text>',
    ]
