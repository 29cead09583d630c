"""Something that is done to a store by a process of its own, which is killed at one of its system calls, or none."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from tests.faults.knife import Knife, is_halted
from tests.store.samples import Store
from tests.support import eventually

Act = Callable[[Store], None]


def points_of(act: Act, state_dir: Path, log: Path, most: int | None) -> list[tuple[str, int]]:
    """The calls that it makes, each with which of its name it is; about so many of them, all where None."""
    calls = calls_of(act, state_dir, log)
    points = [(call, calls[:number].count(call)) for number, call in enumerate(calls, 1)]
    return points[:: 1 if most is None else max(1, len(points) // most)]


def copied(place: Path, to: Path) -> Path:
    return Path(shutil.copytree(place, to))


def acting(act: Act, state_dir: Path) -> int:
    """A process that has opened the file, and does it once it goes on."""
    pid = os.fork()
    if pid == 0:
        try:
            there = Store(state_dir)
            os.kill(os.getpid(), signal.SIGSTOP)
            act(there)
        finally:
            os._exit(0)
    eventually(lambda: is_halted(pid))
    return pid


def calls_of(act: Act, state_dir: Path, log: Path) -> list[str]:
    pid = acting(act, state_dir)
    with Knife(pid, None, log) as knife:
        knife.let_go_on()
        os.waitpid(pid, 0)
        eventually(knife.has_ended)
    return knife.calls()


def is_killed(act: Act, state_dir: Path, injection: str, log: Path) -> bool:
    pid = acting(act, state_dir)
    with Knife(pid, injection, log) as knife:
        knife.let_go_on()
        os.waitpid(pid, 0)
        eventually(knife.has_ended)
    return knife.has_struck()
