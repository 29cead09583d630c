"""Those who submit to all hosts: they note what was acknowledged, and ask any host again for what was not."""

from __future__ import annotations

import math
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from bgjob.errors import BgjobError, InvalidStateError, JobNotFoundError
from tests.faults.partition.site import OFTEN, ONCE, Site
from tests.faults.torture.submitters import TRANSIENT

_AGAIN: Final = 0.1
_LAST_WAIT: Final = 30.0
_MOST_WAITING: Final = 4

KINDS: Final[tuple[tuple[int, str, str, Mapping[str, Any]], ...]] = (
    (5, OFTEN, "quick", {}),
    (4, OFTEN, "pulse", {"seconds": 0.5}),
    (4, OFTEN, "pulse", {"seconds": 4.0, "manner": "leave"}),
    (3, OFTEN, "pulse", {"seconds": 9.0, "manner": "stay"}),
    (2, OFTEN, "pulse", {"seconds": 6.0, "manner": "finish"}),
    (2, OFTEN, "pulse", {"seconds": 20.0, "manner": "leave"}),
    (2, ONCE, "quick", {}),
    (3, ONCE, "pulse", {"seconds": 3.0, "manner": "leave"}),
)
"""How often, the class, the method, and its parameters."""


class Submitters:
    """What all of them have done; `acknowledged` maps each idempotency key to the id that was answered, `cancelled` has
    the jobs whose end somebody has asked for. None of their jobs takes longer than `longest` seconds.
    """

    def __init__(self, site: Site, seed: int, count: int, longest: float = math.inf) -> None:
        self._kinds = [kind for kind in KINDS if kind[3].get("seconds", 0.0) <= longest]
        self.acknowledged: dict[str, int] = {}
        self.cancelled: set[int] = set()
        self.troubles: Counter[str] = Counter()
        self.refusals: list[str] = []
        self._repeatable: list[int] = []
        self._site = site
        self._over_at: float | None = None
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._submit, args=(random.Random(f"{seed}.{one}"), one), name=f"submitter {one}"
            )
            for one in range(count)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each finish what it has begun."""
        self._over_at = time.monotonic()
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _submit(self, chance: random.Random, own: int) -> None:
        turn = 0
        while not self._is_over.wait(chance.expovariate(2.0)):
            turn += 1
            _, class_name, method, given = chance.choices(self._kinds, [kind[0] for kind in self._kinds])[0]
            call = class_name, method, {"ledger": str(self._site.ledger), **given}
            self._insist(chance, f"{own}.{turn}", call)
            if chance.random() < 0.05:
                self._cancel(chance)
            if turn % 2 == 0:
                self._let_them_catch_up(chance)

    def _insist(self, chance: random.Random, key: str, call: tuple[str, str, Mapping[str, Any]]) -> None:
        """Ask one host after the other, until there is an answer."""
        class_name, method, given = call
        while not self._has_waited_enough():
            try:
                with self._site.client(chance) as client:
                    job = client.run_background_job(class_name, method, dict(given), idempotency_key=key)
            except TRANSIENT as error:
                self.troubles[type(error).__name__] += 1
                self._is_over.wait(_AGAIN)
            except BgjobError as error:
                self.refusals.append(f"a submit was refused: {type(error).__name__}: {error}")
                return
            else:
                self.acknowledged[key] = job.id
                if class_name == OFTEN:
                    self._repeatable.append(job.id)
                return

    def _cancel(self, chance: random.Random) -> None:
        """Ask once: whether it comes to anything does not matter."""
        if not self._repeatable:
            return
        job = chance.choice(self._repeatable[-20:])
        self.cancelled.add(job)
        try:
            with self._site.client(chance) as client:
                client.cancel(job)
        except (InvalidStateError, JobNotFoundError, *TRANSIENT) as error:
            self.troubles[type(error).__name__] += 1
        except BgjobError as error:
            self.refusals.append(f"a cancel was refused: {type(error).__name__}: {error}")

    def _let_them_catch_up(self, chance: random.Random) -> None:
        while not self._is_over.is_set():
            try:
                with self._site.client(chance) as client:
                    pending = sum(queue["pending"] for queue in client.stats()["queues"])
            except TRANSIENT:
                return
            if pending < _MOST_WAITING:
                return
            self._is_over.wait(0.3)

    def _has_waited_enough(self) -> bool:
        """Whether it is over, and all is well again for long: what has no answer may be lost."""
        return self._over_at is not None and time.monotonic() - self._over_at > _LAST_WAIT
