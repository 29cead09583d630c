"""The cgroups of attempts: what is written and read in files that look like the kernel's, and who is killed in real
ones; and the subtree that systemd has delegated.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgjobd.forkserver.cgroup import Evidence, Group, Groups, Surroundings, own_path
from bgjobd.forkserver.reaping import collect
from bgjobd.supervisor import cgroups
from tests.faults.injecting import needs_root
from tests.forkserver.driven import DrivenServer, fork_server, order
from tests.support import eventually, has_removed, own_cgroup

ALL = ("memory", "pids", "cpu")
FILES = (
    "memory.max",
    "memory.swap.max",
    "memory.oom.group",
    "pids.max",
    "cpu.max",
    "cgroup.procs",
    "cgroup.kill",
)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The files that a new group has, as the kernel makes them; a test may take some away."""
    files = set(FILES)
    mkdir = os.mkdir

    def make(path: str, mode: int = 0o777) -> None:
        mkdir(path, mode)
        for name in files:
            Path(path, name).touch()

    monkeypatch.setattr(os, "mkdir", make)
    return files


def written(group: Group) -> dict[str, str]:
    return {file.name: text for file in Path(group.path).iterdir() if (text := file.read_text())}


# Limits


def test_a_group_gets_the_limits_for_which_there_are_controllers(tmp_path: Path, made: set[str]) -> None:
    group = Group.make(Groups(str(tmp_path), ALL), "1.1", 2**20, 5, 1.5)
    assert written(group) == {
        "memory.max": "1048576",
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "pids.max": "5",
        "cpu.max": "150000 100000",
    }


def test_what_is_not_limited_is_not_written(tmp_path: Path, made: set[str]) -> None:
    assert written(Group.make(Groups(str(tmp_path), ALL), "1.1", None, None, None)) == {}


def test_what_has_no_controller_is_not_written(tmp_path: Path, made: set[str]) -> None:
    group = Group.make(Groups(str(tmp_path), ("pids",)), "1.1", 2**20, 5, 0.25)
    assert written(group) == {"pids.max": "5"}


def test_a_kernel_that_does_not_account_for_swap_limits_the_rest(tmp_path: Path, made: set[str]) -> None:
    made.discard("memory.swap.max")
    group = Group.make(Groups(str(tmp_path), ALL), "1.1", 5, None, None)
    assert written(group) == {"memory.max": "5", "memory.oom.group": "1"}


def test_a_group_of_this_name_that_is_there_already_is_refused(tmp_path: Path, made: set[str]) -> None:
    groups = Groups(str(tmp_path), ALL)
    Group.make(groups, "1.1", None, None, None)
    with pytest.raises(FileExistsError):
        Group.make(groups, "1.1", None, None, None)


def test_who_enters_writes_itself_and_who_kills_writes_one(tmp_path: Path, made: set[str]) -> None:
    group = Group.make(Groups(str(tmp_path), ALL), "1.1", None, None, None)
    group.enter()
    group.kill()
    assert written(group) == {"cgroup.procs": "0", "cgroup.kill": "1"}


# Evidence


def group_of(directory: Path, **files: str) -> Group:
    group = Group.of(Groups(str(directory), ALL), "1.1")
    os.makedirs(group.path)
    for name, text in files.items():
        Path(group.path, name.replace("_", ".", 1)).write_text(text)
    return group


@pytest.mark.parametrize(
    ("files", "evidence"),
    [
        ({}, Evidence()),
        ({"memory_peak": "123456\n"}, Evidence(123456)),
        ({"memory_events": "low 0\nhigh 0\nmax 7\noom 2\noom_kill 2\noom_group_kill 1\n"}, Evidence(None, 2)),
        ({"memory_peak": "5\n", "memory_events": "oom_kill 1\n"}, Evidence(5, 1)),
        ({"memory_peak": "max\n", "memory_events": "oom_kill\n"}, Evidence()),
        (
            {"cpu_stat": "usage_usec 1750000\nuser_usec 1250000\nsystem_usec 500000\n"},
            Evidence(cpu=(1.25, 0.5)),
        ),
        ({"memory_peak": "", "memory_events": "", "cpu_stat": ""}, Evidence()),
    ],
)
def test_a_group_that_ends_tells_what_it_used(
    tmp_path: Path, files: dict[str, str], evidence: Evidence
) -> None:
    assert group_of(tmp_path, **files).end() == evidence


