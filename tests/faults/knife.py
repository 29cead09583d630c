"""Kills a process before one of its system calls, by strace; and stops a fresh child so that strace can be attached."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Final

from tests.daemon.running import RunningDaemon
from tests.support import eventually, missing

HALTING: Final = '''

def _halt_once():
    """Stop the fresh child before it does anything, if the sweep asked for it: strace is attached to it then."""
    try:
        os.unlink(Path(__file__).with_name("halt"))
    except FileNotFoundError:
        return
    os.kill(os.getpid(), 19)


os.register_at_fork(after_in_child=_halt_once)
'''
"""What is appended to the source of a module that the fork server imports (and that imports os and Path)."""


def why_impossible() -> str | None:
    """What this machine lacks for a sweep, or None."""
    if shutil.which("strace") is None:
        return missing("strace")
    traced = subprocess.run(["strace", "-q", "-o", os.devnull, "true"], capture_output=True, text=True)
    return f"strace may not trace here: {traced.stderr.strip()}" if traced.returncode else None


def ask_to_halt(running: RunningDaemon) -> None:
    """Have the next child stop right after its fork; its fork server has imported a module with HALTING."""
    (running.directory / "halt").touch()


def halted_child(running: RunningDaemon) -> int:
    """The pid of the child that has stopped, once it has."""
    server = running.fork_server()
    children = Path(f"/proc/{server}/task/{server}/children")

    return eventually(lambda: [int(pid) for pid in children.read_text().split() if is_halted(int(pid))])[0]


def is_halted(pid: int) -> bool:
    """Whether the process has been stopped by a signal."""
    return _status_of(pid)["State"].startswith("T")


class Knife:
    """strace, attached to one thread, with an injection that kills it, or none; its log is there when it has ended.

    The system call at which SIGKILL is injected is not carried out.
    """

    def __init__(self, tid: int, injection: str | None, log: Path) -> None:
        self._tid = tid
        self._log = log
        injected = [] if injection is None else ["-e", f"inject={injection}"]
        self._strace = subprocess.Popen(
            ["strace", "-q", "-o", str(log), "-e", "trace=all", *injected, "-p", str(tid)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> Knife:
        eventually(lambda: self.has_ended() or _status_of(self._tid).get("TracerPid", "0") != "0")
        return self

    def __exit__(self, *_: object) -> None:
        self._strace.terminate()  # which detaches
        self._strace.wait(20)

    def let_go_on(self) -> None:
        """Continue a victim that was stopped."""
        os.kill(self._tid, signal.SIGCONT)

    def has_ended(self) -> bool:
        """Whether its victim is gone: killed, or by itself."""
        return self._strace.poll() is not None

    def has_struck(self) -> bool:
        """Whether the victim was killed."""
        return self.has_ended() and "+++ killed by SIGKILL" in self._log.read_text(errors="replace")

    def calls(self) -> list[str]:
        """The names of the system calls, in their order."""
        lines = self._log.read_text(errors="replace").splitlines()
        return [line.partition("(")[0] for line in lines if re.match(r"\w+\(", line)]


def _status_of(tid: int) -> dict[str, str]:
    """What /proc tells of a thread; nothing where it is gone."""
    try:
        lines = Path(f"/proc/{tid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {"State": "gone"}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
