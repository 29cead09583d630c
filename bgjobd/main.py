"""The command `bgjobd`: reads the arguments and composes what they ask for; no rule about jobs here."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import wraps
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bgjob.commands.parsing import Parser
from bgjobd.commands import backup, prune
from bgjobd.commands.exit_codes import FAILED, OK, REFUSED, UNAVAILABLE, USAGE, complain
from bgjobd.commands.settings import settings_of
from bgjobd.config.problems import ConfigError
from bgjobd.config.sections import Config

Command = Callable[[argparse.Namespace, Config], int]
"""A command that the configuration is read for."""


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
    gc.disable()  # nearly all that an import makes stays: looking through it again and again is an eighth of the start
    from bgjobd.commands import serve as command

    gc.freeze()
    gc.enable()
    return command.serve(given)


def check(given: argparse.Namespace) -> int:
    """Check all that a start takes, and the jobs that wait for it; with --books, what is stored."""
    from bgjobd.commands import check as checking
    from bgjobd.commands import check_books  # which a daemon has no use for

    try:
        settings = settings_of(given)
        if given.books:
            return check_books.check_books(settings, given.json)
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
        standing = judge(gather(settings_of(given)))
    except ConfigError as error:
        return complain(str(error), USAGE)
    except (SocketDeniedError, PermissionDeniedError) as error:
        return complain(f"{error}; run it as the daemon's user", REFUSED)
    print(standing.as_json() if given.json else "\n".join(lines(standing)))
    return standing.exit_code


def web(given: argparse.Namespace) -> int:
    """Run the page alone, beside a daemon that has it switched off, or at another address."""
    from bgjobd.supervisor import page_process
    from bgjobd.web.__main__ import serve  # which the daemon has no use for
    from bgjobd.web.settings import Settings

    try:
        serve(Settings(**page_process.settings_of(settings_of(given))))
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


def _with_settings(run: Command) -> Callable[[argparse.Namespace], int]:
    """The command, once the configuration is read."""

    @wraps(run)
    def read_and_run(given: argparse.Namespace) -> int:
        os.umask(0o077)  # what it makes is the daemon's
        try:
            settings = settings_of(given)
        except ConfigError as error:
            return complain(str(error), USAGE)
        return run(given, settings)

    return read_and_run


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
    prune.add_arguments(_add(commands, "prune", _with_settings(prune.prune)))
    backup.add_arguments(_add(commands, "backup", _with_settings(backup.backup)))
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
