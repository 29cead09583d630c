"""The inbox: what applications have submitted by PostgreSQL's `bgjobd.submit`, in their own transactions.

Each becomes a job, held against what the same request would be held against at the socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from bgjob.errors import (
    DuplicateError,
    IdempotencyConflictError,
    QueueFullError,
    RequestError,
    ShuttingDownError,
    StorageUnavailableError,
)
from bgjob.words import KEY_LENGTHS, EntryType
from bgjobd.api.access import Grants
from bgjobd.api.submissions import received, submitter
from bgjobd.core.facts import Submitted
from bgjobd.core.job import Call, RetryPolicy
from bgjobd.store.inbox import Sent
from bgjobd.store.items.submissions import Received
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.reader import Reader

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon

_LATER: Final = (QueueFullError, StorageUnavailableError, ShuttingDownError)
"""What says nothing of the request: it stays where it is, for the next look."""

_NOBODY: Final = Submitter(None, None, None)


class Inbox:
    """Looks whenever it is woken: by notices of the database, and where something is found there though none came."""

    def __init__(self, daemon: Daemon, grants: Grants) -> None:
        self._daemon = daemon
        self._grants = grants
        self._wanted = asyncio.Event()
        self._trouble: str | None = None

    def wake(self) -> None:
        """Something may have come in."""
        self._wanted.set()

    async def keep(self) -> None:
        """Look until the daemon ends."""
        while True:
            self._wanted.clear()
            try:
                await self.look()
            except ShuttingDownError:
                return
            except StorageUnavailableError:
                pass  # the log has that already
            except Exception as error:  # whatever it meets: there is another look
                self._note_trouble(error)
            await self._wanted.wait()

    def _note_trouble(self, error: Exception) -> None:
        told = f"{type(error).__name__}: {error}"
        if told != self._trouble:
            self._trouble = told
            self._daemon.say(
                EntryType.FAILURE, f"bug: what transactions have submitted is not taken just now: {told}"
            )

    async def look(self) -> None:
        """Make jobs of all that is there. Raises StorageUnavailableError, ShuttingDownError."""
        after = 0
        while some := await self._behind(after):
            for sent in some:
                try:
                    await self._take_up(sent)
                except (StorageUnavailableError, ShuttingDownError):
                    raise
                except QueueFullError:
                    pass
                except Exception as error:  # whatever one meets: it keeps up none of those behind it
                    self._note_trouble(error)
            after = some[-1].id

    async def take_in(self, job_id: int | None) -> bool:
        """Make a job of this one now, for somebody asks for it, None: by a key, of all; whether it is to be looked for
        once more. It always is: where nothing is here somebody else may have made the job of it meanwhile.
        """
        if job_id is None:
            await self.look()
        elif (some := await self._behind(job_id - 1)) and some[0].id == job_id:
            await self._take_up(some[0])
        return True

    async def _behind(self, after: int) -> Sequence[Sent]:
        depth = self._daemon.config.socket.max_depth
        return await self._daemon.readers.read(partial(Reader.inbox, after=after, max_depth=depth))

    async def _take_up(self, sent: Sent) -> None:
        try:
            item = await self._as_asked(sent)
            await self._daemon.record(item)
        except _LATER:
            raise
        except RequestError as error:
            await self._refuse(sent, str(error))

    async def _refuse(self, sent: Sent, why: str) -> None:
        """Store it as one that has failed, by its key, unless that is another job's."""
        bare = _bare(sent, self._queue())
        try:
            await self._daemon.record(Received(bare._replace(idempotency_key=_key(sent)), _NOBODY, why))
        except (IdempotencyConflictError, DuplicateError):
            await self._daemon.record(Received(bare, _NOBODY, why))

    async def _as_asked(self, sent: Sent) -> Received:
        caller = self._grants.caller_of(sent.role)
        if isinstance(sent.asked, RequestError):
            raise sent.asked
        fact = await received(self._grants, self._daemon, sent.asked, caller)
        by = submitter(caller, self._grants)._replace(pid=None)
        return Received(fact._replace(id=sent.id), by)

    def _queue(self) -> str:
        return next(iter(self._daemon.config.queues))


def _key(sent: Sent) -> str | None:
    """By which whoever has sent it may ask for it; None where there is none, or what could be none."""
    options = None if isinstance(sent.asked, RequestError) else sent.asked.get("options")
    key = options.get("idempotency_key") if isinstance(options, dict) else None
    return key if isinstance(key, str) and len(key) in KEY_LENGTHS else None


def _bare(sent: Sent, queue: str) -> Submitted:
    """What is stored of a refused one: its parameters are not, for nobody knows which of them are secret."""
    return Submitted(sent.id, Call(sent.class_name, sent.method_name, "{}"), 0, RetryPolicy(), queue)
