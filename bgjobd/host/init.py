"""The first process of a container: starts the daemon, reaps all that falls to it, passes signals on, and ends with the
daemon; of the standard library alone, and run from its file, so that it stays small.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1)
_THAT_END = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_HEARD = (*_PASSED_ON, signal.SIGCHLD)

_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds before another daemon is started in the place of one that was killed; after each further death the next."""

_LONG = 60.0
"""Seconds that a daemon has to live for the pause after it to be the first."""


def take_over() -> None:
    """Become the init of this very command: never comes back. Raises OSError."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)  # what comes meanwhile waits: pid 1 would not see it
    command = [sys.executable, *sys.orig_argv[1:]]
    os.execv(sys.executable, [sys.executable, "-I", "-S", __file__, *command])


def run(command: list[str]) -> int:
    """Have the daemon run by this command until it ends by itself, or because it was told to; the exit code."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    deaths = 0
    while True:
        began = time.monotonic()
        daemon = _start(command)
        code, is_told = _mind(daemon)
        if code >= 0 or is_told:
            return code if code >= 0 else 128 - code
        deaths = 0 if time.monotonic() - began > _LONG else deaths
        _say(f"the daemon (pid {daemon}) was ended by signal {-code}; another one starts, and attempts go on")
        if _is_told_within(_PAUSES[min(deaths, len(_PAUSES) - 1)]):
            return 128 - code
        deaths += 1


def _start(command: list[str]) -> int:
    return os.posix_spawn(command[0], command, os.environ, setsigmask=[])


def _mind(daemon: int) -> tuple[int, bool]:
    """Reap, and pass signals on, until the daemon has ended: its code, below 0 a signal; whether it was told to."""
    is_told = False
    while True:
        heard = signal.sigwaitinfo(_HEARD)
        if heard.si_signo == signal.SIGCHLD:
            code = _reap(daemon)
            if code is not None:
                return code, is_told
            continue
        is_told = is_told or heard.si_signo in _THAT_END
        if heard.si_code <= 0:  # else the kernel sent it, for a terminal, to the whole group
            os.kill(daemon, heard.si_signo)  # it is not reaped: the pid is its own


def _reap(daemon: int) -> int | None:
    """Reap whoever has ended; the daemon's code, if it is among them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == daemon:
            code = os.waitstatus_to_exitcode(status)


def _is_told_within(seconds: float) -> bool:
    """Reap for so long; whether it was told meanwhile that all is to end."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        heard = signal.sigtimedwait(_HEARD, left)
        if heard is not None and heard.si_signo in _THAT_END:
            return True
        _reap(0)
    return False


def _say(message: str) -> None:
    """A line on stderr, unless nobody reads there: it may not hold up what is to be reaped."""
    if select.select([], [2], [], 0)[1]:
        os.write(2, f"bgjobd: {message}\n".encode())


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
