"""Where jobs were when somebody looked: the latest few, for their pages; in memory alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from threading import Lock
from typing import Any, Final

from bgjob.answers import StackRead

_MOST: Final = 8


class Stacks:
    """What was told last of each job; thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: dict[int, StackRead] = {}

    def keep(self, job_id: int, read: StackRead) -> None:
        """Keep it until so many other jobs were looked at."""
        with self._lock:
            self._kept.pop(job_id, None)
            self._kept[job_id] = read
            while len(self._kept) > _MOST:
                del self._kept[next(iter(self._kept))]

    def shown(self, job: Mapping[str, Any]) -> dict[str, Any] | None:
        """What is to be shown of a job; None where nobody has looked at the attempt that runs."""
        with self._lock:
            read = self._kept.get(job["id"])
        attempts = [one["number"] for one in job["attempts"] if one["outcome"] is None]
        if read is None or read.number not in attempts:
            return None
        return {"at": read.at, "number": read.number, "lines": list(_lines(read)), "note": read.note}


def _lines(read: StackRead) -> Iterator[str]:
    """Text: the process, then each thread and task with its frames, the innermost last, as in a traceback."""
    process = read.process
    place = "" if process["waits_in"] is None else f" in {process['waits_in']}"
    yield f"pid {process['pid']}, {process['state']}{place}"
    for what, stacks in (("", read.threads), ("task ", read.tasks)):
        for one in stacks:
            yield ""
            yield f"{what}{one['name']}{_many(one)}"
            for frame in reversed(one["frames"]):
                yield f'  File "{frame["file"]}", line {frame["line"]}, in {frame["name"]}'


def _many(told: Mapping[str, Any]) -> str:
    return f" (× {told['same']})" if told["same"] > 1 else ""
