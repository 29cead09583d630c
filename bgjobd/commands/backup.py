"""The commands that see to what is stored: `prune`, `backup` and `check --books`; what they take and what they say."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bgjob.amounts import size_text
from bgjob.errors import BgjobError, RequestError
from bgjob.text import one_line
from bgjobd.commands.exit_codes import (
    BUSY,
    FAILED,
    INTERRUPTED,
    OK,
    REFUSED,
    UNAVAILABLE,
    UNREPAIRED,
    USAGE,
    complain,
)
from bgjobd.config import values
from bgjobd.config.sections import Config, Retention
from bgjobd.store.database import UnusableDatabaseError
from bgjobd.store.migrations import SchemaTooNewError

if TYPE_CHECKING:
    from bgjobd.commands.prune import Pruned

Command = Callable[[argparse.Namespace, Config], int]


def add_to(add: Callable[[str, Command], argparse.ArgumentParser]) -> None:
    """Make `prune` and `backup` known; `add` gives each the arguments that all commands have."""
    _add_arguments_of_prune(add("prune", prune))
    _add_arguments_of_backup(add("backup", backup))


# Prune


def prune(given: argparse.Namespace, settings: Config) -> int:
    """Delete jobs that ended long ago, and old log entries, now, with the ages of [retention] or those given here."""
    from bgjobd.commands import prune as pruning  # which, as what follows, a daemon has no use for
    from bgjobd.store.audit import SchemaTooOldError

    pruned = pruning.Pruned()
    state_dir = settings.daemon.state_dir
    try:
        _check_owner(state_dir)
        wish = pruning.Wish.of(_kept(given, settings.retention), time.time())
        if given.dry_run:
            pruned = pruning.would_be_pruned(settings, wish)
        else:
            pruning.prune(settings, wish, given.archive, pruned)
        code = OK
    except KeyboardInterrupt:
        code = complain("interrupted; what is not deleted stays as it was", INTERRUPTED)
    except (FileExistsError, _ArgumentsError) as error:
        return complain(_named(error, "give another name"), USAGE)
    except RequestError as error:
        code = complain(str(error), REFUSED if isinstance(error, PermissionError) else BUSY)
    except BgjobError as error:
        code = complain(f"a daemon holds {state_dir}, and does not do it: {error}", UNAVAILABLE)
    except (SchemaTooNewError, SchemaTooOldError) as error:
        return complain(str(error), UNREPAIRED)
    except (UnusableDatabaseError, OSError) as error:
        code = complain(f"not all could be deleted: {error}", FAILED)
    if code in (OK, INTERRUPTED) or pruned.jobs.total() or pruned.entries:
        _print_pruned(given, pruned)
    return code


class _ArgumentsError(Exception):
    """Arguments that contradict each other."""


def _kept(given: argparse.Namespace, configured: Retention) -> Retention:
    """`[retention]`, with what was given in its place."""
    ages = {name: getattr(given, name) for name in ("completed", "failed", "logs") if name in given}
    if given.archive is not None:
        if "logs" in ages:
            told = "the archive has jobs, and no log entries of jobs that stay"
            raise _ArgumentsError(f"--archive goes without --logs: {told}; prune twice")
        ages["logs"] = None
    return configured.model_copy(update=ages)


def _print_pruned(given: argparse.Namespace, pruned: Pruned) -> None:
    if given.json:
        print(json.dumps({**pruned.as_json(), "is_dry_run": given.dry_run}))
    else:
        print(f"{'would be deleted' if given.dry_run else 'deleted'}: {pruned}")


def _add_arguments_of_prune(command: argparse.ArgumentParser) -> None:
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
        type=Path,
        metavar="FILE",
        help="first write each job to this new file, as JSON lines in gzip; only jobs are deleted then",
    )
    command.add_argument("--dry-run", action="store_true", help="only say how much would be deleted")
    command.add_argument("--json", action="store_true", help="say it as JSON")


def _age(text: str) -> float | None:
    try:
        return None if text == "false" else values.delay(float(text) if text.isdecimal() else text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


# Backup


def backup(given: argparse.Namespace, settings: Config) -> int:
    """Copy the database to FILE, or into state_dir/backups, and look through the copy; the daemon may run meanwhile."""
    from bgjobd.store import backups  # which a daemon has no use for

    state_dir = settings.daemon.state_dir
    target: Path = given.file or backups.usual_place(state_dir, time.time())
    try:
        _check_owner(state_dir)
        if given.file is None:
            target.parent.mkdir(mode=0o700, exist_ok=True)
        size = backups.back_up(state_dir, target, given.force)
    except KeyboardInterrupt:
        return complain("interrupted: there is no copy", INTERRUPTED)
    except FileExistsError as error:
        return complain(_named(error, "--force replaces it"), USAGE)
    except (UnusableDatabaseError, backups.UnsoundCopyError, OSError) as error:
        return complain(f"there is no copy: {error}", FAILED)
    print(f"{one_line(str(target))}: {size_text(size)}, sound; `bgjobd backup --help` says how to restore it")
    return OK


def _add_arguments_of_backup(command: argparse.ArgumentParser) -> None:
    command.epilog = (
        "To restore: stop the daemon, once no attempt runs (SIGQUIT waits for them); put a copy of FILE in the "
        "place of state_dir/bgjobd.db; remove bgjobd.db-wal and bgjobd.db-shm; start the daemon."
    )
    command.add_argument(
        "file", type=Path, nargs="?", metavar="FILE", help="where to; else a name with the time"
    )
    command.add_argument("--force", action="store_true", help="replace FILE where there is one")


# The books


def check_books(settings: Config, as_json: bool) -> int:
    """Hold what is stored against the spool and the processes."""
    from bgjobd.commands import books  # which a daemon has no use for
    from bgjobd.store.audit import SchemaTooOldError

    try:
        _check_owner(settings.daemon.state_dir)
        found = books.audit(settings)
    except (UnusableDatabaseError, SchemaTooNewError, SchemaTooOldError, OSError) as error:
        return complain(f"the books cannot be read: {error}", FAILED)
    print(found.as_json() if as_json else found)
    return FAILED if found.findings else OK


# What all say


def _check_owner(state_dir: Path) -> None:
    """Raises PermissionError where the daemon is another user's: files that we made would be in its way."""
    if state_dir.exists() and (owner := state_dir.stat().st_uid) != os.geteuid():
        raise PermissionError(f"{state_dir} belongs to uid {owner}: run it as that user, whose daemon it is")


def _named(error: Exception, then: str) -> str:
    return f"{error.filename} is there already; {then}" if isinstance(error, FileExistsError) else str(error)
