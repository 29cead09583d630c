"""The `failed` hooks: each called once, in a child of its own, after a job has failed for good.

Until the hook has begun, the journal of the job's last attempt stays in the spool, so that a later daemon knows
what is owed; the hook's own journal, linked by its process, decides that it is called once.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from bgjob.words import EntryType, Outcome
from bgjobd.core.job import AttemptKey, Call, Ending
from bgjobd.core.log_entries import left_behind
from bgjobd.core.retry import is_quarantined
from bgjobd.forkserver import subreaper
from bgjobd.forkserver.journal import Journal, directory_name
from bgjobd.host.pacing import let_others
from bgjobd.store.items import Noted
from bgjobd.supervisor import journal_facts
from bgjobd.supervisor.fork_server_link import ForkServer
from bgjobd.supervisor.notes import NotesReader
from bgjobd.supervisor.processes import FIRST_LOOK, LAST_LOOK, AttemptProcess, began_at
from bgjobd.supervisor.starts import Start
from bgjobd.supervisor.surroundings import AttemptSurroundings

_LIMIT: Final = 60.0
"""Seconds that a hook may take."""

_PAUSE: Final = 1.0
"""Seconds until a hook is called again that could not begin."""

_PATIENCE: Final = 10.0
"""Seconds that a fork server has to tell of the end of a hook that was killed."""


@dataclass(slots=True, eq=False)
class _Hook:
    """A hook that runs: by a fork server that will report on it, or with its process watched.

    `mark` is that of the fork server that was asked for it, None where that is not known. `owed` is what to call should
    it turn out not to have begun; None where it has. `is_sealed`: an earlier daemon may have asked a fork server for it
    too, which still lives. `start`: its place on the way to the fork server; `crash`: how that ended, by itself, before
    anybody told of the hook.
    """

    key: AttemptKey
    owed: _Owed | None
    server: ForkServer | None
    timer: asyncio.TimerHandle
    process: AttemptProcess
    mark: str | None = None
    is_sealed: bool = False
    start: Start | None = None
    crash: str | None = None
    is_late: bool = False
    reading: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class _Owed:
    """A hook that waits to be called; `crashes` is how many starts of it in a row ended their fork server."""

    key: AttemptKey
    call: Call
    ending: Ending
    is_sealed: bool
    crashes: int = 0


class Hooks:
    """Hooks that wait and hooks that run, at most `slots()` at once.

    `wants` tells whether a class has one, None where nobody knows, for it cannot be loaded just now: what it is
    owed waits. `on_end` hears that one is over.
    """

    def __init__(
        self,
        around: AttemptSurroundings,
        slots: Callable[[], int],
        wants: Callable[[str], bool | None],
        on_end: Callable[[], None],
    ) -> None:
        self._around, self._spool, self._loop = around, around.spool, around.loop
        self._slots, self._wants, self._on_end = slots, wants, on_end
        self._server: ForkServer | None = None
        self._waiting: deque[_Owed] = deque()
        self._in_line: dict[AttemptKey, _Owed] = {}  # for the fork server
        self._running: dict[AttemptKey, _Hook] = {}
        self._is_ending = False
        self._idle = asyncio.Event()
        self._idle.set()

    def close(self) -> None:
        """Wait for no hook any more; those that run go on."""
        self._is_ending = True
        for hook in self._running.values():
            self._let_go(hook)
            if hook.reading is not None:
                hook.reading.cancel()
        self._running.clear()
        self._waiting.clear()

    def stop_all(self, grace: float) -> None:
        """Call none any more, and end those that run: TERM to their groups, and KILL after `grace` seconds."""
        self._is_ending = True
        for hook in self._running.values():
            hook.timer.cancel()
            with suppress(OSError):  # no descriptors: the kill comes
                self._signal(hook, signal.SIGTERM)
            hook.timer = self._loop.call_later(grace, self._kill, hook)

    @property
    def is_idle(self) -> bool:
        """Whether no hook runs, nor waits for a fork server that is there."""
        return self._idle.is_set()

    async def wait_until_idle(self) -> None:
        await self._idle.wait()

    def offer(self, key: AttemptKey, call: Call, ending: Ending, is_inherited: bool = False) -> bool:
        """A job has failed for good: call its class's hook, if there is one. Whether it may be owed one.

        `is_inherited`: an earlier daemon may have asked for it already.
        """
        if self._server is not None and self._wants(call.class_name) is False:
            return False
        self._waiting.append(_Owed(key, call, ending, is_inherited))
        self._call_next()
        return True

    def adopt(self, key: AttemptKey, class_name: str) -> None:
        """Go on with a hook that an earlier daemon has called: it is not called again."""
        self._run(_Hook(key, None, None, self._limited(key), self._process(key), is_sealed=True), class_name)
        self._watch(self._running[key])

    def jobs(self) -> set[int]:
        """The jobs whose hooks wait or run."""
        return {job_id for job_id, _ in self._keys()}

    def directories(self) -> set[str]:
        """The names of the directories that hooks work in."""
        return {directory_name(*key, is_hook=True) for key in self._keys()}

    def marks(self) -> set[str | None]:
        """The fork servers whose hooks run; None is among them where that is not known of one."""
        return {hook.mark for hook in self._running.values()}

    def pids(self) -> set[int]:
        """The processes of hooks that proved their starts."""
        known = map(self._spool.try_read_hook, self._keys())
        return {journal.started["pid"] for journal in known if journal is not None and journal.started}

    def _keys(self) -> list[AttemptKey]:
        return [*self._running, *self._in_line, *(owed.key for owed in self._waiting)]

    def serve_with(self, server: ForkServer | None) -> None:
        """From now on hooks are called by this fork server."""
        self._server = server
        self._call_next()

    def _call_next(self) -> None:
        while self._server is not None and self._may_call() and (owed := self._try_next()) is not None:
            self._put_in_line(owed)
        self._note_idleness()

    def _note_idleness(self) -> None:
        if self._running or (self._in_line and self._server is not None):
            self._idle.clear()
        else:
            self._idle.set()

    def _may_call(self) -> bool:
        is_full = len(self._running) + len(self._in_line) >= self._slots()
        return bool(self._waiting) and not self._is_ending and not is_full

    def _try_next(self) -> _Owed | None:
        """The one that has waited longest, of a class that is there; it waits no more."""
        for owed in self._waiting:
            if self._wants(owed.call.class_name) is not None:
                self._waiting.remove(owed)
                return owed
        return None

    def _put_in_line(self, owed: _Owed) -> None:
        def send(server: ForkServer) -> bool:
            del self._in_line[owed.key]
            is_sent = not self._is_ending and self._call(owed, server, start)
            self._note_idleness()
            return is_sent

        self._in_line[owed.key] = owed
        start = Start(owed.crashes, send, partial(self._has_begun, owed.key))
        self._around.starts.put(start)

    def _has_begun(self, key: AttemptKey) -> bool:
        try:
            return self._spool.try_read_hook(key) is not None
        except OSError:  # no descriptors: another look follows
            return False

    def _call(self, owed: _Owed, server: ForkServer, start: Start) -> bool:
        """Have it called, unless that has begun after all, or its class wants no hook any more."""
        key = owed.key
        try:
            has_begun = self._spool.try_read_hook(key) is not None
        except OSError:  # no descriptors
            self._loop.call_later(_PAUSE, self._offer_again, owed)
            return False
        if has_begun:
            self.adopt(key, owed.call.class_name)
            return False
        wants = self._wants(owed.call.class_name)
        if wants is None:
            self._waiting.append(owed)  # its class was there when it got in line
            return False
        if not wants:
            self._spool.remove(key)
            return False
        # What a call before this one made that ended before it had begun: it would be in this one's way.
        self._around.work.remove(directory_name(*key, is_hook=True))
        process = self._process(key)
        process.server_pid = server.pid
        hook = _Hook(key, owed, server, self._limited(key), process, server.mark, owed.is_sealed, start)
        self._run(hook, owed.call.class_name)
        server.start(_order(owed, self._around.policy(owed.call.class_name).sensitive))
        return True

    def _run(self, hook: _Hook, class_name: str) -> None:
        self._running[hook.key] = hook
        self._idle.clear()
        self._around.outputs.keep_bounded(hook.key, self._around.policy(class_name).max_output)

    def _offer_again(self, owed: _Owed) -> None:
        self._waiting.append(owed)
        self._call_next()

    def _limited(self, key: AttemptKey) -> asyncio.TimerHandle:
        """A timer for the end of the hook's time, which counts from its start, whoever the daemon was then."""
        try:
            journal = self._spool.try_read_hook(key)
        except OSError:  # no descriptors: it counts from now
            journal = None
        record = None if journal is None else journal.started
        began = self._loop.time() if record is None else began_at(record)
        return self._loop.call_at(began + _LIMIT, self._on_limit, key)

    def _on_limit(self, key: AttemptKey) -> None:
        """Its time is over."""
        hook = self._running.get(key)
        if hook is not None:
            hook.is_late = True
            self._kill(hook)

    def _kill(self, hook: _Hook) -> None:
        try:
            self._signal(hook, signal.SIGKILL)
        except OSError:  # no descriptors
            hook.timer = self._loop.call_later(_PAUSE, self._kill, hook)
        else:
            hook.timer = self._loop.call_later(_PATIENCE, self._on_silence, hook)

    def _process(self, key: AttemptKey) -> AttemptProcess:
        return AttemptProcess(self._spool, self._around.work, self._around.end_strays, key, is_hook=True)

    def _signal(self, hook: _Hook, number: signal.Signals) -> None:
        """Signal the group of the hook's process, if it has begun. Raises OSError."""
        hook.process.signal(number, hook.process.try_read())

    def _on_silence(self, hook: _Hook) -> None:
        """It was killed, and its fork server, which was to tell of that, doesn't answer: have another one."""
        if hook.server is not None:
            hook.server.kill()

    def on_report(self, message: dict[str, Any]) -> None:
        """What a fork server tells of a hook."""
        hook = self._running.get((message["job"], message["number"]))
        if hook is None:
            return
        if message["type"] == "ended":
            hook.process.exit = message["exit"]
            self._look_again(hook, LAST_LOOK)
        else:
            self._tell(hook, f"could not start: {message['reason']}")
            self._put_back(hook)

    def on_end_of_server(self, server: ForkServer) -> None:
        """A fork server is gone, and will tell no more of its hooks."""
        for hook in [hook for hook in self._running.values() if hook.server is server]:
            hook.server, hook.crash = None, server.crash
            hook.process.server_pid = None
            self._watch(hook)

    def _watch(self, hook: _Hook) -> None:
        """Wait for the end of a hook that no fork server reports on."""
        if self._running.get(hook.key) is not hook:
            return
        try:
            journal = hook.process.try_read()
            is_open = hook.process.open(journal)
        except OSError:  # no descriptors
            self._loop.call_later(_PAUSE, self._watch, hook)
            return
        if hook.mark is None and journal is not None:
            hook.mark = journal_facts.mark_in(journal)
        if journal is None and hook.owed is not None:
            self._put_back(hook)  # and look again before it is called
        elif is_open:
            hook.process.watch(partial(self._look_again, hook))
        else:
            self._look_again(hook)

    def _look_again(self, hook: _Hook, pause: float = FIRST_LOOK) -> None:
        """The process has ended, and is ours to reap, or its fork server lives and is about to record its exit."""
        hook.process.look_again(partial(self._look, hook), pause)

    def _look(self, hook: _Hook, pause: float) -> bool:
        """Whether the hook is seen to be over. Raises OSError."""
        if self._running.get(hook.key) is not hook:
            return True
        seen = hook.process.try_collect()
        journal = hook.process.try_read()
        if seen is None and journal is not None and journal.exit is None and pause < LAST_LOOK:
            return False
        if hook.reading is None:
            hook.timer.cancel()
            hook.reading = self._loop.create_task(self._note_end(hook, journal or Journal()))
        return True

    async def _note_end(self, hook: _Hook, journal: Journal) -> None:
        """The hook is over, once what it told has been read, a portion at a time."""
        if journal.started is not None and journal.may_have_notes:
            await self._note_news(hook, journal.started["pid"])
        self._tell_end(hook, journal, hook.process.exit)
        self._forget(hook)

    async def _note_news(self, hook: _Hook, pid: int) -> None:
        """Put into the job's log what the hook told."""
        reader = NotesReader(self._spool, hook.key, is_hook=True)
        is_read = False
        while not is_read:
            try:
                found = reader.read(pid)
            except OSError:  # no descriptors
                await asyncio.sleep(_PAUSE)
                continue
            for note in found:
                self._around.outbox.hold(Noted(*hook.key, note.type, note.message))
            is_read = not reader.has_more
            if not is_read:
                await let_others()

    def _tell_end(self, hook: _Hook, journal: Journal, exit_record: dict[str, Any] | None) -> None:
        """Put into the job's log how the hook ended, if it did not end well."""
        self._tell_strays(hook, *journal_facts.strays(exit_record or journal.exit))
        fact = journal_facts.ended(hook.key, journal, exit_record)
        ending = fact.ending if fact is not None else journal_facts.ending_unseen(journal)
        if hook.is_late:
            self._tell(hook, f"ran longer than {_LIMIT:g} s, and was killed")
        elif ending.outcome is not Outcome.COMPLETED:
            self._tell(hook, ending.error)
        self._around.outbox.send()

    def _tell_strays(self, hook: _Hook, count: int, names: list[str]) -> None:
        if count:
            told = f"processes that it left behind, killed: {left_behind(count, names)}"
            self._around.outbox.send(Noted(*hook.key, EntryType.INFO, f"the failed hook: {told}"))

    def _tell(self, hook: _Hook, what: str) -> None:
        self._around.outbox.send(Noted(*hook.key, EntryType.FAILURE, f"the failed hook: {what}"))

    def _put_back(self, hook: _Hook) -> None:
        """It has not begun: call it again in a moment, unless its starts end one fork server after the other."""
        owed = hook.owed
        if owed is not None and hook.crash is not None:
            owed = replace(owed, crashes=owed.crashes + 1)
        if owed is not None and is_quarantined(owed.crashes):
            self._tell(
                hook, f"given up, as {owed.crashes} starts in a row ended their fork server ({hook.crash})"
            )
            self._forget(hook)
            return
        self._run_no_more(hook)
        if owed is not None:
            self._waiting.append(owed)
        self._loop.call_later(_PAUSE, self._call_next)

    def _forget(self, hook: _Hook) -> None:
        self._run_no_more(hook)
        left = self._around.work.remove(directory_name(*hook.key, is_hook=True))
        self._tell_strays(hook, len(left), subreaper.told_names(left))
        self._spool.remove(hook.key)
        if hook.is_sealed:
            self._spool.fences.put_against_hook(hook.key)
        else:
            self._spool.remove_hook(hook.key)
        self._on_end()
        self._call_next()

    def _run_no_more(self, hook: _Hook) -> None:
        del self._running[hook.key]
        if hook.start is not None:
            self._around.starts.leave(hook.start)
        self._around.outputs.finish(hook.key)
        self._let_go(hook)

    def _let_go(self, hook: _Hook) -> None:
        hook.timer.cancel()
        hook.process.release()


def _order(owed: _Owed, sensitive: frozenset[str]) -> dict[str, Any]:
    """`sensitive` are the names that are secrets by now; the job knows those of when it was submitted."""
    key, call, ending = owed.key, owed.call, owed.ending
    return {
        "job": key[0],
        "number": key[1],
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
    }
