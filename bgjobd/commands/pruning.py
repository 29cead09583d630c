"""The command `bgjobd prune`: picks what is old by reading the file, archives it, and only then has it deleted.

Who deletes is the daemon, or this process while it holds the daemon's lock.
"""

from __future__ import annotations

import gzip
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from bgjob.client import Client
from bgjob.codec import JsonObject, to_json
from bgjob.words import FINAL, Status
from bgjobd.config.policy import policy_of
from bgjobd.config.sections import Config, Retention
from bgjobd.core.job import AttemptKey
from bgjobd.core.masking import masked
from bgjobd.core.planner import Lanes
from bgjobd.daemon import retention
from bgjobd.forkserver import spool_names
from bgjobd.host import clock, life
from bgjobd.host.lock import AlreadyRunningError, lock
from bgjobd.store.audit import Audit
from bgjobd.store.backups import sync
from bgjobd.store.database import check_log, open_for_writing
from bgjobd.store.engines.places import OfServerError, place_of
from bgjobd.store.engines.sqlite import errors_named
from bgjobd.store.items.item import Item
from bgjobd.store.items.retention import Deletion, Trimming
from bgjobd.store.ledger import Ledger
from bgjobd.store.reader import Reader
from bgjobd.store.retention import FIRST, Place
from bgjobd.store.whole_jobs import whole
from bgjobd.supervisor import outputs
from bgjobd.supervisor.application import AttemptDirs

_PATIENCE: Final = 60.0
"""Seconds that the daemon may take for a portion: it pauses after each."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to go: jobs that ended so before that time, and log entries from before `logs`, if there is one."""

    ends: Mapping[Status, float]
    logs: float | None

    @classmethod
    def of(cls, kept: Retention, now: float) -> Wish:
        """All that is older than `[retention]` says, or the command's arguments in its place."""
        ends = {status: now - age for status, age in retention.ages(kept).items()}
        return cls(ends, None if kept.logs is None else now - kept.logs)


@dataclass(slots=True)
class Pruned:
    """What is gone by now."""

    jobs: Counter[Status] = field(default_factory=Counter)
    entries: int = 0

    def as_json(self) -> JsonObject:
        return {
            "jobs": {status.value: self.jobs[status] for status in sorted(FINAL)},
            "entries": self.entries,
        }

    def __str__(self) -> str:
        kinds = ", ".join(f"{number:,} {status}" for status, number in sorted(self.jobs.items()) if number)
        told = retention.amount(self.jobs.total(), self.entries)
        return f"{told} ({kinds})" if kinds else told


# Who deletes


class Hand(Protocol):
    """Deletes in small portions."""

    def delete(self, job_ids: Sequence[int], last_entry: int) -> tuple[list[int], int]: ...

    def trim(self, before: float, after: int) -> tuple[int, int | None]: ...


