"""The command `bgjobd check --books`: gathers what there is, twice, and has it judged. Nothing here changes anything.

A daemon at work is always a moment ahead of its books, so only what both looks find counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Final

from bgjobd.commands import process_table
from bgjobd.commands.books import Books, Snapshot, SpoolFile, judge, lasting
from bgjobd.commands.exit_codes import FAILED, OK, check_owner, complain
from bgjobd.config.sections import Config
from bgjobd.core.job import AttemptKey
from bgjobd.forkserver import journal as journals
from bgjobd.forkserver import spool_names
from bgjobd.host import identity, life
from bgjobd.store.audit import Audit, Counts, OpenAttempt, SchemaTooOldError
from bgjobd.store.database import UnusableDatabaseError
from bgjobd.store.engines.places import place_of
from bgjobd.store.migrations import SchemaTooNewError
from bgjobd.supervisor.application import AttemptDirs
from bgjobd.supervisor.fork_server_marks import try_mark
from bgjobd.supervisor.processes import try_open_process
from bgjobd.supervisor.spool_files import MARKER, UNFINISHED, word_in
from bgjobd.supervisor.work_dirs import ASIDE

PAUSE: Final = 2.0
"""Seconds between two looks: how long an attempt may count as running whose process is gone."""

_NO_JOURNALS: Final = ("stop", spool_names.CARRY, spool_names.STATE)
_KINDS: Final = ("journal", *spool_names.HOOKS, *_NO_JOURNALS)
_AT_ONCE: Final = 1000
"""How many files of attempts are looked up in the books at once."""


def check_books(settings: Config, as_json: bool) -> int:
    """Hold what is stored against the spool and the processes."""
    try:
        check_owner(settings.daemon.state_dir)
        found = audit(settings)
    except (UnusableDatabaseError, SchemaTooNewError, SchemaTooOldError, OSError) as error:
        return complain(f"the books cannot be read: {error}", FAILED)
    print(found.as_json() if as_json else found)
    return FAILED if found.findings else OK


def audit(config: Config, wait: Callable[[float], None] = time.sleep) -> Books:
    """Hold all of a daemon's books against what there is; it may run meanwhile. Takes `PAUSE` longer where it must.

    Raises UnusableDatabaseError, SchemaTooNewError, SchemaTooOldError, OSError.
    """
    with closing(Audit(place_of(config.daemon))) as books:
        first = judge(_snapshot(config, books))
        if not first.findings:
            return first
        wait(PAUSE)
        return lasting(first, judge(_snapshot(config, books)))


def _snapshot(config: Config, books: Audit) -> Snapshot:
    damage = books.damage()
    dirs = AttemptDirs.from_config(config)
    if damage:
        return Snapshot(Counts(0, 0, 0), life.own(), damage)  # what else the file says means nothing
    with books.as_one():
        files, others = _files(dirs.spool)
        open_attempts = books.open_attempts(identity.try_known(config.daemon.state_dir))
        snapshot = Snapshot(
            counts=books.counts(),
            life=life.own(),
            oddities=books.oddities(),
            odd=books.others(),
            schedules=books.schedules(),
            open_attempts=open_attempts,
            entries=books.entries({file.key for file in files}),
            has_own_spool=_mark(dirs.spool) in ("", books.database_id()),
        )
    unknown = _unknown_outputs(dirs.output, books)
    return replace(
        snapshot,
        files=files,
        unfinished=tuple([path for path in others if path.endswith(UNFINISHED)]),
        strange=(
            *(path for path in others if not path.endswith(UNFINISHED)),
            *_left_work(dirs.work, open_attempts, files),
        ),
        unknown_outputs=unknown,
        daemon=process_table.daemon_of(config.daemon.state_dir),
        processes=process_table.take(dirs.spool, dirs.output),
    )


def _files(spool: Path) -> tuple[tuple[SpoolFile, ...], tuple[str, ...]]:
    """The files of attempts in the spool, and the others, by path; nothing where there is no spool, as after a boot."""
    try:
        directory = os.open(spool, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return (), ()
    try:
        names = sorted(os.listdir(directory))
        keys = {name: key for name in names if (key := spool_names.try_key(name, *_KINDS)) is not None}
        files = tuple([_read(directory, key, name.rpartition(".")[2]) for name, key in keys.items()])
    finally:
        os.close(directory)
    known = {*keys, MARKER, *(name for name in names if try_mark(name) is not None)}
    return files, tuple([str(spool / name) for name in names if name not in known])


def _read(directory: int, key: AttemptKey, kind: str) -> SpoolFile:
    journal = (
        None if kind in _NO_JOURNALS else journals.try_read(directory, spool_names.file_name(*key, kind))
    )
    if journal is None or (journal.started is None and journal.fenced is None):
        return SpoolFile(key, kind)
    if journal.started is None:
        return SpoolFile(key, kind, is_fence=True)
    pid = None
    with suppress(OSError):  # no descriptor is to be had: the next look may
        pidfd = try_open_process(journal)
        if pidfd is not None:
            os.close(pidfd)
            pid = journal.started["pid"]
    return SpoolFile(key, kind, token=journal.started["token"], pid=pid)


def _mark(spool: Path) -> str:
    """The id of the database that the spool belongs to; empty where it is nobody's, or not there."""
    try:
        directory = os.open(spool, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        return word_in(directory, MARKER)
    finally:
        os.close(directory)


def _left_work(work: Path, open_attempts: Iterable[OpenAttempt], files: Iterable[SpoolFile]) -> list[str]:
    """The working directories of attempts and hooks that do not run."""
    in_use = {ASIDE}
    in_use |= {spool_names.directory_name(*attempt.key) for attempt in open_attempts}
    in_use |= {
        spool_names.directory_name(*file.key, file.kind) for file in files if file.kind in spool_names.HOOKS
    }
    try:
        return [str(work / name) for name in sorted(os.listdir(work)) if name not in in_use]
    except FileNotFoundError:
        return []


def _unknown_outputs(output: Path, books: Audit) -> tuple[str, ...]:
    """The files of the output directory that belong to no attempt of the books, looked up in portions."""
    try:
        with os.scandir(output) as listed:
            names = (entry.name for entry in listed)
            found: list[str] = []
            while portion := list(islice(names, _AT_ONCE)):
                keys = {name: spool_names.try_key(name, "out") for name in portion}
                known = books.entries({key for key in keys.values() if key is not None})
                found += [str(output / name) for name, key in keys.items() if key not in known]
            return tuple(sorted(found))
    except FileNotFoundError:
        return ()
