"""One hook, a class's `failed` or [app] on_failure: as it is owed, and as it was called, until its job's log has how it
ended.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from bgjob.words import EntryType, Outcome
from bgjobd.core.job import AttemptKey, Call, Ending
from bgjobd.core.log_entries import OVERSTAYED, hook_could_not_start, killed_strays, outlasts_kill
from bgjobd.core.verdict import UNSEEN
from bgjobd.forkserver import subreaper
from bgjobd.forkserver.journal import Journal
from bgjobd.forkserver.spool_names import HOOK, HOOKS, ON_FAILURE
from bgjobd.host.clock import to_text
from bgjobd.host.pacing import let_others
from bgjobd.store.items.attempts import Note, Noted
from bgjobd.supervisor import journal_facts
from bgjobd.supervisor.fork_server_link import ForkServer
from bgjobd.supervisor.notes import NotesReader
from bgjobd.supervisor.patience import Patience
from bgjobd.supervisor.processes import FIRST_LOOK, LAST_LOOK, LONG_DYING, AttemptProcess, began_at
from bgjobd.supervisor.spool import Spool
from bgjobd.supervisor.starts import Start
from bgjobd.supervisor.surroundings import AttemptSurroundings

_LIMIT: Final = 60.0
"""Seconds that a hook may take."""

PAUSE: Final = 1.0
"""Seconds until it is tried again to call a hook, or to look at one, that could not be."""


@dataclass(frozen=True, slots=True)
class OwedHook:
    """A hook that waits to be called; `crashes` is how many starts of it in a row ended their fork server, `in_vain`
    how many could not be made otherwise. `kind` is that of its journal: HOOK for the class's own, ON_FAILURE for that
    of all classes. `is_ours`: no other host calls it.
    """

    key: AttemptKey
    call: Call
    ending: Ending
    occurrence: float | None
    is_sealed: bool
    crashes: int = 0
    in_vain: int = 0
    kind: str = HOOK
    is_ours: bool = False

    @property
    def next_one(self) -> OwedHook | None:
        """The hook that is owed after this one."""
        return replace(self, crashes=0, in_vain=0, kind=ON_FAILURE) if self.kind == HOOK else None

    def order(self, sensitive: frozenset[str]) -> dict[str, Any]:
        """`sensitive` are the names that are secrets by now; the job knows those of when it was submitted."""
        call, ending = self.call, self.ending
        return {
            "job": self.key[0],
            "number": self.key[1],
            "token": secrets.token_hex(8),
            "class_name": call.class_name,
            "method_name": call.method_name,
            "parameters": call.parameters,
            "sensitive": sorted(sensitive.union(call.sensitive)),
            "timeout": _LIMIT,
            "error": {
                "outcome": ending.outcome,
                "error_type": ending.error_type,
                "message": ending.error_message or ending.error,
                "traceback": ending.traceback,
            },
            "key": None,
            "occurrence": None if self.occurrence is None else to_text(self.occurrence),
            "kind": self.kind,
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """Which fork server was asked for which hook, and the hook's place on the way there."""

    server: ForkServer
    owed: OwedHook
    start: Start


