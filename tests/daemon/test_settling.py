"""An attempt that nobody reports on, and one that is stopped or ends, where a call fails: with no processes."""

from __future__ import annotations

import asyncio
import errno
import signal
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

from bgjobd.core.attempt_sights import EndRefused, JournalRead, Sight
from bgjobd.core.facts import AttemptEnded
from bgjobd.core.job import Ending
from bgjobd.store.items.attempts import JobFact
from bgjobd.supervisor.attempt_end import AttemptEnd
from bgjobd.supervisor.attempt_stop import AttemptStop
from bgjobd.supervisor.claimed import Claimed
from bgjobd.supervisor.settling import read_or_fence


def test_a_fence_that_was_just_put_needs_no_reading() -> None:
    kept: list[tuple[int, int]] = []
    fences = SimpleNamespace(put=lambda key, mark: True, keep=kept.append)
    reads = iter([None])  # another would raise
    around: Any = SimpleNamespace(
        spool=SimpleNamespace(fences=fences, try_read=lambda key: next(reads)), is_spool_full=False
    )
    journal, read = read_or_fence(around, (1, 1), "token", None, None)
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
    stop = AttemptStop(
        around,
        Claimed((1, 1), "token", "a.B", None, has_key=False),
        process=process,
        see=lambda sight: None,
        owes_end=lambda: False,
    )
    stop.kill(None, None)
    again = next(given for given in later if signal.SIGKILL in given)
    later.clear()
    again[0](*again[1:])
    assert (answers, later, len(said)) == ([], [], 1)


def test_an_end_behind_what_a_bug_keeps_from_being_read_is_sent_once_it_was_seen_as_lost() -> None:
    class Broken:
        has_more, started = True, None

        def read(self) -> None:
            raise IndexError("a bug of ours")

    async def end() -> tuple[list[Any], list[Sight]]:
        sent: list[Any] = []
        seen: list[Sight] = []
        around: Any = SimpleNamespace(
            is_closed=False,
            loop=asyncio.get_running_loop(),
            readings=set(),
            turns_of_classes=defaultdict(asyncio.Lock),
            outbox=SimpleNamespace(send=lambda *given: sent.append(given)),
            outputs=SimpleNamespace(finish=lambda key, then: then()),
        )
        news: Any = Broken()
        state: Any = SimpleNamespace(read_last=lambda started: None)
        way_out = AttemptEnd(
            around,
            Claimed((1, 2), "token", "a.B", None, has_key=False),
            news=news,
            state=state,
            see=seen.append,
        )
        way_out.hand_over(AttemptEnded(2, Ending.completed("1"), 0.0))
        await asyncio.wait(around.readings)
        await asyncio.sleep(0)
        way_out.hand_over(lost)
        return sent, seen

    lost = AttemptEnded(2, Ending.lost("its end could not be stored"), 0.0)
    sent, seen = asyncio.run(end())
    assert seen == [EndRefused("IndexError: a bug of ours")]
    assert sent == [(JobFact(1, lost), (1, 2))]
