"""Whether the books balance: what is stored, what lies in the spool and which processes live, held against each other.

All of this is pure: what is there is gathered by `check_books`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Final

from bgjob.text import one_line
from bgjob.words import Status
from bgjobd.commands import schedule_books
from bgjobd.commands.process_table import Process
from bgjobd.core.job import AttemptKey
from bgjobd.core.verdict import Life
from bgjobd.forkserver import spool_names
from bgjobd.store.audit import (
    BookedSchedule,
    Counts,
    Entry,
    Odd,
    Oddity,
    OpenAttempt,
)

_REPORT: Final = "report it, with `bgjob show {0}` and `bgjob tail {0}`"
_LOG: Final = "report it, with the daemon's log of that time"
_RESTART: Final = "restart the daemon, which settles it, and report it with the daemon's log"


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """Something that must not be: what it is about, what is wrong, and what to do next.

    Two looks found the same where subject and rule are the same; `what` may tell of something that moves.
    """

    subject: str
    rule: str
    what: str
    next: str

    def __str__(self) -> str:
        return one_line(f"{self.subject}: {self.what}; {self.next}")  # a job may have named the file


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """A file of an attempt in the spool. `token` is of the claim that it was begun for, None for a fence.

    `pid` is its process, where that lives.
    """

    key: AttemptKey
    kind: str
    is_fence: bool = False
    token: str | None = None
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was there at one moment, nearly: the books in one snapshot, then the spool, then the processes.

    `entries` has what the books say of the attempts that the spool has files of; `unfinished` are files of the spool
    that somebody writes, or was killed over; `strange` are files of the spool and the work directory that nobody
    knows, `unknown_outputs` the outputs of attempts that the books do not know.
    """

    counts: Counts
    life: Life
    damage: tuple[str, ...] = ()
    oddities: tuple[Oddity, ...] = ()
    odd: tuple[Odd, ...] = ()
    schedules: tuple[BookedSchedule, ...] = ()
    open_attempts: tuple[OpenAttempt, ...] = ()
    files: tuple[SpoolFile, ...] = ()
    entries: Mapping[AttemptKey, Entry] = field(default_factory=dict)
    unfinished: tuple[str, ...] = ()
    strange: tuple[str, ...] = ()
    unknown_outputs: tuple[str, ...] = ()
    has_own_spool: bool = True
    daemon: int | None = None
    processes: Mapping[int, Process] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Books:
    """What came of it. `unsettled` are the attempts and files that a start of the daemon will settle: none runs."""

    findings: tuple[Discrepancy, ...]
    counts: Counts
    unsettled: int = 0
    hooks_owed: int = 0

    def __str__(self) -> str:
        """The findings, a line each, and a line that sums them up."""
        return "\n".join([*(str(finding) for finding in self.findings), self.summary])

    def as_json(self) -> str:
        """The same for programs."""
        found = [asdict(finding) for finding in self.findings]
        return json.dumps({"is_whole": not found, "findings": found, "summary": self.summary})

    @property
    def summary(self) -> str:
        counts = self.counts
        found = len(self.findings)
        verdict = "the books balance" if not found else f"the books do not balance, {_many(found, 'finding')}"
        told = [_many(counts.jobs, "job"), _many(counts.attempts, "attempt"), f"{counts.running:,} running"]
        if self.hooks_owed:
            told.append(f"{_many(self.hooks_owed, 'failed hook')} to come or running")
        line = f"{verdict}: {', '.join(told)}"
        if self.unsettled:
            line += f"; no daemon runs, and its start will settle {_many(self.unsettled, 'remnant')}"
        return line


def judge(look: Snapshot) -> Books:
    """What is wrong at this moment, and what only waits for a daemon."""
    waiting = [*_unsettled_attempts(look), *_left_files(look)]
    findings = [
        *_damage(look),
        *_contradictions(look),
        *_of_schedules(look),
        *(waiting if look.daemon is not None else ()),
        *_strange_files(look),
        *_strange_processes(look),
    ]
    unsettled = len(waiting) if look.daemon is None else 0
    return Books(tuple(findings), look.counts, unsettled, len(_owed_hooks(look)))


