"""Schedules as the daemon keeps them in memory, and what it says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bgjob.words import EntryType
from bgjobd.config.schedules import Schedule
from bgjobd.core.facts import Submitted
from bgjobd.core.log_entries import skip_entry
from bgjobd.core.schedules import Calendar, Reason, Skipped
from bgjobd.daemon.counters import Counters
from bgjobd.store.committed import SetBack, StoredSchedule
from bgjobd.store.items.schedules import ScheduleDefined

AGAIN_AFTER: Final = 10.0
"""Seconds until something is tried again that has failed by no fault of the database's."""


@dataclass(slots=True)
class KeptSchedule:
    """A schedule and how far it was dealt with; `next` is its next occurrence, None where there is none.

    `job` is what each occurrence asks for, None where it is `refused`, or not yet known. What is due of one that is
    `stuck`, for this reason, cannot be dealt with, and `next` is when that is tried again. `uid` and `made_by` are of
    who has put it, None where the configuration has it.
    """

    name: str
    definition: Schedule
    calendar: Calendar = field(init=False)
    since: float
    cursor: float
    known: frozenset[float]
    job: Submitted | None = None
    refused: str | None = None
    stuck: str | None = None
    uid: int | None = None
    made_by: str | None = None
    next: float | None = field(init=False)

    def __post_init__(self) -> None:
        self.calendar = self.definition.calendar
        self.move(self.cursor)

    def move(self, cursor: float) -> None:
        """It was dealt with up to here."""
        self.cursor, self.stuck = cursor, None
        self.next = next(self.calendar.after(cursor), None)

    def leave_to(self, host: str, now: float) -> bool:
        """That host's definition holds, and here nothing of it is dealt with, until a reload or an occurrence finds it
        the same. Whether that is news.
        """
        why = f"host {host} has another definition of it, which holds"
        return self._be_stuck(why, next(self.calendar.after(now), None))

    def put_off(self, error: Exception, now: float) -> bool:
        """What is due could not be dealt with, and is tried again later. Whether that is news."""
        return self._be_stuck(f"{type(error).__name__}: {error}", now + AGAIN_AFTER)

    def _be_stuck(self, why: str, until: float | None) -> bool:
        before, self.stuck, self.next = self.stuck, why, until
        return why != before


def kept_of(stored: StoredSchedule, definition: Schedule, refused: str | None) -> KeptSchedule:
    return KeptSchedule(
        stored.name,
        definition,
        stored.since,
        stored.cursor,
        stored.known,
        refused=refused,
        uid=stored.uid,
        made_by=stored.made_by,
    )


class ScheduleNews:
    """Says what has changed with schedules; `say` writes a line about the daemon."""

    def __init__(self, say: Callable[[EntryType, str], None], counters: Counters) -> None:
        self._say = say
        self._counters = counters

    def tell(self, type: EntryType, name: str, what: str) -> None:
        self._say(type, f"schedule {name}: {what}")

    def changed(self, defined: ScheduleDefined) -> None:
        """What is due no more by another definition."""
        for span in defined.changed:
            self.skipped(defined.name, Skipped(span, Reason.CHANGED))

    def skipped(self, name: str, skipped: Skipped, is_known: bool = False) -> None:
        """Occurrences that became no job; they are counted, though it be `is_known` that they are."""
        self._counters.note_skipped(name, skipped)
        if not is_known:
            entry = skip_entry(name, skipped)
            self._say(entry.type, entry.message)

    def refused(self, kept: KeptSchedule) -> None:
        """Why its job is."""
        why = f"its occurrences are skipped, for the job is refused: {kept.refused}"
        self.tell(EntryType.FAILURE, kept.name, why)

    def defined_elsewhere(self, kept: KeptSchedule) -> None:
        """That of another host holds."""
        self.tell(EntryType.FAILURE, kept.name, f"{kept.stuck}; none of its occurrences is dealt with here")

    def stuck(self, kept: KeptSchedule) -> None:
        """That is a bug, or more than the file can hold; what is due of the others is dealt with all the same."""
        again = f"that is tried again every {AGAIN_AFTER:g} s"
        what = f"what is due could not be dealt with, {again}: {kept.stuck}"
        self.tell(EntryType.FAILURE, kept.name, what)

    def set_back(self, name: str, answer: SetBack) -> None:
        """What is yet to come again."""
        if answer.taken_back:
            what = f"{answer.taken_back} skipped occurrences are yet to come, and forgotten"
            self.tell(EntryType.INFO, name, f"the clock was set back: {what}")
