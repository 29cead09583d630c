"""Questions to a thread that reads the database: those of each user in order, and of all users in turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, TypeVar

T = TypeVar("T")

_MOST_ON_THE_WAY: Final = 2
"""So many questions are with a thread, so that it need not wait for the loop."""

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
