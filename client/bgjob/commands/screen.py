"""Results on stdout, messages on stderr: colours, tables, pages and progress, each only where there is a terminal."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TextIO

from bgjob import text
from bgjob.words import RETRYING, EntryType, Status

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_PAGER: Final = "less"
_LESS: Final = "FRX"  # as git has it: nothing to leave where it fits, colours, and what was read stays
_GAP: Final = "  "
_NARROWEST: Final = 8
_CHARACTERS_A_COLUMN: Final = 4
"""How many characters of a cell are looked at for each column of the terminal; there may be 64 KiB of them."""

_COLOURS: Final[Mapping[str, str]] = {
    Status.RUNNING: "cyan",
    Status.COMPLETED: "green",
    Status.FAILED: "red",
    Status.CANCELLED: "yellow",
    RETRYING: "yellow",
    EntryType.SUCCESS: "green",
    EntryType.FAILURE: "red",
    EntryType.INFO: "blue",
}
_CODES: Final[Mapping[str, int]] = {"bold": 1, "red": 31, "green": 32, "yellow": 33, "blue": 34, "cyan": 36}
_PAINT: Final = re.compile(rf"(\x1b\[(?:0|{'|'.join(map(str, _CODES.values()))})m)")
"""No other than our own: one of others hides what follows."""
_LESS_COLOURS: Final = re.compile(r"-?[^-bDhjkoOpPtTxyz]*[Rr]|--(RAW|raw)-")
"""-r or -R among other letters; those before which it would be part of a value are left out."""


def open_standard_streams() -> None:
    """Give 0, 1 and 2 to /dev/null where they are closed, and show what a terminal's encoding lacks as escapes."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115  it lives as long as the process
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115  as above
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115  as above
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def forget_stdout() -> None:
    """Let what is still to be written, and can't be, go nowhere when the process ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def say(message: str) -> None:
    """A message, on stderr."""
    note(f"bgjob: {text.one_line(message)}")


def note(line: str) -> None:
    """A line on stderr, if that takes any: what the command is asked for does not fail with it."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def tell(result: str) -> None:
    """A line of the result, on stdout, at once."""
    print(as_line(result), flush=True)


def tell_json(value: Any) -> None:
    """A result for programs: JSON on one line."""
    tell(text.to_json(value))


def show(result: str) -> None:
    """A result of several lines: through a pager where it is longer than the terminal."""
    result = "\n".join(map(as_line, result.split("\n")))
    if (
        not draws_on(sys.stdout)
        or _rows_of(result) < shutil.get_terminal_size().lines
        or not _is_paged(result)
    ):
        sys.stdout.write(result)
        sys.stdout.flush()  # before what is said of it on stderr


def as_line(painted: str, stream: TextIO | None = None) -> str:
    """One line on which nothing moves or colours the terminal but tabs and our own colours, whoever wrote it."""
    if painted.isprintable():
        return painted
    if not has_colours(stream or sys.stdout):  # then none is ours
        return text.tabbed(painted)
    parts = _PAINT.split(painted)
    return "".join(part if _PAINT.fullmatch(part) else text.tabbed(part) for part in parts)


def draws_on(stream: TextIO) -> bool:
    """Whether the stream is a terminal that takes more than lines."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def has_colours(stream: TextIO) -> bool:
    return draws_on(stream) and not os.environ.get("NO_COLOR")


def columns() -> int | None:
    """How wide a result may be; None where it goes into a file or to a program."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def painted(word: str, style: str | None = None, stream: TextIO | None = None) -> str:
    """The word in the colour of the style, or its own as a status or entry type; on stdout if nothing else is said."""
    code = _CODES.get(style or _COLOURS.get(word.lower(), ""))
    return word if code is None or not has_colours(stream or sys.stdout) else f"\x1b[{code}m{word}\x1b[0m"


def log_line(entry: Mapping[str, Any], stream: TextIO | None = None) -> str:
    """The entry as the log file has it, `[2024-12-04 14:31:53] SUCCESS: myapp.jobs.ExampleJob::run - message`."""
    type = painted(entry["type"].upper(), stream=stream)
    return as_line(f"[{text.date(entry['created_at'])}] {type}: {text.message_of(entry)}", stream)


# Tables


class Cut(Enum):
    """What a cell loses where the terminal is too narrow: nothing, its beginning or its end."""

    NOTHING = 0
    BEGINNING = 1
    END = 2


class Column(NamedTuple):
    """A column of a table; numbers stand to the right. One that may be cut is never narrower than `least`."""

    title: str
    cells: Sequence[str]
    is_number: bool = False
    cut: Cut = Cut.NOTHING
    least: int = _NARROWEST


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
    shown = _with_room(whole, room)
    return Layout(shown, _fitted(shown, room), [column.title for column in whole[len(shown) :]])


