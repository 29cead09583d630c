"""What is wrong between a project's settings and its daemon, as `manage.py check` tells it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bgjob.errors import BgjobError

if TYPE_CHECKING:
    from bgjob._tasks import TaskBackend
    from bgjob.client import Client


def of(backend: TaskBackend, client: Client) -> list[Any]:
    """Django's messages, each with what to do; an error where no daemon answers would fail builds that have none."""
    checks = backend.names.checks
    try:
        queues = {queue["name"] for queue in client.stats()["queues"]}
        offered = {one["name"]: one for one in client.classes()}
    except BgjobError as error:
        return [
            checks.Warning(
                str(error), hint="Start the daemon: bgjobd serve.", obj=backend.alias, id="bgjob.W001"
            )
        ]
    found = [
        checks.Error(told, hint=hint, obj=backend.alias, id="bgjob.E001")
        for told, hint in _of_queues(backend.queues, queues)
    ]
    return found + [
        checks.Error(told, hint=hint, obj=backend.alias, id=id)
        for id, told, hint in _of_tasks(backend, offered)
    ]


def _of_queues(wanted: set[str], known: set[str]) -> Iterator[tuple[str, str]]:
    for queue in sorted(wanted - known):
        yield (
            f"The daemon has no queue {queue!r}.",
            f"Write [queues] {queue} = {{}} into its configuration and reload it, or leave it out of QUEUES.",
        )


def _of_tasks(
    backend: TaskBackend, offered: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, str, str]]:
    """The tasks that are imported here and that the daemon would refuse."""
    for module, name in sorted(_imported(backend)):
        approved = offered.get(module)
        if approved is None:
            hint = f'Write "{module}" = {{}} under [approved], and reload the daemon.'
            yield "bgjob.E002", f"The module of the task {module}.{name} is not approved.", hint
        elif name not in {method["name"] for method in approved["methods"]}:
            hint = "Reload the daemon: bgjob reload."
            why = approved["unavailable"]
            told = f"The daemon's code has no task {module}.{name}"
            yield "bgjob.E003", f"{told}: {why}" if why else f"{told}.", hint


def _imported(backend: TaskBackend) -> set[tuple[str, str]]:
    found = set()
    for module in list(sys.modules.values()):
        for member in list(getattr(module, "__dict__", {}).values()):
            if isinstance(member, backend.names.base.Task) and member.backend == backend.alias:
                found.add((member.func.__module__, member.func.__qualname__))
    return found
