"""How a daemon ends: drained, with an end of all that runs, or so that the next one goes on with it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from bgjob.errors import RequestError
from bgjob.words import EntryType
from bgjobd.core.why import Closing
from bgjobd.daemon.loop import Daemon
from bgjobd.host.background import unheard
from bgjobd.store.items.daemons import Look
from bgjobd.store.items.hosts import HostLeft

_LAST_MOMENT: Final = 2.0
"""Seconds from the last SIGKILL until the ends of attempts are stored."""


async def stop_attempts(daemon: Daemon, grace: float, why: str) -> None:
    """Stop what runs, hooks too, and kill what is left after `grace` seconds, where nothing is to go on.

    The signals wait for nobody; of the ends as much is stored as the disk takes meanwhile.
    """
    if not daemon.supervisor.is_idle:
        daemon.say(EntryType.INFO, f"what runs is ended: {why}")
    daemon.supervisor.stop_all(grace)
    with suppress(TimeoutError):
        async with asyncio.timeout(grace + _LAST_MOMENT):
            await _start_nothing_new(daemon)
            await daemon.supervisor.wait_until_idle()


async def drain(daemon: Daemon) -> None:
    """Start nothing new, and wait until the attempts that run have ended."""
    await _start_nothing_new(daemon)
    left = _attempts(len(daemon.supervisor.attempts))
    daemon.say(EntryType.INFO, f"draining: waits for {left}, starts nothing new")
    asking = asyncio.create_task(daemon.notifier.keep_asking(daemon.signs_of_life.hear_from_all))
    try:
        await daemon.supervisor.wait_until_idle()
    finally:
        asking.cancel()


async def _start_nothing_new(daemon: Daemon) -> None:
    """Close the lanes; claims that were under way are known when this returns."""
    daemon.begin_end(Closing.DRAINING)
    daemon.supervisor.trials.close()
    daemon.on_change()
    with suppress(RequestError):
        await daemon.record(Look())
    daemon.deliveries.carry_out()
    daemon.supervisor.attempts.start_no_more()


async def stop(daemon: Daemon) -> None:
    """Take nothing new, commit what came in; attempts and the fork server go on."""
    loop = asyncio.get_running_loop()
    daemon.begin_end(Closing.STOPPING)
    daemon.others.close()
    daemon.reload.close()
    daemon.retention.close()
    daemon.schedules.close()
    daemon.alerts.close()
    daemon.hosts.close()
    daemon.notifier.stopping(daemon.inspection.status())
    left = len(daemon.supervisor.attempts)
    adopted = f"{_many(left)} on, and the next daemon adopts {'it' if left == 1 else 'them'}"
    daemon.say(EntryType.INFO, f"stopping; {adopted if left else 'nothing runs'}")
    daemon.supervisor.stop()
    daemon.open_lanes()
    daemon.current_catalogue.close()
    daemon.waiters.close()
    daemon.group_waiters.close()
    daemon.outbox.send()
    if daemon.hosts.term is not None:
        daemon.outbox.send(HostLeft(), unheard(loop.create_future()))
    await loop.run_in_executor(None, daemon.writer.finish)
    await asyncio.sleep(0)  # the last delivery was handed to the loop before the thread ended
    daemon.deliveries.carry_out()


def _many(attempts: int) -> str:
    return f"{_attempts(attempts)} {'goes' if attempts == 1 else 'go'}"


def _attempts(count: int) -> str:
    return "1 attempt" if count == 1 else f"{count} attempts"