def lasting(first: Books, second: Books) -> Books:
    """The second look, with what both found."""
    known = {(finding.subject, finding.rule) for finding in first.findings}
    stayed = [finding for finding in second.findings if (finding.subject, finding.rule) in known]
    return replace(second, findings=tuple(stayed))


# The file


def _damage(look: Snapshot) -> Iterator[Discrepancy]:
    for line in look.damage:
        remedy = "stop the daemon, keep the file aside, and restore a copy"
        yield Discrepancy("the database", line, f"it is damaged: {line}", remedy)


def _contradictions(look: Snapshot) -> Iterator[Discrepancy]:
    for oddity in look.oddities:
        subject = f"job {oddity.job_id}"
        if oddity.number is not None:
            subject = _name((oddity.job_id, oddity.number))
        yield Discrepancy(subject, oddity.told, oddity.told, _REPORT.format(oddity.job_id))
    for odd in look.odd:
        yield Discrepancy(odd.subject, odd.told, odd.told, _LOG)


def _of_schedules(look: Snapshot) -> Iterator[Discrepancy]:
    for one in look.schedules:
        for told in schedule_books.contradictions(one):
            yield Discrepancy(f"schedule {one.name}", told, told, _LOG)


# The attempts that run


def _unsettled_attempts(look: Snapshot) -> Iterator[Discrepancy]:
    begun = {file.key: file for file in look.files if file.kind == "journal"}
    at_work = {key for process in look.processes.values() for key in process.holds}
    for attempt in look.open_attempts:
        trouble = _trouble(attempt, begun.get(attempt.key), look)
        # A job may have removed or spoilt its journal: what it holds tells that it runs.
        if trouble is not None and not (attempt.pid and attempt.key in at_work):
            yield Discrepancy(_name(attempt.key), "without a process", trouble, _RESTART)


def _trouble(attempt: OpenAttempt, journal: SpoolFile | None, look: Snapshot) -> str | None:
    """Why an attempt that counts as running does not run; None where it does."""
    ending = look.life.try_ending(attempt.boot_id)
    if ending is not None:
        return f"it counts as running, and is over: {ending.error_message}"
    if not look.has_own_spool:
        return "it counts as running, and the spool is another database's"
    if journal is None:
        gone = f", and the journal of its process {attempt.pid} is gone" if attempt.pid else ""
        return f"it was claimed and has not started{gone}"
    if journal.is_fence:
        return "it counts as running, and was fenced: it will not start"
    if journal.token != attempt.token:
        return "it counts as running, and the journal of its name is not its own"
    process = look.processes.get(journal.pid or 0)
    if journal.pid is None or (process is not None and process.is_zombie):
        return f"it counts as running, and its process{_pid(journal.pid or attempt.pid)} is gone"
    return None


# The spool


def _left_files(look: Snapshot) -> Iterator[Discrepancy]:
    """Files of attempts that nobody needs any more, or whose process should have been settled."""
    open_keys = {attempt.key for attempt in look.open_attempts}
    owed = {file.key for file in _owed_hooks(look)}
    for file in look.files:
        subject = spool_names.file_name(*file.key, file.kind)
        if file.is_fence:
            continue  # it stays as long as a fork server may have the start before it
        if file.kind in spool_names.HOOKS:
            if file.pid is None:
                yield Discrepancy(
                    subject, "hook", "the process of this failed hook is gone, its journal is not", _RESTART
                )
        elif not (file.key in open_keys or (file.kind == "journal" and file.key in owed)):
            message = "it lies in the spool, and the end of its attempt is stored"
            if file.key not in look.entries:
                message = "it lies in the spool, and there is no such attempt"
            yield Discrepancy(subject, "left", message, "restart the daemon, which removes it, and report it")

    for path in look.unfinished:
        message = "it was never finished, and whoever wrote it is gone"
        yield Discrepancy(path, "unfinished", message, "restart the daemon, which removes it")


