"""Whether what is installed fits together: bgjobd contains the client, which may not be there a second time.

Standard library only, for a second client may have overwritten any file of ours.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def try_conflict() -> str | None:
    """What is wrong where the distribution bgjob is installed here as well: both own the package bgjob. Else None."""
    for place in map(os.path.abspath, sys.path):
        with suppress(OSError):  # an archive, or nothing
            for name in os.listdir(place):
                if _is_client(place, name):
                    return _conflict(place, name.removesuffix(".dist-info").replace("-", " "))
    return None


def _is_client(place: str, name: str) -> bool:
    if not name.startswith("bgjob-") or not name.endswith(".dist-info"):
        return False
    # Else it is not installed: building leaves such things in a tree.
    return os.path.exists(f"{place}/{name}/WHEEL")


def _conflict(place: str, client: str) -> str:
    return (
        f"{place}: {client} and bgjobd are both installed, each with the package bgjob: `pip uninstall bgjob`, which "
        "takes files of bgjobd's away, and install bgjobd, which contains it, with --force-reinstall --no-deps"
    )
