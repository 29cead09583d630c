"""What may be written after `bgjobd`: the commands and their options. What they do is not here, nor imported."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from bgjob import __version__
from bgjob.commands.parsing import Parser

if TYPE_CHECKING:
    from pathlib import Path

Command = Callable[[argparse.Namespace], int]
"""Its name is the command's, its docstring what the help says of it; it answers the exit code."""


def parser(configured: Iterable[Command], others: Iterable[Command]) -> Parser:
    """The parser of all commands; `run` in what it makes is the one. Those `configured` read the configuration."""
    parser = Parser(
        prog="bgjobd",
        description="Background jobs for applications.",
        epilog="exit codes: 0 well, 1 it could not be done, something that was checked is not whole, or the status "
        "is degraded, 2 usage or configuration, 3 the status is not running, 4 no such schedule, 65 the database is "
        "damaged, too new or could not be migrated, 69 no Linux, the daemon or PostgreSQL does not answer, or "
        "PostgreSQL refuses us, 75 already running, or the database cannot be written now, 77 refused, "
        "130 interrupted, 141 whoever reads what is printed has closed it",
    )
    parser.add_argument("--version", action="version", version=f"bgjobd {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for run in configured:
        command = _add(commands, run)
        _add_config(command)
        _OPTIONS[run.__name__](command)
    for run in others:
        _OPTIONS[run.__name__](_add(commands, run))
    return parser


def _add(commands: argparse._SubParsersAction[Parser], run: Command) -> Parser:
    command = commands.add_parser(run.__name__, help=run.__doc__, description=run.__doc__)
    command.set_defaults(run=run)
    return command


def _path(text: str) -> Path:
    from pathlib import Path  # here, as `--version` and `--help` do without

    return Path(text)


def _add_config(command: Parser) -> None:
    command.add_argument(
        "--config",
        type=_path,
        metavar="FILE",
        help="TOML file; else $BGJOBD_CONFIG, or where bgjobd.toml(5) says",
    )


def _add_json(command: Parser) -> None:
    command.add_argument("--json", action="store_true", help="print JSON")


def _of_check(command: Parser) -> None:
    command.add_argument(
        "--books",
        action="store_true",
        help="hold what is stored against the spool and the processes, and change nothing",
    )
    _add_json(command)


def _of_schedules(command: Parser) -> None:
    command.add_argument("name", nargs="?", metavar="NAME", help="this schedule alone")
    command.add_argument(
        "--next", type=_count, default=3, metavar="N", help="so many occurrences of each (3), at most 1000"
    )
    command.add_argument(
        "--after",
        type=_instant,
        metavar="WHEN",
        help="those behind this date and time instead of now, local time where no offset is given",
    )
    command.add_argument(
        "--from-crontab",
        metavar="FILE",
        help="instead: draft [schedules] from a crontab, - for stdin, and say what its other lines would need",
    )
    command.add_argument(
        "--with-users",
        action="store_true",
        help="whose lines name a user before the command, as in /etc/crontab",
    )
    _add_json(command)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:5]) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000")
    return int(text)


def _instant(text: str) -> float:
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a date and time such as 2026-03-28") from None


def _of_prune(command: Parser) -> None:
    for name, what in (
        ("completed", "jobs that completed so long ago"),
        ("failed", "jobs that failed or were cancelled so long ago"),
        ("logs", "log entries that are older, of whatever job"),
    ):
        command.add_argument(
            f"--{name}",
            type=_age,
            metavar="AGE",
            default=argparse.SUPPRESS,
            help=f"{what}: seconds, or such as 12h or 14d; `false` keeps them",
        )
    command.add_argument(
        "--archive",
        type=_path,
        metavar="FILE",
        help="first write each job to this new file, as JSON lines in gzip; only jobs are deleted then",
    )
    command.add_argument("--dry-run", action="store_true", help="only say how much would be deleted")
    command.add_argument("--json", action="store_true", help="say it as JSON")


def _age(text: str) -> float | None:
    from bgjobd.config import values

    try:
        return None if text == "false" else values.delay(float(text) if text.isdecimal() else text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _of_backup(command: Parser) -> None:
    command.epilog = (
        "To restore: `bgjob drain`, and once no attempt runs stop the daemon, and systemd's socket, by which a caller "
        "would start it again; put a copy of FILE in the place of state_dir/bgjobd.db, which is to be the daemon's "
        "user's, with mode 0600 (`runuser -u bgjobd -- cp FILE …`); remove bgjobd.db-wal and bgjobd.db-shm; start both."
    )
    command.add_argument(
        "file", type=_path, nargs="?", metavar="FILE", help="where to; else a name with the time"
    )
    command.add_argument("--force", action="store_true", help="replace FILE where there is one")


def _of_migrate(command: Parser) -> None:
    command.epilog = (
        "Stop the daemon first, and systemd's socket, by which a caller would start it again; attempts go on, and the "
        "daemon that starts with DATABASE takes them over. It can be repeated as long as nothing has changed in "
        "DATABASE. What was copied from stays as it is: start no daemon with it any more."
    )
    command.add_argument(
        "--to",
        required=True,
        metavar="DATABASE",
        help="an empty one of PostgreSQL, postgresql://…, or the directory that is to have SQLite's file in it",
    )


def _of_debug(command: Parser) -> None:
    # Here: it is the client's, and most commands do without.
    from bgjob.commands.debug_arguments import add_options

    command.epilog = "exit codes: 0 the job completed, 1 it raised, 130 it was interrupted, or not wanted"
    add_options(command)


def _of_otel(command: Parser) -> None:
    command.add_argument(
        "--cursor",
        type=_path,
        metavar="FILE",
        help="how far it has come; else otel-cursor in the daemon's state_dir",
    )
    command.add_argument(
        "--once", action="store_true", help="end when what the log has by now is sent, and wait for nothing"
    )


def _of_demo(command: Parser) -> None:
    command.add_argument(
        "--once", action="store_true", help="end when the jobs have ended, and print a table"
    )


def _of_units(command: Parser) -> None:
    for option, told in (
        ("install", "write the files, and say what to do next"),
        ("user", "for a daemon of your own, run by your systemd (systemctl --user)"),
        ("strict", "with the drop-in that takes the network from daemon and jobs"),
        ("users", "with the drop-in for classes that set `user`: the daemon is root, with few capabilities"),
        ("network", "with the drop-in for classes that set `network = false`, which takes namespaces"),
        ("force", "replace files that differ"),
    ):
        command.add_argument(f"--{option}", action="store_true", help=told)
    command.add_argument("--root", type=_path, metavar="DIR", help="below this directory, as for a package")


_OPTIONS: Final[dict[str, Callable[[Parser], None]]] = {
    "serve": lambda _: None,
    "check": _of_check,
    "schedules": _of_schedules,
    "status": _add_json,
    "prune": _of_prune,
    "backup": _of_backup,
    "migrate": _of_migrate,
    "debug": _of_debug,
    "otel": _of_otel,
    "web": lambda _: None,
    "demo": _of_demo,
    "units": _of_units,
}
