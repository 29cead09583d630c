"""The log's file and console: its lines, one a record, whatever the message; nothing blocks the daemon."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path

import pytest

from bgjob.words import EntryType
from bgjobd.host import log as log_module
from bgjobd.host.log import FILE_NAME, Line, Log, SimilarLines
from tests.support import eventually

AT = 1733322713.0


def _line(message: str, type: EntryType = EntryType.SUCCESS, context: str | None = None) -> Line:
    return Line(AT, type, "myapp.jobs.ExampleJob::run", message, job_id=7, attempt=1, context=context)


def _logged(
    directory: Path, *lines: Line | SimilarLines, console: str = "text", **options: object
) -> tuple[str, str]:
    stream = io.StringIO()
    log = Log(directory, console, stream=stream, **options)  # type: ignore[arg-type]  # options of the case
    log.put(lines)
    log.close()
    return (directory / FILE_NAME).read_text(), stream.getvalue()


def test_file_and_text_console_have_the_originals_line(tmp_path: Path) -> None:
    file, console = _logged(tmp_path, _line("Background job started"))
    assert file == "[2024-12-04 14:31:53] SUCCESS: myapp.jobs.ExampleJob::run - Background job started\n"
    assert console == file


def test_the_json_console_has_one_object_a_line(tmp_path: Path) -> None:
    _, console = _logged(tmp_path, _line("one\ntwo"), _line("three"), console="json")
    first, second = [json.loads(line) for line in console.splitlines()]
    assert (first["event"], first["job"], first["type"], second["event"]) == (
        "one\ntwo",
        7,
        "success",
        "three",
    )


def test_snapshots_print_the_job_as_a_line_of_its_own(tmp_path: Path) -> None:
    file, _ = _logged(tmp_path, _line("Background job initiated", context='{"id":7}'), snapshots=True)
    assert file.splitlines()[1] == '[2024-12-04 14:31:53] SUCCESS: {"id":7}'
    file, _ = _logged(tmp_path, _line("Background job initiated", context='{"id":7}'))
    assert len(file.splitlines()) == 3


CONTEXTS = [(7, '{"id":7,"é":"\\\\n"}'), (8, '{"id":8,"text":"\u202e\x7f"}'), (9, '{"id":9}')]


@pytest.mark.parametrize("console", ["text", "json"])
@pytest.mark.parametrize("options", [{}, {"snapshots": True}, {"for_journald": True}, {"level": "error"}])
@pytest.mark.parametrize("type", list(EntryType))
def test_lines_of_several_jobs_are_those_of_each(
    tmp_path: Path, console: str, options: dict[str, object], type: EntryType
) -> None:
    each = [Line(AT, type, "é.Job::run", "done\n", job_id=job, context=context) for job, context in CONTEXTS]
    together = SimilarLines(each[0]._replace(context=None), 2, 10, lambda: CONTEXTS)
    apart, bulk = tmp_path / "apart", tmp_path / "bulk"
    for directory in (apart, bulk):
        directory.mkdir()
    assert _logged(bulk, together, console=console, **options) == _logged(
        apart, *each[:2], console=console, **options
    )


def test_on_a_console_of_json_the_context_is_an_object(tmp_path: Path) -> None:
    told = _logged(tmp_path, _line("initiated", context='{"id":7,"to":["a\u2028\u202eb"]}'), console="json")
    line = next(line for text in told for line in text.splitlines() if line.startswith("{"))
    assert line.isprintable()
    assert json.loads(line) == {
        "at": "2024-12-04T14:31:53.000000+00:00",
        "type": "success",
        "target": "myapp.jobs.ExampleJob::run",
        "job": 7,
        "attempt": 1,
        "event": "initiated",
        "context": {"id": 7, "to": ["a\u2028\u202eb"]},
    }


def test_of_lines_of_several_jobs_as_many_are_taken_as_there_is_room_for(tmp_path: Path) -> None:
    def each() -> list[tuple[int, str]]:
        return [(number, "{}") for number in range(12_000)]

    first = Line(AT, EntryType.INFO, "a.B::run", "one of many", job_id=0)
    file, _ = _logged(
        tmp_path, SimilarLines(first, 4_000, 8_000, each), SimilarLines(first, 8_000, 16_000, each), first
    )
    *taken, said = file.splitlines()
    assert len(taken) == 10_000 - 8_000 // 1024
    assert f" {12_001 - len(taken)} lines could not be written here in time" in said


@pytest.mark.parametrize(
    "message", ["a\nb", "a\rb", "\x1b[31mred", "\x00", "\x85", "\u202egnp.exe", "\ud800"]
)
def test_a_record_is_one_line_without_control_characters(tmp_path: Path, message: str) -> None:
    file, _ = _logged(tmp_path, _line(message))
    assert file.count("\n") == 1
    assert file.strip("\n").isprintable()


def test_a_console_at_level_error_shows_failures_only_and_the_file_everything(tmp_path: Path) -> None:
    lines = _line("good"), _line("bad", EntryType.FAILURE)
    file, console = _logged(tmp_path, *lines, level="error")
    assert ("good" in file, "bad" in file) == (True, True)
    assert ("good" in console, "bad" in console) == (False, True)


def test_without_a_file_the_console_has_the_line_all_the_same(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    stream = io.StringIO()
    log = Log(tmp_path, "text", stream=stream)
    log.put([_line("seen")])
    eventually(lambda: "seen" in stream.getvalue())
    (tmp_path / FILE_NAME).rmdir()
    log.put([_line("again")])
    log.close()
    assert "again" in (tmp_path / FILE_NAME).read_text()


class StuckConsole(io.StringIO):
    """A console that takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def write(self, text: str) -> int:
        self.let_go.wait(20)
        return super().write(text)


