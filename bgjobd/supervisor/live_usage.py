"""What the processes of attempts use at this moment, as /proc tells; nothing is kept, and no attempt is decided on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final, NamedTuple

from bgjob.codec import JsonObject
from bgjobd.core.job import AttemptKey
from bgjobd.forkserver.journal import Journal
from bgjobd.supervisor.processes import is_unreaped, try_open_process

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Reading(NamedTuple):
    """Seconds of CPU until now, the process's own and those of children that it has waited for; bytes resident now."""

    cpu: float
    memory: int


TryOpen = Callable[[AttemptKey, Journal], int | None]
"""A pidfd of the process that began a journal; None where it is gone, or the job has named another. Raises OSError."""


def read_all(
    rows: Iterable[JsonObject], journals: Mapping[AttemptKey, Journal], try_open: TryOpen
) -> list[JsonObject]:
    """The attempts, each with the `pid` that its journal tells, its `cpu` and its `memory`, None if unknown."""
    return [row | _measured(row, journals.get((row["job_id"], row["number"])), try_open) for row in rows]


def _measured(row: JsonObject, journal: Journal | None, try_open: TryOpen) -> JsonObject:
    if journal is None or journal.started is None:
        return {"pid": row["pid"], "cpu": None, "memory": None}
    reading = try_read(journal, partial(try_open, (row["job_id"], row["number"])))
    cpu, memory = (None, None) if reading is None else reading
    return {"pid": journal.started["pid"], "cpu": cpu, "memory": memory}


def try_read(
    journal: Journal, try_open: Callable[[Journal], int | None] = try_open_process
) -> Reading | None:
    """What the process that began this journal uses; None where it is gone, or cannot be looked at."""
    try:
        pidfd = try_open(journal)
    except OSError:
        return None  # no descriptors
    if pidfd is None or journal.started is None:
        return None
    try:
        stat = _stat(journal.started["pid"])
        # As long as it is not reaped nobody else has its pid.
        return reading_of(stat) if is_unreaped(pidfd) else None
    except OSError:
        return None
    finally:
        os.close(pidfd)


def _stat(pid: int) -> bytes:
    descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 1024)
    finally:
        os.close(descriptor)


def reading_of(stat: bytes) -> Reading:
    """What /proc/PID/stat tells: fields 14 to 17 are ticks of CPU time, field 24 is pages (proc(5)).

    The command name, in brackets, may hold anything; so the fields are counted from behind it.
    """
    fields = stat[stat.rindex(b")") + 2 :].split()
    ticks = sum(int(field) for field in fields[11:15])
    return Reading(ticks / _TICKS, int(fields[21]) * _PAGE)
