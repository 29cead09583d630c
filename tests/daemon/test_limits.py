"""Limits are had or refused: which machine enforces which, what is said of those that it does not, who is who."""

from __future__ import annotations

import grp
import json
import os
import pwd
import resource
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bgjob.calls import Call
from bgjob.words import INTERFACE
from bgjobd.commands import check
from bgjobd.commands.findings import Severity
from bgjobd.config.loading import load
from bgjobd.config.problems import ConfigError
from bgjobd.config.sections import Config
from bgjobd.forkserver.sandbox import Account, Limits
from bgjobd.supervisor import cgroups, limits
from bgjobd.supervisor.application import Application
from bgjobd.supervisor.limits import LIMITS, Enforcement, Machine
from tests.daemon import warm
from tests.daemon.running import daemon

PLAIN = Machine(
    is_root=False,
    highest_open_files=4096,
    lowest_nice=5,
    landlock=0,
    controllers=(),
    can_punch=False,
)
"""A machine that enforces hardly anything."""

FULL = Machine(
    is_root=True,
    highest_open_files=2**20,
    lowest_nice=-20,
    landlock=7,
    controllers=("memory", "pids", "cpu"),
    can_punch=True,
)
VALUES: dict[str, str] = {
    "timeout": "5",
    "memory": '"100M"',
    "cpu": "1.5",
    "cpu_share": "0.5",
    "open_files": "64",
    "processes": "5",
    "file_size": '"1M"',
    "nice": "10",
    "max_output": '"1M"',
    "work_limit": '"1G"',
    "user": '"root"',
    "group": '"root"',
    "writable": '["/tmp"]',
}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run attempts as somebody else")


def config(directory: Path, own: str = "", of_all: str = "max_output = false", more: str = "") -> Config:
    file = directory / "bgjobd.toml"
    file.write_text(f'[limits]\n{of_all}\n[approved."app.Job"]\n{own}\n{more}\n')
    return load(file, {"HOME": "/home/alice"}, is_root=False)


def problems(config: Config, machine: Machine, may_get_cgroup: bool = False) -> list[str]:
    """Key and message of each."""
    try:
        limits.check(config, machine, may_get_cgroup)
    except ConfigError as error:
        found = error.problems
    else:
        return []
    assert {problem.where for problem in found} == {str(config.file)}
    return [f"{problem.key}: {problem.message}" for problem in found]


def test_every_limit_has_a_value_here() -> None:
    assert set(VALUES) == set(LIMITS)


@pytest.mark.parametrize("name", LIMITS)
def test_a_machine_that_has_all_takes_every_limit(tmp_path: Path, name: str) -> None:
    assert problems(config(tmp_path, f"{name} = {VALUES[name]}"), FULL) == []


CGROUP = "takes cgroup v2 with the {} controller"
UNENFORCED: list[tuple[str, str, Machine, str]] = [
    ("cpu_share", "0.5", PLAIN, CGROUP.format("cpu")),
    ("cpu_share", "0.5", replace(FULL, controllers=("memory", "pids")), CGROUP.format("cpu")),
    ("processes", "5", replace(FULL, controllers=("memory", "cpu")), CGROUP.format("pids")),
    ("open_files", "4097", PLAIN, "is above what this process may give (ulimit -Hn, sysctl fs.nr_open)"),
    ("nice", "-1", PLAIN, "takes root, with CAP_SYS_NICE"),
    ("nice", "4", PLAIN, "takes root, with CAP_SYS_NICE"),
    ("max_output", "5", PLAIN, "takes a file system that can give up the middle of a file"),
    ("max_output", "5", replace(FULL, can_punch=False), "takes a file system that can give up the middle"),
    ("user", '"root"', PLAIN, "takes a daemon that runs as root"),
    ("group", '"root"', PLAIN, "takes a daemon that runs as root"),
    ("writable", '["/tmp"]', PLAIN, "takes a kernel with Landlock"),
    ("writable", "[]", replace(FULL, landlock=0), "takes a kernel with Landlock"),
]


@pytest.mark.parametrize(("name", "value", "machine", "what"), UNENFORCED)
def test_what_nothing_enforces_is_refused_with_what_it_takes(
    tmp_path: Path, name: str, value: str, machine: Machine, what: str
) -> None:
    (found,) = problems(config(tmp_path, f"{name} = {value}"), machine)
    assert found.startswith(f'approved."app.Job".{name}: cannot be had here: it {what}')
    assert found.endswith("; [limits] best_effort = true goes without")


