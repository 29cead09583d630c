"""What `bgjobd units` writes: systemd takes it, it is as closed as promised, and as open as jobs need it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bgjobd.systemd import left
from bgjobd.systemd.install import HERE, Choice
from tests.daemon import warm
from tests.support import needed

COMMAND = [sys.executable, "-m", "bgjobd", "units"]
UNITS = "etc/systemd/system"
OF_SYSTEM = [
    *(f"{UNITS}/bgjobd.service", f"{UNITS}/bgjobd.socket", f"{UNITS}/bgjobd-stop.service"),
    f"{UNITS}/bgjobd-failed.service",
    *("etc/sysusers.d/bgjobd.conf", "etc/tmpfiles.d/bgjobd.conf", "etc/logrotate.d/bgjobd"),
]


def units(*options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return warm.run(["units", *options], os.environ | environ)


def installed(root: Path, *options: str) -> Path:
    """The directory of the units, below this root."""
    done = units("--install", "--root", str(root), *options)
    assert done.returncode == 0, done.stderr
    return root / UNITS


def files_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def directives(unit: Path) -> dict[str, list[str]]:
    """The values of each key of a unit file, in their order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


# What is written


def test_each_file_goes_to_its_place_and_everybody_may_read_it(tmp_path: Path) -> None:
    subprocess.run([*COMMAND, "--install", "--root", str(tmp_path)], umask=0o077, check=True)
    assert files_below(tmp_path) == sorted(OF_SYSTEM)
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in OF_SYSTEM} == {0o644}


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_directories_on_the_way_are_everybodys_to_read_and_roots_alone_to_write(
    tmp_path: Path, umask: int
) -> None:
    subprocess.run([*COMMAND, "--install", "--root", str(tmp_path)], umask=umask, check=True)
    made = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o755}


def test_a_link_in_the_place_of_what_is_written_first_leads_nowhere(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("as it was")
    link = tmp_path / UNITS / ".bgjobd.service.new"
    link.parent.mkdir(parents=True)
    link.symlink_to(precious)
    assert "WatchdogSec=" in (installed(tmp_path) / "bgjobd.service").read_text()
    assert precious.read_text() == "as it was"
    assert not (tmp_path / UNITS / "bgjobd.service").is_symlink()


def test_the_service_runs_the_interpreter_that_installed_it(tmp_path: Path) -> None:
    service = directives(installed(tmp_path) / "bgjobd.service")
    assert service["ExecStart"] == [f"{os.path.abspath(sys.executable)} -I -m bgjobd serve"]
    assert "$" not in (tmp_path / OF_SYSTEM[-1]).read_text()


@pytest.mark.parametrize("source", ["bgjobd.service", "user/bgjobd.service"])
def test_the_journal_knows_it_by_its_name(source: str) -> None:
    assert directives(HERE / source)["SyslogIdentifier"] == ["bgjobd"]


def test_an_interpreter_with_a_blank_in_its_path_is_one_word(tmp_path: Path) -> None:
    from bgjobd.systemd.install import files

    texts = files(Choice(), '/opt/100% "new"/python', tmp_path)
    assert 'ExecStart="/opt/100%% \\"new\\"/python" -I -m bgjobd serve\n' in texts[Path("/") / OF_SYSTEM[0]]


def test_without_install_everything_is_shown_and_nothing_written(tmp_path: Path) -> None:
    shown = units("--root", str(tmp_path), "--strict", "--users", "--network")
    assert shown.returncode == 0
    assert files_below(tmp_path) == []
    drop_ins = [f"{UNITS}/bgjobd.service.d/{name}.conf" for name in ("strict", "users", "network")]
    for name in (*OF_SYSTEM, *drop_ins):
        assert f"# {tmp_path}/{name}\n" in shown.stdout


def test_installing_again_changes_nothing(tmp_path: Path) -> None:
    installed(tmp_path)
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in OF_SYSTEM}
    again = units("--install", "--root", str(tmp_path))
    assert again.stdout.count("is there") == len(OF_SYSTEM)
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in OF_SYSTEM} == before