class _Daemons:
    """The daemon that runs deletes."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def delete(self, job_ids: Sequence[int], last_entry: int) -> tuple[list[int], int]:
        return self._client.prune(job_ids, last_entry)

    def trim(self, before: float, after: int) -> tuple[int, int | None]:
        return self._client.prune_logs(clock.to_text(before), after)


class _Own:
    """This process deletes, in the place of the daemon whose lock it holds."""

    def __init__(self, ledger: Ledger, output: int, in_use: Collection[int]) -> None:
        self._ledger = ledger
        self._output = output
        self._in_use = in_use

    def delete(self, job_ids: Sequence[int], last_entry: int) -> tuple[list[int], int]:
        left = tuple([job_id for job_id in job_ids if job_id not in self._in_use])
        gone: list[int] = []
        entries = 0
        while left:
            deleted = self._commit(Deletion(left, last_entry))
            outputs.remove(self._output, deleted.attempts)
            gone += deleted.jobs
            entries, left = entries + deleted.entries, deleted.left
        return gone, entries

    def trim(self, before: float, after: int) -> tuple[int, int | None]:
        trimmed = self._commit(Trimming(before, after))
        return trimmed.entries, trimmed.next

    def _commit(self, item: Item) -> Any:
        (answer,) = self._ledger.commit([item], Lanes(0), time.time()).answers
        if isinstance(answer, Exception):
            raise answer
        return answer


@contextmanager
def hand_of(config: Config) -> Iterator[Hand]:
    """Whoever may write the file. Raises the errors of the store, and OSError."""
    place, dirs = config.daemon.state_dir, AttemptDirs.from_config(config)
    with ExitStack() as held:
        try:
            held.callback(os.close, lock(place))
        except AlreadyRunningError:
            yield _Daemons(held.enter_context(Client(str(config.daemon.socket), timeout=_PATIENCE)))
            return
        if config.daemon.database is not None:
            raise OfServerError("pruning without a daemon", "start the daemon first, which then does it")
        check_log(place)
        database = open_for_writing(place)
        held.callback(database.close)
        output = os.open(_made(dirs.output), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        held.callback(os.close, output)
        in_use = {job_id for job_id, _ in _files_of(dirs.spool)}
        yield _Own(Ledger(database, life.own().id, random.random), output, in_use)


def _made(directory: Path) -> Path:
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory


def _files_of(spool: Path) -> Iterable[AttemptKey]:
    """The attempts that the next daemon finds something of: their ends, or hooks that are owed."""
    try:
        names = os.listdir(spool)
    except FileNotFoundError:
        return ()
    return [
        key for name in names if (key := spool_names.try_key(name, "journal", *spool_names.HOOKS)) is not None
    ]


# The archive


class Archive:
    """A new file of JSON lines, a job each, in gzip: whatever was added is on disk, whatever comes after it."""

    def __init__(self, path: Path) -> None:
        """Raises FileExistsError, OSError."""
        mode = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._path = path
        self._file = os.fdopen(os.open(path, mode, 0o600), "wb")
        self._is_empty = True

    def add(self, jobs: Iterable[JsonObject]) -> None:
        """Store these jobs as a member of their own, which can be read whatever comes behind it."""
        with gzip.GzipFile(fileobj=self._file, mode="wb", filename="") as member:
            for job in jobs:
                member.write(to_json(job).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        if self._is_empty:
            sync(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        self._is_empty = False

    def close(self) -> None:
        """Leave no file for nothing."""
        try:
            self._file.close()  # which writes what is left of a part that the disk did not take
        finally:
            if self._is_empty:
                self._path.unlink(missing_ok=True)


# Pruning


def prune(config: Config, wish: Wish, archive: Path | None, pruned: Pruned) -> None:
    """Delete it, and tell of it in `pruned`; what an archive is to have is in it before. It may be interrupted.

    Raises FileExistsError for the archive, errors of the store, the client's, and OSError.
    """
    Audit(place_of(config.daemon)).close()  # the file is there, and of this version
    with errors_named(place_of(config.daemon)), ExitStack() as held:
        hand = held.enter_context(hand_of(config))
        reader = held.enter_context(closing(Reader(place_of(config.daemon), is_patient=True)))
        kept = None if archive is None else held.enter_context(closing(Archive(archive)))
        total = sum(reader.old.count_ended_before(status, before) for status, before in wish.ends.items())
        progress = held.enter_context(_progress(total))
        for status, before in wish.ends.items():
            place: Place | None = FIRST
            while place is not None:
                last_entry, places = retention.old(status, before, place, reader)
                job_ids = [job_id for _, job_id in places]
                if kept is not None and job_ids:
                    found = (whole(job_id, reader) for job_id in job_ids)
                    kept.add(_without_secrets(job, config) for job in found if job is not None)
                gone, entries = hand.delete(job_ids, last_entry) if job_ids else ([], 0)
                pruned.jobs[status] += len(gone)
                pruned.entries += entries
                progress(pruned)
                place = places[-1] if places else None
        after: int | None = 0
        while after is not None and wish.logs is not None:
            entries, after = hand.trim(wish.logs, after)
            pruned.entries += entries
            progress(pruned)


def _without_secrets(job: JsonObject, config: Config) -> JsonObject:
    """The job without what has become a secret since it was submitted: the configuration may say more by now."""
    sensitive = policy_of(config, job["class_name"]).sensitive
    logs = [
        entry | {"context": context | {"parameters": masked(context["parameters"], sensitive)}}
        if isinstance(context := entry["context"], dict) and isinstance(context.get("parameters"), dict)
        else entry
        for entry in job["logs"]
    ]
    return job | {"parameters": masked(job["parameters"], sensitive), "logs": logs}


def would_be_pruned(config: Config, wish: Wish) -> Pruned:
    """What a run would delete; nothing is."""
    Audit(place_of(config.daemon)).close()
    with (
        errors_named(place_of(config.daemon)),
        closing(Reader(place_of(config.daemon), is_patient=True)) as reader,
    ):
        jobs = {status: reader.old.count_ended_before(status, before) for status, before in wish.ends.items()}
        return Pruned(Counter(jobs), reader.old.count_entries(wish.ends, wish.logs))


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Pruned], None]]:
    """Draws on a terminal how far it is, whenever it is told."""
    told = TextColumn("{task.completed:,.0f} of {task.total:,.0f} jobs, {task.fields[entries]:,} log entries")
    with Progress(BarColumn(), told, console=Console(stderr=True), disable=not sys.stderr.isatty()) as drawn:
        task = drawn.add_task("", total=total, entries=0)
        yield lambda pruned: drawn.update(task, completed=pruned.jobs.total(), entries=pruned.entries)
