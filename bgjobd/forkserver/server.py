"""The fork server's loop: imports the approved classes once, then forks, reaps and reports; it decides nothing.

It outlives its daemon: after the end of the link it forks no more, and goes on reaping and writing exit records
until its last child is gone, for an exit status needs a living parent.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any, Final, NoReturn

from . import (
    allowances,
    child,
    complaints,
    exits,
    host_fence,
    invocation,
    keyring,
    loading,
    printing,
    reaping,
    sandbox,
    spool_names,
    subreaper,
    title,
    wire,
)
from . import journal as journals
from .cgroup import Group, Groups, Surroundings, own_path
from .link import Link
from .looking import Answers
from .order import Order, Place
from .process_identity import has_pidfs
from .spares import Spares
from .strays import Strays


def main(link_fd: int) -> NoReturn:
    """Serve the daemon at the other end of the inherited socket `link_fd`, until both it and all children are gone."""
    subreaper.take_in_orphans()
    printing.take_over()
    sandbox.give_up_privileges()
    keyring.leave()
    _Server(link_fd).serve()
    subreaper.end_all()
    os._exit(0)


_PAUSE: Final = 5
"""Milliseconds in which nothing comes until spares are forked: where one start follows another, each forks its own, for
a process that waits in between has copied more of the memory by then, a fifth of what an attempt costs.
"""


class _Server:
    def __init__(self, link: int) -> None:
        self._link = Link(link)
        self._is_draining = False
        self._children: dict[int, Order] = {}
        self._strays = Strays(self._forked)
        self._approved: dict[str, invocation.Approved] = {}
        self._sandboxes: dict[str, sandbox.Sandbox] = {}
        self._groups: Groups | None = None
        self._around = Surroundings(None)
        self._place: Place | None = None
        self._means: tuple[int, ...] = ()
        self._on_sigpipe: Any = signal.SIG_IGN
        self._show_title = title.made()
        self._log_handlers: list[Any] = []
        self._on_failure: Any = None
        self._answers = Answers()
        self._spares = Spares(0, 0)
        self._fence = host_fence.HostFence(None)
        self._poll = select.poll()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._complaints = complaints.Complaints()
        self._own = (link, self._wake_read, self._wake_write, self._complaints.read_end)
        self._paths: dict[str, str] = {}
        self._place_fds: dict[str, int] = {}

    def serve(self) -> None:
        self._poll.register(self._link.descriptor, select.POLLIN)
        self._poll.register(self._wake_read, select.POLLIN)
        while (self._link.is_open and not self._is_draining) or self._children or self._strays.dying:
            events = self._poll.poll(_PAUSE if self._spares.are_due else None)
            if not events:
                self._fork_spare()
            for descriptor, _ in events:
                if descriptor == self._wake_read:
                    os.read(self._wake_read, 4096)
                elif descriptor in self._fence.filenos:
                    self._mind_fence()
                elif not self._link.receive():
                    self._poll.unregister(self._link.descriptor)
                    self._watch_fence()
            while self._link.inbox:
                self._obey(self._link.inbox.popleft())
            self._reap()
            if not self._link.is_open or self._is_draining:
                self._spares.dismiss()

    def _obey(self, message: wire.Message) -> None:
        match message:
            case {"type": "start"}:
                self._start(message)
            case {"type": "configure"}:
                self._configure(message)
            case {"type": "ping"}:
                self._link.tell({"type": "pong"})
            case {"type": "reopen"}:
                self._reopen()
            case {"type": "drain"}:
                self._is_draining = True
            case {"type": "signal"}:
                self._signal(message["job"], message["number"], message["signal"])
            case _:
                raise ValueError(f"the daemon sent an unknown message: {message.get('type')!r}")

    # Code

    def _configure(self, message: wire.Message) -> None:
        if message["version"] != wire.VERSION:
            self._link.tell({"type": "outdated", "version": wire.VERSION})
            os._exit(1)
        self._place = _place_of(message)
        self._paths = {what: message[what] for what in complaints.MADE_IN}
        self._place_fds = {"spool": self._place.spool, "output": self._place.output}
        self._take_up_fence(message.get("fence"))
        own = _descriptors()
        sys.path[:0] = message["path"]
        subreaper.die_with_parent(True)  # an import that hangs reads no link
        if os.getppid() != message["parent"]:
            os._exit(1)  # it has ended already
        loaded = self._load(message)
        # After the imports, which may have set handlers and a mask of their own.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        # A spare that it writes to may have died.
        self._on_sigpipe = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        listened = self._answers.listen()
        self._approved, self._on_failure = loaded.approved, loaded.on_failure
        subreaper.die_with_parent(False)
        self._strays.leave_helpers()
        left_open = [f"{number} → {place}" for number, place in _descriptors().items() if number not in own]
        self._prepare_sandboxes(message)
        self._means = allowances.now()
        # A daemon that has been running for longer than this code is there asks for none.
        self._spares = Spares(message.get("spares", 0), message.get("slots", 0))
        self._want_spares()
        self._link.tell(
            {
                "type": "ready",
                **loaded.description,
                **_about_python(),
                "left_open": left_open,
                "listens": listened,
            }
        )

    def _take_up_fence(self, path: str | None) -> None:
        self._fence = host_fence.HostFence(path)
        for alarm in self._fence.filenos:
            self._poll.register(alarm, select.POLLIN)

    def _watch_fence(self) -> None:
        """Without a daemon: mind that of the next one as well."""
        self._fence.watch()
        for descriptor in self._fence.filenos:
            self._poll.register(descriptor, select.POLLIN)
        self._mind_fence()

    def _load(self, message: wire.Message) -> loading.Loaded:
        """Import what is approved; where that cannot be, tell the daemon, and end."""
        try:
            return loading.load(message, self._link.tell)
        except loading.UnpreparedError as error:
            self._link.tell({"type": "unprepared", "what": error.what, "reason": str(error)})
        except loading.UnfitError as error:
            self._link.tell({"type": "unfit", "classes": error.classes, "reason": error.reason})
        os._exit(1)

    def _reopen(self) -> None:
        """Let the descriptors of the places lead to what is there now: they were removed, and made again."""
        self._spares.dismiss()  # which have those that lead nowhere
        self._want_spares()
        for what, path in self._paths.items():
            with suppress(OSError):  # the next start tells
                made = _open_directory(path)
                os.dup2(made, self._place_fds[what], inheritable=False)
                os.close(made)

    def _prepare_sandboxes(self, message: wire.Message) -> None:
        self._groups = None if message["groups"] is None else Groups(*message["groups"])
        self._around = Surroundings(own_path() if self._groups is None else None)
        work = self._place_fds["work"] = _open_directory(message["work"])
        unreadable, stops = tuple(message["unreadable"]), message["spool"]
        exposed = message.get("exposed", 0)
        ground = sandbox.Ground(message["work"], work, unreadable, stops, self._groups, exposed)
        asked = {
            name: sandbox.Limits.from_message(limits)
            for name, limits in {"": {}, **message["limits"]}.items()
        }
        shared = sandbox.Shared.made_for(asked.values())
        self._sandboxes = {name: sandbox.Sandbox(limits, ground, shared) for name, limits in asked.items()}
        self._log_handlers = exits.log_handlers()
        _forget_handlers(self._sandboxes.values())

    def _sandbox_of(self, order: Order) -> sandbox.Sandbox:
        """The class's; of one that is not approved any more, whose method is not called, that without limits."""
        return self._sandboxes.get(order.class_name) or self._sandboxes[""]

    # Attempts

    def _start(self, message: wire.Message) -> None:
        order = Order.from_message(message)
        place = self._place
        if place is None:
            raise ValueError("the daemon asked for a start before it configured the fork server")
        if not order.is_hook and not self._fence.may_start():
            self._report(order, "not_started", reason="its host is cut off from the database")
            return
        pid = self._spares.hand_over(order)
        if pid is None:
            lost = allowances.lost(self._means)
            if lost:
                self._give_way(order, lost)
            try:
                pid = os.fork()
            except (OSError, MemoryError) as error:
                self._report(order, "not_started", reason=str(error))
                return
        if pid == 0:
            child.run(order, self._setting(place))
        self._children[pid] = order
        self._want_spares()

    def _want_spares(self) -> None:
        """Have as many as there may be starts until one of those that run has ended."""
        if self._link.is_open and not self._is_draining:
            self._spares.want(len(self._children))

    def _fork_spare(self) -> None:
        """Have one more; where what this process may use was lowered, none: the next start finds out."""
        if allowances.lost(self._means):
            self._spares.put_off()
        else:
            self._spares.fork(self._be_spare)

    def _be_spare(self, pipe: int) -> NoReturn:
        if self._place is None:
            raise ValueError("a spare was forked before the fork server was configured")
        child.run_spare(pipe, self._setting(self._place))

    def _setting(self, place: Place) -> child.Setting:
        """In a child: what it needs; the rest is forgotten."""
        self._forget_others()
        inherited = (*self._own, *self._fence.filenos)
        why = self._complaints.write_end
        of_all = self._approved, self._sandbox_of, place, inherited, why, self._means, self._on_sigpipe
        shown = self._show_title, self._log_handlers
        return child.Setting(*of_all, *shown, self._answers, self._on_failure)

    def _give_way(self, order: Order, lost: Sequence[str]) -> NoReturn:
        """End, so that another takes over: what was taken away cannot be had back, and attempts would be without it.

        Those that run go on, and fall to the daemon.
        """
        message = complaints.lowered(f"the fork server (pid {os.getpid()})", lost)
        self._report(order, "not_started", reason=f"{message}; another takes its place")
        os._exit(allowances.GAVE_WAY)

    def _forget_others(self) -> None:
        """In a child: drop what other attempts were given, which may be another user's secrets."""
        self._spares.close()
        self._children.clear()
        self._link.inbox.clear()  # here, for a call of its own would have each attempt copy more of the memory
        self._link.decoder = wire.Decoder()

    def _signal(self, job: int, number: int, signum: int) -> None:
        """Signal an attempt whose journal does not tell its pid. It is not reaped: the pid is its own."""
        for pid, order in self._children.items():
            if (order.job, order.number, order.error) == (job, number, None):
                _send(pid, signum)

    def _mind_fence(self) -> None:
        """End the attempts that others may repeat, where nobody has moved the host's fence in time."""
        place = self._place
        for pid, signum in self._fence.due(self._children):
            order = self._children[pid]
            if place is not None and _has_begun(place, order, pid):
                host_fence.leave_word(place.spool, order.job, order.number)
            _send(pid, signum)

    def _reap(self) -> None:
        """Record, reap and report every child that has ended."""
        while self._children or self._strays.dying or self._spares.pids:
            ended = subreaper.try_any_end()
            if ended is None:
                return
            order = self._children.pop(ended.si_pid, None)
            if self._spares.try_forget(ended.si_pid):
                os.wait4(ended.si_pid, 0)
            elif order is None:
                os.wait4(ended.si_pid, 0)
                self._strays.on_end(ended.si_pid)
            else:
                self._settle(order, ended)
                self._want_spares()

    def _settle(self, order: Order, ended: os.waitid_result) -> None:
        place = self._place
        if place is None:
            raise ValueError("a child ended before the fork server was configured")
        if not _has_begun(place, order, ended.si_pid):
            os.wait4(ended.si_pid, 0)
            self._fence.forget(ended.si_pid)
            self._report(order, "not_started", **self._complaints.why_not_begun(ended.si_pid, self._paths))
            return
        output = spool_names.file_name(order.job, order.number, "out")
        record = reaping.collect(
            ended,
            place.spool,
            order.journal,
            lambda: reaping.output_bytes(place.output, output),
            self._strays.end,
            None if self._groups is None else Group.of(self._groups, order.directory),
            self._around,
            host_fence.FENCED if self._fence.has_ended(ended.si_pid) else None,
        )
        self._fence.forget(ended.si_pid)
        self._report(order, "ended", exit=record)

    def _forked(self) -> set[int]:
        """The children that are not reaped, spares among them."""
        return self._children.keys() | self._spares.pids

    def _report(self, order: Order, what: str, **facts: Any) -> None:
        of = {"job": order.job, "number": order.number, "is_hook": order.is_hook}
        self._link.tell({"type": what, **of, **facts})


