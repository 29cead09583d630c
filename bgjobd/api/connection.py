"""One connection of the socket: requests in, replies out in their order, and what it may cost."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from bgjob import codec
from bgjob.codec import IntegerOutOfRangeError, JsonObject, Reply, Request
from bgjob.errors import InvalidParameterError, ProtocolError, RequestError
from bgjobd.api.admission import LARGE, TINY, Admission, Place
from bgjobd.api.dispatch import Dispatcher, Encoded, refusal_of, refused
from bgjobd.api.peer import Caller, HangUp, try_peer
from bgjobd.api.timeouts import FrameTimeout, IdleTimeout, UnreadTimeout
from bgjobd.daemon.followers import TooSlowError
from bgjobd.host import json_portions
from bgjobd.host.pacing import paced

_SMALL: Final = 4096
"""Bytes of a request that is read at once; what is longer is read in portions, one request of a user at a time."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one connection may cost: bytes, levels, seconds, connections in all and per uid.

    `idle_timeout` is also how long replies may lie unread; `max_under_way` are bytes of the requests of all.
    """

    max_frame: int = 1024 * 1024
    max_depth: int = 32
    max_connections: int = 256
    max_connections_per_uid: int = 64
    max_pipelined: int = 64
    max_unread: int = 4 * 1024 * 1024
    max_under_way: int = 32 * 1024 * 1024
    frame_timeout: float = 10.0
    idle_timeout: float = 600.0


@dataclass(slots=True)
class _Call:
    """A request whose reply is owed; replies go out in the order of the requests."""

    request: Request
    size: int
    task: asyncio.Task[JsonObject | Encoded] | None
    held: int = 0
    """Bytes of the requests of all that it takes up until it is answered."""
    is_large: bool = False
    frame: bytes | None = None
    """The reply, where it waits for those before it."""


class Connection(asyncio.BufferedProtocol):
    """Reads requests of one peer, and answers them in order. `buffer` is lent to all connections, one at a time."""

    def __init__(
        self,
        *,
        dispatcher: Dispatcher,
        limits: ConnectionLimits,
        admission: Admission[Connection],
        buffer: memoryview,
    ) -> None:
        self._dispatcher = dispatcher
        self._limits = limits
        self._admission = admission
        self._buffer = buffer
        self._frames = codec.FrameReader(limits.max_frame)
        self._backlog: deque[bytes] = deque()
        self._calls: deque[_Call] = deque()
        self._asked = 0
        self._held = 0
        self._reading: asyncio.Task[None] | None = None
        self._place = Place(admission.turns, limits.max_frame)
        self._transport: asyncio.Transport | None = None
        self._caller: Caller | None = None  # and not a caller with some uid: 0 is root
        self._frame_timeout = FrameTimeout(self._limits.frame_timeout)
        self._unread_timeout = UnreadTimeout(self._limits.idle_timeout)
        self._idle_timeout = IdleTimeout(self._limits.idle_timeout)
        self._stream_task: asyncio.Task[None] | None = None
        self._hang_up = HangUp()
        self._is_at_end = False
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._written = 0

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        caller = try_peer(transport.get_extra_info("socket"))
        if caller is None or not self._admission.admit(self, caller.uid):
            transport.abort()
            return
        self._caller = caller
        self._transport = transport
        transport.set_write_buffer_limits(high=0)  # so that we hear as soon as the peer has no more room
        self._idle_timeout.start(self._is_busy, self._refuse_more)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._is_at_end:
            return
        self._idle_timeout.note_activity()
        try:
            frames = self._frames.feed(bytes(self._buffer[:nbytes]))
            self._backlog += frames
            self._take_backlog()
        except ProtocolError:
            self._backlog.clear()
            self._close_after_replies()
            return
        if frames:
            self._frame_timeout.stop()
        if self._frames.is_unfinished:
            self._frame_timeout.start(self.abort)
        self._pause_if_full()

    def pause_writing(self) -> None:
        self._can_write.clear()
        self._unread_timeout.start(self._taken, self.abort)

    def resume_writing(self) -> None:
        self._can_write.set()
        self._unread_timeout.stop()

    def eof_received(self) -> bool:
        self._watch_hang_up()
        self._close_after_replies()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._caller is not None:
            self._admission.dismiss(self, self._caller.uid)
        self._frame_timeout.stop()
        self._unread_timeout.stop()
        if self._reading is not None:
            self._reading.cancel()
        if self._place.held:
            self._place.leave(self.uid)
        self._idle_timeout.stop()
        self._hang_up.unwatch()
        for call in self._calls:
            # Nobody is there to hear the answer; what was submitted is stored all the same.
            if call.task is None:
                self._let_go(call)
            elif not call.request.oneway:
                call.task.cancel()
        self._calls.clear()
        self._backlog.clear()
        if self._stream_task is not None:
            self._stream_task.cancel()

    # Requests

    def _take_backlog(self) -> None:
        """Take requests as long as few enough answers are owed, and it is this connection's turn."""
        while self._backlog and self._reading is None and self._may_take(len(self._backlog[0])):
            size = len(self._backlog[0])
            if size <= _SMALL and not self._admission.rounds.try_take(self, size):
                return
            frame = self._backlog.popleft()
            self._asked += size
            held = 0 if size <= TINY else size
            if size <= _SMALL and (not held or self._admission.turns.try_take(self.uid, held)):
                self._accept(frame, held)
            else:
                self._read_on(self._read(frame))

    def _may_take(self, size: int) -> bool:
        """Whether a request of so many bytes may be held beside the others: in memory it is many times as large."""
        has_room = self._asked + size <= self._limits.max_frame
        return not self._calls or (len(self._calls) < self._limits.max_pipelined and has_room)

    def _accept(self, frame: bytes, held: int) -> None:
        call = _Call(_UNREAD, len(frame), None, held)
        try:
            request = codec.parse_request(frame, self._limits.max_depth)
        except IntegerOutOfRangeError as error:
            self._refuse(call, error)
        except ProtocolError:
            self._let_go(call)
            raise
        else:
            self._begin(call, request)

    # Requests that take long to read, or wait for room: nothing behind them is read meanwhile.

    def _read_on(self, reading: Coroutine[Any, Any, None]) -> None:
        self._reading = asyncio.ensure_future(reading)
        self._reading.add_done_callback(self._on_read)

    async def _read(self, frame: bytes) -> None:
        call, turns, uid = _Call(_UNREAD, len(frame), None), self._admission.turns, self.uid
        try:
            if len(frame) > LARGE:
                await self._place.take(uid)
                call.held, call.is_large = self._place.hand_on(), True
            else:
                await turns.take(uid, len(frame))
                call.held = len(frame)
            async with turns.of(uid).reading:
                request = await paced(json_portions.request_in(frame, self._limits.max_depth))
        except IntegerOutOfRangeError as error:
            self._refuse(call, error)
        except BaseException:
            self._let_go(call)
            raise
        else:
            self._begin(call, request)

    def _on_read(self, reading: asyncio.Task[None]) -> None:
        self._reading = None
        if reading.cancelled() or self._transport is None:
            return
        error = reading.exception()
        if isinstance(error, ProtocolError):
            self._backlog.clear()
            self._close_after_replies()
            return
        if error is not None:
            raise error
        self._after_replies()
        self._read_more()

    def _read_more(self) -> None:
        """Go on with reading where something large has held it up, though answers may be owed."""
        is_full = self._backlog or self._reading or len(self._calls) >= self._limits.max_pipelined
        if self._transport is None or self._is_at_end or is_full or self._transport.is_reading():
            return
        if self._frames.unfinished > LARGE and not self._place.held:
            self._read_on(self._place.take(self.uid))
        else:
            self._hang_up.unwatch()
            self._transport.resume_reading()
            if self._frames.is_unfinished:
                self._frame_timeout.start(self.abort)

    # What has been read

    def _begin(self, call: _Call, request: Request) -> None:
        if self._dispatcher.has_stream(request):
            call.request = request
            self._calls.append(call)
            self._send_replies()
        else:
            self._work_on(call, request, self._dispatcher.answer(request, self._known(), call.size))

    def _refuse(self, call: _Call, error: IntegerOutOfRangeError) -> None:
        refusal = InvalidParameterError(parameter=error.parameter)
        self._work_on(call, error.request, refused(refusal))

    def _work_on(
        self, call: _Call, request: Request, work: Coroutine[Any, Any, JsonObject | Encoded]
    ) -> None:
        # Its parameters are kept no longer than they are worked on.
        call.request = request._replace(parameters={})
        call.task = asyncio.ensure_future(work)
        self._calls.append(call)
        call.task.add_done_callback(partial(self._on_answer, call))

    def _let_go(self, call: _Call) -> None:
        """The request takes up nothing more."""
        self._asked -= call.size
        call.size = 0
        if not call.held:
            return
        turns, uid = self._admission.turns, self.uid
        if call.is_large:
            turns.of(uid).large.release()
        turns.give_back(uid, call.held)
        call.held = 0

    def _known(self) -> Caller:
        """Whom the kernel has named; nothing is done for anybody else."""
        if self._caller is None:
            raise RuntimeError("a request came before its caller was known")
        return self._caller

    # Replies

    def _on_answer(self, call: _Call, task: asyncio.Task[JsonObject | Encoded]) -> None:
        self._let_go(call)
        if not task.cancelled():
            task.exception()  # seen here, for the caller may be gone
        self._send_replies()
        if any(one is call for one in self._calls):
            self._hold(call, task)
            self._after_replies()

    def _hold(self, call: _Call, task: asyncio.Task[JsonObject | Encoded]) -> None:
        """Keep the reply until those before it are sent; a peer that has much waiting is as one that does not read."""
        is_wanted = not call.request.oneway
        call.frame = self._dispatcher.frame_of(call.request, task) if is_wanted else b""
        call.task = None
        self._held += len(call.frame)
        if self._held > self._limits.max_unread:
            self.abort()

    def _send_replies(self) -> None:
        """Send what is ready at the head of the line."""
        while self._calls and self._stream_task is None:
            call = self._calls[0]
            if call.frame is not None:
                self._calls.popleft()
                self._held -= len(call.frame)
                self._send(call.request, call.frame)
                continue
            if call.task is None:
                self._let_go(call)
                self._stream_task = asyncio.ensure_future(self._stream(call.request))
                return
            if not call.task.done():
                return
            self._calls.popleft()
            self._send(call.request, self._dispatcher.frame_of(call.request, call.task))
        self._after_replies()

    async def _stream(self, request: Request) -> None:
        """Answer as often as the method has news, at once; an empty reply, or an error, says that it was the last."""
        last = Reply()
        try:
            # It is given no name, so that it ends with this loop, however that ends.
            async for parameters in self._dispatcher.stream(request, self._known()):
                self._send(request, Reply(parameters, continues=True).to_bytes())
                await self._can_write.wait()  # a stream goes as fast as its reader
                await self._admission.streaming.next()  # and lets others go on, however much it has to tell
        except RequestError as error:
            last = refusal_of(error)
        except TooSlowError:
            self.abort()  # a caller that can goes on from the last it has, over another connection
            return
        except Exception as error:
            last = self._dispatcher.reply_to_bug(request, error)
        self._stream_task = None
        if self._calls:
            self._send(request, self._dispatcher.written(request, last))
            self._calls.popleft()
        self._send_replies()

    def _send(self, request: Request, frame: bytes) -> None:
        if self._transport is None or request.oneway:
            return
        if self._transport.get_write_buffer_size() > self._limits.max_unread:
            self.abort()  # the peer does not read what it asked for, and nobody else pays for it
            return
        self._written += len(frame)
        self._transport.write(frame)

    def _after_replies(self) -> None:
        """Go on with what was read and not taken, then with reading, then with an end that waits for it."""
        if self._transport is None:
            return
        self._idle_timeout.note_activity()
        try:
            self._take_backlog()
        except ProtocolError:
            self._backlog.clear()
            self._is_at_end = True
        if self._calls or self._backlog or self._reading:
            return
        if self._is_at_end:
            self._transport.close()
        else:
            self._read_more()

    @property
    def uid(self) -> int:
        return self._known().uid

    @property
    def size_of_next(self) -> int:
        """Bytes of the request that waits for its turn."""
        return len(self._backlog[0]) if self._backlog else 0

    def go_on(self) -> None:
        """It is this connection's turn again."""
        self._after_replies()

    # Ends

    def owed(self) -> list[asyncio.Task[JsonObject | Encoded]]:
        """What works on the answers to the requests taken so far."""
        return [call.task for call in self._calls if call.task is not None]

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _close_after_replies(self) -> None:
        """Take nothing more; close once what was taken is answered."""
        self._is_at_end = True
        self._frame_timeout.stop()
        self._after_replies()

    def _watch_hang_up(self) -> None:
        """A peer that sends no more may still read its answers; one that has closed both ways is gone."""
        if self._transport is None:
            return
        try:
            self._hang_up.watch(self._transport.get_extra_info("socket"), self.abort)
        except OSError:
            self.abort()  # no descriptor is left: this caller is let go rather than one that asks for less

    def _pause_if_full(self) -> None:
        if self._frames.unfinished > LARGE and not self._place.held and self._reading is None:
            self._read_on(self._place.take(self.uid))
        is_full = self._backlog or self._reading or len(self._calls) >= self._limits.max_pipelined
        if is_full and self._transport is not None:
            self._transport.pause_reading()
            self._watch_hang_up()
            self._frame_timeout.stop()  # the rest of a frame isn't late if nobody reads it

    # What the timeouts ask and do

    def _taken(self) -> int:
        """How many bytes of what was written are out of our hands."""
        return self._written - (self._transport.get_write_buffer_size() if self._transport is not None else 0)

    def _is_busy(self) -> bool:
        return bool(self._calls) or self._frames.is_unfinished

    def _refuse_more(self) -> None:
        """End the reading side: a request that came until now is answered, one that comes later cannot be sent."""
        assert self._transport is not None
        self._transport.get_extra_info("socket").shutdown(socket.SHUT_RD)


_UNREAD: Final = Request("")
"""Stands for a request that is not read yet."""
