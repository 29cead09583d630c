"""Jobs that attack the daemon they run under, its fork server and their neighbours; what they find to do it with."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from bgjob import Client, JobFailedError
from bgjob.client import Job
from bgjobd.commands import books
from bgjobd.forkserver import landlock
from tests.daemon import warm
from tests.daemon.running import RunningDaemon, daemon, is_alive, links_of
from tests.support import directory_for_all, eventually

PROBE = "probes.Probe"
SUSPECT = "suspects.Suspect"
CONFINED = "suspects.Confined"
STRANGER = "suspects.Stranger"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a class a user of its own")
needs_signal_scope = pytest.mark.skipif(
    not landlock.has_signal_scope(), reason="this kernel's Landlock has no scopes"
)

needs_file_rules = pytest.mark.skipif(not landlock.has_file_rules(), reason="this kernel has no Landlock")

POLICY = (
    f'"{SUSPECT}" = {{}}\n'
    + (f'"{CONFINED}" = {{ writable = ["/var/tmp"] }}\n' if landlock.has_file_rules() else "")
    + (f'"{STRANGER}" = {{ user = "nobody" }}\n' if os.geteuid() == 0 else "")
)

GIVEN = "import os; os.set_inheritable(os.open('/', os.O_RDONLY), True)"
"""What a careless parent does to the daemon: a directory that everything it starts may inherit."""


@pytest.fixture(scope="module")
def running() -> Iterator[RunningDaemon]:
    source = (Path(__file__).parent / "suspects.py").read_text()
    with directory_for_all() as directory:
        web = f'enabled = true\nbind = "unix:{directory}/web.sock"'
        with daemon(
            directory, POLICY, modules={"suspects": source}, web=web, changes=GIVEN, has_pydantic=True
        ) as started:
            yield started


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as connected:
        connected.classes()
        yield connected


def child_of(running: RunningDaemon, program: str) -> int:
    """The pid of the daemon's child that runs this program."""

    def found() -> int | None:
        for pid in running.children():
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                if program in Path(f"/proc/{pid}/cmdline").read_text():
                    return pid
        return None

    return eventually(found)  # type: ignore[return-value]  # a pid is what is true


def fork_server(running: RunningDaemon) -> int:
    return child_of(running, "/forkserver/__main__.py")


def pid_of(running: RunningDaemon) -> int:
    assert running.process is not None
    return running.process.pid


@contextmanager
def neighbour(running: RunningDaemon, client: Client) -> Iterator[tuple[Job, int]]:
    """A job of another class that runs meanwhile, with its pid, and has to end well."""
    ledger, go = running.directory / "ledger", running.directory / "go"
    ledger.unlink(missing_ok=True)
    go.unlink(missing_ok=True)
    job = client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})
    try:
        yield job, int(eventually(lambda: ledger.exists() and ledger.read_text()).split()[1])
    finally:
        go.touch()
    ended = job.wait(20)
    assert (ended["status"], [one["outcome"] for one in ended["attempts"]]) == ("completed", ["completed"])


# What they find: descriptors, sockets


def kinds(targets: dict[str, str], place: Path) -> list[str]:
    """Where descriptors lead, without what differs each time."""
    known = {os.readlink("/dev/null") if os.path.islink("/dev/null") else "/dev/null": "null"}
    told = [known.get(target, target.removeprefix(f"{place}/")) for target in targets.values()]
    return sorted(re.sub(r":\[\d+\]$|\d+\.\d+\.(?=out|journal|hook)", "", one) for one in told)


FORK_SERVERS = ["console", "console", "null", *["pipe"] * 4, "run/spool", "socket", "state/output"]
"""Its streams, the link, what wakes it, and where attempts write: that is what an import runs beside."""

FENCE = "anon_inode:[timerfd]"
"""What wakes that of a host that may be cut off from others."""

ATTEMPTS = ["left", "null", "run/spool/journal", "state/output/out", "state/output/out"]
"""Its streams, its journal, and what its module has left open, which is the application's own doing."""

PROGRAMS = ["null", "pipe", "state/output/out"]


