"""Reads which hosts work from the database, for callers; of SQLite's file there is no row. Nothing is written here."""

from __future__ import annotations

import json
from typing import Final

from bgjobd.core.peers import Peer
from bgjobd.host.clock import from_text
from bgjobd.store.engines import Execute

_SELECT: Final = """
    SELECT name, seen_at, lost_after, queues, classes, left_at IS NOT NULL, lost_at IS NOT NULL,
        drained_at IS NOT NULL
    FROM hosts
    ORDER BY name, seen_at
"""
SELECT_NAME: Final = "SELECT name FROM hosts WHERE id = :id"


def peers(execute: Execute) -> tuple[Peer, ...]:
    """All of them; of those with the same name, which followed each other, the last."""
    found = {}
    for name, seen_at, lost_after, queues, classes, *states in execute(_SELECT).fetchall():
        has = (frozenset(json.loads(queues)), frozenset(json.loads(classes)))
        found[name] = Peer(name, from_text(seen_at), lost_after, *has, *map(bool, states))
    return tuple(found.values())
