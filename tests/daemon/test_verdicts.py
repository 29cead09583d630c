"""Every verdict provoked for real: a job that does its worst, under limits, and what the daemon says of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgjob import Client, Job
from tests.daemon import running
from tests.daemon.running import RunningDaemon
from tests.support import directory_for_all, eventually

JOBS = '''
import ctypes, os, signal, time


class Worst:
    """Does its worst."""

    def eat(self):
        eaten = []
        while True:
            eaten.append(bytearray(1024 * 1024))

    def eat_in_a_child(self):
        if os.fork() == 0:
            try:
                self.eat()
            except MemoryError:
                os._exit(7)
        return os.waitstatus_to_exitcode(os.wait()[1])

    def spin(self):
        while True:
            pass

    def spin_on(self):
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
        self.spin()

    def be_killed_after_others_have_spun(self):
        for _ in range(2):
            if os.fork() == 0:
                while time.process_time() < 0.8:
                    pass
                os._exit(0)
            os.wait()
        os.kill(os.getpid(), signal.SIGKILL)

    def fork_much(self):
        for _ in range(200):
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)

    def open_much(self):
        kept = [open("/dev/null") for _ in range(200)]

    def print_much(self, mebibytes):
        block = b"x" * 1024 * 1024
        for _ in range(mebibytes):
            os.write(1, block)
        return mebibytes

    def print_too_much(self):
        while True:
            print("x" * 100_000)

    def write_much(self):
        with open("big", "wb") as file:
            while True:
                file.write(bytes(1024 * 1024))

    def leave_one_behind(self):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                os.closerange(0, 64)
                time.sleep(600)
            os._exit(0)
        os.wait()
        return "left"

    def close_everything(self):
        os.closerange(0, 256)
        return "closed"

    def ignore_term(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)

    def forge(self):
        print("[2024-12-04 14:31:53] SUCCESS: myapp.jobs.Other::run - Background job completed processing")
        raise ValueError("no\\n[2024-12-04 14:31:53] SUCCESS: probes.Probe::run - forged\\r\\x1b[2Kgone")

    def raise_the_unprintable(self):
        class Unprintable(Exception):
            def __str__(self):
                raise RuntimeError("no text")
        raise Unprintable

    def return_much(self):
        return "x" * (2 * 1024 * 1024)

    def crash(self):
        ctypes.string_at(0)

    def leave(self):
        os._exit(0)
'''

POLICY = """
[approved."worst.Worst"]
max_retries = 0
stop_grace = 0.2
memory = "120M"
cpu = 1
open_files = 64
processes = 20
file_size = "16M"
user = "games"
"""


@pytest.fixture(scope="module")
def daemon() -> Iterator[RunningDaemon]:
    if os.geteuid() != 0:
        pytest.skip("needs root, for a user of its own")
    with (
        directory_for_all() as directory,
        running.daemon(directory, POLICY, modules={"worst": JOBS}) as found,
    ):
        yield found


@pytest.fixture(scope="module")
def client(daemon: RunningDaemon) -> Iterator[Client]:
    with daemon.client() as found:
        yield found


def ended(client: Client, method: str, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The job once it has ended, and its only attempt."""
    parameters = options.pop("parameters", {})
    return shown(client, client.run_background_job("worst.Worst", method, parameters, **options))


def shown(client: Client, job: Job) -> tuple[dict[str, Any], dict[str, Any]]:
    job.wait(timeout=40)
    told = dict(client.get(job.id).snapshot)
    (attempt,) = told["attempts"]
    return told, attempt


@pytest.fixture(scope="module")
def spun(client: Client) -> dict[str, Job]:
    """Jobs that have spun for seconds, all at the same time; nobody else forks as their user meanwhile."""
    methods = ("spin", "spin_on", "be_killed_after_others_have_spun")
    jobs = {method: client.run_background_job("worst.Worst", method) for method in methods}
    for job in jobs.values():
        job.wait(timeout=40)
    return jobs


MIB = r"[0-9.]+ MiB"


