"""Plays the web application of the shop, which is killed: `python -m outbox_web NAME ROUNDS`, beside a daemon.

In each round a process of its own stores an order and enqueues what packs it, in a transaction, and is killed at a line
of what it runs for that, any from the insert to the last thing after the commit; a few roll back, and a few only submit
what another has left. Two play at a time, and print a line for each round, with how far its order has come. Once it is
told so it submits all that has stayed, and ends with the orders that there are.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, Final
from unittest import mock

import django

django.setup()

from django.core.management import call_command  # noqa: E402  # once its settings are known
from django.db import connections, transaction  # noqa: E402
from shop import tasks  # noqa: E402
from shop.models import Order  # noqa: E402

from bgjob.django import flushing  # noqa: E402
from bgjob.django.models import OutboxRow  # noqa: E402

_LOOKED_AT: Final = (
    "bgjob/django/",
    "bgjob/outbox/",
    "bgjob/_tasks.py",
    "bgjob/client.py",
    "bgjob/sync_connections.py",
    "django/db/transaction.py",
    "django/db/backends/base/base.py",
    "django/db/backends/utils.py",
)
"""The files whose lines are steps."""


class Knife:
    """Kills this process at the line with a number, of the files that are looked at; counts them meanwhile."""

    def __init__(self, at: int) -> None:
        self._left = at
        self.count = 0

    def call(self, frame: FrameType, event: str, argument: Any) -> Any:
        """Called by Python for each frame."""
        name = frame.f_code.co_filename
        return self.line if any(part in name for part in _LOOKED_AT) else None

    def line(self, frame: FrameType, event: str, argument: Any) -> Any:
        """Called by Python for each line of a frame."""
        if event == "line":
            self.count += 1
            if self.count == self._left:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.line


def order(name: str) -> None:
    """What a request does."""
    with transaction.atomic():
        Order.objects.create(name=name)
        tasks.packed.enqueue(name)


def order_that_is_rolled_back(name: str) -> None:
    """What a request does that fails."""
    with transaction.atomic():
        order(name)
        transaction.set_rollback(True)


def flush(name: str) -> None:
    """What another process does."""
    flushing.all_rows("default")


def leave(name: str) -> None:
    """What a process leaves that is killed after its commit."""
    with mock.patch.object(flushing, "at_commit"):
        order(name)


def tell(round: str, name: str) -> None:
    """Print the line of a round, which ends with how far its order has come."""
    reached = "deleted"
    if not Order.objects.filter(name=name).exists():
        reached = "not committed"
    elif OutboxRow.objects.filter(request__contains=f'"{name}"').exists():
        reached = "committed"
    print(f"{name} {round}, {reached}", flush=True)


def lines_of(deed: Callable[[str], None], name: str, at: int) -> int:
    """Have a process of its own do it, and be killed there; the number of lines, where it was not."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        knife = Knife(at)
        sys.settrace(knife.call)
        try:
            deed(name)
        finally:
            sys.settrace(None)
            os.write(writing, str(knife.count).encode())
            os._exit(0)
    os.close(writing)
    told = os.read(reading, 100)
    os.close(reading)
    os.waitpid(pid, 0)
    return int(told or 0)


def play(name: str, rounds: int, chance: random.Random) -> None:
    """Play the rounds."""
    deeds = (order, order, order, order_that_is_rolled_back, flush)
    longest = {}
    for deed in dict.fromkeys(deeds):
        lines_of(leave, f"{name}-before-{deed.__name__}", 0)
        longest[deed] = lines_of(deed, f"{name}-{deed.__name__}", 0)
    for number in range(rounds):
        deed, own = deeds[number % len(deeds)], f"{name}-{number}"
        if deed is flush:
            lines_of(leave, own, 0)
        at = chance.randint(1, longest[deed])
        end = "ended" if lines_of(deed, own, at) else "killed"
        lines_of(partial(tell, f"{deed.__name__} at line {at} of {longest[deed]}: {end}"), own, 0)


def main(name: str, rounds: int) -> None:
    """Play with two, and end well."""
    call_command("migrate", run_syncdb=True, verbosity=0)
    connections.close_all()
    for seed in (1, 2):
        if os.fork() == 0:
            play(f"{name}-{seed}", rounds, random.Random(seed))
            os._exit(0)
    assert [os.wait()[1] for _ in range(2)] == [0, 0]
    print("played", flush=True)
    sys.stdin.readline()
    call_command("bgjob_outbox")
    print("orders:", *Order.objects.filter(name__startswith=f"{name}-").values_list("name", flat=True))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
