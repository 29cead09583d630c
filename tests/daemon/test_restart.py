"""A daemon that stops, or is killed, while attempts run: they go on, their ends are collected, none runs twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from inotify_simple import INotify, flags

from bgjob import Client
from bgjobd.forkserver import journal_file, journal_lines
from bgjobd.supervisor.spool import Spool
from bgjobd.supervisor.spool_files import MARKER
from tests.daemon.running import RunningDaemon, daemon, is_alive
from tests.faults.injecting import leased
from tests.support import eventually, remove_tree

PROBE = "probes.Probe"


def _started(ledger: Path) -> list[str]:
    return ledger.read_text().splitlines() if ledger.exists() else []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_attempt_that_ends_while_no_daemon_runs_is_collected(tmp_path: Path, number: int) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    with daemon(tmp_path) as running:
        with running.client() as client:
            job = client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})
        eventually(lambda: _started(ledger))
        server = running.fork_server()
        running.stop(number)
        assert is_alive(server)
        go.touch()
        eventually(lambda: not is_alive(server))
        running.start()
        with running.client() as client:
            snapshot = client.get(job.id).wait(20)
        assert snapshot["status"] == "completed"
        assert snapshot["result"] == "waited"
        assert [line.split()[0] for line in _started(ledger)] == ["start", "end"]
        (attempt,) = snapshot["attempts"]
        assert attempt["exit_code"] == 0
        assert attempt["max_rss"] > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_next_daemon_waits_for_attempts_that_still_run(tmp_path: Path, number: int) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    with daemon(tmp_path) as running:
        with running.client() as client:
            jobs = [
                client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})
                for _ in range(4)
            ]
        eventually(lambda: len(_started(ledger)) == 4)
        running.stop(number)
        running.start()
        with running.client() as client:
            assert [client.get(job.id).snapshot["status"] for job in jobs] == ["running"] * 4
            go.touch()
            ends = [client.get(job.id).wait(20) for job in jobs]
        assert [end["status"] for end in ends] == ["completed"] * 4
        assert [len(end["attempts"]) for end in ends] == [1] * 4
        assert sorted(line.split()[0] for line in _started(ledger)) == ["end"] * 4 + ["start"] * 4


def test_sigterm_ends_the_daemon_with_0_while_callers_wait(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        with running.client() as client:
            until = client.pause(resumes_in=3600)
            job = client.run_background_job(PROBE, "echo")
        assert running.stop() == 0
        running.start()
        with running.client() as client:
            assert client.get(job.id).snapshot["status"] == "pending"
            assert [queue["resumes_at"] for queue in client.stats()["queues"]] == [until]
        assert running.stop() == 0
        # It is over meanwhile.
        _change(running, "UPDATE queues SET resumes_at = '2024-12-04T14:31:53.000000Z'")
        running.start()
        with running.client() as client:
            job = client.get(job.id)
            assert job.wait(20)["status"] == "completed"


def test_a_daemon_that_was_stopped_leaves_one_file_with_all_that_it_has_stored(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        with running.client() as client:
            client.pause()
            ids = [
                job.id
                for job in client.submit_many([{"class_name": "probes.Probe", "method_name": "echo"}] * 9)
            ]
        running.stop()
        state = running.directory / "state"
        assert [path.name for path in state.glob("bgjobd.db*")] == ["bgjobd.db"]
        assert [id for (id,) in running.query("SELECT id FROM background_jobs")] == ids


def test_the_log_tells_a_daemon_that_was_stopped_from_one_that_was_killed(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        assert running.stop() == 0
        (stopping,) = (line for line in running.lines() if "stopping" in line)
        assert stopping.endswith("INFO: bgjobd - stopping; nothing runs")
        running.start()
        running.stop(signal.SIGKILL)
        assert len([line for line in running.lines() if "stopping" in line]) == 1


def test_a_second_daemon_is_refused_with_75_and_the_pid_of_the_first(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        assert running.process is not None
        second = running.spawn()
        assert second.wait(20) == 75
        assert f"pid {running.process.pid}" in running.console()
        with running.client() as client:
            assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1


@pytest.mark.parametrize(
    ("is_spool_kept", "outcomes", "told"),
    [
        (False, ["lost", "completed"], "is lost; the jobs' logs say why"),
        (True, ["completed"], "ended meanwhile"),
    ],
)
def test_an_attempt_of_another_boot_is_lost_and_retried_unless_the_spool_lasted_and_has_its_outcome(
    tmp_path: Path, is_spool_kept: bool, outcomes: list[str], told: str
) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    with daemon(tmp_path) as running:
        with running.client() as client:
            job = client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})
        eventually(lambda: _started(ledger))
        server = running.fork_server()
        running.stop()
        go.touch()
        eventually(lambda: not is_alive(server))
        _change(running, "UPDATE job_attempts SET boot_id = 'another'")
        for journal in () if is_spool_kept else running.spool.glob("*.journal"):
            journal.unlink()
        running.start()
        with running.client() as client:
            snapshot = client.get(job.id).wait(20)
        assert [one["outcome"] for one in snapshot["attempts"]] == outcomes
        (said,) = eventually(lambda: [line for line in running.lines() if "of an earlier daemon" in line])
        assert said.endswith(f"of an earlier daemon 1 attempt {told}")


@pytest.mark.parametrize("is_made_again", [False, True], ids=["removed", "made-again"])
@pytest.mark.parametrize(
    ("is_known", "is_alive_still", "attempts"),
    [
        (True, False, [("lost", 0), ("completed", 1)]),
        (True, True, [("lost", 1)]),
        (False, False, [("lost", 1)]),
    ],
    ids=["gone", "alive", "unknown"],
)
def test_an_attempt_whose_spool_is_gone_is_lost_and_repeated_only_if_its_process_is_surely_gone(
    tmp_path: Path,
    is_known: bool,
    is_alive_still: bool,
    attempts: list[tuple[str, int]],
    is_made_again: bool,
) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    with daemon(tmp_path) as running:
        with running.client() as client:
            job = client.run_background_job(
                PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)}, retry_count=1
            )
            attempt = eventually(lambda: client.get(job.id).snapshot["attempts"][0]["pid"])
            if is_made_again:
                remove_tree(running.spool)
                client.run_background_job(PROBE, "echo").wait(20)
        server = running.fork_server()
        running.stop(signal.SIGKILL if is_made_again else signal.SIGTERM)
        if not is_known:
            _change(running, f"UPDATE job_attempts SET pid = NULL WHERE job_id = {job.id}")
        if not is_alive_still:
            os.kill(attempt, signal.SIGKILL)
            eventually(lambda: not is_alive(server))
        if not is_made_again:
            remove_tree(running.spool)
        running.start()
        with running.client() as client:
            if is_known and not is_alive_still:
                go.touch()
            snapshot = client.get(job.id).wait(20)
        go.touch()
        eventually(lambda: not is_alive(attempt))
        assert snapshot["status"] == ("completed" if len(attempts) > 1 else "failed")
        assert _ends(running, job.id) == attempts
        assert f"may be alive: pid {attempt}" in str(snapshot["error"]) or not (is_known and is_alive_still)
        eventually(lambda: not list(running.spool.glob("*.bereft")))


@contextmanager
def waiting_for(go: Path, is_adopted: bool) -> Iterator[tuple[RunningDaemon, Client, int]]:
    """A job that may be retried once; its attempt, by this daemon or the one before, runs until the file is there."""
    with daemon(go.parent) as running:
        with running.client() as client:
            parameters = {"path": str(go), "ledger": str(go.with_name("ledger"))}
            job = client.run_background_job(PROBE, "wait_for", parameters, retry_count=1)
            eventually(lambda: client.get(job.id).snapshot["attempts"][0]["pid"])
        if is_adopted:
            running.stop()
            running.start()
        with running.client() as client:
            client.run_background_job(PROBE, "echo").wait(20)
            yield running, client, job.id


def _ends(running: RunningDaemon, job_id: int) -> list[tuple[str, int]]:
    """How its attempts ended, and whether that spent a retry."""
    return running.query(
        f"SELECT outcome, spends_retry FROM job_attempts WHERE job_id = {job_id} ORDER BY number"
    )


@pytest.mark.parametrize("is_adopted", [False, True], ids=["own", "adopted"])
def test_who_runs_on_after_the_spool_was_made_again_is_waited_for_without_its_fork_server(
    tmp_path: Path, is_adopted: bool
) -> None:
    go = tmp_path / "go"
    with waiting_for(go, is_adopted) as (running, client, job_id):
        remove_tree(running.spool)
        client.run_background_job(PROBE, "echo").wait(20)
        server = running.fork_server()
        os.kill(server, signal.SIGKILL)
        eventually(lambda: not is_alive(server))
        client.run_background_job(PROBE, "echo").wait(20)
        assert client.get(job_id).snapshot["status"] == "running"
        go.touch()
        assert client.get(job_id).wait(20)["status"] == "completed"
        assert _ends(running, job_id) == [("lost", 0), ("completed", 1)]
        eventually(lambda: not list(running.spool.glob("*.bereft")))


@pytest.mark.parametrize("is_adopted", [False, True], ids=["own", "adopted"])
def test_who_ends_before_anybody_sees_that_the_spool_is_gone_has_spent_no_retry(
    tmp_path: Path, is_adopted: bool
) -> None:
    go = tmp_path / "go"
    with waiting_for(go, is_adopted) as (running, client, job_id):
        server = running.fork_server()
        os.kill(server, signal.SIGKILL)
        eventually(lambda: running.children() not in ([], [server]))
        client.run_background_job(PROBE, "echo").wait(20)
        remove_tree(running.spool)
        go.touch()
        assert client.get(job_id).wait(20)["status"] == "completed"
        assert _ends(running, job_id) == [("lost", 0), ("completed", 1)]


def test_a_claim_whose_start_was_never_sent_is_fenced_and_given_back(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        with running.client() as client:
            client.pause()
            job = client.run_background_job(PROBE, "echo", {"value": 3}, retry_count=1)
        running.stop()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        _change(running, f"UPDATE background_jobs SET status = 'running' WHERE id = {job.id}")
        _change(
            running,
            "INSERT INTO job_attempts (job_id, number, token, boot_id, host) "
            f"VALUES ({job.id}, 1, 'aa', '{boot}', (SELECT max(id) FROM hosts))",
        )
        running.start()
        with running.client() as client:
            client.resume()
            snapshot = client.get(job.id).wait(20)
        assert snapshot["result"] == 3
        assert snapshot["retry_count"] == 1
        assert [one["outcome"] for one in snapshot["attempts"]] == ["not_started", "completed"]


def test_a_fork_server_that_is_killed_is_replaced_and_its_attempts_end(tmp_path: Path) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    with daemon(tmp_path) as running, running.client() as client:
        job = client.run_background_job(
            PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)}, retry_count=1
        )
        eventually(lambda: _started(ledger))
        os.kill(running.fork_server(), signal.SIGKILL)
        assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
        assert client.get(job.id).snapshot["status"] == "running"
        go.touch()
        snapshot = client.get(job.id).wait(20)
        (attempt,) = snapshot["attempts"]
        assert (attempt["outcome"], attempt["exit_code"]) == ("completed", 0)
        assert attempt["max_rss"] > 0
        assert [line.split()[0] for line in _started(ledger)] == ["start", "end"]


def test_an_attempt_whose_exit_nobody_saw_is_lost_and_never_a_success(tmp_path: Path) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    with daemon(tmp_path) as running:
        with running.client() as client:
            job = client.run_background_job(
                PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)}, retry_count=1
            )
        eventually(lambda: _started(ledger))
        server = running.fork_server()
        running.stop(signal.SIGKILL)
        os.kill(server, signal.SIGKILL)
        eventually(lambda: not is_alive(server))
        os.kill(int(_started(ledger)[0].split()[1]), signal.SIGKILL)
        running.start()
        with running.client() as client:
            snapshot = client.get(job.id).wait(20)
    assert snapshot["status"] == "failed"
    assert [one["outcome"] for one in snapshot["attempts"]] == ["lost"]


def test_sigquit_waits_for_what_runs_and_starts_nothing_new(tmp_path: Path) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    with daemon(tmp_path) as running:
        with running.client() as client:
            running_job = client.run_background_job(
                PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)}
            )
            eventually(lambda: _started(ledger))
            assert running.process is not None
            running.process.send_signal(signal.SIGQUIT)
            eventually(lambda: [line for line in running.lines() if "draining: waits for 1" in line])
            waiting_job = client.run_background_job(PROBE, "echo")
            assert running.process.poll() is None
            (host,), stats = client.hosts(), client.stats()
            assert (host["state"], host["drained_at"]) == ("draining", stats["drained_at"])
            assert stats["drained_at"] is not None
            go.touch()
            assert running.process.wait(20) == 0
        rows = dict(running.query("SELECT id, status FROM background_jobs"))
        assert rows == {running_job.id: "completed", waiting_job.id: "pending"}


def test_sigusr1_makes_a_new_log_file_after_logrotate_moved_the_old_and_so_does_a_reload(
    tmp_path: Path,
) -> None:
    with daemon(tmp_path) as running, running.client() as client:
        client.run_background_job(PROBE, "echo").result(20)
        eventually(lambda: len(running.lines()) > 4)
        assert running.process is not None
        for number, has_reloaded in ((signal.SIGUSR1, False), (signal.SIGHUP, True)):
            running.log_file.rename(tmp_path / "rotated")
            running.process.send_signal(number)
            said = "reloaded: code version" if has_reloaded else "the log was reopened"
            eventually(lambda said=said: any(said in line for line in running.lines()))
            assert has_reloaded is any("reloaded" in line for line in running.lines())
            assert client.run_background_job(PROBE, "echo").result(20) is None


def test_of_a_start_and_a_fence_only_the_first_counts(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    started = journal_lines.started("aa", os.getpid(), 1, 2, "boot", 0.0)
    assert journal_file.link_first(descriptor, "1.1.journal", started) is not None
    assert spool.fences.put((1, 1)) is False
    assert spool.fences.put((1, 2)) is True
    assert journal_file.link_first(descriptor, "1.2.journal", started) is None
    os.close(descriptor)
    spool.close()


def test_a_daemon_that_dies_while_it_takes_a_spool_leaves_word_of_whose_journals_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next one would take the missing journals for a job's deed, after which nothing is repeated."""
    place = tmp_path / "spool"
    place.mkdir()
    rename = os.rename

    def die_at_the_marker(source: str, target: str, **directories: int) -> None:
        if target == MARKER:
            raise KeyboardInterrupt
        rename(source, target, **directories)

    first = Spool(place)
    monkeypatch.setattr(os, "rename", die_at_the_marker)
    with pytest.raises(KeyboardInterrupt):
        first.give_to("ours", [(1, 1), (2, 3)])
    monkeypatch.undo()
    first.close()
    second = Spool(place)
    assert not second.belongs_to("ours")
    second.give_to("ours", [(1, 1), (2, 3)])
    second.close()
    third = Spool(place)
    assert third.belongs_to("ours")
    assert sorted(third.bereft()) == [(1, 1), (2, 3)]
    third.close()


