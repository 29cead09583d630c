"""Whether the database has forgotten what it once acknowledged: compared at each connect, and kept until a person
accepts it. That nothing is claimed meanwhile is up to the writer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from bgjobd.core.went_back import Acknowledged, Found, LogEntry, why_gone_back
from bgjobd.host.clock import to_text
from bgjobd.store.committed import LogLine
from bgjobd.store.engines import Database

NAME: Final = "went_back"
"""Of the file in the state directory that says why, so that a restart accepts nothing."""

_SELECT: Final = """
    SELECT (SELECT coalesce(max(id), 0) FROM job_logs) AS newest,
        (SELECT job_id FROM job_logs WHERE id = :id) AS job_id,
        (SELECT created_at FROM job_logs WHERE id = :id) AS created_at
"""


class History:
    """Used on the writer's thread, but for `trouble` and `accept`; `beats` reads this host's own, None where unknown.

    Without a `state_dir` nothing is compared: the database is a file, and one in its place would be another. `trouble`
    is why the database is believed to have gone back, in words; None where it is not.
    """

    def __init__(self, state_dir: Path | None) -> None:
        self.beats: Callable[[Database], int | None] = lambda database: None
        self._path = None if state_dir is None else state_dir / NAME
        self._known = Acknowledged()
        self._last: LogLine | None = None
        self.trouble = self._try_read()

    def note(self, lines: Sequence[LogLine]) -> None:
        """These are committed."""
        if lines:
            self._last = lines[-1]

    def acknowledge_beats(self, beats: int) -> None:
        """So many of this host's are committed."""
        self._known = replace(self._known, beats=beats)

    def compare(self, database: Database) -> None:
        """Look, by a new connection. Raises peewee's errors, and OSError."""
        if self._path is None:
            return
        last = self._last
        entry = None if last is None else LogEntry(last.id, last.job_id, to_text(last.at))
        known = replace(self._known, entry=entry)
        reason = why_gone_back(known, self._found(database, known))
        if reason is not None and self.trouble is None:
            _keep(self._path, reason)
            self.trouble = _told(reason)

    def accept(self) -> None:
        """What the database has is what holds; a person says so, who has looked. Raises OSError."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self._known, self._last, self.trouble = Acknowledged(), None, None

    def _found(self, database: Database, known: Acknowledged) -> Found:
        id = 0 if known.entry is None else known.entry.id
        newest, job_id, created_at = database.connection().execute(_SELECT, {"id": id}).fetchone()
        entry = None if job_id is None else LogEntry(id, job_id, created_at)
        return Found(newest, entry, self.beats(database))

    def _try_read(self) -> str | None:
        if self._path is not None:
            with suppress(FileNotFoundError):
                return _told(self._path.read_text(encoding="utf-8"))
        return None


def _keep(path: Path, reason: str) -> None:
    """Whole, or not at all."""
    new = path.with_suffix(".new")
    new.write_text(reason, encoding="utf-8")
    os.replace(new, path)


def _told(reason: str) -> str:
    return f"the database has gone back behind what it had acknowledged: {reason}"
