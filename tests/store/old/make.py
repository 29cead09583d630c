"""Writes stores of old schemas, each by a daemon of the commit that had it: `python -m tests.store.old.make COMMIT...`.

The code of a commit runs with what is installed here; what else it needs may be in the directory $OLD_SITE. What each
store has in it is `_SUBMITTED`: jobs in every status, and whatever else its version had. The files are never to be
changed; one is added for each new step of the migrations, before that lands.
"""

from __future__ import annotations

import os
import platform
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from tests.packaging.dist import TREE, unpack_committed
from tests.support import eventually

HERE: Final = Path(__file__).parent
APP: Final = "/srv/app"
"""Where the dumps say that the application was."""

_JOBS: Final = """
import signal
import time

import bgjob


class Example:
    def work(self, to=None):
        return {"sent": to}

    def fail(self, message):
        raise ValueError(message)

    def wait(self):
        time.sleep(3600)

    def ignore(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(3600)
"""
_STEPS: Final = """
    def order(self, context: bgjob.JobContext):
        context.step("charge", dict, paid=1)
        context.wait_for("packed", timeout=86400)
"""
_SCHEDULES: Final = """
[schedules.nightly]
job = "jobs.Example::work"
cron = "30 2 * * *"
zone = "UTC"
"""

_WORK, _FAIL = "jobs.Example::work", "jobs.Example::fail"
_SUBMITTED: Final[tuple[tuple[int, str], ...]] = (
    (2, f"run {_WORK} -p to=user@example.com --key done --wait"),
    (2, f"run {_FAIL} -p message=no --max-retries 0"),
    (2, f"run {_FAIL} -p message=again --max-retries 3 --retry-delay 10h"),
    (2, f"run {_WORK} --delay 10h"),
    (2, "pause held"),
    (2, f"run {_WORK} --queue held --priority 5"),
    (2, f"run {_WORK} --delay 9h"),
    (2, "cancel 6"),
    (2, "run jobs.Example::wait"),
    (2, "run jobs.Example::ignore"),
    (10, f"run {_WORK} --after 7"),
    (11, f"run {_WORK} --delay 2h --expires 9h"),
    (12, f"run {_WORK} --delay 3h --unique-key one"),
    (13, "pause later --for 5h"),
    (15, f"run {_WORK} --queue held --limit-key customer"),
    (16, "run jobs.Example::order"),
    (23, f"run {_WORK} --delay 4h --traceparent 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    (25, f"run {_WORK} --delay 5h --label tenant:7"),
)
"""From which version on → words of `bgjob`. Jobs 7 and 8 run when the daemon is killed; 8 is to be cancelled."""


def main() -> int:
    for commit in sys.argv[1:]:
        with tempfile.TemporaryDirectory(prefix="bgjobd-old-") as name:
            print(_make(Path(name), commit), flush=True)
    return 0


def _make(directory: Path, commit: str) -> Path:
    """The file that was written for the version of this commit."""
    python = _installed(directory, commit)
    version = int(_output(python, "-c", "from bgjobd.store.migrations import STEPS; print(len(STEPS))"))
    (directory / "jobs.py").write_text(_JOBS + (_STEPS if version >= 16 else ""))
    config = directory / "bgjobd.toml"
    config.write_text(
        f"""
[daemon]
socket = "{directory}/s.sock"
state_dir = "{directory}/state"
runtime_dir = "{directory}/run"
log_dir = "{directory}/log"
slots = 4
[app]
path = ["{directory}"]
[queues.held]
slots = 1
[queues.later]
slots = 1
[approved]
"jobs.Example" = {{ stop_grace = 3600 }}
{_SCHEDULES if version >= 9 else ""}
"""
    )
    with _served(python, config):
        for since, words in _SUBMITTED:
            if version >= since:
                command, *rest = words.split()
                _output(python, "-m", "bgjob", command, "--socket", str(directory / "s.sock"), *rest)
        database = directory / "state" / "bgjobd.db"
        eventually(lambda: _standing(database) == {"completed", "failed", "cancelled", "pending", "running"})
        eventually(lambda: _open_attempts(database) == [7, 8] and _retries(database) == 1)
        _output(python, "-m", "bgjob", "cancel", "--socket", str(directory / "s.sock"), "8")
    target = HERE / f"version_{version:02}.sql"
    target.write_text(f"-- Schema version {version}, as commit {commit} wrote it. Never to be changed.\n")
    with target.open("a") as file:
        file.write(_dump(database, version, directory))
    return target


def _installed(directory: Path, commit: str) -> Path:
    """A Python that has the code of this commit, and all else that is installed here."""
    tree, place = directory / "tree", directory / "site"
    unpack_committed(TREE, tree, commit)
    place.mkdir()
    for name, source in {"bgjob": "client/bgjob", "bgjobd": "bgjobd"}.items():
        (place / name).symlink_to(tree / source)
    for name in ("web", "systemd"):
        if (tree / name).exists():
            (tree / "bgjobd" / name).symlink_to(tree / name)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory / "venv"], check=True)
    [site] = (directory / "venv" / "lib").glob("python3.*/site-packages")
    here = [path for path in sys.path if path.endswith("site-packages")]
    (site / "old.pth").write_text("\n".join([str(place), *here, *filter(None, [os.environ.get("OLD_SITE")])]))
    return directory / "venv" / "bin" / "python"


