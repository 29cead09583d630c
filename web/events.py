"""Word that something has changed: one follower of the daemon for all browsers, and a stream for each of those."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Final

from bgjob import BgjobError, Client

MOST_STREAMS: Final = 32
_KEEPALIVE: Final = 5.0
"""Seconds of silence: by the write after that a browser that has left is noticed, and its place is free again."""

_PAUSE: Final = 0.25
"""Seconds between two words to a browser: it looks at the page itself each time."""

_AGAIN: Final = 1.0


class Feed:
    """Follows the daemon's log while anybody listens."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._changed = threading.Condition()
        self._version = 0
        self._is_away = False
        self._streams = 0
        self._is_followed = False

    def try_stream(self) -> Iterator[bytes] | None:
        """Words for one browser, without end; None where there are too many already."""
        with self._changed:
            if self._streams >= MOST_STREAMS:
                return None
            self._streams += 1
            if not self._is_followed:
                self._is_followed = True
                threading.Thread(target=self._follow, name="feed", daemon=True).start()
        return self._words()

    def _words(self) -> Iterator[bytes]:
        """Event by event; a comment now and then tells whether the browser is still there."""
        try:
            yield b"retry: 2000\n\n"
            seen, was_away = self._version, False
            while True:
                version, is_away = self._news(seen, was_away)
                if is_away and not was_away:
                    yield b"event: away\ndata: \n\n"
                elif version != seen or is_away != was_away:
                    yield f"data: {version}\n\n".encode()
                    time.sleep(_PAUSE)
                else:
                    yield b": still here\n\n"
                seen, was_away = version, is_away
        finally:
            with self._changed:
                self._streams -= 1

    def _news(self, seen: int, was_away: bool) -> tuple[int, bool]:
        """Version, and whether the daemon is away, once either differs; the same after a while."""
        with self._changed:
            self._changed.wait_for(lambda: (self._version, self._is_away) != (seen, was_away), _KEEPALIVE)
            return self._version, self._is_away

    def _follow(self) -> None:
        while True:
            try:
                with Client(self._socket) as client, client.follow_logs(limit=0) as entries:
                    self._tell(is_away=False)
                    for _ in entries:
                        self._tell(is_away=False)
                        if self._is_alone():
                            return
            except (BgjobError, OSError):
                self._tell(is_away=True)
                time.sleep(_AGAIN)

    def _is_alone(self) -> bool:
        """Whether nobody listens any more; then it follows no more."""
        with self._changed:
            self._is_followed = self._streams > 0
            return not self._is_followed

    def _tell(self, is_away: bool) -> None:
        with self._changed:
            self._version += 0 if is_away else 1
            self._is_away = is_away
            self._changed.notify_all()
