"""The command `bgjobd serve`: the daemon in the foreground, and what signals do to it."""

from __future__ import annotations

import argparse
import asyncio
import errno
import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Final

from bgjobd import service
from bgjobd.api.unix_socket import SocketInUseError
from bgjobd.commands.exit_codes import BUSY, FAILED, OK, UNAVAILABLE, UNREPAIRED, USAGE, complain
from bgjobd.commands.settings import settings_of
from bgjobd.config.problems import ConfigError
from bgjobd.config.sections import Config
from bgjobd.core.stopping import AtStop, at_stop
from bgjobd.daemon import shutdown
from bgjobd.daemon.loop import Daemon
from bgjobd.daemon.waiting_start import EndedEarlyError
from bgjobd.forkserver import huge_pages
from bgjobd.host import container, init, poweroff, sd_listen
from bgjobd.host.lock import AlreadyRunningError
from bgjobd.host.pacing import AtMostOnce
from bgjobd.host.sd_listen import Handed
from bgjobd.host.sd_notify import Notifier
from bgjobd.store.database import DamagedDatabaseError, UnusableDatabaseError
from bgjobd.store.engines import TermTakenError
from bgjobd.store.engines.server_errors import UnusableServerError
from bgjobd.store.hosts import NameTakenError
from bgjobd.store.migrations import MigrationFailedError, OlderHostsError, SchemaTooNewError
from bgjobd.supervisor import limits
from bgjobd.supervisor.spool_files import SpoolInUseError

_REOPENS_IN: Final = 1.0
"""Seconds between two times that the log is reopened, however often that is asked for."""

_GRACE_AT_POWEROFF: Final = 10.0
"""Seconds that attempts have at most; with what else a stop takes, well below the 30 of the unit's TimeoutStopSec."""

_GRACE_AT_STOP: Final = 8.0
"""The same at a stop that ends them: engines of containers kill all after 10 seconds, unless told another time."""


def serve(given: argparse.Namespace) -> int:
    """Run the daemon in the foreground until SIGTERM or SIGINT; SIGQUIT drains first, SIGHUP reloads, SIGUSR1
    reopens the log.
    """
    try:
        if (why := _why_unfit()) is not None:
            return complain(why, UNAVAILABLE)
        if os.getpid() == 1:
            init.take_over()  # of what a container's pid 1 has to do, the daemon does nothing itself
        from_systemd = sd_listen.take(os.environ)  # before anything else is opened
        settings = _settings_of_daemon(given)
        asyncio.run(_serve(settings, partial(_settings_of_daemon, given), from_systemd))
    except ConfigError as error:
        return complain(str(error), USAGE)
    except EndedEarlyError:
        return OK
    except (AlreadyRunningError, SocketInUseError, SpoolInUseError, NameTakenError, TermTakenError) as error:
        return complain(str(error), BUSY)
    except (DamagedDatabaseError, MigrationFailedError, OlderHostsError, SchemaTooNewError) as error:
        return complain(str(error), UNREPAIRED)
    except UnusableServerError as error:
        return complain(str(error), UNAVAILABLE)
    except UnusableDatabaseError as error:
        return complain(str(error), FAILED)
    except OSError as error:
        return complain(f"the daemon could not start: {_told(error)}", FAILED)
    return OK


def _told(error: OSError) -> str:
    """What the system says, and of a file or directory who tells of which key that is and what is to be done."""
    if not error.filename:
        return str(error)
    return f"{error.filename}: {error.strerror}; `bgjobd check` names the key, and says what to do"


