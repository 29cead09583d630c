"""The clients of a process that has Django: backends that mean the same daemon share one."""

from __future__ import annotations

import os
from asyncio import AbstractEventLoop, get_running_loop
from typing import TypeAlias

from bgjob import addresses
from bgjob.aio import AsyncClient
from bgjob.client import Client

Daemon: TypeAlias = tuple[str | None, float]
"""Its address, None for where one is looked for, and the seconds that an answer may take."""

_clients: dict[tuple[str, float], Client] = {}
_async_clients: dict[AbstractEventLoop, dict[tuple[str, float], AsyncClient]] = {}


def client(daemon: Daemon) -> Client:
    """The one that all of a process share that mean this daemon."""
    path, timeout = _place(daemon)
    if (path, timeout) not in _clients:
        _clients[path, timeout] = Client(path, timeout=timeout)
    return _clients[path, timeout]


def hurried_client(daemon: Daemon, patience: float) -> Client:
    """The same for whoever waits for an answer as many seconds at most."""
    address, timeout = daemon
    return client((address, min(timeout, patience)))


def async_client(daemon: Daemon) -> AsyncClient:
    """The same of a loop; those of loops that are over by now end here, as each of them has a connection."""
    path, timeout = _place(daemon)
    loop = get_running_loop()
    if loop not in _async_clients:
        for over in [one for one in list(_async_clients) if one.is_closed()]:
            _async_clients.pop(over, None)
    of_loop = _async_clients.setdefault(loop, {})
    if (path, timeout) not in of_loop:
        of_loop[path, timeout] = AsyncClient(path, timeout=timeout)
    return of_loop[path, timeout]


def _place(daemon: Daemon) -> tuple[str, float]:
    """Where the daemon is by now: one that was started later may be somewhere else."""
    address, timeout = daemon
    return addresses.socket_path(address, os.environ, os.path.exists), timeout
