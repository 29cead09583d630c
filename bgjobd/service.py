"""A daemon put together: directories, lock, store, log, loop and socket, in the order that a start and a stop need."""

from __future__ import annotations

import asyncio
import gc
import grp
import os
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from bgjob import __version__
from bgjob.errors import TooManyConnectionsError
from bgjob.words import EntryType
from bgjobd.api import methods, submissions
from bgjobd.api.access import Access, Grants
from bgjobd.api.fifo import Fifo
from bgjobd.api.inbox import Inbox
from bgjobd.api.server import Server
from bgjobd.config.sections import Config
from bgjobd.core.hosts import LivesElsewhereError, Pulse
from bgjobd.daemon import shutdown
from bgjobd.daemon.assembly import assembled
from bgjobd.daemon.fence import Fence
from bgjobd.daemon.hosts import profile_of
from bgjobd.daemon.loop import Daemon
from bgjobd.daemon.waiting_start import WaitingStart
from bgjobd.forkserver import subreaper
from bgjobd.host import directories, identity, last_end, life
from bgjobd.host.clock import Clock
from bgjobd.host.journal_priorities import is_for_journald
from bgjobd.host.lock import lock
from bgjobd.host.log import Log
from bgjobd.host.sd_listen import Handed
from bgjobd.host.sd_notify import Notifier
from bgjobd.store.database import UncertainCommitError
from bgjobd.store.engines import Engine
from bgjobd.store.engines.places import place_of
from bgjobd.store.engines.sqlite import engine_at, errors_named
from bgjobd.store.hosts import Joined, Newcomer, Wait, join
from bgjobd.supervisor import page_process
from bgjobd.supervisor.application import AttemptDirs
from bgjobd.supervisor.left_behind import LeftBehind
from bgjobd.supervisor.page_process import PageProcess

SOCKET_GROUP: Final = "bgjob"
_SOCKET_MODE: Final = 0o660
_COLLECTING: Final = (5_000, 500, 10)
"""How many new objects are looked through for cycles, and when those are that stay: a large request is 350,000 of them.

With Python's own (700, 10, 10) all of them are looked at ten times while it is read, 30 ms each.
"""

_FIFO_MODE: Final = 0o620
"""Who could read it would take lines away."""

_OWN_FIFO_MODE: Final = 0o600
"""Nobody knows a pipe's writers: where [access] lists who may submit, or no group is ours, it is the daemon's own."""

_SCARCITY: Final = "callers are turned away: no descriptors are left for them; raise LimitNOFILE"

_RESTORED: Final = (
    "the database is a backup that was restored: jobs that wait in it may have run since, so their queues are paused; "
    "look through `bgjob list --status pending`, cancel those that have run, then `bgjob resume` the queues. "
    "Schedules are paused as well: `bgjob schedule resume NAME` when what is missed need not run. "
    "New jobs get ids at least a million ahead, as those behind the backup's newest were given before"
)

_OF_ITS_OWN: Final = (
    "that one goes on, and this one becomes a host of its own. If it has the same [hosts] name, stop it until it has "
    "another: once the other one is stopped it would take its name"
)

_NOTHING_APPROVED: Final = (
    "no class is approved, so no job is taken: list what may run under [approved], "
    "in the file that --config names"
)


@asynccontextmanager
async def running(
    config: Config,
    load_config: Callable[[], Config],
    notifier: Notifier,
    handed: Handed,
    wants_end: asyncio.Event | None = None,
) -> AsyncIterator[Daemon]:
    """A daemon that answers at its socket; on leaving it commits what came in and ends, attempts go on.

    `load_config` reads the configuration anew for a reload. `notifier` tells systemd how it goes, except that it is
    ready; `handed` is what came from there. A database that is away is waited for, unless `wants_end` is set.
    Raises AlreadyRunningError, NameTakenError, UnusableDatabaseError, SchemaTooNewError, EndedEarlyError, OSError.
    """
    os.umask(0o077)
    gc.set_threshold(*_COLLECTING)
    subreaper.take_in_orphans()  # the attempts of a fork server that dies, so that their ends are seen
    _make_directories(config)
    descriptor = lock(config.daemon.state_dir)
    was_cut_short, has_served = last_end.begin(config.daemon.state_dir), False
    fence = _fence(config)
    try:
        log = _open_log(config)
        try:
            start = WaitingStart(notifier, wants_end or asyncio.Event(), partial(_say_at_start, log))
            daemon, is_restored = await _made(config, load_config, log, notifier, fence, start)
            _say_what_is_open(daemon, config)
            daemon.needs.ended_early = daemon.clock.now() if was_cut_short else None
            if not config.approved:
                daemon.say(EntryType.INFO, _NOTHING_APPROVED)
            if is_restored:
                daemon.say(EntryType.FAILURE, _RESTORED)
                await daemon.retention.remove_unknown_outputs()
            with directories.kept(*_directories(config)):  # not before the daemon has the spool to itself
                async with _serving(daemon, config, handed):
                    has_served = True
                    yield daemon
        finally:
            log.close()
    finally:
        if has_served or not was_cut_short:  # else the next one is to tell it
            last_end.end(config.daemon.state_dir)
        fence.close()
        os.close(descriptor)