def test_where_there_is_no_group_nothing_is_told_and_nothing_fails(tmp_path: Path) -> None:
    group = Group.of(Groups(str(tmp_path / "gone"), ALL), "1.1")
    group.kill()
    assert group.end() == Evidence()


@pytest.mark.parametrize(("kills", "is_told"), [(0, False), (1, True)])
def test_the_memory_of_a_group_which_includes_its_files_is_told_of_who_was_killed_for_it(
    tmp_path: Path, kills: int, is_told: bool
) -> None:
    group = group_of(tmp_path, memory_peak=f"{2**40}", memory_events=f"oom_kill {kills}\n")
    assert (usage_in(group)["max_rss"] == 2**40) is is_told


def test_the_cpu_time_of_a_group_counts_if_it_is_more_than_the_processes_own(tmp_path: Path) -> None:
    more = usage_in(group_of(tmp_path / "more", cpu_stat="user_usec 3000000000\nsystem_usec 0\n"))
    assert (more["cpu_user"], more["cpu_system"]) == (3000, 0)
    less = usage_in(group_of(tmp_path / "less", cpu_stat="user_usec 0\nsystem_usec 0\n"))
    assert less["cpu_user"] + less["cpu_system"] > 0


@pytest.mark.parametrize(
    ("number", "counts", "told"),
    [(signal.SIGKILL, (3, 5), 1), (signal.SIGKILL, (3, 3), 0), (signal.SIGTERM, (3, 4), 0)],
)
def test_who_has_no_group_was_killed_for_memory_if_the_one_around_it_counts_another(
    tmp_path: Path, number: int, counts: tuple[int, int], told: int
) -> None:
    around, pid = tmp_path / "around", os.fork()
    if pid == 0:
        signal.pause()
    around.mkdir()
    (around / "memory.events").write_text(f"oom 9\noom_kill {counts[0]}\n")
    seen = Surroundings(str(around))
    (around / "memory.events").write_text(f"oom 9\noom_kill {counts[1]}\n")
    os.kill(pid, number)
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    spool = os.open(tmp_path, os.O_RDONLY)
    record = collect(ended, spool, "1.1.journal", lambda: 0, dict, None, seen)
    os.close(spool)
    assert record["oom_kills"] == told
    assert seen.new_oom_kills() == (counts[1] - counts[0] if number != signal.SIGKILL else 0)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("0::/\n", ""),
        ("0::/a/b\n", "a/b"),
        ("12:cpu:/x\n0::/a\n", "a"),
        ("0::/gone\n", None),
        ("1:cpu:/x\n", None),
    ],
)
def test_the_group_of_this_process_is_where_it_is_seen(tmp_path: Path, text: str, path: str | None) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "mount/a/b").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(text)
    found = own_path(str(tmp_path / "proc"), str(tmp_path / "mount"))
    assert found == (None if path is None else os.path.join(tmp_path, "mount", path))


