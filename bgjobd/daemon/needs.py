"""Puts together what this daemon knows of what may need somebody, when somebody looks; what needs whom is core's."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bgjob.errors import StorageUnavailableError
from bgjobd.core.alerts import Load, Watch
from bgjobd.core.need_kinds import ASKED, HeldClass, Kind, MetError, Need, Queue, RisingError, Rule, Seen
from bgjobd.core.needs import FORK_SERVERS, needs
from bgjobd.core.peers import Peer
from bgjobd.core.quarantine import ClassHold, Reason, why
from bgjobd.daemon.catalogue import Catalogue
from bgjobd.daemon.counters import Counters
from bgjobd.daemon.current_catalogue import CurrentCatalogue
from bgjobd.daemon.inspection import Inspection
from bgjobd.daemon.last_attempts import LastAttempts
from bgjobd.host.disk_space import rooms
from bgjobd.store.needs import Stored
from bgjobd.store.reader import Reader
from bgjobd.store.readers import Readers
from bgjobd.store.rows import instant
from bgjobd.store.span_counts import Counted

_UNTIMED = frozenset({Kind.STORAGE, Kind.NO_CODE, Kind.UNAVAILABLE, Kind.REFUSED, Kind.DISK})


@dataclass(frozen=True, slots=True)
class Read:
    """What the file has; `paused`: when such queues go on, `oldest`: since when the first of a queue's jobs waits.
    `successes` are of the jobs that rules wait for, `loads` when these rules were first loaded.
    """

    stored: Stored
    paused: Mapping[str, str | None]
    oldest: Mapping[str, str]
    peers: tuple[Peer, ...]
    failures: tuple[MetError, ...]
    successes: Mapping[str, float]
    loads: Mapping[str, Load]
    rising: tuple[RisingError, ...] = ()


def read(
    reader: Reader,
    queues: Collection[str],
    watches: Collection[Watch],
    now: float,
    counted: Callable[[], Counted] = Counted,
) -> Read:
    """All that these rules may ask of it; `counted` is what has ended that is in no row yet."""
    awaited = {watch.rule.job for watch in watches if watch.rule.kind is Kind.NO_SUCCESS}
    jobs = [job for job in awaited if job is not None]
    return Read(
        reader.needs.stored(now),
        reader.paused(),
        reader.oldest_pending_by_queue(queues, now),
        reader.hosts.peers(),
        reader.needs.failures(now) if any(watch.rule.kind is Kind.FAILED for watch in watches) else (),
        reader.needs.last_successes(jobs) if jobs else {},
        reader.needs.first_loads() if jobs else {},
        reader.needs.rising(counted, now),
    )


def seen_in(
    known: Seen,
    found: Read,
    queues: Iterable[str],
    watches: Iterable[Watch],
    now: float,
    catalogue: Catalogue | None = None,
    usual_wait: Callable[[str], float | None] = lambda queue: None,
) -> Seen:
    """What is known without the file, and what that tells by itself, to a daemon with this catalogue."""
    return replace(
        known,
        crashed=found.stored.crashed,
        held=tuple(_held(found.stored.held, catalogue)),
        runs=found.stored.runs,
        review=found.stored.review,
        errors=found.stored.errors,
        queues=tuple(_queue(name, found, usual_wait(name)) for name in sorted(queues)),
        rising=found.rising,
        failures=found.failures,
        successes=found.successes,
        loaded=_loaded(watches, found.loads, now),
        skipped=found.stored.skipped,
        failed_in_row=found.stored.failed_in_row,
        peers=found.peers,
    )


class Needs:
    """Finds them; `ended_early` is when it was seen that the daemon before had ended without a word."""

    def __init__(
        self,
        *,
        readers: Readers,
        inspection: Inspection,
        counters: Counters,
        current_catalogue: CurrentCatalogue,
        refused: Callable[[], Mapping[str, str]],
        queues: Callable[[], Mapping[str, int | None]],
        directories: Callable[[], Mapping[str, Path]],
        host: str,
        watches: Callable[[], Iterable[Watch]],
        now: Callable[[], float],
        counted: Callable[[], Counted],
    ) -> None:
        self._readers = readers
        self._inspection = inspection
        self._counters = counters
        self._current_catalogue = current_catalogue
        self._refused = refused
        self._queues = queues
        self._directories = directories
        self._host = host
        self._watches = watches
        self._now = now
        self._counted = counted
        self._fork_server_ends: deque[float] = deque(maxlen=FORK_SERVERS)
        self._known_since: Mapping[tuple[str, str], float] = {}
        self.ended_early: float | None = None
        self.attempts = LastAttempts()

    def _rules(self) -> dict[Kind, Rule]:
        """Of the kinds, with the numbers of the configuration."""
        return {watch.rule.kind: watch.rule for watch in self._watches() if watch.name == watch.rule.kind}

    def note_end_of_fork_server(self) -> None:
        """The one in charge has ended by itself."""
        self._fork_server_ends.append(self._now())

    async def look(self) -> list[Need]:
        """All that needs somebody now."""
        try:
            seen = await self.see()
        except StorageUnavailableError:
            seen = self.known()
            if seen.storage_trouble is None:
                raise
        asked = [watch.rule for watch in self._watches() if watch.rule.kind in ASKED]
        answer = needs(seen, self._now(), self._rules(), asked)
        self._known_since = {(one.kind, one.subject): one.since for one in answer if one.kind in _UNTIMED}
        return answer

    def known(self) -> Seen:
        """What this daemon knows of it without asking the database, which may be away."""
        missing = self._current_catalogue.missing()
        return Seen(
            host=self._host,
            storage_trouble=self._inspection.storage_trouble,
            has_code=self._inspection.has_code,
            is_loading=self._inspection.is_loading,
            ended_early=self.ended_early,
            fork_server_ends=tuple(self._fork_server_ends),
            unavailable=missing,
            hints={name: self._inspection.hint_of_class(name) for name in missing},
            held_back=self._inspection.held,
            refused=self._refused(),
            attempts=self.attempts.told(self._now()),
            known_since=self._known_since,
        )

    async def see(self) -> Seen:
        """All that this daemon knows of it now. Raises StorageUnavailableError."""
        now, queues, watches = self._now(), self._queues(), tuple(self._watches())
        found = await self._readers.read(lambda reader: read(reader, queues, watches, now, self._counted))
        known = replace(self.known(), disks=await self._readers.ask(full, dict(self._directories())))
        catalogue = self._current_catalogue.try_catalogue()
        return seen_in(known, found, queues, watches, now, catalogue, self._counters.usual_wait)


def full(directories: Mapping[str, Path]) -> dict[str, str]:
    """The file systems that are nearly full, each with the words for that."""
    return {str(one.path): one.trouble for one in rooms(directories) if one.trouble is not None}


def _queue(name: str, found: Read, usual_wait: float | None) -> Queue:
    return Queue(
        name,
        is_paused=name in found.paused,
        resumes_at=instant(found.paused.get(name)),
        oldest_due=instant(found.oldest.get(name)),
        usual_wait=usual_wait,
    )


def _loaded(watches: Iterable[Watch], loads: Mapping[str, Load], now: float) -> dict[Rule, float]:
    """When each rule that waits for a success was, of equal ones the first; just now, where that is not stored yet."""
    loaded: dict[Rule, float] = {}
    for watch in watches:
        if watch.rule.kind is Kind.NO_SUCCESS:
            load = loads.get(watch.of_load)
            loaded[watch.rule] = min(now if load is None else load.at, loaded.get(watch.rule, now))
    return loaded


def _held(holds: Iterable[ClassHold], catalogue: Catalogue | None) -> Iterator[HeldClass]:
    """Those that hold the code of this daemon."""
    code = None if catalogue is None else catalogue.code_version
    for hold in holds:
        if hold.since is not None and hold.holds(code):
            is_asked = hold.reason is Reason.ASKED
            yield HeldClass(hold.class_name, hold.since, why(hold), hold.next_try_at, is_asked)
