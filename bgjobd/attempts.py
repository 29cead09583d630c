"""The attempts that run: asks for their start, hears of their ends, stops them, and settles what others left behind.

What stands here in memory follows from the file and the spool. No rule about jobs is here, and nothing is stored
but by handing facts to the writer.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, TypeVar

from bgjob.words import EntryType, Outcome
from bgjobd import clock, life
from bgjobd import spool as spools
from bgjobd.core.entries import left_behind
from bgjobd.core.facts import AttemptEnded
from bgjobd.core.job import Ending, Job
from bgjobd.core.verdict import (
    JOURNAL_GONE,
    NOT_BEGUN,
    SPOOL_GONE,
    Life,
    StopReason,
    by_limit,
    unbegun,
    verdict,
    without_spool,
)
from bgjobd.core.why import UnderWay
from bgjobd.forkserver import kin
from bgjobd.forkserver.journal import MAX_NOTES, Journal, directory_name
from bgjobd.link import ForkServer
from bgjobd.outbox import Outbox
from bgjobd.outputs import Outputs
from bgjobd.policy import Policy
from bgjobd.recording import Recording
from bgjobd.spool import AttemptKey, Spool
from bgjobd.starts import Start, Starts
from bgjobd.store.items import AttemptNotes, Claim, JobFact, Noted
from bgjobd.turns import let_others, paced
from bgjobd.work import Work
from bgjobd.work_limits import WorkLimits

T = TypeVar("T")

_GATHER: Final = 0.05
"""Seconds until journals that appeared are read, all together; most small attempts have ended by then."""

_BREATH: Final = 0.005
"""Seconds between two portions of what attempts have told of themselves, where there is much of it."""

_FIRST_LOOK: Final = 0.001
_LAST_LOOK: Final = 1.0

_PATIENCE: Final = 10.0
"""Seconds without a sign of life from a fork server that owes word of a start or of an end, until it is replaced."""

_LONG_DYING: Final = 5.0
"""Seconds after SIGKILL from which on an attempt counts as one that cannot be killed."""

_LATE: Final = 1.0
"""Seconds by which a timer is late that says that this process was stopped, and perhaps the fork server too."""

_STOPPED_BEFORE: Final = "it was stopped before"
_ENDS: Final = "the daemon ends"


@dataclass(slots=True, eq=False)
class Attempt:
    """An attempt that was claimed and whose end is not on disk; `ending` is None until it is known.

    `server` is the fork server that will report its end, if any; `mark` is of the one that was asked for it, "" where
    none was, None where that is not known. `has_begun`: its journal was there, `is_started`: and its start was handed
    to the writer. `noted`: how many of its notes were, `notes_end`: where the last of them ends in the journal, and
    `has_more`: that there are others.
    `is_waiting`: its method has returned, and its result found no room. `exit`: how its process ended, where this one
    has reaped it. `sent`: the signal sent last to stop it. `timer` is for its deadline and grace, `patience` for its
    fork server's answers. `start`: its place on the way to the fork server. `is_bereft`: the spool was made again
    since it was asked for, without its journal. `pid` and `began_at`: what the database knows of one that was left
    behind. `unbegun`: how it has ended should it turn out not to have begun.
    """

    key: AttemptKey
    token: str
    class_name: str
    timeout: float | None = None
    server: ForkServer | None = None
    mark: str | None = None
    code_version: str | None = None
    has_begun: bool = False
    is_started: bool = False
    is_fenced: bool = False
    is_waiting: bool = False
    is_bereft: bool = False
    ending: Ending | None = None
    exit: dict[str, Any] | None = field(default=None, repr=False)
    stop_reason: StopReason | None = None
    sent: signal.Signals | None = None
    pidfd: int | None = None
    timer: asyncio.TimerHandle | None = None
    patience: asyncio.TimerHandle | None = None
    journal: Journal | None = field(default=None, repr=False)
    start: Start | None = field(default=None, repr=False)
    pid: int | None = None
    began_at: float | None = None
    unbegun: Ending | None = None
    noted: int = 0
    notes_end: int = 0
    has_more: bool = False


class Attempts:
    """All attempts of this daemon, of whatever fork server, and of the daemons before it.

    An end goes to the outbox with the attempt's key as its ticket. `policy` tells a class's, `work` holds their
    directories and cgroups, `starts` asks the fork server for them, `say` writes a line about the daemon itself.
    `end_strays` ends what nobody knows of the processes that dead fork servers left to this one, and answers which, by
    pid with the names of their programs.
    """

    def __init__(
        self,
        spool: Spool,
        life: Life,
        outbox: Outbox,
        policy: Callable[[str], Policy],
        outputs: Outputs,
        work: Work,
        starts: Starts,
        recording: Recording,
        work_limits: WorkLimits,
        end_strays: Callable[[], Mapping[int, str]],
        now: Callable[[], float],
        say: Callable[[EntryType, str], None],
    ) -> None:
        self._spool = spool
        self._starts = starts
        self._outputs = outputs
        self._work = work
        self._recording = recording
        self._work_limits = work_limits
        self._end_strays = end_strays
        self._life = life
        self._outbox = outbox
        self._policy = policy
        self._now = now
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._all: dict[AttemptKey, Attempt] = {}
        self._gathering: asyncio.TimerHandle | None = None
        self._behind: dict[AttemptKey, Attempt] = {}
        self._catching_up: asyncio.TimerHandle | None = None
        self._longest_grace = math.inf
        self._is_closed = False
        self._starts_no_more = False
        self._is_spool_full = False
        self._is_empty: asyncio.Future[None] | None = None
        self._turns_of_classes: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._readings: set[asyncio.Task[None]] = set()
        self._loop.add_reader(spool.fileno(), self._on_journals)

    def __len__(self) -> int:
        return len(self._all)

    def close(self) -> None:
        """Let go of descriptors and timers; the attempts go on."""
        self._is_closed = True
        for timer in (self._gathering, self._catching_up):
            if timer is not None:
                timer.cancel()
        for reading in self._readings:
            reading.cancel()
        self._loop.remove_reader(self._spool.fileno())
        for attempt in self._all.values():
            self._let_go(attempt)

    def jobs(self) -> set[int]:
        """The jobs that have an attempt which is not seen to its end."""
        return {job_id for job_id, _ in self._all}

    def count(self, kind_of: Callable[[Ending | None], T]) -> Counter[T]:
        """How many there are of each kind, by their endings as far as those are known."""
        return Counter(kind_of(attempt.ending) for attempt in self._all.values())

    def directories(self) -> set[str]:
        """The names of the directories that they work in."""
        return {directory_name(*key, is_hook=False) for key in self._all}

    def directories_of(self, class_name: str) -> list[str]:
        """Those of the class's attempts that have begun, and not ended."""
        running = (one for one in self._all.values() if one.has_begun and one.ending is None)
        return [directory_name(*one.key, is_hook=False) for one in running if one.class_name == class_name]

    def marks(self) -> set[str | None]:
        """The fork servers whose attempts they are; None is among them where that is not known of one."""
        return {attempt.mark for attempt in self._all.values()}

    def pids(self) -> set[int]:
        """The processes that proved their starts."""
        known = (attempt.journal or self._spool.try_read(attempt.key) for attempt in self._all.values())
        return {journal.started["pid"] for journal in known if journal is not None and journal.started}

    def journals(self) -> dict[AttemptKey, Journal]:
        """The journals of those that have proved their start, as they are known without a look at the spool."""
        return {key: attempt.journal for key, attempt in self._all.items() if attempt.journal is not None}

    def renew_spool(self) -> None:
        """Make the spool again, which was removed with the journals in it. Raises OSError."""
        for attempt in self._all.values():
            attempt.is_bereft = attempt.is_bereft or attempt.mark != ""
        self._spool.renew(key for key, attempt in self._all.items() if attempt.is_bereft)

    def waiting(self) -> list[int]:
        """The jobs whose results wait for room."""
        return [
            job_id
            for (job_id, _), attempt in self._all.items()
            if attempt.is_waiting and attempt.ending is None
        ]

    def under_way(self, key: AttemptKey) -> UnderWay | None:
        """How an attempt stands, as it is known here; None for one that is not of this daemon, any more or yet."""
        attempt = self._all.get(key)
        if attempt is None:
            return None
        record = None if attempt.journal is None else attempt.journal.started
        return UnderWay(
            pid=None if record is None else record["pid"],
            began_at=None if record is None else record["at"],
            has_begun=attempt.has_begun,
            is_waiting=attempt.is_waiting,
            ending=attempt.ending,
            stop_reason=attempt.stop_reason,
            sent=None if attempt.sent is None else attempt.sent.name.removeprefix("SIG"),
            seconds_left=None
            if attempt.timer is None
            else max(0.0, attempt.timer.when() - self._loop.time()),
            is_in_line=attempt.start is not None and self._starts.is_in_line(attempt.start),
        )

    def try_open(self, key: AttemptKey, journal: Journal) -> int | None:
        """A pidfd of the attempt's process, for any thread; None where it is gone. Raises OSError."""
        attempt = self._all.get(key)
        return None if attempt is None else self._try_open_process(attempt, journal)

    async def wait_until_empty(self) -> None:
        """Wait until the end of every attempt is on disk."""
        if self._all:
            self._is_empty = self._loop.create_future()
            await self._is_empty

    # Start

    def start(self, claim: Claim) -> None:
        """Have a claimed attempt started, in its turn, by the fork server in charge then."""
        job = claim.job
        key = job.id, job.attempt
        attempt = Attempt(key, claim.token, job.call.class_name, job.timeout, mark="")
        self._all[key] = attempt
        self._keep_bounded(attempt)
        if self._starts_no_more:
            self._give_back(attempt, _ENDS, delay=0.0)
            return
        if not self._starts.has_server:  # nor are there slots, until there is one
            self._give_back(attempt, "there is no fork server", delay=0.0)
            return
        attempt.start = Start(job.crashes, partial(self._send, attempt, claim))
        self._work_limits.before_start(attempt.class_name, partial(self._put_in_line, attempt))

    def _put_in_line(self, attempt: Attempt) -> None:
        """Have it go in its turn, unless its class is held by now."""
        if self._is_closed or attempt.ending is not None or attempt.start is None:
            return
        why_held = self._work_limits.held().get(attempt.class_name)
        if why_held is not None:
            self._give_back(attempt, why_held)
        else:
            self._starts.put(attempt.start)

    def _send(self, attempt: Attempt, claim: Claim, server: ForkServer) -> bool:
        """Ask the fork server for it. True: its start is on the way there."""
        if self._starts_no_more:  # who was before it in line has been given back
            self._give_back(attempt, _ENDS, delay=0.0)
            return False
        missing = server.missing.get(attempt.class_name)
        if missing is not None:  # its slot was granted while another fork server was in charge
            self._give_back(attempt, f"{attempt.class_name} is unavailable: {missing}")
            return False
        job = claim.job
        attempt.server, attempt.mark, attempt.code_version = server, server.mark, server.code_version
        attempt.patience = self._loop.call_later(_PATIENCE, self._on_no_start, attempt)
        server.start(
            {
                "job": job.id,
                "number": job.attempt,
                "token": claim.token,
                "class_name": job.call.class_name,
                "method_name": job.call.method_name,
                "parameters": job.call.parameters,
                # The configuration may say more than when the job was submitted.
                "sensitive": sorted(self._policy(attempt.class_name).sensitive.union(job.call.sensitive)),
                "timeout": job.timeout,
                "error": None,
            }
        )
        return True

    def _is_unasked(self, attempt: Attempt) -> bool:
        """Whether no fork server was asked for it yet: it is in line, or its class's directories are being measured."""
        return attempt.start is not None and not attempt.mark

    def _leave_starts(self, attempt: Attempt) -> None:
        if attempt.start is not None:
            self._starts.leave(attempt.start)

    def _keep_bounded(self, attempt: Attempt) -> None:
        self._outputs.keep_bounded(attempt.key, self._policy(attempt.class_name).max_output)

    def _on_journals(self) -> None:
        self._loop.remove_reader(self._spool.fileno())
        pause = 0.0 if self._starts.has_line else _GATHER  # somebody waits for those before it to begin
        self._gathering = self._loop.call_later(pause, self._note_changes)

    def _note_changes(self) -> None:
        """Record the starts whose journals appeared, and what attempts tell of themselves meanwhile."""
        self._loop.add_reader(self._spool.fileno(), self._on_journals)
        for attempt in self._take_changes():
            self._insist(self._note_change, attempt)
        self._starts.look()
        self._outbox.send()

    def _insist(self, step: Callable[..., None], *given: Any) -> None:
        """Take this step, and again in a moment where a journal cannot be read for lack of descriptors or memory."""
        if self._is_closed:
            return
        try:
            step(*given)
        except OSError:
            self._loop.call_later(_LAST_LOOK, self._insist, step, *given)

    def _note_change(self, attempt: Attempt) -> None:
        if not attempt.is_started:
            self._note_start(attempt, self._spool.try_read(attempt.key))
            self._watch_process(attempt)
        if attempt.is_started:
            self._note_news(attempt)
        elif attempt.has_begun and attempt.timer is None:
            self._go_on(attempt)  # the job has removed or spoilt its journal

    def _take_changes(self) -> list[Attempt]:
        """The attempts whose journals appeared or grew since the last call, or may have."""
        changes = self._spool.take_changes()
        for key in changes.created & self._all.keys():
            self._on_begin(self._all[key])
        keys = self._all.keys() if changes.has_missed else changes.created | changes.grown
        return [self._all[key] for key in keys & self._all.keys() if self._all[key].ending is None]

    def _on_begin(self, attempt: Attempt) -> None:
        """Its journal is there: the fork server has answered."""
        attempt.has_begun = True
        self._be_content(attempt)
        if attempt.server is not None:
            attempt.server.heard_at = self._loop.time()
            attempt.server.has_started = True
        self._leave_starts(attempt)

    def _note_news(self, attempt: Attempt) -> None:
        """Record what the attempt has told of itself since the last look: a portion, and the others in a moment."""
        self._read_news(attempt)
        if attempt.has_more:
            self._behind[attempt.key] = attempt
            if self._catching_up is None:
                self._catching_up = self._loop.call_later(_BREATH, self._catch_up)

    def _catch_up(self) -> None:
        """Record another portion of the one that waits longest."""
        self._catching_up = None
        attempt = self._behind.pop(next(iter(self._behind)))
        if attempt.ending is None:
            self._insist(self._note_news, attempt)
            self._outbox.send()
        if self._behind and self._catching_up is None:
            self._catching_up = self._loop.call_later(_BREATH, self._catch_up)

    def _read_news(self, attempt: Attempt) -> None:
        """Hand on the next portion of what it has told, until it has told all it may. Raises OSError."""
        attempt.has_more = False
        if attempt.noted >= MAX_NOTES or attempt.journal is None or attempt.journal.started is None:
            return
        pid = attempt.journal.started["pid"]
        news = self._spool.read_news(attempt.key, attempt.notes_end, pid)
        attempt.notes_end = news.end
        kept = news.notes[: MAX_NOTES - attempt.noted]
        if kept:
            self._outbox.hold(AttemptNotes(*attempt.key, attempt.noted, kept))
            attempt.noted += len(kept)
        attempt.has_more = news.has_more
        if news.is_waiting:
            attempt.is_waiting = True
            self._recording.suspect()

    def _note_start(self, attempt: Attempt, journal: Journal | None) -> None:
        fact = spools.started(attempt.key, journal, attempt.code_version) if journal else None
        if fact is None or attempt.is_started:
            return
        attempt.is_started = True
        self._on_begin(attempt)
        attempt.journal = journal
        self._outbox.hold(JobFact(attempt.key[0], fact))
        self._go_on(attempt)

    def _go_on(self, attempt: Attempt) -> None:
        """What is to be done with an attempt that runs: stop it now, or at its deadline."""
        if attempt.stop_reason is not None:
            self._signal(attempt, signal.SIGTERM)
        else:
            self._mind_the_deadline(attempt)

    # End

    def on_report(self, message: dict[str, Any]) -> None:
        """What a fork server tells: that an attempt ended, or that it could not begin."""
        self._insist(self._note_report, message)

    def _note_report(self, message: dict[str, Any]) -> None:
        attempt = self._all.get((message["job"], message["number"]))
        if attempt is None:
            return  # settled by other means, as after a fence
        match message["type"]:
            case "ended":
                journal = self._spool.try_read(attempt.key)
                if journal is None and (attempt.is_bereft or not self._spool.directory.is_in_place()):
                    self._recording.suspect()
                    self._end(attempt, SPOOL_GONE)
                else:
                    self._note_end(attempt, journal or Journal(), message["exit"])
            case "not_started" if not attempt.has_begun:
                self._give_back(attempt, message["reason"])
            case "not_started":
                self._end(attempt, JOURNAL_GONE)
            case unknown:
                raise ValueError(f"the fork server sent an unknown message: {unknown!r}")

    def on_end_of_server(self, server: ForkServer) -> None:
        """A fork server is gone, and will report no more of its attempts."""
        for attempt in [attempt for attempt in self._all.values() if attempt.server is server]:
            attempt.server = None
            attempt.unbegun = unbegun(server.crash, server.is_killed)
            self._insist(self._settle, attempt)

    def on_refused_end(self, key: AttemptKey, why: str) -> None:
        """The writer could not make sense of an end: the attempt is over all the same, and nobody knows how."""
        attempt = self._all.get(key)
        if attempt is not None and attempt.ending is not None and attempt.ending.outcome is not Outcome.LOST:
            attempt.ending = None
            self._end(attempt, Ending.lost(f"its end could not be stored: {why}", may_retry=False))

    def ending_of(self, job: Job) -> Ending | None:
        """How the latest attempt of a job ended, as long as it is remembered."""
        attempt = self._all.get((job.id, job.attempt))
        return None if attempt is None else attempt.ending

    def forget(self, key: AttemptKey, keep_journal: bool) -> None:
        """The attempt's end is on disk: nobody needs its journal any more, unless for a hook."""
        attempt = self._all.pop(key, None)
        if attempt is not None:
            self._let_go(attempt)
        if attempt is not None and attempt.stop_reason is not None:
            self._spool.remove_stop(key)
        if attempt is not None and attempt.is_bereft:
            self._spool.remove_bereft(key)
        if not keep_journal and attempt is not None and attempt.is_fenced:
            self._spool.lift(key)
        elif not keep_journal:
            self._spool.remove(key)
        if not self._all and self._is_empty is not None and not self._is_empty.done():
            self._is_empty.set_result(None)

    def _note_end(
        self, attempt: Attempt, journal: Journal | None, seen: dict[str, Any] | None = None
    ) -> bool:
        """Record the end that the journal tells, or the fork server saw; False where neither tells one."""
        fact = spools.ended(attempt.key, journal, seen) if journal else None
        if fact is None or journal is None:
            return False
        self._note_start(attempt, journal)
        if journal.may_have_notes:
            self._read_news(attempt)
        self._tell_strays(attempt, *spools.strays(seen or journal.exit))
        self._put_end(attempt, fact, partial(spools.ended, attempt.key, journal.without_outcome(), seen))
        return True

    def _give_back(self, attempt: Attempt, reason: str, delay: float | None = None) -> None:
        self._end(attempt, Ending.not_started(f"the attempt could not start: {reason}", delay))

    def _end(self, attempt: Attempt, ending: Ending, otherwise: Ending | None = None) -> None:
        fact = AttemptEnded(attempt.key[1], ending, self._now())
        self._put_end(attempt, fact, lambda: replace(fact, ending=otherwise or ending))

    def _put_end(
        self, attempt: Attempt, fact: AttemptEnded, otherwise: Callable[[], AttemptEnded | None]
    ) -> None:
        """`otherwise` is how it has ended should the record with a long result turn out to be none."""
        if attempt.ending is None:
            attempt.ending = self._verdict(attempt, fact)
            left = self._work.remove(directory_name(*attempt.key, is_hook=False))
            self._tell_strays(attempt, len(left), kin.told_names(left))
            self._work_limits.look(attempt.class_name)
            self._disarm(attempt)
            self._be_content(attempt)
            self._leave_starts(attempt)
            told = fact if attempt.ending is fact.ending else replace(fact, ending=attempt.ending)
            self._outputs.finish(attempt.key, partial(self._tell_end, attempt, told, otherwise))

    def _tell_end(
        self, attempt: Attempt, told: AttemptEnded, otherwise: Callable[[], AttemptEnded | None]
    ) -> None:
        """Hand the end to the writer, once what it has told and a long result have been read, a portion at a time."""
        if not attempt.has_more and not spools.is_unread(told.ending):
            self._send_end(attempt, told)
        elif not self._is_closed:
            reading = self._loop.create_task(self._read_end(attempt, told, otherwise))
            self._readings.add(reading)
            reading.add_done_callback(partial(self._on_read, attempt))

    def _send_end(self, attempt: Attempt, told: AttemptEnded) -> None:
        self._outbox.send(JobFact(attempt.key[0], told), attempt.key)

    async def _read_end(
        self, attempt: Attempt, told: AttemptEnded, otherwise: Callable[[], AttemptEnded | None]
    ) -> None:
        async with self._turns_of_classes[attempt.class_name]:
            await self._read_rest(attempt)
            ending = told.ending
            judged = await paced(spools.check_result(ending)) if spools.is_unread(ending) else ending
        if judged is ending:
            self._send_end(attempt, told)
            return
        fact = otherwise() if judged is None else replace(told, ending=judged)
        attempt.ending = None
        self._put_end(attempt, fact or replace(told, ending=spools.ending_unseen(None)), lambda: None)

    async def _read_rest(self, attempt: Attempt) -> None:
        """Hand on all that is left of what it has told."""
        while attempt.has_more:
            await let_others()
            try:
                self._read_news(attempt)
            except OSError:  # no descriptors
                await asyncio.sleep(_LAST_LOOK)
                attempt.has_more = True

    def _on_read(self, attempt: Attempt, reading: asyncio.Task[None]) -> None:
        self._readings.discard(reading)
        error = None if reading.cancelled() else reading.exception()
        if error is not None:
            self.on_refused_end(attempt.key, f"{type(error).__name__}: {error}")

    def _tell_strays(self, attempt: Attempt, count: int, names: list[str]) -> None:
        if count:
            told = f"processes that it left behind, killed: {left_behind(count, names)}"
            self._outbox.hold(Noted(*attempt.key, EntryType.INFO, told))

    def _verdict(self, attempt: Attempt, fact: AttemptEnded) -> Ending:
        policy = self._policy(attempt.class_name)
        ending = by_limit(fact, policy.caps, attempt.stop_reason)
        return verdict(ending, attempt.stop_reason, attempt.timeout, policy.retry_lost, policy.retry_on)

    # Stop

    def start_no_more(self) -> None:
        """Give back those that no fork server was asked for yet."""
        self._starts_no_more = True
        for attempt in list(self._all.values()):
            if self._is_unasked(attempt) and attempt.ending is None:
                self._give_back(attempt, _ENDS, delay=0.0)

    def stop(self, key: AttemptKey, reason: StopReason) -> None:
        """End the attempt from outside: TERM to its group, KILL once its class's grace is over."""
        attempt = self._all.get(key)
        if attempt is None or attempt.ending is not None or attempt.stop_reason is not None:
            return
        attempt.stop_reason = reason
        if self._is_unasked(attempt):
            self._give_back(attempt, _STOPPED_BEFORE, delay=0.0)
            return
        self._leave_word(attempt)
        if attempt.has_begun:
            self._signal(attempt, signal.SIGTERM)
        else:
            self._insist(self._look_for_start, attempt)  # which sends the signal, now or once it has begun

    def _look_for_start(self, attempt: Attempt) -> None:
        self._note_start(attempt, self._spool.try_read(attempt.key))
        self._outbox.send()

    def _leave_word(self, attempt: Attempt) -> None:
        """Write why the attempt is stopped, for its process and for a later daemon; a full spool stops no stop."""
        if attempt.stop_reason is None:
            return
        try:
            self._spool.write_stop(attempt.key, attempt.stop_reason)
        except OSError as error:
            self._recording.suspect()
            self._say(
                EntryType.FAILURE, f"no stop reason for job {attempt.key[0]}: {error.strerror} in the spool"
            )

    def stop_all(self, reason: StopReason, grace: float) -> None:
        """Stop every attempt; from now on none is given more than `grace` seconds, nor those told to stop before.

        One whose claim is heard of later does not start.
        """
        self._starts_no_more, self._longest_grace = True, grace
        for key, attempt in list(self._all.items()):
            if attempt.stop_reason is None:
                self.stop(key, reason)
            elif attempt.has_begun and attempt.ending is None:
                self._signal(attempt, signal.SIGTERM)

    def _mind_the_deadline(self, attempt: Attempt) -> None:
        """Have the attempt stopped at its deadline, which counts from its start, whoever the daemon was then."""
        if attempt.timeout is None:
            return
        # asyncio's clock is CLOCK_MONOTONIC, as the journal's.
        record = None if attempt.journal is None else attempt.journal.started
        deadline = attempt.timeout + (self._loop.time() if record is None else spools.began_at(record))
        attempt.timer = self._loop.call_at(deadline, self.stop, attempt.key, StopReason.TIMED_OUT)

    def _signal(self, attempt: Attempt, number: signal.Signals) -> None:
        self._disarm(attempt)
        attempt.sent = number
        try:
            self._send_signal(attempt, number)
        except OSError as error:
            told = f"job {attempt.key[0]} could not be sent signal {number}: {error.strerror}"
            self._say(EntryType.FAILURE, told)
        if number is signal.SIGTERM:
            grace = min(self._policy(attempt.class_name).stop_grace, self._longest_grace)
            attempt.timer = self._loop.call_later(grace, self._signal, attempt, signal.SIGKILL)
        elif number is signal.SIGKILL:
            attempt.timer = self._loop.call_later(_LONG_DYING, self._on_long_dying, attempt)

    def _on_long_dying(self, attempt: Attempt) -> None:
        """It waits for a disk or a network that does not answer: it stays running, and its slot held. Whoever else
        is in its cgroup does not.
        """
        if attempt.patience is not None:
            return  # it has ended, and its fork server owes word of that
        group = self._work.try_group(directory_name(*attempt.key, is_hook=False))
        if group is not None:
            group.kill()  # not before: of those who are killed with it none is counted as left behind
        pid = attempt.journal.started["pid"] if attempt.journal and attempt.journal.started else "unknown"
        told = f"its process (pid {pid}) was killed {_LONG_DYING:g} s ago and does not end; it waits in the kernel"
        self._outbox.send(Noted(*attempt.key, EntryType.FAILURE, told))

    def _send_signal(self, attempt: Attempt, number: signal.Signals) -> None:
        """Signal the group of the process that the journal tells, else have the fork server signal its child."""
        if attempt.pidfd is None and attempt.journal is not None:
            attempt.pidfd = self._try_open_process(attempt, attempt.journal)
        is_known = attempt.pidfd is not None
        if attempt.pidfd is not None and attempt.journal is not None and attempt.journal.started is not None:
            spools.signal_group(attempt.pidfd, attempt.journal.started["pid"], number)
        if attempt.server is not None and (number is signal.SIGKILL or not is_known):
            attempt.server.signal(*attempt.key, number)  # which knows its children, whatever a job writes

    def _try_open_process(self, attempt: Attempt, journal: Journal) -> int | None:
        """A pidfd of the attempt's process, and of no other that the job may have written into its journal."""
        owner = self._work.owner_of(directory_name(*attempt.key, is_hook=False))
        parents = () if attempt.server is None else (attempt.server.pid, os.getpid())
        return spools.try_open_process(journal, owner, parents)

    def _disarm(self, attempt: Attempt) -> None:
        if attempt.timer is not None:
            attempt.timer.cancel()
            attempt.timer = None

    def _let_go(self, attempt: Attempt) -> None:
        self._disarm(attempt)
        self._be_content(attempt)
        if attempt.pidfd is not None:
            self._loop.remove_reader(attempt.pidfd)
            os.close(attempt.pidfd)
            attempt.pidfd = None

    # A fork server that does not answer

    def _watch_process(self, attempt: Attempt) -> None:
        """Notice when the process of an attempt has ended: its fork server owes word of it then."""
        if attempt.journal is not None and attempt.pidfd is None:
            with suppress(OSError):  # no descriptors: it goes without
                attempt.pidfd = self._try_open_process(attempt, attempt.journal)
            if attempt.pidfd is not None:
                self._loop.add_reader(attempt.pidfd, self._on_process_end, attempt)

    def _on_no_start(self, attempt: Attempt) -> None:
        try:
            has_begun = attempt.has_begun or self._spool.try_read(attempt.key) is not None
        except OSError:
            has_begun = False
        if has_begun:
            attempt.patience = None
        else:
            self._on_silence(attempt, self._on_no_start)

    def _on_no_end(self, attempt: Attempt) -> None:
        self._on_silence(attempt, self._on_no_end)

    def _on_silence(self, attempt: Attempt, look: Callable[[Attempt], None]) -> None:
        """Replace the fork server if it gives no sign of life at all; what it has started goes on."""
        server, timer, attempt.patience = attempt.server, attempt.patience, None
        if server is None or timer is None:
            return
        if self._loop.time() - timer.when() > _LATE:  # this process itself was stopped
            attempt.patience = self._loop.call_later(_PATIENCE, look, attempt)
            return
        patience = server.heard_at + _PATIENCE - self._loop.time()
        if patience > 0:
            attempt.patience = self._loop.call_later(patience, look, attempt)
            return
        told = f"the fork server (pid {server.pid}) has not answered for {_PATIENCE:g} s; it is killed and replaced"
        self._say(EntryType.FAILURE, told)
        server.kill()

    def _be_content(self, attempt: Attempt) -> None:
        if attempt.patience is not None:
            attempt.patience.cancel()
            attempt.patience = None

    # What an earlier daemon, or a fork server that died, left behind

    def recover(self, rows: Iterable[dict[str, Any]]) -> None:
        """Settle the attempts whose end is not recorded: collect, wait for, give back, or count as lost."""
        bereft = set(self._spool.bereft())
        for row in rows:
            key = row["job_id"], row["number"]
            attempt = Attempt(key, row["token"], row["class_name"], row["timeout"], pid=row["pid"])
            attempt.began_at = None if row["started_at"] is None else clock.from_text(row["started_at"])
            attempt.has_begun = attempt.is_started = attempt.pid is not None
            attempt.is_bereft = key in bereft
            self._all[key] = attempt
            self._keep_bounded(attempt)
            ending = self._life.try_ending(row["boot_id"])
            if ending is not None:
                self._insist(self._settle_dead, attempt, ending)
            else:
                self._insist(self._adopt, attempt, row["cancel_requested_at"] is not None)

    def _settle_dead(self, attempt: Attempt, ending: Ending) -> None:
        """Record the end of an attempt of an earlier life, as its journal tells it, should the spool have lasted."""
        journal = self._spool.try_read(attempt.key)
        if journal is not None and journal.fenced is not None and not attempt.has_begun:
            self._spool.keep_fence(attempt.key)
            self._end(attempt, NOT_BEGUN)
        elif journal is None or not spools.has_token(journal, attempt.token):
            self._end(attempt, ending)
        elif not self._note_end(attempt, journal):
            told = ending if journal.outcome is None else spools.ending_unseen(journal)
            self._end(attempt, told, ending)

    def _settle_without_spool(self, attempt: Attempt) -> None:
        """Of an attempt without a pid nobody knows whether it began: its process may be alive."""
        if attempt.pid is None or attempt.began_at is None:
            self._end(attempt, without_spool(is_gone=False))
        else:
            self._end(attempt, without_spool(life.is_gone(attempt.pid, attempt.began_at, self._now())))

    def _adopt(self, attempt: Attempt, is_cancelled: bool) -> None:
        """Settle an attempt of this life. Whoever told it to stop may have died before the signal, or the kill."""
        if attempt.stop_reason is None:
            attempt.stop_reason = self._spool.try_read_stop(attempt.key)
        if attempt.stop_reason is None and is_cancelled:
            attempt.stop_reason = StopReason.CANCELLED
            self._leave_word(attempt)
        self._insist(self._settle, attempt)

    def _settle(self, attempt: Attempt) -> None:
        """Find out about an attempt that no fork server of ours will report on."""
        if attempt.ending is not None:
            return
        for changed in self._take_changes():  # before the fence, whose file appears like any other
            if changed is not attempt:
                self._insist(self._note_change, changed)
        journal = self._spool.try_read(attempt.key)
        if journal is None and attempt.is_bereft:
            journal = attempt.journal  # as it was read in time
        journal = journal or self._fenced(attempt)
        attempt.is_fenced = journal is not None and journal.fenced is not None
        if attempt.is_fenced:
            self._spool.keep_fence(attempt.key)
        is_own = journal is not None and spools.has_token(journal, attempt.token)
        if attempt.is_bereft and (attempt.is_fenced or not is_own):
            self._settle_without_spool(attempt)  # the fence does not tell that it has not begun before
            return
        if journal is None or (attempt.is_fenced and attempt.has_begun) or not (attempt.is_fenced or is_own):
            self._end(attempt, JOURNAL_GONE)
            return
        if attempt.is_fenced:
            self._end(attempt, attempt.unbegun or NOT_BEGUN)
            return
        self._watch(attempt, journal)

    def _fenced(self, attempt: Attempt) -> Journal | None:
        """The journal once it is decided that the attempt does not start; its own, if its process was faster."""
        try:
            self._spool.fence(attempt.key, attempt.mark)
        except OSError as error:
            self._recording.suspect()
            if not self._is_spool_full:
                self._say(
                    EntryType.FAILURE, f"the spool cannot be written: {error.strerror}; tried every second"
                )
            self._is_spool_full = True
            raise
        self._is_spool_full = False
        return self._spool.try_read(attempt.key)

    def _watch(self, attempt: Attempt, journal: Journal) -> None:
        """Wait for the end of a process that another daemon, or a dead fork server, has started."""
        self._note_start(attempt, journal)
        attempt.journal = journal
        attempt.mark = attempt.mark or spools.mark_in(journal)
        self._note_news(attempt)
        self._outbox.send()
        try:
            if attempt.pidfd is None:
                attempt.pidfd = self._try_open_process(attempt, journal)
        except OSError as error:
            self._say(
                EntryType.FAILURE, f"job {attempt.key[0]} cannot be watched: {error.strerror}; trying again"
            )
            self._loop.call_later(_LAST_LOOK, self._insist, self._settle, attempt)
            return
        if attempt.pidfd is None:
            self._look_again(attempt, _FIRST_LOOK)
            return
        self._loop.add_reader(attempt.pidfd, self._on_process_end, attempt)
        if attempt.timer is None:
            self._go_on(attempt)

    def _on_process_end(self, attempt: Attempt) -> None:
        """The process of an attempt has ended: its fork server tells how, or it is to be found out."""
        if attempt.pidfd is not None:
            self._loop.remove_reader(attempt.pidfd)
        if attempt.server is None:
            self._look_again(attempt, _FIRST_LOOK)
        elif attempt.ending is None and attempt.patience is None:
            attempt.patience = self._loop.call_later(_PATIENCE, self._on_no_end, attempt)

    def _look_again(self, attempt: Attempt, pause: float) -> None:
        """The process has ended, and is ours to reap, or its fork server lives and is about to record its exit."""
        self._insist(self._look, attempt, pause)

    def _look(self, attempt: Attempt, pause: float) -> None:
        if attempt.ending is not None:
            return
        seen = attempt.exit = attempt.exit or self._try_collect(attempt)
        journal = self._spool.try_read(attempt.key)
        if journal is None and attempt.is_bereft:
            self._end(attempt, SPOOL_GONE)
            return
        if seen is None and _lacks_usage(journal) and pause < _LAST_LOOK:
            self._loop.call_later(pause, self._look_again, attempt, pause * 2)
            return
        if self._note_end(attempt, journal or (Journal() if seen else None), seen):
            return
        # Whoever is not reaped has a parent that will tell.
        has_parent = attempt.pidfd is not None and spools.is_unreaped(attempt.pidfd)
        if pause < (_PATIENCE if has_parent else _LAST_LOOK):
            self._loop.call_later(min(pause, _LAST_LOOK), self._look_again, attempt, pause * 2)
        else:
            bare = None if journal is None else journal.without_outcome()
            self._end(attempt, spools.ending_unseen(journal), spools.ending_unseen(bare))

    def _try_collect(self, attempt: Attempt) -> dict[str, Any] | None:
        """The exit of a process that fell to this one when its fork server died."""
        if attempt.pidfd is None:
            return None
        output_bytes = partial(self._outputs.measure, attempt.key)
        group = self._work.try_group(directory_name(*attempt.key, is_hook=False))
        return self._spool.try_collect(attempt.pidfd, attempt.key, output_bytes, self._end_strays, group)


def _lacks_usage(journal: Journal | None) -> bool:
    """Whether a fork server has recorded the exit, and is about to record once more what was used."""
    return journal is not None and journal.exit is not None and journal.exit.get("usage") is None
