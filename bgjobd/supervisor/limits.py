"""The limits of a class as its attempts get them, and what enforces each on this machine; who can have none is told."""

from __future__ import annotations

import grp
import os
import pwd
import resource
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from bgjobd.config.approved import ClassPolicy
from bgjobd.config.policy import first
from bgjobd.config.problems import ConfigError, Problem
from bgjobd.config.sections import Config
from bgjobd.forkserver import landlock
from bgjobd.forkserver.sandbox import (
    MAY_BE_LESS_NICE,
    MAY_RAISE_LIMITS,
    PRIVATE,
    Account,
    Limits,
    has_capability,
)
from bgjobd.host.directories import mode_of
from bgjobd.host.disk_space import existing
from bgjobd.supervisor import cgroups, networks, sparse_files

_BY_FORK_SERVER: Final = ("memory", "cpu", "cpu_share", "open_files", "processes", "file_size", "nice")
_OF_ALL: Final = ("timeout", *_BY_FORK_SERVER, "max_output", "work_limit")
_OF_CLASSES: Final = ("user", "group", "writable")
LIMITS: Final = (*_OF_ALL, *_OF_CLASSES)
"""The keys that limit attempts, in the order in which they are told."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine, and this daemon's rights on it, have to offer."""

    is_root: bool
    highest_open_files: int
    lowest_nice: int
    landlock: int
    controllers: tuple[str, ...]
    can_punch: bool
    has_groups: bool = False
    forbids_landlock: bool = False

    @classmethod
    def here(cls, state_dir: Path, daemon: int | None = None) -> Machine:
        """As it is for this process, or for the daemon with this pid, whose cgroup counts then.

        `state_dir` tells whether the middle of an output can be given up.
        """
        groups = cgroups.prepare(cgroups.find(daemon))
        return cls(
            is_root=os.geteuid() == 0,
            highest_open_files=_highest_open_files(),
            lowest_nice=_lowest_nice(),
            landlock=landlock.version(),
            controllers=() if groups is None else groups.controllers,
            can_punch=_can_punch(existing(state_dir)),
            has_groups=groups is not None,
            forbids_landlock=landlock.is_forbidden(),
        )


def value_of(config: Config, class_name: str, name: str) -> Any:
    """What the class's limit is: its own, else that of [limits]; None where there is none."""
    own = config.approved.get(class_name, ClassPolicy())
    return first(getattr(own, name), getattr(config.limits, name, None))


def limits_of(config: Config, class_name: str) -> Limits:
    """What the fork server puts on an attempt of the class. Raises LookupError for a user or group that is unknown."""
    own = config.approved.get(class_name, ClassPolicy())
    asked = {name: value_of(config, class_name, name) for name in _BY_FORK_SERVER}
    if asked["nice"] is not None and asked["nice"] < _lowest_nice():
        asked["nice"] = None  # best effort
    return Limits(
        **asked,
        account=_account(own.user, own.group) if os.geteuid() == 0 else None,
        writable=None if own.writable is None else tuple(map(str, own.writable)),
        umask=first(own.umask, PRIVATE),
        network=own.network,
        exit_grace=first(own.exit_grace, config.app.exit_grace),
        exit_handlers=first(own.exit_handlers, config.app.exit_handlers),
    )


