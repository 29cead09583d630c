"""What happens in the container: installs the units, then restarts, kills, freezes and reloads the daemon while jobs
run and a client submits; in the end the jobs' own ledger, the callers and the books must agree. Prints a transcript.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from guest import (
    APP,
    CGROUP,
    SOCKET,
    books,
    install,
    is_active,
    is_at_rest,
    main_pid,
    run,
    say,
    until,
)

from bgjob import Client

LEDGER = Path("/var/lib/bgjobd/ledger")
SETTINGS = """
slots = 12
[web]
bind = "127.0.0.1:8377"
[retry]
max_retries = 0
[approved]
"jobs.Noted" = {}
"jobs.Deaf" = {}
"""


def main() -> int:
    given = parser().parse_args()
    if given.submit:
        return submit()
    if given.strand:
        return strand()
    problems = install(SETTINGS, given.units)
    if not problems:
        problems = torment(given)
    leave_one_running()
    for problem in problems:
        say(f"PROBLEM: {problem}")
    say("failed" if problems else "passed")
    return 1 if problems else 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--restarts", type=int, default=50)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--units", nargs="*", default=[], help="options of bgjobd units, without the dashes")
    parser.add_argument("--submit", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--strand", action="store_true", help=argparse.SUPPRESS)
    return parser


# The torment


def torment(given: argparse.Namespace) -> list[str]:
    problems: list[str] = []
    is_over = threading.Event()
    probes: collections.Counter[str] = collections.Counter()
    threads = [threading.Thread(target=probe, args=(is_over, probes), daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    submitter = subprocess.Popen(
        [sys.executable, __file__, "--submit"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        user="nobody",
        group="bgjob",
        extra_groups=[],
    )
    until(lambda: len(ledger()["start"]) > 20, "jobs run")
    groups(problems)
    restarts(given.restarts, problems)
    kills(given.kills, problems)
    freeze(problems)
    broken_reload(problems)
    stop_and_start(problems)
    drain(problems)
    rotate(problems)

    say("the client ends")
    assert submitter.stdin is not None
    submitter.stdin.close()
    told = (submitter.stdout.read() if submitter.stdout else "").split("\n")
    accepted = [int(line.split()[1]) for line in told if line.startswith("accepted")]
    refused = [line for line in told if line and not line.startswith("accepted")]
    until(is_at_rest, "everything has ended", 120)
    is_over.set()
    for thread in threads:
        thread.join()
    return problems + judge(accepted, refused, probes)


def groups(problems: list[str]) -> None:
    """Each attempt has a cgroup of its own, and the daemon none but its service's to write."""
    until(lambda: any(CGROUP.glob("attempts/*/cgroup.procs")), "attempts have cgroups")
    say(
        "cgroups: "
        + " ".join(sorted(str(path.relative_to(CGROUP)) for path in CGROUP.rglob("*") if path.is_dir()))
    )
    other = ["nsenter", "-t", str(main_pid()), "-m", "mkdir", str(CGROUP.with_name("other"))]
    if subprocess.run(other, capture_output=True).returncode == 0:
        problems.append("the daemon may write cgroups that are not its own")


def probe(is_over: threading.Event, found: collections.Counter[str]) -> None:
    """Connect, and see whether anybody refuses; a plain socket, as clients try again by themselves.

    Without a timeout, which would have the kernel not wait where many callers wait already.
    """
    while not is_over.is_set():
        try:
            with socket.socket(socket.AF_UNIX) as caller:
                caller.connect(SOCKET)
            found["connected"] += 1
        except OSError as error:
            found[type(error).__name__] += 1
        time.sleep(0.01)


