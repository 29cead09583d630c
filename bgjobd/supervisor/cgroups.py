"""The cgroup v2 subtree that systemd has delegated to this daemon, made ready for attempts; their groups are the fork
server's.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from bgjobd.forkserver.cgroup import Groups

_WANTED: Final = ("memory", "pids", "cpu")
_DELEGATED: Final = ("user.delegate", "trusted.delegate")
"""What systemd marks a delegated cgroup with."""

_ATTEMPTS: Final = "attempts"


def find(pid: int | None = None, proc: Path = Path("/proc")) -> Path | None:
    """The delegated cgroup that this process, or the one with this pid, is below of; None where there is none.

    Processes and controllers do not go together in one cgroup (cgroups(7), "no internal processes"): the daemon
    itself has to be in one below, as DelegateSubgroup= makes it.
    """
    try:
        own = _own_path(_text(proc / str(pid or "self") / "cgroup"))
        mount = _mount(_text(proc / "self" / "mountinfo"))
    except OSError:
        return None
    if own is None or mount is None or own == "/":
        return None
    parent = Path(f"{mount}{own}").parent
    return parent if _is_delegated(parent) else None


def prepare(subtree: Path | None) -> Groups | None:
    """The directory for attempts' groups in the delegated subtree, with what controllers are to be had."""
    if subtree is None:
        return None
    attempts = subtree / _ATTEMPTS
    try:
        attempts.mkdir(exist_ok=True)
        for directory in (subtree, attempts):
            for controller in _controllers(directory):
                with suppress(OSError):
                    (directory / "cgroup.subtree_control").write_text(f"+{controller}")
        return Groups(str(attempts), _controllers(attempts, "cgroup.subtree_control"))
    except OSError:
        return None


def own() -> tuple[Groups | None, str | None]:
    """What attempts' cgroups are made in, if systemd has delegated any; else what is wrong with what it has."""
    subtree = find()
    groups = prepare(subtree)
    return groups, None if subtree is None or groups is not None else why_unusable(subtree)


def why_unusable(subtree: Path) -> str:
    """What to do about a delegated subtree in which nothing can be made ready; asked after a vain `prepare`."""
    problem = f"attempts get no cgroups, as {subtree} cannot be written"
    with suppress(OSError):
        if os.statvfs(subtree).f_flag & os.ST_RDONLY:  # of this mount, as ProtectControlGroups=yes makes it
            return (
                f"{problem}: it is read-only here; with ReadWritePaths={subtree} in its unit the daemon may"
            )
    return f"{problem}: by this user, or it is no cgroup"


def has_controllers(proc: Path = Path("/proc")) -> bool:
    """Whether cgroup v2 has controllers on this machine, for whomever systemd delegates them to."""
    try:
        mount = _mount(_text(proc / "self" / "mountinfo"))
        return mount is not None and bool(_controllers(Path(mount)))
    except OSError:
        return False


def _text(path: Path) -> str:
    """The file's, with names that are no UTF-8 as Path has them, and no character taken for an end of line."""
    return os.fsdecode(path.read_bytes())


def _own_path(text: str) -> str | None:
    return next((line.removeprefix("0::") for line in text.split("\n") if line.startswith("0::")), None)


def _mount(text: str) -> str | None:
    """Where the unified hierarchy is mounted (proc_pid_mountinfo(5): the type follows a lone hyphen).

    The kernel escapes the separators of its own in a name, and none of Unicode's others, which a user may mount at.
    """
    for line in text.split("\n"):
        before, _, after = line.partition(" - ")
        if after.split(" ")[0] == "cgroup2":
            return before.split(" ")[4]
    return None


def _is_delegated(directory: Path) -> bool:
    for name in _DELEGATED:
        with suppress(OSError):
            if os.getxattr(directory, name) == b"1":
                return True
    return False


def _controllers(directory: Path, file: str = "cgroup.controllers") -> tuple[str, ...]:
    there = (directory / file).read_text().split()
    return tuple(name for name in _WANTED if name in there)
