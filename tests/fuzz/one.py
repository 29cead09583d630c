"""One target in a process of its own, `python -m tests.fuzz.one`: by atheris where it is installed, else by mutations.

It ends by its own clock: 0 if nothing was found, 1 with a finding, which it has written down.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
import time
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from math import inf
from pathlib import Path

from tests.fuzz.board import Board, Figures, descriptors, resident
from tests.fuzz.mutator import mutations
from tests.fuzz.target import MOST, Target

FINDING, REPORT, BOARD = "finding", "report", "board"
"""What is in the work directory: the input that fails, what it fails with, and the board."""

_WARM = 0.1
"""The part of the time after which nothing may grow any more."""

_MOST_MEMORY = 3 * 1024**3
_MOST_DESCRIPTORS = 256
_SETTLES_IN = 2.0


class Course:
    """A target, its inputs one by one, and the time that they are given."""

    def __init__(self, target: Target, work: Path, seconds: float) -> None:
        self._target = target
        self._work = work
        self._board = Board(work / BOARD)
        self._began_at = inf
        self._seconds = seconds
        self._figures = Figures()
        self._look_at = 0.0

    def warm_up(self) -> None:
        """Try the corpus, so that whatever is made once is made; from then on the time counts."""
        for path in self._target.corpus():
            self.attempt(path.read_bytes())
        self._began_at = time.monotonic()

    def attempt(self, data: bytes) -> None:
        """Try one input; ends the process where it fails, and where the time is up."""
        data = data[:MOST]
        self._board.begin(data)
        try:
            self._target.attempt(data)
        except BaseException:  # whatever it is: an input must not end a process either
            self._found(data, traceback.format_exc())
        self._figures = self._figures._replace(executions=self._figures.executions + 1)
        now = time.monotonic()
        if now >= self._look_at:
            self._look(now - self._began_at)
            self._look_at = now + 0.5

    def _look(self, elapsed: float) -> None:
        figures = self._figures._replace(rss=resident(), descriptors=descriptors())
        if elapsed > _WARM * self._seconds and not figures.first_rss:
            gc.collect()
            figures = figures._replace(first_rss=resident(), first_descriptors=_at_rest())
        if elapsed > self._seconds:
            gc.collect()
            _settle(figures.first_descriptors)
            self._board.write(figures._replace(rss=resident(), descriptors=descriptors()))
            _leave(0)
        self._figures = figures
        self._board.write(figures)

    def _found(self, data: bytes, report: str) -> None:
        self._board.write(self._figures)
        (self._work / FINDING).write_bytes(data)
        (self._work / REPORT).write_text(report)
        _leave(1)


def _at_rest() -> int:
    """How many descriptors are open once no thread opens or closes any more."""
    fewest, until = descriptors(), time.monotonic() + 0.2
    while time.monotonic() < until:
        time.sleep(0.02)
        fewest = min(fewest, descriptors())
    return fewest


def _settle(most: int) -> None:
    until = time.monotonic() + _SETTLES_IN
    while descriptors() > most and time.monotonic() < until:
        time.sleep(0.02)


def _leave(code: int) -> None:
    """At once: what threads and libFuzzer would still do is nobody's business."""
    sys.stdout.flush()
    os._exit(code)


def main(given: Sequence[str]) -> None:
    """Fuzz the target of this name in this module's table, with this work directory, for so many seconds."""
    table, name, work, seconds, seed, way = given
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MOST_DESCRIPTORS, _MOST_DESCRIPTORS))
    if way == "atheris":
        _by_atheris(table, name, Path(work), float(seconds), int(seed))
    else:
        _by_mutations(table, name, Path(work), float(seconds), int(seed))


def has_atheris() -> bool:
    return find_spec("atheris") is not None


def _by_mutations(table: str, name: str, work: Path, seconds: float, seed: int) -> None:
    target: Target = import_module(table).TARGETS[name]
    course = Course(target, work, seconds)
    course.warm_up()
    corpus = [path.read_bytes() for path in target.corpus()]
    for data in mutations(corpus, target.tokens, seed):
        course.attempt(data)


def _by_atheris(table: str, name: str, work: Path, seconds: float, seed: int) -> None:
    import atheris

    with atheris.instrument_imports(include=["bgjob", "bgjobd"]):
        target: Target = import_module(table).TARGETS[name]
        course = Course(target, work, seconds)
        course.warm_up()  # what is imported late is instrumented too
    tokens = work / "tokens"
    tokens.write_text("".join(map(_quoted, target.tokens)))
    found = work / "inputs"
    found.mkdir()
    ours = {
        "seed": seed % 2**31,
        "max_len": MOST,
        "dict": tokens,
        "artifact_prefix": f"{work}/",
        "rss_limit_mb": 0,  # the limit is the process's, and so is the time
        "timeout": 86_400,
    }
    options = [f"-{option}={value}" for option, value in ours.items()]
    corpus = target.corpus()[0].parent
    atheris.Setup([name, *options, str(found), str(corpus)], course.attempt)
    atheris.Fuzz()


def _quoted(token: bytes) -> str:
    """A line of libFuzzer's dictionary."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in token) + '"\n'


if __name__ == "__main__":
    main(sys.argv[1:])