def usage_in(group: Group) -> dict[str, Any]:
    """What is recorded of a child that ends in this group."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    spool = os.open(Path(group.path).parent, os.O_RDONLY)
    try:
        usage: dict[str, Any] = collect(ended, spool, "1.1.journal", lambda: 0, dict, group)["usage"]
    finally:
        os.close(spool)
    return usage


def test_the_group_is_gone_once_it_has_ended(tmp_path: Path) -> None:
    group = group_of(tmp_path)
    group.end()
    assert not os.path.exists(group.path)


# For real


@pytest.fixture
def groups() -> Iterator[Groups]:
    """A directory of real groups, without controllers."""
    with own_cgroup() as path:
        yield Groups(str(path), ())


def members(group: Group) -> list[int]:
    return [int(pid) for pid in Path(group.path, "cgroup.procs").read_text().split()]


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def fork_in(group: Group) -> int:
    """A child in the group, which waits to be killed."""
    pid = os.fork()
    if pid == 0:
        try:
            group.enter()
            signal.pause()
        finally:
            os._exit(1)
    eventually(lambda: pid in members(group))
    return pid


def test_all_who_are_in_a_group_are_killed(groups: Groups) -> None:
    group = Group.make(groups, "1.1", None, None, None)
    pids = [fork_in(group) for _ in range(3)]
    group.kill()
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [-signal.SIGKILL] * 3
    assert group.end().oom_kills == 0
    assert not os.path.exists(group.path)


def test_the_end_of_a_group_kills_whoever_is_left_and_removes_it(groups: Groups) -> None:
    group = Group.make(groups, "1.1", None, None, None)
    pid = fork_in(group)
    assert group.end().left == {pid: Path("/proc/self/comm").read_text().strip()}
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    eventually(lambda: not os.path.exists(group.path) or has_removed(group.path))


def test_who_is_in_a_group_that_the_attempt_made_in_its_own_is_left_too(groups: Groups) -> None:
    group = Group.make(groups, "1.1", None, None, None)
    os.mkdir(f"{group.path}/inner")
    pid = fork_in(Group(f"{group.path}/inner"))
    assert set(group.end().left) == {pid}
    os.waitpid(pid, 0)


def test_groups_that_an_attempt_made_in_its_own_go_with_it(groups: Groups) -> None:
    group = Group.make(groups, "1.1", None, None, None)
    os.makedirs(f"{group.path}/inner/most")
    os.mkdir(f"{group.path}/other")
    group.end()
    assert not os.path.exists(group.path)


@needs_root
def test_where_the_daemon_is_root_no_other_user_can_lift_the_limits_of_a_group(groups: Groups) -> None:
    group = Group.make(groups, "1.1", None, None, None)
    files = [group.path, *map(str, Path(group.path).iterdir())]
    assert {os.stat(path).st_uid for path in files} == {0}
    pid = os.fork()
    if pid == 0:
        group.enter()
        os.setgroups([])
        os.setresuid(65534, 65534, 65534)
        os._exit(sum(map(may_write, [*files, groups.path, f"{groups.path}/cgroup.procs"])))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def may_write(path: str) -> bool:
    """Whether this process may write the file, or make another cgroup in the directory."""
    try:
        os.mkdir(f"{path}/own") if os.path.isdir(path) else os.close(os.open(path, os.O_WRONLY))
    except PermissionError:
        return False
    return True


MODULE = """
import os, signal, time


class Job:
    def leave_one_who_works(self):
        reading, writing = os.pipe()
        if os.fork() == 0:
            if os.fork() == 0:
                while time.process_time() < 0.3:
                    pass
                os.write(writing, b"!")
                signal.pause()
            os._exit(0)
        os.wait()
        os.read(reading, 1)

    def where(self):
        return open("/proc/self/cgroup").read()

    def leave_a_survivor(self, path):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                with open(path, "w") as file:
                    file.write(str(os.getpid()))
                os.rename(path, path + ".whole")
                signal.pause()
            os._exit(0)
        os.wait()
        while not os.path.exists(path + ".whole"):
            pass
