"""A job as callers may see it, of its row and those of its attempts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bgjob.codec import JsonObject
from bgjobd.core.masking import masked_names, masked_text
from bgjobd.store.rows import labels_of
from bgjobd.store.written import BEHIND, BLOCKED, WAITING

_HIDDEN: Final = frozenset(
    {
        *("ready", "request_digest", "sensitive", "failed_before", "unique_while"),
        *("carries", "step_bytes", "life", "retry_count_at_submit", "emitted"),
    }
)


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job with some of its attempts, the latest last; `next` is the number before which the others come, or None.

    `columns` are as they are stored, but that `parameters` have sensitive values masked; `sensitive` are their names.
    So these and `result` are JSON text: they may be large, and to pass them on nobody has to read them. Each attempt
    has the `span` that stands for it, and no token.
    """

    columns: JsonObject
    attempts: Sequence[JsonObject]
    next: int | None


def shown(row: JsonObject, attempts: Sequence[JsonObject], next: int | None) -> StoredJob:
    """The job of this row, whose keys are all columns, as callers may see it."""
    columns = {name: value for name, value in row.items() if name not in _HIDDEN}
    columns["is_blocked"] = row["ready"] == BLOCKED
    columns["is_behind"] = row["ready"] == BEHIND
    columns["waiting_on"] = row["waiting_on"] if row["ready"] == WAITING else None
    columns["waits_until"] = row["waits_until"] if columns["is_behind"] else None
    columns["labels"] = labels_of(row["labels"])
    columns["takes"] = None if row["takes"] is None else json.loads(row["takes"])
    sensitive = json.loads(row["sensitive"] or "[]")
    columns["sensitive"] = masked_names(row["parameters"], sensitive)
    columns["parameters"] = masked_text(row["parameters"], sensitive)
    return StoredJob(columns, attempts, next)
