"""`bgjobd check` beyond configuration and classes: places, disks, the clock, and jobs that wait already."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgjobd.commands import check as checking
from bgjobd.commands import check_jobs, check_places
from bgjobd.commands.check import Checked
from bgjobd.commands.findings import Finding, Severity, is_whole
from bgjobd.config import loading, sections
from bgjobd.daemon import fates
from bgjobd.daemon.catalogue import Catalogue
from bgjobd.host import disk_space
from bgjobd.host.disk_space import Room
from bgjobd.store.pending import PendingJob
from tests.daemon import warm
from tests.daemon.running import RunningDaemon, daemon
from tests.engines import copy_state
from tests.support import directory_for_all, is_untouched, socket_of_systemds

GIB = 1024**3


def check(running: RunningDaemon, *words: str) -> subprocess.CompletedProcess[str]:
    return warm.run(["check", "--config", str(running.config), *words])


def checked(running: RunningDaemon) -> Checked:
    """What the command tells, without the time that a process takes for its start."""
    return checking.check(loading.load(running.config, {}, is_root=os.geteuid() == 0))


def told(running: RunningDaemon) -> str:
    return str(checked(running))


def settings(tmp_path: Path, more: str = "") -> sections.Config:
    file = tmp_path / "bgjobd.toml"
    file.write_text(
        f"[daemon]\nsocket = 's.sock'\nstate_dir = 'state'\nruntime_dir = 'run'\nlog_dir = 'log'\n{more}"
        + ("" if "[web]" in more else "\n[web]\nenabled = false\n")  # whose port another daemon may have
    )
    return loading.load(file, {}, is_root=False)


def of(subject: str, found: list[Finding]) -> list[Finding]:
    return [one for one in found if one.told.startswith(f"{subject}:")]


# Places


def test_before_the_first_start_all_is_well(tmp_path: Path) -> None:
    running = RunningDaemon(tmp_path)
    lines = told(running).splitlines()
    assert "ok           database: there is none yet, the first start makes it" in lines
    assert f"ok           state_dir: {tmp_path}/state is not there yet, and can be made" in lines
    assert f"ok           socket: {tmp_path}/s.sock can be made" in lines
    assert not (tmp_path / "state").exists()


def test_a_file_in_the_place_of_a_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    (found,) = of("runtime_dir", check_places.findings(settings(tmp_path), None))[:1]
    assert (found.severity, "is no directory" in found.told) == (Severity.BROKEN, True)


def test_a_spool_that_another_daemon_uses_is_told_and_no_start_would_succeed(tmp_path: Path) -> None:
    (tmp_path / "run" / "spool").mkdir(parents=True, mode=0o700)
    held = os.open(tmp_path / "run" / "spool", os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        taken = of("runtime_dir", check_places.findings(settings(tmp_path), None))
        own = of("runtime_dir", check_places.findings(settings(tmp_path), os.getpid()))
    finally:
        os.close(held)
    free = of("runtime_dir", check_places.findings(settings(tmp_path), None))
    (broken,) = [one.told for one in taken if one.severity is Severity.BROKEN]
    assert f"another daemon (pid {os.getpid()}) uses {tmp_path}/run/spool" in broken
    assert Severity.BROKEN not in {one.severity for one in (*own, *free)}


@pytest.mark.parametrize("target", ["nowhere", "state"], ids=["dangling", "to itself"])
def test_a_link_that_leads_to_nothing_is_told(tmp_path: Path, target: str) -> None:
    (tmp_path / "state").symlink_to(target)
    (found,) = of("state_dir", check_places.findings(settings(tmp_path), None))[:1]
    assert (found.severity, "is a link that leads to nothing" in found.told) == (Severity.BROKEN, True)


def test_a_name_of_access_that_the_machine_does_not_know_is_doubtful(tmp_path: Path) -> None:
    found = of("access", list(checking.check(settings(tmp_path, "[access]\nread = ['@no-such']\n")).findings))
    assert [(one.severity, "@no-such" in one.told) for one in found] == [(Severity.DOUBTFUL, True)]


def test_a_directory_that_others_may_read_is_told_to_be_closed(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o755)
    (tmp_path / "log").mkdir(mode=0o700)
    found = check_places.findings(settings(tmp_path), None)
    assert of("state_dir", found)[0].severity is Severity.REMARK
    assert of("log_dir", found)[0].severity is Severity.OK


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", 65534, 65534)
    (found, *_) = of("state_dir", check_places.findings(settings(tmp_path), None))
    assert (found.severity, "belongs to uid 65534" in found.told) == (Severity.BROKEN, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_root_runs_no_code_of_a_daemon_that_is_somebody_elses(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    running = RunningDaemon(tmp_path, '"evil.Job" = {}', modules={"evil": f"open({str(ran)!r}, 'w')"})
    checked(running)
    assert ran.exists()
    ran.unlink()
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", 65534, 65534)
    found = checked(running)
    assert not found.is_whole
    assert "nothing of [approved] was imported" in str(found)
    assert not ran.exists()


@pytest.mark.parametrize(("mode", "count"), [(0o777, 1), (0o1777, 0), (0o775, 0)])
def test_a_directory_that_anybody_may_write_to_is_doubtful_above_ours_unless_it_is_sticky(
    tmp_path: Path, mode: int, count: int
) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(mode)
    made = settings(tmp_path)
    object.__setattr__(made.daemon, "state_dir", tmp_path / "open" / "state")
    found = [
        one
        for one in of("state_dir", check_places.findings(made, None))
        if f"write to {tmp_path}/open," in one.told
    ]
    assert len(found) == count
    assert is_whole(found) is (count == 0)


def test_something_else_in_the_place_of_the_socket_is_told(tmp_path: Path) -> None:
    (tmp_path / "s.sock").touch()
    (found, *_) = of("socket", check_places.findings(settings(tmp_path), None))
    assert (found.severity, "is no socket" in found.told) == (Severity.BROKEN, True)


def test_a_socket_that_nobody_serves_any_more_is_no_matter(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s.sock"))
    (found, *_) = of("socket", check_places.findings(settings(tmp_path), None))
    assert found.severity is Severity.OK


def test_a_socket_that_another_daemon_serves_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "s.sock"))
        other.listen()
        (taken, *_) = of("socket", check_places.findings(settings(tmp_path), None))
        (own, *_) = of("socket", check_places.findings(settings(tmp_path), 12))
    assert (taken.severity, f"another program (pid {os.getpid()})" in taken.told) == (Severity.BROKEN, True)
    assert (own.severity, "(pid 12)" in own.told) == (Severity.OK, True)


def test_a_socket_of_systemds_is_well_and_nobody_connects_to_it(tmp_path: Path) -> None:
    with socket_of_systemds(tmp_path / "s.sock") as (listener, pid):
        (found, *_) = of("socket", check_places.findings(settings(tmp_path), None))
        assert is_untouched(listener)
    assert (found.severity, f"systemd (pid {pid}) listens at" in found.told) == (Severity.OK, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_socket_whose_owner_is_not_to_be_seen_may_be_systemds() -> None:
    with (
        directory_for_all() as directory,
        socket.socket(socket.AF_UNIX) as other,
        socket.create_server(("127.0.0.1", 0)) as port,
    ):
        other.bind(str(directory / "s.sock"))
        other.listen()
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(directory / "s.sock"), str(port.getsockname()[1])],
            capture_output=True,
            text=True,
            timeout=50,
        )
    assert done.stdout == "systemd, or another program,\na program of uid 0\n", done.stderr


AS_NOBODY = """
import os, sys
from pathlib import Path
from bgjobd.commands import listeners
from bgjobd.config.values import TcpAddress
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
print(listeners.at_path(Path(sys.argv[1])))
print(listeners.stranger_at(TcpAddress("127.0.0.1", int(sys.argv[2])), os.getpid()))
"""


@pytest.mark.parametrize(
    ("host", "page"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "localhost"), ("127.0.0.1", "0.0.0.0"), ("::1", "[::1]")],
)
def test_a_port_of_the_page_that_another_program_has_is_told(tmp_path: Path, host: str, page: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as other:
        web = f"[web]\nallow_remote = true\nbind = '{page}:{other.getsockname()[1]}'\n"
        made = settings(tmp_path, web)
        (taken,) = of("page", check_places.findings(made, None))
        (own,) = of("page", check_places.findings(made, os.getppid()))
    (free,) = of("page", check_places.findings(made, None))
    told = f"another program (pid {os.getpid()}) listens at"
    assert (taken.severity, told in taken.told) == (Severity.DOUBTFUL, True)
    assert (own.severity, free.severity) == (Severity.OK, Severity.OK)


def test_a_port_at_which_others_listen_elsewhere_is_free(tmp_path: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and listens not; first, for what is free elsewhere may be taken here
        port = bound.getsockname()[1]
        with socket.create_server(("127.0.0.2", port)):
            (found,) = of(
                "page", check_places.findings(settings(tmp_path, f"[web]\nbind = '127.0.0.1:{port}'"), None)
            )
    assert found.severity is Severity.OK


def test_a_socket_in_a_directory_that_is_not_there_is_told_unless_a_start_makes_it(tmp_path: Path) -> None:
    made = settings(tmp_path)
    for parent, severity in (("nowhere", Severity.BROKEN), ("run", Severity.OK)):
        object.__setattr__(made.daemon, "socket", tmp_path / parent / "s.sock")
        (found, *_) = of("socket", check_places.findings(made, None))
        assert found.severity is severity


def test_a_socket_that_this_user_may_not_make_is_well_where_systemd_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = settings(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may
    monkeypatch.setattr(check_places, "_UNITS", (tmp_path / "etc", tmp_path / "usr"))
    shipped = (Path(sections.__file__).parents[2] / "systemd" / "bgjobd.socket").read_text()

    def told(directory: str, text: str) -> tuple[Severity, bool]:
        (tmp_path / directory).mkdir(exist_ok=True)
        (tmp_path / directory / "bgjobd.socket").write_text(text)
        (found, *_) = of("socket", check_places.findings(made, None))
        return found.severity, "`systemctl start bgjobd.socket`" in found.told

    assert told("usr", shipped) == (Severity.BROKEN, False), "it holds another, and so would a new one"
    assert told("usr", shipped.replace("/run/bgjobd.sock", f"{tmp_path}/s.sock")) == (Severity.OK, True)
    assert told("etc", "") == (Severity.BROKEN, False), "which hides the other"
    monkeypatch.setattr(check_places, "_SHIPPED", made.daemon.socket)
    assert told("etc", "") == (Severity.BROKEN, True)


def _mkfifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "severity"),
    [(Path.touch, Severity.BROKEN), (_mkfifo, Severity.OK), (lambda path: None, Severity.OK)],
    ids=["a file", "a pipe", "nothing"],
)
def test_only_a_pipe_may_be_in_the_place_of_the_named_pipe(
    tmp_path: Path, make: Callable[[Path], None], severity: Severity
) -> None:
    make(tmp_path / "jobs.fifo")
    (found,) = of("fifo", check_places.findings(settings(tmp_path, "fifo = 'jobs.fifo'"), None))
    assert found.severity is severity


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's daemon runs jobs as others")
def test_a_path_of_the_application_that_is_not_there_is_told(tmp_path: Path) -> None:
    found = check_places.findings(settings(tmp_path, '[app]\npath = [".", "myap"]\n'), None)
    (missing,) = of("path", found)
    assert missing.severity is Severity.REMARK
    assert missing.told.startswith(
        f"path: {tmp_path / 'myap'}: No such file or directory; nothing can be imported"
    )


def test_a_user_that_cannot_read_the_code_is_told_with_what_is_in_the_way(tmp_path: Path) -> None:
    with directory_for_all() as directory:
        (directory / "app" / "closed").mkdir(parents=True)
        app = f'[app]\npython = "/bin/sh"\npath = ["{directory}/app/closed"]\n'
        more = f'{app}[approved]\n"a.B" = {{ user = "nobody" }}'
        made = settings(tmp_path, more)
        assert is_whole(check_places.findings(made, None))
        (directory / "app").chmod(0o700)
        (found,) = [one for one in check_places.findings(made, None) if one.severity is Severity.DOUBTFUL]
    assert f"user nobody, of a.B, cannot read {directory}/app/closed: {directory}/app" in found.told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_places_that_this_user_may_not_look_at_are_told_and_no_traceback() -> None:
    with directory_for_all() as directory:
        made = settings(directory)
        (directory / "closed").mkdir(mode=0o700)
        for key in ("socket", "fifo", "state_dir", "runtime_dir", "log_dir"):
            object.__setattr__(made.daemon, key, directory / "closed" / "in" / key)
        os.setresuid(65534, 65534, 0)
        try:
            found = check_places.findings(made, None)
        finally:
            os.setresuid(0, 0, 0)
    told = [one.told for one in found if one.severity is Severity.BROKEN]
    assert len(told) >= 3  # directories, socket and fifo
    assert all("run this as the daemon's user" in one or "not for this user to write" in one for one in told)


# The verdict


@pytest.mark.parametrize(
    ("unavailable", "found", "verdict"),
    [
        (0, [Severity.OK, Severity.REMARK], "fit for a start"),
        (0, [Severity.DOUBTFUL, Severity.OK, Severity.DOUBTFUL], "fit for a start: 2 doubtful"),
        (1, [], "fit for a start: 1 unavailable"),
        (2, [Severity.BROKEN, Severity.DOUBTFUL], "not fit for a start: 1 broken, 2 unavailable, 1 doubtful"),
    ],
)
def test_the_last_line_says_whether_a_start_would_succeed(
    unavailable: int, found: list[Severity], verdict: str
) -> None:
    classes = {
        f"a.B{number}": {"unavailable": "gone", "traceback": "", "methods": {}}
        for number in range(unavailable)
    }
    checked = Checked(None, None, classes, {}, (), False, False, tuple(Finding(one, "so") for one in found))
    assert str(checked).splitlines()[-1] == verdict
    assert json.loads(checked.as_json())["is_fit"] is verdict.startswith("fit")
    assert checked.is_whole is (verdict == "fit for a start")


# Disks


@pytest.mark.parametrize(
    ("size", "free", "inodes", "free_inodes", "is_troubled"),
    [
        (100 * GIB, GIB, 0, 0, False),
        (100 * GIB, GIB - 1, 0, 0, True),
        (GIB, GIB // 10, 0, 0, False),
        (GIB, GIB // 21, 0, 0, True),
        (GIB, GIB, 1000, 49, True),
        (GIB, GIB, 10**9, 10_000, False),
        (GIB, GIB, 10**9, 9_999, True),
    ],
)
def test_a_disk_is_nearly_full_below_a_twentieth_or_what_is_enough_anywhere(
    size: int, free: int, inodes: int, free_inodes: int, is_troubled: bool
) -> None:
    one = Room(("state_dir",), Path("/var"), size, free, inodes, free_inodes)
    assert (one.trouble is not None) is is_troubled


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (("state_dir", "runtime_dir", "log_dir"), "without any, no job is taken or started"),
        (("runtime_dir", "log_dir"), "without any, no job is started, and those that are taken wait"),
        (("log_dir",), "without any, lines of the log are lost"),
    ],
)
def test_what_comes_of_a_full_disk_is_told_by_what_is_on_it(keys: tuple[str, ...], told: str) -> None:
    assert str(Room(keys, Path("/var"), GIB, 0).trouble).endswith(told)


def test_directories_on_one_file_system_are_told_once(tmp_path: Path) -> None:
    (one,) = disk_space.rooms(settings(tmp_path).daemon.directories)
    assert one.keys == ("state_dir", "runtime_dir", "log_dir")
    assert 0 < one.free <= one.size


def test_the_kind_of_a_file_system_is_that_of_the_nearest_and_last_mount() -> None:
    mounts = (
        "22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
        "23 22 0:21 / /run rw shared:2 - tmpfs tmpfs rw\n"
        "24 22 0:22 / /running rw - xfs /dev/vdb rw\n"
        "25 22 0:23 / /a\\040b rw - btrfs /dev/vdc rw\n"
        "26 22 0:24 / /a\\040b rw - nfs x rw\n"
    )
    told = [
        disk_space.kind_among(mounts, path) for path in ("/", "/run", "/run/bgjobd", "/running/x", "/a b/c")
    ]
    assert told == ["ext4", "tmpfs", "tmpfs", "xfs", "nfs"]


# Jobs that wait

SHOP = """
from datetime import date

