"""The `failed` hooks, all together: each called once, in a child of its own, after a job has failed for good.

Until the hook has begun, the journal of the job's last attempt stays in the spool, so that a later daemon knows
what is owed; the hook's own journal, linked by its process, decides that it is called once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from bgjobd.core.job import AttemptKey, Call, Ending
from bgjobd.core.retry import is_quarantined
from bgjobd.forkserver.journal import directory_name
from bgjobd.supervisor.fork_server_link import ForkServer
from bgjobd.supervisor.hook import PAUSE, Asked, Hook, OwedHook
from bgjobd.supervisor.starts import Start
from bgjobd.supervisor.surroundings import AttemptSurroundings


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
        self._waiting: deque[OwedHook] = deque()
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

    def stop_all(self, grace: float) -> None:
        """Call none any more, and end those that run: TERM to their groups, and KILL after `grace` seconds."""
        self._is_ending = True
        for hook in self._running.values():
            hook.stop(grace)

    @property
    def is_idle(self) -> bool:
        """Whether no hook runs, nor waits for a fork server that is there."""
        return self._idle.is_set()

    async def wait_until_idle(self) -> None:
        await self._idle.wait()

    def _note_idleness(self) -> None:
        if self._running or (self._in_line and self._server is not None):
            self._idle.clear()
        else:
            self._idle.set()

    # What others need to know

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

    # Those that wait

    def offer(self, key: AttemptKey, call: Call, ending: Ending, is_inherited: bool = False) -> bool:
        """A job has failed for good: call its class's hook, if there is one. Whether it may be owed one.

        `is_inherited`: an earlier daemon may have asked for it already.
        """
        if self._server is not None and self._wants(call.class_name) is False:
            return False
        self._offer(OwedHook(key, call, ending, is_inherited))
        return True

    def _offer(self, owed: OwedHook) -> None:
        self._waiting.append(owed)
        self._call_next()

    def serve_with(self, server: ForkServer | None) -> None:
        """From now on hooks are called by this fork server."""
        self._server = server
        self._call_next()

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
            if self._wants(owed.call.class_name) is not None:
                self._waiting.remove(owed)
                return owed
        return None

    def _put_in_line(self, owed: OwedHook) -> None:
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

    def _call(self, owed: OwedHook, server: ForkServer, start: Start) -> bool:
        """Have it called, unless that has begun after all, or its class wants no hook any more."""
        key, class_name = owed.key, owed.call.class_name
        try:
            has_begun = self._spool.try_read_hook(key) is not None
        except OSError:  # no descriptors
            self._loop.call_later(PAUSE, self._offer, owed)
            return False
        if has_begun:
            self.adopt(key, class_name)
            return False
        wants = self._wants(class_name)
        if wants is None:
            self._waiting.append(owed)  # its class was there when it got in line
            return False
        if not wants:
            self._spool.remove(key)
            return False
        # What a call before this one made that ended before it had begun: it would be in this one's way.
        self._around.work.remove(directory_name(*key, is_hook=True))
        self._run(key, class_name, Asked(server, owed, start))
        server.start(owed.order(self._around.policy(class_name).sensitive))
        return True

    # Those that run

    def adopt(self, key: AttemptKey, class_name: str) -> None:
        """Go on with a hook that an earlier daemon has called: it is not called again."""
        self._run(key, class_name, None).watch()

    def _run(self, key: AttemptKey, class_name: str, asked: Asked | None) -> Hook:
        hook = self._running[key] = Hook(self._around, key, asked, self._on_over, self._put_back)
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
        """It has not begun: call it again in a moment, unless its starts end one fork server after the other."""
        owed = None if hook.asked is None else hook.asked.owed
        if owed is not None and hook.crash is not None:
            owed = replace(owed, crashes=owed.crashes + 1)
        if owed is not None and is_quarantined(owed.crashes):
            count = owed.crashes
            hook.tell(f"given up, as {count} starts in a row ended their fork server ({hook.crash})")
            self._on_over(hook)
            return
        self._run_no_more(hook)
        if owed is not None:
            self._waiting.append(owed)
        self._loop.call_later(PAUSE, self._call_next)

    def _on_over(self, hook: Hook) -> None:
        self._run_no_more(hook)
        hook.clear_away()
        self._on_end()
        self._call_next()

    def _run_no_more(self, hook: Hook) -> None:
        del self._running[hook.key]
        if hook.asked is not None:
            self._around.starts.leave(hook.asked.start)
        self._around.outputs.finish(hook.key)
        hook.release()