@pytest.mark.parametrize(("name", "value", "machine", "what"), UNENFORCED)
def test_best_effort_goes_without(tmp_path: Path, name: str, value: str, machine: Machine, what: str) -> None:
    made = config(tmp_path, f"{name} = {value}", "max_output = false\nbest_effort = true")
    assert problems(made, machine) == []


@pytest.mark.parametrize(
    ("name", "value", "machine"),
    [
        ("memory", '"1G"', PLAIN),
        ("cpu", "1", PLAIN),
        ("file_size", "1", PLAIN),
        ("timeout", "1", PLAIN),
        ("processes", "5", PLAIN),
        ("open_files", "4096", PLAIN),
        ("open_files", "100000", FULL),
        ("nice", "5", PLAIN),
        ("nice", "19", PLAIN),
        ("nice", "-20", FULL),
        ("writable", '["/tmp"]', replace(PLAIN, landlock=1)),
    ],
)
def test_what_is_enforced_is_taken(tmp_path: Path, name: str, value: str, machine: Machine) -> None:
    assert problems(config(tmp_path, f"{name} = {value}"), machine) == []


def test_a_limit_of_all_is_refused_once_however_many_classes_have_it(tmp_path: Path) -> None:
    made = config(tmp_path, of_all="max_output = false\ncpu_share = 1", more='[approved."app.Other"]')
    (found,) = problems(made, PLAIN)
    assert found.startswith("limits.cpu_share: cannot be had here")


def test_a_limit_of_all_that_no_class_has_is_no_matter(tmp_path: Path) -> None:
    file = tmp_path / "bgjobd.toml"
    file.write_text("[limits]\ncpu_share = 1\n")
    assert problems(load(file, {"HOME": "/home/alice"}, is_root=False), PLAIN) == []


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    found = problems(
        config(tmp_path, "cpu_share = 1\nwritable = []", more='[approved."app.Other"]\nnice = -5'), PLAIN
    )
    assert [text.partition(": ")[0] for text in found] == [
        'approved."app.Job".cpu_share',
        'approved."app.Job".writable',
        'approved."app.Other".nice',
    ]


NO_PIDS = replace(FULL, controllers=())


@pytest.mark.parametrize("user", ['"root"', '"0"', '"00"'])
def test_processes_of_root_are_limited_by_a_controller_alone(tmp_path: Path, user: str) -> None:
    (found,) = problems(config(tmp_path, f"processes = 5\nuser = {user}"), NO_PIDS)
    assert "or a `user` other than root" in found


def test_processes_of_another_user_are_limited_by_the_kernel(tmp_path: Path) -> None:
    assert problems(config(tmp_path, 'processes = 5\nuser = "nobody"'), NO_PIDS) == []


def test_what_a_cgroup_of_the_daemons_may_enforce_is_left_open_and_nothing_else(tmp_path: Path) -> None:
    made = config(tmp_path, "cpu_share = 1\nprocesses = 5\nwritable = []")
    without = replace(NO_PIDS, landlock=0)
    assert [text.partition(": ")[0] for text in problems(made, without, may_get_cgroup=True)] == [
        'approved."app.Job".writable'
    ]


# Users and groups


@pytest.mark.parametrize("best_effort", ["true", "false"])
@pytest.mark.parametrize(
    ("own", "key", "told"),
    [
        ('user = "no-such-user"', "user", "there is no user no-such-user on this machine"),
        ('user = "4000000000"', "user", "there is no user 4000000000 on this machine"),
        ('user = "99999999999999999999"', "user", "there is no user 99999999999999999999 on this machine"),
        ('group = "no-such-group"', "group", "there is no group no-such-group on this machine"),
        ('group = "4000000000"', "group", "there is no group 4000000000 on this machine"),
        (
            'user = "root"\ngroup = "no-such-group"',
            "group",
            "there is no group no-such-group on this machine",
        ),
    ],
)
@pytest.mark.parametrize("machine", [FULL, PLAIN])
def test_who_is_unknown_is_refused_even_with_best_effort(
    tmp_path: Path, own: str, key: str, told: str, best_effort: str, machine: Machine
) -> None:
    made = config(tmp_path, own, f"max_output = false\nbest_effort = {best_effort}")
    assert f'approved."app.Job".{key}: {told}' in problems(made, machine)


