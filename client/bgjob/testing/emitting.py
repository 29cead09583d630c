"""Values that a stand-in's jobs emit: kept as a daemon keeps them, and told at once."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable

from bgjob import answers
from bgjob.codec import JsonObject
from bgjob.testing import listing
from bgjob.testing.submissions import instant
from bgjob.testing.submitted import copied
from bgjob.words import MOST_BYTES_KEPT, MOST_BYTES_OF_A_VALUE, MOST_BYTES_OF_VALUES, MOST_VALUES


class KeptValues:
    """One job's. `emitted` is the last place outside of steps that one was emitted from."""

    def __init__(self, row: JsonObject) -> None:
        self._row = row
        self._values: list[JsonObject] = []
        self._sizes: deque[int] = deque()
        self._size = 0
        self._last = 0
        self._attempt = 0
        self._room = MOST_VALUES, MOST_BYTES_OF_VALUES
        self.emitted = 0

    def emit(self, text: str, step: str | None, place: int) -> bool:
        """Whether there is room for it in the attempt."""
        attempt, size = len(self._row["attempts"]), len(text.encode())
        if attempt != self._attempt:
            self._attempt, self._room = attempt, (MOST_VALUES, MOST_BYTES_OF_VALUES)
        count, room = self._room
        if count == 0 or size > min(room, MOST_BYTES_OF_A_VALUE):
            return False
        self._room = count - 1, room - size
        self._last, self.emitted = self._last + 1, max(self.emitted, place)
        own = {"number": self._last, "attempt": attempt, "step": step, "at": instant()}
        self._values.append({**own, "value": json.loads(text)})
        self._sizes.append(size)
        self._size += size
        while len(self._values) > MOST_VALUES or self._size > MOST_BYTES_KEPT:
            del self._values[0]
            self._size -= self._sizes.popleft()
        return True

    def page(self, given: JsonObject, limit: int = listing.PAGE) -> JsonObject:
        """As Values tells them."""
        listing.check_page(given)
        after, limit = given.get("after") or 0, given.get("limit") or limit
        if after < 0:
            after = max(self._last - len(self._values), self._last + after)
        behind = [value for value in self._values if value["number"] > after]
        page = behind[:limit]
        return {
            "values": page,
            "next": page[-1]["number"] if page else after,
            "left_out": page[0]["number"] - after - 1 if page else 0,
            "is_end": answers.has_ended(self._row) and len(page) == len(behind),
        }

    def told(self, given: JsonObject) -> Iterable[JsonObject]:
        """All behind a number, as one who follows is told them: here nobody emits any meanwhile."""
        return [copied(self.page({"after": given.get("after")}, MOST_VALUES))]
