"""What an attempt is confined to: its limits, its directory, its user, its files. The fork server prepares what all
attempts of a class share; the child enters it before the first line of the job's code. No rule about jobs is here.
"""

from __future__ import annotations

import errno
import math
import os
import resource
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

from . import landlock, libc, network
from .cgroup import Group, Groups

_SET_NO_NEW_PRIVS: Final = 38
"""PR_SET_NO_NEW_PRIVS of linux/prctl.h."""

MAY_BE_LESS_NICE: Final = 23
MAY_RAISE_LIMITS: Final = 24
"""CAP_SYS_NICE and CAP_SYS_RESOURCE of linux/capability.h: the root of a container often has neither."""

_RESERVE: Final = 16 * 1024 * 1024
"""Bytes by which an attempt may exceed its limits of memory and file size, to record how it ended."""

_NO_ROOM: Final = (errno.EDQUOT, errno.ENOSPC)

PRIVATE: Final = 0o077
"""The umask of attempts whose class has none of its own: what they make is for their user alone."""

_MEMORY: Final = resource.RLIMIT_DATA
_WITH_RESERVE: Final = (_MEMORY, resource.RLIMIT_FSIZE)

_WRITABLE_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")


class SandboxError(Exception):
    """The attempt could not be confined as its class asks, so its method was not called."""


