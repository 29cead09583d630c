"""The command `bgjobd`: reads the arguments and composes what they ask for; no rule about jobs here."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from bgjobd import census, cgroups, clock, config, limits, page, service, upkeep
from bgjobd.catalogue import Catalogue
from bgjobd.config import Config, ConfigError
from bgjobd.daemon import Daemon
from bgjobd.ipc import SocketInUseError
from bgjobd.link import Application, ForkServer, ForkServerError, Places
from bgjobd.lock import AlreadyRunningError
from bgjobd.spool import SpoolInUseError
from bgjobd.store.database import DamagedDatabaseError, UnusableDatabaseError
from bgjobd.store.migrations import MigrationFailedError, SchemaTooNewError

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
UNREPAIRED: Final = 65
UNAVAILABLE: Final = 69
BUSY: Final = 75
"""Exit codes, as sysexits(3) has them where it has any."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; answers the exit code."""
    if sys.platform != "linux":
        return _complain("bgjobd runs on Linux only; the client, `import bgjob`, runs anywhere", UNAVAILABLE)
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
        settings = _settings_of_daemon(given)
        asyncio.run(_serve(settings, partial(_settings_of_daemon, given)))
    except ConfigError as error:
        return _complain(str(error), USAGE)
    except (AlreadyRunningError, SocketInUseError, SpoolInUseError) as error:
        return _complain(str(error), BUSY)
    except (DamagedDatabaseError, MigrationFailedError, SchemaTooNewError) as error:
        return _complain(str(error), UNREPAIRED)
    except UnusableDatabaseError as error:
        return _complain(str(error), FAILED)
    except OSError as error:
        return _complain(f"the daemon could not start: {error}", FAILED)
    return OK


def check(given: argparse.Namespace) -> int:
    """Check configuration, imports and catalogue, as a start would find them; with --books, what is stored."""
    try:
        settings = _settings(given)
    except ConfigError as error:
        return _complain(str(error), USAGE)
    return _check_books(settings) if given.books else _check_start(settings)


def _check_start(settings: Config) -> int:
    daemon = census.daemon_of(settings.daemon.state_dir)
    machine = limits.Machine.here(settings.daemon.state_dir, daemon)
    try:
        limits.check(settings, machine, may_get_cgroup=daemon is None and cgroups.has_controllers())
    except ConfigError as error:
        return _complain(str(error), USAGE)
    print(f"configuration: {settings.file or 'defaults, no file'}")
    try:
        catalogue, ready = asyncio.run(_catalogue(settings))
    except ForkServerError as error:
        return _complain(str(error), FAILED)
    print(f"interpreter: {ready['executable']} (Python {ready['python']})")
    if not catalogue.classes:
        print("no class is approved; list some under [approved]")
    doubts: list[str] = []
    for name, described in sorted(catalogue.classes.items()):
        _print_class(name, described)
        doubts += catalogue.doubts(settings, name) if described["unavailable"] is None else []
    _print_limits(settings, machine)
    for descriptor in ready["left_open"]:
        print(f"left open    {descriptor}: opened while modules were imported, and there in every attempt")
    for doubt in doubts:
        print(f"doubtful     {doubt}")
    is_whole = not doubts and all(
        described["unavailable"] is None for described in catalogue.classes.values()
    )
    return OK if is_whole else FAILED


def _check_books(settings: Config) -> int:
    from bgjobd import books  # which a daemon has no use for
    from bgjobd.store.audit import SchemaTooOldError

    try:
        place = settings.daemon.state_dir
        if place.exists() and place.stat().st_uid != os.geteuid():
            told = f"{place} belongs to uid {place.stat().st_uid}: run it as that user, whose daemon it is"
            return _complain(f"the books cannot be read: {told}", FAILED)
        found = books.audit(settings)
    except (UnusableDatabaseError, SchemaTooNewError, SchemaTooOldError, OSError) as error:
        return _complain(f"the books cannot be read: {error}", FAILED)
    print(found)
    return FAILED if found.findings else OK


def web(given: argparse.Namespace) -> int:
    """Run the page alone, beside a daemon that has it switched off, or at another address."""
    from bgjobd.web.__main__ import serve  # which the daemon has no use for
    from bgjobd.web.settings import Settings

    try:
        serve(Settings(**page.settings_of(_settings(given))))
    except ConfigError as error:
        return _complain(str(error), USAGE)
    except OSError as error:
        return _complain(f"the page could not start: {error}", FAILED)
    except KeyboardInterrupt:
        pass
    return OK


def demo(given: argparse.Namespace) -> int:
    """Run a daemon with sample jobs in a temporary directory."""
    from bgjobd.demo import show

    with tempfile.TemporaryDirectory(prefix="bgjobd-demo-") as directory:
        return asyncio.run(show.run(Path(directory), is_once=given.once))


