"""An attempt that no fork server will report on: what the spool tells of it, once it is decided whether it starts, and
how its process has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bgjob.words import EntryType
from bgjobd.core.attempt_life import AttemptLife
from bgjobd.core.attempt_sights import (
    CancelRecalled,
    EndSeenWithoutSpool,
    JournalRead,
    LifeEnded,
    Sight,
    StopRecalled,
)
from bgjobd.core.job import AttemptKey, Ending
from bgjobd.forkserver.journal import Journal
from bgjobd.forkserver.journal_lines import Record
from bgjobd.host import life
from bgjobd.supervisor import journal_facts
from bgjobd.supervisor.attempt_news import AttemptNews
from bgjobd.supervisor.claimed import Claimed
from bgjobd.supervisor.patience import PATIENCE
from bgjobd.supervisor.processes import LAST_LOOK, AttemptProcess
from bgjobd.supervisor.surroundings import AttemptSurroundings

_OWN_FENCE: Final = Journal(fenced={})


class Settling:
    """Finds out about one attempt. `life` is asked how it stands, `see` hears what was found, and `note_end` of its
    journal, and of its exit record where it was reaped here: it answers whether they tell an end.
    """

    def __init__(
        self,
        around: AttemptSurroundings,
        claimed: Claimed,
        *,
        process: AttemptProcess,
        news: AttemptNews,
        life: Callable[[], AttemptLife],
        see: Callable[[Sight], None],
        note_end: Callable[[Journal | None, Record | None], bool],
    ) -> None:
        self._around, self._key, self._token = around, claimed.key, claimed.token
        self._process, self._news = process, news
        self._life, self._see, self._note_end = life, see, note_end

    def recall_stop(self, is_cancelled: bool) -> None:
        """It was told to stop, if the spool says so: whoever did that may have died before the signal, or the kill."""
        reason = self._around.spool.try_read_stop(self._key)
        if reason is not None:
            self._see(StopRecalled(reason))
        elif is_cancelled:
            self._see(CancelRecalled())

    def settle(self, mark: str | None) -> JournalRead:
        """What is in its journal's place, by now a fence where nothing was; `mark` is of the fork server that was asked
        for it. Raises OSError.
        """
        before = self._news if self._life().is_bereft else None
        journal, read = read_or_fence(self._around, self._key, self._token, mark, before)
        self._news.journal = journal or self._news.journal
        return read

    def settle_dead(self, ending: Ending) -> None:
        """Record the end of an attempt of an earlier life, as its journal tells it, should the spool have lasted."""
        has_begun = self._life().state.has_begun
        journal, sight = read_of_dead(self._around, self._key, self._token, ending, has_begun)
        self._news.journal = journal or self._news.journal
        if not self._note_end(journal, None):
            self._news.expect_more()
            self._see(sight)

    def open(self, journal: Journal) -> bool:
        """Open its process, if it is there, and look how it has ended where it is not. Raises OSError."""
        is_open = self._process.open(journal)
        if not is_open:
            self._process.look_again(self.look)
        return is_open

    def look(self, pause: float) -> bool:
        """Whether its end is known, now that its process has ended: it is ours to reap, or its fork server lives and
        is about to record its exit. Raises OSError.
        """
        if self._life().state.is_final:
            return True
        exit_record = self._process.try_collect()
        journal = self._around.spool.try_read(self._key)
        if journal is None and is_spool_gone(self._around, self._life()):
            self._around.recording.suspect()
            self._see(EndSeenWithoutSpool())
            return True
        if exit_record is None and _lacks_usage(journal) and pause < LAST_LOOK:
            return False
        if self._note_end(journal or (Journal() if exit_record else None), exit_record):
            return True
        # Whoever is not reaped has a parent that will tell.
        if pause < (PATIENCE if self._process.is_unreaped else LAST_LOOK):
            return False
        self._news.expect_more()
        self._see(journal_facts.vanished(journal))
        return True


def is_spool_gone(around: AttemptSurroundings, life: AttemptLife) -> bool:
    """Whether a journal that is not there went with the spool: what it told is known to nobody."""
    return life.is_bereft or not around.spool.directory.is_in_place()


def _lacks_usage(journal: Journal | None) -> bool:
    """Whether a fork server has recorded the exit, and is about to record once more what was used."""
    return journal is not None and journal.exit is not None and journal.exit.get("usage") is None


def read_or_fence(
    around: AttemptSurroundings, key: AttemptKey, token: str, mark: str | None, before: AttemptNews | None
) -> tuple[Journal | None, JournalRead]:
    """The attempt's own journal, if it is there, and what is in its place; where nothing is, a fence is put there.

    `mark` is of the fork server that was asked for it, `before` what was known of it before the spool was lost, None
    where that was not. Raises OSError.
    """
    in_time = None if before is None else before.journal
    journal = around.spool.try_read(key) or in_time or _fenced(around, key, mark)
    is_fenced = journal is not None and journal.fenced is not None
    if is_fenced:
        around.spool.fences.keep(key)
    is_own = journal is not None and journal_facts.has_token(journal, token)
    is_gone = before is not None and _is_process_gone(before, around.now())
    pid = None if before is None else before.pid
    return journal if is_own and not is_fenced else None, JournalRead(is_own, is_fenced, is_gone, pid)


def _fenced(around: AttemptSurroundings, key: AttemptKey, mark: str | None) -> Journal | None:
    """The journal once it is decided that the attempt does not start; its own, if its process was faster."""
    try:
        is_put = around.spool.fences.put(key, mark)
    except OSError as error:
        around.recording.suspect()
        if not around.is_spool_full:
            text = f"the spool cannot be written: {error.strerror}; tried every second"
            around.say(EntryType.FAILURE, text)
        around.is_spool_full = True
        raise
    around.is_spool_full = False
    # What was just put there need not be read, which may fail: the next look would take it for a journal that appeared.
    return _OWN_FENCE if is_put else around.spool.try_read(key)


def _is_process_gone(news: AttemptNews, now: float) -> bool:
    """Of an attempt without a pid nobody knows whether it began: its process may be alive."""
    return news.pid is not None and news.began_at is not None and life.is_gone(news.pid, news.began_at, now)


def read_of_dead(
    around: AttemptSurroundings, key: AttemptKey, token: str, ending: Ending, has_begun: bool
) -> tuple[Journal | None, LifeEnded]:
    """The own journal of an attempt of an earlier life, if it is there; and what that comes to without an exit record.

    Raises OSError.
    """
    journal = around.spool.try_read(key)
    if journal is not None and journal.fenced is not None and not has_begun:
        around.spool.fences.keep(key)
        return None, LifeEnded(ending, is_fenced=True)
    if journal is None or not journal_facts.has_token(journal, token):
        return None, LifeEnded(ending)
    return journal, LifeEnded(ending, None if journal.outcome is None else journal_facts.left_in(journal))
