"""Those who submit: they note what was acknowledged, ask again for what was not, wait, cancel and retry."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from bgjob import Client, flow
from bgjob.errors import (
    BehindFailedError,
    BgjobError,
    ClassUnavailableError,
    DaemonUnavailableError,
    InvalidStateError,
    JobNotFoundError,
    ProtocolError,
    ShuttingDownError,
    StorageUnavailableError,
    WaitTimeoutError,
)
from tests.faults.torture.station import CLASSES, Station

T = TypeVar("T")
Call = Mapping[str, Any]

TRANSIENT: Final = (
    DaemonUnavailableError,
    ProtocolError,
    ShuttingDownError,
    StorageUnavailableError,
    WaitTimeoutError,
    ClassUnavailableError,  # its fork server was killed while it imported it
)
_AGAIN: Final = 0.05
_LAST_WAIT: Final = 20.0
_MOST_WAITING: Final = 200
_FLOWS: Final = 0.05
"""The part of the submits that are flows, of five jobs each."""

_LARGE: Final = "return_much"
_POISON: Final = (0, "poison", {})
_POISONOUS: Final = 0.004
"""The part of the jobs whose start ends their fork server: each does so three times."""

# How often, the method, and its parameters.
KINDS: Final[tuple[tuple[int, str, Call], ...]] = (
    (8, "quick", {}),
    (5, "sleep", {"seconds": 0.3}),
    (2, "sleep", {"seconds": 3.0}),
    (2, "spin", {"seconds": 0.3}),
    (2, "fail", {}),
    (3, "fail_once", {}),
    (1, "ask", {"word": "retry"}),
    (2, "ask", {"word": "snooze"}),
    (1, "ask", {"word": "fail"}),
    (1, "die", {"signum": int(signal.SIGSEGV)}),
    (1, "die", {"signum": int(signal.SIGKILL)}),
    (1, "exit", {"code": 0}),
    (1, "exit", {"code": 3}),
    (2, "leave_strays", {}),
    (1, "fork_loudly", {}),
    (1, "return_much", {"size": 500_000}),
    (1, "return_much", {"size": 2_000_000}),
    (2, "tell", {"times": 20}),
    (4, "ship", {}),
    (1, "print_much", {"lines": 2_000}),
)


class Submitters:
    """What all of them have done; `acknowledged` maps each idempotency key to the id that was answered. Where all jobs
    are kept, none returns much.
    """

    def __init__(self, stations: Sequence[Station], seed: int, count: int, keeps_all: bool = False) -> None:
        self.acknowledged: dict[str, int] = {}
        self.troubles: Counter[str] = Counter()
        self.refusals: list[str] = []
        self._stations = stations
        self._ledger = str(stations[0].ledger)
        self._kinds = [kind for kind in KINDS if not (keeps_all and kind[1] == _LARGE)]
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
        with self._stations[own % len(self._stations)].client() as client:
            while not self._is_over.wait(chance.expovariate(15.0)):
                turn += 1
                submit = self._submit_flow if chance.random() < _FLOWS else self._submit_some
                ids = submit(client, chance, f"{own}.{turn}")
                self._do_something_with(client, chance, ids)
                if turn % 20 == 0:
                    self._let_it_catch_up(client)

    def _submit_some(self, client: Client, chance: random.Random, key: str) -> list[int]:
        """One job, or five together; asked for until it is answered."""
        many = 5 if chance.random() < 0.1 else 1
        calls = [self._call(chance, f"{key}.{one}") for one in range(many)]
        jobs = self._insist(lambda: client.submit_many(calls)) if many > 1 or chance.random() < 0.2 else None
        ids = [job.id for job in jobs] if jobs is not None else []
        if not ids and many == 1:
            (call,) = calls
            job = self._insist(
                lambda: client.run_background_job(
                    call["class_name"], call["method_name"], call["parameters"], **call["options"]
                )
            )
            ids = [job.id] if job is not None else []
        for call, job_id in zip(calls, ids, strict=False):
            self.acknowledged[call["options"]["idempotency_key"]] = job_id
        return ids

    def _submit_flow(self, client: Client, chance: random.Random, key: str) -> list[int]:
        """Three side by side, then one that comes after them, then one after that."""
        calls = [self._call(chance, f"{key}.{one}") for one in range(5)]
        for call in calls[3:]:
            call["options"].pop("delay", None)  # what comes after others has none
        drafts = [
            flow.job(call["class_name"], call["method_name"], call["parameters"], **call["options"])
            for call in calls
        ]
        whole = flow.chain(flow.group(*drafts[:3], idempotency_key=f"{key}.group"), *drafts[3:])
        submitted = self._insist(lambda: client.submit_flow(whole))
        ids = [job.id for job in submitted.jobs] if submitted is not None else []
        for call, job_id in zip(calls, ids, strict=False):
            self.acknowledged[call["options"]["idempotency_key"]] = job_id
        return ids

    def _do_something_with(self, client: Client, chance: random.Random, ids: list[int]) -> None:
        if not ids:
            return
        match chance.choices(("nothing", "wait", "cancel", "change", "retry"), (64, 10, 12, 6, 8))[0]:
            case "wait":
                self._try(lambda: client.wait(ids[0], 2.0))
            case "cancel":
                self._try(lambda: client.cancel(ids[-1]))
            case "change":
                # By None a wait for a signal, which nobody sends, would be without an end.
                level, now = chance.randint(-2, 2), datetime.now(UTC)
                self._try(lambda: client.change(ids[0], priority=level, at=now, expires_at=None))
            case "retry":
                self._try(lambda: client.retry(chance.choice(list(self.acknowledged.values()))))

    def _let_it_catch_up(self, client: Client) -> None:
        while not self._is_over.is_set():
            queues = self._try(lambda: client.stats()["queues"]) or []
            if sum(queue["pending"] for queue in queues) < _MOST_WAITING:
                return
            self._is_over.wait(0.2)

    def _insist(self, act: Callable[[], T]) -> T | None:
        """Ask until there is an answer. None where it was refused for good, which it must not be, or none came."""
        while True:
            try:
                return act()
            except TRANSIENT as error:
                self.troubles[type(error).__name__] += 1
                time.sleep(_AGAIN)
                if self._has_waited_enough():
                    return None
            except BgjobError as error:
                self.refusals.append(f"a submit was refused: {type(error).__name__}: {error}")
                return None

    def _has_waited_enough(self) -> bool:
        """Whether it is over, and the daemon had time to come up once more: what has no answer may be lost."""
        return self._over_at is not None and time.monotonic() - self._over_at > _LAST_WAIT

    def _try(self, act: Callable[[], T]) -> T | None:
        """Ask once: whether it comes to anything does not matter."""
        try:
            return act()
        except (InvalidStateError, BehindFailedError, JobNotFoundError):
            # It has ended, or was pruned; whether it may be gone is told later.
            return None
        except TRANSIENT as error:
            self.troubles[type(error).__name__] += 1
        except BgjobError as error:
            self.refusals.append(f"{type(error).__name__}: {error}")
        return None

    def _call(self, chance: random.Random, key: str) -> dict[str, Any]:
        (kind,) = chance.choices(self._kinds, [weight for weight, _, _ in self._kinds])
        _, method, parameters = _POISON if chance.random() < _POISONOUS else kind
        options: dict[str, Any] = {"idempotency_key": key}
        if chance.random() < 0.1:
            options["timeout"] = 1.0
        if chance.random() < 0.1:
            options["delay"] = chance.uniform(0.0, 2.0)
        if chance.random() < 0.4:
            options |= {
                "key": chance.choice("abcde"),
                "queue": chance.choice(("default", "default", "rated")),
            }
        return {
            "class_name": chance.choice(CLASSES),
            "method_name": method,
            "parameters": {"ledger": self._ledger, **parameters},
            "options": options,
        }
