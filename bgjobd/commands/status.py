"""`bgjobd status`: asks how the daemon does, from outside; what that comes to, `status_report` judges.

It is a client of the socket like any other, and looks at the lock first: so one that hangs is told from none, and none
is started, where systemd listens, by asking.
"""

from __future__ import annotations

import http.client
import os
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from bgjob import Client, __version__, text
from bgjob.commands.needs import try_found
from bgjob.errors import (
    BgjobError,
    BrokenError,
    DaemonUnavailableError,
    NoAnswerError,
    PermissionDeniedError,
    SocketDeniedError,
)
from bgjobd.commands import listeners, process_table
from bgjobd.commands.status_report import Answer, Gathered, PageState, Throttling, need_of
from bgjobd.config.sections import Config
from bgjobd.host import clock, lock
from bgjobd.host.disk_space import rooms

_Told = Mapping[str, Any]

TIMEOUT: Final = 5.0
"""Seconds that a daemon, or its page, may take to answer: one that takes longer counts as hanging."""


def gather(config: Config, *, is_named: bool = False) -> Gathered:
    """Ask the daemon, its page, the lock and the disks. Raises what says that this user may not know.

    `is_named`: --config was given.
    """
    state_dir = config.daemon.state_dir
    holder, can_see_lock = process_table.daemon_of(state_dir), _can_see(state_dir)
    is_free = holder is None and can_see_lock
    answer, told, stats, classes, needed = _asked(config.daemon.socket, is_free)
    now = time.time()
    broken = {one["name"]: one for one in classes if one["unavailable"] is not None}
    return Gathered(
        now=now,
        socket=str(config.daemon.socket),
        state_dir=str(state_dir),
        holder=holder,
        can_see_lock=can_see_lock,
        answer=answer,
        told=told,
        stats=stats,
        unavailable={name: one["unavailable"] for name, one in broken.items()},
        hints={name: one["hint"] for name, one in broken.items() if one["hint"] is not None},
        throttled={
            one["name"]: Throttling(until, one["held_by"])
            for one in classes
            if (until := one.get("held_until")) is not None and text.instant(until) > now
        },
        held={one["name"]: one["held"] for one in classes if one.get("held") is not None},
        needs=None if needed is None else tuple(map(need_of, needed)),
        rooms=tuple(rooms(config.daemon.directories)),
        page=_page_of(config, holder) if stats is not None else PageState(None, False),
        is_synchronised=clock.is_synchronised(),
        installed=__version__,
        is_named=is_named,
    )


def _can_see(state_dir: Path) -> bool:
    """Whether a lock would be seen: a directory that is not there has none."""
    try:
        os.stat(state_dir / lock.FILE_NAME)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _asked(
    path: Path, is_free: bool
) -> tuple[Answer, str, _Told | None, Sequence[_Told], Sequence[_Told] | None]:
    """What the socket does, why there are no figures, the figures, the classes, and what needs somebody.

    `is_free`: nobody holds the lock, so whoever listens is no daemon; systemd would start one for who connects.
    """
    listener = listeners.at_path(path) if is_free else None
    if listener is not None:
        return Answer.NOBODY, f"{listener} listens at {path}, where no daemon answers", None, [], None
    with Client(str(path), timeout=TIMEOUT) as client:
        try:
            stats = client.stats()
            # Before code is loaded, whoever asks for the classes waits for it.
            classes = [] if stats["code_version"] is None else client.classes()
            found = try_found(client)
        except (SocketDeniedError, PermissionDeniedError):
            raise
        except NoAnswerError as error:
            return Answer.HANGS, str(error), None, [], None
        except BrokenError as error:  # it has too many connections, or ends
            return Answer.REFUSES, str(error), None, [], None
        except DaemonUnavailableError as error:
            return Answer.NOBODY, str(error), None, [], None
        except BgjobError as error:
            return Answer.REFUSES, str(error), None, [], None
    return Answer.ANSWERS, "", stats, classes, None if found is None else found.needs


def _page_of(config: Config, holder: int | None) -> PageState:
    web = config.web
    address = str(web.bind)
    if not web.enabled or address.endswith(":0"):
        return PageState(None, False)
    shown = address if address.startswith("unix:") else f"http://{address}{web.base_path}/"
    stranger = None if holder is None else listeners.stranger_at(web.bind, holder)
    if stranger is not None:
        return PageState(shown, False, str(stranger))
    return PageState(shown, _answers(address, web.base_path))


def _answers(address: str, base_path: str) -> bool:
    """Whether the page says that it is well; it takes no login for that."""
    with closing(_connection(address)) as connection:
        try:
            connection.request("GET", f"{base_path}/healthz")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False


def _connection(address: str) -> http.client.HTTPConnection:
    if address.startswith("unix:"):
        return _UnixConnection(address.removeprefix("unix:"))
    host, _, port = address.rpartition(":")
    return http.client.HTTPConnection(_ANY.get(host, host).strip("[]"), int(port), timeout=TIMEOUT)


_ANY: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
"""Where a page that listens everywhere is reached from here."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)
