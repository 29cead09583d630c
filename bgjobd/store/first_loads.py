"""When rules that wait for a success were first loaded: one row of `properties`, which outlives restarts.

Of hosts that write it at once one is not kept; its next look finds that, and writes it anew.
"""

from __future__ import annotations

import json
from typing import Final

from bgjob.codec import to_json
from bgjobd.core import alerts
from bgjobd.core.alerts import Load
from bgjobd.host.clock import from_text, to_text
from bgjobd.store.engines import Execute
from bgjobd.store.items.alerts import AlertsLooked
from bgjobd.store.sql_functions import held
from bgjobd.store.statements import of_properties

PROPERTY: Final = "alert_rules_loaded"


def stored(execute: Execute) -> dict[str, Load]:
    """Each by its `of_load`."""
    row = execute(of_properties.SELECT_PROPERTY, {"name": PROPERTY}).fetchone()
    found = {} if row is None else json.loads(row[0])
    return {name: Load(from_text(at), host) for name, (at, host) in found.items()}


def are_owed(execute: Execute, item: AlertsLooked, now: float) -> bool:
    """Whether something else is to be stored."""
    known = stored(execute)
    return _wanted(item, known, now) != known


def store(execute: Execute, item: AlertsLooked, now: float) -> None:
    """Keep what is new, and forget the rules that are gone."""
    known = stored(execute)
    wanted = _wanted(item, known, now)
    if wanted != known:
        rows = {name: [to_text(held(load.at)), load.host] for name, load in wanted.items()}
        execute(of_properties.SET_PROPERTY, {"name": PROPERTY, "value": to_json(rows)})


def _wanted(item: AlertsLooked, known: dict[str, Load], now: float) -> dict[str, Load]:
    return alerts.loads(item.awaiting, known, item.others, item.host, now)
