"""What is wrong between a project's settings and its daemon, as `manage.py check` tells it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from bgjob.client import Client
from bgjob.errors import BgjobError, DaemonUnavailableError, NoDaemonInTestsError

OUTBOX: Final = "outbox"
"""What `on_commit` says beside aliases of databases."""

APPLICATION: Final = "bgjob.django"
NO_APPLICATION: Final = (
    f'"on_commit": "{OUTBOX}" takes "{APPLICATION}" in INSTALLED_APPS, which has its table'
)

_PATIENCE: Final = 5.0
"""Seconds for each answer: checks run at each `runserver` and `migrate`."""

_USUALLY_AT_MOST: Final = 12
"""Of workers: gunicorn advises two a processor and one more, and finds 4 to 12 enough for thousands of requests."""


class TaskBackend(Protocol):
    """What there is to know of a backend; `names.base` is the module of its tasks' class."""

    alias: str
    options: dict[str, Any]
    queues: set[str]
    names: Any

    def _on_commit(self, task: Any) -> str | None: ...


def of(backend: TaskBackend, address: str | None) -> list[CheckMessage]:
    """Django's messages, each with what to do; an error where no daemon answers would fail builds that have none."""
    return [*_of_outbox(backend), *_of_daemon(backend, address)]


def uses_outbox(base: Any) -> bool:
    """Whether any task of this process may have been written into the outbox; `base` is the module of their class."""
    told = (one.get("OPTIONS", {}).get("on_commit") for one in getattr(settings, "TASKS", {}).values())
    return OUTBOX in told or any(_says_outbox(task) for task in _imported(base))


def _says_outbox(task: Any) -> bool:
    return getattr(task, "on_commit", None) == OUTBOX


def _of_outbox(backend: TaskBackend) -> Iterator[CheckMessage]:
    if apps.is_installed(APPLICATION):
        return
    if backend.options.get("on_commit") == OUTBOX or any(map(_says_outbox, _tasks_of(backend))):
        hint = f'Add "{APPLICATION}", and have its table made: manage.py migrate.'
        yield Error(f"{NO_APPLICATION}.", hint=hint, obj=backend.alias, id="bgjob.E004")


def _of_daemon(backend: TaskBackend, address: str | None) -> list[CheckMessage]:
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
    return [
        *connections,
        *_of_queues(backend, queues),
        *_of_tasks(backend, offered),
        *_of_keys(backend, offered),
    ]


def _of_connections(backend: TaskBackend, limit: int | None) -> Iterator[CheckMessage]:
    """`limit` is None where an older daemon does not tell it."""
    wanted, evidence = _workers()
    if limit is not None and limit < wanted:
        message = f"The daemon takes {limit} connections of a user, and a web server here {evidence}."
        hint = (
            f"Write [socket] max_connections_per_uid = {2 * wanted} into its configuration, and restart it."
        )
        yield Warning(message, hint=hint, obj=backend.alias, id="bgjob.W002")


def _workers() -> tuple[int, str]:
    """How many processes of a web server keep a connection each, and why: its variable says so, or it is usual."""
    told = os.environ.get("WEB_CONCURRENCY", "")
    if told.isdecimal():
        return int(told), f"has {int(told)} workers, as WEB_CONCURRENCY says"
    usual = min(2 * (os.cpu_count() or 1) + 1, _USUALLY_AT_MOST)
    return usual, f"would usually have {usual} workers"


def _of_queues(backend: TaskBackend, known: set[str]) -> Iterator[CheckMessage]:
    for queue in sorted(backend.queues - known):
        hint = (
            f"Write [queues] {queue} = {{}} into its configuration and reload it, or leave it out of QUEUES."
        )
        yield Error(f"The daemon has no queue {queue!r}.", hint=hint, obj=backend.alias, id="bgjob.E001")


def _of_tasks(backend: TaskBackend, offered: Mapping[str, Mapping[str, Any]]) -> Iterator[CheckMessage]:
    """The tasks that are imported here and that the daemon would refuse."""
    imported = {(task.func.__module__, task.func.__qualname__) for task in _tasks_of(backend)}
    for module, name in sorted(imported):
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


def _of_keys(backend: TaskBackend, offered: Mapping[str, Mapping[str, Any]]) -> Iterator[CheckMessage]:
    """The tasks whose id is told before it is known whether another job holds their unique key."""
    for task in _tasks_of(backend):
        has_key = getattr(task, "unique_key", None) is not None or _is_unique(offered, task)
        if has_key and backend._on_commit(task) is not None:
            message = (
                f"The task {task.module_path} has a unique key, and an id before the commit that submits it."
            )
            hint = "Where another job holds it, the id is no job's: on_commit=None, or expect TaskResultDoesNotExist."
            yield Warning(message, hint=hint, obj=backend.alias, id="bgjob.W003")


def _is_unique(offered: Mapping[str, Mapping[str, Any]], task: Any) -> bool:
    """Whether the configuration gives it a unique key, of parameters that it has."""
    of_class = offered.get(task.func.__module__, {})
    parts = (of_class.get("policy") or {}).get("unique") or ()
    schemas = [one["schema"] for one in of_class.get("methods", ()) if one["name"] == task.func.__qualname__]
    return any(part in schema.get("properties", {}) for schema in schemas for part in parts)


def _tasks_of(backend: TaskBackend) -> Iterator[Any]:
    return (task for task in _imported(backend.names.base) if task.backend == backend.alias)


def _imported(base: Any) -> Iterator[Any]:
    """The tasks of this process, by whatever names modules have them; nothing else of modules is touched."""
    for module in list(sys.modules.values()):
        for member in list(getattr(module, "__dict__", {}).values()):
            if issubclass(type(member), base.Task):
                yield member
