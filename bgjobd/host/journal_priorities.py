"""How grave the lines of a service's stderr are, as sd-daemon(3) has it told where journald reads that."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import IntEnum


class Priority(IntEnum):
    """How grave a line is; `journalctl -p err` shows errors, `-p warning` warnings too."""

    CRITICAL = 2
    ERROR = 3
    WARNING = 4
    INFO = 6


def is_for_journald(environ: Mapping[str, str], descriptor: int = 2) -> bool:
    """Whether journald reads this descriptor, as $JOURNAL_STREAM tells (systemd.exec(5)): its device and its inode.

    Whoever sends stderr elsewhere inherits the variable all the same.
    """
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def prefixed(text: str, priority: Priority) -> str:
    """The text with its priority before each line: to journald each is an entry."""
    return "\n".join([f"<{priority}>{line}" for line in text.split("\n")])
