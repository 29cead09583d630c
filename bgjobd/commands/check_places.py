"""Whether a daemon could live in the places that it is configured for: directories, socket, page, disks, users.

Looks, and changes nothing.
"""

from __future__ import annotations

import grp
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bgjobd.commands import listeners, process_table
from bgjobd.commands.findings import Finding, broken, doubtful, ok, remark
from bgjobd.config.sections import Config
from bgjobd.forkserver.sandbox import Account
from bgjobd.host import directories, disk_space
from bgjobd.service import SOCKET_GROUP
from bgjobd.supervisor import limits
from bgjobd.supervisor.application import AttemptDirs

_READ: Final = 0o4
_PASS: Final = 0o1
_UNITS: Final = (Path("/etc/systemd/system"), Path("/usr/lib/systemd/system"))
"""Where `bgjobd units` and the Debian package have theirs; the first hides the other's. Drop-ins are not read."""

_SHIPPED: Final = Path("/run/bgjobd.sock")
"""What that of ours listens at."""


def findings(config: Config, daemon: int | None) -> list[Finding]:
    """What there is to say of the places; `daemon` is the pid of one that serves the state directory already."""
    looks = (
        *(_directories(config), _spool(config, daemon)),
        *(_socket(config, daemon), _fifo(config), _page(config, daemon), _disks(config)),
        *(_path(config), _users(config)),
    )
    return [finding for look in looks for finding in _as_far_as_it_goes(look)]


def _as_far_as_it_goes(look: Iterator[Finding]) -> Iterator[Finding]:
    """The findings up to a place that this user may not look at."""
    try:
        yield from look
    except OSError as error:
        yield broken(f"{error.filename} cannot be looked at: {error.strerror}; run this as the daemon's user")


# Directories


def _directories(config: Config) -> Iterator[Finding]:
    for key, path in config.daemon.directories.items():
        yield _directory(key, path)
        yield from _open_to_all(key, path)


def _directory(key: str, path: Path) -> Finding:
    above = disk_space.existing(path)
    found = above.stat()
    if not stat.S_ISDIR(found.st_mode):
        return broken(f"{key}: {above} is in the way, which is no directory; move it, or set [daemon] {key}")
    if above != path:
        for link in (path, *path.parents):
            if link == above:
                break
            if link.is_symlink():
                message = f"{link} is a link that leads to nothing (to {os.readlink(link)})"
                return broken(f"{key}: {message}; make that directory, or set [daemon] {key}")
        if os.access(above, os.W_OK | os.X_OK):
            return ok(f"{key}: {path} is not there yet, and can be made")
        return broken(f"{key}: {path} cannot be made: {above} is not for this user to write to; make it")
    if found.st_uid != os.geteuid():
        message = f"{path} belongs to uid {found.st_uid}, and this is uid {os.geteuid()}"
        return broken(f"{key}: {message}; run this, and the daemon, as the same user, or chown it")
    try:
        directories.look_at(path)
    except PermissionError as error:
        return broken(f"{key}: {error.filename}: {error.strerror}")
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077 & ~0o011:
        return remark(f"{key}: {path} has mode {mode:04o}; a start closes it to others")
    return ok(f"{key}: {path}")


def _open_to_all(key: str, path: Path) -> Iterator[Finding]:
    """A directory above that others may write to could be given another of our name."""
    for who, remedy in directories.doubts(path):
        yield doubtful(f"{key}: {who}, and so put something else in the place of {path}; {remedy}")


def _spool(config: Config, daemon: int | None) -> Iterator[Finding]:
    """Another daemon's, with a state directory of its own."""
    spool = AttemptDirs.from_config(config).spool
    holder = process_table.holder(spool)
    if holder is not None and holder != daemon:
        message = f"runtime_dir: another daemon (pid {holder}) uses {spool}"
        yield broken(f"{message}; stop it, or give each its own [daemon] runtime_dir")


# Socket, named pipe and page


def _socket(config: Config, daemon: int | None) -> Iterator[Finding]:
    yield _place_of_socket(config, daemon)
    if os.geteuid() == 0:
        try:
            grp.getgrnam(SOCKET_GROUP)
        except KeyError:
            message = f"socket: there is no group {SOCKET_GROUP}, so only root can connect"
            yield remark(f"{message}; `groupadd --system {SOCKET_GROUP}`")


def _place_of_socket(config: Config, daemon: int | None) -> Finding:
    path = config.daemon.socket
    if not stat.S_ISDIR(directories.mode_of(path.parent)):
        if _will_be_made(path.parent, config):
            return ok(f"socket: {path} can be made")
        return broken(f"socket: {path.parent} is not there; make it, or set [daemon] socket")
    if os.path.lexists(path) and not path.is_socket():
        return broken(f"socket: {path} is there and is no socket; move it, or set [daemon] socket")
    listener = listeners.at_path(path)
    if listener is not None:
        return _listened(path, listener, daemon)
    if os.access(path.parent, os.W_OK | os.X_OK):
        return ok(f"socket: {path} can be made")
    if _is_of_a_unit(path):
        return ok(f"socket: {path} is systemd's to make: `systemctl start bgjobd.socket`")
    remedy = "have ListenStream= of a unit bgjobd.socket name it"
    if path == _SHIPPED:
        remedy = "let systemd hold it: `bgjobd units --install`, `systemctl start bgjobd.socket`"
    return broken(f"socket: {path.parent} is not for this user to write to; set [daemon] socket, or {remedy}")


def _is_of_a_unit(path: Path) -> bool:
    units = (directory / "bgjobd.socket" for directory in _UNITS)
    try:
        unit = next((unit for unit in units if unit.exists()), None)
        lines = [] if unit is None else unit.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return f"ListenStream={path}" in lines


