"""Code and variables that somebody has left lying about for whoever starts the daemon, or sends with a request."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon.running import RunningDaemon, daemon
from tests.support import directory_for_all, eventually

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

    def __init__(
        self, directory: Path, words: list[str], cwd: Path, environ: dict[str, str], app: str
    ) -> None:
        super().__init__(directory, app=app, web=f'bind = "unix:{directory}/page.sock"')
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
    words = AS_THE_UNIT if is_unit else as_installed("bgjobd")
    # Which looks into $HOME, as venvs do not.
    app = f'python = "{Path(sys.executable).resolve()}"' if is_unit else ""
    running = Started(tmp_path, words, evil, environ, app)
    running.start()
    try:
        with running.client() as client:
            surroundings = client.run_background_job("probes.Probe", "describe_itself").result(20)
            client.reload()
        eventually(lambda: (tmp_path / "page.sock").is_socket())
        check = [*AS_THE_UNIT, "check", "--config", str(running.config)]
        subprocess.run(
            check if is_unit else [*as_installed("bgjob"), "list"],
            cwd=evil,
            env=os.environ | environ | {"BGJOBD_SOCKET": str(running.socket)},
            capture_output=True,
            timeout=50,
        )
    finally:
        running.stop()
    assert list(marks.iterdir()) == []
    assert {name for name in surroundings["env"] if name.startswith(("PYTHON", "BASH", "BGJOBD"))} <= {
        "BGJOBD_SOCKET"
    }


def test_a_planted_module_would_be_seen(tmp_path: Path) -> None:
    planted(tmp_path / "evil", tmp_path / "marks")
    subprocess.run(
        [sys.executable, "-c", "import json"], cwd=tmp_path / "evil", check=False, capture_output=True
    )
    assert list((tmp_path / "marks").iterdir())


HOSTILE = {
    "LD_PRELOAD": "/nonexistent/evil.so",
    "LD_LIBRARY_PATH": "/nonexistent",
    "LD_AUDIT": "/nonexistent/evil.so",
    "GCONV_PATH": "/nonexistent",
    "GLIBC_TUNABLES": "glibc.malloc.check=0",
    "LOCPATH": "/nonexistent",
    "PYTHONSTARTUP": "/nonexistent/evil.py",
    "PYTHONWARNINGS": "ignore",
    "PYTHONBREAKPOINT": "os.system",
    "BASH_ENV": "/nonexistent/evil.sh",
    "ENV": "/nonexistent/evil.sh",
    "IFS": "/",
    "TMPDIR": "/nonexistent",
    "BGJOBD_TOKEN": "somebody-elses",
    "BGJOB_ANYTHING": "somebody-elses",
    "SECRET": "canary",
}
GIVEN = {"PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ"}
OWN = {"TMPDIR", "BGJOB_MARK", "BGJOBD_SOCKET", "LC_CTYPE"}
"""Where its directory is; which fork server it comes from, and which daemon; Python's own, where the locale is that of
C (PEP 538).
"""


def test_no_variable_of_whoever_submits_or_starts_the_daemon_reaches_a_job(tmp_path: Path) -> None:
    """LD_PRELOAD, PYTHON…, BASH_ENV, GCONV_PATH and their like, of a client and of the daemon itself."""
    with daemon(
        tmp_path, app='env = { GREETING = "hello" }', environ=HOSTILE | {"TMPDIR": "/tmp"}, has_pydantic=True
    ) as running:
        words = ["run", "probes.Probe::describe_itself", "--wait", "--json"]
        done = subprocess.run(
            [*as_installed("bgjob"), *words],
            env=os.environ | HOSTILE | {"BGJOBD_SOCKET": str(running.socket), "GREETING": "goodbye"},
            capture_output=True,
            timeout=50,
        )
        assert done.returncode == 0, done.stderr
        with running.client() as client:
            found = client.get(1).snapshot["result"]["env"]
        servers = (
            Path(f"/proc/{running.fork_server()}/environ").read_bytes().decode().rstrip("\0").split("\0")
        )
    assert set(found) <= GIVEN | OWN | {"GREETING"}
    assert found["GREETING"] == "hello"
    assert found["TMPDIR"].startswith(f"{tmp_path}/run/work/")
    assert {one.partition("=")[0] for one in servers} <= GIVEN | {"GREETING", "BGJOB_MARK", "BGJOBD_SOCKET"}


ASKS = """
import subprocess


class Asks:
    def whoami(self, program):
        return subprocess.run([program, "-u"], capture_output=True, text=True, check=True).stdout.strip()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a program that is root's for everybody")
def test_a_program_that_would_make_whoever_runs_it_root_does_not_for_a_job() -> None:
    """A setuid program keeps what its caller has brought along."""
    with directory_for_all() as directory:
        program = directory / "id"
        shutil.copy("/usr/bin/id", program)
        program.chmod(0o4755)
        nobody = subprocess.run([program, "-u"], capture_output=True, text=True, user=65534, check=True)
        if nobody.stdout != "0\n":
            pytest.skip("this file system knows no setuid programs")
        settings = '"asks.Asks" = { user = "nobody" }'
        with daemon(directory, settings, modules={"asks": ASKS}) as running, running.client() as client:
            job = client.run_background_job("asks.Asks", "whoami", {"program": str(program)})
            assert job.result(20) == "65534"
