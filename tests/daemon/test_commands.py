"""The commands as a person meets them: output, messages and exit codes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import warm
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

SHOP = """
class Job:
    def run(self, token):
        return 5

    def lend(self, token, context):
        return 6
"""
DOUBTFUL = '"shop.Job" = { methods = ["run", "rum", "lend"], sensitive = ["token", "tokne"] }'


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(tmp_path_factory.mktemp("commands"), DOUBTFUL, modules={"shop": SHOP}) as running:
        yield running


@pytest.fixture(scope="module")
def checked(running: RunningDaemon) -> subprocess.CompletedProcess[str]:
    """What `bgjobd check` has told of its configuration."""
    return _run("bgjobd", "check", "--config", str(running.config))


def _run(
    module: str, *arguments: str, socket: Path | str = "/nowhere/s.sock"
) -> subprocess.CompletedProcess[str]:
    return warm.run(arguments, os.environ | {"BGJOBD_SOCKET": str(socket)}, program=module)


@pytest.mark.parametrize("command", ["status", "units"])
def test_a_reader_that_has_had_enough_is_no_error(running: RunningDaemon, command: str) -> None:
    """As head is; what is printed on leaving an interpreter is its own, so these are real ones."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing):
        done = subprocess.run(
            [sys.executable, "-m", "bgjobd", command],
            env=os.environ | {"BGJOBD_CONFIG": str(running.config)},
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=50,
        )
    assert (done.returncode, done.stderr) == (141, b"")


def test_run_prints_the_id_and_show_the_job(running: RunningDaemon) -> None:
    done = _run("bgjob", "run", "probes.Probe::echo", "-p", "value=5", socket=running.socket)
    assert (done.returncode, done.stderr) == (0, "")
    with running.client() as client:
        client.get(int(done.stdout)).wait(20)
    shown = _run("bgjob", "show", done.stdout.strip(), "--json", socket=running.socket)
    job = json.loads(shown.stdout)
    assert (job["status"], job["result"], job["parameters"]) == ("completed", 5, {"value": 5})
    assert [attempt["outcome"] for attempt in job["attempts"]] == ["completed"]
    text = _run("bgjob", "show", done.stdout.strip(), socket=running.socket).stdout
    assert "completed" in text


