"""The picture of what comes after what, and a group's members, as SVG; what others say is text there and no markup."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from markupsafe import Markup

from bgjob.text import standing

from .graph import DESPITE, ENDS, FAILED, GROUP, MET, OPEN, STANDINGS, Key, Told, members_told
from .graph_layout import HEIGHT, WIDTH, Line, Picture, Placed
from .texts import colour, short, shown, spoken

_MOST_LABEL: Final = 24
_CORNER: Final = 24
_NODE: Final = Markup(
    '<a id="{of}-{number}" class="node {of} {kind}" href="{base}/{of}s/{number}" tabindex="-1"><title>{title}</title>'
    f'<svg x="{{x}}" y="{{y}}" width="{WIDTH}" height="{HEIGHT}">'
    f'<rect x="1" y="1" width="{WIDTH - 2}" height="{HEIGHT - 2}" rx="6"/><text x="10" y="17">'
    '<tspan class="word">{word}</tspan> {name}</text><text class="label" x="10" y="32">{label}</text>'
    "</svg></a>"
)
_WAYS: Final = {
    MET: "completed",
    OPEN: "has not ended",
    FAILED: "failed, or was cancelled",
    DESPITE: "the same, and holds up nothing",
}


def graph_drawing(picture: Picture, here: Key, now: float, base: str = "") -> Markup:
    """What comes after what, for who sees it; each is a link, that begins with `base`. The others have a list."""
    ways = [
        Markup('<path class="way {}" d="{}"/>').format(kind, _ways(lines))
        for kind in STANDINGS
        if (lines := [one for one in picture.lines if one.standing == kind])
    ]
    nodes = [_node(one, one.key == here, now, base) for column in picture.columns for one in column]
    drawing = Markup('<svg class="graph" width="{}" height="{}" aria-hidden="true">{}</svg>')
    return drawing.format(picture.width, picture.height, Markup("").join([*ways, *nodes]))


def _ways(lines: Sequence[Line]) -> str:
    """Where several go up or down together they are drawn once: dots on dots would be a line without gaps."""
    pieces: dict[str, None] = {}
    upright: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    for line in lines:
        begin, end, bend = f"{line.x} {line.y:g}", f"{line.to_x} {line.to_y:g}", line.bend
        rise = line.to_y - line.y
        if abs(rise) <= 2 * _CORNER:
            pieces[f"M{begin}C{bend} {line.y:g} {bend} {line.to_y:g} {end}"] = None
            continue
        corner = _CORNER if rise > 0 else -_CORNER
        low, high = line.y + corner, line.to_y - corner
        pieces[f"M{begin}Q{bend} {line.y:g} {bend} {low:g}"] = None
        pieces[f"M{bend} {high:g}Q{bend} {line.to_y:g} {end}"] = None
        upright[bend].append((min(low, high), max(low, high)))
    drawn = (f"M{bend} {top:g}V{end:g}" for bend, found in upright.items() for top, end in _joined(found))
    return "".join(chain(pieces, drawn))


def _joined(stretches: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those that overlap as one."""
    found: list[tuple[float, float]] = []
    for top, end in sorted(stretches):
        if found and top <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((top, end))
    return found


def _node(placed: Placed, is_here: bool, now: float, base: str) -> Markup:
    of, number = placed.key
    said = _of_group(placed.told) if of == GROUP else _of_job(placed.told, now)
    return _NODE.format(
        base=base,
        of=of,
        number=number,
        kind=f"{colour(said.word)} here" if is_here else colour(said.word),
        title=said.title,
        x=placed.x,
        y=f"{placed.y - HEIGHT / 2:g}",
        name=said.name,
        word=spoken(said.word),
        label=said.label if len(said.label) <= _MOST_LABEL else f"{said.label[: _MOST_LABEL - 1]}…",
    )


@dataclass(frozen=True, slots=True)
class _Said:
    """What a node says: the word for how it stands, its id, what it is called, and in its title all of it."""

    word: str
    name: str
    label: str
    title: str


def _of_job(job: Told, now: float) -> _Said:
    word, method = standing(job, now), shown(job["method_name"])
    title = f"Job {job['id']}, {word}: {shown(job['class_name'])}::{method}"
    return _Said(word, f"#{job['id']}", f"{shown(short(job['class_name']))}::{method}", title)


def _of_group(group: Told) -> _Said:
    word, number, name = shown(group["state"]), group["id"], shown(group["name"] or "")
    title = f"Group {number}, {word}: {members_told(group)}. {name}"
    return _Said(word, f"Group {number}", f"{group['completed']:,} of {group['total']:,} {name}", title)


def legend_of_ways() -> Markup:
    """What each kind of line means."""
    entry = Markup(
        '<li><svg width="28" height="10" aria-hidden="true"><path class="way {}" d="M0 5H28"/></svg> {}</li>'
    )
    told = [entry.format(kind, word) for kind, word in _WAYS.items()]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(told))


def members_bar(group: Told) -> Markup:
    """A group's members as one bar, by what has become of them; the least of them is still seen."""
    parts = {kind: group[kind] for kind in (*ENDS, "unfinished") if group[kind] > 0}
    whole = sum(parts.values())
    sizes = {kind: max(1.0, 100 * many / whole) for kind, many in parts.items()}
    begin, bars = 0.0, []
    for kind, size in sizes.items():
        width = 100 * size / sum(sizes.values())
        bars.append(
            Markup('<rect class="part {}" x="{:.2f}%" width="{:.2f}%" height="100%"/>').format(
                kind, begin, width
            )
        )
        begin += width
    drawing = Markup('<svg class="members" role="img" aria-label="{}">{}</svg>')
    return drawing.format(members_told(group), Markup("").join(bars))