def test_user_and_group_are_both_told_where_both_are_unknown(tmp_path: Path) -> None:
    assert problems(config(tmp_path, 'user = "no-such-user"\ngroup = "no-such-group"'), FULL) == [
        'approved."app.Job".user: there is no user no-such-user on this machine',
        'approved."app.Job".group: there is no group no-such-group on this machine',
    ]


@as_root
def test_a_user_comes_with_name_home_and_groups(tmp_path: Path) -> None:
    person = pwd.getpwnam("nobody")
    groups = tuple(os.getgrouplist("nobody", person.pw_gid))
    expected = Account(person.pw_uid, person.pw_gid, groups, "nobody", person.pw_dir)
    assert limits.limits_of(config(tmp_path, 'user = "nobody"'), "app.Job").account == expected
    by_number = config(tmp_path, f'user = "{person.pw_uid}"')
    assert limits.limits_of(by_number, "app.Job").account == expected


@as_root
def test_a_group_of_its_own_takes_the_place_of_the_users_first(tmp_path: Path) -> None:
    gid = grp.getgrnam("daemon").gr_gid
    account = limits.limits_of(config(tmp_path, 'user = "nobody"\ngroup = "daemon"'), "app.Job").account
    assert account is not None
    assert (account.gid, account.name) == (gid, "nobody")
    assert gid in account.groups


@as_root
def test_a_group_alone_leaves_the_user(tmp_path: Path) -> None:
    gid = grp.getgrnam("daemon").gr_gid
    account = limits.limits_of(config(tmp_path, 'group = "daemon"'), "app.Job").account
    assert account == Account(os.geteuid(), gid, (gid,), "", "")


def test_who_is_not_root_runs_attempts_as_itself_for_want_of_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getpriority", lambda which, who: 5)
    monkeypatch.setattr(limits, "has_capability", lambda number: False)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (0, 0))
    made = config(tmp_path, 'user = "root"\nnice = 4')
    asked = limits.limits_of(made, "app.Job")
    assert (asked.account, asked.nice) == (None, None)
    assert limits.limits_of(config(tmp_path, "nice = 6"), "app.Job").nice == 6


# What the fork server is told


@pytest.mark.parametrize(
    ("has_capability", "own", "most", "lowest"),
    [
        (True, 5, 0, -20),
        (False, 0, 0, 0),
        (False, 5, 0, 5),
        (False, 5, 18, 2),
        (False, 5, 40, -20),
        (False, 0, resource.RLIM_INFINITY, -20),
    ],
)
def test_how_nice_attempts_must_be_depends_on_what_the_daemon_may_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_capability: bool, own: int, most: int, lowest: int
) -> None:
    getrlimit = resource.getrlimit
    of_nice = {resource.RLIMIT_NICE: (most, most)}
    monkeypatch.setattr(limits, "has_capability", lambda number: has_capability)
    monkeypatch.setattr(os, "getpriority", lambda which, who: own)
    monkeypatch.setattr(resource, "getrlimit", lambda which: of_nice.get(which) or getrlimit(which))
    assert Machine.here(tmp_path).lowest_nice == lowest


def test_who_may_raise_limits_may_give_as_many_descriptors_as_the_kernel_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "has_capability", lambda number: False)
    assert Machine.here(tmp_path).highest_open_files == resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    monkeypatch.setattr(limits, "has_capability", lambda number: True)
    of_kernel = int(Path("/proc/sys/fs/nr_open").read_text())
    assert Machine.here(tmp_path).highest_open_files == of_kernel


def test_the_classs_own_limits_win(tmp_path: Path) -> None:
    made = config(tmp_path, "cpu = 5\nopen_files = 7", 'cpu = 1\nmemory = "1K"')
    asked = limits.limits_of(made, "app.Job")
    assert (asked.cpu, asked.memory, asked.open_files, asked.processes) == (5, 1024, 7, None)
    assert limits.limits_of(made, "app.Unknown").cpu == 1


