"""Attempts within their limits, whoever they run as: each limit bites, none keeps an attempt from telling its end."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bgjobd.forkserver import sandbox
from bgjobd.forkserver.journal import Journal
from bgjobd.forkserver.sandbox import Limits
from tests.forkserver.driven import DrivenServer, fork_server, order
from tests.forkserver.forked import in_child
from tests.support import eventually

MODULE = '''
import os, re, resource, signal, subprocess, sys, tempfile
from pathlib import Path

os.umask(0)
tempfile.gettempdir()


class Job:
    def take_memory(self, size, at_once=False):
        taken = bytearray(size) if at_once else [b"x" * 2**20 for _ in range(size // 2**20)]
        return len(taken)

    async def take_memory_in_a_task(self, size):
        import asyncio

        async def take():
            return self.take_memory(size)

        async with asyncio.TaskGroup() as group:
            group.create_task(take())

    def hoard(self):
        self.kept = []
        while True:
            self.kept.append(str(len(self.kept)))

    def return_memory(self, size):
        return "x" * size

    def burn(self, ignoring=False):
        if ignoring:
            signal.signal(signal.SIGXCPU, signal.SIG_IGN)
        while True:
            pass

    def open_files(self, most):
        self.kept = [open("/dev/null") for _ in range(most)]

    def count_open_files(self):
        kept = []
        try:
            while True:
                kept.append(open("/dev/null"))
        except OSError as error:
            return [kept[-1].fileno(), error.errno]

    def fork(self, children):
        held, holding = os.pipe()
        for _ in range(children):
            if os.fork() == 0:
                os.close(holding)
                os.read(held, 1)
                os._exit(0)

    def write(self, size):
        with open("large", "wb", buffering=0) as file:
            while file.tell() < size:
                file.write(b"x" * 1024)
        return file.name

    def say(self, size):
        for _ in range(size // 1024):
            print("x" * 1023, flush=True)

    def say_by_another(self, size):
        code = subprocess.run([sys.executable, "-c", f"print('x' * {size})"]).returncode
        os.kill(os.getpid(), -code)

    def raise_odd_number(self):
        raise OSError(["no number"], "of an error")

    def receive_nothing(self):
        os.read(os.pipe2(os.O_NONBLOCK)[0], 1)

    def raise_memory_error(self):
        raise MemoryError("its own")

    def whereabouts(self):
        made = os.open("made", os.O_WRONLY | os.O_CREAT, 0o666)
        with tempfile.NamedTemporaryFile() as file:
            temporary = file.name
        return {
            "directory": os.getcwd(),
            "TMPDIR": os.environ["TMPDIR"],
            "tempdir": tempfile.gettempdir(),
            "temporary": os.path.dirname(temporary),
            "mode": oct(os.stat(".").st_mode & 0o7777),
            "owner": [os.stat(".").st_uid, os.stat(".").st_gid],
            "made": oct(os.fstat(made).st_mode & 0o7777),
            "umask": oct(os.umask(0o022)),
        }

    def account(self):
        told = {"uids": os.getresuid(), "gids": os.getresgid(), "groups": sorted(os.getgroups())}
        back = []
        ways = (
            lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0]), lambda: os.setresuid(-1, 0, -1)
        )
        for way in ways:
            try:
                way()
            except PermissionError:
                continue
            back.append(True)
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        return {
            **told,
            "back": back,
            "capabilities": [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")],
            "person": {name: os.environ.get(name) for name in ("HOME", "USER", "LOGNAME")},
        }

    def keep(self, secret, go):
        while not os.path.exists(go):
            pass

    def look_for(self, length):
        """What texts of this length others may have left in the frames above, or in what those know."""
        found, frame = set(), sys._getframe(0)
        while frame := frame.f_back:
            known = [*frame.f_locals.values()]
            for value in known + [vars(value) for value in known if hasattr(value, "__dict__")]:
                found.update(re.findall("s" * length, repr(value)))
        return len(found)

    def surroundings(self):
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        listing = os.open("/proc/self/fd", os.O_RDONLY)
        names = [name for name in os.listdir(listing) if name != str(listing)]
        os.close(listing)
        targets = {}
        for name in names:
            try:
                target = os.readlink(f"/proc/self/fd/{name}")
            except FileNotFoundError:
                continue
            if "/libffi.so" not in target:  # which ctypes has open, where libffi makes its calls of it
                targets[name] = target
        return {
            "core": resource.getrlimit(resource.RLIMIT_CORE),
            "NoNewPrivs": status["NoNewPrivs"].strip(),
            "oom_score_adj": Path("/proc/self/oom_score_adj").read_text().strip(),
            "nice": os.getpriority(os.PRIO_PROCESS, 0),
            "fds": targets,
            "environment": dict(os.environ),
        }


class Untouched:
    """Leaves a mark wherever any line of its code runs, once it is imported."""

    def __init__(self):
        self._mark("init")

    def run(self):
        self._mark("run")

    def retry_delay(self, attempt, error):
        self._mark("retry_delay")
        return 5

    def failed(self, error):
        self._mark("failed")

    def _mark(self, name):
        with open(os.path.join(os.path.dirname(__file__), "marks"), "a") as file:
            file.write(name)
'''
APPROVED: dict[str, Any] = {"confined.Job": None, "confined.Untouched": None}
SYSTEM_PYTHON = "/usr/bin/python3"
STRANGER = 54321
"""A uid and gid that nobody has."""

MIB = 2**20
_RESERVE = 16 * MIB

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@contextmanager
def confined(
    directory: Path, python: str = sys.executable, ballast: int = 0, **limits: Any
) -> Iterator[DrivenServer]:
    """A fork server whose attempts have these limits; it has as many MiB itself as its `ballast`."""
    (directory / "confined.py").write_text(f"{MODULE}\nballast = b'x' * ({ballast} * 2**20)\n")
    with fork_server(directory, python=python, approved=APPROVED, limits=limits) as server:
        yield server


def run(server: DrivenServer, method: str, job: int = 1, name: str = "Job", **parameters: Any) -> Journal:
    """The journal of an attempt that has ended."""
    server.send({**order(job, method, **parameters), "class_name": f"confined.{name}"})
    ended = server.receive()
    assert (ended["type"], ended["job"]) == ("ended", job), ended
    journal = server.journal(job)
    assert journal is not None
    assert journal.exit is not None
    return journal


def outcome(journal: Journal) -> dict[str, Any]:
    assert journal.outcome is not None, journal.exit
    return journal.outcome


def result(journal: Journal) -> Any:
    told = outcome(journal)
    assert told["outcome"] == "completed", told["traceback"]
    return told["result"]


def signal_of(journal: Journal) -> int | None:
    assert journal.exit is not None
    return journal.exit["signal"]  # type: ignore[no-any-return]  # a record's


@pytest.fixture
def passable() -> Iterator[Path]:
    """A directory that is open to anybody."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    if not all(parent.stat().st_mode & 0o001 for parent in directory.parents):
        shutil.rmtree(directory)
        pytest.skip("the directory of temporary files is not open to others")
    umask = os.umask(0)
    yield directory
    os.umask(umask)
    shutil.rmtree(directory)


