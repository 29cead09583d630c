"""The end of an attempt on its way to the writer: told once its output is closed, and what it has saved and told, and a
long result, have been read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from bgjobd.core.attempt_sights import EndRefused, ResultJudged, Sight
from bgjobd.core.facts import AttemptEnded
from bgjobd.host.pacing import let_others, paced
from bgjobd.store.items.attempts import JobFact, OutputEnded
from bgjobd.supervisor import journal_facts
from bgjobd.supervisor.attempt_news import AttemptNews
from bgjobd.supervisor.claimed import Claimed
from bgjobd.supervisor.processes import LAST_LOOK
from bgjobd.supervisor.states import StateReader
from bgjobd.supervisor.surroundings import AttemptSurroundings


class AttemptEnd:
    """Hands the end of one attempt to the writer, behind its job's `state` and the rest of its `news`; `see` hears what
    is wrong with it.
    """

    def __init__(
        self,
        around: AttemptSurroundings,
        claimed: Claimed,
        *,
        news: AttemptNews,
        state: StateReader,
        see: Callable[[Sight], None],
    ) -> None:
        self._around, self._key, self._class_name = around, claimed.key, claimed.class_name
        self._news, self._state, self._see = news, state, see
        self._is_broken = self._is_shared = False

    def hand_over(self, ended: AttemptEnded) -> None:
        """Send it, once its output is closed."""
        try:
            self._state.read_last(self._news.started)
        except OSError:  # no descriptors
            self._around.loop.call_later(LAST_LOOK, self.hand_over, ended)
            return
        self._around.outputs.finish(self._key, partial(self._send_once_read, ended))

    def _send_once_read(self, ended: AttemptEnded) -> None:
        """Send it, at once where nothing is left to read, else a portion at a time."""
        is_read = not self._news.has_more and not journal_facts.is_unread(ended.ending)
        has_printed = ended.usage is None or ended.usage.output_bytes > 0
        is_read = is_read and not (has_printed and self._around.shared_output())
        if is_read or self._is_broken:
            self._send(ended)
        elif not self._around.is_closed:
            reading = self._around.loop.create_task(self._read(ended))
            self._around.readings.add(reading)
            reading.add_done_callback(self._on_read)

    def _send(self, ended: AttemptEnded) -> None:
        self._around.outbox.send(JobFact(self._key[0], ended), self._key)

    async def _read(self, ended: AttemptEnded) -> None:
        ending = ended.ending
        async with self._around.turns_of_classes[self._class_name]:
            await self._read_rest()
            await self._share_output()
            is_unread = journal_facts.is_unread(ending)
            judged = await paced(journal_facts.check_result(ending)) if is_unread else ending
        if judged is ending:
            self._send(ended)
        else:
            self._see(ResultJudged(judged))

    async def _share_output(self) -> None:
        """Have those who work from the same database know how its output begins and ends, once."""
        most = self._around.shared_output()
        if most == 0 or self._is_shared:
            return
        self._is_shared = True
        ends = await self._around.outputs.ends(self._key, most)
        if ends is not None:
            self._around.outbox.hold(OutputEnded(*self._key, ends.head, ends.tail, ends.left_out))

    async def _read_rest(self) -> None:
        """Hand on all that is left of what it has told."""
        while self._news.has_more:
            await let_others()
            try:
                self._news.read()
            except OSError:  # no descriptors
                await asyncio.sleep(LAST_LOOK)

    def _on_read(self, reading: asyncio.Task[None]) -> None:
        self._around.readings.discard(reading)
        error = None if reading.cancelled() else reading.exception()
        if error is not None:
            self._is_broken = True  # what is told instead is sent as it is
            self._see(EndRefused(f"{type(error).__name__}: {error}"))
