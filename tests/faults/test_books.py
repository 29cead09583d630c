"""The books: each of their checks seen to fail on books that were broken by hand, and a daemon at work found whole."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bgjobd import main
from bgjobd.commands import books, check_books, process_table
from bgjobd.commands.books import Books
from bgjobd.config.sections import Config
from bgjobd.host import life
from bgjobd.store.audit import Counts
from bgjobd.store.engines.places import place_of
from tests.daemon import warm
from tests.daemon.running import RunningDaemon, daemon, is_alive
from tests.engines import changing, copy_state
from tests.faults.books import (
    LEDGERED,
    MODULES,
    SETTINGS,
    Line,
    Row,
    check,
    compare,
    complaints,
    descriptors,
    lines_of,
    marked,
    marked_processes,
    settings_of,
)
from tests.support import eventually

LIFE = life.own()
BOOT = LIFE.id
COMPLETED, FAILED, RETRIED, CANCELLED = 1, 2, 3, 4


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a daemon that has run a job of each end, and was stopped."""
    directory = tmp_path_factory.mktemp("books")
    with daemon(directory, SETTINGS, modules=MODULES) as running, running.client() as client:
        ledger = {"ledger": str(directory / "ledger")}
        client.run_background_job(LEDGERED, "quick", ledger).wait(20)
        client.run_background_job(LEDGERED, "ask", ledger | {"word": "fail"}).wait(20)
        client.run_background_job(LEDGERED, "fail_once", ledger).wait(20)
        client.run_background_job(LEDGERED, "quick", ledger, delay=3600.0).cancel()
        eventually(lambda: running.spooled() == [])
        server = running.fork_server()
        running.stop()
        eventually(lambda: not is_alive(server))
    return directory


@pytest.fixture
def place(finished: Path, tmp_path: Path) -> Config:
    """A copy of it, to be broken."""
    copy_state(finished / "state", tmp_path / "state")
    shutil.copytree(finished / "run", tmp_path / "run")
    return settings_of(RunningDaemon(tmp_path).config)


def look(settings: Config) -> Books:
    """The books as two looks without a pause between them find them."""
    return check_books.audit(settings, lambda seconds: None)


def found(settings: Config) -> list[str]:
    return [f"{one.subject}: {one.what}" for one in look(settings).findings]


def change(settings: Config, sql: str) -> None:
    place = place_of(settings.daemon)
    with changing(place) as connection:
        connection.execute(sql if isinstance(place, Path) else COUNTERS.get(sql.strip(), sql))


COUNTERS = {
    "UPDATE sqlite_sequence SET seq = 2 WHERE name = 'background_jobs'": "SELECT setval('job_ids', 2)",
    "UPDATE sqlite_sequence SET seq = 3 WHERE name = 'background_jobs'": "SELECT setval('job_ids', 3)",
    "UPDATE sqlite_sequence SET seq = 3 WHERE name = 'job_groups'": "SELECT setval('group_ids', 3)",
    "UPDATE sqlite_sequence SET seq = 5 WHERE name = 'job_groups'": "SELECT setval('group_ids', 5)",
}
"""A counter of ids that is set, as PostgreSQL has it."""


def test_the_books_of_a_daemon_that_was_stopped_balance(place: Config) -> None:
    assert str(look(place)) == "the books balance: 4 jobs, 4 attempts, 0 running"