async def _made(
    config: Config,
    load_config: Callable[[], Config],
    log: Log,
    notifier: Notifier,
    fence: Fence,
    start: WaitingStart,
) -> tuple[Daemon, bool]:
    """The daemon, once its database is there and of this version; and whether that came back from a backup."""
    engine = engine_at(place_of(config.daemon))
    left = LeftBehind(AttemptDirs.from_config(config, life.own().id))
    fence.start(left.end)  # it is minded from here on, however long the database takes
    await left.wait(notifier.more_time)
    is_restored = await start.prepare(engine)
    with errors_named(engine):
        joined = await _join_others(engine, config, fence, left, start)
        clock = _clock(engine)
        return assembled(config, clock, log, life.own(), load_config, notifier, fence, joined), is_restored


def _fence(config: Config) -> Fence:
    """The one of this host, if others share its database."""
    is_shared = config.daemon.database is not None
    return Fence(AttemptDirs.from_config(config).fence if is_shared else None, config.fenced_after)


async def _join_others(
    engine: Engine, config: Config, fence: Fence, left: LeftBehind, start: WaitingStart
) -> Joined | None:
    """Be one of the hosts that work from the database, if others may; what they may repeat does not go on here."""
    take = partial(_take_term, engine, config, fence)
    try:
        joined = await start.join(take)
    except LivesElsewhereError as error:
        start.say(EntryType.FAILURE, f"{error}; {_OF_ITS_OWN}")
        await start.end(left)  # the other one has counted it as lost
        identity.renew(config.daemon.state_dir)
        joined = await start.join(take)
    if joined is not None and joined.was_lost:  # others may be about to repeat it, or have
        await start.end(left)
    return joined


def _take_term(
    engine: Engine, config: Config, fence: Fence, watched: Pulse | None, was_away: bool
) -> Joined | Wait | None:
    """The term, where others may work from the same database."""
    if not engine.is_shared:
        return None
    sent_at, own = time.clock_gettime(time.CLOCK_BOOTTIME), config.hosts
    newcomer = Newcomer(
        identity.own(config.daemon.state_dir),
        own.name,
        life.own().id,
        own.lost_after,
        __version__,
        profile_of(config),
        own.beat,
    )
    try:
        with errors_named(engine):
            found = join(engine, newcomer, watched, was_away)
    except UncertainCommitError as error:  # it is asked again: a term that it has taken is its own
        raise engine.unusable(error) from error
    if isinstance(found, Joined):  # from now on others count
        fence.move(sent_at)
    return found


def _say_at_start(log: Log, type: EntryType, message: str) -> None:
    log.say(type, message, time.time())


def _clock(engine: Engine) -> Clock:
    """The database's, where it has one. Raises UnusableDatabaseError."""
    clock, reading = Clock(), engine.time()
    if reading is not None:
        clock.follow(reading)
    return clock


def _open_log(config: Config) -> Log:
    own = config.log
    for_journald = is_for_journald(os.environ)
    return Log(config.daemon.log_dir, own.console, own.level, own.snapshots, for_journald=for_journald)


@asynccontextmanager
async def _serving(daemon: Daemon, config: Config, handed: Handed) -> AsyncIterator[None]:
    on_bug = partial(_say_bug, daemon)
    on_scarcity = partial(daemon.say, EntryType.FAILURE, _SCARCITY)
    grants = Grants()
    job_of = daemon.supervisor.attempts.job_of
    on_full = partial(_say_full, daemon)
    server = Server(methods.methods(daemon, grants), config.socket, on_bug, on_scarcity, on_full, job_of)
    fifo = _fifo(daemon, config, on_bug)
    _grant(daemon, grants)
    daemon.reload.on_success.append(lambda: _grant(daemon, grants))
    daemon.schedules.why_no_submit = grants.why_no_submit
    with errors_named(place_of(config.daemon)):
        daemon.start()
    daemon.reload.on_success.append(lambda: _make_directories(daemon.config))
    page: PageProcess | None = None
    if config.daemon.database is not None:
        inbox = Inbox(daemon, grants)
        daemon.take_in, daemon.on_sent = inbox.take_in, inbox.wake
        daemon.background.start(inbox.keep())
    try:
        place = await _take_callers(server, fifo, daemon, config, handed)
        daemon.start_fork_server()
        page = _start_page(daemon, config, place)
        daemon.start_watchdog()
        daemon.say(EntryType.INFO, f"serving at {place} (pid {os.getpid()})")
        yield
    finally:
        server.stop_listening()
        if fifo is not None:
            await fifo.stop()
        if page is not None:
            page.stop()
        await shutdown.stop(daemon)
        if page is not None:
            await page.end()
        await server.finish()
        daemon.close()
        await asyncio.sleep(0)  # the loop closes the connections' descriptors


