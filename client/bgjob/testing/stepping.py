"""Steps, waits, signals and states of a stand-in's jobs: kept from attempt to attempt, and no time is waited for."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any

from bgjob import codec
from bgjob.codec import JsonObject
from bgjob.errors import (
    InvalidParameterError,
    InvalidStateError,
    StepNotFoundError,
    TooLargeError,
    TooManySignalsError,
)
from bgjob.submission_rules import is_key
from bgjob.testing import listing
from bgjob.testing.emitting import KeptValues
from bgjob.testing.submissions import instant
from bgjob.testing.submitted import copied
from bgjob.words import FINAL, MOST_PAYLOAD_BYTES, MOST_SIGNAL_BYTES, MOST_SIGNALS, Status


class StepBook:
    """Those of all jobs. `given` has by name the payloads of signals that are there beforehand: who waits takes one."""

    def __init__(self, given: Mapping[str, Iterable[Any]]) -> None:
        self._given = {name: deque(copied(list(payloads))) for name, payloads in given.items()}
        self._of: dict[int, KeptSteps] = {}

    def of(self, row: JsonObject) -> KeptSteps:
        return self._of.setdefault(row["id"], KeptSteps(row, self._given))


class KeptSteps:
    """One job's, which its attempts are given and add to; `is_suspended` from the moment that one waits on."""

    def __init__(self, row: JsonObject, given: Mapping[str, deque[Any]]) -> None:
        self._row = row
        self._given = given
        self._steps: dict[tuple[str, str, int], JsonObject] = {}
        self._texts: dict[tuple[str, str, int], tuple[str | None, bool]] = {}
        self._signals: list[JsonObject] = []
        self._keys: set[str] = set()
        self._open: tuple[str, str, int] | None = None
        self._lock = threading.Lock()
        self._state: str | None = None
        self.values = KeptValues(row)
        self._taken_beforehand: list[tuple[str, Any]] = []
        self._life = 0
        self.retry_count_at_submit: int = row["retry_count"]

    # What an attempt is given, and tells

    def carried(
        self,
    ) -> tuple[dict[str, tuple[str, bool]], dict[tuple[str, str, int], tuple[str | None, bool]]]:
        """The finished steps, and what came of waits."""
        done = [place for place, step in self._steps.items() if step["number"] is not None]
        steps: dict[str, tuple[str, bool]] = {}
        waits: dict[tuple[str, str, int], tuple[str | None, bool]] = {}
        for place in done:
            text, told = self._texts[place]
            if place[0] == "step":
                steps[place[1]] = str(text), told
            else:
                waits[place] = text, told
        return steps, waits

    def suspend(self, kind: str, name: str, turn: int, delay: float | None, until: float | None) -> None:
        with self._lock:
            self._open = kind, name, turn
            self._begin(self._open)
            self._steps[self._open]["until"] = _until(delay, until)

    def token(self, name: str) -> str:
        seed = f"inline {self._row['id']} {self._life}"
        return hashlib.sha256(f"step\0{seed}\0{name}".encode()).hexdigest()[:32]

    def began(self, name: str) -> None:
        with self._lock:
            self._begin(("step", name, 1))

    def finished(self, name: str, result: str, is_awaited: bool) -> None:
        with self._lock:
            self._finish(("step", name, 1), result, is_awaited)

    def saved_state(self) -> str | None:
        return self._state

    def save_state(self, text: str) -> None:
        self._state = text

    def emitted(self) -> int:
        return self.values.emitted

    def emit(self, value: str, step: str | None, place: int) -> bool:
        return self.values.emit(value, step, place)

    def _begin(self, place: tuple[str, str, int]) -> None:
        kind, name, turn = place
        known = self._steps.get(place) or {"tries": 0}
        own = {"kind": kind, "name": name, "turn": turn, "token": self.token(name) if kind == "step" else ""}
        own |= {"attempt": len(self._row["attempts"]), "tries": known["tries"] + 1, "began_at": instant()}
        unknown = dict.fromkeys(("number", "finished_at", "until", "result", "unused_in", "by_uid"))
        self._steps[place] = {**unknown, **own, "size": 0, "timed_out": False}

    def _finish(self, place: tuple[str, str, int], text: str | None, told: bool) -> None:
        """`told`: that a step was awaited, a wait in vain."""
        number = self._row["steps"] = self._row["steps"] + 1
        self._texts[place] = text, told
        result = None if text is None else json.loads(text)
        own = {"number": number, "finished_at": instant(), "result": result}
        own |= {"size": len((text or "").encode()), "timed_out": told and place[0] == "signal"}
        self._steps[place].update(own, attempt=len(self._row["attempts"]))

    # Between attempts

    @property
    def is_suspended(self) -> bool:
        return self._open is not None

    @property
    def waiting_on(self) -> str | None:
        """As the job's column has it."""
        if self._open is None:
            return None
        kind, name, turn = self._open
        return f"{kind} {name if kind == 'signal' else turn}"

    def retry_count(self) -> int:
        """What the job has spent of its retries before a bad end is counted: an attempt that got on begins anew."""
        attempt = len(self._row["attempts"])
        has_advanced = any(
            step["kind"] == "step" and step["number"] is not None and step["attempt"] == attempt
            for step in self._steps.values()
        )
        return self.retry_count_at_submit if has_advanced else int(self._row["retry_count"])

    def drop_wait(self) -> None:
        """What a job waited for that does so no more."""
        if self._open is not None:
            del self._steps[self._open]
        self._open = self._row["waiting_on"] = None

    def move_wait(self, until: str | None) -> None:
        """It is to last until then; without a time as long as it takes."""
        if self._open is not None:
            self._steps[self._open]["until"] = until

    def may_go_on(self) -> bool:
        """Whether nothing is to come that the job waits for."""
        if self._open is None or self._row["waiting_on"] is None or self._open[0] != "signal":
            return True
        name = self._open[1]
        return self._try_untaken(name) is not None or bool(self._given.get(name))

    def settle(self) -> bool:
        """Whether the job may have its next attempt; what it waited for is a result then."""
        if self._open is not None and self._row["waiting_on"] is None:
            self.drop_wait()
        if not self.may_go_on():
            return False
        if self._open is not None:
            kind, name, _ = self._open
            self._settle_as(codec.to_json(self._taken(name)) if kind == "signal" else None)
        return True

    def time_out(self) -> None:
        """Raises ValueError where it waits for no signal, or for as long as that takes."""
        if self._open is None or self._open[0] != "signal" or self._row["status"] != Status.PENDING:
            raise ValueError(f"job {self._row['id']} waits for no signal")
        if self._steps[self._open]["until"] is None:
            raise ValueError(f"job {self._row['id']} waits for signal {self._open[1]} without a timeout")
        self._settle_as(None, timed_out=True)

    def _settle_as(self, text: str | None, timed_out: bool = False) -> None:
        assert self._open is not None
        self._finish(self._open, text, timed_out)
        self._open = self._row["waiting_on"] = None

    def _taken(self, name: str) -> Any:
        """The oldest signal of this name that nobody has taken, else one that was there beforehand."""
        signal = self._try_untaken(name)
        if signal is None:
            payload = self._given[name].popleft()
            self._taken_beforehand.append((name, payload))
            return payload
        assert self._open is not None
        payload = signal["payload"]
        signal.update(taken_by=f"{name} {self._open[2]}", payload=None)
        return payload

    def _try_untaken(self, name: str) -> JsonObject | None:
        return next((one for one in self._untaken() if one["name"] == name), None)

    def _untaken(self) -> Iterator[JsonObject]:
        return (one for one in self._signals if one["taken_by"] is None)

    # Runs that a person asks for

    def run_again(self, *, from_start: bool) -> None:
        """All retries are there anew; from the start, what it did is not, and what it was told can be taken anew."""
        self.retry_count_at_submit = 0
        if not from_start:
            return
        for signal in self._signals:
            if signal["taken_by"] is not None:
                turn = int(signal["taken_by"].rpartition(" ")[2])
                text, _ = self._texts["signal", signal["name"], turn]
                signal.update(taken_by=None, payload=json.loads(str(text)))
        for name, payload in reversed(self._taken_beforehand):
            self._given[name].appendleft(payload)
        for kept in (self._steps, self._texts, self._taken_beforehand):
            kept.clear()
        self._open, self._state, self._life, self._row["steps"] = None, None, self._life + 1, 0
        self.values.emitted = 0

    def count_before(self, name: str) -> int:
        """How many steps and waits were finished before the step of this name. Raises StepNotFoundError."""
        step = self._steps.get(("step", name, 1))
        if step is None or step["number"] is None:
            raise StepNotFoundError(id=self._row["id"], name=name)
        return int(step["number"]) - 1

    def take_over(self, other: KeptSteps, count: int) -> None:
        """Have so many of the first that another job has finished."""
        for place, step in other._steps.items():
            if step["number"] is not None and step["number"] <= count:
                own = {"attempt": 0, "tries": 0, "unused_in": None}
                token = self.token(step["name"]) if step["kind"] == "step" else ""
                self._steps[place] = {**step, **own, "token": token}
                self._texts[place] = other._texts[place]
        self._row["steps"] = count

    # Signals, and what is told

    def send(self, given: JsonObject) -> bool:
        """Whether the signal is a new one. Raises the refusals of a daemon."""
        for name in ("name", "signal_key"):
            if not is_key(given.get(name, "" if name == "name" else "-")):
                raise InvalidParameterError(parameter=name)
        size = len(codec.to_json(given.get("payload")).encode())
        if size > MOST_PAYLOAD_BYTES:
            raise TooLargeError(limit=MOST_PAYLOAD_BYTES, size=size, parameter="payload")
        key = given.get("signal_key")
        if key in self._keys:
            return False
        if self._row["status"] not in (Status.PENDING, Status.RUNNING):
            raise InvalidStateError(id=self._row["id"], status=str(self._row["status"]))
        sizes = [one["size"] for one in self._untaken()]
        if len(sizes) >= MOST_SIGNALS:
            raise TooManySignalsError(id=self._row["id"], limit=MOST_SIGNALS)
        if sum(sizes) + size > MOST_SIGNAL_BYTES:
            raise TooLargeError(limit=MOST_SIGNAL_BYTES, size=size)
        self._keys |= set() if key is None else {key}
        number = len(self._signals) + 1
        own = {"number": number, "name": given["name"], "payload": given.get("payload"), "size": size}
        self._signals.append({**own, "sent_at": instant(), "uid": None, "taken_by": None})
        return True

    def page(self, given: JsonObject) -> JsonObject:
        """As Steps tells them."""
        listing.check_page(given)
        after, limit = given.get("after") or 0, given.get("limit") or listing.PAGE
        told = [step for step in self._steps.values() if (step["number"] or 0) > after]
        done = sorted(told, key=itemgetter("number"))
        over = self._open if self._row["status"] in FINAL else None  # the wait of one that was cancelled
        begun = [step for place, step in self._steps.items() if step["number"] is None and place != over]
        has_more = len(done) > limit
        signals = self._signals if given.get("after") is None else []
        page = done[:limit] if has_more else [*done, *begun]
        return {
            "steps": page,
            "signals": signals,
            "next": page[-1]["number"] if has_more else None,
            **self._told_state(is_first=given.get("after") is None),
        }

    def _told_state(self, is_first: bool) -> JsonObject:
        if self._state is None or not is_first:
            return {"state": None, "state_size": None}
        return {"state": json.loads(self._state), "state_size": len(self._state.encode())}


def _until(delay: float | None, until: float | None) -> str | None:
    if until is not None:
        return instant(until)
    return None if delay is None else instant(time.time() + delay)
