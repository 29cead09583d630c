"""A small daemon that says what a test tells it to, on a real socket, and keeps what it was asked."""

from __future__ import annotations

import base64
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from bgjob.codec import FrameReader, JsonObject, Reply, Request, parse_request
from bgjob.errors import BrokenError
from bgjob.words import INTERFACE
from tests.support import eventually

Script = Callable[["Line", Request], None]
"""What is done about one request; a script that hangs up ends the connection."""


class Line:
    """One connection of the scripted daemon; `number` counts them from 1."""

    def __init__(self, peer: socket.socket, number: int) -> None:
        self.peer = peer
        self.number = number
        self.is_open = True

    def reply(self, **parameters: Any) -> None:
        self._send(Reply(parameters))

    def more(self, **parameters: Any) -> None:
        self._send(Reply(parameters, continues=True))

    def refuse(self, error: str, **parameters: Any) -> None:
        self._send(Reply(parameters, error=f"{INTERFACE}.{error}"))

    def send(self, data: bytes) -> None:
        with suppress(OSError):
            self.peer.sendall(data)

    def hang_up(self) -> None:
        self.is_open = False

    def wait_for_hang_up(self) -> None:
        """Returns once the client has closed its end."""
        with suppress(OSError):
            while self.peer.recv(65536):
                pass
        self.is_open = False

    def _send(self, reply: Reply) -> None:
        self.send(reply.to_bytes())


