"""The fork server's loop: imports the approved classes once, then forks, reaps and reports; it decides nothing.

It outlives its daemon: after the end of the link it forks no more, and goes on reaping and writing exit records
until its last child is gone, for an exit status needs a living parent.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

from . import calls, child, loading, wire
from . import journal as journals
from .identity import has_pidfs


def main(link_fd: int) -> NoReturn:
    """Serve the daemon at the other end of the inherited socket `link_fd`, until both it and all children are gone."""
    _Server(link_fd).serve()
    os._exit(0)


class _Server:
    def __init__(self, link: int) -> None:
        self._link = link
        self._decoder = wire.Decoder()
        self._inbox: list[wire.Message] = []
        self._is_linked = True
        self._is_draining = False
        self._children: dict[int, child.Order] = {}
        self._approved: dict[str, calls.Approved] = {}
        self._place: child.Place | None = None
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def serve(self) -> None:
        os.set_inheritable(self._link, False)
        poll = select.poll()
        poll.register(self._link, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        while (self._is_linked and not self._is_draining) or self._children:
            for descriptor, _ in poll.poll():
                if descriptor == self._wake_read:
                    os.read(self._wake_read, 4096)
                elif not self._receive():
                    poll.unregister(self._link)
            for message in self._taken():
                self._obey(message)
            self._reap()

    # The link

    def _receive(self) -> bool:
        """Take what the daemon sent; False at the end of the link. A reset may come before the last messages."""
        try:
            data = os.read(self._link, 65536)
        except ConnectionResetError:
            return True
        if not data:
            self._is_linked = False
            return False
        self._inbox += self._decoder.feed(data)
        return True

    def _taken(self) -> list[wire.Message]:
        messages, self._inbox = self._inbox, []
        return messages

    def _obey(self, message: wire.Message) -> None:
        match message:
            case {"type": "start"}:
                self._start(message)
            case {"type": "configure"}:
                self._configure(message)
            case {"type": "drain"}:
                self._is_draining = True
            case {"type": "signal"}:
                self._signal(message["job"], message["number"], message["signal"])
            case _:
                raise ValueError(f"the daemon sent an unknown message: {message.get('type')!r}")

    def _tell(self, message: wire.Message) -> None:
        try:
            rest = wire.encode(message)
            while rest:
                rest = rest[os.write(self._link, rest) :]
        except (BrokenPipeError, ConnectionResetError):
            return  # the daemon is gone; the journals tell its successor

    # Code

    def _configure(self, message: wire.Message) -> None:
        directory = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        self._place = child.Place(
            spool=os.open(message["spool"], directory),
            output=os.open(message["output"], directory),
            spool_path=message["spool"],
            boot_id=message["boot_id"],
            has_pidfs=has_pidfs(),
        )
        sys.path[:0] = message["path"]
        try:
            loaded = loading.load(message["approved"], message["client"], self._announce)
        except loading.UnfitError as error:
            self._tell({"type": "unfit", "classes": error.classes, "reason": error.reason})
            os._exit(1)
        # After the imports, which may have set handlers of their own.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._approved = loaded.approved
        self._tell({"type": "ready", **loaded.description, **_about_python()})

    def _announce(self, classes: Sequence[str]) -> None:
        self._tell({"type": "loading", "classes": list(classes)})

    # Attempts

    def _start(self, message: wire.Message) -> None:
        order = child.Order(
            message["job"],
            message["number"],
            message["token"],
            message["class_name"],
            message["method_name"],
            json.loads(message["parameters"]),
            tuple(message["sensitive"]),
            message["timeout"],
            message["error"],
        )
        place = self._place
        if place is None:
            raise ValueError("the daemon asked for a start before it configured the fork server")
        try:
            pid = os.fork()
        except (OSError, MemoryError) as error:
            self._report(order, "not_started", reason=str(error))
            return
        if pid == 0:
            inherited = (self._link, self._wake_read, self._wake_write)
            child.run(order, self._approved.get(order.class_name), place, inherited)
        self._children[pid] = order

    def _signal(self, job: int, number: int, signum: int) -> None:
        """Signal an attempt whose journal does not tell its pid. It is not reaped: the pid is its own."""
        for pid, order in self._children.items():
            if (order.job, order.number, order.error) == (job, number, None):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signum)
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signum)

    def _reap(self) -> None:
        """Record, reap and report every child that has ended; the record comes first, so no end goes unseen."""
        while self._children:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                return
            order = self._children.pop(ended.si_pid, None)
            if order is None:
                os.wait4(ended.si_pid, 0)
                continue
            self._settle(order, ended)

    def _settle(self, order: child.Order, ended: os.waitid_result) -> None:
        place = self._place
        if place is None:
            raise ValueError("a child ended before the fork server was configured")
        at, status = time.time(), _status(ended)
        has_begun = _has_begun(place, order, ended.si_pid)
        journal = _try_journal(place, order) if has_begun else None
        if journal is not None:
            _append(journal, journals.exited(ended.si_pid, at, *status))
        _, _, rusage = os.wait4(ended.si_pid, 0)
        if not has_begun:
            reason = "its journal could not be made: the spool is full or gone, or the start was fenced"
            self._report(order, "not_started", reason=reason)
            return
        usage = _usage(rusage, place, order)
        if journal is not None:
            _append(journal, journals.exited(ended.si_pid, at, *status, usage))
            os.close(journal)
        # What the journal has, once more: it may be full, or gone.
        exit_record = {"pid": ended.si_pid, "at": at, "code": status[0], "signal": status[1], "usage": usage}
        self._report(order, "ended", exit=exit_record)

    def _report(self, order: child.Order, what: str, **facts: Any) -> None:
        of = {"job": order.job, "number": order.number, "is_hook": order.error is not None}
        self._tell({"type": what, **of, **facts})


def _has_begun(place: child.Place, order: child.Order, pid: int) -> bool:
    """Whether this child, not yet reaped, made its journal. It leads a session then, which no job can undo; one that
    died in between has its journal to show."""
    if os.getsid(pid) == pid:
        return True
    journal = journals.try_read(place.spool, order.journal)
    return journal is not None and journal.started is not None and bool(journal.started["pid"] == pid)


def _try_journal(place: child.Place, order: child.Order) -> int | None:
    """The attempt's journal, open for appending; None where the job removed it, or put something in its place."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(order.journal, flags, dir_fd=place.spool)
    except OSError:
        return None


def _append(journal: int, line: bytes) -> None:
    try:
        journals.append(journal, line)
    except OSError:
        traceback.print_exc()  # the spool is full; the daemon, if there is one, hears of the end all the same


def _status(ended: os.waitid_result) -> tuple[int | None, int | None]:
    """Exit code and signal, one of them None."""
    return (ended.si_status, None) if ended.si_code == os.CLD_EXITED else (None, ended.si_status)


def _usage(usage: Any, place: child.Place, order: child.Order) -> dict[str, Any]:
    return {
        "max_rss": usage.ru_maxrss * 1024,
        "cpu_user": usage.ru_utime,
        "cpu_system": usage.ru_stime,
        "output_bytes": _output_bytes(place, order),
    }


def _output_bytes(place: child.Place, order: child.Order) -> int:
    """The size of the attempt's output; a file without any is removed."""
    name = journals.file_name(order.job, order.number, "out")
    try:
        size = os.stat(name, dir_fd=place.output, follow_symlinks=False).st_size
        if size == 0:
            os.unlink(name, dir_fd=place.output)
    except OSError:
        return 0  # the job removed it, or put something else there
    return size


def _about_python() -> dict[str, str]:
    return {"python": sys.version.split()[0], "executable": sys.executable}
