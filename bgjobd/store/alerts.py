"""What a transaction does about alerts: stores what rules have found, and in the same go the jobs that tell it.

Each row changes by a statement that says how it was, so that of several hosts one tells. What is told when is core's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from bgjob.codec import JsonObject, to_json
from bgjobd.core import alerts
from bgjobd.core.alerts import DONE, HOUR, JOURNAL, Alert, Changes, Plan
from bgjobd.core.need_kinds import Need
from bgjobd.host.clock import from_text, to_text
from bgjobd.store import first_loads, ids, submitting
from bgjobd.store.batch import Batch, Overlay
from bgjobd.store.engines import Execute
from bgjobd.store.items.alerts import (
    AlertAcknowledged,
    AlertItem,
    AlertsLooked,
    AlertsMuted,
    AlertsTested,
    AlertsTold,
    AlertTrimming,
    Teller,
)
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.rows import instant
from bgjobd.store.sql_functions import held

ExecuteMany = Callable[..., Any]

_NAMES: Final = (
    *(
        "id",
        "rule",
        "subject",
        "raised_at",
        "last_at",
        "count",
        "cleared_at",
        "told_at",
        "end_told_at",
        "told_count",
    ),
    *("message", "facts", "acknowledged_at", "acknowledged_uid"),
)
COLUMNS: Final = ", ".join(_NAMES)
UNTOLD: Final = f"SELECT {COLUMNS} FROM alerts INDEXED BY alerts_untold WHERE told_count < 2 ORDER BY id"
LATELY: Final = """
    SELECT rule, subject, facts, told_at FROM alerts INDEXED BY alerts_told WHERE told_at >= :since
    UNION ALL
    SELECT rule, subject, facts, end_told_at FROM alerts INDEXED BY alerts_end_told WHERE end_told_at >= :since
"""
MUTES: Final = "SELECT rule, until FROM alert_mutes WHERE until > :now"
RAISE: Final = """
    INSERT INTO alerts (rule, subject, raised_at, last_at, count, told_count, message, facts)
    VALUES (:rule, :subject, :now, :now, :count, 0, :message, :facts)
    ON CONFLICT (rule, subject) WHERE cleared_at IS NULL DO NOTHING
"""
CHANGE: Final = """
    UPDATE alerts SET last_at = :now, count = :count, message = :message, facts = :facts
    WHERE id = :id AND cleared_at IS NULL
"""
CLEAR: Final = """
    UPDATE alerts SET cleared_at = :now, told_count = :told_count WHERE id = :id AND cleared_at IS NULL
"""
TELL: Final = """
    UPDATE alerts SET told_at = :now, told_count = 1 WHERE id = :id AND told_count = 0 AND cleared_at IS NULL
"""
TELL_END: Final = "UPDATE alerts SET end_told_at = :now, told_count = 2 WHERE id = :id AND told_count = 1"
ACKNOWLEDGE: Final = """
    UPDATE alerts SET acknowledged_at = :now, acknowledged_uid = :uid WHERE id = :id AND cleared_at IS NULL
"""
MUTE: Final = """
    INSERT INTO alert_mutes (rule, until, uid) VALUES (:rule, :until, :uid)
    ON CONFLICT (rule) DO UPDATE SET until = excluded.until, uid = excluded.uid
"""
OLDEST: Final = "SELECT min(cleared_at) FROM alerts"
FORGET: Final = """
    DELETE FROM alerts WHERE id IN (SELECT id FROM alerts WHERE cleared_at < :before ORDER BY id LIMIT :most)