JOBS = "UPDATE background_jobs SET"
ATTEMPTS = "UPDATE job_attempts SET"
CONTRADICTIONS = [
    (
        f"{JOBS} status = 'paused' WHERE id = 1",
        "job 1: its status is paused, a word that there is not",
    ),
    (
        f"{JOBS} status = 'running', finished_at = NULL, result = NULL WHERE id = 1",
        "job 1: it is running, and its latest attempt (completed) is not",
    ),
    (
        f"{JOBS} finished_at = NULL WHERE id = 1",
        "job 1: it is completed, and has no finished_at",
    ),
    (
        f"{JOBS} status = 'pending' WHERE id = 4",
        "job 4: it is pending, and has a finished_at",
    ),
    (
        f"{ATTEMPTS} outcome = 'lost' WHERE job_id = 1",
        "job 1: it is completed, and its latest attempt is not (lost), nor has anybody settled it",
    ),
    (
        f"{ATTEMPTS} outcome = 'completed' WHERE job_id = 2",
        "job 2: it is failed, and its latest attempt completed",
    ),
    (
        f"{JOBS} result = NULL WHERE id = 3",
        "job 3: it is completed, and has no result",
    ),
    (
        f"{JOBS} result = '1' WHERE id = 2",
        "job 2: it is failed, and has a result",
    ),
    (
        f"{ATTEMPTS} outcome = 'snoozed' WHERE job_id = 2",
        "job 2: it is failed, and its latest attempt (snoozed) is no reason for that",
    ),
    (
        f"{ATTEMPTS} outcome = 'not_started', pid = NULL WHERE job_id = 2",
        "job 2: it is failed, and its latest attempt (not_started) is no reason for that",
    ),
    (
        f"{JOBS} error = NULL WHERE id = 2",
        "job 2: it is failed, and no error says why",
    ),
    (
        f"{JOBS} cancel_requested_at = NULL WHERE id = 4",
        "job 4: it is cancelled, and nobody asked for that",
    ),
    (
        f"{JOBS} retry_count = -1 WHERE id = 3",
        "job 3: its retry_count is below 0",
    ),
    (
        f"{JOBS} retry_count = 2 WHERE id = 3",
        "job 3: it was retried more often than its max_retries allows",
    ),
    (
        f"{ATTEMPTS} job_id = 99 WHERE job_id = 3 AND number = 1",
        "job 99, attempt 1: it belongs to no job",
        "job 3: its attempts have holes: there are 1, the last is number 2",
    ),
    (
        f"{ATTEMPTS} outcome = NULL, finished_at = NULL WHERE job_id = 2",
        "job 2: it is failed, and its latest attempt (without an end) is no reason for that",
        "job 2, attempt 1: its end is not recorded, and its job is not running but failed",
    ),
    (
        f"{ATTEMPTS} outcome = 'vanished' WHERE job_id = 2",
        "job 2, attempt 1: its outcome is vanished, a word that there is not",
    ),
    (
        f"{ATTEMPTS} finished_at = NULL WHERE job_id = 2",
        "job 2, attempt 1: it ended (failed), and has no finished_at",
    ),
    (
        f"{ATTEMPTS} pid = NULL WHERE job_id = 1",
        "job 1, attempt 1: it completed, and no process was ever started for it",
    ),
    (
        f"{ATTEMPTS} outcome = 'not_started', pid = 1 WHERE job_id = 3 AND number = 1",
        "job 3, attempt 1: it counts as not started, and process 1 was started for it",
    ),
    (
        f"{ATTEMPTS} number = 3 WHERE job_id = 3 AND number = 2",
        "job 3: its attempts have holes: there are 2, the last is number 3",
    ),
    (
        "UPDATE job_logs SET job_id = 99 WHERE id = 1",
        "job 99: the log has entries of it (1), and there is no such job",
    ),
    (
        "UPDATE sqlite_sequence SET seq = 3 WHERE name = 'background_jobs'",
        "job 4: the counter of ids is behind it: its id could be given again",
    ),
    (
        f"{JOBS} cancel_requested_at = NULL, expires_at = created_at, error = 'expired: not started by …' WHERE id = 4",
    ),
    (
        "INSERT INTO unique_keys SELECT class_name, method_name, 'k', id, NULL FROM background_jobs WHERE id = 1",
        "job 1: a row says that it holds the unique key k, which is not its own",
        "job 1: it is completed, and still holds the unique key k",
    ),
    (
        "INSERT INTO unique_keys VALUES ('a.B', 'run', 'k', 9, NULL)",
        "job 9: it is not there, and still holds the unique key k",
    ),
    ("INSERT INTO unique_keys VALUES ('a.B', 'run', 'k', 9, '2099-01-01T00:00:00.000000Z')",),
    (
        f"{JOBS} status = 'pending', finished_at = NULL, error = NULL, result = NULL, unique_key = 'k', "
        "unique_while = 'unfinished' WHERE id = 4",
        "job 4: its unique key is k, and it does not hold it",
    ),
]


@pytest.mark.parametrize(("sql", "told"), [(row[0], row[1:]) for row in CONTRADICTIONS])
def test_a_contradiction_is_found_and_nothing_else(place: Config, sql: str, told: tuple[str, ...]) -> None:
    change(place, sql)
    assert [line for line in found(place) if not line.endswith(".out")] == list(told)


