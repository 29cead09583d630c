"""The command `bgjobd`: reads the arguments and composes what they ask for; no rule about jobs here."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial, wraps
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bgjob.commands.parsing import Parser
from bgjobd import service
from bgjobd.api.unix_socket import SocketInUseError
from bgjobd.commands import backup
from bgjobd.commands.exit_codes import BUSY, FAILED, OK, REFUSED, UNAVAILABLE, UNREPAIRED, USAGE, complain
from bgjobd.config import loading
from bgjobd.config.problems import ConfigError
from bgjobd.config.sections import Config
from bgjobd.core.stopping import AtStop, at_stop
from bgjobd.daemon.loop import Daemon
from bgjobd.host import container, init, poweroff, sd_listen
from bgjobd.host.lock import AlreadyRunningError
from bgjobd.host.sd_listen import Handed
from bgjobd.host.sd_notify import Notifier
from bgjobd.store.database import DamagedDatabaseError, UnusableDatabaseError
from bgjobd.store.migrations import MigrationFailedError, SchemaTooNewError
from bgjobd.supervisor import limits, page_process
from bgjobd.supervisor.spool import SpoolInUseError

_GRACE_AT_POWEROFF: Final = 10.0
"""Seconds that attempts have at most; with what else a stop takes, well below the 30 of the unit's TimeoutStopSec."""

_GRACE_AT_STOP: Final = 8.0
"""The same at a stop that ends them: engines of containers kill all after 10 seconds, unless told another time."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; answers the exit code."""
    if sys.platform != "linux":
        return complain("bgjobd runs on Linux only; the client, `import bgjob`, runs anywhere", UNAVAILABLE)
    _open_standard_streams()
    given = _parser().parse_args(arguments)
    code: int = given.run(given)
    return code


