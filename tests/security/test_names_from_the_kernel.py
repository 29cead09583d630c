"""Names that /proc tells were chosen by whoever made the process, the socket or the mount: they stay names."""

from __future__ import annotations

import ast
import ctypes
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import bgjobd
from bgjobd.commands import listeners, process_table
from bgjobd.forkserver import journal as journals
from bgjobd.forkserver import journal_lines, process_identity, spool_names
from bgjobd.forkserver.cgroup import Group, Groups
from bgjobd.host import disk_space
from bgjobd.supervisor import cgroups, live_usage, processes
from tests.support import eventually

TREE = Path(bgjobd.__file__).parent.parent
_PR_SET_NAME = 15

NAMES = ["a) R 1 (", "a\nUid:\t0 0 0", "\rPPid:\t1", ") Z 0 0 0 0 0 0", "((((((((((((((("]


@pytest.fixture(params=NAMES)
def named(request: pytest.FixtureRequest) -> Iterator[int]:
    """A child that calls itself so, by its pid."""
    pid = os.fork()
    if pid == 0:
        ctypes.CDLL(None).prctl(_PR_SET_NAME, request.param.encode())
        signal.pause()
    try:
        eventually(lambda: Path(f"/proc/{pid}/comm").read_bytes() == request.param.encode()[:15] + b"\n")
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_hostile_process_name_moves_no_field(named: int, tmp_path: Path) -> None:
    """CVE-2020-28243 (salt): comm is whatever a process says it is."""
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - process_identity.start_time(named) / os.sysconf(
        "SC_CLK_TCK"
    )
    assert 0 <= age < 60
    assert 0 <= process_identity.cpu_time(named) < 60
    reading = live_usage.reading_of(Path(f"/proc/{named}/stat").read_bytes())
    assert (0 <= reading.cpu < 60, 2**16 < reading.memory < 2**34) == (True, True)
    seen = process_table.take(tmp_path, tmp_path)[named]
    assert (seen.parent, seen.is_zombie, seen.session) == (os.getpid(), False, os.getsid(0))
    journal = journals.parse(
        journal_lines.started("ab", named, 0, process_identity.pidfd_inode(named), "cd", 1.0)
    )
    assert processes.try_open_process(journal, owner=os.getuid() + 1, parents=(os.getpid(),)) is None
    assert processes.try_open_process(journal, owner=os.getuid(), parents=(1,)) is None
    pidfd = processes.try_open_process(journal, owner=os.getuid(), parents=(os.getpid(),))
    assert pidfd is not None
    os.close(pidfd)


LINES = [
    "x\na b c zz e f g h",
    "x\rA: 0 0 zz 0 0 0 /x",
    "\x85\u2028\n\n:::",
    "x\n0: 1 1 00010000 1 1 not-a-number /a",
]


def test_a_socket_whose_name_looks_like_lines_ends_no_check(tmp_path: Path) -> None:
    """CVE-2020-28243 (salt), by another list: /proc/net/unix has names as they were bound, and anybody may bind."""
    path = tmp_path / "a.sock"
    with ExitStack() as stack:
        for name in LINES:
            abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
            abstract.bind(f"\0{os.getpid()}{name}")
            abstract.listen()
        path.touch()
        assert listeners.at_path(path) is None
        path.unlink()
        real = stack.enter_context(socket.socket(socket.AF_UNIX))
        real.bind(str(path))
        real.listen()
        assert listeners.at_path(path) == listeners.Listener(os.getpid())


MOUNTS = (
    "22 1 0:20 / / rw - ext4 /dev/vda rw\n"
    "23 22 0:21 / /home/eve/\r rw - fuse eve rw\n"
    "24 22 0:22 / /home/eve/\x0b-\x0bcgroup2\x0b rw - fuse eve rw\n"
    "25 22 0:23 / /home/eve/\u2028\x85\x1c- rw - fuse eve rw\n"
    "26 22 0:24 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    "27 22 0:25 / /run rw - tmpfs tmpfs rw\n"
)


