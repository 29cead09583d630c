"""Whether attempts can be without a network here, as classes ask for: why not, and what to do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import bgjobd.forkserver
from bgjobd.forkserver import landlock, network

_TRIED_FOR: Final = 10.0


def lacks(asked: Iterable[str | None]) -> dict[str | None, str]:
    """Which of these cannot be had, and why. What nobody asks for is not tried, which takes some milliseconds."""
    found = {kind: _LACKS[kind]() for kind in set(asked) if kind is not None}
    return {kind: why for kind, why in found.items() if why is not None}


def _no_namespace() -> str | None:
    """Tried by a process of its own, which the kernel may take for another user's then."""
    program = Path(bgjobd.forkserver.__file__).with_name("__main__.py")
    command = [sys.executable, "-I", "-X", "utf8", str(program), "0", "network"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TRIED_FOR, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"network = false could not be tried here: {error}"
    if done.returncode == 0:
        return None
    return (
        f"network = false cannot be had here: {done.stdout.strip() or done.stderr[-200:].strip()}; it takes root with "
        "CAP_SYS_ADMIN, or user namespaces: under systemd `bgjobd units --install --network`, in a shell see "
        "sysctl user.max_net_namespaces, user.max_user_namespaces and kernel.apparmor_restrict_unprivileged_userns"
    )


def _no_rules() -> str | None:
    if landlock.has_tcp_rules():
        return None
    takes = "takes Linux 6.7 or newer, with Landlock"
    if landlock.is_forbidden():
        takes = "takes Landlock, which the container's seccomp profile forbids"
    return f'network = "no-tcp" cannot be had here: it {takes}'


_LACKS: Final[Mapping[str, Callable[[], str | None]]] = {
    network.NONE: _no_namespace,
    network.NO_TCP: _no_rules,
}
