"""The commands of `bgjob`, over a daemon that says the same whatever it is asked; in this process, without a socket."""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

from bgjob.calls import Call
from bgjob.client import Client
from bgjob.codec import Reply
from bgjob.commands import arguments
from bgjob.commands.look import CELLS
from bgjob.commands.problems import code_of, explained
from bgjob.commands.top import lookout, picture
from bgjob.commands.top.controls import View
from bgjob.commands.top.scene import Meter, Scene, Sorting
from bgjob.errors import BgjobError, ShuttingDownError
from bgjob.following import Conversation, Follower
from bgjob.retrying import Breaks

T = TypeVar("T")

_MOST_ASKED: Final = 4

FLOW: Final = Path(__file__).with_name("flow.json")
MISSHAPEN_FLOW: Final = Path(__file__).with_name("misshapen_flow.json")

WORDS: Final = (
    "run a.B::c",
    "run a.B::c -w",
    "run a.B::c -f",
    f"list --columns {','.join(CELLS)}",
    "list --queue mail",
    "show 1",
    "show 1 --logs",
    "why 1",
    "needs",
    "alerts",
    "tail",
    "tail -f",
    "follow 1",
    "follow 1 --after 7 --json",
    "output 1",
    "output -f 1",
    "wait 1",
    "cancel 1",
    "retry 1",
    "change 1 --priority 5",
    f"flow {FLOW}",
    f"flow {MISSHAPEN_FLOW}",
    "graph 1",
    "group",
    "group 1",
    "group 1 --retry",
    "group 1 -w",
    "top --once",
    "stats",
    "classes",
    "keys mail",
    "reload",
    "pause",
    "resume",
    "schedules",
    "schedules nightly",
    "occurrences nightly",
    "schedule run nightly",
)
"""Each command that asks a daemon, as a person writes it, and as a program does."""


class _EnoughError(BgjobError):
    """A daemon that always has more would be asked for ever, and one that says that it ends for half a minute."""


class Told(Client):
    """A client to whom always the same is replied; what has a method's name in it is that method's reply."""

    def __init__(self, reply: Reply) -> None:
        super().__init__("/nowhere")
        self._reply = reply
        self._asked = 0

    def _call(self, call: Call[T]) -> T:
        self._asked += 1
        if self._asked > _MOST_ASKED:
            raise _EnoughError
        try:
            return call.answer(self._reply_to(call.method))
        except ShuttingDownError:
            raise _EnoughError from None
        except BgjobError as error:
            raise call.keyed(error) from None

    def _call_apart(self, call: Call[T], limit: float | None, breaks: Breaks) -> T:
        return self._call(call)

    def _following(self, *followers: Follower[T]) -> Any:
        return self._told(followers)

    def _told(self, followers: tuple[Follower[T], ...]) -> Iterator[T]:
        for follower in followers:
            conversation = Conversation(follower)
            yield from conversation.take(self._reply_to(follower.request.method), 0.0)
            if not conversation.is_over:
                raise _EnoughError

    def _reply_to(self, method: str) -> Reply:
        own = self._reply.parameters.get(method.rpartition(".")[2])
        return Reply(own, continues=self._reply.continues) if isinstance(own, dict) else self._reply


@cache
def _parsed(words: str) -> argparse.Namespace:
    return arguments.parse(words.split())


def shown_by(words: str, reply: Reply) -> str:
    """All that the command writes about this reply. Raises what it lets through: nothing, if it is without defect."""
    stdout, stderr = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    given = _parsed(words)
    with redirect_stdout(stdout), redirect_stderr(stderr):
        try:
            given.run(Told(reply), given)
        except BgjobError as error:
            stderr.write(f"{explained(error, given.hint)}\n{code_of(error)}")
        stdout.flush()
        written = stdout.buffer
    assert isinstance(written, io.BytesIO)
    return written.getvalue().decode("utf-8", "replace") + stderr.getvalue()


def drawn(reply: Reply) -> list[str]:
    """The screen of `bgjob top` about this reply, as narrow and as wide as it may be. Raises BgjobError."""
    look = lookout.look_at(Told(reply))
    now = time.time()
    scene = Scene(look, now, Meter().take(look.attempts, now, 0.0))
    views = [View(sorting=sorting) for sorting in Sorting]
    sizes = ((1, 1), (20, 5), (200, 50))
    return [line.text for view in views for size in sizes for line in picture.drawn(scene, view, *size)]
