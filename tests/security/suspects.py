"""The application of a daemon under attack: jobs that look round, and do their worst; only a fork server imports it."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

PLACE = Path(__file__).parent
_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_NAME, _PR_GET_SECUREBITS = 15, 27
_PTRACE_SEIZE = 0x4206
_F_SETSIG = 10

LIST = """
import json, os
found = {}
for number in os.listdir("/proc/self/fd"):
    try:
        found[number] = os.readlink(f"/proc/self/fd/{number}")
    except FileNotFoundError:
        continue
print(json.dumps(found))
"""


def targets() -> dict[str, str]:
    """Where the descriptors of this process lead, but for the one that the listing takes."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found[number] = os.readlink(f"/proc/self/fd/{number}")
    return found


AT_IMPORT = targets()
LEFT_OPEN = (PLACE / "left").open("w")  # as a library does with its log


class Described:
    """A type that is asked for its schema in the child that describes the classes."""

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
        (PLACE / "described").write_text(json.dumps(targets()))
        from pydantic_core import core_schema

        return core_schema.any_schema()


def _own_journal() -> int:
    return next(int(number) for number, target in targets().items() if target.endswith(".journal"))


def _told(act: Callable[[], Any]) -> str:
    """How it ended: the name of the error, or "done"."""
    try:
        act()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "done"


def _call(function: str, *arguments: Any) -> None:
    if getattr(_libc, function)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _have_signalled(pid: int) -> None:
    """Let the kernel send the signal, when bytes come in at a socket (fcntl(2), F_SETOWN)."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        fcntl.fcntl(ours, fcntl.F_SETOWN, pid)
        fcntl.fcntl(ours, _F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(ours, fcntl.F_SETFL, os.O_ASYNC | fcntl.fcntl(ours, fcntl.F_GETFL))
        theirs.send(b"x")


def _signal_by_pidfd(pid: int) -> None:
    pidfd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)


def _queue(pid: int) -> None:
    _call("sigqueue", pid, int(signal.SIGKILL), None)


ATTACKS: dict[str, Callable[[int], Any]] = {
    "kill": lambda pid: os.kill(pid, signal.SIGKILL),
    "sigqueue": _queue,
    "pidfd_send_signal": _signal_by_pidfd,
    "F_SETOWN": _have_signalled,
    "ptrace": lambda pid: _call("ptrace", _PTRACE_SEIZE, pid, 0, 0),
    "mem": lambda pid: os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR)),
    "fd": lambda pid: os.close(os.open(f"/proc/{pid}/fd/0", os.O_RDONLY)),
    "root": lambda pid: os.listdir(f"/proc/{pid}/root/"),
    "cwd": lambda pid: os.listdir(f"/proc/{pid}/cwd/"),
    "prlimit": lambda pid: resource.prlimit(
        pid, resource.RLIMIT_CORE, resource.prlimit(pid, resource.RLIMIT_CORE)
    ),
    "setpriority": lambda pid: os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid)),
    "sched_setaffinity": lambda pid: os.sched_setaffinity(pid, os.sched_getaffinity(pid)),
    "oom_score_adj": lambda pid: os.close(os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY)),
}


def _read(place: str) -> None:
    if os.path.isdir(place):
        os.listdir(place)
    else:
        os.close(os.open(place, os.O_RDONLY))


def _write(place: str) -> None:
    if os.path.isdir(place):
        os.mkdir(f"{place}/planted")
        os.rmdir(f"{place}/planted")
    else:
        os.close(os.open(place, os.O_WRONLY))


class Attacker:
    """What each kind of class does, whoever it runs as."""

    def attack(self, victims: dict[str, int]) -> dict[str, dict[str, str]]:
        """How each attack on each victim ended."""
        return {
            name: {who: _told(partial(attack, pid)) for who, pid in victims.items()}
            for name, attack in ATTACKS.items()
        }

    def reach(self, places: dict[str, str]) -> dict[str, str]:
        """How reading each of these files and directories ended, and how writing to it did."""
        return {
            name: f"{_told(partial(_read, place))}/{_told(partial(_write, place))}"
            for name, place in places.items()
        }


class Confined(Attacker):
    """A class that may write to one directory more than its own."""


class Suspect(Attacker):
    """A class that runs as the daemon's own user."""

    def look_round(self) -> dict[str, Any]:
        """Its descriptors: at import, now, and in a program that it starts with all that programs inherit."""
        program = subprocess.run(
            [sys.executable, "-I", "-c", LIST], stdout=subprocess.PIPE, close_fds=False, check=True
        )
        return {
            "import": AT_IMPORT,
            "method": targets(),
            "program": json.loads(program.stdout),
            "exe": _told(lambda: os.close(os.open("/proc/self/exe", os.O_WRONLY))),
        }

    def described(self, value: Described | None = None) -> None:
        """Takes what has to be described."""

    def lower(self, pid: int, which: str) -> None:
        """Take from a process of the same user what it may use."""
        if which == "nice":
            os.setpriority(os.PRIO_PROCESS, pid, 19)
        elif which == "oom_score_adj":
            Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
        else:
            limit = getattr(resource, which)
            resource.prlimit(pid, limit, (3, 3))

    def standing(self) -> list[int]:
        """What of that it has itself."""
        score = int(Path("/proc/self/oom_score_adj").read_text())
        return [os.getpriority(os.PRIO_PROCESS, 0), score, resource.getrlimit(resource.RLIMIT_NOFILE)[0]]

    def pose(self, name: str, pid_file: str, go: str) -> str:
        """Call itself, and a child of its own, by this name wherever that is shown."""
        program = (
            f"import ctypes, time; ctypes.CDLL(None).prctl({_PR_SET_NAME}, {name.encode()!r}); time.sleep(60)"
        )
        child = subprocess.Popen(
            [sys.executable, "-I", "-c", program, name, f"{name}/forkserver/__main__.py"]
        )
        _libc.prctl(_PR_SET_NAME, name.encode())
        Path(pid_file).write_text(str(os.getpid()))
        while not os.path.exists(go):
            time.sleep(0.01)
        child.kill()
        child.wait()
        return Path("/proc/self/comm").read_bytes().decode()

    def pretend(self, record: dict[str, Any]) -> None:
        """Write its own outcome, and leave before any other is written."""
        line = {"v": 1, "type": "outcome", "pid": os.getpid(), "outcome": "failed", **record}
        os.write(_own_journal(), b"\n" + json.dumps(line).encode() + b"\n")
        os._exit(1)

    def failed(self, error: Any) -> None:
        """The hook: what it is told, and which descriptors it has."""
        told = {"type": type(error).__qualname__, "error": [repr(part) for part in error.args]}
        (PLACE / "hook").write_text(json.dumps({**told, "cause": repr(error.__cause__), "fds": targets()}))

    def plant(self, spool: str, names: list[str]) -> None:
        """Put files with these names beside the journals."""
        for name in names:
            Path(spool, name).touch()