def _change(running: RunningDaemon, sql: str) -> None:
    with running.changing() as connection:
        connection.execute(sql)


def test_a_file_that_is_no_database_is_refused_with_its_path_and_left_alone(tmp_path: Path) -> None:
    running = RunningDaemon(tmp_path)
    (tmp_path / "state").mkdir()
    running.database.write_bytes(b"no database " * 1000)
    assert running.spawn().wait(20) == 65
    assert str(running.database) in running.console()
    assert running.database.read_bytes().startswith(b"no database ")


def test_a_started_attempt_whose_journal_and_fork_server_are_gone_is_lost_and_not_started_again(
    tmp_path: Path,
) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    with daemon(tmp_path) as running, running.client() as client:
        job = client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})
        eventually(lambda: client.get(job.id).snapshot["attempts"][0]["pid"])
        (running.spool / f"{job.id}.1.journal").unlink()
        os.kill(running.fork_server(), signal.SIGKILL)
        snapshot = client.get(job.id).wait(20)
        go.touch()
    assert snapshot["status"] == "failed"
    assert [one["outcome"] for one in snapshot["attempts"]] == ["lost"]


def test_a_journal_with_another_token_is_not_the_attempts_own(tmp_path: Path) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    with daemon(tmp_path) as running:
        with running.client() as client:
            job = client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})
        eventually(lambda: _started(ledger))
        server = running.fork_server()
        running.stop()
        go.touch()
        eventually(lambda: not is_alive(server))
        _change(running, "UPDATE job_attempts SET token = 'another'")
        running.start()
        with running.client() as client:
            snapshot = client.get(job.id).wait(20)
        assert (snapshot["status"], snapshot["attempts"][0]["outcome"]) == ("failed", "lost")


