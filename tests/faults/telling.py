"""An alert on the way of a sweep: a queue is paused while a job is due, which a script is told, and then its end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.daemon.running import RunningDaemon
from tests.support import eventually

_SCRIPT: Final = """#!/bin/sh
cat >> "$0.told"
echo >> "$0.told"
"""
_SETTINGS: Final = """
[alerts]
quiet = "1ms"
gather = "10ms"
most = 1000000
[alerts.targets]
script = {{ command = ["{script}"] }}
[alerts.rules]
paused = {{ tell = ["script"] }}
"""
_NOTICES: Final = "SELECT status FROM background_jobs WHERE class_name = 'bgjob.alerts.Notice'"


def settings_in(directory: Path) -> str:
    """What goes to the end of the daemon's settings; makes the script that is told."""
    script = directory / "page"
    script.write_text(_SCRIPT)
    script.chmod(0o755)
    return _SETTINGS.format(script=script)


class Telling:
    """What has been told by a daemon, alert by alert: each was to be raised once, and told of beginning and end."""

    def __init__(self, running: RunningDaemon) -> None:
        self._running = running
        self._told = running.directory / "page.told"

    def wait(self, tellings: int, alert: int) -> None:
        """Until so many tellings of the `alert`-th alert are done, 1 or 2, and their jobs have ended."""

        def is_told() -> bool:
            counts = [count for _, count in self._alerts()]
            jobs = self._running.query(_NOTICES)
            ended = all(status == "completed" for (status,) in jobs)
            return len(counts) >= alert and counts[alert - 1] >= tellings and bool(jobs) and ended

        eventually(is_told, 60.0)

    def count(self) -> int:
        return len(self._alerts())

    def complaints(self) -> Iterator[str]:
        """Where one was not told, or by two jobs, or a repeat has another id."""
        lines = self._told.read_text().splitlines() if self._told.exists() else []
        told = {(notice["id"], notice["cleared"]) for notice in map(json.loads, lines)}
        wanted = {(id, is_over) for id, _ in self._alerts() for is_over in (False, True)}
        if told != wanted:
            yield f"told were alerts {sorted(told ^ wanted)}, or not"
        jobs = len(self._running.query(_NOTICES))
        if jobs != len(wanted):
            yield f"{len(wanted)} tellings were made by {jobs} jobs"

    def _alerts(self) -> list[tuple[int, int]]:
        return self._running.query("SELECT id, told_count FROM alerts WHERE rule = 'paused' ORDER BY id")