class Stranger(Attacker):
    """A class with a user of its own."""

    def identity(self, program: str) -> dict[str, Any]:
        """Who it is, and whether there is any way to be more."""
        lines = Path("/proc/self/status").read_text().splitlines()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        ways: dict[str, Callable[[], Any]] = {
            "setuid": lambda: os.setuid(0),
            "seteuid": lambda: os.seteuid(0),
            "setreuid": lambda: os.setreuid(-1, 0),
            "setresuid": lambda: os.setresuid(-1, -1, 0),
            "setgid": lambda: os.setgid(0),
            "setegid": lambda: os.setegid(0),
            "setresgid": lambda: os.setresgid(-1, -1, 0),
            "setgroups": lambda: os.setgroups([0]),
            "no groups": lambda: os.setgroups([]),
            "chroot": lambda: os.chroot("/"),
        }
        told = {name: _told(way) for name, way in ways.items()}
        run = subprocess.run([program, "-u"], capture_output=True, text=True, check=True)
        return {
            "ids": [*os.getresuid(), *os.getresgid()],
            "groups": os.getgroups(),
            "ways": told,
            "capabilities": {name: int(status[name], 16) for name in status if name.startswith("Cap")},
            "no_new_privs": status["NoNewPrivs"],
            "securebits": _libc.prctl(_PR_GET_SECUREBITS, 0, 0, 0, 0),
            "program": run.stdout.split(),
        }
