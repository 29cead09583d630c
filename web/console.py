"""What the page says on the daemon's console, in the form that the daemon's own lines have there."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from bgjob.commands.text import one_line, to_json
from bgjob.words import EntryType

_PAGE = "bgjobd-web"


def say(console: str, message: str, type: EntryType = EntryType.INFO) -> None:
    """Say it as "text" or "json"; with "none" failures alone, for no other place has them."""
    if console == "json":
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        told = {"event": message, "at": at, "type": type, "target": _PAGE}
        print(to_json(told), file=sys.stderr, flush=True)
    elif console == "text" or type is EntryType.FAILURE:
        print(f"{_PAGE}: {one_line(message)}", file=sys.stderr, flush=True)
