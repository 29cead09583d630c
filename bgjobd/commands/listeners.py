"""Who listens at a socket or a port, as the kernel's own lists tell: nobody is asked, or started by asking."""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bgjobd.commands import process_table
from bgjobd.config.values import Address, TcpAddress
from bgjobd.forkserver import process_identity

_TAKES_CONNECTIONS: Final = 0x10000
"""The flag of a socket that does, in /proc/net/unix."""

_SOCKET: Final = re.compile(
    r"[0-9a-f]+: [0-9A-F]+ [0-9A-F]+ (?P<flags>[0-9A-F]{8}) [0-9A-F]+ [0-9A-F]+ +(?P<inode>[0-9]+) (?P<name>/.*)"
)
"""A socket that has a name in the file system: "0000000000000000: 00000002 00000000 00010000 0001 01 28411 /a.sock"."""

_PORT: Final = re.compile(
    r" *[0-9]+: (?P<host>[0-9A-F]+):(?P<port>[0-9A-F]{4}) [0-9A-F:]+ 0A [0-9A-F]+:[0-9A-F]+ [0-9A-F]+:[0-9A-F]+ "
    r"[0-9A-F]+ +(?P<uid>[0-9]+) +[0-9]+ (?P<inode>[0-9]+) .*"
)
"""A port that somebody listens at: "0: 0100007F:20B9 00000000:0000 0A 00000000:00000000 00:00000000 00000000 1000 0
28411 1 0000000000000000 100 0 0 10 0", in /proc/net/tcp and tcp6.
"""

_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Listener:
    """Who listens: `pid` is None where that is not for this user to see, `uid` where the kernel tells no user."""

    pid: int | None = None
    is_systemd: bool = False
    uid: int | None = None

    def __str__(self) -> str:
        if self.pid is not None:
            return f"{'systemd' if self.is_systemd else 'another program'} (pid {self.pid})"
        return "systemd, or another program," if self.uid is None else f"a program of uid {self.uid}"


def stranger_at(address: Address, daemon: int | None) -> Listener | None:
    """Who listens at the page's address, and is surely no page of this daemon; None where that is not known."""
    found = _at_port(address) if isinstance(address, TcpAddress) else at_path(address.path)
    if found is None or daemon is None:
        return found
    try:
        if found.pid is not None:
            is_own = process_identity.parent(found.pid) == daemon
        else:
            is_own = found.uid in (None, os.stat(f"/proc/{daemon}").st_uid)
    except OSError:
        return None  # one of the two has just ended
    return None if is_own else found


def at_path(path: Path) -> Listener | None:
    """Who listens at the Unix socket, None where nobody does; where it is systemd, whoever connects starts a daemon."""
    try:
        text = os.fsdecode(Path("/proc/net/unix").read_bytes())
    except OSError:
        return None
    # A name may hold anything but NUL, even what looks like a line of its own: what does not fit is no line.
    found = filter(None, map(_SOCKET.fullmatch, text.split("\n")))
    bound = [
        row["inode"]
        for row in found
        if int(row["flags"], 16) & _TAKES_CONNECTIONS and _is_at(row["name"], path)
    ]
    return _owner(bound[0]) if bound else None


def _is_at(name: str, path: Path) -> bool:
    """Whether that name, which the socket was bound to, leads to the file that is at the path."""
    try:
        return os.path.basename(name) == path.name and os.path.samefile(name, path)
    except OSError:
        return False


def _at_port(address: TcpAddress) -> Listener | None:
    """Who listens at the port, so that nobody else can at this address; None where nobody does, or for other names."""
    try:
        wanted = ipaddress.ip_address("127.0.0.1" if address.host == "localhost" else address.host)
    except ValueError:
        return None
    for row in _ports():
        if int(row["port"], 16) == address.port and _clash(_ip(row["host"]), wanted):
            return replace(_owner(row["inode"]), uid=int(row["uid"]))
    return None


def _ports() -> Iterator[re.Match[str]]:
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            text = os.fsdecode(Path("/proc/net", table).read_bytes())
            yield from filter(None, map(_PORT.fullmatch, text.split("\n")))


def _ip(written: str) -> _Ip:
    """The address that the kernel has written as words in this machine's order of bytes."""
    words = (int(written[at : at + 8], 16) for at in range(0, len(written), 8))
    return ipaddress.ip_address(b"".join(word.to_bytes(4, sys.byteorder) for word in words))


def _clash(one: _Ip, other: _Ip) -> bool:
    """Whether nobody can listen at both of them; who listens at "::" has all of IPv4 as well."""
    wide = [ip.version for ip in (one, other) if ip.is_unspecified]
    return one == other or 6 in wide or (bool(wide) and one.version == other.version)


def _owner(inode: str) -> Listener:
    """Who has the socket open; systemd where it is one of several, for it gives the daemon its own."""
    pids = [pid for pid in process_table.pids() if process_table.has_open(pid, f"socket:[{inode}]")]
    owners = [Listener(pid, _is_systemd(pid)) for pid in pids]
    return max(owners, key=lambda owner: owner.is_systemd, default=Listener())


def _is_systemd(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_bytes() == b"systemd\n"
    except OSError:
        return False
