"""The configuration that holds now, with the slots and the limits that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from bgjob.words import EntryType
from bgjobd.config.approved import ClassPolicy
from bgjobd.config.sections import Config, Queue
from bgjobd.core.gate import KeyRules
from bgjobd.core.planner import BESIDE, Lanes
from bgjobd.supervisor.limits import Enforcement


class CurrentConfig:
    """What may change with a reload: `config`, the `lanes` of queues and classes, and which limits are enforced;
    `needing_restart` are the keys that do not.

    `on_change` hears of the configuration and the lanes that hold from now on; `say` writes a line about the daemon.
    """

    def __init__(
        self,
        config: Config,
        stored_queues: Iterable[str],
        enforcement: Enforcement,
        *,
        on_change: Callable[[Config, Lanes], None],
        say: Callable[[EntryType, str], None],
    ) -> None:
        self._of_start = config
        self._on_change = on_change
        self._say = say
        self.take(config, stored_queues, enforcement)

    def take(self, config: Config, stored_queues: Iterable[str], enforcement: Enforcement) -> None:
        """Have this one hold from now on; say what this machine cannot enforce, and what takes a restart."""
        for gap in enforcement.gaps:
            self._say(EntryType.INFO, f"best effort: {gap.key} {gap.text}")
        self.config, self.lanes, self.enforcement = config, _lanes(config, stored_queues), enforcement
        self._on_change(config, self.lanes)
        self.needing_restart = _needing_a_restart(self._of_start, config)
        for key in self.needing_restart:
            self._say(
                EntryType.FAILURE, f"{key} has changed, which takes a restart; until then the old one holds"
            )


def _lanes(config: Config, stored_queues: Iterable[str]) -> Lanes:
    """The configured queues; one that only stored jobs know has no slots of its own, so that they still run.

    Where others work from the database it may be theirs.
    """
    stored_queues = set(stored_queues)
    left = () if config.host is not None else stored_queues
    queues = {name: Queue() for name in left if name != BESIDE} | config.queues
    if config.alerts.is_on or config.alerts.targets or BESIDE in stored_queues:
        queues |= {BESIDE: Queue(slots=1)}
    everywhere = _everywhere(queues), _everywhere(config.approved)
    of_queues, of_classes = everywhere if config.host is None else ({}, {})  # which one host has all of
    slots = {name: _least(queue.slots, of_queues.get(name)) for name, queue in queues.items()}
    classes = {name: _least(own.slots, of_classes.get(name)) for name, own in config.approved.items()}
    lanes = Lanes(
        config.daemon.slots,
        slots,
        {name: number for name, number in classes.items() if number is not None},
        {name: queue.max_pending for name, queue in queues.items()},
        config.socket.max_parameters,
        {name: rules for name, queue in queues.items() if (rules := queue.key_rules) != KeyRules()},
        {name: policy.rate for name, policy in config.approved.items() if policy.rate is not None},
        config.host,
        awaited=frozenset(str(watch.rule.job) for watch in config.alerts.awaiting),
    )
    if config.host is None:
        return lanes
    return replace(lanes, queues_everywhere=everywhere[0], classes_everywhere=everywhere[1])


def _everywhere(those: Mapping[str, Queue] | Mapping[str, ClassPolicy]) -> dict[str, int]:
    """The slots on all hosts together of those that say how many these are."""
    return {name: one.slots_everywhere for name, one in those.items() if one.slots_everywhere is not None}


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _needing_a_restart(old: Config, new: Config) -> list[str]:
    """The keys that differ from those of the start, and only count at a start."""
    places = ("socket", "fifo", "state_dir", "database", "runtime_dir", "log_dir")
    changed = [f"[daemon] {key}" for key in places if getattr(old.daemon, key) != getattr(new.daemon, key)]
    return changed + [
        f"[{name}]" for name in ("socket", "log", "web", "hosts") if getattr(old, name) != getattr(new, name)
    ]