@as_root
def test_the_limits_of_all_classes_come_through_json(tmp_path: Path) -> None:
    own = "\n".join(f"{name} = {value}" for name, value in VALUES.items())
    made = config(tmp_path, own, more='[approved."app.Other"]')
    message: dict[str, dict[str, Any]] = json.loads(json.dumps(limits.message(made)[0]))
    assert {name: Limits.from_message(told) for name, told in message.items()} == {
        "app.Job": limits.limits_of(made, "app.Job"),
        "app.Other": Limits(),
    }
    assert limits.limits_of(made, "app.Job") == Limits(
        memory=100 * 2**20,
        cpu=1.5,
        cpu_share=0.5,
        open_files=64,
        processes=5,
        file_size=2**20,
        nice=10,
        account=Account(0, 0, tuple(os.getgrouplist("root", 0)), "root", pwd.getpwnam("root").pw_dir),
        writable=("/tmp",),
    )


def test_a_class_that_may_write_nowhere_is_not_one_that_may_write_everywhere(tmp_path: Path) -> None:
    told = json.loads(json.dumps(limits.message(config(tmp_path, "writable = []"))[0]))
    assert Limits.from_message(told["app.Job"]).writable == ()
    told = json.loads(json.dumps(limits.message(config(tmp_path))[0]))
    assert Limits.from_message(told["app.Job"]).writable is None


# What enforces


def checked(config: Config) -> subprocess.CompletedProcess[str]:
    return warm.run(["check", "--config", str(config.file)])


