"""A job of steps and waits whose effects are lines of a file, so that nobody has to believe the daemon; its copy is the
application.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from bgjob import JobContext


class Stepping:
    """Each step writes a line `JOB STEP TOKEN` into `effects`, at once and whole."""

    def __init__(self, context: JobContext) -> None:
        self._context = context

    def ship(self, effects: str, nap: float = 0.01) -> list[str]:
        """Ten steps, with a sleep after the third, and a signal that does not come after the sixth."""
        made = []
        for n in range(10):
            made.append(self._context.step(f"part {n}", self._effect, effects, f"part {n}"))
            if n == 2:
                self._context.sleep(nap)
            if n == 5:
                with suppress(TimeoutError):
                    self._context.wait_for("packed", timeout=0.05)
        return made

    def ship_late(self, effects: str) -> list[str]:
        """The same with a sleep in which a daemon can be killed, and another one start."""
        return self.ship(effects, nap=3.0)

    def ship_second(self, effects: str) -> list[str]:
        """The same; its second attempt halts at its beginning."""
        self._halt_next(1)
        return self.ship(effects)

    def ship_third(self, effects: str) -> list[str]:
        """The same of the third."""
        self._halt_next(2)
        return self.ship(effects)

    def _halt_next(self, attempt: int) -> None:
        if self._context.attempt == attempt:
            Path(__file__).with_name("halt").touch()

    def begin_and_wait(self, effects: str, count: int, directory: str) -> list[str]:
        """Says that it has begun, waits for `go`, makes its steps, says that they are done, and waits for `end`."""
        if self._context.attempt == 1:
            self._say(directory, "begun")
            self._wait_for(directory, "go")
        made = [
            self._context.step(f"part {n}", self._effect, effects, f"part {n}", "x" * 100)
            for n in range(count)
        ]
        if self._context.attempt == 1:
            self._say(directory, "done")
            self._wait_for(directory, "end")
        return made

    def fail_once(self, effects: str) -> str:
        """A step, and a failure behind it."""
        made = self._context.step("part 0", self._effect, effects, "part 0")
        if self._context.attempt == 1:
            raise ValueError("once")
        return made

    def _effect(self, effects: str, name: str, more: str = "") -> str:
        line = f"{self._context.job_id} {name.replace(' ', '-')} {self._context.token(name)}"
        descriptor = os.open(effects, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, f"{line}\n".encode())
        finally:
            os.close(descriptor)
        return line + more

    def _say(self, directory: str, word: str) -> None:
        ready = Path(directory, f"{word}.new")
        ready.write_text(str(os.getpid()))
        ready.rename(Path(directory, word))

    def _wait_for(self, directory: str, word: str) -> None:
        while not Path(directory, word).exists():
            time.sleep(0.005)