"""
_AT_ONCE: Final = 1000


def carry_out(execute: Execute, executemany: ExecuteMany, item: AlertItem, batch: Batch) -> Any:
    """The answer to an item, whose jobs are decided on."""
    match item:
        case AlertsLooked():
            return _look(execute, executemany, item, batch)
        case AlertsTested():
            return _submit(
                execute, [(one, [item.alert]) for one in item.tellers.values()], item, batch, is_test=True
            )
        case AlertAcknowledged(id, uid):
            given = {"id": id, "uid": uid, "now": to_text(batch.now)}
            return execute(ACKNOWLEDGE, given).rowcount == 1
        case AlertsMuted(rule, until, uid):
            execute(MUTE, {"rule": rule, "until": to_text(held(until)), "uid": uid})
            return None


def trim(execute: Execute, item: AlertTrimming) -> tuple[int, bool]:
    """Forget what is over for long; how many, and whether there are more."""
    forgotten = execute(FORGET, {"before": to_text(held(item.before)), "most": _AT_ONCE}).rowcount
    return forgotten, forgotten == _AT_ONCE


def is_owed(execute: Execute, item: AlertsLooked, now: float) -> tuple[bool, float | None]:
    """Whether the item would do anything, and else when it will."""
    stored = _stored(execute, UNTOLD)
    changes, plan = _changes(item, stored), _plan(execute, stored, item, now)
    is_owed = any(changes) or bool(plan.tell) or first_loads.are_owed(execute, item, now)
    return is_owed, plan.next_at


def _look(execute: Execute, executemany: ExecuteMany, item: AlertsLooked, batch: Batch) -> AlertsTold:
    now = to_text(batch.now)
    first_loads.store(execute, item, batch.now)
    changes = _changes(item, _stored(execute, UNTOLD))
    _store(executemany, changes, item.host, now)
    stored = _stored(execute, UNTOLD)  # the new ones have their ids by now
    plan = _plan(execute, stored, item, batch.now)
    told = [
        alert
        for alert in plan.tell
        if execute(TELL if alert.is_open else TELL_END, {"id": alert.id, "now": now}).rowcount == 1
    ]
    by_target: dict[str, list[Alert]] = {}
    for alert in told:
        for name in item.rules[alert.rule]:
            by_target.setdefault(name, []).append(alert)
    pairs = [(item.tellers[name], those) for name, those in by_target.items() if name != JOURNAL]
    _submit(execute, pairs, item, batch, is_full=plan.is_full)
    untold = tuple(name for name in by_target if name != JOURNAL and item.tellers[name].job is None)
    return AlertsTold(tuple(told), untold, plan.is_full, plan.next_at)


def _changes(item: AlertsLooked, stored: Sequence[Alert]) -> Changes:
    return alerts.compare(item.found, stored, item.rules, item.others, item.partly)


def _store(executemany: ExecuteMany, changes: Changes, host: str, now: str) -> None:
    over = [(alert, alerts.told_count_at_end(alert)) for alert in changes.over]
    over += [(alert, DONE) for alert in changes.dropped]
    executemany(CLEAR, [{"id": alert.id, "now": now, "told_count": count} for alert, count in over])
    executemany(RAISE, [{"rule": one.rule, "now": now} | _row_of(one.need, host) for one in changes.new])
    executemany(
        CHANGE,
        [{"id": alert.id, "now": now} | _row_of(need, alert.host or host) for alert, need in changes.changed],
    )


def _row_of(need: Need, host: str) -> dict[str, Any]:
    facts: JsonObject = {
        "kind": need.kind,
        "hint": need.hint,
        "since": to_text(held(need.since)),
        "host": host,
    }
    facts |= {"grade": need.grade} if need.grade else {}
    return {"subject": need.subject, "message": need.sentence, "count": need.jobs, "facts": to_json(facts)}


def _plan(execute: Execute, stored: Sequence[Alert], item: AlertsLooked, now: float) -> Plan:
    since = to_text(held(now - max(HOUR, item.settings.quiet)))
    told = [
        (rule, alerts.told_subject(subject, _grade_in(facts)), from_text(at))
        for rule, subject, facts, at in execute(LATELY, {"since": since}).fetchall()
    ]
    telling = {name for name, targets in item.rules.items() if targets}
    return alerts.plan(stored, told, mutes(execute, now), telling, item.settings, now)


def mutes(execute: Execute, now: float) -> dict[str, float]:
    """Until when rules tell nothing."""
    return {rule: from_text(until) for rule, until in execute(MUTES, {"now": to_text(now)}).fetchall()}


def _submit(
    execute: Execute,
    pairs: Iterable[tuple[Teller, Sequence[Alert]]],
    item: AlertsLooked | AlertsTested,
    batch: Batch,
    *,
    is_full: bool = False,
    is_test: bool = False,
) -> tuple[int, ...]:
    """Have a job tell each target; their ids."""
    wanted = [(teller, those) for teller, those in pairs if teller.job is not None]
    if not wanted:
        return ()
    ids.take(execute, batch, len(wanted))
    overlay = Overlay(batch)
    submitter, made = Submitter(item.uid, None, None), []
    for teller, those in wanted:
        notice = _noted(those, item.host, is_full=is_full, is_test=is_test)
        fact = teller.job
        if fact is not None:
            call = replace(fact.call, parameters=to_json(teller.parameters | {"notice": notice}))
            made.append(submitting.store_new(fact._replace(call=call), submitter, overlay).id)
    batch.take_in(overlay)
    return tuple(made)


def _noted(those: Sequence[Alert], host: str, *, is_full: bool, is_test: bool) -> JsonObject:
    """The notice, with stored times."""
    told = alerts.noted(those, host, is_full=is_full, is_test=is_test)
    others = told["others"]
    return _timed(told) | {"others": [_timed(one) for one in others] if isinstance(others, list) else []}


def _timed(told: Mapping[str, Any]) -> JsonObject:
    return dict(told) | {"since": to_text(held(told["since"]))}


def _stored(execute: Execute, statement: str, values: Mapping[str, Any] | None = None) -> list[Alert]:
    rows = execute(statement, values or {}).fetchall()
    return [alert_of(dict(zip(_NAMES, row, strict=True))) for row in rows]


def alert_of(row: Mapping[str, Any]) -> Alert:
    """An alert of a row, keys as the columns."""
    facts = json.loads(row["facts"])
    return Alert(
        id=row["id"],
        rule=row["rule"],
        kind=facts["kind"],
        subject=row["subject"],
        since=from_text(facts["since"]),
        message=row["message"],
        hint=facts["hint"],
        count=row["count"],
        raised_at=from_text(row["raised_at"]),
        cleared_at=instant(row["cleared_at"]),
        told_at=instant(row["told_at"]),
        told_count=row["told_count"],
        acknowledged_at=instant(row["acknowledged_at"]),
        host=facts["host"],
        grade=facts.get("grade", 0),
    )


def _grade_in(facts: str) -> int:
    grade: int = json.loads(facts).get("grade", 0)
    return grade


PAGE: Final = f"SELECT {COLUMNS} FROM alerts WHERE id < :before ORDER BY id DESC LIMIT :limit"
OPEN_PAGE: Final = f"""
    SELECT {COLUMNS} FROM alerts INDEXED BY alerts_untold
    WHERE told_count < 2 AND cleared_at IS NULL AND id < :before ORDER BY id DESC LIMIT :limit
"""


def page(execute: Execute, is_open: bool, before: int, limit: int) -> list[JsonObject]:
    """Rows, newest first, keys as the columns with what `facts` has in its place."""
    rows = execute(OPEN_PAGE if is_open else PAGE, {"before": before, "limit": limit}).fetchall()
    shown = []
    for row in rows:
        told: JsonObject = dict(zip(_NAMES, row, strict=True))
        facts = json.loads(told.pop("facts"))
        shown.append(told | {name: facts[name] for name in ("kind", "hint", "since", "host")})
    return shown
