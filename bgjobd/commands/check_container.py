"""What a check has to say of the container that it runs in: what that is like, and what people forget in one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from bgjobd.commands.findings import Finding, ok, remark
from bgjobd.config.sections import Config
from bgjobd.config.values import TcpAddress
from bgjobd.host import container
from bgjobd.host.disk_space import existing
from bgjobd.supervisor.limits import Machine


def findings(
    config: Config, machine: Machine, environ: Mapping[str, str], root: Path = Path("/")
) -> Iterator[Finding]:
    """Nothing where there is no container."""
    if not container.is_around(environ, root):
        return
    yield ok(f"container: {', '.join(_told(machine, environ, root))}")
    yield from _state(config, root)
    yield from _page(config)
    yield _inotify(root)
    if container.is_of_other_users(root / "proc"):
        told = "whoever is of another user namespace is uid 65534 here, and has no right that is listed"
        yield remark(f"access: {told} under [access]; map such users into the container")


def _told(machine: Machine, environ: Mapping[str, str], root: Path) -> Iterator[str]:
    yield container.engine(environ, root)
    yield f"PID {os.getpid()}"
    yield "a cgroup for each attempt" if machine.has_groups else "no cgroup"
    yield "read-only root" if os.statvfs(root).f_flag & os.ST_RDONLY else "writable root"


def _state(config: Config, root: Path) -> Iterator[Finding]:
    state_dir = config.daemon.state_dir
    if existing(state_dir).stat().st_dev == root.stat().st_dev:
        told = f"container: {state_dir} is on no volume, and what is stored there goes with the container"
        yield remark(f"{told}; have [daemon] state_dir on one")


def _page(config: Config) -> Iterator[Finding]:
    bind = config.web.bind
    if config.web.enabled and isinstance(bind, TcpAddress) and bind.is_loopback:
        told = (
            f"container: the page is at {bind}, which is the container's own, and nobody outside reaches it"
        )
        yield remark(f"{told}; [web] bind at a Unix socket on a volume, or another address with allow_remote")


def _inotify(root: Path) -> Finding:
    try:
        most = (root / "proc/sys/fs/inotify/max_user_instances").read_text(encoding="ascii").strip()
    except OSError:
        most = "unknown"
    told = f"inotify: uid {os.geteuid()} has the same instances in all containers of this machine"
    return remark(
        f"{told} (fs.inotify.max_user_instances = {most}); a daemon takes a few, so raise that for many"
    )
