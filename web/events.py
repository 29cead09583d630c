"""Word that something has changed, or that the daemon is away: one follower for all browsers, and a stream for each.

A daemon that hangs keeps its connections and is silent, as one is that has nothing to say: so it is asked for a sign of
life as long as anybody listens.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import Final

from bgjob import BgjobError, Client

MOST_STREAMS: Final = 32
_AGAIN: Final = 1.0
_BETWEEN_SIGNS: Final = 5.0
_PATIENCE: Final = 3.0
"""Seconds: until the daemon is asked again where it did not answer, and where it did; how long an answer may take."""

_MOST_JOBS: Final = 64
"""How many are told apart in a word."""

_FOLLOWER: Final = "follower"
_PULSE: Final = "pulse"


class Feed:
    """Follows the daemon's log while anybody listens."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._lock = threading.Lock()
        self._has_left = threading.Condition(self._lock)
        self._version = 0
        self._answered_at = time.time()
        self._missed: dict[str, float] = {}
        self._streams: set[Words] = set()
        self._is_followed = False
        self._has_pulse = False

    def try_stream(self) -> Words | None:
        """Words for one browser, without end; None where there are too many already."""
        with self._lock:
            if len(self._streams) >= MOST_STREAMS or not self._try_follow():
                return None
            words = Words(self, self._version)
            self._streams.add(words)
            self._begin_pulse()
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

    def news(self) -> tuple[int, float | None]:
        """How often something has changed, and since when the daemon does not answer, in seconds since the epoch."""
        with self._lock:
            return self._news()

    def news_for(self, words: Words) -> tuple[tuple[int, float | None], str]:
        """The same, and of which jobs, as `Words` tells them."""
        with self._lock:
            return self._news(), words.jobs_told()

    def away_since(self) -> float | None:
        """Since when the daemon does not answer; None where it does, or nobody has listened."""
        return self.news()[1]

    def _news(self) -> tuple[int, float | None]:
        return self._version, min(self._missed.values(), default=None)

    def leave(self, words: Words) -> None:
        """Wake it no more."""
        with self._lock:
            self._streams.discard(words)
            self._has_left.notify_all()

    def _follow(self) -> None:
        while not self._is_alone():
            try:
                with _Follower(self._socket, self) as client, client.follow_logs(limit=0) as entries:
                    self._tell(_FOLLOWER, is_away=False)
                    for entry in entries:
                        self._tell(_FOLLOWER, is_away=False, job_id=entry["job_id"])
                        if self._is_alone():
                            return
            except (BgjobError, OSError):
                self._tell(_FOLLOWER, is_away=True)
                time.sleep(_AGAIN)

    def _begin_pulse(self) -> None:
        """Have the daemon asked for signs of life; the thread for that waits for the lock, which is held here.

        With each stream, for a follower may have outlived the pulse: it hears only with the next entry that nobody
        listened for a moment.
        """
        if self._has_pulse:
            return
        self._answered_at = time.time()
        with suppress(RuntimeError):  # no thread is to be had; the next stream tries again
            threading.Thread(target=self._pulse, name=_PULSE, daemon=True).start()
            self._has_pulse = True

    def _pulse(self) -> None:
        """Ask for a sign of life, again and again."""
        with Client(self._socket, timeout=_PATIENCE) as client:
            while True:
                is_away = not _is_alive(client)
                self._tell(_PULSE, is_away, is_news=False)
                pause = _AGAIN if is_away else _BETWEEN_SIGNS
                with self._lock:
                    if self._has_left.wait_for(lambda: not self._streams, pause):
                        self._has_pulse = False
                        self._missed.pop(_PULSE, None)
                        return

    def on_away(self, error: BgjobError) -> None:
        """The daemon does not answer. Raises the error where nobody listens who would hear that it is back."""
        self._tell(_FOLLOWER, is_away=True)
        with self._lock:
            if not self._streams:
                raise error

    def on_back(self) -> None:
        """It answers again."""
        self._tell(_FOLLOWER, is_away=False)

    def _is_alone(self) -> bool:
        """Whether nobody listens any more; then it follows no more."""
        with self._lock:
            self._is_followed = bool(self._streams)
            return not self._is_followed

    def _tell(self, who: str, is_away: bool, is_news: bool = True, job_id: int | None = None) -> None:
        """Pass on whether the daemon answers this one, which is news where it does, if not said otherwise.

        It is news of a job, or of anything where none is named.
        """
        with self._lock:
            before = self._news()
            if is_away:
                self._missed.setdefault(who, self._answered_at)
            else:
                self._answered_at = time.time()
                was_missed = who in self._missed
                # What a follower hears shows that the daemon lives; one that lives may still refuse to be followed.
                for one in (_FOLLOWER, _PULSE) if who == _FOLLOWER else (who,):
                    self._missed.pop(one, None)
                self._version += 1 if is_news or was_missed else 0
            for words in self._streams if self._news() != before else ():
                words.note(job_id)
                words.wake()


def _is_alive(client: Client) -> bool:
    try:
        client.ping()
    except (BgjobError, OSError):
        return False
    return True


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
        self._seen: tuple[int, float | None] = (version, None)
        self._is_new = True
        self._jobs: set[int] | None = set()
        self._woken = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def fileno(self) -> int:
        return self._woken

    def wake(self) -> None:
        os.eventfd_write(self._woken, 1)

    def note(self, job_id: int | None) -> None:
        """Remember of which job there is news, None of anything; under the feed's lock."""
        if job_id is None or self._jobs is None or len(self._jobs) >= _MOST_JOBS:
            self._jobs = None
        else:
            self._jobs.add(job_id)

    def jobs_told(self) -> str:
        """What was remembered, and is forgotten with that: "12,13", or "*" for anything; under the feed's lock."""
        jobs, self._jobs = self._jobs, set()
        return ",".join(map(str, sorted(jobs))) if jobs else "*"

    def take(self) -> bytes:
        """An event, with the jobs that have changed in its second line; a comment where nothing has changed."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._woken)
        before = self._seen
        self._seen, jobs = self._feed.news_for(self)
        begin, self._is_new = b"retry: 2000\n\n" if self._is_new else b"", False
        version, away_since = self._seen
        if self._seen == before:
            return begin or b": still here\n\n"
        if away_since is not None:
            return begin + f"event: away\ndata: {int(away_since)}\n\n".encode()
        return begin + f"data: {version}\ndata: {jobs}\n\n".encode()

    def close(self) -> None:
        self._feed.leave(self)
        os.close(self._woken)
