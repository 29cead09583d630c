"""Steps of a job, each of which runs once for it, and the values that it tells meanwhile; where they are kept is told
elsewhere.
"""

from __future__ import annotations

import contextvars
import json
import os
import re
import sys
from _thread import RLock
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from types import CodeType
from typing import Any, Final, Protocol

from bgjob.endings import InvalidResult, SignalTimeout, StepError, Suspended
from bgjob.json_texts import json_text
from bgjob.words import KEY_LENGTHS, MOST_BYTES_OF_A_VALUE, MOST_STEP_BYTES, MOST_STEPS

Finished = Mapping[str, tuple[str, bool]]
"""What is known of finished steps: by name the result as JSON text, and whether the function had to be awaited."""

Settled = Mapping[tuple[str, str, int], tuple[str | None, bool]]
"""What came of waits: by kind, name and turn what a signal has brought, as JSON text, and whether it came too late."""


class Keeper(Protocol):
    """Where steps and waits are kept."""

    def carried(self) -> tuple[Finished, Settled]:
        """What earlier attempts have finished, in order, and what came of their waits."""

    def suspend(self, kind: str, name: str, turn: int, delay: float | None, until: float | None) -> None:
        """Keep that the attempt ends for so many seconds, or until then, or for a signal of this name."""

    def token(self, name: str) -> str:
        """The same 32 hexadecimal digits in each attempt of the job."""

    def began(self, name: str) -> None:
        """Keep that the step runs. Raises OSError where nothing can be kept any more."""

    def finished(self, name: str, result: str, is_awaited: bool) -> None:
        """Keep its result, for good; waits where there is no room. Raises OSError where there will be none."""

    def emitted(self) -> int:
        """How many values earlier attempts have emitted outside of steps: the most that one has."""

    def emit(self, value: str, step: str | None, place: int) -> bool:
        """Keep a value, JSON text, from within a step, or from this place among those outside; whether there is room
        for it.
        """