def _why_unfit() -> str | None:
    """What no daemon can do without, and this machine or its container lacks; None where there is all of it."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS):
            return (
                f"pidfd_open(2) is forbidden here ({error.strerror}); in a container it takes a newer engine, or "
                "another seccomp profile of it, and without one Linux 5.3"
            )
    return None


async def _serve(settings: Config, load_config: Callable[[], Config], from_systemd: Handed) -> None:
    # Whoever started this one may ignore it: ends would go unseen.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    asked: asyncio.Queue[int | TermTakenError] = asyncio.Queue()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    wants_end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        _listen(number, partial(_ask_for_end, number, asked, wants_end))
    # Of who does not wait until it is up: configuration and log are there before that.
    wants_reload, wants_new_log = asyncio.Event(), asyncio.Event()
    has_gone = partial(_ask_for_end, signal.SIGTERM, asked, wants_end)
    on_hangup = partial(_on_hangup, has_gone, is_at_terminal=os.isatty(2))
    _listen(signal.SIGHUP, partial(on_hangup, wants_reload.set))
    _listen(signal.SIGUSR1, wants_new_log.set)
    notifier = Notifier.from_environ(os.environ)
    async with service.running(settings, load_config, notifier, from_systemd, wants_end) as daemon:
        _listen(signal.SIGHUP, partial(on_hangup, daemon.reload.in_background))
        reopen = AtMostOnce(_REOPENS_IN, daemon.reload.reopen_log)
        _listen(signal.SIGUSR1, reopen)
        daemon.hosts.on_ousted = asked.put_nowait
        notifier.ready()  # the socket answers; what needs the approved classes, however long they take, waits there
        await asyncio.sleep(0)  # those that came before, and are on their way to the former two
        if wants_new_log.is_set():
            reopen()
        if wants_reload.is_set() and not wants_end.is_set():
            daemon.reload.in_background()
        # It takes a tenth of a second, for which nobody is to wait.
        asyncio.get_running_loop().run_in_executor(None, huge_pages.collapse)
        why = await asked.get()
        if isinstance(why, TermTakenError):
            raise why
        await _see_to_attempts(daemon, asked, wants_drain=why == signal.SIGQUIT)


def _ask_for_end(number: int, asked: asyncio.Queue[int | TermTakenError], wants_end: asyncio.Event) -> None:
    asked.put_nowait(number)
    wants_end.set()


async def _see_to_attempts(
    daemon: Daemon, asked: asyncio.Queue[int | TermTakenError], *, wants_drain: bool
) -> None:
    """Before the daemon ends: wait for them, stop them, or leave them to the next one."""
    wanted = at_stop(daemon.config.daemon.wanted_at_stop, container.is_around(os.environ))
    is_machine_ending = partial(poweroff.is_under_way, os.environ, daemon.own_pids)
    if (wants_drain or wanted is AtStop.DRAIN) and not await is_machine_ending():
        await _drain(daemon, asked)
    if await is_machine_ending():
        await shutdown.stop_attempts(daemon, _GRACE_AT_POWEROFF, "the machine goes down")
    elif wanted is AtStop.STOP:
        await shutdown.stop_attempts(daemon, _GRACE_AT_STOP, "so says [daemon] at_stop of this place")


async def _drain(daemon: Daemon, asked: asyncio.Queue[int | TermTakenError]) -> None:
    """Let the attempts end; a second signal, should they take too long, ends the wait."""
    either = [asyncio.ensure_future(shutdown.drain(daemon)), asyncio.ensure_future(asked.get())]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    for waiting in either:
        waiting.cancel()


def _on_hangup(has_gone: Callable[[], None], reload: Callable[[], None], is_at_terminal: bool) -> None:
    """A wish for a reload, unless the terminal that the daemon was started at has gone away."""
    if is_at_terminal and not os.isatty(2):
        has_gone()
    else:
        reload()


def _listen(number: int, act: Callable[[], None]) -> None:
    asyncio.get_running_loop().add_signal_handler(number, act)


def _settings_of_daemon(given: argparse.Namespace) -> Config:
    """The settings, with limits that this process, which is the daemon's, can have enforced. Raises ConfigError."""
    settings = settings_of(given)
    limits.check(settings, limits.Machine.here(settings.daemon.state_dir))
    return settings
