"""Whether the daemon before this one ended as it should: a file is there while one runs, and left by a kill."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

FILE_NAME: Final = "running"


def begin(state_dir: Path) -> bool:
    """One runs from now on; whether the one before it was cut short. To be called with the lock."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        os.close(os.open(state_dir / FILE_NAME, flags, 0o600))
    except FileExistsError:
        return True
    except OSError:  # a full disk: then the next one knows nothing
        return False
    return False


def end(state_dir: Path) -> None:
    """It has ended as it should."""
    with suppress(OSError):
        os.unlink(state_dir / FILE_NAME)
