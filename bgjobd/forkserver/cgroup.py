"""The cgroup of an attempt, where systemd has delegated a subtree: its limits, its end, what it used (cgroup v2)."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final, NamedTuple

from . import subreaper

_PERIOD: Final = 100_000
"""Microseconds in which `cpu.max` grants its quota."""

_MOUNT: Final = "/sys/fs/cgroup"
_MOST_TRIES: Final = 10
_PAUSE: Final = 0.001


class Groups(NamedTuple):
    """The directory that holds the attempts' groups, and the controllers that those have."""

    path: str
    controllers: tuple[str, ...]


def own_path(proc: str = "/proc", mount: str = _MOUNT) -> str | None:
    """The directory of the group that this process is in; None where there is none of version 2, or it is not seen."""
    try:
        lines = _read(f"{proc}/self/cgroup").splitlines()
    except (OSError, ValueError):
        return None
    names = [line.removeprefix("0::/") for line in lines if line.startswith("0::/")]
    path = os.path.join(mount, *names)
    return path if names and os.path.isdir(path) else None


class Surroundings:
    """The group that this process is in, where attempts have none of their own: a container's, mostly."""

    def __init__(self, path: str | None) -> None:
        self._group = None if path is None else Group(path)
        self._known = self._count()

    def new_oom_kills(self) -> int:
        """How many in it the kernel has killed for their memory since somebody asked last."""
        before, self._known = self._known, self._count()
        return max(0, self._known - before)

    def _count(self) -> int:
        return 0 if self._group is None else self._group.oom_kills()


class Evidence(NamedTuple):
    """What a group tells once its attempt has ended: the highest memory in bytes, with what it kept of files; how many
    were killed for it; the seconds of CPU time of all who were in it, as a user and in the kernel; who was left in it
    and is killed, by pid with the names of their programs.
    """

    memory_peak: int | None = None
    oom_kills: int = 0
    cpu: tuple[float, float] = (0.0, 0.0)
    left: Mapping[int, str] = MappingProxyType({})


class Group(NamedTuple):
    """The group of one attempt; `path` is its directory."""

    path: str

    @classmethod
    def of(cls, groups: Groups, name: str) -> Group:
        return cls(f"{groups.path}/{name}")

    @classmethod
    def make(
        cls,
        groups: Groups,
        name: str,
        memory: int | None,
        processes: int | None,
        cpu_share: float | None,
    ) -> Group:
        """A new group with these limits, as far as there are controllers for them. Raises OSError."""
        group = cls.of(groups, name)
        os.mkdir(group.path, 0o700)
        limits = (
            ("memory", "memory.max", memory),
            ("memory", "memory.swap.max", None if memory is None else 0),
            ("memory", "memory.oom.group", None if memory is None else 1),
            ("pids", "pids.max", processes),
            ("cpu", "cpu.max", None if cpu_share is None else f"{round(cpu_share * _PERIOD)} {_PERIOD}"),
        )
        for controller, file, value in limits:
            if controller in groups.controllers and value is not None:
                with suppress(FileNotFoundError):  # a kernel without swap accounting
                    group._write(file, str(value))
        return group

    def enter(self) -> None:
        """Put this process into the group. Raises OSError."""
        self._write("cgroup.procs", "0")

    def kill(self) -> None:
        """Kill whoever is in the group; nothing where there is none."""
        with suppress(OSError):
            self._write("cgroup.kill", "1")

    def members(self) -> dict[int, str]:
        """Whoever is in the group, or in those that the attempt made in it, with the names of their programs."""
        found: dict[int, str] = {}
        for directory, _, _ in os.walk(self.path):
            with suppress(OSError, ValueError):
                for pid in map(int, _read(f"{directory}/cgroup.procs").split()):
                    name = subreaper.try_name(pid)
                    if name is not None:
                        found[pid] = name
        return found

    def oom_kills(self) -> int:
        """How many in it the kernel has killed for their memory."""
        return self._counts("memory.events").get("oom_kill", 0)

    def end(self) -> Evidence:
        """Kill whoever is left, tell that and what the group used, and remove it; nothing where there is none."""
        if not os.path.isdir(self.path):
            return Evidence()
        spent = self._counts("cpu.stat")
        evidence = Evidence(
            self._number("memory.peak"),
            self.oom_kills(),
            (spent.get("user_usec", 0) / 1e6, spent.get("system_usec", 0) / 1e6),
        )
        with suppress(OSError):
            os.rmdir(self.path)
            return evidence  # nobody was in it: the kernel would not have removed it
        evidence = evidence._replace(left=self.members())
        self.kill()
        for _ in range(_MOST_TRIES):
            if self._is_removed():
                break
            time.sleep(_PAUSE)  # those that were killed have not quite gone
        return evidence

    def _is_removed(self) -> bool:
        """Remove it; the attempt may have made others in it."""
        try:
            os.rmdir(self.path)
        except OSError:
            for directory, _, _ in os.walk(self.path, topdown=False):
                with suppress(OSError):
                    os.rmdir(directory)
        return not os.path.isdir(self.path)

    def _number(self, file: str) -> int | None:
        try:
            return int(_read(f"{self.path}/{file}"))
        except (OSError, ValueError):
            return None

    def _counts(self, file: str) -> dict[str, int]:
        try:
            return {
                name: int(count) for name, count in map(str.split, _read(f"{self.path}/{file}").splitlines())
            }
        except (OSError, ValueError):
            return {}

    def _write(self, file: str, value: str) -> None:
        descriptor = os.open(f"{self.path}/{file}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)


def _read(path: str) -> str:
    with open(path, encoding="ascii") as opened:
        return opened.read()
