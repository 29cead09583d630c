"""The daemon as a whole, and all that is stored, in numbers: Stats."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from bgjob import __version__
from bgjob.codec import JsonObject
from bgjobd.api import schemas
from bgjobd.api.peer import Caller
from bgjobd.api.replies import fork_server_reply, queues_reply
from bgjobd.core.peers import Peer
from bgjobd.host.clock import to_text
from bgjobd.store.engines import OldSnapshot
from bgjobd.store.reader import Reader
from bgjobd.store.reads.due import DueByQueue
from bgjobd.store.tally import Tally

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon

_MOST_REFUSED: Final = 100
"""Schedules that are refused, of which it tells."""


async def stats(daemon: Daemon, given: schemas.Stats, caller: Caller) -> JsonObject:
    now = daemon.clock.now()
    async with caller.turn:
        tally = await daemon.inspection.tally()
        stored = await daemon.readers.read(partial(_stored, queues=daemon.lanes.queues, now=now))
        asked_for = await _asked_for(daemon, given)
    return {**_of_daemon(daemon), **_of_stored(daemon, stored, tally, now), **asked_for}


def _of_daemon(daemon: Daemon) -> JsonObject:
    return {
        "version": __version__,
        "pid": os.getpid(),
        "started_at": to_text(daemon.started_at),
        **fork_server_reply(daemon),
        "slots": daemon.lanes.slots,
        "storage_trouble": daemon.inspection.storage_trouble,
        "held": daemon.inspection.held,
        "schedules": daemon.schedule_requests.many,
        "refused_schedules": daemon.schedule_requests.refused(_MOST_REFUSED),
        "reload_failure": daemon.reload.failure,
        "max_connections_per_uid": daemon.limits.max_connections_per_uid,
        "clock_difference": daemon.clock_difference.seconds,
        "drained_at": daemon.drained_at,
    }


class _Stored(NamedTuple):
    """What a reader tells; `oldest` is since when the first of the pending jobs waits."""

    size: int
    snapshot: OldSnapshot | None
    groups_open: int
    hosts: Sequence[Peer]
    oldest: str | None
    paused: Mapping[str, str | None]
    oldest_of: Mapping[str, str]
    due: DueByQueue


def _stored(reader: Reader, queues: Collection[str], now: float) -> _Stored:
    return _Stored(
        size=reader.size(),
        snapshot=reader.oldest_snapshot(),
        groups_open=reader.groups.count_unended(),
        hosts=reader.hosts.peers(),
        oldest=reader.oldest_pending(now),
        paused=reader.paused(),
        oldest_of=reader.oldest_pending_by_queue(queues, now),
        due=reader.due_by_queue(queues, now),
    )


def _of_stored(daemon: Daemon, stored: _Stored, tally: Tally, now: float) -> JsonObject:
    snapshot = stored.snapshot
    return {
        "database_bytes": stored.size,
        "oldest_snapshot": None if snapshot is None else snapshot.seconds,
        "oldest_snapshot_pid": None if snapshot is None else snapshot.pid,
        "jobs": tally.jobs,
        "blocked": tally.blocked,
        "waiting": tally.waiting,
        "review": tally.for_review,
        "groups_open": stored.groups_open,
        "hosts": None if daemon.peers.own is None else sum(host.lives(now) for host in stored.hosts),
        "minutes": tally.minutes(now),
        "oldest_pending": stored.oldest,
        "queues": queues_reply(daemon, tally, stored.paused, stored.oldest_of, stored.due),
    }


async def _asked_for(daemon: Daemon, given: schemas.Stats) -> JsonObject:
    """What is told to those alone who want it."""
    told: JsonObject = (
        {"usage": await daemon.readers.read(lambda reader: reader.trends.usage())} if given.usage else {}
    )
    if given.counts:
        told["counts"] = daemon.counters.as_json()
    return told
