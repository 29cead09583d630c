"""One connection of the socket: requests in, replies out in their order, and what it may cost."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from bgjob.codec import IntegerOutOfRangeError, Reply, Request
from bgjob.errors import InvalidParameterError, ProtocolError, RequestError, TooManyConnectionsError
from bgjobd.api.admission import Admission
from bgjobd.api.dispatch import CutOffError, Dispatcher, Encoded, refusal_of
from bgjobd.api.outgoing import Outgoing
from bgjobd.api.peer import Caller, HangUp, try_peer
from bgjobd.api.requests import Call, RequestReader
from bgjobd.api.timeouts import FrameTimeout, IdleTimeout
from bgjobd.config.sections import Socket


class Connection(asyncio.BufferedProtocol):
    """Reads requests of one peer, and answers them in order. `buffer` is lent to all connections, one at a time.

    `job_of` tells whose attempt a process is.
    """

    def __init__(
        self,
        *,
        dispatcher: Dispatcher,
        limits: Socket,
        admission: Admission[Connection],
        buffer: memoryview,
        job_of: Callable[[int], int | None],
    ) -> None:
        self._dispatcher = dispatcher
        self._limits = limits
        self._admission = admission
        self._buffer = buffer
        self._job_of = job_of
        self._calls: deque[Call] = deque()
        self._requests = RequestReader(limits, admission, self._calls)
        self._held = 0
        self._transport: asyncio.Transport | None = None
        self._outgoing = Outgoing(limits)
        self._caller: Caller | None = None  # and not a caller with some uid: 0 is root
        self._frame_timeout = FrameTimeout(self._limits.frame_timeout)
        self._idle_timeout = IdleTimeout(self._limits.idle_timeout)
        self._stream_task: asyncio.Task[None] | None = None
        self._hang_up = HangUp()
        self._is_at_end = False

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        caller = try_peer(transport.get_extra_info("socket"))
        if caller is None:
            transport.abort()
            return
        try:
            self._admission.admit(self, caller.uid)
        except TooManyConnectionsError as refusal:
            transport.write(refusal_of(refusal).to_bytes())
            transport.close()
            return
        self._caller = replace(caller, job=self._job_of(caller.pid))
        self._transport = transport
        self._outgoing.start(transport)
        self._idle_timeout.start(self._is_busy, self._refuse_more)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._is_at_end:
            return
        self._idle_timeout.note_activity()
        try:
            has_ended = self._requests.feed(bytes(self._buffer[:nbytes]))
            self._requests.take(self)
        except ProtocolError:
            self.on_broken()
            return
        if has_ended:
            self._frame_timeout.stop()
        if self._requests.is_unfinished:
            self._frame_timeout.start(self.abort)
        self._pause_if_full()

    def pause_writing(self) -> None:
        self._outgoing.pause()

    def resume_writing(self) -> None:
        self._outgoing.resume()

    def eof_received(self) -> bool:
        self._watch_hang_up()
        self._close_after_replies()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._outgoing.end()
        self._frame_timeout.stop()
        self._requests.drop(self)
        self._idle_timeout.stop()
        self._hang_up.unwatch()
        if self._stream_task is not None:
            self._stream_task.cancel()
            self._stream_task = None  # it is in nobody's way: what goes on behind it comes to its end
        self._leave_if_done()

    def _leave_if_done(self) -> None:
        """Give the place away, once the last call that goes on to its end by itself is over."""
        if self._caller is not None and not self._calls:
            self._admission.dismiss(self, self._caller.uid)

    def _read_more(self) -> None:
        """Go on with reading where something large has held it up, though answers may be owed."""
        is_full = self._requests.is_full
        if self._transport is None or self._is_at_end or is_full or self._transport.is_reading():
            return
        if not self._requests.wait_for_place(self):
            self._hang_up.unwatch()
            self._transport.resume_reading()
            if self._requests.is_unfinished:
                self._frame_timeout.start(self.abort)

    # What comes of reading

    def goes_on(self, request: Request) -> bool:
        return self._dispatcher.goes_on(request)

    def on_read(self) -> None:
        """What took long to read, or waited for room, is out of the way of what is behind it."""
        if self._transport is not None:
            self._after_replies()
            self._read_more()

    def on_broken(self) -> None:
        """What was sent is no request."""
        if self._transport is not None:
            self._requests.forget()
            self._close_after_replies()

    def begin(self, call: Call, request: Request) -> None:
        if self._dispatcher.has_stream(request):
            call.request = request
            self._calls.append(call)
            self._send_replies()
        else:
            self._work_on(call, request)

    def refuse(self, call: Call, error: IntegerOutOfRangeError) -> None:
        self._work_on(call, error.request, InvalidParameterError(parameter=error.parameter))

    def _work_on(self, call: Call, request: Request, refusal: RequestError | None = None) -> None:
        # Its parameters are kept no longer than they are worked on.
        call.request = request._replace(parameters={})
        call.task = asyncio.ensure_future(self._answer(call, request, refusal))
        self._calls.append(call)

    def _known(self) -> Caller:
        """Whom the kernel has named; nothing is done for anybody else."""
        if self._caller is None:
            raise RuntimeError("a request came before its caller was known")
        return self._caller

    # Replies

    async def _answer(self, call: Call, request: Request, refusal: RequestError | None) -> None:
        """Have the reply made, and sent once those before it are; a peer that has much waiting is as one that does not
        read.
        """
        try:
            reply = (
                await self._dispatcher.reply(request, self._known(), call.size)
                if refusal is None
                else refusal_of(refusal)
            )
        except asyncio.CancelledError:
            if self._transport is None:
                raise
            reply = self._dispatcher.reply_to_bug(request, RuntimeError("the call was cancelled"))
        finally:
            self._requests.let_go(self, call)
        call.frame = b"" if request.oneway else self._dispatcher.written(request, reply)
        call.task = None
        self._held += len(call.frame)
        self._send_replies()
        if self._held > self._limits.max_unread and self._transport is not None:
            self.abort()
        else:
            self._after_replies()

    def _send_replies(self) -> None:
        """Send what is ready at the head of the line, or begin with its stream."""
        while self._calls and self._stream_task is None:
            call = self._calls[0]
            if call.frame is not None:
                self._calls.popleft()
                self._held -= len(call.frame)
                self._send(call.request, call.frame)
                continue
            if call.task is None:
                self._requests.let_go(self, call)
                self._stream_task = asyncio.ensure_future(self._stream(call.request))
            return

    async def _stream(self, request: Request) -> None:
        """Answer as often as the method has news, at once; an empty reply, or an error, says that it was the last."""
        last = Reply()
        try:
            # It is given no name, so that it ends with this loop, however that ends.
            async for told in self._dispatcher.stream(request, self._known()):
                reply = told if isinstance(told, Encoded) else Reply(told, continues=True)
                self._send(request, reply.to_bytes())
                await self._outgoing.has_room.wait()  # a stream goes as fast as its reader
                await self._admission.streaming.next()  # and lets others go on, however much it has to tell
        except RequestError as error:
            last = refusal_of(error)
        except CutOffError:
            self.abort()  # a caller that can goes on from the last it has, over another connection
            return
        except Exception as error:
            last = self._dispatcher.reply_to_bug(request, error)
        self._stream_task = None
        if self._calls:
            self._send(request, self._dispatcher.written(request, last))
            self._calls.popleft()
        self._send_replies()
        self._after_replies()

    def _send(self, request: Request, frame: bytes) -> None:
        if not request.oneway:
            self._outgoing.send(frame)

    def _after_replies(self) -> None:
        """Go on with what was read and not taken, then with reading, then with an end that waits for it."""
        if self._transport is None:
            self._leave_if_done()
            return
        self._idle_timeout.note_activity()
        try:
            self._requests.take(self)
        except ProtocolError:
            self._requests.forget()
            self._is_at_end = True
        if self._calls or self._requests.has_more:
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
        return self._requests.size_of_next

    def go_on(self) -> None:
        """It is this connection's turn again."""
        self._after_replies()

    # Ends

    def owed(self) -> list[asyncio.Task[None]]:
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
        self._requests.wait_for_place(self)
        if self._requests.is_full and self._transport is not None:
            self._transport.pause_reading()
            self._watch_hang_up()
            self._frame_timeout.stop()  # the rest of a frame isn't late if nobody reads it

    # What the timeouts ask and do

    def _is_busy(self) -> bool:
        return bool(self._calls) or self._requests.is_unfinished

    def _refuse_more(self) -> None:
        """End the reading side: a request that came until now is answered, one that comes later cannot be sent."""
        assert self._transport is not None
        self._transport.get_extra_info("socket").shutdown(socket.SHUT_RD)