def submit() -> int:
    """A client of the group bgjob: submits until its stdin ends, and says what was accepted and what not."""
    import select

    chance = random.Random(8)
    with Client(SOCKET, timeout=60) as client:
        for number in itertools.count():
            seconds = chance.choice([0.01, 0.05, 0.2, 0.2, 1.0, 3.0])
            try:
                client.run_background_job("jobs.Noted", "run", {"number": number, "seconds": seconds})
                print("accepted", number, flush=True)
            except Exception as error:
                print("refused", number, type(error).__name__, error, flush=True)
            if select.select([sys.stdin], [], [], 0.05)[0]:
                return 0
    return 0


def restarts(count: int, problems: list[str]) -> None:
    took = []
    for _ in range(count):
        old, at = main_pid(), time.monotonic()
        run("systemctl", "restart", "bgjobd.service")
        took.append(time.monotonic() - at)
        if main_pid() == old:
            problems.append("a restart kept the pid")
        time.sleep(random.uniform(0, 2))
    say(f"{count} restarts: {min(took):.2f} to {max(took):.2f} s each; {state()}")


def kills(count: int, problems: list[str]) -> None:
    took = []
    for _ in range(count):
        old, at = main_pid(), time.monotonic()
        os.kill(old, signal.SIGKILL)
        until(lambda old=old: is_active() and main_pid() not in (0, old), "it is back", 60)
        took.append(time.monotonic() - at)
        time.sleep(random.uniform(0, 2))
    say(f"{count} kills: back after {min(took):.2f} to {max(took):.2f} s; {state()}")


def freeze(problems: list[str]) -> None:
    old, at = main_pid(), time.monotonic()
    os.kill(old, signal.SIGSTOP)
    try:
        until(lambda: is_active() and main_pid() not in (0, old), "the watchdog has ended what hangs", 60)
    except TimeoutError as error:
        os.kill(old, signal.SIGCONT)
        problems.append(str(error))
        return
    say(f"frozen, and replaced after {time.monotonic() - at:.1f} s; {state()}")


def broken_reload(problems: list[str]) -> None:
    code, old = (APP / "jobs.py").read_text(), main_pid()
    Client(SOCKET, timeout=60).classes()  # there are some: before, nothing is newly broken
    (APP / "jobs.py").write_text(code + "\nimport nosuch\n")
    done = subprocess.run(["systemctl", "reload", "bgjobd.service"], capture_output=True, text=True)
    say(f"reload of broken code: systemctl answers {done.returncode} {done.stderr.strip()}")
    with suppress(TimeoutError):
        until(lambda: log_of("the reload failed"), "the log says so", 10)
    say(log_of("the reload failed"))
    if not log_of("the reload failed"):
        problems.append("a reload of broken code was taken for good")
    if "the last reload failed" not in status_text():
        problems.append("the status does not say that the reload failed")
    say(f"status: {status_text()}")
    (APP / "jobs.py").write_text(code)
    run("systemctl", "reload", "bgjobd.service")
    if "the last reload failed" in status_text():
        problems.append("the status goes on to say that a reload failed")
    until(lambda: log_of("reloaded: code version"), "the log says so", 10)
    if main_pid() != old:
        problems.append("the reload of sound code failed, or took another process")
    say(f"reload of sound code: {log_of('reloaded')}")


def stop_and_start(problems: list[str]) -> None:
    """A stop leaves jobs alone. Meanwhile there is a socket: whoever calls would start the daemon, so it goes, too."""
    job = Client(SOCKET, timeout=30).run_background_job("jobs.Noted", "run", {"number": -1, "seconds": 8})
    until(lambda: -1 in ledger()["start"], "the long job runs")
    pid = next(
        int(line.split()[2]) for line in LEDGER.read_text().splitlines() if line.startswith("start -1 ")
    )
    run("systemctl", "stop", "bgjobd.service", check=False)
    is_left_alone = Path(f"/proc/{pid}").exists()
    run("systemctl", "start", "bgjobd.service")
    if not is_left_alone:
        problems.append("a stop ended a job")
    if job.result(timeout=60) != -1:
        problems.append("a job that a stop left alone has another result")
    say(f"stop and start: the job of pid {pid} went on and was adopted; {state()}")


