"""What a job's page shows of its steps, and of the signals that nobody took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bgjob.client import Client

_MOST: Final = 50


def steps_of(client: Client, job: Mapping[str, Any]) -> dict[str, Any]:
    """The latest, newest first, also the one under way; none of a job of which the daemon tells none."""
    if job["steps"] is None:
        return {"steps": [], "steps_left_out": 0, "signals": [], "open_step": None}
    left_out = max(0, job["steps"] - _MOST)
    first = client.steps(job["id"], limit=1 if left_out else _MOST)
    latest = client.steps(job["id"], after=left_out, limit=_MOST) if left_out else first
    untaken = [one for one in first.signals if one["taken_by"] is None]
    begun = [step for step in latest.steps if step["kind"] == "step" and step["finished_at"] is None]
    told = {"steps": latest.steps[::-1], "steps_left_out": left_out, "signals": untaken[::-1]}
    return told | {"open_step": begun[-1] if begun else None}
