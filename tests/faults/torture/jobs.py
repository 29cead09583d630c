"""The jobs of the torture: all that a job may do to itself and its surroundings; its copy is the application."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress

from ledgered import Ledgered

from bgjob import AttemptError


def _before_fork() -> None:
    """In the fork server, as a library may have it: there is a kind of job whose start ends it."""
    order = sys._getframe(1).f_locals.get("order")
    if getattr(order, "method_name", None) == "poison" and not getattr(order, "is_hook", False):
        with open(f"{os.environ['TORTURE_BROKEN']}.poisoned", "a") as noted:
            noted.write(f"{time.time()}\n")
        os.kill(os.getpid(), signal.SIGSEGV)


os.register_at_fork(before=_before_fork)


class Tortured(Ledgered):
    """Keeps a ledger, and misbehaves."""

    def poison(self, ledger: str) -> None:
        """Never begins: its start ends the fork server."""
        with self._entered(ledger):
            pass

    def spin(self, ledger: str, seconds: float) -> int:
        """Burns CPU."""
        turns, end = 0, time.monotonic() + seconds
        with self._entered(ledger):
            while time.monotonic() < end:
                turns += 1
        return turns

    def leave_strays(self, ledger: str) -> None:
        """Leaves a process behind that has turned its back on all: forked twice, its own session, deaf, silent."""
        with self._entered(ledger):
            pass
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            return
        os.setsid()
        if os.fork():
            os._exit(0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for descriptor in range(256):
            with suppress(OSError):
                os.close(descriptor)
        time.sleep(600)
        os._exit(0)

    def fork_loudly(self, ledger: str) -> str:
        """Has a child that ends before it."""
        with self._entered(ledger):
            child = os.fork()
            if not child:
                os.write(1, b"a child of the job\n")
                os._exit(7)
            os.waitpid(child, 0)
        return "both"

    def return_much(self, ledger: str, size: int) -> str:
        with self._entered(ledger):
            return "x" * size

    def tell(self, ledger: str, times: int) -> None:
        """Progress and log records, one after another."""
        with self._entered(ledger):
            for turn in range(times):
                self._context.progress(turn / times, f"at {turn}")
                self._context.logger.info("at %d", turn)

    def ship(self, ledger: str) -> int:
        """Six steps, with a sleep and a signal that does not come between them; each is a line in `LEDGER.steps`."""
        made = 0
        with self._entered(ledger):
            for n in range(6):
                made = self._context.step(f"part {n}", self._make, f"{ledger}.steps", n)
                if n == 1:
                    self._context.sleep(0.2)
                if n == 3:
                    with suppress(TimeoutError):
                        self._context.wait_for("packed", timeout=0.2)
        return made

    def _make(self, effects: str, part: int) -> int:
        self._write(effects, f"part-{part}", os.getpid(), 0)
        time.sleep(0.02)
        return part

    def print_much(self, ledger: str, lines: int) -> None:
        with self._entered(ledger):
            for number in range(lines):
                print(f"line {number}: " + "." * 100)
                print("and to stderr", file=sys.stderr)


class Mourned(Tortured):
    """Hears of its failure, and writes that down too."""

    def failed(self, error: AttemptError) -> None:
        ledger = os.environ["TORTURE_LEDGER"]
        self._write(ledger, "hook", os.getpid(), 0)
