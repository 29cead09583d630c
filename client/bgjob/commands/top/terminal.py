"""The terminal as `bgjob top` has it: taken over and given back on every way out, keys and signals heard, lines drawn.

What is drawn, and what a key means, is not here.
"""

from __future__ import annotations

import codecs
import os
import select
import signal
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final

from bgjob.commands import screen
from bgjob.commands.top.controls import CTRL_C, keys_in
from bgjob.commands.top.picture import Line

_ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l"
_LEAVE: Final = "\x1b[?7h\x1b[?25h\x1b[?1049l"
"""The other screen, no cursor, and lines that end at the edge; and back."""

_ENDING: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_USUAL: Final = (80, 24)


class Bell:
    """Wakes the one who waits for keys: rung by other threads and by signals. `ended_by`: the signal that says to end.

    It is never closed: a thread that looks at the daemon may ring until the process ends.
    """

    def __init__(self) -> None:
        self._ear, self._rope = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.ended_by: int | None = None

    def ring(self) -> None:
        with suppress(BlockingIOError):  # it rings already
            os.write(self._rope, b"\0")

    @contextmanager
    def hears_signals(self) -> Iterator[None]:
        """Meanwhile signals ring; those that end a program are noted instead."""
        before = {number: signal.signal(number, self._on_end) for number in _ENDING}
        before[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, _on_resize)
        rope = signal.set_wakeup_fd(self._rope, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(rope)
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _on_end(self, number: int, frame: FrameType | None) -> None:
        self.ended_by = number

    def wait(self, keyboard: int) -> bool:
        """Wait until it rings or a key is pressed; whether a key was."""
        ready, _, _ = select.select([keyboard, self._ear], [], [])
        with suppress(BlockingIOError):
            while os.read(self._ear, 4096):
                pass
        return keyboard in ready


def _on_resize(number: int, frame: FrameType | None) -> None:
    """The wake-up is all that is needed: the size is asked for with every picture."""


class Terminal:
    """A terminal that was taken over."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._keyboard = sys.stdin.fileno()

    def wait_for_keys(self, bell: Bell) -> list[str]:
        """The keys that were pressed, once there are any or the bell rings; Ctrl-C once the terminal is gone."""
        if not bell.wait(self._keyboard):
            return []
        try:
            typed = os.read(self._keyboard, 4096)
        except OSError:
            typed = b""
        return keys_in(self._decoder.decode(typed)) if typed else [CTRL_C]

    def size(self) -> tuple[int, int]:
        """Columns and lines, as they are now."""
        try:
            columns, lines = os.get_terminal_size(sys.stdout.fileno())
        except OSError:
            return _USUAL
        return columns or _USUAL[0], lines or _USUAL[1]

    def draw(self, lines: Sequence[Line]) -> None:
        """Show these lines and nothing else."""
        sys.stdout.write("\x1b[H" + "\r\n".join(f"\x1b[2K{_painted(line)}" for line in lines) + "\x1b[J")
        sys.stdout.flush()


def _painted(line: Line) -> str:
    if line.is_selected:
        return f"\x1b[7m{line.text}\x1b[0m"
    return screen.painted(line.text, line.style) if line.style else line.text


@contextmanager
def taken_over() -> Iterator[Terminal]:
    """The terminal of stdin and stdout, with every key as it is pressed and on its other screen, until the end."""
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    try:
        termios.tcsetattr(keyboard, termios.TCSAFLUSH, _raw(before))
        sys.stdout.write(_ENTER)
        sys.stdout.flush()
        yield Terminal()
    finally:
        with suppress(OSError):  # the terminal is gone
            sys.stdout.write(_LEAVE)
            sys.stdout.flush()
        with suppress(termios.error):
            termios.tcsetattr(keyboard, termios.TCSAFLUSH, before)


def _raw(attributes: list[Any]) -> list[Any]:
    """Keys at once and unseen, Ctrl-C and Ctrl-S among them; what is written is treated as before."""
    changed = [*attributes[:6], [*attributes[6]]]
    changed[0] &= ~(termios.IXON | termios.ICRNL)
    changed[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN)
    changed[6][termios.VMIN], changed[6][termios.VTIME] = 1, 0
    return changed