def test_an_attempt_holds_no_descriptor_that_leads_out_whatever_the_daemon_was_given(
    running: RunningDaemon, client: Client, engine: str
) -> None:
    """CVE-2024-21626, CVE-2019-5736 (runc): a directory of the host's leaked, and /proc/self/exe could be written."""
    assert "/" in links_of(pid_of(running)).values()
    told = client.run_background_job(SUSPECT, "look_round").result(20)
    seen = {name: kinds(told[name], running.directory) for name in ("import", "method", "program")}
    servers = FORK_SERVERS if engine == "sqlite" else [FENCE, *FORK_SERVERS]
    assert seen == {"import": servers, "method": ATTEMPTS, "program": PROGRAMS}
    assert told["exe"] in {"ETXTBSY", "EACCES"}
    described = json.loads((running.directory / "described").read_text())
    assert set(kinds(described, running.directory)) <= {*servers, "left"}
    for child in (fork_server(running), child_of(running, "bgjobd.web")):
        assert "/" not in links_of(child).values()


def test_no_socket_has_a_name_but_those_that_are_configured(running: RunningDaemon, client: Client) -> None:
    """CVE-2022-42919 (CPython's fork server), CVE-2020-15257 (containerd): anybody could connect to a worker's."""
    page = child_of(running, "bgjobd.web")
    eventually((running.directory / "web.sock").exists)
    with neighbour(running, client) as (_, pid):
        names = {
            who: names_of_sockets(found)
            for who, found in {
                "daemon": pid_of(running),
                "page": page,
                "fork server": fork_server(running),
                "attempt": pid,
            }.items()
        }
    assert names == {
        "daemon": {str(running.socket)},
        "page": {f"{running.directory}/web.sock"},
        "fork server": set(),
        "attempt": set(),
    }


def names_of_sockets(pid: int) -> set[str]:
    """The names of the Unix sockets that a process has open, those of the abstract kind too."""
    rows = [
        line.split(" ") for line in Path("/proc/net/unix").read_text().split("\n") if line.count(" ") >= 7
    ]
    links = links_of(pid).values()
    return {row[-1] for row in rows if f"socket:[{row[-2]}]" in links}


# What they say: it stays text

ERRORS = ["os.system", "system", "builtins.eval", "bgjob.errors.JobFailedError", "subprocess.Popen"]


def test_an_error_that_names_something_to_call_is_text_everywhere(
    running: RunningDaemon, client: Client
) -> None:
    """CVE-2021-23727 (celery): the type and the arguments of an error in the result store were called."""
    mark, hook = running.directory / "mark", running.directory / "hook"
    for name in ERRORS:
        hook.unlink(missing_ok=True)
        command = f"touch {mark}"
        record = {
            "exc_type": "system",
            "exc_module": "os",
            "exc_message": [command],
            "error_type": name,
            "error_message": command,
            "traceback": command,
            "may_retry": False,
            "delay": None,
        }
        job = client.run_background_job(SUSPECT, "pretend", {"record": record})
        with pytest.raises(JobFailedError) as caught:
            job.result(20)
        assert type(caught.value) is JobFailedError
        assert str(caught.value) == f"job {job.id} failed: {name}: {command}"
        (attempt,) = job.snapshot["attempts"]
        assert [attempt["error_type"], attempt["error_message"]] == [name, command]
        assert running.query(f"SELECT error FROM background_jobs WHERE id = {job.id}") == [
            (f"{name}: {command}",)
        ]
        told = json.loads(eventually(lambda: hook.exists() and hook.read_text()))
        assert told["type"] == "AttemptError"
        assert told["error"] == [repr(part) for part in ("failed", name, command, command)]
        assert told["cause"] == "None"
    assert not mark.exists()
    assert kinds(told["fds"], running.directory) == [kind.replace("journal", "hook") for kind in ATTEMPTS]


def test_a_result_that_looks_like_an_error_is_a_result(running: RunningDaemon, client: Client) -> None:
    """CVE-2021-23727 (celery): the same by a value, and by names that Python's own machinery knows."""
    value = {
        "exc_type": "system",
        "exc_module": "os",
        "__reduce__": ["os.system", ["id"]],
        "py/object": "os.x",
    }
    assert client.run_background_job(PROBE, "echo", {"value": value}).result(20) == value


# What they are called

NAMES = ["x) R 1 1 1 (", "a\nPPid:\t1\n", "\rUid:\t0\r`id`", "\x1b[31m;id>&2"]


def test_processes_with_hostile_names_are_told_by_their_numbers_alone(running: RunningDaemon) -> None:
    """CVE-2020-28243 (salt): the name of a process ended up in a command line."""
    go = running.directory / "named"
    with running.client() as client:
        jobs, pids = posing(running, client, go)
    try:
        with running.client() as client:
            eventually(lambda: {one["pid"] for one in client.running()} == set(pids))
            now = client.running()
            assert [one for one in now if not (0 <= one["cpu"] < 60 and 2**20 < one["memory"] < 2**33)] == []
        running.stop(signal.SIGKILL)
        running.start()
        told = bgjobd(running, "check", "--books")
        assert (told.returncode, is_plain(told.stdout + told.stderr)) == (0, True), told
    finally:
        go.touch()
    with running.client() as client:
        ended = [client.get(job).wait(20) for job in jobs]
    assert [job["result"] for job in ended] == [f"{name[:15]}\n" for name in NAMES]
    assert [len(job["attempts"]) for job in ended] == [1] * len(NAMES)


