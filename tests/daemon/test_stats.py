"""How a daemon stands: the figures of Stats and the totals of lists, as jobs come and go and the daemon with them."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from bgjob import InvalidParameterError, text
from tests.client.test_commands import Commands
from tests.daemon.running import daemon
from tests.support import eventually, total

PROBE = "probes.Probe"


def last_hour(stats: dict[str, Any]) -> tuple[int, int]:
    """How many completed and failed."""
    assert len(stats["minutes"]) == 60
    return sum(one["completed"] for one in stats["minutes"]), sum(one["failed"] for one in stats["minutes"])


def test_queues_are_told_in_one_order_whatever_the_configurations(tmp_path: Path) -> None:
    settings = "[queues]\nnightly = {}\nmail = {}\nabout = {}"
    with daemon(tmp_path, settings=settings) as running, running.client() as client:
        names = [queue["name"] for queue in client.stats()["queues"]]
        assert names == ["about", "default", "mail", "nightly"]


def test_the_figures_follow_the_jobs_and_outlive_the_daemon(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        commands = Commands(running.socket)
        with running.client() as client:
            client.run_background_job(PROBE, "echo").wait(20)
            failed = client.run_background_job(PROBE, "fail", max_retries=0)
            failed.wait(20)
            client.pause()
            waiting = client.run_background_job(PROBE, "echo")
            later = client.run_background_job(PROBE, "echo", delay=3600)
            stats = client.stats()
            assert stats["jobs"] == {"pending": 2, "completed": 1, "failed": 1}
            assert last_hour(stats) == (1, 1)
            assert stats["oldest_pending"] == waiting.refresh()["created_at"]
            assert stats["queues"] == [
                {
                    "name": "default",
                    "slots": None,
                    "slots_everywhere": None,
                    "pending": 2,
                    "running": 0,
                    "paused": True,
                    "max_pending": 100_000,
                    "blocked": 0,
                    "oldest_pending": stats["oldest_pending"],
                    "resumes_at": None,
                    "slots_per_key": None,
                    "rate_per_key": None,
                    "share": "none",
                    "behind": 0,
                    "waiting": 0,
                    "due": 1,
                    "later": 1,
                }
            ]
            assert "last hour: 1 completed, 1 failed; the oldest pending" in commands.run("stats").stdout
            assert commands.json("stats")["minutes"] == stats["minutes"]

            running.stop(signal.SIGKILL)
            running.start()
            again = client.stats()
            assert again["started_at"] > stats["started_at"]
            changing = {
                "pid",
                "started_at",
                "loaded_at",
                "database_bytes",
                "minutes",
                "code_version",
                "python",
                "fork_server_pid",
                "fork_servers",
            }
            assert {name: again[name] for name in again.keys() - changing} == {
                name: stats[name] for name in stats.keys() - changing
            }
            assert last_hour(again) == (1, 1)

            client.retry(failed.id)
            client.cancel(waiting.id, later.id)
            assert last_hour(client.stats()) == (1, 0)
            assert client.stats()["jobs"] == {"pending": 1, "completed": 1, "cancelled": 2}


def test_stats_tell_of_the_code_that_attempts_are_started_with_and_of_the_file(tmp_path: Path) -> None:
    with daemon(tmp_path) as running, running.client() as client:
        client.classes()
        before = client.stats()
        assert before["started_at"] <= before["loaded_at"]
        assert before["python"].startswith("3.")
        assert before["code_version"] == client.reload()
        assert client.stats()["loaded_at"] > before["loaded_at"]
        assert 4096 <= before["database_bytes"] < 1 << 30
        assert text.instant(before["minutes"][-1]["at"]) - text.instant(before["minutes"][0]["at"]) == 59 * 60


def test_a_daemon_without_a_fork_server_says_so(tmp_path: Path) -> None:
    with daemon(tmp_path, app='python = "/usr/bin/false"') as running, running.client() as client:
        stats = client.stats()
        assert (stats["code_version"], stats["python"], stats["loaded_at"]) == (None, None, None)
        assert stats["jobs"] == {}


def test_what_has_happened_since_the_start_is_counted_where_it_is_asked_for(tmp_path: Path) -> None:
    with daemon(tmp_path) as running, running.client() as client:
        assert client.stats()["counts"] is None
        fresh = client.stats(counts=True)["counts"]
        assert set(fresh["classes"]) == {PROBE, "probes.NeedsMore", "broken.Job"}
        assert fresh["classes"][PROBE]["attempts"] == {}
        assert set(fresh["waits"]) == {"default"}

        client.run_background_job(PROBE, "fail", max_retries=1).wait(20)
        client.run_background_job(PROBE, "sleep", {"seconds": 0.3}).wait(20)
        counts = client.stats(counts=True)["counts"]
        found = counts["classes"][PROBE]
        assert (found["attempts"], found["jobs"]) == (
            {"failed": 2, "completed": 1},
            {"failed": 1, "completed": 1},
        )
        assert found["retries"] == 1
        assert sum(found["seconds"]["buckets"]) == sum(counts["waits"]["default"]["buckets"]) == 3
        assert len(found["seconds"]["buckets"]) == len(counts["bounds"]) + 1
        (held,) = running.query(
            "SELECT 86400 * sum(julianday(finished_at) - julianday(started_at)) FROM background_jobs WHERE id = 2"
        )
        assert found["seconds"]["sum"] >= held[0] - 0.002 >= 0.298

        running.stop(signal.SIGKILL)
        running.start()
        assert client.stats(counts=True)["counts"] == fresh


def test_lists_and_logs_tell_how_many_there_are_only_where_they_are_asked(tmp_path: Path) -> None:
    with daemon(tmp_path) as running, running.client() as client:
        client.pause()
        client.submit_many([{"class_name": PROBE, "method_name": "echo"}] * 5)
        assert client.list(limit=2).total is None
        assert client.logs(limit=2).total is None
        assert [total(client.list, limit=2, count=count) for count in (10, 4)] == [5, 4]
        assert total(client.logs, limit=2, count=10) == 5
        assert total(client.logs, limit=2, after=4, count=4) == 4
        assert total(client.logs, search="INITIATED", limit=1, count=10) == 5
        assert total(client.logs, search="nosuch", count=10) == 0
        with pytest.raises(InvalidParameterError) as caught:
            client.list(count=100_001)
        assert caught.value.parameters == {"parameter": "count"}


def test_stats_tell_of_the_fork_servers(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with daemon(tmp_path) as running, running.client() as client:
        client.classes()
        before = client.stats()
        assert (before["fork_server_pid"], before["fork_servers"]) == (running.fork_server(), 1)
        job = client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(tmp_path / "l")})
        eventually((tmp_path / "l").exists)
        client.reload()
        after = client.stats()
        assert after["fork_servers"] == 2
        assert {before["fork_server_pid"], after["fork_server_pid"]} == set(running.children())
        go.touch()
        job.wait(20)
        eventually(lambda: client.stats()["fork_servers"] == 1)
        assert client.stats()["fork_server_pid"] == after["fork_server_pid"]
