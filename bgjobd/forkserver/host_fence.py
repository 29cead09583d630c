"""The fence of a host: a file that says until when its attempts may run that others may repeat, and a timer for that.

The daemon moves it; daemon and fork server each mind it, so that one of them may be gone, or stopped. Its time is that
of CLOCK_BOOTTIME, which counts sleep, as the machine has it, in whatever time namespace.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress

from . import journal_file, libc, spool_names
from .order import Order
from .process_identity import ahead

FENCED = "fenced"
"""Why an attempt is told to stop then: the word of its stop file, and of its exit record."""

_LONGEST = 64
_MOVES = 4096


def try_read(path: str) -> float | None:
    """The time in the file, inf where nobody ends anything any more; None where there is none to be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        until = float(os.read(descriptor, _LONGEST))
    except (OSError, ValueError):
        return None
    finally:
        os.close(descriptor)
    return None if math.isnan(until) else until


def text_of(until: float) -> bytes:
    """What the file says of this time."""
    return f"{until:.6f}\n".encode()


def leave_word(spool: int, job: int, number: int) -> None:
    """Write why the attempt is stopped, for its process and for a later daemon, unless somebody has; `spool` is that
    directory's descriptor. Without room nobody is told by that: the exit record tells it as well.
    """
    name = spool_names.file_name(job, number, "stop")
    with suppress(OSError):
        word = journal_file.link_first(spool, name, f"{FENCED}\n".encode())
        if word is not None:
            if os.fstat(spool).st_mode & 0o001:  # it may run as another user
                os.fchmod(word, 0o644)
            os.close(word)


class Alarm:
    """A timer by the machine's CLOCK_BOOTTIME, which wakes whoever polls it."""

    def __init__(self) -> None:
        self._ahead = ahead("boottime")
        self._timer = libc.timerfd_create(time.CLOCK_BOOTTIME)

    def fileno(self) -> int:
        return self._timer

    def close(self) -> None:
        os.close(self._timer)

    def machine_time(self, own: float) -> float:
        """A time of this process's CLOCK_BOOTTIME by the machine's."""
        return own - self._ahead

    def now(self) -> float:
        return self.machine_time(time.clock_gettime(time.CLOCK_BOOTTIME))

    def set(self, at: float) -> None:
        """Wake then, at once where that is over, and not at another time; never at inf."""
        libc.timerfd_settime(self._timer, 0.0 if at == math.inf else max(at + self._ahead, 1e-9))

    def take(self) -> None:
        """It has woken somebody, and wakes nobody again until it is set."""
        with suppress(BlockingIOError):
            os.read(self._timer, 8)


class HostFence:
    """The fork server's side: which of its children it is to end, and when. Without a `path` none, ever.

    A file that is gone says nothing: what was read last holds.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._alarm = None if path is None else Alarm()
        self._watch: int | None = None
        self._until = math.inf
        self._kill_at: dict[int, float] = {}

    @property
    def filenos(self) -> tuple[int, ...]:
        """What is readable once some are to be ended, if there is a fence."""
        alarm = () if self._alarm is None else (self._alarm.fileno(),)
        return alarm if self._watch is None else (*alarm, self._watch)

    def watch(self) -> None:
        """See at once from now on that the file is moved: that of the next daemon may tell a time that comes sooner."""
        if self._path is not None:
            with suppress(OSError):  # nothing to watch by is left: what is known holds until it is over
                self._watch = libc.inotify_of_moves(os.path.dirname(self._path))

    def may_start(self) -> bool:
        """Whether an attempt may: not while the host is cut off."""
        if self._alarm is None:
            return True
        now = self._alarm.now()
        self._read_on(now)
        self._set(self._alarm, now, is_minded=True)
        return now < self._until

    def has_ended(self, pid: int) -> bool:
        """Whether this child was told to stop."""
        return pid in self._kill_at

    def forget(self, pid: int) -> None:
        """This child is to be reaped."""
        self._kill_at.pop(pid, None)

    def due(self, children: Mapping[int, Order]) -> list[tuple[int, signal.Signals]]:
        """The signals that are due to these children, by pid, once the alarm has woken somebody."""
        if self._alarm is None:
            return []
        self._alarm.take()
        self._take_moves()
        now = self._alarm.now()
        self._read_on(now)
        minded = [
            pid for pid, order in children.items() if order.grace is not None and not self.has_ended(pid)
        ]
        ended = minded if self._until <= now else []
        self._kill_at |= {pid: now + (children[pid].grace or 0.0) for pid in ended}
        killed = [pid for pid, at in self._kill_at.items() if at <= now]
        self._kill_at |= dict.fromkeys(killed, math.inf)
        self._set(self._alarm, now, is_minded=bool(minded))
        return [*((pid, signal.SIGTERM) for pid in ended), *((pid, signal.SIGKILL) for pid in killed)]

    def _take_moves(self) -> None:
        if self._watch is not None:
            with suppress(BlockingIOError):
                os.read(self._watch, _MOVES)

    def _read_on(self, now: float) -> None:
        """Read the file where it may have been moved: the time that is known of is over, or none is, or it was seen."""
        is_seen = self._watch is not None
        if self._path is not None and (is_seen or self._until <= now or self._until == math.inf):
            until = try_read(self._path)
            self._until = self._until if until is None else until

    def _set(self, alarm: Alarm, now: float, is_minded: bool) -> None:
        """Wake for the next kill; and where somebody is to be ended at the end of the time, for that."""
        end = self._until if is_minded and now < self._until else math.inf
        alarm.set(min([end, *self._kill_at.values()]))
