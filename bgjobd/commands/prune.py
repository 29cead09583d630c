"""The command `bgjobd prune`: its arguments, and what it says; how it deletes is in `pruning`."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bgjob.errors import BgjobError, RequestError
from bgjobd.commands.exit_codes import (
    BUSY,
    FAILED,
    INTERRUPTED,
    OK,
    REFUSED,
    UNAVAILABLE,
    UNREPAIRED,
    USAGE,
    check_owner,
    complain,
    named,
)
from bgjobd.config import values
from bgjobd.config.sections import Config, Retention
from bgjobd.store.database import UnusableDatabaseError
from bgjobd.store.migrations import SchemaTooNewError

if TYPE_CHECKING:
    from bgjobd.commands.pruning import Pruned


def prune(given: argparse.Namespace, settings: Config) -> int:
    """Delete jobs that ended long ago, and old log entries, now, with the ages of [retention] or those given here."""
    from bgjobd.commands import pruning  # which, as what follows, a daemon has no use for
    from bgjobd.store.audit import SchemaTooOldError

    pruned = pruning.Pruned()
    state_dir = settings.daemon.state_dir
    try:
        check_owner(state_dir)
        wish = pruning.Wish.of(_kept(given, settings.retention), time.time())
        if given.dry_run:
            pruned = pruning.would_be_pruned(settings, wish)
        else:
            pruning.prune(settings, wish, given.archive, pruned)
        code = OK
    except KeyboardInterrupt:
        code = complain("interrupted; what is not deleted stays as it was", INTERRUPTED)
    except (FileExistsError, _ArgumentsError) as error:
        return complain(named(error, "give another name"), USAGE)
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


def add_arguments(command: argparse.ArgumentParser) -> None:
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
