"""What an attempt, or a hook, tells of itself while it runs: read from its journal a portion at a time."""

from __future__ import annotations

from bgjobd.core.job import AttemptKey
from bgjobd.forkserver.journal import ATTEMPT, MAX_NOTES
from bgjobd.store.items import Told
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
        self.count = 0
        self.has_more = False
        self.is_waiting = False

    def read(self, pid: int) -> tuple[Told, ...]:
        """The next portion of what its process told. Raises OSError."""
        if self.count >= MAX_NOTES:
            self.has_more = self.is_waiting = False
            return ()
        news = self._spool.read_news(self._key, self._end, pid, self._kind)
        found = notes(news.notes[: MAX_NOTES - self.count])
        self._end, self.has_more, self.is_waiting = news.end, news.has_more, news.is_waiting
        self.count += len(found)
        return found
