"""The hooks of failed jobs, all together: each called once, in a child of its own, after a job has failed for good;
first `failed` of its class, then [app] on_failure.

Until the last has begun, the journal of the job's last attempt stays in the spool, so that a later daemon knows what is
owed; a hook's own journal, linked by its process, decides that it is called once. A fence in the place of the first
one's, beside the journal of its attempt, says that it is over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from bgjob.errors import RequestError
from bgjobd.core.job import MOST_CRASHES, AttemptKey, Call, Ending
from bgjobd.core.retry import STARTS_AWAITED, delay_before_start
from bgjobd.forkserver.spool_names import HOOK, HOOKS, directory_name
from bgjobd.supervisor.fork_server_link import ForkServer
from bgjobd.supervisor.hook import PAUSE, Asked, Hook, OwedHook, remove_hooks
from bgjobd.supervisor.starts import Start
from bgjobd.supervisor.surroundings import AttemptSurroundings


class Hooks:
    """Hooks that wait and hooks that run, at most `slots()` at once.

    `wants` tells whether a class has one, None where nobody knows, for it cannot be loaded just now: what it is
    owed waits. `on_end` hears that one is over. `begin` tells whether this host may call that of an attempt, so that no
    other does from then on; None where there is no other. `jitter` gives a number in [0, 1].
    """

    def __init__(
        self,
        *,
        around: AttemptSurroundings,
        slots: Callable[[], int],
        wants: Callable[[str], bool | None],
        on_end: Callable[[], None],
        begin: Callable[[AttemptKey], Awaitable[bool]] | None,
        in_background: Callable[[Coroutine[Any, Any, None]], None],
        jitter: Callable[[], float],
    ) -> None:
        self._around, self._spool, self._loop = around, around.spool, around.loop
        self._slots, self._wants, self._on_end = slots, wants, on_end
        self._begin, self._in_background, self._jitter = begin, in_background, jitter
        self._server: ForkServer | None = None
        self._waiting: deque[OwedHook] = deque()
        self._resting: dict[AttemptKey, OwedHook] = {}  # since a start in vain
        self._awaited: set[AttemptKey] = set()  # of those that rest: it is not yet in vain for long
        self._in_line: dict[AttemptKey, OwedHook] = {}  # for the fork server
        self._running: dict[AttemptKey, Hook] = {}
        self._is_ending = False
        self._idle = asyncio.Event()
        self._idle.set()

    def close(self) -> None:
        """Wait for no hook any more; those that run go on."""
        self._is_ending = True
        for hook in self._running.values():
            hook.close()
        self._running.clear()
        self._waiting.clear()
        self._resting.clear()
        self._awaited.clear()

    def stop_all(self, grace: float) -> None:
        """Call none any more, and end those that run: TERM to their groups, and KILL after `grace` seconds."""
        self._is_ending = True
        for hook in self._running.values():
            hook.stop(grace)

    @property
    def is_idle(self) -> bool:
        """Whether no hook runs, nor waits for a fork server that is there, nor rests as one that may start soon."""
        return self._idle.is_set()

    async def wait_until_idle(self) -> None:
        """Come back once that is so; those that rest are called at once: what has ended may have been in their way."""
        self._wake()
        self._call_next()
        await self._idle.wait()

    def _note_idleness(self) -> None:
        is_one_due = bool(self._in_line) or (bool(self._awaited) and not self._is_ending)
        if self._running or (is_one_due and self._server is not None):
            self._idle.clear()
        else:
            self._idle.set()

    # What others need to know

    def jobs(self) -> set[int]:
        """The jobs whose hooks wait or run."""
        return {job_id for job_id, _ in self._keys()}

    def has(self, key: AttemptKey) -> bool:
        """Whether that of this attempt waits or runs."""
        return key in self._keys()

    def directories(self) -> set[str]:
        """The names of the directories that hooks work in."""
        return {directory_name(*key, kind) for key in self._keys() for kind in HOOKS}

    def marks(self) -> set[str | None]:
        """The fork servers whose hooks run; None is among them where that is not known of one."""
        return {hook.mark for hook in self._running.values()}

    def pids(self) -> set[int]:
        """The processes of hooks that proved their starts."""
        known = [self._spool.try_read_hook(key, kind) for key in self._keys() for kind in HOOKS]
        return {journal.started["pid"] for journal in known if journal is not None and journal.started}

    def _keys(self) -> list[AttemptKey]:
        return [*self._running, *self._in_line, *self._resting, *(owed.key for owed in self._waiting)]

    # Those that wait

    def offer(
        self,
        key: AttemptKey,
        call: Call,
        ending: Ending,
        occurrence: float | None,
        is_inherited: bool = False,
    ) -> bool:
        """A job has failed for good: call its class's hook, and that of all classes. Whether it may be owed one.

        `is_inherited`: an earlier daemon may have asked for it already.
        """
        owed = OwedHook(key, call, ending, occurrence, is_inherited)
        if self._server is not None and not self._is_wanted(owed):
            return False
        self._offer(owed)
        return True

    def _is_wanted(self, owed: OwedHook) -> bool:
        """Whether it, or one after it, may have to be called, as the code of the fork server has it."""
        is_for_all = self._server is not None and self._server.has_on_failure
        return is_for_all or (owed.kind == HOOK and self._wants(owed.call.class_name) is not False)

    def _offer(self, owed: OwedHook) -> None:
        self._waiting.append(owed)
        self._call_next()

    def serve_with(self, server: ForkServer | None) -> None:
        """From now on hooks are called by this fork server."""
        self._server = server
        if server is not None:
            self._wake()
        self._call_next()

    def _wake(self) -> None:
        """Have those that rest be called next: whatever it was that has kept them from starting may be over."""
        self._waiting += self._resting.values()
        self._resting.clear()
        self._awaited.clear()

    def _call_next(self) -> None:
        while self._server is not None and self._may_call() and (owed := self._try_next()) is not None:
            self._put_in_line(owed)
        self._note_idleness()

    def _may_call(self) -> bool:
        is_full = len(self._running) + len(self._in_line) >= self._slots()
        return bool(self._waiting) and not self._is_ending and not is_full

    def _try_next(self) -> OwedHook | None:
        """The one that has waited longest, of a class that is there; it waits no more."""
        for owed in self._waiting:
            wants = self._wants(owed.call.class_name) if owed.kind == HOOK else True
            if wants is not None:
                self._waiting.remove(owed)
                next_one = None if wants else owed.next_one
                return owed if next_one is None or not self._is_wanted(next_one) else next_one
        return None

    def _put_in_line(self, owed: OwedHook) -> None:
        self._in_line[owed.key] = owed
        if self._begin is None or owed.is_ours:
            self._line_up(owed)
        else:
            self._in_background(self._line_up_ours(owed, self._begin))

    async def _line_up_ours(self, owed: OwedHook, begin: Callable[[AttemptKey], Awaitable[bool]]) -> None:
        """Once it is stored that this host calls it; not where another one has, for this one has counted as lost."""
        try:
            is_ours = await begin(owed.key)
        except RequestError:  # the database is away, or this daemon ends
            del self._in_line[owed.key]
            self._waiting.append(owed)
            self._loop.call_later(PAUSE, self._call_next)
            return
        if is_ours:
            self._line_up(replace(owed, is_ours=True))
            return
        del self._in_line[owed.key]
        remove_hooks(self._spool, owed.key, owed.is_sealed)
        self._on_end()
        self._call_next()

    def _line_up(self, owed: OwedHook) -> None:
        def send(server: ForkServer) -> bool:
            del self._in_line[owed.key]
            self._loop.call_soon(self._call_next)  # once the line has seen to this one
            return not self._is_ending and self._call(owed, server, start)

        start = Start(owed.crashes, send, partial(self._has_begun, owed))
        self._around.starts.put(start)

    def _has_begun(self, owed: OwedHook) -> bool:
        try:
            return self._spool.try_read_hook(owed.key, owed.kind) is not None
        except OSError:  # no descriptors: another look follows
            return False

    def _call(self, owed: OwedHook, server: ForkServer, start: Start) -> bool:
        """Have it called, unless that has begun after all, or nobody wants it any more."""
        key, class_name = owed.key, owed.call.class_name
        try:
            journal = self._spool.try_read_hook(key, owed.kind)
        except OSError:  # no descriptors
            self._rest(replace(owed, in_vain=owed.in_vain + 1))
            return False
        if journal is not None and journal.started is not None:
            self.adopt(key, owed.kind, class_name, owed.next_one)
            return False
        wants = self._wants(class_name) if owed.kind == HOOK else server.has_on_failure
        if wants is None:
            self._waiting.append(owed)  # its class was there when it got in line
            return False
        if journal is not None or not wants:
            self._go_on(owed)
            return False
        # What a call before this one made that ended before it had begun: it would be in this one's way.
        self._around.work.remove(directory_name(*key, owed.kind))
        self._run(key, owed.kind, class_name, Asked(server, owed, start), owed.next_one)
        server.start(owed.order(self._around.policy(class_name).sensitive))
        return True

    def _go_on(self, owed: OwedHook) -> None:
        """This one is not to be called: the next one is, if somebody wants it."""
        if owed.next_one is not None and self._is_wanted(owed.next_one):
            self._waiting.append(owed.next_one)
        else:
            remove_hooks(self._spool, owed.key, owed.is_sealed)

    # Those that run

    def adopt(self, key: AttemptKey, kind: str, class_name: str, next_one: OwedHook | None) -> None:
        """Go on with a hook that an earlier daemon has called: it is not called again."""
        self._run(key, kind, class_name, None, next_one).watch()

    def _run(
        self, key: AttemptKey, kind: str, class_name: str, asked: Asked | None, next_one: OwedHook | None
    ) -> Hook:
        hook = Hook(
            self._around, key, kind, asked, next_one, on_over=self._on_over, on_not_begun=self._put_back
        )
        self._running[key] = hook
        self._idle.clear()
        self._around.outputs.keep_bounded(key, self._around.policy(class_name).max_output)
        return hook

    def on_report(self, message: dict[str, Any]) -> None:
        """What a fork server tells of a hook."""
        hook = self._running.get((message["job"], message["number"]))
        if hook is not None:
            hook.on_report(message)

    def on_end_of_server(self, server: ForkServer) -> None:
        """A fork server is gone, and will tell no more of its hooks."""
        for hook in [hook for hook in self._running.values() if hook.server is server]:
            hook.on_end_of_server(server)

    def _put_back(self, hook: Hook) -> None:
        """It has not begun: call it again in a moment, which gets longer each time that nothing has crashed, unless its
        starts end one fork server after the other.
        """
        owed = None if hook.asked is None else hook.asked.owed
        if owed is not None and hook.crash is not None:
            owed = replace(owed, crashes=owed.crashes + 1)
        if owed is not None and owed.crashes >= MOST_CRASHES:
            count = owed.crashes
            hook.tell(f"given up, as {count} starts in a row ended their fork server ({hook.crash})")
            self._on_over(hook)
            return
        self._run_no_more(hook)
        if owed is not None and hook.crash is None:
            self._rest(replace(owed, in_vain=owed.in_vain + 1))
            self._call_next()  # those behind it need not wait for what keeps this one
            return
        if owed is not None:
            self._waiting.append(owed)
        self._loop.call_later(PAUSE, self._call_next)

    def _rest(self, owed: OwedHook) -> None:
        """Have it wait for as long as an attempt that could not start so often in a row."""
        self._resting[owed.key] = owed
        if owed.in_vain < STARTS_AWAITED:
            self._awaited.add(owed.key)
        self._loop.call_later(delay_before_start(owed.in_vain, self._jitter()), self._end_rest, owed)

    def _end_rest(self, owed: OwedHook) -> None:
        if self._resting.get(owed.key) is owed:
            self._awaited.discard(owed.key)
            self._offer(self._resting.pop(owed.key))

    def _on_over(self, hook: Hook) -> None:
        self._run_no_more(hook)
        hook.clear_work()
        next_one = hook.next_one
        if next_one is not None and (self._server is None or self._is_wanted(next_one)):
            with suppress(OSError):  # should this daemon die now, the next has its end told again
                self._spool.fences.put_after_hook(hook.key, HOOK)
            self._waiting.append(next_one)
        else:
            hook.clear_spool()
        self._on_end()
        self._call_next()

    def _run_no_more(self, hook: Hook) -> None:
        del self._running[hook.key]
        if hook.asked is not None:
            self._around.starts.leave(hook.asked.start)
        self._around.outputs.finish(hook.key)
        hook.release()
