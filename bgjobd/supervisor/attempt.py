"""One attempt, from its claim until its end is handed to the writer: looks and acts, as the rules of its life say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from bgjob.words import EntryType
from bgjobd.core import attempt_sights as seen
from bgjobd.core.attempt_life import Act, AttemptLife, EndTerms, IllegalSightError, advance
from bgjobd.core.attempt_sights import Sight
from bgjobd.core.job import Ending
from bgjobd.core.verdict import StopReason
from bgjobd.core.why import UnderWay
from bgjobd.forkserver import subreaper
from bgjobd.forkserver.journal import Journal
from bgjobd.forkserver.journal_lines import Record
from bgjobd.host import clock
from bgjobd.store.committed import Claim
from bgjobd.supervisor import journal_facts
from bgjobd.supervisor.attempt_end import AttemptEnd
from bgjobd.supervisor.attempt_news import AttemptNews
from bgjobd.supervisor.attempt_start import AttemptStart
from bgjobd.supervisor.attempt_stop import AttemptStop
from bgjobd.supervisor.claimed import Claimed
from bgjobd.supervisor.fork_server_link import ForkServer
from bgjobd.supervisor.looks import BEGINNING, Asked, GoneError, Look, wait_until
from bgjobd.supervisor.patience import Patience
from bgjobd.supervisor.processes import LAST_LOOK, AttemptProcess
from bgjobd.supervisor.settling import Settling, is_spool_gone
from bgjobd.supervisor.states import StateReader, may_have_state
from bgjobd.supervisor.surroundings import AttemptSurroundings


class Attempt:
    """An attempt that was claimed and whose end is not on disk. What follows from what is seen of it, `see` asks the
    rules; nothing here decides how it ends.

    `server` is the fork server that will report its end, if any; `mark` is of the one that was asked for it, "" where
    none was, None where that is not known. `is_fenced`: a fence stands in its journal's place.
    """

    def __init__(self, around: AttemptSurroundings, claimed: Claimed, life: AttemptLife) -> None:
        self._around, self._claimed, self.life = around, claimed, life
        key, class_name = self.key, self.class_name = claimed.key, claimed.class_name
        self.server: ForkServer | None = None
        self.mark: str | None = None
        self.is_fenced = False
        self._patience = Patience(around.loop, around.say)
        self._news = AttemptNews(around, key, self.see)
        output_bytes = partial(around.outputs.measure, key)
        self.process = AttemptProcess(
            around.spool, around.work, around.processes, around.end_strays, key, output_bytes=output_bytes
        )
        self.way = AttemptStart(
            around, claimed, see=self.see, on_ask=self._on_ask, is_over=lambda: self.life.state.is_final
        )
        self._stop = AttemptStop(
            around, claimed, process=self.process, see=self.see, owes_end=lambda: self._patience.is_waiting
        )
        self._state = StateReader(around, key)
        self._settling = Settling(
            around,
            claimed,
            process=self.process,
            news=self._news,
            life=lambda: self.life,
            see=self.see,
            note_end=self._note_end,
        )
        self._end = AttemptEnd(around, claimed, news=self._news, state=self._state, see=self.see)
        around.outputs.keep_bounded(key, around.policy(class_name).max_output)

    @classmethod
    def claimed(cls, around: AttemptSurroundings, claim: Claim) -> Attempt:
        """One that is to be started."""
        attempt = cls(around, Claimed.by(claim), AttemptLife(claim.job.attempt))
        attempt.mark = ""
        return attempt

    @classmethod
    def left_behind(cls, around: AttemptSurroundings, row: Mapping[str, Any], is_bereft: bool) -> Attempt:
        """One of an earlier daemon, as the database has it."""
        life = AttemptLife.left_behind(row["number"], row["pid"] is not None, is_bereft)
        attempt = cls(around, Claimed.of_row(row), life)
        attempt._news.pid = row["pid"]
        attempt._news.began_at = None if row["started_at"] is None else clock.from_text(row["started_at"])
        return attempt

    @property
    def journal(self) -> Journal | None:
        """As it was read last; None until it has proved its start."""
        return self._news.journal

    @property
    def ending(self) -> Ending | None:
        """None until it is known."""
        return self.life.ending

    def see(self, sight: Sight) -> None:
        """Do what follows from what was seen. What cannot be seen so is a bug of ours, and costs no other attempt."""
        try:
            self.life, acts = advance(self.life, sight, self._around.now(), self._terms)
        except IllegalSightError as error:
            self._around.say(EntryType.FAILURE, f"bug: job {self.key[0]}: {error}; report it, with its log")
            return
        for act in acts:
            _ACTS[act](self)

    def _terms(self) -> EndTerms:
        return self._claimed.end_terms(self._around.policy(self.class_name))

    def under_way(self) -> UnderWay:
        """How it stands, as it is known here."""
        record = self._news.started
        return UnderWay(
            pid=None if record is None else record["pid"],
            began_at=None if record is None else record["at"],
            has_begun=self.life.state.has_begun,
            is_waiting=self.life.is_waiting,
            ending=self.ending,
            stop_reason=self.life.stop_reason,
            sent=self.life.sent,
            seconds_left=self._stop.seconds_left,
            is_in_line=self.way.is_in_line,
        )

    async def look(self, asked: Asked) -> Look:
        """Where its process is; one that is on its way gets a moment. Raises GoneError where it is not there, and
        OSError.
        """

        async def has_begun() -> bool:
            journal = self.journal or self._around.spool.try_read(self.key)
            return (journal is not None and journal.started is not None) or self.life.state.is_final

        await wait_until(has_begun, BEGINNING)
        journal = self.journal or self._around.spool.try_read(self.key)
        if journal is None or journal.started is None or self.life.state.is_final:
            raise GoneError
        open_process = partial(self.process.try_open_for_others, journal)
        listens = None if self.server is None else self.server.listens
        return await self._around.looks.look(self.key, journal.started["pid"], open_process, listens, asked)

    def release(self) -> None:
        """Let go of descriptors and timers; it goes on."""
        self._stop.disarm()
        self._patience.end()
        self._state.stop()
        self.process.release()

    # Start

    def _on_ask(self, server: ForkServer) -> None:
        """This fork server is about to be asked for it."""
        self.server, self.mark, self._news.code_version = server, server.mark, server.code_version
        self.process.server_pid = server.pid
        self._patience.wait(self._who_owes_start)
        self.see(seen.StartAsked())

    def _who_owes_start(self) -> ForkServer | None:
        try:
            has_begun = self.life.state.has_begun or self._around.spool.try_read(self.key) is not None
        except OSError:
            has_begun = False
        return None if has_begun else self.server

    def on_journal(self) -> None:
        """Its journal is there: the fork server has answered."""
        self.see(seen.JournalAppeared())
        self._patience.end()
        if self.server is not None:
            self.server.heard_at = self._around.loop.time()
            self.server.has_started = True
        self.way.leave()

    def note_change(self) -> None:
        """Record its start, and what it tells of itself meanwhile. Raises OSError."""
        if self.life.state.is_final:
            return
        if self._news.pid is None:
            self._note_start(self._around.spool.try_read(self.key))
            with suppress(OSError):  # no descriptors: it goes without
                if not self.life.state.is_unasked and self.process.open(self.journal):
                    self.process.watch(self._on_process_end)
        if self._news.pid is not None:
            self.note_news()
        elif self.life.state.has_begun and not self._stop.is_armed:
            self.see(seen.StartRead())  # the job has removed or spoilt its journal

    def _note_start(self, journal: Journal | None) -> None:
        if not self._news.note_start(journal):
            return
        self.on_journal()
        if self._news.started is not None:
            self.process.note(self._news.started)
        self.see(seen.StartRead())

    def note_news(self) -> None:
        """Record what it has told of itself since the last look: a portion, and the others in a moment."""
        self._news.read()
        if self._news.has_more:
            self._around.catch_up(self)

    def on_save(self) -> None:
        """It has saved its job's state."""
        if self.may_have_state:
            self._state.look_soon()

    @property
    def may_have_state(self) -> bool:
        """Whether it may have a file for its job's state."""
        return may_have_state(self._news.started)

    # End

    def on_report(self, message: dict[str, Any]) -> None:
        """What its fork server tells: that it ended, or that it could not begin. Raises OSError."""
        if self.life.state.is_final:
            return
        match message["type"]:
            case "ended":
                journal = self._around.spool.try_read(self.key)
                if journal is None and is_spool_gone(self._around, self.life):
                    self._around.recording.suspect()
                    self.see(seen.EndSeenWithoutSpool())
                else:
                    self._note_end(journal or Journal(), message["exit"])
            case "not_started":
                self.see(seen.StartRefused(message["reason"]))
            case unknown:
                raise ValueError(f"the fork server sent an unknown message: {unknown!r}")

    def on_end_of_server(self, server: ForkServer) -> None:
        """Its fork server is gone, and will report no more of it."""
        self.server = self.process.server_pid = None
        self.see(seen.ServerEnded(server.crash, server.is_killed))

    def _note_end(self, journal: Journal | None, exit_record: Record | None = None) -> bool:
        """Record the end that the journal tells, or the fork server saw; False where neither tells one."""
        sight = None if journal is None else journal_facts.end_seen(self.key, journal, exit_record)
        if sight is None or journal is None:
            return False
        self._note_start(journal)
        self._news.note_end(journal, exit_record)
        if journal_facts.was_fenced(journal, exit_record):
            self.see(seen.StopRecalled(StopReason.FENCED))
        self.see(sight)
        return True

    def _tell_end(self) -> None:
        """Put away what it has left, and hand its end to the writer once its output is closed."""
        around, ended = self._around, self.life.ended
        if ended is None:
            return
        left = around.work.remove(self.process.directory)
        self._news.note_strays(len(left), subreaper.told_names(left))
        around.work_limits.look(self.class_name)
        self._stop.disarm()
        self._patience.end()
        self._end.hand_over(ended)
        self.way.leave()  # last, for it sends others, of whose troubles this end knows nothing

    # Stop

    def _terminate(self) -> None:
        """Have it sent SIGTERM; where its time is up, it is looked at first, once."""
        if self.life.stop_reason is StopReason.TIMED_OUT and not self._stop.has_looked:
            self._stop.look_first(lambda: self.look(Asked()), self._send_term)
        else:
            self._send_term()

    def _send_term(self) -> None:
        self._stop.terminate(self.journal, self.server, self.life.stop_reason)

    def _look_whether_begun(self) -> None:
        if not self.life.state.is_final:
            self._note_start(self._around.spool.try_read(self.key))
            self._around.outbox.send()

    # What an earlier daemon, or a fork server that died, left behind

    def settle_dead(self, ending: Ending) -> None:
        """Record the end of an attempt of an earlier life, as its journal tells it, should the spool have lasted."""
        self._settling.settle_dead(ending)

    def adopt(self, is_cancelled: bool) -> None:
        """Settle an attempt of this life."""
        self._settling.recall_stop(is_cancelled)
        self._settle()

    def _settle(self) -> None:
        self._around.retry_on_oserror(self._look_into_spool)

    def _look_into_spool(self) -> None:
        """Find out about an attempt that no fork server of ours will report on. Raises OSError."""
        if self.life.state.is_final:
            return
        self._around.note_changes(self)  # before the fence, whose file appears like any other
        read = self._settling.settle(self.mark)
        self.is_fenced = read.is_fenced
        self.see(read)

    def _watch(self) -> None:
        """Wait for the end of a process that another daemon, or a dead fork server, has started. Raises OSError."""
        journal = self.journal
        if journal is None:
            return
        self._note_start(journal)
        self.mark = self.mark or journal_facts.mark_in(journal)
        self.note_news()
        self.on_save()
        self._around.outbox.send()
        try:
            is_open = self._settling.open(journal)
        except OSError as error:
            text = f"job {self.key[0]} cannot be watched: {error.strerror}; trying again"
            self._around.say(EntryType.FAILURE, text)
            self._around.loop.call_later(LAST_LOOK, self._settle)
            return
        if is_open:
            self.process.watch(self._on_process_end)
            if not self._stop.is_armed:
                self.see(seen.StartRead())

    def _on_process_end(self) -> None:
        """Its process has ended: its fork server tells how, or it is to be found out."""
        if self.server is None:
            self.process.look_again(self._settling.look)
        elif self.ending is None and not self._patience.is_waiting:
            self._patience.wait(lambda: self.server)


_ACTS: Final[Mapping[Act, Callable[[Attempt], None]]] = MappingProxyType(
    {
        Act.LIMIT: lambda one: one._stop.arm_deadline(one._claimed.timeout, one.journal),
        Act.WARN: lambda one: one._stop.leave_word(one.life.stop_reason),
        Act.LOOK_FOR_START: lambda one: one._around.retry_on_oserror(one._look_whether_begun),
        Act.TERMINATE: Attempt._terminate,
        Act.KILL: lambda one: one._stop.kill(one.journal, one.server),
        Act.TELL_UNKILLABLE: lambda one: one._stop.tell_unkillable(one.journal),
        Act.SETTLE: Attempt._settle,
        Act.WATCH: Attempt._watch,
        Act.TELL_END: Attempt._tell_end,
    }
)
