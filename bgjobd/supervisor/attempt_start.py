"""The way of an attempt to the fork server: refused, or in line until it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from bgjobd.core.attempt_sights import DAEMON_ENDS, NO_FORK_SERVER, Sight, StartRefused
from bgjobd.core.traces import try_traceparent
from bgjobd.core.verdict import StopReason
from bgjobd.forkserver.steps import seed_of
from bgjobd.host.clock import to_text
from bgjobd.store.committed import Claim
from bgjobd.supervisor.claimed import Claimed
from bgjobd.supervisor.fork_server_link import ForkServer
from bgjobd.supervisor.starts import Start
from bgjobd.supervisor.surroundings import AttemptSurroundings


class AttemptStart:
    """One attempt's: `see` hears that it is refused, `on_ask` which fork server is about to be asked for it, and
    `is_over` tells whether its end is known.
    """

    def __init__(
        self,
        around: AttemptSurroundings,
        claimed: Claimed,
        *,
        see: Callable[[Sight], None],
        on_ask: Callable[[ForkServer], None],
        is_over: Callable[[], bool],
    ) -> None:
        self._around, self._key, self._class_name = around, claimed.key, claimed.class_name
        self._see, self._on_ask, self._is_over = see, on_ask, is_over
        self._start: Start | None = None

    @property
    def is_in_line(self) -> bool:
        return self._start is not None and self._around.starts.is_in_line(self._start)

    def put(self, claim: Claim) -> None:
        """Have it started, in its turn, by the fork server in charge then."""
        if self._around.starts_no_more:
            self._see(DAEMON_ENDS)
            return
        if not self._around.starts.has_server:  # nor are there slots, until there is one
            self._see(NO_FORK_SERVER)
            return
        self._start = Start(claim.job.crashes, partial(self._send, claim))
        self._around.work_limits.before_start(self._class_name, self._put_in_line)

    def _put_in_line(self) -> None:
        """Have it go in its turn, unless its class is held by now."""
        if self._around.is_closed or self._is_over() or self._start is None:
            return
        why_held = self._around.work_limits.held().get(self._class_name)
        if why_held is not None:
            self._see(StartRefused(why_held))
        else:
            self._around.starts.put(self._start)

    def _send(self, claim: Claim, server: ForkServer) -> bool:
        """Ask the fork server for it. True: its start is on the way there."""
        if self._around.starts_no_more:  # who was before it in line has been given back
            self._see(DAEMON_ENDS)
            return False
        missing = server.missing.get(self._class_name)
        if missing is not None:
            self._see(StartRefused.unavailable(self._class_name, missing))
            return False
        if not self._carry_over(claim):
            return False
        self._on_ask(server)
        server.start(self._order(claim))
        return True

    def _carry_over(self, claim: Claim) -> bool:
        """Put what it carries over into the spool, if anything; False where that finds no room, and it is refused."""
        if claim.carry is None:
            return True
        try:
            self._around.spool.write_carry(self._key, claim.carry)
        except OSError as error:
            self._see(StartRefused(f"what it carries over finds no room: {error.strerror}"))
            return False
        return True

    def _order(self, claim: Claim) -> dict[str, Any]:
        around, policy = self._around, self._around.policy(self._class_name)
        asked = order(claim, policy.sensitive, around.spool.database_id, around.near())
        if around.fenced_grace is not None and policy.retry_lost:
            grace = around.grace(self._class_name, StopReason.FENCED)
            asked |= {"repeatable": True, "stop_grace": grace}
        return asked

    def leave(self) -> None:
        """It has begun, or ended."""
        if self._start is not None:
            self._around.starts.leave(self._start)


def order(claim: Claim, sensitive: frozenset[str], database_id: str, near: float) -> dict[str, Any]:
    """What the fork server is asked; `sensitive` are the names that are secrets by now, the job knows those of when it
    was submitted. What gets its slot no more than `near` seconds after that goes on with its trace.
    """
    job = claim.job
    age = 0.0 if job.started_at is None else job.started_at - job.created_at
    life = 0 if job.carried is None else job.carried.life
    return {
        "job": job.id,
        "number": job.attempt,
        "token": claim.token,
        "class_name": job.call.class_name,
        "method_name": job.call.method_name,
        "parameters": job.call.parameters,
        "sensitive": sorted(sensitive.union(job.call.sensitive)),
        "timeout": job.timeout,
        "error": None,
        "key": job.idempotency_key,
        "occurrence": None if job.occurrence is None else to_text(job.occurrence),
        "seed": seed_of(database_id, job.id, life),
        "carries": claim.carry is not None,
        "traceparent": try_traceparent(job.traceparent, claim.token, age, near, database_id, job.id),
    }