def _open_standard_streams() -> None:
    """Give 0, 1 and 2 to /dev/null where they are closed: the next file opened would get their numbers."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115  it lives as long as the process
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  as above


def serve(given: argparse.Namespace) -> int:
    """Run the daemon in the foreground until SIGTERM or SIGINT; SIGQUIT drains first, SIGHUP reloads."""
    try:
        if os.getpid() == 1:
            init.take_over()  # of what a container's pid 1 has to do, the daemon does nothing itself
        from_systemd = sd_listen.take(os.environ)  # before anything else is opened
        settings = _settings_of_daemon(given)
        asyncio.run(_serve(settings, partial(_settings_of_daemon, given), from_systemd))
    except ConfigError as error:
        return complain(str(error), USAGE)
    except (AlreadyRunningError, SocketInUseError, SpoolInUseError) as error:
        return complain(str(error), BUSY)
    except (DamagedDatabaseError, MigrationFailedError, SchemaTooNewError) as error:
        return complain(str(error), UNREPAIRED)
    except UnusableDatabaseError as error:
        return complain(str(error), FAILED)
    except OSError as error:
        return complain(f"the daemon could not start: {error}", FAILED)
    return OK


def check(given: argparse.Namespace) -> int:
    """Check all that a start takes, and the jobs that wait for it; with --books, what is stored."""
    from bgjobd.commands import check as checking  # which a daemon has no use for

    try:
        settings = _settings(given)
        if given.books:
            return backup.check_books(settings, given.json)
        checked = checking.check(settings)
    except ConfigError as error:
        if given.json:
            print(checking.problems_as_json(error))
        return complain(str(error), USAGE)
    print(checked.as_json() if given.json else checked)
    return OK if checked.is_whole else FAILED


def status(given: argparse.Namespace) -> int:
    """Tell how the daemon does: exit code 0 well, 1 degraded, 3 not running."""
    from bgjob.errors import PermissionDeniedError, SocketDeniedError
    from bgjobd.commands.status import gather
    from bgjobd.commands.status_report import judge, lines  # which a daemon has no use for

    try:
        standing = judge(gather(_settings(given)))
    except ConfigError as error:
        return complain(str(error), USAGE)
    except (SocketDeniedError, PermissionDeniedError) as error:
        return complain(f"{error}; run it as the daemon's user", REFUSED)
    print(standing.as_json() if given.json else "\n".join(lines(standing)))
    return standing.exit_code


def web(given: argparse.Namespace) -> int:
    """Run the page alone, beside a daemon that has it switched off, or at another address."""
    from bgjobd.web.__main__ import serve  # which the daemon has no use for
    from bgjobd.web.settings import Settings

    try:
        serve(Settings(**page_process.settings_of(_settings(given))))
    except ConfigError as error:
        return complain(str(error), USAGE)
    except OSError as error:
        return complain(f"the page could not start: {error}", FAILED)
    except KeyboardInterrupt:
        pass
    return OK


def units(given: argparse.Namespace) -> int:
    """Install the units for systemd; without --install, print each file under its path."""
    from bgjobd.systemd import install  # which a daemon has no use for

    if given.user and (given.strict or given.users):
        return complain("--strict and --users are for the system's daemon, not for --user", USAGE)
    choice = install.Choice(given.strict, given.users, given.user, given.root, given.force)
    code: int = install.run(choice, given.install)
    return code


def demo(given: argparse.Namespace) -> int:
    """Run a daemon with sample jobs in a temporary directory."""
    from bgjobd.demo import show

    os.umask(0o077)
    with tempfile.TemporaryDirectory(prefix="bgjobd-demo-") as directory:
        return asyncio.run(show.run(Path(directory), is_once=given.once))


async def _serve(settings: Config, load_config: Callable[[], Config], from_systemd: Handed) -> None:
    signal.signal(
        signal.SIGCHLD, signal.SIG_DFL
    )  # whoever started this one may ignore it: ends would go unseen
    asked: asyncio.Queue[int] = asyncio.Queue()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        _listen(number, partial(asked.put_nowait, number))
    notifier = Notifier.from_environ(os.environ)
    async with service.running(settings, load_config, notifier, from_systemd) as daemon:
        _listen(signal.SIGHUP, partial(_on_hangup, daemon, asked, is_at_terminal=os.isatty(2)))
        notifier.ready()  # the socket answers; what needs the approved classes, however long they take, waits there
        wants_drain = await asked.get() == signal.SIGQUIT
        wanted = at_stop(daemon.config.daemon.wanted_at_stop, container.is_around(os.environ))
        is_machine_ending = partial(poweroff.is_under_way, os.environ, daemon.own_pids)
        if (wants_drain or wanted is AtStop.DRAIN) and not await is_machine_ending():
            await _drain(daemon, asked)
        if await is_machine_ending():
            await daemon.stop_attempts(_GRACE_AT_POWEROFF, "the machine goes down")
        elif wanted is AtStop.STOP:
            await daemon.stop_attempts(_GRACE_AT_STOP, "so says [daemon] at_stop of this place")


async def _drain(daemon: Daemon, asked: asyncio.Queue[int]) -> None:
    """Let the attempts end; a second signal, should they take too long, ends the wait."""
    either = [asyncio.ensure_future(daemon.drain()), asyncio.ensure_future(asked.get())]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    for waiting in either:
        waiting.cancel()


def _on_hangup(daemon: Daemon, asked: asyncio.Queue[int], is_at_terminal: bool) -> None:
    """A wish for a reload, unless the terminal that the daemon was started at has gone away."""
    if is_at_terminal and not os.isatty(2):
        asked.put_nowait(signal.SIGTERM)
    else:
        daemon.reload.in_background()


def _listen(number: int, act: Callable[[], None]) -> None:
    asyncio.get_running_loop().add_signal_handler(number, act)


def _settings(given: argparse.Namespace) -> Config:
    return loading.load(given.config, os.environ, is_root=os.geteuid() == 0)


def _with_settings(run: backup.Command) -> Callable[[argparse.Namespace], int]:
    """The command, once the configuration is read."""

    @wraps(run)
    def read_and_run(given: argparse.Namespace) -> int:
        os.umask(0o077)  # what it makes is the daemon's
        try:
            settings = _settings(given)
        except ConfigError as error:
            return complain(str(error), USAGE)
        return run(given, settings)

    return read_and_run


def _settings_of_daemon(given: argparse.Namespace) -> Config:
    """The settings, with limits that this process, which is the daemon's, can have enforced. Raises ConfigError."""
    settings = _settings(given)
    limits.check(settings, limits.Machine.here(settings.daemon.state_dir))
    return settings


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="bgjobd",
        description="Background jobs for applications on one machine.",
        epilog="exit codes: 0 well, 1 it could not be done, something that was checked is not whole, or the status "
        "is degraded, 2 usage or configuration, 3 the status is not running, 65 the database is damaged, too new or "
        "could not be migrated, 69 no Linux, or the daemon does not answer, 75 already running, or the database "
        "cannot be written now, 77 refused, 130 interrupted",
    )
    parser.add_argument("--version", action="version", version=f"bgjobd {version('bgjobd')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add(commands, "serve", serve)
    command = _add(commands, "check", check)
    command.add_argument(
        "--books",
        action="store_true",
        help="hold what is stored against the spool and the processes, and change nothing",
    )
    command.add_argument("--json", action="store_true", help="print JSON")
    _add(commands, "status", status).add_argument("--json", action="store_true", help="print JSON")
    backup.add_to(lambda name, run: _add(commands, name, _with_settings(run)))
    _add(commands, "web", web)
    command = commands.add_parser("demo", help=demo.__doc__, description=demo.__doc__)
    command.add_argument(
        "--once", action="store_true", help="end when the jobs have ended, and print a table"
    )
    command.set_defaults(run=demo)
    command = commands.add_parser("units", help=units.__doc__, description=units.__doc__)
    for option, told in _OPTIONS_OF_UNITS.items():
        command.add_argument(f"--{option}", action="store_true", help=told)
    command.add_argument("--root", type=Path, metavar="DIR", help="below this directory, as for a package")
    command.set_defaults(run=units)
    return parser


_OPTIONS_OF_UNITS: Final = {
    "install": "write the files, and say what to do next",
    "user": "for a daemon of your own, run by your systemd (systemctl --user)",
    "strict": "with the drop-in that takes the network from daemon and jobs",
    "users": "with the drop-in for classes that set `user`: the daemon is root, with few capabilities",
    "force": "replace files that differ",
}


def _add(
    commands: argparse._SubParsersAction[Parser],
    name: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    """A command that reads the configuration."""
    command = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
    command.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="TOML file; else $BGJOBD_CONFIG, or where bgjobd.toml(5) says",
    )
    command.set_defaults(run=run)
    return command


if __name__ == "__main__":
    sys.exit(main())