def test_a_file_that_a_person_has_edited_stays_and_the_difference_is_told(tmp_path: Path) -> None:
    service = installed(tmp_path) / "bgjobd.service"
    edited = service.read_text().replace("WatchdogSec=20s", "WatchdogSec=60s")
    service.write_text(edited)
    (tmp_path / "etc/logrotate.d/bgjobd").unlink()

    refused = units("--install", "--root", str(tmp_path))

    assert refused.returncode == 1
    assert "-WatchdogSec=60s\n+WatchdogSec=20s" in refused.stderr
    assert "--force" in refused.stderr
    assert service.read_text() == edited
    assert not (tmp_path / "etc/logrotate.d/bgjobd").exists()  # all or nothing

    forced = units("--install", "--root", str(tmp_path), "--force")
    assert f"replaced   {service}" in forced.stdout
    assert "WatchdogSec=20s" in service.read_text()


def test_a_drop_in_that_is_there_is_kept_up_to_date(tmp_path: Path) -> None:
    drop_in = installed(tmp_path, "--users") / "bgjobd.service.d/users.conf"
    drop_in.write_text("[Service]\nUser=root\n")
    assert units("--install", "--root", str(tmp_path)).returncode == 1
    assert units("--install", "--root", str(tmp_path), "--force").returncode == 0
    assert "CapabilityBoundingSet=" in drop_in.read_text()
    assert "su root root" in (tmp_path / "etc/logrotate.d/bgjobd").read_text()


def test_units_of_the_system_are_refused_to_a_person() -> None:
    if os.geteuid() != 0:
        refused = units("--install")
    else:
        as_nobody = (
            "import os; from bgjobd.systemd import install; os.setuid(65534);"
            "exit(install.run(install.Choice(), is_real=True))"
        )
        refused = subprocess.run(
            [sys.executable, "-c", as_nobody], capture_output=True, text=True, check=False
        )
    assert refused.returncode == 1
    assert "units of the system are root's to write; or --user" in refused.stderr


def test_a_person_has_no_drop_ins_of_the_system() -> None:
    refused = units("--user", "--strict")
    assert refused.returncode == 2
    assert "not for --user" in refused.stderr


# What systemd makes of them


@pytest.mark.parametrize(
    "options", [[], ["--strict"], ["--users"], ["--strict", "--users", "--network"]], ids=str
)
def test_systemd_finds_no_fault_with_the_units(tmp_path: Path, options: list[str]) -> None:
    directory = installed(tmp_path, *options)
    assert verified(directory, tmp_path) == ""


def test_systemd_finds_no_fault_with_the_units_of_a_person(tmp_path: Path) -> None:
    assert units("--user", "--install", XDG_CONFIG_HOME=str(tmp_path)).returncode == 0
    assert files_below(tmp_path) == ["systemd/user/bgjobd.service", "systemd/user/bgjobd.socket"]
    assert verified(tmp_path / "systemd" / "user", tmp_path, "--user") == ""


def test_a_fault_would_be_found(tmp_path: Path) -> None:
    service = installed(tmp_path) / "bgjobd.service"
    service.write_text(service.read_text().replace("KillMode=process", "KillMood=process"))
    assert "Unknown key" in verified(service.parent, tmp_path)


# Tenths, and what the rest is: 0.5 and 0.3 for a network, 0.2 for priorities (@resources).
# With --users, root and its six capabilities; with --network two kinds of namespaces.
SCORES = [
    ([], 14),
    (["--strict"], 5),
    (["--users"], 27),
    (["--strict", "--users"], 18),
    (["--network"], 19),
    (["--network", "--users"], 31),
]