def _listened(path: Path, listener: listeners.Listener, daemon: int | None) -> Finding:
    if daemon is not None:
        return ok(f"socket: {path} is served by the daemon that runs (pid {daemon})")
    message = f"socket: {listener} listens at {path}, and no daemon serves this state_dir"
    if listener.is_systemd:
        return ok(f"{message} yet: systemd starts it when somebody connects")
    if listener.pid is None:
        return remark(f"{message}; root sees which it is: `ss -xlp src {path}`")
    return broken(f"{message}; stop it, or set [daemon] socket")


def _fifo(config: Config) -> Iterator[Finding]:
    path = config.daemon.fifo
    if path is None:
        return
    if not stat.S_ISDIR(directories.mode_of(path.parent)):
        if not _will_be_made(path.parent, config):
            yield broken(f"fifo: {path.parent} is not there; make it, or set [daemon] fifo")
    elif not os.path.lexists(path):
        if os.access(path.parent, os.W_OK | os.X_OK):
            yield ok(f"fifo: {path} can be made")
        else:
            yield broken(f"fifo: {path.parent} is not for this user to write to; set [daemon] fifo")
    else:
        found = path.lstat()
        if not stat.S_ISFIFO(found.st_mode):
            yield broken(f"fifo: {path} is there and is no named pipe; move it, or set [daemon] fifo")
        elif found.st_uid != os.geteuid():
            yield broken(f"fifo: {path} belongs to uid {found.st_uid}; remove it, or run as that user")
        else:
            yield ok(f"fifo: {path}")


def _will_be_made(directory: Path, config: Config) -> bool:
    """Whether a start makes it, as one of our directories or on the way to one."""
    ours = list(config.daemon.directories.values())
    return any(directory in (one, *one.parents) for one in ours)


def _page(config: Config, daemon: int | None) -> Iterator[Finding]:
    """A daemon does without its page, which has to try again and again."""
    if not config.web.enabled:
        return
    listener = listeners.stranger_at(config.web.bind, daemon)
    if listener is None:
        yield ok(f"page: {config.web.bind}")
    else:
        message = f"page: {listener} listens at {config.web.bind}, so the page would not be there"
        yield doubtful(f"{message}; stop it, or set [web] bind")


# Disks


def _disks(config: Config) -> Iterator[Finding]:
    for one in disk_space.rooms(config.daemon.directories):
        yield ok(f"disk: {one}") if one.trouble is None else doubtful(one.trouble)
    runtime_dir = config.daemon.runtime_dir
    kind = disk_space.kind_of(disk_space.existing(runtime_dir))
    if kind not in (None, "tmpfs", "ramfs"):
        message = f"runtime_dir: {runtime_dir} is on {kind}, no tmpfs: what is in it costs writes to a disk"
        yield remark(f"{message}, and outlives the boot; take a directory below /run, or $XDG_RUNTIME_DIR")


def _path(config: Config) -> Iterator[Finding]:
    """What of `[app] path` is not there: Python passes over it, and all that is missing is a class."""
    for path in config.app.path:
        try:
            path.stat()
        except OSError as error:
            yield remark(
                f"path: {path}: {error.strerror}; nothing can be imported from there, see [app] path"
            )


# The users of classes


def _users(config: Config) -> Iterator[Finding]:
    """Whether those whom attempts run as can read what they import; the mode bits decide, ACLs are not looked at."""
    if os.geteuid() != 0:
        return  # nobody is another user then, as `limits` tells
    for account, classes in _accounts(config).items():
        who = account.name or f"uid {account.uid}"
        obstacles = [
            (path, obstacle)
            for path in _needed(config)
            if (obstacle := _try_obstacle(account, path)) is not None
        ]
        for path, obstacle in obstacles:
            message = f"user {who}, of {', '.join(classes)}, cannot read {path}: {obstacle}"
            yield doubtful(f"{message}; what a job imports later would fail: let that user read it")
        if not obstacles:
            yield ok(f"user {who} can read the interpreter and [app] path")


def _accounts(config: Config) -> dict[Account, list[str]]:
    accounts: dict[Account, list[str]] = {}
    for name in config.approved:
        account = limits.limits_of(config, name).account
        if account is not None and account.uid != 0:
            accounts.setdefault(account, []).append(name)
    return accounts


def _needed(config: Config) -> list[Path]:
    python = shutil.which(config.app.python or sys.executable)
    return [*([] if python is None else [Path(python)]), *config.app.path]


def _try_obstacle(account: Account, path: Path) -> str | None:
    """What keeps the account from reading the path, which may be a link; None where nothing does."""
    real = Path(os.path.realpath(path))
    for above in (*reversed(path.parents), *reversed(real.parents)):
        if not _may(account, above, _PASS):
            return f"{above} does not let it pass ({_rights(above)})"
    is_directory = real.is_dir()
    if not _may(account, real, _READ | _PASS if is_directory else _READ):
        return f"{real} is not for it to read ({_rights(real)})"
    return None


def _may(account: Account, path: Path, wanted: int) -> bool:
    """As the kernel decides: as owner, else by a group, else as anybody (path_resolution(7)). What is not there may."""
    try:
        found = path.stat()
    except OSError:
        return True
    if found.st_uid == account.uid:
        granted = found.st_mode >> 6
    elif found.st_gid in (account.gid, *account.groups):
        granted = found.st_mode >> 3
    else:
        granted = found.st_mode
    return granted & wanted == wanted


def _rights(path: Path) -> str:
    found = path.stat()
    return f"mode {stat.S_IMODE(found.st_mode):04o}, uid {found.st_uid}, gid {found.st_gid}"
