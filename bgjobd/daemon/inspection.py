"""What can be asked of how things stand now: what runs, what all jobs add up to, and why one has not run."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any, Final

from bgjob.amounts import many_of
from bgjob.errors import JobNotFoundError
from bgjob.words import Status
from bgjobd.core.on_file import OnFile
from bgjobd.core.planner import Lanes
from bgjobd.core.trials import UNTRIED, Unavailable
from bgjobd.core.why import Closing, Known, UnderWay, why
from bgjobd.daemon import fates
from bgjobd.daemon.catalogue import Catalogue
from bgjobd.daemon.current_catalogue import CurrentCatalogue
from bgjobd.daemon.deliveries import Deliveries
from bgjobd.daemon.fates import Looked
from bgjobd.daemon.peers import Peers
from bgjobd.store.health import StorageHealth
from bgjobd.store.reader import Reader
from bgjobd.store.readers import Readers
from bgjobd.store.tally import Tally
from bgjobd.supervisor import live_usage
from bgjobd.supervisor.supervisor import Supervisor

_PATIENCE: Final = 0.25
"""Seconds for the jobs that wait, after a reload; some ten thousand of them, and others go on beside it."""


class Inspection:
    """Puts together what the file and the daemon's parts know.

    `closing` tells why nothing new is started, `reload_failure` why the last reload failed, `schedules_trouble` why no
    schedule is dealt with; each None where not so.
    """

    def __init__(
        self,
        *,
        readers: Readers,
        deliveries: Deliveries,
        supervisor: Supervisor,
        current_catalogue: CurrentCatalogue,
        health: StorageHealth,
        peers: Peers,
        lanes: Callable[[], Lanes],
        closing: Callable[[], Closing | None],
        reload_failure: Callable[[], str | None],
        schedules_trouble: Callable[[], str | None],
        now: Callable[[], float],
    ) -> None:
        self._readers = readers
        self._deliveries = deliveries
        self._supervisor = supervisor
        self._current_catalogue = current_catalogue
        self._health = health
        self._peers = peers
        self._lanes = lanes
        self._closing = closing
        self._reload_failure = reload_failure
        self._schedules_trouble = schedules_trouble
        self._now = now

    def status(self) -> str:
        """How it stands, in a line."""
        closing, failure = self._closing(), self._reload_failure()
        if closing is Closing.STOPPING:
            return "stopping"
        tally = self._deliveries.tally
        jobs = {} if tally is None else tally.jobs
        parts = [f"{jobs.get(Status.RUNNING, 0)} running, {jobs.get(Status.PENDING, 0)} pending"]
        if closing is Closing.DRAINING:
            attempts = many_of(len(self._supervisor.attempts), "attempt")
            parts.append(f"waits for the end of {attempts}, starts nothing new")
        elif closing is Closing.ASKED:
            parts.append("drains, starts nothing new until it is started again")
        elif self._supervisor.fork_servers.current is None:
            parts.append("starts nothing until its fork server is up")
        if self.storage_trouble is not None:
            parts.append(self.storage_trouble)
        if failure is not None:
            parts.append(f"the last reload failed and changed nothing: {failure}")
        return "; ".join(parts)

    @property
    def fork_servers(self) -> int:
        """How many live; those of earlier code until their last attempts have ended."""
        return len(self._supervisor.fork_servers.pids)

    @property
    def has_code(self) -> bool:
        """Whether attempts can start, as far as that takes a fork server."""
        return self._supervisor.fork_servers.current is not None

    @property
    def is_loading(self) -> bool:
        """Whether a fork server is on its way, and none has failed to come up."""
        return self._supervisor.fork_servers.is_coming

    @property
    def storage_trouble(self) -> str | None:
        """What keeps the database or the ends of attempts from being written, lets the former grow, or keeps schedules
        from being dealt with; else None.
        """
        return self._health.trouble or self._supervisor.trouble or self._schedules_trouble()

    @property
    def held(self) -> dict[str, str]:
        """The classes that get no start, each with why, and what to do."""
        return self._supervisor.work_limits.held()

    async def tally(self) -> Tally:
        """What all jobs add up to; counted by whoever asks only as long as this daemon has committed nothing."""
        if self._deliveries.tally is not None:
            return self._deliveries.tally
        return await self._readers.read(lambda reader: reader.tally(self._now()))

    def running(self, host: str | None = None, label: str | None = None) -> Awaitable[list[dict[str, Any]]]:
        """The attempts that run, or those on the host of this name or with this label, and what each of them uses now.

        There may be many, so only searches wait for that.
        """
        attempts, now = self._supervisor.attempts, self._now()
        journals = attempts.journals()

        def look(reader: Reader) -> list[dict[str, Any]]:
            rows = reader.with_expected(reader.running(host, label), now)
            return live_usage.read_all(rows, journals, attempts.try_open)

        return self._readers.search(look)

    async def fates(self, catalogue: Catalogue) -> list[str]:
        """What becomes of jobs that wait and would not run as they should, by this code; a sentence a kind.

        Only so many are looked at as a moment has time for.
        """
        server = self._supervisor.fork_servers.current
        usable = catalogue.classes if server is None else server.ready["classes"]

        def look(reader: Reader) -> Looked:
            end = time.monotonic() + _PATIENCE
            with closing(reader.pending()) as jobs:
                return fates.look(
                    catalogue, usable, jobs, reader.pending_count(), lambda: time.monotonic() < end
                )

        try:
            looked = await self._readers.search(look)
        except Exception as error:  # whatever it meets there: the code has been taken up
            return [f"jobs that wait could not be looked at: {type(error).__name__}: {error}"]
        so_far = fates.try_so_far(looked)
        return [*fates.told(looked), *([] if so_far is None else [so_far])]

    async def why(self, job_id: int) -> str:
        """Why a job has not run or has not ended, when it will run, or how it ended. Raises JobNotFoundError."""
        on_file, under_way = await self._job_now(job_id)
        is_here = on_file.host in (None, self._peers.own)
        if under_way is None and on_file.job.status is Status.RUNNING and is_here:
            # Its claim was committed, or its end, and this loop has not heard of the one, or the file was read before.
            on_file, under_way = await self._job_now(job_id)
        class_name, fork_servers = on_file.job.class_name, self._supervisor.fork_servers
        known = Known(
            on_file,
            self._lanes(),
            under_way,
            closing=self._closing(),
            storage_trouble=self._health.unwritable,
            gone_back=self._health.gone_back,
            recording_trouble=self._supervisor.recording.reason,
            why_held=self.held.get(class_name),
            no_fork_server=fork_servers.absence if fork_servers.current is None else None,
            unavailable=self._try_unavailable(class_name),
            refusal=self._current_catalogue.try_refusal(on_file.job.call),
            peers=await self._peers.look(),
        )
        return why(known, self._now())

    async def _job_now(self, job_id: int) -> tuple[OnFile, UnderWay | None]:
        now = self._now()
        on_file = await self._readers.read(lambda reader: reader.on_file(job_id, now, self._peers.own))
        if on_file is None:
            raise JobNotFoundError(id=job_id)
        return on_file, self._supervisor.attempts.under_way((job_id, on_file.job.attempt))

    def hint_of_class(self, class_name: str) -> str:
        """What comes next for a class that cannot be used."""
        missing = self._try_unavailable(class_name)
        return UNTRIED if missing is None else f"its jobs wait; {missing.hint}"

    def _try_unavailable(self, class_name: str) -> Unavailable | None:
        """Why nothing of an approved class can start, and what comes next; None where it can."""
        reason = self._current_catalogue.missing().get(class_name)
        return None if reason is None else Unavailable(reason, self._supervisor.trials.hint(class_name))
