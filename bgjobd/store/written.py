"""The rows that a transaction writes, by what is done with them: values under the names of columns; no SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum, auto
from typing import Any, Final

Row = dict[str, Any]

BLOCKED: Final = 2
BEHIND: Final = 3
WAITING: Final = 4
"""`ready` of a pending job that waits for others, for those with its key, or for what its attempt has ended for, time
or a signal; 0 is for its time, 1 for a slot.
"""


class Kind(StrEnum):
    """What is done with a row; all rows of a kind are written by one statement, the kinds in this order."""

    NEW_GROUP = auto()
    NEW_JOB = auto()
    NEW_TIED_JOB = auto()
    REPLACED_JOB = auto()
    CHANGED_TERMS = auto()
    CHANGED_JOB = auto()
    TIED_JOB = auto()
    TAKEN_KEY = auto()
    RELEASED_KEY = auto()
    NEW_EDGE = auto()
    MOVED_EDGE = auto()
    FORGIVEN_EDGES = auto()
    SEALED_GROUP = auto()
    COUNTED_GROUP = auto()
    NEW_ATTEMPT = auto()
    STARTED_ATTEMPT = auto()
    ENDED_ATTEMPT = auto()
    NOTED_ATTEMPT = auto()
    OWED_HOOK = auto()
    OCCURRENCES = auto()
    DEALT_SCHEDULE = auto()
    HELD_SCOPE = auto()
    BEGUN_STEP = auto()
    FINISHED_STEP = auto()
    SETTLED_STEP = auto()
    COUNTED_STEPS = auto()
    UNUSED_STEP = auto()
    OPENED_WAIT = auto()
    MOVED_WAIT = auto()
    DROPPED_WAIT = auto()
    NEW_SIGNAL = auto()
    SAVED_STATE = auto()
    NEW_VALUE = auto()
    VALUED_ATTEMPT = auto()
    TRIMMED_VALUES = auto()
    COPIED_STEPS = auto()
    FORGOTTEN_STEPS = auto()  # behind all that writes what is forgotten, and behind what copies it
    FORGOTTEN_STATE = auto()
    FREED_SIGNALS = auto()
    REVIEWED_JOB = auto()
    ENDED_OUTPUT = auto()
    RECEIVED = auto()
    LOST_LABEL = auto()
    LABELLED_JOB = auto()  # by what its row has once all is written, so behind what is lost
    FAILED_BY_ERROR = auto()
    ERROR_OF_ATTEMPT = auto()  # which errors.record() writes, once all else is


Written = Mapping[Kind, Sequence[Row]]
"""The rows that were written together."""