class Account(NamedTuple):
    """Whom an attempt runs as; `home` and `name` are empty where only the group was given."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str
    home: str


class Limits(NamedTuple):
    """What an attempt may use, None is no limit: bytes, seconds of CPU time, cores, descriptors, processes, bytes.

    `writable` are the paths below which it may write; None: wherever its user may. `umask` is what is taken from the
    modes of what it makes. `exit_grace` are the seconds for what ends with it; of `exit_handlers` "own" are those that
    it has registered itself, "all" those of imports too.
    `network` is what they do without, one of the network module's; None: nothing.
    """

    memory: int | None = None
    cpu: float | None = None
    cpu_share: float | None = None
    open_files: int | None = None
    processes: int | None = None
    file_size: int | None = None
    nice: int | None = None
    account: Account | None = None
    writable: tuple[str, ...] | None = None
    umask: int = PRIVATE
    exit_grace: float = 5.0
    exit_handlers: str = "own"
    network: str | None = None

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Limits:
        """The limits as JSON has them; names that this version does not know are left out."""
        known = {name: value for name, value in message.items() if name in cls._fields and value is not None}
        if "account" in known:
            known["account"] = Account(**{**known["account"], "groups": tuple(known["account"]["groups"])})
        if "writable" in known:
            known["writable"] = tuple(known["writable"])
        return cls(**known)


class Exceeded(NamedTuple):
    """Which limit an error was about: `memory` or `output`; how much was used, and how much may be. Bytes."""

    limit: str
    used: int
    most: int


class Ground(NamedTuple):
    """Where attempts live: the directory of their working directories, a descriptor of it, what none may read.

    `stops` is where an attempt finds the reason why it is stopped; `exposed` by how much the kernel's OOM killer
    prefers it.
    """

    work: str
    work_fd: int
    unreadable: tuple[str, ...]
    stops: str
    groups: Groups | None
    exposed: int = 0


def give_up_privileges() -> None:
    """For the fork server and all that it forks: no program run gains rights by its owner, and no core is dumped."""
    libc.prctl(_SET_NO_NEW_PRIVS, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def has_capability(number: int) -> bool:
    """Whether this process has the capability (capabilities(7))."""
    return bool(libc.capabilities() >> number & 1)


def oom_score_adj() -> int:
    """By how much the kernel's OOM killer spares or prefers this process (proc_pid_oom_score_adj(5))."""
    try:
        descriptor = os.open("/proc/self/oom_score_adj", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return int(os.read(descriptor, 16))
    finally:
        os.close(descriptor)


class Shared(NamedTuple):
    """What the attempts of all classes have from their fork server: rulesets under which they can signal nobody
    outside, the second without TCP, and a network with nothing in it; None where none asks for it, or it cannot be had.
    """

    signal_scope: int | None = None
    no_tcp: int | None = None
    no_network: network.Space | None = None

    @classmethod
    def made_for(cls, asked: Iterable[Limits]) -> Shared:
        """What these ask for. Whoever misses what it asks for is refused when it enters."""
        wanted = {limits.network for limits in asked}
        no_network = None
        if network.NONE in wanted:
            with suppress(OSError):
                no_network = network.make(libc.capabilities())
        return cls(
            landlock.signal_scope() if landlock.has_signal_scope() else None,
            landlock.no_tcp() if network.NO_TCP in wanted and landlock.has_tcp_rules() else None,
            no_network,
        )

    def close(self) -> None:
        for ruleset in (self.signal_scope, self.no_tcp):
            if ruleset is not None:
                os.close(ruleset)
        if self.no_network is not None:
            self.no_network.close()


class Sandbox:
    """A class's. `enter` is for the child; what fails there fails the attempt before its method is called."""

    def __init__(self, limits: Limits, ground: Ground, shared: Shared) -> None:
        self._limits = limits
        self.exit_grace, self.runs_all_handlers = limits.exit_grace, limits.exit_handlers == "all"
        self.must_forget_handlers = False
        self._ground = ground
        self._shared = shared
        self._rlimits = _rlimits(limits)
        self._most_memory = next(((hard, hard) for which, _, hard in self._rlimits if which == _MEMORY), None)
        self._must_forgive = oom_score_adj() != ground.exposed
        self.limits_files = limits.file_size is not None
        """Whether files that the attempt writes have a largest size."""
        is_alone = limits.network == network.NONE
        steps: tuple[tuple[str, Callable[[str], None], bool], ...] = (
            ("cgroup", self._join_group, ground.groups is not None),
            ("limits", self._set_limits, True),
            ("working directory", self._hand_over_directory, True),
            ("network", self._leave_network, is_alone),
            ("user", self._change_user, is_alone or limits.account is not None),
            ("working directory", self._enter_directory, True),
            ("Landlock", self._lock_up, True),
            ("descriptors", self._close, True),
        )
        self._steps = [(what, step) for what, step, is_wanted in steps if is_wanted]

    def make_directory(self, name: str) -> None:
        """Make the directory that the attempt of this name works in, for its user's quota to take. Raises OSError."""
        os.mkdir(name, 0o700, dir_fd=self._ground.work_fd)
        try:
            self._give_directory(name)
        except (OSError, OverflowError) as error:
            if isinstance(error, OSError) and error.errno in _NO_ROOM:
                self.remove_directory(name)
                raise
            # Anything else does not pass by itself: `enter` meets it again, and tells.

    def _give_directory(self, name: str) -> None:
        account = self._limits.account
        if account is not None:
            os.chown(name, account.uid, account.gid, dir_fd=self._ground.work_fd, follow_symlinks=False)

    def remove_directory(self, name: str) -> None:
        """Have no such directory: the attempt does not start."""
        with suppress(OSError):
            os.rmdir(name, dir_fd=self._ground.work_fd)

    def enter(self, name: str) -> None:
        """Confine this process, for good; `name` is its attempt's, unique on this machine, whose directory is made.

        Raises SandboxError, and MemoryError where its own limit leaves no room for even that.
        """
        for what, step in self._steps:
            try:
                step(name)
            except (OSError, ValueError, OverflowError) as error:
                raise SandboxError(f"the attempt's {what} could not be set up: {error}") from None

    def _join_group(self, name: str) -> None:
        if self._ground.groups is not None:
            limits = self._limits
            Group.make(self._ground.groups, name, limits.memory, limits.processes, limits.cpu_share).enter()

    def _set_limits(self, name: str) -> None:
        os.umask(self._limits.umask)
        for which, soft, hard in self._rlimits:
            resource.setrlimit(which, (soft, hard))
        limits = self._limits
        if limits.processes is not None and not self._has_pids_controller():
            uid = os.getuid() if limits.account is None else limits.account.uid
            most = _others_of(uid) + limits.processes
            resource.setrlimit(resource.RLIMIT_NPROC, _within(resource.RLIMIT_NPROC, most, most))
        if limits.nice is not None:
            os.setpriority(os.PRIO_PROCESS, 0, limits.nice)
        if self._must_forgive:
            _forgive(self._ground.exposed)

    def _has_pids_controller(self) -> bool:
        return self._ground.groups is not None and "pids" in self._ground.groups.controllers

    def _hand_over_directory(self, name: str) -> None:
        self._give_directory(name)
        os.environ["TMPDIR"] = f"{self._ground.work}/{name}"
        if "tempfile" in sys.modules:
            vars(sys.modules["tempfile"])["tempdir"] = None  # it may have been asked for at import

    def _leave_network(self, name: str) -> None:
        if self._shared.no_network is None:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        self._shared.no_network.enter()

    def _give_up(self) -> None:
        if self._limits.network == network.NONE and self._shared.no_network is not None:
            self._shared.no_network.give_up()

    def _change_user(self, name: str) -> None:
        account = self._limits.account
        if account is None:
            self._give_up()
            return
        os.setgroups(account.groups)
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
        self._give_up()
        _check_user(account)
        if account.name:
            os.environ.update(HOME=account.home, USER=account.name, LOGNAME=account.name)

    def _enter_directory(self, name: str) -> None:
        mode = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        own = os.open(name, mode, dir_fd=self._ground.work_fd)  # whatever stands at its path by now
        os.fchdir(own)
        os.close(own)

    def _lock_up(self, name: str) -> None:
        writable, has_tcp = self._limits.writable, self._limits.network != network.NO_TCP
        if writable is None or not landlock.has_file_rules():
            ruleset = self._shared.signal_scope if has_tcp else self._shared.no_tcp
            if ruleset is not None:
                landlock.restrict_self(ruleset)
            elif not has_tcp:
                raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
            return
        # All but what is unreadable, of which something may go away while it is listed.
        reads = [(path, landlock.READS) for path in landlock.around(self._ground.unreadable)]
        # For whoever opens /dev/stdout; no rule is for a pipe.
        output = ("/proc/self/fd/1", landlock.WRITE_FILE)
        ruleset = landlock.file_rules(self._own_rules(name, writable), [output, *reads], has_tcp)
        landlock.restrict_self(ruleset)
        os.close(ruleset)

    def _own_rules(self, name: str, writable: tuple[str, ...]) -> list[tuple[str, int]]:
        """Its directory, what its class lists, and why it is stopped."""
        own = [
            (path, landlock.READS | landlock.WRITES) for path in (*writable, f"{self._ground.work}/{name}")
        ]
        devices = [(path, landlock.WRITE_FILE) for path in _WRITABLE_DEVICES if os.path.exists(path)]
        return [*own, *devices, (self._ground.stops, landlock.READ_FILE)]

    def _close(self, name: str) -> None:
        os.close(self._ground.work_fd)
        self._shared.close()

    def leave_room(self) -> None:
        """Let this process take a little more than its limits, for the record of how it ended.

        There may be no memory left, not even for a loop: of that it may have more first, by what is there already.
        """
        if self._most_memory is not None:
            try:  # noqa: SIM105  what suppresses would take memory
                resource.setrlimit(_MEMORY, self._most_memory)
            except ValueError:
                pass  # the job itself has lowered it
        for which, _, _ in self._rlimits:
            if which in _WITH_RESERVE:
                hard = resource.getrlimit(which)[1]
                resource.setrlimit(which, (hard, hard))

    @contextmanager
    def room_in_files(self) -> Iterator[None]:
        """Let this process write beyond its limit meanwhile, for a record: of those there are bounds of their own."""
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (before[1], before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    def exceeded(self, error: BaseException) -> Exceeded | None:
        """The limit that this error is about; None where it is about none."""
        limits = self._limits
        if limits.memory is not None and _is_about_memory(error):
            return Exceeded("memory", _memory_used(), limits.memory)
        is_too_large = isinstance(error, OSError) and error.errno == errno.EFBIG
        if is_too_large and limits.file_size is not None and _size_of_output() >= limits.file_size:
            return Exceeded("output", _size_of_output(), limits.file_size)
        return None

    def hint(self, error: BaseException) -> str | None:
        """What the error has to do with a limit, for whoever reads it; None where it has nothing to do with one."""
        name = _limit_behind(error)
        if name == "processes" and os.getuid() == 0 and not self._has_pids_controller():
            return None  # RLIMIT_NPROC is not for root
        most = None if name is None else getattr(self._limits, name)
        return None if most is None else f"its limit is {name} = {most}"


_HINTS: Final[Mapping[int, str]] = {
    errno.EAGAIN: "processes",
    errno.EMFILE: "open_files",
    errno.EFBIG: "file_size",
}
"""Which limit makes the kernel answer this."""


def _limit_behind(error: BaseException) -> str | None:
    """The name of the limit that such an error comes from; None where it comes from none."""
    if isinstance(error, OSError):
        return _HINTS.get(error.errno if isinstance(error.errno, int) else 0)  # whatever it was made of
    is_of_thread = isinstance(error, RuntimeError) and error.args == ("can't start new thread",)
    return "processes" if is_of_thread else None


def _rlimits(limits: Limits) -> list[tuple[int, int, int]]:
    """The kernel's own limits, each soft and hard; of some the attempt may take back a little at its end."""
    cpu = None if limits.cpu is None else math.ceil(limits.cpu)
    own = max(0, _memory("VmData") - (limits.memory or 0))  # which each attempt begins with
    asked = (
        (_MEMORY, limits.memory, own + _RESERVE),
        (resource.RLIMIT_FSIZE, limits.file_size, _RESERVE),
        (resource.RLIMIT_CPU, cpu, 1),
        (resource.RLIMIT_NOFILE, limits.open_files, 0),
    )
    return [(which, *_within(which, most, most + more)) for which, most, more in asked if most is not None]


def _within(which: int, soft: int, hard: int) -> tuple[int, int]:
    """The limit, with no more to take back than this process may have, nor than the kernel has numbers for."""
    soft, hard = min(soft, sys.maxsize), min(hard, sys.maxsize)
    highest = resource.getrlimit(which)[1]
    if highest == resource.RLIM_INFINITY or has_capability(MAY_RAISE_LIMITS):
        return soft, hard
    return min(soft, highest), min(hard, highest)


def _others_of(uid: int) -> int:
    """How many threads of this user there are, but for this process: what RLIMIT_NPROC counts (getrlimit(2))."""
    found = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal() and entry.name != str(os.getpid()):
            try:
                found += len(os.listdir(f"{entry.path}/task")) if entry.stat().st_uid == uid else 0
            except OSError:
                continue  # it has ended
    return found


def _check_user(account: Account) -> None:
    """Raises PermissionError unless every id is the account's, and there is no way back."""
    ids = (os.getresuid(), os.getresgid(), tuple(sorted(os.getgroups())))
    wanted = ((account.uid,) * 3, (account.gid,) * 3, tuple(sorted(account.groups)))
    if ids != wanted:
        raise PermissionError(errno.EPERM, f"user and groups are {ids} and not {wanted}")
    if account.uid != 0:
        try:
            os.setuid(0)
        except PermissionError:
            return
        raise PermissionError(errno.EPERM, "the user could be changed back to root")


def _forgive(exposed: int) -> None:
    """Take back what protects the daemon from the kernel's OOM killer; only root can take back what exposes it."""
    with suppress(PermissionError), open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
        file.write(b"%d" % exposed)


def _memory_used() -> int:
    """What this process has now, or its highest residence: much may have been given back since the error."""
    return _memory("VmData", "VmHWM")


def _memory(*names: str) -> int:
    """The largest of these in bytes; VmData is what RLIMIT_DATA counts. 0 where none is told."""
    try:
        status = libc.status()
        return max(int(status[name].split()[0]) for name in names) * 1024
    except (OSError, ValueError, KeyError, MemoryError):
        return 0


def _is_about_memory(error: BaseException) -> bool:
    """Whether it is a MemoryError, or a group with one, as a TaskGroup raises."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(_is_about_memory, error.exceptions))
    return isinstance(error, MemoryError)


def _size_of_output() -> int:
    try:
        return os.fstat(1).st_size
    except OSError:
        return 0
