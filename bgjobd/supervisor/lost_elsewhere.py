"""Attempts of this host that others have counted as lost while it was away: what a start makes of those it finds."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from bgjobd.core.job import AttemptKey
from bgjobd.forkserver.journal import Journal
from bgjobd.forkserver.spool_names import directory_name
from bgjobd.store.entrusted import Outbox
from bgjobd.store.items.attempts import JobFact
from bgjobd.store.reader import Reader
from bgjobd.supervisor import journal_facts
from bgjobd.supervisor.processes import signal_group, try_open_process
from bgjobd.supervisor.spool import Spool
from bgjobd.supervisor.work_dirs import WorkDirs


@dataclass(frozen=True, slots=True)
class LostElsewhere:
    """`may_repeat` tells whether a lost attempt of a class is retried."""

    spool: Spool
    reader: Reader
    work: WorkDirs
    outbox: Outbox
    may_repeat: Callable[[str], bool]

    def try_directory(self, key: AttemptKey) -> str | None:
        """The directory that it goes on in; None where it is over, or is to be by now.

        How it ended is told in its job's log. One that may run again elsewhere is killed. One that may not was the end
        of its job, and goes on: the next start looks again.
        """
        try:
            journal = self.spool.try_read(key)
            fact = None if journal is None else journal_facts.ended(key, journal)
            goes_on = journal is not None and fact is None and self._goes_on(key, journal)
        except OSError:  # it cannot be read now
            return directory_name(*key)
        if goes_on:
            return directory_name(*key)
        if fact is not None:
            self.outbox.hold(JobFact(key[0], fact))
        self.spool.remove(key)
        return None

    def _goes_on(self, key: AttemptKey, journal: Journal) -> bool:
        """Whether its process is there, and stays. Raises OSError."""
        pidfd = try_open_process(journal, self.work.owner_of(directory_name(*key)))
        if pidfd is None or journal.started is None:
            return False
        try:
            job = self.reader.summary(key[0])
            if job is None or not self.may_repeat(job["class_name"]):
                return True
            signal_group(pidfd, journal.started["pid"], signal.SIGKILL)
            return False
        finally:
            os.close(pidfd)
