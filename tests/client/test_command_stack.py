"""What `bgjob stack` prints of an answer; how one is come by, tests/daemon/test_looking.py asks."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from bgjob.answers import StackRead
from bgjob.client import Client
from bgjob.commands.stack import stack
from bgjob.errors import PermissionDeniedError

BEGAN = "2026-12-04T14:31:00.000000Z"
AT = "2026-12-04T14:41:00.000000Z"
THREADING = "/usr/lib/python3.13/threading.py"


def frame(name: str, file: str, line: int = 7) -> dict[str, Any]:
    return {"file": file, "line": line, "name": name}


def process(**more: Any) -> dict[str, Any]:
    told = {"pid": 4121, "state": "sleeping", "waits_in": "futex_do_wait", "threads": 5, "cpu": 0.42}
    return {**told, "children": [], **more}


MAIN = {
    "name": "MainThread",
    "native_id": 4121,
    "frames": [
        frame("Condition.wait", THREADING, 355),
        frame("Report.build", "/srv/myapp/myapp/reports.py", 41),
        frame("main", "/srv/myapp/myapp/main.py", 1),
    ],
    "same": 1,
}
FETCH = {
    "name": "fetch_0",
    "native_id": 4122,
    "frames": [frame("fetch", "/srv/myapp/myapp/http.py", 12)],
    "same": 4,
}
WHOLE = StackRead(1, AT, "python", process(), [MAIN, FETCH], [], None)


class Told(Client):
    """A client that has been answered."""

    def __init__(self, read: StackRead, may_read: bool = True) -> None:
        self.read, self.may_read = read, may_read
        self.asked: dict[str, Any] = {}

    def stack(self, job_id: int, **options: Any) -> StackRead:  # type: ignore[override]  # which options these are is asked
        self.asked = {"id": job_id, **options}
        return self.read

    def get(self, *_: Any, **__: Any) -> Any:
        if not self.may_read:
            raise PermissionDeniedError(reason="uid 1000 may not read")
        return argparse.Namespace(snapshot={"attempts": [{"number": 1, "started_at": BEGAN}]})


def given(**more: Any) -> argparse.Namespace:
    options = {"id": 12, "json": False, "no_signal": False, "insist": False, "children": False}
    return argparse.Namespace(**options | more)


def printed(read: StackRead, capsys: pytest.CaptureFixture[str], **more: Any) -> list[str]:
    assert stack(Told(read), given(**more)) == 0
    return capsys.readouterr().out.splitlines()


def test_each_thread_has_a_line_with_the_innermost_place_of_the_applications_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert printed(WHOLE, capsys) == [
        "job 12, attempt 1: pid 4121, sleeping in futex_do_wait, 5 threads, 0.4 s of CPU time in 10 min",
        "MainThread     Condition.wait  threading.py:355  <  Report.build  /srv/myapp/myapp/reports.py:41",
        "fetch_0 (× 4)  fetch  /srv/myapp/myapp/http.py:12",
    ]


def test_tasks_stand_behind_the_threads_and_places_of_libraries_alone_are_told_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    task = {"name": "Task-2", "frames": [frame("sleep", THREADING)], "same": 500}
    waiting = WHOLE._replace(tasks=[task, {"name": "Task-3", "frames": [], "same": 1}])
    assert printed(waiting, capsys)[3:] == [
        "task Task-2 (× 500)  sleep  threading.py:7",
        "task Task-3          –",
    ]


def test_who_did_not_answer_is_told_as_the_kernel_sees_it_with_the_note(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen = process(state="stopped", waits_in=None, threads=1, cpu=75.0, children=[5, 6])
    silent = StackRead(1, AT, "no", seen, [], [], "it is stopped (state T)")
    assert printed(silent, capsys) == [
        "job 12, attempt 1: pid 4121, stopped, 1 thread, 1 min 15 s of CPU time in 10 min, children 5, 6",
        "it is stopped (state T)",
    ]


def test_who_may_insist_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    note = "to ask it for more might end the call that it waits in"
    careful = WHOLE._replace(answered="c", note=note)
    assert printed(careful, capsys)[-1] == f"{note}; --insist asks it all the same"


def test_what_a_job_calls_itself_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = {"name": "\x1b[2J", "frames": [frame("\x1b]0;x\x07", "/srv/\n.py")], "same": 1}
    lines = printed(WHOLE._replace(threads=[hostile]), capsys)
    assert lines[1:] == [r"\x1b[2J  \x1b]0;x\x07  /srv/\n.py:7"]


def test_options_are_passed_on_and_json_has_all(capsys: pytest.CaptureFixture[str]) -> None:
    told = Told(WHOLE)
    assert stack(told, given(json=True, no_signal=True, insist=True, children=True)) == 0
    assert told.asked == {"id": 12, "signal": False, "insist": True, "children": True}
    assert '"answered": "python"' in capsys.readouterr().out


def test_who_may_not_read_is_told_all_but_since_when_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert stack(Told(WHOLE, may_read=False), given()) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("5 threads, 0.4 s of CPU time")
