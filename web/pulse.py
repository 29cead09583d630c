"""Whether the daemon answers: however many ask at once, one of them asks it, and the others hear what that one does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from bgjob.errors import DaemonUnavailableError

PATIENCE: Final = 2.0
"""Seconds for the daemon's answer."""


class Pulse:
    """`ping` asks the daemon, and raises DaemonUnavailableError where it has not answered in that time."""

    def __init__(self, ping: Callable[[], object]) -> None:
        self._ping = ping
        self._lock = threading.Lock()
        self._asked: Future[bool] | None = None

    def is_there(self) -> bool:
        """Whether it answers, within the patience. Raises what else a ping may."""
        with self._lock:
            is_first = self._asked is None
            asked = self._asked = self._asked or Future()
        if is_first:
            self._ask(asked)
        try:
            return asked.result(PATIENCE)
        except TimeoutError:
            return False

    def _ask(self, mine: Future[bool]) -> None:
        try:
            self._ping()
        except DaemonUnavailableError:
            mine.set_result(False)
        except BaseException as error:
            mine.set_exception(error)
        else:
            mine.set_result(True)
        finally:
            with self._lock:
                self._asked = None