def account(**more: Any) -> dict[str, Any]:
    return {"uid": STRANGER, "gid": STRANGER, "groups": [STRANGER], "name": "", "home": "", **more}


def nobody_elses(number: int) -> int:
    """A uid of these tests alone: of STRANGER others may have processes at the same moment."""
    return STRANGER + 1 + number * 3_000 + os.getpid() % 3_000


# Memory


@pytest.mark.parametrize("at_once", [False, True])
def test_an_attempt_that_takes_too_much_memory_is_told_so(tmp_path: Path, at_once: bool) -> None:
    with confined(tmp_path, memory=100 * MIB) as server:
        told = outcome(run(server, "take_memory", size=500 * MIB, at_once=at_once))
    assert (told["outcome"], told["error_type"], told["may_retry"]) == ("failed", "MemoryError", True)
    exceeded = told["exceeded"]
    assert (exceeded["limit"], exceeded["most"]) == ("memory", 100 * MIB)
    assert 0 < exceeded["used"] <= 100 * MIB + _RESERVE
    assert at_once or exceeded["used"] > 90 * MIB


def test_an_attempt_that_keeps_all_the_memory_that_it_took_can_still_tell_its_end(tmp_path: Path) -> None:
    with confined(tmp_path, memory=64 * MIB) as server:
        told = outcome(run(server, "hoard"))
    assert told["error_type"] == "MemoryError"
    assert 60 * MIB < told["exceeded"]["used"] <= 64 * MIB + _RESERVE


