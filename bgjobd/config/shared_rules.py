"""What of a configuration counts beyond its own host: all of them at one database should say the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bgjobd.config.problems import dotted
from bgjobd.config.sections import Config

_OF_QUEUE: Final = ("slots_everywhere", "slots_per_key", "rate_per_key", "share", "max_pending")
_OF_CLASS: Final = ("slots_everywhere", "rate")
_OF_RETENTION: Final = ("completed", "failed", "logs")


def shared_rules(config: Config) -> dict[str, str]:
    """The values by their keys, as a person reads both; of a queue or class that another host has not, it has none."""
    return {dotted(key): told for key, told in _rules(config)}


def _rules(config: Config) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, queue in config.queues.items():
        yield from ((("queues", name, key), _told(getattr(queue, key))) for key in _OF_QUEUE)
    for name, own in config.approved.items():
        yield from ((("approved", name, key), _told(getattr(own, key))) for key in _OF_CLASS)
    for key in _OF_RETENTION:
        seconds = getattr(config.retention, key)
        yield ("retention", key), "false" if seconds is None else f"{seconds:,.0f} s"


def _told(value: object) -> str:
    return "none" if value is None else str(value)
