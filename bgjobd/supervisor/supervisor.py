"""The supervisor: the parts that start, watch and end child processes, and what follows where one of them tells.

What is stored, and what is answered to whom, is the daemon's.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from bgjob.errors import RequestError
from bgjob.words import EntryType, Outcome, Status
from bgjobd.config.policy import Policy
from bgjobd.config.sections import Config
from bgjobd.core.job import AttemptKey, Ending, Job
from bgjobd.core.verdict import Life, StopReason
from bgjobd.host.background import Background
from bgjobd.store.entrusted import Outbox
from bgjobd.store.items.daemons import Look
from bgjobd.store.reader import Reader
from bgjobd.supervisor.application import Application, AttemptDirs
from bgjobd.supervisor.attempts import Attempts
from bgjobd.supervisor.fork_server_link import ForkServer
from bgjobd.supervisor.fork_servers import ForkServers
from bgjobd.supervisor.hooks import Hooks
from bgjobd.supervisor.looks import Looks
from bgjobd.supervisor.lost_elsewhere import LostElsewhere
from bgjobd.supervisor.outputs import Outputs
from bgjobd.supervisor.own_children import OwnChildren
from bgjobd.supervisor.processes import Known
from bgjobd.supervisor.recording import Directory, Recording
from bgjobd.supervisor.recovery import recover
from bgjobd.supervisor.remnants import Remnants
from bgjobd.supervisor.spool import Spool
from bgjobd.supervisor.starts import Starts
from bgjobd.supervisor.stray_processes import StrayProcesses
from bgjobd.supervisor.surroundings import AttemptSurroundings
from bgjobd.supervisor.trials import Described, Trials
from bgjobd.supervisor.work_dirs import WorkDirs
from bgjobd.supervisor.work_limits import WorkLimits


class Classes(Protocol):
    """What is known of the approved classes."""

    def policy(self, class_name: str) -> Policy: ...

    def why_unfit(self, job: Job) -> str | None: ...

    def try_has_failed_hook(self, class_name: str) -> bool | None: ...

    def renew(self, described: Described) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class AroundSupervisor:
    """What it needs of the daemon.

    `config` and `slots` tell what holds, `ask` has a thread answer what is read for callers, `now` counts seconds since
    the epoch, `say` writes a line about the daemon. `begin_hook` tells of an attempt whether this host may call its
    hook, None where there is no other. `on_server` hears of the fork server that starts attempts from now on, None
    where none does; `on_change` that something else has changed of what may start.
    """

    dirs: AttemptDirs
    life: Life
    config: Callable[[], Config]
    slots: Callable[[], int]
    classes: Classes
    outbox: Outbox
    background: Background
    ask: Callable[..., Awaitable[Any]]
    now: Callable[[], float]
    say: Callable[[EntryType, str], None]
    begin_hook: Callable[[AttemptKey], Awaitable[bool]] | None
    on_server: Callable[[ForkServer | None], None]
    on_change: Callable[[], None]


class Supervisor:
    """All that has to do with this daemon's child processes."""

    def __init__(self, around: AroundSupervisor) -> None:
        self._around = around
        self._loop = asyncio.get_running_loop()
        self.work_dirs = WorkDirs(
            directory=around.dirs.work, groups=around.dirs.groups, say=self._say_from_thread
        )
        self.spool = Spool(directory=around.dirs.spool)
        self.outputs = Outputs(directory=around.dirs.output, say=around.say, ask=around.ask)
        self._owners = self.spool, self.work_dirs, self.outputs
        self.recording = self._make_recording()
        self.work_limits = self._make_work_limits()
        self.children = OwnChildren(known=self._pids, marks=self.spool.servers.marks)
        self.strays = self._make_strays()
        self._starts = Starts()
        around_attempts = self._make_attempt_surroundings()
        self.attempts = Attempts(around_attempts, self._around.life)
        self.hooks = self._make_hooks(around_attempts)
        self.remnants = self._make_remnants()
        self.fork_servers = self._make_fork_servers()
        self.trials = self._make_trials()

    # How the parts are wired

    def _make_recording(self) -> Recording:
        return Recording(
            places=[one.directory for one in self._owners],
            say=self._around.say,
            on_change=self._on_change_of_recording,
            renew=self._renew,
        )

    def _make_work_limits(self) -> WorkLimits:
        return WorkLimits(
            directories=lambda class_name: self.attempts.directories_of(class_name),
            limit=lambda class_name: self._around.classes.policy(class_name).work_limit,
            measure=self.work_dirs.measure,
            say=self._around.say,
            on_change=self._on_change_of_held,
        )

    def _make_strays(self) -> StrayProcesses:
        return StrayProcesses(
            known=self.children.known,
            is_ours=self.children.is_ours,
            say=self._around.say,
            on_rest=lambda: self.remnants.on_rest(),
        )

    def _make_attempt_surroundings(self) -> AttemptSurroundings:
        return AttemptSurroundings(
            spool=self.spool,
            outbox=self._around.outbox,
            policy=self._around.classes.policy,
            why_unfit=self._around.classes.why_unfit,
            outputs=self.outputs,
            work=self.work_dirs,
            starts=self._starts,
            recording=self.recording,
            work_limits=self.work_limits,
            processes=Known(is_helper=self._is_helper),
            end_strays=self.strays.end,
            looks=Looks(self.spool, self.outputs, self._around.ask, self._around.now),
            now=self._around.now,
            say=self._around.say,
            shared_output=lambda: _shared_output(self._around.config()),
            near=lambda: self._around.config().traces.near,
            fenced_grace=self._around.dirs.fenced_grace,
        )

    def _make_hooks(self, around_attempts: AttemptSurroundings) -> Hooks:
        return Hooks(
            around=around_attempts,
            slots=self._around.slots,
            wants=self._around.classes.try_has_failed_hook,
            on_end=lambda: self.remnants.on_end(),
            begin=self._around.begin_hook,
            in_background=self._around.background.start,
            jitter=random.random,
        )

    def _make_remnants(self) -> Remnants:
        return Remnants(
            spool=self.spool,
            life_id=self._around.life.id,
            at_work=lambda: self.attempts.marks() | self.hooks.marks(),
            known=self.children.known,
            end_strays=self.strays.end_soon,
            in_background=self._around.background.start,
            say=self._around.say,
        )

    def _make_fork_servers(self) -> ForkServers:
        return ForkServers(
            dirs=self._around.dirs,
            application=self._application,
            on_report=self._on_report,
            on_change=self._on_change_of_server,
            on_end=self._on_end_of_server,
            on_reaped=lambda server: self.remnants.on_reaped(server.mark),
            say=self._around.say,
            in_background=self._around.background.start,
            on_failure=self._around.on_change,
        )

    def _make_trials(self) -> Trials:
        return Trials(
            fork_servers=self.fork_servers,
            application=self._application,
            on_news=self._around.classes.renew,
            say=self._around.say,
            in_background=self._around.background.begin,
        )

    def _application(self) -> Application:
        return Application.from_config(self._around.config())

    # Start and stop

    def start(self, reader: Reader, host: int | None, more_time: Callable[[], None]) -> None:
        """Settle what an earlier daemon of this host left, and say what that was."""
        lost = None if host is None else self._lost_elsewhere(reader)
        recover(self.spool, reader, host, self.attempts, self.hooks, self.work_dirs, lost, more_time)
        self.remnants.start()
        for texts, count in self.attempts.count(_left_behind).items():
            attempts = "1 attempt" if count == 1 else f"{count} attempts"
            self._around.say(EntryType.INFO, f"of an earlier daemon {attempts} {texts[count > 1]}")

    def _lost_elsewhere(self, reader: Reader) -> LostElsewhere:
        policy = self._around.classes.policy
        return LostElsewhere(
            self.spool, reader, self.work_dirs, self._around.outbox, lambda name: policy(name).retry_lost
        )

    def stop(self) -> None:
        """Start no more fork servers; attempts and those that live go on."""
        self.fork_servers.stop()
        self.trials.close()

    def stop_all(self, grace: float) -> None:
        """Stop what runs, hooks too, and kill what is left after `grace` seconds."""
        self.attempts.stop_all(StopReason.SHUTDOWN, grace)
        self.hooks.stop_all(grace)

    async def wait_until_idle(self) -> None:
        """Come back once no attempt and no hook runs."""
        await self.attempts.wait_until_empty()
        await self.hooks.wait_until_idle()

    def close(self) -> None:
        """Let go of files, threads and timers; what runs goes on."""
        self.strays.close()
        self.remnants.close()
        self.attempts.close()
        self.hooks.close()
        self.recording.close()
        self.work_limits.close()
        self.spool.close()
        self.work_dirs.close()
        self.outputs.close()

    # What others need to know

    @property
    def is_idle(self) -> bool:
        """Whether no attempt and no hook runs."""
        return not self.attempts and self.hooks.is_idle

    @property
    def can_start(self) -> bool:
        """Whether there is a fork server, and room for what attempts write."""
        return self.fork_servers.current is not None and self.recording.reason is None

    @property
    def trouble(self) -> str | None:
        """What keeps the ends of attempts from being written; None where nothing does."""
        waiting = self.attempts.waiting()
        if self.recording.trouble is not None or not waiting:
            return self.recording.trouble
        if len(waiting) == 1:
            return f"the result of job {waiting[0]} waits for room in the spool"
        return f"results of {len(waiting)} jobs wait for room in the spool, such as that of job {waiting[0]}"

    def jobs(self) -> set[int]:
        """The jobs that have an attempt or a hook which is not seen to its end."""
        return self.attempts.jobs() | self.hooks.jobs()

    # What the parts tell

    def on_end_of_attempt(self, key: AttemptKey, job: Job) -> None:
        """An attempt's end is on disk; a job that has failed for good may have a hook to call."""
        has_failed = job.status is Status.FAILED and job.is_over
        ending = self.attempts.ending_of(job) if has_failed else None
        is_owed = ending is not None and self.hooks.offer(key, job.call, ending, job.occurrence)
        self.attempts.forget(key, keep_journal=is_owed)
        self.remnants.on_end()  # it may have been the last of a fork server that is gone

    @contextmanager
    def expecting_hook(self, key: AttemptKey) -> Iterator[None]:
        """Meanwhile a job may come to have failed for good, without an end of its attempt: should this daemon die, the
        next finds a fence in the journal's place, and what is owed.
        """
        is_put = False
        # There is no room, or no descriptors: it is owed nothing if this daemon dies now.
        with suppress(OSError):
            is_put = self.spool.fences.put(key)
        if is_put:
            self.spool.fences.keep(key)
        try:
            yield
        except RequestError:
            if is_put:
                self._remove_fence(key)
            raise

    def on_settled(self, job: Job) -> None:
        """A person says that the job has failed, and that is on disk: it may have a hook to call."""
        key = job.id, job.attempt
        ending = Ending(job.outcome or Outcome.LOST, error_message=job.error)
        if not self.hooks.offer(key, job.call, ending, job.occurrence):
            self._remove_fence(key)

    def _remove_fence(self, key: AttemptKey) -> None:
        self.spool.fences.keep_no_longer(key)
        self.spool.remove(key)

    def _on_report(self, server: ForkServer, message: dict[str, Any]) -> None:
        if "unwritable" in message:
            self.recording.suspect()
            if all(one.directory.is_in_place() for one in self._owners):
                server.reopen()  # it may have had those that were removed, as when it came up meanwhile
        if message["is_hook"]:
            self.hooks.on_report(message)
        else:
            self.attempts.on_report(message)

    def _on_change_of_server(self, server: ForkServer | None) -> None:
        """Another fork server starts attempts from now on, or none does."""
        if server is not None:
            self.strays.note_server(server.pid)
            if server.mark not in self.spool.servers.marks():
                server.reopen()  # the spool was made again while it came up
        self._around.on_server(server)
        self.trials.expect({} if server is None else server.missing)
        self._starts.serve_with(server)
        self._serve_hooks()
        if server is not None:
            self._around.outbox.send(Look())
        else:
            self.recording.suspect()  # without the directories none comes up, and no attempt finds that out

    def _on_end_of_server(self, server: ForkServer) -> None:
        self.attempts.on_end_of_server(server)
        self.hooks.on_end_of_server(server)
        self.strays.end_soon(server.pid)

    def _on_change_of_recording(self) -> None:
        """Ends of attempts cannot be recorded from now on, or can again."""
        self._around.on_change()
        self._serve_hooks()
        if self.recording.reason is None:
            self._around.outbox.send(Look())

    def _on_change_of_held(self) -> None:
        """A class gets no start from now on, or again."""
        self._around.on_change()
        self._around.outbox.send(Look())

    def _serve_hooks(self) -> None:
        """Have hooks called where there is a fork server, and room for what they write."""
        self.hooks.serve_with(self.fork_servers.current if self.recording.reason is None else None)

    def _renew(self, directory: Directory) -> bool:
        """Make a directory again that was removed under this daemon. Whether it could."""
        owner = next(one for one in self._owners if one.directory == directory)
        try:
            if owner is self.spool:
                self.attempts.renew_spool()
            else:
                owner.renew()
        except OSError:
            if not directory.is_in_place():
                return False  # whoever looks next tells what is wrong
        if self.fork_servers.current is not None:
            self.fork_servers.current.reopen()
        text = f"{directory.path} was removed, with all that was in it; it was made again"
        self._around.say(EntryType.FAILURE, text)
        return True

    def _is_helper(self, pid: int) -> bool:
        return pid in self.fork_servers.pids or pid in self.children.others

    def _pids(self) -> set[int]:
        return self.fork_servers.pids | self.attempts.pids() | self.hooks.pids()

    def _say_from_thread(self, message: str) -> None:
        """For what ends on a thread of its own: the log takes lines from the loop's alone."""
        self._loop.call_soon_threadsafe(self._around.say, EntryType.FAILURE, message)


def _shared_output(config: Config) -> int:
    """Where nobody else works from the database, nothing is shared."""
    return 0 if config.host is None else config.hosts.outputs


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
