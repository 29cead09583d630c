"""The spool as the daemon sees it: journals appear, are read, turned into facts, and removed; it decides nothing."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from inotify_simple import INotify, flags

from bgjob.codec import to_json
from bgjobd.core.facts import AttemptEnded, AttemptStarted
from bgjobd.core.job import Ending, Usage
from bgjobd.forkserver import journal as journals
from bgjobd.forkserver.identity import start_time
from bgjobd.forkserver.journal import Journal

AttemptKey = tuple[int, int]
"""A job's id and the attempt's number."""

_MARKER: Final = "database-id"


class SpoolInUseError(Exception):
    """Another daemon, with another state directory, uses this spool."""

    def __init__(self, directory: Path) -> None:
        super().__init__(f"another daemon uses {directory}; give each its own [daemon] runtime_dir")


class Spool:
    """The directory of journals, on tmpfs: it ends with the boot, as processes do."""

    def __init__(self, directory: Path) -> None:
        self._path = directory
        self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._directory)
            raise SpoolInUseError(directory) from None
        self._inotify = INotify(nonblocking=True)
        self._inotify.add_watch(directory, flags.CREATE)

    def close(self) -> None:
        self._inotify.close()
        os.close(self._directory)

    def fileno(self) -> int:
        """Readable when journals appeared."""
        return int(self._inotify.fileno())

    def take_created(self) -> tuple[list[AttemptKey], bool]:
        """The attempts whose journals appeared since the last call, and whether some may have been missed."""
        events = list(self._inotify.read(timeout=0))
        keys = [key for event in events if (key := _try_key(event.name))]
        return keys, any(event.mask & flags.Q_OVERFLOW for event in events)

    def try_read(self, key: AttemptKey) -> Journal | None:
        return journals.try_read(self._directory, journals.file_name(*key))

    def fence(self, key: AttemptKey) -> bool:
        """Decide that this attempt does not start; False if its process was first."""
        journal = journals.link_first(self._directory, journals.file_name(*key), journals.fenced())
        if journal is None:
            return False
        os.close(journal)
        return True

    def remove(self, key: AttemptKey) -> None:
        """Remove the journal of an attempt whose end is committed.

        Never a fence's: it stays while the boot lasts, for an orphaned fork server may have the start before it.
        """
        with suppress(
            OSError
        ):  # it was removed before a crash, or is no file: nothing that could be mended here
            os.unlink(journals.file_name(*key), dir_fd=self._directory)

    def journals(self) -> list[AttemptKey]:
        """The attempts that have a journal."""
        return [key for name in os.listdir(self._path) if (key := _try_key(name))]

    def belongs_to(self, database_id: str) -> bool:
        """Whether the spool was marked by this database; one without a mark belongs to nobody."""
        try:
            return (self._path / _MARKER).read_text(encoding="ascii") == database_id
        except FileNotFoundError:
            return False

    def mark(self, database_id: str) -> None:
        """Make the spool this database's, without the journals of another."""
        for key in self.journals():
            self.remove(key)
        temporary = self._path / f"{_MARKER}.new"
        temporary.write_text(database_id, encoding="ascii")
        temporary.replace(self._path / _MARKER)


def started(key: AttemptKey, journal: Journal, code_version: str | None) -> AttemptStarted | None:
    """The fact that the journal's first line tells, or None where the attempt was fenced."""
    record = journal.started
    return AttemptStarted(key[1], record["pid"], record["at"], code_version) if record else None


def has_token(journal: Journal, token: str) -> bool:
    """Whether the journal was begun for the claim with this token."""
    return journal.started is not None and bool(journal.started["token"] == token)


def ended(
    key: AttemptKey, journal: Journal, exit_record: journals.Record | None = None
) -> AttemptEnded | None:
    """The fact that the exit record tells, the journal's or the one given; None where there is neither.

    An outcome that was recorded whole wins, even if the process died right after.
    """
    record = journal.exit or exit_record
    if record is None:
        return None
    usage = record.get("usage")
    return AttemptEnded(
        key[1],
        _ending(journal, record["code"], record["signal"]),
        record["at"],
        Usage(**usage) if usage is not None else None,
    )


def ending_unseen(journal: Journal | None) -> Ending:
    """The ending of an attempt whose process is gone while nobody saw its exit: by its outcome, if it recorded one."""
    if journal is not None and journal.outcome is not None:
        return _ending(journal, None, None)
    return Ending.lost("its process is gone and nobody saw how it ended")


def try_open_process(journal: Journal) -> int | None:
    """A pidfd of the process that began this journal, or None where it is gone.

    The pidfd is opened first and compared then, so a pid that the kernel gave again is found out.
    """
    record = journal.started
    if record is None:
        return None
    try:
        pidfd = os.pidfd_open(record["pid"])
    except ProcessLookupError:
        return None
    try:
        if os.fstat(pidfd).st_ino == record["pidfd_inode"] and _has_started_then(record):
            return pidfd
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ESRCH):
            raise
    os.close(pidfd)
    return None


def _has_started_then(record: journals.Record) -> bool:
    """Whether the pid's process is as old as the record says; 0 says that the pidfd's inode tells enough (pidfs)."""
    told = int(record["start_time"])
    return told == 0 or start_time(record["pid"]) == told


def signal_group(journal: Journal | None, number: int) -> None:
    """Signal the attempt and all of its process group, if its leader is known to be alive."""
    if journal is None or journal.started is None:
        return
    pidfd = try_open_process(journal)
    if pidfd is None:
        return
    try:
        os.killpg(journal.started["pid"], number)
    except ProcessLookupError:
        pass  # it has just ended, or has not yet become the leader of its group
    finally:
        os.close(pidfd)


def _ending(journal: Journal, code: int | None, signal: int | None) -> Ending:
    if journal.outcome is not None:
        return replace(_OUTCOMES[journal.outcome["outcome"]](journal.outcome), exit_code=code, signal=signal)
    return Ending.exited(code) if code is not None else Ending.signalled(signal or 0)


def _completed(record: journals.Record) -> Ending:
    try:
        result = to_json(record.get("result"))
        result.encode()
    except (ValueError, RecursionError) as error:
        return Ending.failed("InvalidResult", f"the result is no JSON: {error}", may_retry=False)
    return Ending.completed(result)


def _failed(record: journals.Record) -> Ending:
    return Ending.failed(
        _storable(record["error_type"]),
        _storable(record["error_message"]),
        _storable(record["traceback"]),
        may_retry=record["may_retry"],
    )


def _storable(text: str) -> str:
    """The text with what UTF-8 cannot hold replaced, and cut: a job may have written its journal by itself."""
    return text[: journals.MAX_TEXT].encode("utf-8", "replace").decode()


_OUTCOMES: Final[dict[str, Callable[[journals.Record], Ending]]] = {
    "completed": _completed,
    "failed": _failed,
}


def _try_key(name: str) -> AttemptKey | None:
    job, _, rest = name.partition(".")
    number, _, ending = rest.partition(".")
    if ending != "journal" or not (
        job.isascii() and job.isdecimal() and number.isascii() and number.isdecimal()
    ):
        return None
    return int(job), int(number)
