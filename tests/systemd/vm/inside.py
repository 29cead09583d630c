"""What happens in the virtual machine, by what its kernel was told: the limits of attempts, and restarts, kills and
reloads while limited attempts run; then what two ends of the machine have left.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from guest import BGJOBD, CGROUP, SOCKET, as_daemon, books, install, is_active, main_pid, run, say, until

from bgjob import Client, Job

STATE = Path("/var/lib/bgjobd")
ATTEMPTS = CGROUP / "attempts"
SETTINGS = """
slots = 12
[retry]
max_retries = 0
[approved]
"jobs.Memory" = { memory = "64M" }
"jobs.Bomb" = { processes = 10, timeout = 15, stop_grace = 1 }
"jobs.Busy" = { cpu_share = 0.5 }
"jobs.Used" = {}
"jobs.Stays" = { memory = "64M", processes = 10, cpu_share = 0.5 }
"jobs.Deaf" = { max_retries = 1, retry_delay = 0 }
"jobs.Noted" = { max_retries = 1, retry_delay = 0 }
"""
PATIENCE = 900.0
MIB = 2**20


def main() -> None:
    what, _, more = _told_to().partition(".")
    try:
        until(lambda: run("systemctl", "is-system-running", check=False) != "starting", "booted", PATIENCE)
        say(f"{what}: {run('uname', '-r')}, {run('systemctl', '--version').splitlines()[0]}")
        {"limits": limits, "after-poweroff": after_poweroff, "after-power-loss": after_power_loss}[what](more)
    except BaseException as error:
        say(f"PROBLEM: {type(error).__name__}: {error}")
        say(run("journalctl", "--no-pager", "-b", "-u", "bgjobd.service", "-n", "40"))
    say("it is told to power off")
    run("systemctl", "poweroff")


def _told_to() -> str:
    words = Path("/proc/cmdline").read_text().split()
    return next(word.partition("=")[2] for word in words if word.startswith("acceptance="))


# The first boot


def limits(_: str) -> None:
    for problem in install(SETTINGS):
        expect(problem, is_so=False)
    until(lambda: client().classes(), "the classes are known", PATIENCE)
    enforced()
    with untouched():
        memory()
        processes()
        shares()
        figures()
    nothing_is_left()
    adopted("restart", lambda: run("systemctl", "restart", "bgjobd.service"))
    adopted("kill -9", lambda: os.kill(main_pid(), signal.SIGKILL))
    adopted("stop and start", stop_and_start)
    adopted("reload", lambda: run("systemctl", "reload", "bgjobd.service"), is_same=True)
    expect_books()
    before_poweroff()


def enforced() -> None:
    shown = run("systemctl", "show", "-P", "Delegate", "-P", "DelegateSubgroup", "bgjobd.service").split()
    expect(f"systemd delegates: {shown}", is_so=shown == ["yes", "daemon"])
    for group in (CGROUP, ATTEMPTS):
        given = (group / "cgroup.subtree_control").read_text().split()
        expect(f"{group.name} gives {given}", is_so={"memory", "pids", "cpu"} <= set(given))
    told = client().limits()
    by = {name: told[name] for name in ("memory", "processes", "cpu_share")}
    expect(f"Classes: {by}", is_so=[*by.values()] == ["memory.max, RLIMIT_DATA", "pids.max", "cpu.max"])
    unenforced = [name for one in client().classes() for name in one["policy"]["unenforced"]]
    expect(f"unenforced: {unenforced}", is_so=not unenforced)
    checked = as_daemon(*BGJOBD, "check")
    is_told = all(by in checked.stdout for by in ("memory.max", "pids.max", "cpu.max"))
    expect(f"check ends with {checked.returncode}", is_so=checked.returncode == 0 and is_told)
    if checked.returncode or not is_told:
        say(checked.stdout + checked.stderr)


def memory() -> None:
    for method in ("own", "shared", "below", "many", "memory_file", "directory"):
        attempt = ended("jobs.Memory", method)
        expect(f"memory, {method}: {brief(attempt)}", is_so=attempt["outcome"] == "out_of_memory")
    big = STATE / "big"
    big.write_bytes(bytes(150 * MIB))
    big.chmod(0o644)
    for method, path in (("read", big), ("write", STATE / "written")):
        attempt = ended("jobs.Memory", method, path=str(path))
        is_right = attempt["outcome"] == "completed" and attempt["max_rss"] < 40 * MIB
        expect(f"memory, {method} a file: {brief(attempt)}", is_so=is_right)
    big.unlink()


def processes() -> None:
    for method, outcome in (("bomb", "failed"), ("scattered", "completed"), ("endless", "timed_out")):
        job = start("jobs.Bomb", method)
        most = 0
        while (snapshot := job.refresh())["status"] in ("pending", "running"):
            most = max(most, *map(how_many, (ATTEMPTS / f"{job.id}.1", ATTEMPTS)))
            time.sleep(0.05)
        attempt = snapshot["attempts"][-1]
        left = run("pgrep", "-c", "-s", str(attempt["pid"]), check=False)
        is_right = attempt["outcome"] == outcome and left == "0" and most <= 10
        expect(f"processes, {method}: at most {most}, {left} left, {brief(attempt)}", is_so=is_right)
    told = str(ended("jobs.Bomb", "bomb")["error_message"])
    expect(f"the error tells of the limit: {told}", is_so="(its limit is processes = 10)" in told)


def shares() -> None:
    job = start("jobs.Busy", "run", seconds=4.0)
    wall, spent = job.result(PATIENCE)
    attempt = job.refresh()["attempts"][-1]
    counted = attempt["cpu_user"] + attempt["cpu_system"]
    told = f"cpu_share = 0.5: {spent:.2f} s in {wall:.2f} s, counted {counted:.2f} s"
    expect(told, is_so=0.35 < spent / wall < 0.65)


def figures() -> None:
    attempt = ended("jobs.Used", "run")
    spent = attempt["cpu_user"] + attempt["cpu_system"]
    expect(f"what nobody waited for counts: {brief(attempt)}", is_so=spent >= 2)


# While attempts run


def adopted(what: str, do: Callable[[], object], is_same: bool = False) -> None:
    """Limited attempts go on through it, and their limits with them."""
    words = {"eat": "out_of_memory", "bomb": "failed", "end": "completed"}
    jobs = {word: start("jobs.Stays", "run", name=f"{what}-{word}") for word in words}
    groups = {word: ATTEMPTS / f"{job.id}.1" for word, job in jobs.items()}
    until(lambda: all(how_many(group) == 4 for group in groups.values()), "they run", PATIENCE)
    before = {word: limits_of(group) for word, group in groups.items()}
    old, at = main_pid(), time.monotonic()
    do()
    until(lambda: is_active() and (main_pid() not in (0, old) or is_same), "it is back", PATIENCE)
    took = time.monotonic() - at
    until(lambda: client().ping(), "it answers", PATIENCE)
    fresh = ended("jobs.Memory", "shared")
    expect(f"{what}: a new attempt is {fresh['outcome']}", is_so=fresh["outcome"] == "out_of_memory")
    kept = {word: limits_of(group) for word, group in groups.items()}
    expect(f"{what}: back after {took:.1f} s, limits {kept['end']}", is_so=kept == before)
    for word, outcome in words.items():
        tell(f"{what}-{word}", word)
        attempt = jobs[word].wait(PATIENCE)["attempts"][-1]
        is_right = attempt["outcome"] == outcome and attempt["number"] == 1
        expect(f"{what}: {word}: {brief(attempt)}", is_so=is_right)
    nothing_is_left()
    journal = run("journalctl", "--no-pager", "-b", "-u", "bgjobd.service")
    expect(f"{what}: no start has failed", is_so="219/CGROUP" not in journal)


def stop_and_start() -> None:
    run("systemctl", "stop", "bgjobd.socket", "bgjobd.service")
    run("systemctl", "start", "bgjobd.socket", "bgjobd.service")


@contextmanager
def untouched() -> Iterator[None]:
    """The daemon, its unit and another job are as before."""
    bystander = start("jobs.Stays", "run", name="bystander")
    until(lambda: how_many(ATTEMPTS / f"{bystander.id}.1") == 4, "the bystander runs", PATIENCE)
    pid = main_pid()
    yield
    tell("bystander", "end")
    asked = [word for name in ("ActiveState", "Result", "NRestarts") for word in ("-P", name)]
    state = run("systemctl", "show", *asked, "bgjobd.service").split()
    expect(f"the unit is {state}", is_so=sorted(state) == ["0", "active", "success"])
    expect("the daemon is the same", is_so=main_pid() == pid)
    expect("another job went on", is_so=bystander.result(PATIENCE) == "end")


def nothing_is_left() -> None:
    with suppress(TimeoutError):
        until(lambda: not left(), "cgroups and directories of attempts are gone", 5)
    expect(f"left: {left()}", is_so=not left())


def left() -> list[str]:
    """The cgroups and working directories of attempts that have ended."""
    places = (ATTEMPTS, Path("/run/bgjobd/work"), Path("/run/bgjobd/work/aside"))
    return [
        str(path) for place in places for path in place.iterdir() if path.is_dir() and path.name != "aside"
    ]


# The ends of the machine


def before_poweroff() -> None:
    """Leaves a job that ignores SIGTERM, one that does not, and one that waits."""
    deaf = start("jobs.Deaf", "run")
    until(lambda: Path(STATE, "deaf").exists(), "it is deaf", PATIENCE)
    dying = start("jobs.Noted", "run", seconds=300.0)
    until(lambda: dying.refresh()["status"] == "running", "it runs", PATIENCE)
    client().pause()
    waiting = start("jobs.Noted", "run", seconds=0.0)
    Path(STATE, "ids").write_text(f"{deaf.id} {dying.id} {waiting.id}")


def after_poweroff(_: str) -> None:
    client().resume()
    deaf, dying, waiting = map(client().get, map(int, Path(STATE, "ids").read_text().split()))
    for what, job, count in (("was deaf", deaf, 2), ("died", dying, 2), ("waited", waiting, 1)):
        status = job.wait(PATIENCE)["status"]
        is_right = status == "completed" and len(outcomes(job)) == count
        expect(f"the job that {what} is {status}: {outcomes(job)}", is_so=is_right)
    nothing_is_left()
    expect_books()
    while True:  # until the power goes
        job = start("jobs.Noted", "run", seconds=20.0)
        say(f"answered {job.id}")


def after_power_loss(ids: str) -> None:
    first, last = map(int, ids.split("-"))
    expect_books()
    lost = 0
    for job_id in range(first, last + 1):
        job = client().get(job_id)  # raises JobNotFoundError
        status = job.wait(PATIENCE)["status"]
        if status != "completed" or outcomes(job) not in (["completed"], ["lost", "completed"]):
            expect(f"job {job_id} is {status}: {outcomes(job)}", is_so=False)
        lost += "lost" in outcomes(job)
    expect(f"of jobs {ids} all are there, {lost} were lost once", is_so=lost > 0)
    nothing_is_left()
    expect_books()


# Small things


def expect(told: str, is_so: bool) -> None:
    say(f"{'ok:' if is_so else 'PROBLEM:'} {told}")


def expect_books() -> None:
    are_clean, told = books()
    expect(f"books: {told}", is_so=are_clean)


def client() -> Client:
    return Client(SOCKET, timeout=60)


def start(class_name: str, method: str, **parameters: Any) -> Job:
    return client().run_background_job(class_name, method, parameters)


def ended(class_name: str, method: str, **parameters: Any) -> dict[str, Any]:
    """The job's last attempt."""
    attempt: dict[str, Any] = start(class_name, method, **parameters).wait(PATIENCE)["attempts"][-1]
    return attempt


def tell(name: str, word: str) -> None:
    """Have the file, which a job waits for, appear whole."""
    whole = STATE / f"{name}.new"
    whole.write_text(word)
    whole.chmod(0o644)
    whole.rename(STATE / name)


def outcomes(job: Job) -> list[str]:
    return [attempt["outcome"] for attempt in job.refresh()["attempts"]]


def brief(attempt: dict[str, Any]) -> str:
    names = ("outcome", "signal", "error_type", "error_message")
    told = ", ".join(str(attempt[name]) for name in names if attempt[name] is not None)
    seconds = f"{attempt['cpu_user'] or 0:.2f}+{attempt['cpu_system'] or 0:.2f} s"
    return f"{told} ({(attempt['max_rss'] or 0) / MIB:.0f} MiB, {seconds})"


def how_many(group: Path) -> int:
    try:
        return len((group / "cgroup.procs").read_text().split())
    except OSError:
        return 0


def limits_of(group: Path) -> list[str]:
    files = ("memory.max", "memory.swap.max", "pids.max", "cpu.max")
    return [(group / name).read_text().strip() for name in files if (group / name).exists()]


if __name__ == "__main__":
    main()
