"""What the daemon tells of itself as Prometheus reads it, made anew for each look; asks nobody anything.

Imported once somebody asks for it: prometheus-client takes longer to import than all the rest of the page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any, Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from bgjob.words import FINAL, Status

from .needing import KINDS

_Stats = Mapping[str, Any]


def exposition(told: Collector, accept: str) -> tuple[bytes, str]:
    """The metrics as the Accept header wants them, and their content type."""
    try:
        encode, kind = choose_encoder(accept)
    except TypeError:  # it names a version that is no number
        encode, kind = choose_encoder("")
    return encode(told), kind


@dataclass(frozen=True)
class Away(Collector):
    """A daemon that does not answer."""

    def collect(self) -> Iterator[Metric]:
        yield _is_up(False)


@dataclass(frozen=True)
class Unreadable(Collector):
    """One that answers, and cannot read its database."""

    def collect(self) -> Iterator[Metric]:
        yield _is_up(True)
        yield _has_storage_trouble(True)


@dataclass(frozen=True)
class Standing(Collector):
    """How the daemon stands at a moment."""

    stats: _Stats
    now: float
    hosts: Sequence[_Stats] = ()
    needs: Sequence[_Stats] | None = ()

    def collect(self) -> Iterator[Metric]:
        yield _is_up(True)
        yield from _about_daemon(self.stats, self.now)
        if self.needs is not None:
            yield _needed(self.needs)
        yield from _about_queues(self.stats["queues"], self.now)
        yield from _about_classes(self.stats["counts"])
        yield _waits(self.stats["counts"])
        yield from _about_schedules(self.stats["counts"].get("schedules") or {})
        yield from _about_hosts(self.hosts)


def _is_up(answers: bool) -> Metric:
    return _gauge("up", "Whether the daemon answers; 0 comes alone.", float(answers))


def _has_storage_trouble(is_there: bool) -> Metric:
    return _gauge(
        "storage_trouble",
        "Whether something keeps the database from being written, or schedules from being dealt with, or lets it grow.",
        float(is_there),
    )


def _needed(needs: Sequence[_Stats]) -> Metric:
    told = "What needs somebody, by kind: how many queues, classes, errors or others."
    family = GaugeMetricFamily("bgjobd_needs", told, labels=["kind"])
    counts = Counter(need["kind"] for need in needs)
    for kind in {**dict.fromkeys(KINDS), **counts}:
        family.add_metric([kind], counts[kind])
    return family


def _about_daemon(stats: _Stats, now: float) -> Iterator[Metric]:
    versions = {name: stats[name] or "" for name in ("version", "code_version", "python")}
    yield InfoMetricFamily(
        "bgjobd", "The daemon's version, and those of the code and the Python of its attempts.", versions
    )
    yield _gauge("start_time_seconds", "When the daemon started, since the epoch.", _at(stats["started_at"]))
    yield _gauge(
        "code_loaded",
        "Whether there is code to start attempts with.",
        float(stats["code_version"] is not None),
    )
    yield _gauge("slots", "How many attempts may run at once.", stats["slots"])
    yield _has_storage_trouble(stats["storage_trouble"] is not None)
    yield _gauge("database_bytes", "Size of the database, with its write-ahead log.", stats["database_bytes"])
    if stats.get("oldest_snapshot") is not None:
        told = "For how long a server's database keeps what is dead, for a transaction that is open may look at it."
        yield _gauge("database_oldest_snapshot_seconds", told, stats["oldest_snapshot"])
    yield _gauge(
        "oldest_pending_age_seconds",
        "How long the job has been due that has waited longest for a slot; 0 where none waits.",
        _age(stats["oldest_pending"], now),
    )
    jobs = GaugeMetricFamily("bgjobd_jobs", "Jobs that are stored, by status.", labels=["status"])
    for status in Status:
        jobs.add_metric([status.value], stats["jobs"].get(status.value, 0))
    yield jobs
    blocked, groups = stats["blocked"] or 0, stats["groups_open"] or 0
    yield _gauge("jobs_blocked", "Jobs that wait for others; they are among the pending ones.", blocked)
    told = "Jobs that sleep or wait for a signal; they are among the pending ones."
    yield _gauge("jobs_waiting", told, stats.get("waiting") or 0)
    told = "Failed jobs of which nobody knows what they did, until a person says it."
    yield _gauge("jobs_review", told, stats.get("review") or 0)
    yield _gauge("groups_open", "Groups of jobs that have not ended.", groups)


_OF_HOSTS: Final[Mapping[str, tuple[str, Callable[[_Stats], float | None]]]] = {
    "alive": (
        "Whether the host works from the database: it has not left, nor counts as lost.",
        lambda host: float(host["state"] in ("alive", "draining")),
    ),
    "draining": (
        "Whether the host starts nothing new, as somebody has asked for, or for its end.",
        lambda host: float(host["state"] == "draining"),
    ),
    "lost": (
        "Whether the host counts as lost: what it ran runs elsewhere.",
        lambda host: float(host["state"] == "lost"),
    ),
    "unseen_seconds": (
        "For how long the host has not said that it lives.",
        lambda host: host["unseen_for"],
    ),
    "running": ("Attempts that run on the host.", lambda host: host["running"]),
    "slots": ("How many may run there at once.", lambda host: host["slots"]),
    "trouble": (
        "Whether the host says that it has trouble.",
        lambda host: float(host["trouble"] is not None),
    ),
    "clock_difference_seconds": (
        "By how much the host's clock is ahead of the database's, where that is known.",
        lambda host: host["clock_difference"],
    ),
}


def _about_hosts(hosts: Sequence[_Stats]) -> Iterator[Metric]:
    """Of each that works from the database, whichever is asked; nothing where that is a file."""
    latest = _latest(hosts)
    for name, (told, value) in _OF_HOSTS.items() if latest else ():
        family = GaugeMetricFamily(f"bgjobd_host_{name}", told, labels=["host"])
        for host in latest:
            found = value(host)
            if found is not None:
                family.add_metric([host["name"]], found)
        yield family
    if latest:
        info = InfoMetricFamily("bgjobd_host", "The versions of the host's daemon and code.", labels=["host"])
        for host in latest:
            versions = {name: host[name] or "" for name in ("version", "code_version")}
            info.add_metric([host["name"]], versions)
        yield info


def _latest(hosts: Sequence[_Stats]) -> list[_Stats]:
    """Of hosts with the same name, which followed each other, the last: of a label there may be one."""
    return list({host["name"]: host for host in sorted(hosts, key=lambda host: host["id"] or 0)}.values())


_OF_QUEUES: Final = {
    "pending": "Jobs of the queue that wait, for a slot or for their time.",
    "running": "Jobs of the queue that run.",
    "slots": "How many jobs of the queue may run at once, where it has slots of its own.",
    "paused": "Whether the queue is paused.",
    "behind": "Jobs of the queue that wait for those with the same key; they are among the pending ones.",
}


def _about_queues(queues: list[_Stats], now: float) -> Iterator[Metric]:
    for name, told in _OF_QUEUES.items():
        family = GaugeMetricFamily(f"bgjobd_queue_{name}", told, labels=["queue"])
        for queue in queues:
            if queue[name] is not None:
                family.add_metric([queue["name"]], float(queue[name]))
        yield family
    ages = GaugeMetricFamily(
        "bgjobd_queue_oldest_pending_age_seconds",
        "How long the job of the queue has been due that has waited longest for a slot; 0 where none waits.",
        labels=["queue"],
        unit="seconds",
    )
    for queue in queues:
        ages.add_metric([queue["name"]], _age(queue["oldest_pending"], now))
    yield ages


def _about_classes(counts: _Stats) -> Iterator[Metric]:
    attempts = CounterMetricFamily(
        "bgjobd_attempts", "Attempts that are over, by outcome.", labels=["class_name", "outcome"]
    )
    jobs = CounterMetricFamily(
        "bgjobd_jobs_ended", "Jobs that have ended, by status.", labels=["class_name", "status"]
    )
    retries = CounterMetricFamily(
        "bgjobd_retries", "Attempts that were followed by a retry.", labels=["class_name"]
    )
    seconds = HistogramMetricFamily(
        "bgjobd_attempt_duration_seconds",
        "For how long attempts held their slots, but for those that are lost or did not start.",
        labels=["class_name"],
        unit="seconds",
    )
    for name, of_class in counts["classes"].items():
        for outcome, number in sorted(of_class["attempts"].items()):
            attempts.add_metric([name, outcome], number)
        for status in sorted(FINAL):
            jobs.add_metric([name, status], of_class["jobs"].get(status, 0))
        retries.add_metric([name], of_class["retries"])
        _add(seconds, name, counts["bounds"], of_class["seconds"])
    yield from (attempts, jobs, retries, seconds)


def _waits(counts: _Stats) -> Metric:
    family = HistogramMetricFamily(
        "bgjobd_job_wait_seconds",
        "For how long jobs were due before they got a slot.",
        labels=["queue"],
        unit="seconds",
    )
    for queue, waits in counts["waits"].items():
        _add(family, queue, counts["bounds"], waits)
    return family


def _about_schedules(schedules: Mapping[str, _Stats]) -> Iterator[Metric]:
    occurrences = CounterMetricFamily(
        "bgjobd_schedule_occurrences",
        "Occurrences of schedules, by what became of them.",
        labels=["schedule", "verdict", "reason"],
    )
    successes = GaugeMetricFamily(
        "bgjobd_schedule_last_success_timestamp_seconds",
        "When a job of the schedule completed last, since the epoch.",
        labels=["schedule"],
        unit="seconds",
    )
    for name, counts in schedules.items():
        for one in counts["occurrences"]:
            occurrences.add_metric([name, one["verdict"], one["reason"] or ""], one["count"])
        if counts["last_success"] is not None:
            successes.add_metric([name], _at(counts["last_success"]))
    yield from (occurrences, successes)


def _add(family: HistogramMetricFamily, label: str, bounds: list[float], histogram: _Stats) -> None:
    """A histogram of the daemon's, whose buckets count on their own, as Prometheus has them: each with those below."""
    names = [*(str(float(bound)) for bound in bounds), "+Inf"]
    buckets = list(zip(names, accumulate(histogram["buckets"]), strict=True))
    family.add_metric([label], buckets, histogram["sum"])


def _gauge(name: str, told: str, value: float) -> Metric:
    unit = next((unit for unit in ("seconds", "bytes") if name.endswith(f"_{unit}")), "")
    return GaugeMetricFamily(f"bgjobd_{name}", told, value, unit=unit)


def _age(since: str | None, now: float) -> float:
    return 0.0 if since is None else max(0.0, now - _at(since))


def _at(told: str) -> float:
    return datetime.fromisoformat(told).timestamp()
