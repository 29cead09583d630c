"""Raw ends of Varlink conversations: bytes out, replies in, and what became of the connection; no rule of a server."""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from bgjob.codec import FrameReader, Reply, Request, parse_reply
from bgjob.words import INTERFACE, SERVICE
from tests.daemon.running import RunningDaemon, children_of, spares_of
from tests.support import eventually

PATIENCE = 20.0
INFO = Request(f"{SERVICE}.GetInfo")
NO_SUCH_METHOD = Request(f"{SERVICE}.NoSuchMethod")
CLOSES = "closes"
GOES_ON = "goes on"
ANSWERS = "answers"


class Peer:
    """One connection to a server whose process is `pid`."""

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self.sock = sock
        self.sock.settimeout(PATIENCE)
        self.pid = pid
        self._frames = FrameReader(max_frame=2**26)
        self._unread: list[bytes] = []

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    def send(self, *sent: Request | bytes) -> None:
        """Send; a server that has closed meanwhile is no error, the replies show it."""
        with suppress(BrokenPipeError, ConnectionResetError):
            for each in sent:
                self.sock.sendall(each.to_bytes() if isinstance(each, Request) else each)

    def say_no_more(self) -> None:
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def try_reply(self) -> Reply | None:
        """The next reply, or None where the server closed the connection."""
        while not self._unread:
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._unread += self._frames.feed(data)
        return parse_reply(self._unread.pop(0))

    def ask(self, request: Request | bytes) -> Reply:
        self.send(request)
        reply = self.try_reply()
        assert reply is not None, "the server closed the connection"
        return reply

    def rest(self) -> list[Reply]:
        """All replies until the server closes the connection."""
        replies = []
        while (reply := self.try_reply()) is not None:
            replies.append(reply)
        return replies

    def fate(self, sent: bytes) -> list[str]:
        """What became of these bytes: each answer, and whether the connection goes on after them."""
        self.send(sent, NO_SUCH_METHOD)
        fate = []
        while (reply := self.try_reply()) is not None:
            if reply.parameters == {"method": NO_SUCH_METHOD.method}:
                return [*fate, GOES_ON]
            fate.append(f"{reply.error} {reply.parameters}" if reply.error else ANSWERS)
        return [*fate, CLOSES]

    def has_news(self) -> bool:
        """Whether a reply has come, or the end."""
        poll = select.poll()  # and not select(), which takes no descriptor beyond 1023
        poll.register(self.sock, select.POLLIN)
        return bool(self._unread or poll.poll(0))

    def settle(self) -> None:
        """Returns when the server has read all that was sent, and waits."""
        eventually(lambda: _unread_bytes(self.sock) == 0 and _sleeps(self.pid))


def connect(running: RunningDaemon) -> Peer:
    sock = socket.socket(socket.AF_UNIX)
    # Without a timeout yet: such a connect gives up at once where the backlog is full.
    sock.connect(str(running.socket))
    return Peer(sock, pid_of(running))


def ours(method: str, **parameters: Any) -> Request:
    """A request of the jobs' interface."""
    return Request(f"{INTERFACE}.{method}", parameters)


# What a daemon has, to be compared


def pid_of(running: RunningDaemon) -> int:
    assert running.process is not None
    return running.process.pid


def open_descriptors(running: RunningDaemon) -> int:
    return len(list(Path(f"/proc/{pid_of(running)}/fd").iterdir()))


def traces(running: RunningDaemon) -> dict[str, Any]:
    """What requests may leave: rows, lines, files, processes, and bugs told in the log."""
    (jobs,), (attempts,), (lines,) = (
        running.query(f"SELECT COUNT(*) FROM {table}")[0]
        for table in ("background_jobs", "job_attempts", "job_logs")
    )
    folders = (running.spool, running.directory / "state" / "output")
    return {
        "jobs": jobs,
        "attempts": attempts,
        "lines": lines,
        "files": sorted(path.name for folder in folders for path in folder.iterdir()),
        "processes": _attempts(running),
        "bugs": [line for line in running.lines() if "bug:" in line],
        "uncaught": [line for line in running.console().splitlines() if _is_uncaught(line)],
    }


@contextmanager
def leaves_nothing(running: RunningDaemon) -> Iterator[None]:
    """What is done meanwhile leaves no row, line, file, process, descriptor or bug behind."""
    _ask_once(running)
    eventually(lambda: is_quiet(running))
    before, descriptors = traces(running), open_descriptors(running)
    yield
    _ask_once(running)
    left: dict[str, Any] = {}

    def is_clean() -> bool:
        nonlocal left  # of one look: at the next a trial of a class may have begun, which has a mark, too
        left = _left(running, before)
        return not left

    with suppress(AssertionError):  # what goes by itself a moment later was not left behind
        eventually(is_clean)
    assert not left, left
    eventually(lambda: open_descriptors(running) <= descriptors)


def _left(running: RunningDaemon, before: dict[str, Any]) -> dict[str, Any]:
    """What there is now that was not there before; what has gone since, as what was still being forked, is not left."""
    now = traces(running)
    rows = {name: count for name, count in now.items() if isinstance(count, int) and count != before[name]}
    more = {name: found for name, found in now.items() if not isinstance(found, int)}
    return rows | {
        name: new
        for name, found in more.items()
        if (new := [one for one in found if one not in before[name]])
    }


def _is_uncaught(line: str) -> bool:
    """Whether asyncio, or the interpreter, says that nobody took care of an exception."""
    return line.startswith(("Exception in", "Exception ignored", "Fatal error")) or "never retrieved" in line


def _ask_once(running: RunningDaemon) -> None:
    """So that the daemon has read what came before, and has opened what it keeps open once it was asked."""
    with connect(running) as witness:
        assert witness.ask(ours("Stats")).error is None


def is_quiet(running: RunningDaemon) -> bool:
    """Whether nothing runs, and what has run is written up."""
    (open_jobs,) = running.query("SELECT COUNT(*) FROM background_jobs WHERE finished_at IS NULL")[0]
    journals = [path for path in running.spool.iterdir() if path.suffix]
    return not open_jobs and not journals and not _attempts(running)


def _attempts(running: RunningDaemon) -> set[int]:
    """The pids of those that run, and of what else the fork server has forked, but for its spares."""
    server = running.fork_server()
    children = set(children_of(server))
    spares = spares_of(server)
    return (children & set(children_of(server))) - spares  # who has ended meanwhile is neither


def _unread_bytes(sock: socket.socket) -> int:
    (size,) = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))
    return int(size)


def _sleeps(pid: int) -> bool:
    return Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"
