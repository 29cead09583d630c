"""What has ended, and how queues stood, by spans of 5 minutes, that is in no row yet: values in memory, no SQL."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from bgjobd.core.expectation import OTHER
from bgjobd.core.spans import FIVE_MINUTES, OfClass, OfError, OfQueue, begin
from bgjobd.store.committed import EndedAttempt

PROPERTY: Final = "tallied_until"

_MOST_CLASSES: Final = 1000
_MOST_QUEUES: Final = 100
_MOST_ERRORS: Final = 1000
"""How many of each are known apart."""


@dataclass(slots=True)
class Counted:
    """What is counted and in no row, each by the begin of its 5 minutes and its name, or id.

    The attempt that ended last did so at `latest`. Up to when the rows have all, `until`, as it is stored, its host
    keeps in the property `kept_in`; None: it has not.
    """

    kept_in: str = PROPERTY
    until: str | None = None
    classes: dict[tuple[int, str], OfClass] = field(default_factory=dict)
    queues: dict[tuple[int, str], OfQueue] = field(default_factory=dict)
    errors: dict[tuple[int, int], OfError] = field(default_factory=dict)
    latest: float = -math.inf

    def note(self, end: EndedAttempt, waited: float | None) -> None:
        at = begin(end.at, FIVE_MINUTES)
        if end.at > self.latest:
            self.latest = end.at
        found = self.classes.get((at, end.class_name))
        if found is None:
            name = end.class_name if len(self.classes) < _MOST_CLASSES else OTHER
            found = self.classes.setdefault((at, name), OfClass())
        found.note(
            end.outcome,
            end.seconds if end.took is None else end.took,
            has_failed=end.has_failed,
            is_retried=end.is_retried,
            waited=waited,
            cpu=end.cpu,
            memory=end.memory,
        )

    def note_error(self, group: int, at: float, has_failed: bool) -> None:
        """An error has ended an attempt."""
        key = begin(at, FIVE_MINUTES), group
        if key in self.errors or len(self.errors) < _MOST_ERRORS:
            self.errors.setdefault(key, OfError()).add(OfError(1, int(has_failed)))

    def note_queue(self, at: int, queue: str, pending: int, running: int, waited: float) -> None:
        """So many jobs wait and run in a queue, one of which had waited so long."""
        found = self.queues.get((at, queue))
        if found is None:
            if len(self.queues) < _MOST_QUEUES:
                self.queues[at, queue] = OfQueue(pending, running, waited)
            return
        if pending > found.pending:
            found.pending = pending
        if running > found.running:
            found.running = running
        if waited > found.waited:
            found.waited = waited

    @property
    def first(self) -> float:
        """When the first span ends that something is counted of."""
        begun = [at for at, _ in (*self.classes, *self.queues, *self.errors)]
        return min(begun, default=math.inf) + FIVE_MINUTES

    def parted(self, until: float, of_queues: float) -> tuple[Counted, Counted]:
        """What began before that, and the others; of queues before another instant."""
        before, after = Counted(), Counted(self.kept_in, self.until, latest=self.latest)
        for at, name in self.classes:
            (before if at < until else after).classes[at, name] = self.classes[at, name]
        for at, group in self.errors:
            (before if at < until else after).errors[at, group] = self.errors[at, group]
        for at, name in self.queues:
            (before if at < of_queues else after).queues[at, name] = self.queues[at, name]
        return before, after

    def copy(self) -> Counted:
        """One that nobody moves."""
        own = Counted(self.kept_in, self.until)
        own.take(self)
        return own

    def take(self, other: Counted) -> None:
        """Count what another has as well; nothing of it is shared."""
        self.latest = max(self.latest, other.latest)
        for key, of_class in other.classes.items():
            self.classes.setdefault(key, OfClass()).add(of_class)
        for key, of_queue in other.queues.items():
            self.queues.setdefault(key, OfQueue()).add(of_queue)
        for group, of_error in other.errors.items():
            self.errors.setdefault(group, OfError()).add(of_error)
