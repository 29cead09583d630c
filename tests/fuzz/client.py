"""Targets that are the client's: what a daemon says that lies, and text of others on a terminal, a log, a page."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from bgjob import calls, following, managing_calls, retrying, submitting_calls, text
from bgjob.answers import JobRead, has_ended, result_of
from bgjob.calls import Call
from bgjob.codec import parse_reply
from bgjob.commands.problems import code_of, explained
from bgjob.errors import BgjobError, ProtocolError
from bgjob.following import Conversation
from bgjobd.commands.status_report import Answer, Gathered, judge, lines
from bgjobd.host.log import escaped
from tests.fuzz import commands
from tests.packaging import roff

_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]")
_SEEN = Gathered(
    now=1_764_086_400.0,
    socket="/run/bgjobd.sock",
    state_dir="/var/lib/bgjobd",
    holder=97,
    can_see_lock=True,
    answer=Answer.ANSWERS,
)
_CALLS: tuple[Call[Any], ...] = (
    submitting_calls.submit({"class_name": "a.B", "method_name": "run"}, None, None),
    submitting_calls.submit_many([], None, None),
    calls.get(1),
    calls.wait(1, 0.0),
    calls.list_jobs(),
    calls.logs(),
    calls.output(1, None, 0),
    calls.cancel([1]),
    calls.group(1),
    calls.groups(None, None, None, None),
    calls.wait_group(1, 0.0),
    calls.graph(1, None),
    managing_calls.prune([1], 0),
    managing_calls.prune_logs("", 0),
    managing_calls.pause("default"),
    managing_calls.classes(),
    managing_calls.limits(),
    managing_calls.stats(),
    managing_calls.running(),
    managing_calls.hosts(),
    managing_calls.needs(),
    managing_calls.alerts(False, None, None),
    managing_calls.acknowledge_alert(1),
    managing_calls.mute_alerts("paused", 1.0),
    managing_calls.test_alerts(None),
    managing_calls.host_accept(),
    calls.why(1),
    managing_calls.reload(),
    managing_calls.ping(),
)


def answers(data: bytes) -> None:
    """A reply to each call, stream and command: something of the told shape that can be shown, or an error that can."""
    try:
        reply = parse_reply(data)
    except ProtocolError as error:
        _tell(error)
        return
    for call in _CALLS:
        _try(lambda call=call: _use(call.answer(reply)))  # type: ignore[misc]
    for conversation in _conversations():
        _try(lambda it=conversation: it.take(reply, 0.0))  # type: ignore[misc]
        assert conversation.is_over in (True, False)
        assert conversation.request.to_bytes()
    for words in commands.WORDS:
        _check_shown(commands.shown_by(words, reply), is_raw=words.startswith(("output", "run a.B::c -f")))
    _try(lambda: [_check_line(line) for line in commands.drawn(reply)])


def _conversations() -> Iterator[Conversation[Any]]:
    for follower in (
        following.FollowedLogs(),
        following.FollowedOutput(1, None),
        following.Watched(None),
        following.Watched([1, 2]),
        following.Endings([(1, "one"), (2, "two")]),
    ):
        yield Conversation(follower)


def _use(answer: Any) -> None:
    """What callers do with it."""
    if not isinstance(answer, JobRead):
        repr(answer)
        return
    _try(lambda: answer.with_earlier(answer))
    _try(lambda: retrying.WaitingForJob(1, 1.0, 0.0).ended(answer))
    if has_ended(answer.job):
        _try(lambda: result_of(answer.job))


def _try(deed: Callable[[], object]) -> None:
    try:
        deed()
    except BgjobError as error:
        _tell(error)


def _tell(error: BgjobError) -> None:
    told = explained(error, "`bgjob list` has {id}")
    assert "\n" not in told
    assert code_of(error) > 0
    str(error)


def status(data: bytes) -> None:
    """A reply as the figures of `bgjobd status`: they are refused, or can be judged and shown."""
    stats = _try_stats(data)
    if stats is None:
        return
    standing = judge(replace(_SEEN, stats=stats))
    for line in lines(standing):
        _check_line(line)
    assert json.loads(standing.as_json())["status"] == standing.health


def _try_stats(data: bytes) -> dict[str, Any] | None:
    try:
        return managing_calls.stats().answer(parse_reply(data))
    except BgjobError as error:
        _tell(error)
        return None


def terminal(data: bytes) -> None:
    """Text that others wrote: on one line, without what moves a cursor or turns the order of reading."""
    told = os.fsdecode(data)
    for shown in (text.one_line(told), text.plain(told), escaped(told), text.to_json(told)):
        _check_line(shown)
    _check_line(text.lines(told).replace("\n", "").replace("\t", ""))
    assert json.loads(text.to_json(told)) == told
    for most in (1, 2, 7, 80):
        for keeps_end in (False, True):
            assert text.width(text.shortened(told, most, keeps_end=keeps_end)) <= most
            assert len(text.capped(told, most, keeps_end=keeps_end)) <= most
    _check_roff(told)


def _check_shown(shown: str, is_raw: bool) -> None:
    """What an attempt wrote goes as it is to what is no terminal; all else is text of one who may lie."""
    for line in [] if is_raw else shown.split("\n"):
        _check_line(line.replace("\t", ""))


def _check_line(shown: str) -> None:
    assert not any(c < " " or "\x7f" <= c < "\xa0" for c in shown), shown
    assert not _BIDI.search(shown), shown
    shown.encode()


def _check_roff(told: str) -> None:
    prose = " ".join(told.split())
    for line in roff.text(prose).split("\n"):
        assert line.isascii()
        assert not line.startswith((".", "'"))