KEYED = """
    UPDATE background_jobs SET status = 'pending', finished_at = NULL, cancel_requested_at = NULL, key = 'a', ready = 1
        WHERE id = 4;
    UPDATE background_jobs SET key = 'a' WHERE id < 4;
    INSERT INTO properties VALUES ('key_rules', '{"default": [1, null, "key"], "mail": [null, null, "key"]}')
        ON CONFLICT (name) DO UPDATE SET value = excluded.value;
    INSERT INTO queue_turns VALUES ('mail', 0, 7);
"""
RULES = "UPDATE properties SET value = '{}' WHERE name = 'key_rules'"
CONTRADICTIONS_OF_PLACES = [
    (f"{JOBS} priority = 1 WHERE id = 4",),
    (f"{JOBS} turn = 3 WHERE id = 4",),
    (f"{JOBS} ready = 3, waits_until = updated_at WHERE id = 4",),
    (
        f"{JOBS} ready = 3 WHERE id = 4",
        "job 4: it is behind its key a in queue default, where a place is free",
    ),
    (
        f"{JOBS} ready = 3, waits_until = '2099-01-01T00:00:00.000000Z' WHERE id = 4",
        "job 4: it is behind its key a in queue default, where a place is free",
    ),
    (
        f"{JOBS} ready = 3, key = NULL WHERE id = 4",
        "job 4: it is pending, and its ready says that it is behind a key",
    ),
    (
        f"{JOBS} turn = 3 WHERE id = 2",
        "job 2: it is failed, and has a turn, though it does not wait for that",
    ),
    (
        RULES.format('{"default": [0, null, "key"], "mail": [1, null, "key"]}'),
        "job 4: of its key a in queue default 1 are ready and 0 run, which is more than 0 allows",
    ),
    (RULES.format('{"default": [0, null, "key", true], "mail": [null, null, "none", true]}'),),
    (
        RULES.format("{}"),
        "queue mail: the latest turn of its jobs is stored, and nobody takes turns there",
    ),
    (
        f"{JOBS} turn = 3, queue = 'plain' WHERE id = 4",
        "job 4: it has a turn, and in queue plain nobody takes turns",
    ),
]


@pytest.mark.parametrize(("sql", "told"), [(row[0], row[1:]) for row in CONTRADICTIONS_OF_PLACES])
def test_a_key_has_as_many_places_as_its_queue_gives_it(
    place: Config, sql: str, told: tuple[str, ...]
) -> None:
    for statement in KEYED.split(";"):
        change(place, statement)
    change(place, sql)
    assert [line for line in found(place) if not line.endswith(".out")] == list(told)


def test_an_earlier_attempt_without_an_end_is_found_though_the_latest_runs(place: Config) -> None:
    change(place, f"{ATTEMPTS} outcome = NULL, finished_at = NULL WHERE job_id = 3")
    change(place, f"{JOBS} status = 'running', finished_at = NULL, result = NULL WHERE id = 3")
    assert found(place) == ["job 3, attempt 1: its end is not recorded, and a later attempt was started"]
    assert look(place).unsettled == 2


SCHEDULED = """
    INSERT INTO schedules (name, definition, since, cursor) VALUES ('minutely',
        '{"job": "ledgered.Ledgered::quick", "every": "1m"}',
        '2026-11-26T12:00:00.000000Z', '2026-11-26T12:10:00.000000Z');
    INSERT INTO schedule_occurrences (name, at, until, count, verdict, job_id, dealt_at) VALUES
        ('minutely', '2026-11-26T12:01:00.000000Z', '2026-11-26T12:01:00.000000Z', 1, 'submitted', 1, ''),
        ('minutely', '2026-11-26T12:02:00.000000Z', '2026-11-26T12:09:00.000000Z', 8, 'skipped', 1, ''),
        ('minutely', '2026-11-26T12:09:30.000000Z', '2026-11-26T12:09:30.000000Z', 1, 'asked', 3, ''),
        ('minutely', '2026-11-26T12:10:00.000000Z', '2026-11-26T12:10:00.000000Z', 1, 'submitted', 2, '');
    UPDATE background_jobs SET schedule = 'minutely', occurrence = CASE id
        WHEN 1 THEN '2026-11-26T12:01:00.000000Z' WHEN 2 THEN '2026-11-26T12:10:00.000000Z'
        ELSE '2026-11-26T12:09:30.000000Z' END WHERE id <= 3;
"""
ROWS = "UPDATE schedule_occurrences SET"
CONTRADICTIONS_OF_SCHEDULES = [
    ("UPDATE schedules SET paused_at = since",),
    ("DELETE FROM background_jobs WHERE id = 2",),
    (
        "UPDATE schedules SET cursor = '2026-11-26T12:11:00.000000Z'",
        "no row tells of its occurrence 2026-11-26T12:11:00.000000Z",
    ),
    (
        f"{ROWS} count = 7 WHERE verdict = 'skipped'",
        "the row of 2026-11-26T12:02:00.000000Z to 2026-11-26T12:09:00.000000Z tells of 7 occurrences, and there are 8",
    ),
    (
        f"{ROWS} until = '2026-11-26T12:08:00.000000Z', count = 7 WHERE verdict = 'skipped'",
        "no row tells of its occurrence 2026-11-26T12:09:00.000000Z",
    ),
    (
        f"{ROWS} until = '2026-11-26T12:10:00.000000Z' WHERE verdict = 'skipped'",
        "two rows tell of its occurrence 2026-11-26T12:10:00.000000Z",
        "the row of 2026-11-26T12:02:00.000000Z to 2026-11-26T12:10:00.000000Z tells of 8 occurrences, and there are 9",
        "the row of 2026-11-26T12:10:00.000000Z tells of 1 occurrences, and there are 0",
    ),
    (
        f"{ROWS} job_id = 77 WHERE job_id = 2",
        "its occurrence 2026-11-26T12:10:00.000000Z became job 77, which is not of that occurrence",
        "job 2 is of its occurrence 2026-11-26T12:10:00.000000Z, and no row tells of that",
    ),
    (
        f"{JOBS} occurrence = NULL WHERE id = 1",
        "its occurrence 2026-11-26T12:01:00.000000Z became job 1, which is not of that occurrence",
    ),
    (
        "DELETE FROM schedule_occurrences WHERE verdict = 'asked'",
        "job 3 is of its occurrence 2026-11-26T12:09:30.000000Z, and no row tells of that",
    ),
]


