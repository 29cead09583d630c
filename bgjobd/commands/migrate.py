"""The command `bgjobd migrate`: who may move what where, and what it says; how rows are copied is the store's."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from bgjob import __version__
from bgjob.text import one_line
from bgjobd.commands.exit_codes import (
    BUSY,
    FAILED,
    INTERRUPTED,
    OK,
    UNAVAILABLE,
    UNREPAIRED,
    USAGE,
    check_owner,
    complain,
)
from bgjobd.config.sections import Config
from bgjobd.config.values import database_address
from bgjobd.core.hosts import Profile
from bgjobd.host import identity, life
from bgjobd.host.lock import AlreadyRunningError, lock
from bgjobd.store.database import DamagedDatabaseError, UnusableDatabaseError
from bgjobd.store.engines.places import place_of
from bgjobd.store.engines.server_errors import UnusableServerError
from bgjobd.store.engines.sqlite import engine_at
from bgjobd.store.migrations import MigrationFailedError, SchemaTooNewError
from bgjobd.store.moving import (
    HostsLiveError,
    MailWaitsError,
    Moved,
    OwnHost,
    TargetInUseError,
    UnlikeError,
    move,
)

_OF_SERVERS: Final = ("postgresql://", "postgres://")
_TOLD: Final = {"background_jobs": "job", "job_attempts": "attempt", "job_logs": "log entry"}


class _SamePlaceError(Exception):
    """It is to be moved to where it is, or a file to a file."""


def migrate(given: argparse.Namespace, settings: Config) -> int:
    """Copy all of the database into another one."""
    try:
        target = _target(given.to, settings)
        moved = _move(settings, target)
    except KeyboardInterrupt:
        return complain(f"interrupted: nothing has changed in {one_line(given.to)}", INTERRUPTED)
    except (_SamePlaceError, TargetInUseError) as error:
        return complain(str(error), USAGE)
    except MailWaitsError as error:
        return complain(
            f"{error}; start the daemon until it has, and keep applications from submitting", BUSY
        )
    except (AlreadyRunningError, HostsLiveError) as error:
        return complain(str(error), BUSY)
    except (DamagedDatabaseError, MigrationFailedError, SchemaTooNewError) as error:
        return complain(str(error), UNREPAIRED)
    except UnusableServerError as error:
        return complain(str(error), UNAVAILABLE)
    except (UnlikeError, UnusableDatabaseError, OSError) as error:
        return complain(f"nothing was moved: {error}", FAILED)
    print("\n".join(map(one_line, _lines(moved, settings, target))))
    return OK


def _target(told: str, settings: Config) -> Config:
    """The settings of the daemon that is to come. Raises _SamePlaceError."""
    if told.startswith(_OF_SERVERS):
        try:
            change: dict[str, Any] = {"database": database_address(told)}
        except ValueError as error:
            raise _SamePlaceError(f"--to: {error}") from None
    elif settings.daemon.database is None:
        raise _SamePlaceError(
            f"--to {one_line(told)}: the database is a file already; to copy it is what `bgjobd backup` does, and an "
            "address of PostgreSQL begins with postgresql://"
        )
    else:
        change = {"database": None, "state_dir": Path(told).absolute()}
    daemon = settings.daemon.model_copy(update=change)
    return settings.model_copy(update={"daemon": daemon})


def _move(settings: Config, target: Config) -> Moved:
    places = dict.fromkeys((settings.daemon.state_dir, target.daemon.state_dir))
    with ExitStack() as held:
        for directory in places:
            check_owner(directory)
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            held.callback(os.close, lock(directory))
        own = OwnHost(
            uuid=identity.own(settings.daemon.state_dir),
            name=settings.hosts.name,
            boot_id=life.own().id,
            version=__version__,
            lost_after=settings.hosts.lost_after,
            profile=Profile(settings.daemon.slots, tuple(settings.queues), tuple(settings.approved)),
        )
        source, to = (engine_at(place_of(one.daemon)) for one in (settings, target))
        return move(source, to, own, held.enter_context(_progress()))


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Draws on a terminal how far it is, whenever it is told."""
    told = TextColumn("{task.completed:,.0f} of {task.total:,.0f} rows")
    with Progress(BarColumn(), told, console=Console(stderr=True), disable=not sys.stderr.isatty()) as drawn:
        task = drawn.add_task("", total=0)
        yield lambda done, total: drawn.update(task, completed=done, total=total)


# Lines


def _lines(moved: Moved, settings: Config, target: Config) -> Iterator[str]:
    counted = [_many(moved.rows[table], what) for table, what in _TOLD.items()]
    yield f"copied and compared: {', '.join(counted)}, {moved.rows.total():,} rows in all"
    if moved.is_restored:
        yield "it was a backup that had been put in place: its queues are paused (`bgjob resume NAME`)"
    for column, count in sorted(moved.nul.items()):
        yield f"{column}: {_many(count, 'text')} had a NUL, for which U+FFFD stands there now"
    if moved.running:
        yield f"{_many(moved.running, 'attempt')} without an end: the daemon that starts takes over what runs"
    file = settings.file or "the configuration"
    yield f"write into {file}, and start the daemon; what was copied from stays as it is, start none with it:"
    yield "    [daemon]"
    if target.daemon.database is None:
        yield f"    state_dir = {json.dumps(str(target.daemon.state_dir))}"
        yield "    # and no `database`"
    else:
        yield f"    state_dir = {json.dumps(str(settings.daemon.state_dir))}"
        yield f"    database = {json.dumps(target.daemon.database)}"


def _many(count: int, what: str) -> str:
    several = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{count:,} {what if count == 1 else several}"
