"""`bgjob top`: prints what runs once, or shows it on a terminal until somebody leaves."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time

from bgjob.client import Client
from bgjob.commands import screen
from bgjob.commands.problems import OK
from bgjob.commands.top import lookout, picture
from bgjob.commands.top.controls import View, counted, pressed
from bgjob.commands.top.many import Counted
from bgjob.commands.top.scene import Look, Meter, Scene, rates_of
from bgjob.commands.top.wishes import Leave


def run(client: Client, given: argparse.Namespace) -> int:
    """Print what runs, or show it until somebody leaves; the exit code. Raises what a client raises."""
    first = lookout.look_at(client)
    if given.json:
        screen.tell_json({name: getattr(first, name) for name in ("stats", "attempts", "failed", "needs")})
        return OK
    if given.once or not (screen.draws_on(sys.stdout) and sys.stdin.isatty()):
        _print(first)
        return OK
    return _show(first, given)


def _print(look: Look) -> None:
    now = time.time()
    scene = Scene(look, now, Meter().take(look.attempts, now, time.monotonic()), rates_of(look.stats, now))
    lines = picture.printed(scene, screen.columns())
    told = [screen.painted(line.text, line.style) if line.style else line.text for line in lines]
    screen.show("".join(f"{line}\n" for line in told))


def _show(first: Look, given: argparse.Namespace) -> int:
    from bgjob.commands.top.terminal import Bell, taken_over  # here, as only a terminal needs it

    bell = Bell()
    watch = lookout.Lookout(given.socket, given.every, first, bell.ring)
    with bell.hears_signals(), taken_over() as terminal:
        watch.start()
        view: View | None = View()
        while view is not None and bell.ended_by is None:
            size, scene = terminal.size(), watch.scene
            view = picture.within(scene, view, *size)
            terminal.draw(picture.drawn(scene, view, *size))
            view = _next(view, terminal.wait_for_keys(bell), watch)
    if bell.ended_by not in (None, signal.SIGINT):
        os.kill(os.getpid(), bell.ended_by)  # as it would have ended without a screen to leave
    return OK


def _next(view: View, keys: list[str], watch: lookout.Lookout) -> View | None:
    """The view after these keys and what has come of earlier wishes; None to leave. Raises what ended the watch."""
    watch.raise_failure()
    while (told := watch.try_message()) is not None:
        view = counted(view, told) if isinstance(told, Counted) else view._replace(message=told)
    for key in keys:
        view, wish = pressed(view, key, watch.scene)
        if isinstance(wish, Leave):
            return None
        if wish is not None:
            watch.carry_out(wish)
    return view