def test_what_an_attempt_used_is_not_lost_to_a_daemon_that_reads_between_the_exit_and_the_usage(
    tmp_path: Path,
) -> None:
    usage = {"max_rss": 7, "cpu_user": 1.0, "cpu_system": 0.5, "output_bytes": 3}
    with daemon(tmp_path) as running:
        with running.client() as client:
            job = client.run_background_job("probes.Probe", "sleep", {"seconds": 600}, max_retries=0).id
            journal = running.spool / f"{job}.1.journal"
            eventually(lambda: running.query("SELECT pid FROM job_attempts WHERE pid IS NOT NULL"))
        ((pid,),) = running.query("SELECT pid FROM job_attempts")
        server = running.fork_server()
        os.kill(server, signal.SIGSTOP)  # it writes nothing meanwhile, and the test does in its place
        running.stop(signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        os.kill(server, signal.SIGKILL)
        eventually(lambda: not is_alive(pid))
        _append(journal, journal_lines.exited(pid, 1.0, None, 9))
        with INotify() as watch:
            watch.add_watch(journal, flags.CLOSE_NOWRITE)
            running.process = running.spawn()
            assert watch.read(timeout=20_000), "the daemon did not read the journal"
            _append(journal, journal_lines.exited(pid, 1.0, None, 9, usage=usage))
        eventually(running.answers)
        eventually(lambda: running.query("SELECT outcome FROM job_attempts WHERE outcome IS NOT NULL"))
        assert running.query("SELECT outcome, max_rss, output_bytes FROM job_attempts") == [
            ("signalled", 7, 3)
        ]


def _append(journal: Path, line: bytes) -> None:
    with journal.open("ab") as file:
        file.write(b"\n" + line)


@pytest.mark.parametrize("kind", ["journal", "hook"])
def test_what_a_start_finds_and_cannot_read_keeps_no_daemon_from_starting(tmp_path: Path, kind: str) -> None:
    with daemon(tmp_path) as running:
        with running.client() as client:
            job = client.run_background_job(PROBE, "echo", {"value": 1})
            job.wait(20)
        running.stop(signal.SIGKILL)
        left = running.spool / f"{job.id}.1.{kind}"
        left.write_text("{}\n")
        with leased(left):
            running.start()
            with running.client() as client:
                assert client.run_background_job(PROBE, "echo", {"value": 2}).result(20) == 2
        left.unlink(missing_ok=True)
