"""Schedules at their worst: deaths, a full disk, set clocks; each occurrence is told of once, and none runs twice."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bgjobd.core.calendar import Every
from bgjobd.core.schedules import due
from bgjobd.host.clock import from_text
from bgjobd.store.committed import Dealt
from bgjobd.store.items.schedules import OccurrencesDue, ScheduleDefined, ScheduleDue, SchedulesDefined
from tests.daemon.running import RunningDaemon, daemon
from tests.faults import books
from tests.faults.injecting import failing_calls, needs_root, pid_of
from tests.faults.knife import Knife, is_halted, why_impossible
from tests.faults.test_clocks import Shifted, ended_at_last
from tests.store.samples import SUBMITTER, Store, asked
from tests.store.test_schedules import ALL, FIRST
from tests.support import eventually

OBSTACLE = why_impossible()
HOUR, YEAR = 3600.0, 365 * 86_400.0


def schedule(name: str, ledger: Path, method: str = "quick", given: str = "", **keys: str) -> str:
    """One of each second."""
    told = "".join([f'{key} = "{value}"\n' for key, value in keys.items()])
    job = f'job = "{books.LEDGERED}::{method}"\nparameters = {{ ledger = "{ledger}"{given} }}'
    return f'[schedules.{name}]\n{job}\nevery = "1s"\nlate = "1s"\n{told}'


def assert_balance(running: RunningDaemon, ledger: Path) -> None:
    """Of a daemon that was stopped."""
    settings = books.settings_of(running.config)
    assert books.complaints(settings, (), ledger, None) == []
    twice = (
        "SELECT schedule, occurrence FROM background_jobs WHERE schedule IS NOT NULL "
        "GROUP BY 1, 2 HAVING count(*) > 1"
    )
    assert running.query(twice) == []
    jobless = "SELECT count(*) FROM schedule_occurrences WHERE verdict = 'submitted' AND job_id NOT IN"
    assert running.query(f"{jobless} (SELECT id FROM background_jobs)") == [(0,)]


def submitted(running: RunningDaemon, name: str = "%") -> int:
    wanted = f"name LIKE '{name}' AND verdict = 'submitted'"
    ((count,),) = running.query(f"SELECT count(*) FROM schedule_occurrences WHERE {wanted}")
    return int(count)


def stop_at_rest(running: RunningDaemon) -> None:
    """Once nothing runs, so that there is nothing to settle."""
    server = running.fork_server()
    running.stop(signal.SIGQUIT)
    eventually(lambda: not Path(f"/proc/{server}").exists())


# Kills


TEN = [("skip", "skip"), ("skip", "allow"), ("skip", "wait"), ("skip", "cancel"), ("run_once", "skip")]
TEN += [("run_once", "allow"), ("run_once", "wait"), ("run_once", "cancel"), ("run_all", "allow")]
TEN += [("run_all", "wait")]


@pytest.mark.parametrize("kills", [3, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def test_a_daemon_with_ten_schedules_of_each_second_is_killed_at_random(tmp_path: Path, kills: int) -> None:
    ledger, chance = tmp_path / "ledger", random.Random(20)
    ten = [
        schedule(f"s{number}", ledger, missed=missed, overlap=overlap)
        for number, (missed, overlap) in enumerate(TEN)
    ]
    settings = books.SETTINGS + "".join(ten)
    with daemon(tmp_path, settings, modules=books.MODULES) as running:
        for _ in range(kills):
            before = submitted(running)
            eventually(lambda before=before: submitted(running) > before)
            within(chance.uniform(0.0, 1.2))
            running.stop(signal.SIGKILL)
            within(chance.choice([0.0, 0.0, chance.uniform(0.0, 3.0)]))
            running.start()
        before = submitted(running)
        eventually(lambda: submitted(running) > before)
        stop_at_rest(running)
        assert_balance(running, ledger)


def within(seconds: float) -> None:
    """Let some time pass."""
    end = time.monotonic() + seconds
    eventually(lambda: time.monotonic() >= end)


def test_jobs_that_wait_for_each_other_outlive_a_kill_and_run_in_a_row(tmp_path: Path) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    chain = schedule("chain", ledger, "wait_for", f', path = "{go}"', missed="run_all", overlap="wait")
    with daemon(tmp_path, books.SETTINGS + chain, modules=books.MODULES) as running:
        eventually(lambda: submitted(running) >= 2)
        eventually(lambda: len(books.lines_of(ledger)) == 1)
        running.stop(signal.SIGKILL)
        within(2.0)
        running.start()
        eventually(lambda: submitted(running) >= 3)
        assert [line.what for line in books.lines_of(ledger)] == ["start"]
        blocked = "SELECT count(*) FROM background_jobs WHERE ready = 2 AND status = 'pending'"
        eventually(lambda: running.query(blocked) == [(submitted(running) - 1,)])  # another comes each second
        go.touch()
        eventually(lambda: len(books.lines_of(ledger)) >= 6)
        stop_at_rest(running)
        lines = books.lines_of(ledger)
        assert [line.what for line in lines] == ["start", "end"] * (len(lines) // 2)
        assert [line.job for line in lines[::2]] == sorted(line.job for line in lines[::2])
        assert_balance(running, ledger)


# The transaction


def deal(there: Store) -> tuple[Dealt, ...]:
    """With what is due, as the cursors stand."""
    there.now = FIRST + 540
    stored = there.answer(SchedulesDefined((ScheduleDefined("a", "{}"), ScheduleDefined("b", "{}"))))
    found = [(one, list(due(Every(60.0).after(one.cursor), (), ALL, there.now))[-1]) for one in stored]
    items = [
        ScheduleDue(one.name, one.cursor, what, replace(ALL, late=0.0), asked(), 0.0, there.now)
        for one, what in found
        if what is not None
    ]
    dealt: tuple[Dealt, ...] = there.answer(OccurrencesDue(tuple(items), SUBMITTER))
    return dealt


def dealing(state_dir: Path) -> int:
    """A process that has opened the file, and deals with what is due once it goes on."""
    pid = os.fork()
    if pid == 0:
        try:
            there = Store(state_dir)
            os.kill(os.getpid(), signal.SIGSTOP)
            deal(there)
        finally:
            os._exit(0)
    eventually(lambda: is_halted(pid))
    return pid


def calls_of(state_dir: Path, log: Path) -> list[str]:
    pid = dealing(state_dir)
    with Knife(pid, None, log) as knife:
        knife.let_go_on()
        os.waitpid(pid, 0)
        eventually(knife.has_ended)
    return knife.calls()


@needs_root
@pytest.mark.skipif(OBSTACLE is not None, reason=str(OBSTACLE))
@pytest.mark.parametrize("step", [11, pytest.param(1, marks=[pytest.mark.long, pytest.mark.timeout(600)])])
def test_who_deals_is_killed_at_each_system_call_and_each_occurrence_becomes_one_job(
    tmp_path: Path, step: int
) -> None:
    calls = calls_of(place(tmp_path / "trial"), tmp_path / "log")
    points = [(call, calls[:number].count(call)) for number, call in enumerate(calls, 1)]
    struck = 0
    for number, (call, when) in list(enumerate(points))[::-step]:
        there = place(tmp_path / str(number))
        pid = dealing(there)
        with Knife(pid, f"{call}:signal=SIGKILL:when={when}", tmp_path / "log") as knife:
            knife.let_go_on()
            os.waitpid(pid, 0)
            eventually(knife.has_ended)
        struck += knife.has_struck()
        assert_each_became_one(there)
    assert struck > len(points) / step / 2, "strace has killed next to nobody"


def place(directory: Path) -> Path:
    """A file with two schedules, of each of which ten occurrences are due."""
    directory.mkdir()
    there = Store(directory)
    there.answer(SchedulesDefined(tuple([ScheduleDefined(name, "{}", is_new=True) for name in ("a", "b")])))
    there.close()
    return directory


def assert_each_became_one(state_dir: Path) -> None:
    """Whether what was killed is there or not: all or nothing of it, and the rest is made up for."""
    there = Store(state_dir)
    before = there.rows("SELECT count(*) AS jobs FROM background_jobs")[0]["jobs"]
    assert before in (0, 20)
    dealt = deal(there)
    assert sum(len(one.verdicts) for one in dealt) == 20 - before
    told = "SELECT name, at, job_id FROM schedule_occurrences"
    jobs = "SELECT schedule, occurrence, id FROM background_jobs"
    rows = there.database.execute_sql(f"{told} ORDER BY 1, 2").fetchall()
    assert rows == there.database.execute_sql(f"{jobs} ORDER BY 1, 2").fetchall()
    assert len(rows) == 20
    there.close()


# The disk, and the clock


@needs_root
@pytest.mark.needs("strace")
def test_what_is_due_while_the_disk_is_full_is_missed_and_told_of_once_it_is_not(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    settings = books.SETTINGS + schedule("s", ledger, missed="run_once")
    with daemon(tmp_path, settings, modules=books.MODULES) as running:
        eventually(lambda: submitted(running))
        with failing_calls(pid_of(running), "pwrite64", "ENOSPC"), running.client() as client:
            eventually(lambda: client.stats()["storage_trouble"])
            before = submitted(running)
            within(2.5)
        eventually(lambda: submitted(running) > before + 1)
        stop_at_rest(running)
        assert running.query("SELECT sum(count) > 0 FROM schedule_occurrences WHERE reason = 'missed'") == [
            (1,)
        ]
        assert_balance(running, ledger)


def test_a_clock_that_is_set_has_nothing_run_twice_and_one_that_was_in_2040_costs_nothing(
    tmp_path: Path,
) -> None:
    settings = '[schedules.s]\njob = "probes.Probe::echo"\nevery = "1s"\nlate = "1s"'
    running = Shifted(tmp_path, settings)
    with ended_at_last(running):
        running.start()
        for jump in (HOUR, -HOUR, 14 * YEAR, -14 * YEAR):
            eventually(lambda: submitted(running))
            running.set_by(jump)
            with running.client() as client:
                # Wakes the daemon, as the kernel does otherwise.
                client.run_background_job("probes.Probe", "echo")
            eventually(lambda: abs(cursor_of(running) - time.time() - running.shift) < 10)
            before = submitted(running)
            eventually(lambda before=before: submitted(running) > before)
        stop_at_rest(running)
        assert_balance(running, tmp_path / "ledger")
        ((ahead,),) = running.query(
            "SELECT count(*) FROM schedule_occurrences WHERE at > '2039' AND verdict = 'skipped'"
        )
        assert ahead == 0


def cursor_of(running: RunningDaemon) -> float:
    ((cursor,),) = running.query("SELECT cursor FROM schedules")
    return from_text(cursor)
