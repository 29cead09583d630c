"""Brings the keys that wait to what their queues say of them by now: after a start or a reload, some at a time."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import astuple, dataclass, field
from typing import Any, Final

from bgjob.codec import to_json
from bgjobd.core.gate import NO_RULES, KeyRules, Share
from bgjobd.core.rates import Rate
from bgjobd.store.engines import Execute
from bgjobd.store.gate import AT_ONCE, Gate
from bgjobd.store.statements import of_properties
from bgjobd.store.written import BEHIND

PROPERTY: Final = "key_rules"

SELECT_NEXT_KEY: Final = f"""
    SELECT min(key) FROM (
        SELECT key FROM (
            SELECT key FROM background_jobs INDEXED BY jobs_key_ready
            WHERE status = 'pending' AND ready = 1 AND key IS NOT NULL AND queue = :queue AND key > :key
            ORDER BY key LIMIT 1)
        UNION ALL
        SELECT key FROM (
            SELECT key FROM background_jobs INDEXED BY jobs_behind
            WHERE status = 'pending' AND ready = {BEHIND} AND queue = :queue AND key > :key ORDER BY key LIMIT 1))
"""
TAKE_TURNS_AWAY: Final = """
    UPDATE background_jobs SET turn = 0 WHERE id IN (
        SELECT id FROM background_jobs INDEXED BY jobs_turns
        WHERE status = 'pending' AND turn > 0 AND queue = :queue LIMIT :count)
"""
FORGET_TURNS: Final = "DELETE FROM queue_turns WHERE queue = :queue"


@dataclass(frozen=True, slots=True)
class Adopted:
    """The rules by queue, as they are stored, that all keys which wait are settled for. Those of a queue whose keys are
    just being settled, those up to this `key` so far, have _BEING_SETTLED behind them; `is_whole`: there is none.
    """

    rules: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""
    is_whole: bool = True

    @property
    def known_rules(self) -> dict[str, KeyRules]:
        """The rules as values."""
        return {
            queue: KeyRules(slots, None if rate is None else Rate(*rate), Share(share))
            for queue, (slots, rate, share, *_) in self.rules.items()
        }


_BEING_SETTLED: Final = True


def stored(execute: Execute) -> Adopted:
    """What they were settled for last."""
    return Adopted(_rules(execute))


def parted(text: str | None, queues: Collection[str]) -> tuple[Adopted, Adopted]:
    """What is stored of these queues, which are ours, and of those that others have."""
    rules: dict[str, Any] = {} if text is None else json.loads(text)
    own = {queue: one for queue, one in rules.items() if queue in queues}
    return Adopted(own), Adopted({queue: one for queue, one in rules.items() if queue not in own})


def adopt(execute: Execute, gate: Gate, wanted: Mapping[str, KeyRules] | None, adopted: Adopted) -> Adopted:
    """Settle some more keys of the first queue whose rules are others by now; None: that is not known."""
    if wanted is None:
        return adopted
    told = {queue: _told(rules) for queue, rules in wanted.items()}
    if told == adopted.rules:
        return adopted
    adopted = _begun(execute, gate, told, adopted)
    queue = min(queue for queue, one in adopted.rules.items() if one != told.get(queue))
    is_done, key = _settle_some(execute, gate, queue, wanted.get(queue, NO_RULES), adopted.key)
    if not is_done:
        return Adopted(adopted.rules, key, is_whole=False)
    rules = {name: one for name, one in {**adopted.rules, queue: told.get(queue)}.items() if one is not None}
    _store(execute, rules, gate)
    return Adopted(rules, is_whole=rules == told)


def _begun(execute: Execute, gate: Gate, told: Mapping[str, Any], adopted: Adopted) -> Adopted:
    """Have it stored whose keys are being settled, and for what: from here on some are, and some are not."""
    changed = [queue for queue in {*told, *adopted.rules} if told.get(queue) != adopted.rules.get(queue)]
    marked = {queue: [*told.get(queue, _told(NO_RULES)), _BEING_SETTLED] for queue in changed}
    rules = {**adopted.rules, **marked}
    if rules == adopted.rules:
        return adopted
    _store(execute, rules, gate)
    return Adopted(rules)


def _store(execute: Execute, rules: Mapping[str, Any], gate: Gate) -> None:
    """What others have stored of theirs is as it was."""
    others: Mapping[str, Any] = {}
    if gate.queues is not None:
        gate.lock()
        others = {queue: one for queue, one in _rules(execute).items() if queue not in gate.queues}
    execute(of_properties.SET_PROPERTY, {"name": PROPERTY, "value": to_json({**others, **rules})})


def _rules(execute: Execute) -> dict[str, Any]:
    found = execute(of_properties.SELECT_PROPERTY, {"name": PROPERTY}).fetchone()
    rules: dict[str, Any] = {} if found is None else json.loads(found[0])
    return rules


def _told(rules: KeyRules) -> list[Any]:
    rate = None if rules.rate is None else list(astuple(rules.rate))
    return [rules.slots, rate, rules.share.value]


def _settle_some(execute: Execute, gate: Gate, queue: str, rules: KeyRules, key: str) -> tuple[bool, str]:
    """Whether all keys of the queue are settled, and up to which they are; turns come first, for they are by these."""
    if rules.share is Share.NONE and not _end_turns(execute, gate, queue):
        return False, key
    return _go_through(execute, gate, queue, key)


def _go_through(execute: Execute, gate: Gate, queue: str, key: str) -> tuple[bool, str]:
    """Whether all keys of the queue are settled, and up to which they are."""
    for _ in range(AT_ONCE):
        found = execute(SELECT_NEXT_KEY, {"queue": queue, "key": key}).fetchone()[0]
        if found is None:
            return True, ""
        if not gate.settle_key(queue, found):
            break
        key = found
    return False, key


def _end_turns(execute: Execute, gate: Gate, queue: str) -> bool:
    """Have what waits in a queue that shares no more go by age again; whether that is done."""
    gate.forget_jobs()
    if execute(TAKE_TURNS_AWAY, {"queue": queue, "count": AT_ONCE}).rowcount == AT_ONCE:
        return False
    execute(FORGET_TURNS, {"queue": queue})
    return True
