"""Collects the end of an attempt's process: the exit record comes first, so that no end goes unseen; then it reaps."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from . import journal_file, journal_lines, subreaper
from .cgroup import Evidence, Group, Surroundings
from .process_identity import cpu_time

_MAY_BE_FOR_CPU_TIME = (signal.SIGXCPU, signal.SIGKILL)


def collect(
    ended: os.waitid_result,
    spool: int,
    journal_name: str,
    output_bytes: Callable[[], int],
    end_strays: Callable[[], Mapping[int, str]],
    group: Group | None,
    around: Surroundings | None = None,
    stopped: str | None = None,
) -> journal_lines.Record:
    """Record how a child has ended, reap it, end what it left behind, and record what it used.

    `ended` is of a child that is not reaped; `end_strays` answers which processes it ended, by pid with the names of
    their programs; `group` is its cgroup, if it has one, `around` that of all others; `stopped` is why it was told to
    stop from here. Answers the exit record, for the journal may be full, or gone.
    """
    code, number = _status(ended)
    record: journal_lines.Record = {"pid": ended.si_pid, "at": time.time(), "code": code, "signal": number}
    record["monotonic"] = round(time.monotonic(), 6)
    if stopped is not None:
        record["stopped"] = stopped
    if number in _MAY_BE_FOR_CPU_TIME:
        with suppress(OSError):  # no descriptors
            record["own_cpu"] = cpu_time(ended.si_pid)
    journal = _try_open(spool, journal_name)
    _append(journal, journal_lines.exited(**record))
    _, _, rusage = os.wait4(ended.si_pid, 0)
    evidence = _without_group(number, around) if group is None else group.end()
    left = {**evidence.left, **end_strays()}  # of a group that was killed not all may be gone yet
    record["strays"], record["stray_names"] = len(left), subreaper.told_names(left)
    record["usage"] = _usage(rusage, output_bytes(), evidence)
    record["oom_kills"] = evidence.oom_kills
    _append(journal, journal_lines.exited(**record))
    if journal is not None:
        os.close(journal)
    return record


def _without_group(number: int | None, around: Surroundings | None) -> Evidence:
    """What tells that it was killed for its memory: whom the kernel kills for that, it sends SIGKILL."""
    if number != signal.SIGKILL or around is None:
        return Evidence()
    return Evidence(oom_kills=min(1, around.new_oom_kills()))


def output_bytes(directory: int, name: str) -> int:
    """The size of an attempt's output, in the directory of this descriptor; a file without any is removed."""
    try:
        size = os.stat(name, dir_fd=directory, follow_symlinks=False).st_size
        if size == 0:
            os.unlink(name, dir_fd=directory)
    except OSError:
        return 0  # the job removed it, or put something else there
    return size


def _status(ended: os.waitid_result) -> tuple[int | None, int | None]:
    """Exit code and signal, one of them None."""
    return (ended.si_status, None) if ended.si_code == os.CLD_EXITED else (None, ended.si_status)


def _try_open(spool: int, name: str) -> int | None:
    """The journal, open for appending; None where the job removed it, or put something in its place."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(name, flags, dir_fd=spool)
    except OSError:
        return None


def _append(journal: int | None, line: bytes) -> None:
    if journal is None:
        return
    try:
        journal_file.append(journal, line)
    except OSError:
        _complain()  # the spool is full; a daemon that lives hears of the end all the same


def _complain() -> None:
    try:
        traceback.print_exc()
    except OSError:
        return  # who would have read it is gone


def _usage(usage: Any, output: int, evidence: Evidence) -> dict[str, Any]:
    """What the kernel counted for the process and those it waited for, or, if that is more, for its whole group.

    The group's memory has all that it read and wrote of files, too: it is told where it was too much alone.
    """
    user, system = max((usage.ru_utime, usage.ru_stime), evidence.cpu, key=sum)
    killed_at = evidence.memory_peak if evidence.oom_kills else None
    return {
        "max_rss": max(usage.ru_maxrss * 1024, killed_at or 0),
        "cpu_user": user,
        "cpu_system": system,
        "output_bytes": output,
    }
