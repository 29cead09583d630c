"""Puts together what this daemon knows of what may need somebody, when somebody looks; what needs whom is core's."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bgjob.errors import StorageUnavailableError
from bgjobd.core.alerts import Watch
from bgjobd.core.needs import FORK_SERVERS, HeldClass, Kind, MetError, Need, Queue, Rule, Seen, needs
from bgjobd.core.peers import Peer
from bgjobd.core.quarantine import ClassHold, why
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

_UNTIMED = frozenset({Kind.STORAGE, Kind.NO_CODE, Kind.UNAVAILABLE, Kind.REFUSED, Kind.DISK})


@dataclass(frozen=True, slots=True)
class _Read:
    """What the file has; `paused`: when such queues go on, `oldest`: since when the first of a queue's jobs waits."""

    stored: Stored
    paused: Mapping[str, str | None]
    oldest: Mapping[str, str]
    peers: tuple[Peer, ...]
    failures: tuple[MetError, ...]


_NOTHING = _Read(Stored((), (), (), (), (), (), ()), {}, {}, (), ())


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
        self._fork_server_ends: deque[float] = deque(maxlen=FORK_SERVERS)
        self._known_since: Mapping[tuple[str, str], float] = {}
        self.ended_early: float | None = None
        self.attempts = LastAttempts()

    def _rules(self) -> dict[Kind, Rule]:
        """Of the kinds, with the numbers of the configuration."""
        return {watch.rule.kind: watch.rule for watch in self._watches() if watch.name == watch.rule.kind}

    def _asks_for(self, kind: Kind) -> bool:
        return any(watch.rule.kind is kind for watch in self._watches())

    def note_end_of_fork_server(self) -> None:
        """The one in charge has ended by itself."""
        self._fork_server_ends.append(self._now())

    async def look(self) -> list[Need]:
        """All that needs somebody now."""
        seen, now = await self.see(), self._now()
        answer = needs(seen, now, self._rules())
        self._known_since = {(one.kind, one.subject): one.since for one in answer if one.kind in _UNTIMED}
        return answer

    async def see(self) -> Seen:
        """All that this daemon knows of it now. Raises StorageUnavailableError where that is not known to be so."""
        now, queues = self._now(), self._queues()

        def read(reader: Reader) -> _Read:
            return _Read(
                reader.needing(now),
                reader.paused(),
                reader.oldest_pending_by_queue(queues, now),
                reader.peers(),
                reader.failures(now) if self._asks_for(Kind.FAILED) else (),
            )

        try:
            found: _Read | None = await self._readers.read(read)
        except StorageUnavailableError:
            if self._inspection.storage_trouble is None:
                raise
            found = None
        disks = await self._readers.ask(_full, dict(self._directories()))
        return replace(self._seen(found or _NOTHING, disks, queues), is_read=found is not None)

    def _seen(self, found: _Read, disks: Mapping[str, str], queues: Mapping[str, int | None]) -> Seen:
        missing = self._current_catalogue.missing()
        return Seen(
            host=self._host,
            storage_trouble=self._inspection.storage_trouble,
            has_code=self._inspection.has_code,
            ended_early=self.ended_early,
            fork_server_ends=tuple(self._fork_server_ends),
            unavailable=missing,
            hints={name: self._inspection.hint_of_class(name) for name in missing},
            held_back=self._inspection.held,
            crashed=found.stored.crashed,
            held=tuple(_held(found.stored.held, self._current_catalogue.try_catalogue())),
            runs=found.stored.runs,
            review=found.stored.review,
            errors=found.stored.errors,
            queues=tuple(self._queue(name, found) for name in sorted(queues)),
            refused=self._refused(),
            failures=found.failures,
            attempts=self.attempts.told(self._now()),
            skipped=found.stored.skipped,
            failed_in_row=found.stored.failed_in_row,
            disks=disks,
            peers=found.peers,
            known_since=self._known_since,
        )

    def _queue(self, name: str, found: _Read) -> Queue:
        return Queue(
            name,
            is_paused=name in found.paused,
            resumes_at=instant(found.paused.get(name)),
            oldest_due=instant(found.oldest.get(name)),
            usual_wait=self._counters.usual_wait(name),
        )


def _held(holds: Iterable[ClassHold], catalogue: Catalogue | None) -> Iterator[HeldClass]:
    """Those that hold the code of this daemon."""
    code = None if catalogue is None else catalogue.code_version
    for hold in holds:
        if hold.since is not None and hold.holds(code):
            yield HeldClass(hold.class_name, hold.since, why(hold), hold.next_try_at)


def _full(directories: Mapping[str, Path]) -> dict[str, str]:
    """The file systems that are nearly full, each with the words for that."""
    return {str(one.path): one.trouble for one in rooms(directories) if one.trouble is not None}
