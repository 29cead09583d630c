"""A network with nothing in it but loopback: made once for a fork server, by a process that then ends, and entered by
attempts, for which that is a call or two (namespaces(7), network_namespaces(7), user_namespaces(7)).

Who may not make one as it is makes it within a user namespace, where each user is who it is outside.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
from typing import Final, NamedTuple, NoReturn

from . import libc

NONE: Final = "none"
"""`network = false`: nothing but loopback."""

NO_TCP: Final = "no-tcp"
"""Neither connections by TCP nor a port of it, by Landlock."""

_NEW_NET: Final = 0x40000000
_NEW_USER: Final = 0x10000000
"""CLONE_NEWNET and CLONE_NEWUSER of linux/sched.h."""

_ADMIN: Final = 21
_MAP_ALL: Final = 1 << 6 | 1 << 7
_ALL: Final = 2**32 - 1
"""CAP_SYS_ADMIN of linux/capability.h; CAP_SETGID and CAP_SETUID, with which all ids may be mapped."""

_SET_FLAGS: Final = 0x8914
_UP: Final = 0x1 | 0x40
"""SIOCSIFFLAGS of linux/sockios.h; IFF_UP and IFF_RUNNING of linux/if.h."""

_DONE: Final = b"done"
_LONGEST: Final = 1000


class Space(NamedTuple):
    """Such a network, as descriptors; `user` is the user namespace that it is in, None where it is in our own."""

    net: int
    user: int | None

    def enter(self) -> None:
        """Have this process in it, for good. In a user namespace it may do much, until give_up(). Raises OSError."""
        if self.user is not None:
            libc.setns(self.user, _NEW_USER)
        libc.setns(self.net, _NEW_NET)

    def give_up(self) -> None:
        """Have no rights that came with it. Raises OSError."""
        if self.user is not None:
            libc.drop_capabilities()

    def close(self) -> None:
        os.close(self.net)
        if self.user is not None:
            os.close(self.user)


def make(capabilities: int) -> Space:
    """A new one, for a process with these capabilities, a bit each. Raises OSError where it may not have one."""
    is_admin = bool(capabilities >> _ADMIN & 1)
    ours, theirs = _socketpair()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        _be_first(theirs, _NEW_NET if is_admin else _NEW_NET | _NEW_USER)
    os.close(theirs)
    try:
        _expect_done(ours)
        if not is_admin:
            _map_users(pid, may_map_all=capabilities & _MAP_ALL == _MAP_ALL)
        os.write(ours, _DONE)
        _expect_done(ours)
        return Space(_opened(pid, "net"), None if is_admin else _opened(pid, "user"))
    finally:
        os.close(ours)
        os.waitpid(pid, 0)


def _socketpair() -> tuple[int, int]:
    import _socket  # here, for no attempt is to have it because of this

    one, other = _socket.socketpair()
    return one.detach(), other.detach()


def _expect_done(descriptor: int) -> None:
    told = os.read(descriptor, _LONGEST)
    if told != _DONE:
        raise OSError(told.decode("utf-8", "replace") or "the process that was to make it has ended")


def _opened(pid: int, kind: str) -> int:
    return os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)


def _map_users(pid: int, may_map_all: bool) -> None:
    """Say whom the users of its namespace are outside: all themselves, or the one that there is."""
    if not may_map_all:
        _write(pid, "setgroups", "deny")  # else nobody may map a group
    for name, own in (("uid_map", os.geteuid()), ("gid_map", os.getegid())):
        _write(pid, name, f"0 0 {_ALL}" if may_map_all else f"{own} {own} 1")


def _write(pid: int, name: str, text: str) -> None:
    with open(f"/proc/{pid}/{name}", "w", encoding="ascii") as file:
        file.write(text)


def _be_first(descriptor: int, kinds: int) -> NoReturn:
    """In a process of its own: make it, and stay in it until the others have it open."""
    try:
        libc.unshare(kinds)
        os.write(descriptor, _DONE)
        if os.read(descriptor, _LONGEST):
            _raise_loopback()
            os.write(descriptor, _DONE)
            os.read(descriptor, 1)
    except OSError as error:
        os.write(descriptor, str(error).encode()[:_LONGEST])
    finally:
        os._exit(0)


def _raise_loopback() -> None:
    import _socket  # as above

    interface = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    fcntl.ioctl(interface.fileno(), _SET_FLAGS, struct.pack("16sh22x", b"lo", _UP))
    interface.close()


def main(_: int) -> NoReturn:
    """Try it, in a process for nothing else: exits with 0, or with 1 after a line that says why it cannot be had."""
    try:
        space = make(libc.capabilities())
        space.enter()
        space.give_up()
    except OSError as error:
        print(error)
        sys.exit(1)
    sys.exit(0)
