"""Reads README and docs/ as a person does who tries everything: their blocks, one shell, one daemon, one directory.

What a block means is told by its language and first line; `Walk` writes its files, starts its daemon and runs its
commands in order. Whether what came out is what a page shows is `is_as_shown`'s to say.
"""

from __future__ import annotations

import os
import re
import secrets
import select
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from bgjob import Client
from bgjob.errors import DaemonUnavailableError
from tests.daemon import warm
from tests.daemon.running import is_alive
from tests.support import eventually

PAGES = [
    "README.md",
    *(
        f"docs/{name}.md"
        for name in (
            *("submitting", "testing-your-application", "writing-jobs", "guarantees", "limits-and-output"),
            *("service", "operating", "page-and-metrics", "troubleshooting", "coming-from-the-original"),
            *(
                "reference",
                "web-applications",
                "outbox",
                "upgrading",
                "alternatives",
                "schedules",
                "workflows",
                "keys",
                "steps",
                "stuck-jobs",
                "hosts",
                "errors",
                "alerts",
                "monitoring",
                "assistants",
            ),
        )
    ),
]
"""What users read, in the order of reading: the examples of a page go on where those of the page before it ended."""

APPLICATION = "/srv/myapp"
ENVIRONMENT = "/srv/bgjobd"
"""Where the pages have the application, and the environment that bgjobd is installed in."""

