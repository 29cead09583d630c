"""What the spool tells of an attempt that no fork server will report on: of this life, once it is decided whether it
starts, and of an earlier one.
"""

from __future__ import annotations

from typing import Final

from bgjob.words import EntryType
from bgjobd.core.attempt_sights import JournalRead, LifeEnded
from bgjobd.core.job import AttemptKey, Ending
from bgjobd.forkserver.journal import Journal
from bgjobd.host import life
from bgjobd.supervisor import journal_facts
from bgjobd.supervisor.attempt_news import AttemptNews
from bgjobd.supervisor.surroundings import AttemptSurroundings

_OWN_FENCE: Final = Journal(fenced={})


def settle(
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
    return journal if is_own and not is_fenced else None, JournalRead(is_own, is_fenced, is_gone)


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


def settle_dead(
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
