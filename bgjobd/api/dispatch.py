"""From a request to its method, and from what that answers or raises to the frame of a reply."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from bgjob.codec import JsonObject, Reply, Request
from bgjob.errors import ExpectedMoreError, InternalError, MethodNotFoundError, RequestError
from bgjobd.api.peer import Caller
from bgjobd.host import json_portions
from bgjobd.host.pacing import paced
from bgjobd.store.questions import asker

_MANY_VALUES: Final = 16 * 1024
"""Bytes of a request whose lists and objects are let go in portions."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """The parameters of a reply as JSON, made off the loop, which only passes them on: for those that may be large."""

    parameters: bytes
    continues: bool = False

    def to_bytes(self) -> bytes:
        return b'{"parameters":%b%b}\0' % (self.parameters, b',"continues":true' if self.continues else b"")


class CutOffError(Exception):
    """What a stream raises to have its caller cut off, who takes the replies too slowly to ever get all of them."""


Answer = Callable[[JsonObject, Caller], Awaitable[JsonObject | Encoded]]
"""A method that answers once."""
Stream = Callable[[JsonObject, Caller], AsyncIterator[JsonObject | Encoded]]
"""A method that answers as often as it has news, for calls with `more`."""


@dataclass(frozen=True, slots=True)
class Methods:
    """What the socket serves, by full name. A method may stand in both tables."""

    answers: Mapping[str, Answer]
    streams: Mapping[str, Stream]
    to_their_end: frozenset[str] = frozenset()
    """Those that go on where their caller has left."""
    waiting: frozenset[str] = frozenset()
    """Those that wait as long as it takes and change nothing: for a caller who has left they end, `oneway` or not."""


class Dispatcher:
    """Calls methods, for all connections. `on_bug` hears of exceptions that no caller caused."""

    def __init__(self, methods: Methods, on_bug: Callable[[str, Exception], None]) -> None:
        self._methods = methods
        self._on_bug = on_bug

    def has_stream(self, request: Request) -> bool:
        """Whether it is answered as often as there is news."""
        return request.more and request.method in self._methods.streams

    def goes_on(self, request: Request) -> bool:
        """Whether it is worked on to its end, be its caller still there or not."""
        is_wanted = request.oneway and request.method not in self._methods.waiting
        return is_wanted or request.method in self._methods.to_their_end

    def stream(self, request: Request, caller: Caller) -> AsyncIterator[JsonObject | Encoded]:
        """The answers to such a request."""
        asker.set(caller.uid)
        return self._methods.streams[request.method](request.parameters, caller)

    async def reply(self, request: Request, caller: Caller, size: int) -> Reply | Encoded:
        """The one reply to a request of so many bytes, whatever its method raises."""
        answer = self._answer_large if size > _MANY_VALUES else self._answer
        try:
            told = await answer(request, caller)
        except RequestError as error:
            return refusal_of(error)
        except Exception as error:
            return self.reply_to_bug(request, error)
        return told if isinstance(told, Encoded) else Reply(told)

    async def _answer_large(self, request: Request, caller: Caller) -> JsonObject | Encoded:
        """The answer, which has nothing of the request's lists and objects: those are emptied, a portion at a time."""
        parts = [*request.parameters.values()]
        try:
            return await self._answer(request, caller)
        finally:
            await paced(json_portions.emptied(parts))

    async def _answer(self, request: Request, caller: Caller) -> JsonObject | Encoded:
        asker.set(caller.uid)
        method = self._methods.answers.get(request.method)
        if method is None:
            is_stream = request.method in self._methods.streams
            raise ExpectedMoreError() if is_stream else MethodNotFoundError(method=request.method)
        return await method(request.parameters, caller)

    def written(self, request: Request, reply: Reply | Encoded) -> bytes:
        """The reply as it is sent."""
        try:
            return reply.to_bytes()
        except (TypeError, ValueError, RecursionError) as error:
            return self.reply_to_bug(request, error).to_bytes()

    def reply_to_bug(self, request: Request, error: Exception) -> Reply:
        self._on_bug(request.method, error)
        return refusal_of(InternalError(reason=f"{type(error).__name__}: {error}"))


def refusal_of(error: RequestError) -> Reply:
    return Reply(error.parameters, error=error.error_name)