_PROGRAMS = os.path.dirname(os.path.abspath(sys.executable))
_PATIENCE = 30.0
_SETTLES_WITHIN = 20.0
_FENCE = re.compile(r"^( *)```([a-z]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_AT_THE_END = "# at the end of "
_OF_OTHERS = ("sqlite3", "varlinkctl")
"""Programs that come with none of ours, and may not be there."""
_LOOKING = re.compile(
    r"bgjob (list|show|why|stack|tail|output|stats|occurrences)\b|tail |sqlite3 |kill -9 \$\(bgjob why "
)
"""What can be done again: a kill of nobody, as a job that has printed something is not known to have begun yet, too."""


class Kind(Enum):
    """What is done with a block."""

    FILE = "written under the name in its first line"
    ADDITION = "put into the configuration, below the table that its first line names, or at its end"
    FRAGMENT = "a part of a configuration: loaded"
    SESSION = "commands: run, and what they print compared"
    DAEMON = "the daemon: started"
    PICTURE = "compared with the table of statuses by tests/core/test_diagram.py"
    NOT_RUN = "named in the table of blocks that no test can run"


@dataclass(frozen=True)
class Block:
    """What stands between two fences; `line` is the first one's in its page, from 1."""

    language: str
    text: str
    page: str
    line: int

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def first_line(self) -> str:
        return self.text.partition("\n")[0]

    @property
    def exchanges(self) -> list[tuple[str, str]]:
        """Each command of a session and what the page shows of its output."""
        told: list[tuple[str, str]] = []
        lines = iter(self.text.splitlines())
        for line in lines:
            if not line.startswith("$ "):
                command, shown = told.pop()
                told.append((command, f"{shown}{line}\n"))
                continue
            command = line.removeprefix("$ ")
            while _goes_on(command):
                command += "\n" + next(lines)
            told.append((command, ""))
        return told


def _goes_on(command: str) -> bool:
    """Whether the shell would wait for another line."""
    try:
        shlex.split(command)
    except ValueError:  # a quote is open, or the line ends with a backslash
        return True
    return False


def blocks_of(text: str, page: str) -> list[Block]:
    return [
        Block(found[2], textwrap.dedent(found[3]), page, text.count("\n", 0, found.start()) + 1)
        for found in _FENCE.finditer(text)
    ]


def kind_of(block: Block, not_run: Mapping[str, str]) -> Kind:
    """What is to be done with the block. Raises ValueError for one that is in no category."""
    if block.first_line in not_run:
        return Kind.NOT_RUN
    match block.language:
        case "console" if block.text.startswith("$ bgjobd serve "):
            return Kind.DAEMON
        case "console" if block.text.startswith("$ "):
            return Kind.SESSION
        case "python" | "toml" if block.text.startswith(f"# {APPLICATION}/"):
            return Kind.ADDITION if ", in [" in block.first_line else Kind.FILE
        case "toml" if block.text.startswith(f"{_AT_THE_END}{APPLICATION}/"):
            return Kind.ADDITION
        case "toml":
            return Kind.FRAGMENT
        case "mermaid":
            return Kind.PICTURE
    raise ValueError(f"nothing is known to be done with the block at {block.place}: {block.first_line}")


@dataclass(frozen=True)
class Answered:
    """A command, what the page shows and what came out; `got` is None where it could not be run."""

    command: str
    shown: str
    got: str | None

    @property
    def is_as_shown(self) -> bool:
        return self.got is not None and is_as_shown(self.shown, self.got)


class Walk:
    """The way through the pages: files in a directory that stands for APPLICATION, one shell, one daemon. What is in
    `programs` the shell finds before all others.
    """

    def __init__(self, directory: Path, programs: Path, environ: Mapping[str, str]) -> None:
        self._directory = directory
        self._programs = programs
        self._environ = environ
        self._shell = Shell({**environ, "PATH": f"{programs}:{environ['PATH']}"}, directory)
        self._daemon: subprocess.Popen[bytes] | None = None

    def write(self, block: Block) -> None:
        file = self._path_in(block)
        file.parent.mkdir(exist_ok=True)
        file.write_text(self._here(block.text))

    def add(self, block: Block) -> None:
        """Put the block below the header of its table, or at the end of its file."""
        if block.text.startswith(_AT_THE_END):
            first, _, text = block.text.partition("\n")
            with Path(self._here(first.removeprefix(_AT_THE_END))).open("a") as end:
                end.write(self._here(text))
            return
        header = f"[{block.first_line.partition(', in [')[2]}\n"
        file = self._path_in(block)
        before, found, after = file.read_text().partition(header)
        assert found, f"{file} has no table {header}"
        file.write_text(before + header + self._here(block.text) + after)

    def start(self, block: Block) -> None:
        """Start the daemon, in the background if the page says so or not, and wait until it answers."""
        ((command, _),) = block.exchanges
        command = command.removesuffix(" &")
        with (self._directory.parent / "console").open("ab") as console:
            self._daemon = subprocess.Popen(
                ["bash", "-c", f"exec {self._here(command)}"],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        eventually(self._answers)

    def _answers(self) -> bool:
        assert self._daemon is not None
        assert self._daemon.poll() is None, self._console()
        try:
            with Client(str(self._directory / "bgjobd.sock")) as client:
                return bool(client.classes())
        except DaemonUnavailableError:
            return False

    def _console(self) -> str:
        files = (self._directory.parent / "console", self._directory / "serve.out")
        return "".join(file.read_text() for file in files if file.exists())

    def run(self, block: Block) -> list[Answered]:
        """Run the commands of a session."""
        return [self._run(command, shown) for command, shown in block.exchanges]

    def _run(self, command: str, shown: str) -> Answered:
        program = command.split()[0]
        if program in _OF_OTHERS and shutil.which(program) is None:
            return Answered(command, shown, None)
        answered = Answered(command, shown, self._got(command))
        if not _LOOKING.match(command):
            return answered
        # What a job does while nobody waits for it may take a moment to be seen.
        deadline = time.monotonic() + _SETTLES_WITHIN
        while not answered.is_as_shown and time.monotonic() < deadline:
            answered = Answered(command, shown, self._got(command))
        return answered

    def _got(self, command: str) -> str:
        return self._there(self._shell.run(self._here(command)))

    def _path_in(self, block: Block) -> Path:
        return Path(self._here(block.first_line.removeprefix("# ").partition(",")[0]))

    def _here(self, text: str) -> str:
        # Also where somebody has followed the pages: theirs is another bgjobd.
        text = text.replace(f"{ENVIRONMENT}/bin", str(self._programs))
        return text.replace(APPLICATION, str(self._directory))

    def _there(self, text: str) -> str:
        text = text.replace(str(self._directory), APPLICATION)
        # varlinkctl begins each of several replies with a separator, which no terminal shows.
        text = text.replace("\x1e", "")
        return text.replace(_PROGRAMS, f"{ENVIRONMENT}/bin")

    def close(self) -> None:
        """End the shell and the daemon, and wait for the fork server, which goes with its last attempt."""
        self._shell.close()
        if self._daemon is None:
            return
        children = Path(f"/proc/{self._daemon.pid}/task/{self._daemon.pid}/children")
        servers = [int(pid) for pid in children.read_text().split()] if children.exists() else []
        self._daemon.send_signal(signal.SIGTERM)
        self._daemon.wait(_PATIENCE)
        for pid in servers:
            eventually(lambda pid=pid: not is_alive(pid))


@contextmanager
def walk(directory: Path) -> Iterator[Walk]:
    """One in this directory, which is made. Its commands are forked, for each takes ten times as long to start."""
    home = directory.parent / "home"
    for made in (directory, home):
        made.mkdir()
    environ = {
        "PATH": f"{_PROGRAMS}:{os.environ['PATH']}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "BGJOBD_DAEMON__RUNTIME_DIR": str(directory.parent / "run"),  # not the machine's own
        "BGJOBD_WEB__ENABLED": "false",  # whose port another daemon of this machine may have
        "PYTHONUNBUFFERED": "1",  # as on a terminal, where results and messages come in order
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # what else is installed here takes half of its start
        "PYTEST_PLUGINS": "_bgjob_pytest",
    }
    with warm.programs(directory.parent / "bin", environ) as programs:
        walking = Walk(directory, programs, environ)
        try:
            yield walking
        finally:
            walking.close()


class Shell:
    """One bash, as a reader has it open: its directory and variables stay from command to command."""

    def __init__(self, environ: Mapping[str, str], directory: Path) -> None:
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            env=dict(environ),
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, command: str) -> str:
        """What the command prints, on stdout and stderr."""
        assert self._process.stdin is not None
        mark = f"\n{secrets.token_hex(8)}\n"
        script = f"{{ {command}\n}} </dev/null\nprintf '%s' '{mark}'\n"
        self._process.stdin.write(script.encode())
        self._process.stdin.flush()
        return self._read_until(mark.encode(), command).decode()

    def _read_until(self, mark: bytes, command: str) -> bytes:
        assert self._process.stdout is not None
        got = b""
        deadline = time.monotonic() + _PATIENCE
        while not got.endswith(mark):
            is_ready, _, _ = select.select(
                [self._process.stdout], [], [], max(0.0, deadline - time.monotonic())
            )
            data = os.read(self._process.stdout.fileno(), 65536) if is_ready else b""
            assert data, f"no end of {command!r} after {_PATIENCE:g} s: {got.decode()}"
            got += data
        return got.removesuffix(mark)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


# What is shown, and what came out

_VARYING = (
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?", "DATE"),
    (r"\b\d\d:\d\d:\d\d\b", "TIME"),
    (r"\b(in )?\d+ (s|min)( ago)?\b|\b(just )?now\b", "A WHILE"),
    (r"\b\d+(\.\d+)? ?m?s\b", "A WHILE"),
    (r"\b\d+ ([KM]iB)( of memory|/\d+ [KM]iB)", "SOME MEMORY"),
    (r"\b(pid|uid|gid) \d+|\"(pid|uid|gid)\":\d+", "NUMBER"),
    (r'("code_version":"|^)[0-9a-f]{12}\b', "VERSION"),
    (r"\bbgjobd \d+\.\d+\.\d+", "bgjobd VERSION"),
    (r"/bin/python[0-9.]* \(Python [0-9.]+\)", "PYTHON"),
    (r"-{2,}|={2,}", "RULE"),
    (r" {2,}", "  "),  # how wide a column is depends on all of these
    (r" +$", ""),
)
"""What is not the same twice, and what is compared instead."""


def is_as_shown(shown: str, got: str) -> bool:
    """Whether a reader would say so: `…` stands for anything in a line, alone in one for any lines."""
    lines = _with_nothing_varying(shown).splitlines()
    parts = ["(?:.*\n)*?" if line == "…" else f"{_pattern(line)}\n" for line in lines]
    whole = _with_nothing_varying(got)
    return (
        re.fullmatch("".join(parts), whole if whole.endswith("\n") or not whole else f"{whole}\n") is not None
    )


def _pattern(line: str) -> str:
    return ".*".join(re.escape(part) for part in line.split("…"))


def _with_nothing_varying(text: str) -> str:
    for varying, instead in _VARYING:
        text = re.sub(varying, instead, text, flags=re.MULTILINE)
    return text
