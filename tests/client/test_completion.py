"""The scripts of `bgjob completion` in the shells they are for: what a person types before Tab, and what runs then."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bgjob.codec import Request
from bgjob.commands import completion
from tests.client.scripted import STANDING, Line, Script, ScriptedDaemon, group, method_of
from tests.client.test_commands import Commands, Terminal
from tests.daemon import warm
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually, needed

SETTINGS = "[queues]\nmail = { slots = 1 }\nmail-2 = { slots = 1 }\n"

_TELLS = "bgjob() { printf '<%s>' \"$@\"; echo ' were the words'; }"
_STARTS = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        ["bind 'set bell-style none'", "source _bgjob", _TELLS],
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        ["unsetopt beep prompt_sp", "fpath=($PWD $fpath)", "autoload -Uz compinit", "compinit -u -D", _TELLS],
    ),
}
"""How the shells that complete at a terminal only are started, and what is done first."""

_PATIENT = "from bgjob.commands import completion; completion._PATIENCE = 20.0"
"""A person would type on; on a busy machine the daemon's answer takes longer than that."""


class Shell:
    """Runs a shell at a terminal and types into it; bgjob tells its words there instead of running."""

    def __init__(self, name: str, directory: Path, environ: dict[str, str]) -> None:
        command, first = _STARTS[name]
        (directory / "first").write_text("\n".join([f"cd {directory}", *first, "PS1='ready: '"]))
        self.terminal = Terminal(command, environ, columns=400, lines=50)
        self.terminal.press(f"source {directory}/first\n")
        self._lines = 0

    def completed(self, typed: str) -> str:
        """The words that run once Tab and Enter are pressed after these."""
        eventually(lambda: "ready: " in self.terminal.text.rpartition(" were the words")[2])
        self.terminal.press(f"{typed}\t\n")
        self._lines += 1
        told = eventually(self._told)
        return " ".join(told.split("><")).strip("<>")

    def _told(self) -> str | None:
        told = [line for line in self.terminal.text.splitlines() if line.endswith("> were the words")]
        return told[-1].removesuffix(" were the words") if len(told) == self._lines else None

    def end(self) -> None:
        self.terminal.process.kill()
        self.terminal.finish()


class Fish:
    """Asks fish what it would complete."""

    def __init__(self, directory: Path, environ: dict[str, str]) -> None:
        self._script = directory / "_bgjob"
        self._environ = environ | {"HOME": str(directory), "XDG_CONFIG_HOME": str(directory)}

    def completed(self, typed: str) -> str:
        program = f"source {self._script}; complete -C $argv"
        done = subprocess.run(
            ["fish", "--no-config", "-c", program, "--", typed],
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=50,
        )
        assert done.stderr == ""
        (found,) = (line.partition("\t")[0] for line in done.stdout.splitlines())
        before, _, _ = typed.removeprefix("bgjob ").rpartition(" ")
        return f"{before} {found}".strip()

    def end(self) -> None:
        pass


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(tmp_path_factory.mktemp("completion"), SETTINGS) as running, running.client() as client:
        assert client.run_background_job("probes.Probe", "fail", max_retries=0).wait(20)["id"] == 1
        assert client.run_background_job("probes.Probe", "echo", delay=3600, labels=["tenant:7"]).id == 2
        yield running


@contextmanager
def shell_with(name: str, directory: Path, daemon_at: Path) -> Iterator[Shell | Fish]:
    """The shell with the script as docs/reference.md has it put in place."""
    needed(name)
    script = Commands(daemon_at).run("completion", name)
    assert (script.returncode, script.stderr) == (0, "")
    (directory / "_bgjob").write_text(script.stdout)
    environ = {
        "PATH": os.environ["PATH"],
        "BGJOBD_SOCKET": str(daemon_at),
        "HOME": str(directory),
        "TERM": "xterm",
        "LANG": "C.UTF-8",
    }
    with warm.programs(directory / "bin", environ, _PATIENT) as programs:
        environ["PATH"] = f"{programs}:{environ['PATH']}"
        shell = Fish(directory, environ) if name == "fish" else Shell(name, directory, environ)
        try:
            yield shell
        finally:
            shell.end()


