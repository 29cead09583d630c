"""Runs targets, two processes at a time, and tells how they stand; what became of each is in its work directory."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.board import Board, Figures
from tests.fuzz.one import BOARD, FINDING, REPORT
from tests.fuzz.target import Target, scratch

AT_ONCE = 2
_ROOT = Path(__file__).parents[2]
MOST_GROWTH = 32 * 1024**2
"""Bytes by which a process may grow between warm and its end, beside what atheris keeps: each input of its corpus, and
tables that grow with it.
"""

_PER_INPUT = 16 * 1024
_HANGS = 60.0
"""Seconds after which a process is taken to hang that finishes no input."""

_TELLS = 5.0
_PAUSE = 0.1
_COVERAGE = re.compile(rb"cov: (\d+) .*?corp: (\d+)/")


@dataclass(frozen=True)
class Ending:
    """What became of a target: figures, coverage where it is known, and what was found, each a sentence or more."""

    name: str
    seconds: float
    figures: Figures
    coverage: int | None
    inputs: int
    findings: tuple[str, ...]


@dataclass(frozen=True)
class Course:
    """How targets are run: seconds for each, the seed, by `atheris` or by `mutations`, and the module that has them.

    `keep`: where inputs that reached new code are put.
    """

    seconds: float
    seed: int
    way: str
    keep: Path | None = None
    table: str = "tests.fuzz.targets"


class _Running:
    """A process that fuzzes one target."""

    def __init__(self, target: Target, work: Path, course: Course) -> None:
        self._target = target
        self._work = work
        work.mkdir()
        self._board = Board(work / BOARD)
        self._began_at = self._moved_at = self._told_at = time.monotonic()
        self._seen = -1
        self._is_hung = False
        given = [course.table, target.name, str(work), f"{course.seconds:g}", str(course.seed), course.way]
        with (work / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.one", *given],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=_ROOT,
                env=os.environ | {"TMPDIR": str(work)},  # what it leaves, as it ends at once, goes with this
            )

    def is_over(self) -> bool:
        """Whether it has ended; one that hangs is killed."""
        now, executions = time.monotonic(), self._board.read().executions
        if executions != self._seen:
            self._seen, self._moved_at = executions, now
        if now - self._moved_at > _HANGS:
            self._is_hung = True
            self.process.kill()
            self.process.wait()
        return self.process.poll() is not None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def maybe_tell(self) -> None:
        """A line about how it stands, every few seconds."""
        now = time.monotonic()
        if now - self._told_at >= _TELLS:
            self._told_at = now
            print(_line(self._ending(())), flush=True)

    def ending(self, keep: Path | None) -> Ending:
        """What became of it, once it is over."""
        ending = self._ending(tuple(self._findings()))
        if keep is not None and (self._work / "inputs").is_dir():
            shutil.copytree(self._work / "inputs", keep / self._target.name, dirs_exist_ok=True)
        self._board.close()
        return ending

    def _ending(self, findings: tuple[str, ...]) -> Ending:
        coverage, inputs = self._coverage()
        return Ending(
            self._target.name,
            time.monotonic() - self._began_at,
            self._board.read(),
            coverage,
            inputs,
            findings,
        )

    def _coverage(self) -> tuple[int | None, int]:
        """Edges that were reached and inputs that are kept, as libFuzzer told last."""
        with (self._work / "log").open("rb") as log:
            log.seek(max(0, (self._work / "log").stat().st_size - 4096))
            told = _COVERAGE.findall(log.read())
        return (int(told[-1][0]), int(told[-1][1])) if told else (None, len(self._target.corpus()))

    def _findings(self) -> Iterator[str]:
        code = self.process.returncode
        if code == 0:
            yield from _growth(self._board.read(), self._coverage()[1])
            return
        found = self._work / FINDING
        report = (self._work / REPORT).read_text() if found.exists() else self._death()
        if not found.exists():
            found.write_bytes(self._board.input())
        kept = Path(f"fuzz-{self._target.name}-{hashlib.sha256(found.read_bytes()).hexdigest()[:12]}")
        shutil.copy(found, kept)
        yield f"{report.rstrip()}\nonce more: ./run fuzz --target {self._target.name} --input {kept}"

    def _death(self) -> str:
        if self._is_hung:
            return f"it took more than {_HANGS:g} s for one input"
        with (self._work / "log").open("rb") as log:
            told = log.read()[-2000:].decode("utf-8", "replace")
        return f"the process ended with code {self.process.returncode}:\n{told}"


def _growth(figures: Figures, inputs: int) -> Iterator[str]:
    if not figures.first_rss:
        return  # it was not warm yet
    if figures.descriptors != figures.first_descriptors:
        yield f"descriptors went from {figures.first_descriptors} to {figures.descriptors}"
    most = MOST_GROWTH + inputs * _PER_INPUT
    if figures.rss - figures.first_rss > most:
        grown = figures.rss - figures.first_rss
        yield f"memory grew by {grown / 2**20:.0f} MiB, {most / 2**20:.0f} may be"


def fuzz(targets: Sequence[Target], course: Course) -> int:
    """Run them all; answers 1 where something was found."""
    print(
        f"{len(targets)} targets, {course.seconds:.0f} s each, by {course.way}, --seed {course.seed}",
        flush=True,
    )
    with scratch() as directory:
        endings = {ending.name: ending for ending in _run(targets, Path(directory), course)}
    print()
    for target in targets:
        print(_line(endings[target.name]))
    for ending in endings.values():
        for finding in ending.findings:
            print(f"\n{ending.name}: {finding}")
    found = sum(len(ending.findings) for ending in endings.values())
    print(f"\n{found} found" if found else "\nnothing found")
    return 1 if found else 0


def _run(targets: Sequence[Target], directory: Path, course: Course) -> Iterator[Ending]:
    waiting = list(targets)
    under_way: list[_Running] = []
    try:
        while waiting or under_way:
            while waiting and len(under_way) < AT_ONCE:
                target = waiting.pop(0)
                under_way.append(_Running(target, directory / target.name, course))
            for one in under_way[:]:
                one.maybe_tell()
                if one.is_over():
                    under_way.remove(one)
                    yield one.ending(course.keep)
            time.sleep(_PAUSE)
    finally:
        for one in under_way:
            one.kill()


def _line(ending: Ending) -> str:
    figures = ending.figures
    rate = figures.executions / max(0.1, ending.seconds)
    coverage = "" if ending.coverage is None else f"  {ending.coverage:>5} edges"
    grown = figures.rss - figures.first_rss if figures.first_rss else 0
    found = f"  {len(ending.findings)} FOUND" if ending.findings else ""
    opened = figures.descriptors - (figures.first_descriptors or figures.descriptors)
    return (
        f"{ending.name:<13} {figures.executions:>9} runs  {rate:>6.0f}/s{coverage}  {ending.inputs:>4} inputs"
        f"  {figures.rss / 2**20:>4.0f} MiB ({grown / 2**20:+.1f})"
        f"  {figures.descriptors} descriptors ({opened:+d})"
        f"{found}"
    )
