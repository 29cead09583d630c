"""What a context tells its attempt, and the attempt while it runs: of progress the latest, of log records the first."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bgjobd.forkserver import journal as journals
from bgjobd.forkserver import journal_lines
from bgjobd.forkserver.journal_lines import MAX_LOGS, MAX_NOTED, MAX_NOTES, MAX_PROGRESS, MAX_RESULT, MAX_TEXT
from bgjobd.forkserver.recorder import ProgressPace
from bgjobd.supervisor import journal_facts
from tests.forkserver.driven import DrivenServer, Told, fork_server, order
from tests.support import eventually

MODULE = """
import sys, time
from pathlib import Path
import bgjob


class Teller:
    def count(self, to, ending, context: bgjob.JobContext):
        begin = time.monotonic()
        for number in range(to):
            context.progress(number / to, f"step {number}")
        took = time.monotonic() - begin
        endings = {"raise": ValueError(), "retry": bgjob.Retry(), "snooze": bgjob.Snooze(5),
                   "fail": bgjob.Fail(), "exit": SystemExit(3), "interrupt": KeyboardInterrupt()}
        if ending in endings:
            raise endings[ending]
        return took

    def count_to_the_end_and_wait(self, go, context: bgjob.JobContext):
        for number in range(3):
            for step in range(1000):
                context.progress(step / 1000, f"part {number}, step {step}")
            context.progress(1.0, f"part {number} is done")
        while not Path(go).exists():
            time.sleep(0.01)

    def tell_occurrence(self, context: bgjob.JobContext):
        return context.occurrence

    def say(self, fractions, context: bgjob.JobContext):
        for fraction in fractions:
            context.progress(fraction)

    def say_little_by_little(self, times, context: bgjob.JobContext):
        for number in range(times):
            context.progress(number / times)
            context.logger.info("line %d", number)

    def log(self, times, size, context: bgjob.JobContext):
        for number in range(times):
            context.logger.info("x" * size)
        context.progress(0.5)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DrivenServer]:
    directory = tmp_path_factory.mktemp("tellers")
    (directory / "tellers.py").write_text(MODULE)
    with fork_server(directory, approved={"tellers.Teller": None}) as server:
        yield server


_jobs = iter(range(1, 1000))


def start(server: DrivenServer, method: str, occurrence: str | None = None, **parameters: Any) -> int:
    job = next(_jobs)
    asked = {"class_name": "tellers.Teller", "occurrence": occurrence}
    server.send({**order(job, method, **parameters), **asked})
    return job


def told(server: DrivenServer, method: str, **parameters: Any) -> Told:
    """The journal of an attempt that has ended."""
    job = start(server, method, **parameters)
    assert server.receive()["type"] == "ended"
    journal = server.journal(job)
    assert journal is not None
    return journal


def progress_of(journal: Told | None) -> list[dict[str, Any]]:
    return [] if journal is None else [note for note in journal.notes if note["type"] == "progress"]


def log_of(journal: Told) -> list[str]:
    return [note["message"] for note in journal.notes if note["type"] == "log"]


@pytest.mark.parametrize("occurrence", ["2026-11-26T01:30:00.000000Z", None])
def test_an_attempt_learns_for_which_occurrence_of_a_schedule_it_runs(
    server: DrivenServer, occurrence: str | None
) -> None:
    outcome = told(server, "tell_occurrence", occurrence=occurrence).outcome
    assert outcome is not None
    assert outcome["result"] == occurrence


@pytest.mark.parametrize("ending", ["return", "raise", "retry", "snooze", "fail", "exit", "interrupt"])
def test_however_an_attempt_ends_its_last_progress_is_recorded(server: DrivenServer, ending: str) -> None:
    progress = progress_of(told(server, "count", to=3000, ending=ending))
    assert (progress[0]["fraction"], progress[0]["message"]) == (0.0, "step 0")
    assert (progress[-1]["fraction"], progress[-1]["message"]) == (2999 / 3000, "step 2999")


def test_progress_that_is_told_all_the_time_is_recorded_ten_times_a_second(server: DrivenServer) -> None:
    journal = told(server, "count", to=20_000, ending="return")
    assert journal.outcome is not None
    assert len(progress_of(journal)) <= 10 + 10 * journal.outcome["result"] + 1
    at = [note["at"] for note in progress_of(journal)]
    assert at == sorted(at)


def test_a_few_steps_in_a_row_are_recorded_all(server: DrivenServer) -> None:
    journal = told(server, "say", fractions=[0.1, 0.2, 0.3, 0.4])
    assert [note["fraction"] for note in progress_of(journal)] == [0.1, 0.2, 0.3, 0.4]


def test_that_all_is_done_is_recorded_at_once(server: DrivenServer, tmp_path: Path) -> None:
    go = tmp_path / "go"
    job = start(server, "count_to_the_end_and_wait", go=str(go))
    wanted = [f"part {number} is done" for number in range(3)]

    def done() -> list[str]:
        return [note["message"] for note in progress_of(server.journal(job)) if note["fraction"] == 1.0]

    eventually(lambda: done() == wanted)
    go.touch()
    assert server.receive()["type"] == "ended"
    assert done() == wanted