@pytest.mark.parametrize("name", completion.SHELLS)
def test_a_shell_completes_commands_options_and_what_the_daemon_knows(
    name: str, running: RunningDaemon, tmp_path: Path
) -> None:
    """The script came as one line, a long comment: `bash -n` found nothing wrong with it, and no shell did anything."""
    other = tmp_path / "other.sock"
    named = {
        f"--socket {other} pause oth": f"--socket {other} pause other",
        f"pause --socket {other} oth": f"pause --socket {other} other",
    }
    expected = _ALL | named | (_CUT_BY_BASH if name == "bash" else {})
    with ScriptedDaemon(other, tells_of("other")), shell_with(name, tmp_path, running.socket) as shell:
        assert {typed: shell.completed(f"bgjob {typed}") for typed in expected} == expected


_ALL = {
    "resu": "resume",
    "run --attempt-t": "run --attempt-timeout",
    "run --backoff exp": "run --backoff exponential",
    "list --status canc": "list --status cancelled",
    "pause mail-": "pause mail-2",
    "list --queue d": "list --queue default",
    "classes probes.N": "classes probes.NeedsMore",
    "run probes.Probe::note": "run probes.Probe::note",
    "run probes.Probe::fail_": "run probes.Probe::fail_until",
    "run probes.Probe::echo --attempt-t": "run probes.Probe::echo --attempt-timeout",
    "run probes.Probe::echo --queue mail-": "run probes.Probe::echo --queue mail-2",
    "list --class probes.Probe::fail_": "list --class probes.Probe::fail_until",
    "retry ": "retry 1",
    "cancel ": "cancel 2",
    "cancel 7 ": "cancel 7 2",
    "change 2 --queue mail-": "change 2 --queue mail-2",
    "signal ": "signal 2",
    "list --label ten": "list --label tenant:7",
    "wait --label tenant:": "wait --label tenant:7",
    "list --error ": "list --error 1",
    "errors ": "errors 1",
    "group 1 --sea": "group 1 --seal",
    "run probes.Probe::echo --if-failed w": "run probes.Probe::echo --if-failed wait",
}
"""What is typed, and what it is once it is completed."""

_CUT_BY_BASH = {"list --queue=mail-": "list --queue=mail-2", "list --queue=d": "list --queue=default"}
"""An equals sign ends a word there, as a colon does."""


def test_words_are_none_and_nothing_is_said_where_no_daemon_answers(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "deaf.sock"))
        deaf.listen()
        for path in (tmp_path / "deaf.sock", tmp_path / "none.sock"):
            for words in (["queues"], ["queues", "bgjob", f"--socket={path}"], ["no such kind"], []):
                done = Commands(path).run("completion", "--words", *words)
                assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def tells_of(*queues: str) -> Script:
    """What a daemon does that has these queues."""
    standing = {"slots": 1, "pending": 0, "running": 0, "paused": False, "max_pending": 9}

    def answer(line: Line, asked: Request) -> None:
        assert method_of(asked) == "Stats"
        line.reply(
            **STANDING | {"queues": [{**standing, "name": name, "oldest_pending": None} for name in queues]}
        )

    return answer


def test_a_name_that_a_shell_might_obey_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "_LEAST", 10.0)  # a process of many tests has used up its patience
    names = ["mail", "$(id)", "`id`", "a;b", "two words", "\x1b[2J", "up\nloads", "*", "~root", ""]
    with ScriptedDaemon(tmp_path / "s.sock", tells_of(*names)):
        assert completion.words("queues", ["bgjob", "--socket", str(tmp_path / "s.sock")]) == ["mail"]


def test_groups_are_known_by_their_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(line: Line, asked: Request) -> None:
        assert method_of(asked) == "Groups"
        line.reply(groups=[group(7), group(5)], next=None)

    monkeypatch.setattr(completion, "_LEAST", 20.0)
    with ScriptedDaemon(tmp_path / "s.sock", answer):
        assert completion.words("groups", ["bgjob", "--socket", str(tmp_path / "s.sock")]) == ["7", "5"]
