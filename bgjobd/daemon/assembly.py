"""A daemon with its parts: makes each, and tells it whom it asks; the loop itself is elsewhere, and what parts do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from bgjob.codec import JsonObject
from bgjob.words import EntryType
from bgjobd.config.sections import Config
from bgjobd.core.hosts import Profile
from bgjobd.core.job import AttemptKey, Call, Ending
from bgjobd.core.need_kinds import MOST
from bgjobd.core.verdict import Life
from bgjobd.daemon.alerts import Alerts, AroundAlerts
from bgjobd.daemon.clock_difference import ClockDifference
from bgjobd.daemon.current_catalogue import CurrentCatalogue
from bgjobd.daemon.deliveries import Deliveries
from bgjobd.daemon.due_timer import DueTimer
from bgjobd.daemon.fence import Fence
from bgjobd.daemon.hosts import AroundHosts, Hosts, profile_of
from bgjobd.daemon.inspection import Inspection
from bgjobd.daemon.loop import Daemon
from bgjobd.daemon.many import Many
from bgjobd.daemon.needs import Needs
from bgjobd.daemon.others import AroundOthers, Others
from bgjobd.daemon.peers import Peers
from bgjobd.daemon.reload import AroundReload, Reload
from bgjobd.daemon.retention import AroundRetention, Retention
from bgjobd.daemon.schedule_requests import ScheduleRequests
from bgjobd.daemon.schedules import AroundSchedules, Schedules
from bgjobd.daemon.signs_of_life import SignsOfLife
from bgjobd.daemon.traces import Traces
from bgjobd.daemon.waiters import Waiters
from bgjobd.host.clock import Clock
from bgjobd.host.log import Log
from bgjobd.host.sd_notify import Notifier
from bgjobd.store.engines.places import place_of
from bgjobd.store.hosts import Joined
from bgjobd.store.items.daemons import CodeLoaded, ReloadFailed
from bgjobd.store.items.hosts import HookBegun
from bgjobd.store.reader import Reader
from bgjobd.store.recent import RecentJobs
from bgjobd.store.writer import Writer
from bgjobd.supervisor import cgroups, paging
from bgjobd.supervisor.application import AttemptDirs
from bgjobd.supervisor.relay import Relay
from bgjobd.supervisor.supervisor import AroundSupervisor, Supervisor

_MOST_TOLD: Final = 1000
"""Characters of the reason why a reload failed that are kept with the change."""


def assembled(
    *,
    config: Config,
    clock: Clock,
    log: Log,
    life: Life,
    load_config: Callable[[], Config],
    notifier: Notifier,
    fence: Fence,
    joined: Joined | None = None,
) -> Daemon:
    """A daemon that is not started yet.

    `load_config` reads the configuration anew, for a reload; it raises ConfigError.
    """
    daemon = Daemon(config=config, clock=clock, log=log, notifier=notifier, fence=fence)
    _add_own_parts(daemon, life, joined)
    daemon.supervisor = _supervisor(daemon, config, life)
    daemon.traces = Traces(lambda: daemon.config.traces.near, lambda: daemon.supervisor.spool.database_id)
    daemon.signs_of_life = SignsOfLife(notifier, daemon.outbox, lambda: daemon.fork_server)
    daemon.retention = _retention(daemon)
    daemon.schedules = _schedules(daemon)
    daemon.schedule_requests = _schedule_requests(daemon)
    daemon.others = _others(daemon)
    daemon.deliveries = _deliveries(daemon)
    daemon.inspection = _inspection(daemon)
    daemon.reload = _reload(daemon, load_config)
    daemon.hosts = _hosts(daemon, joined)
    daemon.needs = _needs(daemon)
    daemon.many = Many(daemon.readers.search, daemon.record, clock.now)
    daemon.alerts = _alerts(daemon)
    return daemon


def _add_own_parts(daemon: Daemon, life: Life, joined: Joined | None) -> None:
    """Those that the loop itself cannot do without; all others ask it, or one of these."""
    daemon.waiters, daemon.group_waiters, daemon.recent = Waiters(), Waiters(), RecentJobs()
    daemon.clock_difference = ClockDifference(daemon.say)
    daemon.current_catalogue = CurrentCatalogue(lambda: daemon.config, daemon.say)
    daemon.peers = Peers(lambda: daemon.config, daemon.readers.read, daemon.clock.now)
    daemon.relay = Relay(daemon.log.pass_on)
    daemon.due_timer = DueTimer(daemon.clock, daemon.outbox, daemon.on_leap, daemon.say)
    daemon.on_sent, daemon.take_in = lambda: None, _nothing_came_in
    daemon.writer = Writer(
        place_of(daemon.config.daemon),
        boot_id=life.id,
        clock=daemon.clock,
        lanes=daemon.lanes.closed(),
        deliver=daemon.deliver,
        term=None if joined is None else joined.term,
        history=daemon.history,
    )


async def _nothing_came_in(_: int | None) -> bool:
    return False


def _supervisor(daemon: Daemon, config: Config, life: Life) -> Supervisor:
    groups, why_none = cgroups.own()
    if why_none is not None:
        daemon.say(EntryType.FAILURE, why_none)

    async def begin_hook(key: AttemptKey) -> bool:
        is_ours: bool = await daemon.record(HookBegun(key))
        return is_ours

    return Supervisor(
        AroundSupervisor(
            dirs=AttemptDirs.from_config(config, life.id, groups, daemon.relay.fileno()),
            life=life,
            config=lambda: daemon.config,
            slots=lambda: daemon.lanes.slots,
            classes=daemon.current_catalogue,
            outbox=daemon.outbox,
            background=daemon.background,
            ask=daemon.readers.ask,
            now=daemon.clock.now,
            say=daemon.say,
            begin_hook=None if config.host is None else begin_hook,
            on_server=daemon.on_change_of_server,
            on_change=daemon.on_change,
        )
    )


def _retention(daemon: Daemon) -> Retention:
    def classes() -> Collection[str] | None:
        catalogue = daemon.current_catalogue.try_catalogue()
        return None if catalogue is None else {*catalogue.classes, *daemon.config.approved}

    return Retention(
        AroundRetention(
            kept=lambda: daemon.config.retention,
            outputs=daemon.outputs,
            in_use=daemon.supervisor.jobs,
            classes=classes,
            read=daemon.readers.read,
            record=daemon.record,
            in_background=daemon.background.start,
            now=daemon.clock.now,
            say=daemon.say,
            is_shared=daemon.config.host is not None,
        )
    )


def _schedules(daemon: Daemon) -> Schedules:
    return Schedules(
        AroundSchedules(
            config=lambda: daemon.config,
            current_catalogue=daemon.current_catalogue,
            peers=daemon.peers,
            read=daemon.readers.read,
            record=daemon.record,
            counters=daemon.counters,
            now=daemon.clock.now,
            say=daemon.say,
        )
    )


def _hosts(daemon: Daemon, joined: Joined | None) -> Hosts:
    def profile() -> Profile:
        server = daemon.fork_server
        code_version = None if server is None else server.code_version
        profile = profile_of(daemon.config, code_version, daemon.inspection.storage_trouble)
        ahead = daemon.clock.difference
        return replace(profile, clock_difference=None if ahead is None else float(round(ahead)))

    hosts = Hosts(
        joined,
        AroundHosts(
            settings=daemon.config.hosts,
            profile=profile,
            policy=daemon.current_catalogue.policy,
            record=daemon.record,
            read=daemon.readers.read,
            now=daemon.clock.now,
            say=daemon.say,
        ),
    )
    hosts.on_acknowledged, hosts.on_lost = daemon.fence.move, daemon.fence.stop_all
    hosts.on_accept, hosts.on_drained = daemon.accept_database, daemon.on_change
    hosts.on_hooks = partial(_call_hooks, daemon)
    return hosts


async def _call_hooks(daemon: Daemon, keys: Sequence[AttemptKey]) -> None:
    """Those that another host has owed; of a job that runs again by now there is none."""
    for key in keys:
        found = await daemon.readers.read(partial(_failed_attempt, key))
        if found is not None:
            daemon.supervisor.hooks.offer(key, *found)


def _failed_attempt(key: AttemptKey, reader: Reader) -> tuple[Call, Ending, float | None] | None:
    return reader.failed_attempt(*key)


def _others(daemon: Daemon) -> Others:
    def call_others(name: str | None) -> None:
        daemon.writer.told_as = name

    return Others(
        AroundOthers(
            attempts=daemon.supervisor.attempts,
            followers=daemon.followers,
            waiters=daemon.waiters,
            group_waiters=daemon.group_waiters,
            recent=daemon.recent,
            schedules=daemon.schedules,
            lanes=lambda: daemon.writer.lanes,
            read=daemon.readers.read,
            record=daemon.record,
            call_others=call_others,
            in_background=daemon.background.start,
            on_sent=lambda: daemon.on_sent(),
            say=daemon.say,
        )
    )


def _schedule_requests(daemon: Daemon) -> ScheduleRequests:
    return ScheduleRequests(
        daemon.schedules,
        config=lambda: daemon.config,
        current_catalogue=daemon.current_catalogue,
        peers=daemon.peers,
        read=daemon.readers.read,
        record=daemon.record,
        now=daemon.clock.now,
    )


def _deliveries(daemon: Daemon) -> Deliveries:
    return Deliveries(
        supervisor=daemon.supervisor,
        due_timer=daemon.due_timer,
        counters=daemon.counters,
        publish=daemon.others.publish,
        waiters=daemon.waiters,
        group_waiters=daemon.group_waiters,
        recent=daemon.recent,
        log=daemon.log,
        say=daemon.say,
        trace_of=daemon.traces.try_trace,
    )


def _inspection(daemon: Daemon) -> Inspection:
    return Inspection(
        readers=daemon.readers,
        deliveries=daemon.deliveries,
        supervisor=daemon.supervisor,
        current_catalogue=daemon.current_catalogue,
        health=daemon.health,
        peers=daemon.peers,
        lanes=lambda: daemon.lanes,
        closing=lambda: daemon.closing,
        reload_failure=lambda: daemon.reload.failure,
        schedules_trouble=lambda: daemon.schedules.trouble,
        now=daemon.clock.now,
    )


def _needs(daemon: Daemon) -> Needs:
    return Needs(
        readers=daemon.readers,
        inspection=daemon.inspection,
        counters=daemon.counters,
        current_catalogue=daemon.current_catalogue,
        refused=lambda: daemon.schedule_requests.refused(MOST),
        queues=lambda: daemon.lanes.queues,
        directories=lambda: daemon.config.daemon.directories,
        host=daemon.config.hosts.name,
        watches=lambda: daemon.config.alerts.watches,
        now=daemon.clock.now,
        counted=daemon.counted,
    )


def _alerts(daemon: Daemon) -> Alerts:
    def run(command: Sequence[str], notice: JsonObject) -> None:
        daemon.background.start(paging.run(command, notice, daemon.own_pids, daemon.say))

    return Alerts(
        AroundAlerts(
            config=lambda: daemon.config,
            needs=daemon.needs,
            current_catalogue=daemon.current_catalogue,
            read=daemon.readers.read,
            record=daemon.record,
            run=run,
            now=daemon.clock.now,
            say=daemon.say,
            cry=lambda message: daemon.log.say(EntryType.FAILURE, message, daemon.clock.now(), is_grave=True),
        )
    )


def _reload(daemon: Daemon, load_config: Callable[[], Config]) -> Reload:
    reload = Reload(
        AroundReload(
            load_config=load_config,
            current_config=daemon.current_config,
            current_catalogue=daemon.current_catalogue,
            peers=daemon.peers,
            supervisor=daemon.supervisor,
            readers=daemon.readers,
            log=daemon.log,
            notifier=daemon.notifier,
            background=daemon.background,
            status=daemon.inspection.status,
            say=daemon.say,
        )
    )
    reload.on_success += [
        daemon.retention.look_now,
        daemon.supervisor.work_limits.look_at_all,
        daemon.schedules.wake,
        lambda: daemon.alerts.wake(),
        lambda: _note_reload(daemon, None),
    ]
    reload.on_failure.append(partial(_note_reload, daemon))
    return reload


def _note_reload(daemon: Daemon, failure: str | None) -> None:
    """Have changes tell of a reload that is over, and why it has failed."""
    host, who, server = daemon.host_name, daemon.reload.asked_by, daemon.fork_server
    if failure is not None:
        daemon.outbox.send(ReloadFailed(failure[:_MOST_TOLD], host, who))
    elif server is not None:
        daemon.outbox.send(CodeLoaded(server.code_version, host, is_asked=True, who=who))
