"""The daemon under torture as pid 1 of a container: what ends there ends by nobody's fault, and costs no retry."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from bgjob.codec import JsonObject
from bgjobd.store.engines.places import place_of
from tests.engines import rows
from tests.faults.torture.station import Station

_HARMLESS: Final = frozenset({"quick", "sleep", "spin", "leave_strays", "tell"})
"""Methods that complete, whenever they are let, and print nothing."""


class Contained(Station):
    """A container that somebody keeps running, with a state that lasts and a runtime_dir on a tmpfs of its own."""

    is_contained = True
    _disks_of_their_own = ("state",)

    @property
    def pid(self) -> int | None:
        """The daemon's, as seen from outside, while one runs: the first child of pid 1."""
        return _try_child(self._first)

    @property
    def _first(self) -> int | None:
        """The container's pid 1, as seen from outside."""
        return _try_child(super().pid)

    def signal(self, number: int) -> bool:
        """Send pid 1 a signal, as an engine does; False where none runs."""
        return _is_sent(self._first, number)

    def kill_daemon(self) -> bool:
        return _is_sent(self.pid, signal.SIGKILL)

    def _spawn(self) -> subprocess.Popen[bytes]:
        (self.directory / "run").mkdir(exist_ok=True)
        contained = ["bwrap", "--unshare-pid", "--as-pid-1", "--die-with-parent", "--dev-bind", "/", "/"]
        contained += ["--proc", "/proc", "--tmpfs", "/run", "--tmpfs", str(self.directory / "run")]
        serve = [sys.executable, "-m", "bgjobd", "serve", "--config", str(self.config)]
        with (self.directory / "console").open("ab") as console:
            return subprocess.Popen(
                [*contained, "--setenv", "container", "bubblewrap", *serve],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )

    def findings(self, archived: Sequence[JsonObject]) -> Iterator[str]:
        """Harmless jobs that have spent a retry, though none of them had a limit of time.

        Where a fork server and the daemon were killed at once within the container, nobody saw the end: that costs one.
        """
        names = ("id", "method_name", "retry_count", "status", "error", "timeout")
        unseen = (
            "(SELECT count(*) FROM job_attempts AS a "
            "WHERE a.job_id = j.id AND a.outcome = 'lost' AND a.spends_retry <> 0)"
        )
        told = rows(
            place_of(self.settings.daemon), f"SELECT {', '.join(names)}, {unseen} FROM background_jobs AS j"
        )
        told += [(*(job[name] for name in names), _unseen(job["attempts"])) for job in archived]
        for job_id, method, retries, status, error, timeout, lost in told:
            if method in _HARMLESS and timeout is None and retries > lost:
                yield f"job {job_id}: {method} is {status} after {retries} retries ({error}), and is harmless"


def _unseen(attempts: Sequence[JsonObject]) -> int:
    return sum(one["outcome"] == "lost" and one["spends_retry"] for one in attempts)


def _try_child(pid: int | None) -> int | None:
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if children else None
    return None


def _is_sent(pid: int | None, number: int) -> bool:
    """Send it; nobody but its parent reaps it, which is no process of ours, so it may be gone."""
    with suppress(OSError):
        if pid is not None:
            os.kill(pid, number)
            return True
    return False