def test_a_mount_whose_name_looks_like_lines_or_fields_ends_no_start(tmp_path: Path) -> None:
    """CVE-2020-28243 (salt), by another list: with FUSE, a user may mount at a directory of any name."""
    assert disk_space.kind_among(MOUNTS, "/run/bgjobd") == "tmpfs"
    own = tmp_path / "self"
    own.mkdir()
    (own / "mountinfo").write_bytes(MOUNTS.encode() + b"28 22 0:26 / /media/\xe9 rw - vfat /dev/sdb rw\n")
    (own / "cgroup").write_bytes(b"0::/user\x0b0::/\r0::/eve/\xe9\n")
    assert cgroups.find(proc=tmp_path) is None
    assert cgroups._mount(cgroups._text(own / "mountinfo")) == "/sys/fs/cgroup"
    assert cgroups._own_path(cgroups._text(own / "cgroup")) == "/user\x0b0::/\r0::/eve/\udce9"


ODD = [
    f"{10**19}.1",
    f"1.{10**19}",
    "01.1",
    "1.01",
    "0.1",
    "..",
    "../1.1",
    "1.1/..",
    "-1.1",
    "+1.1",
    "1_0.1",
    "\u0661.1",
    "1.1 ",
]


@pytest.mark.parametrize("name", ODD)
def test_a_name_that_was_not_written_from_two_numbers_is_no_attempts(name: str) -> None:
    """CVE-2026-15059 (systemd-oomd): names of cgroups and files come from integers, and go back to them."""
    assert spool_names.try_directory_key(name) is None
    assert spool_names.try_key(f"{name}.journal", "journal") is None


def test_the_name_of_a_cgroup_is_made_of_numbers_alone() -> None:
    """CVE-2026-15059 (systemd-oomd): the same from the other side, for the largest and the least."""
    for job, number in ((1, 1), (10**17, 10**17)):
        for kind in (spool_names.ATTEMPT, *spool_names.HOOKS):
            name = spool_names.directory_name(job, number, kind)
            assert set(name) <= set("0123456789.hok_nfailure")
            assert spool_names.try_directory_key(name) == (job, number)
            assert Path(Group.of(Groups("/g", ()), name).path).parent == Path("/g")


SHELLS = {"system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell", "subprocess_shell"}

STARTERS = {"Popen", "run", "call", "check_call", "check_output", "subprocess_exec", "create_subprocess_exec"}


def shells(source: str) -> list[int]:
    """The lines in which a shell is started, or a program is asked to be started by one."""
    tree = ast.parse(source)
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return [node.lineno for node in ast.walk(tree) if is_shell(node) and not is_call_of(own, node)]


def is_call_of(functions: set[str], node: ast.AST) -> bool:
    """Whether one of these functions is called, which are of the file itself, whatever they are called."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions


def is_shell(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if name in SHELLS:
            return True
        case ast.ImportFrom(names=names):
            return any(one.name in SHELLS for one in names)
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), keywords=keywords) if (
            name in STARTERS
        ):
            return any(one.arg in {"shell", None} and not is_false(one.value) for one in keywords)
        case ast.List(elts=[ast.Constant(value=str(program)), ast.Constant(value="-c"), *_]):
            return program.rpartition("/")[2] in {"sh", "bash", "dash"}
        case _:
            return False


def is_false(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


def test_nothing_starts_a_shell() -> None:
    """CVE-2020-28243 (salt): whatever a name holds, there is no shell that could read it."""
    files = [
        path for folder in ("bgjobd", "client", "web", "systemd") for path in (TREE / folder).rglob("*.py")
    ]
    assert len(files) > 100
    assert {str(path): lines for path in files if (lines := shells(path.read_text()))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "os.system('x')",
        "from os import popen",
        "run(['x'], shell=True)",
        "run(['x'], shell=y)",
        "run(['sh', '-c'])",
    ],
)
def test_a_shell_would_be_found(source: str) -> None:
    assert shells(source) == [1]


def test_a_function_of_the_file_itself_is_no_program() -> None:
    assert shells("def call(**names): ...\ncall(**given)") == []
    assert shells("def call(**names): ...\nsubprocess.call(x, shell=True)") == [2]


def test_a_program_run_by_no_shell_is_none() -> None:
    assert shells("subprocess.run([sys.executable, '-c', x], shell=False)") == []