def test_a_task_of_a_group_that_takes_too_much_memory_is_told_so(tmp_path: Path) -> None:
    with confined(tmp_path, memory=100 * MIB) as server:
        told = outcome(run(server, "take_memory_in_a_task", size=500 * MIB))
    assert (told["error_type"], told["exceeded"]["limit"]) == ("ExceptionGroup", "memory")


def test_memory_within_the_limit_is_had(tmp_path: Path) -> None:
    with confined(tmp_path, memory=200 * MIB) as server:
        assert result(run(server, "take_memory", size=50 * MIB)) == 50


def test_a_result_for_which_there_is_no_memory_is_no_silence(tmp_path: Path) -> None:
    with confined(tmp_path, memory=64 * MIB) as server:
        told = outcome(run(server, "return_memory", size=20 * MIB))
    assert told["outcome"] == "failed"


def test_a_limit_of_memory_below_what_python_itself_takes_is_exceeded_and_told(tmp_path: Path) -> None:
    with confined(tmp_path, memory=1, ballast=64) as server:
        told = outcome(run(server, "hoard"))
    assert (told["error_type"], told["exceeded"]["limit"]) == ("MemoryError", "memory")


def test_the_highest_limit_of_all_is_a_limit_like_others(tmp_path: Path) -> None:
    most = 2**63 - 1
    with confined(tmp_path, memory=most, file_size=most, open_files=20, processes=most) as server:
        told = outcome(run(server, "take_memory", size=2**62, at_once=True))
    assert (told["error_type"], told["exceeded"]["most"]) == ("MemoryError", most)


def test_without_a_limit_a_memory_error_is_an_error_like_others(tmp_path: Path) -> None:
    with confined(tmp_path) as server:
        told = outcome(run(server, "raise_memory_error"))
    assert (told["outcome"], told["error_type"], told["exceeded"]) == ("failed", "MemoryError", None)


# CPU time


@pytest.mark.parametrize("ignoring", [False, True])
def test_an_attempt_that_burns_too_much_cpu_time_is_killed_a_second_later_at_the_latest(
    tmp_path: Path, ignoring: bool
) -> None:
    with confined(tmp_path, cpu=0.5) as server:
        journal = run(server, "burn", ignoring=ignoring)
    assert signal_of(journal) == (signal.SIGKILL if ignoring else signal.SIGXCPU)
    assert journal.exit is not None
    spent = journal.exit["usage"]["cpu_user"] + journal.exit["usage"]["cpu_system"]
    assert (1.5 if ignoring else 0.5) < spent < 3  # the kernel's limits go by its ticks


# Descriptors, processes, files


def test_an_attempt_has_no_more_descriptors_than_it_may(tmp_path: Path) -> None:
    with confined(tmp_path, open_files=20) as server:
        assert result(run(server, "count_open_files")) == [19, errno.EMFILE]
        told = outcome(run(server, "open_files", job=2, most=20))
    assert told["error_message"].endswith("(its limit is open_files = 20)")
    assert told["exceeded"] is None


def test_whoever_may_not_raise_a_limit_gives_what_there_is(tmp_path: Path) -> None:
    few = "resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))"
    with confined(tmp_path, wrapped(tmp_path, sys.executable, few), open_files=50) as server:
        highest, _ = result(run(server, "count_open_files"))
    assert highest == (49 if sandbox.has_capability(sandbox.MAY_RAISE_LIMITS) else 39)


@as_root
def test_an_attempt_has_no_more_processes_than_it_may(passable: Path) -> None:
    mine, another = (nobody_elses(number) for number in (1, 2))
    with confined(passable, SYSTEM_PYTHON, processes=3, account=account(uid=mine)) as server:
        assert result(run(server, "fork", children=2)) is None
    other = passable / "other"
    # And another user: what the first has left may be dying still, and counts meanwhile.
    other.mkdir(mode=0o755)
    with confined(other, SYSTEM_PYTHON, processes=3, account=account(uid=another)) as server:
        told = outcome(run(server, "fork", children=3))
    assert told["error_type"] == "BlockingIOError"
    assert told["error_message"].endswith("(its limit is processes = 3)")


@as_root
def test_a_limit_from_which_root_is_exempt_is_not_what_an_error_is_about(tmp_path: Path) -> None:
    with confined(tmp_path, processes=3) as server:
        told = outcome(run(server, "receive_nothing"))
    assert told["error_type"] == "BlockingIOError"
    assert told["error_message"] == "[Errno 11] Resource temporarily unavailable"