def drain(problems: list[str]) -> None:
    job = Client(SOCKET, timeout=30).run_background_job("jobs.Noted", "run", {"number": -2, "seconds": 3})
    until(lambda: -2 in ledger()["start"], "the job runs")
    old = main_pid()
    run("systemctl", "kill", "--kill-whom=main", "--signal=QUIT", "bgjobd.service")
    until(lambda: main_pid() not in (0, old), "it has drained and is back", 60)
    if -2 not in ledger()["end"]:
        problems.append("a drain did not wait")
    say(f"drained: the job had ended ({job.result(timeout=30)}) before the next daemon came; {state()}")


def rotate(problems: list[str]) -> None:
    log = Path("/var/log/bgjobd/background_jobs_errors.log")
    told = run("logrotate", "--force", "/etc/logrotate.d/bgjobd", check=False)
    until(lambda: log.exists() and log.with_name(f"{log.name}.1").exists(), "the log was rotated", 30)
    say(f"logrotate: {told or 'quiet'}; {log.stat().st_size} bytes in the new file")


def leave_one_running() -> None:
    """For the poweroff, of which whoever booted this looks at the end."""
    Client(SOCKET, timeout=30).run_background_job("jobs.Noted", "run", {"number": -3, "seconds": 600})
    until(lambda: -3 in ledger()["start"], "the last job runs")


def strand() -> int:
    """For a poweroff without a daemon: it is stopped while a job runs that ignores SIGTERM."""
    Client(SOCKET, timeout=30).run_background_job("jobs.Deaf", "run", {"number": -4})
    until(lambda: -4 in ledger()["start"], "the deaf job runs")
    run("systemctl", "stop", "bgjobd.socket", "bgjobd.service")
    return 0


# The judgement


def judge(accepted: list[int], refused: list[str], probes: collections.Counter[str]) -> list[str]:
    noted = ledger()
    lost = [number for number in accepted if noted["end"][number] == 0]
    twice = [number for number, count in noted["start"].items() if count > 1]
    are_clean, told_of_books = books()
    with Client(SOCKET) as client:
        counts = client.stats()["jobs"]
    say(f"submitted {len(accepted)}, refused {len(refused)}; jobs: {counts}")
    say(f"callers: {dict(probes)}")
    say(f"books: {told_of_books}")
    problems = [f"job {number} was accepted and never ended" for number in lost]
    problems += [f"job {number} ran {noted['start'][number]} times" for number in twice]
    problems += refused
    problems += [f"{count} callers met {name}" for name, count in probes.items() if name != "connected"]
    if counts.get("failed") or counts.get("cancelled"):
        problems.append(f"not all have completed: {counts}")
    if not are_clean:
        problems.append("the books do not balance")
    return problems


def ledger() -> dict[str, collections.Counter[int]]:
    """How often each number started and ended, as the jobs themselves noted."""
    found: dict[str, collections.Counter[int]] = {
        "start": collections.Counter(),
        "end": collections.Counter(),
    }
    for line in LEDGER.read_text().splitlines() if LEDGER.exists() else ():
        what, number, _ = line.split()
        found[what][int(number)] += 1
    return found


# Small things


def status_text() -> str:
    return run("systemctl", "show", "-P", "StatusText", "bgjobd.service")


def state() -> str:
    told = run("systemctl", "show", "-P", "ActiveState", "-P", "NRestarts", "bgjobd.service").split()
    noted = ledger()
    return f"{' '.join(told)}; {sum(noted['start'].values())} started, {sum(noted['end'].values())} ended"


def log_of(words: str) -> str:
    """The last line of the log with these words."""
    lines = Path("/var/log/bgjobd/background_jobs_errors.log").read_text().splitlines()
    return next((line for line in reversed(lines) if words in line), "")


if __name__ == "__main__":
    sys.exit(main())