async def _take_callers(
    server: Server, fifo: Fifo | None, daemon: Daemon, config: Config, handed: Handed
) -> Path:
    """Take callers at the socket, and lines at the named pipe where there is one; where the socket is."""
    gid = _socket_gid(daemon) if handed.listener is None or fifo is not None else None
    place = await _listen(server, daemon, config.daemon.socket, gid, handed)
    if fifo is not None:
        fifo.open(_fifo_mode(daemon, gid), gid)
        daemon.reload.on_success.append(lambda: fifo.set_mode(_fifo_mode(daemon, gid)))
    return place


def _say_bug(daemon: Daemon, method: str, error: Exception) -> None:
    trace = "".join(traceback.format_exception(error))
    daemon.say(EntryType.FAILURE, f"bug: {method} raised {type(error).__name__}: {error}\n{trace}")


def _say_full(daemon: Daemon, uid: int, refusal: TooManyConnectionsError) -> None:
    told = (
        "uid {} has more connections than [socket] {setting} = {limit} allows: more of them are turned away"
    )
    daemon.say(EntryType.FAILURE, told.format(uid, **refusal.parameters))


def _grant(daemon: Daemon, grants: Grants) -> None:
    """Let what the configuration says of rights hold from now on."""
    access = Access.from_config(daemon.config.access)
    for name in access.unknown:
        daemon.say(EntryType.FAILURE, f"[access] names {name}, whom this machine does not know")
    grants.change(access)


def _start_page(daemon: Daemon, config: Config, served_at: Path) -> PageProcess | None:
    """Bring up the page, a client of this socket, if there is to be one."""
    if not config.web.enabled:
        return None
    try:
        settings = page_process.settings_of(config) | {"socket": str(served_at)}
    except OSError as error:
        daemon.say(EntryType.FAILURE, f"there is no page: its token cannot be had: {error}")
        return None
    page = PageProcess(settings, daemon.own_pids, daemon.say)
    daemon.background.start(page.keep())
    return page


async def _listen(server: Server, daemon: Daemon, path: Path, gid: int | None, handed: Handed) -> Path:
    """Serve where systemd has bound a socket already, else at this path; where it is now."""
    for refusal in handed.refused:
        daemon.say(EntryType.FAILURE, refusal)
    if handed.listener is None or handed.path is None:
        await server.listen(path, _SOCKET_MODE, gid)
        return path
    server.listen_at(handed.listener)
    if handed.path != path:
        text = f"systemd handed over {handed.path}, which is served; [daemon] socket, {path}, is not"
        daemon.say(EntryType.FAILURE, f"{text}: set it to the same, so that clients look in the right place")
    return handed.path


def _fifo(daemon: Daemon, config: Config, on_bug: Callable[[str, Exception], None]) -> Fifo | None:
    """The named pipe, if there is to be one; nobody hears of a refused line but the log."""
    if config.daemon.fifo is None:
        return None
    return Fifo(
        config.daemon.fifo,
        config.socket,
        partial(submissions.submit_line, daemon),
        lambda reason: daemon.say(EntryType.FAILURE, f"a line of the named pipe was refused: {reason}"),
        on_bug,
    )


def _fifo_mode(daemon: Daemon, gid: int | None) -> int:
    is_for_group = gid is not None and daemon.config.access.submit is None
    return _FIFO_MODE if is_for_group else _OWN_FIFO_MODE


def _make_directories(config: Config) -> None:
    """Our own directories, for our eyes only; wider ones are tightened. Attempts of other users pass through some."""
    has_other_users = any(policy.user or policy.group for policy in config.approved.values())
    passable = (config.daemon.runtime_dir, *_of_attempts(config)) if has_other_users else ()
    for directory in _directories(config):
        directories.make(directory, 0o711 if directory in passable else 0o700)


def _directories(config: Config) -> tuple[Path, ...]:
    place = config.daemon
    above = (place.state_dir, place.runtime_dir, place.log_dir)
    return (*above, *_of_attempts(config), AttemptDirs.from_config(config).output)


def _of_attempts(config: Config) -> tuple[Path, Path]:
    dirs = AttemptDirs.from_config(config)
    return dirs.spool, dirs.work


def _say_what_is_open(daemon: Daemon, config: Config) -> None:
    for key, directory in config.daemon.directories.items():
        for who, remedy in directories.doubts(directory):
            daemon.say(EntryType.FAILURE, f"{who}, and so put something else in the place of {key}; {remedy}")


def _socket_gid(daemon: Daemon) -> int | None:
    """The group whose members may connect: only root can give the socket away."""
    if os.geteuid() != 0:
        return None
    try:
        return grp.getgrnam(SOCKET_GROUP).gr_gid
    except KeyError:
        daemon.say(EntryType.INFO, f"there is no group {SOCKET_GROUP}; only root can reach the socket")
        return None
