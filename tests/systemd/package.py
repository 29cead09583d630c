"""The acceptance of the Debian package, by hand and as root: `python -m tests.systemd.package DEB`.

Boots a Debian in a container, installs the package there, upgrades it while a job runs, removes it and purges it; what
each leaves is looked at. Takes systemd-container and debootstrap; the upgrade is to the same files as a next revision.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.support import eventually
from tests.systemd import debian
from tests.systemd.nspawn.__main__ import booted

_JOBS: Final = """
import time
from pathlib import Path


class Example:
    def echo(self, value=None):
        return value

    def wait(self, name):
        while not Path(f"/var/lib/bgjobd/{name}").exists():
            time.sleep(0.1)
        return "waited"
"""
_LINES: Final = """
[app]
path = ["/srv/app"]
[approved]
"jobs.Example" = {}
"""
_LEFT_BY_PURGE: Final = (
    "find / /run -xdev -name '*bgjob*' -not -path '/srv/*' -not -path '/proc/*' -not -path '/sys/*'"
)


class Machine:
    """The Debian that is booted; its commands."""

    def __init__(self, leader: int) -> None:
        self._enter = ["nsenter", "-t", str(leader), *("-m", "-u", "-i", "-n", "-p", "-C")]

    def ask(self, command: str) -> str:
        """What it prints. Raises SystemExit with all that it said, where it fails."""
        debian.say(f"# {command}")
        done = self.try_run(command)
        if done.returncode:
            raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def try_run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *self._enter,
                "env",
                "-i",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME=/root",
                "sh",
                "-c",
                command,
            ],
            capture_output=True,
            text=True,
            check=False,
        )


def main() -> int:
    """Try it all; answers the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.systemd.package", description=__doc__)
    parser.add_argument(
        "--base", type=Path, help="keep the bare Debian here, and take it from here next time"
    )
    parser.add_argument("package", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bgjobd-package-") as name:
        root = Path(name) / "root"
        debian.make_bare(root, given.base, ["man-db"])
        (root / "srv/app").mkdir(parents=True)
        (root / "srv/app/jobs.py").write_text(_JOBS)
        (root / "srv/first.deb").write_bytes(given.package.read_bytes())
        _as_next_revision(given.package, root / "srv/next.deb", Path(name))
        with booted(root) as leader:
            problems = [*_tried(Machine(leader))]
    for problem in problems:
        debian.say(f"PROBLEM: {problem}")
    debian.say("failed" if problems else "passed")
    return int(bool(problems))


def _as_next_revision(package: Path, target: Path, work: Path) -> None:
    debian.call("dpkg-deb", "--raw-extract", str(package), str(work / "next"))
    control = work / "next/DEBIAN/control"
    lines = control.read_text().splitlines(keepends=True)
    control.write_text(
        "".join(f"{line.rstrip()}.1\n" if line.startswith("Version:") else line for line in lines)
    )
    debian.call("dpkg-deb", "-Znone", "--build", str(work / "next"), str(target))


def _tried(machine: Machine) -> Iterator[str]:
    """What is not as it should be, a sentence each."""
    yield from _installed(machine)
    yield from _upgraded(machine)
    yield from _removed(machine)
    yield from _purged(machine)


def _installed(machine: Machine) -> Iterator[str]:
    begun = time.monotonic()
    machine.ask("dpkg -i /srv/first.deb")
    config = machine.ask("cat /etc/bgjobd/bgjobd.toml")
    machine.ask(f"cat > /etc/bgjobd/bgjobd.toml <<'END'\n{_LINES}\n{config}\nEND")
    machine.ask("systemctl reload bgjobd")
    if (told := machine.ask("bgjob run jobs.Example::echo -p value=done -w")) != '"done"':
        yield f"the first job said {told}"
    debian.say(f"installed, configured, and a job is done: {time.monotonic() - begun:.0f} s")
    told = machine.ask("runuser -u bgjobd -- bgjobd check; systemctl is-enabled bgjobd.service bgjobd.socket")
    debian.say(told)
    debian.say(machine.ask("stat -c '%A %U:%G %n' /etc/bgjobd /var/lib/bgjobd /run/bgjobd.sock"))
    debian.say(machine.ask("man -w bgjob bgjobd bgjobd.toml"))
    if machine.try_run("systemctl --failed --no-legend").stdout.strip():
        yield "a unit has failed"


def _upgraded(machine: Machine) -> Iterator[str]:
    job = machine.ask("bgjob run jobs.Example::wait -p name=upgrade")
    pid = eventually(lambda: _pid_of(machine, job))
    before = machine.ask("systemctl show -P MainPID bgjobd.service")
    machine.ask("dpkg -i /srv/next.deb")
    if machine.ask("systemctl show -P MainPID bgjobd.service") == before:
        yield "the upgrade has not restarted the daemon"
    if _pid_of(machine, job) != pid:
        yield "the job that ran does not run any more"
    machine.ask("touch /var/lib/bgjobd/upgrade")
    machine.ask(f"bgjob wait {job} --timeout 30")
    shown = machine.ask(f"bgjob show {job}")
    debian.say(shown)
    if '"waited"' not in shown or "attempt 2" in shown:
        yield "the job that ran has no result, or ran again"


def _removed(machine: Machine) -> Iterator[str]:
    job = machine.ask("bgjob run jobs.Example::wait -p name=never")
    eventually(lambda: _pid_of(machine, job))
    machine.ask("dpkg -r bgjobd")
    if (left := machine.try_run("ps -o pid,args -u bgjobd --no-headers").stdout) != "":
        yield f"processes are left: {left}"
    if (left := machine.try_run("ls -d /usr/lib/bgjobd /run/bgjobd.sock /usr/bin/bgjob").stdout) != "":
        yield f"files are left by the removal: {left}"
    machine.ask("ls -d /var/lib/bgjobd/bgjobd.db /etc/bgjobd/bgjobd.toml")
    machine.ask("dpkg -i /srv/next.deb")
    if f"{job} " not in (listed := machine.ask("bgjob list")):
        yield f"the jobs from before are not there: {listed}"


def _purged(machine: Machine) -> Iterator[str]:
    machine.ask("echo bgjobd bgjobd/purge-state boolean false | debconf-set-selections")
    machine.ask("DEBIAN_FRONTEND=noninteractive dpkg -P bgjobd")
    if machine.try_run("ls /var/lib/bgjobd/bgjobd.db").returncode:
        yield "the database is gone, although somebody wanted to keep it"
    machine.ask("dpkg -i /srv/next.deb; bgjob stats --json >/dev/null")
    machine.ask("DEBIAN_FRONTEND=noninteractive dpkg -P bgjobd")
    if left := machine.ask(_LEFT_BY_PURGE):
        yield f"the purge has left {left}"


def _pid_of(machine: Machine, job: str) -> str:
    """Of the process that waits for this job's file, once there is one."""
    told = machine.try_run(f"bgjob show {job} --json | python3 -c '{_PID}'").stdout.strip()
    return told if told.isdigit() else ""


_PID: Final = 'import json, sys; print(json.load(sys.stdin)["attempts"][-1]["pid"])'


if __name__ == "__main__":
    sys.exit(main())
