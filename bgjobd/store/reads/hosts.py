"""Reads of hosts, and of the attempts and hooks that each one holds."""

from __future__ import annotations

import json
from collections.abc import Sequence

from bgjob.codec import JsonObject
from bgjob.words import Outcome
from bgjobd.core.peers import Peer
from bgjobd.store import hooks, hosts, kept_outputs, peers
from bgjobd.store.engines import Database
from bgjobd.store.kept_outputs import Place as PlaceOfAttempt
from bgjobd.store.reads.rows import dicts
from bgjobd.store.statements import of_attempts


class HostReads:
    """What is asked of hosts; of one reader, for which it runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def peers(self) -> tuple[Peer, ...]:
        """The hosts that work from the database; none where it is a file."""
        return peers.peers(self._database.connection().execute)

    def rows(self) -> Sequence[JsonObject]:
        """The hosts that work, or have worked, from the database, by their names, as their rows have it.

        Keys: `running`, how many attempts have no end, `unseen_for`, seconds since the last beat; else the columns.
        """
        rows = dicts(self._database, hosts.SELECT_HOSTS)
        return [row | {name: json.loads(row[name]) for name in ("queues", "classes")} for row in rows]

    def open_attempts(self, host: int | None = None) -> Sequence[JsonObject]:
        """The host's attempts whose end is not recorded, each with what its job says of it.

        Keys: job_id, number, token, boot_id, pid, started_at, noted; of the job class_name, timeout,
        cancel_requested_at, key.
        """
        return dicts(self._database, of_attempts.SELECT_OPEN_ATTEMPTS, {"host": host})

    def lost_attempts(self, host: int, classes: Sequence[str], limit: int) -> Sequence[tuple[int, int, str]]:
        """Attempts of a host that have no end, of these classes: job, number and class."""
        asked = {"id": host, "classes": json.dumps(classes), "count": limit}
        found: Sequence[tuple[int, int, str]] = self._database.execute_sql(
            hosts.SELECT_LOST, asked
        ).fetchall()
        return found

    def counts_as_lost(self, job_id: int, number: int) -> bool:
        """Whether this attempt has ended so that nobody saw it."""
        rows = dicts(self._database, of_attempts.SELECT_ATTEMPT, {"job_id": job_id, "number": number})
        return bool(rows) and rows[0]["outcome"] == Outcome.LOST

    def owed_hooks(self, host: int) -> Sequence[tuple[int, int]]:
        """The attempts after which this host is to call a hook, and has not begun to: job and number."""
        found: Sequence[tuple[int, int]] = self._database.execute_sql(
            hooks.SELECT_OWED, {"host": host}
        ).fetchall()
        return found

    def place_of(self, job_id: int, number: int) -> PlaceOfAttempt:
        """On which host an attempt is, and what others know of its output."""
        with self._database.atomic():
            return kept_outputs.place_of(self._database.connection().execute, job_id, number)