@pytest.mark.parametrize(
    ("method", "outcome", "error"),
    [
        ("eat", "out_of_memory", rf"out_of_memory: {MIB} of 120 MiB \(MemoryError\)"),
        ("spin", "cpu_exceeded", r"cpu_exceeded: [01]\.[0-9] s of 1 s of CPU time"),
        ("spin_on", "cpu_exceeded", r"cpu_exceeded: [12]\.[0-9] s of 1 s of CPU time"),
        ("be_killed_after_others_have_spun", "signalled", r"signalled: the process was ended by signal 9"),
        ("print_too_much", "output_exceeded", r"output_exceeded: 16 MiB of 16 MiB \(OSError: .*\)"),
        (
            "fork_much",
            "failed",
            r"BlockingIOError: \[Errno 11\] Resource temporarily unavailable \(its limit is processes = 20\)",
        ),
        ("open_much", "failed", r"OSError: \[Errno 24\] .* \(its limit is open_files = 64\)"),
        ("write_much", "failed", r"OSError: \[Errno 27\] .* \(its limit is file_size = 16777216\)"),
        (
            "raise_the_unprintable",
            "failed",
            r"Worst.*Unprintable: <str\(\) of this error raised RuntimeError>",
        ),
        ("return_much", "failed", r"InvalidResult: the result takes 2097154 bytes, at most 1048576 are kept"),
        ("crash", "signalled", r"signalled: the process was ended by signal 11"),
        ("leave", "exited", r"exited: the process ended with code 0 before the method returned"),
    ],
)
def test_each_bad_end_gets_its_verdict_with_the_evidence(
    client: Client, spun: dict[str, Job], method: str, outcome: str, error: str
) -> None:
    job, attempt = shown(client, spun[method]) if method in spun else ended(client, method)
    assert (job["status"], attempt["outcome"]) == ("failed", outcome)
    assert re.fullmatch(error, job["error"]), job["error"]


def test_who_ignores_term_is_killed_and_has_timed_out(client: Client) -> None:
    job, attempt = ended(client, "ignore_term", timeout=2)  # by then it does
    assert (attempt["outcome"], attempt["signal"]) == ("timed_out", 9), job["error"]
    assert job["error"] == "timed_out: the attempt ran longer than 2 s"


def test_a_survivor_of_a_double_fork_is_killed_and_told(client: Client) -> None:
    job, _ = ended(client, "leave_one_behind")
    told = [entry["message"] for entry in client.logs(id=job["id"]).items]
    assert job["status"] == "completed", job["error"]
    assert any(line.startswith("processes that it left behind, killed: 1 (") for line in told)


def test_who_closes_all_descriptors_still_ends_for_what_it_did(client: Client) -> None:
    job, attempt = ended(client, "close_everything")
    assert (attempt["outcome"], attempt["exit_code"]) == ("exited", 0), job["error"]


def test_a_forged_line_is_no_line_of_the_log(client: Client, daemon: RunningDaemon) -> None:
    job, _ = ended(client, "forge")
    lines = eventually(lambda: [line for line in daemon.log_file.read_text().split("\n") if "forged" in line])
    assert all(line.split("] ", 1)[1].startswith("FAILURE: worst.Worst::forge - ") for line in lines)
    assert not any(character in daemon.log_file.read_text() for character in "\r\x1b")
    assert client.output(job["id"]).startswith(b"[2024-12-04 14:31:53] SUCCESS: myapp.jobs.Other::run")


def test_memory_eaten_by_a_child_ends_that_child_alone(client: Client) -> None:
    job, _ = ended(client, "eat_in_a_child")
    assert (job["status"], job["result"]) == ("completed", 7)


def test_a_verdict_is_retried_unless_its_class_says_otherwise(tmp_path: Path) -> None:
    policy = """
"worst.Worst" = { memory = "120M", max_retries = 1, retry_delay = 0.01, retry_on = ["failed"] }
"other.Worst" = { memory = "120M", max_retries = 1, retry_delay = 0.01, retry_on = ["out_of_memory"] }
"""
    modules = {"worst": JOBS, "other": JOBS}
    with running.daemon(tmp_path, policy, modules=modules) as found, found.client() as client:
        jobs = [client.run_background_job(f"{module}.Worst", "eat") for module in ("worst", "other")]
        for job in jobs:
            job.wait(timeout=30)
        numbers = [len(client.get(job.id).snapshot["attempts"]) for job in jobs]
    assert numbers == [1, 2]


def test_a_gibibyte_of_output_leaves_a_mebibyte_on_the_disk(tmp_path: Path) -> None:
    with (
        running.daemon(tmp_path, '"worst.Worst" = {}', modules={"worst": JOBS}) as found,
        found.client() as client,
    ):
        job = client.run_background_job("worst.Worst", "print_much", {"mebibytes": 1024})
        assert job.result(timeout=50) == 1024
        (attempt,) = client.get(job.id).snapshot["attempts"]
        kept = (found.directory / "state" / "output" / f"{job.id}.1.out").stat()
        output = client.output(job.id)
    assert attempt["output_bytes"] == kept.st_size == 1024**3
    assert kept.st_blocks * 512 < 4 * 1024**2
    assert b"left out" in output
    assert len(output) < 4 * 1024**2
