"""Whether this process runs in a container that ends with it, and what that is like."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from bgjobd.forkserver.cgroup import own_path

_FILES: Final = ("run/.containerenv", ".dockerenv")
"""Files that podman and docker put into a container's root."""

_VARIABLES: Final = ("container", "KUBERNETES_SERVICE_HOST")
"""What engines that follow systemd's container interface set, and what Kubernetes does."""

_BY_SYSTEMD: Final = "run/systemd/system"
"""A directory that is there where systemd is pid 1 (sd_booted(3)); it goes on when the daemon ends."""


def is_around(environ: Mapping[str, str], root: Path = Path("/")) -> bool:
    """Whether there is a container, and no systemd that runs it."""
    is_one = any((root / name).exists() for name in _FILES) or any(map(environ.get, _VARIABLES))
    return is_one and not (root / _BY_SYSTEMD).is_dir()


def engine(environ: Mapping[str, str], root: Path = Path("/")) -> str:
    """What made the container, as far as it says; "unknown" where it does not."""
    if environ.get("KUBERNETES_SERVICE_HOST"):
        return "kubernetes"
    if (root / ".dockerenv").exists():
        return "docker"
    return environ.get("container") or ("podman" if (root / "run/.containerenv").exists() else "unknown")


def groups(proc: Path = Path("/proc"), mount: Path = Path("/sys/fs/cgroup")) -> Iterator[Path]:
    """The cgroup that this process is in, and those around it, as far as they are seen; the innermost first."""
    own = own_path(str(proc), str(mount))
    if own is not None:
        yield from (group for group in (Path(own), *Path(own).parents) if group.is_relative_to(mount))


def cores(proc: Path = Path("/proc"), mount: Path = Path("/sys/fs/cgroup")) -> int:
    """How many cores this process may use at once: those that it is let run on, at most as many as its cgroups give it
    time of (cpu.max of cgroups(7)), rounded up.
    """
    allowed = len(os.sched_getaffinity(0))
    for group in groups(proc, mount):
        with suppress(OSError, ValueError):  # the outermost has none
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
            if quota != "max":
                allowed = min(allowed, max(1, math.ceil(int(quota) / int(period))))
    return allowed


def is_of_other_users(proc: Path = Path("/proc")) -> bool:
    """Whether this user namespace leaves users out: whoever is one of them has the id of nobody in it."""
    try:
        found = (proc / "self/uid_map").read_text(encoding="ascii").split()
    except OSError:
        return False
    return found != ["0", "0", str(2**32 - 1)]
