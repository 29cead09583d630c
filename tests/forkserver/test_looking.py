"""A process of a real fork server that is asked where it is: what it writes, and that nothing else becomes of it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bgjobd.forkserver import journal as journals
from bgjobd.forkserver import journal_file, journal_lines
from bgjobd.forkserver.looking import ASK, INSIST, Answers
from bgjobd.supervisor.stacks import try_printed, try_stacks
from tests.forkserver.driven import DrivenServer, fork_server
from tests.support import eventually

ASKED = """
import asyncio, contextlib, os, signal, sys, threading, time
import bgjob


class Asked:
    def wait_for(self, path):
        while not os.path.exists(path):
            time.sleep(0.005)
        return "waited"

    def tell(self, path, context: bgjob.JobContext):
        for number in range(10**9):
            if number % 20 == 0:
                context.logger.info("still here")
            time.sleep(0.005)
            if os.path.exists(path):
                break
        context.logger.info("told last")

    def spin(self, path):
        sys.setswitchinterval(0.0005)

        def busy():
            while not os.path.exists(path):
                sum(number * number for number in range(1000))

        threads = [threading.Thread(target=busy) for _ in range(3)]
        for thread in threads:
            thread.start()
        busy()
        for thread in threads:
            thread.join()
        return "spun"

    def compute(self, path):
        while not os.path.exists(path):
            sum(range(2_000_000))
        return "computed"

    async def many(self, path):
        async def waiting(left):
            if left:
                return await waiting(left - 1)
            await asyncio.sleep(600)

        self.tasks = [asyncio.create_task(waiting(number % 90), name="x" * 500) for number in range(3000)]
        await asyncio.sleep(0)
        open(path + ".ready", "w").close()
        while not os.path.exists(path):
            await asyncio.sleep(0.005)

    def full_pipe(self, path):
        for _ in range(100):
            os.kill(os.getpid(), signal.SIGWINCH)
        read, write = os.pipe()
        os.set_blocking(write, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(write, b"x" * 4096)
        os.set_blocking(write, True)
        os.dup2(write, 2)
        open(path + ".ready", "w").close()
        return self.wait_for(path)

    def replace_journal(self, path, file):
        for name in os.listdir("/proc/self/fd"):
            try:
                if "/spool/" in os.readlink(f"/proc/self/fd/{name}"):
                    os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), int(name))
            except FileNotFoundError:
                pass
        return self.wait_for(path)

    def handler(self):
        return signal.getsignal(signal.SIGWINCH).__name__

    def exec_in_between(self, numbers):
        pid = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "0.2")
        while open(f"/proc/{pid}/comm").read() != "sleep\\n":
            time.sleep(0.001)
        for number in numbers:
            os.kill(pid, number)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


@contextmanager
def served(directory: Path, python: str = sys.executable) -> Iterator[DrivenServer]:
    (directory / "asked.py").write_text(ASKED)
    approved: dict[str, Any] = {"asked.Asked": None}
    with fork_server(directory, python=python, approved=approved) as server:
        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DrivenServer]:
    with served(tmp_path) as server:
        yield server


def begun(server: DrivenServer, method: str, **parameters: Any) -> int:
    """The pid of an attempt that has begun, once it answers."""
    message = {**_order(method, parameters)}
    server.send(message)
    pid = int(_started(server)["pid"])
    eventually(lambda: stacks(server) or os.kill(pid, ASK))
    return pid


def _order(method: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "start", "job": 1, "number": 1, "token": "aa", "class_name": "asked.Asked", "method_name": method,
        "parameters": json.dumps(parameters), "sensitive": [], "timeout": None, "error": None, "key": None,
        "occurrence": None,
    }  # fmt: skip


def _started(server: DrivenServer) -> journal_lines.Record:
    started = server.wait_for_start(1).started
    assert started is not None
    return started


def stacks(server: DrivenServer) -> list[journal_lines.Record]:
    directory = os.open(server.spool, os.O_RDONLY)
    try:
        found, offset = [], 0
        text = (server.spool / "1.1.journal").read_bytes()
        while (offset := text.find(b'{"v":1,"type":"stack"', offset)) >= 0:
            found += journals.read_stacks(directory, "1.1.journal", offset)[:1]
            offset += 1
        return found
    finally:
        os.close(directory)


def let_go(server: DrivenServer, path: Path) -> journal_lines.Record:
    """The outcome, once it was let go."""
    path.touch()
    assert server.receive()["type"] == "ended"
    journal = server.journal(1)
    assert journal is not None
    assert journal.outcome is not None
    return journal.outcome


def test_the_fork_server_tells_which_signals_its_attempts_hear(server: DrivenServer) -> None:
    assert server.ready["listens"] == ["SIGWINCH", "SIGURG"]


def test_a_handler_of_the_application_stays(tmp_path: Path) -> None:
    own = "def resized(number, frame):\n    pass\n\nsignal.signal(signal.SIGWINCH, resized)\n"
    (tmp_path / "asked.py").write_text(f"{ASKED}\n{own}")
    with fork_server(tmp_path, approved={"asked.Asked": None}) as server:
        assert server.ready["listens"] == ["SIGURG"]
        server.send(_order("handler", {}))
        assert server.receive()["type"] == "ended"
        journal = server.journal(1)
        assert journal is not None
        assert journal.outcome is not None
        assert journal.outcome["result"] == "resized"


