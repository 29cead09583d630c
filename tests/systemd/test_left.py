"""What a daemon has left is ended where the machine goes down: in real cgroups; systemctl is one of the test's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bgjobd.systemd import left
from tests.support import eventually

DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


def hierarchy() -> Path | None:
    """Where cgroups of version 2 can be made."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2" and os.access(place, os.W_OK):
            return Path(place)
    return None


needs_cgroups = pytest.mark.skipif(hierarchy() is None, reason="no cgroup v2 that may be written")


@pytest.fixture
def group() -> Iterator[Path]:
    place = hierarchy()
    assert place is not None
    made = place / f"bgjobd-left-{os.getpid()}"
    (made / "attempts" / "1.1").mkdir(parents=True)
    try:
        yield made
    finally:
        for directory in (made / "attempts" / "1.1", made / "attempts", made):
            directory.rmdir()


@contextmanager
def inside(group: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        (group / "cgroup.procs").write_text(str(running.pid))
        yield running
    finally:
        running.kill()
        running.communicate()


@needs_cgroups
def test_whoever_is_in_the_group_or_below_gets_sigterm_and_who_ignores_it_is_killed(group: Path) -> None:
    below = group / "attempts" / "1.1"
    with inside(group, "sleep", "600") as meek, inside(below, sys.executable, "-c", DEAF) as deaf:
        assert deaf.stdout is not None
        assert deaf.stdout.readline() == "deaf\n"
        left.end(group, grace=0.2)
        assert (meek.wait(20), deaf.wait(20)) == (-signal.SIGTERM, -signal.SIGKILL)


@needs_cgroups
def test_nobody_waits_for_the_grace_once_all_have_ended(group: Path) -> None:
    with inside(group, "sleep", "600") as meek:
        left.end(group, grace=600)
        assert meek.wait(20) == -signal.SIGTERM
    left.end(group, grace=600)


def test_where_there_is_no_group_nothing_is_to_be_done(tmp_path: Path) -> None:
    left.end(tmp_path / "gone", grace=600)


@needs_cgroups
@pytest.mark.parametrize(("state", "how"), [("stopping", -signal.SIGTERM), ("running", None)])
def test_only_where_the_machine_goes_down_anything_is_ended(
    tmp_path: Path, group: Path, monkeypatch: pytest.MonkeyPatch, state: str, how: int | None
) -> None:
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(
        f"""#!/bin/sh
        [ "$1" = is-system-running ] && echo {state} && exit 1
        echo "$*" > {tmp_path}/asked
        echo /{group.name}
        """
    )
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(left, "_CGROUPS", group.parent)
    with inside(group, "sleep", "600") as running:
        assert left.main() == 0
        if how is None:
            assert running.poll() is None
        else:
            eventually(lambda: running.poll() == how)
            assert (tmp_path / "asked").read_text() == "show --property=ControlGroup --value bgjobd.service\n"
