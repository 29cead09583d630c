"""Where the daemon's socket is; nobody looks there yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

_SYSTEM_SOCKET: Final = "/run/bgjobd.sock"


def socket_path(address: str | None, environ: Mapping[str, str], exists: Callable[[str], bool]) -> str:
    """The socket's path: the address given, $BGJOBD_SOCKET, the person's, else the system's."""
    given = address or environ.get("BGJOBD_SOCKET")
    if given:
        return given.removeprefix("unix:")
    runtime_dir = environ.get("XDG_RUNTIME_DIR")
    own = f"{runtime_dir}/bgjobd.sock" if runtime_dir else ""
    return own if own and exists(own) else _SYSTEM_SOCKET
