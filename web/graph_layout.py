"""Where the jobs and groups of a graph stand in a picture, and the lines between them; no markup.

The method is that of Sugiyama, Tagawa and Toda, "Methods for Visual Understanding of Hierarchical System Structures",
IEEE Transactions on Systems, Man, and Cybernetics 11 (1981): each stands one column behind the last of what it comes
after, a line that passes a column has a place in it, and in a column they stand by the mean of the places that they are
joined to. The members of a group stand before it, as it ends with them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from statistics import fmean
from typing import Final

from .graph import STANDINGS, Arrow, Graph, Key, Told

WIDTH: Final = 190
HEIGHT: Final = 40
_GAP: Final = 64
_ACROSS: Final = WIDTH + _GAP
_NODE: Final = HEIGHT + 10
_LANE: Final = 12
_MARGIN: Final = 4
_DEEPEST: Final = 200
"""How far below the top a column begins at most: of a tall one next to a short one the begin of both is seen."""

_MOST_STEPS: Final = 4_000
"""Between columns; nobody could follow more, and anybody who may submit could ask for many times as many."""

_SWEEPS: Final = (True, False, True, False, True)
"""Through the columns, forward or back: each by the places in the one that was gone through before it."""

_Spot = tuple[str, int, int]
"""A job or a group in its own column; in a later one, where a line from it passes."""

_Steps = dict[tuple[_Spot, _Spot], str]
_Joined = Mapping[_Spot, Sequence[_Spot]]


@dataclass(frozen=True, slots=True)
class Placed:
    """A job or a group, the left of where it stands and the middle of its height, in pixels, and what leads to it."""

    key: Key
    told: Told
    x: int
    y: float
    arrows: tuple[Arrow, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """From the left to the right; it goes up or down around `bend`."""

    x: int
    y: float
    to_x: int
    to_y: float
    bend: int
    standing: str


@dataclass(frozen=True, slots=True)
class Picture:
    """In columns, from the left to the right and from the top down.

    `is_crowded`: there would be more lines than anybody could follow, so there are none.
    """

    width: int
    height: int
    columns: tuple[tuple[Placed, ...], ...]
    lines: tuple[Line, ...]
    is_crowded: bool


def picture_of(graph: Graph) -> Picture:
    """The graph, laid out; the same for the same graph, however it stands."""
    column = _columns(graph)
    found = _try_steps(graph, column)
    steps = found or {}
    order = _ordered(column, steps)
    middles = _middles(order, column)
    leading: defaultdict[Key, list[Arrow]] = defaultdict(list)
    for arrow in graph.arrows:
        leading[arrow.after].append(arrow)
    placed: list[list[Placed]] = [[] for _ in order]
    for spot in chain.from_iterable(order):
        of, number, place = spot
        key = (of, number)
        if column[key] == place:
            here = Placed(key, graph.nodes[key], _left(place), middles[spot], tuple(leading[key]))
            placed[place].append(here)
    return Picture(
        _left(max(0, len(order) - 1)) + WIDTH + _MARGIN,
        round(max(middles.values(), default=0.0) + HEIGHT / 2 + _MARGIN),
        tuple(map(tuple, placed)),
        tuple(_lines(column, steps, middles)),
        found is None,
    )


def _columns(graph: Graph) -> dict[Key, int]:
    """Of each the longest way that leads to it. What no way has an end to, as in a circle, stays in the first."""
    column = dict.fromkeys(sorted(graph.nodes), 0)
    following: defaultdict[Key, list[Key]] = defaultdict(list)
    for arrow in graph.arrows:
        following[arrow.before].append(arrow.after)
    missing = Counter(arrow.after for arrow in graph.arrows)
    ready = [key for key in column if not missing[key]]
    for key in ready:  # which grows
        for after in following[key]:
            column[after] = max(column[after], column[key] + 1)
            missing[after] -= 1
            if not missing[after]:
                ready.append(after)
    return column


def _try_steps(graph: Graph, column: Mapping[Key, int]) -> _Steps | None:
    """From column to column, and how each stands; arrows from one node go together as far as they can. None where they
    are too many.
    """
    steps: _Steps = {}
    for arrow in graph.arrows:
        begin, end = column[arrow.before], column[arrow.after]
        to: _Spot = (*arrow.after, end)
        for place in range(end - 1, begin - 1, -1):
            step = ((*arrow.before, place), to)
            if _rank(steps.get(step)) >= _rank(arrow.standing):
                break  # another arrow goes the rest of the way
            steps[step], to = arrow.standing, step[0]
        if len(steps) > _MOST_STEPS:
            return None
    return steps


def _rank(standing: str | None) -> int:
    return -1 if standing is None else STANDINGS.index(standing)


def _ordered(column: Mapping[Key, int], steps: _Steps) -> list[list[_Spot]]:
    """The spots of each column, from the top down."""
    spots = {*((*key, place) for key, place in column.items()), *chain.from_iterable(steps)}
    order: list[list[_Spot]] = [[] for _ in range(max(column.values(), default=-1) + 1)]
    for spot in sorted(spots):
        order[spot[2]].append(spot)
    before, after = _joined(steps)
    for is_forward in _SWEEPS:
        joined, by = (before, -1) if is_forward else (after, 1)
        for place in range(len(order)) if is_forward else reversed(range(len(order))):
            beside = order[place + by] if 0 <= place + by < len(order) else []
            order[place] = _by_means(order[place], beside, joined)
    return order


def _joined(steps: Iterable[tuple[_Spot, _Spot]]) -> tuple[_Joined, _Joined]:
    """What each spot is joined to in the column before, and in the one after it."""
    before: defaultdict[_Spot, list[_Spot]] = defaultdict(list)
    after: defaultdict[_Spot, list[_Spot]] = defaultdict(list)
    for left, right in steps:
        before[right].append(left)
        after[left].append(right)
    return before, after


def _by_means(spots: Sequence[_Spot], beside: Sequence[_Spot], joined: _Joined) -> list[_Spot]:
    """The spots by the means of their places; one that is joined to nothing there stays where it is."""
    places = {spot: place for place, spot in enumerate(beside)}
    means = {
        spot: fmean(places[one] for one in joined[spot]) if joined[spot] else place
        for place, spot in enumerate(spots)
    }
    return sorted(spots, key=means.__getitem__)


def _middles(order: Sequence[Sequence[_Spot]], column: Mapping[Key, int]) -> dict[_Spot, float]:
    """How far below the top the middle of each is."""
    sizes = [[_NODE if column[spot[:2]] == spot[2] else _LANE for spot in spots] for spots in order]
    tallest = max(map(sum, sizes), default=0)
    middles: dict[_Spot, float] = {}
    for spots, own in zip(order, sizes, strict=True):
        begin = _MARGIN + min(_DEEPEST, (tallest - sum(own)) / 2)
        ends = accumulate(own)
        middles |= {spot: begin + end - size / 2 for spot, size, end in zip(spots, own, ends, strict=True)}
    return middles


def _lines(column: Mapping[Key, int], steps: _Steps, middles: Mapping[_Spot, float]) -> Iterator[Line]:
    """Between two columns, and where one passes a column."""
    bends = _bends(steps, middles)
    for (left, right), standing in steps.items():
        begin = _left(left[2]) + WIDTH
        yield Line(begin, middles[left], _left(right[2]), middles[right], bends[left, right], standing)
        if column[left[:2]] != left[2]:
            yield Line(begin - WIDTH, middles[left], begin, middles[left], begin, standing)


def _bends(steps: _Steps, middles: Mapping[_Spot, float]) -> dict[tuple[_Spot, _Spot], int]:
    """Where each goes up or down: those that begin in one spot together, and so do those that end in one.

    Others share a place where they are one above the other: sixty side by side would be one broad line.
    """
    many = Counter(chain.from_iterable((("from", left), ("to", right)) for left, right in steps))
    shared = {
        (left, right): left if many["from", left] >= many["to", right] else right for left, right in steps
    }
    gaps: defaultdict[int, defaultdict[_Spot, list[float]]] = defaultdict(lambda: defaultdict(list))
    falls: defaultdict[int, float] = defaultdict(float)
    for (left, right), spot in shared.items():
        gaps[left[2]][spot] += (middles[left], middles[right])
        falls[left[2]] += middles[right] - middles[left]
    found = {}
    for place, spots in gaps.items():
        tracks = _tracks({spot: (min(heights), max(heights)) for spot, heights in spots.items()})
        last = max(tracks.values())
        for spot, track in tracks.items():
            number = last - track if falls[place] > 0 else track  # so that fewer cross
            found[place, spot] = _left(place) + WIDTH + round(_GAP / (last + 2) * (number + 1))
    return {step: found[step[0][2], spot] for step, spot in shared.items()}


def _tracks(heights: Mapping[_Spot, tuple[float, float]]) -> dict[_Spot, int]:
    """So few that no two of one track go up or down at the same height."""
    ends: list[float] = []
    tracks = {}
    for spot, (top, end) in sorted(heights.items(), key=lambda one: one[1]):
        track = next((number for number, taken in enumerate(ends) if taken < top), len(ends))
        ends[track : track + 1] = [end]
        tracks[spot] = track
    return tracks


def _left(place: int) -> int:
    return _MARGIN + place * _ACROSS
