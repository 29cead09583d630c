"""What other hosts have to do with why a job has not run or has not ended: parts of its sentence; no I/O."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bgjob.amounts import about_text, relative_text
from bgjobd.core.job import Job
from bgjobd.core.on_file import OnFile, RunningJob
from bgjobd.core.peers import Peer, Wanted, silence, takers, why_nobody
from bgjobd.core.planner import Lanes

_NAMED = 3


def is_for_others(job: Job, lanes: Lanes) -> bool:
    """Whether this host, whose lanes these are, starts no such job, and others may."""
    if lanes.host is None:
        return False
    is_known = lanes.known is None or job.class_name in lanes.known
    return not (is_known and job.queue in lanes.queues and job.host_wanted in (None, lanes.host))


def no_host_takes_it(job: Job, peers: Collection[Peer], now: float) -> str | None:
    """None where one that lives could start it."""
    why = why_nobody(peers, _wanted(job), now)
    return None if why is None else f"waits: {why}"


def others_take_it(job: Job, peers: Collection[Peer], now: float) -> str:
    names = [peer.name for peer in takers(peers, _wanted(job), now)]
    return f"waits for a slot of {_named(names)}"


def runs_on(host: str, peers: Collection[Peer], now: float) -> str:
    """Where it runs, and what is to be feared of that host."""
    peer = next((peer for peer in peers if peer.name == host), None)
    unseen = None if peer is None else silence(peer, now)
    if peer is None or unseen is None:
        return f"on host {host}"
    told = f"on host {host}, which has not been seen for {about_text(unseen)}"
    if peer.is_lost:
        return f"{told}, and counts as lost"
    if peer.lost_after is None:
        return f"{told}; it counts as lost once somebody says so: `bgjob hosts lost {host}`"
    return f"{told}; counts as lost {relative_text(max(0.0, peer.lost_after - unseen))}"


def shared_slots(on_file: OnFile, lanes: Lanes) -> tuple[str, int, list[RunningJob]] | None:
    """Whose slots on all hosts together are taken, how many these are, and by whom; None where some are free."""
    job, running = on_file.job, on_file.everywhere
    kinds = (
        ("its class", lanes.classes_everywhere.get(job.class_name), "class_name", job.class_name),
        (f"queue {job.queue}", lanes.queues_everywhere.get(job.queue), "queue", job.queue),
    )
    for whose, slots, column, name in kinds:
        taken = [one for one in running if getattr(one, column) == name]
        if slots is not None and len(taken) >= slots:
            return whose, slots, taken
    return None


def _wanted(job: Job) -> Wanted:
    return Wanted(job.queue, job.class_name, job.host_wanted)


def _named(names: Sequence[str]) -> str:
    told, rest = ", ".join(names[:_NAMED]), len(names) - _NAMED
    more = f" and {rest} more" if rest > 0 else ""
    return f"{'host' if len(names) == 1 else 'hosts'} {told}{more}"
