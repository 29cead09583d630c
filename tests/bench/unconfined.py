"""bgjobd whose attempts are not confined, to measure what confining them costs: for the benchmark alone.

Started with bgjobd's arguments it is the daemon; started from its fork server's place it is that.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from bgjobd.forkserver import __main__ as start


def _daemon() -> int:
    from bgjobd import main
    from bgjobd.supervisor import fork_server_link

    if not hasattr(fork_server_link, "PROGRAM"):
        raise AttributeError("the fork server's program has another name, and would be confined")
    fork_server_link.PROGRAM = Path(__file__)
    return main.main()


def _fork_server(link_fd: int) -> None:
    start._load()
    sandbox = importlib.import_module(f"{start._NAME}.sandbox")
    sandbox.give_up_privileges = lambda: None
    sandbox.Sandbox.enter = _close_only
    importlib.import_module(f"{start._NAME}.server").main(link_fd)


def _close_only(self: object, name: str) -> None:
    """What is left of it: the job would have the fork server's descriptors otherwise."""
    self._close(name)  # type: ignore[attr-defined]


if __name__ == "__main__":
    if sys.argv[1].isdecimal():
        _fork_server(int(sys.argv[1]))
    sys.exit(_daemon())