"""


def run(server: DrivenServer, method: str, **parameters: Any) -> Any:
    server.send({**order(1, method, **parameters), "class_name": "grouped.Job"})
    assert server.receive()["type"] == "ended"
    journal = server.journal(1)
    assert journal is not None
    assert journal.outcome is not None
    assert journal.outcome["outcome"] == "completed", journal.outcome
    return journal.outcome["result"]


@pytest.fixture
def server(tmp_path: Path, groups: Groups) -> Iterator[DrivenServer]:
    (tmp_path / "grouped.py").write_text(MODULE)
    with fork_server(tmp_path, approved={"grouped.Job": None}, groups=groups) as server:
        yield server


def test_an_attempt_is_in_a_group_of_its_name_which_goes_with_it(
    server: DrivenServer, groups: Groups
) -> None:
    assert f"/{Path(groups.path).name}/1.1\n" in run(server, "where")
    assert not os.path.exists(f"{groups.path}/1.1")


def test_a_survivor_that_left_group_and_session_is_killed_with_its_cgroup(
    server: DrivenServer, groups: Groups, tmp_path: Path
) -> None:
    run(server, "leave_a_survivor", path=str(tmp_path / "survivor"))
    pid = int((tmp_path / "survivor.whole").read_text())
    eventually(lambda: is_gone(pid))
    eventually(lambda: not os.path.exists(f"{groups.path}/1.1") or has_removed(f"{groups.path}/1.1"))


def test_who_is_left_in_the_group_is_counted_and_named_before_it_is_killed(
    server: DrivenServer, tmp_path: Path
) -> None:
    run(server, "leave_a_survivor", path=str(tmp_path / "survivor"))
    journal = server.journal(1)
    assert journal is not None
    assert journal.exit is not None
    name = Path("/proc/self/comm").read_text().strip()
    assert (journal.exit["strays"], journal.exit["stray_names"]) == (1, [name])


def test_the_cpu_time_of_those_whom_nobody_waited_for_counts(server: DrivenServer) -> None:
    run(server, "leave_one_who_works")
    journal = server.journal(1)
    assert journal is not None
    assert journal.exit is not None
    assert journal.exit["usage"]["cpu_user"] + journal.exit["usage"]["cpu_system"] >= 0.25


def test_a_group_that_cannot_be_made_fails_the_attempt(server: DrivenServer, groups: Groups) -> None:
    os.mkdir(f"{groups.path}/1.1")
    server.send({**order(1, "where"), "class_name": "grouped.Job"})
    server.receive()
    journal = server.journal(1)
    assert journal is not None
    assert journal.outcome is not None
    assert journal.outcome["error_message"].startswith("the attempt's cgroup could not be set up: [Errno 17]")


# What systemd has delegated

MOUNTS = """\
22 60 0:21 / /sys rw,nosuid shared:2 - sysfs sysfs rw
25 22 0:22 / /elsewhere rw,nosuid shared:4 - cgroup cgroup rw,memory
26 22 0:23 / {mount} rw,nosuid shared:5 master:1 - cgroup2 cgroup2 rw,nsdelegate
"""
SLICE = "/system.slice/bgjobd.service"


class Proc:
    """Files as in /proc, and a tree of cgroups."""

    def __init__(self, directory: Path) -> None:
        self.mount = directory / "cgroup"
        self.service = Path(f"{self.mount}{SLICE}")
        (self.service / "daemon").mkdir(parents=True)
        self.proc = directory / "proc"
        (self.proc / "self").mkdir(parents=True)
        self.own, self.mounts = self.proc / "self" / "cgroup", self.proc / "self" / "mountinfo"
        self.own.write_text(f"1:memory:/elsewhere\n0::{SLICE}/daemon\n")
        self.mounts.write_text(MOUNTS.format(mount=self.mount))

    def find(self) -> Path | None:
        return cgroups.find(proc=self.proc)

    def delegate(self, mark: bytes = b"1") -> None:
        try:
            os.setxattr(self.service, "user.delegate", mark)
        except OSError:
            pytest.skip("this file system keeps no marks of users")


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def test_the_delegated_subtree_is_the_one_above_the_daemons_own_group(proc: Proc) -> None:
    proc.delegate()
    assert proc.find() == proc.service


@pytest.mark.parametrize("mark", [None, b"0", b""])
def test_what_is_not_marked_is_not_delegated(proc: Proc, mark: bytes | None) -> None:
    if mark is not None:
        proc.delegate(mark)
    assert proc.find() is None


def test_a_mark_on_the_daemons_own_group_is_not_enough(proc: Proc) -> None:
    proc.delegate()
    proc.own.write_text(f"0::{SLICE}\n")
    assert proc.find() is None


@pytest.mark.parametrize(
    "own", ["", "0::/\n", "1:memory:/system.slice/bgjobd.service/daemon\n", "0::/../..\n"]
)
def test_who_is_in_no_group_below_one_has_no_subtree(proc: Proc, own: str) -> None:
    proc.delegate()
    proc.own.write_text(own)
    assert proc.find() is None


def test_without_the_unified_hierarchy_there_is_no_subtree(proc: Proc) -> None:
    proc.delegate()
    proc.mounts.write_text("".join(MOUNTS.splitlines(keepends=True)[:2]))
    assert proc.find() is None


def test_where_proc_tells_nothing_there_is_no_subtree(proc: Proc) -> None:
    proc.delegate()
    proc.mounts.unlink()
    assert proc.find() is None


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds a controller to a group's list for those below as the kernel does, if the group has it."""
    write_text = Path.write_text

    def write(path: Path, text: str) -> int:
        if path.name != "cgroup.subtree_control":
            return write_text(path, text)
        name = text.removeprefix("+")
        if name not in (path.parent / "cgroup.controllers").read_text().split():
            raise FileNotFoundError(path)
        write_text(path, " ".join({*path.read_text().split(), name}))
        for below in path.parent.iterdir():
            if below.is_dir():
                write_text(below / "cgroup.controllers", path.read_text())
        return len(text)

    monkeypatch.setattr(Path, "write_text", write)


