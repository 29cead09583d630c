"""What an attempt, or a hook, tells of itself while it runs: read from its journal a portion at a time."""

from __future__ import annotations

from bgjobd.core.job import AttemptKey
from bgjobd.forkserver.journal import ATTEMPT, MAX_NOTES, MAX_VALUE, MAX_VALUED, MAX_VALUES
from bgjobd.store.items import Told, ValueNote
from bgjobd.supervisor.journal_facts import notes
from bgjobd.supervisor.spool import Spool


class NotesReader:
    """Reads on where it has stopped, until all is read that one may tell.

    `count`: how many notes were read. `has_more`: that there are others. `is_waiting`: that the portion read last
    says that the method has returned, and its result found no room.
    """

    def __init__(self, spool: Spool, key: AttemptKey, kind: str = ATTEMPT) -> None:
        self._spool, self._key, self._kind = spool, key, kind
        self._end = 0
        self._values_left, self._bytes_left = MAX_VALUES, MAX_VALUED
        self._notes_left = MAX_NOTES
        self.count = 0
        self.has_more = False
        self.is_waiting = False

    def read(self, pid: int) -> tuple[Told, ...]:
        """The next portion of what its process told. Raises OSError."""
        if not (self._notes_left or self._values_left):
            self.has_more = self.is_waiting = False
            return ()
        news = self._spool.read_news(self._key, self._end, pid, self._kind)
        found = tuple([note for note in notes(news.notes) if self._has_room(note)])
        self._end, self.has_more, self.is_waiting = news.end, news.has_more, news.is_waiting
        self.count += len(found)
        return found

    def _has_room(self, note: Told) -> bool:
        """Whether an attempt may tell that, too; what is beyond a job has written by itself."""
        if not isinstance(note, ValueNote):
            self._notes_left, has_room = max(0, self._notes_left - 1), self._notes_left > 0
            return has_room
        size = len(note.value.encode())
        if not self._values_left or size > min(MAX_VALUE, self._bytes_left):
            return False
        self._values_left -= 1
        self._bytes_left -= size
        return True