def test_a_handler_that_readline_has_set_for_its_terminal_gives_way(tmp_path: Path) -> None:
    pytest.importorskip("readline")
    (tmp_path / "asked.py").write_text(f"{ASKED}\nimport readline\n")
    with fork_server(tmp_path, approved={"asked.Asked": None}) as server:
        assert server.ready["listens"] == ["SIGWINCH", "SIGURG"]
        begun(server, "wait_for", path=str(tmp_path / "go"))
        assert let_go(server, tmp_path / "go")["result"] == "waited"


def test_fork_server_and_spares_live_through_being_asked(server: DrivenServer, tmp_path: Path) -> None:
    for pid in (server.process.pid, *children_of(server.process.pid)):
        for number in (ASK, INSIST):
            os.kill(pid, number)
    begun(server, "wait_for", path=str(tmp_path / "go"))
    assert let_go(server, tmp_path / "go")["result"] == "waited"


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_of_a_flood_of_asking_so_much_is_kept_and_notes_are_read_all_the_same(
    server: DrivenServer, tmp_path: Path
) -> None:
    pid = begun(server, "tell", path=str(tmp_path / "go"))
    for _ in range(10 * journal_lines.MAX_STACKS):
        os.kill(pid, ASK)
        eventually(lambda: is_quiet(pid))
    let_go(server, tmp_path / "go")
    assert len(stacks(server)) == journal_lines.MAX_STACKS
    assert printed_by(server.output / "1.1.out")[-1].endswith("tell")
    journal = server.journal(1)
    assert journal is not None
    assert journal.notes[-1]["message"] == "told last"
    assert {note["type"] for note in journal.notes} == {"log"}


def test_who_has_a_full_pipe_for_its_stderr_is_not_held_up(server: DrivenServer, tmp_path: Path) -> None:
    server.send(_order("full_pipe", {"path": str(tmp_path / "go")}))
    pid = int(_started(server)["pid"])
    eventually((tmp_path / "go.ready").exists)
    os.kill(pid, ASK)
    eventually(lambda: is_quiet(pid))
    assert let_go(server, tmp_path / "go")["result"] == "waited"


def test_an_answer_has_its_bounds_however_many_tasks_there_are(server: DrivenServer, tmp_path: Path) -> None:
    pid = begun(server, "many", path=str(tmp_path / "go"))
    eventually((tmp_path / "go.ready").exists)
    size, count = os.stat(server.spool / "1.1.journal").st_size, len(stacks(server))
    os.kill(pid, ASK)
    eventually(lambda: len(stacks(server)) > count)
    assert os.stat(server.spool / "1.1.journal").st_size - size <= journal_lines.MAX_STACK + 1024
    told = try_stacks(stacks(server)[-1])
    assert told is not None
    assert sum(task["same"] for task in told.tasks) == 3001
    assert all(len(task["name"]) <= 200 for task in told.tasks)
    let_go(server, tmp_path / "go")


def test_what_took_the_number_of_a_closed_journal_is_left_alone(server: DrivenServer, tmp_path: Path) -> None:
    file = tmp_path / "taken"
    server.send(_order("replace_journal", {"path": str(tmp_path / "go"), "file": str(file)}))
    pid = int(_started(server)["pid"])
    eventually(file.exists)
    for _ in range(10):
        os.kill(pid, ASK)
    (tmp_path / "go").touch()
    assert server.receive()["type"] == "ended"
    assert file.read_bytes() == b""


