"""What a check says of keys and rates: limits that nothing can meet, and schedules that bring more than may start."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from bgjob.errors import InvalidParametersError
from bgjobd.commands.findings import Finding, remark
from bgjobd.config.policy import Policy
from bgjobd.config.schedules import Schedule
from bgjobd.config.sections import Config, Queue
from bgjobd.core.gate import Share
from bgjobd.core.rates import Rate
from bgjobd.daemon.terms import key_of

_MONTH: Final = 30 * 86_400.0
"""Seconds for which the occurrences of schedules are counted."""

Counted: TypeAlias = Mapping[str, tuple[Schedule, int]]


def findings(config: Config, policies: Mapping[str, Policy], now: float) -> Iterator[Finding]:
    """`policies` are those of the classes that may run."""
    for name, queue in sorted(config.queues.items()):
        limits = _limits_by_key(queue)
        if limits and not _has_keys(name, config, policies):
            told = f"queue {name}: {' and '.join(limits)} count for jobs that have a key, and no class or schedule"
            yield remark(f"{told} of it has one: only what callers give; write key under [approved]")
    counted = _counted(config, now)
    yield from _above_rate(counted, policies)
    yield from _above_rate_by_key(counted, config, policies)


def _above_rate(counted: Counted, policies: Mapping[str, Policy]) -> Iterator[Finding]:
    brought: Counter[str] = Counter()
    for schedule, jobs in counted.values():
        brought[_class_of(schedule.job)] += jobs
    for class_name, jobs in sorted(brought.items()):
        policy = policies.get(class_name)
        if policy is None or policy.rate is None:
            continue
        may_start = _may_start(policy.rate)
        if jobs > may_start:
            told = f"{class_name}: its schedules bring {jobs:,} jobs in 30 days, and rate lets {may_start:,.0f} start"
            yield remark(f"{told}: {_WHAT_THEN}")


def _above_rate_by_key(counted: Counted, config: Config, policies: Mapping[str, Policy]) -> Iterator[Finding]:
    """The same of jobs that share a key, which is not told: it may be of a parameter that is secret."""
    brought: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, (schedule, _) in sorted(counted.items()):
        queue = schedule.queue or _queue_of(schedule.job, policies)
        if queue is not None and queue in config.queues:
            key = _key_of(schedule, config.queues[queue], policies.get(_class_of(schedule.job)))
            if key is not None:
                brought[queue, key].append(name)
    for (queue, _), names in sorted(brought.items()):
        rate, jobs = config.queues[queue].rate_per_key, sum(counted[name][1] for name in names)
        if rate is not None and jobs > _may_start(rate):
            told = f"queue {queue}: schedules {', '.join(names)} bring {jobs:,} jobs of one key in 30 days"
            yield remark(f"{told}, and rate_per_key lets {_may_start(rate):,.0f} start: {_WHAT_THEN}")


def _may_start(rate: Rate) -> float:
    return rate.burst + _MONTH / rate.interval


_WHAT_THEN: Final = (
    "others are skipped, or ever more of them wait, as overlap says; take a higher rate, or fewer of them"
)


def _key_of(schedule: Schedule, queue: Queue, policy: Policy | None) -> str | None:
    """The key that all jobs of the schedule have; where users take turns they are one user's. None where they have
    none, or are refused for what it would be.
    """
    if queue.share is Share.USER:
        return ""
    if schedule.key is not None or policy is None:
        return schedule.key
    try:
        return key_of(policy, schedule.parameters, policy.sensitive)
    except InvalidParametersError:
        return None


def _limits_by_key(queue: Queue) -> list[str]:
    """What the queue says of keys that its jobs have by themselves: where users take turns, all have one."""
    if queue.share is Share.USER:
        return []
    said = {
        "slots_per_key": queue.slots_per_key is not None,
        "rate_per_key": queue.rate_per_key is not None,
        'share = "key"': queue.share is Share.KEY,
    }
    return [key for key, is_said in said.items() if is_said]


def _has_keys(queue: str, config: Config, policies: Mapping[str, Policy]) -> bool:
    if any(policy.queue == queue and policy.key is not None for policy in policies.values()):
        return True
    return any(
        schedule.key is not None and (schedule.queue or _queue_of(schedule.job, policies)) == queue
        for schedule in config.schedules.values()
    )


def _queue_of(job: str, policies: Mapping[str, Policy]) -> str | None:
    policy = policies.get(_class_of(job))
    return None if policy is None else policy.queue


def _class_of(job: str) -> str:
    return job.partition("::")[0]


def _counted(config: Config, now: float) -> Counted:
    """Each schedule by its name, and how many occurrences it has in a month."""
    return {
        name: (schedule, schedule.calendar.count(now, now + _MONTH))
        for name, schedule in config.schedules.items()
    }
