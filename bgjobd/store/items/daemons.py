"""Items of a daemon's own life: that it started, has other code, saw time leap, or only looks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DaemonStarted:
    """A daemon of this version begins, on a host where there are several. The clock may have been set while nobody
    ran: hold no retry longer than its own delay. Answered by None.
    """

    version: str = ""
    host: str | None = None


@dataclass(frozen=True, slots=True)
class CodeLoaded:
    """Attempts run this code from now on, for `who` has asked for a reload, or by itself. Answered by None."""

    code_version: str
    host: str | None = None
    is_asked: bool = False
    who: str | None = None


@dataclass(frozen=True, slots=True)
class ReloadFailed:
    """All stays as it was. Answered by None."""

    reason: str
    host: str | None = None
    who: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """Nothing happened but time: see what may start. Answered by None."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Nothing at all: an answer, even a refusal, tells that the writer is alive. Answered by None."""


@dataclass(frozen=True, slots=True)
class TimeLeapt:
    """The clock tells a time that may be wrong; the next daemon learns when that was seen. Answered by None."""
