"""Ctrl-C while `bgjob` and `bgjobd` still load: exit code 130, and nothing of Python's."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bgjob import command
from bgjob.commands import arguments
from bgjobd import main

_INTERRUPTED_AT = """
import sys
class Impatient:
    def find_spec(self, name, *more):
        if name == "{module}":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Impatient())
from {program} import main
sys.exit(main(["--version"]))
"""


@pytest.mark.parametrize(
    ("program", "module"),
    [
        ("bgjob.command", "bgjob.client"),
        ("bgjob.command", "bgjob.commands.arguments"),
        ("bgjobd.main", "bgjobd.commands.arguments"),
    ],
)
def test_who_interrupts_imports_sees_no_traceback(program: str, module: str) -> None:
    code = _INTERRUPTED_AT.format(program=program, module=module)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_who_interrupts_what_reads_the_arguments_sees_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(arguments, "parse", interrupt)
    monkeypatch.setattr(main, "parser", interrupt)
    assert command.main(["list"]) == 130
    assert main.main(["status"]) == 130
