"""An attempt that nobody reports on, and one that is stopped, where a call fails for a moment: with no processes."""

from __future__ import annotations

import errno
import signal
from types import SimpleNamespace
from typing import Any

from bgjobd.core.attempt_sights import JournalRead
from bgjobd.supervisor.attempt_stop import AttemptStop
from bgjobd.supervisor.settling import settle


def test_a_fence_that_was_just_put_needs_no_reading() -> None:
    kept: list[tuple[int, int]] = []
    fences = SimpleNamespace(put=lambda key, mark: True, keep=kept.append)
    reads = iter([None])  # another would raise
    around: Any = SimpleNamespace(
        spool=SimpleNamespace(fences=fences, try_read=lambda key: next(reads)), is_spool_full=False
    )
    journal, read = settle(around, (1, 1), "token", None, None)
    assert (journal, read, kept) == (None, JournalRead(is_own=False, is_fenced=True), [(1, 1)])


def test_a_signal_that_could_not_be_sent_is_sent_again_until_it_could() -> None:
    later: list[tuple[Any, ...]] = []
    said: list[str] = []
    answers: list[BaseException | bool] = [OSError(errno.EMFILE, "no descriptors"), True]

    def sent(number: int, journal: object) -> bool:
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    loop = SimpleNamespace(call_later=lambda seconds, *given: later.append(given))
    around: Any = SimpleNamespace(loop=loop, say=lambda kind, text: said.append(text))
    process: Any = SimpleNamespace(signal=sent)
    stop = AttemptStop(around, (1, 1), "a.B", process, lambda sight: None, lambda: False)
    stop.kill(None, None)
    again = next(given for given in later if signal.SIGKILL in given)
    later.clear()
    again[0](*again[1:])
    assert (answers, later, len(said)) == ([], [], 1)
