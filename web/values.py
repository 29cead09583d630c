"""What a job's page shows of the values that it has emitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bgjob.client import Client
from bgjob.codec import to_json

_MOST: Final = 20
_LONGEST: Final = 200
"""Characters of a value that are shown."""


def values_of(client: Client, job: Mapping[str, Any]) -> dict[str, Any]:
    """The latest, newest first, each as JSON, and how many there have been; none of a job that has not begun."""
    if not job["attempts"]:
        return {"values": [], "values_told": 0}
    read = client.values(job["id"], after=-_MOST)
    latest = [{**one._asdict(), "value": _cut(one.value)} for one in reversed(read.values)]
    return {"values": latest, "values_told": read.next}


def _cut(value: Any) -> str:
    text = to_json(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
