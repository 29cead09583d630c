"""All jobs that match are retried or cancelled: `bgjob retry --matching`, which says how many those are and asks."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

from bgjob import text
from bgjob.amounts import many_of
from bgjob.answers import DoneToMany, Matched
from bgjob.client import Client
from bgjob.commands import screen
from bgjob.commands.problems import FAILED, OK
from bgjob.filters import BY_INDEX, Filter

_MOST_CLASSES: Final = 5
_OF_TARGET: Final = ("class_name", "method_name")
_BY_INDEX: Final = tuple(["target" if name == "class_name" else name for name in BY_INDEX])
_FILTERS: Final = (*(name for name in Filter._fields if name not in _OF_TARGET), "target")
_ONLY_MATCHING: Final = ("yes", "dry_run", "spread", "at_most_once")
_ONLY_IDS: Final = ("anyway", "from_start")


def try_wrong(given: argparse.Namespace) -> str | None:
    """What does not fit together of what was given to retry or cancel."""
    if not given.matching:
        if not given.ids:
            return "needs the ID of a job, or --matching with a filter"
        more = _first_given(given, (*_FILTERS, *_ONLY_MATCHING))
        return None if more is None else f"{more} goes with --matching"
    if given.ids:
        return "takes IDs or --matching, not both"
    wrong = _first_given(given, _ONLY_IDS)
    if wrong is not None:
        return f"{wrong} goes with IDs"
    if _first_given(given, _BY_INDEX) is None:
        options = ", ".join(_option_of(name) for name in _BY_INDEX)
        return f"--matching needs one of {options}"
    may_ask = sys.stdin.isatty() and not given.json
    if not (given.yes or given.dry_run or may_ask):
        return "--matching asks before it does anything: say --yes, or --dry-run"
    return None


def _first_given(given: argparse.Namespace, names: tuple[str, ...]) -> str | None:
    return next((_option_of(name) for name in names if getattr(given, name, None)), None)


def _option_of(name: str) -> str:
    return {"target": "--class", "key": "--limit-key"}.get(name, f"--{name.replace('_', '-')}")


def filter_of(given: argparse.Namespace) -> Filter:
    """What was given of it."""
    return Filter(**{name: getattr(given, name) for name in _FILTERS if name != "target"}, **given.target)


def carry_out(client: Client, given: argparse.Namespace, to: str) -> int:
    """Retry or cancel all that match, once it was said how many and which those are."""
    wanted = filter_of(given)
    matched = client.matching(wanted, to)
    is_retry = to == "retry"
    left_out = matched.at_most_once if is_retry and not given.at_most_once else 0
    meant = matched.jobs - left_out
    if not given.json:
        for line in _lines(matched, is_retry, left_out, time.time()):
            screen.say(line)
    if given.dry_run or not meant:
        return _told(given, to, matched, DoneToMany(0, left_out, None))
    if not given.yes and not _is_sure(f"{to} {many_of(meant, 'job')}?"):
        screen.say("nothing is done")
        return FAILED
    if is_retry:
        done = client.retry_matching(
            wanted,
            as_of=matched.as_of,
            expected=matched.jobs,
            spread=given.spread,
            at_most_once=given.at_most_once,
        )
    else:
        done = client.cancel_matching(wanted, as_of=matched.as_of, expected=matched.jobs)
    return _told(given, to, matched, done)


def _lines(matched: Matched, is_retry: bool, left_out: int, now: float) -> list[str]:
    """How many there are, of which classes, from when to when, and what happens to whom."""
    if not matched.jobs:
        return ["no job matches"]
    named = [
        f"{text.one_line(one['class_name'])} {one['count']:,}" for one in matched.classes[:_MOST_CLASSES]
    ]
    more = len(matched.classes) - len(named)
    classes = ", ".join(named) + (f" and {more:,} other classes" if more > 0 else "")
    lines = [f"{many_of(matched.jobs, 'job')} match{'es' if matched.jobs == 1 else ''}: {classes}"]
    if matched.oldest is not None and matched.newest is not None:
        did = "ended" if is_retry else "were submitted"
        lines.append(
            f"they {did} from {text.moment(matched.oldest, now)} to {text.moment(matched.newest, now)}"
        )
    if matched.running:
        lines.append(f"{matched.running:,} of them run, and are stopped")
    if left_out:
        lines.append(
            f"{left_out:,} of them may be tried but once, and are left out; --at-most-once runs them again"
        )
    return lines


def _is_sure(question: str) -> bool:
    """Whether a person says yes; no answer is none."""
    sys.stderr.write(f"bgjob: {question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _told(given: argparse.Namespace, to: str, matched: Matched, done: DoneToMany) -> int:
    if given.json:
        screen.tell_json(_as_json(given, matched, done))
        return OK
    if given.dry_run or not matched.jobs:
        return OK
    is_retry = to == "retry"
    are = "is" if done.done == 1 else "are"
    told = "to run again" if is_retry else "cancelled, or stopped first where running"
    left = f"; {done.left_out:,} left out" if done.left_out else ""
    screen.say(f"{many_of(done.done, 'job')} {are} {told}{left}")
    if done.change is not None:
        undo = f", `bgjob cancel --matching --bulk {done.change}` undoes it" if is_retry else ""
        screen.say(f"`bgjob list --bulk {done.change}` lists them{undo}")
    return OK


def _as_json(given: argparse.Namespace, matched: Matched, done: DoneToMany) -> Mapping[str, Any]:
    told = matched._asdict()
    counted = {"count": told.pop("jobs"), **told}
    return counted | {"is_dry_run": given.dry_run, **done._asdict()}
