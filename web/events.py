"""Word that something has changed: one follower of the daemon for all browsers, and a stream for each of those."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import Final

from bgjob import BgjobError, Client

MOST_STREAMS: Final = 32
_AGAIN: Final = 1.0


class Feed:
    """Follows the daemon's log while anybody listens."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._lock = threading.Lock()
        self._news = (0, False)
        self._streams: set[Words] = set()
        self._is_followed = False

    def try_stream(self) -> Words | None:
        """Words for one browser, without end; None where there are too many already."""
        with self._lock:
            if len(self._streams) >= MOST_STREAMS or not self._try_follow():
                return None
            words = Words(self, self._news[0])
            self._streams.add(words)
        return words

    def _try_follow(self) -> bool:
        """Whether there is a thread that follows; it waits for the lock, which is held here."""
        if not self._is_followed:
            try:
                threading.Thread(target=self._follow, name="feed", daemon=True).start()
            except RuntimeError:
                return False  # no thread is to be had
            self._is_followed = True
        return True

    def news(self) -> tuple[int, bool]:
        """How often something has changed, and whether the daemon is away."""
        with self._lock:
            return self._news

    def leave(self, words: Words) -> None:
        """Wake it no more."""
        with self._lock:
            self._streams.discard(words)

    def _follow(self) -> None:
        while not self._is_alone():
            try:
                with _Follower(self._socket, self) as client, client.follow_logs(limit=0) as entries:
                    self._tell(is_away=False)
                    for _ in entries:
                        self._tell(is_away=False)
                        if self._is_alone():
                            return
            except (BgjobError, OSError):
                self._tell(is_away=True)
                time.sleep(_AGAIN)

    def on_away(self, error: BgjobError) -> None:
        """The daemon does not answer. Raises the error where nobody listens who would hear that it is back."""
        self._tell(is_away=True)
        with self._lock:
            if not self._streams:
                raise error

    def on_back(self) -> None:
        """It answers again."""
        self._tell(is_away=False)

    def _is_alone(self) -> bool:
        """Whether nobody listens any more; then it follows no more."""
        with self._lock:
            self._is_followed = bool(self._streams)
            return not self._is_followed

    def _tell(self, is_away: bool) -> None:
        with self._lock:
            before, self._news = self._news, (self._news[0] + (0 if is_away else 1), is_away)
            for words in self._streams if self._news != before else ():
                words.wake()


class _Follower(Client):
    """A client that tells at once when the daemon goes away, and is back, as it tries again by itself for long."""

    def __init__(self, socket: str, feed: Feed) -> None:
        super().__init__(socket)
        self._feed = feed

    def on_away(self, error: BgjobError) -> None:
        self._feed.on_away(error)

    def on_back(self) -> None:
        self._feed.on_back()


class Words:
    """What one browser is told; readable as a descriptor once there is something to tell."""

    def __init__(self, feed: Feed, version: int) -> None:
        self._feed = feed
        self._seen = (version, False)
        self._is_new = True
        self._woken = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def fileno(self) -> int:
        return self._woken

    def wake(self) -> None:
        os.eventfd_write(self._woken, 1)

    def take(self) -> bytes:
        """An event; a comment where nothing has changed."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._woken)
        (version, was_away), self._seen = self._seen, self._feed.news()
        begin, self._is_new = b"retry: 2000\n\n" if self._is_new else b"", False
        if self._seen == (version, was_away):
            return begin or b": still here\n\n"
        if self._seen[1] and not was_away:
            return begin + b"event: away\ndata: \n\n"
        return begin + f"data: {self._seen[0]}\n\n".encode()

    def close(self) -> None:
        self._feed.leave(self)
        os.close(self._woken)
