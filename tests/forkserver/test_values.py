"""Values that real attempts emit: what their journals say of them, and how much of it there may be."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from bgjob import words
from bgjobd.forkserver import journal as journals
from bgjobd.forkserver import journal_file, journal_lines, spool_names
from bgjobd.forkserver.recorder import ValueRecorder
from tests.forkserver.driven import DrivenServer, Told, fork_server, order

MODULE = """
import os
import bgjob


class Job:
    def __init__(self, context: bgjob.JobContext):
        self.context = context

    def tell(self, count):
        kept = [self.context.emit({"n": n}) for n in range(count)]
        self.context.step("one", self.context.emit, "within")
        return kept.count(True)

    def tell_much(self):
        large = [self.context.emit("x" * (64 * 1024 - 2)) for _ in range(17)]
        return [self.context.emit("x" * (64 * 1024 - 1)), large.count(True), self.context.emit("")]

    def close_all(self):
        os.closerange(3, 1000)
        print("kept:", self.context.emit(1))

    def fail(self):
        raise ValueError("no recipient")

    def failed(self, error):
        try:
            self.context.emit("too late")
        except bgjob.StepError:
            print("there are none here")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DrivenServer]:
    directory = tmp_path_factory.mktemp("telling")
    (directory / "telling.py").write_text(MODULE)
    with fork_server(directory, approved={"telling.Job": None}) as server:
        yield server


_jobs = iter(range(1, 1000))


def run(server: DrivenServer, method: str, **more: Any) -> Told:
    """The journal of an attempt."""
    job = next(_jobs)
    server.send({**order(job, method), "class_name": "telling.Job", "seed": "db 1 0", **more})
    assert server.receive()["type"] == "ended"
    journal = server.journal(job)
    assert journal is not None
    return journal


def values(journal: Told) -> list[tuple[int, str | None, str]]:
    return [(note["place"], note["step"], note["value"]) for note in journal.notes if note["type"] == "value"]


def left_out(journal: Told) -> list[str]:
    return [note["message"] for note in journal.notes if note["type"] == "log"]


def result(journal: Told) -> Any:
    assert journal.outcome is not None
    return journal.outcome["result"]


def test_values_are_on_record_in_their_order_with_step_and_place(server: DrivenServer) -> None:
    journal = run(server, "tell", parameters='{"count":2}')
    assert result(journal) == 2
    assert values(journal) == [(1, None, '{"n":0}'), (2, None, '{"n":1}'), (0, "one", '"within"')]
    assert left_out(journal) == []


def test_what_an_earlier_attempt_has_told_is_not_on_record_again(server: DrivenServer) -> None:
    carry = server.spool / f"{next(_jobs) + 1}.1.carry"
    carry.write_text('{"steps":[["one","null",false]],"waits":[],"emitted":2}')
    journal = run(server, "tell", parameters='{"count":3}', carries=True)
    assert (result(journal), values(journal)) == (3, [(3, None, '{"n":2}')])


def test_a_carry_file_of_a_daemon_before_tells_of_no_values(server: DrivenServer) -> None:
    carry = server.spool / f"{next(_jobs) + 1}.1.carry"
    carry.write_text('{"steps":[["one","null",false]],"waits":[]}')
    journal = run(server, "tell", parameters='{"count":1}', carries=True)
    assert values(journal) == [(1, None, '{"n":0}')]


def test_what_is_too_much_is_not_kept_and_the_log_says_once_how_much(server: DrivenServer) -> None:
    journal = run(server, "tell_much")
    assert result(journal) == [False, 16, False]
    assert len(values(journal)) == 16
    (told,) = left_out(journal)
    assert told == "3 values that it emitted were not kept: too many, too large, or no room for them"


def test_a_job_that_has_closed_its_journal_tells_nothing(server: DrivenServer) -> None:
    assert values(run(server, "close_all")) == []
    assert "kept: False\n" in [path.read_text() for path in server.output.iterdir()]


def test_the_failed_hook_tells_nothing(server: DrivenServer) -> None:
    error = {"outcome": "failed", "error_type": "ValueError", "message": "", "traceback": ""}
    asked = {
        **order(next(_jobs), "fail"),
        "class_name": "telling.Job",
        "error": error,
        "kind": spool_names.HOOK,
    }
    server.send(asked)
    assert server.receive()["type"] == "ended"
    outputs = [path.read_text() for path in server.output.iterdir()]
    assert "there are none here\n" in outputs


# The recorder, without a process


def recorder() -> tuple[ValueRecorder, list[bytes]]:
    lines: list[bytes] = []
    return ValueRecorder(lambda line, left: lines.append(line)), lines


def test_an_attempt_has_ten_thousand_values() -> None:
    values, lines = recorder()
    kept = [values.record("1", "step", 0) for _ in range(journal_lines.MAX_VALUES + 2)]
    assert kept == [True] * journal_lines.MAX_VALUES + [False, False]
    assert (len(lines), values.left_out) == (journal_lines.MAX_VALUES, 2)


def test_a_value_that_finds_no_room_is_no_end_of_those_that_do() -> None:
    room = iter([errno.ENOSPC, None, errno.EDQUOT])

    def append(line: bytes, left: int) -> None:
        assert left == journal_file.RESERVE
        trouble = next(room)
        if trouble is not None:
            raise OSError(trouble, os.strerror(trouble))

    values = ValueRecorder(append)
    assert [values.record("1", None, place) for place in (1, 2, 3)] == [False, True, False]
    assert values.left_out == 2


@pytest.mark.parametrize(("name", "value"), [("\x01" * 255, "1"), ("s", json.dumps('"' * 32_000))])
def test_however_long_names_are_records_leave_room_for_those_of_steps(name: str, value: str) -> None:
    values, lines = recorder()
    while values.record(value, name, 0):
        pass
    assert sum(map(len, lines)) <= journals._MAX_PART // 2
    record = journals._try_record(lines[0].rstrip())
    assert record is not None
    assert (record["step"], record["value"]) == (name, value)


def test_the_bounds_are_those_that_clients_know() -> None:
    told = words.MOST_VALUES, words.MOST_BYTES_OF_A_VALUE, words.MOST_BYTES_OF_VALUES
    assert told == (journal_lines.MAX_VALUES, journal_lines.MAX_VALUE, journal_lines.MAX_VALUED)