def posing(running: RunningDaemon, client: Client, go: Path) -> tuple[list[int], list[int]]:
    """Jobs with those names and their pids."""
    places = [running.directory / f"named.{number}" for number in range(len(NAMES))]
    jobs = [
        client.run_background_job(SUSPECT, "pose", {"name": name, "pid_file": str(place), "go": str(go)}).id
        for name, place in zip(NAMES, places, strict=True)
    ]
    return jobs, [
        int(eventually(lambda place=place: place.exists() and place.read_text())) for place in places
    ]


def test_files_that_jobs_put_into_the_spool_are_no_attempts_and_end_no_start(running: RunningDaemon) -> None:
    """CVE-2020-28243 (salt), again by names: numbers that no file can hold, other ways to write one, and no text."""
    names = [f"{10**19}.1.journal", f"1.{10**19}.hook", f"{2**63}.1.stop", "01.1.journal", "..journal"]
    names += ["-1.1.journal", "\N{ARABIC-INDIC DIGIT ONE}.1.journal", "a\nb.1.journal", "\x1b[31m.1.hook"]
    with running.client() as client:
        client.run_background_job(SUSPECT, "plant", {"spool": str(running.spool), "names": names}).result(20)
    try:
        running.stop()
        running.start()
        with running.client() as client:
            assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
    finally:
        for name in names:
            (running.spool / name).unlink(missing_ok=True)
    told = "".join(str(books.Discrepancy(name, "a rule", "is made up", "remove it")) for name in names)
    assert is_plain(told)
    assert "\n" not in told


MARKS = {
    "a pipe": "mkfifo database-id",
    "what never ends": "ln -s /dev/zero database-id",
    "no text": "printf '\\377' > database-id",
    "a directory": "mkdir -p database-id/in database-id.new/in",
}


@pytest.mark.parametrize("kind", MARKS)
def test_whatever_a_job_puts_in_the_place_of_the_spools_mark_ends_no_start(
    running: RunningDaemon, kind: str
) -> None:
    """CVE-2018-16888 (systemd): what a start reads was another's to write; here it waited, or took all memory."""
    subprocess.run(["rm", "database-id"], cwd=running.spool, check=True)
    subprocess.run(["sh", "-c", MARKS[kind]], cwd=running.spool, check=True)
    checked = bgjobd(running, "check", "--books")
    assert "the books" in checked.stdout
    running.stop()
    running.start()
    with running.client() as client:
        assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
    assert (running.spool / "database-id").is_file()
    assert len((running.spool / "database-id").read_text()) == len(str(uuid.uuid4()))
    for left in running.spool.glob("database-id*.*"):
        shutil.rmtree(left)


