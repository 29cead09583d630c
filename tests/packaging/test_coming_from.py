"""The guide for those who come from others: its own programs are run, here and without a daemon, its tables are loaded.

Others' programs, which stand beside them, are not run; NOT_RUN says of each why.
"""

from __future__ import annotations

import inspect
import json
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from bgjob import Client, testing
from bgjobd import main
from bgjobd.api import schemas
from bgjobd.commands.schedules import plan
from bgjobd.config import loading
from bgjobd.config.sections import Config
from tests.packaging.test_readme import PARSERS, commands_of, options_of
from tests.packaging.walkthrough import APPLICATION, Block, blocks_of, is_as_shown

PAGE = Path(__file__).resolve().parents[2] / "docs" / "coming-from.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = blocks_of(TEXT, PAGE.name)

# First line of a block that no test runs → why.
NOT_RUN = {
    "# Celery: tasks.py": "takes Celery and a broker",
    "# RQ: words.py and its caller": "takes RQ and Redis",
    "# Huey: tasks.py": "takes Huey and its consumer",
    "# Sidekiq: invoice_job.rb": "takes Ruby, Sidekiq and Redis",
    "# Ruby: bgjob.rb": "takes Ruby and a daemon; what it sends is the JSON below it, which is submitted",
    "# cron: /etc/crontab, on the clocks of Berlin": "takes cron, or systemd",
}

BEFORE = """
[daemon]
socket = "bgjobd.sock"
state_dir = "state"
runtime_dir = "run"

[app]
path = ["."]

[approved]
"""
"""The configuration that the page adds to."""


class Guide:
    """The page's files in a directory that stands for the application's, and its commands."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "bgjobd.toml"
        self.config.write_text(BEFORE)
        (directory / "myapp").mkdir()
        for block in BLOCKS:
            self._write(block)

    def _write(self, block: Block) -> None:
        text = self.here(block.text)
        if block.first_line.startswith(f"# {APPLICATION}/") and block.language == "python":
            Path(self.here(block.first_line).removeprefix("# ")).write_text(text)
        elif block.first_line == f"# {APPLICATION}/bgjobd.toml, in [approved]":
            self.config.write_text(self.config.read_text().replace("[approved]\n", f"[approved]\n{text}", 1))
        elif block.first_line == f"# at the end of {APPLICATION}/bgjobd.toml":
            self.config.write_text(self.config.read_text() + text)

    def here(self, text: str) -> str:
        return text.replace(APPLICATION, str(self.directory))

    def run(self, command: str) -> str:
        """What a command prints: ours in this process, with jobs inline, another in a shell."""
        before, _, ours = self.here(command).rpartition("; ")
        if not ours.startswith(("python3 ", "bgjobd ")):
            before, ours = self.here(command), ""
        printed = subprocess.run(
            ["sh", "-c", before], cwd=self.directory, capture_output=True, check=True, text=True
        )
        with redirect_stdout(StringIO()) as told, testing.inline():
            match ours.split():
                case ["python3", program]:
                    runpy.run_path(str(self.directory / program))
                case ["bgjobd", *words]:
                    main.main(words)
        return (printed.stdout + told.getvalue()).replace(str(self.directory), APPLICATION)

    def load(self) -> Config:
        return loading.load(self.config, {}, is_root=False)


@pytest.fixture
def guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guide]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield Guide(tmp_path)
    for name in [name for name in sys.modules if name == "myapp" or name.startswith("myapp.")]:
        del sys.modules[name]


def test_every_session_prints_what_the_page_shows(guide: Guide) -> None:
    sessions = [block for block in BLOCKS if block.language == "console"]
    assert len(sessions) == 5
    for block in sessions:
        for command, shown in block.exchanges:
            got = guide.run(command)
            assert is_as_shown(shown, got), f"{block.place}: $ {command}\n{got}"


def test_every_program_of_the_page_is_run_by_a_session() -> None:
    programs = {
        Path(block.first_line).name
        for block in BLOCKS
        if re.match(rf"# {APPLICATION}/\w+\.py$", block.first_line)
    }
    shown = "\n".join(block.text for block in BLOCKS if block.language == "console")
    assert programs == set(re.findall(r"python3 (\w+\.py)", shown))


def test_what_is_approved_and_what_schedules_submit_is_there(guide: Guide) -> None:
    config = guide.load()
    assert len(config.approved) == 5
    for planned in plan(config, 0.0, 3):
        assert len(planned.next) == 3
    assert len(config.schedules) == 3
    for schedule in config.schedules.values():
        class_name, _, method_name = schedule.job.partition("::")
        assert method_name in (config.approved[class_name].methods or [method_name])
        inspect.signature(method_of(class_name, method_name)).bind(**schedule.parameters)


def method_of(class_name: str, method_name: str) -> Any:
    """What a caller calls, without the object."""
    module, _, name = class_name.rpartition(".")
    cls = getattr(import_module(module), name, None)
    return getattr(import_module(class_name), method_name) if cls is None else getattr(cls(), method_name)


def test_what_ruby_sends_is_a_job(guide: Guide) -> None:
    (sent,) = (json.loads(block.text) for block in BLOCKS if block.language == "json")
    assert sent["method"] == "org.bgjobd.Jobs.Submit"
    schemas.Submit.model_validate(sent["parameters"])
    named = {name: sent["parameters"][name] for name in ("class_name", "method_name", "parameters")}
    with testing.inline(approved=guide.load().approved), Client() as client:
        job = client.run_background_job(**named, **sent["parameters"]["options"])
        assert job.result(timeout=1) == "invoice-17.txt"
    assert (guide.directory / "invoice-17.txt").read_text() == "Invoice 17\n" * 2


def test_every_block_is_run_or_said_not_to_be() -> None:
    ours = re.compile(rf"# (at the end of )?{APPLICATION}/|\$ |\{{")
    others = [block.first_line for block in BLOCKS if not ours.match(block.first_line)]
    assert sorted(others) == sorted(NOT_RUN)


def test_every_command_that_is_named_exists() -> None:
    named = re.findall(r"`(bgjobd?) ([a-z]+)([^`]*)`", TEXT)
    assert len(named) > 15
    for program, command, rest in named:
        known = commands_of(PARSERS[program])
        assert command in known, f"{program} {command}"
        assert options_of(known[command]) >= set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", rest))
