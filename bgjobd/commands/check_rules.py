"""What a check says of the rules of [alerts]: what each would tell now, by the file, and a daemon that answers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Final

from bgjob import Client
from bgjob.commands.needs import try_found
from bgjob.errors import BgjobError
from bgjobd.commands.findings import Finding, ok, remark
from bgjobd.commands.status_report import need_of
from bgjobd.config.sections import Config
from bgjobd.core.alerts import Watch
from bgjobd.core.need_kinds import Kind, Need, Seen
from bgjobd.core.needs import found, told
from bgjobd.core.planner import BESIDE
from bgjobd.daemon import needs
from bgjobd.daemon.catalogue import Catalogue
from bgjobd.daemon.schedule_definitions import refusals
from bgjobd.store.engines import Place
from bgjobd.store.reader import Reader

_PATIENCE: Final = 5.0
"""Seconds that a daemon may take to answer."""

_OF_DAEMON: Final = frozenset({Kind.STORAGE, Kind.NO_CODE, Kind.DAEMON})
"""What a daemon alone knows, and tells whoever asks."""

_UNTOLD: Final = frozenset({Kind.FAILURE_RATE})
"""What it counts in its memory, and tells nobody but by an alert."""


def findings(
    config: Config, catalogue: Catalogue | None, place: Place, is_running: bool
) -> Iterator[Finding]:
    """A line a rule that tells somebody; `place` has a database of today's schema."""
    watches = [watch for watch in config.alerts.watches if watch.tell]
    if not watches:
        return
    seen = _seen(config, catalogue, place)
    of_daemon = _asked(config) if is_running else None
    for watch in watches:
        yield judge(watch, seen, of_daemon, time.time())


def judge(watch: Watch, seen: Seen, of_daemon: Sequence[Need] | None, now: float) -> Finding:
    """What a rule comes to; `of_daemon` is what one that runs says that needs somebody, None where none has said it."""
    kind, name = watch.rule.kind, f"alerts: rule {watch.name}"
    if kind in _UNTOLD or (kind in _OF_DAEMON and of_daemon is None):
        return remark(f"{name}: what it looks for is known to a running daemon alone")
    if kind in _OF_DAEMON:
        wanted = [need for need in of_daemon or () if need.kind == kind]
    else:
        wanted = list(found(seen, now, watch.rule))
    if not wanted:
        return ok(f"{name} would tell nothing now")
    first, *others = map(told, wanted)
    more = f"; and {len(others):,} more" if others else ""
    return remark(f"{name} would tell {', '.join(watch.tell)} now: {first}{more}")


def _seen(config: Config, catalogue: Catalogue | None, place: Place) -> Seen:
    now, watches = time.time(), config.alerts.watches
    with closing(Reader(place, is_patient=True)) as reader:
        queues = {*config.queues, *reader.queues()} - {BESIDE}
        read = needs.read(reader, queues, watches, now)
    stored = needs.seen_in(Seen(config.hosts.name), read, queues, watches, now, catalogue)
    disks = needs.full(dict(config.daemon.directories))
    if catalogue is None:
        return replace(stored, disks=disks)
    unavailable = {
        name: described["unavailable"]
        for name, described in sorted(catalogue.classes.items())
        if described["unavailable"] is not None
    }
    return replace(
        stored,
        disks=disks,
        unavailable=unavailable,
        hints=dict.fromkeys(unavailable, "mend it, then `bgjob reload`"),
        refused=refusals(config, catalogue),
    )


def _asked(config: Config) -> list[Need] | None:
    """What the daemon says that needs somebody; None of one that does not answer, or is too old to know."""
    try:
        with Client(str(config.daemon.socket), timeout=_PATIENCE) as client:
            answer = try_found(client)
    except BgjobError:
        return None
    return None if answer is None else [need_of(one) for one in answer.needs]
