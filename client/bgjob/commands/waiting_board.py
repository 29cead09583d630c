"""The jobs that somebody waits for, with their progress, drawn on stderr where that is a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from bgjob import text
from bgjob.commands import screen
from bgjob.words import Status

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Board:
    """Where jobs stand that somebody waits for, on stderr; this one, for where nothing can be drawn, shows nothing."""

    def show(self, job: Mapping[str, Any]) -> None:
        """The job, a summary, stands like this now; one that has ended leaves the board."""

    @contextmanager
    def away(self) -> Iterator[None]:
        """The board is gone meanwhile, so that lines can be written."""
        yield


@contextmanager
def board() -> Iterator[Board]:
    """A board for as long as somebody waits."""
    if not screen.draws_on(sys.stderr) or find_spec("rich") is None:
        yield Board()
        return
    drawn = _DrawnBoard()
    try:
        yield drawn
    finally:
        drawn.erase()


class _DrawnBoard(Board):
    def __init__(self) -> None:
        self._jobs: dict[int, Mapping[str, Any]] = {}
        self._draw()

    def show(self, job: Mapping[str, Any]) -> None:
        if Status(job["status"]).is_final:
            self._jobs.pop(job["id"], None)
            row = self._rows.pop(job["id"], None)
            if row is not None:
                self._progress.remove_task(row)
            return
        self._jobs[job["id"]] = job
        self._show_row(job)

    @contextmanager
    def away(self) -> Iterator[None]:
        self.erase()
        yield
        self._draw()

    def erase(self) -> None:
        self._progress.stop()

    def _draw(self) -> None:
        """Anew: one that was stopped and goes on would erase what was written meanwhile."""
        self._progress = _progress()
        self._rows: dict[int, TaskID] = {}
        for job in self._jobs.values():
            self._show_row(job)
        self._progress.start()

    def _show_row(self, job: Mapping[str, Any]) -> None:
        if job["id"] not in self._rows:
            self._rows[job["id"]] = self._progress.add_task("", percent="", message="")
        progress = job["progress"] if job["status"] == Status.RUNNING else None
        self._progress.update(
            self._rows[job["id"]],
            description=text.one_line(text.waiting(job, time.time())),
            total=1.0 if progress else None,
            completed=progress["fraction"] if progress else 0.0,
            percent=f"{progress['fraction']:.0%}" if progress else "",
            message=text.one_line(progress["message"]) if progress else text.how_far(job),
        )


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
    from rich.table import Column as Cell

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=Cell(no_wrap=True)),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[percent]}", markup=False),
        TextColumn(
            "{task.fields[message]}",
            markup=False,
            table_column=Cell(no_wrap=True, overflow="ellipsis", ratio=1),
        ),
        console=Console(stderr=True),
        transient=True,
        expand=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
