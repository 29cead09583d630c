"""The exit codes of `bgjobd`, as sysexits(3) has them where it has any, and what a command says that ends with one."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from bgjobd.host.journal_priorities import Priority, is_for_journald, prefixed

if TYPE_CHECKING:
    from pathlib import Path

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
UNKNOWN: Final = 4
UNREPAIRED: Final = 65
UNAVAILABLE: Final = 69
BUSY: Final = 75
REFUSED: Final = 77
INTERRUPTED: Final = 130
CLOSED_PIPE: Final = 141


def complain(message: str, code: int) -> int:
    """Tell what is wrong on stderr; answers the code."""
    from bgjob.text import lines  # here: whether bgjob is our own is told by this file, too

    return tell(lines(message), code)


def tell(text: str, code: int) -> int:
    """The same of a text that a terminal can be given."""
    told = f"bgjobd: {text}"
    print(prefixed(told, Priority.ERROR) if is_for_journald(os.environ) else told, file=sys.stderr)
    return code


def check_owner(state_dir: Path) -> None:
    """Raises PermissionError where the daemon is another user's: files that we made would be in its way."""
    try:
        owner = state_dir.stat().st_uid
    except (FileNotFoundError, NotADirectoryError):
        return
    if owner != os.geteuid():
        raise PermissionError(f"{state_dir} belongs to uid {owner}: run it as that user, whose daemon it is")


def named(error: Exception, then: str) -> str:
    return f"{error.filename} is there already; {then}" if isinstance(error, FileExistsError) else str(error)
