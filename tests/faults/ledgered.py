"""Job classes that keep a ledger of their own, so that nobody has to believe the daemon; its copy is the application.

A line a fact, each written at once and whole: `JOB ATTEMPT start|end|overlap PID TICKS`. `overlap` tells of an earlier
attempt of the job whose process still lived when this one started.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bgjob import Fail, JobContext, Retry, Snooze


class Ledgered:
    """Each method notes its start, does what it is called, and notes its end, unless it dies before."""

    def __init__(self, context: JobContext) -> None:
        self._context = context

    def quick(self, ledger: str) -> int:
        """Does nothing; returns its pid."""
        with self._entered(ledger):
            return os.getpid()

    def sleep(self, ledger: str, seconds: float = 0.1) -> str:
        with self._entered(ledger):
            time.sleep(seconds)
        return "slept"

    def wait_for(self, ledger: str, path: str) -> str:
        """Waits until there is a file of this name."""
        with self._entered(ledger):
            while not Path(path).exists():
                time.sleep(0.005)
        return "waited"

    def fail_behind(self, ledger: str, path: str) -> None:
        """Fails once there is a file of this name, and is not tried again."""
        self.wait_for(ledger, path)
        raise Fail("as it was asked to")

    def fail(self, ledger: str, message: str = "no recipient") -> None:
        with self._entered(ledger):
            raise ValueError(message)

    def fail_once(self, ledger: str) -> int:
        """Raises at its first attempt."""
        with self._entered(ledger):
            if self._context.attempt == 1:
                raise ValueError("the first attempt fails")
            return self._context.attempt

    def ask(self, ledger: str, word: str) -> None:
        """Asks for a retry, for a snooze (once), or not to be tried again."""
        with self._entered(ledger):
            match word:
                case "retry":
                    raise Retry("once more", delay=0.05)
                case "snooze" if self._context.attempt == 1:
                    raise Snooze(0.05)
                case "fail":
                    raise Fail("never again")

    def die(self, ledger: str, signum: int) -> None:
        """Ends by a signal, in the middle of it."""
        with self._entered(ledger):
            os.kill(os.getpid(), signum)
            time.sleep(60)

    def exit(self, ledger: str, code: int) -> None:
        """Leaves without a word of how it went."""
        with self._entered(ledger):
            os._exit(code)

    @contextmanager
    def _entered(self, ledger: str) -> Iterator[None]:
        own = _ticks(os.getpid())
        for pid, ticks in self._earlier(ledger):
            if ticks and _ticks(pid) == ticks:
                self._write(ledger, "overlap", pid, ticks)
        self._write(ledger, "start", os.getpid(), own)
        try:
            yield
        finally:
            self._write(ledger, "end", os.getpid(), own)

    def _earlier(self, ledger: str) -> list[tuple[int, int]]:
        """The processes of the job's attempts before this one."""
        if self._context.attempt == 1 or not Path(ledger).exists():
            return []
        own = f"{self._context.job_id} "
        lines = [line.split() for line in Path(ledger).read_text().splitlines() if line.startswith(own)]
        return [(int(line[3]), int(line[4])) for line in lines if line[2] == "start"]

    def _write(self, ledger: str, what: str, pid: int, ticks: int) -> None:
        line = f"{self._context.job_id} {self._context.attempt} {what} {pid} {ticks}\n".encode()
        descriptor = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)


def _ticks(pid: int) -> int:
    """When the process started, in ticks since the boot; 0 where it is gone, or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in ("Z", "X") else int(fields[19])