def _owed_hooks(look: Snapshot) -> list[SpoolFile]:
    """The journals that stay for a `failed` hook that is to come, or runs: of a failed job's latest attempt.

    Whether its class has such a hook only the application knows.
    """
    found = [(file, look.entries[file.key]) for file in look.files if file.key in look.entries]
    return [
        file
        for file, entry in found
        if file.kind == "journal"
        and not (file.is_fence or entry.is_open)
        and entry.is_latest
        and entry.status is Status.FAILED
    ]


def _strange_files(look: Snapshot) -> Iterator[Discrepancy]:
    for path in look.strange:
        yield Discrepancy(path, "strange", "nothing of bgjobd's has a file of this name here", "remove it")
    for name in look.unknown_outputs:
        yield Discrepancy(
            name,
            "output",
            "the output of an attempt that the books do not know",
            "keep it elsewhere; a daemon removes it a minute after its start",
        )


# The processes


def _strange_processes(look: Snapshot) -> Iterator[Discrepancy]:
    begun = {file.pid for file in look.files if file.pid is not None}
    servers = {process.pid for process in look.processes.values() if process.is_fork_server}
    waiting = {look.processes[pid].parent for pid in begun if pid in look.processes}
    for process in look.processes.values():
        if process.is_fork_server:
            if process.parent != look.daemon and process.pid not in waiting:
                yield _forlorn_server(process, look.daemon)
        elif _is_ours(process, look, servers) and not _is_at_work(process, begun, look):
            yield _stray(process)


def _is_ours(process: Process, look: Snapshot, servers: Collection[int]) -> bool:
    """Whether it comes from an attempt; what the application's imports forked is of the fork server's session, what
    was there before the daemon of the daemon's.
    """
    if process.pid == look.daemon or process.session in servers:
        return False
    return bool(process.holds) or process.parent in servers or _fell_to_daemon(process, look)


def _fell_to_daemon(process: Process, look: Snapshot) -> bool:
    daemon = look.processes.get(look.daemon or 0)
    return daemon is not None and process.parent == daemon.pid and process.session != daemon.session


def _is_at_work(process: Process, begun: Collection[int], look: Snapshot) -> bool:
    """Whether its attempt, or hook, runs: it holds its files, is of its session, or descends from it."""
    open_keys = {attempt.key for attempt in look.open_attempts}
    open_keys |= {file.key for file in look.files if file.kind in spool_names.HOOKS and file.pid is not None}
    return bool(process.holds & open_keys) or _is_below(process, begun, look.processes)


def _is_below(process: Process, begun: Collection[int], processes: Mapping[int, Process]) -> bool:
    seen: set[int] = set()
    line: Process | None = process
    while line is not None and line.pid not in seen:
        if line.pid in begun or line.session in begun:
            return True
        seen.add(line.pid)
        line = processes.get(line.parent)
    return False


def _forlorn_server(process: Process, daemon: int | None) -> Discrepancy:
    whose = "is not of the daemon that runs" if daemon is not None else "is of no daemon"
    message = f"this fork server {whose}, and has no attempt to wait for"
    return Discrepancy(_called(process), "forlorn", message, f"end it (kill {process.pid}), and report it")


def _stray(process: Process) -> Discrepancy:
    if process.is_zombie:
        message = f"it has ended, and its parent ({process.parent}) does not reap it"
        return Discrepancy(_called(process), "zombie", message, "report it; a restart of the daemon ends it")
    whose = ", ".join(_name(key) for key in sorted(process.holds))
    message = f"it outlived its attempt ({whose})" if whose else "it belongs to no attempt that runs"
    return Discrepancy(
        _called(process), "stray", f"{message}: {process.command}", f"look at it, then kill {process.pid}"
    )


def _called(process: Process) -> str:
    return f"process {process.pid} (started at tick {process.start_time})"


def _name(key: AttemptKey) -> str:
    return f"job {key[0]}, attempt {key[1]}"


def _pid(pid: int | None) -> str:
    return "" if pid is None else f" ({pid})"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
