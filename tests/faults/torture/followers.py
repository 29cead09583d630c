"""Those who follow the log at each host, through all that happens: each entry is told once, in the order of ids."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import pairwise
from typing import Final

from bgjob.errors import BgjobError
from tests.faults.torture.site import Host

_AGAIN: Final = 0.05
_PATIENCE: Final = 20.0


class Followers:
    """One at each host; `told` has by host the entries' ids, each with its job's."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self.told: dict[str, list[tuple[int, int]]] = {host.name: [] for host in hosts}
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._follow, args=(host,), name=f"follower at {host.name}", daemon=True)
            for host in hosts
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, wake: Callable[[], object]) -> None:
        """Have each end behind the next entry, for which `wake` sees."""
        self._is_over.set()
        wake()
        for thread in self._threads:
            thread.join(_PATIENCE)

    def have_all(self, newest: int) -> bool:
        """Whether each was told of the newest entry."""
        return all(told and told[-1][0] >= newest for told in self.told.values())

    def _follow(self, host: Host) -> None:
        told = self.told[host.name]
        while not self._is_over.is_set():
            try:
                with host.client() as client:
                    after = told[-1][0] if told else 0
                    with client.follow_logs(after=after) as entries:
                        for entry in entries:
                            told.append((entry["id"], entry["job_id"]))
                            if self._is_over.is_set():
                                return
            except BgjobError:
                self._is_over.wait(_AGAIN)


def findings(told: dict[str, list[tuple[int, int]]], stored: Collection[int]) -> Iterator[str]:
    """What is told twice or out of order; what one was told and another was not, of the entries that are stored: those
    of jobs that are gone, and of a progress that was followed by another, are not there for whoever reads later.
    """
    known = {entry: job for each in told.values() for entry, job in each}
    for host, each in told.items():
        ids = [entry for entry, _ in each]
        for before, entry in pairwise(ids):
            if entry <= before:
                yield f"log entry {entry}: who follows at {host} was told of it after {before}"
        missed = [entry for entry in known.keys() - set(ids) if ids and entry < ids[-1]]
        for entry in sorted(missed):
            if entry in stored:
                yield f"log entry {entry} of job {known[entry]}: who follows at {host} was not told of it"
