"""What is wrong between a project's settings and its daemon, as `manage.py check` tells it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from django.core.checks import CheckMessage, Error, Warning

from bgjob.client import Client
from bgjob.errors import BgjobError, DaemonUnavailableError, NoDaemonInTestsError

if TYPE_CHECKING:
    from bgjob._tasks import TaskBackend

_PATIENCE: Final = 5.0
"""Seconds for each answer: checks run at each `runserver` and `migrate`."""

_USUALLY_AT_MOST: Final = 12
"""Of workers: gunicorn advises two a processor and one more, and finds 4 to 12 enough for thousands of requests."""


def of(backend: TaskBackend, address: str | None) -> list[CheckMessage]:
    """Django's messages, each with what to do; an error where no daemon answers would fail builds that have none."""
    try:
        with Client(address, timeout=_PATIENCE) as client:
            stats = client.stats()
            offered = {one["name"]: one for one in client.classes()}
    except NoDaemonInTestsError:
        return []
    except BgjobError as error:
        hint = "Start it: bgjobd serve." if isinstance(error, DaemonUnavailableError) else None
        return [Warning(f"The daemon was not asked: {error}", hint=hint, obj=backend.alias, id="bgjob.W001")]
    queues = {queue["name"] for queue in stats["queues"]}
    connections = _of_connections(backend, stats.get("max_connections_per_uid"))
    return [*connections, *_of_queues(backend, queues), *_of_tasks(backend, offered)]


def _of_connections(backend: TaskBackend, limit: int | None) -> Iterator[CheckMessage]:
    """`limit` is None where an older daemon does not tell it."""
    wanted = _workers()
    if limit is not None and limit < wanted:
        message = (
            f"The daemon takes {limit} connections of a user, and a web server here has {wanted} workers."
        )
        hint = (
            f"Write [socket] max_connections_per_uid = {2 * wanted} into its configuration, and restart it."
        )
        yield Warning(message, hint=hint, obj=backend.alias, id="bgjob.W002")


def _workers() -> int:
    """How many processes of a web server keep a connection each: as many as its variable says, else as usual."""
    told = os.environ.get("WEB_CONCURRENCY", "")
    return int(told) if told.isdecimal() else min(2 * (os.cpu_count() or 1) + 1, _USUALLY_AT_MOST)


def _of_queues(backend: TaskBackend, known: set[str]) -> Iterator[CheckMessage]:
    for queue in sorted(backend.queues - known):
        hint = (
            f"Write [queues] {queue} = {{}} into its configuration and reload it, or leave it out of QUEUES."
        )
        yield Error(f"The daemon has no queue {queue!r}.", hint=hint, obj=backend.alias, id="bgjob.E001")


def _of_tasks(backend: TaskBackend, offered: Mapping[str, Mapping[str, Any]]) -> Iterator[CheckMessage]:
    """The tasks that are imported here and that the daemon would refuse."""
    for module, name in sorted(_imported(backend)):
        approved = offered.get(module)
        if approved is None:
            message = f"The module of the task {module}.{name} is not approved."
            hint = f'Write "{module}" = {{}} under [approved], and reload the daemon.'
            yield Error(message, hint=hint, obj=backend.alias, id="bgjob.E002")
        elif name not in {method["name"] for method in approved["methods"]}:
            why = approved["unavailable"] or "it does not have it, or under another name"
            message = f"The daemon's code offers no task {module}.{name}: {why}."
            hint = "A task is public, and has the name of its function; where it has, reload: bgjob reload."
            yield Error(message, hint=hint, obj=backend.alias, id="bgjob.E003")


def _imported(backend: TaskBackend) -> set[tuple[str, str]]:
    """The tasks of this backend, by module and name of their functions; nothing else of modules is touched."""
    found = set()
    for module in list(sys.modules.values()):
        for member in list(getattr(module, "__dict__", {}).values()):
            if issubclass(type(member), backend.names.base.Task) and member.backend == backend.alias:
                found.add((member.func.__module__, member.func.__qualname__))
    return found
