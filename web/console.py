"""What the page says on the daemon's console, in the form that the daemon's own lines have there."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from bgjob.commands.text import one_line, to_json
from bgjob.words import EntryType

from .settings import Settings

_PAGE = "bgjobd-web"
_ERROR, _INFO = "<3>", "<6>"
"""Priorities of sd-daemon(3)."""


def say(settings: Settings, message: str, type: EntryType = EntryType.INFO) -> None:
    """Say it as "text" or "json"; with "none" failures alone, for no other place has them."""
    is_failure = type is EntryType.FAILURE
    grave = (_ERROR if is_failure else _INFO) if settings.for_journald else ""
    if settings.console == "json":
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        told = {"event": message, "at": at, "type": type, "target": _PAGE}
        print(f"{grave}{to_json(told)}", file=sys.stderr, flush=True)
    elif settings.console == "text" or is_failure:
        print(f"{grave}{_PAGE}: {one_line(message)}", file=sys.stderr, flush=True)