@as_root
def test_processes_of_other_attempts_of_the_same_user_are_not_counted(passable: Path) -> None:
    uid = nobody_elses(0)
    with confined(passable, SYSTEM_PYTHON, processes=3, account=account(uid=uid)) as server:
        for job in range(1, 4):
            server.send({**order(job, "burn"), "class_name": "confined.Job"})
            started = server.wait_for_start(job).started
            assert started is not None
            place = f"/proc/{started['pid']}"  # it is that user's a moment after its start
            eventually(lambda place=place: os.stat(place).st_uid == uid)
        assert result(run(server, "fork", job=4, children=2)) is None
        for job in range(1, 4):
            started = server.wait_for_start(job).started
            assert started is not None
            os.kill(started["pid"], signal.SIGKILL)
            assert server.receive()["type"] == "ended"


def test_a_file_that_grows_too_large_fails_the_attempt_which_can_still_tell_its_end(tmp_path: Path) -> None:
    with confined(tmp_path, file_size=64 * 1024) as server:
        assert result(run(server, "write", size=64 * 1024)) == "large"
        told = outcome(run(server, "write", job=2, size=65 * 1024))
        assert (server.work / "2.1" / "large").stat().st_size == 64 * 1024
    assert told["error_message"].endswith("(its limit is file_size = 65536)")
    assert told["exceeded"] is None


def test_an_output_that_grows_too_large_is_told_as_such(tmp_path: Path) -> None:
    with confined(tmp_path, file_size=64 * 1024) as server:
        told = outcome(run(server, "say", size=256 * 1024))
    assert told["exceeded"] == {"limit": "output", "used": 64 * 1024, "most": 64 * 1024}


def test_an_attempt_records_its_end_though_its_journal_is_larger_than_its_files_may_be(
    tmp_path: Path,
) -> None:
    with confined(tmp_path, file_size=1) as server:
        assert result(run(server, "return_memory", size=1000)) == "x" * 1000
        assert outcome(run(server, "say", job=2, size=2048))["exceeded"]["limit"] == "output"


def test_a_programs_output_that_grows_too_large_ends_the_program_by_a_signal(tmp_path: Path) -> None:
    with confined(tmp_path, file_size=64 * 1024) as server:
        journal = run(server, "say_by_another", size=256 * 1024)
        assert (server.output / "1.1.out").stat().st_size >= 64 * 1024
    assert signal_of(journal) is None or signal_of(journal) == signal.SIGXFSZ


def test_an_error_whose_number_is_none_is_told_all_the_same(tmp_path: Path) -> None:
    with confined(tmp_path, processes=1000) as server:
        told = outcome(run(server, "raise_odd_number"))
    assert (told["error_type"], told["error_message"]) == ("OSError", "[Errno ['no number']] of an error")


# What every attempt gets


def test_every_attempt_has_a_directory_of_its_own(tmp_path: Path) -> None:
    with confined(tmp_path) as server:
        where = result(run(server, "whereabouts"))
        own = str(server.work / "1.1")
    assert where == {
        "directory": own,
        "TMPDIR": own,
        "tempdir": own,
        "temporary": own,
        "mode": "0o700",
        "owner": [os.getuid(), os.getgid()],
        "made": "0o600",
        "umask": "0o77",
    }


def test_a_class_may_have_its_files_readable_for_others_and_its_directory_stays_its_own(
    tmp_path: Path,
) -> None:
    with confined(tmp_path, umask=0o022) as server:
        where = result(run(server, "whereabouts"))
    assert (where["made"], where["umask"], where["mode"]) == ("0o644", "0o22", "0o700")


def test_the_surroundings_of_an_attempt_are_these_and_no_others(tmp_path: Path) -> None:
    with confined(tmp_path) as server:
        told = result(run(server, "surroundings"))
        journal = str(server.spool / "1.1.journal")
        output = str(server.output / "1.1.out")
        own = str(server.work / "1.1")
    journals = [name for name, target in told["fds"].items() if target == journal]
    assert len(journals) == 1
    assert told["fds"].pop(journals[0]) == journal
    assert told["fds"].pop("0") == os.readlink("/proc/self/fd/0")
    assert told["fds"] == {"1": output, "2": output}
    told["environment"].pop("LC_CTYPE", None)  # Python's own, where the locale is that of C (PEP 538)
    assert told["environment"] == {"PATH": os.environ["PATH"], "TMPDIR": own}
    assert (told["core"], told["NoNewPrivs"], told["oom_score_adj"]) == ([0, 0], "1", "0")
    assert told["nice"] == os.getpriority(os.PRIO_PROCESS, 0)


