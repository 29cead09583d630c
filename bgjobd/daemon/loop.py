"""The daemon's loop: hears of requests, starts and ends, hands them to the writer, and carries out what it committed.

No rule about jobs is here: what a fact means is the core's, what is stored is the ledger's. Attempts, hooks and
fork servers are told what follows from a commit; memory advances only after it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from bgjob.errors import JobNotFoundError, ReloadFailedError, RequestError, ShuttingDownError
from bgjob.words import EntryType, Outcome, Status
from bgjobd.config.problems import ConfigError
from bgjobd.config.sections import Config, Queue
from bgjobd.core.facts import ClockJumped
from bgjobd.core.job import Ending, Job
from bgjobd.core.planner import Lanes
from bgjobd.core.trials import UNTRIED, Unavailable
from bgjobd.core.verdict import Life, StopReason
from bgjobd.core.why import Closing, Known, OnFile, UnderWay, why
from bgjobd.daemon.catalogue import Catalogue
from bgjobd.daemon.counters import Counters
from bgjobd.daemon.current_catalogue import CurrentCatalogue
from bgjobd.daemon.followers import Followers
from bgjobd.daemon.reload import Reloads
from bgjobd.daemon.retention import Retention
from bgjobd.daemon.silence import Silence
from bgjobd.daemon.waiters import Waiters
from bgjobd.forkserver import subreaper
from bgjobd.forkserver.cgroup import Groups
from bgjobd.host.clock import Clock, SetClock
from bgjobd.host.log import Line, Log
from bgjobd.host.sd_notify import Notifier
from bgjobd.store.health import StorageHealth
from bgjobd.store.items import DaemonStarted, Item, LogLine, Look, Ping
from bgjobd.store.outbox import Outbox
from bgjobd.store.readers import Readers
from bgjobd.store.tally import Tally
from bgjobd.store.writer import Delivery, Entrusted, Writer
from bgjobd.supervisor import cgroups, fork_server_marks, live_usage, page_process
from bgjobd.supervisor.attempts import Attempts
from bgjobd.supervisor.fork_server_link import Application, AttemptDirs, ForkServer, ForkServerError
from bgjobd.supervisor.fork_servers import ForkServers
from bgjobd.supervisor.hooks import Hooks
from bgjobd.supervisor.limits import Enforcement
from bgjobd.supervisor.outputs import Outputs
from bgjobd.supervisor.recording import Directory, Recording
from bgjobd.supervisor.recovery import recover
from bgjobd.supervisor.relay import Relay
from bgjobd.supervisor.remnants import Remnants
from bgjobd.supervisor.spool import AttemptKey, Spool
from bgjobd.supervisor.starts import Starts
from bgjobd.supervisor.stray_processes import StrayProcesses
from bgjobd.supervisor.trials import Trials
from bgjobd.supervisor.work_dirs import WorkDirs
from bgjobd.supervisor.work_limits import WorkLimits

T = TypeVar("T")

_INIT = 1
"""The pid of the process that every orphan of its pid namespace falls to, as to the first of a container."""

_LAST_MOMENT = 2.0
"""Seconds from the last SIGKILL until the ends of attempts are stored."""


class Daemon:
    """Everything between the socket and the fork server; made and started by the entry point.

    `load_config` reads the configuration anew, for a reload; it raises ConfigError.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        log: Log,
        life: Life,
        load_config: Callable[[], Config],
        notifier: Notifier,
    ) -> None:
        self.clock = clock
        self.started_at = clock.now()
        self.loaded_at: float | None = None
        self._tally: Tally | None = None
        self._has_delivered = asyncio.Event()
        self.counters = Counters()
        self.limits = config.socket
        self.on_reload: list[Callable[[], None]] = []
        self._config_of_start = config
        self._load_config = load_config
        self._log = log
        self._notifier = notifier
        self._loop = asyncio.get_running_loop()
        self._relay = Relay(log.pass_on)
        place = config.daemon
        dirs = AttemptDirs(
            place.state_dir, place.runtime_dir, life.id, self._make_groups(), self._relay.fileno()
        )
        self._work_dirs = WorkDirs(dirs.work, dirs.groups, partial(self._say_from_thread, EntryType.FAILURE))
        self._spool = Spool(dirs.spool)
        self.readers = Readers(config.daemon.state_dir)
        self.current_catalogue = CurrentCatalogue(lambda: self.config, self.say)
        self._apply(config, self.readers.first.queues(), Enforcement.here(config))
        self._writer = Writer(config.daemon.state_dir, life.id, clock, self.lanes.closed(), self._deliver)
        self._silence = Silence(self._loop, lambda: self._writer.busy_since, self._on_silence)
        self._outbox = Outbox(self._hand_over)
        self.health = StorageHealth(self.say, self._loop.time)
        # Who was there before the daemon was executed in their parent's place.
        self._inherited = subreaper.children()
        self._may_get_others = bool(self._inherited) or os.getpid() == _INIT
        self._strays = StrayProcesses(self._kin, self._is_ours, self.say, self._on_rest_of_strays)
        self.outputs = Outputs(dirs.output, self.say, self.readers.ask)
        self._starts = Starts()
        self._owners = self._spool, self._work_dirs, self.outputs
        self._recording = Recording(
            [one.directory for one in self._owners],
            self.say,
            self._on_change_of_recording,
            self._renew,
        )
        self._work_limits = WorkLimits(
            lambda class_name: self._attempts.directories_of(class_name),
            lambda class_name: self.current_catalogue.policy(class_name).work_limit,
            self._work_dirs.measure,
            self.say,
            self._on_change_of_held,
        )
        self._attempts = Attempts(
            self._spool,
            life,
            self._outbox,
            self.current_catalogue.policy,
            self.outputs,
            self._work_dirs,
            self._starts,
            self._recording,
            self._work_limits,
            self._strays.end,
            clock.now,
            self.say,
        )
        self._hooks = Hooks(
            self._spool,
            self._outbox,
            self.outputs,
            self._work_dirs,
            self._starts,
            lambda: self.lanes.slots,
            self.current_catalogue.try_has_failed_hook,
            self.current_catalogue.policy,
            self._strays.end,
            self._note_end_of_process,
        )
        self._remnants = Remnants(
            self._spool,
            life.id,
            lambda: self._attempts.marks() | self._hooks.marks(),
            self._kin,
            self._strays.end_soon,
            self._in_background,
            self.say,
        )
        self._fork_servers = ForkServers(
            dirs,
            lambda: Application.from_config(self.config),
            self._on_report,
            self._on_change_of_server,
            self._on_end_of_server,
            self._on_reaped_server,
            self.say,
            self._in_background,
        )
        self._trials = Trials(
            self._fork_servers,
            lambda: Application.from_config(self.config),
            self.current_catalogue.renew,
            self.say,
            self._begin,
        )
        self.retention = Retention(
            lambda: self.config.retention,
            self.outputs,
            lambda: self._attempts.jobs() | self._hooks.jobs(),
            self.readers.read,
            self.record,
            self._in_background,
            clock.now,
            self.say,
        )
        self.on_reload.append(self.retention.look_now)
        self.on_reload.append(self._work_limits.look_at_all)
        self.followers = Followers()
        self.waiters = Waiters()
        self._timer: asyncio.TimerHandle | None = None
        self._set_clock = SetClock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._page: page_process.PageProcess | None = None
        self.own_pids: set[int] = set()  # of the page, and of whom else the entry point starts
        self._is_stopping = False
        self._is_draining = False
        self._reloads = Reloads(self._reload_and_tell)
        self._failed_reload: str | None = None  # why the last one failed

    # Start and stop

    def start(self) -> None:
        """Start the writer, and settle what an earlier daemon left."""
        reader = self.readers.first
        newest_entry, leapt_at = reader.newest_entry(), reader.leapt_at()  # before there are ours
        self._writer.start()
        self._loop.add_reader(self._set_clock.fileno(), self._on_set_clock)
        self._outbox.send(DaemonStarted())
        recover(self._spool, reader, self._attempts, self._hooks, self._work_dirs, self._notifier.more_time)
        self._remnants.start()
        self.retention.start(newest_entry, leapt_at)
        for told, count in self._attempts.count(_left_behind).items():
            self.say(EntryType.INFO, f"of an earlier daemon {_attempts(count)} {told[count > 1]}")

    def start_fork_server(self) -> None:
        """Bring up the fork server in the background; callers that need the catalogue wait for it."""
        self._in_background(self._fork_servers.keep_one())

    def start_page(self, socket: Path) -> None:
        """Bring up the page, a client of this socket, if there is to be one."""
        if not self.config.web.enabled:
            return
        try:
            settings = page_process.settings_of(self.config) | {"socket": str(socket)}
        except OSError as error:
            self.say(EntryType.FAILURE, f"there is no page: its token cannot be had: {error}")
            return
        self._page = page_process.PageProcess(settings, self.own_pids, self.say)
        self._in_background(self._page.keep())

    def start_watchdog(self) -> None:
        """Give systemd the signs of life that it wants, if it wants any."""
        if self._notifier.watchdog is not None:
            self._in_background(self._give_signs_of_life(self._notifier.watchdog / 2))

    async def _give_signs_of_life(self, pause: float) -> None:
        while True:
            await asyncio.sleep(pause)
            await self._hear_from_all()
            self._notifier.alive()

    async def _hear_from_all(self) -> None:
        """Come back once the writer and the fork server, which may be about to come up, have shown that they live.

        A writer that refuses, for it cannot write, lives: a restart wouldn't mend the disk; and so does one that has
        much to write before it comes to what is sent here. One that hangs in a sync does not, nor does anybody learn of
        it otherwise: attempts go on, and what was answered is stored.
        """
        self._has_delivered.clear()
        self._outbox.send(Ping())
        await self._has_delivered.wait()
        if self._fork_servers.current is not None:
            await self._fork_servers.current.ping()

    async def stop(self) -> None:
        """Take nothing new, commit what came in; attempts and the fork server go on."""
        self._is_stopping = True
        self.retention.close()
        self._notifier.stopping(self._status())
        if self._page is not None:
            self._page.stop()
        left = len(self._attempts)
        adopted = f"{_many(left)} on, and the next daemon adopts {'it' if left == 1 else 'them'}"
        self.say(EntryType.INFO, f"stopping; {adopted if left else 'nothing runs'}")
        self._fork_servers.stop()
        self._trials.close()
        self._open_lanes()
        self.current_catalogue.close()
        self.waiters.close()
        self._outbox.send()
        await self._loop.run_in_executor(None, self._writer.finish)
        await asyncio.sleep(0)  # the last delivery was handed to the loop before the thread ended
        if self._page is not None:
            await self._page.end()

    def close(self) -> None:
        """Let go of files and threads, after `stop`."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._set_clock.fileno())
        self._set_clock.close()
        self._silence.close()
        self._relay.close()
        self._strays.close()
        self._remnants.close()
        self._attempts.close()
        self._hooks.close()
        self._recording.close()
        self._work_limits.close()
        for task in self._tasks:
            task.cancel()
        self._spool.close()
        self._work_dirs.close()
        self.readers.close()
        self.outputs.close()

    async def stop_attempts(self, grace: float, why: str) -> None:
        """Stop what runs, hooks too, and kill what is left after `grace` seconds, where nothing is to go on.

        The signals wait for nobody; of the ends as much is stored as the disk takes meanwhile.
        """
        if self._attempts or not self._hooks.is_idle:
            self.say(EntryType.INFO, f"what runs is ended: {why}")
        self._attempts.stop_all(StopReason.SHUTDOWN, grace)
        self._hooks.stop_all(grace)
        with suppress(TimeoutError):
            async with asyncio.timeout(grace + _LAST_MOMENT):
                await self._start_nothing_new()
                await self._attempts.wait_until_empty()
                await self._hooks.wait_until_idle()

    async def drain(self) -> None:
        """Start nothing new, and wait until the attempts that run have ended."""
        await self._start_nothing_new()
        self.say(EntryType.INFO, f"draining: waits for {_attempts(len(self._attempts))}, starts nothing new")
        asking = self._loop.create_task(self._notifier.keep_asking(self._hear_from_all))
        try:
            await self._attempts.wait_until_empty()
            await self._hooks.wait_until_idle()
        finally:
            asking.cancel()

    async def _start_nothing_new(self) -> None:
        """Close the lanes; claims that were under way are known when this returns."""
        self._is_draining = True
        self._trials.close()
        self._open_lanes()
        self._notifier.status(self._status)
        with suppress(RequestError):
            await self.record(Look())
        self._attempts.start_no_more()

    def _open_lanes(self) -> None:
        """Let the writer grant slots if there is a fork server and nobody wants an end."""
        must_close = self._fork_servers.current is None or self._is_draining or self._is_stopping
        must_close = must_close or self._recording.reason is not None
        self._writer.lanes = (
            self.lanes.closed()
            if must_close
            else self.lanes.without([*self.current_catalogue.missing(), *self._work_limits.held()])
        )

    def _status(self) -> str:
        """How it stands, in a line."""
        if self._is_stopping:
            return "stopping"
        jobs = {} if self._tally is None else self._tally.jobs
        told = [f"{jobs.get(Status.RUNNING, 0)} running, {jobs.get(Status.PENDING, 0)} pending"]
        if self._is_draining:
            told.append(f"waits for the end of {len(self._attempts)} attempts, starts nothing new")
        elif self._fork_servers.current is None:
            told.append("starts nothing until its fork server is up")
        if self.storage_trouble is not None:
            told.append(self.storage_trouble)
        if self._failed_reload is not None:
            told.append(f"the last reload failed and changed nothing: {self._failed_reload}")
        return "; ".join(told)

    # Configuration

    def _make_groups(self) -> Groups | None:
        """What attempts' cgroups are made in, if systemd has delegated any."""
        subtree = cgroups.find()
        groups = cgroups.prepare(subtree)
        if subtree is not None and groups is None:
            self.say(EntryType.FAILURE, cgroups.why_unusable(subtree))
        return groups

    def _apply(self, config: Config, stored_queues: Iterable[str], enforcement: Enforcement) -> None:
        """Take over what may change while the daemon runs."""
        lanes = _lanes(config, stored_queues)
        for gap in enforcement.gaps:
            self.say(EntryType.INFO, f"best effort: {gap.key} {gap.told}")
        self.config, self.lanes, self.enforcement = config, lanes, enforcement
        self.counters.expect(config.approved, lanes.queues)

    async def reload(self) -> Catalogue:
        """Reopen the log, read the configuration, import the code anew, and go on with both. Raises ReloadFailedError.

        Where anything is wrong with them, all stays as it was. However many ask during a reload, one more follows it.
        """
        if self._is_stopping:
            raise ShuttingDownError
        return await self._reloads.ask()

    async def _reload_and_tell(self) -> Catalogue:
        if self._is_stopping:
            raise ShuttingDownError
        self._notifier.reload_begins()
        self._trials.pause()
        try:
            return await self._reload()
        finally:
            self._trials.resume()
            self._notifier.reload_ends(self._status())

    async def _reload(self) -> Catalogue:
        self._log.reopen()
        try:
            config = await self._loop.run_in_executor(None, self._load_config)
            enforcement = await self._loop.run_in_executor(None, Enforcement.here, config)
            queues = await self.readers.read(lambda reader: reader.queues())
            application = Application.from_config(config)
            await self._fork_servers.replace(
                application, lambda server: self._accept(config, queues, enforcement, server)
            )
        except (ConfigError, ForkServerError) as error:
            self._recording.suspect()
            raise self._refused_reload(str(error)) from None
        self._failed_reload = None
        catalogue = await self.current_catalogue.catalogue()
        self.say(EntryType.INFO, f"reloaded: code version {catalogue.code_version}")
        for on_reload in self.on_reload:
            on_reload()
        return catalogue

    def _accept(
        self, config: Config, queues: Iterable[str], enforcement: Enforcement, server: ForkServer
    ) -> None:
        """Take over configuration and catalogue of a new fork server. Raises ReloadFailedError for broken code."""
        catalogue = Catalogue(config, server.ready["classes"], server.code_version)
        before = self.current_catalogue.try_catalogue()
        broken = {} if before is None else catalogue.newly_broken(before)
        if broken:
            self.current_catalogue.say_unavailable(catalogue, broken)
            told = "; ".join(f"{name} is unavailable: {reason}" for name, reason in sorted(broken.items()))
            raise self._refused_reload(told)
        self._apply(config, queues, enforcement)
        for key in _needing_a_restart(self._config_of_start, config):
            self.say(
                EntryType.FAILURE, f"{key} has changed, which takes a restart; until then the old one holds"
            )

    def _refused_reload(self, reason: str) -> ReloadFailedError:
        self._failed_reload = reason
        self.say(EntryType.FAILURE, f"the reload failed, the old code and configuration stay: {reason}")
        return ReloadFailedError(reason=reason)

    def reload_in_background(self) -> None:
        """For SIGHUP: a failure is in the log."""
        self._in_background(self._reload_unasked())

    async def _reload_unasked(self) -> None:
        with suppress(RequestError):
            await self.reload()

    # What the api needs

    async def record(self, item: Item) -> Any:
        """Hand over an item and wait until it is committed; its answer, or its refusal raised."""
        if self._is_stopping:
            raise ShuttingDownError
        ticket: asyncio.Future[Any] = self._loop.create_future()
        self._note_jump()
        self.health.check()
        self._outbox.send(item, ticket)
        return await ticket

    @property
    def storage_trouble(self) -> str | None:
        """What keeps the database or the ends of attempts from being written, or lets the former grow; else None."""
        waiting = self._attempts.waiting()
        told = (
            f"results of {len(waiting)} jobs wait for room in the spool, such as that of job {waiting[0]}"
            if waiting
            else None
        )
        return self.health.trouble or self._recording.trouble or told

    @property
    def held(self) -> dict[str, str]:
        """The classes that get no start, each with why, and what to do."""
        return self._work_limits.held()

    async def tally(self) -> Tally:
        """What all jobs add up to; counted by whoever asks only as long as this daemon has committed nothing."""
        if self._tally is not None:
            return self._tally
        return await self.readers.read(lambda reader: reader.tally(self.clock.now()))

    @property
    def fork_server(self) -> ForkServer | None:
        """The one that starts attempts now, since `loaded_at`."""
        return self._fork_servers.current

    @property
    def fork_servers(self) -> int:
        """How many live; those of earlier code until their last attempts have ended."""
        return len(self._fork_servers.pids)

    def running(self) -> Awaitable[list[dict[str, Any]]]:
        """The attempts that run, and what each of them uses now; there may be many, so only searches wait for that."""
        journals = self._attempts.journals()
        return self.readers.search(
            lambda reader: live_usage.read_all(reader.running(), journals, self._attempts.try_open)
        )

    async def why(self, job_id: int) -> str:
        """Why a job has not run or has not ended, when it will run, or how it ended. Raises JobNotFoundError."""
        on_file, under_way = await self._job_now(job_id)
        if under_way is None and on_file.job.status is Status.RUNNING:
            # Its claim was committed, or its end, and this loop has not heard of the one, or the file was read before.
            on_file, under_way = await self._job_now(job_id)
        has_server = self._fork_servers.current is not None
        return why(
            Known(
                on_file,
                self.lanes,
                under_way,
                closing=self._closing,
                storage_trouble=self.health.unwritable,
                recording_trouble=self._recording.reason,
                why_held=self._work_limits.held().get(on_file.job.class_name),
                no_fork_server=None if has_server else self._fork_servers.absence,
                unavailable=self.try_unavailable(on_file.job.class_name),
                refusal=self.current_catalogue.try_refusal(on_file.job.call),
            ),
            self.clock.now(),
        )

    def try_unavailable(self, class_name: str) -> Unavailable | None:
        """Why nothing of an approved class can start, and what comes next; None where it can."""
        reason = self.current_catalogue.missing().get(class_name)
        return None if reason is None else Unavailable(reason, self._trials.hint(class_name))

    def hint_of_class(self, class_name: str) -> str:
        """What comes next for a class that cannot be used."""
        missing = self.try_unavailable(class_name)
        return UNTRIED if missing is None else f"its jobs wait; {missing.hint}"

    async def _job_now(self, job_id: int) -> tuple[OnFile, UnderWay | None]:
        now = self.clock.now()
        on_file = await self.readers.read(lambda reader: reader.on_file(job_id, now))
        if on_file is None:
            raise JobNotFoundError(id=job_id)
        return on_file, self._attempts.under_way((job_id, on_file.job.attempt))

    @property
    def _closing(self) -> Closing | None:
        if self._is_stopping:
            return Closing.STOPPING
        return Closing.DRAINING if self._is_draining else None

    # The writer

    def _hand_over(self, *entrusted: Entrusted) -> None:
        self._writer.put(*entrusted)
        self._silence.listen()

    def _on_silence(self, seconds: float) -> None:
        self.health.note_silence(seconds)
        self._notifier.status(self._status)

    def _deliver(self, delivery: Delivery) -> None:
        """Called on the writer's thread."""
        self._loop.call_soon_threadsafe(self._on_delivery, delivery)

    def _on_delivery(self, delivery: Delivery) -> None:
        self._has_delivered.set()
        self.health.note(delivery)
        if delivery.committed is not None:
            self._tally = delivery.committed.tally
            self.counters.note(delivery.committed)
            self._log.put(_line(line) for line in delivery.committed.lines)
            for claim in delivery.committed.claims:
                self._attempts.start(claim)
            self.followers.publish(delivery.committed)
            for job in delivery.committed.ended:
                self.waiters.announce(job.id)
            self._arm(delivery.committed.next_due)
        for ticket, answer in delivery.answered:
            self._answer(ticket, answer)
        for job in delivery.committed.stops if delivery.committed is not None else ():
            self._attempts.stop((job.id, job.attempt), StopReason.CANCELLED)
        self._notifier.status(self._status)

    def _answer(self, ticket: asyncio.Future[Any] | AttemptKey | None, answer: Any) -> None:
        """A caller's future gets its answer; the key of an attempt means that its end is on disk."""
        if isinstance(answer, Exception) and not isinstance(ticket, asyncio.Future):
            self.say(EntryType.FAILURE, f"bug: {type(answer).__name__}: {answer}")
        if isinstance(ticket, tuple):
            if isinstance(answer, Exception):
                self._attempts.on_refused_end(ticket, f"{type(answer).__name__}: {answer}")
            else:
                self._on_end_of_attempt(ticket, answer)
        elif ticket is not None and not ticket.done():
            if isinstance(answer, Exception):
                ticket.set_exception(answer)
            else:
                ticket.set_result(answer)

    def _on_end_of_attempt(self, key: AttemptKey, job: Job) -> None:
        """An attempt's end is on disk; a job that has failed for good may have a hook to call."""
        ending = self._attempts.ending_of(job)
        is_owed = (
            job.status is Status.FAILED and ending is not None and self._hooks.offer(key, job.call, ending)
        )
        self._attempts.forget(key, keep_journal=is_owed)
        self._note_end_of_process()

    def say(self, type: EntryType, message: str) -> None:
        """One log line about the daemon itself."""
        self._log.say(type, message, self.clock.now())

    def _say_from_thread(self, type: EntryType, message: str) -> None:
        """As `say`, whose log takes lines from the loop's thread alone."""
        self._loop.call_soon_threadsafe(self.say, type, message)

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
        self._outbox.send(Look())

    def _on_set_clock(self) -> None:
        """Somebody set the wall clock: what waits for its time may be due."""
        if self._set_clock.take():
            self._on_due()

    def _note_jump(self) -> None:
        delta = self.clock.take_jump()
        if delta is not None:
            self.say(EntryType.INFO, f"the clock was set by {delta:+.1f} s; waiting retries keep their delay")
            self._outbox.hold(ClockJumped(delta))
            self.retention.on_leap(delta)

    def _on_change_of_recording(self) -> None:
        """Ends of attempts cannot be recorded from now on, or can again."""
        self._open_lanes()
        self._notifier.status(self._status)
        self._serve_hooks()
        if self._recording.reason is None:
            self._outbox.send(Look())

    def _on_change_of_held(self) -> None:
        """A class gets no start from now on, or again."""
        self._open_lanes()
        self._outbox.send(Look())

    def _renew(self, directory: Directory) -> bool:
        """Make a directory again that was removed under this daemon. Whether it could."""
        owner = next(one for one in self._owners if one.directory == directory)
        try:
            if owner is self._spool:
                self._attempts.renew_spool()
            else:
                owner.renew()
        except OSError:
            if not directory.is_in_place():
                return False  # whoever looks next tells what is wrong
        if self._fork_servers.current is not None:
            self._fork_servers.current.reopen()
        self.say(
            EntryType.FAILURE, f"{directory.path} was removed, with all that was in it; it was made again"
        )
        return True

    def _serve_hooks(self) -> None:
        """Have hooks called where there is a fork server, and room for what they write."""
        self._hooks.serve_with(self._fork_servers.current if self._recording.reason is None else None)

    # The fork servers

    def _on_report(self, server: ForkServer, message: dict[str, Any]) -> None:
        if "unwritable" in message:
            self._recording.suspect()
            if all(one.directory.is_in_place() for one in self._owners):
                server.reopen()  # it may have had those that were removed, as when it came up meanwhile
        if message["is_hook"]:
            self._hooks.on_report(message)
        else:
            self._attempts.on_report(message)

    def _on_change_of_server(self, server: ForkServer | None) -> None:
        """Another fork server starts attempts from now on, or none does."""
        self.loaded_at = None if server is None else self.clock.now()
        if server is not None:
            self.current_catalogue.take(Catalogue(self.config, server.ready["classes"], server.code_version))
            if server.mark not in self._spool.kept_marks():
                server.reopen()  # the spool was made again while it came up
        self._trials.expect({} if server is None else server.missing)
        self._open_lanes()
        self._notifier.status(self._status)
        self._starts.serve_with(server)
        self._serve_hooks()
        if server is not None:
            self._outbox.send(Look())
        else:
            self._recording.suspect()  # without the directories none comes up, and no attempt finds that out

    def _on_end_of_server(self, server: ForkServer) -> None:
        self._attempts.on_end_of_server(server)
        self._hooks.on_end_of_server(server)
        self._strays.end_soon()

    def _on_reaped_server(self, server: ForkServer) -> None:
        self._remnants.on_reaped(server.mark)

    def _on_rest_of_strays(self) -> None:
        self._remnants.on_rest()

    def _note_end_of_process(self) -> None:
        """An attempt or a hook is over: it may have been the last of a fork server that is gone."""
        self._remnants.on_end()

    def _kin(self) -> set[int]:
        """The children of this process that are not strays."""
        known = self._inherited | self._fork_servers.pids | self.own_pids
        return known | self._attempts.pids() | self._hooks.pids()

    def _is_ours(self, pid: int) -> bool:
        """Whether a child that nobody knows comes from a fork server: by its mark, where others' orphans may fall to
        this process, for it is init or had children before it was the daemon.
        """
        return not self._may_get_others or fork_server_marks.try_mark_of(pid) in self._spool.kept_marks()

    # Work in the background

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        self._begin(work)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_end)
        return task

    def _on_task_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.say(EntryType.FAILURE, f"bug: {type(error).__name__}: {error}; restart the daemon")


