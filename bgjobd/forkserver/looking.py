"""Where an attempt is just now, told by its own process when a signal asks: by Python in its journal, with all threads
and tasks, or by C on stderr, with the main thread. Nothing here runs until somebody asks.

C reads a thread that runs Python's code while its frames change: one in 100,000 such looks has ended a process of 3.12,
and of all threads at once many more, of 3.13 too. So C is asked once Python has not answered, and of one thread.

Both signals are ignored by default: what the job has exec'd lives through them.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import stat
import sys
import time
from _thread import get_ident
from collections.abc import Callable, Iterable, Iterator
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import Any, Final

from . import journal_lines
from .process_identity import caught_signals

ASK: Final = signal.SIGWINCH
"""Answered by Python, once the main thread comes to bytecode."""

INSIST: Final = signal.SIGURG
"""Answered by faulthandler, within C too."""

MAX_THREADS: Final = 100
MAX_FRAMES: Final = 100
MAX_TASKS: Final = 2000

_OWN: Final = f"{os.path.dirname(__file__)}/"
_FEW_FRAMES: Final = 10
_LONGEST_NAME: Final = 200
_ASKED: Final = frozenset({"asyncio", "json", "weakref", "_weakrefset"})
"""The packages whose code an answer runs, beside this one."""

Stack = dict[str, Any]
Frames = list[tuple[str, int, str]]


class Answers:
    """Answers ASK in the process of an attempt, and in copies that it forks; `append` puts a record into the journal,
    and answers whether it could; None where there is no journal. Where it could not, stderr has the main thread. It
    raises nothing of its own into what it interrupts.
    """

    __slots__ = ("_bytes_left", "_is_due", "_is_telling", "_left", "append")

    def __init__(self) -> None:
        self.append: Callable[[bytes], bool] | None = None
        self._left, self._bytes_left = journal_lines.MAX_STACKS, journal_lines.MAX_ALL_STACKS
        self._is_due = self._is_telling = False

    def listen(self) -> list[str]:
        """Set the handlers, but for signals that the application handles itself; the names of those that are set."""
        caught = caught_signals(os.getpid())
        ours = []
        # C has set it where readline is imported, for a terminal, which an attempt has not.
        if ASK not in caught or signal.getsignal(ASK) is signal.SIG_DFL:
            signal.signal(ASK, self.on_ask)
            ours.append(ASK.name)
        if INSIST not in caught:
            faulthandler.register(INSIST, file=2, all_threads=False)
            ours.append(INSIST.name)
        return ours

    def on_ask(self, number: int, frame: FrameType | None) -> None:
        """Tell where this process is."""
        append = self.append
        if append is None:
            return
        self._is_due = True
        if self._is_telling:
            return  # and is asked once more, from there
        self._is_telling = True
        try:
            while self._is_due:
                self._is_due = False
                if not self._try_record(append, frame):
                    _print()
        except Exception as error:  # no room, no memory, too deep
            if not _is_of_asking(error):
                raise  # of another handler, which came in between: it is for the job
            _print()
        finally:
            self._is_telling = False

    def _try_record(self, append: Callable[[bytes], bool], frame: FrameType | None) -> bool:
        """Whether the journal has it; it takes so many, and may be closed."""
        if self._left <= 0 or self._bytes_left <= 0:
            return False
        line = journal_lines.stack(os.getpid(), time.time(), told(frame))
        if not append(line):
            return False
        self._left, self._bytes_left = self._left - 1, self._bytes_left - len(line)
        return True


def _print() -> None:
    # A pipe may be full, and who reads it wait for the interpreter.
    try:
        is_file = stat.S_ISREG(os.fstat(2).st_mode)
    except OSError:
        return
    if is_file:
        faulthandler.dump_traceback(2, all_threads=False)


def _is_of_asking(error: BaseException) -> bool:
    """Whether it was raised by what an answer runs."""
    place = error.__traceback__
    while place is not None:
        if not _is_asked(place.tb_frame):
            return False
        place = place.tb_next
    return True


def _is_asked(frame: FrameType) -> bool:
    name = frame.f_globals.get("__name__", "")
    return frame.f_code.co_filename.startswith(_OWN) or str(name).partition(".")[0] in _ASKED


def told(frame: FrameType | None) -> str:
    """The threads and tasks of this process as JSON text of bounded size, the innermost frame of each first; `frame` is
    where the thread stands that calls this.
    """
    threads = _counted(_threads(frame), MAX_THREADS)
    tasks = _counted(_tasks(), MAX_TASKS)
    most = MAX_FRAMES
    while True:
        kept = {"threads": _cut(threads, most), "tasks": _cut(tasks, most)}
        text = json.dumps(kept, separators=(",", ":"))
        if len(text) + text.count('"') + text.count("\\") <= journal_lines.MAX_STACK:
            return text
        if most > _FEW_FRAMES:
            most //= 2
        elif tasks:
            tasks = tasks[: len(tasks) // 2]
        else:
            threads = threads[: len(threads) // 2]


def _cut(stacks: list[Stack], most: int) -> list[Stack]:
    return [one | {"frames": one["frames"][:most]} for one in stacks]


def _counted(stacks: Iterable[tuple[str, int, Frames]], most: int) -> list[Stack]:
    """One of each that stand at the same places, the first, and how many they are."""
    found: dict[tuple[tuple[str, int, str], ...], Stack] = {}
    for name, native_id, frames in stacks:
        places = tuple(frames)
        if places in found:
            found[places]["same"] += 1
        elif len(found) < most:
            found[places] = {
                "name": name[:_LONGEST_NAME],
                "native_id": native_id,
                "frames": frames,
                "same": 1,
            }
    return list(found.values())


def _threads(frame: FrameType | None) -> Iterator[tuple[str, int, Frames]]:
    """Name, id and places of each thread, that of the caller first."""
    known = dict(getattr(sys.modules.get("threading"), "_active", {}))
    own, places = get_ident(), sys._current_frames()
    # Thread has them in the order in which they began.
    for ident in (own, *[other for other in {**known, **places} if other != own and other in places]):
        # Attributes of Thread's own: of a class that derives from it none of the application's code is to run here.
        thread = getattr(known.get(ident), "__dict__", {})
        if ident == own:  # after a fork Thread's own may be that of the process before
            yield str(thread.get("_name") or "MainThread"), os.getpid(), _frames(frame)
        else:
            native_id = int(thread.get("_native_id") or 0)
            yield str(thread.get("_name") or f"thread {native_id}"), native_id, _frames(places[ident])


def _frames(frame: FrameType | None) -> Frames:
    found: Frames = []
    while frame is not None and len(found) < MAX_FRAMES:
        if not frame.f_code.co_filename.startswith(_OWN):
            found.append(_place(frame))
        frame = frame.f_back
    return found


def _place(frame: FrameType) -> tuple[str, int, str]:
    code = frame.f_code
    return code.co_filename, frame.f_lineno or 0, getattr(code, "co_qualname", code.co_name)


def _tasks() -> Iterator[tuple[str, int, Frames]]:
    """Name and places of each task of the loop that runs in this thread."""
    asyncio: Any = sys.modules.get("asyncio")
    loop = None if asyncio is None else asyncio._get_running_loop()
    if loop is None:
        return
    tasks = [one for one in asyncio.all_tasks(loop) if isinstance(one, asyncio.Task)]
    names = sorted(
        [(len(name := asyncio.Task.get_name(one)), name, number) for number, one in enumerate(tasks)]
    )
    for _, name, number in names:  # "Task-9" before "Task-10"
        yield name, 0, _awaited(asyncio.Task.get_coro(tasks[number]))


def _awaited(coroutine: object) -> Frames:
    """Where it waits: the frames of what it awaits, and of what that does, as far as they are Python's."""
    found: Frames = []
    while len(found) < MAX_FRAMES:
        match coroutine:
            case CoroutineType(cr_frame=frame, cr_await=awaited):
                pass
            case GeneratorType(gi_frame=frame, gi_yieldfrom=awaited):
                pass
            case AsyncGeneratorType(ag_frame=frame, ag_await=awaited):
                pass
            case _:
                break
        if frame is not None and not frame.f_code.co_filename.startswith(_OWN):
            found.append(_place(frame))
        coroutine = awaited
    return found[::-1]
