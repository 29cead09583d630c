"""A job that saves its state, and says in files of its own what it did; its copy is the application."""

from __future__ import annotations

import os
import time
from pathlib import Path

from bgjob import JobContext


class Stating:
    """Each page is a line of `ledger`; the cursor is saved behind it."""

    def __init__(self, context: JobContext) -> None:
        self._context = context

    def crawl(self, ledger: str, pages: int, size: int = 10) -> int:
        """Waits before its last page for the file `go` beside the ledger, in its first attempt."""
        state = self._context.state
        for page in range(state.get("cursor", 0), pages):
            if page == pages - 1 and self._context.attempt == 1:
                Path(ledger).with_name("pid").write_text(str(os.getpid()))
                while not Path(ledger).with_name("go").exists():
                    time.sleep(0.005)
            with open(ledger, "a") as file:
                file.write(f"{page}\n")
            state.update(cursor=page + 1, text=chr(97 + page % 26) * size)
        return self._context.attempt

    def save_and_wait(self, directory: str) -> dict[str, object]:
        """Saves what each file `save` says, and answers with `saved`; ends with the file `end`."""
        while not Path(directory, "end").exists():
            if Path(directory, "save").exists():
                self._context.state["text"] = Path(directory, "save").read_text()
                Path(directory, "save").unlink()
                Path(directory, "saved").touch()
            time.sleep(0.005)
        return dict(self._context.state)

    def save_at_once(self, directory: str, times: int) -> int:
        """Saves without a break until the file `end` is there; how often."""
        state, count = self._context.state, 0
        while not Path(directory, "end").exists():
            for _ in range(times):
                count += 1
                state["count"] = count
        return count

    def fail(self, more: str) -> dict[str, object]:
        """Saves in its first attempt, and fails."""
        if self._context.attempt == 1:
            self._context.state["of"] = more
            raise ValueError(more)
        return dict(self._context.state)