def test_check_names_what_modules_have_left_open_for_every_attempt(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    module = f"kept = open({str(tmp_path / 'kept')!r})\nclass Job:\n    def run(self): pass\n"
    (tmp_path / "app.py").write_text(module)
    told = checked(config(tmp_path, more=f'[app]\npath = ["{tmp_path}"]')).stdout
    lines = [line for line in told.splitlines() if line.startswith("left open")]
    assert [line.partition(" → ")[2] for line in lines] == [
        f"{tmp_path}/kept: opened while modules were imported, and there in every attempt"
    ]


@pytest.mark.skipif(cgroups.has_controllers(), reason="a daemon might have a cgroup here")
def test_check_tells_what_enforces_each_limit_and_refuses_what_nothing_does(tmp_path: Path) -> None:
    more = f'[daemon]\nstate_dir = "{tmp_path}/state"\n[web]\nenabled = false\n[app]\npath = ["{tmp_path}"]'
    (tmp_path / "app.py").write_text("class Job:\n    def run(self): pass\n")
    refused = checked(config(tmp_path, "cpu_share = 1", more=more))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert 'approved."app.Job".cpu_share: cannot be had here: it takes cgroup v2' in refused.stderr
    taken = checked(config(tmp_path, "cpu_share = 1", "max_output = false\nbest_effort = true", more))
    assert taken.returncode == 0, taken.stdout
    for name, by in limits.table(Machine.here(tmp_path)).items():
        assert f"    {name:<10}  {by}\n" in taken.stdout
    assert 'best effort  approved."app.Job".cpu_share cannot be had here: it takes' in taken.stdout


def test_each_limit_tells_what_enforces_it() -> None:
    assert limits.table(FULL) == {
        "timeout": "the daemon",
        "memory": "memory.max, RLIMIT_DATA",
        "cpu": "RLIMIT_CPU",
        "cpu_share": "cpu.max",
        "open_files": "RLIMIT_NOFILE",
        "processes": "pids.max",
        "file_size": "RLIMIT_FSIZE",
        "nice": "setpriority",
        "max_output": "the daemon",
        "work_limit": "the daemon",
        "user": "setresuid",
        "group": "setresuid",
        "writable": "Landlock",
        "signals": "Landlock",
    }


def test_nothing_enforces_what_a_plain_machine_does_not_have() -> None:
    found = limits.table(PLAIN)
    lacking = {name for name, by in found.items() if by.startswith("nothing: it takes ")}
    assert lacking == {"cpu_share", "max_output", "user", "group", "writable", "signals"}
    assert (found["memory"], found["processes"]) == ("RLIMIT_DATA", "RLIMIT_NPROC")


def test_where_a_container_forbids_landlock_that_is_what_is_told() -> None:
    found = limits.table(replace(PLAIN, forbids_landlock=True))
    forbidden = {name for name, by in found.items() if "seccomp profile forbids" in by}
    assert forbidden == {"writable", "signals"}


def test_check_says_that_a_cgroup_finds_what_has_cleaned_its_environment() -> None:
    without, with_groups = (
        check._strays(replace(PLAIN, has_groups=has_groups)) for has_groups in (False, True)
    )
    assert (without.severity, with_groups.severity) == (Severity.REMARK, Severity.OK)
    assert without.told.endswith("a cgroup finds it (Delegate=yes, DelegateSubgroup=)")


def test_this_machine_is_looked_at_without_leaving_anything(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    machine = Machine.here(tmp_path / "not" / "there" / "yet")
    assert machine.is_root == (os.geteuid() == 0)
    assert machine.highest_open_files > 0
    assert os.listdir(tmp_path) == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_path_that_is_to_be_written_and_is_not_there_stops_the_start(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    assert problems(config(tmp_path, f'writable = ["{there}"]'), FULL) == []
    (told,) = problems(config(tmp_path, f'writable = ["{there}", "{tmp_path}/missing"]'), FULL)
    assert f"writable: names {tmp_path}/missing, which is not there" in told


@as_root
def test_a_user_who_goes_while_the_daemon_runs_costs_the_class_and_no_other(tmp_path: Path) -> None:
    made = config(tmp_path, 'user = "no-such-user"', more='[approved."app.Other"]')
    application = Application.from_config(made)
    assert application.missing == {"app.Job": "there is no user no-such-user on this machine"}
    assert set(application.limits) == {"app.Other"}


def test_classes_tell_their_limits_and_what_enforces_them(tmp_path: Path) -> None:
    own = (
        'slots = 2, memory = "256M", cpu = 5, open_files = 64, max_output = "2M", sensitive = ["token"],'
        f' stop_grace = 2, timeout = 60, retry_on = ["timed_out", "failed"], retry_lost = false, cpu_share = 1.5,'
        f' writable = ["{tmp_path}"], umask = "027"'
    )
    settings = (
        f'"limited.Job" = {{ {own} }}\n[limits]\nbest_effort = true\nprocesses = 50\nmax_output = false\n'
    )
    module = {"limited": "class Job:\n    def run(self, token='x'):\n        pass\n"}
    with daemon(tmp_path, settings, modules=module) as running, running.client() as client:
        answer = client._call(Call(f"{INTERFACE}.Classes", {}, lambda reply: reply))
        policies = {one["name"]: one["policy"] for one in answer["classes"]}
        machine = Machine.here(tmp_path)
    assert answer["limits"] == limits.table(machine)
    told = policies["limited.Job"]
    expected = {
        "slots": 2,
        "memory": 256 << 20,
        "cpu": 5.0,
        "cpu_share": 1.5,
        "open_files": 64,
        "processes": 50,
        "file_size": None,
        "max_output": 2 << 20,
        "work_limit": 1 << 30,
        "nice": None,
        "timeout": 60.0,
        "stop_grace": 2.0,
        "user": None,
        "group": None,
        "writable": [str(tmp_path)],
        "umask": "027",
        "retry_on": ["failed", "timed_out"],
        "retry_lost": False,
        "sensitive": ["token"],
    }
    assert {name: told[name] for name in expected} == expected
    assert told["unenforced"] == [
        name
        for name in LIMITS
        if told[name] is not None
        and limits.enforced_by(machine, name, told[name], as_root=machine.is_root) is None
    ]
    assert (policies["probes.Probe"]["max_output"], policies["probes.Probe"]["processes"]) == (None, 50)


def test_what_nothing_enforces_is_known_of_each_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(tmp_path, "cpu_share = 1\nmemory = 1000000", "max_output = 5000\nbest_effort = true")
    monkeypatch.setattr(Machine, "here", lambda state_dir: PLAIN)
    found = Enforcement.here(settings)
    assert found.by == limits.table(PLAIN)
    assert found.unenforced == {"app.Job": ("cpu_share", "max_output")}
    assert [gap.key for gap in found.gaps] == ['approved."app.Job".cpu_share', "limits.max_output"]
    monkeypatch.setattr(Machine, "here", lambda state_dir: FULL)
    assert Enforcement.here(settings).unenforced == {"app.Job": ()}