def bgjobd(running: RunningDaemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    return warm.run([*arguments, "--config", str(running.config)])


def is_plain(text: str) -> bool:
    """Whether a terminal obeys none of it."""
    return all(char.isprintable() or char == "\n" for char in text)


# What they do to others of their user, and to those of another

SIGNALS = ("kill", "sigqueue", "pidfd_send_signal")
LOOKS = ("mem", "fd", "root", "cwd")
MEANS = ("prlimit", "setpriority", "sched_setaffinity", "oom_score_adj")


def attacked(running: RunningDaemon, client: Client, name: str) -> dict[str, str]:
    """How each attack of this class ended, on each of three the same way."""
    with neighbour(running, client) as (_, other):
        victims = {"daemon": pid_of(running), "fork server": fork_server(running), "attempt": other}
        told = client.run_background_job(name, "attack", {"victims": victims}).result(20)
        assert all(map(is_alive, victims.values()))
    assert (pid_of(running), fork_server(running)) == (victims["daemon"], victims["fork server"])
    return {attack: "/".join(sorted(set(results.values()))) for attack, results in told.items()}


@needs_signal_scope
def test_a_job_of_the_daemons_user_can_neither_signal_nor_trace_nor_look_into_it_but_lower_what_it_may_use(
    running: RunningDaemon, client: Client
) -> None:
    """What SECURITY.md says of a job under Landlock."""
    assert attacked(running, client, SUSPECT) == {
        **dict.fromkeys((*SIGNALS, "ptrace"), "EPERM"),
        "F_SETOWN": "done",  # which says that somebody is named, not that the signal is sent
        **dict.fromkeys(LOOKS, "EACCES"),
        **dict.fromkeys(MEANS, "done"),
    }


@needs_file_rules
@needs_signal_scope
def test_a_job_that_may_write_to_few_places_can_lower_no_more_than_a_call_does(
    running: RunningDaemon, client: Client
) -> None:
    """What SECURITY.md says of a class with `writable`."""
    assert attacked(running, client, CONFINED) == {
        **dict.fromkeys((*SIGNALS, "ptrace"), "EPERM"),
        "F_SETOWN": "done",
        **dict.fromkeys((*LOOKS, "oom_score_adj"), "EACCES"),
        **dict.fromkeys(MEANS[:-1], "done"),
    }


@as_root
@needs_signal_scope
def test_a_job_of_a_user_of_its_own_can_do_nothing_to_it(running: RunningDaemon, client: Client) -> None:
    """What SECURITY.md says of a class with a user."""
    assert attacked(running, client, STRANGER) == {
        **dict.fromkeys((*SIGNALS, "ptrace", *MEANS), "EPERM"),
        "F_SETOWN": "done",
        **dict.fromkeys((*LOOKS, "oom_score_adj"), "EACCES"),
    }


PLACES = ("database", "output", "spool", "journal", "directory")
REACHED = {
    SUSPECT: dict.fromkeys(PLACES, "done/done"),
    CONFINED: {
        **dict.fromkeys(PLACES, "EACCES/EACCES"),
        "journal": "done/EACCES",
        "directory": "done/EACCES",
    },
    STRANGER: dict.fromkeys(PLACES, "EACCES/EACCES"),
}
"""Of the daemon's files and of another job's: how reading and how writing ends."""


@pytest.mark.parametrize(
    "name", [SUSPECT, pytest.param(CONFINED, marks=needs_file_rules), pytest.param(STRANGER, marks=as_root)]
)
def test_a_job_reads_and_writes_of_others_what_is_told(
    running: RunningDaemon, client: Client, name: str, engine: str
) -> None:
    """What SECURITY.md says of the files of a daemon and of its other jobs."""
    with neighbour(running, client) as (job, _):
        places = {
            "database": running.database if engine == "sqlite" else running.directory / "state" / "host.json",
            "output": running.directory / "state" / "output" / f"{job.id}.1.out",
            "journal": running.spool / f"{job.id}.1.journal",
            "directory": running.directory / "run" / "work" / f"{job.id}.1",
            "spool": running.spool,
        }
        assert all(place.exists() for place in places.values())
        given = {what: str(place) for what, place in places.items()}
        assert client.run_background_job(name, "reach", {"places": given}).result(20) == REACHED[name]


@as_root
def test_who_runs_as_another_user_is_that_user_in_all_ids_and_has_no_way_back(
    running: RunningDaemon, client: Client
) -> None:
    """CVE-2011-4356 (celery): the effective id was changed, and the real one stayed root's."""
    program = running.directory / "id"
    shutil.copy("/usr/bin/id", program)
    program.chmod(0o4755)
    told = client.run_background_job(STRANGER, "identity", {"program": str(program)}).result(20)
    uid = int(subprocess.run(["id", "-u", "nobody"], capture_output=True, check=True).stdout)
    gid, groups = (
        subprocess.run(["id", option, "nobody"], capture_output=True, check=True).stdout.split()
        for option in ("-g", "-G")
    )
    assert told["ids"] == [uid] * 3 + [int(gid[0])] * 3
    assert sorted(told["groups"]) == sorted(map(int, groups))
    assert told["ways"] == dict.fromkeys(told["ways"], "EPERM")
    bounding = told["capabilities"].pop("CapBnd")
    assert told["capabilities"] == dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapAmb"), 0)
    own = re.search(r"^CapBnd:\t(\w+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert own is not None
    assert bounding == int(own[1], 16)  # of which nothing can be drawn, as no program gives rights:
    assert (told["no_new_privs"], told["securebits"], told["program"]) == ("1", 0, [str(uid)])


# What they take away


@pytest.mark.parametrize("which", ["RLIMIT_NOFILE", "nice", "oom_score_adj"])
def test_a_fork_server_whose_means_a_job_has_lowered_makes_way_and_burns_no_attempt(
    running: RunningDaemon, client: Client, which: str
) -> None:
    """What a job of the daemon's own user can do even under Landlock: prlimit(2), setpriority(2), oom_score_adj."""
    if which == "nice" and os.nice(0) == 19:
        pytest.skip("these tests run at the lowest priority there is")
    before, standing = fork_server(running), client.run_background_job(SUSPECT, "standing").result(20)
    with neighbour(running, client):
        client.run_background_job(SUSPECT, "lower", {"pid": before, "which": which}).result(20)
        ends = []
        for _ in range(6):  # more than there are spares, which were forked before that
            job = client.run_background_job(SUSPECT, "standing", max_retries=0)
            assert job.result(20) == standing
            ends += job.snapshot["attempts"]
        (unbegun,) = [end for end in ends if end["outcome"] != "completed"]
        assert unbegun["outcome"] == "not_started"
        lowered = f"somebody has lowered what the fork server (pid {before}) may use: {which}"
        assert lowered in unbegun["error_message"]
        assert fork_server(running) != before
    eventually(lambda: [line for line in running.lines() if lowered in line])


def test_a_daemon_whose_means_a_job_has_lowered_says_so(running: RunningDaemon, client: Client) -> None:
    """The same, done to the daemon, whose next fork server inherits it."""
    parameters = {"pid": pid_of(running), "which": "RLIMIT_MSGQUEUE"}
    client.run_background_job(SUSPECT, "lower", parameters).result(20)
    os.kill(fork_server(running), signal.SIGKILL)
    told = "somebody has lowered what this daemon may use, and its attempts with it: RLIMIT_MSGQUEUE; restart"
    eventually(lambda: [line for line in running.lines() if told in line])
    assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1


# Whose pid a file tells


def test_the_pid_in_the_lock_file_is_told_and_never_acted_on(running: RunningDaemon, client: Client) -> None:
    """CVE-2018-16888 (systemd): whoever could write a pidfile had another's process killed."""
    lock = running.directory / "state" / "bgjobd.lock"
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as victim:
        try:
            lock.write_text(f"{victim.pid}\n")
            second = running.spawn()
            assert second.wait(20) == 75
            told = json.loads(bgjobd(running, "status", "--json").stdout)
            assert told["lock_held_by"] == pid_of(running)
            running.stop()
            running.start()
            assert lock.read_text() == f"{pid_of(running)}\n"
            assert victim.poll() is None
        finally:
            victim.kill()


# Paths


def test_no_id_key_queue_or_class_is_ever_a_path(running: RunningDaemon, client: Client) -> None:
    """CVE-2026-15059 (systemd-oomd): a name from a request was put into a path of a cgroup."""
    climbing = "../../../../etc/passwd"
    before = directories(running)
    job = client.run_background_job(PROBE, "echo", {"value": climbing}, idempotency_key=climbing)
    assert job.result(20) == climbing
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(20)
        peer.connect(str(running.socket))
        answers = {
            (method, str(given)): answer(peer, method, given) for method, given in climbing_calls(climbing)
        }
    assert set(answers.values()) <= {"InvalidParameter", "InvalidName", "NotApproved"}, answers
    eventually(lambda: directories(running) <= before)  # a hook of another test's may be over by then


def directories(running: RunningDaemon) -> set[Path]:
    """Those that there are; one of a job that has ended may go meanwhile."""
    return {Path(place, name) for place, names, _ in os.walk(running.directory) for name in names}


def climbing_calls(climbing: str) -> list[tuple[str, dict[str, Any]]]:
    call = {"class_name": PROBE, "method_name": "echo"}
    return [
        *((method, {"id": f"1{climbing}"}) for method in ("Get", "Output", "Wait", "Why")),
        *((method, {"ids": [climbing]}) for method in ("Cancel", "Retry", "Change")),
        *((method, {"queue": climbing}) for method in ("Pause", "Resume")),
        ("Change", {"ids": [1], "queue": climbing}),
        ("Output", {"id": 1, "attempt": climbing}),
        ("Logs", {"id": climbing}),
        ("Submit", {**call, "options": {"queue": climbing}}),
        ("Submit", {**call, "class_name": climbing}),
        ("Submit", {**call, "method_name": climbing}),
    ]


def answer(peer: socket.socket, method: str, parameters: dict[str, Any]) -> str:
    """The name of the error; empty where it is none."""
    frame = json.dumps({"method": f"org.bgjobd.Jobs.{method}", "parameters": parameters})
    peer.sendall(frame.encode() + b"\0")
    text = b""
    while not text.endswith(b"\0"):
        text += peer.recv(65536)
    return str(json.loads(text[:-1]).get("error", "")).rpartition(".")[2]
