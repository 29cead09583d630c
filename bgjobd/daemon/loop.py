"""The daemon's loop: hears of requests, starts and ends, hands them to the writer, and carries out what it committed.

No rule about jobs is here: what a fact means is the core's, what is stored is the ledger's. Attempts, hooks and
fork servers are told what follows from a commit; memory advances only after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from bgjob import __version__
from bgjob.errors import RequestError, ShuttingDownError, StorageUnavailableError
from bgjob.words import EntryType
from bgjobd.config.alerts import NOTICE
from bgjobd.config.sections import Config
from bgjobd.core.planner import Lanes
from bgjobd.core.why import Closing
from bgjobd.daemon.alerts import Alerts
from bgjobd.daemon.catalogue import Catalogue
from bgjobd.daemon.clock_difference import ClockDifference
from bgjobd.daemon.counters import Counters
from bgjobd.daemon.current_catalogue import CurrentCatalogue
from bgjobd.daemon.current_config import CurrentConfig
from bgjobd.daemon.deliveries import Deliveries
from bgjobd.daemon.due_timer import DueTimer
from bgjobd.daemon.fence import Fence
from bgjobd.daemon.followers import Followers
from bgjobd.daemon.hosts import Hosts
from bgjobd.daemon.inspection import Inspection
from bgjobd.daemon.many import Many
from bgjobd.daemon.needs import Needs
from bgjobd.daemon.others import Others
from bgjobd.daemon.peers import Peers
from bgjobd.daemon.reload import Reload
from bgjobd.daemon.retention import Retention
from bgjobd.daemon.schedule_requests import ScheduleRequests
from bgjobd.daemon.schedules import Schedules
from bgjobd.daemon.signs_of_life import SignsOfLife
from bgjobd.daemon.silence import Silence
from bgjobd.daemon.traces import Traces
from bgjobd.daemon.waiters import Waiters
from bgjobd.host.background import Background
from bgjobd.host.clock import Clock, to_text
from bgjobd.host.log import Log
from bgjobd.host.sd_notify import Notifier
from bgjobd.store.engines.places import place_of
from bgjobd.store.engines.sqlite import engine_at
from bgjobd.store.entrusted import Entrusted, Outbox
from bgjobd.store.health import StorageHealth
from bgjobd.store.history import History
from bgjobd.store.items.daemons import CodeLoaded, DaemonStarted, Look
from bgjobd.store.items.item import Item
from bgjobd.store.items.schedules import OccurrencesDue
from bgjobd.store.readers import Readers
from bgjobd.store.recent import RecentJobs
from bgjobd.store.span_counts import Counted
from bgjobd.store.writer import Delivery, Writer
from bgjobd.supervisor.fork_server_link import ForkServer
from bgjobd.supervisor.limits import Enforcement
from bgjobd.supervisor.outputs import Outputs
from bgjobd.supervisor.relay import Relay
from bgjobd.supervisor.supervisor import Supervisor


class Daemon:
    """Everything between the socket and the fork server; `assembly` makes it, with the parts that are named first.

    `ending` is how it ends, once it does: by a drain, or a stop.
    """

    waiters: Waiters
    group_waiters: Waiters
    recent: RecentJobs
    clock_difference: ClockDifference
    current_catalogue: CurrentCatalogue
    peers: Peers
    writer: Writer
    relay: Relay
    due_timer: DueTimer
    supervisor: Supervisor
    traces: Traces
    signs_of_life: SignsOfLife
    retention: Retention
    schedules: Schedules
    schedule_requests: ScheduleRequests
    others: Others
    deliveries: Deliveries
    inspection: Inspection
    reload: Reload
    hosts: Hosts
    needs: Needs
    many: Many
    alerts: Alerts
    on_sent: Callable[[], None]
    """Hears that an application has sent something by its own transaction."""
    take_in: Callable[[int | None], Awaitable[bool]]
    """Makes a job of what is known by this id and is none yet, None: of all that is none; whether to look again."""

    def __init__(self, *, config: Config, clock: Clock, log: Log, notifier: Notifier, fence: Fence) -> None:
        place = self._place = place_of(config.daemon)
        self.clock = clock
        self.limits = config.socket
        self.started_at = clock.now()
        self.loaded_at: float | None = None
        self.ending: Closing | None = None
        self._ending_since: float | None = None
        self._loop = asyncio.get_running_loop()
        self.log = log
        self.notifier = notifier
        self.fence = fence
        self.background = Background(self.say)
        self.counters = Counters()
        engine = engine_at(place)
        self.history = History(config.daemon.state_dir if engine.may_go_back else None)
        self.health = StorageHealth(self.say, self._loop.time, engine.silence, self.history)
        self.readers = Readers(place)
        self.followers = Followers(self.readers.first.steps_under_way())
        self.current_config = self._make_current_config(config)
        self._silence = Silence(self._loop, lambda: self.writer.busy_since, self._on_silence)
        self.outbox = Outbox(self._hand_over)

    def _make_current_config(self, config: Config) -> CurrentConfig:
        return CurrentConfig(
            config,
            self.readers.first.queues(),
            Enforcement.here(config),
            on_change=lambda config, lanes: self.counters.expect(config.approved, lanes.queues),
            say=self.say,
        )

    # Start and stop

    def start(self) -> None:
        """Start the writer, and settle what an earlier daemon left."""
        reader = self.readers.first
        newest_entry, leapt_at = reader.old.newest_entry(), reader.leapt_at()  # before there are ours
        newest_log = reader.last_log_id()
        self.writer.start()
        self.due_timer.start()
        self.outbox.send(DaemonStarted(__version__, self.host_name))
        self.supervisor.start(reader, self.hosts.host_id, self.notifier.more_time)
        self.fence.on_change = self._on_change_of_fence
        self.fence.serve(self.supervisor.attempts.stop_repeatable, self.say)
        self.retention.start(newest_entry, leapt_at)
        self.others.start(engine_at(self._place), self.config.hosts.beat, newest_log)
        self.background.start(self.schedules.keep())
        self.background.start(self.hosts.keep())
        self.background.start(self.alerts.keep())

    def start_fork_server(self) -> None:
        """Bring up the fork server in the background; callers that need the catalogue wait for it."""
        self.background.start(self.supervisor.fork_servers.keep_one())

    def start_watchdog(self) -> None:
        """Give systemd the signs of life that it wants, if it wants any."""
        self.background.start(self.signs_of_life.keep_giving())

    def close(self) -> None:
        """Let go of files and threads, after `stop`; of the database last, for its disk may hang.

        The loop waits for that: what it heard meanwhile would be of what is closed.
        """
        self.due_timer.close()
        self._silence.close()
        self.relay.close()
        self.background.close()
        self.readers.close()
        self.supervisor.close()
        self.writer.leave()

    # What changes of what may start

    def on_change_of_server(self, server: ForkServer | None) -> None:
        """Another fork server starts attempts from now on, or none does."""
        self.loaded_at = None if server is None else self.clock.now()
        if server is None:
            self.needs.note_end_of_fork_server()
        else:
            catalogue = Catalogue(self.config, server.ready["classes"], server.code_version)
            self.current_catalogue.take(catalogue)
            self.schedules.wake()
            if not self.reload.is_under_way:
                self.outbox.send(CodeLoaded(server.code_version, self.host_name))
        self.on_change()

    def on_leap(self, seconds: float) -> None:
        """The clock was set by so much."""
        self.retention.on_leap(seconds)
        self.schedules.wake()

    def _note_time(self) -> None:
        """What the database's clock shows may be another time than before."""
        leap = self.clock.take_leap()
        if leap is not None:
            self.on_leap(leap)
        self.clock_difference.note(self.clock.difference)

    def begin_end(self, ending: Closing) -> None:
        """It drains from now on, or stops; what follows from that is `shutdown`'s."""
        self.ending = ending
        if self._ending_since is None:
            self._ending_since = self.clock.now()

    def on_change(self) -> None:
        self.open_lanes()
        self.alerts.wake()
        self.notifier.status(self.inspection.status)

    def _on_change_of_fence(self) -> None:
        """This host is cut off, so that nothing may start, or is so no more."""
        self.on_change()
        self.outbox.send(Look())

    def open_lanes(self) -> None:
        """Let the writer grant slots if there is a fork server, nobody wants an end, and the host is not cut off."""
        is_open = self.supervisor.can_start and self.closing is None and not self.fence.is_over
        kept_back = [*self.current_catalogue.missing(), *self.inspection.held]
        lanes = replace(self.lanes, hookless=self._hookless())
        self.writer.lanes = lanes.without(kept_back) if is_open else lanes.closed()

    def _hookless(self) -> frozenset[str]:
        """The classes of which no failed job is owed a hook."""
        server = self.fork_server
        if server is None or server.has_on_failure:
            return frozenset()
        wants = self.current_catalogue.try_has_failed_hook
        return frozenset(name for name in self.config.approved if wants(name) is False)

    def counted(self) -> Counted:
        """What has ended that is in no row of the tallies yet."""
        return self.writer.counted()

    # What the api needs

    @property
    def config(self) -> Config:
        """What holds now."""
        return self.current_config.config

    @property
    def host_name(self) -> str | None:
        """What this host is called; None where no others work from the database."""
        return None if self.config.host is None else self.config.hosts.name

    @property
    def lanes(self) -> Lanes:
        """The slots of queues and classes, as they are configured now."""
        catalogue = self.current_catalogue.try_catalogue()
        if catalogue is None:
            return self.current_config.lanes.of_classes([*self.config.approved, NOTICE])
        return self.current_config.lanes.of_classes([*catalogue.classes, NOTICE]).of_code(
            catalogue.code_version
        )

    @property
    def closing(self) -> Closing | None:
        """Why nothing new starts; None where somebody has asked for neither."""
        if self.ending is None and self.hosts.drained is not None:
            return Closing.ASKED
        return self.ending

    @property
    def drained_at(self) -> str | None:
        """Since when nothing new starts, for somebody has asked for that, or for its end; None where nobody has."""
        if self.hosts.drained is not None:
            return self.hosts.drained.at
        return None if self._ending_since is None else to_text(self._ending_since)

    @property
    def enforcement(self) -> Enforcement:
        """Which limits this machine enforces."""
        return self.current_config.enforcement

    @property
    def outputs(self) -> Outputs:
        """What attempts print."""
        return self.supervisor.outputs

    @property
    def own_pids(self) -> set[int]:
        """Children that are neither attempts nor fork servers; who starts such a one adds it."""
        return self.supervisor.children.others

    @property
    def fork_server(self) -> ForkServer | None:
        """The one that starts attempts now, since `loaded_at`."""
        return self.supervisor.fork_servers.current

    def say(self, type: EntryType, message: str) -> None:
        """One log line about the daemon itself."""
        self.log.say(type, message, self.clock.now())

    async def record(self, item: Item) -> Any:
        """Hand over an item and wait until it is committed; its answer, or its refusal raised."""
        if self.ending is Closing.STOPPING:
            raise ShuttingDownError
        ticket: asyncio.Future[Any] = self._loop.create_future()
        self.due_timer.note_jump()
        self.health.check()
        if self.health.gone_back is not None and isinstance(item, OccurrencesDue):
            raise StorageUnavailableError(reason=self.health.gone_back, may_be_stored=False)
        self.outbox.send(item, ticket)
        return await ticket

    async def accept_database(self) -> bool:
        """What the database has is what holds, though it has gone back, for somebody has looked; whether it had.

        Raises OSError.
        """
        if self.history.trouble is None:
            return False
        self.history.accept()
        self.outbox.send(Look())
        return True

    # The writer

    def _hand_over(self, *entrusted: Entrusted) -> None:
        self.writer.put(*entrusted)
        self._silence.listen()

    def _on_silence(self, seconds: float) -> None:
        self.health.note_silence(seconds)
        self.alerts.wake()
        self.notifier.status(self.inspection.status)
        if self.hosts.term is not None:
            self.background.start(self._end_standing())

    async def _end_standing(self) -> None:
        """Where another host is cut off, or stands still, amid a transaction, all others wait for its locks."""
        with suppress(RequestError):
            ended = await self.readers.read(lambda reader: reader.end_standing())
            if ended:
                self.say(EntryType.FAILURE, _STOOD_STILL)

    def deliver(self, delivery: Delivery) -> None:
        """Hear what the writer has done; called on its thread."""
        self._loop.call_soon_threadsafe(self._on_delivery, delivery)

    def _on_delivery(self, delivery: Delivery) -> None:
        self.signs_of_life.note_delivery()
        self.health.note(delivery)
        self.hosts.note(delivery)
        self.deliveries.take(delivery)
        if delivery.committed is not None:
            self.schedules.on_commit()
        self.alerts.on_commit(delivery.committed)
        self._note_time()
        self.notifier.status(self.inspection.status)


_STOOD_STILL: Final = (
    "the database was held up by a daemon that is cut off, or stands still, amid a transaction: "
    "its session was ended"
)