def _send(pid: int, signum: int) -> None:
    """Signal a child that is not reaped, and its group."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signum)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signum)


def _forget_handlers(sandboxes: Collection[sandbox.Sandbox]) -> None:
    """Have what imports have registered run in no attempt; where a class asks for it, in none of the others."""
    if not any(one.runs_all_handlers for one in sandboxes):
        exits.forget_registered()  # here, for each attempt would pay for it
        return
    for one in sandboxes:
        one.must_forget_handlers = not one.runs_all_handlers


def _place_of(message: wire.Message) -> Place:
    return Place(
        spool=_open_directory(message["spool"]),
        output=_open_directory(message["output"]),
        spool_path=message["spool"],
        boot_id=message["boot_id"],
        has_pidfs=has_pidfs(),
        mark=message.get("mark", ""),
    )


def _open_directory(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _descriptors() -> dict[int, str]:
    """What this process has open, by number."""
    found: dict[int, str] = {}
    for number in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError):  # that of the listing itself
            found[number] = os.readlink(f"/proc/self/fd/{number}")
    return found


def _has_begun(place: Place, order: Order, pid: int) -> bool:
    """Whether this child, not yet reaped, made its journal. It leads a session then, which no job can undo; one that
    died in between has its journal to show."""
    if os.getsid(pid) == pid:
        return True
    try:
        journal = journals.try_read(place.spool, order.journal)
    except OSError:
        return True  # it may have
    return journal is not None and journal.started is not None and bool(journal.started["pid"] == pid)


def _about_python() -> dict[str, str]:
    return {"python": sys.version.split()[0], "executable": sys.executable}