class Job:
    def send(self, to: str): pass
    def age(self, years: int): pass
    def on(self, day: date): pass
    def old(self): pass
"""


def test_jobs_of_a_class_that_cannot_be_loaded_would_wait(tmp_path: Path) -> None:
    described: dict[str, Any] = {"a.Job": {"unavailable": "ImportError: no", "methods": {}, "hooks": []}}
    catalogue = Catalogue(settings(tmp_path, '[approved]\n"a.Job" = {}'), described, "")
    jobs = [PendingJob(number, "a.Job", "run", "{}") for number in (1, 2)]
    (found,) = check_jobs.findings(fates.look(catalogue, described, jobs, 2, lambda: True))
    told = "2 jobs of a.Job::run would wait until it can be: the class cannot be loaded (jobs 1, 2)"
    assert told in found.told


def test_jobs_that_the_new_code_would_not_take_are_counted_with_the_reason(tmp_path: Path) -> None:
    own = '"shop.Job" = {}\n"shop2.Job" = {}'
    with (
        daemon(tmp_path, own, modules={"shop": SHOP, "shop2": SHOP}, has_pydantic=True) as running,
        running.client() as client,
    ):
        client.pause()
        for parameters in ({"to": "a"}, {"to": "b"}):
            client.run_background_job("shop.Job", "send", parameters)
        client.run_background_job("shop.Job", "age", {"years": 5})
        client.run_background_job("shop.Job", "on", {"day": "2026-11-25"}, delay=900)
        client.run_background_job("shop.Job", "old")
        client.run_background_job("shop2.Job", "old")
        assert "ok           queued jobs: 6 jobs, and nothing against them" in told(running)

        changed = SHOP.replace("to: str", "recipient: str").replace("years: int", "years: str")
        changed = changed.replace("day: date", "day: int | date").replace("    def old(self): pass\n", "")
        (tmp_path / "shop.py").write_text(changed.replace("int | date", "list[date]"))
        running.config.write_text(running.config.read_text().replace('"shop2.Job" = {}', ""))
        while_it_runs = checked(running)
        is_alone = isinstance(running.place, Path)
        unapproved = (
            "would fail, not to be retried: the class is not approved, and its attempts end with MethodNotApproved"
            if is_alone
            else "would wait for a host that has it approved: the class is not approved here"
        )
        running.stop()
        without = checked(running)
        assert not without.is_whole
        for lines in (str(while_it_runs), str(without)):
            assert [line for line in lines.splitlines() if "queued jobs" in line] == [
                f"doubtful     queued jobs: {line}; mend the code or the configuration, or `bgjob cancel` them"
                for line in (
                    "2 jobs of shop.Job::send would fail, not to be retried: its parameters do not fit any more, and "
                    "its attempts end with InvalidParameters (jobs 1, 2, parameter recipient, to)",
                    "1 job of shop.Job::age would run with what they were given: its parameters would be refused now, "
                    "and are passed as they are (job 3, parameter years)",
                    "1 job of shop.Job::old would fail, not to be retried: the class has no such method that may "
                    "be called, and its attempts end with MethodNotApproved (job 5)",
                    "1 job of shop.Job::on would fail, not to be retried: its parameters do not fit any more, and "
                    "its attempts end with InvalidParameters (job 4, parameter day)",
                    f"1 job of shop2.Job::old {unapproved} (job 6)",
                )
            ]

        # What is foretold is what happens.
        running.start()
        with running.client() as again:
            again.resume()
            over = (1, 2, 3, 5, 6) if is_alone else (1, 2, 3, 5)
            ended = {number: again.wait(number, 20) for number in over}
            assert is_alone or again.get(6).snapshot["status"] == "pending"
        assert {
            number: (job["status"], (job["error"] or "").partition(":")[0]) for number, job in ended.items()
        } == {
            1: ("failed", "InvalidParameters"),
            2: ("failed", "InvalidParameters"),
            3: ("completed", ""),
            **dict.fromkeys(over[3:], ("failed", "MethodNotApproved")),
        }
        assert {job["retry_count"] for job in ended.values()} == {0}


def test_jobs_with_hostile_names_make_one_short_line_that_cannot_move_the_terminal(tmp_path: Path) -> None:
    method: dict[str, Any] = {"whole": None, "coerce": False, "contexts": [], "required": [], "integers": []}
    method |= {
        "names": [],
        "plain": None,
        "sensitive": [],
        "note": None,
        "bare_context": False,
        "unconverted": [],
    }
    method["schema"] = {"type": "object", "properties": {}, "additionalProperties": False}
    described: dict[str, Any] = {"a.Job": {"unavailable": None, "methods": {"run": method}, "hooks": []}}
    made = settings(tmp_path, '[approved]\n"a.Job" = {}')
    names = ["\x1b[2J" + "x" * 10_000, *(f"name{number}" for number in range(1000))]
    jobs = [
        PendingJob(number, "a.Job", "run", json.dumps({name: "secret"})) for number, name in enumerate(names)
    ]
    looked = fates.look(Catalogue(made, described, ""), described, jobs, len(jobs), lambda: True)
    (found,) = check_jobs.findings(looked)
    assert "1,001 jobs of a.Job::run would fail" in found.told
    assert len(str(found)) < 400
    assert "\\x1b[2Jxxx" in str(found)
    assert "\x1b" not in str(found)
    assert "secret" not in str(found)


def test_a_job_of_a_class_that_is_not_approved_waits_where_other_hosts_may_have_it(tmp_path: Path) -> None:
    jobs = [PendingJob(1, "theirs.Job", "run", "{}")]
    with_others = Catalogue(settings(tmp_path, 'database = "postgresql://u@db/jobs"'), {}, "")
    (found,) = check_jobs.findings(fates.look(with_others, {}, jobs, 1, lambda: True))
    assert found.told.startswith(
        "queued jobs: 1 job of theirs.Job::run would wait for a host that has it approved: the class is not approved "
        "here (job 1); "
    )


def test_the_look_at_many_jobs_ends_with_the_time_there_is_and_says_so(tmp_path: Path) -> None:
    jobs = (PendingJob(number, "gone.Job", "run", "{}") for number in range(1, 1_000_000))
    ticks = iter(range(5_000))
    looked = fates.look(
        Catalogue(settings(tmp_path), {}, ""), {}, jobs, 1_000_000, lambda: next(ticks, None) is not None
    )
    wrong, so_far = check_jobs.findings(looked)
    assert "5,001 jobs of gone.Job::run would fail" in wrong.told
    assert "(jobs 1, 2, 3, …)" in wrong.told
    assert so_far.told == (
        "queued jobs: of 1,000,000 jobs that wait, 5,001 were looked at in the time there is; the others were not"
    )


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a daemon that has run a job, and was stopped."""
    directory = tmp_path_factory.mktemp("stopped")
    with daemon(directory) as running:
        with running.client() as client:
            client.run_background_job("probes.Probe", "echo").wait(20)
        running.stop()
    return directory


