"""Whose turn it is: who may have a request read now, by what all and each user have under way, and by rounds of what is
small; and the turns of long work, of what many do at once, and of what they ask of a thread.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

from bgjob.errors import TooManyConnectionsError
from bgjobd.config.sections import Socket
from bgjobd.host.pacing import Alternation

T = TypeVar("T")

LARGE: Final = 64 * 1024
"""Bytes of a request, beyond which a user has one at a time."""

TINY: Final = 512
"""Bytes of a request that, as a connection's first of a round, has its turn at once, and that takes up nothing of what
all may have under way: such a request may wait for hours for the end of a job.
"""

_QUIET: Final = 10.0
"""Seconds without a connection turned away until the next is a new event."""

_SHARE: Final = 4
"""The part of all bytes that one user may have: so others have room whatever he does."""

_TAKEN_IN_A_ROUND: Final = 256 * 1024
"""Bytes of small requests: whatever else there is to do, such as signs of life, waits as long."""

_LONGEST_ROUND: Final = 0.00025
"""Seconds that are spent on reading what is small."""

_OF_A_ROUND: Final = 16 * 1024
"""Bytes that one connection takes of a round, and one request that goes beyond."""


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


class Place:
    """Bytes that are kept for a connection's large request, of which nothing is known but how large it may be."""

    def __init__(self, turns: Turns, size: int) -> None:
        self._turns = turns
        self._size = size
        self.held = 0

    async def take(self, uid: int) -> None:
        """Wait for this user's turn with a large request."""
        if self.held:
            return
        large = self._turns.of(uid).large
        await large.acquire()
        try:
            await self._turns.take(uid, self._size)
        except BaseException:
            large.release()
            raise
        self.held = self._size

    def hand_on(self) -> int:
        """Leave it to the request, which has come."""
        held, self.held = self.held, 0
        return held

    def leave(self, uid: int) -> None:
        """Give it up: no such request is to come."""
        self._turns.of(uid).large.release()
        self._turns.give_back(uid, self.hand_on())


class Admission(Generic[T]):
    """Which connections there are, and what they share: bytes under way, rounds of small requests, turns of streams.

    `on_full` hears once of a user whose connections are turned away, however many they are.
    """

    def __init__(self, limits: Socket, on_full: Callable[[int, TooManyConnectionsError], None]) -> None:
        self._limits = limits
        self._on_full = on_full
        self._full_until: dict[int, float] = {}
        self._by_uid: Counter[int] = Counter()
        self.admitted: set[T] = set()
        self.turns = Turns(limits.max_under_way)
        self.rounds = Rounds()
        self.streaming = Alternation()

    def admit(self, connection: T, uid: int) -> None:
        """Take in one more connection of this user. Raises TooManyConnectionsError where there is no room for it."""
        counts = {"max_connections_per_uid": self._by_uid[uid], "max_connections": len(self.admitted)}
        for setting, count in counts.items():
            limit = getattr(self._limits, setting)
            if count >= limit:
                raise self._told(uid, TooManyConnectionsError(limit=limit, setting=setting))
        self.admitted.add(connection)
        self._by_uid[uid] += 1

    def _told(self, uid: int, refusal: TooManyConnectionsError) -> TooManyConnectionsError:
        """The refusal, which no name is given where it is raised: its traceback would keep it, and the connection."""
        now = asyncio.get_running_loop().time()
        if now >= self._full_until.get(uid, 0.0):
            self._on_full(uid, refusal)
        self._full_until[uid] = now + _QUIET
        return refusal

    def dismiss(self, connection: T, uid: int) -> None:
        """The connection, which was admitted, is gone, if it was not before."""
        if connection not in self.admitted:
            return
        self.admitted.remove(connection)
        self._by_uid[uid] -= 1
        if not self._by_uid[uid]:
            self.turns.forget(uid)


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
            loop.call_soon(self._on_end)
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

    def _on_end(self) -> None:
        """In between is answered what this one has taken, if anybody waits for the next."""
        if self._late:
            asyncio.get_running_loop().call_soon(self._on_next)
        else:
            self._begin()

    def _begin(self) -> None:
        self._shares.clear()
        self._shares_of_users.clear()
        self._taken = 0

    def _on_next(self) -> None:
        late = sorted(self._late, key=self._precedence)
        self._late.clear()
        self._begin()
        for taker in late:
            if self._is_over():
                self._late[taker] = None
            else:
                taker.go_on()

    def _precedence(self, taker: Taker) -> tuple[int, int, int]:
        """Who has had least, or nothing, comes first: user before connection, and of those who asks for less."""
        return self._shares_of_users[taker.uid], self._shares[taker], taker.size_of_next