def test_confined_to_paths_it_has_no_other_descriptors_either(tmp_path: Path) -> None:
    with confined(tmp_path, writable=[]) as server:
        told = result(run(server, "surroundings"))
    assert len(told["fds"]) == 4


def test_an_attempt_may_be_nicer_than_the_fork_server(tmp_path: Path) -> None:
    nice = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 5)
    with confined(tmp_path, nice=nice) as server:
        assert result(run(server, "surroundings"))["nice"] == nice


def wrapped(directory: Path, python: str, preamble: str) -> str:
    """An interpreter that does this first."""
    wrapper = directory / "wrapper"
    rest = f"os.execv({python!r}, [{python!r}, *sys.argv[1:]])"
    wrapper.write_text(f"#!{python}\nimport os, resource, sys\n{preamble}\n{rest}\n")
    wrapper.chmod(0o755)
    return str(wrapper)


def score_of(score: int) -> str:
    return f"with open('/proc/self/oom_score_adj', 'w') as file: file.write('{score}')"


def can_be_protected() -> bool:
    """Whether this process may make the kernel spare it (CAP_SYS_RESOURCE), which some containers' root may not."""
    return in_child(lambda: Path("/proc/self/oom_score_adj").write_text("-500")) == len("-500")


@as_root
@pytest.mark.parametrize("score", [300, -500])
def test_attempts_are_not_spared_or_exposed_as_the_daemon_is_when_memory_is_short(
    tmp_path: Path, score: int
) -> None:
    if score < 0 and not can_be_protected():
        pytest.skip("this root may not protect a process from the kernel's OOM killer")
    with confined(tmp_path, wrapped(tmp_path, sys.executable, score_of(score))) as server:
        assert Path(f"/proc/{server.process.pid}/oom_score_adj").read_text() == f"{score}\n"
        assert result(run(server, "surroundings"))["oom_score_adj"] == "0"


AS_STRANGER = f"os.setgroups([]); os.setresgid(*[{STRANGER}] * 3); os.setresuid(*[{STRANGER}] * 3)"


@as_root
def test_a_daemon_that_is_not_root_confines_its_attempts_as_far_as_it_can(passable: Path) -> None:
    preamble = f"{score_of(300)}\n{AS_STRANGER}"
    with confined(passable, wrapped(passable, SYSTEM_PYTHON, preamble), memory=200 * MIB) as server:
        told = result(run(server, "surroundings"))
        assert told["oom_score_adj"] in {"0", "300"}  # root's 300 is the least that it may have
        assert outcome(run(server, "take_memory", job=2, size=300 * MIB))["exceeded"]["limit"] == "memory"
        assert result(run(server, "whereabouts", job=3))["owner"] == [STRANGER, STRANGER]


@as_root
def test_what_exposes_the_daemon_and_cannot_be_taken_back_keeps_nobody_from_running() -> None:
    def forgive() -> str:
        # To whom the file of this process does not belong any more.
        os.setresuid(STRANGER, STRANGER, STRANGER)
        sandbox._forgive(200)
        return "went on"

    assert in_child(forgive) == "went on"


# Another user


@as_root
def test_an_attempt_of_another_user_is_that_user_and_has_no_way_back(passable: Path) -> None:
    person = account(groups=[STRANGER, STRANGER + 1], name="somebody", home="/nowhere")
    with confined(passable, SYSTEM_PYTHON, account=person) as server:
        told = result(run(server, "account"))
        where = result(run(server, "whereabouts", job=2))
    assert told == {
        "uids": [STRANGER] * 3,
        "gids": [STRANGER] * 3,
        "groups": [STRANGER, STRANGER + 1],
        "back": [],
        "capabilities": [0, 0, 0, 0],
        "person": {"HOME": "/nowhere", "USER": "somebody", "LOGNAME": "somebody"},
    }
    assert (where["owner"], where["mode"]) == ([STRANGER, STRANGER], "0o700")


@as_root
def test_an_attempt_of_another_group_alone_keeps_its_user(passable: Path) -> None:
    with confined(passable, account=account(uid=0)) as server:
        told = result(run(server, "account"))
    assert (told["uids"], told["gids"], told["groups"]) == ([0] * 3, [STRANGER] * 3, [STRANGER])
    assert told["person"] == dict.fromkeys(("HOME", "USER", "LOGNAME"))


