"""What is forked in the place of `python -m bgjobd` is as that is when it begins, with the commands imported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon import warm

STATE = """
import atexit, json, os, selectors, signal, subprocess, sys, tempfile, threading  # what warm.py itself needs among them
from bgjobd import main
from bgjobd.commands import backup, check, check_books, prune, serve, settings, status
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


def test_its_code_and_what_it_says_are_those_of_the_command(tmp_path: Path) -> None:
    arguments = ["serve", "--config", str(tmp_path / "nowhere")]
    command = [sys.executable, "-m", "bgjobd", *arguments]
    cold = subprocess.run(command, capture_output=True, text=True, timeout=30)
    forked = warm.run(arguments)
    assert (forked.returncode, forked.stdout, forked.stderr) == (2, cold.stdout, cold.stderr)