@pytest.mark.parametrize(
    ("there", "had"),
    [
        ("cpuset cpu io memory pids", ALL),
        ("pids memory", ("memory", "pids")),
        ("cpuset io", ()),
        ("", ()),
    ],
)
def test_attempts_get_the_controllers_that_the_subtree_has(
    proc: Proc, kernel: None, there: str, had: tuple[str, ...]
) -> None:
    attempts = proc.service / "attempts"
    attempts.mkdir()
    for directory in (proc.service, attempts):
        (directory / "cgroup.controllers").touch()
        (directory / "cgroup.subtree_control").touch()
    (proc.service / "cgroup.controllers").write_text(there)
    assert cgroups.prepare(proc.service) == Groups(str(attempts), had)


def test_a_subtree_that_is_gone_or_no_cgroup_is_none(proc: Proc, tmp_path: Path) -> None:
    assert cgroups.prepare(None) is None
    assert cgroups.prepare(tmp_path / "gone") is None
    assert cgroups.prepare(proc.service) is None


TELL = """
import sys
from pathlib import Path
from bgjobd.supervisor import cgroups
subtree = Path(sys.argv[1])
print(cgroups.prepare(subtree), cgroups.why_unusable(subtree))
"""


@needs_root
def test_a_subtree_that_is_mounted_read_only_is_none_and_what_opens_it_is_told(proc: Proc) -> None:
    mount = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "$2" -c "$3" "$1"'
    script = ["unshare", "--mount", "sh", "-c", mount, "sh", str(proc.service), sys.executable, TELL]
    told = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert told.startswith("None attempts get no cgroups")
    assert f"read-only here; with ReadWritePaths={proc.service} " in told


def test_of_a_subtree_that_is_not_read_only_that_is_not_said(proc: Proc) -> None:
    assert "ReadWritePaths" not in cgroups.why_unusable(proc.service)


@pytest.mark.parametrize(
    ("there", "has_some"), [("cpuset cpu io memory pids", True), ("cpuset io", False), ("", False)]
)
def test_a_machine_has_controllers_to_delegate_or_has_not(proc: Proc, there: str, has_some: bool) -> None:
    assert not cgroups.has_controllers(proc.proc)
    (proc.mount / "cgroup.controllers").write_text(there)
    assert cgroups.has_controllers(proc.proc) is has_some
    proc.mounts.unlink()
    assert not cgroups.has_controllers(proc.proc)