@pytest.mark.parametrize(("sql", "told"), [(row[0], row[1:]) for row in CONTRADICTIONS_OF_SCHEDULES])
def test_each_occurrence_of_a_schedule_is_told_of_once_and_knows_its_job(
    place: Config, sql: str, told: tuple[str, ...]
) -> None:
    for statement in SCHEDULED.split(";"):
        change(place, statement)
    change(place, sql)
    assert [line for line in found(place) if line.startswith("schedule")] == [
        f"schedule minutely: {one}" for one in told
    ]


def test_of_very_many_occurrences_the_last_thousand_are_looked_at(place: Config) -> None:
    for statement in SCHEDULED.split(";"):
        change(place, statement)
    change(place, "DELETE FROM schedule_occurrences WHERE at < '2026-11-26T12:09'")
    change(
        place,
        "INSERT INTO schedule_occurrences (name, at, until, count, verdict, dealt_at) VALUES "
        "('minutely', '2020-01-01T00:01:00.000000Z', '2026-11-26T12:09:00.000000Z', 99999, 'skipped', '')",
    )
    change(place, "UPDATE schedules SET since = '2020-01-01T00:00:00.000000Z'")
    assert [line for line in found(place) if line.startswith("schedule minutely: the row")] == []


TIED = """
    INSERT INTO job_groups (id, since_id, group_id, total, unfinished, completed, failed, cancelled, sealed_at,
        ended_at, created_at) VALUES (5, 0, 4, 2, 0, 1, 1, 0, '', '', ''), (4, 0, NULL, 1, 0, 0, 1, 0, '', '', '');
    UPDATE sqlite_sequence SET seq = 5 WHERE name = 'job_groups';
    INSERT INTO job_dependencies VALUES (3, 'job', 1, 1), (4, 'job', 2, 2), (4, 'group', 5, 2);
    UPDATE background_jobs SET group_id = 5 WHERE id < 3;
    UPDATE background_jobs SET if_failed = 'cancel' WHERE id = 3;
    UPDATE background_jobs SET if_failed = 'cancel', cancel_requested_at = NULL, cancelled_after = '2', waits_for = 2,
        failed_before = 2 WHERE id = 4;
"""
EDGES = "UPDATE job_dependencies SET"
GROUPS = "UPDATE job_groups SET"
CONTRADICTIONS_OF_TIES = [
    (f"{GROUPS} name = 'as it was'",),
    (
        f"{JOBS} cancelled_after = NULL WHERE id = 4",
        "job 4: it is cancelled, and nobody asked for that",
    ),
    (
        f"{JOBS} cancelled_after = '2' WHERE id = 1",
        "job 1: it is completed, and cancelled_after names what is no reason for a cancel",
    ),
    (
        f"{JOBS} status = 'pending', finished_at = NULL, cancelled_after = NULL, ready = 2 WHERE id = 4",
        "job 4: it is pending, and what it comes after has failed",
    ),
    (
        f"{JOBS} waits_for = 1 WHERE id = 3",
        "job 3: it is completed, and still waits for what it comes after",
    ),
    (
        f"{JOBS} ready = 2 WHERE id = 3",
        "job 3: it is completed, and its ready does not go with what it waits for",
    ),
    (
        f"{JOBS} waits_for = 1 WHERE id = 4",
        "job 4: its waits_for is not the number of its edges that are not met",
    ),
    (
        f"{JOBS} failed_before = 1 WHERE id = 4",
        "job 4: its failed_before is not the number of its edges that have failed",
    ),
    (
        f"{JOBS} group_id = 9, status = 'completed' WHERE id = 3",
        "job 3: it is a member of a group that there is not",
    ),
    (
        f"{JOBS} if_failed = NULL WHERE id = 3",
        "job 3: it comes after job 1, which is completed, and its edge is met",
    ),
    (
        "INSERT INTO job_dependencies VALUES (9, 'job', 1, 1)",
        "job 9: it comes after job 1, and there is no such job",
    ),
    (
        f"{EDGES} after_id = 3 WHERE after_id = 2",
        "job 4: it comes after job 3, which is completed, and its edge is failed",
    ),
    (f"{EDGES} after_id = 77 WHERE after_id = 2",),
    (
        "INSERT INTO consequences SELECT 'job', 3, 0; UPDATE job_dependencies SET after_id = 3 WHERE after_id = 2",
    ),
    (
        f"{GROUPS} total = 3 WHERE id = 5",
        "group 5: its total is 3, and it counts 2",
    ),
    (f"{GROUPS} total = 3, completed = 2 WHERE id = 5",),
    (
        f"{GROUPS} total = 1, completed = 0 WHERE id = 5",
        "group 5: it counts 0 completed members, and has 1",
    ),
    (
        f"{GROUPS} unfinished = 1, total = 3, ended_at = NULL WHERE id = 5",
        "job 4: it comes after group 5, which is unfinished, and its edge is failed",
        "group 4: it counts 0 unfinished members, and has 1",
        "group 5: it counts 1 unfinished members, and has 0",
    ),
    (
        f"{GROUPS} ended_at = NULL WHERE id = 4",
        "group 4: it has no ended_at, and 0 unfinished members",
    ),
    (
        f"{GROUPS} group_id = 9 WHERE id = 5",
        "group 5: the group that it is in is not there",
    ),
    (
        "UPDATE sqlite_sequence SET seq = 3 WHERE name = 'job_groups'",
        "group 5: the counter of ids is behind it: its id could be given again",
    ),
]