async def _serve(settings: Config, load_config: Callable[[], Config]) -> None:
    signal.signal(
        signal.SIGCHLD, signal.SIG_DFL
    )  # whoever started this one may ignore it: ends would go unseen
    asked: asyncio.Queue[int] = asyncio.Queue()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        _listen(number, partial(asked.put_nowait, number))
    async with service.running(settings, load_config) as daemon:
        _listen(signal.SIGHUP, partial(_on_hangup, daemon, asked, is_at_terminal=os.isatty(2)))
        if await asked.get() == signal.SIGQUIT or daemon.config.daemon.drain:
            # A second signal, should the attempts take too long, ends the wait.
            either = [asyncio.ensure_future(daemon.drain()), asyncio.ensure_future(asked.get())]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            for waiting in either:
                waiting.cancel()


def _on_hangup(daemon: Daemon, asked: asyncio.Queue[int], is_at_terminal: bool) -> None:
    """A wish for a reload, unless the terminal that the daemon was started at has gone away."""
    if is_at_terminal and not os.isatty(2):
        asked.put_nowait(signal.SIGTERM)
    else:
        daemon.reload_in_background()


def _listen(number: int, act: Callable[[], None]) -> None:
    asyncio.get_running_loop().add_signal_handler(number, act)


async def _catalogue(settings: Config) -> tuple[Catalogue, dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="bgjobd-check-") as directory:
        application = Application.from_config(settings)
        places = Places(Path(directory), Path(directory), clock.boot_id())
        places.spool.mkdir()
        places.work.mkdir()
        places.output.mkdir()
        server = await ForkServer.launch(application, places, lambda server, message: None, set())
        await server.abandon()
        return Catalogue(settings, server.ready["classes"], server.code_version), server.ready


def _settings(given: argparse.Namespace) -> Config:
    return config.load(given.config, os.environ, is_root=os.geteuid() == 0)


def _with_settings(run: upkeep.Command) -> Callable[[argparse.Namespace], int]:
    """The command, once the configuration is read."""

    @wraps(run)
    def read_and_run(given: argparse.Namespace) -> int:
        try:
            settings = _settings(given)
        except ConfigError as error:
            return _complain(str(error), USAGE)
        return run(given, settings)

    return read_and_run


def _settings_of_daemon(given: argparse.Namespace) -> Config:
    """The settings, with limits that this process, which is the daemon's, can have enforced. Raises ConfigError."""
    settings = _settings(given)
    limits.check(settings, limits.Machine.here(settings.daemon.state_dir))
    return settings


def _print_limits(settings: Config, machine: limits.Machine) -> None:
    """What enforces each limit on this machine; what is gone without; and what a shell cannot tell."""
    print("limits, and what enforces them here:")
    for name, by in limits.table(machine).items():
        print(f"    {name:<10}  {by}")
    for gap in limits.gaps(settings, machine):
        if settings.limits.best_effort:
            print(f"best effort  {gap.key} {gap.told}")
        else:
            print(f"undecided    {gap.key} {gap.lacks}; the daemon's start tells, or check while it runs")


def _print_class(name: str, described: Mapping[str, Any]) -> None:
    if described["unavailable"] is not None:
        print(f"unavailable  {name}: {described['unavailable']}")
        if described["traceback"]:
            print("    " + described["traceback"].rstrip().replace("\n", "\n    "))
        return
    names = ", ".join(sorted(described["methods"]))
    print(f"approved     {name}: {names or 'no method that may be called'}")
    for method, details in sorted(described["methods"].items()):
        if details["note"]:
            print(f"    {method}: {details['note']}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bgjobd", description="Background jobs for applications on one machine."
    )
    parser.add_argument("--version", action="version", version=f"bgjobd {version('bgjobd')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add(commands, "serve", serve)
    _add(commands, "check", check).add_argument(
        "--books",
        action="store_true",
        help="hold what is stored against the spool and the processes, and change nothing",
    )
    upkeep.add_to(lambda name, run: _add(commands, name, _with_settings(run)))
    _add(commands, "web", web)
    command = commands.add_parser("demo", help=demo.__doc__, description=demo.__doc__)
    command.add_argument(
        "--once", action="store_true", help="end when the jobs have ended, and print a table"
    )
    command.set_defaults(run=demo)
    return parser


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    """A command that reads the configuration."""
    command = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
    command.add_argument(
        "--config", type=Path, metavar="FILE", help="TOML file; see the README for the usual places"
    )
    command.set_defaults(run=run)
    return command


def _complain(message: str, code: int) -> int:
    print(f"bgjobd: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
