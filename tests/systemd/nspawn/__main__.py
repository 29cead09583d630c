"""The acceptance under a real systemd, by hand and as root: `python -m tests.systemd.nspawn`.

Boots a Debian with this tree installed in a container, and has `inside.py` restart, kill and reload the daemon while
jobs run. Takes systemd-container and debootstrap. The committed tree is what is tried, not the files beside it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.support import eventually
from tests.systemd import debian

LONGEST_POWEROFF = 30.0


def main() -> int:
    """Set up, boot twice, run what is inside; answers its exit code."""
    given = _parser().parse_args()
    if os.geteuid() != 0 or not (shutil.which("systemd-nspawn") and shutil.which("debootstrap")):
        print("it takes root, systemd-nspawn (package systemd-container) and debootstrap", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    with tempfile.TemporaryDirectory(prefix="bgjobd-nspawn-") as directory:
        root = Path(directory) / "root"
        debian.make(root, given.base, Path(__file__).parent)
        with booted(root) as leader:
            debian.say("booted")
            code = _run_inside(leader, *given.arguments)
            debian.say("poweroff")
        code = code or _judge_poweroff(root)
        with booted(root) as leader:
            debian.say("booted again")
            code = code or _run_inside(leader, "--strand")
            debian.say("poweroff without a daemon")
            begun = time.monotonic()
        took = time.monotonic() - begun
        debian.say(f"off after {took:.1f} s")
        return code or int(took > LONGEST_POWEROFF)


def _run_inside(leader: int, *arguments: str) -> int:
    enter = ["nsenter", "-t", str(leader), *("-m", "-u", "-i", "-n", "-p", "-C")]
    inside = [debian.PYTHON, f"{debian.ACCEPTANCE}/inside.py", *arguments]
    return subprocess.run([*enter, *inside], check=False).returncode


def _judge_poweroff(root: Path) -> int:
    """The exit code: whether the job that ran to the last was ended by the daemon, and that is in the books."""
    with closing(sqlite3.connect(root / "var/lib/bgjobd/bgjobd.db")) as database:
        told = database.execute(
            "SELECT outcome, signal FROM job_attempts ORDER BY job_id DESC LIMIT 1"
        ).fetchone()
    debian.say(f"powered off; the job that ran was {told}")
    return 0 if told == ("signalled", signal.SIGTERM) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.systemd.nspawn", description=__doc__)
    parser.add_argument(
        "--base", type=Path, help="keep the bare Debian here, and take it from here next time"
    )
    parser.add_argument("arguments", nargs="*", help="for inside.py")
    return parser


@contextmanager
def booted(root: Path) -> Iterator[int]:
    """The pid of the container's systemd; it is powered off and its cgroups removed afterwards."""
    group = _unified() / f"bgjobd-nspawn-{os.getpid()}"
    group.mkdir()
    log = root.parent / "boot.log"
    nspawn = ["systemd-nspawn", "-q", "-D", str(root), "--boot", "--register=no", "--keep-unit"]
    nspawn += ["--console=pipe", "--private-network", f"--machine={group.name}"]
    process = subprocess.Popen(
        ["sh", "-c", 'echo $$ > "$0/cgroup.procs"; exec "$@"', str(group), *nspawn],
        env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
        stdin=subprocess.DEVNULL,
        stdout=log.open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        leader = eventually(lambda: _first_process_below(process, log), within=60)
        eventually(lambda: _is_running(leader), within=120)
        yield leader
    finally:
        process.terminate()  # nspawn powers off at SIGTERM
        try:
            process.wait(150)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # nspawn makes it in that of an old systemd, too.
        for mount in (*_mounts("cgroup2"), *_mounts("cgroup")):
            _remove_group(mount / group.name)


def _unified() -> Path:
    return next(_mounts("cgroup2"))


def _mounts(type: str) -> Iterator[Path]:
    """Where file systems of this type are mounted."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[fields.index("-") + 1] == type:
            yield Path(fields[4])


def _remove_group(group: Path) -> None:
    for directory, _, _ in os.walk(group, topdown=False):
        os.rmdir(directory)


def _first_process_below(process: subprocess.Popen[bytes], log: Path) -> int | None:
    """The child of nspawn that is the first process of its own pid namespace."""
    if process.poll() is not None:
        raise RuntimeError(f"systemd-nspawn ended with {process.returncode}: {log.read_text()}")
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        status = Path(f"/proc/{child}/status").read_text()
        pids = next(line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
        if len(pids) > 1 and pids[-1] == "1":
            return int(child)
    return None


def _is_running(leader: int) -> bool:
    asked = ["nsenter", "-t", str(leader), "-m", "-p", "-C", "systemctl", "is-system-running"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return told in ("running", "degraded")


if __name__ == "__main__":
    sys.exit(main())
