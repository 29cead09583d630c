"""Makes `bgjob.client` of `bgjob.aio`: the same client without `async` and `await`. `./run sync` writes it.

What else the two differ in stands in the tables below. A row that is not found in the source has gone stale: an error.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

TREE: Final = Path(__file__).resolve().parents[2]
SOURCE: Final = TREE / "client/bgjob/aio.py"
MADE: Final = TREE / "client/bgjob/client.py"

_PATTERNS: Final = (
    (r"\basync (?=def |with |for )", ""),
    (r"\bawait ", ""),
    (r"\bAwaitable\[((?:[^][]|\[[^][]*\])*)\]", r"\1"),
    (r"\bAsyncGenerator\[([\w[\]]+), None\]", r"Iterator[\1]"),
    (r"\bAsync(Client|Following|Job|JobGroup|Submitted)\b", r"\1"),
    (r"__a(enter|exit)__", r"__\1__"),
    (r"\banext\(", "next("),
    (r"\basyncio\.sleep\(", "time.sleep("),
    (r"\basync_connections\b", "sync_connections"),
)
"""What becomes of the words of asyncio, wherever they stand."""

_TEXTS: Final = (
    ("import asyncio\n", ""),
    (
        "    AsyncGenerator,\n    Awaitable,\n    Callable,\n",
        "    Callable,\n    Iterator,\n",
    ),
    (
        '"""The client for asyncio: the names of `Client` and `Job` as coroutines and async iterators.\n',
        '"""The client: connections to the daemon, and jobs as objects; '
        "waiting is pushed over the socket, never polled.\n",
    ),
    (
        "`client.py` is made of this file: `./run sync` after a change.",
        "Made of `aio.py` by `./run sync`: change that file.",
    ),
    (
        "safe for tasks, new loops and after a fork.\n",
        "safe for threads and after a fork.\n",
    ),
    (
        """\
    `address` is a path or `unix:PATH`; `timeout` is how many seconds a reply may take. Calls share one connection, one
    after the other, and a daemon that restarts meanwhile is tried again within that time. Each waiting and following
    takes a connection while it lasts, of which a daemon allows a user 64: for many jobs use `bgjob.aio.wait` and
    `as_completed`, which take one. They survive a daemon that goes away and comes back within 30 s, and raise
    DaemonUnavailableError after that. A call that is cancelled costs its connection, and may have been done all the
    same.
""",
        """\
    `address` is a path or `unix:PATH`; `timeout` is how many seconds a reply may take. Calls share one connection, and
    a daemon that restarts meanwhile is tried again within that time. Each waiting and following takes a connection
    while it lasts, of which a daemon allows a user 64: for many jobs use `bgjob.wait` and `as_completed`, which take
    one. They survive a daemon that goes away and comes back within 30 s, and raise DaemonUnavailableError after that.
""",
    ),
    (
        """\
        Without ids every change from its `async with`, or first item, on, without end; changes while no daemon runs
        are then not told.
""",
        """\
        Without ids every change from now on, without end; changes while no daemon runs are then not told.
""",
    ),
    (
        """\
        \"\"\"How the job was when it was last seen, keys as the columns; until `refresh` or `wait` its id alone, with
        what `as_completed` or the module's `wait` told.
        \"\"\"
        return self._seen
""",
        """\
        \"\"\"How the job was when it was last seen, keys as the columns; asked for where not all of it was seen yet.
        Who may not read jobs gets its id, with what was told.
        \"\"\"
        if not self._has_seen_all:
            try:
                return self.refresh()
            except errors.PermissionDeniedError:
                self._has_seen_all = True
        return self._seen
""",
    ),
    (
        """\
        \"\"\"How the group was when last seen; until `refresh` or `wait` of one just submitted, its id alone.\"\"\"
        return {"id": self.id} if self._seen is None else self._seen
""",
        """\
        \"\"\"How the group was when last seen; of one just submitted it is asked for.\"\"\"
        return self.refresh() if self._seen is None else self._seen
""",
    ),
)
"""Imports, what is told to people, and what asks by itself where nobody has to await it; as it stands in the source."""


class StaleRowError(Exception):
    """A row of the tables is about something that the source does not have."""


def main() -> int:
    MADE.write_text(sync_form(SOURCE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def sync_form(source: str) -> str:
    """The source for threads, as ruff sorts its imports and formats it. Raises StaleRowError."""
    for text, replacement in _TEXTS:
        if text not in source:
            raise StaleRowError(text)
        source = source.replace(text, replacement)
    for pattern, replacement in _PATTERNS:
        source, found = re.subn(pattern, replacement, source)
        if not found:
            raise StaleRowError(pattern)
    return _ruff("format", _ruff("check", source, "--quiet", "--select", "I", "--fix"))


def _ruff(command: str, source: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", command, *arguments, "--stdin-filename", str(MADE), "-"],
        input=source,
        capture_output=True,
        text=True,
        check=True,
        cwd=TREE,
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