class Hook:
    """A hook that was called: by a fork server that will report on it, or with its process watched.

    `asked` is None for one that an earlier daemon has called; `next_one` is what is owed after it. `mark` is that of
    the fork server that was asked for it, None where that is not known. `server` is the one that will report on it, if
    any; `crash`: how it ended, by itself, before anybody told of the hook. `on_over` hears that the hook is over,
    `on_not_begun` that it has not begun.
    """

    def __init__(
        self,
        around: AttemptSurroundings,
        key: AttemptKey,
        kind: str,
        asked: Asked | None,
        next_one: OwedHook | None,
        *,
        on_over: Callable[[Hook], None],
        on_not_begun: Callable[[Hook], None],
    ) -> None:
        self._around, self.key, self._kind, self.asked, self.next_one = around, key, kind, asked, next_one
        self._on_over, self._on_not_begun = on_over, on_not_begun
        self.server = None if asked is None else asked.server
        self.mark = None if asked is None else asked.server.mark
        self.crash: str | None = None
        self._process = AttemptProcess(
            around.spool, around.work, around.processes, around.end_strays, key, kind
        )
        self._process.server_pid = None if asked is None else asked.server.pid
        self._reading: asyncio.Task[None] | None = None
        self._is_late = self._is_released = False
        self._timer = self._limit()
        self._patience = Patience(around.loop, around.say)

    def close(self) -> None:
        """Wait for it no more; it goes on."""
        self.release()
        if self._reading is not None:
            self._reading.cancel()

    def release(self) -> None:
        """Let go of descriptors and timers."""
        self._is_released = True
        self._timer.cancel()
        self._patience.end()
        self._process.release()

    # Its time, and its stop

    def _limit(self) -> asyncio.TimerHandle:
        """A timer for the end of its time, which counts from its start, whoever the daemon was then."""
        try:
            journal = self._process.try_read()
        except OSError:  # no descriptors: it counts from now
            journal = None
        record = None if journal is None else journal.started
        began = self._around.loop.time() if record is None else began_at(record)
        return self._around.loop.call_at(began + _LIMIT, self._on_limit)

    def _on_limit(self) -> None:
        """Its time is over."""
        self._is_late = True
        self._kill()

    def stop(self, grace: float) -> None:
        """TERM to its group, and KILL after `grace` seconds."""
        self._timer.cancel()
        with suppress(OSError):  # no descriptors: the kill comes
            self._signal(signal.SIGTERM)
        self._timer = self._around.loop.call_later(grace, self._kill)

    def _kill(self) -> None:
        try:
            is_there = self._signal(signal.SIGKILL)
        except OSError:  # no descriptors
            self._timer = self._around.loop.call_later(PAUSE, self._kill)
            return
        self._timer = self._around.loop.call_later(LONG_DYING, self._on_long_dying)
        if self.server is None:
            return  # its end is waited for by now
        if is_there:
            self._process.watch(self._on_process_end)
        else:
            self._on_process_end()

    def _signal(self, number: signal.Signals) -> bool:
        """Signal the group of its process; whether it is there. Raises OSError."""
        return self._process.signal(number, self._process.try_read())

    def _on_process_end(self) -> None:
        """It was killed, and its fork server is to tell how it ended, or that it did not begin."""
        if self._process.exit is None and not self._patience.is_waiting:
            self._patience.wait(lambda: self.server)

    def _on_long_dying(self) -> None:
        """It waits for a disk or a network that does not answer, for which its fork server cannot be blamed."""
        if self._process.exit is None and not self._patience.is_waiting:
            self.tell(outlasts_kill(self._process.pid or "unknown", LONG_DYING))

    # Its end

    def on_report(self, message: dict[str, Any]) -> None:
        """What its fork server tells: that it ended, or that it could not begin."""
        if message["type"] == "ended":
            self._timer.cancel()
            self._patience.end()
            self._process.exit = message["exit"]
            self._look_again(LAST_LOOK)
        else:
            in_vain = 0 if self.asked is None else self.asked.owed.in_vain
            told = hook_could_not_start(message["reason"], in_vain + 1)
            if told is not None:
                self.tell(told)
            self._on_not_begun(self)

    def on_end_of_server(self, server: ForkServer) -> None:
        """Its fork server is gone, and will report no more of it."""
        self.server, self.crash = None, server.crash
        self._process.server_pid = None
        self.watch()

    def watch(self) -> None:
        """Wait for the end of a hook that no fork server reports on."""
        if self._is_released:
            return
        try:
            journal = self._process.try_read()
            is_open = self._process.open(journal)
        except OSError:  # no descriptors
            self._around.loop.call_later(PAUSE, self.watch)
            return
        if self.mark is None and journal is not None:
            self.mark = journal_facts.mark_in(journal)
        if journal is None and self.asked is not None:
            self._on_not_begun(self)  # and look again before it is called
        elif is_open:
            self._process.watch(self._look_again)
        else:
            self._look_again()

    def _look_again(self, pause: float = FIRST_LOOK) -> None:
        """The process has ended, and is ours to reap, or its fork server lives and is about to record its exit."""
        self._process.look_again(self._look, pause)

    def _look(self, pause: float) -> bool:
        """Whether the hook is seen to be over. Raises OSError."""
        if self._is_released:
            return True
        exit_record = self._process.try_collect()
        journal = self._process.try_read()
        if exit_record is None and journal is not None and journal.exit is None and pause < LAST_LOOK:
            return False
        if self._reading is None:
            self._timer.cancel()
            self._reading = self._around.loop.create_task(self._note_end(journal or Journal()))
        return True

    async def _note_end(self, journal: Journal) -> None:
        """The hook is over, once what it told has been read, a portion at a time."""
        if journal.started is not None and journal.may_have_notes:
            await self._note_news(journal.started["pid"])
        self._tell_end(journal, self._process.exit)
        self._on_over(self)

    async def _note_news(self, pid: int) -> None:
        """Put into the job's log what the hook told."""
        reader = NotesReader(self._around.spool, self.key, self._kind)
        is_read = False
        while not is_read:
            try:
                found = reader.read(pid)
            except OSError:  # no descriptors
                await asyncio.sleep(PAUSE)
                continue
            for note in found:
                if isinstance(note, Note):  # a hook has no steps
                    self._around.outbox.hold(Noted(*self.key, note.type, note.message))
            is_read = not reader.has_more
            if not is_read:
                await let_others()

    def _tell_end(self, journal: Journal, exit_record: dict[str, Any] | None) -> None:
        """Put into the job's log how the hook ended, if it did not end well."""
        self._tell_strays(*journal_facts.strays(exit_record or journal.exit))
        fact = journal_facts.ended(self.key, journal, exit_record)
        ending = journal_facts.left_in(journal) or UNSEEN if fact is None else fact.ending
        if journal_facts.has_overstayed(journal, exit_record):
            self.tell(OVERSTAYED)
        if self._is_late:
            self.tell(f"ran longer than {_LIMIT:g} s, and was killed")
        elif ending.outcome is not Outcome.COMPLETED:
            self.tell(ending.error)
        self._around.outbox.send()

    def clear_work(self) -> None:
        """Remove what it worked in."""
        left = self._around.work.remove(self._process.directory)
        self._tell_strays(len(left), subreaper.told_names(left))

    def clear_spool(self) -> None:
        """Remove its attempt's journal, and those of the hooks, which nobody needs any more."""
        # An earlier daemon may have asked for it too.
        remove_hooks(self._around.spool, self.key, self.asked is None or self.asked.owed.is_sealed)

    def _tell_strays(self, count: int, names: list[str]) -> None:
        if count:
            text = f"{_NAMES[self._kind]}: {killed_strays(count, names)}"
            self._around.outbox.send(Noted(*self.key, EntryType.INFO, text))

    def tell(self, what: str) -> None:
        """Put into the job's log what has gone wrong with it."""
        self._around.outbox.send(Noted(*self.key, EntryType.FAILURE, f"{_NAMES[self._kind]}: {what}"))


_NAMES: Final = {HOOK: "the failed hook", ON_FAILURE: "on_failure"}
"""What the job's log calls them."""


def remove_hooks(spool: Spool, key: AttemptKey, is_sealed: bool) -> None:
    """Remove the journals of an attempt and its hooks; `is_sealed`: an earlier fork server may be about to call one."""
    spool.remove(key)
    for kind in HOOKS:
        if is_sealed:
            spool.fences.put_against_hook(key, kind)
        else:
            spool.remove_hook(key, kind)
