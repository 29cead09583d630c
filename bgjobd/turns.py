"""Whose turn it is: who may have a request read now, by what all and each user have under way, and by rounds of what is
small; and the turns of long work, of what many do at once, and of what they ask of a thread.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Generator
from concurrent.futures import Executor
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol, TypeVar

T = TypeVar("T")

LARGE: Final = 64 * 1024
"""Bytes of a request, beyond which a user has one at a time."""

TINY: Final = 512
"""Bytes of a request that, as a connection's first of a round, has its turn at once, and that takes up nothing of what
all may have under way: such a request may wait for hours for the end of a job.
"""

_SHARE: Final = 4
"""The part of all bytes that one user may have: so others have room whatever he does."""

_TAKEN_IN_A_ROUND: Final = 256 * 1024
"""Bytes of small requests: whatever else there is to do, such as signs of life, waits as long."""

_LONGEST_ROUND: Final = 0.00025
"""Seconds that are spent on reading what is small."""

_OF_A_ROUND: Final = 16 * 1024
"""Bytes that one connection takes of a round, and one request that goes beyond."""

_MOST_ON_THE_WAY: Final = 2
"""So many questions are with a thread, so that it need not wait for the loop."""

_AT_ONCE: Final = 0.00025
"""Seconds of work after which others have their turn."""


async def let_others() -> None:
    """Let others have their turn: what has come is read in the first, and begun with in the second."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


class Pace:
    """The pace of one long piece of work."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether this has gone on for long enough: then it is to `rest`."""
        return time.monotonic() - self._since >= _AT_ONCE

    async def rest(self) -> None:
        """Let others have their turn."""
        await let_others()
        self._since = time.monotonic()


async def paced(work: Generator[None, None, T]) -> T:
    """Do work that is cut into pieces, and let others have their turn between them."""
    pace = Pace()
    while True:
        try:
            next(work)
        except StopIteration as end:
            done: T = end.value
            return done
        if pace.is_over:
            await pace.rest()


class Alternation:
    """Has those who all have something to do go on one after the other, one in a turn of the loop."""

    def __init__(self) -> None:
        self._line: deque[asyncio.Future[None]] = deque()
        self._is_taken = False

    async def next(self) -> None:
        """Go on when it is one's turn."""
        loop = asyncio.get_running_loop()
        if not self._is_taken:
            self._is_taken = True
            loop.call_soon(self._on_next_turn)
            await asyncio.sleep(0)
            return
        turn = loop.create_future()
        self._line.append(turn)
        await turn

    def _on_next_turn(self) -> None:
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._on_next_turn)
                return
        self._is_taken = False


asker: ContextVar[int | None] = ContextVar("asker", default=None)
"""The user in whose name something is done; None where it is the daemon's own."""


class Questions:
    """Has one thread answer questions: those of each user in order, and of all users in turn."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._lines: dict[int | None, deque[tuple[asyncio.Future[Any], Callable[[], Any]]]] = {}
        self._on_the_way = 0

    def ask(self, question: Callable[..., T], *given: Any) -> asyncio.Future[T]:
        """The answer, once it is there."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(asker.get(), deque()).append((answer, partial(question, *given)))
        self._go_on()
        return answer

    def close(self, cancel: bool = False) -> None:
        """Answer what was asked, or leave what has not begun; nothing may be asked any more."""
        while self._lines:
            answer, question = self._take_next()
            if cancel:
                answer.cancel()
            else:
                self._pass_on(answer, question)
        self._executor.shutdown(cancel_futures=cancel)

    def _go_on(self) -> None:
        while self._lines and self._on_the_way < _MOST_ON_THE_WAY:
            self._pass_on(*self._take_next())

    def _take_next(self) -> tuple[asyncio.Future[Any], Callable[[], Any]]:
        """What the user asks next whose turn it is."""
        user = next(iter(self._lines))
        line = self._lines.pop(user)
        asked = line.popleft()
        if line:
            self._lines[user] = line  # behind the others
        return asked

    def _pass_on(self, answer: asyncio.Future[Any], question: Callable[[], Any]) -> None:
        if answer.done():
            return  # whoever asked has left
        self._on_the_way += 1
        asked = asyncio.get_running_loop().run_in_executor(self._executor, question)
        asked.add_done_callback(partial(self._on_answer, answer))

    def _on_answer(self, answer: asyncio.Future[Any], asked: asyncio.Future[Any]) -> None:
        self._on_the_way -= 1
        self._go_on()
        error = None if asked.cancelled() else asked.exception()
        if answer.done():
            return
        if asked.cancelled():
            answer.cancel()
        elif error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(asked.result())


