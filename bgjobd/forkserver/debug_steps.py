"""The steps of a job that is debugged: what its attempts have finished is there, what it does here is kept nowhere."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

Wait = tuple[str, str, int]
"""Its kind, its name, and which of these it is."""


class DebugKeeper:
    """As StepKeeper and StateKeeper; `carried` is what the daemon has told, `tell` says something to the person, and
    `ask` gets a line of theirs, None where nobody types.

    Steps whose result was not told run again. A sleep is over at once; a signal is the first that nobody has taken,
    else what the person types. `waits_for`: what the job has to wait for, once it does.
    """

    def __init__(
        self,
        carried: Mapping[str, Any],
        tell: Callable[[str], None],
        ask: Callable[[str], str | None],
    ) -> None:
        self._carried = carried
        self._signals: list[tuple[str, str]] = [(name, text) for name, text in carried["signals"]]
        self._tell, self._ask = tell, ask
        self.waits_for: str | None = None

    def carried(self) -> tuple[dict[str, tuple[str, bool]], Mapping[Wait, tuple[str | None, bool]]]:
        """As StepKeeper's."""
        steps = {name: (result, False) for name, result in self._carried["steps"]}
        waits = {
            (kind, name, turn): (result, timed_out)
            for kind, name, turn, result, timed_out in self._carried["waits"]
        }
        return steps, _Waits(waits, self._settle)

    def suspend(self, kind: str, name: str, turn: int, delay: float | None, until: float | None) -> None:
        self.waits_for = f"{kind} {name or turn}"

    def token(self, name: str) -> str:
        """The job's own, where the step has begun in an attempt; else one that no attempt has."""
        known: str | None = self._carried["tokens"].get(name)
        return known or hashlib.sha256(f"debug\0{self._carried['job']}\0{name}".encode()).hexdigest()[:32]

    def began(self, name: str) -> None:
        self._tell(f"step {name}")

    def finished(self, name: str, result: str, is_awaited: bool) -> None:
        pass

    def emitted(self) -> int:
        """None of what is emitted is held back: it is told here."""
        return 0

    def emit(self, value: str, step: str | None, place: int) -> bool:
        self._tell(f"value {value}")
        return True

    def saved_state(self) -> str | None:
        text: str | None = self._carried["state"]
        return text

    def save_state(self, text: str) -> None:
        pass

    def _settle(self, wait: Wait) -> tuple[str | None, bool] | None:
        """What comes of a wait that no attempt has come to; None where nothing does."""
        kind, name, turn = wait
        if kind != "signal":
            self._tell(f"{kind} {turn} is over at once")
            return None, False
        for sent in self._signals:
            if sent[0] == name:
                self._signals.remove(sent)
                return sent[1], False
        payload = self._asked(f"signal {name}, as JSON: ")
        return None if payload is None else (payload, False)

    def _asked(self, question: str) -> str | None:
        """The payload that the person types, nothing being null; None where there is nothing more to read. What is no
        JSON is asked for again: what the job has done until then, it would do once more to come here."""
        while (typed := self._ask(question)) is not None:
            try:
                json.loads(typed or "null")
            except ValueError as error:
                self._tell(f"this is no JSON: {error}")
            else:
                return typed or "null"
        return None


class _Waits(dict[Wait, tuple[str | None, bool]]):
    """What is known of waits; one that is not is settled as it is come to."""

    def __init__(
        self,
        known: Mapping[Wait, tuple[str | None, bool]],
        settle: Callable[[Wait], tuple[str | None, bool] | None],
    ) -> None:
        super().__init__(known)
        self._settle = settle

    def get(self, wait: Any, default: Any = None) -> Any:
        return self[wait] if wait in self else self._settle(wait)


def ask(question: str) -> str | None:
    """What the person types in answer; None at the end of what there is to read."""
    print(question, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        print(file=sys.stderr)
    return line.rstrip("\n") if line else None
