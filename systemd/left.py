"""Ends what a stopped or killed daemon has left in the cgroup of its service, where the machine goes down; run by
bgjobd-stop.service, which ends after the daemon. What becomes of jobs is not decided here: the next daemon does that.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

_SERVICE: Final = "bgjobd.service"
_CGROUPS: Final = Path("/sys/fs/cgroup")

_GRACE: Final = 10.0
"""Seconds from SIGTERM to SIGKILL: as long as a daemon gives at most, when the machine goes down."""

_LAST_MOMENT: Final = 2.0
"""Seconds that those have to be gone who were killed."""


def main() -> int:
    """End them, if everything is being stopped; answers the exit code."""
    if _asked("is-system-running") == "stopping":
        # A service that is inactive has a cgroup as long as processes are in it.
        place = _asked("show", "--property=ControlGroup", "--value", _SERVICE)
        end(_CGROUPS / (place or f"system.slice/{_SERVICE}").lstrip("/"), _GRACE)
    return 0


def end(group: Path, grace: float) -> None:
    """TERM to all processes of this cgroup and of those below, KILL to those that are left after so many seconds."""
    for pid in _pids(group):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    with suppress(OSError):  # there is no such cgroup: nobody is left
        if not _is_empty_within(group, grace):
            (group / "cgroup.kill").write_text("1")
            _is_empty_within(group, _LAST_MOMENT)


def _asked(*words: str) -> str:
    return subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False).stdout.strip()


def _pids(group: Path) -> list[int]:
    found: list[int] = []
    for directory, _, _ in os.walk(group):
        with suppress(OSError):  # removed meanwhile
            found += map(int, (Path(directory) / "cgroup.procs").read_text().split())
    return [pid for pid in found if pid]  # 0 is one that this process has no pid for


def _is_empty_within(group: Path, seconds: float) -> bool:
    """Whether no process is in the cgroup, or below it, once it is so or the time is over (cgroups(7), "populated")."""
    end = time.monotonic() + seconds
    with (group / "cgroup.events").open(encoding="ascii") as events:
        changes = select.poll()
        changes.register(events, select.POLLPRI)
        while "populated 1" in events.read():
            left = end - time.monotonic()
            if left <= 0:
                return False
            changes.poll(left * 1000)
            events.seek(0)
    return True


if __name__ == "__main__":
    sys.exit(main())
