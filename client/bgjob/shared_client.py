"""The client that all of a process shares which has none of its own."""

from __future__ import annotations

import os

from bgjob import addresses
from bgjob.client import Client

_shared: list[Client] = []


def shared_client() -> Client:
    """One for all calls: a client of its own for each job would be a connection for each."""
    path = addresses.socket_path(None, os.environ, os.path.exists)
    if not _shared or _shared[-1]._path != path:
        _shared[:] = [Client(path)]
    return _shared[-1]
