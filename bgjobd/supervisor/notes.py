"""What an attempt, or a hook, tells of itself while it runs: read from its journal a portion at a time."""

from __future__ import annotations

from itertools import takewhile

from bgjobd.core.job import AttemptKey
from bgjobd.forkserver.journal_lines import MAX_NOTES, MAX_VALUE, MAX_VALUED, MAX_VALUES
from bgjobd.forkserver.spool_names import ATTEMPT
from bgjobd.store.items import Told, ValueNote
from bgjobd.supervisor.journal_facts import notes
from bgjobd.supervisor.spool import Spool


class NotesReader:
    """Reads on where it has stopped, until all is read that one may tell: who tells more has written its journal by
    itself, and is read no further.

    `count`: how many notes were read. `has_more`: that there are others. `is_waiting`: that the portion read last
    says that the method has returned, and its result found no room.
    """

    def __init__(self, spool: Spool, key: AttemptKey, kind: str = ATTEMPT) -> None:
        self._spool, self._key, self._kind = spool, key, kind
        self._end = 0
        self._values_left, self._bytes_left = MAX_VALUES, MAX_VALUED
        self._notes_left = MAX_NOTES
        self._is_forged = False
        self.count = 0
        self.has_more = False
        self.is_waiting = False

    def read(self, pid: int) -> tuple[Told, ...]:
        """The next portion of what its process told. Raises OSError."""
        if self._is_forged:
            self.has_more = self.is_waiting = False
            return ()
        news = self._spool.read_news(self._key, self._end, pid, self._kind)
        found = tuple(takewhile(self._has_room, notes(news.notes)))
        self._is_forged = len(found) < len(news.notes)
        self._end, self.has_more, self.is_waiting = news.end, news.has_more, news.is_waiting
        self.count += len(found)
        return found

    def _has_room(self, note: Told) -> bool:
        """Whether an attempt may tell that, too."""
        if not isinstance(note, ValueNote):
            self._notes_left -= 1
            return self._notes_left >= 0
        size = len(note.value.encode())
        self._values_left -= 1
        self._bytes_left -= size
        return self._values_left >= 0 and self._bytes_left >= 0 and size <= MAX_VALUE
