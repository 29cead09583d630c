"""The guides are followed as they stand, with the framework itself: their files, their commands, what those print."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.frameworks.environments import environment
from tests.packaging.walkthrough import Block, blocks_of, is_as_shown
from tests.support import eventually

_TREE = Path(__file__).parents[2]
_INSTALLING = re.compile(r"-m venv|pip install")


class Guide:
    """A page whose places are in a directory of the test's."""

    def __init__(self, place: str, directory: Path, python: Path) -> None:
        self._place, self._directory = place, directory
        (directory / "venv").symlink_to(python.parents[1])
        programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environ = {"PATH": programs, "PYTHONPATH": str(_TREE / "client"), "HOME": str(directory)}

    def follow(self, block: Block) -> None:
        match block.language:
            case "console":
                self._run(block)
            case "python" | "toml":
                self._write(block)

    def _here(self, text: str) -> str:
        return text.replace(self._place, str(self._directory))

    def _write(self, block: Block) -> None:
        first, _, text = block.text.partition("\n")
        file = Path(self._here(first.split()[-1]))
        before = file.read_text() if "at the end of" in first else ""
        file.write_text(before + self._here(text))

    def _run(self, block: Block) -> None:
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE):
            if _INSTALLING.search(command):
                continue  # the environment is there
            if command.startswith("export "):
                name, _, value = command.removeprefix("export ").partition("=")
                self.environ[name] = self._here(value)
            elif command.endswith("&"):
                self._start(command)
            elif not command.startswith("cd "):
                self._compare(command, shown)

    def _start(self, command: str) -> None:
        subprocess.Popen(["sh", "-c", self._here(command)], cwd=self._directory, env=self.environ).wait()
        eventually((self._directory / "bgjobd.sock").exists)

    def _compare(self, command: str, shown: str) -> None:
        done = subprocess.run(
            ["sh", "-c", self._here(command)],
            cwd=self._directory,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        message = f"$ {command}\n{done.stdout}{done.stderr}"
        assert is_as_shown(shown, done.stdout), message
        assert done.returncode == 0, message

    def run(self, command: str, **environ: str) -> str:
        """What a command says that the page does not have."""
        arguments = {"cwd": self._directory, "env": {**self.environ, **environ}, "text": True}
        done = subprocess.run(["sh", "-c", command], capture_output=True, check=False, **arguments)  # type: ignore[call-overload]
        return f"{done.stdout}{done.stderr}"


@contextmanager
def guide(directory: Path, place: str, name: str) -> Iterator[Guide]:
    """One that is followed, and whose daemon ends with it."""
    one = Guide(place, directory, environment(name).python)
    try:
        yield one
    finally:
        stats = subprocess.run(
            ["bgjob", "stats", "--json"], env=one.environ, capture_output=True, text=True, check=False
        )
        pids = re.findall(r'"pid": ?(\d+)', stats.stdout)
        if pids:
            os.kill(int(pids[0]), signal.SIGTERM)
            eventually(lambda: not Path(f"/proc/{pids[0]}").exists())


@pytest.mark.timeout(300)  # the first time it installs what it needs
def test_the_guide_to_django_leads_to_a_task_on_the_page(tmp_path: Path) -> None:
    page = (_TREE / "docs" / "django.md").read_text()
    steps = page.partition("## What a task is")[0]
    with guide(tmp_path, "/srv/shop", "django-6.0") as followed:
        for block in blocks_of(steps, "docs/django.md"):
            followed.follow(block)
        assert "bgjob.W001" in followed.run("venv/bin/python manage.py check", BGJOBD_SOCKET="/nowhere")
