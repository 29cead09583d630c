"""Kills a process at each of its system calls while jobs go from submit to done, and reads the books once all settled.

strace counts `when=N` for each thread and each system call by itself (tried with 6.13). So each thread of the daemon is
attached to alone, and a point is the N-th `write`, not the N-th call; a trial walk tells which there are.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

from bgjob.errors import (
    BgjobError,
    DaemonUnavailableError,
    ProtocolError,
    ReloadFailedError,
    ShuttingDownError,
)
from tests.daemon.running import RunningDaemon, children_of, daemon
from tests.faults import books, stepping
from tests.faults.knife import HALTING, Knife, ask_to_halt, halted_child, is_halted
from tests.faults.telling import Telling, settings_in
from tests.support import eventually

_CRASHING: Final = """

class Crashing(Ledgered):
    def crashed_once(self, ledger: str) -> int:
        return self.quick(ledger)


def _crash_once():
    \"\"\"In the fork server: the first start of such a job ends it.\"\"\"
    import sys

    order = sys._getframe(1).f_locals.get("order")
    if getattr(order, "method_name", None) == "crashed_once" and order.number == 1:
        os.kill(os.getpid(), 11)


os.register_at_fork(before=_crash_once)
"""
_FRAGILE: Final = """
from pathlib import Path

from ledgered import Ledgered

if Path(__file__).with_name("broken").exists():
    raise ImportError("a deploy that is half done")


class Fragile(Ledgered):
    def unavailable(self, ledger: str) -> int:
        return self.quick(ledger)