@pytest.mark.parametrize(("sql", "told"), [(row[0], row[1:]) for row in CONTRADICTIONS_OF_TIES])
def test_edges_and_groups_stand_as_what_they_are_made_of(
    place: Config, sql: str, told: tuple[str, ...]
) -> None:
    for statement in (*TIED.split(";"), *sql.split(";")):
        change(place, statement)
    assert found(place) == list(told)


def test_a_damaged_file_is_found(place: Config) -> None:
    file = place.daemon.state_dir / "bgjobd.db"
    with closing(sqlite3.connect(file)) as database:
        (page,) = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'jobs_finished'"
        ).fetchone()
    with file.open("r+b") as raw:
        raw.seek((page - 1) * 4096)
        raw.write(b"\xff" * 100)
    (finding,) = look(place).findings[:1]
    assert str(finding).startswith("the database: it is damaged: ")


def test_books_that_are_not_there_are_told_by_path(tmp_path: Path) -> None:
    settings = RunningDaemon(tmp_path).config
    told = warm.run(["check", "--books", "--config", str(settings)])
    assert told.returncode == 1
    assert f"the books cannot be read: the database {tmp_path}/state/bgjobd.db cannot be used" in told.stderr


# What a stopped daemon leaves is for the next to settle; while one runs it must not be there


@contextmanager
def at_rest(directory: Path) -> Iterator[tuple[RunningDaemon, Config]]:
    """A daemon that has run job 1 to its end."""
    with daemon(directory, SETTINGS, modules=MODULES, app=marked(directory)) as running:
        with running.client() as client:
            client.run_background_job(LEDGERED, "quick", {"ledger": str(directory / "ledger")}).wait(20)
        eventually(lambda: running.spooled() == [])
        yield running, settings_of(running.config)


@pytest.fixture(scope="module")
def resting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningDaemon, Config]]:
    with at_rest(tmp_path_factory.mktemp("resting")) as both:
        yield both


