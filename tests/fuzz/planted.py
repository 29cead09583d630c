"""Targets with a defect each, for the fuzzer's own test."""

from __future__ import annotations

import os
import time

from tests.fuzz.target import Target

_KEPT: list[bytes] = []
_TIMES = [0.0]


def _raises(data: bytes) -> None:
    if b"planted" in data:
        raise KeyError("planted")


def _dies(data: bytes) -> None:
    if b"planted" in data:
        os.abort()


def _leaks(data: bytes) -> None:
    if _is_due():
        os.dup(0)


def _grows(data: bytes) -> None:
    if _is_due():
        _KEPT.append(b"x" * 2 * 1024**2)


def _is_due() -> bool:
    """Not more often than fifty times a second: what is lost before a process is warm counts for nothing."""
    if time.monotonic() - _TIMES[-1] < 0.02:
        return False
    _TIMES.append(time.monotonic())
    return True


TARGETS = {
    target.name: target
    for target in (
        Target("raises", _raises, (b"planted",), folder="names"),
        Target("dies", _dies, (b"planted",), folder="names"),
        Target("leaks", _leaks, folder="names"),
        Target("grows", _grows, folder="names"),
    )
}
