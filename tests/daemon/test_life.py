"""The life that attempts belong to, and whether a process is surely gone: with real processes and namespaces."""

from __future__ import annotations

import argparse
import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bgjobd.commands import serve
from bgjobd.core.stopping import AtStop, at_stop
from bgjobd.host import container, life
from tests.faults.injecting import needs_root
from tests.support import eventually

OWN = "from bgjobd.host import life; own = life.own(); print(own.id, own.boot_id, flush=True)"
IN_CONTAINER = (
    "bwrap",
    "--unshare-pid",
    "--as-pid-1",
    "--die-with-parent",
    "--dev-bind",
    "/",
    "/",
    "--proc",
    "/proc",
)


def told(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@needs_root
@pytest.mark.needs("bwrap")
def test_each_run_of_a_container_is_a_life_of_its_own_and_the_same_to_all_in_it() -> None:
    ask = f'"{sys.executable}" -c "{OWN}"'
    first = told(*IN_CONTAINER, "sh", "-c", f"{ask}; {ask}")
    second = told(*IN_CONTAINER, "sh", "-c", ask)
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert {first[1], first[3], second[1]} == {boot_id}
    assert first[0] == first[2]
    assert len({first[0], second[0], boot_id}) == 3


@needs_root
@pytest.mark.needs("bwrap")
def test_the_life_of_a_container_is_the_same_to_its_first_process_as_to_any_other() -> None:
    both = f"{OWN}\nimport subprocess, sys\nsubprocess.run([sys.executable, '-c', {OWN!r}], check=True)"
    first = told(*IN_CONTAINER, sys.executable, "-c", both)
    assert first[0] == first[2] != first[1]


def test_in_the_machines_own_pid_namespace_the_life_is_the_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    inode = os.stat("/proc/self/ns/pid").st_ino
    monkeypatch.setattr(life, "_OF_MACHINE", inode)
    assert life.own().id == life.own().boot_id
    monkeypatch.setattr(life, "_OF_MACHINE", inode + 1)
    assert life.own().id != life.own().boot_id


@contextmanager
def process(*, leads: bool) -> Iterator[subprocess.Popen[bytes]]:
    running = subprocess.Popen(["sleep", "600"], start_new_session=leads)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


@pytest.mark.parametrize("leads", [True, False])
def test_the_process_of_an_attempt_is_not_gone_while_it_runs(leads: bool) -> None:
    with process(leads=leads) as running:
        assert not life.is_gone(running.pid, time.time(), time.time())


def test_a_process_that_has_ended_is_gone_reaped_or_not() -> None:
    with process(leads=True) as running:
        running.kill()
        eventually(lambda: life.is_gone(running.pid, time.time(), time.time()))
    assert life.is_gone(running.pid, time.time(), time.time())


def test_whoever_got_the_pid_later_is_another_unless_a_set_clock_may_have_made_it_younger() -> None:
    long_ago = time.time() - 3600
    with process(leads=False) as running:
        assert life.is_gone(running.pid, long_ago, time.time())
    with process(leads=True) as running:
        assert not life.is_gone(running.pid, long_ago, time.time())


THREADED = """
import threading, time
thread = threading.Thread(target=time.sleep, args=(600,), daemon=True)
thread.start()
print(thread.native_id, flush=True)
time.sleep(600)
"""


def test_the_pid_of_a_thread_is_no_process() -> None:
    running = subprocess.Popen([sys.executable, "-c", THREADED], stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        assert life.is_gone(int(running.stdout.readline()), time.time(), time.time())
    finally:
        running.kill()
        running.communicate()


# Containers


@pytest.mark.parametrize(
    ("environ", "files", "is_one"),
    [
        ({}, (), False),
        ({}, ("run/.containerenv",), True),
        ({}, (".dockerenv",), True),
        ({"container": "podman"}, (), True),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, (), True),
        ({"container": ""}, (), False),
        ({"container": "systemd-nspawn"}, ("run/systemd/system/",), False),
    ],
)
def test_a_container_is_what_its_engine_has_marked_unless_systemd_runs_in_it(
    tmp_path: Path, environ: dict[str, str], files: tuple[str, ...], is_one: bool
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).touch()
    assert container.is_around(environ, tmp_path) is is_one


def test_only_where_nobody_says_otherwise_a_container_decides_what_a_stop_does() -> None:
    assert (at_stop(AtStop.AUTO, True), at_stop(AtStop.AUTO, False)) == (AtStop.STOP, AtStop.LEAVE)
    for said in (AtStop.LEAVE, AtStop.STOP, AtStop.DRAIN):
        assert {at_stop(said, True), at_stop(said, False)} == {said}


@pytest.mark.parametrize(
    ("environ", "files", "named"),
    [
        ({"container": "podman"}, (), "podman"),
        ({}, ("run/.containerenv",), "podman"),
        ({}, (".dockerenv",), "docker"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "container": "oci"}, (), "kubernetes"),
        ({}, (), "unknown"),
    ],
)
def test_what_made_a_container_is_told_as_far_as_it_says(
    tmp_path: Path, environ: dict[str, str], files: tuple[str, ...], named: str
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert container.engine(environ, tmp_path) == named


@pytest.mark.parametrize(
    ("own", "around", "most"),
    [
        ("max 100000", None, 64),
        ("150000 100000", None, 2),
        ("max 100000", "50000 100000", 1),
        ("junk", None, 64),
    ],
)
def test_there_are_as_many_slots_as_the_cgroups_give_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, around: str | None, most: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    inner = tmp_path / "cgroup/a/b"
    inner.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/a/b\n")
    (inner / "cpu.max").write_text(f"{own}\n")
    if around is not None:
        (inner.parent / "cpu.max").write_text(f"{around}\n")
    assert container.cores(tmp_path / "proc", tmp_path / "cgroup") == most


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("         0          0 4294967295\n", False), ("0 1000 1\n1 100000 65536\n", True), (None, False)],
)
def test_a_user_namespace_that_leaves_users_out_is_known(
    tmp_path: Path, text: str | None, is_one: bool
) -> None:
    (tmp_path / "self").mkdir()
    if text is not None:
        (tmp_path / "self/uid_map").write_text(text)
    assert container.is_of_other_users(tmp_path) is is_one


def test_without_pidfds_no_daemon_starts_and_says_what_forbids_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(pid: int) -> int:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert serve.serve(argparse.Namespace()) == 69
    assert "pidfd_open(2) is forbidden here" in capsys.readouterr().err