def message(config: Config) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The limits of approved classes, as the fork server is told them; and of which there are none, and why.

    A user may have gone since the configuration was read, and not everywhere can attempts be kept from the network:
    that is no matter of the other classes.
    """
    limits: dict[str, dict[str, Any]] = {}
    missing: dict[str, str] = {}
    lacks = networks.lacks(own.network for own in config.approved.values())
    for name, own in config.approved.items():
        try:
            limits[name] = _as_json(limits_of(config, name))
        except LookupError as error:
            missing[name] = str(error)
        if own.network in lacks:
            missing[name] = lacks[own.network]
    return limits, missing


def check(config: Config, machine: Machine, may_get_cgroup: bool = False) -> None:
    """Raises ConfigError for limits that nothing enforces here, unless best effort is good enough.

    Where the daemon may get a cgroup that this process does not have, nothing is said of what that could enforce.
    """
    file = str(config.file or "configuration")
    wrong = (*_unknown_accounts(config), *_missing_places(config))
    problems = [Problem(file, key, problem) for key, problem in wrong]
    if not config.limits.best_effort:
        problems += [
            Problem(file, gap.key, f"{gap.text}; {_WAY_OUT}")
            for gap in gaps(config, machine)
            if not (may_get_cgroup and gap.takes_cgroup)
        ]
    if problems:
        raise ConfigError(*problems)


class Gap(NamedTuple):
    """A limit that was asked for by this key, and that nothing enforces; what it lacks; whether a cgroup would do."""

    key: str
    lacks: str
    takes_cgroup: bool = False

    @property
    def text(self) -> str:
        return f"cannot be had here: it {self.lacks}"


@dataclass(frozen=True, slots=True)
class Enforcement:
    """What enforces each limit on this machine, and by class the limits that nothing does."""

    by: Mapping[str, str]
    unenforced: Mapping[str, tuple[str, ...]]
    gaps: tuple[Gap, ...]

    @classmethod
    def here(cls, config: Config) -> Enforcement:
        """As it is for this process. It looks at the disk, and asks for users, who may be known to a server only."""
        machine = Machine.here(config.daemon.state_dir)
        unenforced = {name: tuple(_unenforced(config, machine, name)) for name in config.approved}
        return cls(table(machine), unenforced, tuple(gaps(config, machine)))


def gaps(config: Config, machine: Machine) -> list[Gap]:
    """The limits that were asked for and that nothing enforces here; one of [limits] once for all classes."""
    return list(dict.fromkeys(_gaps(config, machine)))


def table(machine: Machine) -> dict[str, str]:
    """What enforces each limit here, for a class without a `user`, or what it takes to have it enforced; and what
    keeps attempts from signalling others, which nobody has to ask for.
    """
    found = {name: enforced_by(machine, name, None, machine.is_root) for name in LIMITS}
    shown = {name: by or f"nothing: it {_lacks(machine, name)}" for name, by in found.items()}
    has_scope = machine.landlock >= landlock.SCOPES_SINCE
    return shown | {"signals": "Landlock" if has_scope else f"nothing: it {_lacks(machine, 'signals')}"}


def _lacks(machine: Machine, name: str) -> str:
    """What is missing to have the limit of this name enforced here."""
    return _FORBIDDEN if machine.forbids_landlock and name in _BY_LANDLOCK else _LACKS[name]


def enforced_by(machine: Machine, name: str, value: Any, as_root: bool) -> str | None:
    """What enforces the limit of this name and value, for attempts that run as root or not; None where nothing does."""
    return _ENFORCED[name](machine, value, as_root)


def _memory(machine: Machine, value: Any, as_root: bool) -> str:
    return "memory.max, RLIMIT_DATA" if "memory" in machine.controllers else "RLIMIT_DATA"


def _processes(machine: Machine, value: Any, as_root: bool) -> str | None:
    if "pids" in machine.controllers:
        return "pids.max"
    return None if as_root else "RLIMIT_NPROC"  # from which root is exempt


def _open_files(machine: Machine, value: Any, as_root: bool) -> str | None:
    is_too_high = value is not None and value > machine.highest_open_files
    return None if is_too_high else "RLIMIT_NOFILE"


def _nice(machine: Machine, value: Any, as_root: bool) -> str | None:
    return None if value is not None and value < machine.lowest_nice else "setpriority"


def _account_of(machine: Machine, value: Any, as_root: bool) -> str | None:
    return "setresuid" if machine.is_root else None


_ENFORCED: Final[Mapping[str, Callable[[Machine, Any, bool], str | None]]] = {
    "timeout": lambda machine, value, as_root: "the daemon",
    "memory": _memory,
    "cpu": lambda machine, value, as_root: "RLIMIT_CPU",
    "cpu_share": lambda machine, value, as_root: "cpu.max" if "cpu" in machine.controllers else None,
    "open_files": _open_files,
    "processes": _processes,
    "file_size": lambda machine, value, as_root: "RLIMIT_FSIZE",
    "nice": _nice,
    "max_output": lambda machine, value, as_root: "the daemon" if machine.can_punch else None,
    "work_limit": lambda machine, value, as_root: "the daemon",
    "user": _account_of,
    "group": _account_of,
    "writable": lambda machine, value, as_root: "Landlock" if machine.landlock else None,
}

_BY_CGROUP: Final = ("cpu_share", "processes")
_WAY_OUT: Final = "[limits] best_effort = true goes without"

_LACKS: Final[Mapping[str, str]] = {
    "cpu_share": "takes cgroup v2 with the cpu controller, delegated by systemd (Delegate=yes, DelegateSubgroup=) "
    "and not read-only (ReadWritePaths=)",
    "processes": "takes cgroup v2 with the pids controller, or a `user` other than root",
    "open_files": "is above what this process may give (ulimit -Hn, sysctl fs.nr_open)",
    "nice": "takes root, with CAP_SYS_NICE, or LimitNICE= below what the daemon has itself",
    "max_output": "takes a file system that can give up the middle of a file: ext4, xfs, btrfs, tmpfs",
    "user": "takes a daemon that runs as root",
    "group": "takes a daemon that runs as root",
    "writable": "takes a kernel with Landlock (5.13 or newer, and not switched off)",
    "signals": "takes Linux 6.12 or newer, with Landlock",
}
_BY_LANDLOCK: Final = ("writable", "signals")
_FORBIDDEN: Final = "takes Landlock, which the container's seccomp profile forbids"


def _gaps(config: Config, machine: Machine) -> Iterator[Gap]:
    for class_name, own in config.approved.items():
        for name in _unenforced(config, machine, class_name):
            where = f'approved."{class_name}".{name}'
            if getattr(own, name) is None:
                where = f"limits.{name}"
                if name not in config.limits.model_fields_set:
                    continue  # a default that cannot be had is told by whoever misses it
            yield Gap(where, _lacks(machine, name), name in _BY_CGROUP)


def _unenforced(config: Config, machine: Machine, class_name: str) -> Iterator[str]:
    """The limits of the class that nothing enforces here."""
    runs_as_root = machine.is_root and _is_root(config.approved[class_name].user)
    for name in LIMITS:
        value = value_of(config, class_name, name)
        if value is not None and enforced_by(machine, name, value, runs_as_root) is None:
            yield name


def _is_root(user: str | None) -> bool:
    """Whether attempts for which this user is set run as root, where the daemon does."""
    try:
        return user is None or _user(user).pw_uid == 0
    except LookupError:
        return False  # it is told of elsewhere


def _unknown_accounts(config: Config) -> Iterator[tuple[str, str]]:
    """The keys of users and groups that this machine does not know, each with a sentence."""
    for class_name, own in config.approved.items():
        wanted: tuple[tuple[str, str | None, Callable[[str], object]], ...] = (
            ("user", own.user, _user),
            ("group", own.group, _gid),
        )
        for key, name, known in wanted:
            try:
                if name is not None:
                    known(name)
            except LookupError as error:
                yield f'approved."{class_name}".{key}', str(error)


def _missing_places(config: Config) -> Iterator[tuple[str, str]]:
    """The keys of paths that are to be written below and are not there, each with a sentence."""
    for class_name, own in config.approved.items():
        for path in own.writable or ():
            if not mode_of(path):
                where = f'approved."{class_name}".writable'
                yield where, f"names {path}, which is not there; make it, or leave it out"


def _account(user: str | None, group: str | None) -> Account | None:
    """Whom attempts run as, with all groups of that user. Raises LookupError."""
    own_gid = None if group is None else _gid(group)
    if user is None:
        return None if own_gid is None else Account(os.geteuid(), own_gid, (own_gid,), "", "")
    known = _user(user)
    gid = known.pw_gid if own_gid is None else own_gid
    groups = tuple(os.getgrouplist(known.pw_name, gid))
    return Account(known.pw_uid, gid, groups, known.pw_name, known.pw_dir)


def _user(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        raise LookupError(f"there is no user {user} on this machine") from None


def _gid(group: str) -> int:
    try:
        return (grp.getgrgid(int(group)) if group.isdecimal() else grp.getgrnam(group)).gr_gid
    except (KeyError, OverflowError):
        raise LookupError(f"there is no group {group} on this machine") from None


def _as_json(limits: Limits) -> dict[str, Any]:
    values = limits._asdict()
    if limits.account is not None:
        values["account"] = limits.account._asdict()
    return values


def _highest_open_files() -> int:
    """The most descriptors that a process below this one may be granted (getrlimit(2), proc_sys_fs(5))."""
    if has_capability(MAY_RAISE_LIMITS):
        with suppress(OSError, ValueError):
            return int(Path("/proc/sys/fs/nr_open").read_text())
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def _lowest_nice() -> int:
    """The lowest that this process may set, for itself and those below it (setpriority(2), getrlimit(2))."""
    soft = resource.getrlimit(resource.RLIMIT_NICE)[0]
    if has_capability(MAY_BE_LESS_NICE) or soft == resource.RLIM_INFINITY:
        return -20
    return min(os.getpriority(os.PRIO_PROCESS, 0), 20 - soft)


def _can_punch(directory: Path) -> bool:
    try:
        return sparse_files.can_punch(directory)
    except OSError:
        return True  # it is not for this process to write there; the daemon says so where it finds out
