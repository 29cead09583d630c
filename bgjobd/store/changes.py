"""What somebody has changed, or befell the daemon, as a transaction has it: a row is written with what it tells of.

The newest are kept; each that is new has some go that are too old.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from bgjob.codec import JsonObject, to_json
from bgjob.words import ChangeKind
from bgjobd.host.clock import to_text
from bgjobd.store.batch import Batch
from bgjobd.store.engines import Connection, Execute
from bgjobd.store.items.daemons import CodeLoaded

KEPT: Final = 10_000
AT_ONCE: Final = 100
"""How many rows that are too old go at a time."""

_MOST_LOOKED_AT: Final = 100
"""Among so many the last that tells of code is looked for."""

INSERT: Final = "INSERT INTO changes (at, kind, what, who) VALUES (:now, :kind, :what, :who) RETURNING id"
UPDATE: Final = "UPDATE changes SET what = :what WHERE id = :id"
TRIM: Final = """
    DELETE FROM changes WHERE id IN (SELECT id FROM changes WHERE id <= :last ORDER BY id LIMIT :count)
"""
LATEST: Final = "SELECT what FROM changes WHERE kind = :kind ORDER BY id DESC LIMIT :count"
PAGE: Final = "SELECT id, at, kind, what, who FROM changes WHERE id < :before ORDER BY id DESC LIMIT :limit"


def note(
    execute: Execute, batch: Batch, kind: ChangeKind, what: Mapping[str, Any], who: str | None = None
) -> int:
    """Write a row, of which `what` tells to what it was done; its id."""
    row = {"now": to_text(batch.now), "kind": str(kind), "what": _text_of(what), "who": who}
    (change,) = execute(INSERT, row).fetchone()
    execute(TRIM, {"last": change - KEPT, "count": AT_ONCE})
    return int(change)


def carry_on(execute: Execute, change: int, what: Mapping[str, Any]) -> None:
    """Have a row tell how far it has come; one that is gone by now stays so."""
    execute(UPDATE, {"id": change, "what": _text_of(what)})


def _text_of(what: Mapping[str, Any]) -> str:
    """With what UTF-8 cannot hold replaced: a path in a reason, for which nothing else may fail."""
    return to_json(what).encode("utf-8", "replace").decode()


def note_code(execute: Execute, item: CodeLoaded, batch: Batch) -> None:
    """Write that code was loaded, unless it is that which the host had before, and nobody has asked for it."""
    known = execute(LATEST, {"kind": str(ChangeKind.LOADED), "count": _MOST_LOOKED_AT}).fetchall()
    before = (
        what["code"] for what in map(json.loads, (text for (text,) in known)) if what["host"] == item.host
    )
    was = next(before, None)
    if item.is_asked or was != item.code_version:
        what = {"code": item.code_version, "was": was, "host": item.host}
        note(execute, batch, ChangeKind.LOADED, what, item.who)


def page(connection: Connection, before: int, limit: int) -> list[JsonObject]:
    """The newest first, of those whose ids are smaller than `before`."""
    rows = connection.execute(PAGE, {"before": before, "limit": limit}).fetchall()
    return [
        {"id": id, "at": at, "kind": kind, "what": json.loads(what), "who": who}
        for id, at, kind, what, who in rows
    ]