def test_a_parameter_is_json_if_it_parses_else_text(running: RunningDaemon) -> None:
    told = [
        json.loads(
            _run(
                "bgjob", "run", "-w", "probes.Probe::echo", "-p", f"value={text}", socket=running.socket
            ).stdout
        )
        for text in ("5", "five", "[1]", "null")
    ]
    assert told == [5, "five", [1], None]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("run", "-w", "probes.Probe::exit", "-p", "code=3", "--retry-count", "1"), 1, "failed: exited"),
        (("run", "probes.Probe"), 2, "is not CLASS::METHOD"),
        (("run", "probes.Probe::echo", "-p", "value"), 2, "is not KEY=VALUE"),
        (("show", "999999"), 4, "there is no job 999999"),
        (("run", "other.Job::run"), 77, "not an approved class"),
        (("run", "probes.Probe::missing"), 77, "no approved method missing"),
        (("run", "probes.Probe::echo", "-p", "valeu=1"), 77, "valeu"),
        (
            (
                "run",
                "-w",
                "--timeout",
                "0.1",
                "probes.Probe::sleep",
                "-p",
                "seconds=60",
            ),
            124,
            "goes on",
        ),
    ],
)
def test_what_goes_wrong_has_its_exit_code_and_a_sentence(
    running: RunningDaemon, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = _run("bgjob", *arguments, socket=running.socket)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_daemon_the_client_says_so_with_69() -> None:
    done = _run("bgjob", "run", "probes.Probe::echo")
    assert done.returncode == 69
    assert "no daemon answers at /nowhere/s.sock" in done.stderr


def test_check_lists_what_is_approved_and_what_is_broken(checked: subprocess.CompletedProcess[str]) -> None:
    assert checked.returncode == 1
    assert "approved     probes.Probe:" in checked.stdout
    assert "unavailable  broken.Job: RuntimeError: this module does not import" in checked.stdout
    assert "unavailable  probes.NeedsMore: its constructor needs connection" in checked.stdout


def test_a_daemon_that_approves_no_class_says_so_at_its_start_and_others_do_not(
    running: RunningDaemon, tmp_path: Path
) -> None:
    bare = RunningDaemon(tmp_path)
    told = bare.config.read_text()
    bare.config.write_text(told[: told.index("[approved]")])
    try:
        bare.start()
        assert eventually(lambda: any("no class is approved" in line for line in bare.lines()))
    finally:
        bare.stop()
    assert not any("no class is approved" in line for line in running.lines())


def test_a_bad_configuration_is_told_whole(tmp_path: Path) -> None:
    file = tmp_path / "bgjobd.toml"
    file.write_text("[daemon]\nslots = 0\nslot = 1\n")
    for command in ("check", "serve"):
        done = _run("bgjobd", command, "--config", str(file))
        assert done.returncode == 2
        assert "daemon.slots" in done.stderr
        assert "daemon.slot:" in done.stderr


def test_a_daemon_in_whose_place_a_file_is_tells_which_and_who_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    file = tmp_path / "bgjobd.toml"
    places = {name: tmp_path / name for name in ("socket", "fifo", "runtime_dir", "log_dir")}
    places["state_dir"] = tmp_path / "taken"
    file.write_text("[daemon]\n" + "".join(f'{name} = "{place}"\n' for name, place in places.items()))
    done = _run("bgjobd", "serve", "--config", str(file))
    assert done.returncode == 1
    assert f"could not start: {tmp_path}/taken: File exists; `bgjobd check` names the key" in done.stderr
    checked = _run("bgjobd", "check", "--config", str(file))
    assert (
        f"{tmp_path}/taken is in the way, which is no directory; move it, or set [daemon]" in checked.stdout
    )


def test_the_demo_shows_success_retry_crash_and_refusal() -> None:
    done = _run("bgjobd", "demo", "--once")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("completed") == 3
    for told in (
        "FlakyJob::run - ConnectionError",
        "ended by signal 11",
        "ForbiddenJob is not an approved class",
    ):
        assert told in done.stderr
    assert "1 message in the Maildir" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_demo_ends_at_a_signal_while_its_jobs_run(number: signal.Signals) -> None:
    demo = [sys.executable, "-m", "bgjobd", "demo"]
    with subprocess.Popen(demo, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as shown:
        assert shown.stderr is not None
        while "Background job started" not in shown.stderr.readline():
            pass
        shown.send_signal(number)
        _, rest = shown.communicate(timeout=20)  # it waited for half a minute that its own daemon come back
    assert shown.returncode == 130
    assert "stopping; nothing runs" in rest
    assert "Traceback" not in rest


def test_check_doubts_names_that_mean_nothing_and_so_do_the_log_and_a_reload(
    running: RunningDaemon, checked: subprocess.CompletedProcess[str]
) -> None:
    with running.client() as client:
        assert client.run_background_job("shop.Job", "run", {"token": "x"}).result(20) == 5
    reloaded = _run("bgjob", "reload", socket=running.socket)
    for doubt in (
        "methods of shop.Job lists rum, and the class has no such method that may be called",
        "sensitive of shop.Job lists tokne, and no method has such a parameter",
    ):
        assert f"doubtful     {doubt}" in checked.stdout
        eventually(lambda doubt=doubt: any(f"[approved] {doubt}" in line for line in running.lines()))
        assert f"bgjob: doubtful: {doubt}" in reloaded.stderr


def test_check_remarks_a_context_that_nobody_gives_and_a_refused_submit_says_how_it_is_given(
    running: RunningDaemon, checked: subprocess.CompletedProcess[str]
) -> None:
    why = "nobody gives it by itself; annotated as `context: bgjob.JobContext` it would get the attempt's"
    assert (
        f"remark       shop.Job::lend takes a parameter context without an annotation: {why}"
        in checked.stdout
    )
    done = _run("bgjob", "run", "shop.Job::lend", "-p", "token=x", socket=running.socket)
    assert done.returncode == 77
    assert f"context: {why}" in done.stderr


def test_a_daemon_ends_with_the_terminal_it_was_started_at_and_reloads_by_a_sighup_of_its_start(
    tmp_path: Path,
) -> None:
    running = RunningDaemon(tmp_path)
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "bgjobd", "serve", "--config", str(running.config)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        eventually(lambda: catches(process.pid, signal.SIGUSR1))  # nothing is up yet, and no log is open
        process.send_signal(signal.SIGHUP)
        eventually(lambda: any("reloaded" in line for line in running.lines()))
    finally:
        os.close(ours)
    assert process.wait(20) == 0


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for this signal."""
    told = Path(f"/proc/{pid}/status").read_text().partition("SigCgt:")[2].split()[0]
    return bool(int(told, 16) >> (number - 1) & 1)
