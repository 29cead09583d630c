"""The command `bgjobd prune`: what it says; how it deletes is in `pruning`."""

from __future__ import annotations

import argparse
import json
import time

from bgjob.errors import BgjobError, RequestError
from bgjobd.commands import pruning
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
from bgjobd.config.sections import Config, Retention
from bgjobd.store.audit import SchemaTooOldError
from bgjobd.store.database import UnusableDatabaseError
from bgjobd.store.engines.places import OfServerError
from bgjobd.store.migrations import SchemaTooNewError


def prune(given: argparse.Namespace, settings: Config) -> int:
    """Delete jobs that ended long ago, and old log entries, now."""
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
    except OfServerError as error:
        return complain(str(error), UNAVAILABLE)
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
            message = "the archive has jobs, and no log entries of jobs that stay"
            raise _ArgumentsError(f"--archive goes without --logs: {message}; prune twice")
        ages["logs"] = None
    return configured.model_copy(update=ages)


def _print_pruned(given: argparse.Namespace, pruned: pruning.Pruned) -> None:
    if given.json:
        print(json.dumps({**pruned.as_json(), "is_dry_run": given.dry_run}))
    else:
        print(f"{'would be deleted' if given.dry_run else 'deleted'}: {pruned}")
