"""What a job's page shows of its steps, its state, signals that nobody took, and the jobs that run its call again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bgjob.client import Client

_MOST: Final = 50
_MOST_AGAIN: Final = 10


def steps_of(client: Client, job: Mapping[str, Any]) -> dict[str, Any]:
    """The latest, newest first, also the one under way; none of a job of which the daemon tells none."""
    if job["steps"] is None:
        return {"steps": [], "steps_left_out": 0, "signals": [], "open_step": None} | _NO_STATE
    left_out = max(0, job["steps"] - _MOST)
    first = client.steps(job["id"], limit=1 if left_out else _MOST)
    latest = client.steps(job["id"], after=left_out, limit=_MOST) if left_out else first
    untaken = [one for one in first.signals if one["taken_by"] is None]
    told = {"steps": latest.steps[::-1], "steps_left_out": left_out, "signals": untaken[::-1]}
    of_state = {"state": first.state, "state_size": first.state_size}
    return told | of_state | {"open_step": latest.open_step}


_NO_STATE: Final = {"state": None, "state_size": None}


def again_as(client: Client, job: Mapping[str, Any]) -> list[int]:
    """Which jobs run its call again, the newest first; none of a daemon that knows nothing of that, nor of steps."""
    if job["steps"] is None:
        return []
    return [one["id"] for one in client.list(again_of=job["id"], limit=_MOST_AGAIN)]
