"""Code and variables that somebody has left lying about for whoever starts the daemon, or sends with a request."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon.running import RunningDaemon
from tests.support import eventually

_NAMES = ("json", "signal", "asyncio", "socket", "peewee", "sitecustomize", "usercustomize")
_PACKAGES = ("bgjob", "bgjobd", "bgjobd_forkserver")


def planted(place: Path, marks: Path) -> Path:
    """A directory of modules that everybody imports; whoever does leaves a mark."""
    place.mkdir(parents=True)
    marks.mkdir(exist_ok=True)
    mark = f"import os; open('{marks}/{{}}-' + str(os.getpid()), 'w').close()\n"
    for name in _NAMES:
        (place / f"{name}.py").write_text(mark.format(name))
    for name in _PACKAGES:
        (place / name).mkdir()
        (place / name / "__init__.py").write_text(mark.format(name))
    (place / "planted.pth").write_text(mark.format("pth"))
    return place


class Started(RunningDaemon):
    """A daemon that is started by these words, in that directory and environment."""

    def __init__(self, directory: Path, words: list[str], cwd: Path, environ: dict[str, str]) -> None:
        super().__init__(directory, web=f'bind = "unix:{directory}/page.sock"')
        self.words = words
        self.cwd = cwd
        self.environ = environ

    def spawn(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self.words, "serve", "--config", str(self.config)],
            env=os.environ | self.environ,
            cwd=self.cwd,
            stderr=(self.directory / "console").open("ab"),
        )


AS_THE_UNIT = [sys.executable, "-I", "-m", "bgjobd"]


def as_installed(command: str) -> list[str]:
    """The command as pip has installed it, beside the interpreter."""
    return [str(Path(sys.executable).parent / command)]


@pytest.mark.parametrize("is_unit", [True, False])
def test_modules_in_the_working_directory_are_nobodys_to_import(tmp_path: Path, is_unit: bool) -> None:
    """CVE-2022-39286 (jupyter-core): files in the current directory were run; and what PYTHON… variables say is not
    for a daemon that is started as its unit does, nor for its page, its fork server and its attempts, ever.
    """
    marks = tmp_path / "marks"
    evil = planted(tmp_path / "evil", marks)
    environ = {"PYTHONSTARTUP": f"{evil}/json.py", "PYTHONINSPECT": "", "BASH_ENV": f"{evil}/json.py"}
    if is_unit:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        planted(evil / ".local" / "lib" / version / "site-packages", marks)
        environ |= {"PYTHONPATH": str(evil), "HOME": str(evil), "PYTHONUSERBASE": f"{evil}/.local"}
    running = Started(tmp_path, AS_THE_UNIT if is_unit else as_installed("bgjobd"), evil, environ)
    running.start()
    try:
        with running.client() as client:
            surroundings = client.run_background_job("probes.Probe", "describe_itself").result(20)
            client.reload()
        eventually(lambda: (tmp_path / "page.sock").is_socket())
        for words in (
            ["-I", "-m", "bgjobd", "check", "--config", str(running.config)],
            ["-I", "-m", "bgjob", "list"],
        ):
            subprocess.run(
                [sys.executable, *words],
                cwd=evil,
                env=os.environ | environ | {"BGJOBD_SOCKET": str(running.socket)},
                capture_output=True,
                timeout=50,
            )
    finally:
        running.stop()
    assert list(marks.iterdir()) == []
    assert {name for name in surroundings["env"] if name.startswith(("PYTHON", "BASH", "BGJOBD"))} == set()


def test_a_planted_module_would_be_seen(tmp_path: Path) -> None:
    planted(tmp_path / "evil", tmp_path / "marks")
    subprocess.run(
        [sys.executable, "-c", "import json"], cwd=tmp_path / "evil", check=False, capture_output=True
    )
    assert list((tmp_path / "marks").iterdir())