def test_an_attempt_finds_nothing_of_what_others_were_given(tmp_path: Path) -> None:
    go = str(tmp_path / "go")
    secret = {"class_name": "confined.Job", "sensitive": ["secret"]}
    with confined(tmp_path) as server:
        server.send({**order(1, "keep", secret="s" * 30, go=go), **secret})
        server.wait_for_start(1)
        os.kill(server.process.pid, signal.SIGSTOP)  # so that it reads these at once
        server.send({**order(2, "look_for", length=30), "class_name": "confined.Job"})
        server.send({**order(3, "keep", secret="s" * 30, go=go), **secret})
        os.kill(server.process.pid, signal.SIGCONT)
        assert server.receive()["job"] == 2
        Path(go).touch()
        assert {server.receive()["job"] for _ in range(2)} == {1, 3}
        journal = server.journal(2)
        assert journal is not None
        assert result(journal) == 0


# What cannot be set up


def untouched(server: DrivenServer, directory: Path, **more: Any) -> dict[str, Any]:
    """The outcome of an attempt that could not be confined; nothing of its class has run."""
    server.send({**order(1, "run"), "class_name": "confined.Untouched", **more})
    assert server.receive()["type"] == "ended"
    journal = server.journal(1)
    assert journal is not None
    told = outcome(journal)
    assert (told["outcome"], told["error_type"]) == ("failed", "SandboxError"), told
    assert (told["may_retry"], told["delay"]) == (True, None)
    assert not (directory / "marks").exists()
    return told


def test_an_attempt_whose_directory_somebody_has_made_does_not_start(tmp_path: Path) -> None:
    with confined(tmp_path) as server:
        (server.work / "1.1").mkdir()
        server.send({**order(1, "run"), "class_name": "confined.Untouched"})
        told = server.receive()
        assert (told["type"], told["unwritable"]) == ("not_started", "work")
        assert told["reason"] == f"its working directory could not be made in {server.work}: File exists"
        assert server.journal(1) is None
        assert (server.work / "1.1").is_dir()  # it is not this attempt's to remove


@as_root
@pytest.mark.parametrize(
    ("number", "starts"), [(errno.EDQUOT, False), (errno.ENOSPC, False), (errno.EPERM, True)]
)
def test_an_attempt_whose_users_quota_has_no_room_for_its_directory_does_not_start(
    passable: Path, number: int, starts: bool
) -> None:
    refusal = f"def refuse(*given, **more):\n    raise OSError({number}, 'no')\nos.chown = refuse\n"
    (passable / "confined.py").write_text(f"{MODULE}\n{refusal}")
    limits = {"account": account()}
    with fork_server(passable, python=sys.executable, approved=APPROVED, limits=limits) as server:
        if starts:  # to say that it cannot be confined, which does not pass by itself
            told = untouched(server, passable)
            assert told["error_message"].startswith("the attempt's working directory could not be set up: ")
        else:
            server.send({**order(1, "run"), "class_name": "confined.Untouched"})
            told = server.receive()
            assert (told["type"], told["unwritable"]) == ("not_started", "work")
            assert [*server.work.iterdir(), *server.spool.iterdir(), *server.output.iterdir()] == []


def test_one_whose_files_may_hardly_grow_can_tell_that_it_was_not_confined(tmp_path: Path) -> None:
    with confined(tmp_path, file_size=1, writable=[str(tmp_path / "gone")]) as server:
        untouched(server, tmp_path)


def test_an_attempt_that_cannot_be_confined_fails_before_a_line_of_its_code_has_run(tmp_path: Path) -> None:
    with confined(tmp_path, writable=[str(tmp_path / "gone")]) as server:
        told = untouched(server, tmp_path)
    assert "Landlock could not be set up: [Errno 2]" in told["error_message"]


@as_root
def test_a_number_that_the_kernel_does_not_have_is_told(passable: Path) -> None:
    with confined(passable, account=account(gid=2**40)) as server:
        told = untouched(server, passable)
    assert told["error_message"].startswith("the attempt's working directory could not be set up: ")


def test_limits_come_through_json_and_those_of_a_later_version_are_left_out() -> None:
    told: dict[str, Any] = {"memory": 5, "account": account(), "writable": ["/a"], "of a later version": 1}
    limits = Limits.from_message(json.loads(json.dumps(told)))
    assert limits.account is not None
    assert (limits.account.groups, limits.writable, limits.memory) == ((STRANGER,), ("/a",), 5)
