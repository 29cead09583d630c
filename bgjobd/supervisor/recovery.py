"""What an earlier daemon left: settles it when one starts, before anything new is told to anybody."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from bgjobd.core.job import AttemptKey
from bgjobd.forkserver.spool_names import HOOKS
from bgjobd.store.reader import Reader
from bgjobd.supervisor.attempts import Attempts
from bgjobd.supervisor.hook import OwedHook
from bgjobd.supervisor.hooks import Hooks
from bgjobd.supervisor.lost_elsewhere import LostElsewhere
from bgjobd.supervisor.spool import Spool
from bgjobd.supervisor.work_dirs import WorkDirs

T = TypeVar("T")


def recover(
    spool: Spool,
    reader: Reader,
    host: int | None,
    attempts: Attempts,
    hooks: Hooks,
    work: WorkDirs,
    lost: LostElsewhere | None,
    more_time: Callable[[], None],
) -> None:
    """Settle every attempt of this host whose end is not recorded, and see what the others' journals still ask for.

    `lost` sees to those that others have settled, where there are other hosts. It may take long: `more_time` is called
    for each attempt and journal, so that systemd hears that it goes on.
    """
    spool.files.remove_unfinished()
    database_id = reader.database_id()
    rows = reader.open_attempts(host)
    is_open = {(row["job_id"], row["number"]) for row in rows}
    if not spool.belongs_to(database_id):
        spool.give_to(database_id, bereft=is_open)
    attempts.recover(_each(rows, more_time))
    called = {key: kind for kind in HOOKS for key in spool.hooks(kind)}  # of both the later
    for key, kind in called.items():
        _adopt_hook(key, kind, reader, hooks)
    going_on = set()
    for key in _each(set(spool.journals()) - is_open - called.keys(), more_time):
        if lost is not None and reader.counts_as_lost(*key):
            going_on.add(lost.try_directory(key) or "")
        else:
            _see_to_journal(key, spool, reader, hooks)
    if host is not None:
        for key in _each(reader.owed_hooks(host), more_time):
            if key not in called and not hooks.has(key):
                _is_owed_a_hook(key, reader, hooks)  # of which the spool does not tell, as after a boot
    _remove_what_is_left(spool, is_open)
    work.tidy(attempts.directories() | hooks.directories() | going_on)


def _remove_what_is_left(spool: Spool, is_open: set[AttemptKey]) -> None:
    """What was left beside the journals of attempts that are over."""
    for keys, remove in (
        (spool.stops(), spool.remove_stop),
        (spool.bereft(), spool.remove_bereft),
        (spool.carries(), spool.remove_carry),
        (spool.states(), spool.remove_state),
    ):
        for key in set(keys) - is_open:
            remove(key)


def _each(left: Iterable[T], more_time: Callable[[], None]) -> Iterator[T]:
    for one in left:
        more_time()
        yield one


def _adopt_hook(key: AttemptKey, kind: str, reader: Reader, hooks: Hooks) -> None:
    job, found = reader.summary(key[0]), reader.failed_attempt(*key)
    next_one = None if found is None else OwedHook(key, *found, is_sealed=True, kind=kind).next_one
    hooks.adopt(key, kind, "" if job is None else job["class_name"], next_one)


def _see_to_journal(key: AttemptKey, spool: Spool, reader: Reader, hooks: Hooks) -> None:
    """Of an attempt whose end is recorded: it stays where a hook is owed after it."""
    try:
        journal = spool.try_read(key)
    except OSError:
        return  # it cannot be read now, and says nothing new: it stays until the next start
    # The start of a job that ended its fork servers is fenced, and a hook may be owed all the same.
    is_owed = journal is not None and _is_owed_a_hook(key, reader, hooks)
    if journal is not None and journal.fenced is None and not is_owed:
        spool.remove(key)  # its end was committed a moment before the crash
    elif is_owed:
        spool.fences.keep(key)


def _is_owed_a_hook(key: AttemptKey, reader: Reader, hooks: Hooks) -> bool:
    """Whether this was the last attempt of a failed job; then its hook, if it has one, is to be called."""
    found = reader.failed_attempt(*key)
    return found is not None and hooks.offer(key, *found, is_inherited=True)
