"""What the kernel grants a process: less of anything is noticed, more of it is not."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgjobd.forkserver import allowances
from tests.forkserver.forked import in_child


def lowered(act: Callable[[], Any]) -> Any:
    def within() -> tuple[str, ...]:
        before = allowances.now()
        act()
        return allowances.lost(before)

    return in_child(within)


def limit(which: int, soft: int, hard: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(which, (soft, hard))


_, MOST = resource.getrlimit(resource.RLIMIT_MSGQUEUE)

LOWERED: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "a soft limit": (limit(resource.RLIMIT_MSGQUEUE, 1, MOST), ["RLIMIT_MSGQUEUE"]),
    "both": (limit(resource.RLIMIT_NOFILE, 3, 3), ["RLIMIT_NOFILE"]),
    "one that was infinite": (limit(resource.RLIMIT_CPU, 1000, 1000), ["RLIMIT_CPU"]),
    "niceness": (lambda: os.nice(1), ["nice"] if os.nice(0) < 19 else []),
    "the policy": (
        lambda: os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)),
        ["scheduling policy"],
    ),
    "the OOM killer's score": (lambda: Path("/proc/self/oom_score_adj").write_text("900"), ["oom_score_adj"]),
    "nothing": (lambda: None, []),
    "where it may run": (
        lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
        ["CPUs"] if len(os.sched_getaffinity(0)) > 1 else [],
    ),
}


@pytest.mark.parametrize(("act", "names"), LOWERED.values(), ids=LOWERED.keys())
def test_what_was_lowered_is_named(act: Callable[[], Any], names: list[str]) -> None:
    assert lowered(act) == names


def test_what_was_raised_is_no_loss() -> None:
    def within() -> tuple[str, ...]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (20, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        before = allowances.now()
        resource.setrlimit(resource.RLIMIT_NOFILE, (30, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        return allowances.lost(before)

    assert in_child(within) == []


def test_no_limit_is_more_than_any() -> None:
    assert sys.maxsize in allowances.now()
    assert min(allowances.now()) > -2000