def table(of: Sequence[Column]) -> str:
    """The columns side by side: fitted to the terminal where there is one, as wide as need be elsewhere."""
    fitted = layout(of, columns())
    if fitted.left_out:
        say(f"no room for {', '.join(fitted.left_out)}")
    lines = [fitted.titles(lambda title: painted(title, "bold")), *fitted.rows(painted)]
    return "".join(f"{line}\n" for line in lines)


def _cell(written: str, cut: Cut, room: int | None) -> str:
    if room is not None and cut is not Cut.NOTHING:
        written = text.capped(written, room * _CHARACTERS_A_COLUMN, keeps_end=cut is Cut.BEGINNING)
    return text.one_line(written)


def _with_room(of: Sequence[Column], room: int | None) -> Sequence[Column]:
    """The first columns, as many as the terminal has room for where each is as narrow as it may be."""
    least = [
        _width(column) if column.cut is Cut.NOTHING else min(_width(column), column.least) for column in of
    ]
    count = len(of)
    while room is not None and count > 1 and sum(least[:count]) + len(_GAP) * (count - 1) > room:
        count -= 1
    return of[:count]


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


# The pager


def _rows_of(result: str) -> int:
    """How many rows of the terminal the text takes."""
    room = shutil.get_terminal_size().columns
    return sum(max(1, -(-text.width(line) // room)) for line in _unpainted(result).splitlines())


def _is_paged(result: str) -> bool:
    """Whether a pager took the text; there may be none."""
    import shlex
    import subprocess

    try:
        command = shlex.split(os.environ.get("PAGER", _PAGER))
    except ValueError:
        return False  # a quote that is not closed
    if not command or command == ["cat"] or shutil.which(command[0]) is None:
        return False
    less = os.environ.get("LESS", _LESS)
    shown = result if _is_less_with_colours(command, less) else _unpainted(result)
    try:
        pager = subprocess.Popen(
            command, stdin=subprocess.PIPE, text=True, encoding="utf-8", env=os.environ | {"LESS": less}
        )
    except OSError:
        return False  # it is there and is no program
    # An interrupt is the pager's to answer: it has the terminal.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        pager.communicate(shown)
    finally:
        signal.signal(signal.SIGINT, before)
    return True


def _is_less_with_colours(command: Sequence[str], less: str) -> bool:
    """Whether the pager is `less`, with an option that has it show colours rather than the codes for them."""
    options = [*less.split(), *command[1:]]
    return os.path.basename(command[0]) == "less" and any(_LESS_COLOURS.match(option) for option in options)


def _unpainted(painted: str) -> str:
    return _PAINT.sub("", painted)


# Progress


class Board:
    """Where jobs stand that somebody waits for, on stderr; this one, for where there is no terminal, shows nothing."""

    def show(self, job: Mapping[str, Any]) -> None:
        """The job, a summary, stands like this now; one that has ended leaves the board."""

    @contextmanager
    def away(self) -> Iterator[None]:
        """The board is gone meanwhile, so that lines can be written."""
        yield


@contextmanager
def board() -> Iterator[Board]:
    """A board for as long as somebody waits."""
    if not draws_on(sys.stderr):
        yield Board()
        return
    drawn = _DrawnBoard()
    try:
        yield drawn
    finally:
        drawn.erase()


class _DrawnBoard(Board):
    def __init__(self) -> None:
        self._jobs: dict[int, Mapping[str, Any]] = {}
        self._draw()

    def show(self, job: Mapping[str, Any]) -> None:
        if Status(job["status"]).is_final:
            self._jobs.pop(job["id"], None)
            row = self._rows.pop(job["id"], None)
            if row is not None:
                self._progress.remove_task(row)
            return
        self._jobs[job["id"]] = job
        self._show_row(job)

    @contextmanager
    def away(self) -> Iterator[None]:
        self.erase()
        yield
        self._draw()

    def erase(self) -> None:
        self._progress.stop()

    def _draw(self) -> None:
        """Anew: one that was stopped and goes on would erase what was written meanwhile."""
        self._progress = _progress()
        self._rows: dict[int, TaskID] = {}
        for job in self._jobs.values():
            self._show_row(job)
        self._progress.start()

    def _show_row(self, job: Mapping[str, Any]) -> None:
        if job["id"] not in self._rows:
            self._rows[job["id"]] = self._progress.add_task("", percent="", message="")
        progress = job["progress"] if job["status"] == Status.RUNNING else None
        self._progress.update(
            self._rows[job["id"]],
            description=text.one_line(text.waiting(job, time.time())),
            total=1.0 if progress else None,
            completed=progress["fraction"] if progress else 0.0,
            percent=f"{progress['fraction']:.0%}" if progress else "",
            message=text.one_line(progress["message"]) if progress else "",
        )


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
    from rich.table import Column as Cell

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=Cell(no_wrap=True)),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[percent]}", markup=False),
        TextColumn(
            "{task.fields[message]}",
            markup=False,
            table_column=Cell(no_wrap=True, overflow="ellipsis", ratio=1),
        ),
        console=Console(stderr=True),
        transient=True,
        expand=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
