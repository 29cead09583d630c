"""Whether each hook that was owed was called by the host that said so, once it had said so; of hosts alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from bgjobd.host.clock import from_text
from tests.faults import books
from tests.faults.books import Key
from tests.faults.torture.killer import Done
from tests.faults.torture.looks import rows_of
from tests.faults.torture.station import Station

MOURNED: Final = "tortured.Mourned"
_HOOKS: Final = """
    SELECT a.job_id, a.number, h.name, a.hook_called_at FROM job_attempts AS a
    JOIN background_jobs AS j ON j.id = a.job_id LEFT JOIN hosts AS h ON h.id = a.hook_host
    WHERE a.hook_host IS NOT NULL AND j.class_name = ?
"""
_STORED: Final = "SELECT id FROM background_jobs"
_MEANWHILE: Final = 60.0
"""Seconds that a hook may wait for its turn, or take."""


class Hook(NamedTuple):
    """What is owed after an attempt, by which host; when that said that it was about to call it."""

    key: Key
    host: str
    begun_at: float | None


def of_hooks(station: Station, done: Callable[[str], Sequence[Done]]) -> Iterator[str]:
    """What is wrong with the hooks of the jobs that are stored, once all has settled."""
    stored = {job for (job,) in rows_of(station, _STORED)}
    ran = {(line.job, line.attempt) for line in books.lines_of(station.ledger) if line.what == "hook"}
    rows = books.rows_of(station.settings, _HOOKS, MOURNED)
    hooks = [
        Hook((job, number), host, None if at is None else from_text(at)) for job, number, host, at in rows
    ]
    return findings(hooks, {key for key in ran if key[0] in stored}, done)


def findings(
    hooks: Iterable[Hook], ran: Collection[Key], done: Callable[[str], Sequence[Done]]
) -> Iterator[str]:
    """Hooks that nobody has called, that did not run though nothing was done to who was to call them, or that ran
    without a word before.
    """
    begun: set[Key] = set()
    for hook in hooks:
        told = f"job {hook.key[0]}, attempt {hook.key[1]}: its failed hook, which {hook.host} owes,"
        if hook.begun_at is None:
            yield f"{told} was not called"
            continue
        begun.add(hook.key)
        if hook.key not in ran and not _was_struck(hook.begun_at, done(hook.host)):
            yield f"{told} was to be called, and did not run"
    for job, number in sorted({*ran} - begun):
        yield f"job {job}, attempt {number}: its failed hook ran, and nobody had said that it would"


def _was_struck(at: float, done: Sequence[Done]) -> bool:
    return any(abs(one.at - at) <= _MEANWHILE for one in done)
