"""The `failed` hooks: each called once, in a child of its own, after a job has failed for good.

Until the hook has begun, the journal of the job's last attempt stays in the spool, so that a later daemon knows
what is owed; the hook's own journal, linked by its process, decides that it is called once.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from bgjob.words import EntryType, Outcome
from bgjobd import spool as spools
from bgjobd.core.job import Call, Ending
from bgjobd.forkserver.journal import Journal
from bgjobd.link import ForkServer
from bgjobd.outbox import Outbox
from bgjobd.spool import AttemptKey, Spool
from bgjobd.store.items import Noted

_LIMIT: Final = 60.0
"""Seconds that a hook may take."""


class Hooks:
    """Hooks that wait and hooks that run, at most `slots()` at once; `wants` tells whether a class has one."""

    def __init__(
        self, spool: Spool, outbox: Outbox, slots: Callable[[], int], wants: Callable[[str], bool]
    ) -> None:
        self._spool = spool
        self._outbox = outbox
        self._slots = slots
        self._wants = wants
        self._server: ForkServer | None = None
        self._waiting: deque[tuple[AttemptKey, Call, Ending]] = deque()
        self._running: dict[AttemptKey, tuple[ForkServer, asyncio.TimerHandle]] = {}

    def close(self) -> None:
        """Wait for no hook any more; those that run go on."""
        for _, timer in self._running.values():
            timer.cancel()
        self._running.clear()
        self._waiting.clear()

    def offer(self, key: AttemptKey, call: Call, ending: Ending) -> bool:
        """A job has failed for good: call its class's hook, if there is one. Whether it may be owed one."""
        if self._server is not None and not self._wants(call.class_name):
            return False
        self._waiting.append((key, call, ending))
        self._call_next()
        return True

    def serve_with(self, server: ForkServer | None) -> None:
        """From now on hooks are called by this fork server."""
        self._server = server
        self._call_next()

    def _call_next(self) -> None:
        while self._server is not None and self._waiting and len(self._running) < self._slots():
            key, call, ending = self._waiting.popleft()
            if self._wants(call.class_name):
                timer = asyncio.get_running_loop().call_later(_LIMIT, self._kill, key)
                self._running[key] = self._server, timer
                self._server.start(_order(key, call, ending))
            else:
                self._spool.remove(key)

    def _kill(self, key: AttemptKey) -> None:
        journal = self._spool.try_read_hook(key)
        pidfd = spools.try_open_process(journal) if journal is not None else None
        if journal is None or journal.started is None or pidfd is None:
            return
        spools.signal_group(pidfd, journal.started["pid"], signal.SIGKILL)
        os.close(pidfd)

    def on_report(self, message: dict[str, Any]) -> None:
        """What a fork server tells of a hook."""
        key = message["job"], message["number"]
        if key not in self._running:
            return
        journal = self._spool.try_read_hook(key) or Journal()
        if message["type"] == "ended":
            self._tell(key, journal, message["exit"])
        else:
            self._outbox.send(
                Noted(*key, EntryType.FAILURE, f"the failed hook could not start: {message['reason']}")
            )
        self._forget(key)

    def on_end_of_server(self, server: ForkServer) -> None:
        """A fork server is gone, and will tell no more of its hooks."""
        for key in [key for key, (own, _) in self._running.items() if own is server]:
            told = "the failed hook may not have ended: its fork server did"
            self._outbox.send(Noted(*key, EntryType.FAILURE, told))
            self._forget(key)

    def _tell(self, key: AttemptKey, journal: Journal, exit_record: dict[str, Any]) -> None:
        for note in spools.notes(key, journal):
            self._outbox.hold(note)
        fact = spools.ended(key, journal, exit_record)
        if fact is not None and fact.ending.outcome is not Outcome.COMPLETED:
            self._outbox.hold(Noted(*key, EntryType.FAILURE, f"the failed hook: {fact.ending.error}"))
        self._outbox.send()

    def _forget(self, key: AttemptKey) -> None:
        _, timer = self._running.pop(key)
        timer.cancel()
        self._spool.remove(key)
        self._spool.remove_hook(key)
        self._call_next()


def _order(key: AttemptKey, call: Call, ending: Ending) -> dict[str, Any]:
    return {
        "job": key[0],
        "number": key[1],
        "token": secrets.token_hex(8),
        "class_name": call.class_name,
        "method_name": call.method_name,
        "parameters": call.parameters,
        "sensitive": call.sensitive,
        "timeout": _LIMIT,
        "error": {
            "outcome": ending.outcome,
            "error_type": ending.error_type,
            "message": ending.error_message or ending.error,
            "traceback": ending.traceback,
        },
    }