def test_a_console_that_nobody_reads_costs_lines_there_which_are_said_later_and_the_file_has_all(
    tmp_path: Path,
) -> None:
    console = StuckConsole()
    log = Log(tmp_path, "text", stream=console)
    for _ in range(12):
        log.put([_line("many")] * 1000)
        eventually(lambda: log._to_file._taken == log._to_file._written)
    eventually(lambda: (tmp_path / FILE_NAME).read_text().count(" - many") == 12_000)
    console.let_go.set()
    log.close()
    told = console.getvalue()
    assert told.count(" - many") == 10_000
    assert "2000 lines were dropped here, as stderr was not read" in told


def test_long_lines_that_wait_take_no_more_memory_than_short_ones(tmp_path: Path) -> None:
    console = StuckConsole()
    log = Log(tmp_path, "text", stream=console)
    log.put([_line("x" * 65536)] * 1000)
    console.let_go.set()
    log.close()
    assert console.getvalue().count("x" * 65536) == 154  # of 65 KiB each, 10,000 in all


class StuckFile(io.StringIO):
    """A file on a disk that takes nothing until it is let go."""

    let_go = threading.Event()

    def flush(self) -> None:
        self.let_go.wait(20)


def test_a_file_whose_disk_hangs_keeps_no_line_from_the_console(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = StuckFile()
    monkeypatch.setattr(log_module._File, "_opened", lambda _: file)
    monkeypatch.setattr(log_module._File, "flush", lambda _: file.flush())
    console = io.StringIO()
    log = Log(tmp_path, "text", stream=console)
    for word in ("first", "second"):
        log.put([_line(word)])
        eventually(lambda word=word: word in console.getvalue())
    StuckFile.let_go.set()
    log.close()


def test_a_file_that_cannot_be_written_is_told_once_on_the_console(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    console = io.StringIO()
    log = Log(tmp_path, "text", stream=console)
    for number in range(5):
        log.put([_line(f"line {number}")])
        eventually(lambda number=number: f"line {number}" in console.getvalue())
    eventually(lambda: "the log's file cannot be written" in console.getvalue())
    log.close()
    assert console.getvalue().count("the log's file cannot be written") == 1
