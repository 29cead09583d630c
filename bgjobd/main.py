"""The command `bgjobd`: reads the arguments and composes what they ask for; no rule about jobs here."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from bgjobd.commands import installation
from bgjobd.commands.exit_codes import (
    CLOSED_PIPE,
    FAILED,
    INTERRUPTED,
    OK,
    REFUSED,
    UNAVAILABLE,
    USAGE,
    complain,
    tell,
)

if TYPE_CHECKING:
    from bgjob.commands.parsing import Parser
    from bgjobd.config.sections import Config

_FOR_A_RUNNING_ONE: Final = ("status", "backup")
"""What is answered of a daemon that runs, whatever has been installed over it."""

# Each command imports what it needs, inside its function: most of them are over before all of it would be there.


def main(texts: Sequence[str] | None = None) -> int:
    """Run the command; answers the exit code."""
    try:
        return _run(texts)
    except KeyboardInterrupt:  # what has more to say of it has said it
        return INTERRUPTED


def _run(texts: Sequence[str] | None) -> int:
    if sys.platform != "linux":
        return complain("bgjobd runs on Linux only; the client, `import bgjob`, runs anywhere", UNAVAILABLE)
    _open_standard_streams()
    wanted = sys.argv[1:] if texts is None else texts
    if not {*wanted[:1]} & {*_FOR_A_RUNNING_ONE} and (conflict := installation.try_conflict()):
        return tell(conflict, USAGE)
    given = parser().parse_args(texts)
    code: int = given.run(given) if given.run in (serve, web) else _printed(given)
    return code


def parser() -> Parser:
    """The parser of the command."""
    from bgjobd.commands import arguments

    return arguments.parser(
        (serve, check, schedules, status, prune, backup, migrate, debug, otel, web), (demo, units)
    )


def _open_standard_streams() -> None:
    """Give 0, 1 and 2 to /dev/null where they are closed: the next file opened would get their numbers."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115  it lives as long as the process
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  as above


def _printed(given: argparse.Namespace) -> int:
    """The exit code of a command whose answer is what it prints: a reader that has had enough, as head, is no error."""
    try:
        try:
            code: int = given.run(given)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        from bgjob.commands.screen import forget_stdout

        forget_stdout()
        return CLOSED_PIPE
    return code


def serve(given: argparse.Namespace) -> int:
    """Run the daemon in the foreground until SIGTERM or SIGINT; SIGQUIT drains first, SIGHUP reloads, SIGUSR1
    reopens the log.
    """
    import gc

    from bgjobd.host.absence import absent

    gc.disable()  # nearly all that an import makes stays: looking through it again and again is an eighth of the start
    with absent("ssl"):  # which is 2 MiB, for good: the daemon speaks to nobody by TLS
        import asyncio  # noqa: F401  before anybody else does
    from bgjobd.commands import serve as command

    gc.freeze()
    gc.enable()
    return command.serve(given)


def check(given: argparse.Namespace) -> int:
    """Check all that a start takes, and the jobs that wait for it; with --books, what is stored."""
    from bgjobd.commands import check as checking
    from bgjobd.commands.settings import settings_of
    from bgjobd.config.problems import ConfigError

    try:
        settings = settings_of(given)
        if given.books:
            from bgjobd.commands import check_books

            return check_books.check_books(settings, given.json)
        checked = checking.check(settings)
    except ConfigError as error:
        if given.json:
            print(checking.problems_as_json(error))
        return complain(str(error), USAGE)
    print(checked.as_json() if given.json else checked)
    return OK if checked.is_whole else FAILED


def schedules(given: argparse.Namespace) -> int:
    """Tell when the schedules of the configuration occur next, without a daemon and without the application's code."""
    if given.from_crontab is not None:
        from bgjobd.commands.crontab import draft

        return draft(given)
    from bgjobd.commands.schedules import schedules

    return _with_settings(schedules, given)


