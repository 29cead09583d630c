"""What a process that fuzzes shows while it runs: figures and the input at hand, in memory that outlives its death."""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.target import MOST

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Figures(NamedTuple):
    """Executions; resident bytes and descriptors once it was warm (0: not yet), and now; inputs and bytes that it
    holds on to.
    """

    executions: int = 0
    first_rss: int = 0
    first_descriptors: int = 0
    rss: int = 0
    descriptors: int = 0


class Board:
    """The figures and the input, in a file that both processes map."""

    _FIGURES = struct.Struct("5Q")
    _SIZE = struct.Struct("Q")

    def __init__(self, path: Path) -> None:
        with path.open("a+b") as file:
            file.truncate(self._FIGURES.size + self._SIZE.size + MOST)
            self._map = mmap.mmap(file.fileno(), 0)

    def close(self) -> None:
        self._map.close()

    def write(self, figures: Figures) -> None:
        self._FIGURES.pack_into(self._map, 0, *figures)

    def read(self) -> Figures:
        return Figures(*self._FIGURES.unpack_from(self._map, 0))

    def begin(self, data: bytes) -> None:
        """This input comes next."""
        at = self._FIGURES.size
        self._SIZE.pack_into(self._map, at, len(data))
        self._map[at + self._SIZE.size : at + self._SIZE.size + len(data)] = data

    def input(self) -> bytes:
        """The one at hand, or the last."""
        at = self._FIGURES.size
        (size,) = self._SIZE.unpack_from(self._map, at)
        return self._map[at + self._SIZE.size : at + self._SIZE.size + size]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * _PAGE
