"""What a check says of keys and rates: limits that nothing can meet, and schedules that bring more than may start."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from bgjobd.commands.findings import Finding, remark
from bgjobd.config.policy import Policy
from bgjobd.config.sections import Config, Queue
from bgjobd.core.gate import Share

_MONTH: Final = 30 * 86_400.0
"""Seconds for which the occurrences of schedules are counted."""


def findings(config: Config, policies: Mapping[str, Policy], now: float) -> Iterator[Finding]:
    """`policies` are those of the classes that may run."""
    for name, queue in sorted(config.queues.items()):
        limits = _limits_by_key(queue)
        if limits and not _has_keys(name, config, policies):
            told = f"queue {name}: {' and '.join(limits)} count for jobs that have a key, and no class or schedule"
            yield remark(f"{told} of it has one: only what callers give; write key under [approved]")
    for class_name, jobs in sorted(_brought(config, now).items()):
        policy = policies.get(class_name)
        if policy is None or policy.rate is None:
            continue
        may_start = policy.rate.burst + _MONTH / policy.rate.interval
        if jobs > may_start:
            told = f"{class_name}: its schedules bring {jobs:,} jobs in 30 days, and rate lets {may_start:,.0f} start"
            yield remark(f"{told}: ever more of them wait; take a higher rate, or fewer occurrences")


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


def _brought(config: Config, now: float) -> dict[str, int]:
    """How many jobs of each class its schedules submit in a month."""
    brought: dict[str, int] = defaultdict(int)
    for schedule in config.schedules.values():
        brought[_class_of(schedule.job)] += schedule.calendar.count(now, now + _MONTH)
    return brought
