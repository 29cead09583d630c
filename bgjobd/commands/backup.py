"""The command `bgjobd backup`: what it says; how a copy is made is the store's."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from bgjob.amounts import size_text
from bgjob.text import one_line
from bgjobd.commands.exit_codes import FAILED, INTERRUPTED, OK, USAGE, check_owner, complain, named
from bgjobd.config.sections import Config
from bgjobd.store import backups
from bgjobd.store.database import UnusableDatabaseError, check_there
from bgjobd.store.engines.places import OfServerError


def backup(given: argparse.Namespace, settings: Config) -> int:
    """Copy the database to FILE, or into state_dir/backups, and look through the copy."""
    state_dir = settings.daemon.state_dir
    target: Path = given.file or backups.usual_place(state_dir, time.time())
    try:
        check_owner(state_dir)
        if settings.daemon.database is not None:
            raise OfServerError(
                "a backup", "pg_dump(1) makes one of the schema bgjobd, and the server's own tools do"
            )
        check_there(state_dir)
        if given.file is None:
            target.parent.mkdir(mode=0o700, exist_ok=True)
        elif not target.parent.exists():
            return complain(f"there is no copy: there is no directory {target.parent}; make it", FAILED)
        size = backups.back_up(state_dir, target, given.force)
    except KeyboardInterrupt:
        return complain("interrupted: there is no copy", INTERRUPTED)
    except FileExistsError as error:
        return complain(named(error, "--force replaces it"), USAGE)
    except OfServerError as error:
        return complain(str(error), USAGE)
    except (UnusableDatabaseError, backups.UnsoundCopyError, OSError) as error:
        return complain(f"there is no copy: {error}", FAILED)
    print(f"{one_line(str(target))}: {size_text(size)}, sound; `bgjobd backup --help` says how to restore it")
    return OK