"""
_MODULES: Final = {
    **{name: source + HALTING + _CRASHING for name, source in books.MODULES.items()},
    "fragile": _FRAGILE,
    "stepping": Path(stepping.__file__).read_text(),
}
_STEPPING: Final = "stepping.Stepping"
_SETTINGS: Final = f"""
"{books.LEDGERED}" = {{ max_retries = 3, retry_delay = 0.05 }}
"ledgered.Crashing" = {{}}
"fragile.Fragile" = {{}}
"{_STEPPING}" = {{ max_retries = 3, retry_delay = 0.05, retry_lost = true }}
[web]
enabled = false
"""


class Role(StrEnum):
    """Whose system calls are walked through."""

    DAEMON = "daemon"
    START = "start"
    FORK_SERVER = "fork-server"
    CHILD = "child"
    SPARE = "spare"


_PATIENCE: Final = 60.0
METHODS: Final = ("quick", "fail_once")


class Way(StrEnum):
    """What the jobs meet on their way from submit to done."""

    PLAIN = "plain"
    CRASH = "crash"
    UNAVAILABLE = "unavailable"
    STEPS = "steps"
    ALERTS = "alerts"


_ON_THE_WAY: Final[dict[Way, tuple[tuple[str, str], ...]]] = {
    Way.PLAIN: tuple((books.LEDGERED, method) for method in METHODS),
    Way.CRASH: ((books.LEDGERED, "quick"), ("ledgered.Crashing", "crashed_once")),
    Way.UNAVAILABLE: ((books.LEDGERED, "quick"), ("fragile.Fragile", "unavailable")),
    Way.STEPS: ((_STEPPING, "ship"),),
    Way.ALERTS: ((books.LEDGERED, "quick"),),
}
"""Class and method of the jobs that go there: a start that ends its fork server, a class that breaks and is mended, ten
steps with two waits between them, a queue that is paused until somebody is told.
"""

ROLES: Final = {
    Way.PLAIN: tuple(Role),
    Way.CRASH: (Role.DAEMON,),
    Way.UNAVAILABLE: (Role.DAEMON,),
    Way.STEPS: (Role.CHILD, Role.START, Role.FORK_SERVER, Role.DAEMON),
    Way.ALERTS: (Role.DAEMON,),
}
"""Whose system calls are walked through on each way: what others do there is as on the plain one."""
_HALT: Final = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
"""What a start that is walked through does first. It has its imports behind it: they read, and nothing else."""

_EFFECTS: Final = frozenset(
    {"accept4", "bind", "chmod", "connect", "fchmod", "fcntl", "fdatasync", "flock", "fsync", "ftruncate"}
    | {
        "inotify_add_watch",
        "linkat",
        "listen",
        "mkdir",
        "pwrite64",
        "rename",
        "renameat",
        "sendto",
        "socketpair",
    }
    | {"setsockopt", "unlink", "unlinkat", "vfork", "clone", "clone3", "write", "epoll_wait", "recvfrom"}
)
"""The system calls of a start that matter to others; between them it only reads."""
_THREADS: Final = (
    *("loop", "log", "console", "reader", "searcher", "outputs", "recording", "measuring"),
    "writer",
)
"""Those of a daemon that are there from the start, in the order in which they begin."""
PARTS: Final = {
    Role.DAEMON: ("loop", "log", "writer", "reader"),  # those of its threads that others depend on
    Role.START: ("loop",),  # of a daemon that follows one which was killed while jobs ran
    Role.FORK_SERVER: ("loop",),
    Role.CHILD: METHODS,  # the method that it runs
    Role.SPARE: METHODS,  # the same, after it has waited for it
}
_SHIPPING: Final = ("ship", "ship_second", "ship_third")


_STARTS_AMID: Final = ("ship", "ship_late")


def parts_of(way: Way, role: Role) -> tuple[str, ...]:
    """The parts of a role that are walked through on this way: of a job with waits each of its attempts, of a start one
    amid an attempt and one amid a wait.
    """
    if way is not Way.STEPS:
        return PARTS[role]
    return {Role.CHILD: _SHIPPING, Role.START: _STARTS_AMID}.get(role, PARTS[role])


_SPARES: Final = {Role.CHILD: 0, Role.SPARE: 1}
"""How many a fork server has, where that matters: at whom strace is to be is to be known."""


Walking = Future[dict[str, int]]
"""The jobs on their way; the ids that were acknowledged, by key."""


@dataclass(frozen=True)
class Point:
    """A moment to die: before a part of a role carries out its `number`-th system call (from 1) of this name.

    `place` is where that came in the trial walk, from 1.
    """

    role: Role
    part: str
    place: int
    call: str
    number: int

    def __str__(self) -> str:
        return f"{self.role} ({self.part}), point {self.place}, {self.call} number {self.number}"


@dataclass(frozen=True)
class Strike:
    """What came of a point: whether it was reached, and so somebody killed; and what was wrong then."""

    point: Point
    was_reached: bool
    problem: str = ""

    def __str__(self) -> str:
        reached = "" if self.was_reached else " (not reached)"
        return f"{self.point}{reached}: {self.problem or 'all is well'}"


class Ground:
    """A daemon whose processes are killed, again and again; made by `ground`."""

    def __init__(self, running: RunningDaemon, way: Way) -> None:
        self._running = running
        self._way = way
        self._broken = running.directory / "broken"
        self._directory = running.directory
        self._ledger = running.directory / "ledger"
        self._effects = running.directory / "effects"
        self._said = self._effects if way is Way.STEPS else self._ledger
        self._said.touch()
        self._client = running.client()
        self._settings = books.settings_of(running.config)
        self._runs = count(1)
        self._telling = Telling(running)
        self._walker = ThreadPoolExecutor(1, "walker")

    def points(self, role: Role, part: str, walks: int = 3) -> list[Point]:
        """The points of a part, in the order of a trial walk; the longest of so many."""
        trials = sorted((self._trial(role, part) for _ in range(walks)), key=len)
        numbers: Counter[str] = Counter()
        found = []
        for place, call in enumerate(trials[-1], 1):
            numbers[call] += 1
            if role is not Role.START or call in _EFFECTS:
                found.append(Point(role, part, place, call, numbers[call]))
        return found

    def _trial(self, role: Role, part: str) -> list[str]:
        """The system calls of a walk during which nobody is killed."""
        knife = self._run(role, part, None)
        if knife.has_struck():
            raise AssertionError("a process was killed in a trial, by somebody else; see to that first")
        return knife.calls()

    def strike(self, point: Point) -> Strike:
        """Have the jobs walk, kill at the point, let the supervision do its part, and read the books."""
        try:
            knife = self._run(point.role, point.part, f"{point.call}:signal=KILL:when={point.number}")
        except (AssertionError, BgjobError, TimeoutError) as error:
            living = "has ended" if self._has_ended() else "lives"
            return Strike(point, True, f"{type(error).__name__}: {error} (the daemon {living})")
        return Strike(point, knife.has_struck())

    def _run(self, role: Role, part: str, injection: str | None) -> Knife:
        """One walk, after which the books are well; strace as it was."""
        self._come_to_rest()
        run = next(self._runs)
        jobs = _ON_THE_WAY[self._way]
        if role in (Role.CHILD, Role.SPARE) or part in _STARTS_AMID:
            jobs = ((jobs[0][0], part),)
        keys = {f"run {run} {method}": (class_name, method) for class_name, method in jobs}
        with self._aimed(role, part, injection, partial(self._walker.submit, self._walk, keys)) as aimed:
            knife, walking = aimed
            daemon = self._running.process
            eventually(lambda: knife.has_ended() or (walking.done() and self._is_settled()), _PATIENCE)
            if role in (Role.DAEMON, Role.START) and knife.has_struck():
                self._start_again()
            acknowledged = walking.result(60)
        if daemon is self._running.process and self._has_died():  # of what it did once all had settled
            self._start_again()
        self._check(acknowledged)
        return knife

    def close(self) -> None:
        self._walker.shutdown()

    def _come_to_rest(self) -> None:
        self._client.classes()  # answered once there is a fork server
        # Connected anew in the walk; that it was once reached makes it wait for a daemon that was killed before.
        self._client.close()
        eventually(lambda: len(self._running.children()) == 1)

    @contextmanager
    def _aimed(
        self, role: Role, part: str, injection: str | None, walk: Callable[[], Walking]
    ) -> Iterator[tuple[Knife, Walking]]:
        """Strace at the victim, and the jobs on their way."""
        log = self._directory / "strace.log"
        if role in (Role.DAEMON, Role.FORK_SERVER, Role.SPARE):
            with Knife(self._victim(role, part), injection, log) as knife:
                yield knife, walk()
            return
        if role is Role.CHILD and part not in _SHIPPING[1:]:  # which asks for that by itself
            ask_to_halt(self._running)
        said = self._said.read_text()
        walking = walk()
        victim = halted_child(self._running) if role is Role.CHILD else self._halted_successor(part, said)
        with Knife(victim, injection, log) as knife:
            knife.let_go_on()
            yield knife, walking

    def _halted_successor(self, part: str, before: str) -> int:
        """Kill the daemon once attempts run, or wait, and more is said than before; the pid of one that is about to
        start in its place.
        """
        eventually(lambda: self._said.read_text() != before)
        if part == "ship_late":
            waiting = "SELECT 1 FROM background_jobs WHERE status = 'pending' AND waiting_on IS NOT NULL"
            eventually(lambda: self._running.query(waiting))
        self._running.stop(signal.SIGKILL)
        self._running.changes = _HALT
        successor = self._running.process = self._running.spawn()
        self._running.changes = ""
        eventually(lambda: is_halted(successor.pid))
        return successor.pid

    def _victim(self, role: Role, part: str) -> int:
        """The pid of the process, or the tid of the thread, that is killed."""
        if role is Role.FORK_SERVER:
            return self._running.fork_server()
        if role is Role.SPARE:
            return eventually(lambda: children_of(self._running.fork_server()))[0]
        return eventually(self._threads_if_all)[_THREADS.index(part)]

    def _threads_if_all(self) -> list[int]:
        """The daemon's threads in the order in which they began, once all that last are there."""
        assert self._running.process is not None
        threads = sorted(int(name) for name in os.listdir(f"/proc/{self._running.process.pid}/task"))
        return threads if len(threads) >= len(_THREADS) else []

    def _walk(self, keys: dict[str, tuple[str, str]]) -> dict[str, int]:
        """Submit a job for each key, and wait for their ends; the client repeats what had no answer.

        The ids that were acknowledged.
        """
        try:
            alert = self._telling.count() + 1
            with self._obstructed():
                jobs = {
                    key: self._client.run_background_job(
                        class_name, method, self._parameters(class_name), idempotency_key=key
                    )
                    for key, (class_name, method) in keys.items()
                }
                self._obstruct()
                if self._way is Way.ALERTS:
                    self._telling.wait(1, alert)
            for job in jobs.values():
                job.wait(60)
            if self._way is Way.ALERTS:
                self._telling.wait(2, alert)
            return {key: job.id for key, job in jobs.items()}
        finally:
            self._client.close()

    def _parameters(self, class_name: str) -> dict[str, str]:
        if class_name == _STEPPING:
            return {"effects": str(self._effects)}
        return {"ledger": str(self._ledger)}

    @contextmanager
    def _obstructed(self) -> Iterator[None]:
        """Nothing starts meanwhile; only where something is to be in its way then."""
        if self._way not in (Way.UNAVAILABLE, Way.ALERTS):
            yield
            return
        self._insist(lambda: self._client.pause("default"))
        yield
        self._insist(lambda: self._client.resume("default"))
        if self._way is Way.UNAVAILABLE:
            self._broken.unlink()
            self._insist(self._client.reload)

    def _obstruct(self) -> None:
        if self._way is not Way.UNAVAILABLE:
            return
        self._broken.touch()
        with suppress(OSError):  # the daemon is gone already, and its fork server with it
            for server in self._running.children():
                os.kill(server, signal.SIGKILL)

    def _insist(self, act: Callable[[], object]) -> None:
        """Ask until there is an answer: what may not be repeated unasked is not, by the client."""

        def is_done() -> bool:
            try:
                act()
            except (DaemonUnavailableError, ProtocolError, ReloadFailedError, ShuttingDownError):
                return False
            return True

        eventually(is_done, 60.0)

    def _has_died(self) -> bool:
        """Whether the daemon is gone: if it answers, nothing that strace did will end it any more."""
        return eventually(lambda: self._has_ended() or self._answers()) and self._has_ended()

    def _has_ended(self) -> bool:
        return self._running.process is None or self._running.process.poll() is not None

    def _answers(self) -> bool:
        try:
            with self._running.client() as client:
                return bool(client.stats())
        except DaemonUnavailableError:
            return False

    def _start_again(self) -> None:
        """What systemd does for a daemon that was killed."""
        eventually(self._has_ended)
        self._running.start()

    # The books

    def _is_settled(self) -> bool:
        return books.is_settled(self._settings, ())

    def _check(self, acknowledged: dict[str, int]) -> None:
        """Raises AssertionError where anything was lost, done twice, or left behind."""
        self._come_to_rest()
        eventually(lambda: books.is_settled(self._settings, acknowledged.values()))
        found: list[str] = []

        def is_well() -> bool:
            nonlocal found
            found = self._complaints(acknowledged)
            return not found

        with suppress(AssertionError):  # told below; what was orphaned takes a moment to end
            eventually(is_well, 5.0)
        if found:
            raise AssertionError("; ".join(found))

    def _complaints(self, acknowledged: dict[str, int]) -> list[str]:
        assert self._running.process is not None
        pid = self._running.process.pid
        found = books.complaints(self._settings, acknowledged.values(), self._ledger, pid)
        for key, job in acknowledged.items():
            rows = self._running.query(
                f"SELECT id, status FROM background_jobs WHERE idempotency_key = '{key}'"
            )
            if rows != [(job, "completed")]:
                found.append(f"job {job} should be the only one of its key, and completed: {rows}")
            if self._way is Way.STEPS:
                found += self._complaints_of_steps(job)
        return found + list(self._telling.complaints()) if self._way is Way.ALERTS else found

    def _complaints_of_steps(self, job: int) -> list[str]:
        """Where a step has run twice though nobody was killed in it, or is not what its job was given of it."""
        lines = [line for line in self._effects.read_text().splitlines() if line.startswith(f"{job} ")]
        again = len(lines) - len(set(lines))
        names = [line.split()[1] for line in dict.fromkeys(lines)]
        found = [] if names == [f"part-{n}" for n in range(10)] else [f"job {job} has made the steps {names}"]
        if again > 1:
            found.append(f"job {job} has made {again} steps again: {lines}")
        (result,) = self._running.query(f"SELECT result FROM background_jobs WHERE id = {job}")
        if json.loads(result[0] or "null") != list(dict.fromkeys(lines)):
            found.append(f"job {job} was given {result[0]} of {lines}")
        numbers = self._running.query(f"SELECT number FROM job_steps WHERE job_id = {job} ORDER BY number")
        if numbers != [(n,) for n in range(1, 13)]:
            found.append(f"the steps and waits of job {job} are stored as {numbers}")
        return found


@contextmanager
def ground(directory: Path, role: Role, way: Way = Way.PLAIN) -> Iterator[Ground]:
    """A ground in this directory, for a walk through this role's calls; what is left of it is ended."""
    spares = 0 if way is Way.CRASH else _SPARES.get(role)
    environ = {} if spares is None else {"BGJOBD_DAEMON__SPARES": str(spares)}
    settings = _SETTINGS + (settings_in(directory) if way is Way.ALERTS else "")
    with daemon(directory, settings, books.marked(directory), environ, _MODULES) as running:
        made = Ground(running, way)
        try:
            yield made
        finally:
            made.close()
