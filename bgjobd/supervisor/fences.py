"""Fences: records in the place of a journal, which decide that an attempt, or a hook, does not start.

Each stays as long as a fork server may have that start before it, or somebody needs what it tells.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from contextlib import suppress

from bgjobd.core.job import AttemptKey
from bgjobd.forkserver import journal as journals
from bgjobd.forkserver import journal_file, journal_lines, spool_names
from bgjobd.forkserver.journal import Journal
from bgjobd.forkserver.spool_names import HOOKS
from bgjobd.supervisor.kept_fork_servers import KeptForkServers
from bgjobd.supervisor.spool_files import JOURNAL, SpoolFiles


class Fences:
    """The fences of the spool, against starts by the fork servers that it keeps."""

    def __init__(self, files: SpoolFiles, servers: KeptForkServers) -> None:
        self._files, self._servers = files, servers
        self._kept: set[AttemptKey] = set()

    def put(self, key: AttemptKey, mark: str | None = None) -> bool:
        """Decide that this attempt does not start; False if its process was first.

        `mark` is of the fork server that was asked for the start; None where that is one of an earlier daemon's.
        """
        line = journal_lines.fenced(self._servers.holders(mark))
        journal = journal_file.link_first(self._files.descriptor, spool_names.file_name(*key), line)
        if journal is None:
            return False
        os.close(journal)
        return True

    def put_after_hook(self, key: AttemptKey, kind: str) -> None:
        """Put one in the place of the journal of a hook that is over, and after which another is to come: it stays
        until it is removed, or replaced, by its key. Raises OSError.
        """
        self._files.put(spool_names.file_name(*key, kind), journal_lines.fenced())

    def put_against_hook(self, key: AttemptKey, kind: str) -> None:
        """Put one in the place of a hook's journal, where a fork server of an earlier daemon may be about to call
        it.
        """
        name = spool_names.file_name(*key, kind)
        try:
            holders = self._servers.holders(None)
            if holders == []:
                self._files.remove(name)
            else:
                self._files.put(name, journal_lines.fenced(holders))
        except OSError:
            self._files.remove(name)  # the spool is full, or no descriptors are left

    def is_against_hook(self, key: AttemptKey, kind: str) -> bool:
        """Whether it is known that no hook was called: one that cannot be read now is looked at again later."""
        try:
            journal = self._files.try_read(key, kind)
        except OSError:
            return False
        return journal is not None and journal.fenced is not None

    def keep(self, key: AttemptKey) -> None:
        """Have it stay until it is lifted or removed by its key: it tells how its attempt has ended, or that a hook is
        owed.
        """
        self._kept.add(key)

    def keep_no_longer(self, key: AttemptKey) -> None:
        """Nobody needs what it tells any more."""
        self._kept.discard(key)

    def lift(self, key: AttemptKey) -> None:
        """Remove the fence of an attempt whose end is committed, once nobody is left who could start it."""
        self._kept.discard(key)
        self._lift([key], JOURNAL)

    def lift_all(self) -> None:
        """Remove all against starts that nobody has before him any more."""
        with suppress(OSError):  # the directory is gone, or no descriptors are left
            self._lift(set(self._files.keys(JOURNAL)) - self._kept, JOURNAL)
            for kind in HOOKS:
                self._lift(self._files.keys(kind), kind)

    def _lift(self, keys: Iterable[AttemptKey], kind: str) -> None:
        able: frozenset[str] | None = None
        for key in keys:
            name = spool_names.file_name(*key, kind)
            with suppress(OSError):  # it cannot be read now: it stays until the next occasion
                able = self._servers.able() if able is None else able
                journal = journals.try_read(self._files.descriptor, name)
                if journal is not None and _is_needless(journal, able):
                    self._files.remove(name)


def _is_needless(journal: Journal, able: Collection[str]) -> bool:
    """Whether it is a fence against starts that none of these fork servers has before it."""
    holders = None if journal.fenced is None or journal.started is not None else journal.fenced.get("servers")
    return holders is not None and not any(mark in able for mark in holders)