@contextmanager
def _served(python: Path, config: Path) -> Iterator[None]:
    """While its daemon runs, which is killed in the end, with all that it has started."""
    command = [python, "-m", "bgjobd", "serve", "--config", str(config)]
    with (config.parent / "console").open("wb") as console:
        daemon = subprocess.Popen(command, stderr=console, stdout=console, cwd="/")
    try:
        eventually(lambda: _answers(daemon, config.parent), within=120)
        yield
    finally:
        started = _below(daemon.pid)
        daemon.kill()
        daemon.wait()
        for pid in started:
            _kill(pid)


def _answers(daemon: subprocess.Popen[bytes], directory: Path) -> bool:
    if daemon.poll() is not None:
        raise RuntimeError((directory / "console").read_text())
    with socket.socket(socket.AF_UNIX) as asked:
        return asked.connect_ex(str(directory / "s.sock")) == 0


def _below(pid: int) -> list[int]:
    children = [
        int(child)
        for path in Path(f"/proc/{pid}/task").glob("*/children")
        for child in path.read_text().split()
    ]
    return [*children, *(below for child in children for below in _below(child))]


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _output(python: Path, *arguments: str) -> str:
    done = subprocess.run([python, *arguments], capture_output=True, text=True, check=False, cwd="/")
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")
    return done.stdout


def _standing(database: Path) -> set[str]:
    return {status for (status,) in _rows(database, "SELECT DISTINCT status FROM background_jobs")}


def _open_attempts(database: Path) -> list[int]:
    asked = "SELECT job_id FROM job_attempts WHERE outcome IS NULL AND started_at IS NOT NULL ORDER BY 1"
    return [job_id for (job_id,) in _rows(database, asked)]


def _retries(database: Path) -> int:
    return int(_rows(database, "SELECT retry_count FROM background_jobs WHERE id = 3")[0][0])


def _rows(database: Path, asked: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database, timeout=20)) as reader:
        return reader.execute(asked).fetchall()


def _dump(database: Path, version: int, directory: Path) -> str:
    """All of it as SQL, without what it tells of this machine."""
    with closing(sqlite3.connect(database)) as kept:
        text = "\n".join(kept.iterdump())
    told = {str(directory): APP, platform.node(): "old.example", sys.prefix: "/srv/bgjobd"}
    for found, instead in told.items():
        text = text.replace(found, instead)
    return f"{text}\nPRAGMA user_version = {version};\n"


if __name__ == "__main__":
    sys.exit(main())
