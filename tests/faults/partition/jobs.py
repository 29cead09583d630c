"""The jobs of the partition: each tells every moment that it runs, and when that was; its copy is the application."""

from __future__ import annotations

import os
import time

from ledgered import Ledgered

_PAUSE = 0.05


class Often(Ledgered):
    """What others may repeat."""

    def pulse(self, ledger: str, seconds: float, manner: str = "finish") -> str:
        """Runs for so long, unless it is told to stop: then it goes on (`stay`), raises (`leave`), or returns."""
        end = time.monotonic() + seconds
        with self._entered(ledger):
            while time.monotonic() < end:
                reason = self._context.stop_reason
                self._write(f"{ledger}.effects", f"{time.monotonic():.6f}:{reason or ''}", os.getpid(), 0)
                if reason is not None and manner != "stay":
                    if manner == "leave":
                        raise RuntimeError("told to stop")
                    break
                time.sleep(_PAUSE)
        return "pulsed"


class Once(Often):
    """What nobody may repeat."""
