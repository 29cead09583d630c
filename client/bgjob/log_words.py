"""How entries of the log begin that say only that a job goes its way, and which those are; pure."""

from __future__ import annotations

from typing import Final

from bgjob.words import EntryType

INITIATED: Final = "Background job initiated"
DISPATCHED: Final = "Background job dispatched on Linux platform"
STARTED: Final = "Background job started"
AT_PROGRESS: Final = "Background job is at "


def is_said(type: str, message: str) -> bool:
    """Whether an entry tells more than that a job was submitted, has begun, or how far it is.

    >>> is_said(EntryType.INFO, "no paper"), is_said(EntryType.INFO, "Background job is at 12%")
    (True, False)
    """
    if type == EntryType.SUCCESS:
        return message not in (DISPATCHED, STARTED) and not message.startswith(INITIATED)
    return not is_progress(type, message)


def is_progress(type: str, message: str) -> bool:
    """Whether an entry tells how far an attempt is.

    >>> [is_progress(EntryType.INFO, f"Background job is at {place}") for place in ("12%", "home")]
    [True, False]
    """
    told = message.removeprefix(AT_PROGRESS)
    return type == EntryType.INFO and told != message and told[:1] in tuple("0123456789")