@pytest.fixture
def written(tmp_path: Path, stopped: Path) -> RunningDaemon:
    """A daemon that has yet to start, with a database of one job."""
    copy_state(stopped / "state", tmp_path / "state")
    return RunningDaemon(tmp_path)


def test_a_time_in_the_future_says_that_the_clock_was_set_back(written: RunningDaemon) -> None:
    assert "in the future" not in told(written)
    at = "2399-01-01T00:00:00.000000Z"
    _write(written, f"UPDATE background_jobs SET updated_at = '{at}'")
    assert f"doubtful     clock: a job was written at {at}" in told(written)


def test_a_database_of_a_newer_bgjobd_is_told(written: RunningDaemon) -> None:
    _write(written, "PRAGMA user_version = 1000")
    found = checked(written)
    assert not found.is_whole
    assert "broken       database:" in str(found)
    assert "schema version 1000" in str(found)


def test_a_backup_in_the_databases_place_says_what_a_start_pauses(written: RunningDaemon) -> None:
    assert "a backup is in its place" not in told(written)
    _write(written, "INSERT INTO properties VALUES ('copied_at', '2024-12-04T14:31:53.000000Z')")
    found = checked(written)
    assert (
        "remark       database: a backup is in its place; a start pauses all schedules and the queues"
        in str(found)
    )
    assert found.is_fit


