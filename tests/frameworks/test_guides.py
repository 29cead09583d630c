"""The guides are followed as they stand, with the framework itself: their files, their commands, what those print."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.daemon import warm
from tests.frameworks.environments import environment
from tests.packaging.walkthrough import Block, blocks_of, is_as_shown
from tests.support import eventually, needed

_TREE = Path(__file__).parents[2]
_INSTALLING = re.compile(r"sudo |-m venv|pip install ")


class Guide:
    """A page whose places are in a directory of the test's, and whose web server has a port of its own."""

    def __init__(self, place: str, directory: Path, python: Path, programs: Path) -> None:
        self._place, self.directory = place, directory
        self._started: list[subprocess.Popen[bytes]] = []
        (directory / "venv").symlink_to(python.parents[1])
        with socket.create_server(("localhost", 0)) as free, socket.create_server(("127.0.0.1", 0)) as other:
            self._port, self._port_of_page = (str(one.getsockname()[1]) for one in (free, other))
        self.environ = {
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(_TREE / "client"),
            "HOME": str(directory),
            "FLASK_RUN_PORT": self._port,
            "UVICORN_PORT": self._port,
        }

    def follow(self, block: Block) -> None:
        match block.language:
            case "console":
                self._run(block)
            case "python" | "toml":
                self._write(block)

    def _here(self, text: str) -> str:
        text = text.replace(self._place, str(self.directory))
        text = text.replace("127.0.0.1:8378", f"127.0.0.1:{self._port_of_page}")
        return re.sub(r"\blocalhost:\d+", f"localhost:{self._port}", text)

    def _write(self, block: Block) -> None:
        first, _, text = block.text.partition("\n")
        file = Path(self._here(first.split()[-1]))
        file.parent.mkdir(exist_ok=True)
        before = file.read_text() if "at the end of" in first else ""
        file.write_text(before + self._here(text))

    def _run(self, block: Block) -> None:
        for command, shown in block.exchanges:
            if _INSTALLING.search(command):
                continue  # the environment is there
            if command.startswith("export "):
                name, _, value = command.removeprefix("export ").partition("=")
                self.environ[name] = self._here(value)
            elif command.endswith(" &"):
                self._start(command.removesuffix(" &"))
            elif not command.startswith("cd "):
                self._compare(command, shown)

    def _start(self, command: str) -> None:
        place = {"cwd": self.directory, "env": self.environ}
        self._started.append(subprocess.Popen(["sh", "-c", f"exec {self._here(command)}"], **place))  # type: ignore[call-overload]
        is_daemon = command.startswith("bgjobd ")
        eventually((self.directory / "bgjobd.sock").exists if is_daemon else self._listens)

    def _listens(self) -> bool:
        with suppress(ConnectionRefusedError), socket.create_connection(("localhost", int(self._port))):
            return True
        return False

    def _compare(self, command: str, shown: str) -> None:
        done = subprocess.run(
            ["sh", "-c", self._here(command)],
            cwd=self.directory,
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
        arguments = {"cwd": self.directory, "env": {**self.environ, **environ}, "text": True}
        done = subprocess.run(["sh", "-c", command], capture_output=True, check=False, **arguments)  # type: ignore[call-overload]
        return f"{done.stdout}{done.stderr}"

    def find_page(self) -> None:
        """Where the guide says that its address is told."""
        address = f"the page is at http://127.0.0.1:{self._port_of_page}/"
        eventually(lambda: address in (self.directory / "serve.out").read_text())

    def close(self) -> None:
        """End what was started in the background, the latest first."""
        for process in reversed(self._started):
            process.terminate()
            process.wait(30)


@contextmanager
def guide(directory: Path, place: str, name: str) -> Iterator[Guide]:
    """One that is followed in the environment of that name, and whose daemon ends with it. The command `bgjob` is
    forked.
    """
    with warm.programs(directory / "forked", os.environ) as programs:
        (programs / "bgjobd").unlink()  # the daemon is started, to be ended as what was started
        one = Guide(place, directory, environment(name).python, programs)
        try:
            yield one
        finally:
            one.close()


@pytest.mark.timeout(300)  # the first time it installs what it needs
def test_the_guide_to_django_leads_to_a_task_on_the_page(tmp_path: Path) -> None:
    page = (_TREE / "docs" / "django.md").read_text()
    steps = page.partition("## What a task is")[0]
    with guide(tmp_path, "/srv/shop", "django-6.0") as followed:
        for block in blocks_of(steps, "docs/django.md"):
            followed.follow(block)
        followed.find_page()
        again = followed.run("venv/bin/python first.py", DJANGO_SETTINGS_MODULE="shop.settings")
        assert "welcome, ada" in again, again
        assert "bgjob.W001" in followed.run("venv/bin/python manage.py check", BGJOBD_SOCKET="/nowhere")
        by_schedule = page.partition("### The outbox by a schedule")[2].partition("\n### ")[0]
        for block in blocks_of(by_schedule, "docs/django.md"):
            followed.follow(block)
        check_flush_by_schedule(followed)


_LEFT_BEHIND = """
import django; django.setup()
from bgjob.django import run_background_job
from django.db import transaction
with transaction.atomic():
    run_background_job("shop.tasks", "welcome", {"user_id": 1})
"""


def check_flush_by_schedule(followed: Guide) -> None:
    """What was committed while no daemon answered is submitted by a job of the schedule."""
    (followed.directory / "left.py").write_text(_LEFT_BEHIND)
    settings = {"DJANGO_SETTINGS_MODULE": "shop.settings"}
    followed.run("bgjob schedule pause outbox")  # a minute that begins now would take what is looked at
    eventually(lambda: not _runs_by_schedule(followed))  # nor may one that began just before
    followed.run("venv/bin/python left.py", BGJOBD_SOCKET="/nowhere", **settings)
    waiting = followed.run("venv/bin/python manage.py bgjob_outbox --list")
    assert "shop.tasks::welcome  waits" in waiting, waiting
    flush = followed.run("bgjob schedule run outbox").strip()
    followed.run(f"bgjob wait {flush}")
    assert "1 job submitted" in followed.run(f"bgjob output {flush}")
    listed = json.loads(followed.run("bgjob list --json"))["jobs"]
    submitted = next(one["id"] for one in listed if one["method_name"] == "welcome")
    shown = json.loads(followed.run(f"bgjob show {submitted} --json"))
    assert shown["submitted_by_job"] == int(flush)


def _runs_by_schedule(followed: Guide) -> bool:
    jobs = json.loads(followed.run("bgjob list --json"))["jobs"]
    return any(one["schedule"] and one["status"] in ("pending", "running") for one in jobs)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("framework", ["fastapi", pytest.param("flask", marks=pytest.mark.long)])
def test_the_guide_to_a_framework_without_tasks_leads_to_a_job_on_the_page(
    tmp_path: Path, framework: str
) -> None:
    needed("curl")
    name = f"docs/{framework}.md"
    page = (_TREE / name).read_text()
    streaming = _section(page, "An answer, as it comes")
    with guide(tmp_path, "/srv/shop", "web") as followed:
        for block in blocks_of(page.replace(streaming, ""), name):
            followed.follow(block)
        followed.find_page()


@pytest.mark.timeout(300)
def test_a_browser_gets_an_answer_word_by_word_though_the_job_is_killed_amid_it(tmp_path: Path) -> None:
    needed("curl")
    page = (_TREE / "docs" / "fastapi.md").read_text()
    steps = page.partition("**Order a report**")[0] + _section(page, "An answer, as it comes")
    with guide(tmp_path, "/srv/shop", "web") as followed:
        blocks = blocks_of(steps, "docs/fastapi.md")
        for block in sorted(blocks, key=lambda block: block.language == "console"):
            followed.follow(block)  # the files first, for both are started once
        heard = eventually(lambda: _whole(tmp_path / "heard"))
        ids = re.findall(r"^id: (\d+)$", heard, re.MULTILINE)
        assert ids == [str(number) for number in range(1, 8)]


def _section(page: str, title: str) -> str:
    """The text below this heading; nothing where there is none."""
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def _whole(heard: Path) -> str:
    """What was heard, once that is all."""
    text = heard.read_text()
    return text if "event: end" in text else ""
