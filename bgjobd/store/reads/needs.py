"""Reads of what needs somebody, of the alerts that told of it, and of classes that are held."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from bgjob.codec import JsonObject
from bgjobd.core.alerts import Load
from bgjobd.core.need_kinds import MetError, RisingError
from bgjobd.core.quarantine import ClassHold
from bgjobd.core.rates import Bucket, scope_of_class
from bgjobd.store import alerts, class_holds, first_loads, method_usage, needs, rates, rising, trends
from bgjobd.store.engines import Database
from bgjobd.store.items.alerts import AlertsLooked
from bgjobd.store.span_counts import Counted


class NeedReads:
    """What is asked for who is to hear of it; of one reader, for which it runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def stored(self, now: float) -> needs.Stored:
        """What of the file may need somebody."""
        with self._database.atomic():
            return needs.read(self._database.connection(), now)

    def rising(self, counted: Callable[[], Counted], now: float) -> tuple[RisingError, ...]:
        """The errors by which jobs have failed of late, with how many and how many usually."""
        return trends.as_one(
            self._database, counted, lambda known: rising.read(self._database.connection(), known, now)
        )

    def failures(self, now: float) -> tuple[MetError, ...]:
        """The errors by which jobs have failed within a day."""
        return needs.failures(self._database.connection(), now)

    def last_successes(self, jobs: Collection[str]) -> Mapping[str, float]:
        """When the last attempt of each of these classes, or `Class::method`, completed, of which any has."""
        return method_usage.last_successes(self._database.connection().execute, jobs)

    def first_loads(self) -> Mapping[str, Load]:
        """When the rules that wait for a success were first loaded."""
        return first_loads.stored(self._database.connection().execute)

    def alerts(self, is_open: bool, before: int, limit: int) -> Sequence[JsonObject]:
        """Alerts, newest first, those with smaller ids than `before`."""
        return alerts.page(self._database.connection().execute, is_open, before, limit)

    def mutes(self, now: float) -> Mapping[str, float]:
        """Until when rules tell nothing."""
        return alerts.mutes(self._database.connection().execute, now)

    def is_owed(self, item: AlertsLooked, now: float) -> tuple[bool, float | None]:
        """Whether something is to be stored of what rules have found, or told, and else when."""
        with self._database.atomic():
            return alerts.is_owed(self._database.connection().execute, item, now)

    def class_holds(self) -> Mapping[str, ClassHold]:
        """What is known of classes whose attempts crash, or that somebody holds."""
        return class_holds.stored(self._database.connection().execute)

    def held_classes(self, names: Collection[str], now: float) -> Mapping[str, Bucket]:
        """The buckets of those of these classes that are held."""
        scopes = {scope_of_class(name): name for name in names}
        stored = rates.stored(self._database.connection().execute, list(scopes))
        return {scopes[scope]: bucket for scope, bucket in stored.items() if bucket.is_held(now)}
