"""What an attempt tells by its journal, handed to the writer: its start, what it tells of itself meanwhile, and
what there is to say of its end.
"""

from __future__ import annotations

from collections.abc import Callable

from bgjob.words import EntryType
from bgjobd.core.attempt_sights import ResultWaited, Sight
from bgjobd.core.job import AttemptKey
from bgjobd.core.log_entries import OVERSTAYED, killed_strays
from bgjobd.forkserver.journal import Journal
from bgjobd.forkserver.journal_lines import Record
from bgjobd.store.items.attempts import AttemptNotes, JobFact, Noted
from bgjobd.supervisor import journal_facts
from bgjobd.supervisor.notes import NotesReader
from bgjobd.supervisor.surroundings import AttemptSurroundings


class AttemptNews:
    """What is known of one attempt by its `journal`, as that was read last; `see` hears that its result waits.

    `pid` and `began_at`: of its process, once its start was handed to the writer. `code_version` is that of the fork
    server that was asked for it.
    """

    def __init__(self, around: AttemptSurroundings, key: AttemptKey, see: Callable[[Sight], None]) -> None:
        self._around, self._key, self._see = around, key, see
        self._notes = NotesReader(around.spool, key)
        self.journal: Journal | None = None
        self.code_version: str | None = None
        self.pid: int | None = None
        self.began_at: float | None = None

    @property
    def started(self) -> Record | None:
        """The record of its start, where its journal was read."""
        return None if self.journal is None else self.journal.started

    @property
    def has_more(self) -> bool:
        """Whether it has told more than was read."""
        return self._notes.has_more

    def note_start(self, journal: Journal | None) -> bool:
        """Hand on its start, should the journal tell it; False where it does not, or it was known before."""
        fact = journal_facts.started(self._key, journal, self.code_version) if journal else None
        if fact is None or self.pid is not None:
            return False
        self.journal, self.pid, self.began_at = journal, fact.pid, fact.at
        self._around.outbox.hold(JobFact(self._key[0], fact))
        return True

    def expect_more(self) -> None:
        """Its process is gone, and may have told more than was read: that comes before its end."""
        self._notes.has_more = self.started is not None

    def note_end(self, journal: Journal, exit_record: Record | None) -> None:
        """Hand on what comes before its end, which the journal tells, or this record: the next portion of what it has
        told, whom it left behind, and whether it overstayed. Raises OSError.
        """
        if journal.may_have_notes:
            self.read()
        self.note_strays(*journal_facts.strays(exit_record or journal.exit))
        if journal_facts.has_overstayed(journal, exit_record):
            self._around.outbox.hold(Noted(*self._key, EntryType.FAILURE, OVERSTAYED))

    def note_strays(self, count: int, names: list[str]) -> None:
        """Hand on that so many processes, of these names, were ended which it left behind."""
        if count:
            self._around.outbox.hold(Noted(*self._key, EntryType.INFO, killed_strays(count, names)))

    def read(self) -> None:
        """Hand on the next portion of what it has told, until it has told all it may. Raises OSError."""
        if self.started is None:
            return
        first = self._notes.count
        found = self._notes.read(self.started["pid"])
        if found:
            self._around.outbox.hold(AttemptNotes(*self._key, first, found))
        if self._notes.is_waiting:
            self._see(ResultWaited())
            self._around.recording.suspect()
