"""Tables of columns that fit the terminal, pure but for the last step.

By hand, for rich cuts no cell at its beginning, leaves out no column and says so, and costs `bgjob list` half of its
start again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final, NamedTuple

from bgjob import text
from bgjob.commands import screen

_GAP: Final = "  "
_NARROWEST: Final = 8
_UNTITLED: Final = "notes"
_CHARACTERS_A_COLUMN: Final = 4
"""How many characters of a cell are looked at for each column of the terminal; there may be 64 KiB of them."""


class Cut(Enum):
    """What a cell loses where the terminal is too narrow: nothing, its beginning or its end."""

    NOTHING = 0
    BEGINNING = 1
    END = 2


class Column(NamedTuple):
    """A column of a table; numbers stand to the right. One that may be cut is never narrower than `least`.

    Where there is no room for all, that goes first which `yields` most, and of several the last.
    """

    title: str
    cells: Sequence[str]
    is_number: bool = False
    cut: Cut = Cut.NOTHING
    least: int = _NARROWEST
    yields: int = 0


class Layout(NamedTuple):
    """Columns, how wide each is, and the titles of those that have no room."""

    columns: Sequence[Column]
    widths: Sequence[int]
    left_out: Sequence[str]

    def titles(self, paint: Callable[[str], str] = str) -> str:
        return self._line([column.title for column in self.columns], paint)

    def rows(self, paint: Callable[[str], str] = str) -> list[str]:
        cells = zip(*(column.cells for column in self.columns), strict=True)
        return [self._line(row, paint) for row in cells]

    def _line(self, cells: Sequence[str], paint: Callable[[str], str]) -> str:
        shown = []
        for whole, column, wide in zip(cells, self.columns, self.widths, strict=True):
            kept = text.shortened(whole, wide, keeps_end=column.cut is Cut.BEGINNING)
            padding = " " * (wide - text.width(kept))
            cell = paint(kept)
            shown.append(padding + cell if column.is_number else cell + padding)
        return _GAP.join(shown).rstrip()


def layout(of: Sequence[Column], room: int | None) -> Layout:
    """The columns side by side: in so much room, or as wide as need be; pure."""
    whole = [column._replace(cells=[_cell(cell, column.cut, room) for cell in column.cells]) for column in of]
    places = _with_room(whole, room)
    shown = [whole[place] for place in places]
    left_out = [column.title or _UNTITLED for place, column in enumerate(whole) if place not in places]
    return Layout(shown, _fitted(shown, room), left_out)


def table(of: Sequence[Column]) -> str:
    """The columns side by side: fitted to the terminal where there is one, as wide as need be elsewhere."""
    fitted = layout(of, screen.columns())
    if fitted.left_out:
        screen.say(f"no room for {', '.join(fitted.left_out)}")
    lines = [fitted.titles(lambda title: screen.painted(title, "bold")), *fitted.rows(screen.painted)]
    return "".join(f"{line}\n" for line in lines)


def _cell(written: str, cut: Cut, room: int | None) -> str:
    if room is not None and cut is not Cut.NOTHING:
        written = text.capped(written, room * _CHARACTERS_A_COLUMN, keeps_end=cut is Cut.BEGINNING)
    return text.one_line(written)


def _with_room(of: Sequence[Column], room: int | None) -> Sequence[int]:
    """The places of as many as the terminal has room for where each is as narrow as it may be."""
    least = [
        _width(column) if column.cut is Cut.NOTHING else min(_width(column), column.least) for column in of
    ]
    kept = list(range(len(of)))
    while (
        room is not None
        and len(kept) > 1
        and sum(least[place] for place in kept) + len(_GAP) * (len(kept) - 1) > room
    ):
        kept.remove(max(kept[1:], key=lambda place: (of[place].yields, place)))
    return kept


def _fitted(of: Sequence[Column], room: int | None) -> list[int]:
    """How wide each column is: the widest of those that may be cut gives way first."""
    widths = [_width(column) for column in of]
    flexible = [index for index, column in enumerate(of) if column.cut is not Cut.NOTHING]
    excess = 0 if room is None else sum(widths) + len(_GAP) * (len(of) - 1) - room
    for _ in range(excess):
        widest = max(
            (index for index in flexible if widths[index] > of[index].least),
            key=lambda index: widths[index],
            default=None,
        )
        if widest is None:
            break
        widths[widest] -= 1
    return widths


def _width(column: Column) -> int:
    return max(map(text.width, (column.title, *column.cells)))