def _left_behind(ending: Ending | None) -> tuple[str, str]:
    """What became of an attempt that an earlier daemon left, of one and of many."""
    match ending:
        case None:
            return "goes on, or ended meanwhile", "go on, or ended meanwhile"
        case Ending(outcome=Outcome.LOST):
            return "is lost; the jobs' logs say why", "are lost; the jobs' logs say why"
        case Ending(outcome=Outcome.NOT_STARTED):
            return "had not begun", "had not begun"
        case _:
            return "ended meanwhile", "ended meanwhile"


def _many(attempts: int) -> str:
    return f"{_attempts(attempts)} {'goes' if attempts == 1 else 'go'}"


def _attempts(count: int) -> str:
    return "1 attempt" if count == 1 else f"{count} attempts"


def _lanes(config: Config, stored_queues: Iterable[str]) -> Lanes:
    """The configured queues; one that only stored jobs know has no slots of its own, so that they still run."""
    queues = {name: Queue() for name in stored_queues} | config.queues
    classes = {name: policy.slots for name, policy in config.approved.items() if policy.slots is not None}
    return Lanes(
        config.daemon.slots,
        {name: queue.slots for name, queue in queues.items()},
        classes,
        {name: queue.max_pending for name, queue in queues.items()},
    )


def _needing_a_restart(old: Config, new: Config) -> list[str]:
    """The keys that differ from those of the start, and only count at a start."""
    dirs = ("socket", "fifo", "state_dir", "runtime_dir", "log_dir")
    changed = [f"[daemon] {key}" for key in dirs if getattr(old.daemon, key) != getattr(new.daemon, key)]
    return changed + [
        f"[{name}]" for name in ("socket", "log", "web") if getattr(old, name) != getattr(new, name)
    ]


def _line(line: LogLine) -> Line:
    return Line(
        line.at,
        line.type,
        line.target,
        line.message,
        line.job_id,
        line.attempt,
        line.context,
        line.is_passing,
    )
