"""Why children of the fork server did not begin, which they tell it by a pipe that all of them have."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

MADE_IN: Final = {"spool": "journal", "output": "output file", "work": "working directory"}
"""What an attempt needs before it starts, by the directory that it is made in."""


class Complaints:
    """What the children have told, by the pipe of these two ends."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._of_pids: dict[int, dict[str, Any]] = {}

    def why_not_begun(self, pid: int, paths: Mapping[str, str]) -> dict[str, Any]:
        """What a child that has ended told of why it did not begin; `unwritable` is the directory that it was about,
        one of these `paths`.
        """
        with suppress(BlockingIOError):
            complaints = map(json.loads, os.read(self.read_end, 65536).splitlines())
            self._of_pids |= {one["pid"]: one for one in complaints}
        found = self._of_pids.pop(pid, None)
        if found is None:
            return {"reason": "it ended before it could prove its start, or the start was fenced"}
        if "lost" in found:
            return {"reason": lowered(f"process {pid}, which waited for it,", found["lost"])}
        reason = _unwritable(found["what"], paths[found["what"]], found["errno"])
        return {"reason": reason, "unwritable": found["what"]}


def complain(write_end: int, **why: Any) -> None:
    """In a child: tell the fork server why this attempt did not start; in one write, for others write there too."""
    with suppress(OSError):
        os.write(write_end, json.dumps({"pid": os.getpid(), **why}).encode() + b"\n")


def lowered(whose: str, lost: Sequence[str]) -> str:
    """Why a process starts nothing from which something was taken that it might use."""
    return f"somebody has lowered what {whose} may use: {', '.join(lost)}"


def _unwritable(what: str, path: str, number: int) -> str:
    # Of a directory that is gone the kernel may say this or that.
    known = number if os.path.exists(path) else errno.ENOENT
    return f"its {MADE_IN[what]} could not be made in {path}: {os.strerror(known)}"