def claim(settings: Config, boot: str, pid: str) -> None:
    """Claim job 2 behind the daemon's back."""
    columns = "class_name, method_name, parameters, max_retries, retry_delay, backoff, max_retry_delay"
    rest = "queue, priority, created_at, updated_at, started_at"
    change(
        settings,
        f"INSERT INTO background_jobs (id, status, retry_count, ready, {columns}, {rest}) "
        f"SELECT 2, 'running', 0, 1, {columns}, {rest} FROM background_jobs WHERE id = 1",
    )
    change(settings, "UPDATE sqlite_sequence SET seq = 2 WHERE name = 'background_jobs'")
    change(
        settings,
        "INSERT INTO job_attempts (job_id, number, token, boot_id, pid) "
        f"VALUES (2, 1, 'aa', '{boot}', {pid})",
    )


GONE = '{"v":1,"type":"started","token":"%s","pid":4194300,"start_time":1,"pidfd_inode":1,"monotonic":1,"at":1}\n'
FENCE = '{"v":1,"type":"fenced"}\n'
WHAT_ENDED = "machine" if LIFE.id == LIFE.boot_id else "container"
OVER = f"it counts as running, and is over: the {WHAT_ENDED} was restarted while it ran"
UNSETTLED = [
    (BOOT, "NULL", None, "it was claimed and has not started"),
    (
        BOOT,
        "4194300",
        None,
        "it was claimed and has not started, and the journal of its process 4194300 is gone",
    ),
    (BOOT, "NULL", FENCE, "it counts as running, and was fenced: it will not start"),
    (BOOT, "4194300", GONE % "aa", "it counts as running, and its process (4194300) is gone"),
    (BOOT, "4194300", GONE % "bb", "it counts as running, and the journal of its name is not its own"),
    ("another", "4194300", None, OVER),
]


@pytest.mark.parametrize(("boot", "pid", "journal", "told"), UNSETTLED)
def test_a_running_attempt_without_a_process_is_found_while_a_daemon_runs(
    resting: tuple[RunningDaemon, Config], boot: str, pid: str, journal: str | None, told: str
) -> None:
    running, settings = resting
    claim(settings, boot, pid)
    path = running.spool / "2.1.journal"
    try:
        if journal is not None:
            path.write_text(journal)
        assert found(settings) == [f"job 2, attempt 1: {told}"]
    finally:
        path.unlink(missing_ok=True)
        change(settings, "DELETE FROM job_attempts WHERE job_id = 2")
        change(settings, "DELETE FROM background_jobs WHERE id = 2")


def test_without_a_daemon_it_is_for_the_next_one_to_settle(place: Config) -> None:
    change(place, f"{ATTEMPTS} outcome = NULL, finished_at = NULL WHERE job_id = 1")
    change(place, f"{JOBS} status = 'running', finished_at = NULL, result = NULL WHERE id = 1")
    told = look(place)
    assert not told.findings
    assert told.summary == (
        "the books balance: 4 jobs, 4 attempts, 1 running; "
        "no daemon runs, and its start will settle 1 remnant"
    )


WORK = "work"
LEFT = [
    ("1.1.journal", GONE % "aa", "1.1.journal: it lies in the spool, and the end of its attempt is stored"),
    ("7.1.journal", GONE % "aa", "7.1.journal: it lies in the spool, and there is no such attempt"),
    ("1.1.stop", "cancelled", "1.1.stop: it lies in the spool, and the end of its attempt is stored"),
    ("1.1.state", "", "1.1.state: it lies in the spool, and the end of its attempt is stored"),
    ("1.1.carry", "{}", "1.1.carry: it lies in the spool, and the end of its attempt is stored"),
    (
        "1.1.hook",
        GONE % "aa",
        "1.1.hook: the process of this failed hook is gone, its journal is not",
    ),
    (
        "1.1.stop.new",
        "canc",
        "{spool}/1.1.stop.new: it was never finished, and whoever wrote it is gone",
    ),
    (
        f"../{WORK}/1.1",
        "",
        f"{{spool}}/../{WORK}/1.1: nothing of bgjobd's has a file of this name here",
    ),
    (
        "../../state/output/9.1.out",
        "",
        "{spool}/../../state/output/9.1.out: the output of an attempt that the books do not know",
    ),
]


@pytest.mark.parametrize(("name", "text", "told"), LEFT)
def test_a_planted_file_is_found_while_a_daemon_runs(
    resting: tuple[RunningDaemon, Config], name: str, text: str, told: str
) -> None:
    running, settings = resting
    path = running.spool / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    try:
        expected = told.replace("{spool}/" + name, os.path.normpath(path))
        assert found(settings) == [expected]
    finally:
        path.unlink()


@pytest.mark.parametrize("kind", ["journal", "hook"])
def test_a_fence_may_stay(resting: tuple[RunningDaemon, Config], kind: str) -> None:
    running, settings = resting
    fence = running.spool / f"1.1.{kind}"
    fence.write_text(FENCE)
    assert found(settings) == []
    fence.unlink()


