"""What all do who try the daemon inside of a machine with systemd: install it, look at it, wait. Copied into it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from bgjob import Client

SOCKET = "/run/bgjobd.sock"
APP = Path("/srv/app")
CGROUP = Path("/sys/fs/cgroup/system.slice/bgjobd.service")
BGJOBD = [sys.executable, "-I", "-m", "bgjobd"]
PLACES = """
[app]
path = ["/srv/app"]
[daemon]
socket = "/run/bgjobd.sock"
state_dir = "/var/lib/bgjobd"
runtime_dir = "/run/bgjobd"
log_dir = "/var/log/bgjobd"
"""


def install(settings: str, options: Iterable[str] = ()) -> list[str]:
    """Install as docs/service.md says, with these settings after `[daemon]`; what went wrong.

    `options` are those of `bgjobd units`, without the dashes.
    """
    APP.mkdir(mode=0o755)
    shutil.copy(Path(__file__).with_name("jobs.py"), APP)
    say(run(*BGJOBD, "units", "--install", *(f"--{option}" for option in options)))
    run("systemd-sysusers")
    run("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/bgjobd.conf")
    Path("/etc/bgjobd/bgjobd.toml").write_text(PLACES + settings)
    run("systemctl", "daemon-reload")
    say(run("systemd-analyze", "verify", "--man=no", "bgjobd.service", "bgjobd.socket") or "verify: clean")
    say(run("systemd-analyze", "security", "--no-pager", "bgjobd.service").splitlines()[-1])
    started = subprocess.run(
        ["systemctl", "enable", "--now", "bgjobd.socket", "bgjobd.service"], capture_output=True, text=True
    )
    say(run("systemctl", "--no-pager", "--full", "status", "bgjobd.service", "bgjobd.socket", check=False))
    if started.returncode != 0:
        say(run("journalctl", "--no-pager", "-u", "bgjobd.service", "-n", "60"))
        return [f"the service did not start: {started.stderr}"]
    return []


def main_pid() -> int:
    return int(run("systemctl", "show", "-P", "MainPID", "bgjobd.service") or 0)


def is_active() -> bool:
    return run("systemctl", "is-active", "bgjobd.service", check=False).strip() == "active"


def is_at_rest() -> bool:
    with Client(SOCKET, timeout=30) as client:
        jobs = client.stats()["jobs"]
    return not jobs.get("pending") and not jobs.get("running")


def books() -> tuple[bool, str]:
    """Whether they are clean, and what they say."""
    done = as_daemon(*BGJOBD, "check", "--books")
    return done.returncode == 0, (done.stdout + done.stderr).strip()


def as_daemon(*command: str) -> subprocess.CompletedProcess[str]:
    """Have it done by the daemon's user, which is root with `units --users`."""
    who = Path("/var/lib/bgjobd").owner()
    return subprocess.run(["runuser", "-u", who, "--", *command], capture_output=True, text=True)


def until(question: Callable[[], object], what: str, within: float = 30.0) -> None:
    deadline = time.monotonic() + within
    while not question():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within:g} s: {what}")
        time.sleep(0.02)


def run(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return (done.stdout + done.stderr).rstrip()


def say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)
