"""Hears what other daemons tell with their commits: on a thread and a connection of its own, which it opens anew.

What it hears means nothing to it. It looks from time to time, so that what was lost on the way is found.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from peewee import DatabaseError

from bgjobd.store.engines import Looked

CHANNEL: Final = "bgjobd"
NEWEST: Final = "(SELECT coalesce(max(id), 0) FROM job_logs)"
TELL: Final = f"""SELECT pg_notify('{CHANNEL}', '{{"log":' || {NEWEST} || ',' || substr(%s, 2))"""
"""An object of JSON is told with the newest log entry in it: whoever writes entries need not wait for their ids."""

LISTENING: Final = 0x62676A6F20
"""An advisory lock that all who listen share: who else holds it is another."""

_BEGIN: Final = (
    "SET statement_timeout = '10s'",
    f"SELECT pg_advisory_lock_shared({LISTENING})",
    f"LISTEN {CHANNEL}",
)
_LOOK: Final = f"""
    SELECT {NEWEST}, EXISTS (
        SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND classid = {LISTENING >> 32} AND objid = {LISTENING & 0xFFFFFFFF} AND pid <> pg_backend_pid()),
        EXISTS (SELECT 1 FROM inbox)
"""
_ENDING_FOR: Final = 1.0
"""Seconds for the thread to end; it may wait for a server that does not answer."""


class Ear(Protocol):
    """A connection that hears. Its errors are peewee's."""

    def run(self, sql: str, values: Any = None) -> Any: ...

    def fileno(self) -> int: ...

    def heard(self) -> list[str]:
        """What has come by now."""

    def close(self) -> None: ...


class PostgresListening:
    """`on_text` gets each text that is told, `on_look` what each look finds, the first as soon as it hears."""

    def __init__(
        self,
        connect: Callable[[], Ear],
        on_text: Callable[[str], None],
        on_look: Callable[[Looked], None],
        greeting: str,
        beat: float,
    ) -> None:
        self._connect = connect
        self._on_text = on_text
        self._on_look = on_look
        self._greeting = greeting
        self._beat = beat
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)
        self._end = os.eventfd(0)
        self._is_closed = False
        self._has_heard = False

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._is_closed = True
        os.eventfd_write(self._end, 1)
        if self._thread.is_alive():
            self._thread.join(_ENDING_FOR)
        if not self._thread.is_alive():
            os.close(self._end)

    def _run(self) -> None:
        while not self._is_closed:
            self._has_heard = False
            try:
                self._listen()
            except DatabaseError as error:
                if not self._has_heard:  # else the next one may be had at once
                    self._on_look(Looked(may_have_missed=True, trouble=" ".join(str(error).split())))
                    self._wait(None, time.monotonic() + self._beat)

    def _listen(self) -> None:
        """Hear as long as the connection holds. Raises DatabaseError."""
        ear = self._connect()
        try:
            for statement in _BEGIN:
                ear.run(statement)
            ear.run(TELL, (self._greeting,))
            self._look(ear, may_have_missed=True)
            self._has_heard = True
            while not self._is_closed:
                next_look = time.monotonic() + self._beat
                while self._wait(ear, next_look):
                    self._tell(ear)
                if not self._is_closed:
                    self._look(ear)
        finally:
            ear.close()

    def _look(self, ear: Ear, may_have_missed: bool = False) -> None:
        last_entry, has_others, has_sent = ear.run(_LOOK).fetchone()
        self._tell(ear)  # what has come meanwhile, and wakes nobody any more
        self._on_look(Looked(int(last_entry), bool(has_others), bool(has_sent), may_have_missed))

    def _tell(self, ear: Ear) -> None:
        for text in ear.heard():
            self._on_text(text)

    def _wait(self, ear: Ear | None, until: float) -> bool:
        """Whether something has come; not, where it is time, or all is to end."""
        waiting = select.poll()
        waiting.register(self._end, select.POLLIN)
        if ear is not None:
            waiting.register(ear.fileno(), select.POLLIN)
        left = until - time.monotonic()
        ready = dict(waiting.poll(left * 1000)) if left > 0 else {}
        return bool(ready) and self._end not in ready