def _write(running: RunningDaemon, statement: str) -> None:
    with running.changing() as connection:
        connection.execute(statement)


# JSON


def is_of_test_server(told: str) -> bool:
    """Whether it is what a server of the tests' own is told for: they have none of its settings that make it slow."""
    return told.startswith("database:") and " is off: a crash of the server" in told


def test_a_program_reads_the_same_as_json(tmp_path: Path) -> None:
    running = RunningDaemon(tmp_path)
    done = check(running, "--json")
    whole: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode, whole["is_whole"]) == (1, False)  # probes.NeedsMore and broken.Job are there
    assert {one["name"]: one["unavailable"] is None for one in whole["classes"]} == {
        "broken.Job": False,
        "probes.NeedsMore": False,
        "probes.Probe": True,
    }
    amiss = [one["told"] for one in whole["findings"] if one["verdict"] not in {"ok", "remark"}]
    assert [told for told in amiss if not is_of_test_server(told)] == []
    running.config.write_text("[daemon]\nslots = 0\n")
    refused = check(running, "--json")
    (problem,) = json.loads(refused.stdout)["problems"]
    assert (refused.returncode, problem["key"]) == (2, "daemon.slots")


def test_an_interpreter_that_is_not_there_is_broken_and_the_rest_is_told(tmp_path: Path) -> None:
    running = RunningDaemon(tmp_path, app='python = "no-such-python"')
    found = checked(running)
    assert not found.is_whole
    assert "broken       interpreter: there is no interpreter no-such-python" in str(found)
    assert "ok           socket:" in str(found)
