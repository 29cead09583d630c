"""The spool as the daemon sees it: journals appear, are read, collected and removed; it decides nothing.

Its files, the fork servers that it keeps, and the fences in it stand in files of their own.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from inotify_simple import INotify, flags

from bgjobd.core.job import AttemptKey
from bgjobd.core.verdict import StopReason
from bgjobd.forkserver import journal as journals
from bgjobd.forkserver import reaping, spool_names, state_file, subreaper
from bgjobd.forkserver.cgroup import Group
from bgjobd.forkserver.journal import Journal
from bgjobd.forkserver.journal_lines import Record
from bgjobd.forkserver.spool_names import HOOKS
from bgjobd.supervisor.fences import Fences
from bgjobd.supervisor.kept_fork_servers import KeptForkServers
from bgjobd.supervisor.recording import Directory
from bgjobd.supervisor.spool_files import BEREFT, JOURNAL, MARKER, STOP, SpoolFiles, word_in

_WATCHED: Final = flags.CREATE | flags.MODIFY


class News(NamedTuple):
    """What an attempt has told of itself; where that ends in its journal, and whether there is more; whether its result
    waits for room.
    """

    notes: tuple[Record, ...]
    end: int
    has_more: bool
    is_waiting: bool


class Changes(NamedTuple):
    """The attempts whose journals appeared, those whose grew, and those that saved their jobs' state; `has_missed` says
    that there may be more.
    """

    created: frozenset[AttemptKey]
    grown: frozenset[AttemptKey]
    saved: frozenset[AttemptKey]
    has_missed: bool


def _keys_of(names: Iterable[str], kind: str = JOURNAL) -> frozenset[AttemptKey]:
    """The attempts whose journals, or files of another kind, are among these files."""
    return frozenset(key for name in names if (key := spool_names.try_key(name, kind)))


def watch(directory: Path, changes: flags) -> INotify:
    """What tells of these changes in the directory. Raises OSError."""
    try:
        inotify = INotify(nonblocking=True)
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        reason = (
            "no inotify instance is left for this user: what else runs as it, perhaps a job, holds all; end that, or "
            "raise fs.inotify.max_user_instances (or LimitNOFILE, if that is the lower)"
        )
        raise OSError(errno.EMFILE, reason) from None
    inotify.add_watch(directory, changes)
    return inotify


class Spool:
    """The directory of journals, on tmpfs: it ends with the machine's boot, or its container, as processes do.

    `database_id` is of the database that it belongs to, `servers` are the fork servers that it keeps, `fences` those
    against their starts.
    """

    def __init__(self, directory: Path) -> None:
        self.files = SpoolFiles(directory)
        self.servers = KeptForkServers(self.files)
        self.fences = Fences(self.files, self.servers)
        self._inotify = watch(directory, _WATCHED)
        self.database_id = word_in(self.files.descriptor, MARKER)
        self._carries = set(self.files.keys(spool_names.CARRY))

    def close(self) -> None:
        self._inotify.close()
        self.files.close()

    @property
    def directory(self) -> Directory:
        return self.files.directory

    def renew(self, bereft: Iterable[AttemptKey] = ()) -> None:
        """Make it again where it was removed, still this database's; its journals are gone. Raises OSError.

        It tells a later daemon which attempts' journals may have been there, and is nobody's until it does.
        """
        self.directory.renew()
        self._inotify.add_watch(self.files.path, _WATCHED)
        self._mark_as_own(bereft)

    # Whose it is

    def belongs_to(self, database_id: str) -> bool:
        """Whether the spool is this database's; one in which nothing tells belongs to nobody."""
        return self.database_id == database_id

    def give_to(self, database_id: str, bereft: Iterable[AttemptKey] = ()) -> None:
        """Make the spool this database's, without the journals of another, which may have been those of `bereft`.

        As where it is made again, a later daemon is told of these before it takes the spool for its own.
        """
        for key in {
            *self.journals(),
            *self.files.keys(*HOOKS),
            *self.stops(),
            *self.bereft(),
            *self.carries(),
            *self.states(),
        }:
            self.remove(key)
            self.remove_state(key)
            self.remove_stop(key)
            self.remove_bereft(key)
            for kind in HOOKS:
                self.remove_hook(key, kind)
        self.servers.remove_earlier()
        self.database_id = database_id
        self._mark_as_own(bereft)

    def _mark_as_own(self, bereft: Iterable[AttemptKey]) -> None:
        for key in bereft:
            self.files.put(spool_names.file_name(*key, BEREFT), b"")
        self.files.put(MARKER, self.database_id.encode())

    # What is in it

    def journals(self) -> list[AttemptKey]:
        """The attempts that have a journal."""
        return self.files.keys(JOURNAL)

    def hooks(self, kind: str) -> list[AttemptKey]:
        """The attempts after which a hook of this kind was called, and not yet seen to its end."""
        return [key for key in self.files.keys(kind) if not self.fences.is_against_hook(key, kind)]

    def stops(self) -> list[AttemptKey]:
        """The attempts that somebody told to stop."""
        return self.files.keys(STOP)

    def bereft(self) -> list[AttemptKey]:
        """The attempts whose journals may have been in the spool before it was removed and made again."""
        return self.files.keys(BEREFT)

    # Journals

    def fileno(self) -> int:
        """Readable when journals appeared or grew."""
        return int(self._inotify.fileno())

    def take_changes(self) -> Changes:
        """What journals appeared and grew, and what states were saved, since the last call."""
        events = list(self._inotify.read(timeout=0))
        modified = {event.name for event in events if event.mask & flags.MODIFY}
        return Changes(
            _keys_of(event.name for event in events if event.mask & flags.CREATE),
            _keys_of(modified),
            _keys_of(modified, spool_names.STATE),
            any(event.mask & flags.Q_OVERFLOW for event in events),
        )

    def try_read(self, key: AttemptKey) -> Journal | None:
        return self.files.try_read(key, JOURNAL)

    def try_read_hook(self, key: AttemptKey, kind: str) -> Journal | None:
        """The journal of the hook of this kind that was called after this attempt."""
        return self.files.try_read(key, kind)

    def read_news(self, key: AttemptKey, offset: int, pid: int, kind: str = JOURNAL) -> News:
        """What the attempt's process, or its hook's, told of itself next, from `offset` in its journal on.

        Raises OSError, as for a journal.
        """
        name = spool_names.file_name(*key, kind)
        with self.files.a_descriptor_to_spare():
            part = journals.read_on(self.files.descriptor, name, offset, pid)
        is_waiting = any(record["type"] == "waiting" for record in part.notes)
        return News(tuple(part.notes), part.end, part.has_more, is_waiting)

    def size(self, key: AttemptKey) -> int:
        """How many bytes the attempt's journal has; 0 where there is none."""
        name = spool_names.file_name(*key)
        try:
            return os.stat(name, dir_fd=self.files.descriptor, follow_symlinks=False).st_size
        except OSError:
            return 0

    def read_stacks(self, key: AttemptKey, offset: int) -> tuple[Record, ...]:
        """What was told of where the attempt, and copies of it, are, from `offset` in its journal on; for any thread.

        Raises OSError, as for a journal.
        """
        return journals.read_stacks(self.files.descriptor, spool_names.file_name(*key), offset)

    def try_collect(
        self,
        pidfd: int,
        key: AttemptKey,
        output_bytes: Callable[[], int],
        end_strays: Callable[[], Mapping[int, str]],
        group: Group | None,
        kind: str = JOURNAL,
    ) -> Record | None:
        """The exit record of a process that fell to this one from a dead fork server, and has ended; reaps it.

        None where it runs, or is no child of this process.
        """
        ended = subreaper.try_end(pidfd)
        if ended is None:
            return None
        name = spool_names.file_name(*key, kind)
        with self.files.a_descriptor_to_spare():
            return reaping.collect(ended, self.files.descriptor, name, output_bytes, end_strays, group)

    def remove(self, key: AttemptKey) -> None:
        """Remove the journal of an attempt whose end is committed.

        Never a fence's, which `Fences.lift` sees to: a fork server may have the start still before it; but for that of
        a job whose starts ended their fork servers, which are known to be gone.
        """
        self.fences.keep_no_longer(key)
        self.files.remove(spool_names.file_name(*key))
        self.remove_carry(key)

    def remove_hook(self, key: AttemptKey, kind: str) -> None:
        """Remove the journal of a hook that has ended."""
        self.files.remove(spool_names.file_name(*key, kind))

    # Words about attempts

    def write_stop(self, key: AttemptKey, reason: StopReason) -> None:
        """Leave word of why the attempt is stopped: for its process, and for a later daemon. Raises OSError."""
        self.files.put(spool_names.file_name(*key, STOP), f"{reason}\n".encode(), is_for_attempts=True)

    def write_carry(self, key: AttemptKey, text: str) -> None:
        """Leave what those before it have finished for the attempt. Raises OSError."""
        self._carries.add(key)
        self.files.put(spool_names.file_name(*key, spool_names.CARRY), text.encode())

    def remove_carry(self, key: AttemptKey) -> None:
        """Remove what was left for an attempt."""
        if key in self._carries:
            self._carries.discard(key)
            self.files.remove(spool_names.file_name(*key, spool_names.CARRY))

    def carries(self) -> list[AttemptKey]:
        """The attempts that were left such a file."""
        return list(self._carries)

    def states(self) -> list[AttemptKey]:
        """The attempts that have a file for their jobs' state."""
        return self.files.keys(spool_names.STATE)

    def try_read_state(self, key: AttemptKey) -> state_file.Saved | None:
        """The state that the attempt has saved last; None where it has no file for that. Raises OSError."""
        with self.files.a_descriptor_to_spare():
            return state_file.try_read(self.files.descriptor, spool_names.file_name(*key, spool_names.STATE))

    def remove_state(self, key: AttemptKey) -> None:
        """Remove what an attempt has saved of its job's state."""
        self.files.remove(spool_names.file_name(*key, spool_names.STATE))

    def try_read_stop(self, key: AttemptKey) -> StopReason | None:
        """Why the attempt was told to stop, or None where nobody told it so. Raises OSError, as for a journal."""
        word = word_in(self.files.descriptor, spool_names.file_name(*key, STOP))
        return StopReason(word) if word in frozenset(StopReason) else None

    def remove_stop(self, key: AttemptKey) -> None:
        """Remove the word of why an attempt was stopped."""
        self.files.remove(spool_names.file_name(*key, STOP))

    def remove_bereft(self, key: AttemptKey) -> None:
        """Remove the word of what an attempt has lost."""
        self.files.remove(spool_names.file_name(*key, BEREFT))

    # Fork servers

    def set_idle(self, mark: str) -> None:
        """This fork server is gone, with all that could still carry out a start of its: no fence is for it any more."""
        self.servers.set_idle(mark)
        self.fences.lift_all()
