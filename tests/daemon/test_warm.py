"""What is forked in the place of a program is as that is when it begins, with the commands imported, and ends as it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from bgjobd.store import database
from tests.daemon import warm

STATE = """
import atexit, json, os, selectors, signal, subprocess, sys, tempfile, threading  # what warm.py itself needs among them
from bgjob import command
from bgjob.commands import follow, look, manage, screen, submit, tables, waiting_board
from bgjobd import main
from bgjobd.commands import backup, check, check_books, prune, serve, settings, status
from bgjobd.store.engines import postgres
import array  # by which descriptors are handed over
print(json.dumps({
    "modules": sorted({*sys.modules} - {"__main__"}),
    "handlers": [str(signal.getsignal(number)) for number in range(1, signal.NSIG)],
    "descriptors": len(os.listdir("/proc/self/fd")),
    "threads": threading.active_count(),
    "path": [place for place in sys.path[1:]],
    "directory": os.getcwd(),
    "umask": os.umask(0),
    "environ": dict(os.environ),
}))
os._exit(sys.stdout.flush() or 7)
"""


def test_it_has_nothing_that_the_other_has_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIVEN", "é")
    monkeypatch.chdir(tmp_path)
    told = tmp_path / "told"
    with told.open("wb") as file:
        assert warm.Process([], os.environ, STATE, stdout=file.fileno()).wait(20) == 7
    command = [sys.executable, "-c", STATE]
    cold = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=30)
    assert json.loads(told.read_text()) == json.loads(cold.stdout)


def test_a_database_that_it_makes_is_as_the_steps_of_the_schema_make_it_and_has_an_id_of_its_own(
    tmp_path: Path,
) -> None:
    directories = [tmp_path / name for name in ("stepped", "one", "other")]
    for directory in directories:
        directory.mkdir()
    database.prepare(directories[0])
    for copied in directories[1:]:
        made = f"from pathlib import Path; from bgjobd.store import database; database.prepare(Path({str(copied)!r}))"
        assert warm.Process([], changes=f"{made}; import os; os._exit(7)").wait(20) == 7
    kept, ids = [], set()
    for directory in directories:
        with closing(sqlite3.connect(directory / database.FILE_NAME)) as file:
            modes = [file.execute(f"PRAGMA {name}").fetchone() for name in ("user_version", "journal_mode")]
            kept.append((modes, file.execute("SELECT * FROM sqlite_schema ORDER BY name").fetchall()))
            ids |= {*file.execute("SELECT * FROM properties").fetchall()}
    assert kept[1:] == kept[:1] * 2
    assert [name for name, _ in ids] == ["database_id"] * 3


def test_what_it_opens_stays_open() -> None:
    others = [warm.Process(["--version"], changes="import time; time.sleep(60)") for _ in range(2)]
    look = """
import gc, os
opened = [os.open("/", os.O_RDONLY) for _ in range(20)]
gc.collect()
os._exit(sum(os.readlink(f"/proc/self/fd/{number}") == "/" for number in opened))
"""
    assert warm.Process([], changes=look).wait(20) == 20
    for other in others:
        other.kill()
        other.wait(20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_its_end_is_told_as_that_of_a_child(number: int) -> None:
    process = warm.Process(["--version"], changes="import time; time.sleep(60)")
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(number)
    assert process.wait(20) == process.poll() == -number
    process.kill()


@pytest.mark.parametrize(
    ("program", "arguments", "code"),
    [
        ("bgjobd", ["serve", "--config", "/nowhere/bgjobd.toml"], 2),
        ("bgjob", ["--socket", "/nowhere/s.sock", "list"], 69),
        ("bgjob", ["no such command"], 2),
    ],
)
def test_its_code_and_what_it_says_are_those_of_the_command(
    program: str, arguments: list[str], code: int
) -> None:
    command = [sys.executable, "-m", program, *arguments]
    cold = subprocess.run(command, capture_output=True, text=True, timeout=30)
    forked = warm.run(arguments, program=program)
    assert (cold.returncode, cold.stdout, cold.stderr) == (code, forked.stdout, forked.stderr)
    assert forked.returncode == code


def test_a_shell_that_calls_it_by_name_sees_what_the_command_says_and_its_code(tmp_path: Path) -> None:
    (tmp_path / "script").write_text(
        "cd /\necho '@daily true' | bgjobd schedules --from-crontab /dev/stdin\necho $?\n"
        "BGJOBD_SOCKET=/nowhere/s.sock bgjob list\necho $?\nbgjobd serve --config x\necho $?\n"
    )
    with warm.programs(tmp_path / "bin", os.environ) as beside:
        told = []
        for programs in (beside, Path(sys.executable).parent):
            environ = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}
            done = subprocess.run(
                ["sh", tmp_path / "script"], env=environ, capture_output=True, text=True, timeout=30
            )
            told.append((done.stdout, done.stderr))
    assert told[0] == told[1]
    assert [line for line in told[0][0].splitlines() if line.isdecimal()] == ["0", "69", "2"]


def test_it_ends_as_an_interpreter_does(tmp_path: Path) -> None:
    """Its threads first, then what was to be called, and all that was written is there."""
    last = """
import atexit, sys, threading
begun = threading.Event()
atexit.register(sys.stdout.write, "called")
threading.Thread(target=lambda: (begun.wait(0.2), sys.stdout.write("thread "))).start()
"""
    with (tmp_path / "told").open("w+") as file:
        assert warm.Process(["--version"], changes=last, stdout=file.fileno()).wait(20) == 0
        file.seek(0)
        assert file.read().endswith("thread called")
