"""One job from submit to record, through a real daemon: every ending, every place that tells of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgjob import (
    ClassUnavailableError,
    InvalidNameError,
    InvalidParameterError,
    InvalidParametersError,
    InvalidStateError,
    JobFailedError,
    JobNotFoundError,
    MethodNotApprovedError,
    NotApprovedError,
    WaitTimeoutError,
)
from bgjob.client import Client
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

PROBE = "probes.Probe"


@pytest.fixture(scope="module")
def running(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(tmp_path_factory.mktemp("one-job")) as running:
        yield running


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


@pytest.mark.parametrize("value", [None, 0, "text", [1, {"a": None}], {"ä": "€"}, 2**63 - 1, 1.5, True])
def test_a_job_returns_what_its_method_returned(client: Client, value: object) -> None:
    assert client.run_background_job(PROBE, "echo", {"value": value}).result(20) == value


def test_a_method_with_one_parameter_called_params_gets_the_whole_mapping(client: Client) -> None:
    assert client.run_background_job(PROBE, "whole", {"b": 1, "a": 2}).result(20) == ["a", "b"]


def test_an_async_method_is_awaited(client: Client) -> None:
    assert client.run_background_job(PROBE, "echo_later", {"value": 5}).result(20) == 5


def test_an_attempt_is_a_process_of_its_own_and_a_session_leader(
    client: Client, running: RunningDaemon
) -> None:
    told = [client.run_background_job(PROBE, "describe_itself").result(20) for _ in range(2)]
    assert all(one["sid"] == one["pid"] for one in told)
    assert told[0]["pid"] != told[1]["pid"]
    assert running.process is not None
    assert running.process.pid not in [one["pid"] for one in told]


def test_an_attempt_sees_no_descriptor_but_its_streams_and_its_journal(
    client: Client, running: RunningDaemon
) -> None:
    job = client.run_background_job(PROBE, "describe_itself")
    targets = job.result(20)["fds"]
    assert targets.pop("0") == "/dev/null"
    assert targets.pop("1").endswith(f"output/{job.id}.1.out")
    assert targets.pop("2").endswith(f"output/{job.id}.1.out")
    # From 3.5 on libffi, by which ctypes calls, has itself open.
    (journal,) = (target for target in targets.values() if "/libffi.so" not in target)
    assert journal.startswith(str(running.spool))


def test_the_environment_is_built_from_nothing(tmp_path: Path) -> None:
    app = 'env = { GREETING = "hello" }'
    environ = {"SECRET": "canary", "BGJOBD_SOCKET": "/elsewhere"}
    with daemon(tmp_path, app=app, environ=environ) as running, running.client() as client:
        environ = client.run_background_job(PROBE, "describe_itself").result(20)["env"]
    assert environ["GREETING"] == "hello"
    assert environ["BGJOBD_SOCKET"] == str(running.socket)
    assert "SECRET" not in environ


def test_an_exception_fails_the_job_with_its_type_message_and_traceback(client: Client) -> None:
    job = client.run_background_job(PROBE, "fail", retry_count=1)
    with pytest.raises(JobFailedError, match="ValueError: no recipient"):
        job.result(20)
    (attempt,) = job.snapshot["attempts"]
    assert (attempt["outcome"], attempt["error_type"], attempt["error_message"]) == (
        "failed",
        "ValueError",
        "no recipient",
    )
    assert attempt["error_class"] == "builtins.ValueError"
    assert "in fail" in attempt["traceback"]
    assert "forkserver" not in attempt["traceback"]


@pytest.mark.parametrize(
    ("method", "parameters", "outcome", "exit_code", "number"),
    [
        ("exit", {"code": 3}, "exited", 3, None),
        ("exit", {"code": 0}, "exited", 0, None),
        ("hard_exit", {"code": 0}, "exited", 0, None),
        ("hard_exit", {"code": 7}, "exited", 7, None),
        ("kill_itself", {"number": signal.SIGSEGV}, "signalled", None, signal.SIGSEGV),
        ("kill_itself", {"number": signal.SIGKILL}, "signalled", None, signal.SIGKILL),
        ("return_a_set", {}, "failed", 1, None),
        ("return_much", {}, "failed", 1, None),
    ],
)
def test_every_bad_ending_is_told_as_what_it_was(
    client: Client,
    method: str,
    parameters: dict[str, int],
    outcome: str,
    exit_code: int | None,
    number: int | None,
) -> None:
    job = client.run_background_job(PROBE, method, parameters, retry_count=1).wait(20)
    (attempt,) = job["attempts"]
    assert job["status"] == "failed"
    assert (attempt["outcome"], attempt["exit_code"], attempt["signal"]) == (outcome, exit_code, number)


def test_a_failed_attempt_is_retried_after_its_delay_and_counts(client: Client, tmp_path: Path) -> None:
    parameters = {"marker": str(tmp_path / "marker"), "times": 2}
    job = client.run_background_job(PROBE, "fail_until", parameters, max_retries=3, retry_delay=0.2)
    assert job.result(20) == 2
    first, second, third = job.snapshot["attempts"]
    assert [one["outcome"] for one in (first, second, third)] == ["failed", "failed", "completed"]
    assert job.snapshot["retry_count"] == 2
    assert second["started_at"] > first["finished_at"]


def test_a_retry_count_at_the_limit_runs_once(client: Client) -> None:
    job = client.run_background_job(PROBE, "fail", retry_count=3, max_retries=3).wait(20)
    assert len(job["attempts"]) == 1


def test_what_a_job_prints_is_kept_whole(client: Client, running: RunningDaemon) -> None:
    job = client.run_background_job(PROBE, "say", {"text": "grüße"})
    job.result(20)
    output = running.directory / "state" / "output" / f"{job.id}.1.out"
    assert output.read_text() == "grüße\nto stderr\n"
    assert job.snapshot["attempts"][0]["output_bytes"] == len("grüße\nto stderr\n".encode())


def test_usage_is_recorded(client: Client) -> None:
    (attempt,) = client.run_background_job(PROBE, "echo").wait(20)["attempts"]
    assert attempt["max_rss"] > 1024 * 1024
    assert attempt["cpu_user"] + attempt["cpu_system"] > 0
    assert attempt["pid"] > 1
    assert len(attempt["code_version"]) == 12


def test_the_log_file_has_the_lines_of_the_original(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        with running.client() as client:
            client.run_background_job(
                PROBE, "fail_until", {"marker": str(tmp_path / "m"), "times": 1}
            ).result(20)
        running.stop()
        mine = [line for line in running.lines() if "fail_until" in line]
    told = [re.sub(r"\d\d:\d\d:\d\d|\d{4}-\d\d-\d\d", "T", line) for line in mine]
    start = [
        "[T T] SUCCESS: probes.Probe::fail_until - Background job dispatched on Linux platform",
        "[T T] SUCCESS: probes.Probe::fail_until - Background job started",
    ]
    assert told == [
        "[T T] SUCCESS: probes.Probe::fail_until - Background job initiated",
        *start,
        "[T T] FAILURE: probes.Probe::fail_until - ValueError: no recipient (attempt 1 of 2, next at T UTC)",
        "[T T] INFO: probes.Probe::fail_until - Background job waits for retry 1 of 1 at T UTC",
        *start,
        "[T T] SUCCESS: probes.Probe::fail_until - Background job completed processing",
    ]


def test_the_log_table_tells_the_same(client: Client, running: RunningDaemon) -> None:
    job = client.run_background_job(PROBE, "echo", {"value": 5})
    job.result(20)
    rows = running.query(
        f"SELECT type, message, attempt, context FROM job_logs WHERE job_id = {job.id} ORDER BY id"
    )
    assert [(row[0], row[1], row[2]) for row in rows] == [
        ("success", "Background job initiated", None),
        ("success", "Background job dispatched on Linux platform", 1),
        ("success", "Background job started", 1),
        ("success", "Background job completed processing", 1),
    ]
    assert '"parameters":{"value":5}' in rows[0][3]


def test_a_hostile_message_stays_one_line_of_the_log(client: Client, running: RunningDaemon) -> None:
    forged = "x\n[2024-12-04 14:31:53] SUCCESS: forged\x1b[31m\u202e"
    client.run_background_job(PROBE, "fail", {"message": forged}, retry_count=1).wait(20)
    (line,) = eventually(lambda: [line for line in running.lines() if "forged" in line])
    assert r"x\n[2024-12-04 14:31:53] SUCCESS: forged\x1b[31m\u202e (attempt 1 of 1)" in line


@pytest.mark.parametrize(
    ("class_name", "method_name", "parameters", "error"),
    [
        ("probes.Other", "echo", {}, NotApprovedError),
        ("os", "system", {}, NotApprovedError),
        (PROBE, "missing", {}, MethodNotApprovedError),
        (PROBE, "_hidden", {}, MethodNotApprovedError),
        (PROBE, "__init__", {}, MethodNotApprovedError),
        (PROBE, "borrowed", {}, MethodNotApprovedError),
        ("broken.Job", "run", {}, ClassUnavailableError),
        ("probes.NeedsMore", "run", {}, ClassUnavailableError),
        ("probes/Probe", "echo", {}, InvalidNameError),
        (PROBE, "echo()", {}, InvalidNameError),
        (PROBE, "echo", {"unknown": 1}, InvalidParametersError),
        (PROBE, "say", {}, InvalidParametersError),
    ],
)
def test_a_refused_request_leaves_nothing_behind(
    client: Client,
    running: RunningDaemon,
    class_name: str,
    method_name: str,
    parameters: object,
    error: type[Exception],
) -> None:
    before = running.query("SELECT COUNT(*) FROM background_jobs")
    with pytest.raises(error):
        client.run_background_job(class_name, method_name, parameters)  # type: ignore[arg-type]
    assert running.query("SELECT COUNT(*) FROM background_jobs") == before


def test_an_unknown_id_is_not_found(client: Client) -> None:
    with pytest.raises(JobNotFoundError):
        client.get(10**9)


def test_a_key_that_was_used_gives_the_same_job(client: Client) -> None:
    first, again = [client.run_background_job(PROBE, "echo", idempotency_key="the-key") for _ in range(2)]
    assert first.id == again.id


def test_a_paused_queue_starts_nothing_and_a_waiting_job_can_be_cancelled(client: Client) -> None:
    client.pause()
    job = client.run_background_job(PROBE, "echo")
    with pytest.raises(WaitTimeoutError):
        job.wait(0.2)
    job.cancel()
    assert job.wait(20)["status"] == "cancelled"
    with pytest.raises(InvalidStateError):
        job.cancel()
    client.resume()
    assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1


def test_a_pause_that_has_an_end_is_over_by_itself_and_the_log_says_so(
    client: Client, running: RunningDaemon
) -> None:
    client.pause(resumes_in=3600)
    until = client.pause(resumes_in=0.3)
    job = client.run_background_job(PROBE, "echo", {"value": 1})
    assert job.result(20) == 1
    assert until is not None
    assert job.snapshot["started_at"] >= until
    who = f"requested by uid {os.getuid()} (pid {os.getpid()})"
    wanted = [f"pause of queue default until {until} {who}", "queue default is resumed: its pause is over"]
    eventually(lambda: told_of_daemon(running)[-2:] == wanted)


def test_the_log_tells_who_cancelled_retried_paused_and_resumed(
    client: Client, running: RunningDaemon
) -> None:
    ids = [client.run_background_job(PROBE, "echo", delay=3600).id for _ in range(22)]
    client.pause()
    client.cancel(ids[0])
    client.retry(ids[0])
    client.cancel(*ids)
    client.resume()
    who = f"requested by uid {os.getuid()} (pid {os.getpid()})"
    named = ", ".join(map(str, ids[:20]))
    wanted = [
        f"pause of queue default {who}",
        f"cancel of job {ids[0]} {who}",
        f"retry of job {ids[0]} {who}",
        f"cancel of jobs {named} and 2 more {who}",
        f"resume of queue default {who}",
    ]
    eventually(lambda: told_of_daemon(running)[-5:] == wanted)


def told_of_daemon(running: RunningDaemon) -> list[str]:
    """What the log says of the daemon itself."""
    return [line.partition("INFO: bgjobd - ")[2] for line in running.lines() if "INFO: bgjobd - " in line]


def test_a_delayed_job_waits_for_its_time(client: Client) -> None:
    job = client.run_background_job(PROBE, "echo", delay=2)
    assert client.get(job.id).snapshot["status"] == "pending"
    snapshot = job.wait(20)
    assert snapshot["started_at"] >= snapshot["scheduled_at"]


def test_many_jobs_are_stored_all_or_none(client: Client, running: RunningDaemon) -> None:
    good = {"class_name": PROBE, "method_name": "echo", "parameters": {"value": 1}}
    jobs = client.submit_many([good] * 20)
    assert [job.result(20) for job in jobs] == [1] * 20
    before = running.query("SELECT COUNT(*) FROM background_jobs")
    with pytest.raises(NotApprovedError):
        client.submit_many([good, {"class_name": "x.Y", "method_name": "run"}])
    assert running.query("SELECT COUNT(*) FROM background_jobs") == before


def test_ended_attempts_leave_no_journal_and_no_empty_output(client: Client, running: RunningDaemon) -> None:
    job = client.run_background_job(PROBE, "echo")
    job.result(20)
    eventually(lambda: running.spooled() == [])
    assert not list((running.directory / "state" / "output").glob(f"{job.id}.*"))


def test_no_file_of_ours_is_open_to_others(running: RunningDaemon) -> None:
    own = [running.directory / name for name in ("state", "run", "log")]

    def modes() -> dict[Path, int]:
        try:
            return {path: path.stat().st_mode for one in own for path in (one, *one.rglob("*"))}
        except FileNotFoundError:  # something has gone meanwhile, as a journal does
            return {}

    found = eventually(modes)
    assert len(found) > 5
    assert [path for path, mode in found.items() if mode & 0o077] == []


def test_idle_means_no_wake_up(client: Client, running: RunningDaemon) -> None:
    client.run_background_job(PROBE, "echo").result(20)
    assert running.process is not None
    pids = running.process.pid, running.fork_server()

    def switches() -> list[int]:
        tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
        return [int(re.findall(r"ctxt_switches:\t(\d+)", (task / "status").read_text())[0]) for task in tasks]

    def is_still() -> bool:
        before = switches()
        deadline = time.monotonic() + 1.0
        eventually(lambda: time.monotonic() > deadline)
        return switches() == before

    assert eventually(is_still)


def test_jobs_run_under_the_systems_own_python(tmp_path: Path) -> None:
    python = "/usr/bin/python3"
    with daemon(tmp_path, app=f'python = "{python}"') as running, running.client() as client:
        told = client.run_background_job(PROBE, "describe_itself").result(20)
    version = subprocess.run(
        [python, "-c", "import sys; print(sys.version.split()[0])"], capture_output=True, text=True
    )
    assert told["python"] == version.stdout.strip()
    assert told["executable"] != sys.executable


def test_a_missing_interpreter_is_a_failure_line_that_names_it(tmp_path: Path) -> None:
    running = RunningDaemon(tmp_path, app='python = "/nowhere/python3"')
    try:
        running.start()
        eventually(
            lambda: [line for line in running.lines() if "FAILURE" in line and "/nowhere/python3" in line]
        )
    finally:
        assert running.stop() == 0


def test_a_class_from_the_source_can_be_named_by_itself(client: Client) -> None:
    kind = type("Probe", (), {"__module__": "probes"})
    assert client.run_background_job(kind, "echo", {"value": os.getpid()}).result(20) == os.getpid()


def test_the_refusal_of_one_job_of_many_tells_which(client: Client) -> None:
    good = {"class_name": PROBE, "method_name": "echo"}
    with pytest.raises(InvalidParametersError) as refused:
        client.submit_many([good, {**good, "parameters": {"unknown": 1}}])
    assert [problem["path"] for problem in refused.value.parameters["problems"]] == ["each/1"]
    others = [{**good, "method_name": "whole"}, {**good, "parameters": {"unknown": 1}}]
    with pytest.raises(InvalidParametersError) as refused:
        client.submit_many(others)
    assert [problem["path"] for problem in refused.value.parameters["problems"]] == ["jobs/1"]
    with pytest.raises(InvalidParameterError, match=r"jobs\.2\.options\.queue"):
        client.submit_many([good, good, {**good, "options": {"queue": "nowhere"}}])
