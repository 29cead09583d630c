"""What Python code prints, on its way to the output file: where the disk has no room a print is lost, not the job.

What else writes to the descriptors, as a program that the job runs does, is told by the kernel.
"""

from __future__ import annotations

import io
import sys
from typing import Any, Final

from .journal_file import NO_ROOM

_WRITE_BEHIND: Final = 8192
"""Bytes that are lost with the process at most, on any Python: from 3.14 on they would be 128 KiB."""


class _Sink(io.FileIO):
    """A descriptor whose writes do not fail for want of room; `lost` is how many bytes found none."""

    lost = 0

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            size = memoryview(data).nbytes
            self.lost += size
            return size


_SINKS: list[_Sink] = []


def take_over() -> None:
    """Have stdout and stderr of this process, and of those that it forks, write so; before anybody keeps them."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.flush()
            sink = _Sink(stream.fileno(), "w", closefd=False)
            _SINKS.append(sink)
            text = io.TextIOWrapper(
                io.BufferedWriter(sink, _WRITE_BEHIND),
                encoding=stream.encoding,
                errors=stream.errors,
                line_buffering=stream.line_buffering,
            )
            setattr(sys, name, text)
            setattr(sys, f"__{name}__", text)


def lost() -> int:
    """How many bytes were lost."""
    count = 0
    for sink in _SINKS:  # a generator would cost a fresh child another page
        count += sink.lost
    return count
