"""The outbox of an application for asyncio: the names of `Outbox` as coroutines."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from bgjob.aio import AsyncClient
from bgjob.calls import Call
from bgjob.codec import JsonObject
from bgjob.errors import BgjobError
from bgjob.outbox import direct
from bgjob.outbox.databases import AsyncDatabase, async_database_of
from bgjob.outbox.flushing import Flushed, Steps
from bgjob.outbox.outboxes import (
    BaseOutbox,
    is_attempt,
    is_daemon_away,
    logged,
    not_flushed,
    whose_table,
)
from bgjob.outbox.steps import Turn

if TYPE_CHECKING:
    from bgjob.submitting_calls import Options

T = TypeVar("T")


class AsyncOutbox(BaseOutbox):
    """As `Outbox`, over an AsyncConnection of psycopg 3, or an AsyncSession or AsyncConnection of SQLAlchemy."""

    _client: AsyncClient | None = None

    async def submit(
        self,
        connection: Any,
        class_name: str | type,
        method_name: str,
        parameters: JsonObject | None = None,
        retry_count: int = 0,
        **options: Unpack[Options],
    ) -> str:
        """See `Outbox.submit`."""
        now = datetime.now(UTC)
        database = async_database_of(connection)
        row = self._row(class_name, method_name, parameters, retry_count, options, now)
        if direct.takes(await self._found(database), row, is_attempt()):
            await database.run(direct.submission(row))
            return row.key
        self._keep(row)
        with whose_table():
            await database.run(database.dialect.insert(row, now))
        return row.key

    async def _found(self, database: AsyncDatabase) -> direct.Found:
        found = self._try_found(database)
        return found or direct.LOOKS.note(database.place, await database.run(direct.LOOK))

    async def _has_table(self, database: AsyncDatabase) -> bool:
        """See `Outbox`."""
        found = self._try_found(database)
        if found is None:
            found = await self._found(database)
            await database.run(Turn.COMMIT)
        return found.has_table or not found.is_direct

    async def flush(self, connection: Any) -> Flushed:
        """See `Outbox.flush`."""
        database = async_database_of(connection)
        steps = self._steps(database)
        client = self._client = self._client or AsyncClient(self._address, timeout=self._timeout)
        try:
            if not await self._has_table(database):
                return Flushed()
            flushed = await _carried_out(steps, database, client)
        except Exception as error:
            flushed = not_flushed(error)
        self._forget_old()
        if is_daemon_away(flushed.trouble):
            self._client = None  # as in Outbox
            await client.close()
        return logged(flushed)


async def _carried_out(steps: Steps, database: AsyncDatabase, client: AsyncClient) -> Flushed:
    try:
        step = next(steps)
        while True:
            try:
                if isinstance(step, Call):
                    answer = await _answer(client, step)
                else:
                    answer = await database.run(database.dialect.said(step))
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        flushed: Flushed = end.value
        return flushed
    except BaseException:
        with suppress(Exception):
            await database.run(Turn.ROLL_BACK)
        raise


async def _answer(client: AsyncClient, call: Call[T]) -> T | BgjobError:
    try:
        return await client._call(call)
    except BgjobError as error:
        return error
