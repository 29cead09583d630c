"""Statements of what a schedule's occurrence writes."""

from __future__ import annotations

from typing import Final

from bgjobd.store.models.schedules import ScheduleOccurrence
from bgjobd.store.statements.compiled import upsert

WRITE_OCCURRENCES: Final = upsert(ScheduleOccurrence)
MOVE_CURSOR: Final = "UPDATE schedules SET cursor = :cursor WHERE name = :name"