class ScriptedDaemon:
    """Listens at `path`; `asked` are the requests in the order of their coming, `lines` the connections made."""

    def __init__(self, path: Path, script: Script) -> None:
        self.path = path
        self.asked: list[Request] = []
        self.lines: list[Line] = []
        self._script = script
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None

    def __enter__(self) -> ScriptedDaemon:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def start(self) -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        listener.listen(64)
        self._listener = listener
        self._start(self._accept, listener)

    def stop(self) -> None:
        """Close the listening socket and every connection, as a daemon that is killed does."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self.path.unlink()
            self._listener = None
        for line in self.lines:
            with suppress(OSError):
                line.peer.shutdown(socket.SHUT_RDWR)

    def parameters(self, method: str) -> list[JsonObject]:
        """Those of the requests for one method."""
        return [one.parameters for one in self.asked if one.method == f"{INTERFACE}.{method}"]

    def _start(self, function: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        thread.start()
        self._threads.append(thread)  # who joins it does so while another one starts more

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                peer, _ = listener.accept()
                line = Line(peer, len(self.lines) + 1)
                self.lines.append(line)
                self._start(self._serve, line)

    def _serve(self, line: Line) -> None:
        frames = FrameReader()
        with line.peer, suppress(ConnectionResetError):
            while line.is_open and (data := line.peer.recv(65536)):
                for frame in frames.feed(data):
                    request = parse_request(frame)
                    self.asked.append(request)
                    self._script(line, request)
                    if not line.is_open:
                        break


def method_of(request: Request) -> str:
    return request.method.removeprefix(f"{INTERFACE}.")


WHEN: Final = "2026-11-25T12:00:00.000000Z"
_TARGET: Final = {"class_name": "shop.jobs.Email", "method_name": "send"}
_TIMES: Final = {"scheduled_at": None, "started_at": None, "finished_at": None, "cancel_requested_at": None}
_USED: Final = {"max_rss": None, "cpu_user": None, "cpu_system": None, "output_bytes": None}


def summary(job_id: int, status: str = "pending", attempt: int = 0, **others: Any) -> JsonObject:
    """A job as List tells it."""
    kept = {
        "queue": "default",
        "priority": 0,
        "retry_count": 0,
        "max_retries": 3,
        "error": None,
        "progress": None,
    }
    stamps = {"created_at": WHEN, "updated_at": WHEN}
    own = {"id": job_id, "status": status, "attempt": attempt, "outcome": None}
    own |= {"schedule": None, "occurrence": None, "is_blocked": False, "group_id": None}
    own |= {"key": None, "is_behind": False, "steps": 0, "step": None, "waiting_on": None}
    own |= {"review_since": None, "labels": []}
    return {**own, **_TARGET, **kept, **_TIMES, **_USED, **stamps, **others}


def whole(job_id: int, status: str = "pending", **others: Any) -> JsonObject:
    """A job as Get and Wait tell it, before its first attempt."""
    given = {"parameters": {}, "timeout": None, "retry_delay": 5.0, "backoff": "constant", "result": None}
    submitter = dict.fromkeys(("submitted_uid", "submitted_pid", "submitted_by_job"))
    ties = {"turn": 0, "waits_for": 0, **dict.fromkeys(("if_failed", "cancelled_after", "takes"))}
    return {**summary(job_id, status), **given, **submitter, **ties, "attempts": [], **others}


def group(group_id: int, state: str = "sealed", **others: Any) -> JsonObject:
    """A group as Group and WaitGroup tell it, of three members that have not ended."""
    counts = {"total": 3, "unfinished": 3, "completed": 0, "failed": 0, "cancelled": 0}
    times = {"sealed_at": None if state == "open" else WHEN, "ended_at": None, "created_at": WHEN}
    if state in ("completed", "failed"):
        counts |= {"unfinished": 0, state: 3}
        times["ended_at"] = WHEN
    return {"id": group_id, "name": None, "state": state, "group": None, **counts, **times, **others}


def attempt(number: int, **others: Any) -> JsonObject:
    """One that has not begun."""
    told = ("pid", "outcome", "exit_code", "signal", "error_type", "error_message", "traceback", "progress")
    times = {"started_at": None, "finished_at": None}
    return {"number": number, **dict.fromkeys(told), **times, **_USED, **others}


def running_attempt(job_id: int) -> JsonObject:
    """An attempt whose process has not proved its start."""
    times = {"pid": None, "started_at": None, "cpu": None, "memory": None, "progress": None, "host": None}
    return {"job_id": job_id, "number": 1, **_TARGET, "queue": "default", **times, "expected": None}


STANDING: Final[JsonObject] = {
    "version": "1", "pid": 97, "started_at": WHEN, "slots": 1, "code_version": None, "python": None,
    "loaded_at": None, "storage_trouble": None, "database_bytes": 4096, "jobs": {}, "minutes": [],
    "oldest_pending": None, "queues": [], "usage": None, "counts": None, "held": None, "reload_failure": None,
    "max_connections_per_uid": 64, "blocked": 0, "waiting": 0, "review": 0, "groups_open": 0, "refused_schedules": None,
    "clock_difference": None, "drained_at": None, "hosts": None, "schedules": 0,
    "oldest_snapshot": None, "oldest_snapshot_pid": None,
}  # fmt: skip
"""What Stats tells of a daemon with nothing to do."""


def entry(entry_id: int, message: str = "") -> JsonObject:
    own = {"id": entry_id, "job_id": 1, "attempt": None, "attempts_allowed": None, "type": "info"}
    return {**own, "message": message or f"entry {entry_id}", "created_at": WHEN, **_TARGET}


def tells_and_fails(line: Line, request: Request) -> None:
    """Two log entries and an error, in one piece."""
    told = Reply({"entries": [entry(1), entry(2)], "next": 2, "is_complete": True}, continues=True)
    line.send(told.to_bytes() + Reply({"reason": "x"}, error=f"{INTERFACE}.InternalError").to_bytes())


@contextmanager
def leaves_no_descriptor() -> Iterator[None]:
    """What is done meanwhile leaves no descriptor open in this process, once a scripted daemon has closed its own."""
    before = open_descriptors()
    yield
    eventually(lambda: open_descriptors() <= before)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def part(number: int, offset: int, data: bytes, is_end: bool = False) -> dict[str, Any]:
    """A reply of Output."""
    text = base64.b64encode(data).decode()
    return {
        "number": number,
        "left_out": 0,
        "offset": offset,
        "data": text,
        "next": offset + len(data),
        "is_end": is_end,
    }


def broken(was_sent: bool) -> BrokenError:
    """What a client makes of a connection that the daemon closed."""
    return BrokenError("/run/bgjobd.sock", "the daemon closed it", was_sent)