class Steps(Mapping[str, Any]):
    """One attempt's, whose process is `pid`; as a mapping the results of those that are finished, by name, each time a
    copy. `loop_around` is one of asyncio's in which the attempt itself runs, as a test's.
    """

    def __init__(self, keeper: Keeper, pid: int, loop_around: object = None) -> None:
        self._keeper = keeper
        self._pid = pid
        self._loop_around = loop_around
        self._lock = RLock()
        self._came: set[str] = set()
        self._known: dict[str, tuple[str, bool]] | None = None
        self._settled: Settled = {}
        self._turns: dict[tuple[str, str], int] = {}
        self._is_suspended = False
        self._under_way = 0
        self._bytes = 0
        self._to_come = 0
        self._emitted: int | None = None
        self._outside = 0

    def __getitem__(self, name: str) -> Any:
        return json.loads(self._finished()[name][0])

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._finished()))

    def __len__(self) -> int:
        return len(self._finished())

    @property
    def is_suspended(self) -> bool:
        """Whether it is on record that the attempt ends, to wait."""
        return self._is_suspended

    @property
    def unused(self) -> list[str]:
        """The names of finished steps that this attempt has not come to."""
        return [name for name in self if name not in self._came]

    def token(self, name: str) -> str:
        self._check_name(name)
        return self._keeper.token(name)

    def run(
        self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """What the function returns, as JSON makes it, from this attempt or an earlier one. Raises StepError, and
        InvalidResult where JSON cannot hold it.
        """
        known = self._come_to(name)
        if known is not None:
            text, is_awaited = known
            value = json.loads(text)
            return _at_once(value) if is_awaited or _is_async(function) else value
        with self._within(name):
            self._keeper.began(name)
            result = function(*args, **kwargs)
        return (
            self._awaited(name, result) if isinstance(result, Awaitable) else self._keep(name, result, False)
        )

    async def _awaited(self, name: str, result: Awaitable[Any]) -> Any:
        with self._within(name):
            value = await result
        return self._keep(name, value, True)

    @contextmanager
    def _within(self, name: str) -> Iterator[None]:
        """The step's function runs; what raises may be tried again."""
        token = _in_step.set(name)
        try:
            yield
        except BaseException:
            with self._lock:
                self._came.discard(name)
                self._under_way -= 1
            raise
        finally:
            _in_step.reset(token)

    # Values

    def emit(self, value: Any) -> bool:
        """Whether the value is kept, now or since an earlier attempt. Raises ValueError where JSON cannot hold it."""
        self._check_process()
        try:
            text = json_text(value)
        except ValueError as error:
            raise ValueError(f"a value of JSON is wanted, and this is none: {error}") from None
        if not hasattr(self._keeper, "emit"):  # of a daemon that knows no values
            return False
        step, place = _in_step.get(), 0
        with self._lock, suppress(OSError):  # that of a job which has closed all its files
            if step is None:  # under the lock: a kill must not have the second kept, and the first not
                place = self._outside = self._outside + 1
                if self._is_held_back(place) and len(text.encode()) <= MOST_BYTES_OF_A_VALUE:
                    return True
            return self._keeper.emit(text, step, place)
        return False

    def _is_held_back(self, place: int) -> bool:
        """Whether an earlier attempt has told what comes here: as long as steps and waits are to come that it had."""
        self._finished()
        if self._to_come == 0:
            return False
        if self._emitted is None:
            self._emitted = self._keeper.emitted()
        return place <= self._emitted

    # Waits

    def sleep(self, seconds: float) -> Any:
        return self._wait("sleep", "", seconds, None)

    def sleep_until(self, at: float) -> Any:
        return self._wait("until", "", None, at)

    def wait_for(self, name: str, timeout: float | None) -> Any:
        self._check_name(name)
        return self._wait("signal", name, timeout, None)

    def _wait(self, kind: str, name: str, delay: float | None, until: float | None) -> Any:
        loop = try_running_loop()
        if loop is not None and loop is not self._loop_around:
            return self._wait_in_loop(kind, name, delay, until)
        return self._wait_here(kind, name, delay, until)

    async def _wait_in_loop(self, kind: str, name: str, delay: float | None, until: float | None) -> Any:
        return self._wait_here(kind, name, delay, until)

    def _wait_here(self, kind: str, name: str, delay: float | None, until: float | None) -> Any:
        """What came of the wait. Raises Suspended where nothing has yet, once that is on record."""
        self._check_process()
        self._check_place()
        with self._lock:
            self._finished()
            turn = self._turns[kind, name] = self._turns.get((kind, name), 0) + 1
            settled = self._settled.get((kind, name, turn))
            if settled is None:
                self._check_count("a wait")
                if kind == "signal" and self._bytes > MOST_STEP_BYTES:
                    raise StepError(
                        f"signal {name!r} finds no room: results take {MOST_STEP_BYTES} bytes at most"
                    )
                self._keeper.suspend(kind, name, turn, delay, until)
                self._is_suspended = True
                raise Suspended
            self._to_come -= 1
        text, timed_out = settled
        if timed_out:
            raise SignalTimeout(f"signal {name!r} did not come in time")
        return None if text is None else json.loads(text)

    def _keep(self, name: str, result: Any, is_awaited: bool) -> Any:
        """The result as it is kept, also where the attempt has been suspended meanwhile: what is done is done."""
        self._check_pid()
        text = _json(name, result)
        with self._lock:
            size = len(text.encode())
            if self._bytes + size > MOST_STEP_BYTES:
                raise InvalidResult(
                    f"step {name!r} is done, and its result of {size} bytes finds no room: the results of all "
                    f"steps of a job take {MOST_STEP_BYTES} bytes at most"
                )
            self._bytes += size
        try:
            self._keeper.finished(name, text, is_awaited)
        except OSError as error:
            why = f"step {name!r} is done, and its result of {size} bytes finds no room: {error.strerror}"
            raise InvalidResult(why) from None
        with self._lock:
            self._finished()[name] = text, is_awaited
            self._under_way -= 1
        self._check_process()
        return json.loads(text)

    def _come_to(self, name: str) -> tuple[str, bool] | None:
        """What is known of the step that is come to now."""
        self._check_name(name)
        self._check_process()
        with self._lock:
            known = self._finished()
            if name in self._came:
                raise StepError(f"step {name!r} came before in this attempt: each needs a name of its own")
            if name not in known:
                self._check_count(f"step {name!r}")
                self._under_way += 1
            else:
                self._to_come -= 1
            self._came.add(name)
            return known.get(name)

    def _finished(self) -> dict[str, tuple[str, bool]]:
        with self._lock:
            if self._known is None:
                known, self._settled = self._keeper.carried()
                self._known = dict(known)
                self._to_come = len(known) + len(self._settled)
                texts = [text for text, _ in (*known.values(), *self._settled.values()) if text is not None]
                self._bytes = sum([len(text.encode()) for text in texts])
            return self._known

    def _check_count(self, what: str) -> None:
        """Raises StepError where there is no room for one more."""
        if len(self._finished()) + len(self._settled) + self._under_way >= MOST_STEPS:
            raise StepError(f"a job has {MOST_STEPS} steps and waits at most; {what} would be one more")

    def _check_place(self) -> None:
        step = _in_step.get()
        if step is not None:
            raise StepError(f"step {step!r} cannot sleep or wait: it would run again from its beginning")

    def _check_name(self, name: object) -> None:
        if not isinstance(name, str) or len(name) not in KEY_LENGTHS or _UNSENDABLE.search(name):
            raise StepError(
                f"a name of a step or signal is a text of 1 to {KEY_LENGTHS[-1]} characters, not {name!r:.60}"
            )

    def _check_process(self) -> None:
        self._check_pid()
        if self._is_suspended:
            raise Suspended

    def _check_pid(self) -> None:
        if os.getpid() != self._pid:
            raise StepError("a copy of the attempt's process, that it has forked, has no steps")


class StepsOutside(Steps):
    """Of code that no attempt runs, such as a test's: steps run, sleeps are over at once, and nobody sends signals."""

    def __init__(self) -> None:
        super().__init__(_Nowhere(), os.getpid())

    def _wait_here(self, kind: str, name: str, delay: float | None, until: float | None) -> Any:
        self._check_place()
        if kind == "signal":
            raise StepError(f"outside of attempts nobody sends signal {name!r}")


class _Nowhere:
    """Keeps nothing; its tokens are no other's."""

    def __init__(self) -> None:
        self._seed = os.urandom(16)

    def carried(self) -> tuple[Finished, Settled]:
        return {}, {}

    def suspend(self, kind: str, name: str, turn: int, delay: float | None, until: float | None) -> None:
        pass

    def token(self, name: str) -> str:
        import hashlib  # by those who want one: it brings OpenSSL with it

        return hashlib.sha256(self._seed + name.encode()).hexdigest()[:32]

    def began(self, name: str) -> None:
        pass

    def finished(self, name: str, result: str, is_awaited: bool) -> None:
        pass

    def emitted(self) -> int:
        return 0

    def emit(self, value: str, step: str | None, place: int) -> bool:
        return False


_UNSENDABLE: Final = re.compile("[\0\ud800-\udfff]")
"""What no text on the socket holds: a signal of such a name could not be sent."""

_in_step: contextvars.ContextVar[str | None] = contextvars.ContextVar("_in_step", default=None)


def try_running_loop() -> Any:
    """The loop of asyncio's that runs here; asked without importing it."""
    asyncio = sys.modules.get("asyncio")
    return None if asyncio is None else asyncio._get_running_loop()


def _is_async(function: Any) -> bool:
    """Whether what it returns is to be awaited; asked without inspect, which is dear to import."""
    while isinstance(function, partial):
        function = function.func
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return isinstance(code, CodeType) and bool(code.co_flags & _CO_COROUTINE)


_CO_COROUTINE: Final = 0x80


def _json(name: str, result: Any) -> str:
    """The result as JSON text. Raises InvalidResult."""
    try:
        return json_text(result)
    except ValueError as error:
        raise InvalidResult(f"step {name!r} is done, and its result is no JSON: {error}") from None


async def _at_once(value: Any) -> Any:
    return value
