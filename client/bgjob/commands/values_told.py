"""What `bgjob show` tells of the values that a job has emitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bgjob import text
from bgjob.client import Client


def lines_of(client: Client, job: Mapping[str, Any], now: float) -> list[str]:
    """How many there are, and since when the last; none where there are none."""
    read = client.values(job["id"], after=-1, limit=1)
    if not read.values:
        return []
    what = "1 value" if read.next == 1 else f"{read.next:,} values"
    return [
        "",
        f"it has emitted {what}, the last {text.when(read.values[-1].at, now)}; bgjob follow {job['id']}",
    ]
