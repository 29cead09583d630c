"""Results on stdout, messages on stderr: colours and pages, each only where there is a terminal."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TextIO

from bgjob import text
from bgjob.words import BEHIND, BLOCKED, EXPIRED, RETRYING, SNOOZED, WAITING, EntryType, Status

if TYPE_CHECKING:
    pass

_PAGER: Final = "less"
_LESS: Final = "FRX"  # as git has it: nothing to leave where it fits, colours, and what was read stays

_COLOURS: Final[Mapping[str, str]] = {
    Status.RUNNING: "cyan",
    Status.COMPLETED: "green",
    Status.FAILED: "red",
    text.FOR_REVIEW: "red",
    text.HELD: "red",
    Status.CANCELLED: "yellow",
    RETRYING: "yellow",
    SNOOZED: "yellow",
    BLOCKED: "yellow",
    BEHIND: "yellow",
    WAITING: "yellow",
    EXPIRED: "yellow",
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
    own = BEHIND if word.startswith(f"{BEHIND} ") else word.lower()  # it names the key, too
    code = _CODES.get(style or _COLOURS.get(own, ""))
    return word if code is None or not has_colours(stream or sys.stdout) else f"\x1b[{code}m{word}\x1b[0m"


def folded(line: str, indent: int = 0) -> list[str]:
    """The line, colours among it, as the terminal has room for it, broken between words; whole where there is none."""
    return text.folded(line, columns(), indent, lambda word: text.width(_unpainted(word)))


def log_line(entry: Mapping[str, Any], stream: TextIO | None = None) -> str:
    """The entry as the log file has it, `[2024-12-04 14:31:53] SUCCESS: myapp.jobs.ExampleJob::run - message`."""
    type = painted(entry["type"].upper(), stream=stream)
    return as_line(f"[{text.date(entry['created_at'])}] {type}: {text.message_of(entry)}", stream)


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