def test_progress_that_says_the_same_again_is_recorded_once(server: DrivenServer) -> None:
    journal = told(server, "say", fractions=[0.5] * 5 + [0.75, 0.75])
    assert [note["fraction"] for note in progress_of(journal)] == [0.5, 0.75]


def test_who_goes_back_to_what_was_recorded_is_taken_at_the_last_word(server: DrivenServer) -> None:
    fractions = [number / 100 for number in range(10)]
    recorded = [
        note["fraction"]
        for note in progress_of(told(server, "say", fractions=[*fractions, 0.5, fractions[-1]]))
    ]
    assert recorded in (fractions, [*fractions, 0.5, fractions[-1]])  # the latter where the machine is slow


def test_an_entry_of_the_log_comes_after_the_progress_before_it(server: DrivenServer) -> None:
    journal = told(server, "say_little_by_little", times=5)
    assert [note["type"] for note in journal.notes] == ["progress", "log"] * 5


@pytest.mark.parametrize(("times", "size"), [(MAX_LOGS + 500, 1), (2 * 64, MAX_NOTED // 64)])
def test_of_too_many_entries_the_first_are_kept_and_how_many_were_not_is_told(
    server: DrivenServer, times: int, size: int
) -> None:
    journal = told(server, "log", times=times, size=size)
    *kept, notice, count = log_of(journal)
    assert {len(message) for message in kept} == {size}
    assert notice == "too many entries; the rest is not kept"
    assert count == f"too many entries: {times - len(kept)} were not kept"
    assert len(kept) == MAX_LOGS or 0 <= sum(map(len, kept)) - MAX_NOTED < size
    assert [note["fraction"] for note in progress_of(journal)] == [0.5]


def test_as_many_entries_as_are_kept_leave_out_none(server: DrivenServer) -> None:
    assert log_of(told(server, "log", times=MAX_LOGS, size=1)) == ["x"] * MAX_LOGS


def test_very_many_steps_cost_the_log_nothing(server: DrivenServer) -> None:
    journal = told(server, "say_little_by_little", times=MAX_LOGS)
    assert len(log_of(journal)) == MAX_LOGS
    assert progress_of(journal)[-1]["fraction"] == 1 - 1 / MAX_LOGS


# The pace


def recorded_at(calls: Iterator[float] | list[float], pace: ProgressPace | None = None) -> list[float]:
    """The moments at which a record is written, of calls at these."""
    pace = pace or ProgressPace()
    written = []
    for now in calls:
        if pace.allows(now, is_whole=False):
            pace.take(now, 100)
            written.append(now)
    return written


def moments(until: float, step: float) -> list[float]:
    return [1000.0 + number * step for number in range(int(until / step))]


def test_in_its_first_minute_an_attempt_is_heard_ten_times_a_second() -> None:
    written = recorded_at(moments(until=58, step=0.001))
    assert len(written) == pytest.approx(580 + 10, abs=3)
    assert max(b - a for a, b in pairwise(written)) < 0.12


def test_who_tells_once_a_second_is_heard_each_time_for_ten_minutes() -> None:
    assert recorded_at(moments(until=600, step=1.0)) == moments(until=600, step=1.0)


@pytest.mark.parametrize("days", [1, 30])
def test_who_tells_for_days_is_heard_all_the_time_and_leaves_few_records(days: int) -> None:
    calls = moments(until=days * 86_400, step=days * 0.5)
    written = recorded_at(calls)
    assert len(written) < MAX_PROGRESS
    for a, b in pairwise(written[700:]):
        assert b - a < 0.012 * (b - calls[0]) + days * 0.5


def test_who_falls_silent_has_a_few_at_once_again() -> None:
    pace = ProgressPace()
    for begin in (1000.0, 1010.0):
        calls = [begin + number / 1000 for number in range(50)]
        assert recorded_at(calls, pace) == calls[:10]


def test_long_records_count_for_several() -> None:
    pace, now, size = ProgressPace(), 0.0, 0
    while pace.allows(now, is_whole=True):
        pace.take(now, 100_000)
        size += 100_000
        now += 1e9
    assert MAX_NOTED <= size < MAX_NOTED + 100_000


def test_many_wholes_are_recorded_no_more_often_than_the_pace_allows() -> None:
    pace, written = ProgressPace(), 0
    for now in moments(until=10, step=0.001):
        if pace.allows(now, is_whole=True):
            pace.take(now, 100)
            written += 1
    assert written == pytest.approx(100 + 20, abs=3)


# The journal as it is read on


def _journal(directory: Path, text: bytes) -> int:
    (directory / "1.1.journal").write_bytes(text)
    return os.open(directory, os.O_RDONLY)


def test_all_notes_that_there_may_be_are_read_in_portions(tmp_path: Path) -> None:
    lines = [journal_lines.noted(5, "log", 1.0, f"n{number}", level="INFO") for number in range(MAX_NOTES)]
    text = journal_lines.started("aa", 5, 0, 9, "b00", 0.0) + b"".join(b"\n" + line for line in lines)
    whole = text + b"\n" + journal_lines.completed(5, "7") + b"\n" + journal_lines.exited(5, 1.0, 0, None)
    spool = _journal(tmp_path, whole)
    try:
        parts = list(_parts(spool))
        journal = journals.try_read(spool, "1.1.journal")
    finally:
        os.close(spool)
    assert [note["message"] for part in parts for note in part.notes] == [f"n{n}" for n in range(MAX_NOTES)]
    assert max(len(part.notes) for part in parts) <= 200
    assert journal is not None
    assert journal.outcome is not None
    assert journal.outcome["result"] == 7


def _parts(spool: int) -> Iterator[journals.Part]:
    end, has_more = 0, True
    while has_more:
        part = journals.read_on(spool, "1.1.journal", end, 5)
        yield part
        _, end, has_more = part


def test_a_line_without_end_is_passed_over(tmp_path: Path) -> None:
    note = journal_lines.noted(5, "log", 1.0, "after it", level="INFO")
    spool = _journal(tmp_path, b"x" * (2 * MAX_NOTED + 10) + b"\n" + note)
    try:
        notes = [note for part in _parts(spool) for note in part.notes]
    finally:
        os.close(spool)
    assert [one["message"] for one in notes] == ["after it"]


def test_a_note_that_is_longer_than_a_portion_is_read_whole(tmp_path: Path) -> None:
    lines = [journal_lines.noted(5, "log", 1.0, text, level="INFO") for text in ("\0" * MAX_TEXT, "after it")]
    spool = _journal(tmp_path, b"\n".join(lines))
    try:
        notes = [note for part in _parts(spool) for note in part.notes]
    finally:
        os.close(spool)
    assert [len(one["message"]) for one in notes] == [MAX_TEXT, 8]


def test_what_a_job_writes_without_end_is_read_up_to_a_limit(tmp_path: Path) -> None:
    note = journal_lines.noted(5, "log", 1.0, "x" * 1000, level="INFO")
    spool = _journal(tmp_path, note * 10_000)
    try:
        end = [part.end for part in _parts(spool)][-1]
    finally:
        os.close(spool)
    assert 8 * MAX_NOTED <= end < 9 * MAX_NOTED


_FORGED = {
    "notes": b'{"v":1,"type":"log","pid":5,"at":1,"level":"INFO","x":[%s]}' % b",".join([b"{}"] * 400),
    "exits": b'{"v":1,"type":"exit","pid":5,"at":1,%s}' % b",".join(b'"%x":[]' % n for n in range(150)),
    "outcomes": b'{"v":1,"type":"outcome","outcome":"completed","pid":5,"result":[%s'
    % b",".join([b"[]"] * 400),
    "of no kind": b'{"v":1,"x":[%s],"type":"outcome"}' % b",".join([b"[]"] * 400),
    "steps": journal_lines.step(5, 1.0, "one", '"' * (MAX_RESULT - 100), False).rstrip(),
    "beginnings": journal_lines.began(5, 1.0, "\x01" * 255).rstrip(),
    "left": b'{"v":1,"type":"left","pid":5,"at":1,"names":"%s"}' % (b"[" * MAX_RESULT),
    "stacks": journal_lines.stack(5, 1.0, "[" * journal_lines.MAX_STACK).rstrip(),
    "very short": b'{"v":1}',
}


def _of_steps(count: int) -> float:
    """The seconds of CPU time that so many turns of an empty loop take here and now."""
    began_at = time.thread_time()
    for _ in range(count):
        pass
    return time.thread_time() - began_at


@pytest.mark.parametrize("kind", _FORGED)
def test_a_journal_that_a_job_has_filled_by_itself_is_read_soon(kind: str, tmp_path: Path) -> None:
    started = journal_lines.started("aa", 5, 0, 9, "b00", 0.0)
    line = _FORGED[kind] + b"\n"
    end = journal_lines.exited(5, 1.0, 3, None)
    spool = _journal(tmp_path, started + line * (8 * MAX_NOTED // len(line)) + end)
    pieces: list[float] = []
    try:
        began_at = time.thread_time()
        journal = journals.try_read(spool, "1.1.journal")
        pieces.append(time.thread_time() - began_at)
        for part in _parts(spool):
            journal_facts.notes(part.notes)
            pieces.append(time.thread_time() - began_at - sum(pieces))
    finally:
        os.close(spool)
    assert journal is not None
    assert journal.exit is not None
    assert journal.exit["code"] == 3
    # about a third of this is usual; some took four times as much, in which nobody else was heard
    assert max(pieces) < _of_steps(6_000_000)
