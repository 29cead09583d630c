"""How the file does: trouble is said once when it begins and once when it is over, and told for as long as it lasts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bgjob.errors import StorageUnavailableError
from bgjob.words import EntryType
from bgjobd.store.history import History
from bgjobd.store.writer import Delivery

_LARGE_WAL: Final = 32 * 1024 * 1024
"""Bytes; SQLite keeps its log at 4 MB where no reader holds it up."""


class StorageHealth:
    """Learns from each delivery of the writer, and of its silence.

    `say` writes a line about the daemon itself, `now` counts seconds; `silence` is what an engine says of its own, and
    `history` whether the database has gone back.
    """

    def __init__(
        self,
        say: Callable[[EntryType, str], None],
        now: Callable[[], float],
        silence: str,
        history: History,
    ) -> None:
        self._silence = silence
        self._history = history
        self._gone_back: str | None = None
        self._say = say
        self._now = now
        self._refused: str | None = None
        self._silent_since: float | None = None
        self._overgrown: str | None = None
        self._since = 0.0

    def check(self) -> None:
        """Raises StorageUnavailableError while the file cannot be written."""
        reason = self.unwritable
        if reason is not None:
            raise StorageUnavailableError(reason=reason, may_be_stored=False)

    @property
    def unwritable(self) -> str | None:
        """Why the file cannot be written now; None where it can."""
        if self._silent_since is not None:
            return self._silence.format(self._now() - self._silent_since)
        return self._refused

    @property
    def gone_back(self) -> str | None:
        """Why nothing starts though the database can be written: it has forgotten what it had acknowledged."""
        return self._history.trouble

    @property
    def trouble(self) -> str | None:
        """What is wrong now, in words; None where all is well."""
        reason = self.unwritable
        if reason is not None:
            return f"the database cannot be written: {reason}"
        return self.gone_back or self._overgrown

    def note(self, delivery: Delivery) -> None:
        if self._gone_back != self.gone_back:
            self._note_history()
        if delivery.trouble is not None:
            self._note_trouble(None, delivery.trouble)
        elif delivery.committed is not None:
            self._note_commit()
            self._note_size(delivery.wal_bytes)

    def note_silence(self, seconds: float) -> None:
        """The file has not answered for so long."""
        self._note_trouble(self._now() - seconds, self._refused)

    def _note_trouble(self, silent_since: float | None, refused: str | None) -> None:
        is_news = self.unwritable is None
        self._silent_since, self._refused = silent_since, refused
        if is_news:
            self._since = self._now() if silent_since is None else silent_since
            meanwhile = "until it can, new jobs are refused and nothing starts; what runs goes on"
            self._say(EntryType.FAILURE, f"{self.trouble}; {meanwhile}")

    def _note_commit(self) -> None:
        if self.unwritable is not None:
            self._silent_since = self._refused = None
            took = self._now() - self._since
            self._say(EntryType.INFO, f"the database can be written again, after {took:.1f} s")

    def _note_history(self) -> None:
        self._gone_back = self.gone_back
        if self._gone_back is None:
            self._say(EntryType.INFO, "what the database has is accepted: jobs start again")
        else:
            meanwhile = "nothing starts, and no schedule is dealt with, until somebody accepts what it has"
            self._say(EntryType.FAILURE, f"{self._gone_back}; {meanwhile}: `bgjob hosts accept`")

    def _note_size(self, wal_bytes: int) -> None:
        is_large = wal_bytes >= _LARGE_WAL
        if is_large and self._overgrown is None:
            self._overgrown = (
                f"the database's write-ahead log has grown to {wal_bytes // 1024**2} MiB: another program reads in one "
                "long transaction; find it with `fuser -v` on the file that ends in -wal, and end it"
            )
            self._say(EntryType.FAILURE, self._overgrown)
        elif not is_large and self._overgrown is not None:
            self._overgrown = None
            self._say(EntryType.INFO, "the database's write-ahead log has its usual size again")