def status(given: argparse.Namespace) -> int:
    """Tell how the daemon does: exit code 0 well, 1 degraded, 3 not running."""
    from bgjob.errors import PermissionDeniedError, SocketDeniedError
    from bgjobd.commands.settings import settings_of
    from bgjobd.commands.status import gather
    from bgjobd.commands.status_report import judge, lines
    from bgjobd.config.problems import ConfigError

    try:
        standing = judge(gather(settings_of(given), is_named=given.config is not None))
    except ConfigError as error:
        return complain(str(error), USAGE)
    except (SocketDeniedError, PermissionDeniedError) as error:
        return complain(f"{error}; run it as the daemon's user", REFUSED)
    print(standing.as_json() if given.json else "\n".join(lines(standing)))
    return standing.exit_code


def prune(given: argparse.Namespace) -> int:
    """Delete jobs that ended long ago, and old log entries, now, with the ages of [retention] or those given here."""
    from bgjobd.commands.prune import prune

    return _with_settings(prune, given)


def backup(given: argparse.Namespace) -> int:
    """Copy the database to FILE, or into state_dir/backups, and look through the copy; the daemon may run meanwhile."""
    from bgjobd.commands.backup import backup

    return _with_settings(backup, given)


def migrate(given: argparse.Namespace) -> int:
    """Copy all of the database into another one, from SQLite's file to PostgreSQL or back, while no daemon runs."""
    from bgjobd.commands.migrate import migrate

    return _with_settings(migrate, given)


def debug(given: argparse.Namespace) -> int:
    """Call a job's method again, here, under a debugger: at what it raises, or from its first line. Nothing of it is
    recorded, and what it does to the world it does again.
    """
    from bgjobd.commands.debug import debug

    return _with_settings(debug, given)


def otel(given: argparse.Namespace) -> int:
    """Send each attempt that has ended, as a span, to the collector that $OTEL_EXPORTER_OTLP_ENDPOINT names."""
    from bgjobd.commands.otel import otel

    return _with_settings(otel, given)


def web(given: argparse.Namespace) -> int:
    """Run the page alone, beside a daemon that has it switched off, or at another address."""
    from bgjobd.commands.settings import settings_of
    from bgjobd.config.problems import ConfigError
    from bgjobd.host import sd_listen
    from bgjobd.supervisor import page_process
    from bgjobd.web.__main__ import serve
    from bgjobd.web.settings import Settings

    handed = sd_listen.take(os.environ)
    for refusal in handed.refused:
        complain(refusal, FAILED)
    try:
        settings = Settings(**page_process.settings_of(settings_of(given)))
        if handed.path is not None and settings.bind != f"unix:{handed.path}":
            return complain(
                f'systemd handed over {handed.path}: set [web] bind = "unix:{handed.path}"', USAGE
            )
        if handed.path is not None and handed.path.stat().st_mode & 0o002:
            return complain(
                f"everybody on this machine may use {handed.path}: set SocketMode=0600 in its unit", USAGE
            )
        serve(settings, handed.listener)
    except ConfigError as error:
        return complain(str(error), USAGE)
    except OSError as error:
        return complain(f"the page could not start: {error}", FAILED)
    except KeyboardInterrupt:
        pass
    return OK


def units(given: argparse.Namespace) -> int:
    """Install the units for systemd; without --install, print each file under its path."""
    from bgjobd.systemd import install

    if given.user and (given.strict or given.users or given.network):
        told = "--strict, --users and --network are for the system's daemon, not for --user"
        return complain(told, USAGE)
    choice = install.Choice(given.strict, given.users, given.network, given.user, given.root, given.force)
    code: int = install.run(choice, given.install)
    return code


def demo(given: argparse.Namespace) -> int:
    """Run a daemon with sample jobs in a temporary directory."""
    import asyncio
    import tempfile
    from pathlib import Path

    from bgjobd.demo import show

    os.umask(0o077)
    with tempfile.TemporaryDirectory(prefix="bgjobd-demo-") as directory:
        return asyncio.run(show.run(Path(directory), is_once=given.once))


def _with_settings(run: Callable[[argparse.Namespace, Config], int], given: argparse.Namespace) -> int:
    """The command's exit code, once the configuration is read."""
    from bgjobd.commands.settings import settings_of
    from bgjobd.config.problems import ConfigError

    os.umask(0o077)  # what it makes is the daemon's
    try:
        settings = settings_of(given)
    except ConfigError as error:
        return complain(str(error), USAGE)
    return run(given, settings)


if __name__ == "__main__":
    sys.exit(main())
