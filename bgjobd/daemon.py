"""The daemon's loop: hears of requests, starts and ends, hands them to the writer, and carries out what it committed.

No rule about jobs is here: what a fact means is the core's, what is stored is the ledger's. In memory stand only
the attempts that run and the callers that wait; both follow from the file and the spool, and advance after commits.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from bgjob.errors import RequestError, ShuttingDownError
from bgjob.words import EntryType
from bgjobd import spool as spools
from bgjobd.catalogue import Catalogue
from bgjobd.clock import Clock
from bgjobd.config import Config
from bgjobd.core.facts import AttemptEnded, ClockJumped
from bgjobd.core.job import Ending, Job
from bgjobd.core.planner import Lanes
from bgjobd.forkserver.journal import Journal
from bgjobd.link import Application, ForkServer, ForkServerError, Places
from bgjobd.log import Line, Log
from bgjobd.spool import AttemptKey, Spool
from bgjobd.store.items import Claim, Item, JobFact, LogLine, Look
from bgjobd.store.reader import Reader
from bgjobd.store.writer import Delivery, Entrusted, Writer

_GATHER: Final = 0.05
"""Seconds until journals that appeared are read, all together; most small attempts have ended by then."""

_FIRST_LOOK: Final = 0.001
_LAST_LOOK: Final = 1.0
_FIRST_RESTART: Final = 1.0
_LAST_RESTART: Final = 60.0

T = TypeVar("T")


@dataclass(slots=True)
class _Attempt:
    """An attempt that was claimed and has not ended: the daemon waits for its journal or its process."""

    key: AttemptKey
    token: str
    is_started: bool = False
    is_fenced: bool = False
    is_ended: bool = False
    code_version: str | None = None
    pidfd: int | None = None
    journal: Journal | None = field(default=None, repr=False)


class Daemon:
    """Everything between the socket and the fork server; made and started by the entry point."""

    def __init__(self, config: Config, clock: Clock, log: Log, boot_id: str, lanes: Lanes) -> None:
        self.config = config
        self.clock = clock
        self.lanes = lanes
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._places = Places(
            config.daemon.runtime_dir / "spool", config.daemon.state_dir / "output", boot_id
        )
        self._spool = Spool(self._places.spool)
        self._reader = Reader(config.daemon.state_dir)
        self._reading = ThreadPoolExecutor(1, "reader")
        self._writer = Writer(config.daemon.state_dir, boot_id, clock, lanes.closed(), self._deliver)
        self._held: list[Entrusted] = []
        self._gathering: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._attempts: dict[AttemptKey, _Attempt] = {}
        self._waiters: dict[int, set[asyncio.Future[None]]] = {}
        self._catalogue: asyncio.Future[Catalogue] = self._loop.create_future()
        self._fork_server: ForkServer | None = None
        self._code_version: str | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False
        self._is_draining = False
        self._is_closed = False
        self._is_empty: asyncio.Future[None] | None = None

    # Start and stop

    def start(self) -> None:
        """Start the writer, settle what an earlier daemon left, and follow the spool."""
        self._writer.start()
        self._recover()
        self._loop.add_reader(self._spool.fileno(), self._on_journals)

    def start_fork_server(self) -> None:
        """Bring up the fork server in the background; callers that need the catalogue wait for it."""
        self._in_background(self._run_fork_server())

    async def stop(self) -> None:
        """Take nothing new, commit what came in; attempts and the fork server go on."""
        self._is_stopping = True
        self._open_lanes()
        if not self._catalogue.done():
            self._catalogue.set_exception(ShuttingDownError())
            self._catalogue.exception()
        for future in [future for waiting in self._waiters.values() for future in waiting]:
            future.cancel()
        self._put()
        await self._loop.run_in_executor(None, self._writer.finish)
        await asyncio.sleep(0)  # the last delivery was handed to the loop before the thread ended

    def close(self) -> None:
        """Let go of files and threads, after `stop`."""
        self._is_closed = True
        for timer in (self._gathering, self._timer):
            if timer is not None:
                timer.cancel()
        self._loop.remove_reader(self._spool.fileno())
        for attempt in self._attempts.values():
            if attempt.pidfd is not None:
                self._loop.remove_reader(attempt.pidfd)
                os.close(attempt.pidfd)
        for task in self._tasks:
            task.cancel()
        self._spool.close()
        self._reading.shutdown()
        self._reader.close()

    async def stop_attempts(self, grace: float = 5.0) -> None:
        """Stop what runs: TERM to each attempt's group, KILL after `grace` seconds. For the demo and a shutdown."""
        await self._start_nothing_new()
        for number in (signal.SIGTERM, signal.SIGKILL):
            for attempt in self._attempts.values():
                spools.signal_group(attempt.journal, number)
            await self._wait_until_empty(grace)

    async def drain(self) -> None:
        """Start nothing new, and wait until the attempts that run have ended."""
        await self._start_nothing_new()
        self.say(EntryType.INFO, f"draining: waits for {len(self._attempts)} attempts, starts nothing new")
        await self._wait_until_empty(None)

    async def _start_nothing_new(self) -> None:
        """Close the lanes; claims that were under way are known when this returns."""
        self._is_draining = True
        self._open_lanes()
        with suppress(RequestError):
            await self.record(Look())

    def _open_lanes(self) -> None:
        """Let the writer grant slots if there is a fork server and nobody wants an end."""
        must_close = self._fork_server is None or self._is_draining or self._is_stopping
        self._writer.lanes = self.lanes.closed() if must_close else self.lanes

    async def _wait_until_empty(self, timeout: float | None) -> None:
        if self._attempts:
            self._is_empty = self._loop.create_future()
            await asyncio.wait([self._is_empty], timeout=timeout)

    def reopen_log(self) -> None:
        """Let go of the log file, after logrotate moved it."""
        self._log.reopen()

    # What the api needs

    async def catalogue(self) -> Catalogue:
        """What may run; waits for the first fork server. Raises ShuttingDownError."""
        if self._is_stopping:
            raise ShuttingDownError
        return await asyncio.shield(self._catalogue)

    async def record(self, item: Item) -> Any:
        """Hand over an item and wait until it is committed; its answer, or its refusal raised."""
        if self._is_stopping:
            raise ShuttingDownError
        ticket: asyncio.Future[Any] = self._loop.create_future()
        self._note_jump()
        self._put(Entrusted(item, ticket))
        return await ticket

    def read(self, question: Callable[[Reader], T]) -> Awaitable[T]:
        """Ask the file, off the loop."""
        return self._loop.run_in_executor(self._reading, question, self._reader)

    @contextmanager
    def waiting_for(self, job_id: int) -> Iterator[Callable[[float | None], Awaitable[bool]]]:
        """Listen for the job's end from now on; gives a function that waits (seconds) and says whether it came."""
        if self._is_stopping:
            raise ShuttingDownError
        future: asyncio.Future[None] = self._loop.create_future()
        waiting = self._waiters.setdefault(job_id, set())
        waiting.add(future)

        async def ended(timeout: float | None) -> bool:
            done, _ = await asyncio.wait([future], timeout=timeout)
            if future.cancelled():
                raise ShuttingDownError
            return bool(done)

        try:
            yield ended
        finally:
            waiting.discard(future)
            if not waiting:
                self._waiters.pop(job_id, None)

    # The writer

    def _put(self, *entrusted: Entrusted) -> None:
        """Hand over what was held back, then this, in order."""
        held, self._held = self._held, []
        if held or entrusted:
            self._writer.put(*held, *entrusted)

    def _deliver(self, delivery: Delivery) -> None:
        """Called on the writer's thread."""
        self._loop.call_soon_threadsafe(self._on_delivery, delivery)

    def _on_delivery(self, delivery: Delivery) -> None:
        if delivery.trouble is not None:
            self.say(EntryType.FAILURE, f"the database cannot be written: {delivery.trouble}; trying again")
        if delivery.committed is not None:
            self._log.put(_line(line) for line in delivery.committed.lines)
            for claim in delivery.committed.claims:
                self._carry_out(claim)
            for job in delivery.committed.ended:
                self._announce(job)
            self._arm(delivery.committed.next_due)
        for ticket, answer in delivery.answered:
            self._answer(ticket, answer)

    def _answer(self, ticket: asyncio.Future[Any] | AttemptKey | None, answer: Any) -> None:
        """A caller's future gets its answer; the key of an attempt means that its end is on disk."""
        if isinstance(answer, Exception) and not isinstance(ticket, asyncio.Future):
            self.say(EntryType.FAILURE, f"bug: {type(answer).__name__}: {answer}")
        if isinstance(ticket, tuple):
            if not isinstance(answer, Exception):
                self._forget(ticket)
        elif ticket is not None and not ticket.done():
            if isinstance(answer, Exception):
                ticket.set_exception(answer)
            else:
                ticket.set_result(answer)

    def _announce(self, job: Job) -> None:
        for future in self._waiters.get(job.id, ()):
            if not future.done():
                future.set_result(None)

    def say(self, type: EntryType, message: str) -> None:
        """One log line about the daemon itself."""
        self._log.say(type, message, self.clock.now())

    # The one timer

    def _arm(self, next_due: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if next_due is not None:
            self._timer = self._loop.call_later(max(0.0, next_due - self.clock.now()), self._on_due)

    def _on_due(self) -> None:
        self._timer = None
        self._note_jump()
        self._put(Entrusted(Look()))

    def _note_jump(self) -> None:
        delta = self.clock.take_jump()
        if delta is not None:
            self.say(EntryType.INFO, f"the clock was set by {delta:+.1f} s; waiting retries keep their delay")
            self._held.append(Entrusted(ClockJumped(delta)))

    # Attempts

    def _carry_out(self, claim: Claim) -> None:
        job = claim.job
        attempt = _Attempt((job.id, job.attempt), claim.token, code_version=self._code_version)
        self._attempts[attempt.key] = attempt
        if self._fork_server is None:
            self._give_back(attempt, "there is no fork server")
            return
        self._fork_server.start(
            {
                "job": job.id,
                "number": job.attempt,
                "token": claim.token,
                "class_name": job.call.class_name,
                "method_name": job.call.method_name,
                "parameters": job.call.parameters,
            }
        )

    def _on_journals(self) -> None:
        self._loop.remove_reader(self._spool.fileno())
        self._gathering = self._loop.call_later(_GATHER, self._note_starts)

    def _note_starts(self) -> None:
        """Record the starts whose journals appeared, of attempts that have not ended since."""
        self._loop.add_reader(self._spool.fileno(), self._on_journals)
        keys, has_missed = self._spool.take_created()
        for key in self._attempts if has_missed else keys:
            attempt = self._attempts.get(key)
            if attempt is not None and not attempt.is_started:
                self._note_start(attempt, self._spool.try_read(key))
        self._put()

    def _note_start(self, attempt: _Attempt, journal: Journal | None) -> None:
        fact = spools.started(attempt.key, journal, attempt.code_version) if journal else None
        if fact is not None and not attempt.is_started:
            attempt.is_started = True
            attempt.journal = journal
            self._held.append(Entrusted(JobFact(attempt.key[0], fact)))

    def _on_report(self, message: dict[str, Any]) -> None:
        """What the fork server tells: that an attempt ended, or that it could not begin."""
        attempt = self._attempts.get((message["job"], message["number"]))
        if attempt is None or self._is_closed:
            return  # settled by other means, as after a fence
        match message["type"]:
            case "ended":
                journal = self._spool.try_read(attempt.key) or Journal()
                self._note_end(attempt, journal, message["exit"])
            case "not_started" if not attempt.is_started:
                self._give_back(attempt, message["reason"])
            case "not_started":
                self._end(attempt, Ending.lost("its journal is gone", may_retry=False))
            case unknown:
                raise ValueError(f"the fork server sent an unknown message: {unknown!r}")

    def _note_end(
        self, attempt: _Attempt, journal: Journal | None, seen: dict[str, Any] | None = None
    ) -> bool:
        """Record the end that the journal tells, or the fork server saw; False where neither tells one."""
        fact = spools.ended(attempt.key, journal, seen) if journal else None
        if fact is None:
            return False
        self._note_start(attempt, journal)
        self._put_end(attempt, fact)
        return True

    def _put_end(self, attempt: _Attempt, fact: AttemptEnded) -> None:
        if not attempt.is_ended:
            attempt.is_ended = True
            self._put(Entrusted(JobFact(attempt.key[0], fact), attempt.key))

    def _give_back(self, attempt: _Attempt, reason: str, delay: float | None = None) -> None:
        ending = Ending.not_started(f"the attempt could not start: {reason}", delay)
        self._end(attempt, ending)

    def _end(self, attempt: _Attempt, ending: Ending) -> None:
        self._put_end(attempt, AttemptEnded(attempt.key[1], ending, self.clock.now()))

    def _forget(self, key: AttemptKey) -> None:
        """The attempt's end is on disk: nobody needs its journal any more."""
        attempt = self._attempts.pop(key, None)
        if attempt is not None and attempt.pidfd is not None:
            os.close(attempt.pidfd)
        if attempt is None or not attempt.is_fenced:
            self._spool.remove(key)
        if not self._attempts and self._is_empty is not None and not self._is_empty.done():
            self._is_empty.set_result(None)

    # What an earlier daemon, or a fork server that died, left behind

    def _recover(self) -> None:
        """Settle every attempt whose end is not recorded: collect, wait for, give back, or count as lost."""
        database_id = self._reader.database_id()
        has_own_spool = self._spool.belongs_to(database_id)
        if not has_own_spool:
            self._spool.mark(database_id)
        for row in self._reader.open_attempts():
            attempt = _Attempt(
                (row["job_id"], row["number"]), row["token"], is_started=row["pid"] is not None
            )
            self._attempts[attempt.key] = attempt
            if row["boot_id"] != self._places.boot_id:
                self._end(attempt, Ending.lost("the machine was restarted while it ran"))
            elif not has_own_spool:
                # Its process may be alive, and nothing tells: it is never started again.
                self._end(attempt, Ending.lost("its journal is gone with the spool", may_retry=False))
            else:
                self._settle(attempt)
        for key in self._spool.journals():
            journal = self._spool.try_read(key) if key not in self._attempts else None
            if journal is not None and journal.fenced is None:
                self._spool.remove(key)  # its end was committed a moment before the crash

    def _settle(self, attempt: _Attempt) -> None:
        """Find out about an attempt that no fork server of ours will report on."""
        if self._is_closed or attempt.is_ended:
            return
        try:
            self._spool.fence(attempt.key)
        except OSError as error:
            self.say(EntryType.FAILURE, f"the spool cannot be written: {error.strerror}; trying again")
            self._loop.call_later(_LAST_LOOK, self._settle, attempt)
            return
        journal = self._spool.try_read(attempt.key)
        attempt.is_fenced = journal is not None and journal.fenced is not None
        is_own = journal is not None and spools.has_token(journal, attempt.token)
        if journal is None or (attempt.is_fenced and attempt.is_started) or not (attempt.is_fenced or is_own):
            # It began once and nothing tells more; its process may be alive, so it is never started again.
            self._end(attempt, Ending.lost("its journal is gone", may_retry=False))
            return
        if attempt.is_fenced:
            self._give_back(attempt, "its fork server or the daemon ended before it began", delay=0.0)
            return
        self._note_start(attempt, journal)
        self._put()
        attempt.journal = journal
        attempt.pidfd = spools.try_open_process(journal)
        if attempt.pidfd is None:
            self._look_again(attempt, _FIRST_LOOK)
        else:
            self._loop.add_reader(attempt.pidfd, self._on_process_end, attempt)

    def _on_process_end(self, attempt: _Attempt) -> None:
        """The process of an attempt that this daemon did not start has ended."""
        if attempt.pidfd is not None:
            self._loop.remove_reader(attempt.pidfd)
        self._look_again(attempt, _FIRST_LOOK)

    def _look_again(self, attempt: _Attempt, pause: float) -> None:
        """The process has ended: its fork server, if it lives, is about to write the exit record."""
        if self._is_closed or attempt.is_ended:
            return
        if self._note_end(attempt, self._spool.try_read(attempt.key)):
            return
        if pause < _LAST_LOOK:
            self._loop.call_later(pause, self._look_again, attempt, pause * 2)
        else:
            self._end(attempt, spools.ending_unseen(self._spool.try_read(attempt.key)))

    # The fork server

    async def _run_fork_server(self) -> None:
        """Keep a fork server running until the daemon stops."""
        pause = _FIRST_RESTART
        while not self._is_stopping:
            try:
                application = Application.from_config(self.config)
                server, ready = await ForkServer.launch(application, self._places, self._on_report)
            except ForkServerError as error:
                self.say(EntryType.FAILURE, str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LAST_RESTART)
                continue
            pause = _FIRST_RESTART
            self._take_into_service(server, ready)
            await server.gone
            self._take_out_of_service(server)

    def _take_into_service(self, server: ForkServer, ready: dict[str, Any]) -> None:
        self._fork_server = server
        self._code_version = ready["code_version"]
        catalogue = Catalogue(ready["classes"], ready["code_version"])
        if self._catalogue.done():
            self._catalogue = self._loop.create_future()
        self._catalogue.set_result(catalogue)
        for name, described in catalogue.classes.items():
            if described["unavailable"] is not None:
                self.say(EntryType.FAILURE, f"{name} is unavailable: {described['unavailable']}")
        self._open_lanes()
        self._put(Entrusted(Look()))

    def _take_out_of_service(self, server: ForkServer) -> None:
        self._fork_server = None
        self._open_lanes()
        server.collect()
        if not self._is_stopping:
            self.say(EntryType.FAILURE, f"the fork server (pid {server.pid}) ended; starting another")
            for attempt in list(self._attempts.values()):
                if attempt.pidfd is None and not attempt.is_ended:
                    self._settle(attempt)

    def _in_background(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_end)

    def _on_task_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.say(EntryType.FAILURE, f"bug: {type(error).__name__}: {error}; restart the daemon")


def _line(line: LogLine) -> Line:
    return Line(line.at, line.type, line.target, line.message, line.job_id, line.attempt, line.context)
