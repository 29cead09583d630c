"""Children that are forked before anybody has asked for them: each waits at its pipe for an order, so that a start
forks nothing. A spare that dies had none.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from .order import Order

_END = b"\0"
_LONGEST = 32 * 1024
"""Bytes of an order that a pipe takes at once; a longer one goes to a child that is forked for it."""


class Spares:
    """The spares of a fork server, at most `most`, and no more than there are free `slots`. New ones are due when one
    has been used, never when one has died: what kills them as they come could go on for ever.
    """

    def __init__(self, most: int, slots: int) -> None:
        self._most, self._slots = most, slots
        self._pipes: dict[int, int] = {}
        self._leaving: set[int] = set()
        self._due = 0

    @property
    def pids(self) -> set[int]:
        """Of those that are not reaped."""
        return self._leaving.union(self._pipes)

    @property
    def are_due(self) -> bool:
        return self._due > 0

    def want(self, taken: int) -> None:
        """So many slots are taken: as many starts may come at once as there are others."""
        self._due = min(self._slots - taken, self._most) - len(self._pipes)

    def put_off(self) -> None:
        """None is due, until some are wanted again."""
        self._due = 0

    def fork(self, be_spare: Callable[[int], NoReturn]) -> None:
        """Have one more. In it, `be_spare` is called with the pipe that its order will come by."""
        self._due -= 1
        try:
            read, write = os.pipe2(os.O_CLOEXEC)
        except OSError:
            return  # then a start forks, and tells why it cannot
        try:
            pid = os.fork()
        except (OSError, MemoryError):
            os.close(read)
            os.close(write)
            return
        if pid == 0:
            os.close(write)
            be_spare(read)
        os.close(read)
        os.set_blocking(write, False)
        self._pipes[pid] = write

    def hand_over(self, order: Order) -> int | None:
        """Give the order to a spare; its pid, None where none has taken it."""
        if not self._pipes:
            return None
        data = order.to_json().encode() + _END
        while self._pipes and len(data) <= _LONGEST:
            pid, pipe = self._pipes.popitem()
            is_dead, is_taken = False, False
            try:
                is_taken = os.write(pipe, data) == len(data)
            except OSError as error:
                is_dead = isinstance(error, BrokenPipeError)
            os.close(pipe)
            if is_taken:
                return pid
            self._end(pid)
            if not is_dead:
                break  # a user who has many pipes gets smaller ones: it has had a part at most, and so would the next
        return None

    def dismiss(self) -> None:
        """Let all of them go."""
        self.put_off()
        while self._pipes:
            pid, pipe = self._pipes.popitem()
            os.close(pipe)
            self._end(pid)

    def _end(self, pid: int) -> None:
        """Not reaped: the pid is its own."""
        self._leaving.add(pid)
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)

    def try_forget(self, pid: int) -> bool:
        """One of them is to be reaped; False where it is none."""
        pipe = self._pipes.pop(pid, None)
        if pipe is not None:
            os.close(pipe)
        elif pid not in self._leaving:
            return False
        self._leaving.discard(pid)
        return True

    def close(self) -> None:
        """In a child: hold nothing of the others."""
        for pipe in self._pipes.values():
            os.close(pipe)
        self._pipes.clear()


def try_take(pipe: int) -> Order | None:
    """The order that comes by the pipe; None where the fork server has none for this process any more."""
    data = b""
    while not data.endswith(_END):
        more = os.read(pipe, 65536)
        if not more:
            return None
        data += more
    return Order.from_json(data[:-1])