def test_a_process_that_writes_to_the_output_of_an_ended_attempt_is_a_stray(
    resting: tuple[RunningDaemon, Config],
) -> None:
    running, settings = resting
    output = running.database.parent / "output" / "1.1.out"
    with output.open("a") as file:
        stray = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=file)
    with output.open() as file:
        reader = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=file)
    try:
        eventually(lambda: has_words(stray.pid))
        (told,) = found(settings)
        assert told.startswith(f"process {stray.pid} (started at tick ")
        assert "it outlived its attempt (job 1, attempt 1): " in told
    finally:
        for process in (stray, reader):
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()
        output.unlink()


def has_words(pid: int) -> bool:
    """Whether /proc tells its command line: that comes a moment after the exec has closed what Popen waits for."""
    return Path(f"/proc/{pid}/cmdline").read_bytes() != b""


def test_a_fork_server_that_waits_for_nothing_is_found(resting: tuple[RunningDaemon, Config]) -> None:
    running, settings = resting
    program = f"import os; os.open({str(running.spool)!r}, os.O_RDONLY); print(flush=True); input()"
    command = [sys.executable, "-c", program, "bgjobd/forkserver/__main__.py"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as server:
        assert server.stdout is not None
        server.stdout.readline()
        (told,) = found(settings)
        assert "this fork server is not of the daemon that runs, and has no attempt to wait for" in told
        server.kill()


def test_a_zombie_of_the_daemons_is_found(resting: tuple[RunningDaemon, Config]) -> None:
    running, _ = resting
    # A look has no daemon to ask but the one that holds the lock: here this very process stands in for it.
    zombie = subprocess.Popen(["true"], start_new_session=True)
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    processes = process_table.take(running.spool, running.database.parent / "output")
    this = replace(
        processes[zombie.pid], pid=os.getpid(), session=os.getsid(0), is_zombie=False, parent=os.getppid()
    )
    seen = books.Snapshot(
        Counts(0, 0, 0),
        LIFE,
        daemon=os.getpid(),
        processes={zombie.pid: processes[zombie.pid], os.getpid(): this},
    )
    (told,) = books.judge(seen).findings
    assert f"it has ended, and its parent ({os.getpid()}) does not reap it" in str(told)
    zombie.wait()


def test_an_attempt_that_was_killed_and_not_collected_does_not_count_as_running(tmp_path: Path) -> None:
    with at_rest(tmp_path) as (running, settings), running.client() as client:
        ledger, go = tmp_path / "ledger", tmp_path / "go"
        job = client.run_background_job(LEDGERED, "wait_for", {"ledger": str(ledger), "path": str(go)})
        eventually(lambda: len(lines_of(ledger)) == 3)
        assert look(settings).summary == "the books balance: 2 jobs, 2 attempts, 1 running"
        pid, server = lines_of(ledger)[-1].pid, running.fork_server()
        os.kill(server, signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not is_alive(pid))
        assert f"job {job.id}, attempt 1: it counts as running, and its process ({pid}) is gone" in found(
            settings
        )
        go.touch()
        os.kill(server, signal.SIGCONT)
        job.wait(20)
        check(running, [job.id], ledger)


def test_what_only_one_look_finds_does_not_count(place: Config) -> None:
    change(place, f"{JOBS} error = NULL WHERE id = 2")

    def mend(_: float) -> None:
        change(place, f"{JOBS} error = 'no recipient' WHERE id = 2")

    assert check_books.audit(place, mend).findings == ()


def test_the_books_of_a_daemon_at_work_balance_at_every_moment(tmp_path: Path) -> None:
    with daemon(tmp_path, SETTINGS, app=marked(tmp_path), modules=MODULES) as running:
        assert running.process is not None
        settings, ledger = settings_of(running.config), tmp_path / "ledger"
        with running.client() as client:
            client.classes()
        rest = descriptors(running.process.pid)
        call = {"class_name": LEDGERED, "parameters": {"ledger": str(ledger)}}
        methods = ("quick", "fail_once", "sleep", "quick", "fail")
        with running.client() as client:
            jobs = client.submit_many([call | {"method_name": name} for name in methods * 30])
            while jobs[-1].refresh()["status"] == "pending":
                assert [str(one) for one in check_books.audit(settings).findings] == []
        check(running, [job.id for job in jobs], ledger, rest)


def test_the_command_prints_each_finding_and_a_summary_and_exits_with_1(
    resting: tuple[RunningDaemon, Config],
) -> None:
    running, _ = resting
    words = ["check", "--books", "--config", str(running.config)]
    told = warm.run(words)
    assert (told.returncode, told.stdout) == (0, "the books balance: 1 job, 1 attempt, 0 running\n")
    planted = running.spool / "nothing"
    planted.touch()
    told = warm.run(words)
    planted.unlink()
    assert told.returncode == 1
    assert told.stdout.splitlines() == [
        f"{planted}: nothing of bgjobd's has a file of this name here; remove it",
        "the books do not balance, 1 finding: 1 job, 1 attempt, 0 running",
    ]


# What only fault tests ask


def test_a_job_that_was_acknowledged_may_be_gone_if_an_archive_has_its_end(place: Config) -> None:
    archived = [
        {"id": 98, "status": "failed", "attempts": []},
        {"id": 99, "status": "pending", "attempts": []},
    ]
    assert complaints(place, [COMPLETED, 98, 99], None, None, archived=archived) == [
        "job 99: it was acknowledged, and is not stored"
    ]


def test_a_job_that_was_acknowledged_and_is_not_stored_is_told(place: Config) -> None:
    assert complaints(place, [COMPLETED, 99], None, None) == [
        "job 99: it was acknowledged, and is not stored"
    ]


def test_a_descriptor_that_stays_open_and_a_process_that_is_left_are_told(tmp_path: Path) -> None:
    with at_rest(tmp_path) as (running, settings):
        assert running.process is not None
        rest = descriptors(running.process.pid)
        del rest["anon_inode:[eventpoll]"]
        environ = {"BOOKS_MARK": str(tmp_path)}
        with subprocess.Popen(["sleep", "60"], env=os.environ | environ) as left:
            eventually(lambda: (left.pid, "sleep 60") in marked_processes(tmp_path))
            told = complaints(settings, [], None, running.process.pid, rest)
            left.kill()
    assert told == [
        f"process {left.pid} is left: sleep 60",
        "the daemon has 1 more of anon_inode:[eventpoll] open than at rest",
    ]


STARTED, ENDED = Line(1, 1, "start", 7), Line(1, 1, "end", 7)
ROW = {(1, 1): Row("completed", 7)}
LEDGERS = [
    ([STARTED, ENDED], ROW, None),
    ([STARTED, STARTED, ENDED], ROW, "job 1, attempt 1: it started 2 times"),
    ([STARTED, ENDED], {}, "job 1, attempt 1: it started, unknown to the books"),
    ([STARTED], ROW, "job 1, attempt 1: it completed, and its ledger has no start and end"),
    (
        [STARTED],
        {(1, 1): Row("not_started", None)},
        "job 1, attempt 1: it counts as not started, and process 7 ran it",
    ),
    ([STARTED, ENDED], {(1, 1): Row("completed", 8)}, "job 1, attempt 1: process 7 ran it, the books say 8"),
    (
        [STARTED, Line(1, 2, "start", 8), ENDED],
        {(1, 1): Row("lost", 7), (1, 2): Row("signalled", 8)},
        "job 1: attempt 1 ended after attempt 2 had started",
    ),
    (
        [STARTED, Line(1, 2, "overlap", 7), Line(1, 2, "start", 8)],
        {(1, 1): Row("lost", 7), (1, 2): Row("signalled", 8)},
        "job 1: attempt 2 started while process 7 of an earlier one lived",
    ),
]


@pytest.mark.parametrize(("lines", "rows", "told"), LEDGERS)
def test_a_ledger_that_tells_another_story_than_the_books_is_told(
    lines: list[Line], rows: dict[tuple[int, int], Row], told: str | None
) -> None:
    assert compare(lines, rows) == ([] if told is None else [told])


def test_a_process_that_cannot_be_looked_into_is_another_daemons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", "input()", "/forkserver/__main__.py"],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    spool = os.open(tmp_path, os.O_RDONLY)
    try:
        eventually(lambda: has_words(server.pid))
        assert not process_table.take(tmp_path, tmp_path)[server.pid].is_fork_server

        def refuse(pid: int) -> list[str]:
            raise PermissionError

        monkeypatch.setattr(process_table, "_links", refuse)
        assert not process_table.take(tmp_path, tmp_path)[server.pid].is_fork_server
    finally:
        os.close(spool)
        server.communicate()


def test_the_books_of_another_users_daemon_are_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "bgjobd.toml"
    config.write_text(
        f'[daemon]\nsocket = "{tmp_path}/s"\nstate_dir = "{tmp_path}"\nruntime_dir = "{tmp_path}"\n'
    )
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    assert main.main(["check", "--books", "--config", str(config)]) == 1
    assert "run it as that user" in capsys.readouterr().err