def test_what_another_handler_raises_in_between_is_the_jobs_and_what_asking_raises_is_nobodys(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def interrupted(line: bytes) -> bool:
        raise TimeoutError("of a handler of the job's")

    answers = Answers()
    answers.append = interrupted
    with pytest.raises(TimeoutError):
        answers.on_ask(ASK, None)
    answers.append = partial(journal_file.append, -1)  # type: ignore[assignment]  # as where there is no room
    answers.on_ask(ASK, None)
    printed = try_printed(capfd.readouterr().err)
    assert printed is not None
    assert printed.frames


def test_a_program_that_a_job_runs_lives_through_both_signals(server: DrivenServer, tmp_path: Path) -> None:
    server.send(_order("exec_in_between", {"numbers": [ASK, INSIST]}))
    assert server.receive()["type"] == "ended"
    journal = server.journal(1)
    assert journal is not None
    assert journal.outcome is not None
    assert journal.outcome["result"] == 0


@pytest.mark.parametrize("looks", [300, pytest.param(10_000, marks=pytest.mark.long)])
def test_busy_threads_are_looked_at_again_and_again_and_nobody_dies(
    server: DrivenServer, tmp_path: Path, looks: int
) -> None:
    """As they died of it where C read them while they ran; past what the journal takes as well."""
    pid = begun(server, "spin", path=str(tmp_path / "go"))
    journal, output = server.spool / "1.1.journal", server.output / "1.1.out"
    for _ in range(looks):
        size = journal.stat().st_size + output.stat().st_size
        os.kill(pid, ASK)
        eventually(lambda size=size: journal.stat().st_size + output.stat().st_size > size)  # type: ignore[misc]
    assert let_go(server, tmp_path / "go")["result"] == "spun"
    assert len(stacks(server)) == journal_lines.MAX_STACKS
    assert printed_by(output).count("busy") >= 1


@pytest.mark.parametrize("looks", [300, pytest.param(10_000, marks=pytest.mark.long)])
def test_who_computes_in_c_is_looked_at_again_and_again_and_does_not_die(
    server: DrivenServer, tmp_path: Path, looks: int
) -> None:
    pid = begun(server, "compute", path=str(tmp_path / "go"))
    for _ in range(looks):
        os.kill(pid, INSIST)
        eventually(lambda: is_quiet(pid))
    assert let_go(server, tmp_path / "go")["result"] == "computed"
    assert printed_by(server.output / "1.1.out")[0].endswith("compute")


def printed_by(output: Path) -> list[str]:
    """The names of the frames of the last stack that was printed."""
    printed = try_printed(output.read_text())
    assert printed is not None
    return [str(frame["name"]) for frame in printed.frames]


def is_quiet(pid: int) -> bool:
    """Whether it has taken what it was sent."""
    fields = dict(
        line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    return int(fields["ShdPnd"], 16) == 0


# What jobs write by themselves

_WHOLE = {
    "threads": [{"name": "MainThread", "native_id": 5, "frames": [["a.py", 1, "run"]], "same": 1}],
    "tasks": [],
}


def record(told: Any) -> journal_lines.Record:
    return {
        "v": 1,
        "type": "stack",
        "pid": 5,
        "at": 1.0,
        "stack": told if isinstance(told, str) else json.dumps(told),
    }


def test_a_record_is_told_as_the_interface_has_it() -> None:
    told = try_stacks(record(_WHOLE))
    assert told is not None
    frame = {"file": "a.py", "line": 1, "name": "run"}
    assert told.threads == [{"name": "MainThread", "native_id": 5, "frames": [frame], "same": 1}]


@pytest.mark.parametrize(
    "told",
    [
        "", "[", "null", "{}", "[]", "[" * 100_000, '"x"', {"threads": []}, {"threads": [], "tasks": []},
        {"threads": {}, "tasks": []}, {"threads": [1], "tasks": []}, {"threads": [{}], "tasks": []},
        {**_WHOLE, "tasks": None}, {**_WHOLE, "tasks": [{"name": 1, "frames": [], "same": 1}]},
        {**_WHOLE, "tasks": [{"name": "x", "frames": [["a.py", 1]], "same": 1}]},
        {**_WHOLE, "tasks": [{"name": "x", "frames": [["a.py", True, "x"]], "same": 1}]},
        {**_WHOLE, "tasks": [{"name": "x", "frames": [["a.py", 1e400, "x"]], "same": 1}]},
        {**_WHOLE, "tasks": [{"name": "x", "frames": [], "same": -1}]},
        {**_WHOLE, "tasks": [{"name": "x", "frames": [], "same": 2**80}]},
        " " * journal_lines.MAX_STACK + json.dumps(_WHOLE),
    ],
)  # fmt: skip
def test_what_no_process_of_ours_has_written_is_no_answer(told: Any) -> None:
    assert try_stacks(record(told)) is None


def test_a_text_that_utf_8_cannot_hold_is_told_without_that() -> None:
    told = try_stacks(record(json.dumps(_WHOLE).replace("MainThread", "\\ud800")))
    assert told is not None
    assert told.threads[0]["name"] == "?"


def test_what_is_printed_is_read_whatever_stands_between_its_lines() -> None:
    text = (
        "Stack (most recent call first):\n"
        '  File "old.py", line 1 in old\n'
        "half a line of the job's Stack (most recent call first):\n"
        '  File "/srv/a \\u20ac\\xe4.py", line 41 in build\n'
        "printed by the job\n"
        '  File "/srv/a.py", line ??? in <lambda>\n'
        '  File "/srv/cut'
    )
    printed = try_printed(text)
    assert printed is not None
    assert [(one["file"], one["line"], one["name"]) for one in printed.frames] == [
        ("/srv/a €ä.py", 41, "build"),
        ("/srv/a.py", 0, "<lambda>"),
    ]
    assert not printed.is_whole
    assert try_printed("nothing of the kind\n") is None


@pytest.mark.parametrize(
    "line",
    [
        '  File "' * 2**18,
        '", line 1' * 2**18,
        "Thread 0x1" * 2**18,
        f'  File "a.py", line {"1" * 2**20} in x',
    ],
)
def test_what_only_looks_like_it_is_read_past_however_long_it_is(line: str) -> None:
    """A line that took time by the square of its length took longer than a test may."""
    printed = try_printed(f'Stack (most recent call first):\n{line}\n  File "a.py", line 1 in last\n')
    assert printed is not None
    assert [one["name"] for one in printed.frames] == ["last"]
