"""The starts that wait in line for the fork server, and those on their way there that have not begun: who goes when.

What is started, and what becomes of it, is known elsewhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from bgjobd.core.planner import may_go
from bgjobd.supervisor.fork_server_link import ForkServer


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """An attempt, or a hook, that is to be started; `crashes` is how many in a row crashed before it.

    `send` asks the fork server for it, and answers whether it did; `has_begun` is asked where nobody tells, by `leave`,
    that it has.
    """

    crashes: int
    send: Callable[[ForkServer], bool]
    has_begun: Callable[[], bool] | None = None


class Starts:
    """Sends what is to start in the order in which it came; a start that may end the fork server goes alone."""

    def __init__(self) -> None:
        self._server: ForkServer | None = None
        self._line: deque[Start] = deque()
        self._sent: set[Start] = set()
        self._is_going_on = False

    def serve_with(self, server: ForkServer | None) -> None:
        """From now on this one is asked; what is on its way to another does not matter to it."""
        self._server = server
        self._sent = set()
        self._go_on()

    def put(self, start: Start) -> None:
        """Send it, in its turn."""
        self._line.append(start)
        self._go_on()

    @property
    def has_server(self) -> bool:
        """Whether there is a fork server to ask."""
        return self._server is not None

    def is_in_line(self, start: Start) -> bool:
        """Whether the fork server was not asked for it yet."""
        return start in self._line

    def leave(self, start: Start) -> None:
        """It has begun, or ended, or is not wanted any more."""
        if start in self._sent:
            self._sent.remove(start)
        elif start in self._line:
            self._line.remove(start)
        self._go_on()

    @property
    def has_line(self) -> bool:
        """Whether somebody waits, so that it matters to know soon what has begun."""
        return bool(self._line)

    def look(self) -> None:
        """Something may have begun of which nobody tells."""
        if self._line:
            self._sent = {one for one in self._sent if one.has_begun is None or not one.has_begun()}
            self._go_on()

    def _go_on(self) -> None:
        if self._is_going_on:
            return  # who is sent, or turns out not to be, may leave meanwhile; the loop below sees that
        self._is_going_on = True
        try:
            self._send_who_may_go()
        finally:
            self._is_going_on = False

    def _send_who_may_go(self) -> None:
        while self._line and self._server is not None:
            # One that may end it is alone there, so nobody has to look through many.
            has_suspect = len(self._sent) == 1 and next(iter(self._sent)).crashes > 0
            if not may_go(self._line[0].crashes, len(self._sent), has_suspect):
                return
            start = self._line.popleft()
            self._sent.add(start)
            if not start.send(self._server):
                self._sent.discard(start)
