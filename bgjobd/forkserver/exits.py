"""What ends with an attempt, once its outcome is recorded: its threads, what it has registered with `atexit`, logging's
handlers; for as long as its class lets them. And what imports have registered, which is told from that.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # as in child
import atexit
import faulthandler
import os
import signal
import sys
import traceback
from _thread import _count as count_threads
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from .error_texts import printable

Registered = list[Callable[..., Any]]


def watch() -> Registered:
    """What is registered from now on, and not taken back: a list that changes with it. `atexit` itself has none."""
    registered: Registered = []
    register, unregister = atexit.register, atexit.unregister

    def registering(function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Any:
        registered.append(function)
        return register(function, *arguments, **keywords)

    def unregistering(function: Callable[..., Any], /) -> None:
        registered[:] = [one for one in registered if one != function]
        unregister(function)

    vars(atexit).update(register=registering, unregister=unregistering)
    return registered


def names_of(registered: Iterable[Callable[..., Any]]) -> list[str]:
    """The names of these functions, each once, but for logging's, which runs anyway."""
    return sorted({_name_of(function) for function in registered} - {"logging.shutdown"})


def _name_of(function: Any) -> str:
    try:
        named = function if hasattr(function, "__qualname__") else type(function)
        return printable(f"{named.__module__}.{named.__qualname__}")
    except Exception as error:  # it resists even being looked at
        return f"<a function whose name raises {type(error).__name__}>"


def forget_registered() -> None:
    """Have none of what was registered until now run at the end of this process, or of those that it forks."""
    atexit._clear()


def log_handlers() -> list[Any]:
    """Logging's own list of its handlers, of which one is that of who has none; who imports logging later has it
    registered with `atexit`.
    """
    found: list[Any] = getattr(sys.modules.get("logging"), "_handlerList", [])
    return found


def run(grace: float) -> None:
    """Wait for threads, run what is registered, and shut logging down, in the order in which Python does.

    Whatever does not end within `grace` seconds is ended by SIGALRM, which no lock and no C code can hold up; the
    output tells where it was. A copy that the job has forked runs none: what it has is the job's.
    """
    if os.getsid(0) != os.getpid():
        return
    _signal.signal(signal.SIGALRM, _signal.SIG_DFL)
    _signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGALRM,))
    for step in (_tell_where_it_hangs, lambda: _signal.setitimer(signal.ITIMER_REAL, grace), *_STEPS):
        try:
            step()
        except BaseException:
            with suppress(Exception):  # stderr is the job's
                traceback.print_exc()


def _tell_where_it_hangs() -> None:
    faulthandler.register(signal.SIGALRM, file=2, chain=True)


def _join_threads() -> None:
    if count_threads() and "threading" in sys.modules:
        sys.modules["threading"]._shutdown()


def _shut_logging_down() -> None:
    if "logging" in sys.modules:
        sys.modules["logging"].shutdown()


_STEPS: tuple[Callable[[], Any], ...] = (_join_threads, atexit._run_exitfuncs, _shut_logging_down)
