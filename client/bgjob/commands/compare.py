"""What differs between two attempts: `bgjob compare`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Final

from bgjob import comparing, sides, text
from bgjob.client import Client
from bgjob.commands import screen, tables
from bgjob.commands.problems import NOT_FOUND, OK
from bgjob.commands.tables import Column, Cut
from bgjob.comparing import MOST_LINES, Comparison, Lines

_NOTHING: Final = "–"
_STYLES: Final = {"-": "red", "+": "green", "@": "cyan"}


def compare(client: Client, given: argparse.Namespace) -> int:
    """Show what differs between two attempts."""
    try:
        found = comparing.compared(*sides.both_of(client, given.a, given.b))
    except sides.NoAttemptError as error:
        screen.say(str(error))
        return NOT_FOUND
    if given.json:
        screen.tell_json(comparing.as_json(found))
        return OK
    screen.show("".join(f"{screen.as_line(line)}\n" for line in _lines(found)))
    return OK


def _lines(found: Comparison) -> Iterator[str]:
    titles = (str(found.a.place), str(found.b.place))
    differing = [(row.name, row.a, row.b) for row in found.rows if row.differs]
    yield from _table("DIFFERS", titles, differing or [("nothing", "", "")])
    same = [f"{row.name} {text.one_line(row.a)}" for row in found.rows if not row.differs]
    if same:
        yield from ["", *text.folded(f"same: {', '.join(same)}", screen.columns(), indent=6)]
    if found.parameters:
        rows = [(one.path or "all of them", one.a, one.b) for one in found.parameters]
        yield from ["", *_table("PARAMETER", titles, rows)]
        if found.has_more_parameters:
            yield "and more"
    yield from _diff("traceback", found.traceback)
    yield from _diff("output, the end", found.output)


def _table(
    title: str, sides: tuple[str, str], rows: Sequence[tuple[str, str | None, str | None]]
) -> list[str]:
    cells = [[_NOTHING if cell in (None, "") else text.one_line(cell or "") for cell in row] for row in rows]
    names, a, b = ([row[place] for row in cells] for place in range(3))
    table = tables.table(
        [Column(title, names), Column(sides[0], a, cut=Cut.END), Column(sides[1], b, cut=Cut.END)]
    )
    return table.rstrip("\n").split("\n")


def _diff(what: str, found: Lines) -> Iterator[str]:
    if found.is_too_long:
        yield from ["", f"{what}: too long, of more than {MOST_LINES:,} lines"]
    elif found.lines:
        yield from ["", screen.painted(what, "bold")]
        yield from (f"  {screen.painted(text.tabbed(line), _STYLES.get(line[:1]))}" for line in found.lines)