@dataclass(slots=True)
class _User:
    """One uid's: what is read for it is read one thing after the other."""

    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    large: asyncio.Lock = field(default_factory=asyncio.Lock)
    held: int = 0


class Turns:
    """The bytes of requests that are under way: `limit` in all, but one request always finds room."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._users: dict[int, _User] = {}
        self._waiting: deque[tuple[int, int, asyncio.Future[None]]] = deque()

    def of(self, uid: int) -> _User:
        return self._users.setdefault(uid, _User())

    def forget(self, uid: int) -> None:
        """The user has no connection any more."""
        user = self._users.get(uid)
        if user is not None and not user.held:
            del self._users[uid]

    def try_take(self, uid: int, size: int) -> bool:
        """Whether so many bytes may be worked on; `give_back` has to follow."""
        if self._waiting or not (self._fits(size) and self._fits_share(uid, size)):
            return False
        self._take(uid, size)
        return True

    async def take(self, uid: int, size: int) -> None:
        """Wait until so many bytes may be worked on."""
        if self.try_take(uid, size):
            return
        room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((uid, size, room))
        self._admit()
        try:
            await room
        except asyncio.CancelledError:
            if room.cancelled():
                self._admit()
            else:
                self.give_back(uid, size)
            raise

    def give_back(self, uid: int, size: int) -> None:
        self._held -= size
        self.of(uid).held -= size
        self._admit()

    def _admit(self) -> None:
        """Let in who waits, in turn; who has his share leaves the way free to others."""
        waiting, self._waiting = self._waiting, deque()
        while waiting:
            uid, size, room = waiting.popleft()
            if room.done():
                continue
            if not self._fits(size):
                self._waiting += [(uid, size, room), *waiting]
                return
            if self._fits_share(uid, size):
                self._take(uid, size)
                room.set_result(None)
            else:
                self._waiting.append((uid, size, room))

    def _fits(self, size: int) -> bool:
        return not self._held or self._held + size <= self._limit

    def _fits_share(self, uid: int, size: int) -> bool:
        held = self.of(uid).held
        return not held or held + size <= self._limit // _SHARE

    def _take(self, uid: int, size: int) -> None:
        self._held += size
        self.of(uid).held += size


class Taker(Protocol):
    """A connection whose small requests are taken in rounds."""

    @property
    def uid(self) -> int: ...

    @property
    def size_of_next(self) -> int:
        """Bytes of the request that waits for a round."""

    def go_on(self) -> None:
        """It may take again."""


class Rounds:
    """What is small, one round after the other: of so many bytes and seconds, and who has had least comes first."""

    def __init__(self) -> None:
        self._taken = 0
        self._ends = 0.0
        self._shares: Counter[Taker] = Counter()
        self._shares_of_users: Counter[int] = Counter()
        self._late: dict[Taker, None] = {}

    def try_take(self, taker: Taker, size: int) -> bool:
        """Whether a request of so many bytes may be taken now; else the taker is told to go on in a later round."""
        loop = asyncio.get_running_loop()
        if not self._taken:
            self._ends = loop.time() + _LONGEST_ROUND
            loop.call_soon(loop.call_soon, self._on_next)  # in between is answered what this one has taken
        if not self._has_turn(taker, size):
            self._late[taker] = None
            return False
        self._taken += size
        self._shares[taker] += size
        self._shares_of_users[taker.uid] += size
        return True

    def _has_turn(self, taker: Taker, size: int) -> bool:
        share = self._shares[taker]
        if size <= TINY and not share:
            return True
        return not self._is_over() and share < _OF_A_ROUND

    def _is_over(self) -> bool:
        """Whether this round has begun, and is over."""
        is_full = self._taken >= _TAKEN_IN_A_ROUND
        return is_full or (self._taken > 0 and asyncio.get_running_loop().time() >= self._ends)

    def _on_next(self) -> None:
        late = sorted(self._late, key=self._precedence)
        self._late.clear()
        self._shares.clear()
        self._shares_of_users.clear()
        self._taken = 0
        for taker in late:
            if self._is_over():
                self._late[taker] = None
            else:
                taker.go_on()

    def _precedence(self, taker: Taker) -> tuple[int, int, int]:
        """Who has had least, or nothing, comes first: user before connection, and of those who asks for less."""
        return self._shares_of_users[taker.uid], self._shares[taker], taker.size_of_next
