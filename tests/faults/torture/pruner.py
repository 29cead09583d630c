"""The one who prunes: again and again, into archives, often killed over it; the archives tell who may be gone."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.faults.torture.station import Station
from tests.support import archived

AGE: Final = "2s"
"""How old a job has to be; a submitter that has waited so long for an answer may find its key free again."""

_LONGEST_PAUSE: Final = 3.0
_LONGEST_LIFE: Final = 1.5
_PATIENCE: Final = 180.0
_LARGE: Final = frozenset({"logs", "result"})
_ENDS: Final = frozenset({-9, 0, 1, 69, 75})
"""Killed, well, or told that the daemon, or the file, is not to be had now."""


class Pruner:
    """Prunes until it is told to stop, where there is a station; `ends` counts the exit codes, `findings` are what none
    may end with.
    """

    def __init__(self, stations: Sequence[Station], seed: int) -> None:
        self.ends: Counter[int] = Counter()
        self.findings: list[str] = []
        self._stations = stations
        self._chance = random.Random(f"{seed}.pruner")
        self._archives: list[Path] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._prune, name="pruner")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()

    def archived(self) -> list[dict[str, Any]]:
        """All jobs that may have been deleted, as they were then; one that stayed may be there several times.

        Without what is large, and nobody asks for.
        """
        found = (job for path in self._archives if path.exists() for job in archived(path))
        return [{name: value for name, value in job.items() if name not in _LARGE} for job in found]

    def _prune(self) -> None:
        while self._stations and not self._is_over.wait(self._chance.uniform(0.0, _LONGEST_PAUSE)):
            station = self._chance.choice(self._stations)
            path = station.directory / f"archive-{len(self._archives)}.gz"
            self._archives.append(path)
            life = self._chance.uniform(0.0, _LONGEST_LIFE) if self._chance.random() < 0.5 else _PATIENCE
            self._prune_into(station, path, life)

    def _prune_into(self, station: Station, path: Path, life: float) -> None:
        ages = ("--completed", AGE, "--failed", AGE, "--archive", str(path))
        process = subprocess.Popen(
            [sys.executable, "-m", "bgjobd", "prune", "--config", str(station.config), *ages],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            _, told = process.communicate(timeout=life)
        except subprocess.TimeoutExpired:
            process.kill()
            _, told = process.communicate()
            if life == _PATIENCE:
                self.findings.append(f"a prune took longer than {_PATIENCE:g} s")
        self.ends[process.returncode] += 1
        if process.returncode not in _ENDS or "Traceback" in told:
            self.findings.append(f"a prune ended with {process.returncode}: {told}")