@pytest.mark.parametrize(("options", "most"), SCORES, ids=str)
def test_the_service_is_as_closed_as_promised(tmp_path: Path, options: list[str], most: int) -> None:
    installed(tmp_path, *options)
    assert is_within(tmp_path, most)
    assert not is_within(tmp_path, most - 1)  # if it got better, say so


def verified(directory: Path, runtime: Path, *options: str) -> str:
    """What systemd-analyze complains of."""
    paths = [str(path) for path in directory.iterdir() if path.is_file()]
    done = subprocess.run(
        [needed("systemd-analyze"), *options, "verify", "--man=no", *paths],
        env=os.environ | {"XDG_RUNTIME_DIR": str(runtime)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def is_within(root: Path, tenths: int, unit: str = "bgjobd.service") -> bool:
    options = ["--offline=yes", f"--threshold={tenths}", f"--root={root}", "--no-pager"]
    done = subprocess.run(
        [needed("systemd-analyze"), "security", *options, unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Overall exposure level" in done.stdout, done.stderr
    return done.returncode == 0


# What must not get lost

MUSTS = {
    "Type": "notify-reload",
    "NotifyAccess": "main",
    "KillMode": "process",
    "Delegate": "yes",
    "DelegateSubgroup": "daemon",
    "OOMPolicy": "continue",
    "Restart": "always",
    "RestartMaxDelaySec": "2s",  # clients wait for 5
    "StartLimitIntervalSec": "0",
    "WatchdogSec": "20s",
    "UMask": "0077",
    "LimitCORE": "0",
    "NoNewPrivileges": "yes",
}

PERSONS = pytest.mark.parametrize("person", [False, True], ids=["system", "person"])
Services = dict[bool, Path]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    """The service of the system, and that of a person (True), as they are written; to be read only."""
    home = tmp_path_factory.mktemp("home")
    assert units("--user", "--install", XDG_CONFIG_HOME=str(home)).returncode == 0
    return {
        False: installed(tmp_path_factory.mktemp("root")) / "bgjobd.service",
        True: home / "systemd/user/bgjobd.service",
    }


@PERSONS
def test_what_restarts_and_jobs_depend_on_is_there(services: Services, person: bool) -> None:
    there = directives(services[person])
    assert {key: there.get(key) for key in MUSTS} == {key: [value] for key, value in MUSTS.items()}


def test_the_service_ends_before_that_by_which_it_asks_whether_the_machine_goes_down(
    services: Services,
) -> None:
    service = directives(services[False])
    assert service["After"] == ["bgjobd.socket bgjobd-stop.service dbus.service"]


def test_what_a_stopped_daemon_has_left_is_ended_after_it_and_before_systemd_loses_patience(
    services: Services,
) -> None:
    service = directives(services[False])
    last = directives(services[False].with_name("bgjobd-stop.service"))
    assert service["Wants"] == ["bgjobd-stop.service"]
    assert (last["Type"], last["RemainAfterExit"], "ExecStart" in last) == (["oneshot"], ["yes"], False)
    assert last["ExecStop"] == [f"{os.path.abspath(sys.executable)} -I -m bgjobd.systemd.left"]
    assert int(last["TimeoutStopSec"][0].removesuffix("s")) > left._GRACE + left._LAST_MOMENT


def test_what_tells_that_the_daemon_has_failed_is_started_then_as_its_user(services: Services) -> None:
    service = directives(services[False])
    failed = directives(services[False].with_name("bgjobd-failed.service"))
    assert service["OnFailure"] == ["bgjobd-failed.service"]
    assert failed["ExecStart"] == [f"{os.path.abspath(sys.executable)} -I -m bgjobd.systemd.failed"]
    assert (failed["User"], failed["Type"]) == (service["User"], ["oneshot"])
    assert (failed["RuntimeDirectory"], failed["RuntimeDirectoryPreserve"]) == (["bgjobd-failed"], ["yes"])


def test_the_spool_outlives_a_stop(services: Services) -> None:
    service = directives(services[False])
    assert service["RuntimeDirectory"] == service["StateDirectory"] == service["LogsDirectory"] == ["bgjobd"]
    assert service["RuntimeDirectoryPreserve"] == ["yes"]


def test_the_database_of_a_person_is_not_put_beside_the_configuration(services: Services) -> None:
    # As systemd would have it for a StateDirectory=bgjobd where there is a ~/.config/bgjobd.
    assert "StateDirectory" not in directives(services[True])


# Each breaks jobs or restarts, as tried: the boot id is hidden, running jobs lose /tmp or SysV IPC, a start is EBUSY.
HARMFUL = {
    "ProcSubset": ("pid",),
    "PrivateTmp": ("yes",),
    "RemoveIPC": ("yes",),
    "PrivateUsers": ("yes", "self", "identity"),
    "ProtectControlGroups": ("strict", "private"),
    "DynamicUser": ("yes",),
}


@PERSONS
def test_what_would_break_jobs_is_not_there(services: Services, person: bool) -> None:
    there = directives(services[person])
    assert [key for key, values in HARMFUL.items() if set(there.get(key, ())) & set(values)] == []


def test_the_services_own_cgroups_may_be_written_and_no_others(services: Services) -> None:
    service = directives(services[False])
    assert service["ProtectControlGroups"] == ["yes"]
    assert service["ReadWritePaths"] == ["-/sys/fs/cgroup/system.slice/%n"]
    assert "Slice" not in service


NEEDED = [
    *("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"),
    *("setpriority", "prlimit64", "pidfd_open", "pidfd_send_signal", "linkat", "fallocate", "flock"),
    *("inotify_add_watch", "timerfd_settime", "prctl", "waitid", "setsid", "memfd_create"),
]


@PERSONS
def test_the_system_calls_that_attempts_take_are_let_through(services: Services, person: bool) -> None:
    let_through = allowed(directives(services[person])["SystemCallFilter"])
    assert set(NEEDED) <= let_through
    assert not {"setuid", "mount", "reboot", "clock_settime", "ptrace"} & let_through


def test_a_daemon_with_users_may_become_them(tmp_path: Path) -> None:
    drop_in = directives(installed(tmp_path, "--users") / "bgjobd.service.d/users.conf")
    assert {*NEEDED, "setresuid", "setresgid", "setgroups", "fchownat"} <= allowed(
        drop_in["SystemCallFilter"]
    )
    assert (drop_in["User"], drop_in["Group"]) == ([""], [""])  # with root, systemd 257 takes CAP_SETUID away
    assert drop_in["CapabilityBoundingSet"] == [
        "CAP_SETUID CAP_SETGID CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_KILL"
    ]


def test_the_socket_outlives_the_daemon_and_is_never_closed_for_its_failures(services: Services) -> None:
    directory = services[False].parent
    socket = directives(directory / "bgjobd.socket")
    assert socket["ListenStream"] == ["/run/bgjobd.sock"]
    assert (socket["SocketMode"], socket["SocketGroup"]) == (["0660"], ["bgjob"])
    assert socket["FileDescriptorName"] == ["varlink"]
    assert socket["TriggerLimitIntervalSec"] == ["0"]
    # Not where the socket is.
    assert directives(directory / "bgjobd.service")["RuntimeDirectory"] == ["bgjobd"]


def allowed(filters: list[str]) -> set[str]:
    """The system calls that are let through by these lines, one after the other."""
    found: set[str] = set()
    for line in filters:
        named = {call for word in line.removeprefix("~").split() for call in calls_of(word)}
        found = set() if not line else found - named if line.startswith("~") else found | named
    return found


def calls_of(word: str) -> set[str]:
    if not word.startswith("@"):
        return {word}
    listed = subprocess.run(
        [needed("systemd-analyze"), "syscall-filter", word], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    words = [line.strip() for line in listed[1:] if line.strip() and not line.strip().startswith("#")]
    return {call for word in words for call in calls_of(word)}
