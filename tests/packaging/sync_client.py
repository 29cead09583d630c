"""Makes `bgjob.client` of `bgjob.aio`, and what it inherits: the same without `async` and `await`, by `./run sync`.

What else the two differ in stands in the tables below. A row that is not found in the sources has gone stale: an error.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

TREE: Final = Path(__file__).resolve().parents[2]
CLIENT: Final = TREE / "client/bgjob"
FILES: Final = {
    "aio.py": "client.py",
    "async_managing.py": "sync_managing.py",
    "async_reading.py": "sync_reading.py",
}
"""What is made there of what."""

_PATTERNS: Final = (
    (r"\basync (?=def |with |for )", ""),
    (r"\bawait ", ""),
    (r"\bAwaitable\[((?:[^][]|\[[^][]*\])*)\]", r"\1"),
    (r"\bAsyncGenerator\[([\w[\]]+), None\]", r"Iterator[\1]"),
    (r"\bAsync(Client|Following|Job|JobGroup|Submitted)\b", r"\1"),
    (r"__a(enter|exit)__", r"__\1__"),
    (r"\banext\(", "next("),
    (r"\basyncio\.sleep\(", "time.sleep("),
    (r"\basync_(connections|managing|reading)\b(?!\.py)", r"sync_\1"),
)
"""What becomes of the words of asyncio, wherever they stand."""

_TEXTS: Final = (
    ("import asyncio\n", ""),
    (
        "import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable,",
        "import Callable, Coroutine, Iterable, Iterator,",
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
        "Of jobs: `aio` and `async_reading`. `sync_managing.py` is made of this file: `./run sync` after a change.",
        "Of jobs: `client` and `sync_reading`. Made of `async_managing.py` by `./run sync`: change that file.",
    ),
    (
        "`sync_reading.py` is made of this file: `./run sync` after a change.",
        "Made of `async_reading.py` by `./run sync`: change that file.",
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
    for name, text in sync_forms(sources()).items():
        (CLIENT / name).write_text(text, encoding="utf-8")
    return 0


def sources() -> dict[str, str]:
    return {name: (CLIENT / name).read_text(encoding="utf-8") for name in FILES}


def sync_forms(texts: Mapping[str, str]) -> dict[str, str]:
    """What is made of the sources, for threads, as ruff sorts its imports and formats it. Raises StaleRowError."""
    made = {FILES[name]: text for name, text in texts.items()}
    for text, replacement in _TEXTS:
        if not any(text in one for one in made.values()):
            raise StaleRowError(text)
        made = {name: one.replace(text, replacement) for name, one in made.items()}
    for pattern, replacement in _PATTERNS:
        if not any(re.search(pattern, one) for one in made.values()):
            raise StaleRowError(pattern)
        made = {name: re.sub(pattern, replacement, one) for name, one in made.items()}
    return {
        name: _ruff("format", name, _ruff("check", name, one, "--quiet", "--select", "I", "--fix"))
        for name, one in made.items()
    }


def _ruff(command: str, name: str, source: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", command, *arguments, "--stdin-filename", str(CLIENT / name), "-"],
        input=source,
        capture_output=True,
        text=True,
        check=True,
        cwd=TREE,
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
