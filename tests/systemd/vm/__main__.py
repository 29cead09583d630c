"""The acceptance where cgroups have controllers and machines end, by hand and as root: `python -m tests.systemd.vm`.

Boots a Debian with this tree installed in a virtual machine, where `inside.py` tries the limits; it is powered off
while jobs run, booted from the same disk, loses its power, and is booted once more. Takes qemu-system-x86, debootstrap
and e2fsprogs; no KVM. The committed tree is what is tried, not the files beside it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TextIO

from tests.systemd import debian

PROGRAMS = ("qemu-system-x86_64", "debootstrap", "mke2fs")
KERNEL = "linux-image-cloud-amd64"
ID = "0123456789abcdef0123456789abcdef"  # without one, systemd takes each boot for the first
UNIT = f"""
[Unit]
After=bgjobd.socket
[Service]
ExecStart={debian.PYTHON} -u {debian.ACCEPTANCE}/inside.py
StandardOutput=tty
StandardError=inherit
TTYPath=/dev/ttyS1
[Install]
WantedBy=multi-user.target
"""
PATIENCE = """
[Service]
TimeoutStartSec=15min
"""
LONGEST_POWEROFF = 30.0
ANSWERS = 30
"""How many submits are answered until the power goes."""


def main() -> int:
    """Set up, boot three times; answers the exit code."""
    given = _parser().parse_args()
    if os.geteuid() != 0 or not all(map(shutil.which, PROGRAMS)):
        print(f"it takes root and {', '.join(PROGRAMS)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    with tempfile.TemporaryDirectory(prefix="bgjobd-vm-") as directory:
        root = Path(directory) / "root"
        debian.make(root, given.base, Path(__file__).parent, [KERNEL])
        _prepare(root)
        debian.say("a disk of it")
        machine = Machine(root, given.memory)
        problems = _boots(machine)
    for problem in problems:
        debian.say(f"PROBLEM: {problem}")
    debian.say("failed" if problems else "passed")
    return 1 if problems else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.systemd.vm", description=__doc__)
    parser.add_argument(
        "--base", type=Path, help="keep the bare Debian here, and take it from here next time"
    )
    parser.add_argument("--memory", default="1500M", help="what the machine has")
    return parser


def _prepare(root: Path) -> None:
    (root / "etc/machine-id").write_text(f"{ID}\n")
    (root / "etc/systemd/system/acceptance.service").write_text(UNIT)
    # A start takes what an emulator gives it.
    drop_in = root / "etc/systemd/system/bgjobd.service.d/patience.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(PATIENCE)
    debian.call("systemctl", f"--root={root}", "enable", "acceptance.service")
    debian.call("systemctl", f"--root={root}", "mask", "serial-getty@ttyS0.service")  # which closes the log


def _boots(machine: Machine) -> list[str]:
    """What went wrong, in three boots."""
    problems = _whole(list(machine.boot("limits")))
    took = time.monotonic() - machine.heard_at
    debian.say(f"off {took:.1f} s after its last word")
    if took > LONGEST_POWEROFF:
        problems.append(f"the machine took {took:.1f} s to end")

    answered = []
    with closing(machine.boot("after-poweroff")) as boot:
        for line in boot:
            problems += _told([line])
            if "answered " in line:
                answered.append(line.rpartition(" ")[2])
            if len(answered) == ANSWERS:
                break
    debian.say(f"the power went after {len(answered)} answers")
    if not answered:
        return [*problems, "no submit was answered"]

    return problems + _whole(list(machine.boot(f"after-power-loss.{answered[0]}-{answered[-1]}")))


def _whole(lines: list[str]) -> list[str]:
    """What went wrong in a boot that was to come to its own end."""
    is_whole = any("ok:" in line for line in lines) and "it is told to power off" in lines[-1]
    return _told(lines) + ([] if is_whole else ["the machine ended early"])


def _told(lines: list[str]) -> list[str]:
    return [line.partition("PROBLEM: ")[2] for line in lines if "PROBLEM: " in line]


class Machine:
    """Boots from a disk with what is in `root`; what it writes to its disk stays, and is as the last flush left it."""

    def __init__(self, root: Path, memory: str) -> None:
        self._directory = root.parent
        self._kernel, self._initrd = root / "vmlinuz", root / "initrd.img"
        self._memory = memory
        self._disk = self._directory / "disk"
        debian.call("mke2fs", "-q", "-t", "ext4", "-d", str(root), str(self._disk), "3G")
        self.heard_at = 0.0
        """When it said something last, by the monotonic clock."""

    def boot(self, what: str) -> Iterator[str]:
        """What it says, until it is off; whoever closes this takes its power away."""
        words = self._directory / f"words-{what}"
        words.touch()
        process = subprocess.Popen(self._command(what, words), stdin=subprocess.DEVNULL)
        try:
            with words.open(errors="replace") as file:
                is_over = False
                while not is_over:
                    is_over = process.poll() is not None
                    for line in _whole_lines(file):
                        self.heard_at = time.monotonic()
                        print(f"    {line}", flush=True)
                        yield line
                    time.sleep(0.1)
        finally:
            process.kill()
            process.wait()

    def _command(self, what: str, words: Path) -> list[str]:
        log = self._directory / f"console-{what}.log"
        return [
            *("qemu-system-x86_64", "-M", "pc", "-cpu", "max", "-smp", "1", "-m", self._memory),
            *("-nodefaults", "-display", "none", "-no-reboot"),
            *("-kernel", str(self._kernel.resolve()), "-initrd", str(self._initrd.resolve())),
            *("-append", f"root=/dev/vda rw console=ttyS0 panic=-1 acceptance={what}"),
            *("-drive", f"file={self._disk},format=raw,if=none,id=disk,cache=writeback"),
            *("-device", "virtio-blk-pci,drive=disk", "-device", "virtio-rng-pci"),
            *("-serial", f"file:{log}", "-serial", f"file:{words}"),
        ]


def _whole_lines(file: TextIO) -> Iterator[str]:
    """Those that are there, without their ends; of one that is not whole nothing is read."""
    while True:
        at = file.tell()
        line = file.readline()
        if not line.endswith("\n"):
            file.seek(at)
            return
        yield line.rstrip()


if __name__ == "__main__":
    sys.exit(main())
