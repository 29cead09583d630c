"""Reads the requests of a connection in their order: what is small at once, what is large when its user has a turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from bgjob import codec
from bgjob.codec import IntegerOutOfRangeError, Request
from bgjob.errors import ProtocolError
from bgjobd.api.admission import LARGE, TINY, Admission, Place, Taker
from bgjobd.config.sections import Socket
from bgjobd.host import json_portions
from bgjobd.host.pacing import paced

_SMALL: Final = 4096
"""Bytes of a request that is read at once; what is longer is read in portions, one request of a user at a time."""

_UNREAD: Final = Request("")
"""Stands for a request that is not read yet."""


@dataclass(slots=True)
class Call:
    """A request whose reply is owed; replies go out in the order of the requests."""

    request: Request
    size: int
    task: asyncio.Task[None] | None
    held: int = 0
    """Bytes of the requests of all that it takes up until it is answered."""
    is_large: bool = False
    frame: bytes | None = None
    """The reply, where it waits for those before it."""


class Asker(Taker, Protocol):
    """The connection whose requests are read. It is handed in each time: whoever is gone is referred to by nobody."""

    def begin(self, call: Call, request: Request) -> None:
        """A request has been read."""

    def refuse(self, call: Call, error: IntegerOutOfRangeError) -> None:
        """A request has been read that no method could take."""

    def goes_on(self, request: Request) -> bool:
        """Whether it is worked on to its end."""

    def on_read(self) -> None:
        """Others may be taken again."""

    def on_broken(self) -> None:
        """What was sent is no request."""


class RequestReader:
    """The requests of a connection. `calls` are those whose replies are owed."""

    def __init__(self, limits: Socket, admission: Admission[Any], calls: deque[Call]) -> None:
        self._limits = limits
        self._admission = admission
        self._calls = calls
        self._frames = codec.FrameReader(limits.max_frame)
        self._backlog: deque[bytes] = deque()
        self._asked = 0
        self._reading: asyncio.Task[None] | None = None
        self._place = Place(admission.turns, limits.max_frame)

    @property
    def is_unfinished(self) -> bool:
        """Whether a frame has begun and not ended."""
        return self._frames.is_unfinished

    @property
    def has_more(self) -> bool:
        """Whether requests were sent that are not taken."""
        return bool(self._backlog) or self._reading is not None

    @property
    def is_full(self) -> bool:
        """Whether nothing more is to be received for now."""
        return self.has_more or len(self._calls) >= self._limits.max_pipelined

    @property
    def size_of_next(self) -> int:
        """Bytes of the request that waits for its turn."""
        return len(self._backlog[0]) if self._backlog else 0

    def feed(self, data: bytes) -> bool:
        """Take in what has come; whether a frame has ended. Raises ProtocolError."""
        frames = self._frames.feed(data)
        self._backlog += frames
        return bool(frames)

    def take(self, asker: Asker) -> None:
        """Take requests as long as few enough answers are owed, and it is this connection's turn."""
        while self._backlog and self._reading is None and self._may_take(len(self._backlog[0])):
            size = len(self._backlog[0])
            if size <= _SMALL and not self._admission.rounds.try_take(asker, size):
                return
            frame = self._backlog.popleft()
            self._asked += size
            held = 0 if size <= TINY else size
            if size <= _SMALL and (not held or self._admission.turns.try_take(asker.uid, held)):
                self._accept(asker, frame, held)
            else:
                self._read_on(asker, self._read(asker, frame))

    def wait_for_place(self, asker: Asker) -> bool:
        """Whether a large request is coming that has to wait for its user's turn: it is told once it has that."""
        is_wanted = self._frames.unfinished > LARGE and not self._place.held and self._reading is None
        if is_wanted:
            self._read_on(asker, self._place.take(asker.uid))
        return is_wanted

    def let_go(self, asker: Asker, call: Call) -> None:
        """The request takes up nothing more."""
        self._asked -= call.size
        call.size = 0
        if not call.held:
            return
        turns, uid = self._admission.turns, asker.uid
        if call.is_large:
            turns.of(uid).large.release()
        turns.give_back(uid, call.held)
        call.held = 0

    def forget(self) -> None:
        """Take nothing of what has come."""
        self._backlog.clear()

    def drop(self, asker: Asker) -> None:
        """The connection is gone: nothing is read for it any more, nor worked on but for what goes on to its end."""
        self.forget()
        if self._reading is not None:
            self._reading.cancel()
        if self._place.held:
            self._place.leave(asker.uid)
        left = list(self._calls)
        self._calls.clear()
        for call in left:
            # Nobody is there to hear the answer; what was submitted is stored all the same.
            if call.task is None:
                self.let_go(asker, call)
            elif asker.goes_on(call.request):
                self._calls.append(call)
            else:
                call.task.add_done_callback(partial(self._on_dropped, asker, call))
                call.task.cancel()

    def _on_dropped(self, asker: Asker, call: Call, _: asyncio.Task[None]) -> None:
        """Its work is over, or was never begun."""
        self.let_go(asker, call)

    def _may_take(self, size: int) -> bool:
        """Whether a request of so many bytes may be held beside the others: in memory it is many times as large."""
        has_room = self._asked + size <= self._limits.max_frame
        return not self._calls or (len(self._calls) < self._limits.max_pipelined and has_room)

    def _accept(self, asker: Asker, frame: bytes, held: int) -> None:
        call = Call(_UNREAD, len(frame), None, held)
        try:
            request = codec.parse_request(frame, self._limits.max_depth)
        except IntegerOutOfRangeError as error:
            asker.refuse(call, error)
        except ProtocolError:
            self.let_go(asker, call)
            raise
        else:
            asker.begin(call, request)

    # Requests that take long to read, or wait for room: nothing behind them is read meanwhile.

    def _read_on(self, asker: Asker, reading: Coroutine[Any, Any, None]) -> None:
        self._reading = asyncio.ensure_future(reading)
        self._reading.add_done_callback(partial(self._on_read, asker))

    async def _read(self, asker: Asker, frame: bytes) -> None:
        call, turns, uid = Call(_UNREAD, len(frame), None), self._admission.turns, asker.uid
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
            asker.refuse(call, error)
        except BaseException:
            self.let_go(asker, call)
            raise
        else:
            asker.begin(call, request)

    def _on_read(self, asker: Asker, reading: asyncio.Task[None]) -> None:
        self._reading = None
        if reading.cancelled():
            return
        error = reading.exception()
        if isinstance(error, ProtocolError):
            asker.on_broken()
        elif error is not None:
            raise error
        else:
            asker.on_read()
